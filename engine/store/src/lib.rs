//! The store: one SQLite database that holds inbox, events, outbox, dead letters and state.
//!
//! One thread writes, in groups, and answers after the commit; readers have connections of
//! their own. What the tables are for stands in `migrations/`.
//!
//! Invariant: what is answered is committed. Invariant: `pos` grows in the order in which events
//! become visible; one thread gives it and one transaction makes it visible.

mod admit;
mod alerts;
mod attempts;
mod checksum;
mod claim;
mod clock;
mod clock_set;
mod condition_sql;
mod connect;
mod counts;
mod deleted;
mod deliveries;
mod delivery_query;
mod evict;
mod facts;
mod fault;
mod files;
mod forecast;
mod forget;
mod grace;
mod guard;
mod held;
mod holder;
mod holdings;
mod insert;
mod json;
mod keyed;
mod letter_query;
mod letters;
mod manners;
mod memory;
mod merge;
mod messages;
mod names;
mod open;
mod open_error;
mod outbox;
mod own_files;
mod parked;
mod policy;
mod query;
mod reader;
mod readers;
mod record;
mod redrive;
mod relays;
mod rescue;
mod retention;
mod rollup;
mod rows;
mod rule_book;
mod rules;
mod scrub;
mod search_fields;
mod search_query;
mod share;
mod space;
mod spread;
mod sql;
mod stage_text;
mod status;
mod submission;
mod sweep;
mod text_index;
mod upkeep;
mod wal;
mod writer;

pub use counts::{CountBy, CountGrain, CountRow, PERCENTILES, SpreadRow};
pub use delivery_query::{DeliveryCursor, DeliveryPage, DeliveryQuery};
pub use fault::{StoreFault, StoreTrouble};
pub use forecast::{KeptEvent, RetentionView, SweepForecast, explain_in_file, forecast_in_file};
pub use json::{Redact, write_detail, write_event, write_summary};
pub use letter_query::{LetterFilter, LetterOrder, LetterPage};
pub use manners::{
    DeliveryTraits, EscalateRule, Excess, FactClaim, GroupRule, MessageRate, NotifyRules,
    QUIET_MAX, QuietRule, Recovery, Relay, RelayWord, RepeatRule, SilenceClaim, Silencer,
};
pub use memory::{
    Emission, Memory, MemoryFigures, MemoryNode, MemoryTimer, Moment, Note, NoteRole, Noted, Notes,
    Step,
};
pub use messages::{MESSAGES_MAX, REPLACED, SentMessage};
pub use open::{Settings, StoreLocation, open};
pub use open_error::OpenError;
pub use outbox::{BacklogLimit, BacklogSize, OnFull, OutboxLimits};
pub use own_files::{is_store_file, is_store_name, store_files};
pub use policy::{Evict, KeepRule, RetentionPolicy, Synchronous, Vacuum};
pub use query::{Cursor, EventCount, EventQuery, EventTest, Page, StreamChunk};
pub use reader::{DueLimits, Reader};
pub use record::{
    AuditRecord, CooldownClaim, DeadLetter, DeadLetterWhat, Delivery, DeliveryState, FinishedEvent,
    InboxRow, LetterMaker, MappedEvent, NewDelivery, ReloadRecord, Settlement, StoreEntry,
    StoredEvent, WriteReceipt,
};
pub use rollup::{EventTally, MINUTES_KEPT};
pub use rows::EventRow;
pub use rule_book::RulesInForce;
pub use search_fields::SearchFields;
pub use search_query::{SEARCH_MAX, SearchWords, TextSearch};
pub use space::disk_room;
pub use spread::Spread;
pub use sql::{SqlLimits, SqlResult, SqlValue, read_sql};
pub use writer::{CommitObserver, Writer};

use claim::Keys;
use kernel::env::Env;
use kernel::time::Timestamp;
use readers::ReaderPool;
use scrub::Scrub;
use status::StoreStatus;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use submission::Submission;
use writer::Command;

/// Upper bounds of the buckets of [`Figures::commits`], in microseconds.
pub const COMMIT_BUCKETS: [u64; 10] =
    [500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// What the store counts while it runs.
#[derive(Debug, Default)]
pub struct Figures {
    /// Bytes of the database file, as of the last housekeeping.
    pub bytes: AtomicU64,
    /// Rows in the inbox.
    pub pending: AtomicU64,
    /// Bytes in the inbox.
    pub pending_bytes: AtomicU64,
    /// Rows of dead letters.
    pub dead_letters: AtomicU64,
    /// Deliveries that are pending or parked.
    pub outbox_rows: AtomicU64,
    /// Bytes of their events, each counted once for each target.
    pub outbox_bytes: AtomicU64,
    /// The same by target.
    pub outbox: Mutex<BTreeMap<Arc<str>, BacklogSize>>,
    /// What is parked of them, for targets that the file no longer has.
    pub parked: Mutex<BTreeMap<Arc<str>, BacklogSize>>,
    /// When the oldest delivery of each target was made, as of the last housekeeping.
    pub oldest: Mutex<BTreeMap<Arc<str>, Timestamp>>,
    /// The highest `pos` given.
    pub highest_pos: AtomicU64,
    /// The highest `pos` that retention took.
    pub taken_pos: AtomicU64,
    /// Commits by duration, one count per bucket and one for what is longer.
    pub commits: [AtomicU64; 11],
    /// Time spent in commits, in microseconds.
    pub commit_micros: AtomicU64,
    /// Deliveries suppressed, by target and by what suppresses them: `cooldown`, `backlog`, `when`,
    /// `quiet-hours`, `rate`, `mute`, `unless` or `update`.
    pub suppressed: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    /// Deliveries that no route made and those that were sent again, by target and by why.
    pub relayed: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    /// Messages that may be changed and were forgotten because there are too many, by notifier.
    pub forgotten: Mutex<BTreeMap<Arc<str>, u64>>,
    /// What retention deleted, by rule.
    pub deleted: Mutex<BTreeMap<Arc<str>, u64>>,
    /// Statements and transactions that failed, by [`StoreTrouble`].
    pub errors: [AtomicU64; StoreTrouble::ALL.len()],
    /// Bytes of the log's file beside the database, as of the last housekeeping.
    pub wal_bytes: AtomicU64,
    /// Whether the log is so large that no more events may be taken.
    pub is_log_full: AtomicBool,
    /// When stages want to look again at what they remember, in microseconds since 1970.
    pub wake: AtomicI64,
    /// Bytes that are free on the store's disk; 0 for a store in memory.
    pub free_bytes: AtomicU64,
    /// When the next sweep begins, in microseconds since 1970; 0 before the first one has ended.
    pub next_sweep: AtomicI64,
}

/// A handle to the store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    commands: async_channel::Sender<Command>,
    readers: ReaderPool,
    keys: Keys,
    env: Env,
    figures: Arc<Figures>,
    tallies: Arc<Mutex<Vec<EventTally>>>,
    name: Arc<str>,
    status: Arc<StoreStatus>,
    scrub: Mutex<Scrub>,
    in_force: Arc<Mutex<Arc<RulesInForce>>>,
}

impl Store {
    /// Writes all of `entries` in one transaction, together with what others wait to write.
    /// Returns after the commit, one receipt for each. A fault means that nothing was written.
    ///
    /// Dropped before the writer begins, new events are not written; dropped later, all of them may
    /// be, and who sends them again learns that they are duplicates. While another program holds the lock on
    /// the database, the fault comes within a few seconds.
    pub async fn submit(&self, entries: Vec<StoreEntry>) -> Result<Vec<WriteReceipt>, StoreFault> {
        let (reply, answer) = async_channel::bounded(1);
        let count = entries.len();
        let hashes = entries.iter().map(|entry| self.shared.keys.hash_of(entry)).collect();
        let command = Command::Write(Submission { entries, hashes, reply: Some(reply) });
        self.shared.commands.send(command).await.map_err(|_| self.gone())?;
        let committed = answer.recv().await.map_err(|_| self.gone())??;
        assert_eq!(committed.receipts.len(), count, "a receipt for each entry");
        Ok(committed.receipts)
    }

    /// The fault of a store that accepts no more writes: it was closed, or it broke.
    fn gone(&self) -> StoreFault {
        self.shared.status.broken().unwrap_or_else(StoreFault::closed)
    }

    /// Counts something that leaves no row; written with the next commit.
    pub fn count(&self, tally: EventTally) {
        let mut tallies = self.shared.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded: a store that cannot write for a while forgets counts, never events.
        if tallies.len() < 65_536 {
            tallies.push(tally);
        }
    }

    /// Runs `job` on a read-only connection, on a thread where it may block. Dropped midway, the
    /// query is stopped and its connection is free again.
    pub async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Reader<'_>) -> Result<T, StoreFault> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let mut lease = self.shared.readers.lease(&*self.shared.env.clock).await?;
        let (keys, status) = (self.shared.keys, self.shared.status.clone());
        // Goes with this future: a query that nobody waits for any more is stopped.
        let interest = Arc::new(());
        let wanted = Arc::downgrade(&interest);
        let work = move || {
            let result = job(&Reader::new(lease.connection(), keys, &status, wanted));
            result.inspect_err(|fault| status.note_read(fault))
        };
        let result = self.shared.env.pools.store.run(work).await;
        drop(interest);
        let result = result.map_err(|fault| StoreFault::new(StoreTrouble::Busy, fault.to_string()));
        result.flatten().inspect_err(|fault| self.shared.figures.note_error(fault.class))
    }

    /// The rules of retention as they are now.
    pub fn rules_in_force(&self) -> Arc<RulesInForce> {
        self.shared.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connections for queries, in use or not.
    pub const READERS: usize = readers::READERS;

    /// Connections that no query uses now.
    pub fn free_readers(&self) -> usize {
        self.shared.readers.free()
    }

    /// The numbers of the events that have this id under any of `sources`, the newest first.
    pub async fn find(&self, id: &str, sources: Vec<String>) -> Result<Vec<u64>, StoreFault> {
        let (reply, answer) = async_channel::bounded(1);
        let hashes = sources.iter().map(|source| self.shared.keys.id_hash(source, id)).collect();
        let command = Command::Find { hashes, reply };
        self.shared.commands.send(command).await.map_err(|_| self.gone())?;
        answer.recv().await.map_err(|_| self.gone())?
    }

    /// Housekeeping: whether the files are still there, room and locks, counts, checkpoints,
    /// merging, retention, and once a day a look at every row. To be called about once a second;
    /// works for at most a third of one.
    pub async fn tick(&self) {
        let (reply, answer) = async_channel::bounded(1);
        if self.shared.commands.send(Command::Tick { reply }).await.is_ok() {
            answer.recv().await.ok();
        }
        self.scrub().await;
    }

    /// Applies retention now and to the end.
    pub async fn sweep(&self) {
        let (reply, answer) = async_channel::bounded(1);
        if self.shared.commands.send(Command::Sweep { reply }).await.is_ok() {
            answer.recv().await.ok();
        }
    }

    /// Writes the counts that wait, so that [`Reader::stats`] shows all that was stored.
    pub async fn write_counts(&self) {
        let (reply, answer) = async_channel::bounded(1);
        if self.shared.commands.send(Command::Count { reply }).await.is_ok() {
            answer.recv().await.ok();
        }
    }

    /// Changes retention.
    pub async fn set_policy(&self, policy: RetentionPolicy) {
        self.shared.commands.send(Command::Policy(Box::new(policy))).await.ok();
    }

    /// Writes what is waiting, merges, checkpoints, and ends the writer.
    pub async fn close(&self) {
        let (reply, answer) = async_channel::bounded(1);
        if self.shared.commands.send(Command::Close { reply }).await.is_ok() {
            answer.recv().await.ok();
        }
    }

    /// What the store counts.
    pub fn figures(&self) -> &Figures {
        &self.shared.figures
    }

    /// Why it takes no events now, if it does not: for a while, or until a restart where the
    /// trouble is final.
    pub fn trouble(&self) -> Option<StoreFault> {
        let closed = || self.shared.commands.is_closed().then(StoreFault::closed);
        self.shared.status.trouble().or_else(closed)
    }

    /// Whether it takes events.
    pub fn is_healthy(&self) -> bool {
        self.trouble().is_none()
    }

    /// Whether it takes nothing before a restart.
    pub fn is_broken(&self) -> bool {
        self.shared.status.broken().is_some() || self.shared.commands.is_closed()
    }

    /// Why the store takes nothing before a restart and what to do, once it is so.
    pub fn failure(&self) -> Option<StoreFault> {
        self.shared.status.failure()
    }

    /// Ends when the store takes nothing before a restart, with the reason and what to do: its
    /// disk failed, its files were taken away, it is damaged, or its writer panicked.
    pub async fn when_broken(&self) -> StoreFault {
        self.shared.status.when_broken().await
    }

    /// Places of damaged events behind `after`, up to and with `up_to`, as far as they are known:
    /// what [`Reader::stream`] leaves out.
    pub fn damaged(&self, after: u64, up_to: u64) -> Vec<u64> {
        self.shared.status.damaged_between(after, up_to)
    }

    /// How many rows are known to be damaged.
    pub fn damaged_count(&self) -> usize {
        self.shared.status.damaged_count()
    }

    /// The sink's name under which events are visible.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }
}

/// The version of SQLite that is built in.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// The version of the tables that this engine knows; it opens older stores, and refuses newer ones.
pub const STORE_VERSION: usize = connect::MIGRATIONS.len();

/// How long a reader's statement may run.
const READ_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
