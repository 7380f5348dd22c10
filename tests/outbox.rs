//! What a target that does not answer may take: its backlog, and nothing of the others.

use crate::support::Engine;
use std::fs;

/// A pipeline whose webhook goes where nobody listens.
fn pipeline(limits: &str, hook: &str) -> String {
    format!(
        r#"
pipeline outbox schema-version=1
{limits}
source http front {{ path "/events"; map {{ id "data.id" }} }}
route mode=all {{
    case hooked when="event.type == 'a'" {{ to hook db }}
    case noted when="event.type == 'b'" {{ to noted }}
    otherwise {{ to db }}
}}
sink sqlite db {{ path "../data/db.db"; retention {{ keep "1d" }} }}
sink file noted {{ path "../data/noted.jsonl" }}
notify webhook hook {{ url "http://127.0.0.1:9/"; {hook} }}
"#
    )
}

fn start(limits: &str, hook: &str) -> (tempfile::TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pipelines/p.kdl");
    fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    fs::write(&file, pipeline(limits, hook)).expect("it is written");
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    (folder, engine)
}

fn post(engine: &Engine, kind: &str, id: &str) -> (u16, String) {
    let (status, body) = engine.post(&format!(r#"{{"type":"{kind}","id":"{id}"}}"#));
    (status, body["detail"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_full_backlog_turns_away_what_goes_there_and_says_which_setting() {
    let (_folder, engine) = start("", "backlog 2");
    assert_eq!(post(&engine, "a", "1").0, 202);
    assert_eq!(post(&engine, "a", "2").0, 202);
    let reason = "outbox: `hook` has no room: its `backlog` (2) is full";
    assert_eq!(post(&engine, "a", "3"), (503, reason.to_owned()));
    assert_eq!(post(&engine, "a", "1").0, 200, "it came before");
    assert_eq!(post(&engine, "b", "4").0, 202, "another target has room");
    assert_eq!(post(&engine, "c", "5").0, 202, "the store has room");
    engine.wait_for("outbox-full");
}

#[test]
fn a_target_without_a_backlog_of_its_own_takes_at_most_its_part_of_the_outbox() {
    let (_folder, engine) = start("limits { outbox 4 }", "");
    let answers: Vec<u16> = (0..5).map(|it| post(&engine, "a", &it.to_string()).0).collect();
    assert_eq!(answers, [202, 202, 202, 503, 503]);
    let reason = "outbox: `hook` has no room: `outbox` of `limits` (4) is full, 3 wait for `hook`";
    assert_eq!(post(&engine, "a", "5"), (503, reason.to_owned()));
    assert_eq!(post(&engine, "b", "6").0, 202);
}

#[test]
fn a_target_may_lose_its_oldest_instead_and_shows_what_became_of_them() {
    let (_folder, engine) = start("", "backlog 1 on-full=drop-oldest");
    for id in ["1", "2", "3"] {
        assert_eq!(post(&engine, "a", id).0, 202);
    }
    let state = |id: &str| {
        let event = engine.get(&format!("/api/events/{id}"));
        event["deliveries"][0]["state"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(["1", "2", "3"].map(state), ["suppressed", "suppressed", "pending"]);
    let (_, metrics) = engine.ask("GET", "/metrics", b"");
    let metrics = String::from_utf8(metrics).expect("it is text");
    let line = r#"engine_notifications_suppressed_total{sink="hook",reason="backlog"} 2"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(
        metrics.contains("engine_outbox_deliveries{sink=\"hook\",state=\"pending\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_backlog_where_nothing_waits_is_a_mistake() {
    let text = pipeline("", "").replace("sink file noted {", "sink sse noted { backlog 2;");
    let text = text.replace("../data/noted.jsonl", "/live");
    let found = crate::check::complaints("p.kdl", &text, &crate::support::Bare);
    assert!(found.contains("`backlog` has no effect on this sink"), "{found}");
}
