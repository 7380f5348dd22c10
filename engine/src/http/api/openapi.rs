//! What there is to call, as OpenAPI 3.1: the paths of the router, and those that the file gives
//! its sources and streams.

use super::letters::FILTERS as LETTER_FILTERS;
use super::{Answer, json_text};
use crate::http::app::App;
use crate::http::paths::{self, PATHS, PathParameter, PathRow};
use serde_json::{Map, Value, json};
use stages::contract::{BodyForm, HttpRoute};
use tide::Request;

/// Paths that anybody may read; `/readyz` says more to who has a token.
const OPEN: [&str; 3] = ["/", "/healthz", "/readyz"];

/// The description.
pub(super) async fn openapi(request: Request<App>) -> Answer {
    let app = request.state();
    let generation = app.engine.generation();
    let plan = &generation.plan;
    let mut paths = Map::new();
    for row in PATHS.iter().filter(|path| !path.summary.is_empty()) {
        paths.insert(templated(row.path), of_row(row));
    }
    for (index, route) in &generation.routes {
        let source = &plan.sources[*index].name;
        paths.insert(route.path.clone(), of_source(source, route));
    }
    for (name, shape) in plan.streams() {
        let summary = format!("The stream `{name}`");
        let answers = answers("text/event-stream", &[400, 503]);
        let parameters: Vec<Value> = paths::STREAM.iter().map(of_parameter).collect();
        let get = json!({ "summary": summary, "responses": answers, "parameters": parameters });
        paths.insert(shape.path.clone(), json!({ "get": get }));
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": &*plan.name, "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": { "schemas": { "Problem": problem() } },
    });
    if plan.server.has_auth {
        let scheme = json!({ "type": "http", "scheme": "bearer" });
        document["components"]["securitySchemes"] = json!({ "token": scheme });
        document["security"] = json!([{ "token": [] }]);
    }
    Ok(json_text(document.to_string()))
}

/// `/api/events/{id}`.
fn templated(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.strip_prefix([':', '*']) {
        Some(name) => format!("{{{name}}}"),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("/")
}

fn of_parameter(parameter: &PathParameter) -> Value {
    let text = json!({ "type": "string" });
    let schema = if parameter.is_list { json!({ "type": "array", "items": text }) } else { text };
    json!({ "name": parameter.name, "in": "query", "description": parameter.says, "schema": schema })
}

/// What the body of a POST says; nothing where it says nothing.
fn body_of(path: &str) -> Value {
    let text = |says: &str| json!({ "type": "string", "description": says });
    let (properties, required) = match path {
        "/api/pause" => (
            json!({
                "name": text("the sink or notifier"),
                "for": text("a duration from 1s to 31d; without it, until it is resumed"),
            }),
            json!(["name"]),
        ),
        "/api/resume" => (json!({ "name": text("the sink or notifier") }), json!(["name"])),
        "/api/notifications/test" => {
            (json!({ "notifier": text("the notifier") }), json!(["notifier"]))
        }
        "/api/dead-letters/redrive" => (redrive_properties(), json!([])),
        _ => return json!({}),
    };
    let schema = json!({
        "type": "object", "properties": properties, "required": required,
        "additionalProperties": false,
    });
    json!({ "schema": schema })
}

/// Letters are selected in one way: `id`, `ids`, `all`, or by filters.
fn redrive_properties() -> Value {
    let integer = json!({ "type": "integer", "minimum": 0 });
    let mut properties = json!({
        "id": integer, "ids": { "type": "array", "items": integer }, "all": { "const": true },
        "dry_run": { "type": "boolean" },
        "limit": { "type": "integer", "minimum": 1, "maximum": 1000 },
        "after": integer,
        "body": { "type": "string", "description": "with `id`: the message to try instead" },
    });
    for name in LETTER_FILTERS {
        properties[name] = json!({ "type": "string" });
    }
    properties
}

fn of_row(row: &PathRow) -> Value {
    let in_path = row.path.split('/').filter_map(|part| part.strip_prefix([':', '*'])).map(|name| {
        json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
    });
    let in_query = row.parameters.iter().map(of_parameter);
    let has_id = row.path.contains([':', '*']);
    let mut parameters: Vec<Value> = in_path.collect();
    parameters.extend(in_query);
    let mut statuses = vec![503];
    statuses.extend((!row.parameters.is_empty()).then_some(400));
    statuses.extend(has_id.then_some(404));
    let operations = row.methods.iter().filter(|method| !matches!(**method, "HEAD" | "OPTIONS"));
    let operations = operations.map(|method| {
        let mut statuses = statuses.clone();
        if *method == "POST" {
            statuses.extend([400, 404, 409, 415, 429]);
        }
        let mut answers = answers(row.content, &statuses);
        if OPEN.contains(&row.path) {
            answers.remove("401");
        }
        if *method == "DELETE" {
            answers.remove("200");
            answers.insert("204".to_owned(), json!({ "description": "done" }));
        }
        let mut operation = json!({ "summary": row.summary, "responses": answers });
        if !parameters.is_empty() {
            operation["parameters"] = json!(parameters);
        }
        if *method == "POST" {
            operation["requestBody"] =
                json!({ "content": { "application/json": body_of(row.path) } });
        }
        if OPEN.contains(&row.path) {
            operation["security"] = json!([]);
        }
        (method.to_lowercase(), operation)
    });
    Value::Object(operations.collect())
}

/// Messages of a source: taken, known, or why not.
fn of_source(name: &str, route: &HttpRoute) -> Value {
    let summary = format!("A message for the source `{name}`");
    let mut answers = answers("application/json", &[400, 403, 409, 413, 415, 422, 503]);
    let content = json!({ "application/json": {} });
    for (status, description) in [
        ("202", "accepted, and on disk"),
        ("200", "known already"),
        ("207", "of several messages, some were not accepted: a status for each"),
    ] {
        let answer = json!({ "description": description, "content": content });
        answers.insert(status.to_owned(), answer);
    }
    if let Some(status) = route.respond.status {
        let done = json!({ "description": "accepted and on disk, or a duplicate" });
        answers.insert(status.to_string(), done);
    }
    let kinds = route.accepts.iter().flat_map(|it| kinds_of(*it));
    let kinds = kinds.chain(route.text.map(|_| &"text/plain"));
    let content: Map<String, Value> = kinds.map(|kind| ((*kind).to_owned(), json!({}))).collect();
    let operation = |method: &String| {
        let mut operation = json!({ "summary": summary, "responses": answers });
        // The query of a GET is its message.
        if method != "GET" {
            operation["requestBody"] = json!({ "content": content });
        }
        (method.to_lowercase(), operation)
    };
    Value::Object(route.methods.iter().map(operation).collect())
}

/// The types of a body.
fn kinds_of(form: BodyForm) -> &'static [&'static str] {
    match form {
        BodyForm::Json => &["application/json"],
        BodyForm::Lines => &["application/x-ndjson"],
        BodyForm::Text => &["text/plain"],
        BodyForm::Form => &["application/x-www-form-urlencoded"],
        BodyForm::CloudEvents => {
            &["application/cloudevents+json", "application/cloudevents-batch+json"]
        }
    }
}

/// Success with this content, and what else there may be.
fn answers(content: &str, statuses: &[u16]) -> Map<String, Value> {
    let said = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let problem = |description: &str| json!({ "description": description, "content": said });
    let mut answers = Map::new();
    answers.insert("200".to_owned(), json!({ "description": "done", "content": { content: {} } }));
    for status in statuses {
        let description = match status {
            400 => "a parameter or the body is wrong",
            403 => "this is not allowed",
            404 => "not found",
            409 => "a conflict: not possible now, or this id was accepted with different content",
            413 => "too large",
            415 => "the content type is not supported",
            422 => "not valid",
            429 => "too many requests; `Retry-After` says when to try again",
            _ => "temporarily unavailable; `Retry-After` says when to try again",
        };
        answers.insert(status.to_string(), problem(description));
    }
    answers.insert("401".to_owned(), problem("a token is missing or wrong"));
    answers.insert("default".to_owned(), problem("any other error"));
    answers
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
        },
    })
}
