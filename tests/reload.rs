//! A file that changes while events come in.

use crate::support::load::{self, Load, Streamed, edit, edited};
use crate::support::{Engine, PATIENCE, until};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tempfile::TempDir;

/// Where a stage can be put in.
const BEFORE: &str = "// ── Where it goes";
const STAGE: &str = "enrich set marker {\n    set \"era\" \"second\"\n}\n\n// ── Where it goes";

/// An engine on files of its own, two clients that post, and one that follows the stream.
struct World {
    folder: TempDir,
    engine: Engine,
    load: Load,
    streamed: mpsc::Receiver<Streamed>,
    /// What the test posted itself and had acknowledged.
    probes: Vec<String>,
}

impl World {
    fn start(more: &[&str]) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let file = load::doorbell(folder.path());
        let engine = Engine::start(&file, &folder.path().join("data"), more);
        let streamed = load::follow(&engine);
        let load = Load::start(2, fastrand::u64(..));
        load.point_at(&engine);
        World { folder, engine, load, streamed, probes: Vec::new() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pipelines/doorbell.kdl")
    }

    fn schema(&self) -> PathBuf {
        self.folder.path().join("schemas/doorbell.json")
    }

    /// Posts a press on a channel; the status.
    fn press(&mut self, channel: u8) -> u16 {
        let id = format!("probe-{}", self.probes.len() + 1);
        let event = format!(
            r#"{{"event_id":"{id}","event_type":"DOORBELL_PRESSED","source":"probe","data":{{"channel":{channel}}}}}"#
        );
        let (status, answer) = self.engine.post(&event);
        if status == 202 {
            self.probes.push(id);
        } else {
            assert_eq!((status, &answer["errors"][0]["instance"]), (422, &"/data/channel".into()));
        }
        status
    }

    /// Waits until this generation runs and the file on disk is what runs.
    fn wait_for_generation(&self, number: u64) {
        until(&format!("generation {number} runs"), || {
            let shown = self.engine.get("/api/pipeline");
            shown["generation"] == number && shown["config"] == "current"
        });
    }

    /// The file on disk is refused, at this place, and generation 1 goes on.
    fn assert_stale(&mut self, place: &str) {
        self.engine.wait_for(place);
        for path in ["/readyz", "/api/pipeline"] {
            let (status, body) = self.engine.ask("GET", path, b"");
            let shown: Value = serde_json::from_slice(&body).expect("it is JSON");
            assert_eq!(status, 200, "{path}");
            assert_eq!(shown["config"], "stale", "{path}");
            assert_eq!(shown["generation"], 1, "{path}");
            let found = shown["diagnostics"].as_str().expect("findings");
            assert!(found.contains(place), "{path} says {found}");
        }
        assert_eq!(self.press(18), 202);
    }

    /// The file on disk is what runs again.
    fn assert_current(&mut self) {
        self.engine.wait_for("config recovered");
        let ready = self.engine.get("/readyz");
        assert_eq!((&ready["config"], &ready["diagnostics"]), (&"current".into(), &Value::Null));
        assert_eq!(self.engine.get("/api/pipeline")["config"], "current");
        assert_eq!(self.press(18), 202);
    }

    /// Ends the load and the engine. Nothing was lost or doubled; the stream that was opened
    /// before the first event has told all of them, once and in order; each has one generation.
    fn end(self) -> Connection {
        let World { folder, mut engine, load, streamed, probes } = self;
        let ledger = load.end();
        assert_eq!(ledger.unknown, 0, "a reload breaks no connection");
        assert!(!ledger.sent.is_empty(), "there was load");
        load::settle(&engine);
        let (mut told, mut last) = (BTreeMap::new(), 0);
        while told.len() < ledger.sent.len() + probes.len() {
            let it = streamed.recv_timeout(PATIENCE).expect("the stream goes on");
            assert!(last < it.pos, "{} came after {last}", it.pos);
            last = it.pos;
            let id = it.event["id"].as_str().expect("an id").to_owned();
            let generation = it.event["generation"].as_u64().expect("a number");
            assert_eq!(told.insert(id, generation), None, "told twice: {}", it.event);
        }
        assert_eq!(engine.stop(), 0);
        assert!(streamed.recv_timeout(PATIENCE).is_err(), "the stream told more than was sent");
        let store = load::open(&folder.path().join("data"));
        let generations = load::rows(&store, "SELECT id, generation FROM events");
        let told: Vec<_> = told.into_iter().map(|(id, it)| (id, it.to_string())).collect();
        let stored: BTreeMap<_, _> = generations.into_iter().collect();
        assert_eq!(told, stored.into_iter().collect::<Vec<_>>(), "stored and told differ");
        load::check(&store, &ledger.sent, &probes);
        store
    }
}

/// Each event is whole of one generation: those before `first` lack what it added, the others
/// have it; and there are some of both.
fn assert_era(store: &Connection, first: u64) {
    let count = |condition: &str| {
        load::number(store, &format!("SELECT count(*) FROM events WHERE {condition}"))
    };
    let era = "enrich ->> '$.era'";
    assert_eq!(count(&format!("generation < {first} AND {era} IS NOT NULL")), 0);
    assert_eq!(count(&format!("generation >= {first} AND {era} IS NOT 'second'")), 0);
    assert!(0 < count(&format!("generation < {first}")));
    assert!(0 < count(&format!("generation >= {first}")));
}

/// The history, oldest first.
fn history(store: &Connection) -> Vec<(String, String)> {
    load::rows(store, "SELECT generation, outcome FROM reloads ORDER BY id")
}

fn words(of: &[(u64, &str)]) -> Vec<(String, String)> {
    of.iter().map(|it| (it.0.to_string(), it.1.to_owned())).collect()
}

/// `FILE:LINE:` of the first line with `text`.
fn place(file: &Path, text: &str) -> String {
    let whole = std::fs::read_to_string(file).expect("it can be read");
    let line = whole.lines().position(|line| line.contains(text)).expect("it stands there") + 1;
    format!("{}:{line}:", file.file_name().expect("a name").display())
}

#[test]
fn a_stage_that_is_added_under_load_marks_every_event_of_the_new_generation() {
    let mut world = World::start(&[]);
    assert_eq!(world.press(18), 202);
    edit(&world.file(), BEFORE, STAGE);
    assert!(world.engine.wait_for("reloaded").contains("opened enrich marker"));
    world.wait_for_generation(2);
    assert_eq!(world.press(18), 202);
    until("the second press is stored", || {
        let press = world.engine.get("/api/events/probe-2?source=probe");
        press["generation"] == 2 && press["enrich"]["era"] == "second"
    });
    let reloads = world.engine.get("/api/reloads");
    assert_eq!(reloads["reloads"][0]["changes"], "opened enrich marker");
    let store = world.end();
    assert_era(&store, 2);
    assert_eq!(history(&store), words(&[(1, "start"), (2, "loaded")]));
}

#[test]
fn a_schema_that_changes_under_load_decides_from_then_on() {
    let mut world = World::start(&[]);
    assert_eq!(world.press(18), 202);
    edit(&world.schema(), "\"maximum\": 40", "\"maximum\": 17");
    world.engine.wait_for("reloaded");
    assert_eq!(world.press(18), 422);
    assert_eq!(world.press(17), 202);
    // What was refused may come again with the same id once it is right.
    edit(&world.schema(), "\"maximum\": 17", "\"maximum\": 18");
    world.engine.wait_for("reloaded");
    world.wait_for_generation(3);
    assert_eq!(world.press(18), 202);
    assert_eq!(world.press(19), 422);
    let store = world.end();
    assert_eq!(history(&store), words(&[(1, "start"), (2, "loaded"), (3, "loaded")]));
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_says_where_they_are() {
    let mut world = World::start(&[]);
    let good = std::fs::read(world.file()).expect("it can be read");
    // A word that is no word.
    let slip = edited(&world.file(), "    queue 4096", "    queu 4096");
    std::fs::write(world.file(), &slip).expect("it can be written");
    world.assert_stale(&place(&world.file(), "queu 4096"));
    std::fs::write(world.file(), &good).expect("it can be written");
    world.assert_current();
    // Half a file.
    std::fs::write(world.file(), "pipeline doorbell {\n    ))) \"\n").expect("it can be written");
    world.assert_stale(&place(&world.file(), ")))"));
    std::fs::write(world.file(), &good).expect("it can be written");
    world.assert_current();
    // A schema that is none.
    let schema = std::fs::read(world.schema()).expect("it can be read");
    std::fs::write(world.schema(), "{\n  \"type\": \"object\",\n  oops\n}").expect("written");
    world.assert_stale("doorbell.json");
    std::fs::write(world.schema(), &schema).expect("it can be written");
    world.assert_current();
    let store = world.end();
    let refused = (1, "refused");
    assert_eq!(history(&store), words(&[(1, "start"), refused, refused, refused]));
    let told = load::number(&store, "SELECT count(diagnostics) FROM reloads");
    assert_eq!(told, 3, "the history says why");
}

#[test]
fn a_file_that_an_editor_replaces_or_takes_away_for_a_moment_is_followed() {
    let mut world = World::start(&[]);
    // Written beside it and renamed over it.
    let beside = world.file().with_extension("kdl~");
    std::fs::write(&beside, edited(&world.file(), BEFORE, STAGE)).expect("it can be written");
    std::fs::rename(&beside, world.file()).expect("it can be renamed");
    world.engine.wait_for("reloaded");
    world.wait_for_generation(2);
    assert_eq!(world.press(18), 202);
    // The new file is followed as the old one was, also once it was away.
    std::fs::rename(world.file(), &beside).expect("it can be renamed");
    world.engine.wait_for("cannot be read");
    let ready = world.engine.get("/readyz");
    assert_eq!((&ready["config"], &ready["generation"]), (&"stale".into(), &2.into()));
    assert_eq!(world.press(18), 202);
    std::fs::rename(&beside, world.file()).expect("it can be renamed");
    world.engine.wait_for("config recovered");
    edit(&world.file(), "Someone rings the bell", "Ding dong");
    assert!(world.engine.wait_for("reloaded").contains("replaced enrich summary (set)"));
    world.wait_for_generation(3);
    assert_eq!(world.press(18), 202);
    until("the third press is stored", || {
        world.engine.get("/api/events/probe-3?source=probe")["enrich"]["title"] == "Ding dong"
    });
    let store = world.end();
    assert_era(&store, 2);
    let expected = [(1, "start"), (2, "loaded"), (2, "refused"), (3, "loaded")];
    assert_eq!(history(&store), words(&expected));
}

#[test]
fn sighup_takes_a_file_that_is_not_watched() {
    let mut world = World::start(&["--watch", "off"]);
    edit(&world.file(), BEFORE, STAGE);
    assert_eq!(world.press(18), 202);
    assert_eq!(world.engine.get("/api/pipeline")["generation"], 1);
    world.engine.signal(Signal::SIGHUP);
    world.engine.wait_for("reloaded");
    world.wait_for_generation(2);
    assert_eq!(world.press(18), 202);
    let store = world.end();
    assert_era(&store, 2);
    assert_eq!(history(&store), words(&[(1, "start"), (2, "loaded")]));
}

#[test]
fn what_a_running_engine_cannot_change_is_refused_with_what_to_do() {
    let mut world = World::start(&[]);
    edit(&world.file(), "path \"../data/events.db\"", "path \"../data/other.db\"");
    world.assert_stale(
        "the store's name, path, batch or synchronous changes; restart the engine to apply this",
    );
    edit(&world.file(), "path \"../data/other.db\"", "path \"../data/events.db\"");
    world.assert_current();
    let store = world.end();
    assert_eq!(history(&store), words(&[(1, "start"), (1, "refused")]));
}

#[test]
fn an_included_file_is_followed_and_one_that_comes_later_too() {
    let mut world = World::start(&[]);
    let main = std::fs::read_to_string(world.file()).expect("it reads");
    let include = format!("{main}\ninclude \"more/*.kdl\" optional=#true\n");
    std::fs::create_dir(world.folder.path().join("pipelines/more")).expect("a folder");
    std::fs::write(world.file(), include).expect("it writes");
    world.wait_for_generation(2);
    let more = world.folder.path().join("pipelines/more/marker.kdl");
    std::fs::write(&more, "enrich set marker { set \"era\" \"second\" }").expect("it writes");
    world.wait_for_generation(3);
    std::fs::write(&more, "enrich set marker { set \"era\" \"third\" }").expect("it writes");
    world.wait_for_generation(4);
    assert_eq!(world.press(18), 202);
    let last = world.probes.last().expect("one was posted").clone();
    let store = world.end();
    let query = format!("SELECT id, json_extract(enrich, '$.era') FROM events WHERE id = '{last}'");
    assert_eq!(load::rows(&store, &query), [(last, "third".to_owned())]);
}
