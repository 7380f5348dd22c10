//! What one evaluation costs on a parsed event: the median, and the spread from the fastest to
//! the slowest tenth, of batches that take a few milliseconds each.
//!
//! The first row is the measure: below 150 ns. `cargo bench -p stages --bench expression` runs it.
#![expect(clippy::print_stdout, reason = "the figures are its result")]

use kernel::additions::Additions;
use kernel::event::{Body, DataAt, Envelope, Event, Priority};
use kernel::time::Timestamp;
use language::expr::{Expr, Roots, Scope, Template};
use serde_json::json;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Batches of each row.
const BATCHES: usize = 101;
/// How long a batch takes, about.
const BATCH: Duration = Duration::from_millis(4);

/// A comparison, a list, and both together; then what conditions of the shipped files look like.
const EXPRESSIONS: [&str; 8] = [
    "data.confidence > 0.8 && event.source in ['front_door', 'gate']",
    "data.confidence > 0.8",
    "event.source in ['front_door', 'gate']",
    "event.priority >= 'high'",
    "event.type == 'DOORBELL_PRESSED' || event.type == 'MOTION_DETECTED'",
    "(data.known_count ?? 0) + (data.unknown_count ?? 0) <= data.recognition_count",
    "event.type + ':' + event.subject",
    "matches(event.subject, '^[a-z_]+$') && len(data.zones) > 1",
];

const TEMPLATE: &str = "{{ event.subject | humanize }}, {{ event.time | time('HH:mm') }}";

fn event() -> Event {
    let data = json!({
        "camera": "front", "confidence": 0.93, "known_count": 1, "unknown_count": 0,
        "recognition_count": 1, "zones": ["door", "path"],
        "box": {"x": 312, "y": 140, "width": 96, "height": 204},
    });
    let text = data.to_string();
    let time = Timestamp::parse("2026-01-01T09:59:55Z").expect("a time");
    Event {
        seq: 41,
        generation: 1,
        envelope: Envelope {
            id: "e-1".into(),
            kind: "MOTION_DETECTED".into(),
            source: "gate".into(),
            subject: "front_door".into(),
            time,
            received: time,
            priority: Priority::High,
            correlation_id: None,
            parent_id: None,
        },
        body: Body { bytes: text.clone().into_bytes().into(), data: DataAt::Slice(0..text.len()) },
        data: Arc::new(data),
        raw: None,
        globals: Default::default(),
        enrich: Additions::default(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds of one call: the fast tenth, the median, the slow tenth.
fn measured(mut work: impl FnMut()) -> [f64; 3] {
    let mut batch = |calls: u32| {
        let start = now();
        (0..calls).for_each(|_| work());
        start.elapsed()
    };
    let mut calls = 1;
    while batch(calls) < BATCH {
        calls *= 2;
    }
    let mut figures: Vec<f64> =
        (0..BATCHES).map(|_| batch(calls).as_secs_f64() * 1e9 / f64::from(calls)).collect();
    figures.sort_by(f64::total_cmp);
    [BATCHES / 10, BATCHES / 2, BATCHES - 1 - BATCHES / 10].map(|it| figures[it])
}

fn show(name: &str, [fast, median, slow]: [f64; 3]) {
    println!("{median:7.1} ns  ({fast:.1} to {slow:.1})  {name}");
}

fn main() {
    let event = event();
    let scope = Scope::of(&event, event.envelope.received);
    for text in EXPRESSIONS {
        let expr = Expr::parse(text, Roots::EVENT).expect("it parses");
        show(text, measured(|| drop(black_box(expr.eval(black_box(&scope))))));
    }
    let template = Template::parse(TEMPLATE, Roots::EVENT).expect("it parses");
    show(TEMPLATE, measured(|| drop(black_box(template.render(black_box(&scope))))));
}
