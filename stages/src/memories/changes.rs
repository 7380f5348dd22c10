//! Lets an event pass when a value differs from the last one of its key that passed.

use super::{MAX_KEYS, read_key, shape_of};
use crate::contract::{Kind, Services};
use crate::memory::{Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_or_one};
use kernel::event::Event;
use kernel::time::Timestamp;
use language::expr::{Expr, Roots, Scope, Val};
use language::{Arg, Context, Fields, NodeRow, ValueKind};
use serde_json::Value;
use store::Moment;

/// The children of its own.
pub const NODES: &[NodeRow] = &[
    NodeRow::new("key", "values are compared per key; an event whose key is null passes")
        .examples(&[r#"key "event.subject""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .otherwise("one value for all events"),
    NodeRow::new("value", "an event passes if this value differs from that of the last event that passed, in order of arrival")
        .examples(&[r#"value "data.state""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .required(),
    NodeRow::new("by", "by how much a number has to differ")
        .examples(&["by 0.5"])
        .args(&[Arg::one("difference", ValueKind::Number(0.0, 1e15))])
        .otherwise("any difference"),
    MAX_KEYS,
];

/// The kind `changes`.
pub(super) struct Changes(ChangesSettings);

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChangesSettings {
    key: Option<Expr>,
    value: Expr,
    step: f64,
    shape: MemoryShape,
}

impl Kind for Changes {
    const WORD: &'static str = "changes";
    const SUMMARY: &'static str = "keeps events whose value differs from the last one of their key";
    const EXAMPLE: &'static str = r#"changes state { key "event.subject"; value "data.state" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = ChangesSettings;

    fn read(fields: &Fields<'_>, _: &mut Context<'_>) -> Option<ChangesSettings> {
        let step = fields.child("by").and_then(|child| child.arg(0)?.number());
        Some(ChangesSettings {
            key: read_key(fields).map(|key| key.value),
            value: fields.child("value")?.arg(0)?.expr(Roots::EVENT)?.value,
            step: step.map_or(0.0, |step| step.value),
            shape: shape_of(fields, None),
        })
    }
}

impl MemoryKind for Changes {
    fn shape(settings: &ChangesSettings) -> MemoryShape {
        settings.shape.clone()
    }

    fn says(settings: &ChangesSettings) -> String {
        let by = if 0.0 < settings.step { format!(" by {}", settings.step) } else { String::new() };
        format!("when {} changes{by}{}", settings.value.text(), for_key(settings.key.as_ref()))
    }

    fn open(settings: ChangesSettings, _: Services) -> OpenMemory {
        OpenMemory::of(Changes(settings))
    }
}

impl Remember for Changes {
    /// The last value that passed.
    type Kept = Value;
    type Noted = Value;

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, Value)> {
        let scope = Scope::of(event, now);
        let key = key_or_one(self.0.key.as_ref(), &scope)?;
        Some((key, self.0.value.eval(&scope).to_json()))
    }

    fn step(&self, kept: Option<Value>, value: &Value, _: &Moment<'_>) -> Change<Value> {
        match kept.filter(|last| !self.differs(last, value)) {
            Some(last) => Change::keep(last).dropping(true),
            None => Change::keep(value.clone()),
        }
    }
}

impl Changes {
    fn differs(&self, last: &Value, value: &Value) -> bool {
        let step = self.0.step;
        let (Some(from), Some(to), true) = (last.as_f64(), value.as_f64(), 0.0 < step) else {
            return !Val::from_json(last).equals(&Val::from_json(value));
        };
        match (whole_of(last), whole_of(value)) {
            (Some(from), Some(to)) => step <= from.abs_diff(to) as f64,
            // Rounding must not make a difference of exactly one step too small.
            _ => step <= (to - from).abs() + f64::EPSILON * from.abs().max(to.abs()),
        }
    }
}

/// A whole number, of which a `f64` may not have all digits.
fn whole_of(value: &Value) -> Option<i128> {
    value.as_number()?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};
    use serde_json::json;

    #[track_caller]
    fn check(text: &str, rows: &[(Value, bool)]) {
        let mut world = Memorised::new(Changes(testing::settings::<Changes>(text)));
        for (value, passes) in rows {
            let step = world.event(0, json!({ "v": value })).expect("it has a key");
            assert_eq!(!step.is_dropped, *passes, "{value}");
        }
    }

    #[test]
    fn what_is_as_before_is_dropped() {
        let rows = [json!("on"), json!("on"), json!("off"), json!(null), json!(null), json!("on")];
        let passes = [true, false, true, true, false, true];
        check("value \"data.v\"", &rows.into_iter().zip(passes).collect::<Vec<_>>());
        check("value \"data.v\"", &[(json!(1), true), (json!(1.0), false), (json!("1"), true)]);
        let nested = [(json!([1, { "a": 0 }]), true), (json!([1.0, { "a": -0.0 }]), false)];
        check("value \"data.v\"", &nested);
    }

    #[test]
    fn every_digit_of_a_whole_number_counts() {
        let rows = [
            (json!(9_007_199_254_740_993_u64), true),
            (json!(9_007_199_254_740_992_u64), true),
            (json!(9_007_199_254_740_992_u64), false),
        ];
        check("value \"data.v\"", &rows);
        check("value \"data.v\"\nby 1", &rows);
        check("value \"data.v\"\nby 2", &[rows[0].clone(), (rows[1].0.clone(), false)]);
    }

    #[test]
    fn a_number_is_compared_with_the_last_one_that_passed() {
        let rows = [(20.0, true), (20.4, false), (20.5, true), (20.1, false), (20.0, true)];
        let rows: Vec<_> = rows.into_iter().map(|(value, it)| (json!(value), it)).collect();
        check("value \"data.v\"\nby 0.5", &rows);
        check("value \"data.v\"\nby 0.1", &[(json!(0.2), true), (json!(0.3), true)]);
    }
}
