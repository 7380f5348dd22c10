//! Why a store cannot be opened, with what to do about it and the exit code that says so.

use super::{StoreFault, StoreTrouble};
use std::fmt;
use std::path::Path;

/// Why a store could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// The database is damaged.
    Corrupt(String),
    /// It cannot be created.
    Create(String),
    /// The disk failed.
    Io(String),
    /// Another engine has it.
    Locked(String),
    /// Not permitted.
    Permission(String),
    /// Written by a newer engine.
    Newer(String),
}

impl OpenError {
    /// The exit code of `engine run`.
    pub fn exit_code(&self) -> u8 {
        match self {
            OpenError::Corrupt(_) => 65,
            OpenError::Create(_) => 73,
            OpenError::Io(_) => 74,
            OpenError::Locked(_) => 75,
            OpenError::Permission(_) => 77,
            OpenError::Newer(_) => 78,
        }
    }

    /// The database at `path` could not be read or brought up to date.
    pub(super) fn of_database(fault: StoreFault, path: &Path, is_new: bool) -> Self {
        let (path, reason) = (path.display(), fault.reason);
        match fault.class {
            StoreTrouble::Full => OpenError::of_room(&path, &reason, is_new),
            StoreTrouble::Unwritten if is_new => OpenError::of_room(&path, &reason, is_new),
            StoreTrouble::Busy => OpenError::Locked(format!(
                "another program holds a lock on {path}; close it and start again ({reason})"
            )),
            StoreTrouble::Io | StoreTrouble::Closed => {
                OpenError::Io(format!("{path} cannot be read or written: {reason}"))
            }
            _ if is_new => OpenError::Create(format!("{path} cannot be made: {reason}")),
            // It may never have been a store, so that a backup is not the first thing to look for.
            _ if reason.ends_with(NO_DATABASE) => OpenError::Corrupt(foreign(
                &path,
                "it is not a SQLite database, or its first page is damaged",
            )),
            _ if reason == OTHER_PROGRAM => OpenError::Corrupt(foreign(&path, &reason)),
            _ => OpenError::Corrupt(damaged(&path, &reason)),
        }
    }

    fn of_room(path: &dyn fmt::Display, reason: &str, is_new: bool) -> Self {
        let message =
            format!("there is no space for {path}; free some space on its disk ({reason})");
        if is_new { OpenError::Create(message) } else { OpenError::Io(message) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Corrupt(reason)
            | OpenError::Create(reason)
            | OpenError::Io(reason)
            | OpenError::Locked(reason)
            | OpenError::Permission(reason)
            | OpenError::Newer(reason) => f.write_str(reason),
        }
    }
}

/// What to do with a damaged database, for people.
pub(super) const REPAIR: &str = "keep a copy of it and of its -wal; then restore a backup, or \
     save what can be read: sqlite3 OLD .recover | sqlite3 NEW";

/// What SQLite says of a file that does not begin as a database does.
const NO_DATABASE: &str = "file is not a database";
/// Why a database is not a store.
pub(super) const OTHER_PROGRAM: &str =
    "it is a database of another program, or its first page is damaged";

fn foreign(path: &dyn fmt::Display, reason: &str) -> String {
    format!(
        "{path} is not a store: {reason}; if it belongs to another program, choose another \
         `path` for the store; if it was a store, {REPAIR}"
    )
}

/// A sentence that says so and what to do.
pub(super) fn damaged(path: &dyn fmt::Display, reason: &str) -> String {
    format!("{path} is damaged: {reason}; {REPAIR}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: StoreTrouble, old: u8, new: u8) {
        for (is_new, code) in [(false, old), (true, new)] {
            let fault = StoreFault::new(class, "so it is");
            let error = OpenError::of_database(fault, Path::new("x.db"), is_new);
            assert_eq!(error.exit_code(), code, "{class:?}, {is_new}");
            assert!(error.to_string().contains("x.db"), "{error}");
        }
    }

    #[test]
    fn a_database_that_cannot_be_opened_has_the_code_of_its_trouble() {
        check(StoreTrouble::Full, 74, 73);
        check(StoreTrouble::Busy, 75, 75);
        check(StoreTrouble::Io, 74, 74);
        check(StoreTrouble::Corrupt, 65, 73);
        check(StoreTrouble::Damaged, 65, 73);
        check(StoreTrouble::ReadOnly, 65, 73);
        check(StoreTrouble::Other, 65, 73);
    }
}
