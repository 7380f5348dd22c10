//! Which rule of retention decides about a row, and what holds it back: for the sweep that deletes,
//! and for whoever asks beforehand.

use super::StoreFault;
use super::policy::RetentionPolicy;
use super::rules::{RetentionRules, RuleOfEvent, rule_text};
use super::sweep::{RowWords, ScannedRow};
use kernel::time::Timestamp;
use rusqlite::Connection;
use std::time::Duration;

/// The rules of retention as they are now.
#[derive(Debug, Clone, PartialEq)]
pub struct RulesInForce {
    pub(super) rules: RetentionRules,
    /// Rules that wait to be in force: until then only what both delete is deleted.
    pub(super) pending: Option<RetentionRules>,
    pub(super) passing_keep: Duration,
    pub(super) sweep_every: Duration,
}

impl RulesInForce {
    /// Those of a file, as if they were in force.
    pub fn of(policy: &RetentionPolicy) -> Self {
        RulesInForce {
            rules: RetentionRules::of(policy),
            pending: None,
            passing_keep: policy.passing_keep,
            sweep_every: policy.sweep_every,
        }
    }

    /// Every rule by which events go, in the order in which a sweep looks.
    pub(super) fn all(&self) -> Vec<RuleOfEvent> {
        let kept = (0..self.rules.keep.len()).map(RuleOfEvent::Keep);
        std::iter::once(RuleOfEvent::Passing).chain(kept).collect()
    }

    /// A rule as the file writes it; `passing` for what only passes through.
    pub(super) fn text_of(&self, rule: RuleOfEvent) -> Option<String> {
        match rule {
            RuleOfEvent::Keep(index) => Some(rule_text(&self.rules.keep[index])),
            RuleOfEvent::Passing => Some("passing".to_owned()),
            RuleOfEvent::None => None,
        }
    }
}

/// The rules, and a store whose rows they are held against.
pub(super) struct RuleBook<'a> {
    pub(super) connection: &'a Connection,
    pub(super) words: &'a mut RowWords,
    /// The name of the store in the file.
    pub(super) store: &'a str,
    pub(super) rules: &'a RetentionRules,
    pub(super) pending: Option<&'a RetentionRules>,
    pub(super) passing_keep: Duration,
}

impl RuleBook<'_> {
    /// The rule in force for a row.
    pub(super) fn rule_of(&mut self, row: &ScannedRow) -> Result<RuleOfEvent, StoreFault> {
        if !self.words.is_visible(self.connection, row, self.store)? {
            return Ok(RuleOfEvent::Passing);
        }
        let kind = self.words.kind(self.connection, row)?;
        Ok(self.rules.rule_of(row.priority, &kind))
    }

    /// How long a rule keeps; `None` for good.
    pub(super) fn age_of(&self, rule: RuleOfEvent) -> Option<Duration> {
        match rule {
            RuleOfEvent::Keep(index) => Some(self.rules.keep[index].age),
            RuleOfEvent::Passing => Some(self.passing_keep),
            RuleOfEvent::None => None,
        }
    }

    /// Whether a row that the rules in force delete may be deleted while others wait.
    pub(super) fn may_go(&mut self, row: &ScannedRow, now: Timestamp) -> Result<bool, StoreFault> {
        let Some(pending) = self.pending else { return Ok(true) };
        if !self.words.is_visible(self.connection, row, self.store)? {
            return Ok(true);
        }
        let kind = self.words.kind(self.connection, row)?;
        Ok(pending.is_over(row.priority, &kind, row.received, now))
    }
}

/// Whether an event waits for a delivery. What only passes through also stays for the letter of a
/// delivery that died: the letter has no copy of it.
pub(super) fn waits_sql(rule: RuleOfEvent) -> &'static str {
    match rule {
        RuleOfEvent::Passing => {
            "SELECT EXISTS (SELECT 1 FROM delivery_rows WHERE seq = ?1
                    AND (state IN (0, 3, 5) OR again > 0))
                OR EXISTS (SELECT 1 FROM dead_letters WHERE seq = ?1)"
        }
        _ => {
            "SELECT EXISTS (SELECT 1 FROM delivery_rows WHERE seq = ?
                    AND (state IN (0, 3, 5) OR again > 0))"
        }
    }
}
