//! SIGKILL of the engine while it publishes to a real broker, which is restarted meanwhile.
//!
//! What was accepted must reach whoever has subscribed with a session, at least once.

use super::figures::{Figures, Run};
use super::share;
use crate::support::broker::{Broker, save_house};
use crate::support::{Engine, load as store, pause, until};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

#[test]
fn what_was_accepted_is_published_whatever_is_killed() {
    let Some(mut broker) = Broker::start("kills while it publishes") else { return };
    let run = Run::begin();
    let mut random = fastrand::Rng::with_seed(run.seed);
    let (kills, restarts) = (share(20).max(3), share(5).max(1));
    let messages = share(20_000).max(1_000);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("house.kdl"), folder.path().join("data"));
    place(&file, &broker);
    let heard = broker.subscribe("out", &[]);
    let mut accepted = BTreeSet::new();
    let mut next = 0;
    for round in 1..=kills {
        let mut engine = Engine::start(&file, &data, &[]);
        let end = messages * round / kills;
        let posted = std::thread::scope(|scope| {
            let address = engine.address.clone();
            let poster = scope.spawn(move || post(&address, next..end));
            if (round * restarts) % kills < restarts {
                broker.end();
                broker.begin();
            }
            pause(Duration::from_millis(random.u64(5..400)));
            engine.kill();
            poster.join().expect("it posts what it can")
        });
        accepted.extend(posted);
        next = end;
    }
    let mut engine = Engine::start(&file, &data, &[]);
    let pending = "SELECT count(*) FROM delivery_rows WHERE state = 0";
    until("nothing waits any more", || store::number(&store::open(&data), pending) == 0);
    let numbers = || {
        let lines = heard.lines();
        let number = |text: &String| text.rsplit(' ').next()?.parse::<u64>().ok();
        lines.iter().filter_map(number).collect::<Vec<u64>>()
    };
    until("everything came", || {
        let came: BTreeSet<u64> = numbers().into_iter().collect();
        accepted.is_subset(&came)
    });
    assert_eq!(engine.stop(), 0);
    let all = numbers();
    let different: BTreeSet<u64> = all.iter().copied().collect();
    let figures = Figures {
        experiment: "publishing",
        unit: "kills",
        count: kills,
        acknowledged: accepted.len() as u64,
        lost: accepted.difference(&different).count() as u64,
        // After a kill a message may come again; its id tells.
        note: format!(
            "{restarts} restarts of mosquitto; {} messages came again after a kill",
            all.len() - different.len(),
        ),
        seed: run.seed,
        took: run.took(),
        ..Figures::default()
    };
    figures.tell();
    assert_eq!(figures.lost, 0, "lost");
}

/// Posts events in lots of 100 until the engine is gone; the numbers of those that it accepted.
fn post(address: &str, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let mut accepted = Vec::new();
    for lot in numbers.collect::<Vec<u64>>().chunks(100) {
        let lines: String = lot.iter().map(|it| format!("{{\"n\":{it}}}\n")).collect();
        let answer = crate::support::ask_as(
            address,
            "POST",
            "/events",
            "application/x-ndjson",
            lines.as_bytes(),
        );
        match answer {
            Ok((200..300, _)) => accepted.extend(lot),
            _ => return accepted,
        }
    }
    accepted
}

fn place(file: &Path, broker: &Broker) {
    let nodes = format!(
        "source http front {{\n    path \"/events\"\n    type message\n}}\n\
         sink mqtt out {{\n    url \"{}\"\n    topic out\n    body \"{{{{ data.n }}}}\"\n\
         retry {{ backoff exponential base=\"100ms\" max=\"1s\" }}\n}}\n",
        broker.url()
    );
    save_house(file, &nodes);
}
