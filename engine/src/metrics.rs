//! What the engine counts, as Prometheus shows it.

mod own;
mod process;
mod text;

pub use own::{Measurement, OwnMetric, measure, open_metrics, write_own};
pub use process::write as write_process;
pub use text::{MetricsForm, MetricsText};

use crate::engine::Redriven;
use crate::run::Generation;
use compiler::plan::Plan;
use kernel::event::Outcome;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{DeadLetterWhat, DeliveryState};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventCounter {
    /// Durable and answered.
    Accepted,
    /// Came before.
    Duplicate,
    /// Refused, the sender's fault.
    Rejected,
    /// Rejected for lack of capacity: not the sender's fault.
    Shed,
    /// Finished and stored.
    Stored,
    /// Dropped by a rule of the file.
    Discarded,
    /// Ended as a dead letter.
    Dead,
}

impl EventCounter {
    const ALL: [(EventCounter, &'static str); 7] = [
        (EventCounter::Accepted, "accepted"),
        (EventCounter::Duplicate, "duplicate"),
        (EventCounter::Rejected, "rejected"),
        (EventCounter::Shed, "shed"),
        (EventCounter::Stored, "stored"),
        (EventCounter::Discarded, "discarded"),
        (EventCounter::Dead, "dead"),
    ];
}

/// Upper bounds of duration buckets, in microseconds: 1 ms to 10 s.
const BUCKETS: [u64; 9] =
    [1000, 5000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000];

#[derive(Debug, Default, Clone)]
struct Durations {
    buckets: [u64; 10],
    micros: u64,
}

impl Durations {
    fn note(&mut self, micros: u64) {
        self.buckets[BUCKETS.partition_point(|bucket| *bucket < micros)] += 1;
        self.micros += micros;
    }

    fn write(&self, out: &mut MetricsText, name: &str, labels: &[(&str, &str)]) {
        let bounds: Vec<f64> = BUCKETS.iter().map(|micros| *micros as f64 / 1e6).collect();
        out.buckets(name, labels, &bounds, &self.buckets, self.micros as f64 / 1e6);
    }
}

/// What one stage did; its name may have had another kind before a reload.
#[derive(Debug, Default)]
struct StageCounts {
    /// By kind, in the order of [`Outcome::ALL`].
    outcomes: BTreeMap<Arc<str>, [u64; Outcome::ALL.len()]>,
    durations: Durations,
    retries: u64,
}

#[derive(Debug, Default)]
struct Stages {
    runs: BTreeMap<Arc<str>, StageCounts>,
    deliveries: BTreeMap<(Arc<str>, &'static str), u64>,
    reloads: BTreeMap<&'static str, u64>,
    discarded: BTreeMap<Arc<str>, u64>,
    events: Durations,
}

/// What the stages did for one event, to be counted once it is known that the event was new.
pub struct RunTally {
    /// The generation that it ran under.
    pub generation: Arc<Generation>,
    /// Its stages that have ended.
    pub stages: Vec<StageRun>,
    /// What the file's own metrics count of it, if it is stored.
    pub measured: Vec<Measurement>,
}

/// What one stage did for one event.
#[derive(Debug, Clone, Copy)]
pub struct StageRun {
    /// The stage's place in the plan.
    pub stage: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// Its calls; 0 when it was skipped.
    pub attempts: u32,
    /// How long it took, waits included.
    pub micros: u64,
}

/// Counters of one engine.
#[derive(Debug, Default)]
pub struct Metrics {
    fates: [AtomicU64; 7],
    received: Mutex<BTreeMap<Arc<str>, u64>>,
    redriven: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    stages: Mutex<Stages>,
}

impl Metrics {
    /// Counts an event.
    pub fn count(&self, fate: EventCounter, events: u64) {
        self.fates[fate as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// How many events had this fate.
    pub fn of(&self, fate: EventCounter) -> u64 {
        self.fates[fate as usize].load(Ordering::Relaxed)
    }

    /// Messages that arrived at any source.
    pub fn received_total(&self) -> u64 {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Delivery attempts, to any target, that ended in this state.
    pub fn deliveries(&self, state: &str) -> u64 {
        self.stages()
            .deliveries
            .iter()
            .filter(|delivery| delivery.0.1 == state)
            .map(|delivery| delivery.1)
            .sum()
    }

    /// Counts messages of a source.
    pub fn received(&self, source: &Arc<str>, messages: u64) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        match received.get_mut(source) {
            Some(count) => *count += messages,
            None => {
                received.insert(source.clone(), messages);
            }
        }
    }

    /// Counts a dead letter that was tried again, by what it is and what became of it.
    pub fn redriven(&self, what: DeadLetterWhat, outcome: &'static str) {
        let mut redriven = self.redriven.lock().unwrap_or_else(PoisonError::into_inner);
        *redriven.entry((what.word(), outcome)).or_default() += 1;
    }

    fn write_redriven(&self, out: &mut MetricsText) {
        let redriven = self.redriven.lock().unwrap_or_else(PoisonError::into_inner);
        let family = "engine_dead_letters_redriven_total";
        out.family(family, "counter", "Dead letters that were retried");
        for what in DeadLetterWhat::ALL {
            for outcome in Redriven::OUTCOMES {
                let count = redriven.get(&(what.word(), outcome)).copied().unwrap_or_default();
                out.sample(family, &[("what", what.word()), ("outcome", outcome)], count as f64);
            }
        }
    }

    fn stages(&self) -> std::sync::MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes every series of a plan, at zero, so that the first of anything is seen as one more.
    pub fn register(&self, plan: &Plan) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        plan.sources.iter().for_each(|source| {
            received.entry(source.name.clone()).or_default();
        });
        drop(received);
        let mut stages = self.stages();
        for stage in &plan.stages {
            let counts = stages.runs.entry(stage.name.clone()).or_default();
            counts.outcomes.entry(stage.kind.clone()).or_default();
        }
        for target in plan.outside() {
            for state in DeliveryState::ALL {
                stages.deliveries.entry((target.clone(), state.word())).or_default();
            }
        }
        for result in ["loaded", "refused"] {
            stages.reloads.entry(result).or_default();
        }
        for filter in &plan.filters {
            stages.discarded.entry(filter.name.value.as_str().into()).or_default();
        }
    }

    /// Counts what the stages did for one event, and how long it took until it was routed.
    pub fn ran(&self, tally: &RunTally, micros: u64) {
        let mut stages = self.stages();
        for run in &tally.stages {
            let plan = &tally.generation.plan.stages[run.stage];
            let counts = stages.runs.get_mut(&plan.name).expect("every stage is registered");
            let outcomes = counts.outcomes.get_mut(&plan.kind).expect("with its kind");
            outcomes[run.outcome as usize] += 1;
            if 0 < run.attempts {
                counts.durations.note(run.micros);
                counts.retries += u64::from(run.attempts - 1);
            }
        }
        stages.events.note(micros);
        drop(stages);
        own::count(&tally.generation.metrics, &tally.measured);
    }

    /// Counts how an attempt at so many deliveries ended.
    pub fn delivered(&self, sink: &Arc<str>, outcome: &'static str, count: u64) {
        *self.stages().deliveries.entry((sink.clone(), outcome)).or_default() += count;
    }

    /// Counts an event that was let go, by the rule or the reason.
    pub fn discarded(&self, by: &Arc<str>) {
        self.count(EventCounter::Discarded, 1);
        *self.stages().discarded.entry(by.clone()).or_default() += 1;
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: &'static str) {
        *self.stages().reloads.entry(result).or_default() += 1;
    }

    /// Counts of each part since the start, by name: messages of sources, events that filters and
    /// other rules dropped, runs of stages and deliveries by outcome.
    pub fn counts(&self) -> Map<String, Value> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stages = self.stages();
        let named = |counts: &BTreeMap<Arc<str>, u64>| -> BTreeMap<String, u64> {
            counts.iter().map(|(name, count)| (name.to_string(), *count)).collect()
        };
        let mut runs: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for (stage, counts) in &stages.runs {
            for (outcome, count) in
                counts.outcomes.values().flat_map(|it| Outcome::ALL.iter().zip(it))
            {
                *runs.entry(stage).or_default().entry(outcome.word()).or_default() += count;
            }
        }
        let mut sent: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((target, outcome), count) in &stages.deliveries {
            sent.entry(target).or_default().insert(outcome, *count);
        }
        let outcomes: BTreeMap<&str, u64> =
            EventCounter::ALL.iter().map(|(it, word)| (*word, self.of(*it))).collect();
        let counts = [
            ("received", json!(named(&received))),
            ("events", json!(outcomes)),
            ("dropped", json!(named(&stages.discarded))),
            ("runs", json!(runs)),
            ("deliveries", json!(sent)),
        ];
        counts.map(|(name, counts)| (name.to_owned(), counts)).into_iter().collect()
    }

    /// Everything.
    pub fn write(&self, out: &mut MetricsText) {
        out.family("engine_events_received_total", "counter", "Messages that arrived");
        for (source, count) in &*self.received.lock().unwrap_or_else(PoisonError::into_inner) {
            out.sample("engine_events_received_total", &[("source", source)], *count as f64);
        }
        out.family("engine_events_total", "counter", "Events by outcome");
        for (fate, word) in EventCounter::ALL {
            out.sample("engine_events_total", &[("outcome", word)], self.of(fate) as f64);
        }
        self.write_redriven(out);
        let stages = self.stages();
        out.family("engine_events_discarded_total", "counter", "Events dropped, by rule or reason");
        for (by, count) in &stages.discarded {
            out.sample("engine_events_discarded_total", &[("by", by)], *count as f64);
        }
        out.family("engine_stage_events_total", "counter", "Events by stage and outcome");
        for (stage, counts) in &stages.runs {
            for (kind, outcomes) in &counts.outcomes {
                for (outcome, count) in Outcome::ALL.iter().zip(outcomes) {
                    let labels =
                        [("stage", &**stage), ("kind", &**kind), ("outcome", outcome.word())];
                    out.sample("engine_stage_events_total", &labels, *count as f64);
                }
            }
        }
        out.family("engine_stage_retries_total", "counter", "Retries by stage");
        for (stage, counts) in &stages.runs {
            out.sample("engine_stage_retries_total", &[("stage", stage)], counts.retries as f64);
        }
        out.family("engine_stage_duration_seconds", "histogram", "Time in a stage, waits included");
        for (stage, counts) in &stages.runs {
            let labels = [("stage", &**stage)];
            counts.durations.write(out, "engine_stage_duration_seconds", &labels);
        }
        out.family("engine_event_duration_seconds", "histogram", "Time from arrival to routing");
        stages.events.write(out, "engine_event_duration_seconds", &[]);
        out.family("engine_deliveries_total", "counter", "Delivery attempts");
        for ((sink, outcome), count) in &stages.deliveries {
            let labels = [("sink", &**sink), ("outcome", *outcome)];
            out.sample("engine_deliveries_total", &labels, *count as f64);
        }
        out.family("engine_config_reloads_total", "counter", "Reloads by result");
        for (result, count) in &stages.reloads {
            out.sample("engine_config_reloads_total", &[("result", result)], *count as f64);
        }
    }
}
