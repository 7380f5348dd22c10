//! Whether a target may be called now: a target that fails is asked by one delivery at a time, and
//! the others wait without being touched.
//!
//! *Invariant:* while a target fails, at most one call of it is under way that began since.

use super::retry_budget::RetryBudget;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many transient faults with no answer between them, and the target counts as failing. One or
/// two may be the fault of their events.
const FAULTS_MAX: u32 = 3;

/// The pace of one target. Times are of the monotonic clock.
#[derive(Debug, Default)]
pub struct TargetPace {
    state: Mutex<PaceState>,
}

#[derive(Debug, Default)]
struct PaceState {
    /// Transient faults since the last answer.
    faults: u32,
    /// Not before this, while it fails.
    next: Duration,
    is_failing: bool,
    is_probed: bool,
    /// Grows when it begins to fail and with each probe: the end of an older call says nothing new.
    epoch: u64,
    /// The event whose call failed last.
    last_failed: Option<u64>,
    budget: RetryBudget,
}

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaceAllowance {
    /// New deliveries, and so many of those that failed before.
    Work {
        /// Most retries.
        again: u64,
    },
    /// One delivery, to see whether the target works.
    Probe,
    /// Nothing, for so long or until the probe under way has ended.
    Wait(Duration),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The target answered, if only to refuse this one.
    Answered,
    /// A transient fault.
    Fault {
        /// When the target wants to be asked again, if it said so.
        retry_after: Option<Duration>,
    },
}

/// A call under way. Dropped without an end, it has said nothing.
#[derive(Debug)]
pub struct PaceTicket<'a> {
    pace: &'a TargetPace,
    seq: u64,
    epoch: u64,
    is_retry: bool,
    is_probe: bool,
    has_ended: bool,
}

impl TargetPace {
    fn state(&self) -> MutexGuard<'_, PaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be done now.
    pub fn allowance(&self, now: Duration) -> PaceAllowance {
        let mut state = self.state();
        if !state.is_failing {
            return PaceAllowance::Work { again: state.budget.available(now) };
        }
        if state.is_probed {
            return PaceAllowance::Wait(Duration::from_secs(1));
        }
        match state.next.saturating_sub(now) {
            Duration::ZERO => PaceAllowance::Probe,
            wait => PaceAllowance::Wait(wait),
        }
    }

    /// How long until another retry is allowed, when none is.
    pub fn retry_wait(&self, now: Duration) -> Duration {
        self.state().budget.wait(now)
    }

    /// Which of these events to probe with: the first that did not fail last. So one event that
    /// the target cannot take does not stop the others.
    pub fn probe_of(&self, due: &[u64]) -> Option<usize> {
        let last = self.state().last_failed;
        let other = due.iter().position(|it| Some(*it) != last);
        other.or((!due.is_empty()).then_some(0))
    }

    /// A call for an event begins; `None` where it may not, because the target has begun to fail.
    pub fn begin(&self, seq: u64, is_retry: bool, now: Duration) -> Option<PaceTicket<'_>> {
        let mut state = self.state();
        let is_probe = state.is_failing;
        if is_probe {
            if state.is_probed || now < state.next {
                return None;
            }
            state.is_probed = true;
            state.epoch += 1;
        }
        state.budget.begin(is_retry, now);
        let epoch = state.epoch;
        Some(PaceTicket { pace: self, seq, epoch, is_retry, is_probe, has_ended: false })
    }
}

impl PaceTicket<'_> {
    /// The call has ended. `backoff` says how long to leave the target alone after its nth fault
    /// in a row, counted from the one at which it began to fail.
    pub fn end(mut self, end: CallEnd, now: Duration, backoff: impl FnOnce(u32) -> Duration) {
        self.has_ended = true;
        let mut state = self.pace.state();
        if self.is_probe {
            state.is_probed = false;
        }
        if self.is_retry {
            state.budget.end_retry(end != CallEnd::Answered, now);
        }
        let retry_after = match end {
            CallEnd::Answered => {
                (state.faults, state.is_failing, state.last_failed) = (0, false, None);
                return;
            }
            CallEnd::Fault { retry_after } => retry_after,
        };
        if self.epoch != state.epoch {
            return;
        }
        state.faults += 1;
        state.last_failed = Some(self.seq);
        if FAULTS_MAX <= state.faults {
            let count = state.faults + 1 - FAULTS_MAX;
            let wait = backoff(count).max(retry_after.unwrap_or_default());
            state.next = now + wait;
            if !state.is_failing {
                state.is_failing = true;
                state.epoch += 1;
            }
        }
    }
}

impl Drop for PaceTicket<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut state = self.pace.state();
        if self.is_probe {
            state.is_probed = false;
        }
        if self.is_retry {
            state.budget.end_retry(false, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: CallEnd = CallEnd::Fault { retry_after: None };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// 100 ms, 200 ms, 400 ms, …
    fn double(count: u32) -> Duration {
        at(100 << (count - 1))
    }

    fn call(pace: &TargetPace, seq: u64, end: CallEnd, now: u64) {
        pace.begin(seq, false, at(now)).expect("it may").end(end, at(now), double);
    }

    #[test]
    fn a_target_that_fails_is_asked_by_one_at_a_time_and_ever_less() {
        let pace = TargetPace::default();
        for seq in 0..3 {
            assert!(matches!(pace.allowance(at(0)), PaceAllowance::Work { .. }));
            call(&pace, seq, FAULT, 0);
        }
        assert_eq!(pace.allowance(at(0)), PaceAllowance::Wait(at(100)));
        let mut now = 100;
        for wait in [200, 400, 800] {
            assert_eq!(pace.allowance(at(now)), PaceAllowance::Probe);
            let probe = pace.begin(3, false, at(now)).expect("it may");
            assert!(matches!(pace.allowance(at(now)), PaceAllowance::Wait(_)), "one at a time");
            assert!(pace.begin(4, false, at(now)).is_none(), "one at a time");
            probe.end(FAULT, at(now), double);
            assert_eq!(pace.allowance(at(now)), PaceAllowance::Wait(at(wait)));
            now += wait;
        }
        call(&pace, 4, CallEnd::Answered, now);
        assert!(matches!(pace.allowance(at(now)), PaceAllowance::Work { .. }));
    }

    #[test]
    fn many_calls_that_fail_together_count_once() {
        let pace = TargetPace::default();
        let calls: Vec<_> = (0..8).map(|it| pace.begin(it, false, at(0))).collect();
        calls.into_iter().flatten().for_each(|it| it.end(FAULT, at(50), double));
        assert_eq!(pace.allowance(at(50)), PaceAllowance::Wait(at(100)));
    }

    #[test]
    fn a_single_event_that_fails_stops_nobody() {
        let pace = TargetPace::default();
        for round in 0..10 {
            call(&pace, 1, FAULT, round);
            call(&pace, 2 + round, CallEnd::Answered, round);
            assert!(matches!(pace.allowance(at(round)), PaceAllowance::Work { .. }));
        }
        // Failing, it is probed by another than the one that failed last.
        (0..3).for_each(|_| call(&pace, 1, FAULT, 10));
        assert_eq!(pace.probe_of(&[1, 2]), Some(1));
        assert_eq!(pace.probe_of(&[1]), Some(0));
        assert_eq!(pace.probe_of(&[]), None);
    }

    #[test]
    fn who_says_when_to_come_again_is_left_alone_until_then() {
        let pace = TargetPace::default();
        let end = CallEnd::Fault { retry_after: Some(at(5000)) };
        call(&pace, 1, end, 0);
        assert!(
            matches!(pace.allowance(at(0)), PaceAllowance::Work { .. }),
            "it may mean the event"
        );
        (2..4).for_each(|it| call(&pace, it, end, 0));
        assert_eq!(pace.allowance(at(0)), PaceAllowance::Wait(at(5000)));
    }

    #[test]
    fn a_call_that_is_dropped_says_nothing_and_holds_nothing() {
        let pace = TargetPace::default();
        (0..3).for_each(|it| call(&pace, it, FAULT, 0));
        drop(pace.begin(3, true, at(100)));
        assert_eq!(pace.allowance(at(100)), PaceAllowance::Probe);
        call(&pace, 4, CallEnd::Answered, 100);
        assert_eq!(pace.allowance(at(100)), PaceAllowance::Work { again: 10 });
    }

    #[test]
    fn a_call_that_began_before_the_target_failed_does_not_prolong_it() {
        let pace = TargetPace::default();
        let late = pace.begin(9, false, at(0)).expect("it may");
        (0..3).for_each(|it| call(&pace, it, FAULT, 0));
        late.end(FAULT, at(90), double);
        assert_eq!(pace.allowance(at(90)), PaceAllowance::Wait(at(10)));
    }
}
