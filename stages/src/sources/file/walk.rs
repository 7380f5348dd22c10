//! The pattern of a file source, and which files it leads to now.
//!
//! *Invariant:* a walk opens no file, ends, and names every folder and file that it could not look
//! at.

use super::identity::{FileId, FileStamp, kind_of};
use glob::{MatchOptions, Pattern, PatternError};
use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use store::{is_store_name, store_files};

/// Most files of one pattern; what is beyond them is not read, and that is said.
pub(super) const FILES_MAX: usize = 65_536;
/// Most folders looked into at once.
const FOLDERS_MAX: usize = 16_384;
/// Most of what is matched and no file that is remembered.
const STRANGE_MAX: usize = 1024;

/// As in shells: a `*` at the beginning of a name does not stand for a dot, so that swap files and
/// half-written copies, which are named so, are left alone.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A pattern for paths, by parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PathPattern {
    /// The folders in front that need no search.
    base: PathBuf,
    parts: Vec<PatternPart>,
    /// The database of a store whose files are left out.
    store: Option<Arc<Path>>,
}

#[derive(Debug, Clone, PartialEq)]
enum PatternPart {
    Name(String),
    Names(Pattern),
    /// `**`: any folders, also none.
    Folders,
}

/// A file that a pattern leads to.
#[derive(Debug, Clone)]
pub(super) struct FileSighting {
    pub(super) path: PathBuf,
    pub(super) id: FileId,
    pub(super) stamp: FileStamp,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct WalkResult {
    /// Each file once, whatever leads to it, in the order of their paths.
    pub(super) files: Vec<FileSighting>,
    pub(super) faults: Vec<WalkFault>,
    /// There is more than the limits allow.
    pub(super) is_cut: bool,
    /// What the pattern matches and is no file, with what it is, in the order of the paths.
    pub(super) strange: Vec<(PathBuf, &'static str)>,
    folders: usize,
}

/// What could not be looked at.
#[derive(Debug)]
pub(super) struct WalkFault {
    pub(super) path: PathBuf,
    pub(super) fault: io::Error,
    pub(super) is_folder: bool,
}

impl PathPattern {
    /// Reads a pattern that is relative to `folder`.
    pub(super) fn new(folder: &Path, pattern: &str) -> Result<Self, PatternError> {
        // As a whole first, so that a mistake is placed in what the user wrote.
        Pattern::new(pattern)?;
        let mut base = folder.to_owned();
        let mut parts = Vec::new();
        for component in Path::new(pattern).components() {
            match component {
                Component::Normal(name) if name == "**" => parts.push(PatternPart::Folders),
                Component::Normal(name) => {
                    let name = name.to_string_lossy().into_owned();
                    parts.push(match name.contains(['*', '?', '[']) {
                        true => PatternPart::Names(Pattern::new(&name)?),
                        false => PatternPart::Name(name),
                    });
                }
                Component::ParentDir if parts.is_empty() => base.push(".."),
                Component::ParentDir => parts.push(PatternPart::Name("..".to_owned())),
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => base.push(component.as_os_str()),
            }
        }
        while 1 < parts.len()
            && let PatternPart::Name(name) = &parts[0]
        {
            base.push(name);
            parts.remove(0);
        }
        Ok(PathPattern { base, parts, store: None })
    }

    /// Leaves the files of this store out: whoever opens and closes one of them in this process
    /// takes SQLite's locks away.
    pub(super) fn apart_from(self, store: Option<Arc<Path>>) -> Self {
        PathPattern { store, ..self }
    }

    /// The one path, when there is nothing to search.
    pub(super) fn exact(&self) -> Option<PathBuf> {
        match &self.parts[..] {
            [PatternPart::Name(name)] => Some(self.base.join(name)),
            _ => None,
        }
    }

    /// Why nothing can ever be read under the one path; `None` where there is one or may come.
    pub(super) fn fault(&self, is_follow: bool) -> Option<String> {
        let path = self.exact()?;
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => None,
            Ok(metadata) => {
                Some(format!("{} is {}, not a file", path.display(), kind_of(&metadata)))
            }
            Err(_)
                if matches!(std::fs::metadata(&self.base), Ok(it) if !it.is_dir())
                    || matches!(self.base.try_exists(), Ok(false)) =>
            {
                Some(format!("there is no folder {}", self.base.display()))
            }
            Err(fault) if fault.kind() == io::ErrorKind::NotFound && !is_follow => {
                Some(format!("there is no file {}", path.display()))
            }
            // It may come, or be readable later.
            Err(_) => None,
        }
    }

    /// The folder in which the search begins.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Looks which files there are.
    pub(super) fn walk(&self) -> WalkResult {
        let mut result = WalkResult::default();
        result.visit(&self.base, &self.parts);
        result.files.sort_by(|a, b| a.path.cmp(&b.path));
        result.files.dedup_by(|a, b| a.path == b.path);
        if let Some(store) = &self.store {
            result.set_aside(store);
        }
        result.files = once_each(std::mem::take(&mut result.files));
        // With `**` a folder is looked into, whatever its name.
        if self.parts.iter().any(|part| matches!(part, PatternPart::Folders)) {
            result.strange.retain(|(path, _)| !path.is_dir());
        }
        result.strange.sort();
        result
    }
}

impl WalkResult {
    fn visit(&mut self, folder: &Path, parts: &[PatternPart]) {
        let Some((part, rest)) = parts.split_first() else { return };
        match part {
            PatternPart::Name(name) if rest.is_empty() => self.take(folder.join(name), true),
            PatternPart::Name(name) => self.visit(&folder.join(name), rest),
            PatternPart::Names(pattern) => self.search(folder, pattern, rest),
            PatternPart::Folders => {
                // `**` at the end leads to all files below.
                let all = [PatternPart::Names(any_name())];
                self.visit(folder, if rest.is_empty() { &all } else { rest });
                // Links to folders are not followed here: they would lead in circles.
                for entry in self.entries(folder) {
                    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                    if is_folder && !is_hidden(&entry) {
                        self.visit(&entry.path(), parts);
                    }
                }
            }
        }
    }

    fn search(&mut self, folder: &Path, pattern: &Pattern, rest: &[PatternPart]) {
        for entry in self.entries(folder) {
            if !pattern.matches_with(&entry.file_name().to_string_lossy(), MATCHING) {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if rest.is_empty() {
                self.take(entry.path(), false);
            } else if kind.is_dir() || kind.is_symlink() {
                self.visit(&entry.path(), rest);
            }
        }
    }

    fn take(&mut self, path: PathBuf, is_exact: bool) {
        if FILES_MAX <= self.files.len() {
            self.is_cut = true;
            return;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                self.files.push(FileSighting::of(path, &metadata))
            }
            Ok(metadata) if is_exact => {
                let words = format!("it is {}, not a file", kind_of(&metadata));
                self.note(path, io::Error::other(words), false);
            }
            Ok(metadata) if self.strange.len() < STRANGE_MAX => {
                self.strange.push((path, kind_of(&metadata)));
            }
            Ok(_) => {}
            Err(fault) => self.note(path, fault, false),
        }
    }

    /// The files of the store, by name and by what they are.
    fn set_aside(&mut self, store: &Path) {
        let own = store_files(store).filter_map(|path| std::fs::metadata(path).ok());
        let own: Vec<FileId> = own.map(|metadata| FileId::of(&metadata)).collect();
        let is_own = |it: &FileSighting| own.contains(&it.id) || is_store_name(store, &it.path);
        let (set_aside, files) = std::mem::take(&mut self.files).into_iter().partition(is_own);
        self.files = files;
        let set_aside: Vec<FileSighting> = set_aside;
        let named = set_aside.into_iter().map(|it| (it.path, "a file of the store"));
        self.strange.extend(named.take(STRANGE_MAX - self.strange.len().min(STRANGE_MAX)));
    }

    fn entries(&mut self, folder: &Path) -> Vec<std::fs::DirEntry> {
        self.folders += 1;
        if FOLDERS_MAX < self.folders {
            self.is_cut = true;
            return Vec::new();
        }
        let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        entries.unwrap_or_else(|fault| {
            self.note(folder.to_owned(), fault, true);
            Vec::new()
        })
    }

    /// What is not there is no fault: it may have gone since its folder was read, or a link leads
    /// nowhere.
    fn note(&mut self, path: PathBuf, fault: io::Error, is_folder: bool) {
        if !matches!(fault.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.faults.push(WalkFault { path, fault, is_folder });
        }
    }
}

impl FileSighting {
    pub(super) fn of(path: PathBuf, metadata: &Metadata) -> Self {
        FileSighting { path, id: FileId::of(metadata), stamp: FileStamp::of(metadata) }
    }
}

fn any_name() -> Pattern {
    Pattern::new("*").expect("a star is a pattern")
}

fn is_hidden(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

/// Of several names of one file the first that is no link, or else the first.
fn once_each(files: Vec<FileSighting>) -> Vec<FileSighting> {
    let mut places: HashMap<(u64, u64), usize> = HashMap::with_capacity(files.len());
    let mut once: Vec<FileSighting> = Vec::with_capacity(files.len());
    for file in files {
        match places.get(&(file.id.device, file.id.inode)) {
            Some(&place) => {
                if is_link(&once[place].path) && !is_link(&file.path) {
                    once[place] = file;
                }
            }
            None => {
                places.insert((file.id.device, file.id.inode), once.len());
                once.push(file);
            }
        }
    }
    once.sort_by(|a, b| a.path.cmp(&b.path));
    once
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[&str]) -> Self {
            let tree = Tree(tempfile::tempdir().unwrap());
            for file in files {
                let path = tree.0.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file).unwrap();
            }
            tree
        }

        fn walk(&self, pattern: &str) -> WalkResult {
            PathPattern::new(self.0.path(), pattern).unwrap().walk()
        }

        /// What is left out, with what it is.
        fn strange(&self, result: &WalkResult) -> Vec<(String, &'static str)> {
            let names = self.names(result.strange.iter().map(|it| it.0.clone()));
            names.into_iter().zip(result.strange.iter().map(|it| it.1)).collect()
        }

        fn names(&self, paths: impl Iterator<Item = PathBuf>) -> Vec<String> {
            paths
                .map(|path| path.strip_prefix(self.0.path()).unwrap().display().to_string())
                .collect()
        }

        #[track_caller]
        fn check(&self, pattern: &str, expected: &[&str]) {
            let result = self.walk(pattern);
            assert_eq!(self.names(result.files.into_iter().map(|file| file.path)), expected);
        }
    }

    #[test]
    fn a_pattern_leads_to_files_in_the_order_of_their_paths() {
        let tree = Tree::new(&["b.log", "a.log", "a.txt", ".x.log", "in/c.log", "in/deep/d.log"]);
        fs::create_dir(tree.0.path().join("dir.log")).unwrap();
        tree.check("*.log", &["a.log", "b.log"]);
        tree.check(".*.log", &[".x.log"]);
        tree.check("./a.log", &["a.log"]);
        tree.check("in/../a.log", &["in/../a.log"]);
        tree.check("*/*.log", &["in/c.log"]);
        tree.check("**/*.log", &["a.log", "b.log", "in/c.log", "in/deep/d.log"]);
        tree.check("in/**", &["in/c.log", "in/deep/d.log"]);
        tree.check("?.t[xy]t", &["a.txt"]);
        tree.check("no/*/where", &[]);
        tree.check("a.log/*", &[]);
    }

    #[test]
    fn the_folder_of_the_pipeline_may_be_named_like_a_pattern() {
        let tree = Tree::new(&["[old]*/a.log"]);
        let folder = tree.0.path().join("[old]*");
        let found = PathPattern::new(&folder, "*.log").unwrap().walk().files;
        assert_eq!(tree.names(found.into_iter().map(|it| it.path)), ["[old]*/a.log"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_to_one_file_and_a_broken_one_to_none() {
        use std::os::unix::fs::symlink;
        let tree = Tree::new(&["logs/b.log", "2026/x.log"]);
        let at = |name: &str| tree.0.path().join(name);
        symlink("b.log", at("logs/a.log")).unwrap();
        fs::hard_link(at("logs/b.log"), at("logs/c.log")).unwrap();
        symlink("/nowhere/at/all", at("logs/d.log")).unwrap();
        tree.check("logs/*.log", &["logs/b.log"]);
        tree.check("logs/a.log", &["logs/a.log"]);
        symlink("2026", at("latest")).unwrap();
        tree.check("*/x.log", &["2026/x.log"]);
        symlink(".", at("2026/again")).unwrap();
        tree.check("**/x.log", &["2026/x.log"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_circle_of_links_and_what_is_no_file_are_named() {
        use std::os::unix::fs::symlink;
        let tree = Tree::new(&["a/x.log"]);
        symlink("loop", tree.0.path().join("loop")).unwrap();
        let result = tree.walk("*/*.log");
        let faults = tree.names(result.faults.iter().map(|fault| fault.path.clone()));
        assert_eq!((result.files.len(), faults), (1, vec!["loop".to_owned()]));
        let fault = tree.walk("a").faults.pop().unwrap().fault;
        assert_eq!(fault.to_string(), "it is a folder, not a file");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_pattern_matches_and_is_no_file_is_named() {
        use std::os::unix::fs::symlink;
        let tree = Tree::new(&["logs/a.log", "logs/in/b.log"]);
        let at = |name: &str| tree.0.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(at("logs/s.log")).unwrap();
        symlink(at("logs/in"), at("logs/l.log")).unwrap();
        symlink("/nowhere/at/all", at("logs/n.log")).unwrap();
        for (pattern, expected) in [
            (
                "logs/*",
                &[
                    "logs/in a folder",
                    "logs/l.log a folder",
                    "logs/s.log a pipe, a socket or a device",
                ][..],
            ),
            ("logs/*.log", &["logs/l.log a folder", "logs/s.log a pipe, a socket or a device"]),
            ("logs/a*", &[]),
            ("**/*", &["logs/s.log a pipe, a socket or a device"]),
            ("logs/**", &["logs/s.log a pipe, a socket or a device"]),
        ] {
            let strange = tree.walk(pattern).strange.into_iter();
            let shown = strange.map(|(path, kind)| {
                format!("{} {kind}", tree.names(std::iter::once(path)).join(""))
            });
            assert_eq!(shown.collect::<Vec<_>>(), expected, "{pattern}");
        }
    }

    #[test]
    fn one_path_needs_no_search() {
        let exact = |text| PathPattern::new(Path::new("/x"), text).unwrap().exact();
        assert_eq!(exact("../y/a.log"), Some(PathBuf::from("/x/../y/a.log")));
        assert_eq!(exact("/y/a.log"), Some(PathBuf::from("/y/a.log")));
        assert_eq!((exact("a*"), exact("*/a"), exact("**")), (None, None, None));
    }

    #[test]
    fn the_files_of_the_store_are_left_out_under_every_name() {
        let tree = Tree::new(&["a.db", "a.db-wal", "a.db.jsonl", "b.db"]);
        let at = |name: &str| tree.0.path().join(name);
        fs::hard_link(at("a.db"), at("copy")).unwrap();
        std::os::unix::fs::symlink(at("a.db-wal"), at("link")).unwrap();
        let pattern = PathPattern::new(tree.0.path(), "*").unwrap();
        let result = pattern.apart_from(Some(at("a.db").into())).walk();
        let left =
            ["a.db", "a.db-wal", "copy", "link"].map(|it| (it.to_owned(), "a file of the store"));
        assert_eq!(tree.strange(&result), left);
        let files = result.files.into_iter().map(|file| file.path);
        assert_eq!(tree.names(files), ["a.db.jsonl", "b.db"]);
    }
}
