//! Alerts that are sent again, handed on or taken back, within the writer's transaction.
//!
//! An alert is a delivery that says by `alert` which key it is of, as long as the alert is open.
//! What is handed on when nobody reacts is a delivery of its own from the beginning, held until
//! then; an all-clear is one that is held until it is known whether its alerts were sent.
//!
//! *Invariant:* of one key, at most one delivery that was made is to be sent again: the newest.

use super::StoreFault;
use super::deliveries::{AT_ONCE, DeliveryFate};
use super::held::{HeldBy, HeldMessage, NEVER};
use super::insert::Batch;
use super::manners::{NotifyRules, RelayWord, RepeatRule};
use super::record::{DeliveryState, NewDelivery};
use kernel::choice::Choice;
use kernel::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use std::sync::Arc;

/// Nothing is sent again: somebody reacted.
const ANSWERED: i64 = -1;
/// The reason of a delivery that ended because somebody reacted.
const UNTIL: &str = "until";
const RECOVER: &str = "recover";
/// The reason of one that is not sent again, because a newer one of its key was sent.
const REPEAT: &str = "repeat";
/// Most deliveries that one transaction sends again.
const AGAIN_MAX: usize = 1024;

/// A delivery that is an alert, or follows from one.
struct AlertRow {
    seq: u64,
    state: i64,
    /// Whether a message of its own waits for a time.
    is_held_alone: bool,
    repeats: u32,
}

impl AlertRow {
    fn of(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
        Ok(AlertRow {
            seq: row.get::<_, i64>(0)? as u64,
            state: row.get(1)?,
            is_held_alone: row.get(2)?,
            repeats: row.get(3)?,
        })
    }

    fn is(&self, state: DeliveryState) -> bool {
        self.state == state as i64
    }

    /// Whether somebody was told.
    fn was_told(&self) -> bool {
        self.is(DeliveryState::Done) || 0 < self.repeats
    }

    /// Whether it is not known yet.
    fn is_open(&self) -> bool {
        let states = [DeliveryState::Pending, DeliveryState::Parked, DeliveryState::Held];
        states.iter().any(|state| self.is(*state))
    }
}

impl Batch<'_> {
    /// Somebody reacted to the alerts of a key.
    pub(super) fn answer(&mut self, sink: &Arc<str>, key: &str) -> Result<(), StoreFault> {
        for row in self.alerts_of(sink, key, NEVER as u64)? {
            if 0 < row.repeats && row.is_open() {
                // It was told before; this time it is not.
                self.close(sink, row.seq, DeliveryState::Suppressed, UNTIL)?;
            }
            self.set_again(sink, row.seq, ANSWERED)?;
        }
        self.end_escalations(sink, key)
    }

    /// An all-clear. It waits until each alert before it has ended; one that nobody has seen is
    /// dropped in its place.
    pub(super) fn take_back(
        &mut self,
        delivery: &NewDelivery,
        seq: u64,
        bytes: u64,
    ) -> Result<(), StoreFault> {
        let recovery = delivery.traits.recovery.as_ref().expect("it takes an alert back");
        let (sink, key) = (&delivery.sink, &recovery.key);
        let is_open = !self.alerts_of(sink, key, seq)?.is_empty();
        if !is_open && !recovery.is_routed {
            return Ok(());
        }
        let until = self.now.plus(std::time::Duration::from_micros(1));
        match self.deliver_held(delivery, seq, bytes, (HeldBy::Recover, key, until))? {
            true => self.judge_recovery(sink, key, seq),
            false => Ok(()),
        }
    }

    /// Whether an all-clear is sent: when one of its alerts was, and none of them waits.
    pub(super) fn judge_recovery(
        &mut self,
        sink: &Arc<str>,
        key: &str,
        seq: u64,
    ) -> Result<(), StoreFault> {
        let (mut was_told, mut is_open) = (false, false);
        for row in self.alerts_of(sink, key, seq)? {
            if row.is_open() && (row.is_held_alone || 0 < row.repeats) {
                self.set_again(sink, row.seq, ANSWERED)?;
                let ended = self.close(sink, row.seq, DeliveryState::Suppressed, RECOVER)?;
                let count = if 0 < row.repeats { 0 } else { ended };
                self.count_suppressed(sink, RECOVER, count);
            } else {
                is_open |= row.is_open();
            }
            was_told |= row.was_told();
        }
        let message = self.waiting_message(sink, seq)?;
        if is_open {
            return self.hold(&message, HeldBy::Recover, Some(key), Timestamp(NEVER));
        }
        self.run(
            "UPDATE delivery_rows SET alert = NULL, again = NULL
             WHERE sink = ? AND alert = ? AND seq < ?",
            params![&**sink, key, seq as i64],
        )?;
        if was_told {
            return self.judge_message(&message);
        }
        let ended = self.close(sink, seq, DeliveryState::Suppressed, RECOVER)?;
        self.count_suppressed(sink, RECOVER, ended);
        Ok(())
    }

    /// The alerts of a key that came before an event.
    fn alerts_of(&self, sink: &str, key: &str, before: u64) -> Result<Vec<AlertRow>, StoreFault> {
        let sql = "SELECT seq, state, state = 5 AND lead IS NULL AND parts = 0, repeats
                   FROM delivery_rows INDEXED BY delivery_rows_alert
                   WHERE sink = ? AND alert = ? AND seq < ? ORDER BY seq";
        let mut select = self.connection.prepare_cached(sql)?;
        let rows = select.query_map(params![sink, key, before as i64], AlertRow::of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn set_again(&mut self, sink: &str, seq: u64, again: i64) -> Result<(), StoreFault> {
        self.run(
            "UPDATE delivery_rows SET again = ? WHERE sink = ? AND seq = ?",
            params![again, sink, seq as i64],
        )?;
        self.effects.released.push(seq);
        if 0 < again {
            self.held.wake_by(again);
        }
        Ok(())
    }

    /// A delivery has ended: what follows where it is an alert.
    pub(super) fn after_alert(
        &mut self,
        sink: &Arc<str>,
        seq: u64,
        state: DeliveryState,
    ) -> Result<(), StoreFault> {
        let Some(rules) = self.held.rules_of(sink) else { return Ok(()) };
        if !rules.has_alerts() {
            return Ok(());
        }
        self.time_escalations(sink, seq, &rules, state)?;
        let sql = "SELECT alert, coalesce(again, 0), repeats FROM delivery_rows
                   WHERE sink = ? AND seq = ? AND alert IS NOT NULL";
        let found = {
            let mut select = self.connection.prepare_cached(sql)?;
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            select.query_row(params![&**sink, seq as i64], read).optional()?
        };
        let Some((key, again, repeats)): Option<(String, i64, u32)> = found else { return Ok(()) };
        match state {
            DeliveryState::Done => self.after_told(sink, seq, &rules, &key, (again, repeats))?,
            _ if 0 < repeats => self.after_told(sink, seq, &rules, &key, (again, repeats))?,
            _ => self.close_alert(sink, seq, false)?,
        }
        self.judge_recoveries(sink, &key)
    }

    /// Somebody was told: it is told again, unless somebody reacted.
    fn after_told(
        &mut self,
        sink: &Arc<str>,
        seq: u64,
        rules: &NotifyRules,
        key: &str,
        (again, repeats): (i64, u32),
    ) -> Result<(), StoreFault> {
        // The newest one counts.
        if self.is_newer_told(sink, key, seq)? {
            return self.close_alert(sink, seq, rules.recovers);
        }
        for row in self.alerts_of(sink, key, seq)? {
            if row.is_open() && 0 < row.repeats {
                self.close(sink, row.seq, DeliveryState::Suppressed, REPEAT)?;
            }
        }
        let is_known = self.waiting_recoveries(sink, key)?.is_empty();
        self.run(
            "UPDATE delivery_rows SET again = NULL, alert = iif(?4, NULL, alert)
             WHERE sink = ?1 AND alert = ?2 AND seq < ?3 AND state = 1",
            params![&**sink, key, seq as i64, is_known],
        )?;
        match rules.repeat.filter(|repeat| again != ANSWERED && repeats < repeat.max) {
            Some(RepeatRule { every, .. }) => {
                self.set_again(sink, seq, self.now.plus(every).0)?;
            }
            None if rules.recovers => {}
            None => self.close_alert(sink, seq, false)?,
        }
        Ok(())
    }

    fn is_newer_told(&self, sink: &str, key: &str, seq: u64) -> Result<bool, StoreFault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM delivery_rows INDEXED BY delivery_rows_alert
                    WHERE sink = ? AND alert = ? AND seq > ? AND (state = 1 OR repeats > 0))";
        let mut select = self.connection.prepare_cached(sql)?;
        Ok(select.query_row(params![sink, key, seq as i64], |row| row.get(0))?)
    }

    /// It is not sent again; an all-clear that waits may still have to know of it.
    fn close_alert(&mut self, sink: &str, seq: u64, stays: bool) -> Result<(), StoreFault> {
        self.run(
            "UPDATE delivery_rows SET alert = iif(?1, alert, NULL), again = NULL
             WHERE sink = ?2 AND seq = ?3",
            params![stays, sink, seq as i64],
        )?;
        self.effects.released.push(seq);
        Ok(())
    }

    /// The all-clears that wait for alerts of a key, the first one first.
    fn judge_recoveries(&mut self, sink: &Arc<str>, key: &str) -> Result<(), StoreFault> {
        let waiting = self.waiting_recoveries(sink, key)?;
        waiting.into_iter().try_for_each(|seq| self.judge_recovery(sink, key, seq as u64))
    }

    fn waiting_recoveries(&self, sink: &str, key: &str) -> Result<Vec<i64>, StoreFault> {
        let sql = "SELECT seq FROM delivery_rows INDEXED BY delivery_rows_joined
                   WHERE sink = ? AND held = 'recover' AND held_key = ? AND state = 5
                    AND lead IS NULL ORDER BY seq";
        let mut select = self.connection.prepare_cached(sql)?;
        let rows = select.query_map(params![sink, key], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What others get of an event when nobody reacts: held until the delivery of `from` has ended
    /// and its time is over. While one of a key waits, later alerts add none.
    pub(super) fn escalate_later(
        &mut self,
        from: &NewDelivery,
        seq: u64,
        bytes: u64,
    ) -> Result<(), StoreFault> {
        let Some(key) = &from.traits.alert else { return Ok(()) };
        let Some(row) = self.delivery_row(&from.sink, seq)? else { return Ok(()) };
        let had_no_room = row.had_no_room();
        if row.state == DeliveryState::Suppressed as i64 && !had_no_room {
            return Ok(());
        }
        for delivery in &from.traits.escalations {
            if self.is_escalating(&delivery.sink, &from.sink, key)? {
                continue;
            }
            let until = Timestamp(NEVER);
            self.deliver_held(delivery, seq, bytes, (HeldBy::Escalate, key, until))?;
            self.escalate_later(delivery, seq, bytes)?;
        }
        if row.state == DeliveryState::Dead as i64 || had_no_room {
            let rules = self.held.rules_of(&from.sink);
            rules.map_or(Ok(()), |rules| {
                self.time_escalations(&from.sink, seq, &rules, DeliveryState::Dead)
            })?;
        }
        Ok(())
    }

    /// A message is about to be dropped for want of room: nobody was told, and nothing in the file
    /// wanted that. So the time to react begins as it does where it fails.
    pub(super) fn escalate_dropped(&mut self, sink: &Arc<str>, seq: u64) -> Result<(), StoreFault> {
        let rules = self.held.rules_of(sink).filter(|rules| rules.escalate.is_some());
        let Some(rules) = rules else { return Ok(()) };
        let sql = "SELECT seq FROM delivery_rows INDEXED BY delivery_rows_lead
                   WHERE sink = ? AND lead = ?";
        let parts: Vec<i64> = {
            let mut select = self.connection.prepare_cached(sql)?;
            let rows = select.query_map(params![&**sink, seq as i64], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        };
        for seq in [seq].into_iter().chain(parts.into_iter().map(|it| it as u64)) {
            self.time_escalations(sink, seq, &rules, DeliveryState::Dead)?;
        }
        Ok(())
    }

    fn is_escalating(&self, sink: &str, from: &str, key: &str) -> Result<bool, StoreFault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM delivery_rows INDEXED BY delivery_rows_joined
                    WHERE sink = ? AND held = 'escalate' AND held_key = ? AND state = 5
                        AND lead IS NULL AND via = ?)";
        let via = escalated_by(from);
        let mut select = self.connection.prepare_cached(sql)?;
        Ok(select.query_row(params![sink, key, via], |row| row.get(0))?)
    }

    /// The delivery that would be handed on has ended: the time to react begins, or nobody was told
    /// that could.
    fn time_escalations(
        &mut self,
        from: &Arc<str>,
        seq: u64,
        rules: &NotifyRules,
        state: DeliveryState,
    ) -> Result<(), StoreFault> {
        let Some(rule) = &rules.escalate else { return Ok(()) };
        let (via, until) = (escalated_by(from), self.now.plus(rule.after).0);
        for sink in &rule.to {
            if state == DeliveryState::Suppressed {
                let sql = "SELECT 1 FROM delivery_rows WHERE sink = ? AND seq = ? AND via = ?
                            AND held = 'escalate' AND state = 5 AND not_before = ?";
                let values = params![&**sink, seq as i64, via, NEVER];
                if self.connection.prepare_cached(sql)?.exists(values)? {
                    self.end_escalation(sink, seq)?;
                }
                continue;
            }
            self.run(
                "UPDATE delivery_rows SET not_before = ? WHERE sink = ? AND seq = ? AND via = ?
                    AND held = 'escalate' AND state = 5 AND not_before = ?",
                params![until, &**sink, seq as i64, via, NEVER],
            )?;
        }
        self.held.wake_by(until);
        Ok(())
    }

    fn end_escalation(&mut self, sink: &Arc<str>, seq: u64) -> Result<(), StoreFault> {
        let ended = self.close(sink, seq, DeliveryState::Suppressed, UNTIL)?;
        self.count_suppressed(sink, UNTIL, ended);
        Ok(())
    }

    /// Ends what waits to be handed on.
    fn end_escalations(&mut self, from: &Arc<str>, key: &str) -> Result<(), StoreFault> {
        let rules = self.held.rules_of(from);
        let Some(rule) = rules.as_ref().and_then(|rules| rules.escalate.as_ref()) else {
            return Ok(());
        };
        for sink in &rule.to {
            let sql = "SELECT seq FROM delivery_rows INDEXED BY delivery_rows_joined
                       WHERE sink = ?1 AND held = 'escalate' AND state = 5 AND lead IS NULL
                        AND held_key = ?2 AND via = ?3";
            let waiting: Vec<i64> = {
                let mut select = self.connection.prepare_cached(sql)?;
                let values = params![&**sink, key, escalated_by(from)];
                let rows = select.query_map(values, |row| row.get(0))?;
                rows.collect::<Result<_, _>>()?
            };
            for seq in waiting {
                self.end_escalation(sink, seq as u64)?;
            }
        }
        Ok(())
    }

    /// After a reload: what the file hands on no more ends.
    pub(super) fn review_escalations(&mut self) -> Result<(), StoreFault> {
        let sql = "SELECT sink, seq, via FROM delivery_rows INDEXED BY delivery_rows_release
                   WHERE state = 5 AND lead IS NULL AND held = 'escalate'";
        let waiting: Vec<(String, i64, String)> = {
            let mut select = self.connection.prepare_cached(sql)?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        for (sink, seq, via) in waiting {
            let from = via.split_once(' ').map_or("", |it| it.1);
            let rules = self.held.rules_of(from);
            let rule = rules.as_ref().and_then(|rules| rules.escalate.as_ref());
            if rule.is_none_or(|rule| !rule.to.iter().any(|it| **it == *sink)) {
                self.end_escalation(&sink.into(), seq as u64)?;
            }
        }
        Ok(())
    }

    /// Ends the repeats of notifiers that repeat nothing any more: whoever reacts while one is gone
    /// is not heard, so it must not go on when it is back.
    pub(super) fn end_unruled_repeats(&mut self) -> Result<(), StoreFault> {
        let sql = "SELECT sink, seq FROM delivery_rows INDEXED BY delivery_rows_again
                   WHERE again > 0";
        let repeated: Vec<(String, i64)> = {
            let mut select = self.connection.prepare_cached(sql)?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        for (sink, seq) in repeated {
            if self.held.rules_of(&sink).is_none_or(|rules| rules.repeat.is_none()) {
                self.close_alert(&sink, seq as u64, true)?;
            }
        }
        Ok(())
    }

    /// Sends again what is due.
    pub(super) fn repeat_due(&mut self) -> Result<(), StoreFault> {
        let sql = "SELECT sink, seq FROM delivery_rows INDEXED BY delivery_rows_again
                   WHERE again > 0 AND again <= ? ORDER BY again, seq, sink LIMIT 1";
        for _ in 0..AGAIN_MAX {
            let found: Option<(String, i64)> = {
                let mut select = self.connection.prepare_cached(sql)?;
                select.query_row([self.now.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?
            };
            let Some((sink, seq)) = found else { break };
            self.repeat(&sink.into(), seq as u64)?;
        }
        Ok(())
    }

    fn repeat(&mut self, sink: &Arc<str>, seq: u64) -> Result<(), StoreFault> {
        let rule = self.held.rules_of(sink).and_then(|it| it.repeat);
        if rule.is_none() || !self.is_target(sink) {
            return self.close_alert(sink, seq, rule.is_none());
        }
        self.log_success(sink, seq)?;
        // Created now: the time after which it is given up begins again.
        let sql = "UPDATE delivery_rows SET again = NULL, repeats = repeats + 1, state = 0,
                        attempts = 0, not_before = ?1, created = ?2, last_error = NULL, lead = NULL,
                        parts = 0, is_digest = 0, cooldown = NULL
                   WHERE sink = ?3 AND seq = ?4 AND state = 1 RETURNING bytes, allowed";
        let found: Option<(i64, u32)> = {
            let mut update = self.connection.prepare_cached(sql)?;
            let values = params![AT_ONCE.0, self.now.0, &**sink, seq as i64];
            update.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).optional()?
        };
        let Some((bytes, allowed)) = found else { return self.set_again(sink, seq, ANSWERED) };
        self.holdings.outbox.add(sink, bytes as u64);
        self.effects.sinks.insert(sink.clone());
        *self.effects.relayed.entry((sink.clone(), "repeat")).or_default() += 1;
        self.judge_message(&HeldMessage { allowed, ..HeldMessage::alone(sink.clone(), seq) })
    }

    /// A new delivery that waits from the beginning; whether it does.
    fn deliver_held(
        &mut self,
        delivery: &NewDelivery,
        seq: u64,
        bytes: u64,
        (by, key, until): (HeldBy, &str, Timestamp),
    ) -> Result<bool, StoreFault> {
        let sink = &delivery.sink;
        let fate = self.fate_of(delivery, seq, bytes)?;
        if !matches!(fate, DeliveryFate::Pending | DeliveryFate::Parked) {
            self.deliver(delivery, seq, bytes)?;
            return Ok(false);
        }
        let traits = &delivery.traits;
        let sql = "INSERT OR IGNORE INTO delivery_rows (sink, seq, state, attempts, not_before,
                created, bytes, allowed, via, alert) VALUES (?, ?, 5, 0, ?, ?, ?, ?, ?, ?)";
        let values = params![
            &**sink,
            seq as i64,
            until.0,
            self.now.0,
            bytes as i64,
            traits.allowed,
            traits.via.as_ref().map(ToString::to_string),
            traits.alert,
        ];
        if self.connection.prepare_cached(sql)?.execute(values)? == 0 {
            // It has the event already.
            return Ok(false);
        }
        self.holdings.outbox.add(sink, bytes);
        self.count_relayed(delivery, 1);
        self.hold(&HeldMessage::alone(sink.clone(), seq), by, Some(key), until)?;
        Ok(true)
    }

    /// A message that waits, as its row has it.
    pub(super) fn waiting_message(
        &self,
        sink: &Arc<str>,
        seq: u64,
    ) -> Result<HeldMessage, StoreFault> {
        let sql = "SELECT parts, allowed FROM delivery_rows WHERE sink = ? AND seq = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?));
        let (parts, allowed) = select.query_row(params![&**sink, seq as i64], read)?;
        Ok(HeldMessage { parts, allowed, ..HeldMessage::alone(sink.clone(), seq) })
    }

    /// Whether what was to be handed on waits for the end of another delivery.
    pub(super) fn waits_for_end(&self, sink: &str, seq: u64) -> Result<bool, StoreFault> {
        let sql = "SELECT EXISTS (SELECT 1 FROM delivery_rows AS e JOIN delivery_rows AS d
                    ON d.sink = substr(e.via, 10) AND d.seq = e.seq
                    WHERE e.sink = ? AND e.seq = ? AND d.repeats = 0 AND d.state IN (0, 3, 5))";
        let mut select = self.connection.prepare_cached(sql)?;
        Ok(select.query_row(params![sink, seq as i64], |row| row.get(0))?)
    }
}

fn escalated_by(from: &str) -> String {
    format!("{} {from}", RelayWord::Escalate.word())
}
