//! The front door's own pipeline, from a press to the row, the stream and the notification.

use super::stream::Stream;
use super::{assert_balance, delivered, doorbell, rows, sample, timeless};
use serde_json::{Value, json};
use std::path::Path;

const DB: &str = "events.db";
const PRESS: &str = "6f0c2f0a-5d1e-4a57-9a39-0b7b6f0f1a01";
const BARRED: &str = "4c1b6c0e-93c5-4b6e-9c0e-a1b2c3d4e504";
const GOOD: [&str; 5] = ["good-1", "good-2", "good-3", "good-4", "good-5"];

#[test]
fn every_good_sample_is_stored_streamed_and_told() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    let mut stream = Stream::open(&engine.address, "/live", None);
    for (index, name) in GOOD.iter().enumerate() {
        let event = sample(name);
        let sent: Value = serde_json::from_str(&event).expect("it is JSON");
        let answer = json!({ "id": sent["event_id"], "seq": index + 1, "duplicate": false });
        assert_eq!(engine.post(&event), (202, answer));
    }
    let streamed: Vec<_> = GOOD.iter().map(|_| stream.next()).collect();
    assert_eq!(streamed.iter().map(|it| it.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(streamed.iter().all(|it| it.event == "message"));
    assert_faces_are_not_streamed(&streamed[2].text);
    for (message, name) in streamed.iter().zip(GOOD) {
        let (data, sent) = (message.data(), serde_json::from_str::<Value>(&sample(name)));
        let sent = sent.expect("it is JSON");
        assert_eq!(data["pos"], message.id);
        assert_eq!((&data["id"], &data["type"]), (&sent["event_id"], &sent["event_type"]));
    }
    for (id, seq) in [(PRESS, 1), (BARRED, 4)] {
        let event = delivered(&engine, id, "done");
        assert_eq!(event["seq"], seq);
        let bell = json!({ "sink": "bell-log", "state": "done", "attempts": 1, "last_error": null,
                "attempt_log": [{ "number": 1, "outcome": "ok", "reason": null }] });
        assert_eq!(timeless(&event["deliveries"]), json!([bell]));
    }
    assert_balance(&engine, 5);
    assert_rows(data.path());
    assert_notifications(data.path());
}

fn assert_faces_are_not_streamed(text: &str) {
    assert!(sample("good-3").contains("-0.0712,0.1184"), "the sample has an encoding");
    assert!(!text.contains("0.1184"), "{text}");
    assert!(text.contains(r#""encoding":{"omitted":"redacted"}"#), "{text}");
    // Two numbers are no encoding.
    assert!(text.contains(r#""left_eye":[662,246]"#), "{text}");
}

fn assert_rows(data: &Path) {
    let query = "SELECT pos, seq, type, source, priority, time FROM events ORDER BY pos";
    let expected = [
        "1 1 DOORBELL_PRESSED gpio_handler high 2026-01-01T09:50:04.318Z",
        "2 2 MOTION_DETECTED motion_detector low 2026-01-01T09:50:01.027Z",
        "3 3 FACE_RECOGNIZED face_recognizer normal 2026-01-01T09:50:05.902Z",
        "4 4 FACE_BLACKLISTED face_recognizer critical 2026-01-01T20:46:52.550Z",
        "5 5 HEALTH_CHECK orchestrator normal 2026-01-01T09:51:00.000Z",
    ];
    assert_eq!(rows(data, DB, query), expected);
    let bodies = rows(data, DB, "SELECT body FROM events ORDER BY pos");
    assert_eq!(bodies, GOOD.map(sample), "the bytes as they were sent");
    let query = "SELECT pos, stage, kind, outcome FROM event_enrichments
        WHERE stage IN ('meta', 'people', 'summary') ORDER BY pos, stage";
    let stages = [("meta", "metadata"), ("people", "lookup"), ("summary", "set")];
    let all = (1..=5).flat_map(|pos| stages.map(|(name, kind)| format!("{pos} {name} {kind} ok")));
    assert_eq!(rows(data, DB, query), all.collect::<Vec<_>>());
    let query = "SELECT pos, enrich ->> '$.title', enrich ->> '$.people.name' FROM events";
    let titles = [
        "1 Someone rings the bell null",
        "2 MOTION_DETECTED null",
        "3 Ines is at the door Ines",
        "4 Barred from the house Case 114",
        "5 HEALTH_CHECK null",
    ];
    assert_eq!(rows(data, DB, query), titles);
    let query = "SELECT sink, seq, state, attempts FROM deliveries ORDER BY seq";
    assert_eq!(rows(data, DB, query), ["bell-log 1 done 1", "bell-log 4 done 1"]);
    assert_eq!(rows(data, DB, "SELECT count(*) FROM dead_letters"), ["0"]);
}

fn assert_notifications(data: &Path) {
    let text = std::fs::read_to_string(data.join("notifications.jsonl"));
    let text = text.expect("somebody was told");
    let told: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let parts = ["key", "title", "message", "level"];
    let told: Vec<_> = told.iter().map(|it| parts.map(|part| it[part].clone())).collect();
    let expected = [
        [
            format!("{PRESS}/bell-log"),
            "Someone rings the bell".to_owned(),
            "gpio handler, 09:50".to_owned(),
            "high".to_owned(),
        ],
        [
            format!("{BARRED}/bell-log"),
            "Barred from the house".to_owned(),
            "face recognizer, 20:46".to_owned(),
            "critical".to_owned(),
        ],
    ];
    assert_eq!(told, expected.map(|expected| expected.map(Value::from)));
}

#[test]
fn a_second_press_within_the_minute_is_stored_and_not_told() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    assert_eq!(engine.post(&sample("good-1")).0, 202);
    delivered(&engine, PRESS, "done");
    let again = r#"{"event_id":"again","event_type":"DOORBELL_PRESSED","source":"gpio_handler",
        "timestamp":1767261034,"priority":"HIGH","data":{"channel":18,"press_duration":0.1}}"#;
    assert_eq!(engine.post(again).0, 202);
    delivered(&engine, "again", "suppressed");
    let told = std::fs::read_to_string(data.path().join("notifications.jsonl"));
    assert_eq!(told.expect("the first was told").lines().count(), 1);
}

#[test]
fn the_api_filters_pages_and_shows_what_became_of_an_event() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    for name in GOOD {
        assert_eq!(engine.post(&sample(name)).0, 202);
    }
    delivered(&engine, BARRED, "done");
    assert_balance(&engine, 5);
    let found = |query: &str| {
        let page = engine.get(&format!("/api/events?{query}"));
        let events = page["events"].as_array().expect("a list").iter();
        let seqs = events.map(|event| event["seq"].as_u64().expect("a number")).collect::<Vec<_>>();
        (seqs, page["next"].as_str().map(str::to_owned))
    };
    let all = |query: &str| {
        let (seqs, next) = found(query);
        assert_eq!(next, None);
        seqs
    };
    assert_eq!(all(""), [4, 5, 3, 1, 2], "newest first by their own time");
    assert_eq!(all("type=DOORBELL_PRESSED&type=HEALTH_CHECK"), [5, 1]);
    assert_eq!(all("source=face_recognizer&priority=critical"), [4]);
    assert_eq!(all("priority=HIGH&priority=low"), [1, 2]);
    assert_eq!(all("correlation_id=visit-20260101-0007"), [3, 1, 2]);
    assert_eq!(all("subject=orchestrator"), [5]);
    let range = "since=2026-01-01T09:50:04.318Z&until=2026-01-01T09:51:00Z";
    assert_eq!(all(range), [5, 3, 1], "both ends are in");
    assert_eq!(all("since=-1h"), [0; 0]);
    assert_eq!(all("type=NOBODY_KNOWS"), [0; 0]);
    let (first, next) = found("limit=2");
    let (second, next) = found(&format!("limit=2&cursor={}", next.expect("there is more")));
    let (third, next) = found(&format!("limit=2&cursor={}", next.expect("there is more")));
    assert_eq!((first, second, third, next), (vec![4, 5], vec![3, 1], vec![2], None));
    for wrong in ["colour=red", "limit=0", "limit=x", "priority=urgent", "since=soon", "q=x"] {
        assert_eq!(engine.ask("GET", &format!("/api/events?{wrong}"), b"").0, 400, "{wrong}");
    }
    assert_eq!(engine.ask("GET", "/api/events/nobody", b"").0, 404);
    assert_detail(&engine.get(&format!("/api/events/{PRESS}")));
    assert_eq!(engine.ask("GET", "/healthz", b"").0, 200);
    let ready = json!({
        "ready": true, "status": "ok", "reasons": [], "degraded": [], "config": "current",
        "diagnostics": null, "generation": 1, "paused": [],
    });
    assert_eq!(engine.get("/readyz"), ready);
}

fn assert_detail(event: &Value) {
    let stages = event["stages"].as_array().expect("a list");
    let stages: Vec<_> = stages.iter().map(|stage| [&stage["stage"], &stage["outcome"]]).collect();
    let expected = [
        ["meta", "ok"],
        ["people", "ok"],
        ["weather", "skipped"],
        ["recognition", "skipped"],
        ["summary", "ok"],
    ];
    assert_eq!(stages, expected);
    assert_eq!(event["data"], json!({ "channel": 18, "press_duration": 0.42 }));
    assert_eq!(event["correlation_id"], "visit-20260101-0007");
    assert_eq!((&event["pipeline"], &event["generation"]), (&json!("doorbell"), &json!(1)));
}

#[test]
fn the_statistics_count_what_came() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    for name in GOOD {
        assert_eq!(engine.post(&sample(name)).0, 202);
    }
    assert_eq!(engine.post(&sample("bad-2")).0, 422);
    assert_balance(&engine, 5);
    let stats = engine.get("/api/stats?days=7");
    assert_eq!((&stats["total_events"], &stats["period_days"]), (&json!(5), &json!(7)));
    let by_type = json!({
        "DOORBELL_PRESSED": 1, "FACE_BLACKLISTED": 1, "FACE_RECOGNIZED": 1, "HEALTH_CHECK": 1,
        "MOTION_DETECTED": 1,
    });
    assert_eq!(stats["by_type"], by_type);
    let by_priority = json!({ "critical": 1, "high": 1, "low": 1, "normal": 2 });
    assert_eq!(stats["by_priority"], by_priority);
    assert_eq!(stats["by_source"]["face_recognizer"], 2);
    assert_eq!(stats["by_outcome"], json!({ "rejected": 1, "stored": 5 }));
    assert_eq!(stats["store"]["dead_letters"], 1);
    let stages = stats["stages"].as_array().expect("a list");
    let meta = stages.iter().find(|stage| stage["stage"] == "meta").expect("it ran");
    assert_eq!((&meta["outcome"], &meta["count"]), (&json!("ok"), &json!(5)));
    assert_eq!(engine.ask("GET", "/api/stats?days=0", b"").0, 400);
}

#[test]
fn a_stream_begins_where_it_is_asked_to_and_shows_what_is_asked_for() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    for name in GOOD {
        assert_eq!(engine.post(&sample(name)).0, 202);
    }
    assert_balance(&engine, 5);
    let open = |path: &str| Stream::open(&engine.address, path, None);
    assert_eq!(open("/live?replay=2").positions(2), [4, 5]);
    assert_eq!(open("/live?replay=2&priority=high&priority=critical").positions(2), [1, 4]);
    assert_eq!(open("/live?replay=100&source=face_recognizer").positions(2), [3, 4]);
    assert_eq!(open("/live?last_event_id=0&type=HEALTH_CHECK").positions(1), [5]);
    let mut newer = Stream::open(&engine.address, "/live?last_event_id=1", Some(4));
    assert_eq!(newer.positions(1), [5], "what the browser remembers is newer");
    let mut next = open("/live?type=DOORBELL_PRESSED");
    for kind in ["HEALTH_CHECK", "DOORBELL_PRESSED"] {
        let event = format!(r#"{{"event_type":"{kind}","source":"test","data":{{"channel":1}}}}"#);
        let (status, answer) = engine.post(&event);
        assert_eq!(status, 202, "{answer}");
    }
    assert_eq!(next.positions(1), [7], "without a beginning it starts with the next event");
    // A position that this store never gave: everything is sent, and that it is said first.
    let mut astray = Stream::open(&engine.address, "/live", Some(900));
    let gap = astray.next();
    assert_eq!((gap.event.as_str(), &gap.data()["from"]), ("gap", &json!(900)));
    assert_eq!(astray.positions(7), [1, 2, 3, 4, 5, 6, 7]);
    let mut foreign = open("/live?last_event_id=of-another-stream");
    assert_eq!(foreign.next().event, "gap");
    assert_eq!(foreign.positions(7), [1, 2, 3, 4, 5, 6, 7]);
    for wrong in ["colour=red", "priority=urgent", "replay=-1"] {
        assert_eq!(engine.ask("GET", &format!("/live?{wrong}"), b"").0, 400, "{wrong}");
    }
    assert_eq!(engine.ask("POST", "/live", b"{}").0, 405);
}

#[test]
fn a_face_is_summarised_in_a_list_and_whole_by_its_id() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    assert_eq!(engine.post(&sample("good-3")).0, 202);
    assert_balance(&engine, 1);
    let face = |event: &Value| event["data"]["recognitions"][0]["face_detection"].clone();
    let list = engine.get("/api/events?type=FACE_RECOGNIZED");
    let shown = face(&list["events"][0]);
    assert_eq!(shown["encoding"], json!({ "omitted": "numbers", "count": 128 }));
    let whole = face(&engine.get("/api/events/0d9a7c43-1be2-4f6c-b8c1-5e77d2a4c103"));
    assert_eq!(whole["encoding"].as_array().map(Vec::len), Some(128));
    let sent: Value = serde_json::from_str(&sample("good-3")).expect("it is JSON");
    assert_eq!(whole, face(&sent));
}
