//! Dead letters, within the writer's transaction.
//!
//! *Invariant:* the commit that brings one too many takes the oldest away, so there are never more
//! than the file says.

use super::checksum::{RowBody, SummedTable, insert, maybe_number, maybe_text, number, text};
use super::insert::{Batch, Written};
use super::record::{DeadLetter, DeadLetterWhat, WriteReceipt};
use super::{StoreFault, rows};
use rusqlite::{OptionalExtension, Row, params};

/// Letters that one commit takes beside as many as it brings: a lowered limit is reached step by
/// step.
const TRIM_CHUNK: u64 = 200;

/// What a letter claims: its number, and the (source, id) of its event.
struct LetterClaim {
    id: i64,
    seq: Option<i64>,
    /// The event of a delivery: it may go when its letter has.
    delivered: Option<i64>,
    source: Option<String>,
    event_id: Option<String>,
}

const CLAIM: &str = "id, CASE what WHEN 'event' THEN seq END, source, event_id, \
     CASE what WHEN 'delivery' THEN seq END";

/// What a damaged row does not give back it does not claim: the letter goes all the same, or no
/// commit that has to make room by it would ever succeed.
fn claim_of(row: &Row<'_>) -> rusqlite::Result<LetterClaim> {
    Ok(LetterClaim {
        id: row.get(0)?,
        seq: row.get(1).unwrap_or_default(),
        source: row.get(2).unwrap_or_default(),
        event_id: row.get(3).unwrap_or_default(),
        delivered: row.get(4).unwrap_or_default(),
    })
}

impl Batch<'_> {
    pub(super) fn letter(&mut self, letter: &DeadLetter) -> Result<(), StoreFault> {
        self.letter_with(letter, None)
    }

    /// `message_hash` stands in for the hash of the body, where that is the data alone.
    pub(super) fn letter_with(
        &mut self,
        letter: &DeadLetter,
        message_hash: Option<i64>,
    ) -> Result<(), StoreFault> {
        self.holdings.letters += 1;
        self.effects.letters += 1;
        let bytes = &*letter.body;
        let mapped = letter.mapped.as_deref().map(rows::mapped_text);
        let context = letter.context.as_ref().map(|context| context.to_string());
        insert(
            self.connection,
            self.keys,
            SummedTable::Letter,
            "INSERT INTO dead_letters (what, seq, source_node, source, event_id, stage, class,
                reason, attempts, first, last, generation, message_hash, mapped, context, body,
                checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            &[
                text(letter.what.word()),
                maybe_number(letter.seq.map(|seq| seq as i64)),
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
                maybe_number(message_hash),
                maybe_text(mapped.as_deref()),
                maybe_text(context.as_deref()),
            ],
            Some(RowBody { bytes, hash: self.keys.body_hash(bytes) }),
        )
    }

    pub(super) fn drop_letter(&mut self, id: i64) -> Written {
        let sql = format!("DELETE FROM dead_letters WHERE id = ? RETURNING {CLAIM}");
        let mut delete = self.connection.prepare_cached(&sql)?;
        if let Some(claim) = delete.query_row([id], claim_of).optional()? {
            self.holdings.letters -= 1;
            self.keep_claim(&claim)?;
        }
        Ok(WriteReceipt::Done)
    }

    /// Takes the oldest letters beyond `most`. At most as many as this transaction brought, and a
    /// few more.
    pub(super) fn trim_letters(&mut self, most: u64) -> Result<(), StoreFault> {
        let excess = self.holdings.letters.saturating_sub(most);
        let excess = excess.min(self.effects.letters + TRIM_CHUNK);
        if excess == 0 {
            return Ok(());
        }
        let sql = format!("SELECT {CLAIM} FROM dead_letters ORDER BY id LIMIT ?");
        let mut select = self.connection.prepare_cached(&sql)?;
        let oldest = select.query_map([excess as i64], claim_of)?;
        let oldest: Vec<LetterClaim> = oldest.collect::<Result<_, _>>()?;
        let Some(last) = oldest.last().map(|it| it.id) else { return Ok(()) };
        for claim in &oldest {
            self.keep_claim(claim)?;
        }
        let sql = "DELETE FROM dead_letters WHERE id <= ?";
        let gone = self.connection.prepare_cached(sql)?.execute([last])? as u64;
        self.holdings.letters -= gone;
        self.effects.trimmed += gone;
        Ok(())
    }

    /// A start after a crash rebuilds an unmerged claim from its row; so the claim of a letter
    /// that goes is merged with it, or its id would be free again.
    fn keep_claim(&mut self, letter: &LetterClaim) -> Result<(), StoreFault> {
        self.effects.released.extend(letter.delivered.map(|delivered| delivered as u64));
        let (Some(seq), Some(source), Some(event_id)) =
            (letter.seq, &letter.source, &letter.event_id)
        else {
            return Ok(());
        };
        if let Some((hash, body)) = self.claims.unmerged_claim(source, event_id, seq as u64) {
            let sql = "INSERT OR REPLACE INTO seen (hash, seq, body) VALUES (?, ?, ?)";
            self.run(sql, params![hash, seq, body])?;
        }
        Ok(())
    }

    /// The letter of a delivery that ended without being made.
    pub(super) fn letter_of_delivery(
        &mut self,
        sink: &std::sync::Arc<str>,
        seq: u64,
        reason: String,
    ) -> Result<(), StoreFault> {
        self.letter_of_attempt(&DeadLetter {
            id: 0,
            what: DeadLetterWhat::Delivery,
            seq: Some(seq),
            source_node: sink.clone(),
            source: None,
            event_id: None,
            stage: sink.clone(),
            class: "transient",
            reason,
            attempts: 0,
            first: self.now,
            last: self.now,
            generation: 0,
            body: std::sync::Arc::from(&b""[..]),
            mapped: None,
            context: None,
        })
    }
}
