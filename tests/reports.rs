//! Mistakes that users of other engines reported, each kind tried on the real binary from outside.

mod editing;
mod github;
mod lines;
mod rewiring;
mod secrets;
mod tables;
mod targets;

use crate::support::{Engine, until};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A folder with a pipeline and what lies around it.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        Site { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("pipelines/small.kdl")
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a file, with its folders.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        std::fs::write(path, content).expect("it can be written");
    }

    fn start(&self, text: &str) -> Engine {
        self.write("pipelines/small.kdl", text);
        Engine::start(&self.file(), &self.data(), &[])
    }
}

/// A pipeline that takes events at `/events` and stores them, with more nodes.
fn pipeline(more: &str) -> String {
    format!(
        "pipeline small schema-version=1\n\
         source http front {{ path \"/events\" }}\n\
         sink sqlite store {{ path \"../data/events.db\"; retention {{ keep \"1d\" }} }}\n{more}\n"
    )
}

/// Posts an event and waits until it is stored: the event.
fn stored(engine: &Engine, event: &str) -> Value {
    let (status, answer) = engine.post(event);
    assert_eq!(status, 202, "{answer}");
    let path = format!("/api/events/{}", answer["id"].as_str().expect("an id"));
    let mut found = Value::Null;
    until("the event is stored", || {
        found = engine.get(&path);
        found["pos"].is_u64()
    });
    found
}

/// Posts events until what is added to one has each of these texts.
fn until_added(engine: &Engine, texts: &[&str]) {
    until(&format!("{texts:?} is added"), || {
        let added = stored(engine, r#"{"type":"t","who":"a"}"#)["enrich"].to_string();
        texts.iter().all(|text| added.contains(text))
    });
}

/// Waits until the file on the disk is not what runs. The log summarises what is refused again.
fn until_stale(engine: &Engine) {
    until("the file is refused", || engine.get("/readyz")["config"] == "stale");
}

/// The data of all stored events, in their order, once there are so many.
fn data_of(data: &Path, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    until(&format!("{count} events are stored"), || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let store = rusqlite::Connection::open_with_flags(data.join("events.db"), flags);
        let store = store.expect("the store can be read");
        let mut query = store.prepare("SELECT body FROM events ORDER BY pos").expect("a query");
        let bodies = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("it runs");
        let value = |body: Vec<u8>| serde_json::from_slice(&body).expect("it is JSON");
        found = bodies.map(|body| value(body.expect("a row"))).collect();
        count <= found.len()
    });
    found
}
