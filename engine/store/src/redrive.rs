//! Dead letters that are put right, within the writer's transaction.
//!
//! *Invariant:* a letter goes in the commit that makes durable what it holds, and in no other.

use super::StoreFault;
use super::checksum::{self, SummedTable};
use super::claim::EntryHash;
use super::deliveries::AT_ONCE;
use super::insert::{Batch, RowHash, Written};
use super::letter_query::{LETTER, LETTER_BODY};
use super::record::{
    AuditRecord, DeadLetter, DeliveryState, LetterMaker, StoreEntry, WriteReceipt,
};
use super::rollup::EventTally;
use kernel::event::Event;
use rusqlite::{OptionalExtension, Row, params};
use std::sync::Arc;

/// What the table `audit` holds at most; the oldest go first.
const AUDIT_MAX: u64 = 10_000;

impl Batch<'_> {
    /// The message of a letter, taken in again.
    pub(super) fn retry(
        &mut self,
        letter: i64,
        entry: &StoreEntry,
        is_part: bool,
        hash: EntryHash,
    ) -> Written {
        let sql = "SELECT 1 FROM dead_letters WHERE id = ? AND what = 'rejected'";
        if !self.connection.prepare_cached(sql)?.exists([letter])? {
            return Ok(WriteReceipt::Gone);
        }
        let receipt = self.write(entry, hash)?;
        match receipt {
            _ if is_part => {}
            WriteReceipt::Stored { .. }
            | WriteReceipt::Accepted { .. }
            | WriteReceipt::Judged { .. }
            | WriteReceipt::Duplicate { .. } => {
                self.drop_letter(letter)?;
            }
            // Its id belongs to another event: the letter is the only copy of this one. So it is of
            // what a stage lets go.
            WriteReceipt::Conflict { .. } | WriteReceipt::Dropped { .. } => {}
            WriteReceipt::Done | WriteReceipt::Gone => unreachable!("the entry claims an id"),
        }
        Ok(receipt)
    }

    /// The event of a letter goes back into the inbox; its claim has never been given up.
    pub(super) fn reopen(&mut self, letter: i64, event: &Event, hash: EntryHash) -> Written {
        assert_ne!(event.seq, 0, "what is opened again was accepted");
        let sql = "DELETE FROM dead_letters WHERE id = ? AND what = 'event' AND seq = ?
                   RETURNING message_hash";
        let mut delete = self.connection.prepare_cached(sql)?;
        let deleted = delete.query_row(params![letter, event.seq as i64], |row| row.get(0));
        let Some(message) = deleted.optional()? else { return Ok(WriteReceipt::Gone) };
        self.holdings.letters -= 1;
        self.accept(event, event.seq, RowHash { body: hash.body, message })
    }

    /// The delivery of a letter is owed again.
    pub(super) fn redeliver(&mut self, letter: i64) -> Written {
        let sql = "SELECT stage, seq FROM dead_letters
                   WHERE id = ? AND what = 'delivery' AND seq IS NOT NULL";
        let mut select = self.connection.prepare_cached(sql)?;
        let found = select.query_row([letter], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((sink, seq)) = found.map(|it: (String, i64)| (Arc::<str>::from(it.0), it.1))
        else {
            return Ok(WriteReceipt::Gone);
        };
        let sql = "SELECT state, CASE WHEN bytes > 0 THEN bytes ELSE
                (SELECT octet_length(e.body) + coalesce(octet_length(e.data), 0)
                    + octet_length(e.enrich) FROM event_rows AS e
                    WHERE e.seq = d.seq OR (e.pos = d.seq AND e.seq IS NULL)) END
             FROM delivery_rows AS d WHERE sink = ? AND seq = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let found = select.query_row(params![&*sink, seq], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((state, Some(bytes))): Option<(i64, Option<i64>)> = found.optional()? else {
            // The event has gone, and with it what was to be delivered.
            return Ok(WriteReceipt::Gone);
        };
        self.run("DELETE FROM dead_letters WHERE id = ?", [letter])?;
        self.holdings.letters -= 1;
        if state != DeliveryState::Dead as i64 {
            self.effects.released.push(seq as u64);
            return Ok(WriteReceipt::Duplicate { seq: seq as u64 });
        }
        // Created now: the time after which it is given up begins anew.
        self.run(
            "UPDATE delivery_rows SET state = ?, attempts = 0, not_before = ?, created = ?,
                last_error = NULL, bytes = ? WHERE sink = ? AND seq = ?",
            params![self.waiting_state(&sink) as i64, AT_ONCE.0, self.now.0, bytes, &*sink, seq],
        )?;
        self.holdings.outbox.add(&sink, bytes as u64);
        self.reopen_parts(&sink, seq as u64)?;
        self.effects.sinks.insert(sink);
        Ok(WriteReceipt::Accepted { seq: seq as u64 })
    }

    /// A letter that was tried again and stays. One that is damaged stays as it is, and one that
    /// nobody can know to be right gets no checksum that says so.
    pub(super) fn keep_letter(&mut self, letter: i64, reason: &str) -> Written {
        let one = format!("{LETTER} WHERE id = ?");
        let mut select = self.connection.prepare_cached(&one)?;
        let check = |row: &Row<'_>| {
            Ok(checksum::verify(self.keys, SummedTable::Letter, row, LETTER_BODY, true))
        };
        let Some(verified) = select.query_row([letter], check).optional()? else {
            return Ok(WriteReceipt::Gone);
        };
        let has_checksum = verified?;
        self.run(
            "UPDATE dead_letters SET reason = ?, attempts = attempts + 1, last = ? WHERE id = ?",
            params![reason, self.now.0, letter],
        )?;
        if !has_checksum {
            return Ok(WriteReceipt::Done);
        }
        let sum =
            |row: &Row<'_>| Ok(checksum::of_row(self.keys, SummedTable::Letter, row, LETTER_BODY));
        let checksum = select.query_row([letter], sum)??;
        self.run("UPDATE dead_letters SET checksum = ? WHERE id = ?", params![checksum, letter])
    }

    /// An entry whose sender hears no answer: what is in conflict is kept.
    pub(super) fn or_letter(
        &mut self,
        entry: &StoreEntry,
        letter: &LetterMaker,
        hash: EntryHash,
    ) -> Written {
        let receipt = self.write(entry, hash)?;
        if let WriteReceipt::Conflict { .. } = receipt {
            let letter = letter.make();
            self.letter(&letter)?;
            self.rollups.add(&EventTally::of_letter(&letter));
        }
        Ok(receipt)
    }

    pub(super) fn audit(&mut self, audit: &AuditRecord) -> Written {
        let AuditRecord { who, action, subject, outcome } = audit;
        let (subject, outcome) = (subject.to_string(), outcome.to_string());
        let sql = "INSERT INTO audit (time, who, action, subject, outcome) VALUES (?, ?, ?, ?, ?)";
        self.run(sql, params![self.now.0, who, action, subject, outcome])?;
        let oldest = self.connection.last_insert_rowid().saturating_sub(AUDIT_MAX as i64);
        self.run("DELETE FROM audit WHERE id <= ?", [oldest])
    }

    /// Source and id of the event of a delivery, for its letter.
    pub(super) fn letter_of_attempt(&mut self, letter: &DeadLetter) -> Result<(), StoreFault> {
        let mut letter = letter.clone();
        if let Some(seq) = letter.seq
            && let Some((source, id)) = super::rows::id_of(self.connection, seq)?
        {
            letter.source = Some(source);
            letter.event_id = Some(id);
        }
        self.letter(&letter)
    }
}
