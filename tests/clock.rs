//! Timers on the virtual clock: restarts, kills, clocks that are set, reloads, and tables that
//! change between two ticks.

use crate::support::world::World;
use std::time::Duration;
use store::{LetterFilter, LetterOrder};
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn pipeline(rest: &str) -> String {
    format!(
        "pipeline clock schema-version=1\n{rest}\nsink sqlite db {{ path \"db.sqlite\"; retention \
         {{ keep \"99d\" }} }}\n"
    )
}

fn daily(catch_up: &str) -> String {
    pipeline(&format!(
        "source timer daily {{ cron \"30 7 * * *\"; type check; catch-up {catch_up} }}"
    ))
}

fn hourly(rest: &str) -> String {
    pipeline(&format!("source timer hourly {{ every \"1h\"; type hour; {rest} }}"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// What was stored since the last look: `01T07:30 row`.
fn sent(world: &World) -> Vec<String> {
    let stored = std::mem::take(&mut *world.stored.lock().expect("no panic"));
    let shown = |stored: &std::sync::Arc<store::StoredEvent>| {
        let (time, id) = (stored.envelope.time.to_string(), &stored.envelope.id);
        let row = id.split_once(&time).expect("the id has the time").1;
        format!("{}{}", &time[8..16], row.replace('/', " "))
    };
    stored.iter().map(shown).collect()
}

#[test]
fn a_restart_catches_up_with_what_the_file_says() {
    let check = |catch_up: &str, expected: &[&str]| {
        let world = World::start_durable(folder(), &daily(catch_up));
        world.simulation.advance(10 * HOUR);
        assert_eq!(sent(&world), ["01T07:30"], "{catch_up}");
        let world = world.restart(&daily(catch_up), 60 * HOUR);
        world.simulation.settle();
        assert_eq!(sent(&world), expected, "{catch_up}");
        // Neither again, nor after another restart.
        let world = world.restart(&daily(catch_up), HOUR);
        world.simulation.advance(HOUR);
        assert_eq!(sent(&world), Vec::<String>::new(), "{catch_up}");
        world.simulation.advance(8 * HOUR);
        assert_eq!(sent(&world), ["04T07:30"], "{catch_up}");
        world.close();
    };
    check("none", &[]);
    check("last", &["03T07:30"]);
    check("all", &["02T07:30", "03T07:30"]);
}

#[test]
fn a_short_restart_misses_nothing() {
    let world = World::start_durable(folder(), &daily("none"));
    world.simulation.advance(7 * HOUR + 29 * MINUTE + Duration::from_secs(50));
    let world = world.restart(&daily("none"), Duration::from_secs(25));
    world.simulation.settle();
    assert_eq!(sent(&world), ["01T07:30"]);
    world.close();
}

#[test]
fn a_kill_before_the_commit_loses_and_doubles_nothing() {
    let text = daily("last");
    let world = World::start_durable(folder(), &text);
    world.simulation.advance(7 * HOUR + 29 * MINUTE);
    while !world.simulation.env.clock.wall().to_string().contains("T07:30") {
        assert!(world.simulation.jump(), "it waits for the tick");
        if !world.simulation.env.clock.wall().to_string().contains("T07:30") {
            world.simulation.settle();
        }
    }
    // The tick is due, and nothing of it has happened.
    let world = world.kill(&text, HOUR);
    world.simulation.settle();
    assert_eq!(sent(&world), ["01T07:30"]);
    let world = world.kill(&text, HOUR);
    world.simulation.settle();
    assert_eq!(sent(&world), Vec::<String>::new());
    world.close();
}

#[test]
fn a_kill_between_two_transactions_of_a_tick_loses_and_doubles_no_row() {
    let folder = folder();
    let rows: String = (0..1100).map(|it| format!("r{it}\n")).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("name\n{rows}")).expect("it writes");
    let text = hourly("per table=\"rows.csv\" key=name");
    let world = World::start_durable(folder, &text);
    world.simulation.advance(HOUR - Duration::from_secs(5));
    assert!(world.simulation.jump(), "it waits for the tick");
    while world.stored.lock().expect("no panic").is_empty() {
        if !world.simulation.executor.try_tick() {
            assert!(world.simulation.jump(), "it waits for the tick");
        }
    }
    let before = sent(&world);
    assert!((1..1100).contains(&before.len()), "{} rows before the kill", before.len());
    let world = world.kill(&text, 3 * HOUR + MINUTE);
    world.simulation.settle();
    let after = sent(&world);
    let mut all: Vec<&String> = before.iter().chain(&after).collect();
    assert_eq!(all.len(), 1100);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 1100, "each row once");
    assert!(all.iter().all(|it| it.starts_with("01T01:00 r")));
    world.close();
}

#[test]
fn a_clock_that_is_set_back_sends_nothing_again_and_one_set_ahead_is_like_downtime() {
    let check = |catch_up: &str, ahead: &[&str]| {
        let text = hourly(&format!("catch-up {catch_up}"));
        let world = World::start(folder(), &text, 1).expect("it starts");
        world.simulation.advance(90 * MINUTE);
        assert_eq!(sent(&world), ["01T01:00"]);
        world.simulation.set_wall(-3600);
        world.simulation.advance(85 * MINUTE);
        assert_eq!(sent(&world), Vec::<String>::new(), "it is 01:55 for the second time");
        world.simulation.advance(35 * MINUTE);
        assert_eq!(sent(&world), ["01T02:00"]);
        world.simulation.set_wall(4 * 3600);
        world.simulation.advance(MINUTE);
        assert_eq!(sent(&world), ahead, "{catch_up}");
        world.simulation.advance(30 * MINUTE);
        assert_eq!(sent(&world), ["01T07:00"]);
        world.close();
    };
    check("none", &[]);
    check("last", &["01T06:00"]);
    check("all", &["01T03:00", "01T04:00", "01T05:00", "01T06:00"]);
}

#[test]
fn another_schedule_counts_from_the_reload_on() {
    let world = World::start(folder(), &hourly("catch-up all"), 1).expect("it starts");
    world.simulation.advance(90 * MINUTE);
    assert_eq!(sent(&world), ["01T01:00"]);
    world.reload(&hourly("catch-up all").replace("1h", "20m"));
    world.simulation.advance(20 * MINUTE);
    assert_eq!(sent(&world), ["01T01:40"]);
    // Time in which the file had no such source is like downtime.
    world.reload(&pipeline("source timer other { every \"4h\"; type other }"));
    world.simulation.advance(HOUR);
    assert_eq!(sent(&world), Vec::<String>::new());
    world.reload(&hourly("catch-up last").replace("1h", "20m"));
    world.simulation.settle();
    assert_eq!(sent(&world), ["01T02:40"]);
    world.close();
}

#[test]
fn a_table_may_change_between_two_ticks_and_a_broken_one_keeps_its_rows() {
    let folder = folder();
    let path = folder.path().join("rooms.csv");
    let write = |text: &str| std::fs::write(&path, text).expect("it writes");
    write("name\nhall\n");
    let text = hourly("per table=\"rooms.csv\" key=name");
    let mut world = World::start(folder, &text, 1).expect("it starts");
    world.simulation.advance(HOUR);
    assert_eq!(sent(&world), ["01T01:00 hall"]);
    write("name\nattic\nhall\n");
    world.reload(&text);
    world.simulation.advance(HOUR);
    assert_eq!(sent(&world), ["01T02:00 attic", "01T02:00 hall"]);
    world.health_changes();
    write("name\nattic\nattic\n");
    world.reload(&text);
    let found = "table rooms.csv is degraded: two rows of the table have the key `attic`";
    assert!(world.health_changes().iter().any(|it| it == found));
    world.simulation.advance(HOUR);
    assert_eq!(sent(&world), ["01T03:00 attic", "01T03:00 hall"]);
    write("name\n");
    world.reload(&text);
    assert!(world.health_changes().iter().any(|it| it == "table rooms.csv is ok"));
    world.simulation.advance(HOUR);
    assert_eq!(sent(&world), Vec::<String>::new());
    world.close();
    let missing = World::start(self::folder(), &text, 1).err().expect("it does not start");
    assert!(missing.contains("cannot read the table: file not found"), "{missing}");
}

#[test]
fn a_tick_that_is_rejected_keeps_its_id_and_time_for_a_redrive() {
    let refuses = "validate { rule \"*\" check=\"event.subject != 'hall'\" message=\"no\" }\n";
    let text = hourly("per table=\"rooms.csv\" key=name");
    let folder = folder();
    std::fs::write(folder.path().join("rooms.csv"), "name\nhall\n").expect("it writes");
    let strict = text.replacen("source", &format!("{refuses}source"), 1);
    let world = World::start(folder, &strict, 1).expect("it starts");
    world.simulation.advance(HOUR);
    assert_eq!(sent(&world), Vec::<String>::new());
    world.reload(&text);
    world.simulation.advance(10 * MINUTE);
    let mut letters = world.read(|reader| {
        reader.dead_letters(&LetterFilter::default(), LetterOrder::Oldest(0), 9, usize::MAX)
    });
    let letter = letters.letters.pop().expect("a letter");
    let engine = world.engine.clone();
    let redriven = world.simulation.complete(async move { engine.redrive(letter).await });
    assert_eq!(redriven.expect("no wait").expect("room").word(), "taken");
    let subject = world.stored.lock().expect("no panic")[0].envelope.subject.clone();
    assert_eq!((&*subject, sent(&world)), ("hall", vec!["01T01:00 hall".to_owned()]));
    world.close();
}
