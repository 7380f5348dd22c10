//! Events over HTTP: one, a JSON array, or one a line.

mod forms;

use crate::engine::{Engine, IngestResult, Overloaded, ReceivedMessage};
use crate::http::app::App;
use crate::http::places::Seat;
use crate::http::problem::ProblemDetails;
use crate::http::query;
use crate::http::service::Counters;
use crate::http::wire::body::BodyError;
use crate::http::wire::request::Request;
use crate::http::wire::response::Reply;
use crate::intake::{ITEMS_MAX, Rejection};
use compiler::plan::{SourcePlan, Violation};
use forms::Form;
use language::write_bytes;
use serde_json::{Map, Value, json};
use stages::contract::HttpRoute;
use stages::signature::{Signature, Signed, Unsigned};
use std::sync::Arc;

/// Reads the body and answers after the commit.
pub(super) async fn answer(
    app: &App,
    request: &mut Request<'_>,
    route: &HttpRoute,
    source: &SourcePlan,
    body_max: u64,
) -> Reply {
    let form = match forms::form_of(request.head(), route, &source.name) {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    let body = match request.body(usize::try_from(body_max).unwrap_or(usize::MAX)).await {
        Ok(body) => body,
        Err(BodyError::TooLarge(_)) => return too_large(body_max).closing(),
        Err(error) => return error.into(),
    };
    let signed = match &route.signature {
        None => Signed::default(),
        Some(signature) => match check_signature(app, signature, request, &body) {
            Ok(signed) => signed,
            Err(refused) => return refused,
        },
    };
    let id = route.idempotency_header.as_ref().and_then(|it| request.header(it));
    let id = id.map(str::to_owned).or(signed.id);
    let mut sender = Sender {
        engine: &app.engine,
        source: &source.name,
        is_spread: source.map.each.is_some(),
        http: describe(request),
        once: signed.once,
    };
    let is_array = body.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'[');
    let items = match form {
        Form::Nothing => match forms::without_body(request.head(), &source.map) {
            Ok(message) => return sender.one(message, id).await,
            Err(problem) => return problem.into(),
        },
        Form::Lines => forms::lines(&body),
        Form::Json if is_array => match forms::array(&body) {
            Ok(items) => items,
            Err(reason) => return ProblemDetails::new(400, reason).into(),
        },
        Form::Json => return sender.one(body, id).await,
    };
    // The items are copies; held besides them the body would count twice.
    drop(body);
    if ITEMS_MAX < items.len() {
        let detail = format!("more than {ITEMS_MAX} events in one request; send them in parts");
        return ProblemDetails::new(413, detail).into();
    }
    sender.many(items).await
}

fn too_large(body_max: u64) -> Reply {
    let most = write_bytes(body_max);
    let detail = format!(
        "the body is larger than {most}; write `server {{ max-body \"…\" }}` in the pipeline \
         file to accept larger ones"
    );
    ProblemDetails::new(413, detail).into()
}

/// Whether a request carries a signature at all, before its body is read.
pub(super) fn is_signed(
    signature: &Signature,
    request: &Request<'_>,
    counters: &Counters,
) -> Result<(), Reply> {
    if signature.is_given(&|name| only_header(request, name)) {
        return Ok(());
    }
    counters.auth_failures.note("signature");
    Err(unsigned(Unsigned::Missing))
}

fn check_signature(
    app: &App,
    signature: &Signature,
    request: &Request<'_>,
    body: &[u8],
) -> Result<Signed, Reply> {
    let now = app.engine.env.clock.wall();
    let signed = signature.check(&|name| only_header(request, name), body, now);
    match &signed {
        Ok(_) => drop(request.seat().inspect(|it: &&Seat| it.vouch())),
        Err(_) => app.state.counters.auth_failures.note("signature"),
    }
    signed.map_err(unsigned)
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
    ProblemDetails::new(401, why.to_string()).into()
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

/// Whose messages they are.
struct Sender<'a> {
    engine: &'a Arc<Engine>,
    source: &'a str,
    /// Whether one message may be any number of events.
    is_spread: bool,
    http: Arc<Value>,
    /// What tells this request from every other one that was signed.
    once: Option<String>,
}

impl Sender<'_> {
    fn arrival(&self, bytes: Vec<u8>, id: Option<String>, once: Option<String>) -> ReceivedMessage {
        let http = Some(self.http.clone());
        ReceivedMessage { bytes: bytes.into(), http, id, once, ..ReceivedMessage::default() }
    }

    async fn one(&mut self, body: Vec<u8>, id: Option<String>) -> Reply {
        let once = self.once.take();
        let arrivals = vec![self.arrival(body, id, once)];
        match self.engine.ingest(self.source, arrivals, Vec::new(), false).await {
            Ok(answers) if self.is_spread => items(answers),
            Ok(answers) => {
                let answer = answers.into_iter().next().expect("one message has one answer");
                single(answer)
            }
            Err(unavailable) => later(&unavailable),
        }
    }

    async fn many(&self, items: Vec<Vec<u8>>) -> Reply {
        let once = |index: usize| self.once.as_ref().map(|it| format!("{it}#{index}"));
        let items = items.into_iter().enumerate();
        let arrivals =
            items.map(|(index, it)| self.arrival(it, None, once(index))).collect::<Vec<_>>();
        let answers = match self.engine.ingest(self.source, arrivals, Vec::new(), false).await {
            Ok(answers) => answers,
            Err(unavailable) => return later(&unavailable),
        };
        several(&answers)
    }
}

fn several(answers: &[IngestResult]) -> Reply {
    let results: Vec<Value> = answers.iter().map(item).collect();
    Reply::json(batch_status(answers), &json!({ "results": results }))
}

/// The status of an answer about the items of one message; `None` where the message is refused.
pub(crate) fn items_status(answers: &[IngestResult]) -> Option<u16> {
    match answers {
        [IngestResult::Refused(refusal)] if refusal.is_whole => None,
        answers => Some(batch_status(answers)),
    }
}

fn batch_status(answers: &[IngestResult]) -> u16 {
    let is_taken = |it: &IngestResult| {
        matches!(it, IngestResult::Accepted { .. } | IngestResult::Duplicate { .. })
    };
    if answers.iter().all(is_taken) { 202 } else { 207 }
}

/// The items of one message. One that cannot be taken apart is refused as any other is.
fn items(mut answers: Vec<IngestResult>) -> Reply {
    match items_status(&answers) {
        None => single(answers.remove(0)),
        Some(_) => several(&answers),
    }
}

fn later(unavailable: &Overloaded) -> Reply {
    let detail = format!("{}: {}", unavailable.code, unavailable.reason);
    ProblemDetails::new(503, detail).retry_after(1).into()
}

fn single(answer: IngestResult) -> Reply {
    match answer {
        IngestResult::Refused(refusal) => problem(&refusal).into(),
        IngestResult::Conflict { seq, .. } => conflict(seq).into(),
        taken => {
            let (status, body) = taken_body(&taken);
            Reply::json(status, &body)
        }
    }
}

fn taken_body(answer: &IngestResult) -> (u16, Value) {
    match answer {
        IngestResult::Accepted { id, seq } => {
            (202, json!({ "id": &**id, "seq": seq, "duplicate": false }))
        }
        IngestResult::Duplicate { id, seq } => {
            (200, json!({ "id": &**id, "seq": seq, "duplicate": true }))
        }
        IngestResult::Discarded { id, name } => {
            let body =
                json!({ "id": &**id, "seq": null, "duplicate": false, "discarded": &**name });
            (202, body)
        }
        IngestResult::Refused(_) | IngestResult::Conflict { .. } => {
            unreachable!("told as a problem")
        }
    }
}

fn conflict(seq: u64) -> ProblemDetails {
    ProblemDetails::new(
        409,
        format!("this id was already accepted with a different body, as event {seq}"),
    )
}

fn problem(refusal: &Rejection) -> ProblemDetails {
    let errors = refusal.violations.iter().map(Violation::json).collect();
    ProblemDetails::new(refusal.status, refusal.detail.clone()).with_errors(errors)
}

/// What the item would be answered alone.
fn item(answer: &IngestResult) -> Value {
    let (status, mut body) = match answer {
        IngestResult::Refused(refusal) => {
            let it = problem(refusal);
            (it.status, json!({ "detail": it.detail, "errors": it.errors }))
        }
        IngestResult::Conflict { seq, .. } => (409, json!({ "detail": conflict(*seq).detail })),
        taken => taken_body(taken),
    };
    body["status"] = json!(status);
    body
}
