//! The files of a store, who owns them, and whether they are still the ones that were opened.
//!
//! SQLite names its log after the path that it is given, so a store is opened by its one real
//! path, whatever link led to it. The lock that counts is on the database file itself: no other
//! name of it and no missing lock file lets a second engine in.
//!
//! *Invariant:* the descriptor with the lock outlives every connection. SQLite locks by process
//! and file, and the system drops such locks as soon as the process closes any descriptor of it.

use super::OpenError;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// Links that one path may lead through.
const LINKS_MAX: usize = 16;
/// Entries of a folder that are looked at for other names.
const ENTRIES_MAX: usize = 10_000;
/// Ends the name of a file that is written to find out whether there is room.
pub(super) const PROBE: &str = ".probe";
/// Begins what the name of a copy adds that was saved from a database that was taken away.
pub(super) const RESCUED: &str = ".rescued-";
/// Begins the note of a database that was taken away under a running engine.
const LOST: &str = "lost: ";

/// What makes a file the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    /// What is at this path now, if anything; a fault where that cannot be told.
    fn look(path: &Path) -> std::io::Result<Option<Self>> {
        match path.metadata() {
            Ok(metadata) => Ok(Some(FileId::of(&metadata))),
            Err(fault)
                if matches!(fault.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    pub(super) fn at(path: &Path) -> Option<Self> {
        FileId::look(path).ok().flatten()
    }
}

/// What happened to the files of an open store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileChange {
    /// There is no database at its path any more.
    DatabaseDeleted,
    /// Another file is at its path.
    DatabaseReplaced,
    /// The log is gone; the database is there.
    LogDeleted,
    /// Another file is in the place of the log.
    LogReplaced,
    /// The log has become shorter than what was written to it.
    LogTruncated,
    /// The shared memory of the log is gone or another one.
    SharedMemoryReplaced,
}

/// The database, its log and its lock, while this engine owns them.
#[derive(Debug)]
pub(super) struct StoreFiles {
    /// As the pipeline names it.
    given: PathBuf,
    /// Without links.
    path: PathBuf,
    /// The database itself; holds the lock.
    database: File,
    id: FileId,
    /// Known as soon as SQLite has made them.
    log: OnceLock<(FileId, FileId)>,
    /// Says who has the store, and keeps engines out that look only here.
    lock: File,
    /// Whether there was no database before.
    is_new: bool,
}

impl StoreFiles {
    /// Finds the database, or makes an empty file for it, and takes the lock on it. A second
    /// engine is refused without a change to any file.
    pub(super) fn take(given: &Path) -> Result<StoreFiles, OpenError> {
        let path = real_path(given)?;
        refuse_lost(&path)?;
        let (database, is_new) = open_database(&path)?;
        let files = StoreFiles::lock(given, path.clone(), database, is_new).and_then(|files| {
            // The names of new files are durable only once their folder is.
            if is_new { sync_folder(&files.path).map(|()| files) } else { Ok(files) }
        });
        files.inspect_err(|error| {
            // Whoever has the lock on it has made something of it.
            if is_new && !matches!(error, OpenError::Locked(_)) {
                remove_all(&path);
            }
        })
    }

    fn lock(
        given: &Path,
        path: PathBuf,
        database: File,
        is_new: bool,
    ) -> Result<StoreFiles, OpenError> {
        let lock_path = beside(&path, ".lock");
        own(&database, given, &lock_path)?;
        for end in ["-wal", "-shm"] {
            must_be_ours(&beside(&path, end))?;
        }
        let id = FileId::of(&database.metadata().map_err(|fault| refused(&path, &fault))?);
        if FileId::at(&path) != Some(id) {
            let message = format!("{} was replaced during the start; start again", path.display());
            return Err(OpenError::Locked(message));
        }
        refuse_network(&database, &path)?;
        let mut options = File::options();
        let lock = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let lock = lock.open(&lock_path).map_err(|fault| refused(&lock_path, &fault))?;
        own(&lock, given, &lock_path)?;
        let files = StoreFiles {
            given: given.to_owned(),
            path,
            database,
            id,
            log: OnceLock::new(),
            lock,
            is_new,
        };
        files.write_note()?;
        // Left where an engine was killed while it wrote to it.
        std::fs::remove_file(beside(&files.path, PROBE)).ok();
        Ok(files)
    }

    /// The database's path without links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was no database before.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Other names of the database in its folder.
    pub(super) fn other_names(&self) -> Vec<PathBuf> {
        let links = self.database.metadata().map_or(1, |metadata| metadata.nlink());
        let folder = self.path.parent().filter(|_| 1 < links);
        let entries =
            folder.and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
        let paths = entries.take(ENTRIES_MAX).map(|entry| entry.path());
        paths.filter(|path| *path != self.path && FileId::at(path) == Some(self.id)).collect()
    }

    /// Whether a log with something in it was left beside another name that the database has or
    /// had. A path that another file has now is none of those: this one is a copy.
    pub(super) fn left_its_log_at(&self, name: &Path) -> bool {
        let is_name = FileId::at(name).is_none_or(|it| it == self.id);
        let log = beside(name, "-wal").metadata().map_or(0, |metadata| metadata.len());
        name != self.path && is_name && 0 < log
    }

    /// An open descriptor of the database.
    pub(super) fn database(&self) -> &File {
        &self.database
    }

    pub(super) fn log_path(&self) -> PathBuf {
        beside(&self.path, "-wal")
    }

    /// The length of the log at its path.
    pub(super) fn log_size(&self) -> u64 {
        self.log_path().metadata().map_or(0, |metadata| metadata.len())
    }

    /// Whether the log at its path is the one that SQLite has open.
    pub(super) fn has_its_log(&self) -> bool {
        FileId::at(&self.log_path()).is_some_and(|it| Some(it) == self.log.get().map(|it| it.0))
    }

    /// The database, its log and the log's shared memory.
    pub(super) fn ids(&self) -> Vec<FileId> {
        let log = self.log.get().into_iter().flat_map(|it| [it.0, it.1]);
        std::iter::once(self.id).chain(log).collect()
    }

    /// The log is there: from now on it must stay the same one.
    pub(super) fn note_log(&self) -> Result<(), OpenError> {
        let of = |end: &str| {
            let path = beside(&self.path, end);
            path.metadata()
                .map(|metadata| FileId::of(&metadata))
                .map_err(|fault| refused(&path, &fault))
        };
        let ids = (of("-wal")?, of("-shm")?);
        self.log.get_or_init(|| ids);
        Ok(())
    }

    /// What has happened to the files since they were opened, if anything. A file that SQLite has
    /// open keeps its number, so another number is another file. A path that cannot be looked at
    /// says nothing.
    pub(super) fn change(&self) -> Option<FileChange> {
        use FileChange as Change;
        let changed = |path: &Path, id: FileId, deleted, replaced| match FileId::look(path) {
            Ok(None) => Some(deleted),
            Ok(Some(now)) if now != id => Some(replaced),
            Ok(Some(_)) | Err(_) => None,
        };
        let database =
            |path| changed(path, self.id, Change::DatabaseDeleted, Change::DatabaseReplaced);
        database(&self.path).or_else(|| database(&self.given)).or_else(|| {
            let (log, memory) = *self.log.get()?;
            let (log_path, memory_path) = (self.log_path(), beside(&self.path, "-shm"));
            let replaced = Change::SharedMemoryReplaced;
            changed(&log_path, log, Change::LogDeleted, Change::LogReplaced)
                .or_else(|| changed(&memory_path, memory, replaced, replaced))
        })
    }

    /// The database is gone: the next start must not take that for a first one.
    pub(super) fn note_loss(&self, what: &str) {
        let lock_path = beside(&self.path, ".lock");
        let line = format!("{LOST}{}\n", what.replace('\n', " "));
        let mut options = OpenOptions::new();
        let opened = options.create(true).append(true).mode(0o600).open(lock_path);
        opened.and_then(|mut opened| opened.write_all(line.as_bytes())).ok();
    }

    /// Takes back what a start that failed has made.
    pub(super) fn discard(self) {
        if self.is_new {
            remove_all(&self.path);
        }
    }

    fn write_note(&self) -> Result<(), OpenError> {
        let text = format!("{}\n", std::process::id());
        let mut lock = &self.lock;
        let written = lock.set_len(0).and_then(|()| lock.write_all(text.as_bytes()));
        written.map_err(|fault| refused(&beside(&self.path, ".lock"), &fault))
    }
}

fn remove_all(path: &Path) {
    for end in ["-wal", "-shm", "", ".lock"] {
        std::fs::remove_file(beside(path, end)).ok();
    }
}

/// `x.db` and `-wal`: `x.db-wal`.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Where a path leads: its folder, made when it is missing, without links, and the name of the
/// file that the last link leads to, which need not be there yet.
fn real_path(given: &Path) -> Result<PathBuf, OpenError> {
    let mut path = given.to_owned();
    for _ in 0..LINKS_MAX {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !folder.exists() {
            make_folder(folder).map_err(|fault| refused(folder, &fault))?;
        }
        let Some(name) = path.file_name() else { break };
        let folder = folder.canonicalize().map_err(|fault| refused(folder, &fault))?;
        path = folder.join(name);
        match path.read_link() {
            Ok(target) => path = folder.join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(OpenError::Create(format!("{} does not lead to a file", given.display())))
}

/// Where a path leads without a change to anything: its folder without links, as far as there is
/// one, and the name of the file that the last link leads to. `None` where links lead in a circle.
pub(super) fn leads_to(given: &Path) -> Option<PathBuf> {
    let mut path = given.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(name) = path.file_name() else { return Some(path) };
        let folder = real_folder(path.parent()?);
        path = folder.join(name);
        match path.read_link() {
            Ok(target) => path = folder.join(target),
            Err(_) => return Some(path),
        }
    }
    None
}

/// A folder without links. Of what is not there yet, `..` takes back the part before it.
fn real_folder(folder: &Path) -> PathBuf {
    let mut real = PathBuf::from(".").canonicalize().unwrap_or_default();
    for part in folder.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                real.pop();
            }
            part => real.push(part),
        }
        real = real.canonicalize().unwrap_or(real);
    }
    real
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|it| it.sync_all()).map_err(|fault| refused(folder, &fault))
}

/// A missing database is a first start, unless something says that there was one. What was put in
/// the place of another must not hide what was saved of that.
fn refuse_lost(path: &Path) -> Result<(), OpenError> {
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let (database, log, lock) = (path.display(), beside(path, "-wal"), beside(path, ".lock"));
    let (is_there, copy) = (0 < size(path), rescued_of(path));
    if !is_there && 0 < size(&log) {
        return Err(OpenError::Io(format!(
            "{database} is missing or empty, but its log {} holds events; put the database back, \
             or move the log away to start with an empty store",
            log.display()
        )));
    }
    let note = note_of(&lock);
    let loss = note.lines().find_map(|line| line.strip_prefix(LOST)).filter(|_| !is_there);
    let reason = match (loss, &copy) {
        (None, None) => return Ok(()),
        (Some(loss), _) => format!("{database} is missing: {loss}"),
        (None, Some(copy)) => format!(
            "{} holds what was accepted before {database} was deleted or replaced",
            copy.display()
        ),
    };
    Err(OpenError::Io(format!("{reason}; {}", after_loss(path, copy.as_deref(), is_there))))
}

/// What to do once the database was deleted or replaced: `copy` is what was saved of it, and
/// `is_there` whether another one is in its place.
pub(super) fn after_loss(path: &Path, copy: Option<&Path>, is_there: bool) -> String {
    let (database, lock) = (path.display(), beside(path, ".lock"));
    let lock = lock.display();
    match (copy.map(Path::display), is_there) {
        (None, _) => format!("to start with an empty store, delete {lock}"),
        (Some(copy), false) => format!(
            "to continue with it, move it to {database}; to start with an empty store, move \
             {copy} to another folder and delete {lock}"
        ),
        (Some(copy), true) => format!(
            "to continue with it, move it to {database}; to continue with the file that is there \
             now, move {copy} to another folder or delete it"
        ),
    }
}

/// The first copy that was saved of a database and that nobody has moved away since.
fn rescued_of(path: &Path) -> Option<PathBuf> {
    let own = path.file_name()?.as_encoded_bytes();
    let is_copy = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let stamp = name.strip_prefix(own).and_then(|it| it.strip_prefix(RESCUED.as_bytes()));
        stamp.is_some_and(is_stamp) && path.metadata().is_ok_and(|it| it.is_file() && 0 < it.len())
    };
    let id = FileId::at(path);
    let entries = path.parent()?.read_dir().ok()?.flatten().take(ENTRIES_MAX);
    let copies = entries.map(|entry| entry.path()).filter(is_copy);
    copies.filter(|copy| id.is_none() || FileId::at(copy) != id).min()
}

/// `20261128T143759` and `20261128T143759-2`; what is set aside with a copy has another end.
fn is_stamp(name: &[u8]) -> bool {
    name.iter().all(|letter| letter.is_ascii_digit() || matches!(letter, b'T' | b'-'))
}

fn note_of(lock: &Path) -> String {
    let mut text = String::new();
    let read = File::open(lock).and_then(|it| it.take(4096).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text)
}

fn open_database(path: &Path) -> Result<(File, bool), OpenError> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(OpenError::Create(not_a_file(path)));
    }
    let mut options = File::options();
    let options = options.read(true).write(true);
    match options.open(path) {
        Err(fault) if fault.kind() == ErrorKind::NotFound => {
            let made = options.create(true).truncate(false).mode(0o600).open(path);
            Ok((made.map_err(|fault| refused(path, &fault))?, true))
        }
        opened => Ok((opened.map_err(|fault| refused(path, &fault))?, false)),
    }
}

/// SQLite would only say that it cannot open the database.
fn must_be_ours(path: &Path) -> Result<(), OpenError> {
    match File::options().read(true).write(true).open(path) {
        Err(fault) if fault.kind() != ErrorKind::NotFound => Err(refused(path, &fault)),
        _ => Ok(()),
    }
}

fn own(file: &File, given: &Path, lock_path: &Path) -> Result<(), OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let note = note_of(lock_path);
            let who = match note.lines().next().and_then(|line| line.parse::<u32>().ok()) {
                Some(pid) => format!("another engine (process {pid})"),
                None => "another engine".to_owned(),
            };
            Err(OpenError::Locked(format!("{who} uses {}", given.display())))
        }
        Err(TryLockError::Error(fault)) => Err(refused(given, &fault)),
    }
}

/// The log of SQLite is memory that is shared on one machine; over a network it is not.
#[cfg(target_os = "linux")]
fn refuse_network(database: &File, path: &Path) -> Result<(), OpenError> {
    const NETWORKS: [(u32, &str); 4] =
        [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0xFE53_4D42, "SMB"), (0x517B, "SMB")];
    let Ok(system) = rustix::fs::fstatfs(database) else { return Ok(()) };
    match NETWORKS.iter().find(|network| network.0 == system.f_type as u32) {
        Some((_, name)) => Err(OpenError::Create(format!(
            "{} is on {name}, where a database cannot be kept safely; use a disk of this machine",
            path.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_: &File, _: &Path) -> Result<(), OpenError> {
    Ok(())
}

fn not_a_file(path: &Path) -> String {
    let name = path.display();
    if path.is_dir() {
        return format!("{name} is a folder; name a file in it, such as {name}/events.db");
    }
    format!("{name} is not a regular file; choose another `path` for the store")
}

/// What is a file where the path to the store has a folder.
fn in_the_way(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|folder| folder.is_file())
}

/// What is a link to nothing where the path to the store has a folder.
fn dangling(path: &Path) -> Option<(&Path, PathBuf)> {
    let links = path.ancestors().filter_map(|folder| Some((folder, folder.read_link().ok()?)));
    links.filter(|(link, _)| matches!(link.try_exists(), Ok(false))).last()
}

/// Why a file cannot be had, and what to do.
pub(super) fn refused(path: &Path, fault: &std::io::Error) -> OpenError {
    if let Some((link, target)) = dangling(path) {
        return OpenError::Create(format!(
            "{} is a link to {}, which does not exist; create that folder, or remove the link",
            link.display(),
            target.display()
        ));
    }
    let is_blocked = matches!(fault.kind(), ErrorKind::NotADirectory | ErrorKind::AlreadyExists);
    if let Some(file) = in_the_way(path).filter(|_| is_blocked) {
        return OpenError::Create(format!(
            "{} cannot be created: {} is a file, not a folder; choose another `path` for the \
             store, or another --data",
            path.display(),
            file.display()
        ));
    }
    let path = path.display();
    match fault.kind() {
        ErrorKind::IsADirectory => OpenError::Create(format!(
            "{path} is a folder, and the store needs a file of this name; move it away"
        )),
        ErrorKind::PermissionDenied => OpenError::Permission(format!(
            "{path} cannot be written: {fault}; change its owner or mode, or run as its owner"
        )),
        ErrorKind::ReadOnlyFilesystem => OpenError::Create(format!(
            "{path} cannot be written: {fault}; mount it for writing, or choose another path"
        )),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            OpenError::Create(format!(
                "there is no space for {path}: {fault}; free some space on its disk"
            ))
        }
        _ => OpenError::Create(format!("{path} cannot be opened: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[track_caller]
    fn check(kind: ErrorKind, code: u8, says: &str) {
        let refused = refused(Path::new("x.db"), &Error::from(kind));
        assert_eq!(refused.exit_code(), code);
        assert!(refused.to_string().contains(says), "{refused}");
    }

    #[test]
    fn a_link_to_nothing_is_called_so() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(at("gone"), at("data")).unwrap();
        for name in ["data/a.db", "data/below/a.db"] {
            let refused = StoreFiles::take(&at(name)).unwrap_err();
            let says = format!(
                "{} is a link to {}, which does not exist",
                at("data").display(),
                at("gone").display()
            );
            assert_eq!(refused.exit_code(), 73);
            assert!(refused.to_string().starts_with(&says), "{refused}");
        }
        assert!(!at("gone").exists());
    }

    #[test]
    fn what_cannot_be_opened_says_what_to_do() {
        check(ErrorKind::PermissionDenied, 77, "change its owner or mode");
        check(ErrorKind::ReadOnlyFilesystem, 73, "mount it for writing");
        check(ErrorKind::StorageFull, 73, "free some space");
        check(ErrorKind::QuotaExceeded, 73, "free some space");
        check(ErrorKind::NotADirectory, 73, "x.db cannot be opened");
        check(ErrorKind::IsADirectory, 73, "x.db is a folder");
    }
}
