//! Messages that a later one with the same key replaces.

use super::outbox::settled;
use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// An event with a delivery that sends or changes the message of `key`.
fn about(id: &str, key: Option<&str>, cooldown: Option<&str>) -> StoreEntry {
    let cooldown = cooldown.map(|key| CooldownClaim {
        key: key.to_owned(),
        time: Timestamp(0),
        window: Duration::from_secs(60),
    });
    let message_key = key.map(str::to_owned);
    let traits = DeliveryTraits { message_key, ..DeliveryTraits::default() };
    let delivery = NewDelivery { sink: "phone".into(), cooldown, suppressed: None, traits };
    StoreEntry::Record(FinishedEvent { deliveries: vec![delivery], ..finished(event(id, "{}")) })
}

fn sent(seq: u64, receipt: &str) -> StoreEntry {
    let StoreEntry::Settle(settlement) = settled("phone", seq, DeliveryState::Done) else {
        unreachable!("it settles")
    };
    StoreEntry::Settle(Settlement { receipt: Some(receipt.to_owned()), ..settlement })
}

fn rules(rate: Option<MessageRate>) -> StoreEntry {
    let rules = NotifyRules {
        target: "phone".into(),
        quiet: Vec::new(),
        rate,
        group: None,
        update: Some(DAY),
        ..NotifyRules::default()
    };
    StoreEntry::Remember {
        generation: 1,
        nodes: Vec::new(),
        rules: vec![Arc::new(rules)],
        targets: vec!["phone".into()],
    }
}

impl Bench {
    fn message(&self, key: &'static str) -> Option<(u64, String)> {
        let now = self.store.shared.env.clock.wall();
        let message = self.read(move |reader| reader.sent_message("phone", key, now));
        message.map(|message| (message.seq, message.receipt))
    }

    fn sent_messages(&self) -> u64 {
        self.read(|reader| reader.numbers("SELECT count(*) FROM sent_messages"))[0]
    }
}

#[test]
fn what_a_service_calls_a_message_outlives_a_restart_and_not_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let bench = Bench::at(&path);
    bench.submit(vec![rules(None), about("e1", Some("v"), None), about("e2", None, None)]);
    bench.submit(vec![sent(1, "one"), sent(2, "two")]);
    assert_eq!(bench.message("v"), Some((1, "one".to_owned())));
    assert_eq!(bench.sent_messages(), 1, "one that is its own is not kept");
    bench.submit(vec![about("e3", Some("v"), None), sent(3, "three")]);
    bench.close();
    let bench = Bench::at(&path);
    assert_eq!(bench.message("v"), Some((3, "three".to_owned())));
    bench.at_second(2 * 86_400);
    assert_eq!(bench.message("v"), None);
    bench.keep_house();
    assert_eq!(bench.sent_messages(), 0);
    bench.close();
}

#[test]
fn a_delivery_that_was_not_made_keeps_no_message() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![rules(None), about("e1", Some("v"), None)]);
    bench.submit(vec![settled("phone", 1, DeliveryState::Dead)]);
    assert_eq!(bench.message("v"), None);
    bench.close();
}

#[test]
fn the_messages_that_were_not_changed_for_the_longest_time_go_and_are_counted() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![rules(None)]);
    let send = |at: u64, key: &str| {
        bench.at_second(at);
        bench.submit(vec![about(&format!("e{at}"), Some(key), None), sent(at, "x")]);
    };
    send(1, "first");
    (2..=MESSAGES_MAX).for_each(|at| send(at, &format!("k{at}")));
    // The oldest is changed, and is the newest then.
    send(MESSAGES_MAX + 1, "first");
    (2..=3).for_each(|more| send(MESSAGES_MAX + more, &format!("new{more}")));
    assert_eq!(bench.sent_messages(), MESSAGES_MAX);
    assert!(bench.message("first").is_some() && bench.message("k4").is_some());
    assert!(bench.message("k2").is_none() && bench.message("k3").is_none());
    let forgotten = bench.store.figures().forgotten.lock().unwrap().clone();
    assert_eq!(forgotten.values().sum::<u64>(), 2);
    bench.close();
}

#[test]
fn a_change_is_not_held_back_by_the_cooldown_of_its_message() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![rules(None), about("e1", Some("v"), Some("door"))]);
    // On its way, and sent.
    bench.submit(vec![about("e2", Some("v"), Some("door")), sent(1, "one")]);
    bench.submit(vec![about("e3", Some("v"), Some("door"))]);
    bench.submit(vec![about("e4", Some("w"), Some("door"))]);
    let states = [(1, "done"), (2, "pending"), (3, "pending"), (4, "suppressed")];
    assert_eq!(bench.states("phone"), states);
    // What changes a message gives no cooldown back that is not its own.
    bench.submit(vec![settled("phone", 2, DeliveryState::Dead)]);
    bench.submit(vec![about("e5", Some("x"), Some("door"))]);
    assert_eq!(bench.states("phone")[4], (5, "suppressed"));
    bench.close();
}

#[test]
fn a_change_has_no_place_in_the_rate() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let interval = Duration::from_secs(3600);
    let rate = MessageRate { interval, burst: 1, excess: Excess::Drop };
    bench.submit(vec![rules(Some(rate)), about("e1", Some("v"), None)]);
    bench.submit(vec![about("e2", Some("v"), None), about("e3", Some("w"), None)]);
    let states = [(1, "pending"), (2, "pending"), (3, "suppressed")];
    assert_eq!(bench.states("phone"), states);
    bench.close();
}

#[test]
fn what_gave_way_to_a_newer_message_is_suppressed_and_its_cooldown_stays() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.submit(vec![rules(None), about("e1", Some("v"), Some("door"))]);
    let StoreEntry::Settle(settlement) = settled("phone", 1, DeliveryState::Suppressed) else {
        unreachable!("it settles")
    };
    let error = Some(REPLACED.to_owned());
    bench.submit(vec![StoreEntry::Settle(Settlement { error, ..settlement })]);
    bench.submit(vec![about("e2", Some("w"), Some("door"))]);
    assert_eq!(bench.states("phone"), [(1, "suppressed"), (2, "suppressed")]);
    let counts = bench.store.figures().suppressed.lock().unwrap().clone();
    let count = |label| counts.get(&("phone".into(), label)).copied();
    assert_eq!((count("update"), count("cooldown")), (Some(1), Some(1)));
    bench.close();
}
