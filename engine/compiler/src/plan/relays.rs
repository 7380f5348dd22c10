//! Notifiers that hand events to others: each names one, and none comes back to where it began.

use crate::spec::{Name, Notifier, Spec};
use kernel::choice::Choice;
use language::diagnostic::{Diagnostics, Rule};
use std::collections::BTreeSet;
use store::RelayWord;

/// One notifier names another.
struct RelayLink<'a> {
    from: &'a Notifier,
    word: RelayWord,
    to: &'a Name,
}

/// Reports chains of notifiers that come back to where they began, each once.
pub(super) fn circles(spec: &Spec, diagnostics: &mut Diagnostics) {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for notifier in &spec.notifiers {
        let Some(circle) = circle_at(spec, notifier) else { continue };
        let names: Vec<&str> = circle.iter().map(|it| it.from.name.value.as_str()).collect();
        if names.iter().any(|name| told.contains(name)) {
            continue;
        }
        told.extend(&names);
        report(&circle, &names, diagnostics);
    }
}

/// The links that lead from a notifier back to it, by the shortest way.
fn circle_at<'a>(spec: &'a Spec, first: &'a Notifier) -> Option<Vec<RelayLink<'a>>> {
    let mut ways: Vec<Vec<RelayLink<'a>>> = vec![Vec::new()];
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let from = way.last().map_or(Some(first), |it| named(spec, it.to))?;
            for (word, to) in from.manners.relays() {
                let link = RelayLink { from, word, to };
                let way = || way.iter().map(RelayLink::again).chain([link.again()]).collect();
                if to.value == first.name.value {
                    return Some(way());
                }
                if named(spec, to).is_some() && seen.insert(&to.value) {
                    longer.push(way());
                }
            }
        }
        ways = longer;
    }
    None
}

fn named<'a>(spec: &'a Spec, name: &Name) -> Option<&'a Notifier> {
    spec.notifiers.iter().find(|notifier| notifier.name.value == name.value)
}

impl<'a> RelayLink<'a> {
    fn again(&self) -> RelayLink<'a> {
        RelayLink { from: self.from, word: self.word, to: self.to }
    }
}

fn report(circle: &[RelayLink<'_>], names: &[&str], diagnostics: &mut Diagnostics) {
    let last = circle.last().expect("a circle has a link");
    let word = last.word.word();
    if let [_] = circle {
        diagnostics
            .push(Rule::Cycle, format!("`{}` refers to itself in `{word}`", names[0]))
            .at(last.to.span.clone(), "this notifier")
            .help("name another notifier, or remove the node");
        return;
    }
    let all = format!("{} → {}", names.join(" → "), names[0]);
    diagnostics
        .push(Rule::Cycle, "these notifiers pass events to each other in a cycle")
        .at(circle[0].to.span.clone(), "begins here")
        .at(last.to.span.clone(), "and returns here")
        .help(format!("cycle: {all}. Remove one of these nodes"));
}
