//! A wall clock that is wrong deletes nothing and delays nothing for long.

use super::*;

const DAY: i64 = 86_400_000_000;
const YEAR: i64 = 365 * DAY;

/// Keeps events for a day, in a store that was last open when the clock showed this much more than
/// it does now.
fn reopened(path: &Path, difference: i64) -> Bench {
    let connection = Connection::open(path).expect("it opens");
    let sql = "UPDATE meta SET value = value + ? WHERE key = 'good_wall'";
    let changed = connection.execute(sql, [difference]).expect("it is changed");
    assert_eq!(changed, 1, "the good time was kept");
    drop(connection);
    keeping_a_day(path)
}

fn keeping_a_day(path: &Path) -> Bench {
    let keep = vec![KeepRule { age: Duration::from_secs(86_400), priority: None, kind: None }];
    bench(
        StoreLocation::File(path.to_owned()),
        RetentionPolicy { keep, ..RetentionPolicy::default() },
    )
}

/// An event that arrived so long before the clock's time now.
fn aged(id: &str, age: i64) -> StoreEntry {
    with(id, |it| it.received = Timestamp(it.received.0 - age))
}

fn sweep(bench: &Bench) -> Vec<String> {
    bench.tick();
    smol::block_on(bench.store.sweep());
    let mut left = bench.listed(EventQuery::default());
    left.sort();
    left
}

#[test]
fn a_clock_that_is_wrong_at_a_start_deletes_nothing() {
    for (difference, hours) in [(-10 * YEAR, 24), (10 * YEAR, 2)] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let first = keeping_a_day(&path);
        first.submit(vec![aged("old", 2 * DAY), aged("new", 0)]);
        first.close();
        let bench = reopened(&path, difference);
        assert_eq!(sweep(&bench), ["new", "old"]);
        assert_eq!(bench.codes(), ["clock-jumped"]);
        bench.clock.0.fetch_add(hours * 3_600_000_000 - 3_000_000, Ordering::Relaxed);
        assert_eq!(sweep(&bench), ["new", "old"], "too soon");
        // A start in between does not make the clock right.
        bench.close();
        let bench = reopened(&path, 0);
        assert_eq!(sweep(&bench), ["new", "old"]);
        bench.clock.0.fetch_add(hours * 3_600_000_000, Ordering::Relaxed);
        bench.tick();
        assert_eq!(bench.codes(), [""; 0]);
        assert_eq!(sweep(&bench), if hours == 24 { vec![] } else { vec!["new"] });
        bench.close();
    }
}

#[test]
fn a_start_a_while_later_is_no_jump() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let first = keeping_a_day(&path);
    first.submit(vec![aged("old", 2 * DAY), aged("new", 0)]);
    first.close();
    let bench = reopened(&path, -20 * DAY);
    assert_eq!(sweep(&bench), ["new"]);
    assert_eq!(bench.codes(), [""; 0]);
    bench.close();
}

/// When the delivery of the first event is due, in seconds from now.
fn due(bench: &Bench) -> i64 {
    let due = bench.read(|reader| reader.next_due("phone")).expect("it is pending");
    (due.0 - bench.clock.wall().0) / 1_000_000
}

#[test]
fn what_was_put_off_by_a_clock_that_was_ahead_is_tried_within_the_hour() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let put_off = |bench: &Bench, state| {
        let not_before = Timestamp(bench.clock.wall().0 + 10 * YEAR);
        let settled = Settlement {
            sink: "phone".into(),
            seq: 1,
            state,
            attempts: 1,
            not_before,
            error: Some("down".to_owned()),
            letter: None,
            receipt: None,
            attempt: None,
        };
        bench.submit(vec![StoreEntry::Settle(settled)]);
    };
    let bench = Bench::at(&path);
    bench.submit(vec![waiting("a")]);
    put_off(&bench, DeliveryState::Pending);
    bench.close();
    let bench = Bench::at(&path);
    assert_eq!(due(&bench), 3600);
    // While it runs: the clock goes back by itself.
    bench.clock.0.store(10_000_000_000, Ordering::Relaxed);
    bench.tick();
    put_off(&bench, DeliveryState::Pending);
    bench.submit(vec![StoreEntry::Park { sinks: Vec::new() }]);
    bench.submit(vec![StoreEntry::Park { sinks: vec!["phone".into()] }]);
    assert_eq!(due(&bench), 3600);
    bench.close();
}
