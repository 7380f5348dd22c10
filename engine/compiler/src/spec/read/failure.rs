//! The nodes of failure handling.

use super::{count, duration};
use crate::spec::{Backoff, Breaker, BreakerTrip, FailureHandling, RateLimit, Retry};
use language::diagnostic::Rule;
use language::{Context, Fields, Scalar};

/// What a node says about failures; what cannot be right is reported.
pub(super) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> FailureHandling {
    FailureHandling {
        timeout: super::duration_of(fields, "timeout"),
        retry: fields.child("retry").map(|child| retry(&child, context)),
        breaker: fields.child("breaker").map(|child| {
            report_trip(&child, context);
            let is_off = child.arg(0).and_then(|arg| arg.boolean()) == Some(false);
            (!is_off).then(|| breaker(&child))
        }),
        // With `excess` it counts messages, and not calls.
        rate: fields
            .child("rate")
            .filter(|child| child.prop("excess").is_none())
            .and_then(|child| pace(&child)),
        concurrency: super::count_of(fields, "concurrency"),
    }
}

/// A rate of a node: `rate "10/min" burst=3`.
pub(super) fn pace(fields: &Fields<'_>) -> Option<RateLimit> {
    let rate = fields.arg(0)?.rate()?.value;
    Some(RateLimit { rate, burst: fields.filled().prop("burst", count) })
}

fn retry(fields: &Fields<'_>, context: &mut Context<'_>) -> Retry {
    Retry {
        attempts: fields.arg(0).and_then(|arg| count(&arg)),
        on: fields.prop("on").map(|prop| prop.words()),
        give_up: fields.prop("give-up").and_then(|prop| duration(&prop)),
        backoff: fields.child("backoff").map(|child| {
            report_backoff(&child, context);
            backoff(&child)
        }),
    }
}

fn report_backoff(fields: &Fields<'_>, context: &mut Context<'_>) {
    let base = fields.filled().prop("base", duration);
    let Some(place) = fields.prop("max") else { return };
    if duration(&place).is_none_or(|longest| base <= longest) {
        return;
    }
    let first = fields.prop("base").map(|prop| prop.span());
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

/// What a `backoff` says, and the table where it does not. A first wait that is longer than the
/// longest of the table is the longest.
pub(in crate::spec) fn backoff(fields: &Fields<'_>) -> Backoff {
    let node = fields.filled();
    let base = node.prop("base", duration);
    let max = node.prop("max", duration);
    let is_chosen = fields.prop("max").is_some();
    Backoff {
        curve: node.arg(0, Scalar::choice),
        base,
        max: if is_chosen { max } else { max.max(base) },
        factor: node.prop("factor", |scalar| Some(scalar.number()?.value)),
        jitter: node.prop("jitter", Scalar::choice),
    }
}

fn report_trip(breaker: &Fields<'_>, context: &mut Context<'_>) {
    let Some(trip) = breaker.child("trip") else { return };
    if let (Some(ratio), Some(_)) = (trip.prop("ratio"), trip.prop("after")) {
        context
            .diagnostics
            .push(Rule::WrongArgument, "`after` and `ratio` cannot be combined")
            .at(ratio.span(), "one of the two")
            .help("write `trip after=5 within=\"30s\"` or `trip ratio=0.5 min=10 within=\"30s\"`");
    }
    if let (None, Some(min)) = (trip.prop("ratio"), trip.prop("min")) {
        context
            .diagnostics
            .push(Rule::WrongArgument, "`min` only works with `ratio`")
            .at(min.span(), "there is no `ratio`")
            .help("write `trip ratio=0.5 min=10`, or delete `min`");
    }
}

/// What a `breaker` says, and the table where it does not.
pub(in crate::spec) fn breaker(fields: &Fields<'_>) -> Breaker {
    let trip = fields.setting("trip");
    let ratio = fields.child("trip").and_then(|child| child.prop("ratio")?.number());
    Breaker {
        trip: match ratio {
            Some(ratio) => BreakerTrip::Ratio(ratio.value, trip.prop("min", count)),
            None => BreakerTrip::After(trip.prop("after", count)),
        },
        within: trip.prop("within", duration),
        open_for: fields.setting("open-for").arg(0, duration),
        probes: fields.setting("probes").arg(0, count),
    }
}
