//! Rows to records, and the few values of `meta`.

use super::StoreFault;
use super::record::{MappedEvent, Stored};
use crate::event::{Body, DataAt, Envelope, Outcome, Priority, StageResult};
use crate::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The columns that [`stored`] reads, in its order.
pub(super) const COLUMNS: &str = "pos, seq, type, source, targets, time, received, priority, \
     generation, data_from, data_size, id, subject, correlation, parent, enrich, stages, data, body";

/// A number of `meta`; 0 when there is none.
pub(super) fn meta(connection: &Connection, key: &str) -> Result<u64, StoreFault> {
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE key = ?")?;
    let value: Option<i64> = select.query_row([key], |it| it.get(0)).optional()?;
    Ok(value.unwrap_or(0) as u64)
}

pub(super) fn set_meta(connection: &Connection, key: &str, value: u64) -> Result<(), StoreFault> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)")?
        .execute(params![key, value as i64])?;
    Ok(())
}

/// The source and id of an event by its number, wherever it stands now.
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
        let found = select.query_row([seq], |it| Ok((it.get(0)?, it.get(1)?))).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Codes to words, remembered while many rows are read.
#[derive(Default)]
pub(super) struct Words {
    known: HashMap<i64, Arc<str>>,
}

impl Words {
    fn of(&mut self, connection: &Connection, cell: ValueRef<'_>) -> Result<Arc<str>, StoreFault> {
        match cell {
            ValueRef::Integer(code) => self.by_code(connection, code),
            ValueRef::Text(text) => Ok(String::from_utf8_lossy(text).into()),
            _ => Ok("".into()),
        }
    }

    fn by_code(&mut self, connection: &Connection, code: i64) -> Result<Arc<str>, StoreFault> {
        if let Some(word) = self.known.get(&code) {
            return Ok(word.clone());
        }
        let mut select = connection.prepare_cached("SELECT text FROM names WHERE code = ?")?;
        let text: Option<String> = select.query_row([code], |it| it.get(0)).optional()?;
        let word: Arc<str> = text.unwrap_or_default().into();
        self.known.insert(code, word.clone());
        Ok(word)
    }

    fn of_json(&mut self, connection: &Connection, value: &Value) -> Result<Arc<str>, StoreFault> {
        match value {
            Value::String(word) => Ok(word.as_str().into()),
            other => self.by_code(connection, other.as_i64().unwrap_or(-1)),
        }
    }
}

/// An event off a row of [`COLUMNS`].
pub(super) fn stored(
    connection: &Connection,
    words: &mut Words,
    row: &Row<'_>,
) -> Result<Stored, StoreFault> {
    let pos: i64 = row.get(0)?;
    let seq: Option<i64> = row.get(1)?;
    let targets = words.of(connection, row.get_ref(4)?)?;
    let envelope = Envelope {
        id: row.get::<_, String>(11)?.into(),
        kind: words.of(connection, row.get_ref(2)?)?,
        source: words.of(connection, row.get_ref(3)?)?,
        subject: row.get::<_, String>(12)?.into(),
        time: Timestamp(row.get(5)?),
        received: Timestamp(row.get(6)?),
        priority: priority(row.get(7)?),
        correlation_id: row.get::<_, Option<String>>(13)?.map(Into::into),
        parent_id: row.get::<_, Option<String>>(14)?.map(Into::into),
    };
    let stages: String = row.get(16)?;
    let stages = stage_results(connection, words, &stages, envelope.received)?;
    Ok(Stored {
        pos: pos as u64,
        seq: seq.unwrap_or(pos) as u64,
        generation: row.get::<_, i64>(8)? as u64,
        envelope,
        body: body(row, 9, 17, 18)?,
        enrich: row.get::<_, String>(15)?.into(),
        stages,
        targets: targets.split_whitespace().map(Arc::from).collect(),
    })
}

/// The body, its `data` place in columns `from` and `from + 1`, or its own text, or neither where
/// the data is all there is.
pub(super) fn body(
    row: &Row<'_>,
    from: usize,
    own: usize,
    bytes: usize,
) -> Result<Body, StoreFault> {
    let start: Option<i64> = row.get(from)?;
    let size: Option<i64> = row.get(from + 1)?;
    let bytes: Vec<u8> = row.get(bytes)?;
    let data = match (start, size) {
        (Some(start), Some(size)) => {
            let start = start as usize;
            DataAt::Slice(start..(start + size as usize).min(bytes.len()))
        }
        _ => match row.get::<_, Option<String>>(own)? {
            Some(text) => DataAt::Own(text.into()),
            None => DataAt::Alone(None),
        },
    };
    Ok(Body { bytes: bytes.into(), data })
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
    let all = match &data {
        DataAt::Slice(range) => body.get(range.clone())?,
        _ => body,
    };
    std::str::from_utf8(all).ok()?;
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

fn stage_results(
    connection: &Connection,
    words: &mut Words,
    text: &str,
    received: Timestamp,
) -> Result<Vec<StageResult>, StoreFault> {
    let rows: Vec<Vec<Value>> = serde_json::from_str(text).unwrap_or_default();
    let mut results = Vec::with_capacity(rows.len());
    for row in rows {
        let number = |index: usize| row.get(index).and_then(Value::as_i64).unwrap_or(0);
        let outcome = usize::try_from(number(2)).unwrap_or(0);
        results.push(StageResult {
            stage: words.of_json(connection, row.first().unwrap_or(&Value::Null))?,
            kind: words.of_json(connection, row.get(1).unwrap_or(&Value::Null))?,
            outcome: Outcome::ALL.get(outcome).copied().unwrap_or(Outcome::Failed),
            attempts: u32::try_from(number(3)).unwrap_or(0),
            started: Timestamp(received.0 + number(4)),
            micros: number(5) as u64,
            error: row.get(6).and_then(Value::as_str).map(str::to_owned),
        });
    }
    Ok(results)
}
