//! Whoever makes a mistake is told of it, once, and a repair that is written is the right one.
//!
//! Mistakes of every sort are made at seeded places of the shipped pipelines and of a sample that
//! uses what they do not. Of each is asserted that it is seen, that there is one finding for each,
//! and that a file that `check --fix` changes comes to the pipeline that was meant.

mod made;

use crate::support::{Full, checked, root};
use compiler::expand;
use compiler::files::PipelinePath;
use compiler::load::{PipelineLoader, PipelineTexts};
use compiler::report;
use language::diagnostic::Diagnostic;
use made::{Mistake, every_mistake};
use stages::catalog::Catalog;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are made.
const COUNT: usize = 300;
/// Another one makes others.
const SEED: u64 = 7;

/// A file that is right, and every mistake that can be made in it, by sort.
struct Right {
    path: PathBuf,
    text: String,
    expanded: String,
    mistakes: BTreeMap<&'static str, Vec<Mistake>>,
}

/// A folder with the shipped files, where repairs are written.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["pipelines", "schemas", "pipelines/tables"] {
            let Ok(entries) = std::fs::read_dir(root().join(name)) else { continue };
            std::fs::create_dir_all(folder.path().join(name)).expect("it is made");
            for entry in entries {
                let path = entry.expect("an entry").path();
                if path.is_file() && !path.to_string_lossy().ends_with(".test.kdl") {
                    let to = folder.path().join(name).join(path.file_name().expect("a name"));
                    std::fs::copy(&path, to).expect("it is copied");
                }
            }
        }
        let tables = folder.path().join("pipelines/tables");
        std::fs::create_dir_all(&tables).expect("it is made");
        let owners = "door,name,phone\nfront,Ines,1\n";
        std::fs::write(tables.join("owners.csv"), owners).expect("it writes");
        let sample = root().join("tests/mistakes/sample.kdl");
        std::fs::copy(sample, folder.path().join("pipelines/sample.kdl")).expect("it is copied");
        Folder { folder }
    }

    fn right(&self, name: &str) -> Right {
        let path = self.folder.path().join("pipelines").join(name);
        let text = std::fs::read_to_string(&path).expect("it reads");
        let expanded = expanded(&path, &text).unwrap_or_else(|| {
            panic!("{name} is right:\n{}", report::human(&found(&path, &text), false, 100))
        });
        let mistakes = every_mistake(&text);
        Right { path, text, expanded, mistakes }
    }
}

fn found(path: &Path, text: &str) -> Vec<Diagnostic> {
    checked(path, "a.kdl", text.as_bytes(), &Full).diagnostics
}

/// What a text comes to, where no problems found with it.
fn expanded(path: &Path, text: &str) -> Option<String> {
    let (place, catalog) = (&PipelinePath::of(path, None, None), Catalog::built_in());
    let given = PipelineTexts::of(text.as_bytes(), Path::new("a.kdl")).expect("it is text");
    let loader = PipelineLoader { place, overrides: &[], catalog: &catalog, environment: &Full };
    let (loaded, read) = loader.read(&given).plan();
    read.filter(|_| loaded.diagnostics.is_empty()).map(|it| expand::expand(&it, &catalog).kdl())
}

/// One or two mistakes in a file.
struct Case<'r> {
    right: &'r Right,
    mistakes: Vec<&'r Mistake>,
}

impl<'r> Case<'r> {
    /// Every third has two in different top nodes, and the one after it two in one.
    fn made(all: &'r [Right], dice: &mut fastrand::Rng, index: usize) -> Self {
        let right = &all[dice.usize(..all.len())];
        let pick = |dice: &mut fastrand::Rng| {
            let sorts: Vec<&Vec<Mistake>> = right.mistakes.values().collect();
            let sort = sorts[dice.usize(..sorts.len())];
            &sort[dice.usize(..sort.len())]
        };
        let mut mistakes = vec![pick(dice)];
        if index.is_multiple_of(3) {
            let other = (0..50).map(|_| pick(dice)).find(|it| it.goes_with(mistakes[0]));
            mistakes.extend(other);
        }
        if index % 3 == 1 {
            let beside = |mistake: &&Mistake| mistake.goes_beside(mistakes[0], &right.text);
            let other = (0..200).map(|_| pick(dice)).find(beside);
            mistakes.extend(other);
        }
        Case { right, mistakes }
    }

    fn text(&self) -> String {
        made::with(&self.right.text, &self.mistakes)
    }

    fn what(&self) -> String {
        let what: Vec<String> = self.mistakes.iter().map(|mistake| mistake.what.clone()).collect();
        let name = self.right.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{name}: {}", what.join("; and "))
    }

    /// What is wrong with how it is told.
    fn judged(&self, index: usize) -> Option<String> {
        let text = self.text();
        let told = found(&self.right.path, &text);
        let shown = || report::human(&told, false, 120);
        for mistake in &self.mistakes {
            let lines = mistake.lines(&self.right.text, &self.mistakes);
            let is_there = |diagnostic: &&Diagnostic| {
                let line = |at: usize| text[..at.min(text.len())].matches('\n').count();
                diagnostic.labels.iter().any(|label| lines.contains(&line(label.span.start)))
            };
            if told.iter().find(is_there).is_none() {
                return Some(format!("not seen in lines {lines:?}:\n{}", shown()));
            }
        }
        if told.len() != self.mistakes.len() {
            return Some(format!("{} findings:\n{}", told.len(), shown()));
        }
        if told.iter().all(|it| it.fix.is_empty()) {
            return None;
        }
        self.repaired(&text, index).map(|repaired| format!("{repaired}\n{}", shown()))
    }

    /// What is wrong with the file that `--fix` writes.
    fn repaired(&self, text: &str, index: usize) -> Option<String> {
        let file = self.right.path.with_file_name(format!("case-{index}.kdl"));
        std::fs::write(&file, text).expect("it writes");
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.args(["check", "--fix", "--quiet", "--allow-missing-env", "--format", "short"]);
        command.arg(&file).output().expect("it runs");
        let fixed = std::fs::read_to_string(&file).expect("it reads");
        std::fs::remove_file(&file).expect("it goes");
        if fixed == text {
            return None;
        }
        // What is left for the user is put right here, to see the rest.
        let whole = made::undone(&fixed, text, &self.right.text, &self.mistakes);
        match expanded(&self.right.path, &whole) {
            Some(it) if it == self.right.expanded => None,
            Some(_) => Some(format!("repaired to another pipeline:\n{}", differing(text, &fixed))),
            None => Some(format!("repaired to a wrong file:\n{}", differing(text, &fixed))),
        }
    }
}

fn differing(before: &str, after: &str) -> String {
    let old: Vec<&str> = before.lines().collect();
    let lines = after.lines().filter(|line| !old.contains(line));
    lines.map(|line| format!("  > {line}\n")).collect()
}

#[test]
fn every_mistake_is_seen_once_and_no_repair_does_harm() {
    let folder = Folder::new();
    let all: Vec<Right> =
        ["doorbell.kdl", "ci-alerts.kdl", "sample.kdl"].map(|it| folder.right(it)).into();
    let sorts: std::collections::BTreeSet<_> =
        all.iter().flat_map(|it| it.mistakes.keys()).collect();
    assert!(25 < sorts.len(), "mistakes of many sorts: {sorts:?}");
    let seed = std::env::var("MISTAKES_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(SEED);
    let mut dice = fastrand::Rng::with_seed(seed);
    let cases: Vec<Case<'_>> = (0..COUNT).map(|it| Case::made(&all, &mut dice, it)).collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    if let Some(why) = case.judged(index) {
                        let text = format!("{index}. {}: {why}", case.what());
                        wrong.lock().expect("no thread panics").insert(index, text);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panics");
    let shown: Vec<&str> = wrong.values().map(String::as_str).collect();
    assert!(shown.is_empty(), "{} of {COUNT}:\n{}", shown.len(), shown.join("\n"));
}
