//! How the file on disk compares with what runs.

use event_listener::Event as Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How the file on disk compares with what runs.
#[derive(Debug, Default)]
pub struct Status {
    /// Why the file on disk is not what runs.
    stale: Mutex<Option<String>>,
    last: Mutex<Value>,
    /// How many reloads were asked for by hand, and how many of these looks are over.
    asked: AtomicU64,
    done: AtomicU64,
    changed: Signal,
}

impl Status {
    /// The findings of a file that was rejected, while it is the one on disk.
    pub fn stale(&self) -> Option<String> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

    pub(super) fn set(&self, stale: Option<String>, last: Value) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = stale;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}
