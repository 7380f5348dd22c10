//! What stages remember by key: the contract between who judges and who writes.
//!
//! A stage notes what it reads off an event on the thread that takes the event in. What it makes
//! of that is decided by the writer, in the transaction of the event and in the order of numbers:
//! two events of one key never overtake each other, and what fails leaves no trace.

use super::record::LetterMaker;
use kernel::event::Priority;
use kernel::time::Timestamp;
use serde_json::Value;
use std::any::Any;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a stage read off an event.
pub type Noted = Arc<dyn Any + Send + Sync>;

/// Decides for one key at a time. Pure: all that it knows is what it is given.
pub trait Memory: Send + Sync + 'static {
    /// An event of this key came. `kept` is what the last step left.
    fn step(&self, kept: Option<&str>, noted: &Noted, moment: &Moment<'_>) -> Step;

    /// The time has come that the last step asked for.
    fn wake(&self, kept: &str, moment: &Moment<'_>) -> Step;

    /// Keys of which something is kept although no event came.
    fn expected(&self) -> &[String] {
        &[]
    }

    /// What is kept of such a key until an event comes.
    fn expect(&self, _moment: &Moment<'_>) -> Step {
        Step::default()
    }
}

/// The event that is judged, or the time that has come.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The key.
    pub key: &'a str,
    /// When it happened: the event's time, or the time that was asked for.
    pub time: Timestamp,
    /// The wall clock. What is remembered of a later time was noted before the clock was set back.
    pub now: Timestamp,
}

/// What a step comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step {
    /// What is kept from now on, as JSON; `None` forgets the key.
    pub kept: Option<String>,
    /// When to look again, by the time of events.
    pub due: Option<Timestamp>,
    /// Whether the event is dropped.
    pub is_dropped: bool,
    /// Whether the event came too late to count.
    pub is_late: bool,
    /// What the stage adds to the event, as JSON.
    pub output: Option<String>,
    /// Events that it sends.
    pub emits: Vec<Emission>,
}

/// An event that a stage sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Emission {
    /// Its type.
    pub kind: Arc<str>,
    /// What it is about: the key.
    pub subject: Arc<str>,
    /// When it happened.
    pub time: Timestamp,
    /// The event that caused it.
    pub parent_id: Option<Arc<str>>,
    /// What it says.
    pub data: Value,
}

/// A stage that remembers.
pub struct MemoryNode {
    /// Its name, under which it sends events.
    pub name: Arc<str>,
    /// Kind and key: what it remembers is kept over a reload while this stays.
    pub print: String,
    /// The most keys; beyond, those without an event for the longest time are forgotten.
    pub keys_max: u64,
    /// Whether it is switched on. While it is not, what it remembers stays as it is.
    pub is_on: bool,
    /// The priority of what it sends, before the rules of the file.
    pub priority: Priority,
    /// Decides.
    pub memory: Arc<dyn Memory>,
    /// What it counts.
    pub figures: Arc<MemoryFigures>,
}

/// What a stage that remembers counts.
#[derive(Debug, Default)]
pub struct MemoryFigures {
    /// Keys that are remembered.
    pub keys: AtomicU64,
    /// Those of them whose stage wants to look again at some time.
    pub timers: AtomicU64,
    /// Keys that were forgotten to make room.
    pub evicted: AtomicU64,
    /// Events that it sent.
    pub emitted: AtomicU64,
    /// Events that came too late to count.
    pub late: AtomicU64,
}

impl MemoryFigures {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl Debug for MemoryNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNode").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A time at which a stage wants to look at a key again; the first time is the least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryTimer {
    /// When, by the time of events.
    pub due: Timestamp,
    /// The stage.
    pub memory: String,
    /// The key.
    pub key: String,
}

/// What one stage noted about one event.
#[derive(Clone)]
pub struct Note {
    /// The stage.
    pub node: Arc<MemoryNode>,
    /// The key.
    pub key: String,
    /// What it read.
    pub noted: Noted,
    /// By which of [`Notes::lanes`] it counts.
    pub lane: usize,
    /// What its word means for the event.
    pub role: NoteRole,
}

/// What the word of a stage means for the event.
#[derive(Debug, Clone)]
pub enum NoteRole {
    /// It may let the event go, and nothing is kept of it.
    Passes,
    /// It may let the event go, and adds to what passes.
    PassesAndAdds,
    /// It may let the event go, which then is a dead letter.
    PassesOrLetter(LetterMaker),
    /// It may say that it would have let the event go; this is what is added then, as JSON.
    PassesOrTag(Arc<str>),
    /// It adds to the event.
    Adds,
    /// It looks on, and may send events of its own.
    Watches,
}

impl NoteRole {
    pub(super) fn is_passing(&self) -> bool {
        !matches!(self, NoteRole::Adds | NoteRole::Watches)
    }

    /// Whether the event has to wait for what the writer decides.
    pub fn answers(&self) -> bool {
        matches!(self, NoteRole::PassesAndAdds | NoteRole::PassesOrTag(_) | NoteRole::Adds)
    }
}

impl Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note").field("node", &self.node).field("key", &self.key).finish()
    }
}

/// Everything that stages noted about one event.
#[derive(Debug, Clone)]
pub struct Notes {
    /// Whose time goes on, and up to when: that of the source which brought the event or caused
    /// it, never beyond its arrival; and that of arrivals, where a stage counts by it.
    pub lanes: Vec<(Arc<str>, Timestamp)>,
    /// What was noted, those that let pass first, in the order of the file.
    pub all: Vec<Note>,
}
