//! The log stays small, and who keeps it from that is named.

use super::*;
use kernel::health::{HealthState, PartRole};

const MIB: u64 = 1 << 20;

/// A store whose log is begun again beyond 2 MiB.
fn small(path: &Path) -> Bench {
    let policy = RetentionPolicy { size_max: Some(8 * MIB), ..RetentionPolicy::default() };
    bench(StoreLocation::File(path.to_owned()), policy)
}

fn log_bytes(path: &Path) -> u64 {
    std::fs::metadata(format!("{}-wal", path.display())).map_or(0, |metadata| metadata.len())
}

impl Bench {
    /// Writes events of 100 kB each.
    fn write_large(&self, round: usize, count: usize) {
        let body = format!("\"{}\"", "x".repeat(100_000));
        let entries = (0..count).map(|it| record(&format!("{round}-{it}"), &body));
        self.submit(entries.collect());
        // It is answered first; what follows it is done when the next command is.
        smol::block_on(self.store.tick());
    }

    fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
        smol::block_on(self.store.tick());
    }

    fn store_problem(&self) -> Option<(HealthState, String)> {
        let reports = self.health.report().into_iter();
        let mut own = reports.filter(|report| report.part.role == PartRole::Store);
        let open = own.next()?.problems.into_iter().next()?;
        Some((open.problem.state, format!("{}: {}", open.problem.code, open.problem.reason)))
    }
}

#[test]
fn the_log_stays_small_while_nobody_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = small(&path);
    for round in 0..20 {
        bench.write_large(round, 10);
        assert!(log_bytes(&path) < 4 * MIB, "{} bytes", log_bytes(&path));
    }
    bench.pass(1);
    assert_eq!(log_bytes(&path), 0, "with nothing to do it is emptied");
    assert_eq!(bench.store_problem(), None);
    bench.close();
}

#[test]
fn another_program_that_keeps_the_log_large_is_named_and_then_nothing_more_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = small(&path);
    bench.write_large(0, 1);
    let other = Connection::open(&path).expect("it opens");
    other.execute_batch("BEGIN; SELECT count(*) FROM event_rows;").expect("it reads");
    bench.write_large(1, 30);
    let (state, reason) = bench.store_problem().expect("it is told");
    assert_eq!(state, HealthState::Degraded);
    let begin = format!(
        "wal-large: another program has been reading {} since 2026-01-01T00:00:00.000Z",
        path.display()
    );
    assert!(reason.starts_with(&begin), "{reason}");
    for round in 2..25 {
        bench.write_large(round, 30);
        bench.pass(1);
    }
    let figures = bench.store.figures();
    assert!(figures.is_log_full.load(Ordering::Relaxed));
    assert!(64 * MIB < figures.wal_bytes.load(Ordering::Relaxed));
    let (state, reason) = bench.store_problem().expect("it is told");
    assert_eq!(state, HealthState::Failed);
    assert!(reason.ends_with("more than 64 MiB; events are rejected"), "{reason}");
    drop(other);
    bench.pass(1);
    assert_eq!(bench.store_problem(), None);
    assert!(!figures.is_log_full.load(Ordering::Relaxed));
    assert_eq!(log_bytes(&path), 0);
    bench.close();
}

#[test]
fn queries_that_follow_one_another_are_held_off_until_the_log_is_emptied() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = small(&path);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = std::sync::mpsc::channel();
    let store = bench.store.clone();
    let query = std::thread::spawn(move || {
        let long = move |reader: &Reader<'_>| {
            reader.within_snapshot(|| {
                begin.send(()).expect("the test waits");
                ended.recv().expect("the test ends it");
            })
        };
        smol::block_on(store.read(long)).expect("it is read");
    });
    begun.recv().expect("it begins");
    bench.write_large(0, 30);
    let (_, reason) = bench.store_problem().expect("it is told");
    assert!(reason.starts_with("wal-large: queries keep the log of"), "{reason}");
    let next = bench.store.read(|reader| reader.count_of("SELECT count(*) FROM event_rows"));
    let mut next = Box::pin(next);
    assert!(smol::block_on(smol::future::poll_once(&mut next)).is_none(), "it is held off");
    end.send(()).expect("it waits");
    query.join().expect("it ends well");
    bench.pass(1);
    assert_eq!(log_bytes(&path), 0);
    assert_eq!(bench.store_problem(), None);
    assert_eq!(smol::block_on(next), Ok(30));
    bench.close();
}
