//! What a flood from a real broker comes to without kills: how fast it is stored, and how much
//! memory it takes.

use super::broker::place;
use super::figures::{Figures, Run};
use super::share;
use crate::support::broker::Broker;
use crate::support::sender::BrokerSender;
use crate::support::{Engine, until};
use std::path::Path;
use std::time::Instant;

/// Megabytes that an engine may take with any number of messages waiting for it.
const MEMORY_MAX: f64 = 64.0;

#[test]
fn a_flood_is_stored_as_it_comes_and_as_a_backlog() {
    let Some(broker) = Broker::quiet("a flood") else { return };
    let run = Run::begin();
    let messages = usize::try_from(share(200_000)).expect("a number");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("house.kdl"), folder.path().join("data"));
    place(&file, &broker);
    let mut sender = BrokerSender::new(broker.port, "chaos/messages", None);
    let mut engine = Engine::start(&file, &data, &[]);
    until("it has subscribed", || broker.log().contains("engine-house-home"));
    let live = rate(messages, || {
        sender.publish_up_to(messages);
        until("all came", || stored(&data) == messages);
    });
    assert_eq!(engine.stop(), 0);
    sender.publish_up_to(2 * messages);
    let mut engine = Engine::start(&file, &data, &[]);
    let backlog = rate(messages, || until("all came", || stored(&data) == 2 * messages));
    let peak = engine.peak_memory();
    assert_eq!(engine.stop(), 0);
    let figures = Figures {
        experiment: "a flood from a broker",
        unit: "messages",
        count: 2 * messages as u64,
        acknowledged: 2 * messages as u64,
        note: format!(
            "{live} messages/s as they come, {backlog} as a backlog, which took {peak:.1} MB"
        ),
        seed: run.seed,
        took: run.took(),
        ..Figures::default()
    };
    figures.tell();
}

#[test]
fn what_a_broker_had_kept_takes_little_memory() {
    let Some(broker) = Broker::quiet("kept messages") else { return };
    let run = Run::begin();
    let messages = usize::try_from(share(100_000)).expect("a number");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("house.kdl"), folder.path().join("data"));
    place(&file, &broker);
    BrokerSender::keeping(broker.port, "chaos").publish_up_to(messages);
    let mut engine = Engine::start(&file, &data, &[]);
    until("all came", || stored(&data) == messages);
    let peak = engine.peak_memory();
    assert_eq!(engine.stop(), 0);
    let figures = Figures {
        experiment: "kept messages",
        unit: "messages",
        count: messages as u64,
        acknowledged: messages as u64,
        note: format!("retained, at one connection; they took {peak:.1} MB"),
        seed: run.seed,
        took: run.took(),
        ..Figures::default()
    };
    figures.tell();
    assert!(peak < MEMORY_MAX || cfg!(debug_assertions), "{peak:.1} MB");
}

/// How many a second.
#[expect(clippy::disallowed_methods, reason = "the rate in the world is the figure")]
fn rate(messages: usize, run: impl FnOnce()) -> u64 {
    let started = Instant::now();
    run();
    (messages as f64 / started.elapsed().as_secs_f64()) as u64
}

/// How many events a running engine has stored.
fn stored(data: &Path) -> usize {
    let store = rusqlite::Connection::open(data.join("events.db")).expect("it opens");
    let sql = "SELECT count(*) FROM event_rows";
    store.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number") as usize
}
