//! Counts and numbers that are written seldom are exact all the same.

use super::*;
use serde_json::Value;

/// How many events were stored, as statistics say.
fn stored(bench: &Bench) -> Value {
    smol::block_on(bench.store.write_counts());
    bench.read(|it| it.stats(36_500, Timestamp(0)))["total_events"].clone()
}

#[test]
fn what_a_crash_left_uncounted_is_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let first = Bench::at(&path);
    first.submit(vec![record("a", "{}"), record("b", "{}")]);
    assert_eq!(stored(&first), 2);
    first.submit(vec![record("c", "{}"), record("a", "{}")]);
    crashed(&path, &copy);
    let again = Bench::at(&copy);
    assert_eq!(stored(&again), 3);
    again.submit(vec![record("d", "{}")]);
    assert_eq!([stored(&again), stored(&again)], [4, 4]);
    again.close();
    first.close();
    for (path, count) in [(&path, 3), (&copy, 4)] {
        let last = Bench::at(path);
        assert_eq!(stored(&last), count, "after a clean stop");
        last.close();
    }
}

#[test]
fn no_number_is_given_twice_over_a_crash_when_its_row_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let first = Bench::at(&path);
    first.submit(vec![record("a", "{}"), Entry::Accept(event("b", "{}"))]);
    let accepted = Event { seq: 2, ..event("b", "{}") };
    first.submit(vec![Entry::Discard { event: accepted, reason: "filter".into() }]);
    crashed(&path, &copy);
    first.close();
    for path in [path, copy] {
        let again = Bench::at(&path);
        assert_eq!(again.submit(vec![record("c", "{}")]), [Receipt::Stored { seq: 3, pos: 3 }]);
        again.close();
    }
}
