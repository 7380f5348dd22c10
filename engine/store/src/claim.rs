//! Who came first: an event is unique by (source, id).
//!
//! Senders' ids are random, and a unique index on random keys dirties one page per event. So new
//! hashes wait in memory and are merged into `seen` sorted, many at a time, which touches each
//! page once for many keys.

use super::StoreFault;
use super::merge::RunningMerge;
use super::record::{StoreEntry, WriteReceipt};
use kernel::event::{Body, Envelope};
use rusqlite::{Connection, OptionalExtension, params};
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The secret of one store, so that nobody can aim at its hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys(u64, u64);

/// What an event claims: the hash of its (source, id) and the hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    id: i64,
    body: i64,
    /// The hash of what it claims besides its id.
    once: Option<i64>,
}

impl Claim {
    /// The hash of the bytes as received.
    pub(super) fn body_hash(self) -> i64 {
        self.body
    }
}

/// What is worked out about an entry by who submits it, so that the one writer need not.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryHash {
    pub(super) claim: Option<Claim>,
    /// Of the bytes of an event that is recorded, accepted or finished.
    pub(super) body: i64,
}

impl EntryHash {
    /// Of what claims nothing and is no event.
    pub(super) const NONE: EntryHash = EntryHash { claim: None, body: 0 };
}

/// What a claim came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClaimResult {
    New,
    Duplicate(u64),
    Conflict(u64),
    /// Another id has the same hash: let through, unclaimed.
    Collision,
}

impl ClaimResult {
    /// The answer for what came before; `None` for what is new.
    pub(super) fn known(self) -> Option<WriteReceipt> {
        match self {
            ClaimResult::Duplicate(seq) => Some(WriteReceipt::Duplicate { seq }),
            ClaimResult::Conflict(seq) => Some(WriteReceipt::Conflict { seq }),
            ClaimResult::New | ClaimResult::Collision => None,
        }
    }
}

impl Keys {
    /// The store's secret; made at the first open. `RandomState` draws it from the system.
    pub(super) fn load(connection: &Connection) -> Result<Keys, StoreFault> {
        let read = |key: &str| {
            connection
                .query_row("SELECT value FROM meta WHERE key = ?", [key], |row| {
                    row.get::<_, i64>(0)
                })
                .optional()
        };
        let mut keys = [0_u64; 2];
        for (key, name) in keys.iter_mut().zip(["secret_a", "secret_b"]) {
            *key = match read(name)? {
                Some(known) => known as u64,
                None => {
                    let drawn = RandomState::new().build_hasher().finish();
                    let sql = "INSERT INTO meta (key, value) VALUES (?, ?)";
                    connection.execute(sql, params![name, drawn as i64])?;
                    drawn
                }
            };
        }
        Ok(Keys(keys[0], keys[1]))
    }

    pub(super) fn id_hash(self, source: &str, id: &str) -> i64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write_u64(source.len() as u64);
        hasher.write(source.as_bytes());
        hasher.write(id.as_bytes());
        hasher.finish() as i64
    }

    /// Apart from the hashes of ids, also where owner and key read like a source and an id.
    fn once_hash(self, owner: &str, key: &str) -> i64 {
        let mut hasher = self.hasher();
        hasher.write(b"once");
        hasher.write_u64(u64::MAX - owner.len() as u64);
        hasher.write(owner.as_bytes());
        hasher.write(key.as_bytes());
        hasher.finish() as i64
    }

    /// The hash of bytes: what a claim compares, and a part of a row's checksum.
    pub(super) fn body_hash(self, bytes: &[u8]) -> i64 {
        let mut hasher = SipHasher13::new_with_keys(self.1, self.0);
        hasher.write(bytes);
        hasher.finish() as i64
    }

    /// Begins a checksum.
    pub(super) fn hasher(self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }

    pub(super) fn of(self, envelope: &Envelope, body: &Body) -> EntryHash {
        let id = self.id_hash(&envelope.source, &envelope.id);
        let received = self.body_hash(body.received());
        // Most often they are the same bytes.
        let stored = match body.message() {
            Some(_) => received,
            None => self.body_hash(&body.bytes),
        };
        EntryHash { claim: Some(Claim { id, body: received, once: None }), body: stored }
    }

    /// What an entry claims, if it claims anything and has not before, and the hash of its bytes.
    pub(super) fn hash_of(self, entry: &StoreEntry) -> EntryHash {
        let only_body = |bytes| EntryHash { claim: None, body: self.body_hash(bytes) };
        match entry {
            StoreEntry::Record(it) => self.of(&it.event.envelope, &it.event.body),
            StoreEntry::Accept(event) => self.of(&event.envelope, &event.body),
            StoreEntry::DeadLetter { event, .. } if event.seq == 0 => {
                self.of(&event.envelope, &event.body)
            }
            StoreEntry::Finish(finished) => only_body(&finished.event.body.bytes),
            StoreEntry::Reopen { event, .. } => only_body(&event.body.bytes),
            StoreEntry::Once { owner, key, entry } => {
                let hash = self.hash_of(entry);
                let once = Some(self.once_hash(owner, key));
                EntryHash { claim: hash.claim.map(|claim| Claim { once, ..claim }), ..hash }
            }
            StoreEntry::Retry { entry, .. }
            | StoreEntry::OrLetter { entry, .. }
            | StoreEntry::Judged { entry, .. } => self.hash_of(entry),
            _ => EntryHash::NONE,
        }
    }
}

/// The claims that are not merged yet.
pub(super) struct Claims {
    pub(super) unmerged: HashMap<i64, (u64, i64)>,
    /// Everything up to this number is in `seen`.
    pub(super) merged: u64,
    pub(super) merging: Option<RunningMerge>,
    /// Claimed in the running transaction; forgotten when it fails.
    fresh: Vec<i64>,
    keys: Keys,
}

impl Claims {
    /// Rebuilds what a crash left unmerged: everything with a higher number than the last merge.
    pub(super) fn load(connection: &Connection, keys: Keys) -> Result<Claims, StoreFault> {
        let merged = super::rows::meta(connection, "merged")?;
        let (unmerged, fresh) = (HashMap::new(), Vec::new());
        let mut claims = Claims { unmerged, merged, merging: None, fresh, keys };
        for sql in [
            "SELECT seq, source, id, body, message_hash FROM inbox WHERE seq > ?1",
            "SELECT coalesce(e.seq, e.pos), coalesce(n.text, e.source), e.id, e.body, e.message_hash
             FROM event_rows e LEFT JOIN names n ON n.code = e.source WHERE e.pos > ?1",
            "SELECT seq, source, event_id, body, message_hash FROM dead_letters
             WHERE seq > ?1 AND what = 'event' AND source IS NOT NULL AND event_id IS NOT NULL",
        ] {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([merged as i64])?;
            while let Some(row) = rows.next()? {
                let seq = row.get::<_, i64>(0)? as u64;
                // A row that is damaged claims nothing; whoever reads it says so.
                let (Ok(source), Ok(id), Ok(bytes), Ok(message)) =
                    (row.get(1), row.get(2), row.get(3), row.get::<_, Option<i64>>(4))
                else {
                    continue;
                };
                let (source, id, bytes): (String, String, Vec<u8>) = (source, id, bytes);
                if merged < seq {
                    let body = message.unwrap_or_else(|| keys.body_hash(&bytes));
                    claims.unmerged.insert(keys.id_hash(&source, &id), (seq, body));
                }
            }
        }
        Ok(claims)
    }

    /// Looks a claim up among the unmerged, then in `seen`.
    pub(super) fn judge(
        &self,
        connection: &Connection,
        claim: Claim,
        envelope: &Envelope,
    ) -> Result<ClaimResult, StoreFault> {
        let Some((seq, body)) = self.lookup(connection, claim.id)? else {
            return Ok(ClaimResult::New);
        };
        if let Some((source, id)) = super::rows::id_of(connection, seq)?
            && (source != *envelope.source || id != *envelope.id)
        {
            return Ok(ClaimResult::Collision);
        }
        Ok(if body == claim.body {
            ClaimResult::Duplicate(seq)
        } else {
            ClaimResult::Conflict(seq)
        })
    }

    /// Whether an event with this (source, id) came before. A fault is told by the transaction
    /// that looks again.
    pub(super) fn knows(&self, connection: &Connection, claim: Claim) -> bool {
        self.lookup(connection, claim.id).is_ok_and(|it| it.is_some())
    }

    /// Who claimed the same key before; `None` where the entry claims none or is the first.
    pub(super) fn judge_once(
        &self,
        connection: &Connection,
        claim: Claim,
    ) -> Result<Option<ClaimResult>, StoreFault> {
        let Some(once) = claim.once else { return Ok(None) };
        let known = self.lookup(connection, once)?;
        Ok(known.map(|(seq, body)| match body == claim.body {
            true => ClaimResult::Duplicate(seq),
            false => ClaimResult::Conflict(seq),
        }))
    }

    /// Remembers a key within the running transaction. It goes to `seen` at once: no row holds it,
    /// so a crash could not rebuild it, and only signed sources have any.
    pub(super) fn take_once(
        connection: &Connection,
        claim: Claim,
        seq: u64,
    ) -> Result<(), StoreFault> {
        let Some(once) = claim.once else { return Ok(()) };
        connection
            .prepare_cached("INSERT OR IGNORE INTO seen (hash, seq, body) VALUES (?, ?, ?)")?
            .execute(params![once, seq as i64, claim.body])?;
        Ok(())
    }

    fn lookup(&self, connection: &Connection, hash: i64) -> Result<Option<(u64, i64)>, StoreFault> {
        if let Some(found) = self.unmerged.get(&hash) {
            return Ok(Some(*found));
        }
        let mut statement =
            connection.prepare_cached("SELECT seq, body FROM seen WHERE hash = ?")?;
        let found =
            statement.query_row([hash], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)));
        Ok(found.optional()?)
    }

    /// Remembers a claim within the running transaction.
    pub(super) fn take(&mut self, claim: Claim, seq: u64) {
        self.unmerged.insert(claim.id, (seq, claim.body));
        self.fresh.push(claim.id);
    }

    /// The transaction was committed.
    pub(super) fn keep(&mut self) {
        self.fresh.clear();
    }

    /// The transaction failed: its ids are free again.
    pub(super) fn undo(&mut self) {
        for hash in self.fresh.drain(..) {
            self.unmerged.remove(&hash);
        }
    }

    /// The claim of an event, while it is not merged: its hash and the hash of its bytes.
    pub(super) fn unmerged_claim(&self, source: &str, id: &str, seq: u64) -> Option<(i64, i64)> {
        let hash = self.keys.id_hash(source, id);
        let (_, body) = self.unmerged.get(&hash).filter(|it| it.0 == seq)?;
        Some((hash, *body))
    }

    /// The numbers of events by hash.
    pub(super) fn find(
        &self,
        connection: &Connection,
        hashes: &[i64],
    ) -> Result<Vec<u64>, StoreFault> {
        let mut found = Vec::new();
        for hash in hashes {
            found.extend(self.lookup(connection, *hash)?.map(|it| it.0));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    pub(super) fn unmerged(&self) -> usize {
        self.unmerged.len()
    }
}
