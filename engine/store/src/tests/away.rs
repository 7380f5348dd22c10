//! What waits for a notifier that is away for a while: disabled, or out of the file.

use super::outbox::settled;
use super::*;
use kernel::hours::{DayRange, QuietHours, Weekdays};

const HOUR: Duration = Duration::from_secs(3600);

fn phone() -> Vec<Arc<str>> {
    vec!["phone".into()]
}

/// Notifies, with what it may be told together with.
fn notified(id: &str) -> StoreEntry {
    let traits = DeliveryTraits { group: Some("door".to_owned()), ..DeliveryTraits::default() };
    let delivery = NewDelivery { sink: "phone".into(), cooldown: None, suppressed: None, traits };
    StoreEntry::Record(FinishedEvent { deliveries: vec![delivery], ..finished(event(id, "{}")) })
}

impl Bench {
    fn is_back(&self, rules: &NotifyRules) {
        let rules = vec![Arc::new(rules.clone())];
        let (nodes, targets) = (Vec::new(), phone());
        self.submit(vec![StoreEntry::Remember { generation: 1, nodes, rules, targets }]);
        self.submit(vec![StoreEntry::Park { sinks: phone() }]);
    }

    fn is_away(&self) {
        let (nodes, rules, targets) = (Vec::new(), Vec::new(), Vec::new());
        self.submit(vec![StoreEntry::Remember { generation: 2, nodes, rules, targets }]);
        self.submit(vec![StoreEntry::Park { sinks: Vec::new() }]);
    }

    fn later(&self, duration: Duration) {
        self.clock.0.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
        self.submit(vec![StoreEntry::Wake]);
    }
}

fn quiet() -> NotifyRules {
    let hours = QuietHours {
        range: DayRange::parse("00:00-24:00").expect("a range"),
        days: Weekdays::parse("mon-sun").expect("days"),
        zone: kernel::time::zone("UTC").expect("a zone"),
    };
    let quiet = vec![QuietRule { hours, excess: Excess::Delay }];
    NotifyRules { target: "phone".into(), quiet, ..NotifyRules::default() }
}

fn rare(excess: Excess) -> NotifyRules {
    let rate = Some(MessageRate { interval: HOUR, burst: 1, excess });
    NotifyRules { target: "phone".into(), rate, ..NotifyRules::default() }
}

fn grouped() -> NotifyRules {
    let group = Some(GroupRule { wait: HOUR, then: None });
    NotifyRules { target: "phone".into(), group, ..NotifyRules::default() }
}

#[test]
fn what_is_held_stays_so_while_its_notifier_is_away() {
    for rules in [quiet(), rare(Excess::Delay), rare(Excess::Digest), grouped()] {
        let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
        bench.is_back(&rules);
        bench.submit(vec![notified("a"), notified("b"), notified("c")]);
        let before = bench.states("phone");
        assert!(before.contains(&(3, "held")), "{before:?}");
        for _ in 0..2 {
            bench.is_away();
            let parked = before.iter().map(|(seq, state)| match *state {
                "pending" => (*seq, "parked"),
                state => (*seq, state),
            });
            assert_eq!(bench.states("phone"), parked.collect::<Vec<_>>(), "{rules:?}");
            bench.is_back(&rules);
            bench.later(Duration::ZERO);
            assert_eq!(bench.states("phone"), before, "{rules:?}");
        }
        bench.close();
    }
}

#[test]
fn what_comes_due_while_its_notifier_is_away_is_judged_when_it_is_back() {
    let cases = [
        (quiet(), "held", "held"),
        (rare(Excess::Delay), "parked", "pending"),
        (rare(Excess::Digest), "parked", "pending"),
        (grouped(), "parked", "pending"),
    ];
    for (rules, away, back) in cases {
        let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
        bench.is_back(&rules);
        bench.submit(vec![notified("a"), notified("b")]);
        let held = bench.states("phone").iter().find(|state| state.1 == "held").map(|it| it.0);
        let state = || {
            let states = bench.states("phone");
            states.into_iter().find(|state| Some(state.0) == held).expect("it is held").1
        };
        bench.is_away();
        bench.later(2 * HOUR);
        assert_eq!(state(), away, "{rules:?}");
        bench.is_back(&rules);
        bench.later(Duration::ZERO);
        assert_eq!(state(), back, "{rules:?}");
        bench.close();
    }
}

#[test]
fn quiet_hours_that_end_and_begin_again_while_it_is_away_still_hold() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    bench.is_back(&quiet());
    bench.submit(vec![notified("a")]);
    bench.is_away();
    bench.later(25 * HOUR);
    assert_eq!(bench.states("phone"), [(1, "parked")]);
    bench.is_back(&quiet());
    bench.later(Duration::ZERO);
    assert_eq!(bench.states("phone"), [(1, "held")]);
    bench.is_back(&NotifyRules { target: "phone".into(), ..NotifyRules::default() });
    bench.later(Duration::ZERO);
    assert_eq!(bench.states("phone"), [(1, "pending")], "without the rule nothing holds it");
    bench.close();
}

/// Somebody may react while the notifier is away, and nobody would hear of it.
#[test]
fn an_alert_is_not_repeated_by_a_notifier_that_was_away() {
    let bench = bench(StoreLocation::Memory, RetentionPolicy::default());
    let repeat = Some(RepeatRule { every: HOUR, max: 5 });
    let rules = NotifyRules { target: "phone".into(), repeat, ..NotifyRules::default() };
    bench.is_back(&rules);
    let StoreEntry::Record(mut alert) = notified("a") else { unreachable!("it is one") };
    alert.deliveries[0].traits.alert = Some("door".to_owned());
    bench.submit(vec![StoreEntry::Record(alert)]);
    bench.submit(vec![settled("phone", 1, DeliveryState::Done)]);
    bench.later(HOUR + HOUR / 2);
    assert_eq!(bench.states("phone"), [(1, "pending")], "it is repeated");
    bench.submit(vec![settled("phone", 1, DeliveryState::Done)]);
    bench.is_away();
    bench.is_back(&rules);
    bench.later(2 * HOUR);
    assert_eq!(bench.states("phone"), [(1, "done")]);
    bench.close();
}
