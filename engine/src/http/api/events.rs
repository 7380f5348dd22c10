//! The list of stored events.

mod row_condition;

use super::{Answer, PAGE_BYTES, failed, json_text, problem};
use crate::http::app::App;
use crate::http::{paths, query};
use kernel::event::Priority;
use kernel::time::Timestamp;
use language::expr::Expr;
use language::parse_duration;
use row_condition::RowCondition;
use serde_json::json;
use store::{
    Cursor, EventCount, EventQuery, EventRow, EventTest, Reader, SearchFields, SearchWords,
    TextSearch, write_summary,
};
use tide::Request;

/// Events of one page when nothing is said.
const LIMIT: usize = 100;

/// What is asked of the list.
#[derive(Debug)]
struct ListRequest {
    query: EventQuery,
    /// Wanted are only those that this holds for.
    condition: Option<Expr>,
    counts: bool,
}

/// Reads `?…`; the error says everything that is wrong with it. `fields` are those whose texts the
/// store searches, if it does.
fn list_request(
    text: &str,
    now: Timestamp,
    fields: Option<&SearchFields>,
) -> Result<ListRequest, String> {
    let pairs = query::pairs(text).ok_or("the query cannot be read")?;
    let query = EventQuery { limit: LIMIT, bytes_max: Some(PAGE_BYTES), ..EventQuery::default() };
    let mut request = ListRequest { query, condition: None, counts: false };
    let read = |pair: (String, String)| match pair.0.as_str() {
        "q" => search(&mut request.query, &pair.1, fields),
        _ => parameter(&mut request, pair, now),
    };
    let wrong: Vec<String> = pairs.into_iter().map(read).filter_map(Result::err).collect();
    let query = &request.query;
    let lists = [&query.types, &query.sources, &query.subjects, &query.correlation_ids];
    match wrong.is_empty() {
        false => Err(wrong.join("; ")),
        true if lists.iter().any(|it| 100 < it.len()) => {
            Err("at most 100 values of one parameter".to_owned())
        }
        true => Ok(request),
    }
}

/// Takes one parameter in; the error says what is allowed.
fn parameter(
    request: &mut ListRequest,
    (name, value): (String, String),
    now: Timestamp,
) -> Result<(), String> {
    let query = &mut request.query;
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
        "since" => query.since = Some(time(&value, now).ok_or_else(|| wrong("RFC 3339 or -1h"))?),
        "until" => query.until = Some(time(&value, now).ok_or_else(|| wrong("RFC 3339 or -1h"))?),
        "limit" => {
            let limit = value.parse().ok().filter(|it| (1..=1000).contains(it));
            query.limit = limit.ok_or_else(|| wrong("1 to 1000"))?;
        }
        "order" => {
            query.is_oldest_first = match value.as_str() {
                "asc" => true,
                "desc" => false,
                _ => return Err(wrong("asc or desc")),
            }
        }
        "count" => {
            request.counts = match value.as_str() {
                "true" | "" => true,
                "false" => false,
                _ => return Err(wrong("true or false")),
            }
        }
        "where" => request.condition = Some(query::condition(&value)?),
        "cursor" => {
            query.cursor = Some(
                Cursor::parse(&value).ok_or_else(|| wrong("the `next` of an earlier response"))?,
            );
        }
        _ => return Err(paths::unknown_parameter(&name, paths::EVENTS)),
    }
    Ok(())
}

/// Takes the words of `q` in.
fn search(
    query: &mut EventQuery,
    words: &str,
    fields: Option<&SearchFields>,
) -> Result<(), String> {
    let Some(fields) = fields else {
        let missing = "`q` finds nothing in this store: add `search` to its `sink sqlite`";
        return Err(missing.to_owned());
    };
    if query.search.is_some() {
        return Err("`q` must be given once, with all words in it".to_owned());
    }
    let words = SearchWords::parse(words).map_err(|wanted| format!("`q` must be {wanted}"))?;
    query.search = Some(TextSearch { words, fields: fields.clone() });
    Ok(())
}

/// RFC 3339, or `-1h` back from now.
pub(super) fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    match text.strip_prefix('-') {
        Some(back) => Some(now.minus(parse_duration(back)?)),
        None => Timestamp::parse_bound(text),
    }
}

/// The events that the query names, the newest first unless it says otherwise.
pub(super) async fn events(request: Request<App>) -> Answer {
    let app = request.state();
    let now = app.engine.env.clock.wall();
    let generation = app.engine.generation();
    let fields = generation.plan.store.as_ref().and_then(|store| store.1.policy.search.as_ref());
    let asked = match list_request(request.url().query().unwrap_or_default(), now, fields) {
        Ok(asked) => asked,
        Err(detail) => return Ok(problem(400, &detail)),
    };
    let globals = generation.plan.globals.clone();
    let list = move |reader: &Reader<'_>| {
        let ListRequest { query, condition, counts } = asked;
        let condition = condition.map(|it| RowCondition::new(it, globals, now));
        // What the store can tell from its columns it tells; the rest is asked of rows.
        let (known, is_whole) = condition.as_ref().map(RowCondition::stored).unzip();
        let query = EventQuery { condition: known, ..query };
        let holds = |row: &mut EventRow<'_, '_>| condition.as_ref()?.holds(row);
        let test = (is_whole == Some(false)).then_some(&holds as EventTest<'_>);
        let page = match test {
            Some(test) => reader.events_where(&query, test)?,
            None => reader.events(&query)?,
        };
        let count = counts.then(|| reader.count_events(&query, test)).transpose()?;
        Ok((page, count))
    };
    let (page, count) = match app.engine.store.read(list).await {
        Ok(found) => found,
        Err(fault) => return Ok(failed(&fault)),
    };
    let mut body = String::from("{\"events\":[");
    for (index, row) in page.rows.iter().enumerate() {
        if 0 < index {
            body.push(',');
        }
        write_summary(&mut body, row, &generation.plan.name, &[]);
    }
    let next = page.next.map(|it| it.to_string());
    body.push_str(&format!("],\"next\":{}", json!(next)));
    if let Some(looked_at) = page.looked_at {
        body.push_str(&format!(",\"looked_at\":{looked_at}"));
    }
    if let Some(since) = page.searched_since {
        body.push_str(&format!(",\"searched_since\":\"{since}\""));
    }
    if let Some(EventCount { events, is_exact }) = count {
        body.push_str(&format!(",\"count\":{}", json!({ "events": events, "is_exact": is_exact })));
    }
    body.push('}');
    Ok(json_text(body))
}

#[cfg(test)]
mod tests;
