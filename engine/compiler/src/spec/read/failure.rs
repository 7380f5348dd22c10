//! The nodes of failure handling.

use crate::spec::{Backoff, Breaker, Curve, FailureHandling, RateLimit, Retry, Trip};
use language::diagnostic::Rule;
use language::{Context, Fields};
use std::time::Duration;

/// What a node says about failures; what cannot be right is reported.
pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> FailureHandling {
    FailureHandling {
        timeout: super::duration_of(fields, "timeout"),
        retry: fields.child("retry").map(|it| retry(&it, context)),
        breaker: fields.child("breaker").map(|it| breaker(&it, context)),
        rate: fields.child("rate").and_then(|it| pace(&it)),
        concurrency: super::count_of(fields, "concurrency"),
    }
}

fn duration(fields: &Fields<'_>, name: &str) -> Option<Duration> {
    Some(fields.prop(name)?.duration()?.value)
}

fn count(fields: &Fields<'_>, name: &str) -> Option<usize> {
    usize::try_from(fields.prop(name)?.int()?.value).ok()
}

/// A rate of a node: `rate "10/min" burst=3`.
pub(super) fn pace(fields: &Fields<'_>) -> Option<RateLimit> {
    let rate = fields.arg(0)?.rate()?.value;
    let burst = count(fields, "burst").and_then(|it| u32::try_from(it).ok());
    Some(RateLimit { rate, burst: burst.unwrap_or(1) })
}

fn retry(fields: &Fields<'_>, context: &mut Context<'_>) -> Retry {
    let attempts = fields.arg(0).and_then(|it| it.int());
    Retry {
        attempts: attempts.and_then(|it| u32::try_from(it.value).ok()),
        on: fields.prop("on").map(|it| it.words()),
        give_up: duration(fields, "give-up"),
        backoff: fields.child("backoff").map(|it| backoff(&it, context)),
    }
}

fn backoff(fields: &Fields<'_>, context: &mut Context<'_>) -> Backoff {
    let default = Backoff::default();
    let curve = fields.arg(0).and_then(|it| it.text()).map(|it| it.value);
    let jitter = fields.prop("jitter").and_then(|it| it.text());
    let base = duration(fields, "base").unwrap_or(default.base);
    let max = duration(fields, "max");
    if let (Some(longest), Some(place)) = (max, fields.prop("max"))
        && longest < base
    {
        let first = fields.prop("base").map(|it| it.span());
        let found = context
            .diagnostics
            .push(Rule::OutOfRange, "the longest wait is shorter than the first one")
            .at(place.span(), "the longest wait");
        match first {
            Some(first) => found.at(first, "the first wait"),
            None => found,
        }
        .help(format!("the first wait is {base:?}; make `max` larger, or `base` smaller"));
    }
    Backoff {
        curve: match curve.as_deref() {
            Some("linear") => Curve::Linear,
            Some("constant") => Curve::Constant,
            _ => Curve::Exponential,
        },
        base,
        max: max.unwrap_or(default.max.max(base)),
        factor: fields.prop("factor").and_then(|it| it.number()).map_or(2.0, |it| it.value),
        has_jitter: jitter.is_none_or(|it| it.value != "none"),
    }
}

/// `None` for `breaker #false`.
fn breaker(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Breaker> {
    if fields.arg(0).and_then(|it| it.boolean()) == Some(false) {
        return None;
    }
    let default = Breaker::default();
    let trip = fields.child("trip");
    let prop = |name: &str| trip.as_ref()?.prop(name);
    if let (Some(ratio), Some(_)) = (prop("ratio"), prop("after")) {
        context
            .diagnostics
            .push(Rule::WrongArgument, "`after` and `ratio` cannot be combined")
            .at(ratio.span(), "one of the two")
            .help("write `trip after=5 within=\"30s\"` or `trip ratio=0.5 min=10 within=\"30s\"`");
    }
    let number = |name: &str| trip.as_ref().and_then(|it| count(it, name));
    let ratio = prop("ratio").and_then(|it| it.number());
    if let (None, Some(min)) = (&ratio, prop("min")) {
        context
            .diagnostics
            .push(Rule::WrongArgument, "`min` only works with `ratio`")
            .at(min.span(), "there is no `ratio`")
            .help("write `trip ratio=0.5 min=10`, or delete `min`");
    }
    let open_for = fields.child("open-for").and_then(|it| it.arg(0)?.duration());
    let probes = super::count_of(fields, "probes").and_then(|it| u32::try_from(it).ok());
    Some(Breaker {
        trip: match ratio {
            Some(ratio) => Trip::Ratio(ratio.value, number("min").unwrap_or(10)),
            None => Trip::After(number("after").unwrap_or(5)),
        },
        within: trip.as_ref().and_then(|it| duration(it, "within")).unwrap_or(default.within),
        open_for: open_for.map_or(default.open_for, |it| it.value),
        probes: probes.unwrap_or(default.probes),
    })
}
