//! A store with a million doorbell events over thirty days: how long the real binary takes to
//! answer what people and the page ask. `EVENTS=100000 cargo bench --bench queries` says how many.
//! With `SEARCH=off` they have notes, with `SEARCH=on` these are searched, and with `SEARCH=late`
//! they are searched from when they are stored; only searches are measured then.
#![expect(clippy::print_stdout, reason = "the figures are its result")]

mod mix;

use kernel::attempts::AttemptLog;
use kernel::env::Env;
use kernel::event::{Body, DataAt, EndedEvent, Envelope, Outcome, Priority, StageResult};
use kernel::time::Timestamp;
use mix::Mix;
use serde_json::Value;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use store::{
    CommitObserver, FinishedEvent, RetentionPolicy, SearchFields, Settings, Store, StoreEntry,
    StoreLocation, StoredEvent, Synchronous,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Events of one submission while the store is filled.
const BATCH: usize = 1000;
/// Over so many seconds the events are spread.
const SPAN: f64 = 30.0 * 86_400.0;
/// How often each question is asked, after some times that do not count.
const ASKED: usize = 200;
const WARM: usize = 20;

const PIPELINE: &str = r#"
pipeline doorbell schema-version=1

source http hook {
    path "/events"
}

sink sqlite db {
    path "../data/events.db"
    retention {
        keep "3650d"
    }
}
"#;

fn main() -> Result<()> {
    let events = std::env::var("EVENTS").map_or(Ok(1_000_000), |it| it.parse())?;
    let folder = tempfile::tempdir()?;
    for name in ["pipelines", "data"] {
        fs::create_dir(folder.path().join(name))?;
    }
    let notes = Notes::asked()?;
    let database = folder.path().join("data/events.db");
    fill(&database, events, notes)?;
    if notes == Notes::Late {
        catch_up(&database, events)?;
    }
    let server = Server::start(folder.path(), notes)?;
    let mut client = Client::of(&server.1)?;
    match notes {
        Notes::None => {}
        Notes::Off => return Ok(()),
        Notes::On | Notes::Late => return searches(&mut client),
    }
    lists(&mut client)?;
    figures(&mut client)?;
    conditions(&mut client)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "events bear the real time")]
fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// Whether events have notes, and whether these are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notes {
    None,
    Off,
    On,
    Late,
}

impl Notes {
    fn asked() -> Result<Notes> {
        match std::env::var("SEARCH").as_deref() {
            Err(_) => Ok(Notes::None),
            Ok("off") => Ok(Notes::Off),
            Ok("on") => Ok(Notes::On),
            Ok("late") => Ok(Notes::Late),
            Ok(other) => Err(format!("SEARCH is off, on or late, not {other}").into()),
        }
    }

    /// Eight words, of which some are everywhere and some are rare, and a plate.
    fn note(random: &mut fastrand::Rng) -> String {
        let word = |random: &mut fastrand::Rng| 2000_f64.powf(random.f64()) as usize;
        let words: Vec<String> = (0..8).map(|_| format!("word{}", word(random))).collect();
        format!("{} plate{}", words.join(" "), random.u32(..100_000))
    }
}

fn searched() -> RetentionPolicy {
    let search = SearchFields::new(vec![vec!["data".to_owned(), "note".to_owned()]]);
    RetentionPolicy { search: Some(search), ..RetentionPolicy::default() }
}

struct Nobody;

impl CommitObserver for Nobody {
    fn committed(&mut self, _: &[Arc<StoredEvent>]) {}
    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

fn opened(path: &Path, policy: RetentionPolicy) -> Result<(Store, thread::JoinHandle<()>)> {
    let settings = Settings {
        place: StoreLocation::File(path.to_owned()),
        synchronous: Synchronous::Normal,
        batch: BATCH,
        linger: Duration::ZERO,
        name: "db".into(),
    };
    let (store, writer) = store::open(settings, policy, Env::system(), Box::new(Nobody))
        .map_err(|fault| fault.to_string())?;
    Ok((store, thread::spawn(|| writer.run())))
}

/// Makes the events of a store searchable.
fn catch_up(path: &Path, count: usize) -> Result<()> {
    let (store, writer) = opened(path, searched())?;
    let start = now();
    smol::block_on(store.sweep());
    let rate = count as f64 / start.elapsed().as_secs_f64();
    smol::block_on(store.close());
    writer.join().map_err(|_| "the writer panicked")?;
    let megabytes = fs::metadata(path)?.len() >> 20;
    println!("searchable later: {rate:.0} a second, {megabytes} MiB");
    Ok(())
}

fn fill(path: &Path, count: usize, notes: Notes) -> Result<()> {
    let policy = if notes == Notes::On { searched() } else { RetentionPolicy::default() };
    let (store, writer) = opened(path, policy)?;
    smol::block_on(store.sweep());
    let mut random = fastrand::Rng::with_seed(7);
    let (mut mix, start, end) = (Mix::new(), now(), unix_seconds());
    for batch in 0..count / BATCH {
        let entries = (0..BATCH).map(|it| {
            let n = batch * BATCH + it;
            let note = (notes != Notes::None).then(|| Notes::note(&mut random));
            entry(&mix.next(n), note, end - SPAN + SPAN * n as f64 / count as f64)
        });
        let entries = entries.collect::<Result<Vec<StoreEntry>>>()?;
        smol::block_on(store.submit(entries)).map_err(|fault| fault.to_string())?;
        if batch % 50 == 0 {
            smol::block_on(store.tick());
        }
    }
    smol::block_on(store.close());
    writer.join().map_err(|_| "the writer panicked")?;
    let megabytes = fs::metadata(path)?.len() >> 20;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("{count} events of {megabytes} MiB over 30 days, {rate:.0} a second");
    Ok(())
}

/// A message as the doorbell's pipeline stores it, from this time.
fn entry(message: &str, note: Option<String>, seconds: f64) -> Result<StoreEntry> {
    let mut value: Value = serde_json::from_str(message)?;
    if let Some(note) = note {
        value["data"]["note"] = note.into();
    }
    let text = |name: &str| -> Arc<str> { value[name].as_str().unwrap_or_default().into() };
    let time = Timestamp((seconds * 1e6) as i64);
    let data = value["data"].to_string();
    let stage = |name: &str, micros| StageResult {
        stage: name.into(),
        kind: "set".into(),
        outcome: Outcome::Ok,
        attempts: 1,
        started: time,
        micros,
        error: None,
        attempt_log: AttemptLog::default(),
    };
    Ok(StoreEntry::Record(FinishedEvent {
        event: EndedEvent {
            seq: 0,
            generation: 1,
            envelope: Envelope {
                id: text("event_id"),
                kind: text("event_type"),
                source: text("source"),
                subject: "front_door".into(),
                time,
                received: time,
                priority: Priority::parse(&text("priority")).unwrap_or_default(),
                correlation_id: Some(text("correlation_id")),
                parent_id: None,
            },
            body: Body { bytes: data.as_bytes().into(), data: DataAt::Slice(0..data.len()) },
            enrich: r#"{"meta":{"weekday":"Sunday","is_night":false},"visit":{"n":3}}"#.into(),
        },
        stages: [stage("meta", 12), stage("visit", 31)].into(),
        targets: ["db".into()].into(),
        deliveries: Vec::new(),
        silences: Vec::new(),
        answers: Vec::new(),
    }))
}

/// A running engine. Dropping it kills it.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Server {
    fn start(root: &Path, notes: Notes) -> Result<Server> {
        let file = root.join("pipelines/doorbell.kdl");
        let path = "path \"../data/events.db\"";
        fs::write(
            &file,
            match notes {
                Notes::None | Notes::Off => PIPELINE.to_owned(),
                Notes::On | Notes::Late => {
                    PIPELINE.replace(path, &format!("{path}\n    search \"data.note\""))
                }
            },
        )?;
        let own = env!("CARGO_BIN_EXE_engine").into();
        let mut command = Command::new(std::env::var_os("ENGINE").unwrap_or(own));
        command.arg("run").arg(&file).args(["--set", "server.listen=127.0.0.1:0"]);
        command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let mut server = Server(child, String::new());
        for line in lines.by_ref() {
            if let Some(rest) = line?.strip_prefix("ready http://") {
                server.1 = rest.split(' ').next().unwrap_or_default().to_owned();
                // What else it says must not fill the pipe.
                thread::spawn(move || lines.map_while(std::result::Result::ok).for_each(drop));
                return Ok(server);
            }
        }
        Err("it ended before it was ready".into())
    }
}

/// Who asks, on one connection.
struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Client {
    fn of(address: &str) -> Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream), host: address.to_owned() })
    }

    fn get(&mut self, path: &str) -> Result<Value> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err("the connection is over".into());
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|part| part.lines().next());
        let mut body = vec![0; length.ok_or("no length")?.parse()?];
        self.stream.read_exact(&mut body)?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(format!("{path}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// How long the answer takes, from request to last byte and without reading it as JSON.
    fn measure(&mut self, what: &str, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        let mut took = Vec::with_capacity(ASKED);
        for round in 0..WARM + ASKED {
            let start = now();
            self.get(path)?;
            if WARM <= round {
                took.push(start.elapsed());
            }
        }
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        println!("{what}: ms: median {:.2}, p95 {:.2}, longest {:.2}", at(0.5), at(0.95), at(1.0));
        Ok(answer)
    }
}

fn lists(client: &mut Client) -> Result<()> {
    client.measure(
        "the documented query",
        "/api/events?type=DOORBELL_PRESSED&source=gpio_handler&limit=1",
    )?;
    let one = client.get("/api/events?limit=1")?;
    let event = &one["events"][0];
    let id = event["id"].as_str().ok_or("no id")?.to_owned();
    client.measure("one event by its id", &format!("/api/events/{id}"))?;
    let middle = Timestamp(((unix_seconds() - SPAN / 2.0) * 1e6) as i64);
    let filters = [
        "",
        "type=FACE_RECOGNIZED",
        "priority=HIGH",
        "source=orchestrator&priority=NORMAL",
        "type=MOTION_DETECTED&source=motion_detector&priority=LOW",
        "type=HEALTH_CHECK&type=DOORBELL_PRESSED&priority=HIGH",
        "subject=front_door&type=DOORBELL_PRESSED",
        "correlation_id=visit-77&type=MOTION_DETECTED",
    ];
    for filter in filters {
        let first = format!("/api/events?limit=100&{filter}");
        client.measure(&format!("first page of [{filter}]"), &first)?;
        let deep = client.get(&format!("{first}&until={middle}"))?;
        if let Some(cursor) = deep["next"].as_str() {
            let deep = format!("{first}&cursor={cursor}");
            client.measure(&format!("deep page of [{filter}]"), &deep)?;
        }
    }
    client.measure("how many there are", "/api/events?limit=1&count=true")?;
    Ok(())
}

/// Words that are in half of all events, in few and in none.
fn searches(client: &mut Client) -> Result<()> {
    for (what, words) in [
        ("a rare word", "plate77"),
        ("a word of few events", "word1500"),
        ("a word of every sixtieth event", "word60"),
        ("a common word", "word1"),
        ("two common words", "word1+word2"),
        ("a common and a rare one", "word1+word1500"),
        ("a phrase of common words", "%22word1+word2%22"),
        ("a beginning", "plate777*"),
        ("a beginning of half of all words", "word*"),
        ("a common word without another", "word1+-word2"),
        ("no match", "nothing"),
        ("two common words, never together", "%22word1+word2+word1+word2+word3%22"),
    ] {
        let first = format!("/api/events?limit=50&q={words}");
        let page = client.measure(&format!("first page of {what}"), &first)?;
        let count = page["events"].as_array().map_or(0, Vec::len);
        println!("  {count} events, {} rows looked at", page["looked_at"]);
        if let Some(cursor) = page["next"].as_str() {
            client.measure("  its next page", &format!("{first}&cursor={cursor}"))?;
        }
    }
    let middle = Timestamp(((unix_seconds() - SPAN / 2.0) * 1e6) as i64);
    for filter in [
        format!("q=word1&until={middle}"),
        "q=word1&type=FACE_RECOGNIZED".to_owned(),
        "q=word1500&type=FACE_RECOGNIZED&priority=NORMAL".to_owned(),
        "q=word1&subject=nobody".to_owned(),
        "q=word1&where=data.motion_score%20%3E%201000".to_owned(),
        "q=word1500&order=asc".to_owned(),
        "q=word1&limit=1&count=true".to_owned(),
    ] {
        let page =
            client.measure(&format!("[{filter}]"), &format!("/api/events?limit=50&{filter}"))?;
        println!("  {} rows looked at", page["looked_at"]);
    }
    Ok(())
}

fn figures(client: &mut Client) -> Result<()> {
    client.measure("statistics of 7 days", "/api/stats?days=7")?;
    for by in ["type", "outcome", "stage"] {
        let path = format!("/api/series?by={by}&bucket=1h&since=-720h");
        client.measure(&format!("a series of 30 days by hour, by {by}"), &path)?;
    }
    client.measure("a series of a day by 5 minutes", "/api/series?by=type&bucket=5m&since=-24h")?;
    Ok(())
}

/// Expressions that hold for nothing, so that a page looks at as many rows as it may.
fn conditions(client: &mut Client) -> Result<()> {
    for (what, expression) in [
        ("by SQLite", "data.motion_score%20%3E%201000"),
        ("on rows", "lower(data.frame_id)%20%3D%3D%20'none'"),
    ] {
        let path = format!("/api/events?type=MOTION_DETECTED&where={expression}");
        let page = client.measure(&format!("`where` {what}"), &path)?;
        println!("  {} rows looked at", page["looked_at"]);
    }
    Ok(())
}
