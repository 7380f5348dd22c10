mod clocks;
mod damage;
mod owner;
mod trouble;
mod upgrade;

use super::*;
use kernel::additions::Additions;
use kernel::attempts::{AttemptLog, AttemptRecord};
use kernel::env::{Clock, Pending, Pools, Random};
use kernel::event::{Body, DataAt, Envelope, Event, Priority};
use kernel::fault::{Cause, Fault};
use kernel::time::Timestamp;
use rusqlite::Connection;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;

mod attempts;
mod away;
mod counts;
mod letters;
mod memory;
mod messages;
mod outbox;
mod plans;
mod queries;
mod retention;
mod search;
mod wal;

/// A clock that a test sets; nothing here waits for it.
struct Still(AtomicU64);

impl Clock for Still {
    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Timestamp {
        Timestamp(1_767_225_600_000_000 + self.0.load(Ordering::Relaxed) as i64)
    }

    fn sleep(&self, _: Duration) -> Pending<'static, ()> {
        Box::pin(smol::future::pending())
    }
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u64>>>);

impl CommitObserver for Seen {
    fn committed(&mut self, batch: &[Arc<StoredEvent>]) {
        self.0.lock().expect("no test panics").extend(batch.iter().map(|it| it.pos));
    }

    fn deliveries(&mut self, _: &BTreeSet<Arc<str>>) {}
}

/// How many cases are drawn: a cheap number, or as many as `CASES` says.
fn cases(cheap: usize) -> usize {
    std::env::var("CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(cheap)
}

struct Bench {
    store: Store,
    clock: Arc<Still>,
    health: Arc<kernel::health::Health>,
    seen: Seen,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn settings(place: StoreLocation) -> Settings {
    Settings {
        place,
        synchronous: Synchronous::Full,
        batch: 64,
        linger: Duration::ZERO,
        name: "db".into(),
    }
}

fn bench(place: StoreLocation, policy: RetentionPolicy) -> Bench {
    let clock = Arc::new(Still(AtomicU64::new(0)));
    let env = Env::new(clock.clone(), Random::seeded(1), Pools::system());
    let (seen, health) = (Seen::default(), env.health.clone());
    let (store, writer) =
        open(settings(place), policy, env, Box::new(seen.clone())).expect("it opens");
    let thread = Some(std::thread::spawn(|| writer.run()));
    Bench { store, clock, health, seen, thread }
}

impl Bench {
    fn at(path: &Path) -> Bench {
        bench(StoreLocation::File(path.to_owned()), RetentionPolicy::default())
    }

    /// One round of housekeeping, a second later.
    fn tick(&self) {
        self.clock.0.fetch_add(1_000_000, Ordering::Relaxed);
        smol::block_on(self.store.tick());
    }

    /// Codes of what is wrong now.
    fn codes(&self) -> Vec<&'static str> {
        let parts = self.store.shared.env.health.report();
        parts.iter().flat_map(|part| &part.problems).map(|it| it.problem.code).collect()
    }

    fn try_submit(&self, entries: Vec<StoreEntry>) -> Result<Vec<WriteReceipt>, StoreTrouble> {
        smol::block_on(self.store.submit(entries)).map_err(|fault| fault.class)
    }

    fn submit(&self, entries: Vec<StoreEntry>) -> Vec<WriteReceipt> {
        smol::block_on(self.store.submit(entries)).expect("it is written")
    }

    fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Reader<'_>) -> Result<T, StoreFault> + Send + 'static,
    ) -> T {
        smol::block_on(self.store.read(job)).expect("it is read")
    }

    /// The newest dead letters.
    fn letters(&self, limit: usize) -> Vec<DeadLetter> {
        let newest = LetterOrder::Newest(None);
        self.read(move |reader| {
            reader.dead_letters(&LetterFilter::default(), newest, limit, usize::MAX)
        })
        .letters
    }

    fn listed(&self, query: EventQuery) -> Vec<String> {
        let page = self.read(move |reader| reader.events(&EventQuery { limit: 100, ..query }));
        page.rows.iter().map(|row| row.envelope.id.to_string()).collect()
    }

    fn close(mut self) {
        smol::block_on(self.store.close());
        self.thread.take().expect("closed once").join().expect("the writer ends well");
    }
}

fn event(id: &str, body: &str) -> Event {
    let now = Timestamp(1_767_225_600_000_000);
    Event {
        seq: 0,
        generation: 1,
        envelope: Envelope {
            id: id.into(),
            kind: "RING".into(),
            source: "door".into(),
            subject: "front".into(),
            time: now,
            received: now,
            priority: Priority::High,
            correlation_id: None,
            parent_id: None,
        },
        body: Body { bytes: body.as_bytes().into(), data: DataAt::Slice(0..body.len()) },
        data: Arc::new(json!({})),
        raw: None,
        globals: Arc::default(),
        enrich: Additions::default(),
    }
}

fn finished(event: Event) -> FinishedEvent {
    let targets = ["db".into()].into();
    FinishedEvent {
        event: event.into(),
        stages: [].into(),
        targets,
        deliveries: Vec::new(),
        silences: Vec::new(),
        answers: Vec::new(),
    }
}

fn record(id: &str, body: &str) -> StoreEntry {
    StoreEntry::Record(finished(event(id, body)))
}

fn told(id: &str, window: u64) -> StoreEntry {
    told_at(id, window, 0)
}

/// An event so many seconds after the first one.
fn told_at(id: &str, window: u64, second: u64) -> StoreEntry {
    let mut event = event(id, "{}");
    event.envelope.time = event.envelope.time.plus(Duration::from_secs(second));
    let (key, time) = ("k".to_owned(), event.envelope.time);
    let cooldown = CooldownClaim { key, time, window: Duration::from_secs(window) };
    let delivery = NewDelivery {
        sink: "phone".into(),
        cooldown: Some(cooldown),
        suppressed: None,
        traits: DeliveryTraits::default(),
    };
    StoreEntry::Record(FinishedEvent { deliveries: vec![delivery], ..finished(event) })
}

#[test]
fn two_copies_in_one_batch_are_one_event() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let receipts = bench.submit(vec![record("a", "{}"), record("a", "{}"), record("a", "[]")]);
    assert_eq!(
        receipts,
        [
            WriteReceipt::Stored { seq: 1, pos: 1 },
            WriteReceipt::Duplicate { seq: 1 },
            WriteReceipt::Conflict { seq: 1 }
        ]
    );
    assert_eq!(bench.listed(EventQuery::default()), ["a"]);
    bench.close();
}

#[test]
fn a_duplicate_is_known_after_a_crash_and_after_a_clean_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let first = Bench::at(&path);
    first.submit(vec![record("a", "{}")]);
    for end in ["", "-wal"] {
        let from = format!("{}{end}", path.display());
        std::fs::copy(from, format!("{}{end}", copy.display())).expect("it copies");
    }
    first.close();
    for path in [path, copy] {
        let again = Bench::at(&path);
        assert_eq!(again.submit(vec![record("a", "{}")]), [WriteReceipt::Duplicate { seq: 1 }]);
        again.close();
    }
}

#[test]
fn what_finishes_late_becomes_visible_late() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let accepted = bench.submit(vec![StoreEntry::Accept(event("slow", "{}"))]);
    assert_eq!(accepted, [WriteReceipt::Accepted { seq: 1 }]);
    bench.submit(vec![record("quick", "{}")]);
    assert_eq!(bench.read(|reader| reader.inbox(0, 10)).len(), 1);
    let late = Event { seq: 1, ..event("slow", "{}") };
    let done = bench.submit(vec![StoreEntry::Finish(finished(late))]);
    assert_eq!(done, [WriteReceipt::Stored { seq: 1, pos: 3 }]);
    assert_eq!(*bench.seen.0.lock().expect("no test panics"), [2, 3]);
    assert!(bench.read(|reader| reader.inbox(0, 10)).is_empty());
    assert_eq!(bench.submit(vec![record("slow", "{}")]), [WriteReceipt::Duplicate { seq: 1 }]);
    assert_eq!(bench.read(|reader| reader.by_seq(&[1]))[0].pos, 3);
    bench.close();
}

#[test]
fn an_accepted_event_ends_once_and_takes_its_results_with_it() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![StoreEntry::Accept(event("a", "{}"))]);
    let result = || StoreEntry::Result {
        seq: 1,
        stage: "weather".into(),
        generation: 1,
        output: "7".to_owned(),
    };
    bench.submit(vec![result()]);
    assert_eq!(bench.read(|reader| reader.results(1)), [("weather".to_owned(), "7".to_owned())]);
    let ended = || StoreEntry::Finish(finished(Event { seq: 1, ..event("a", "{}") }));
    assert_eq!(bench.submit(vec![ended()]), [WriteReceipt::Stored { seq: 1, pos: 2 }]);
    assert_eq!(bench.submit(vec![ended(), result()])[0], WriteReceipt::Duplicate { seq: 1 });
    assert_eq!(bench.listed(EventQuery::default()), ["a"]);
    assert!(bench.read(|reader| reader.results(1)).is_empty());
    bench.close();
}

#[test]
fn a_cooldown_holds_back_in_commit_order() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![told("a", 60), told_at("b", 60, 59)]);
    bench.submit(vec![told_at("c", 60, 60), told_at("late", 60, 58), told_at("other", 60, 500)]);
    let states = bench.read(|reader| {
        let mut states = Vec::new();
        for seq in 1..=5 {
            states.extend(reader.deliveries_of(seq)?.into_iter().map(|it| it.state.word()));
        }
        Ok(states)
    });
    assert_eq!(states, ["pending", "suppressed", "pending", "suppressed", "pending"]);
    bench.close();
}

#[test]
fn retention_takes_what_is_old_and_never_what_is_not_delivered() {
    let keep = |secs, priority| KeepRule { age: Duration::from_secs(secs), priority, kind: None };
    let policy = RetentionPolicy {
        keep: vec![keep(1000, Some(Priority::Critical)), keep(100, None)],
        ..RetentionPolicy::default()
    };
    let bench = bench(StoreLocation::Memory, policy);
    let mut critical = event("critical", "{}");
    critical.envelope.priority = Priority::Critical;
    bench.submit(vec![
        StoreEntry::Record(finished(critical)),
        told("waits", 60),
        record("old", "{}"),
    ]);
    bench.clock.0.store(200_000_000, Ordering::Relaxed);
    smol::block_on(bench.store.sweep());
    let mut left = bench.listed(EventQuery::default());
    left.sort();
    assert_eq!(left, ["critical", "waits"]);
    let settled = Settlement {
        sink: "phone".into(),
        seq: 2,
        state: DeliveryState::Done,
        attempts: 1,
        not_before: Timestamp(0),
        error: None,
        letter: None,
        receipt: None,
        attempt: None,
    };
    bench.submit(vec![StoreEntry::Settle(settled)]);
    smol::block_on(bench.store.sweep());
    assert_eq!(bench.listed(EventQuery::default()), ["critical"]);
    assert_eq!(bench.submit(vec![record("old", "{}")]), [WriteReceipt::Duplicate { seq: 3 }]);
    bench.close();
}

#[test]
fn pages_neither_skip_nor_repeat_events_of_one_time() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let entries = (0..25).map(|it| record(&format!("e{it:02}"), "{}")).collect();
    bench.submit(entries);
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let query = EventQuery { limit: 10, cursor, ..EventQuery::default() };
        let page = bench.read(move |reader| reader.events(&query));
        ids.extend(page.rows.iter().map(|row| row.envelope.id.to_string()));
        cursor = page.next.and_then(|it| Cursor::parse(&it.to_string()));
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|it| format!("e{it:02}")).collect();
    assert_eq!(ids, expected);
    bench.close();
}

#[test]
fn a_page_and_a_chunk_end_before_they_hold_too_much_and_nothing_is_skipped() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let large = format!("\"{}\"", "x".repeat(10_000));
    let bodies = (0..20).map(|it| if it % 3 == 0 { large.as_str() } else { "{}" });
    bench.submit(bodies.enumerate().map(|it| record(&format!("e{:02}", it.0), it.1)).collect());
    for bytes in [1, 5_000, 11_000, 25_000, 1_000_000] {
        let (mut ids, mut cursor, mut most) = (Vec::new(), None, 0);
        loop {
            let query =
                EventQuery { limit: 50, bytes_max: Some(bytes), cursor, ..EventQuery::default() };
            let page = bench.read(move |reader| reader.events(&query));
            assert!(!page.rows.is_empty(), "a page moves on");
            if 1 < page.rows.len() {
                most = most.max(page.rows.iter().map(StoredEvent::size).sum::<usize>());
            }
            ids.extend(page.rows.iter().map(|row| row.envelope.id.to_string()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..20).rev().map(|it| format!("e{it:02}")).collect();
        assert_eq!(ids, expected, "pages of {bytes}");
        assert!(most <= bytes, "{most} in a page of {bytes}");
        let (mut streamed, mut after) = (Vec::new(), 0);
        while after < 20 {
            let chunk = bench.read(move |reader| reader.stream(after, 20, 7, bytes));
            assert!(after < chunk.to && chunk.events.len() <= 7, "a chunk moves on");
            streamed.extend(chunk.events.iter().map(|event| event.pos));
            after = chunk.to;
        }
        assert_eq!(streamed, (1..=20).collect::<Vec<u64>>(), "chunks of {bytes}");
    }
    bench.close();
}

#[test]
fn dead_letters_are_paged_by_number_and_bytes() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let letter = |size: usize| {
        let (now, body) = (Timestamp(0), vec![b'x'; size].into());
        StoreEntry::Refuse(DeadLetter {
            id: 0,
            what: DeadLetterWhat::Rejected,
            seq: None,
            source_node: "door".into(),
            source: None,
            event_id: None,
            stage: "validate".into(),
            class: "invalid",
            reason: String::new(),
            attempts: 0,
            first: now,
            last: now,
            generation: 1,
            body,
            mapped: None,
            context: None,
        })
    };
    bench.submit((0..10).map(|it| letter(if it == 4 { 5000 } else { 10 })).collect());
    for (limit, bytes) in [(1, 1 << 20), (3, 1 << 20), (10, 1), (10, 100), (10, 1 << 20), (50, 30)]
    {
        let (mut ids, mut before) = (Vec::new(), None);
        loop {
            let page = bench.read(move |reader| {
                reader.dead_letters(
                    &LetterFilter::default(),
                    LetterOrder::Newest(before),
                    limit,
                    bytes,
                )
            });
            assert!(page.letters.len() <= limit);
            ids.extend(page.letters.iter().map(|letter| letter.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(ids, (1..=10).rev().collect::<Vec<u64>>(), "{limit} and {bytes}");
    }
    bench.close();
}

fn once(key: &str, entry: StoreEntry) -> StoreEntry {
    StoreEntry::Once { owner: "hooks".into(), key: key.to_owned(), entry: Box::new(entry) }
}

#[test]
fn a_key_is_claimed_once_whatever_the_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let first = Bench::at(&path);
    let receipts = first.submit(vec![
        once("k", record("a", "{}")),
        once("k", record("b", "{}")),
        once("k", record("c", "[]")),
        once("l", StoreEntry::Accept(event("d", "{}"))),
        once("m", record("a", "{}")),
        once("m", record("e", "{}")),
    ]);
    let expected = [
        WriteReceipt::Stored { seq: 1, pos: 1 },
        WriteReceipt::Duplicate { seq: 1 },
        WriteReceipt::Conflict { seq: 1 },
        WriteReceipt::Accepted { seq: 2 },
        // A known id claims nothing, so its key is free.
        WriteReceipt::Duplicate { seq: 1 },
        WriteReceipt::Stored { seq: 3, pos: 3 },
    ];
    assert_eq!(receipts, expected);
    // What a power cut leaves, and what a clean stop leaves.
    for end in ["", "-wal"] {
        let from = format!("{}{end}", path.display());
        std::fs::copy(from, format!("{}{end}", copy.display())).expect("it copies");
    }
    first.close();
    for path in [path, copy] {
        let again = Bench::at(&path);
        let known = [("k", "x", 1), ("l", "y", 2), ("m", "z", 3)];
        for (key, id, seq) in known {
            let receipt = again.submit(vec![once(key, record(id, "{}"))]);
            assert_eq!(receipt, [WriteReceipt::Duplicate { seq }], "{key}");
        }
        let other = StoreEntry::Once {
            owner: "other".into(),
            key: "k".to_owned(),
            entry: Box::new(record("n", "{}")),
        };
        assert_eq!(again.submit(vec![other]), [WriteReceipt::Stored { seq: 4, pos: 4 }]);
        again.close();
    }
}

#[test]
fn a_key_of_a_failed_transaction_is_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    let other = rusqlite::Connection::open(&path).expect("it opens");
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON event_rows WHEN new.id = 'bad'
         BEGIN SELECT RAISE(ABORT, 'refused'); END";
    other.execute_batch(trigger).expect("a trigger");
    let both = vec![once("k", record("a", "{}")), record("bad", "{}")];
    assert!(smol::block_on(bench.store.submit(both)).is_err());
    let stored = bench.submit(vec![once("k", record("b", "{}"))]);
    assert_eq!(stored, [WriteReceipt::Stored { seq: 1, pos: 1 }]);
    bench.close();
}

#[test]
fn filters_find_by_every_part() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let mut other = event("other", "{}");
    other.envelope.kind = "MOTION".into();
    other.envelope.source = "yard".into();
    other.envelope.correlation_id = Some("visit".into());
    other.envelope.priority = Priority::Low;
    bench.submit(vec![record("ring", "{}"), StoreEntry::Record(finished(other))]);
    let text = |text: &str| vec![text.to_owned()];
    let check = |query: EventQuery| assert_eq!(bench.listed(query), ["other"]);
    check(EventQuery { types: text("MOTION"), ..EventQuery::default() });
    check(EventQuery { sources: text("yard"), ..EventQuery::default() });
    check(EventQuery { correlation_ids: text("visit"), ..EventQuery::default() });
    check(EventQuery { priorities: vec![Priority::Low], ..EventQuery::default() });
    let none = EventQuery { types: text("NOTHING"), ..EventQuery::default() };
    assert!(bench.listed(none).is_empty());
    bench.close();
}

#[test]
fn a_failed_transaction_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![record("first", "{}")]);
    let other = rusqlite::Connection::open(&path).expect("it opens");
    other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON event_rows WHEN new.id = 'bad'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .expect("a trigger");
    let refused = smol::block_on(bench.store.submit(vec![record("x", "{}"), record("bad", "{}")]));
    assert!(refused.is_err());
    assert_eq!(bench.submit(vec![record("x", "{}")]), [WriteReceipt::Stored { seq: 2, pos: 2 }]);
    bench.close();
}

#[test]
fn a_second_engine_and_a_newer_store_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/a.db");
    let first = Bench::at(&path);
    let again = |path: &Path| {
        let place = StoreLocation::File(path.to_owned());
        open(settings(place), RetentionPolicy::default(), Env::system(), Box::new(Seen::default()))
            .map(|_| ())
            .expect_err("it is refused")
            .exit_code()
    };
    assert_eq!(again(&path), 75);
    first.close();
    let raw = rusqlite::Connection::open(&path).expect("it opens");
    raw.pragma_update(None, "user_version", 99).expect("a pragma");
    drop(raw);
    let before = std::fs::read(&path).expect("it reads");
    assert_eq!(again(&path), 78);
    assert_eq!(std::fs::read(&path).expect("it reads"), before);
    std::fs::write(&path, vec![7; 20_000]).expect("it writes");
    assert_eq!(again(&path), 65);
}

#[test]
fn the_documented_views_show_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    let mut enriched = event("a", r#"{"n": 1}"#);
    enriched.enrich.put(&["meta".to_owned()], json!({"x": 1}));
    let stage = |name: &str, outcome, error: Option<&str>| kernel::event::StageResult {
        stage: name.into(),
        kind: "metadata".into(),
        outcome,
        attempts: 1,
        started: Timestamp(1_767_225_600_000_000),
        micros: 12,
        error: error.map(Into::into),
        attempt_log: AttemptLog::default(),
    };
    let stages: Arc<[_]> = [
        stage("meta", kernel::event::Outcome::Ok, None),
        stage("sky", kernel::event::Outcome::Skipped, Some("`SKY` is not set")),
        stage("sun", kernel::event::Outcome::Failed, Some("7")),
    ]
    .into();
    let mut stages = stages.to_vec();
    for (name, error) in [("rain", None), ("wind", Some("too late"))] {
        let mut slow = stage(name, kernel::event::Outcome::Failed, error);
        let fault = Fault::transient(Cause::Timeout, "no response within 1s");
        let took = Duration::from_secs(1);
        slow.attempt_log.push(AttemptRecord::new(slow.started, took, Some(&fault)));
        slow.attempt_log.push(AttemptRecord::new(slow.started.plus(took), took, None));
        stages.push(slow);
    }
    let stages: Arc<[_]> = stages.into();
    let record = StoreEntry::Record(FinishedEvent { stages: stages.clone(), ..finished(enriched) });
    bench.submit(vec![record]);
    assert_eq!(bench.read(|reader| reader.intact_by_seq(&[1])).remove(0).stages, stages);
    bench.close();
    let raw = rusqlite::Connection::open(&path).expect("it opens");
    let row: String = raw
        .query_row(
            "SELECT type || ' ' || source || ' ' || priority || ' ' || data FROM events",
            [],
            |row| row.get(0),
        )
        .expect("a row");
    assert_eq!(row, r#"RING door high {"n": 1}"#);
    let row: String = raw
        .query_row(
            "SELECT event_id || ' ' || stage || ' ' || outcome || ' ' || data FROM event_enrichments",
            [],
            |row| row.get(0),
        )
        .expect("a row");
    assert_eq!(row, r#"a meta ok {"x":1}"#);
    let sql = "SELECT group_concat(outcome || ': ' || error, '; ') FROM event_enrichments";
    let row: String = raw.query_row(sql, [], |row| row.get(0)).expect("a row");
    assert_eq!(row, "skipped: `SKY` is not set; failed: 7; failed: too late");
    let row: String =
        raw.query_row("SELECT stages FROM event_rows", [], |row| row.get(0)).expect("a row");
    assert!(!row.contains("SKY"), "a reason that repeats is a code: {row}");
}

fn waiting(id: &str) -> StoreEntry {
    let delivery = NewDelivery {
        sink: "phone".into(),
        cooldown: None,
        suppressed: None,
        traits: DeliveryTraits::default(),
    };
    StoreEntry::Record(FinishedEvent { deliveries: vec![delivery], ..finished(event(id, "{}")) })
}

fn with(id: &str, change: impl FnOnce(&mut Envelope)) -> StoreEntry {
    let mut event = event(id, "{}");
    change(&mut event.envelope);
    StoreEntry::Record(finished(event))
}

#[test]
fn a_filter_holds_however_many_sources_there_are() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let entries = (0..250).map(|it| {
        with(&format!("e{it}"), |envelope| {
            envelope.source = format!("s{it}").into();
            envelope.kind = if it == 7 { "RARE".into() } else { "RING".into() };
        })
    });
    bench.submit(entries.collect());
    let types = vec!["RARE".to_owned()];
    assert_eq!(bench.listed(EventQuery { types, ..EventQuery::default() }), ["e7"]);
    bench.close();
}

#[test]
fn what_is_asked_for_twice_is_listed_once() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![record("a", "{}")]);
    let twice = |text: &str| vec![text.to_owned(), text.to_owned()];
    let types = EventQuery { types: twice("RING"), ..EventQuery::default() };
    assert_eq!(bench.listed(types), ["a"]);
    let priorities = vec![Priority::High, Priority::High];
    assert_eq!(bench.listed(EventQuery { priorities, ..EventQuery::default() }), ["a"]);
    bench.close();
}

#[test]
fn a_page_may_end_before_1970() {
    let cursor = Cursor { time: Timestamp(-5), pos: 3 };
    assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
}

#[test]
fn what_waits_for_its_delivery_does_not_keep_what_is_behind_it() {
    let keep = vec![KeepRule { age: Duration::from_secs(100), priority: None, kind: None }];
    let bench =
        bench(StoreLocation::Memory, RetentionPolicy { keep, ..RetentionPolicy::default() });
    for chunk in 0..6 {
        let ids = chunk * 100..(chunk + 1) * 100;
        bench.submit(ids.map(|ids| waiting(&format!("w{ids}"))).collect());
    }
    bench.submit((0..100).map(|it| record(&format!("d{it}"), "{}")).collect());
    bench.clock.0.store(200_000_000, Ordering::Relaxed);
    smol::block_on(bench.store.sweep());
    let left = bench.read(|reader| reader.stream(0, u64::MAX >> 1, 1000, usize::MAX)).events;
    assert_eq!(left.iter().filter(|it| it.envelope.id.starts_with('d')).count(), 0);
    assert_eq!(left.len(), 600);
    bench.close();
}

#[test]
fn a_full_store_passes_by_what_waits_for_its_delivery() {
    let policy = RetentionPolicy { size_max: Some(400_000), ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::Memory, policy);
    bench.submit((0..600).map(|it| waiting(&format!("w{it}"))).collect());
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat(1000));
    bench.submit((0..600).map(|it| record(&format!("d{it}"), &body)).collect());
    smol::block_on(bench.store.sweep());
    let left = bench.read(|reader| reader.stream(0, u64::MAX >> 1, 2000, usize::MAX)).events;
    assert_eq!(left.iter().filter(|it| it.envelope.id.starts_with('w')).count(), 600);
    assert!(left.len() < 1200, "{} are left", left.len());
    bench.close();
}

#[test]
fn what_was_not_sent_to_the_store_goes_after_a_while() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let elsewhere =
        FinishedEvent { targets: ["live".into()].into(), ..finished(event("live", "{}")) };
    bench.submit(vec![StoreEntry::Record(elsewhere), record("kept", "{}")]);
    let ids = |bench: &Bench| -> Vec<String> {
        let left = bench.read(|reader| reader.stream(0, 100, 100, usize::MAX)).events;
        left.iter().map(|it| it.envelope.id.to_string()).collect()
    };
    bench.clock.0.store(60_000_000, Ordering::Relaxed);
    smol::block_on(bench.store.sweep());
    assert_eq!(ids(&bench), ["live", "kept"]);
    bench.clock.0.store(86_400_000_000 * 2, Ordering::Relaxed);
    smol::block_on(bench.store.sweep());
    assert_eq!(ids(&bench), ["kept"]);
    bench.close();
}

#[test]
fn an_event_that_finishes_twice_is_stored_once() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![StoreEntry::Accept(event("a", "{}"))]);
    let done = finished(Event { seq: 1, ..event("a", "{}") });
    bench.submit(vec![StoreEntry::Finish(done.clone())]);
    assert_eq!(bench.submit(vec![StoreEntry::Finish(done)]), [WriteReceipt::Duplicate { seq: 1 }]);
    assert_eq!(bench.listed(EventQuery::default()), ["a"]);
    assert_eq!(*bench.seen.0.lock().expect("no test panics"), [2]);
    bench.close();
}

fn letter(what: DeadLetterWhat, source: Option<&str>) -> DeadLetter {
    DeadLetter {
        id: 0,
        what,
        seq: None,
        source_node: "door".into(),
        source: source.map(str::to_owned),
        event_id: None,
        stage: "weather".into(),
        class: "permanent",
        reason: "no".to_owned(),
        attempts: 1,
        first: Timestamp(0),
        last: Timestamp(1_767_225_600_000_000),
        generation: 1,
        body: b"{}".as_slice().into(),
        mapped: None,
        context: None,
    }
}

/// What a crash leaves: the files as they stand while the engine runs.
fn crashed(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let name = |path: &Path| format!("{}{end}", path.display());
        std::fs::copy(name(from), name(to)).expect("it is copied");
    }
}

#[test]
fn a_buried_event_is_known_after_a_crash_whatever_its_letter_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::at(&path);
    let letter = letter(DeadLetterWhat::Event, None);
    bench.submit(vec![StoreEntry::DeadLetter { event: event("a", "{}"), letter }]);
    crashed(&path, &copy);
    bench.close();
    let bench = Bench::at(&copy);
    assert_eq!(bench.submit(vec![record("a", "{}")]), [WriteReceipt::Duplicate { seq: 1 }]);
    bench.close();
}

#[test]
fn what_is_refused_teaches_the_store_no_names() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![StoreEntry::Refuse(letter(DeadLetterWhat::Rejected, Some("made up")))]);
    assert_eq!(bench.read(|reader| reader.sources()), ["door"]);
    bench.close();
}

#[test]
fn the_dictionary_has_one_bound_over_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    for round in 0..2 {
        let bench = Bench::at(&path);
        let entries = (0..3000).map(|it| {
            with(&format!("{round}-{it}"), |envelope| {
                envelope.source = format!("{round}-{it}").into();
            })
        });
        bench.submit(entries.collect());
        bench.close();
    }
    let connection = Connection::open(&path).expect("it opens");
    let sql = "SELECT count(*) FROM names WHERE kind = 1";
    let count: i64 = connection.query_row(sql, [], |row| row.get(0)).expect("a count");
    assert_eq!(count, 4096);
}

#[test]
fn a_newer_store_keeps_even_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    Bench::at(&path).close();
    let newer = Connection::open(&path).expect("it opens");
    newer.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA user_version = 99;").expect("set");
    crashed(&path, &copy);
    let bytes = || ["", "-wal"].map(|it| std::fs::read(format!("{}{it}", copy.display())).ok());
    let before = bytes();
    let env = Env::new(Arc::new(Still(AtomicU64::new(0))), Random::seeded(1), Pools::system());
    let place = StoreLocation::File(copy.clone());
    let refused = open(settings(place), RetentionPolicy::default(), env, Box::new(Seen::default()));
    assert_eq!(refused.err().map(|it| it.exit_code()), Some(78));
    assert!(before == bytes(), "the files have changed");
}

#[test]
fn a_damaged_page_is_found_at_the_start_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::at(&path);
    bench.submit((0..200).map(|it| record(&format!("e{it}"), &"1".repeat(300))).collect());
    bench.close();
    std::fs::copy(&path, &copy).expect("it is copied");
    // A crash leaves the mark of an open store.
    let connection = Connection::open(&copy).expect("it opens");
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('is_open', 1)";
    connection.execute_batch(sql).expect("marked");
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("written");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'event_rows_kind'";
    let root: usize =
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a page") as usize;
    drop(connection);
    let mut bytes = std::fs::read(&copy).expect("it is read");
    bytes[(root - 1) * 8192..(root - 1) * 8192 + 200].fill(0xA5);
    std::fs::write(&copy, bytes).expect("it is damaged");
    let env = Env::new(Arc::new(Still(AtomicU64::new(0))), Random::seeded(1), Pools::system());
    let opened = open(
        settings(StoreLocation::File(copy)),
        RetentionPolicy::default(),
        env,
        Box::new(Seen::default()),
    );
    assert_eq!(opened.err().map(|it| it.exit_code()), Some(65));
}

#[test]
fn ids_are_forgotten_only_long_after_their_events() {
    // Longer than the day for which every id is remembered.
    let keep = vec![KeepRule { age: Duration::from_secs(100_000), priority: None, kind: None }];
    let bench =
        bench(StoreLocation::Memory, RetentionPolicy { keep, ..RetentionPolicy::default() });
    let later = |id: &str, thousands: i64| {
        with(id, move |it| it.received = Timestamp(it.received.0 + thousands * 1_000_000_000))
    };
    let sweep_at = |thousands: u64| {
        bench.clock.0.store(thousands * 1_000_000_000, Ordering::Relaxed);
        smol::block_on(bench.store.sweep());
    };
    bench.submit(vec![record("a", "{}")]);
    sweep_at(0);
    sweep_at(101);
    assert_eq!(bench.listed(EventQuery::default()), Vec::<String>::new());
    bench.submit(vec![later("b", 101)]);
    sweep_at(150);
    assert_eq!(bench.submit(vec![later("b", 101)]), [WriteReceipt::Duplicate { seq: 2 }]);
    sweep_at(210);
    // Their bytes decide, since the rows are gone: `a` has been forgotten, `b` has not.
    assert_eq!(bench.submit(vec![later("b", 210)]), [WriteReceipt::Duplicate { seq: 2 }]);
    assert_eq!(bench.submit(vec![later("a", 210)]), [WriteReceipt::Stored { seq: 3, pos: 3 }]);
    bench.close();
}

#[test]
fn the_id_of_a_dropped_letter_stays_taken_over_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::at(&path);
    let letter = letter(DeadLetterWhat::Event, Some("door"));
    bench.submit(vec![StoreEntry::DeadLetter { event: event("a", "{}"), letter }]);
    bench.submit(vec![StoreEntry::DropLetter { id: 1 }]);
    crashed(&path, &copy);
    bench.close();
    let bench = Bench::at(&copy);
    assert_eq!(bench.submit(vec![record("a", "{}")]), [WriteReceipt::Duplicate { seq: 1 }]);
    bench.close();
}

#[test]
fn after_a_failed_disk_nothing_is_answered_for() {
    let env = Env::new(Arc::new(Still(AtomicU64::new(0))), Random::seeded(1), Pools::system());
    let (store, mut writer) = open(
        settings(StoreLocation::Memory),
        RetentionPolicy::default(),
        env,
        Box::new(Seen::default()),
    )
    .expect("it opens");
    writer.note(&StoreFault { class: StoreTrouble::Io, reason: "sync failed".to_owned() });
    let thread = std::thread::spawn(|| writer.run());
    let refused = smol::block_on(store.submit(vec![record("a", "{}")]));
    assert_eq!(refused.map_err(|fault| fault.class), Err(StoreTrouble::Io));
    assert!(!store.is_healthy());
    smol::block_on(store.tick());
    smol::block_on(store.sweep());
    smol::block_on(store.close());
    thread.join().expect("the writer ends well");
}

#[test]
fn a_read_that_is_dropped_gives_its_connection_back_and_ends() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    // Longer than anybody waits: it ends because nobody does.
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                   SELECT count(*) FROM n";
    for _ in 0..3 * readers::READERS {
        let mut read = Box::pin(bench.store.read(move |reader| reader.count_of(endless)));
        assert!(smol::block_on(smol::future::poll_once(&mut read)).is_none());
        drop(read);
    }
    assert!(!bench.read(|reader| reader.is_any_pending()));
    // The last of them may be ending still.
    let all_free = || readers::READERS == bench.store.free_readers();
    while !all_free() {
        std::thread::yield_now();
    }
    bench.close();
}
