//! `engine retention`.

use super::{Site, run};
use serde_json::{Value, json};
use std::fs;

const PIPELINE: &str = r#"
pipeline rings schema-version=1

source http bell {
    path "/events"
    map {
        id "data.id"
        type "data.type"
        priority "data.priority ?? 'normal'"
    }
}

notify webhook chat {
    url "http://127.0.0.1:9/"
    timeout "5s"
    when "event.type == 'ring.told'"
    retry 5 {
        backoff constant base="1m" jitter=none
    }
}

sink sqlite db {
    path "../data/rings.db"
    retention {
        keep "1s" priority=low
        keep "10d" type="ring*"
        keep "30d" type="door.*"
        sweep every="1h"
    }
}
"#;

/// Whether a line is the same on every run.
fn is_timeless(line: &&str) -> bool {
    !line.starts_with("received") && !line.starts_with("until")
}

fn timeless(text: &str) -> String {
    text.lines().filter(is_timeless).map(|line| format!("{line}\n")).collect()
}

/// Three events: one kept, one that nothing keeps for long, and one that no rule is for.
fn site() -> Site {
    let site = Site::of(PIPELINE);
    for (id, kind, priority) in
        [("a", "ring", "high"), ("b", "ring.told", "low"), ("c", "other", "normal")]
    {
        site.post(&json!({ "id": id, "type": kind, "priority": priority }).to_string());
    }
    site
}

#[test]
fn an_event_says_what_keeps_it() {
    let site = site();
    let explained = |id: &str| {
        let answer = site.run(&["retention", "explain", id]);
        assert_eq!((answer.code, &*answer.error), (0, ""), "{id}");
        answer.output
    };
    let kept = "\
event     a
type      ring
source    bell
priority  high
rule      keep \"10d\" type=\"ring*\"
outcome   kept
";
    let text = explained("a");
    assert_eq!(timeless(&text), kept);
    assert_eq!(text.lines().filter(|line| !is_timeless(line)).count(), 2, "{text}");
    let stays = "rule      no rule matches, so it is kept permanently\noutcome   kept\n";
    assert!(timeless(&explained("c")).ends_with(stays) && !explained("c").contains("until"));
    crate::support::until("it is over", || explained("b").contains("outcome   held"));
    let held = "\
rule      keep \"1s\" priority=low
held by   the delivery to chat, pending
outcome   held: it is deleted once nothing holds it back
";
    assert!(timeless(&explained("b")).ends_with(held), "{}", explained("b"));
    let json = site.run(&["retention", "explain", "b", "--format", "json"]).output;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json, site.engine.get("/api/retention/b"));
    let hold = json!([{ "what": "delivery", "sink": "chat", "state": "pending" }]);
    assert_eq!((&json["outcome"], &json["held_by"]), (&json!("held"), &hold));
    let nowhere = "engine: no event with this id is stored\n";
    site.refused(&["retention", "explain", "none"], 1, nowhere);
    site.refused(&["retention", "explain", "a", "--source", "gate"], 1, nowhere);
    assert_eq!(site.engine.ask("GET", "/api/retention/a?id=b", b"").0, 400);
}

#[test]
fn a_dry_run_counts_by_rule_and_deletes_nothing() {
    let site = site();
    let table = "\
RULE                      DUE  HELD
passing                     0     0
keep \"1s\" priority=low      0     1
keep \"10d\" type=\"ring*\"     0     0
keep \"30d\" type=\"door.*\"    0     0
";
    crate::support::until("it is over", || {
        let answer = site.run(&["retention", "--dry-run"]);
        let told = "the next sweep deletes 0 events and 0 dead letters\n";
        assert_eq!((answer.code, &*answer.error), (0, told));
        answer.output == table
    });
    let json = site.run(&["retention", "--dry-run", "--format", "json"]).output;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json, site.engine.get("/api/retention"));
    assert_eq!(site.engine.get("/api/events")["events"].as_array().map(Vec::len), Some(3));
    assert_eq!(site.run(&["retention"]).code, 2);
    let both = site.run(&["retention", "--dry-run", "explain", "a"]);
    assert_eq!(both.code, 2);
}

#[test]
fn a_store_is_looked_into_without_an_engine() {
    let mut site = site();
    site.settled("a");
    assert_eq!(site.engine.stop(), 0);
    let direct = |arguments: &[&str]| {
        let own = ["--direct", "pipelines/home.kdl"];
        run(site.folder.path(), &[&["retention"], arguments, &own].concat(), "")
    };
    crate::support::until("it is over", || {
        direct(&["explain", "b"]).output.contains("outcome   held")
    });
    let answer = direct(&["explain", "b"]);
    let held = "held by   the delivery to chat, pending\noutcome   held: it is deleted once nothing \
                holds it back\n";
    assert!(answer.code == 0 && answer.output.ends_with(held), "{}{}", answer.output, answer.error);
    assert_eq!(direct(&["explain", "none"]).code, 1);
    // The rules are those that the file has now.
    let file = site.path("pipelines/home.kdl");
    fs::write(&file, PIPELINE.replace("\"10d\"", "\"2s\"")).expect("it is written");
    crate::support::until("it is over", || {
        let answer = direct(&["--dry-run"]);
        let row = answer.output.lines().find(|line| line.starts_with("keep \"2s\""));
        let counts = row.map(|row| row.split_whitespace().rev().take(2).collect::<Vec<_>>());
        let told = "the next sweep deletes 1 event and 0 dead letters\n";
        (answer.code, counts) == (0, Some(vec!["0", "1"])) && answer.error == told
    });
    fs::remove_file(site.path("data/rings.db")).expect("it is there");
    let answer = direct(&["--dry-run"]);
    assert!(answer.code == 2 && answer.error.contains("cannot read"), "{}", answer.error);
}
