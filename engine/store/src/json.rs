//! The event as JSON, everywhere it leaves the engine: spliced from what is already JSON.

use super::record::{Delivery, Stored};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// An array of more numbers than this is summarised.
const NUMBERS_MAX: usize = 16;
/// A longer string is summarised, in bytes.
const TEXT_MAX: usize = 8 << 10;
/// Data shorter than this can hold neither; it is spliced as it stands.
const PLAIN_MAX: usize = 2 * NUMBERS_MAX;

/// Paths that are removed, such as `data.embedding`; lists on the way are looked through.
pub type Redact = [Vec<String>];

/// Writes the event as one line of JSON.
pub fn write_event(out: &mut String, event: &Stored, pipeline: &str) {
    head(out, event, pipeline);
    out.push_str(",\"data\":");
    push_line(out, event.body.data_text());
    out.push_str(",\"enrich\":");
    out.push_str(&event.enrich);
    out.push('}');
}

/// Writes the event as one line of JSON, what is long or redacted replaced by a note.
pub fn write_summary(out: &mut String, event: &Stored, pipeline: &str, redact: &Redact) {
    head(out, event, pipeline);
    out.push_str(",\"data\":");
    push_summary(out, event.body.data_text(), "data", redact);
    out.push_str(",\"enrich\":");
    push_summary(out, &event.enrich, "enrich", redact);
    out.push('}');
}

/// Writes the event with its stages and deliveries.
pub fn write_detail(out: &mut String, event: &Stored, pipeline: &str, deliveries: &[Delivery]) {
    write_event(out, event, pipeline);
    out.pop();
    let stages: Vec<Value> = event
        .stages
        .iter()
        .map(|stage| {
            json!({
                "stage": &*stage.stage, "kind": &*stage.kind, "outcome": stage.outcome.word(),
                "attempts": stage.attempts, "started": stage.started.to_string(), "micros": stage.micros,
                "error": stage.error.as_deref(),
            })
        })
        .collect();
    let deliveries: Vec<Value> = deliveries.iter().map(delivery_json).collect();
    write!(out, ",\"stages\":{},\"deliveries\":{}}}", Value::from(stages), Value::from(deliveries))
        .expect("writing to a String cannot fail");
}

/// A delivery; until when it is held, and the number of the event whose message tells of it, are
/// only said where there is one.
fn delivery_json(delivery: &Delivery) -> Value {
    let mut told = json!({
        "sink": &*delivery.sink, "state": delivery.state.word(), "attempts": delivery.attempts,
        "last_error": delivery.last_error,
    });
    if let Some(until) = delivery.held_until() {
        told["until"] = until.to_string().into();
    }
    if let Some(lead) = delivery.lead {
        told["told_with_seq"] = lead.into();
    }
    told
}

fn head(out: &mut String, event: &Stored, pipeline: &str) {
    let it = &event.envelope;
    // What has not finished has no place yet.
    let pos = (event.pos != 0).then_some(event.pos);
    write!(out, "{{\"seq\":{},\"pos\":{}", event.seq, json!(pos))
        .expect("writing to a String cannot fail");
    text(out, "id", Some(&it.id));
    text(out, "type", Some(&it.kind));
    text(out, "source", Some(&it.source));
    text(out, "subject", Some(&it.subject));
    write!(
        out,
        ",\"time\":\"{}\",\"received\":\"{}\",\"priority\":\"{}\"",
        it.time, it.received, it.priority
    )
    .expect("writing to a String cannot fail");
    text(out, "correlation_id", it.correlation_id.as_deref());
    text(out, "parent_id", it.parent_id.as_deref());
    text(out, "pipeline", Some(pipeline));
    write!(out, ",\"generation\":{}", event.generation).expect("writing to a String cannot fail");
}

fn text(out: &mut String, name: &str, value: Option<&str>) {
    write!(out, ",\"{name}\":").expect("writing to a String cannot fail");
    match value {
        Some(value) => {
            out.push_str(&serde_json::to_string(value).expect("text serialises"));
        }
        None => out.push_str("null"),
    }
}

/// JSON text on one line: a line end in JSON stands only between values.
fn push_line(out: &mut String, json: &str) {
    if json.contains(['\n', '\r']) {
        out.push_str(&json.replace(['\n', '\r'], " "));
    } else {
        out.push_str(json);
    }
}

fn push_summary(out: &mut String, json: &str, root: &str, redact: &Redact) {
    let paths: Vec<&[String]> = redact
        .iter()
        .filter(|it| it.first().is_some_and(|it| it == root))
        .map(|it| &it[1..])
        .collect();
    if json.len() < PLAIN_MAX && paths.is_empty() {
        push_line(out, json);
        return;
    }
    let Ok(value) = serde_json::from_str::<Value>(json) else {
        out.push_str("null");
        return;
    };
    write!(out, "{}", summarised(value, &paths)).expect("writing to a String cannot fail");
}

fn summarised(value: Value, redact: &[&[String]]) -> Value {
    if redact.iter().any(|it| it.is_empty()) {
        return json!({ "omitted": "redacted" });
    }
    match value {
        Value::String(text) if TEXT_MAX < text.len() => {
            json!({ "omitted": "text", "bytes": text.len() })
        }
        Value::Array(items) if NUMBERS_MAX < items.len() && items.iter().all(Value::is_number) => {
            json!({ "omitted": "numbers", "count": items.len() })
        }
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| summarised(item, redact)).collect())
        }
        Value::Object(entries) => {
            let entry = |(key, value): (String, Value)| {
                let below: Vec<&[String]> =
                    redact.iter().filter(|it| it[0] == key).map(|it| &it[1..]).collect();
                let value = summarised(value, &below);
                (key, value)
            };
            Value::Object(entries.into_iter().map(entry).collect::<Map<_, _>>())
        }
        other => other,
    }
}
