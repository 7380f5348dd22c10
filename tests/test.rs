//! What `engine test` says: `tests/test/*.kdl` beside the exact output of the command that stands in
//! the first line of each.
//!
//! `UPDATE_CASES=1 cargo test` writes the outputs anew.

use crate::support::root;
use compiler::files::PipelinePath;
use compiler::report::CheckedFile;
use engine::test;
use kernel::env::SystemClock;
use language::diagnostic::Rule;
use stages::catalog::Catalog;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn engine(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engine"))
        .current_dir(root())
        .args(arguments)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        // A test sees none of these.
        .env("WEATHER_URL", "http://127.0.0.1:1/real")
        .env("BELL_TOKEN", "")
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

/// Everything that was said, and the exit code.
fn shown(output: &Output) -> String {
    let code = output.status.code().expect("it ends by itself");
    format!("{}{}exit code {code}\n", text(&output.stdout), text(&output.stderr))
}

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("tests/test")).expect("the cases are there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_case = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".kdl") && !name.ends_with(".test.kdl")
    };
    let mut cases: Vec<PathBuf> = paths.filter(is_case).collect();
    cases.sort();
    cases
}

/// Every case with what its tests find.
pub(crate) fn every_case() -> Vec<CheckedFile> {
    let catalog = Catalog::built_in();
    let checked = |path: &PathBuf| {
        let name = path.display().to_string();
        let mut suite =
            test::load(&PipelinePath::of(path, None, None), &catalog).expect("it reads");
        let mut found = suite.diagnostics.clone();
        if suite.is_sound() {
            let ran = test::run_all(&mut suite, &name, "", &catalog, &SystemClock::default());
            let failed = ran.tests.into_iter().filter_map(|test| test.verdict.failed);
            found.extend(failed.flat_map(|it| it.diagnostics));
        }
        CheckedFile { name, found }
    };
    cases().iter().map(checked).collect()
}

/// What stands behind `// engine test`, blanks inside quotes kept.
fn arguments(case: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(case).expect("it reads");
    let line = text.lines().next().and_then(|line| line.strip_prefix("// engine test"));
    let line = line.expect("the first line says how it is tested");
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

#[test]
fn every_case_says_exactly_its_text() {
    let mut wrong = Vec::new();
    for case in cases() {
        let file = case.strip_prefix(root()).expect("it lies in the project");
        let file = file.display().to_string();
        let arguments = arguments(&case);
        let mut line = vec!["test", &file];
        line.extend(arguments.iter().map(String::as_str));
        let (said, expected) = (shown(&engine(&line)), case.with_extension("txt"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&expected, &said).expect("it writes");
        }
        if std::fs::read_to_string(&expected).ok().as_ref() != Some(&said) {
            wrong.push(format!("{file}:\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_a_running_test_has_a_case_of_its_name() {
    for rule in Rule::ALL.iter().filter(|it| it.is_of_running()) {
        let name = rule.code().to_lowercase();
        let case = cases().into_iter().find(|case| {
            case.file_name().is_some_and(|it| it.to_string_lossy().starts_with(&name))
        });
        let case = case.unwrap_or_else(|| panic!("no case for {}", rule.code()));
        let said = std::fs::read_to_string(case.with_extension("txt")).expect("it reads");
        assert!(said.contains(rule.code()), "{said}");
    }
}

#[test]
fn a_file_of_tests_stands_for_its_pipeline_and_a_folder_for_its_files() {
    let both = ["test", "tests/test/beside.test.kdl", "tests/test/beside.kdl"];
    let said = shown(&engine(&both));
    assert!(said.ends_with("2 tests: 1 failed\nexit code 1\n"), "{said}");
    let folder = tempfile::tempdir().expect("a folder can be made");
    for name in ["filter.kdl", "beside.kdl"] {
        let to = folder.path().join(name);
        std::fs::copy(root().join("tests/test").join(name), to).expect("it can be copied");
    }
    let said = shown(&engine(&["test", &folder.path().display().to_string()]));
    assert!(said.ends_with("3 tests: 1 failed\nexit code 1\n"), "{said}");
}

#[test]
fn what_is_not_there_is_no_success() {
    let said = shown(&engine(&["test", "tests/test/nowhere.kdl"]));
    assert!(said.contains("cannot read tests/test/nowhere.kdl"), "{said}");
    assert!(said.ends_with("exit code 2\n"), "{said}");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let said = shown(&engine(&["test", &folder.path().display().to_string()]));
    assert_eq!(said, "engine: there is no test\nexit code 2\n");
}

/// The report with `N` for every time, each of which is seconds with three decimals.
fn without_times(report: &str) -> String {
    let mut parts = report.split("time=\"");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').expect("a value ends");
        let (whole, decimals) = time.split_once('.').expect("it has decimals");
        assert!(whole.parse::<u32>().is_ok() && decimals.len() == 3, "{time}");
        text.push_str(&format!("time=\"N\"{rest}"));
    }
    text
}

/// A repository with a pipeline in a folder of it, and what `engine test` says in that folder.
fn in_repository(files: &[(&str, &str)], more: &[&str]) -> (Output, tempfile::TempDir) {
    let repository = tempfile::tempdir().expect("a folder can be made");
    let inside = repository.path().join("home");
    std::fs::create_dir_all(&inside).expect("a folder");
    std::fs::create_dir(repository.path().join(".git")).expect("a repository");
    for (name, text) in files {
        std::fs::write(inside.join(name), text).expect("it writes");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_engine"))
        .current_dir(&inside)
        .args(["test", "."])
        .args(more)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .output()
        .expect("the binary starts");
    (output, repository)
}

const DOOR: &str = "pipeline door schema-version=1\n\
    source http front { path \"/events\" }\n\
    sink sse live { path \"/live\" }\n";
const DOOR_TEST: &str = "test \"a ring, 100%\" {\n    \
    given source=front { body #\"{ \"type\": \"ring\" }\"# }\n    \
    expect status=500\n}\n";

#[test]
fn failures_are_annotations_of_the_file_that_the_test_is_in() {
    let files =
        [("door.kdl", DOOR), ("door.test.kdl", DOOR_TEST), ("wrong.kdl", "pipeline wrong\n")];
    let (output, _folder) = in_repository(&files, &["--format", "github"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = text(&output.stdout);
    let lines: Vec<&str> = lines.lines().collect();
    let expected = "::error file=home/door.test.kdl,line=3,col=5,endColumn=22,title=E0701::\
                    a ring, 100%25: expected the response 500, got 202: got 202%0Ahelp: accepted";
    assert!(lines.contains(&expected), "{lines:#?}");
    let broken = lines.iter().filter(|line| line.starts_with("::error file=home/wrong.kdl,line=1"));
    assert_eq!(broken.count() + 1, lines.iter().filter(|line| line.starts_with("::error")).count());
    assert!(lines.iter().all(|line| line.starts_with("::")), "{lines:#?}");
    let human = text(&output.stderr);
    assert!(human.contains("  FAILED  a ring, 100%\n"), "{human}");
    assert!(human.ends_with("1 test: 1 failed; 1 file with errors\n"), "{human}");
}

#[test]
fn junit_names_files_from_the_root_and_has_what_could_not_run() {
    let files =
        [("door.kdl", DOOR), ("door.test.kdl", DOOR_TEST), ("wrong.kdl", "pipeline wrong\n")];
    let (output, folder) = in_repository(&files, &["--junit", "results.xml"]);
    assert_eq!(output.status.code(), Some(1));
    let report = folder.path().join("home/results.xml");
    let report = without_times(&std::fs::read_to_string(report).expect("it is written"));
    for part in [
        "tests=\"2\" failures=\"1\" errors=\"1\" time=\"N\">\n",
        "name=\"./door.kdl\" file=\"home/door.kdl\" tests=\"1\" failures=\"1\" errors=\"0\"",
        "name=\"a ring, 100%\" file=\"home/door.test.kdl\" time=\"N\">\n      <failure type=\"E0701\"",
        "name=\"check\" file=\"home/wrong.kdl\" time=\"N\">\n      <error message=\"",
    ] {
        assert!(report.contains(part), "{part}:\n{report}");
    }
}

#[test]
fn machines_read_the_results_as_junit() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("results.xml");
    let name = file.display().to_string();
    let output = engine(&["test", "tests/test/filter.kdl", "--junit", &name]);
    assert_eq!(output.status.code(), Some(1));
    let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="engine test" tests="2" failures="1" errors="0" time="N">
  <testsuite name="tests/test/filter.kdl" file="tests/test/filter.kdl" tests="2" failures="1" errors="0" time="N">
    <testcase classname="tests/test/filter.kdl" name="a step fails" file="tests/test/filter.kdl" time="N">
      <failure type="E0701" message="expected the response 500, got 202">E0701

  × expected the response 500, got 202
    ╭─[tests/test/filter.kdl:10:5]
  9 │     given source=front { body #&quot;{ &quot;type&quot;: &quot;step&quot; }&quot;# }
 10 │     expect status=500
    ·     ────────┬────────
    ·             ╰── got 202
 11 │ }
    ╰────
  help: accepted

+0s      front ◀ step: 202, accepted
  +0s      stored as normal, for events-db
</failure>
    </testcase>
    <testcase classname="tests/test/filter.kdl" name="a ring is stored" file="tests/test/filter.kdl" time="N"/>
  </testsuite>
</testsuites>
"#;
    let written = std::fs::read_to_string(&file).expect("it is written");
    assert_eq!(without_times(&written), expected);
    let missing = folder.path().join("none/results.xml").display().to_string();
    let output = engine(&["test", "tests/test/filter.kdl", "--junit", &missing]);
    assert_eq!(output.status.code(), Some(2));
}
