//! What `engine run` writes to standard error: each line JSON where JSON was asked for, from the
//! first mistake of a command line to the last word, and what it writes at each level.

use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const GOOD: &str = "pipeline small schema-version=1
source file in { path \"in.jsonl\" }
sink sqlite db { path \"db.sqlite\"; retention { keep \"1d\" } }
";

fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("small.kdl"), text).expect("it writes");
    std::fs::write(folder.path().join("in.jsonl"), "{\"type\":\"x\"}\n").expect("it writes");
    folder
}

fn command(folder: &Path, arguments: &[&str], filter: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command
        .args(["run", "small.kdl", "--set", "server.listen=127.0.0.1:0"])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("RUST_LOG", filter);
    command
}

/// Runs to the end; the exit code, and every line of standard error.
fn run(text: &str, arguments: &[&str], filter: &str) -> (i32, Vec<String>) {
    let folder = folder(text);
    let run = command(folder.path(), arguments, filter).output().expect("it runs");
    assert_eq!(run.stdout, b"", "results are none");
    let said = String::from_utf8(run.stderr).expect("it is text");
    (run.status.code().expect("it exits"), said.lines().map(str::to_owned).collect())
}

/// Every line as JSON.
#[track_caller]
fn json(lines: &[String]) -> Vec<Value> {
    let read = |line: &String| {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        for field in ["time", "level", "message"] {
            assert!(value[field].is_string(), "{line}");
        }
        value
    };
    lines.iter().map(read).collect()
}

#[test]
fn each_line_is_json_where_json_is_asked_for() {
    let as_json = "--log-format=json";
    let broken = GOOD.replace("path \"in.jsonl\"", "pth \"in.jsonl\"");
    for (text, arguments, filter, code, word) in [
        (GOOD, &["--once", as_json][..], "", 0, "everything was read and settled"),
        (&*broken, &["--once", as_json], "", 1, "pth"),
        ("\u{0}", &["--once", as_json], "", 1, ""),
        (GOOD, &["--log-format", "json", "--wach", "off"], "", 2, "--wach"),
        (GOOD, &["--once", as_json], "engine=loud", 2, "RUST_LOG"),
        (GOOD, &["--once", as_json, "--root", "/nowhere", "more.kdl"], "", 2, "more.kdl"),
        (GOOD, &[as_json, "--set", "server.listen=192.0.2.1:1"], "", 1, "listen"),
        (GOOD, &["--once", as_json, "--set", "sink.db.path=/proc/x/y.db"], "", 73, ""),
        (
            "pipeline a schema-version=1\nsource http b { path \"/b\" }\n",
            &["--once", as_json],
            "",
            1,
            "--once",
        ),
    ] {
        let (ended, lines) = run(text, arguments, filter);
        let lines = json(&lines);
        let last = lines.last().expect("it says why it ends");
        let all = Value::from(lines.clone()).to_string();
        assert_eq!(ended, code, "{arguments:?}: {all}");
        assert!(all.contains(word), "{arguments:?}: {all}");
        let level = if code == 0 { "info" } else { "error" };
        assert_eq!(last["level"], level, "{arguments:?}: {all}");
    }
}

#[test]
fn a_running_engine_writes_json_until_it_has_stopped() {
    let folder = folder(&GOOD.replace("path \"in.jsonl\"", "path \"in.jsonl\"; follow"));
    let mut child = command(folder.path(), &["--log-format", "json"], "")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut seen = Vec::new();
    let mut wait_for = |word: &str| loop {
        let line = lines.next().unwrap_or_else(|| panic!("no {word} in {seen:?}"));
        seen.push(line.expect("it is text"));
        if seen.last().expect("it was pushed").contains(word) {
            return;
        }
    };
    wait_for("ready http://");
    std::fs::write(folder.path().join("small.kdl"), "pipeline small {").expect("it writes");
    wait_for("reload rejected");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("it runs");
    wait_for("stopped; ");
    seen.extend(lines.map(|line| line.expect("it is text")));
    json(&seen);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn levels_and_filters_leave_out_what_nobody_waits_for() {
    let words = ["ready http://", "everything was read"];
    let said = |arguments: &[&str], filter: &str| {
        let (code, lines) = run(GOOD, &[&["--once"], arguments].concat(), filter);
        assert_eq!(code, 0, "{lines:?}");
        words.map(|word| lines.iter().any(|line| line.contains(word)))
    };
    for format in ["--log-format=text", "--log-format=json"] {
        assert_eq!(said(&[format], ""), [true, true], "{format}");
        for less in [&["--log-level", "warn"][..], &["--log-level", "error"], &["-q"]] {
            // Whoever waits for the ready line waits for it at each level.
            assert_eq!(said(&[&[format], less].concat(), ""), [true, false], "{format} {less:?}");
        }
        assert_eq!(said(&[format], "warn"), [true, false], "{format}");
        assert_eq!(said(&[format], "off"), [true, false], "{format}");
        assert_eq!(said(&[format, "-q"], "engine=info"), [true, true], "{format}");
    }
}

#[test]
fn a_terminal_shows_how_far_a_job_has_come_and_a_pipe_does_not() {
    let folder = folder(GOOD);
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = command(folder.path(), &["--once"], "");
    command.env("TERM", "xterm").env("COLUMNS", "60").stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(pty.slave).spawn().expect("the binary starts");
    // The command holds the other end of the terminal, too.
    drop(command);
    // A terminal whose other end is closed answers with an error in place of an end.
    let mut said = Vec::new();
    std::fs::File::from(pty.master).read_to_end(&mut said).ok();
    assert!(child.wait().expect("it ends").success());
    let said = String::from_utf8(said).expect("it writes UTF-8");
    let (before, after) = said.rsplit_once("\r\u{1b}[K").expect("progress was taken away");
    let (_, progress) = before.rsplit_once("\r\u{1b}[K").expect("progress was shown");
    assert!(progress.contains(" read, ") && progress.ends_with(" delivered"), "{said:?}");
    let summary = after.lines().last().expect("a summary");
    assert!(summary.contains("everything was read and settled after "), "{said}");
    assert!(!after.contains(" read, "), "nothing is left of it: {said}");
    let (_, lines) = run(GOOD, &["--once"], "");
    assert!(lines.iter().all(|line| !line.contains(['\r', '\u{1b}'])), "{lines:?}");
}
