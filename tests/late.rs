//! Events that come late: every kind that remembers, live and out of a file, against a model that
//! is told each event once; and a wall clock that is set while stages wait.

use crate::support::hours::{EventHours, LONG, SentEvent, StoredCounts};
use crate::support::world::World;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

const SEQUENCES: u64 = 30;
const EVENTS: usize = 60;
const DOORS: [&str; 2] = ["front", "back"];
const ONCE: i64 = 60;
const LAST: i64 = 45;
const COUNTED: i64 = 90;
const RATE: i64 = 30;
const NEAR: i64 = 300;
const IDLE: i64 = 300;
const HOLD: i64 = 120;
const AGAIN: i64 = 100;
const SILENT: i64 = 200;
const WITHIN: i64 = 30;
/// By how much an event may come late, and by how much one that has nothing to wait for.
const LATE: i64 = 50;
const HOURS: i64 = 9000;

/// Events of these kinds set no time at which to look again.
const UNTIMED: [&str; 4] = ["ring", "tick", "look", "lamp"];
const KINDS: [&str; 13] = [
    "ring", "tick", "look", "lamp", "knob", "bell", "open", "shut", "motion", "face", "come",
    "stay", "go",
];

fn pipeline(comment: &str) -> String {
    let map =
        r#"map { id "data.id"; type "data.type"; time "get(data, 'at')"; subject "data.door" }"#;
    let of = |kinds: &str| format!("when \"event.type in {kinds}\"; key \"event.subject\"");
    format!(
        r#"
// {comment}
pipeline late schema-version=1
source http hook {{ path "/hook"; {map} }}
source file log {{ path "hours.ndjson"; {map} }}
lifecycle visit {{
    {visit}
    start when="event.type == 'come'"
    end when="event.type == 'go'"
    idle "{IDLE}s"
}}
dedupe rings {{ {ring}; window "{ONCE}s" }}
dedupe knobs {{ {knob}; window "{LAST}s"; mode last }}
dedupe bells {{ {bell}; window "{COUNTED}s"; mode count }}
throttle ticks {{ {tick}; rate "2/min" burst=2 }}
changes lamps {{ {lamp}; value "data.n % 2" }}
enrich previous before {{ {look}; within "{NEAR}s"; select age }}
watch held {{
    {state}
    hold "event.type == 'open'" for="{HOLD}s" again="{AGAIN}s"
    emit left-open back=shut-again
}}
watch quiet {{ {motion}; silent "{SILENT}s"; emit quiet back=loud }}
join pair {{
    {motion}
    first "event.type == 'motion'"
    then "event.type == 'face'" within="{WITHIN}s"
    emit known missed=unknown
}}
sink sqlite db {{ path "db.sqlite"; retention {{ keep "30d" }} }}
"#,
        visit = of("['come', 'stay', 'go', 'visit.end']"),
        ring = of("['ring']"),
        knob = of("['knob']"),
        bell = of("['bell']"),
        tick = of("['tick']"),
        lamp = of("['lamp']"),
        look = of("['look']"),
        state = of("['open', 'shut']"),
        motion = of("['motion', 'face']"),
    )
}

fn draw(random: &mut Rng) -> Vec<SentEvent> {
    let mut now = 100;
    let draw = |number| {
        now += *random.choice(&[0, 1, 7, 19, 30, 45, 60, 61, 120, 600]).expect("not empty");
        let kind = *random.choice(&KINDS).expect("not empty");
        let late = match random.u8(..8) {
            0 if UNTIMED.contains(&kind) => random.i64(0..=HOURS),
            0..4 => random.i64(0..=LATE),
            _ => 0,
        };
        let door = random.choice(DOORS).expect("not empty");
        SentEvent { now, at: now - late, kind, door, number }
    };
    (0..EVENTS).map(draw).collect()
}

/// What is known of one key of one stage.
#[derive(Debug, Clone)]
struct Row {
    kept: Kept,
    /// When to look again, by the time of events and by the wall clock.
    due: Option<i64>,
    wake: Option<i64>,
}

#[derive(Debug, Clone)]
enum Kept {
    /// The time of the first one.
    Once(i64),
    /// The first one; the time and the number of the last one; how many.
    Repeats {
        first: i64,
        last: (i64, usize),
        count: usize,
    },
    /// What a bucket holds, in seconds of its rate, at a time.
    Bucket(i64, i64),
    /// The newest one.
    Look(i64),
    Lamp(usize),
    Visit {
        since: i64,
        last: i64,
        count: usize,
        ended: Option<Ended>,
    },
    /// Since when it holds, and when that was told last; the newest event.
    Held {
        since: Option<i64>,
        told: Option<i64>,
        last: i64,
    },
    Pair(i64),
}

/// When a visit was over, and whether an event ended it: then what happened at that time is of it.
type Ended = (i64, bool);

/// What every stage does with each event, in the words of the manual.
struct Model {
    rows: BTreeMap<(&'static str, &'static str), Row>,
    told: StoredCounts,
}

impl Model {
    fn play(sent: &[SentEvent], is_live: bool) -> StoredCounts {
        let mut model = Model { rows: BTreeMap::new(), told: StoredCounts::new() };
        let arrival = sent.last().map_or(0, |it| it.now);
        for event in sent {
            let now = if is_live { event.now } else { arrival };
            if is_live {
                model.wait(now);
            }
            model.pass(event.at, now);
            model.judge(event, now);
        }
        model.wait(arrival + LONG.as_secs() as i64);
        model.told
    }

    fn tell(&mut self, kind: &str, door: &str, at: i64, text: impl ToString) {
        let key = (kind.to_owned(), door.to_owned(), at, text.to_string());
        *self.told.entry(key).or_default() += 1;
    }

    /// The time of events has come to `at`.
    fn pass(&mut self, at: i64, now: i64) {
        for _ in 0..100 {
            let due = self.rows.iter().filter_map(|(key, row)| Some((row.due?, *key))).min();
            let Some((_, key)) = due.filter(|due| due.0 <= at) else { return };
            self.wake(key, now);
        }
    }

    /// No event comes until `now`.
    fn wait(&mut self, now: i64) {
        for _ in 0..1000 {
            let next = self.rows.iter().filter_map(|(key, it)| Some((it.wake?, it.due?, *key)));
            let Some((wake, due, key)) = next.min().filter(|it| it.0 <= now) else { return };
            if self.wake(key, wake) {
                // What it sends is an event of its own.
                self.pass(due, wake);
            }
        }
    }

    /// Whether something was sent.
    fn wake(&mut self, key: (&'static str, &'static str), now: i64) -> bool {
        let row = self.rows.remove(&key).expect("it is there");
        let (stage, door) = key;
        let due = row.due.expect("it has one");
        match row.kept {
            Kept::Repeats { last, .. } if stage == "knobs" => {
                self.tell("knob", door, due, last.1);
            }
            Kept::Repeats { count, .. } if 1 < count => {
                self.tell("bells.repeats", door, due, count);
            }
            Kept::Visit { since, last, count, ended: None } => {
                self.tell("visit.end", door, due, format!("end {count} {}", last - since));
                let kept = Kept::Visit { since, last, count, ended: Some((due, false)) };
                self.put(key, kept, Some(due + IDLE), due, now);
            }
            Kept::Held { since: Some(since), last, .. } => {
                let kind = if stage == "held" { "left-open" } else { "quiet" };
                self.tell(kind, door, due, "");
                let again = (stage == "held").then_some(due + AGAIN);
                let kept = Kept::Held { since: Some(since), told: Some(due), last };
                self.put(key, kept, again, due, now);
            }
            Kept::Pair(_) => self.tell("unknown", door, due, ""),
            _ => return false,
        }
        true
    }

    fn put(
        &mut self,
        key: (&'static str, &'static str),
        kept: Kept,
        due: Option<i64>,
        at: i64,
        now: i64,
    ) {
        let known = self.rows.get(&key).filter(|row| row.due == due).and_then(|row| row.wake);
        let wake = due.map(|due| now + (due - at).max(0));
        let wake = wake.map(|wake| known.map_or(wake, |it| it.min(wake)));
        self.rows.insert(key, Row { kept, due, wake });
    }

    fn judge(&mut self, event: &SentEvent, now: i64) {
        match event.kind {
            "ring" => self.once(event, now),
            "knob" => self.repeats("knobs", LAST, event, now),
            "bell" => self.repeats("bells", COUNTED, event, now),
            "tick" => self.tick(event, now),
            "look" => self.look(event, now),
            "lamp" => self.lamp(event, now),
            "open" | "shut" => {
                self.tell(event.kind, event.door, event.at, "");
                self.held(event, now);
            }
            "motion" | "face" => {
                self.tell(event.kind, event.door, event.at, "");
                self.quiet(event, now);
                self.pair(event, now);
            }
            _ => self.visit(event, now),
        }
    }

    fn kept(&self, stage: &'static str, event: &SentEvent) -> Option<Kept> {
        self.rows.get(&(stage, event.door)).map(|row| row.kept.clone())
    }

    fn once(&mut self, event: &SentEvent, now: i64) {
        let first = match self.kept("rings", event) {
            Some(Kept::Once(first)) => Some(first),
            _ => None,
        };
        if first.is_none_or(|it| ONCE <= event.at.abs_diff(it) as i64) {
            self.tell("ring", event.door, event.at, "");
            let kept = Kept::Once(first.map_or(event.at, |it| it.max(event.at)));
            self.put(("rings", event.door), kept, None, event.at, now);
        }
    }

    fn repeats(&mut self, stage: &'static str, window: i64, event: &SentEvent, now: i64) {
        let own = (event.at, event.number);
        let passes = stage == "bells";
        let (first, last, count) = match self.kept(stage, event) {
            Some(Kept::Repeats { first, .. }) if event.at + window <= first => {
                return self.tell(event.kind, event.door, event.at, event.number);
            }
            Some(Kept::Repeats { first, last, count }) => {
                (first, if own.0 < last.0 { last } else { own }, count + 1)
            }
            _ => {
                if passes {
                    self.tell(event.kind, event.door, event.at, event.number);
                }
                (event.at, own, 1)
            }
        };
        let kept = Kept::Repeats { first, last, count };
        self.put((stage, event.door), kept, Some(first + window), event.at, now);
    }

    /// A bucket of two that fills by one in `RATE`.
    fn tick(&mut self, event: &SentEvent, now: i64) {
        let (level, newest) = match self.kept("ticks", event) {
            Some(Kept::Bucket(level, newest)) => (level, newest),
            _ => (2 * RATE, event.at),
        };
        let at = newest.max(event.at);
        let level = (level + at - newest).min(2 * RATE);
        let passes = RATE <= level;
        if passes {
            self.tell("tick", event.door, event.at, "");
        }
        let level = if passes { level - RATE } else { level };
        self.put(("ticks", event.door), Kept::Bucket(level, at), None, event.at, now);
    }

    fn look(&mut self, event: &SentEvent, now: i64) {
        let newest = match self.kept("before", event) {
            Some(Kept::Look(newest)) => Some(newest),
            _ => None,
        };
        let age = newest.map(|newest| event.at - newest).filter(|it| (0..=NEAR).contains(it));
        let text = age.map_or("null".to_owned(), |age| age.to_string());
        self.tell("look", event.door, event.at, text);
        let kept = Kept::Look(newest.map_or(event.at, |newest| newest.max(event.at)));
        self.put(("before", event.door), kept, None, event.at, now);
    }

    fn lamp(&mut self, event: &SentEvent, now: i64) {
        let value = event.number % 2;
        if !matches!(self.kept("lamps", event), Some(Kept::Lamp(last)) if last == value) {
            self.tell("lamp", event.door, event.at, "");
            self.put(("lamps", event.door), Kept::Lamp(value), None, event.at, now);
        }
    }

    fn visit(&mut self, event: &SentEvent, now: i64) {
        let at = event.at;
        let known = match self.kept("visit", event) {
            Some(Kept::Visit { ended: Some((ended, by_event)), .. })
                if ended < at || (ended == at && !by_event) =>
            {
                None
            }
            Some(Kept::Visit { since, last, count, ended }) => Some((since, last, count, ended)),
            _ => None,
        };
        let (phase, since, last, count, ended) = match known {
            Some((since, last, count, ended)) => {
                let ends = event.kind == "go" && ended.is_none();
                let phase = if ends { "end" } else { "update" };
                let ended = if ends { Some((at, true)) } else { ended };
                (phase, since.min(at), last.max(at), count + 1, ended)
            }
            None if event.kind == "go" => ("end", at, at, 1, Some((at, true))),
            None => ("start", at, at, 1, None),
        };
        self.tell(event.kind, event.door, at, format!("{phase} {count} {}", last - since));
        let due = ended.map_or(last, |it| it.0) + IDLE;
        let kept = Kept::Visit { since, last, count, ended };
        self.put(("visit", event.door), kept, Some(due), at, now);
    }

    fn held(&mut self, event: &SentEvent, now: i64) {
        let known = match self.kept("held", event) {
            Some(Kept::Held { last, .. }) if event.at < last => return,
            Some(Kept::Held { since, told, .. }) => since.map(|since| (since, told)),
            _ => None,
        };
        let kept = |since, told| Kept::Held { since, told, last: event.at };
        let key = ("held", event.door);
        match (event.kind, known) {
            ("open", Some((since, told))) => {
                let due = told.map_or(since + HOLD, |it| it + AGAIN);
                self.put(key, kept(Some(since), told), Some(due), event.at, now);
            }
            ("open", None) => {
                self.put(key, kept(Some(event.at), None), Some(event.at + HOLD), event.at, now);
            }
            (_, known) => {
                if known.is_some_and(|it| it.1.is_some()) {
                    self.tell("shut-again", event.door, event.at, "");
                }
                self.put(key, kept(None, None), Some(event.at + HOLD), event.at, now);
            }
        }
    }

    fn quiet(&mut self, event: &SentEvent, now: i64) {
        match self.kept("quiet", event) {
            Some(Kept::Held { last, .. }) if event.at < last => return,
            Some(Kept::Held { told: Some(_), .. }) => self.tell("loud", event.door, event.at, ""),
            _ => {}
        }
        let kept = Kept::Held { since: Some(event.at), told: None, last: event.at };
        self.put(("quiet", event.door), kept, Some(event.at + SILENT), event.at, now);
    }

    fn pair(&mut self, event: &SentEvent, now: i64) {
        let key = ("pair", event.door);
        match (self.kept("pair", event), event.kind) {
            (Some(Kept::Pair(first)), "face") if first <= event.at => {
                self.tell("known", event.door, event.at, "");
                self.rows.remove(&key);
            }
            (Some(_), _) => {}
            (None, "motion") => {
                self.put(key, Kept::Pair(event.at), Some(event.at + WITHIN), event.at, now);
            }
            (None, _) => {}
        }
    }
}

/// What is stored with an event beside its type, subject and time.
fn said(stored: &store::StoredEvent) -> String {
    let data: serde_json::Value =
        serde_json::from_str(stored.body.data_text()).expect("it is JSON");
    let enrich: serde_json::Value = serde_json::from_str(&stored.enrich).expect("it is JSON");
    match &*stored.envelope.kind {
        "bells.repeats" => data["count"].to_string(),
        "knob" | "bell" => data["n"].to_string(),
        "look" => match enrich["before"]["age"].as_f64() {
            Some(age) => (age as i64).to_string(),
            None => "null".to_owned(),
        },
        "come" | "stay" | "go" | "visit.end" => {
            let visit = &enrich["visit"];
            let phase = visit["phase"].as_str().unwrap_or("null");
            format!("{phase} {} {}", visit["events"], visit["seconds"].as_f64().unwrap_or(-1.0))
        }
        _ => String::new(),
    }
}

#[test]
fn late_events_count_as_the_manual_says_live_and_out_of_a_file() {
    let hours = EventHours { pipeline: &pipeline, said: &said };
    hours.check(SEQUENCES, draw, Model::play);
}

fn door(kind: &str) -> String {
    format!(r#"{{"id":"{kind}","type":"{kind}","door":"front","n":0}}"#)
}

/// Types of what is in the store.
fn kinds(world: &World) -> Vec<String> {
    let stored = world.stored.lock().expect("no panic");
    stored.iter().map(|it| it.envelope.kind.to_string()).collect()
}

/// Where events happen when they come.
fn timeless() -> String {
    pipeline("a clock that is set").replace(r#"time "get(data, 'at')"; "#, "")
}

/// A door is opened after some time.
fn with_open_door() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("hours.ndjson"), "").expect("it writes");
    let world = World::start_durable(folder, &timeless());
    world.simulation.advance(Duration::from_secs(90_000));
    world.post("hook", &door("open"));
    world
}

/// A door is opened; a minute later the clock is set by so many seconds. It is told of after two
/// minutes, whatever the clock shows.
fn hold_while_the_clock_is_set(seconds: i64) {
    let world = with_open_door();
    world.simulation.advance(Duration::from_secs(60));
    world.simulation.set_wall(seconds);
    world.simulation.advance(Duration::from_secs(55));
    assert_eq!(kinds(&world), ["open"], "{seconds}");
    world.post("hook", &door("come"));
    world.simulation.settle();
    assert_eq!(kinds(&world), ["open", "come"], "{seconds}: an event shows the time that was set");
    world.simulation.advance(Duration::from_secs(10));
    assert_eq!(kinds(&world), ["open", "come", "left-open"], "{seconds}");
    world.post("hook", &door("shut"));
    world.simulation.settle();
    assert_eq!(kinds(&world)[3..], ["shut", "shut-again"], "{seconds}: nothing is out of order");
    world.close();
}

#[test]
fn what_is_waited_for_is_as_far_away_after_the_clock_was_set() {
    for seconds in [-3600, 86_400, -80_000, 30] {
        hold_while_the_clock_is_set(seconds);
    }
}

#[test]
fn a_clock_that_is_set_is_seen_although_no_event_comes() {
    let world = with_open_door();
    world.simulation.advance(Duration::from_secs(60));
    world.simulation.set_wall(-3600);
    let engine = world.engine.clone();
    world.simulation.complete(async move { engine.store.tick().await }).expect("at once");
    world.simulation.advance(Duration::from_secs(65));
    assert_eq!(kinds(&world), ["open", "left-open"]);
    world.close();
}

#[test]
fn a_clock_that_is_set_back_during_a_restart_puts_nothing_off() {
    let world = with_open_door();
    world.simulation.settle();
    world.simulation.set_wall(-86_400);
    let world = world.kill(&timeless(), Duration::ZERO);
    world.simulation.advance(Duration::from_secs(125));
    assert_eq!(kinds(&world), ["left-open"]);
    world.post("hook", &door("shut"));
    world.simulation.settle();
    assert_eq!(kinds(&world), ["left-open", "shut", "shut-again"]);
    world.close();
}
