//! What is old goes, a few rows at a time, while writing goes on.
//!
//! Age counts from `received`, never from the sender's clock. Each rule remembers how far it has
//! looked, so a sweep reads every row at most once per rule, and needs no index.

use super::names::{self, Sort};
use super::policy::{Evict, Keep};
use super::writer::Writer;
use super::{StoreFault, rows};
use crate::event::Priority;
use crate::language::glob_fits;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Most rows that one transaction takes.
const CHUNK: i64 = 500;

/// How far the running sweep has come.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next one begins, on the monotonic clock.
    due: Duration,
    is_running: bool,
    is_merged: bool,
    /// The rule that it is at; the one behind the last is for what only passes through.
    rule: usize,
    /// How far it has looked for this rule, and the first event that had to stay.
    at: Option<u64>,
    held: Option<u64>,
    /// By rule, up to where no later sweep needs to look again.
    looked: HashMap<usize, u64>,
    evicting: Evicting,
    pub(super) forgetting: super::forget::Forgetting,
}

/// How far it has come with what goes because the store is too large.
#[derive(Debug, Default)]
struct Evicting {
    level: usize,
    after: u64,
    is_done: bool,
}

impl Sweep {
    /// The policy changed: every event is looked at again.
    pub(super) fn begin_anew(&mut self) {
        *self = Sweep::default();
    }

    fn next_rule(&mut self) {
        self.rule += 1;
        (self.at, self.held) = (None, None);
    }
}

/// Whether there is more to do at once.
type More = Result<bool, StoreFault>;

impl Writer {
    /// Sweeps in chunks while there is time and nobody waits.
    pub(super) fn sweep_if_due(&mut self, has_time: &dyn Fn() -> bool) {
        let now = self.env.clock.monotonic();
        let is_trusted = self.guard.clock.is_trusted();
        if !is_trusted || (!self.sweep.is_running && now < self.sweep.due) {
            return;
        }
        if !self.sweep.is_running {
            self.begin_sweep();
        }
        while has_time() && self.commands.is_empty() {
            if !self.step() {
                return;
            }
        }
    }

    /// Sweeps to the end.
    pub(super) fn sweep_fully(&mut self) {
        if !self.guard.clock.is_trusted() {
            return;
        }
        self.begin_sweep();
        while self.step() {}
    }

    fn begin_sweep(&mut self) {
        let before = std::mem::take(&mut self.sweep);
        let Sweep { due, looked, forgetting, .. } = before;
        self.sweep = Sweep { is_running: true, due, looked, forgetting, ..Sweep::default() };
    }

    /// One chunk. False when the sweep is over.
    fn step(&mut self) -> bool {
        let more = self.status.broken().is_none()
            && self.sweep_chunk().unwrap_or_else(|fault| {
                tracing::warn!(reason = %fault, "retention was interrupted; tried again later");
                self.note(&fault);
                false
            });
        if !more {
            self.sweep.is_running = false;
            self.sweep.due = self.env.clock.monotonic() + self.policy.sweep_every;
            self.count_rows().ok();
        }
        more
    }

    fn sweep_chunk(&mut self) -> More {
        if !self.sweep.is_merged {
            // What is deleted must be in `seen`, or a crash would forget that it came before.
            self.claims.merge(&mut self.connection)?;
            self.sweep.is_merged = true;
        }
        while self.sweep.rule <= self.policy.keep.len() {
            if self.sweep_rule()? {
                return Ok(true);
            }
            self.sweep.next_rule();
        }
        if self.shrink_to_size()?
            || self.sweep_letters()?
            || self.sweep_state()?
            || self.forget_chunk()?
        {
            return Ok(true);
        }
        self.give_back_space()?;
        Ok(false)
    }

    /// Takes one chunk of what the rule no longer keeps. What waits for its delivery stays and is
    /// passed by; the next sweep comes back to it.
    fn sweep_rule(&mut self) -> More {
        let rule = self.sweep.rule;
        let age = self.policy.keep.get(rule).map_or(self.policy.passing_keep, |it| it.age);
        let cutoff = self.env.clock.wall().minus(age).0;
        let looked = self.sweep.looked.get(&rule).copied().unwrap_or(0);
        let found = candidates(&self.connection, self.sweep.at.unwrap_or(looked), cutoff)?;
        let Some(last) = found.last().map(|it| it.pos) else { return Ok(false) };
        let taken = self.ruled_by(rule, &found)?;
        let held = self.delete(&taken)?;
        self.sweep.held = self.sweep.held.or(held);
        self.sweep.at = Some(last);
        self.sweep.looked.insert(rule, self.sweep.held.map_or(last, |it| it - 1));
        Ok(true)
    }

    fn ruled_by(&self, rule: usize, found: &[Candidate]) -> Result<Vec<u64>, StoreFault> {
        let words = |sort| -> Result<HashMap<i64, String>, StoreFault> {
            Ok(names::all(&self.connection, sort)?.into_iter().collect())
        };
        let (kinds, targets) = (words(Sort::Type)?, words(Sort::Targets)?);
        let is_ruled_here = |row: &&Candidate| {
            let mut sent_to = word(&targets, &row.targets).split_whitespace();
            let first = match sent_to.any(|it| it == &*self.settings.name) {
                true => {
                    let kind = word(&kinds, &row.kind);
                    self.policy.keep.iter().position(|it| fits(it, row.priority, kind))
                }
                false => Some(self.policy.keep.len()),
            };
            first == Some(rule)
        };
        Ok(found.iter().filter(is_ruled_here).map(|it| it.pos).collect())
    }

    /// Deletes what has no delivery pending, with what hangs on it. Answers the lowest `pos` that
    /// had to stay.
    fn delete(&mut self, positions: &[u64]) -> Result<Option<u64>, StoreFault> {
        let transaction = self.connection.transaction()?;
        let mut held = None;
        let mut taken = rows::meta(&transaction, "taken")?;
        let merged = rows::meta(&transaction, "merged")? as i64;
        {
            let mut seq_of = transaction
                .prepare_cached("SELECT coalesce(seq, pos) FROM event_rows WHERE pos = ?")?;
            let mut waits = transaction.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM delivery_rows WHERE seq = ? AND state IN (0, 3))",
            )?;
            let mut outbox =
                transaction.prepare_cached("DELETE FROM delivery_rows WHERE seq = ?")?;
            let mut events = transaction
                .prepare_cached("DELETE FROM event_rows WHERE pos = ? AND pinned = 0")?;
            for pos in positions {
                let seq: i64 = seq_of.query_row([*pos as i64], |it| it.get(0))?;
                if merged < seq || waits.query_row([seq], |it| it.get::<_, bool>(0))? {
                    held = held.or(Some(*pos));
                } else if 0 < events.execute([*pos as i64])? {
                    outbox.execute([seq])?;
                    taken = taken.max(*pos);
                }
            }
        }
        rows::set_meta(&transaction, "taken", taken)?;
        transaction.commit()?;
        self.figures.taken_pos.store(taken, Ordering::Relaxed);
        Ok(held)
    }

    /// Evicts one chunk when the database is larger than it may be, passing by what must stay.
    fn shrink_to_size(&mut self) -> More {
        let Some(size_max) = self.policy.size_max else { return Ok(false) };
        if self.sweep.evicting.is_done {
            return Ok(false);
        }
        let one = |sql: &str| self.connection.query_row(sql, [], |it| it.get::<_, i64>(0));
        let used = one("PRAGMA page_count")? - one("PRAGMA freelist_count")?;
        let is_over = size_max < (used * one("PRAGMA page_size")?) as u64;
        let Evicting { level, after, .. } = self.sweep.evicting;
        // The first level alone stands for all where the oldest go, whatever they are.
        let (lowest, levels) = match self.policy.evict {
            Evict::Oldest => (String::new(), 1),
            Evict::OldestLowestPriority => (format!("AND priority = {level}"), Priority::ALL.len()),
        };
        if !is_over || levels <= level {
            self.sweep.evicting.is_done = true;
            return Ok(false);
        }
        let sql = format!(
            "SELECT pos FROM event_rows WHERE pinned = 0 AND pos > ? {lowest}
             ORDER BY pos LIMIT {CHUNK}"
        );
        let oldest: Vec<u64> = self
            .connection
            .prepare(&sql)?
            .query_map([after as i64], |it| Ok(it.get::<_, i64>(0)? as u64))?
            .collect::<Result<_, _>>()?;
        self.delete(&oldest)?;
        self.sweep.evicting = match oldest.last() {
            Some(last) => Evicting { level, after: *last, is_done: false },
            None => Evicting { level: level + 1, ..Evicting::default() },
        };
        Ok(true)
    }

    fn sweep_letters(&mut self) -> More {
        let cutoff = self.env.clock.wall().minus(self.policy.dead_keep).0;
        let merged = rows::meta(&self.connection, "merged")? as i64;
        let old = self.connection.execute(
            "DELETE FROM dead_letters WHERE coalesce(seq, 0) <= ? AND id IN
                (SELECT id FROM dead_letters WHERE last < ? ORDER BY id LIMIT ?)",
            params![merged, cutoff, CHUNK],
        )?;
        let many = self.connection.execute(
            "DELETE FROM dead_letters WHERE coalesce(seq, 0) <= ? AND id IN
                (SELECT id FROM dead_letters ORDER BY id DESC LIMIT ? OFFSET ?)",
            params![merged, CHUNK, self.policy.dead_max as i64],
        )?;
        Ok(CHUNK as usize <= old.max(many))
    }

    fn sweep_state(&mut self) -> More {
        let now = self.env.clock.wall().0;
        let gone = self.connection.execute(
            "DELETE FROM state WHERE expires IS NOT NULL AND expires < ?
                AND (owner, key) IN (SELECT owner, key FROM state INDEXED BY state_expires
                    WHERE expires IS NOT NULL AND expires < ? LIMIT ?)",
            params![now, now, CHUNK],
        )?;
        Ok(CHUNK as usize <= gone)
    }

    /// Stepped to its end: one step frees one page.
    fn give_back_space(&mut self) -> Result<(), StoreFault> {
        if !self.policy.vacuum {
            return Ok(());
        }
        let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum(4096)")?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        Ok(())
    }
}

struct Candidate {
    pos: u64,
    priority: Priority,
    kind: Cell,
    targets: Cell,
}

/// What a column with a code or the word itself says.
fn word<'a>(words: &'a HashMap<i64, String>, cell: &'a Cell) -> &'a str {
    match cell {
        Cell::Integer(code) => words.get(code).map_or("", String::as_str),
        Cell::Text(word) => word,
        _ => "",
    }
}

/// The next rows behind `looked` that are older than `cutoff`, up to the first younger one.
fn candidates(
    connection: &Connection,
    looked: u64,
    cutoff: i64,
) -> Result<Vec<Candidate>, StoreFault> {
    let mut select = connection.prepare_cached(
        "SELECT pos, priority, type, received, targets FROM event_rows
         WHERE pos > ? ORDER BY pos LIMIT ?",
    )?;
    let mut found_rows = select.query(params![looked as i64, CHUNK])?;
    let mut found = Vec::new();
    while let Some(row) = found_rows.next()? {
        if cutoff <= row.get::<_, i64>(3)? {
            break;
        }
        found.push(Candidate {
            pos: row.get::<_, i64>(0)? as u64,
            priority: rows::priority(row.get(1)?),
            kind: row.get(2)?,
            targets: row.get(4)?,
        });
    }
    Ok(found)
}

fn fits(keep: &Keep, priority: Priority, kind: &str) -> bool {
    keep.priority.is_none_or(|it| it == priority)
        && keep.kind.as_ref().is_none_or(|it| glob_fits(it, kind))
}
