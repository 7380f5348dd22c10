//! Rows of the outbox, within the writer's transaction.
//!
//! *Invariant:* a delivery leaves the outbox once: what is settled again changes nothing.

use super::StoreFault;
use super::held::HeldMessage;
use super::insert::{Batch, Written};
use super::messages::{REPLACED, SentMessage};
use super::outbox::OnFull;
use super::record::{CooldownClaim, DeliveryState, NewDelivery, Settlement, WriteReceipt};
use kernel::choice::Choice;
use kernel::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use std::sync::Arc;

/// Deliveries that one new one may push out: a lowered limit is reached step by step.
const DROPPED_MAX: usize = 16;
/// The time of a delivery that was not tried yet: it is due at once.
pub(super) const AT_ONCE: Timestamp = Timestamp(0);

/// What becomes of a new delivery.
pub(super) enum DeliveryFate {
    Pending,
    /// Parked: the event ran under a file that still had the target.
    Parked,
    /// Suppressed: the label for counting, and why in words.
    Suppressed(&'static str, String),
    Dead(String),
}

impl Batch<'_> {
    /// Puts a delivery of `bytes` into the outbox, as far as rules and limits let it.
    pub(super) fn deliver(
        &mut self,
        delivery: &NewDelivery,
        seq: u64,
        bytes: u64,
    ) -> Result<(), StoreFault> {
        let sink = &delivery.sink;
        let (state, reason) = match self.fate_of(delivery, seq, bytes)? {
            DeliveryFate::Pending => (DeliveryState::Pending, None),
            DeliveryFate::Parked => (DeliveryState::Parked, None),
            DeliveryFate::Suppressed(label, reason) => {
                self.count_suppressed(sink, label, 1);
                (DeliveryState::Suppressed, Some(reason))
            }
            DeliveryFate::Dead(reason) => {
                self.letter_of_delivery(sink, seq, reason.clone())?;
                (DeliveryState::Dead, Some(reason))
            }
        };
        let sql = "INSERT OR IGNORE INTO delivery_rows
                (sink, seq, state, attempts, not_before, created, last_error, bytes, allowed,
                    cooldown, via, message_key, alert)
             VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let waits = matches!(state, DeliveryState::Pending | DeliveryState::Parked);
        // One that changes a message neither begins a cooldown nor is held back by one.
        let cooldown = delivery.cooldown.as_ref().filter(|_| waits);
        let cooldown = match cooldown {
            Some(_) if self.changes_message(delivery, seq)? => None,
            cooldown => cooldown,
        };
        let values = params![
            &**sink,
            seq as i64,
            state as i64,
            AT_ONCE.0,
            self.now.0,
            reason,
            bytes as i64,
            delivery.traits.allowed,
            cooldown.map(|cooldown| &cooldown.key),
            delivery.traits.via.as_ref().map(ToString::to_string),
            delivery.traits.message_key,
            delivery.traits.alert.as_ref().filter(|_| waits),
        ];
        let is_new = self.connection.prepare_cached(sql)?.execute(values)? == 1;
        if is_new && waits {
            self.holdings.outbox.add(sink, bytes);
            self.effects.sinks.insert(sink.clone());
            cooldown.map_or(Ok(()), |cooldown| self.begin_cooldown(sink, seq, cooldown))?;
            if state == DeliveryState::Pending && self.held.has_rules(sink) {
                self.judge_message(&HeldMessage::of(delivery, seq))?;
            }
        }
        if is_new {
            self.count_relayed(delivery, 1);
        }
        if is_new && state == DeliveryState::Dead {
            self.relay(sink, seq, &delivery.traits.fallbacks)?;
        }
        Ok(())
    }

    fn changes_message(&self, delivery: &NewDelivery, seq: u64) -> Result<bool, StoreFault> {
        self.is_update(&delivery.sink, seq, delivery.traits.message_key.as_deref(), true)
    }

    pub(super) fn fate_of(
        &mut self,
        delivery: &NewDelivery,
        seq: u64,
        bytes: u64,
    ) -> Result<DeliveryFate, StoreFault> {
        let sink = &delivery.sink;
        if let Some(reason) = &delivery.suppressed {
            return Ok(DeliveryFate::Suppressed("when", reason.clone()));
        }
        if let Some(by) = self.silencer(sink, &delivery.traits.silences)? {
            return Ok(DeliveryFate::Suppressed(by.word(), by.word().to_owned()));
        }
        if let Some(cooldown) = &delivery.cooldown
            && self.is_cooling(sink, cooldown)?
            && !self.changes_message(delivery, seq)?
        {
            return Ok(DeliveryFate::Suppressed("cooldown", "cooldown".to_owned()));
        }
        if !self.is_target(sink) {
            return Ok(DeliveryFate::Parked);
        }
        let on_full = self.limits.on_full(sink);
        if on_full == OnFull::Reject {
            // Without room the event was not let in, unless it had been accepted before; then it
            // is owed its delivery.
            return Ok(DeliveryFate::Pending);
        }
        for _ in 0..DROPPED_MAX {
            let Some(shortage) = self.limits.shortage(&self.holdings.outbox, sink, bytes) else {
                return Ok(DeliveryFate::Pending);
            };
            self.effects.full.insert(sink.clone(), shortage.to_string());
            if on_full == OnFull::DeadLetter {
                return Ok(DeliveryFate::Dead(shortage.to_string()));
            }
            if !self.drop_oldest(sink, &shortage.to_string())? {
                return Ok(DeliveryFate::Suppressed("backlog", shortage.to_string()));
            }
        }
        Ok(DeliveryFate::Pending)
    }

    /// Suppresses the oldest delivery that waits for this target. False when none does.
    ///
    /// One that waits for another try was the oldest when it was tried first, so these go before
    /// the ones that were not tried yet, unless a later event failed first.
    fn drop_oldest(&mut self, sink: &Arc<str>, reason: &str) -> Result<bool, StoreFault> {
        let next = |sql: &str| {
            let mut select = self.connection.prepare_cached(sql)?;
            select.query_row([&**sink], |row| row.get::<_, i64>(0)).optional()
        };
        let fresh = next(
            "SELECT seq FROM delivery_rows INDEXED BY delivery_rows_due
             WHERE sink = ? AND state = 0 AND not_before = 0 ORDER BY seq LIMIT 1",
        )?;
        let tried = next(
            "SELECT seq FROM delivery_rows INDEXED BY delivery_rows_due
             WHERE sink = ? AND state = 0 AND not_before > 0 ORDER BY not_before, seq LIMIT 1",
        )?;
        let Some(seq) = fresh.into_iter().chain(tried).min() else { return Ok(false) };
        self.escalate_dropped(sink, seq as u64)?;
        let ended = self.close(sink, seq as u64, DeliveryState::Suppressed, reason)?;
        self.count_suppressed(sink, "backlog", ended);
        Ok(true)
    }

    /// Ends a message that nobody got; how many deliveries that are.
    pub(super) fn close(
        &mut self,
        sink: &Arc<str>,
        seq: u64,
        state: DeliveryState,
        reason: &str,
    ) -> Result<u64, StoreFault> {
        // What was told before stays so, whatever becomes of the next time.
        let sql = "UPDATE delivery_rows SET state = iif(repeats > 0, 1, ?1), last_error = ?2
                   WHERE sink = ?3 AND seq = ?4 AND state IN (0, 3, 5)
                   RETURNING bytes, parts, cooldown,
                iif(is_digest AND parts > 0, NULL, message_key)";
        let values = params![state as i64, reason, &**sink, seq as i64];
        let left =
            self.connection.prepare_cached(sql)?.query_row(values, LeftRow::of).optional()?;
        match left {
            Some(left) => Ok(1 + self.end(sink, seq, left, state, Some(reason))?),
            None => Ok(0),
        }
    }

    /// What follows when a delivery has ended; how many others have ended with it.
    fn end(
        &mut self,
        sink: &Arc<str>,
        seq: u64,
        left: LeftRow,
        state: DeliveryState,
        reason: Option<&str>,
    ) -> Result<u64, StoreFault> {
        self.leave_outbox(sink, seq, left.bytes);
        if is_untold(state, reason) {
            self.give_back_cooldown(sink, seq, left.cooldown.as_deref())?;
        }
        self.after_alert(sink, seq, state)?;
        match left.parts {
            0 => Ok(0),
            _ => self.end_parts(sink, seq, state, reason),
        }
    }

    pub(super) fn leave_outbox(&mut self, sink: &Arc<str>, seq: u64, bytes: u64) {
        self.holdings.outbox.take(sink, bytes);
        self.effects.released.push(seq);
    }

    pub(super) fn count_suppressed(&mut self, sink: &Arc<str>, label: &'static str, count: u64) {
        *self.effects.suppressed.entry((sink.clone(), label)).or_default() += count;
    }

    /// Whether the key was told within its window, by the time of events: a backlog gives what it
    /// would have given live. Judged in commit order and undone with the transaction.
    fn is_cooling(
        &mut self,
        sink: &Arc<str>,
        cooldown: &CooldownClaim,
    ) -> Result<bool, StoreFault> {
        let sql = "SELECT value, expires FROM state WHERE owner = ? AND key = ?";
        let row: Option<(String, i64)> = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![&**sink, key_of(&cooldown.key)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let window = i64::try_from(cooldown.window.as_micros()).unwrap_or(i64::MAX);
        Ok(row.is_some_and(|(began, expires)| {
            // Older versions kept only when it ends, by the wall clock.
            let began = began.split(':').next().unwrap_or_default();
            let began = began.parse().unwrap_or(expires.saturating_sub(window));
            // Neither an event out of order nor a clock that was set silences for longer.
            cooldown.time.0.saturating_sub(began).saturating_abs() < window
        }))
    }

    fn begin_cooldown(
        &mut self,
        sink: &Arc<str>,
        seq: u64,
        cooldown: &CooldownClaim,
    ) -> Result<(), StoreFault> {
        let until = self.now.plus(cooldown.window).0;
        // Whose it is, so that it alone gives it back.
        let began = format!("{}:{seq}", cooldown.time.0);
        self.run(
            "INSERT OR REPLACE INTO state (owner, key, value, expires) VALUES (?, ?, ?, ?)",
            params![&**sink, key_of(&cooldown.key), began, until],
        )?;
        Ok(())
    }

    /// A delivery that nobody got silences nobody.
    pub(super) fn give_back_cooldown(
        &mut self,
        sink: &Arc<str>,
        seq: u64,
        key: Option<&str>,
    ) -> Result<(), StoreFault> {
        let Some(key) = key else { return Ok(()) };
        self.run(
            "DELETE FROM state WHERE owner = ? AND key = ? AND value LIKE '%:' || ?",
            params![&**sink, key_of(key), seq as i64],
        )?;
        Ok(())
    }

    /// Notes how an attempt ended. What was settled before, or suppressed meanwhile to make room,
    /// stays as it is, unless the other side took it after all.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> Written {
        let Settlement { sink, seq, state, attempts, error, attempt, .. } = settlement;
        let mut micros = None;
        match attempt {
            Some(attempt) if attempt.fault.is_some() => self.log_attempt(sink, *seq, attempt)?,
            Some(attempt) => micros = i64::try_from(attempt.micros).ok(),
            None => {}
        }
        // Only what was never tried is due at once.
        let not_before = settlement.not_before.0.max(AT_ONCE.0 + 1);
        // Two statements: an UPDATE that returns its row keeps a journal of its own, which costs
        // more than it takes to find the row twice.
        let select =
            "SELECT bytes, parts, cooldown, iif(is_digest AND parts > 0, NULL, message_key)
                      FROM delivery_rows WHERE sink = ? AND seq = ? AND state IN (0, 3)";
        let row = params![&**sink, *seq as i64];
        let left =
            self.connection.prepare_cached(select)?.query_row(row, LeftRow::of).optional()?;
        if left.is_some() {
            self.run(
                "UPDATE delivery_rows
                 SET state = CASE WHEN ?1 IN (0, 3) THEN state ELSE ?1 END, attempts = ?2,
                    not_before = ?3, last_error = ?4, micros = ?7
                 WHERE sink = ?5 AND seq = ?6",
                params![*state as i64, attempts, not_before, error, &**sink, *seq as i64, micros],
            )?;
        }
        match (left, state) {
            (Some(_), DeliveryState::Pending | DeliveryState::Parked) => Ok(WriteReceipt::Done),
            (Some(left), _) => {
                self.note_message(settlement, left.message_key.as_deref())?;
                let ended = 1 + self.end(sink, *seq, left, *state, error.as_deref())?;
                if *state == DeliveryState::Suppressed {
                    self.count_suppressed(sink, REPLACED, ended);
                }
                settlement.letter.iter().try_for_each(|it| self.letter_of_attempt(it))?;
                Ok(WriteReceipt::Done)
            }
            (None, DeliveryState::Done) => {
                let sql = "UPDATE delivery_rows SET state = 1, attempts = ?1, last_error = NULL,
                            not_before = iif(seq = ?3, ?4, not_before),
                            micros = iif(seq = ?3, ?5, NULL)
                           WHERE sink = ?2 AND (seq = ?3 OR lead = ?3) AND state = 4
                           RETURNING iif(is_digest OR lead IS NOT NULL, NULL, message_key)";
                let mut update = self.connection.prepare_cached(sql)?;
                let values = params![attempts, &**sink, *seq as i64, not_before, micros];
                let keys: Vec<Option<String>> =
                    update.query_map(values, |row| row.get(0))?.collect::<Result<_, _>>()?;
                let key = keys.into_iter().flatten().next();
                self.note_message(settlement, key.as_deref())?;
                Ok(WriteReceipt::Done)
            }
            (None, _) => Ok(WriteReceipt::Done),
        }
    }

    /// Keeps what the service calls a message that may be replaced.
    fn note_message(
        &mut self,
        settlement: &Settlement,
        key: Option<&str>,
    ) -> Result<(), StoreFault> {
        let is_sent = settlement.state == DeliveryState::Done;
        let Some(key) = key.filter(|_| is_sent) else { return Ok(()) };
        let receipt = settlement.receipt.clone().unwrap_or_default();
        self.keep_message(&settlement.sink, key, &SentMessage { seq: settlement.seq, receipt })
    }
}

/// Whether nobody got it, nor a newer message in its place.
pub(super) fn is_untold(state: DeliveryState, reason: Option<&str>) -> bool {
    let is_replaced = state == DeliveryState::Suppressed && reason == Some(REPLACED);
    state != DeliveryState::Done && !is_replaced
}

fn key_of(cooldown: &str) -> String {
    format!("cooldown:{cooldown}")
}

/// What a delivery leaves in the outbox when it ends.
struct LeftRow {
    bytes: u64,
    /// Others that its message tells of.
    parts: u64,
    cooldown: Option<String>,
    /// The key of the message that it sends or changes.
    message_key: Option<String>,
}

impl LeftRow {
    fn of(row: &Row<'_>) -> rusqlite::Result<LeftRow> {
        let (bytes, parts): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(LeftRow {
            bytes: bytes as u64,
            parts: parts as u64,
            cooldown: row.get(2)?,
            message_key: row.get(3)?,
        })
    }
}
