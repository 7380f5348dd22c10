//! How the file on disk compares with what runs.

use event_listener::Event as Signal;
use kernel::time::Timestamp;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Generations whose files are kept to be compared, the newest ones.
const GENERATIONS_MAX: usize = 20;
/// What these may hold, in bytes; the newest is kept however large it is.
const FILES_BYTES: usize = 4 << 20;

/// How the file on disk compares with what runs, and what ran before.
#[derive(Debug, Default)]
pub struct Status {
    /// Why the file on disk is not what runs, and since when.
    stale: Mutex<Option<(String, Timestamp)>>,
    /// The effective files of the generations of this process, the newest last.
    files: Mutex<VecDeque<(u64, Arc<str>)>>,
    last: Mutex<Value>,
    /// How many reloads were asked for by hand, and how many of these looks are over.
    asked: AtomicU64,
    done: AtomicU64,
    changed: Signal,
}

impl Status {
    /// The findings of a file that was rejected, while it is the one on disk.
    pub fn stale(&self) -> Option<String> {
        self.rejected().as_ref().map(|rejected| rejected.0.clone())
    }

    /// Since when the file on disk is not what runs.
    pub fn stale_since(&self) -> Option<Timestamp> {
        self.rejected().as_ref().map(|rejected| rejected.1)
    }

    /// The generations whose files are kept, the newest last.
    pub fn generations(&self) -> Vec<u64> {
        self.files().iter().map(|file| file.0).collect()
    }

    /// The effective file of a generation, secrets masked.
    pub fn file_of(&self, generation: u64) -> Option<Arc<str>> {
        self.files().iter().find(|file| file.0 == generation).map(|file| file.1.clone())
    }

    /// Keeps the effective file of a generation that runs now.
    pub(super) fn keep_file(&self, generation: u64, text: Arc<str>) {
        let mut files = self.files();
        files.push_back((generation, text));
        let bytes = |it: &VecDeque<(u64, Arc<str>)>| it.iter().map(|it| it.1.len()).sum::<usize>();
        while GENERATIONS_MAX < files.len() || (1 < files.len() && FILES_BYTES < bytes(&files)) {
            files.pop_front();
        }
    }

    fn rejected(&self) -> MutexGuard<'_, Option<(String, Timestamp)>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<(u64, Arc<str>)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the last reload ended.
    pub fn last(&self) -> Value {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for a look at the file now, and waits until it is over. What it came to is said by
    /// [`Status::stale`] and [`Status::last`].
    pub async fn reload(&self) {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.changed.notify(usize::MAX);
        self.until(|it| number <= it.done.load(Ordering::SeqCst)).await;
    }

    /// Waits until somebody asks.
    pub(crate) async fn asked(&self) {
        self.until(|it| it.done.load(Ordering::SeqCst) < it.asked_so_far()).await;
    }

    /// How many have asked so far; a look that begins now is theirs.
    pub(crate) fn asked_so_far(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// The look of these is over.
    pub(crate) fn has_looked(&self, asked: u64) {
        self.done.fetch_max(asked, Ordering::SeqCst);
        self.changed.notify(usize::MAX);
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.listen();
            if holds(self) {
                return;
            }
            changed.await;
        }
    }

    /// A file that is rejected after another one leaves the beginning as it was.
    pub(super) fn set(&self, stale: Option<String>, last: Value, now: Timestamp) {
        let mut rejected = self.rejected();
        let since = rejected.as_ref().map_or(now, |rejected| rejected.1);
        *rejected = stale.map(|findings| (findings, since));
        drop(rejected);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_file_is_stale_since_the_first_of_them() {
        let (status, at) = (Status::default(), |it| Timestamp(it));
        status.set(Some("one".to_owned()), Value::Null, at(1));
        status.set(Some("two".to_owned()), Value::Null, at(2));
        assert_eq!((status.stale().as_deref(), status.stale_since()), (Some("two"), Some(at(1))));
        status.set(None, Value::Null, at(3));
        status.set(Some("three".to_owned()), Value::Null, at(4));
        assert_eq!(status.stale_since(), Some(at(4)));
    }

    #[test]
    fn the_newest_files_are_kept_within_bounds() {
        let status = Status::default();
        (1..=25).for_each(|it| status.keep_file(it, "x".into()));
        assert_eq!(status.generations(), (6..=25).collect::<Vec<_>>());
        status.keep_file(26, "x".repeat(FILES_BYTES + 1).into());
        assert_eq!((status.generations(), status.file_of(25)), (vec![26], None));
    }
}
