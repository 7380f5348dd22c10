//! Kinds that remember something for each key.
//!
//! Such a kind says three things: what it reads off an event ([`Remember::note`]), what becomes of
//! what it keeps when the event is judged ([`Remember::step`]), and what happens when the time
//! comes that it asked for ([`Remember::wake`]). Everything else is done for it. Events of one key
//! are judged one after the other, in the order of their numbers; what is kept is written in the
//! transaction of the event, survives a restart and a kill, and is the same whether the events come
//! live or out of a backlog.

use crate::contract::{Kind, Services};
use kernel::event::Event;
use kernel::time::Timestamp;
use language::expr::{EventTypes, Expr, Scope, TypeEnv, Val, ValueType};
use language::spanned::Spanned;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use store::{Emission, Memory, Moment, Noted, Step};

/// The longest key, in bytes; longer ones are told apart by their hash.
const KEY_MAX: usize = 256;

/// What a kind keeps for each key, and how it changes. Everything is pure.
pub trait Remember: Send + Sync + 'static {
    /// What is kept for one key. It is stored as JSON; what an older version of the kind stored and
    /// this one cannot read counts as nothing.
    type Kept: Serialize + DeserializeOwned;
    /// What is read off an event.
    type Noted: Send + Sync + 'static;

    /// The key of an event and what to read off it; `None` where it does not concern this stage.
    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, Self::Noted)>;

    /// An event is judged.
    fn step(
        &self,
        kept: Option<Self::Kept>,
        noted: &Self::Noted,
        moment: &Moment<'_>,
    ) -> Change<Self::Kept>;

    /// The time has come that the last step asked for.
    fn wake(&self, _kept: Self::Kept, _moment: &Moment<'_>) -> Change<Self::Kept> {
        Change::forget()
    }

    /// Keys of which something is kept although no event came.
    fn expected(&self) -> &[String] {
        &[]
    }

    /// What is kept of such a key until an event comes.
    fn expect(&self, _moment: &Moment<'_>) -> Change<Self::Kept> {
        Change::forget()
    }
}

/// What a step comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<K> {
    /// What is kept from now on; `None` forgets the key.
    pub kept: Option<K>,
    /// When to look again, by the time of events.
    pub due: Option<Timestamp>,
    /// Whether the event is dropped; only if the kind may do that.
    pub is_dropped: bool,
    /// Whether the event came too late to count.
    pub is_late: bool,
    /// What is added to the event; only where the kind may.
    pub output: Option<Value>,
    /// Events to send.
    pub emits: Vec<Emission>,
}

impl<K> Change<K> {
    /// Nothing is kept.
    pub fn forget() -> Self {
        Change {
            kept: None,
            due: None,
            is_dropped: false,
            is_late: false,
            output: None,
            emits: Vec::new(),
        }
    }

    /// This is kept.
    pub fn keep(kept: K) -> Self {
        Change { kept: Some(kept), ..Change::forget() }
    }

    /// And this is the time to look again.
    #[must_use]
    pub fn until(self, due: Timestamp) -> Self {
        Change { due: Some(due), ..self }
    }

    /// And the event is let go, where `is_dropped`.
    #[must_use]
    pub fn dropping(self, is_dropped: bool) -> Self {
        Change { is_dropped, ..self }
    }
}

/// What a kind that remembers says about one node, beside what it does.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryShape {
    /// The text of the key. What is remembered is kept over a reload while name, kind and this
    /// stay.
    pub key: String,
    /// The most keys.
    pub keys_max: u64,
    /// Whether time is that of arrival, not the event's own.
    pub by_arrival: bool,
    /// What else has to stay, because what is remembered has its form.
    pub form: String,
}

impl MemoryShape {
    /// What is to stay if what is remembered is to be kept.
    pub fn print(&self, word: &str) -> String {
        let clock = if self.by_arrival { " by arrival" } else { "" };
        let form = if self.form.is_empty() { String::new() } else { format!("\n{}", self.form) };
        format!("{word}{clock}\n{}{form}", self.key)
    }
}

/// A kind that remembers and stands at the top of a file.
pub trait MemoryKind: Kind {
    /// What it is to the engine.
    fn shape(settings: &Self::Settings) -> MemoryShape;
    /// What it does with these settings, in a few words for the graph.
    fn says(settings: &Self::Settings) -> String;
    /// What it adds to an event that it lets pass, where it adds anything.
    fn adds(_settings: &Self::Settings) -> Option<ValueType> {
        None
    }
    /// The types that it sends, with what their `data` is known to be.
    fn emits(_settings: &Self::Settings, _known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)> {
        Vec::new()
    }
    /// Of the types that it sees, those of which each event with a key is a reason to send one.
    fn causes(_settings: &Self::Settings, _known: &TypeEnv) -> EventTypes {
        EventTypes::default()
    }
    /// Makes it. Nothing outside is touched.
    fn open(settings: Self::Settings, services: Services) -> OpenMemory;
}

/// ` for KEY`, where there is a key.
pub(crate) fn for_key(key: Option<&Expr>) -> String {
    key.map(|key| format!(" for {}", key.text())).unwrap_or_default()
}

/// A stage that remembers, opened.
#[derive(Clone)]
pub struct OpenMemory {
    /// Reads events.
    pub reader: Arc<dyn ReadKey>,
    /// Judges.
    pub memory: Arc<dyn Memory>,
}

impl OpenMemory {
    /// Of a kind.
    pub fn of(kind: impl Remember) -> Self {
        let shared = Arc::new(Erased(kind));
        OpenMemory { reader: shared.clone(), memory: shared }
    }
}

/// The reading half of [`Remember`].
pub trait ReadKey: Send + Sync {
    /// See [`Remember::note`].
    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, Noted)>;
}

struct Erased<R>(R);

impl<R: Remember> ReadKey for Erased<R> {
    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, Noted)> {
        let (key, noted) = self.0.note(event, now)?;
        Some((key, Arc::new(noted)))
    }
}

impl<R: Remember> Memory for Erased<R> {
    fn step(&self, kept: Option<&str>, noted: &Noted, moment: &Moment<'_>) -> Step {
        let kept = kept.and_then(|it| serde_json::from_str(it).ok());
        let noted = noted.downcast_ref().expect("a stage is given back what it noted");
        written(self.0.step(kept, noted, moment))
    }

    fn wake(&self, kept: &str, moment: &Moment<'_>) -> Step {
        match serde_json::from_str(kept) {
            Ok(kept) => written(self.0.wake(kept, moment)),
            Err(_) => Step::default(),
        }
    }

    fn expected(&self) -> &[String] {
        self.0.expected()
    }

    fn expect(&self, moment: &Moment<'_>) -> Step {
        written(self.0.expect(moment))
    }
}

fn written<K: Serialize>(change: Change<K>) -> Step {
    let Change { kept, due, is_dropped, is_late, output, emits } = change;
    Step {
        kept: kept.map(|it| serde_json::to_string(&it).expect("what is kept becomes JSON")),
        due,
        is_dropped,
        is_late,
        output: output.map(|output| output.to_string()),
        emits,
    }
}

/// The key of an event; `None` where it is null, so that the event bypasses the stage.
pub fn key_of(key: &Expr, scope: &Scope<'_>) -> Option<String> {
    let value = key.eval(scope);
    if value.is_null() {
        return None;
    }
    Some(shortened(match value {
        Val::Text(text) => text.into_owned(),
        value => value.identity(),
    }))
}

/// The same where all events have one key if the file says none.
pub(crate) fn key_or_one(key: Option<&Expr>, scope: &Scope<'_>) -> Option<String> {
    key.map_or(Some(String::new()), |key| key_of(key, scope))
}

/// A key as it is kept: what is too long is told apart by its hash.
pub(crate) fn shortened(text: String) -> String {
    if text.len() <= KEY_MAX {
        return text;
    }
    let mut hasher = siphasher::sip128::SipHasher13::new();
    std::hash::Hasher::write(&mut hasher, text.as_bytes());
    let hash = siphasher::sip128::Hasher128::finish128(&hasher);
    let mut end = KEY_MAX - 40;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…{:032x}", &text[..end], hash.as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_stay_apart() {
        let (one, two) = ("ü".repeat(400), format!("{}!", "ü".repeat(400)));
        let (one, two) = (shortened(one), shortened(two));
        assert!(one.len() <= KEY_MAX && one != two, "{one}");
        assert_eq!(shortened("door".to_owned()), "door");
    }
}
