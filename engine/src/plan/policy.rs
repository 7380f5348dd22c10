//! Failure handling with every value known.

use crate::spec::{Backoff, Breaker, Curve, Failure, Name, Pace, PolicyNode, Spec};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Failure handling with every value known.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Per attempt.
    pub timeout: Duration,
    /// Most further tries; `None` is until `give_up`.
    pub retries: Option<u32>,
    /// After which causes; empty is any transient one.
    pub on: Vec<String>,
    /// The longest time from the first try.
    pub give_up: Duration,
    /// The wait between tries.
    pub backoff: Backoff,
    /// Stops asking what does not answer.
    pub breaker: Option<Breaker>,
    /// How often it is asked.
    pub rate: Option<Pace>,
    /// Calls at once.
    pub concurrency: usize,
}

/// A role that has failure handling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `enrich`.
    Enrich,
    /// `sink`.
    Sink,
    /// `notify`.
    Notify,
}

impl Role {
    /// What `defaults` says for this role.
    pub fn defaults(self, spec: &Spec) -> &Failure {
        match self {
            Role::Enrich => &spec.defaults.enrich,
            Role::Sink => &spec.defaults.sink,
            Role::Notify => &spec.defaults.notify,
        }
    }

    /// What holds where nobody says anything: timeout, further tries, calls at once. What leaves
    /// the machine must outlive a night's outage, so its tries end by time.
    fn built_in(self) -> (Duration, Option<u32>, usize) {
        match self {
            Role::Enrich => (Duration::from_secs(2), Some(0), 8),
            Role::Sink | Role::Notify => (Duration::from_secs(10), None, 1),
        }
    }
}

/// A layer of failure handling and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// `policy lan`, `defaults`; empty for the node itself.
    pub origin: &'a str,
    /// What it says.
    pub failure: &'a Failure,
}

/// The node's own word first, then its policy and what that builds on, then `defaults`.
pub fn layers<'a>(
    spec: &'a Spec,
    role: Role,
    named: Option<&Name>,
    own: &'a Failure,
) -> Vec<Layer<'a>> {
    let mut layers = vec![Layer { origin: "", failure: own }];
    let mut next = named.and_then(|it| find(&spec.policies, it));
    while let Some(policy) = next {
        layers.push(Layer { origin: &policy.name.value, failure: &policy.failure });
        // A circle of policies was reported; it must not hang the check.
        let is_circle = super::names::POLICIES_DEEP < layers.len();
        next = policy.base.as_ref().filter(|_| !is_circle).and_then(|it| find(&spec.policies, it));
    }
    layers.push(Layer { origin: "defaults", failure: role.defaults(spec) });
    layers
}

fn find<'a>(policies: &'a [PolicyNode], name: &Name) -> Option<&'a PolicyNode> {
    policies.iter().find(|it| it.name.value == name.value)
}

/// What the layers come to.
pub fn resolve(spec: &Spec, role: Role, named: Option<&Name>, own: &Failure) -> Policy {
    let layers = layers(spec, role, named, own);
    let said = layers.iter().fold(Failure::default(), |above, it| above.over(it.failure));
    let (timeout, retries, concurrency) = role.built_in();
    let retry = said.retry;
    Policy {
        timeout: said.timeout.unwrap_or(timeout),
        retries: retry.as_ref().map_or(retries, |it| it.attempts),
        on: retry.as_ref().and_then(|it| it.on.clone()).unwrap_or_default(),
        give_up: retry.as_ref().and_then(|it| it.give_up).unwrap_or(DAY),
        backoff: retry.and_then(|it| it.backoff).unwrap_or_default(),
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
            Curve::Constant => base,
            Curve::Linear => base * f64::from(attempt),
            Curve::Exponential => {
                base * self.factor.powi(i32::try_from(attempt - 1).unwrap_or(i32::MAX))
            }
        };
        let capped = grown.min(self.max.as_secs_f64());
        Duration::from_secs_f64(if self.has_jitter { capped * ratio } else { capped })
    }
}
