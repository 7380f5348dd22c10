//! SIGKILL of the engine while it takes messages from a real broker, which is restarted meanwhile.
//!
//! Messages have QoS 1 and say nothing by which the engine could know one again, so each that is
//! stored twice was doubled by us.

use super::figures::{Figures, Run};
use super::share;
use crate::support::broker::Broker;
use crate::support::{Engine, load as store, pause, until};
use std::path::Path;
use std::time::Duration;

#[test]
fn what_a_broker_sends_is_stored_once_whatever_is_killed() {
    let Some(mut broker) = Broker::start("kills with a broker") else { return };
    let run = Run::begin();
    let mut random = fastrand::Rng::with_seed(run.seed);
    let (kills, restarts) = (share(20).max(3), share(5).max(1));
    let messages = share(60_000).max(3_000);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("house.kdl"), folder.path().join("data"));
    place(&file, &broker);
    // The session begins before the first message.
    let mut engine = Engine::start(&file, &data, &[]);
    until("it has subscribed", || broker.log().contains("Sending SUBACK"));
    let mut next = 0;
    for round in 1..=kills {
        let until = messages * round / kills;
        let lines = (next..until).map(|number| format!("{{\"n\":{number}}}"));
        next = until;
        std::thread::scope(|scope| {
            let publisher = scope.spawn(|| broker.publish_lines("chaos/messages", lines));
            pause(Duration::from_millis(random.u64(5..200)));
            engine.kill();
            publisher.join().expect("everything is sent");
        });
        if (round * restarts).is_multiple_of(kills) || (round * restarts) % kills < restarts {
            broker.end();
            broker.begin();
        }
        engine = Engine::start(&file, &data, &[]);
    }
    let count = |data: &Path, sql: &str| store::number(&store::open(data), sql);
    let all = "SELECT count(*) FROM events";
    until("everything is stored", || messages <= count(&data, all));
    assert_eq!(engine.stop(), 0);
    let different = "SELECT count(DISTINCT json_extract(data, '$.n')) FROM events";
    let (stored, different) = (count(&data, all), count(&data, different));
    let figures = Figures {
        experiment: "a broker",
        unit: "kills",
        count: kills,
        acknowledged: messages,
        lost: messages - different,
        doubled: stored - different,
        note: format!("{restarts} restarts of mosquitto; acknowledged is what it took with QoS 1"),
        seed: run.seed,
        took: run.took(),
    };
    figures.tell();
    assert_eq!((figures.lost, figures.doubled), (0, 0), "lost and doubled");
}

fn place(file: &Path, broker: &Broker) {
    let text = format!(
        "pipeline house schema-version=1\nstore \"events.db\" {{\n    keep \"7d\"\n}}\n\
         source mqtt home {{\n    url \"{}\"\n    topic \"chaos/#\" qos=1\n    type message\n}}\n",
        broker.url()
    );
    std::fs::write(file, text).expect("it can be written");
}
