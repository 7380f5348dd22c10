//! An event that was accepted first and finishes last.

use super::server::Server;
use super::stream::Stream;
use super::{assert_balance, fate, metric, pipeline, rows, until};
use crate::support::Engine;

fn file(url: &str) -> String {
    format!(
        r#"
pipeline late schema-version=1
source http front {{
    path "/events"
    map {{
        id "data.id"
    }}
}}
enrich http slow {{
    when "event.type == 'slow'"
    get "{url}"
    timeout "50s"
}}
sink sqlite store {{
    path "../data/events.db"
    retention {{
        keep "1d"
    }}
}}
sink sse live {{
    path "/live"
}}
"#
    )
}

fn post(engine: &Engine, kind: &str, seq: u64) {
    let (status, answer) = engine.post(&format!(r#"{{"id":"e-{seq}","type":"{kind}"}}"#));
    assert_eq!((status, answer["seq"].as_u64()), (202, Some(seq)), "{answer}");
}

#[test]
fn an_event_that_finishes_late_is_seen_once_by_whoever_resumes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let outside = Server::start();
    let (file, data) = (pipeline(folder.path(), &file(&outside.url)), folder.path().join("data"));
    let mut engine = Engine::start(&file, &data, &[]);
    let mut before = Stream::open(&engine.address, "/live", None);
    post(&engine, "slow", 1);
    let held = outside.next();
    post(&engine, "quick", 2);
    post(&engine, "quick", 3);
    assert_eq!(before.positions(2), [2, 3], "the slow one holds nobody up");
    drop(before);
    until("one waits", || (metric(&engine, "engine_events_pending") == 1).then_some(()));
    assert_eq!((fate(&engine, "accepted"), fate(&engine, "stored")), (3, 2));
    post(&engine, "quick", 4);
    let mut after = Stream::open(&engine.address, "/live", Some(3));
    assert_eq!(after.positions(1), [4]);
    held.answer(200, r#"{"late":true}"#);
    let slow = after.next();
    let data_of_slow = slow.data();
    assert_eq!((&data_of_slow["id"], &data_of_slow["seq"]), (&"e-1".into(), &1.into()));
    assert_eq!((slow.id, &data_of_slow["pos"]), (5, &5.into()));
    assert_eq!(data_of_slow["enrich"]["slow"]["late"], true);
    post(&engine, "quick", 6);
    assert_eq!(after.positions(1), [6]);
    assert_eq!(engine.get("/api/events/e-1")["pos"], 5);
    assert_balance(&engine, 5);

    assert_eq!(engine.stop(), 0);
    let engine = Engine::start(&file, &data, &[]);
    let mut all = Stream::open(&engine.address, "/live", Some(0));
    assert_eq!(all.positions(5), [2, 3, 4, 5, 6], "everything, out of the store");
    let mut rest = Stream::open(&engine.address, "/live?last_event_id=4", None);
    assert_eq!(rest.positions(2), [5, 6]);
    post(&engine, "quick", 7);
    assert_eq!((all.positions(1), rest.positions(1)), (vec![7], vec![7]));
    let query = "SELECT pos || ':' || seq FROM events ORDER BY pos";
    assert_eq!(rows(&data, "events.db", query), ["2:2", "3:3", "4:4", "5:1", "6:6", "7:7"]);
    assert!(!outside.was_asked(), "what it answered is kept");
}

#[test]
fn an_event_that_a_crash_cuts_off_is_finished_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let outside = Server::start();
    let (file, data) = (pipeline(folder.path(), &file(&outside.url)), folder.path().join("data"));
    let mut engine = Engine::start(&file, &data, &[]);
    post(&engine, "slow", 1);
    post(&engine, "quick", 2);
    let cut_off = outside.next();
    engine.kill();
    drop(cut_off);
    let engine = Engine::start(&file, &data, &[]);
    let mut stream = Stream::open(&engine.address, "/live", Some(0));
    assert_eq!(stream.positions(1), [2]);
    outside.next().answer(200, r#"{"late":true}"#);
    let slow = stream.next().data();
    assert_eq!((&slow["id"], &slow["seq"], &slow["pos"]), (&"e-1".into(), &1.into(), &3.into()));
    post(&engine, "quick", 4);
    assert_eq!(stream.positions(1), [4]);
    // What the inbox held at start counts as accepted.
    assert_balance(&engine, 2);
}
