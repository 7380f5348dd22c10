//! No two stages want the same route, file or name at a broker.

use crate::spec::Spec;
use language::diagnostic::{Diagnostics, Rule};
use language::spanned::{Span, Spanned};
use stages::contract::{Claim, SinkRole};
use std::collections::HashMap;
use std::path::Path;
use store::is_store_name;

/// Paths that the engine answers itself.
const RESERVED: &[&str] = &["/", "/api", "/metrics", "/healthz", "/readyz", "/openapi.json"];

/// Whatever lies below these is the engine's own too.
const RESERVED_BELOW: &[&str] = &["/api/"];

/// What only one node can have. A path is one thing whatever the method: who asks for it by another
/// method is answered by the same node.
#[derive(PartialEq, Eq, Hash)]
enum TakenClaim<'a> {
    Path(&'a str),
    File(&'a Path),
    Client { broker: &'a str, id: &'a str },
}

impl<'a> TakenClaim<'a> {
    fn of(claim: &'a Claim) -> Self {
        match claim {
            Claim::Route { path, .. } => TakenClaim::Path(path),
            Claim::File(path) | Claim::Appended(path) | Claim::Program(path) => {
                TakenClaim::File(path)
            }
            Claim::Client { broker, id } => TakenClaim::Client { broker, id },
        }
    }
}

/// Says where a file starts programs, which the engine does only when it was allowed to.
pub(super) fn programs(spec: &Spec, diagnostics: &mut Diagnostics) {
    let sources =
        spec.sources.iter().filter(|source| !source.is_disabled).map(|source| source.spec.claims());
    let stages = spec
        .enrichments
        .iter()
        .filter(|enrichment| !enrichment.is_disabled)
        .map(|enrichment| enrichment.spec.claims());
    let notifiers = spec
        .notifiers
        .iter()
        .filter(|notifier| !notifier.is_disabled)
        .map(|notifier| notifier.spec.claims());
    let claims = sources.chain(stages).chain(notifiers).flatten();
    for claim in claims {
        let Claim::Program(path) = &claim.value else { continue };
        diagnostics
            .push(Rule::StartsProgram, format!("this starts the program {}", path.display()))
            .at(claim.span.clone(), "needs permission")
            .help("start the engine with `engine run --allow-exec`, and check with `--allow-exec`");
    }
}

pub(super) fn check(spec: &Spec, diagnostics: &mut Diagnostics) {
    let sources = spec.sources.iter().map(|source| source.spec.claims());
    let sinks = spec.sinks.iter().map(|sink| sink.spec.claims());
    let notifiers = spec.notifiers.iter().map(|notifier| notifier.spec.claims());
    // A second store is reported as that.
    let stores = spec.sources.len()..spec.sources.len() + spec.sinks.len();
    let is_store = |node: usize| {
        stores.contains(&node)
            && matches!(spec.sinks[node - stores.start].spec.shape(), SinkRole::Store(_))
    };
    let nodes: Vec<Vec<Spanned<Claim>>> = sources.chain(sinks).chain(notifiers).collect();
    check_stores(&nodes, diagnostics);
    let mut firsts: HashMap<TakenClaim<'_>, (usize, &Spanned<Claim>)> = HashMap::new();
    for (node, claims) in nodes.iter().enumerate() {
        for claim in claims {
            let taken = TakenClaim::of(&claim.value);
            match firsts.get(&taken) {
                // One node may want a path for several methods.
                Some((first, _)) if *first == node => continue,
                Some((first, _)) if is_store(*first) && is_store(node) => continue,
                Some((_, first)) if share(&first.value, &claim.value) => continue,
                Some((_, first)) => already_taken(claim, &first.span, diagnostics),
                None => {
                    check_reserved(claim, diagnostics);
                    firsts.insert(taken, (node, claim));
                }
            }
        }
    }
}

/// A store is more files than the one that it names. The same path is reported as one that two
/// nodes want.
fn check_stores(nodes: &[Vec<Spanned<Claim>>], diagnostics: &mut Diagnostics) {
    let claims = || nodes.iter().flatten();
    let stores = claims().filter(|claim| matches!(claim.value, Claim::File(_)));
    for (store, store_span) in stores.filter_map(|store| Some((written(store)?, &store.span))) {
        let others = claims().filter_map(|claim| Some((written(claim)?, &claim.span)));
        for (_, span) in others.filter(|(path, _)| *path != store && is_store_name(store, path)) {
            diagnostics
                .push(Rule::SameRoute, "this is a file of the store")
                .at(span.clone(), "one of its files")
                .at(store_span.clone(), "the store, here")
                .help("give it another `path`: the store writes this file itself");
        }
    }
}

/// The file that a node writes.
fn written(claim: &Spanned<Claim>) -> Option<&Path> {
    match &claim.value {
        Claim::File(path) | Claim::Appended(path) => Some(path),
        Claim::Route { .. } | Claim::Program(_) | Claim::Client { .. } => None,
    }
}

/// Whether two nodes may want the same.
fn share(one: &Claim, other: &Claim) -> bool {
    matches!(
        (one, other),
        (Claim::Appended(_), Claim::Appended(_)) | (Claim::Program(_), Claim::Program(_))
    )
}

fn already_taken(claim: &Spanned<Claim>, first: &Span, diagnostics: &mut Diagnostics) {
    let (what, help) = match &claim.value {
        Claim::Route { .. } => (
            "path",
            "give each its own `path`; one source can accept several methods: `method GET POST`",
        ),
        Claim::File(_) | Claim::Appended(_) | Claim::Program(_) => {
            ("file", "give each its own `path`")
        }
        Claim::Client { .. } => (
            "client id",
            "give each its own `client-id`, or remove it: the broker ends the connection of the first",
        ),
    };
    diagnostics
        .push(Rule::SameRoute, format!("this {what} is already in use"))
        .at(claim.span.clone(), "second")
        .at(first.clone(), "first, here")
        .help(help);
}

fn check_reserved(claim: &Spanned<Claim>, diagnostics: &mut Diagnostics) {
    let Claim::Route { path, .. } = &claim.value else { return };
    let is_reserved =
        RESERVED.contains(&path.as_str()) || RESERVED_BELOW.iter().any(|it| path.starts_with(it));
    if is_reserved {
        diagnostics
            .push(Rule::SameRoute, format!("the engine itself serves `{path}`"))
            .at(claim.span.clone(), "reserved")
            .help("choose a path outside `/api/`, such as `/events`");
    }
}
