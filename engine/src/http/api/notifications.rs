//! Whom notifiers told of which event, what they did not tell and why, and tests of them.

use super::events::time;
use super::{Answer, failed, json_text, pauses, problem};
use crate::http::app::App;
use crate::http::{paths, query};
use crate::run::test_message::send_test_message;
use compiler::plan::Plan;
use kernel::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use store::{Delivery, DeliveryCursor, DeliveryQuery, DeliveryState, StoredEvent};
use tide::Request;

/// Notifications of one page when nothing is said.
const LIMIT: usize = 100;

/// Reads `?…`; the error says everything that is wrong with it. `parked` has the names of
/// targets that are off or not in the file any more, and have deliveries.
fn list_request(
    text: &str,
    plan: &Plan,
    parked: &[Arc<str>],
    now: Timestamp,
) -> Result<DeliveryQuery, String> {
    let pairs = query::pairs(text).ok_or("the query cannot be read")?;
    let mut asked = DeliveryQuery { limit: LIMIT, ..DeliveryQuery::default() };
    let wrong: Vec<String> = pairs
        .into_iter()
        .filter_map(|pair| parameter(&mut asked, (&pair.0, &pair.1), plan, parked, now).err())
        .collect();
    if asked.sinks.is_empty() {
        let is_sink = |name: &Arc<str>| plan.sinks.iter().any(|sink| sink.name == *name);
        let names: BTreeSet<Arc<str>> = plan
            .notifiers
            .iter()
            .map(|notifier| notifier.name.clone())
            .chain(parked.iter().filter(|name| !is_sink(name)).cloned())
            .collect();
        asked.sinks = names.into_iter().collect();
    }
    if wrong.is_empty() { Ok(asked) } else { Err(wrong.join("; ")) }
}

fn parameter(
    asked: &mut DeliveryQuery,
    (name, value): (&str, &str),
    plan: &Plan,
    parked: &[Arc<str>],
    now: Timestamp,
) -> Result<(), String> {
    match name {
        "notifier" => asked.sinks.push(match parked.iter().find(|it| ***it == *value) {
            Some(parked) => parked.clone(),
            None => plan.notifier(value)?.name.clone(),
        }),
        "state" => {
            let state = DeliveryState::ALL.into_iter().find(|it| it.word() == value);
            let wanted =
                || "`state` must be pending, held, done, dead, parked or suppressed".to_owned();
            asked.state = Some(state.ok_or_else(wanted)?);
        }
        "since" => {
            let wanted = || "`since` must be RFC 3339 or -1h".to_owned();
            asked.since = Some(time(value, now).ok_or_else(wanted)?);
        }
        "limit" => {
            let limit = value.parse().ok().filter(|it| (1..=1000).contains(it));
            asked.limit = limit.ok_or("`limit` must be 1 to 1000")?;
        }
        "cursor" => {
            let cursor = DeliveryCursor::parse(value)
                .ok_or("`cursor` must be the `next` of an earlier response")?;
            asked.cursor = Some(cursor);
        }
        _ => return Err(paths::unknown_parameter(name, paths::NOTIFICATIONS)),
    }
    Ok(())
}

/// The notifications that the query names, the newest event first.
pub(super) async fn notifications(request: Request<App>) -> Answer {
    let app = request.state();
    let now = app.engine.env.clock.wall();
    let generation = app.engine.generation();
    let text = request.url().query().unwrap_or_default();
    let parked: Vec<Arc<str>> = {
        let parked = &app.engine.store.figures().parked;
        parked.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    };
    let asked = match list_request(text, &generation.plan, &parked, now) {
        Ok(asked) => asked,
        Err(detail) => return Ok(problem(400, &detail)),
    };
    let list = app.engine.store.read(move |reader| {
        let page = reader.delivery_page(&asked)?;
        let seqs: Vec<u64> = page.rows.iter().map(|row| row.seq).collect();
        let leads: Vec<u64> = page.rows.iter().filter_map(|row| row.lead).collect();
        Ok((page, reader.intact_by_seq(&seqs)?, reader.intact_by_seq(&leads)?))
    });
    let (page, events, leads) = match list.await {
        Ok(found) => found,
        Err(fault) => return Ok(failed(&fault)),
    };
    let shown: Vec<Value> = page.rows.iter().map(|row| shown(row, &events, &leads)).collect();
    let next = page.next.map(|it| it.to_string());
    Ok(json_text(json!({ "notifications": shown, "next": next }).to_string()))
}

/// Sends a test message through a notifier, and says what its service answered.
pub(super) async fn send_test(mut request: Request<App>) -> Answer {
    let body = request.body_bytes().await.unwrap_or_default();
    let app = request.state();
    let Some(name) = notifier_in(&body) else {
        return Ok(problem(400, "send {\"notifier\": \"NAME\"}"));
    };
    let (generation, clock) = (app.engine.generation(), &*app.engine.env.clock);
    let plan = &generation.plan;
    let notifier = match plan.notifier(&name) {
        Ok(notifier) => notifier,
        Err(unknown) => return Ok(problem(404, &unknown)),
    };
    if let Some(why) = &notifier.off {
        return Ok(problem(409, &format!("`{name}` is off: {why}")));
    }
    if !app.notifier_tests.take(clock.monotonic()) {
        let wait = app.notifier_tests.wait(clock.monotonic()).as_secs() + 1;
        let mut reply = problem(429, &format!("too many test messages; try again in {wait}s"));
        reply.insert_header("retry-after", wait.to_string());
        return Ok(reply);
    }
    let target = generation.targets.get(&notifier.name).expect("a notifier that is on is open");
    let mut answer = send_test_message(target, &plan.name, plan.globals.clone(), clock).await;
    // It was sent all the same, but what is sent from now on waits.
    answer["paused"] =
        app.engine.pauses().of(&name).map_or(Value::Null, |pause| pauses::shown(&pause));
    let reason = answer["reason"].as_str();
    tracing::info!(notifier = %name, reason, "a test message was sent");
    Ok(json_text(answer.to_string()))
}

/// The notifier that the body of a test names.
fn notifier_in(body: &[u8]) -> Option<String> {
    let Value::Object(mut fields) = serde_json::from_slice(body).ok()? else { return None };
    let Value::String(name) = fields.remove("notifier")? else { return None };
    fields.is_empty().then_some(name)
}

fn shown(delivery: &Delivery, events: &[StoredEvent], leads: &[StoredEvent]) -> Value {
    let lead = delivery.lead.and_then(|lead| leads.iter().find(|it| it.seq == lead));
    let event = events.iter().find(|event| event.seq == delivery.seq).map(|event| &event.envelope);
    json!({
        "notifier": &*delivery.sink,
        "state": delivery.state.word(),
        "attempts": delivery.attempts,
        "reason": delivery.last_error,
        "until": delivery.held_until().map(|it| it.to_string()),
        "via": delivery.via.as_ref().map(ToString::to_string),
        "told_with": lead.map(|lead| &*lead.envelope.id),
        "created": delivery.created.to_string(),
        "event_id": event.map(|event| &*event.id),
        "type": event.map(|event| &*event.kind),
        "subject": event.map(|event| &*event.subject),
        "time": event.map(|event| event.time.to_string()),
    })
}
