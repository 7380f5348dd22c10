//! Connections to the database: how they are set up, and how its tables are brought up to date.

use super::files::StoreFiles;
use super::open::{Settings, StoreLocation};
use super::open_error::OTHER_PROGRAM;
use super::{OpenError, StoreFault, rows};
use kernel::choice::Choice;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Marks the file as ours: "evng".
pub(super) const APPLICATION_ID: i64 = 0x6576_6e67;

/// In `meta` while an engine has the store, and after it crashed.
pub(super) const IS_OPEN: &str = "is_open";
/// In `meta`: the path that the log is named after.
const HOME: &str = "home";
/// Reading through more than this after a crash would take longer than a start may.
const CHECKED_BYTES_MAX: i64 = 1 << 30;
/// A store that was closed well is read through only while that is hardly noticed.
const CHECKED_WHEN_CLOSED: i64 = 32 << 20;

/// What the writer waits for a lock at most, when nobody waits for the writer.
pub(super) const LOCK_SHORT: Duration = Duration::from_millis(50);
/// What a query waits for a lock at most.
const LOCK_READ: Duration = Duration::from_secs(2);

pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/0001-store.sql"),
    include_str!("../../../migrations/0002-checksums.sql"),
    include_str!("../../../migrations/0003-volume.sql"),
    include_str!("../../../migrations/0004-letters.sql"),
    include_str!("../../../migrations/0005-memory.sql"),
    include_str!("../../../migrations/0006-reasons.sql"),
    include_str!("../../../migrations/0007-counts.sql"),
    include_str!("../../../migrations/0008-manners.sql"),
    include_str!("../../../migrations/0009-ids.sql"),
    include_str!("../../../migrations/0010-relays.sql"),
    include_str!("../../../migrations/0011-messages.sql"),
    include_str!("../../../migrations/0012-alerts.sql"),
    include_str!("../../../migrations/0013-search.sql"),
    include_str!("../../../migrations/0014-attempts.sql"),
];

/// A fault on the way, or what is to be said already.
pub(super) enum OpenFault {
    Store(StoreFault),
    Open(OpenError),
}

impl<F: Into<StoreFault>> From<F> for OpenFault {
    fn from(fault: F) -> Self {
        OpenFault::Store(fault.into())
    }
}

/// What SQLite opens: the real path, or a name for a database in memory.
pub(super) fn uri_of(path: Option<&Path>) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    match path {
        Some(path) => path.display().to_string(),
        None => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            format!("file:/engine-{}-{number}?vfs=memdb", std::process::id())
        }
    }
}

/// The one connection that writes, with its tables up to date, and whether all of the database was
/// read through. It changes nothing in a database that is not ours or newer, not even by closing
/// it.
pub(super) fn writer(
    uri: &str,
    settings: &Settings,
    files: Option<&StoreFiles>,
) -> Result<(Connection, bool), OpenFault> {
    let mut connection = connect(uri, &settings.place)?;
    connection.busy_timeout(Duration::from_secs(3))?;
    if let Some(files) = files {
        refuse_log_elsewhere(&connection, files)?;
    }
    set_up(&connection, settings)?;
    let is_checked = check_through(&connection)?;
    migrate(&mut connection)?;
    check_schema(&connection)?;
    rows::set_meta(&connection, IS_OPEN, 1)?;
    if let Some(files) = files {
        set_home(&connection, files)?;
    }
    connection.busy_timeout(LOCK_SHORT)?;
    Ok((connection, is_checked))
}

/// The path under which the database was last opened, as far as the database itself knows: what is
/// only in a log that was left elsewhere, it does not.
fn home(connection: &Connection) -> Result<Option<PathBuf>, StoreFault> {
    if !has_table(connection, "meta")? {
        return Ok(None);
    }
    let sql = "SELECT value FROM meta WHERE key = ?";
    let home: Option<String> = connection.query_row(sql, [HOME], |row| row.get(0)).optional()?;
    Ok(home.map(PathBuf::from))
}

/// A log is named after the path of its database. One that was left under another name, which a
/// hard link or a move may have given it, would be missed, and what is in it lost.
fn refuse_log_elsewhere(connection: &Connection, files: &StoreFiles) -> Result<(), OpenFault> {
    let names = home(connection)?.into_iter().chain(files.other_names());
    match names.into_iter().find(|name| files.left_its_log_at(name)) {
        None => Ok(()),
        Some(name) => Err(OpenFault::Open(OpenError::Io(format!(
            "the log of {} is next to its other name {}; start the engine once with that path, or \
             move the log away to discard its content",
            files.path().display(),
            name.display()
        )))),
    }
}

/// Into the database itself, not only into its log.
fn set_home(connection: &Connection, files: &StoreFiles) -> Result<(), StoreFault> {
    if home(connection)?.as_deref() != Some(files.path()) {
        let path = files.path().display().to_string();
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)";
        connection.execute(sql, [HOME, &path])?;
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    }
    Ok(())
}

pub(super) fn has_table(connection: &Connection, name: &str) -> Result<bool, StoreFault> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?";
    Ok(0 < connection.query_row(sql, [name], |row| row.get::<_, i64>(0))?)
}

/// A connection for queries. It never touches a file, not even by closing it.
pub(super) fn reader(uri: &str, place: &StoreLocation) -> Result<Connection, OpenFault> {
    // Read-only by pragma instead of by flag: a reader must be able to make the shared memory
    // of the log when it comes first after a crash.
    let connection = connect(uri, place)?;
    connection.busy_timeout(LOCK_READ)?;
    connection.execute_batch(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn connect(uri: &str, place: &StoreLocation) -> Result<Connection, StoreFault> {
    // The file is there, with the lock on it: a database that went missing is not made again.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = match place {
        StoreLocation::File(_) => flags,
        StoreLocation::Memory => flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

fn set_up(connection: &Connection, settings: &Settings) -> Result<(), OpenFault> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && 0 < tables {
        return Err(StoreFault::damaged_database(OTHER_PROGRAM).into());
    }
    refuse_newer(connection)?;
    if tables == 0 {
        connection.execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;")?;
    }
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {};
         PRAGMA foreign_keys = ON;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;",
        settings.synchronous.word(),
    ))?;
    if application != APPLICATION_ID {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn version(connection: &Connection) -> Result<usize, StoreFault> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Before anything is written, so that the file stays as it is.
fn refuse_newer(connection: &Connection) -> Result<(), OpenFault> {
    let found = version(connection)?;
    if MIGRATIONS.len() < found {
        return Err(OpenFault::Open(OpenError::Newer(format!(
            "the store has version {found}, but this engine supports versions up to {}; use a newer engine",
            MIGRATIONS.len()
        ))));
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), StoreFault> {
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(version(connection)?) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Every table, view and index with its columns. What others have added is there too.
fn schema(connection: &Connection) -> Result<BTreeSet<String>, StoreFault> {
    let mut select = connection.prepare(
        "SELECT 'table ' || m.name || '.' || c.name FROM sqlite_schema AS m
            JOIN pragma_table_xinfo(m.name) AS c WHERE m.type IN ('table', 'view')
         UNION ALL
         SELECT 'index ' || m.name || '.' || coalesce(c.name, '') || ' ' || c.seqno
            FROM sqlite_schema AS m JOIN pragma_index_xinfo(m.name) AS c WHERE m.type = 'index'",
    )?;
    let names = select.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// A bit that flips in the description of a table hides the table.
fn check_schema(connection: &Connection) -> Result<(), StoreFault> {
    let model = Connection::open_in_memory()?;
    for sql in MIGRATIONS {
        model.execute_batch(sql)?;
    }
    let found = schema(connection)?;
    match schema(&model)?.iter().find(|it| !found.contains(*it)) {
        None => Ok(()),
        Some(missing) => {
            let reason = format!("its {missing} is missing");
            Err(StoreFault::damaged_database(&reason))
        }
    }
}

/// Nothing is built on a damaged database: after a stop that was not clean it is read through,
/// and otherwise when that takes no time. What is larger is read through while it runs.
fn check_through(connection: &Connection) -> Result<bool, StoreFault> {
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let bytes = one("PRAGMA page_count")? * one("PRAGMA page_size")?;
    if !has_table(connection, "meta")? {
        return Ok(true);
    }
    let bytes_max = match rows::meta(connection, IS_OPEN)? {
        0 => CHECKED_WHEN_CLOSED,
        _ => CHECKED_BYTES_MAX,
    };
    if bytes_max < bytes {
        return Ok(false);
    }
    for sql in checks(connection)? {
        let found: String = connection.query_row(&sql, [], |row| row.get(0))?;
        if found != "ok" {
            return Err(StoreFault::damaged_database(&found.replace('\n', " ")));
        }
    }
    Ok(true)
}

/// What reads the database through. An index of texts would be read word by word, for longer than
/// all the rest takes, and can be made again: so where there is one, the tables are read instead,
/// those in which it is kept among them.
fn checks(connection: &Connection) -> Result<Vec<String>, StoreFault> {
    if !has_table(connection, "event_texts")? {
        return Ok(vec!["PRAGMA quick_check(1)".to_owned()]);
    }
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
    let mut select = connection.prepare(sql)?;
    let check = |row: &rusqlite::Row<'_>| {
        let name = row.get::<_, String>(0)?.replace('\'', "''");
        Ok(format!("PRAGMA quick_check('{name}')"))
    };
    let checks = select.query_map([], check)?;
    Ok(checks.collect::<Result<_, _>>()?)
}
