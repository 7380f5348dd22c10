//! Whether the engine is ready.

use crate::http::app::App;
use crate::http::wire::response::Reply;
use serde_json::json;

/// Ready while a generation runs, the store takes events and nobody is draining.
pub(in crate::http) fn ready(app: &App, may_know: bool) -> Reply {
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
