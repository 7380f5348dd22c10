//! What `engine check` writes for programs: `tests/formats/` holds files beside exactly what each
//! format says of them.
//!
//! `UPDATE_CASES=1 cargo test` writes the outputs anew.

use crate::support::{engine, root};
use compiler::report::{self, CheckedFile, RepositoryPaths};
use serde_json::Value;

/// Each format, where its output stands, and its exit code.
const FORMATS: &[(&str, &str, i32)] = &[
    ("short", "short.txt", 1),
    ("json", "json", 1),
    ("sarif", "sarif", 0),
    ("github", "github.txt", 1),
    ("junit", "junit.xml", 1),
];

#[test]
fn every_format_says_exactly_this() {
    let folder = root().join("tests/formats");
    // A repository whose root is above: GitHub and SARIF name files from there.
    let repository = tempfile::tempdir().expect("a folder");
    let inside = repository.path().join("home/pipelines");
    std::fs::create_dir_all(&inside).expect("folders");
    std::fs::create_dir(repository.path().join(".git")).expect("a repository");
    for name in ["door.kdl", "fine.kdl"] {
        std::fs::copy(folder.join(name), inside.join(name)).expect("it copies");
    }
    let mut wrong = Vec::new();
    for (format, ending, code) in FORMATS {
        let answer = engine(&inside, &["check", "door.kdl", "fine.kdl", "--format", format], "");
        assert_eq!(answer.code, *code, "{format}: {}", answer.error);
        let file = folder.join(format!("expected.{ending}"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&file, &answer.output).expect("it writes");
        }
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&answer.output) {
            wrong.push(format!("{}:\n{}", file.display(), answer.output));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn annotations_leave_the_human_report_in_the_log() {
    let folder = root().join("tests/formats");
    let answer = engine(&folder, &["check", "door.kdl", "--format", "github"], "");
    let human = engine(&folder, &["check", "door.kdl"], "");
    assert!(human.output.contains("╭─[door.kdl:"), "{}", human.output);
    assert_eq!(answer.error, human.output);
}

#[test]
fn every_log_is_sarif_by_the_schema_of_the_standard() {
    let schema = std::fs::read(root().join("tests/fixtures/sarif-2.1.0.json")).expect("it reads");
    let mut schema: Value = serde_json::from_slice(&schema).expect("the schema is JSON");
    // The published schema has a pattern for languages that is no regular expression; a log of
    // ours says nothing about its language.
    for place in ["run", "toolComponent"] {
        let language = schema.pointer_mut(&format!("/definitions/{place}/properties/language"));
        language.and_then(Value::as_object_mut).expect("it is there").remove("pattern");
    }
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    let files: Vec<CheckedFile> = crate::check::every_case();
    assert!(files.iter().any(|file| file.found.iter().any(|it| !it.fix.is_empty())));
    assert!(files.iter().any(|file| file.found.iter().any(|it| !it.related.is_empty())));
    for unread in [vec![], vec!["cannot read x.kdl: file not found".to_owned()]] {
        let log = report::sarif(&files, &RepositoryPaths::around(&root()), &unread);
        let log: Value = serde_json::from_str(&log).expect("the log is JSON");
        let wrong: Vec<String> = validator
            .iter_errors(&log)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let results = log["runs"][0]["results"].as_array().expect("a list");
        assert_eq!(results.len(), files.iter().map(|file| file.found.len()).sum::<usize>());
    }
    let wrong = serde_json::json!({"version": "2.1.0", "runs": [{"results": []}]});
    assert!(!validator.is_valid(&wrong), "a run without a tool is none");
}
