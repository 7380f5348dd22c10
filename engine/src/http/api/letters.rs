//! Dead letters: listed, dropped, and put right one by one or many at once.

use super::audit::who;
use super::events::time;
use super::{Answer, PAGE_BYTES, failed, json_text, problem};
use crate::engine::{Overloaded, Redriven};
use crate::http::app::App;
use crate::http::query;
use futures_util::future::join_all;
use kernel::time::Timestamp;
use language::nearest;
use serde_json::{Map, Value, json};
use std::fmt::Display;
use store::{
    AuditRecord, DeadLetter, DeadLetterWhat, LetterFilter, LetterOrder, LetterPage, Reader,
    StoreEntry, StoreFault,
};
use tide::{Request, Response};

/// Letters of one page when nothing is said.
const LIMIT: usize = 100;

/// The most letters of one page, and of one redrive.
const LIMIT_MAX: usize = 1000;

/// What a list shows of each body, in bytes; the page of the letter has all of it.
const SHOWN_MAX: usize = 16 << 10;

/// Numbers that a 404 repeats.
const IDS_SHOWN: usize = 10;

/// Letters that are tried at the same time.
const AT_ONCE: usize = 32;

/// What a filter may say, in a query and in the body of a redrive.
pub(super) const FILTERS: [&str; 7] =
    ["what", "stage", "source", "class", "event_id", "since", "until"];

/// Reads one part of a filter; the error says what is wrong with it.
fn read_filter(
    filter: &mut LetterFilter,
    name: &str,
    value: &str,
    now: Timestamp,
) -> Result<(), String> {
    let at = || time(value, now).ok_or(format!("`{name}` must be RFC 3339 or -1h"));
    let text = Some(value.to_owned());
    match name {
        "what" => {
            let what = DeadLetterWhat::parse(value);
            let wanted = || format!("`{name}` must be rejected, event or delivery");
            filter.what = Some(what.ok_or_else(wanted)?);
        }
        "stage" => filter.stage = text,
        "source" => filter.source = text,
        "class" => filter.class = text,
        "event_id" => filter.event_id = text,
        "since" => filter.since = Some(at()?),
        "until" => filter.until = Some(at()?),
        _ => unreachable!("`{name}` is in the list"),
    }
    Ok(())
}

fn unknown(name: &str, known: &[&str]) -> String {
    let known = FILTERS.iter().chain(known).copied();
    match nearest(name, known.clone()) {
        Some(meant) => format!("there is no `{name}`; did you mean `{meant}`?"),
        None => format!("there is no `{name}`; there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn limit(value: &str) -> Result<usize, String> {
    let limit = value.parse().ok().filter(|it| (1..=LIMIT_MAX).contains(it));
    limit.ok_or(format!("`limit` must be 1 to {LIMIT_MAX}"))
}

/// What a list asks for.
struct ListQuery {
    filter: LetterFilter,
    before: Option<u64>,
    limit: usize,
}

impl ListQuery {
    fn read(text: &str, now: Timestamp) -> Result<ListQuery, String> {
        let pairs = query::pairs(text).ok_or("the query cannot be read")?;
        let mut asked = ListQuery { filter: LetterFilter::default(), before: None, limit: LIMIT };
        for (name, value) in pairs {
            match name.as_str() {
                "before" => {
                    let before = value
                        .parse()
                        .map_err(|_| "`before` must be the `next` of an earlier response")?;
                    asked.before = Some(before);
                }
                "limit" => asked.limit = limit(&value)?,
                it if FILTERS.contains(&it) => read_filter(&mut asked.filter, it, &value, now)?,
                other => return Err(unknown(other, &["before", "limit"])),
            }
        }
        Ok(asked)
    }
}

pub(super) async fn list(request: Request<App>) -> Answer {
    let app = request.state();
    let now = app.engine.env.clock.wall();
    let asked = match ListQuery::read(request.url().query().unwrap_or_default(), now) {
        Ok(asked) => asked,
        Err(detail) => return Ok(problem(400, &detail)),
    };
    let read = move |reader: &Reader<'_>| {
        let order = LetterOrder::Newest(asked.before);
        reader.letter_list(&asked.filter, order, asked.limit, PAGE_BYTES, SHOWN_MAX)
    };
    match app.engine.store.read(read).await {
        Ok(page) => {
            let letters = page.letters.iter().zip(page.sizes);
            let shown: Vec<Value> = letters.map(|(it, size)| letter(it, size)).collect();
            Ok(json_text(json!({ "dead_letters": shown, "next": page.next }).to_string()))
        }
        Err(fault) => Ok(failed(&fault)),
    }
}

/// The number of the letter that a path names, or what it names instead.
fn id_in(request: &Request<App>) -> Result<u64, &str> {
    let text = request.param("id").unwrap_or_default();
    text.parse().map_err(|_| text)
}

fn no_letter(id: impl Display) -> Response {
    problem(404, &format!("there is no dead letter {id}"))
}

/// One letter with all of its body.
pub(super) async fn one(request: Request<App>) -> Answer {
    let app = request.state();
    let id = match id_in(&request) {
        Ok(id) => id,
        Err(text) => return Ok(no_letter(text)),
    };
    match app.engine.store.read(move |reader| reader.dead_letter(id)).await {
        Ok(Some(it)) => Ok(json_text(letter(&it, it.body.len()).to_string())),
        Ok(None) => Ok(no_letter(id)),
        Err(fault) => Ok(failed(&fault)),
    }
}

/// A letter as it is shown; its body has `size` bytes, not all of which may be there.
fn letter(it: &DeadLetter, size: usize) -> Value {
    json!({
        "id": it.id, "what": it.what.word(), "seq": it.seq, "source_node": &*it.source_node,
        "source": it.source, "event_id": it.event_id, "stage": &*it.stage, "class": it.class,
        "reason": it.reason, "attempts": it.attempts, "first": it.first.to_string(),
        "last": it.last.to_string(), "generation": it.generation,
        "context": it.context.as_deref(), "body": String::from_utf8_lossy(&it.body),
        "body_bytes": size,
    })
}

/// Which letters a redrive is asked for.
#[derive(Debug, PartialEq)]
enum LetterWanted {
    One(u64),
    These(Vec<u64>),
    Fitting(LetterFilter),
}

/// What a redrive is asked for.
#[derive(Debug, PartialEq)]
struct RedriveOrder {
    wanted: LetterWanted,
    is_dry: bool,
    limit: usize,
    /// Only letters with a higher number: where the call before ended.
    after: u64,
    /// What one refused message is to say instead.
    edited: Option<String>,
}

impl RedriveOrder {
    fn read(body: &[u8], now: Timestamp) -> Result<RedriveOrder, String> {
        const WAYS: &str = "send {\"id\": 1}, {\"ids\": [1, 2]}, a filter such as \
                            {\"stage\": \"weather\"}, or {\"all\": true}";
        let asked: Value = serde_json::from_slice(body).map_err(|_| WAYS)?;
        let Value::Object(fields) = asked else { return Err(WAYS.to_owned()) };
        let (mut filter, mut wanted) = (LetterFilter::default(), Vec::new());
        let (mut is_dry, mut limit, mut after, mut edited) = (false, LIMIT_MAX, 0, None);
        for (name, value) in &fields {
            match name.as_str() {
                "id" => wanted.push(LetterWanted::One(number(name, value)?)),
                "ids" => wanted.push(LetterWanted::These(numbers(value)?)),
                "all" => {
                    if *value != Value::Bool(true) {
                        return Err("`all` must be true".to_owned());
                    }
                    wanted.push(LetterWanted::Fitting(LetterFilter::default()));
                }
                "dry_run" => {
                    is_dry = value.as_bool().ok_or("`dry_run` must be true or false")?;
                }
                "limit" => {
                    let most =
                        number(name, value).ok().and_then(|number| usize::try_from(number).ok());
                    let most = most.filter(|it| (1..=LIMIT_MAX).contains(it));
                    limit = most.ok_or(format!("`limit` must be 1 to {LIMIT_MAX}"))?;
                }
                "after" => after = number(name, value)?,
                "body" => {
                    let text = value.as_str().ok_or("`body` must be the message, as a text")?;
                    edited = Some(text.to_owned());
                }
                it if FILTERS.contains(&it) => {
                    let text = value.as_str().ok_or(format!("`{it}` must be a text"))?;
                    read_filter(&mut filter, it, text, now)?;
                }
                other => {
                    let known = ["id", "ids", "all", "dry_run", "limit", "after", "body"];
                    return Err(unknown(other, &known));
                }
            }
        }
        if filter != LetterFilter::default() {
            wanted.push(LetterWanted::Fitting(filter));
        }
        let (1, Some(wanted)) = (wanted.len(), wanted.pop()) else {
            return Err(format!("select the letters in one way: {WAYS}"));
        };
        if edited.is_some() && (is_dry || !matches!(wanted, LetterWanted::One(_))) {
            return Err("`body` requires `id`, and cannot be combined with `dry_run`".to_owned());
        }
        Ok(RedriveOrder { wanted, is_dry, limit, after, edited })
    }

    /// The letters, the oldest first.
    fn find(&self, reader: &Reader<'_>) -> Result<LetterPage, StoreFault> {
        let ids = match &self.wanted {
            LetterWanted::Fitting(filter) => {
                let order = LetterOrder::Oldest(self.after);
                return reader.dead_letters(filter, order, self.limit, PAGE_BYTES);
            }
            LetterWanted::One(id) => std::slice::from_ref(id),
            LetterWanted::These(ids) => ids,
        };
        let mut page = LetterPage { letters: Vec::new(), sizes: Vec::new(), next: None };
        let mut bytes = 0;
        for id in ids.iter().filter(|it| self.after < **it) {
            if self.limit <= page.letters.len() || PAGE_BYTES < bytes {
                page.next = page.letters.last().map(|letter: &DeadLetter| letter.id);
                break;
            }
            page.letters.extend(reader.dead_letter(*id)?);
            bytes += page.letters.last().map_or(0, |letter| letter.body.len());
        }
        Ok(page)
    }

    /// For the audit.
    fn subject(&self, letters: &[(u64, Redriven)]) -> Value {
        match &self.wanted {
            LetterWanted::Fitting(_) => {
                json!({ "from": letters.first().map(|letter| letter.0), "to": letters.last().map(|letter| letter.0) })
            }
            LetterWanted::One(_) | LetterWanted::These(_) => {
                json!({ "ids": letters.iter().map(|letter| letter.0).collect::<Vec<_>>() })
            }
        }
    }
}

fn number(name: &str, value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or(format!("`{name}` must be a whole number"))
}

/// Each number once, in their order.
fn numbers(value: &Value) -> Result<Vec<u64>, String> {
    let wrong = || "`ids` must be a list of the numbers of dead letters".to_owned();
    let all = value.as_array().ok_or_else(wrong)?;
    let mut ids: Vec<u64> =
        all.iter().map(Value::as_u64).collect::<Option<_>>().ok_or_else(wrong)?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Lets a refused message say something else. The letter itself stays as it came: it goes when the
/// new text is taken.
fn edit(letter: &mut DeadLetter, text: &str) -> Result<(), &'static str> {
    if letter.what != DeadLetterWhat::Rejected {
        return Err(
            "only a message that was rejected can be edited; this one was accepted as it is",
        );
    }
    let context = letter.context.as_deref();
    if context.is_some_and(|context| context.get("decoded").is_some()) {
        return Err("this message was decoded on its way in, so its text alone cannot be edited");
    }
    letter.body = text.as_bytes().into();
    Ok(())
}

/// Tries letters again. Each is a step of its own: what was taken before something failed, or
/// before the client left, stays taken.
pub(super) async fn redrive(mut request: Request<App>) -> Answer {
    let body = request.body_bytes().await.unwrap_or_default();
    let app = request.state();
    let order = match RedriveOrder::read(&body, app.engine.env.clock.wall()) {
        Ok(order) => std::sync::Arc::new(order),
        Err(detail) => return Ok(problem(400, &detail)),
    };
    let asked = order.clone();
    let mut page = match app.engine.store.read(move |reader| asked.find(reader)).await {
        Ok(page) => page,
        Err(fault) => return Ok(failed(&fault)),
    };
    if let (Some(text), Some(letter)) = (&order.edited, page.letters.first_mut())
        && let Err(why) = edit(letter, text)
    {
        return Ok(problem(409, why));
    }
    if page.letters.is_empty() {
        match &order.wanted {
            LetterWanted::One(id) => return Ok(no_letter(*id)),
            LetterWanted::These(ids) => {
                let ids: Vec<String> = ids.iter().take(IDS_SHOWN).map(u64::to_string).collect();
                return Ok(no_letter(ids.join(", ")));
            }
            LetterWanted::Fitting(_) => {}
        }
    }
    if order.is_dry {
        let shown: Vec<Value> = page.letters.iter().map(preview).collect();
        let body = json!({
            "dry_run": true, "selected": shown.len(), "letters": shown, "next": page.next,
        });
        return Ok(json_text(body.to_string()));
    }
    let (results, failure) = redrive_all(app, page.letters, order.edited.is_some()).await;
    let what = redriven_in_words(&results);
    audit(app, &request, ("redrive", what), order.subject(&results), counts(&results)).await;
    if let (Some(unavailable), true) = (&failure, results.is_empty()) {
        return Ok(problem(503, &unavailable.reason));
    }
    if let (LetterWanted::One(id), [(_, redriven)]) = (&order.wanted, &*results) {
        return Ok(single(*id, redriven));
    }
    let mut body = counts(&results);
    let shown: Vec<Value> = results.iter().map(|(id, it)| result(*id, it)).collect();
    // After a failure the rest is still to be tried.
    let next = match &failure {
        Some(_) => results.last().map(|result| result.0),
        None => page.next,
    };
    body.extend([("results".to_owned(), json!(shown)), ("next".to_owned(), json!(next))]);
    if let Some(unavailable) = failure {
        body.insert("stopped".to_owned(), json!(unavailable.reason));
    }
    Ok(json_text(Value::Object(body).to_string()))
}

/// Tries them in their order, some at the same time, until the engine takes no more.
async fn redrive_all(
    app: &App,
    letters: Vec<DeadLetter>,
    is_edited: bool,
) -> (Vec<(u64, Redriven)>, Option<Overloaded>) {
    let mut results = Vec::with_capacity(letters.len());
    let mut letters = letters.into_iter();
    loop {
        let part: Vec<DeadLetter> = letters.by_ref().take(AT_ONCE).collect();
        if part.is_empty() {
            return (results, None);
        }
        let ids: Vec<u64> = part.iter().map(|it| it.id).collect();
        let tried = part.into_iter().map(|letter| async move {
            match is_edited {
                true => app.engine.redrive_edited(letter).await,
                false => app.engine.redrive(letter).await,
            }
        });
        let ended = join_all(tried).await;
        let mut failure = None;
        for (id, ended) in ids.into_iter().zip(ended) {
            match ended {
                Ok(redriven) => results.push((id, redriven)),
                Err(unavailable) => failure = Some(unavailable),
            }
        }
        if failure.is_some() {
            return (results, failure);
        }
    }
}

pub(super) fn preview(it: &DeadLetter) -> Value {
    json!({
        "id": it.id, "what": it.what.word(), "stage": &*it.stage, "event_id": it.event_id,
        "class": it.class, "reason": it.reason,
    })
}

fn counts(results: &[(u64, Redriven)]) -> Map<String, Value> {
    let count = |word: &str| results.iter().filter(|result| result.1.word() == word).count();
    let mut counts = Map::new();
    counts.insert("selected".to_owned(), json!(results.len()));
    for outcome in Redriven::OUTCOMES {
        counts.insert(outcome.to_owned(), json!(count(outcome)));
    }
    counts
}

fn result(id: u64, redriven: &Redriven) -> Value {
    match redriven {
        Redriven::Taken => json!({ "id": id, "taken": true }),
        Redriven::Kept(reason) | Redriven::Untried(reason) => {
            json!({ "id": id, "taken": false, "reason": reason })
        }
        Redriven::Gone => json!({ "id": id, "taken": false, "reason": "it no longer exists" }),
    }
}

fn single(id: u64, redriven: &Redriven) -> Response {
    match redriven {
        Redriven::Gone => no_letter(id),
        Redriven::Untried(reason) => problem(409, reason),
        tried => json_text(result(id, tried).to_string()),
    }
}

pub(super) async fn drop_letter(request: Request<App>) -> Answer {
    let app = request.state();
    let id = match id_in(&request) {
        Ok(id) => id,
        Err(text) => return Ok(no_letter(text)),
    };
    let known = match app.engine.store.read(move |reader| reader.dead_letter(id)).await {
        Ok(known) => known,
        Err(fault) => return Ok(failed(&fault)),
    };
    let Some(letter) = known else { return Ok(no_letter(id)) };
    if let Err(fault) = app.engine.store.submit(vec![StoreEntry::DropLetter { id }]).await {
        return Ok(failed(&fault));
    }
    let outcome = Map::from_iter([("reason".to_owned(), json!(letter.reason))]);
    let what = format!("dead letter {id} was dropped on request");
    audit(app, &request, ("drop", what), json!({ "ids": [id] }), outcome).await;
    Ok(Response::new(204))
}

/// `3 of 4 dead letters were redriven`.
fn redriven_in_words(results: &[(u64, Redriven)]) -> String {
    let taken = results.iter().filter(|result| result.1 == Redriven::Taken).count();
    match (taken, results.len()) {
        (1, 1) => format!("dead letter {} was redriven", results[0].0),
        (0, 1) => format!("dead letter {} was not redriven", results[0].0),
        (taken, all) => format!("{taken} of {all} dead letters were redriven"),
    }
}

/// Notes who did what, in the log and in the store.
async fn audit(
    app: &App,
    request: &Request<App>,
    (action, what): (&'static str, String),
    subject: Value,
    outcome: Map<String, Value>,
) {
    let (who, outcome) = (who(request), Value::Object(outcome));
    match who.as_str() {
        "" => tracing::info!("{what}"),
        who => tracing::info!(who, "{what}"),
    }
    let record = AuditRecord { who, action, subject, outcome };
    if let Err(fault) = app.engine.store.submit(vec![StoreEntry::Audit(record)]).await {
        tracing::warn!(reason = %fault, "the action on dead letters could not be recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(body: &str) -> Result<RedriveOrder, String> {
        RedriveOrder::read(body.as_bytes(), Timestamp(0))
    }

    #[test]
    fn a_redrive_says_once_which_letters() {
        let wanted = |body: &str| order(body).map(|order| order.wanted);
        assert_eq!(wanted("{\"id\": 3}"), Ok(LetterWanted::One(3)));
        assert_eq!(wanted("{\"ids\": [3, 1, 3]}"), Ok(LetterWanted::These(vec![1, 3])));
        assert_eq!(wanted("{\"all\": true}"), Ok(LetterWanted::Fitting(LetterFilter::default())));
        let stage = LetterFilter { stage: Some("hook".to_owned()), ..LetterFilter::default() };
        assert_eq!(wanted("{\"stage\": \"hook\"}"), Ok(LetterWanted::Fitting(stage)));
        for nothing in ["", "[]", "{}", "{\"dry_run\": true}", "{\"id\": 1, \"all\": true}"] {
            let told = order(nothing).expect_err("it does not say which");
            assert!(told.contains("{\"all\": true}"), "{nothing}: {told}");
        }
    }

    #[test]
    fn a_mistake_in_a_redrive_is_named() {
        for (body, part) in [
            ("{\"stag\": \"hook\"}", "did you mean `stage`?"),
            ("{\"id\": \"3\"}", "`id` must be a whole number"),
            ("{\"ids\": [1, -1]}", "`ids` must be a list"),
            ("{\"all\": false}", "`all` must be true"),
            ("{\"all\": true, \"limit\": 0}", "`limit` must be 1 to 1000"),
            ("{\"what\": \"dead\"}", "`what` must be rejected, event or delivery"),
            ("{\"since\": \"soon\"}", "`since` must be RFC 3339 or -1h"),
            ("{\"all\": true, \"dry_run\": 1}", "`dry_run` must be true or false"),
        ] {
            let told = order(body).expect_err(body);
            assert!(told.contains(part), "{body}: {told}");
        }
    }
}
