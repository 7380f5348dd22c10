//! What retention remembers between its slices.
//!
//! Age counts from `received`, never from the sender's clock.

use super::evict::Eviction;
use super::forget::Forgetting;
use super::rules::RuleOfEvent;
use super::sweep::{HeldRows, RowWords};
use super::upkeep::SweepStage;
use std::collections::BTreeMap;
use std::time::Duration;

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
    /// After a fault.
    pub(super) rests_until: Duration,
}

impl Sweep {
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
