//! Opening: the files and their lock, the database, its connections, what a crash left.

use super::claim::{Claims, Keys};
use super::clock::{ClockFace, ClockWatch, GoodTime};
use super::connect::{self, OpenFault};
use super::deleted::Deletions;
use super::files::StoreFiles;
use super::guard::Guard;
use super::held::HeldState;
use super::holdings::StoreHoldings;
use super::keyed::Memories;
use super::names::Names;
use super::policy::{RetentionPolicy, Synchronous};
use super::readers::{READERS, ReaderGate, ReaderPool};
use super::rollup::Rollups;
use super::rule_book::RulesInForce;
use super::rules::RetentionRules;
use super::scrub::Scrub;
use super::share::UpkeepShare;
use super::status::{StoreStatus, WriterAlarm};
use super::text_index;
use super::wal::LogGuard;
use super::writer::{CommitObserver, Writer};
use super::{OpenError, Shared, Store, StoreFault, StoreTrouble, rows, scrub, space};
use kernel::env::Env;
use kernel::health::PartRole;
use kernel::time::Timestamp;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// SQLite before this could lose a write when it reset its log.
const SQLITE_LEAST: i32 = 3_051_003;
/// Commands that may wait for the writer.
const QUEUE: usize = 4096;

/// In `meta`: when the last look at every row ended.
pub(super) const PASSED: &str = "passed";
/// In `meta`: no number above this was given.
pub(super) const COUNTER: &str = "counter";
/// In `meta`: the last number given when a row with a number was last deleted. What was given since
/// is in some row.
pub(super) const FLOOR: &str = "floor";
/// Far beyond what any store comes to, and far from the end of what a number holds.
const NUMBERS_END: u64 = 1 << 62;
/// In place of a path.
const IN_MEMORY: &str = "the store in memory";

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A database file; its folder is made when it is missing.
    File(PathBuf),
    /// Nowhere: gone with the process.
    Memory,
}

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub place: StoreLocation,
    /// Commit durability.
    pub synchronous: Synchronous,
    /// The most events in one transaction.
    pub batch: usize,
    /// How long a transaction waits for more.
    pub linger: Duration,
    /// The sink's name; events with it among their targets are visible.
    pub name: Arc<str>,
}

/// Opens the store and brings its tables up to date. The writer must be run; until then nothing
/// is answered. What a first start made is gone again when it fails.
pub fn open(
    settings: Settings,
    policy: RetentionPolicy,
    env: Env,
    watcher: Box<dyn CommitObserver>,
) -> Result<(Store, Writer), OpenError> {
    assert!(
        SQLITE_LEAST <= rusqlite::version_number(),
        "SQLite {} may lose writes; the bundled one is newer",
        rusqlite::version()
    );
    let files = match &settings.place {
        StoreLocation::File(path) => Some(Arc::new(StoreFiles::take(path)?)),
        StoreLocation::Memory => None,
    };
    open_owned(settings, policy, env, watcher, files.clone()).map_err(|fault| {
        let path = files.as_ref().map_or(Path::new(IN_MEMORY), |files| files.path()).to_owned();
        let is_new = files.as_ref().is_some_and(|files| files.is_new());
        let fault = match (fault, &files) {
            (OpenFault::Store(fault), Some(files)) => OpenFault::Store(looked_into(fault, files)),
            (fault, _) => fault,
        };
        if let Some(files) = files.and_then(Arc::into_inner) {
            files.discard();
        }
        match fault {
            OpenFault::Open(error) => error,
            OpenFault::Store(fault) => OpenError::of_database(fault, &path, is_new),
        }
    })
}

/// Full, read-only, or a failing disk.
fn looked_into(fault: StoreFault, files: &StoreFiles) -> StoreFault {
    match fault.class {
        StoreTrouble::Unwritten => space::reason_of_failed_write(files),
        _ => fault,
    }
}

fn open_owned(
    settings: Settings,
    policy: RetentionPolicy,
    env: Env,
    watcher: Box<dyn CommitObserver>,
    files: Option<Arc<StoreFiles>>,
) -> Result<(Store, Writer), OpenFault> {
    let path = files.as_ref().map(|file| file.path());
    let uri = connect::uri_of(path);
    let (mut connection, is_checked) = connect::writer(&uri, &settings, files.as_deref())?;
    let gate = Arc::new(ReaderGate::default());
    let readers = open_readers(&uri, &settings, &gate, files.clone())?;
    if let Some(files) = &files {
        files.note_log().map_err(OpenFault::Open)?;
    }
    let label = path.map_or(IN_MEMORY.to_owned(), |path| path.display().to_string());
    let status = Arc::new(StoreStatus::new(label, &env.health));
    let keys = Keys::load(&connection)?;
    let (claims, names) = (Claims::load(&connection, keys)?, Names::load(&connection)?);
    let (counter, reserved) = (last_number(&connection)?, rows::meta(&connection, COUNTER)?);
    scrub::compare_names(&connection)?;
    let (last, now) = (GoodTime::load(&connection)?, ClockFace::of(&*env.clock));
    let clock = ClockWatch::start(env.health.part(PartRole::Clock, ""), last, now);
    let is_new = files.as_ref().is_none_or(|files| files.is_new());
    let wait = first_pass_in(&connection, is_checked, is_new, now.wall)?;
    let (sender, commands) = async_channel::bounded(QUEUE);
    let shared = Shared {
        commands: sender,
        readers,
        keys,
        env: env.clone(),
        figures: Arc::default(),
        tallies: Arc::default(),
        name: settings.name.clone(),
        status: status.clone(),
        scrub: Mutex::new(Scrub::due_in(now.monotonic, wait)),
        in_force: Arc::new(Mutex::new(Arc::new(RulesInForce::of(&policy)))),
    };
    super::grace::remember_name(&mut connection, &settings.name)?;
    let log = LogGuard::watch(&mut connection)?;
    let mut writer = Writer {
        rollups: Rollups::load(&connection, keys, counter)?,
        holdings: StoreHoldings::load(&connection)?,
        index: text_index::begin(&connection, &policy)?,
        connection,
        commands,
        settings,
        rules: RetentionRules::of(&policy),
        policy,
        env,
        watcher,
        figures: shared.figures.clone(),
        tallies: shared.tallies.clone(),
        keys,
        claims,
        names,
        counter,
        reserved,
        counts_written: now.monotonic,
        full: super::admit::FullTargets::default(),
        log,
        gate,
        sweep: super::retention::Sweep::default(),
        pending: None,
        in_force: shared.in_force.clone(),
        deletions: Deletions::default(),
        share: UpkeepShare::default(),
        parking: None,
        targets: None,
        memories: Memories::default(),
        held: HeldState::default(),
        guard: Guard::new(files, clock),
        alarm: WriterAlarm(status.clone()),
        status,
    };
    writer.begin()?;
    Ok((Store { shared: Arc::new(shared) }, writer))
}

impl Writer {
    /// What comes before the first command.
    fn begin(&mut self) -> Result<(), StoreFault> {
        self.correct_times();
        self.look();
        self.recall_rules()?;
        self.show_figures()
    }
}

fn open_readers(
    uri: &str,
    settings: &Settings,
    gate: &Arc<ReaderGate>,
    files: Option<Arc<StoreFiles>>,
) -> Result<ReaderPool, OpenFault> {
    let readers = (0..READERS).map(|_| connect::reader(uri, &settings.place));
    Ok(ReaderPool::new(readers.collect::<Result<_, _>>()?, gate.clone(), files))
}

/// When the first look at every row is due.
fn first_pass_in(
    connection: &Connection,
    is_checked: bool,
    is_new: bool,
    now: Timestamp,
) -> Result<Duration, StoreFault> {
    let passed = Timestamp(rows::meta(connection, PASSED)? as i64);
    Ok(match (is_checked, is_new) {
        (_, true) => scrub::EVERY,
        (true, _) => Scrub::wait_after(passed, now),
        // It has not been looked at for longer than since its last engine.
        (false, _) => Duration::ZERO,
    })
}

/// The last number given. A lower one than some row has would give numbers twice.
fn last_number(connection: &Connection) -> Result<u64, StoreFault> {
    let counter = rows::meta(connection, COUNTER)?;
    let highest: i64 = connection.query_row(
        "SELECT max(
            (SELECT coalesce(max(pos), 0) FROM event_rows),
            (SELECT coalesce(max(seq), 0) FROM inbox),
            (SELECT coalesce(max(seq), 0) FROM dead_letters WHERE seq IS NOT NULL))",
        [],
        |row| row.get(0),
    )?;
    let is_reserved = |number: u64| number <= counter && counter < NUMBERS_END;
    if let Some(highest) = u64::try_from(highest).ok().filter(|it| is_reserved(*it)) {
        let mut known = connection.prepare("SELECT 1 FROM meta WHERE key = ?")?;
        if !known.exists([FLOOR])? {
            // Of before numbers were reserved: it is exact.
            rows::set_meta(connection, FLOOR, counter)?;
        }
        return Ok(highest.max(rows::meta(connection, FLOOR)?));
    }
    let reason = format!("its last number is {counter}, but a row has {highest}");
    Err(StoreFault::damaged_database(&reason))
}
