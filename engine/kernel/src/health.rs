//! What works and what does not: one state for each part of a running engine.
//!
//! It is written here and nowhere else, and read by the log, `/readyz`, `/metrics` and
//! `/api/pipeline`. A problem that begins or ends is one line of the log; what repeats is counted
//! and summarised.
//!
//! *Invariant:* a part is [`HealthState::Ok`] exactly when it has no problem.

use crate::env::Clock;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most problems of one part that are kept apart; more are counted under the last one.
const PROBLEMS_MAX: usize = 50;
/// Most problems of one part whose comings and goings are counted apart; more are counted by code.
const RECENT_MAX: usize = 50;
/// A problem that comes and goes gets so many lines within the window, and then one for the rest.
const FLAP_LINES: u32 = 4;
const FLAP_WINDOW: Duration = Duration::from_secs(60);
/// A problem that goes on is summarised this often.
const SUMMARY_EVERY: Duration = Duration::from_secs(600);
/// The longest reason that is kept, in bytes.
const REASON_MAX: usize = 1024;

/// What kind of part it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartRole {
    /// The database.
    Store,
    /// The file system below the database.
    Disk,
    /// The wall clock.
    Clock,
    /// The pipeline file and what it includes.
    Config,
    /// The HTTP server.
    Server,
    /// A source.
    Source,
    /// An enrichment.
    Stage,
    /// A sink or notifier that delivers to the outside.
    Target,
    /// A live stream.
    Stream,
    /// A table that stages look up.
    Table,
    /// A secret from a file or a variable.
    Secret,
}

impl PartRole {
    /// Its word in the log and the API.
    pub fn word(self) -> &'static str {
        [
            "store", "disk", "clock", "config", "server", "source", "stage", "target", "stream",
            "table", "secret",
        ][self as usize]
    }
}

/// A part that may fail while the others work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthPart {
    /// What kind of part it is.
    pub role: PartRole,
    /// Its name in the file; empty where there is only one of its kind.
    pub name: Arc<str>,
}

impl fmt::Display for HealthPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.name {
            "" => f.write_str(self.role.word()),
            name => write!(f, "{} {name}", self.role.word()),
        }
    }
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthState {
    /// It does its work.
    Ok,
    /// It does part of its work, or does it late.
    Degraded,
    /// It does none of its work.
    Failed,
}

impl HealthState {
    /// Its word in the log and the API.
    pub fn word(self) -> &'static str {
        ["ok", "degraded", "failed"][self as usize]
    }
}

/// Something that is wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthProblem {
    /// A short code for programs, such as `disk-full`.
    pub code: &'static str,
    /// What exactly is concerned, such as one file of many; empty when it is the whole part.
    pub subject: Arc<str>,
    /// What the part can still do.
    pub state: HealthState,
    /// What is wrong, in words, without secrets.
    pub reason: String,
    /// What to do about it.
    pub advice: String,
}

impl HealthProblem {
    /// The part does less than it should.
    pub fn degraded(code: &'static str, reason: impl Into<String>) -> Self {
        HealthProblem::new(HealthState::Degraded, code, reason.into())
    }

    /// The part does nothing.
    pub fn failed(code: &'static str, reason: impl Into<String>) -> Self {
        HealthProblem::new(HealthState::Failed, code, reason.into())
    }

    fn new(state: HealthState, code: &'static str, reason: String) -> Self {
        let (subject, advice) = ("".into(), String::new());
        HealthProblem { code, subject, state, reason, advice }
    }

    /// Only this of the part is concerned.
    #[must_use]
    pub fn about(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subject = subject.into();
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

/// A problem that a part has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProblem {
    /// What is wrong.
    pub problem: HealthProblem,
    /// When it began.
    pub since: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
    /// How often it was seen.
    pub count: u64,
}

/// A part and its problems, the worst first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartReport {
    /// The part.
    pub part: HealthPart,
    /// How it is.
    pub state: HealthState,
    /// What is wrong with it.
    pub problems: Vec<OpenProblem>,
}

/// The state of every part.
pub struct Health {
    clock: Arc<dyn Clock>,
    parts: Mutex<BTreeMap<HealthPart, Part>>,
}

#[derive(Default)]
struct Part {
    problems: BTreeMap<(&'static str, Arc<str>), Tracked>,
    /// How often problems began a short while ago.
    recent: BTreeMap<(&'static str, Arc<str>), Flapping>,
}

struct Tracked {
    open: OpenProblem,
    /// The last line about it, on the monotonic clock.
    told: Duration,
    told_count: u64,
    /// Whether its beginning got a line, so that its end gets one.
    is_told: bool,
}

#[derive(Clone, Copy)]
struct Flapping {
    /// When the window began, on the monotonic clock.
    since: Duration,
    /// Beginnings in it that got a line.
    lines: u32,
    /// Beginnings in it that got none.
    unseen: u64,
}

/// One part's view of [`Health`].
#[derive(Clone)]
pub struct PartHealth {
    health: Arc<Health>,
    part: HealthPart,
}

impl Health {
    /// Nothing is known yet, so nothing is wrong.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Health { clock, parts: Mutex::default() })
    }

    /// The view of one part, which is known from now on.
    pub fn part(self: &Arc<Self>, role: PartRole, name: impl Into<Arc<str>>) -> PartHealth {
        let part = HealthPart { role, name: name.into() };
        self.lock().entry(part.clone()).or_default();
        PartHealth { health: self.clone(), part }
    }

    /// Removes the part and its problems.
    pub fn remove(&self, part: &HealthPart) {
        self.lock().remove(part);
    }

    /// Every part that is known, with what is wrong with it.
    pub fn report(&self) -> Vec<PartReport> {
        let parts = self.lock();
        parts.iter().map(|(part, it)| report_of(part, it)).collect()
    }

    /// One part as it is now; `None` when it is not known.
    pub fn of(&self, part: &HealthPart) -> Option<PartReport> {
        self.lock().get(part).map(|it| report_of(part, it))
    }

    /// The worst state of the parts with this role.
    pub fn worst(&self, role: PartRole) -> HealthState {
        let parts = self.lock();
        let of_role = parts.iter().filter(|part| part.0.role == role).map(|part| state_of(part.1));
        of_role.max().unwrap_or(HealthState::Ok)
    }

    /// Writes a line for what has gone on, or come and gone, for a while. To be called about once
    /// a second.
    pub fn summarise(&self) {
        let now = self.clock.monotonic();
        for (part, it) in &mut *self.lock() {
            for tracked in it.problems.values_mut() {
                if tracked.told + SUMMARY_EVERY <= now {
                    tell_ongoing(part, tracked);
                    tracked.told = now;
                }
            }
            it.recent.retain(|key, flapping| {
                let is_over = flapping.since + FLAP_WINDOW <= now;
                if is_over && 0 < flapping.unseen {
                    let (code, times) = (key.0, flapping.unseen);
                    tracing::warn!(part = %part, code, "{part}: {code} repeated {times} times");
                }
                !is_over
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HealthPart, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Counts a problem that is not kept under one that is, of the same code where there is one.
    fn count_under_another(&mut self, code: &'static str) {
        let of_code = self.problems.keys().rfind(|key| key.0 == code);
        let key = of_code.or_else(|| self.problems.keys().next_back()).cloned();
        let kept = key.and_then(|key| self.problems.get_mut(&key)).expect("there are many");
        kept.open.count += 1;
    }

    /// Whether the beginning of a problem gets a line, or is only counted.
    fn may_tell(&mut self, key: &(&'static str, Arc<str>), now: Duration) -> bool {
        let is_apart = self.recent.contains_key(key) || self.recent.len() < RECENT_MAX;
        let key = if is_apart { key.clone() } else { (key.0, "".into()) };
        let fresh = Flapping { since: now, lines: 0, unseen: 0 };
        let flapping = self.recent.entry(key).or_insert(fresh);
        if flapping.since + FLAP_WINDOW <= now {
            *flapping = fresh;
        }
        let has_line = flapping.lines < FLAP_LINES;
        match has_line {
            true => flapping.lines += 1,
            false => flapping.unseen += 1,
        }
        has_line
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.report().into_iter().map(|it| (it.part, it.state))).finish()
    }
}

impl PartHealth {
    /// The part.
    pub fn part(&self) -> &HealthPart {
        &self.part
    }

    /// The problem is there, or still there.
    pub fn report(&self, mut problem: HealthProblem) {
        assert_ne!(problem.state, HealthState::Ok, "a problem is not a good state");
        problem.reason = printable(&problem.reason, REASON_MAX);
        let (now, wall) = (self.health.clock.monotonic(), self.health.clock.wall());
        let mut parts = self.health.lock();
        let part = parts.entry(self.part.clone()).or_default();
        let key = (problem.code, problem.subject.clone());
        // What concerns the whole part is always kept: there are only so many codes.
        if !key.1.is_empty()
            && PROBLEMS_MAX <= part.problems.len()
            && !part.problems.contains_key(&key)
        {
            return part.count_under_another(key.0);
        }
        match part.problems.get_mut(&key) {
            Some(tracked) => {
                let has_changed = tracked.open.problem.state != problem.state;
                let open = &mut tracked.open;
                (open.problem, open.last, open.count) = (problem, wall, open.count + 1);
                if has_changed {
                    tell_begun(&self.part, tracked, now);
                }
            }
            None => {
                let open = OpenProblem { problem, since: wall, last: wall, count: 1 };
                let mut tracked = Tracked { open, told: now, told_count: 1, is_told: false };
                if part.may_tell(&key, now) {
                    tell_begun(&self.part, &mut tracked, now);
                }
                part.problems.insert(key, tracked);
            }
        }
    }

    /// Problems with this code are over, whatever they are about.
    pub fn clear(&self, code: &'static str) {
        self.clear_where(|it, _| it == code);
    }

    /// The problem with this code and subject is over.
    pub fn clear_about(&self, code: &'static str, subject: &str) {
        self.clear_where(|it, about| it == code && about == subject);
    }

    /// Everything works again.
    pub fn clear_all(&self) {
        self.clear_where(|_, _| true);
    }

    fn clear_where(&self, is_over: impl Fn(&'static str, &str) -> bool) {
        let mut parts = self.health.lock();
        let Some(part) = parts.get_mut(&self.part).filter(|part| !part.problems.is_empty()) else {
            return;
        };
        let over: Vec<_> =
            part.problems.keys().filter(|key| is_over(key.0, &key.1)).cloned().collect();
        for key in over {
            let Some(tracked) = part.problems.remove(&key) else { continue };
            if tracked.is_told {
                tell_over(&self.part, &tracked.open, self.health.clock.wall());
            }
        }
    }
}

impl fmt::Debug for PartHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PartHealth").field(&self.part).finish()
    }
}

fn state_of(part: &Part) -> HealthState {
    part.problems
        .values()
        .map(|problem| problem.open.problem.state)
        .max()
        .unwrap_or(HealthState::Ok)
}

fn report_of(part: &HealthPart, it: &Part) -> PartReport {
    let mut problems: Vec<OpenProblem> =
        it.problems.values().map(|problem| problem.open.clone()).collect();
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.problem.state));
    PartReport { part: part.clone(), state: state_of(it), problems }
}

fn tell_begun(part: &HealthPart, tracked: &mut Tracked, now: Duration) {
    (tracked.told, tracked.told_count, tracked.is_told) = (now, tracked.open.count, true);
    let HealthProblem { code, state, reason, advice, .. } = &tracked.open.problem;
    match state {
        HealthState::Failed => {
            tracing::error!(part = %part, state = "failed", code, advice, "{part} failed: {reason}");
        }
        _ => {
            tracing::warn!(
                part = %part, state = "degraded", code, advice, "{part} is degraded: {reason}"
            );
        }
    }
}

fn tell_over(part: &HealthPart, open: &OpenProblem, now: Timestamp) {
    let (code, count) = (open.problem.code, open.count);
    let lasted = now.since(open.since);
    let lasted = match lasted.as_secs() {
        0 => "less than a second".to_owned(),
        seconds => crate::time::write_duration(Duration::from_secs(seconds)),
    };
    tracing::info!(part = %part, code, count, "{part} recovered after {lasted}");
}

fn tell_ongoing(part: &HealthPart, tracked: &mut Tracked) {
    let more = tracked.open.count - tracked.told_count;
    tracked.told_count = tracked.open.count;
    let HealthProblem { code, state, reason, .. } = &tracked.open.problem;
    let (state, since) = (state.word(), tracked.open.since.to_string());
    tracing::warn!(part = %part, state, code, since, more, "{part} is still {state}: {reason}");
}

/// A text from outside as one line for people: control characters are escaped, so that it cannot
/// command a terminal or forge a line, and it is cut after `length_max` bytes.
pub fn printable(text: &str, length_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(length_max));
    for letter in text.trim_end().chars() {
        if length_max < shown.len() + letter.len_utf8() {
            shown.push('…');
            break;
        }
        match letter {
            '\n' => shown.push_str("; "),
            it if is_unprintable(it) => shown.extend(it.escape_unicode()),
            it => shown.push(it),
        }
    }
    shown
}

/// JSON in which every control character is written as an escape: it allows most of them as they
/// are inside of a text, and a terminal would obey them. Line ends are those of the layout.
pub fn printable_json(json: String) -> String {
    let is_obeyed = |letter| letter != '\n' && is_unprintable(letter);
    if !json.contains(is_obeyed) {
        return json;
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if is_obeyed(letter) {
            shown.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Control characters, and those that change the direction of what follows.
pub fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::StillClock;

    fn health() -> (Arc<StillClock>, Arc<Health>) {
        let clock = Arc::new(StillClock::default());
        (clock.clone(), Health::new(clock))
    }

    fn states(health: &Health) -> Vec<String> {
        health.report().iter().map(|it| format!("{} {}", it.part, it.state.word())).collect()
    }

    #[test]
    fn json_keeps_its_value_and_commands_nothing() {
        let value = serde_json::json!({ "a": "\u{9b}x\u{202e}\u{7f}\n\u{1b}ä" });
        let json = serde_json::to_string_pretty(&value).expect("it is JSON");
        assert!(json.contains('\u{9b}'));
        let shown = printable_json(json);
        assert!(!shown.chars().any(|letter| letter != '\n' && is_unprintable(letter)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }

    #[test]
    fn a_part_is_as_bad_as_the_worst_of_its_problems() {
        let (_, health) = health();
        let source = health.part(PartRole::Source, "door");
        health.part(PartRole::Store, "");
        assert_eq!(states(&health), ["store ok", "source door ok"]);
        source.report(HealthProblem::degraded("file-unreadable", "no").about("a.log"));
        source.report(HealthProblem::failed("stopped", "gone"));
        assert_eq!(states(&health), ["store ok", "source door failed"]);
        assert_eq!(health.worst(PartRole::Source), HealthState::Failed);
        source.clear("stopped");
        assert_eq!(states(&health), ["store ok", "source door degraded"]);
        source.clear_about("file-unreadable", "b.log");
        assert_eq!(states(&health), ["store ok", "source door degraded"]);
        source.clear_about("file-unreadable", "a.log");
        assert_eq!(states(&health), ["store ok", "source door ok"]);
        health.remove(source.part());
        assert_eq!(states(&health), ["store ok"]);
    }

    #[test]
    fn what_repeats_is_counted_and_keeps_its_beginning() {
        let (clock, health) = health();
        let target = health.part(PartRole::Target, "phone");
        let began = clock.wall();
        for reason in ["first", "second"] {
            target.report(HealthProblem::degraded("unreachable", reason).advise("look"));
            clock.pass(Duration::from_secs(5));
        }
        let report = health.of(target.part()).unwrap();
        let [open] = &report.problems[..] else { panic!("{report:?}") };
        assert_eq!((open.since, open.count), (began, 2));
        assert_eq!(open.last, began.plus(Duration::from_secs(5)));
        assert_eq!(open.problem.reason, "second");
    }

    #[test]
    fn there_are_only_so_many_problems_of_a_part() {
        let (_, health) = health();
        let source = health.part(PartRole::Source, "logs");
        for number in 0..1000 {
            let problem =
                HealthProblem::degraded("file-unreadable", "no").about(number.to_string());
            source.report(problem);
        }
        assert_eq!(health.of(source.part()).unwrap().problems.len(), PROBLEMS_MAX);
        source.report(HealthProblem::failed("stopped", "gone"));
        let report = health.of(source.part()).unwrap();
        assert_eq!(report.state, HealthState::Failed, "the whole part is always told");
        let seen: u64 = report.problems.iter().map(|problem| problem.count).sum();
        assert_eq!(seen, 1001);
    }

    #[test]
    fn what_goes_on_or_comes_and_goes_is_counted_and_summarised() {
        let (clock, health) = health();
        let target = health.part(PartRole::Target, "phone");
        let log = CountedLog::default();
        let lines = || std::mem::take(&mut *log.0.lock().unwrap());
        let guard = tracing::subscriber::set_default(log.clone());
        let refused = || target.report(HealthProblem::degraded("unreachable", "refused"));
        for _ in 0..9 {
            refused();
            clock.pass(Duration::from_secs(1));
            health.summarise();
        }
        assert_eq!(lines(), ["target phone is degraded: refused"]);
        clock.pass(SUMMARY_EVERY);
        health.summarise();
        assert_eq!(lines(), ["target phone is still degraded: refused more=8"]);
        target.clear_all();
        assert_eq!(lines(), ["target phone recovered after 609s count=9"]);
        for _ in 0..10 {
            refused();
            target.clear_all();
        }
        assert_eq!(lines().len(), 2 * FLAP_LINES as usize, "a beginning and an end each");
        clock.pass(FLAP_WINDOW);
        health.summarise();
        assert_eq!(lines(), ["target phone: unreachable repeated 6 times"]);
        health.summarise();
        assert_eq!(lines(), [""; 0]);
        drop(guard);
    }

    #[test]
    fn problems_that_come_and_go_are_remembered_within_bounds() {
        let (clock, health) = health();
        let source = health.part(PartRole::Source, "logs");
        let log = CountedLog::default();
        let guard = tracing::subscriber::set_default(log.clone());
        for number in 0..1000 {
            let about = number.to_string();
            source.report(HealthProblem::degraded("file-unreadable", "no").about(about.as_str()));
            source.clear_about("file-unreadable", &about);
        }
        let remembered = health.lock()[source.part()].recent.len();
        assert_eq!(remembered, RECENT_MAX + 1);
        let lines = std::mem::take(&mut *log.0.lock().unwrap());
        assert_eq!(lines.len(), 2 * (RECENT_MAX + FLAP_LINES as usize));
        clock.pass(FLAP_WINDOW);
        health.summarise();
        let rest = 1000 - RECENT_MAX - FLAP_LINES as usize;
        let lines = std::mem::take(&mut *log.0.lock().unwrap());
        assert_eq!(lines, [format!("source logs: file-unreadable repeated {rest} times")]);
        assert_eq!(health.lock()[source.part()].recent.len(), 0);
        drop(guard);
    }

    /// Keeps each line of the log: its message, and how often.
    #[derive(Clone, Default)]
    struct CountedLog(Arc<Mutex<Vec<String>>>);

    struct HealthLine(String);

    impl tracing::field::Visit for HealthLine {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
            match field.name() {
                "message" => self.0.insert_str(0, &format!("{value:?}")),
                name @ ("more" | "count") => self.0.push_str(&format!(" {name}={value:?}")),
                _ => {}
            }
        }
    }

    impl tracing::Subscriber for CountedLog {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = HealthLine(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn a_text_from_outside_is_one_line_and_commands_nothing() {
        assert_eq!(printable("a\nb\u{1b}]0;x\u{7}", 100), "a; b\\u{1b}]0;x\\u{7}");
        assert_eq!(printable("x\u{202e}y", 100), "x\\u{202e}y");
        assert_eq!(printable("ähnlich", 3), "äh…");
        assert_eq!(printable("end\n", 100), "end");
    }
}
