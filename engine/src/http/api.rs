//! What the router answers: events, statistics, the plan, dead letters, metrics, health.

use crate::engine::Arrival;
use crate::http::app::App;
use crate::http::query;
use crate::http::wire::response::Reply;
use crate::metrics::Text;
use crate::run::Generation;
use serde_json::{Value, json};
use stages::event::Priority;
use stages::language::parse_duration;
use stages::store::{
    COMMIT_BUCKETS, Cursor, DeadLetter, Entry, EventQuery, StoreFault, StoreTrouble, write_detail,
    write_summary,
};
use stages::time::Timestamp;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use tide::{Request, Response, StatusCode};

/// Events of one page when nothing is said.
const LIMIT: usize = 100;

/// The routes.
pub(super) fn router(app: App) -> tide::Server<App> {
    let mut router = tide::with_state(app);
    router.at("/").get(page);
    router.at("/healthz").get(|_| async { Ok("ok\n") });
    router.at("/metrics").get(metrics);
    router.at("/api/events").get(events);
    router.at("/api/events/*id").get(event);
    router.at("/api/stats").get(stats);
    router.at("/api/pipeline").get(pipeline);
    router.at("/api/reloads").get(reloads);
    router.at("/api/dead-letters").get(dead_letters);
    router.at("/api/dead-letters/redrive").post(redrive);
    router.at("/api/dead-letters/:id").delete(drop_letter);
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
    let mut query = EventQuery { limit: LIMIT, ..EventQuery::default() };
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

async fn event(request: Request<App>) -> Answer {
    let app = request.state();
    let id = request.param("id").unwrap_or_default();
    let id = query::decoded(id).unwrap_or_else(|| id.to_owned());
    let pairs = query::pairs(request.url().query().unwrap_or_default()).unwrap_or_default();
    let source = pairs.into_iter().find(|it| it.0 == "source").map(|it| it.1);
    let store = &app.engine.store;
    let found = async {
        let sources = match source {
            Some(source) => vec![source],
            None => store.read(|it| it.sources()).await?,
        };
        let seqs = store.find(&id, sources).await?;
        let Some(seq) = seqs.first().copied() else { return Ok(None) };
        store.read(move |it| Ok(it.by_seq(&[seq])?.pop().zip(Some(it.deliveries_of(seq)?)))).await
    };
    let found: Result<_, StoreFault> = found.await;
    match found {
        Ok(Some((stored, deliveries))) => {
            let mut body = String::new();
            let pipeline = app.engine.generation().plan.name.clone();
            write_detail(&mut body, &stored, &pipeline, &deliveries);
            Ok(json_text(body))
        }
        Ok(None) => Ok(problem(404, "there is no such event")),
        Err(fault) => Ok(failed(&fault)),
    }
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

async fn reloads(request: Request<App>) -> Answer {
    match request.state().engine.store.read(|it| it.reloads(100)).await {
        Ok(reloads) => Ok(json_text(json!({ "reloads": reloads }).to_string())),
        Err(fault) => Ok(failed(&fault)),
    }
}

async fn dead_letters(request: Request<App>) -> Answer {
    let pairs = query::pairs(request.url().query().unwrap_or_default()).unwrap_or_default();
    let number = |name: &str| pairs.iter().find(|it| it.0 == name).and_then(|it| it.1.parse().ok());
    let (before, limit) = (number("before"), number("limit").unwrap_or(100));
    let read = move |it: &stages::store::Reader<'_>| {
        it.dead_letters(before, usize::try_from(limit).unwrap_or(100))
    };
    match request.state().engine.store.read(read).await {
        Ok(letters) => {
            let shown: Vec<Value> = letters.iter().map(letter).collect();
            Ok(json_text(json!({ "dead_letters": shown }).to_string()))
        }
        Err(fault) => Ok(failed(&fault)),
    }
}

fn letter(it: &DeadLetter) -> Value {
    json!({
        "id": it.id, "what": it.what.word(), "seq": it.seq, "source_node": &*it.source_node,
        "source": it.source, "event_id": it.event_id, "stage": &*it.stage, "class": it.class,
        "reason": it.reason, "attempts": it.attempts, "first": it.first.to_string(),
        "last": it.last.to_string(), "generation": it.generation,
        "body": String::from_utf8_lossy(&it.body),
    })
}

/// Takes one rejected letter in again by its source; what is refused again stays one.
async fn redrive(mut request: Request<App>) -> Answer {
    let body = request.body_bytes().await.unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let Some(id) = asked.get("id").and_then(Value::as_u64) else {
        return Ok(problem(400, "send {\"id\": NUMBER} of a dead letter"));
    };
    let engine = request.state().engine.clone();
    let letter = match engine.store.read(move |it| it.dead_letter(id)).await {
        Ok(Some(letter)) => letter,
        Ok(None) => return Ok(problem(404, "there is no such dead letter")),
        Err(fault) => return Ok(failed(&fault)),
    };
    if letter.what != stages::store::DeadLetterWhat::Rejected {
        return Ok(problem(409, "only what was refused on its way in can be taken in again"));
    }
    let arrival = Arrival {
        bytes: letter.body.clone(),
        http: None,
        id: letter.event_id.clone(),
        kind: None,
        decoded: None,
    };
    let answers = match engine.ingest(&letter.source_node, vec![arrival], Vec::new(), false).await {
        Ok(answers) => answers,
        Err(unavailable) => return Ok(problem(503, &unavailable.reason)),
    };
    let is_taken = !answers.iter().any(|it| matches!(it, crate::engine::Answer::Refused(_)));
    // Taken, or refused anew with a letter of its own: this one has had its turn.
    engine.store.submit(vec![Entry::DropLetter { id }]).await.ok();
    Ok(json_text(json!({ "id": id, "taken": is_taken }).to_string()))
}

async fn drop_letter(request: Request<App>) -> Answer {
    let Ok(id) = request.param("id").unwrap_or_default().parse() else {
        return Ok(problem(404, "there is no such dead letter"));
    };
    match request.state().engine.store.submit(vec![Entry::DropLetter { id }]).await {
        Ok(_) => Ok(Response::new(204)),
        Err(fault) => Ok(failed(&fault)),
    }
}

/// Ready while a generation runs, the store takes events and nobody is draining.
pub(super) fn ready(app: &App, may_know: bool) -> Reply {
    let mut reasons = Vec::new();
    if app.engine.is_stopping() {
        reasons.push("draining");
    }
    if !app.engine.store.is_healthy() {
        reasons.push("the store takes nothing");
    }
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
fn breakers(text: &mut Text, generation: &Generation, now: std::time::Duration) {
    text.family("engine_breaker_state", "gauge", "0 closed, 1 half-open, 2 open");
    let stages = generation.plan.stages.iter().zip(&generation.stages);
    let stages = stages.filter_map(|(plan, open)| Some((&plan.name, &open.as_ref()?.gate)));
    let outlets = generation.outlets.iter().map(|(name, it)| (name, &it.gate));
    for (name, gate) in stages.chain(outlets) {
        if let Some(circuit) = &gate.circuit {
            let state = circuit.standing(now) as u8;
            text.sample("engine_breaker_state", &[("stage", name)], f64::from(state));
        }
    }
}

async fn metrics(request: Request<App>) -> Answer {
    let app = request.state();
    let (engine, figures) = (&app.engine, app.engine.store.figures());
    let load = |it: &std::sync::atomic::AtomicU64| it.load(Ordering::Relaxed) as f64;
    let mut text = Text::default();
    text.family("engine_build_info", "gauge", "The running version");
    text.sample("engine_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let generation = engine.generation();
    text.gauge("engine_config_generation", "The running generation", generation.number as f64);
    engine.metrics.write(&mut text);
    text.gauge("engine_events_pending", "Accepted and not finished", load(&figures.pending));
    text.gauge("engine_dead_letters", "Rows of dead letters", load(&figures.dead_letters));
    text.gauge("engine_store_bytes", "Size of the database", load(&figures.bytes));
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
    for (name, limiter) in &generation.limiters {
        let evicted = limiter.evicted() as f64;
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
    for (sink, count) in suppressed {
        let labels = [("sink", &*sink), ("reason", "cooldown")];
        text.sample("engine_notifications_suppressed_total", &labels, count as f64);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(Response::builder(200).content_type(kind).body(text.0).build())
}
