//! Ids are remembered for longer than events are kept, but not for ever.

use super::writer::Writer;
use super::{StoreFault, rows};
use rusqlite::{OptionalExtension, params};
use std::time::Duration;

/// Hashes that one transaction looks at.
const STRETCH: i64 = 2000;

/// The least that ids are remembered, in whatever time events go: a webhook's signature may be good
/// for a day, and while it is, its repetition must be known.
const REMEMBERED_LEAST: Duration = Duration::from_secs(86_400);

/// How far a walk through `seen`, in the order of its hashes, has come.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    /// The next hash and the number below which all may go; `None` while there is no walk.
    walk: Option<(i64, i64)>,
}

impl Writer {
    /// Forgets one stretch of ids that are older than the longest age of the policy and than
    /// every event that is left. True while there is more.
    pub(super) fn forget_chunk(&mut self, is_over: &dyn Fn() -> bool) -> Result<bool, StoreFault> {
        while self.forget_stretch()? {
            if is_over() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn forget_stretch(&mut self) -> Result<bool, StoreFault> {
        let (from, below) = match self.sweep.forgetting.walk {
            Some(walk) => walk,
            None => match self.begin_to_forget()? {
                Some(below) => (i64::MIN, below),
                None => return Ok(false),
            },
        };
        let end: Option<i64> = self
            .connection
            .prepare_cached("SELECT hash FROM seen WHERE hash >= ? ORDER BY hash LIMIT 1 OFFSET ?")?
            .query_row([from, STRETCH], |row| row.get(0))
            .optional()?;
        self.connection
            .prepare_cached("DELETE FROM seen WHERE hash >= ? AND hash <= ? AND seq < ?")?
            .execute(params![from, end.unwrap_or(i64::MAX), below])?;
        self.sweep.forgetting.walk = end.map(|it| (it, below));
        Ok(end.is_some())
    }

    /// The number below which ids may go, once for each mark. A mark says how far the numbers
    /// were at a time; when it is as old as the longest age, so is all below it, and the next
    /// mark is set. So an id is remembered for one to two such ages.
    fn begin_to_forget(&mut self) -> Result<Option<i64>, StoreFault> {
        let Some(age) = self.policy.keep.iter().map(|it| it.age).max() else { return Ok(None) };
        let age = age.max(REMEMBERED_LEAST);
        let now = self.env.clock.wall();
        let time = rows::meta(&self.connection, "mark_time")?;
        if 0 < time && now.minus(age).0 < time as i64 {
            return Ok(None);
        }
        let mark = rows::meta(&self.connection, "mark_seq")? as i64;
        let transaction = self.connection.transaction()?;
        rows::set_meta(&transaction, "mark_time", now.0 as u64)?;
        rows::set_meta(&transaction, "mark_seq", self.counter)?;
        let oldest: Option<i64> = transaction.query_row(
            "SELECT min(it) FROM (
                SELECT min(pos) AS it FROM event_rows
                UNION ALL SELECT min(seq) FROM event_rows WHERE seq IS NOT NULL
                UNION ALL SELECT min(seq) FROM inbox
                UNION ALL SELECT min(seq) FROM dead_letters WHERE seq IS NOT NULL)",
            [],
            |row| row.get(0),
        )?;
        transaction.commit()?;
        Ok((0 < time).then(|| oldest.unwrap_or(i64::MAX).min(mark + 1)))
    }
}
