//! Stages that write one path, of which one would overwrite what the other writes.

use super::stages_known::Additions;
use crate::spec::{Enrichment, Spec};
use kernel::event::Priority;
use kernel::pattern::glob_fits;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::EventType;
use std::collections::BTreeMap;

/// What one stage writes.
struct WrittenPath<'a> {
    stage: usize,
    path: &'a [String],
}

pub(super) fn check(spec: &Spec, additions: &Additions, diagnostics: &mut Diagnostics) {
    // By the first name: only what begins alike can overlap.
    let mut first: BTreeMap<&str, Vec<WrittenPath<'_>>> = BTreeMap::new();
    for (index, stage) in spec.enrichments.iter().enumerate() {
        let known: Vec<&[String]> = additions.paths(index).collect();
        let paths = if known.is_empty() { vec![stage.into.value.as_slice()] } else { known };
        for path in paths {
            let Some(name) = path.first() else { continue };
            let written = first.entry(name).or_default();
            let meets = |it: &&WrittenPath<'_>| {
                it.stage != index
                    && overwrites(spec, additions, it, &WrittenPath { stage: index, path })
            };
            if let Some(earlier) = written.iter().find(meets) {
                report(spec, earlier, &WrittenPath { stage: index, path }, diagnostics);
            }
            written.push(WrittenPath { stage: index, path });
        }
    }
}

/// Whether one of the two writes over what the other one wrote.
fn overwrites(
    spec: &Spec,
    additions: &Additions,
    a: &WrittenPath<'_>,
    b: &WrittenPath<'_>,
) -> bool {
    let meets = a.path.iter().zip(b.path).all(|(a, b)| a == b);
    let [one, other] = [a, b].map(|it| &spec.enrichments[it.stage]);
    // What goes into a map after the map is there adds to it.
    let (inner, outer) = if a.path.len() < b.path.len() { (b, a) } else { (a, b) };
    let adds = outer.path.len() < inner.path.len() && additions.waits(inner.stage, outer.stage);
    meets && !adds && !one.is_disabled && !other.is_disabled && !never_both(one, other, additions)
}

/// Whether no event runs through both: their conditions, types or priorities exclude each other.
fn never_both(one: &Enrichment, other: &Enrichment, additions: &Additions) -> bool {
    let (Some(when), Some(other_when)) = (&one.when, &other.when) else { return false };
    if when.value.excludes(&other_when.value) {
        return true;
    }
    let known = |enrichment: &Enrichment| additions.at.get(&enrichment.name.value);
    let (Some(here), Some(there)) = (known(one), known(other)) else { return false };
    let fits =
        |a: &EventType, b: &EventType| glob_fits(&a.kind, &b.kind) || glob_fits(&b.kind, &a.kind);
    // A level each: what holds for none of the four in both holds for no event.
    !Priority::ALL.iter().any(|level| {
        let a = here.at_level(Some(*level)).check(&when.value).holds;
        let b = there.at_level(Some(*level)).check(&other_when.value).holds;
        a.iter().any(|a| b.iter().any(|b| fits(a, b)))
    })
}

fn report(spec: &Spec, a: &WrittenPath<'_>, b: &WrittenPath<'_>, diagnostics: &mut Diagnostics) {
    let [earlier, later] = [a, b].map(|it| &spec.enrichments[it.stage]);
    let is_same = a.path.len() == b.path.len();
    let path = if a.path.len() < b.path.len() { a.path } else { b.path };
    let is_into = |stage: &Enrichment, path: &[String]| stage.into.value == path;
    let help = match is_into(later, b.path) || is_into(earlier, a.path) {
        true => "give one of them another `into`, or other paths".to_owned(),
        false => "write to another path in one of them".to_owned(),
    };
    let span = |stage: &Enrichment, path: &[String]| match is_into(stage, path) {
        true => stage.into.span.clone(),
        false => stage.name.span.clone(),
    };
    let label = |of: &WrittenPath<'_>, word: &str| match is_same {
        true => word.to_owned(),
        false => format!("{word}, `enrich.{}`", of.path.join(".")),
    };
    diagnostics
        .push(Rule::SamePath, format!("two stages write `enrich.{}`", path.join(".")))
        .at(span(later, b.path), label(b, "again"))
        .at(span(earlier, a.path), label(a, "first, here"))
        .help(help);
}
