//! Messages that are taken apart, on a whole engine: one commit, one answer, and a letter for each
//! item that is refused.

use crate::support::world::World;
use engine::engine::ReceivedMessage;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const PIPELINE: &str = r#"
pipeline alerts schema-version=1

source http bell {
    path "/bell"
    idempotency header="X-Delivery"
    map {
        each "data.alerts"
        id "item.id"
        type "item.type"
        subject "data.receiver"
    }
}

validate {
    on-invalid dead-letter
}

sink sqlite db {
    path "db.sqlite"
    retention {
        keep "30d"
    }
}
"#;

const POST: &str = "POST /bell HTTP/1.1";

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    World::start(folder, PIPELINE, 1).expect("it starts")
}

impl World {
    fn send(&self, body: &Value) -> (u16, Value) {
        self.request(POST, &body.to_string())
    }

    /// What is stored: the id, subject and data of each event.
    fn events(&self) -> Vec<String> {
        let stored = self.stored.lock().expect("no panic");
        let line = |stored: &std::sync::Arc<store::StoredEvent>| {
            let envelope = &stored.envelope;
            format!("{} {} {}", envelope.id, envelope.subject, stored.body.data_text())
        };
        stored.iter().map(line).collect()
    }

    fn commits(&self) -> u64 {
        let commits = &self.engine.store.figures().commits;
        commits.iter().map(|commit| commit.load(Ordering::Relaxed)).sum()
    }

    fn rejected(&self) -> Vec<Value> {
        let (_, mut page) = self.request("GET /api/dead-letters HTTP/1.1", "");
        let Value::Array(letters) = page["dead_letters"].take() else { panic!("a list") };
        letters
    }

    fn again(&self, id: u64) -> (bool, String) {
        let body = json!({ "id": id }).to_string();
        let (status, told) = self.request("POST /api/dead-letters/redrive HTTP/1.1", &body);
        assert_eq!(status, 200, "{told}");
        (told["taken"] == true, told["reason"].as_str().unwrap_or_default().to_owned())
    }
}

#[test]
fn the_items_of_a_message_are_one_commit_and_a_bad_one_is_refused_alone() {
    let world = world();
    let message = json!({ "receiver": "ops", "noise": "x", "alerts": [
        { "id": "a", "type": "firing" }, { "id": "b" }, { "id": "c", "type": "firing" },
    ] });
    let before = world.commits();
    let (status, answer) = world.send(&message);
    let results = answer["results"].as_array().expect("a list").clone();
    let statuses: Vec<&Value> = results.iter().map(|result| &result["status"]).collect();
    assert_eq!((status, json!(statuses)), (207, json!([202, 422, 202])), "{answer}");
    assert_eq!(results[1]["errors"][0]["instance"], "/alerts/1/type");
    let expected = [r#"a ops {"id":"a","type":"firing"}"#, r#"c ops {"id":"c","type":"firing"}"#];
    assert_eq!(world.events(), expected);
    assert_eq!(world.commits() - before, 1);
    world.close();
}

#[test]
fn the_letter_of_an_item_comes_in_again_with_what_the_map_reads_around_it() {
    let world = world();
    let message = json!({ "receiver": "ops", "noise": "x", "alerts": [{ "id": "b" }] });
    assert_eq!(world.send(&message).0, 207);
    let letter = world.rejected().remove(0);
    let item_of = json!({ "at": "/alerts/0", "data": { "receiver": "ops" } });
    assert_eq!(letter["context"]["item_of"], item_of, "{letter}");
    assert!(!world.again(1).0);
    world.reload(&PIPELINE.replace("item.type", "item.type ?? 'none'"));
    assert_eq!(world.again(1), (true, String::new()));
    assert_eq!(world.events(), [r#"b ops {"id":"b"}"#]);
    assert_eq!(world.rejected().len(), 0);
    world.close();
}

#[test]
fn a_message_that_cannot_be_taken_apart_is_refused_whole_and_comes_in_again_whole() {
    let world = world();
    let message = json!({ "receiver": "ops", "alerts": { "list": [
        { "id": "a", "type": "t" }, { "id": "b", "type": "t" },
    ] } });
    let (status, answer) = world.send(&message);
    assert_eq!((status, &answer["errors"][0]["instance"]), (422, &json!("/alerts")), "{answer}");
    let (taken, reason) = world.again(1);
    assert!(!taken && reason.contains("`each` needs a list"), "{reason}");
    let fixed = PIPELINE.replace("data.alerts", "data.alerts.list");
    world.reload(&fixed.replace("item.type", "item.kind"));
    let (taken, reason) = world.again(1);
    assert!(!taken && reason.contains("needs a type"), "{reason}");
    assert_eq!(world.events().len(), 0, "none of its items is taken without the others");
    world.reload(&fixed);
    assert_eq!(world.again(1), (true, String::new()));
    assert_eq!(world.events().len(), 2);
    assert_eq!(world.rejected().len(), 0);
    world.close();
}

#[test]
fn an_item_that_comes_again_in_another_message_is_a_duplicate() {
    let world = world();
    let item = json!({ "id": "a", "type": "t" });
    for (receiver, duplicate) in [("ops", false), ("dev", true)] {
        let (status, answer) = world.send(&json!({ "receiver": receiver, "alerts": [item] }));
        assert_eq!((status, &answer["results"][0]["duplicate"]), (202, &json!(duplicate)));
    }
    world.reload(&PIPELINE.replace("        id \"item.id\"\n", ""));
    let head = "POST /bell HTTP/1.1\r\nX-Delivery: d1";
    let body = json!({ "alerts": [{ "type": "t" }, { "type": "u" }] }).to_string();
    for duplicate in [false, true] {
        let (_, answer) = world.request(head, &body);
        let results = answer["results"].as_array().expect("a list").clone();
        let told: Vec<String> = results
            .iter()
            .map(|result| format!("{} {}", result["id"], result["duplicate"]))
            .collect();
        let expected = [format!("\"d1#0\" {duplicate}"), format!("\"d1#1\" {duplicate}")];
        assert_eq!(told, expected);
    }
    world.close();
}

#[test]
fn one_request_is_at_most_so_many_events() {
    let world = world();
    assert_eq!(world.send(&json!({})), (202, json!({ "results": [] })));
    assert_eq!(world.send(&json!({ "alerts": null })), (202, json!({ "results": [] })));
    let item = |number: usize| json!({ "id": number.to_string(), "type": "t" });
    let items =
        |from: usize, to: usize| json!({ "alerts": (from..to).map(item).collect::<Vec<_>>() });
    let (status, answer) = world.send(&items(0, 1001));
    assert_eq!(status, 413, "{answer}");
    let (status, answer) = world.send(&json!([items(0, 998), items(998, 1001), items(1001, 1002)]));
    let results = answer["results"].as_array().expect("a list").clone();
    assert_eq!((status, results.len()), (207, 1000));
    assert_eq!((&results[998]["status"], &results[999]["status"]), (&json!(413), &json!(202)));
    assert_eq!(world.events().len(), 999);
    world.close();
}

const LINES: &str = r##"
pipeline lines schema-version=1
source file log {
    path "*.log"
    follow
    type line
    decode regex #"^(?<level>[A-Z]+) (?<at>[^ ]+) (?<text>.*)$"# { time at }
}
sink sqlite db { path "db.sqlite"; retention { keep "30d" } }
"##;

#[test]
fn a_line_that_does_not_match_comes_in_again_by_the_pattern_of_then() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder, LINES, 1).expect("it starts");
    for line in ["INFO 2026-01-01T01:00:00Z up", "warn 2026-01-01T02:00:00Z low"] {
        let message = ReceivedMessage {
            bytes: line.as_bytes().into(),
            decoded: Some(line.into()),
            ..ReceivedMessage::default()
        };
        let engine = world.engine.clone();
        let answers = world.simulation.complete(async move {
            engine.ingest("log", vec![message], Vec::new(), true).await.expect("there is room")
        });
        assert_eq!(answers.map(|answer| answer.len()), Some(1));
    }
    let times = || {
        let stored = world.stored.lock().expect("no panic");
        stored.iter().map(|it| it.envelope.time.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(times(), ["2026-01-01T01:00:00.000Z"]);
    let letter = world.rejected().remove(0);
    assert_eq!(letter["stage"], "decode");
    let (taken, reason) = world.again(1);
    assert!(!taken && reason.contains("does not match the pattern"), "{reason}");
    world.reload(&LINES.replace("[A-Z]+", "[A-Za-z]+"));
    assert_eq!(world.again(1), (true, String::new()));
    assert_eq!(times(), ["2026-01-01T01:00:00.000Z", "2026-01-01T02:00:00.000Z"]);
    world.close();
}
