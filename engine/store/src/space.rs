//! Room on the disk: how much must stay free, and why a write failed.

use super::files::{PROBE, StoreFiles, beside};
use super::{StoreFault, StoreTrouble};
use rustix::io::Errno;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const MIB: u64 = 1 << 20;
/// What is written to find out why another write failed.
static PROBED: [u8; 64 << 10] = [0x5A; 64 << 10];

/// The file system of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiskSpace {
    /// Bytes that the engine may still write.
    pub(super) free: u64,
    /// Bytes in all.
    pub(super) total: u64,
}

impl DiskSpace {
    pub(super) fn of(files: &StoreFiles) -> Option<Self> {
        let found = rustix::fs::fstatvfs(files.database()).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(DiskSpace { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }

    /// With less than this nothing new is accepted, so that there is room to finish what was, and
    /// for the log to be written into the database: a twentieth of the disk, but not less than
    /// 64 MiB and not more than 1 GiB; on a small one, a quarter of it.
    pub(super) fn reserve(self) -> u64 {
        (self.total / 20).clamp(64 * MIB, 1024 * MIB).min(self.total / 4)
    }

    pub(super) fn is_low(self) -> bool {
        self.free < self.reserve()
    }

    /// Above the reserve by enough not to be below it again at once.
    pub(super) fn is_fine(self) -> bool {
        self.reserve().saturating_add(self.reserve() / 8) <= self.free
    }
}

/// The free bytes of the disk of a folder, and how many of them a store leaves free. `None` where
/// the system does not tell.
pub fn disk_room(folder: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let space = DiskSpace { free: bytes(found.f_bavail), total: bytes(found.f_blocks) };
    Some((space.free, space.reserve()))
}

/// Why a write failed: SQLite only says that it did. What cannot be told is the disk.
pub(super) fn reason_of_failed_write(files: &StoreFiles) -> StoreFault {
    match try_to_write(files) {
        Ok(()) => StoreFault::new(StoreTrouble::Io, "the disk failed to write"),
        Err(fault) if fault.class == StoreTrouble::Other => {
            StoreFault::new(StoreTrouble::Io, fault.reason)
        }
        Err(fault) => fault,
    }
}

/// Writes beside the store, where its longest file ends, so that every limit that it met is met
/// again.
pub(super) fn try_to_write(files: &StoreFiles) -> Result<(), StoreFault> {
    probe(files.path(), end_of(files)).map_err(|fault| {
        let class = match fault.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                StoreTrouble::Full
            }
            ErrorKind::ReadOnlyFilesystem => StoreTrouble::ReadOnly,
            _ if fault.raw_os_error() == Some(Errno::IO.raw_os_error()) => StoreTrouble::Io,
            _ => StoreTrouble::Other,
        };
        StoreFault::new(class, fault.to_string())
    })
}

fn end_of(files: &StoreFiles) -> u64 {
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    size(files.path()).max(size(&files.log_path()))
}

fn probe(path: &Path, at: u64) -> std::io::Result<()> {
    let path = beside(path, PROBE);
    let mut options = File::options();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    let written = file.write_all_at(&PROBED, at).and_then(|()| file.sync_all());
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

/// "12.3 MiB", for people.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(total: u64, reserve: u64) {
        assert_eq!(DiskSpace { free: 0, total }.reserve(), reserve);
    }

    #[test]
    fn the_reserve_fits_the_disk() {
        check(0, 0);
        check(8 * MIB, 2 * MIB);
        check(32 * MIB, 8 * MIB);
        check(1024 * MIB, 64 * MIB);
        check(10_240 * MIB, 512 * MIB);
        check(4_000_000 * MIB, 1024 * MIB);
    }

    #[test]
    fn room_that_is_just_enough_does_not_flap() {
        let with = |free| DiskSpace { free, total: 1024 * MIB };
        assert!(with(64 * MIB - 1).is_low() && !with(64 * MIB).is_low());
        assert!(!with(64 * MIB).is_fine() && with(72 * MIB).is_fine());
        let unknown = DiskSpace { free: 0, total: 0 };
        assert!(!unknown.is_low() && unknown.is_fine());
    }
}
