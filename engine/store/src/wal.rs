//! The write-ahead log is copied into the database as it grows, and begun again from its start.
//!
//! SQLite begins it again by itself when all of it is copied and nobody reads from it. Where
//! readers follow one another without a pause that never happens, so beyond a limit the writer
//! waits a moment for them: its own queries are held off until it is done, and those of another
//! program are named.
//!
//! *Invariant:* no step here waits for longer than [`RESET_WAIT`].

use super::writer::Writer;
use super::{Figures, StoreFault};
use kernel::health::{HealthProblem, PartHealth, PartRole};
use kernel::time::Timestamp;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// The log is copied whenever it has grown by this much.
const COPY_AT: u64 = 16 * MIB;
/// The log is begun again when it has more than this.
const RESET_AT: u64 = 64 * MIB;
/// Beyond this no more events are taken.
const FULL_AT: u64 = 1024 * MIB;
/// How long a commit waits for readers when the log is to be begun again.
const RESET_WAIT: Duration = Duration::from_millis(20);
/// Time between two such waits.
const RESET_EVERY: Duration = Duration::from_secs(1);
/// The same while our own queries are held off: they end soon.
const RESET_SOON: Duration = Duration::from_millis(100);
/// How long queries are held off at most. None runs for longer than [`READ_MAX`](super::READ_MAX).
const HOLD_MAX: Duration = Duration::from_millis(2500);
/// Once it is known that another program reads, our own queries are left alone for this long.
const HOLD_EVERY: Duration = Duration::from_secs(60);
/// A log smaller than this is left as it is when there is nothing to do.
const IDLE_LEAST: u64 = MIB;

/// How large the log may get, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogLimits {
    copy_at: u64,
    pub(super) reset_at: u64,
    full_at: u64,
}

impl LogLimits {
    /// A quarter of `max-size` is for the log, where the file has one.
    pub(super) fn of(size_max: Option<u64>) -> Self {
        let reset_at = size_max.map_or(RESET_AT, |it| (it / 4).clamp(MIB / 4, RESET_AT));
        let full_at = size_max.map_or(FULL_AT, |it| it.clamp(RESET_AT, FULL_AT));
        LogLimits { copy_at: (reset_at / 4).min(COPY_AT), reset_at, full_at }
    }
}

/// What the writer knows of the log.
#[derive(Debug)]
pub(super) struct LogGuard {
    /// Pages in it, as of the last commit.
    pages: Arc<AtomicU64>,
    page_bytes: u64,
    /// Pages at which it is copied next.
    copy_next: u64,
    /// Pages when it was last looked at, and when it was last tried to empty it at leisure.
    looked: u64,
    idled: u64,
    /// When it may be waited for again.
    reset_next: Duration,
    hold_next: Duration,
    /// Since when it cannot be begun again.
    stuck: Option<StuckLog>,
}

#[derive(Debug, Clone, Copy)]
struct StuckLog {
    since: Timestamp,
    is_foreign: bool,
}

impl LogGuard {
    /// Watches the commits of a connection. A database in memory has no log.
    pub(super) fn watch(connection: &mut Connection) -> Result<Self, StoreFault> {
        let pages = Arc::new(AtomicU64::new(0));
        let seen = pages.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
            seen.store(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let page_bytes: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        Ok(LogGuard {
            pages,
            page_bytes: page_bytes as u64,
            copy_next: 0,
            looked: 0,
            idled: 0,
            reset_next: Duration::ZERO,
            hold_next: Duration::ZERO,
            stuck: None,
        })
    }

    fn bytes(&self) -> u64 {
        self.pages.load(Ordering::Relaxed) * self.page_bytes
    }

    fn pages_of(&self, bytes: u64) -> u64 {
        bytes / self.page_bytes
    }

    /// Whether it is too large and cannot be begun again: what need not be written waits.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.is_some()
    }
}

impl Writer {
    /// Copies the log when it has grown, and begins it again when it is too large. To be called
    /// after every transaction.
    pub(super) fn tend_log(&mut self) {
        let pages = self.log.pages.load(Ordering::Relaxed);
        if pages < self.log.looked {
            // It was begun again.
            self.log.copy_next = 0;
            self.log_is_free();
        }
        self.log.looked = pages;
        let limits = LogLimits::of(self.policy.size_max);
        let step = self.log.pages_of(limits.copy_at).max(1);
        if self.log.copy_next.max(step) <= pages {
            // What a reader still needs cannot be copied over; it is tried again when there is
            // more, or every commit would look through all of it.
            self.log.copy_next = pages + step;
            self.checkpoint("PASSIVE");
        }
        if limits.reset_at < self.log.bytes() {
            self.reset_log(limits);
        }
    }

    /// Empties a log that nobody needs any more, while there is nothing else to do.
    pub(super) fn tend_log_idle(&mut self) {
        let pages = self.log.pages.load(Ordering::Relaxed);
        let is_new = std::mem::replace(&mut self.log.idled, pages) != pages;
        let least = IDLE_LEAST.min(LogLimits::of(self.policy.size_max).reset_at / 8);
        let is_worth_it = is_new && least <= self.log.bytes() && self.log.stuck.is_none();
        if is_worth_it && self.checkpoint_within("TRUNCATE", Duration::ZERO) {
            self.log_is_empty();
        }
        self.show_log();
    }

    fn reset_log(&mut self, limits: LogLimits) {
        let now = self.env.clock.monotonic();
        if now < self.log.reset_next {
            return;
        }
        if self.checkpoint_within("TRUNCATE", RESET_WAIT) {
            return self.log_is_empty();
        }
        let has_queries = 0 < self.gate.leased();
        let is_held = self.gate.is_held(now);
        if has_queries && !is_held && self.log.hold_next <= now {
            self.gate.hold_until(now + HOLD_MAX);
            self.log.hold_next = now + HOLD_MAX + HOLD_EVERY;
        }
        let wait = if self.gate.is_held(now) { RESET_SOON } else { RESET_EVERY };
        self.log.reset_next = now + wait;
        let since = self.log.stuck.map_or_else(|| self.env.clock.wall(), |it| it.since);
        let was_foreign = self.log.stuck.is_some_and(|it| it.is_foreign);
        let is_foreign = was_foreign || !has_queries;
        self.log.stuck = Some(StuckLog { since, is_foreign });
        self.report_log(limits);
    }

    fn log_is_empty(&mut self) {
        self.log.pages.store(0, Ordering::Relaxed);
        (self.log.copy_next, self.log.looked, self.log.idled) = (0, 0, 0);
        self.log_is_free();
    }

    fn log_is_free(&mut self) {
        self.gate.open();
        if self.log.stuck.take().is_some() {
            (self.log.reset_next, self.log.hold_next) = (Duration::ZERO, Duration::ZERO);
            self.figures.is_log_full.store(false, Ordering::Relaxed);
            self.store_health().clear("wal-large");
        }
    }

    fn report_log(&self, limits: LogLimits) {
        let Some(stuck) = self.log.stuck else { return };
        let bytes = self.log.bytes();
        let is_full = limits.full_at < bytes;
        self.figures.is_log_full.store(is_full, Ordering::Relaxed);
        let (size, most) = (bytes / MIB, limits.full_at / MIB);
        let path = self.connection.path().unwrap_or_default();
        let since = stuck.since;
        let reason = match stuck.is_foreign {
            true => format!(
                "another program has been reading {path} since {since}, so its log cannot be \
                 emptied; it is {size} MiB"
            ),
            false => {
                format!("queries keep the log of {path} from being emptied; it is {size} MiB")
            }
        };
        let problem = match is_full {
            true => {
                let reason = format!("{reason}, more than {most} MiB; events are rejected");
                HealthProblem::failed("wal-large", reason)
            }
            false => HealthProblem::degraded("wal-large", reason),
        };
        let advice = format!("end the other program's query; above {most} MiB events are rejected");
        self.store_health().report(problem.advise(advice));
    }

    pub(super) fn store_health(&self) -> PartHealth {
        self.env.health.part(PartRole::Store, "")
    }

    /// A checkpoint that waits for readers no longer than `wait`.
    fn checkpoint_within(&mut self, mode: &str, wait: Duration) -> bool {
        let before = self.connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0));
        let before = Duration::from_millis(before.unwrap_or(5000_i64) as u64);
        self.connection.busy_timeout(wait).ok();
        let done = self.checkpoint(mode);
        self.connection.busy_timeout(before).ok();
        done
    }

    /// Whether all of the log was copied and, where the mode asks for it, begun again.
    pub(super) fn checkpoint(&mut self, mode: &str) -> bool {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let done = self.connection.query_row(&sql, [], |row| {
            let (is_busy, pages, copied): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(is_busy == 0 && pages == copied)
        });
        match done {
            Ok(is_complete) => {
                self.store_health().clear("checkpoint-failed");
                is_complete
            }
            Err(fault) => {
                let fault = StoreFault::from(fault);
                let reason = format!("the log cannot be copied into the database: {fault}");
                let problem = HealthProblem::degraded("checkpoint-failed", reason);
                self.store_health().report(problem.advise("free some space on the disk"));
                self.note(&fault);
                false
            }
        }
    }

    /// Shows how large the log is on the disk.
    fn show_log(&self) {
        show_file(&self.figures, self.connection.path());
    }
}

/// The size of the log's file: it may be larger than what is in it.
fn show_file(figures: &Figures, path: Option<&str>) {
    let path = path.filter(|path| !path.is_empty());
    let bytes = path.and_then(|path| std::fs::metadata(format!("{path}-wal")).ok());
    figures.wal_bytes.store(bytes.map_or(0, |bytes| bytes.len()), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_its_part_of_a_limited_store() {
        let all = |size_max| {
            let it = LogLimits::of(size_max);
            [it.copy_at, it.reset_at, it.full_at].map(|bytes| bytes / 1024)
        };
        assert_eq!(all(None), [16 << 10, 64 << 10, 1 << 20]);
        assert_eq!(all(Some(1 << 40)), [16 << 10, 64 << 10, 1 << 20]);
        assert_eq!(all(Some(8 << 20)), [512, 2 << 10, 64 << 10]);
        assert_eq!(all(Some(1 << 20)), [64, 256, 64 << 10]);
    }
}
