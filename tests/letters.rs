//! Dead letters on a whole engine: refused messages, dead events and dead deliveries are put
//! right, and stay where they cannot be.

use crate::support::world::{Behaviour, World};
use serde_json::{Value, json};
use std::time::Duration;

const PIPELINE: &str = r#"
pipeline letters schema-version=1

source http bell {
    path "/bell"
    map {
        id "data.id"
        type "data.type ?? http.header('X-Kind')"
    }
}

enrich http weather {
    get "http://weather/"
    timeout "1s"
    retry 0
    on-error dead-letter
}

sink sqlite db {
    path "db.sqlite"
    retention {
        keep "30d"
    }
}

notify webhook chat {
    url "http://chat/"
    retry 0
}
"#;

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    World::start(folder, PIPELINE, 1).expect("it starts")
}

const REDRIVE: &str = "POST /api/dead-letters/redrive HTTP/1.1";

impl World {
    fn redrive(&self, body: Value) -> (u16, Value) {
        let answered = self.request(REDRIVE, &body.to_string());
        self.simulation.advance(Duration::from_secs(2));
        answered
    }

    fn letters(&self) -> Vec<Value> {
        let (status, mut page) = self.request("GET /api/dead-letters HTTP/1.1", "");
        assert_eq!((status, &page["next"]), (200, &Value::Null));
        let Value::Array(letters) = page["dead_letters"].take() else { panic!("a list") };
        letters
    }

    /// What each letter is, with its stage and event.
    fn lines(&self) -> Vec<String> {
        let letters = self.letters();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let line = |value: &Value| {
            let parts = ["what", "stage", "event_id"].map(|name| text(&value[name]));
            format!("{} {}", value["id"], parts.join(" "))
        };
        letters.iter().map(line).collect()
    }

    fn state(&self, id: &str) -> (u16, Value) {
        let (status, event) = self.request(&format!("GET /api/events/{id} HTTP/1.1"), "");
        (status, event.get("state").cloned().unwrap_or(Value::Null))
    }

    fn event_ids(&self) -> Vec<String> {
        let stored = self.stored.lock().expect("no panic");
        stored.iter().map(|it| it.envelope.id.to_string()).collect()
    }
}

#[test]
fn a_refused_message_is_taken_in_again_as_it_came_in() {
    let world = world();
    let head = "POST /bell HTTP/1.1\r\nX-Kind: ring\r\nX-Api-Token: secret";
    let without = world.request("POST /bell HTTP/1.1", "{\"id\":\"no\"}");
    assert_eq!(without.0, 422, "{without:?}");
    // The type stands in a header, which the file does not read yet.
    world.reload(&PIPELINE.replace(" ?? http.header('X-Kind')", ""));
    assert_eq!(world.request(head, "{\"id\":\"a\"}").0, 422);
    assert_eq!(world.lines(), ["2 rejected validate a", "1 rejected validate no"]);
    let context = world.letters()[0]["context"].clone();
    assert_eq!(context["http"]["headers"]["x-kind"], "ring");
    assert!(!context.to_string().contains("secret"), "{context}");
    let (status, body) = world.redrive(json!({ "id": 2 }));
    assert_eq!((status, &body["taken"]), (200, &json!(false)));
    assert!(body["reason"].as_str().is_some_and(|text| text.contains("needs a type")), "{body}");
    assert_eq!(world.letters()[0]["attempts"], 1, "the letter counts its tries");
    world.reload(PIPELINE);
    assert_eq!(world.redrive(json!({ "id": 2 })), (200, json!({ "id": 2, "taken": true })));
    assert_eq!(world.event_ids(), ["a"]);
    assert_eq!(world.lines(), ["1 rejected validate no"]);
    assert_eq!(world.redrive(json!({ "id": 2 })).0, 404, "it is taken once");
    assert_eq!(world.state("a"), (200, json!("stored")));
    let (status, told) = world.request("GET /api/events/no HTTP/1.1", "");
    assert_eq!(status, 404);
    assert!(told["detail"].as_str().is_some_and(|text| text.contains("dead letter 1")), "{told}");
    world.close();
}

#[test]
fn a_message_whose_id_another_one_has_keeps_its_letter() {
    let world = world();
    assert_eq!(world.request("POST /bell HTTP/1.1", "{\"id\":\"a\"}").0, 422);
    assert_eq!(world.post("bell", "{\"id\":\"a\",\"type\":\"ring\"}"), "accepted");
    world.reload(&PIPELINE.replace("http.header('X-Kind')", "'none'"));
    for tries in 1..3 {
        let (status, body) = world.redrive(json!({ "id": 1 }));
        assert_eq!((status, &body["taken"]), (200, &json!(false)), "{body}");
        let letter = world.letters().remove(0);
        assert_eq!((&letter["attempts"], &letter["reason"]), (&json!(tries), &body["reason"]));
    }
    let reason = world.letters()[0]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("its id `a` was already accepted"), "{reason}");
    assert_eq!(world.event_ids(), ["a"]);
    world.close();
}

#[test]
fn a_rule_that_lets_a_message_go_keeps_its_letter() {
    let world = world();
    assert_eq!(world.request("POST /bell HTTP/1.1", "{\"id\":\"a\"}").0, 422);
    let with_filter = PIPELINE.replace("http.header('X-Kind')", "'none'")
        + "filter calm {\n    keep when=\"event.type != 'none'\"\n}\n";
    world.reload(&with_filter);
    let (status, body) = world.redrive(json!({ "id": 1 }));
    assert_eq!((status, &body["taken"]), (200, &json!(false)), "{body}");
    assert_eq!(body["reason"], "`calm` drops it");
    assert_eq!(world.lines(), ["1 rejected validate a"]);
    world.close();
}

#[test]
fn a_dead_event_runs_again_and_is_found_wherever_it_is() {
    let world = world();
    world.outside.behave("weather", Behaviour::Status(400, Duration::ZERO));
    assert_eq!(world.post("bell", "{\"id\":\"a\",\"type\":\"ring\",\"n\":1}"), "accepted");
    world.simulation.advance(Duration::from_secs(2));
    assert_eq!(world.lines(), ["1 event weather a"]);
    let (status, event) = world.request("GET /api/events/a HTTP/1.1", "");
    assert_eq!((status, &event["state"], &event["data"]["n"]), (200, &json!("dead"), &json!(1)));
    assert_eq!((&event["dead_letter"]["id"], &event["pos"]), (&json!(1), &Value::Null));
    // It dies again: under a new number of a letter, with the same event.
    assert_eq!(world.redrive(json!({ "id": 1 })), (200, json!({ "id": 1, "taken": true })));
    assert_eq!(world.lines(), ["2 event weather a"]);
    world.outside.behave("weather", Behaviour::Hang);
    let answered = world.request(REDRIVE, "{\"id\": 2}");
    assert_eq!(answered.0, 200);
    assert_eq!(world.state("a"), (200, json!("pending")));
    world.outside.behave("weather", Behaviour::Status(200, Duration::ZERO));
    world.simulation.advance(Duration::from_secs(2));
    world.redrive(json!({ "all": true }));
    assert_eq!((world.lines().len(), world.event_ids()), (0, vec!["a".to_owned()]));
    assert_eq!(world.state("a"), (200, json!("stored")));
    // The sender's repetition was a duplicate all the time.
    assert_eq!(world.post("bell", "{\"id\":\"a\",\"type\":\"ring\",\"n\":1}"), "duplicate");
    world.close();
}

#[test]
fn a_dead_delivery_is_made_once_more_and_says_whose_it_was() {
    let world = world();
    world.outside.behave("chat", Behaviour::Status(400, Duration::ZERO));
    assert_eq!(world.post("bell", "{\"id\":\"a\",\"type\":\"ring\"}"), "accepted");
    world.simulation.advance(Duration::from_secs(2));
    assert_eq!(world.lines(), ["1 delivery chat a"]);
    let without = PIPELINE.split("notify webhook").next().expect("the rest");
    world.reload(without);
    let (status, body) = world.redrive(json!({ "id": 1 }));
    assert_eq!(status, 409, "{body}");
    assert_eq!(body["detail"], "the file has no sink and no notifier `chat`");
    world.reload(PIPELINE);
    world.outside.behave("chat", Behaviour::Status(200, Duration::ZERO));
    // A day later: it is not given up for its age.
    world.simulation.advance(Duration::from_secs(100_000));
    assert_eq!(world.redrive(json!({ "id": 1 })), (200, json!({ "id": 1, "taken": true })));
    let (_, event) = world.request("GET /api/events/a HTTP/1.1", "");
    assert_eq!(event["deliveries"][0]["state"], "done", "{event}");
    let calls = world.outside.calls.lock().expect("no panic");
    let chat = calls.iter().filter(|it| it.url.contains("chat")).map(|it| it.answered);
    assert_eq!(chat.collect::<Vec<_>>(), [Some(400), Some(200)]);
    drop(calls);
    assert_eq!(world.lines(), [""; 0]);
    world.close();
}

#[test]
fn many_letters_are_put_right_by_a_filter_in_parts_and_the_audit_says_who() {
    let world = world();
    world.outside.behave("chat", Behaviour::Status(400, Duration::ZERO));
    for number in 0..50 {
        let body = format!("{{\"id\":\"e{number}\",\"type\":\"ring\"}}");
        assert_eq!(world.post("bell", &body), "accepted");
    }
    world.simulation.advance(Duration::from_secs(60));
    assert_eq!(world.request("POST /bell HTTP/1.1", "{\"id\":\"no\"}").0, 422);
    assert_eq!(world.letters().len(), 51);
    world.outside.behave("chat", Behaviour::Status(200, Duration::ZERO));
    let (status, dry) = world.redrive(json!({ "stage": "chat", "dry_run": true, "limit": 20 }));
    assert_eq!((status, &dry["selected"], &dry["next"]), (200, &json!(20), &json!(20)), "{dry}");
    assert_eq!(dry["letters"][0]["event_id"], "e0", "the oldest first");
    assert_eq!(world.letters().len(), 51, "nothing was done");
    let (mut after, mut taken) = (json!(0), 0);
    while !after.is_null() {
        let (status, part) = world.redrive(json!({ "stage": "chat", "limit": 20, "after": after }));
        assert_eq!(status, 200, "{part}");
        taken += part["taken"].as_u64().expect("a number");
        after = part["next"].clone();
    }
    assert_eq!((taken, world.lines()), (50, vec!["51 rejected validate no".to_owned()]));
    world.simulation.advance(Duration::from_secs(60));
    assert!(!world.read(|reader| reader.is_any_pending()), "each was delivered");
    let (status, body) = world.redrive(json!({ "ids": [51, 1, 999] }));
    assert_eq!((status, &body["selected"], &body["kept"]), (200, &json!(1), &json!(1)), "{body}");
    assert_eq!(world.request("DELETE /api/dead-letters/51 HTTP/1.1", "").0, 204);
    assert_eq!(world.request("DELETE /api/dead-letters/51 HTTP/1.1", "").0, 404);
    let (status, mut audit) = world.request("GET /api/audit HTTP/1.1", "");
    let Value::Array(rows) = audit["audit"].take() else { panic!("a list") };
    assert_eq!((status, rows.len()), (200, 5), "{rows:?}");
    assert_eq!((&rows[0]["action"], &rows[0]["subject"]), (&json!("drop"), &json!({"ids": [51]})));
    assert_eq!(rows[4]["subject"], json!({ "from": 1, "to": 20 }));
    let outcome = json!({ "selected": 20, "taken": 20, "kept": 0, "untried": 0, "gone": 0 });
    assert_eq!(rows[4]["outcome"], outcome);
    world.close();
}

#[test]
fn a_list_of_letters_names_the_mistake_in_its_query() {
    let world = world();
    for (query, part) in [
        ("stag=chat", "did you mean `stage`?"),
        ("what=dead", "rejected, event or delivery"),
        ("limit=0", "1 to 1000"),
        ("before=soon", "the `next` of an earlier response"),
    ] {
        let (status, body) = world.request(&format!("GET /api/dead-letters?{query} HTTP/1.1"), "");
        assert_eq!(status, 400, "{query}");
        assert!(body["detail"].as_str().is_some_and(|text| text.contains(part)), "{body}");
    }
    world.close();
}

#[test]
fn a_list_shows_the_beginning_of_a_large_body_and_its_own_page_all_of_it() {
    let world = world();
    let text = "x".repeat(200_000);
    for _ in 0..30 {
        let body = format!("{{\"text\":\"{text}\"}}");
        assert_eq!(world.request("POST /bell HTTP/1.1", &body).0, 422);
    }
    let letters = world.letters();
    assert_eq!(letters.len(), 30, "all on one page");
    let shown = letters[0]["body"].as_str().map(str::len);
    assert_eq!((shown, &letters[0]["body_bytes"]), (Some(16 << 10), &json!(200_011)));
    let (status, whole) = world.request("GET /api/dead-letters/7 HTTP/1.1", "");
    assert_eq!((status, whole["body"].as_str().map(str::len)), (200, Some(200_011)));
    assert_eq!(world.request("GET /api/dead-letters/99 HTTP/1.1", "").0, 404);
    world.close();
}

/// A client that leaves while its redrive runs: every letter is there or what it held is stored.
#[test]
fn a_redrive_that_is_abandoned_loses_nothing() {
    let world = world();
    let total = 40;
    for number in 0..total {
        assert_eq!(
            world.request("POST /bell HTTP/1.1", &format!("{{\"id\":\"e{number}\"}}")).0,
            422
        );
    }
    world.reload(&PIPELINE.replace("http.header('X-Kind')", "'ring'"));
    for polls in 0..200 {
        let body = json!({ "all": true, "limit": 3 }).to_string();
        let mut request = Box::pin(world.requesting(REDRIVE, &body));
        let mut left = polls;
        let dropped = std::future::poll_fn(move |context| {
            if left == 0 {
                return std::task::Poll::Ready(());
            }
            left -= 1;
            std::future::Future::poll(request.as_mut(), context).map(|_| ())
        });
        world.simulation.executor.spawn(dropped).detach();
        world.simulation.advance(Duration::from_millis(10));
        let (letters, ids) = (world.letters().len(), world.event_ids());
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!((letters + ids.len(), unique.len()), (total, ids.len()), "after {polls} polls");
        if letters == 0 {
            return world.close();
        }
    }
    panic!("the letters are never taken");
}

#[test]
fn a_rejected_message_can_be_put_right_and_taken_in() {
    let world = world();
    let (status, _) = world.request("POST /bell HTTP/1.1", r#"{"id":"e1"}"#);
    assert_eq!(status, 422, "it has no type");
    let edited = |id: u64, body: &str| world.redrive(json!({ "id": id, "body": body }));
    let (status, answer) = edited(1, r#"{"id":"e1","kind":"ring"}"#);
    assert_eq!((status, &answer["taken"]), (200, &json!(false)), "{answer}");
    assert_eq!(world.letters()[0]["body"], r#"{"id":"e1"}"#, "it stays as it came");
    let (status, answer) = edited(1, r#"{"id":"e1","type":"ring"}"#);
    assert_eq!((status, &answer["taken"]), (200, &json!(true)), "{answer}");
    assert!(world.letters().iter().all(|letter| letter["what"] != "rejected"));
    for (body, told) in [
        (json!({ "ids": [1], "body": "{}" }), "`body` requires `id`"),
        (json!({ "id": 1, "body": "{}", "dry_run": true }), "`body` requires `id`"),
        (json!({ "id": 1, "body": {} }), "`body` must be the message"),
    ] {
        let (status, answer) = world.redrive(body);
        assert_eq!(status, 400);
        assert!(answer["detail"].as_str().is_some_and(|text| text.contains(told)), "{answer}");
    }
}
