//! Deliveries that wait for a better time, and those that one message tells together, within the
//! writer's transaction.
//!
//! A message is a delivery that leads it, and any number of others that say by `lead` which one
//! that is. Those are `held` until it has ended, and then have its end. What waits for a time is a
//! row that says until when; it is judged again then by the rules of that moment, so neither a
//! restart nor a reload has anything to carry over.
//!
//! *Invariant:* a delivery that is judged goes on, waits for a time that is to come, or has ended.

use super::StoreFault;
use super::deliveries::{AT_ONCE, is_untold};
use super::insert::Batch;
use super::manners::{Excess, FactClaim, MessageRate, NotifyRules, SilenceClaim, Silencer};
use super::messages::MessageCounts;
use super::record::{DeliveryState, NewDelivery};
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Most messages that one transaction judges again.
const DUE_MAX: usize = 4096;
/// What is held together without a key of its own.
const DIGEST: &str = "";
/// No time at all.
pub(super) const NEVER: i64 = i64::MAX;

/// What is known of rules and of what waits, without looking.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldState {
    rules: Arc<HashMap<Arc<str>, Arc<NotifyRules>>>,
    /// When the first one is to be judged again, where that is known.
    wake: Option<i64>,
    pub(super) messages: MessageCounts,
}

impl HeldState {
    /// When somebody has to ask again, by the wall clock.
    pub(super) fn wake(&self) -> i64 {
        self.wake.unwrap_or(NEVER)
    }

    /// Nothing is known of when somebody has to ask again.
    pub(super) fn forget_wake(&mut self) {
        self.wake = None;
    }

    /// Finds out when somebody has to ask again, where that is not known.
    pub(super) fn find_wake(&mut self, connection: &Connection) -> Result<(), StoreFault> {
        if self.wake.is_none() {
            let sql = "SELECT min(not_before) FROM delivery_rows INDEXED BY delivery_rows_release
                       WHERE state = 5 AND lead IS NULL";
            let first: Option<i64> =
                connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            let sql = "SELECT min(again) FROM delivery_rows INDEXED BY delivery_rows_again
                       WHERE again > 0";
            let again: Option<i64> =
                connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            self.wake = Some(first.into_iter().chain(again).min().unwrap_or(NEVER));
        }
        Ok(())
    }

    /// Whether it is known when somebody has to ask again.
    pub(super) fn is_known(&self) -> bool {
        self.wake.is_some()
    }

    /// For how long a message of this target may be replaced.
    pub(super) fn update_within(&self, sink: &str) -> Option<Duration> {
        self.rules.get(sink)?.update
    }

    /// Somebody has to ask at this time, at the latest.
    pub(super) fn wake_by(&mut self, at: i64) {
        self.wake = self.wake.map(|wake| wake.min(at));
    }

    /// The rules of a target, where it has some.
    pub(super) fn rules_of(&self, sink: &str) -> Option<Arc<NotifyRules>> {
        self.rules.get(sink).cloned()
    }

    /// Whether a target has rules.
    pub(super) fn has_rules(&self, sink: &str) -> bool {
        self.rules.contains_key(sink)
    }
}

/// What keeps a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldBy {
    Group,
    QuietHours,
    Rate,
    /// Nothing: it was handed on together with the message that tells of it.
    Fallback,
    /// The time in which somebody may react to another notifier.
    Escalate,
    /// The alerts that an all-clear takes back, until they have ended.
    Recover,
    /// A fact.
    Wait,
}

impl HeldBy {
    const ALL: [HeldBy; 7] = [
        HeldBy::Group,
        HeldBy::QuietHours,
        HeldBy::Rate,
        HeldBy::Fallback,
        HeldBy::Escalate,
        HeldBy::Recover,
        HeldBy::Wait,
    ];

    fn word(self) -> &'static str {
        match self {
            HeldBy::Group => "group",
            HeldBy::QuietHours => "quiet-hours",
            HeldBy::Rate => "rate",
            HeldBy::Fallback => "fallback",
            HeldBy::Escalate => "escalate",
            HeldBy::Recover => "recover",
            HeldBy::Wait => "wait",
        }
    }

    fn of_word(word: &str) -> Option<HeldBy> {
        HeldBy::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// A message that is judged.
#[derive(Debug, Clone)]
pub(super) struct HeldMessage {
    pub(super) sink: Arc<str>,
    /// The event that leads it.
    pub(super) seq: u64,
    /// Others that it tells of.
    pub(super) parts: u64,
    /// The quiet hours that do not hold it.
    pub(super) allowed: u32,
    /// What it is told together with, while it has not been grouped.
    pub(super) group: Option<String>,
    /// Whether its place in the rate is its own already.
    pub(super) has_place: bool,
    /// The key of the message that it sends or changes.
    pub(super) message_key: Option<String>,
    /// The fact that it waits for or brings, while it has not waited.
    pub(super) fact: Option<FactClaim>,
}

impl HeldMessage {
    /// That of a new delivery.
    pub(super) fn of(delivery: &NewDelivery, seq: u64) -> Self {
        let traits = &delivery.traits;
        let (group, fact, allowed) = (traits.group.clone(), traits.fact.clone(), traits.allowed);
        let message_key = traits.message_key.clone();
        let sink = delivery.sink.clone();
        HeldMessage { sink, seq, parts: 0, allowed, group, has_place: false, message_key, fact }
    }

    /// One that tells of nothing else, and is not to be grouped.
    pub(super) fn alone(sink: Arc<str>, seq: u64) -> Self {
        HeldMessage {
            sink,
            seq,
            parts: 0,
            allowed: 0,
            group: None,
            has_place: false,
            message_key: None,
            fact: None,
        }
    }
}

/// What becomes of a message.
enum MessageFate {
    /// It is sent.
    Send,
    Dropped(HeldBy),
    /// It waits until then; what comes with the key until then is told with it.
    Waits(HeldBy, Option<String>, Timestamp),
    /// The message that waits under this number tells of it too.
    Joins(HeldBy, u64),
}

impl Batch<'_> {
    /// The rules of the notifiers from now on: what waits by rules that are others now is judged
    /// again. What waits for a notifier that is not among `targets` is left as it is until that
    /// is back with its rules.
    pub(super) fn adopt_rules(
        &mut self,
        rules: &[Arc<NotifyRules>],
        targets: &[Arc<str>],
    ) -> Result<(), StoreFault> {
        let rules = rules.iter().map(|rule| (rule.target.clone(), rule.clone())).collect();
        self.held.rules = Arc::new(rules);
        self.held.forget_wake();
        let sql = "SELECT DISTINCT sink FROM delivery_rows INDEXED BY delivery_rows_held
                   WHERE state = 5";
        let sinks: Vec<String> = {
            let mut select = self.connection.prepare_cached(sql)?;
            select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        };
        for sink in sinks.iter().filter(|sink| targets.iter().any(|target| **target == ***sink)) {
            let rules = self.held.rules.get(&**sink).cloned();
            for by in HeldBy::ALL {
                let latest = match (&rules, by) {
                    (None, HeldBy::Escalate) => Timestamp(NEVER),
                    (None, _) => self.now,
                    (Some(rules), _) => latest(rules, by, self.now),
                };
                // What was written by a clock that is right no more is not waited for.
                self.run(
                    "UPDATE delivery_rows SET not_before = iif(created > ?4, ?4, min(not_before, ?3))
                     WHERE sink = ?1 AND held = ?2 AND state = 5 AND lead IS NULL",
                    params![sink, by.word(), latest.0, self.now.0],
                )?;
            }
        }
        self.end_unruled_repeats()?;
        self.review_escalations()
    }

    /// Judges a message: it goes on, waits, is told by another one, or is suppressed.
    pub(super) fn judge_message(&mut self, message: &HeldMessage) -> Result<(), StoreFault> {
        if !self.is_target(&message.sink) {
            return self.park_held(message);
        }
        let Some(rules) = self.held.rules.get(&message.sink).cloned() else {
            return self.send(message);
        };
        let mut message = message.clone();
        if let Some((key, until)) = self.wait_for_fact(&mut message)? {
            return self.hold(&message, HeldBy::Wait, Some(&key), until);
        }
        let message = &message;
        match self.message_fate(message, &rules)? {
            MessageFate::Send => self.send(message),
            MessageFate::Dropped(by) => {
                let (sink, seq) = (&message.sink, message.seq);
                let ended = self.close(sink, seq, DeliveryState::Suppressed, by.word())?;
                self.count_suppressed(sink, by.word(), ended);
                Ok(())
            }
            MessageFate::Waits(by, key, until) => self.hold(message, by, key.as_deref(), until),
            MessageFate::Joins(by, lead) => self.join(message, by, lead),
        }
    }

    fn message_fate(
        &mut self,
        message: &HeldMessage,
        rules: &NotifyRules,
    ) -> Result<MessageFate, StoreFault> {
        if let (Some(rule), Some(key)) = (&rules.group, &message.group) {
            if let Some(lead) = self.waiting(message, HeldBy::Group, key)? {
                return Ok(MessageFate::Joins(HeldBy::Group, lead));
            }
            let told = rule.then.zip(self.number_of(&message.sink, &group_key(key))?);
            let until = told
                .map(|(then, told)| Timestamp(told).plus(then))
                .filter(|it| self.now < *it && it.since(self.now) <= rule.then.unwrap_or_default());
            let until = until.unwrap_or_else(|| self.now.plus(rule.wait));
            return Ok(MessageFate::Waits(HeldBy::Group, Some(key.clone()), until));
        }
        if let Some(fate) = self.quiet_fate(message, rules)? {
            return Ok(fate);
        }
        let Some(rate) = rules.rate.as_ref().filter(|_| !message.has_place) else {
            return Ok(MessageFate::Send);
        };
        let HeldMessage { sink, seq, message_key, .. } = message;
        // A change is not another message.
        match self.is_update(sink, *seq, message_key.as_deref(), false)? {
            true => Ok(MessageFate::Send),
            false => self.rate_fate(message, rate),
        }
    }

    fn quiet_fate(
        &self,
        message: &HeldMessage,
        rules: &NotifyRules,
    ) -> Result<Option<MessageFate>, StoreFault> {
        let holding = rules.quiet.iter().enumerate().find_map(|(index, rule)| {
            let is_allowed = message.allowed & (1 << index) != 0;
            let end = if is_allowed { None } else { rule.hours.end_after(self.now) };
            Some((rule.excess, end?))
        });
        let Some((excess, end)) = holding else { return Ok(None) };
        Ok(Some(match excess {
            Excess::Drop => MessageFate::Dropped(HeldBy::QuietHours),
            Excess::Delay => MessageFate::Waits(HeldBy::QuietHours, None, end),
            Excess::Digest => self.digested(message, HeldBy::QuietHours, end)?,
        }))
    }

    /// The generic cell rate algorithm: what is kept is when the next message would be due if all
    /// came at their distance.
    fn rate_fate(
        &mut self,
        message: &HeldMessage,
        rate: &MessageRate,
    ) -> Result<MessageFate, StoreFault> {
        if let Some(lead) = self.waiting(message, HeldBy::Rate, DIGEST)? {
            // What waits has the next place.
            return Ok(MessageFate::Joins(HeldBy::Rate, lead));
        }
        let sink = &message.sink;
        let (interval, slack) = (rate.interval_micros(), rate.slack_micros());
        // Without messages that wait, none is further away: a clock that was ahead wrote it.
        let latest = match rate.excess {
            Excess::Delay => i64::MAX,
            Excess::Drop | Excess::Digest => {
                self.now.0.saturating_add(slack).saturating_add(interval)
            }
        };
        let next = self.number_of(sink, RATE)?.filter(|next| *next <= latest);
        let next = next.unwrap_or(0).max(self.now.0);
        let free = next.saturating_sub(slack);
        if free <= self.now.0 {
            let next = Timestamp(next.saturating_add(interval));
            self.keep_number(sink, RATE, next.0, next)?;
            return Ok(MessageFate::Send);
        }
        Ok(match rate.excess {
            Excess::Drop => MessageFate::Dropped(HeldBy::Rate),
            Excess::Delay => {
                let next = Timestamp(next.saturating_add(interval));
                self.keep_number(sink, RATE, next.0, next)?;
                MessageFate::Waits(HeldBy::Rate, None, Timestamp(free))
            }
            Excess::Digest => self.digested(message, HeldBy::Rate, Timestamp(free))?,
        })
    }

    fn digested(
        &self,
        message: &HeldMessage,
        by: HeldBy,
        until: Timestamp,
    ) -> Result<MessageFate, StoreFault> {
        Ok(match self.waiting(message, by, DIGEST)? {
            Some(lead) => MessageFate::Joins(by, lead),
            None => MessageFate::Waits(by, Some(DIGEST.to_owned()), until),
        })
    }

    /// The message that waits for others of a key, if it is not this one.
    fn waiting(
        &self,
        message: &HeldMessage,
        by: HeldBy,
        key: &str,
    ) -> Result<Option<u64>, StoreFault> {
        let sql = "SELECT seq FROM delivery_rows INDEXED BY delivery_rows_joined
                   WHERE sink = ? AND held = ? AND held_key = ? AND state = 5 AND lead IS NULL
                    AND seq != ? ORDER BY seq LIMIT 1";
        let mut select = self.connection.prepare_cached(sql)?;
        let values = params![&*message.sink, by.word(), key, message.seq as i64];
        let seq: Option<i64> = select.query_row(values, |row| row.get(0)).optional()?;
        Ok(seq.map(|seq| seq as u64))
    }

    fn send(&mut self, message: &HeldMessage) -> Result<(), StoreFault> {
        let state = self.waiting_state(&message.sink);
        self.run(
            "UPDATE delivery_rows SET state = ?, not_before = ?, last_error = NULL, held = NULL,
                held_key = NULL WHERE sink = ? AND seq = ?",
            params![state as i64, AT_ONCE.0, &*message.sink, message.seq as i64],
        )?;
        self.effects.sinks.insert(message.sink.clone());
        Ok(())
    }

    /// Its time has come while its target is gone: it is judged when that is back.
    fn park_held(&mut self, message: &HeldMessage) -> Result<(), StoreFault> {
        self.run(
            "UPDATE delivery_rows SET state = 3, not_before = ?, held = coalesce(held, 'parked')
             WHERE sink = ? AND seq = ?",
            params![AT_ONCE.0, &*message.sink, message.seq as i64],
        )?;
        Ok(())
    }

    pub(super) fn hold(
        &mut self,
        message: &HeldMessage,
        by: HeldBy,
        key: Option<&str>,
        until: Timestamp,
    ) -> Result<(), StoreFault> {
        assert!(self.now < until, "what waits, waits for a time that is to come");
        self.run(
            "UPDATE delivery_rows SET state = 5, not_before = ?1, last_error = ?2, held = ?2,
                held_key = ?3 WHERE sink = ?4 AND seq = ?5",
            params![until.0, by.word(), key, &*message.sink, message.seq as i64],
        )?;
        self.held.wake = self.held.wake.map(|wake| wake.min(until.0));
        Ok(())
    }

    /// The message that was handed on with this one tells of it too.
    pub(super) fn join_handed(
        &mut self,
        message: &HeldMessage,
        lead: u64,
        reason: Option<&str>,
    ) -> Result<(), StoreFault> {
        let groups = self.held.rules.get(&message.sink).is_some_and(|rule| rule.group.is_some());
        let own = if groups { HeldBy::Group } else { HeldBy::Fallback };
        let by = reason.and_then(HeldBy::of_word).unwrap_or(own);
        self.join(message, by, lead)
    }

    /// The message that waits under `lead` tells of this one too, and of all that it tells of.
    pub(super) fn join(
        &mut self,
        message: &HeldMessage,
        by: HeldBy,
        lead: u64,
    ) -> Result<(), StoreFault> {
        let HeldMessage { sink, seq, parts, allowed, .. } = message;
        let (seq, lead, parts) = (*seq as i64, lead as i64, *parts as i64);
        self.run(
            "UPDATE delivery_rows SET state = 5, lead = ?1, not_before = ?2, last_error = ?3,
                held = NULL, held_key = NULL, parts = 0 WHERE sink = ?4 AND seq = ?5",
            params![lead, AT_ONCE.0, by.word(), &**sink, seq],
        )?;
        if 0 < parts {
            self.run(
                "UPDATE delivery_rows SET lead = ?1, last_error = ?2 WHERE sink = ?3 AND lead = ?4",
                params![lead, by.word(), &**sink, seq],
            )?;
        }
        self.run(
            "UPDATE delivery_rows SET parts = parts + 1 + ?1, is_digest = is_digest | ?2,
                allowed = allowed | ?3 WHERE sink = ?4 AND seq = ?5",
            params![parts, !matches!(by, HeldBy::Group | HeldBy::Wait), allowed, &**sink, lead],
        )?;
        Ok(())
    }

    /// The deliveries that the message of another one tells of have its end; how many they are.
    /// What a message was told with stays the reason, where it was told.
    pub(super) fn end_parts(
        &mut self,
        sink: &Arc<str>,
        lead: u64,
        state: DeliveryState,
        reason: Option<&str>,
    ) -> Result<u64, StoreFault> {
        // What was told before stays so, whatever becomes of the next time.
        let sql = "UPDATE delivery_rows SET state = iif(repeats > 0, 1, ?1),
                        last_error = coalesce(?2, last_error)
                   WHERE sink = ?3 AND lead = ?4 AND state = 5 RETURNING seq, bytes, cooldown";
        let ended: Vec<(i64, i64, Option<String>)> = {
            let mut update = self.connection.prepare_cached(sql)?;
            let values = params![state as i64, reason, &**sink, lead as i64];
            let rows =
                update.query_map(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        for (seq, bytes, cooldown) in &ended {
            self.leave_outbox(sink, *seq as u64, *bytes as u64);
            if is_untold(state, reason) {
                self.give_back_cooldown(sink, *seq as u64, cooldown.as_deref())?;
            }
            self.after_alert(sink, *seq as u64, state)?;
        }
        Ok(ended.len() as u64)
    }

    /// A message that ended is owed again, and with it what it told of.
    pub(super) fn reopen_parts(&mut self, sink: &Arc<str>, lead: u64) -> Result<(), StoreFault> {
        let sql = "UPDATE delivery_rows SET state = 5 WHERE sink = ? AND lead = ? AND state = 2
                   RETURNING bytes";
        let bytes: Vec<i64> = {
            let mut update = self.connection.prepare_cached(sql)?;
            let rows = update.query_map(params![&**sink, lead as i64], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        };
        bytes.into_iter().for_each(|it| self.holdings.outbox.add(sink, it as u64));
        Ok(())
    }

    /// Judges again what waited until now, the first one first.
    pub(super) fn release_held(&mut self) -> Result<(), StoreFault> {
        let sql = "SELECT sink, seq, parts, allowed, held, held_key,
                    iif(is_digest AND parts > 0, NULL, message_key) FROM delivery_rows
                   INDEXED BY delivery_rows_release
                   WHERE state = 5 AND lead IS NULL AND not_before <= ?
                   ORDER BY not_before, seq, sink LIMIT 1";
        self.held.forget_wake();
        for _ in 0..DUE_MAX {
            let first = self.connection.prepare_cached(sql)?.query_row([self.now.0], |row| {
                let message = HeldMessage {
                    sink: row.get::<_, String>(0)?.into(),
                    seq: row.get::<_, i64>(1)? as u64,
                    parts: row.get::<_, i64>(2)? as u64,
                    allowed: row.get(3)?,
                    group: None,
                    has_place: false,
                    message_key: row.get(6)?,
                    fact: None,
                };
                Ok((message, row.get::<_, Option<String>>(4)?, row.get::<_, Option<String>>(5)?))
            });
            let Some((mut message, by, key)) = first.optional()? else { break };
            match by.as_deref().and_then(HeldBy::of_word) {
                Some(HeldBy::Group) => self.note_told(&message.sink, key.as_deref())?,
                Some(HeldBy::Rate) => message.has_place = key.is_none(),
                Some(HeldBy::Recover) => {
                    let key = key.unwrap_or_default();
                    self.judge_recovery(&message.sink, &key, message.seq)?;
                    continue;
                }
                Some(HeldBy::Escalate) if self.waits_for_end(&message.sink, message.seq)? => {
                    let by = HeldBy::Escalate;
                    self.hold(&message, by, key.as_deref(), Timestamp(NEVER))?;
                    continue;
                }
                _ => {}
            }
            self.judge_message(&message)?;
        }
        self.repeat_due()
    }

    /// A group is told: the next message of its key waits for longer.
    fn note_told(&mut self, sink: &Arc<str>, key: Option<&str>) -> Result<(), StoreFault> {
        let rule = self.held.rules.get(sink).and_then(|rule| rule.group);
        let (Some(key), Some(then)) = (key, rule.and_then(|rule| rule.then)) else { return Ok(()) };
        self.keep_number(sink, &group_key(key), self.now.0, self.now.plus(then))
    }

    /// What silences a delivery, if anything does.
    pub(super) fn silencer(
        &self,
        sink: &str,
        claims: &[SilenceClaim],
    ) -> Result<Option<Silencer>, StoreFault> {
        for claim in claims {
            let Some(began) = self.number_of(sink, &claim.state_key())? else { continue };
            // An event that happened before is not silenced, however late it comes.
            let since = claim.time.0.saturating_sub(began);
            let window = i64::try_from(claim.window.as_micros()).unwrap_or(i64::MAX);
            if (0..window).contains(&since) {
                return Ok(Some(claim.by));
            }
        }
        Ok(None)
    }

    /// An event silences a key of a target from its time on.
    pub(super) fn silence(&self, sink: &str, claim: &SilenceClaim) -> Result<(), StoreFault> {
        let key = claim.state_key();
        match self.number_of(sink, &key)? {
            Some(known) if claim.time.0 < known => Ok(()),
            _ => self.keep_number(sink, &key, claim.time.0, self.now.plus(claim.window)),
        }
    }

    /// A number that is kept for a target.
    fn number_of(&self, sink: &str, key: &str) -> Result<Option<i64>, StoreFault> {
        let sql = "SELECT value FROM state WHERE owner = ? AND key = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let value: Option<String> = select.query_row([sink, key], |row| row.get(0)).optional()?;
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// Keeps it up to a time.
    fn keep_number(
        &self,
        sink: &str,
        key: &str,
        value: i64,
        until: Timestamp,
    ) -> Result<(), StoreFault> {
        self.run(
            "INSERT OR REPLACE INTO state (owner, key, value, expires) VALUES (?, ?, ?, ?)",
            params![sink, key, value.to_string(), until.0],
        )?;
        Ok(())
    }
}

/// Until when a message may wait at most, by rules that may be others than those that held it.
fn latest(rules: &NotifyRules, by: HeldBy, now: Timestamp) -> Timestamp {
    match by {
        HeldBy::Group => rules
            .group
            .map_or(now, |group| now.plus(group.then.unwrap_or_default().max(group.wait))),
        HeldBy::Wait => rules.wait.map_or(now, |it| now.plus(it)),
        // They are the same, or they are not: asking is cheap.
        HeldBy::QuietHours | HeldBy::Fallback | HeldBy::Recover => now,
        // Whether it is handed on at all is for the rules of another one to say.
        HeldBy::Escalate => Timestamp(NEVER),
        HeldBy::Rate => match rules.rate {
            Some(rate) if rate.excess != Excess::Drop => Timestamp(NEVER),
            _ => now,
        },
    }
}

/// Where the place of the next message is kept.
const RATE: &str = "rate";

fn group_key(key: &str) -> String {
    format!("group:{key}")
}
