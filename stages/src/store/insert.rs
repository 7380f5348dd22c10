//! One entry into the tables, within the writer's transaction.

use super::StoreFault;
use super::checksum::{RowBody, SummedTable, cell, insert, maybe_number, maybe_text, number, text};
use super::claim::{Claim, Claims, EntryHash, Keys, Verdict};
use super::names::{Names, Sort};
use super::record::{
    DeadLetter, DeliveryState, Entry, Finished, NewDelivery, Receipt, ReloadRecord, Settlement,
    Stored,
};
use super::rollup::{Rollups, Tally};
use super::submission::Submission;
use super::writer::Effects;
use crate::event::{DataAt, Event, StageResult};
use crate::time::Timestamp;
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, OptionalExtension, params};
use std::fmt::Write;
use std::sync::Arc;

/// A transaction's work.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) keys: Keys,
    pub(super) claims: &'a mut Claims,
    pub(super) names: &'a mut Names,
    pub(super) counter: &'a mut u64,
    pub(super) now: Timestamp,
    pub(super) effects: Effects,
    pub(super) rollups: Rollups,
}

type Written = Result<Receipt, StoreFault>;

impl Batch<'_> {
    /// Writes a submission: one receipt for each entry, and none when nobody waits for it.
    pub(super) fn write_all(&mut self, all: &Submission) -> Result<Vec<Receipt>, StoreFault> {
        if !all.is_wanted() {
            return Ok(Vec::new());
        }
        assert_eq!(all.entries.len(), all.hashes.len(), "one hash for each entry");
        all.entries.iter().zip(&all.hashes).map(|(entry, hash)| self.write(entry, *hash)).collect()
    }

    /// Writes one entry; `hash` is what its submitter worked out about it.
    fn write(&mut self, entry: &Entry, hash: EntryHash) -> Written {
        let claim = hash.claim;
        match entry {
            Entry::Record(finished) => match self.claim(claim, &finished.event)? {
                Ok(seq) => self.store(finished, hash.body, seq, seq),
                Err(known) => Ok(known),
            },
            Entry::Accept(event) => match self.claim(claim, event)? {
                Ok(seq) => self.accept(event, hash.body, seq),
                Err(known) => Ok(known),
            },
            Entry::Finish(finished) => {
                if !self.leave_inbox(&finished.event)? {
                    return Ok(Receipt::Duplicate { seq: finished.event.seq });
                }
                let pos = self.next();
                self.store(finished, hash.body, finished.event.seq, pos)
            }
            Entry::Discard { event, .. } => {
                if !self.leave_inbox(event)? {
                    return Ok(Receipt::Duplicate { seq: event.seq });
                }
                self.rollups.add(&Tally::of(event, "discarded"));
                Ok(Receipt::Done)
            }
            Entry::Bury { event, letter } => self.bury(event, letter, claim),
            Entry::Refuse(letter) => {
                self.letter(letter)?;
                self.rollups.add(&Tally::of_letter(letter));
                Ok(Receipt::Done)
            }
            Entry::Save { owner, key, value } => self.save(owner, key, value.as_deref()),
            Entry::Settle(settlement) => self.settle(settlement),
            Entry::Result { seq, stage, generation, output } => {
                self.keep_result(*seq, stage, *generation, output)
            }
            Entry::Reload(reload) => self.reload(reload),
            Entry::Park { sinks } => self.park(sinks),
            Entry::DropLetter { id } => self.drop_letter(*id as i64),
        }
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Written {
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(Receipt::Done)
    }

    fn next(&mut self) -> u64 {
        *self.counter += 1;
        *self.counter
    }

    /// A number for a new event, or the receipt of the one that came first.
    fn claim(
        &mut self,
        claim: Option<Claim>,
        event: &Event,
    ) -> Result<Result<u64, Receipt>, StoreFault> {
        let claim = claim.expect("what is recorded or accepted claims its id");
        Ok(match self.claims.judge(self.connection, claim, event)? {
            Verdict::New => {
                let seq = self.next();
                self.claims.take(claim, seq);
                Ok(seq)
            }
            Verdict::Collision => Ok(self.next()),
            Verdict::Duplicate(seq) => Err(Receipt::Duplicate { seq }),
            Verdict::Conflict(seq) => Err(Receipt::Conflict { seq }),
        })
    }

    fn accept(&mut self, event: &Event, hash: i64, seq: u64) -> Written {
        let (from, size, own) = data_columns(event);
        let envelope = &event.envelope;
        let bytes = &*event.body.bytes;
        insert(
            self.connection,
            self.keys,
            SummedTable::Inbox,
            "INSERT INTO inbox (seq, generation, received, time, priority, type, source, id,
                subject, correlation, parent, data_from, data_size, data, body, checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            ],
            Some(RowBody { bytes, hash }),
        )?;
        self.effects.accepted += 1;
        self.effects.accepted_bytes += bytes.len() as u64;
        Ok(Receipt::Accepted { seq })
    }

    /// Only while the event is under way: it may have ended meanwhile.
    fn keep_result(&mut self, seq: u64, stage: &str, generation: u64, output: &str) -> Written {
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
        Ok(Receipt::Done)
    }

    /// Whether the event was still in the inbox: an accepted event ends once.
    fn leave_inbox(&mut self, event: &Event) -> Result<bool, StoreFault> {
        let seq = event.seq as i64;
        let sql = "DELETE FROM inbox WHERE seq = ?";
        if self.connection.prepare_cached(sql)?.execute([seq])? == 0 {
            return Ok(false);
        }
        self.effects.finished += 1;
        self.effects.finished_bytes += event.body.bytes.len() as u64;
        self.run("DELETE FROM results WHERE seq = ?", [seq])?;
        Ok(true)
    }

    /// A start after a crash rebuilds an unmerged claim from its row; so the claim of a letter
    /// that goes is merged with it, or its id would be free again.
    fn drop_letter(&mut self, id: i64) -> Written {
        let sql = "DELETE FROM dead_letters WHERE id = ? RETURNING seq";
        let mut delete = self.connection.prepare_cached(sql)?;
        let seq = delete.query_row([id], |it| it.get::<_, Option<i64>>(0)).optional()?.flatten();
        if let Some(seq) = seq
            && let Some((hash, body)) = self.claims.of_seq(seq as u64)
        {
            let sql = "INSERT OR REPLACE INTO seen (hash, seq, body) VALUES (?, ?, ?)";
            self.run(sql, params![hash, seq, body])?;
        }
        Ok(Receipt::Done)
    }

    fn store(&mut self, finished: &Finished, hash: i64, seq: u64, pos: u64) -> Written {
        let event = &finished.event;
        let enrich = enrich_text(event);
        self.insert_row(finished, hash, (seq, pos), &enrich)?;
        for delivery in &finished.deliveries {
            self.deliver(delivery, seq)?;
        }
        self.rollups.add(&Tally::of(event, "stored"));
        self.rollups.add_stages(&finished.stages);
        self.effects.stored.push(Arc::new(Stored {
            pos,
            seq,
            generation: event.generation,
            envelope: event.envelope.clone(),
            body: event.body.clone(),
            enrich,
            stages: finished.stages.clone(),
            targets: finished.targets.clone(),
        }));
        Ok(Receipt::Stored { seq, pos })
    }

    fn insert_row(
        &mut self,
        finished: &Finished,
        hash: i64,
        (seq, pos): (u64, u64),
        enrich: &str,
    ) -> Result<(), StoreFault> {
        let event = &finished.event;
        let envelope = &event.envelope;
        let kind = self.names.cell(self.connection, Sort::Type, &envelope.kind)?;
        let source = self.names.cell(self.connection, Sort::Source, &envelope.source)?;
        let joined: Arc<str> = finished.targets.join(" ").into();
        let targets = self.names.cell(self.connection, Sort::Targets, &joined)?;
        let stages = self.stages_text(&finished.stages, envelope.received)?;
        let (from, size, own) = data_columns(event);
        let own_seq = (seq != pos).then_some(seq as i64);
        insert(
            self.connection,
            self.keys,
            SummedTable::Event,
            "INSERT INTO event_rows (pos, seq, type, source, targets, time, received, priority,
                generation, data_from, data_size, id, subject, correlation, parent, enrich, stages,
                data, body, checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                text(enrich),
                text(&stages),
                maybe_text(own),
            ],
            Some(RowBody { bytes: &event.body.bytes, hash }),
        )
    }

    /// `[[stage, kind, outcome, attempts, started, micros, error], …]` with codes for words;
    /// `started` in microseconds behind the event's `received`.
    fn stages_text(
        &mut self,
        stages: &[StageResult],
        received: Timestamp,
    ) -> Result<String, StoreFault> {
        let mut text = String::from("[");
        for (index, it) in stages.iter().enumerate() {
            let stage = self.names.cell(self.connection, Sort::Stage, &it.stage)?;
            let kind = self.names.cell(self.connection, Sort::Kind, &it.kind)?;
            let comma = if index == 0 { "" } else { "," };
            let started = it.started.0 - received.0;
            let (stage, kind) = (cell_text(&stage), cell_text(&kind));
            let (outcome, attempts, micros) = (it.outcome as usize, it.attempts, it.micros);
            write!(text, "{comma}[{stage},{kind},{outcome},{attempts},{started},{micros}")
                .expect("writing to a String cannot fail");
            if let Some(error) = &it.error {
                text.push(',');
                text.push_str(&quoted(error));
            }
            text.push(']');
        }
        text.push(']');
        Ok(text)
    }

    fn deliver(&mut self, delivery: &NewDelivery, seq: u64) -> Result<(), StoreFault> {
        let held = match (&delivery.suppressed, &delivery.cooldown) {
            (Some(reason), _) => Some(reason.clone()),
            (None, Some(cooldown)) if self.is_cooling(&delivery.sink, cooldown)? => {
                Some("cooldown".to_owned())
            }
            _ => None,
        };
        let state = if held.is_some() { DeliveryState::Suppressed } else { DeliveryState::Pending };
        if held.is_some() {
            *self.effects.suppressed.entry(delivery.sink.clone()).or_default() += 1;
        } else {
            self.effects.sinks.insert(delivery.sink.clone());
        }
        self.run(
            "INSERT OR IGNORE INTO delivery_rows
                (sink, seq, state, attempts, not_before, created, last_error)
             VALUES (?1, ?2, ?3, 0, ?4, ?4, ?5)",
            params![&*delivery.sink, seq as i64, state as i64, self.now.0, held],
        )?;
        Ok(())
    }

    /// Whether the key was told within its window; when not, the window begins now. Judged in
    /// commit order and undone with the transaction.
    fn is_cooling(
        &mut self,
        sink: &Arc<str>,
        cooldown: &super::record::Cooldown,
    ) -> Result<bool, StoreFault> {
        let key = format!("cooldown:{}", cooldown.key);
        let sql = "SELECT expires FROM state WHERE owner = ? AND key = ?";
        let expires: Option<i64> = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![&**sink, key], |it| it.get(0))
            .optional()?;
        // A wall clock that jumped back must not silence for longer than the window.
        let until = self.now.plus(cooldown.window).0;
        if expires.is_some_and(|it| self.now.0 < it && it <= until) {
            return Ok(true);
        }
        self.run(
            "INSERT OR REPLACE INTO state (owner, key, value, expires) VALUES (?, ?, '', ?)",
            params![&**sink, key, until],
        )?;
        Ok(false)
    }

    fn bury(&mut self, event: &Event, letter: &DeadLetter, claim: Option<Claim>) -> Written {
        let seq = if event.seq == 0 {
            match self.claim(claim, event)? {
                Ok(seq) => seq,
                Err(known) => return Ok(known),
            }
        } else if self.leave_inbox(event)? {
            event.seq
        } else {
            return Ok(Receipt::Duplicate { seq: event.seq });
        };
        // As claimed: after a crash the claim is found again by these.
        self.letter(&DeadLetter {
            seq: Some(seq),
            source: Some(event.envelope.source.to_string()),
            event_id: Some(event.envelope.id.to_string()),
            ..letter.clone()
        })?;
        self.rollups.add(&Tally::of(event, "dead"));
        Ok(Receipt::Accepted { seq })
    }

    fn letter(&mut self, letter: &DeadLetter) -> Result<(), StoreFault> {
        self.effects.letters += 1;
        let bytes = &*letter.body;
        insert(
            self.connection,
            self.keys,
            SummedTable::Letter,
            "INSERT INTO dead_letters (what, seq, source_node, source, event_id, stage, class,
                reason, attempts, first, last, generation, body, checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                text(letter.what.word()),
                maybe_number(letter.seq.map(|it| it as i64)),
                text(&letter.source_node),
                maybe_text(letter.source.as_deref()),
                maybe_text(letter.event_id.as_deref()),
                text(&letter.stage),
                text(letter.class),
                text(&letter.reason),
                number(letter.attempts),
                number(letter.first.0),
                number(letter.last.0),
                number(letter.generation as i64),
            ],
            Some(RowBody { bytes, hash: self.keys.body_hash(bytes) }),
        )
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

    fn settle(&mut self, settlement: &Settlement) -> Written {
        if let Some(letter) = &settlement.letter {
            self.letter(letter)?;
        }
        self.run(
            "UPDATE delivery_rows SET state = ?, attempts = ?, not_before = ?, last_error = ?
             WHERE sink = ? AND seq = ?",
            params![
                settlement.state as i64,
                settlement.attempts,
                settlement.not_before.0,
                settlement.error,
                &*settlement.sink,
                settlement.seq as i64,
            ],
        )
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

    /// Parks what is pending for sinks that are gone, and wakes what was parked for those that
    /// are back.
    fn park(&mut self, sinks: &[Arc<str>]) -> Written {
        let present = serde_json::json!(sinks.iter().map(|it| &**it).collect::<Vec<_>>());
        let sql = "UPDATE delivery_rows SET state = 3
                   WHERE state = 0 AND sink NOT IN (SELECT value FROM json_each(?))";
        self.run(sql, [present.to_string()])?;
        // A clock that was ahead may have put them off for years.
        let latest = self.now.plus(super::guard::DUE_MAX).0;
        let sql = "UPDATE delivery_rows SET state = 0, not_before = min(not_before, ?2)
                   WHERE state = 3 AND sink IN (SELECT value FROM json_each(?1))";
        self.run(sql, params![present.to_string(), latest])?;
        self.effects.sinks.extend(sinks.iter().cloned());
        Ok(Receipt::Done)
    }
}

/// The additions as one JSON object; serialised once, here.
fn enrich_text(event: &Event) -> Arc<str> {
    if event.enrich.is_empty() {
        return "{}".into();
    }
    serde_json::to_string(&event.enrich).expect("a JSON map serialises").into()
}

fn data_columns(event: &Event) -> (Option<i64>, Option<i64>, Option<&str>) {
    match &event.body.data {
        DataAt::Slice(range) => (Some(range.start as i64), Some(range.len() as i64), None),
        DataAt::Own(text) => (None, None, Some(text)),
    }
}

fn cell_text(cell: &Cell) -> String {
    match cell {
        Cell::Integer(code) => code.to_string(),
        Cell::Text(word) => quoted(word),
        _ => "null".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text serialises")
}
