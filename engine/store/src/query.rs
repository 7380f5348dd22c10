//! Lists of events: newest first by (time, pos), page after page without gaps or overlap.

use super::StoreFault;
use super::claim::Keys;
use super::condition_sql::{self, ColumnWords};
use super::names::{self, NameKind};
use super::reader::Reader;
use super::record::StoredEvent;
use super::rows::{COLUMNS, EventRow, EventRows};
use super::search_query::{TextMatches, TextSearch};
use kernel::condition::{Comparison, Condition, NumberField, NumberTest, TextField, TextTest};
use kernel::event::Priority;
use kernel::time::Timestamp;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, Row, params, params_from_iter};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;

/// More prefixes of an index than this are not merged; one index is scanned instead.
const PREFIXES_MAX: usize = 200;

/// Rows that are looked at for one page or count, where the index does not know whether they fit;
/// reading them takes at most a fraction of a second.
const SCAN_MAX: usize = if cfg!(test) { 400 } else { 50_000 };
/// Rows that are read and shown to a test for it: each costs several times as much.
const READ_MAX: usize = SCAN_MAX / 5;
/// Rows that stretches of an index find for it, of which most are sorted away.
const FIND_MAX: usize = 10 * SCAN_MAX;
/// Most places that are found at once.
const CHUNK_MAX: usize = 4096;
/// Beyond it events are not counted.
const COUNT_MAX: usize = 10_000;

/// What was sent to the store. A list of targets that the dictionary had no room for stands in its
/// row, and has the store's name in it.
pub(super) const VISIBLE: &str = "(targets IN (SELECT code FROM names WHERE kind = 3)
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
    /// Any of these ids, of whatever source.
    pub ids: Vec<String>,
    /// Not before, by the sender's clock.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only those for which this holds, as far as it says.
    pub condition: Option<Condition>,
    /// Only those in whose texts this is found.
    pub search: Option<TextSearch>,
    /// At most so many.
    pub limit: usize,
    /// No more once they hold so many bytes; the first is always there.
    pub bytes_max: Option<usize>,
    /// Behind this place.
    pub cursor: Option<Cursor>,
    /// The oldest first, and not the newest.
    pub is_oldest_first: bool,
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
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The events.
    pub rows: Vec<StoredEvent>,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
    /// How many rows were looked at, where that were too many to go on to the end of the page.
    pub looked_at: Option<usize>,
    /// Events that arrived before were not searched: the index does not have their texts yet.
    pub searched_since: Option<Timestamp>,
}

/// How many events there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventCount {
    /// So many were counted.
    pub events: usize,
    /// Whether these are all.
    pub is_exact: bool,
}

/// One equality that begins an index.
struct Prefix {
    sql: String,
    values: Vec<Cell>,
}

/// Says of the row of an event that fits a query whether it is wanted; `None` where the row is not
/// what it should be.
pub type EventTest<'a> = &'a (dyn Fn(&mut EventRow<'_, '_>) -> Option<bool> + 'a);

pub(super) fn events(
    connection: &Connection,
    keys: Keys,
    query: &EventQuery,
    is_wanted: EventTest<'_>,
) -> Result<Page, StoreFault> {
    let limit = query.limit.clamp(1, 1000);
    let mut page = Page { next: query.cursor, ..Page::default() };
    let mut bytes = 0;
    let rows = RowScan { connection, keys, query, first: limit + 1, test: Some(is_wanted) };
    let (ended, searched_since) = rows.run(|place, _, event| {
        if let Some(event) = event {
            let size = event.size();
            let is_too_large =
                !page.rows.is_empty() && query.bytes_max.is_some_and(|it| it < bytes + size);
            if page.rows.len() == limit || is_too_large {
                return ControlFlow::Break(());
            }
            bytes += size;
            page.rows.push(event);
        }
        page.next = Some(place);
        ControlFlow::Continue(())
    })?;
    page.searched_since = searched_since;
    match ended {
        ScanEnd::AllSeen => page.next = None,
        ScanEnd::Stopped => {}
        ScanEnd::TooMany(looked_at) => page.looked_at = Some(looked_at),
    }
    Ok(page)
}

/// How many events fit, up to a limit.
pub(super) fn count(
    connection: &Connection,
    keys: Keys,
    query: &EventQuery,
    is_wanted: Option<EventTest<'_>>,
) -> Result<EventCount, StoreFault> {
    let query = &EventQuery { cursor: None, ..query.clone() };
    let mut events = 0;
    let rows = RowScan { connection, keys, query, first: 1000, test: is_wanted };
    let (ended, searched_since) = rows.run(|_, is_wanted, _| {
        if is_wanted {
            if events == COUNT_MAX {
                return ControlFlow::Break(());
            }
            events += 1;
        }
        ControlFlow::Continue(())
    })?;
    let is_whole = searched_since.is_none();
    Ok(EventCount { events, is_exact: is_whole && matches!(ended, ScanEnd::AllSeen) })
}

/// How a walk over the rows came to its end.
enum ScanEnd {
    AllSeen,
    /// Nobody wanted more.
    Stopped,
    /// After so many rows, before the end.
    TooMany(usize),
}

/// A walk over the rows in the order of a query.
struct RowScan<'a> {
    connection: &'a Connection,
    keys: Keys,
    query: &'a EventQuery,
    /// How many rows are looked at first.
    first: usize,
    /// Asked of the rows that fit, and what it wants is read. Without it, all are wanted and none
    /// is read.
    test: Option<EventTest<'a>>,
}

impl RowScan<'_> {
    /// Walks part by part, with every place, whether the row there is wanted, and the event where
    /// it is and is read. Says also since when texts were searched, where that is not all.
    fn run(
        &self,
        visit: impl FnMut(Cursor, bool, Option<StoredEvent>) -> ControlFlow<()>,
    ) -> Result<(ScanEnd, Option<Timestamp>), StoreFault> {
        // One moment for all of it: retention takes nothing between the two looks at the rows.
        let _moment = self.connection.unchecked_transaction()?;
        let search = self.query.search.as_ref();
        let matches =
            search.map(|search| TextMatches::find(self.connection, search)).transpose()?;
        let since = matches.as_ref().and_then(|matches| matches.since);
        let ended = match narrowed(self.query) {
            Some(query) => self.walk(&query, matches.as_ref(), visit)?,
            None => ScanEnd::AllSeen,
        };
        Ok((ended, since))
    }

    fn walk(
        &self,
        query: &EventQuery,
        matches: Option<&TextMatches<'_>>,
        mut visit: impl FnMut(Cursor, bool, Option<StoredEvent>) -> ControlFlow<()>,
    ) -> Result<ScanEnd, StoreFault> {
        let connection = self.connection;
        let types = WantedWords::find(connection, NameKind::Type, query)?;
        let sources = WantedWords::find(connection, NameKind::Source, query)?;
        let prefixes = match matches.and_then(TextMatches::few) {
            Some(places) => places_prefix(places),
            None => prefixes(query, &types, &sources),
        };
        let filter = filter(query, &types, &sources);
        let (mut cursor, mut part) = (query.cursor, self.first);
        let (mut looked_at, mut read, mut found) = (0, 0, 0);
        let sql = format!("SELECT {COLUMNS} FROM event_rows WHERE pos = ?");
        let mut select = connection.prepare_cached(&sql)?;
        let mut events = EventRows::new(connection, self.keys);
        while !prefixes.is_empty() {
            let (places, cost) = match matches.filter(|matches| matches.few().is_none()) {
                Some(matches) => {
                    self.searched_places(query, matches, &prefixes, &filter, cursor, part)?
                }
                None => (self.places(query, &prefixes, &filter, cursor, part)?, 0),
            };
            for (place, fits) in &places {
                let (mut is_wanted, mut event) = (*fits, None);
                if let Some(test) = self.test.filter(|_| *fits) {
                    // What sorts them sees only their places, so a page of large events costs no
                    // more memory than what it may hold.
                    let mut rows = select.query([place.pos as i64])?;
                    event = match rows.next()? {
                        Some(row) => events.wanted(row, test)?,
                        None => None,
                    };
                    is_wanted = event.is_some();
                    read += 1;
                }
                if visit(*place, is_wanted, event).is_break() {
                    return Ok(ScanEnd::Stopped);
                }
                (cursor, looked_at) = (Some(*place), looked_at + 1);
                if READ_MAX <= read {
                    return Ok(ScanEnd::TooMany(looked_at));
                }
            }
            // Each stretch of an index finds as many as all of them together.
            found += part * prefixes.len() + cost;
            if places.len() < part {
                break;
            }
            if SCAN_MAX <= looked_at || FIND_MAX <= found {
                return Ok(ScanEnd::TooMany(looked_at));
            }
            part = part.max((CHUNK_MAX / prefixes.len()).min(4 * part));
        }
        Ok(ScanEnd::AllSeen)
    }

    /// The next places where what is searched occurs often: of each the index says whether it is
    /// one of them, and only those are looked at. Says also what that cost, in places found.
    fn searched_places(
        &self,
        query: &EventQuery,
        matches: &TextMatches<'_>,
        prefixes: &[Prefix],
        (filter, filter_values): &(String, Vec<Cell>),
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<(Cursor, bool)>, usize), StoreFault> {
        let anything = ("1".to_owned(), Vec::new());
        let mut places = self.places(query, prefixes, &anything, cursor, limit)?;
        let of: Vec<Cursor> = places.iter().map(|it| it.0).collect();
        let (found, cost) = matches.among(&of)?;
        let sql = format!(
            "WITH found (place) AS (SELECT value FROM json_each(?))
             SELECT place FROM found CROSS JOIN event_rows ON pos = place WHERE {filter}"
        );
        let mut select = self.connection.prepare(&sql)?;
        let values = std::iter::once(Cell::Text(json!(found).to_string()));
        let values = params_from_iter(values.chain(filter_values.iter().cloned()));
        let fitting = select.query_map(values, |row| Ok(row.get::<_, i64>(0)? as u64))?;
        let fitting: BTreeSet<u64> = fitting.collect::<Result<_, _>>()?;
        places.iter_mut().for_each(|(place, fits)| *fits = fitting.contains(&place.pos));
        Ok((places, usize::try_from(cost).unwrap_or(usize::MAX)))
    }

    /// The next places in the order of the query, and whether what is there fits.
    fn places(
        &self,
        query: &EventQuery,
        prefixes: &[Prefix],
        (filter, filter_values): &(String, Vec<Cell>),
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<(Cursor, bool)>, StoreFault> {
        let (span, span_values) = span(query, cursor);
        let way = if query.is_oldest_first { "ASC" } else { "DESC" };
        // Places come off the index alone; the rest of a row is looked at once they are in order.
        let mut values = Vec::new();
        let stretches = prefixes.iter().map(|prefix| {
            values.extend(prefix.values.iter().chain(&span_values).cloned());
            format!(
                "SELECT pos, time FROM event_rows
                 WHERE {}{span} ORDER BY time {way}, pos {way} LIMIT {limit}",
                prefix.sql,
            )
        });
        let stretches: Vec<String> = stretches.collect();
        let found = match &*stretches {
            // It is in order already.
            [one] => one.clone(),
            all => format!(
                "SELECT * FROM ({}) ORDER BY 2 {way}, 1 {way} LIMIT {limit}",
                all.join(") UNION ALL SELECT * FROM (")
            ),
        };
        let sql = format!(
            "WITH found (place, at) AS MATERIALIZED ({found})
             SELECT place, at, ({filter}) FROM found CROSS JOIN event_rows ON pos = place"
        );
        values.extend(filter_values.iter().cloned());
        let place = |row: &Row<'_>| {
            let (pos, time) = (row.get::<_, i64>(0)? as u64, Timestamp(row.get(1)?));
            // What is neither true nor false does not fit.
            Ok((Cursor { time, pos }, row.get::<_, Option<bool>>(2)?.unwrap_or(false)))
        };
        let mut select = self.connection.prepare(&sql)?;
        let found = select.query_map(params_from_iter(values), place)?;
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        // They are in order already, but SQLite does not promise it.
        found.sort_by_key(|(place, _)| (place.time, place.pos));
        if !query.is_oldest_first {
            found.reverse();
        }
        Ok(found)
    }
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
    pub events: Vec<StoredEvent>,
    /// There are no others up to and with this place.
    pub to: u64,
}

/// The same query, which asks by an index also for what its condition says; `None` when nothing can
/// fit.
fn narrowed(query: &EventQuery) -> Option<EventQuery> {
    let mut query = query.clone();
    let Some(condition) = query.condition.take() else { return Some(query) };
    for part in condition.parts() {
        match part {
            Condition::Number(NumberField::Time, NumberTest::Is(by, time)) => {
                let (least, most) = bounds(*by, *time);
                query.since = query.since.max(least.map(Timestamp));
                let until = most.map(Timestamp);
                query.until = [query.until, until].into_iter().flatten().min();
            }
            Condition::Number(NumberField::Priority, test) if query.priorities.is_empty() => {
                let passes = |priority: &Priority| test.holds(*priority as i64);
                query.priorities = Priority::ALL.into_iter().filter(passes).collect();
                if query.priorities.is_empty() {
                    return None;
                }
            }
            Condition::Text(TextField::CorrelationId, test) if query.correlation_ids.is_empty() => {
                query.correlation_ids = texts_of(test);
            }
            Condition::Text(TextField::Id, test) if query.ids.is_empty() => {
                query.ids = texts_of(test);
            }
            _ => {}
        }
    }
    query.condition = Some(condition);
    Some(query)
}

/// The least and the greatest number that compare so.
fn bounds(by: Comparison, number: i64) -> (Option<i64>, Option<i64>) {
    match by {
        Comparison::Equal => (Some(number), Some(number)),
        Comparison::Unequal => (None, None),
        Comparison::Less => (None, Some(number.saturating_sub(1))),
        Comparison::LessEqual => (None, Some(number)),
        Comparison::Greater => (Some(number.saturating_add(1)), None),
        Comparison::GreaterEqual => (Some(number), None),
    }
}

/// The only texts that pass, where these are few; else none.
fn texts_of(test: &TextTest) -> Vec<String> {
    match test {
        TextTest::Is(Comparison::Equal, text) => vec![text.clone()],
        TextTest::IsIn(all, true) if !all.contains(&None) && all.len() <= PREFIXES_MAX => {
            all.iter().flatten().cloned().collect()
        }
        _ => Vec::new(),
    }
}

/// What is wanted of a column that holds codes.
struct WantedWords {
    /// Every word with its code.
    all: Vec<(i64, String)>,
    /// The cells of those that are wanted.
    cells: Vec<Cell>,
    /// Whether these are some and not all.
    are_some: bool,
}

impl WantedWords {
    /// The codes of the words that are asked for, or of every word when none is. A word that is in
    /// rows itself stays a word.
    fn find(
        connection: &Connection,
        kind: NameKind,
        query: &EventQuery,
    ) -> Result<Self, StoreFault> {
        let all = names::all(connection, kind)?;
        let (field, wanted) = match kind {
            NameKind::Source => (TextField::Source, &query.sources),
            _ => (TextField::Kind, &query.types),
        };
        let parts = query.condition.iter().flat_map(Condition::parts);
        let tests: Vec<&TextTest> = parts
            .filter_map(|part| match part {
                Condition::Text(of, test) if *of == field => Some(test),
                _ => None,
            })
            .collect();
        let passes = |word: &str| tests.iter().all(|test| test.holds(Some(word)));
        if wanted.is_empty() {
            // Words without a code are in no list.
            let are_some = !tests.is_empty() && all.len() < names::WORDS_MAX;
            let fits = |it: &&(i64, String)| !are_some || passes(&it.1);
            let cells = all.iter().filter(fits).map(|it| Cell::Integer(it.0)).collect();
            return Ok(WantedWords { cells, are_some, all });
        }
        let code = |word: &String| match all.iter().find(|it| it.1 == *word) {
            Some((code, _)) => Cell::Integer(*code),
            None => Cell::Text(word.clone()),
        };
        // Each once: two stretches that are the same would list their events twice.
        let wanted: BTreeSet<&String> = wanted.iter().filter(|it| passes(it)).collect();
        let cells = wanted.into_iter().map(code).collect();
        Ok(WantedWords { cells, are_some: true, all })
    }
}

/// Which stretches of which index hold what is asked for; none when nothing can.
fn prefixes(query: &EventQuery, types: &WantedWords, sources: &WantedWords) -> Vec<Prefix> {
    for (column, wanted) in [("id", &query.ids), ("correlation", &query.correlation_ids)] {
        if !wanted.is_empty() {
            let values = wanted.iter().cloned().map(Cell::Text).collect();
            return vec![Prefix { sql: format!("{column} IN ({})", marks(wanted.len())), values }];
        }
    }
    let asks_for_words = types.are_some || sources.are_some;
    let (types, sources) = (&types.cells, &sources.cells);
    if asks_for_words && types.len() * sources.len() <= PREFIXES_MAX {
        let pairs = types.iter().flat_map(|kind| sources.iter().map(move |source| (kind, source)));
        let prefix = |(kind, source): (&Cell, &Cell)| Prefix {
            sql: "type = ? AND source = ?".to_owned(),
            values: vec![kind.clone(), source.clone()],
        };
        return pairs.map(prefix).collect();
    }
    let prefix = |priority: Priority| Prefix {
        sql: "priority = ?".to_owned(),
        values: vec![Cell::Integer(priority as i64)],
    };
    let is_wanted =
        |priority: &Priority| query.priorities.is_empty() || query.priorities.contains(priority);
    Priority::ALL.into_iter().filter(is_wanted).map(prefix).collect()
}

/// These places and no others.
fn places_prefix(places: &[u64]) -> Vec<Prefix> {
    let sql = "pos IN (SELECT value FROM json_each(?))".to_owned();
    let values = vec![Cell::Text(json!(places).to_string())];
    if places.is_empty() { Vec::new() } else { vec![Prefix { sql, values }] }
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// The rest of the conditions, asked of every row.
fn filter(query: &EventQuery, types: &WantedWords, sources: &WantedWords) -> (String, Vec<Cell>) {
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
    any_of("+correlation", texts(&query.correlation_ids));
    any_of("+id", texts(&query.ids));
    any_of(
        "priority",
        query.priorities.iter().map(|priority| Cell::Integer(*priority as i64)).collect(),
    );
    // Where the stretch does not say it already. The plus keeps them from choosing the index.
    if !query.types.is_empty() {
        any_of("+type", types.cells.clone());
    }
    if !query.sources.is_empty() {
        any_of("+source", sources.cells.clone());
    }
    if let Some(condition) = &query.condition {
        let words = ColumnWords { types: &types.all, sources: &sources.all };
        sql += " AND ";
        condition_sql::write(condition, &words, &mut sql, &mut values);
    }
    (sql, values)
}

/// The stretch of time, and what is behind the last page.
fn span(query: &EventQuery, cursor: Option<Cursor>) -> (String, Vec<Cell>) {
    let mut sql = String::new();
    let mut values: Vec<Cell> = Vec::new();
    if let Some(since) = query.since {
        sql += " AND time >= ?";
        values.push(Cell::Integer(since.0));
    }
    if let Some(until) = query.until {
        sql += " AND time <= ?";
        values.push(Cell::Integer(until.0));
    }
    if let Some(cursor) = cursor {
        let sign = if query.is_oldest_first { ">" } else { "<" };
        sql += &format!(" AND time {sign}= ? AND (time, pos) {sign} (?, ?)");
        let (time, pos) = (Cell::Integer(cursor.time.0), Cell::Integer(cursor.pos as i64));
        values.extend([time.clone(), time, pos]);
    }
    (sql, values)
}
