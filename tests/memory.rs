//! What stages remember: random events, late and doubled, and reloads, against closed formulas of
//! what is to be told; the same as a backlog; and over a kill of the real binary.

use crate::support::world::World;
use crate::support::{Engine, until};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

const SEQUENCES: u64 = 40;
const EVENTS: usize = 40;
const DOORS: [&str; 3] = ["front", "back", "side"];
/// 2026-01-01T00:00:00Z, where the virtual clock begins.
const START: i64 = 1_767_225_600;

const HOLD: i64 = 600;
const AGAIN: i64 = 400;
const WITHIN: i64 = 30;
const SILENT: i64 = 900;
const WINDOW: i64 = 60;

fn pipeline(comment: &str) -> String {
    format!(
        r#"
// {comment}
pipeline memory schema-version=1
source http hook {{
    path "/hook"
    map {{ id "data.id"; type "data.type"; time "get(data, 'at')"; subject "data.door" }}
}}
dedupe rings {{ when "event.type == 'ring'"; key "event.subject"; window "{WINDOW}s" }}
changes lamps {{ when "event.type == 'lamp'"; key "event.subject"; value "data.n % 2" }}
watch open {{
    when "event.type in ['open', 'shut']"
    key "event.subject"
    hold "event.type == 'open'" for="{HOLD}s" again="{AGAIN}s"
    emit left-open back=shut-again
}}
watch quiet {{
    when "event.type in ['open', 'shut', 'motion', 'face', 'lamp', 'ring']"
    key "event.subject"
    silent "{SILENT}s"
    emit quiet back=loud
}}
join visit {{
    key "event.subject"
    first "event.type == 'motion'"
    then "event.type == 'face'" within="{WITHIN}s"
    emit known missed=unknown
}}
sink sqlite db {{ path "db.sqlite"; retention {{ keep "30d" }} }}
"#
    )
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    /// When it comes, and when it happened.
    now: i64,
    at: i64,
    kind: &'static str,
    door: &'static str,
    number: usize,
}

impl Sent {
    /// The same event again has the same bytes.
    fn text(&self) -> String {
        let Sent { at, kind, door, number, .. } = self;
        let at = START + at;
        format!(r#"{{"id":"{number}","type":"{kind}","door":"{door}","n":{number},"at":{at}}}"#)
    }
}

impl Sent {
    /// Whether it comes out of order: it is stored, and says nothing of what holds.
    fn is_late(&self) -> bool {
        self.at < self.now
    }
}

fn draw(random: &mut Rng) -> Vec<Sent> {
    let mut now = 1;
    let mut sent: Vec<Sent> = Vec::new();
    while sent.len() < EVENTS {
        now += *random.choice(&[1, 7, 29, 30, 31, 120, 600, 900, 2000]).expect("not empty");
        let kinds = ["open", "shut", "motion", "face", "lamp", "ring"];
        let kind = random.choice(kinds).expect("not empty");
        let door = random.choice(DOORS).expect("not empty");
        sent.push(Sent { now, at: now, kind, door, number: sent.len() });
        // One that is older than what is known of the door.
        let known = sent.iter().rfind(|it| it.door == door && is_state(it.kind) && !it.is_late());
        let known = known.map(|it| it.at).filter(|at| now - at < HOLD / 2);
        if let Some(at) = known.filter(|_| random.u8(..4) == 0) {
            let kind = random.choice(["open", "shut"]).expect("not empty");
            let at = at - random.i64(1..=WITHIN);
            sent.push(Sent { now, at, kind, door, number: sent.len() });
        }
    }
    sent
}

fn is_state(kind: &str) -> bool {
    matches!(kind, "open" | "shut")
}

/// What is to be in the store, by type, door and second: how often.
type Told = BTreeMap<(String, String, i64), usize>;

/// Worked out from the whole of the events, and not step by step.
fn expected(sent: &[Sent], end: i64) -> Told {
    let mut told = Told::new();
    for door in DOORS {
        let all: Vec<&Sent> = sent.iter().filter(|it| it.door == door).collect();
        let mut tell = |kind: &str, at: i64| {
            *told.entry((kind.to_owned(), door.to_owned(), at)).or_default() += 1;
        };
        held(&all, end, &mut tell);
        paired(&all, end, &mut tell);
        let stored = passed(&all, &mut tell);
        silences(&stored, end, &mut tell);
    }
    told
}

fn held(all: &[&Sent], end: i64, tell: &mut impl FnMut(&str, i64)) {
    let mut since: Option<i64> = None;
    let states = all.iter().filter(|it| is_state(it.kind) && !it.is_late());
    let states = states.map(|state| (state.at, state.kind == "open")).chain([(end, false)]);
    for (at, is_open) in states {
        match since {
            None if is_open => since = Some(at),
            Some(from) if !is_open => {
                let tells: Vec<i64> =
                    (0..).map(|n| from + HOLD + n * AGAIN).take_while(|it| *it <= at).collect();
                tells.iter().for_each(|at| tell("left-open", *at));
                if !tells.is_empty() && at != end {
                    tell("shut-again", at);
                }
                since = None;
            }
            _ => {}
        }
    }
}

fn paired(all: &[&Sent], end: i64, tell: &mut impl FnMut(&str, i64)) {
    let mut next = 0;
    while let Some(first) = all[next..].iter().position(|it| it.kind == "motion") {
        let (at, until) = (all[next + first].at, all[next + first].at + WITHIN);
        let rest = &all[next + first + 1..];
        // At the very end the time comes before the event.
        let then =
            rest.iter().position(|it| it.kind == "face").filter(|index| rest[*index].at < until);
        match then {
            Some(then) => {
                tell("known", rest[then].at);
                next += first + 2 + then;
            }
            None => {
                if until <= end {
                    tell("unknown", until);
                }
                next += first + 1 + rest.iter().take_while(|it| it.at < until).count();
            }
        }
        debug_assert!(at <= until);
    }
}

/// Events that the filters let pass.
fn passed<'a>(all: &[&'a Sent], tell: &mut impl FnMut(&str, i64)) -> Vec<&'a Sent> {
    let (mut ring, mut lamp) = (None, None);
    let mut passed = Vec::new();
    for it in all {
        let passes = match it.kind {
            "ring" => {
                let passes = ring.is_none_or(|first| first + WINDOW <= it.at);
                ring = if passes { Some(it.at) } else { ring };
                passes
            }
            "lamp" => lamp.replace(it.number % 2) != Some(it.number % 2),
            _ => true,
        };
        if passes {
            tell(it.kind, it.at);
            passed.push(*it);
        }
    }
    passed
}

fn silences(all: &[&Sent], end: i64, tell: &mut impl FnMut(&str, i64)) {
    let all: Vec<&Sent> = all.iter().copied().filter(|it| !it.is_late()).collect();
    let next = all.iter().skip(1).map(|it| it.at).chain([end]);
    for (it, next) in all.iter().zip(next) {
        if it.at + SILENT <= next {
            tell("quiet", it.at + SILENT);
            if next != end {
                tell("loud", next);
            }
        }
    }
}

fn told(world: &World) -> Told {
    let mut told = Told::new();
    add_told(world, &mut told);
    told
}

fn add_told(world: &World, told: &mut Told) {
    for it in world.stored.lock().expect("no panic").iter() {
        let envelope = &it.envelope;
        let at = envelope.time.0 / 1_000_000 - START;
        let key = (envelope.kind.to_string(), envelope.subject.to_string(), at);
        *told.entry(key).or_default() += 1;
    }
}

fn play(seed: u64, is_live: bool) -> (Vec<Sent>, Told, Told) {
    let mut random = Rng::with_seed(seed);
    let sent = draw(&mut random);
    let end = sent.last().expect("some").now + 10_000;
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start_durable(folder, &pipeline("first"));
    if !is_live {
        world.simulation.advance(Duration::from_secs(end as u64));
    }
    let (mut now, mut found) = (0, Told::new());
    for event in &sent {
        if is_live {
            world.simulation.advance(Duration::from_secs((event.now - now) as u64));
            now = event.now;
        }
        match random.u8(..16) {
            0 | 1 => world.reload(&pipeline(&format!("before {}", event.number))),
            2 => {
                add_told(&world, &mut found);
                world = world.kill(&pipeline("again"), Duration::ZERO);
            }
            _ => {}
        }
        world.post("hook", &event.text());
        if random.u8(..4) == 0 {
            assert_ne!(world.post("hook", &event.text()), "accepted", "it is the same again");
        }
        if random.bool() {
            world.simulation.settle();
        }
    }
    // When no more events come, timers follow the wall clock, which lags behind event time here.
    world.simulation.advance(Duration::from_secs(20_000));
    add_told(&world, &mut found);
    world.close();
    found.retain(|it, _| it.2 <= end);
    (sent.clone(), expected(&sent, end), found)
}

#[track_caller]
fn check(is_live: bool) {
    let given = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let first = given("SEED").unwrap_or(0);
    for seed in first..first + given("SEQUENCES").unwrap_or(SEQUENCES) {
        let (sent, expected, found) = play(seed, is_live);
        let wrong: Vec<_> = expected
            .iter()
            .filter(|it| found.get(it.0) != Some(it.1))
            .map(|it| ("missing", it))
            .chain(
                found
                    .iter()
                    .filter(|it| expected.get(it.0) != Some(it.1))
                    .map(|it| ("unexpected", it)),
            )
            .collect();
        let sent: Vec<String> = sent.iter().map(|it| format!("{it:?}")).collect();
        assert!(wrong.is_empty(), "SEED={seed}: {wrong:?}\n{}", sent.join("\n"));
    }
}

#[test]
fn what_is_told_live_is_what_the_events_come_to() {
    check(true);
}

#[test]
fn a_backlog_tells_the_same_as_the_same_events_live() {
    check(false);
}

#[test]
fn what_is_remembered_survives_a_kill_and_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.kdl");
    let text = r#"
pipeline memory schema-version=1
server { listen "127.0.0.1:0" }
source http hook { path "/events"; map { id "data.id"; type "data.type"; subject "data.door" } }
dedupe rings { when "event.type == 'ring'"; key "event.subject"; window "1h" }
watch open { key "event.subject"; hold "event.type == 'open'" for="2s"; emit left-open }
sink sqlite journal { path "data/journal.db"; retention { keep "1d" } }
"#;
    std::fs::write(&file, text).expect("it is written");
    let data = folder.path().join("data");
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    let event = |id: &str, kind: &str| {
        let door = if kind == "ring" { "back" } else { "front" };
        format!(r#"{{"id":"{id}","type":"{kind}","door":"{door}"}}"#)
    };
    assert_eq!(engine.post(&event("1", "open")).0, 202);
    assert_eq!(engine.post(&event("2", "ring")).0, 202);
    engine.kill();
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    let count = |engine: &Engine, kind: &str| {
        let page = engine.get(&format!("/api/events?type={kind}"));
        page["events"].as_array().expect("a list").len()
    };
    until("the time comes that was asked for before the kill", || count(&engine, "left-open") == 1);
    assert_eq!(engine.post(&event("3", "ring")).0, 202, "it was seen before the kill");
    engine.kill();
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    assert_eq!(engine.post(&event("4", "shut")).0, 202);
    assert_eq!((count(&engine, "left-open"), count(&engine, "ring")), (1, 1));
    assert_eq!(engine.stop(), 0);
}

#[test]
fn what_never_comes_is_told_as_long_as_the_table_lists_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = |folder: &std::path::Path, rows: &str| {
        std::fs::write(folder.join("sensors.csv"), format!("id,room\n{rows}")).expect("it writes");
    };
    let text = |comment: &str| {
        format!(
            r#"
// {comment}
pipeline sensors schema-version=1
source http hook {{ path "/hook"; type reading; map {{ subject "data.sensor" }} }}
watch sensors {{
    when "event.type == 'reading'"
    key "event.subject"
    silent "5m"
    keys table="sensors.csv" column=id
    emit silent back=heard
}}
sink sqlite db {{ path "db.sqlite"; retention {{ keep "30d" }} }}
"#
        )
    };
    table(folder.path(), "hall,a\nattic,b\ncellar,c\n");
    let world = World::start_durable(folder, &text("first"));
    let minutes = |number: u64| Duration::from_secs(number * 60);
    world.simulation.advance(minutes(3));
    world.post("hook", r#"{"sensor":"hall"}"#);
    // The cellar goes, and a garden comes; what was known of the attic stays.
    table(world.folder.path(), "hall,a\nattic,b\ngarden,d\n");
    world.reload(&text("second"));
    world.simulation.advance(minutes(2));
    let mut found = told(&world);
    let world = world.kill(&text("second"), Duration::ZERO);
    world.simulation.advance(minutes(3));
    world.post("hook", r#"{"sensor":"attic"}"#);
    world.simulation.settle();
    found.extend(told(&world));
    world.close();
    found.retain(|it, _| it.0 != "reading");
    let found: Vec<String> =
        found.into_iter().map(|((kind, key, at), n)| format!("{kind} {key} {at} {n}")).collect();
    let expected =
        ["heard attic 480 1", "silent attic 300 1", "silent garden 480 1", "silent hall 480 1"];
    assert_eq!(found, expected);
}

/// A mean that forgets by half in an hour, and more.
fn with_baseline(method: &str, more: &str) -> String {
    format!(
        r#"
pipeline warmth schema-version=1
server {{ listen "127.0.0.1:0" }}
source http hook {{ path "/events"; type reading; map {{ id "data.id"; subject "data.room"; time "data.at" }} }}
enrich baseline usual {{ key "event.subject"; value "data.v"; method {method}; warm-up 2; {more} }}
sink sqlite journal {{ path "data/journal.db"; retention {{ keep "30d" }} }}
"#
    )
}

/// A reading so many minutes after the first one.
fn reading(id: u32, minute: i64, value: i64) -> String {
    let at = START + 60 * minute;
    format!(r#"{{"id":"{id}","room":"hall","v":{value},"at":{at}}}"#)
}

/// What was usual before this event, as stored with it.
fn usual(world: &World, id: &str) -> serde_json::Value {
    let stored = world.stored.lock().expect("no panic");
    let event = stored.iter().find(|it| &*it.envelope.id == id).expect("it is stored");
    let enrich: serde_json::Value = serde_json::from_str(&event.enrich).expect("JSON");
    enrich["usual"].clone()
}

#[test]
fn a_baseline_goes_on_over_a_reload_that_leaves_its_key_and_method() {
    let folder = tempfile::tempdir().expect("a folder");
    let ewma = "ewma half-life=\"1h\"";
    let world = World::start(folder, &with_baseline(ewma, ""), 1).expect("it starts");
    world.simulation.advance(Duration::from_secs(90_000));
    let post = |id: u32, minute: i64, value: i64| {
        assert_eq!(world.post("hook", &reading(id, minute, value)), "accepted");
        world.simulation.settle();
        let added = usual(&world, &id.to_string());
        ["n", "mean", "score"].map(|it| added[it].as_f64().map(|number| number.round()))
    };
    assert_eq!(post(1, 0, 0), [Some(0.0), None, None]);
    assert_eq!(post(2, 60, 3), [Some(1.0), Some(0.0), None]);
    assert_eq!(world.post("hook", &reading(2, 60, 3)), "duplicate");
    world.reload(&with_baseline(ewma, "band 2.0; max-keys 9"));
    assert_eq!(post(3, 60, 2), [Some(2.0), Some(2.0), Some(0.0)]);
    // Another half-life is another rate from now on, and forgets nothing.
    world.reload(&with_baseline("ewma half-life=\"2h\"", ""));
    assert_eq!(post(4, 60, 2)[0], Some(3.0));
    world.reload(&with_baseline("mad window=5", ""));
    assert_eq!(post(5, 70, 2), [Some(0.0), None, None]);
    world.close();
}

#[test]
fn a_baseline_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.kdl");
    std::fs::write(&file, with_baseline("mad window=5", "")).expect("it is written");
    let data = folder.path().join("data");
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    for (id, value) in [(1, 10), (2, 12), (3, 14)] {
        assert_eq!(engine.post(&reading(id, i64::from(id), value)).0, 202);
    }
    engine.kill();
    let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
    assert_eq!(engine.post(&reading(3, 3, 14)).0, 200, "it was learned before the kill");
    assert_eq!(engine.post(&reading(4, 4, 12)).0, 202);
    let mut added = serde_json::Value::Null;
    until("the event is stored", || {
        added = engine.get("/api/events/4")["enrich"]["usual"].clone();
        !added.is_null()
    });
    assert_eq!((added["n"].as_u64(), added["mean"].as_f64()), (Some(3), Some(12.0)));
    assert_eq!(engine.stop(), 0);
}
