//! Deliveries that are handed over many at once, by the real binary: what a batch of a file sink
//! leaves in its files and in the store.

use crate::support::{engine, load};
use serde_json::{Value, json};
use std::path::Path;

const PIPELINE: &str = r#"
pipeline batches schema-version=1
server { listen "127.0.0.1:0" }
source stdin numbers { map { type "'number'"; id "data.id" } }
sink sqlite journal { path "data/events.db"; retention { keep "1d" } }
sink file copy { path "out/{{ data.to }}.jsonl"; retry 0 }
"#;

/// What a run leaves of messages, each with the name of the file that it goes to.
fn run(folder: &Path, messages: &[(usize, &str)]) -> String {
    std::fs::write(folder.join("a.kdl"), PIPELINE).expect("it writes");
    let line = |it: &(usize, &str)| json!({ "id": it.0.to_string(), "n": it.0, "to": it.1 });
    let input: String = messages.iter().map(|message| line(message).to_string() + "\n").collect();
    let answer = engine(folder, &["run", "a.kdl", "--once"], &input);
    assert_eq!(answer.code, 0, "{}", answer.error);
    answer.error
}

fn numbers(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).expect("it reads");
    let number = |text: &str| serde_json::from_str::<Value>(text).ok()?["data"]["n"].as_u64();
    text.lines().map(|line| number(line).expect("a whole line")).collect()
}

#[test]
fn many_events_are_in_the_file_in_the_order_of_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let messages: Vec<(usize, &str)> = (0..3000).map(|it| (it, "all")).collect();
    run(folder.path(), &messages);
    let expected: Vec<u64> = (0..3000).collect();
    assert_eq!(numbers(&folder.path().join("out/all.jsonl")), expected);
    let store = load::open(&folder.path().join("data"));
    let left = "SELECT count(*) FROM deliveries WHERE state <> 'done'";
    assert_eq!(load::number(&store, left), 0, "every delivery is settled");
}

#[test]
fn of_a_batch_only_what_failed_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("out/bad.jsonl")).expect("it is made");
    let to = |number: usize| if number % 7 == 3 { "bad" } else { ["a", "b"][number % 2] };
    let messages: Vec<(usize, &str)> = (0..500).map(|it| (it, to(it))).collect();
    run(folder.path(), &messages);
    for (name, rest) in [("a", 0), ("b", 1)] {
        let expected = (0..500).filter(|it| it % 7 != 3 && it % 2 == rest);
        let expected: Vec<u64> = expected.collect();
        assert_eq!(numbers(&folder.path().join(format!("out/{name}.jsonl"))), expected);
    }
    let store = load::open(&folder.path().join("data"));
    let dead = "SELECT count(*) FROM dead_letters WHERE what = 'delivery' AND class = 'transient'";
    assert_eq!(load::number(&store, dead), (0..500).filter(|it| it % 7 == 3).count() as u64);
}
