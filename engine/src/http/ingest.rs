//! Events over HTTP: one, a JSON array, or one a line.

mod cloud;
pub(crate) mod forms;
mod replays;
mod unpack;

use crate::engine::{Engine, IngestResult, Overloaded, ReceivedMessage};
use crate::http::app::App;
use crate::http::places::Seat;
use crate::http::problem::ProblemDetails;
use crate::http::query;
use crate::http::wire::body::BodyError;
use crate::http::wire::request::Request;
use crate::http::wire::response::{BodyContent, Reply};
use crate::intake::Rejection;
use compiler::plan::{SourcePlan, Violation};
use forms::Messages;
use futures_util::future::join_all;
use kernel::decode;
use kernel::event::Event;
use language::expr::Scope;
use language::write_bytes;
pub(super) use replays::ReplayedIds;
use serde_json::{Map, Value, json};
use stages::contract::{HttpRoute, Respond};
use stages::credential::{Credentials, SenderRefusal, SenderState};
use stages::signature::Signed;
use std::sync::{Arc, OnceLock};
use unpack::Coding;

/// Why a request is not answered by its source.
pub(super) enum NotTaken {
    /// It cannot be read.
    Unreadable(Reply),
    /// It does not show who sends it.
    Stranger(SenderRefusal),
}

impl From<Reply> for NotTaken {
    fn from(reply: Reply) -> Self {
        NotTaken::Unreadable(reply)
    }
}

impl From<ProblemDetails> for NotTaken {
    fn from(problem: ProblemDetails) -> Self {
        NotTaken::Unreadable(problem.into())
    }
}

impl From<SenderRefusal> for NotTaken {
    fn from(refusal: SenderRefusal) -> Self {
        NotTaken::Stranger(refusal)
    }
}

/// A source as a request meets it.
#[derive(Clone, Copy)]
pub(super) struct Entrance<'a> {
    pub(super) source: &'a SourcePlan,
    pub(super) route: &'a HttpRoute,
    /// The largest body, also when it is unpacked.
    pub(super) body_max: u64,
}

/// Reads the body and answers after the commit.
pub(super) async fn answer(
    app: &App,
    request: &mut Request<'_>,
    entrance: Entrance<'_>,
    sender: SenderState,
) -> Result<Reply, NotTaken> {
    let Entrance { source, route, body_max } = entrance;
    let form = forms::form_of(request.head(), route, &source.name)?;
    let coding = unpack::coding_of(request.head())?;
    let most = usize::try_from(body_max).unwrap_or(usize::MAX);
    let body = match request.body(most).await {
        Ok(body) => body,
        Err(BodyError::TooLarge(_)) => return Err(too_large(body_max).closing().into()),
        Err(error) => return Err(Reply::from(error).into()),
    };
    // A signature is over the bytes as they were sent.
    let signed = match sender {
        SenderState::Known => Some(Signed::default()),
        SenderState::Unclear => check_body(app, route, request, &body)?,
    };
    let body = match coding {
        Coding::Gzip if !body.is_empty() => unpack::unpack(request, &body, most).await?,
        _ => body,
    };
    let (messages, lines) = forms::messages(form, request.head(), body, &source.map)?;
    let messages = without_tokens(&route.credentials, messages, signed.is_some())?;
    if sender == SenderState::Unclear {
        request.seat().inspect(|seat: &&Seat| seat.vouch());
    }
    let signed = signed.unwrap_or_default();
    let id = match &route.idempotency_header {
        Some(name) => idempotency_id(request, name)?,
        None => None,
    };
    let sender = Sender {
        engine: &app.engine,
        replayed: &app.replayed,
        source: &source.name,
        is_spread: source.map.each.is_some(),
        is_text: route.text.is_some(),
        http: describe(request, &route.credentials),
        id: id.or(signed.id),
        once: signed.once,
        respond: &route.respond,
    };
    Ok(match messages {
        Messages::One(message) => sender.one(message).await,
        Messages::Many(items) => sender.many(items, &lines).await,
    })
}

fn too_large(body_max: u64) -> Reply {
    let most = write_bytes(body_max);
    let detail = format!(
        "the body is larger than {most}; write `server {{ max-body \"…\" }}` in the pipeline \
         file to accept larger ones"
    );
    ProblemDetails::new(413, detail).into()
}

fn check_body(
    app: &App,
    route: &HttpRoute,
    request: &Request<'_>,
    body: &[u8],
) -> Result<Option<Signed>, SenderRefusal> {
    let now = app.engine.env.clock.wall();
    route.credentials.check_body(&|name| only_header(request, name), body, now)
}

/// Whether the headers of a request show who sends it.
pub(super) fn check_headers(
    credentials: &Credentials,
    request: &Request<'_>,
) -> Result<SenderState, SenderRefusal> {
    credentials.check_headers(&|name| only_header(request, name))
}

/// Messages without the fields that hold a token, each of which must hold a right one unless the
/// sender is known.
pub(crate) fn without_tokens(
    credentials: &Credentials,
    messages: Messages,
    is_known: bool,
) -> Result<Messages, SenderRefusal> {
    if !credentials.take_from_message() {
        return Ok(messages);
    }
    let strip = |message: Vec<u8>| {
        let Ok(mut value) = decode::parse(&message) else {
            // What nobody can read is refused for that only where its sender is known.
            let nothing = credentials.take_fields(&mut Value::Null);
            return if is_known { Ok(message) } else { nothing.map(|()| message) };
        };
        match credentials.take_fields(&mut value) {
            Err(refusal) if !is_known => Err(refusal),
            _ => Ok(value.to_string().into_bytes()),
        }
    };
    Ok(match messages {
        Messages::One(message) => Messages::One(strip(message)?),
        Messages::Many(items) if items.is_empty() && !is_known => {
            return credentials.take_fields(&mut Value::Null).map(|()| Messages::Many(items));
        }
        Messages::Many(items) => {
            Messages::Many(items.into_iter().map(strip).collect::<Result<_, _>>()?)
        }
    })
}

/// A header that stands twice is none: which of them counts would be a guess.
fn only_header<'r>(request: &'r Request<'_>, name: &str) -> Option<&'r str> {
    let mut all = request.head().headers().filter(|header| header.0.eq_ignore_ascii_case(name));
    let value = all.next()?.1;
    if all.next().is_some() {
        return None;
    }
    std::str::from_utf8(value).ok()
}

/// The id in the header that a source reads it from. An empty one is none, or all that send it so
/// would be one event; of two, which of them counts would be a guess.
fn idempotency_id(request: &Request<'_>, name: &str) -> Result<Option<String>, ProblemDetails> {
    let all = request.head().headers().filter(|header| header.0.eq_ignore_ascii_case(name));
    let mut ids = all.map(|header| header.1.trim_ascii()).filter(|id| !id.is_empty());
    let Some(id) = ids.next() else { return Ok(None) };
    if ids.next().is_some() {
        let detail = format!("the header `{name}` is given twice; send it once");
        return Err(ProblemDetails::new(400, detail));
    }
    let not_text = |_| ProblemDetails::new(400, format!("the header `{name}` is not UTF-8 text"));
    std::str::from_utf8(id).map(|id| Some(id.to_owned())).map_err(not_text)
}

/// The request for expressions: `http.header('X-…')`, `http.query('…')`, `http.path`.
fn describe(request: &Request<'_>, credentials: &Credentials) -> Arc<Value> {
    let head = request.head();
    let text = |it: &[u8]| Value::String(String::from_utf8_lossy(it).into_owned());
    let headers: Map<String, Value> = head
        .headers()
        .map(|(name, value)| (name.to_ascii_lowercase(), text(value)))
        .filter(|it| !is_credential(credentials, &it.0))
        .collect();
    let pairs = query::pairs(head.query().unwrap_or_default()).unwrap_or_default();
    let query: Map<String, Value> =
        pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let (method, path) = (head.method().word(), head.path());
    Arc::new(json!({ "headers": headers, "query": query, "method": method, "path": path }))
}

/// A header whose value nobody reads later.
pub(crate) fn is_credential(credentials: &Credentials, name: &str) -> bool {
    matches!(name, "authorization" | "cookie") || credentials.headers().any(|header| header == name)
}

/// Whose messages they are.
struct Sender<'a> {
    engine: &'a Arc<Engine>,
    replayed: &'a ReplayedIds,
    source: &'a Arc<str>,
    /// Whether one message may be any number of events.
    is_spread: bool,
    /// Whether messages are texts.
    is_text: bool,
    http: Arc<Value>,
    /// The id to use when `map` gives none; an item of a batch has its number beside it.
    id: Option<String>,
    /// What tells this request from every other one that was signed.
    once: Option<String>,
    respond: &'a Respond,
}

impl Sender<'_> {
    fn arrival(&self, bytes: Vec<u8>, id: Option<String>, once: Option<String>) -> ReceivedMessage {
        let http = Some(self.http.clone());
        let text = || Value::from(String::from_utf8_lossy(&bytes));
        let decoded = self.is_text.then(text);
        ReceivedMessage {
            bytes: bytes.into(),
            http,
            id,
            once,
            decoded,
            ..ReceivedMessage::default()
        }
    }

    async fn one(mut self, body: Vec<u8>) -> Reply {
        let (id, once) = (self.id.take(), self.once.take());
        let may_be_replayed = id.is_some() && once.is_some();
        let noted = self.respond.body.is_some().then(Arc::<OnceLock<Event>>::default);
        let arrival = ReceivedMessage { noted: noted.clone(), ..self.arrival(body, id, once) };
        match self.engine.ingest(self.source, vec![arrival], Vec::new(), false).await {
            Ok(answers) if self.is_spread => items(answers),
            Ok(answers) => {
                let answer = answers.into_iter().next().expect("one message has one answer");
                let event = noted.as_ref().and_then(|noted| noted.get());
                let (answer, is_new_id) = match may_be_replayed {
                    true => self.as_stored(answer).await,
                    false => (answer, false),
                };
                let reply = self.single(answer, event);
                // What the file wants to be answered, it wants for this, too.
                let is_usual = self.respond.status.is_none();
                if is_new_id && is_usual { reply.with_status(202) } else { reply }
            }
            Err(unavailable) => later(&unavailable),
        }
    }

    /// An answer with the id of the stored event, and whether it came again under an id that its
    /// source has not had: a signed request is known by its signature, whatever id it brings.
    async fn as_stored(&self, answer: IngestResult) -> (IngestResult, bool) {
        let IngestResult::Duplicate { id, seq } = answer else { return (answer, false) };
        let first = self.engine.store.read(move |reader| reader.id_of(seq)).await;
        match first {
            Ok(Some((_, first))) if first != *id => {
                let is_new = self.replayed.is_new(self.source, &id);
                (IngestResult::Duplicate { id: first.into(), seq }, is_new)
            }
            _ => (IngestResult::Duplicate { id, seq }, false),
        }
    }

    /// `lines` are the numbers of the lines that the items are from, if they are from lines.
    async fn many(self, items: Vec<Vec<u8>>, lines: &[usize]) -> Reply {
        let numbered =
            |it: &Option<String>, index: usize| it.as_ref().map(|text| format!("{text}#{index}"));
        let items = items.into_iter().enumerate();
        let arrivals = items.map(|(index, it)| {
            self.arrival(it, numbered(&self.id, index), numbered(&self.once, index))
        });
        let arrivals = arrivals.collect::<Vec<_>>();
        let mut answers = match self.engine.ingest(self.source, arrivals, Vec::new(), false).await {
            Ok(answers) => answers,
            Err(unavailable) => return later(&unavailable),
        };
        if self.once.is_some() {
            let all = answers.into_iter().map(|answer| self.as_stored(answer));
            answers = join_all(all).await.into_iter().map(|it| it.0).collect();
        }
        for (answer, line) in answers.iter_mut().zip(lines) {
            if let IngestResult::Refused(refusal) = answer {
                refusal.detail = at_line(&refusal.detail, *line);
            }
        }
        several(&answers)
    }

    /// As the file wants it, where it says so.
    fn single(&self, answer: IngestResult, event: Option<&Event>) -> Reply {
        let stored = match &answer {
            IngestResult::Accepted { id, seq } | IngestResult::Duplicate { id, seq } => {
                Some((id.clone(), *seq))
            }
            _ => None,
        };
        let (mut reply, status) = (single(answer), self.respond.status);
        // A sender that wants a certain status gets it also for what a rule of the file drops.
        if let Some(status) = status.filter(|_| (200..300).contains(&reply.status())) {
            reply = reply.with_status(status);
        }
        let (Some(body), Some(event), Some((id, seq))) = (&self.respond.body, event, stored) else {
            return if reply.may_have_body() { reply } else { Reply::empty(reply.status()) };
        };
        let mut event = Event { seq, ..event.clone() };
        event.envelope.id = id;
        let now = self.engine.env.clock.wall();
        let text = body.render(&Scope::of(&event, now));
        let content = BodyContent::Full(text.into_bytes());
        Reply::bare(reply.status(), content)
            .with("content-type", self.respond.content_type.clone())
            // Whatever an event brings, no browser takes it for a page of ours.
            .with("content-security-policy", "default-src 'none'; sandbox")
    }
}

/// A reason why a line is not JSON, with the number that the line has in its body.
fn at_line(detail: &str, line: usize) -> String {
    match detail.strip_prefix("not JSON: ") {
        Some(reason) => match reason.split_once(" at line 1 column ") {
            Some((reason, column)) => {
                format!("not JSON: {reason} at line {line} column {column}")
            }
            None => format!("not JSON: line {line}: {reason}"),
        },
        None => detail.to_owned(),
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
    let is_taken = |result: &IngestResult| {
        matches!(result, IngestResult::Accepted { .. } | IngestResult::Duplicate { .. })
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
