//! Lets the first event of a key pass and drops its repetitions.

use super::{BY, MAX_KEYS, SPAN, read_key, shape_of};
use crate::contract::{Kind, Services};
use crate::memory::{Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_of};
use kernel::event::Event;
use kernel::time::{Timestamp, write_duration};
use language::expr::{Expr, Roots, Scope};
use language::{Arg, Context, Fields, NodeRow, ValueKind};
use std::time::Duration;
use store::Moment;

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
    MAX_KEYS,
];

/// The kind `dedupe`.
pub(super) struct Dedupe(Settings);

/// What it compares, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    key: Expr,
    window: Duration,
    shape: MemoryShape,
}

impl Kind for Dedupe {
    const WORD: &'static str = "dedupe";
    const SUMMARY: &'static str =
        "keeps the first event of each key and drops repeats within a time window";
    const EXAMPLE: &'static str = r#"dedupe once { key "data.id"; window "10m" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, _: &mut Context<'_>) -> Option<Settings> {
        let window = fields.child("window").and_then(|it| it.arg(0)?.duration());
        let key = read_key(fields)?.value;
        Some(Settings { key, window: window?.value, shape: shape_of(fields, Some("window")) })
    }
}

impl MemoryKind for Dedupe {
    fn shape(settings: &Settings) -> MemoryShape {
        settings.shape.clone()
    }

    fn says(settings: &Settings) -> String {
        let window = write_duration(settings.window);
        format!("once in {window}{}", for_key(Some(&settings.key)))
    }

    fn open(settings: Settings, _: Services) -> OpenMemory {
        OpenMemory::of(Dedupe(settings))
    }
}

impl Remember for Dedupe {
    /// When the first event of the window happened, in microseconds since 1970.
    type Kept = i64;
    type Noted = ();

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, ())> {
        Some((key_of(&self.0.key, &Scope::of(event, now))?, ()))
    }

    fn step(&self, kept: Option<i64>, (): &(), moment: &Moment<'_>) -> Change<i64> {
        let time = moment.time;
        // An event that comes out of order is a repetition as well.
        let apart = |first: i64| Timestamp(first.max(time.0)).since(Timestamp(first.min(time.0)));
        match kept.filter(|first| apart(*first) < self.0.window) {
            Some(first) => Change::keep(first).dropping(true),
            None => Change::keep(time.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};
    use serde_json::json;

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
            ("a", 0, true),
        ] {
            let step = world.event(at, json!({ "id": id })).expect("it has a key");
            assert_eq!(!step.is_dropped, passes, "{id} at {at}");
        }
        assert_eq!(world.event(60, json!({ "id": null })), None);
    }
}
