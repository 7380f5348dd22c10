//! What goes into the store and what comes out of it.

use super::held::NEVER;
use super::manners::{DeliveryTraits, NotifyRules, Relay, SilenceClaim};
use super::memory::{MemoryNode, Notes};
use kernel::attempts::{AttemptLog, AttemptRecord};
use kernel::event::{Body, DataAt, EndedEvent, Envelope, Event, StageResult};
use kernel::time::Timestamp;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One thing to write. All entries of one submission stand in one transaction.
#[derive(Debug, Clone)]
pub enum StoreEntry {
    /// An event that waited for nothing: claimed and stored finished, in one commit.
    /// Answered [`WriteReceipt::Stored`], [`WriteReceipt::Duplicate`] or [`WriteReceipt::Conflict`].
    Record(FinishedEvent),
    /// An event that must wait for a remote stage: claimed, and its bytes into the inbox.
    /// Answered [`WriteReceipt::Accepted`], [`WriteReceipt::Duplicate`] or [`WriteReceipt::Conflict`].
    Accept(Event),
    /// An accepted event that has ended: stored finished, its inbox row out.
    /// Answered [`WriteReceipt::Stored`], or [`WriteReceipt::Duplicate`] when it had ended before.
    Finish(FinishedEvent),
    /// An accepted event (`seq`) that a rule let go: its inbox row out, nothing stored, counted.
    Discard {
        /// The accepted event.
        event: Event,
        /// The rule's name, such as `unrouted`.
        reason: Arc<str>,
    },
    /// An event that ended as a dead letter: its inbox row out (when it has a `seq`), the letter
    /// in. An event without a `seq` is claimed first, as by `Record`.
    DeadLetter {
        /// The event.
        event: Event,
        /// The letter; `what` is `Event`.
        letter: DeadLetter,
    },
    /// An entry that claims an id, and besides it a key of its owner: the second entry with a key
    /// is answered as a duplicate of the first, whatever its id, or as a conflict when its bytes
    /// differ. A key is remembered for as long as ids are.
    Once {
        /// Whose key.
        owner: Arc<str>,
        /// The key.
        key: String,
        /// [`StoreEntry::Record`], [`StoreEntry::Accept`] or [`StoreEntry::DeadLetter`].
        entry: Box<StoreEntry>,
    },
    /// An entry about an event, with what stages noted about it. Judged only where the event is
    /// new; a stage that lets it go keeps it from being written. Answered [`WriteReceipt::Dropped`]
    /// then, [`WriteReceipt::Judged`] where the event is accepted, else as the entry is.
    Judged {
        /// What they noted.
        notes: Notes,
        /// [`StoreEntry::Record`], [`StoreEntry::Accept`] or [`StoreEntry::DeadLetter`] of a new event;
        /// [`StoreEntry::Take`], [`StoreEntry::Finish`], [`StoreEntry::Discard`] or [`StoreEntry::DeadLetter`] of one that a
        /// stage sent; [`StoreEntry::Nothing`] for one that a filter lets go.
        entry: Box<StoreEntry>,
    },
    /// An event that a stage sent has passed the filters and waits for a remote stage.
    Take(Event),
    /// Nothing.
    Nothing,
    /// The stages that remember something, from now on.
    Remember {
        /// The generation that they belong to.
        generation: u64,
        /// All of them.
        nodes: Vec<Arc<MemoryNode>>,
        /// What notifiers say about whether and when.
        rules: Vec<Arc<NotifyRules>>,
        /// Everything that deliveries go to.
        targets: Vec<Arc<str>>,
    },
    /// Stages that wanted to look again by now, do.
    Wake,
    /// Something that validation refused and the file keeps. Claims nothing.
    Refuse(DeadLetter),
    /// What one notifier could not deliver goes to others. Nothing happens where it did.
    Relay {
        /// Who could not.
        from: Arc<str>,
        /// Of which event.
        seq: u64,
        /// One for each of the others.
        to: Vec<NewDelivery>,
    },
    /// State of a stage or source, such as a file offset.
    Save {
        /// Whose state.
        owner: Arc<str>,
        /// Which.
        key: String,
        /// What; `None` forgets it.
        value: Option<String>,
    },
    /// How an attempt at a delivery ended.
    Settle(Settlement),
    /// What an effectful stage answered for an accepted event, so that a crash does not ask twice.
    Result {
        /// The event.
        seq: u64,
        /// The stage.
        stage: Arc<str>,
        /// The generation that ran it.
        generation: u64,
        /// The addition, as JSON.
        output: String,
    },
    /// A start or reload.
    Reload(ReloadRecord),
    /// Pending deliveries for sinks that are not among these are parked; parked ones for sinks
    /// that are, go on.
    Park {
        /// The outside sinks of the file.
        sinks: Vec<Arc<str>>,
    },
    /// A dead letter is no longer wanted.
    DropLetter {
        /// Its number.
        id: u64,
    },
    /// The message of a dead letter, taken in again. The letter goes when the event is durable: also
    /// when the same came before, but not when another event has its id. Answered as the entry is,
    /// or [`WriteReceipt::Gone`].
    Retry {
        /// The letter's number.
        letter: u64,
        /// [`StoreEntry::Record`], [`StoreEntry::Accept`], [`StoreEntry::DeadLetter`] or one of these in
        /// [`StoreEntry::Once`].
        entry: Box<StoreEntry>,
        /// Whether the letter stays even then, because its message is many events: then
        /// [`StoreEntry::DropLetter`] follows in the same transaction.
        is_part: bool,
    },
    /// The event of a dead letter goes back into the inbox, under its own number. Answered
    /// [`WriteReceipt::Accepted`], or [`WriteReceipt::Gone`].
    Reopen {
        /// The letter's number.
        letter: u64,
        /// The event, with the `seq` of the letter.
        event: Event,
    },
    /// The delivery of a dead letter is owed again, as if it had never been tried. Answered
    /// [`WriteReceipt::Accepted`], [`WriteReceipt::Duplicate`] when it was made after all, or
    /// [`WriteReceipt::Gone`].
    Redeliver {
        /// The letter's number.
        letter: u64,
    },
    /// A dead letter was tried again and stays.
    KeepLetter {
        /// Its number.
        letter: u64,
        /// Why it stays.
        reason: String,
    },
    /// An entry of a source that nobody waits for: in conflict with an event that came before, it
    /// is kept as a dead letter.
    OrLetter {
        /// The entry.
        entry: Box<StoreEntry>,
        /// The letter.
        letter: LetterMaker,
    },
    /// What somebody did by hand.
    Audit(AuditRecord),
}

impl StoreEntry {
    /// What it writes, without what may be put around an entry.
    pub(super) fn bare(&self) -> &StoreEntry {
        match self {
            StoreEntry::Once { entry, .. } | StoreEntry::Retry { entry, .. } => entry.bare(),
            StoreEntry::Judged { entry, .. } => entry.bare(),
            StoreEntry::OrLetter { entry, .. } => entry.bare(),
            entry => entry,
        }
    }
}

/// What somebody did by hand, for the table `audit`.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// The name of the token that was shown; empty where none is asked for.
    pub who: String,
    /// `redrive` or `drop` of dead letters, `pause` or `resume` of a sink or notifier.
    pub action: &'static str,
    /// To what.
    pub subject: Value,
    /// What came of it.
    pub outcome: Value,
}

/// How one entry was answered, after its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteReceipt {
    /// Stored finished.
    Stored {
        /// The event's number.
        seq: u64,
        /// Its place in what is visible.
        pos: u64,
    },
    /// In the inbox.
    Accepted {
        /// The event's number.
        seq: u64,
    },
    /// The same source, id and body came before.
    Duplicate {
        /// The first one's number.
        seq: u64,
    },
    /// The same source and id came before with another body.
    Conflict {
        /// The first one's number.
        seq: u64,
    },
    /// In the inbox, with what stages that remember add to it: by name, as JSON.
    Judged {
        /// The event's number.
        seq: u64,
        /// What they add.
        outputs: Vec<(Arc<str>, Arc<str>)>,
    },
    /// A stage let it go; nothing is stored.
    Dropped {
        /// The stage.
        node: Arc<str>,
    },
    /// Written; there is nothing to tell.
    Done,
    /// Nothing is written: the dead letter, or what it is about, is not there any more.
    Gone,
}

/// An event whose stages have all ended.
#[derive(Debug, Clone)]
pub struct FinishedEvent {
    /// The event.
    pub event: EndedEvent,
    /// How each stage ended.
    pub stages: Arc<[StageResult]>,
    /// The sinks and notifiers that it was routed to, by name, the store's own name included
    /// when a case sends it there.
    pub targets: Arc<[Arc<str>]>,
    /// One for each outside sink in `targets`.
    pub deliveries: Vec<NewDelivery>,
    /// Keys of notifiers that it silences.
    pub silences: Vec<(Arc<str>, SilenceClaim)>,
    /// Keys of notifiers whose alerts it answers.
    pub answers: Vec<(Arc<str>, String)>,
}

/// An outbox row to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    /// The sink or notifier.
    pub sink: Arc<str>,
    /// Holds it back when the same key was told recently; judged in commit order.
    pub cooldown: Option<CooldownClaim>,
    /// Why it is suppressed at once, when it is.
    pub suppressed: Option<String>,
    /// What the rules of its notifier need to know.
    pub traits: DeliveryTraits,
}

/// At most one delivery per key in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct CooldownClaim {
    /// What is told apart.
    pub key: String,
    /// When the event happened, at the latest when it arrived.
    pub time: Timestamp,
    /// For how long the first one silences the rest.
    pub window: Duration,
}

/// An event at rest: a row of `events`, or what was just committed.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its place in what is visible; the `id:` of SSE.
    pub pos: u64,
    /// The number of the answer.
    pub seq: u64,
    /// The generation that it ran under.
    pub generation: u64,
    /// What it says about itself.
    pub envelope: Envelope,
    /// Its bytes.
    pub body: Body,
    /// The additions as one JSON object.
    pub enrich: Arc<str>,
    /// How each stage ended.
    pub stages: Arc<[StageResult]>,
    /// Where it was routed.
    pub targets: Arc<[Arc<str>]>,
}

impl StoredEvent {
    /// About how many bytes it holds.
    pub fn size(&self) -> usize {
        512 + self.body.size() as usize + self.enrich.len()
    }
}

/// An event that was accepted and is not finished.
#[derive(Debug, Clone)]
pub struct InboxRow {
    /// Its number.
    pub seq: u64,
    /// The generation that accepted it.
    pub generation: u64,
    /// As mapped.
    pub envelope: Envelope,
    /// Its bytes.
    pub body: Body,
}

/// What kind of thing a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterWhat {
    /// Refused by validation; never accepted.
    Rejected,
    /// An accepted event whose stage gave up.
    Event,
    /// A delivery that gave up; the event itself is stored.
    Delivery,
}

impl DeadLetterWhat {
    /// Everything that it may be.
    pub const ALL: [DeadLetterWhat; 3] =
        [DeadLetterWhat::Rejected, DeadLetterWhat::Event, DeadLetterWhat::Delivery];

    /// As stored and shown.
    pub fn word(self) -> &'static str {
        ["rejected", "event", "delivery"][self as usize]
    }

    /// Reads its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Something set aside, with everything that is needed to try it again.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Row number; 0 before it is written.
    pub id: u64,
    /// What it is.
    pub what: DeadLetterWhat,
    /// The event's number, if it had one.
    pub seq: Option<u64>,
    /// The source node (not the event's `source`) that it came in by, for the redrive.
    pub source_node: Arc<str>,
    /// The event's source, as far as it could be read.
    pub source: Option<String>,
    /// The event's id, as far as it could be read.
    pub event_id: Option<String>,
    /// The stage or sink that gave up; `validate` for what was refused.
    pub stage: Arc<str>,
    /// `transient` (retries spent), `permanent`, `poison`, `invalid`, or `conflict` with an event
    /// that has its id.
    pub class: &'static str,
    /// Why, in words; several lines are several reasons, each with its instance path.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first tried.
    pub first: Timestamp,
    /// When it was set aside.
    pub last: Timestamp,
    /// The running generation.
    pub generation: u64,
    /// The bytes as received, or the data alone where the file keeps no more.
    pub body: Arc<[u8]>,
    /// The event as it was mapped, when it was: it can run again as it is.
    pub mapped: Option<Box<MappedEvent>>,
    /// How a refused message came in, as far as `map` may ask for it.
    pub context: Option<Arc<Value>>,
}

impl DeadLetter {
    /// The event, to run again under its own number.
    pub fn event(&self) -> Option<(Envelope, Body)> {
        let MappedEvent { envelope, data } = (**self.mapped.as_ref()?).clone();
        Some((envelope, Body { bytes: self.body.clone(), data }))
    }
}

/// Makes a dead letter once it is known that one is needed: most often none is.
#[derive(Clone)]
pub struct LetterMaker(Arc<dyn Fn() -> DeadLetter + Send + Sync>);

impl LetterMaker {
    /// From a function that makes it.
    pub fn new(make: impl Fn() -> DeadLetter + Send + Sync + 'static) -> Self {
        LetterMaker(Arc::new(make))
    }

    pub(super) fn make(&self) -> DeadLetter {
        (self.0)()
    }
}

impl fmt::Debug for LetterMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LetterMaker")
    }
}

/// An event without its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedEvent {
    /// What it says about itself.
    pub envelope: Envelope,
    /// Where its data is.
    pub data: DataAt,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// To whom.
    pub sink: Arc<str>,
    /// Of which event.
    pub seq: u64,
    /// How it stands.
    pub state: DeliveryState,
    /// Attempts so far.
    pub attempts: u32,
    /// Not to be tried before, or held until then; 1970 when it was not tried yet, so that it is due
    /// at once.
    pub not_before: Timestamp,
    /// When the row was made.
    pub created: Timestamp,
    /// Why the last attempt failed, or why it was suppressed.
    pub last_error: Option<String>,
    /// How large its event is.
    pub bytes: u64,
    /// Others that its message tells of.
    pub parts: u64,
    /// Whether it is a digest.
    pub is_digest: bool,
    /// The event whose message tells of this one.
    pub lead: Option<u64>,
    /// Where it came from, where no route made it.
    pub via: Option<Relay>,
    /// The key of the message that it sends or changes; `None` where its message is its own.
    pub message_key: Option<String>,
    /// How often it was sent again.
    pub repeats: u32,
    /// The attempts, also those that do not count in `attempts`: of the times it was sent before,
    /// from before it was redriven, and those that a rejected target cost no delivery.
    pub attempt_log: AttemptLog,
}

impl Delivery {
    /// Until when it waits, where it waits for a time.
    pub fn held_until(&self) -> Option<Timestamp> {
        let waits = self.state == DeliveryState::Held && self.lead.is_none();
        (waits && self.not_before.0 != NEVER).then_some(self.not_before)
    }

    /// When it is tried again, where that is known.
    pub fn retry_at(&self) -> Option<Timestamp> {
        (self.state == DeliveryState::Pending && self.is_retry()).then_some(self.not_before)
    }

    /// The key of the message that it sends or changes. A digest tells of many, and changes none.
    pub fn changes(&self) -> Option<&str> {
        let is_digest = self.is_digest && 0 < self.parts;
        self.message_key.as_deref().filter(|_| !is_digest)
    }

    /// Whether it failed before.
    pub fn is_retry(&self) -> bool {
        0 < self.not_before.0
    }
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// To be tried, or tried again.
    Pending,
    /// The other side took it.
    Done,
    /// Given up; there is a dead letter.
    Dead,
    /// Its sink is no longer in the file.
    Parked,
    /// Suppressed by a rule of the file.
    Suppressed,
    /// It waits for a time, or for the message that tells of it.
    Held,
}

impl DeliveryState {
    /// Every state, in the order of its code.
    pub const ALL: [DeliveryState; 6] = [
        DeliveryState::Pending,
        DeliveryState::Done,
        DeliveryState::Dead,
        DeliveryState::Parked,
        DeliveryState::Suppressed,
        DeliveryState::Held,
    ];

    /// As stored and shown.
    pub fn word(self) -> &'static str {
        ["pending", "done", "dead", "parked", "suppressed", "held"][self as usize]
    }
}

/// How an attempt at a delivery ended.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// To whom.
    pub sink: Arc<str>,
    /// Of which event.
    pub seq: u64,
    /// The state from now on.
    pub state: DeliveryState,
    /// Attempts so far, this one included.
    pub attempts: u32,
    /// When to try again, while pending.
    pub not_before: Timestamp,
    /// Why it failed.
    pub error: Option<String>,
    /// The dead letter, when the state is `Dead`.
    pub letter: Option<Box<DeadLetter>>,
    /// What the service calls the message that it took, where a later one may replace it.
    pub receipt: Option<String>,
    /// The attempt; `None` where none was made.
    pub attempt: Option<AttemptRecord>,
}

/// A start or reload, for the history.
#[derive(Debug, Clone, PartialEq)]
pub struct ReloadRecord {
    /// When.
    pub time: Timestamp,
    /// The generation that runs after it.
    pub generation: u64,
    /// Hash of everything the generation was built from.
    pub hash: String,
    /// `start`, `loaded` or `refused`.
    pub outcome: &'static str,
    /// What changed, in words.
    pub changes: String,
    /// The diagnostics, as text, when it was refused.
    pub diagnostics: Option<String>,
}
