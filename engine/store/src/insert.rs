//! One entry into the tables, within the writer's transaction.

use super::StoreFault;
use super::checksum::{RowBody, SummedTable, cell, insert, maybe_number, maybe_text, number, text};
use super::claim::{Claim, ClaimResult, Claims, EntryHash, Keys};
use super::held::HeldState;
use super::holdings::StoreHoldings;
use super::keyed::Memories;
use super::names::{NameKind, Names};
use super::outbox::OutboxLimits;
use super::parked::KnownTargets;
use super::record::{
    DeadLetter, FinishedEvent, MappedEvent, ReloadRecord, StoreEntry, StoredEvent, WriteReceipt,
};
use super::rollup::{EventTally, Rollups};
use super::search_fields::SearchFields;
use super::stage_text;
use super::submission::Submission;
use super::text_index;
use super::writer::Effects;
use kernel::event::{Body, DataAt, Envelope, Event};
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// A transaction's work.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) keys: Keys,
    pub(super) claims: &'a mut Claims,
    pub(super) names: &'a mut Names,
    pub(super) counter: &'a mut u64,
    pub(super) holdings: &'a mut StoreHoldings,
    pub(super) targets: &'a mut KnownTargets,
    pub(super) memories: &'a mut Memories,
    pub(super) held: &'a mut HeldState,
    pub(super) limits: &'a OutboxLimits,
    /// The texts that are searched, if any are.
    pub(super) searched: Option<&'a SearchFields>,
    /// The sink's name of the store.
    pub(super) store: &'a str,
    pub(super) now: Timestamp,
    /// All that the clocks show.
    pub(super) clock: super::clock::ClockFace,
    pub(super) effects: Effects,
    pub(super) rollups: Rollups,
}

pub(super) type Written = Result<WriteReceipt, StoreFault>;

impl Batch<'_> {
    /// Writes a submission: one receipt for each entry, and none when nobody waits for it.
    pub(super) fn write_all(&mut self, all: &Submission) -> Result<Vec<WriteReceipt>, StoreFault> {
        if !all.is_wanted() {
            return Ok(Vec::new());
        }
        assert_eq!(all.entries.len(), all.hashes.len(), "one hash for each entry");
        all.entries.iter().zip(&all.hashes).map(|(entry, hash)| self.write(entry, *hash)).collect()
    }

    /// Writes one entry; `hash` is what its submitter worked out about it.
    pub(super) fn write(&mut self, entry: &StoreEntry, hash: EntryHash) -> Written {
        let claim = hash.claim;
        self.effects.frees_numbers |= frees_a_number(entry);
        match entry {
            StoreEntry::Record(finished) => match self.claim(claim, &finished.event.envelope)? {
                Ok(seq) => self.store(finished, seq, seq, RowHash::of(hash, &finished.event.body)),
                Err(known) => Ok(known),
            },
            StoreEntry::Accept(event) => match self.claim(claim, &event.envelope)? {
                Ok(seq) => self.accept(event, seq, RowHash::of(hash, &event.body)),
                Err(known) => Ok(known),
            },
            StoreEntry::Finish(finished) => {
                let Some(left) = self.leave_inbox(finished.event.seq)? else {
                    return Ok(WriteReceipt::Duplicate { seq: finished.event.seq });
                };
                let pos = self.next();
                let hash = RowHash { body: hash.body, message: left.message_hash };
                self.store(finished, finished.event.seq, pos, hash)
            }
            StoreEntry::Discard { event, .. } => {
                if self.leave_inbox(event.seq)?.is_none() {
                    return Ok(WriteReceipt::Duplicate { seq: event.seq });
                }
                self.rollups.add(&EventTally::of(&event.envelope, "discarded"));
                Ok(WriteReceipt::Done)
            }
            StoreEntry::DeadLetter { event, letter } => self.dead_letter(event, letter, hash),
            StoreEntry::Once { entry, .. } => self.once(entry, hash),
            StoreEntry::Refuse(letter) => {
                self.letter(letter)?;
                self.rollups.add(&EventTally::of_letter(letter));
                Ok(WriteReceipt::Done)
            }
            StoreEntry::Save { owner, key, value } => self.save(owner, key, value.as_deref()),
            StoreEntry::Settle(settlement) => self.settle(settlement),
            StoreEntry::Relay { from, seq, to } => self.relay(from, *seq, to),
            StoreEntry::Result { seq, stage, generation, output } => {
                self.keep_result(*seq, stage, *generation, output)
            }
            StoreEntry::Reload(reload) => self.reload(reload),
            StoreEntry::Park { sinks } => self.park(sinks),
            StoreEntry::DropLetter { id } => self.drop_letter(*id as i64),
            StoreEntry::Retry { letter, entry, is_part } => {
                self.retry(*letter as i64, entry, *is_part, hash)
            }
            StoreEntry::Reopen { letter, event } => self.reopen(*letter as i64, event, hash),
            StoreEntry::Redeliver { letter } => self.redeliver(*letter as i64),
            StoreEntry::KeepLetter { letter, reason } => self.keep_letter(*letter as i64, reason),
            StoreEntry::Judged { notes, entry } => self.judged(notes, entry, hash),
            StoreEntry::Take(event) => Ok(WriteReceipt::Accepted { seq: event.seq }),
            StoreEntry::Nothing => Ok(WriteReceipt::Done),
            StoreEntry::Remember { generation, nodes, rules, targets } => {
                self.adopt_rules(rules, targets)?;
                self.remember(*generation, nodes)
            }
            StoreEntry::Wake => {
                self.release_held()?;
                self.wake()
            }
            StoreEntry::OrLetter { entry, letter } => self.or_letter(entry, letter, hash),
            StoreEntry::Audit(audit) => self.audit(audit),
        }
    }

    pub(super) fn run(&self, sql: &str, values: impl rusqlite::Params) -> Written {
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(WriteReceipt::Done)
    }

    pub(super) fn next(&mut self) -> u64 {
        *self.counter += 1;
        *self.counter
    }

    /// A number for a new event, or the receipt of the one that came first.
    fn claim(
        &mut self,
        claim: Option<Claim>,
        envelope: &Envelope,
    ) -> Result<Result<u64, WriteReceipt>, StoreFault> {
        let claim = claim.expect("what is recorded or accepted claims its id");
        Ok(match self.claims.judge(self.connection, claim, envelope)? {
            ClaimResult::New => {
                let seq = self.next();
                self.claims.take(claim, seq);
                Ok(seq)
            }
            ClaimResult::Collision => Ok(self.next()),
            ClaimResult::Duplicate(seq) => Err(WriteReceipt::Duplicate { seq }),
            ClaimResult::Conflict(seq) => Err(WriteReceipt::Conflict { seq }),
        })
    }

    /// The entry, unless another one claimed its key before.
    fn once(&mut self, entry: &StoreEntry, hash: EntryHash) -> Written {
        let claim = hash.claim.expect("what is to happen once claims its id");
        let result = self.claims.judge_once(self.connection, claim)?;
        if let Some(known) = result.and_then(ClaimResult::known) {
            return Ok(known);
        }
        let receipt = self.write(entry, hash)?;
        if let WriteReceipt::Stored { seq, .. }
        | WriteReceipt::Accepted { seq }
        | WriteReceipt::Judged { seq, .. } = receipt
        {
            Claims::take_once(self.connection, claim, seq)?;
        }
        Ok(receipt)
    }

    pub(super) fn accept(&mut self, event: &Event, seq: u64, hash: RowHash) -> Written {
        let (from, size, own) = data_columns(&event.body);
        let envelope = &event.envelope;
        let bytes = &*event.body.bytes;
        insert(
            self.connection,
            self.keys,
            SummedTable::Inbox,
            "INSERT INTO inbox (seq, generation, received, time, priority, type, source, id,
                subject, correlation, parent, data_from, data_size, data, message_hash, body,
                checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                number(seq as i64),
                number(event.generation as i64),
                number(envelope.received.0),
                number(envelope.time.0),
                number(envelope.priority as i64),
                text(&envelope.kind),
                text(&envelope.source),
                text(&envelope.id),
                text(&envelope.subject),
                maybe_text(envelope.correlation_id.as_deref()),
                maybe_text(envelope.parent_id.as_deref()),
                maybe_number(from),
                maybe_number(size),
                maybe_text(own),
                maybe_number(hash.message),
            ],
            Some(RowBody { bytes, hash: hash.body }),
        )?;
        self.holdings.inbox.add(bytes.len() as u64);
        Ok(WriteReceipt::Accepted { seq })
    }

    /// Only while the event is under way: it may have ended meanwhile.
    pub(super) fn keep_result(
        &mut self,
        seq: u64,
        stage: &str,
        generation: u64,
        output: &str,
    ) -> Written {
        let sql = "SELECT 1 FROM inbox WHERE seq = ?";
        if self.connection.prepare_cached(sql)?.exists([seq as i64])? {
            insert(
                self.connection,
                self.keys,
                SummedTable::Result,
                "INSERT OR REPLACE INTO results (seq, stage, generation, output, checksum)
                 VALUES (?, ?, ?, ?, ?)",
                &[number(seq as i64), text(stage), number(generation as i64), text(output)],
                None,
            )?;
        }
        Ok(WriteReceipt::Done)
    }

    /// Takes the event out of the inbox; `None` when it was there no more: an accepted event ends
    /// once.
    pub(super) fn leave_inbox(&mut self, seq: u64) -> Result<Option<LeftInbox>, StoreFault> {
        let seq = seq as i64;
        let sql = "SELECT octet_length(body), message_hash FROM inbox WHERE seq = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let left = select.query_row([seq], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
        let Some((bytes, message_hash)) = left.optional()? else { return Ok(None) };
        self.run("DELETE FROM inbox WHERE seq = ?", [seq])?;
        self.holdings.inbox.take(bytes as u64);
        self.run("DELETE FROM results WHERE seq = ?", [seq])?;
        if !self.memories.is_empty() {
            self.run("DELETE FROM emitted WHERE seq = ?", [seq])?;
        }
        Ok(Some(LeftInbox { message_hash }))
    }

    fn store(&mut self, finished: &FinishedEvent, seq: u64, pos: u64, hash: RowHash) -> Written {
        let event = &finished.event;
        self.insert_row(finished, (seq, pos), hash)?;
        let bytes = event.body.size() + event.enrich.len() as u64;
        for (sink, key) in &finished.answers {
            self.answer(sink, key)?;
        }
        for delivery in &finished.deliveries {
            match delivery.traits.recovery {
                Some(_) => self.take_back(delivery, seq, bytes)?,
                None => match self.wanted(delivery)? {
                    Some(delivery) => self.deliver(&delivery, seq, bytes)?,
                    None => continue,
                },
            }
        }
        // Behind all others: who has the event already is not told twice.
        for delivery in
            finished.deliveries.iter().filter(|delivery| !delivery.traits.escalations.is_empty())
        {
            self.escalate_later(delivery, seq, bytes)?;
        }
        // Behind its own deliveries: an event does not silence itself.
        for (sink, claim) in &finished.silences {
            self.silence(sink, claim)?;
        }
        self.rollups.add_stored(&event.envelope, &finished.stages);
        self.effects.stored.push(Arc::new(StoredEvent {
            pos,
            seq,
            generation: event.generation,
            envelope: event.envelope.clone(),
            body: event.body.clone().claimed(),
            enrich: event.enrich.clone(),
            stages: finished.stages.clone(),
            targets: finished.targets.clone(),
        }));
        Ok(WriteReceipt::Stored { seq, pos })
    }

    fn insert_row(
        &mut self,
        finished: &FinishedEvent,
        (seq, pos): (u64, u64),
        hash: RowHash,
    ) -> Result<(), StoreFault> {
        let event = &finished.event;
        let envelope = &event.envelope;
        let kind = self.names.cell(self.connection, NameKind::Type, &envelope.kind)?;
        let source = self.names.cell(self.connection, NameKind::Source, &envelope.source)?;
        let joined: Arc<str> = finished.targets.join(" ").into();
        let is_kept = finished.targets.iter().any(|target| **target == *self.store);
        let list = if is_kept { NameKind::Targets } else { NameKind::Passing };
        let targets = self.names.cell(self.connection, list, &joined)?;
        let received = envelope.received;
        let stages = stage_text::write(&finished.stages, received, self.names, self.connection)?;
        let (from, size, own) = data_columns(&event.body);
        let own_seq = (seq != pos).then_some(seq as i64);
        insert(
            self.connection,
            self.keys,
            SummedTable::Event,
            "INSERT INTO event_rows (pos, seq, type, source, targets, time, received, priority,
                generation, data_from, data_size, id, subject, correlation, parent, enrich, stages,
                data, message_hash, body, checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                number(pos as i64),
                maybe_number(own_seq),
                cell(&kind),
                cell(&source),
                cell(&targets),
                number(envelope.time.0),
                number(envelope.received.0),
                number(envelope.priority as i64),
                number(event.generation as i64),
                maybe_number(from),
                maybe_number(size),
                text(&envelope.id),
                text(&envelope.subject),
                maybe_text(envelope.correlation_id.as_deref()),
                maybe_text(envelope.parent_id.as_deref()),
                text(&event.enrich),
                text(&stages),
                maybe_text(own),
                maybe_number(hash.message),
            ],
            Some(RowBody { bytes: &event.body.bytes, hash: hash.body }),
        )?;
        match self.searched.filter(|_| is_kept) {
            Some(fields) => {
                let text = fields.text_of(event.body.data_text(), &event.enrich);
                text_index::insert(self.connection, pos, &text)
            }
            None => Ok(()),
        }
    }

    fn dead_letter(&mut self, event: &Event, letter: &DeadLetter, hash: EntryHash) -> Written {
        let (seq, message_hash) = if event.seq == 0 {
            match self.claim(hash.claim, &event.envelope)? {
                Ok(seq) => (seq, RowHash::of(hash, &event.body).message),
                Err(known) => return Ok(known),
            }
        } else if let Some(left) = self.leave_inbox(event.seq)? {
            (event.seq, left.message_hash)
        } else {
            return Ok(WriteReceipt::Duplicate { seq: event.seq });
        };
        // As claimed: after a crash the claim is found again by these.
        let letter = DeadLetter {
            seq: Some(seq),
            source: Some(event.envelope.source.to_string()),
            event_id: Some(event.envelope.id.to_string()),
            body: event.body.bytes.clone(),
            mapped: Some(Box::new(MappedEvent {
                envelope: event.envelope.clone(),
                data: event.body.clone().claimed().data,
            })),
            ..letter.clone()
        };
        self.letter_with(&letter, message_hash)?;
        self.rollups.add(&EventTally::of(&event.envelope, "dead"));
        Ok(WriteReceipt::Accepted { seq })
    }

    fn save(&mut self, owner: &str, key: &str, value: Option<&str>) -> Written {
        match value {
            Some(value) => self.run(
                "INSERT OR REPLACE INTO state (owner, key, value, expires) VALUES (?, ?, ?, NULL)",
                params![owner, key, value],
            ),
            None => self.run("DELETE FROM state WHERE owner = ? AND key = ?", params![owner, key]),
        }
    }

    fn reload(&mut self, reload: &ReloadRecord) -> Written {
        self.run(
            "INSERT INTO reloads (time, generation, hash, outcome, changes, diagnostics)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![
                reload.time.0,
                reload.generation as i64,
                reload.hash,
                reload.outcome,
                reload.changes,
                reload.diagnostics,
            ],
        )
    }
}

/// Whether it may delete the last row that has a number: a start would not find it again.
fn frees_a_number(entry: &StoreEntry) -> bool {
    match entry {
        StoreEntry::Record(_)
        | StoreEntry::Accept(_)
        | StoreEntry::Finish(_)
        | StoreEntry::DeadLetter { .. }
        | StoreEntry::Refuse(_)
        | StoreEntry::Save { .. }
        | StoreEntry::Settle(_)
        | StoreEntry::Relay { .. }
        | StoreEntry::Result { .. }
        | StoreEntry::Reload(_)
        | StoreEntry::Park { .. }
        | StoreEntry::Audit(_)
        | StoreEntry::Take(_)
        | StoreEntry::Nothing
        | StoreEntry::Remember { .. }
        | StoreEntry::Wake
        // What they hold is asked for itself.
        | StoreEntry::Once { .. }
        | StoreEntry::Judged { .. }
        | StoreEntry::OrLetter { .. } => false,
        StoreEntry::Discard { .. }
        | StoreEntry::DropLetter { .. }
        | StoreEntry::Retry { .. }
        | StoreEntry::Reopen { .. }
        | StoreEntry::Redeliver { .. }
        | StoreEntry::KeepLetter { .. } => true,
    }
}

/// What an accepted event leaves behind in the inbox.
pub(super) struct LeftInbox {
    message_hash: Option<i64>,
}

/// The hashes that go into a row of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowHash {
    /// Of the bytes that are stored.
    pub(super) body: i64,
    /// Of the message, where it is not what is stored: after a crash the claim is rebuilt with it.
    pub(super) message: Option<i64>,
}

impl RowHash {
    pub(super) fn of(hash: EntryHash, body: &Body) -> Self {
        let claim = hash.claim.filter(|_| body.message().is_none());
        RowHash { body: hash.body, message: claim.map(Claim::body_hash) }
    }
}

fn data_columns(body: &Body) -> (Option<i64>, Option<i64>, Option<&str>) {
    match &body.data {
        DataAt::Slice(range) => (Some(range.start as i64), Some(range.len() as i64), None),
        DataAt::Alone(_) => (None, None, None),
        DataAt::Own(text) => (None, None, Some(text)),
    }
}
