//! What the file system says about a file, and how one is opened.
//!
//! A device's number may change at a restart, and an inode's is used again as soon as it is free.
//! So neither is believed alone: whoever meets them compares what the file holds as well.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Which file it is, as far as its file system can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// When it was made, in nanoseconds since 1970, where the file system knows.
    pub(super) born: Option<u64>,
}

/// What changes when a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
}

impl FileId {
    /// Whether both may be one file: same place on the disk, and not born at different times.
    pub(super) fn is_same(&self, other: &FileId) -> bool {
        self.device == other.device && self.is_same_inode(other)
    }

    /// Whether both may be one file on a device that has another number now.
    pub(super) fn is_renumbered(&self, other: &FileId) -> bool {
        self.device != other.device && self.is_same_inode(other)
    }

    fn is_same_inode(&self, other: &FileId) -> bool {
        let is_born_apart = matches!((self.born, other.born), (Some(a), Some(b)) if a != b);
        self.inode == other.inode && !is_born_apart
    }

    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        FileId { device: metadata.dev(), inode: metadata.ino(), born: born(metadata) }
    }

    /// Without inodes the time of birth is all there is; content decides the rest.
    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        FileId { device: 0, inode: born(metadata).unwrap_or(0), born: born(metadata) }
    }
}

fn born(metadata: &Metadata) -> Option<u64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

impl FileStamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        FileStamp { size: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// Whether no name leads to an open file any more.
#[cfg(unix)]
pub(super) fn is_deleted(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.nlink() == 0
}

#[cfg(not(unix))]
pub(super) fn is_deleted(_: &Metadata) -> bool {
    false
}

/// Opens a regular file for reading. Never waits: a pipe that took the file's name meanwhile is
/// opened without blocking, and refused.
pub(super) fn open_regular(path: &Path) -> io::Result<(File, FileId)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(format!("it is {}, not a file", kind_of(&metadata))));
    }
    let id = FileId::of(&metadata);
    Ok((file, id))
}

/// What something is that is not a file, in words.
pub(super) fn kind_of(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() { "a folder" } else { "a pipe, a socket or a device" }
}

/// At most `length_max` bytes from a place on; fewer at the end of the file.
pub(super) fn bytes_at(mut file: &File, from: u64, length_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length_max.min(64 << 10));
    file.seek(SeekFrom::Start(from))?;
    file.take(length_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the process or the machine has no descriptor left.
#[cfg(unix)]
pub(super) fn is_out_of_descriptors(fault: &io::Error) -> bool {
    matches!(fault.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
pub(super) fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_that_was_born_at_another_time_is_another_file() {
        let id = |device, inode, born| FileId { device, inode, born };
        let first = id(1, 5, Some(7));
        assert!(first.is_same(&id(1, 5, Some(7))) && first.is_same(&id(1, 5, None)));
        assert!(!first.is_same(&id(1, 5, Some(8))) && !first.is_same(&id(2, 5, Some(7))));
        assert!(first.is_renumbered(&id(2, 5, Some(7))) && first.is_renumbered(&id(2, 5, None)));
        assert!(!first.is_renumbered(&id(2, 5, Some(8))) && !first.is_renumbered(&first));
    }

    #[test]
    fn what_is_not_a_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let fault = open_regular(folder.path()).unwrap_err();
        assert_eq!(fault.to_string(), "it is a folder, not a file");
        #[cfg(unix)]
        {
            let path = folder.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            let fault = open_regular(&path).unwrap_err();
            assert_eq!(fault.to_string(), "it is a pipe, a socket or a device, not a file");
        }
    }
}
