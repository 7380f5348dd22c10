//! Files that a real logrotate rotates while a program writes them and the engine follows them.
//!
//! `create` renames: the program keeps writing to the renamed file until it is told to open the
//! new one, as by a `postrotate` signal. `copytruncate` loses by itself what is written between
//! its copy and its truncation, so there the program holds still meanwhile; how far the engine has
//! read by then is left to chance. What it has is held against every line that was written.

use super::figures::{Figures, Run};
use super::load::{self, Ledger};
use super::share;
use crate::support::{Engine, load as store};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Where a system has it.
const LOGROTATE: [&str; 2] = ["/usr/sbin/logrotate", "/usr/bin/logrotate"];

#[test]
fn files_that_are_renamed_and_begun_anew_are_read_once() {
    rotate("rotation by create", "create 0644", Manner::Renames);
}

#[test]
fn files_that_are_copied_and_truncated_are_read_once() {
    rotate("rotation by copytruncate", "copytruncate", Manner::Copies);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Renames,
    Copies,
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn rotate(experiment: &'static str, mode: &str, manner: Manner) {
    let Some(logrotate) = LOGROTATE.iter().find(|path| Path::new(path).exists()) else {
        eprintln!("skipped: {experiment} needs logrotate");
        return;
    };
    let run = Run::begin();
    let site = Site::new(logrotate, mode);
    let data = site.folder.path().join("data");
    let mut engine = Engine::start(&site.pipeline(), &data, &["--watch", "off"]);
    let (rotations, lines) = (share(20).max(2), share(500_000));
    let writer = Writer::new(&site.log(), run.seed, lines);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| writer.write_all());
        for rotation in 1..=rotations {
            // Spread over the lines, the last one before the end.
            writer.wait_for(lines * rotation / (rotations + 1));
            match manner {
                Manner::Renames => {
                    site.rotate();
                    writer.reopen();
                }
                Manner::Copies => writer.hold_still(|| site.rotate()),
            }
        }
        writing.join().expect("it writes to the end");
    });
    let ledger = writer.ledger();
    ledger.wait_for_store(&data);
    assert_eq!(site.rotated(), rotations, "logrotate did its work");
    assert_eq!(engine.stop(), 0);
    let store = store::open(&data);
    load::assert_settled(&store);
    let wrong = ledger.against_store(&store, &["events"]);
    let figures = Figures {
        experiment,
        unit: "rotations",
        count: rotations,
        acknowledged: ledger.acknowledged(),
        lost: wrong.lost,
        doubled: wrong.doubled,
        note: "acknowledged are lines that were written".to_owned(),
        seed: run.seed,
        took: run.took(),
    };
    figures.tell();
    assert_eq!((figures.lost, figures.doubled), (0, 0), "lost and doubled");
}

/// A folder with a log, its rotation, and a pipeline that follows it.
struct Site {
    folder: tempfile::TempDir,
    logrotate: PathBuf,
}

impl Site {
    fn new(logrotate: &str, mode: &str) -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let site = Site { folder, logrotate: logrotate.into() };
        std::fs::create_dir(site.folder.path().join("pipelines")).expect("a folder");
        std::fs::create_dir(site.folder.path().join("log")).expect("a folder");
        let pipeline = r#"
pipeline rotation schema-version=1
source file lines { path "../log/app.log*"; follow }
sink sqlite store { path "../data/events.db"; retention { keep "1d" } }
"#;
        std::fs::write(site.pipeline(), pipeline).expect("it is written");
        let log = site.log();
        let rules = format!(
            "{} {{\n    {mode}\n    rotate 1000\n    nocompress\n    missingok\n}}\n",
            log.display()
        );
        std::fs::write(site.rules(), rules).expect("it is written");
        // Who rotates insists that nobody else can write its rules.
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(site.rules(), mode).expect("they are ours");
        site
    }

    fn pipeline(&self) -> PathBuf {
        self.folder.path().join("pipelines/rotation.kdl")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log/app.log")
    }

    fn rules(&self) -> PathBuf {
        self.folder.path().join("rules")
    }

    fn rotate(&self) {
        let mut command = Command::new(&self.logrotate);
        command.arg("--force").arg("--state").arg(self.folder.path().join("state"));
        let output = command.arg(self.rules()).output().expect("logrotate runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "logrotate is content: {said}");
    }

    /// How many files were set aside.
    fn rotated(&self) -> u64 {
        let files = std::fs::read_dir(self.folder.path().join("log")).expect("a folder");
        files.count() as u64 - 1
    }
}

/// A program that appends to its log.
struct Writer {
    path: PathBuf,
    seed: u64,
    lines: u64,
    state: Mutex<Written>,
}

struct Written {
    file: File,
    ledger: Ledger,
}

impl Writer {
    fn new(path: &Path, seed: u64, lines: u64) -> Writer {
        let state = Mutex::new(Written { file: append(path), ledger: Ledger::default() });
        Writer { path: path.to_owned(), seed, lines, state }
    }

    fn write_all(&self) {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut number = 0;
        while number < self.lines {
            let mut written = self.state.lock().expect("nobody panics with it");
            let mut text = String::new();
            for _ in 0..random.u64(1..100).min(self.lines - number) {
                let id = format!("{:x}-{number}", self.seed);
                let event = load::event(&mut random, &id, number);
                text.push_str(&event);
                text.push('\n');
                written.ledger.note(id, &event);
                number += 1;
            }
            // In two pieces, so that a look and a rotation may find half a line.
            let (begin, end) = text.as_bytes().split_at(text.len() / 2);
            written.file.write_all(begin).expect("it is written");
            written.file.write_all(end).expect("it is written");
            drop(written);
            std::thread::yield_now();
        }
    }

    /// Waits until so many lines are written.
    fn wait_for(&self, lines: u64) {
        let many = || self.state.lock().expect("nobody panics with it").ledger.acknowledged();
        crate::support::until("it writes", || lines <= many());
    }

    /// Goes on in the file that has the name now.
    fn reopen(&self) {
        self.state.lock().expect("nobody panics with it").file = append(&self.path);
    }

    /// Does something while nothing is written.
    fn hold_still(&self, what: impl FnOnce()) {
        let _held = self.state.lock().expect("nobody panics with it");
        what();
    }

    fn ledger(self) -> Ledger {
        self.state.into_inner().expect("nobody panics with it").ledger
    }
}

fn append(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("the log can be written")
}
