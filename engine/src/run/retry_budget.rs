//! How many deliveries that failed before may be tried again, beside those that are new: a target
//! that has just come back is not run down by what it missed.

use std::time::Duration;

/// Retries that are allowed in a minute whatever else happens.
const FLOOR: u64 = 10;
/// So many first attempts earn one retry.
const FIRST_FOR_RETRY: u64 = 5;
/// The window, in seconds.
const WINDOW: u64 = 60;

/// Counts of the last minute, by second. Times are of the monotonic clock.
#[derive(Debug, Clone)]
struct MinuteCount {
    seconds: [u64; WINDOW as usize],
    /// The second that was counted last.
    last: u64,
}

impl MinuteCount {
    fn new() -> Self {
        MinuteCount { seconds: [0; WINDOW as usize], last: 0 }
    }

    /// Forgets what is older than a minute.
    fn move_to(&mut self, now: Duration) {
        let second = now.as_secs();
        let passed = second.saturating_sub(self.last).min(WINDOW);
        for back in 0..passed {
            self.seconds[((second - back) % WINDOW) as usize] = 0;
        }
        self.last = self.last.max(second);
    }

    fn add(&mut self, now: Duration) {
        self.move_to(now);
        self.seconds[(self.last % WINDOW) as usize] += 1;
    }

    fn sum(&mut self, now: Duration) -> u64 {
        self.move_to(now);
        self.seconds.iter().sum()
    }

    /// How long until the oldest that counts is forgotten.
    fn next_forgotten(&mut self, now: Duration) -> Option<Duration> {
        self.move_to(now);
        let oldest = (self.last + 1).saturating_sub(WINDOW)..=self.last;
        let second = oldest.into_iter().find(|it| 0 < self.seconds[(it % WINDOW) as usize])?;
        Some(Duration::from_secs(second + WINDOW).saturating_sub(now))
    }
}

/// The retries of one target. A retry that succeeds costs nothing, so a target that works is
/// never held up; of those that fail there is at most one for five first attempts in a minute, and
/// ten besides.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    first: MinuteCount,
    failed: MinuteCount,
    under_way: u64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        RetryBudget { first: MinuteCount::new(), failed: MinuteCount::new(), under_way: 0 }
    }
}

impl RetryBudget {
    /// How many retries may begin now.
    pub fn available(&mut self, now: Duration) -> u64 {
        let earned = FLOOR + self.first.sum(now) / FIRST_FOR_RETRY;
        earned.saturating_sub(self.failed.sum(now) + self.under_way)
    }

    /// How long until one may begin, as far as time alone decides.
    pub fn wait(&mut self, now: Duration) -> Duration {
        if 0 < self.available(now) {
            return Duration::ZERO;
        }
        self.failed.next_forgotten(now).unwrap_or(Duration::from_secs(1))
    }

    /// An attempt begins.
    pub fn begin(&mut self, is_retry: bool, now: Duration) {
        if is_retry {
            self.under_way += 1;
        } else {
            self.first.add(now);
        }
    }

    /// A retry that began has ended, or was given up.
    pub fn end_retry(&mut self, has_failed: bool, now: Duration) {
        debug_assert!(0 < self.under_way, "what ends has begun");
        self.under_way = self.under_way.saturating_sub(1);
        if has_failed {
            self.failed.add(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(budget: &mut RetryBudget, now: Duration) -> bool {
        let may = 0 < budget.available(now);
        if may {
            budget.begin(true, now);
            budget.end_retry(true, now);
        }
        may
    }

    #[test]
    fn retries_that_fail_are_a_fifth_of_the_first_attempts_and_ten_a_minute() {
        let mut budget = RetryBudget::default();
        (0..100).for_each(|_| budget.begin(false, at(5)));
        let failed = (0..1000).filter(|it| fail(&mut budget, at(5 + it / 20))).count();
        assert_eq!(failed, 30);
        assert_eq!(budget.wait(at(55)), at(10), "the first failed at 5");
        // What counted is a minute old, and so are the attempts that earned it.
        assert_eq!(budget.available(at(200)), 10);
    }

    #[test]
    fn retries_that_succeed_cost_nothing() {
        let mut budget = RetryBudget::default();
        for _ in 0..1000 {
            assert!(0 < budget.available(at(1)));
            budget.begin(true, at(1));
            budget.end_retry(false, at(1));
        }
        assert_eq!(budget.available(at(1)), 10);
    }

    #[test]
    fn no_more_are_under_way_than_may_fail() {
        let mut budget = RetryBudget::default();
        (0..10).for_each(|_| budget.begin(true, at(1)));
        assert_eq!(budget.available(at(1)), 0);
        budget.end_retry(false, at(2));
        assert_eq!(budget.available(at(2)), 1);
    }

    /// However the attempts fall, no minute has more failed retries than the rule allows.
    #[test]
    fn no_minute_exceeds_the_budget() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut budget = RetryBudget::default();
            let (mut first, mut failed) = (Vec::new(), Vec::new());
            let mut now = 0;
            for _ in 0..2000 {
                now += random.u64(0..400);
                let moment = Duration::from_millis(now);
                if random.bool() {
                    budget.begin(false, moment);
                    first.push(now);
                } else if fail(&mut budget, moment) {
                    failed.push(now);
                }
                let recent = |all: &[u64]| all.iter().filter(|it| now < **it + 59_000).count();
                let (first, failed) = (recent(&first), recent(&failed));
                let earned = 10 + first.div_ceil(5) + 2;
                assert!(failed <= earned + 2, "seed {seed}: {failed} of {first} at {now} ms");
            }
        }
    }
}
