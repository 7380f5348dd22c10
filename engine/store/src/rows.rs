//! Rows to records, and the few values of `meta`.

use super::attempts;
use super::checksum::{self, SummedTable};
use super::claim::Keys;
use super::query::EventTest;
use super::record::{MappedEvent, StoredEvent};
use super::{StoreFault, StoreTrouble};
use kernel::event::{Body, DataAt, Envelope, Outcome, Priority, StageResult};
use kernel::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The columns that [`EventRows::stored`] reads, in its order.
pub(super) const COLUMNS: &str = "pos, seq, type, source, targets, time, received, priority, \
     generation, data_from, data_size, id, subject, correlation, parent, enrich, stages, data, \
     message_hash, body, checksum";
/// Where the body is among them.
const BODY: usize = 19;

/// A number of `meta`; 0 when there is none.
pub(super) fn meta(connection: &Connection, key: &str) -> Result<u64, StoreFault> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE key = ?")?;
    let value: Option<i64> = select.query_row([key], |row| row.get(0)).optional()?;
    Ok(value.unwrap_or(0) as u64)
}

pub(super) fn set_meta(connection: &Connection, key: &str, value: u64) -> Result<(), StoreFault> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")?
        .execute(params![key, value as i64])?;
    Ok(())
}

/// The source and id of an event by its number, wherever it is now. A row that cannot be read
/// says no more than one that is gone.
pub(super) fn id_of(
    connection: &Connection,
    seq: u64,
) -> Result<Option<(String, String)>, StoreFault> {
    let seq = seq as i64;
    for sql in [
        "SELECT coalesce(n.text, e.source), e.id FROM event_rows e
         LEFT JOIN names n ON n.code = e.source WHERE e.pos = ?1 AND e.seq IS NULL",
        "SELECT source, id FROM inbox WHERE seq = ?1",
        "SELECT coalesce(n.text, e.source), e.id FROM event_rows e
         LEFT JOIN names n ON n.code = e.source WHERE e.seq = ?1",
        "SELECT source, event_id FROM dead_letters WHERE seq = ?1 AND what = 'event'
            AND source IS NOT NULL AND event_id IS NOT NULL",
    ] {
        let mut select = connection.prepare_cached(sql)?;
        let found = select.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?))).optional();
        match found.map_err(StoreFault::from) {
            Ok(None) => {}
            Err(fault) if fault.class == StoreTrouble::Damaged => {}
            found => return found,
        }
    }
    Ok(None)
}

/// Reads rows of events. Words are remembered while many rows are read.
pub(super) struct EventRows<'a> {
    connection: &'a Connection,
    keys: Keys,
    known: HashMap<i64, Arc<str>>,
}

impl<'a> EventRows<'a> {
    pub(super) fn new(connection: &'a Connection, keys: Keys) -> Self {
        EventRows { connection, keys, known: HashMap::new() }
    }

    /// The event off a row of [`COLUMNS`], if a test wants it. Only what the test cannot read or
    /// wants is compared with its checksum: most rows that it is asked of are neither.
    pub(super) fn wanted(
        &mut self,
        row: &Row<'_>,
        test: EventTest<'_>,
    ) -> Result<Option<StoredEvent>, StoreFault> {
        let is_wanted = test(&mut EventRow { row, rows: self });
        if is_wanted == Some(false) {
            return Ok(None);
        }
        let event = self.stored(row)?;
        Ok(is_wanted.map(|_| event))
    }

    /// An event off a row of [`COLUMNS`], if it is what was written.
    pub(super) fn stored(&mut self, row: &Row<'_>) -> Result<StoredEvent, StoreFault> {
        let read = checksum::verify(self.keys, SummedTable::Event, row, BODY, true)
            .and_then(|is_verified| self.event_of(row, is_verified));
        read.map_err(|fault| of_row(fault, "the event at", row))
    }

    fn event_of(&mut self, row: &Row<'_>, is_verified: bool) -> Result<StoredEvent, StoreFault> {
        let pos: i64 = row.get(0)?;
        let seq: Option<i64> = row.get(1)?;
        let targets = self.word(row.get_ref(4)?)?;
        let envelope = self.envelope(row)?;
        let (enrich, stages): (String, String) = (row.get(15)?, row.get(16)?);
        if !is_verified {
            must_be_json(&enrich, "its additions are not JSON")?;
        }
        Ok(StoredEvent {
            pos: pos as u64,
            seq: seq.unwrap_or(pos) as u64,
            generation: row.get::<_, i64>(8)? as u64,
            stages: self.stage_results(&stages, envelope.received)?.into(),
            envelope,
            body: body(row, 9, 17, is_verified)?,
            enrich: enrich.into(),
            targets: targets.split_whitespace().map(Arc::from).collect(),
        })
    }

    fn envelope(&mut self, row: &Row<'_>) -> Result<Envelope, StoreFault> {
        Ok(Envelope {
            id: row.get::<_, String>(11)?.into(),
            kind: self.word(row.get_ref(2)?)?,
            source: self.word(row.get_ref(3)?)?,
            subject: row.get::<_, String>(12)?.into(),
            time: Timestamp(row.get(5)?),
            received: Timestamp(row.get(6)?),
            priority: priority(row.get(7)?),
            correlation_id: row.get::<_, Option<String>>(13)?.map(Into::into),
            parent_id: row.get::<_, Option<String>>(14)?.map(Into::into),
        })
    }

    fn word(&mut self, cell: ValueRef<'_>) -> Result<Arc<str>, StoreFault> {
        match cell {
            ValueRef::Integer(code) => self.by_code(code),
            ValueRef::Text(_) => Ok(cell.as_str().map_err(rusqlite::Error::from)?.into()),
            _ => Err(damage("a word is missing")),
        }
    }

    fn by_code(&mut self, code: i64) -> Result<Arc<str>, StoreFault> {
        if let Some(word) = self.known.get(&code) {
            return Ok(word.clone());
        }
        let mut select = self.connection.prepare_cached("SELECT text FROM names WHERE code = ?")?;
        let text: Option<String> = select.query_row([code], |row| row.get(0)).optional()?;
        let word: Arc<str> = text.ok_or_else(|| damage("a word is missing"))?.into();
        self.known.insert(code, word.clone());
        Ok(word)
    }

    fn word_of_json(&mut self, value: Option<&Value>) -> Result<Arc<str>, StoreFault> {
        match value {
            Some(Value::String(word)) => Ok(word.as_str().into()),
            Some(other) if other.is_i64() => self.by_code(other.as_i64().unwrap_or(-1)),
            _ => Err(damage("a word is missing")),
        }
    }

    fn stage_results(
        &mut self,
        text: &str,
        received: Timestamp,
    ) -> Result<Vec<StageResult>, StoreFault> {
        let rows: Vec<Vec<Value>> =
            serde_json::from_str(text).map_err(|_| damage("its stages cannot be read"))?;
        let mut results = Vec::with_capacity(rows.len());
        for row in rows {
            let number = |index: usize| row.get(index).and_then(Value::as_i64).unwrap_or(0);
            let outcome = usize::try_from(number(2)).unwrap_or(0);
            let error = row.get(6).filter(|it| !it.is_null());
            let log = row.get(7).and_then(|it| attempts::of_json(it, received));
            results.push(StageResult {
                stage: self.word_of_json(row.first())?,
                kind: self.word_of_json(row.get(1))?,
                outcome: Outcome::ALL.get(outcome).copied().unwrap_or(Outcome::Failed),
                attempts: u32::try_from(number(3)).unwrap_or(0),
                started: Timestamp(received.0.saturating_add(number(4))),
                micros: u64::try_from(number(5)).unwrap_or(0),
                error: error.map(|it| self.word_of_json(Some(it))).transpose()?,
                attempt_log: log.unwrap_or_default(),
            });
        }
        Ok(results)
    }
}

/// A row of an event, of which only that is read which somebody asks for. It is not compared with
/// its checksum: what is shown of it has to be read whole.
pub struct EventRow<'a, 'c> {
    row: &'a Row<'a>,
    rows: &'a mut EventRows<'c>,
}

impl EventRow<'_, '_> {
    /// The number of the answer.
    pub fn seq(&self) -> Option<u64> {
        let number = |index| self.row.get::<_, Option<i64>>(index).ok();
        Some(number(1)?.or(number(0)?)? as u64)
    }

    /// The generation that it ran under.
    pub fn generation(&self) -> Option<u64> {
        self.row.get::<_, i64>(8).ok().map(|it| it as u64)
    }

    /// What it says about itself.
    pub fn envelope(&mut self) -> Option<Envelope> {
        self.rows.envelope(self.row).ok()
    }

    /// The additions as one JSON object.
    pub fn enrich(&self) -> Option<&str> {
        self.row.get_ref(15).ok()?.as_str().ok()
    }

    /// The JSON text of `data`.
    pub fn data(&self) -> Option<&str> {
        let number = |index| self.row.get::<_, Option<i64>>(index).ok();
        let own = self.row.get_ref(17).ok()?;
        match (number(9)?, number(10)?) {
            (Some(start), Some(size)) => {
                let start = usize::try_from(start).ok()?;
                let end = start.checked_add(usize::try_from(size).ok()?)?;
                std::str::from_utf8(self.bytes()?.get(start..end)?).ok()
            }
            _ if own == ValueRef::Null => std::str::from_utf8(self.bytes()?).ok(),
            _ => own.as_str().ok(),
        }
    }

    /// The message, where it is kept.
    pub fn message(&self) -> Option<&[u8]> {
        let is_there = |index| self.row.get_ref(index).is_ok_and(|it| it != ValueRef::Null);
        (is_there(9) || is_there(17)).then(|| self.bytes()).flatten()
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.row.get_ref(BODY).ok()?.as_blob().ok()
    }
}

fn damage(what: &str) -> StoreFault {
    StoreFault::new(StoreTrouble::Damaged, what)
}

/// Says which row is damaged, by its number in the first column.
pub(super) fn of_row(fault: StoreFault, what: &str, row: &Row<'_>) -> StoreFault {
    match fault.class {
        StoreTrouble::Damaged => {
            StoreFault::damaged_row(what, row.get(0).unwrap_or(0), &fault.reason)
        }
        _ => fault,
    }
}

/// The body: its `data` place in columns `from` and `from + 1`, or its own text in column `own`, or
/// neither where the data is all there is; behind that the hash of the message, its bytes, and
/// their checksum.
pub(super) fn body(
    row: &Row<'_>,
    from: usize,
    own: usize,
    is_verified: bool,
) -> Result<Body, StoreFault> {
    let start: Option<i64> = row.get(from)?;
    let size: Option<i64> = row.get(from + 1)?;
    let bytes: Vec<u8> = row.get(own + 2)?;
    let data = match (start, size) {
        (Some(start), Some(size)) => {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let range = start..start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            let text = bytes.get(range.clone()).and_then(|it| std::str::from_utf8(it).ok());
            if text.is_none() {
                return Err(damage("its data is not part of its bytes"));
            }
            DataAt::Slice(range)
        }
        _ => match row.get::<_, Option<String>>(own)? {
            Some(text) => DataAt::Own(text.into()),
            None if std::str::from_utf8(&bytes).is_err() => {
                return Err(damage("its data is not text"));
            }
            None => DataAt::Alone(None),
        },
    };
    let body = Body { bytes: bytes.into(), data };
    if !is_verified {
        must_be_json(body.data_text(), "its data is not JSON")?;
    }
    Ok(body)
}

fn must_be_json(text: &str, what: &str) -> Result<(), StoreFault> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|_| damage(what))
}

/// A mapped event as JSON; times in microseconds.
pub(super) fn mapped_text(event: &MappedEvent) -> String {
    let MappedEvent { envelope, data } = event;
    let mut text = serde_json::json!({
        "id": &*envelope.id, "type": &*envelope.kind, "source": &*envelope.source,
        "subject": &*envelope.subject, "time": envelope.time.0, "received": envelope.received.0,
        "priority": envelope.priority.word(), "correlation_id": envelope.correlation_id.as_deref(),
        "parent_id": envelope.parent_id.as_deref(),
    });
    match data {
        DataAt::Slice(range) => text["data_at"] = serde_json::json!([range.start, range.end]),
        DataAt::Own(own) => text["data"] = Value::from(&**own),
        DataAt::Alone(_) => {}
    }
    text.to_string()
}

/// Reads what [`mapped_text`] wrote; `None` when it does not fit the body.
pub(super) fn mapped(text: &str, body: &[u8]) -> Option<MappedEvent> {
    let value: Value = serde_json::from_str(text).ok()?;
    let word = |key: &str| value[key].as_str().map(Arc::<str>::from);
    let place = |index: usize| usize::try_from(value["data_at"][index].as_u64()?).ok();
    let data = match (word("data"), place(0).zip(place(1))) {
        (Some(own), _) => DataAt::Own(own),
        (None, Some((start, end))) => DataAt::Slice(start..end),
        (None, None) => DataAt::Alone(None),
    };
    let text = match &data {
        DataAt::Slice(range) => body.get(range.clone())?,
        DataAt::Own(_) => &[],
        DataAt::Alone(_) => body,
    };
    std::str::from_utf8(text).ok()?;
    let envelope = Envelope {
        id: word("id")?,
        kind: word("type")?,
        source: word("source")?,
        subject: word("subject")?,
        time: Timestamp(value["time"].as_i64()?),
        received: Timestamp(value["received"].as_i64()?),
        priority: Priority::parse(value["priority"].as_str()?)?,
        correlation_id: word("correlation_id"),
        parent_id: word("parent_id"),
    };
    Some(MappedEvent { envelope, data })
}

pub(super) fn priority(index: i64) -> Priority {
    usize::try_from(index).ok().and_then(Priority::from_index).unwrap_or_default()
}
