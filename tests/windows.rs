//! Windows, sessions, visits and counted repeats: random events, late, doubled and out of order,
//! with reloads and crashes between them, against what they come to by definition.

use crate::support::hours::{EventHours, START, SentEvent, StoredCounts};
use fastrand::Rng;
use std::collections::BTreeMap;

const SEQUENCES: u64 = 30;
const EVENTS: usize = 60;
const DOORS: [&str; 2] = ["front", "back"];
const TUMBLING: i64 = 600;
const SLIDING: i64 = 60;
const GAP: i64 = 60;
const IDLE: i64 = 300;
const REPEATS: i64 = 90;
const SETTLED: i64 = 45;
const NEAR: i64 = 300;
/// A tick in so many seconds, and one more at once.
const RATE: i64 = 30;
/// By how much an event may come late: less than windows wait, and less than one slides.
const LATE: i64 = 50;

fn pipeline(comment: &str) -> String {
    format!(
        r#"
// {comment}
pipeline memory schema-version=1
source http hook {{
    path "/hook"
    map {{ id "data.id"; type "data.type"; time "get(data, 'at')"; subject "data.door" }}
}}
source file log {{
    path "hours.ndjson"
    map {{ id "data.id"; type "data.type"; time "get(data, 'at')"; subject "data.door" }}
}}
lifecycle visit {{
    key "event.subject"
    start when="event.type == 'open'"
    update when="event.type == 'face'"
    end when="event.type == 'shut'"
    idle "{IDLE}s"
}}
dedupe knobs {{
    when "event.type == 'knob'"
    key "event.subject"
    window "{SETTLED}s"
    mode last
}}
throttle ticks {{
    when "event.type == 'tick'"
    key "event.subject"
    rate "2/min" burst=2
}}
enrich previous before {{
    when "event.type == 'look'"
    key "event.subject"
    within "{NEAR}s"
    select age
}}
dedupe lamps {{
    when "event.type == 'lamp'"
    key "event.subject"
    window "{REPEATS}s"
    mode count
}}
window means {{
    when "event.type == 'motion'"
    key "event.subject"
    tumbling "{TUMBLING}s" lateness="120s"
    aggregate n="count()" top="max(data.n)" sum="sum(data.n)"
    emit mean
}}
window bursts {{
    when "event.type == 'ring'"
    key "event.subject"
    sliding "{SLIDING}s"
    having "n > 2"
    emit burst
}}
window walks {{
    when "event.type == 'step'"
    key "event.subject"
    session gap="{GAP}s" lateness="120s"
    emit walk
}}
sink sqlite db {{ path "db.sqlite"; retention {{ keep "30d" }} }}
"#
    )
}

fn draw(random: &mut Rng) -> Vec<SentEvent> {
    let mut now = 100;
    let draw = |number| {
        now += *random.choice(&[1, 7, 19, 30, 59, 60, 61, 120, 600]).expect("not empty");
        let kinds =
            ["open", "face", "shut", "lamp", "knob", "tick", "look", "motion", "ring", "step"];
        let kind = *random.choice(&kinds).expect("not empty");
        let late = match kind {
            "motion" | "ring" | "step" => random.i64(0..=LATE),
            _ => 0,
        };
        let door = random.choice(DOORS).expect("not empty");
        SentEvent { now, at: now - late, kind, door, number }
    };
    (0..EVENTS).map(draw).collect()
}

fn expected(sent: &[SentEvent]) -> StoredCounts {
    let mut told = StoredCounts::new();
    for door in DOORS {
        let of =
            |kind: &'static str| sent.iter().filter(move |it| it.door == door && it.kind == kind);
        let mut tell = |kind: &str, at: i64, text: String| {
            *told.entry((kind.to_owned(), door.to_owned(), at, text)).or_default() += 1;
        };
        means(of("motion"), &mut tell);
        bursts(of("ring"), &mut tell);
        walks(of("step"), &mut tell);
        let lamps: Vec<&SentEvent> = of("lamp").collect();
        repeats(&lamps, &mut tell);
        let knobs: Vec<&SentEvent> = of("knob").collect();
        settled(&knobs, &mut tell);
        ticks(of("tick"), &mut tell);
        looks(of("look"), &mut tell);
        let visits = ["open", "face", "shut"];
        let all = sent.iter().filter(|it| it.door == door && visits.contains(&it.kind));
        self::visits(&all.collect::<Vec<_>>(), &mut tell);
    }
    told
}

fn means<'a>(all: impl Iterator<Item = &'a SentEvent>, tell: &mut impl FnMut(&str, i64, String)) {
    let mut windows: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for it in all {
        windows.entry((START + it.at).div_euclid(TUMBLING)).or_default().push(it.number);
        tell("motion", it.at, String::new());
    }
    for (window, numbers) in windows {
        let (top, sum) = (numbers.iter().max().expect("some"), numbers.iter().sum::<usize>());
        let end = (window + 1) * TUMBLING - START;
        tell("mean", end, format!("{} {top} {sum}", numbers.len()));
    }
}

fn bursts<'a>(all: impl Iterator<Item = &'a SentEvent>, tell: &mut impl FnMut(&str, i64, String)) {
    let (mut known, mut was_over) = (Vec::<i64>::new(), false);
    for it in all {
        tell("ring", it.at, String::new());
        known.push(it.at);
        let newest = *known.iter().max().expect("one was pushed");
        let count = known.iter().filter(|at| newest - SLIDING < **at).count();
        if 2 < count && !was_over {
            tell("burst", it.at, count.to_string());
        }
        was_over = 2 < count;
    }
}

fn walks<'a>(all: impl Iterator<Item = &'a SentEvent>, tell: &mut impl FnMut(&str, i64, String)) {
    let mut times: Vec<i64> = all.map(|it| it.at).collect();
    times.iter().for_each(|at| tell("step", *at, String::new()));
    times.sort_unstable();
    for walk in times.chunk_by(|one, next| next - one < GAP) {
        tell("walk", walk[walk.len() - 1] + GAP, walk.len().to_string());
    }
}

fn repeats(all: &[&SentEvent], tell: &mut impl FnMut(&str, i64, String)) {
    let mut next = 0;
    while let Some(first) = all.get(next) {
        let count = all[next..].iter().take_while(|it| it.at < first.at + REPEATS).count();
        tell("lamp", first.at, String::new());
        if 1 < count {
            tell("lamps.repeats", first.at + REPEATS, count.to_string());
        }
        next += count;
    }
}

fn settled(all: &[&SentEvent], tell: &mut impl FnMut(&str, i64, String)) {
    let mut next = 0;
    while let Some(first) = all.get(next) {
        let count = all[next..].iter().take_while(|it| it.at < first.at + SETTLED).count();
        tell("knob", first.at + SETTLED, all[next + count - 1].number.to_string());
        next += count;
    }
}

/// A bucket of two that fills by one in `RATE`.
fn ticks<'a>(all: impl Iterator<Item = &'a SentEvent>, tell: &mut impl FnMut(&str, i64, String)) {
    let (mut level, mut last) = (2 * RATE, i64::MIN / 2);
    for it in all {
        level = (level + it.at.saturating_sub(last)).min(2 * RATE);
        last = it.at;
        if RATE <= level {
            level -= RATE;
            tell("tick", it.at, String::new());
        }
    }
}

fn looks<'a>(all: impl Iterator<Item = &'a SentEvent>, tell: &mut impl FnMut(&str, i64, String)) {
    let mut last: Option<i64> = None;
    for it in all {
        let age = last.map(|last| it.at - last).filter(|age| *age <= NEAR);
        tell("look", it.at, age.map_or("null".to_owned(), |age| age.to_string()));
        last = Some(it.at);
    }
}

fn visits(all: &[&SentEvent], tell: &mut impl FnMut(&str, i64, String)) {
    let mut open: Option<(i64, i64, usize)> = None;
    let ends = |it: Option<(i64, i64, usize)>, by: i64| it.filter(|it| it.1 + IDLE <= by);
    let far = SentEvent { now: 0, at: i64::MAX, kind: "", door: "", number: 0 };
    for it in all.iter().copied().chain([&far]) {
        if let Some((since, last, count)) = ends(open, it.at) {
            tell("visit.end", last + IDLE, format!("end {count} {}", last - since));
            open = None;
        }
        if it.at == i64::MAX {
            return;
        }
        let (since, count) = open.map_or((it.at, 1), |it| (it.0, it.2 + 1));
        let phase = match (it.kind, count) {
            ("shut", _) => "end",
            (_, 1) => "start",
            _ => "update",
        };
        tell(it.kind, it.at, format!("{phase} {count} {}", it.at - since));
        open = (phase != "end").then_some((since, it.at, count));
    }
}

/// What is stored with an event beside its type, subject and time.
fn said(stored: &store::StoredEvent) -> String {
    let data: serde_json::Value =
        serde_json::from_str(stored.body.data_text()).expect("it is JSON");
    let enrich: serde_json::Value = serde_json::from_str(&stored.enrich).expect("it is JSON");
    let number = |at: &serde_json::Value| at.as_f64().expect("a number") as i64;
    match &*stored.envelope.kind {
        "mean" => format!("{} {} {}", data["n"], data["top"], data["sum"]),
        "burst" | "walk" => data["n"].to_string(),
        "lamps.repeats" => data["count"].to_string(),
        "knob" => data["n"].to_string(),
        "look" => match enrich["before"]["age"].as_f64() {
            Some(age) => (age as i64).to_string(),
            None => "null".to_owned(),
        },
        "open" | "face" | "shut" | "visit.end" => {
            let visit = &enrich["visit"];
            let phase = visit["phase"].as_str().expect("a phase");
            format!("{phase} {} {}", visit["events"], number(&visit["seconds"]))
        }
        _ => String::new(),
    }
}

#[test]
fn what_is_summed_up_is_what_the_events_come_to_live_and_out_of_a_file() {
    let hours = EventHours { pipeline: &pipeline, said: &said };
    hours.check(SEQUENCES, draw, |sent, _| expected(sent));
}
