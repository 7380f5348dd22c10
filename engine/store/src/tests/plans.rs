//! Whatever runs for each event or each second reads by an index: it costs the same however much
//! the store holds.

use super::retention::ByHand;
use super::search::{search, searching};
use super::*;
use crate::{CountBy, CountGrain, Cursor, DeliveryQuery};
use kernel::choice::Choice;
use kernel::condition::{
    Comparison, Condition, JsonPlace, JsonTest, NumberField, NumberTest, TextField, TextTest,
};
use rusqlite::trace::{TraceEvent, TraceEventCodes};

/// Statements that read a table in its own order, and no more of it than they say.
const BOUNDED: &[(&str, &str)] = &[
    ("SELECT pos FROM event_rows ORDER BY pos DESC LIMIT 1 OFFSET ?", "the ring of a stream"),
    ("FROM dead_letters ORDER BY id LIMIT ?", "as many letters as are too many"),
    ("SELECT EXISTS (SELECT 1 FROM delivery_rows INDEXED BY delivery_rows_due", "the first row"),
    ("FROM reloads", "once a reload"),
    ("event_texts_config", "the index of texts itself, at a start: a few rows"),
    ("UPDATE delivery_rows INDEXED BY delivery_rows_release", "what is held, once a start"),
];

type Statements = Arc<Mutex<BTreeSet<String>>>;

fn trace(connection: &mut Connection, seen: &Statements) {
    let seen = seen.clone();
    let note = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            seen.lock().expect("no test panics").insert(statement.sql().to_string());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note)).expect("it is traced");
}

fn failed_at(micros: i64) -> AttemptRecord {
    let fault = Fault::permanent("no");
    AttemptRecord::new(Timestamp(micros), Duration::from_micros(1), Some(&fault))
}

/// Everything that a busy engine writes.
fn write(hand: &mut ByHand) {
    let known = |seq: u64| Event { seq, ..event(&format!("e{seq}"), "{}") };
    let letter = |what| letter(what, None);
    let settled = |state| {
        StoreEntry::Settle(Settlement {
            sink: "phone".into(),
            seq: 1,
            state,
            attempts: 1,
            not_before: Timestamp(5),
            error: None,
            letter: None,
            receipt: None,
            attempt: Some(failed_at(5)),
        })
    };
    let accepted = (0..3).map(|it| StoreEntry::Accept(event(&format!("a{it}"), "{}")));
    hand.write(accepted.collect());
    hand.write(vec![
        StoreEntry::Result { seq: 1, stage: "s".into(), generation: 1, output: "1".to_owned() },
        StoreEntry::Finish(finished(known(1))),
        StoreEntry::Discard { event: known(2), reason: "rule".into() },
        StoreEntry::DeadLetter { event: known(3), letter: letter(DeadLetterWhat::Event) },
        StoreEntry::DeadLetter { event: event("b", "{}"), letter: letter(DeadLetterWhat::Event) },
        StoreEntry::Refuse(letter(DeadLetterWhat::Rejected)),
        StoreEntry::DropLetter { id: 1 },
        record("r", "{}"),
        record("r", "{}"),
        told("t", 60),
        told("u", 60),
        StoreEntry::Save { owner: "o".into(), key: "k".to_owned(), value: Some("v".to_owned()) },
        StoreEntry::Save { owner: "o".into(), key: "k".to_owned(), value: None },
    ]);
    for limit in [OnFull::DropOldest, OnFull::DeadLetter] {
        let backlog = BacklogLimit { rows: Some(1), bytes: None, on_full: limit };
        hand.writer.policy.outbox.targets = [("phone".into(), backlog)].into();
        hand.write(vec![waiting(&format!("{limit:?}1")), waiting(&format!("{limit:?}2"))]);
    }
    hand.write(vec![settled(DeliveryState::Pending), settled(DeliveryState::Done)]);
    let elsewhere = ["hook".into()].into();
    hand.write(vec![StoreEntry::Record(FinishedEvent {
        targets: elsewhere,
        ..finished(event("p", "{}"))
    })]);
    hand.write(vec![StoreEntry::Park { sinks: Vec::new() }]);
    hand.write(vec![StoreEntry::Park { sinks: vec!["phone".into()] }]);
}

/// Everything that is read for each event, delivery or second.
fn read(reader: &Reader<'_>) {
    let limits = DueLimits { first: 1, again: 1, bytes: 1 };
    reader.due("phone", Timestamp(9), limits).expect("due");
    reader.next_due("phone").expect("due");
    reader.is_any_pending().expect("pending");
    reader.by_seq(&[1, 2]).expect("events");
    reader.stream(0, 9, 9, usize::MAX).expect("events");
    reader.pos_before_newest(9).expect("a place");
    reader.inbox(0, 9).expect("rows");
    reader.waiting(0, 9).expect("rows");
    reader.results(1).expect("results");
    reader.deliveries_of(1).expect("deliveries");
    reader.states("o").expect("state");
    reader.dead_letter(1).expect("a letter");
    for order in [LetterOrder::Newest(Some(9)), LetterOrder::Oldest(0)] {
        reader.dead_letters(&LetterFilter::default(), order, 9, 9).expect("letters");
    }
    reader.letter_of_event(9).expect("a letter");
    lists(reader);
}

/// What people ask: every filter of the list of events with every other one, in both orders; and
/// counts and notifications.
fn lists(reader: &Reader<'_>) {
    for mask in 0..128_u32 {
        let is_asked = |bit: u32| mask & (1 << bit) != 0;
        let text = |bit: u32, text: &str| match is_asked(bit) {
            true => vec![text.to_owned()],
            false => Vec::new(),
        };
        let query = EventQuery {
            types: text(0, "RING"),
            sources: text(1, "door"),
            priorities: if is_asked(2) { vec![Priority::High] } else { Vec::new() },
            subjects: text(3, "front"),
            correlation_ids: text(4, "visit"),
            since: is_asked(5).then_some(Timestamp(1)),
            until: is_asked(6).then_some(Timestamp(i64::MAX)),
            limit: 9,
            ..EventQuery::default()
        };
        for is_oldest_first in [false, true] {
            let cursor = (mask % 2 == 0).then_some(Cursor { time: Timestamp(5), pos: 5 });
            let query = EventQuery { is_oldest_first, cursor, ..query.clone() };
            reader.events(&query).expect("events");
            reader.count_events(&query, None).expect("a count");
        }
    }
    let conditions = [
        Condition::Text(TextField::Kind, TextTest::StartsWith("RI".to_owned())),
        Condition::Text(TextField::Id, TextTest::Is(Comparison::Equal, "a1".to_owned())),
        Condition::Number(NumberField::Time, NumberTest::Is(Comparison::Less, 5)),
        Condition::Number(NumberField::Priority, NumberTest::IsIn(vec![1, 2], true)),
        Condition::Json(
            JsonPlace { is_added: false, path: "$.\"a\"".to_owned() },
            JsonTest::IsIn(vec!["b".to_owned()]),
        ),
    ];
    for condition in conditions {
        let query = EventQuery { condition: Some(condition), limit: 9, ..EventQuery::default() };
        reader.events(&query).expect("events");
    }
    for words in ["door", "gate"] {
        for types in [vec![], vec!["RING".to_owned()]] {
            let search = Some(search(words, &["data.note"]));
            let query = EventQuery { search, types, limit: 9, ..EventQuery::default() };
            let page = reader.events(&query).expect("events");
            assert_eq!(page.rows.len(), if words == "door" { 9 } else { 1 });
            reader.count_events(&query, None).expect("a count");
        }
    }
    for by in CountBy::ALL {
        for grain in [CountGrain::Minute, CountGrain::Hour] {
            reader.counts(*by, grain, (0, 9)).expect("counts");
            reader.spreads(*by, grain, (0, 9)).expect("times");
        }
    }
    reader.stats(7, Timestamp(0)).expect("statistics");
    let sinks = vec!["phone".into(), "hook".into()];
    reader.delivery_page(&DeliveryQuery { sinks, limit: 9, ..Default::default() }).expect("a page");
}

#[test]
fn nothing_that_runs_all_the_time_scans_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let evict = Evict::OldestLowestPriority;
    let keep = vec![KeepRule { age: Duration::from_secs(10), priority: None, kind: None }];
    let policy = RetentionPolicy {
        keep,
        size_max: Some(1 << 20),
        evict,
        dead_max: 1,
        ..searching(&["data.note"])
    };
    let mut hand = ByHand::new(StoreLocation::File(path.clone()), policy);
    let seen = Statements::default();
    trace(&mut hand.writer.connection, &seen);
    write(&mut hand);
    hand.clock.0.store(100_000_000, Ordering::Relaxed);
    hand.send_tick();
    while hand.step() {}
    let body = format!("\"{}\"", "x".repeat(100_000));
    hand.write((0..20).map(|it| record(&format!("large{it}"), &body)).collect());
    hand.writer.upkeep_fully();
    let noted = |it| record(&format!("noted{it}"), r#"{"note": "door"}"#);
    hand.write((0..120).map(noted).chain([record("few", r#"{"note": "gate"}"#)]).collect());
    let mut other = Connection::open(&path).expect("it opens");
    trace(&mut other, &seen);
    let wanted = Arc::new(());
    let status = hand.writer.status.clone();
    read(&Reader::new(&mut other, hand.writer.keys, &status, Arc::downgrade(&wanted)));
    other.trace_v2(TraceEventCodes::empty(), None::<fn(TraceEvent<'_>)>).expect("no more");
    let statements = seen.lock().expect("no test panics").clone();
    assert!(60 < statements.len(), "only {} statements were seen", statements.len());
    assert!(scans(&other, "SELECT count(*) FROM inbox").is_some(), "this one is a scan");
    let wrong: Vec<String> =
        statements.iter().filter_map(|statement| scans(&other, statement)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The plan of a statement that scans a table or an index from its beginning.
fn scans(connection: &Connection, sql: &str) -> Option<String> {
    let word = sql.split_whitespace().next().unwrap_or_default();
    let has_plan = ["SELECT", "INSERT", "UPDATE", "DELETE"].contains(&word);
    if !has_plan || BOUNDED.iter().any(|it| sql.contains(it.0)) {
        return None;
    }
    let mut explain =
        connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("it is right");
    for index in 1..=explain.parameter_count() {
        explain.raw_bind_parameter(index, 1).expect("it is bound");
    }
    let (mut rows, mut plan) = (explain.raw_query(), Vec::new());
    while let Some(row) = rows.next().expect("a plan") {
        plan.push(row.get::<_, String>(3).expect("text"));
    }
    let harmless = [
        "SCAN CONSTANT ROW",
        "SCAN 3 CONSTANT ROWS",
        "SCAN 0-ROW VALUES",
        "SCAN json_each",
        "SCAN s VIRTUAL TABLE",
        "SCAN (subquery",
        "SCAN found",
        // Rows of a view that were found already.
        "SCAN event_metrics",
        // By words, and by words and places.
        "SCAN event_texts VIRTUAL TABLE INDEX 0:M",
        "SCAN event_texts VIRTUAL TABLE INDEX 0:=",
    ];
    let is_scan = |text: &&String| {
        text.starts_with("SCAN") && !harmless.iter().any(|ok| text.starts_with(ok))
    };
    plan.iter().find(is_scan)?;
    Some(format!("{sql}\n    {}", plan.join("\n    ")))
}

/// What other programs ask of the documented views, and what is not to be found in its plan.
#[test]
fn the_documented_views_find_one_event_by_an_index() {
    let hand = ByHand::new(StoreLocation::Memory, RetentionPolicy::default());
    for sql in [
        "SELECT * FROM events WHERE id = 'a'",
        "SELECT * FROM events WHERE pos = 1",
        "SELECT * FROM events WHERE pos > 1 ORDER BY pos LIMIT 10",
        "SELECT * FROM event_enrichments WHERE event_id = 'a'",
        "SELECT * FROM event_enrichments WHERE pos = 1",
        "SELECT * FROM event_metrics WHERE event_id = 'a'",
        "SELECT * FROM face_recognition_events WHERE event_id = 'a'",
        "SELECT * FROM face_recognition_events ORDER BY created_at DESC LIMIT 10",
        "SELECT * FROM deliveries WHERE seq = 1",
    ] {
        assert_eq!(scans(&hand.writer.connection, sql), None);
    }
}
