//! One process that takes a changed topology again and again, under load.

use super::figures::{Figures, Run};
use super::hook::Hook;
use super::load::{self, Load};
use super::share;
use super::topology::{self, Core};
use crate::support::{Engine, load as store, pause, until};
use nix::sys::signal::Signal;
use std::time::Duration;

#[test]
fn a_topology_that_changes_under_load_loses_and_doubles_nothing() {
    let run = Run::begin();
    let mut random = fastrand::Rng::with_seed(run.seed);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (topology::place(folder.path()), folder.path().join("data"));
    let hook = Hook::start();
    let core = Core::telling(&hook);
    topology::save(&file, &core.with(0, "", &[]));
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    let clients = Load::start(run.seed, u64::MAX);
    clients.point_at(&engine);
    let (reloads, mut refused) = (share(500), 0);
    for round in 1..=reloads {
        if random.u8(0..10) == 0 {
            topology::save(&file, "pipeline broken schema-version=1\nsink nothing here\n");
            engine.signal(Signal::SIGHUP);
            until("it is refused", || engine.get("/readyz")["config"] == "stale");
            refused += 1;
        }
        topology::save(&file, &core.random(&mut random, round));
        engine.signal(Signal::SIGHUP);
        engine.wait_for("reloaded: ");
        pause(Duration::from_millis(random.u64(0..60)));
    }
    let ledger = clients.end();
    store::settle(&engine);
    ledger.wait_for_hook(&hook);
    assert_eq!(engine.stop(), 0);
    let store = store::open(&data);
    load::assert_settled(&store);
    let stored = ledger.against_store(&store, &["events"]);
    let told = ledger.against_hook(&hook);
    let figures = Figures {
        experiment: "reloads",
        unit: "reloads",
        count: reloads,
        acknowledged: ledger.acknowledged(),
        lost: stored.lost + told.lost,
        doubled: stored.doubled + told.doubled,
        note: format!("{refused} more files refused; {} answers cut off", ledger.broken),
        seed: run.seed,
        took: run.took(),
    };
    figures.tell();
    assert_eq!((figures.lost, figures.doubled), (0, 0), "lost and doubled");
    assert_eq!(ledger.broken, 0, "a reload breaks no connection in the middle of an answer");
    assert!(0 < figures.acknowledged, "there was load");
}
