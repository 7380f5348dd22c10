//! What stages remember, in the writer's transaction.
//!
//! *Invariant:* the tables are all there is. Whatever stands here besides is derived from them, and
//! is restored when a transaction fails.

use super::StoreFault;
use super::claim::{Claim, EntryHash};
use super::insert::{Batch, RowHash, Written};
use super::memory::{Emission, MemoryFigures, MemoryNode, Moment, Note, NoteRole, Notes, Step};
use super::record::{StoreEntry, WriteReceipt};
use super::rollup::EventTally;
use kernel::additions::Additions;
use kernel::event::{Body, DataAt, Envelope, Event};
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many events may be sent because of one another.
const DEPTH_MAX: u32 = 16;
/// Most stages that look again before one event, and in one transaction of their own.
const DUE_MAX: usize = 4096;
/// Of the keys beyond the limit, this part of it is forgotten at once.
const EVICTED_PART: u64 = 16;
/// What is remembered is not written again only to say that it was looked at, within this time.
const TOUCH_MICROS: i64 = 60_000_000;
/// Where keys come from of which no event came; the time of events never passes there.
const EXPECTED: &str = " expected";
/// No time at all.
const NEVER: i64 = i64::MAX;

/// What is known of the tables without looking.
#[derive(Debug, Clone, Default)]
pub(super) struct Memories {
    /// The stages of the running generation, by code.
    nodes: BTreeMap<i64, Arc<MemoryNode>>,
    codes: HashMap<Arc<str>, i64>,
    counts: HashMap<i64, KeyCounts>,
    lanes: HashMap<Arc<str>, LaneState>,
    generation: u64,
    /// When the first one wants to look again by the wall clock, where that is known.
    wake: Option<i64>,
    /// What the wall clock was ahead of the steady one, in microseconds, as of the last look.
    pub(super) offset: Option<i64>,
}

/// Rows of one stage.
#[derive(Debug, Clone, Copy, Default)]
struct KeyCounts {
    keys: u64,
    /// Those that want to look again at some time.
    timers: u64,
}

impl KeyCounts {
    /// Counts a row that changes: whether it was there and had a time, and the same from now on.
    fn change(&mut self, before: Option<bool>, after: Option<bool>) {
        let count = |number: &mut u64, was: bool, is: bool| match (was, is) {
            (false, true) => *number += 1,
            (true, false) => *number = number.saturating_sub(1),
            _ => {}
        };
        count(&mut self.keys, before.is_some(), after.is_some());
        count(&mut self.timers, before == Some(true), after == Some(true));
    }
}

/// Where events come from.
#[derive(Debug, Clone, Copy)]
struct LaneState {
    code: i64,
    /// Nothing is due before this.
    due: i64,
}

/// A row of `remembered`.
struct RememberedRow {
    kept: String,
    due: Option<i64>,
    wake: Option<i64>,
    touched: i64,
}

/// What is judged.
struct JudgedKey<'a> {
    code: i64,
    node: &'a Arc<MemoryNode>,
    key: &'a str,
    lane: &'a Arc<str>,
    parent_depth: u32,
}

impl Memories {
    /// Whether any stage remembers anything.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// When somebody has to ask again, by the wall clock; `i64::MAX` where nobody has.
    pub(super) fn wake(&self) -> i64 {
        self.wake.unwrap_or(NEVER)
    }

    /// Shows how many keys and timers each has.
    pub(super) fn publish(&self) {
        for (code, node) in &self.nodes {
            let counts = self.counts.get(code).copied().unwrap_or_default();
            node.figures.keys.store(counts.keys, Ordering::Relaxed);
            node.figures.timers.store(counts.timers, Ordering::Relaxed);
        }
    }

    /// Nothing is known of when somebody wants to look again.
    pub(super) fn forget_wake(&mut self) {
        self.wake = None;
        self.lanes.values_mut().for_each(|lane| lane.due = i64::MIN);
    }

    /// Finds out when somebody has to ask again, where that is not known.
    pub(super) fn find_wake(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        if self.wake.is_none() && !self.is_empty() {
            let sql = "SELECT min(wake) FROM remembered WHERE wake IS NOT NULL";
            let first: Option<i64> =
                connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            self.wake = Some(first.unwrap_or(NEVER));
        }
        Ok(())
    }

    fn lane(
        &mut self,
        connection: &Connection,
        name: &Arc<str>,
    ) -> Result<&mut LaneState, StoreFault> {
        if !self.lanes.contains_key(name) {
            let sql = "SELECT code FROM lanes WHERE name = ?";
            let mut select = connection.prepare_cached(sql)?;
            let code = match select.query_row([&**name], |row| row.get(0)).optional()? {
                Some(code) => code,
                None => {
                    let sql = "INSERT INTO lanes (name) VALUES (?)";
                    connection.prepare_cached(sql)?.execute([&**name])?;
                    connection.last_insert_rowid()
                }
            };
            self.lanes.insert(name.clone(), LaneState { code, due: i64::MIN });
        }
        Ok(self.lanes.get_mut(name).expect("it was just put there"))
    }
}

impl Batch<'_> {
    /// The stages that remember from now on. What others remembered is forgotten.
    pub(super) fn remember(&mut self, generation: u64, nodes: &[Arc<MemoryNode>]) -> Written {
        let sql = "SELECT code, name, print FROM memories";
        let mut select = self.connection.prepare_cached(sql)?;
        let known: Vec<(i64, String, String)> = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        let offset = self.memories.offset;
        let mut memories = Memories { generation, offset, ..Memories::default() };
        std::mem::swap(&mut memories.lanes, &mut self.memories.lanes);
        for (code, name, print) in known {
            let same = nodes.iter().find(|node| *node.name == *name && node.print == print);
            match same {
                Some(node) => {
                    memories.codes.insert(node.name.clone(), code);
                }
                None => {
                    self.run("DELETE FROM remembered WHERE memory = ?", [code])?;
                    self.run("DELETE FROM memories WHERE code = ?", [code])?;
                }
            }
        }
        let mut expecting = Vec::new();
        for node in nodes {
            let code = match memories.codes.get(&node.name) {
                Some(code) => *code,
                None => {
                    let sql = "INSERT INTO memories (name, print) VALUES (?, ?)";
                    self.run(sql, params![&*node.name, node.print])?;
                    self.connection.last_insert_rowid()
                }
            };
            let sql = "SELECT count(*), count(due), count(*) FILTER
                         (WHERE lane = (SELECT code FROM lanes WHERE name = ?2))
                       FROM remembered WHERE memory = ?1";
            let mut select = self.connection.prepare_cached(sql)?;
            let (keys, timers, only_expected): (i64, i64, i64) = select
                .query_row(params![code, EXPECTED], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            memories.codes.insert(node.name.clone(), code);
            let counts = KeyCounts { keys: keys as u64, timers: timers as u64 };
            memories.counts.insert(code, counts);
            memories.nodes.insert(code, node.clone());
            if node.is_on && (0 < only_expected || !node.memory.expected().is_empty()) {
                expecting.push(node.clone());
            }
        }
        memories.forget_wake();
        *self.memories = memories;
        self.follow_clock()?;
        for node in expecting {
            self.expect(&node)?;
        }
        Ok(WriteReceipt::Done)
    }

    /// Begins with the keys that a stage expects and of which nothing is known, and forgets those
    /// that it does not expect any more and of which no event came.
    fn expect(&mut self, node: &Arc<MemoryNode>) -> Result<(), StoreFault> {
        let code = self.memories.codes[&node.name];
        let lane: Arc<str> = EXPECTED.into();
        let lane_code = self.memories.lane(self.connection, &lane)?.code;
        let mut known = BTreeSet::new();
        {
            let sql = "SELECT key FROM remembered WHERE memory = ? AND lane = ?";
            let mut select = self.connection.prepare_cached(sql)?;
            let mut rows = select.query([code, lane_code])?;
            while let Some(row) = rows.next()? {
                known.insert(row.get::<_, String>(0)?);
            }
        }
        let time = self.now;
        for key in node.memory.expected() {
            known.remove(key);
            let row = self.row(code, key)?;
            if row.is_none() {
                let step = node.memory.expect(&Moment { key, time, now: time });
                let judged = JudgedKey { code, node, key, lane: &lane, parent_depth: 0 };
                self.keep_step(&judged, None, &step, time)?;
            }
        }
        for key in known {
            let row = self.row(code, &key)?;
            let judged = JudgedKey { code, node, key: &key, lane: &lane, parent_depth: 0 };
            self.keep_step(&judged, row.as_ref(), &Step::default(), time)?;
        }
        Ok(())
    }

    /// An event with what stages noted about it: judged only when it is new.
    pub(super) fn judged(&mut self, notes: &Notes, entry: &StoreEntry, hash: EntryHash) -> Written {
        let seq = seq_of(entry);
        let depth = match (hash.claim, seq) {
            (Some(claim), _) => match self.known(claim, entry)? {
                Some(known) => return Ok(known),
                None => 0,
            },
            (None, Some(seq)) => match self.take_emitted(seq)? {
                Some(depth) => depth,
                None => return Ok(WriteReceipt::Duplicate { seq }),
            },
            (None, None) => 0,
        };
        self.pass_time(notes)?;
        let mut outputs = Vec::new();
        let (passing, others): (Vec<&Note>, Vec<&Note>) =
            notes.all.iter().partition(|it| it.role.is_passing());
        for note in passing {
            let Some(step) = self.step(note, notes, depth)? else { continue };
            match &note.role {
                _ if !step.is_dropped => {
                    let output = step.output.map(|output| (note.node.name.clone(), output.into()));
                    outputs.extend(output);
                }
                NoteRole::PassesOrTag(tag) => outputs.push((note.node.name.clone(), tag.clone())),
                role => {
                    if let NoteRole::PassesOrLetter(letter) = role {
                        self.letter(&letter.make())?;
                    }
                    return self.dropped(entry, note);
                }
            }
        }
        let receipt = self.write(entry, hash)?;
        for note in others {
            let step = self.step(note, notes, depth)?;
            if let Some(output) = step.and_then(|step| step.output) {
                outputs.push((note.node.name.clone(), output.into()));
            }
        }
        let WriteReceipt::Accepted { seq } = receipt else { return Ok(receipt) };
        let generation = self.memories.generation;
        for (stage, output) in &outputs {
            self.keep_result(seq, stage, generation, output)?;
        }
        Ok(WriteReceipt::Judged { seq, outputs })
    }

    /// Who came first with this id.
    fn known(&self, claim: Claim, entry: &StoreEntry) -> Result<Option<WriteReceipt>, StoreFault> {
        let Some(envelope) = envelope_of(entry) else { return Ok(None) };
        Ok(self.claims.judge(self.connection, claim, envelope)?.known())
    }

    fn dropped(&mut self, entry: &StoreEntry, note: &Note) -> Written {
        if let Some(seq) = seq_of(entry) {
            self.leave_inbox(seq)?;
            self.effects.frees_numbers = true;
        }
        if let Some(envelope) = envelope_of(entry) {
            self.rollups.add(&EventTally::of(envelope, "discarded"));
        }
        Ok(WriteReceipt::Dropped { node: note.node.name.clone() })
    }

    /// An event that a stage sent goes on its way; how many were sent before it because of one
    /// another.
    fn take_emitted(&self, seq: u64) -> Result<Option<u32>, StoreFault> {
        let sql = "DELETE FROM emitted WHERE seq = ? RETURNING depth";
        let mut delete = self.connection.prepare_cached(sql)?;
        Ok(delete.query_row([seq as i64], |row| row.get(0)).optional()?)
    }

    /// The time of an event has come: whoever wanted to look again by then, does.
    fn pass_time(&mut self, notes: &Notes) -> Result<(), StoreFault> {
        for (lane, time) in &notes.lanes {
            let state = *self.memories.lane(self.connection, lane)?;
            if state.due <= time.0 {
                self.wake_due_keys(lane, state.code, time.0)?;
            }
        }
        Ok(())
    }

    fn wake_due_keys(&mut self, lane: &Arc<str>, code: i64, until: i64) -> Result<(), StoreFault> {
        let sql = "SELECT memory, key, due FROM remembered WHERE lane = ?1 AND due <= ?2
                   ORDER BY due, memory, key LIMIT 1";
        for _ in 0..DUE_MAX {
            // One after the other: a step may set the next time of its own key.
            let first: Option<(i64, String, i64)> = self
                .connection
                .prepare_cached(sql)?
                .query_row([code, until], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((memory, key, due)) = first else { break };
            self.wake_key(memory, &key, due, lane)?;
        }
        let sql = "SELECT min(due) FROM remembered WHERE lane = ? AND due IS NOT NULL";
        let next: Option<i64> =
            self.connection.prepare_cached(sql)?.query_row([code], |row| row.get(0))?;
        self.memories.lane(self.connection, lane)?.due = next.unwrap_or(NEVER);
        Ok(())
    }

    /// Whoever wanted to look again by now, by the wall clock, does.
    pub(super) fn wake(&mut self) -> Written {
        let sql = "SELECT r.memory, r.key, r.due, l.name FROM remembered AS r
                   JOIN lanes AS l ON l.code = r.lane
                   WHERE r.wake <= ? ORDER BY r.wake, r.due, r.memory, r.key LIMIT 1";
        self.memories.wake = None;
        for _ in 0..DUE_MAX {
            let first: Option<(i64, String, i64, String)> = self
                .connection
                .prepare_cached(sql)?
                .query_row([self.now.0], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            let Some((memory, key, due, lane)) = first else { break };
            self.wake_key(memory, &key, due, &lane.into())?;
        }
        Ok(WriteReceipt::Done)
    }

    fn wake_key(
        &mut self,
        code: i64,
        key: &str,
        due: i64,
        lane: &Arc<str>,
    ) -> Result<(), StoreFault> {
        let row = self.row(code, key)?;
        let (Some(node), Some(row)) = (self.memories.nodes.get(&code).cloned(), row) else {
            // Nobody remembers any more what it was about.
            return self.forget_key(code, key);
        };
        let time = Timestamp(due);
        let step = match node.is_on {
            true => node.memory.wake(&row.kept, &Moment { key, time, now: self.now }),
            false => Step { kept: Some(row.kept.clone()), ..Step::default() },
        };
        let judged = JudgedKey { code, node: &node, key, lane, parent_depth: 0 };
        self.keep_step(&judged, Some(&row), &step, time)
    }

    /// Lets a stage judge what it noted; `None` where the stage is gone by now.
    fn step(&mut self, note: &Note, notes: &Notes, depth: u32) -> Result<Option<Step>, StoreFault> {
        let node = &note.node;
        let Some(code) = self.memories.codes.get(&node.name).copied() else { return Ok(None) };
        if self.memories.nodes.get(&code).is_none_or(|it| it.print != node.print) {
            return Ok(None);
        }
        let (lane, time) = &notes.lanes[note.lane];
        let row = self.row(code, &note.key)?;
        let moment = Moment { key: &note.key, time: *time, now: self.now };
        let step = node.memory.step(row.as_ref().map(|row| &*row.kept), &note.noted, &moment);
        let judged = JudgedKey { code, node, key: &note.key, lane, parent_depth: depth };
        self.keep_step(&judged, row.as_ref(), &step, *time)?;
        Ok(Some(step))
    }

    fn row(&self, code: i64, key: &str) -> Result<Option<RememberedRow>, StoreFault> {
        let sql = "SELECT kept, due, wake, touched FROM remembered WHERE memory = ? AND key = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let row = select.query_row(params![code, key], |row| {
            Ok(RememberedRow {
                kept: row.get(0)?,
                due: row.get(1)?,
                wake: row.get(2)?,
                touched: row.get(3)?,
            })
        });
        Ok(row.optional()?)
    }

    /// Writes what a step left, and what it sends.
    fn keep_step(
        &mut self,
        judged: &JudgedKey<'_>,
        row: Option<&RememberedRow>,
        step: &Step,
        time: Timestamp,
    ) -> Result<(), StoreFault> {
        let before = row.map(|row| row.due.is_some());
        let after = step.kept.as_ref().map(|_| step.due.is_some());
        self.memories.counts.entry(judged.code).or_default().change(before, after);
        match &step.kept {
            Some(kept) => self.keep_row(judged, row, kept, step.due, time)?,
            None if row.is_some() => {
                self.forget_key(judged.code, judged.key)?;
                if before == Some(true) {
                    self.memories.wake = None;
                }
            }
            None => {}
        }
        MemoryFigures::add(&judged.node.figures.late, u64::from(step.is_late));
        for emission in &step.emits {
            self.emit(judged, emission)?;
        }
        Ok(())
    }

    fn forget_key(&self, code: i64, key: &str) -> Result<(), StoreFault> {
        let sql = "DELETE FROM remembered WHERE memory = ? AND key = ?";
        self.run(sql, params![code, key]).map(drop)
    }

    fn keep_row(
        &mut self,
        judged: &JudgedKey<'_>,
        row: Option<&RememberedRow>,
        kept: &str,
        due: Option<Timestamp>,
        time: Timestamp,
    ) -> Result<(), StoreFault> {
        let (due, now) = (due.map(|due| due.0), self.now.0);
        let with_same_due = row.filter(|row| row.due == due);
        let is_same = |row: &RememberedRow| {
            row.kept == kept && now.abs_diff(row.touched) < TOUCH_MICROS.unsigned_abs()
        };
        if with_same_due.is_some_and(is_same) {
            return Ok(());
        }
        // Where the time of events stands still, the wall clock stands in for it: as long after
        // the arrival as it would have been after the event. One that comes late puts nothing off.
        let wake = due.map(|due| now.saturating_add(due.saturating_sub(time.0).max(0)));
        let known = with_same_due.and_then(|it| it.wake);
        let wake = wake.map(|wake| known.map_or(wake, |it| it.min(wake)));
        let lane = self.memories.lane(self.connection, judged.lane)?;
        lane.due = lane.due.min(due.unwrap_or(NEVER));
        let lane = lane.code;
        self.run(
            "INSERT OR REPLACE INTO remembered (memory, key, lane, touched, due, wake, kept)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![judged.code, judged.key, lane, now, due, wake, kept],
        )?;
        match wake {
            Some(wake) if self.memories.wake.is_some_and(|it| wake < it) => {
                self.memories.wake = Some(wake);
            }
            None if row.is_some_and(|row| row.due.is_some()) => self.memories.wake = None,
            _ => {}
        }
        if row.is_none() {
            self.make_room(judged)?;
        }
        Ok(())
    }

    /// Forgets the keys that had no event for the longest time.
    fn make_room(&mut self, judged: &JudgedKey<'_>) -> Result<(), StoreFault> {
        let counts = self.memories.counts.entry(judged.code).or_default();
        let keys_max = judged.node.keys_max;
        if counts.keys <= keys_max {
            return Ok(());
        }
        let surplus = (counts.keys - keys_max).max(keys_max / EVICTED_PART);
        let sql = "DELETE FROM remembered WHERE memory = ?1 AND key IN
                   (SELECT key FROM remembered WHERE memory = ?1 AND key != ?2
                    ORDER BY touched, key LIMIT ?3) RETURNING due IS NOT NULL";
        let mut delete = self.connection.prepare_cached(sql)?;
        let mut gone = delete.query(params![judged.code, judged.key, surplus as i64])?;
        let mut evicted = 0;
        while let Some(row) = gone.next()? {
            counts.change(Some(row.get(0)?), None);
            evicted += 1;
        }
        self.memories.wake = None;
        MemoryFigures::add(&judged.node.figures.evicted, evicted);
        Ok(())
    }

    /// An event of a stage's own: accepted like one that came in, in this transaction.
    fn emit(&mut self, judged: &JudgedKey<'_>, emission: &Emission) -> Result<(), StoreFault> {
        let depth = judged.parent_depth + 1;
        if DEPTH_MAX < depth {
            let node = &judged.node.name;
            tracing::warn!(stage = %node, "`{node}` did not send an event, to stop a loop: {DEPTH_MAX} events in a row had caused one another; check which nodes react to each other");
            return Ok(());
        }
        let seq = self.next();
        let lane = self.memories.lane(self.connection, judged.lane)?.code;
        let envelope = Envelope {
            id: format!("{}-{seq}", judged.node.name).into(),
            kind: emission.kind.clone(),
            source: judged.node.name.clone(),
            subject: emission.subject.clone(),
            time: emission.time.in_millis(),
            received: self.now,
            priority: judged.node.priority,
            correlation_id: None,
            parent_id: emission.parent_id.clone(),
        };
        let body = Body {
            bytes: emission.data.to_string().into_bytes().into(),
            data: DataAt::Alone(None),
        };
        let hash = self.keys.of(&envelope, &body);
        self.claims.take(hash.claim.expect("an event claims its id"), seq);
        let hash = RowHash::of(hash, &body);
        let event = Event {
            seq,
            generation: self.memories.generation,
            envelope,
            body,
            data: Arc::default(),
            raw: None,
            enrich: Additions::default(),
            globals: Arc::default(),
        };
        self.accept(&event, seq, hash)?;
        self.run(
            "INSERT INTO emitted (seq, depth, lane) VALUES (?, ?, ?)",
            params![seq as i64, depth, lane],
        )?;
        self.effects.emitted.push(seq);
        MemoryFigures::add(&judged.node.figures.emitted, 1);
        Ok(())
    }
}

/// The number of an event that was accepted before.
fn seq_of(entry: &StoreEntry) -> Option<u64> {
    match entry.bare() {
        StoreEntry::Finish(it) => Some(it.event.seq),
        StoreEntry::Discard { event, .. } | StoreEntry::Take(event) => Some(event.seq),
        StoreEntry::DeadLetter { event, .. } if event.seq != 0 => Some(event.seq),
        _ => None,
    }
}

fn envelope_of(entry: &StoreEntry) -> Option<&Envelope> {
    match entry.bare() {
        StoreEntry::Record(it) | StoreEntry::Finish(it) => Some(&it.event.envelope),
        StoreEntry::Accept(event)
        | StoreEntry::Take(event)
        | StoreEntry::Discard { event, .. }
        | StoreEntry::DeadLetter { event, .. } => Some(&event.envelope),
        _ => None,
    }
}
