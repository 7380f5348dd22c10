//! What enrichments add, and what of it is there when another one runs.

use super::arrivals::ProgramInputs;

use crate::spec::{Enrichment, MemoryNode, OnDrop, Spec, tag_of};
use language::expr::{EventTypes, NotYetSet, Root, TypeEnv, ValueType};
use stages::contract::Adds;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What of a stage's addition another one can read is worked out for each pair of stages; a file
/// with more of them is not asked for it.
const STAGES_MAX: usize = 256;

/// What is known behind and between the stages.
pub(super) struct Additions {
    /// Where a stage runs, by its name: for the events that it runs for.
    pub(super) at: BTreeMap<String, TypeEnv>,
    /// Behind all of them.
    pub(super) behind: TypeEnv,
    /// What each stage adds, in file order; nothing when a stage could not be read.
    added: Vec<Added>,
    /// What each stage waits for, in file order.
    waits: Vec<BTreeSet<usize>>,
}

/// Paths below `enrich`, and what stands there.
type Added = Vec<(Vec<String>, ValueType)>;

impl Additions {
    /// `is_whole` says that every stage of the file could be read.
    pub(super) fn of(
        spec: &Spec,
        world: &ProgramInputs,
        passed: &EventTypes,
        is_whole: bool,
    ) -> Additions {
        let stages = &spec.enrichments;
        if !is_whole || STAGES_MAX < stages.len() {
            return Additions::unknown(spec, world, passed);
        }
        let mut tags = tags(spec);
        tags.extend(decided(spec));
        let mut added: Vec<Option<Added>> = stages.iter().map(|_| None).collect();
        let mut at = BTreeMap::new();
        let waits = waits(stages);
        let mut left: Vec<usize> = (0..stages.len()).collect();
        while !left.is_empty() {
            // In a cycle nothing is ready; any will do, since the cycle is told.
            let is_ready = |number: &usize| waits[*number].iter().all(|it| added[*it].is_some());
            let next = left.iter().position(is_ready).unwrap_or(0);
            let index = left.remove(next);
            let stage = &stages[index];
            let before = waits[index].iter().filter_map(|it| added[*it].as_ref()).flatten();
            let enrich = shape_of(before.chain(&tags));
            let known = world.known(passed, enrich, Vec::new());
            let here = stage.when.as_ref().map(|when| known.check(&when.value).holds);
            let known = known.narrowed(here.as_ref().unwrap_or(passed));
            added[index] = Some(paths(stage, stage.spec.adds(&known)));
            at.insert(stage.name.value.clone(), known);
        }
        let added: Vec<Added> = added.into_iter().map(Option::unwrap_or_default).collect();
        for (index, stage) in stages.iter().enumerate() {
            if let Some(known) = at.get_mut(&stage.name.value) {
                known.later = later(index, stages, &added, &waits).into();
            }
        }
        let all = shape_of(added.iter().flatten().chain(&tags));
        let behind = world.known(passed, all, Vec::new());
        Additions { at, behind, added, waits }
    }

    /// Nothing is said of what stages add.
    fn unknown(spec: &Spec, world: &ProgramInputs, passed: &EventTypes) -> Additions {
        let behind = loosened(world.known(passed, ValueType::any(), Vec::new()));
        let at = spec.enrichments.iter().map(|stage| {
            let here = stage.when.as_ref().map(|when| behind.check(&when.value).holds);
            (stage.name.value.clone(), behind.narrowed(here.as_ref().unwrap_or(passed)))
        });
        Additions { at: at.collect(), behind, added: Vec::new(), waits: Vec::new() }
    }

    /// The paths that the stage of this place in the file writes; none where that is not known.
    pub(super) fn paths(&self, index: usize) -> impl Iterator<Item = &[String]> {
        self.added.get(index).into_iter().flatten().map(|it| it.0.as_slice())
    }

    /// Whether the stage of this place in the file waits for the other one.
    pub(super) fn waits(&self, index: usize, other: usize) -> bool {
        self.waits.get(index).is_some_and(|it| it.contains(&other))
    }

    /// What is known where an event is looked at as it comes in: behind the stages that call nobody
    /// and wait for nobody who does.
    pub(super) fn at_intake(
        &self,
        spec: &Spec,
        world: &ProgramInputs,
        here: &EventTypes,
    ) -> TypeEnv {
        let stages = &spec.enrichments;
        if self.added.len() != stages.len() {
            return loosened(world.known(here, ValueType::any(), Vec::new()));
        }
        let is_early = |at: usize| {
            !stages[at].runs_late() && !self.waits[at].iter().any(|it| stages[*it].runs_late())
        };
        let (early, late): (Vec<usize>, Vec<usize>) =
            (0..stages.len()).partition(|it| is_early(*it));
        let later = late.into_iter().flat_map(|at| {
            let name = &stages[at].name.value;
            self.added[at].iter().map(move |(path, _)| NotYetSet {
                path: path.clone(),
                why: format!(
                    "stage `{name}` adds this, but runs only after this expression is evaluated"
                ),
                help:
                    "read the event itself, or what `set`, `lookup` and `metadata` add; \
                       `previous`, `baseline`, `http` and `exec` run later, and so do stages that wait \
                       for them"
                        .to_owned(),
            })
        });
        let later = later.chain(not_decided(spec));
        let tags = tags(spec);
        let added = early.iter().flat_map(|at| &self.added[*at]);
        world.known(here, shape_of(added.chain(&tags)), later.collect())
    }

    /// What is known before any stage has run: where filters stand.
    pub(super) fn before(&self, spec: &Spec, world: &ProgramInputs, here: &EventTypes) -> TypeEnv {
        let mut later = Vec::new();
        for (stage, added) in spec.enrichments.iter().zip(&self.added) {
            later.extend(added.iter().map(|(path, _)| NotYetSet {
                path: path.clone(),
                why: format!("stage `{}` adds this, and runs after the filters", stage.name.value),
                help: "use `event` or `data` here, or let a `route` decide".to_owned(),
            }));
        }
        later.extend(not_decided(spec));
        let known = world.known(here, shape_of(&tags(spec)), later);
        let is_known = self.added.len() == spec.enrichments.len();
        if is_known { known } else { loosened(known) }
    }
}

/// Says nothing of `enrich`: a stage could not be read, or there are too many.
fn loosened(mut known: TypeEnv) -> TypeEnv {
    known.roots.retain(|root| root.0 != Root::Enrich);
    known
}

/// What filters note of events that they let pass nevertheless.
fn tags(spec: &Spec) -> Added {
    let tagging = spec.filters.iter().filter(|filter| filter.on_drop == OnDrop::Tag);
    let path = |filter: &crate::spec::Filter| vec![crate::spec::tag_of(&filter.name.value)];
    tagging
        .map(|tagging| (path(tagging), ValueType::map([("dropped", ValueType::text())])))
        .collect()
}

/// What filters that remember add to the events that they let pass.
fn decided(spec: &Spec) -> Added {
    let path = |node: MemoryNode<'_>| Some((vec![tag_of(&node.name.value)], node.spec.adds()?));
    spec.memories().filter_map(path).collect()
}

/// The same where it is not known yet.
fn not_decided(spec: &Spec) -> impl Iterator<Item = NotYetSet> {
    let adding = spec.memories().filter(|memory| memory.spec.adds().is_some());
    adding.map(|it| NotYetSet {
        path: vec![tag_of(&it.name.value)],
        why: format!("`{}` adds this when the event is stored, after this is read", it.name.value),
        help: "use it in a stage, in `priority`, in the route, or in the `when` of a sink or \
               notifier"
            .to_owned(),
    })
}

fn shape_of<'p>(added: impl IntoIterator<Item = &'p (Vec<String>, ValueType)>) -> ValueType {
    let mut all = ValueType::empty_map();
    for (path, shape) in added {
        all.put(path, shape.clone());
    }
    all
}

fn paths(stage: &Enrichment, adds: Adds) -> Added {
    match adds {
        Adds::Value(shape) => vec![(stage.into.value.clone(), shape.in_json())],
        Adds::At(values) => {
            values.into_iter().map(|(path, it)| (path.to_vec(), it.in_json())).collect()
        }
    }
}

/// Everything that ends before each stage starts.
fn waits(stages: &[Enrichment]) -> Vec<BTreeSet<usize>> {
    let places: HashMap<&str, usize> =
        stages.iter().enumerate().map(|(index, it)| (it.name.value.as_str(), index)).collect();
    let of = |index: usize| {
        let (mut found, mut open) = (BTreeSet::new(), vec![index]);
        while let Some(next) = open.pop() {
            for name in stages[next].after.iter().chain(&stages[next].needs) {
                let place = places.get(name.value.as_str()).copied();
                if let Some(place) = place.filter(|place| *place != index && found.insert(*place)) {
                    open.push(place);
                }
            }
        }
        found
    };
    (0..stages.len()).map(of).collect()
}

/// What is not there yet when a stage runs, and why.
fn later(
    index: usize,
    stages: &[Enrichment],
    added: &[Added],
    waits: &[BTreeSet<usize>],
) -> Vec<NotYetSet> {
    let name = &stages[index].name.value;
    let others = (0..stages.len()).filter(|it| !waits[index].contains(it));
    let entry = |other: usize| {
        let them = &stages[other].name.value;
        let (why, help) = match (other == index, waits[other].contains(&index)) {
            (true, _) => (
                format!("stage `{name}` adds this itself"),
                "read it after the stage; within the stage it does not exist yet".to_owned(),
            ),
            (_, true) => (
                format!("stage `{them}` adds this, and itself waits for `{name}`"),
                "one of the two has to run first".to_owned(),
            ),
            _ => (
                format!("stage `{them}` adds this, and `{name}` does not wait for it"),
                format!("write `after {them}` in `{name}`"),
            ),
        };
        added[other].iter().map(move |(path, _)| NotYetSet {
            path: path.clone(),
            why: why.clone(),
            help: help.clone(),
        })
    };
    others.flat_map(entry).collect()
}
