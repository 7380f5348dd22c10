//! What the router answers: events, statistics, the plan, dead letters, metrics, health.

mod letters;
mod lookup;

use crate::http::app::App;
use crate::http::query;
use crate::http::wire::response::Reply;
use crate::metrics::{MetricsForm, MetricsText, write_process};
use crate::run::Generation;
use serde_json::{Value, json};
use stages::event::Priority;
use stages::language::parse_duration;
use stages::store::{
    BacklogSize, COMMIT_BUCKETS, Cursor, EventQuery, Figures, StoreFault, StoreTrouble,
    write_summary,
};
use stages::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use tide::{Request, Response, StatusCode};

/// Events of one page when nothing is said.
const LIMIT: usize = 100;

/// What the events or letters of one page may hold, in bytes. A page that would hold more ends
/// early and says where the next one begins.
const PAGE_BYTES: usize = 4 << 20;

/// The routes.
pub(super) fn router(app: App) -> tide::Server<App> {
    let mut router = tide::with_state(app);
    router.at("/").get(page);
    router.at("/healthz").get(|_| async { Ok("ok\n") });
    router.at("/metrics").get(metrics);
    router.at("/api/events").get(events);
    router.at("/api/events/*id").get(lookup::event);
    router.at("/api/stats").get(stats);
    router.at("/api/pipeline").get(pipeline);
    router.at("/api/pipeline/file").get(pipeline_file);
    router.at("/api/reloads").get(reloads);
    router.at("/api/audit").get(letters::audit_list);
    router.at("/api/dead-letters").get(letters::list);
    router.at("/api/dead-letters/redrive").post(letters::redrive);
    router.at("/api/dead-letters/:id").delete(letters::drop_letter);
    router
}

type Answer = tide::Result<Response>;

fn json_text(text: String) -> Response {
    Response::builder(200).content_type("application/json").body(text).build()
}

fn problem(status: u16, detail: &str) -> Response {
    let title = StatusCode::try_from(status).map_or("", |it| it.canonical_reason());
    let body = json!({ "type": "about:blank", "title": title, "status": status, "detail": detail });
    Response::builder(status)
        .content_type("application/problem+json")
        .body(body.to_string())
        .build()
}

fn failed(fault: &StoreFault) -> Response {
    let status = match fault.class {
        StoreTrouble::Full | StoreTrouble::Busy | StoreTrouble::ReadOnly => 503,
        StoreTrouble::Other => {
            tracing::warn!(reason = %fault, "a query failed");
            500
        }
        // The state of the store says so.
        _ => 500,
    };
    problem(status, &fault.reason)
}

async fn page(request: Request<App>) -> Answer {
    let app = request.state();
    let generation = app.engine.generation();
    let name = &generation.plan.name;
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title>\
         <h1>{name}</h1><p>Generation {} runs. {}</p>\
         <ul><li><a href=\"/api/events\">events</a></li><li><a href=\"/api/stats\">statistics</a>\
         </li><li><a href=\"/api/pipeline\">pipeline</a></li><li><a href=\"/metrics\">metrics</a>\
         </li></ul></html>",
        generation.number,
        if app.status.stale().is_some() { "The file on disk is not valid." } else { "" },
    );
    Ok(Response::builder(200).content_type("text/html; charset=utf-8").body(body).build())
}

/// Reads `?…` into a query; the error says which parameter is wrong.
fn event_query(text: &str, now: Timestamp) -> Result<EventQuery, String> {
    let pairs = query::pairs(text).ok_or("the query cannot be read")?;
    let mut query =
        EventQuery { limit: LIMIT, bytes_max: Some(PAGE_BYTES), ..EventQuery::default() };
    for (name, value) in pairs {
        let wrong = |wanted: &str| format!("`{name}` must be {wanted}");
        match name.as_str() {
            "type" => query.types.push(value),
            "source" => query.sources.push(value),
            "subject" => query.subjects.push(value),
            "correlation_id" => query.correlation_ids.push(value),
            "priority" => {
                let level = Priority::parse(&value);
                query.priorities.push(level.ok_or_else(|| wrong("low, normal, high or critical"))?);
            }
            "since" => {
                query.since = Some(time(&value, now).ok_or_else(|| wrong("RFC 3339 or -1h"))?)
            }
            "until" => {
                query.until = Some(time(&value, now).ok_or_else(|| wrong("RFC 3339 or -1h"))?)
            }
            "limit" => {
                let limit = value.parse().ok().filter(|it| (1..=1000).contains(it));
                query.limit = limit.ok_or_else(|| wrong("1 to 1000"))?;
            }
            "cursor" => {
                query.cursor =
                    Some(Cursor::parse(&value).ok_or_else(|| wrong("a `next` of ours"))?);
            }
            "q" => return Err("`q` needs full text, which this pipeline has not".to_owned()),
            _ => return Err(format!("`{name}` is no parameter of this list")),
        }
    }
    let lists = [&query.types, &query.sources, &query.subjects, &query.correlation_ids];
    if lists.iter().any(|it| 100 < it.len()) {
        return Err("at most 100 values of one parameter".to_owned());
    }
    Ok(query)
}

/// RFC 3339, or `-1h` back from now.
fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    match text.strip_prefix('-') {
        Some(back) => Some(now.minus(parse_duration(back)?)),
        None => Timestamp::parse(text),
    }
}

async fn events(request: Request<App>) -> Answer {
    let app = request.state();
    let now = app.engine.env.clock.wall();
    let query = match event_query(request.url().query().unwrap_or_default(), now) {
        Ok(query) => query,
        Err(detail) => return Ok(problem(400, &detail)),
    };
    let page = match app.engine.store.read(move |it| it.events(&query)).await {
        Ok(page) => page,
        Err(fault) => return Ok(failed(&fault)),
    };
    let pipeline = app.engine.generation().plan.name.clone();
    let mut body = String::from("{\"events\":[");
    for (index, row) in page.rows.iter().enumerate() {
        if 0 < index {
            body.push(',');
        }
        write_summary(&mut body, row, &pipeline, &[]);
    }
    let next = page.next.map(|it| it.to_string());
    body.push_str(&format!("],\"next\":{}}}", json!(next)));
    Ok(json_text(body))
}

async fn stats(request: Request<App>) -> Answer {
    let app = request.state();
    let pairs = query::pairs(request.url().query().unwrap_or_default()).unwrap_or_default();
    let days = pairs.iter().find(|it| it.0 == "days").map_or(Some(7), |it| it.1.parse().ok());
    let Some(days) = days.filter(|it| (1..=36_500).contains(it)) else {
        return Ok(problem(400, "`days` must be 1 to 36500"));
    };
    let now = app.engine.env.clock.wall();
    let mut stats = match app.engine.store.read(move |it| it.stats(days, now)).await {
        Ok(stats) => stats,
        Err(fault) => return Ok(failed(&fault)),
    };
    let figures = app.engine.store.figures();
    stats["store"] = json!({
        "bytes": figures.bytes.load(Ordering::Relaxed),
        "pending": figures.pending.load(Ordering::Relaxed),
        "dead_letters": figures.dead_letters.load(Ordering::Relaxed),
    });
    stats["streaming"] = app
        .streams()
        .iter()
        .map(|(name, stream)| {
            let counters = &stream.hub.counters;
            json!({
                "sink": &**name,
                "active_connections": counters.clients.load(Ordering::Relaxed),
                "events_streamed": counters.sent.load(Ordering::Relaxed),
                "max_connections": stream.settings.clients_max,
                "buffer_size": stream.settings.replay_max,
            })
        })
        .collect();
    Ok(json_text(stats.to_string()))
}

async fn pipeline(request: Request<App>) -> Answer {
    let app = request.state();
    let generation = app.engine.generation();
    let mut body = crate::graph::plain(&generation.plan);
    let more = [
        ("generation", json!(generation.number)),
        ("loaded", json!(generation.loaded.to_string())),
        ("hash", json!(generation.hash)),
        ("config", json!(if app.status.stale().is_some() { "stale" } else { "current" })),
        ("diagnostics", json!(app.status.stale())),
        ("last_reload", json!(app.status.last())),
    ];
    body.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Ok(json_text(Value::Object(body).to_string()))
}

/// The effective file of the running generation, secrets masked.
async fn pipeline_file(request: Request<App>) -> Answer {
    let text = request.state().engine.generation().plan.effective.to_string();
    Ok(Response::builder(200).content_type("text/plain; charset=utf-8").body(text).build())
}

async fn reloads(request: Request<App>) -> Answer {
    match request.state().engine.store.read(|it| it.reloads(100)).await {
        Ok(reloads) => Ok(json_text(json!({ "reloads": reloads }).to_string())),
        Err(fault) => Ok(failed(&fault)),
    }
}

/// Ready while a generation runs, the store takes events and nobody is draining.
pub(super) fn ready(app: &App, may_know: bool) -> Reply {
    let mut reasons = Vec::new();
    if app.engine.is_stopping() {
        reasons.push("draining".to_owned());
    }
    reasons.extend(app.engine.store.trouble().map(|trouble| trouble.reason));
    let status = if reasons.is_empty() { 200 } else { 503 };
    if !may_know {
        return Reply::text(status, if status == 200 { "up\n" } else { "down\n" });
    }
    let stale = app.status.stale();
    let config = if stale.is_some() { "stale" } else { "current" };
    let body = json!({
        "ready": reasons.is_empty(), "reasons": reasons, "config": config, "diagnostics": stale,
        "generation": app.engine.generation().number,
    });
    Reply::json(status, &body)
}

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

async fn metrics(request: Request<App>) -> Answer {
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
    let free = load(&figures.free_bytes);
    text.gauge("engine_store_disk_free_bytes", "Bytes free on the disk of the database", free);
    let damaged = engine.store.damaged_count() as f64;
    text.gauge("engine_store_damaged_rows", "Rows that are not what was written", damaged);
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
