//! Retention: its share of the writer, the size on the disk, and changes that wait.

use super::*;
use crate::writer::Command;
use kernel::health::PartRole;

const SECOND: u64 = 1_000_000;

fn keep(secs: u64, priority: Option<Priority>) -> KeepRule {
    KeepRule { age: Duration::from_secs(secs), priority, kind: None }
}

fn keeping(keep: Vec<KeepRule>) -> RetentionPolicy {
    RetentionPolicy { keep, ..RetentionPolicy::default() }
}

/// An event that arrived so many seconds after the start of the clock.
fn arrived(id: &str, seconds: i64) -> StoreEntry {
    with(id, move |it| it.received = Timestamp(it.received.0 + seconds * 1_000_000))
}

impl Bench {
    /// Looks with the rules that are in force now.
    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reader<'_>, &RetentionView<'_>, &Arc<dyn Clock>) -> Result<T, StoreFault>
        + Send
        + 'static,
    ) -> T {
        let in_force = self.store.rules_in_force();
        let clock: Arc<dyn Clock> = self.clock.clone();
        self.read(move |reader| {
            let view = RetentionView { in_force: &in_force, store: "db", now: clock.wall() };
            look(reader, &view, &clock)
        })
    }

    fn explained(&self, number: usize) -> Option<KeptEvent> {
        self.look(move |it, view, clock| {
            it.explain_retention(view, clock, &format!("e{number}"), None)
        })
    }

    pub(super) fn at_second(&self, second: u64) {
        self.clock.0.store(second * SECOND, Ordering::Relaxed);
    }

    /// One round of housekeeping, now.
    pub(super) fn keep_house(&self) {
        smol::block_on(self.store.tick());
    }

    fn adopt(&self, policy: RetentionPolicy) {
        smol::block_on(self.store.set_policy(policy));
        self.keep_house();
    }

    fn stored(&self) -> u64 {
        self.read(|reader| reader.count_of("SELECT count(*) FROM event_rows"))
    }

    fn pending_rules(&self) -> Vec<String> {
        let reports = self.health.report().into_iter();
        let own = reports.filter(|report| report.part.role == PartRole::Store);
        let problems = own.flat_map(|it| it.problems);
        problems
            .map(|problem| format!("{}: {}", problem.problem.code, problem.problem.reason))
            .collect()
    }

    fn deleted(&self) -> BTreeMap<String, u64> {
        let deleted = self.store.figures().deleted.lock().expect("no test panics").clone();
        deleted.into_iter().map(|(rule, count)| (rule.to_string(), count)).collect()
    }
}

fn counts<const N: usize>(pairs: [(&str, u64); N]) -> BTreeMap<String, u64> {
    pairs.into_iter().map(|(rule, count)| (rule.to_owned(), count)).collect()
}

/// A store whose writer the test runs by hand, one command after the other.
pub(super) struct ByHand {
    store: Store,
    pub(super) writer: Writer,
    pub(super) clock: Arc<Still>,
    waiting: Vec<kernel::env::Pending<'static, ()>>,
}

impl ByHand {
    pub(super) fn new(place: StoreLocation, policy: RetentionPolicy) -> ByHand {
        let clock = Arc::new(Still(AtomicU64::new(0)));
        let env = Env::new(clock.clone(), Random::seeded(1), Pools::system());
        let settings = Settings { batch: 1, ..settings(place) };
        let (store, writer) =
            open(settings, policy, env, Box::new(Seen::default())).expect("it opens");
        ByHand { store, writer, clock, waiting: Vec::new() }
    }

    /// Gives the writer something that waits.
    fn send(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let mut work: kernel::env::Pending<'static, ()> = Box::pin(work);
        assert!(smol::block_on(smol::future::poll_once(&mut work)).is_none(), "it waits");
        self.waiting.push(work);
    }

    /// Has these written at once.
    pub(super) fn write(&mut self, entries: Vec<StoreEntry>) {
        let store = self.store.clone();
        self.send(async move { drop(store.submit(entries).await.expect("it is written")) });
        assert!(self.step());
    }

    fn send_event(&mut self, entry: StoreEntry) {
        let store = self.store.clone();
        self.send(async move { drop(store.submit(vec![entry]).await) });
    }

    pub(super) fn send_close(&mut self) {
        let store = self.store.clone();
        self.send(async move { store.close().await });
    }

    pub(super) fn send_tick(&mut self) {
        let store = self.store.clone();
        self.send(async move { store.tick().await });
    }

    /// Lets the writer do one command. False when none waits.
    pub(super) fn step(&mut self) -> bool {
        let next = self.writer.commands.try_recv();
        next.is_ok_and(|command: Command| self.writer.take(command))
    }

    fn count(&self, sql: &str) -> i64 {
        self.writer.connection.query_row(sql, [], |row| row.get(0)).expect("a count")
    }

    fn stored(&self) -> i64 {
        self.count("SELECT count(*) FROM event_rows")
    }
}

#[test]
fn as_many_are_deleted_as_arrive_however_busy_the_writer_is() {
    let mut hand = ByHand::new(StoreLocation::Memory, keeping(vec![keep(10, None)]));
    let old = (0..3000).map(|it| record(&format!("old{it}"), "{}")).collect::<Vec<_>>();
    let store = hand.store.clone();
    hand.send(async move { drop(store.submit(old).await) });
    assert!(hand.step());
    hand.clock.0.store(100 * SECOND, Ordering::Relaxed);
    // From here on something waits whenever a command is done.
    hand.send_tick();
    (0..40).for_each(|it| hand.send_event(arrived(&format!("new{it}"), 100)));
    assert!(hand.step());
    let begun = hand.stored();
    assert_eq!(begun, 3000, "the tick lets others go first");
    while hand.step() {
        let now = hand.stored();
        assert!(now <= begun + 2, "{now} after {begun}");
    }
    assert!(hand.stored() <= begun, "{} after {begun}", hand.stored());
}

#[test]
fn a_sweep_takes_small_transactions_and_leaves_a_small_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let mut hand = ByHand::new(StoreLocation::File(path.clone()), keeping(vec![keep(10, None)]));
    for batch in 0..20 {
        let body = format!("\"{}\"", "x".repeat(2000));
        let old = (0..1000).map(|it| record(&format!("{batch}-{it}"), &body)).collect::<Vec<_>>();
        let store = hand.store.clone();
        hand.send(async move { drop(store.submit(old).await) });
        assert!(hand.step());
    }
    hand.clock.0.store(100 * SECOND, Ordering::Relaxed);
    hand.writer.upkeep_begin();
    let (mut most, mut before) = (0, hand.stored());
    let log = format!("{}-wal", path.display());
    while 0 < before {
        let slices = std::cell::Cell::new(0);
        hand.writer.upkeep_idle(&|| slices.replace(slices.get() + 1) < 1);
        let now = hand.stored();
        most = most.max(before - now);
        before = now;
        let bytes = std::fs::metadata(&log).expect("a log").len();
        assert!(bytes < 40 << 20, "the log has {bytes} bytes");
    }
    assert!(most <= 500, "{most} rows in one transaction");
}

#[test]
fn a_store_is_no_larger_on_the_disk_than_it_may_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let most = 8 << 20;
    let policy = RetentionPolicy { size_max: Some(most), ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::File(path.clone()), policy);
    let body = format!("\"{}\"", "x".repeat(20_000));
    let (mut newest, mut largest) = (0, 0);
    for round in 0..30 {
        let entries = (0..60).map(|it| record(&format!("{round}-{it}"), &body));
        bench.submit(entries.collect());
        bench.keep_house();
        let size = |end: &str| {
            let file = format!("{}{end}", path.display());
            std::fs::metadata(file).map_or(0, |metadata| metadata.len())
        };
        let bytes = size("") + size("-wal") + size("-shm");
        assert!(bytes <= most, "round {round}: {bytes} bytes");
        largest = largest.max(bytes);
        newest = bench.stored();
    }
    assert!(most / 2 < largest, "{largest} bytes at most");
    assert!((100..400).contains(&newest), "{newest} are left");
    assert_eq!(bench.listed(EventQuery::default())[0], "29-59", "the newest stay");
    bench.close();
}

#[test]
fn what_has_the_lowest_priority_goes_first_and_what_waits_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let evict = Evict::OldestLowestPriority;
    let policy = RetentionPolicy { size_max: Some(4 << 20), evict, ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::File(path), policy);
    let body = format!("\"{}\"", "x".repeat(10_000));
    let event = |id: String, priority| {
        let mut event = event(&id, &body);
        event.envelope.priority = priority;
        StoreEntry::Record(finished(event))
    };
    bench.submit((0..20).map(|it| waiting(&format!("waits{it}"))).collect());
    for round in 0..20 {
        let level = if round % 2 == 0 { Priority::High } else { Priority::Low };
        bench.submit((0..30).map(|it| event(format!("{round}-{it}"), level)).collect());
        bench.keep_house();
    }
    let left = bench.read(|reader| reader.stream(0, u64::MAX >> 1, 1000, usize::MAX)).events;
    let of = |level| left.iter().filter(|it| it.envelope.priority == level).count();
    assert_eq!(left.iter().filter(|it| it.envelope.id.starts_with("waits")).count(), 20);
    assert!(of(Priority::Low) <= 60, "{} of low priority", of(Priority::Low));
    assert!(150 < of(Priority::High), "{} of high priority", of(Priority::High));
    bench.close();
}

#[test]
fn what_was_deleted_is_counted_by_rule() {
    let low = KeepRule { age: Duration::from_secs(10), priority: Some(Priority::Low), kind: None };
    let bench = bench(StoreLocation::Memory, keeping(vec![low, keep(50, None)]));
    let lower = (0..3).map(|it| with(&format!("l{it}"), |it| it.priority = Priority::Low));
    bench.submit(lower.chain([record("h", "{}")]).collect());
    bench.at_second(20);
    bench.keep_house();
    bench.at_second(60);
    smol::block_on(bench.store.sweep());
    let expected = counts([("keep \"10s\" priority=low", 3), ("keep \"50s\"", 1)]);
    assert_eq!(bench.deleted(), expected);
    bench.close();
}

#[test]
fn what_only_passes_through_goes_with_its_last_delivery() {
    let policy = RetentionPolicy { passing_keep: Duration::ZERO, ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::Memory, policy);
    let delivery = NewDelivery {
        sink: "hook".into(),
        cooldown: None,
        suppressed: None,
        traits: DeliveryTraits::default(),
    };
    let passing = |id: &str| {
        StoreEntry::Record(FinishedEvent {
            targets: ["hook".into()].into(),
            deliveries: vec![delivery.clone()],
            ..finished(event(id, "{}"))
        })
    };
    bench.submit(vec![passing("a"), passing("b"), record("kept", "{}")]);
    bench.at_second(1);
    bench.keep_house();
    assert_eq!(bench.stored(), 3, "it waits for its delivery");
    assert_eq!(bench.listed(EventQuery::default()), ["kept"]);
    let done = Settlement {
        sink: "hook".into(),
        seq: 1,
        state: DeliveryState::Done,
        attempts: 1,
        not_before: Timestamp(0),
        error: None,
        letter: None,
        receipt: None,
        attempt: None,
    };
    bench.submit(vec![StoreEntry::Settle(done)]);
    bench.keep_house();
    assert_eq!(bench.stored(), 2);
    assert_eq!(bench.read(|reader| reader.by_seq(&[1])).len(), 0);
    bench.close();
}

#[test]
fn what_only_passes_through_stays_for_the_letter_of_its_delivery() {
    let policy = RetentionPolicy { passing_keep: Duration::ZERO, ..RetentionPolicy::default() };
    let bench = bench(StoreLocation::Memory, policy);
    let delivery = NewDelivery {
        sink: "hook".into(),
        cooldown: None,
        suppressed: None,
        traits: DeliveryTraits::default(),
    };
    bench.submit(vec![StoreEntry::Record(FinishedEvent {
        targets: ["hook".into()].into(),
        deliveries: vec![delivery],
        ..finished(event("a", "{}"))
    })]);
    let letter = letter(DeadLetterWhat::Delivery, None);
    bench.submit(vec![StoreEntry::Settle(Settlement {
        sink: "hook".into(),
        seq: 1,
        state: DeliveryState::Dead,
        attempts: 1,
        not_before: Timestamp(0),
        error: None,
        letter: Some(Box::new(DeadLetter { seq: Some(1), ..letter })),
        receipt: None,
        attempt: None,
    })]);
    bench.at_second(1);
    bench.keep_house();
    assert_eq!(bench.stored(), 1);
    bench.submit(vec![StoreEntry::DropLetter { id: 1 }]);
    bench.keep_house();
    assert_eq!(bench.stored(), 0);
    bench.close();
}

#[test]
fn a_clock_that_was_ahead_keeps_nothing_behind_it() {
    let bench = bench(StoreLocation::Memory, keeping(vec![keep(10, None)]));
    let years = 10 * 366 * 86_400;
    bench.submit(vec![record("a", "{}"), arrived("ahead", years), record("b", "{}")]);
    bench.at_second(100);
    bench.keep_house();
    assert_eq!(bench.listed(EventQuery::default()), ["ahead"]);
    bench.close();
}

#[test]
fn a_change_that_deletes_more_than_half_waits_and_can_be_taken_back() {
    let bench = bench(StoreLocation::Memory, keeping(vec![keep(1000, None)]));
    bench.submit((0..10).map(|it| arrived(&format!("e{it}"), it)).collect());
    bench.at_second(100);
    bench.keep_house();
    let short = keeping(vec![keep(94, None)]);
    bench.adopt(short.clone());
    let told = "retention-pending: the new `retention` would delete 6 of the 10 events that the \
                previous rules keep; it is not in effect until 2026-01-01T00:02:40.000Z";
    assert_eq!(bench.pending_rules(), [told]);
    bench.at_second(159);
    bench.keep_house();
    assert_eq!(bench.stored(), 10);
    bench.adopt(keeping(vec![keep(1000, None)]));
    assert_eq!(bench.pending_rules(), [""; 0]);
    bench.at_second(300);
    bench.keep_house();
    assert_eq!(bench.stored(), 10, "it was taken back");
    bench.adopt(short);
    bench.at_second(361);
    bench.keep_house();
    assert_eq!(bench.stored(), 0, "nobody took it back");
    assert_eq!(bench.pending_rules(), [""; 0]);
    assert_eq!(bench.deleted(), counts([("keep \"94s\"", 10)]));
    bench.close();
}

#[test]
fn a_change_that_deletes_less_than_half_is_in_force_at_once() {
    let bench = bench(StoreLocation::Memory, keeping(vec![keep(1000, None)]));
    bench.submit((0..10).map(|it| arrived(&format!("e{it}"), it)).collect());
    bench.at_second(100);
    bench.adopt(keeping(vec![keep(96, None)]));
    assert_eq!(bench.pending_rules(), [""; 0]);
    assert_eq!(bench.stored(), 6);
    bench.close();
}

#[test]
fn what_the_old_rules_deleted_anyway_does_not_count_and_goes_on() {
    let bench = bench(StoreLocation::Memory, keeping(vec![keep(50, None)]));
    bench.submit((0..10).map(|it| arrived(&format!("old{it}"), 0)).collect());
    bench.submit((0..4).map(|it| arrived(&format!("new{it}"), 90)).collect());
    bench.at_second(100);
    let more = keeping(vec![keep(5, None)]);
    bench.adopt(more);
    let told = "retention-pending: the new `retention` would delete 4 of the 4 events that the \
                previous rules keep; it is not in effect until 2026-01-01T00:02:40.000Z";
    assert_eq!(bench.pending_rules(), [told]);
    assert_eq!(bench.stored(), 4, "what both delete is gone");
    bench.close();
}

#[test]
fn a_start_is_judged_like_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let open = |policy: RetentionPolicy| bench(StoreLocation::File(path.clone()), policy);
    let bench = open(keeping(vec![keep(1000, None)]));
    bench.submit((0..10).map(|it| record(&format!("e{it}"), "{}")).collect());
    bench.close();
    for _ in 0..2 {
        // Stopped while it waits, it waits again.
        let bench = open(keeping(vec![keep(10, None)]));
        bench.at_second(20);
        bench.keep_house();
        bench.at_second(79);
        bench.keep_house();
        assert_eq!(bench.pending_rules().len(), 1);
        assert_eq!(bench.stored(), 10);
        bench.close();
    }
    let bench = open(keeping(vec![keep(1000, None)]));
    bench.at_second(200);
    bench.keep_house();
    assert_eq!((bench.pending_rules().len(), bench.stored()), (0, 10), "as it was");
    bench.close();
    let bench = open(keeping(vec![keep(1000, None)]));
    bench.at_second(2000);
    bench.keep_house();
    assert_eq!(bench.stored(), 0, "the same rules do not wait");
    bench.close();
}

#[test]
fn a_store_without_a_memory_of_its_rules_is_not_emptied_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit((0..10).map(|it| record(&format!("e{it}"), "{}")).collect());
    bench.close();
    let raw = Connection::open(&path).expect("it opens");
    raw.execute_batch("DELETE FROM meta WHERE key = 'retention'").expect("it is forgotten");
    drop(raw);
    let bench = super::bench(StoreLocation::File(path), keeping(vec![keep(10, None)]));
    bench.at_second(20);
    bench.keep_house();
    assert_eq!((bench.pending_rules().len(), bench.stored()), (1, 10));
    bench.close();
}

#[test]
fn a_size_and_a_number_of_letters_may_be_wrong_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    let body = format!("\"{}\"", "x".repeat(50_000));
    bench.submit((0..100).map(|it| record(&format!("e{it}"), &body)).collect());
    let refuse = || StoreEntry::Refuse(letter(DeadLetterWhat::Rejected, None));
    bench.submit((0..100).map(|_| refuse()).collect());
    bench.adopt(RetentionPolicy { size_max: Some(2 << 20), ..RetentionPolicy::default() });
    let told = "retention-pending: the new `retention` would shrink the database from 5 to 1 MiB; \
                it is not in effect until 2026-01-01T00:01:00.000Z";
    assert_eq!(bench.pending_rules(), [told]);
    assert_eq!(bench.stored(), 100);
    bench.adopt(RetentionPolicy { dead_max: 10, ..RetentionPolicy::default() });
    let told = "retention-pending: the new `retention` would leave 10 of 100 dead letters; \
                it is not in effect until 2026-01-01T00:01:00.000Z";
    assert_eq!(bench.pending_rules(), [told]);
    bench.submit(vec![refuse()]);
    assert_eq!(bench.store.figures().dead_letters.load(Ordering::Relaxed), 101);
    bench.at_second(61);
    bench.keep_house();
    bench.submit(vec![refuse()]);
    assert_eq!(bench.store.figures().dead_letters.load(Ordering::Relaxed), 10);
    bench.close();
}

#[test]
fn a_store_that_is_renamed_keeps_its_events() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.db");
    let bench = Bench::at(&path);
    bench.submit(vec![record("a", "{}")]);
    bench.close();
    let clock = Arc::new(Still(AtomicU64::new(0)));
    let env = Env::new(clock.clone(), Random::seeded(1), Pools::system());
    let settings = Settings { name: "archive".into(), ..settings(StoreLocation::File(path)) };
    let (seen, health) = (Seen::default(), env.health.clone());
    let opened = open(settings, RetentionPolicy::default(), env, Box::new(seen.clone()));
    let (store, writer) = opened.expect("it opens");
    let thread = Some(std::thread::spawn(|| writer.run()));
    let bench = Bench { store, clock, health, seen, thread };
    assert_eq!(bench.listed(EventQuery::default()), ["a"]);
    bench.at_second(86_400 * 30);
    smol::block_on(bench.store.sweep());
    assert_eq!(bench.listed(EventQuery::default()), ["a"]);
    bench.close();
}

#[test]
fn a_crash_in_the_middle_of_a_merge_forgets_no_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let mut hand = ByHand::new(StoreLocation::File(path.clone()), RetentionPolicy::default());
    let ids = |number: usize| record(&format!("e{number}"), "{}");
    let store = hand.store.clone();
    let first = (0..500).map(ids).collect();
    hand.send(async move { drop(store.submit(first).await) });
    assert!(hand.step());
    hand.send_event(ids(500));
    assert!(hand.step());
    let writer = &mut hand.writer;
    writer.claims.begin_merge();
    writer.claims.merge_slice(&mut writer.connection, &|| true).expect("it merges");
    let merged = hand.count("SELECT count(*) FROM seen");
    assert!((1..500).contains(&merged), "{merged} are merged");
    crashed(&path, &copy);
    drop(hand);
    let bench = Bench::at(&copy);
    let again = bench.submit((0..=500).map(ids).collect());
    assert!(again.iter().all(|it| matches!(it, WriteReceipt::Duplicate { .. })), "{again:?}");
    bench.close();
}

#[test]
fn a_large_outbox_is_parked_step_by_step() {
    let mut hand = ByHand::new(StoreLocation::Memory, RetentionPolicy::default());
    let store = hand.store.clone();
    let many = (0..12_000).map(|it| waiting(&format!("w{it}"))).collect();
    hand.send(async move { drop(store.submit(many).await) });
    assert!(hand.step());
    let store = hand.store.clone();
    hand.send(
        async move { drop(store.submit(vec![StoreEntry::Park { sinks: Vec::new() }]).await) },
    );
    hand.send_tick();
    let parked = |hand: &ByHand| hand.count("SELECT count(*) FROM delivery_rows WHERE state = 3");
    assert!(hand.step());
    let first = parked(&hand);
    assert!((5000..12_000).contains(&first), "{first} are parked in one go");
    while hand.step() {}
    assert_eq!(parked(&hand), 12_000);
}

/// A rule, an event or a moment by chance.
struct Chance(fastrand::Rng);

impl Chance {
    fn rules(&mut self) -> Vec<KeepRule> {
        let rule = |rng: &mut fastrand::Rng| KeepRule {
            age: Duration::from_secs(rng.u64(1..150)),
            priority: rng.bool().then(|| Priority::ALL[rng.usize(..4)]),
            kind: rng.bool().then(|| ["a*", "ab", "*"][rng.usize(..3)].to_owned()),
        };
        (0..self.0.usize(..4)).map(|_| rule(&mut self.0)).collect()
    }

    fn event(&mut self, number: usize) -> StoreEntry {
        let mut event = event(&format!("e{number}"), "{}");
        // Most events become visible in the order in which they came.
        let late = if self.0.u8(..4) == 0 { self.0.i64(0..50) } else { 0 };
        let second = (number as i64 * 3 - late).max(0);
        event.envelope.received = Timestamp(event.envelope.received.0 + second * 1_000_000);
        event.envelope.priority = Priority::ALL[self.0.usize(..4)];
        event.envelope.kind = ["a", "ab", "c"][self.0.usize(..3)].into();
        let mut finished = finished(event);
        let is_passing = self.0.u8(..4) == 0;
        let is_told = is_passing || self.0.u8(..4) == 0;
        let delivery = NewDelivery {
            sink: "hook".into(),
            cooldown: None,
            suppressed: (self.0.u8(..3) == 0).then(|| "when".to_owned()),
            traits: DeliveryTraits::default(),
        };
        finished.deliveries = is_told.then_some(delivery).into_iter().collect();
        if is_passing {
            finished.targets = ["hook".into()].into();
        }
        StoreEntry::Record(finished)
    }
}

#[test]
fn what_is_explained_and_forecast_is_what_a_sweep_does() {
    let (mut outcomes, mut rules_used) = (BTreeMap::<&str, u64>::new(), 0);
    for seed in 0..60 {
        let mut chance = Chance(fastrand::Rng::with_seed(seed));
        let policy = RetentionPolicy {
            passing_keep: Duration::from_secs(chance.0.u64(..60)),
            dead_keep: Duration::from_secs(1000),
            ..keeping(chance.rules())
        };
        let bench = bench(StoreLocation::Memory, policy);
        bench.submit((0..40).map(|it| chance.event(it)).collect());
        bench.at_second(chance.0.u64(1..300));
        let explained: Vec<KeptEvent> =
            (0..40).map(|it| bench.explained(it).expect("it is stored")).collect();
        let forecast = bench.look(|reader, view, clock| reader.forecast_sweep(view, clock));
        bench.keep_house();
        for (number, kept) in explained.iter().enumerate() {
            let is_left = bench.explained(number).is_some();
            assert_eq!(kept.outcome() != "due", is_left, "seed {seed}: {}", kept.to_json());
            *outcomes.entry(kept.outcome()).or_default() += 1;
        }
        let due = forecast.rules.iter().filter(|rule| 0 < rule.1);
        let mut told = BTreeMap::<String, u64>::new();
        due.for_each(|(rule, due, _)| *told.entry(rule.clone()).or_default() += due);
        assert_eq!(bench.deleted(), told, "seed {seed}: {}", forecast.to_json());
        rules_used += told.len();
        bench.close();
    }
    assert!(outcomes.len() == 3 && outcomes.values().all(|outcome| 50 < *outcome), "{outcomes:?}");
    assert!(60 < rules_used, "{rules_used}");
}

#[test]
fn a_restart_knows_the_highest_position_also_when_its_row_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = StoreLocation::File(folder.path().join("a.db"));
    let policy = keeping(vec![keep(1000, Some(Priority::Critical)), keep(100, None)]);
    let critical = |id| with(id, |it| it.priority = Priority::Critical);
    let first = bench(place.clone(), policy.clone());
    first.submit(vec![critical("a"), critical("b"), record("c", "{}"), record("d", "{}")]);
    first.at_second(200);
    smol::block_on(first.store.sweep());
    assert_eq!(first.stored(), 2);
    first.close();
    for left in [2, 0] {
        let again = bench(place.clone(), policy.clone());
        let figures = again.store.figures();
        let known = [&figures.highest_pos, &figures.taken_pos].map(|it| it.load(Ordering::Relaxed));
        assert_eq!((again.stored(), known), (left, [4, 4]));
        again.at_second(2000);
        smol::block_on(again.store.sweep());
        again.close();
    }
}
