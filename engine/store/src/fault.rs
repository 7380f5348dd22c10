//! Why the store did not do its work, sorted by what helps against it.

use rusqlite::ErrorCode as Code;
use rusqlite::ffi;
use std::fmt;

/// Between the row and the reason.
const IS_DAMAGED: &str = " is damaged: ";

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFault {
    /// What kind of trouble it is.
    pub class: StoreTrouble,
    /// In words.
    pub reason: String,
}

/// What kind of trouble a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreTrouble {
    /// No space left, or a limit on it is reached; accepts again once there is room.
    Full,
    /// Another program holds a lock; accepts again once it is released.
    Busy,
    /// The file system is read-only; accepts again once it is not.
    ReadOnly,
    /// A write failed, for lack of room in some sense or because the disk fails. The writer finds
    /// out which, so callers never see it.
    Unwritten,
    /// The disk failed, or the files were taken away; accepts nothing until a restart.
    Io,
    /// The database is damaged; accepts nothing until it is repaired.
    Corrupt,
    /// One row is damaged; the others are not concerned.
    Damaged,
    /// A limit of the outbox leaves no room; later may go.
    NoRoom,
    /// The index of texts is damaged; it is made again.
    TextIndex,
    /// The store is closed.
    Closed,
    /// Anything else.
    Other,
}

impl StoreTrouble {
    /// Every kind of trouble.
    pub const ALL: [StoreTrouble; 11] = [
        StoreTrouble::Full,
        StoreTrouble::Busy,
        StoreTrouble::ReadOnly,
        StoreTrouble::Unwritten,
        StoreTrouble::Io,
        StoreTrouble::Corrupt,
        StoreTrouble::Damaged,
        StoreTrouble::NoRoom,
        StoreTrouble::TextIndex,
        StoreTrouble::Closed,
        StoreTrouble::Other,
    ];

    /// Its word in metrics.
    pub fn word(self) -> &'static str {
        [
            "full",
            "busy",
            "read-only",
            "unwritten",
            "io",
            "corrupt",
            "damaged",
            "no-room",
            "text-index",
            "closed",
            "other",
        ][self as usize]
    }

    /// Its word in answers: what a sender is told instead of an acknowledgement.
    pub fn code(self) -> &'static str {
        match self {
            StoreTrouble::Full => "storage_full",
            StoreTrouble::Busy => "storage_locked",
            StoreTrouble::ReadOnly => "storage_read_only",
            StoreTrouble::NoRoom => "outbox",
            _ => "store",
        }
    }

    /// Whether it is over only when the engine is started again.
    pub fn is_final(self) -> bool {
        matches!(self, StoreTrouble::Io | StoreTrouble::Corrupt)
    }

    /// Whether it concerns whatever is written next, too.
    pub(super) fn is_general(self) -> bool {
        self.is_final()
            || matches!(self, StoreTrouble::Full | StoreTrouble::Busy | StoreTrouble::ReadOnly)
    }
}

impl StoreFault {
    pub(super) fn new(class: StoreTrouble, reason: impl Into<String>) -> Self {
        StoreFault { class, reason: reason.into() }
    }

    /// One row is not what was written, and why that is known.
    pub(super) fn damaged_row(what: &str, number: i64, why: &str) -> Self {
        let reason = format!("{what} {number}{IS_DAMAGED}{why}");
        StoreFault::new(StoreTrouble::Damaged, reason)
    }

    /// Which row is damaged.
    pub(super) fn subject(&self) -> &str {
        self.reason.split(IS_DAMAGED).next().unwrap_or_default()
    }

    /// The database itself is not what was written.
    pub(super) fn damaged_database(reason: &str) -> Self {
        StoreFault::new(StoreTrouble::Corrupt, reason)
    }

    pub(super) fn closed() -> Self {
        StoreFault::new(StoreTrouble::Closed, "the store is closed")
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<rusqlite::Error> for StoreFault {
    fn from(fault: rusqlite::Error) -> Self {
        StoreFault::new(class_of(&fault), format!("the store says: {fault}"))
    }
}

fn class_of(fault: &rusqlite::Error) -> StoreTrouble {
    match fault {
        rusqlite::Error::SqliteFailure(error, _) => class_of_code(*error),
        // Our statements read the types that our statements wrote.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => StoreTrouble::Damaged,
        _ => StoreTrouble::Other,
    }
}

fn class_of_code(error: ffi::Error) -> StoreTrouble {
    match (error.code, error.extended_code) {
        (Code::DiskFull, _) => StoreTrouble::Full,
        (Code::DatabaseBusy | Code::DatabaseLocked, _) => StoreTrouble::Busy,
        // Only virtual tables say so, and there is one.
        (_, ffi::SQLITE_CORRUPT_VTAB) => StoreTrouble::TextIndex,
        (Code::DatabaseCorrupt | Code::NotADatabase, _) => StoreTrouble::Corrupt,
        // The file is shorter than its own pages say.
        (_, ffi::SQLITE_IOERR_SHORT_READ) => StoreTrouble::Corrupt,
        // One writer gives the numbers that are keys, each once.
        (
            _,
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_ROWID
            | ffi::SQLITE_CONSTRAINT_UNIQUE,
        ) => StoreTrouble::Corrupt,
        (
            _,
            ffi::SQLITE_IOERR_WRITE
            | ffi::SQLITE_IOERR_TRUNCATE
            | ffi::SQLITE_IOERR_SHMSIZE
            | ffi::SQLITE_IOERR_SHMOPEN,
        ) => StoreTrouble::Unwritten,
        (Code::ReadOnly, _) => StoreTrouble::ReadOnly,
        (Code::SystemIoFailure | Code::CannotOpen, _) => StoreTrouble::Io,
        _ => StoreTrouble::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(extended_code: i32, class: StoreTrouble) {
        let fault = rusqlite::Error::SqliteFailure(ffi::Error::new(extended_code), None);
        assert_eq!(StoreFault::from(fault).class, class);
    }

    #[test]
    fn what_fails_is_sorted_by_what_helps() {
        check(ffi::SQLITE_FULL, StoreTrouble::Full);
        check(ffi::SQLITE_BUSY_RECOVERY, StoreTrouble::Busy);
        check(ffi::SQLITE_IOERR_FSYNC, StoreTrouble::Io);
        check(ffi::SQLITE_IOERR_READ, StoreTrouble::Io);
        check(ffi::SQLITE_IOERR_WRITE, StoreTrouble::Unwritten);
        check(ffi::SQLITE_READONLY, StoreTrouble::ReadOnly);
        check(ffi::SQLITE_IOERR_SHORT_READ, StoreTrouble::Corrupt);
        check(ffi::SQLITE_CORRUPT_INDEX, StoreTrouble::Corrupt);
        check(ffi::SQLITE_CORRUPT_VTAB, StoreTrouble::TextIndex);
        check(ffi::SQLITE_NOTADB, StoreTrouble::Corrupt);
        check(ffi::SQLITE_CONSTRAINT_PRIMARYKEY, StoreTrouble::Corrupt);
        check(ffi::SQLITE_CONSTRAINT_TRIGGER, StoreTrouble::Other);
        check(ffi::SQLITE_INTERRUPT, StoreTrouble::Other);
    }

    #[test]
    fn a_value_of_another_type_is_damage_of_its_row() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let read = |sql: &str| {
            let found = connection.query_row(sql, [], |row| row.get::<_, String>(0));
            StoreFault::from(found.unwrap_err()).class
        };
        assert_eq!(read("SELECT 5"), StoreTrouble::Damaged);
        assert_eq!(read("SELECT CAST(x'ff' AS TEXT)"), StoreTrouble::Damaged);
    }
}
