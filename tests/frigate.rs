//! The pipeline for Frigate against a real broker, with payloads of the form that Frigate documents.

use crate::support::broker::Broker;
use crate::support::receiver::{Heard, Receiver};
use crate::support::{Engine, root, until};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Half past six on an evening in Berlin.
const EVENING: f64 = 1_768_498_200.0;

/// A copy of the pipeline that can be changed, with what it reads.
fn copied(folder: &Path) -> PathBuf {
    for (from, to) in [
        ("pipelines/tables/frigate-cameras.csv", "pipelines/tables/frigate-cameras.csv"),
        ("schemas/frigate-object.json", "schemas/frigate-object.json"),
        ("schemas/frigate-detail.json", "schemas/frigate-detail.json"),
        ("schemas/frigate-review.json", "schemas/frigate-review.json"),
        ("schemas/open.json", "schemas/open.json"),
        ("pipelines/frigate.kdl", "pipelines/frigate.kdl"),
    ] {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("it is made");
        fs::copy(root().join(from), to).expect("it is copied");
    }
    folder.join("pipelines/frigate.kdl")
}

/// The same file with other quiet hours, for one phone.
fn with_quiet_hours(file: &Path, hours: &str) {
    let text = fs::read_to_string(root().join("pipelines/frigate.kdl")).expect("it reads");
    let own = "    quiet-hours \"23:00-06:00\" then=drop\n";
    assert!(text.contains(own), "the file has other quiet hours");
    let text = text.replace(own, hours);
    let text = text.replace("(env)\"NTFY_TOPIC\" optional=#true", "\"house\"");
    fs::write(file, text).expect("it writes");
}

/// Message number `step` about an object.
fn object(id: &str, kind: &str, step: u8, more: &Value) -> Vec<u8> {
    let time = EVENING + f64::from(step);
    let mut after = json!({
        "id": id, "camera": "front_door", "label": "person", "sub_label": null,
        "frame_time": time, "start_time": EVENING, "end_time": null, "score": 0.8,
        "top_score": 0.9, "false_positive": false, "current_zones": ["steps"],
        "entered_zones": ["steps"], "has_clip": true, "has_snapshot": true,
    });
    for (name, value) in more.as_object().expect("fields") {
        after[name] = value.clone();
    }
    let before = json!({ "id": id, "camera": "front_door", "label": "person", "frame_time": time });
    json!({ "type": kind, "before": before, "after": after }).to_string().into_bytes()
}

fn face(id: &str, name: &str, step: u8) -> Vec<u8> {
    let time = EVENING + f64::from(step);
    json!({ "type": "face", "id": id, "name": name, "score": 0.94, "camera": "front_door",
        "timestamp": time })
    .to_string()
    .into_bytes()
}

/// What a phone shows: the last message of each sequence.
fn shown(heard: &[Heard]) -> Vec<(String, String, String)> {
    let mut shown: Vec<(String, String, String, String)> = Vec::new();
    for request in heard.iter().filter(|it| it.method == "PUT") {
        let field = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let sequence = field("x-sequence-id");
        assert!(!sequence.is_empty(), "{request:?}");
        shown.retain(|it| it.0 != sequence);
        shown.push((sequence, field("title"), field("message"), field("actions")));
    }
    shown.into_iter().map(|it| (it.1, it.2, it.3)).collect()
}

#[test]
fn a_visit_is_one_message_with_the_late_name_a_clip_and_an_all_clear() {
    let Some(broker) = Broker::start("the pipeline for Frigate") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let file = copied(folder.path());
    with_quiet_hours(&file, "");
    let cameras = Receiver::start(|_, _| (200, "GIF89a picture".to_owned()));
    let ntfy = Receiver::start(|_, _| (200, "{\"id\":\"x\"}".to_owned()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command.env("NTFY_URL", &ntfy.url).env("FRIGATE_URL", &cameras.url);
    command.env("MQTT_BROKER", broker.url().trim_start_matches("mqtt://"));
    let data = folder.path().join("data");
    let mut engine = Engine::spawn_by(command, &file, &data, &[]).ready();
    until("all have subscribed", || broker.log().matches("Sending SUBACK").count() == 4);
    let events = |message: &[u8]| broker.publish("frigate/events", message, &["-q", "1"]);
    let has = |title: &str| shown(&ntfy.heard()).iter().any(|it| it.0 == title);
    let visit = "1768498200.1-abc";
    broker.publish("frigate/available", b"online", &["-q", "1", "-r"]);
    events(&object(visit, "new", 1, &json!({ "top_score": 0.6, "entered_zones": [] })));
    events(&object(visit, "update", 2, &json!({})));
    until("somebody is announced", || has("Somebody is at the front door"));
    events(&object(visit, "end", 8, &json!({ "end_time": EVENING + 8.5 })));
    until("all is clear", || has("Somebody was at the front door"));
    broker.publish("frigate/tracked_object_update", &face(visit, "Anna", 9), &["-q", "1"]);
    until("the name is known", || has("Anna was at the front door"));
    let [(_, message, actions)] = &shown(&ntfy.heard())[..] else {
        panic!("one visit is one message: {:?}", shown(&ntfy.heard()))
    };
    assert_eq!(message, "all clear");
    let clip = format!("{}/api/events/{visit}/clip.mp4", cameras.url);
    let actions: Value = serde_json::from_str(actions).expect("they are JSON");
    let links: Vec<&Value> =
        actions.as_array().expect("a list").iter().map(|items| &items["url"]).collect();
    assert_eq!(links, [&json!(clip)]);
    let asked = cameras.heard();
    assert!(asked.iter().all(|it| it.path == format!("/api/events/{visit}/snapshot.jpg")));
    // Now it is night, at every hour.
    let night =
        "    quiet-hours \"00:00-12:00\" then=drop\n    quiet-hours \"12:00-00:00\" then=drop\n";
    with_quiet_hours(&file, night);
    until("the file is reloaded", || engine.get("/api/pipeline")["generation"] == 2);
    let before = ntfy.heard().len();
    events(&object("1768498300.2-def", "new", 100, &json!({})));
    events(&object("1768498300.2-def", "end", 110, &json!({})));
    until("both are stored", || {
        let page = engine.get("/api/notifications?notifier=phone&limit=2");
        let rows = page["notifications"].as_array().cloned().unwrap_or_default();
        rows.len() == 2 && rows.iter().all(|row| row["reason"] == "quiet-hours")
    });
    assert_eq!(ntfy.heard().len(), before);
    assert_eq!(engine.stop(), 0);
}
