//! A circuit breaker: stops calling a service that keeps failing.
//!
//! Closed, it counts faults; open, it lets nothing through; after `open-for` it lets probes
//! through, and closes with as many good answers as `probes` says (Nygard, "Release It!").

use compiler::spec::{Breaker, BreakerTrip};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most answers that are remembered for a ratio.
const ANSWERS_MAX: usize = 10_000;

/// The breaker of one stage or target. Times are of the monotonic clock.
#[derive(Debug)]
pub struct CircuitBreaker {
    settings: Breaker,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Answers in the window: when, and whether it was a fault.
    Closed(VecDeque<(Duration, bool)>),
    Open {
        until: Duration,
    },
    HalfOpen {
        asked: u32,
        answered: u32,
    },
}

/// Whether a breaker lets calls through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Only probes pass.
    HalfOpen,
    /// Nothing passes.
    Open,
}

/// The permission for one call. Dropped without an end, the call has said nothing.
#[derive(Debug)]
pub struct Permit<'a> {
    circuit: &'a CircuitBreaker,
    is_probe: bool,
    has_ended: bool,
}

impl CircuitBreaker {
    /// A closed one.
    pub fn new(settings: Breaker) -> Self {
        CircuitBreaker { settings, state: Mutex::new(State::Closed(VecDeque::new())) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it lets calls through.
    pub fn state(&self, now: Duration) -> BreakerState {
        match &*self.lock() {
            State::Closed(_) => BreakerState::Closed,
            State::Open { until } if now < *until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How long it stays open, when it is.
    pub fn open_for(&self, now: Duration) -> Option<Duration> {
        match &*self.lock() {
            State::Open { until } if now < *until => Some(*until - now),
            _ => None,
        }
    }

    /// Asks for one call; the error is how long to wait before asking again.
    pub fn admit(&self, now: Duration) -> Result<Permit<'_>, Duration> {
        let mut state = self.lock();
        if let State::Open { until } = *state {
            if now < until {
                return Err(until - now);
            }
            *state = State::HalfOpen { asked: 0, answered: 0 };
        }
        let is_probe = match &mut *state {
            State::Closed(_) => false,
            State::HalfOpen { asked, answered } => {
                if self.settings.probes <= *asked + *answered {
                    // The probes under way decide soon.
                    return Err(Duration::from_millis(100));
                }
                *asked += 1;
                true
            }
            State::Open { .. } => unreachable!("it was opened half a moment ago"),
        };
        Ok(Permit { circuit: self, is_probe, has_ended: false })
    }

    fn note(&self, now: Duration, is_fault: bool, is_probe: bool) {
        let mut state = self.lock();
        let opens = match &mut *state {
            State::Closed(answers) => {
                answers.push_back((now, is_fault));
                let oldest = now.saturating_sub(self.settings.within);
                while answers.front().is_some_and(|answer| answer.0 < oldest)
                    || ANSWERS_MAX < answers.len()
                {
                    answers.pop_front();
                }
                is_fault && is_reached(self.settings.trip, answers)
            }
            State::HalfOpen { asked, answered } if is_probe => {
                *asked = asked.saturating_sub(1);
                *answered += u32::from(!is_fault);
                if self.settings.probes <= *answered {
                    *state = State::Closed(VecDeque::new());
                    return;
                }
                is_fault
            }
            // The answer of a call from before it opened.
            State::HalfOpen { .. } | State::Open { .. } => false,
        };
        if opens {
            *state = State::Open { until: now + self.settings.open_for };
        }
    }
}

fn is_reached(trip: BreakerTrip, answers: &VecDeque<(Duration, bool)>) -> bool {
    let faults = answers.iter().filter(|answer| answer.1).count();
    match trip {
        BreakerTrip::After(most) => most <= faults,
        BreakerTrip::Ratio(ratio, least) => {
            least <= answers.len() && ratio <= faults as f64 / answers.len() as f64
        }
    }
}

impl Permit<'_> {
    /// The call has ended: with a fault that trying again may heal, or with any other answer.
    pub fn end(mut self, now: Duration, is_fault: bool) {
        self.has_ended = true;
        self.circuit.note(now, is_fault, self.is_probe);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && !self.has_ended
            && let State::HalfOpen { asked, .. } = &mut *self.circuit.lock()
        {
            *asked = asked.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn circuit(trip: BreakerTrip, probes: u32) -> CircuitBreaker {
        CircuitBreaker::new(Breaker { trip, probes, ..Breaker::default() })
    }

    #[track_caller]
    fn answer(circuit: &CircuitBreaker, at: u64, is_fault: bool) {
        circuit.admit(seconds(at)).expect("it passes").end(seconds(at), is_fault);
    }

    #[test]
    fn faults_in_the_window_open_it_and_a_good_probe_closes_it() {
        let circuit = circuit(BreakerTrip::After(3), 1);
        for at in [0, 40, 41] {
            answer(&circuit, at, true);
        }
        assert_eq!(circuit.state(seconds(41)), BreakerState::Closed, "the first is forgotten");
        answer(&circuit, 42, true);
        assert_eq!(circuit.admit(seconds(43)).err(), Some(seconds(19)));
        assert_eq!(circuit.state(seconds(62)), BreakerState::HalfOpen);
        let probe = circuit.admit(seconds(62)).expect("a probe passes");
        assert!(circuit.admit(seconds(62)).is_err(), "one probe at a time");
        probe.end(seconds(63), false);
        assert_eq!(circuit.state(seconds(63)), BreakerState::Closed);
    }

    #[test]
    fn a_bad_probe_opens_it_again_and_a_dropped_one_says_nothing() {
        let circuit = circuit(BreakerTrip::After(1), 2);
        answer(&circuit, 0, true);
        drop(circuit.admit(seconds(20)).expect("a probe passes"));
        answer(&circuit, 21, false);
        answer(&circuit, 22, true);
        assert_eq!(circuit.admit(seconds(23)).err(), Some(seconds(19)));
        answer(&circuit, 42, false);
        answer(&circuit, 43, false);
        assert_eq!(circuit.state(seconds(43)), BreakerState::Closed);
    }

    #[test]
    fn a_ratio_waits_for_enough_answers() {
        let circuit = circuit(BreakerTrip::Ratio(0.5, 4), 1);
        answer(&circuit, 0, true);
        answer(&circuit, 1, true);
        answer(&circuit, 2, false);
        assert_eq!(circuit.state(seconds(2)), BreakerState::Closed);
        answer(&circuit, 3, true);
        assert_eq!(circuit.state(seconds(3)), BreakerState::Open);
    }

    #[test]
    fn an_answer_from_before_it_opened_changes_nothing() {
        let circuit = circuit(BreakerTrip::After(1), 1);
        let late = circuit.admit(seconds(0)).expect("it passes");
        answer(&circuit, 1, true);
        late.end(seconds(2), true);
        assert_eq!(circuit.admit(seconds(2)).err(), Some(seconds(19)));
    }
}
