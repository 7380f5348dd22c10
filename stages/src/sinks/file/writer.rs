//! Appends lines to files so that a line is whole and on disk, or not there.

use crate::contract::{Cause, Fault};
use crate::time::Timestamp;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// When a file is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Rotate {
    /// At each multiple of this, counted from 1970 in UTC.
    pub(crate) every: Option<Duration>,
    /// When it would grow beyond this.
    pub(crate) size: Option<u64>,
}

/// Appends to one file at a time; several callers take turns.
#[derive(Debug)]
pub(crate) struct Writer {
    rotate: Rotate,
    turn: Mutex<()>,
}

impl Writer {
    pub(crate) fn new(rotate: Rotate) -> Self {
        Writer { rotate, turn: Mutex::new(()) }
    }

    /// Blocks until the line is on disk.
    pub(crate) fn append(&self, path: &Path, line: &[u8], now: Timestamp) -> Result<(), Fault> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.try_append(path, line, now).map_err(|it| {
            Fault::transient(Cause::Other, format!("cannot write {}: {it}", path.display()))
        })
    }

    fn try_append(&self, path: &Path, line: &[u8], now: Timestamp) -> io::Result<()> {
        let mut permissions = None;
        if self.is_due(path, line.len() as u64, now) {
            permissions = path.metadata().ok().map(|it| it.permissions());
            std::fs::rename(path, aside(path, now))?;
        }
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mut file = open(path)?;
        if let Some(permissions) = permissions {
            // Who reads the file goes on reading it after it was set aside.
            file.set_permissions(permissions)?;
        }
        let length = file.metadata()?.len();
        if let Err(fault) = file.write_all(line).and_then(|()| file.sync_data()) {
            // A part of a line (the disk is full) would break the next one.
            file.set_len(length).ok();
            return Err(fault);
        }
        if length == 0
            && let Some(folder) = path.parent()
        {
            // The new name itself must be on disk too.
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn is_due(&self, path: &Path, more: u64, now: Timestamp) -> bool {
        let Ok(is) = path.metadata() else { return false };
        let is_full = self.rotate.size.is_some_and(|max| 0 < is.len() && max < is.len() + more);
        let changed = is.modified().ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        let is_old = self.rotate.every.zip(changed).is_some_and(|(every, changed)| {
            let now = Duration::from_micros(now.0.max(0) as u64);
            changed.as_secs() / every.as_secs().max(1) < now.as_secs() / every.as_secs().max(1)
        });
        is_full || is_old
    }
}

/// A name beside `path` that is free: the time behind the name, and a number where needed.
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let stamp: String = now.to_string().chars().filter(|it| !matches!(it, '-' | ':')).collect();
    let name = |number: usize| {
        let number = if number == 0 { String::new() } else { format!("-{number}") };
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{stamp}{number}"));
        PathBuf::from(name)
    };
    (0..).map(name).find(|it| !it.exists()).unwrap_or_else(|| name(0))
}

/// Opens a file to append to; a new one is for its owner alone.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a missing folder for its owner alone.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
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

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_set_aside_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::new(Rotate { size: Some(8), every: None });
        let now = Timestamp::parse("2026-01-01T10:00:00Z").unwrap();
        let path = folder.path().join("new/f");
        for _ in 0..3 {
            writer.append(&path, b"12345\n", now).unwrap();
        }
        let expected = ["f", "f.20260101T100000.000Z", "f.20260101T100000.000Z-1"];
        assert_eq!(names(&folder.path().join("new")), expected);
    }

    #[test]
    fn an_old_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let every = Some(Duration::from_secs(86_400));
        let writer = Writer::new(Rotate { size: None, every });
        let path = folder.path().join("f");
        let early = Timestamp(0);
        writer.append(&path, b"1\n", early).unwrap();
        writer.append(&path, b"2\n", early).unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        writer.append(&path, b"3\n", Timestamp::parse("2999-01-01T00:00:00Z").unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "3\n");
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_made_is_for_its_owner_alone_and_keeps_what_it_was_given() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::new(Rotate { size: Some(8), every: None });
        let now = Timestamp::parse("2026-01-01T10:00:00Z").unwrap();
        let path = folder.path().join("f");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        writer.append(&path, b"12345\n", now).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        writer.append(&path, b"12345\n", now).unwrap();
        assert_eq!((mode(), names(folder.path()).len()), (0o644, 2), "set aside");
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
}
