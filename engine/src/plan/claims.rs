//! No two stages want the same route or file.

use crate::spec::Spec;
use stages::contract::Claim;
use stages::diagnostic::{Diagnostics, Rule};
use stages::spanned::{Span, Spanned};
use std::collections::HashMap;

/// Paths that the engine answers itself.
const RESERVED: &[&str] = &["/", "/metrics", "/healthz", "/readyz", "/openapi.json"];

pub(super) fn check(spec: &Spec, diagnostics: &mut Diagnostics) {
    let sources = spec.sources.iter().flat_map(|it| it.spec.claims());
    let sinks = spec.sinks.iter().flat_map(|it| it.spec.claims());
    let notifiers = spec.notifiers.iter().flat_map(|it| it.spec.claims());
    let claims: Vec<Spanned<Claim>> = sources.chain(sinks).chain(notifiers).collect();
    let mut firsts: HashMap<&Claim, &Span> = HashMap::new();
    for claim in &claims {
        if let Some(first) = firsts.get(&claim.value).copied() {
            let (what, help) = match &claim.value {
                Claim::Route { .. } => {
                    ("path", "give one another `path`, or make one source of the two")
                }
                Claim::File(_) => ("file", "give one another `path`"),
            };
            diagnostics
                .push(Rule::SameRoute, format!("this {what} is already taken"))
                .at(claim.span.clone(), "second")
                .at(first.clone(), "first, here")
                .help(help);
        } else {
            firsts.insert(&claim.value, &claim.span);
        }
        if let Claim::Route { path, .. } = &claim.value
            && (RESERVED.contains(&path.as_str()) || path.starts_with("/api/"))
        {
            diagnostics
                .push(Rule::SameRoute, format!("the engine itself answers `{path}`"))
                .at(claim.span.clone(), "reserved")
                .help("choose a path outside of `/api/`, such as `/events`");
        }
    }
}
