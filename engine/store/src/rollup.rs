//! Counts by minute and hour of arrival, one upsert per distinct key. Statistics read these and
//! never the events. Minutes are kept for [`MINUTES_KEPT`], hours for good.
//!
//! *Invariant:* what left a row in `event_rows` behind `counted` of `meta` is not counted yet, and
//! everything else is. So counts of stored events may wait in memory for a while: after a crash
//! they are counted from their rows. What leaves no such row goes with the commit that it is in.

use super::claim::Keys;
use super::names::{NameKind, Names};
use super::record::{DeadLetter, StoredEvent};
use super::rows::{self, EventRows};
use super::spread::slot_of;
use super::{StoreFault, StoreTrouble};
use foldhash::fast::RandomState as FastHash;
use kernel::event::{Envelope, Priority, StageResult};
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long counts of minutes are kept, at least.
pub const MINUTES_KEPT: Duration = Duration::from_secs(48 * 3600);
const MINUTE: i64 = 60_000_000;
const MINUTES: i64 = 60;

/// Counts of stored events are written at the latest after this long,
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(5);
/// and when there are this many: so many rows a start reads in a moment.
pub(super) const WRITE_AT: u64 = 20_000;

/// In `meta`: the last number whose event is counted.
const COUNTED: &str = "counted";

/// Something to count.
#[derive(Debug, Clone, PartialEq)]
pub struct EventTally {
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

impl EventTally {
    /// An event and what became of it.
    pub fn of(envelope: &Envelope, outcome: &'static str) -> Self {
        EventTally {
            received: envelope.received,
            kind: envelope.kind.clone(),
            source: envelope.source.clone(),
            priority: envelope.priority,
            outcome,
        }
    }

    pub(super) fn of_letter(letter: &DeadLetter) -> Self {
        EventTally {
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

/// The minute of arrival, and what events are told apart by.
type Key = (i64, Arc<str>, Arc<str>, Priority, &'static str);

/// The minute of arrival, the stage (none for the event as a whole), its outcome, and how long it
/// took, as a size.
type StageKey = (i64, Option<Arc<str>>, &'static str, i64);

/// How often, how long altogether, and how long at most.
type StageSums = (i64, i64, i64);

/// Counts that are not written yet.
#[derive(Default)]
pub(super) struct Rollups {
    events: HashMap<Key, i64, FastHash>,
    stages: HashMap<StageKey, StageSums, FastHash>,
    /// Events that can be counted again from their rows.
    stored: u64,
    /// Whether there is something else among them.
    is_urgent: bool,
}

impl Rollups {
    /// Counts what leaves no row that it could be counted from.
    pub(super) fn add(&mut self, tally: &EventTally) {
        self.is_urgent = true;
        self.count(tally, 1);
    }

    /// Counts an event that has a row, and what its stages did.
    pub(super) fn add_stored(&mut self, envelope: &Envelope, stages: &[StageResult]) {
        self.stored += 1;
        self.count(&EventTally::of(envelope, "stored"), 1);
        let received = envelope.received.0;
        let mut ended = received;
        for it in stages {
            ended = ended.max(it.started.0.saturating_add(it.micros as i64));
            self.time(received, Some(it.stage.clone()), it.outcome.word(), it.micros);
        }
        self.time(received, None, "stored", ended.saturating_sub(received) as u64);
    }

    fn count(&mut self, tally: &EventTally, n: i64) {
        let bucket = tally.received.0.div_euclid(MINUTE);
        let (kind, source) = (tally.kind.clone(), tally.source.clone());
        *self.events.entry((bucket, kind, source, tally.priority, tally.outcome)).or_default() += n;
    }

    fn time(&mut self, received: i64, stage: Option<Arc<str>>, outcome: &'static str, micros: u64) {
        let key = (received.div_euclid(MINUTE), stage, outcome, slot_of(micros));
        add_sums(&mut self.stages, key, (1, micros as i64, micros as i64));
    }

    /// Adds what another transaction counted.
    pub(super) fn merge(&mut self, other: Rollups) {
        self.stored += other.stored;
        self.is_urgent |= other.is_urgent;
        for (key, n) in other.events {
            *self.events.entry(key).or_default() += n;
        }
        for (key, sums) in other.stages {
            add_sums(&mut self.stages, key, sums);
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
                Ok(StoredEvent { envelope, stages, .. }) => rollups.add_stored(&envelope, &stages),
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
        write_events(connection, names, "minute_rollups", &self.events)?;
        write_stages(connection, "stage_minutes", &self.stages)?;
        let (mut events, mut stages) = (HashMap::default(), HashMap::default());
        for ((minute, kind, source, priority, outcome), n) in &self.events {
            let key =
                (minute.div_euclid(MINUTES), kind.clone(), source.clone(), *priority, *outcome);
            *events.entry(key).or_default() += n;
        }
        for ((minute, stage, outcome, slot), sums) in &self.stages {
            let key = (minute.div_euclid(MINUTES), stage.clone(), *outcome, *slot);
            add_sums(&mut stages, key, *sums);
        }
        write_events(connection, names, "rollups", &events)?;
        write_stages(connection, "stage_hours", &stages)?;
        rows::set_meta(connection, COUNTED, counter)
    }
}

fn add_sums(
    sums: &mut HashMap<StageKey, StageSums, FastHash>,
    key: StageKey,
    (n, micros, most): StageSums,
) {
    let known = sums.entry(key).or_default();
    *known = (known.0 + n, known.1.saturating_add(micros), known.2.max(most));
}

fn write_events(
    connection: &Connection,
    names: &mut Names,
    table: &str,
    counts: &HashMap<Key, i64, FastHash>,
) -> Result<(), StoreFault> {
    let mut upsert = connection.prepare_cached(match table {
        "rollups" => {
            "INSERT INTO rollups (bucket, type, source, priority, outcome, n, micros)
             VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET n = n + excluded.n"
        }
        _ => {
            "INSERT INTO minute_rollups (bucket, type, source, priority, outcome, n)
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"
        }
    })?;
    for ((bucket, kind, source, priority, outcome), n) in counts {
        let kind = names.cell(connection, NameKind::Type, kind)?;
        let source = names.cell(connection, NameKind::Source, source)?;
        upsert.execute(params![bucket, kind, source, *priority as i64, outcome, n])?;
    }
    Ok(())
}

fn write_stages(
    connection: &Connection,
    table: &str,
    counts: &HashMap<StageKey, StageSums, FastHash>,
) -> Result<(), StoreFault> {
    let mut upsert = connection.prepare_cached(&format!(
        "INSERT INTO {table} (bucket, stage, outcome, slot, n, micros, most)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET n = n + excluded.n, micros = micros + excluded.micros,
            most = max(most, excluded.most)"
    ))?;
    for ((bucket, stage, outcome, slot), (n, micros, most)) in counts {
        let stage = stage.as_deref().unwrap_or_default();
        upsert.execute(params![bucket, stage, outcome, slot, n, micros, most])?;
    }
    Ok(())
}

/// Counts of minutes before this one may go.
pub(super) fn first_minute_kept(now: Timestamp) -> i64 {
    now.minus(MINUTES_KEPT).0.div_euclid(MINUTE)
}

/// Forgets minutes before this one, about so many rows of each table; whether these were all.
pub(super) fn forget_minutes(
    connection: &Connection,
    before: i64,
    rows: usize,
) -> Result<bool, StoreFault> {
    let mut is_all = true;
    for table in ["minute_rollups", "stage_minutes"] {
        // Whole minutes: up to the one in which the last of so many rows is.
        let sql =
            format!("SELECT bucket FROM {table} WHERE bucket < ? ORDER BY bucket LIMIT 1 OFFSET ?");
        let mut select = connection.prepare_cached(&sql)?;
        let last = select.query_row(params![before, rows as i64], |row| row.get::<_, i64>(0));
        let last = last.optional()?;
        is_all &= last.is_none();
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE bucket < ?"))?
            .execute([last.map_or(before, |it| it + 1)])?;
    }
    Ok(is_all)
}
