//! What stages remember: in the transaction of the event, once, bounded, and for as long as the
//! stage is the same.

use super::*;
use crate::{Emission, Memory, MemoryNode, Moment, Note, NoteRole, Noted, Notes, Step};

/// Counts the events of a key, drops each third one, tells of each, and looks again a second later.
struct Counting;

impl Memory for Counting {
    fn step(&self, kept: Option<&str>, _: &Noted, moment: &Moment<'_>) -> Step {
        let count = kept.map_or(0, |it| it.parse::<u64>().expect("a number")) + 1;
        Step {
            kept: Some(count.to_string()),
            due: Some(moment.time.plus(Duration::from_secs(1))),
            is_dropped: count.is_multiple_of(3),
            output: Some(count.to_string()),
            ..Step::default()
        }
    }

    fn wake(&self, kept: &str, moment: &Moment<'_>) -> Step {
        let emission = Emission {
            kind: "counted".into(),
            subject: moment.key.into(),
            time: moment.time,
            parent_id: None,
            data: json!({ "count": kept.parse::<u64>().expect("a number") }),
        };
        Step { kept: Some(kept.to_owned()), emits: vec![emission], ..Step::default() }
    }
}

fn node(print: &str, keys_max: u64) -> Arc<MemoryNode> {
    Arc::new(MemoryNode {
        name: "counting".into(),
        print: print.to_owned(),
        keys_max,
        is_on: true,
        priority: Priority::Normal,
        memory: Arc::new(Counting),
        figures: Arc::default(),
    })
}

fn remember(node: &Arc<MemoryNode>) -> StoreEntry {
    StoreEntry::Remember {
        generation: 1,
        nodes: vec![node.clone()],
        rules: Vec::new(),
        targets: Vec::new(),
    }
}

fn noted(
    node: &Arc<MemoryNode>,
    key: &str,
    second: i64,
    role: NoteRole,
    entry: StoreEntry,
) -> StoreEntry {
    let time = Timestamp(second * 1_000_000);
    let note = Note { node: node.clone(), key: key.to_owned(), noted: Arc::new(()), lane: 0, role };
    let notes = Notes { lanes: vec![("door".into(), time)], all: vec![note] };
    StoreEntry::Judged { notes, entry: Box::new(entry) }
}

fn watched(node: &Arc<MemoryNode>, id: &str, key: &str, second: i64) -> StoreEntry {
    noted(node, key, second, NoteRole::Watches, record(id, "{}"))
}

impl Bench {
    /// What is kept, by key.
    fn kept(&self) -> Vec<(String, String)> {
        self.read(|reader| {
            let sql = "SELECT key, kept FROM remembered ORDER BY key";
            reader.many(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    /// Ids of events that wait in the inbox, and whether a stage sent them.
    fn waiting(&self) -> Vec<(String, bool)> {
        self.read(|reader| {
            let rows = reader.inbox(0, 100)?;
            let all = rows
                .iter()
                .map(|row| Ok((row.envelope.id.to_string(), reader.emitted(row.seq)?.is_some())));
            all.collect()
        })
    }
}

fn kept(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect()
}

#[test]
fn only_what_is_new_counts_and_what_fails_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    let node = node("a", 10);
    bench.submit(vec![remember(&node)]);
    bench.submit(vec![watched(&node, "1", "front", 10), watched(&node, "1", "front", 10)]);
    assert_eq!(bench.kept(), kept(&[("front", "1")]), "a duplicate does not count");
    let other = rusqlite::Connection::open(&path).expect("it opens");
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON state BEGIN
                   SELECT RAISE(ABORT, 'on purpose'); END";
    other.execute_batch(trigger).expect("it is made");
    let save =
        StoreEntry::Save { owner: "a".into(), key: "b".to_owned(), value: Some("c".to_owned()) };
    let failed = bench.try_submit(vec![
        watched(&node, "2", "front", 20),
        watched(&node, "3", "back", 20),
        save,
    ]);
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!((bench.kept(), bench.waiting()), (kept(&[("front", "1")]), Vec::new()));
    other.execute_batch("DROP TRIGGER refuse").expect("it goes");
    // The time of what failed has not passed either.
    bench.submit(vec![watched(&node, "4", "front", 10)]);
    assert_eq!((bench.kept(), bench.waiting()), (kept(&[("front", "2")]), Vec::new()));
    bench.close();
}

#[test]
fn an_event_is_let_go_or_gets_what_is_added_and_claims_only_then() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let node = node("a", 10);
    bench.submit(vec![remember(&node)]);
    let accept = |id: &str| StoreEntry::Accept(event(id, "{}"));
    let adds = noted(&node, "k", 1, NoteRole::Adds, accept("1"));
    let outputs = vec![("counting".into(), "1".into())];
    assert_eq!(bench.submit(vec![adds]), [WriteReceipt::Judged { seq: 1, outputs }]);
    assert_eq!(bench.read(|reader| reader.results(1)), [("counting".to_owned(), "1".to_owned())]);
    let passes = |id: &str| noted(&node, "k", 1, NoteRole::Passes, record(id, "{}"));
    let receipts = bench.submit(vec![passes("2"), passes("3"), passes("3")]);
    let dropped = WriteReceipt::Dropped { node: "counting".into() };
    let (second, fourth) =
        (WriteReceipt::Stored { seq: 2, pos: 2 }, WriteReceipt::Stored { seq: 3, pos: 3 });
    // What was let go has claimed nothing, so it is judged again when it comes again.
    assert_eq!(receipts, [second, dropped, fourth]);
    bench.close();
}

#[test]
fn what_a_stage_sends_waits_until_it_has_passed_the_filters() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let node = node("a", 10);
    bench.submit(vec![remember(&node)]);
    bench.submit(vec![watched(&node, "1", "front", 10), watched(&node, "2", "back", 12)]);
    assert_eq!(bench.waiting(), [("counting-2".to_owned(), true)], "its time has passed");
    let mut sent = bench.read(|reader| reader.inbox(0, 1)).remove(0);
    assert_eq!(sent.envelope.time, Timestamp(11_000_000));
    assert_eq!((&*sent.envelope.subject, sent.body.data_text()), ("front", r#"{"count":1}"#));
    let finish = |seq: u64| {
        let event = Event { seq, ..event("counting-2", r#"{"count":1}"#) };
        noted(&node, "front", 11, NoteRole::Watches, StoreEntry::Finish(finished(event)))
    };
    let receipts = bench.submit(vec![finish(sent.seq), finish(sent.seq)]);
    assert!(matches!(
        receipts[..],
        [WriteReceipt::Stored { seq: 2, .. }, WriteReceipt::Duplicate { seq: 2 }]
    ));
    assert_eq!(bench.kept(), kept(&[("back", "1"), ("front", "2")]), "it was judged once");
    // Nobody comes any more: the clock of the wall stands in.
    bench.clock.0.fetch_add(5_000_000, Ordering::Relaxed);
    bench.submit(vec![StoreEntry::Wake]);
    assert_eq!(bench.waiting().len(), 2);
    sent = bench.read(|reader| reader.inbox(0, 1)).remove(0);
    assert_eq!(&*sent.envelope.subject, "front");
    bench.submit(vec![StoreEntry::Wake]);
    assert_eq!(bench.waiting().len(), 2, "each is due once");
    bench.close();
}

#[test]
fn keys_are_bounded_and_stay_while_the_stage_is_the_same() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let first = node("a", 3);
    bench.submit(vec![remember(&first)]);
    for (at, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        bench.clock.0.fetch_add(1_000_000, Ordering::Relaxed);
        bench.submit(vec![watched(&first, key, key, 10 + at as i64 / 4)]);
    }
    assert_eq!(bench.kept(), kept(&[("b", "1"), ("c", "1"), ("d", "1")]));
    let figures = |node: &MemoryNode| {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&node.figures.keys), count(&node.figures.evicted), count(&node.figures.timers))
    };
    assert_eq!(figures(&first), (3, 1, 3));
    let second = node("a", 10);
    bench.submit(vec![remember(&second)]);
    assert_eq!((bench.kept().len(), figures(&second)), (3, (3, 0, 3)));
    // The time of `b` and `c` comes, and they do not ask for another one.
    bench.submit(vec![watched(&second, "g", "d", 12)]);
    assert_eq!(figures(&second), (3, 0, 1));
    let timers = bench.read(|reader| reader.timers(10));
    assert_eq!(timers.iter().map(|timer| timer.key.as_str()).collect::<Vec<_>>(), ["d"]);
    // Who noted something before the reload is still judged.
    bench.submit(vec![watched(&first, "e", "d", 10)]);
    assert_eq!(bench.kept()[2].1, "3");
    bench.submit(vec![remember(&node("another key", 10))]);
    assert_eq!(bench.kept(), []);
    bench.submit(vec![watched(&first, "f", "d", 10)]);
    assert_eq!(bench.kept(), [], "what was noted for a stage that is gone counts for nobody");
    bench.close();
}
