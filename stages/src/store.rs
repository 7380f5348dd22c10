//! The store: one SQLite database that holds inbox, events, outbox, dead letters and state.
//!
//! One thread writes, in groups, and answers after the commit; readers have connections of
//! their own. What the tables are for stands in `migrations/`.
//!
//! Invariant: what is answered is committed. Invariant: `pos` grows in the order in which events
//! become visible; one thread gives it and one transaction makes it visible.

mod admit;
mod claim;
mod deleted;
mod deliveries;
mod evict;
mod forget;
mod grace;
mod holdings;
mod insert;
mod json;
mod letter_query;
mod letters;
mod merge;
mod names;
mod open;
mod outbox;
mod parked;
mod policy;
mod query;
mod reader;
mod readers;
mod record;
mod redrive;
mod retention;
mod rollup;
mod rows;
mod rules;
mod share;
mod sweep;
mod upkeep;
mod wal;
mod writer;

pub use json::{Redact, write_detail, write_event, write_summary};
pub use letter_query::{LetterFilter, LetterOrder, LetterPage};
pub use open::{OpenError, Place, Settings, open};
pub use outbox::{BacklogLimit, BacklogSize, OnFull, OutboxLimits};
pub use policy::{Evict, Keep, Policy, Synchronous};
pub use query::{Cursor, EventQuery, Page, StreamChunk};
pub use reader::{DueLimits, Reader};
pub use record::{
    AuditRecord, Cooldown, DeadLetter, DeadLetterWhat, Delivery, DeliveryState, Entry, Finished,
    InboxRow, MappedEvent, NewDelivery, Receipt, ReloadRecord, Settlement, Stored,
};
pub use rollup::Tally;
pub use writer::{Watcher, Writer};

use crate::env::{Env, NoThread};
use crate::time::Timestamp;
use claim::Keys;
use readers::ReaderPool;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use writer::Command;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFault {
    /// What kind of trouble it is.
    pub class: StoreTrouble,
    /// In words.
    pub reason: String,
}

/// What kind of trouble a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreTrouble {
    /// No space left; later may go.
    Full,
    /// Someone else holds the database; later may go.
    Busy,
    /// The disk failed; nothing more is taken.
    Io,
    /// The database is damaged; nothing more is taken.
    Corrupt,
    /// A limit of the outbox leaves no room; later may go.
    NoRoom,
    /// The store is closed.
    Closed,
    /// Anything else.
    Other,
}

impl StoreTrouble {
    /// Every kind of trouble.
    pub const ALL: [StoreTrouble; 7] = [
        StoreTrouble::Full,
        StoreTrouble::Busy,
        StoreTrouble::Io,
        StoreTrouble::Corrupt,
        StoreTrouble::NoRoom,
        StoreTrouble::Closed,
        StoreTrouble::Other,
    ];

    /// Its word in metrics.
    pub fn word(self) -> &'static str {
        ["full", "busy", "io", "corrupt", "no-room", "closed", "other"][self as usize]
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<rusqlite::Error> for StoreFault {
    fn from(fault: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let class = match fault.sqlite_error_code() {
            Some(Code::DiskFull) => StoreTrouble::Full,
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => StoreTrouble::Busy,
            Some(Code::SystemIoFailure | Code::ReadOnly | Code::CannotOpen) => StoreTrouble::Io,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => StoreTrouble::Corrupt,
            _ => StoreTrouble::Other,
        };
        StoreFault { class, reason: format!("the store says: {fault}") }
    }
}

fn closed() -> StoreFault {
    StoreFault { class: StoreTrouble::Closed, reason: "the store is closed".to_owned() }
}

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
    /// Deliveries held back, by target and by what holds them back: `cooldown`, `backlog` or
    /// `rule`.
    pub suppressed: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    /// What retention deleted, by rule.
    pub deleted: Mutex<BTreeMap<Arc<str>, u64>>,
    /// Statements and transactions that failed, by [`StoreTrouble`].
    pub errors: [AtomicU64; 7],
    /// Whether the store takes nothing more.
    pub is_broken: AtomicBool,
    /// Bytes of the log's file beside the database, as of the last housekeeping.
    pub wal_bytes: AtomicU64,
    /// Whether the log is so large that no more events may be taken.
    pub is_log_full: AtomicBool,
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
    tallies: Arc<Mutex<Vec<Tally>>>,
    name: Arc<str>,
}

impl Store {
    /// Writes all of `entries` in one transaction, together with what others wait to write.
    /// Returns after the commit, one receipt for each. A fault means that nothing was written.
    pub async fn submit(&self, entries: Vec<Entry>) -> Result<Vec<Receipt>, StoreFault> {
        let (reply, answer) = async_channel::bounded(1);
        let claims = entries.iter().map(|it| self.shared.keys.claim_of(it)).collect();
        let command = Command::Write { entries, claims, reply };
        self.shared.commands.send(command).await.map_err(|_| closed())?;
        answer.recv().await.map_err(|_| closed())?
    }

    /// Counts something that leaves no row; written with the next commit.
    pub fn count(&self, tally: Tally) {
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
        // Goes with this future: a query that nobody waits for any more is stopped.
        let interest = Arc::new(());
        let wanted = Arc::downgrade(&interest);
        let work = move || job(&Reader::new(lease.connection(), wanted));
        let result = self.shared.env.pools.store.run(work).await;
        drop(interest);
        let no_thread =
            |it: NoThread| StoreFault { class: StoreTrouble::Busy, reason: it.to_string() };
        let result = result.map_err(no_thread).flatten();
        result.inspect_err(|fault| self.shared.figures.note_error(fault.class))
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
        let hashes = sources.iter().map(|it| self.shared.keys.id_hash(it, id)).collect();
        let command = Command::Find { hashes, reply };
        self.shared.commands.send(command).await.map_err(|_| closed())?;
        answer.recv().await.map_err(|_| closed())?
    }

    /// Housekeeping: counts, checkpoints, merging, retention. To be called about once a second;
    /// works for at most a third of one.
    pub async fn tick(&self) {
        let (reply, answer) = async_channel::bounded(1);
        if self.shared.commands.send(Command::Tick { reply }).await.is_ok() {
            answer.recv().await.ok();
        }
    }

    /// Applies retention now and to the end.
    pub async fn sweep(&self) {
        let (reply, answer) = async_channel::bounded(1);
        if self.shared.commands.send(Command::Sweep { reply }).await.is_ok() {
            answer.recv().await.ok();
        }
    }

    /// Changes retention.
    pub async fn set_policy(&self, policy: Policy) {
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

    /// Whether it takes events.
    pub fn is_healthy(&self) -> bool {
        !self.shared.figures.is_broken.load(Ordering::Relaxed) && !self.shared.commands.is_closed()
    }

    /// The sink's name under which events are visible.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }
}

/// How long a reader's statement may run.
const READ_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
