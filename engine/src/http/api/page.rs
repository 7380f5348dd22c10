//! The page: what runs, and where to read on.

use super::Answer;
use crate::http::app::App;
use tide::{Request, Response};

/// A page without script.
pub(super) async fn page(request: Request<App>) -> Answer {
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
