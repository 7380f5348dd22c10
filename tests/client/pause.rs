//! `engine pause` and `engine resume`.

use super::{PIPELINE, Site};
use crate::support::until;
use std::fs;

/// Without the times in it.
fn timeless(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.as_bytes() {
        [b'2', b'0', _, _, b'-', ..] => "DAY",
        [_, _, b':', _, _, b':', ..] => "TIME",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn lines(site: &Site) -> usize {
    fs::read_to_string(site.path("data/lines.jsonl")).unwrap_or_default().lines().count()
}

#[test]
fn what_is_paused_waits_until_it_is_resumed() {
    let site = Site::start();
    site.prints(&["pause", "lines"], "lines is paused until it is resumed\n");
    for id in ["1", "2"] {
        site.post(&format!(r#"{{"id":"{id}","type":"ring","door":"front"}}"#));
    }
    let answer = site.run(&["pause", "lines", "--for", "30m"]);
    assert_eq!((answer.code, &*answer.error), (0, ""));
    let words = "lines is paused until DAY TIME 2 deliveries wait\n";
    assert_eq!(timeless(&answer.output), words, "{}", answer.output);
    let answer = site.run(&["notify", "test", "lines"]);
    assert_eq!(timeless(&answer.error), "lines is paused until DAY TIME other messages wait\n");
    assert_eq!(lines(&site), 1, "the test");
    let top = site.run(&["top", "--once"]).output;
    assert!(top.contains("paused: lines\n"), "{top}");
    site.prints(&["resume", "lines"], "lines is resumed; 2 deliveries wait\n");
    until("both are sent", || lines(&site) == 3);
    let json = site.run(&["resume", "lines", "--format", "json"]).output;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((&json["name"], &json["was_paused"]), (&"lines".into(), &false.into()));
    site.prints(&["resume", "lines"], "lines is not paused\n");
    let top = site.run(&["top", "--once"]).output;
    assert!(!top.contains("paused"), "{top}");
}

#[test]
fn a_pause_that_cannot_be_is_refused_with_the_reason() {
    let site = Site::start();
    let unknown = "engine: there is no sink or notifier `line`; did you mean `lines`?\n";
    site.refused(&["pause", "line"], 1, unknown);
    site.refused(&["resume", "line"], 1, unknown);
    let stream = "engine: `live` is a stream, which has no deliveries; only sinks \
                  and notifiers with deliveries of their own can be paused; there are: lines\n";
    site.refused(&["pause", "live"], 2, stream);
    let length = "engine: `for` must be a duration from 1s to 31d, such as \"30m\"\n";
    site.refused(&["pause", "lines", "--for", "1y"], 2, length);
}

#[test]
fn a_pause_needs_the_scope_of_a_reload() {
    let guarded = format!(
        "{PIPELINE}server {{ auth {{ token admin (env)\"ADMIN\" scope=\"reload\"; token viewer (env)\"VIEWER\" scope=\"read send redrive\" }} }}\n"
    );
    let site = Site::of(&guarded);
    let token = |name: &str, secret: &str| {
        let file = site.path(name);
        fs::write(&file, secret).expect("it is written");
        format!("file:{}", file.display())
    };
    let (admin, viewer) = (token("admin", "s3cret"), token("viewer", "viewer"));
    for (command, said) in
        [("pause", "lines is paused until it is resumed\n"), ("resume", "lines is resumed\n")]
    {
        let answer = site.run(&[command, "lines", "--token", &viewer]);
        assert_eq!((answer.code, &*answer.output), (2, ""));
        assert!(answer.error.contains("reload"), "{}", answer.error);
        site.prints(&[command, "lines", "--token", &admin], said);
    }
}
