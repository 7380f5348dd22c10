//! What a power switch and a stop under load leave behind.

use crate::support::load::{self, Ledger, Load};
use crate::support::{Engine, pause, until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const KILLS: usize = 20;

/// A seed that is shown when the test fails; `KILL_SEED` gives an earlier one again.
#[expect(clippy::print_stderr, reason = "a run that failed has to be told again")]
fn seed() -> u64 {
    let given = std::env::var("KILL_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("KILL_SEED={seed}");
    seed
}

#[expect(clippy::print_stderr, reason = "for whoever asks for the figures with --nocapture")]
fn tell(kills: usize, unfinished: u64, ledger: &Ledger) {
    eprintln!(
        "{kills} kills, {} events acknowledged, {} answers lost, {} of them stored all the same, \
         {unfinished} found unfinished",
        ledger.sent.len(),
        ledger.unknown,
        ledger.found,
    );
}

/// Looks at what a kill left, without touching it: how many events are unfinished.
fn unfinished(data: &Path) -> u64 {
    let copy = tempfile::tempdir().expect("a folder");
    for name in ["events.db", "events.db-wal"] {
        if data.join(name).exists() {
            std::fs::copy(data.join(name), copy.path().join(name)).expect("a copy");
        }
    }
    load::number(&load::open(copy.path()), "SELECT count(*) FROM inbox")
}

#[test]
fn twenty_kills_under_load_lose_and_double_nothing_that_was_acknowledged() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (load::doorbell(folder.path()), folder.path().join("data"));
    let clients = Load::start(3, seed);
    let (mut kills, mut seen_unfinished) = (0, 0);
    while kills < KILLS {
        let mut engine = Engine::start(&file, &data, &[]);
        clients.point_at(&engine);
        pause(Duration::from_millis(random.u64(0..350)));
        engine.kill();
        kills += 1;
        seen_unfinished += unfinished(&data);
        if random.u8(0..4) == 0 {
            // And once more while it picks up the pieces.
            let mut engine = Engine::spawn(&file, &data, &[]);
            pause(Duration::from_millis(random.u64(0..80)));
            engine.kill();
            kills += 1;
        }
    }
    let mut engine = Engine::start(&file, &data, &[]);
    clients.point_at(&engine);
    let ledger = clients.end();
    load::settle(&engine);
    assert_eq!(engine.stop(), 0);
    tell(kills, seen_unfinished, &ledger);
    let store = load::open(&data);
    load::check(&store, &ledger.sent, &[]);
    assert!(!ledger.sent.is_empty(), "there was load");
    assert!(0 < ledger.unknown, "a kill met an answer that was on its way");
    assert!(0 < seen_unfinished, "a kill met an event that waited for the weather");
    let weather = "SELECT count(*) FROM events WHERE enrich ->> '$.weather.sky' = 'overcast'";
    assert!(0 < load::number(&store, weather), "presses were told the weather");
}

#[test]
fn a_stop_under_load_exits_with_0_and_loses_nothing_that_was_acknowledged() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (load::doorbell(folder.path()), folder.path().join("data"));
    let clients = Load::start(3, seed);
    for _ in 0..3 {
        let mut engine = Engine::start(&file, &data, &[]);
        clients.point_at(&engine);
        pause(Duration::from_millis(random.u64(100..400)));
        assert_eq!(engine.stop(), 0);
    }
    let mut engine = Engine::start(&file, &data, &[]);
    clients.point_at(&engine);
    let ledger = clients.end();
    load::settle(&engine);
    assert_eq!(engine.stop(), 0);
    tell(0, 0, &ledger);
    load::check(&load::open(&data), &ledger.sent, &[]);
    assert_eq!(ledger.found, 0, "what is taken before the end is also answered");
    assert!(!ledger.sent.is_empty(), "there was load");
}

/// Notifiers that hold, join, repeat and hand on what they get.
const MANNERS: &str = r#"
pipeline held schema-version=1
source http front {
    path "/events"
    map { id "data.id"; subject "data.door" }
}
sink sqlite db { path "../data/events.db"; retention { keep "1d" } }
notify file together {
    path "../data/together.jsonl"
    message "{{ join(map(group.events, x, x.id), ' ') }}"
    group "1s" key="event.subject" then="2s"
}
notify file patient {
    path "../data/patient.jsonl"
    message "{{ join(map(group.events, x, x.id), ' ') }}"
    wait for="event.type == 'face'" up-to="1s" key="event.subject"
}
notify file again {
    path "../data/again.jsonl"
    message "{{ event.id }}:{{ told.times }}"
    repeat "1s" max=2 key="event.id"
}
notify webhook dead {
    url "http://127.0.0.1:9/"
    retry 0
    fallback spare
    escalate after="1s" to=boss key="event.id" until="event.type == 'never'"
}
notify file spare { path "../data/spare.jsonl"; message "{{ event.id }}:{{ told.why }}" }
notify file boss { path "../data/boss.jsonl"; message "{{ event.id }}:{{ told.why }}" }
"#;

/// What a notifier wrote, by words.
fn written(data: &Path, name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(data.join(format!("{name}.jsonl"))).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages = lines.filter_map(|line| Some(line["message"].as_str()?.to_owned()));
    messages.flat_map(|message| message.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn kills_at_any_point_lose_no_notification_that_waits() {
    let mut random = fastrand::Rng::with_seed(seed());
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("pipelines/p.kdl"), folder.path().join("data"));
    std::fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    std::fs::write(&file, MANNERS).expect("it is written");
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..8 {
        let mut engine = Engine::start(&file, &data, &[]);
        for _ in 0..random.usize(1..5) {
            let (id, door) = (format!("e{}", ids.len()), random.u8(..2));
            let event = format!(r#"{{"type":"ring","id":"{id}","door":"d{door}"}}"#);
            assert_eq!(engine.post(&event).0, 202);
            ids.push(id);
            pause(Duration::from_millis(random.u64(0..200)));
        }
        pause(Duration::from_millis(random.u64(0..1200)));
        engine.kill();
    }
    let mut engine = Engine::start(&file, &data, &[]);
    let wanted: BTreeSet<String> = ids.iter().cloned().collect();
    let times = ids.iter().flat_map(|it| (1..=3).map(move |times| format!("{it}:{times}")));
    let times: BTreeSet<String> = times.collect();
    let because = |why: &str| ids.iter().map(|it| format!("{it}:{why}")).collect();
    let (spare, boss) = (because("fallback"), because("escalate"));
    for (name, wanted) in [
        ("together", &wanted),
        ("patient", &wanted),
        ("again", &times),
        ("spare", &spare),
        ("boss", &boss),
    ] {
        until(&format!("all of `{name}` is written"), || written(&data, name) == *wanted);
    }
    let open = "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'held', 'parked')";
    until("nothing waits", || load::number(&load::open(&data), open) == 0);
    assert_eq!(engine.stop(), 0);
    let store = load::open(&data);
    for (name, state) in
        [("together", "done"), ("patient", "done"), ("again", "done"), ("dead", "dead")]
    {
        let sql =
            format!("SELECT count(*) FROM deliveries WHERE sink = '{name}' AND state = '{state}'");
        assert_eq!(load::number(&store, &sql), ids.len() as u64, "{name}");
    }
}

/// A notifier that somebody may pause.
const PAUSED: &str = r#"
pipeline paused schema-version=1
source http front { path "/events"; map { id "data.id"; type "'ring'" } }
sink sqlite db { path "../data/events.db"; retention { keep "1d" } }
notify file phone { path "../data/phone.jsonl"; message "{{ event.id }}" }
"#;

#[test]
fn a_kill_ends_no_pause_and_begins_none() {
    let mut random = fastrand::Rng::with_seed(seed());
    let folder = tempfile::tempdir().expect("a folder");
    let (file, data) = (folder.path().join("pipelines/p.kdl"), folder.path().join("data"));
    std::fs::create_dir(folder.path().join("pipelines")).expect("a folder");
    std::fs::write(&file, PAUSED).expect("it is written");
    let (mut ids, mut is_paused) = (BTreeSet::new(), false);
    for round in 0..12 {
        let mut engine = Engine::start(&file, &data, &[]);
        let found = &engine.get("/readyz")["paused"];
        assert_eq!(found.as_array().map(Vec::len), Some(usize::from(is_paused)), "{found}");
        let before = written(&data, "phone");
        let (path, body) = match random.u8(..3) {
            0 => ("/api/resume", r#"{"name":"phone"}"#),
            1 => ("/api/pause", r#"{"name":"phone","for":"1h"}"#),
            _ => ("/api/pause", r#"{"name":"phone"}"#),
        };
        let was_paused = std::mem::replace(&mut is_paused, path == "/api/pause");
        assert_eq!(engine.ask("POST", path, body.as_bytes()).0, 200);
        for number in 0..random.usize(1..4) {
            let id = format!("e{round}-{number}");
            assert_eq!(engine.post(&format!(r#"{{"id":"{id}"}}"#)).0, 202);
            ids.insert(id);
        }
        pause(Duration::from_millis(random.u64(0..50)));
        engine.kill();
        if was_paused && is_paused {
            assert_eq!(written(&data, "phone"), before, "round {round}");
        }
    }
    let mut engine = Engine::start(&file, &data, &[]);
    assert_eq!(engine.ask("POST", "/api/resume", br#"{"name":"phone"}"#).0, 200);
    until("all of it is written", || written(&data, "phone") == ids);
    assert_eq!(engine.stop(), 0);
}
