//! Lets events of a key pass at a rate: the generic cell rate algorithm (ITU-T I.371), which is a
//! token bucket that needs one number.

use super::{BY, MAX_KEYS, read_key, shape_of};
use crate::contract::{Kind, Services};
use crate::memory::{Change, MemoryKind, MemoryShape, OpenMemory, Remember, for_key, key_or_one};
use kernel::event::Event;
use kernel::time::Timestamp;
use language::expr::{Expr, Roots, Scope};
use language::{Arg, Context, Fields, NodeRow, Prop, Rate, ValueKind};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::Moment;

/// The children of its own.
pub const NODES: &[NodeRow] = &[
    NodeRow::new("key", "the rate is counted per key; an event whose key is null passes")
        .examples(&[r#"key "event.source""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::EVENT))])
        .otherwise("one rate for all events"),
    NodeRow::new("rate", "how many events pass")
        .examples(&[r#"rate "10/min" burst=3"#, r#"rate "10/min" by=arrival"#])
        .args(&[Arg::one("rate", ValueKind::Rate)])
        .props(&[Prop::new("burst", ValueKind::Int(1, 10_000)).default("1"), BY])
        .required(),
    MAX_KEYS,
];

/// The kind `throttle`.
pub(super) struct Throttle(ThrottleSettings);

/// The key and its rate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ThrottleSettings {
    key: Option<Expr>,
    rate: Rate,
    burst: u32,
    shape: MemoryShape,
}

impl Kind for Throttle {
    const WORD: &'static str = "throttle";
    const SUMMARY: &'static str = "limits the rate of events, per key";
    const EXAMPLE: &'static str = r#"throttle calm { key "event.source"; rate "10/min" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = ThrottleSettings;

    fn read(fields: &Fields<'_>, _: &mut Context<'_>) -> Option<ThrottleSettings> {
        let rate = fields.child("rate")?;
        Some(ThrottleSettings {
            key: read_key(fields).map(|key| key.value),
            rate: rate.arg(0)?.rate()?.value,
            burst: rate.filled().prop("burst", |scalar| u32::try_from(scalar.int()?.value).ok()),
            shape: shape_of(fields, Some("rate")),
        })
    }
}

impl MemoryKind for Throttle {
    fn shape(settings: &ThrottleSettings) -> MemoryShape {
        settings.shape.clone()
    }

    fn says(settings: &ThrottleSettings) -> String {
        format!("at most {}{}", settings.rate, for_key(settings.key.as_ref()))
    }

    fn open(settings: ThrottleSettings, _: Services) -> OpenMemory {
        OpenMemory::of(Throttle(settings))
    }
}

/// What is known of a rate.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct RateState {
    /// The time of the newest event, in microseconds since 1970.
    newest: i64,
    /// When the next event would be due at an even rate.
    next: i64,
}

impl Remember for Throttle {
    type Kept = RateState;
    type Noted = ();

    fn note(&self, event: &Event, now: Timestamp) -> Option<(String, ())> {
        Some((key_or_one(self.0.key.as_ref(), &Scope::of(event, now))?, ()))
    }

    fn step(&self, kept: Option<RateState>, (): &(), moment: &Moment<'_>) -> Change<RateState> {
        let kept = kept.filter(|it| it.newest <= moment.now.0);
        // A late event cannot use what an earlier time had left: others may have used it.
        let time = Timestamp(kept.map_or(moment.time.0, |it| it.newest.max(moment.time.0)));
        let interval = self.0.rate.per.div_f64(self.0.rate.count.max(f64::MIN_POSITIVE));
        let tolerance = interval * self.0.burst.saturating_sub(1);
        let latest = time.plus(tolerance + interval);
        // What lies further ahead is of a slower rate, before a reload: as if all that this rate
        // allows had been used.
        let next = kept.map_or(time, |it| Timestamp(it.next).min(latest)).max(time);
        let is_dropped = time < next.minus(tolerance);
        let next = match is_dropped {
            true => next,
            false => next.plus(interval.max(Duration::from_micros(1))),
        };
        Change::keep(RateState { newest: time.0, next: next.0 }).dropping(is_dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Memorised};
    use serde_json::json;

    #[test]
    fn a_higher_rate_does_not_forget_what_has_passed() {
        let open = |text| Throttle(testing::settings::<Throttle>(text));
        let mut kept = None;
        let mut passes = |throttle: &Throttle, millis: i64| {
            let time = Timestamp(millis * 1000);
            let moment = Moment { key: "", time, now: time };
            let change = throttle.step(kept, &(), &moment);
            kept = change.kept;
            !change.is_dropped
        };
        let (slow, fast) = (open("rate \"1/h\""), open("rate \"2/s\" burst=2"));
        assert!(passes(&slow, 0));
        assert_eq!([1, 400, 501, 600].map(|at| passes(&fast, at)), [false, false, true, false]);
    }

    #[test]
    fn a_rate_is_kept_by_key() {
        let text = "key \"data.id\"\nrate \"1/s\" burst=2";
        let mut world = Memorised::new(Throttle(testing::settings::<Throttle>(text)));
        for (id, at, passes) in [
            ("a", 1000, true),
            ("a", 1000, true),
            ("a", 1000, false),
            ("b", 1000, true),
            ("a", 1001, true),
            ("a", 1001, false),
            // What comes late uses what there is now.
            ("a", 10, false),
            ("a", 1002, true),
            ("a", 10, false),
        ] {
            let step = world.event(at, json!({ "id": id })).expect("it has a key");
            assert_eq!(!step.is_dropped, passes, "{id} at {at}");
        }
    }
}
