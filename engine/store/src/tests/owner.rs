//! One engine for a database, by whatever name, and files for their owner alone.

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

fn try_open(path: &Path) -> Result<(), OpenError> {
    let env = Env::new(Arc::new(Still(AtomicU64::new(0))), Random::seeded(1), Pools::system());
    let place = StoreLocation::File(path.to_owned());
    open(settings(place), RetentionPolicy::default(), env, Box::new(Seen::default())).map(|_| ())
}

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("it is read"));
    paths.into_iter().map(read).collect()
}

#[test]
fn no_other_name_of_a_database_lets_a_second_engine_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    std::fs::create_dir_all(&there).expect("a folder");
    let path = here.join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![record("a", "{}")]);
    let (link, hard, chain) =
        (there.join("link.db"), there.join("hard.db"), there.join("chain.db"));
    symlink("../here/a.db", &link).expect("a link");
    std::fs::hard_link(&path, &hard).expect("a second name");
    symlink("link.db", &chain).expect("a link to a link");
    symlink(&here, folder.path().join("folder")).expect("a link to the folder");
    std::fs::remove_file(here.join("a.db.lock")).expect("it goes");
    let before = (contents(&here), contents(&there));
    for name in [&path, &link, &hard, &chain, &folder.path().join("folder/a.db")] {
        let refused = try_open(name).expect_err("another engine has it");
        assert_eq!(refused.exit_code(), 75, "{}", name.display());
        assert!(refused.to_string().starts_with("another engine"), "{refused}");
    }
    assert!(before == (contents(&here), contents(&there)), "a file has changed");
    bench.submit(vec![record("b", "{}")]);
    bench.close();
}

#[test]
fn a_store_behind_a_link_has_one_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, link) = (folder.path().join("real/a.db"), folder.path().join("link.db"));
    std::fs::create_dir(folder.path().join("real")).expect("a folder");
    symlink("real/a.db", &link).expect("a link to nothing yet");
    let bench = Bench::at(&link);
    bench.submit(vec![record("a", "{}")]);
    assert!(path.exists() && folder.path().join("real/a.db-wal").exists());
    assert!(!folder.path().join("link.db-wal").exists());
    let copy = folder.path().join("copy.db");
    crashed(&path, &copy);
    bench.close();
    // After a crash under one name, a start under the other finds everything.
    crashed(&copy, &path);
    std::fs::remove_file(folder.path().join("real/a.db-shm")).ok();
    let again = Bench::at(&path);
    assert_eq!(again.listed(EventQuery::default()), ["a"]);
    again.close();
}

#[test]
fn a_link_that_leads_elsewhere_now_is_another_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link.db");
    symlink("one.db", &link).expect("a link");
    let bench = Bench::at(&link);
    bench.submit(vec![record("a", "{}")]);
    std::fs::remove_file(&link).expect("it goes");
    std::fs::write(folder.path().join("two.db"), "").expect("a file");
    symlink("two.db", &link).expect("a link");
    bench.tick();
    assert_eq!(bench.codes(), ["database-replaced"]);
    bench.close();
}

#[test]
fn a_lock_file_without_an_engine_stops_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    std::fs::write(folder.path().join("a.db.lock"), "4711\nof some other day\n").expect("a file");
    let bench = Bench::at(&path);
    let lock = std::fs::read_to_string(folder.path().join("a.db.lock")).expect("it is read");
    assert_eq!(lock, format!("{}\n", std::process::id()));
    bench.close();
    Bench::at(&path).close();
}

#[test]
fn the_lock_of_an_older_engine_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let lock = std::fs::File::create(folder.path().join("a.db.lock")).expect("a file");
    lock.lock().expect("nobody has it");
    assert_eq!(try_open(&path).expect_err("it is locked").exit_code(), 75);
    drop(lock);
    try_open(&path).expect("it is free");
}

/// SQLite's own locks on the database, as the system lists them.
#[cfg(target_os = "linux")]
fn locks_on(path: &Path) -> usize {
    let inode = format!(":{} ", path.metadata().expect("it is there").ino());
    let pid = format!(" {} ", std::process::id());
    let locks = std::fs::read_to_string("/proc/locks").expect("it is read");
    let is_ours =
        |text: &&str| text.contains("POSIX") && text.contains(&inode) && text.contains(&pid);
    locks.lines().filter(is_ours).count()
}

#[cfg(target_os = "linux")]
#[test]
fn sqlite_keeps_its_own_locks_beside_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![record("a", "{}")]);
    bench.tick();
    bench.read(|reader| reader.is_any_pending());
    assert_ne!(locks_on(&path), 0, "another program could take the log away");
    let store = bench.store.clone();
    bench.close();
    // A handle that is still there has readers, and those have the lock.
    assert_eq!(try_open(&path).expect_err("it is not closed yet").exit_code(), 75);
    drop(store);
    try_open(&path).expect("it is closed");
}

#[test]
fn what_is_made_is_for_its_owner_alone_and_what_was_there_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/data/a.db");
    let mode = |end: &str| {
        let path = format!("{}{end}", path.display());
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    };
    let bench = Bench::at(&path);
    bench.submit(vec![record("a", "{}")]);
    assert_eq!(["", "-wal", "-shm", ".lock"].map(mode), [0o600; 4]);
    let folders = ["deep", "deep/data"].map(|it| folder.path().join(it));
    let modes =
        folders.map(|folder| folder.metadata().expect("it is there").permissions().mode() & 0o777);
    assert_eq!(modes, [0o700; 2]);
    bench.close();
    for end in ["", "-wal", "-shm"] {
        let path = format!("{}{end}", path.display());
        if end.is_empty() {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o640)).expect("it is set");
        } else {
            std::fs::remove_file(path).ok();
        }
    }
    let bench = Bench::at(&path);
    bench.submit(vec![record("b", "{}")]);
    assert_eq!(["", "-wal", "-shm"].map(mode), [0o640; 3], "a group reads on");
    bench.close();
}

#[test]
fn a_first_start_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    // A folder in the place of the lock file.
    std::fs::create_dir(folder.path().join("a.db.lock")).expect("a folder");
    assert_eq!(try_open(&path).expect_err("it cannot").exit_code(), 73);
    assert!(!path.exists(), "a partial database");
    std::fs::create_dir(folder.path().join("b.db")).expect("a folder");
    let refused = try_open(&folder.path().join("b.db")).expect_err("it cannot");
    assert_eq!(
        (refused.exit_code(), refused.to_string().contains("is a folder; name a file in it")),
        (73, true)
    );
}

#[test]
fn a_log_without_its_database_is_not_thrown_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::at(&path);
    bench.submit(vec![record("a", "{}")]);
    crashed(&path, &copy);
    bench.close();
    let log = std::fs::read(folder.path().join("b.db-wal")).expect("it is read");
    let database = std::fs::read(&copy).expect("it is read");
    for is_empty in [false, true] {
        if is_empty {
            std::fs::write(&copy, "").expect("it is empty");
        } else {
            std::fs::remove_file(&copy).expect("it goes");
        }
        assert_eq!(try_open(&copy).expect_err("its events would be lost").exit_code(), 74);
        assert!(std::fs::read(folder.path().join("b.db-wal")).expect("it is read") == log);
        assert_eq!(copy.exists(), is_empty);
    }
    std::fs::write(&copy, database).expect("it is put back");
    let again = Bench::at(&copy);
    assert_eq!(again.listed(EventQuery::default()), ["a"]);
    again.close();
}

#[test]
fn a_log_that_was_left_under_another_name_is_not_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::at(&path);
    bench.submit(vec![record("a", "{}")]);
    crashed(&path, &copy);
    bench.close();
    let refused = |name: &Path| {
        let refused = try_open(name).expect_err("its log would be missed");
        let says = format!("next to its other name {}", copy.display());
        assert_eq!((refused.exit_code(), refused.to_string().contains(&says)), (74, true));
    };
    // A second name in the same folder, as a tool for backups may give it.
    let linked = folder.path().join("linked.db");
    std::fs::hard_link(&copy, &linked).expect("a second name");
    refused(&linked);
    std::fs::remove_file(&linked).expect("it goes");
    // Opened once, it knows its name, wherever it is moved to.
    let again = Bench::at(&copy);
    again.submit(vec![record("b", "{}")]);
    let saved = folder.path().join("saved.db");
    crashed(&copy, &saved);
    again.close();
    std::fs::rename(format!("{}-wal", saved.display()), format!("{}-wal", copy.display()))
        .expect("the log of a crash");
    std::fs::remove_file(&copy).expect("it goes");
    let moved = folder.path().join("deep");
    std::fs::create_dir(&moved).expect("a folder");
    let moved = moved.join("c.db");
    std::fs::rename(&saved, &moved).expect("it is moved without its log");
    refused(&moved);
    std::fs::rename(&moved, &copy).expect("it is moved back");
    let again = Bench::at(&copy);
    assert_eq!(again.listed(EventQuery::default()), ["b", "a"]);
    again.close();
}
