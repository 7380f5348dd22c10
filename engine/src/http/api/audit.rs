//! What was done by hand, and who did it.

use super::{Answer, failed, json_text};
use crate::http::app::App;
use serde_json::json;
use tide::Request;

/// Most records of an answer.
const LIMIT: usize = 100;

/// What was done by hand, the newest first.
pub(super) async fn list(request: Request<App>) -> Answer {
    match request.state().engine.store.read(|reader| reader.audit(LIMIT)).await {
        Ok(rows) => Ok(json_text(json!({ "audit": rows }).to_string())),
        Err(fault) => Ok(failed(&fault)),
    }
}

/// The name of the token that a request shows; empty where none is asked for.
pub(super) fn who(request: &Request<App>) -> String {
    let field = |name| request.header(name).and_then(|header| header.get(0)).map(|it| it.as_str());
    request.state().who(field("authorization"), field("cookie"))
}
