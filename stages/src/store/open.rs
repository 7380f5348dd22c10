//! Opening: the folder, the lock, the database, its migrations, its connections.

use super::claim::{Claims, Keys};
use super::deleted::Deletions;
use super::holdings::StoreHoldings;
use super::names::Names;
use super::policy::{Policy, Synchronous};
use super::readers::{READERS, ReaderGate, ReaderPool};
use super::rules::RetentionRules;
use super::share::UpkeepShare;
use super::wal::LogGuard;
use super::writer::{Watcher, Writer};
use super::{Figures, Shared, Store, StoreFault, rows};
use crate::env::Env;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Marks the file as ours: "evng".
const APPLICATION_ID: i64 = 0x6576_6e67;
/// SQLite before this could lose a write when it reset its log.
const SQLITE_LEAST: i32 = 3_051_003;
/// Commands that may wait for the writer.
const QUEUE: usize = 4096;

/// Stands in `meta` while an engine has the store, and after it crashed.
pub(super) const IS_OPEN: &str = "is_open";
/// Reading through more than this would take longer than a start may.
const CHECKED_BYTES_MAX: i64 = 1 << 30;

const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/0001-store.sql"),
    include_str!("../../../migrations/0003-volume.sql"),
    include_str!("../../../migrations/0004-letters.sql"),
];

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A database file; its folder is made when it is missing.
    File(PathBuf),
    /// Nowhere: gone with the process.
    Memory,
}

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub place: Place,
    /// How hard a commit is.
    pub synchronous: Synchronous,
    /// Most events in one transaction.
    pub batch: usize,
    /// How long a transaction waits for more.
    pub linger: Duration,
    /// The sink's name; events with it among their targets are visible.
    pub name: Arc<str>,
    /// Most rows of the inbox; beyond it nothing more is accepted.
    pub backlog_rows: u64,
    /// Most bytes of the inbox.
    pub backlog_bytes: u64,
}

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
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Corrupt(it)
            | OpenError::Create(it)
            | OpenError::Io(it)
            | OpenError::Locked(it)
            | OpenError::Permission(it)
            | OpenError::Newer(it) => f.write_str(it),
        }
    }
}

impl From<StoreFault> for OpenError {
    fn from(fault: StoreFault) -> Self {
        match fault.class {
            super::StoreTrouble::Corrupt => OpenError::Corrupt(fault.reason),
            _ => OpenError::Io(fault.reason),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(fault: rusqlite::Error) -> Self {
        StoreFault::from(fault).into()
    }
}

/// The connection of the writer, to a database whose tables are those of this version.
fn up_to_date(uri: &str, settings: &Settings) -> Result<Connection, OpenError> {
    let mut connection = connect(uri, &settings.place)?;
    set_up(&connection, settings)?;
    migrate(&mut connection)?;
    check_after_crash(&connection)?;
    Ok(connection)
}

/// Opens the store and brings its tables up to date. The writer must be run; until then nothing
/// is answered.
pub fn open(
    settings: Settings,
    policy: Policy,
    env: Env,
    watcher: Box<dyn Watcher>,
) -> Result<(Store, Writer), OpenError> {
    assert!(
        SQLITE_LEAST <= rusqlite::version_number(),
        "SQLite {} may lose writes; the bundled one is newer",
        rusqlite::version()
    );
    let lock = match &settings.place {
        Place::File(path) => Some(prepare_folder(path)?),
        Place::Memory => None,
    };
    let uri = uri_of(&settings.place);
    let mut connection = up_to_date(&uri, &settings)?;
    let readers = (0..READERS).map(|_| read_connection(&uri, &settings.place));
    let gate = Arc::new(ReaderGate::default());
    let readers = ReaderPool::new(readers.collect::<Result<_, _>>()?, gate.clone());
    let keys = Keys::load(&connection)?;
    let claims = Claims::load(&connection, keys)?;
    let figures = Arc::new(Figures::default());
    let (sender, commands) = async_channel::bounded(QUEUE);
    let tallies = Arc::new(Mutex::new(Vec::new()));
    let shared = Shared {
        commands: sender,
        readers,
        keys,
        env: env.clone(),
        figures: figures.clone(),
        tallies: tallies.clone(),
        name: settings.name.clone(),
    };
    let counter = rows::meta(&connection, "counter")?;
    let names = Names::load(&connection)?;
    let holdings = StoreHoldings::load(&connection)?;
    super::grace::remember_name(&mut connection, &settings.name)?;
    let log = LogGuard::watch(&mut connection)?;
    let mut writer = Writer {
        connection,
        commands,
        settings,
        rules: RetentionRules::of(&policy),
        policy,
        env,
        watcher,
        figures,
        tallies,
        claims,
        names,
        counter,
        holdings,
        full: super::admit::FullTargets::default(),
        log,
        gate,
        sweep: super::retention::Sweep::new(),
        pending: None,
        deletions: Deletions::default(),
        share: UpkeepShare::default(),
        parking: None,
        targets: None,
        is_broken: false,
        lock,
    };
    writer.recall_rules()?;
    writer.show_figures()?;
    Ok((Store { shared: Arc::new(shared) }, writer))
}

/// Makes the folder (only its owner may look in) and takes the lock beside the database.
///
/// The lock is a file of its own: closing any handle of the database file would drop SQLite's
/// own locks on it.
fn prepare_folder(path: &Path) -> Result<File, OpenError> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.exists() {
        make_folder(folder).map_err(|it| refused(folder, &it))?;
    }
    let lock_path = lock_of(path);
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(&lock_path);
    let mut lock = file.map_err(|it| refused(&lock_path, &it))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = format!("another engine uses {}", path.display());
            return Err(OpenError::Locked(message));
        }
        Err(TryLockError::Error(fault)) => return Err(refused(&lock_path, &fault)),
    }
    let pid = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    pid.map_err(|it| refused(&lock_path, &it))?;
    // The names of new files are durable only once their folder is.
    File::open(folder).and_then(|it| it.sync_all()).map_err(|it| refused(folder, &it))?;
    Ok(lock)
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn refused(path: &Path, fault: &std::io::Error) -> OpenError {
    let message = format!("cannot make {}: {fault}", path.display());
    match fault.kind() {
        std::io::ErrorKind::PermissionDenied => OpenError::Permission(message),
        _ => OpenError::Create(message),
    }
}

fn uri_of(place: &Place) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    match place {
        Place::File(path) => path.display().to_string(),
        Place::Memory => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            format!("file:/engine-{}-{number}?vfs=memdb", std::process::id())
        }
    }
}

fn connect(uri: &str, place: &Place) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let flags = match place {
        Place::File(_) => flags,
        Place::Memory => flags | OpenFlags::SQLITE_OPEN_URI,
    };
    Connection::open_with_flags(uri, flags).map_err(|fault| {
        let message = format!("cannot open the store {uri}: {fault}");
        match fault.sqlite_error_code() {
            Some(rusqlite::ErrorCode::CannotOpen) => OpenError::Create(message),
            Some(rusqlite::ErrorCode::PermissionDenied) => OpenError::Permission(message),
            _ => OpenError::from(fault),
        }
    })
}

fn set_up(connection: &Connection, settings: &Settings) -> Result<(), OpenError> {
    // Until it is known to be ours: closing would write the log into the file.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let application: i64 = connection.query_row("PRAGMA application_id", [], |it| it.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |it| it.get(0))?;
    if application != APPLICATION_ID && 0 < tables {
        return Err(OpenError::Corrupt("the file is a database of another program".to_owned()));
    }
    refuse_newer(connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    if tables == 0 {
        connection.execute_batch("PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;")?;
    }
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {};
         PRAGMA foreign_keys = ON;
         PRAGMA busy_timeout = 5000;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA application_id = {APPLICATION_ID};",
        settings.synchronous.word(),
    ))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn version(connection: &Connection) -> Result<usize, OpenError> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |it| it.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Before anything is written, so that the file stays as it is.
fn refuse_newer(connection: &Connection) -> Result<(), OpenError> {
    let found = version(connection)?;
    if MIGRATIONS.len() < found {
        return Err(OpenError::Newer(format!(
            "the store has version {found}, and this engine knows {}; use a newer engine",
            MIGRATIONS.len()
        )));
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(version(connection)?) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// After a stop that was not clean the file is read through before anything is built on it. From
/// here to [`Writer::run`]'s end it counts as open.
fn check_after_crash(connection: &Connection) -> Result<(), OpenError> {
    let one = |sql: &str| connection.query_row(sql, [], |it| it.get::<_, i64>(0));
    let bytes = one("PRAGMA page_count")? * one("PRAGMA page_size")?;
    if 0 < rows::meta(connection, IS_OPEN)? && bytes <= CHECKED_BYTES_MAX {
        let sql = "PRAGMA quick_check(1)";
        let found: String = connection.query_row(sql, [], |it| it.get(0))?;
        if found != "ok" {
            return Err(OpenError::Corrupt(format!("the store is damaged: {found}")));
        }
    }
    rows::set_meta(connection, IS_OPEN, 1)?;
    Ok(())
}

fn read_connection(uri: &str, place: &Place) -> Result<Connection, OpenError> {
    // Read-only by pragma instead of by flag: a reader must be able to make the shared memory
    // of the log when it comes first after a crash.
    let connection = connect(uri, place)?;
    connection.execute_batch(
        "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF;
         PRAGMA mmap_size = 0; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
