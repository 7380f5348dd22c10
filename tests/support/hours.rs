//! Some hours of events: played one by one in their own time, with reloads and crashes between
//! them, and read from a file hours later. Either way the store has to hold the same.

use super::world::World;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::StoredEvent;

/// 2026-01-01T00:00:00Z, where the virtual clock begins.
pub(crate) const START: i64 = 1_767_225_600;
/// Twelve hours before: when what a file holds began.
const EARLIER: i64 = START - 12 * 3600;
/// After this long nothing is waited for any more.
pub(crate) const LONG: Duration = Duration::from_secs(10_000);

/// A message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentEvent {
    /// When it comes, and when it happened; seconds since the beginning.
    pub(crate) now: i64,
    pub(crate) at: i64,
    pub(crate) kind: &'static str,
    pub(crate) door: &'static str,
    pub(crate) number: usize,
}

impl SentEvent {
    /// The same event again has the same bytes.
    pub(crate) fn text(&self, start: i64) -> String {
        let SentEvent { at, kind, door, number, .. } = self;
        let at = start + at;
        format!(r#"{{"id":"{number}","type":"{kind}","door":"{door}","n":{number},"at":{at}}}"#)
    }
}

/// What is in the store: type, door, second and what is said of it; how often.
pub(crate) type StoredCounts = BTreeMap<(String, String, i64, String), usize>;

/// A pipeline with the sources `hook` (a POST to `/hook`) and `log` (the file `hours.ndjson`), and
/// what is said of an event that it stored.
pub(crate) struct EventHours<'a> {
    /// Its text, with a comment that makes a reload of it.
    pub(crate) pipeline: &'a dyn Fn(&str) -> String,
    pub(crate) said: &'a dyn Fn(&StoredEvent) -> String,
}

impl EventHours<'_> {
    /// Compares what `expected` says, of live events and of a file, with what is stored.
    #[track_caller]
    pub(crate) fn check(
        &self,
        sequences: u64,
        draw: impl Fn(&mut Rng) -> Vec<SentEvent>,
        expected: impl Fn(&[SentEvent], bool) -> StoredCounts,
    ) {
        let given = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
        let first = given("SEED").unwrap_or(0);
        for seed in first..first + given("SEQUENCES").unwrap_or(sequences) {
            let mut random = Rng::with_seed(seed);
            let sent = draw(&mut random);
            let found = self.live(seed, &sent, &mut random);
            compare(&sent, &expected(&sent, true), &found, &format!("live, SEED={seed}"));
            let found = self.backlog(&sent);
            let how = format!("out of a file, SEED={seed}");
            compare(&sent, &expected(&sent, false), &found, &how);
        }
    }

    /// The events come one by one, in their own time.
    fn live(&self, seed: u64, sent: &[SentEvent], random: &mut Rng) -> StoredCounts {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("hours.ndjson"), "").expect("it writes");
        let mut world = World::start_durable(folder, &(self.pipeline)("first"));
        let (mut now, mut found) = (0, StoredCounts::new());
        for event in sent {
            world.simulation.advance(Duration::from_secs((event.now - now) as u64));
            now = event.now;
            match random.u8(..12) {
                0 => world.reload(&(self.pipeline)(&format!("before {} of {seed}", event.number))),
                1 => {
                    self.add(&world, START, &mut found);
                    world = world.kill(&(self.pipeline)("again"), Duration::ZERO);
                }
                _ => {}
            }
            world.post("hook", &event.text(START));
            if random.u8(..4) == 0 {
                let again = world.post("hook", &event.text(START));
                assert_ne!(again, "accepted", "it is the same again");
            }
            if random.bool() {
                world.simulation.settle();
            }
        }
        world.simulation.advance(LONG);
        self.add(&world, START, &mut found);
        world.close();
        found
    }

    /// The same events are read from a file, hours later.
    fn backlog(&self, sent: &[SentEvent]) -> StoredCounts {
        let folder = tempfile::tempdir().expect("a folder");
        let lines: Vec<String> = sent.iter().map(|it| it.text(EARLIER)).collect();
        std::fs::write(folder.path().join("hours.ndjson"), lines.join("\n")).expect("it writes");
        let world = World::start_durable(folder, &(self.pipeline)("a backlog"));
        world.simulation.advance(LONG);
        let mut found = StoredCounts::new();
        self.add(&world, EARLIER, &mut found);
        world.close();
        found
    }

    fn add(&self, world: &World, start: i64, told: &mut StoredCounts) {
        let stored: Vec<Arc<StoredEvent>> = world.stored.lock().expect("no panic").clone();
        for it in &stored {
            let envelope = &it.envelope;
            let at = envelope.time.0 / 1_000_000 - start;
            let names = (envelope.kind.to_string(), envelope.subject.to_string());
            *told.entry((names.0, names.1, at, (self.said)(it))).or_default() += 1;
        }
    }
}

#[track_caller]
fn compare(sent: &[SentEvent], expected: &StoredCounts, found: &StoredCounts, how: &str) {
    let other = |one: &StoredCounts, other: &StoredCounts, word| -> Vec<String> {
        let wrong = one.iter().filter(|it| other.get(it.0) != Some(it.1));
        wrong.map(|wrong| format!("{word} {wrong:?}")).collect()
    };
    let mut wrong = other(expected, found, "missing");
    wrong.extend(other(found, expected, "unexpected"));
    let sent: Vec<String> = sent.iter().map(|it| format!("{it:?}")).collect();
    assert!(wrong.is_empty(), "{how}\n{}\n{}", wrong.join("\n"), sent.join("\n"));
}
