//! Events and notifications that go to a real broker.

use crate::support::broker::{self, Broker, save_house};
use crate::support::{Engine, ask_as, load, pause, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pipeline whose events come by HTTP, and what it publishes.
fn place(folder: &Path, targets: &str) -> PathBuf {
    let file = folder.join("house.kdl");
    save(&file, targets);
    file
}

fn save(file: &Path, targets: &str) {
    let nodes = format!(
        "source http front {{\n    path \"/events\"\n    map {{\n        type \"'state'\"\n        \
         subject \"data.device\"\n        id \"data.id\"\n    }}\n}}\n{targets}"
    );
    save_house(file, &nodes);
}

fn sink(broker: &Broker, more: &str) -> String {
    sink_to(&broker.url(), more)
}

fn sink_to(url: &str, more: &str) -> String {
    format!("sink mqtt out {{\n    url \"{url}\"\n{more}\n}}")
}

fn post(engine: &Engine, event: &Value) {
    let (status, answer) = engine.post(&event.to_string());
    assert_eq!(status, 202, "{answer}");
}

/// What is wrong with the target: code and reason.
fn problems(engine: &Engine) -> Vec<(String, String)> {
    broker::problems(engine, "out")
}

/// Why deliveries were given up.
fn letters(engine: &Engine) -> Vec<String> {
    let list = engine.get("/api/dead-letters");
    let all = list["dead_letters"].as_array().expect("a list").iter();
    all.map(|it| it["reason"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn events_and_messages_are_published_with_every_qos_in_both_versions() {
    let Some(broker) = Broker::start("what is published") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut runs = 1;
    for protocol in ["v5", "v3.1.1"] {
        for qos in 0..3 {
            let root = format!("{protocol}/{qos}");
            let url = broker.url();
            let targets = format!(
                "sink mqtt states {{\n url \"{url}\"\n protocol {protocol}\n \
                 topic \"{root}/{{{{ event.subject }}}}\" qos={qos} retain=#true\n \
                 body \"{{{{ data.on }}}}\"\n}}\n\
                 sink mqtt events {{\n url \"{url}\"\n protocol {protocol}\n \
                 topic \"{root}\" qos={qos}\n redact \"data.id\"\n}}\n\
                 notify mqtt told {{\n url \"{url}\"\n protocol {protocol}\n \
                 topic \"{root}/told\" qos={qos}\n title \"t\"\n message \"is {{{{ data.on }}}}\"\n}}"
            );
            let data = folder.path().join(&root);
            let heard = broker.subscribe(&format!("{root}/#"), &[]);
            let mut engine = Engine::start(&place(folder.path(), &targets), &data, &[]);
            post(&engine, &json!({ "id": "a", "device": "lamp", "on": true }));
            post(&engine, &json!({ "id": "b", "device": "lamp", "on": false }));
            until("all came", || heard.lines().len() == 6);
            let lines = heard.lines();
            let of = |topic: &str| {
                let start = format!("{qos} 0 {topic} ");
                let all = lines.iter().filter_map(|line| line.strip_prefix(&start));
                all.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(of(&format!("{root}/lamp")), ["true", "false"], "{lines:?}");
            let events: Vec<Value> =
                of(&root).iter().map(|it| serde_json::from_str(it).unwrap()).collect();
            assert_eq!(events[1]["data"]["id"], json!({ "omitted": "redacted" }));
            assert_eq!((&events[1]["id"], &events[1]["type"]), (&json!("b"), &json!("state")));
            let told: Vec<Value> = of(&format!("{root}/told"))
                .iter()
                .map(|it| serde_json::from_str(it).unwrap())
                .collect();
            assert_eq!((&told[0]["message"], &told[0]["id"]), (&json!("is true"), &json!("a")));
            // Whoever comes later finds the newest state, and nothing else.
            let later = broker.subscribe(&format!("{root}/#"), &[]);
            until("it is kept", || !later.lines().is_empty());
            assert_eq!(later.lines(), [format!("{qos} 1 {root}/lamp false")]);
            assert_eq!(engine.stop(), 0);
            let log = broker.log();
            let ends =
                log.lines().filter(|line| line.contains("Received DISCONNECT from engine-house-"));
            assert_eq!(ends.count(), 3 * runs, "goodbye is said");
            runs += 1;
        }
    }
}

#[test]
fn a_topic_that_cannot_be_is_the_end_of_its_message_and_of_no_other() {
    let Some(broker) = Broker::start("topics made of data") else { return };
    let folder = tempfile::tempdir().unwrap();
    let targets = sink(&broker, "topic \"{{ data.topic }}\"\nbody \"{{ data.n }}\"");
    let heard = broker.subscribe("#", &[]);
    let mut engine =
        Engine::start(&place(folder.path(), &targets), &folder.path().join("data"), &[]);
    let long = "x".repeat(65_536);
    for (number, topic) in ["a/+", "a#", "", "a\0b", long.as_str(), "fine"].iter().enumerate() {
        post(
            &engine,
            &json!({ "id": number.to_string(), "device": "d", "topic": topic, "n": number }),
        );
    }
    until("the good one came", || heard.lines() == ["1 0 fine 5"]);
    until("the others are given up", || letters(&engine).len() == 5);
    let mut letters = letters(&engine);
    letters.reverse();
    let long = "x".repeat(100);
    assert_eq!(
        letters,
        [
            "nothing can be published on \"a/+\": a topic to publish on has no `+`",
            "nothing can be published on \"a#\": a topic to publish on has no `#`",
            "nothing can be published on \"\": a topic must not be empty",
            "nothing can be published on \"a\\0b\": a topic has no control characters",
            &format!("nothing can be published on \"{long}…\": a topic has at most 65535 bytes"),
        ]
    );
    assert_eq!(engine.stop(), 0);
}

#[test]
fn a_message_that_is_too_large_for_the_broker_is_given_up_and_says_so() {
    let limit = |_: &Path| "allow_anonymous true\nmax_packet_size 2000".to_owned();
    let Some(broker) = Broker::with("large messages", limit) else { return };
    let folder = tempfile::tempdir().unwrap();
    let targets = sink(&broker, "topic a\nbody \"{{ data.text }}\"");
    let heard = broker.subscribe("a", &[]);
    let engine = Engine::start(&place(folder.path(), &targets), &folder.path().join("data"), &[]);
    post(&engine, &json!({ "id": "1", "device": "d", "text": "x".repeat(2000) }));
    post(&engine, &json!({ "id": "2", "device": "d", "text": "small" }));
    post(&engine, &json!({ "id": "3", "device": "d", "text": "" }));
    until("the small ones came", || heard.lines() == ["1 0 a small", "1 0 a "]);
    until("the large one is given up", || !letters(&engine).is_empty());
    let reason = "the message has 2009 bytes, and the broker takes at most 2000";
    assert_eq!(letters(&engine), [reason]);
}

#[test]
fn deliveries_wait_for_a_broker_that_is_away_and_for_the_right_password() {
    let users = |folder: &Path| {
        let file = folder.join("users");
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-b", "-c", file.to_str().unwrap(), "home", "s3cret"])
            .status();
        assert!(made.unwrap().success());
        format!("allow_anonymous false\npassword_file {}", file.display())
    };
    let Some(mut broker) = Broker::with("a password", users) else { return };
    let folder = tempfile::tempdir().unwrap();
    let heard = broker.subscribe("a", &["-u", "home", "-P", "s3cret"]);
    broker.end();
    let url = broker.url();
    for protocol in ["v5", "v3.1.1"] {
        let targets = |password: &str| {
            let more = format!(
                "protocol {protocol}\nusername home\npassword (file)\"{password}\"\ntopic a\n\
                 body \"{{{{ data.n }}}}\""
            );
            sink_to(&url, &more)
        };
        for (name, text) in [("wrong", "wr0ng"), ("right", "s3cret")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let file = place(folder.path(), &targets("wrong"));
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
        post(&engine, &json!({ "id": "1", "device": "d", "n": protocol }));
        until("it is away", || {
            problems(&engine).iter().any(|problem| problem.1.contains("cannot reach the broker"))
        });
        broker.begin();
        until("the password is wrong", || {
            let said = |it: &(String, String)| it.1.contains("it refused");
            problems(&engine).iter().any(said)
        });
        assert!(!problems(&engine).iter().any(|problem| problem.1.contains("wr0ng")));
        save(&file, &targets("right"));
        engine.signal(nix::sys::signal::Signal::SIGHUP);
        let came = format!("1 0 a {protocol}");
        until("it came", || heard.lines().contains(&came));
        until("all is well", || problems(&engine).is_empty());
        assert_eq!((letters(&engine).len(), engine.stop()), (0, 0));
        broker.end();
    }
    assert_eq!(heard.lines().len(), 2, "each once");
}

#[test]
fn a_broker_that_never_answers_holds_a_delivery_no_longer_than_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let targets = format!(
        "sink mqtt out {{\n url \"mqtt://{address}\"\n topic a\n timeout \"500ms\"\n \
         retry 0\n}}"
    );
    let mut engine =
        Engine::start(&place(folder.path(), &targets), &folder.path().join("data"), &[]);
    post(&engine, &json!({ "id": "1", "device": "d" }));
    until("it is given up", || !letters(&engine).is_empty());
    let reason = format!("the broker at mqtt://{address} did not answer in time");
    assert_eq!(letters(&engine), [reason]);
    assert_eq!(engine.stop(), 0);
    drop(listener);
}

#[test]
fn a_broker_is_spoken_to_by_tls_in_both_directions() {
    let Some(broker) = Broker::with_tls("TLS") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(broker.folder().join("ca.pem"), folder.path().join("ca.pem")).unwrap();
    let url = format!("mqtts://localhost:{}", broker.port);
    for (round, protocol) in ["v5", "v3.1.1"].into_iter().enumerate() {
        let tls = |ca: &str| {
            format!(
                "source mqtt back {{\n url \"{url}\"\n protocol {protocol}\n {ca}\n \
                 topic \"out/+name\"\n map {{ type \"'back'\"; subject \"mqtt.params.name\" }}\n}}\n\
                 sink mqtt out {{\n when \"event.type == 'state'\"\n url \"{url}\"\n \
                 protocol {protocol}\n {ca}\n topic \"out/{{{{ event.subject }}}}\"\n}}"
            )
        };
        let file = place(folder.path(), &tls(""));
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
        post(&engine, &json!({ "id": "1", "device": "lamp" }));
        until("nobody knows the authority", || {
            problems(&engine).iter().any(|problem| problem.1.to_lowercase().contains("certificate"))
        });
        save(&file, &tls("tls ca=\"ca.pem\""));
        engine.signal(nix::sys::signal::Signal::SIGHUP);
        let ready = "Sending SUBACK to engine-house-back";
        until("it has subscribed", || broker.log().matches(ready).count() == round + 1);
        post(&engine, &json!({ "id": "2", "device": "lamp" }));
        let types = || {
            let list = engine.get("/api/events");
            let all = list["events"].as_array().unwrap().iter();
            all.map(|it| it["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        until("it came back", || types().contains(&"back".to_owned()));
        assert_eq!(engine.stop(), 0);
    }
}

#[test]
fn a_demo_publishes_nothing() {
    let Some(broker) = Broker::start("a demo") else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = broker.url();
    let targets = format!(
        "sink mqtt out {{\n url \"{url}\"\n topic a\n}}\n\
         notify mqtt told {{\n url \"{url}\"\n topic b\n message \"m\"\n}}"
    );
    let data = folder.path().join("data");
    let mut engine = Engine::start(&place(folder.path(), &targets), &data, &["--demo"]);
    post(&engine, &json!({ "id": "1", "device": "lamp" }));
    let find = |name: &str| {
        let place = [data.join(name), data.join("demo").join(name)];
        place
            .iter()
            .any(|it| std::fs::read_to_string(it).is_ok_and(|string| string.contains("\"1\"")))
    };
    until("both are written", || find("notify-demo.jsonl") && find("sink-demo.jsonl"));
    assert_eq!(engine.stop(), 0);
    assert!(!broker.log().contains("engine-house"), "{}", broker.log());
}

#[test]
fn a_kept_connection_is_tested_and_a_broken_one_is_made_again() {
    let Some(mut broker) = Broker::start("a quiet connection") else { return };
    let folder = tempfile::tempdir().unwrap();
    let targets = sink(&broker, "topic a\nkeep-alive \"5s\"\nbody \"{{ data.n }}\"");
    let file = place(folder.path(), &targets);
    let heard = broker.subscribe("a", &[]);
    let mut engine = Engine::start(&file, &folder.path().join("data"), &[]);
    let connects = |broker: &Broker| broker.log().matches("as engine-house-out").count();
    until("it is connected", || connects(&broker) == 1);
    until("it is tested", || broker.log().contains("Received PINGREQ from engine-house-out"));
    for number in 0..3 {
        post(&engine, &json!({ "id": number.to_string(), "device": "d", "n": number }));
    }
    until("all came", || heard.lines() == ["1 0 a 0", "1 0 a 1", "1 0 a 2"]);
    assert_eq!(connects(&broker), 1, "one connection for all");
    broker.end();
    until("it is said", || problems(&engine).iter().any(|problem| problem.0 == "disconnected"));
    broker.begin();
    until("it is over", || problems(&engine).is_empty());
    // A reload that leaves it as it is keeps it.
    let before = connects(&broker);
    save(&file, &format!("{targets}\n// another line"));
    until("it is reloaded", || engine.get("/readyz")["generation"] == 2);
    pause(Duration::from_millis(50));
    post(&engine, &json!({ "id": "3", "device": "d", "n": 3 }));
    until("it came", || heard.lines().contains(&"1 0 a 3".to_owned()));
    assert_eq!((connects(&broker), engine.stop()), (before, 0));
}

#[test]
fn others_see_whether_the_engine_is_there() {
    let Some(broker) = Broker::start("availability") else { return };
    let folder = tempfile::tempdir().unwrap();
    for protocol in ["v5", "v3.1.1"] {
        let topic = format!("status/{protocol}");
        let more = format!(
            "protocol {protocol}\ntopic a\navailability topic=\"{topic}\" online=\"up\" offline=\"down\""
        );
        let file = place(folder.path(), &sink(&broker, &more));
        let data = folder.path().join(protocol);
        let heard = broker.subscribe(&topic, &[]);
        let said = |count: usize| {
            until("it is said", || heard.lines().len() == count);
            heard.lines().pop().unwrap_or_default()
        };
        let mut engine = Engine::start(&file, &data, &[]);
        assert_eq!(said(1), format!("1 0 {topic} up"));
        assert_eq!(engine.stop(), 0);
        assert_eq!(said(2), format!("1 0 {topic} down"));
        let mut engine = Engine::start(&file, &data, &[]);
        assert_eq!(said(3), format!("1 0 {topic} up"));
        engine.kill();
        assert_eq!(said(4), format!("1 0 {topic} down"), "the broker says it");
        // Whoever comes later knows as well.
        let later = broker.subscribe(&topic, &[]);
        until("it is kept", || later.lines() == [format!("1 1 {topic} down")]);
    }
}

/// What Home Assistant takes, after its documentation.
fn home_assistant() -> jsonschema::Validator {
    let text = include_str!("fixtures/home-assistant-device.schema.json");
    let schema = serde_json::from_str(text).expect("it is JSON");
    jsonschema::validator_for(&schema).expect("it is a schema")
}

/// The devices that were announced, by topic.
fn devices(heard: &[String]) -> Vec<(String, Value)> {
    let schema = home_assistant();
    let config = |line: &String| {
        let (topic, payload) = line.splitn(3, ' ').nth(2)?.split_once(' ')?;
        let payload = serde_json::from_str(payload).ok()?;
        let wrong: Vec<String> =
            schema.iter_errors(&payload).map(|error| error.to_string()).collect();
        assert_eq!(wrong, [""; 0], "{payload:#}");
        Some((topic.to_owned(), payload))
    };
    heard.iter().filter_map(config).collect()
}

#[test]
fn home_assistant_finds_a_device_at_each_connection_and_when_it_begins() {
    let Some(broker) = Broker::start("discovery") else { return };
    let folder = tempfile::tempdir().unwrap();
    let more = r#"
        topic "home/doorbell"
        availability topic="home/status"
        discovery "doorbell" name="Door" manufacturer="Own" model="Bell 2" {
            event ring "door.bell" "door.knock" device-class="doorbell"
            binary-sensor motion-hall topic="home/hall" value="{{ value_json.on }}" on="True" off="False" device-class="motion"
            sensor celsius name="Outside" topic="home/porch" unit="°C" device-class="temperature" state-class=total-increasing
        }"#;
    let heard = broker.subscribe("homeassistant/#", &[]);
    let file = place(folder.path(), &sink(&broker, more));
    let mut engine = Engine::start(&file, &folder.path().join("data"), &[]);
    until("it is announced", || heard.lines().len() == 1);
    assert!(heard.lines()[0].starts_with("1 0 homeassistant/device/doorbell/config {"));
    let (_, config) = devices(&heard.lines()).remove(0);
    let expected = json!({
        "device": { "identifiers": ["doorbell"], "name": "Door", "manufacturer": "Own", "model": "Bell 2" },
        "origin": { "name": "engine", "sw_version": env!("CARGO_PKG_VERSION") },
        "availability": [{ "topic": "home/status", "payload_available": "online", "payload_not_available": "offline" }],
        "qos": 1,
        "components": {
            "ring": {
                "platform": "event", "unique_id": "doorbell_ring", "name": "Ring",
                "state_topic": "home/doorbell", "event_types": ["door.bell", "door.knock"],
                "device_class": "doorbell",
                "value_template": "{{ {'event_type': value_json.type} | tojson }}",
            },
            "motion-hall": {
                "platform": "binary_sensor", "unique_id": "doorbell_motion-hall", "name": "Motion hall",
                "state_topic": "home/hall", "value_template": "{{ value_json.on }}",
                "payload_on": "True", "payload_off": "False", "device_class": "motion",
            },
            "celsius": {
                "platform": "sensor", "unique_id": "doorbell_celsius", "name": "Outside",
                "state_topic": "home/porch", "unit_of_measurement": "°C",
                "device_class": "temperature", "state_class": "total_increasing",
            },
        },
    });
    assert_eq!(config, expected);
    broker.publish("homeassistant/status", b"online", &["-q", "0"]);
    until("it is announced again", || devices(&heard.lines()).len() == 2);
    assert_eq!(engine.stop(), 0);
    // It is kept for a Home Assistant that begins while the engine is away.
    let later = broker.subscribe("homeassistant/#", &[]);
    until("it is kept", || devices(&later.lines()).len() == 1);
    assert!(later.lines()[0].starts_with("1 1 homeassistant/device/doorbell/config {"));
}

#[test]
fn a_device_that_an_event_names_is_announced_once_before_it() {
    let Some(broker) = Broker::start("discovery by events") else { return };
    let folder = tempfile::tempdir().unwrap();
    let more = r#"
        topic "home/{{ event.subject }}/state" retain=#true
        body "{{ data.on ? 'ON' : 'OFF' }}"
        discovery "{{ event.subject }}" name="{{ event.subject | humanize }}" { binary-sensor power }"#;
    let heard = broker.subscribe("#", &[]);
    let file = place(folder.path(), &sink(&broker, more));
    let mut engine = Engine::start(&file, &folder.path().join("data"), &[]);
    for (number, device) in ["living room", "pump", "living room", "pump"].iter().enumerate() {
        let event = json!({ "id": number.to_string(), "device": device, "on": number < 2 });
        post(&engine, &event);
    }
    until("all came", || heard.lines().len() == 6);
    let topics: Vec<String> = heard.lines();
    let topics: Vec<&str> = topics.iter().map(|topic| &topic[4..]).collect();
    let starts =
        |index: usize, start: &str| assert!(topics[index].starts_with(start), "{topics:?}");
    starts(0, "homeassistant/device/living_room/config {");
    assert_eq!(topics[1], "home/living room/state ON");
    starts(2, "homeassistant/device/pump/config {");
    assert_eq!(
        topics[3..],
        ["home/pump/state ON", "home/living room/state OFF", "home/pump/state OFF"]
    );
    let all = devices(&heard.lines());
    assert_eq!(all[0].1["device"]["name"], "living room");
    assert_eq!(all[0].1["components"]["power"]["state_topic"], "home/living room/state");
    assert_eq!(all[1].1["components"]["power"]["unique_id"], "pump_power");
    assert_eq!(engine.stop(), 0);
}

#[test]
fn an_announcement_that_is_refused_costs_no_delivery() {
    let rules = |folder: &Path| {
        let file = folder.join("rules");
        std::fs::write(&file, "topic readwrite home/#\n").unwrap();
        format!("allow_anonymous true\nacl_file {}", file.display())
    };
    let Some(broker) = Broker::with("a refused announcement", rules) else { return };
    let folder = tempfile::tempdir().unwrap();
    let more =
        "topic \"home/{{ event.subject }}\"\ndiscovery house { sensor x topic=\"home/x\" }\nbody x";
    let heard = broker.subscribe("home/#", &[]);
    let file = place(folder.path(), &sink(&broker, more));
    let mut engine = Engine::start(&file, &folder.path().join("data"), &[]);
    post(&engine, &json!({ "id": "1", "device": "lamp" }));
    until("it came", || heard.lines() == ["1 0 home/lamp x"]);
    until("it is said", || {
        problems(&engine).iter().any(|problem| problem.0 == "announcement-refused")
    });
    let said = problems(&engine)
        .into_iter()
        .find(|problem| problem.0 == "announcement-refused")
        .unwrap()
        .1;
    let expected = "cannot publish on homeassistant/device/house/config: the broker refused the message: \
                    this client may not publish on its topic";
    assert_eq!(said, expected);
    assert_eq!(engine.stop(), 0);
}

/// How many deliveries have no end yet.
fn pending(data: &Path) -> u64 {
    load::number(&load::open(data), "SELECT count(*) FROM delivery_rows WHERE state = 0")
}

/// A list of rules of a broker, which is read again when it is told to.
fn acl(folder: &Path, rules: &str) -> String {
    let file = folder.join("rules");
    std::fs::write(&file, rules).expect("it can be written");
    format!("allow_anonymous true\nacl_file {}", file.display())
}

#[test]
fn a_topic_that_is_refused_costs_no_message_once_it_is_allowed() {
    let rules = |folder: &Path| acl(folder, "topic read #\ntopic write open/#\n");
    let Some(broker) = Broker::with("a refused topic", rules) else { return };
    let folder = tempfile::tempdir().unwrap();
    let heard = broker.subscribe("#", &[]);
    let file = place(folder.path(), &sink(&broker, "topic closed\nbody \"{{ data.id }}\""));
    let mut engine = Engine::start(&file, &folder.path().join("data"), &[]);
    post(&engine, &json!({ "id": "1", "device": "d" }));
    let reason = "the broker refused the message: this client may not publish on its topic";
    until("it is said", || problems(&engine).iter().any(|it| it.1.contains(reason)));
    assert_eq!((letters(&engine).len(), heard.lines().len()), (0, 0), "it waits");
    acl(broker.folder(), "topic readwrite #\n");
    broker.read_again();
    until("it came", || heard.lines() == ["1 0 closed 1"]);
    until("all is well", || problems(&engine).is_empty());
    assert_eq!(engine.stop(), 0);
}

#[test]
fn one_of_many_topics_that_is_refused_is_the_end_of_its_message_alone() {
    let rules = |folder: &Path| acl(folder, "topic read #\ntopic write open/#\n");
    let Some(broker) = Broker::with("one refused topic", rules) else { return };
    let folder = tempfile::tempdir().unwrap();
    for protocol in ["v5", "v3.1.1"] {
        let heard = broker.subscribe(&format!("open/{protocol}"), &[]);
        let more = format!(
            "protocol {protocol}\ntopic \"{{{{ event.subject }}}}/{protocol}\"\n\
             body \"{{{{ data.id }}}}\""
        );
        let file = place(folder.path(), &sink(&broker, &more));
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&file, &data, &[]);
        for (id, device) in [("1", "open"), ("2", "closed"), ("3", "open")] {
            post(&engine, &json!({ "id": id, "device": device }));
        }
        let came = |id: usize| format!("1 0 open/{protocol} {id}");
        until("the others came", || heard.lines() == [came(1), came(3)]);
        until("nothing waits any more", || pending(&data) == 0);
        // The older version has no word for it: the broker acknowledges what it throws away.
        let reason = "the broker refused the message: this client may not publish on its topic";
        let expected = if protocol == "v5" { vec![reason.to_owned()] } else { Vec::new() };
        assert_eq!(letters(&engine), expected);
        assert_eq!(engine.stop(), 0);
    }
}

#[test]
fn a_message_beyond_the_brokers_own_limit_is_given_up_where_the_broker_says_so() {
    let limit = |_: &Path| "allow_anonymous true\nmessage_size_limit 1000".to_owned();
    let Some(broker) = Broker::with("a limit of messages", limit) else { return };
    let folder = tempfile::tempdir().unwrap();
    let targets = sink(&broker, "topic a\nbody \"{{ data.text }}\"");
    let heard = broker.subscribe("a", &[]);
    let engine = Engine::start(&place(folder.path(), &targets), &folder.path().join("data"), &[]);
    post(&engine, &json!({ "id": "1", "device": "d", "text": "x".repeat(1001) }));
    post(&engine, &json!({ "id": "2", "device": "d", "text": "small" }));
    until("the small one came", || heard.lines() == ["1 0 a small"]);
    until("the large one is given up", || !letters(&engine).is_empty());
    assert_eq!(letters(&engine), ["the broker refused the message: it is too large"]);
}

/// A packet of the protocol: its first byte and the rest; `None` at the end.
fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let (head, mut size, mut shift) = (byte[0], 0, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        size |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            break;
        }
    }
    let mut body = vec![0; size];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// A broker of MQTT 5 that greets, acknowledges so many messages and goes away at the next one;
/// what it acknowledged.
fn serve_once(listener: &TcpListener, few: usize) -> Vec<String> {
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut taken = Vec::new();
    while let Some((head, body)) = packet(&mut stream) {
        match head >> 4 {
            1 => stream.write_all(&[0x20, 3, 0, 0, 0]).expect("it reads"),
            3 if taken.len() < few => {
                let id = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                assert_eq!(body[id + 2], 0, "no properties");
                taken.push(String::from_utf8_lossy(&body[id + 3..]).into_owned());
                stream.write_all(&[0x40, 2, body[id], body[id + 1]]).expect("it reads");
            }
            // What it was told arrives before the end does; the engine may be gone by then.
            3 => drop(stream.shutdown(Shutdown::Write)),
            _ => {}
        }
    }
    taken
}

#[test]
fn of_a_batch_that_a_broker_took_in_part_only_the_rest_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let more = "topic a\nbody \"{{ data.id }}\"\nretry { backoff constant base=\"50ms\" }";
    let (file, data) = (place(folder.path(), &sink_to(&url, more)), folder.path().join("data"));
    let mut engine = Engine::start(&file, &data, &[]);
    // A connection may end before anything is published, where the machine is busy.
    let serve = move |few| (0..).map(|_| serve_once(&listener, few)).find(|it| !it.is_empty());
    let broker = std::thread::spawn(move || [3, usize::MAX].map(|few| serve(few).expect("it is")));
    let ids: Vec<String> = (1..=6).map(|id: u8| id.to_string()).collect();
    let lines: String =
        ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"device\":\"d\"}}\n")).collect();
    let posted =
        ask_as(&engine.address, "POST", "/events", "application/x-ndjson", lines.as_bytes());
    assert_eq!(posted.expect("it is answered").0, 202);
    until("nothing waits any more", || pending(&data) == 0);
    assert_eq!((letters(&engine).len(), engine.stop()), (0, 0));
    let [first, mut second] = broker.join().expect("it takes everything");
    second.sort();
    assert_eq!((&*first, &*second), (&ids[..3], &ids[3..]));
}
