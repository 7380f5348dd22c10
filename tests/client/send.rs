//! `engine send`.

use super::{PIPELINE, Site, run, timeless};
use serde_json::{Value, json};
use std::fs;

/// Two doors, one with a token of its own, one that is off, and a rule that drops.
const DOORS: &str = r#"
pipeline doors schema-version=1

source http gate {
    path "/gate"
    auth bearer=(env)"ADMIN"
}

source http bell {
    path "/bell"
    map {
        id "data.id"
    }
}

source http back {
    path "/back"
    disabled
}

filter calm {
    keep when="event.type != 'motion'"
}

enrich http weather {
    get "http://127.0.0.1:9/"
    timeout "1s"
    retry 0
    on-error dead-letter
    when "event.type == 'ring'"
}

sink sqlite db {
    path "../data/doors.db"
    retention {
        keep "30d"
    }
}
"#;

#[test]
fn an_event_is_sent_and_what_became_of_it_is_said() {
    let site = Site::start();
    site.prints(&["send", "ring", r#"{"id":"r-1","n":1.50}"#], "accepted r-1, number 1\n");
    site.prints(&["send", "ring", r#"{"id":"r-1","n":1.50}"#], "duplicate of r-1, number 1\n");
    let whole = r#"{"id":"r-2","type":"ring"}"#;
    site.prints(&["send", whole], "accepted r-2, number 2\n");
    site.prints(&["send", "ring", whole, "--source", "front"], "duplicate of r-2, number 2\n");
    fs::write(site.path("ring.json"), "\n {\"id\":\"r-3\"}").expect("it is written");
    site.prints(&["send", "ring", "@ring.json"], "accepted r-3, number 3\n");
    let answer = site.run_with(&["send", "-"], r#"[{"id":"r-4","type":"ring"},{"id":"no"},7]"#);
    let lines: Vec<&str> = answer.output.lines().collect();
    assert_eq!((answer.code, lines[0]), (1, "accepted r-4, number 4"));
    assert!(lines[1].starts_with("rejected with 422: "), "{}", answer.output);
    assert!(answer.output.contains("\nrejected with "), "{}", answer.output);
    let answer = site.run(&["send", "ring"]);
    assert!(answer.output.starts_with("accepted ") && answer.code == 0, "{}", answer.error);
    let answer = site.run(&["send", "ring", r#"{"id":"r-5"}"#, "--format", "json"]);
    let body: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    assert_eq!((answer.code, body["id"].as_str()), (0, Some("r-5")));
}

#[test]
fn an_event_is_shown_when_it_is_settled() {
    let site = Site::start();
    let answer = site.run(&["send", "ring", r#"{"id":"r-1","door":"gate"}"#, "--wait"]);
    let expected = "\
type ring
id r-1
source front
subject gate
priority normal
received     TIME
received     TIME
number 1
generation 1
state stored

… received
… sentence (set) ok in …
… delivery to lines done in …

enrich
  {
    \"text\": \"ring at the gate\"
  }
";
    assert_eq!((answer.code, timeless(&answer.output), &*answer.error), (0, expected.into(), ""));
    let arguments = ["send", "ring", r#"{"id":"r-2"}"#, "--wait=30s", "--format", "json"];
    let event: Value = serde_json::from_str(&site.run(&arguments).output).expect("it is JSON");
    assert_eq!((&event["id"], &event["state"]), (&json!("r-2"), &json!("stored")));
}

#[test]
fn sources_are_chosen_by_name_and_a_rule_may_drop_the_event() {
    let site = Site::of(DOORS);
    let ring = r#"{"id":"r-1","type":"motion"}"#;
    let refused = |more: &[&str], error: &str| {
        site.refused(&[&["send", ring], more].concat(), 2, &format!("engine: {error}\n"));
    };
    refused(&[], "several sources receive events; use --source with one of gate, bell");
    refused(
        &["--source", "bel"],
        "no source `bel` receives events over HTTP; use one of gate, bell",
    );
    refused(&["--source", "back"], "the source `back` is off: disabled");
    refused(
        &["--source", "gate"],
        "http://HOST requires a token; use --token env:NAME or --token file:PATH",
    );
    let to_bell = ["--source", "bell"];
    site.prints(&[&["send", ring][..], &to_bell].concat(), "dropped by calm\n");
    site.prints(&[&["send", ring, "--wait"][..], &to_bell].concat(), "dropped by calm\n");
    let to_gate = ["send", r#"{"type":"press"}"#, "--source", "gate", "--token", "env:GOOD"];
    assert!(site.run(&to_gate).output.starts_with("accepted "));
    // Its stage fails, so it becomes a dead letter.
    let dead = ["send", "ring", r#"{"id":"d-1"}"#, "--wait", "--source", "bell"];
    let answer = site.run(&dead);
    assert_eq!((answer.code, &*answer.error), (1, ""));
    assert!(answer.output.contains("\nstate        dead\n"), "{}", answer.output);
    assert!(
        answer.output.contains(
            "\n             dead letter 1 by weather: the connection failed: Connection refused\n"
        ),
        "{}",
        answer.output
    );
}

/// Sources that respond in their own words, and tokens that may not read.
const RESPONDING: &str = r#"
pipeline own schema-version=1

server {
    auth {
        token admin (env)"ADMIN" scope="read send"
        token viewer (env)"VIEWER" scope="send"
    }
}

source http empty {
    path "/empty"
    map { id "data.id" }
    respond 204
}

source http text {
    path "/text"
    respond 201 { body "Thank you, {{ data.by }}" }
}

sink sqlite db {
    path "../data/own.db"
    retention { keep "30d" }
}
"#;

#[test]
fn a_source_may_respond_in_its_own_words() {
    let site = Site::of(RESPONDING);
    let send = |message: &str, more: &[&str]| {
        site.run(&[&["send", message, "--token", "env:GOOD"][..], more].concat())
    };
    let ring = r#"{"id":"r-1","type":"ring"}"#;
    let answer = send(ring, &["--source", "empty"]);
    let received = "received; the source responds with 204\n";
    assert_eq!((answer.code, &*answer.output, &*answer.error), (0, received, ""));
    let answer = send(ring, &["--source", "empty", "--wait"]);
    assert!(
        answer.code == 0 && answer.output.contains("\nid           r-1\n"),
        "{}",
        answer.output
    );
    let answer = send(r#"{"type":"ring","by":"me"}"#, &["--source", "text"]);
    let received_text = "received; the source responds with 201: Thank you, me\n";
    assert_eq!((answer.code, &*answer.output, &*answer.error), (0, received_text, ""));
    let answer = send(r#"{"type":"ring"}"#, &["--source", "empty", "--wait"]);
    assert_eq!((answer.code, &*answer.output), (2, received));
    let error =
        "engine: cannot wait for the event: neither the message nor the response has its id\n";
    assert_eq!(answer.error, error);
}

#[test]
fn a_token_that_may_only_send_sends_by_the_file() {
    let site = Site::of(RESPONDING);
    let ring = r#"{"id":"r-1","type":"ring","by":"me"}"#;
    let by_file = ["send", ring, "--source", "empty", "--file", "pipelines/home.kdl"];
    let answer = run(site.folder.path(), &[&by_file[..], &["--token", "env:WEAK"]].concat(), "");
    let received = "received; the source responds with 204\n";
    assert_eq!((answer.code, &*answer.output, &*answer.error), (0, received, ""));
    let wait = ["--token", "env:WEAK", "--wait"];
    let answer = run(site.folder.path(), &[&by_file[..], &wait].concat(), "");
    let error = "engine: cannot wait for the event: this takes a token with the scope `read`\n";
    assert_eq!((answer.code, &*answer.output, &*answer.error), (2, received, error));
    site.refused(
        &["send", ring, "--source", "empty", "--token", "env:WEAK"],
        2,
        "engine: without a token with the scope `read`, the path of the source is not known; give \
         the pipeline file with --file\n",
    );
}

#[test]
fn a_message_that_is_rejected_is_explained() {
    let rules = r#"
validate {
    rule "ring" check="data.n <= 1" at="/data/n" message="n must be at most 1"
    rule "ring" check="data.t != 'x'" message="t must not be x"
}
"#;
    let site = Site::of(&format!("{PIPELINE}{rules}"));
    let wrong = r#"{"id":"w","data":{"n":7,"t":"x"}}"#;
    site.refused(
        &["send", "ring", wrong],
        1,
        "engine: the message is rejected: 2 parts of the event are not valid\n  \
         /data/n: n must be at most 1\n  /data: t must not be x\n",
    );
    let (_, rejected) = site.engine.post(r#"{"id":"v","type":"ring","data":{"n":2}}"#);
    assert_eq!(rejected["errors"][0]["schema"], "data.n <= 1", "{rejected}");
    site.prints(&["send", "ring", r#"{"id":"w"}"#], "accepted w, number 1\n");
    site.refused(
        &["send", "ring", r#"{"id":"w","data":{"n":0}}"#],
        1,
        "engine: the message is rejected: this id was already accepted with a different body, as event 1\n",
    );
}

#[test]
fn what_is_not_a_message_is_not_sent() {
    let site = Site::start();
    site.refused(
        &["send", "ring", "[1]"],
        2,
        "engine: a message with a type must be a JSON object\n",
    );
    site.refused(
        &["send", "ring", r#"{"type":"no"}"#],
        2,
        "engine: the message has another `type`; give the type once\n",
    );
    site.refused(&["send", "{}", "ring"], 2, "engine: the type comes first, then the message\n");
    site.refused(
        &["send", "@none.json"],
        2,
        "engine: cannot read none.json: No such file or directory (os error 2)\n",
    );
    site.refused(&["send", "@."], 2, "engine: cannot read .: it is a folder, not a regular file\n");
    let answer = site.run(&["send", "ring", "{"]);
    assert_eq!((answer.code, &*answer.output), (2, ""));
    assert!(answer.error.starts_with("engine: the message is not JSON: "), "{}", answer.error);
    let answer = site.run(&["send", "{no"]);
    assert_eq!(answer.code, 1);
    assert!(answer.error.starts_with("engine: the message is rejected: "), "{}", answer.error);
    assert_eq!(site.run(&["send"]).code, 2);
}
