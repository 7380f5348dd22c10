//! An outside that fails: what is tried again, what is given up, and with which key.

use super::server::{Asked, Server};
use super::{assert_balance, delivered, metric, pipeline, rows, timeless, until};
use crate::support::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A pipeline that tells `url` of every event.
fn start(url: &str) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = format!(
        r#"
pipeline outside schema-version=1
source http front {{
    path "/events"
    map {{
        id "data.id"
    }}
}}
policy stubborn {{
    timeout "30s"
    retry 5 {{
        backoff constant base="10ms" jitter=none
    }}
}}
sink sqlite store {{
    path "../data/events.db"
    retention {{
        keep "1d"
    }}
}}
notify webhook chat {{
    url "{url}"
    policy stubborn
    title "{{{{ event.type }}}}"
}}
"#
    );
    let file = pipeline(folder.path(), &text);
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    (folder, engine)
}

fn key(asked: &Asked) -> Option<String> {
    asked.header("idempotency-key").map(str::to_owned)
}

#[test]
fn a_webhook_that_is_busy_is_told_again_with_the_same_key() {
    let outside = Server::start();
    let (folder, engine) = start(&outside.url);
    assert_eq!(engine.post(r#"{"id":"e-1","type":"ring"}"#).0, 202);
    for status in [503, 503, 200] {
        let asked = outside.next();
        assert!(asked.head.starts_with("post / http/1.1\r\n"), "{}", asked.head);
        assert_eq!(key(&asked).as_deref(), Some("e-1/chat"));
        let body: Value = serde_json::from_str(&asked.body).expect("the event as JSON");
        assert_eq!((&body["id"], &body["type"]), (&json!("e-1"), &json!("ring")));
        asked.answer(status, "{}");
    }
    let event = delivered(&engine, "e-1", "done");
    assert_eq!(event["deliveries"][0]["attempts"], 3);
    assert!(!outside.was_asked(), "told once, it is told");
    let data = folder.path().join("data");
    let query = "SELECT sink, seq, state, attempts FROM deliveries";
    assert_eq!(rows(&data, "events.db", query), ["chat 1 done 3"]);
    assert_eq!(rows(&data, "events.db", "SELECT count(*) FROM dead_letters"), ["0"]);
    let outcome =
        |text: &str| format!("engine_deliveries_total{{sink=\"chat\",outcome=\"{text}\"}}");
    assert_eq!(metric(&engine, &outcome("done")), 1);
    assert_eq!(metric(&engine, &outcome("pending")), 2);
    assert_balance(&engine, 1);
}

#[test]
fn a_webhook_that_refuses_is_given_up_after_one_try_and_kept() {
    let outside = Server::start();
    let (folder, engine) = start(&outside.url);
    assert_eq!(engine.post(r#"{"id":"e-1","type":"ring"}"#).0, 202);
    outside.next().answer(400, "{}");
    let event = delivered(&engine, "e-1", "dead");
    let reason = "the response is 400";
    let log = json!([{ "number": 1, "outcome": "permanent", "reason": reason }]);
    let chat = json!({
        "sink": "chat", "state": "dead", "attempts": 1, "last_error": reason, "attempt_log": log,
    });
    assert_eq!(timeless(&event["deliveries"]), json!([chat]));
    let data = folder.path().join("data");
    let query = "SELECT what, seq, stage, class, reason, attempts FROM dead_letters";
    let expected = ["delivery 1 chat permanent the response is 400 1"];
    assert_eq!(rows(&data, "events.db", query), expected);
    assert!(!outside.was_asked());
    // The event itself is stored: only its delivery ended here.
    assert_balance(&engine, 1);
    assert_eq!(rows(&data, "events.db", "SELECT seq FROM events"), ["1"]);
}

#[test]
fn an_event_that_waits_for_its_next_try_holds_no_other_up() {
    let outside = Server::start();
    let (folder, engine) = start(&outside.url);
    assert_eq!(engine.post(r#"{"id":"e-1","type":"ring"}"#).0, 202);
    outside.next().answer_with(503, "Retry-After: 1800", "{}");
    let state = |id: &str| engine.get(&format!("/api/events/{id}"))["deliveries"][0].clone();
    until("the first try has failed", || (state("e-1")["attempts"] == 1).then_some(()));
    assert_eq!(engine.post(r#"{"id":"e-2","type":"ring"}"#).0, 202);
    let asked = outside.next();
    assert_eq!(key(&asked).as_deref(), Some("e-2/chat"));
    asked.answer(200, "{}");
    delivered(&engine, "e-2", "done");
    let reason = "the response is 503";
    let log = json!([{ "number": 1, "outcome": "transient", "reason": reason }]);
    let waits = json!({
        "sink": "chat", "state": "pending", "attempts": 1, "last_error": reason,
        "attempt_log": log,
    });
    let delivery = state("e-1");
    assert_eq!(timeless(&json!([delivery])), json!([waits]));
    let half_an_hour = delivery["attempt_log"][0]["wait_micros"].as_u64().expect("a wait");
    assert!((1_790_000_000..1_860_000_000).contains(&half_an_hour), "{delivery}");
    let query = "SELECT seq FROM deliveries
        WHERE unixepoch('now', '+20 minutes') < unixepoch(not_before)";
    assert_eq!(rows(&folder.path().join("data"), "events.db", query), ["1"], "as was asked for");
}

#[test]
fn what_a_crash_cuts_off_is_told_again_with_the_same_key() {
    let outside = Server::start();
    let (folder, mut engine) = start(&outside.url);
    assert_eq!(engine.post(r#"{"id":"e-1","type":"ring"}"#).0, 202);
    let cut_off = outside.next();
    engine.kill();
    let file = folder.path().join("pipelines/small.kdl");
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    let again = outside.next();
    assert_eq!((key(&cut_off), &cut_off.body), (key(&again), &again.body));
    again.answer(200, "{}");
    let event = delivered(&engine, "e-1", "done");
    assert_eq!(event["deliveries"][0]["attempts"], 1, "a try without an end is not counted");
    assert_eq!(engine.post(r#"{"id":"e-1","type":"ring"}"#).0, 200);
    assert_balance(&engine, 0);
}
