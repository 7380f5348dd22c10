//! Who holds a lock on the files of a store, as far as the system tells.

use super::files::{FileId, StoreFiles};
use kernel::health::printable;

/// Lines that are looked at.
const LINES_MAX: usize = 10_000;
/// Bytes of a program's name that are shown.
const NAME_MAX: usize = 64;

/// The other process that holds a lock for writing, such as `sqlite3 (process 4711)`.
#[cfg(target_os = "linux")]
pub(super) fn of(files: &StoreFiles) -> Option<String> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = pid_in(&locks, &files.ids(), std::process::id())?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (process {pid})", printable(name.trim(), NAME_MAX)))
}

/// Nobody is known.
#[cfg(not(target_os = "linux"))]
pub(super) fn of(_: &StoreFiles) -> Option<String> {
    None
}

/// Lines are `1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 120 120`.
fn pid_in(locks: &str, ids: &[FileId], own: u32) -> Option<u32> {
    let fits = |file: &str| {
        let mut parts = file.split(':');
        let mut hex = || u32::from_str_radix(parts.next()?, 16).ok();
        let (major, minor) = (hex()?, hex()?);
        let inode: u64 = parts.next()?.parse().ok()?;
        let device = rustix::fs::makedev(major, minor);
        Some(ids.iter().any(|it| it.device == device && it.inode == inode))
    };
    locks.lines().take(LINES_MAX).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "POSIX" | "OFDLCK", _, "WRITE", pid, file, ..] = words[..] else { return None };
        let pid = pid.parse().ok().filter(|it| *it != own)?;
        fits(file)?.then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_for_writing_names_its_process() {
        let locks = "1: POSIX  ADVISORY  READ 11 fe:01:77 128 128\n\
                     2: POSIX  ADVISORY  WRITE 12 fe:01:78 120 120\n\
                     2: -> POSIX  ADVISORY  WRITE 15 fe:01:77 120 120\n\
                     3: POSIX  ADVISORY  WRITE 13 fe:01:77 120 120\n\
                     4: POSIX  ADVISORY  WRITE 14 fe:01:77 120 120\n\
                     5: FLOCK  ADVISORY  WRITE 16 fe:01:99 0 EOF\n";
        let id = |inode| FileId { device: rustix::fs::makedev(0xfe, 1), inode };
        assert_eq!(pid_in(locks, &[id(77)], 13), Some(14));
        assert_eq!(pid_in(locks, &[id(99), id(78)], 13), Some(12));
        assert_eq!(pid_in(locks, &[id(99)], 13), None);
        assert_eq!(pid_in("nonsense", &[id(99)], 13), None);
    }
}
