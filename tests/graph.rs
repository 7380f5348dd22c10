//! What `engine graph` draws: the shipped pipelines and a hostile file, beside exactly what each
//! format makes of them in `tests/graph/`.
//!
//! `UPDATE_CASES=1 cargo test` writes the drawings anew.

use crate::support::{Engine, engine, root};
use serde_json::Value;
use std::path::Path;

/// Each format with the ending of its drawings.
const FORMATS: &[(&str, &str)] =
    &[("ascii", "txt"), ("mermaid", "mmd"), ("dot", "dot"), ("svg", "svg"), ("json", "json")];

const FILES: &[&str] = &[
    "pipelines/doorbell.kdl",
    "pipelines/ci-alerts.kdl",
    "pipelines/frigate.kdl",
    "pipelines/quiet-camera.kdl",
    "tests/graph/hostile.kdl",
];

fn drawn(file: &str, format: &str) -> String {
    let answer = engine(&root(), &["graph", file, "--format", format], "");
    assert_eq!((answer.code, answer.error.as_str()), (0, ""), "{file} as {format}");
    answer.output
}

#[test]
fn every_format_draws_exactly_this() {
    let mut wrong = Vec::new();
    for file in FILES {
        for (format, ending) in FORMATS {
            let drawn = drawn(file, format);
            let name = Path::new(file).with_extension(ending);
            let name = name.file_name().expect("a name");
            let expected = root().join("tests/graph").join(name);
            if std::env::var_os("UPDATE_CASES").is_some() {
                std::fs::write(&expected, &drawn).expect("it writes");
            }
            if std::fs::read_to_string(&expected).ok().as_ref() != Some(&drawn) {
                wrong.push(format!("{}:\n{drawn}", expected.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_text_of_a_file_becomes_a_part_of_the_drawing() {
    for (format, _) in FORMATS {
        let drawn = drawn("tests/graph/hostile.kdl", format);
        let moves = |letter: char| {
            (letter.is_control() && letter != '\n') || ('\u{202a}'..='\u{202e}').contains(&letter)
        };
        assert!(!drawn.contains(moves) || *format == "json", "{format} moves the cursor:\n{drawn}");
    }
    let svg = drawn("tests/graph/hostile.kdl", "svg");
    for tag in svg.split('<').skip(1).map(|part| part.split([' ', '>']).next().unwrap_or_default())
    {
        let own = ["svg", "title", "desc", "style", "defs", "marker", "path", "g", "rect", "text"];
        assert!(own.contains(&tag.trim_start_matches('/')), "the picture has a <{tag}>");
    }
    for entity in svg.split('&').skip(1).map(|part| part.split(';').next().unwrap_or_default()) {
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&entity), "&{entity};");
    }
    let mermaid = drawn("tests/graph/hostile.kdl", "mermaid");
    assert!(!mermaid.contains("%%{") && !mermaid.contains("<script"), "{mermaid}");
    for line in mermaid.lines().filter(|line| line.contains("[\"")) {
        assert_eq!(line.matches('"').count(), 2, "a text ends too early: {line}");
    }
    for line in
        drawn("tests/graph/hostile.kdl", "dot").lines().filter(|line| line.contains("label ="))
    {
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes % 2, 0, "a text ends too early: {line}");
    }
}

#[test]
fn a_file_with_errors_shows_them_and_exits_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("it writes");
    };
    write("wrong.kdl", b"pipeline a schema-version=1\nsource http bell { pth \"/rings\" }\n");
    write("bytes.kdl", b"pipeline \xff");
    let graph = |arguments: &[&str]| engine(folder.path(), &[&["graph"], arguments].concat(), "");
    let answer = graph(&["wrong.kdl"]);
    let checked = engine(folder.path(), &["check", "wrong.kdl", "--quiet"], "");
    assert_eq!((answer.code, answer.output.as_str()), (1, ""));
    assert!(answer.error.contains("did you mean `path`?"), "{}", answer.error);
    assert_eq!(answer.error, checked.output, "the findings are those of `engine check`");
    assert_eq!(graph(&["bytes.kdl"]).code, 1);
    assert_eq!(graph(&["missing.kdl"]).code, 2);
    assert_eq!(graph(&["wrong.kdl", "--format", "png"]).code, 2);
    assert_eq!(graph(&[]).code, 2);
}

#[test]
fn a_value_can_be_replaced_before_it_is_drawn() {
    let set = ["graph", "pipelines/doorbell.kdl", "--format", "json", "--set"];
    let answer = engine(&root(), &[&set[..], &["pipeline.description=other"]].concat(), "");
    assert_eq!(answer.code, 0, "{}", answer.error);
    assert!(answer.output.contains("\"description\": \"other\""), "{}", answer.output);
}

#[test]
fn the_running_engine_tells_the_same_parts() {
    let data = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(&root().join("pipelines/doorbell.kdl"), data.path(), &[]);
    let mut told = engine.get("/api/pipeline");
    // Only what runs has a state and can be paused.
    for part in told.as_object_mut().into_iter().flat_map(|it| it.values_mut()) {
        for node in part.as_array_mut().into_iter().flatten() {
            let Some(node) = node.as_object_mut() else { continue };
            for state in ["health", "paused"] {
                node.remove(state);
            }
        }
    }
    let drawn: Value =
        serde_json::from_str(&drawn("pipelines/doorbell.kdl", "json")).expect("it is JSON");
    for (name, part) in drawn.as_object().expect("a map") {
        assert_eq!(&told[name], part, "{name}");
    }
    assert_eq!(told["generation"], 1);
}
