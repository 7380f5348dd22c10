//! Stages that remember, opened: who reads an event for them, and what they noted.

use super::Generation;
use crate::intake::Rejection;
use compiler::plan::Plan;
use kernel::event::Event;
use kernel::time::Timestamp;
use language::expr::Scope;
use serde_json::Value;
use stages::contract::{Enricher, Services};
use stages::memory::{MemoryShape, OpenMemory, ReadKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{DeadLetter, LetterMaker, MemoryNode, Note, NoteRole, Noted, Notes};

/// Where time is that of arrival, whoever brought the event.
const ARRIVALS: &str = " arrivals";

/// A stage that remembers.
#[derive(Debug)]
pub struct OpenedMemory {
    /// What the store knows of it.
    pub node: Arc<MemoryNode>,
    reader: MemoryReader,
    by_arrival: bool,
    /// Whether it adds to the events that it lets pass.
    adds: bool,
}

/// Hides what cannot be shown.
struct MemoryReader(Arc<dyn ReadKey>);

impl std::fmt::Debug for MemoryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryReader")
    }
}

/// The stages that remember, by name.
pub type OpenedMemories = BTreeMap<Arc<str>, Arc<OpenedMemory>>;

impl OpenedMemory {
    /// Of an opened kind. What was counted before goes on, where it is the same stage.
    pub fn new(
        name: &str,
        print: String,
        shape: &MemoryShape,
        open: &OpenMemory,
        plan: &Plan,
        earlier: Option<&Generation>,
    ) -> Self {
        let before = earlier.and_then(|earlier| earlier.memories.get(name));
        let figures = before.filter(|it| it.node.print == print).map(|it| it.node.figures.clone());
        OpenedMemory {
            node: Arc::new(MemoryNode {
                name: name.into(),
                print,
                keys_max: shape.keys_max,
                is_on: !plan.is_switched_off(name),
                priority: plan.priority.default,
                memory: open.memory.clone(),
                figures: figures.unwrap_or_default(),
            }),
            reader: MemoryReader(open.reader.clone()),
            by_arrival: shape.by_arrival,
            adds: false,
        }
    }

    /// It adds to the events that it lets pass, if `adds`.
    fn adding(self, adds: bool) -> Self {
        OpenedMemory { adds, ..self }
    }

    /// The key of an event and what is read off it; `None` where it bypasses the stage.
    pub fn read(&self, event: &Event, now: Timestamp) -> Option<(String, Noted)> {
        self.reader.0.note(event, now)
    }
}

/// Opens everything that remembers and stands at the top of the file. Nothing outside is touched.
pub fn open(
    plan: &Plan,
    earlier: Option<&Generation>,
    services: impl Fn(&str) -> Services,
) -> OpenedMemories {
    let memories = plan.memories().map(|(name, spec)| {
        let open = spec.open(services(name));
        let opened = OpenedMemory::new(name, spec.print(), &spec.shape(), &open, plan, earlier);
        let opened = opened.adding(spec.adds().is_some());
        (Arc::from(name), Arc::new(opened))
    });
    memories.collect()
}

/// The same for the enrichments that remember, once they are opened.
pub fn of_stages(
    plan: &Plan,
    stages: &[Option<Arc<super::OpenStage>>],
    earlier: Option<&Generation>,
) -> OpenedMemories {
    let mut memories = OpenedMemories::new();
    for (stage, opened) in plan.stages.iter().zip(stages) {
        let (Some(shape), Some(print)) = (stage.spec.memory(), stage.memory_print()) else {
            continue;
        };
        let Some(Enricher::Memory(open)) = opened.as_ref().map(|opened| &*opened.enricher) else {
            continue;
        };
        let opened = OpenedMemory::new(&stage.name, print, &shape, open, plan, earlier);
        memories.insert(stage.name.clone(), Arc::new(opened));
    }
    memories
}

/// What a filter that remembers noted.
#[derive(Debug)]
pub struct FilterNote {
    /// The filter.
    pub memory: Arc<OpenedMemory>,
    /// The key.
    pub key: String,
    /// What it read.
    pub noted: Noted,
    /// What becomes of an event that does not pass.
    pub otherwise: NotPassing,
}

/// What becomes of an event that a filter does not let pass.
#[derive(Debug)]
pub enum NotPassing {
    /// It is let go.
    Dropped,
    /// It is refused and kept.
    Refused(Box<Rejection>),
    /// It goes on with this under `enrich`.
    Tagged(Value),
}

/// Gathers what is noted about one event.
pub struct Notebook<'a> {
    event: &'a Event,
    notes: Notes,
}

/// Everything noted about one event.
pub struct NotedEvent {
    /// What is judged.
    pub notes: Notes,
    /// Whether the event has to wait for what is decided.
    pub answers: bool,
    /// By filter: why it refuses the event, where it does.
    pub refusals: Vec<(Arc<str>, Rejection)>,
}

impl NotedEvent {
    /// What filters noted about an event that `lane` brought or caused, and what `more` adds.
    /// `letter` makes the dead letter of a refusal, where one is to be kept.
    pub fn gather(
        lane: Arc<str>,
        event: &Event,
        filters: Vec<FilterNote>,
        letter: impl Fn(&Rejection) -> Option<DeadLetter>,
        more: impl FnOnce(&mut Notebook<'_>),
    ) -> Self {
        let notes = Notes { lanes: vec![(lane, event.counts_at())], all: Vec::new() };
        let mut notebook = Notebook { event, notes };
        let refusals = notebook.add_filters(filters, letter);
        more(&mut notebook);
        let notes = notebook.notes;
        let answers = notes.all.iter().any(|it| it.role.answers());
        NotedEvent { notes, answers, refusals }
    }
}

impl Notebook<'_> {
    /// Adds a note of a stage.
    pub fn add(&mut self, memory: &OpenedMemory, key: String, noted: Noted, role: NoteRole) {
        let lane = if memory.by_arrival { self.arrivals() } else { 0 };
        self.notes.all.push(Note { node: memory.node.clone(), key, noted, lane, role });
    }

    fn arrivals(&mut self) -> usize {
        if self.notes.lanes.len() == 1 {
            let received = self.event.envelope.received;
            self.notes.lanes.push((ARRIVALS.into(), received));
        }
        1
    }

    fn add_filters(
        &mut self,
        filters: Vec<FilterNote>,
        letter: impl Fn(&Rejection) -> Option<DeadLetter>,
    ) -> Vec<(Arc<str>, Rejection)> {
        let mut refusals = Vec::new();
        for FilterNote { memory, key, noted, otherwise } in filters {
            let role = match otherwise {
                NotPassing::Dropped if memory.adds => NoteRole::PassesAndAdds,
                NotPassing::Dropped => NoteRole::Passes,
                NotPassing::Tagged(tag) => NoteRole::PassesOrTag(tag.to_string().into()),
                NotPassing::Refused(refusal) => {
                    let letter = letter(&refusal);
                    refusals.push((memory.node.name.clone(), *refusal));
                    let maker = letter.map(|letter| LetterMaker::new(move || letter.clone()));
                    maker.map_or(NoteRole::Passes, NoteRole::PassesOrLetter)
                }
            };
            self.add(&memory, key, noted, role);
        }
        refusals
    }

    /// Adds what those see that look on. None sees what it sent itself: that would be a reason to
    /// send it again.
    pub fn add_watchers(&mut self, generation: &Generation, now: Timestamp) {
        let scope = Scope::of(self.event, now);
        let sender = self.event.sender();
        for watcher in generation.plan.watchers.iter().filter(|watcher| !watcher.is_disabled) {
            if sender == Some(&*watcher.name.value) {
                continue;
            }
            if watcher.when.as_ref().is_some_and(|when| !when.value.is_true(&scope)) {
                continue;
            }
            let memory = generation.memories.get(&*watcher.name.value);
            let memory = memory.expect("everything that remembers is opened");
            if let Some((key, noted)) = memory.read(self.event, now) {
                self.add(memory, key, noted, NoteRole::Watches);
            }
        }
    }
}
