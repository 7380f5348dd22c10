//! What the router answers: events, statistics, the plan, dead letters, metrics, health.

mod audit;
mod events;
mod figures;
mod health;
mod letters;
mod lookup;
mod metrics;
mod notifications;
mod openapi;
mod page;
mod pauses;
mod pipeline;
mod retention;
mod series;
mod stats;
mod storage;

pub(super) use health::ready;
pub(super) use page::is_file;

use crate::http::app::App;
use serde_json::json;
use store::{StoreFault, StoreTrouble};
use tide::{Response, StatusCode};

/// What the events or letters of one page may hold, in bytes. A page that would hold more ends
/// early and says where the next one begins.
const PAGE_BYTES: usize = 4 << 20;

/// The routes.
pub(super) fn router(app: App) -> tide::Server<App> {
    let mut router = tide::with_state(app);
    router.at("/").get(page::file);
    router.at("/api/page/:file").get(page::file);
    router.at("/openapi.json").get(openapi::openapi);
    router.at("/healthz").get(|_| async { Ok("ok\n") });
    router.at("/metrics").get(metrics::metrics);
    router.at("/api/events").get(events::events);
    router.at("/api/events/*id").get(lookup::event);
    router.at("/api/stats").get(stats::stats);
    router.at("/api/series").get(series::series);
    router.at("/api/notifications").get(notifications::notifications);
    router.at("/api/notifications/test").post(notifications::send_test);
    router.at("/api/pipeline").get(pipeline::pipeline);
    router.at("/api/figures").get(figures::figures);
    router.at("/api/storage").get(storage::storage);
    router.at("/api/pipeline/graph").get(pipeline::graph);
    router.at("/api/pipeline/file").get(pipeline::pipeline_file);
    router.at("/api/retention").get(retention::forecast);
    router.at("/api/retention/*id").get(retention::explain);
    router.at("/api/reloads").get(pipeline::reloads);
    router.at("/api/reload").post(pipeline::reload);
    router.at("/api/pause").post(pauses::pause);
    router.at("/api/resume").post(pauses::resume);
    router.at("/api/audit").get(audit::list);
    router.at("/api/dead-letters").get(letters::list);
    router.at("/api/dead-letters/redrive").post(letters::redrive);
    router.at("/api/dead-letters/:id").get(letters::one).delete(letters::drop_letter);
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
