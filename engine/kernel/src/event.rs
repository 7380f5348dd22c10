//! What travels: an event, immutable once emitted but for its growing additions.

use crate::additions::Additions;
use crate::attempts::AttemptLog;
use crate::choice::Choice;
use crate::time::Timestamp;
use serde_json::Value;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How urgent an event is. Ordered: `Low < Normal < High < Critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Kept shortest.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Worth telling.
    High,
    /// Worth waking someone.
    Critical,
}

impl Priority {
    /// Every level, lowest first.
    pub const ALL: [Priority; 4] =
        [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

    /// The level's word: `low`, `normal`, `high` or `critical`.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// Reads a priority level, in upper or lower case (`HIGH` is `high`).
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word().eq_ignore_ascii_case(text))
    }

    /// The level with this number, as [`Priority::ALL`] counts them.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

impl Choice for Priority {
    const ALL: &'static [Self] = &Priority::ALL;
    const WORDS: &'static [&'static str] = &["low", "normal", "high", "critical"];
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What every event says about itself, as `map` read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The sender's id, or one that we made. With `source` it makes the event unique.
    pub id: Arc<str>,
    /// The event's type, such as `DOORBELL_PRESSED`.
    pub kind: Arc<str>,
    /// Where the event comes from.
    pub source: Arc<str>,
    /// What it is about; empty when nothing was said.
    pub subject: Arc<str>,
    /// When it happened, by the sender's clock.
    pub time: Timestamp,
    /// When it reached us.
    pub received: Timestamp,
    /// How urgent it is.
    pub priority: Priority,
    /// An id that groups related events.
    pub correlation_id: Option<Arc<str>>,
    /// The event that it came from.
    pub parent_id: Option<Arc<str>>,
}

/// The bytes of an event as received, and where `data` stands in them; or its data alone, where the
/// file keeps no more.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// Exactly what was received, unless `data` is [`DataAt::Alone`].
    pub bytes: Arc<[u8]>,
    /// Where the JSON text of `data` is.
    pub data: DataAt,
}

/// Where the JSON text of an event's `data` is.
#[derive(Debug, Clone, PartialEq)]
pub enum DataAt {
    /// A range of the received bytes.
    Slice(Range<usize>),
    /// Not in the received bytes (computed by `map`): JSON text of its own.
    Own(Arc<str>),
    /// It is all of the bytes: the message that it was taken from is not kept. The message itself
    /// is there until the event has claimed its id, because it tells a repetition from a conflict.
    Alone(Option<Arc<[u8]>>),
}

impl Body {
    /// The bytes that it takes in the store.
    pub fn size(&self) -> u64 {
        let own = match &self.data {
            DataAt::Slice(_) | DataAt::Alone(_) => 0,
            DataAt::Own(text) => text.len(),
        };
        (self.bytes.len() + own) as u64
    }

    /// The bytes as received, while they are there.
    pub fn received(&self) -> &[u8] {
        match &self.data {
            DataAt::Alone(Some(received)) => received,
            _ => &self.bytes,
        }
    }

    /// The message that was received, where it is kept: what `raw` reads.
    pub fn message(&self) -> Option<&[u8]> {
        (!matches!(self.data, DataAt::Alone(_))).then_some(&*self.bytes)
    }

    /// Its data without the rest of the message.
    #[must_use]
    pub fn alone(self) -> Self {
        let is_whole = match &self.data {
            DataAt::Slice(range) => *range == (0..self.bytes.len()),
            DataAt::Own(_) => false,
            DataAt::Alone(_) => true,
        };
        if is_whole {
            return self;
        }
        let data = self.data_text().as_bytes().into();
        Body { bytes: data, data: DataAt::Alone(Some(self.bytes)) }
    }

    /// The event has claimed its id: the message is not needed any more.
    #[must_use]
    pub fn claimed(mut self) -> Self {
        if let DataAt::Alone(received) = &mut self.data {
            *received = None;
        }
        self
    }

    /// The JSON text of `data`.
    pub fn data_text(&self) -> &str {
        match &self.data {
            DataAt::Slice(range) => std::str::from_utf8(&self.bytes[range.clone()])
                .expect("only bodies that are UTF-8 are sliced, and only between values"),
            DataAt::Own(text) => text,
            DataAt::Alone(_) => {
                std::str::from_utf8(&self.bytes).expect("the data is JSON text of our own")
            }
        }
    }
}

/// An event on its way through the stages.
///
/// Cloning shares the payload; only the additions are copied.
#[derive(Debug, Clone)]
pub struct Event {
    /// The number given in the commit that accepted it; 0 before.
    pub seq: u64,
    /// The generation that it runs under.
    pub generation: u64,
    /// What it says about itself.
    pub envelope: Envelope,
    /// Its bytes.
    pub body: Body,
    /// The parsed payload.
    pub data: Arc<Value>,
    /// The whole decoded message, kept only where the file reads `raw`.
    pub raw: Option<Arc<Value>>,
    /// What the enrichments added, as the tree under `enrich`.
    pub enrich: Additions,
    /// What expressions read besides: the parameters, labels and zone of its generation.
    pub globals: Arc<Globals>,
}

impl Event {
    /// When it counts as having happened: at the latest when it arrived, since a clock that is
    /// ahead must not make everything that waits due.
    pub fn counts_at(&self) -> Timestamp {
        self.envelope.time.min(self.envelope.received)
    }

    /// The stage that sent it; `None` where it came in. To be asked before the event has passed the
    /// filters: until then only what a stage sent has a number.
    pub fn sender(&self) -> Option<&str> {
        (self.seq != 0).then_some(&*self.envelope.source)
    }
}

/// An event whose stages have ended: all that is left of it is to be stored.
#[derive(Debug, Clone)]
pub struct EndedEvent {
    /// The number given in the commit that accepted it; 0 when it was not accepted before.
    pub seq: u64,
    /// The generation that it ran under.
    pub generation: u64,
    /// What it says about itself.
    pub envelope: Envelope,
    /// Its bytes.
    pub body: Body,
    /// What the enrichments added, as one JSON object.
    pub enrich: Arc<str>,
}

impl From<Event> for EndedEvent {
    /// Here, and not where it is stored: trees are freed by the thread that made them.
    fn from(event: Event) -> Self {
        let Event { seq, generation, envelope, body, enrich, .. } = event;
        EndedEvent { seq, generation, envelope, body, enrich: enrich.to_json().into() }
    }
}

/// How a stage ended for one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did its work.
    Ok,
    /// It was not called: its `when` was false, it is off, or a stage that it needs failed.
    Skipped,
    /// Its last attempt faulted.
    Failed,
    /// It, or the whole event, ran out of time.
    TimedOut,
    /// Its breaker was open.
    CircuitOpen,
    /// Its answer came from the cache.
    Cached,
}

impl Outcome {
    /// Every outcome, in the order of its code.
    pub const ALL: [Outcome; 6] = [
        Outcome::Ok,
        Outcome::Skipped,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::CircuitOpen,
        Outcome::Cached,
    ];

    /// The outcome's word, as shown everywhere.
    pub fn word(self) -> &'static str {
        ["ok", "skipped", "failed", "timed-out", "circuit-open", "cached"][self as usize]
    }
}

/// What one stage did for one event; kept with the event.
#[derive(Debug, Clone, PartialEq)]
pub struct StageResult {
    /// The stage's name.
    pub stage: Arc<str>,
    /// The stage's kind.
    pub kind: Arc<str>,
    /// How it ended.
    pub outcome: Outcome,
    /// How often it was tried; 0 when skipped.
    pub attempts: u32,
    /// When its first attempt started, wall clock.
    pub started: Timestamp,
    /// How long it took, retries and their waits included, in microseconds.
    pub micros: u64,
    /// Why it did not succeed.
    pub error: Option<Arc<str>>,
    /// Its attempts, where they say more than the rest does: one alone is the whole of it.
    pub attempt_log: AttemptLog,
}

/// The roots that are the same for every event of a generation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Globals {
    /// `param`.
    pub param: Value,
    /// `server`.
    pub server: Value,
    /// `pipeline`.
    pub pipeline: Value,
    /// The time zone used in templates; UTC when there is none.
    pub zone: Option<jiff::tz::TimeZone>,
    /// Under which name below `enrich` it is said where in a visit an event is.
    pub lifecycle: Option<String>,
    /// Where people elsewhere find the engine's page: `public-url` without a slash at its end.
    pub page: Option<String>,
}
