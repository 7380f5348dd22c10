//! What is too old goes, a few rows at a time, between commits.
//!
//! Each rule remembers how far it has looked, so that a row is read once for each rule and no
//! index is needed. What waits for a delivery is passed by, and looked at again when that has
//! ended. The deletions of a slice are one transaction.

use super::deleted::Deleted;
use super::names::NameKind;
use super::open::FLOOR;
use super::rule_book::{RuleBook, waits_sql};
use super::rules::{RuleOfEvent, rule_text};
use super::writer::Writer;
use super::{StoreFault, rows};
use kernel::env::Clock;
use kernel::event::Priority;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most rows that one slice looks at.
pub(super) const ROWS_MAX: usize = 500;
/// How long one slice takes at most, but for its last few rows.
const SLICE: Duration = Duration::from_millis(8);
/// Rows between two looks at the clock.
const ROWS_BETWEEN: usize = 16;
/// Events that wait for a delivery and are remembered; of more, only from where on to look again.
const HELD_MAX: usize = 100_000;
/// A clock cannot have been further ahead than this by accident of its own.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// A bit of upkeep: when it has to end.
pub(super) struct Slice {
    clock: Arc<dyn Clock>,
    end: Duration,
}

impl Slice {
    pub(super) fn begin(clock: &Arc<dyn Clock>) -> Self {
        Slice { clock: clock.clone(), end: clock.monotonic() + SLICE }
    }

    pub(super) fn is_over(&self) -> bool {
        self.end <= self.clock.monotonic()
    }
}

/// The few columns that decide.
pub(super) struct ScannedRow {
    pub(super) pos: u64,
    pub(super) seq: u64,
    pub(super) priority: Priority,
    kind: Cell,
    targets: Cell,
    pub(super) received: i64,
    /// What it takes on the disk, about.
    pub(super) bytes: u64,
}

const ROW: &str = "SELECT pos, coalesce(seq, pos), priority, type, targets, received, \
     octet_length(enrich) + coalesce(octet_length(data), 0) + octet_length(body) FROM event_rows";

fn scanned_row(row: &Row<'_>) -> rusqlite::Result<ScannedRow> {
    Ok(ScannedRow {
        pos: row.get::<_, i64>(0)? as u64,
        seq: row.get::<_, i64>(1)? as u64,
        priority: rows::priority(row.get(2)?),
        kind: row.get(3)?,
        targets: row.get(4)?,
        received: row.get(5)?,
        bytes: row.get::<_, i64>(6)? as u64,
    })
}

/// The next rows after `from`, in the order of `pos`.
pub(super) fn scan(
    connection: &Connection,
    from: u64,
    slice: &Slice,
) -> Result<Vec<ScannedRow>, StoreFault> {
    let sql = format!("{ROW} WHERE pos > ? ORDER BY pos LIMIT ?");
    let mut select = connection.prepare_cached(&sql)?;
    let mut found = select.query(params![from as i64, ROWS_MAX as i64])?;
    let mut scanned = Vec::new();
    while let Some(row) = found.next()? {
        scanned.push(scanned_row(row)?);
        if scanned.len().is_multiple_of(ROWS_BETWEEN) && slice.is_over() {
            break;
        }
    }
    Ok(scanned)
}

/// What the codes in rows mean; a code never changes its meaning.
#[derive(Debug, Default)]
pub(super) struct RowWords {
    types: HashMap<i64, Arc<str>>,
    visible: HashMap<i64, bool>,
}

impl RowWords {
    /// The type of a row's event.
    pub(super) fn kind(
        &mut self,
        connection: &Connection,
        row: &ScannedRow,
    ) -> Result<Arc<str>, StoreFault> {
        let code = match &row.kind {
            Cell::Integer(code) => *code,
            Cell::Text(word) => return Ok(word.as_str().into()),
            _ => return Ok("".into()),
        };
        if let Some(word) = self.types.get(&code) {
            return Ok(word.clone());
        }
        let word: Arc<str> = lookup(connection, code)?.map_or_else(|| "".into(), |it| it.1.into());
        self.types.insert(code, word.clone());
        Ok(word)
    }

    /// Whether a row's event was sent to the store.
    pub(super) fn is_visible(
        &mut self,
        connection: &Connection,
        row: &ScannedRow,
        store: &str,
    ) -> Result<bool, StoreFault> {
        let code = match &row.targets {
            Cell::Integer(code) => *code,
            Cell::Text(list) => return Ok(list.split_whitespace().any(|word| word == store)),
            _ => return Ok(false),
        };
        if let Some(known) = self.visible.get(&code) {
            return Ok(*known);
        }
        let is_visible =
            lookup(connection, code)?.is_some_and(|it| it.0 == NameKind::Targets as i64);
        self.visible.insert(code, is_visible);
        Ok(is_visible)
    }
}

fn lookup(connection: &Connection, code: i64) -> Result<Option<(i64, String)>, StoreFault> {
    let mut select = connection.prepare_cached("SELECT kind, text FROM names WHERE code = ?")?;
    Ok(select.query_row([code], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// Events that are too old and wait for a delivery, by number.
#[derive(Debug, Default)]
pub(super) struct HeldRows {
    waiting: HashMap<u64, u64>,
    /// Those for which one delivery less is waited.
    released: Vec<u64>,
    /// The first that was not remembered.
    forgotten: Option<u64>,
}

impl HeldRows {
    fn hold(&mut self, row: &ScannedRow) {
        if self.waiting.len() < HELD_MAX {
            self.waiting.insert(row.seq, row.pos);
        } else {
            self.forgotten =
                Some(self.forgotten.map_or(row.pos, |forgotten| forgotten.min(row.pos)));
        }
    }

    /// One delivery less is waited for these.
    pub(super) fn release(&mut self, seqs: &[u64]) {
        self.released.extend(seqs.iter().filter_map(|seq| self.waiting.remove(seq)));
    }

    fn has_released(&self) -> bool {
        !self.released.is_empty()
    }

    /// Where to look again for what was not remembered.
    pub(super) fn take_forgotten(&mut self) -> Option<u64> {
        self.forgotten.take()
    }
}

/// What a slice did.
pub(super) struct SliceResult {
    pub(super) deleted: u64,
    /// Whether there is nothing more of its kind to do now.
    pub(super) is_done: bool,
}

/// How far a deletion came.
struct DeletedRows {
    gone: u64,
    /// Rows that were dealt with, gone or held.
    handled: usize,
}

impl Writer {
    /// Deletes one slice of what `rule` no longer keeps.
    pub(super) fn sweep_rule(
        &mut self,
        rule: RuleOfEvent,
        slice: &Slice,
    ) -> Result<SliceResult, StoreFault> {
        let now = self.env.clock.wall();
        let Some(age) = self.book().age_of(rule) else {
            return Ok(SliceResult { deleted: 0, is_done: true });
        };
        let (cutoff, ahead) = (now.minus(age).0, now.plus(AHEAD_MAX).0);
        let from = self.sweep.looked(rule);
        let scanned = scan(&self.connection, from, slice)?;
        let is_young = |row: &ScannedRow| cutoff <= row.received && row.received <= ahead;
        let old = scanned.iter().position(is_young).unwrap_or(scanned.len());
        let mut doomed = Vec::new();
        for row in scanned[..old].iter().filter(|it| it.received < cutoff) {
            if self.book().rule_of(row)? == rule && self.book().may_go(row, now)? {
                doomed.push(row);
            }
        }
        let deleted = self.delete(rule, &doomed, slice)?;
        let looked = match doomed.get(deleted.handled) {
            Some(next) => next.pos - 1,
            None => scanned[..old].last().map_or(from, |it| it.pos),
        };
        self.sweep.set_looked(rule, looked);
        self.note_deleted(rule, deleted.gone);
        let is_done = old < scanned.len() || scanned.is_empty();
        let is_done = is_done && deleted.handled == doomed.len();
        Ok(SliceResult { deleted: deleted.gone, is_done })
    }

    pub(super) fn note_deleted(&mut self, rule: RuleOfEvent, count: u64) {
        let (what, name) = match rule {
            RuleOfEvent::Keep(index) => (Deleted::Event, rule_text(&self.policy.keep[index])),
            _ => (Deleted::Passing, "passing".to_owned()),
        };
        self.deletions.note(what, &name, count, &self.figures);
    }

    /// What decides about rows.
    fn book(&mut self) -> RuleBook<'_> {
        RuleBook {
            connection: &self.connection,
            words: &mut self.sweep.words,
            store: &self.settings.name,
            rules: &self.rules,
            pending: self.pending.as_ref().map(|pending| &pending.rules),
            passing_keep: self.policy.passing_keep,
        }
    }

    /// Looks again at a slice of those whose deliveries have ended.
    pub(super) fn sweep_released(&mut self, slice: &Slice) -> Result<SliceResult, StoreFault> {
        let now = self.env.clock.wall();
        let mut doomed: Vec<(RuleOfEvent, ScannedRow)> = Vec::new();
        while let Some(pos) = self.sweep.held.released.pop() {
            let row = scan_one(&self.connection, pos)?;
            let Some(row) = row else { continue };
            let mut book = self.book();
            let rule = book.rule_of(&row)?;
            let Some(age) = book.age_of(rule) else { continue };
            if row.received < now.minus(age).0 && book.may_go(&row, now)? {
                doomed.push((rule, row));
            }
            if ROWS_MAX <= doomed.len() || slice.is_over() {
                break;
            }
        }
        let mut gone = 0;
        doomed.sort_by_key(|it| it.0);
        for same in doomed.chunk_by(|one, two| one.0 == two.0) {
            let rows: Vec<&ScannedRow> = same.iter().map(|it| &it.1).collect();
            let deleted = self.delete(same[0].0, &rows, slice)?;
            let left = rows[deleted.handled..].iter().map(|row| row.pos);
            self.sweep.held.released.extend(left);
            self.note_deleted(same[0].0, deleted.gone);
            gone += deleted.gone;
        }
        Ok(SliceResult { deleted: gone, is_done: !self.sweep.held.has_released() })
    }

    pub(super) fn has_released(&self) -> bool {
        self.sweep.held.has_released()
    }

    /// Deletes rows with what hangs on them, in their order, as far as time allows. What waits for
    /// a delivery is held; before what is not merged it stops, and the merge begins: after a crash
    /// its id would be free again.
    fn delete(
        &mut self,
        rule: RuleOfEvent,
        doomed: &[&ScannedRow],
        slice: &Slice,
    ) -> Result<DeletedRows, StoreFault> {
        let mut done = DeletedRows { gone: 0, handled: 0 };
        if doomed.is_empty() {
            return Ok(done);
        }
        // What is gone could not be counted again.
        self.write_counts()?;
        let (merged, mut held) = (self.claims.merged, Vec::new());
        let transaction = self.connection.transaction()?;
        let mut taken = rows::meta(&transaction, "taken")?;
        {
            let mut waits = transaction.prepare_cached(waits_sql(rule))?;
            let mut outbox =
                transaction.prepare_cached("DELETE FROM delivery_rows WHERE seq = ?")?;
            let mut events = transaction
                .prepare_cached("DELETE FROM event_rows WHERE pos = ? AND pinned = 0")?;
            let mut texts = match self.index.fields() {
                Some(_) => {
                    Some(transaction.prepare_cached("DELETE FROM event_texts WHERE rowid = ?")?)
                }
                None => None,
            };
            for row in doomed {
                let seq = row.seq as i64;
                // At least one row, or nothing would ever be done.
                let looks = 0 < done.handled && done.handled.is_multiple_of(ROWS_BETWEEN);
                if merged < row.seq || (looks && slice.is_over()) {
                    break;
                }
                if waits.query_row([seq], |row| row.get::<_, bool>(0))? {
                    held.push(*row);
                } else if 0 < events.execute([row.pos as i64])? {
                    outbox.execute([seq])?;
                    if let Some(texts) = &mut texts {
                        texts.execute([row.pos as i64])?;
                    }
                    taken = taken.max(row.pos);
                    done.gone += 1;
                }
                done.handled += 1;
            }
        }
        rows::set_meta(&transaction, "taken", taken)?;
        rows::set_meta(&transaction, FLOOR, self.counter)?;
        transaction.commit()?;
        self.figures.taken_pos.store(taken, Ordering::Relaxed);
        held.into_iter().for_each(|row| self.sweep.held.hold(row));
        if doomed.get(done.handled).is_some_and(|it| merged < it.seq) {
            self.claims.begin_merge();
        }
        Ok(done)
    }

    /// Deletes rows for the sake of room; how many are gone, and the last one dealt with.
    pub(super) fn evict_rows(
        &mut self,
        doomed: &[&ScannedRow],
        slice: &Slice,
    ) -> Result<(u64, Option<u64>), StoreFault> {
        let deleted = self.delete(RuleOfEvent::None, doomed, slice)?;
        self.deletions.note(Deleted::Event, "max-size", deleted.gone, &self.figures);
        let last = deleted.handled.checked_sub(1).and_then(|it| doomed.get(it));
        Ok((deleted.gone, last.map(|it| it.pos)))
    }
}

pub(super) fn scan_one(
    connection: &Connection,
    pos: u64,
) -> Result<Option<ScannedRow>, StoreFault> {
    let mut select = connection.prepare_cached(&format!("{ROW} WHERE pos = ?"))?;
    Ok(select.query_row([pos as i64], scanned_row).optional()?)
}
