//! What the writer does beside writing, in slices: merging, parking, retention.
//!
//! *Invariant:* one slice takes about as long as a commit, and while events wait there are at most
//! two between two commits, as [`UpkeepShare`](super::share::UpkeepShare) allows.

use super::connect::LOCK_SHORT;
use super::deleted::Deleted;
use super::messages::sweep_messages;
use super::policy::Synchronous;
use super::record::StoreEntry;
use super::rules::RuleOfEvent;
use super::submission::Submission;
use super::sweep::{Slice, SliceResult};
use super::writer::Writer;
use super::{StoreFault, StoreTrouble, rollup};
use kernel::health::HealthProblem;
use rusqlite::params;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Rows that one slice deletes of what has an index for it.
const CHUNK: usize = 500;
/// Slices between two commits while events wait.
const SLICES_MAX: usize = 2;
/// After a fault upkeep rests for this long.
pub(super) const REST: Duration = Duration::from_secs(5);
/// What was too much to be remembered is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

const NOTHING: SliceResult = SliceResult { deleted: 0, is_done: true };

/// Where a sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SweepStage {
    /// No sweep runs.
    #[default]
    Resting,
    /// At the rule with this index.
    Rules(usize),
    Letters,
    State,
    Minutes,
    Ids,
    Space,
}

impl Writer {
    /// Upkeep as long as there is time and nobody waits.
    pub(super) fn upkeep_idle(&mut self, has_time: &dyn Fn() -> bool) {
        while has_time() && self.commands.is_empty() {
            if !self.upkeep_slice() {
                return;
            }
        }
    }

    /// Upkeep between two commits, after one that took so long and stored so many events.
    pub(super) fn upkeep_between(&mut self, took: Duration, stored: u64) {
        self.share.committed(took, stored);
        if self.claims.is_overdue() {
            self.merge_all();
        }
        for _ in 0..SLICES_MAX {
            if !self.share.allows() || !self.upkeep_slice() {
                return;
            }
        }
    }

    /// Everything that is to be done now, to its end.
    pub(super) fn upkeep_fully(&mut self) {
        self.begin_sweep();
        self.sweep.passing_due = true;
        while self.upkeep_slice() {}
        // What the survey found may be in force only now.
        self.begin_sweep();
        while self.upkeep_slice() {}
        self.deletions.say(self.env.clock.monotonic());
    }

    /// Begins what is due: called about once a second.
    pub(super) fn upkeep_begin(&mut self) {
        let now = self.env.clock.monotonic();
        if !self.guard.clock.is_trusted() {
            return;
        }
        if let Err(fault) = self.end_grace() {
            self.upkeep_failed(&fault);
        }
        self.sweep.passing_due = true;
        self.sweep.eviction.is_exhausted = false;
        if self.sweep.stage == SweepStage::Resting && self.sweep.due <= now {
            self.begin_sweep();
        }
        if self.sweep.look_again <= now {
            self.sweep.look_again = now + LOOK_AGAIN;
            self.sweep.look_at_forgotten();
        }
    }

    fn begin_sweep(&mut self) {
        if self.sweep.stage == SweepStage::Resting {
            self.sweep.stage = SweepStage::Rules(0);
        }
    }

    /// One slice of whatever is to be done first. False when there is nothing.
    fn upkeep_slice(&mut self) -> bool {
        if self.status.broken().is_some() || self.env.clock.monotonic() < self.sweep.rests_until {
            return false;
        }
        let slice = Slice::begin(&self.env.clock);
        let began = self.env.clock.monotonic();
        let result = self.lightly(|writer| writer.next_slice(&slice));
        self.tend_log();
        let took = self.env.clock.monotonic() - began;
        match result {
            Ok(Some(result)) => {
                self.share.spent(took, result.deleted);
                self.store_health().clear("retention-failed");
                true
            }
            Ok(None) => {
                self.share.settle();
                false
            }
            Err(fault) => {
                self.upkeep_failed(&fault);
                false
            }
        }
    }

    /// Does something whose loss nobody would miss: after a power cut it is done again. So its
    /// commits do not wait for the disk; the next one that is answered for does, and takes what
    /// came before it along.
    fn lightly<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        if self.settings.synchronous != Synchronous::Full {
            return work(self);
        }
        self.connection.execute_batch("PRAGMA synchronous = NORMAL").ok();
        let result = work(self);
        if let Err(fault) = self.connection.execute_batch("PRAGMA synchronous = FULL") {
            // Without it nothing could be answered for.
            let reason = format!("commits can no longer be made durable: {fault}");
            self.note(&StoreFault::new(StoreTrouble::Io, reason));
        }
        result
    }

    fn upkeep_failed(&mut self, fault: &StoreFault) {
        self.note(fault);
        self.sweep.rests_until = self.env.clock.monotonic() + REST;
        let reason = format!("old events cannot be deleted: {fault}");
        let problem = HealthProblem::degraded("retention-failed", reason);
        self.store_health().report(problem.advise("it is retried every few seconds"));
    }

    /// `None` when there is nothing to do.
    fn next_slice(&mut self, slice: &Slice) -> Result<Option<SliceResult>, StoreFault> {
        if self.claims.is_merging() {
            self.claims.merge_slice(&mut self.connection, &|| slice.is_over())?;
            return Ok(Some(NOTHING));
        }
        if let Some(sinks) = self.parking.take() {
            self.commit(&[Submission::silent(vec![StoreEntry::Park { sinks }])], LOCK_SHORT)?;
            return Ok(Some(NOTHING));
        }
        // A log that cannot be begun again would only grow.
        if self.log.is_stuck() {
            return Ok(None);
        }
        if self.status.is_index_damaged() {
            self.give_up_index()?;
            return Ok(Some(NOTHING));
        }
        if !self.sweep.eviction.is_exhausted && self.is_over_size()? {
            return self.shrink(slice).map(Some);
        }
        // With a clock that cannot be trusted nothing is too old.
        let swept = match self.guard.clock.is_trusted() {
            true => self.retention_slice(slice)?,
            false => None,
        };
        match swept {
            None => Ok(self.tend_index(slice)),
            swept => Ok(swept),
        }
    }

    /// One slice of what retention has to do, if it has.
    fn retention_slice(&mut self, slice: &Slice) -> Result<Option<SliceResult>, StoreFault> {
        if self.is_surveying() {
            return self.survey(slice).map(Some);
        }
        if self.has_released() {
            return self.sweep_released(slice).map(Some);
        }
        if self.sweep.passing_due && self.names.has_passing() {
            let result = self.sweep_rule(RuleOfEvent::Passing, slice)?;
            self.sweep.passing_due = !result.is_done;
            return Ok(Some(result));
        }
        self.sweep_slice(slice)
    }

    /// One slice of the sweep that runs, if one does.
    fn sweep_slice(&mut self, slice: &Slice) -> Result<Option<SliceResult>, StoreFault> {
        let stage = self.sweep.stage;
        let result = match stage {
            SweepStage::Resting => return Ok(None),
            SweepStage::Rules(rule) if rule < self.policy.keep.len() => {
                self.sweep_rule(RuleOfEvent::Keep(rule), slice)?
            }
            SweepStage::Rules(_) => NOTHING,
            SweepStage::Letters => self.sweep_letters()?,
            SweepStage::State => self.sweep_state()?,
            SweepStage::Minutes => self.sweep_minutes()?,
            SweepStage::Ids => {
                SliceResult { deleted: 0, is_done: !self.forget_chunk(&|| slice.is_over())? }
            }
            SweepStage::Space => self.give_back_spare(slice)?,
        };
        if result.is_done {
            self.sweep.stage = match stage {
                SweepStage::Rules(rule) if rule < self.policy.keep.len() => {
                    SweepStage::Rules(rule + 1)
                }
                SweepStage::Rules(_) => SweepStage::Letters,
                SweepStage::Letters => SweepStage::State,
                SweepStage::State => SweepStage::Minutes,
                SweepStage::Minutes => SweepStage::Ids,
                SweepStage::Ids => SweepStage::Space,
                SweepStage::Space | SweepStage::Resting => SweepStage::Resting,
            };
            if self.sweep.stage == SweepStage::Resting {
                let now = self.env.clock.monotonic();
                self.sweep.due = now + self.policy.sweep_every;
                let next = self.env.clock.wall().plus(self.policy.sweep_every);
                self.figures.next_sweep.store(next.0, Ordering::Relaxed);
                self.deletions.say(now);
            }
        }
        Ok(Some(result))
    }

    /// Dead letters that are too old. Those that are too many go with the commit that brings them.
    fn sweep_letters(&mut self) -> Result<SliceResult, StoreFault> {
        let cutoff = self.env.clock.wall().minus(self.policy.dead_keep).0;
        let sql = "SELECT id FROM dead_letters INDEXED BY dead_letters_last
                   WHERE last < ? ORDER BY last LIMIT ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let old = select.query_map(params![cutoff, CHUNK as i64], |row| row.get::<_, i64>(0))?;
        let old: Vec<i64> = old.collect::<Result<_, _>>()?;
        drop(select);
        let count = old.len();
        let before = self.holdings.letters;
        if 0 < count {
            let entries =
                old.into_iter().map(|it| StoreEntry::DropLetter { id: it as u64 }).collect();
            self.commit(&[Submission::silent(entries)], LOCK_SHORT)?;
        }
        let deleted = before - self.holdings.letters;
        self.deletions.note(Deleted::Letter, "keep of dead-letter", deleted, &self.figures);
        Ok(SliceResult { deleted, is_done: count < CHUNK })
    }

    fn sweep_state(&mut self) -> Result<SliceResult, StoreFault> {
        let now = self.env.clock.wall().0;
        let gone = self.connection.execute(
            "DELETE FROM state WHERE (owner, key) IN (SELECT owner, key FROM state
                INDEXED BY state_expires WHERE expires IS NOT NULL AND expires < ? LIMIT ?)",
            params![now, CHUNK as i64],
        )?;
        let messages = sweep_messages(&self.connection, self.env.clock.wall(), CHUNK)?;
        if 0 < messages {
            self.held.messages.forget();
        }
        Ok(SliceResult { deleted: 0, is_done: gone.max(messages) < CHUNK })
    }

    /// Counts of minutes that are too long ago: those of their hours stay.
    fn sweep_minutes(&mut self) -> Result<SliceResult, StoreFault> {
        let before = rollup::first_minute_kept(self.env.clock.wall());
        let is_done = rollup::forget_minutes(&self.connection, before, CHUNK)?;
        Ok(SliceResult { deleted: 0, is_done })
    }
}
