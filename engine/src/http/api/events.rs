//! The list of stored events.

use super::{Answer, PAGE_BYTES, failed, json_text, problem};
use crate::http::app::App;
use crate::http::query;
use kernel::event::Priority;
use kernel::time::Timestamp;
use language::parse_duration;
use serde_json::json;
use store::{Cursor, EventQuery, write_summary};
use tide::Request;

/// Events of one page when nothing is said.
const LIMIT: usize = 100;

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
            "q" => return Err("`q` needs full text, which this pipeline does not have".to_owned()),
            _ => return Err(format!("`{name}` is not a parameter of this list")),
        }
    }
    let lists = [&query.types, &query.sources, &query.subjects, &query.correlation_ids];
    if lists.iter().any(|it| 100 < it.len()) {
        return Err("at most 100 values of one parameter".to_owned());
    }
    Ok(query)
}

/// RFC 3339, or `-1h` back from now.
pub(super) fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    match text.strip_prefix('-') {
        Some(back) => Some(now.minus(parse_duration(back)?)),
        None => Timestamp::parse(text),
    }
}

/// The newest events that the query names.
pub(super) async fn events(request: Request<App>) -> Answer {
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
