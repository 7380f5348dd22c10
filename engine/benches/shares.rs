//! What a part of the way costs, and what of it would be there without us: the same lines once
//! without and once with each part, and in the same run a bare insert of the rows that were stored,
//! a bare write of the lines and a bare answer to the posts. So every figure is a ratio.

use crate::mix::Mix;
use crate::server::{Server, engine, head, pipeline, send_all};
use crate::{Result, rest};
use nix::sys::resource::{UsageWho, getrusage};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Rows in one transaction of the bare insert.
const BATCH: usize = 256;
/// Connections of the posts.
const CONNECTIONS: usize = 64;
/// Set for the child that only answers.
const ECHO: &str = "BENCH_ECHO";

const MAP: &str = r#"
    map {
        id "data.event_id"; type "data.event_type"; source "data.source"; subject "data.source"
        time "data.timestamp"; priority "data.priority"; correlation-id "data.correlation_id"
        parent-id "data.parent_event_id"; data "data.data ?? {}"
    }"#;

/// Microseconds of CPU for each event.
struct Cost {
    all: f64,
    /// Of the thread that writes.
    writer: f64,
}

pub(crate) fn run(count: usize) -> Result<()> {
    let mut mix = Mix::new();
    let lines: Vec<String> = (0..count).map(|it| mix.next(it)).collect();
    let bare = plain(&lines, "")?;
    let checked = plain(&lines, "schema file=\"../schemas/event.json\"")?;
    let root = tempfile::tempdir()?;
    let change = (
        "source http front {\n    path \"/events\"",
        "source file front {\n    path \"../events.ndjson\"\n    type \"NONE\"",
    );
    let file = pipeline(root.path(), change)?;
    let full = file_run(root.path(), &file, &lines)?;
    let insert = bare_insert(&root.path().join("data/events.db"))?;
    let write = bare_write(root.path(), &lines)?;
    let ahead = |cost: &Cost| cost.all - cost.writer;
    let checks = ahead(&checked) - ahead(&bare);
    let parts = [
        ("read, decode, map", ahead(&bare)),
        ("check the message", checks),
        ("check the data, stages, serialise", ahead(&full) - ahead(&checked)),
        ("writer: SQLite, as the bare insert", insert),
        ("writer: other", full.writer - insert),
    ];
    println!("shares of a file run, {count} events, {:.1} µs of CPU an event:", full.all);
    for (name, cost) in parts {
        println!("  {name}: {cost:.1} µs, {:.0} %", 100.0 * cost / full.all);
    }
    println!("  to the bare insert ({insert:.1} µs a row): {:.0} %", 100.0 * insert / full.all);
    println!(
        "  the same without checks of the data and stages: {:.0} %",
        100.0 * insert / bare.all
    );
    println!("  to the bare write ({write:.2} µs a line): {:.1} %", 100.0 * write / full.all);
    posts(&lines)
}

fn used(who: UsageWho) -> Result<f64> {
    let usage = getrusage(who)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The lines with nothing but a source and the store.
fn plain(lines: &[String], schema: &str) -> Result<Cost> {
    let root = tempfile::tempdir()?;
    pipeline(root.path(), ("", ""))?;
    let file = root.path().join("pipelines/plain.kdl");
    let text = format!(
        "pipeline plain schema-version=1\nserver {{ listen \"127.0.0.1:0\" }}\n\
         source file front {{\n    path \"../events.ndjson\"\n    {schema}{MAP}\n}}\n\
         sink sqlite journal {{ path \"../data/events.db\"; retention {{ keep \"30d\" }} }}\n"
    );
    fs::write(&file, text)?;
    file_run(root.path(), &file, lines)
}

fn file_run(root: &Path, file: &Path, lines: &[String]) -> Result<Cost> {
    fs::write(root.join("events.ndjson"), lines.join("\n") + "\n")?;
    let before = used(UsageWho::RUSAGE_CHILDREN)?;
    let mut child = engine(root, file, &["--once"]).spawn()?;
    let mut errors = child.stderr.take().ok_or("no standard error")?;
    let said = thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).ok();
        text
    });
    let mut writer = 0.0_f64;
    while child.try_wait()?.is_none() {
        writer = writer.max(thread_time(child.id(), "writer"));
        rest(Duration::from_millis(5));
    }
    if !child.wait()?.success() {
        return Err(said.join().unwrap_or_default().into());
    }
    let micros = 1e6 / lines.len() as f64;
    let all = (used(UsageWho::RUSAGE_CHILDREN)? - before) * micros;
    Ok(Cost { all, writer: writer * micros })
}

/// CPU seconds of a process's thread; 0 when there is none.
fn thread_time(process: u32, name: &str) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return 0.0 };
    let of = |folder: &Path| {
        let comm = fs::read_to_string(folder.join("comm")).ok()?;
        let stat = fs::read_to_string(folder.join("schedstat")).ok()?;
        let nanos: f64 = stat.split(' ').next()?.parse().ok()?;
        (comm.trim() == name).then_some(nanos / 1e9)
    };
    tasks.flatten().find_map(|task| of(&task.path())).unwrap_or(0.0)
}

/// Microseconds for each row of a run, into a store with the same tables and indexes.
fn bare_insert(from: &Path) -> Result<f64> {
    let store = Connection::open(from)?;
    let tables = "SELECT sql FROM sqlite_schema WHERE tbl_name = 'event_rows' AND sql IS NOT NULL
                  ORDER BY type DESC";
    let tables: Vec<String> = store
        .prepare(tables)?
        .query_map([], |row| row.get(0))?
        .collect::<std::result::Result<_, _>>()?;
    let mut select = store.prepare("SELECT * FROM event_rows ORDER BY pos")?;
    let columns = select.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        (0..columns).map(|it| row.get::<_, Value>(it)).collect::<rusqlite::Result<Vec<_>>>()
    };
    let rows: Vec<Vec<Value>> =
        select.query_map([], row)?.collect::<std::result::Result<_, _>>()?;
    let folder = tempfile::tempdir()?;
    let target = Connection::open(folder.path().join("bare.db"))?;
    target.execute_batch(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA cache_size = -8192;",
    )?;
    tables.iter().try_for_each(|table| target.execute_batch(table))?;
    let insert = format!("INSERT INTO event_rows VALUES ({})", vec!["?"; columns].join(", "));
    let before = used(UsageWho::RUSAGE_SELF)?;
    for batch in rows.chunks(BATCH) {
        target.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = target.prepare_cached(&insert)?;
        for row in batch {
            insert.execute(params_from_iter(row))?;
        }
        target.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok((used(UsageWho::RUSAGE_SELF)? - before) * 1e6 / rows.len().max(1) as f64)
}

/// Microseconds for each line, synced once.
fn bare_write(root: &Path, lines: &[String]) -> Result<f64> {
    let before = used(UsageWho::RUSAGE_SELF)?;
    let mut file = BufWriter::new(fs::File::create(root.join("copy.ndjson"))?);
    lines.iter().try_for_each(|line| writeln!(file, "{line}"))?;
    file.into_inner()?.sync_data()?;
    Ok((used(UsageWho::RUSAGE_SELF)? - before) * 1e6 / lines.len() as f64)
}

fn posts(lines: &[String]) -> Result<()> {
    let root = tempfile::tempdir()?;
    let file = pipeline(root.path(), ("", ""))?;
    let ours = posted(&Server::start(root.path(), &file)?, lines)?;
    let bare = posted(&echo_server()?, lines)?;
    println!("posts over {CONNECTIONS} connections: {:.0} a CPU-second", 1e6 / ours);
    println!("  to a bare answer ({bare:.1} µs a post): {:.0} %", 100.0 * bare / ours);
    Ok(())
}

/// Microseconds of the server's CPU for each post.
fn posted(server: &Server, lines: &[String]) -> Result<f64> {
    let before = server.cpu()?;
    send_all(server, lines, CONNECTIONS)?;
    Ok((server.cpu()? - before) * 1e6 / lines.len() as f64)
}

fn echo_server() -> Result<Server> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(ECHO, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut address)?;
    Ok(Server::of(child, address.trim().to_owned()))
}

/// Whether this process is the child that only answers; then it does, until it is killed.
pub(crate) fn is_echo() -> Result<bool> {
    if std::env::var_os(ECHO).is_none() {
        return Ok(false);
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        thread::spawn(move || answer(BufReader::new(stream)).ok());
    }
    Ok(true)
}

fn answer(mut stream: BufReader<std::net::TcpStream>) -> Result<()> {
    let mut body = Vec::new();
    loop {
        let head = head(&mut stream)?;
        let fields: BTreeMap<&str, &str> =
            head.lines().filter_map(|line| line.split_once(": ")).collect();
        body.resize(fields.get("Content-Length").ok_or("no length")?.parse()?, 0);
        stream.read_exact(&mut body)?;
        stream.get_mut().write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}")?;
    }
}
