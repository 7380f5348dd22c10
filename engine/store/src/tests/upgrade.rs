//! A store of an earlier version is taken over whole.

use super::*;

const FIRST: &str = include_str!("../../../../tests/fixtures/store-v1.hex");

/// Writes the database that a fixture holds: its size, then offsets and bytes of what is not zero.
fn unpack(fixture: &str, path: &Path) {
    let mut lines = fixture.lines();
    let size = lines.next().and_then(|line| line.strip_prefix("# size ")).expect("a size");
    let mut bytes = vec![0; size.parse().expect("a number")];
    for line in lines {
        let (offset, hex) = line.split_once(' ').expect("an offset");
        let offset: usize = offset.parse().expect("a number");
        for (index, digits) in hex.as_bytes().chunks(2).enumerate() {
            let digits = std::str::from_utf8(digits).expect("digits");
            bytes[offset + index] = u8::from_str_radix(digits, 16).expect("digits");
        }
    }
    std::fs::write(path, bytes).expect("it is written");
}

#[test]
fn a_store_of_the_first_version_keeps_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    unpack(FIRST, &path);
    let bench = Bench::at(&path);
    let events = bench.read(|reader| reader.stream(0, 1000, 100, usize::MAX)).events;
    let ids: Vec<&str> = events.iter().map(|event| &*event.envelope.id).collect();
    let plain = ["plain-0", "plain-1", "plain-2", "plain-3", "plain-4", "plain-5"];
    assert_eq!(ids, [&plain[..], &["front-1", "back-1", "big-1"]].concat());
    assert_eq!(
        events[1].body.data_text(),
        r#"{"id": "plain-1", "type": "ring.plain", "room": "K\u00fcche", "n": 1, "visit": null}"#
    );
    assert!(events[7].enrich.ends_with(r#","room":"yard"}"#), "{}", events[7].enrich);
    let stages: Vec<String> = events[7]
        .stages
        .iter()
        .map(|stage| format!("{} {} {}", stage.stage, stage.kind, stage.outcome.word()))
        .collect();
    let expected =
        ["meta metadata ok", "where set ok", "weather http skipped", "gone http skipped"];
    assert_eq!(stages, expected);
    let inbox = bench.read(|reader| reader.inbox(0, 10));
    let waiting: Vec<_> = inbox.iter().map(|it| (it.seq, &*it.envelope.id)).collect();
    assert_eq!(waiting, [(9, "slow-1"), (10, "slow-2")]);
    let letters = bench.letters(10);
    let letters: Vec<_> =
        letters.iter().map(|letter| (letter.id, letter.what.word(), letter.seq)).collect();
    assert_eq!(letters, [(3, "rejected", None), (2, "event", Some(11)), (1, "delivery", Some(8))]);
    let states = bench.read(|reader| Ok((reader.deliveries_of(7)?, reader.deliveries_of(8)?)));
    assert_eq!(
        (states.0[0].state, states.1[0].state),
        (DeliveryState::Pending, DeliveryState::Dead)
    );
    // Goes on as a store of this version: what is new has a checksum beside what has none.
    assert_eq!(
        bench.submit(vec![record("new", "{}")]),
        [WriteReceipt::Stored { seq: 13, pos: 13 }]
    );
    let late = Event { seq: 9, ..event("slow-1", "{}") };
    bench.submit(vec![StoreEntry::Finish(finished(late))]);
    bench.tick();
    assert_eq!(bench.codes(), [""; 0]);
    bench.close();
    let connection = Connection::open(&path).expect("it opens");
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a row");
    assert_eq!(one("SELECT count(*) FROM event_rows WHERE checksum IS NULL"), 9);
    assert_eq!(one("SELECT count(*) FROM event_rows WHERE checksum IS NOT NULL"), 2);
    assert_eq!(one("PRAGMA user_version"), STORE_VERSION as i64);
}

#[test]
fn the_events_of_a_store_of_the_first_version_can_be_searched() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    unpack(FIRST, &path);
    // Its store has another name than those of these tests, and shows what was sent to it.
    let connection = Connection::open(&path).expect("it opens");
    connection.execute("INSERT INTO meta VALUES ('store', 'db')", []).expect("it is written");
    drop(connection);
    let bench = bench(StoreLocation::File(path), super::search::searching(&["data"]));
    smol::block_on(bench.store.sweep());
    let search = Some(super::search::search("kuche", &["data"]));
    let found = bench.listed(EventQuery { search, ..EventQuery::default() });
    assert!(found.contains(&"plain-1".to_owned()), "{found:?}");
    bench.tick();
    bench.close();
}
