//! What the engine counts, as Prometheus shows it.

use stages::event::StageResult;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Durable and answered.
    Accepted,
    /// Came before.
    Duplicate,
    /// Refused, the sender's fault.
    Rejected,
    /// Refused, ours.
    Shed,
    /// Finished and stored.
    Stored,
    /// Let go by a rule of the file.
    Discarded,
    /// Ended as a dead letter.
    Dead,
}

impl Fate {
    const ALL: [(Fate, &'static str); 7] = [
        (Fate::Accepted, "accepted"),
        (Fate::Duplicate, "duplicate"),
        (Fate::Rejected, "rejected"),
        (Fate::Shed, "shed"),
        (Fate::Stored, "stored"),
        (Fate::Discarded, "discarded"),
        (Fate::Dead, "dead"),
    ];
}

/// Upper bounds of duration buckets, in microseconds: 1 ms to 10 s.
const BUCKETS: [u64; 9] =
    [1000, 5000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000];

#[derive(Debug, Default, Clone)]
struct Durations {
    buckets: [u64; 10],
    micros: u64,
    count: u64,
}

impl Durations {
    fn note(&mut self, micros: u64) {
        self.buckets[BUCKETS.partition_point(|it| *it < micros)] += 1;
        self.micros += micros;
        self.count += 1;
    }
}

#[derive(Debug, Default)]
struct Stages {
    outcomes: BTreeMap<(Arc<str>, Arc<str>, &'static str), u64>,
    durations: BTreeMap<Arc<str>, Durations>,
    retries: BTreeMap<Arc<str>, u64>,
    deliveries: BTreeMap<(Arc<str>, &'static str), u64>,
    reloads: BTreeMap<&'static str, u64>,
    discarded: BTreeMap<Arc<str>, u64>,
    events: Durations,
}

/// Counters of one engine.
#[derive(Debug, Default)]
pub struct Metrics {
    fates: [AtomicU64; 7],
    received: Mutex<BTreeMap<Arc<str>, u64>>,
    stages: Mutex<Stages>,
}

impl Metrics {
    /// Counts events with one fate.
    pub fn count(&self, fate: Fate, events: u64) {
        self.fates[fate as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// How many events had this fate.
    pub fn of(&self, fate: Fate) -> u64 {
        self.fates[fate as usize].load(Ordering::Relaxed)
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

    fn stages(&self) -> std::sync::MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what the stages did for one event, and how long all of it took.
    pub fn finished(&self, results: &[StageResult], micros: u64) {
        let mut stages = self.stages();
        for it in results {
            let key = (it.stage.clone(), it.kind.clone(), it.outcome.word());
            *stages.outcomes.entry(key).or_default() += 1;
            if 0 < it.attempts {
                stages.durations.entry(it.stage.clone()).or_default().note(it.micros);
            }
            if 1 < it.attempts {
                let retries = u64::from(it.attempts - 1);
                *stages.retries.entry(it.stage.clone()).or_default() += retries;
            }
        }
        stages.events.note(micros);
    }

    /// Counts an attempt at a delivery.
    pub fn delivered(&self, sink: &Arc<str>, outcome: &'static str) {
        *self.stages().deliveries.entry((sink.clone(), outcome)).or_default() += 1;
    }

    /// Counts an event that was let go, by the rule or the reason.
    pub fn discarded(&self, by: &Arc<str>) {
        self.count(Fate::Discarded, 1);
        *self.stages().discarded.entry(by.clone()).or_default() += 1;
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: &'static str) {
        *self.stages().reloads.entry(result).or_default() += 1;
    }

    /// Everything, in Prometheus' text form.
    pub fn write(&self, out: &mut Text) {
        out.family("engine_events_received_total", "counter", "Messages that arrived");
        for (source, count) in &*self.received.lock().unwrap_or_else(PoisonError::into_inner) {
            out.sample("engine_events_received_total", &[("source", source)], *count as f64);
        }
        out.family("engine_events_total", "counter", "Events by what became of them");
        for (fate, word) in Fate::ALL {
            out.sample("engine_events_total", &[("outcome", word)], self.of(fate) as f64);
        }
        let stages = self.stages();
        out.family("engine_events_discarded_total", "counter", "Events let go, by rule or reason");
        for (by, count) in &stages.discarded {
            out.sample("engine_events_discarded_total", &[("by", by)], *count as f64);
        }
        out.family("engine_stage_events_total", "counter", "Events by stage and outcome");
        for ((stage, kind, outcome), count) in &stages.outcomes {
            let labels = [("stage", &**stage), ("kind", &**kind), ("outcome", *outcome)];
            out.sample("engine_stage_events_total", &labels, *count as f64);
        }
        out.family("engine_stage_retries_total", "counter", "Further tries by stage");
        for (stage, count) in &stages.retries {
            out.sample("engine_stage_retries_total", &[("stage", stage)], *count as f64);
        }
        out.family("engine_stage_duration_seconds", "histogram", "Time in a stage, waits included");
        for (stage, durations) in &stages.durations {
            let labels = [("stage", &**stage)];
            out.histogram("engine_stage_duration_seconds", &labels, durations);
        }
        out.family("engine_event_duration_seconds", "histogram", "Arrival to routing");
        out.histogram("engine_event_duration_seconds", &[], &stages.events);
        out.family("engine_deliveries_total", "counter", "Attempts at deliveries");
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

/// Prometheus' text, being written.
#[derive(Debug, Default)]
pub struct Text(pub String);

impl Text {
    /// Begins a metric.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One value.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{name}=\"{escaped}\"")
            })
            .collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A metric of one value.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], durations: &Durations) {
        let bounds: Vec<f64> = BUCKETS.iter().map(|it| *it as f64 / 1e6).collect();
        let seconds = durations.micros as f64 / 1e6;
        self.buckets(name, labels, &bounds, &durations.buckets, seconds);
    }

    /// A histogram: counts of each bucket, the last for what is beyond every bound.
    pub fn buckets(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (index, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample(&bucket, &labels, total as f64);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total as f64);
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{text}").expect("writing to a String cannot fail");
    }
}
