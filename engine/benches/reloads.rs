//! What reloads cost those who send meanwhile, and how long a saved file takes to serve.

use crate::mix::Mix;
use crate::server::{Server, pipeline, post};
use crate::{CONNECTIONS, Result, now, rest, show};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Events that all connections send in a second.
const RATE: usize = 2_000;
/// How long they are sent with reloads, and how long without.
const STRETCH: Duration = Duration::from_secs(10);
const SAVES: usize = 20;
/// How long `engine run` waits for more changes after one: no part of a reload.
const DEBOUNCE: Duration = Duration::from_millis(200);

pub(crate) fn run() -> Result<()> {
    let root = tempfile::tempdir()?;
    let file = pipeline(root.path(), ("", ""))?;
    let server = Server::start(root.path(), &file)?;
    let text = fs::read_to_string(&file)?;
    let without = acknowledgements(&server, 0)?;
    let (is_over, saves) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let with = thread::scope(|scope| {
        let saving = scope.spawn(|| {
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let took = save(&server, &file, &text, n).map_err(|fault| fault.to_string())?;
                saves.lock().expect("nobody panics").push(took);
            }
            Ok::<_, String>(())
        });
        let with = acknowledgements(&server, without.len());
        is_over.store(true, Ordering::Relaxed);
        saving.join().expect("it does not panic")?;
        with
    })?;
    let reloads = saves.into_inner().map_err(|fault| fault.to_string())?.len();
    println!("{RATE} posts/s over {CONNECTIONS} connections, until they are acknowledged:");
    show("without reloads", without);
    show(&format!("during {reloads} reloads"), with);
    let quiet: Result<Vec<f64>> = (0..SAVES)
        .map(|n| Ok((save(&server, &file, &text, reloads + n)? - DEBOUNCE).as_secs_f64() * 1e3))
        .collect();
    println!("from saving the file to serving it, beside the {DEBOUNCE:?} that the watch waits:");
    show("saves", quiet?);
    Ok(())
}

/// Saves the file with a source that it has not had, and waits until that source answers.
fn save(server: &Server, file: &Path, text: &str, n: usize) -> Result<Duration> {
    let address = format!("/probe-{n}");
    let source =
        format!("\nsource http probe {{ path \"{address}\"; map {{ type \"'PROBE'\" }} }}\n");
    fs::write(file, format!("{text}{source}"))?;
    let start = now();
    while !server.answers(&address)? {
        if start.elapsed() > Duration::from_secs(10) {
            return Err("the changed file is not served".into());
        }
        rest(Duration::from_millis(1));
    }
    Ok(start.elapsed())
}

/// Milliseconds from sending each event to its answer, at an even rate. The events are numbered
/// from `first` on.
fn acknowledgements(server: &Server, first: usize) -> Result<Vec<f64>> {
    let count = RATE * STRETCH.as_secs() as usize;
    let mut mix = Mix::new();
    let events: Vec<String> = (first..first + count).map(|n| mix.next(n)).collect();
    let (next, start) = (AtomicUsize::new(0), now());
    let send = || -> std::result::Result<Vec<f64>, String> {
        let mut stream = server.connect().map_err(|fault| fault.to_string())?;
        let mut took = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(event) = events.get(n) else { return Ok(took) };
            let due = Duration::from_secs(1) * n as u32 / RATE as u32;
            rest(due.saturating_sub(start.elapsed()));
            let sent = now();
            post(&mut stream, &server.1, event).map_err(|fault| fault.to_string())?;
            took.push(sent.elapsed().as_secs_f64() * 1e3);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(send)).collect();
        let all: std::result::Result<Vec<_>, String> = threads
            .into_iter()
            .map(|thread| thread.join().expect("a sender does not panic"))
            .collect();
        Ok(all?.concat())
    })
}
