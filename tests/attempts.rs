//! Single attempts of stages and deliveries, as the timeline of an event shows them, against what
//! the outside saw: on the virtual clock, with kills, restarts and reloads in between.

use crate::support::world::{Behaviour, Call, World};
use fastrand::Rng;
use kernel::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 8;
const STEPS: usize = 60;
const SKY_TIMEOUT: Duration = Duration::from_secs(1);
const HOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// How many of the first and of the last attempts are shown.
const ENDS: usize = 4;

fn pipeline(base: &str) -> String {
    format!(
        r#"
pipeline attempts schema-version=1
limits {{ event-timeout "10m" }}
source http front {{ path "/events"; map {{ id "data.id" }} }}
enrich http sky {{
    get "http://sky.example/{{{{ event.id }}}}"
    retry 12 {{ backoff constant base="{base}" jitter=none }}
    timeout "1s"
}}
sink sqlite db {{ path "never.db"; retention {{ keep "99d" }} }}
notify webhook hook {{
    url "http://hook.example/"
    body "{{{{ event.id }}}}"
    retry {{ backoff constant base="{base}" jitter=none }}
    timeout "2s"
}}
"#
    )
}

/// An attempt as the timeline has to show it.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    began: Timestamp,
    ended: Timestamp,
    outcome: &'static str,
}

impl Expected {
    /// The attempt that is kept of a call, where its engine was up until its end. A call that is
    /// dropped before its time is over ended with its stage or target, at a reload.
    fn of(call: &Call) -> Option<Self> {
        let (began, ended) = (call.began_at, call.ended_at?);
        let timeout = if call.url.contains("sky") { SKY_TIMEOUT } else { HOOK_TIMEOUT };
        if call.is_given_up && ended.since(began) < timeout {
            return None;
        }
        let outcome = match call.answered {
            Some(200) => "ok",
            Some(400) => "permanent",
            Some(401) => "configuration",
            _ => "transient",
        };
        Some(Expected { began, ended, outcome })
    }
}

/// Attempts by the event's id.
type Attempts = BTreeMap<String, Vec<Expected>>;

/// What the outside saw over all runs of the engine.
#[derive(Default)]
struct Seen {
    hook: Attempts,
    /// A stage that had not ended begins again with the next run.
    sky: Attempts,
    /// Events of which a stage had ended.
    ended: BTreeMap<String, Vec<Expected>>,
}

impl Seen {
    /// Notes the calls of a run that ends: those that had ended, and of those that ended while the
    /// engine stopped only what was accepted.
    fn note(&mut self, before: &[Call], after: &[Call]) {
        for (before, call) in before.iter().zip(after) {
            let is_kept = before.ended_at.is_some() || call.answered == Some(200);
            let Some(expected) = Expected::of(call).filter(|_| is_kept) else { continue };
            match call.url.strip_prefix("http://sky.example/") {
                Some(id) => self.sky.entry(id.to_owned()).or_default().push(expected),
                None => self.hook.entry(call.body.clone()).or_default().push(expected),
            }
        }
        for (id, attempts) in std::mem::take(&mut self.sky) {
            if attempts.last().is_some_and(|it| it.outcome == "ok") || attempts.len() == 13 {
                self.ended.insert(id, attempts);
            }
        }
    }
}

fn calls(world: &World) -> Vec<Call> {
    world.outside.calls.lock().expect("no panic").clone()
}

fn behave(world: &World, random: &mut Rng) {
    let wait = Duration::from_millis(random.u64(0..1500));
    let any = [200, 503, 429, 408];
    let status = *random.choice(&any).expect("there are some");
    let behaviour = match random.u8(0..8) {
        0 => Behaviour::Hang,
        1 => Behaviour::Refuse,
        _ => Behaviour::Status(status, wait),
    };
    match random.u8(0..6) {
        0..3 => world.outside.behave("sky.example", behaviour),
        3 => world.outside.behave("hook.example", Behaviour::Status(401, wait)),
        4 if random.u8(0..4) == 0 => {
            world.outside.behave("hook.example", Behaviour::Status(400, wait));
        }
        _ => world.outside.behave("hook.example", behaviour),
    }
}

/// The log that shows these attempts; `None` where there is none to show.
fn shown(attempts: &[Expected], at_least: usize) -> Value {
    if attempts.len() < at_least {
        return Value::Null;
    }
    let is_kept = |at: usize| at < ENDS || attempts.len() <= at + ENDS;
    let numbered = attempts.iter().enumerate().filter(|(at, _)| is_kept(*at));
    let rows = numbered.map(|(at, it)| {
        let next = attempts.get(at + 1).filter(|_| is_kept(at + 1));
        json!({
            "number": at + 1,
            "began": it.began.to_string(),
            "micros": it.ended.since(it.began).as_micros() as u64,
            "outcome": it.outcome,
            "wait_micros": next.map(|next| next.began.since(it.ended).as_micros() as u64),
        })
    });
    rows.collect()
}

/// The log of the API without its reasons, which are checked by themselves.
fn told(of: &Value) -> Value {
    let mut log = of["attempt_log"].clone();
    for row in log.as_array_mut().into_iter().flatten() {
        let reason = row.as_object_mut().expect("an object").remove("reason");
        let has_reason = reason.is_some_and(|it| it.as_str().is_some_and(|it| !it.is_empty()));
        assert_eq!(has_reason, row["outcome"] != "ok", "{row}");
    }
    log
}

fn detail(world: &World, id: &str) -> Value {
    let (status, event) = world.request(&format!("GET /api/events/{id} HTTP/1.1"), "");
    assert_eq!(status, 200, "{event}");
    event
}

#[test]
fn the_timeline_shows_the_attempts_that_the_outside_saw() {
    let (mut most, mut left_out) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let mut text = pipeline("700ms");
        let mut world = World::start_durable(folder, &text);
        let (mut seen, mut events, mut steps) = (Seen::default(), 0, Vec::new());
        for _ in 0..STEPS {
            let down = Duration::from_millis(random.u64(1..20_000));
            let step = random.u8(0..16);
            steps.push((world.simulation.env.clock.wall().to_string(), step, down));
            // What has ended is written before the engine stops.
            world.simulation.settle();
            match step {
                0..4 => {
                    events += 1;
                    world.post("front", &format!(r#"{{"id":"e{events}","type":"ring"}}"#));
                }
                4..9 => behave(&world, &mut random),
                // A stop that takes no event along whose stages are under way, or none at all.
                9 | 10 if 0 < world.engine.in_flight_count() => {
                    let before = calls(&world);
                    world = world.kill(&text, down);
                    seen.note(&before, &before);
                }
                9 | 10 => {
                    let (before, outside) = (calls(&world), world.outside.clone());
                    world = world.restart(&text, down);
                    let after = outside.calls.lock().expect("no panic").clone();
                    seen.note(&before, &after);
                }
                11 => {
                    text = pipeline(random.choice(["700ms", "3s", "11s"]).expect("some"));
                    world.reload(&text);
                }
                _ => world.simulation.advance(down),
            }
        }
        for host in ["sky.example", "hook.example"] {
            world.outside.behave(host, Behaviour::Status(200, Duration::from_millis(20)));
        }
        world.simulation.advance(Duration::from_secs(3600));
        let last = calls(&world);
        seen.note(&last, &last);
        for number in 1..=events {
            let id = format!("e{number}");
            let (event, context) = (detail(&world, &id), format!("seed {seed}, {id}, {steps:?}"));
            assert_eq!(event["state"], "stored", "{context}");
            let delivery = &event["deliveries"][0];
            assert!(["done", "dead"].contains(&delivery["state"].as_str().expect("a state")));
            let hook = &seen.hook[&id];
            assert_eq!(told(delivery), shown(hook, 1), "{context}: {hook:?}");
            let sky = &seen.ended[&id];
            let stage = &event["stages"][0];
            assert_eq!(stage["attempts"], sky.len(), "{context}");
            assert_eq!(told(stage), shown(sky, 2), "{context}: {sky:?}");
            most = most.max(hook.len());
            left_out += usize::from(2 * ENDS < hook.len());
        }
        world.close();
    }
    assert!(12 < most && 3 < left_out, "there were many attempts: {most}, {left_out}");
}

/// What is shown of a reason is no more than what the delivery says of its last one.
#[test]
fn a_reason_is_that_of_the_delivery() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start_durable(folder, &pipeline("5s"));
    world.outside.behave("hook.example", Behaviour::Status(503, Duration::ZERO));
    world.post("front", r#"{"id":"a","type":"ring"}"#);
    world.simulation.advance(Duration::from_secs(12));
    let event = detail(&world, "a");
    let delivery = &event["deliveries"][0];
    assert_eq!(delivery["state"], "pending");
    let log = delivery["attempt_log"].as_array().expect("a log");
    assert_eq!(log.len() as u64, delivery["attempts"].as_u64().expect("a number"));
    assert!(log.iter().all(|it| it["reason"] == delivery["last_error"]), "{delivery}");
    let waits: Vec<&Value> = log.iter().map(|it| &it["wait_micros"]).collect();
    assert!(waits.iter().all(|wait| **wait == 5_000_000), "also that to come: {waits:?}");
    world.close();
}
