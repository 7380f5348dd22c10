//! Whether and how often something outside may be called.

use super::breaker::CircuitBreaker;
use super::rate::RateLimiter;
use compiler::plan::CallPolicy;
use kernel::env::Clock;
use std::sync::Arc;

/// The limits on the calls of one stage or target. Each may be shared with the generation before,
/// so that a reload forgets neither an open breaker nor the calls of this minute.
#[derive(Debug, Default)]
pub struct CallLimits {
    /// Stops calling a service that keeps failing.
    pub breaker: Option<Arc<CircuitBreaker>>,
    /// How often it is called.
    pub rate: Option<Arc<RateLimiter>>,
}

/// Which of the limits of an earlier generation are kept.
#[derive(Debug, Clone, Copy)]
pub struct KeptLimits<'a> {
    /// Those limits.
    pub earlier: &'a CallLimits,
    /// Whether the breaker is kept.
    pub breaker: bool,
    /// Whether the rate is kept.
    pub rate: bool,
}

impl CallLimits {
    /// As the policy says.
    pub fn new(policy: &CallPolicy, kept: Option<KeptLimits<'_>>) -> Self {
        let breaker = kept.filter(|it| it.breaker).and_then(|it| it.earlier.breaker.clone());
        let rate = kept.filter(|it| it.rate).and_then(|it| it.earlier.rate.clone());
        let new_breaker =
            || policy.breaker.clone().map(|breaker| Arc::new(CircuitBreaker::new(breaker)));
        let new_rate = || policy.rate.map(|rate| Arc::new(RateLimiter::new(rate)));
        CallLimits { breaker: breaker.or_else(new_breaker), rate: rate.or_else(new_rate) }
    }

    /// Waits until the rate allows another call.
    pub async fn in_turn(&self, clock: &dyn Clock) {
        let Some(rate) = &self.rate else { return };
        let wait = rate.reserve(clock.monotonic());
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
    }
}
