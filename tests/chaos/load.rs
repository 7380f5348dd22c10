//! Clients that post in every shape that is taken, and remember exactly what was acknowledged.

use super::hook::Hook;
use crate::support::load::Line;
use crate::support::{Engine, PATIENCE, load, pause};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a client sends its events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Single,
    Array,
    Lines,
}

/// An event that was sent.
#[derive(Clone, Copy)]
struct Sent {
    digest: u64,
    is_told: bool,
}

/// What clients sent and what they were answered.
#[derive(Default)]
pub(super) struct Ledger {
    /// Answered with 2xx.
    acknowledged: BTreeMap<String, Sent>,
    /// The answer never came, and it was not sent again: stored once or not at all.
    unknown: BTreeMap<String, Sent>,
    /// Answers that never came, whether or not the events were sent again.
    pub(super) broken: u64,
    /// Answers that asked for patience.
    pub(super) busy: u64,
}

/// What is wrong between a ledger and what it is held against.
#[derive(Default)]
pub(super) struct Wrong {
    pub(super) lost: u64,
    pub(super) doubled: u64,
}

impl Ledger {
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// A line of a file counts as acknowledged once it is written.
    pub(super) fn note(&mut self, id: String, body: &str) {
        let is_told = body.contains("\"tell\":true");
        self.acknowledged.insert(id, Sent { digest: digest(body.as_bytes()), is_told });
    }

    pub(super) fn merge(&mut self, other: Ledger) {
        self.acknowledged.extend(other.acknowledged);
        self.unknown.extend(other.unknown);
        self.broken += other.broken;
        self.busy += other.busy;
    }

    /// Every acknowledged event is stored once, with its bytes; one whose answer was lost is
    /// stored once or not at all; nothing else is stored.
    ///
    /// Counted by the id within the body: of events without an id for the engine, nothing hides
    /// that they came twice.
    pub(super) fn against_store(&self, store: &Connection, tables: &[&str]) -> Wrong {
        let mut found: HashMap<String, u64> = HashMap::new();
        for table in tables {
            let mut query =
                store.prepare(&format!("SELECT body FROM {table}")).expect("the query is right");
            let mut rows = query.query([]).expect("it runs");
            while let Some(row) = rows.next().expect("each row can be read") {
                let body: Vec<u8> = row.get(0).expect("a body");
                let event: Value = serde_json::from_slice(&body).expect("a body is JSON");
                let id = event["id"].as_str().expect("a body has its id").to_owned();
                let sent = self.acknowledged.get(&id).or_else(|| self.unknown.get(&id));
                let sent = sent.unwrap_or_else(|| panic!("{id} is stored and was never sent"));
                assert_eq!(sent.digest, digest(&body), "{id} has other bytes");
                *found.entry(id).or_default() += 1;
            }
        }
        let lost = self.acknowledged.keys().filter(|id| !found.contains_key(*id)).count() as u64;
        Wrong { lost, doubled: found.values().map(|times| times - 1).sum() }
    }

    /// Shows some of what was lost: the id says who sent it.
    #[expect(clippy::print_stderr, reason = "a loss has to be looked into")]
    pub(super) fn tell_lost(&self, store: &Connection) {
        let bodies = load::rows(store, "SELECT '', json_extract(body, '$.id') FROM events");
        let stored: std::collections::HashSet<String> =
            bodies.into_iter().map(|body| body.1).collect();
        let lost: Vec<&String> =
            self.acknowledged.keys().filter(|id| !stored.contains(*id)).collect();
        if !lost.is_empty() {
            eprintln!("{} lost, such as {:?}", lost.len(), &lost[..lost.len().min(10)]);
        }
    }

    /// Every acknowledged event that is to be told was told.
    pub(super) fn against_hook(&self, hook: &Hook) -> Wrong {
        let told = hook.told();
        let due = self.acknowledged.iter().filter(|(_, sent)| sent.is_told);
        let lost = due.filter(|(id, _)| !told.contains_key(*id)).count() as u64;
        Wrong { lost, doubled: told.values().map(|times| u64::from(times - 1)).sum() }
    }

    /// Waits until the store has as many events as were acknowledged: what is read from files
    /// comes by itself.
    pub(super) fn wait_for_store(&self, data: &Path) {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let store = Connection::open_with_flags(data.join("events.db"), flags);
        let store = store.expect("the store can be read");
        wait_while_it_moves(|| {
            let stored = load::number(&store, "SELECT count(*) FROM events");
            match self.acknowledged().saturating_sub(stored) {
                // Of as many, some may be those whose answer was lost.
                0 => self.against_store(&store, &["events"]).lost,
                missing => missing,
            }
        });
    }

    /// Waits until the outside was told of everything, or until nothing moves any more.
    pub(super) fn wait_for_hook(&self, hook: &Hook) {
        wait_while_it_moves(|| self.against_hook(hook).lost);
    }
}

/// Until nothing is missing, or until that does not change for a long time: what is missing then
/// is counted as lost.
fn wait_while_it_moves(mut missing: impl FnMut() -> u64) {
    let look = Duration::from_millis(50);
    let (mut before, mut quiet) = (u64::MAX, Duration::ZERO);
    while quiet < PATIENCE {
        let now = missing();
        if now == 0 {
            return;
        }
        quiet = if now < before { Duration::ZERO } else { quiet + look };
        before = now;
        pause(look);
    }
}

fn digest(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// An event with this id, and sometimes with a long text.
pub(super) fn event(random: &mut fastrand::Rng, id: &str, number: u64) -> String {
    let tell = random.u8(0..8) == 0;
    let note = match random.u8(0..50) {
        0 => "Straße ☂ \\\\ ".repeat(random.usize(0..800)),
        _ => "ring ".repeat(random.usize(0..20)),
    };
    format!(r#"{{"id":"{id}","type":"chaos","n":{number},"tell":{tell},"note":"{note}"}}"#)
}

/// Where the engine is.
#[derive(Default)]
struct Target {
    /// Empty while there is none: a port that was given back may be another program's by now.
    address: String,
    is_over: bool,
}

/// Clients at work.
pub(super) struct Load {
    target: Arc<Mutex<Target>>,
    clients: Vec<JoinHandle<Ledger>>,
}

impl Load {
    /// Two clients of each shape: one whose events have ids and are sent again when the answer is
    /// lost, and one whose events have none and are not. Each sends at most so many events.
    pub(super) fn start(seed: u64, at_most: u64) -> Load {
        let target = Arc::new(Mutex::new(Target::default()));
        let mut clients = Vec::new();
        for shape in [Shape::Single, Shape::Array, Shape::Lines] {
            for is_named in [true, false] {
                let number = clients.len() as u64;
                let random = fastrand::Rng::with_seed(seed.wrapping_add(number));
                let (target, name) = (target.clone(), format!("{seed:x}-{number}"));
                let ledger = Ledger::default();
                let client =
                    Client { name, shape, is_named, random, target, ledger, sent: 0, at_most };
                clients.push(std::thread::spawn(|| client.run()));
            }
        }
        Load { target, clients }
    }

    /// The clients post to this engine.
    pub(super) fn point_at(&self, engine: &Engine) {
        self.target.lock().expect("no client panicked with it").address.clone_from(&engine.address);
    }

    /// The engine is about to go.
    pub(super) fn point_away(&self) {
        self.target.lock().expect("no client panicked with it").address.clear();
    }

    /// Ends the clients where they are: there is no engine any more.
    pub(super) fn cut(self) -> Ledger {
        {
            let mut target = self.target.lock().expect("no client panicked with it");
            target.address.clear();
            target.is_over = true;
        }
        self.join()
    }

    /// Ends the clients, after each has got the answer that it waits for.
    pub(super) fn end(self) -> Ledger {
        self.target.lock().expect("no client panicked with it").is_over = true;
        self.join()
    }

    /// Waits until each has sent what it may send.
    pub(super) fn join(self) -> Ledger {
        let mut whole = Ledger::default();
        for client in self.clients {
            whole.merge(client.join().expect("a client is content with its answers"));
        }
        whole
    }
}

struct Client {
    name: String,
    shape: Shape,
    is_named: bool,
    random: fastrand::Rng,
    target: Arc<Mutex<Target>>,
    ledger: Ledger,
    sent: u64,
    at_most: u64,
}

impl Client {
    fn run(mut self) -> Ledger {
        let mut line = None;
        while self.sent < self.at_most && !self.is_over() {
            let batch = self.batch();
            self.post(&mut line, batch);
        }
        self.ledger
    }

    fn is_over(&self) -> bool {
        self.target.lock().expect("nobody panics with it").is_over
    }

    /// Whether there is no engine and never will be.
    fn is_cut(&self) -> bool {
        let target = self.target.lock().expect("nobody panics with it");
        target.is_over && target.address.is_empty()
    }

    /// The events of the next request.
    fn batch(&mut self) -> Vec<(String, String)> {
        let size = match self.shape {
            Shape::Single => 1,
            _ => self.random.u64(1..40),
        };
        let first = self.sent;
        self.sent += size;
        let numbers = first..first + size;
        let event = |number: u64| {
            let id = format!("{}-{number}", self.name);
            let body = event(&mut self.random, &id, number);
            (id, body)
        };
        numbers.map(event).collect()
    }

    /// Posts until every event is acknowledged, or the answer is lost and stays so.
    fn post(&mut self, line: &mut Option<Line>, mut batch: Vec<(String, String)>) {
        let mut is_again = false;
        while !batch.is_empty() {
            match self.try_post(line, &batch) {
                Ok(statuses) => self.settle(&mut batch, &statuses, is_again),
                Err(_) => {
                    *line = None;
                    self.ledger.broken += 1;
                    if !self.is_named || self.is_cut() {
                        let unknown = batch.drain(..).map(|(id, body)| (id, sent(&body)));
                        self.ledger.unknown.extend(unknown);
                        return;
                    }
                    is_again = true;
                }
            }
        }
    }

    /// What was acknowledged leaves the batch.
    fn settle(&mut self, batch: &mut Vec<(String, String)>, statuses: &[u16], is_again: bool) {
        assert_eq!(batch.len(), statuses.len(), "each event has an answer");
        let mut rest = Vec::new();
        for ((id, body), status) in batch.drain(..).zip(statuses) {
            match status {
                202 => {}
                200 if is_again => {}
                429 | 503 => {
                    self.ledger.busy += 1;
                    rest.push((id, body));
                    continue;
                }
                _ => panic!("{id} was answered {status}"),
            }
            self.ledger.acknowledged.insert(id, sent(&body));
        }
        if !rest.is_empty() {
            pause(Duration::from_millis(5));
        }
        *batch = rest;
    }

    /// The statuses of the events, or an error where the connection broke.
    fn try_post(
        &mut self,
        line: &mut Option<Line>,
        batch: &[(String, String)],
    ) -> std::io::Result<Vec<u16>> {
        let open = match line.take() {
            Some(open) if !open.is_over => open,
            _ => {
                let opened = Line::open(&self.address()?);
                opened.inspect_err(|_| pause(Duration::from_millis(2)))?
            }
        };
        let open = line.insert(open);
        let path = if self.is_named { "/named" } else { "/plain" };
        let bodies: Vec<&str> = batch.iter().map(|(_, body)| body.as_str()).collect();
        let (kind, body) = match self.shape {
            Shape::Single => ("application/json", bodies.join("")),
            Shape::Array => ("application/json", format!("[{}]", bodies.join(","))),
            Shape::Lines => ("application/x-ndjson", bodies.join("\n")),
        };
        let (status, answer) = open.post(path, kind, &body)?;
        if self.shape == Shape::Single || !matches!(status, 200 | 202 | 207) {
            return Ok(vec![status; batch.len()]);
        }
        let answer: Value = serde_json::from_slice(&answer).expect("the answer is JSON");
        let results = answer["results"].as_array().expect("one result for each");
        let status =
            |result: &Value| result["status"].as_u64().and_then(|number| number.try_into().ok());
        Ok(results.iter().map(|result| status(result).expect("a status")).collect())
    }

    /// Where the engine is, as soon as there is one.
    fn address(&self) -> std::io::Result<String> {
        let look = Duration::from_millis(2);
        for _ in 0..PATIENCE.as_millis() / look.as_millis() {
            let address = self.target.lock().expect("nobody panics with it").address.clone();
            if !address.is_empty() {
                return Ok(address);
            }
            if self.is_cut() {
                return Err(ErrorKind::NotConnected.into());
            }
            pause(look);
        }
        panic!("no other engine came");
    }
}

fn sent(body: &str) -> Sent {
    Sent { digest: digest(body.as_bytes()), is_told: body.contains("\"tell\":true") }
}

/// Nothing is left between the doors of the store and its shelves.
pub(super) fn assert_settled(store: &Connection) {
    for table in ["inbox", "results"] {
        let left = load::number(store, &format!("SELECT count(*) FROM {table}"));
        assert_eq!(left, 0, "{table} has rows");
    }
    assert_eq!(load::number(store, "SELECT count(*) FROM dead_letters"), 0, "nothing died");
}
