//! The index of the texts of events, which makes them searchable.
//!
//! An event is written into it by the commit that stores it and taken out by the commit that
//! deletes it. For events that were there before, it is filled backwards, the newest first, and an
//! index that is not wanted any more is removed, both in slices of the upkeep.
//!
//! *Invariant:* it holds the visible events from `filled_from` on that have texts, and no others.

use super::condition_sql::DATA;
use super::connect::{OpenFault, has_table};
use super::policy::RetentionPolicy;
use super::query::VISIBLE;
use super::search_fields::SearchFields;
use super::sweep::{Slice, SliceResult};
use super::upkeep::REST;
use super::writer::Writer;
use super::{OpenError, StoreFault, StoreTrouble};
use kernel::health::HealthProblem;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};

/// Events and bytes of them that one slice reads.
const ROWS_MAX: usize = if cfg!(test) { 7 } else { 500 };
const BYTES_MAX: usize = 1 << 20;
/// Blocks of the index, and sizes of what is in it, that one slice removes.
const BLOCKS: usize = if cfg!(test) { 2 } else { 256 };
const SIZES: usize = if cfg!(test) { 8 } else { 4096 };

/// Words without accents, in whatever case.
const CREATE: &str = "CREATE VIRTUAL TABLE event_texts USING fts5(text, content='',
    contentless_delete=1, tokenize='unicode61 remove_diacritics 2')";
const INSERT: &str = "INSERT INTO event_texts (rowid, text) VALUES (?, ?)";

const MORE: SliceResult = SliceResult { deleted: 0, is_done: false };

/// What there is of the index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum TextIndex {
    /// None.
    #[default]
    Missing,
    /// It holds these texts of events from `filled_from` on; of all when that is 0.
    Kept { fields: SearchFields, filled_from: u64 },
    /// It is being removed.
    Going,
}

impl TextIndex {
    /// As the database has it.
    pub(super) fn load(connection: &Connection) -> Result<Self, StoreFault> {
        let sql = "SELECT fields, filled_from, is_going FROM text_index WHERE id = 1";
        let mut select = connection.prepare_cached(sql)?;
        let row = select.query_row([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
        });
        Ok(match row.optional()? {
            None => TextIndex::Missing,
            Some((fields, filled_from, false)) => match SearchFields::parse(&fields) {
                Some(fields) => TextIndex::Kept { fields, filled_from: filled_from as u64 },
                None => TextIndex::Going,
            },
            Some(_) => TextIndex::Going,
        })
    }

    /// The texts that go into it with an event; `None` where there is no index to keep.
    pub(super) fn fields(&self) -> Option<&SearchFields> {
        match self {
            TextIndex::Kept { fields, .. } => Some(fields),
            TextIndex::Missing | TextIndex::Going => None,
        }
    }
}

/// The index at a start. Without full text there is none, and a file that wants it does not run.
pub(super) fn begin(
    connection: &Connection,
    policy: &RetentionPolicy,
) -> Result<TextIndex, OpenFault> {
    match policy.search.is_some() && !is_possible(connection)? {
        true => Err(OpenFault::Open(OpenError::Create(IMPOSSIBLE.to_owned()))),
        false => Ok(TextIndex::load(connection)?),
    }
}

/// Whether this SQLite was built with full text.
fn is_possible(connection: &Connection) -> Result<bool, StoreFault> {
    let sql = "SELECT sqlite_compileoption_used('ENABLE_FTS5')";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Why there can be no index.
const IMPOSSIBLE: &str = "the SQLite of this engine has no full text (FTS5), which \
     `search` needs: build the engine with the SQLite that comes with it, or remove `search`";

/// Puts the texts of an event that is being stored into the index.
pub(super) fn insert(connection: &Connection, pos: u64, text: &str) -> Result<(), StoreFault> {
    if !text.is_empty() {
        connection.prepare_cached(INSERT)?.execute(params![pos as i64, text])?;
    }
    Ok(())
}

impl Writer {
    /// One slice of bringing the index to what the file says; `None` when there is nothing to do.
    pub(super) fn tend_index(&mut self, slice: &Slice) -> Option<SliceResult> {
        match self.index_slice(slice) {
            Ok(result) => {
                self.store_health().clear("search-failed");
                result
            }
            Err(fault) => {
                self.note(&fault);
                self.sweep.rests_until = self.env.clock.monotonic() + REST;
                let reason = format!("events cannot be made searchable: {fault}");
                let problem = HealthProblem::degraded("search-failed", reason);
                self.store_health().report(problem.advise("it is retried every few seconds"));
                None
            }
        }
    }

    fn index_slice(&mut self, slice: &Slice) -> Result<Option<SliceResult>, StoreFault> {
        match (&self.index, &self.policy.search) {
            (TextIndex::Missing, None) => Ok(None),
            (TextIndex::Missing, Some(fields)) => {
                let fields = fields.clone();
                self.create_index(fields).map(|()| Some(MORE))
            }
            (TextIndex::Kept { fields, filled_from }, wanted) => {
                if wanted.as_ref() != Some(fields) {
                    self.give_up_index()?;
                } else if *filled_from == 0 {
                    return Ok(None);
                } else {
                    let (fields, filled_from) = (fields.clone(), *filled_from);
                    self.fill_index(fields, filled_from, slice)?;
                }
                Ok(Some(MORE))
            }
            (TextIndex::Going, _) => self.remove_index().map(|()| Some(MORE)),
        }
    }

    /// Makes an index for what comes from now on.
    fn create_index(&mut self, fields: SearchFields) -> Result<(), StoreFault> {
        if !is_possible(&self.connection)? {
            return Err(StoreFault::new(StoreTrouble::Other, IMPOSSIBLE));
        }
        let filled_from = self.counter + 1;
        let transaction = self.connection.transaction()?;
        // A table of this name that is not noted is not ours, or what is left of one.
        transaction.execute_batch("DROP TABLE IF EXISTS event_texts")?;
        transaction.execute_batch(CREATE)?;
        let sql = "INSERT INTO text_index (id, fields, filled_from) VALUES (1, ?, ?)";
        transaction.execute(sql, params![fields.word(), filled_from as i64])?;
        transaction.commit()?;
        self.index = TextIndex::Kept { fields, filled_from };
        Ok(())
    }

    /// Adds some events to the index, the newest of those that are not in it.
    fn fill_index(
        &mut self,
        fields: SearchFields,
        filled_from: u64,
        slice: &Slice,
    ) -> Result<(), StoreFault> {
        let transaction = self.connection.transaction()?;
        let (mut found, mut bytes, mut lowest) = (Vec::new(), 0, 0);
        {
            let sql = format!(
                "SELECT pos, {VISIBLE}, {DATA}, enrich FROM event_rows WHERE pos < ?
                 ORDER BY pos DESC LIMIT {ROWS_MAX}"
            );
            let mut select = transaction.prepare_cached(&sql)?;
            let mut rows = select.query([filled_from as i64])?;
            while let Some(row) = rows.next()? {
                let pos: i64 = row.get(0)?;
                // What is damaged has no texts.
                let (data, enrich) = (row.get_ref(2)?.as_str(), row.get_ref(3)?.as_str());
                if let (true, Ok(data), Ok(enrich)) = (row.get(1)?, data, enrich) {
                    bytes += data.len() + enrich.len();
                    found.push((pos as u64, fields.text_of(data, enrich)));
                }
                lowest = pos as u64;
                if BYTES_MAX <= bytes || (found.len().is_multiple_of(16) && slice.is_over()) {
                    break;
                }
            }
        }
        // In the order of their places: so all of them become one part of the index.
        for (pos, text) in found.iter().rev() {
            insert(&transaction, *pos, text)?;
        }
        transaction
            .execute("UPDATE text_index SET filled_from = ? WHERE id = 1", [lowest as i64])?;
        transaction.commit()?;
        self.index = TextIndex::Kept { fields, filled_from: lowest };
        Ok(())
    }

    /// From now on nothing is written into the index any more.
    pub(super) fn give_up_index(&mut self) -> Result<(), StoreFault> {
        if self.status.take_damaged_index() {
            tracing::warn!("the index for `search` is damaged; it is rebuilt");
        }
        self.connection.execute("UPDATE text_index SET is_going = 1 WHERE id = 1", [])?;
        self.index = TextIndex::Going;
        Ok(())
    }

    /// Removes a part of the index. All of it at once would take as long as reading it does.
    fn remove_index(&mut self) -> Result<(), StoreFault> {
        // Its tables may only be changed by the index itself, which removes all or nothing.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
        let removed = self.remove_blocks();
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        if !removed? {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        transaction.execute_batch("DROP TABLE IF EXISTS event_texts; DELETE FROM text_index;")?;
        transaction.commit()?;
        self.index = TextIndex::Missing;
        Ok(())
    }

    /// Whether all but a little of the index is removed.
    fn remove_blocks(&mut self) -> Result<bool, StoreFault> {
        for (table, most) in [("event_texts_data", BLOCKS), ("event_texts_docsize", SIZES)] {
            if !has_table(&self.connection, table)? {
                continue;
            }
            // The first few rows say what the others are.
            let sql = format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE 10 < id LIMIT {most})"
            );
            if self.connection.execute(&sql, [])? == most {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
