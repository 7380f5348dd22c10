//! Dead letters that are put right: what a letter holds is durable elsewhere before it goes.

use super::outbox::{SOME, settled, to};
use super::*;

/// A message that was refused, and its letter.
fn refused(body: &str) -> DeadLetter {
    DeadLetter { body: body.as_bytes().into(), ..letter(DeadLetterWhat::Rejected, Some("door")) }
}

fn retry(letter: u64, entry: StoreEntry) -> StoreEntry {
    StoreEntry::Retry { letter, entry: Box::new(entry), is_part: false }
}

fn bury(id: &str, body: &str) -> StoreEntry {
    StoreEntry::DeadLetter { event: event(id, body), letter: letter(DeadLetterWhat::Event, None) }
}

/// The event of a letter, as it is run again.
fn again(letter: &DeadLetter) -> Event {
    let (envelope, body) = letter.event().expect("it was mapped");
    Event { seq: letter.seq.expect("it has a number"), envelope, body, ..event("", "") }
}

fn dead(sink: &str, seq: u64) -> StoreEntry {
    let StoreEntry::Settle(settlement) = settled(sink, seq, DeliveryState::Dead) else {
        unreachable!("it settles");
    };
    let letter = DeadLetter {
        seq: Some(seq),
        stage: sink.into(),
        source_node: sink.into(),
        ..letter(DeadLetterWhat::Delivery, None)
    };
    StoreEntry::Settle(Settlement { letter: Some(Box::new(letter)), ..settlement })
}

impl Bench {
    fn letter_ids(&self) -> Vec<u64> {
        let ids: Vec<u64> = self.letters(100).iter().map(|letter| letter.id).collect();
        let counted = self.store.figures().dead_letters.load(Ordering::Relaxed);
        assert_eq!(counted, ids.len() as u64, "what is counted is there");
        ids
    }

    fn list(&self, filter: LetterFilter) -> Vec<u64> {
        let order = LetterOrder::Oldest(0);
        let page = self.read(move |reader| reader.dead_letters(&filter, order, 100, usize::MAX));
        page.letters.iter().map(|letter| letter.id).collect()
    }
}

#[test]
fn the_letter_of_a_message_goes_when_the_message_is_durable_and_only_then() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit((0..4).map(|_| StoreEntry::Refuse(refused("{}"))).collect());
    bench.submit(vec![record("known", "{}")]);
    assert_eq!(
        bench.submit(vec![
            retry(1, record("new", "{}")),
            retry(2, record("known", "{}")),
            retry(3, record("known", "[]")),
            retry(4, bury("dies", "{}")),
        ]),
        [
            WriteReceipt::Stored { seq: 2, pos: 2 },
            WriteReceipt::Duplicate { seq: 1 },
            WriteReceipt::Conflict { seq: 1 },
            WriteReceipt::Accepted { seq: 3 },
        ]
    );
    assert_eq!(bench.letter_ids(), [5, 3], "the conflict stays, and the death has its own letter");
    assert_eq!(bench.submit(vec![retry(1, record("late", "{}"))]), [WriteReceipt::Gone]);
    assert_eq!(bench.listed(EventQuery::default()), ["new", "known"], "a letter is taken once");
    bench.submit(vec![StoreEntry::KeepLetter { letter: 3, reason: "its id is taken".to_owned() }]);
    let kept = bench.letters(10).pop().expect("it stays");
    assert_eq!((&*kept.reason, kept.attempts), ("its id is taken", 2));
    bench.close();
}

#[test]
fn a_dead_event_runs_again_under_its_own_number_also_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::at(&path);
    let body = "{\"data\": {\"a\": 1}, \"more\": 2}";
    let mut mapped = event("a", body);
    mapped.body.data = DataAt::Slice(9..17);
    let own = Body { bytes: b"<a/>".as_slice().into(), data: DataAt::Own("{\"b\": 2}".into()) };
    let decoded = Event { body: own, ..event("b", "") };
    let lone = Event { body: event("c", body).body.alone(), ..event("c", body) };
    for event in [mapped.clone(), decoded, lone] {
        bench.submit(vec![StoreEntry::DeadLetter {
            event,
            letter: letter(DeadLetterWhat::Event, None),
        }]);
    }
    let letters = bench.letters(10);
    let texts: Vec<&str> = letters
        .iter()
        .map(|letter| letter.mapped.as_ref().map_or("", |mapped| &mapped.envelope.id))
        .collect();
    assert_eq!(texts, ["c", "b", "a"]);
    for letter in letters.iter().rev() {
        let event = again(letter);
        let seq = event.seq;
        let reopen = StoreEntry::Reopen { letter: letter.id, event };
        let receipts = bench.submit(vec![reopen.clone(), reopen]);
        assert_eq!(receipts, [WriteReceipt::Accepted { seq }, WriteReceipt::Gone]);
    }
    assert_eq!(bench.letter_ids(), [0; 0]);
    let data = |bench: &Bench| -> Vec<String> {
        let inbox = bench.read(|reader| reader.inbox(0, 10));
        inbox.iter().map(|it| it.body.data_text().to_owned()).collect()
    };
    let wanted = ["{\"a\": 1}", "{\"b\": 2}", body];
    assert_eq!(data(&bench), wanted);
    crashed(&path, &copy);
    bench.close();
    let bench = Bench::at(&copy);
    assert_eq!(data(&bench), wanted);
    // The id was never given up meanwhile.
    assert_eq!(
        bench.submit(vec![StoreEntry::Record(finished(mapped))]),
        [WriteReceipt::Duplicate { seq: 1 }]
    );
    assert_eq!(bench.submit(vec![record("a", "{}")]), [WriteReceipt::Conflict { seq: 1 }]);
    bench.close();
}

#[test]
fn a_dead_delivery_is_owed_again_as_if_it_were_new() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![to("a", &["hook"]), to("b", &["hook", "mail"])]);
    bench.submit(vec![dead("hook", 1), dead("hook", 2), settled("mail", 2, DeliveryState::Done)]);
    let letters = bench.letters(10);
    let whose: Vec<_> =
        letters.iter().map(|letter| letter.event_id.clone().unwrap_or_default()).collect();
    assert_eq!(whose, ["b", "a"], "a letter says whose delivery it was");
    let figures = bench.store.figures();
    assert_eq!(figures.outbox_rows.load(Ordering::Relaxed), 0);
    bench.clock.0.store(86_400_000_000, Ordering::Relaxed);
    let letter = letters[1].id;
    let redeliver = StoreEntry::Redeliver { letter };
    assert_eq!(
        bench.submit(vec![redeliver.clone(), redeliver]),
        [WriteReceipt::Accepted { seq: 1 }, WriteReceipt::Gone]
    );
    let due = bench.read(|reader| reader.due("hook", Timestamp(i64::MAX), SOME));
    let due: Vec<_> = due.iter().map(|it| (it.seq, it.attempts, it.created)).collect();
    assert_eq!(due, [(1, 0, bench.clock.wall())], "it is not given up for its age");
    assert_eq!(figures.outbox_rows.load(Ordering::Relaxed), 1);
    assert_eq!(bench.letter_ids(), [letters[0].id]);
    // Made after all: there is nothing left to do.
    bench.submit(vec![settled("hook", 1, DeliveryState::Done)]);
    bench.close();
}

#[test]
fn what_conflicts_is_kept_where_nobody_hears_the_answer() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let line = |body: &str| {
        let context = Some(Arc::new(json!({ "file": "a.log", "line": 7 })));
        let letter = DeadLetter { context, class: "conflict", ..refused(body) };
        StoreEntry::OrLetter {
            entry: Box::new(record("a", body)),
            letter: LetterMaker::new(move || letter.clone()),
        }
    };
    let receipts = bench.submit(vec![line("{}"), line("{}"), line("[]")]);
    assert_eq!(
        receipts[1..],
        [WriteReceipt::Duplicate { seq: 1 }, WriteReceipt::Conflict { seq: 1 }]
    );
    let kept = bench.letters(10);
    assert_eq!(kept.len(), 1, "a repetition is no conflict");
    assert_eq!((&*kept[0].body, kept[0].class), (b"[]".as_slice(), "conflict"));
    assert_eq!(kept[0].context.as_deref(), Some(&json!({ "file": "a.log", "line": 7 })));
    bench.close();
}

#[test]
fn letters_are_found_by_what_they_say() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let late = Timestamp(1_767_225_600_000_000 + 60_000_000);
    bench.submit(vec![
        StoreEntry::Refuse(refused("{}")),
        bury("dies", "{}"),
        StoreEntry::Refuse(DeadLetter { class: "invalid", last: late, ..refused("{}") }),
        to("told", &["hook"]),
    ]);
    bench.submit(vec![dead("hook", 2)]);
    let all = LetterFilter::default;
    let what = |it| LetterFilter { what: Some(it), ..all() };
    assert_eq!(bench.list(all()), [1, 2, 3, 4]);
    assert_eq!(bench.list(what(DeadLetterWhat::Rejected)), [1, 3]);
    assert_eq!(bench.list(what(DeadLetterWhat::Delivery)), [4]);
    assert_eq!(bench.list(LetterFilter { stage: Some("hook".to_owned()), ..all() }), [4]);
    assert_eq!(bench.list(LetterFilter { class: Some("invalid".to_owned()), ..all() }), [3]);
    assert_eq!(bench.list(LetterFilter { since: Some(late), ..all() }), [3]);
    assert_eq!(bench.list(LetterFilter { source: Some("door".to_owned()), ..all() }), [1, 2, 3, 4]);
    assert_eq!(bench.list(LetterFilter { event_id: Some("told".to_owned()), ..all() }), [4]);
    assert_eq!(bench.read(|reader| reader.letter_of_event(1)).map(|it| it.id), Some(2));
    assert_eq!(bench.read(|reader| reader.letter_of_event(2)), None, "its event is stored");
    bench.close();
}

#[test]
fn the_audit_forgets_its_oldest_rows() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let row = |number: u64| {
        let (subject, outcome) = (json!({ "id": number }), json!({ "taken": 1 }));
        StoreEntry::Audit(AuditRecord {
            who: "admin".to_owned(),
            action: "redrive",
            subject,
            outcome,
        })
    };
    for first in (0..10_050).step_by(1000) {
        bench.submit((first..(first + 1000).min(10_050)).map(row).collect());
    }
    let rows = bench.read(|reader| reader.numbers("SELECT id FROM audit ORDER BY id"));
    assert_eq!((rows.len(), rows.first(), rows.last()), (10_000, Some(&51), Some(&10_050)));
    bench.close();
}

impl Bench {
    /// Messages that are stored, wait, or have a letter of their own.
    fn alive(&self) -> u64 {
        let letters = self.letters(200);
        let own = letters.iter().filter(|letter| letter.what != DeadLetterWhat::Delivery).count();
        let stored = self.read(|reader| reader.numbers("SELECT pos FROM event_rows")).len();
        let waiting = self.read(|reader| reader.inbox(0, 1000)).len();
        // The letter of a delivery may be dropped; its delivery then stays dead.
        let dead = self.states("hook").iter().filter(|state| state.1 == "dead").count();
        assert!(letters.len() - own <= dead, "no letter is without its delivery");
        (own + stored + waiting) as u64
    }
}

/// Whatever is done with letters, in whatever order: each message is stored, waits or has a
/// letter, and nothing is there twice.
#[test]
fn nothing_disappears_and_nothing_is_doubled_by_a_redrive() {
    for seed in 0..20 {
        let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut made, mut dropped) = (0_u64, 0_u64);
        for _ in 0..200 {
            let letters = bench.letters(100);
            let any = letters.get(random.usize(..letters.len().max(1))).cloned();
            match (random.u8(..8), any) {
                (0, _) => {
                    made += 1;
                    let id = format!("e{made}");
                    let refused = DeadLetter { event_id: Some(id), ..refused("{}") };
                    bench.submit(vec![StoreEntry::Refuse(refused)]);
                }
                (1, _) => {
                    made += 1;
                    bench.submit(vec![bury(&format!("e{made}"), "{}")]);
                }
                (2, _) => {
                    made += 1;
                    bench.submit(vec![to(&format!("e{made}"), &["hook"])]);
                }
                (3, _) => {
                    let due = bench.due("hook", DueLimits { first: 1, ..SOME });
                    bench.submit(due.into_iter().map(|it| dead("hook", it)).collect());
                }
                (4, _) => {
                    // What was opened again ends, or dies again.
                    let Some(row) = bench.read(|reader| reader.inbox(0, 1)).pop() else { continue };
                    let (envelope, body) = (row.envelope, row.body);
                    let event = Event { seq: row.seq, envelope, body, ..event("", "") };
                    bench.submit(vec![match random.bool() {
                        true => StoreEntry::Finish(finished(event)),
                        false => StoreEntry::DeadLetter {
                            event,
                            letter: letter(DeadLetterWhat::Event, None),
                        },
                    }]);
                }
                (5, Some(letter)) if random.u8(..4) == 0 => {
                    // The delivery of an event is dropped with its letter, the event is not.
                    dropped += u64::from(letter.what != DeadLetterWhat::Delivery);
                    bench.submit(vec![StoreEntry::DropLetter { id: letter.id }]);
                }
                (_, Some(letter)) => {
                    let entry = match letter.what {
                        DeadLetterWhat::Rejected => {
                            let id = letter.event_id.clone().expect("each has one here");
                            let entry = match random.bool() {
                                true => record(&id, "{}"),
                                false => bury(&id, "{}"),
                            };
                            retry(letter.id, entry)
                        }
                        DeadLetterWhat::Event => {
                            StoreEntry::Reopen { letter: letter.id, event: again(&letter) }
                        }
                        DeadLetterWhat::Delivery => StoreEntry::Redeliver { letter: letter.id },
                    };
                    // Asked for twice at once: the second finds that it is gone.
                    let receipts = bench.submit(vec![entry.clone(), entry]);
                    assert_ne!(receipts[0], WriteReceipt::Gone, "seed {seed}");
                    assert_eq!(receipts[1], WriteReceipt::Gone, "seed {seed}");
                }
                _ => {}
            }
            assert_eq!(bench.alive() + dropped, made, "seed {seed}");
            bench.letter_ids();
        }
        bench.close();
    }
}
