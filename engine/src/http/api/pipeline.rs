//! The running plan and its history.

use super::{Answer, failed, json_text};
use crate::http::app::App;
use serde_json::{Value, json};
use tide::{Request, Response};

/// The plan as a graph.
pub(super) async fn pipeline(request: Request<App>) -> Answer {
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
pub(super) async fn pipeline_file(request: Request<App>) -> Answer {
    let text = request.state().engine.generation().plan.effective.to_string();
    Ok(Response::builder(200).content_type("text/plain; charset=utf-8").body(text).build())
}

/// Starts and reloads, the newest first.
pub(super) async fn reloads(request: Request<App>) -> Answer {
    match request.state().engine.store.read(|it| it.reloads(100)).await {
        Ok(reloads) => Ok(json_text(json!({ "reloads": reloads }).to_string())),
        Err(fault) => Ok(failed(&fault)),
    }
}
