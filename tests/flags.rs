//! The flags of `engine check`, and what it exits with.

use crate::support::{PATIENCE, engine, root, until};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use tempfile::TempDir;

/// A pipeline with an error, and one with a warning.
const WRONG: &str = "pipeline a schema-version=1\nsource http bell { pth \"/rings\" }\n";
const WARNED: &str = "pipeline b schema-version=1\nsource http bell { path \"/rings\" }\nsink sse live { path \"/live\" }\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("it writes");
    }
    folder
}

#[track_caller]
fn exits(folder: &Path, arguments: &[&str], code: i32) -> String {
    let answer = engine(folder, &[&["check"], arguments].concat(), "");
    assert_eq!(answer.code, code, "{arguments:?}\n{}{}", answer.output, answer.error);
    answer.output + &answer.error
}

#[test]
fn errors_exit_one_warnings_none_and_what_cannot_be_read_two() {
    let folder = folder(&[("wrong.kdl", WRONG), ("warned.kdl", WARNED)]);
    let at = folder.path();
    exits(at, &["wrong.kdl"], 1);
    exits(at, &["warned.kdl"], 0);
    exits(at, &["wrong.kdl", "--format", "sarif"], 0);
    exits(at, &["wrong.kdl", "--format", "sarif", "--exit-code"], 1);
    exits(at, &["warned.kdl", "missing.kdl"], 2);
    exits(at, &["missing.kdl", "--format", "sarif"], 2);
    exits(at, &[], 2);
    exits(at, &["wrong.kdl", "--format", "yaml"], 2);
}

#[test]
fn a_denied_warning_is_an_error_and_an_allowed_one_is_not_told() {
    let folder = folder(&[("warned.kdl", WARNED)]);
    let at = folder.path();
    assert!(exits(at, &["warned.kdl"], 0).contains("0 errors, 1 warning"));
    assert!(exits(at, &["warned.kdl", "--deny", "warnings"], 1).contains("1 error, 0 warnings"));
    exits(at, &["warned.kdl", "--deny", "W0506"], 1);
    exits(at, &["warned.kdl", "--deny", "W0503", "--deny", "W0401"], 0);
    let quiet = exits(at, &["warned.kdl", "--allow", "W0506", "--deny", "warnings"], 0);
    assert_eq!(quiet, "1 file checked, no problems found\n");
    let unknown = exits(at, &["warned.kdl", "--deny", "W0560"], 2);
    assert!(unknown.contains("did you mean W0506?"), "{unknown}");
    assert!(exits(at, &["warned.kdl", "--allow", "E0203"], 2).contains("cannot be allowed"));
}

#[test]
fn a_folder_is_its_pipeline_files() {
    let folder = folder(&[("wrong.kdl", WRONG), ("warned.kdl", WARNED), ("a.test.kdl", "test {}")]);
    let told = exits(folder.path(), &[".", "--format", "short"], 1);
    let lines: Vec<&str> = told.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(lines, ["./warned.kdl", "./wrong.kdl"]);
    let empty = tempfile::tempdir().expect("a folder");
    let told = exits(empty.path(), &["."], 2);
    assert!(told.contains("there is no pipeline file in ."), "{told}");
}

#[test]
fn standard_input_is_checked_under_its_name() {
    let shipped = std::fs::read_to_string(root().join("pipelines/doorbell.kdl")).expect("it reads");
    let ask = |arguments: &[&str], input: &str| engine(&root(), arguments, input);
    let told = ask(&["check", "-", "--format", "short"], WRONG);
    assert!(told.output.contains("<stdin>:2:20: E0010 "), "{}", told.output);
    assert_eq!(told.code, 1);
    // Its schemas are found only from where it lies.
    let named = ["check", "-", "--stdin-filename", "pipelines/doorbell.kdl", "--deny", "warnings"];
    let told = ask(&named, &shipped);
    assert_eq!(told.code, 0, "{}", told.output);
    let nameless = ask(&["check", "-", "--format", "short"], &shipped);
    assert!(nameless.output.contains("E0301"), "{}", nameless.output);
    assert_eq!(ask(&["check", "-", "-"], "").code, 2);
    assert_eq!(ask(&["check", "a.kdl", "--stdin-filename", "b.kdl"], "").code, 2);
    assert_eq!(ask(&["check", "-", "--fix"], "").code, 2);
    assert_eq!(ask(&["check", "-", "--watch"], "").code, 2);
}

#[test]
fn variables_may_be_missing_where_only_checking_is_done() {
    let root = root();
    let file = "tests/check/e0302-missing-variable.kdl";
    assert!(exits(&root, &[file], 1).contains("E0302"));
    let told = exits(&root, &[file, "--allow-missing-env", "--deny", "warnings"], 0);
    assert!(told.contains("no problems found"), "{told}");
}

#[test]
fn colour_and_quiet_do_as_they_say() {
    let folder = folder(&[("wrong.kdl", WRONG)]);
    let at = folder.path();
    assert!(!exits(at, &["wrong.kdl"], 1).contains('\u{1b}'));
    assert!(exits(at, &["wrong.kdl", "--color", "always"], 1).contains("\u{1b}["));
    let quiet = exits(at, &["wrong.kdl", "-q"], 1);
    assert!(quiet.contains("E0010") && !quiet.contains("checked"), "{quiet}");
    std::fs::write(at.join("warned.kdl"), WARNED).expect("it is written");
    assert_eq!(exits(at, &["warned.kdl", "-q"], 0), "", "no warnings");
    let denied = exits(at, &["warned.kdl", "-q", "--deny", "warnings"], 1);
    assert!(denied.contains("W0506"), "{denied}");
}

#[test]
fn a_flag_without_effect_is_refused() {
    let folder = folder(&[("wrong.kdl", WRONG)]);
    let told = exits(folder.path(), &["wrong.kdl", "--exit-code"], 2);
    assert!(told.contains("--exit-code is for --format sarif"), "{told}");
    exits(folder.path(), &["wrong.kdl", "--exit-code", "--format", "sarif"], 1);
    let told = exits(folder.path(), &["wrong.kdl", "--root", "none"], 2);
    assert!(told.contains("there is no such folder"), "{told}");
}

#[test]
fn a_repair_is_written_and_the_rest_is_told() {
    let text = "pipeline a schema-version=1\n\
                source demo made { disabled true; emit RING }\n\
                sink stdout seen { disabled false; pth 1 }\n";
    let folder = folder(&[("a.kdl", text)]);
    let at = folder.path();
    let told = exits(at, &["a.kdl", "--fix", "--format", "short"], 1);
    let repaired = std::fs::read_to_string(at.join("a.kdl")).expect("it reads");
    assert!(repaired.contains("{ disabled #true; emit RING }"), "{repaired}");
    assert!(repaired.contains("{ disabled #false; pth 1 }"), "{repaired}");
    assert!(told.contains("repaired 2 mistakes in a.kdl: E0001, E0001"), "{told}");
    assert!(told.contains("a.kdl:3:37: E0010"), "{told}");
    let again = exits(at, &["a.kdl", "--fix"], 1);
    assert!(!again.contains("repaired"), "{again}");
    assert_eq!(std::fs::read_to_string(at.join("a.kdl")).expect("it reads"), repaired);
    exits(at, &["a.kdl", "--fix", "--watch"], 2);
}

#[test]
fn a_watched_file_is_checked_again_when_it_changes() {
    let folder = folder(&[("a.kdl", WRONG)]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["check", ".", "--watch", "--format", "json"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let output = child.stdout.take().expect("it is piped");
    let (sender, rounds) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let next = || rounds.recv_timeout(PATIENCE).expect("it checks again");
    let first = next();
    // Only a terminal is cleared.
    assert!(first.starts_with('{') && first.contains("\"error_count\":1"), "{first}");
    std::fs::write(folder.path().join("a.kdl"), WARNED).expect("it writes");
    assert!(next().contains("\"error_count\":0,\"format_version\":\"1.0\",\"valid\":true"));
    // A new file of the folder counts, too.
    std::fs::write(folder.path().join("b.kdl"), WRONG).expect("it writes");
    assert!(next().contains("\"error_count\":1"));
    // Without a reader it ends by itself with the next change.
    drop(rounds);
    let mut number = 0;
    until("it notices that nobody reads", || {
        number += 1;
        let text = format!("{WARNED}// {number}\n");
        std::fs::write(folder.path().join("a.kdl"), text).expect("it writes");
        child.try_wait().expect("it is ours").is_some()
    });
}

#[test]
fn every_repair_takes_away_what_it_repairs() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(root().join("tests/check/files")).expect("a folder") {
        let file = file.expect("an entry").path();
        let there = folder.path().join("files");
        std::fs::create_dir_all(&there).expect("it can be made");
        std::fs::copy(&file, there.join(file.file_name().expect("a name"))).expect("it copies");
    }
    let mut repaired = 0;
    for case in crate::check::every_case() {
        if case.found.iter().all(|it| it.fix.is_empty()) {
            continue;
        }
        let file = folder.path().join("case.kdl");
        std::fs::copy(&case.name, &file).expect("it copies");
        let answer = engine(folder.path(), &["check", "case.kdl", "--fix", "--format", "json"], "");
        let left: Value = serde_json::from_str(&answer.output).expect("JSON");
        let left = left["diagnostics"].as_array().expect("a list");
        // A text that can be read again may show what nobody could see before.
        let codes: Vec<_> = left.iter().map(|it| it["code"].as_str().expect("a code")).collect();
        let repairable = case.found.iter().filter(|it| !it.fix.is_empty());
        let before = |code: &str| case.found.iter().filter(|it| it.rule.code() == code).count();
        for code in repairable.map(|repairable| repairable.rule.code()) {
            let after = codes.iter().filter(|it| **it == code).count();
            assert!(after < before(code), "{}: {left:#?}", case.name);
        }
        let again = left.iter().filter(|it| !it["fix"].is_null()).count();
        assert_eq!(again, 0, "{}: {left:#?}", case.name);
        repaired += 1;
    }
    assert!(0 < repaired, "no case can be repaired");
}

#[test]
fn every_command_has_examples_and_takes_the_flags_of_all() {
    let help = engine(&root(), &["--help"], "").output;
    let listed = help.split("Commands:").nth(1).and_then(|part| part.split("\n\n").next());
    let commands: Vec<&str> = listed
        .expect("a list of commands")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .collect();
    assert!(commands.len() > 10, "{commands:?}");
    assert!(help.contains("Examples:\n  engine "), "{help}");
    for command in commands {
        let help = engine(&root(), &[command, "--color", "never", "--help"], "").output;
        assert!(help.contains(&format!("Examples:\n  engine {command}")), "{command}: {help}");
        for flag in ["--color <WHEN>", "--quiet", "--verbose"] {
            assert!(help.contains(flag), "{command} {flag}: {help}");
        }
    }
}

#[test]
fn a_mistake_in_an_option_is_shown_in_the_option() {
    let file = "pipelines/doorbell.kdl";
    let answer = engine(&root(), &["graph", file, "--set", "server.lisen=127.0.0.1:0"], "");
    assert_eq!(answer.code, 1);
    for part in
        ["╭─[the command line:1:14]", "--set server.lisen=127.0.0.1:0", "did you mean `listen`?"]
    {
        assert!(answer.error.contains(part), "{part}: {}", answer.error);
    }
    let answer = engine(&root(), &["graph", file, "--set", "server.listen=here", "-q"], "");
    assert!(answer.error.contains("╭─[the command line:1:21]"), "{}", answer.error);
}

#[test]
fn every_command_that_people_read_is_coloured_as_it_is_told() {
    let folder = folder(&[
        (
            "a.kdl",
            "pipeline a schema-version=1\nsource http bell { path \"/rings\";   disabled }\nsink sse live { path \"/live\" }\ntest \"one\" { expect sink=live count=0 }\n",
        ),
        ("wrong.kdl", WRONG),
    ]);
    let ask = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_engine"))
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).expect("it is text")
    };
    for (command, colour) in [
        (&["graph", "a.kdl"][..], "\u{1b}[33m○ "),
        (&["help"], "\u{1b}[1mCommands:"),
        (&["help", "run"], "\u{1b}[1mUsage:"),
        (&["run", "--help"], "\u{1b}[36m--demo"),
        (&["--help"], "\u{1b}[36m-q, --quiet"),
        (&["chek"], "\u{1b}[1;31merror:"),
        (&["fmt", "a.kdl", "--diff"], "\u{1b}[32m+"),
        (&["test", "a.kdl"], "\u{1b}[32mok"),
        (&["check", "wrong.kdl"], "\u{1b}["),
        (&["expand", "wrong.kdl"], "\u{1b}["),
        (&["eval", "1 +"], "\u{1b}["),
    ] {
        let with = |choice: &'static str| [command, &["--color", choice]].concat();
        let always = ask(&with("always"), &[("NO_COLOR", "1")]);
        assert!(always.contains(colour), "{command:?}: {always:?}");
        for (arguments, variables) in [
            (command.to_vec(), &[][..]),
            (with("never"), &[("CLICOLOR_FORCE", "1")]),
            (command.to_vec(), &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]),
        ] {
            let plain = ask(&arguments, variables);
            assert!(!plain.contains('\u{1b}'), "{arguments:?}: {plain:?}");
        }
        let forced = ask(command, &[("CLICOLOR_FORCE", "1")]);
        assert_eq!(forced, always, "{command:?}");
    }
}

#[test]
fn quiet_says_less_and_verbose_says_more() {
    let laid_out = "pipeline b schema-version=1\n\nsource http bell {\n    path \"/rings\"\n}\n\n\
                    sink sse live {\n    path \"/live\"\n}\n";
    let tests = "test \"one\" {\n    expect sink=live count=0\n}\n";
    let folder = folder(&[("b.kdl", laid_out), ("b.test.kdl", tests), ("loose.kdl", WARNED)]);
    let ask = |arguments: &[&str]| engine(folder.path(), arguments, "");
    let quiet = |arguments: &[&str]| ask(&[arguments, &["-q"]].concat());
    let verbose = |arguments: &[&str]| ask(&[arguments, &["-v"]].concat());
    let check = ["check", "b.kdl", "--allow", "W0506"];
    assert_eq!(quiet(&check).output, "");
    assert_eq!(verbose(&check).error, "checked b.kdl; it reads b.kdl, b.test.kdl\n");
    assert_eq!(quiet(&["test", "b.kdl"]).output, "");
    assert!(verbose(&["test", "b.kdl"]).output.starts_with("b.kdl\n  ok      one\n"));
    assert_eq!(verbose(&["fmt", "b.kdl"]).error, "b.kdl is left as it is\n");
    assert_eq!(quiet(&["fmt", "loose.kdl"]).output, "");
    assert!(
        verbose(&["eval", "data.n", "--event", "{\"n\": 1}"])
            .error
            .ends_with("with `data` {\"n\":1}\n")
    );
    assert_eq!(quiet(&["eval", "1"]).output, "1\n");
    for command in [&["graph", "b.kdl"][..], &["expand", "b.kdl"], &["diff", "b.kdl", "b.kdl"]] {
        assert_eq!(ask(command).error, "", "{command:?}");
        assert!(verbose(command).error.contains("W0506"), "{command:?}");
        assert_eq!(quiet(command).error, "", "{command:?}");
    }
    assert_ne!(ask(&["new", "one"]).error, "");
    assert_eq!(quiet(&["new", "two"]).error, "");
    for command in [
        &["explain", "E0203"][..],
        &["schema", "--format", "markdown"],
        &["man"],
        &["completions", "bash"],
    ] {
        assert_eq!(quiet(command).output, verbose(command).output, "{command:?} is all result");
    }
    assert_eq!(ask(&["check", "b.kdl", "-q", "-v"]).code, 2);
}
