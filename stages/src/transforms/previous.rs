//! Adds the last event of a key before this one.

use crate::contract::{Adds, EnrichKind, Enricher, Kind, Services};
use crate::memories::{EventSummary, MAX_KEYS, SPAN, read_key, shape_of};
use crate::memory::{Change, MemoryShape, OpenMemory, Remember, key_of};
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Event;
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::diagnostic::Rule;
use language::expr::{Expr, Roots, Scope, TypeEnv, ValueType};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, ValueKind};
use serde_json::{Map, Value};
use std::time::Duration;
use store::Moment;

const NODES: &[NodeRow] = &[
    NodeRow::new(
        "key",
        "the last event with the same key is added; an event whose key is null has none",
    )
    .examples(&[r#"key "event.subject""#])
    .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
    .required(),
    NodeRow::new(
        "type",
        "the types that the earlier event may have; only events that match this stage's `when` \
         are remembered, so `when` must match these types, too",
    )
    .examples(&["type warm cold"])
    .args(&[Arg::some("type", ValueKind::Literal)])
    .otherwise("the type of the event itself"),
    NodeRow::new("within", "how old the earlier event may be")
        .examples(&[r#"within "5m""#])
        .args(&[Arg::one("duration", SPAN)])
        .otherwise("any age"),
    NodeRow::new("select", "which fields of the earlier event to add; `age` is in seconds")
        .examples(&["select time age"])
        .args(&[Arg::some("part", ValueKind::Word(PreviousPart::WORDS))])
        .otherwise("everything"),
    MAX_KEYS,
];

/// The kind `previous`.
pub(super) struct Previous(PreviousSettings);

/// Which event, and what of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PreviousSettings {
    key: Expr,
    kinds: Vec<String>,
    within: Option<Duration>,
    select: Vec<PreviousPart>,
    shape: MemoryShape,
}

choice! {
    /// A part of the earlier event.
    enum PreviousPart {
        /// Its id.
        Id = "id",
        /// Its type.
        Type = "type",
        /// When it happened.
        Time = "time",
        /// How many seconds before.
        Age = "age",
        /// What it said.
        Data = "data",
    }
}

impl Kind for Previous {
    const WORD: &'static str = "previous";
    const SUMMARY: &'static str = "adds the last event of the same key";
    const EXAMPLE: &'static str =
        r#"enrich previous before { key "event.subject"; within "5m"; select time data }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = PreviousSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<PreviousSettings> {
        let select = fields.child("select");
        let mut parts = Vec::new();
        for scalar in select.iter().flat_map(Fields::args) {
            let part: PreviousPart = scalar.choice()?;
            if parts.contains(&part) {
                context
                    .diagnostics
                    .push(Rule::SamePath, format!("`{}` is selected twice", part.word()))
                    .at(scalar.span(), "the second one")
                    .help("keep one of the two");
            }
            parts.push(part);
        }
        let kinds = fields.child("type");
        let kinds: Vec<Spanned<String>> =
            kinds.iter().flat_map(Fields::args).filter_map(|it| it.text()).collect();
        report_excluded(fields, &kinds, context);
        let within = fields.child("within").and_then(|child| child.arg(0)?.duration());
        Some(PreviousSettings {
            key: read_key(fields)?.value,
            kinds: kinds.into_iter().map(|kind| kind.value).collect(),
            within: within.map(|it| it.value),
            select: if parts.is_empty() { PreviousPart::ALL.to_vec() } else { parts },
            shape: shape_of(fields, None),
        })
    }
}

/// Reports types of which no event is ever remembered, because `when` passes none.
fn report_excluded(fields: &Fields<'_>, kinds: &[Spanned<String>], context: &mut Context<'_>) {
    // It belongs to every stage, so it is not there where the block is read alone.
    let when = fields.takes("when").then(|| fields.child("when")?.arg(0)?.expr(Roots::EVENT));
    let Some(when) = when.flatten() else { return };
    for kind in kinds {
        let asks = format!("event.type == {}", Value::from(kind.value.as_str()));
        let Ok(asks) = Expr::parse(&asks, Roots::EVENT) else { continue };
        if when.value.excludes(&asks) {
            let name = &kind.value;
            context
                .diagnostics
                .push(Rule::NoEffect, format!("no event of the type `{name}` is remembered"))
                .at(kind.span.clone(), "never remembered")
                .at(when.span.clone(), "this stage sees only events for which this holds")
                .help(format!(
                    "let `when` pass `{name}`, too; what reads the addition may ask for \
                     `event.type`"
                ));
        }
    }
}

impl EnrichKind for Previous {
    const IS_REMOTE: bool = false;

    fn memory(settings: &PreviousSettings) -> Option<MemoryShape> {
        Some(settings.shape.clone())
    }

    fn adds(settings: &PreviousSettings, known: &TypeEnv) -> Adds {
        let kinds = settings.kinds.iter();
        let data = match settings.kinds.is_empty() {
            true => known.data(),
            false => kinds.map(|kind| known.data_of(kind)).fold(ValueType::never(), ValueType::or),
        };
        let part = |part: &PreviousPart| {
            let shape = match part {
                PreviousPart::Id | PreviousPart::Type | PreviousPart::Time => ValueType::text(),
                PreviousPart::Age => ValueType::number(),
                PreviousPart::Data => data.clone(),
            };
            (part.word(), shape)
        };
        Adds::Value(ValueType::map(settings.select.iter().map(part)).or_null())
    }

    async fn open(settings: PreviousSettings, _: Services) -> Result<Enricher, Fault> {
        Ok(Enricher::Memory(OpenMemory::of(Previous(settings))))
    }
}

/// The event as the next one will see it, where the next one may.
pub(super) struct PreviousNoted {
    event: Option<EventSummary>,
}

impl Remember for Previous {
    /// The last event.
    type Kept = EventSummary;
    type Noted = PreviousNoted;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, PreviousNoted)> {
        let key = key_of(&self.0.key, &Scope::of(event, now))?;
        let kind = &*event.envelope.kind;
        let (key, counts) = match self.0.kinds.is_empty() {
            true => (format!("{kind}\n{key}"), true),
            false => (key, self.0.kinds.iter().any(|it| it == kind)),
        };
        Some((key, PreviousNoted { event: counts.then(|| self.summary(event)) }))
    }

    fn step(
        &self,
        kept: Option<EventSummary>,
        noted: &PreviousNoted,
        moment: &Moment<'_>,
    ) -> Change<EventSummary> {
        let age = |summary: &EventSummary| moment.time.since(Timestamp(summary.time));
        let is_before = |summary: &EventSummary| summary.time <= moment.time.0;
        let is_near =
            |summary: &&EventSummary| self.0.within.is_none_or(|within| age(summary) <= within);
        let output = match kept.as_ref().filter(|it| is_before(it)).filter(is_near) {
            Some(last) => self.selected(last, age(last)),
            None => Value::Null,
        };
        let own = noted.event.clone().map(|event| EventSummary { time: moment.time.0, ..event });
        // One that comes late is not the last one of the next.
        let newer = kept.filter(|it| own.is_none() || !is_before(it) && it.time <= moment.now.0);
        Change { kept: newer.or(own), output: Some(output), ..Change::forget() }
    }
}

impl Previous {
    /// Data that nobody asks for is not kept.
    fn summary(&self, event: &Event) -> EventSummary {
        let summary = EventSummary::of(event);
        match self.0.select.contains(&PreviousPart::Data) {
            true => summary,
            false => EventSummary { data: Value::Null, ..summary },
        }
    }

    fn selected(&self, last: &EventSummary, age: Duration) -> Value {
        let Value::Object(mut all) = last.json() else { unreachable!("it is an object") };
        all.insert(PreviousPart::Age.word().to_owned(), age.as_secs_f64().into());
        let parts = self.0.select.iter().map(|it| it.word());
        let parts = parts.filter_map(|part| Some((part.to_owned(), all.remove(part)?)));
        Value::Object(parts.collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, rows: &[(&str, i64, i64)], expected: &[Value]) {
        let mut world = Memorised::new(Previous(testing::settings::<Previous>(text)));
        let output = |(kind, at, n): &(&str, i64, i64)| {
            let step = world.typed(kind, *at, json!({ "n": n })).expect("it has a key");
            serde_json::from_str::<Value>(&step.output.expect("it adds")).expect("JSON")
        };
        assert_eq!(rows.iter().map(output).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_last_event_of_the_same_type_is_added() {
        let rows = [("warm", 0, 1), ("cold", 1, 2), ("warm", 5, 3), ("warm", 99, 4)];
        let (none, first) = (Value::Null, json!({ "age": 5.0, "data": { "n": 1 } }));
        let text = "key \"event.subject\"\nwithin \"10s\"\nselect age data";
        check(text, &rows, &[none.clone(), none.clone(), first, none]);
    }

    #[test]
    fn of_given_types_the_last_one_counts() {
        let rows = [("warm", 0, 1), ("other", 1, 2), ("cold", 2, 3), ("other", 3, 4)];
        let kinds = ["warm", "warm", "cold"].map(|it| json!({ "type": it }));
        let [first, second, third] = kinds;
        let text = "key \"event.subject\"\ntype warm cold\nselect type";
        check(text, &rows, &[Value::Null, first, second, third]);
    }
}
