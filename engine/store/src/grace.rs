//! Rules that would delete much more than those before them wait for a while, and say so.
//!
//! A wrong unit in the file, or a store's name that changed, must not empty a store before anybody
//! has seen it. So rules that differ from those that were in force are first held against every
//! event; where they would delete more than half of what the old ones keep, they wait for
//! `reload-grace`. Until then only what both delete is deleted. The rules in force are remembered
//! in the store, so that a start is judged like a reload.

use super::deleted::grouped;
use super::evict::database_part;
use super::policy::RetentionPolicy;
use super::rule_book::RulesInForce;
use super::rules::RetentionRules;
use super::sweep::{Slice, SliceResult, scan};
use super::upkeep::SweepStage;
use super::writer::Writer;
use super::{StoreFault, names};
use kernel::health::HealthProblem;
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Where the rules in force are remembered.
const RULES: &str = "retention";

/// Rules that are not in force yet.
#[derive(Debug)]
pub(super) struct PendingRules {
    pub(super) rules: RetentionRules,
    stage: GraceStage,
}

#[derive(Debug)]
enum GraceStage {
    /// Every event is held against both.
    Survey(Survey),
    /// They delete more than half; until then they wait, by the monotonic clock.
    Waiting { until: Duration },
}

#[derive(Debug)]
struct Survey {
    /// When it began.
    now: Option<Timestamp>,
    at: u64,
    kept: u64,
    gone: u64,
}

/// The rules that were in force when the store was closed; none are known of a new store, or of
/// one that an older engine wrote.
fn remembered(connection: &Connection) -> Result<Option<RetentionRules>, StoreFault> {
    let sql = "SELECT value FROM meta WHERE key = ?";
    let text: Option<String> = connection.query_row(sql, [RULES], |row| row.get(0)).optional()?;
    let known = text.and_then(|text| RetentionRules::parse(&text));
    let sql = "SELECT EXISTS (SELECT 1 FROM event_rows) OR EXISTS (SELECT 1 FROM dead_letters)";
    let is_used: bool = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(known.or_else(|| is_used.then(RetentionRules::keeping_everything)))
}

impl Writer {
    /// At a start: the rules of the last run are in force until those of the file are.
    pub(super) fn recall_rules(&mut self) -> Result<(), StoreFault> {
        match remembered(&self.connection)? {
            Some(rules) if rules != self.rules => {
                self.rules = rules;
                self.adopt(self.policy.clone());
                Ok(())
            }
            _ => self.remember_rules(),
        }
    }

    /// Takes a policy. Its rules are in force at once where they delete little more than those
    /// before them.
    pub(super) fn adopt(&mut self, policy: RetentionPolicy) {
        let wanted = RetentionRules::of(&policy);
        self.policy = policy;
        if self.pending.as_ref().is_some_and(|pending| pending.rules == wanted) {
            return self.apply_rules();
        }
        if self.pending.take().is_some() {
            self.store_health().clear("retention-pending");
        }
        if wanted != self.rules {
            let stage = GraceStage::Survey(Survey { now: None, at: 0, kept: 0, gone: 0 });
            self.pending = Some(PendingRules { rules: wanted, stage });
        }
        self.apply_rules();
        self.sweep.begin_anew();
    }

    /// Makes the policy delete what is in force; what both delete, while other rules wait.
    fn apply_rules(&mut self) {
        let rules = match &self.pending {
            Some(pending) => self.rules.and(&pending.rules),
            None => self.rules.clone(),
        };
        rules.put_into(&mut self.policy);
        let now = Arc::new(RulesInForce {
            rules: self.rules.clone(),
            pending: self.pending.as_ref().map(|pending| pending.rules.clone()),
            passing_keep: self.policy.passing_keep,
            sweep_every: self.policy.sweep_every,
        });
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    pub(super) fn is_surveying(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| matches!(pending.stage, GraceStage::Survey(_)))
    }

    /// Holds one slice of the events against the rules that wait.
    pub(super) fn survey(&mut self, slice: &Slice) -> Result<SliceResult, StoreFault> {
        let more = SliceResult { deleted: 0, is_done: false };
        let Some(pending) = &self.pending else { return Ok(more) };
        let GraceStage::Survey(Survey { now, mut at, mut kept, mut gone }) = pending.stage else {
            return Ok(more);
        };
        let now = now.unwrap_or_else(|| self.env.clock.wall());
        let wanted = pending.rules.clone();
        if wanted.keeps_all_of(&self.rules) {
            self.judge(0, 0)?;
            return Ok(more);
        }
        let name = self.settings.name.clone();
        let scanned = scan(&self.connection, at, slice)?;
        for row in &scanned {
            at = row.pos;
            if !self.sweep.words.is_visible(&self.connection, row, &name)? {
                continue;
            }
            let kind = self.sweep.words.kind(&self.connection, row)?;
            let is_over =
                |rules: &RetentionRules| rules.is_over(row.priority, &kind, row.received, now);
            if !is_over(&self.rules) {
                kept += 1;
                gone += u64::from(is_over(&wanted));
            }
        }
        if scanned.is_empty() {
            self.judge(kept, gone)?;
        } else if let Some(pending) = &mut self.pending {
            pending.stage = GraceStage::Survey(Survey { now: Some(now), at, kept, gone });
        }
        Ok(more)
    }

    /// The survey is over: the rules wait, or are in force.
    fn judge(&mut self, kept: u64, gone: u64) -> Result<(), StoreFault> {
        let Some(pending) = &self.pending else { return Ok(()) };
        let mut losses = Vec::new();
        if kept < 2 * gone {
            losses.push(format!(
                "delete {} of the {} events that the previous rules keep",
                grouped(gone),
                grouped(kept)
            ));
        }
        if let Some((size_max, used)) = self.size_loss(&pending.rules)? {
            losses.push(format!(
                "shrink the database from {} to {} MiB",
                used >> 20,
                database_part(size_max) >> 20
            ));
        }
        if let Some((letters, most)) = self.letter_loss(&pending.rules)? {
            losses.push(format!("leave {most} of {letters} dead letters"));
        }
        let grace = self.policy.reload_grace;
        if losses.is_empty() || grace.is_zero() {
            return self.put_in_force();
        }
        let until = self.env.clock.wall().plus(grace);
        let reason =
            format!("the new `retention` would {}; it is not in effect", losses.join(", and "));
        let problem =
            HealthProblem::degraded("retention-pending", format!("{reason} until {until}"));
        let advice = "change the file back before then if this is not intended";
        self.store_health().report(problem.advise(advice));
        let until = self.env.clock.monotonic() + grace;
        if let Some(pending) = &mut self.pending {
            pending.stage = GraceStage::Waiting { until };
        }
        Ok(())
    }

    /// The new limit and what is used, where more than half of the database would go.
    fn size_loss(&self, wanted: &RetentionRules) -> Result<Option<(u64, u64)>, StoreFault> {
        let Some(size_max) = wanted.size_max else { return Ok(None) };
        let used = self.used_bytes()?;
        let before = self.rules.size_max.map_or(used, |it| used.min(database_part(it)));
        Ok((2 * database_part(size_max) < before).then_some((size_max, used)))
    }

    /// How many letters there are and how many would stay at most, where more than half would go.
    fn letter_loss(&self, wanted: &RetentionRules) -> Result<Option<(u64, u64)>, StoreFault> {
        let letters = self.holdings.letters.min(self.rules.dead_max);
        let now = self.env.clock.wall();
        let old = |keep: Duration| -> Result<u64, StoreFault> {
            let sql =
                "SELECT count(*) FROM (SELECT 1 FROM dead_letters INDEXED BY dead_letters_last
                        WHERE last < ? LIMIT ?)";
            let most = i64::try_from(letters).unwrap_or(i64::MAX);
            let mut count = self.connection.prepare_cached(sql)?;
            let found = count.query_row(params![now.minus(keep).0, most], |row| row.get(0));
            Ok(found.map(|number: i64| number as u64)?)
        };
        let kept = letters - old(self.rules.dead_keep)?.min(letters);
        let left = (letters - old(wanted.dead_keep)?.min(letters)).min(wanted.dead_max);
        Ok((2 * left < kept).then_some((kept, left)))
    }

    /// The rules that wait are in force from now on.
    fn put_in_force(&mut self) -> Result<(), StoreFault> {
        if let Some(pending) = self.pending.take() {
            self.rules = pending.rules;
            self.remember_rules()?;
            self.store_health().clear("retention-pending");
            self.apply_rules();
            self.sweep.begin_anew();
            self.sweep.stage = SweepStage::Rules(0);
        }
        Ok(())
    }

    /// Remembers the rules in force for the next start.
    fn remember_rules(&mut self) -> Result<(), StoreFault> {
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)";
        self.connection.execute(sql, params![RULES, self.rules.to_text()])?;
        Ok(())
    }

    /// Puts rules in force that have waited long enough.
    pub(super) fn end_grace(&mut self) -> Result<(), StoreFault> {
        let now = self.env.clock.monotonic();
        match &self.pending {
            Some(PendingRules { stage: GraceStage::Waiting { until }, .. }) if *until <= now => {
                self.put_in_force()
            }
            _ => Ok(()),
        }
    }
}

/// The store's name in the file changed, or is not known yet: its events stay visible.
pub(super) fn remember_name(connection: &mut Connection, name: &str) -> Result<(), StoreFault> {
    let sql = "SELECT value FROM meta WHERE key = 'store'";
    let known: Option<String> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    if known.as_deref() == Some(name) {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    if known.is_none() {
        names::mark_passing(&transaction, name)?;
    }
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('store', ?)";
    transaction.execute(sql, [name])?;
    Ok(transaction.commit()?)
}
