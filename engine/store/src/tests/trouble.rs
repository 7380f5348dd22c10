//! Locks of others, files that vanish, disks that are full, futures that are dropped.

use super::files::beside;
use super::outbox::settled;
use super::*;
use std::path::PathBuf;

/// Another program's connection to the same database.
fn other(path: &Path) -> Connection {
    let other = Connection::open(path).expect("it opens");
    other.busy_timeout(Duration::ZERO).expect("it waits for nothing");
    other
}

fn begin(other: &Connection) {
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock is free");
}

fn ids_in(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).expect("it opens");
    let mut select = connection.prepare("SELECT id FROM event_rows ORDER BY pos").expect("sql");
    let ids = select.query_map([], |row| row.get(0)).expect("rows");
    ids.map(|ids| ids.expect("a row")).collect()
}

#[test]
fn a_lock_of_another_program_is_told_within_seconds_and_nothing_is_stored_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    let other = other(&path);
    begin(&other);
    assert_eq!(bench.try_submit(vec![record("a", "{}")]), Err(StoreTrouble::Busy));
    assert_eq!(bench.codes(), ["store-locked"]);
    assert_eq!(bench.store.trouble().map(|trouble| trouble.class), Some(StoreTrouble::Busy));
    // What comes now is told at once, and so is what only finishes.
    let finish = StoreEntry::Finish(finished(Event { seq: 1, ..event("b", "{}") }));
    assert_eq!(bench.try_submit(vec![finish]), Err(StoreTrouble::Busy));
    assert!(!bench.store.is_broken());
    other.execute_batch("COMMIT").expect("it ends");
    bench.tick();
    assert_eq!((bench.codes(), bench.store.trouble()), (vec![], None));
    bench.submit(vec![record("c", "{}")]);
    assert_eq!(bench.listed(EventQuery::default()), ["c"]);
    bench.close();
}

#[test]
fn a_lock_is_noticed_and_forgotten_while_nothing_is_submitted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    // The first tick has something of its own to write.
    bench.tick();
    let other = other(&path);
    begin(&other);
    bench.tick();
    assert_eq!(bench.codes(), [""; 0], "it may be short");
    bench.tick();
    assert_eq!(bench.codes(), ["store-locked"], "a second later");
    other.execute_batch("ROLLBACK").expect("it ends");
    bench.tick();
    assert_eq!(bench.codes(), [""; 0]);
    bench.close();
}

#[test]
fn what_nobody_waits_for_any_more_is_not_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    let other = other(&path);
    begin(&other);
    for id in ["a", "b", "c"] {
        let mut submission = Box::pin(bench.store.submit(vec![record(id, "{}")]));
        assert!(smol::block_on(smol::future::poll_once(&mut submission)).is_none());
    }
    let mut wanted = Box::pin(bench.store.submit(vec![record("d", "{}")]));
    assert!(smol::block_on(smol::future::poll_once(&mut wanted)).is_none());
    other.execute_batch("COMMIT").expect("it ends");
    let stored = smol::block_on(wanted).expect("it is written");
    assert_eq!(stored, [WriteReceipt::Stored { seq: 1, pos: 1 }]);
    assert_eq!(bench.listed(EventQuery::default()), ["d"]);
    // Their ids were never taken.
    assert_eq!(bench.submit(vec![record("a", "{}")]), [WriteReceipt::Stored { seq: 2, pos: 2 }]);
    bench.close();
}

#[test]
fn how_something_ended_is_stored_though_nobody_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![waiting("a"), StoreEntry::Accept(event("b", "{}"))]);
    let other = other(&path);
    begin(&other);
    let finish = StoreEntry::Finish(finished(Event { seq: 2, ..event("b", "{}") }));
    for entry in [settled("phone", 1, DeliveryState::Done), finish] {
        let mut submission = Box::pin(bench.store.submit(vec![entry]));
        assert!(smol::block_on(smol::future::poll_once(&mut submission)).is_none());
    }
    other.execute_batch("COMMIT").expect("it ends");
    bench.submit(vec![record("c", "{}")]);
    assert_eq!(bench.read(|reader| reader.deliveries_of(1))[0].state, DeliveryState::Done);
    assert!(bench.read(|reader| reader.inbox(0, 9)).is_empty());
    assert_eq!(bench.listed(EventQuery::default()), ["c", "b", "a"]);
    bench.close();
}

/// Stores an event, does this to the files, and looks what the store makes of it: the reason why
/// it is broken.
fn broken_by(path: &Path, change: impl FnOnce(&Path)) -> (String, Bench) {
    let bench = Bench::at(path);
    bench.submit(vec![record("a", "{}"), record("b", "{}")]);
    change(path);
    bench.tick();
    let failure = smol::block_on(bench.store.when_broken());
    assert_eq!(failure.class, StoreTrouble::Io);
    assert_eq!(bench.try_submit(vec![record("late", "{}")]), Err(StoreTrouble::Io));
    (failure.reason, bench)
}

const SAVED: &str = "everything that was accepted has been written into the database";

#[test]
fn a_log_that_is_taken_away_is_saved_into_the_database() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("wal-deleted", |path| std::fs::remove_file(beside(path, "-wal")).expect("it goes")),
        ("wal-replaced", |path| {
            // An older copy would be replayed over what is newer.
            std::fs::copy(beside(path, "-wal"), beside(path, "-copy")).expect("it is copied");
            std::fs::rename(beside(path, "-copy"), beside(path, "-wal")).expect("it is replaced");
        }),
        ("shm-replaced", |path| std::fs::remove_file(beside(path, "-shm")).expect("it goes")),
        ("shm-replaced", |path| {
            std::fs::write(beside(path, "-copy"), [0; 32_768]).expect("it is written");
            std::fs::rename(beside(path, "-copy"), beside(path, "-shm")).expect("it is replaced");
        }),
    ];
    for (code, change) in changes {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let (reason, bench) = broken_by(&path, change);
        assert!(reason.contains(SAVED), "{reason}");
        assert_eq!(bench.codes(), [code]);
        bench.close();
        let again = Bench::at(&path);
        assert_eq!(again.listed(EventQuery::default()), ["b", "a"], "{code}");
        assert_eq!(again.submit(vec![record("a", "{}")]), [WriteReceipt::Duplicate { seq: 1 }]);
        again.close();
        let strange = folder.path().join("a.db-wal.strange").exists();
        assert_eq!(strange, code == "wal-replaced");
    }
}

#[test]
fn a_log_that_is_cut_short_is_never_written_over_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let first = Bench::at(&path);
    first.submit(vec![record("old", "{}")]);
    first.close();
    let (reason, bench) = broken_by(&path, |path| {
        let log =
            std::fs::File::options().write(true).open(beside(path, "-wal")).expect("it opens");
        log.set_len(0).expect("it is cut");
    });
    assert!(reason.contains("everything accepted since the last checkpoint is lost"), "{reason}");
    bench.close();
    let again = Bench::at(&path);
    assert_eq!(again.listed(EventQuery::default()), ["old"]);
    again.close();
}

fn rescued(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.find(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.contains(".rescued-") && !name.ends_with("-wal")
    })
}

/// Why a store is not opened.
fn refused(path: &Path) -> String {
    let place = settings(StoreLocation::File(path.to_owned()));
    let opened = open(place, RetentionPolicy::default(), Env::system(), Box::new(Seen::default()));
    let refused = opened.err().expect("it would hide what was lost");
    assert_eq!(refused.exit_code(), 74);
    refused.to_string()
}

#[test]
fn a_database_that_is_taken_away_is_saved_beside_it_and_not_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let (reason, bench) =
        broken_by(&path, |path| std::fs::remove_file(beside(path, "")).expect("it goes"));
    assert_eq!(bench.codes(), ["database-deleted"]);
    bench.close();
    assert!(!path.exists(), "it is not made again");
    let saved = rescued(folder.path()).expect("it is saved");
    assert!(reason.contains(&saved.display().to_string()), "{reason}");
    assert_eq!(ids_in(&saved), ["a", "b"]);
    let refused = refused(&path);
    assert!(refused.contains("is missing"), "{refused}");
    for name in [&saved, &beside(&path, ".lock")] {
        assert!(refused.contains(&name.display().to_string()), "{refused}");
    }
    assert!(!path.exists());
    std::fs::rename(saved, &path).expect("it is put back");
    let again = Bench::at(&path);
    assert_eq!(again.listed(EventQuery::default()), ["b", "a"]);
    again.close();
}

#[test]
fn a_database_that_is_replaced_is_saved_and_what_replaced_it_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, new) = (folder.path().join("a.db"), folder.path().join("new.db"));
    let other = Bench::at(&new);
    other.submit(vec![record("n", "{}")]);
    other.close();
    let bytes = std::fs::read(&new).expect("it is read");
    let (_, bench) =
        broken_by(&path, |path| std::fs::rename(&new, beside(path, "")).expect("it is replaced"));
    assert_eq!(bench.codes(), ["database-replaced"]);
    bench.close();
    let saved = rescued(folder.path()).expect("it is saved");
    assert_eq!(ids_in(&saved), ["a", "b"]);
    // To go on with the new one is what somebody decides who knows of the copy.
    for _ in 0..2 {
        let refused = refused(&path);
        assert!(refused.contains(&format!("{} holds what was accepted", saved.display())));
        assert!(!refused.contains("empty store") && !refused.contains(".lock"), "{refused}");
    }
    assert!(std::fs::read(&path).expect("it is read") == bytes, "it was written to");
    std::fs::rename(saved, folder.path().join("elsewhere")).expect("it is moved");
    // The log of the old one is not replayed over the new one.
    let again = Bench::at(&path);
    assert_eq!(again.listed(EventQuery::default()), ["n"]);
    again.close();
}

#[test]
fn nothing_is_answered_for_that_went_into_a_file_without_a_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![record("a", "{}")]);
    std::fs::remove_file(format!("{}-wal", path.display())).expect("it goes");
    bench.clock.0.fetch_add(250_000, Ordering::Relaxed);
    assert_eq!(bench.try_submit(vec![record("b", "{}")]), Err(StoreTrouble::Io));
    assert_eq!(*bench.seen.0.lock().expect("no test panics"), [1], "nobody is shown it");
    assert!(bench.store.is_broken());
    bench.close();
}

#[test]
fn a_folder_that_is_gone_is_not_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/a.db");
    let (reason, bench) = broken_by(&path, |_| {
        std::fs::remove_dir_all(folder.path().join("data")).expect("it goes");
    });
    let counted = "2 events, 0 accepted ones that were not finished, and 0 dead letters could not";
    assert!(reason.contains(counted), "{reason}");
    bench.close();
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_store_whose_files_stay_is_left_in_peace() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    let other = other(&path);
    for round in 0..20 {
        bench.submit(vec![record(&format!("e{round}"), &"1".repeat(3000))]);
        // Another program may read, check, copy, tidy up and write a little.
        other.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); ANALYZE; PRAGMA quick_check").ok();
        bench.tick();
        assert_eq!(bench.codes(), [""; 0], "in round {round}");
    }
    bench.close();
}

struct Faulty;

impl CommitObserver for Faulty {
    fn committed(&mut self, _: &[Arc<StoredEvent>]) {
        panic!("on purpose");
    }

    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

#[test]
fn a_writer_that_panics_ends_the_store_and_not_in_silence() {
    let env = Env::new(Arc::new(Still(AtomicU64::new(0))), Random::seeded(1), Pools::system());
    let (store, writer) =
        open(settings(StoreLocation::Memory), RetentionPolicy::default(), env, Box::new(Faulty))
            .expect("it opens");
    let thread = std::thread::spawn(|| writer.run());
    let refused = smol::block_on(store.submit(vec![record("a", "{}")]));
    assert_eq!(refused.map_err(|fault| fault.class), Err(StoreTrouble::Io));
    let failure = smol::block_on(store.when_broken());
    assert!(failure.reason.contains("panicked"), "{failure}");
    assert!(thread.join().is_err());
}

/// Does what is waiting for the writer, on this thread.
fn serve<T>(writer: &mut Writer, work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    loop {
        if let Some(outcome) = smol::block_on(smol::future::poll_once(&mut work)) {
            return outcome;
        }
        while let Ok(command) = writer.commands.try_recv() {
            writer.take(command);
        }
    }
}

#[test]
fn a_full_disk_still_finishes_what_was_accepted() {
    let env = Env::new(Arc::new(Still(AtomicU64::new(0))), Random::seeded(1), Pools::inline());
    let (store, mut writer) = open(
        settings(StoreLocation::Memory),
        RetentionPolicy::default(),
        env,
        Box::new(Seen::default()),
    )
    .expect("it opens");
    let accept = vec![StoreEntry::Accept(event("slow", "{}"))];
    serve(&mut writer, store.submit(accept)).expect("it is written");
    // As full as a disk: no page more than there are.
    let limit = |writer: &Writer, pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        writer.connection.query_row(&sql, [], |_| Ok(())).expect("a limit");
    };
    limit(&writer, 1);
    let large = "1".repeat(100_000);
    let late = Event { seq: 1, ..event("slow", "{}") };
    // Waiting for the writer at once, so that they are one batch.
    let both = async {
        let new = store.submit(vec![record("large", &large)]);
        let old = store.submit(vec![StoreEntry::Finish(finished(late))]);
        smol::future::zip(new, old).await
    };
    let (new, old) = serve(&mut writer, both);
    let new = new.expect_err("there is no room for it");
    assert_eq!((new.class, new.class.code()), (StoreTrouble::Full, "storage_full"));
    assert_eq!(old, Ok(vec![WriteReceipt::Stored { seq: 1, pos: 2 }]));
    assert_eq!(store.trouble().map(|trouble| trouble.class), Some(StoreTrouble::Full));
    assert!(!store.is_broken());
    limit(&writer, 1 << 30);
    serve(&mut writer, store.tick());
    assert_eq!(store.trouble(), None);
    let stored = serve(&mut writer, store.submit(vec![record("large", &large)]));
    assert_eq!(stored, Ok(vec![WriteReceipt::Stored { seq: 3, pos: 3 }]));
}
