//! New claims go into `seen` sorted, many at a time, a slice between two commits.
//!
//! *Invariant:* a claim leaves memory only when the whole merge that it belongs to is committed;
//! until then a crash rebuilds it from its row, also where its slice is in `seen` already.

use super::StoreFault;
use super::claim::Claims;
use rusqlite::{Connection, params};

/// This many new claims begin a merge.
const MERGE_AT: usize = 24_000;
/// With this many a merge is done to its end at once: slices did not keep up.
const MERGE_MAX: usize = 100_000;
/// Claims that are merged before the time is looked at.
const STEP: usize = 64;

/// A merge that has begun.
pub(super) struct RunningMerge {
    /// By hash: the hash, the number, and the hash of the bytes.
    sorted: Vec<(i64, u64, i64)>,
    done: usize,
    highest: u64,
}

impl Claims {
    /// Begins a merge when there are enough claims for one.
    pub(super) fn merge_when_many(&mut self) {
        if MERGE_AT <= self.unmerged.len() {
            self.begin_merge();
        }
    }

    /// Whether slices are not enough.
    pub(super) fn is_overdue(&self) -> bool {
        MERGE_MAX <= self.unmerged.len()
    }

    /// Begins a merge of what there is now.
    pub(super) fn begin_merge(&mut self) {
        if self.merging.is_some() || self.unmerged.is_empty() {
            return;
        }
        let claims = self.unmerged.iter();
        let mut sorted: Vec<_> = claims.map(|(hash, it)| (*hash, it.0, it.1)).collect();
        sorted.sort_unstable_by_key(|it| it.0);
        let highest = sorted.iter().map(|it| it.1).max().unwrap_or(0);
        self.merging = Some(RunningMerge { sorted, done: 0, highest });
    }

    pub(super) fn is_merging(&self) -> bool {
        self.merging.is_some()
    }

    /// Merges until `is_over` or the end, in one transaction.
    pub(super) fn merge_slice(
        &mut self,
        connection: &mut Connection,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), StoreFault> {
        let Some(merge) = &mut self.merging else { return Ok(()) };
        let mut done = merge.done;
        let transaction = connection.transaction()?;
        {
            let sql = "INSERT OR REPLACE INTO seen (hash, seq, body) VALUES (?, ?, ?)";
            let mut insert = transaction.prepare_cached(sql)?;
            for step in merge.sorted[done..].chunks(STEP) {
                for (hash, seq, body) in step {
                    insert.execute(params![hash, *seq as i64, body])?;
                }
                done += step.len();
                if is_over() {
                    break;
                }
            }
        }
        let is_whole = done == merge.sorted.len();
        if is_whole {
            super::rows::set_meta(&transaction, "merged", merge.highest)?;
        }
        transaction.commit()?;
        merge.done = done;
        if is_whole && let Some(merge) = self.merging.take() {
            self.merged = merge.highest;
            for (hash, seq, _) in merge.sorted {
                if self.unmerged.get(&hash).is_some_and(|it| it.0 == seq) {
                    self.unmerged.remove(&hash);
                }
            }
        }
        Ok(())
    }

    /// Merges everything.
    pub(super) fn merge_all(&mut self, connection: &mut Connection) -> Result<(), StoreFault> {
        while !self.unmerged.is_empty() {
            self.begin_merge();
            self.merge_slice(connection, &|| false)?;
        }
        Ok(())
    }
}
