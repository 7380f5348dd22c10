//! Signed requests that come again under another id.
//!
//! The id of a delivery is in a header that nobody signs, so such a request is the event that it was
//! signed for, and nothing is stored. Its sender may all the same be a service that delivers equal
//! bodies on purpose, for which 202 is the answer to an id that is new, and 200 to one that is not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are remembered. One that is forgotten is answered as new once more, and still not stored.
const IDS_MAX: usize = 1024;

/// The ids of such requests, the oldest first.
#[derive(Debug, Default)]
pub(in crate::http) struct ReplayedIds(Mutex<VecDeque<(Arc<str>, Arc<str>)>>);

impl ReplayedIds {
    /// Whether a source has not had this id yet; from now on it has.
    pub(super) fn is_new(&self, source: &Arc<str>, id: &Arc<str>) -> bool {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.iter().any(|it| it.0 == *source && it.1 == *id) {
            return false;
        }
        if IDS_MAX <= ids.len() {
            ids.pop_front();
        }
        ids.push_back((source.clone(), id.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_for_each_source_and_only_so_many_are_kept() {
        let ids = ReplayedIds::default();
        let name = |text: &str| Arc::<str>::from(text);
        assert!(ids.is_new(&name("a"), &name("1")) && ids.is_new(&name("b"), &name("1")));
        assert!(!ids.is_new(&name("a"), &name("1")) && !ids.is_new(&name("b"), &name("1")));
        for number in 0..IDS_MAX {
            ids.is_new(&name("c"), &name(&number.to_string()));
        }
        assert_eq!(ids.0.lock().unwrap().len(), IDS_MAX);
        assert!(ids.is_new(&name("a"), &name("1")), "it was the oldest");
    }
}
