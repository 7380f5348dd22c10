//! Events over HTTP: one, a JSON array, or one a line.

use crate::engine::{Answer, Arrival, Engine, Unavailable};
use crate::http::problem::Problem;
use crate::http::query;
use crate::http::wire::request::Request;
use crate::http::wire::response::Reply;
use crate::intake::Refusal;
use crate::plan::Violation;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use stages::contract::Route;
use stages::signature::{Signature, Unsigned};
use std::sync::Arc;

/// Most items of one request.
const ITEMS_MAX: usize = 1000;

enum Form {
    One,
    Lines,
}

/// Reads the body and answers behind the commit.
pub(super) async fn answer(
    engine: &Arc<Engine>,
    request: &mut Request<'_>,
    route: &Route,
    source: &Arc<str>,
    body_max: u64,
) -> Reply {
    let form = match form_of(request) {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    let id = route.idempotency_header.as_ref().and_then(|it| request.header(it));
    let id = id.map(str::to_owned);
    let http = describe(request);
    let body = match request.body(usize::try_from(body_max).unwrap_or(usize::MAX)).await {
        Ok(body) => body,
        Err(error) => return error.into(),
    };
    if let Some(signature) = &route.signature {
        let now = engine.env.clock.wall();
        if let Err(why) = signature.check(&|name| only_header(request, name), &body, now) {
            return unsigned(why);
        }
    }
    let is_array = body.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'[');
    let items = match form {
        Form::Lines => lines(&body),
        Form::One if is_array => match array(&body) {
            Some(items) => items,
            None => return Problem::new(400, "not JSON: the array cannot be read").into(),
        },
        Form::One => return one(engine, source, body, http, id).await,
    };
    if ITEMS_MAX < items.len() {
        let detail = format!("{} items; at most {ITEMS_MAX} in one request", items.len());
        return Problem::new(413, detail).into();
    }
    many(engine, source, items, http).await
}

/// Whether a request carries a signature at all, before its body is read.
pub(super) fn is_signed(signature: &Signature, request: &Request<'_>) -> Result<(), Reply> {
    if signature.is_given(&|name| only_header(request, name)) {
        return Ok(());
    }
    Err(unsigned(Unsigned::Missing))
}

/// A header that stands twice is none: which of them counts would be a guess.
fn only_header<'r>(request: &'r Request<'_>, name: &str) -> Option<&'r str> {
    let mut all = request.head().headers().filter(|it| it.0.eq_ignore_ascii_case(name));
    let value = all.next()?.1;
    if all.next().is_some() {
        return None;
    }
    std::str::from_utf8(value).ok()
}

fn unsigned(why: Unsigned) -> Reply {
    Problem::new(401, why.to_string()).into()
}

fn form_of(request: &Request<'_>) -> Result<Form, Reply> {
    let given = request.header("content-type").unwrap_or("application/json");
    let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        "application/json" => Ok(Form::One),
        it if it.ends_with("+json") => Ok(Form::One),
        _ => {
            let detail =
                format!("`{kind}` is not taken; send application/json or application/x-ndjson");
            Err(Problem::new(415, detail).into())
        }
    }
}

/// The request for expressions: `http.header('X-…')`, `http.query('…')`, `http.path`.
fn describe(request: &Request<'_>) -> Arc<Value> {
    let head = request.head();
    let text = |it: &[u8]| Value::String(String::from_utf8_lossy(it).into_owned());
    let headers: Map<String, Value> = head
        .headers()
        .filter(|it| it.0 != "authorization" && it.0 != "cookie")
        .map(|(name, value)| (name.to_ascii_lowercase(), text(value)))
        .collect();
    let pairs = query::pairs(head.query().unwrap_or_default()).unwrap_or_default();
    let query: Map<String, Value> =
        pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let (method, path) = (head.method().word(), head.path());
    Arc::new(json!({ "headers": headers, "query": query, "method": method, "path": path }))
}

fn lines(body: &[u8]) -> Vec<Vec<u8>> {
    let lines = body.split(|it| *it == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|it| !it.is_empty()).map(<[u8]>::to_vec).take(ITEMS_MAX + 1).collect()
}

/// The items as they were received, white space around them cut.
fn array(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    let items: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    Some(items.into_iter().map(|it| it.get().as_bytes().to_vec()).collect())
}

fn arrival(bytes: Vec<u8>, http: Arc<Value>, id: Option<String>) -> Arrival {
    Arrival { bytes: bytes.into(), http: Some(http), id, kind: None, decoded: None }
}

async fn one(
    engine: &Arc<Engine>,
    source: &str,
    body: Vec<u8>,
    http: Arc<Value>,
    id: Option<String>,
) -> Reply {
    let arrivals = vec![arrival(body, http, id)];
    match engine.ingest(source, arrivals, Vec::new(), false).await {
        Ok(answers) => {
            let answer = answers.into_iter().next().expect("one message has one answer");
            single(answer)
        }
        Err(unavailable) => later(&unavailable),
    }
}

fn later(unavailable: &Unavailable) -> Reply {
    let detail = format!("{}: {}", unavailable.code, unavailable.reason);
    Problem::new(503, detail).retry_after(1).into()
}

fn single(answer: Answer) -> Reply {
    match answer {
        Answer::Refused(refusal) => problem(&refusal).into(),
        Answer::Conflict { seq, .. } => conflict(seq).into(),
        taken => {
            let (status, body) = taken_body(&taken);
            Reply::json(status, &body)
        }
    }
}

fn taken_body(answer: &Answer) -> (u16, Value) {
    match answer {
        Answer::Accepted { id, seq } => {
            (202, json!({ "id": &**id, "seq": seq, "duplicate": false }))
        }
        Answer::Duplicate { id, seq } => {
            (200, json!({ "id": &**id, "seq": seq, "duplicate": true }))
        }
        Answer::Discarded { id, name } => {
            let body =
                json!({ "id": &**id, "seq": null, "duplicate": false, "discarded": &**name });
            (202, body)
        }
        Answer::Refused(_) | Answer::Conflict { .. } => unreachable!("told as a problem"),
    }
}

fn conflict(seq: u64) -> Problem {
    Problem::new(409, format!("another body came before with this id, as {seq}"))
}

fn problem(refusal: &Refusal) -> Problem {
    let errors = refusal.violations.iter().map(Violation::json).collect();
    Problem::new(refusal.status, refusal.detail.clone()).with_errors(errors)
}

async fn many(engine: &Arc<Engine>, source: &str, items: Vec<Vec<u8>>, http: Arc<Value>) -> Reply {
    let arrivals: Vec<Arrival> =
        items.into_iter().map(|it| arrival(it, http.clone(), None)).collect();
    let answers = match engine.ingest(source, arrivals, Vec::new(), false).await {
        Ok(answers) => answers,
        Err(unavailable) => return later(&unavailable),
    };
    let results: Vec<Value> = answers.iter().map(item).collect();
    let is_taken = |it: &Answer| matches!(it, Answer::Accepted { .. } | Answer::Duplicate { .. });
    let status = if answers.iter().all(is_taken) { 202 } else { 207 };
    Reply::json(status, &json!({ "results": results }))
}

/// What the item would be answered alone.
fn item(answer: &Answer) -> Value {
    let (status, mut body) = match answer {
        Answer::Refused(refusal) => {
            let it = problem(refusal);
            (it.status, json!({ "detail": it.detail, "errors": it.errors }))
        }
        Answer::Conflict { seq, .. } => (409, json!({ "detail": conflict(*seq).detail })),
        taken => taken_body(taken),
    };
    body["status"] = json!(status);
    body
}
