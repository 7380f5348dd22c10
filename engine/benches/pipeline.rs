//! The shipped doorbell pipeline from end to end, as the real binary: a file of events, single
//! events over HTTP, what each part costs, what failing calls cost, and what reloads do. `EVENTS=50000 cargo bench` says
//! how many, `ENGINE=PATH cargo bench` measures another binary, to compare two.
#![expect(clippy::print_stdout, reason = "the figures are its result")]

mod mix;
mod reloads;
mod server;
mod shares;

use mix::{Mix, event};
use nix::sys::resource::{UsageWho, getrusage};
use server::{Server, engine, head, pipeline, post, send_all};
use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Single events are sent over this many connections.
const CONNECTIONS: usize = 16;
/// Presses whose way to the stream is timed, and the time between two of them.
const PRESSES: usize = 1000;
const APART: Duration = Duration::from_millis(5);
/// How long the outside takes to answer.
const ANSWER: Duration = Duration::from_millis(5);

fn main() -> Result<()> {
    if shares::is_echo()? {
        return Ok(());
    }
    let events = std::env::var("EVENTS").map_or(Ok(50_000), |it| it.parse())?;
    file_run(events)?;
    shares::run(events)?;
    single_posts(events.min(20_000))?;
    latencies(0.0)?;
    latencies(0.05)?;
    reloads::run()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the threads here have nothing else to do")]
fn rest(duration: Duration) {
    thread::sleep(duration);
}

#[expect(clippy::disallowed_methods, reason = "events bear the real time")]
fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn file_run(count: usize) -> Result<()> {
    let root = tempfile::tempdir()?;
    let change = (
        "source http front {\n    path \"/events\"",
        "source file front {\n    path \"../events.ndjson\"\n    type \"NONE\"",
    );
    let file = pipeline(root.path(), change)?;
    let mut lines = BufWriter::new(fs::File::create(root.path().join("events.ndjson"))?);
    let (mut mix, mut bytes) = (Mix::new(), 0);
    for n in 0..count {
        let line = mix.next(n);
        bytes += line.len();
        writeln!(lines, "{line}")?;
    }
    lines.flush()?;
    let start = now();
    let output = engine(root.path(), &file, &["--once"]).output()?;
    let wall = start.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    // It is the first child, so the sums over all children are its own.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    let store = rusqlite::Connection::open(root.path().join("data/events.db"))?;
    let rows = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        store.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    let per_event = bytes / count.max(1);
    println!("file run: {count} events of {per_event} bytes in {wall:.2} s, {cpu:.2} CPU-s");
    println!("  {:.0} events/s, {:.0} events/CPU-s", count as f64 / wall, count as f64 / cpu);
    println!("  peak memory {:.1} MB", usage.max_rss() as f64 / 1024.0);
    println!("  {} rows stored, {} dead letters", rows("event_rows")?, rows("dead_letters")?);
    Ok(())
}

fn single_posts(count: usize) -> Result<()> {
    let root = tempfile::tempdir()?;
    let file = pipeline(root.path(), ("", ""))?;
    let start = now();
    let server = Server::start(root.path(), &file)?;
    println!("start: ready after {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    rest(Duration::from_secs(2));
    println!("  idle memory {:.1} MB", server.memory("VmRSS")? / 1024.0);
    let mut mix = Mix::new();
    let events: Vec<String> = (0..count).map(|it| mix.next(it)).collect();
    let (cpu, start) = (server.cpu()?, now());
    send_all(&server, &events, CONNECTIONS)?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), server.cpu()? - cpu);
    println!("single posts: {count} over {CONNECTIONS} connections in {wall:.2} s");
    println!("  {:.0} posts/s, {:.0} posts/CPU-s", count as f64 / wall, count as f64 / cpu);
    println!("  peak memory {:.1} MB", server.memory("VmHWM")? / 1024.0);
    Ok(())
}

/// Answers every GET after a while; the first for each of `failing` with 503.
fn outside(failing: HashSet<String>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let failing = Arc::new(Mutex::new(failing));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(std::result::Result::ok) {
            let failing = failing.clone();
            thread::spawn(move || {
                stream.set_nodelay(true).ok();
                let mut stream = BufReader::new(stream);
                while let Ok(head) = head(&mut stream) {
                    let id = head.split("id=").nth(1).and_then(|part| part.split(' ').next());
                    let mut failing = failing.lock().unwrap_or_else(PoisonError::into_inner);
                    let status = if failing.remove(id.unwrap_or_default()) { 503 } else { 200 };
                    drop(failing);
                    rest(ANSWER);
                    let answer =
                        format!("HTTP/1.1 {status} X\r\nContent-Length: 8\r\n\r\n{{\"t\":21}}");
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// The time from sending a press to seeing it on the stream, while a part of the calls for it
/// fails once.
fn latencies(part: f64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(7);
    let name = |n: usize| format!("6f0c2f0a-5d1e-4a57-9a39-{n:012x}");
    let failing: HashSet<String> = (0..PRESSES).filter(|_| random.f64() < part).map(name).collect();
    let url = format!("get \"http://{}/?id={{{{ event.id }}}}\"", outside(failing.clone())?);
    let root = tempfile::tempdir()?;
    let file = pipeline(root.path(), ("get (env)\"WEATHER_URL\" optional=#true", &url))?;
    let server = Server::start(root.path(), &file)?;
    let mut live = server.connect()?;
    write!(live.get_mut(), "GET /live HTTP/1.1\r\nHost: {}\r\n\r\n", server.1)?;
    head(&mut live)?;
    let (seen, arrivals) = mpsc::channel();
    thread::spawn(move || {
        for line in live.lines().map_while(std::result::Result::ok) {
            let id = line.split("\"id\":\"").nth(1).and_then(|part| part.split('"').next());
            if let Some(id) = id.filter(|_| line.starts_with("data")) {
                seen.send((id.to_owned(), now())).ok();
            }
        }
    });
    let sent: Mutex<HashMap<String, Instant>> = Mutex::default();
    let (start, time) = (now(), unix_seconds());
    let send = |first: usize| -> std::result::Result<(), String> {
        let mut stream = server.connect().map_err(|fault| fault.to_string())?;
        for n in (first..PRESSES).step_by(CONNECTIONS) {
            rest((APART * n as u32).saturating_sub(start.elapsed()));
            let event = event(n, time, "DOORBELL_PRESSED", "gpio_handler", "HIGH", "{}");
            sent.lock().unwrap_or_else(PoisonError::into_inner).insert(name(n), now());
            post(&mut stream, &server.1, &event).map_err(|fault| fault.to_string())?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let send = &send;
        let threads: Vec<_> = (0..CONNECTIONS).map(|it| scope.spawn(move || send(it))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a sender does not panic"))
    })?;
    let sent = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut calm, mut rough) = (Vec::new(), Vec::new());
    for _ in 0..PRESSES {
        let (id, at) = arrivals.recv_timeout(Duration::from_secs(30))?;
        let took = at.duration_since(sent[&id]).as_secs_f64() * 1e3;
        if failing.contains(&id) { rough.push(took) } else { calm.push(took) }
    }
    println!("press to stream, {:.0} % of the calls fail:", part * 100.0);
    show("unaffected", calm);
    show("affected", rough);
    Ok(())
}

fn show(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let Some(last) = times.len().checked_sub(1) else { return };
    let at = |part: f64| times[(last as f64 * part).round() as usize];
    let (p50, p95, p99) = (at(0.5), at(0.95), at(0.99));
    println!("  {name} ({}): p50 {p50:.1}, p95 {p95:.1}, p99 {p99:.1} ms", times.len());
}
