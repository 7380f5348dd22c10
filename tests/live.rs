//! What goes in and what comes out of a running engine, as rows, bytes and answers.

mod batch;
mod browsers;
mod door;
mod doorbell;
mod forms;
mod health;
mod late;
mod outside;
mod refused;
mod secrets;
mod server;
mod signed;
mod stream;
mod tls;

use crate::support::{Engine, root};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Requests after which a wait is given up.
const TRIES: usize = 20_000;

/// Asks until the answer fits.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    (0..TRIES).find_map(|_| ask()).unwrap_or_else(|| panic!("never: {what}"))
}

/// A sample as it is sent.
fn sample(name: &str) -> String {
    let path = root().join("tests/samples").join(name).with_extension("json");
    std::fs::read_to_string(path).expect("the sample is there")
}

/// The pipeline of the front door, with its data in `data`.
fn doorbell(data: &Path) -> Engine {
    Engine::start(&root().join("pipelines/doorbell.kdl"), data, &[])
}

/// Writes a pipeline to a folder of its own.
fn pipeline(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("pipelines/small.kdl");
    std::fs::create_dir_all(folder.join("pipelines")).expect("the folder can be made");
    std::fs::write(&path, text).expect("the file can be written");
    path
}

/// The value of a sample in `/metrics`, such as `engine_events_pending`.
fn metric(engine: &Engine, name: &str) -> u64 {
    let (status, body) = engine.ask("GET", "/metrics", b"");
    assert_eq!(status, 200);
    let text = String::from_utf8(body).expect("it is text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{text}"))
}

fn fate(engine: &Engine, outcome: &str) -> u64 {
    metric(engine, &format!("engine_events_total{{outcome=\"{outcome}\"}}"))
}

/// Every event that was accepted is somewhere.
fn assert_balance(engine: &Engine, accepted: u64) {
    until("nothing is pending", || (metric(engine, "engine_events_pending") == 0).then_some(()));
    assert_eq!(fate(engine, "accepted"), accepted);
    let ends = ["stored", "dead", "discarded"].map(|it| fate(engine, it));
    assert_eq!(ends.iter().sum::<u64>(), accepted, "stored, dead, discarded: {ends:?}");
}

/// The event once every one of its deliveries is in `state`.
fn delivered(engine: &Engine, id: &str, state: &str) -> Value {
    until(&format!("{id} is {state}"), || {
        let event = engine.get(&format!("/api/events/{id}"));
        let deliveries = event["deliveries"].as_array()?;
        let is_settled = |value: &Value| value["state"] == state;
        (!deliveries.is_empty() && deliveries.iter().all(is_settled)).then(|| event.clone())
    })
}

/// Deliveries without the times of their attempts.
fn timeless(deliveries: &Value) -> Value {
    let mut deliveries = deliveries.clone();
    for delivery in deliveries.as_array_mut().expect("a list") {
        for attempt in delivery["attempt_log"].as_array_mut().into_iter().flatten() {
            let attempt = attempt.as_object_mut().expect("an object");
            for time in ["began", "micros", "wait_micros"] {
                assert!(attempt.remove(time).is_some(), "it has {time}");
            }
        }
    }
    deliveries
}

/// The rows that a program reading the store gets, each as a line.
fn rows(data: &Path, file: &str, query: &str) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = rusqlite::Connection::open_with_flags(data.join(file), flags);
    let store = store.expect("the store can be read");
    let mut statement = store.prepare(query).expect("the query is right");
    let columns = statement.column_count();
    let line = |row: &rusqlite::Row<'_>| {
        let cells = (0..columns).map(|it| Ok(cell(row.get_ref(it)?)));
        Ok(cells.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    };
    let rows = statement.query_map([], line).expect("it runs");
    rows.collect::<rusqlite::Result<_>>().expect("every row can be read")
}

fn cell(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(it) => it.to_string(),
        ValueRef::Real(it) => it.to_string(),
        ValueRef::Text(it) | ValueRef::Blob(it) => String::from_utf8_lossy(it).into_owned(),
    }
}
