//! A store with a million doorbell events over thirty days: how long the real binary takes to
//! answer what people and the page ask. `EVENTS=100000 cargo bench --bench queries` says how many.
#![expect(clippy::print_stdout, reason = "the figures are its result")]

mod mix;

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
    Entry, Finished, RetentionPolicy, Settings, StoreLocation, Stored, Synchronous, Watcher,
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
    fill(&folder.path().join("data/events.db"), events)?;
    let server = Server::start(folder.path())?;
    let mut client = Client::of(&server.1)?;
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

struct Nobody;

impl Watcher for Nobody {
    fn committed(&mut self, _: &[Arc<Stored>]) {}
    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

fn fill(path: &Path, count: usize) -> Result<()> {
    let settings = Settings {
        place: StoreLocation::File(path.to_owned()),
        synchronous: Synchronous::Normal,
        batch: BATCH,
        linger: Duration::ZERO,
        name: "db".into(),
        backlog_rows: 1 << 20,
        backlog_bytes: 1 << 28,
    };
    let policy = RetentionPolicy::default();
    let (store, writer) = store::open(settings, policy, Env::system(), Box::new(Nobody))
        .map_err(|fault| fault.to_string())?;
    let writer = thread::spawn(|| writer.run());
    let (mut mix, start, end) = (Mix::new(), now(), unix_seconds());
    for batch in 0..count / BATCH {
        let entries = (0..BATCH).map(|it| {
            let n = batch * BATCH + it;
            entry(&mix.next(n), end - SPAN + SPAN * n as f64 / count as f64)
        });
        let entries = entries.collect::<Result<Vec<Entry>>>()?;
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
fn entry(message: &str, seconds: f64) -> Result<Entry> {
    let value: Value = serde_json::from_str(message)?;
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
    };
    Ok(Entry::Record(Finished {
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
    fn start(root: &Path) -> Result<Server> {
        let file = root.join("pipelines/doorbell.kdl");
        fs::write(&file, PIPELINE)?;
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
