//! Every stage behind what it waits for; stages that wait for each other.

use crate::document::block_behind;
use crate::spec::Enrichment;
use language::diagnostic::{Diagnostics, Rule};
use language::spanned::Span;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

struct OrderEdge {
    to: usize,
    span: Span,
    word: &'static str,
}

/// Indices of the stages in an order in which each stands behind what it waits for; stages that
/// do not wait for each other keep the order of the file. `None`, and a report, for a cycle.
pub(super) fn of(stages: &[Enrichment], diagnostics: &mut Diagnostics) -> Option<Vec<usize>> {
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, stage) in stages.iter().enumerate() {
        // Of two stages with one name, which is reported, the first is meant.
        index.entry(&stage.name.value).or_insert(at);
    }
    let edges: Vec<Vec<OrderEdge>> = stages.iter().map(|stage| edges(stage, &index)).collect();
    let mut waiting: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); stages.len()];
    for (at, edges) in edges.iter().enumerate() {
        edges.iter().for_each(|edge| behind[edge.to].push(at));
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..stages.len()).filter(|it| waiting[*it] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(stages.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for later in &behind[next] {
            waiting[*later] -= 1;
            if waiting[*later] == 0 {
                ready.push(Reverse(*later));
            }
        }
    }
    if order.len() < stages.len() {
        report(stages, &edges, &waiting, diagnostics);
        return None;
    }
    Some(order)
}

fn edges(stage: &Enrichment, index: &BTreeMap<&str, usize>) -> Vec<OrderEdge> {
    let after = stage.after.iter().map(|it| ("after", it));
    let names = after.chain(stage.needs.iter().map(|it| ("needs", it)));
    let edge = |(word, name): (&'static str, &crate::spec::Name)| {
        let to = *index.get(name.value.as_str())?;
        Some(OrderEdge { to, span: name.span.clone(), word })
    };
    names.filter_map(edge).collect()
}

/// Follows stages that are still waiting until one comes again; that loop is the finding.
fn report(
    stages: &[Enrichment],
    edges: &[Vec<OrderEdge>],
    waiting: &[usize],
    diagnostics: &mut Diagnostics,
) {
    let blocked = |number: usize| {
        edges[number]
            .iter()
            .find(|edge| waiting[edge.to] != 0)
            .expect("a stage that waits, waits for one")
    };
    let mut path = vec![waiting.iter().position(|it| *it != 0).expect("one is waiting")];
    let mut seen = BTreeMap::from([(path[0], 0)]);
    let start = loop {
        let next = blocked(*path.last().expect("it begins with one")).to;
        match seen.insert(next, path.len()) {
            Some(start) => break start,
            None => path.push(next),
        }
    };
    let cycle = &path[start..];
    let name = |number: usize| stages[number].name.value.as_str();
    let source = diagnostics.source().clone();
    let idle: Vec<usize> = cycle
        .iter()
        .copied()
        .filter(|it| !reads(&source.text, &stages[*it], &stages[blocked(*it).to]))
        .collect();
    let found =
        diagnostics.push(Rule::Cycle, "these stages wait for each other and would never run");
    for (position, stage) in cycle.iter().take(LABELS_MAX).enumerate() {
        let edge = blocked(*stage);
        let text = match position {
            0 => format!("{} waits for {}", name(*stage), name(edge.to)),
            _ => format!("…and {} waits for {}", name(*stage), name(edge.to)),
        };
        found.at(edge.span.clone(), text);
    }
    let mut names: Vec<&str> = cycle.iter().take(LABELS_MAX).map(|it| name(*it)).collect();
    if LABELS_MAX < cycle.len() {
        names.push("…");
    }
    names.push(name(cycle[0]));
    let advice = match idle[..] {
        [one] => {
            let edge = blocked(one);
            let (stage, other) = (name(one), name(edge.to));
            format!(
                "Drop `{} {other}` of `{stage}`, which does not read what `{other}` adds",
                edge.word
            )
        }
        _ => "Remove one of these `after` or `needs`".to_owned(),
    };
    found.help(format!("cycle: {}. {advice}", names.join(" → ")));
}

/// Most stages of a cycle that are told one by one.
const LABELS_MAX: usize = 12;

/// Whether a stage's block mentions anything that another one may add. Kinds choose names in
/// their own ways, so every quoted name of the other block counts.
fn reads(text: &str, stage: &Enrichment, other: &Enrichment) -> bool {
    let own = block_behind(text, stage.name.span.end);
    let there = block_behind(text, other.name.span.end);
    let into = other.into.value.join(".");
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.'))
    };
    let quoted = there.split('"').filter(|part| is_name(part));
    let mut names =
        quoted.map(|quoted| quoted.trim_start_matches("enrich.")).chain([into.as_str()]);
    names.any(|name| own.contains(&format!("enrich.{name}")))
}
