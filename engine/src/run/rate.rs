//! How often something may happen: the generic cell rate algorithm (ITU-T I.371), which is a
//! token bucket that needs one number.

use compiler::spec;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The rate of one stage, target or key. Times are of the monotonic clock.
#[derive(Debug)]
pub struct RateLimiter {
    /// Time that one call stands for.
    interval: Duration,
    /// How far calls may run ahead of the rate.
    tolerance: Duration,
    /// When the next call would be due at an even rate.
    next: Mutex<Duration>,
}

impl RateLimiter {
    /// Nothing has happened yet.
    pub fn new(settings: spec::RateLimit) -> Self {
        let interval = settings.rate.per.div_f64(settings.rate.count.max(f64::MIN_POSITIVE));
        let tolerance = interval * settings.burst.saturating_sub(1);
        RateLimiter { interval, tolerance, next: Mutex::new(Duration::ZERO) }
    }

    /// Takes the next place; how long to wait for it. Places are given in the order of asking.
    pub fn reserve(&self, now: Duration) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = (*next).max(now);
        *next = due + self.interval;
        due.saturating_sub(self.tolerance).saturating_sub(now)
    }

    /// Takes a place if one is free now.
    pub fn take(&self, now: Duration) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = (*next).max(now);
        let is_free = due.saturating_sub(self.tolerance) <= now;
        if is_free {
            *next = due + self.interval;
        }
        is_free
    }

    /// How long until a place is free.
    pub fn wait(&self, now: Duration) -> Duration {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.saturating_sub(self.tolerance).saturating_sub(now)
    }

    /// Whether it is as if nothing had happened.
    pub fn is_idle(&self, now: Duration) -> bool {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::parse_rate;

    fn pace(rate: &str, burst: u32) -> RateLimiter {
        RateLimiter::new(spec::RateLimit { rate: parse_rate(rate).expect("a rate"), burst })
    }

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn calls_beyond_the_burst_wait_their_turn() {
        let pace = pace("10/s", 2);
        let waits: Vec<Duration> = (0..4).map(|_| pace.reserve(millis(1000))).collect();
        assert_eq!(waits, [millis(0), millis(0), millis(100), millis(200)]);
        assert_eq!(pace.reserve(millis(5000)), millis(0), "what was not used is not saved up");
    }

    #[test]
    fn what_does_not_fit_now_takes_no_place() {
        let pace = pace("1/s", 1);
        assert!(pace.take(millis(0)));
        assert!(!pace.take(millis(999)));
        assert_eq!(pace.wait(millis(999)), millis(1));
        assert!(!pace.is_idle(millis(999)));
        assert!(pace.take(millis(1000)));
        assert!(pace.is_idle(millis(2000)));
    }
}
