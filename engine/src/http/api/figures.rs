//! What the engine counts and what waits, for the page: from memory alone, so that many pages may
//! look at it often.

use super::pauses::shown;
use super::{Answer, json_text};
use crate::engine::Engine;
use crate::http::app::App;
use crate::metrics::EventCounter;
use crate::run::Generation;
use crate::run::breaker::BreakerState;
use serde_json::{Map, Value, json};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tide::Request;

/// Counts since the start, and what waits now.
pub(super) async fn figures(request: Request<App>) -> Answer {
    let app = request.state();
    let (engine, store) = (&app.engine, app.engine.store.figures());
    let generation = engine.generation();
    let waiting = store.outbox.lock().unwrap_or_else(PoisonError::into_inner);
    let waiting: Map<String, Value> =
        waiting.iter().map(|(target, size)| (target.to_string(), json!(size.rows))).collect();
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let streams = app.streams();
    let clients: u64 = streams.iter().map(|stream| load(&stream.1.hub.counters.clients)).sum();
    let mut body = engine.metrics.counts();
    // What goes to the store and to streams are no deliveries, which may fail.
    let stored = engine.metrics.of(EventCounter::Stored);
    let stored = generation.plan.store.iter().map(|it| (it.0.to_string(), stored));
    let sent =
        streams.iter().map(|stream| (stream.0.to_string(), load(&stream.1.hub.counters.sent)));
    body["deliveries"]
        .as_object_mut()
        .expect("it has targets")
        .extend(stored.chain(sent).map(|(name, count)| (name, json!({ "done": count }))));
    let more = json!({
        "time": engine.env.clock.wall().to_string(),
        "pipeline": &*generation.plan.name,
        "generation": generation.number,
        "in_flight": engine.in_flight_count(),
        "queue": generation.plan.limits.queue,
        "pending": load(&store.pending),
        "dead_letters": load(&store.dead_letters),
        "bytes": load(&store.bytes),
        "clients": clients,
        "waiting": waiting,
        "breakers": breakers(&generation, engine.env.clock.monotonic()),
        "paused": paused(engine),
    });
    if let Value::Object(more) = more {
        body.extend(more);
    }
    Ok(json_text(Value::Object(body).to_string()))
}

/// Nodes that are paused.
fn paused(engine: &Engine) -> Map<String, Value> {
    let paused = engine.pauses().all().into_iter();
    paused.map(|(node, pause)| (node.to_string(), shown(&pause))).collect()
}

/// Breakers that let not everything pass.
fn breakers(generation: &Generation, now: Duration) -> Map<String, Value> {
    let stages = generation.plan.stages.iter().zip(&generation.stages);
    let stages = stages.filter_map(|(plan, open)| Some((&plan.name, &open.as_ref()?.limits)));
    let targets = generation.targets.iter().map(|(name, it)| (name, &it.limits));
    let shown = stages.chain(targets).filter_map(|(name, limits)| {
        let word = match limits.breaker.as_ref()?.state(now) {
            BreakerState::Closed => return None,
            BreakerState::HalfOpen => "half-open",
            BreakerState::Open => "open",
        };
        Some((name.to_string(), json!(word)))
    });
    shown.collect()
}
