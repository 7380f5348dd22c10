//! The commands that call a running engine, as a terminal shows them: exact text, exit code, and
//! what goes to which stream.

mod address;
mod digits;
mod dlq;
mod doctor;
mod events;
mod figures;
mod notify;
mod pause;
mod reload;
mod retention;
mod send;
mod sql;
mod tail;

use crate::support::{Answer, Engine, until};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A pipeline with what these commands show: a stage, a stream, a delivery, and dead letters.
const PIPELINE: &str = r#"
pipeline home schema-version=1

source http front {
    path "/events"
    map {
        id "data.id"
        type "data.type"
        subject "data.door"
        time "data.time ?? now()"
        priority "data.priority ?? 'normal'"
        data "data.data ?? {}"
    }
}

enrich set sentence {
    set "text" "{{ event.type }} at the {{ event.subject }}"
}

sink sqlite db {
    path "../data/home.db"
    retention {
        keep "30d"
    }
}

sink sse live {
    path "/live"
}

notify file lines {
    path "../data/lines.jsonl"
}
"#;

/// A running engine in a folder of its own.
struct Site {
    folder: tempfile::TempDir,
    engine: Engine,
}

impl Site {
    fn start() -> Site {
        Site::of(PIPELINE)
    }

    fn of(text: &str) -> Site {
        Site::with(text, &[])
    }

    /// The same with more for its command line.
    fn with(text: &str, more: &[&str]) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pipelines/home.kdl");
        fs::create_dir(folder.path().join("pipelines")).expect("a folder");
        fs::write(&file, text).expect("it is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.env("ADMIN", "s3cret").env("VIEWER", "viewer");
        let data = folder.path().join("data");
        let engine = Engine::spawn_by(command, &file, &data, more).ready();
        Site { folder, engine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command against the engine.
    fn run(&self, arguments: &[&str]) -> Answer {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Answer {
        let url = format!("http://{}", self.engine.address);
        let is_end = |text: &&str| *text == "--" || text.starts_with("columns=");
        let end = arguments.iter().position(is_end).unwrap_or(arguments.len());
        let (own, rest) = arguments.split_at(end);
        let answer = run(self.folder.path(), &[own, &["--url", &url], rest].concat(), input);
        // The port is another one each time.
        let named = |text: String| text.replace(&url, "http://HOST");
        Answer { code: answer.code, output: named(answer.output), error: named(answer.error) }
    }

    /// What a command says that fails.
    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, error: &str) {
        let answer = self.run(arguments);
        let found = (answer.code, answer.output.as_str(), answer.error.as_str());
        assert_eq!(found, (code, "", error), "{arguments:?}");
    }

    /// What a command prints that succeeds and says nothing else.
    #[track_caller]
    fn prints(&self, arguments: &[&str], output: &str) {
        let answer = self.run(arguments);
        let found = (answer.code, answer.output.as_str(), answer.error.as_str());
        assert_eq!(found, (0, output, ""), "{arguments:?}");
    }

    fn post(&self, event: &str) {
        let (status, body) = self.engine.post(event);
        assert_eq!(status, 202, "{body}");
    }

    /// Waits until an event is stored and its deliveries are settled.
    fn settled(&self, id: &str) {
        until("it is stored and delivered", || {
            let event = self.engine.get(&format!("/api/events/{id}"));
            let deliveries = event["deliveries"].as_array().cloned().unwrap_or_default();
            event["state"] == "stored"
                && deliveries.iter().all(|delivery| delivery["state"] != "pending")
        });
    }
}

/// Runs `engine` in a folder, where the clock shows UTC and nothing is set but tokens. Last may come
/// how wide the terminal is: `columns=60`.
fn run(folder: &Path, arguments: &[&str], input: &str) -> Answer {
    let mut child = command(folder, arguments).spawn().expect("the binary starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes UTF-8");
    Answer {
        code: output.status.code().expect("it exits by itself"),
        output: text(output.stdout),
        error: text(output.stderr),
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    let (columns, arguments) = match arguments.split_last() {
        Some((last, rest)) if last.starts_with("columns=") => (*last, rest),
        _ => ("columns=100", arguments),
    };
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("TZ", "UTC")
        .env("COLUMNS", columns.trim_start_matches("columns="))
        .env("GOOD", "s3cret")
        .env("WEAK", "viewer")
        .env("WRONG", "n0ne")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A text without what is another time on each run: durations, and when an event arrived.
fn timeless(text: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some(("received" | "time", _)) => "received     TIME\n".to_owned(),
        _ => {
            let steps = line.split(' ').map(|it| if is_duration(it) { "…" } else { it });
            // The column of times is as wide as its widest, so blanks do not count.
            let words: Vec<&str> = steps.filter(|step| !step.is_empty()).collect();
            let indent = line.len() - line.trim_start().len();
            format!("{}{}\n", " ".repeat(indent), words.join(" "))
        }
    };
    text.lines().map(line).collect()
}

fn is_duration(word: &str) -> bool {
    let word = word.trim_start_matches(['+', '<']).trim_end_matches([':', ',']);
    let number = word.trim_end_matches("ms").trim_end_matches('s');
    number.len() < word.len() && number.parse::<f64>().is_ok()
}
