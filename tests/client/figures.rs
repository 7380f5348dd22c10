//! `engine stats` and `engine top`.

use super::{PIPELINE, Site, command};
use crate::support::until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};

fn ring(id: &str, kind: &str) -> String {
    json!({ "id": id, "type": kind, "priority": "high" }).to_string()
}

/// A text without durations, and with single blanks.
fn timeless(text: &str) -> String {
    let is_figure = |word: &str| {
        let word = word.trim_start_matches('<');
        let number = |end: &str| word.strip_suffix(end).is_some_and(|it| it.parse::<f64>().is_ok());
        word == ">10s" || number("ms") || number("s")
    };
    let line = |line: &str| {
        let words = line.split_whitespace().map(|it| if is_figure(it) { "…" } else { it });
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn figures_are_tables_for_people_and_json_for_programs() {
    let site = Site::start();
    let answer = site.run(&["stats"]);
    assert_eq!((answer.code, &*answer.error), (0, ""));
    let empty =
        "0 events stored in the last 7 days\n\nSTREAM CLIENTS MOST SENT\nlive 0 50 0\n\nstore ";
    assert!(timeless(&answer.output).starts_with(empty), "{}", answer.output);
    for (id, kind) in [("a", "ring"), ("b", "ring"), ("c", "<b>\u{1b}[2J")] {
        site.post(&ring(id, kind));
        site.settled(id);
    }
    let answer = site.run(&["stats", "--days", "1"]);
    let expected = "\
3 events stored in the last 1 day

OUTCOME EVENTS
stored 3

TYPE EVENTS
ring 2
<b>\\u{1b}[2J 1

SOURCE EVENTS
front 3

PRIORITY EVENTS
high 3

STAGE RESULT EVENTS MEAN MAX
sentence ok 3 … …

STREAM CLIENTS MOST SENT
live 0 50 0

store";
    let (text, store) = answer.output.rsplit_once("\nstore ").expect("it ends so");
    assert_eq!(timeless(&format!("{text}\nstore")), format!("{expected}\n"));
    assert!(store.ends_with(" KiB, 0 events pending, 0 dead letters\n"), "{store}");
    let json = site.run(&["stats", "--format", "json"]).output;
    let json: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["by_type"], site.engine.get("/api/stats")["by_type"]);
    assert_eq!(site.run(&["stats", "--days", "0"]).code, 2);
}

#[test]
fn every_part_is_a_row() {
    let site = Site::of(PIPELINE);
    for id in ["a", "b"] {
        site.post(&ring(id, "ring"));
        site.settled(id);
    }
    let expected = "\
generation 1, 2 accepted, 2 stored, 0 pending, 0 dead letters, p95 …

PART NAME EVENTS RATE FAILED RETRIED P50 P95
source front 2 - 0 - - -
stage sentence 2 - 0 0 … …
target lines 2 - 0 0 - -
";
    // A count follows what it counts.
    let mut shown = String::new();
    until("everything is counted", || {
        let answer = site.run(&["top", "--once"]);
        assert_eq!((answer.code, &*answer.error), (0, ""));
        shown = timeless(&answer.output);
        shown == expected
    });
    assert_eq!(shown, expected);
    let first = |sort: &str| {
        let output = site.run(&["top", "--once", "--sort", sort]).output;
        output.lines().nth(3).and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned)
    };
    assert_eq!(first("p95").as_deref(), Some("sentence"));
    assert_eq!(first("part").as_deref(), Some("front"));
    let narrow = site.run(&["top", "--once", "columns=50"]).output;
    assert!(narrow.lines().skip(2).all(|line| line.chars().count() <= 50), "{narrow}");
    assert_eq!(site.run(&["top", "--interval", "1ms"]).code, 2);
}

#[test]
fn the_table_comes_again_until_nobody_reads_it() {
    let site = Site::start();
    let url = format!("http://{}", site.engine.address);
    let arguments = ["top", "--interval", "100ms", "--url", &url];
    let mut child = command(site.folder.path(), &arguments).spawn().expect("it starts");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = output.lines().map(|line| line.expect("it writes text"));
    let is_head = |text: &String| text.starts_with("generation 1, ");
    assert!(lines.by_ref().filter(is_head).nth(1).is_some(), "it comes a second time");
    let row = lines.by_ref().find(|line| line.contains(" front "));
    assert!(row.as_ref().is_some_and(|row| row.contains("0.0/s")), "{row:?}");
    drop(lines);
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
}
