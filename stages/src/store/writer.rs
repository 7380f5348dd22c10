//! The one thread that writes: takes what is waiting, one transaction, one commit, then answers.
//!
//! Never: an answer before its commit. Never: a linger unless the file asks for one; batches form
//! because work arrives while the last commit runs.

use super::admit::FullTargets;
use super::claim::{Claim, Claims};
use super::deleted::{Deleted, Deletions};
use super::grace::PendingRules;
use super::holdings::StoreHoldings;
use super::insert::Batch;
use super::names::Names;
use super::open::Settings;
use super::parked::KnownTargets;
use super::policy::Policy;
use super::readers::ReaderGate;
use super::record::{Entry, Receipt, Stored};
use super::retention::Sweep;
use super::rollup::Tally;
use super::rules::RetentionRules;
use super::share::UpkeepShare;
use super::wal::LogGuard;
use super::{COMMIT_BUCKETS, Figures, StoreFault, StoreTrouble, rows};
use crate::env::{Env, within};
use rusqlite::{Connection, TransactionBehavior};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes of bodies in one transaction.
const BATCH_BYTES: usize = 4 << 20;
/// Housekeeping stops after this long, so that commits wait for at most a third of a second.
const TICK_MAX: Duration = Duration::from_millis(300);

pub(super) type Answer = Result<Vec<Receipt>, StoreFault>;

/// What the writer is asked.
pub(super) enum Command {
    Write { entries: Vec<Entry>, claims: Vec<Option<Claim>>, reply: async_channel::Sender<Answer> },
    Find { hashes: Vec<i64>, reply: async_channel::Sender<Result<Vec<u64>, StoreFault>> },
    Policy(Box<Policy>),
    Tick { reply: async_channel::Sender<()> },
    Sweep { reply: async_channel::Sender<()> },
    Close { reply: async_channel::Sender<()> },
}

/// Sees what was committed, on the writer's thread, before anyone is answered.
pub trait Watcher: Send {
    /// Events that became visible, in the order of `pos`.
    fn committed(&mut self, batch: &[Arc<Stored>]);
    /// There is new work in the outbox for these.
    fn deliveries(&mut self, sinks: &BTreeSet<Arc<str>>);
    /// An event was accepted whose sender no longer waits for the answer.
    fn unclaimed(&mut self) {}
}

/// The writing half of the store.
pub struct Writer {
    pub(super) connection: Connection,
    pub(super) commands: async_channel::Receiver<Command>,
    pub(super) settings: Settings,
    pub(super) policy: Policy,
    pub(super) env: Env,
    pub(super) watcher: Box<dyn Watcher>,
    pub(super) figures: Arc<Figures>,
    pub(super) tallies: Arc<Mutex<Vec<Tally>>>,
    pub(super) claims: Claims,
    pub(super) names: Names,
    /// The last number given, of `seq` and `pos` together.
    pub(super) counter: u64,
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
    pub(super) deletions: Deletions,
    pub(super) share: UpkeepShare,
    /// Targets of the file, while not all that is to be parked or woken is.
    pub(super) parking: Option<Vec<Arc<str>>>,
    pub(super) targets: KnownTargets,
    pub(super) is_broken: bool,
    /// Held while the store is open.
    pub(super) lock: Option<File>,
}

pub(super) struct Submission {
    pub(super) entries: Vec<Entry>,
    pub(super) claims: Vec<Option<Claim>>,
    /// `None` where nobody waits for the answer.
    reply: Option<async_channel::Sender<Answer>>,
}

impl Submission {
    /// Something of the writer's own.
    pub(super) fn silent(entries: Vec<Entry>, claims: Vec<Option<Claim>>) -> Self {
        Submission { entries, claims, reply: None }
    }
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
                Command::Write { entries, claims, reply } => {
                    next = self.gather(Submission { entries, claims, reply: Some(reply) });
                }
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
        let size = |it: &Submission| it.entries.iter().map(Entry::size).sum::<usize>();
        let (mut count, mut bytes) = (first.entries.len(), size(&first));
        let mut batch = vec![first];
        let mut other = None;
        while count < self.settings.batch && bytes < BATCH_BYTES {
            match self.commands.try_recv() {
                Ok(Command::Write { entries, claims, reply }) => {
                    let submission = Submission { entries, claims, reply: Some(reply) };
                    count += submission.entries.len();
                    bytes += size(&submission);
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
                Command::Write { entries, claims, reply } => {
                    count += entries.len();
                    batch.push(Submission { entries, claims, reply: Some(reply) });
                }
                command => return Some(command),
            }
        }
        None
    }

    fn write(&mut self, batch: Vec<Submission>) {
        if self.is_broken {
            for submission in &batch {
                answer(submission, Err(broken()));
            }
            return;
        }
        let batch = self.turn_away(batch);
        if batch.is_empty() {
            return;
        }
        let (started, before) = (self.env.clock.monotonic(), self.counter);
        match self.commit(&batch) {
            Ok(receipts) => {
                for (submission, receipts) in batch.iter().zip(receipts) {
                    self.report(submission, receipts);
                }
            }
            Err(fault) => self.write_apart(&batch, fault),
        }
        self.claims.merge_when_many();
        self.tend_log();
        let took = self.env.clock.monotonic() - started;
        self.upkeep_between(took, self.counter - before);
    }

    /// One submission that cannot be written must not fail the others: each gets a transaction
    /// of its own. A failing disk fails them all.
    fn write_apart(&mut self, batch: &[Submission], fault: StoreFault) {
        if self.is_broken || batch.len() == 1 {
            for submission in batch {
                answer(submission, Err(fault.clone()));
            }
            return;
        }
        for submission in batch {
            if self.is_broken {
                answer(submission, Err(broken()));
                continue;
            }
            match self.commit(std::slice::from_ref(submission)) {
                Ok(mut receipts) => self.report(submission, receipts.remove(0)),
                Err(fault) => {
                    answer(submission, Err(fault));
                }
            }
        }
    }

    fn report(&mut self, submission: &Submission, receipts: Vec<Receipt>) {
        let has_accepted = receipts.iter().any(|it| matches!(it, Receipt::Accepted { .. }));
        if !answer(submission, Ok(receipts)) && has_accepted {
            self.watcher.unclaimed();
        }
    }

    /// After a failed sync the kernel may have dropped what it could not write, and the next sync
    /// succeeds: whatever failed, a commit after it could answer for what is gone.
    pub(super) fn note(&mut self, fault: &StoreFault) {
        self.figures.note_error(fault.class);
        if matches!(fault.class, StoreTrouble::Io | StoreTrouble::Corrupt) && !self.is_broken {
            self.is_broken = true;
            self.figures.is_broken.store(true, Ordering::Relaxed);
            tracing::error!(reason = %fault, "the store failed; restart the engine to recover");
        }
    }

    /// One transaction for all; nothing in memory or on disk has changed when it fails.
    pub(super) fn commit(&mut self, batch: &[Submission]) -> Result<Vec<Vec<Receipt>>, StoreFault> {
        let started = self.env.clock.monotonic();
        let (counter, holdings) = (self.counter, self.holdings.clone());
        let targets = self.targets.clone();
        let tallies =
            std::mem::take(&mut *self.tallies.lock().unwrap_or_else(PoisonError::into_inner));
        match self.transact(batch, &tallies) {
            Ok((receipts, effects)) => {
                self.claims.keep();
                self.names.keep();
                self.publish(effects);
                let micros = (self.env.clock.monotonic() - started).as_micros() as u64;
                self.figures.note_commit(micros);
                Ok(receipts)
            }
            Err(fault) => {
                self.note(&fault);
                (self.counter, self.holdings, self.targets) = (counter, holdings, targets);
                self.claims.undo();
                self.names.undo();
                let mut waiting = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.extend(tallies);
                Err(fault)
            }
        }
    }

    fn transact(
        &mut self,
        batch: &[Submission],
        tallies: &[Tally],
    ) -> Result<(Vec<Vec<Receipt>>, Effects), StoreFault> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut work = Batch {
            connection: &transaction,
            claims: &mut self.claims,
            names: &mut self.names,
            counter: &mut self.counter,
            holdings: &mut self.holdings,
            targets: &mut self.targets,
            limits: &self.policy.outbox,
            store: &self.settings.name,
            now: self.env.clock.wall(),
            effects: Effects::default(),
            rollups: super::rollup::Rollups::default(),
        };
        let mut receipts = Vec::with_capacity(batch.len());
        for submission in batch {
            let pairs = submission.entries.iter().zip(&submission.claims);
            let answers: Result<Vec<Receipt>, StoreFault> =
                pairs.map(|(entry, claim)| work.write(entry, *claim)).collect();
            receipts.push(answers?);
        }
        work.trim_letters(self.policy.dead_max)?;
        for tally in tallies {
            work.rollups.add(tally);
        }
        let rollups = std::mem::take(&mut work.rollups);
        rollups.write(&transaction, work.names)?;
        let effects = work.effects;
        rows::set_meta(&transaction, "counter", self.counter)?;
        transaction.commit()?;
        Ok((receipts, effects))
    }

    /// Hands on what has become visible. The order of `pos` is the order of the batch.
    fn publish(&mut self, effects: Effects) {
        let figures = &self.figures;
        self.holdings.publish(figures);
        if !effects.suppressed.is_empty() {
            let mut known = figures.suppressed.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, count) in effects.suppressed {
                *known.entry(key).or_default() += count;
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
    }

    pub(super) fn merge_all(&mut self) {
        if let Err(fault) = self.claims.merge_all(&mut self.connection) {
            tracing::warn!(reason = %fault, "ids could not be merged; tried again later");
            self.note(&fault);
        }
    }

    fn housekeep(&mut self) {
        if self.is_broken {
            return;
        }
        let started = self.env.clock.monotonic();
        let has_tallies = !self.tallies.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if has_tallies && !self.is_broken {
            self.commit(&[]).ok();
        }
        self.show_figures().and_then(|()| self.show_oldest()).ok();
        self.clear_full();
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

    /// Refreshes the figures that are read off the database.
    pub(super) fn show_figures(&mut self) -> Result<(), StoreFault> {
        let one = |sql: &str| self.connection.query_row(sql, [], |it| it.get::<_, i64>(0));
        let figures = &self.figures;
        let set = |figure: &std::sync::atomic::AtomicU64, value: i64| {
            figure.store(value as u64, Ordering::Relaxed);
        };
        self.holdings.publish(figures);
        set(&figures.highest_pos, one("SELECT coalesce(max(pos), 0) FROM event_rows")?);
        set(&figures.taken_pos, rows::meta(&self.connection, "taken")? as i64);
        set(&figures.bytes, one("PRAGMA page_count")? * one("PRAGMA page_size")?);
        Ok(())
    }

    fn finish(&mut self) {
        self.commands.close();
        if !self.is_broken {
            debug_assert_eq!(
                StoreHoldings::load(&self.connection).as_ref(),
                Ok(&self.holdings),
                "what waits is counted as it changes"
            );
            self.commit(&[]).ok();
            self.merge_all();
            self.deletions.say_last();
            // With a merge that failed the next start has something to rebuild, and looks closer.
            if !self.is_broken && self.claims.unmerged() == 0 {
                let fault = rows::set_meta(&self.connection, super::open::IS_OPEN, 0).err();
                fault.iter().for_each(|it| self.note(it));
            }
            self.checkpoint("TRUNCATE");
        }
        drop(self.lock.take());
    }
}

fn broken() -> StoreFault {
    let reason = "the store failed and takes nothing more".to_owned();
    StoreFault { class: StoreTrouble::Io, reason }
}

/// Whether anyone waits for the answer. Whoever asked may have gone; what was committed stays.
pub(super) fn answer(submission: &Submission, answer: Answer) -> bool {
    submission.reply.as_ref().is_none_or(|it| it.try_send(answer).is_ok())
}

impl Figures {
    pub(super) fn note_error(&self, class: StoreTrouble) {
        self.errors[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn note_commit(&self, micros: u64) {
        let bucket = COMMIT_BUCKETS.partition_point(|it| *it < micros);
        self.commits[bucket].fetch_add(1, Ordering::Relaxed);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// What a transaction did, told after its commit.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) stored: Vec<Arc<Stored>>,
    pub(super) sinks: BTreeSet<Arc<str>>,
    /// Letters that it brought, and the oldest that it took away.
    pub(super) letters: u64,
    pub(super) trimmed: u64,
    /// Deliveries held back, by target and by what holds them back.
    pub(super) suppressed: BTreeMap<(Arc<str>, &'static str), u64>,
    /// Targets that had no room, and why.
    pub(super) full: BTreeMap<Arc<str>, String>,
    /// Numbers of events for which one delivery less is waited.
    pub(super) released: Vec<u64>,
    /// After a parking: the targets of the file, when more is to be parked or woken.
    pub(super) parking: Option<Option<Vec<Arc<str>>>>,
}

impl Entry {
    /// Bytes of payload, for the limit of a batch.
    fn size(&self) -> usize {
        match self.bare() {
            Entry::Record(it) | Entry::Finish(it) => it.event.body.bytes.len(),
            Entry::Accept(it) => it.body.bytes.len(),
            Entry::Bury { event, .. } => event.body.bytes.len(),
            Entry::Refuse(it) => it.body.len(),
            Entry::Reopen { event, .. } => event.body.bytes.len(),
            _ => 64,
        }
    }
}
