//! Every figure, for Prometheus.

use super::Answer;
use crate::engine::NodePauses;
use crate::http::app::App;
use crate::metrics::{MetricsForm, MetricsText, write_own, write_process};
use crate::run::Generation;
use compiler::plan::node_of;
use kernel::choice::Choice;
use kernel::env::PoolUse;
use kernel::health::PartReport;
use kernel::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use store::{BacklogSize, COMMIT_BUCKETS, Figures, MemoryFigures, Store, StoreTrouble};
use tide::{Request, Response};
use wire::WireUse;

/// What may hold a notification back.
const SUPPRESSED_BY: [&str; 10] = [
    "cooldown",
    "backlog",
    "when",
    "quiet-hours",
    "rate",
    "mute",
    "unless",
    "update",
    "until",
    "recover",
];

/// How each breaker stands: 0 closed, 1 half-open, 2 open.
fn breakers(text: &mut MetricsText, generation: &Generation, now: std::time::Duration) {
    text.family("engine_breaker_state", "gauge", "0 closed, 1 half-open, 2 open");
    let stages = generation.plan.stages.iter().zip(&generation.stages);
    let stages = stages.filter_map(|(plan, open)| Some((&plan.name, &open.as_ref()?.limits)));
    let targets = generation.targets.iter().map(|(name, it)| (name, &it.limits));
    for (name, limits) in stages.chain(targets) {
        if let Some(breaker) = &limits.breaker {
            let state = breaker.state(now) as u8;
            text.sample("engine_breaker_state", &[("stage", name)], f64::from(state));
        }
    }
}

/// Which targets somebody paused.
fn paused(text: &mut MetricsText, generation: &Generation, pauses: &NodePauses) {
    let family = "engine_target_paused";
    text.family(family, "gauge", "Whether a target is paused by an operator; its deliveries wait");
    for sink in generation.targets.keys() {
        let is_paused = u8::from(pauses.is_paused(sink));
        text.sample(family, &[("sink", sink)], f64::from(is_paused));
    }
}

/// What retention deleted, by the rule as the file writes it.
fn deleted(text: &mut MetricsText, figures: &Figures) {
    let deleted = figures.deleted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    text.family("engine_retention_deleted_total", "counter", "Rows that retention deleted");
    for (rule, count) in &deleted {
        text.sample("engine_retention_deleted_total", &[("rule", rule)], *count as f64);
    }
}

/// What waits for each target of the file, and what is parked for those that it no longer has.
fn outbox(text: &mut MetricsText, generation: &Generation, figures: &Figures, now: Timestamp) {
    let of_file = generation.targets.keys().map(|key| (key.clone(), BacklogSize::default()));
    let mut waiting: BTreeMap<_, _> = of_file.collect();
    let sizes = figures.outbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let parked = figures.parked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let oldest = figures.oldest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    waiting.extend(sizes.into_iter().filter(|size| 0 < size.1.rows));
    let family = "engine_outbox_deliveries";
    text.family(
        family,
        "gauge",
        "Deliveries that wait for a target, or are parked until it is back",
    );
    for (sink, size) in &waiting {
        text.sample(family, &waiting_labels(sink, &parked), size.rows as f64);
    }
    let family = "engine_outbox_bytes";
    text.family(family, "gauge", "Bytes of the events that wait for a delivery");
    for (sink, size) in &waiting {
        text.sample(family, &waiting_labels(sink, &parked), size.bytes as f64);
    }
    let family = "engine_outbox_oldest_seconds";
    text.family(family, "gauge", "Age of the oldest waiting delivery; 0 if there is none");
    for (sink, size) in &waiting {
        let since = oldest.get(sink).filter(|_| 0 < size.rows);
        let age = since.map_or(0.0, |since| now.since(*since).as_secs_f64());
        text.sample(family, &waiting_labels(sink, &parked), age);
    }
}

fn waiting_labels<'a>(
    sink: &'a Arc<str>,
    parked: &BTreeMap<Arc<str>, BacklogSize>,
) -> [(&'static str, &'a str); 2] {
    let state = if parked.contains_key(sink) { "parked" } else { "pending" };
    [("sink", &**sink), ("state", state)]
}

/// How every part is.
fn health(text: &mut MetricsText, reports: &[PartReport]) {
    let labels = |report: &PartReport| {
        [("role", report.part.role.word().to_owned()), ("name", report.part.name.to_string())]
    };
    let family = "engine_health";
    text.family(family, "gauge", "Health of each part: 0 ok, 1 degraded, 2 failed");
    for report in reports {
        let labels = labels(report);
        let labels = labels.each_ref().map(|it| (it.0, it.1.as_str()));
        text.sample(family, &labels, f64::from(report.state as u8));
    }
    let family = "engine_health_problems";
    text.family(family, "gauge", "Problems of each part, by problem code");
    for report in reports {
        let mut codes: BTreeMap<&str, u32> = BTreeMap::new();
        report
            .problems
            .iter()
            .for_each(|problem| *codes.entry(problem.problem.code).or_default() += 1);
        let [role, name] = labels(report);
        for (code, count) in codes {
            let labels = [(role.0, role.1.as_str()), (name.0, name.1.as_str()), ("code", code)];
            text.sample(family, &labels, f64::from(count));
        }
    }
}

/// What is limited: connections to the store, threads, sockets to the outside.
fn pools(text: &mut MetricsText, app: &App) {
    let engine = &app.engine;
    let free = engine.store.free_readers() as f64;
    text.gauge("engine_store_readers_free", "Connections to the store that are free", free);
    text.gauge("engine_store_readers", "Connections for queries", Store::READERS as f64);
    let pools = &engine.env.pools;
    let mut used: Vec<(&str, PoolUse)> =
        [&pools.outside, &pools.files, &pools.store, &pools.reload]
            .iter()
            .filter_map(|it| Some((it.name(), it.usage()?)))
            .collect();
    if let Some(sockets) = app.fetch.usage() {
        let WireUse { limit, busy, waiting, .. } = sockets;
        used.push(("sockets", PoolUse { limit, busy, waiting }));
        text.gauge(
            "engine_sockets_idle",
            "Connections kept for the next call",
            sockets.idle as f64,
        );
    }
    type Figure = fn(&PoolUse) -> usize;
    let figures: [(&str, &str, Figure); 3] = [
        ("engine_pool_limit", "Maximum threads or sockets of a pool", |it| it.limit),
        ("engine_pool_busy", "Threads or sockets of a pool in use", |it| it.busy),
        ("engine_pool_waiting", "Work that waits for a thread or socket", |it| it.waiting),
    ];
    for (family, help, figure) in figures {
        text.family(family, "gauge", help);
        for (pool, usage) in &used {
            text.sample(family, &[("pool", pool)], figure(usage) as f64);
        }
    }
}

/// The database, its log and its commits.
fn store(text: &mut MetricsText, figures: &Figures) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    text.gauge(
        "engine_events_pending",
        "Accepted events that are not finished",
        load(&figures.pending),
    );
    text.gauge("engine_dead_letters", "Number of dead letters", load(&figures.dead_letters));
    text.gauge("engine_store_bytes", "Size of the database", load(&figures.bytes));
    text.gauge("engine_store_wal_bytes", "Size of the write-ahead log", load(&figures.wal_bytes));
    let free = load(&figures.free_bytes);
    text.gauge("engine_store_disk_free_bytes", "Bytes free on the disk of the database", free);
    let family = "engine_store_errors_total";
    text.family(family, "counter", "Statements and transactions of the store that failed");
    for class in StoreTrouble::ALL {
        let count = load(&figures.errors[class as usize]);
        text.sample(family, &[("class", class.word())], count);
    }
    text.family("engine_store_commit_seconds", "histogram", "Time of a commit");
    let bounds: Vec<f64> = COMMIT_BUCKETS.iter().map(|bucket| *bucket as f64 / 1e6).collect();
    let counts: Vec<u64> =
        figures.commits.iter().map(|commit| commit.load(Ordering::Relaxed)).collect();
    let sum = load(&figures.commit_micros) / 1e6;
    text.buckets("engine_store_commit_seconds", &[], &bounds, &counts, sum);
}

/// Clients of streams and what they were sent.
fn streams(text: &mut MetricsText, app: &App) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    text.family("engine_sse_clients", "gauge", "Clients of a stream");
    for (name, stream) in app.streams() {
        text.sample("engine_sse_clients", &[("sink", &name)], load(&stream.hub.counters.clients));
    }
    let taps = &app.engine.generation().taps;
    text.family("engine_stage_taps", "gauge", "Clients that watch a stage");
    text.sample("engine_stage_taps", &[], taps.count() as f64);
    let name = "engine_stage_taps_skipped_total";
    text.family(name, "counter", "Events that were skipped because a watching client was too slow");
    text.sample(name, &[], taps.skipped() as f64);
    text.family("engine_sse_events_total", "counter", "Events and gaps sent to clients");
    for (name, stream) in app.streams() {
        let counters = &stream.hub.counters;
        for (outcome, count) in [("sent", &counters.sent), ("gap", &counters.gaps)] {
            let labels = [("sink", &*name), ("outcome", outcome)];
            text.sample("engine_sse_events_total", &labels, load(count));
        }
    }
}

/// Notifications held back, by target and by what held them back; from zero.
fn suppressed(text: &mut MetricsText, generation: &Generation, figures: &Figures) {
    let family = "engine_notifications_suppressed_total";
    text.family(family, "counter", "Suppressed by a rule");
    let mut counts: BTreeMap<(Arc<str>, &str), u64> = BTreeMap::new();
    for sink in generation.targets.keys() {
        counts.extend(SUPPRESSED_BY.map(|reason| ((sink.clone(), reason), 0)));
    }
    counts.extend(figures.suppressed.lock().unwrap_or_else(PoisonError::into_inner).clone());
    for ((sink, reason), count) in counts {
        text.sample(family, &[("sink", &*sink), ("reason", reason)], count as f64);
    }
}

/// Notifications that no route made, by target and by why; from zero.
fn relayed(text: &mut MetricsText, generation: &Generation, figures: &Figures) {
    let family = "engine_notifications_relayed_total";
    text.family(family, "counter", "Notifications sent in addition to those of routes");
    let mut counts: BTreeMap<(Arc<str>, &str), u64> = BTreeMap::new();
    for (word, to) in
        generation.plan.notifiers.iter().flat_map(|notifier| notifier.manners.relays())
    {
        let targets = generation.targets.keys().filter(|key| node_of(key) == to.value);
        counts.extend(targets.map(|target| ((target.clone(), word.word()), 0)));
    }
    for notifier in generation.plan.notifiers.iter().filter(|notifier| notifier.off.is_none()) {
        let alerts = &notifier.manners.alerts;
        let words = [(alerts.repeat.is_some(), "repeat"), (alerts.recover.is_some(), "recover")];
        let own =
            words.iter().filter(|word| word.0).map(|word| ((notifier.name.clone(), word.1), 0));
        counts.extend(own);
    }
    counts.extend(figures.relayed.lock().unwrap_or_else(PoisonError::into_inner).clone());
    for ((sink, reason), count) in counts {
        text.sample(family, &[("sink", &*sink), ("reason", reason)], count as f64);
    }
}

/// Messages that may be changed and were forgotten, by notifier.
fn forgotten(text: &mut MetricsText, figures: &Figures) {
    let family = "engine_notification_messages_forgotten_total";
    text.family(
        family,
        "counter",
        "Editable messages that were forgotten to make room for newer ones",
    );
    let forgotten = figures.forgotten.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (sink, count) in &forgotten {
        text.sample(family, &[("sink", sink)], *count as f64);
    }
}

/// Every metric, in the form that the client accepts.
pub(super) async fn metrics(request: Request<App>) -> Answer {
    let app = request.state();
    let (engine, figures) = (&app.engine, app.engine.store.figures());
    let accept = request.header("accept").and_then(|header| header.get(0)).map(|it| it.as_str());
    let form = MetricsForm::accepted(accept);
    let mut text = MetricsText::new(form);
    crate::http::figures::write(&mut text, &app.state, app.queries.waiting());
    text.family("engine_build_info", "gauge", "The running version");
    text.sample("engine_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let generation = engine.generation();
    text.gauge("engine_config_generation", "The running generation", generation.number as f64);
    let is_stale = f64::from(u8::from(app.status.stale().is_some()));
    text.gauge(
        "engine_config_stale",
        "Whether the file on disk differs from the running one",
        is_stale,
    );
    health(&mut text, &engine.env.health.report());
    engine.metrics.write(&mut text);
    store(&mut text, figures);
    let damaged = engine.store.damaged_count() as f64;
    text.gauge("engine_store_damaged_rows", "Rows that differ from what was written", damaged);
    outbox(&mut text, &generation, figures, engine.env.clock.wall());
    paused(&mut text, &generation, engine.pauses());
    deleted(&mut text, figures);
    pools(&mut text, app);
    text.family("engine_queue_length", "gauge", "Events that wait");
    text.sample("engine_queue_length", &[("stage", "inbox")], engine.in_flight_count() as f64);
    text.family("engine_queue_capacity", "gauge", "Maximum number of waiting events");
    let queue = generation.plan.limits.queue as f64;
    text.sample("engine_queue_capacity", &[("stage", "inbox")], queue);
    let held = engine.held();
    let help = "Accepted events in memory; more wait in the inbox, on disk";
    text.gauge("engine_held_events", help, held.events as f64);
    text.gauge("engine_held_bytes", "Estimated memory of these events", held.bytes as f64);
    memories(&mut text, &generation);
    breakers(&mut text, &generation, engine.env.clock.monotonic());
    streams(&mut text, app);
    suppressed(&mut text, &generation, figures);
    relayed(&mut text, &generation, figures);
    forgotten(&mut text, figures);
    write_own(&mut text, &generation.metrics);
    write_process(&mut text);
    Ok(Response::builder(200).content_type(form.content_type()).body(text.finish()).build())
}

/// What stages remember. The evictions of filters have had a name of their own for longer.
fn memories(text: &mut MetricsText, generation: &Generation) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let figures = |name: &str| generation.memories.get(name).map(|memory| &memory.node.figures);
    text.family("engine_filter_evictions_total", "counter", "Keys forgotten to make room");
    for filter in &generation.plan.filters {
        let name = filter.name.value.as_str();
        if let Some(it) = figures(name) {
            let labels = [("filter", name)];
            text.sample("engine_filter_evictions_total", &labels, count(&it.evicted));
        }
    }
    type Read = fn(&MemoryFigures) -> &AtomicU64;
    let families: [(&str, &str, &str, Read); 5] = [
        ("engine_memory_keys", "gauge", "Keys that a stage remembers", |it| &it.keys),
        ("engine_memory_timers", "gauge", "Keys with a timer", |it| &it.timers),
        ("engine_memory_evictions_total", "counter", "Keys forgotten to make room", |it| {
            &it.evicted
        }),
        ("engine_memory_emitted_total", "counter", "Events that a stage sent", |it| &it.emitted),
        (
            "engine_memory_late_total",
            "counter",
            "Events that arrived too late to be counted",
            |it| &it.late,
        ),
    ];
    for (family, kind, help, read) in families {
        text.family(family, kind, help);
        for (name, memory) in &generation.memories {
            text.sample(family, &[("stage", name)], count(read(&memory.node.figures)));
        }
    }
}
