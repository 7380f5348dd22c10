//! What the file does not say is stored is not on the disk.

use crate::support::Engine;
use std::fs;
use std::path::{Path, PathBuf};

/// Stands for what must not be kept.
const SECRET: &str = "passport-X2-4711";

fn pipeline(store: &str, stage: &str, message: &str) -> String {
    format!(
        r#"
pipeline privacy schema-version=1
source http front {{
    path "/events"
    map {{ id "data.id"; type "'visit'"; data "{{ 'page': data.page }}" }}
}}
{stage}
route {{
    case passing when="data.page == '/elsewhere'" {{ to hook }}
    otherwise {{ to db }}
}}
sink sqlite db {{ path "../data/db.db"; {store}retention {{ keep "30d" }} }}
notify webhook hook {{ url "http://127.0.0.1:9/"; message "{message}" }}
"#
    )
}

struct Site {
    folder: tempfile::TempDir,
    engine: Engine,
}

fn file(folder: &Path) -> PathBuf {
    folder.join("pipelines/p.kdl")
}

fn start(text: &str) -> Site {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    fs::write(file(folder.path()), text).expect("it is written");
    let engine = Engine::start(&file(folder.path()), &folder.path().join("data"), &[]);
    Site { folder, engine }
}

impl Site {
    fn post(&self, id: &str, page: &str, secret: &str) -> u16 {
        self.engine.post(&format!(r#"{{"id":"{id}","page":"{page}","passport":"{secret}"}}"#)).0
    }

    /// Kills it and starts it again.
    fn crash(self) -> Site {
        let Site { folder, engine } = self;
        drop(engine);
        let engine = Engine::start(&file(folder.path()), &folder.path().join("data"), &[]);
        Site { folder, engine }
    }

    /// Whether the secret is anywhere in the files of the store.
    fn is_on_disk(&self) -> bool {
        let files = fs::read_dir(self.folder.path().join("data")).expect("a folder");
        files.into_iter().any(|file| {
            let bytes = fs::read(file.expect("an entry").path()).expect("it is read");
            bytes.windows(SECRET.len()).any(|pair| pair == SECRET.as_bytes())
        })
    }

    fn rows(&self, sql: &str) -> Vec<String> {
        let path = self.folder.path().join("data/db.db");
        let connection = rusqlite::Connection::open(path).expect("it opens");
        let mut statement = connection.prepare(sql).expect("it is right");
        let rows = statement.query_map([], |row| row.get(0)).expect("it runs");
        rows.map(|row| row.expect("a row")).collect()
    }
}

#[test]
fn what_map_leaves_out_is_never_written_and_tells_repetitions_apart_all_the_same() {
    let site = start(&pipeline("", "", "{{ data.page }}"));
    assert_eq!(site.post("1", "/a", SECRET), 202);
    assert_eq!(site.post("2", "/elsewhere", SECRET), 202);
    let body = r#"{"page":"/a"}"#;
    let sql = "SELECT data || ' ' || CAST(body AS TEXT) FROM events";
    assert_eq!(site.rows(sql), [format!("{body} {body}")], "and only what goes to the store");
    assert!(!site.is_on_disk());
    let site = site.crash();
    assert_eq!(site.post("1", "/a", SECRET), 200, "the same message");
    assert_eq!(site.post("1", "/a", "another"), 409, "another message");
    assert_eq!(site.post("2", "/elsewhere", SECRET), 200);
    assert!(!site.is_on_disk());
}

#[test]
fn what_waits_for_a_stage_does_not_have_it_either_and_goes_on_after_a_crash() {
    let stage = "enrich http late { get \"http://127.0.0.1:9/\"; \
                 retry 200 { backoff constant base=\"10s\" jitter=none } }";
    let limits = "limits { event-timeout \"1h\" }\n";
    let site = start(&(pipeline("", stage, "{{ data.page }}") + limits));
    assert_eq!(site.post("1", "/a", SECRET), 202);
    assert_eq!(site.rows("SELECT CAST(body AS TEXT) FROM inbox"), [r#"{"page":"/a"}"#]);
    let site = site.crash();
    assert_eq!(site.post("1", "/a", SECRET), 200);
    assert_eq!(site.post("1", "/a", "another"), 409);
    assert!(!site.is_on_disk());
}

#[test]
fn a_file_may_keep_the_message_by_saying_so_or_by_reading_it_later() {
    for (store, message) in [("store raw; ", "{{ data.page }}"), ("", "{{ raw.passport }}")] {
        let site = start(&pipeline(store, "", message));
        assert_eq!(site.post("1", "/a", SECRET), 202);
        let bodies = site.rows("SELECT CAST(body AS TEXT) FROM events");
        assert!(bodies[0].contains(SECRET), "{bodies:?}");
        assert_eq!(site.rows("SELECT data FROM events"), [r#"{"page":"/a"}"#]);
    }
}

#[test]
fn words_that_only_look_like_a_reader_keep_nothing() {
    let stage = "// raw\nenrich set note { set \"raw\" \"{{ data.page }}\" }";
    let site = start(&pipeline("", stage, "raw {{ enrich.raw }}"));
    assert_eq!(site.post("1", "/a", SECRET), 202);
    assert!(!site.is_on_disk());
}
