//! What was accepted and is now only in a file without a name.
//!
//! SQLite still has the files open, so everything is still there until the engine ends. A log that
//! was taken away is written into its database; a database that was taken away is written into a
//! new file beside it. Never: a write over what somebody put in its place.

use super::files::{FileChange, RESCUED, StoreFiles, after_loss, beside};
use super::{StoreFault, StoreTrouble};
use kernel::time::Timestamp;
use rusqlite::Connection;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the log waits for queries that still read it.
const READERS_WAIT: Duration = Duration::from_secs(5);

/// What became of it, and what to do.
pub(super) struct Rescued {
    pub(super) outcome: String,
    pub(super) advice: String,
}

pub(super) fn save(
    connection: &Connection,
    files: &StoreFiles,
    change: FileChange,
    now: Timestamp,
) -> Rescued {
    match change {
        FileChange::DatabaseDeleted | FileChange::DatabaseReplaced => {
            save_database(connection, files, change == FileChange::DatabaseReplaced, now)
        }
        FileChange::LogDeleted | FileChange::LogReplaced | FileChange::SharedMemoryReplaced => {
            save_log(connection, files)
        }
        // What is read out of it now is nothing, and would be written over pages that are right.
        FileChange::LogTruncated => Rescued {
            outcome: "everything accepted since the last checkpoint is lost".to_owned(),
            advice: "compare with the senders, then start the engine again".to_owned(),
        },
    }
}

fn save_log(connection: &Connection, files: &StoreFiles) -> Rescued {
    let set_aside = || match files.has_its_log() {
        true => Ok(None),
        false => set_aside(files, &beside(&files.log_path(), ".strange")),
    };
    let done = write_log_into_database(connection).and_then(|()| set_aside());
    match done {
        Ok(None) => Rescued {
            outcome: "everything that was accepted has been written into the database".to_owned(),
            advice: "start the engine again".to_owned(),
        },
        Ok(Some(aside)) => Rescued {
            outcome: "everything that was accepted has been written into the database".to_owned(),
            advice: format!(
                "start the engine again; the file that replaced the log is now {}",
                aside.display()
            ),
        },
        Err(fault) => Rescued {
            outcome: format!("the log could not be saved ({fault})"),
            advice: "everything accepted since the last checkpoint may be lost: compare with the \
                     senders, then start the engine again"
                .to_owned(),
        },
    }
}

fn write_log_into_database(connection: &Connection) -> Result<(), StoreFault> {
    connection.busy_timeout(READERS_WAIT)?;
    let sql = "PRAGMA wal_checkpoint(FULL)";
    let (busy, pages, written): (i64, i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if busy != 0 || pages != written {
        let reason = format!("{written} of {pages} pages were written");
        return Err(StoreFault::new(StoreTrouble::Io, reason));
    }
    Ok(())
}

/// A log that does not belong to the database beside it would be replayed over it at the next
/// start.
fn set_aside(files: &StoreFiles, aside: &Path) -> Result<Option<PathBuf>, StoreFault> {
    let log = files.log_path();
    if !log.exists() {
        return Ok(None);
    }
    let aside = free_name(aside);
    std::fs::rename(&log, &aside).map_err(io_fault)?;
    Ok(Some(aside))
}

fn io_fault(fault: std::io::Error) -> StoreFault {
    StoreFault::new(StoreTrouble::Io, fault.to_string())
}

fn save_database(
    connection: &Connection,
    files: &StoreFiles,
    is_replaced: bool,
    now: Timestamp,
) -> Rescued {
    let path = files.path();
    let copy = free_name(&beside(path, &format!("{RESCUED}{}", stamp(now))));
    let saved = copy_into(connection, &copy);
    if files.has_its_log() {
        set_aside(files, &beside(&copy, ".old-wal")).ok();
    }
    let rescued = match saved {
        Ok(()) => Rescued {
            outcome: format!("everything that was accepted is saved in {}", copy.display()),
            advice: after_loss(path, Some(&copy), is_replaced),
        },
        Err(fault) => {
            std::fs::remove_file(&copy).ok();
            Rescued {
                outcome: format!("{} could not be saved ({fault})", counted(connection)),
                advice: "restore a backup, and compare with the senders".to_owned(),
            }
        }
    };
    let what = if is_replaced { "replaced" } else { "removed" };
    files.note_loss(&format!("it was {what} while an engine used it; {}", rescued.outcome));
    rescued
}

/// Everything that was committed, the log included. Not into a folder that is gone as well: then
/// all of it was meant to go.
fn copy_into(connection: &Connection, copy: &Path) -> Result<(), StoreFault> {
    let made = File::options().write(true).create_new(true).mode(0o600).open(copy);
    made.map_err(io_fault)?;
    let name = copy.display().to_string();
    connection.execute("VACUUM INTO ?", [name])?;
    let synced = File::open(copy).and_then(|it| it.sync_all());
    synced.map_err(io_fault)
}

/// What there was, for people.
fn counted(connection: &Connection) -> String {
    let count = |table: &str| -> String {
        let sql = format!("SELECT count(*) FROM {table}");
        let found = connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
        found.map_or_else(|_| "an unknown number of".to_owned(), |it| it.to_string())
    };
    format!(
        "{} events, {} accepted ones that were not finished, and {} dead letters",
        count("event_rows"),
        count("inbox"),
        count("dead_letters")
    )
}

/// `20261128T143759`.
fn stamp(now: Timestamp) -> String {
    let text = now.to_string();
    let date = text.split('.').next().unwrap_or_default();
    date.chars().filter(|letter| !matches!(letter, '-' | ':')).collect()
}

/// The name, or the first with a number that nothing has.
fn free_name(path: &Path) -> PathBuf {
    let numbered = (2..1000).map(|it| beside(path, &format!("-{it}")));
    let mut names = std::iter::once(path.to_owned()).chain(numbered);
    names.find(|name| name.symlink_metadata().is_err()).unwrap_or_else(|| path.to_owned())
}
