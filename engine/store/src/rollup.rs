//! Counts by hour of arrival, one upsert per distinct key and transaction. Statistics read these
//! and never the events.

use super::StoreFault;
use super::names::{Names, Sort};
use super::record::DeadLetter;
use kernel::event::{Envelope, Priority, StageResult};
use kernel::time::Timestamp;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::Arc;

const HOUR: i64 = 3_600_000_000;

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

/// The counts of one transaction.
#[derive(Default)]
pub(super) struct Rollups {
    events: HashMap<Key, i64>,
    stages: HashMap<(Arc<str>, &'static str), (i64, i64, i64)>,
    bucket: i64,
}

impl Rollups {
    pub(super) fn add(&mut self, tally: &Tally) {
        let bucket = tally.received.0.div_euclid(HOUR);
        self.bucket = self.bucket.max(bucket);
        let (kind, source) = (tally.kind.clone(), tally.source.clone());
        *self.events.entry((bucket, kind, source, tally.priority, tally.outcome)).or_default() += 1;
    }

    pub(super) fn add_stages(&mut self, stages: &[StageResult]) {
        for it in stages {
            let micros = it.micros as i64;
            let sums = self.stages.entry((it.stage.clone(), it.outcome.word())).or_default();
            *sums = (sums.0 + 1, sums.1 + micros, sums.2.max(micros));
        }
    }

    pub(super) fn write(
        self,
        connection: &Connection,
        names: &mut Names,
    ) -> Result<(), StoreFault> {
        let mut upsert = connection.prepare_cached(
            "INSERT INTO rollups (bucket, type, source, priority, outcome, n, micros)
             VALUES (?, ?, ?, ?, ?, ?, 0)
             ON CONFLICT DO UPDATE SET n = n + excluded.n",
        )?;
        for ((bucket, kind, source, priority, outcome), n) in self.events {
            let kind = names.cell(connection, Sort::Type, &kind)?;
            let source = names.cell(connection, Sort::Source, &source)?;
            upsert.execute(params![bucket, kind, source, priority as i64, outcome, n])?;
        }
        let mut upsert = connection.prepare_cached(
            "INSERT INTO stage_rollups (bucket, stage, outcome, n, micros, most)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET n = n + excluded.n, micros = micros + excluded.micros,
                most = max(most, excluded.most)",
        )?;
        for ((stage, outcome), (n, micros, most)) in self.stages {
            upsert.execute(params![self.bucket, &*stage, outcome, n, micros, most])?;
        }
        Ok(())
    }
}
