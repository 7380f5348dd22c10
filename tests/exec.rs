//! Programs that a pipeline starts: only with permission, and never longer than they are wanted.

use crate::support::{Bare, Engine, checked, engine, send, until};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PIPELINE: &str = r##"
pipeline programs schema-version=1
source http front {
    path "/events"
}
enrich exec double {
    command "/bin/sh" "-c" #"while read -r line; do echo "{ \"by\": \"$NAME\" }"; done"#
    env NAME="a program"
    timeout "20s"
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
notify exec told {
    command "/bin/sh" "-c" "cat >> told.jsonl; echo >> told.jsonl"
    title "{{ event.type }}: {{ enrich.double.by }}"
}
"##;

fn write(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("pipelines/small.kdl");
    std::fs::create_dir_all(folder.join("pipelines")).expect("the folder can be made");
    std::fs::write(&file, text).expect("it writes");
    file
}

fn folder(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = write(folder.path(), text);
    (folder, file)
}

#[test]
fn without_permission_no_program_is_started_and_the_place_is_shown() {
    let (folder, file) = folder(PIPELINE);
    let name = file.display().to_string();
    let data = folder.path().join("data").display().to_string();
    let refused = engine(folder.path(), &["run", &name, "--data", &data], "");
    assert_eq!(refused.code, 1, "{}", refused.error);
    for told in [
        "W0402",
        "small.kdl:7:13",
        "small.kdl:18:13",
        "start the engine with `engine run --allow-exec`",
    ] {
        assert!(refused.error.contains(told), "{told}:\n{}", refused.error);
    }
    let checked = engine(folder.path(), &["check", &name, "--deny", "warnings"], "");
    assert!(checked.code == 1 && checked.output.contains("W0402"), "{}", checked.output);
    let allowed = ["check", name.as_str(), "--allow-exec", "--deny", "warnings", "--quiet"];
    let allowed = engine(folder.path(), &allowed, "");
    assert_eq!((allowed.code, allowed.output.as_str()), (0, ""), "{}", allowed.error);
}

#[test]
fn a_program_adds_to_an_event_and_another_one_is_told() {
    let (folder, file) = folder(PIPELINE);
    let engine = Engine::start(&file, &folder.path().join("data"), &["--allow-exec"]);
    for id in 1..=3 {
        assert_eq!(engine.post(&format!(r#"{{"type":"ring","id":{id}}}"#)).0, 202);
    }
    let told = folder.path().join("pipelines/told.jsonl");
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    until("three are told", || lines().lines().count() == 3);
    for line in lines().lines() {
        let told: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!(told["title"], "ring: a program", "{told}");
        assert_eq!(told["enrich"]["double"]["by"], "a program", "{told}");
    }
}

#[test]
fn a_reload_does_not_bring_programs_that_the_start_did_not_allow() {
    let plain = PIPELINE.split("enrich exec").next().expect("a beginning");
    let store = "sink sqlite store {\n    path \"../data/events.db\"\n    retention {\n        keep \
                 \"1d\"\n    }\n}\n";
    let (folder, file) = folder(&format!("{plain}{store}"));
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    write(folder.path(), PIPELINE);
    until("it is rejected", || {
        engine
            .get("/readyz")
            .to_string()
            .contains("start the engine with `engine run --allow-exec`")
    });
    assert_eq!(engine.get("/api/pipeline")["generation"], 1);
    assert_eq!(engine.post(r#"{"type":"ring"}"#).0, 202);
}

/// Whether a process is gone.
fn is_over(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z"))
}

#[test]
fn a_source_is_its_program_which_ends_with_it_and_starts_again_after_it_fails() {
    let source = |script: &str| {
        format!(
            "pipeline programs schema-version=1\nsource exec meter {{\n    command \"/bin/sh\" \"-c\" \
             #\"{script}\"#\n    type reading\n}}\nsink sqlite store {{\n    path \"../data/events.db\"\n    \
             retention {{\n        keep \"1d\"\n    }}\n}}\n"
        )
    };
    let (folder, file) =
        folder(&source(r#"/bin/sleep 1000 & echo $$ $! > pids; echo "{ \"c\": 21 }"; wait"#));
    let mut engine = Engine::start(&file, &folder.path().join("data"), &["--allow-exec"]);
    let readings = |engine: &Engine| {
        let found = engine.get("/api/events?type=reading");
        found["events"].as_array().map_or(0, Vec::len)
    };
    until("a reading is stored", || readings(&engine) == 1);
    let pids = std::fs::read_to_string(folder.path().join("pipelines/pids")).expect("it is there");
    write(folder.path(), &source(r#"echo "{ \"c\": 22 }"; echo no sensor >&2; exit 7"#));
    engine.signal(Signal::SIGHUP);
    until("the new one has run, and again", || 3 <= readings(&engine));
    for pid in pids.split_whitespace() {
        until("the one before is gone", || is_over(pid));
    }
    until("health says why", || {
        send(&engine.address, "GET", "/readyz", "", b"")
            .text()
            .contains("exit status: 7: no sensor")
    });
    write(folder.path(), &source("echo $$ > pids; exec /bin/sleep 1000"));
    std::fs::remove_file(folder.path().join("pipelines/pids")).expect("it is there");
    engine.signal(Signal::SIGHUP);
    let pid = || std::fs::read_to_string(folder.path().join("pipelines/pids")).unwrap_or_default();
    until("it runs", || pid().ends_with('\n'));
    assert_eq!(engine.stop(), 0);
    assert!(is_over(pid().trim()), "nothing outlives the engine");
}

#[test]
fn a_program_that_ignores_the_end_of_its_input_does_not_outlive_reload_or_stop() {
    let pipeline = |more: &str| {
        PIPELINE.replace(
            r#"while read -r line; do echo "{ \"by\": \"$NAME\" }"; done"#,
            &format!(
                r#"echo $$ >> pids{more}; while read -r line; do echo "{{ \"by\": \"$NAME\" }}"; done; exec /bin/sleep 1000"#
            ),
        )
    };
    let (folder, file) = folder(&pipeline(""));
    let mut engine = Engine::start(&file, &folder.path().join("data"), &["--allow-exec"]);
    let pids = || std::fs::read_to_string(folder.path().join("pipelines/pids")).unwrap_or_default();
    let told = folder.path().join("pipelines/told.jsonl");
    let lines = || std::fs::read_to_string(&told).unwrap_or_default().lines().count();
    assert_eq!(engine.post(r#"{"type":"ring"}"#).0, 202);
    until("it is told", || lines() == 1);
    let first = pids().trim().to_owned();
    assert!(!is_over(&first), "it waits for the next event");
    write(folder.path(), &pipeline(" && true"));
    engine.signal(Signal::SIGHUP);
    until("it is reloaded", || engine.get("/api/pipeline")["generation"] == 2);
    until("the one before is gone", || is_over(&first));
    assert_eq!(engine.post(r#"{"type":"ring"}"#).0, 202);
    until("it is told again", || lines() == 2);
    let second = pids().lines().last().expect("there are two").to_owned();
    assert!(second != first && !is_over(&second), "{first} {second}");
    assert_eq!(engine.stop(), 0);
    assert!(is_over(&second), "nothing outlives the engine");
}

#[test]
fn a_program_beside_the_file_must_be_there_when_it_is_checked() {
    let (_folder, file) = folder(&PIPELINE.replace("/bin/sh\" \"-c\" #", "./no-such.py\" #"));
    let found = checked(&file, "a.kdl", &std::fs::read(&file).expect("it reads"), &Bare);
    let told: Vec<String> = found.diagnostics.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|it| it.contains("cannot read the program: file not found")),
        "{told:?}"
    );
}
