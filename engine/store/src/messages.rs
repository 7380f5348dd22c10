//! Messages that a later one with the same key replaces, within the writer's transaction.
//!
//! What is kept of a message is what its service calls it and the event that it tells of. It is
//! written in the transaction that settles its delivery; a crash before that sends the message
//! again, as a new one.
//!
//! *Invariant:* a message never gives way to that of an older event.

use super::StoreFault;
use super::insert::Batch;
use super::reader::Reader;
use kernel::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The most messages that are remembered for one notifier; beyond it, those that were not changed
/// for the longest time go.
pub const MESSAGES_MAX: u64 = if cfg!(test) { 20 } else { 10_000 };
/// How long the message of a notifier that no longer says so may be changed.
const UNSAID: Duration = Duration::from_secs(24 * 3600);

/// Why a delivery was not made: the message of a newer event was sent in its place.
pub const REPLACED: &str = "update";

/// The last message of a key that a service took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    /// The event that it tells of.
    pub seq: u64,
    /// What the service calls it; empty where it says nothing.
    pub receipt: String,
}

/// How many messages are remembered for each notifier, as far as they were counted.
#[derive(Debug, Clone, Default)]
pub(super) struct MessageCounts(Arc<BTreeMap<Arc<str>, u64>>);

impl MessageCounts {
    fn of(&mut self, sink: &Arc<str>, connection: &Connection) -> Result<u64, StoreFault> {
        if let Some(known) = self.0.get(sink) {
            return Ok(*known);
        }
        let sql = "SELECT count(*) FROM sent_messages INDEXED BY sent_messages_sink WHERE sink = ?";
        let mut select = connection.prepare_cached(sql)?;
        let count: i64 = select.query_row([&**sink], |row| row.get(0))?;
        Ok(count as u64)
    }

    fn set(&mut self, sink: &Arc<str>, count: u64) {
        Arc::make_mut(&mut self.0).insert(sink.clone(), count);
    }

    /// Somebody else deleted some.
    pub(super) fn forget(&mut self) {
        self.0 = Arc::default();
    }
}

impl Batch<'_> {
    /// Whether a delivery changes a message that was sent, or is on its way, rather than being
    /// another one. What is held counts where `with_held` says so.
    pub(super) fn is_update(
        &self,
        sink: &str,
        seq: u64,
        key: Option<&str>,
        with_held: bool,
    ) -> Result<bool, StoreFault> {
        let Some(key) = key else { return Ok(false) };
        let sql = "SELECT EXISTS (SELECT 1 FROM sent_messages
                        WHERE sink = ?1 AND key = ?2 AND until > ?3)
                    OR EXISTS (SELECT 1 FROM delivery_rows INDEXED BY delivery_rows_message
                        WHERE sink = ?1 AND message_key = ?2
                            AND message_key IS NOT NULL AND state IN (0, 5) AND (state = 0 OR ?4) AND seq != ?5)";
        let mut select = self.connection.prepare_cached(sql)?;
        let values = params![sink, key, self.now.0, with_held, seq as i64];
        Ok(select.query_row(values, |row| row.get(0))?)
    }

    /// A service took the message of a key.
    pub(super) fn keep_message(
        &mut self,
        sink: &Arc<str>,
        key: &str,
        message: &SentMessage,
    ) -> Result<(), StoreFault> {
        let count = self.held.messages.of(sink, self.connection)?;
        let within = self.held.update_within(sink).unwrap_or(UNSAID);
        let sql = "SELECT seq FROM sent_messages WHERE sink = ? AND key = ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let known: Option<i64> =
            select.query_row(params![&**sink, key], |row| row.get(0)).optional()?;
        self.run(
            "INSERT OR REPLACE INTO sent_messages (sink, key, seq, receipt, until)
             VALUES (?, ?, ?, ?, ?)",
            params![&**sink, key, message.seq as i64, message.receipt, self.now.plus(within).0],
        )?;
        let count = count + u64::from(known.is_none());
        let evicted = self.evict_messages(sink, count.saturating_sub(MESSAGES_MAX))?;
        self.held.messages.set(sink, count - evicted);
        Ok(())
    }

    /// Forgets the messages that were not changed for the longest time.
    fn evict_messages(&mut self, sink: &Arc<str>, count: u64) -> Result<u64, StoreFault> {
        if count == 0 {
            return Ok(0);
        }
        let sql = "DELETE FROM sent_messages WHERE sink = ?1 AND key IN
                    (SELECT key FROM sent_messages INDEXED BY sent_messages_sink
                        WHERE sink = ?1 ORDER BY until, key LIMIT ?2)";
        let values = params![&**sink, count as i64];
        let gone = self.connection.prepare_cached(sql)?.execute(values)? as u64;
        *self.effects.forgotten.entry(sink.clone()).or_default() += gone;
        Ok(gone)
    }
}

impl Reader<'_> {
    /// The message of a key that may be changed, if there is one.
    pub fn sent_message(
        &self,
        sink: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<SentMessage>, StoreFault> {
        let sql = "SELECT seq, receipt FROM sent_messages WHERE sink = ? AND key = ? AND until > ?";
        let mut select = self.connection.prepare_cached(sql)?;
        let message = select.query_row(params![sink, key, now.0], |row| {
            Ok(SentMessage { seq: row.get::<_, i64>(0)? as u64, receipt: row.get(1)? })
        });
        Ok(message.optional()?)
    }
}

/// Deletes a chunk of what may be changed no more; how many that are.
pub(super) fn sweep_messages(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<usize, StoreFault> {
    let sql = "DELETE FROM sent_messages WHERE (sink, key) IN (SELECT sink, key FROM sent_messages
                INDEXED BY sent_messages_until WHERE until <= ? LIMIT ?)";
    Ok(connection.execute(sql, params![now.0, limit as i64])?)
}
