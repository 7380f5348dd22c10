//! `engine notify log` and `engine notify test`.

use super::{Site, run};
use serde_json::{Value, json};
use std::fs;

const PIPELINE: &str = r#"
pipeline bells schema-version=1

server {
    auth {
        token admin (env)"ADMIN" scope="read send"
        token viewer (env)"VIEWER" scope="read"
    }
}

source http bell {
    path "/events"
    map {
        id "data.id"
        type "data.type"
    }
}

notify file desk {
    path "../data/desk.jsonl"
    title "{{ event.id }}"
    cooldown "1h"
}

notify file drawer {
    path "../data/drawer.jsonl"
}

notify webhook chat {
    url "http://127.0.0.1:9/"
    timeout "5s"
    retry 0
    fallback drawer
}

notify ntfy phone {
    topic (env)"NTFY_TOPIC" optional=#true
}

sink sqlite db {
    path "../data/bells.db"
    retention {
        keep "30d"
    }
}
"#;

/// The same without tokens.
fn open() -> String {
    let (begin, rest) = PIPELINE.split_once("server {").expect("a server");
    let (_, end) = rest.split_once("\n}\n").expect("its end");
    format!("{begin}{end}")
}

/// A table without its times.
fn timeless(table: &str) -> String {
    let line = |line: &str| {
        let is_time = |text: &&str| {
            (text.starts_with("20") && text.matches('-').count() == 2)
                || text.matches(':').count() == 2
        };
        line.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ") + "\n"
    };
    table.lines().map(line).collect()
}

/// Two rings, of which the second falls into a cooldown, and a service that is not there.
fn site() -> Site {
    let site = Site::of(&open());
    for id in ["a", "b"] {
        site.post(&json!({ "id": id, "type": "ring" }).to_string());
        site.settled(id);
    }
    site
}

#[test]
fn notifications_are_listed_with_their_reasons() {
    let site = Site::of(&open());
    let answer = site.run(&["notify", "log"]);
    assert_eq!((answer.code, &*answer.output, &*answer.error), (0, "", "no notifications\n"));
    drop(site);
    let site = self::site();
    let answer = site.run(&["notify", "log", "columns=140"]);
    let expected = "\
CREATED NOTIFIER STATE TYPE EVENT TRIES REASON
chat dead ring b 1 the connection failed: Connection refused
desk suppressed ring b 0 cooldown
drawer done ring b 1 via fallback chat
chat dead ring a 1 the connection failed: Connection refused
desk done ring a 1
drawer done ring a 1 via fallback chat
";
    assert_eq!((answer.code, &*timeless(&answer.output), &*answer.error), (0, expected, ""));
    for (filter, rows) in [
        (&["--state", "suppressed"][..], &["desk suppressed ring b 0 cooldown"][..]),
        (&["--notifier", "desk", "--state", "done", "--since", "1h"], &["desk done ring a 1"]),
        (&["--notifier", "desk", "--notifier", "phone", "--state", "dead"], &[]),
        (&["--since", "2096-01-01T00:00:00Z"], &[]),
    ] {
        let answer = site.run(&[&["notify", "log", "--quiet"], filter].concat());
        let found = timeless(&answer.output);
        let found: Vec<&str> = found.lines().skip(1).collect();
        assert_eq!((found.as_slice(), &*answer.error), (rows, ""), "{filter:?}");
    }
    let answer = site.run(&["notify", "log", "--limit", "1"]);
    assert_eq!(answer.error, "the newest 1; use --limit for more\n");
    let page: Value =
        serde_json::from_str(&site.run(&["notify", "log", "--format", "json"]).output)
            .expect("JSON");
    assert_eq!(page, site.engine.get("/api/notifications"));
    let csv = site.run(&["notify", "log", "--notifier", "desk", "--format", "csv"]).output;
    let rows: Vec<&str> = csv.lines().collect();
    assert!(
        rows[0].starts_with("created,notifier,state,attempts,reason,until,via,told_with,event_id")
    );
    assert!(rows[2].contains(",desk,done,1,,,,,a,ring,,20"), "{csv}");
    let unknown = "engine: there is no notifier `desc`; did you mean `desk`?\n";
    site.refused(&["notify", "log", "--notifier", "desc"], 2, unknown);
    assert_eq!(site.run(&["notify", "log", "--state", "lost"]).code, 2);
}

#[test]
fn a_notifier_is_tested_with_one_marked_message() {
    let site = Site::of(&open());
    let answer = site.run(&["notify", "test", "desk"]);
    assert_eq!((answer.code, &*answer.error), (0, ""));
    let took = answer.output.strip_prefix("desk accepted the test message after ");
    assert!(took.is_some_and(|took| took.ends_with("s\n")), "{}", answer.output);
    let line = fs::read_to_string(site.path("data/desk.jsonl")).expect("it is written");
    let line: Value = serde_json::from_str(&line).expect("one line");
    assert_eq!(line["title"], "Test message from bells");
    assert_eq!(line["message"], "This tests the notifier \"desk\". Nothing has happened.");
    let refused = "engine: chat did not deliver: the connection failed: Connection refused\n";
    site.refused(&["notify", "test", "chat"], 1, refused);
    let off = "engine: `phone` is off: environment variable `NTFY_TOPIC` is not set\n";
    site.refused(&["notify", "test", "phone"], 2, off);
    let unknown = "engine: there is no notifier `bell`; there are: desk, drawer, chat, phone\n";
    site.refused(&["notify", "test", "bell"], 1, unknown);
    // Nothing of it is an event, a delivery or a dead letter.
    for (path, list) in [
        ("/api/events", "events"),
        ("/api/notifications", "notifications"),
        ("/api/dead-letters", "dead_letters"),
    ] {
        assert_eq!(site.engine.get(path)[list], json!([]), "{path}");
    }
    assert_eq!(site.engine.get("/readyz")["degraded"], json!([]));
}

#[test]
fn tests_of_notifiers_are_limited_and_need_a_scope() {
    let site = Site::of(PIPELINE);
    let asked = |token: &str| site.run(&["notify", "test", "desk", "--token", token]);
    let weak = asked("env:WEAK");
    let told = "engine: this token lacks the scope `send`; add it to its `scope=`\n";
    assert_eq!((weak.code, &*weak.error), (2, told));
    let answers: Vec<_> = (0..4).map(|_| asked("env:GOOD")).collect();
    let codes: Vec<i32> = answers.iter().map(|answer| answer.code).collect();
    assert_eq!(codes, [0, 0, 0, 2]);
    let told = &answers[3].error;
    assert!(told.starts_with("engine: too many test messages; try again in "), "{told}");
}

#[test]
fn a_notifier_is_tested_without_an_engine() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    fs::write(folder.path().join("pipelines/home.kdl"), open()).expect("it is written");
    let test = |name: &str, more: &[&str]| {
        let own = ["notify", "test", name, "--direct", "pipelines/home.kdl"];
        run(folder.path(), &[&own, more].concat(), "")
    };
    assert_eq!(test("desk", &[]).code, 0);
    let line = fs::read_to_string(folder.path().join("data/desk.jsonl")).expect("it is written");
    assert!(line.contains("Test message from bells"), "{line}");
    assert!(!folder.path().join("data/bells.db").exists(), "no store is opened");
    let answer = test("chat", &["--format", "json"]);
    let told: Value = serde_json::from_str(&answer.output).expect("JSON");
    assert_eq!((answer.code, &told["delivered"]), (1, &json!(false)));
    assert_eq!(told["reason"], "the connection failed: Connection refused");
    let answer = test("phone", &[]);
    let off = "engine: `phone` is off: environment variable `NTFY_TOPIC` is not set\n";
    assert_eq!((answer.code, &*answer.error), (2, off));
    assert_eq!(test("bell", &[]).code, 1);
    let both = test("desk", &["--url", "http://127.0.0.1:1"]);
    assert!(both.code == 2 && both.error.contains("cannot be used with"), "{}", both.error);
}
