//! Files that are followed by a whole engine: what each line is known by, and what health says.

use crate::support::world::World;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const PIPELINE: &str = r#"
pipeline following schema-version=1

source file log {
    path "in/*.jsonl"
    follow
    type line
    map {
        id "data.id"
        subject "file.line == 1 && file.offset == 0 ? file.path : 'later in ' + file.path"
    }
}

sink sqlite db {
    path "db.sqlite"
    retention {
        keep "30d"
    }
}
"#;

fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("in")).expect("a folder");
    World::start(folder, PIPELINE, 1).expect("it starts")
}

impl World {
    fn write_log(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("it is written");
        self.simulation.advance(Duration::from_secs(5));
    }

    /// Where each stored event was read, without the folder.
    fn subjects(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let stored = self.stored.lock().expect("no panic");
        let subject = |text: &str| text.replace(&folder, "");
        stored.iter().map(|it| subject(&it.envelope.subject)).collect()
    }

    /// Why each letter is one, and where its message was read.
    fn letters_of_files(&self) -> Vec<(String, Value)> {
        let (_, page) = self.request("GET /api/dead-letters HTTP/1.1", "");
        let letters = page["dead_letters"].as_array().expect("a list");
        let folder = format!("{}/", self.folder.path().display());
        let file = |value: &Value| {
            let mut file = value["context"]["file"].clone();
            let path = file["path"].as_str().expect("a path").replace(&folder, "");
            file["path"] = path.into();
            let reason = value["reason"].as_str().expect("a reason");
            (reason.split_inclusive(':').next().unwrap_or("").to_owned(), file)
        };
        letters.iter().rev().map(file).collect()
    }
}

#[test]
fn an_event_and_a_letter_know_file_line_and_byte() {
    let world = world();
    let long = "x".repeat(2 << 20);
    let lines =
        ["{\"id\":\"a\"}", "nonsense", "", "{\"id\":\"a\",\"x\":1}", &long, "{\"id\":\"b\"}"];
    let text = lines.join("\n").into_bytes();
    let last = text.len() - lines[5].len();
    world.write_log("in/a.jsonl", [text, b"\n\xff\xfe\n".to_vec()].concat());
    assert_eq!(world.subjects(), ["in/a.jsonl", "later in in/a.jsonl"]);
    let at =
        |line: u64, offset: usize| json!({ "path": "in/a.jsonl", "line": line, "offset": offset });
    let letters = world.letters_of_files();
    let places: Vec<&Value> = letters.iter().map(|letter| &letter.1).collect();
    let end = last + lines[5].len() + 1;
    assert_eq!(places, [&at(2, 11), &at(4, 21), &at(5, 38), &at(7, end)], "{letters:?}");
    assert!(letters[0].0.starts_with("not JSON:"), "{letters:?}");
    assert!(letters[1].0.starts_with("its id `a`"), "{letters:?}");
    world.close();
}

#[test]
fn a_line_that_is_redriven_still_knows_its_place() {
    let world = world();
    world.write_log("in/a.jsonl", "{\"id\":\"a\"}\n{\"id\":\"a\",\"x\":1}\n");
    assert_eq!(world.letters_of_files().len(), 1);
    world.reload(&PIPELINE.replace("id \"data.id\"", "id \"file.line == 2 ? 'second' : data.id\""));
    let redrive = "POST /api/dead-letters/redrive HTTP/1.1";
    let (status, body) = world.request(redrive, "{\"id\":1}");
    assert_eq!((status, &body["taken"]), (200, &json!(true)), "{body}");
    world.simulation.advance(Duration::from_secs(1));
    assert_eq!(world.subjects(), ["in/a.jsonl", "later in in/a.jsonl"]);
    world.close();
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_named_until_it_can_and_stops_no_other() {
    let mut world = world();
    let loop_of_links = world.path("in/b.jsonl");
    std::os::unix::fs::symlink("b.jsonl", &loop_of_links).expect("a link");
    world.write_log("in/c.jsonl", "{\"id\":\"c\"}\n");
    assert_eq!(world.subjects(), ["in/c.jsonl"]);
    let changes = world.health_changes().join("\n");
    assert!(changes.contains("source log is degraded: cannot read"), "{changes}");
    assert!(changes.contains("in/b.jsonl"), "{changes}");
    fs::remove_file(&loop_of_links).expect("it goes");
    world.write_log("in/b.jsonl", "{\"id\":\"b\"}\n");
    assert_eq!(world.subjects(), ["in/c.jsonl", "in/b.jsonl"]);
    assert_eq!(world.health_changes(), ["source log is ok"]);
    world.close();
}
