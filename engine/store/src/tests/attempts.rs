//! Single attempts at deliveries: what is kept of them, whatever comes between.

use super::outbox::{settled, to};
use super::*;
use kernel::fault::FaultClass;

const TOOK: Duration = Duration::from_millis(30);

impl Bench {
    fn log(&self, sink: &'static str, seq: u64) -> AttemptLog {
        let all = self.read(move |reader| reader.deliveries_of(seq));
        all.into_iter().find(|it| &*it.sink == sink).expect("it is there").attempt_log
    }

    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }
}

/// An attempt that ends now so.
fn ended(bench: &Bench, sink: &str, seq: u64, fault: Option<&Fault>) -> Settlement {
    let state = match fault {
        None => DeliveryState::Done,
        Some(fault) if fault.class == FaultClass::Permanent => DeliveryState::Dead,
        Some(_) => DeliveryState::Pending,
    };
    let StoreEntry::Settle(settlement) = settled(sink, seq, state) else {
        unreachable!("it settles");
    };
    let now = bench.wall();
    let letter =
        DeadLetter { seq: Some(seq), stage: sink.into(), ..letter(DeadLetterWhat::Delivery, None) };
    Settlement {
        not_before: now,
        error: fault.map(|fault| fault.reason.clone()),
        letter: (state == DeliveryState::Dead).then(|| Box::new(letter)),
        attempt: Some(AttemptRecord::new(now.minus(TOOK), TOOK, fault)),
        ..settlement
    }
}

#[test]
fn a_delivery_that_succeeds_at_once_costs_one_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![to("a", &["hook"])]);
    assert!(bench.log("hook", 1).is_empty());
    let done = ended(&bench, "hook", 1, None);
    let mut expected = AttemptLog::default();
    expected.push(done.attempt.clone().expect("it was made"));
    bench.submit(vec![StoreEntry::Settle(done)]);
    assert_eq!(bench.log("hook", 1), expected);
    bench.close();
    let raw = Connection::open(&path).expect("it opens");
    let sql = "SELECT count(*) FROM delivery_rows WHERE micros = 30000 AND attempt_log IS NULL";
    let count: i64 = raw.query_row(sql, [], |row| row.get(0)).expect("a row");
    assert_eq!(count, 1);
}

#[test]
fn a_delivery_of_an_older_version_shows_what_is_known_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![to("a", &["done", "tried", "odd"])]);
    bench.submit(vec![settled("done", 1, DeliveryState::Done)]);
    bench.submit(vec![settled("tried", 1, DeliveryState::Pending)]);
    bench.close();
    let raw = Connection::open(&path).expect("it opens");
    let sql = "UPDATE delivery_rows SET attempt_log = '[1,2' WHERE sink = 'odd'";
    raw.execute(sql, []).expect("it is written");
    drop(raw);
    let bench = Bench::at(&path);
    for sink in ["done", "tried", "odd"] {
        assert!(bench.log(sink, 1).is_empty(), "{sink}");
    }
    let fault = Fault::transient(Cause::Connect, "no connection");
    for sink in ["tried", "odd"] {
        bench.submit(vec![StoreEntry::Settle(ended(&bench, sink, 1, Some(&fault)))]);
        assert_eq!(bench.log(sink, 1).records().len(), 1, "{sink}: kept from now on");
    }
    bench.close();
}

#[test]
fn a_call_that_ends_after_its_delivery_was_dropped_is_kept() {
    let target = BacklogLimit { rows: Some(1), bytes: None, on_full: OnFull::DropOldest };
    let targets = [(Arc::from("hook"), target)].into_iter().collect();
    let outbox = OutboxLimits { targets, ..OutboxLimits::default() };
    let policy = RetentionPolicy { outbox, ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::Memory, policy);
    bench.submit(vec![to("a", &["hook"]), to("b", &["hook"])]);
    assert_eq!(bench.states("hook"), [(1, "suppressed"), (2, "pending")]);
    let fault = Fault::transient(Cause::Connect, "no connection");
    bench.submit(vec![StoreEntry::Settle(ended(&bench, "hook", 1, Some(&fault)))]);
    assert_eq!(bench.states("hook")[0], (1, "suppressed"));
    assert_eq!(bench.log("hook", 1).records().len(), 1);
    bench.tick();
    bench.submit(vec![StoreEntry::Settle(ended(&bench, "hook", 1, None))]);
    assert_eq!(bench.states("hook")[0], (1, "done"), "the other side took it after all");
    let words: Vec<&str> = bench.log("hook", 1).records().iter().map(|it| it.word()).collect();
    assert_eq!(words, ["transient", "ok"]);
    bench.close();
}

/// Attempts with any end, settlements that are written twice, redrives and restarts: the log has
/// the attempts that were made, in their order.
#[test]
fn whatever_comes_between_the_log_has_the_attempts_that_were_made() {
    for seed in 0..cases(30) {
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let mut bench = Bench::at(&path);
        bench.submit(vec![to("a", &["hook", "mail"])]);
        let mut logs = [("hook", AttemptLog::default()), ("mail", AttemptLog::default())];
        for step in 0..random.usize(1..40) {
            bench.tick();
            let (sink, log) = random.choice(&mut logs).expect("there are some");
            let context = format!("seed {seed}, step {step}, {sink}");
            let state = bench.states(sink)[0].1;
            match (random.u8(0..10), state) {
                (0, _) => {
                    bench.close();
                    bench = Bench::at(&path);
                }
                (_, "dead") => {
                    let letters = bench.letters(10);
                    let own = letters.iter().find(|it| *it.stage == **sink).expect("its letter");
                    bench.submit(vec![StoreEntry::Redeliver { letter: own.id }]);
                }
                (it, "pending") => {
                    let fault = match it {
                        1 => None,
                        2 => Some(Fault::permanent("the response is 400")),
                        it => Some(Fault::transient(Cause::Status(503), format!("{}", it % 2))),
                    };
                    let settlement = ended(&bench, sink, 1, fault.as_ref());
                    log.push(settlement.attempt.clone().expect("it was made"));
                    for _ in 0..random.usize(1..3) {
                        bench.submit(vec![StoreEntry::Settle(settlement.clone())]);
                    }
                }
                (_, "done") => {}
                (_, state) => panic!("{context}: {state}"),
            }
            assert_eq!(bench.log(sink, 1), *log, "{context}");
        }
        bench.close();
    }
}
