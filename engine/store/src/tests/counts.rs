//! Counts and numbers that are written seldom are exact all the same.

use super::retention::ByHand;
use super::*;
use crate::{CountBy, CountGrain};
use kernel::choice::Choice;
use kernel::event::{Outcome, StageResult};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many events were stored, as statistics say.
fn stored(bench: &Bench) -> Value {
    smol::block_on(bench.store.write_counts());
    bench.read(|reader| reader.stats(36_500, Timestamp(0)))["total_events"].clone()
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
    first.submit(vec![record("a", "{}"), StoreEntry::Accept(event("b", "{}"))]);
    let accepted = Event { seq: 2, ..event("b", "{}") };
    first.submit(vec![StoreEntry::Discard { event: accepted, reason: "filter".into() }]);
    crashed(&path, &copy);
    first.close();
    for path in [path, copy] {
        let again = Bench::at(&path);
        assert_eq!(
            again.submit(vec![record("c", "{}")]),
            [WriteReceipt::Stored { seq: 3, pos: 3 }]
        );
        again.close();
    }
}

/// What a random day brought: events with their stages, as they were stored.
fn random_day(count: usize) -> Vec<(Envelope, Vec<StageResult>)> {
    let (mut random, mut sizes) = (fastrand::Rng::with_seed(11), fastrand::Rng::with_seed(12));
    let begin = 1_767_225_600_000_000_i64;
    let outcomes = [Outcome::Ok, Outcome::Failed, Outcome::Skipped];
    let day = (0..count).map(|_| {
        let received = begin + random.i64(0..26 * 3_600_000_000);
        let ran = random.usize(0..3);
        let stages = (0..ran).map(|stage| StageResult {
            stage: ["where", "who", "why"][stage].into(),
            kind: "set".into(),
            outcome: outcomes[random.usize(0..3)],
            attempts: 1,
            started: Timestamp(received + random.i64(-5..90_000)),
            micros: random.u64(..) >> (63 - sizes.u32(0..30)),
            error: None,
            attempt_log: kernel::attempts::AttemptLog::default(),
        });
        let stages = stages.collect();
        let envelope = Envelope {
            kind: ["ring", "motion", "noise"][random.usize(0..3)].into(),
            source: ["front", "back"][random.usize(0..2)].into(),
            priority: Priority::ALL[random.usize(0..4)],
            received: Timestamp(received),
            ..event("x", "{}").envelope
        };
        (envelope, stages)
    });
    day.collect()
}

/// Every time that was counted in each piece, by name.
type Times = BTreeMap<(i64, String), Vec<u64>>;

fn plain(day: &[(Envelope, Vec<StageResult>)], by: CountBy, micros: i64) -> (Times, Times) {
    let (mut counts, mut times) = (Times::new(), Times::new());
    for (envelope, stages) in day {
        let piece = envelope.received.0.div_euclid(micros);
        let add = |all: &mut Times, name: &str, time: u64| {
            all.entry((piece, name.to_owned())).or_default().push(time);
        };
        let end = stages
            .iter()
            .map(|stage| stage.started.0 + stage.micros as i64)
            .max()
            .unwrap_or(i64::MIN);
        let whole = (end.max(envelope.received.0) - envelope.received.0) as u64;
        match by {
            CountBy::Type => add(&mut counts, &envelope.kind, 0),
            CountBy::Source => add(&mut counts, &envelope.source, 0),
            CountBy::Priority => add(&mut counts, envelope.priority.word(), 0),
            CountBy::Outcome => {
                add(&mut counts, "stored", 0);
                add(&mut times, "", whole);
            }
            CountBy::Stage => {
                for it in stages {
                    add(&mut counts, &it.stage, 0);
                    if it.outcome != Outcome::Skipped {
                        add(&mut times, &it.stage, it.micros);
                    }
                }
            }
        }
    }
    (counts, times)
}

#[test]
fn counts_and_times_are_those_of_a_plain_count() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let day = random_day(600);
    for (number, part) in day.chunks(50).enumerate() {
        let entries = part.iter().enumerate().map(|(index, (envelope, stages))| {
            let id = format!("e{number}.{index}").into();
            let mut done = finished(event("x", "{}"));
            done.event.envelope = Envelope { id, ..envelope.clone() };
            done.stages = stages.clone().into();
            StoreEntry::Record(done)
        });
        bench.submit(entries.collect());
        // What waits in memory and what was written earlier come together in one count.
        if number % 3 == 0 {
            smol::block_on(bench.store.write_counts());
        }
    }
    smol::block_on(bench.store.write_counts());
    let begin = Timestamp(1_767_225_600_000_000 + 25 * 3_600_000_000);
    // A day back from the second hour of the second day: all but the first hour.
    let stats = bench.read(move |reader| reader.stats(1, begin));
    let hour = 1_767_225_600_000_000 / 3_600_000_000 + 1;
    for (by, name) in [
        (CountBy::Type, "by_type"),
        (CountBy::Source, "by_source"),
        (CountBy::Priority, "by_priority"),
    ] {
        let mut sums = BTreeMap::<String, usize>::new();
        for ((piece, name), all) in plain(&day, by, CountGrain::Hour.micros()).0 {
            if hour <= piece {
                *sums.entry(name).or_default() += all.len();
            }
        }
        assert_eq!(stats[name], json!(sums), "{name}");
        assert_eq!(stats["total_events"], json!(sums.values().sum::<usize>()), "{name}");
    }
    let stages = stats["stages"].as_array().expect("a list");
    for it in stages {
        let is_same = |result: &&StageResult| {
            it["stage"] == *result.stage && it["outcome"] == result.outcome.word()
        };
        let since = |envelope: &Envelope| hour <= envelope.received.0.div_euclid(3_600_000_000);
        let counted = day.iter().filter(|it| since(&it.0)).flat_map(|it| it.1.iter());
        let times: Vec<u64> = counted.filter(is_same).map(|counted| counted.micros).collect();
        assert_eq!(it["count"], json!(times.len()), "{it}");
        assert_eq!(it["max_micros"], json!(times.iter().max()), "{it}");
    }
    assert_eq!(stages.len(), 6, "two stages, three ends");
    for by in CountBy::ALL {
        for grain in [CountGrain::Minute, CountGrain::Hour] {
            let (counts, times) = plain(&day, *by, grain.micros());
            let span = (i64::MIN, i64::MAX);
            let (found, spreads) = bench.read(move |reader| {
                Ok((reader.counts(*by, grain, span)?, reader.spreads(*by, grain, span)?))
            });
            let found: BTreeMap<_, _> =
                found.into_iter().map(|it| ((it.piece, it.name), it.count as usize)).collect();
            let expected: BTreeMap<_, _> =
                counts.into_iter().map(|(key, all)| (key, all.len())).collect();
            assert_eq!(found, expected, "{by:?} by {grain:?}");
            assert_eq!(spreads.len(), times.len(), "{by:?} by {grain:?}");
            for row in spreads {
                let mut exact = times[&(row.piece, row.name)].clone();
                exact.sort_unstable();
                for percent in [50, 95, 99] {
                    let place = (exact.len() * percent as usize).div_ceil(100) - 1;
                    let told = row.spread.percentile(percent).expect("there are some");
                    assert!(told.abs_diff(exact[place]) <= exact[place] / 8, "{told}: {exact:?}");
                }
            }
        }
    }
    bench.close();
}

#[test]
fn minutes_are_forgotten_after_two_days_and_their_hours_are_not() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit((0..30).map(|it| record(&format!("e{it}"), "{}")).collect());
    let rows = |bench: &Bench, grain| {
        bench.read(move |reader| reader.counts(CountBy::Type, grain, (0, i64::MAX))).len()
    };
    smol::block_on(bench.store.write_counts());
    for (hours, minutes) in [(47, 1), (49, 0)] {
        bench.clock.0.store(hours * 3_600_000_000, Ordering::Relaxed);
        smol::block_on(bench.store.sweep());
        let both = [CountGrain::Minute, CountGrain::Hour].map(|it| rows(&bench, it));
        assert_eq!(both, [minutes, 1], "after {hours} hours");
    }
    bench.close();
}

#[test]
fn whole_minutes_are_forgotten_a_few_rows_at_a_time() {
    let mut hand = ByHand::new(StoreLocation::Memory, RetentionPolicy::default());
    let tally = |minute: i64, kind: i64| EventTally {
        received: Timestamp(60_000_000 * minute),
        kind: format!("t{kind}").into(),
        source: "s".into(),
        priority: Priority::Normal,
        outcome: "discarded",
    };
    let all = (0..10).flat_map(|minute| (0..10).map(move |kind| tally(minute, kind)));
    hand.writer.tallies.lock().expect("no test panics").extend(all);
    hand.writer.write_counts().expect("written");
    hand.writer.commit(&[], Duration::ZERO).expect("written");
    let connection = &hand.writer.connection;
    let mut left = Vec::new();
    loop {
        let is_done = rollup::forget_minutes(connection, 8, 25).expect("forgotten");
        let sql = "SELECT count(*) FROM minute_rollups";
        left.push(connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count"));
        if is_done {
            break;
        }
    }
    assert_eq!(left, [70, 40, 20]);
}
