//! The event as JSON, everywhere it leaves the engine: spliced from what is already JSON.

use super::record::{Delivery, StoredEvent};
use kernel::attempts::{AttemptLog, AttemptRecord};
use kernel::event::StageResult;
use kernel::time::Timestamp;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt::{self, Write};

/// An array of more numbers than this is summarised.
const NUMBERS_MAX: usize = 16;
/// A longer string is summarised, in bytes.
const TEXT_MAX: usize = 8 << 10;
/// JSON shorter than this can hold neither; it is spliced as it stands.
const PLAIN_MAX: usize = 2 * NUMBERS_MAX;

/// Paths that are removed, such as `data.embedding`; lists on the way are looked through.
pub type Redact = [Vec<String>];

/// Writes the event as one line of JSON.
pub fn write_event(out: &mut String, event: &StoredEvent, pipeline: &str) {
    head(out, event, pipeline);
    out.push_str(",\"data\":");
    push_line(out, event.body.data_text());
    out.push_str(",\"enrich\":");
    out.push_str(&event.enrich);
    out.push('}');
}

/// Writes the event as one line of JSON, what is long or redacted replaced by a note.
pub fn write_summary(out: &mut String, event: &StoredEvent, pipeline: &str, redact: &Redact) {
    head(out, event, pipeline);
    out.push_str(",\"data\":");
    push_summary(out, event.body.data_text(), "data", redact);
    out.push_str(",\"enrich\":");
    push_summary(out, &event.enrich, "enrich", redact);
    out.push('}');
}

/// Writes the event with its stages and deliveries.
pub fn write_detail(
    out: &mut String,
    event: &StoredEvent,
    pipeline: &str,
    deliveries: &[Delivery],
) {
    write_event(out, event, pipeline);
    out.pop();
    let stages: Vec<Value> = event.stages.iter().map(stage_json).collect();
    let deliveries: Vec<Value> = deliveries.iter().map(delivery_json).collect();
    write!(out, ",\"stages\":{},\"deliveries\":{}}}", Value::from(stages), Value::from(deliveries))
        .expect("writing to a String cannot fail");
}

/// A stage; its attempts are only said where they say more than the rest.
fn stage_json(stage: &StageResult) -> Value {
    let mut told = json!({
        "stage": &*stage.stage, "kind": &*stage.kind, "outcome": stage.outcome.word(),
        "attempts": stage.attempts, "started": stage.started.to_string(), "micros": stage.micros,
        "error": stage.error.as_deref(),
    });
    if !stage.attempt_log.is_empty() {
        told["attempt_log"] = attempts_json(&stage.attempt_log, None);
    }
    told
}

/// A delivery; its attempts, until when it is held, the number of the event whose message tells of
/// it, and the notifier that handed it on are only said where there are some.
fn delivery_json(delivery: &Delivery) -> Value {
    let mut told = json!({
        "sink": &*delivery.sink, "state": delivery.state.word(), "attempts": delivery.attempts,
        "last_error": delivery.last_error,
    });
    if !delivery.attempt_log.is_empty() {
        told["attempt_log"] = attempts_json(&delivery.attempt_log, delivery.retry_at());
    }
    if let Some(until) = delivery.held_until() {
        told["until"] = until.to_string().into();
    }
    if let Some(lead) = delivery.lead {
        told["told_with_seq"] = lead.into();
    }
    if let Some(via) = &delivery.via {
        told["via"] = via.to_string().into();
    }
    told
}

/// Attempts with the wait after each, as far as it is known; `next` is when the one after the last
/// is due.
fn attempts_json(log: &AttemptLog, next: Option<Timestamp>) -> Value {
    let mut following = log.numbered().skip(1);
    let attempt_json = |(number, attempt): (u32, &AttemptRecord)| {
        let next = match following.next() {
            Some((after, it)) => (after == number + 1).then_some(it.began),
            // Where its target was set aside, the target decides when it is tried again.
            None => next.filter(|next| attempt.ended() < *next),
        };
        let reason = attempt.fault.as_ref().map(|fault| &*fault.reason);
        json!({
            "number": number, "began": attempt.began.to_string(), "micros": attempt.micros,
            "outcome": attempt.word(), "reason": reason,
            "wait_micros": next.map(|next| next.since(attempt.ended()).as_micros() as u64),
        })
    };
    log.numbered().map(attempt_json).collect()
}

fn head(out: &mut String, event: &StoredEvent, pipeline: &str) {
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
    let start = out.len();
    if summarise(out, json.trim(), &paths).is_none() {
        out.truncate(start);
        out.push_str("null");
    }
}

/// Whether nothing in it can be too long.
fn is_plain(json: &str) -> bool {
    json.len() < PLAIN_MAX || (json.len() <= TEXT_MAX && !json.contains('['))
}

/// Writes JSON as it stands but for what is too long or redacted: in its order, with its digits.
/// `None` when it is not JSON.
fn summarise(out: &mut String, json: &str, redact: &[&[String]]) -> Option<()> {
    if redact.iter().any(|it| it.is_empty()) {
        return note(out, &json!({ "omitted": "redacted" }));
    }
    if redact.is_empty() && is_plain(json) {
        push_line(out, json);
        return Some(());
    }
    match json.as_bytes().first()? {
        b'"' if TEXT_MAX < json.len() => {
            let text: String = serde_json::from_str(json).ok()?;
            if TEXT_MAX < text.len() {
                return note(out, &json!({ "omitted": "text", "bytes": text.len() }));
            }
            out.push_str(json);
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            let is_number = |item: &&RawValue| {
                item.get().starts_with(|first: char| first == '-' || first.is_ascii_digit())
            };
            if NUMBERS_MAX < items.len() && items.iter().all(is_number) {
                return note(out, &json!({ "omitted": "numbers", "count": items.len() }));
            }
            for (index, item) in items.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                summarise(out, item.get(), redact)?;
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        b'{' => {
            let Members(members) = serde_json::from_str(json).ok()?;
            for (index, (name, value)) in members.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                out.push_str(name.get());
                out.push(':');
                let name: String = serde_json::from_str(name.get()).ok()?;
                let below: Vec<&[String]> =
                    redact.iter().filter(|it| it[0] == name).map(|it| &it[1..]).collect();
                summarise(out, value.get(), &below)?;
            }
            out.push_str(if members.is_empty() { "{}" } else { "}" });
        }
        _ => out.push_str(json),
    }
    Some(())
}

/// Writes what stands in place of a value.
fn note(out: &mut String, note: &Value) -> Option<()> {
    write!(out, "{note}").ok()
}

/// The names and values of a JSON object, as they are written and in their order.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = entries.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;
    use serde_json::Map;

    fn summary(json: &str, redact: &[&str]) -> String {
        let paths: Vec<Vec<String>> =
            redact.iter().map(|it| it.split('.').map(str::to_owned).collect()).collect();
        let mut out = String::new();
        push_summary(&mut out, json, "data", &paths);
        out
    }

    #[test]
    fn what_is_neither_too_long_nor_redacted_stays_as_it_was_written() {
        let numbers = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]";
        let long = format!("\"{}\"", "x".repeat(9000));
        for (json, expected) in [
            (r#"{"z":0.10,"\u0061":-0,"b":"\ud83d\ude00\/","long":12345678901234567890}"#, None),
            ("{\"z\":1,\n\"a\":[\n1.50 , 2]}", Some("{\"z\":1, \"a\":[ 1.50 , 2]}")),
            (r#"{"z":1.50,"b":{},"a":[],"list":[1e2],"c":"yyyyyyyyyyyyyyyyyyyyyyyyyyyyy"}"#, None),
            (
                &format!(r#"{{"z":1.50,"v":{numbers},"\u0061":[{numbers},-0.0]}}"#),
                Some(
                    r#"{"z":1.50,"v":{"count":17,"omitted":"numbers"},"\u0061":[{"count":17,"omitted":"numbers"},-0.0]}"#,
                ),
            ),
            (
                &format!(r#"{{"z":1e5,"t":{long}, "a":"\/"}}"#),
                Some(r#"{"z":1e5,"t":{"bytes":9000,"omitted":"text"},"a":"\/"}"#),
            ),
            (&format!(r#"{{"t":{long}"#), Some("null")),
        ] {
            assert_eq!(summary(json, &[]), expected.unwrap_or(json), "{json}");
        }
        let json = r#"{"z":1.50,"\u0061":[{"b":1,"c":2.0},3],"b":1}"#;
        let redacted = r#"{"z":1.50,"\u0061":[{"b":{"omitted":"redacted"},"c":2.0},3],"b":1}"#;
        assert_eq!(summary(json, &["data.a.b", "enrich.z"]), redacted);
    }

    /// The same on a tree.
    fn model(value: Value, redact: &[&[String]]) -> Value {
        if redact.iter().any(|it| it.is_empty()) {
            return json!({ "omitted": "redacted" });
        }
        match value {
            Value::String(text) if TEXT_MAX < text.len() => {
                json!({ "omitted": "text", "bytes": text.len() })
            }
            Value::Array(items)
                if NUMBERS_MAX < items.len() && items.iter().all(Value::is_number) =>
            {
                json!({ "omitted": "numbers", "count": items.len() })
            }
            Value::Array(items) => items.into_iter().map(|item| model(item, redact)).collect(),
            Value::Object(entries) => {
                let entry = |(key, value): (String, Value)| {
                    let below: Vec<&[String]> =
                        redact.iter().filter(|it| it[0] == key).map(|it| &it[1..]).collect();
                    let value = model(value, &below);
                    (key, value)
                };
                Value::Object(entries.into_iter().map(entry).collect::<Map<_, _>>())
            }
            other => other,
        }
    }

    fn random_value(random: &mut Rng, depth: u32) -> Value {
        match random.u32(..if depth == 0 { 4 } else { 7 }) {
            0 => json!(random.i64(..)),
            1 => json!("é\n\"".repeat(random.usize(..3))),
            2 => json!("x".repeat(random.usize(TEXT_MAX - 2..TEXT_MAX + 3))),
            3 => [json!(null), json!(true), json!(-0.5), json!("")][random.usize(..4)].clone(),
            4 => (0..random.usize(..20)).map(|it| json!(it)).collect(),
            5 => (0..random.usize(..4)).map(|_| random_value(random, depth - 1)).collect(),
            _ => {
                let names = ["a", "b", "é\"", ""];
                let entry = |random: &mut Rng| {
                    (names[random.usize(..4)].to_owned(), random_value(random, depth - 1))
                };
                Value::Object((0..random.usize(..4)).map(|_| entry(random)).collect())
            }
        }
    }

    #[test]
    fn a_summary_says_what_one_of_the_tree_says() {
        let mut random = Rng::with_seed(3);
        for _ in 0..300 {
            let value = random_value(&mut random, 3);
            let redact: Vec<&str> = ["data.a.b", "data.b", "data.a.a.a"]
                .into_iter()
                .filter(|_| random.u32(..3) == 0)
                .collect();
            let below: Vec<Vec<String>> = redact
                .iter()
                .map(|it| it.split('.').skip(1).map(str::to_owned).collect())
                .collect();
            let below: Vec<&[String]> = below.iter().map(Vec::as_slice).collect();
            let text = match random.bool() {
                true => value.to_string(),
                false => serde_json::to_string_pretty(&value).expect("it serialises"),
            };
            let found: Value = serde_json::from_str(&summary(&text, &redact)).expect("JSON");
            assert_eq!(found, model(value, &below), "{text:.200}");
        }
    }
}
