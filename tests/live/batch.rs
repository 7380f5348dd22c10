//! Many events in one request.

use super::{assert_balance, doorbell, rows, sample};
use crate::support::{Engine, ask_as};
use serde_json::{Value, json};

fn send(engine: &Engine, kind: &str, body: &str) -> (u16, Value) {
    let answer = ask_as(&engine.address, "POST", "/events", kind, body.as_bytes());
    let (status, body) = answer.expect("the engine answers");
    (status, serde_json::from_slice(&body).expect("it is JSON"))
}

fn statuses(answer: &Value) -> Vec<u64> {
    let results = answer["results"].as_array().expect("one result for each");
    results.iter().map(|result| result["status"].as_u64().expect("a status")).collect()
}

#[test]
fn lines_are_answered_one_by_one_in_their_order() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    let line = |name: &str| sample(name).trim().to_owned();
    let lines = [line("good-1"), line("bad-2"), line("good-2"), line("good-1"), "no".to_owned()];
    let ndjson = "application/x-ndjson";
    let (status, answer) = send(&engine, ndjson, &lines.join("\n"));
    assert_eq!((status, statuses(&answer)), (207, vec![202, 422, 202, 200, 400]));
    let results = &answer["results"];
    assert_eq!(results[4]["detail"], "not JSON: expected ident at line 5 column 2", "{answer}");
    assert_eq!(results[1]["errors"].as_array().map(Vec::len), Some(8), "{answer}");
    assert_eq!((&results[0]["seq"], &results[2]["seq"]), (&json!(1), &json!(2)));
    assert_eq!((&results[3]["seq"], &results[3]["duplicate"]), (&json!(1), &json!(true)));
    let (status, answer) = send(&engine, ndjson, &format!("\n{}\n\n", line("good-3")));
    assert_eq!((status, statuses(&answer)), (202, vec![202]));
    assert_balance(&engine, 3);
    let query = "SELECT body FROM events ORDER BY pos";
    let sent = ["good-1", "good-2", "good-3"].map(line);
    assert_eq!(rows(data.path(), "events.db", query), sent);
}

#[test]
fn an_array_is_answered_item_by_item() {
    let data = tempfile::tempdir().expect("a folder can be made");
    let engine = doorbell(data.path());
    let json = "application/json";
    let items = ["good-1", "good-4", "bad-3", "good-5"].map(sample);
    let (status, answer) = send(&engine, json, &format!("[{}]", items.join(", ")));
    assert_eq!((status, statuses(&answer)), (207, vec![202, 202, 422, 202]));
    let (status, answer) = send(&engine, json, &format!("[{}]", sample("good-1")));
    assert_eq!((status, statuses(&answer)), (202, vec![200]), "a duplicate is no failure");
    let items = vec![r#"{"event_type":"HEALTH_CHECK"}"#; 1001];
    assert_eq!(send(&engine, json, &format!("[{}]", items.join(","))).0, 413);
    assert_eq!(send(&engine, json, "[{]").0, 400);
    assert_eq!(send(&engine, "text/plain", &sample("good-2")).0, 415);
    assert_balance(&engine, 3);
    let kept = rows(data.path(), "events.db", "SELECT body FROM dead_letters");
    assert_eq!(kept, [sample("bad-3").trim()]);
}
