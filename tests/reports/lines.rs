//! Files that are followed while odd things lie beside them or stand in them.

use super::{Site, data_of};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

const FOLLOW: &str = r#"
pipeline small schema-version=1
source file lines { path "../logs/*.log"; follow; type line }
sink sqlite store { path "../data/events.db"; retention { keep "1d" } }
"#;

fn numbers(site: &Site, count: usize) -> Vec<u64> {
    let number = |event: serde_json::Value| event["n"].as_u64().expect("a number");
    data_of(&site.data(), count).into_iter().map(number).collect()
}

#[test]
fn what_is_no_file_in_the_pattern_holds_up_none_that_is() {
    let site = Site::new();
    site.write("logs/a.log", "{\"n\":1}\n");
    site.write("logs/folder.log/inside", "no line\n");
    symlink("nowhere", site.path("logs/broken.log")).expect("a link");
    symlink("loop.log", site.path("logs/loop.log")).expect("a link");
    let made = Command::new("mkfifo").arg(site.path("logs/fifo.log")).status();
    assert!(made.expect("it runs").success(), "a pipe");
    let mut engine = site.start(FOLLOW);
    assert_eq!(numbers(&site, 1), [1]);
    site.write("logs/z.log", "{\"n\":2}\n");
    assert_eq!(numbers(&site, 2), [1, 2]);
    assert_eq!(engine.stop(), 0);
}

#[test]
fn a_line_is_one_event_however_it_is_written_and_over_a_restart() {
    let site = Site::new();
    site.write("logs/a.log", "");
    let mut log = File::options().append(true).open(site.path("logs/a.log")).expect("it opens");
    let mut write = |text: &str| log.write_all(text.as_bytes()).expect("it is written");
    let mut engine = site.start(FOLLOW);
    write("{\"n\":");
    write("1}\r\n\r\n  \n{\"n\":2}\n{\"n\":");
    assert_eq!(numbers(&site, 2), [1, 2]);
    assert_eq!(engine.stop(), 0);
    let mut engine = site.start(FOLLOW);
    write("3,\"long\":\"");
    write(&"x".repeat(200_000));
    write("\"}\n{\"n\":4}\n");
    assert_eq!(numbers(&site, 4), [1, 2, 3, 4]);
    assert_eq!(engine.get("/api/dead-letters")["dead_letters"], json!([]));
    assert_eq!(engine.stop(), 0);
}
