//! Random pauses, faults, reloads, kills and clocks against a model of when nobody may be called.

use super::{file, folder, pause, resume, states, webhook};
use crate::support::world::{Behaviour, Call, World};
use fastrand::Rng;
use kernel::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

const SEQUENCES: u64 = 4;
const EVENTS: usize = 60;
const GAPS: [u64; 8] = [0, 1, 2, 7, 30, 61, 600, 4000];
/// The first one is always well.
const NAMES: [&str; 3] = ["plain", "shaky", "batched"];
/// In microseconds, as are all times here.
const SECOND: i64 = 1_000_000;
/// As they are ordered, and in seconds.
const LENGTHS: [(Option<&str>, i64); 5] =
    [(Some("1s"), 1), (Some("45s"), 45), (Some("10m"), 600), (Some("3h"), 10_800), (None, 0)];
const CLOCKS: [i64; 4] = [-90_000, -30, 30, 90_000];
const WELL: Behaviour = Behaviour::Status(200, Duration::ZERO);
const SHAKEN: [Behaviour; 5] = [
    Behaviour::Status(503, Duration::ZERO),
    Behaviour::Status(200, Duration::from_secs(3)),
    Behaviour::Refuse,
    Behaviour::Hang,
    WELL,
];
/// A wall clock that was set is noticed within this.
const NOTICED: i64 = 60 * SECOND;

/// `title` makes the workers other ones.
fn text(title: usize) -> String {
    let shaky = format!(
        "title \"{title}\"; timeout \"5s\"; retry give-up=\"30d\" {{ backoff constant base=\"20s\" }}"
    );
    let plain = webhook(NAMES[0], &format!("title \"{title}\""));
    let batched = webhook(NAMES[2], &format!("batch 5; {shaky}"));
    file(&[plain, webhook(NAMES[1], &shaky), batched].concat())
}

/// From when to when nobody may be called, by a clock that nobody sets.
#[derive(Debug, Clone, Copy)]
struct Silence {
    from: i64,
    to: i64,
    /// The event before which it began.
    step: usize,
}

/// A pause as the rules have it.
#[derive(Debug, Clone, Copy)]
struct ModelPause {
    from: i64,
    step: usize,
    /// On the wall.
    since: i64,
    until: Option<i64>,
    /// Its end by the time that passes.
    latest: i64,
}

impl ModelPause {
    fn end(&self, set_by: i64) -> i64 {
        self.until.map_or(i64::MAX, |until| (until - set_by).min(self.latest))
    }
}

struct Play {
    world: World,
    /// What the wall shows beside the time that has passed.
    set_by: i64,
    /// When the clock of this world was at zero.
    began: i64,
    pauses: BTreeMap<&'static str, ModelPause>,
    silences: BTreeMap<&'static str, Vec<Silence>>,
    /// When each call began, its name, and what it was.
    calls: Vec<(i64, String, Call)>,
    kills: usize,
}

impl Play {
    fn new() -> Self {
        let world = World::start_durable(folder(), &text(0));
        let (pauses, silences, calls) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut play = Play { world, set_by: 0, began: 0, pauses, silences, calls, kills: 0 };
        play.began = play.now();
        play
    }

    fn wall(&self) -> i64 {
        let Timestamp(micros) = self.world.simulation.env.clock.wall();
        micros
    }

    fn now(&self) -> i64 {
        self.wall() - self.set_by
    }

    /// Ends the pauses whose end has come.
    fn end_over(&mut self) {
        let (now, set_by) = (self.now(), self.set_by);
        for (name, pause) in self.pauses.clone() {
            if pause.end(set_by) <= now {
                self.end(name, pause.end(set_by));
            }
        }
    }

    fn end(&mut self, name: &'static str, to: i64) {
        if let Some(ModelPause { from, step, .. }) = self.pauses.remove(name) {
            let silence = Silence { from, to: to.max(from), step };
            self.silences.entry(name).or_default().push(silence);
        }
    }

    fn advance(&mut self, seconds: u64) {
        self.world.simulation.advance(Duration::from_secs(seconds));
        self.end_over();
    }

    fn pause(
        &mut self,
        step: usize,
        name: &'static str,
        (text, length): (Option<&'static str>, i64),
    ) {
        pause(&self.world, name, text);
        let (now, wall) = (self.now(), self.wall());
        let before = self.pauses.get(name);
        let pause = ModelPause {
            from: before.map_or(now, |before| before.from),
            step: before.map_or(step, |before| before.step),
            since: before.map_or(wall, |before| before.since.min(wall)),
            until: text.map(|_| wall + length * SECOND),
            latest: now + length * SECOND,
        };
        self.pauses.insert(name, pause);
    }

    fn resume(&mut self, name: &'static str) {
        self.end(name, self.now());
        resume(&self.world, name);
    }

    fn set_wall(&mut self, seconds: i64) {
        self.world.simulation.set_wall(seconds);
        let now = self.now() - seconds * SECOND;
        self.set_by += seconds * SECOND;
        for (name, pause) in self.pauses.clone() {
            if pause.end(self.set_by) <= now {
                self.end(name, now);
            }
        }
    }

    fn kill(mut self, title: usize, down: u64) -> Self {
        self.take_calls();
        self.world = self.world.kill(&text(title), Duration::from_secs(down));
        self.began = self.now();
        let (now, wall) = (self.now(), self.wall());
        for pause in self.pauses.values_mut() {
            let Some(until) = pause.until else { continue };
            pause.latest = now + (until - wall).min(until - pause.since).max(0);
        }
        for (name, pause) in self.pauses.clone() {
            if pause.end(self.set_by) <= now {
                self.end(name, now);
            }
        }
        self.kills += 1;
        self
    }

    fn take_calls(&mut self) {
        for call in self.world.outside.calls.lock().expect("no panic").drain(..) {
            let host = call.url.trim_start_matches("http://").split('.').next().expect("a host");
            let at = self.began + call.began.as_micros() as i64;
            self.calls.push((at, host.to_owned(), call));
        }
    }

    /// When the event number `n`, which came at `at`, is sent at the earliest.
    fn earliest(&self, name: &str, n: usize, at: i64) -> i64 {
        let silences = self.silences.get(name).into_iter().flatten();
        let holds = |silence: &&Silence| silence.step <= n && silence.from <= at && at < silence.to;
        silences.filter(holds).map(|silence| silence.to).next().unwrap_or(at)
    }

    fn check(&self, came: &[i64], is_exact: bool, context: &str) {
        for (at, name, call) in &self.calls {
            let silences = self.silences.get(name.as_str()).into_iter().flatten();
            let broken = silences.filter(|silence| silence.from < *at && *at < silence.to);
            let broken: Vec<_> = broken.collect();
            assert!(broken.is_empty(), "{context}: {name} was called at {at}: {call:?} {broken:?}");
        }
        for name in NAMES {
            let mut expected: Vec<_> = (0..came.len()).map(|n| format!("{n} done")).collect();
            expected.sort();
            assert_eq!(states(&self.world, name), expected, "{context} {name}");
            let calls = self.calls.iter().filter(|it| it.1 == name && it.2.answered == Some(200));
            let calls: Vec<_> = calls.map(|(at, _, call)| (*at, number_of(&call.key))).collect();
            if name == "batched" {
                continue;
            }
            for (n, at) in came.iter().enumerate() {
                let own: Vec<i64> = calls.iter().filter(|it| it.1 == n).map(|it| it.0).collect();
                let context = format!("{context} {name} {n}, which came at {at}: {own:?}");
                assert!((1..=1 + self.kills).contains(&own.len()), "{context}");
                let expected = self.earliest(name, n, *at);
                let late = if is_exact { 0 } else { NOTICED };
                let is_timely = (expected..=expected + late).contains(&own[0]);
                assert!(is_timely || name != "plain", "{context}, expected at {expected}");
            }
            let is_ordered = calls.is_sorted_by_key(|it| it.1);
            assert!(is_ordered || name != "plain", "{context}: {calls:?}");
        }
    }
}

/// The number of an event in the key of its call.
fn number_of(key: &str) -> usize {
    key.split_once('/').and_then(|it| it.0.parse().ok()).unwrap_or(usize::MAX)
}

fn play(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let is_clock_set = seed % 2 == 1;
    let (mut play, mut came) = (Play::new(), Vec::new());
    for n in 0..EVENTS {
        play.advance(*random.choice(&GAPS).expect("there are some"));
        let name = *random.choice(&NAMES).expect("there are some");
        match random.u8(..16) {
            0..=4 => play.pause(n, name, *random.choice(&LENGTHS).expect("there are some")),
            5..=6 => play.resume(name),
            7 => play.world.reload(&text(n)),
            8 => {
                let down = *random.choice(&[0, 3, 700]).expect("there are some");
                play = play.kill(n, down);
            }
            9 if is_clock_set => play.set_wall(*random.choice(&CLOCKS).expect("there are some")),
            10..=12 if name != "plain" => {
                let behaviour = *random.choice(&SHAKEN).expect("there are some");
                play.world.outside.behave(&format!("{name}.example"), behaviour);
            }
            _ => {}
        }
        let answer = play.world.post("hook", &format!("{{\"n\":\"{n}\"}}"));
        assert_eq!(answer, "accepted", "SEED={seed} {n}");
        play.world.simulation.settle();
        came.push(play.now());
    }
    for name in NAMES {
        play.world.outside.behave(&format!("{name}.example"), WELL);
        play.resume(name);
    }
    if is_clock_set {
        // What was put off while the wall clock was ahead is due by that clock.
        play.set_wall(10 * 86_400);
    }
    play.advance(8 * 3600);
    play.take_calls();
    play.check(&came, !is_clock_set, &format!("SEED={seed}"));
    play.world.close();
}

#[test]
fn nobody_is_called_in_a_pause_and_everybody_after_it() {
    let given = |name| std::env::var(name).ok().and_then(|it| it.parse::<u64>().ok());
    let first = given("SEED").unwrap_or(0);
    (first..first + given("SEQUENCES").unwrap_or(SEQUENCES)).for_each(play);
}
