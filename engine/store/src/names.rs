//! The dictionary: words that repeat are stored once.

use super::StoreFault;
use foldhash::fast::RandomState as FastHash;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;

/// Most words of one kind; beyond it the word itself stands in the row.
pub(super) const WORDS_MAX: usize = 4096;

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum NameKind {
    Type,
    Source,
    Stage,
    /// A list of targets with the store among them.
    Targets,
    Kind,
    /// A list of targets without the store: the event only passes through.
    Passing,
    /// Why a stage added nothing, where many events share the reason.
    Reason,
}

impl NameKind {
    const COUNT: usize = NameKind::Reason as usize + 1;
}

/// Codes known so far.
#[derive(Default)]
pub(super) struct Names {
    codes: [HashMap<Arc<str>, i64, FastHash>; NameKind::COUNT],
    counts: [usize; NameKind::COUNT],
    /// Made in the running transaction; forgotten when it fails.
    fresh: Vec<(NameKind, Arc<str>)>,
}

impl Names {
    /// How many words there are; the words themselves are read when they are first met.
    pub(super) fn load(connection: &Connection) -> Result<Names, StoreFault> {
        let mut names = Names::default();
        let mut statement = connection.prepare("SELECT kind, count(*) FROM names GROUP BY kind")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let kind = usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX);
            if let Some(count) = names.counts.get_mut(kind) {
                *count = row.get::<_, i64>(1)? as usize;
            }
        }
        Ok(names)
    }

    /// The code of a word, or the word itself when the dictionary is full.
    pub(super) fn cell(
        &mut self,
        connection: &Connection,
        kind: NameKind,
        word: &Arc<str>,
    ) -> Result<Cell, StoreFault> {
        let code = self.code(connection, kind, word)?;
        Ok(code.map_or_else(|| Cell::Text(word.to_string()), Cell::Integer))
    }

    /// The code of a word; `None` when the dictionary is full.
    pub(super) fn code(
        &mut self,
        connection: &Connection,
        kind: NameKind,
        word: &Arc<str>,
    ) -> Result<Option<i64>, StoreFault> {
        if let Some(code) = self.codes[kind as usize].get(word) {
            return Ok(Some(*code));
        }
        let sql = "SELECT code FROM names WHERE kind = ? AND text = ?";
        let mut select = connection.prepare_cached(sql)?;
        let known = select.query_row(params![kind as i64, &**word], |row| row.get(0)).optional()?;
        let code = match known {
            Some(code) => code,
            None if WORDS_MAX <= self.counts[kind as usize] => return Ok(None),
            None => {
                connection
                    .prepare_cached("INSERT INTO names (kind, text) VALUES (?, ?)")?
                    .execute(params![kind as i64, &**word])?;
                self.fresh.push((kind, word.clone()));
                self.counts[kind as usize] += 1;
                connection.last_insert_rowid()
            }
        };
        self.codes[kind as usize].insert(word.clone(), code);
        Ok(Some(code))
    }

    /// Whether any event was ever sent elsewhere than to the store.
    pub(super) fn has_passing(&self) -> bool {
        0 < self.counts[NameKind::Passing as usize]
    }

    pub(super) fn keep(&mut self) {
        self.fresh.clear();
    }

    pub(super) fn undo(&mut self) {
        for (kind, word) in self.fresh.drain(..) {
            self.counts[kind as usize] -= 1;
            self.codes[kind as usize].remove(&word);
        }
    }
}

/// Tells lists of targets without the store apart from those with it; once, for a store that an
/// older engine made.
pub(super) fn mark_passing(connection: &Connection, store: &str) -> Result<(), StoreFault> {
    for (code, list) in all(connection, NameKind::Targets)? {
        if !list.split_whitespace().any(|word| word == store) {
            let sql = "UPDATE names SET kind = ? WHERE code = ?";
            connection.execute(sql, params![NameKind::Passing as i64, code])?;
        }
    }
    Ok(())
}

/// Every word of a kind with its code.
pub(super) fn all(
    connection: &Connection,
    kind: NameKind,
) -> Result<Vec<(i64, String)>, StoreFault> {
    let mut statement =
        connection.prepare_cached("SELECT code, text FROM names WHERE kind = ? ORDER BY code")?;
    let rows = statement.query_map([kind as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
