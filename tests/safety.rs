//! The binary and its store when somebody takes its files, its disk or its place away.

use crate::support::receiver::Receiver;
use crate::support::{self, Engine, pause, until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const PLAIN: &str = r#"
pipeline safety schema-version=1
source http front { path "/events"; map { id "data.id" } }
sink sqlite events { path "../data/events.db"; retention { keep "30d" } }
"#;

/// A pipeline file and a data folder, in a folder that goes with it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("pipelines")).expect("a folder");
        let place = Place { folder };
        std::fs::write(place.file(), text).expect("it is written");
        place
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pipelines/safety.kdl")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.data().join("events.db")
    }

    fn start(&self) -> Engine {
        Engine::start(&self.file(), &self.data(), &[])
    }

    fn spawn(&self) -> Engine {
        Engine::spawn(&self.file(), &self.data(), &[])
    }

    fn ids(&self) -> Vec<String> {
        let connection = Connection::open(self.database()).expect("it opens");
        let mut select = connection.prepare("SELECT id FROM event_rows").expect("sql");
        let ids = select.query_map([], |row| row.get(0)).expect("rows");
        ids.map(|ids| ids.expect("a row")).collect()
    }
}

fn event(id: &str, size: usize) -> String {
    json!({ "id": id, "type": "t", "pad": "x".repeat(size) }).to_string()
}

/// Posts until it is refused or the engine is gone: the ids that were acknowledged, and the answer.
fn post_until_refused(address: &str, size: usize) -> (Vec<String>, Option<(u16, Value)>) {
    let mut acknowledged = Vec::new();
    loop {
        let id = format!("e{}", acknowledged.len());
        match support::ask(address, "POST", "/events", event(&id, size).as_bytes()) {
            Ok((202, _)) => acknowledged.push(id),
            Ok((status, body)) => {
                let body = serde_json::from_slice(&body).expect("it is JSON");
                return (acknowledged, Some((status, body)));
            }
            Err(_) => return (acknowledged, None),
        }
    }
}

/// The one reason that the engine gives for not being ready.
fn not_ready(engine: &Engine) -> String {
    let (status, body) = engine.ask("GET", "/readyz", b"");
    let ready: Value = serde_json::from_slice(&body).expect("it is JSON");
    assert_eq!((status, &ready["ready"]), (503, &json!(false)), "{ready}");
    let mut reasons: Vec<String> =
        serde_json::from_value(ready["reasons"].clone()).expect("they are texts");
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons.remove(0)
}

fn assert_stored(place: &Place, acknowledged: &[String]) {
    let stored = place.ids();
    let lost: Vec<_> = acknowledged.iter().filter(|it| !stored.contains(it)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_passes() {
    let place = Place::new(PLAIN);
    let limited = "ulimit -S -f 4000";
    let mut engine = Engine::spawn_limited(limited, &place.file(), &place.data()).ready();
    let (acknowledged, refused) = post_until_refused(&engine.address, 20_000);
    let (status, body) = refused.expect("it lives");
    let detail = body["detail"].as_str().expect("a detail");
    assert_eq!((status, detail.starts_with("storage_full: ")), (503, true), "{body}");
    let line = engine.wait_for("disk-full");
    assert!(line.contains("free some space"), "{line}");
    assert!(not_ready(&engine).contains("no space for"));
    let pid = rustix::process::Pid::from_raw(engine.pid().try_into().expect("a pid"));
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    rustix::process::prlimit(pid, rustix::process::Resource::Fsize, unlimited).expect("it is set");
    until("it accepts again", || engine.post(&event("late", 20_000)).0 == 202);
    assert_eq!(engine.ask("GET", "/readyz", b"").0, 200);
    assert_eq!(engine.stop(), 0);
    assert_stored(&place, &acknowledged);
}

#[test]
fn a_start_without_room_says_what_to_do_and_changes_nothing() {
    let place = Place::new(PLAIN);
    let start_without_room =
        || Engine::spawn_limited("ulimit -S -f 4", &place.file(), &place.data()).end();
    let (code, said) = start_without_room();
    assert_eq!((code, said.contains("free some space on its disk")), (73, true), "{said}");
    let left = std::fs::read_dir(place.data()).expect("a folder").count();
    assert_eq!(left, 0, "the next start is a first one");
    let mut engine = place.start();
    assert_eq!(engine.post(&event("a", 1)).0, 202);
    assert_eq!(engine.stop(), 0);
    let (code, said) = start_without_room();
    assert_eq!((code, said.contains("free some space on its disk")), (74, true), "{said}");
    assert_eq!(place.ids(), ["a"]);
}

#[test]
fn a_log_that_is_deleted_under_load_loses_nothing_that_was_acknowledged() {
    let place = Place::new(PLAIN);
    let mut engine = place.start();
    let log = place.data().join("events.db-wal");
    assert_eq!(engine.post(&event("first", 100)).0, 202);
    let (mut acknowledged, _) = std::thread::scope(|scope| {
        let address = engine.address.clone();
        let posting = scope.spawn(move || post_until_refused(&address, 100));
        pause(Duration::from_millis(300));
        std::fs::remove_file(&log).expect("it goes");
        posting.join().expect("the client is content")
    });
    let (code, said) = engine.end();
    assert_eq!(code, 74, "{said}");
    assert!(said.contains("events.db-wal was deleted while the engine used it"), "{said}");
    acknowledged.push("first".to_owned());
    let mut engine = place.start();
    assert_eq!(engine.post(&event("first", 100)).0, 200, "it is a duplicate");
    assert_eq!(engine.stop(), 0);
    assert_stored(&place, &acknowledged);
}

#[test]
fn a_database_that_is_deleted_is_not_made_again() {
    let place = Place::new(PLAIN);
    let mut engine = place.start();
    assert_eq!(engine.post(&event("a", 1)).0, 202);
    std::fs::remove_file(place.database()).expect("it goes");
    let (code, said) = engine.end();
    assert_eq!(code, 74, "{said}");
    let (code, said) = place.spawn().end();
    assert_eq!(code, 74, "{said}");
    assert!(
        said.contains("is saved in") && said.contains("to start with an empty store"),
        "{said}"
    );
    assert!(!place.database().exists());
    std::fs::rename(rescued(&place), place.database()).expect("it is put back");
    let mut engine = place.start();
    assert_eq!(engine.get("/api/events")["events"][0]["id"], "a");
    assert_eq!(engine.stop(), 0);
}

/// The copy that the engine saved of a database that was taken away.
fn rescued(place: &Place) -> PathBuf {
    let mut entries = std::fs::read_dir(place.data()).expect("a folder");
    let copy = entries.find_map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name.contains(".rescued-") && !name.ends_with("-wal")).then_some(path)
    });
    copy.expect("a copy")
}

#[test]
fn a_database_that_is_replaced_does_not_hide_what_was_saved_of_it() {
    let place = Place::new(PLAIN);
    let mut engine = place.start();
    assert_eq!(engine.post(&event("early", 1)).0, 202);
    assert_eq!(engine.stop(), 0);
    let backup = place.data().join("backup");
    std::fs::copy(place.database(), &backup).expect("a copy");
    let mut engine = place.start();
    assert_eq!(engine.post(&event("late", 1)).0, 202);
    std::fs::rename(&backup, place.database()).expect("it is replaced");
    let (code, said) = engine.end();
    assert_eq!((code, said.contains("delete it")), (74, true), "{said}");
    assert!(!said.contains("empty store"), "{said}");
    let copy = rescued(&place);
    for _ in 0..2 {
        let (code, said) = place.spawn().end();
        assert_eq!((code, said.contains(&*copy.to_string_lossy())), (74, true), "{said}");
    }
    std::fs::rename(copy, place.database()).expect("it is put back");
    let mut engine = place.start();
    assert_eq!(engine.stop(), 0);
    assert_eq!(place.ids(), ["early", "late"]);
}

#[test]
fn no_delivery_writes_to_a_file_of_the_store() {
    let text = format!("{PLAIN}\nsink file archive {{ path \"../data/{{{{ data.to }}}}\" }}\n");
    let place = Place::new(&text);
    let mut engine = place.start();
    let own = ["", "-wal", "-shm", "-journal", ".lock", ".url", ".probe", ".rescued-20260101T0"];
    let names = || own.iter().map(|end| format!("events.db{end}"));
    for (number, name) in names().chain(["free.jsonl".to_owned()]).enumerate() {
        let body = json!({ "id": format!("e{number}"), "type": "data.x", "to": name });
        assert_eq!(engine.post(&body.to_string()).0, 202);
    }
    let letters = || engine.get("/api/dead-letters");
    until("all but one are dead letters", || {
        letters()["dead_letters"].as_array().is_some_and(|letters| letters.len() == own.len())
    });
    let letters = letters();
    assert!(letters.to_string().contains("it is a file of the store"), "{letters}");
    assert_eq!(engine.stop(), 0);
    assert!(place.data().join("free.jsonl").exists());
    assert_eq!(place.ids().len(), own.len() + 1);
}

#[test]
fn a_standard_output_that_nobody_reads_any_more_ends_a_run_of_finite_sources() {
    let lines: String = (0..200).map(|number| event(&format!("e{number}"), 400) + "\n").collect();
    let place = Place::new(
        "pipeline safety schema-version=1\nsource file in { path \"in.jsonl\" }\n\
         sink sqlite events { path \"../data/events.db\"; retention { keep \"30d\" } }\n\
         sink stdout seen\n",
    );
    std::fs::write(place.file().with_file_name("in.jsonl"), lines).expect("it is written");
    let mut run = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["run", "--once", "--set", "server.listen=127.0.0.1:0"])
        .arg(place.file())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    drop(run.stdout.take());
    until("it ends", || run.try_wait().expect("it is ours").is_some());
    let connection = Connection::open(place.database()).expect("it opens");
    let reason = "SELECT DISTINCT reason FROM dead_letters WHERE stage = 'seen'";
    let reason: String = connection.query_row(reason, [], |row| row.get(0)).expect("a letter");
    assert!(reason.contains("its reader has closed it"), "{reason}");
}

/// A job must not hang for as long as nobody changes what only somebody can change.
#[test]
fn a_run_of_finite_sources_ends_where_deliveries_wait_for_a_token() {
    let service = Receiver::start(|_, _| (401, String::new()));
    let place = Place::new(&format!(
        "pipeline safety schema-version=1\nsource file in {{ path \"in.jsonl\" }}\n\
         sink sqlite events {{ path \"../data/events.db\"; retention {{ keep \"30d\" }} }}\n\
         notify webhook hook {{ url \"{}\"; title \"x\" }}\n",
        service.url
    ));
    let line = event("a", 10) + "\n";
    std::fs::write(place.file().with_file_name("in.jsonl"), line).expect("it is written");
    let run = Command::new(env!("CARGO_BIN_EXE_engine"))
        .args(["run", "--once", "--set", "server.listen=127.0.0.1:0"])
        .arg(place.file())
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{said}");
    let end = "correct it, and run again: what waits is kept, and delivered then";
    assert!(said.contains("`hook`: the response is 401") && said.contains(end), "{said}");
    let connection = Connection::open(place.database()).expect("it opens");
    let waiting = "SELECT count(*) FROM delivery_rows WHERE sink = 'hook' AND state = 0";
    let waiting: i64 = connection.query_row(waiting, [], |row| row.get(0)).expect("it counts");
    assert_eq!(waiting, 1);
}

#[test]
fn a_server_that_can_accept_nobody_says_so_once_until_it_can() {
    let place = Place::new(PLAIN);
    let engine = Engine::spawn_limited("ulimit -n 64", &place.file(), &place.data());
    let mut engine = engine.ready();
    let crowd: Vec<TcpStream> =
        (0..80).map_while(|_| TcpStream::connect(engine.address.as_str()).ok()).collect();
    let failed = engine.wait_for("no connection can be accepted");
    assert!(failed.contains("no-connections") && failed.contains("ulimit -n"), "{failed}");
    drop(crowd);
    engine.wait_for("server recovered");
    assert_eq!(engine.get("/readyz")["degraded"], json!([]));
    engine.kill();
}

/// Every file of the data folder with its bytes; the shared memory of the log has only locks.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|dir| dir.expect("an entry"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| !path.to_string_lossy().ends_with("-shm"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("it is read"))).collect()
}

#[test]
fn a_second_engine_is_refused_by_whatever_name_it_comes() {
    let place = Place::new(PLAIN);
    let mut engine = place.start();
    assert_eq!(engine.post(&event("a", 1)).0, 202);
    let lock = place.data().join("events.db.lock");
    let before = std::fs::read_to_string(&lock).expect("it is read");
    assert_eq!(before.trim(), engine.pid().to_string());
    let other = Place::new(PLAIN);
    std::fs::create_dir(other.data()).expect("a folder");
    let refused = |place: &Place| {
        let contents_before = contents(&place.data());
        let (code, said) = place.spawn().end();
        assert_eq!(code, 75, "{said}");
        assert!(said.contains("another engine"), "{said}");
        assert!(contents(&place.data()) == contents_before, "a file has changed");
    };
    refused(&place);
    symlink(place.database(), other.database()).expect("a link");
    refused(&other);
    std::fs::remove_file(other.database()).expect("it goes");
    if std::fs::hard_link(place.database(), other.database()).is_ok() {
        refused(&other);
    }
    std::fs::remove_file(&lock).expect("it goes");
    refused(&place);
    assert_eq!(engine.post(&event("b", 1)).0, 202);
    assert_eq!(engine.stop(), 0);
    assert_eq!(place.ids(), ["a", "b"]);
}

/// A service that answers one request when it is told to; its URL.
fn held_service() -> (String, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/now", listener.local_addr().expect("it has one"));
    let (sender, told) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut lines = reader.lines().map_while(Result::ok);
        lines.by_ref().find(|line| line.is_empty());
        told.recv().ok();
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\
                      Connection: close\r\n\r\n{\"n\":7}";
        stream.write_all(answer.as_bytes()).ok();
    });
    (url, sender)
}

#[test]
fn a_lock_of_another_program_keeps_nothing_waiting_for_a_restart() {
    let (url, answer) = held_service();
    let text = format!("{PLAIN}\nenrich http slow {{ get \"{url}\"; timeout \"60s\" }}\n");
    let place = Place::new(&text);
    let mut engine = place.start();
    assert_eq!(engine.post(&event("accepted", 1)).0, 202);
    let other = Connection::open(place.database()).expect("it opens");
    other.busy_timeout(Duration::from_secs(10)).expect("it waits");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    answer.send(()).expect("the service waits");
    let (status, body) = engine.post(&event("refused", 1));
    let detail = body["detail"].as_str().expect("a detail");
    assert_eq!((status, detail.starts_with("storage_locked: ")), (503, true), "{body}");
    let line = engine.wait_for("store-locked");
    assert!(line.contains("holds a lock on") && line.contains("events.db"), "{line}");
    assert!(not_ready(&engine).contains("holds a lock on"));
    // Reading needs no lock.
    assert_eq!(engine.get("/api/events")["events"], json!([]));
    other.execute_batch("ROLLBACK").expect("it ends");
    until("what was accepted is finished", || {
        engine.get("/api/events")["events"][0]["enrich"]["slow"] == json!({ "n": 7 })
    });
    assert_eq!(engine.ask("GET", "/readyz", b"").0, 200);
    assert_eq!(engine.stop(), 0);
    assert_eq!(place.ids(), ["accepted"]);
}

#[test]
fn a_delivery_that_cannot_be_noted_is_not_made_again() {
    let (url, answer) = held_service();
    let text = format!("{PLAIN}\nnotify webhook chat {{ url \"{url}\"; timeout \"60s\" }}\n");
    let place = Place::new(&text);
    let mut engine = place.start();
    assert_eq!(engine.post(&event("a", 1)).0, 202);
    let other = Connection::open(place.database()).expect("it opens");
    other.busy_timeout(Duration::from_secs(10)).expect("it waits");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    answer.send(()).expect("the service waits");
    engine.wait_for("store-locked");
    // Another attempt would find nobody.
    other.execute_batch("ROLLBACK").expect("it ends");
    let delivery = || engine.get("/api/events/a")["deliveries"][0].clone();
    until("the delivery is noted", || delivery()["state"] == "done");
    assert_eq!(delivery()["attempts"], 1);
    assert_eq!(engine.stop(), 0);
}

/// A filter that the store does not know would let everything pass.
#[test]
fn a_reload_waits_for_the_store_so_that_its_filters_hold_from_the_first_event_on() {
    let place = Place::new(PLAIN);
    let mut engine = place.start();
    assert_eq!(engine.post(&event("before", 1)).0, 202);
    let other = Connection::open(place.database()).expect("it opens");
    other.busy_timeout(Duration::from_secs(10)).expect("it waits");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let filter = "dedupe once { key \"data.pad\"; window \"1h\"; on-drop dead-letter }";
    let text = format!("{PLAIN}\n{filter}\n");
    std::fs::write(place.file(), text).expect("it is written");
    engine.wait_for("reload rejected, generation 1 keeps running: the store cannot be written");
    let (_, ready) = engine.ask("GET", "/readyz", b"");
    let ready = String::from_utf8_lossy(&ready).into_owned();
    assert!(ready.contains("the file is tried again automatically"), "{ready}");
    other.execute_batch("ROLLBACK").expect("it ends");
    engine.wait_for("reloaded: ");
    assert_eq!(engine.post(&event("first", 7)).0, 202);
    assert_eq!(engine.post(&event("again", 7)).0, 422);
    assert_eq!(engine.ask("GET", "/readyz", b"").0, 200);
    assert_eq!(engine.stop(), 0);
    assert_eq!(place.ids(), ["before", "first"]);
}

/// Overwrites the beginning of every page behind the first ones.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).expect("it is read");
    for page in (2 * 8192..bytes.len()).step_by(8192) {
        bytes[page..page + 64].fill(0xA5);
    }
    // In place: the same file, as a failing disk would have it.
    std::fs::File::options()
        .write(true)
        .open(path)
        .expect("it opens")
        .write_all(&bytes)
        .expect("it is written");
}

#[test]
fn a_damaged_database_ends_with_what_to_do_whenever_it_is_met() {
    let place = Place::new(PLAIN);
    let mut engine = place.start();
    for number in 0..50 {
        assert_eq!(engine.post(&event(&format!("e{number}"), 500)).0, 202);
    }
    assert_eq!(engine.stop(), 0);
    let engine = place.start();
    damage(&place.database());
    // It may meet the damage by itself, and end before it answers.
    if let Ok((status, _)) = engine.try_ask("GET", "/api/events", b"") {
        assert_eq!(status, 500);
    }
    let ends = |mut engine: Engine| {
        let (code, said) = engine.end();
        assert_eq!(code, 65, "{said}");
        assert!(said.contains("is damaged") && said.contains("restore a backup"), "{said}");
    };
    ends(engine);
    ends(place.spawn());
}

#[test]
fn too_few_open_files_are_an_error_with_what_to_raise() {
    let place = Place::new(PLAIN);
    for limit in [8, 12, 16, 20, 24] {
        let limited = format!("ulimit -n {limit}");
        let (code, said) = Engine::spawn_limited(&limited, &place.file(), &place.data()).end();
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("open files") && said.contains("ulimit -n"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(!place.data().exists(), "nothing was made");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot be made says so")]
fn too_few_threads_are_an_error_with_what_to_raise() {
    let place = Place::new(PLAIN);
    if place.file().metadata().expect("it is there").uid() == 0 {
        eprintln!("skipped: root has no limit of processes");
        return;
    }
    let (code, said) = Engine::spawn_limited("ulimit -u 1", &place.file(), &place.data()).end();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("threads") && said.contains("ulimit -u"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn what_others_may_read_or_change_is_told_at_the_start() {
    let text = format!("{PLAIN}\nserver {{ auth {{ token admin (file)\"../token\" }} }}\n");
    let place = Place::new(&text);
    let token = place.folder.path().join("token");
    std::fs::write(&token, "a-long-secret-of-the-test\n").expect("it is written");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).expect("it is set");
    std::fs::set_permissions(place.file(), PermissionsExt::from_mode(0o646)).expect("it is set");
    let mut engine = place.spawn();
    let file = engine.wait_for("file-exposed");
    assert!(file.contains("safety.kdl: anybody on this machine can change it"), "{file}");
    let secret = engine.wait_for("secret-exposed");
    assert!(secret.contains("token: users other than its owner can read it"), "{secret}");
    engine.kill();
}

/// What a start that fails says last, with the folder taken out, and its exit code.
fn refused(place: &Place, more: &[&str]) -> (i32, String) {
    let mut engine = Engine::spawn(&place.file(), &place.data(), more);
    let (code, said) = engine.end();
    let last = said.lines().last().unwrap_or_default();
    (code, last.replace(&format!("{}/", place.folder.path().display()), ""))
}

#[test]
fn a_store_that_cannot_be_opened_says_what_is_wrong_and_what_to_do() {
    let place = Place::new(PLAIN);
    // A folder that is missing is made.
    assert_eq!(place.start().stop(), 0);
    std::fs::remove_dir_all(place.data()).expect("it is ours");
    std::fs::create_dir_all(place.database()).expect("a folder");
    let (code, said) = refused(&place, &[]);
    assert!(code == 1 && said.starts_with("  help: add the name of a file"), "{code} {said}");
    std::fs::remove_dir_all(place.data()).expect("it is ours");
    std::fs::write(place.data(), "not a folder").expect("it is written");
    let told = "engine: data/events.db cannot be created: data is a file, not a folder; choose \
                another `path` for the store, or another --data";
    let (code, said) = refused(&place, &[]);
    let data = place.data().display().to_string();
    assert_eq!((code, said.replace(&data, "data")), (73, told.to_owned()));
    std::fs::remove_file(place.data()).expect("it is ours");
    std::fs::create_dir(place.data()).expect("a folder");
    std::fs::write(place.database(), "a letter to my bank, and no database at all").expect("ok");
    let next = "if it belongs to another program, choose another `path` for the store; if it was a \
                store, keep a copy of it and of its -wal; then restore a backup, or save what can \
                be read: sqlite3 OLD .recover | sqlite3 NEW";
    let told = format!(
        "engine: data/events.db is not a store: it is not a SQLite database, or its first page is \
         damaged; {next}"
    );
    assert_eq!(refused(&place, &[]), (65, told));
    let kept = std::fs::read_to_string(place.database()).expect("it reads");
    assert_eq!(kept, "a letter to my bank, and no database at all");
    std::fs::remove_file(place.database()).expect("it is ours");
    Connection::open(place.database())
        .and_then(|it| it.execute_batch("CREATE TABLE letters (a)"))
        .expect("sql");
    let told = format!(
        "engine: data/events.db is not a store: it is a database of another program, or its first \
         page is damaged; {next}"
    );
    assert_eq!(refused(&place, &[]), (65, told));
}

#[test]
fn a_start_that_fails_outside_the_store_says_what_to_do() {
    let place = Place::new(PLAIN);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let listen = format!("server.listen=127.0.0.1:{port}");
    let told = format!(
        "engine: cannot listen on 127.0.0.1:{port}: another program uses this port; stop it, or \
         choose another port with `listen \"127.0.0.1:{}\"` in `server`",
        port + 1
    );
    assert_eq!(refused(&place, &["--set", &listen]), (3, told));
    let run = |file: &str| support::engine(place.folder.path(), &["run", file], "");
    let missing = run("pipelines/safty.kdl");
    let told = "engine: cannot read pipelines/safty.kdl: there is no such file; did you mean \
                pipelines/safety.kdl?\n";
    assert_eq!((missing.code, &*missing.error), (2, told));
    let folder = run("pipelines");
    let told = "engine: cannot read pipelines: it is a folder; name a file in it: \
                pipelines/safety.kdl\n";
    assert_eq!((folder.code, &*folder.error), (2, told));
    let nowhere = run("pipeline/safety.kdl");
    let told =
        "engine: cannot read pipeline/safety.kdl: pipeline does not exist; correct the path\n";
    assert_eq!((nowhere.code, &*nowhere.error), (2, told));
    let schema = format!("{PLAIN}validate {{ schema \"t\" file=\"../schemas/t.json\" }}\n");
    std::fs::write(place.file(), schema).expect("it is written");
    let missing = run("pipelines/safety.kdl");
    assert_eq!(missing.code, 1);
    let told = "cannot read the schema for `t`: the folder `schemas` does not exist";
    assert!(missing.error.contains(told), "{}", missing.error);
}
