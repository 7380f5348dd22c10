//! Failure handling with every value known.

use crate::spec::{
    Backoff, BackoffCurve, Breaker, FailureHandling, Jitter, Name, PolicyNode, RateLimit, Spec,
};
use kernel::fault::{Cause, Fault, FaultClass};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// The wish of the other side, when to be called again, is honoured up to this.
pub const WISH_MAX: Duration = Duration::from_secs(3600);

/// Failure handling with every value known.
#[derive(Debug, Clone, PartialEq)]
pub struct CallPolicy {
    /// Per attempt.
    pub timeout: Duration,
    /// Most further tries; `None` is until `give_up`.
    pub retries: Option<u32>,
    /// After which causes; empty is any transient one.
    pub on: Vec<String>,
    /// The longest time from the first try.
    pub give_up: Duration,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// Stops asking what does not answer.
    pub breaker: Option<Breaker>,
    /// How often it is asked.
    pub rate: Option<RateLimit>,
    /// How many calls run at once.
    pub concurrency: usize,
}

impl CallPolicy {
    /// How long to wait before the next try, if there is to be one after `attempts` tries.
    pub fn wait_after(&self, fault: &Fault, attempts: u32, ratio: f64) -> Option<Duration> {
        if !self.retries_after(fault) || self.retries.is_some_and(|most| most < attempts) {
            return None;
        }
        let own = self.backoff.wait(attempts, ratio);
        let wished = fault.retry_after.map(|wish| wish.min(WISH_MAX));
        Some(wished.map_or(own, |wish| wish.max(own)))
    }

    /// Whether the fault is worth another try: what `retry on=` says decides, and without it the
    /// class of the fault.
    fn retries_after(&self, fault: &Fault) -> bool {
        if self.on.is_empty() { fault.is_transient() } else { self.covers(fault.cause) }
    }

    /// Whether the fault concerns everything that is sent there, so that deliveries wait for
    /// somebody who corrects it. `retry on=` may name its status, and then it is retried instead.
    pub fn pauses_for(&self, fault: &Fault) -> bool {
        let is_named = !self.on.is_empty() && self.covers(fault.cause);
        fault.class == FaultClass::Configuration && !is_named
    }

    fn covers(&self, cause: Cause) -> bool {
        let covers = |word: &String| match (word.as_str(), cause) {
            ("any", _) | ("timeout", Cause::Timeout) | ("connect", Cause::Connect) => true,
            ("5xx", Cause::Status(status)) => (500..600).contains(&status),
            ("4xx", Cause::Status(status)) => (400..500).contains(&status),
            (word, Cause::Status(status)) => word.parse() == Ok(status),
            _ => false,
        };
        self.on.iter().any(covers)
    }
}

/// A role that has failure handling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyRole {
    /// `enrich`.
    Enrich,
    /// `sink`.
    Sink,
    /// `notify`.
    Notify,
}

impl PolicyRole {
    /// What `defaults` says for this role.
    pub fn defaults(self, spec: &Spec) -> &FailureHandling {
        match self {
            PolicyRole::Enrich => &spec.defaults.enrich,
            PolicyRole::Sink => &spec.defaults.sink,
            PolicyRole::Notify => &spec.defaults.notify,
        }
    }

    /// What holds where nobody says anything: timeout, further tries, calls at once. What leaves
    /// the machine must outlive a night's outage, so its tries end by time.
    fn built_in(self) -> (Duration, Option<u32>, usize) {
        match self {
            PolicyRole::Enrich => (Duration::from_secs(2), Some(0), 8),
            PolicyRole::Sink | PolicyRole::Notify => (Duration::from_secs(10), None, 1),
        }
    }
}

/// A layer of failure handling and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// `policy lan`, `defaults`; empty for the node itself.
    pub origin: &'a str,
    /// What it says.
    pub failure: &'a FailureHandling,
}

/// The node's own word first, then its policy and what that builds on, then `defaults`.
pub fn layers<'a>(
    spec: &'a Spec,
    role: PolicyRole,
    named: Option<&Name>,
    own: &'a FailureHandling,
) -> Vec<Layer<'a>> {
    let mut layers = vec![Layer { origin: "", failure: own }];
    let mut next = named.and_then(|named| find(&spec.policies, named));
    while let Some(policy) = next {
        layers.push(Layer { origin: &policy.name.value, failure: &policy.failure });
        // A circle of policies was reported; it must not hang the check.
        let is_circle = super::names::POLICIES_DEEP < layers.len();
        next =
            policy.base.as_ref().filter(|_| !is_circle).and_then(|base| find(&spec.policies, base));
    }
    layers.push(Layer { origin: "defaults", failure: role.defaults(spec) });
    layers
}

fn find<'a>(policies: &'a [PolicyNode], name: &Name) -> Option<&'a PolicyNode> {
    policies.iter().find(|policy| policy.name.value == name.value)
}

/// What the layers come to.
pub fn resolve(
    spec: &Spec,
    role: PolicyRole,
    named: Option<&Name>,
    own: &FailureHandling,
) -> CallPolicy {
    let layers = layers(spec, role, named, own);
    let said = layers.iter().fold(FailureHandling::default(), |above, it| above.over(it.failure));
    let (timeout, retries, concurrency) = role.built_in();
    let retry = said.retry;
    CallPolicy {
        timeout: said.timeout.unwrap_or(timeout),
        retries: retry.as_ref().map_or(retries, |retry| retry.attempts),
        on: retry.as_ref().and_then(|retry| retry.on.clone()).unwrap_or_default(),
        give_up: retry.as_ref().and_then(|retry| retry.give_up).unwrap_or(DAY),
        backoff: retry.and_then(|retry| retry.backoff).unwrap_or_default(),
        breaker: said.breaker.flatten(),
        rate: said.rate,
        concurrency: said.concurrency.unwrap_or(concurrency),
    }
}

impl Backoff {
    /// The wait before try number `attempt` (the first retry is 1); `ratio` in `0..1` is the draw
    /// of full jitter (Amazon's "Exponential Backoff and Jitter").
    pub fn wait(&self, attempt: u32, ratio: f64) -> Duration {
        let base = self.base.as_secs_f64();
        let grown = match self.curve {
            BackoffCurve::Constant => base,
            BackoffCurve::Linear => base * f64::from(attempt),
            BackoffCurve::Exponential => {
                base * self.factor.powi(i32::try_from(attempt - 1).unwrap_or(i32::MAX))
            }
        };
        let capped = grown.min(self.max.as_secs_f64());
        Duration::from_secs_f64(match self.jitter {
            Jitter::Full => capped * ratio,
            Jitter::None => capped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &str) -> CallPolicy {
        CallPolicy {
            timeout: Duration::from_secs(1),
            retries: Some(1),
            on: on.split_whitespace().map(str::to_owned).collect(),
            give_up: Duration::from_secs(60),
            backoff: Backoff { jitter: Jitter::None, ..Backoff::default() },
            breaker: None,
            rate: None,
            concurrency: 1,
        }
    }

    fn fault(status: u16) -> Fault {
        let class = match status {
            401 | 403 => FaultClass::Configuration,
            500..=599 => FaultClass::Transient,
            _ => FaultClass::Permanent,
        };
        let cause = Cause::Status(status);
        Fault { class, reason: status.to_string(), cause, retry_after: None }
    }

    /// What each policy does with each status: `r` retries, `p` pauses the target, `d` gives up.
    #[test]
    fn retry_on_decides_and_without_it_the_class_of_the_status() {
        let decided = |on: &str| -> String {
            let policy = policy(on);
            let decide = |status: &u16| {
                let fault = fault(*status);
                let retries = policy.wait_after(&fault, 1, 1.0).is_some();
                match (retries, policy.pauses_for(&fault)) {
                    (true, false) => 'r',
                    (false, true) => 'p',
                    (false, false) => 'd',
                    (true, true) => '!',
                }
            };
            [500, 404, 401, 403, 429].iter().map(decide).collect()
        };
        for (on, expected) in [
            ("", "rdppd"),
            ("5xx", "rdppd"),
            ("4xx", "drrrr"),
            ("any", "rrrrr"),
            ("404 429", "drppr"),
            ("timeout", "ddppd"),
            ("403", "ddprd"),
        ] {
            assert_eq!(decided(on), expected, "retry on={on:?}");
        }
    }

    #[test]
    fn the_wish_of_the_other_side_is_honoured_up_to_an_hour() {
        let mut busy = fault(503);
        let wait = |busy: &Fault| policy("").wait_after(busy, 1, 1.0).map(|it| it.as_millis());
        assert_eq!(wait(&busy), Some(200));
        busy.retry_after = Some(Duration::from_secs(7));
        assert_eq!(wait(&busy), Some(7000));
        busy.retry_after = Some(Duration::from_secs(86_400));
        assert_eq!(wait(&busy), Some(3_600_000));
    }
}
