//! The longest that stages may take, against the time that an event has.
//!
//! Only stages that ask something outside take time that is worth counting; stages that do not
//! wait for each other run side by side.

use super::policy::{self, CallPolicy, PolicyRole};
use crate::spec::{Enrichment, Name, Spec};
use kernel::time::write_duration;
use language::diagnostic::{Diagnostics, Rule};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reports each stage that alone may outlast an event, else the slowest chain that may.
pub(super) fn check(spec: &Spec, order: &[usize], diagnostics: &mut Diagnostics) {
    let limit = spec.limits.event_timeout.value;
    let stages: Vec<Timed<'_>> =
        spec.enrichments.iter().map(|enrichment| Timed::of(spec, enrichment)).collect();
    let mut is_reported = false;
    for stage in stages.iter().filter(|stage| limit < stage.worst) {
        alone(spec, stage, limit, diagnostics);
        is_reported = true;
    }
    if !is_reported && let Some(chain) = slowest(spec, &stages, order) {
        together(spec, &chain, limit, diagnostics);
    }
}

struct Timed<'a> {
    name: &'a Name,
    policy: CallPolicy,
    /// The longest from its first try to its last fault.
    worst: Duration,
}

impl<'a> Timed<'a> {
    fn of(spec: &'a Spec, stage: &'a Enrichment) -> Self {
        let policy =
            policy::resolve(spec, PolicyRole::Enrich, stage.policy.as_ref(), &stage.failure);
        let waits = stage.spec.is_remote() && !stage.is_disabled;
        let worst = if waits { policy.worst(policy.retries) } else { Duration::ZERO };
        Timed { name: &stage.name, policy, worst }
    }
}

impl CallPolicy {
    /// The longest from the first try to the last fault with so many further tries; what another
    /// side asks for by `Retry-After` is not counted.
    fn worst(&self, retries: Option<u32>) -> Duration {
        let by_time = self.give_up.saturating_add(self.timeout);
        let Some(retries) = retries else { return by_time };
        (self.timeout.saturating_mul(retries.saturating_add(1)))
            .saturating_add(self.waiting(retries))
            .min(by_time)
    }

    /// The waits before so many further tries, each as long as it can be.
    fn waiting(&self, retries: u32) -> Duration {
        (1..=retries).fold(Duration::ZERO, |sum, it| sum.saturating_add(self.backoff.wait(it, 1.0)))
    }

    /// The most further tries that leave a quarter of the time to others, or at least fit.
    fn fitting(&self, limit: Duration) -> Option<u32> {
        let most = self.retries.unwrap_or(200);
        let fits = |limit: Duration| (0..=most).rev().find(|it| self.worst(Some(*it)) <= limit);
        fits(limit * 3 / 4).or_else(|| fits(limit))
    }

    /// How the longest comes about: `9 attempts × 10s + 51s of waiting`.
    fn in_words(&self) -> String {
        match self.retries {
            Some(0) => format!("1 attempt × {}", lasting(self.timeout)),
            Some(retries) => format!(
                "{} attempts × {} + {} of waiting",
                retries + 1,
                lasting(self.timeout),
                lasting(self.waiting(retries))
            ),
            None => format!("it retries for up to {}", lasting(self.give_up)),
        }
    }
}

fn alone(spec: &Spec, stage: &Timed<'_>, limit: Duration, diagnostics: &mut Diagnostics) {
    let message = format!(
        "this stage can take {} but `event-timeout` is {}",
        lasting(stage.worst),
        lasting(limit)
    );
    let advice = match stage.policy.fitting(limit) {
        Some(retries) => {
            let takes = stage.policy.worst(Some(retries));
            format!("use `retry {retries}` (≈ {})", lasting(takes))
        }
        None => format!("use `timeout \"{}\"`", short(limit / 2)),
    };
    let found = diagnostics
        .push(Rule::TooSlow, message)
        .at(stage.name.span.clone(), "this stage")
        .help(format!("{}; {advice} or raise `event-timeout`", stage.policy.in_words()));
    label_limit(spec, found);
}

fn together(spec: &Spec, chain: &[&Timed<'_>], limit: Duration, diagnostics: &mut Diagnostics) {
    let whole = chain.iter().fold(Duration::ZERO, |sum, it| sum.saturating_add(it.worst));
    if whole <= limit {
        return;
    }
    let (can, may) = (lasting(whole), lasting(limit));
    // Rounded, the two may look the same.
    let can = if can == may { format!("{:.1}s", whole.as_secs_f64()) } else { can };
    let names: Vec<&str> = chain.iter().map(|it| it.name.value.as_str()).collect();
    let message = format!("these stages can take {can} in sequence, but `event-timeout` is {may}");
    let found = diagnostics.push(Rule::TooSlow, message);
    // The last one first: it is the one that would be cut off.
    for stage in chain.iter().rev() {
        found.at(stage.name.span.clone(), format!("up to {}", lasting(stage.worst)));
    }
    found.help(format!(
        "{}: use fewer attempts or a shorter `timeout`, drop an `after` that is not needed, or raise \
         `event-timeout` to \"{}\"",
        names.join(" → "),
        short(whole.saturating_add(Duration::from_millis(999)))
    ));
    label_limit(spec, found);
}

fn label_limit(spec: &Spec, found: &mut language::diagnostic::Diagnostic) {
    let limit = &spec.limits.event_timeout;
    // The built-in one stands nowhere.
    if !limit.span.is_empty() {
        found.at(limit.span.clone(), "this limit");
    }
}

/// The stages that take time on the slowest way through `after` and `needs`, in their order.
fn slowest<'s, 'a>(
    spec: &Spec,
    stages: &'s [Timed<'a>],
    order: &[usize],
) -> Option<Vec<&'s Timed<'a>>> {
    let index: BTreeMap<&str, usize> =
        spec.enrichments.iter().enumerate().map(|(at, it)| (it.name.value.as_str(), at)).collect();
    let mut ends: Vec<(Duration, Option<usize>)> = vec![(Duration::ZERO, None); stages.len()];
    for at in order {
        let stage = &spec.enrichments[*at];
        let before = stage.after.iter().chain(&stage.needs);
        let slowest = before
            .filter_map(|it| index.get(it.value.as_str()).copied())
            .max_by_key(|it| ends[*it].0);
        let begins = slowest.map_or(Duration::ZERO, |slowest| ends[slowest].0);
        ends[*at] = (begins.saturating_add(stages[*at].worst), slowest);
    }
    let mut next = (0..stages.len()).max_by_key(|it| ends[*it].0);
    let mut chain = Vec::new();
    while let Some(at) = next {
        chain.push(&stages[at]);
        next = ends[at].1;
    }
    chain.retain(|it| !it.worst.is_zero());
    chain.reverse();
    (1 < chain.len()).then_some(chain)
}

/// `2m 21s`, `41s`, `1.4s`, `200ms`.
fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match duration.as_millis() {
        millis if millis < 1000 => format!("{millis}ms"),
        millis if millis < 10_000 && millis % 1000 != 0 => format!("{:.1}s", millis as f64 / 1e3),
        _ if seconds < 120 => format!("{seconds}s"),
        _ if seconds < 7200 => with_rest(seconds, 60, "m", "s"),
        _ => with_rest(seconds / 60, 60, "h", "m"),
    }
}

fn with_rest(count: u64, size: u64, unit: &str, rest: &str) -> String {
    match count % size {
        0 => format!("{}{unit}", count / size),
        left => format!("{}{unit} {left}{rest}", count / size),
    }
}

/// A duration as the file writes it, rounded down.
fn short(duration: Duration) -> String {
    match duration.as_secs() {
        0 => write_duration(duration.max(Duration::from_millis(10))),
        seconds => write_duration(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Backoff;

    fn policy(timeout: u64, retries: Option<u32>, give_up: u64) -> CallPolicy {
        CallPolicy {
            timeout: Duration::from_secs(timeout),
            retries,
            on: Vec::new(),
            give_up: Duration::from_secs(give_up),
            backoff: Backoff::default(),
            breaker: None,
            rate: None,
            concurrency: 1,
        }
    }

    #[test]
    fn the_longest_is_every_attempt_and_every_wait() {
        let slow = policy(10, Some(8), 86_400);
        assert_eq!(slow.worst(slow.retries), Duration::from_secs(141));
        assert_eq!(slow.in_words(), "9 attempts × 10s + 51s of waiting");
        assert_eq!(slow.fitting(Duration::from_secs(60)), Some(3));
    }

    #[test]
    fn an_end_by_time_bounds_it() {
        let by_time = policy(10, None, 30);
        assert_eq!(by_time.worst(None), Duration::from_secs(40));
        let both = policy(10, Some(8), 30);
        assert_eq!(both.worst(both.retries), Duration::from_secs(40));
    }

    #[test]
    fn what_cannot_fit_is_not_proposed() {
        assert_eq!(policy(10, Some(1), 86_400).fitting(Duration::from_secs(5)), None);
        assert_eq!(policy(10, Some(1), 86_400).fitting(Duration::from_secs(11)), Some(0));
    }

    #[test]
    fn durations_are_told_as_people_say_them() {
        let check = |millis, text| assert_eq!(lasting(Duration::from_millis(millis)), text);
        check(200, "200ms");
        check(1400, "1.4s");
        check(41_400, "41s");
        check(60_000, "60s");
        check(141_000, "2m 21s");
        check(7_200_000, "2h");
        check(86_400_000, "24h");
    }
}
