//! Dead letters as they are listed and found.

use super::checksum::{self, SummedTable};
use super::claim::Keys;
use super::reader::Reader;
use super::record::{DeadLetter, DeadLetterWhat};
use super::rows;
use super::{StoreFault, StoreTrouble};
use kernel::time::Timestamp;
use rusqlite::types::Value as Cell;
use rusqlite::{Row, params_from_iter};
use serde_json::{Value, json};
use std::sync::Arc;

/// Which dead letters are wanted; what is not given matches every one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// What they are.
    pub what: Option<DeadLetterWhat>,
    /// The stage, sink or notifier that gave up.
    pub stage: Option<String>,
    /// The source, as the file names it or as the event does.
    pub source: Option<String>,
    /// The class of the fault.
    pub class: Option<String>,
    /// The event's id.
    pub event_id: Option<String>,
    /// Set aside at this time or later.
    pub since: Option<Timestamp>,
    /// Set aside at this time or before.
    pub until: Option<Timestamp>,
}

/// In which order letters are read, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterOrder {
    /// The newest first, those with a lower number than this.
    Newest(Option<u64>),
    /// The oldest first, those with a higher number than this.
    Oldest(u64),
}

/// A part of the list of dead letters.
#[derive(Debug, Clone)]
pub struct LetterPage {
    /// The letters, in the order asked for.
    pub letters: Vec<DeadLetter>,
    /// How large their bodies are, in bytes; a list may have less of them.
    pub sizes: Vec<usize>,
    /// The number from which the next page goes on, when there is one.
    pub next: Option<u64>,
}

impl LetterFilter {
    fn sql(&self) -> (String, Vec<Cell>) {
        let (mut sql, mut values) = (String::new(), Vec::new());
        let mut only = |condition: &str, value: Option<Cell>| {
            if let Some(value) = value {
                sql += &format!(" AND {condition}");
                values.push(value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Cell::Text);
        only("what = ?", self.what.map(|it| Cell::Text(it.word().to_owned())));
        only("stage = ?", text(&self.stage));
        only("? IN (source_node, source)", text(&self.source));
        only("class = ?", text(&self.class));
        only("event_id = ?", text(&self.event_id));
        only("last >= ?", self.since.map(|since| Cell::Integer(since.0)));
        only("last <= ?", self.until.map(|it| Cell::Integer(it.0)));
        (sql, values)
    }
}

impl Reader<'_> {
    /// The dead letters that fit: at most `limit` (1 to 1,000), and no more once they hold
    /// `bytes_max`. The first is always there.
    pub fn dead_letters(
        &self,
        filter: &LetterFilter,
        order: LetterOrder,
        limit: usize,
        bytes_max: usize,
    ) -> Result<LetterPage, StoreFault> {
        self.letter_list(filter, order, limit, bytes_max, usize::MAX)
    }

    /// The same with no more of each body than its first `body_max` bytes, which alone count.
    pub fn letter_list(
        &self,
        filter: &LetterFilter,
        order: LetterOrder,
        limit: usize,
        bytes_max: usize,
        body_max: usize,
    ) -> Result<LetterPage, StoreFault> {
        let limit = limit.clamp(1, 1000);
        let (fits, mut values) = filter.sql();
        let (from, side) = match order {
            LetterOrder::Newest(before) => (before.map_or(i64::MAX, |it| it as i64), "<"),
            LetterOrder::Oldest(after) => (after as i64, ">"),
        };
        let direction = if side == "<" { "DESC" } else { "ASC" };
        let sql = format!("{LETTER} WHERE id {side} ?{fits} ORDER BY id {direction} LIMIT ?");
        values.insert(0, Cell::Integer(from));
        // One more tells whether there is a next page.
        values.push(Cell::Integer(limit as i64 + 1));
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut found = select.query(params_from_iter(values))?;
        let mut page = LetterPage { letters: Vec::new(), sizes: Vec::new(), next: None };
        let mut bytes = 0;
        while let Some(row) = found.next()? {
            let mut letter = letter(self.keys, row)?;
            let size = letter.body.len();
            if body_max < size {
                letter.body = letter.body[..body_max].into();
            }
            bytes += letter.body.len() + letter.reason.len();
            if let Some(last) = page.letters.last()
                && (bytes_max < bytes || limit <= page.letters.len())
            {
                page.next = Some(last.id);
                break;
            }
            page.letters.push(letter);
            page.sizes.push(size);
        }
        Ok(page)
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: u64) -> Result<Option<DeadLetter>, StoreFault> {
        self.one_letter("id = ?", id)
    }

    /// The dead letter of an accepted event.
    pub fn letter_of_event(&self, seq: u64) -> Result<Option<DeadLetter>, StoreFault> {
        self.one_letter("seq = ? AND what = 'event'", seq)
    }

    /// What was done by hand, the newest first.
    pub fn audit(&self, limit: usize) -> Result<Vec<Value>, StoreFault> {
        let sql = "SELECT time, who, action, subject, outcome FROM audit ORDER BY id DESC LIMIT ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
        let rows = select.query_map([limit as i64], |row| {
            Ok(json!({
                "time": Timestamp(row.get(0)?).to_string(), "who": row.get::<_, String>(1)?,
                "action": row.get::<_, String>(2)?, "subject": json(row.get(3)?),
                "outcome": json(row.get(4)?),
            }))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn one_letter(&self, condition: &str, value: u64) -> Result<Option<DeadLetter>, StoreFault> {
        let sql = format!("{LETTER} WHERE {condition}");
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut found = select.query([value as i64])?;
        found.next()?.map(|row| letter(self.keys, row)).transpose()
    }
}

/// The columns of a letter in the order of its checksum; the number comes last, because it is given
/// by the insertion.
pub(super) const LETTER: &str = "SELECT what, seq, source_node, source, event_id, stage, class, reason, attempts, first, last, \
     generation, message_hash, mapped, context, body, checksum, id FROM dead_letters";

/// Where the body of a letter is among these, and its number.
pub(super) const LETTER_BODY: usize = 15;
const LETTER_ID: usize = 17;

/// The classes of a letter.
const CLASSES: [&str; 5] = ["transient", "permanent", "poison", "invalid", "conflict"];

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
    let body: Arc<[u8]> = row.get::<_, Vec<u8>>(LETTER_BODY)?.into();
    let mapped = row.get::<_, Option<String>>(13)?;
    let context = row.get::<_, Option<String>>(14)?;
    Ok(DeadLetter {
        id: id as u64,
        what: DeadLetterWhat::parse(&what).unwrap_or(DeadLetterWhat::Event),
        seq: row.get::<_, Option<i64>>(1)?.map(|it| it as u64),
        source_node: row.get::<_, String>(2)?.into(),
        source: row.get(3)?,
        event_id: row.get(4)?,
        stage: row.get::<_, String>(5)?.into(),
        class: CLASSES.into_iter().find(|it| *it == class).unwrap_or("permanent"),
        reason: row.get(7)?,
        attempts: row.get(8)?,
        first: Timestamp(row.get(9)?),
        last: Timestamp(row.get(10)?),
        generation: row.get::<_, i64>(11)? as u64,
        mapped: mapped.and_then(|mapped| rows::mapped(&mapped, &body)).map(Box::new),
        context: context.and_then(|context| serde_json::from_str(&context).ok()).map(Arc::new),
        body,
    })
}
