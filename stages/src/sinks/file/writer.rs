//! Appends lines to files so that a line is whole and on disk, or not there.

use kernel::fault::{Cause, Fault, FaultClass};
use kernel::time::Timestamp;
use siphasher::sip::SipHasher13;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use store::is_store_file;

/// When a file is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rotate {
    /// At each multiple of this, counted from 1970 in UTC.
    pub(crate) every: Option<Duration>,
    /// When it would grow beyond this.
    pub(crate) size: Option<u64>,
}

/// Whose turn it is to append to a file. Several stages may share one, and a line that failed half
/// way is cut off again, which must not take a line of another stage with it. Files share places;
/// those that do wait for each other for nothing, which does no harm.
static TURNS: [Mutex<()>; 64] = [const { Mutex::new(()) }; 64];

/// Appends to one file at a time; all callers take turns.
#[derive(Debug)]
pub(crate) struct Writer {
    rotate: Rotate,
    /// The database of the store, whose files are never written to.
    store: Option<Arc<Path>>,
}

impl Writer {
    pub(crate) fn new(rotate: Rotate, store: Option<Arc<Path>>) -> Self {
        Writer { rotate, store }
    }

    /// A permanent fault where the path leads to a file of the store. Nothing is opened: SQLite
    /// loses its locks when anybody in its process closes a file of its own.
    pub(crate) fn permit(&self, path: &Path) -> Result<(), Fault> {
        match &self.store {
            Some(store) if is_store_file(store, path) => {
                let path = path.display();
                Err(Fault::permanent(format!("cannot write {path}: it is a file of the store")))
            }
            _ => Ok(()),
        }
    }

    /// Blocks until the lines are on disk; how each ended. Those that go into one file are written
    /// and synced together, so they are there together or not at all.
    pub(crate) fn append(
        &self,
        path: &Path,
        lines: &[Vec<u8>],
        now: Timestamp,
    ) -> Vec<Result<(), Fault>> {
        if let Err(fault) = self.permit(path) {
            return vec![Err(fault); lines.len()];
        }
        let _turn = turn_of(path).lock().unwrap_or_else(PoisonError::into_inner);
        let mut results = Vec::with_capacity(lines.len());
        while results.len() < lines.len() {
            let together = self.fitting(path, &lines[results.len()..], now);
            let written = self.try_append(path, &together.concat(), now);
            let fault = written.map_err(|fault| fault_of(path, &fault)).err();
            // What follows goes to the same place.
            let count = if fault.is_some() { lines.len() - results.len() } else { together.len() };
            results.extend(std::iter::repeat_n(fault.map_or(Ok(()), Err), count));
        }
        results
    }

    /// The first lines, up to the one that would have to go into another file.
    fn fitting<'l>(&self, path: &Path, lines: &'l [Vec<u8>], now: Timestamp) -> &'l [Vec<u8>] {
        let Some(max) = self.rotate.size else { return lines };
        let begins_anew = self.is_due(path, lines[0].len() as u64, now);
        let is = path.metadata().map_or(0, |metadata| metadata.len());
        let mut size = if begins_anew { 0 } else { is };
        let fits = |line: &&Vec<u8>| {
            size += line.len() as u64;
            size <= max
        };
        let count = lines.iter().take_while(fits).count();
        &lines[..count.max(1)]
    }

    fn try_append(&self, path: &Path, lines: &[u8], now: Timestamp) -> io::Result<()> {
        let mut permissions = None;
        if self.is_due(path, lines.len() as u64, now) {
            permissions = path.metadata().ok().map(|metadata| metadata.permissions());
            std::fs::rename(path, aside(path, now))?;
        }
        let folder = folder_of(path);
        make_folder(folder)?;
        let mut file = open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other(NO_FILE));
        }
        if let Some(permissions) = permissions {
            // Who reads the file goes on reading it after it was set aside.
            file.set_permissions(permissions)?;
        }
        let length = file.metadata()?.len();
        let written = file.write_all(lines).and_then(|()| file.sync_data()).and_then(|()| {
            // The name of a new file must be on disk too.
            if length == 0 { File::open(folder)?.sync_all() } else { Ok(()) }
        });
        if written.is_err() {
            // A part of a line (the disk is full) would break the next one, and a whole one would
            // be there twice after the next attempt.
            file.set_len(length).ok();
        }
        written
    }

    fn is_due(&self, path: &Path, more: u64, now: Timestamp) -> bool {
        let Some(is) = path.metadata().ok().filter(std::fs::Metadata::is_file) else {
            return false;
        };
        let is_full = self.rotate.size.is_some_and(|max| 0 < is.len() && max < is.len() + more);
        let changed =
            is.modified().ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
        let is_old = self.rotate.every.zip(changed).is_some_and(|(every, changed)| {
            let now = Duration::from_micros(now.0.max(0) as u64);
            changed.as_secs() / every.as_secs().max(1) < now.as_secs() / every.as_secs().max(1)
        });
        is_full || is_old
    }
}

fn turn_of(path: &Path) -> &'static Mutex<()> {
    let mut hasher = SipHasher13::new();
    path.hash(&mut hasher);
    &TURNS[hasher.finish() as usize % TURNS.len()]
}

/// What is neither a file nor a folder: nothing that is written there is on disk.
const NO_FILE: &str = "it is a pipe or a device, not a file";

/// Opens a file to append to; a new one is for its owner alone. A pipe that nobody reads would keep
/// the thread for as long, and all that wait for it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NONBLOCK);
    }
    options.open(path).map_err(|error| {
        let is_other = path.metadata().is_ok_and(|it| !it.is_file() && !it.is_dir());
        if is_other { io::Error::other(NO_FILE) } else { error }
    })
}

/// The folder that a file lies in, also where the path is a bare name.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What a failure to write says about trying again. A name that cannot be one stays so, whoever
/// waits; what is not permitted or stands in the way may change, once somebody changes it: a share
/// that is not mounted for a while leaves all sorts of things in its place. What stands in the
/// place of one file says nothing of the others, which the events may choose.
fn fault_of(path: &Path, error: &io::Error) -> Fault {
    let path = path.display();
    let blocked =
        |reason: &str| Fault::transient(Cause::Path, format!("cannot write {path}: {reason}"));
    let waits = |reason: &str| Fault { class: FaultClass::Configuration, ..blocked(reason) };
    match error.kind() {
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => Fault::permanent(format!(
            "cannot write {path}: the system does not accept this name ({error})"
        )),
        ErrorKind::IsADirectory => blocked("it is a folder"),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            waits("a part of the path is a file, not a folder")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => waits(&error.to_string()),
        ErrorKind::Other => blocked(&error.to_string()),
        _ => Fault::transient(Cause::Other, format!("cannot write {path}: {error}")),
    }
}

/// A name beside `path` that is free: the time behind the name, and a number where needed.
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let stamp: String =
        now.to_string().chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
    let name = |number: usize| {
        let number = if number == 0 { String::new() } else { format!("-{number}") };
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{stamp}{number}"));
        PathBuf::from(name)
    };
    (0..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(0))
}

/// Makes a missing folder for its owner alone.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(writer: &Writer, path: &Path, line: &[u8], now: Timestamp) -> Result<(), Fault> {
        writer.append(path, &[line.to_vec()], now).remove(0)
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_set_aside_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::new(Rotate { size: Some(8), every: None }, None);
        let now = Timestamp::parse("2026-01-01T10:00:00Z").unwrap();
        let path = folder.path().join("new/f");
        for _ in 0..3 {
            one(&writer, &path, b"12345\n", now).unwrap();
        }
        let expected = ["f", "f.20260101T100000.000Z", "f.20260101T100000.000Z-1"];
        assert_eq!(names(&folder.path().join("new")), expected);
    }

    /// What stands in the files, from the first that was set aside to the one that is written.
    fn contents(folder: &Path) -> Vec<String> {
        let mut names = names(folder);
        // The one that is written has the shortest name, and the numbers come after none.
        names.sort_by_key(|name| (name == "f", name.len(), name.clone()));
        names.iter().map(|name| std::fs::read_to_string(folder.join(name)).unwrap()).collect()
    }

    #[test]
    fn lines_that_come_together_stand_where_they_would_stand_one_by_one() {
        let mut dice = fastrand::Rng::with_seed(7);
        for round in 0..60 {
            let (alone, together) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let writer = Writer::new(Rotate { size: Some(dice.u64(1..60)), every: None }, None);
            let line =
                |number: usize| format!("{number}{}\n", "-".repeat(number % 17)).into_bytes();
            let lines: Vec<Vec<u8>> = (0..dice.usize(1..9)).map(|it| line(round + it)).collect();
            for line in &lines {
                one(&writer, &alone.path().join("f"), line, Timestamp(0)).unwrap();
            }
            let mut rest = &lines[..];
            while !rest.is_empty() {
                let (batch, later) = rest.split_at(dice.usize(1..=rest.len()));
                let results = writer.append(&together.path().join("f"), batch, Timestamp(0));
                assert_eq!(results, vec![Ok(()); batch.len()]);
                rest = later;
            }
            assert_eq!(contents(together.path()), contents(alone.path()), "round {round}");
        }
    }

    #[test]
    fn an_old_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let every = Some(Duration::from_secs(86_400));
        let writer = Writer::new(Rotate { size: None, every }, None);
        let path = folder.path().join("f");
        let early = Timestamp(0);
        one(&writer, &path, b"1\n", early).unwrap();
        one(&writer, &path, b"2\n", early).unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        one(&writer, &path, b"3\n", Timestamp::parse("2999-01-01T00:00:00Z").unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "3\n");
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn a_path_that_can_never_be_written_is_permanent_and_another_failure_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("file"), "x").unwrap();
        let writer = Writer::new(Rotate::default(), None);
        let class = |path: &Path| one(&writer, path, b"1\n", Timestamp(0)).unwrap_err().class;
        assert_eq!(class(&at(&"n".repeat(300))), FaultClass::Permanent);
        assert_eq!(class(&at("folder")), FaultClass::Transient);
        for path in [at("file/below"), at("file/a/b")] {
            assert_eq!(class(&path), FaultClass::Configuration, "{}", path.display());
        }
        std::fs::remove_file(at("file")).unwrap();
        one(&writer, &at("file/below"), b"1\n", Timestamp(0)).unwrap();
        let of = |kind: ErrorKind| fault_of(&at("f"), &kind.into()).class;
        assert_eq!(of(ErrorKind::StorageFull), FaultClass::Transient);
        assert_eq!(of(ErrorKind::NotFound), FaultClass::Transient);
        assert_eq!(of(ErrorKind::PermissionDenied), FaultClass::Configuration);
        assert_eq!(of(ErrorKind::ReadOnlyFilesystem), FaultClass::Configuration);
    }

    /// One that nobody reads, and one that somebody does.
    #[cfg(unix)]
    #[test]
    fn a_pipe_holds_up_nobody_and_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, writer) = (folder.path().join("pipe"), Writer::new(Rotate::default(), None));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let refused = || one(&writer, &pipe, b"1\n", Timestamp(0)).unwrap_err();
        let expected = format!("cannot write {}: {NO_FILE}", pipe.display());
        assert_eq!((refused().reason, refused().class), (expected, FaultClass::Transient));
        let mut options = OpenOptions::new();
        options.read(true);
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let mut reader = options.open(&pipe).unwrap();
        assert_eq!(refused().cause, Cause::Path);
        let mut read = Vec::new();
        io::Read::read_to_end(&mut reader, &mut read).unwrap();
        assert_eq!(read, b"");
        assert!(one(&writer, Path::new("/dev/null"), b"1\n", Timestamp(0)).is_err());
        std::fs::remove_file(&pipe).unwrap();
        one(&writer, &pipe, b"1\n", Timestamp(0)).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_made_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        make_folder(&folder.path().join("a/b")).unwrap();
        let mode = folder.path().join("a").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_bare_name_lies_in_the_folder_that_we_are_in() {
        assert_eq!(folder_of(Path::new("out.jsonl")), Path::new("."));
        assert_eq!(folder_of(Path::new("data/out.jsonl")), Path::new("data"));
        assert_eq!(folder_of(Path::new("/out.jsonl")), Path::new("/"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_made_is_for_its_owner_alone_and_keeps_what_it_was_given() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::new(Rotate { size: Some(8), every: None }, None);
        let now = Timestamp::parse("2026-01-01T10:00:00Z").unwrap();
        let path = folder.path().join("f");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        one(&writer, &path, b"12345\n", now).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        one(&writer, &path, b"12345\n", now).unwrap();
        assert_eq!((mode(), names(folder.path()).len()), (0o644, 2), "set aside");
    }
}
