//! Every name stands for one thing, and every reference for a name.

use crate::spec::{Name, Spec};
use stages::diagnostic::{Diagnostics, Rule};
use stages::language::nearest;
use std::collections::BTreeMap;

/// Reports names that stand twice and references that lead nowhere.
pub(super) fn check(spec: &Spec, text: &str, diagnostics: &mut Diagnostics) {
    duplicates(spec, diagnostics);
    let stages: Vec<&str> = spec.enrichments.iter().map(|it| it.name.value.as_str()).collect();
    for stage in &spec.enrichments {
        for (word, names) in [("after", &stage.after), ("needs", &stage.needs)] {
            for name in names.iter().filter(|it| !stages.contains(&it.value.as_str())) {
                let message = match word {
                    "needs" => format!(
                        "stage `{}` needs `{}`, which does not exist",
                        stage.name.value, name.value
                    ),
                    _ => format!(
                        "stage `{}` waits for `{}`, which does not exist",
                        stage.name.value, name.value
                    ),
                };
                unknown(diagnostics, Rule::UnknownStage, message, name, &stages, text, "stages");
            }
        }
        policy(spec, stage.policy.as_ref(), text, diagnostics);
    }
    spec.sinks.iter().for_each(|it| policy(spec, it.policy.as_ref(), text, diagnostics));
    spec.notifiers.iter().for_each(|it| policy(spec, it.policy.as_ref(), text, diagnostics));
    spec.policies.iter().for_each(|it| policy(spec, it.base.as_ref(), text, diagnostics));
    circles(spec, diagnostics);
    targets(spec, text, diagnostics);
    paths(spec, diagnostics);
}

fn duplicates(spec: &Spec, diagnostics: &mut Diagnostics) {
    let stages = spec.enrichments.iter().map(|it| &it.name);
    let nodes = spec.filters.iter().map(|it| &it.name).chain(stages);
    let ends = spec.sinks.iter().map(|it| &it.name).chain(spec.notifiers.iter().map(|it| &it.name));
    let groups: [Vec<&Name>; 5] = [
        spec.sources.iter().map(|it| &it.name).chain(nodes).chain(ends).collect(),
        spec.policies.iter().map(|it| &it.name).collect(),
        spec.params.iter().map(|it| &it.0).collect(),
        spec.server.tokens.iter().map(|it| &it.name).collect(),
        spec.route.iter().flat_map(|it| it.cases.iter().map(|it| &it.name)).collect(),
    ];
    for group in groups {
        let mut first: BTreeMap<&str, &Name> = BTreeMap::new();
        for name in group {
            let Some(earlier) = first.insert(&name.value, name) else { continue };
            diagnostics
                .push(Rule::DuplicateName, format!("two nodes are called `{}`", name.value))
                .at(name.span.clone(), "again")
                .at(earlier.span.clone(), "first, here")
                .help("give one of them another name");
        }
    }
}

fn policy(spec: &Spec, name: Option<&Name>, text: &str, diagnostics: &mut Diagnostics) {
    let Some(name) = name else { return };
    let known: Vec<&str> = spec.policies.iter().map(|it| it.name.value.as_str()).collect();
    if !known.contains(&name.value.as_str()) {
        let message = format!("there is no policy `{}`", name.value);
        unknown(diagnostics, Rule::UnknownStage, message, name, &known, text, "policies");
    }
}

/// A policy that builds on itself, told once at its first member in the file.
fn circles(spec: &Spec, diagnostics: &mut Diagnostics) {
    let base = |name: &str| {
        spec.policies.iter().find(|it| it.name.value == name).and_then(|it| it.base.as_ref())
    };
    let mut told: Vec<&str> = Vec::new();
    for policy in &spec.policies {
        let mut way = vec![policy.name.value.as_str()];
        let mut last = base(way[0]);
        while let Some(next) = last.filter(|it| !way.contains(&it.value.as_str())) {
            way.push(&next.value);
            last = base(&next.value);
        }
        let Some(last) = last.filter(|it| it.value == way[0] && !told.contains(&way[0])) else {
            continue;
        };
        let circle = format!("{} → {}", way.join(" → "), way[0]);
        told.extend(&way);
        diagnostics
            .push(Rule::Cycle, "this policy builds on itself")
            .at(policy.name.span.clone(), "begins here")
            .at(last.span.clone(), "and comes back here")
            .help(format!("cycle: {circle}. Remove one of these `policy`"));
    }
}

fn targets(spec: &Spec, text: &str, diagnostics: &mut Diagnostics) {
    let Some(route) = &spec.route else { return };
    let sinks = spec.sinks.iter().map(|it| it.name.value.as_str());
    let known: Vec<&str> =
        sinks.chain(spec.notifiers.iter().map(|it| it.name.value.as_str())).collect();
    let cases = route.cases.iter().map(|it| (format!("case `{}`", it.name.value), &it.to));
    let otherwise = route.otherwise.iter().map(|it| ("`otherwise`".to_owned(), it));
    for (place, names) in cases.chain(otherwise) {
        for name in names.iter().filter(|it| !known.contains(&it.value.as_str())) {
            let message =
                format!("route {place} sends to `{}`, which is no sink or notifier", name.value);
            unknown(
                diagnostics,
                Rule::UnknownTarget,
                message,
                name,
                &known,
                text,
                "sinks and notifiers",
            );
        }
    }
}

fn paths(spec: &Spec, diagnostics: &mut Diagnostics) {
    let mut first = BTreeMap::new();
    for stage in &spec.enrichments {
        let Some(earlier) = first.insert(&stage.into.value, &stage.into) else { continue };
        let path = format!("enrich.{}", stage.into.value.join("."));
        diagnostics
            .push(Rule::SamePath, format!("two stages write `{path}`"))
            .at(stage.into.span.clone(), "again")
            .at(earlier.span.clone(), "first, here")
            .help("give one of them another `into`");
    }
}

/// Reports a name that nothing has; `known` are those that something has, `what` what they name.
pub(crate) fn unknown(
    diagnostics: &mut Diagnostics,
    rule: Rule,
    message: String,
    name: &Name,
    known: &[&str],
    text: &str,
    what: &str,
) {
    let help = match (commented_out(text, &name.value), nearest(&name.value, known.iter().copied()))
    {
        (Some(line), _) => format!("`{}` is commented out on line {line}", name.value),
        (None, Some(it)) => {
            format!("did you mean `{it}`? The {what} of this file: {}", known.join(", "))
        }
        (None, None) if known.is_empty() => format!("this file has no {what}"),
        (None, None) => format!("the {what} of this file: {}", known.join(", ")),
    };
    diagnostics.push(rule, message).at(name.span.clone(), "nothing has this name").help(help);
}

/// The line on which a node of this name is switched off by `/-`.
fn commented_out(text: &str, name: &str) -> Option<usize> {
    let is_it = |line: &str| {
        let Some(rest) = line.trim_start().strip_prefix("/-") else { return false };
        rest.split_whitespace().take(3).any(|it| it.trim_matches('"') == name)
    };
    text.lines().position(is_it).map(|it| it + 1)
}
