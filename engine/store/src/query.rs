//! Lists of events: newest first by (time, pos), page after page without gaps or overlap.

use super::StoreFault;
use super::claim::Keys;
use super::names::{self, Sort};
use super::reader::Reader;
use super::record::Stored;
use super::rows::{COLUMNS, EventRows};
use kernel::event::Priority;
use kernel::time::Timestamp;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params, params_from_iter};
use std::collections::BTreeSet;
use std::fmt;

/// More prefixes of an index than this are not merged; one index is scanned instead.
const PREFIXES_MAX: usize = 200;

/// What was sent to the store. A list of targets that the dictionary had no room for stands in its
/// row, and has the store's name in it.
const VISIBLE: &str = "(targets IN (SELECT code FROM names WHERE kind = 3)
    OR (typeof(targets) = 'text' AND instr(' ' || targets || ' ',
        ' ' || (SELECT value FROM meta WHERE key = 'store') || ' ')))";

/// What to list. Lists that are empty let everything through.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventQuery {
    /// Any of these types.
    pub types: Vec<String>,
    /// Any of these sources.
    pub sources: Vec<String>,
    /// Any of these priorities.
    pub priorities: Vec<Priority>,
    /// Any of these subjects.
    pub subjects: Vec<String>,
    /// Any of these correlation ids.
    pub correlation_ids: Vec<String>,
    /// Not before, by the sender's clock.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// No more once they hold so many bytes; the first is always there.
    pub bytes_max: Option<usize>,
    /// Behind this place.
    pub cursor: Option<Cursor>,
}

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The last event's time.
    pub time: Timestamp,
    /// Its place.
    pub pos: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A time before 1970 has no sign as text: only its bits.
        write!(f, "{:x}.{:x}", self.time.0 as u64, self.pos)
    }
}

impl Cursor {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, pos) = text.split_once('.')?;
        let time = Timestamp(u64::from_str_radix(time, 16).ok()? as i64);
        let pos = u64::from_str_radix(pos, 16).ok()?;
        Some(Cursor { time, pos })
    }
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The events.
    pub rows: Vec<Stored>,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
}

/// One equality that begins an index.
struct Prefix {
    sql: String,
    values: Vec<Cell>,
}

pub(super) fn events(
    connection: &Connection,
    keys: Keys,
    query: &EventQuery,
) -> Result<Page, StoreFault> {
    // One moment for all of it: retention takes nothing between the two looks at the rows.
    let _moment = connection.unchecked_transaction()?;
    let limit = query.limit.clamp(1, 1000);
    let types = codes(connection, Sort::Type, &query.types)?;
    let sources = codes(connection, Sort::Source, &query.sources)?;
    let prefixes = prefixes(query, &types, &sources);
    if prefixes.is_empty() {
        return Ok(Page { rows: Vec::new(), next: None });
    }
    let (filter, filter_values) = filter(query, types, sources);
    let mut sql = String::new();
    let mut values = Vec::new();
    for (index, prefix) in prefixes.into_iter().enumerate() {
        let union = if index == 0 { "" } else { " UNION ALL " };
        sql += &format!(
            "{union}SELECT * FROM (SELECT pos, time FROM event_rows WHERE {} AND {filter}
             ORDER BY time DESC, pos DESC LIMIT {})",
            prefix.sql,
            limit + 1
        );
        values.extend(prefix.values);
        values.extend(filter_values.iter().cloned());
    }
    sql += &format!(" ORDER BY 2 DESC, 1 DESC LIMIT {}", limit + 1);
    let found: Vec<i64> = connection
        .prepare(&sql)?
        .query_map(params_from_iter(values), |it| it.get(0))?
        .collect::<Result<_, _>>()?;
    let rows = by_pos(connection, keys, found.iter().take(limit), query.bytes_max)?;
    let last = rows.last().filter(|_| rows.len() < found.len());
    let next = last.map(|it| Cursor { time: it.envelope.time, pos: it.pos });
    Ok(Page { rows, next })
}

/// The events at these places, until they hold too many bytes. What sorts them saw only their
/// places, so a page of large events costs no more memory than what it may hold.
fn by_pos<'a>(
    connection: &Connection,
    keys: Keys,
    places: impl Iterator<Item = &'a i64>,
    bytes_max: Option<usize>,
) -> Result<Vec<Stored>, StoreFault> {
    let sql = format!("SELECT {COLUMNS} FROM event_rows WHERE pos = ?");
    let mut select = connection.prepare_cached(&sql)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let mut events = EventRows::new(connection, keys);
    for pos in places {
        let mut found = select.query([pos])?;
        let Some(row) = found.next()? else { continue };
        let event = events.stored(row)?;
        bytes += event.size();
        if !rows.is_empty() && bytes_max.is_some_and(|it| it < bytes) {
            break;
        }
        rows.push(event);
    }
    Ok(rows)
}

/// Events behind `after` up to and with `up_to`, in the order of `pos`, with a limit in number and
/// bytes; and the place up to which that is all. Damaged ones are left out and reported.
pub(super) fn stream(
    reader: &Reader<'_>,
    (after, up_to): (u64, u64),
    limit: usize,
    bytes_max: usize,
) -> Result<StreamChunk, StoreFault> {
    let sql =
        format!("SELECT {COLUMNS} FROM event_rows WHERE pos > ? AND pos <= ? ORDER BY pos LIMIT ?");
    let mut select = reader.connection.prepare_cached(&sql)?;
    let mut found = select.query(params![after as i64, up_to as i64, limit as i64])?;
    let mut rows = EventRows::new(reader.connection, reader.keys);
    let (mut events, mut bytes, mut seen) = (Vec::new(), 0, 0);
    while let Some(row) = found.next()? {
        let pos = row.get::<_, i64>(0)? as u64;
        seen += 1;
        match rows.stored(row) {
            Ok(event) => {
                bytes += event.size();
                events.push(event);
            }
            Err(fault) => reader.pass_by(fault, Some(pos))?,
        }
        if bytes_max <= bytes || limit <= seen {
            return Ok(StreamChunk { events, to: pos });
        }
    }
    Ok(StreamChunk { events, to: up_to })
}

/// A stretch of events in the order of `pos`.
#[derive(Debug, Clone)]
pub struct StreamChunk {
    /// The events.
    pub events: Vec<Stored>,
    /// There are no others up to and with this place.
    pub to: u64,
}

/// Which stretches of which index hold what is asked for; none when nothing can.
fn prefixes(query: &EventQuery, types: &[Cell], sources: &[Cell]) -> Vec<Prefix> {
    if !query.correlation_ids.is_empty() {
        let marks = marks(query.correlation_ids.len());
        let values = query.correlation_ids.iter().cloned().map(Cell::Text).collect();
        return vec![Prefix { sql: format!("correlation IN ({marks})"), values }];
    }
    let asks_for_words = !query.types.is_empty() || !query.sources.is_empty();
    if asks_for_words && types.len() * sources.len() <= PREFIXES_MAX {
        let pairs = types.iter().flat_map(|kind| sources.iter().map(move |it| (kind, it)));
        let prefix = |(kind, source): (&Cell, &Cell)| Prefix {
            sql: "type = ? AND source = ?".to_owned(),
            values: vec![kind.clone(), source.clone()],
        };
        return pairs.map(prefix).collect();
    }
    let prefix = |it: Priority| Prefix {
        sql: "priority = ?".to_owned(),
        values: vec![Cell::Integer(it as i64)],
    };
    let is_wanted = |it: &Priority| query.priorities.is_empty() || query.priorities.contains(it);
    Priority::ALL.into_iter().filter(is_wanted).map(prefix).collect()
}

/// The codes of `wanted`, or of every word when none is wanted. A word that stands in rows
/// itself stays a word.
fn codes(connection: &Connection, sort: Sort, wanted: &[String]) -> Result<Vec<Cell>, StoreFault> {
    let all = names::all(connection, sort)?;
    if wanted.is_empty() {
        return Ok(all.into_iter().map(|it| Cell::Integer(it.0)).collect());
    }
    let code = |word: &String| match all.iter().find(|it| it.1 == *word) {
        Some((code, _)) => Cell::Integer(*code),
        None => Cell::Text(word.clone()),
    };
    // Each once: two stretches that are the same would list their events twice.
    let wanted: BTreeSet<&String> = wanted.iter().collect();
    Ok(wanted.into_iter().map(code).collect())
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// The rest of the conditions, asked of every row.
fn filter(query: &EventQuery, types: Vec<Cell>, sources: Vec<Cell>) -> (String, Vec<Cell>) {
    let mut sql = VISIBLE.to_owned();
    let mut values: Vec<Cell> = Vec::new();
    let mut any_of = |column: &str, wanted: Vec<Cell>| {
        if !wanted.is_empty() {
            sql += &format!(" AND {column} IN ({})", marks(wanted.len()));
            values.extend(wanted);
        }
    };
    let texts = |it: &[String]| it.iter().cloned().map(Cell::Text).collect::<Vec<_>>();
    any_of("subject", texts(&query.subjects));
    any_of("priority", query.priorities.iter().map(|it| Cell::Integer(*it as i64)).collect());
    // Where the stretch does not say it already. The plus keeps them from choosing the index.
    if !query.types.is_empty() {
        any_of("+type", types);
    }
    if !query.sources.is_empty() {
        any_of("+source", sources);
    }
    if let Some(since) = query.since {
        sql += " AND time >= ?";
        values.push(Cell::Integer(since.0));
    }
    if let Some(until) = query.until {
        sql += " AND time <= ?";
        values.push(Cell::Integer(until.0));
    }
    if let Some(cursor) = query.cursor {
        sql += " AND time <= ? AND (time, pos) < (?, ?)";
        let (time, pos) = (Cell::Integer(cursor.time.0), Cell::Integer(cursor.pos as i64));
        values.extend([time.clone(), time, pos]);
    }
    (sql, values)
}
