//! Clients that post without a pause and remember what they were told, across ends of the engine.

use super::{Engine, PATIENCE, pause, root, until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// A copy of the doorbell's files, so that they can be changed, with a weather service of the
/// test's own: a press waits for it, everything else is stored at once.
pub(crate) fn doorbell(folder: &Path) -> PathBuf {
    for part in ["pipelines", "pipelines/tables", "schemas"] {
        std::fs::create_dir_all(folder.join(part)).expect("a folder");
        for entry in std::fs::read_dir(root().join(part)).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.file_name().expect("a name");
                std::fs::copy(&path, folder.join(part).join(name)).expect("a copy");
            }
        }
    }
    let file = folder.join("pipelines/doorbell.kdl");
    let weather = format!("get \"{}\"", weather());
    edit(&file, "get (env)\"WEATHER_URL\" optional=#true", &weather);
    file
}

/// Replaces `old`, which stands there once, in a file.
pub(crate) fn edit(file: &Path, old: &str, new: &str) {
    std::fs::write(file, edited(file, old, new)).expect("it can be written");
}

/// What `edit` would write.
pub(crate) fn edited(file: &Path, old: &str, new: &str) -> String {
    let text = std::fs::read_to_string(file).expect("it can be read");
    assert_eq!(text.matches(old).count(), 1, "{old:?} in {}", file.display());
    text.replace(old, new)
}

/// A service that takes its time; its URL. It ends with the tests.
fn weather() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever asked may be gone by now.
            std::thread::spawn(move || tell_weather(stream).ok());
        }
    });
    format!("http://{address}/now")
}

fn tell_weather(mut stream: TcpStream) -> std::io::Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    pause(Duration::from_millis(fastrand::u64(0..15)));
    let body = r#"{"sky":"overcast"}"#;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// An event that was sent and what became of it.
pub(crate) struct Sent {
    /// Unique in a test.
    pub(crate) id: String,
    body: String,
    seq: u64,
}

/// What a client did.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Every event, each acknowledged in the end.
    pub(crate) sent: Vec<Sent>,
    /// Events whose first answer never came.
    pub(crate) unknown: usize,
    /// Those of them that had been stored before the answer was lost.
    pub(crate) found: usize,
}

/// Where the engine is.
#[derive(Default)]
struct Target {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    address: String,
    /// How many engines there were.
    epoch: u64,
    is_over: bool,
}

/// Clients at work.
pub(crate) struct Load {
    target: Arc<Target>,
    clients: Vec<JoinHandle<Ledger>>,
}

impl Load {
    /// So many clients; they begin with the first engine that they are pointed at.
    pub(crate) fn start(count: u64, seed: u64) -> Load {
        let target = Arc::new(Target::default());
        let client = |number| {
            let random = fastrand::Rng::with_seed(seed.wrapping_add(number));
            let (target, ledger) = (target.clone(), Ledger::default());
            let client = Client { number, random, target, ledger, unknown: None };
            std::thread::spawn(|| client.run())
        };
        let clients = (0..count).map(client).collect();
        Load { target, clients }
    }

    /// An engine to post to, in the place of the one before.
    pub(crate) fn point_at(&self, engine: &Engine) {
        let mut state = self.target.state.lock().expect("no client panicked with it");
        state.address.clone_from(&engine.address);
        state.epoch += 1;
        self.target.changed.notify_all();
    }

    /// Ends the clients, after each has got the answer that it waits for.
    pub(crate) fn end(self) -> Ledger {
        self.target.state.lock().expect("no client panicked with it").is_over = true;
        let mut whole = Ledger::default();
        for client in self.clients {
            let ledger = client.join().expect("a client is content with its answers");
            whole.sent.extend(ledger.sent);
            whole.unknown += ledger.unknown;
            whole.found += ledger.found;
        }
        whole
    }
}

impl Target {
    /// Where the next engine after `epoch` is.
    fn after(&self, epoch: u64) -> (String, u64) {
        let state = self.state.lock().expect("nobody panicked with it");
        let (state, late) = self
            .changed
            .wait_timeout_while(state, PATIENCE, |it| it.epoch <= epoch)
            .expect("nobody panicked with it");
        assert!(!late.timed_out(), "the connection broke, and no other engine came");
        (state.address.clone(), state.epoch)
    }

    fn is_over(&self) -> bool {
        self.state.lock().expect("nobody panicked with it").is_over
    }
}

struct Client {
    number: u64,
    random: fastrand::Rng,
    target: Arc<Target>,
    ledger: Ledger,
    /// An event whose answer never came.
    unknown: Option<(String, String)>,
}

impl Client {
    fn run(mut self) -> Ledger {
        let mut epoch = 0;
        loop {
            let (address, now) = self.target.after(epoch);
            epoch = now;
            if self.post_to(&address).is_ok() {
                return self.ledger;
            }
        }
    }

    /// Posts until the connection breaks, or until it is over and no answer is missing.
    fn post_to(&mut self, address: &str) -> std::io::Result<()> {
        let mut line = Line::open(address)?;
        loop {
            let is_again = self.unknown.is_some();
            if !is_again && self.target.is_over() {
                return Ok(());
            }
            let (id, body) = self.unknown.take().unwrap_or_else(|| self.event());
            self.unknown = Some((id.clone(), body.clone()));
            let answer = self.insist(&mut line, address, &body);
            if answer.is_err() && !is_again {
                self.ledger.unknown += 1;
            }
            let (status, seq) = answer?;
            self.unknown = None;
            assert!(status == 202 || is_again, "{id} was never sent before, but is a duplicate");
            self.ledger.found += usize::from(status == 200);
            self.ledger.sent.push(Sent { id, body: body.clone(), seq });
            if self.random.u8(0..20) == 0 {
                // Once more, as a sender does that is not sure. An answer that does not come
                // changes nothing.
                assert_eq!(self.insist(&mut line, address, &body)?, (200, seq));
            }
        }
    }

    /// Posts until it is taken: the status and the number.
    fn insist(
        &mut self,
        line: &mut Line,
        address: &str,
        body: &str,
    ) -> std::io::Result<(u16, u64)> {
        loop {
            if line.is_over {
                *line = Line::open(address)?;
            }
            let (status, answer) = line.post("/events", "application/json", body)?;
            match status {
                200 | 202 => {
                    let answer: Value = serde_json::from_slice(&answer).expect("it is JSON");
                    assert_eq!(answer["duplicate"], status == 200, "{answer}");
                    return Ok((status, answer["seq"].as_u64().expect("a number")));
                }
                429 | 503 => pause(Duration::from_millis(5)),
                _ => panic!("{status} {} for {body}", String::from_utf8_lossy(&answer)),
            }
        }
    }

    fn event(&mut self) -> (String, String) {
        let id = format!("{}-{}", self.number, self.ledger.sent.len() + 1);
        let random = &mut self.random;
        let (kind, data) = match random.u8(0..4) {
            0 => {
                ("DOORBELL_PRESSED", json!({ "channel": 3, "press_duration": random.f64() + 0.1 }))
            }
            1 => ("MOTION_DETECTED", json!({ "motion_score": random.f64() * 100.0 })),
            2 => {
                let note = "Straße ☂ \\ ".repeat(random.usize(0..200));
                ("GPIO_STATE_CHANGED", json!({ "note": note, "level": random.bool() }))
            }
            _ => (
                "FACE_UNKNOWN",
                json!({ "recognition_count": 1, "unknown_count": 1, "recognitions": [] }),
            ),
        };
        // Bytes, not values, are what has to come back.
        let space = " ".repeat(random.usize(0..4));
        let body = format!(
            "{{{space}\"event_id\":\"{id}\", \"event_type\" : \"{kind}\",\n\"source\":\"client_{}\",\
             \"data\":{space}{data}{space}}}",
            self.number
        );
        (id, body)
    }
}

/// A connection that stays.
pub(crate) struct Line {
    stream: BufReader<TcpStream>,
    host: String,
    /// Whether the engine said that it takes no more on it.
    pub(crate) is_over: bool,
}

impl Line {
    pub(crate) fn open(address: &str) -> std::io::Result<Line> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Line { stream: BufReader::new(stream), host: address.to_owned(), is_over: false })
    }

    /// Posts a body of this type: the status and the body of the answer.
    pub(crate) fn post(
        &mut self,
        path: &str,
        kind: &str,
        body: &str,
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(Error::from(ErrorKind::UnexpectedEof));
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            } else if let Some(value) = line.strip_prefix("connection:") {
                self.is_over = value.trim() == "close";
            } else if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }
}

/// An event as the stream sent it.
pub(crate) struct Streamed {
    /// Its `id:` line.
    pub(crate) pos: u64,
    /// Its `data:` line.
    pub(crate) event: Value,
}

/// Follows the stream from now on; ends with the connection.
pub(crate) fn follow(engine: &Engine) -> mpsc::Receiver<Streamed> {
    let mut stream = TcpStream::connect(&engine.address).expect("it listens");
    // Of 1.0, so that the body comes as it is.
    write!(stream, "GET /live HTTP/1.0\r\nHost: {}\r\n\r\n", engine.address).expect("a request");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.contains(" 200 ")), "the stream opens");
    assert!(lines.any(|line| line.starts_with("retry:")), "the stream begins");
    let (sender, streamed) = mpsc::channel();
    std::thread::spawn(move || {
        let mut pos = 0;
        for line in lines {
            assert_ne!(line, "event: gap");
            if let Some(id) = line.strip_prefix("id: ") {
                pos = id.parse().expect("a position");
            } else if let Some(data) = line.strip_prefix("data: ") {
                let event = serde_json::from_str(data).expect("it is JSON");
                if sender.send(Streamed { pos, event }).is_err() {
                    return;
                }
            }
        }
    });
    streamed
}

/// Waits until nothing that was accepted is unfinished.
pub(crate) fn settle(engine: &Engine) {
    until("nothing is pending", || engine.get("/api/stats")["store"]["pending"] == 0);
}

/// Opens the store of an engine that has ended, and finds it whole.
pub(crate) fn open(data: &Path) -> Connection {
    let store = Connection::open(data.join("events.db")).expect("it opens");
    let word: String =
        store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it can be checked");
    assert_eq!(word, "ok");
    store
}

/// A number that a query answers.
pub(crate) fn number(store: &Connection, sql: &str) -> u64 {
    store.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number").unsigned_abs()
}

/// Two columns, as text.
pub(crate) fn rows(store: &Connection, sql: &str) -> Vec<(String, String)> {
    let mut query = store.prepare(sql).expect("a query");
    let text = |value: rusqlite::types::Value| match value {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => panic!("{other:?} is neither a number nor text"),
    };
    let rows = query.query_map([], |row| Ok((text(row.get(0)?), text(row.get(1)?)))).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

/// Every event that was sent is stored once, with its bytes and its number; nothing else is but
/// what the test sent by itself. No event is unfinished, and none ended as a dead letter.
pub(crate) fn check(store: &Connection, sent: &[Sent], probes: &[String]) {
    let mut query = store.prepare("SELECT id, seq, body FROM events").expect("a query");
    let rows = query
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?)))
        .expect("rows");
    let mut stored: BTreeMap<String, (i64, Vec<u8>)> = BTreeMap::new();
    for row in rows {
        let (id, seq, body) = row.expect("a row");
        let earlier = stored.insert(id.clone(), (seq, body));
        assert!(earlier.is_none(), "{id} is stored twice");
    }
    let mut lost = Vec::new();
    for it in sent {
        match stored.remove(&it.id) {
            Some((seq, body)) => {
                assert_eq!(seq.unsigned_abs(), it.seq, "{} has another number", it.id);
                assert_eq!(body, it.body.as_bytes(), "{} has other bytes", it.id);
            }
            None => lost.push(&it.id),
        }
    }
    lost.extend(probes.iter().filter(|probe| stored.remove(*probe).is_none()));
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(stored.is_empty(), "stored and never sent: {:?}", stored.keys());
    assert_eq!(number(store, "SELECT count(*) FROM inbox"), 0);
    assert_eq!(number(store, "SELECT count(*) FROM results"), 0);
    assert_eq!(number(store, "SELECT count(*) FROM dead_letters WHERE what <> 'rejected'"), 0);
}
