//! Every stage behind what it waits for; stages that wait for each other.

use crate::spec::Enrichment;
use stages::diagnostic::{Diagnostics, Rule};
use stages::spanned::Span;

struct Edge {
    to: usize,
    span: Span,
}

/// Indices of the stages in an order in which each stands behind what it waits for; stages that
/// do not wait for each other keep the order of the file. `None`, and a report, for a cycle.
pub(super) fn of(stages: &[Enrichment], diagnostics: &mut Diagnostics) -> Option<Vec<usize>> {
    let edges: Vec<Vec<Edge>> = stages.iter().map(|it| edges(it, stages)).collect();
    let mut order = Vec::with_capacity(stages.len());
    let mut is_placed = vec![false; stages.len()];
    while order.len() < stages.len() {
        let ready = |it: &usize| !is_placed[*it] && edges[*it].iter().all(|it| is_placed[it.to]);
        let Some(next) = (0..stages.len()).find(ready) else {
            report(stages, &edges, &is_placed, diagnostics);
            return None;
        };
        is_placed[next] = true;
        order.push(next);
    }
    Some(order)
}

fn edges(stage: &Enrichment, stages: &[Enrichment]) -> Vec<Edge> {
    let names = stage.after.iter().chain(&stage.needs);
    let edge = |name: &crate::spec::Name| {
        let to = stages.iter().position(|it| it.name.value == name.value)?;
        Some(Edge { to, span: name.span.clone() })
    };
    names.filter_map(edge).collect()
}

/// Follows unplaced stages until one comes again; that loop is the finding.
fn report(
    stages: &[Enrichment],
    edges: &[Vec<Edge>],
    is_placed: &[bool],
    diagnostics: &mut Diagnostics,
) {
    let blocked = |it: usize| {
        edges[it].iter().find(|it| !is_placed[it.to]).expect("an unplaced stage waits for one")
    };
    let mut path = vec![is_placed.iter().position(|it| !it).expect("one is unplaced")];
    let start = loop {
        let next = blocked(*path.last().expect("it begins with one")).to;
        match path.iter().position(|it| *it == next) {
            Some(start) => break start,
            None => path.push(next),
        }
    };
    let cycle = &path[start..];
    let name = |it: usize| stages[it].name.value.as_str();
    let found =
        diagnostics.push(Rule::Cycle, "these stages wait for each other and would never run");
    for (position, stage) in cycle.iter().enumerate() {
        let edge = blocked(*stage);
        let text = match position {
            0 => format!("{} waits for {}", name(*stage), name(edge.to)),
            _ => format!("…and {} waits for {}", name(*stage), name(edge.to)),
        };
        found.at(edge.span.clone(), text);
    }
    let mut names: Vec<&str> = cycle.iter().map(|it| name(*it)).collect();
    names.push(names[0]);
    found.help(format!("cycle: {}. Remove one of these `after` or `needs`", names.join(" → ")));
}
