//! A look at every row, once a day, a slice at a time: what rots unseen is found before it is
//! needed.
//!
//! SQLite's own check is one long statement that would keep the log from being emptied, so this
//! walks the tables in the order of their keys: each row is read and compared with its checksum,
//! and each entry that an index must have, or has too many, is looked up.
//!
//! *Invariant:* one slice ends within [`SLICE_TIME`] and a few rows; a slice that meets damage goes
//! on behind it.

use super::letter_query;
use super::reader::{self, Reader};
use super::rows::{COLUMNS, EventRows};
use super::{Store, StoreFault, StoreTrouble};
use kernel::time::Timestamp;
use rusqlite::{Row, params};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between the end of a pass and the next one.
pub(super) const EVERY: Duration = Duration::from_secs(86_400);
/// A slice that could not be read is tried again after this.
const AGAIN: Duration = Duration::from_secs(60);
/// How long one slice works, once a second.
const SLICE_TIME: Duration = Duration::from_millis(40);
/// Rows that are read at once, and bytes of them.
const ROWS: i64 = 128;
const BYTES: usize = 1 << 20;

/// The indexes of finished events, their columns, and the rows that are in them.
pub(super) const EVENT_INDEXES: [(&str, &[&str], &str); 5] = [
    ("event_rows_kind", &["type", "source", "time"], "1"),
    ("event_rows_priority", &["priority", "time"], "1"),
    ("event_rows_seq", &["seq"], "e.seq IS NOT NULL"),
    ("event_rows_correlation", &["correlation"], "e.correlation IS NOT NULL"),
    ("event_rows_id", &["id"], "1"),
];

/// The passes of one store.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    place: Option<ScrubPlace>,
    /// When the next slice is due, on the monotonic clock.
    due: Duration,
}

impl Scrub {
    /// The first pass begins `wait` after `now`.
    pub(super) fn due_in(now: Duration, wait: Duration) -> Self {
        Scrub { place: None, due: now + wait }
    }

    /// Whether there was a pass, and none runs.
    #[cfg(test)]
    pub(super) fn has_passed(&self) -> bool {
        self.place.is_none() && EVERY <= self.due
    }

    /// What is left to wait until a day after the last pass. A time that is still to come says
    /// nothing.
    pub(super) fn wait_after(last: Timestamp, now: Timestamp) -> Duration {
        if now < last { Duration::ZERO } else { EVERY.saturating_sub(now.since(last)) }
    }
}

/// How far a pass has come: what is behind these keys is still to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScrubPlace {
    step: ScrubStep,
    number: i64,
    time: i64,
    text: String,
    /// Events behind it were not there yet when the pass began: without this a pass would never
    /// end where they come as fast as it looks.
    up_to: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScrubStep {
    Names,
    Events,
    /// The index by priority, level by level.
    Priority(i64),
    Inbox,
    Results,
    Letters,
    Deliveries,
}

impl ScrubStep {
    fn next(self) -> Option<ScrubStep> {
        Some(match self {
            ScrubStep::Names => ScrubStep::Events,
            ScrubStep::Events => ScrubStep::Priority(0),
            ScrubStep::Priority(level) if level < 3 => ScrubStep::Priority(level + 1),
            ScrubStep::Priority(_) => ScrubStep::Inbox,
            ScrubStep::Inbox => ScrubStep::Results,
            ScrubStep::Results => ScrubStep::Letters,
            ScrubStep::Letters => ScrubStep::Deliveries,
            ScrubStep::Deliveries => return None,
        })
    }
}

impl ScrubPlace {
    fn first(up_to: u64) -> Self {
        ScrubPlace::at(ScrubStep::Names, i64::try_from(up_to).unwrap_or(i64::MAX))
    }

    fn at(step: ScrubStep, up_to: i64) -> Self {
        ScrubPlace { step, number: i64::MIN, time: i64::MIN, text: String::new(), up_to }
    }
}

impl Store {
    /// One slice, when one is due.
    pub(super) async fn scrub(&self) {
        let now = self.shared.env.clock.monotonic();
        let Some(place) = self.begin_slice(now) else { return };
        let place = match self.read(|reader| slice(reader, place)).await {
            Ok(place) => place,
            Err(fault) => {
                tracing::debug!(reason = %fault, "a slice of the store could not be read");
                self.scrub_state().due = now + AGAIN;
                return;
            }
        };
        let is_over = place.is_none();
        let due = if is_over { now + EVERY } else { now };
        *self.scrub_state() = Scrub { place, due };
        if is_over {
            self.shared.status.end_pass(self.shared.env.clock.wall());
        }
    }

    fn begin_slice(&self, now: Duration) -> Option<ScrubPlace> {
        let mut scrub = self.scrub_state();
        if now < scrub.due || self.is_broken() {
            return None;
        }
        Some(scrub.place.get_or_insert_with(|| {
            self.shared.status.begin_pass();
            ScrubPlace::first(self.figures().highest_pos.load(Ordering::Relaxed))
        }))
        .cloned()
    }

    fn scrub_state(&self) -> std::sync::MutexGuard<'_, Scrub> {
        self.shared.scrub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks on from `place` for a while; `None` when all has been looked at.
#[expect(clippy::disallowed_methods, reason = "a limit on work, not on the pipeline's time")]
fn slice(reader: &Reader<'_>, mut place: ScrubPlace) -> Result<Option<ScrubPlace>, StoreFault> {
    let started = Instant::now();
    while started.elapsed() < SLICE_TIME {
        match look(reader, &place)? {
            Some(further) => place = further,
            None => match place.step.next() {
                Some(step) => place = ScrubPlace::at(step, place.up_to),
                None => return Ok(None),
            },
        }
    }
    Ok(Some(place))
}

/// A few rows; `None` when the step has no more.
pub(super) fn look(
    reader: &Reader<'_>,
    place: &ScrubPlace,
) -> Result<Option<ScrubPlace>, StoreFault> {
    match place.step {
        ScrubStep::Names => names(reader),
        ScrubStep::Events => events(reader, place),
        ScrubStep::Priority(level) => by_priority(reader, place, level),
        ScrubStep::Inbox => rows(reader, place, INBOX, |row| {
            reader::inbox_row(reader.keys, row).map(|row| row.body.bytes.len())
        }),
        ScrubStep::Results => results(reader),
        ScrubStep::Letters => rows(reader, place, &letters(), |row| {
            letter_query::letter(reader.keys, row).map(|letter| letter.body.len())
        }),
        ScrubStep::Deliveries => deliveries(reader, place),
    }
}

const INBOX: &str = "SELECT seq, generation, received, time, priority, type, source, id, subject,
    correlation, parent, data_from, data_size, data, message_hash, body, checksum, seq
    FROM inbox WHERE seq > ?1 ORDER BY seq LIMIT ?2";

fn letters() -> String {
    format!("{} WHERE id > ?1 ORDER BY id LIMIT ?2", letter_query::LETTER)
}

/// Reads rows in the order of the number in their last column, and reports those that are not what
/// was written.
fn rows(
    reader: &Reader<'_>,
    place: &ScrubPlace,
    sql: &str,
    mut read: impl FnMut(&Row<'_>) -> Result<usize, StoreFault>,
) -> Result<Option<ScrubPlace>, StoreFault> {
    let mut statement = reader.connection.prepare_cached(sql)?;
    let number = statement.column_count() - 1;
    let mut found = statement.query(params![place.number, ROWS])?;
    let (mut last, mut bytes) = (None, 0);
    while bytes < BYTES
        && let Some(row) = found.next()?
    {
        let key: i64 = row.get(number)?;
        if key <= last.unwrap_or(place.number) {
            return Err(out_of_order(key));
        }
        if place.up_to < key && place.step == ScrubStep::Events {
            break;
        }
        last = Some(key);
        match read(row) {
            Ok(size) => bytes += size,
            Err(fault) => reader.pass_by(fault, None)?,
        }
    }
    Ok(last.map(|number| ScrubPlace { number, ..place.clone() }))
}

fn events(reader: &Reader<'_>, place: &ScrubPlace) -> Result<Option<ScrubPlace>, StoreFault> {
    let sql = format!("SELECT {COLUMNS}, pos FROM event_rows WHERE pos > ?1 ORDER BY pos LIMIT ?2");
    let mut stored = EventRows::new(reader.connection, reader.keys);
    let mut damaged = Vec::new();
    let next = rows(reader, place, &sql, |row| {
        let read = stored.stored(row).map(|stored| stored.body.bytes.len());
        if read.is_err() {
            damaged.push(row.get::<_, i64>(0).unwrap_or(0));
        }
        read
    })?;
    let Some(next) = next else { return Ok(None) };
    for (index, columns, is_in) in EVENT_INDEXES {
        let same: String =
            columns.iter().map(|column| format!("i.{column} = e.{column} AND ")).collect();
        let sql = format!(
            "SELECT e.pos FROM event_rows AS e NOT INDEXED
             WHERE e.pos > ?1 AND e.pos <= ?2 AND {is_in} AND NOT EXISTS
                (SELECT 1 FROM event_rows AS i INDEXED BY {index} WHERE {same} i.pos = e.pos)"
        );
        let mut statement = reader.connection.prepare_cached(&sql)?;
        let mut found = statement.query([place.number, next.number])?;
        while let Some(row) = found.next()? {
            let pos: i64 = row.get(0)?;
            // A damaged row is looked for in the wrong place.
            if !damaged.contains(&pos) {
                return Err(out_of_step(index, pos));
            }
        }
    }
    Ok(Some(next))
}

/// An index that does not know a row hides it, and one that knows a row that is not there has lost
/// it: neither can be told from a store that never had it.
fn out_of_step(index: &str, number: i64) -> StoreFault {
    let reason = format!("the index {index} does not match its table at {number}");
    StoreFault::damaged_database(&reason)
}

/// A row in the wrong place of its own table is not found by its key.
fn out_of_order(number: i64) -> StoreFault {
    StoreFault::damaged_database(&format!("the row of {number} is in the wrong place"))
}

fn by_priority(
    reader: &Reader<'_>,
    place: &ScrubPlace,
    level: i64,
) -> Result<Option<ScrubPlace>, StoreFault> {
    // First what has the time of the last one: there may be many.
    for (time, order) in [("time = ?2 AND pos > ?3", "pos"), ("time > ?2 AND ?3 = ?3", "time, pos")]
    {
        let sql = format!(
            "SELECT i.pos, i.time, EXISTS (SELECT 1 FROM event_rows AS e NOT INDEXED
                WHERE e.pos = i.pos AND e.priority = ?1 AND e.time = i.time)
             FROM (SELECT pos, time FROM event_rows INDEXED BY event_rows_priority
                WHERE priority = ?1 AND {time} AND pos <= ?5 ORDER BY {order} LIMIT ?4) AS i"
        );
        let mut statement = reader.connection.prepare_cached(&sql)?;
        let values = params![level, place.time, place.number, ROWS, place.up_to];
        let mut found = statement.query(values)?;
        let mut last = None;
        while let Some(row) = found.next()? {
            let (number, time): (i64, i64) = (row.get(0)?, row.get(1)?);
            if !row.get::<_, bool>(2)? && !reader.status.is_damaged_event(number) {
                return Err(out_of_step("event_rows_priority", number));
            }
            if (time, number) <= (place.time, place.number) {
                return Err(out_of_order(number));
            }
            last = Some(ScrubPlace { number, time, ..place.clone() });
        }
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
}

/// As many as events of the inbox have: few.
fn results(reader: &Reader<'_>) -> Result<Option<ScrubPlace>, StoreFault> {
    let sql = format!(
        "{}, EXISTS (SELECT 1 FROM results AS r WHERE r.seq = s.seq AND r.stage = s.stage)
         FROM results AS s",
        reader::RESULT
    );
    let mut statement = reader.connection.prepare(&sql)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        if let Err(fault) = reader::result_row(reader.keys, row) {
            reader.pass_by(fault, None)?;
        }
        if !row.get::<_, bool>(reader::RESULT_COLUMNS)? {
            return Err(out_of_order(row.get(0)?));
        }
    }
    Ok(None)
}

/// The dictionary, which is bounded: each word and its code, from the table and from the index.
pub(super) fn names(reader: &Reader<'_>) -> Result<Option<ScrubPlace>, StoreFault> {
    compare_names(reader.connection).map(|()| None)
}

/// Whether the dictionary and its index are of one mind. Words have no checksum: each is there
/// twice.
pub(super) fn compare_names(connection: &rusqlite::Connection) -> Result<(), StoreFault> {
    let sql = "SELECT n.code FROM names AS n NOT INDEXED WHERE NOT EXISTS
        (SELECT 1 FROM names AS i WHERE i.kind = n.kind AND i.text = n.text AND i.code = n.code)";
    let mut statement = connection.prepare(sql)?;
    let mut wrong = statement.query([])?;
    match wrong.next()? {
        Some(row) => Err(out_of_step("names", row.get(0)?)),
        None => Ok(()),
    }
}

/// In the order in which the deliveries' rows say whether they are missing there.
const DELIVERY_INDEXES: [&str; 6] = [
    "delivery_rows_due",
    "delivery_rows_parked",
    "delivery_rows_held",
    "delivery_rows_message",
    "delivery_rows_alert",
    "delivery_rows_again",
];

fn deliveries(reader: &Reader<'_>, place: &ScrubPlace) -> Result<Option<ScrubPlace>, StoreFault> {
    let sql = format!(
        "{},
            state = 0 AND NOT EXISTS (SELECT 1 FROM delivery_rows AS i
                INDEXED BY delivery_rows_due WHERE i.sink = d.sink AND i.not_before = d.not_before
                    AND i.seq = d.seq AND i.bytes = d.bytes AND i.state = 0),
            state = 3 AND NOT EXISTS (SELECT 1 FROM delivery_rows AS i
                INDEXED BY delivery_rows_parked WHERE i.sink = d.sink AND i.seq = d.seq
                    AND i.bytes = d.bytes AND i.state = 3),
            state = 5 AND NOT EXISTS (SELECT 1 FROM delivery_rows AS i
                INDEXED BY delivery_rows_held WHERE i.sink = d.sink AND i.seq = d.seq
                    AND i.bytes = d.bytes AND i.state = 5),
            message_key IS NOT NULL AND state IN (0, 5) AND NOT EXISTS
                (SELECT 1 FROM delivery_rows AS i INDEXED BY delivery_rows_message
                    WHERE i.sink = d.sink AND i.message_key = d.message_key
                    AND i.message_key IS NOT NULL AND i.state IN (0, 5) AND i.seq = d.seq),
            alert IS NOT NULL AND NOT EXISTS
                (SELECT 1 FROM delivery_rows AS i INDEXED BY delivery_rows_alert
                    WHERE i.sink = d.sink AND i.alert = d.alert AND i.alert IS NOT NULL
                    AND i.seq = d.seq),
            coalesce(again, 0) > 0 AND NOT EXISTS
                (SELECT 1 FROM delivery_rows AS i INDEXED BY delivery_rows_again
                    WHERE i.again = d.again AND i.again > 0 AND i.seq = d.seq
                    AND i.sink = d.sink)
        FROM delivery_rows AS d NOT INDEXED
        WHERE (sink, seq) > (?1, ?2) ORDER BY sink, seq LIMIT ?3",
        reader::DELIVERY
    );
    let mut statement = reader.connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![place.text, place.number, ROWS])?;
    let mut last = None;
    while let Some(row) = found.next()? {
        let (text, number): (String, i64) = (row.get(0)?, row.get(1)?);
        let before = last.as_ref().unwrap_or(place);
        if (text.as_str(), number) <= (before.text.as_str(), before.number) {
            return Err(out_of_order(number));
        }
        if let Err(fault) = reader::delivery(row) {
            let fault = StoreFault::from(fault);
            let what = "a delivery of the event";
            match fault.class {
                StoreTrouble::Damaged => {
                    reader.pass_by(StoreFault::damaged_row(what, number, &fault.reason), None)?;
                }
                _ => return Err(fault),
            }
        }
        for (column, index) in DELIVERY_INDEXES.iter().enumerate() {
            if row.get(reader::DELIVERY_COLUMNS + column)? {
                return Err(out_of_step(index, number));
            }
        }
        last = Some(ScrubPlace { text, number, ..place.clone() });
    }
    Ok(last)
}
