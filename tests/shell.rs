//! The commands that README and guide show: every block of `sh` is run as it is typed, in a copy of
//! the project, against an engine that it starts itself.
//!
//! A block is marked behind its ```` ```sh ````:
//!
//! - no mark: every command succeeds, and no answer of the engine is a refusal,
//! - `exits=N`: the last command that fails does so with this code,
//! - `refused: REASON`: the commands run, and the engine may refuse them,
//! - `skip: REASON`: the block cannot be run here.
//!
//! A block of KDL that begins with `// PATH` or `// PATH: …` is the file that the commands after it
//! use.

use crate::support::{Engine, root};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// What the pages call the address of the engine.
const ADDRESS: &str = "127.0.0.1:8600";

/// What the engine answers where a command of a page is wrong.
const WRONG: &[u64] = &[400, 401, 403, 404, 405, 406, 411, 413, 415, 421, 500, 503];

/// A copy of the project, with an `engine` and a `cargo` that runs it.
struct Session {
    folder: TempDir,
    running: Option<Engine>,
}

/// How a command ended.
struct Ended {
    code: i32,
    output: String,
    error: String,
}

impl Session {
    fn new() -> Session {
        let folder = tempfile::tempdir().expect("a folder");
        let session = Session { folder, running: None };
        let at = |name: &str| session.folder.path().join(name);
        fs::create_dir(at("bin")).expect("a folder");
        let binary = env!("CARGO_BIN_EXE_engine");
        let scripts = [
            ("bin/engine", format!("#!/bin/sh\nexec {binary} \"$@\"\n")),
            ("bin/cargo", format!("#!/bin/sh\nshift 3\nexec {binary} \"$@\"\n")),
        ];
        for (name, text) in scripts {
            fs::write(at(name), text).expect("it writes");
            fs::set_permissions(at(name), PermissionsExt::from_mode(0o755)).expect("it sets");
        }
        session
    }

    /// The project as somebody has it who has cloned it.
    fn clone_project(&self) {
        for name in ["pipelines", "schemas", "tests/samples"] {
            copy(&root().join(name), &self.project().join(name));
        }
        let begin = "git init -q && git add -A && \
                     git -c user.name=n -c user.email=e commit -q -m all";
        let ended = self.run(begin);
        assert_eq!(ended.code, 0, "{}", ended.error);
    }

    fn project(&self) -> std::path::PathBuf {
        let project = self.folder.path().join("project");
        fs::create_dir_all(&project).expect("a folder");
        project
    }

    fn command(&self, line: &str) -> Command {
        let address = self.running.as_ref().map_or(ADDRESS, |running| &running.address);
        let mut command = Command::new("sh");
        let path = std::env::var("PATH").expect("there are programs");
        command
            .args(["-c", &line.replace(ADDRESS, address)])
            .current_dir(self.project())
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .env_remove("NTFY_TOPIC")
            .env_remove("WEATHER_URL")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Ended {
        let output = self.command(line).output().expect("there is a shell");
        Ended {
            code: output.status.code().expect("it exits by itself"),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A command that goes on until it is stopped: its first line.
    fn first_line(&self, line: &str) -> String {
        let mut child = self
            .command(&format!("exec {line}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut first = String::new();
        output.read_line(&mut first).expect("it writes text");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        first
    }

    /// Starts the engine instead of the one that runs.
    fn start(&mut self, arguments: &str) {
        self.running = None;
        let mut words = arguments.split_whitespace();
        let file = self.project().join(words.next().expect("a file"));
        let more: Vec<&str> = words.collect();
        let data = self.project().join("data");
        self.running = Some(Engine::start(&file, &data, &more));
    }

    /// Does what a line says; how it ended.
    fn step(&mut self, line: &str) -> Ended {
        let fine = |output: String| Ended { code: 0, output, error: String::new() };
        let runs = ["engine run ", "cargo run --release -- run "];
        if let Some(arguments) = runs.iter().find_map(|it| line.strip_prefix(it)) {
            self.start(arguments);
            return fine(String::new());
        }
        if line.starts_with("curl -N ") || line.contains(" --watch") {
            let first = self.first_line(line);
            assert!(!first.is_empty(), "{line} ends without a line");
            return fine(first);
        }
        self.run(line)
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let there = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &there),
            false => {
                fs::copy(&path, &there).expect("it copies");
            }
        }
    }
}

/// The refusal in an answer of the engine, if it is one.
fn refusal(output: &str) -> Option<String> {
    let body = output.split("\r\n\r\n").last().unwrap_or(output);
    let answer: Value = serde_json::from_str(body.trim()).ok()?;
    let is_wrong = answer["status"].as_u64().is_some_and(|status| WRONG.contains(&status));
    is_wrong.then(|| answer.to_string())
}

/// Runs a block by its mark. Answers whether it was run.
fn run_block(session: &mut Session, mark: &str, block: &str) -> bool {
    if let Some(reason) = mark.strip_prefix("skip: ") {
        assert!(10 < reason.len(), "say why it is skipped: {block}");
        return false;
    }
    let wanted: i32 = mark.strip_prefix("exits=").map_or(0, |it| it.parse().expect("an exit code"));
    let may_refuse = mark.strip_prefix("refused: ").is_some_and(|reason| 10 < reason.len());
    assert!(mark.is_empty() || wanted != 0 || may_refuse, "an unknown mark: {mark}");
    let mut code = 0;
    for line in block.lines().filter(|line| !line.is_empty()) {
        let ended = session.step(line);
        let Ended { output, error, .. } = &ended;
        assert!([0, wanted].contains(&ended.code), "{line}: {}\n{output}{error}", ended.code);
        code = code.max(ended.code);
        if let Some(refusal) = refusal(output).filter(|_| !may_refuse) {
            panic!("{line}\n{refusal}");
        }
        if line.starts_with("curl") {
            assert!(!output.is_empty(), "{line} says nothing\n{error}");
        }
    }
    assert_eq!(code, wanted, "{block}");
    true
}

/// The path that the first line of a block of KDL names.
fn path_of(block: &str) -> Option<&str> {
    let comment = block.lines().next()?.strip_prefix("// ")?;
    let path = comment.split([':', ' ']).next()?;
    path.ends_with(".kdl").then_some(path)
}

/// Runs every block of a page; how many were run, and how many were not.
fn run_page(session: &mut Session, page: &str) -> (usize, usize) {
    let (mut run, mut skipped) = (0, 0);
    let page = fs::read_to_string(root().join(page)).expect("the page is there");
    for block in page.split("\n```").skip(1).step_by(2) {
        let (head, block) = block.split_once('\n').expect("a block begins a line");
        let (language, mark) = head.split_once(' ').unwrap_or((head, ""));
        match (language, path_of(block)) {
            ("kdl", Some(path)) => {
                let file = session.project().join(path);
                fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
                fs::write(file, block).expect("it writes");
            }
            ("sh", _) if run_block(session, mark, block) => run += 1,
            ("sh", _) => skipped += 1,
            _ => assert!(!["shell", "bash", "console"].contains(&language), "write `sh`: {head}"),
        }
    }
    (run, skipped)
}

#[test]
fn the_tour_of_the_readme_works_as_typed() {
    let mut session = Session::new();
    session.clone_project();
    assert_eq!(run_page(&mut session, "README.md"), (10, 4));
    let engine = session.running.as_ref().expect("it started one");
    assert_eq!(
        engine.get("/api/events?type=DOORBELL_PRESSED&limit=1")["events"][0]["type"],
        "DOORBELL_PRESSED"
    );
}

#[test]
fn the_commands_of_the_guide_work_as_typed() {
    let mut session = Session::new();
    assert_eq!(run_page(&mut session, "docs/guide.md"), (13, 1));
}

#[test]
fn a_command_that_fails_or_is_refused_is_seen() {
    let mut session = Session::new();
    fs::create_dir(session.project().join("pipelines")).expect("a folder");
    let fails = |session: &mut Session, mark: &str, block: &str| {
        let run = std::panic::AssertUnwindSafe(|| run_block(session, mark, block));
        std::panic::catch_unwind(run).is_err()
    };
    assert!(fails(&mut session, "", "engine check pipelines/missing.kdl"));
    assert!(!fails(&mut session, "exits=2", "engine check pipelines/missing.kdl"));
    assert!(fails(&mut session, "exits=2", "engine explain E0203"));
    assert!(fails(&mut session, "later", "engine explain E0203"));
    assert!(refusal("HTTP/1.1 404 Not Found\r\na: b\r\n\r\n{\"status\":404}").is_some());
    assert_eq!(path_of("// pipelines/a.kdl: it\npipeline a\n"), Some("pipelines/a.kdl"));
    assert_eq!(path_of("// a remark\n"), None);
}
