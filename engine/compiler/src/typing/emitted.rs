//! The events that stages send: whether they come back to who sent them, and whether anybody gets
//! them.

use super::Typing;
use super::stages_known::Additions;
use crate::spec::MemoryNode;
use language::diagnostic::Rule;
use language::expr::{EventType, EventTypes, TypeEnv};
use language::spanned::Spanned;
use std::collections::BTreeMap;

/// A type that a stage sends.
struct Emitted {
    /// Which of the stages sends it.
    sender: usize,
    kind: Spanned<String>,
    /// The stages for which each event of it is a reason to send something.
    causes: Vec<usize>,
    /// Whether any stage sees events of it.
    is_seen: bool,
}

impl Typing<'_, '_> {
    /// Looks at each type that a stage sends.
    pub(super) fn emitted(
        &mut self,
        additions: &Additions,
        passed: &EventTypes,
        reached: &BTreeMap<&str, EventTypes>,
    ) {
        let known = additions.at_intake(self.spec, self.world, passed);
        let memories: Vec<MemoryNode<'_>> = self.spec.memories().collect();
        let emitted = list_emitted(&memories, &known);
        self.report_loops(&memories, &emitted);
        for it in &emitted {
            if !it.is_seen && !self.arrives(&it.kind.value, &additions.behind, reached) {
                let name = &memories[it.sender].name.value;
                self.tell
                    .diagnostics
                    .push(
                        Rule::EmittedNowhere,
                        format!(
                            "no sink or notifier receives the event `{}` that `{name}` sends",
                            it.kind.value
                        ),
                    )
                    .at(it.kind.span.clone(), "goes nowhere")
                    .help(
                        "send it somewhere in the route, or remove the condition that excludes it",
                    );
            }
        }
    }

    /// Reports each type by which a stage comes to be the reason for what it sends itself.
    fn report_loops(&mut self, memories: &[MemoryNode<'_>], emitted: &[Emitted]) {
        let mut told: Vec<usize> = Vec::new();
        for it in emitted {
            let Some(way) = way_back(emitted, it) else { continue };
            // One of a loop tells of it.
            if way.iter().any(|it| told.contains(it)) {
                continue;
            }
            told.extend(&way);
            let names = way.iter().map(|index| format!("`{}`", memories[*index].name.value));
            let names = names.collect::<Vec<_>>();
            let next = &memories[way[1 % way.len()]];
            let kind = &it.kind.value;
            let condition = match next.when {
                Some(when) => format!("{} && event.type != '{kind}'", when.value.text()),
                None => format!("event.type != '{kind}'"),
            };
            self.tell
                .diagnostics
                .push(
                    Rule::EmissionLoop,
                    format!("{} trigger each other without end", names.join(" and ")),
                )
                .at(it.kind.span.clone(), format!("triggers `{}`", next.name.value))
                .help(format!("in `{}`, write `when \"{condition}\"`", next.name.value));
        }
    }

    /// Whether any sink or notifier gets events of this type.
    fn arrives(&self, kind: &str, known: &TypeEnv, reached: &BTreeMap<&str, EventTypes>) -> bool {
        let mut targets = self.spec.targets().peekable();
        // Without any, the events stay in memory, where the API shows them.
        if targets.peek().is_none() {
            return true;
        }
        targets.any(|(name, when)| {
            let here = reached.get(name.value.as_str()).unwrap_or(&self.world.all);
            let known = known.narrowed(&only(here, kind));
            !known.here.is_empty()
                && when.is_none_or(|when| !known.check(&when.value).holds.is_empty())
        })
    }
}

/// Every type that a stage sends.
fn list_emitted(memories: &[MemoryNode<'_>], known: &TypeEnv) -> Vec<Emitted> {
    let mut all = Vec::new();
    for (sender, memory) in memories.iter().enumerate() {
        for (kind, _) in memory.spec.emits(&seen(*memory, known)) {
            let others = memories.iter().enumerate().filter(|it| it.0 != sender);
            let here = known.narrowed(&only(&known.here, &kind.value));
            // What only lets events pass gets nothing.
            let acts = |node: &MemoryNode<'_>| !node.spec.emits(&here).is_empty();
            let is_seen =
                others.clone().any(|(_, it)| acts(it) && !seen(*it, &here).here.is_empty());
            let causes = others.filter(|(_, it)| {
                let seen = seen_always(**it, &here);
                !it.spec.causes(&seen).is_empty()
            });
            let causes = causes.map(|cause| cause.0).collect();
            all.push(Emitted { sender, kind, causes, is_seen });
        }
    }
    all
}

/// What a stage always sees of what is there. What hangs on the values of an event may end by
/// itself, and is no mistake.
fn seen_always(memory: MemoryNode<'_>, known: &TypeEnv) -> TypeEnv {
    match memory.when {
        Some(when) => known.narrowed(&known.always(&when.value)),
        None => known.clone(),
    }
}

/// What a stage may see of what is there.
fn seen(memory: MemoryNode<'_>, known: &TypeEnv) -> TypeEnv {
    match memory.when {
        Some(when) => known.narrowed(&known.check(&when.value).holds),
        None => known.clone(),
    }
}

fn only(types: &EventTypes, kind: &str) -> EventTypes {
    let own: Vec<EventType> = types.iter().filter(|it| *it.kind == *kind).cloned().collect();
    own.into()
}

/// The stages from the sender of a type back to itself, where the type leads there.
fn way_back(emitted: &[Emitted], first: &Emitted) -> Option<Vec<usize>> {
    let mut ways: Vec<Vec<usize>> =
        first.causes.iter().map(|next| vec![first.sender, *next]).collect();
    let mut seen: Vec<usize> = Vec::new();
    while let Some(way) = ways.pop() {
        let at = *way.last().expect("a way has an end");
        if seen.contains(&at) {
            continue;
        }
        seen.push(at);
        for next in emitted.iter().filter(|it| it.sender == at).flat_map(|it| &it.causes) {
            if *next == first.sender {
                return Some(way);
            }
            ways.push(way.iter().copied().chain([*next]).collect());
        }
    }
    None
}
