//! What enrichments add, and what of it is there when another one runs.

use super::arrivals::World;
use crate::spec::{Enrichment, OnDrop, Spec};
use stages::contract::Adds;
use stages::expr::{Arrivals, Known, Later, Root, Shape};
use std::collections::{BTreeMap, BTreeSet};

/// What is known behind and between the stages.
pub(super) struct Additions {
    /// Where a stage runs, by its name: for the events that it runs for.
    pub(super) at: BTreeMap<String, Known>,
    /// Behind all of them.
    pub(super) behind: Known,
    /// What each stage adds, in file order; nothing when a stage could not be read.
    added: Vec<Added>,
}

/// Paths below `enrich`, and what stands there.
type Added = Vec<(Vec<String>, Shape)>;

impl Additions {
    /// `is_whole` says that every stage of the file could be read.
    pub(super) fn of(spec: &Spec, world: &World, passed: &Arrivals, is_whole: bool) -> Additions {
        let stages = &spec.enrichments;
        let tags = tags(spec);
        let mut added: Vec<Option<Added>> = stages.iter().map(|_| None).collect();
        let mut at = BTreeMap::new();
        let waits: Vec<BTreeSet<usize>> =
            (0..stages.len()).map(|it| waits_of(it, stages)).collect();
        let mut left: Vec<usize> = (0..stages.len()).collect();
        while !left.is_empty() {
            // In a cycle nothing is ready; any will do, since the cycle is told.
            let is_ready = |it: &usize| waits[*it].iter().all(|it| added[*it].is_some());
            let next = left.iter().position(is_ready).unwrap_or(0);
            let index = left.remove(next);
            let stage = &stages[index];
            let before = waits[index].iter().filter_map(|it| added[*it].as_ref()).flatten();
            let enrich = shape_of(before.chain(&tags));
            let known = world.known(passed, enrich, Vec::new());
            let known = loosened(known, is_whole);
            let here = stage.when.as_ref().map(|it| known.check(&it.value).holds);
            let known = known.narrowed(here.as_ref().unwrap_or(passed));
            added[index] = Some(paths(stage, stage.spec.adds(&known)));
            at.insert(stage.name.value.clone(), known);
        }
        let added: Vec<Added> = added.into_iter().map(Option::unwrap_or_default).collect();
        for (index, stage) in stages.iter().enumerate().filter(|_| is_whole) {
            if let Some(known) = at.get_mut(&stage.name.value) {
                known.later = later(index, stages, &added, &waits);
            }
        }
        let all = shape_of(added.iter().flatten().chain(&tags));
        let behind = loosened(world.known(passed, all, Vec::new()), is_whole);
        Additions { at, behind, added: if is_whole { added } else { Vec::new() } }
    }

    /// What is known before any stage has run: where filters stand.
    pub(super) fn before(&self, spec: &Spec, world: &World, here: &Arrivals) -> Known {
        let mut later = Vec::new();
        for (stage, added) in spec.enrichments.iter().zip(&self.added) {
            later.extend(added.iter().map(|(path, _)| Later {
                path: path.clone(),
                why: format!("stage `{}` adds this, and runs behind the filters", stage.name.value),
                help: "ask `event` or `data` here, or let a `route` decide".to_owned(),
            }));
        }
        let is_whole = self.added.len() == spec.enrichments.len();
        loosened(world.known(here, shape_of(&tags(spec)), later), is_whole)
    }
}

/// Says nothing of `enrich` where a stage could not be read.
fn loosened(mut known: Known, is_whole: bool) -> Known {
    if !is_whole {
        known.roots.retain(|it| it.0 != Root::Enrich);
    }
    known
}

/// What filters note of events that they let pass nevertheless.
fn tags(spec: &Spec) -> Added {
    let tagging = spec.filters.iter().filter(|it| it.on_drop == OnDrop::Tag);
    let path = |it: &crate::spec::Filter| vec![it.name.value.replace('-', "_")];
    tagging.map(|it| (path(it), Shape::map([("dropped", Shape::text())]))).collect()
}

fn shape_of<'p>(added: impl IntoIterator<Item = &'p (Vec<String>, Shape)>) -> Shape {
    added.into_iter().fold(Shape::empty_map(), |all, (path, shape)| all.with(path, shape.clone()))
}

fn paths(stage: &Enrichment, adds: Adds) -> Added {
    match adds {
        Adds::Value(shape) => vec![(stage.into.value.clone(), shape)],
        Adds::At(values) => values.into_iter().map(|(path, it)| (path.to_vec(), it)).collect(),
    }
}

/// Everything that ends before a stage starts.
fn waits_of(index: usize, stages: &[Enrichment]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![index];
    while let Some(next) = open.pop() {
        for name in stages[next].after.iter().chain(&stages[next].needs) {
            let place = stages.iter().position(|it| it.name.value == name.value);
            if let Some(place) = place.filter(|it| *it != index && found.insert(*it)) {
                open.push(place);
            }
        }
    }
    found
}

/// What is not there yet when a stage runs, and why.
fn later(
    index: usize,
    stages: &[Enrichment],
    added: &[Added],
    waits: &[BTreeSet<usize>],
) -> Vec<Later> {
    let name = &stages[index].name.value;
    let others = (0..stages.len()).filter(|it| !waits[index].contains(it));
    let entry = |other: usize| {
        let them = &stages[other].name.value;
        let (why, help) = match (other == index, waits[other].contains(&index)) {
            (true, _) => (
                format!("stage `{name}` adds this itself"),
                "read it behind the stage; within one stage nothing is there yet".to_owned(),
            ),
            (_, true) => (
                format!("stage `{them}` adds this, and itself waits for `{name}`"),
                "one of the two must go first".to_owned(),
            ),
            _ => (
                format!("stage `{them}` adds this, and `{name}` does not wait for it"),
                format!("write `after {them}` in `{name}`"),
            ),
        };
        added[other].iter().map(move |(path, _)| Later {
            path: path.clone(),
            why: why.clone(),
            help: help.clone(),
        })
    };
    others.flat_map(entry).collect()
}
