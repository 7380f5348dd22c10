//! Failure handling on the virtual clock: breakers, rates, kept answers, and which layer wins.

use crate::retry::{Ends, dark, run_pipeline};
use crate::support::world::{Behaviour, World};
use kernel::event::Outcome;
use kernel::fault::{Cause, Fault};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::FetchRequest;

const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// A pipeline whose stage `weather` says this.
fn pipeline(top: &str, stage: &str) -> String {
    format!(
        r#"
pipeline failure schema-version=1
{top}
source http front {{
    path "/events"
    map {{ id "data.id" }}
}}
enrich http weather {{
    get "http://127.0.0.1:1/{{{{ data.number % 2 }}}}"
    {stage}
}}
sink sqlite db {{ path "never.db"; retention {{ keep "1d" }} }}
"#
    )
}

/// Runs events, one each 100 ms; the outside is down between these times. What became of
/// `weather` for each event, and when the outside was asked.
fn run(
    top: &str,
    stage: &str,
    count: usize,
    down: std::ops::Range<Duration>,
) -> (Vec<Outcome>, Vec<Duration>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let noted = calls.clone();
    let answers = move |_: &FetchRequest, now: Duration| {
        noted.lock().expect("no call panics").push(now);
        if down.contains(&now) {
            return Err(Fault::transient(Cause::Status(503), "down"));
        }
        dark()
    };
    let ends = run_pipeline(&pipeline(top, stage), count, millis(100), Arc::new(answers));
    let calls = calls.lock().expect("no call panics").clone();
    (outcomes(&ends, count), calls)
}

fn outcomes(ends: &Ends, count: usize) -> Vec<Outcome> {
    let of = |number: usize| {
        let (_, stored) = &ends[&format!("e-{number}")];
        stored.stages.iter().find(|stage| &*stage.stage == "weather").expect("it ran").outcome
    };
    (0..count).map(of).collect()
}

const NEVER: std::ops::Range<Duration> = millis(0)..millis(0);

#[test]
fn a_breaker_spares_what_is_down_and_finds_out_when_it_is_up() {
    let breaker = "breaker { trip after=3 within=\"10s\"; open-for \"1s\"; probes 1 }";
    let (outcomes, calls) = run("", breaker, 40, millis(0)..millis(1500));
    use Outcome::{CircuitOpen, Failed, Ok};
    // Open from the answer to the third call (220 ms); a probe at 1300 ms finds it down, the one
    // at 2400 ms finds it up.
    let expected: Vec<Outcome> = (0..40)
        .map(|it| match it {
            0..=2 | 13 => Failed,
            3..=12 | 14..=23 => CircuitOpen,
            _ => Ok,
        })
        .collect();
    assert_eq!(outcomes, expected);
    assert_eq!(calls.len(), 40 - 20);
}

#[test]
fn an_answer_that_is_kept_is_not_asked_for_again() {
    let (outcomes, calls) = run("", "cache \"1s\"", 30, NEVER);
    // Two questions, even and odd numbers, each asked once a second: at 0 and 100, then when the
    // answer of 20 (120) ms is older than a second.
    let expected: Vec<Duration> = [0, 100, 1200, 1300, 2400, 2500].map(millis).to_vec();
    assert_eq!(calls, expected);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Cached).count(), 24);
}

#[test]
fn an_answer_serves_those_that_wait_to_ask_the_same() {
    for limit in ["rate \"2/s\"", "concurrency 1; rate \"2/s\""] {
        let (outcomes, calls) = run("", &format!("cache \"1m\"; {limit}"), 30, NEVER);
        assert_eq!(calls, [0, 500].map(millis), "{limit}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Cached).count(), 28);
    }
}

#[test]
fn a_stale_answer_stands_in_for_one_that_cannot_be_had() {
    let cache = "cache \"200ms\" key=\"'one'\" stale-if-error=\"1s\"";
    let (outcomes, _) = run("", cache, 20, millis(200)..millis(9000));
    let cached = outcomes.iter().take_while(|outcome| **outcome != Outcome::Failed).count();
    // The answer of 20 ms serves until 1020 ms: asked at 1000 ms, given up at 1020 ms.
    assert_eq!((outcomes[0], cached), (Outcome::Ok, 11), "{outcomes:?}");
    assert!(outcomes[11..].iter().all(|outcome| *outcome == Outcome::Failed), "{outcomes:?}");
}

#[test]
fn calls_keep_to_their_rate() {
    let (outcomes, calls) = run("", "rate \"5/s\" burst=2", 10, NEVER);
    let expected: Vec<Duration> =
        [0, 100, 200, 400, 600, 800, 1000, 1200, 1400, 1600].map(millis).to_vec();
    assert_eq!(calls, expected);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Ok));
}

#[test]
fn the_nearest_layer_wins_and_the_others_fill_it() {
    let top = r#"
defaults { enrich { timeout "5s"; retry 1 { backoff constant base="10ms" jitter=none } } }
policy slow { retry 2 }
policy slower { policy slow; timeout "7s" }
"#;
    let tries = |stage: &str| {
        let (outcomes, calls) = run(top, stage, 1, millis(0)..millis(9000));
        assert_eq!(outcomes, [Outcome::Failed]);
        calls
    };
    assert_eq!(tries(""), [0, 30].map(millis), "defaults");
    assert_eq!(tries("policy slower"), [0, 30, 60].map(millis), "a policy over the defaults");
    let own = "policy slower; retry 3 { backoff constant base=\"20ms\" jitter=none }";
    assert_eq!(tries(own), [0, 40, 80, 120].map(millis), "the stage itself");
}

/// What is given up is said as such, and found again by what may help.
#[test]
fn what_is_given_up_is_said_and_has_the_class_of_its_fault() {
    let text = r#"
pipeline door schema-version=1
source http bell { path "/rings"; map { id "data.id" } }
enrich http weather {
    when "event.type == 'asked'"
    get "http://weather/"
    retry 1 { backoff constant base="50ms" }
    on-error dead-letter
}
sink sqlite db { path "x.db"; retention { keep "99d" } }
notify webhook chat { url "http://chat/"; title "x"; retry 1 { backoff constant base="50ms" } }
"#;
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start(folder, text, 1).expect("it starts");
    world.outside.behave("weather", Behaviour::Refuse);
    world.outside.behave("chat", Behaviour::Refuse);
    for (id, kind) in [("a", "asked"), ("b", "told")] {
        world.post("bell", &format!("{{\"id\":\"{id}\",\"type\":\"{kind}\"}}"));
        world.simulation.advance(Duration::from_secs(10));
    }
    let letters = world.read(|reader| {
        let event = reader.letter_of_event(1)?.expect("the event is one");
        Ok((event.class, reader.dead_letter(2)?.expect("and the delivery").class))
    });
    assert_eq!(letters, ("transient", "transient"));
    let said = world.health_changes().join("\n");
    assert!(said.contains("a delivery failed for good and is now a dead letter"), "{said}");
    // The next one that is delivered ends it.
    world.outside.behave("chat", Behaviour::Status(200, Duration::ZERO));
    world.post("bell", "{\"id\":\"c\",\"type\":\"told\"}");
    world.simulation.advance(Duration::from_secs(1));
    assert!(world.health_changes().iter().any(|it| it == "target chat is ok"));
    world.close();
}

#[test]
fn what_waits_for_a_notifier_that_is_gone_or_off_is_listed() {
    let without = r#"
pipeline door schema-version=1
server { listen "127.0.0.1:8600" }
source http bell { path "/rings"; map { id "data.id" } }
sink sqlite db { path "x.db"; retention { keep "99d" } }
notify file desk { path "desk.jsonl" }
"#;
    let chat =
        |more: &str| format!("{without}notify webhook chat {{ url \"http://chat/\"; {more} }}");
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder, &chat("title \"x\""), 1).expect("it starts");
    world.outside.behave("chat", Behaviour::Refuse);
    world.post("bell", "{\"id\":\"a\",\"type\":\"ring\"}");
    world.simulation.settle();
    for text in [without.to_owned(), chat("disabled")] {
        world.reload(&text);
        world.simulation.settle();
        for query in ["state=parked", "notifier=chat"] {
            let head = format!("GET /api/notifications?{query} HTTP/1.1");
            let (status, body) = world.request(&head, "");
            let listed = &body["notifications"][0];
            let found = (status, &listed["notifier"], &listed["state"], &listed["event_id"]);
            assert_eq!(found, (200, &json!("chat"), &json!("parked"), &json!("a")), "{body}");
        }
    }
    world.close();
}
