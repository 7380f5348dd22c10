//! What can be asked of the store, on a connection that cannot write.

use super::checksum::{self, SummedTable};
use super::claim::Keys;
use super::query::{self, EventQuery, Page};
use super::record::{DeadLetter, DeadLetterWhat, Delivery, DeliveryState, InboxRow, Stored};
use super::rows::{self, COLUMNS, EventRows};
use super::status::StoreStatus;
use super::{READ_MAX, StoreFault, StoreTrouble};
use crate::event::Envelope;
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Weak};

/// A read-only view of the store.
///
/// A row that is not what was written is a fault of the read that asks for it, or is left out
/// where that is said; it is never shown as if it were right.
pub struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) keys: Keys,
    pub(super) status: &'a StoreStatus,
    name: Arc<str>,
}

impl<'a> Reader<'a> {
    /// `wanted` is dangling once nobody waits for the answer.
    pub(super) fn new(
        connection: &'a mut Connection,
        keys: Keys,
        status: &'a StoreStatus,
        name: Arc<str>,
        wanted: Weak<()>,
    ) -> Self {
        limit_time(connection, wanted);
        Reader { connection, keys, status, name }
    }

    /// Visible events that fit, newest first.
    pub fn events(&self, query: &EventQuery) -> Result<Page, StoreFault> {
        query::events(self.connection, self.keys, &self.name, query)
    }

    /// Finished events with these numbers, in their order of `pos`.
    pub fn by_seq(&self, seqs: &[u64]) -> Result<Vec<Stored>, StoreFault> {
        self.stored_by_seq(seqs, |fault, _| Err(fault))
    }

    /// The same without the damaged ones, which are reported.
    pub fn intact_by_seq(&self, seqs: &[u64]) -> Result<Vec<Stored>, StoreFault> {
        self.stored_by_seq(seqs, |fault, pos| self.pass_by(fault, pos))
    }

    fn stored_by_seq(
        &self,
        seqs: &[u64],
        damaged: impl FnMut(StoreFault, Option<u64>) -> Result<(), StoreFault>,
    ) -> Result<Vec<Stored>, StoreFault> {
        let list = json!(seqs).to_string();
        let sql = format!(
            "SELECT {COLUMNS} FROM event_rows WHERE pos IN (SELECT value FROM json_each(?1))
                AND seq IS NULL
             UNION ALL
             SELECT {COLUMNS} FROM event_rows WHERE seq IN (SELECT value FROM json_each(?1))
             ORDER BY 1"
        );
        Ok(self.stored(&sql, [list], damaged)?.events)
    }

    /// Reports a damaged row; every other fault stays one.
    pub(super) fn pass_by(&self, fault: StoreFault, pos: Option<u64>) -> Result<(), StoreFault> {
        match fault.class {
            StoreTrouble::Damaged => {
                self.status.note_damaged(&fault, pos);
                Ok(())
            }
            _ => Err(fault),
        }
    }

    /// Every source that events were stored under.
    pub fn sources(&self) -> Result<Vec<String>, StoreFault> {
        let all = super::names::all(self.connection, super::names::Sort::Source)?;
        Ok(all.into_iter().map(|it| it.1).collect())
    }

    /// Events behind `after` up to and with `up_to`, in the order of `pos`, at most `limit`. Fewer
    /// are all there are. Damaged ones are left out and reported: see [`super::Store::damaged`].
    pub fn stream(&self, after: u64, up_to: u64, limit: usize) -> Result<Vec<Stored>, StoreFault> {
        let sql = format!(
            "SELECT {COLUMNS} FROM event_rows WHERE pos > ? AND pos <= ? ORDER BY pos LIMIT ?"
        );
        let (mut events, mut after) = (Vec::new(), after);
        loop {
            let wanted = limit - events.len();
            let values = params![after as i64, up_to as i64, wanted as i64];
            let found = self.stored(&sql, values, |fault, pos| self.pass_by(fault, pos))?;
            let has_gaps = found.events.len() < found.rows;
            events.extend(found.events);
            if found.rows < wanted || !has_gaps {
                return Ok(events);
            }
            after = found.last;
        }
    }

    /// The `pos` before the newest `count` events.
    pub fn pos_before_newest(&self, count: usize) -> Result<u64, StoreFault> {
        let sql = "SELECT pos FROM event_rows ORDER BY pos DESC LIMIT 1 OFFSET ?";
        let pos = self.connection.query_row(sql, [count as i64], |it| it.get::<_, i64>(0));
        Ok(pos.optional()?.unwrap_or(0) as u64)
    }

    /// Events off rows of [`COLUMNS`]. What `damaged` does not make a fault is left out.
    fn stored(
        &self,
        sql: &str,
        values: impl Params,
        mut damaged: impl FnMut(StoreFault, Option<u64>) -> Result<(), StoreFault>,
    ) -> Result<FoundEvents, StoreFault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut found = FoundEvents::default();
        let mut events = EventRows::new(self.connection, self.keys);
        while let Some(row) = rows.next()? {
            found.rows += 1;
            found.last = row.get::<_, i64>(0)? as u64;
            match events.stored(row) {
                Ok(event) => found.events.push(event),
                Err(fault) => damaged(fault, Some(found.last))?,
            }
        }
        Ok(found)
    }

    /// Deliveries of one event.
    pub fn deliveries_of(&self, seq: u64) -> Result<Vec<Delivery>, StoreFault> {
        let sql = "SELECT sink, seq, state, attempts, not_before, created, last_error
                   FROM delivery_rows WHERE seq = ? ORDER BY sink";
        self.many(sql, [seq as i64], delivery)
    }

    /// Pending deliveries to one sink that are due, in order.
    pub fn due(
        &self,
        sink: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreFault> {
        let sql = "SELECT sink, seq, state, attempts, not_before, created, last_error
                   FROM delivery_rows INDEXED BY delivery_rows_open
                   WHERE sink = ? AND state = 0 AND not_before <= ? ORDER BY seq LIMIT ?";
        self.many(sql, params![sink, now.0, limit as i64], delivery)
    }

    /// When the next pending delivery to one sink is due.
    pub fn next_due(&self, sink: &str) -> Result<Option<Timestamp>, StoreFault> {
        let sql = "SELECT min(not_before) FROM delivery_rows INDEXED BY delivery_rows_open
                   WHERE sink = ? AND state = 0";
        let next: Option<i64> = self.connection.query_row(sql, [sink], |it| it.get(0))?;
        Ok(next.map(Timestamp))
    }

    /// How many deliveries are pending, to any sink.
    pub fn pending_count(&self) -> Result<u64, StoreFault> {
        let sql = "SELECT count(*) FROM delivery_rows WHERE state = 0";
        Ok(self.connection.query_row(sql, [], |it| it.get::<_, i64>(0))? as u64)
    }

    /// The number that `sql` selects.
    #[cfg(test)]
    pub(super) fn count_of(&self, sql: &str) -> Result<u64, StoreFault> {
        Ok(self.connection.query_row(sql, [], |it| it.get::<_, i64>(0))? as u64)
    }

    /// Sinks that deliveries are parked for.
    pub fn parked(&self) -> Result<Vec<(String, u64)>, StoreFault> {
        let sql = "SELECT sink, count(*) FROM delivery_rows WHERE state = 3 GROUP BY sink";
        self.many(sql, [], |it| Ok((it.get(0)?, it.get::<_, i64>(1)? as u64)))
    }

    /// Accepted events behind `after`, in order. Damaged ones stay where they are, are left out,
    /// and are reported.
    pub fn inbox(&self, after: u64, limit: usize) -> Result<Vec<InboxRow>, StoreFault> {
        let sql = "SELECT seq, generation, received, time, priority, type, source, id, subject,
                        correlation, parent, data_from, data_size, data, body, checksum
                   FROM inbox WHERE seq > ? ORDER BY seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query([after as i64])?;
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(row) = found.next()?
        {
            match inbox_row(self.keys, row) {
                Ok(event) => rows.push(event),
                Err(fault) => self.pass_by(fault, None)?,
            }
        }
        Ok(rows)
    }

    /// What effectful stages answered for an accepted event: stage and JSON. A damaged answer is
    /// left out and reported, so its stage is called again.
    pub fn results(&self, seq: u64) -> Result<Vec<(String, String)>, StoreFault> {
        let sql = format!("{RESULT} FROM results WHERE seq = ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut found = statement.query([seq as i64])?;
        let mut results = Vec::new();
        while let Some(row) = found.next()? {
            match result_row(self.keys, row) {
                Ok(result) => results.push(result),
                Err(fault) => self.pass_by(fault, None)?,
            }
        }
        Ok(results)
    }

    /// The newest dead letters, before `before` when it is given.
    pub fn dead_letters(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreFault> {
        let sql = format!("{LETTER} WHERE id < ? ORDER BY id DESC LIMIT ?");
        let before = before.map_or(i64::MAX, |it| it as i64);
        self.letters(&sql, params![before, limit.min(1000) as i64])
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: u64) -> Result<Option<DeadLetter>, StoreFault> {
        Ok(self.letters(&format!("{LETTER} WHERE id = ?"), [id as i64])?.pop())
    }

    fn letters(&self, sql: &str, values: impl Params) -> Result<Vec<DeadLetter>, StoreFault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query(values)?;
        let mut letters = Vec::new();
        while let Some(row) = found.next()? {
            letters.push(letter(self.keys, row)?);
        }
        Ok(letters)
    }

    /// State of a stage or source.
    pub fn state(&self, owner: &str, key: &str) -> Result<Option<String>, StoreFault> {
        let sql = "SELECT value FROM state WHERE owner = ? AND key = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        Ok(select.query_row([owner, key], |it| it.get(0)).optional()?)
    }

    /// The newest reloads, as JSON objects.
    pub fn reloads(&self, limit: usize) -> Result<Vec<Value>, StoreFault> {
        let sql = "SELECT time, generation, outcome, changes, diagnostics FROM reloads
                   ORDER BY id DESC LIMIT ?";
        self.many(sql, [limit as i64], |it| {
            Ok(json!({
                "time": Timestamp(it.get(0)?).to_string(),
                "generation": it.get::<_, i64>(1)?,
                "outcome": it.get::<_, String>(2)?,
                "changes": it.get::<_, String>(3)?,
                "diagnostics": it.get::<_, Option<String>>(4)?,
            }))
        })
    }

    /// The last generation that ran and the hash of what it was built from.
    pub fn last_generation(&self) -> Result<Option<(u64, String)>, StoreFault> {
        let sql = "SELECT generation, hash FROM reloads WHERE outcome <> 'refused'
                   ORDER BY id DESC LIMIT 1";
        let last =
            self.connection.query_row(sql, [], |it| Ok((it.get::<_, i64>(0)? as u64, it.get(1)?)));
        Ok(last.optional()?)
    }

    /// Counts of the last `days`, from the rollups alone.
    pub fn stats(&self, days: u32, now: Timestamp) -> Result<Value, StoreFault> {
        let from = now.0.div_euclid(3_600_000_000) - i64::from(days) * 24;
        let group = |column: &str, only: &str| -> Result<Value, StoreFault> {
            let sql = format!(
                "SELECT {column}, sum(n) FROM rollups WHERE bucket >= ? {only} GROUP BY 1 ORDER BY 1"
            );
            let rows = self.many(&sql, [from], |it| {
                Ok((it.get::<_, String>(0)?, Value::from(it.get::<_, i64>(1)?)))
            })?;
            Ok(Value::Object(rows.into_iter().collect::<Map<_, _>>()))
        };
        let word = |column: &str| {
            format!(
                "coalesce((SELECT text FROM names WHERE code = rollups.{column}), {column}, '')"
            )
        };
        let stored = "AND outcome = 'stored'";
        let level = "CASE priority WHEN 0 THEN 'low' WHEN 1 THEN 'normal' WHEN 2 THEN 'high'
                     ELSE 'critical' END";
        let outcomes = group("outcome", "")?;
        let total = outcomes.get("stored").cloned().unwrap_or_else(|| Value::from(0));
        let stages = self.many(
            "SELECT stage, outcome, sum(n), sum(micros), max(most) FROM stage_rollups
             WHERE bucket >= ? GROUP BY 1, 2 ORDER BY 1, 2",
            [from],
            |it| {
                let (n, micros): (i64, i64) = (it.get(2)?, it.get(3)?);
                Ok(json!({
                    "stage": it.get::<_, String>(0)?,
                    "outcome": it.get::<_, String>(1)?,
                    "count": n,
                    "mean_micros": micros / n.max(1),
                    "max_micros": it.get::<_, i64>(4)?,
                }))
            },
        )?;
        Ok(json!({
            "period_days": days,
            "total_events": total,
            "by_type": group(&word("type"), stored)?,
            "by_source": group(&word("source"), stored)?,
            "by_priority": group(level, stored)?,
            "by_outcome": outcomes,
            "stages": stages,
        }))
    }

    fn many<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreFault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(values, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Rows of events, and those that are intact.
#[derive(Default)]
struct FoundEvents {
    events: Vec<Stored>,
    rows: usize,
    /// The `pos` of the last row.
    last: u64,
}

/// A statement that runs too long, or whose caller is gone, is stopped. By the system's clock: a
/// test that holds its own clock still must not hold this one.
#[expect(clippy::disallowed_methods, reason = "a limit on work, not on the pipeline's time")]
fn limit_time(connection: &mut Connection, wanted: Weak<()>) {
    let started = std::time::Instant::now();
    let is_over = move || wanted.strong_count() == 0 || READ_MAX < started.elapsed();
    connection.progress_handler(10_000, Some(is_over)).ok();
}

/// The number comes last, so that it is not summed up: it is given by the insertion.
pub(super) const LETTER: &str = "SELECT what, seq, source_node, source, event_id, stage, class, reason, \
     attempts, first, last, generation, body, checksum, id FROM dead_letters";

/// Where the body of a letter is among [`LETTER`]'s columns, and its number.
const LETTER_BODY: usize = 12;
const LETTER_ID: usize = 14;

pub(super) fn letter(keys: Keys, row: &Row<'_>) -> Result<DeadLetter, StoreFault> {
    let id: i64 = row.get(LETTER_ID)?;
    let read = checksum::verify(keys, SummedTable::Letter, row, LETTER_BODY, true)
        .and_then(|_| Ok(letter_of(id, row)?));
    read.map_err(|fault| match fault.class {
        StoreTrouble::Damaged => StoreFault::damaged_row("the dead letter", id, &fault.reason),
        _ => fault,
    })
}

fn letter_of(id: i64, row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let what: String = row.get(0)?;
    let class: String = row.get(6)?;
    let known = ["transient", "permanent", "poison", "invalid"];
    Ok(DeadLetter {
        id: id as u64,
        what: match what.as_str() {
            "rejected" => DeadLetterWhat::Rejected,
            "delivery" => DeadLetterWhat::Delivery,
            _ => DeadLetterWhat::Event,
        },
        seq: row.get::<_, Option<i64>>(1)?.map(|it| it as u64),
        source_node: row.get::<_, String>(2)?.into(),
        source: row.get(3)?,
        event_id: row.get(4)?,
        stage: row.get::<_, String>(5)?.into(),
        class: known.into_iter().find(|it| *it == class).unwrap_or("permanent"),
        reason: row.get(7)?,
        attempts: row.get(8)?,
        first: Timestamp(row.get(9)?),
        last: Timestamp(row.get(10)?),
        generation: row.get::<_, i64>(11)? as u64,
        body: row.get::<_, Vec<u8>>(LETTER_BODY)?.into(),
    })
}

/// Columns of an answer.
pub(super) const RESULT: &str = "SELECT seq, stage, generation, output, checksum";
pub(super) const RESULT_COLUMNS: usize = 5;

pub(super) fn result_row(keys: Keys, row: &Row<'_>) -> Result<(String, String), StoreFault> {
    let read = checksum::verify(keys, SummedTable::Result, row, 4, false)
        .and_then(|_| Ok((row.get(1)?, row.get(3)?)));
    read.map_err(|it| rows::of_row(it, "an answer for the accepted event", row))
}

pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let state: i64 = row.get(2)?;
    let known = usize::try_from(state).ok().and_then(|it| DeliveryState::ALL.get(it).copied());
    Ok(Delivery {
        sink: row.get::<_, String>(0)?.into(),
        seq: row.get::<_, i64>(1)? as u64,
        state: known.ok_or(rusqlite::Error::IntegralValueOutOfRange(2, state))?,
        attempts: row.get(3)?,
        not_before: Timestamp(row.get(4)?),
        created: Timestamp(row.get(5)?),
        last_error: row.get(6)?,
    })
}

pub(super) fn inbox_row(keys: Keys, row: &Row<'_>) -> Result<InboxRow, StoreFault> {
    let read = checksum::verify(keys, SummedTable::Inbox, row, 14, true)
        .and_then(|is_verified| accepted(row, is_verified));
    read.map_err(|it| rows::of_row(it, "the accepted event", row))
}

fn accepted(row: &Row<'_>, is_verified: bool) -> Result<InboxRow, StoreFault> {
    let text = |index: usize| row.get::<_, String>(index).map(Arc::<str>::from);
    let maybe = |index: usize| row.get::<_, Option<String>>(index).map(|it| it.map(Arc::from));
    Ok(InboxRow {
        seq: row.get::<_, i64>(0)? as u64,
        generation: row.get::<_, i64>(1)? as u64,
        envelope: Envelope {
            received: Timestamp(row.get(2)?),
            time: Timestamp(row.get(3)?),
            priority: rows::priority(row.get(4)?),
            kind: text(5)?,
            source: text(6)?,
            id: text(7)?,
            subject: text(8)?,
            correlation_id: maybe(9)?,
            parent_id: maybe(10)?,
        },
        body: rows::body(row, 11, 13, is_verified)?,
    })
}
