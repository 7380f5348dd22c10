//! Counts by hour of arrival, one upsert per distinct key. Statistics read these and never the
//! events.
//!
//! *Invariant:* what left a row in `event_rows` behind `counted` of `meta` is not counted yet, and
//! everything else is. So counts of stored events may wait in memory for a while: after a crash
//! they are counted from their rows. What leaves no such row goes with the commit that it is in.

use super::claim::Keys;
use super::names::{Names, Sort};
use super::record::{DeadLetter, Stored};
use super::rows::{self, EventRows};
use super::{StoreFault, StoreTrouble};
use kernel::event::{Envelope, Priority, StageResult};
use kernel::time::Timestamp;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const HOUR: i64 = 3_600_000_000;

/// Counts of stored events are written at the latest after this long,
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(5);
/// and when there are this many: so many rows a start reads in a moment.
pub(super) const WRITE_AT: u64 = 20_000;

/// In `meta`: the last number whose event is counted.
const COUNTED: &str = "counted";

/// Something to count.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally {
    /// The time of arrival.
    pub received: Timestamp,
    /// The event's type; empty where none could be read.
    pub kind: Arc<str>,
    /// The event's source.
    pub source: Arc<str>,
    /// Its priority.
    pub priority: Priority,
    /// `stored`, `discarded`, `rejected`, `dead` or `duplicate`.
    pub outcome: &'static str,
}

impl Tally {
    /// An event and what became of it.
    pub fn of(envelope: &Envelope, outcome: &'static str) -> Self {
        Tally {
            received: envelope.received,
            kind: envelope.kind.clone(),
            source: envelope.source.clone(),
            priority: envelope.priority,
            outcome,
        }
    }

    pub(super) fn of_letter(letter: &DeadLetter) -> Self {
        Tally {
            received: letter.first,
            kind: "".into(),
            // Not what the sender calls itself: whoever can send what is refused could fill the
            // dictionary with names.
            source: letter.source_node.clone(),
            priority: Priority::Normal,
            outcome: "rejected",
        }
    }
}

type Key = (i64, Arc<str>, Arc<str>, Priority, &'static str);

type StageKey = (i64, Arc<str>, &'static str);

/// Counts that are not written yet.
#[derive(Default)]
pub(super) struct Rollups {
    events: HashMap<Key, i64>,
    stages: HashMap<StageKey, (i64, i64, i64)>,
    /// Events that can be counted again from their rows.
    stored: u64,
    /// Whether there is something else among them.
    is_urgent: bool,
}

impl Rollups {
    /// Counts what leaves no row that it could be counted from.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.is_urgent = true;
        self.count(tally, 1);
    }

    /// Counts an event that has a row, and what its stages did.
    pub(super) fn add_stored(&mut self, envelope: &Envelope, stages: &[StageResult]) {
        self.stored += 1;
        self.count(&Tally::of(envelope, "stored"), 1);
        let bucket = envelope.received.0.div_euclid(HOUR);
        for it in stages {
            let micros = it.micros as i64;
            self.count_stage((bucket, it.stage.clone(), it.outcome.word()), (1, micros, micros));
        }
    }

    fn count(&mut self, tally: &Tally, n: i64) {
        let bucket = tally.received.0.div_euclid(HOUR);
        let (kind, source) = (tally.kind.clone(), tally.source.clone());
        *self.events.entry((bucket, kind, source, tally.priority, tally.outcome)).or_default() += n;
    }

    fn count_stage(&mut self, key: StageKey, (n, micros, most): (i64, i64, i64)) {
        let sums = self.stages.entry(key).or_default();
        *sums = (sums.0 + n, sums.1 + micros, sums.2.max(most));
    }

    /// Adds what another transaction counted.
    pub(super) fn merge(&mut self, other: Rollups) {
        self.stored += other.stored;
        self.is_urgent |= other.is_urgent;
        for (key, n) in other.events {
            *self.events.entry(key).or_default() += n;
        }
        for (key, sums) in other.stages {
            self.count_stage(key, sums);
        }
    }

    /// How many events wait to be counted.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Whether a crash would lose some of it.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// What a crash left uncounted: the rows behind the last one that was counted.
    pub(super) fn load(
        connection: &Connection,
        keys: Keys,
        counter: u64,
    ) -> Result<Self, StoreFault> {
        let mut rollups = Rollups::default();
        let mut known = connection.prepare("SELECT 1 FROM meta WHERE key = ?")?;
        if !known.exists([COUNTED])? {
            // Of before counts waited: each went with its event.
            rows::set_meta(connection, COUNTED, counter)?;
            return Ok(rollups);
        }
        let counted = rows::meta(connection, COUNTED)?;
        let sql = format!("SELECT {} FROM event_rows WHERE pos > ? ORDER BY pos", rows::COLUMNS);
        let mut select = connection.prepare(&sql)?;
        let mut found = select.query([counted as i64])?;
        let mut events = EventRows::new(connection, keys);
        while let Some(row) = found.next()? {
            match events.stored(row) {
                Ok(Stored { envelope, stages, .. }) => rollups.add_stored(&envelope, &stages),
                // Whoever reads it says so.
                Err(fault) if fault.class == StoreTrouble::Damaged => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(rollups)
    }

    /// Writes all of them; `counter` is the last number that was given.
    pub(super) fn write(
        &self,
        connection: &Connection,
        names: &mut Names,
        counter: u64,
    ) -> Result<(), StoreFault> {
        let mut upsert = connection.prepare_cached(
            "INSERT INTO rollups (bucket, type, source, priority, outcome, n, micros)
             VALUES (?, ?, ?, ?, ?, ?, 0)
             ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?;
        for ((bucket, kind, source, priority, outcome), n) in &self.events {
            let kind = names.cell(connection, Sort::Type, kind)?;
            let source = names.cell(connection, Sort::Source, source)?;
            upsert.execute(params![bucket, kind, source, *priority as i64, outcome, n])?;
        }
        let mut upsert = connection.prepare_cached(
            "INSERT INTO stage_rollups (bucket, stage, outcome, n, micros, most)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET n = n + excluded.n, micros = micros + excluded.micros,
                most = max(most, excluded.most)",
        )?;
        for ((bucket, stage, outcome), (n, micros, most)) in &self.stages {
            upsert.execute(params![bucket, &**stage, outcome, n, micros, most])?;
        }
        rows::set_meta(connection, COUNTED, counter)
    }
}
