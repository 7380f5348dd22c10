//! `where` as the store answers it against `where` asked of every event.

use super::*;
use fastrand::Rng;
use kernel::env::{Env, Pools, Random, SystemClock};
use kernel::event::{Body, DataAt, Envelope, Event, Globals};
use language::expr::{Roots, Scope};
use stages::contract::event_of;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{
    CommitObserver, FinishedEvent, RetentionPolicy, Settings, Store, StoreEntry, StoreLocation,
    StoredEvent, Synchronous,
};

const EVENTS: usize = 300;
const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// Values as they are in messages, also such as SQLite reads otherwise than we do.
const VALUES: [&str; 30] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "2",
    "-1",
    "1.0",
    "2.5",
    "-0",
    "9007199254740993",
    "1e400",
    "123456789012345678901234567890",
    "0.1",
    "0.10000000000000000000001",
    "2.4999999999999999",
    "9007199254740992.5",
    "-1E-320",
    r#""""#,
    r#""a""#,
    r#""ab""#,
    r#""b""#,
    r#""é""#,
    r#""a\u0000b""#,
    r#""\u0061""#,
    r#""1""#,
    r#""{\"x\":1}""#,
    r#"{"x":1}"#,
    "[1, \"a\", 2.5]",
    r#""2026-01-01T00:00:00Z""#,
];

const LITERALS: [&str; 30] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "2",
    "-1",
    "1.0",
    "2.5",
    "0.1",
    "-0.0",
    "1e-320",
    "9007199254740992",
    "9223372036854775807",
    "1e308",
    "''",
    "'a'",
    "'ab'",
    "'b'",
    "'é'",
    "'high'",
    "'HIGH'",
    "'1'",
    "'{\"x\":1}'",
    "'2026-01-01T00:00:00Z'",
    "time('2026-01-01T00:00:03Z')",
    "now()",
    "now() - duration('1h')",
    "duration('1s')",
    "lower('AB')",
];

const PLACES: [&str; 22] = [
    "event.id",
    "event.type",
    "event.source",
    "event.subject",
    "event.correlation_id",
    "event.parent_id",
    "event.time",
    "event.received",
    "event.priority",
    "event.seq",
    "event.generation",
    "data.a",
    "data.b.c",
    "data.list[1]",
    "enrich.s.x",
    "data['odd key']",
    "data.b",
    "data.list[len(data.list) - 1]",
    "raw.data.a",
    "raw.n",
    "lower(string(data.b.c))",
    "event.lifecycle",
];

struct Nobody;

impl CommitObserver for Nobody {
    fn committed(&mut self, _: &[Arc<StoredEvent>]) {}
    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

fn any<'a>(random: &mut Rng, all: &[&'a str]) -> &'a str {
    all[random.usize(..all.len())]
}

fn data(random: &mut Rng) -> String {
    let key = any(random, &["a", r"\u0061", "z"]);
    let value = |random: &mut Rng| any(random, &VALUES);
    format!(
        r#"{{"{key}": {}, "b": {{"c": {}}}, "list": [0, {}], "odd key": {}}}"#,
        value(random),
        value(random),
        value(random),
        value(random),
    )
}

/// Data alone, within its message, beside it, and beside one that is not JSON.
fn body(random: &mut Rng) -> Body {
    let data = data(random);
    let (start, message) = (r#"{"n": 1, "data": "#, format!(r#"{{"n": 1, "data": {data}}}"#));
    let (bytes, data) = match random.u8(..5) {
        0 => (data, DataAt::Alone(None)),
        1 => (message, DataAt::Own(data.into())),
        2 => ("n=1".to_owned(), DataAt::Own(data.into())),
        3 => (data.clone(), DataAt::Slice(0..data.len())),
        _ => (message, DataAt::Slice(start.len()..start.len() + data.len())),
    };
    Body { bytes: bytes.into_bytes().into(), data }
}

fn event(at: usize, random: &mut Rng) -> Event {
    let body = body(random);
    let texts = ["", "a", "ab", "b", "é", "1", "2026-01-01T00:00:00Z", "a\0b"];
    let mut text = || -> Arc<str> { any(random, &texts).into() };
    let (kind, source, subject) = (text(), text(), text());
    let optional = |random: &mut Rng| -> Option<Arc<str>> {
        random.bool().then(|| any(random, &texts).into())
    };
    let micros = |random: &mut Rng| Timestamp(NOW.0 + random.i64(-5..5) * 1_000_000);
    let phase = any(random, &VALUES);
    let enrich = format!(r#"{{"s":{{"x":{},"phase":{phase}}}}}"#, any(random, &VALUES));
    Event {
        seq: 0,
        generation: random.u64(0..3),
        envelope: Envelope {
            id: if random.bool() {
                any(random, &["a", "ab"]).into()
            } else {
                format!("e{at}").into()
            },
            // Ids need not be unique over sources only.
            source: format!("{source}{}", at % 3).into(),
            kind,
            subject,
            time: micros(random),
            received: micros(random),
            priority: Priority::ALL[random.usize(0..4)],
            correlation_id: optional(random),
            parent_id: optional(random),
        },
        data: Arc::new(serde_json::from_str(body.data_text()).expect("JSON")),
        body,
        raw: None,
        globals: Arc::default(),
        enrich: serde_json::from_str::<serde_json::Map<_, _>>(&enrich).expect("JSON").into(),
    }
}

/// An expression of some depth.
fn expression(random: &mut Rng, depth: u32) -> String {
    if 0 < depth && random.u32(..3) != 0 {
        let by = any(random, &["&&", "&&", "||"]);
        let count = random.usize(2..4);
        let parts = (0..count).map(|_| format!("({})", expression(random, depth - 1)));
        return parts.collect::<Vec<_>>().join(&format!(" {by} "));
    }
    let (place, literal) = (any(random, &PLACES), any(random, &LITERALS));
    match random.u32(..9) {
        0 => format!("starts_with({place}, {literal})"),
        1 | 2 => {
            let items: Vec<&str> =
                (0..random.usize(0..4)).map(|_| any(random, &LITERALS)).collect();
            format!("{place} {} [{}]", any(random, &["in", "not in"]), items.join(", "))
        }
        3 => format!("!({place} == {literal})"),
        4 => place.to_owned(),
        5 => format!("{literal} {} {place}", any(random, &["==", "!=", "<", "<=", ">", ">="])),
        _ => {
            format!("{place} {} {literal}", any(random, &["==", "==", "!=", "<", "<=", ">", ">="]))
        }
    }
}

fn filled(random: &mut Rng) -> Store {
    let env = Env::new(Arc::new(SystemClock::default()), Random::seeded(1), Pools::system());
    let settings = Settings {
        place: StoreLocation::Memory,
        synchronous: Synchronous::Off,
        batch: 1000,
        linger: Duration::ZERO,
        name: "db".into(),
    };
    let (store, writer) =
        store::open(settings, RetentionPolicy::default(), env, Box::new(Nobody)).expect("it opens");
    std::thread::spawn(|| writer.run());
    let entry = |at| {
        let (event, targets) = (event(at, random).into(), ["db".into()].into());
        StoreEntry::Record(FinishedEvent {
            event,
            stages: [].into(),
            targets,
            deliveries: Vec::new(),
            silences: Vec::new(),
            answers: Vec::new(),
        })
    };
    let entries = (0..EVENTS).map(entry).collect();
    smol::block_on(store.submit(entries)).expect("they are written");
    store
}

/// `CASES=10000` asks that many.
fn cases() -> usize {
    std::env::var("CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(150)
}

#[test]
fn an_expression_means_the_same_in_sql_and_asked_of_every_event() {
    let mut random = Rng::with_seed(10);
    let store = filled(&mut random);
    let all =
        smol::block_on(store.read(|reader| reader.stream(0, u64::MAX >> 1, 10_000, usize::MAX)));
    let all = all.expect("events").events;
    let (mut whole, mut found_any, mut asked) = (0, 0, 0);
    while asked < cases() {
        let text = expression(&mut random, 2);
        let Ok(expr) = Expr::parse(&text, Roots::EVENT) else { continue };
        asked += 1;
        let globals = Globals { lifecycle: Some("s".to_owned()), ..Globals::default() };
        let globals = Arc::new(globals);
        let holds = |stored: &&StoredEvent| {
            event_of(stored, globals.clone()).is_some_and(|it| expr.is_true(&Scope::of(&it, NOW)))
        };
        let mut expected: Vec<u64> = all.iter().filter(holds).map(|it| it.pos).collect();
        let rows = RowCondition::new(expr.clone(), globals.clone(), NOW);
        let (condition, is_whole) = rows.stored();
        let query = EventQuery { condition: Some(condition), limit: 1000, ..Default::default() };
        let found = smol::block_on(store.read(move |reader| {
            let test =
                |row: &mut EventRow<'_, '_>| if is_whole { Some(true) } else { rows.holds(row) };
            let page = reader.events_where(&query, &test)?;
            assert_eq!((page.next, page.looked_at), (None, None));
            let count = reader.count_events(&query, (!is_whole).then_some(&test))?;
            assert_eq!(count, EventCount { events: page.rows.len(), is_exact: true });
            Ok(page.rows.iter().map(|row| row.pos).collect::<Vec<_>>())
        }));
        let mut found = found.expect(&text);
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text}");
        whole += usize::from(is_whole);
        found_any += usize::from(!found.is_empty());
    }
    // Enough of them are answered by the store alone, and enough find something.
    assert!(cases() / 10 < whole && cases() / 5 < found_any, "{whole} and {found_any}");
    smol::block_on(store.close());
}

#[test]
fn what_the_store_can_tell_is_told_by_it() {
    let told = |text: &str| {
        let expr = Expr::parse(text, Roots::EVENT).expect(text);
        let (condition, is_whole) = expr.condition(&Scope::without_pipeline(NOW));
        (condition.parts().len(), is_whole)
    };
    for (text, parts, is_whole) in [
        ("event.type == 'ring' && event.priority >= 'high'", 2, true),
        ("starts_with(event.subject, 'a') || event.time > now() - duration('1h')", 1, true),
        ("event.type in ['a', 'b'] && data.score > 3", 2, false),
        ("data.name == 'a' && len(data.list) > 2", 1, false),
        ("len(data.list) > 2 || event.type == 'a'", 0, false),
        ("event.time in '22:00-07:00'", 0, false),
    ] {
        assert_eq!(told(text), (parts, is_whole), "{text}");
    }
}
