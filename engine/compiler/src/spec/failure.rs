//! Failure handling as the file says it, in layers: what a node leaves open comes from its
//! policy, then from `defaults`, then from the engine.

use super::Name;
use super::read::failure as read;
use crate::grammar;
use kernel::choice;
use language::Fields;
use language::Rate;
use std::time::Duration;

/// What one layer says; what is `None` comes from the layer below.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FailureHandling {
    /// Per attempt.
    pub timeout: Option<Duration>,
    /// After a transient fault.
    pub retry: Option<Retry>,
    /// Stops asking what does not answer; `Some(None)` switches one off that a lower layer has.
    pub breaker: Option<Option<Breaker>>,
    /// How often it is asked.
    pub rate: Option<RateLimit>,
    /// How many calls run at once.
    pub concurrency: Option<usize>,
}

/// A named layer.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyNode {
    /// Its name.
    pub name: Name,
    /// The policy that it builds on.
    pub base: Option<Name>,
    /// What it says itself.
    pub failure: FailureHandling,
}

/// The layer below every policy, by role.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defaults {
    /// For `enrich`.
    pub enrich: FailureHandling,
    /// For `sink`.
    pub sink: FailureHandling,
    /// For `notify`.
    pub notify: FailureHandling,
}

/// Further tries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retry {
    /// How many.
    pub attempts: Option<u32>,
    /// After which causes; empty is any transient one.
    pub on: Option<Vec<String>>,
    /// The longest time from the first try.
    pub give_up: Option<Duration>,
    /// The wait between attempts.
    pub backoff: Option<Backoff>,
}

/// The wait between attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// How the wait grows.
    pub curve: BackoffCurve,
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Growth per try, of the exponential curve.
    pub factor: f64,
    /// How it is spread.
    pub jitter: Jitter,
}

choice! {
    /// How a wait grows.
    pub enum BackoffCurve {
        /// By a factor.
        Exponential = "exponential",
        /// By `base`.
        Linear = "linear",
        /// Not at all.
        Constant = "constant",
    }
}

choice! {
    /// How a wait is spread.
    pub enum Jitter {
        /// It is drawn between nothing and its full length.
        Full = "full",
        /// It is what the curve says.
        None = "none",
    }
}

/// Stops asking what does not answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// When it opens.
    pub trip: BreakerTrip,
    /// Faults older than this are forgotten.
    pub within: Duration,
    /// How long no calls are made.
    pub open_for: Duration,
    /// Answers after that time until it is closed again.
    pub probes: u32,
}

/// When a breaker opens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BreakerTrip {
    /// After so many faults.
    After(usize),
    /// When this part of the answers are faults, of at least so many.
    Ratio(f64, usize),
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimit {
    /// In the long run.
    pub rate: Rate,
    /// At once.
    pub burst: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        read::backoff(&Fields::absent(&grammar::BACKOFF))
    }
}

impl Default for Breaker {
    fn default() -> Self {
        read::breaker(&Fields::absent(&grammar::BREAKER))
    }
}

impl FailureHandling {
    /// This layer over `below`.
    #[must_use]
    pub fn over(&self, below: &FailureHandling) -> FailureHandling {
        let retry = match (&self.retry, &below.retry) {
            (Some(own), Some(below)) => Some(own.over(below)),
            (own, below) => own.as_ref().or(below.as_ref()).cloned(),
        };
        FailureHandling {
            timeout: self.timeout.or(below.timeout),
            retry,
            breaker: self.breaker.clone().or_else(|| below.breaker.clone()),
            rate: self.rate.or(below.rate),
            concurrency: self.concurrency.or(below.concurrency),
        }
    }
}

impl Retry {
    /// A layer that says when to give up and not how often to try means: by time alone.
    fn over(&self, below: &Retry) -> Retry {
        let says_end = self.attempts.is_some() || self.give_up.is_some();
        Retry {
            attempts: if says_end { self.attempts } else { below.attempts },
            on: self.on.clone().or_else(|| below.on.clone()),
            give_up: self.give_up.or(below.give_up),
            backoff: self.backoff.clone().or_else(|| below.backoff.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(attempts: Option<u32>, give_up: Option<u64>) -> Retry {
        Retry { attempts, give_up: give_up.map(Duration::from_secs), ..Retry::default() }
    }

    #[test]
    fn a_layer_fills_what_the_one_above_leaves_open() {
        let own =
            FailureHandling { retry: Some(retry(Some(5), None)), ..FailureHandling::default() };
        let base = Retry { on: Some(vec!["5xx".into()]), ..retry(Some(3), Some(60)) };
        let base = FailureHandling {
            timeout: Some(Duration::from_secs(1)),
            retry: Some(base),
            ..FailureHandling::default()
        };
        let both = own.over(&base);
        let retry = both.retry.expect("a retry");
        assert_eq!(both.timeout, Some(Duration::from_secs(1)));
        assert_eq!((retry.attempts, retry.give_up), (Some(5), Some(Duration::from_secs(60))));
        assert_eq!(retry.on, Some(vec!["5xx".to_owned()]));
    }

    #[test]
    fn an_end_by_time_is_not_cut_short_by_a_count_from_below() {
        let both = retry(None, Some(60)).over(&retry(Some(3), None));
        assert_eq!((both.attempts, both.give_up), (None, Some(Duration::from_secs(60))));
        let both = retry(None, None).over(&retry(Some(3), None));
        assert_eq!(both.attempts, Some(3));
    }

    #[test]
    fn a_breaker_from_below_can_be_switched_off() {
        let below = FailureHandling {
            breaker: Some(Some(Breaker::default())),
            ..FailureHandling::default()
        };
        let off = FailureHandling { breaker: Some(None), ..FailureHandling::default() };
        assert_eq!(off.over(&below).breaker, Some(None));
        assert_eq!(FailureHandling::default().over(&below).breaker, Some(Some(Breaker::default())));
    }
}
