//! Which files a pipeline may read and where it may write.
//!
//! Never: a read outside the pipeline's root, whatever the path in the file says.

mod exposure;
mod unread;

pub use exposure::{FileExposure, file_exposure, report_exposure};
pub use unread::cannot_read;

use crate::document;
use kernel::pattern::glob_fits;
use kernel::regular_file;
use language::diagnostic::SourceText;
use language::{FileFault, Files, PathEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A schema or table larger than this is refused.
const SIZE_MAX: u64 = 10 << 20;

/// Where a pipeline file lies and what it may open.
#[derive(Debug, Clone)]
pub struct PipelinePath {
    /// The pipeline file as the user wrote it.
    pub file: PathBuf,
    /// Its folder.
    pub folder: PathBuf,
    /// Nothing outside is read.
    pub root: PathBuf,
    /// Stands in for `data/` beside `pipelines/`, when asked for.
    pub data: Option<PathBuf>,
    /// Texts that are read instead of what the files hold: repairs that are tried before they
    /// are written.
    pub instead: BTreeMap<PathBuf, String>,
}

impl PipelinePath {
    /// The root is the folder that holds `pipelines/`, or the file's own folder.
    pub fn of(file: &Path, root: Option<&Path>, data: Option<&Path>) -> Self {
        let folder = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let folder_full = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        let around = match folder_full.parent() {
            Some(parent) if folder_full.ends_with("pipelines") => parent.to_owned(),
            _ => folder_full,
        };
        let root =
            root.map_or(around, |root| root.canonicalize().unwrap_or_else(|_| root.to_owned()));
        let (file, data) = (file.to_owned(), data.map(Path::to_owned));
        PipelinePath { file, folder, root, data, instead: BTreeMap::new() }
    }

    /// Where a path that the engine writes leads.
    ///
    /// With a data folder, `../data/x` becomes `DIR/x`, and any other relative path goes below
    /// DIR without its `..`.
    pub fn written(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        let Some(data) = self.data.as_ref().filter(|_| path.is_relative()) else {
            return tidy(&self.folder.join(path));
        };
        let below: PathBuf =
            path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        data.join(below.strip_prefix("data").unwrap_or(&below))
    }
}

/// Replaces the text of a file: who reads it meanwhile sees the old one or the new one, whole.
///
/// A link stays a link, and the file keeps its permissions.
pub fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let file = path.canonicalize()?;
    let permissions = file.metadata()?.permissions();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = (|| {
        let mut new = std::fs::OpenOptions::new().write(true).create_new(true).open(&beside)?;
        new.write_all(text.as_bytes())?;
        new.set_permissions(permissions)?;
        new.sync_all()?;
        std::fs::rename(&beside, &file)
    })();
    if written.is_err() {
        std::fs::remove_file(&beside).ok();
    }
    written
}

/// The bytes of a pipeline file. Of one that is too large there are enough for
/// [`document::text`] to say so.
pub fn read_pipeline(path: &Path) -> std::io::Result<Vec<u8>> {
    regular_file::read_start(path, document::SIZE_MAX as u64 + 1)
}

/// The pipeline files that `paths` name: a folder stands for those in it, in the order of their
/// names, and a file of tests for the pipeline that it tests. Each comes once.
pub fn pipelines(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths {
        let files = if path.is_dir() { in_folder(path).ok() } else { None };
        for file in files.unwrap_or_else(|| vec![path.clone()]) {
            let file = tested_by(&file).unwrap_or(file);
            if !found.contains(&file) {
                found.push(file);
            }
        }
    }
    found
}

/// The pipeline files of a folder and the folders below it, sorted: `*.kdl`, but neither tests
/// (`*.test.kdl`), nor what is hidden, nor what another of them includes.
pub fn in_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            // A folder behind a link is left out, so that no circle is walked.
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if name.ends_with(".kdl") && !name.ends_with(".test.kdl") && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    let included: BTreeSet<PathBuf> = files
        .iter()
        .flat_map(|file| included_by(file))
        .filter_map(|it| it.canonicalize().ok())
        .collect();
    files.retain(|file| file.canonicalize().map_or(true, |it| !included.contains(&it)));
    Ok(files)
}

/// The files that a file includes, as far as its text can be read.
fn included_by(file: &Path) -> Vec<PathBuf> {
    let is_small = file.metadata().is_ok_and(|metadata| metadata.len() <= SIZE_MAX);
    let text = if is_small { std::fs::read_to_string(file).ok() } else { None };
    let folder = file.parent().unwrap_or(Path::new("."));
    let names = text.map(|text| document::included(&text)).unwrap_or_default();
    let paths = names.into_iter().flat_map(|name| match name.contains('*') {
        true => matching(folder, &name),
        false => vec![folder.join(name)],
    });
    paths.filter(|it| *it != file).collect()
}

/// The files that a pattern such as `common/*.kdl` names.
fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let (below, pattern) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let entries = std::fs::read_dir(folder.join(below)).into_iter().flatten().flatten();
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".kdl") && glob_fits(pattern, &name)
    };
    entries.map(|entry| entry.path()).filter(fits).collect()
}

/// The pipeline file that `NAME.test.kdl` belongs to.
pub fn tested_by(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?.strip_suffix(".test.kdl")?;
    Some(file.with_file_name(format!("{name}.kdl")))
}

/// Takes `a/../` out of a path as text, so that messages and names are short.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        let can_pop = matches!(tidied.components().next_back(), Some(Component::Normal(_)));
        match part {
            Component::ParentDir if can_pop => {
                tidied.pop();
            }
            Component::CurDir => {}
            other => tidied.push(other),
        }
    }
    tidied
}

/// What was read so far, by path as written in the file.
#[derive(Debug)]
pub struct OpenedFiles {
    place: PipelinePath,
    /// Every file that was asked for, also the missing ones.
    seen: BTreeMap<PathBuf, Option<Arc<SourceText>>>,
    /// Tables by their path in the file, with what is wrong with them.
    tables: BTreeMap<Arc<str>, Option<String>>,
}

impl OpenedFiles {
    /// Nothing read yet.
    pub fn new(place: PipelinePath) -> Self {
        OpenedFiles { place, seen: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// Every table that was asked for, with what is wrong with it.
    pub fn tables(&self) -> BTreeMap<Arc<str>, Option<String>> {
        self.tables.clone()
    }

    /// Every file that was asked for, with its text when it could be read.
    pub fn into_seen(self) -> BTreeMap<PathBuf, Option<Arc<SourceText>>> {
        self.seen
    }

    fn open(&self, path: &Path) -> Result<Arc<SourceText>, FileFault> {
        let full = path.canonicalize().map_err(|fault| missing(path, &fault))?;
        if !full.starts_with(&self.place.root) {
            // The name alone: a full path would say more of the machine than of the mistake.
            let root = self.place.root.file_name().unwrap_or(self.place.root.as_os_str());
            let root = root.to_string_lossy();
            let reason = format!("it is outside `{root}/`, the root of this pipeline");
            return Err(FileFault { is_outside: true, is_missing: false, reason });
        }
        if let Some(text) = self.place.instead.get(path) {
            return Ok(Arc::new(SourceText {
                name: path.display().to_string(),
                text: text.clone(),
            }));
        }
        let bytes = regular_file::read(&full, SIZE_MAX).map_err(|fault| in_words(&fault))?;
        let text = String::from_utf8(bytes).map_err(|_| unread("it is not UTF-8 text"))?;
        let text = if is_json(path) { without_mark(text) } else { text };
        Ok(Arc::new(SourceText { name: path.display().to_string(), text }))
    }
}

fn unread(reason: impl Into<String>) -> FileFault {
    FileFault { is_outside: false, is_missing: false, reason: reason.into() }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// A text without the byte order mark that editors put before it, and that JSON does not know.
fn without_mark(text: String) -> String {
    text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text)
}

/// Why there is nothing at a path: the file is missing, or already a folder that leads to it.
fn missing(path: &Path, fault: &std::io::Error) -> FileFault {
    let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    let gone = folders.filter(|folder| !folder.exists()).last().and_then(Path::file_name);
    match gone.filter(|_| fault.kind() == std::io::ErrorKind::NotFound) {
        // The name alone: a full path would say more of the machine than of the mistake.
        Some(gone) => {
            let reason = format!("the folder `{}` does not exist", gone.to_string_lossy());
            FileFault { is_missing: true, ..unread(reason) }
        }
        None => in_words(fault),
    }
}

fn in_words(fault: &std::io::Error) -> FileFault {
    match fault.kind() {
        std::io::ErrorKind::NotFound => FileFault { is_missing: true, ..unread("file not found") },
        std::io::ErrorKind::PermissionDenied => unread("permission denied"),
        _ => unread(fault.to_string()),
    }
}

impl Files for OpenedFiles {
    fn read(&mut self, path: &str) -> Result<Arc<SourceText>, FileFault> {
        let joined = tidy(&self.place.folder.join(path));
        let read = self.open(&joined);
        self.seen.insert(joined, read.as_ref().ok().cloned());
        read
    }

    fn place(&self, path: &str) -> PathBuf {
        self.place.written(path)
    }

    fn entry(&self, path: &Path) -> PathEntry {
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => PathEntry::Folder,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => PathEntry::Missing,
            // Who checks a file need not be who runs it.
            _ => PathEntry::Other,
        }
    }

    fn note_missing(&mut self, path: &Path) {
        self.seen.insert(tidy(path), None);
    }

    fn note_table(&mut self, path: &str, fault: Option<String>) {
        let noted = self.tables.entry(path.into()).or_default();
        // Of two stages that look the same table up, one may find what the other does not need.
        if let Some(fault) = fault {
            noted.get_or_insert(fault);
        }
    }

    fn neighbours(&self, path: &str) -> Vec<String> {
        let joined = self.place.folder.join(path);
        let Some(folder) = joined.parent().and_then(|parent| parent.canonicalize().ok()) else {
            return Vec::new();
        };
        if !folder.starts_with(&self.place.root) {
            return Vec::new();
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).take(1000).collect();
        // One that is there and cannot be read is no advice.
        names.retain(|name| joined.file_name().is_none_or(|own| own != name.as_str()));
        names.sort();
        names
    }
}

/// The files of a pipeline as an included file sees them: its paths are relative to itself.
pub struct Based<'a> {
    /// Those of the pipeline.
    pub files: &'a mut dyn Files,
    /// The folder of the included file, relative to the pipeline file's: `""` or `common/`.
    pub prefix: &'a str,
}

/// A path of an included file, relative to the pipeline file.
pub fn based(prefix: &str, path: &str) -> String {
    if Path::new(path).is_absolute() { path.to_owned() } else { format!("{prefix}{path}") }
}

impl Files for Based<'_> {
    fn read(&mut self, path: &str) -> Result<Arc<SourceText>, FileFault> {
        self.files.read(&based(self.prefix, path))
    }

    fn place(&self, path: &str) -> PathBuf {
        self.files.place(&based(self.prefix, path))
    }

    fn entry(&self, path: &Path) -> PathEntry {
        self.files.entry(path)
    }

    fn note_missing(&mut self, path: &Path) {
        self.files.note_missing(path);
    }

    fn note_table(&mut self, path: &str, fault: Option<String>) {
        self.files.note_table(&based(self.prefix, path), fault);
    }

    fn neighbours(&self, path: &str) -> Vec<String> {
        self.files.neighbours(&based(self.prefix, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: Option<&str>, path: &str, expected: &str) {
        let place = PipelinePath::of(Path::new("some/pipelines/a.kdl"), None, data.map(Path::new));
        assert_eq!(place.written(path), Path::new(expected));
    }

    #[test]
    fn what_a_pattern_includes_is_no_pipeline_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
            std::fs::write(path, text).expect("it is written");
        };
        write("home.kdl", "pipeline home schema-version=1\ninclude \"common/*.kdl\"\n");
        write("common/sinks.kdl", "sink stdout all\n");
        write("other/alone.kdl", "pipeline alone schema-version=1\n");
        let found = in_folder(folder.path()).expect("it can be read");
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(folder.path()).expect("below")).collect();
        assert_eq!(names, [Path::new("home.kdl"), Path::new("other/alone.kdl")]);
    }

    #[test]
    fn json_may_begin_with_a_byte_order_mark() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ring.json"), "\u{FEFF}{}").expect("it is written");
        let mut files =
            OpenedFiles::new(PipelinePath::of(&folder.path().join("a.kdl"), None, None));
        assert_eq!(files.read("ring.json").expect("it is read").text, "{}");
        std::fs::write(folder.path().join("nan.csv"), [0xFF, 0xFE]).expect("it is written");
        assert!(!files.read("nan.csv").expect_err("it is not text").is_missing);
        assert!(files.read("nam.csv").expect_err("it is not there").is_missing);
    }

    #[test]
    fn a_written_path_is_relative_to_the_file() {
        check(None, "../data/events.db", "some/data/events.db");
        check(None, "/var/lib/x.db", "/var/lib/x.db");
    }

    #[test]
    fn a_data_folder_stands_in_for_data() {
        check(Some("/tmp/d"), "../data/events.db", "/tmp/d/events.db");
        check(Some("/tmp/d"), "../../x/events.db", "/tmp/d/x/events.db");
        check(Some("/tmp/d"), "/var/lib/x.db", "/var/lib/x.db");
    }
    #[test]
    fn a_text_is_replaced_through_a_link_with_its_permissions() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("a.kdl"), folder.path().join("link.kdl"));
        std::fs::write(&file, "old").expect("it writes");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("it sets");
        symlink(&file, &link).expect("it links");
        replace(&link, "new").expect("it replaces");
        assert_eq!(std::fs::read_to_string(&file).expect("it reads"), "new");
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }
}
