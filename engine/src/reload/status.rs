//! How the file on disk compares with what runs.

use serde_json::Value;
use std::sync::{Mutex, PoisonError};

/// How the file on disk compares with what runs.
#[derive(Debug, Default)]
pub struct Status {
    /// Why the file on disk is not what runs.
    stale: Mutex<Option<String>>,
    last: Mutex<Value>,
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

    pub(super) fn set(&self, stale: Option<String>, last: Value) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = stale;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}
