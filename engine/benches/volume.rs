//! A store with a million events: what a sweep of all of them adds to an answer, and what an
//! outbox as large costs for each delivery. `EVENTS=100000 cargo bench --bench volume` says how
//! many.
#![expect(clippy::print_stdout, reason = "the figures are its result")]

use kernel::env::Env;
use kernel::event::{Body, DataAt, EndedEvent, Envelope, Priority};
use kernel::time::Timestamp;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use store::{
    self, CommitObserver, DeliveryState, DeliveryTraits, DueLimits, FinishedEvent, KeepRule,
    NewDelivery, RetentionPolicy, Settings, Settlement, Store, StoreEntry, StoreLocation,
    StoredEvent, Synchronous,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Events of one submission while the store is filled.
const BATCH: usize = 500;
/// Clients that send one event after the other.
const CLIENTS: usize = 4;

fn main() -> Result<()> {
    let events = std::env::var("EVENTS").map_or(Ok(1_000_000), |it| it.parse())?;
    sweep(events)?;
    outbox(events)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

struct Nobody;

impl CommitObserver for Nobody {
    fn committed(&mut self, _: &[Arc<StoredEvent>]) {}
    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

struct Opened {
    store: Store,
    env: Env,
    writer: thread::JoinHandle<()>,
}

fn open(folder: &Path, policy: RetentionPolicy) -> Result<Opened> {
    let settings = Settings {
        place: StoreLocation::File(folder.join("a.db")),
        synchronous: Synchronous::Full,
        batch: 1024,
        linger: Duration::ZERO,
        name: "db".into(),
    };
    let env = Env::system();
    let (store, writer) = store::open(settings, policy, env.clone(), Box::new(Nobody))
        .map_err(|fault| fault.to_string())?;
    Ok(Opened { store, env, writer: thread::spawn(|| writer.run()) })
}

impl Opened {
    fn close(self) -> Result<()> {
        smol::block_on(self.store.close());
        self.writer.join().map_err(|_| "the writer panicked".into())
    }
}

fn event(number: usize, received: Timestamp, deliveries: Vec<NewDelivery>) -> StoreEntry {
    let text = format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(500));
    StoreEntry::Record(FinishedEvent {
        event: EndedEvent {
            seq: 0,
            generation: 1,
            envelope: Envelope {
                id: format!("{:x}-{number}", number.wrapping_mul(0x9e37_79b9)).into(),
                kind: "RING".into(),
                source: "door".into(),
                subject: "front".into(),
                time: received,
                received,
                priority: Priority::Normal,
                correlation_id: None,
                parent_id: None,
            },
            body: Body { bytes: text.as_bytes().into(), data: DataAt::Slice(0..text.len()) },
            enrich: "{}".into(),
        },
        stages: [].into(),
        targets: ["db".into()].into(),
        deliveries,
        silences: Vec::new(),
        answers: Vec::new(),
    })
}

fn fill(opened: &Opened, count: usize, received: Timestamp, sink: Option<&str>) -> Result<()> {
    let start = now();
    for batch in 0..count / BATCH {
        let entries = (0..BATCH).map(|it| {
            let delivery = sink.map(|it| NewDelivery {
                sink: it.into(),
                cooldown: None,
                suppressed: None,
                traits: DeliveryTraits::default(),
            });
            event(batch * BATCH + it, received, delivery.into_iter().collect())
        });
        smol::block_on(opened.store.submit(entries.collect()))
            .map_err(|fault| fault.to_string())?;
        if batch % 50 == 0 {
            smol::block_on(opened.store.tick());
        }
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("filled with {count} events, {rate:.0} a second");
    Ok(())
}

/// Clients send until `is_over`, and the store ticks once a second; how long each answer took.
fn clients(opened: &Opened, first: usize, is_over: impl Fn() -> bool + Sync) -> Vec<Duration> {
    let next = AtomicU64::new(first as u64);
    let send = || {
        let mut took = Vec::new();
        while !is_over() {
            let number = next.fetch_add(1, Ordering::Relaxed) as usize;
            let received = opened.env.clock.wall();
            let entry = event(number, received, Vec::new());
            let start = now();
            smol::block_on(opened.store.submit(vec![entry])).expect("it is stored");
            took.push(start.elapsed());
        }
        took
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(send)).collect();
        let ticks = scope.spawn(|| {
            while !is_over() {
                smol::block_on(opened.store.tick());
                smol::block_on(opened.env.clock.sleep(Duration::from_secs(1)));
            }
        });
        let took =
            threads.into_iter().flat_map(|thread| thread.join().expect("a client ends well"));
        let mut took: Vec<Duration> = took.collect();
        ticks.join().expect("it ends well");
        took.sort_unstable();
        took
    })
}

fn show(what: &str, took: &[Duration]) {
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{what}: {} answers, ms: median {:.2}, p99 {:.2}, p99.9 {:.2}, longest {:.2}",
        took.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

fn sweep(count: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let opened = open(
        folder.path(),
        RetentionPolicy { reload_grace: Duration::ZERO, ..RetentionPolicy::default() },
    )?;
    let old = opened.env.clock.wall().minus(Duration::from_secs(90_000));
    fill(&opened, count, old, None)?;
    let calm_end = now() + Duration::from_secs(10);
    show("without a sweep", &clients(&opened, count, || calm_end < now()));
    let keep = vec![KeepRule { age: Duration::from_secs(86_400), priority: None, kind: None }];
    let policy =
        RetentionPolicy { keep, reload_grace: Duration::ZERO, ..RetentionPolicy::default() };
    smol::block_on(opened.store.set_policy(policy));
    let (start, store) = (now(), opened.store.clone());
    let deleted = || {
        let deleted = store.figures().deleted.lock().expect("nothing panics");
        deleted.values().sum::<u64>()
    };
    let all = (count / BATCH * BATCH) as u64;
    let took = clients(&opened, 2 * count, || all <= deleted());
    let seconds = start.elapsed().as_secs_f64();
    show("with a sweep", &took);
    println!("  {all} deleted in {seconds:.1} s while {} came", took.len());
    let size = |end: &str| -> Result<f64> {
        let file = folder.path().join(format!("a.db{end}"));
        Ok(std::fs::metadata(file)?.len() as f64 / f64::from(1 << 20))
    };
    println!("  database {:.0} MiB, log {:.0} MiB", size("")?, size("-wal")?);
    opened.close()
}

fn outbox(count: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut policy = RetentionPolicy::default();
    policy.outbox.rows = 2 * count as u64;
    policy.outbox.bytes = 1 << 40;
    let opened = open(folder.path(), policy.clone())?;
    fill(&opened, count, opened.env.clock.wall(), Some("hook"))?;
    opened.close()?;
    let start = now();
    let opened = open(folder.path(), policy)?;
    println!("opened with all of them pending in {:.2} s", start.elapsed().as_secs_f64());
    let wall = opened.env.clock.wall();
    let limits = DueLimits { first: 64, again: 64, bytes: 4 << 20 };
    let (start, mut delivered) = (now(), 0);
    while start.elapsed() < Duration::from_secs(10) {
        let read = opened.store.read(move |reader| {
            let due = reader.due("hook", wall, limits)?;
            let seqs: Vec<u64> = due.iter().map(|it| it.seq).collect();
            Ok((reader.by_seq(&seqs)?.len(), reader.next_due("hook")?, due))
        });
        let (_, _, due) = smol::block_on(read).map_err(|fault| fault.to_string())?;
        if due.is_empty() {
            break;
        }
        let settled = due.into_iter().map(|it| {
            delivered += 1;
            StoreEntry::Settle(Settlement {
                sink: it.sink,
                seq: it.seq,
                state: DeliveryState::Done,
                attempts: 1,
                not_before: wall,
                error: None,
                letter: None,
                receipt: None,
                attempt: None,
            })
        });
        smol::block_on(opened.store.submit(settled.collect()))
            .map_err(|fault| fault.to_string())?;
    }
    let rate = f64::from(delivered) / start.elapsed().as_secs_f64();
    println!("drained {rate:.0} deliveries a second, 64 at once");
    opened.close()
}
