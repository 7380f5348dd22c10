//! Sinks and notifiers that are paused and resumed by hand.

use super::audit::who;
use super::{Answer, failed, json_text, problem};
use crate::engine::{Engine, NodePause, PAUSE_MAX, PauseAction, PauseOrder, PauseRefusal};
use crate::http::app::App;
use compiler::plan::{NotPausable, node_of};
use kernel::time::write_duration;
use language::parse_duration;
use serde_json::{Map, Value, json};
use std::sync::PoisonError;
use std::time::Duration;
use tide::Request;

/// The shortest pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Pauses a node, for a time or until it is resumed.
pub(super) async fn pause(mut request: Request<App>) -> Answer {
    let body = request.body_bytes().await.unwrap_or_default();
    match pause_in(&body) {
        Ok((name, time)) => carry_out(&request, name, PauseAction::Pause(time)).await,
        Err(detail) => Ok(problem(400, &detail)),
    }
}

/// Ends the pause of a node.
pub(super) async fn resume(mut request: Request<App>) -> Answer {
    let body = request.body_bytes().await.unwrap_or_default();
    match name_in(&mut fields(&body)) {
        Some(name) => carry_out(&request, name, PauseAction::Resume).await,
        None => Ok(problem(400, "send {\"name\": \"NAME\"}")),
    }
}

async fn carry_out(request: &Request<App>, name: String, action: PauseAction) -> Answer {
    let engine = &request.state().engine;
    let waiting = waiting(engine, &name);
    let order = PauseOrder { name: name.clone(), action, who: who(request) };
    let change = match engine.order_pause(order).await {
        Ok(change) => change,
        Err(PauseRefusal::Name(NotPausable::Unknown(detail))) => return Ok(problem(404, &detail)),
        Err(PauseRefusal::Name(NotPausable::Other(detail))) => return Ok(problem(409, &detail)),
        Err(PauseRefusal::Store(fault)) => return Ok(failed(&fault)),
    };
    let answer = json!({
        "name": name,
        "paused": change.after.as_ref().map(shown),
        "was_paused": change.before.is_some(),
        "waiting": waiting,
    });
    Ok(json_text(answer.to_string()))
}

/// A pause as it is shown everywhere.
pub(super) fn shown(pause: &NodePause) -> Value {
    json!({
        "since": pause.since.to_string(),
        "until": pause.until.map(|until| until.to_string()),
    })
}

/// Deliveries that wait for a node.
fn waiting(engine: &Engine, node: &str) -> u64 {
    let waiting = engine.store.figures().outbox.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.iter().filter(|it| node_of(it.0) == node).map(|it| it.1.rows).sum()
}

/// The node that a body names, and for how long.
fn pause_in(body: &[u8]) -> Result<(String, Option<Duration>), String> {
    let mut fields = fields(body);
    let time = fields.remove("for").map(|time| length(&time)).transpose()?;
    let name = name_in(&mut fields);
    let wanted = || "send {\"name\": \"NAME\", \"for\": \"30m\"}, or without `for`".to_owned();
    name.map(|name| (name, time)).ok_or_else(wanted)
}

fn length(value: &Value) -> Result<Duration, String> {
    let allowed = PAUSE_MIN..=PAUSE_MAX;
    let length = value.as_str().and_then(parse_duration).filter(|it| allowed.contains(it));
    length.ok_or_else(|| {
        let [least, most] = [PAUSE_MIN, PAUSE_MAX].map(write_duration);
        format!("`for` must be a duration from {least} to {most}, such as \"30m\"")
    })
}

fn fields(body: &[u8]) -> Map<String, Value> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// The name, where nothing else is said.
fn name_in(fields: &mut Map<String, Value>) -> Option<String> {
    let Value::String(name) = fields.remove("name")? else { return None };
    fields.is_empty().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_names_one_node_and_may_have_an_end() {
        let read = |body: &str| pause_in(body.as_bytes());
        let phone = |time| Ok(("phone".to_owned(), time));
        assert_eq!(read(r#"{"name":"phone"}"#), phone(None));
        let half = Some(Duration::from_secs(1800));
        assert_eq!(read(r#"{"name":"phone","for":"30m"}"#), phone(half));
        assert_eq!(read(r#"{"name":"phone","for":"31d"}"#), phone(Some(PAUSE_MAX)));
        for body in ["", "[]", "{}", r#"{"name":1}"#, r#"{"name":"a","fro":"1m"}"#] {
            assert!(read(body).is_err_and(|it| it.starts_with("send {")), "{body}");
        }
        for time in ["\"0s\"", "\"32d\"", "\"soon\"", "30", "null", "\"-5m\"", "\"999ms\""] {
            let told = read(&format!(r#"{{"name":"phone","for":{time}}}"#));
            let wanted = "`for` must be a duration from 1s to 31d, such as \"30m\"";
            assert_eq!(told, Err(wanted.to_owned()), "{time}");
        }
    }
}
