//! Bits that flip: nothing of it is served as if it were right, and nothing panics.

use super::outbox::settled;
use super::scrub::EVENT_INDEXES;
use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Changes the database as no engine would.
fn change(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("it opens");
    connection.execute_batch(sql).expect("it is changed");
}

fn has_passed(bench: &Bench) -> bool {
    bench.store.shared.scrub.lock().expect("no test panics").has_passed()
}

/// Looks at every row, as if the last look were a day ago.
fn look_through(bench: &Bench) {
    *bench.store.shared.scrub.lock().expect("no test panics") = Scrub::default();
    for _ in 0..1000 {
        if has_passed(bench) || bench.store.is_broken() {
            return;
        }
        smol::block_on(bench.store.tick());
    }
    panic!("it is never over");
}

fn fault<T>(result: Result<T, StoreFault>) -> (StoreTrouble, String) {
    let fault = result.err().expect("it is damaged");
    (fault.class, fault.reason)
}

fn try_read<T: Send + 'static>(
    bench: &Bench,
    job: impl FnOnce(&Reader<'_>) -> Result<T, StoreFault> + Send + 'static,
) -> Result<T, StoreFault> {
    smol::block_on(bench.store.read(job))
}

const CHECKSUM: &str = "the event at 2 is damaged: the checksum does not match";

#[test]
fn an_event_that_is_not_what_was_written_is_a_fault_where_it_is_asked_for() {
    let columns = [
        "body = CAST('{\"n\":9}' AS BLOB)",
        "id = 'other'",
        "subject = subject || 'x'",
        "time = time + 1",
        "received = received + 1",
        "priority = 0",
        "enrich = '{\"x\":1}'",
        "stages = '[]  '",
        "type = source",
        "generation = 7",
        "correlation = 'x'",
        "data_from = 1, data_size = 3",
        "message_hash = 5",
        "checksum = checksum + 1",
    ];
    for column in columns {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let bench = Bench::at(&path);
        let events = ["a", "b", "c"].map(|it| record(it, "{\"n\":1}"));
        bench.submit(events.to_vec());
        change(&path, &format!("UPDATE event_rows SET {column} WHERE pos = 2"));
        let damaged = (StoreTrouble::Damaged, CHECKSUM.to_owned());
        assert_eq!(fault(try_read(&bench, |it| it.by_seq(&[2]))), damaged, "{column}");
        let list = EventQuery { limit: 10, ..EventQuery::default() };
        assert_eq!(fault(try_read(&bench, move |it| it.events(&list))), damaged, "{column}");
        // What goes on without it does not go on in silence.
        let intact = bench.read(|reader| reader.intact_by_seq(&[1, 2, 3]));
        assert_eq!(intact.iter().map(|it| it.seq).collect::<Vec<_>>(), [1, 3]);
        let streamed = bench.read(|reader| reader.stream(0, 10, 3, usize::MAX)).events;
        assert_eq!(streamed.iter().map(|it| it.pos).collect::<Vec<_>>(), [1, 3], "{column}");
        assert_eq!(bench.store.damaged(0, 10), [2]);
        assert_eq!((bench.store.damaged(2, 10), bench.store.damaged_count()), (vec![], 1));
        assert_eq!(bench.codes(), ["store-corrupt"]);
        assert!(!bench.store.is_broken(), "the others are right");
        bench.submit(vec![record("d", "{}")]);
        bench.close();
    }
}

/// A row that a test leaves out is left out, damaged or not; what it wants, or cannot read, is
/// compared with its checksum.
#[test]
fn what_a_test_wants_is_what_was_written() {
    let is_two = |row: &mut EventRow<'_, '_>| Some(row.data()? == "{\"n\":2}");
    for (column, is_fault) in [
        ("subject = subject || 'x'", [true, false]),
        ("body = x'ff'", [true, true]),
        ("data_from = -5", [true, true]),
        ("data_size = 1 << 62", [true, true]),
        // Now the test wants it, for what was never written.
        ("body = CAST(replace(body, '1', '2') AS BLOB)", [false, true]),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let bench = Bench::at(&path);
        let events = [("a", 2), ("b", 1), ("c", 2)];
        bench.submit(events.map(|(id, n)| record(id, &format!("{{\"n\":{n}}}"))).to_vec());
        let asked = || EventQuery { limit: 10, ..EventQuery::default() };
        for (pos, is_fault) in [3, 2].into_iter().zip(is_fault) {
            let before = "CREATE TABLE kept AS SELECT * FROM event_rows";
            change(&path, &format!("{before}; UPDATE event_rows SET {column} WHERE pos = {pos}"));
            let query = asked();
            let found = try_read(&bench, move |it| it.events_where(&query, &is_two));
            let query = asked();
            let count = try_read(&bench, move |it| it.count_events(&query, Some(&is_two)));
            match is_fault {
                true => {
                    assert_eq!(fault(found).0, StoreTrouble::Damaged, "{column} at {pos}");
                    assert_eq!(fault(count).0, StoreTrouble::Damaged, "{column} at {pos}");
                }
                false => {
                    let found = found.expect("the others are right").rows;
                    assert_eq!(found.iter().map(|it| it.pos).collect::<Vec<_>>(), [3, 1]);
                    assert_eq!(count.expect("a count").events, 2);
                }
            }
            let again = "DELETE FROM event_rows; INSERT INTO event_rows SELECT * FROM kept";
            change(&path, &format!("{again}; DROP TABLE kept"));
        }
        bench.close();
    }
}

#[test]
fn the_daily_look_finds_damage_and_that_it_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![StoreEntry::Accept(event("a", "{}")), StoreEntry::Accept(event("b", "{}"))]);
    let result =
        StoreEntry::Result { seq: 1, stage: "x".into(), generation: 1, output: "7".to_owned() };
    bench.submit(vec![result, record("c", "{}"), waiting("d")]);
    bench.submit(vec![StoreEntry::Refuse(letter(DeadLetterWhat::Rejected, None))]);
    look_through(&bench);
    assert_eq!(bench.codes(), [""; 0]);
    change(
        &path,
        "UPDATE event_rows SET body = x'00' WHERE pos = 3; UPDATE inbox SET subject = 'x'
            WHERE seq = 2; UPDATE results SET output = '8'; UPDATE dead_letters SET reason = 'y';
         UPDATE delivery_rows SET state = 9",
    );
    look_through(&bench);
    let report = bench.store.shared.env.health.report();
    let problems = report.iter().flat_map(|it| &it.problems);
    let subjects: Vec<&str> = problems.map(|problem| &*problem.problem.subject).collect();
    assert_eq!(
        subjects,
        [
            "a delivery of the event 4",
            "an answer for the accepted event 1",
            "the accepted event 2",
            "the dead letter 1",
            "the event at 3"
        ]
    );
    assert_eq!(bench.store.damaged_count(), 5);
    // The reads that go on without them.
    assert_eq!(
        bench.read(|reader| reader.inbox(0, 10)).iter().map(|it| it.seq).collect::<Vec<_>>(),
        [1]
    );
    assert!(bench.read(|reader| reader.results(1)).is_empty());
    let letter = fault(try_read(&bench, |it| it.dead_letter(1)));
    let expected = "the dead letter 1 is damaged: the checksum does not match";
    assert_eq!(letter, (StoreTrouble::Damaged, expected.to_owned()));
    change(
        &path,
        "DELETE FROM event_rows WHERE pos = 3; DELETE FROM inbox; DELETE FROM results;
         DELETE FROM dead_letters; DELETE FROM delivery_rows",
    );
    look_through(&bench);
    assert_eq!((bench.codes(), bench.store.damaged_count()), (vec![], 0));
    bench.close();
}

#[test]
fn a_letter_that_is_not_what_was_written_is_neither_shown_nor_put_right() {
    let columns = ["body = x'7b7d'", "reason = 'y'", "mapped = '{}'", "context = '{}'"];
    for column in columns.into_iter().chain(["message_hash = 5", "last = last + 1"]) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let bench = Bench::at(&path);
        let context = Some(Arc::new(json!({ "method": "POST" })));
        let letter = DeadLetter { context, ..letter(DeadLetterWhat::Event, None) };
        bench.submit(vec![StoreEntry::DeadLetter { event: event("a", "{\"n\":1}"), letter }]);
        let keep = || vec![StoreEntry::KeepLetter { letter: 1, reason: "again".to_owned() }];
        bench.submit(keep());
        let kept = bench.letters(1).pop().expect("it stays right");
        assert_eq!((&*kept.reason, kept.attempts), ("again", 2));
        change(&path, &format!("UPDATE dead_letters SET {column}"));
        let damaged = (
            StoreTrouble::Damaged,
            "the dead letter 1 is damaged: the checksum does not match".to_owned(),
        );
        assert_eq!(fault(try_read(&bench, |it| it.dead_letter(1))), damaged, "{column}");
        assert_eq!(bench.try_submit(keep()), Err(StoreTrouble::Damaged), "{column}");
        assert_eq!(fault(try_read(&bench, |it| it.dead_letter(1))), damaged, "{column}");
        bench.close();
    }
}

#[test]
fn a_letter_from_before_there_were_checksums_gets_none_by_being_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![StoreEntry::Refuse(letter(DeadLetterWhat::Rejected, None))]);
    change(&path, "UPDATE dead_letters SET checksum = NULL");
    bench.submit(vec![StoreEntry::KeepLetter { letter: 1, reason: "again".to_owned() }]);
    assert_eq!(bench.letters(1)[0].reason, "again");
    let sql = "SELECT count(*) FROM dead_letters WHERE checksum IS NOT NULL";
    assert_eq!(bench.read(move |reader| reader.count_of(sql)), 0);
    bench.close();
}

#[test]
fn a_damaged_row_keeps_nothing_else_from_being_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let policy = RetentionPolicy { dead_max: 1, ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::File(path.clone()), policy);
    let refused = || StoreEntry::Refuse(letter(DeadLetterWhat::Rejected, None));
    bench.submit(vec![waiting("a"), refused()]);
    change(
        &path,
        "UPDATE event_rows SET id = CAST(x'ff' AS TEXT);
         UPDATE dead_letters SET source = CAST(x'ff' AS TEXT)",
    );
    // The one letter too many is the damaged one.
    bench.submit(vec![refused()]);
    assert_eq!(bench.letters(9).iter().map(|letter| letter.id).collect::<Vec<_>>(), [2]);
    // What was to be delivered cannot be read, and that is how it ends.
    let given_up = DeadLetter { seq: Some(1), ..letter(DeadLetterWhat::Delivery, None) };
    let StoreEntry::Settle(settlement) = settled("phone", 1, DeliveryState::Dead) else {
        unreachable!("it settles")
    };
    let settlement = Settlement { letter: Some(Box::new(given_up)), ..settlement };
    bench.submit(vec![StoreEntry::Settle(settlement)]);
    assert_eq!(bench.read(|reader| reader.deliveries_of(1))[0].state, DeliveryState::Dead);
    assert_eq!((bench.letters(9)[0].seq, &bench.letters(9)[0].event_id), (Some(1), &None));
    assert!(!bench.store.is_broken());
    bench.close();
}

#[test]
fn a_row_without_a_checksum_is_read_if_it_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit((0..7).map(|it| record(&format!("e{it}"), "{\"n\":1}")).collect());
    change(
        &path,
        "UPDATE event_rows SET checksum = NULL;
         UPDATE event_rows SET body = x'7bff7d' || x'00000000' WHERE pos = 2;
         UPDATE event_rows SET data_size = 9999999 WHERE pos = 3;
         UPDATE event_rows SET data_from = -5 WHERE pos = 4;
         UPDATE event_rows SET enrich = '{' WHERE pos = 5;
         UPDATE event_rows SET stages = '[[1]]' WHERE pos = 6;
         UPDATE event_rows SET type = 4000 WHERE pos = 7;",
    );
    let whole = bench.read(|reader| reader.stream(0, 10, 10, usize::MAX)).events;
    assert_eq!(whole.iter().map(|it| it.pos).collect::<Vec<_>>(), [1]);
    assert_eq!(bench.store.damaged(0, 10), [2, 3, 4, 5, 6, 7]);
    bench.close();
}

#[test]
fn an_index_that_is_out_of_step_with_its_table_is_found() {
    for (index, columns, _) in EVENT_INDEXES {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let bench = Bench::at(&path);
        let mut visit = event("slow", "{}");
        visit.envelope.correlation_id = Some("visit".into());
        bench.submit(vec![StoreEntry::Accept(visit.clone())]);
        bench.submit(vec![record("a", "{}")]);
        bench.submit(vec![StoreEntry::Finish(finished(Event { seq: 1, ..visit }))]);
        // A row that only the table knows: its index is another one for a moment.
        let connection = Connection::open(&path).expect("it opens");
        connection
            .execute_batch(&format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, '({0})', '({0}) WHERE pos < 3')
                    WHERE name = '{index}' AND sql NOT LIKE '%WHERE%';
                 UPDATE sqlite_schema SET sql = sql || ' AND pos < 3'
                    WHERE name = '{index}' AND sql NOT LIKE '%pos < 3%';",
                columns.join(", ")
            ))
            .expect("the index is changed");
        drop(connection);
        let connection = Connection::open(&path).expect("it opens");
        connection.execute_batch(&format!("REINDEX {index}")).expect("it is made again");
        connection
            .execute_batch(&format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(replace(sql, ' WHERE pos < 3', ''),
                    ' AND pos < 3', '') WHERE name = '{index}';"
            ))
            .expect("the index is changed back");
        drop(connection);
        look_through(&bench);
        let failure = bench.store.failure().unwrap_or_else(|| panic!("{index} is out of step"));
        assert_eq!(failure.class, StoreTrouble::Corrupt);
        let expected = format!("the index {index} does not match its table at 3");
        assert!(failure.reason.contains(&expected), "{failure}");
        bench.close();
    }
}

#[test]
fn every_index_of_finished_events_is_looked_at() {
    let connection = Connection::open_in_memory().expect("it opens");
    for sql in connect::MIGRATIONS {
        connection.execute_batch(sql).expect("a migration");
    }
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'event_rows'";
    let mut select = connection.prepare(sql).expect("sql");
    let found = select.query_map([], |row| row.get(0)).expect("rows");
    let mut found: Vec<String> = found.map(|it| it.expect("a row")).collect();
    found.sort();
    let mut known = EVENT_INDEXES.map(|index| index.0);
    known.sort_unstable();
    assert_eq!(found, known);
}

/// A store with something in every table; what must come back, by kind and number.
fn rich(path: &Path) -> BTreeMap<String, String> {
    let bench = Bench::at(path);
    let text = |number: usize| {
        format!("{{\"n\":{number},\"text\":\"{}\"}}", "abcdefgh".repeat(number % 40))
    };
    bench.submit((0..120).map(|it| record(&format!("e{it}"), &text(it))).collect());
    bench.submit((0..20).map(|it| waiting(&format!("w{it}"))).collect());
    bench.submit(vec![record("large", &format!("\"{}\"", "x".repeat(40_000)))]);
    let accept = |number: usize| StoreEntry::Accept(event(&format!("a{number}"), &text(number)));
    bench.submit((0..30).map(accept).collect());
    let finish = |number: u64| {
        let mut event = Event { seq: number, ..event(&format!("f{number}"), "{}") };
        event.enrich.put(&["weather".to_owned()], json!({ "sky": number }));
        StoreEntry::Finish(finished(event))
    };
    bench.submit((142..150).map(finish).collect());
    let result = |number: u64| StoreEntry::Result {
        seq: number,
        stage: "weather".into(),
        generation: 1,
        output: format!("{{\"sky\":{number}}}"),
    };
    bench.submit((155..165).map(result).collect());
    let letters = |number: usize| {
        let body = text(number).into_bytes().into();
        StoreEntry::Refuse(DeadLetter { body, ..letter(DeadLetterWhat::Rejected, None) })
    };
    bench.submit((0..20).map(letters).collect());
    look_through(&bench);
    let known = everything(&bench).expect("nothing is damaged");
    bench.close();
    known
}

/// All that a store gives back, or that it says that some of it is damaged.
fn everything(bench: &Bench) -> Result<BTreeMap<String, String>, StoreFault> {
    let mut found = BTreeMap::new();
    let mut note = |kind: &str, number: u64, text: String| {
        found.insert(format!("{kind} {number}"), text);
    };
    try_read(bench, |it| it.stream(0, u64::MAX >> 1, 1000, usize::MAX))?.events.iter().for_each(
        |it| {
            let mut text = String::new();
            write_detail(&mut text, it, "p", &[]);
            note("event", it.pos, text);
        },
    );
    let inbox = try_read(bench, |it| it.inbox(0, 1000))?;
    for row in &inbox {
        let text = format!("{:?} {}", row.envelope, row.body.data_text());
        note("accepted", row.seq, text);
        let seq = row.seq;
        for (stage, output) in try_read(bench, move |it| it.results(seq))? {
            note(&stage, row.seq, output);
        }
    }
    for letter in try_read(bench, |it| {
        it.dead_letters(&LetterFilter::default(), LetterOrder::Newest(None), 1000, usize::MAX)
    })?
    .letters
    {
        note("letter", letter.id, format!("{letter:?}"));
    }
    Ok(found)
}

fn missing(bench: &Bench, known: &BTreeMap<String, String>) -> Vec<String> {
    let found = everything(bench).unwrap_or_default();
    known.keys().filter(|key| !found.contains_key(*key)).cloned().collect()
}

/// One store with damage: opened, read, looked through, written to. How it ended.
fn survive(path: &Path, known: &BTreeMap<String, String>) -> &'static str {
    let env = Env::new(Arc::new(Still(AtomicU64::new(0))), Random::seeded(1), Pools::system());
    let place = StoreLocation::File(path.to_owned());
    let seen = Seen::default();
    let opened =
        open(settings(place), RetentionPolicy::default(), env.clone(), Box::new(seen.clone()));
    let (store, writer) = match opened {
        Ok(pair) => pair,
        Err(refused) => {
            let code = refused.exit_code();
            // A number that says how new the store is may be what flipped.
            assert!(code == 65 || code == 78, "{code}: {refused}");
            return "refused";
        }
    };
    let thread = Some(std::thread::spawn(|| writer.run()));
    let clock = Arc::new(Still(AtomicU64::new(0)));
    let health = env.health.clone();
    let bench = Bench { store, clock, health, seen, thread };
    let is_intact = |bench: &Bench| match everything(bench) {
        Ok(found) => {
            for (key, text) in &found {
                assert_eq!(Some(text), known.get(key), "{key}");
            }
            found.len() == known.len()
        }
        Err(_) => false,
    };
    is_intact(&bench);
    let list = EventQuery { limit: 1000, ..EventQuery::default() };
    try_read(&bench, move |it| it.events(&list)).ok();
    look_through(&bench);
    let is_told = bench.store.is_broken() || 0 < bench.store.damaged_count();
    let outcome = if is_told { "told" } else { "intact" };
    let is_silent = !is_told && !is_intact(&bench);
    assert!(!is_silent, "missing, and nothing says so: {:?}", missing(&bench, known));
    bench.try_submit(vec![record("new", "{}"), record("e1", "{}")]).ok();
    bench.close();
    outcome
}

/// A seed that is shown when the test fails; `DAMAGE_SEED` gives an earlier one again.
#[expect(clippy::print_stderr, reason = "a run that failed has to be told again")]
fn seed() -> u64 {
    let given = std::env::var("DAMAGE_SEED").ok().and_then(|it| it.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("DAMAGE_SEED={seed}");
    seed
}

#[test]
fn no_flipped_bytes_are_served_and_none_make_it_panic() {
    let mut random = fastrand::Rng::with_seed(seed());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let known = rich(&path);
    let whole = std::fs::read(&path).expect("it is read");
    let mut outcomes: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..100 {
        let mut bytes = whole.clone();
        match random.u8(0..10) {
            0 => bytes.truncate(random.usize(1..bytes.len())),
            1 => {
                let page = random.usize(0..bytes.len() / 8192) * 8192;
                bytes[page..page + 8192].fill(random.u8(0..2) * 0xFF);
            }
            _ => {
                for _ in 0..random.usize(1..12) {
                    let at = random.usize(..bytes.len());
                    bytes[at] ^= 1 << random.u8(0..8);
                }
            }
        }
        let copy = folder.path().join(format!("{round}.db"));
        std::fs::write(&copy, bytes).expect("it is written");
        let survived = catch_unwind(AssertUnwindSafe(|| survive(&copy, &known)));
        let outcome = survived.unwrap_or_else(|_| panic!("round {round}"));
        *outcomes.entry(outcome).or_default() += 1;
    }
    assert!(outcomes.contains_key("refused"), "{outcomes:?}");
}
