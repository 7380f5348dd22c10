//! What can be asked of the store, on a connection that cannot write.

use super::attempts;
use super::checksum::{self, SummedTable};
use super::claim::Keys;
use super::delivery_query::{self, DeliveryPage, DeliveryQuery};
use super::forecast::{self, KeptEvent, RetentionView, SweepForecast};
use super::manners::Relay;
use super::memory::MemoryTimer;
use super::query::{self, EventCount, EventQuery, EventTest, Page, StreamChunk};
use super::record::{Delivery, DeliveryState, InboxRow, StoredEvent};
use super::rows::{self, COLUMNS, EventRows};
use super::status::StoreStatus;
use super::{READ_MAX, StoreFault, StoreTrouble};
use kernel::env::Clock;
use kernel::event::Envelope;
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde_json::{Value, json};
use std::sync::{Arc, Weak};

/// How much a worker takes out of the outbox at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueLimits {
    /// Most deliveries that were not tried yet.
    pub first: usize,
    /// Most that failed before and are due again.
    pub again: usize,
    /// Most bytes of events, but for the first.
    pub bytes: u64,
}

pub(super) const DELIVERY: &str = "SELECT sink, seq, state, attempts, not_before, created, last_error, bytes, parts, \
     is_digest, lead, via, message_key, repeats, micros, attempt_log";
/// How many columns these are.
pub(super) const DELIVERY_COLUMNS: usize = 16;

/// A read-only view of the store.
///
/// A row that is not what was written is a fault of the read that asks for it, or is left out
/// where that is said; it is never shown as if it were right.
pub struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) keys: Keys,
    pub(super) status: &'a StoreStatus,
}

impl<'a> Reader<'a> {
    /// `wanted` is dangling once nobody waits for the answer.
    pub(super) fn new(
        connection: &'a mut Connection,
        keys: Keys,
        status: &'a StoreStatus,
        wanted: Weak<()>,
    ) -> Self {
        limit_time(connection, wanted);
        Reader { connection, keys, status }
    }

    /// Reads several things as they are at one moment: what moves from one table to another
    /// meanwhile is in one of them, and not in none.
    pub fn at_once<T>(
        &self,
        job: impl FnOnce(&Self) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        let _moment = self.connection.unchecked_transaction()?;
        job(self)
    }

    /// Visible events that fit, newest first.
    pub fn events(&self, query: &EventQuery) -> Result<Page, StoreFault> {
        self.events_where(query, &|_| Some(true))
    }

    /// The same, as far as a test wants them.
    pub fn events_where(
        &self,
        query: &EventQuery,
        is_wanted: EventTest<'_>,
    ) -> Result<Page, StoreFault> {
        query::events(self.connection, self.keys, query, is_wanted)
    }

    /// How many of these there are: exact up to 10,000.
    pub fn count_events(
        &self,
        query: &EventQuery,
        is_wanted: Option<EventTest<'_>>,
    ) -> Result<EventCount, StoreFault> {
        query::count(self.connection, self.keys, query, is_wanted)
    }

    /// The source and the id of an event by its number, wherever it is now; `None` where it is
    /// forgotten.
    pub fn id_of(&self, seq: u64) -> Result<Option<(String, String)>, StoreFault> {
        super::rows::id_of(self.connection, seq)
    }

    /// Why a stored event is still there: the newest with this id, of one source where it is given.
    pub fn explain_retention(
        &self,
        view: &RetentionView<'_>,
        clock: &Arc<dyn Clock>,
        id: &str,
        source: Option<&str>,
    ) -> Result<Option<KeptEvent>, StoreFault> {
        forecast::explain(self.connection, view, clock, id, source)
    }

    /// What the next sweep deletes.
    pub fn forecast_sweep(
        &self,
        view: &RetentionView<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<SweepForecast, StoreFault> {
        forecast::forecast(self.connection, view, clock)
    }

    /// Finished events with these numbers, in their order of `pos`.
    pub fn by_seq(&self, seqs: &[u64]) -> Result<Vec<StoredEvent>, StoreFault> {
        self.stored_by_seq(seqs, |fault, _| Err(fault))
    }

    /// The same without the damaged ones, which are reported.
    pub fn intact_by_seq(&self, seqs: &[u64]) -> Result<Vec<StoredEvent>, StoreFault> {
        self.stored_by_seq(seqs, |fault, pos| self.pass_by(fault, pos))
    }

    fn stored_by_seq(
        &self,
        seqs: &[u64],
        damaged: impl FnMut(StoreFault, Option<u64>) -> Result<(), StoreFault>,
    ) -> Result<Vec<StoredEvent>, StoreFault> {
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
        let all = super::names::all(self.connection, super::names::NameKind::Source)?;
        Ok(all.into_iter().map(|it| it.1).collect())
    }

    /// Events after `after` up to and with `up_to`, in the order of `pos`: at most `limit`, and no
    /// more once they hold `bytes_max`. The first is always there. Damaged ones are left out and
    /// reported: see [`super::Store::damaged`].
    pub fn stream(
        &self,
        after: u64,
        up_to: u64,
        limit: usize,
        bytes_max: usize,
    ) -> Result<StreamChunk, StoreFault> {
        query::stream(self, (after, up_to), limit, bytes_max)
    }

    /// The `pos` before the newest `count` events.
    pub fn pos_before_newest(&self, count: usize) -> Result<u64, StoreFault> {
        let sql = "SELECT pos FROM event_rows ORDER BY pos DESC LIMIT 1 OFFSET ?";
        let pos = self.connection.query_row(sql, [count as i64], |row| row.get::<_, i64>(0));
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
        let sql = format!("{DELIVERY} FROM delivery_rows WHERE seq = ? ORDER BY sink");
        self.many(&sql, [seq as i64], delivery)
    }

    /// Deliveries to some targets, the newest event first.
    pub fn delivery_page(&self, query: &DeliveryQuery) -> Result<DeliveryPage, StoreFault> {
        delivery_query::page(self, query)
    }

    /// Pending deliveries to one target that are due, in the order of their events.
    ///
    /// Costs the same however many wait. Where more are due for another try than `limits` lets
    /// through, those go first that have waited longest.
    pub fn due(
        &self,
        sink: &str,
        now: Timestamp,
        limits: DueLimits,
    ) -> Result<Vec<Delivery>, StoreFault> {
        let again = format!(
            "{DELIVERY} FROM delivery_rows INDEXED BY delivery_rows_due
             WHERE sink = ? AND state = 0 AND not_before > 0 AND not_before <= ?
             ORDER BY not_before, seq LIMIT ?"
        );
        let first = format!(
            "{DELIVERY} FROM delivery_rows INDEXED BY delivery_rows_due
             WHERE sink = ? AND state = 0 AND not_before = 0 ORDER BY seq LIMIT ?"
        );
        let mut due = self.many(&again, params![sink, now.0, limits.again as i64], delivery)?;
        due.extend(self.many(&first, params![sink, limits.first as i64], delivery)?);
        due.sort_by_key(|it| it.seq);
        let mut bytes = 0;
        let fitting = due.iter().take_while(|it| {
            let is_first = bytes == 0;
            bytes += it.bytes.max(1);
            is_first || bytes <= limits.bytes
        });
        due.truncate(fitting.count());
        Ok(due)
    }

    /// The first `limit` events that the message of another one tells of.
    pub fn told_with(&self, sink: &str, lead: u64, limit: usize) -> Result<Vec<u64>, StoreFault> {
        let sql = "SELECT seq FROM delivery_rows INDEXED BY delivery_rows_lead
                   WHERE sink = ? AND lead = ? ORDER BY seq LIMIT ?";
        let values = params![sink, lead as i64, limit as i64];
        self.many(sql, values, |row| Ok(row.get::<_, i64>(0)? as u64))
    }

    /// When the next pending delivery to one target is due; 1970 when one was not tried yet.
    pub fn next_due(&self, sink: &str) -> Result<Option<Timestamp>, StoreFault> {
        let sql = "SELECT min(not_before) FROM delivery_rows INDEXED BY delivery_rows_due
                   WHERE sink = ? AND state = 0";
        let mut select = self.connection.prepare_cached(sql)?;
        let next: Option<i64> = select.query_row([sink], |row| row.get(0))?;
        Ok(next.map(Timestamp))
    }

    /// When the next delivery that failed before is due again.
    pub fn next_retry(&self, sink: &str) -> Result<Option<Timestamp>, StoreFault> {
        let sql = "SELECT min(not_before) FROM delivery_rows INDEXED BY delivery_rows_due
                   WHERE sink = ? AND state = 0 AND not_before > 0";
        let mut select = self.connection.prepare_cached(sql)?;
        let next: Option<i64> = select.query_row([sink], |row| row.get(0))?;
        Ok(next.map(Timestamp))
    }

    /// Whether a delivery is pending, to any target. Parked ones are not.
    pub fn is_any_pending(&self) -> Result<bool, StoreFault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM delivery_rows INDEXED BY delivery_rows_due
                    WHERE state = 0)";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The number that `sql` selects.
    #[cfg(test)]
    pub(super) fn count_of(&self, sql: &str) -> Result<u64, StoreFault> {
        Ok(self.connection.query_row(sql, [], |row| row.get::<_, i64>(0))? as u64)
    }

    /// Does `work` while one snapshot is read.
    #[cfg(test)]
    pub(super) fn within_snapshot(&self, work: impl FnOnce()) -> Result<(), StoreFault> {
        self.connection.execute_batch("BEGIN; SELECT count(*) FROM meta;")?;
        work();
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// The numbers that `sql` selects.
    #[cfg(test)]
    pub(super) fn numbers(&self, sql: &str) -> Result<Vec<u64>, StoreFault> {
        self.many(sql, [], |row| Ok(row.get::<_, i64>(0)? as u64))
    }

    /// Sinks that deliveries are parked for.
    pub fn parked(&self) -> Result<Vec<(String, u64)>, StoreFault> {
        let sql = "SELECT sink, count(*) FROM delivery_rows INDEXED BY delivery_rows_parked
                   WHERE state = 3 GROUP BY sink";
        self.many(sql, [], |it| Ok((it.get(0)?, it.get::<_, i64>(1)? as u64)))
    }

    /// An accepted event that has not ended.
    pub fn pending(&self, seq: u64) -> Result<Option<InboxRow>, StoreFault> {
        let first = self.inbox(seq.saturating_sub(1), 1)?.pop();
        Ok(first.filter(|it| it.seq == seq))
    }

    /// Accepted events behind `after`, in order. Damaged ones stay where they are, are left out,
    /// and are reported.
    pub fn inbox(&self, after: u64, limit: usize) -> Result<Vec<InboxRow>, StoreFault> {
        let sql = "SELECT seq, generation, received, time, priority, type, source, id, subject,
                        correlation, parent, data_from, data_size, data, message_hash, body, checksum
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

    /// Accepted events behind `after`, in order: their numbers, and how large their bodies are.
    pub fn waiting(&self, after: u64, limit: usize) -> Result<Vec<(u64, u64)>, StoreFault> {
        let sql = "SELECT seq, octet_length(body) FROM inbox WHERE seq > ? ORDER BY seq LIMIT ?";
        self.many(sql, params![after as i64, limit as i64], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })
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

    /// Where the cause of an event came from that a stage sent and that has still to pass the
    /// filters; `None` for any other.
    pub fn emitted(&self, seq: u64) -> Result<Option<Arc<str>>, StoreFault> {
        let sql = "SELECT l.name FROM emitted AS e JOIN lanes AS l ON l.code = e.lane
                   WHERE e.seq = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let lane: Option<String> =
            statement.query_row([seq as i64], |row| row.get(0)).optional()?;
        Ok(lane.map(Arc::from))
    }

    /// The first times at which stages want to look again.
    pub fn timers(&self, count: usize) -> Result<Vec<MemoryTimer>, StoreFault> {
        let lanes: Vec<i64> = self.many("SELECT code FROM lanes", [], |row| row.get(0))?;
        let sql = "SELECT r.due, m.name, r.key FROM remembered AS r
                   JOIN memories AS m ON m.code = r.memory
                   WHERE r.lane = ? AND r.due IS NOT NULL ORDER BY r.due, m.name, r.key LIMIT ?";
        let mut timers = Vec::new();
        for lane in lanes {
            timers.extend(self.many(sql, params![lane, count as i64], |row| {
                let due = Timestamp(row.get(0)?);
                Ok(MemoryTimer { due, memory: row.get(1)?, key: row.get(2)? })
            })?);
        }
        timers.sort();
        timers.truncate(count);
        Ok(timers)
    }

    /// Everything that a stage or source remembers, by key.
    pub fn states(&self, owner: &str) -> Result<Vec<(String, String)>, StoreFault> {
        let sql = "SELECT key, value FROM state WHERE owner = ? ORDER BY key";
        self.many(sql, [owner], |row| Ok((row.get(0)?, row.get(1)?)))
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
        let last = self
            .connection
            .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)));
        Ok(last.optional()?)
    }

    pub(super) fn many<T>(
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
    events: Vec<StoredEvent>,
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

/// Columns of an answer.
pub(super) const RESULT: &str = "SELECT seq, stage, generation, output, checksum";
pub(super) const RESULT_COLUMNS: usize = 5;

pub(super) fn result_row(keys: Keys, row: &Row<'_>) -> Result<(String, String), StoreFault> {
    let read = checksum::verify(keys, SummedTable::Result, row, 4, false)
        .and_then(|_| Ok((row.get(1)?, row.get(3)?)));
    read.map_err(|fault| rows::of_row(fault, "an answer for the accepted event", row))
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
        bytes: row.get::<_, i64>(7)? as u64,
        parts: row.get::<_, i64>(8)? as u64,
        is_digest: row.get(9)?,
        lead: row.get::<_, Option<i64>>(10)?.map(|it| it as u64),
        via: row.get::<_, Option<String>>(11)?.and_then(|it| Relay::parse(&it)),
        message_key: row.get(12)?,
        repeats: row.get(13)?,
        attempt_log: attempts::of_delivery(
            row.get_ref(15)?.as_str_or_null()?,
            row.get(14)?,
            Timestamp(row.get(4)?),
        ),
    })
}

pub(super) fn inbox_row(keys: Keys, row: &Row<'_>) -> Result<InboxRow, StoreFault> {
    let read = checksum::verify(keys, SummedTable::Inbox, row, 15, true)
        .and_then(|is_verified| accepted(row, is_verified));
    read.map_err(|fault| rows::of_row(fault, "the accepted event", row))
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
