//! Lets one event of a key pass in a while and drops its repetitions.

use super::{BY, EventSummary, MAX_KEYS, SPAN, name_of, read_key, shape_of};
use crate::contract::{Kind, Services};
use crate::memory::{Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_of};
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Event;
use kernel::time::{Timestamp, write_duration};
use language::expr::{Expr, Roots, Scope, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Scalar, ValueKind};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::{Emission, Moment};

/// The children of its own.
pub const NODES: &[NodeRow] = &[
    NodeRow::new("key", "events with the same key are repeats; an event whose key is null passes")
        .examples(&[r#"key "data.id""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .required(),
    NodeRow::new("window", "how long repeats are dropped, counted from the first event")
        .examples(&[r#"window "10m""#, r#"window "10m" by=arrival"#])
        .args(&[Arg::one("duration", SPAN)])
        .props(&[BY])
        .required(),
    NodeRow::new("mode", "which event passes: the first, at once; the last, when the window is over; or the first, and when the window is over an event of the type `NAME.repeats` that says how many repeats there were")
        .examples(&["mode last", "mode count"])
        .args(&[Arg::one("mode", ValueKind::Word(Mode::WORDS))])
        .default("first"),
    MAX_KEYS,
];

choice! {
    /// Which event passes.
    enum Mode {
        /// The first.
        First = "first",
        /// The last.
        Last = "last",
        /// The first, and then how many repeated it.
        Count = "count",
    }
}

/// The kind `dedupe`.
pub(super) struct Dedupe(DedupeSettings);

/// What it compares, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DedupeSettings {
    name: Arc<str>,
    key: Expr,
    window: Duration,
    mode: Mode,
    /// The type of the event that counts repeats.
    repeats: Spanned<String>,
    shape: MemoryShape,
}

impl Kind for Dedupe {
    const WORD: &'static str = "dedupe";
    const SUMMARY: &'static str =
        "keeps one event of each key and drops repeats within a time window";
    const EXAMPLE: &'static str = r#"dedupe once { key "data.id"; window "10m" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = DedupeSettings;

    fn read(fields: &Fields<'_>, _: &mut Context<'_>) -> Option<DedupeSettings> {
        let window = fields.child("window").and_then(|child| child.arg(0)?.duration());
        let name = name_of(fields, "dedupe");
        let mode: Mode = fields.setting("mode").arg(0, Scalar::choice);
        let mut shape = shape_of(fields, Some("window"));
        if mode != Mode::First {
            shape.form = mode.word().to_owned();
        }
        Some(DedupeSettings {
            name: name.value.as_str().into(),
            key: read_key(fields)?.value,
            window: window?.value,
            mode,
            repeats: name.map(|name| format!("{name}.repeats")),
            shape,
        })
    }
}

impl MemoryKind for Dedupe {
    fn shape(settings: &DedupeSettings) -> MemoryShape {
        settings.shape.clone()
    }

    fn emits(settings: &DedupeSettings, known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)> {
        // The last event of a window is sent as it came: its type is not a new one.
        let counts = settings.mode == Mode::Count;
        let event = || EventSummary::shape(known.data());
        let data = || {
            let count = ("count", ValueType::number());
            ValueType::map([count, ("first", event()), ("last", event())])
        };
        counts.then(|| (settings.repeats.clone(), data())).into_iter().collect()
    }

    fn says(settings: &DedupeSettings) -> String {
        let window = write_duration(settings.window);
        let what = match settings.mode {
            Mode::First => "once",
            Mode::Last => "the last one",
            Mode::Count => "once, and how often it was repeated,",
        };
        format!("{what} in {window}{}", for_key(Some(&settings.key)))
    }

    fn open(settings: DedupeSettings, _: Services) -> OpenMemory {
        OpenMemory::of(Dedupe(settings))
    }
}

/// What is known of a window that is not over.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RepeatWindow {
    /// When its first event happened, in microseconds since 1970.
    First(i64),
    /// Its events, where more is told of them.
    Events(Box<RepeatedEvents>),
}

/// The first event and the last one, and how many there were.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RepeatedEvents {
    first: EventSummary,
    last: EventSummary,
    /// The id of the one that was counted last, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<String>,
    count: u64,
}

impl RepeatWindow {
    fn begins(&self) -> i64 {
        match self {
            RepeatWindow::First(time) => *time,
            RepeatWindow::Events(events) => events.first.time,
        }
    }
}

impl RepeatedEvents {
    fn with(self, event: EventSummary) -> Self {
        // What was dropped is not known by its id any more, and may be sent again.
        let counted = [Some(&self.first.id), Some(&self.last.id), self.counted.as_ref()];
        if counted.contains(&Some(&event.id)) {
            return self;
        }
        let count = self.count + 1;
        match event.time < self.last.time {
            true => RepeatedEvents { counted: Some(event.id), count, ..self },
            false => RepeatedEvents { last: event, counted: None, count, ..self },
        }
    }
}

impl Remember for Dedupe {
    type Kept = RepeatWindow;
    /// The event, where more than its time is kept.
    type Noted = Option<EventSummary>;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, Option<EventSummary>)> {
        // What it sent itself has passed already.
        if event.sender() == Some(&*self.0.name) {
            return None;
        }
        let key = key_of(&self.0.key, &Scope::of(event, now))?;
        Some((key, (self.0.mode != Mode::First).then(|| EventSummary::of(event))))
    }

    fn step(
        &self,
        kept: Option<RepeatWindow>,
        noted: &Option<EventSummary>,
        moment: &Moment<'_>,
    ) -> Change<RepeatWindow> {
        let time = moment.time;
        let known = kept.filter(|it| it.begins() <= moment.now.0);
        let due = |window: &RepeatWindow| {
            noted.as_ref().map(|_| Timestamp(window.begins()).plus(self.0.window))
        };
        let known = match known {
            // It passes, because nobody knows any more what was there at its time.
            Some(window) if time.plus(self.0.window).0 <= window.begins() => {
                return Change { due: due(&window), is_late: true, ..Change::keep(window) };
            }
            // An event that comes a little out of order is a repetition as well.
            known => known.filter(|it| time < Timestamp(it.begins()).plus(self.0.window)),
        };
        let repeats = known.is_some();
        let window = match (known, noted) {
            (Some(RepeatWindow::Events(events)), Some(event)) => {
                let event = EventSummary { time: time.0, ..event.clone() };
                RepeatWindow::Events(Box::new(events.with(event)))
            }
            (None, Some(event)) => {
                let event = EventSummary { time: time.0, ..event.clone() };
                let (first, last) = (event.clone(), event);
                RepeatWindow::Events(Box::new(RepeatedEvents {
                    first,
                    last,
                    counted: None,
                    count: 1,
                }))
            }
            (known, _) => known.unwrap_or(RepeatWindow::First(time.0)),
        };
        let due = due(&window);
        let change = Change::keep(window).dropping(repeats || self.0.mode == Mode::Last);
        Change { due, ..change }
    }

    fn wake(&self, window: RepeatWindow, moment: &Moment<'_>) -> Change<RepeatWindow> {
        let RepeatWindow::Events(events) = window else { return Change::forget() };
        let RepeatedEvents { first, last, count, .. } = *events;
        let emission = match self.0.mode {
            Mode::Last => Some(Emission {
                kind: last.kind.as_str().into(),
                subject: last.subject.as_str().into(),
                time: moment.time,
                parent_id: Some(last.id.as_str().into()),
                data: last.data,
            }),
            _ if 1 < count => {
                let data = json!({ "count": count, "first": first.json(), "last": last.json() });
                Some(last.causes(&self.0.repeats, moment, data))
            }
            _ => None,
        };
        Change { emits: emission.into_iter().collect(), ..Change::forget() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};
    use serde_json::{Value, json};

    #[test]
    fn the_first_of_a_window_passes() {
        let mut world =
            Memorised::new(Dedupe(testing::settings::<Dedupe>("key \"data.id\"\nwindow \"30s\"")));
        for (id, at, passes) in [
            ("a", 0, true),
            ("a", 29, false),
            ("b", 29, true),
            ("a", 30, true),
            ("a", 28, false),
            // An event that is too late starts no new window.
            ("a", 0, true),
            ("a", 59, false),
        ] {
            let step = world.event(at, json!({ "id": id })).expect("it has a key");
            assert_eq!(!step.is_dropped, passes, "{id} at {at}");
        }
        assert_eq!(world.event(60, json!({ "id": null })), None);
    }

    fn told(mode: &str, rows: &[(i64, i64)]) -> (Vec<bool>, Vec<(String, i64, Value)>) {
        let text = format!("key \"data.id\"\nwindow \"30s\"\nmode {mode}");
        let mut world = Memorised::new(Dedupe(testing::settings::<Dedupe>(&text)));
        let event = |(at, n): &(i64, i64)| {
            let step = world.event(*at, json!({ "id": "a", "n": n })).expect("it has a key");
            !step.is_dropped
        };
        let passed = rows.iter().map(event).collect();
        world.pass(Timestamp(1_000_000_000));
        (passed, world.told())
    }

    #[test]
    fn the_last_of_a_window_is_sent_when_it_is_over() {
        let (passed, sent) = told("last", &[(0, 1), (29, 2), (10, 3), (30, 4)]);
        assert_eq!(passed, [false; 4]);
        let sent = sent.into_iter().map(|(kind, at, data)| (kind, at, data["n"].clone()));
        let bell = || "door.bell".to_owned();
        assert_eq!(sent.collect::<Vec<_>>(), [(bell(), 30, json!(2)), (bell(), 60, json!(4))]);
    }

    #[test]
    fn repeats_are_counted_where_there_are_any() {
        let (passed, sent) = told("count", &[(0, 1), (29, 2), (10, 3), (50, 4)]);
        assert_eq!(passed, [true, false, false, true]);
        let sent = sent.into_iter().map(|(kind, at, data)| (kind, at, data["count"].clone()));
        assert_eq!(sent.collect::<Vec<_>>(), [("dedupe.repeats".to_owned(), 30, json!(3))]);
    }
}
