//! How much waits in the store: counted once at a start, then as it changes.
//!
//! *Invariant:* it is what the tables hold as of the last commit, so nothing is counted while the
//! engine runs, however much waits.

use super::outbox::{BacklogSize, OutboxSizes};
use super::{Figures, StoreFault};
use rusqlite::Connection;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Rows and bytes of what waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StoreHoldings {
    /// Accepted and not finished.
    pub(super) inbox: BacklogSize,
    /// Dead letters.
    pub(super) letters: u64,
    /// Deliveries that are pending, parked or held, by target.
    pub(super) outbox: OutboxSizes,
}

/// Counts what waits for each target; each statement reads one index and no row.
pub(super) const COUNT_OUTBOX: [&str; 3] = [
    "SELECT sink, count(*), sum(bytes) FROM delivery_rows INDEXED BY delivery_rows_due
     WHERE state = 0 GROUP BY sink",
    "SELECT sink, count(*), sum(bytes) FROM delivery_rows INDEXED BY delivery_rows_parked
     WHERE state = 3 GROUP BY sink",
    "SELECT sink, count(*), sum(bytes) FROM delivery_rows INDEXED BY delivery_rows_held
     WHERE state = 5 GROUP BY sink",
];

impl StoreHoldings {
    /// Counts the tables.
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreFault> {
        let mut holdings = StoreHoldings::default();
        let sql = "SELECT count(*), coalesce(sum(octet_length(body)), 0) FROM inbox";
        holdings.inbox = connection.query_row(sql, [], |row| {
            Ok(BacklogSize {
                rows: row.get::<_, i64>(0)? as u64,
                bytes: row.get::<_, i64>(1)? as u64,
            })
        })?;
        let sql = "SELECT count(*) FROM dead_letters";
        holdings.letters = connection.query_row(sql, [], |row| row.get::<_, i64>(0))? as u64;
        for sql in COUNT_OUTBOX {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let target = row.get::<_, String>(0)?;
                let mut size = holdings.outbox.of(&target);
                size.rows += row.get::<_, i64>(1)? as u64;
                size.bytes += row.get::<_, i64>(2)? as u64;
                holdings.outbox.set(target.into(), size);
            }
        }
        Ok(holdings)
    }

    /// Shows the figures.
    pub(super) fn publish(&self, figures: &Figures) {
        figures.pending.store(self.inbox.rows, Ordering::Relaxed);
        figures.pending_bytes.store(self.inbox.bytes, Ordering::Relaxed);
        figures.dead_letters.store(self.letters, Ordering::Relaxed);
        let total = self.outbox.total();
        figures.outbox_rows.store(total.rows, Ordering::Relaxed);
        figures.outbox_bytes.store(total.bytes, Ordering::Relaxed);
        let mut shown = figures.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() != self.outbox.by_target().count()
            || self.outbox.by_target().any(|(target, size)| shown.get(target) != Some(size))
        {
            *shown =
                self.outbox.by_target().map(|(target, size)| (target.clone(), *size)).collect();
        }
    }
}
