//! What cannot be read at the moment: each file's trouble is its own, is named, and ends by itself.

use super::identity::is_out_of_descriptors;
use super::walk::WalkFault;
use kernel::health::{HealthProblem, PartHealth};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Waits between two attempts at one file.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Most files whose trouble is kept apart.
const TROUBLES_MAX: usize = 1024;

/// Most that is named of what is no file.
const STRANGE_NAMED: usize = 3;

const FILE: &str = "file-unreadable";
const FOLDER: &str = "folder-unreadable";
const DESCRIPTORS: &str = "no-descriptors";
const COMPRESSED: &str = "compressed-files";
const STRANGE: &str = "not-a-file";
const MISSING: &str = "file-missing";
const TOO_MANY: &str = "too-many-files";
const HOLE: &str = "nul-bytes";
const UTF16: &str = "not-utf8";

/// The troubles of one source.
pub(super) struct FileTroubles {
    health: PartHealth,
    /// Files that could not be opened or read.
    files: BTreeMap<PathBuf, FileTrouble>,
    /// What the last walk could not look at.
    walk: BTreeMap<PathBuf, WalkTrouble>,
    compressed: BTreeSet<PathBuf>,
    told_compressed: usize,
    /// What the pattern matches and is no file, with what it is.
    strange: Vec<(PathBuf, &'static str)>,
    is_short: bool,
    is_missing: bool,
}

#[derive(Debug)]
struct WalkTrouble {
    code: &'static str,
    reason: String,
}

#[derive(Debug)]
struct FileTrouble {
    reason: String,
    wait: Duration,
    next: Duration,
}

impl FileTroubles {
    pub(super) fn new(health: PartHealth) -> Self {
        FileTroubles {
            health,
            files: BTreeMap::new(),
            walk: BTreeMap::new(),
            compressed: BTreeSet::new(),
            told_compressed: 0,
            strange: Vec::new(),
            is_short: false,
            is_missing: false,
        }
    }

    /// Whether it is time to try a file again.
    pub(super) fn may_try(&self, path: &Path, now: Duration) -> bool {
        self.files.get(path).is_none_or(|trouble| trouble.next <= now)
    }

    /// Whether a file could not be opened or read at the last attempt.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// A file could not be opened or read. One that is gone is not a problem.
    pub(super) fn note_file(&mut self, path: &Path, fault: &io::Error, now: Duration) {
        if is_out_of_descriptors(fault) {
            self.note_short(fault);
        } else if fault.kind() == io::ErrorKind::NotFound {
            return;
        } else {
            let reason = format!("cannot read {}: {fault}", path.display());
            report(&self.health, FILE, path, &reason, fault);
        }
        if TROUBLES_MAX <= self.files.len() && !self.files.contains_key(path) {
            return;
        }
        let before = self.files.get(path).map(|trouble| trouble.wait * 2);
        let wait = before.unwrap_or(BACKOFF_MIN).min(BACKOFF_MAX);
        let reason = format!("{}: {fault}", path.display());
        self.files.insert(path.to_owned(), FileTrouble { reason, wait, next: now + wait });
    }

    fn note_short(&mut self, fault: &io::Error) {
        self.is_short = true;
        let problem =
            HealthProblem::degraded(DESCRIPTORS, format!("cannot open more files: {fault}"));
        self.health.report(problem.advise(
            "raise the limit of open files (`ulimit -n`, `LimitNOFILE=`); files are read in turn \
             meanwhile",
        ));
    }

    /// A file was opened or read.
    pub(super) fn clear_file(&mut self, path: &Path) {
        if self.files.remove(path).is_some() {
            self.health.clear_about(FILE, &path.display().to_string());
        }
        if self.is_short && self.files.is_empty() {
            self.is_short = false;
            self.health.clear(DESCRIPTORS);
        }
    }

    /// Troubles of files that are not there any more are over.
    pub(super) fn keep_files(&mut self, is_there: impl Fn(&Path) -> bool) {
        let gone = self.files.keys().chain(&self.compressed).filter(|path| !is_there(path));
        for path in gone.cloned().collect::<Vec<_>>() {
            self.clear_file(&path);
            self.compressed.remove(&path);
        }
        self.tell_compressed();
    }

    /// What a walk could not look at; what it could look at again is over.
    pub(super) fn note_walk(&mut self, faults: Vec<WalkFault>) {
        let mut walk = BTreeMap::new();
        for WalkFault { path, fault, is_folder } in faults {
            let code = if is_folder { FOLDER } else { FILE };
            let what = if is_folder { "look into" } else { "read" };
            let reason = format!("cannot {what} {}: {fault}", path.display());
            report(&self.health, code, &path, &reason, &fault);
            let reason = format!("{}: {fault}", path.display());
            walk.insert(path, WalkTrouble { code, reason });
        }
        for (path, WalkTrouble { code, .. }) in std::mem::replace(&mut self.walk, walk) {
            if !self.walk.contains_key(&path) && !self.files.contains_key(&path) {
                self.health.clear_about(code, &path.display().to_string());
            }
        }
    }

    /// A compressed file is skipped.
    pub(super) fn note_compressed(&mut self, path: &Path) {
        if self.compressed.len() < TROUBLES_MAX {
            self.compressed.insert(path.to_owned());
        }
        self.tell_compressed();
    }

    /// One note for the whole source, however many there are.
    fn tell_compressed(&mut self) {
        if self.told_compressed == self.compressed.len() {
            return;
        }
        self.told_compressed = self.compressed.len();
        let Some(first) = self.compressed.first() else { return self.health.clear(COMPRESSED) };
        let reason = match self.compressed.len() - 1 {
            0 => format!("skips a compressed file, {}", first.display()),
            more => format!("skips compressed files, {} and {more} more", first.display()),
        };
        self.health.report(HealthProblem::degraded(COMPRESSED, reason).advise(
            "everything read before the compression is already stored; make the pattern narrower, \
             or decompress files that were never read (`zcat FILE | engine run` with `source stdin`)",
        ));
    }

    /// What the last walk found that is no file: one note for the whole source.
    pub(super) fn note_strange(&mut self, strange: Vec<(PathBuf, &'static str)>) {
        if self.strange == strange {
            return;
        }
        self.strange = strange;
        if self.strange.is_empty() {
            return self.health.clear(STRANGE);
        }
        let named = self.strange.iter().take(STRANGE_NAMED);
        let named: Vec<String> =
            named.map(|(path, kind)| format!("{} ({kind})", path.display())).collect();
        let more = match self.strange.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let reason = format!("skips what it cannot read: {}{more}", named.join(", "));
        self.health.report(
            HealthProblem::degraded(STRANGE, reason)
                .advise("make the pattern narrower, or move them to another folder"),
        );
    }

    /// Whether a path that has never been there is waited for.
    pub(super) fn note_missing(&mut self, missing: Option<&Path>) {
        match missing {
            Some(path) => {
                self.is_missing = true;
                let reason = format!("there is no {} yet", path.display());
                let problem = HealthProblem::degraded(MISSING, reason);
                let problem = problem.about(path.display().to_string());
                self.health.report(problem.advise("check the path; it is read once it is there"));
            }
            None if self.is_missing => {
                self.is_missing = false;
                self.health.clear(MISSING);
            }
            None => {}
        }
    }

    /// Whether there are more files than are looked at.
    pub(super) fn note_too_many(&mut self, files_max: Option<usize>) {
        let Some(files_max) = files_max else { return self.health.clear(TOO_MANY) };
        let reason =
            format!("the pattern matches more than {files_max} files; the rest is not read");
        let problem = HealthProblem::degraded(TOO_MANY, reason);
        self.health.report(problem.advise("make the pattern narrower, or use several sources"));
    }

    /// Zeros were passed in a file.
    pub(super) fn note_hole(&self, path: &Path, offset: u64, length: u64) {
        let file = path.display();
        let reason = format!("passed {length} NUL bytes at byte {offset} of {file}");
        let problem = HealthProblem::degraded(HOLE, reason).about(file.to_string());
        self.health.report(problem.advise(
            "the program writes at its old offset after a truncation: let it append (O_APPEND, `>>`), \
             or rotate with `create` instead of `copytruncate`",
        ));
    }

    /// A file is not UTF-8.
    pub(super) fn note_utf16(&self, path: &Path) {
        let reason = format!("{} is UTF-16 text, its lines are rejected", path.display());
        let problem = HealthProblem::degraded(UTF16, reason).about(path.display().to_string());
        let advice = "let the program write UTF-8, or convert the file with `iconv -f UTF-16`";
        self.health.report(problem.advise(advice));
    }

    /// A file was begun again or has gone, and with it what was said about its content.
    pub(super) fn clear_content(&self, path: &Path) {
        let about = path.display().to_string();
        self.health.clear_about(HOLE, &about);
        self.health.clear_about(UTF16, &about);
    }

    /// The first file that could not be read, with the reason, and how many there are.
    pub(super) fn unread(&self) -> Option<(&str, usize)> {
        let opened = self.files.values().map(|file| &*file.reason);
        let walked =
            self.walk.values().filter(|value| value.code == FILE).map(|value| &*value.reason);
        let mut reasons = opened.chain(walked);
        let first = reasons.next()?;
        Some((first, 1 + reasons.count()))
    }
}

fn report(health: &PartHealth, code: &'static str, path: &Path, reason: &str, fault: &io::Error) {
    let advice = match fault.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the engine's user read it; for logrotate, `create 0640 USER GROUP`"
        }
        _ if fault.raw_os_error().is_none() => "name a file, or a pattern that matches files",
        _ => "check the file and its file system; it is retried automatically",
    };
    let problem = HealthProblem::degraded(code, reason).about(path.display().to_string());
    health.report(problem.advise(advice));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use kernel::health::{HealthState, PartRole};

    fn troubles() -> (std::sync::Arc<kernel::health::Health>, FileTroubles) {
        let env = testing::alone().env;
        let part = env.health.part(PartRole::Source, "logs");
        (env.health.clone(), FileTroubles::new(part))
    }

    fn reasons(health: &kernel::health::Health) -> Vec<String> {
        let problems = health.report().into_iter().flat_map(|it| it.problems);
        problems
            .map(|problem| format!("{} {}", problem.problem.code, problem.problem.reason))
            .collect()
    }

    fn denied() -> io::Error {
        io::Error::from(io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_file_is_tried_again_less_and_less_often() {
        let (health, mut troubles) = troubles();
        let (path, mut now) = (Path::new("/b.log"), Duration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..7 {
            troubles.note_file(path, &denied(), now);
            let before = now;
            while !troubles.may_try(path, now) {
                now += Duration::from_millis(100);
            }
            waits.push((now - before).as_millis());
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(troubles.may_try(Path::new("/a.log"), Duration::ZERO));
        assert_eq!(reasons(&health), ["file-unreadable cannot read /b.log: permission denied"]);
        troubles.clear_file(path);
        assert_eq!(reasons(&health), Vec::<String>::new());
        assert_eq!(health.worst(PartRole::Source), HealthState::Ok);
    }

    #[test]
    fn a_file_that_has_gone_is_no_trouble() {
        let (health, mut troubles) = troubles();
        let gone = io::Error::from(io::ErrorKind::NotFound);
        troubles.note_file(Path::new("/a.log"), &gone, Duration::ZERO);
        troubles.note_file(Path::new("/b.log"), &denied(), Duration::ZERO);
        troubles.keep_files(|path| path != Path::new("/b.log"));
        assert_eq!((reasons(&health), troubles.unread()), (vec![], None));
    }

    #[test]
    fn a_folder_is_named_until_it_can_be_looked_into() {
        let (health, mut troubles) = troubles();
        let path = PathBuf::from("/logs/x");
        troubles.note_walk(vec![WalkFault { path, fault: denied(), is_folder: true }]);
        assert_eq!(
            reasons(&health),
            ["folder-unreadable cannot look into /logs/x: permission denied"]
        );
        troubles.note_walk(Vec::new());
        assert_eq!(reasons(&health), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_file_gets_one_note_together_until_it_is_gone() {
        let (health, mut troubles) = troubles();
        let strange = |count: usize| {
            let path = |number: usize| PathBuf::from(format!("/l/{number}"));
            (0..count).map(|number| (path(number), "a pipe")).collect::<Vec<_>>()
        };
        troubles.note_strange(strange(1));
        let note = "not-a-file skips what it cannot read: /l/0 (a pipe)";
        assert_eq!(reasons(&health), [note]);
        troubles.note_strange(strange(5));
        let note = format!("{note}, /l/1 (a pipe), /l/2 (a pipe) and 2 more");
        assert_eq!(reasons(&health), [note]);
        troubles.note_strange(Vec::new());
        assert_eq!(reasons(&health), Vec::<String>::new());
    }

    #[test]
    fn compressed_files_get_one_note_together() {
        let (health, mut troubles) = troubles();
        troubles.note_compressed(Path::new("/a.2.gz"));
        troubles.note_compressed(Path::new("/a.1.gz"));
        let note = "compressed-files skips compressed files, /a.1.gz and 1 more";
        assert_eq!(reasons(&health), [note]);
        troubles.keep_files(|_| false);
        assert_eq!(reasons(&health), Vec::<String>::new());
    }
}
