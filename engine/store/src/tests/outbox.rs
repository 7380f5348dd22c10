//! The outbox: what is due, what is full, what is counted.

use super::*;
use kernel::choice::Choice;
use kernel::event::EndedEvent;
use kernel::health::{HealthState, PartRole};

/// An event with a delivery to each of `sinks`.
pub(super) fn to(id: &str, sinks: &[&str]) -> StoreEntry {
    let deliveries = sinks.iter().map(|it| NewDelivery {
        sink: Arc::from(*it),
        cooldown: None,
        suppressed: None,
        traits: DeliveryTraits { group: Some(String::new()), ..DeliveryTraits::default() },
    });
    StoreEntry::Record(FinishedEvent {
        deliveries: deliveries.collect(),
        ..finished(event(id, "{}"))
    })
}

pub(super) fn settled(sink: &str, seq: u64, state: DeliveryState) -> StoreEntry {
    StoreEntry::Settle(Settlement {
        sink: sink.into(),
        seq,
        state,
        attempts: 1,
        not_before: Timestamp(1_767_225_600_000_000),
        error: None,
        letter: None,
        receipt: None,
        attempt: None,
    })
}

fn limited(rows: u64, targets: &[(&str, BacklogLimit)]) -> RetentionPolicy {
    let targets = targets.iter().map(|(name, limit)| (Arc::from(*name), limit.clone()));
    let outbox = OutboxLimits { rows, targets: targets.collect(), ..OutboxLimits::default() };
    RetentionPolicy { outbox, ..RetentionPolicy::default() }
}

fn backlog(rows: u64, on_full: OnFull) -> BacklogLimit {
    BacklogLimit { rows: Some(rows), bytes: None, on_full }
}

impl Bench {
    fn refused(&self, entry: StoreEntry) -> String {
        let fault = smol::block_on(self.store.submit(vec![entry])).expect_err("there is no room");
        assert_eq!(fault.class, StoreTrouble::NoRoom);
        fault.reason
    }

    pub(super) fn states(&self, sink: &'static str) -> Vec<(u64, &'static str)> {
        let sql = format!("SELECT seq FROM delivery_rows WHERE sink = '{sink}' ORDER BY seq");
        let seqs = self.read(move |reader| reader.numbers(&sql));
        let state = |seq: u64| {
            let all = self.read(move |reader| reader.deliveries_of(seq));
            let own = all.into_iter().find(|it| &*it.sink == sink).expect("it is there");
            (seq, own.state.word())
        };
        seqs.into_iter().map(state).collect()
    }

    pub(super) fn due(&self, sink: &'static str, limits: DueLimits) -> Vec<u64> {
        let now = self.clock.wall();
        let due = self.read(move |reader| reader.due(sink, now, limits));
        due.into_iter().map(|it| it.seq).collect()
    }

    fn target_problems(&self, name: &str) -> Vec<String> {
        let reports = self.health.report().into_iter();
        let own = reports
            .filter(|report| report.part.role == PartRole::Target && &*report.part.name == name);
        let problems = own.flat_map(|it| {
            assert!(it.state <= HealthState::Degraded);
            it.problems
        });
        problems
            .map(|problem| format!("{}: {}", problem.problem.code, problem.problem.reason))
            .collect()
    }
}

pub(super) const SOME: DueLimits = DueLimits { first: 3, again: 3, bytes: 1 << 20 };

#[test]
fn what_is_due_comes_in_the_order_of_its_events() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit((0..6).map(|it| to(&format!("e{it}"), &["hook", "mail"])).collect());
    assert_eq!(bench.due("hook", SOME), [1, 2, 3]);
    // Tried, and due again at the start of the clock.
    bench.submit(vec![settled("hook", 2, DeliveryState::Pending)]);
    assert_eq!(bench.due("hook", SOME), [1, 2, 3, 4]);
    assert_eq!(bench.due("hook", DueLimits { again: 0, ..SOME }), [1, 3, 4]);
    assert_eq!(bench.due("hook", DueLimits { first: 0, ..SOME }), [2]);
    assert_eq!(bench.due("hook", DueLimits { bytes: 1, ..SOME }), [1], "the first always fits");
    let all: Vec<StoreEntry> = (1..=6).map(|it| settled("hook", it, DeliveryState::Done)).collect();
    bench.submit(all);
    assert_eq!(bench.due("hook", SOME), [0; 0]);
    assert_eq!(bench.read(|reader| reader.next_due("hook")), None);
    assert_eq!(bench.read(|reader| reader.next_due("mail")), Some(Timestamp(0)));
    bench.close();
}

#[test]
fn a_delivery_leaves_the_outbox_once() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![to("a", &["hook"]), to("b", &["hook"])]);
    let dead = |seq| {
        let StoreEntry::Settle(settlement) = settled("hook", seq, DeliveryState::Dead) else {
            unreachable!("it settles");
        };
        let letter = Some(Box::new(letter(DeadLetterWhat::Delivery, None)));
        StoreEntry::Settle(Settlement { letter, ..settlement })
    };
    bench.submit(vec![dead(1), dead(1)]);
    bench.submit(vec![dead(1), settled("hook", 1, DeliveryState::Pending)]);
    assert_eq!(bench.states("hook"), [(1, "dead"), (2, "pending")]);
    assert_eq!(bench.letters(10).len(), 1);
    assert_eq!(bench.store.figures().outbox_rows.load(Ordering::Relaxed), 1);
    bench.close();
}

#[test]
fn an_attempt_that_ends_after_its_target_is_gone_leaves_the_delivery_parked() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![to("a", &["hook"])]);
    bench.submit(vec![StoreEntry::Park { sinks: Vec::new() }]);
    bench.submit(vec![settled("hook", 1, DeliveryState::Pending)]);
    assert_eq!(bench.states("hook"), [(1, "parked")]);
    bench.submit(vec![StoreEntry::Park { sinks: vec!["hook".into()] }]);
    assert_eq!(bench.states("hook"), [(1, "pending")]);
    bench.close();
}

#[test]
fn what_comes_for_a_target_that_is_gone_is_parked_and_said_until_it_is_back() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let park = |sinks: &[&str]| StoreEntry::Park {
        sinks: sinks.iter().map(|sink| (*sink).into()).collect(),
    };
    // Before the first parking any target may be one of the file.
    bench.submit(vec![to("a", &["mail"])]);
    assert_eq!(bench.states("mail"), [(1, "pending")]);
    bench.submit(vec![park(&["hook"])]);
    assert_eq!(bench.states("mail"), [(1, "parked")]);
    // It ran under the file before, and ends only now.
    bench.submit(vec![to("b", &["mail", "hook"])]);
    assert_eq!(bench.states("mail"), [(1, "parked"), (2, "parked")]);
    assert_eq!(bench.states("hook"), [(2, "pending")]);
    let parked = "parked: 2 deliveries are parked: no sink or notifier with this name is running";
    assert_eq!(bench.target_problems("mail"), [parked]);
    bench.submit(vec![park(&["hook", "mail"])]);
    assert_eq!(bench.states("mail"), [(1, "pending"), (2, "pending")]);
    assert_eq!(bench.target_problems("mail"), [""; 0]);
    assert!(bench.store.figures().parked.lock().unwrap().is_empty());
    bench.close();
}

#[test]
fn a_letter_of_a_target_that_is_gone_is_parked_when_it_is_tried_again() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let target = StoreEntry::Park { sinks: vec!["hook".into()] };
    bench.submit(vec![target, to("a", &["hook"])]);
    let StoreEntry::Settle(settlement) = settled("hook", 1, DeliveryState::Dead) else {
        unreachable!("it settles");
    };
    let mut letter = letter(DeadLetterWhat::Delivery, None);
    (letter.seq, letter.stage) = (Some(1), "hook".into());
    bench.submit(vec![StoreEntry::Settle(Settlement {
        letter: Some(Box::new(letter)),
        ..settlement
    })]);
    let letter = bench.letters(1)[0].id;
    bench.submit(vec![StoreEntry::Park { sinks: Vec::new() }, StoreEntry::Redeliver { letter }]);
    assert_eq!(bench.states("hook"), [(1, "parked")]);
    bench.close();
}

#[test]
fn the_oldest_that_waits_is_known_for_each_target() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let began = bench.clock.wall();
    bench.submit(vec![to("a", &["hook"])]);
    bench.clock.0.store(5_000_000, Ordering::Relaxed);
    bench.submit(vec![to("b", &["hook", "mail"]), settled("hook", 1, DeliveryState::Pending)]);
    smol::block_on(bench.store.tick());
    let oldest = |sink: &str| bench.store.figures().oldest.lock().unwrap().get(sink).copied();
    assert_eq!(oldest("hook"), Some(began), "one to be tried again counts");
    assert_eq!(oldest("mail"), Some(began.plus(Duration::from_secs(5))));
    bench.submit(vec![settled("hook", 1, DeliveryState::Done)]);
    smol::block_on(bench.store.tick());
    assert_eq!(oldest("hook"), Some(began.plus(Duration::from_secs(5))));
    bench.submit(vec![settled("hook", 2, DeliveryState::Done), StoreEntry::Park { sinks: vec![] }]);
    smol::block_on(bench.store.tick());
    assert_eq!((oldest("hook"), oldest("mail").is_some()), (None, true), "parked ones count");
    bench.close();
}

#[test]
fn only_events_for_a_full_target_are_turned_away() {
    let targets = [("hook", backlog(2, OnFull::Reject)), ("mail", BacklogLimit::default())];
    let bench = bench(StoreLocation::Memory, limited(1000, &targets));
    bench.submit(vec![to("a", &["hook"]), to("b", &["hook", "mail"])]);
    let reason = "`hook` has no room: its `backlog` (2) is full";
    assert_eq!(bench.refused(to("c", &["hook"])), reason);
    assert_eq!(bench.refused(to("d", &["mail", "hook"])), reason);
    assert_eq!(bench.refused(StoreEntry::Accept(event("e", "{}"))), reason, "it might go there");
    let problems = bench.target_problems("hook");
    assert_eq!(problems, [format!("outbox-full: {reason}; events that go there are rejected")]);
    assert_eq!(bench.submit(vec![to("f", &["mail"])]), [WriteReceipt::Stored { seq: 3, pos: 3 }]);
    assert_eq!(bench.submit(vec![record("g", "{}")]), [WriteReceipt::Stored { seq: 4, pos: 4 }]);
    let again = bench.submit(vec![to("a", &["hook"])]);
    assert_eq!(again, [WriteReceipt::Duplicate { seq: 1 }], "what came before is answered so");
    bench.submit(vec![settled("hook", 1, DeliveryState::Done)]);
    assert_eq!(bench.submit(vec![to("c", &["hook"])]), [WriteReceipt::Stored { seq: 5, pos: 5 }]);
    bench.clock.0.store(60_000_000, Ordering::Relaxed);
    smol::block_on(bench.store.tick());
    assert_eq!(bench.target_problems("hook"), [""; 0]);
    bench.close();
}

#[test]
fn a_submission_is_turned_away_whole() {
    let bench =
        bench(StoreLocation::Memory, limited(1000, &[("hook", backlog(2, OnFull::Reject))]));
    let batch = |ids: &[&str]| ids.iter().map(|it| to(it, &["hook"])).collect::<Vec<_>>();
    let refused = smol::block_on(bench.store.submit(batch(&["a", "b", "c"])));
    assert_eq!(refused.map_err(|fault| fault.class), Err(StoreTrouble::NoRoom));
    assert!(bench.listed(EventQuery::default()).is_empty());
    assert_eq!(bench.submit(batch(&["a", "b"])).len(), 2);
    bench.close();
}

#[test]
fn what_was_accepted_is_delivered_whatever_waits() {
    let bench =
        bench(StoreLocation::Memory, limited(1000, &[("hook", backlog(1, OnFull::Reject))]));
    bench.submit(vec![StoreEntry::Accept(event("a", "{}"))]);
    bench.submit(vec![to("b", &["hook"])]);
    let StoreEntry::Record(done) = to("a", &["hook"]) else { unreachable!("it records") };
    let done = FinishedEvent { event: EndedEvent { seq: 1, ..done.event }, ..done };
    bench.submit(vec![StoreEntry::Finish(done)]);
    assert_eq!(bench.states("hook"), [(1, "pending"), (2, "pending")]);
    bench.close();
}

#[test]
fn a_target_may_drop_its_oldest_or_make_dead_letters_of_the_newest() {
    let targets =
        [("hook", backlog(2, OnFull::DropOldest)), ("mail", backlog(2, OnFull::DeadLetter))];
    let bench = bench(StoreLocation::Memory, limited(1000, &targets));
    bench.submit((0..4).map(|it| to(&format!("e{it}"), &["hook", "mail"])).collect());
    let hook = [(1, "suppressed"), (2, "suppressed"), (3, "pending"), (4, "pending")];
    assert_eq!(bench.states("hook"), hook);
    assert_eq!(bench.states("mail"), [(1, "pending"), (2, "pending"), (3, "dead"), (4, "dead")]);
    let reason = "`mail` has no room: its `backlog` (2) is full";
    let letters = bench.letters(10);
    let letters: Vec<_> = letters.iter().map(|letter| (letter.seq, &*letter.reason)).collect();
    assert_eq!(letters, [(Some(4), reason), (Some(3), reason)]);
    let suppressed = bench.store.figures().suppressed.lock().expect("no test panics").clone();
    assert_eq!(suppressed, [(("hook".into(), "backlog"), 2)].into());
    // The call was under way when the delivery was dropped, and the other side took it.
    bench.submit(vec![settled("hook", 1, DeliveryState::Done)]);
    assert_eq!(bench.states("hook")[0], (1, "done"));
    let rows = bench.store.figures().outbox_rows.load(Ordering::Relaxed);
    assert_eq!(rows, 4);
    bench.close();
}

#[test]
fn a_delivery_that_is_not_made_begins_no_cooldown() {
    let bench =
        bench(StoreLocation::Memory, limited(1000, &[("phone", backlog(1, OnFull::DeadLetter))]));
    bench.submit(vec![to("a", &["phone"]), told("b", 60)]);
    bench.submit(vec![settled("phone", 1, DeliveryState::Done), told("c", 60), told("d", 60)]);
    let expected = [(1, "done"), (2, "dead"), (3, "pending"), (4, "suppressed")];
    assert_eq!(bench.states("phone"), expected);
    bench.close();
}

#[test]
fn letters_are_kept_to_their_number_in_the_commit_that_brings_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let policy = RetentionPolicy { dead_max: 10, ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::File(path.clone()), policy);
    let bury = |id: String| {
        let letter = letter(DeadLetterWhat::Event, None);
        StoreEntry::DeadLetter { event: event(&id, "{}"), letter }
    };
    for batch in 0..5 {
        bench.submit((0..20).map(|it| bury(format!("{batch}-{it}"))).collect());
        assert_eq!(bench.store.figures().dead_letters.load(Ordering::Relaxed), 10);
        assert_eq!(bench.letters(100).len(), 10);
    }
    assert_eq!(bench.letters(1)[0].event_id.as_deref(), Some("4-19"));
    crashed(&path, &copy);
    bench.close();
    let bench = Bench::at(&copy);
    let first = bench.submit(vec![record("0-0", "{}"), record("4-19", "{}")]);
    let known = [WriteReceipt::Duplicate { seq: 1 }, WriteReceipt::Duplicate { seq: 100 }];
    assert_eq!(first, known, "the ids of letters that went stay taken");
    bench.close();
}

#[test]
fn the_letter_of_an_event_without_its_message_says_what_was_mapped() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let bench = Bench::at(&path);
    let part = |message: &str| {
        let event = event("a", message);
        let body = Body { data: DataAt::Own("7".into()), ..event.body.clone() };
        Event { body: body.alone(), ..event }
    };
    let letter = letter(DeadLetterWhat::Event, None);
    let letter = DeadLetter { body: part("[7]").body.bytes.clone(), ..letter };
    bench.submit(vec![StoreEntry::DeadLetter { event: part("[7]"), letter }]);
    crashed(&path, &copy);
    bench.close();
    let bench = Bench::at(&copy);
    let found = bench.read(|reader| reader.dead_letter(1)).expect("it is there");
    assert_eq!(&*found.body, b"7");
    let mapped = found.mapped.clone().map(|mapped| mapped.envelope);
    assert_eq!(mapped, Some(event("a", "").envelope));
    let bury = |message: &str| {
        let letter = DeadLetter { body: b"7".as_slice().into(), ..found.clone() };
        StoreEntry::DeadLetter { event: part(message), letter }
    };
    assert_eq!(bench.submit(vec![bury("[7]")]), [WriteReceipt::Duplicate { seq: 1 }]);
    assert_eq!(bench.submit(vec![bury("[7, 8]")]), [WriteReceipt::Conflict { seq: 1 }]);
    bench.close();
}

/// Whatever happens, in whatever order: what is counted is what is there.
#[test]
fn what_waits_is_counted_as_it_changes() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let targets = [
            ("hook", backlog(5, OnFull::DropOldest)),
            ("mail", backlog(5, OnFull::DeadLetter)),
            ("slow", backlog(5, OnFull::Reject)),
        ];
        let policy = RetentionPolicy { dead_max: 8, ..limited(12, &targets) };
        let bench = bench(StoreLocation::Memory, policy);
        for step in 0..150 {
            let entry = any_entry(&mut random, step);
            bench.clock.0.fetch_add(random.u64(..2000), Ordering::Relaxed);
            if let Err(fault) = smol::block_on(bench.store.submit(entry)) {
                assert_eq!(fault.class, StoreTrouble::NoRoom, "seed {seed}, step {step}: {fault}");
            }
            if random.u8(..10) == 0 {
                smol::block_on(bench.store.sweep());
            }
            if step % 10 == 9 {
                compare(&bench, seed, step);
            }
        }
        bench.close();
    }
}

/// Groups, digests and rates of some targets.
fn some_rules(random: &mut fastrand::Rng) -> Vec<Arc<NotifyRules>> {
    let targets = ["hook", "mail", "slow"].into_iter().filter(|_| random.bool());
    let targets: Vec<&str> = targets.collect();
    let rules = targets.into_iter().map(|target| {
        let wait = Duration::from_millis(1);
        let excess = *random.choice(Excess::ALL).expect("there are some");
        let rate = MessageRate { interval: Duration::from_millis(2), burst: 1, excess };
        Arc::new(NotifyRules {
            target: target.into(),
            quiet: Vec::new(),
            rate: random.bool().then_some(rate),
            group: random.bool().then_some(GroupRule { wait, then: None }),
            update: random.bool().then_some(Duration::from_secs(60)),
            repeat: random.bool().then_some(RepeatRule { every: wait, max: 2 }),
            wait: random.bool().then_some(wait),
            recovers: random.bool(),
            escalate: (target == "hook")
                .then(|| EscalateRule { after: wait, to: vec!["mail".into(), "slow".into()] }),
        })
    });
    rules.collect()
}

/// An event that is an alert to some targets, answers those of others, and takes some back.
fn alert(random: &mut fastrand::Rng, id: &str, sinks: &[&str]) -> StoreEntry {
    let key = || "key".to_owned();
    let via = |word, from: &str| Some(Relay { word, from: from.into() });
    let plain = |sink: &str| NewDelivery {
        sink: sink.into(),
        cooldown: None,
        suppressed: None,
        traits: DeliveryTraits { alert: Some(key()), ..DeliveryTraits::default() },
    };
    let mut is = || random.bool();
    let fact = is().then(|| FactClaim { key: key(), is_fact: is(), is_routed: is() });
    let mut deliveries = Vec::new();
    for sink in sinks {
        let mut delivery = plain(sink);
        delivery.traits.fact = fact.clone();
        if random.bool() {
            let recovery = Some(Recovery { key: key(), is_routed: random.bool() });
            let via = via(RelayWord::Recover, sink);
            delivery.traits = DeliveryTraits { recovery, via, ..DeliveryTraits::default() };
        } else if *sink == "hook" {
            let mut other = plain(random.choice(["mail", "slow"]).expect("there are some"));
            other.traits.via = via(RelayWord::Escalate, sink);
            delivery.traits.escalations = vec![other];
        }
        deliveries.push(delivery);
    }
    let answers = ["hook", "mail"].into_iter().filter(|_| random.u8(..4) == 0);
    let answers = answers.map(|answer| (Arc::from(answer), key())).collect();
    StoreEntry::Record(FinishedEvent { deliveries, answers, ..finished(event(id, "{}")) })
}

/// What one target could not deliver goes to another.
fn relay(from: &str, to: &str, seq: u64) -> StoreEntry {
    let via = Some(Relay { word: RelayWord::Fallback, from: from.into() });
    let traits = DeliveryTraits { via, ..DeliveryTraits::default() };
    let to = NewDelivery { sink: to.into(), cooldown: None, suppressed: None, traits };
    StoreEntry::Relay { from: from.into(), seq, to: vec![to] }
}

fn any_entry(random: &mut fastrand::Rng, step: usize) -> Vec<StoreEntry> {
    let targets = ["hook", "mail", "slow"];
    let id = format!("e{}", random.usize(..=step));
    let seq = random.u64(1..=step as u64 + 1);
    let target = random.choice(targets).expect("there are some");
    let wanted: Vec<&str> = targets.into_iter().filter(|_| random.bool()).collect();
    let known = Event { seq, ..event(&id, "{\"x\":1}") };
    let letter = letter(DeadLetterWhat::Event, None);
    // Nothing that is delivered is held by that.
    let state = random.choice(&DeliveryState::ALL[..5]).copied().expect("there are some");
    let first = match random.u8(..17) {
        0 => StoreEntry::Accept(event(&id, "{\"x\":1}")),
        1 => StoreEntry::Finish(finished(known)),
        2 => StoreEntry::Discard { event: known, reason: "rule".into() },
        3 => StoreEntry::DeadLetter { event: known, letter },
        4 => StoreEntry::DeadLetter { event: event(&id, "{}"), letter },
        5 => StoreEntry::DropLetter { id: seq },
        6 => StoreEntry::Park { sinks: wanted.iter().map(|it| Arc::from(*it)).collect() },
        7 => settled(target, seq, state),
        8 => StoreEntry::Remember {
            generation: 1,
            nodes: Vec::new(),
            rules: some_rules(random),
            targets: wanted.iter().map(|it| Arc::from(*it)).collect(),
        },
        9 => StoreEntry::Wake,
        10..13 => alert(random, &id, &wanted),
        13 => relay(target, "slow", seq),
        _ => to(&id, &wanted),
    };
    vec![first, settled(target, seq / 2, DeliveryState::Done)]
}

fn compare(bench: &Bench, seed: u64, step: usize) {
    let count = |sql: &'static str| bench.read(move |reader| reader.count_of(sql));
    let figures = bench.store.figures();
    let pairs = [
        (&figures.pending, "SELECT count(*) FROM inbox"),
        (&figures.pending_bytes, "SELECT coalesce(sum(octet_length(body)), 0) FROM inbox"),
        (&figures.dead_letters, "SELECT count(*) FROM dead_letters"),
        (&figures.outbox_rows, "SELECT count(*) FROM delivery_rows WHERE state IN (0, 3, 5)"),
        (
            &figures.outbox_bytes,
            "SELECT coalesce(sum(bytes), 0) FROM delivery_rows WHERE state IN (0, 3, 5)",
        ),
    ];
    for (figure, sql) in pairs {
        let shown = figure.load(Ordering::Relaxed);
        assert_eq!(shown, count(sql), "seed {seed}, step {step}: {sql}");
    }
}

#[test]
fn an_older_outbox_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let raw = Connection::open(&path).expect("it opens");
    raw.execute_batch(include_str!("../../../../migrations/0001-store.sql")).expect("tables");
    raw.execute_batch(
        r#"PRAGMA application_id = 1702260327; PRAGMA user_version = 1;
        INSERT INTO event_rows (pos, seq, type, source, targets, time, received, priority,
            generation, id, subject, enrich, stages, data, body)
        VALUES (1, NULL, 't', 's', 'db', 0, 0, 0, 1, 'a', '', '{}', '[]', 'ä', x'001122'),
            (3, 2, 't', 's', 'db', 0, 0, 0, 1, 'b', '', '{"n":1}', '[]', NULL, x'00');
        INSERT INTO delivery_rows VALUES ('hook', 1, 0, 0, 5, 5, NULL), ('hook', 2, 0, 3, 7, 5, 'no'),
            ('gone', 2, 3, 0, 5, 5, NULL), ('hook', 9, 1, 1, 5, 5, NULL);
        INSERT INTO meta (key, value) VALUES ('counter', 9);"#,
    )
    .expect("rows");
    drop(raw);
    let bench = Bench::at(&path);
    let due = bench.read(|reader| reader.due("hook", Timestamp(7), SOME));
    let due: Vec<_> = due.iter().map(|it| (it.seq, it.not_before.0, it.bytes)).collect();
    assert_eq!(due, [(1, 0, 7), (2, 7, 8)]);
    let sizes = bench.store.figures().outbox.lock().expect("no test panics").clone();
    let size = |rows, bytes| BacklogSize { rows, bytes };
    assert_eq!(sizes, [("gone".into(), size(1, 8)), ("hook".into(), size(2, 15))].into());
    bench.close();
}
