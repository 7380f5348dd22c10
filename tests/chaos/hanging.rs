//! Neighbours that accept and never answer, answer a byte at a time, or hang up.

use super::figures::{Figures, Run};
use super::hook::{Hook, Manner};
use super::load::{self, Load};
use super::share;
use super::topology::{self, Core};
use crate::support::{Engine, load as store};

#[test]
fn a_neighbour_that_hangs_holds_up_nothing_that_is_acknowledged() {
    let run = Run::begin();
    let mut random = fastrand::Rng::with_seed(run.seed);
    let runs = share(100);
    let (mut figures, mut manners, mut again) = (Figures::default(), [0; 3], 0);
    for _ in 0..runs {
        let kind = random.usize(0..3);
        manners[kind] += 1;
        let manner = [Manner::Silent, Manner::Dripping, Manner::Reset][kind];
        // A call that is given up after a short time may have been taken all the same.
        let is_short = random.u8(0..4) == 0;
        let told_again = one(random.u64(..), manner, is_short, &mut figures);
        match is_short {
            true => again += told_again,
            false => figures.doubled += told_again,
        }
    }
    let [silent, dripping, reset] = manners;
    let figures = Figures {
        experiment: "hanging neighbours",
        unit: "runs",
        count: runs,
        note: format!(
            "{silent} silent, {dripping} a byte at a time, {reset} reset; told again after a \
             timeout: {again}"
        ),
        seed: run.seed,
        took: run.took(),
        ..figures
    };
    figures.tell();
    assert_eq!((figures.lost, figures.doubled), (0, 0), "lost and doubled");
}

/// One engine whose outside hangs while everything is acknowledged, and then answers. How many
/// deliveries were taken twice.
fn one(seed: u64, manner: Manner, is_short: bool, figures: &mut Figures) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (topology::place(folder.path()), folder.path().join("data"));
    let hook = Hook::start();
    hook.behave(manner);
    let timeout = if is_short { "200ms" } else { "60s" };
    let core = Core { timeout, ..Core::telling(&hook) };
    let asks = format!(
        "enrich http sky {{ get \"{}/sky\"; when \"data.tell == true\"; timeout \"100ms\" }}\n\
         notify webhook other {{ url \"{}/other\"; timeout \"{timeout}\" }}",
        hook.url, hook.url
    );
    topology::save(&file, &core.with(0, &asks, &["other".to_owned()]));
    let mut engine = Engine::start(&file, &data, &[]);
    let clients = Load::start(seed, 60);
    clients.point_at(&engine);
    // Everything is acknowledged before anybody outside has answered.
    let ledger = clients.join();
    assert!(hook.told().is_empty(), "nobody was told");
    hook.behave(Manner::Good);
    store::settle(&engine);
    ledger.wait_for_hook(&hook);
    assert_eq!(engine.stop(), 0);
    let store = store::open(&data);
    load::assert_settled(&store);
    let (stored, told) = (ledger.against_store(&store, &["events"]), ledger.against_hook(&hook));
    figures.acknowledged += ledger.acknowledged();
    figures.lost += stored.lost + told.lost;
    figures.doubled += stored.doubled;
    told.doubled
}
