//! The running plan and its history.

use super::health::condition;
use super::pauses::shown;
use super::{Answer, failed, json_text, problem};
use crate::http::app::App;
use crate::http::query;
use crate::run::Generation;
use compiler::plan::{Plan, node_of};
use kernel::env::within;
use kernel::health::{PartReport, PartRole};
use serde_json::{Map, Value, json};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::MemoryTimer;
use tide::{Request, Response};

/// Most times to look again that are listed, the first ones.
const TIMERS_MAX: usize = 100;
/// How long a request waits for a reload.
const RELOAD_MAX: Duration = Duration::from_secs(60);

/// The plan as a graph.
pub(super) async fn pipeline(request: Request<App>) -> Answer {
    let app = request.state();
    let generation = app.engine.generation();
    let mut body = compiler::graph::plain(&generation.plan);
    add_health(&mut body, &generation.plan, app);
    match app.engine.store.read(|reader| reader.timers(TIMERS_MAX)).await {
        Ok(timers) => body.insert("memories".to_owned(), memories(&generation, &timers)),
        Err(fault) => return Ok(failed(&fault)),
    };
    let more = [
        ("generation", json!(generation.number)),
        ("loaded", json!(generation.loaded.to_string())),
        ("hash", json!(generation.hash)),
        ("config", json!(if app.status.stale().is_some() { "stale" } else { "current" })),
        ("diagnostics", json!(app.status.stale())),
        ("stale_since", json!(app.status.stale_since().map(|stale_since| stale_since.to_string()))),
        ("last_reload", json!(app.status.last())),
    ];
    body.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Ok(json_text(Value::Object(body).to_string()))
}

/// What stages remember: figures, and the times at which they want to look again.
fn memories(generation: &Generation, timers: &[MemoryTimer]) -> Value {
    let memories = generation.memories.iter().map(|(name, memory)| {
        let figures = &memory.node.figures;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let own = timers.iter().filter(|timer| timer.memory == **name);
        let next = own.map(|it| json!({ "key": it.key, "due": it.due.to_string() }));
        json!({
            "name": &**name,
            "keys": count(&figures.keys),
            "keys_max": memory.node.keys_max,
            "evicted": count(&figures.evicted),
            "emitted": count(&figures.emitted),
            "late": count(&figures.late),
            "timers": count(&figures.timers),
            "next": next.collect::<Vec<_>>(),
        })
    });
    memories.collect()
}

/// The graph with a place for each box.
pub(super) async fn graph(request: Request<App>) -> Answer {
    let generation = request.state().engine.generation();
    let graph = generation.plan.graph.as_ref().expect("a plan that runs has its graph");
    let mut drawing = compiler::graph::drawing(graph);
    drawing["generation"] = generation.number.into();
    Ok(json_text(drawing.to_string()))
}

/// The effective file of the running generation, or of an earlier one, secrets masked.
pub(super) async fn pipeline_file(request: Request<App>) -> Answer {
    let app = request.state();
    let text = match wanted_generation(request.url().query().unwrap_or_default()) {
        Err(detail) => return Ok(problem(400, detail)),
        Ok(None) => app.engine.generation().plan.effective.to_string(),
        Ok(Some(number)) => match app.status.file_of(number) {
            Some(text) => text.to_string(),
            None => {
                let known: Vec<String> =
                    app.status.generations().iter().map(u64::to_string).collect();
                let detail = format!(
                    "the file of generation {number} is not kept; available generations: {}",
                    known.join(", ")
                );
                return Ok(problem(404, &detail));
            }
        },
    };
    Ok(Response::builder(200).content_type("text/plain; charset=utf-8").body(text).build())
}

fn wanted_generation(text: &str) -> Result<Option<u64>, &'static str> {
    let wanted = query::value(text, "generation").map(|number| number.parse());
    wanted.transpose().map_err(|_| "`generation` must be a whole number")
}

/// Looks at the file on disk now, and says what that came to.
pub(super) async fn reload(request: Request<App>) -> Answer {
    let app = request.state();
    let before = app.engine.generation().number;
    let asked = app.status.reload();
    if within(&*app.engine.env.clock, RELOAD_MAX, asked).await.is_none() {
        return Ok(problem(504, "the reload takes longer than 60 seconds; see /api/reloads"));
    }
    let (number, stale) = (app.engine.generation().number, app.status.stale());
    let changes = (before < number).then(|| app.status.last()["changes"].clone());
    Ok(json_text(
        json!({
            "generation": number,
            "config": if stale.is_some() { "stale" } else { "current" },
            "changes": changes,
            "diagnostics": stale,
        })
        .to_string(),
    ))
}

/// Starts and reloads, the newest first.
pub(super) async fn reloads(request: Request<App>) -> Answer {
    let app = request.state();
    // Their files are kept, to be compared.
    let answer = |reloads| json!({ "reloads": reloads, "kept": app.status.generations() });
    match app.engine.store.read(|reader| reader.reloads(100)).await {
        Ok(reloads) => Ok(json_text(answer(reloads).to_string())),
        Err(fault) => Ok(failed(&fault)),
    }
}

/// Says of each node of the plan how it is and whether it is paused, of everything else that may fail too, and what is
/// parked for targets that the plan does not have.
fn add_health(body: &mut Map<String, Value>, plan: &Plan, app: &App) {
    let mut reports = app.engine.env.health.report();
    let roles = [
        ("sources", &[PartRole::Source][..]),
        ("stages", &[PartRole::Stage]),
        ("sinks", &[PartRole::Target, PartRole::Stream]),
        ("notifiers", &[PartRole::Target]),
    ];
    for (list, roles) in roles {
        for node in body.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let is_of_node = |report: &PartReport| {
                roles.contains(&report.part.role) && node["name"] == *report.part.name
            };
            let found = reports.iter().position(is_of_node);
            node["health"] = found.map_or(Value::Null, |it| condition(&reports.remove(it)));
            let name = node["name"].as_str().unwrap_or_default();
            if roles.contains(&PartRole::Target) && plan.pausable(node_of(name)).is_ok() {
                let pause = app.engine.pauses().of(name);
                node["paused"] = pause.map_or(Value::Null, |pause| shown(&pause));
            }
        }
    }
    let others = reports.iter().map(|report| {
        let mut shown = condition(report);
        shown["part"] = report.part.to_string().into();
        shown
    });
    body.insert("parts".to_owned(), others.collect());
    let parked = app.engine.store.figures().parked.lock().unwrap_or_else(PoisonError::into_inner);
    let parked = parked.iter().map(
        |(sink, size)| json!({ "sink": &**sink, "deliveries": size.rows, "bytes": size.bytes }),
    );
    body.insert("parked".to_owned(), parked.collect());
}
