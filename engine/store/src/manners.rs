//! Whether and when a notification is sent: the rules of each notifier, as far as they are applied
//! in the transaction of an event.

use super::record::NewDelivery;
use kernel::choice;
use kernel::choice::Choice;
use kernel::hours::QuietHours;
use kernel::time::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

choice! {
    /// What becomes of a message that may not be sent now.
    pub enum Excess {
        /// It is suppressed.
        Drop = "drop",
        /// It waits, as a message of its own.
        Delay = "delay",
        /// It waits, and one message tells of all that wait.
        Digest = "digest",
    }
}

/// The most nodes of quiet hours that one notifier has: a delivery keeps a bit for each.
pub const QUIET_MAX: usize = 32;

/// The rules of one notifier that the writer applies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NotifyRules {
    /// Its name.
    pub target: Arc<str>,
    /// When it is quiet; the first that holds decides.
    pub quiet: Vec<QuietRule>,
    /// How many messages it sends.
    pub rate: Option<MessageRate>,
    /// What is told together.
    pub group: Option<GroupRule>,
    /// For how long a message may be replaced by a later one of its key.
    pub update: Option<Duration>,
    /// How long it waits for a fact.
    pub wait: Option<Duration>,
    /// How an alert is sent again.
    pub repeat: Option<RepeatRule>,
    /// Whether it takes alerts back.
    pub recovers: bool,
    /// Who gets an alert when nobody reacts.
    pub escalate: Option<EscalateRule>,
}

impl NotifyRules {
    /// Whether its deliveries are alerts.
    pub(super) fn has_alerts(&self) -> bool {
        self.repeat.is_some() || self.recovers || self.escalate.is_some()
    }
}

/// An alert that is sent again until somebody reacts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RepeatRule {
    /// The time between two of them.
    pub every: Duration,
    /// How often at most.
    pub max: u32,
}

/// An alert that others get when nobody reacts.
#[derive(Debug, Clone, PartialEq)]
pub struct EscalateRule {
    /// The time to react, from the moment at which somebody was told.
    pub after: Duration,
    /// Who gets it.
    pub to: Vec<Arc<str>>,
}

/// An event that waits for a fact, or brings it.
#[derive(Debug, Clone, PartialEq)]
pub struct FactClaim {
    /// What is told apart.
    pub key: String,
    /// Whether it brings the fact.
    pub is_fact: bool,
    /// Whether the event would have gone to the notifier anyway.
    pub is_routed: bool,
}

/// The all-clear of alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// Of which alerts.
    pub key: String,
    /// Whether the event would have gone to the notifier anyway.
    pub is_routed: bool,
}

/// Hours in which nobody is notified.
#[derive(Debug, Clone, PartialEq)]
pub struct QuietRule {
    /// The hours.
    pub hours: QuietHours,
    /// What becomes of a message meanwhile.
    pub excess: Excess,
}

/// How many messages are sent in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MessageRate {
    /// The time between two messages in the long run.
    pub interval: Duration,
    /// How many may be sent at once.
    pub burst: u32,
    /// What becomes of the others.
    pub excess: Excess,
}

impl MessageRate {
    /// So many microseconds after a message the next one may be sent, in the long run.
    pub(super) fn interval_micros(&self) -> i64 {
        i64::try_from(self.interval.as_micros()).unwrap_or(i64::MAX >> 8).max(1)
    }

    /// By how many microseconds a message may be ahead of that.
    pub(super) fn slack_micros(&self) -> i64 {
        self.interval_micros().saturating_mul(i64::from(self.burst.saturating_sub(1)))
    }
}

/// Events of a key that one message tells together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupRule {
    /// How long the first one of a key waits for others.
    pub wait: Duration,
    /// How long after a message the next one of the same key is sent at the earliest.
    pub then: Option<Duration>,
}

choice! {
    /// What silences a notifier for a key.
    pub enum Silencer {
        /// An event after which nothing is sent for a while.
        Mute = "mute",
        /// Another event that came shortly before.
        Unless = "unless",
    }
}

/// A key that an event silences, or that an event is silenced by: by the time of events.
#[derive(Debug, Clone, PartialEq)]
pub struct SilenceClaim {
    /// The word of the file.
    pub by: Silencer,
    /// What tells it from other rules with this word.
    pub rule: String,
    /// What is told apart.
    pub key: String,
    /// When the event happened.
    pub time: Timestamp,
    /// For how long.
    pub window: Duration,
}

impl SilenceClaim {
    /// Where the store keeps when it began.
    pub(super) fn state_key(&self) -> String {
        format!("{}:{}:{}", self.by.word(), self.rule, self.key)
    }
}

/// What a notifier's rules need to know of an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryTraits {
    /// What may silence it.
    pub silences: Vec<SilenceClaim>,
    /// What it is told together with; `None` where it is told alone.
    pub group: Option<String>,
    /// The quiet hours that do not hold it, a bit for each.
    pub allowed: u32,
    /// Why its notifier has it, where no route sends the event there.
    pub via: Option<Relay>,
    /// What is delivered instead if it cannot wait for its turn.
    pub fallbacks: Vec<NewDelivery>,
    /// The key of the message that it sends or changes; `None` where its message is its own.
    pub message_key: Option<String>,
    /// The fact that it waits for or brings; `None` where it does neither.
    pub fact: Option<FactClaim>,
    /// The key of the alert that it is.
    pub alert: Option<String>,
    /// Where it is no alert but takes some back.
    pub recovery: Option<Recovery>,
    /// What is delivered to others if nobody reacts.
    pub escalations: Vec<NewDelivery>,
}

choice! {
    /// Why a notifier hands an event to another one.
    pub enum RelayWord {
        /// It could not deliver it.
        Fallback = "fallback",
        /// Nobody reacted in time.
        Escalate = "escalate",
        /// It takes back what it sent before: it is its own.
        Recover = "recover",
    }
}

/// Where a delivery came from that no route makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Why.
    pub word: RelayWord,
    /// Who handed it on.
    pub from: Arc<str>,
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word.word(), self.from)
    }
}

impl Relay {
    /// Reads what `Display` wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (word, from) = text.split_once(' ')?;
        Some(Relay { word: RelayWord::of_word(word)?, from: from.into() })
    }
}
