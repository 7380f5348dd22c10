//! Words to search for: what people write, and where the index finds it.
//!
//! *Invariant:* whatever is written becomes an expression that the index can read: everything but
//! quotes, a `-` before a word and a `*` behind one is text to be found.

use super::query::Cursor;
use super::search_fields::{SearchFields, plain};
use super::text_index::TextIndex;
use super::{StoreFault, StoreTrouble};
use kernel::time::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest text to search for, in bytes.
pub const SEARCH_MAX: usize = 256;
/// Letters before a `*`, at least: fewer begin most words there are.
const PREFIX_MIN: usize = 2;
/// Events that are found by their words alone; where more fit, the newest are looked at one by one.
const FEW_MAX: usize = if cfg!(test) { 100 } else { 10_000 };
/// Looking up one place costs as much as reading so many at which the words are found.
const PLACE_COST: u64 = 200;
/// And reading so many of these as much as finding one place in an index of events.
const FOUND_COST: u64 = 4;

/// What is to be found in the texts of an event, as the index reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchWords {
    expression: String,
}

/// A search in the texts of some fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSearch {
    /// What is to be found.
    pub words: SearchWords,
    /// Where; an index of other fields is not asked.
    pub fields: SearchFields,
}

/// One word or phrase of a text to search for.
struct SearchTerm {
    text: String,
    is_without: bool,
    is_prefix: bool,
}

impl SearchWords {
    /// Reads words, which all must occur, `"phrases"`, `prefix*` and `-without`. The error says
    /// what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if SEARCH_MAX < text.len() {
            return Err(format!("at most {SEARCH_MAX} bytes long"));
        }
        let terms = terms(&plain(text));
        let letters = |term: &SearchTerm| {
            let last = term.text.rsplit(|letter: char| !letter.is_alphanumeric()).next();
            last.map_or(0, |last| last.chars().count())
        };
        if terms.iter().any(|term| term.is_prefix && letters(term) < PREFIX_MIN) {
            return Err(format!("words with at least {PREFIX_MIN} letters before a `*`"));
        }
        let part = |is_without: bool, by: &str| {
            let of = terms.iter().filter(|term| term.is_without == is_without);
            of.map(SearchTerm::expression).collect::<Vec<_>>().join(by)
        };
        let (with, without) = (part(false, " AND "), part(true, " OR "));
        let expression = match (with.is_empty(), without.is_empty()) {
            (true, _) => {
                return Err("a word that must occur, such as `door`, `\"front door\"`, \
                            `deliv*` or `door -back`"
                    .to_owned());
            }
            (false, true) => with,
            (false, false) => format!("({with}) NOT ({without})"),
        };
        Ok(SearchWords { expression })
    }
}

impl SearchTerm {
    fn expression(&self) -> String {
        let star = if self.is_prefix { " *" } else { "" };
        format!("\"{}\"{star}", self.text.replace('"', "\"\""))
    }
}

/// The words and phrases of a text; what has neither letters nor digits says nothing.
fn terms(text: &str) -> Vec<SearchTerm> {
    let (mut terms, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let is_without = rest.starts_with('-');
        rest = &rest[usize::from(is_without)..];
        let (text, behind) = match rest.strip_prefix('"') {
            Some(phrase) => phrase.split_once('"').unwrap_or((phrase, "")),
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        let (text, is_prefix, behind) = match (text.strip_suffix('*'), behind.strip_prefix('*')) {
            (Some(text), _) if !rest.starts_with('"') => (text, true, behind),
            (_, Some(behind)) => (text, true, behind),
            _ => (text, false, behind),
        };
        if text.contains(char::is_alphanumeric) {
            terms.push(SearchTerm { text: text.to_owned(), is_without, is_prefix });
        }
        rest = behind.trim_start();
    }
    terms
}

/// Where a search finds what it is for.
pub(super) struct TextMatches<'a> {
    connection: &'a Connection,
    expression: &'a str,
    /// Every place, where they are few.
    few: Option<Vec<u64>>,
    /// Events that arrived before are not in the index yet.
    pub(super) since: Option<Timestamp>,
}

impl<'a> TextMatches<'a> {
    /// Asks the index, within the transaction in which the events are read.
    pub(super) fn find(
        connection: &'a Connection,
        search: &'a TextSearch,
    ) -> Result<Self, StoreFault> {
        let expression = &search.words.expression;
        let index = TextIndex::load(connection)?;
        let filled_from = match index {
            TextIndex::Kept { fields, filled_from } if fields == search.fields => filled_from,
            _ => {
                let since = after_last(connection)?;
                return Ok(TextMatches { connection, expression, few: Some(Vec::new()), since });
            }
        };
        let since = match filled_from {
            0 => None,
            first => match arrival(connection, &format!("WHERE {first} <= pos ORDER BY pos"))? {
                None => after_last(connection)?,
                since => since,
            },
        };
        let sql = format!(
            "SELECT rowid FROM event_texts WHERE event_texts MATCH ? LIMIT {}",
            FEW_MAX + 1
        );
        let mut select = connection.prepare_cached(&sql)?;
        let places = select.query_map([expression], |row| Ok(row.get::<_, i64>(0)? as u64))?;
        let places: Vec<u64> = places.collect::<Result<_, _>>().map_err(in_time)?;
        let few = (places.len() <= FEW_MAX).then_some(places);
        Ok(TextMatches { connection, expression, few, since })
    }

    /// Every place, where they are few.
    pub(super) fn few(&self) -> Option<&[u64]> {
        self.few.as_deref()
    }

    /// Which of these places are found, and what that cost, in places found by an index of events.
    pub(super) fn among(&self, places: &[Cursor]) -> Result<(BTreeSet<u64>, u64), StoreFault> {
        let all = places.iter().map(|place| place.pos);
        let (Some(first), Some(last)) = (all.clone().min(), all.clone().max()) else {
            return Ok((BTreeSet::new(), 0));
        };
        let (span, count) = (last - first, places.len() as u64);
        let (sql, ranges): (_, Vec<(u64, u64)>) = if span <= PLACE_COST * count {
            ("rowid BETWEEN ? AND ?", vec![(first, last)])
        } else {
            ("rowid = ? AND ?", all.map(|pos| (pos, 1)).collect())
        };
        let cost = span.min(PLACE_COST * count) / FOUND_COST;
        let sql = format!("SELECT rowid FROM event_texts WHERE event_texts MATCH ? AND {sql}");
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut found = BTreeSet::new();
        for (first, last) in ranges {
            let values = params![self.expression, first as i64, last as i64];
            let mut rows = select.query(values)?;
            while let Some(row) = rows.next()? {
                found.insert(row.get::<_, i64>(0)? as u64);
            }
        }
        Ok((found, cost))
    }
}

/// The beginning of very many words is found by reading all that begin so.
fn in_time(fault: rusqlite::Error) -> StoreFault {
    match fault.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => StoreFault::new(
            StoreTrouble::Busy,
            "the search takes too long; write more letters before `*`",
        ),
        _ => fault.into(),
    }
}

/// A moment after the last event arrived, as far as it can be told: times are shown in
/// milliseconds.
fn after_last(connection: &Connection) -> Result<Option<Timestamp>, StoreFault> {
    let last = arrival(connection, "ORDER BY pos DESC")?;
    Ok(last.map(|last| last.plus(Duration::from_millis(1))))
}

/// When the first of some events arrived.
fn arrival(connection: &Connection, which: &str) -> Result<Option<Timestamp>, StoreFault> {
    let sql = format!("SELECT received FROM event_rows {which} LIMIT 1");
    let mut select = connection.prepare(&sql)?;
    Ok(select.query_row([], |row| row.get(0)).optional()?.map(Timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = SearchWords::parse(text);
        let found = found.map_or_else(|wanted| format!("! {wanted}"), |words| words.expression);
        assert_eq!(found, expected);
    }

    #[test]
    fn words_phrases_prefixes_and_what_must_not_occur_are_read() {
        check("front door", r#""front" AND "door""#);
        check(r#" "front door"  back "#, r#""front door" AND "back""#);
        check("deliv* -night", r#"("deliv" *) NOT ("night")"#);
        check(r#"a -"b c" -d*"#, r#"! words with at least 2 letters before a `*`"#);
        check(r#"a -"b c" -de*"#, r#"("a") NOT ("b c" OR "de" *)"#);
        check(r#""front do"* x"#, r#""front do" * AND "x""#);
    }

    #[test]
    fn everything_else_is_text() {
        check("a OR b", r#""a" AND "OR" AND "b""#);
        check("NEAR(a, b) col:x ^y", r#""NEAR(a," AND "b)" AND "col:x" AND "^y""#);
        check(r#"say"hi" "open"#, r#""say""hi""" AND "open""#);
        check("a\0b \u{f8ff}c", r#""a" AND "b" AND "c""#);
        check("-- a * - \"\" ! front_door", r#""a" AND "front_door""#);
        check("a-b -c-d", r#"("a-b") NOT ("c-d")"#);
    }

    #[test]
    fn what_finds_nothing_or_too_much_says_what_is_allowed() {
        let words = "! a word that must occur, such as `door`, `\"front door\"`, `deliv*` or \
                     `door -back`";
        for text in ["", "  ", "-night", "\"\"", "!? *", "-\"a b\""] {
            check(text, words);
        }
        check(&"x".repeat(257), "! at most 256 bytes long");
        check("x*", "! words with at least 2 letters before a `*`");
        check("front_d*", "! words with at least 2 letters before a `*`");
        check("dö*", "\"dö\" *");
    }
}
