//! Sinks and notifiers that are paused by hand: nobody is called meanwhile, and everything goes
//! out afterwards, in order and once.

mod model;

use crate::support::world::{Behaviour, World};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A file with a store, a source of numbered events, and `more`.
fn file(more: &str) -> String {
    format!(
        "pipeline paused schema-version=1\n\
         source http hook {{ path \"/hook\"; map {{ id \"data.n\"; type \"data.type ?? 'seen'\" }} }}\n\
         sink sqlite db {{ path \"db.sqlite\"; retention {{ keep \"300d\" }} }}\n{more}"
    )
}

/// A webhook with these settings, which sends one message after the other.
fn webhook(name: &str, settings: &str) -> String {
    format!(
        "notify webhook {name} {{ url \"http://{name}.example/\"; concurrency 1; {settings} }}\n"
    )
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn world(text: &str) -> World {
    World::start_durable(folder(), text)
}

#[track_caller]
fn post(world: &World, n: u64) {
    assert_eq!(world.post("hook", &format!("{{\"n\":{n}}}")), "accepted", "{n}");
    world.simulation.settle();
}

#[track_caller]
fn pause(world: &World, name: &str, time: Option<&str>) -> Value {
    let mut body = json!({ "name": name });
    if let Some(time) = time {
        body["for"] = time.into();
    }
    let (status, answer) = world.request("POST /api/pause HTTP/1.1", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    answer
}

#[track_caller]
fn resume(world: &World, name: &str) -> Value {
    let body = json!({ "name": name }).to_string();
    let (status, answer) = world.request("POST /api/resume HTTP/1.1", &body);
    assert_eq!(status, 200, "{answer}");
    world.simulation.settle();
    answer
}

/// The events that a service took since the last look, by the keys of its calls.
fn taken(world: &World) -> Vec<String> {
    let mut calls = world.outside.calls.lock().expect("no panic");
    let taken = calls.drain(..).filter(|call| call.answered == Some(200));
    taken.map(|call| call.key).collect()
}

/// How the deliveries of a notifier are, by event.
fn states(world: &World, name: &str) -> Vec<String> {
    let head = format!("GET /api/notifications?notifier={name} HTTP/1.1");
    let (status, page) = world.request(&head, "");
    assert_eq!(status, 200, "{page}");
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let rows = page["notifications"].as_array().expect("a list").iter();
    let mut states: Vec<String> =
        rows.map(|row| format!("{} {}", text(row, "event_id"), text(row, "state"))).collect();
    states.sort();
    states
}

#[test]
fn what_is_paused_calls_nobody_and_goes_on_in_order_at_the_exact_end() {
    let world = world(&file(&(webhook("phone", "") + &webhook("mail", ""))));
    let answer = pause(&world, "phone", Some("30m"));
    let until = "2026-01-01T00:30:00.000Z";
    assert_eq!(answer["paused"], json!({ "since": "2026-01-01T00:00:00.000Z", "until": until }));
    assert_eq!((&answer["was_paused"], &answer["waiting"]), (&json!(false), &json!(0)));
    (1..=3).for_each(|n| post(&world, n));
    world.simulation.advance(30 * MINUTE - Duration::from_millis(1));
    assert_eq!(taken(&world), ["1/mail", "2/mail", "3/mail"], "the others are not paused");
    assert_eq!(states(&world, "phone"), ["1 pending", "2 pending", "3 pending"]);
    world.simulation.advance(Duration::from_millis(1));
    assert_eq!(taken(&world), ["1/phone", "2/phone", "3/phone"]);
    assert_eq!(states(&world, "phone"), ["1 done", "2 done", "3 done"]);
    world.close();
}

#[test]
fn a_pause_without_an_end_lasts_until_it_is_resumed_and_another_replaces_its_end() {
    let world = world(&file(&webhook("phone", "")));
    assert_eq!(pause(&world, "phone", None)["paused"]["until"], Value::Null);
    post(&world, 1);
    world.simulation.advance(100 * 24 * HOUR);
    assert_eq!(taken(&world), [""; 0]);
    let answer = resume(&world, "phone");
    assert_eq!((&answer["paused"], &answer["waiting"]), (&Value::Null, &json!(1)));
    assert_eq!(taken(&world), ["1/phone"]);
    assert_eq!(resume(&world, "phone")["was_paused"], false);
    // Longer, and shorter.
    pause(&world, "phone", Some("10m"));
    world.simulation.advance(9 * MINUTE);
    let answer = pause(&world, "phone", Some("10m"));
    assert_eq!(answer["was_paused"], true);
    post(&world, 2);
    world.simulation.advance(9 * MINUTE);
    assert_eq!(taken(&world), [""; 0]);
    pause(&world, "phone", Some("5s"));
    world.simulation.advance(5 * SECOND);
    assert_eq!(taken(&world), ["2/phone"]);
    world.close();
}

#[test]
fn calls_under_way_end_and_nothing_begins_that_was_read_before() {
    let hook = webhook("phone", "backlog 3 on-full=drop-oldest");
    let world = world(&file(&hook));
    world.outside.behave("phone.example", Behaviour::Status(200, 10 * SECOND));
    (1..=3).for_each(|n| post(&world, n));
    pause(&world, "phone", None);
    world.simulation.advance(MINUTE);
    assert_eq!(taken(&world), ["1/phone"], "it was under way");
    // The oldest of those that wait makes room, as the file says: it must not be sent any more.
    post(&world, 4);
    post(&world, 5);
    assert_eq!(
        states(&world, "phone"),
        ["1 done", "2 suppressed", "3 pending", "4 pending", "5 pending"]
    );
    resume(&world, "phone");
    world.simulation.advance(MINUTE);
    assert_eq!(taken(&world), ["3/phone", "4/phone", "5/phone"]);
    world.close();
}

#[test]
fn a_full_backlog_holds_while_paused() {
    let world = world(&file(&webhook("phone", "backlog 2")));
    pause(&world, "phone", None);
    (1..=2).for_each(|n| post(&world, n));
    let refused = "unavailable: `phone` has no room: its `backlog` (2) is full";
    assert_eq!(world.post("hook", "{\"n\":3}"), refused);
    resume(&world, "phone");
    assert_eq!(taken(&world), ["1/phone", "2/phone"]);
    world.close();
}

#[test]
fn recipients_are_paused_together_and_sinks_too() {
    let family = "notify ntfy family { url \"http://family.example\"; topic a b; concurrency 1 }\n";
    let world = world(&file(&(family.to_owned() + "sink file copy { path \"copy.jsonl\" }\n")));
    let copied = || {
        let text = std::fs::read_to_string(world.path("copy.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    pause(&world, "family", Some("1h"));
    pause(&world, "copy", Some("2h"));
    post(&world, 1);
    world.simulation.advance(HOUR - SECOND);
    assert_eq!((taken(&world).len(), copied()), (0, 0));
    world.simulation.advance(SECOND);
    assert_eq!((taken(&world).len(), copied()), (2, 0));
    world.simulation.advance(HOUR);
    assert_eq!(copied(), 1);
    world.close();
}

#[test]
fn a_pause_outlives_reloads_and_ends_with_its_node() {
    let plain = file(&webhook("phone", ""));
    let world = world(&plain);
    pause(&world, "phone", None);
    world.reload(&file(&webhook("phone", "title \"other\"")));
    post(&world, 1);
    assert_eq!(taken(&world), [""; 0], "the worker is another one, and the pause is the same");
    world.reload(&file(""));
    assert_eq!(world.request("GET /readyz HTTP/1.1", "").1["paused"], json!([]));
    world.reload(&plain);
    world.simulation.settle();
    assert_eq!(taken(&world), ["1/phone"], "who puts a node back has not paused it");
    world.close();
}

#[test]
fn a_pause_of_a_node_that_is_off_waits_for_it() {
    let off =
        file("notify webhook phone { disabled; url \"http://phone.example/\"; concurrency 1 }\n");
    let world = world(&file(&webhook("phone", "")));
    pause(&world, "phone", None);
    post(&world, 1);
    world.reload(&off);
    world.reload(&file(&webhook("phone", "")));
    world.simulation.advance(MINUTE);
    assert_eq!(taken(&world), [""; 0]);
    world.reload(&off);
    resume(&world, "phone");
    world.reload(&file(&webhook("phone", "")));
    world.simulation.advance(MINUTE);
    assert_eq!(taken(&world), ["1/phone"]);
    world.close();
}

#[test]
fn a_pause_outlives_a_restart_and_a_kill_with_its_end() {
    let text = file(&webhook("phone", ""));
    let mut world = world(&text);
    pause(&world, "phone", Some("30m"));
    post(&world, 1);
    world = world.kill(&text, 10 * MINUTE);
    world.simulation.advance(10 * MINUTE);
    world = world.restart(&text, 5 * MINUTE);
    post(&world, 2);
    world.simulation.advance(5 * MINUTE - SECOND);
    assert_eq!(taken(&world), [""; 0]);
    world.simulation.advance(SECOND);
    assert_eq!(taken(&world), ["1/phone", "2/phone"]);
    // It ended while nothing ran.
    pause(&world, "phone", Some("10m"));
    post(&world, 3);
    world = world.kill(&text, HOUR);
    assert_eq!(taken(&world), ["3/phone"]);
    // And a resume is as durable.
    pause(&world, "phone", None);
    resume(&world, "phone");
    world = world.kill(&text, SECOND);
    post(&world, 4);
    assert_eq!(taken(&world), ["4/phone"]);
    // What nobody resumes stays.
    pause(&world, "phone", None);
    world = world.kill(&text, 400 * 24 * HOUR);
    post(&world, 5);
    assert_eq!(taken(&world), [""; 0]);
    world.close();
}

#[test]
fn a_clock_that_is_set_makes_no_pause_longer() {
    let text = file(&webhook("phone", ""));
    let mut world = world(&text);
    pause(&world, "phone", Some("30m"));
    post(&world, 1);
    world.simulation.set_wall(-365 * 86_400);
    world.simulation.advance(30 * MINUTE - SECOND);
    assert_eq!(taken(&world), [""; 0]);
    world.simulation.advance(SECOND);
    assert_eq!(taken(&world), ["1/phone"], "back while it runs");
    pause(&world, "phone", Some("30m"));
    post(&world, 2);
    world.simulation.set_wall(-365 * 86_400);
    world = world.kill(&text, Duration::ZERO);
    world.simulation.advance(30 * MINUTE - SECOND);
    assert_eq!(taken(&world), [""; 0]);
    world.simulation.advance(SECOND);
    assert_eq!(taken(&world), ["2/phone"], "back over a restart");
    // The wall clock says when it ends; that is noticed within a minute.
    pause(&world, "phone", Some("10h"));
    post(&world, 3);
    world.simulation.set_wall(36_000);
    world.simulation.advance(MINUTE);
    assert_eq!(taken(&world), ["3/phone"], "ahead");
    world.close();
}

#[test]
fn a_pause_takes_nothing_of_the_time_that_a_delivery_has() {
    let retried = "retry give-up=\"10m\" { backoff constant base=\"1m\" }";
    let text = file(&webhook("phone", retried));
    for killed_at in [None, Some(1), Some(125)] {
        let mut world = world(&text);
        pause(&world, "phone", Some("2h"));
        post(&world, 1);
        // When it is over, the service is down for a while.
        world.outside.behave("phone.example", Behaviour::Refuse);
        let minutes = killed_at.unwrap_or_default();
        world.simulation.advance(minutes * MINUTE);
        if killed_at.is_some() {
            world = world.kill(&text, SECOND);
            world.outside.behave("phone.example", Behaviour::Refuse);
        }
        world.simulation.advance((126 - minutes) * MINUTE);
        assert_eq!(states(&world, "phone"), ["1 pending"], "{killed_at:?}");
        world.outside.behave("phone.example", Behaviour::Status(200, Duration::ZERO));
        world.simulation.advance(2 * MINUTE);
        assert_eq!(states(&world, "phone"), ["1 done"], "{killed_at:?}");
        world.close();
    }
}

#[test]
fn a_paused_notifier_hands_nothing_on_and_repeats_nothing() {
    let primary = "retry 0; fallback spare; repeat \"5m\" max=2 key=\"event.type\"; \
                   escalate after=\"10m\" to=boss until=\"event.type == 'seen by you'\"";
    let notifiers = webhook("phone", primary) + &webhook("spare", "") + &webhook("boss", "");
    let world = world(&file(&notifiers));
    pause(&world, "phone", None);
    post(&world, 1);
    world.simulation.advance(HOUR);
    assert_eq!(taken(&world), [""; 0], "nobody was told, so nobody can be late");
    resume(&world, "phone");
    world.simulation.advance(6 * MINUTE);
    assert_eq!(taken(&world), ["1/phone", "1/phone/2"]);
    pause(&world, "phone", None);
    world.simulation.advance(HOUR);
    assert_eq!(taken(&world), ["1/boss"], "it was told of the alert before");
    resume(&world, "phone");
    world.simulation.advance(HOUR);
    assert_eq!(taken(&world), ["1/phone/3"], "one that is late, not one for each interval");
    world.close();
}

#[test]
fn an_order_that_cannot_be_carried_out_says_why() {
    let nodes = webhook("phone", "")
        + "notify ntfy family { url \"http://family.example\"; topic a b }\n\
           notify webhook spare { disabled; url \"http://spare.example/\" }\n\
           sink sse live { path \"/live\" }\n\
           enrich set note { set \"a\" \"b\" }\nfilter real { keep when=\"true\" }\n";
    let world = world(&file(&nodes));
    let known = "there are: phone, family, spare";
    let only =
        format!("only sinks and notifiers with deliveries of their own can be paused; {known}");
    let cases = [
        ("phon", 404, "there is no sink or notifier `phon`; did you mean `phone`?".to_owned()),
        ("xyz", 404, format!("there is no sink or notifier `xyz` that can be paused; {known}")),
        (
            "family.2",
            409,
            "`family.2` is a recipient of `family`, and all of them are paused together: \
             name `family`"
                .to_owned(),
        ),
        (
            "db",
            409,
            format!("`db` is a store, which is written by the commit of the event itself; {only}"),
        ),
        ("live", 409, format!("`live` is a stream, which has no deliveries; {only}")),
        ("note", 409, format!("`note` is a stage; {only}")),
        ("real", 409, format!("`real` is a filter; {only}")),
        ("hook", 409, format!("`hook` is a source; {only}")),
        ("spare", 409, "`spare` is off, so there is nothing to pause: disabled".to_owned()),
    ];
    for (name, status, detail) in cases {
        let body = json!({ "name": name }).to_string();
        let (found, answer) = world.request("POST /api/pause HTTP/1.1", &body);
        assert_eq!((found, &answer["detail"]), (status, &json!(detail)), "{name}");
    }
    for (path, body) in [("pause", "{\"name\":\"phone\",\"for\":\"32d\"}"), ("resume", "{}")] {
        let (status, answer) = world.request(&format!("POST /api/{path} HTTP/1.1"), body);
        assert_eq!(status, 400, "{answer}");
    }
    world.close();
}

#[test]
fn a_pause_is_shown_everywhere_and_is_no_failure() {
    let nodes = webhook("phone", "") + &webhook("mail", "");
    let world = world(&file(&nodes));
    pause(&world, "phone", Some("30m"));
    let pause = json!({ "since": "2026-01-01T00:00:00.000Z", "until": "2026-01-01T00:30:00.000Z" });
    let get = |path: &str| world.request(&format!("GET {path} HTTP/1.1"), "").1;
    let ready = get("/readyz");
    let mut named = pause.clone();
    named["name"] = "phone".into();
    assert_eq!((&ready["status"], &ready["paused"]), (&json!("ok"), &json!([named])));
    let notifiers = get("/api/pipeline")["notifiers"].clone();
    let paused = |name: &str| {
        let nodes = notifiers.as_array().expect("a list").iter();
        nodes.clone().find(|node| node["name"] == name).expect("it is there")["paused"].clone()
    };
    assert_eq!((paused("phone"), paused("mail")), (pause.clone(), Value::Null));
    assert_eq!(get("/api/figures")["paused"], json!({ "phone": pause }));
    let (_, tested) =
        world.request("POST /api/notifications/test HTTP/1.1", "{\"notifier\":\"phone\"}");
    assert_eq!((&tested["delivered"], &tested["paused"]), (&json!(true), &pause), "it is sent");
    resume(&world, "phone");
    let records = get("/api/audit")["audit"].clone();
    let done: Vec<_> = records
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| (it["action"].clone(), it["subject"].clone(), it["outcome"].clone()))
        .collect();
    let phone = json!({ "name": "phone" });
    let expected = [
        (json!("resume"), phone.clone(), json!({ "until": null })),
        (json!("pause"), phone, json!({ "until": "2026-01-01T00:30:00.000Z" })),
    ];
    assert_eq!(done, expected);
    world.close();
}
