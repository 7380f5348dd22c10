//! What the front door does not let in, and what it says about it.

use super::{assert_balance, doorbell, fate, metric, rows, sample};
use crate::support::{Engine, PATIENCE};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, UNIX_EPOCH};

const BAD: [&str; 3] = ["bad-1", "bad-2", "bad-3"];

fn instances(answer: &Value) -> Vec<&str> {
    let errors = answer["errors"].as_array().expect("the places are named");
    let mut instances: Vec<_> =
        errors.iter().filter_map(|error| error["instance"].as_str()).collect();
    instances.sort_unstable();
    instances
}

#[test]
fn a_bad_sample_is_refused_with_every_wrong_place_and_kept() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    let wrong: [&[&str]; 3] = [
        &["/event_id"],
        &[
            "/data/motion_regions/0/confidence",
            "/data/motion_regions/0/height",
            "/data/motion_regions/0/width",
            "/data/motion_regions/0/x",
            "/data/motion_regions/0/y",
            "/data/motion_score",
            "/priority",
            "/timestamp",
        ],
        &["/data", "/event_type"],
    ];
    for (name, wrong) in BAD.iter().zip(wrong) {
        let (status, answer) = engine.post(&sample(name));
        assert_eq!((status, &answer["status"]), (422, &json!(422)), "{name}");
        assert_eq!(instances(&answer), wrong, "{name}");
        let said = answer["errors"].as_array().expect("a list").iter();
        assert!(said.clone().all(|it| it["message"].as_str().is_some_and(|text| !text.is_empty())));
        assert!(said.clone().all(|it| it["schema"].is_string()), "{answer}");
    }
    let kept = rows(data.path(), "events.db", "SELECT body FROM dead_letters ORDER BY id");
    assert_eq!(kept, BAD.map(sample), "the bytes as they were sent");
    let query = "SELECT what, source_node, seq FROM dead_letters";
    assert_eq!(rows(data.path(), "events.db", query), ["rejected front null"; 3]);
    let letters = engine.get("/api/dead-letters");
    assert_eq!(letters["dead_letters"].as_array().map(Vec::len), Some(3));
    assert_eq!((fate(&engine, "rejected"), metric(&engine, "engine_dead_letters")), (3, 3));
    assert_eq!(metric(&engine, "engine_events_received_total{source=\"front\"}"), 3);
    assert_balance(&engine, 0);
    assert_eq!(rows(data.path(), "events.db", "SELECT count(*) FROM events"), ["0"]);
    // It was never accepted, so its id is free.
    let mended = sample("bad-3").replace("DOORBELL_RUNG", "DOORBELL_PRESSED");
    let mended = mended.replace(r#"["not","a","map"]"#, r#"{"channel":18,"press_duration":0.4}"#);
    assert_eq!(engine.post(&mended).0, 202);
    assert_balance(&engine, 1);
}

#[test]
fn an_event_that_comes_again_is_a_duplicate_or_a_conflict() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    let event = sample("good-2");
    let id = "b2f5a1de-7c57-4b0e-8a55-3c2a9a6d0b02";
    assert_eq!(engine.post(&sample("good-1")).0, 202);
    let first = json!({ "id": id, "seq": 2, "duplicate": false });
    let again = json!({ "id": id, "seq": 2, "duplicate": true });
    assert_eq!(engine.post(&event), (202, first));
    assert_eq!(engine.post(&event), (200, again.clone()));
    let (status, answer) = engine.post(&event.replace("37.6", "37.7"));
    assert_eq!((status, &answer["status"]), (409, &json!(409)));
    assert_eq!(engine.post(&event), (200, again));
    assert_balance(&engine, 2);
    assert_eq!((fate(&engine, "duplicate"), fate(&engine, "rejected")), (2, 1));
    assert_eq!(rows(data.path(), "events.db", "SELECT seq FROM events ORDER BY pos"), ["1", "2"]);
}

#[test]
fn what_is_no_event_is_refused_and_says_why() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    for text in ["no", "", "{", r#"{"event_type":"HEALTH_CHECK"}}"#, "\"\\ud800\"", "\u{1}"] {
        assert_eq!(engine.post(text).0, 400, "{text:?}");
    }
    assert_eq!(engine.ask("POST", "/events", b"{\"a\":\"\xff\"}").0, 400, "no UTF-8");
    let twice = r#"{"event_type":"HEALTH_CHECK","data":{"a":1,"a":2}}"#;
    let (status, answer) = engine.post(twice);
    assert_eq!(status, 422);
    assert!(answer.to_string().contains("`a` appears twice"), "{answer}");
    let deep = format!(
        r#"{{"event_type":"HEALTH_CHECK","data":{{"a":{}{}}}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    let (status, answer) = engine.post(&deep);
    assert_eq!(status, 422);
    assert!(answer.to_string().contains("deeper than"), "{answer}");
    let (status, answer) = engine.ask("GET", "/events", b"");
    assert_eq!(status, 405, "{}", String::from_utf8_lossy(&answer));
    assert_balance(&engine, 0);
}

#[test]
fn a_time_may_be_five_minutes_ahead_and_no_more() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    // The file of the store is as old as the engine, and younger than the clock.
    let made = std::fs::metadata(data.path().join("events.db")).expect("there is a store");
    let made = made.modified().expect("it has a time").duration_since(UNIX_EPOCH);
    let now = made.expect("it is after 1970");
    let at = |time: Duration| {
        let time = time.as_secs_f64();
        engine.post(&format!(r#"{{"event_type":"HEALTH_CHECK","source":"s","timestamp":{time}}}"#))
    };
    let (status, answer) = at(now + Duration::from_secs(4 * 60));
    assert_eq!(status, 202, "{answer}");
    // More than a test may take.
    let (status, answer) = at(now + Duration::from_secs(3600));
    assert_eq!((status, instances(&answer)), (422, vec!["/timestamp"]));
    assert_eq!(answer["errors"][0]["message"], "the time lies more than five minutes ahead");
}

/// Kilobytes of memory that the engine occupies.
fn memory(engine: &Engine) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.pid()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel tells")
}

/// Announces a body, sends its beginning, and reads the status line.
fn announce(engine: &Engine, length: &str, beginning: &[u8]) -> String {
    let mut stream = TcpStream::connect(&engine.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    let head = format!(
        "POST /events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{length}\r\n\r\n",
        engine.address
    );
    stream.write_all(head.as_bytes()).expect("it reads the head");
    // It may hang up before it has read all.
    stream.write_all(beginning).ok();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("it answers");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    let length = format!("Content-Length: {}", 100 << 20);
    assert_eq!(announce(&engine, &length, b"{\"event_type\":"), "HTTP/1.1 413");
    let before = memory(&engine);
    for _ in 0..50 {
        assert_eq!(announce(&engine, &length, b"{\"event_type\":"), "HTTP/1.1 413");
    }
    let after = memory(&engine);
    assert!(after < before + (8 << 10), "{before} KiB before, {after} KiB after");
    let large =
        format!(r#"{{"event_type":"HEALTH_CHECK","data":{{"a":"{}"}}}}"#, "x".repeat(300_000));
    let (status, answer) = engine.post(&large);
    assert_eq!(status, 413, "{answer}");
    assert_eq!(engine.post(&sample("good-1")).0, 202);
    assert_balance(&engine, 1);
}

#[test]
fn a_body_without_an_end_is_cut_off() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let answer = announce(&engine, "Transfer-Encoding: chunked", chunk.repeat(18).as_bytes());
    assert_eq!(answer, "HTTP/1.1 413");
    assert_eq!(engine.post(&sample("good-1")).0, 202);
}
