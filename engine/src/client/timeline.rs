//! One event for people: what it is, what became of it and when, and what it holds.

use super::figures::brief;
use super::json;
use super::table::cut;
use crate::terminal;
use kernel::health::printable;
use kernel::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::time::Duration;

/// What is shown of a reason, in bytes.
const REASON_MAX: usize = 1000;

/// An event as `/api/events/{id}` has it.
#[derive(Debug, Deserialize)]
pub(crate) struct EventDetail {
    seq: u64,
    pos: Option<u64>,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    source: String,
    subject: String,
    time: String,
    received: String,
    priority: String,
    correlation_id: Option<String>,
    parent_id: Option<String>,
    generation: u64,
    data: Box<RawValue>,
    enrich: Box<RawValue>,
    stages: Vec<StageRow>,
    deliveries: Vec<DeliveryRow>,
    pub(crate) state: String,
    dead_letter: Option<LetterNote>,
}

#[derive(Debug, Deserialize)]
struct StageRow {
    stage: String,
    kind: String,
    outcome: String,
    attempts: u64,
    started: String,
    micros: u64,
    error: Option<String>,
    #[serde(default)]
    attempt_log: Vec<AttemptRow>,
}

#[derive(Debug, Deserialize)]
struct DeliveryRow {
    sink: String,
    state: String,
    attempts: u64,
    last_error: Option<String>,
    #[serde(default)]
    attempt_log: Vec<AttemptRow>,
}

#[derive(Debug, Deserialize)]
struct AttemptRow {
    number: u64,
    began: String,
    micros: u64,
    outcome: String,
    reason: Option<String>,
    wait_micros: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct LetterNote {
    id: u64,
    stage: String,
    reason: String,
}

impl EventDetail {
    /// Whether nothing more happens to it by itself.
    pub(crate) fn is_settled(&self) -> bool {
        self.state != "pending"
            && self.deliveries.iter().all(|delivery| delivery.state != "pending")
    }
}

/// The event with its timeline.
pub(crate) fn text(event: &EventDetail) -> String {
    let mut text = String::new();
    head(&mut text, event);
    text.push('\n');
    steps(&mut text, event);
    for (name, value) in [("data", &event.data), ("enrich", &event.enrich)] {
        if value.get() != "{}" {
            let lines = json::lines(value.get(), 2).join("\n");
            push(&mut text, &format!("\n{name}\n{lines}"));
        }
    }
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn head(text: &mut String, event: &EventDetail) {
    let numbers = match event.pos {
        Some(pos) if pos != event.seq => format!("{}, visible as {pos}", event.seq),
        _ => event.seq.to_string(),
    };
    let rows = [
        ("type", Some(event.kind.clone())),
        ("id", Some(event.id.clone())),
        ("source", Some(event.source.clone())),
        ("subject", Some(event.subject.clone())),
        ("priority", Some(event.priority.clone())),
        ("time", Some(local(&event.time))),
        ("received", Some(local(&event.received))),
        ("correlation", event.correlation_id.clone()),
        ("parent", event.parent_id.clone()),
        ("number", Some(numbers)),
        ("generation", Some(event.generation.to_string())),
        ("state", Some(event.state.clone())),
    ];
    let width = terminal::width().saturating_sub(13);
    for (name, value) in rows {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            // The id is for copying, so it is never cut.
            let shown = printable(&value, REASON_MAX);
            let shown = if name == "id" { shown } else { cut(&shown, width) };
            push(text, &format!("{name:<13}{shown}"));
        }
    }
}

/// Stages in the order in which they began, then deliveries; each with its attempts, where there is
/// more to say of them.
fn steps(text: &mut String, event: &EventDetail) {
    let received = Timestamp::parse(&event.received);
    let mut stages: Vec<&StageRow> = event.stages.iter().collect();
    stages.sort_by(|one, other| one.started.cmp(&other.started));
    push(text, &format!("{:<13}received", "+0ms"));
    for stage in stages {
        let after = offset(received, &stage.started);
        let took = brief(Duration::from_micros(stage.micros));
        let tries = tries(stage.attempts);
        let words = format!("{} ({}) {}{tries} in {took}", stage.stage, stage.kind, stage.outcome);
        step(text, &after, &words, stage.error.as_deref());
        attempts(text, received, &stage.attempt_log);
    }
    if event.state == "pending" {
        step(text, "", "still in progress", None);
    }
    if let Some(letter) = &event.dead_letter {
        let words = format!("dead letter {} by {}", letter.id, letter.stage);
        step(text, "", &words, Some(&letter.reason));
    }
    for delivery in &event.deliveries {
        delivered(text, received, delivery);
    }
}

/// A delivery. Where it succeeded at once, its line says when, and how long it took.
fn delivered(text: &mut String, received: Option<Timestamp>, delivery: &DeliveryRow) {
    let tries = tries(delivery.attempts);
    let words = format!("delivery to {} {}{tries}", delivery.sink, delivery.state);
    match &delivery.attempt_log[..] {
        [only] if delivery.state == "done" && only.reason.is_none() => {
            let took = brief(Duration::from_micros(only.micros));
            let words = format!("{words} in {took}");
            step(text, &offset(received, &only.began), &words, delivery.last_error.as_deref());
        }
        log => {
            step(text, "", &words, delivery.last_error.as_deref());
            attempts(text, received, log);
        }
    }
}

/// A line for each attempt, and one for those that were left out.
fn attempts(text: &mut String, received: Option<Timestamp>, log: &[AttemptRow]) {
    let mut next = 1;
    for it in log {
        if next < it.number {
            step(text, "", &format!("  {} attempts left out", it.number - next), None);
        }
        next = it.number + 1;
        let took = brief(Duration::from_micros(it.micros));
        let wait = it.wait_micros.map(|micros| brief(Duration::from_micros(micros)));
        let wait = wait.map_or_else(String::new, |wait| format!(", the next after {wait}"));
        let words = format!("  attempt {} {} in {took}{wait}", it.number, it.outcome);
        step(text, &offset(received, &it.began), &words, it.reason.as_deref());
    }
}

/// How long after the event was received something began.
fn offset(received: Option<Timestamp>, began: &str) -> String {
    let both = Timestamp::parse(began).zip(received);
    both.map_or_else(String::new, |(began, received)| format!("+{}", brief(began.since(received))))
}

fn step(text: &mut String, after: &str, words: &str, reason: Option<&str>) {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let shown = printable(&format!("{words}{reason}"), REASON_MAX);
    writeln!(text, "{after:<13}{shown}").expect("writing to a String cannot fail");
}

fn tries(attempts: u64) -> String {
    if attempts <= 1 { String::new() } else { format!(" after {attempts} attempts") }
}

/// A time as the people at this machine read it.
pub(crate) fn local(time: &str) -> String {
    Timestamp::parse(time).map_or_else(|| time.to_owned(), Timestamp::local)
}

/// The same without the part of a second.
pub(crate) fn second_of(time: &str) -> String {
    local(time).chars().take(19).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_has_every_step_with_its_reason() {
        let event: EventDetail = serde_json::from_str(
            r#"{"seq":41,"pos":43,"id":"a\u001b[2J","type":"ring","source":"bell","subject":"",
            "time":"2026-01-01T09:50:04.318Z","received":"2026-01-01T09:50:04.402Z",
            "priority":"high","correlation_id":null,"parent_id":null,"pipeline":"p",
            "generation":3,"data":{"z":1.50,"a":2},"enrich":{},"state":"stored",
            "stages":[
              {"stage":"b","kind":"set","outcome":"ok","attempts":1,
               "started":"2026-01-01T09:50:05.402Z","micros":90,"error":null},
              {"stage":"a","kind":"http","outcome":"failed","attempts":9,
               "started":"2026-01-01T09:50:04.404Z","micros":812000,"error":"the response\nis 500",
               "attempt_log":[
                 {"number":1,"began":"2026-01-01T09:50:04.404Z","micros":12000,
                  "outcome":"transient","reason":"busy","wait_micros":200000},
                 {"number":9,"began":"2026-01-01T09:50:05.116Z","micros":100000,
                  "outcome":"transient","reason":"the response\nis 500","wait_micros":null}]}],
            "deliveries":[
              {"sink":"desk","state":"done","attempts":1,"last_error":null,"attempt_log":[
                {"number":1,"began":"2026-01-01T09:50:05.500Z","micros":30000,
                 "outcome":"ok","reason":null,"wait_micros":null}]},
              {"sink":"old","state":"done","attempts":1,"last_error":null},
              {"sink":"phone","state":"pending","attempts":1,"last_error":"no","attempt_log":[
                {"number":1,"began":"2026-01-01T10:50:05.402Z","micros":30000,
                 "outcome":"transient","reason":"no","wait_micros":60000000}]}]}"#,
        )
        .unwrap();
        let text = text(&event);
        let steps = text.split("\n\n").nth(1).unwrap();
        assert_eq!(
            steps,
            "+0ms         received
+2.00ms      a (http) failed after 9 attempts in 812ms: the response; is 500
+2.00ms        attempt 1 transient in 12ms, the next after 200ms: busy
               7 attempts left out
+714ms         attempt 9 transient in 100ms: the response; is 500
+1.00s       b (set) ok in 0.09ms
+1.10s       delivery to desk done in 30ms
             delivery to old done
             delivery to phone pending: no
+1h0m          attempt 1 transient in 30ms, the next after 1m0s: no"
        );
        assert!(text.contains("id           a\\u{1b}[2J\n"), "{text}");
        assert!(text.contains("number       41, visible as 43\n"), "{text}");
        assert!(text.ends_with("\ndata\n  {\n    \"z\": 1.50,\n    \"a\": 2\n  }\n"), "{text}");
        assert!(!text.contains("subject") && !text.contains("enrich"), "{text}");
    }
}
