//! The one thread that writes: takes what is waiting, one transaction, one commit, then answers.
//!
//! Never: an answer before its commit. Never: a linger unless the file asks for one; batches form
//! because work arrives while the last commit runs.

use super::admit::FullTargets;
use super::claim::{Claims, Keys};
use super::clock::ClockFace;
use super::connect::LOCK_SHORT;
use super::deleted::{Deleted, Deletions};
use super::grace::PendingRules;
use super::guard::Guard;
use super::held::HeldState;
use super::holdings::StoreHoldings;
use super::insert::Batch;
use super::keyed::Memories;
use super::names::Names;
use super::open::{COUNTER, FLOOR, Settings};
use super::parked::KnownTargets;
use super::policy::RetentionPolicy;
use super::readers::ReaderGate;
use super::record::{StoredEvent, WriteReceipt};
use super::retention::Sweep;
use super::rollup::{self, EventTally, Rollups};
use super::rule_book::RulesInForce;
use super::rules::RetentionRules;
use super::share::UpkeepShare;
use super::status::{StoreStatus, WriterAlarm};
use super::submission::Submission;
use super::text_index::TextIndex;
use super::wal::LogGuard;
use super::{COMMIT_BUCKETS, Figures, StoreFault, StoreTrouble, rows};
use kernel::env::{Env, within};
use kernel::time::Timestamp;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes of bodies in one transaction.
const BATCH_BYTES: usize = 4 << 20;
/// Housekeeping stops after this long, so that commits wait for at most a third of a second.
const TICK_MAX: Duration = Duration::from_millis(300);
/// Numbers that are reserved ahead: so often a commit writes how far they have come.
const RESERVE: u64 = 4096;

/// What the writer is asked.
pub(super) enum Command {
    Write(Submission),
    Find {
        hashes: Vec<i64>,
        reply: async_channel::Sender<Result<Vec<u64>, StoreFault>>,
    },
    Policy(Box<RetentionPolicy>),
    Tick {
        reply: async_channel::Sender<()>,
    },
    Sweep {
        reply: async_channel::Sender<()>,
    },
    /// Writes the counts that wait.
    Count {
        reply: async_channel::Sender<()>,
    },
    Close {
        reply: async_channel::Sender<()>,
    },
}

/// Sees what was committed, on the writer's thread, before anyone is answered.
pub trait CommitObserver: Send {
    /// Events that became visible, in the order of `pos`.
    fn committed(&mut self, batch: &[Arc<StoredEvent>]);
    /// There is new work in the outbox for these.
    fn deliveries(&mut self, sinks: &BTreeSet<Arc<str>>);
    /// Events of this number were sent by stages: they are in the inbox, and have still to pass the
    /// filters.
    fn emitted(&mut self, _seqs: &[u64]) {}
    /// The next time at which [`StoreEntry::Wake`](super::StoreEntry::Wake) has something to do.
    fn wakes(&mut self, _at: Timestamp) {}
    /// An event was accepted whose sender no longer waits for the answer.
    fn unclaimed(&mut self) {}
}

/// The writing half of the store.
pub struct Writer {
    pub(super) connection: Connection,
    pub(super) commands: async_channel::Receiver<Command>,
    pub(super) settings: Settings,
    pub(super) policy: RetentionPolicy,
    pub(super) env: Env,
    pub(super) watcher: Box<dyn CommitObserver>,
    pub(super) figures: Arc<Figures>,
    pub(super) tallies: Arc<Mutex<Vec<EventTally>>>,
    pub(super) keys: Keys,
    pub(super) claims: Claims,
    pub(super) names: Names,
    /// The last number given, of `seq` and `pos` together.
    pub(super) counter: u64,
    /// How far numbers may be given before `meta` is told: a row with a higher one is damaged.
    pub(super) reserved: u64,
    /// What was counted since counts were last written, and when that was.
    pub(super) rollups: Rollups,
    pub(super) counts_written: Duration,
    /// What waits, as of the last commit.
    pub(super) holdings: StoreHoldings,
    pub(super) full: FullTargets,
    pub(super) log: LogGuard,
    /// Where queries are held off while the log is begun again.
    pub(super) gate: Arc<ReaderGate>,
    pub(super) sweep: Sweep,
    /// The rules of retention in force, and those that wait.
    pub(super) rules: RetentionRules,
    pub(super) pending: Option<PendingRules>,
    /// The same, for who asks beside the writer.
    pub(super) in_force: Arc<Mutex<Arc<RulesInForce>>>,
    pub(super) deletions: Deletions,
    pub(super) share: UpkeepShare,
    /// Targets of the file, while not all that is to be parked or woken is.
    pub(super) parking: Option<Vec<Arc<str>>>,
    pub(super) targets: KnownTargets,
    /// What stages remember.
    pub(super) memories: Memories,
    pub(super) held: HeldState,
    /// The index of texts, as of the last commit.
    pub(super) index: TextIndex,
    pub(super) guard: Guard,
    pub(super) status: Arc<StoreStatus>,
    /// Dropped with the writer, also by a panic.
    pub(super) alarm: WriterAlarm,
}

impl Writer {
    /// Writes until the store is closed or every handle is gone. For a thread of its own.
    pub fn run(mut self) {
        while let Ok(command) = self.commands.recv_blocking() {
            if !self.take(command) {
                return;
            }
        }
        self.finish();
    }

    /// The same as a task, for tests that drive one thread by a virtual clock.
    pub async fn run_as_task(mut self) {
        while let Ok(command) = self.commands.recv().await {
            if !self.take(command) {
                return;
            }
        }
        self.finish();
    }

    /// Does one command and whatever writes are waiting behind it. False when it is over.
    pub(super) fn take(&mut self, first: Command) -> bool {
        let mut next = Some(first);
        while let Some(command) = next.take() {
            match command {
                Command::Write(submission) => next = self.gather(submission),
                Command::Find { hashes, reply } => {
                    reply.try_send(self.claims.find(&self.connection, &hashes)).ok();
                }
                Command::Policy(policy) => self.adopt(*policy),
                Command::Tick { reply } => {
                    self.housekeep();
                    reply.try_send(()).ok();
                }
                Command::Sweep { reply } => {
                    self.upkeep_fully();
                    reply.try_send(()).ok();
                }
                Command::Count { reply } => {
                    self.write_counts().ok();
                    reply.try_send(()).ok();
                }
                Command::Close { reply } => {
                    self.finish();
                    reply.try_send(()).ok();
                    return false;
                }
            }
        }
        true
    }

    /// Adds to a submission what is waiting, up to the batch's limits, and writes it. Returns
    /// the command that ended the gathering.
    fn gather(&mut self, first: Submission) -> Option<Command> {
        let (mut count, mut bytes) = (first.entries.len(), first.size());
        let mut batch = vec![first];
        let mut other = None;
        while count < self.settings.batch && bytes < BATCH_BYTES {
            match self.commands.try_recv() {
                Ok(Command::Write(submission)) => {
                    count += submission.entries.len();
                    bytes += submission.size();
                    batch.push(submission);
                }
                Ok(command) => {
                    other = Some(command);
                    break;
                }
                Err(_) => break,
            }
        }
        if other.is_none() && Duration::ZERO < self.settings.linger {
            other = self.linger(&mut batch, count);
        }
        self.write(batch);
        other
    }

    /// Waits for more, as the file asked for. The answers wait too.
    fn linger(&mut self, batch: &mut Vec<Submission>, mut count: usize) -> Option<Command> {
        let clock = self.env.clock.clone();
        let end = clock.monotonic() + self.settings.linger;
        while count < self.settings.batch {
            let left = end.saturating_sub(clock.monotonic());
            let next = within(&*clock, left, self.commands.recv());
            match smol::block_on(next)?.ok()? {
                Command::Write(submission) => {
                    count += submission.entries.len();
                    batch.push(submission);
                }
                command => return Some(command),
            }
        }
        None
    }

    fn write(&mut self, batch: Vec<Submission>) {
        let batch = self.turn_away(batch);
        // In a panic it goes off before the batch is dropped, and with it the places of answers.
        let _alarm = self.alarm.clone();
        if batch.is_empty() {
            return;
        }
        let (started, before) = (self.env.clock.monotonic(), self.counter);
        match self.commit(&batch, self.lock_wait()) {
            Ok(receipts) => {
                for (submission, receipts) in batch.into_iter().zip(receipts) {
                    self.report(submission, receipts);
                }
            }
            Err(fault) => self.write_otherwise(batch, &fault),
        }
        if !self.may_tidy() {
            return;
        }
        self.claims.merge_when_many();
        self.tend_log();
        let took = self.env.clock.monotonic() - started;
        self.upkeep_between(took, self.counter - before);
    }

    /// Nothing is lost with an index that is damaged: without it everything is written.
    fn write_otherwise(&mut self, batch: Vec<Submission>, fault: &StoreFault) {
        match fault.class {
            StoreTrouble::TextIndex if self.give_up_index().is_ok() => self.write_each(batch),
            _ => self.write_apart(batch, fault),
        }
    }

    /// One submission that cannot be written must not fail the others, so each gets a transaction
    /// of its own. A disk without room may have some for finishing what was accepted. Any other
    /// trouble of the store fails them all.
    fn write_apart(&mut self, batch: Vec<Submission>, fault: &StoreFault) {
        let is_alone = batch.len() == 1;
        let fails = |submission: &Submission| match fault.class {
            StoreTrouble::Full => submission.is_intake() || is_alone,
            class => class.is_general() || is_alone,
        };
        let (failed, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(fails);
        for submission in &failed {
            submission.fail(fault.clone());
        }
        self.write_each(others);
    }

    fn write_each(&mut self, submissions: Vec<Submission>) {
        let mut ended = None;
        for submission in submissions {
            let outcome = match &ended {
                Some(fault) => Err(StoreFault::clone(fault)),
                None => self.commit(std::slice::from_ref(&submission), LOCK_SHORT),
            };
            match outcome {
                Ok(mut receipts) => self.report(submission, receipts.remove(0)),
                Err(fault) => {
                    ended = fault.class.is_general().then(|| fault.clone());
                    submission.fail(fault);
                }
            }
        }
    }

    fn report(&mut self, submission: Submission, receipts: Vec<WriteReceipt>) {
        let has_accepted =
            receipts.iter().any(|receipt| matches!(receipt, WriteReceipt::Accepted { .. }));
        if !submission.succeed(receipts) && has_accepted {
            self.watcher.unclaimed();
        }
    }

    /// One transaction for all; nothing in memory or on disk has changed when it fails. What
    /// nobody waits for any more by the time it begins is left out, with no receipts.
    pub(super) fn commit(
        &mut self,
        batch: &[Submission],
        wait: Duration,
    ) -> Result<Vec<Vec<WriteReceipt>>, StoreFault> {
        if let Some(fault) = self.status.broken() {
            return Err(fault);
        }
        let started = self.env.clock.monotonic();
        let (counter, holdings) = (self.counter, self.holdings.clone());
        let (targets, memories) = (self.targets.clone(), self.memories.clone());
        let held = self.held.clone();
        let tallies = std::mem::take(&mut *self.lock_tallies());
        // An empty batch is there to write what waits.
        let writes_counts = batch.is_empty() || self.counts_are_due(started);
        let outcome = self.transact(batch, &tallies, writes_counts, wait);
        self.connection.busy_timeout(LOCK_SHORT).ok();
        // Also after a fault: it comes of the files, if they are not there any more.
        let may_answer = self.may_answer();
        match outcome {
            Ok((receipts, effects, counted)) => {
                match counted {
                    Counted::Written => {
                        (self.rollups, self.counts_written) = (Rollups::default(), started);
                    }
                    Counted::Waits(rollups) => self.rollups.merge(rollups),
                }
                self.claims.keep();
                self.names.keep();
                if !may_answer {
                    return Err(self.status.broken().expect("only a broken store does not answer"));
                }
                self.has_lock();
                self.publish(effects);
                let micros = (self.env.clock.monotonic() - started).as_micros() as u64;
                self.figures.note_commit(micros);
                Ok(receipts)
            }
            Err(fault) => {
                (self.counter, self.holdings, self.targets) = (counter, holdings, targets);
                (self.memories, self.held) = (memories, held);
                self.claims.undo();
                self.names.undo();
                self.lock_tallies().extend(tallies);
                Err(self.has_failed(fault, wait))
            }
        }
    }

    fn has_failed(&mut self, fault: StoreFault, waited: Duration) -> StoreFault {
        let fault = self.diagnosed(fault);
        match fault.class {
            StoreTrouble::Busy => self.is_locked_out(waited),
            _ => self.note(&fault),
        }
        // What the store has come to says more than how this one write failed.
        self.status.broken().unwrap_or(fault)
    }

    fn lock_tallies(&self) -> std::sync::MutexGuard<'_, Vec<EventTally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the counts that wait go with the next commit.
    fn counts_are_due(&self, now: Duration) -> bool {
        let stored = self.rollups.stored();
        rollup::WRITE_AT <= stored || self.counts_written + rollup::WRITE_EVERY <= now
    }

    /// Writes the counts that wait, if there are any.
    pub(super) fn write_counts(&mut self) -> Result<(), StoreFault> {
        match self.rollups.stored() {
            0 => Ok(()),
            _ => self.commit(&[], LOCK_SHORT).map(drop),
        }
    }

    fn transact(
        &mut self,
        batch: &[Submission],
        tallies: &[EventTally],
        writes_counts: bool,
        wait: Duration,
    ) -> Result<(Vec<Vec<WriteReceipt>>, Effects, Counted), StoreFault> {
        let (stamp, passed) = (self.stamp(), self.status.take_passed());
        let clock = ClockFace::of(&*self.env.clock);
        self.connection.busy_timeout(wait)?;
        let transaction = Transaction::begin(&self.connection)?;
        let mut work = Batch {
            connection: &self.connection,
            keys: self.keys,
            claims: &mut self.claims,
            names: &mut self.names,
            counter: &mut self.counter,
            holdings: &mut self.holdings,
            targets: &mut self.targets,
            memories: &mut self.memories,
            held: &mut self.held,
            limits: &self.policy.outbox,
            searched: self.index.fields(),
            store: &self.settings.name,
            now: clock.wall,
            clock,
            effects: Effects::default(),
            rollups: Rollups::default(),
        };
        work.follow_clock()?;
        let mut receipts = Vec::with_capacity(batch.len());
        for submission in batch {
            receipts.push(work.write_all(submission)?);
        }
        work.trim_letters(self.policy.dead_max)?;
        for tally in tallies {
            work.rollups.add(tally);
        }
        work.memories.find_wake(work.connection)?;
        work.held.find_wake(work.connection)?;
        let (effects, rollups) = (work.effects, work.rollups);
        let connection = &self.connection;
        let counted = if writes_counts || rollups.is_urgent() {
            // What waits goes too: `counted` is one number for all.
            self.rollups.write(connection, &mut self.names, self.counter)?;
            rollups.write(connection, &mut self.names, self.counter)?;
            Counted::Written
        } else {
            Counted::Waits(rollups)
        };
        let reserved = match self.counter {
            counter if counter <= self.reserved => self.reserved,
            counter => counter + RESERVE,
        };
        if reserved != self.reserved {
            rows::set_meta(connection, COUNTER, reserved)?;
        }
        if effects.frees_numbers || 0 < effects.trimmed {
            rows::set_meta(connection, FLOOR, self.counter)?;
        }
        stamp.map_or(Ok(()), |stamp| stamp.store(connection))?;
        if let Some(passed) = passed {
            rows::set_meta(connection, super::open::PASSED, passed.0 as u64)?;
        }
        transaction.commit()?;
        self.reserved = reserved;
        if stamp.is_some() {
            self.guard.has_stamped(self.env.clock.monotonic());
        }
        Ok((receipts, effects, counted))
    }

    /// Hands on what has become visible. The order of `pos` is the order of the batch.
    fn publish(&mut self, effects: Effects) {
        let figures = &self.figures;
        self.holdings.publish(figures);
        let counts =
            [(&figures.suppressed, effects.suppressed), (&figures.relayed, effects.relayed)];
        for (known, counts) in counts.into_iter().filter(|it| !it.1.is_empty()) {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, count) in counts {
                *known.entry(key).or_default() += count;
            }
        }
        if !effects.forgotten.is_empty() {
            let mut known = figures.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
            for (sink, count) in effects.forgotten {
                *known.entry(sink).or_default() += count;
            }
        }
        self.sweep.held.release(&effects.released);
        self.deletions.note(Deleted::Letter, "max-entries", effects.trimmed, &self.figures);
        if let Some(parking) = effects.parking {
            self.parking = parking;
        }
        self.tell_parked();
        for (target, reason) in &effects.full {
            self.note_full(target, reason);
        }
        let figures = &self.figures;
        if let Some(last) = effects.stored.last() {
            figures.highest_pos.store(last.pos, Ordering::Relaxed);
            self.watcher.committed(&effects.stored);
        }
        if !effects.sinks.is_empty() {
            self.watcher.deliveries(&effects.sinks);
        }
        if !effects.emitted.is_empty() {
            self.watcher.emitted(&effects.emitted);
        }
        self.publish_timers();
    }

    /// Says when somebody has to ask again.
    fn publish_timers(&mut self) {
        self.memories.publish();
        let wake = self.memories.wake().min(self.held.wake());
        if self.figures.wake.swap(wake, Ordering::Relaxed) != wake {
            self.watcher.wakes(Timestamp(wake));
        }
    }

    pub(super) fn merge_all(&mut self) {
        if let Err(fault) = self.claims.merge_all(&mut self.connection) {
            tracing::debug!(reason = %fault, "ids could not be merged; will retry later");
            self.note(&fault);
        }
    }

    fn housekeep(&mut self) {
        let started = self.env.clock.monotonic();
        if !self.look() {
            return;
        }
        let has_counts = 0 < self.rollups.stored() && self.counts_are_due(started);
        let has_tallies = has_counts || !self.lock_tallies().is_empty();
        if self.status.is_blocked() {
            self.probe();
        } else if has_tallies || self.needs_stamp() || self.clock_was_set() {
            self.commit(&[], LOCK_SHORT).ok();
        } else {
            self.probe_lock();
        }
        self.show_figures().and_then(|()| self.show_oldest()).ok();
        self.clear_full();
        if !self.may_tidy() {
            return;
        }
        if 4096 < self.claims.unmerged() && self.commands.is_empty() {
            self.claims.begin_merge();
        }
        self.upkeep_begin();
        let clock = self.env.clock.clone();
        let has_time = move || clock.monotonic() - started < TICK_MAX;
        self.upkeep_idle(&has_time);
        self.tend_log();
        if self.commands.is_empty() {
            self.tend_log_idle();
        }
    }

    /// Whether what waits for a time has to be told that the clock was set.
    fn clock_was_set(&self) -> bool {
        if !self.held.is_known() {
            return true;
        }
        let clock = ClockFace::of(&*self.env.clock);
        self.memories.clock_moved(&clock).is_some()
    }

    /// Refreshes the figures that are read off the database.
    pub(super) fn show_figures(&mut self) -> Result<(), StoreFault> {
        let one = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let figures = &self.figures;
        let set = |figure: &std::sync::atomic::AtomicU64, value: i64| {
            figure.store(value as u64, Ordering::Relaxed);
        };
        self.holdings.publish(figures);
        // Rows that retention took had positions too, and a client may remember theirs.
        let taken = rows::meta(&self.connection, "taken")? as i64;
        let highest = one("SELECT coalesce(max(pos), 0) FROM event_rows")?;
        set(&figures.highest_pos, highest.max(taken));
        set(&figures.taken_pos, taken);
        set(&figures.bytes, one("PRAGMA page_count")? * one("PRAGMA page_size")?);
        Ok(())
    }

    fn finish(&mut self) {
        self.commands.close();
        if self.has_closed() {
            // Only now: a store that is not whole is not written to, not even by closing it.
            let keep_log = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            self.connection.set_db_config(keep_log, false).ok();
        }
    }

    /// Writes what is waiting, and leaves a log that is empty. False when the next start has
    /// something to recover.
    fn has_closed(&mut self) -> bool {
        if !self.look() {
            return false;
        }
        debug_assert!(
            self.status.has_been_damaged()
                || StoreHoldings::load(&self.connection).as_ref() == Ok(&self.holdings),
            "what waits is counted as it changes: {:?}, and there is {:?}",
            self.holdings,
            StoreHoldings::load(&self.connection)
        );
        self.commit(&[], self.lock_wait()).ok();
        self.merge_all();
        self.deletions.say_last();
        // With a merge that failed the next start has something to rebuild, and looks closer.
        if self.status.broken().is_none() && self.claims.unmerged() == 0 {
            let fault = rows::set_meta(&self.connection, super::connect::IS_OPEN, 0).err();
            fault.iter().for_each(|it| self.note(it));
        }
        if self.status.broken().is_none() {
            self.checkpoint("TRUNCATE");
        }
        self.status.broken().is_none()
    }
}

impl Figures {
    pub(super) fn note_error(&self, class: StoreTrouble) {
        self.errors[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn note_commit(&self, micros: u64) {
        let bucket = COMMIT_BUCKETS.partition_point(|bucket| *bucket < micros);
        self.commits[bucket].fetch_add(1, Ordering::Relaxed);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// What became of a transaction's counts.
enum Counted {
    Written,
    Waits(Rollups),
}

/// A transaction whose statements are parsed once and not at each commit. Rolled back when it is
/// dropped before its end.
struct Transaction<'a>(&'a Connection);

impl<'a> Transaction<'a> {
    fn begin(connection: &'a Connection) -> Result<Self, StoreFault> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Transaction(connection))
    }

    fn commit(self) -> Result<(), StoreFault> {
        Ok(self.0.prepare_cached("COMMIT").and_then(|mut it| it.execute([])).map(drop)?)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // After its commit, and where a fault has ended it, there is none.
        if !self.0.is_autocommit() {
            self.0.execute_batch("ROLLBACK").ok();
        }
    }
}

/// What a transaction did, told after its commit.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) stored: Vec<Arc<StoredEvent>>,
    /// Events that stages sent.
    pub(super) emitted: Vec<u64>,
    pub(super) sinks: BTreeSet<Arc<str>>,
    /// Whether it deleted a row with a number.
    pub(super) frees_numbers: bool,
    /// Letters that it brought, and the oldest that it took away.
    pub(super) letters: u64,
    pub(super) trimmed: u64,
    /// Deliveries held back, by target and by what holds them back.
    pub(super) suppressed: BTreeMap<(Arc<str>, &'static str), u64>,
    pub(super) relayed: BTreeMap<(Arc<str>, &'static str), u64>,
    /// Messages that may be changed and were forgotten, by notifier.
    pub(super) forgotten: BTreeMap<Arc<str>, u64>,
    /// Targets that had no room, and why.
    pub(super) full: BTreeMap<Arc<str>, String>,
    /// Numbers of events for which one delivery less is waited.
    pub(super) released: Vec<u64>,
    /// After a parking: the targets of the file, when more is to be parked or woken.
    pub(super) parking: Option<Option<Vec<Arc<str>>>>,
}
