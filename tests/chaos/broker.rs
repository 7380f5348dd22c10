//! SIGKILL of the engine while a real broker takes 20,000 messages a second for it, and is
//! restarted meanwhile.
//!
//! Messages have QoS 1 and say nothing by which the engine could know one again, so each that is
//! stored more often than it was sent was doubled by us.

use super::figures::{Figures, Run};
use super::share;
use crate::support::broker::{Broker, save_house};
use crate::support::sender::BrokerSender;
use crate::support::{Engine, load as store, pause, until};
use std::path::Path;
use std::time::Duration;

/// Messages a second.
const RATE: u64 = 20_000;

#[test]
fn what_a_broker_sends_is_stored_once_whatever_is_killed() {
    let Some(mut broker) = Broker::quiet("kills with a broker") else { return };
    let run = Run::begin();
    let mut random = fastrand::Rng::with_seed(run.seed);
    let (kills, restarts) = (share(20).max(3), share(5).max(1));
    let messages = share(60_000).max(3_000);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("house.kdl"), folder.path().join("data"));
    place(&file, &broker);
    // The session begins before the first message.
    let mut engine = Engine::start(&file, &data, &[]);
    until("it has subscribed", || broker.log().contains("engine-house-home"));
    let mut sender = BrokerSender::new(broker.port, "chaos/messages", Some(RATE));
    for round in 1..=kills {
        let end = usize::try_from(messages * round / kills).expect("a number");
        let length = messages / kills * 1_000 / RATE;
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| sender.publish_up_to(end));
            pause(Duration::from_millis(random.u64(0..length)));
            engine.kill();
            if (round * restarts) % kills < restarts {
                pause(Duration::from_millis(random.u64(0..length / 2)));
                broker.end();
                broker.begin();
            }
            engine = Engine::start(&file, &data, &[]);
            publishing.join().expect("everything is sent");
        });
    }
    let stored = || store::number(&store::open(&data), "SELECT count(*) FROM events");
    until("everything is stored", || messages <= stored());
    assert_eq!(engine.stop(), 0);
    let counts = counts(&data);
    let of = |number: usize| counts.get(&number).copied().unwrap_or(0);
    let sent = sender.sent().iter().map(|times| u64::from(*times)).enumerate();
    let figures = Figures {
        experiment: "a broker",
        unit: "kills",
        count: kills,
        acknowledged: messages,
        lost: (0..sender.sent().len()).filter(|number| of(*number) == 0).count() as u64,
        doubled: sent.map(|(number, times)| of(number).saturating_sub(times)).sum(),
        note: format!(
            "{restarts} restarts of mosquitto, which took {} messages/s with QoS 1; {} of them \
             were sent again by their sender",
            sender.held(),
            sender.sent().iter().map(|times| u64::from(*times) - 1).sum::<u64>(),
        ),
        seed: run.seed,
        took: run.took(),
    };
    figures.tell();
    assert_eq!((figures.lost, figures.doubled), (0, 0), "lost and doubled");
}

/// How often each number is stored.
fn counts(data: &Path) -> std::collections::HashMap<usize, u64> {
    let sql = "SELECT json_extract(data, '$.n'), count(*) FROM events GROUP BY 1";
    let store = store::open(data);
    let mut statement = store.prepare(sql).expect("a query");
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?.unsigned_abs() as usize, row.get::<_, i64>(1)?.unsigned_abs()))
    };
    statement.query_map([], row).expect("it runs").map(|row| row.expect("a row")).collect()
}

pub(super) fn place(file: &Path, broker: &Broker) {
    let nodes = format!(
        "source mqtt home {{\n    url \"{}\"\n    topic \"chaos/#\" qos=1\n    type message\n}}\n",
        broker.url()
    );
    save_house(file, &nodes);
}
