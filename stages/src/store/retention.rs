//! What retention remembers between its slices, and whether the clock can be trusted with deleting.
//!
//! Age counts from `received`, never from the sender's clock.

use super::evict::Eviction;
use super::forget::Forgetting;
use super::rules::RuleOfEvent;
use super::sweep::{HeldRows, RowWords};
use super::upkeep::SweepStage;
use std::collections::BTreeMap;
use std::time::Duration;

/// 2020-01-01: a clock that stands before it was never set.
const SET_SINCE: i64 = 1_577_836_800_000_000;
/// A wall clock that moves by more than this against the monotonic one has jumped.
const JUMP_MAX: i64 = 300_000_000;
/// After a jump nothing is deleted for so long.
const SANE_AFTER: Duration = Duration::from_secs(7200);

/// How far retention has come.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the next sweep begins, on the monotonic clock.
    pub(super) due: Duration,
    pub(super) stage: SweepStage,
    /// Whether events that only pass through are to be looked at.
    pub(super) passing_due: bool,
    /// By rule, up to where no later sweep needs to look again.
    looked: BTreeMap<RuleOfEvent, u64>,
    pub(super) held: HeldRows,
    /// When those are looked for that were too many to be remembered.
    pub(super) look_again: Duration,
    pub(super) eviction: Eviction,
    pub(super) forgetting: Forgetting,
    pub(super) words: RowWords,
    pub(super) clock: Sanity,
    pub(super) is_sane: bool,
    /// After a fault.
    pub(super) rests_until: Duration,
}

impl Sweep {
    /// A store that is just opened: its clock is taken for right until it jumps.
    pub(super) fn new() -> Self {
        Sweep { is_sane: true, ..Sweep::default() }
    }

    /// The rules changed: every event is looked at again.
    pub(super) fn begin_anew(&mut self) {
        self.looked.clear();
        (self.held, self.eviction) = (HeldRows::default(), Eviction::default());
        (self.stage, self.due) = (SweepStage::Resting, Duration::ZERO);
    }

    pub(super) fn looked(&self, rule: RuleOfEvent) -> u64 {
        self.looked.get(&rule).copied().unwrap_or(0)
    }

    pub(super) fn set_looked(&mut self, rule: RuleOfEvent, pos: u64) {
        self.looked.insert(rule, pos);
    }

    /// Goes back to the first event that had to wait and was not remembered.
    pub(super) fn look_at_forgotten(&mut self) {
        if let Some(pos) = self.held.take_forgotten() {
            for looked in self.looked.values_mut() {
                *looked = (*looked).min(pos.saturating_sub(1));
            }
        }
    }
}

/// Whether the wall clock can be trusted with deleting.
#[derive(Debug, Default)]
pub(super) struct Sanity {
    offset: Option<i64>,
    until: Duration,
}

impl Sanity {
    pub(super) fn holds(&mut self, wall: i64, monotonic: Duration) -> bool {
        let offset = wall.saturating_sub(monotonic.as_micros() as i64);
        let before = self.offset.replace(offset);
        if before.is_some_and(|it| JUMP_MAX as u64 <= it.abs_diff(offset)) {
            tracing::warn!("the clock jumped; nothing is deleted for two hours");
            self.until = monotonic + SANE_AFTER;
        }
        SET_SINCE <= wall && self.until <= monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumped_or_was_never_set_deletes_nothing() {
        let mut clock = Sanity::default();
        let at = |secs: u64| Duration::from_secs(secs);
        let wall = |secs: i64| SET_SINCE + secs * 1_000_000;
        assert!(clock.holds(wall(0), at(0)));
        assert!(clock.holds(wall(70), at(10)), "a minute is no jump");
        assert!(!clock.holds(wall(90_000), at(20)), "a day is");
        assert!(!clock.holds(wall(90_000 + 7000), at(7020)), "too soon");
        assert!(clock.holds(wall(90_000 + 7200), at(7220)));
        assert!(!clock.holds(5_000_000, at(7221)), "1970");
    }
}
