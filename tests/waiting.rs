//! Notifications that wait: while the wall clock is set, and while there is no room.

use crate::support::world::{Behaviour, World};
use std::time::Duration;
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);

/// A notifier that waits ten minutes, by the reason for which it waits: what it says, which service
/// hears of it then, and how many messages that heard before.
const WAITS: [(&str, &str, &str, usize); 5] = [
    (
        "escalate",
        r#"escalate after="10m" to=boss key="event.subject" until="event.type == 'seen'""#,
        "boss",
        0,
    ),
    ("repeat", r#"repeat "10m" key="event.subject" max=1"#, "phone", 1),
    ("wait", r#"wait for="event.type == 'face'" up-to="10m" key="event.subject""#, "phone", 0),
    ("group", r#"group "10m" key="event.subject""#, "phone", 0),
    ("rate", r#"rate "6/h" burst=1 excess=delay"#, "phone", 1),
];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn pipeline(rest: &str, more: &str) -> String {
    format!(
        r#"
pipeline waiting schema-version=1
source http front {{ path "/events"; map {{ id "data.id"; type "data.type"; subject "'door'" }} }}
sink sqlite db {{ path "never.db"; retention {{ keep "99d" }} }}
notify webhook phone {{ url "http://phone.example/"; body "{{{{ event.id }}}}"; {rest} }}
notify webhook boss {{ url "http://boss.example/"; body "{{{{ event.id }}}}"; when "event.type == 'never'" }}
{more}
"#
    )
}

fn post(world: &World, id: &str) {
    let body = format!(r#"{{"id":"{id}","type":"ring"}}"#);
    assert_eq!(world.post("front", &body), "accepted");
    world.simulation.settle();
}

/// What a service was sent: the bodies.
fn heard(world: &World, name: &str) -> Vec<String> {
    let url = format!("http://{name}.example/");
    let calls = world.outside.calls.lock().expect("no panic");
    calls.iter().filter(|call| call.url == url).map(|call| call.body.clone()).collect()
}

/// One look at the clock, as there is once a second.
fn tick(world: &World) {
    let engine = world.engine.clone();
    world.simulation.complete(async move { engine.store.tick().await }).expect("at once");
}

/// An event of each kind waits for the other nine minutes, whatever the clock is set to.
#[test]
fn what_waits_is_as_far_away_after_the_clock_was_set() {
    for (word, rule, service, before) in WAITS {
        for seconds in [-86_400, -3600, -60, 60, 3600, 400 * 86_400] {
            let context = format!("{word}, the clock is set by {seconds} s");
            let world = World::start_durable(folder(), &pipeline(rule, ""));
            world.simulation.advance(100 * MINUTE);
            post(&world, "a");
            if word == "rate" {
                post(&world, "b");
            }
            world.simulation.advance(MINUTE);
            world.simulation.set_wall(seconds);
            tick(&world);
            world.simulation.advance(9 * MINUTE - Duration::from_secs(5));
            assert_eq!(heard(&world, service).len(), before, "{context}: too early");
            world.simulation.advance(Duration::from_secs(10));
            assert_eq!(heard(&world, service).len(), before + 1, "{context}: too late");
            world.close();
        }
    }
}

/// While the engine is down, nobody sees the clock being set back: nothing is sent at once, and
/// nothing waits for longer than it would from now on.
#[test]
fn a_clock_that_is_set_back_during_a_restart_neither_sends_at_once_nor_puts_off() {
    for (word, rule, service, before) in WAITS {
        let text = pipeline(rule, "");
        let world = World::start_durable(folder(), &text);
        world.simulation.advance(100 * MINUTE);
        post(&world, "a");
        if word == "rate" {
            post(&world, "b");
        }
        world.simulation.advance(MINUTE);
        assert_eq!(heard(&world, service).len(), before, "{word}");
        world.simulation.set_wall(-7200);
        let world = world.kill(&text, Duration::ZERO);
        world.simulation.advance(8 * MINUTE);
        assert_eq!(heard(&world, service), Vec::<String>::new(), "{word}: too early");
        world.simulation.advance(3 * MINUTE);
        assert_eq!(heard(&world, service).len(), 1, "{word}: too late");
        world.close();
    }
}

/// A rate that drops what is too much drops it for no longer because a clock was ahead.
#[test]
fn a_rate_from_a_clock_that_was_ahead_ends_with_its_own_time() {
    let text = pipeline(r#"rate "6/h" burst=1 excess=drop"#, "");
    let world = World::start_durable(folder(), &text);
    world.simulation.advance(100 * MINUTE);
    post(&world, "a");
    world.simulation.set_wall(-5000);
    let world = world.kill(&text, Duration::ZERO);
    world.simulation.advance(10 * MINUTE);
    post(&world, "b");
    world.simulation.advance(10 * MINUTE);
    post(&world, "c");
    world.simulation.advance(MINUTE);
    assert!(heard(&world, "phone").contains(&"c".to_owned()), "{:?}", heard(&world, "phone"));
    world.close();
}

/// One that is down for good, with room for one message, and another notifier for when nobody
/// reacts.
fn crowded(rule: &str) -> String {
    pipeline(
        &format!(
            r#"backlog 1 on-full=drop-oldest; {rule}
               escalate after="10m" to=boss key="event.id" until="event.type == 'seen'""#
        ),
        "",
    )
}

#[test]
fn what_a_full_backlog_drops_is_still_handed_on_when_nobody_reacts() {
    let world = World::start_durable(folder(), &crowded(""));
    world.outside.behave("phone.example", Behaviour::Refuse);
    post(&world, "a");
    world.simulation.advance(MINUTE);
    post(&world, "b");
    world.simulation.advance(9 * MINUTE + Duration::from_secs(30));
    assert_eq!(heard(&world, "boss"), Vec::<String>::new(), "it was dropped a minute later");
    world.simulation.advance(MINUTE);
    assert_eq!(heard(&world, "boss"), ["a"], "nobody was told of it");
    world.simulation.advance(60 * MINUTE);
    assert_eq!(heard(&world, "boss"), ["a"], "the other one may still be delivered");
    world.close();
}

#[test]
fn what_finds_no_room_from_the_beginning_is_handed_on_as_well() {
    // What waits for the morning cannot be dropped, and leaves no room.
    let rule = r#"quiet-hours "00:00-06:00" zone="UTC" then=delay"#;
    let world = World::start_durable(folder(), &crowded(rule));
    post(&world, "a");
    post(&world, "b");
    world.simulation.advance(11 * MINUTE);
    assert_eq!(heard(&world, "boss"), ["b"]);
    world.close();
}

#[test]
fn what_a_rule_of_the_file_drops_is_not_handed_on() {
    let rule = r#"quiet-hours "00:00-06:00" zone="UTC" then=drop"#;
    let world = World::start_durable(folder(), &crowded(rule));
    post(&world, "a");
    world.simulation.advance(60 * MINUTE);
    assert_eq!(heard(&world, "boss"), Vec::<String>::new());
    world.close();
}
