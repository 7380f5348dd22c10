//! `engine dlq`.

use super::{Site, command};
use crate::support::until;
use serde_json::Value;
use std::fs;

const PIPELINE: &str = r#"
pipeline letters schema-version=1

source http bell {
    path "/events"
    map {
        id "data.id"
        type "data.type"
    }
}

notify webhook chat {
    url "http://127.0.0.1:9/"
    timeout "5s"
    retry 0
}

sink sqlite db {
    path "../data/letters.db"
    retention {
        keep "30d"
    }
}
"#;

/// An engine with three letters: two messages without a type, and a delivery that failed.
fn site() -> Site {
    let site = Site::of(PIPELINE);
    assert_eq!(site.engine.post(r#"{"id":"a","n":1.50}"#).0, 422);
    assert_eq!(site.engine.post("{\"id\":\"b\",\"text\":\"\u{9b}2J<b>\"}").0, 422);
    site.post(r#"{"id":"c","type":"ring"}"#);
    until("its delivery fails", || letters(&site).len() == 3);
    site
}

fn letters(site: &Site) -> Vec<Value> {
    let mut page = site.engine.get("/api/dead-letters");
    let Value::Array(letters) = page["dead_letters"].take() else { panic!("a list") };
    letters
}

/// A table without its times.
fn timeless(table: &str) -> String {
    let line = |line: &str| {
        let words = line.split_whitespace();
        let is_time = |text: &&str| !(text.starts_with("20") && text.matches('-').count() == 2);
        let words = words.filter(is_time).filter(|word| word.matches(':').count() != 2);
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    table.lines().map(line).collect()
}

#[test]
fn letters_are_listed_and_shown() {
    let site = Site::of(PIPELINE);
    let answer = site.run(&["dlq", "list"]);
    assert_eq!((answer.code, &*answer.output, &*answer.error), (0, "", "no dead letters\n"));
    drop(site);
    let site = self::site();
    let answer = site.run(&["dlq", "list"]);
    let expected = "\
ID LAST WHAT STAGE EVENT TRIES REASON
3 delivery chat c 1 the connection failed: Connection refused
2 rejected validate b 0 /type: an event needs a type
1 rejected validate a 0 /type: an event needs a type
";
    assert_eq!((answer.code, &*timeless(&answer.output), &*answer.error), (0, expected, ""));
    for (filter, ids) in [
        (&["--what", "rejected"][..], &["2", "1"][..]),
        (&["--stage", "chat", "--since", "1h"], &["3"]),
        (&["--event-id", "a"], &["1"]),
        (&["--class", "invalid", "--event-id", "b"], &["2"]),
        (&["--source", "none"], &[]),
        (&["--until", "1h"], &[]),
    ] {
        let answer = site.run(&[&["dlq", "list", "--quiet"], filter].concat());
        let lines = answer.output.lines().skip(1);
        let found: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!((found.as_slice(), &*answer.error), (ids, ""), "{filter:?}");
    }
    let answer = site.run(&["dlq", "list", "--limit", "1"]);
    assert_eq!(answer.error, "the newest 1; use --limit for more\n");
    let page: Value =
        serde_json::from_str(&site.run(&["dlq", "list", "--format", "json"]).output).expect("JSON");
    assert_eq!(page, site.engine.get("/api/dead-letters"));
    let shown = site.run(&["dlq", "show", "1"]).output;
    assert!(shown.starts_with("letter       1\nwhat         rejected\nstage        validate\n"));
    assert!(
        shown.ends_with("\ncontent, 19 bytes\n  {\n    \"id\": \"a\",\n    \"n\": 1.50\n  }\n")
    );
    let json = site.run(&["dlq", "show", "2", "--format", "json"]).output;
    assert!(!json.contains('\u{9b}') && json.contains("<b>"), "{json}");
    assert!(!site.run(&["dlq", "show", "2"]).output.contains('\u{9b}'));
    site.refused(&["dlq", "show", "99"], 1, "engine: there is no dead letter 99\n");
    let answer = site.run(&["dlq", "show", "a"]);
    assert_eq!(answer.code, 2);
    assert!(answer.error.contains("write the number of a dead letter"), "{}", answer.error);
    assert_eq!(site.run(&["dlq", "list", "--limit", "0"]).code, 2);
}

#[test]
fn letters_are_redriven_and_a_dry_run_changes_nothing() {
    let site = site();
    let answer = site.run(&["dlq", "redrive", "--what", "rejected", "--dry-run"]);
    let table = "\
ID  WHAT      STAGE     EVENT  REASON
 1  rejected  validate  a      /type: an event needs a type
 2  rejected  validate  b      /type: an event needs a type
";
    assert_eq!((answer.code, &*answer.output), (0, table));
    assert_eq!(answer.error, "2 dead letters would be redriven\n");
    assert_eq!(letters(&site).len(), 3);
    let answer = site.run(&["dlq", "redrive", "1", "--format", "json"]);
    let body: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    assert_eq!((answer.code, &body["kept"], &body["results"][0]["id"]), (1, &1.into(), &1.into()));
    let kept = "1 kept: /type: an event needs a type\n2 kept: /type: an event needs a type\n";
    let answer = site.run(&["dlq", "redrive", "--what", "rejected"]);
    assert_eq!((answer.code, &*answer.output), (1, kept));
    assert_eq!(answer.error, "0 dead letters redriven, 2 kept\n");
    let file = site.path("pipelines/home.kdl");
    let text = PIPELINE.replace("\"data.type\"", "\"data.type ?? 'ring'\"");
    fs::write(file, text).expect("it is written");
    site.engine.wait_for("reloaded: ");
    let answer = site.run(&["dlq", "redrive", "2", "1", "99"]);
    assert_eq!((answer.code, &*answer.output), (1, "1 redriven\n2 redriven\n"));
    assert_eq!(
        answer.error,
        "engine: there is no dead letter 99\n2 dead letters redriven, 0 kept\n"
    );
    site.refused(&["dlq", "redrive", "1"], 1, "engine: there is no dead letter 1\n");
    let answer = site.run(&["dlq", "redrive", "--event-id", "none"]);
    assert_eq!((answer.code, &*answer.error), (0, "0 dead letters redriven, 0 kept\n"));
}

#[test]
fn letters_are_dropped_one_by_one_or_by_a_filter() {
    let site = site();
    let answer = site.run(&["dlq", "drop", "--stage", "chat", "--dry-run"]);
    assert_eq!((answer.code, answer.output.lines().count()), (0, 2));
    assert_eq!(answer.error, "1 dead letter would be dropped\n");
    assert_eq!(letters(&site).len(), 3);
    let answer = site.run(&["dlq", "drop", "1", "1", "99"]);
    assert_eq!((answer.code, &*answer.output), (1, "1 dropped\n"));
    assert_eq!(answer.error, "engine: there is no dead letter 99\n1 dead letter dropped\n");
    let answer = site.run(&["dlq", "drop", "--all"]);
    assert_eq!((answer.code, &*answer.output), (0, "2 dropped\n3 dropped\n"));
    assert_eq!((&*answer.error, letters(&site).len()), ("2 dead letters dropped\n", 0));
    let answer = site.run(&["dlq", "drop", "--all", "--format", "json"]);
    assert_eq!(answer.output, "{\n  \"dropped\": []\n}\n");
}

#[test]
fn a_change_says_which_letters_it_means() {
    let site = site();
    for command in ["redrive", "drop"] {
        site.refused(
            &["dlq", command],
            2,
            "engine: select dead letters: by number, with a filter such as --stage weather, or with --all\n",
        );
        site.refused(
            &["dlq", command, "1", "--all"],
            2,
            "engine: numbers, filters and --all exclude each other\n",
        );
    }
    assert_eq!(letters(&site).len(), 3);
}

#[test]
fn an_export_has_all_of_every_letter() {
    let site = site();
    let long = format!(r#"{{"id":"long","text":"{}"}}"#, "x".repeat(100_000));
    assert_eq!(site.engine.post(&long).0, 422);
    let answer = site.run(&["dlq", "export", "--what", "rejected"]);
    let bodies: Vec<String> = answer
        .output
        .lines()
        .map(|line| {
            let letter: Value = serde_json::from_str(line).expect("it is JSON");
            letter["body"].as_str().expect("it has a body").to_owned()
        })
        .collect();
    let second = "{\"id\":\"b\",\"text\":\"\u{9b}2J<b>\"}";
    assert_eq!(bodies, [&*long, second, r#"{"id":"a","n":1.50}"#]);
    assert_eq!((answer.code, &*answer.error), (0, ""));
    // Whoever drops what was exported relies on its being there.
    let url = format!("http://{}", site.engine.address);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it opens");
    let mut export = command(site.folder.path(), &["dlq", "export", "--url", &url]);
    let ended = export.stdout(full).output().expect("it ends");
    assert_eq!(ended.status.code(), Some(2));
    let error = "engine: cannot write the result: No space left on device (os error 28)\n";
    assert_eq!(String::from_utf8_lossy(&ended.stderr), error);
}

#[test]
fn a_rejected_message_is_edited_and_taken_in() {
    let site = site();
    let file = site.folder.path().join("edited.json");
    let path = file.display().to_string();
    let edit = |text: &str| {
        fs::write(&file, text).expect("it is written");
        let answer = site.run(&["dlq", "edit", "1", "--message", &path]);
        (answer.code, answer.output + &answer.error)
    };
    assert_eq!(edit("{\"id\":\"a\",\"n\":1.50}\n"), (1, "nothing was changed\n".to_owned()));
    assert_eq!(edit("{\"id\":"), (1, "1 kept: the text is no longer valid JSON\n".to_owned()));
    let (code, told) = edit("{\"id\":\"a\",\"kind\":1}");
    assert!(code == 1 && told.starts_with("1 kept: "), "{told}");
    // The reason is about the text that is stored.
    let (code, told) = edit("{\"id\":\"\",\"type\":\"ring\"}");
    assert!(code == 1 && told.contains("/id"), "{told}");
    let letter = site.engine.get("/api/dead-letters/1");
    assert_eq!(
        (&letter["reason"], &letter["attempts"]),
        (&"/type: an event needs a type".into(), &0.into())
    );
    let taken = edit("{\"id\":\"a\",\"type\":\"ring\"}\n");
    assert_eq!(taken, (0, "1 redriven\n".to_owned()));
    let answer = site.run(&["dlq", "edit", "3"]);
    assert!(answer.error.contains("only a message that was rejected can be edited"));
    assert_eq!(site.run(&["dlq", "edit", "1", "--message", &path]).code, 1, "it is gone");
}

#[test]
fn a_message_that_the_editor_did_not_change_does_not_stay_behind() {
    let site = site();
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("http://{}", site.engine.address);
    let edit = |editor: &str| {
        let mut edit = command(site.folder.path(), &["dlq", "edit", "1", "--url", &url]);
        let ended = edit.env("EDITOR", editor).env("TMPDIR", folder.path()).output();
        let ended = ended.expect("it ends");
        let left = fs::read_dir(folder.path()).expect("it is there").count();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned(), left)
    };
    let (code, told, left) = edit("false");
    assert_eq!((code, left), (Some(2), 0), "{told}");
    let (code, told, left) = edit("sh -c 'echo more >> \"$0\"; exit 1'");
    assert!(code == Some(2) && told.contains("; your text is in "), "{told}");
    assert_eq!(left, 1);
}

#[test]
fn an_edited_message_may_come_from_standard_input() {
    let site = site();
    let answer = site
        .run_with(&["dlq", "edit", "1", "--message", "-"], "{\"id\":\"a\",\"type\":\"ring\"}\n");
    assert_eq!((answer.code, &*answer.output), (0, "1 redriven\n"));
}
