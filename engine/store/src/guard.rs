//! What the writer looks after besides writing: that its files are still its files, that there is
//! room, that nobody holds the lock, and that the clock is right.
//!
//! *Invariant:* what was committed to a file that is no longer there is not answered for.

use super::clock::{ClockFace, ClockWatch, GoodTime};
use super::connect::LOCK_SHORT;
use super::files::{FileChange, StoreFiles};
use super::space::{self, DiskSpace};
use super::status::Obstacle;
use super::writer::Writer;
use super::{StoreFault, StoreTrouble, holder, rescue};
use kernel::time::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a batch waits for a lock of another program at most. With the look of once a second it
/// keeps the time until the lock is said at two seconds.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(1);
/// What it waits once that was in vain.
const LOCK_PROBE: Duration = Duration::from_millis(200);
/// The files are looked at this often while there is something to answer.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The good time goes with a commit when the last one is older than this,
const STAMP_EVERY: Duration = Duration::from_secs(5);
/// and with a commit of its own when it is older than this.
const STAMP_IDLE: Duration = Duration::from_secs(60);
/// How SQLite lays out its log.
const LOG_HEADER: u64 = 32;
const LOG_FRAME_HEADER: u64 = 24;
/// No policy waits longer with its next try: see `backoff` and `Retry-After`.
pub(super) const DUE_MAX: Duration = Duration::from_secs(3600);
/// No window of a cooldown is longer.
const WINDOW_MAX: Duration = Duration::from_secs(30 * 86_400);

/// What the looks remember.
pub(super) struct Guard {
    /// `None` in memory.
    pub(super) files: Option<Arc<StoreFiles>>,
    pub(super) clock: ClockWatch,
    looked: Duration,
    locked_since: Option<Duration>,
    stamped: Option<Duration>,
}

impl Guard {
    pub(super) fn new(files: Option<Arc<StoreFiles>>, clock: ClockWatch) -> Self {
        let (looked, locked_since, stamped) = (Duration::ZERO, None, None);
        Guard { files, clock, looked, locked_since, stamped }
    }

    /// The good time is on disk.
    pub(super) fn has_stamped(&mut self, now: Duration) {
        self.stamped = Some(now);
    }
}

impl Writer {
    /// The look of once a second. False when the store is broken.
    pub(super) fn look(&mut self) -> bool {
        if !self.has_its_files(Duration::ZERO) {
            return false;
        }
        self.look_at_space();
        let now = ClockFace::of(&*self.env.clock);
        let look = self.guard.clock.look(now);
        if look.went_back && !self.status.is_blocked() {
            self.correct_times();
        }
        true
    }

    /// Before an answer: whether what was committed is where the next start will find it.
    pub(super) fn may_answer(&mut self) -> bool {
        self.has_its_files(LOOK_EVERY)
    }

    /// Looks at the files unless that was done within `every`. A store that lost them saves what
    /// it can, and accepts nothing more.
    fn has_its_files(&mut self, every: Duration) -> bool {
        if self.status.broken().is_some() {
            return false;
        }
        let Some(files) = self.guard.files.clone() else { return true };
        let now = self.env.clock.monotonic();
        if now < self.guard.looked + every {
            return true;
        }
        self.guard.looked = now;
        let change = files.change().or_else(|| self.is_log_cut(&files));
        change.inspect(|it| self.leave(&files, *it)).is_none()
    }

    /// Whether the log is shorter than SQLite knows it to be. Another program may empty it between
    /// two looks, so only what stays so counts.
    fn is_log_cut(&self, files: &StoreFiles) -> Option<FileChange> {
        let is_cut = || {
            let size = files.log_size();
            let number = |sql: &str, column| {
                let found = self.connection.query_row(sql, [], |row| row.get::<_, i64>(column));
                found.ok().and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
            };
            let frames = number("PRAGMA wal_checkpoint(NOOP)", 1);
            let frame = LOG_FRAME_HEADER + number("PRAGMA page_size", 0);
            0 < frames && size < LOG_HEADER + frames * frame
        };
        (0..3).all(|_| is_cut()).then_some(FileChange::LogTruncated)
    }

    fn leave(&mut self, files: &StoreFiles, change: FileChange) {
        let label = self.status.label().to_owned();
        let (code, what) = match change {
            FileChange::DatabaseDeleted => ("database-deleted", format!("{label} was deleted")),
            FileChange::DatabaseReplaced => ("database-replaced", format!("{label} was replaced")),
            FileChange::LogDeleted => ("wal-deleted", format!("{label}-wal was deleted")),
            FileChange::LogReplaced => ("wal-replaced", format!("{label}-wal was replaced")),
            FileChange::LogTruncated => ("wal-truncated", format!("{label}-wal was cut short")),
            FileChange::SharedMemoryReplaced => {
                ("shm-replaced", format!("{label}-shm was deleted or replaced"))
            }
        };
        // Saving may take a while, and nothing that comes meanwhile can be stored.
        self.status.hold();
        let rescued = rescue::save(&self.connection, files, change, self.env.clock.wall());
        let reason = format!("{what} while the engine used it; {}", rescued.outcome);
        self.status.fail(StoreTrouble::Io, code, reason, &rescued.advice);
    }

    fn look_at_space(&mut self) {
        let space = self.guard.files.as_ref().and_then(|files| DiskSpace::of(files));
        let Some(space) = space else { return };
        self.figures.free_bytes.store(space.free, Ordering::Relaxed);
        if space.is_low() {
            let (free, reserve) = (space::mebibytes(space.free), space::mebibytes(space.reserve()));
            let reason = format!(
                "the disk is almost full: {free} are free on the disk of {}; nothing new is \
                 accepted below {reserve}, and accepted events are still delivered",
                self.status.label()
            );
            self.status.block(Obstacle::Low, &reason);
        } else if space.is_fine() {
            self.status.unblock(Obstacle::Low);
        }
    }

    /// Whether there is a point in merging, writing the log into the database and deleting what is
    /// old. On a full disk there is: it may make room.
    pub(super) fn may_tidy(&self) -> bool {
        let hopeless = [Obstacle::Locked, Obstacle::ReadOnly];
        self.status.broken().is_none() && !hopeless.iter().any(|it| self.status.is_blocked_by(*it))
    }

    /// What a batch waits for the lock now.
    pub(super) fn lock_wait(&self) -> Duration {
        if self.status.is_blocked_by(Obstacle::Locked) { LOCK_PROBE } else { LOCK_WAIT }
    }

    /// Whether what keeps the store from taking events is over: it is when a large write to the
    /// disk succeeds, and a small one to the store. A small one alone may fit where no event does.
    pub(super) fn probe(&mut self) {
        let on_disk = [Obstacle::Full, Obstacle::ReadOnly];
        let is_of_disk = on_disk.iter().any(|it| self.status.is_blocked_by(*it));
        let files = self.guard.files.as_ref().filter(|_| is_of_disk);
        if let Some(Err(fault)) = files.map(|file| space::try_to_write(file)) {
            return self.note(&fault);
        }
        if self.commit(&[], LOCK_PROBE).is_ok() {
            on_disk.iter().for_each(|it| self.status.unblock(*it));
        }
    }

    /// Whether the lock for writing can be had, without writing. What fails is noted.
    pub(super) fn probe_lock(&mut self) {
        let waits = |connection: &Connection, time| connection.busy_timeout(time);
        let begun = waits(&self.connection, Duration::ZERO).and_then(|()| {
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map(drop)
        });
        waits(&self.connection, LOCK_SHORT).ok();
        match begun.map_err(StoreFault::from) {
            Ok(()) => self.has_lock(),
            Err(fault) if fault.class == StoreTrouble::Busy => self.is_locked_out(Duration::ZERO),
            Err(fault) => self.note(&fault),
        }
    }

    pub(super) fn has_lock(&mut self) {
        self.guard.locked_since = None;
        self.status.unblock(Obstacle::Locked);
    }

    /// Another program has held the lock for `waited`, as far as the last try can tell.
    pub(super) fn is_locked_out(&mut self, waited: Duration) {
        let now = self.env.clock.monotonic();
        let since = *self.guard.locked_since.get_or_insert(now.saturating_sub(waited));
        if waited < LOCK_WAIT && now < since + LOCK_WAIT {
            return;
        }
        let holder = self.guard.files.as_ref().and_then(|files| holder::of(files));
        let holder = holder.unwrap_or_else(|| "another program".to_owned());
        let reason = format!("{holder} holds a lock on {}", self.status.label());
        self.status.block(Obstacle::Locked, &reason);
    }

    /// A write that failed is looked into: full, read-only, or a failing disk.
    pub(super) fn diagnosed(&self, fault: StoreFault) -> StoreFault {
        let StoreTrouble::Unwritten = fault.class else { return fault };
        let Some(files) = &self.guard.files else { return fault };
        space::reason_of_failed_write(files)
    }

    /// After a failed sync the kernel may have dropped what it could not write, and the next sync
    /// succeeds: whatever failed, a commit after it could answer for what is gone.
    pub(super) fn note(&mut self, fault: &StoreFault) {
        self.figures.note_error(fault.class);
        let fault = self.diagnosed(fault.clone());
        let reason = format!("{}: {}", self.status.label(), fault.reason);
        match fault.class {
            StoreTrouble::Full => {
                self.status.block(Obstacle::Full, &format!("no space for {reason}"))
            }
            StoreTrouble::ReadOnly => self.status.block(Obstacle::ReadOnly, &reason),
            StoreTrouble::Io | StoreTrouble::Unwritten => {
                let advice = "check the kernel log for a failing disk; the next start recovers \
                              all acknowledged events";
                self.status.fail(StoreTrouble::Io, "store-io", reason, advice);
            }
            StoreTrouble::Corrupt => self.status.fail_damaged(&fault.reason),
            StoreTrouble::TextIndex => self.status.note_damaged_index(),
            _ => {}
        }
    }
}

/// Times.
impl Writer {
    /// Notes in a transaction that the time is good, once in a while.
    pub(super) fn stamp(&mut self) -> Option<GoodTime> {
        let now = ClockFace::of(&*self.env.clock);
        let is_due =
            self.guard.stamped.is_none_or(|stamped| stamped + STAMP_EVERY <= now.monotonic);
        self.guard.clock.good_time(now).filter(|_| is_due && self.guard.files.is_some())
    }

    /// Whether the good time needs a commit of its own.
    pub(super) fn needs_stamp(&self) -> bool {
        let now = ClockFace::of(&*self.env.clock);
        let is_due = self.guard.stamped.is_none_or(|stamped| stamped + STAMP_IDLE <= now.monotonic);
        is_due && self.guard.files.is_some() && self.guard.clock.good_time(now).is_some()
    }

    /// What was put off by a clock that was ahead would wait until that time comes.
    pub(super) fn correct_times(&mut self) {
        if let Err(fault) = correct_times(&self.connection, self.env.clock.wall()) {
            self.note(&fault);
        }
        self.held.forget_wake();
        self.held.messages.forget();
    }
}

fn correct_times(connection: &Connection, now: Timestamp) -> Result<(), StoreFault> {
    let latest = now.plus(DUE_MAX).0;
    connection.execute(
        "UPDATE delivery_rows SET not_before = ?1 WHERE state = 0 AND not_before > ?1",
        [latest],
    )?;
    connection.execute(
        "UPDATE delivery_rows SET created = ?1 WHERE state = 0 AND created > ?2",
        params![now.0, latest],
    )?;
    // Quiet hours are judged again, by the clock as it is now. What else is held is as far away as
    // it was: see `clock_set`.
    connection.execute(
        "UPDATE delivery_rows SET not_before = ?1
         WHERE state = 5 AND lead IS NULL AND held = 'quiet-hours' AND created > ?1",
        [now.0],
    )?;
    // A window that ends later than any window can is never heeded.
    let latest = now.plus(WINDOW_MAX).plus(DUE_MAX).0;
    connection.execute("DELETE FROM state WHERE expires > ?", [latest])?;
    connection.execute("DELETE FROM sent_messages WHERE until > ?", [latest])?;
    Ok(())
}
