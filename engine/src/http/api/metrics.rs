//! Every figure, for Prometheus.

use super::Answer;
use crate::http::app::App;
use crate::metrics::{MetricsForm, MetricsText, write_process};
use crate::run::Generation;
use stages::store::{BacklogSize, COMMIT_BUCKETS, Figures};
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use tide::{Request, Response};

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

/// What retention deleted, by the rule as the file writes it.
fn deleted(text: &mut MetricsText, figures: &Figures) {
    let deleted = figures.deleted.lock().unwrap_or_else(PoisonError::into_inner).clone();
    text.family("engine_retention_deleted_total", "counter", "Rows that retention deleted");
    for (rule, count) in &deleted {
        text.sample("engine_retention_deleted_total", &[("rule", rule)], *count as f64);
    }
}

/// What waits for each target of the file, and for those that it no longer has.
fn outbox(text: &mut MetricsText, generation: &Generation, figures: &Figures) {
    let of_file = generation.targets.keys().map(|it| (it.clone(), BacklogSize::default()));
    let mut waiting: BTreeMap<_, _> = of_file.collect();
    waiting.extend(figures.outbox.lock().unwrap_or_else(PoisonError::into_inner).clone());
    text.family("engine_outbox_deliveries", "gauge", "Deliveries that wait, parked ones included");
    for (sink, size) in &waiting {
        text.sample("engine_outbox_deliveries", &[("sink", sink)], size.rows as f64);
    }
    text.family("engine_outbox_bytes", "gauge", "Bytes of the events that wait for a delivery");
    for (sink, size) in &waiting {
        text.sample("engine_outbox_bytes", &[("sink", sink)], size.bytes as f64);
    }
}

/// Every metric, in the form that the client accepts.
pub(super) async fn metrics(request: Request<App>) -> Answer {
    let app = request.state();
    let (engine, figures) = (&app.engine, app.engine.store.figures());
    let load = |it: &std::sync::atomic::AtomicU64| it.load(Ordering::Relaxed) as f64;
    let accept = request.header("accept").and_then(|it| it.get(0)).map(|it| it.as_str());
    let form = MetricsForm::accepted(accept);
    let mut text = MetricsText::new(form);
    crate::http::figures::write(&mut text, &app.state, app.queries.waiting());
    text.family("engine_build_info", "gauge", "The running version");
    text.sample("engine_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let generation = engine.generation();
    text.gauge("engine_config_generation", "The running generation", generation.number as f64);
    engine.metrics.write(&mut text);
    text.gauge("engine_events_pending", "Accepted and not finished", load(&figures.pending));
    text.gauge("engine_dead_letters", "Rows of dead letters", load(&figures.dead_letters));
    text.gauge("engine_store_bytes", "Size of the database", load(&figures.bytes));
    text.gauge("engine_store_wal_bytes", "Size of the log beside it", load(&figures.wal_bytes));
    outbox(&mut text, &generation, figures);
    deleted(&mut text, figures);
    text.family("engine_queue_length", "gauge", "Events that wait");
    text.sample("engine_queue_length", &[("stage", "inbox")], engine.in_flight_count() as f64);
    text.family("engine_queue_capacity", "gauge", "Events that may wait");
    let queue = generation.plan.limits.queue as f64;
    text.sample("engine_queue_capacity", &[("stage", "inbox")], queue);
    text.family("engine_filter_evictions_total", "counter", "Keys forgotten to make room");
    for (name, memory) in &generation.keys {
        let evicted = memory.evicted() as f64;
        text.sample("engine_filter_evictions_total", &[("filter", name)], evicted);
    }
    breakers(&mut text, &generation, engine.env.clock.monotonic());
    text.family("engine_store_commit_seconds", "histogram", "Time of a commit");
    let bounds: Vec<f64> = COMMIT_BUCKETS.iter().map(|it| *it as f64 / 1e6).collect();
    let counts: Vec<u64> = figures.commits.iter().map(|it| it.load(Ordering::Relaxed)).collect();
    let sum = load(&figures.commit_micros) / 1e6;
    text.buckets("engine_store_commit_seconds", &[], &bounds, &counts, sum);
    text.family("engine_sse_clients", "gauge", "Clients of a stream");
    for (name, stream) in app.streams() {
        text.sample("engine_sse_clients", &[("sink", &name)], load(&stream.hub.counters.clients));
    }
    text.family("engine_sse_events_total", "counter", "Events and gaps sent to clients");
    for (name, stream) in app.streams() {
        let counters = &stream.hub.counters;
        for (outcome, count) in [("sent", &counters.sent), ("gap", &counters.gaps)] {
            let labels = [("sink", &*name), ("outcome", outcome)];
            text.sample("engine_sse_events_total", &labels, load(count));
        }
    }
    text.family("engine_notifications_suppressed_total", "counter", "Held back by a rule");
    let suppressed = figures.suppressed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for ((sink, reason), count) in suppressed {
        let labels = [("sink", &*sink), ("reason", reason)];
        text.sample("engine_notifications_suppressed_total", &labels, count as f64);
    }
    write_process(&mut text);
    Ok(Response::builder(200).content_type(form.content_type()).body(text.finish()).build())
}
