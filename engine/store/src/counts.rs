//! Counts and times of what came, from the rollups alone: what [`Store::write_counts`] has written.
//!
//! [`Store::write_counts`]: crate::Store::write_counts

use super::StoreFault;
use super::names::{self, NameKind};
use super::reader::Reader;
use super::rows;
use super::spread::Spread;
use kernel::time::Timestamp;
use rusqlite::params;
use rusqlite::types::Value as Cell;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};

const HOUR: i64 = 3_600_000_000;

/// The percentiles of times that are told.
pub const PERCENTILES: [(&str, u64); 3] = [("p50", 50), ("p95", 95), ("p99", 99)];

kernel::choice! {
    /// What counts are told apart by.
    pub enum CountBy {
        /// The type of stored events.
        Type = "type",
        /// Their source.
        Source = "source",
        /// Their priority.
        Priority = "priority",
        /// What became of events.
        Outcome = "outcome",
        /// The stages that ran.
        Stage = "stage",
    }
}

/// The pieces of time that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountGrain {
    /// Of the last days: see [`MINUTES_KEPT`](crate::MINUTES_KEPT).
    Minute,
    /// Of all time.
    Hour,
}

impl CountGrain {
    /// How long a piece is, in microseconds.
    pub fn micros(self) -> i64 {
        match self {
            CountGrain::Minute => HOUR / 60,
            CountGrain::Hour => HOUR,
        }
    }

    fn events(self) -> &'static str {
        match self {
            CountGrain::Minute => "minute_rollups",
            CountGrain::Hour => "rollups",
        }
    }

    fn stages(self) -> &'static str {
        match self {
            CountGrain::Minute => "stage_minutes",
            CountGrain::Hour => "stage_hours",
        }
    }
}

/// How many there were in a piece of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountRow {
    /// Which piece, counted from 1970.
    pub piece: i64,
    /// What they are told apart by.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// How long it took in a piece of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpreadRow {
    /// Which piece, counted from 1970.
    pub piece: i64,
    /// The stage; empty for events as a whole.
    pub name: String,
    /// The times.
    pub spread: Spread,
}

impl Reader<'_> {
    /// Counts of pieces of time, from one to before the other. Runs of stages are counted whatever
    /// came of them.
    pub fn counts(
        &self,
        by: CountBy,
        grain: CountGrain,
        (from, to): (i64, i64),
    ) -> Result<Vec<CountRow>, StoreFault> {
        let stored = "AND outcome = 'stored'";
        let (table, column, only) = match by {
            CountBy::Type => (grain.events(), "type", stored),
            CountBy::Source => (grain.events(), "source", stored),
            CountBy::Priority => (grain.events(), "priority", stored),
            CountBy::Outcome => (grain.events(), "outcome", ""),
            CountBy::Stage => (grain.stages(), "stage", "AND stage <> ''"),
        };
        let sql = format!(
            "SELECT bucket, {column}, sum(n) FROM {table} WHERE bucket >= ? AND bucket < ? {only}
             GROUP BY 1, 2"
        );
        let words = self.words(by)?;
        self.many(&sql, [from, to], |row| {
            let (piece, count) = (row.get(0)?, row.get::<_, i64>(2)? as u64);
            Ok(CountRow { piece, name: words.of(row.get(1)?), count })
        })
    }

    /// How long stages took that were not skipped, and events from their arrival to the end of
    /// their last stage, in pieces of time from one to before the other.
    pub fn spreads(
        &self,
        by: CountBy,
        grain: CountGrain,
        (from, to): (i64, i64),
    ) -> Result<Vec<SpreadRow>, StoreFault> {
        let only = match by {
            CountBy::Stage => "stage <> '' AND outcome <> 'skipped'",
            CountBy::Outcome => "stage = ''",
            CountBy::Type | CountBy::Source | CountBy::Priority => return Ok(Vec::new()),
        };
        let sql = format!(
            "SELECT bucket, stage, slot, sum(n), max(most) FROM {}
             WHERE bucket >= ? AND bucket < ? AND {only} GROUP BY 1, 2, 3 ORDER BY 1, 2",
            grain.stages()
        );
        let mut spreads: Vec<SpreadRow> = Vec::new();
        let mut select = self.connection.prepare_cached(&sql)?;
        let mut found = select.query([from, to])?;
        while let Some(row) = found.next()? {
            let (piece, name) = (row.get::<_, i64>(0)?, row.get::<_, String>(1)?);
            let is_same =
                spreads.last().is_some_and(|spread| spread.piece == piece && spread.name == name);
            if !is_same {
                let spread = Spread::default();
                spreads.push(SpreadRow { piece, name, spread });
            }
            if let Some(last) = spreads.last_mut() {
                let (n, most) = (row.get::<_, i64>(3)? as u64, row.get::<_, i64>(4)? as u64);
                last.spread.add(row.get(2)?, n, most);
            }
        }
        Ok(spreads)
    }

    /// Counts and times of the last `days`.
    pub fn stats(&self, days: u32, now: Timestamp) -> Result<Value, StoreFault> {
        let from = now.0.div_euclid(HOUR) - i64::from(days) * 24;
        let group = |by: CountBy| -> Result<Value, StoreFault> {
            let mut sums: BTreeMap<String, u64> = BTreeMap::new();
            for CountRow { name, count, .. } in
                self.counts(by, CountGrain::Hour, (from, i64::MAX))?
            {
                *sums.entry(name).or_default() += count;
            }
            Ok(Value::Object(sums.into_iter().map(|it| (it.0, it.1.into())).collect::<Map<_, _>>()))
        };
        let outcomes = group(CountBy::Outcome)?;
        let total = outcomes.get("stored").cloned().unwrap_or_else(|| Value::from(0));
        let mut stages = self.stage_stats(from)?;
        let events = stages.remove(&(String::new(), "stored".to_owned())).unwrap_or_default();
        let stages = stages.into_iter().map(|((stage, outcome), times)| {
            let mut told = json!({
                "stage": stage,
                "outcome": outcome,
                "count": times.count,
                "mean_micros": times.micros / times.count.max(1),
                "max_micros": times.most,
            });
            times.spread.write(&mut told);
            told
        });
        let stages: Vec<Value> = stages.collect();
        let mut duration = json!({ "max_micros": events.most });
        events.spread.write(&mut duration);
        Ok(json!({
            "period_days": days,
            "total_events": total,
            "by_type": group(CountBy::Type)?,
            "by_source": group(CountBy::Source)?,
            "by_priority": group(CountBy::Priority)?,
            "by_outcome": outcomes,
            "stages": stages,
            "duration": duration,
        }))
    }

    /// By stage and outcome; the stage without a name is the event as a whole.
    fn stage_stats(&self, from: i64) -> Result<BTreeMap<(String, String), StageTimes>, StoreFault> {
        let sql = "SELECT stage, outcome, slot, sum(n), sum(micros), max(most) FROM stage_hours
                   WHERE bucket >= ? GROUP BY 1, 2, 3";
        let mut stages: BTreeMap<_, StageTimes> = BTreeMap::new();
        let mut select = self.connection.prepare_cached(sql)?;
        let mut found = select.query(params![from])?;
        while let Some(row) = found.next()? {
            let number = |index: usize| row.get::<_, i64>(index).map(|it| it as u64);
            let (count, micros, most) = (number(3)?, number(4)?, number(5)?);
            let times = stages.entry((row.get(0)?, row.get(1)?)).or_default();
            times.count += count;
            times.micros = times.micros.saturating_add(micros);
            times.most = times.most.max(most);
            times.spread.add(row.get(2)?, count, most);
        }
        Ok(stages)
    }

    fn words(&self, by: CountBy) -> Result<CountWords, StoreFault> {
        let kind = match by {
            CountBy::Type => NameKind::Type,
            CountBy::Source => NameKind::Source,
            CountBy::Priority => return Ok(CountWords::Levels),
            CountBy::Outcome | CountBy::Stage => return Ok(CountWords::AsTheyAre),
        };
        Ok(CountWords::Coded(names::all(self.connection, kind)?.into_iter().collect()))
    }
}

#[derive(Default)]
struct StageTimes {
    count: u64,
    micros: u64,
    most: u64,
    spread: Spread,
}

/// What the cells of a column mean.
enum CountWords {
    AsTheyAre,
    Levels,
    Coded(HashMap<i64, String>),
}

impl CountWords {
    fn of(&self, cell: Cell) -> String {
        match (self, cell) {
            (CountWords::Levels, Cell::Integer(level)) => rows::priority(level).word().to_owned(),
            (CountWords::Coded(known), Cell::Integer(code)) => {
                known.get(&code).cloned().unwrap_or_default()
            }
            (_, Cell::Text(word)) => word,
            _ => String::new(),
        }
    }
}

impl Spread {
    /// Adds its percentiles to an object; null where nothing is known.
    fn write(&self, told: &mut Value) {
        for (name, percent) in PERCENTILES {
            told[format!("{name}_micros")] = json!(self.percentile(percent));
        }
    }
}
