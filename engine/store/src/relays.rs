//! Deliveries that one notifier hands to another, within the writer's transaction.
//!
//! *Invariant:* an event has one delivery to a target, whoever handed it there: who has it already
//! is not told twice.

use super::StoreFault;
use super::held::HeldMessage;
use super::insert::{Batch, Written};
use super::record::{DeliveryState, NewDelivery, WriteReceipt};
use kernel::choice::Choice;
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;

impl Batch<'_> {
    /// What `from` could not deliver goes to others, and so does what its message told of. What
    /// was told together is told together there.
    pub(super) fn relay(&mut self, from: &Arc<str>, seq: u64, to: &[NewDelivery]) -> Written {
        let dead = self.dead_parts(from, seq)?;
        for delivery in to {
            self.hand_on(&dead, delivery)?;
        }
        Ok(WriteReceipt::Done)
    }

    /// A dead delivery and those that its message told of, by their numbers, with their bytes.
    fn dead_parts(&self, sink: &str, seq: u64) -> Result<Vec<(u64, u64)>, StoreFault> {
        let sql = "SELECT seq, bytes FROM delivery_rows WHERE sink = ?1 AND seq = ?2 AND state = 2
                   UNION ALL
                   SELECT seq, bytes FROM delivery_rows INDEXED BY delivery_rows_lead
                   WHERE sink = ?1 AND lead = ?2 AND state = 2";
        let mut select = self.connection.prepare_cached(sql)?;
        let rows = select.query_map(params![sink, seq as i64], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn hand_on(&mut self, dead: &[(u64, u64)], delivery: &NewDelivery) -> Result<(), StoreFault> {
        let mut lead = None;
        for (seq, bytes) in dead {
            if self.delivery_row(&delivery.sink, *seq)?.is_some() {
                continue;
            }
            match lead {
                None => {
                    self.deliver(delivery, *seq, *bytes)?;
                    lead = Some(*seq);
                }
                Some(lead) => self.hand_with(delivery, lead, *seq, *bytes)?,
            }
        }
        Ok(())
    }

    /// A delivery that is told with one that was handed on just now, or ends as that did.
    fn hand_with(
        &mut self,
        delivery: &NewDelivery,
        lead: u64,
        seq: u64,
        bytes: u64,
    ) -> Result<(), StoreFault> {
        let sink = &delivery.sink;
        let row = self.delivery_row(sink, lead)?.expect("it was handed on");
        let via = delivery.traits.via.as_ref().map(ToString::to_string);
        self.run(
            "INSERT INTO delivery_rows (sink, seq, state, attempts, not_before, created,
                last_error, bytes, via, lead) VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
            params![
                &**sink,
                seq as i64,
                row.state,
                super::deliveries::AT_ONCE.0,
                self.now.0,
                row.reason,
                bytes as i64,
                via,
                row.lead.unwrap_or(lead) as i64,
            ],
        )?;
        self.count_relayed(delivery, 1);
        if row.is_over() {
            if row.state == DeliveryState::Suppressed as i64 {
                self.count_suppressed(sink, row.label(), 1);
            }
            return Ok(());
        }
        self.holdings.outbox.add(sink, bytes);
        let message = HeldMessage::of(delivery, seq);
        // Where the first one is told with another message, so are the rest, and for its reason.
        let reason = row.reason.filter(|_| row.lead.is_some());
        self.join_handed(&message, row.lead.unwrap_or(lead), reason.as_deref())
    }

    /// Counts a delivery that no route made.
    pub(super) fn count_relayed(&mut self, delivery: &NewDelivery, count: u64) {
        if let Some(via) = &delivery.traits.via {
            let key = (delivery.sink.clone(), via.word.word());
            *self.effects.relayed.entry(key).or_default() += count;
        }
    }

    pub(super) fn delivery_row(
        &self,
        sink: &str,
        seq: u64,
    ) -> Result<Option<HandedRow>, StoreFault> {
        let sql = "SELECT state, lead, last_error FROM delivery_rows WHERE sink = ? AND seq = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let row = select.query_row(params![sink, seq as i64], |row| {
            let lead: Option<i64> = row.get(1)?;
            Ok(HandedRow {
                state: row.get(0)?,
                lead: lead.map(|lead| lead as u64),
                reason: row.get(2)?,
            })
        });
        Ok(row.optional()?)
    }
}

/// A delivery that was handed on, or may be.
pub(super) struct HandedRow {
    pub(super) state: i64,
    lead: Option<u64>,
    reason: Option<String>,
}

impl HandedRow {
    fn is_over(&self) -> bool {
        let waits = [DeliveryState::Pending, DeliveryState::Parked, DeliveryState::Held];
        !waits.iter().any(|it| *it as i64 == self.state)
    }

    /// Whether it was dropped for want of room, and not by a rule of the file.
    pub(super) fn had_no_room(&self) -> bool {
        self.state == DeliveryState::Suppressed as i64 && self.label() == "backlog"
    }

    /// What it is counted under where it is suppressed.
    fn label(&self) -> &'static str {
        let known = ["when", "cooldown", "quiet-hours", "rate", "mute", "unless"];
        let reason = self.reason.as_deref();
        known.into_iter().find(|it| reason == Some(*it)).unwrap_or("backlog")
    }
}
