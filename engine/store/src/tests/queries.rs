//! Lists and counts of events against a plain filter over the same events.

use super::search::{self, WantedText, searching};
use super::*;
use crate::{Cursor, DeliveryCursor, DeliveryQuery, EventCount, EventRow, EventTest, LetterPage};
use fastrand::Rng;

const EVENTS: usize = 1500;
const TYPES: [&str; 4] = ["ring", "motion", "face", "rare"];
const SOURCES: [&str; 3] = ["front", "back", "side"];
const LEVELS: [Priority; 4] = Priority::ALL;

/// What is known of an event, and its place.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    pos: u64,
    envelope: Envelope,
    is_visible: bool,
    texts: Vec<String>,
}

fn rows(random: &mut Rng) -> Vec<Row> {
    let row = |at: usize| {
        let kind = if random.u32(..200) == 0 { "rare" } else { TYPES[random.usize(..3)] };
        let mut envelope = event(&format!("e{at}"), "{}").envelope;
        envelope.kind = kind.into();
        envelope.source = (*random.choice(&SOURCES).expect("some")).into();
        envelope.priority = *random.choice(&LEVELS).expect("some");
        envelope.subject = format!("s{}", random.u32(..300)).into();
        envelope.time = Timestamp(random.i64(-50..50) * 1_000_000);
        let visit = random.u32(..40);
        envelope.correlation_id = (visit < 20).then(|| format!("v{visit}").into());
        let texts = (0..random.usize(..3)).map(|_| search::text(random)).collect();
        Row { pos: at as u64 + 1, envelope, is_visible: random.u32(..10) != 0, texts }
    };
    (0..EVENTS).map(row).collect()
}

fn entry(row: &Row) -> StoreEntry {
    let data = json!({ "notes": row.texts }).to_string();
    let event = Event { envelope: row.envelope.clone(), ..event("", &data) };
    let targets = if row.is_visible { vec!["db".into()] } else { vec!["live".into()] };
    StoreEntry::Record(FinishedEvent { targets: targets.into(), ..finished(event) })
}

fn query(random: &mut Rng) -> EventQuery {
    let mut query = EventQuery { limit: random.usize(1..=60), ..EventQuery::default() };
    let mut one_in = |count: u32| random.u32(..count) == 0;
    let asks = [one_in(3), one_in(3), one_in(4), one_in(5), one_in(8), one_in(3), one_in(3)];
    let some = |random: &mut Rng, all: &[&str]| -> Vec<String> {
        (0..random.usize(1..3)).map(|_| random.choice(all).expect("some").to_string()).collect()
    };
    if asks[0] {
        query.types = some(random, &["ring", "motion", "face", "rare", "never"]);
    }
    if asks[1] {
        query.sources = some(random, &SOURCES);
    }
    if asks[2] {
        query.priorities = vec![*random.choice(&LEVELS).expect("some")];
    }
    if asks[3] {
        query.subjects = vec![format!("s{}", random.u32(..320))];
    }
    if asks[4] {
        query.correlation_ids = vec![format!("v{}", random.u32(..25))];
    }
    if asks[5] {
        query.since = Some(Timestamp(random.i64(-60..60) * 1_000_000));
    }
    if asks[6] {
        query.until = Some(Timestamp(random.i64(-60..60) * 1_000_000));
    }
    query.is_oldest_first = random.bool();
    query
}

fn fits(query: &EventQuery, row: &Row) -> bool {
    let it = &row.envelope;
    let any = |wanted: &[String], text: &str| wanted.is_empty() || wanted.iter().any(|w| w == text);
    row.is_visible
        && any(&query.types, &it.kind)
        && any(&query.sources, &it.source)
        && any(&query.subjects, &it.subject)
        && any(&query.correlation_ids, it.correlation_id.as_deref().unwrap_or(""))
        && (query.priorities.is_empty() || query.priorities.contains(&it.priority))
        && query.since.is_none_or(|since| since <= it.time)
        && query.until.is_none_or(|until| it.time <= until)
}

fn is_even(row: &mut EventRow<'_, '_>) -> Option<bool> {
    Some(row.seq()?.is_multiple_of(2))
}

#[test]
fn every_query_lists_and_counts_what_a_filter_over_all_events_does() {
    let mut random = Rng::with_seed(10);
    let rows = rows(&mut random);
    let bench = bench(StoreLocation::Memory, searching(&["data.notes"]));
    for (index, part) in rows.chunks(100).enumerate() {
        bench.submit(part.iter().map(entry).collect());
        // What was there before the index is found in it too.
        if index == 7 {
            smol::block_on(bench.store.sweep());
        }
    }
    for round in 0..cases(600) {
        let mut query = query(&mut random);
        let wanted = random.bool().then(|| WantedText::any(&mut random));
        let words = wanted.as_ref().map(|wanted| &*wanted.words);
        query.search = words.map(|words| search::search(words, &["data.notes"]));
        let tests_rows = random.u32(..4) == 0;
        let is_wanted = |row: &&Row| {
            fits(&query, row)
                && wanted.as_ref().is_none_or(|wanted| wanted.fits(&row.texts))
                && (!tests_rows || row.pos.is_multiple_of(2))
        };
        let mut expected: Vec<&Row> = rows.iter().filter(is_wanted).collect();
        expected.sort_by_key(|it| (it.envelope.time, it.pos));
        if !query.is_oldest_first {
            expected.reverse();
        }
        let expected: Vec<u64> = expected.iter().map(|it| it.pos).collect();
        let (mut found, mut cursor, mut pages) = (Vec::new(), None::<Cursor>, 0);
        loop {
            let asked = EventQuery { cursor, ..query.clone() };
            let page = bench.read(move |reader| {
                let test: EventTest<'_> = if tests_rows { &is_even } else { &|_| Some(true) };
                reader.events_where(&asked, test)
            });
            assert!(page.rows.len() <= query.limit);
            let is_short = page.rows.len() < query.limit;
            assert!(!is_short || page.next.is_none() || page.looked_at.is_some(), "{query:?}");
            found.extend(page.rows.iter().map(|row| row.pos));
            cursor = page.next;
            pages += 1;
            assert!(pages < 2000, "it comes to an end: {query:?}");
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{round}: {query:?}");
        let asked = query.clone();
        let count = bench.read(move |reader| {
            let test: EventTest<'_> = &is_even;
            reader.count_events(&asked, tests_rows.then_some(test))
        });
        match count.is_exact {
            true => assert_eq!(count.events, expected.len(), "{round}: {query:?}"),
            false => assert!(count.events <= expected.len(), "{round}: {query:?}"),
        }
    }
    bench.close();
}

#[test]
fn a_page_that_looks_at_too_many_rows_says_so_and_goes_on() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let mut first = event("needle", "{}");
    first.envelope.subject = "needle".into();
    bench.submit(vec![StoreEntry::Record(finished(first))]);
    for part in 0..20 {
        let id = |number: i32| format!("{part}-{number}");
        bench.submit((0..50).map(|it| record(&id(it), "{}")).collect());
    }
    let query = EventQuery { subjects: vec!["needle".to_owned()], limit: 10, ..Default::default() };
    let (mut cursor, mut looked_at) = (None, Vec::new());
    let found = loop {
        let asked = EventQuery { cursor, ..query.clone() };
        let page = bench.read(move |reader| reader.events(&asked));
        looked_at.extend(page.looked_at);
        cursor = page.next;
        if cursor.is_none() {
            break page.rows.len();
        }
    };
    assert_eq!(found, 1);
    assert!(!looked_at.is_empty() && looked_at.iter().all(|it| 400 <= *it), "{looked_at:?}");
    let count = bench.read(move |reader| reader.count_events(&EventQuery::default(), None));
    assert_eq!(count, EventCount { events: 1000, is_exact: false });
    bench.close();
}

#[test]
fn deliveries_are_listed_page_after_page() {
    let mut random = Rng::with_seed(11);
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let targets: [Arc<str>; 3] = ["chat".into(), "phone".into(), "phone.2".into()];
    let mut expected = Vec::new();
    for seq in 1..=300_u64 {
        // A delivery is as old as its event's commit.
        bench.clock.0.store(seq * 1_000_000, Ordering::Relaxed);
        let mut finished = finished(event(&format!("e{seq}"), "{}"));
        for sink in &targets {
            let (is_sent, is_held) = (random.u32(..3) != 0, random.u32(..4) == 0);
            if is_sent {
                let suppressed = is_held.then(|| "when".to_owned());
                expected.push((seq, sink.clone(), is_held));
                finished.deliveries.push(NewDelivery {
                    sink: sink.clone(),
                    cooldown: None,
                    suppressed,
                    traits: DeliveryTraits::default(),
                });
            }
        }
        bench.submit(vec![StoreEntry::Record(finished)]);
    }
    expected.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    for round in 0..cases(60) {
        let sinks: Vec<Arc<str>> =
            targets.iter().filter(|_| random.u32(..3) != 0).cloned().collect();
        let state = random.bool().then_some(DeliveryState::Suppressed);
        let limit = random.usize(1..40);
        let first = if random.bool() { random.u64(1..320) } else { 0 };
        let since =
            (0 < first).then(|| Timestamp(1_767_225_600_000_000 + (first * 1_000_000) as i64));
        let query =
            DeliveryQuery { sinks: sinks.clone(), state, since, limit, ..Default::default() };
        let (mut found, mut cursor) = (Vec::new(), None);
        for _ in 0..1000 {
            let asked = DeliveryQuery { cursor: cursor.clone(), ..query.clone() };
            let page = bench.read(move |reader| reader.delivery_page(&asked));
            assert!(page.rows.len() <= limit);
            found.extend(page.rows.iter().map(|row| (row.seq, row.sink.clone())));
            cursor = page.next.and_then(|it| DeliveryCursor::parse(&it.to_string()));
            if cursor.is_none() {
                break;
            }
        }
        let is_wanted = |it: &&(u64, Arc<str>, bool)| {
            first <= it.0 && sinks.contains(&it.1) && (state.is_none() || it.2)
        };
        let expected: Vec<_> =
            expected.iter().filter(is_wanted).map(|it| (it.0, it.1.clone())).collect();
        assert_eq!(found, expected, "{round}: {query:?}");
    }
    bench.close();
}

/// A filter by chance, and with which letters of `all` it goes.
fn letter_filter(random: &mut Rng, all: &[DeadLetter]) -> LetterFilter {
    let any = random.choice(all).expect("some").clone();
    let mut one_in = |count: u32| random.u32(..count) == 0;
    let asks = [one_in(3), one_in(3), one_in(3), one_in(4), one_in(6), one_in(4), one_in(4)];
    LetterFilter {
        what: asks[0].then_some(any.what),
        stage: asks[1].then(|| any.stage.to_string()),
        source: asks[2].then(|| any.source.clone().unwrap_or_else(|| any.source_node.to_string())),
        class: asks[3].then(|| any.class.to_owned()),
        event_id: any.event_id.filter(|_| asks[4]),
        since: asks[5].then_some(any.last),
        until: asks[6].then(|| Timestamp(any.last.0 + random.i64(0..50) * 1_000_000)),
    }
}

fn letter_fits(filter: &LetterFilter, letter: &DeadLetter) -> bool {
    let any = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|it| it == text);
    let is_from = |it: &String| *it == *letter.source_node || Some(it) == letter.source.as_ref();
    filter.what.is_none_or(|it| it == letter.what)
        && any(&filter.stage, &letter.stage)
        && filter.source.as_ref().is_none_or(is_from)
        && any(&filter.class, letter.class)
        && filter.event_id.as_ref().is_none_or(|it| Some(it) == letter.event_id.as_ref())
        && filter.since.is_none_or(|since| since <= letter.last)
        && filter.until.is_none_or(|until| letter.last <= until)
}

#[test]
fn dead_letters_are_those_of_a_filter_over_all_of_them() {
    let mut random = Rng::with_seed(12);
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let mut all = Vec::new();
    for id in 1..=400_u64 {
        let any = |random: &mut Rng, texts: &[&'static str]| *random.choice(texts).expect("some");
        let letter = DeadLetter {
            source_node: any(&mut random, &["door", "gate"]).into(),
            stage: any(&mut random, &["weather", "validate", "who"]).into(),
            class: any(&mut random, &["permanent", "transient", "invalid"]),
            event_id: random.bool().then(|| format!("e{}", random.u32(..30))),
            last: Timestamp(1_767_225_600_000_000 + random.i64(0..100) * 1_000_000),
            body: "x".repeat(random.usize(1..100)).into_bytes().into(),
            ..letter(DeadLetterWhat::Rejected, random.bool().then_some("front"))
        };
        bench.submit(vec![StoreEntry::Refuse(letter.clone())]);
        all.push(DeadLetter { id, ..letter });
    }
    for round in 0..cases(200) {
        let filter = letter_filter(&mut random, &all);
        let (limit, is_newest) = (random.usize(1..50), random.bool());
        let mut expected: Vec<u64> =
            all.iter().filter(|it| letter_fits(&filter, it)).map(|it| it.id).collect();
        if is_newest {
            expected.reverse();
        }
        let (mut found, mut from) = (Vec::new(), None);
        for _ in 0..1000 {
            let (asked, from_now) = (filter.clone(), from);
            let order = match is_newest {
                true => LetterOrder::Newest(from_now),
                false => LetterOrder::Oldest(from_now.unwrap_or(0)),
            };
            let LetterPage { letters, next, .. } =
                bench.read(move |reader| reader.dead_letters(&asked, order, limit, 1000));
            assert!(letters.len() <= limit, "{round}");
            found.extend(letters.iter().map(|letter| letter.id));
            from = next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{round}: {filter:?}");
    }
    bench.close();
}

/// An event that goes from the inbox to the others between two looks is seen by one of them.
#[test]
fn what_is_read_at_once_is_of_one_moment() {
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Arc::new(Bench::at(&folder.path().join("a.db")));
    bench.submit(vec![StoreEntry::Accept(event("slow", "{}"))]);
    let (store, writer) = (bench.store.clone(), bench.clone());
    let finish = move || {
        let done = Event { seq: 1, ..event("slow", "{}") };
        writer.submit(vec![StoreEntry::Finish(finished(done))]);
    };
    let seen = smol::block_on(store.read(move |reader| {
        let at_once = reader.at_once(|reader| {
            let before = reader.by_seq(&[1])?.len();
            finish();
            Ok((before, reader.pending(1)?.is_some()))
        })?;
        Ok((at_once, (reader.by_seq(&[1])?.len(), reader.pending(1)?.is_some())))
    }));
    assert_eq!(seen.expect("it is read"), ((0, true), (1, false)));
    Arc::into_inner(bench).expect("nobody else has it").close();
}
