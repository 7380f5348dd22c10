//! Whether the engine is ready, and what does not work.

use super::pauses::shown;
use crate::http::app::App;
use crate::http::wire::response::Reply;
use kernel::health::{HealthState, OpenProblem, PartReport, PartRole};
use serde_json::{Value, json};

/// Ready while a generation runs, store and disk take events, and nobody is draining. Whatever
/// else fails is listed and leaves the engine ready: to restart it would not help.
pub(in crate::http) fn ready(app: &App, may_know: bool) -> Reply {
    let reports = app.engine.env.health.report();
    let reasons = reasons(app, &reports);
    let is_ready = reasons.is_empty();
    let status = if is_ready { 200 } else { 503 };
    if !may_know {
        return Reply::text(status, if is_ready { "up\n" } else { "down\n" });
    }
    let degraded: Vec<Value> = reports.iter().flat_map(problems_of).collect();
    let word = match (is_ready, degraded.is_empty()) {
        (false, _) => "failed",
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    let stale = app.status.stale();
    let config = if stale.is_some() { "stale" } else { "current" };
    let body = json!({
        "ready": is_ready, "status": word, "reasons": reasons, "degraded": degraded,
        "config": config, "diagnostics": stale, "generation": app.engine.generation().number,
        "paused": paused(app),
    });
    Reply::json(status, &body)
}

/// What somebody paused. That is no failure, but nobody should have to guess it.
fn paused(app: &App) -> Vec<Value> {
    let paused = app.engine.pauses().all().into_iter().map(|(node, pause)| {
        let mut shown = shown(&pause);
        shown["name"] = (*node).into();
        shown
    });
    paused.collect()
}

/// Why no events are taken.
fn reasons(app: &App, reports: &[PartReport]) -> Vec<String> {
    let mut reasons = Vec::new();
    if app.engine.is_stopping() {
        reasons.push("draining".to_owned());
    }
    let fatal = reports
        .iter()
        .filter(|report| matches!(report.part.role, PartRole::Store | PartRole::Disk));
    let failed = fatal.flat_map(|it| &it.problems);
    let failed = failed.filter(|failed| failed.problem.state == HealthState::Failed);
    let mut reported: Vec<String> = failed.map(|failed| failed.problem.reason.clone()).collect();
    if let (Some(trouble), true) = (app.engine.store.trouble(), reported.is_empty()) {
        reported.push(trouble.reason);
    }
    reasons.append(&mut reported);
    reasons
}

/// What is wrong with a part, each with the part's name.
fn problems_of(report: &PartReport) -> impl Iterator<Item = Value> {
    report.problems.iter().map(|open| {
        let mut problem = problem(open);
        problem["part"] = report.part.to_string().into();
        problem["role"] = report.part.role.word().into();
        problem["name"] = (*report.part.name).into();
        problem
    })
}

/// What is wrong, since when, and what to do.
fn problem(open: &OpenProblem) -> Value {
    let it = &open.problem;
    json!({
        "state": it.state.word(), "code": it.code, "subject": &*it.subject, "reason": it.reason,
        "advice": it.advice, "since": open.since.to_string(), "last": open.last.to_string(),
        "count": open.count,
    })
}

/// How a part is and what is wrong with it, as other pages show it.
pub(super) fn condition(report: &PartReport) -> Value {
    json!({
        "state": report.state.word(),
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}
