//! Makes guessing tokens slow: an answer about a wrong token is held back, longer each time.
//!
//! A right token is answered at once, whatever others at the same address do. What slows a guesser
//! down is the connection: it stays occupied for as long as the answer is held, also when the
//! client has hung up, and an address has a limited number of connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Wrong tokens that cost nothing: somebody has to correct a typing error.
const FREE: u32 = 5;
/// How long the first answer after these is held back; each further one twice as long.
const HOLD_FIRST: Duration = Duration::from_millis(250);
/// The longest that an answer is held back.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(10);
/// Without a wrong token for so long, an address begins anew.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Addresses that are remembered; the one that has been quiet longest is forgotten first.
const ADDRESSES_MAX: usize = 4096;

/// Wrong tokens by address.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

/// What to do about a wrong token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// How long to hold the answer back.
    pub(crate) time: Duration,
    /// Whether this is the first answer of this address that is held back.
    pub(crate) is_first: bool,
}

impl Guesses {
    /// Notes a wrong token from `address` at `now`.
    pub(crate) fn note(&self, address: IpAddr, now: Duration) -> Hold {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if ADDRESSES_MAX <= addresses.len() && !addresses.contains_key(&address) {
            let quietest = addresses
                .iter()
                .min_by_key(|address| (address.1.last, *address.0))
                .map(|address| *address.0);
            quietest.map(|quietest| addresses.remove(&quietest));
        }
        let failures = addresses.entry(address).or_insert(Failures { count: 0, last: now });
        if failures.last + FORGET_AFTER <= now {
            failures.count = 0;
        }
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
        hold(failures.count)
    }
}

fn hold(count: u32) -> Hold {
    let Some(beyond) = count.checked_sub(FREE + 1) else {
        return Hold { time: Duration::ZERO, is_first: false };
    };
    let time = 2_u32.checked_pow(beyond).and_then(|it| HOLD_FIRST.checked_mul(it));
    Hold { time: time.unwrap_or(HOLD_MAX).min(HOLD_MAX), is_first: beyond == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_few_are_free_and_then_each_costs_twice_the_last_up_to_a_limit() {
        let guesses = Guesses::default();
        let times: Vec<u128> =
            (0..13).map(|_| guesses.note(address(1), SECOND).time.as_millis()).collect();
        assert_eq!(times, [0, 0, 0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        for _ in 0..100 {
            assert_eq!(guesses.note(address(1), SECOND).time, HOLD_MAX);
        }
    }

    #[test]
    fn another_address_and_a_quiet_while_begin_anew() {
        let guesses = Guesses::default();
        let note = |number: u32, now: Duration| guesses.note(address(number), now);
        for _ in 0..5 {
            note(1, SECOND);
        }
        assert_eq!(note(2, SECOND).time, Duration::ZERO);
        let later = SECOND + FORGET_AFTER;
        assert_eq!(note(1, later - SECOND), Hold { time: HOLD_FIRST, is_first: true });
        assert_eq!(note(1, later - SECOND), Hold { time: HOLD_FIRST * 2, is_first: false });
        assert_eq!(note(1, later + FORGET_AFTER).time, Duration::ZERO);
    }

    #[test]
    fn many_addresses_are_remembered_in_bounded_room() {
        let guesses = Guesses::default();
        for _ in 0..6 {
            guesses.note(address(1), SECOND);
        }
        for number in 10..10_000 {
            guesses.note(address(number), SECOND * 2);
        }
        assert_eq!(guesses.addresses.lock().unwrap().len(), ADDRESSES_MAX);
        assert_eq!(guesses.note(address(1), SECOND * 3).time, Duration::ZERO, "the quietest");
    }
}
