//! Random reloads, faults and drops on the virtual clock, against a model: every event is once in
//! the store, every delivery arrives, once where no call was given up, streams miss nothing, each
//! target has one worker, and state is kept exactly where the diff says so.

use crate::support::world::{Behaviour, World};
use compiler::plan::Diff;
use compiler::plan::diff::{PartState, PlanRole};
use engine::run::Generation;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Sequences, and steps of each.
const SEQUENCES: u64 = 40;
const STEPS: usize = 40;
/// Longer than any retry or pause takes, shorter than any policy gives up.
const LONG: Duration = Duration::from_secs(3600);
/// In this time a source reads what is there.
const MOMENT: Duration = Duration::from_secs(5);

/// A pipeline as a set of choices.
#[derive(Debug, Clone)]
struct Choices {
    /// By name: which address, which policy, and whether it is disabled.
    targets: BTreeMap<&'static str, (u8, u8, bool)>,
    log: Option<u8>,
    weather: Option<(u8, u8)>,
    dedupe: Option<u64>,
    stream: (u8, u8),
    copy: bool,
    zone: u8,
    port: u16,
}

const TARGETS: [&str; 3] = ["chat", "talk", "push"];

impl Choices {
    fn first() -> Self {
        Choices {
            targets: BTreeMap::from([("chat", (0, 0, false))]),
            log: Some(0),
            weather: None,
            dedupe: Some(60),
            stream: (0, 0),
            copy: true,
            zone: 0,
            port: 8600,
        }
    }

    /// Everything that deliveries may wait for.
    fn all(&self) -> Self {
        let targets = TARGETS.iter().map(|name| (*name, (0, 0, false))).collect();
        Choices { targets, copy: true, log: Some(0), stream: (0, 0), ..self.clone() }
    }

    fn change(&mut self, random: &mut Rng) {
        let name = TARGETS[random.usize(..TARGETS.len())];
        match random.u8(..12) {
            0 | 1 => {
                let settings = (random.u8(..2), random.u8(..3), random.u8(..8) == 0);
                self.targets.insert(name, settings);
            }
            2 => drop(self.targets.remove(name)),
            3 => {
                if let Some(settings) = self.targets.get_mut(name) {
                    settings.1 = random.u8(..3);
                }
            }
            4 => self.log = [None, Some(0), Some(1)][random.usize(..3)],
            5 => self.weather = Some((random.u8(..2), random.u8(..3))).filter(|_| random.bool()),
            6 => self.dedupe = [None, Some(60), Some(90)][random.usize(..3)],
            7 => self.stream = (random.u8(..2), random.u8(..2)),
            8 => self.copy = random.bool(),
            9 => self.zone = random.u8(..2),
            10 => self.port = 8600 + random.u16(..2),
            _ => {}
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "pipeline door schema-version=1 {{ timezone \"{}\" }}\n\
             server {{ listen \"127.0.0.1:{}\" }}\n\
             source http bell {{ path \"/rings\"; map {{ id \"data.id\"; subject \"data.subject\" }} }}\n\
             sink sqlite db {{ path \"x.db\"; retention {{ keep \"99d\" }} }}\n",
            ["UTC", "Europe/Rome"][usize::from(self.zone)],
            self.port,
        );
        if let Some(pattern) = self.log {
            let pattern = ["in/*.jsonl", "in/a*.jsonl"][usize::from(pattern)];
            text += &format!(
                "source file log {{ path \"{pattern}\"; follow; type line; map {{ id \"data.id\"; subject \"data.id\" }} }}\n"
            );
        }
        if let Some(window) = self.dedupe {
            text += &format!("dedupe once {{ key \"event.subject\"; window \"{window}s\" }}\n");
        }
        if let Some((address, policy)) = self.weather {
            let policy = ["", "timeout \"5s\"", "breaker { trip after=2 within=\"60s\" }"]
                [usize::from(policy)];
            text +=
                &format!("enrich http weather {{ get \"http://weather{address}/\"; {policy} }}\n");
        }
        let (path, replay) = self.stream;
        text += &format!("sink sse live {{ path \"/live{path}\"; replay {} }}\n", 3 + replay);
        if self.copy {
            text += "sink file copy { path \"copy.jsonl\" }\n";
        }
        for (name, (address, policy, is_disabled)) in &self.targets {
            let policy = [
                "",
                "concurrency 3; timeout \"20s\"",
                "rate \"2/s\" burst=2; breaker { trip after=3 within=\"60s\" }",
            ][usize::from(*policy)];
            let disabled = if *is_disabled { "disabled; " } else { "" };
            text += &format!(
                "notify webhook {name} {{ {disabled}url \"http://{name}{address}/\"; title \"x\"; {policy} }}\n"
            );
        }
        text
    }
}

/// What must come of it.
#[derive(Default)]
struct Model {
    /// Ids that were accepted, in order.
    accepted: Vec<String>,
    /// When each subject last passed the dedupe, and the rule that it passed.
    passed: BTreeMap<String, Duration>,
    rule: Option<u64>,
    lines: usize,
}

impl Model {
    /// Whether an event of this subject passes now.
    fn passes(&mut self, rule: Option<u64>, subject: &str, now: Duration) -> bool {
        // What is remembered is kept while the rule is there, whatever its window.
        if self.rule.is_some() != rule.is_some() {
            self.passed.clear();
        }
        self.rule = rule;
        let Some(window) = rule else { return true };
        let is_held =
            self.passed.get(subject).is_some_and(|at| now < *at + Duration::from_secs(window));
        if !is_held {
            self.passed.insert(subject.to_owned(), now);
        }
        !is_held
    }
}

struct Play {
    world: World,
    random: Rng,
    choices: Choices,
    model: Model,
    page: Page,
}

/// A client that follows the stream, wherever it is, and connects again when it is disconnected.
#[derive(Default)]
struct Page {
    seen: Vec<u64>,
    is_connected: bool,
}

/// What happened in all sequences, so that the test cannot pass by doing nothing.
#[derive(Debug, Default)]
struct Coverage {
    reloads: usize,
    stored: usize,
    deliveries: usize,
    given_up: usize,
    disconnects: usize,
}

impl Coverage {
    #[track_caller]
    fn assert_wide(&self) {
        let events = 200 < self.stored && 400 < self.deliveries;
        let trouble = 30 < self.given_up && 30 < self.disconnects;
        assert!(150 < self.reloads && events && trouble, "too little happened: {self:?}");
    }
}

impl Play {
    fn start(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("in")).expect("a folder");
        let choices = Choices::first();
        let world = World::start(folder, &choices.text(), seed).expect("it starts");
        let model = Model { rule: choices.dedupe, ..Model::default() };
        let page = Page::default();
        Play { world, random: Rng::with_seed(seed), choices, model, page }
    }

    /// What the client has got; it connects again where it was.
    fn follow(&mut self, coverage: &mut Coverage) {
        for line in self.world.journal.take() {
            coverage.given_up += usize::from(line.ends_with("given up"));
            if line.ends_with("page is disconnected") {
                self.page.is_connected = false;
                coverage.disconnects += 1;
            }
            assert!(!line.contains("page is answered"), "{line}");
            assert!(!line.contains("page gets gap"), "nothing is skipped: {line}");
            if let Some((_, event)) = line.split_once("page gets ") {
                let (_, id) = event.split_once(' ').expect("a type and a position");
                self.page.seen.push(id.parse().expect("a position"));
            }
        }
        if !self.page.is_connected {
            let last = self.page.seen.last().copied().unwrap_or(0);
            let path = format!("/live{}", self.choices.stream.0);
            self.world.connect(&path, Some(last), "page");
            self.page.is_connected = true;
        }
    }

    fn step(&mut self, coverage: &mut Coverage) {
        self.follow(coverage);
        match self.random.u8(..10) {
            0..=2 => self.post(),
            3 => self.append(),
            4 | 5 => {
                let mut choices = self.choices.clone();
                (0..=self.random.u8(..3)).for_each(|_| choices.change(&mut self.random));
                self.reload(choices);
                coverage.reloads += 1;
            }
            6 => {
                // Removed and put back at once.
                let (before, mut without) = (self.choices.clone(), self.choices.clone());
                without.targets.clear();
                self.reload(without);
                self.reload(before);
            }
            7 => self.behave(),
            _ => {
                let millis = self.random.u64(..40_000);
                self.world.simulation.advance(Duration::from_millis(millis));
            }
        }
        self.assert_workers();
    }

    fn post(&mut self) {
        let number =
            self.model.accepted.len() + self.model.lines + self.random.usize(..1000) * 1000;
        let (id, subject) = (format!("e{number}"), format!("s{}", self.random.u8(..4)));
        let body = format!("{{\"id\":\"{id}\",\"type\":\"ring\",\"subject\":\"{subject}\"}}");
        let now = self.world.simulation.now();
        let answer = self.world.post("bell", &body);
        let passes = self.model.passes(self.choices.dedupe, &subject, now);
        assert_eq!(answer, if passes { "accepted" } else { "discarded" }, "{subject} at {now:?}");
        if passes {
            self.model.accepted.push(id);
            assert_eq!(self.world.post("bell", &body), "duplicate");
        }
    }

    fn append(&mut self) {
        let id = format!("line{}", self.model.lines);
        self.model.lines += 1;
        let name = ["in/a.jsonl", "in/ab.jsonl"][self.random.usize(..2)];
        let path = self.world.path(name);
        let mut text = std::fs::read_to_string(&path).unwrap_or_default();
        text.push_str(&format!("{{\"id\":\"{id}\"}}\n"));
        std::fs::write(path, text).expect("it writes");
        self.model.accepted.push(id);
    }

    fn behave(&mut self) {
        let host = match self.random.u8(..4) {
            0 => format!("weather{}", self.random.u8(..2)),
            _ => format!("{}{}", TARGETS[self.random.usize(..3)], self.random.u8(..2)),
        };
        let behaviour = match self.random.u8(..7) {
            0 => Behaviour::Hang,
            1 => Behaviour::Refuse,
            2 => Behaviour::Status(503, Duration::ZERO),
            3 => Behaviour::Status(401, Duration::ZERO),
            4 => Behaviour::Status(200, Duration::from_secs(3)),
            _ => Behaviour::Status(200, Duration::ZERO),
        };
        self.world.outside.behave(&host, behaviour);
    }

    fn reload(&mut self, choices: Choices) {
        let before = self.world.engine.generation();
        self.world.reload(&choices.text());
        let after = self.world.engine.generation();
        if choices.text() != self.choices.text() {
            assert_ne!(before.number, after.number, "{}", self.world.last_reload());
            assert_state(&before, &after);
        }
        // The keys of a rule that is gone are gone.
        if choices.dedupe.is_none() {
            self.model.passed.clear();
        }
        self.choices = choices;
    }

    /// A worker for each target that is on, and no other.
    fn assert_workers(&self) {
        let generation = self.world.engine.generation();
        let targets: Vec<Arc<str>> = generation.targets.keys().cloned().collect();
        assert_eq!(self.world.engine.outbox().workers(), targets);
    }

    /// Everything is made well again; then nothing is missing and nothing is there twice.
    fn end(mut self, coverage: &mut Coverage) {
        for name in TARGETS.iter().copied().chain(["weather"]) {
            for address in 0..2 {
                let good = Behaviour::Status(200, Duration::ZERO);
                self.world.outside.behave(&format!("{name}{address}"), good);
            }
        }
        let all = self.choices.all();
        self.reload(all.clone());
        self.world.simulation.advance(MOMENT);
        // A source that looks at its files all the time makes an hour long.
        self.follow(coverage);
        self.reload(Choices { log: None, ..all });
        self.world.simulation.advance(LONG);
        self.follow(coverage);
        self.follow(coverage);
        let stored = self.world.stored.lock().expect("no panic").clone();
        let ids: Vec<String> = stored.iter().map(|it| it.envelope.id.to_string()).collect();
        let unique: BTreeSet<String> = ids.iter().cloned().collect();
        assert_eq!(ids.len(), unique.len(), "an event is stored twice");
        assert_eq!(unique, self.model.accepted.iter().cloned().collect(), "what was accepted");
        let positions: Vec<u64> = stored.iter().map(|it| it.pos).collect();
        assert_eq!(self.page.seen, positions, "the stream has every event once, in order");
        coverage.stored += stored.len();
        let seqs: Vec<u64> = stored.iter().map(|it| it.seq).collect();
        coverage.deliveries += self.assert_deliveries(&seqs);
        let copies = std::fs::read_to_string(self.world.path("copy.jsonl")).unwrap_or_default();
        let lines: Vec<&str> = copies.lines().collect();
        assert_eq!(
            lines.len(),
            lines.iter().collect::<BTreeSet<_>>().len(),
            "a copy is there twice"
        );
        self.world.close();
    }

    /// Each delivery has arrived, once where no call was given up; how many there are.
    fn assert_deliveries(&self, seqs: &[u64]) -> usize {
        let seqs = seqs.to_vec();
        let rows = self.world.read(move |reader| {
            seqs.iter().map(|seq| reader.deliveries_of(*seq)).collect::<Result<Vec<_>, _>>()
        });
        let calls = self.world.outside.calls.lock().expect("no panic").clone();
        let mut taken: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        for call in calls.iter().filter(|it| !it.key.is_empty()) {
            let entry = taken.entry(&call.key).or_default();
            entry.0 += usize::from(call.answered == Some(200));
            entry.1 |= call.answered.is_none();
        }
        for row in rows.iter().flatten() {
            assert_eq!(row.state.word(), "done", "{row:?}");
        }
        for (key, (times, was_given_up)) in taken {
            assert!(1 <= times, "{key} never arrived");
            assert!(times == 1 || was_given_up, "{key} arrived {times} times");
        }
        rows.iter().map(Vec::len).sum()
    }
}

/// What is open in both generations is the same exactly where the diff says so.
#[track_caller]
fn assert_state(before: &Generation, after: &Generation) {
    let diff = Diff::between(&before.plan, &after.plan);
    let is_same = |old: Option<&Arc<_>>, new: Option<&Arc<_>>| match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        _ => false,
    };
    for (name, new) in &after.targets {
        let old = before.targets.get(name);
        let role = if **name == *"copy" { PlanRole::Sink } else { PlanRole::Notify };
        if let Some(breaker) = &new.limits.breaker {
            let old = old.and_then(|old| old.limits.breaker.as_ref());
            let keeps = old.is_some() && diff.keeps(role, name, PartState::Breaker);
            assert_eq!(is_same(old, Some(breaker)), keeps, "the breaker of {name}");
        }
        let is_kept = old.is_some_and(|old| Arc::ptr_eq(old, new));
        let fate = diff.fate(role, name);
        assert_eq!(is_kept, fate == compiler::plan::diff::PartFate::Kept, "{name}");
    }
    for (name, new) in &after.memories {
        let keeps = diff.keeps(PlanRole::Passes("dedupe"), name, PartState::Keys);
        let old = before.memories.get(name).map(|memory| &memory.node.figures);
        let is_kept = old.is_some_and(|old| Arc::ptr_eq(old, &new.node.figures));
        assert_eq!(is_kept, keeps, "the keys of {name}");
    }
    for new in after.stages.iter().flatten() {
        let Some(old) = before.stage("weather") else { continue };
        let fate = diff.fate(PlanRole::Enrich, "weather");
        let is_kept = Arc::ptr_eq(&old.enricher, &new.enricher);
        assert_eq!(is_kept, fate == compiler::plan::diff::PartFate::Kept, "the stage");
    }
}

#[test]
fn whatever_is_reloaded_nothing_is_lost_or_doubled_and_every_target_has_one_worker() {
    let base = std::env::var("SEED").ok().and_then(|it| it.parse().ok()).unwrap_or(1);
    let mut coverage = Coverage::default();
    for seed in base..base + SEQUENCES {
        let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut play = Play::start(seed);
            (0..STEPS).for_each(|_| play.step(&mut coverage));
            play.end(&mut coverage);
        }));
        assert!(played.is_ok(), "SEED={seed}");
    }
    coverage.assert_wide();
}
