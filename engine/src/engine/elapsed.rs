//! How long something has waited, whatever was done to the wall clock meanwhile.

use kernel::env::Clock;
use kernel::time::Timestamp;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A wall clock that moves by more than this against the steady one was set.
const SET_MIN: Duration = Duration::from_secs(10);
/// The times that the clock was set that are remembered; more than the newest ones help nobody.
const SPANS_MAX: usize = 16;

/// The times between which the wall clock was not set, as far as the engine has run.
#[derive(Debug)]
pub(super) struct WallHistory {
    /// The oldest first; never empty.
    spans: Mutex<VecDeque<WallSpan>>,
}

/// When a span began, by both clocks.
#[derive(Debug, Clone, Copy)]
struct WallSpan {
    wall: Timestamp,
    monotonic: Duration,
}

impl WallSpan {
    fn now(clock: &dyn Clock) -> WallSpan {
        WallSpan { wall: clock.wall(), monotonic: clock.monotonic() }
    }

    /// The time by the wall clock, had it not been set since.
    fn wall_at(&self, monotonic: Duration) -> Timestamp {
        self.wall.plus(monotonic.saturating_sub(self.monotonic))
    }
}

impl WallHistory {
    /// From now on.
    pub(super) fn new(clock: &dyn Clock) -> WallHistory {
        WallHistory { spans: Mutex::new(VecDeque::from([WallSpan::now(clock)])) }
    }

    /// How long ago `moment` was. What happened before the engine started, or by a clock that was
    /// ahead then, counts from the start or from when the clock was set: nobody knows how long the
    /// engine was off, and a delivery that it finds has all its time again.
    pub(super) fn elapsed(&self, moment: Timestamp, clock: &dyn Clock) -> Duration {
        let now = WallSpan::now(clock);
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = spans.back().map_or(now.wall, |span| span.wall_at(now.monotonic));
        if SET_MIN < now.wall.since(expected).max(expected.since(now.wall)) {
            spans.push_back(now);
            if SPANS_MAX < spans.len() {
                spans.pop_front();
            }
        }
        let mut end = now.monotonic;
        for span in spans.iter().rev() {
            if span.wall <= moment && moment <= span.wall_at(end) {
                let began = span.monotonic + moment.since(span.wall);
                return now.monotonic.saturating_sub(began);
            }
            end = span.monotonic;
        }
        let newest = spans.back().map_or(now.monotonic, |span| span.monotonic);
        now.monotonic - newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::env::Pending;
    use std::sync::Arc;

    /// Seconds by both clocks.
    #[derive(Debug, Default)]
    struct SetClock(Mutex<(i64, u64)>);

    impl SetClock {
        fn at(&self, wall: i64, monotonic: u64) {
            *self.0.lock().unwrap() = (wall, monotonic);
        }
    }

    impl Clock for SetClock {
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().1)
        }

        fn wall(&self) -> Timestamp {
            wall(self.0.lock().unwrap().0)
        }

        fn sleep(&self, _: Duration) -> Pending<'static, ()> {
            unreachable!("nobody waits")
        }
    }

    fn wall(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_older() {
        let clock = Arc::new(SetClock::default());
        clock.at(1_000, 50);
        let history = WallHistory::new(&*clock);
        let elapsed = |moment: i64| history.elapsed(wall(moment), &*clock).as_secs();
        clock.at(1_060, 110);
        assert_eq!((elapsed(1_000), elapsed(1_050)), (60, 10));
        // Found at the start: it has all its time.
        assert_eq!(elapsed(10), 60);
        // Two days ahead, and what was made before and after.
        clock.at(180_000, 120);
        assert_eq!((elapsed(1_050), elapsed(1_060)), (20, 10));
        clock.at(180_030, 150);
        assert_eq!((elapsed(1_050), elapsed(180_010)), (50, 20));
        // Back, to before the start: what was made ahead counts from each span that knows it.
        clock.at(500, 160);
        assert_eq!((elapsed(180_010), elapsed(1_050)), (30, 60));
        clock.at(520, 180);
        assert_eq!(elapsed(505), 15);
        // From a clock that was ahead of all that is known.
        assert_eq!(elapsed(9_000_000), 20);
    }

    #[test]
    fn a_clock_that_is_set_for_ever_is_forgotten_in_part() {
        let clock = Arc::new(SetClock::default());
        let history = WallHistory::new(&*clock);
        for step in 1..100 {
            clock.at(step * 1_000, step as u64);
            history.elapsed(wall(0), &*clock);
        }
        assert_eq!(history.spans.lock().unwrap().len(), SPANS_MAX);
        assert_eq!(history.elapsed(wall(99_000), &*clock), Duration::ZERO);
    }
}
