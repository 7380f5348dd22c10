//! What a power switch and a stop under load leave behind.

use crate::support::load::{self, Ledger, Load};
use crate::support::{Engine, pause};
use std::path::Path;
use std::time::Duration;

const KILLS: usize = 20;

/// A seed that is shown when the test fails; `KILL_SEED` gives an earlier one again.
#[expect(clippy::print_stderr, reason = "a run that failed has to be told again")]
fn seed() -> u64 {
    let given = std::env::var("KILL_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("KILL_SEED={seed}");
    seed
}

#[expect(clippy::print_stderr, reason = "for whoever asks for the figures with --nocapture")]
fn tell(kills: usize, unfinished: u64, ledger: &Ledger) {
    eprintln!(
        "{kills} kills, {} events acknowledged, {} answers lost, {} of them stored all the same, \
         {unfinished} found unfinished",
        ledger.sent.len(),
        ledger.unknown,
        ledger.found,
    );
}

/// Looks at what a kill left, without touching it: how many events are unfinished.
fn unfinished(data: &Path) -> u64 {
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["events.db", "events.db-wal"] {
        if data.join(name).exists() {
            std::fs::copy(data.join(name), copy.path().join(name)).expect("a copy");
        }
    }
    load::number(&load::open(copy.path()), "SELECT count(*) FROM inbox")
}

#[test]
fn twenty_kills_under_load_lose_and_double_nothing_that_was_acknowledged() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (load::doorbell(folder.path()), folder.path().join("data"));
    let clients = Load::start(3, seed);
    let (mut kills, mut seen_unfinished) = (0, 0);
    while kills < KILLS {
        let mut engine = Engine::start(&file, &data, &[]);
        clients.point_at(&engine);
        pause(Duration::from_millis(random.u64(0..350)));
        engine.kill();
        kills += 1;
        seen_unfinished += unfinished(&data);
        if random.u8(0..4) == 0 {
            // And once more while it picks up the pieces.
            let mut engine = Engine::spawn(&file, &data, &[]);
            pause(Duration::from_millis(random.u64(0..80)));
            engine.kill();
            kills += 1;
        }
    }
    let mut engine = Engine::start(&file, &data, &[]);
    clients.point_at(&engine);
    let ledger = clients.end();
    load::settle(&engine);
    assert_eq!(engine.stop(), 0);
    tell(kills, seen_unfinished, &ledger);
    let store = load::open(&data);
    load::check(&store, &ledger.sent, &[]);
    assert!(!ledger.sent.is_empty(), "there was load");
    assert!(0 < ledger.unknown, "a kill met an answer that was on its way");
    assert!(0 < seen_unfinished, "a kill met an event that waited for the weather");
    let weather = "SELECT count(*) FROM events WHERE enrich ->> '$.weather.sky' = 'overcast'";
    assert!(0 < load::number(&store, weather), "presses were told the weather");
}

#[test]
fn a_stop_under_load_exits_with_0_and_loses_nothing_that_was_acknowledged() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (load::doorbell(folder.path()), folder.path().join("data"));
    let clients = Load::start(3, seed);
    for _ in 0..3 {
        let mut engine = Engine::start(&file, &data, &[]);
        clients.point_at(&engine);
        pause(Duration::from_millis(random.u64(100..400)));
        assert_eq!(engine.stop(), 0);
    }
    let mut engine = Engine::start(&file, &data, &[]);
    clients.point_at(&engine);
    let ledger = clients.end();
    load::settle(&engine);
    assert_eq!(engine.stop(), 0);
    tell(0, 0, &ledger);
    load::check(&load::open(&data), &ledger.sent, &[]);
    assert_eq!(ledger.found, 0, "what is taken before the end is also answered");
    assert!(!ledger.sent.is_empty(), "there was load");
}
