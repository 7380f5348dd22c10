//! Two events that belong together.

use super::{BY, EventSummary, MAX_KEYS, SPAN, read_key, shape_of};
use crate::contract::{Kind, Services};
use crate::memory::{Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_or_one};
use kernel::event::Event;
use kernel::time::{Timestamp, write_duration};
use language::expr::{Expr, Roots, Scope, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Prop, ValueKind};
use serde_json::json;
use std::time::Duration;
use store::Moment;

/// The children of its own.
pub const NODES: &[NodeRow] = &[
    NodeRow::new("key", "events with the same key belong together; one whose key is null does not count")
        .examples(&[r#"key "event.subject""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .otherwise("all events"),
    NodeRow::new("first", "the condition of the first event, which must also arrive first; if several wait, the earliest one is used")
        .examples(&[r#"first "event.type == 'motion'""#])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))])
        .required(),
    NodeRow::new("then", "the condition of the second event, and how long after the first one it may arrive")
        .examples(&[
            r#"then "event.type == 'face'" within="30s""#,
            r#"then "event.type == 'face'" within="30s" by=arrival"#,
        ])
        .args(&[Arg::one("condition", ValueKind::Expr(Roots::EVENT))])
        .props(&[Prop::required("within", SPAN), BY])
        .required(),
    NodeRow::new("emit", "the type of the event to send when both have arrived, and of the one to send when the second has not")
        .examples(&["emit visit.recognised missed=visit.unknown"])
        .args(&[Arg::one("type", ValueKind::Literal)])
        .props(&[Prop::new("missed", ValueKind::Literal)])
        .required(),
    MAX_KEYS,
];

/// The kind `join`.
pub(super) struct Join(JoinSettings);

/// What belongs together, and what is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JoinSettings {
    key: Option<Expr>,
    first: Expr,
    then: Expr,
    within: Duration,
    emit: Spanned<String>,
    missed: Option<Spanned<String>>,
    shape: MemoryShape,
}

impl Kind for Join {
    const WORD: &'static str = "join";
    const SUMMARY: &'static str = "sends an event when two events of a key belong together";
    const EXAMPLE: &'static str = r#"join visit { key "event.subject"; first "event.type == 'motion'"; then "event.type == 'face'" within="30s"; emit visit.recognised missed=visit.unknown }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = JoinSettings;

    fn read(fields: &Fields<'_>, _: &mut Context<'_>) -> Option<JoinSettings> {
        let condition = |name: &str| fields.child(name)?.arg(0)?.expr(Roots::EVENT);
        let (then, emit) = (fields.child("then")?, fields.child("emit")?);
        Some(JoinSettings {
            key: read_key(fields).map(|key| key.value),
            first: condition("first")?.value,
            then: condition("then")?.value,
            within: then.prop("within")?.duration()?.value,
            emit: emit.arg(0)?.text()?,
            missed: emit.prop("missed").and_then(|prop| prop.text()),
            shape: shape_of(fields, Some("then")),
        })
    }
}

impl MemoryKind for Join {
    fn shape(settings: &JoinSettings) -> MemoryShape {
        settings.shape.clone()
    }

    fn emits(settings: &JoinSettings, known: &TypeEnv) -> Vec<(Spanned<String>, ValueType)> {
        let data = |condition: &Expr| known.data_where(condition);
        let (first, then) = (data(&settings.first), data(&settings.then));
        let (first, then) = (EventSummary::shape(first), EventSummary::shape(then));
        let both = ValueType::map([("first", first.clone()), ("then", then)]);
        let missed = settings.missed.clone();
        let missed = missed.map(|missed| (missed, ValueType::map([("first", first)])));
        std::iter::once((settings.emit.clone(), both)).chain(missed).collect()
    }

    fn says(settings: &JoinSettings) -> String {
        let within = write_duration(settings.within);
        let (first, then) = (settings.first.text(), settings.then.text());
        format!("{first}, then {then} within {within}{}", for_key(settings.key.as_ref()))
    }

    fn open(settings: JoinSettings, _: Services) -> OpenMemory {
        OpenMemory::of(Join(settings))
    }
}

/// What an event may be, and what is told of it.
pub(super) struct JoinNoted {
    is_first: bool,
    is_then: bool,
    event: EventSummary,
}

impl Remember for Join {
    /// The first event, while the second may still come.
    type Kept = EventSummary;
    type Noted = JoinNoted;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, JoinNoted)> {
        let scope = Scope::of(event, now);
        let (is_first, is_then) = (self.0.first.is_true(&scope), self.0.then.is_true(&scope));
        if !is_first && !is_then {
            return None;
        }
        let key = key_or_one(self.0.key.as_ref(), &scope)?;
        Some((key, JoinNoted { is_first, is_then, event: EventSummary::of(event) }))
    }

    fn step(
        &self,
        kept: Option<EventSummary>,
        noted: &JoinNoted,
        moment: &Moment<'_>,
    ) -> Change<EventSummary> {
        match kept.filter(|it| it.time <= moment.now.0) {
            Some(first) if noted.is_then && first.time <= moment.time.0 => {
                let data = json!({ "first": first.json(), "then": noted.event.json() });
                let emission = noted.event.causes(&self.0.emit, moment, data);
                // What is the second event of one pair may be the first one of the next.
                Change { emits: vec![emission], ..self.begun(noted, moment) }
            }
            Some(first) => {
                let due = Timestamp(first.time).plus(self.0.within);
                Change::keep(first).until(due)
            }
            None => self.begun(noted, moment),
        }
    }

    fn wake(&self, first: EventSummary, moment: &Moment<'_>) -> Change<EventSummary> {
        let missed = self.0.missed.as_ref();
        let data = || json!({ "first": first.json() });
        let emission = missed.map(|kind| first.causes(kind, moment, data()));
        Change { emits: emission.into_iter().collect(), ..Change::forget() }
    }
}

impl Join {
    fn begun(&self, noted: &JoinNoted, moment: &Moment<'_>) -> Change<EventSummary> {
        match noted.is_first {
            true => {
                let first = EventSummary { time: moment.time.0, ..noted.event.clone() };
                Change::keep(first).until(moment.time.plus(self.0.within))
            }
            false => Change::forget(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};

    const TEXT: &str = r#"key "data.cam"
first "event.type == 'motion'"
then "event.type == 'face'" within="30s"
emit visit.recognised missed=visit.unknown"#;

    fn told(rows: &[(&str, i64, &str)], until: i64) -> Vec<(String, i64)> {
        let mut world = Memorised::new(Join(testing::settings::<Join>(TEXT)));
        for (kind, at, cam) in rows {
            world.typed(kind, *at, json!({ "cam": cam }));
        }
        world.pass(Timestamp(until * 1_000_000));
        world.told().into_iter().map(|it| (it.0, it.1)).collect()
    }

    #[test]
    fn a_pair_is_told_once_and_a_missing_second_one_when_it_is_too_late() {
        let (both, missed) = ("visit.recognised".to_owned(), "visit.unknown".to_owned());
        let rows = [("motion", 0, "a"), ("motion", 5, "b"), ("face", 20, "a"), ("face", 21, "a")];
        assert_eq!(told(&rows, 100), [(both.clone(), 20), (missed.clone(), 35)]);
        // The first motion counts; what comes at the very end is too late.
        let rows = [("motion", 0, "a"), ("motion", 29, "a"), ("face", 30, "a")];
        assert_eq!(told(&rows, 100), [(missed, 30)]);
        assert_eq!(told(&[("face", 0, "a"), ("motion", 1, "a")], 2), []);
        assert_eq!(told(&[("motion", 1, "a"), ("face", 1, "a")], 99), [(both, 1)]);
    }

    #[test]
    fn both_events_are_in_the_data() {
        let mut world = Memorised::new(Join(testing::settings::<Join>(TEXT)));
        world.typed("motion", 0, json!({ "cam": "a" }));
        world.typed("face", 2, json!({ "cam": "a", "who": "eva" }));
        let told = world.told().remove(0).2;
        assert_eq!(told["then"]["data"]["who"], "eva");
        assert_eq!(told["first"]["time"], "1970-01-01T00:00:00.000Z");
    }
}
