//! Answers of a remote stage, kept for a while.

use compiler::spec;
use serde_json::Value;
use stages::contract::Addition;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most bytes of one cache's answers, as JSON text.
const BYTES_MAX: usize = 16 << 20;

/// The cache of one stage. Times are of the monotonic clock.
#[derive(Debug)]
pub struct AnswerCache {
    settings: spec::CacheSettings,
    kept: Mutex<CacheKept>,
    /// Questions that are asked now.
    flights: Mutex<HashMap<String, Arc<FlightLock>>>,
}

/// Held by the event that asks. It says whether the call has failed.
type FlightLock = smol::lock::Mutex<bool>;

/// The right to ask a question, while others with the same one wait for the answer.
pub struct CallFlight<'a> {
    cache: &'a AnswerCache,
    key: String,
    lock: Option<smol::lock::MutexGuardArc<bool>>,
}

impl CallFlight<'_> {
    /// The call has ended. Where it has brought no answer that is kept, those who wait for it ask
    /// as well, all at the same time: one after the other, each would wait for the timeouts of all
    /// before it.
    pub fn end(mut self, now: Duration) {
        if self.cache.fresh(&self.key, now).is_some() {
            return;
        }
        if let Some(lock) = &mut self.lock {
            **lock = true;
        }
        self.cache.flights().remove(&self.key);
    }
}

impl Drop for CallFlight<'_> {
    fn drop(&mut self) {
        self.lock = None;
        let mut flights = self.cache.flights();
        if flights.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            flights.remove(&self.key);
        }
    }
}

#[derive(Debug, Default)]
struct CacheKept {
    answers: HashMap<String, CachedAnswer>,
    /// Keys by age; the oldest goes first.
    ages: BTreeMap<(Duration, u64), String>,
    count: u64,
    bytes: usize,
}

#[derive(Debug)]
struct CachedAnswer {
    value: Value,
    bytes: usize,
    age: (Duration, u64),
}

impl AnswerCache {
    /// An empty one.
    pub fn new(settings: spec::CacheSettings) -> Self {
        AnswerCache { settings, kept: Mutex::default(), flights: Mutex::default() }
    }

    /// What it was made from.
    pub fn settings(&self) -> &spec::CacheSettings {
        &self.settings
    }

    /// An answer that is fresh enough.
    pub fn fresh(&self, key: &str, now: Duration) -> Option<Addition> {
        self.younger(key, now, self.settings.keep)
    }

    /// An answer for want of a better one.
    pub fn stale(&self, key: &str, now: Duration) -> Option<Addition> {
        self.younger(key, now, self.settings.stale_if_error?)
    }

    fn younger(&self, key: &str, now: Duration, age_max: Duration) -> Option<Addition> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = kept.answers.get(key)?;
        let is_young = now.saturating_sub(answer.age.0) <= age_max;
        is_young.then(|| Addition::Value(answer.value.clone()))
    }

    /// Waits while another event asks the same. `None` where that has failed.
    pub async fn join_flight(&self, key: &str) -> Option<CallFlight<'_>> {
        let lock = self.flights().entry(key.to_owned()).or_default().clone();
        let lock = lock.lock_arc().await;
        let has_failed = *lock;
        (!has_failed).then(|| CallFlight { cache: self, key: key.to_owned(), lock: Some(lock) })
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<String, Arc<FlightLock>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an answer; the oldest go when there are too many.
    pub fn keep(&self, key: String, value: Value, now: Duration) {
        let bytes = value.to_string().len() + key.len();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        let age = (now, kept.count);
        kept.remove(&key);
        kept.bytes += bytes;
        kept.answers.insert(key.clone(), CachedAnswer { value, bytes, age });
        kept.ages.insert(age, key);
        while self.settings.entries_max < kept.answers.len() || BYTES_MAX < kept.bytes {
            let Some((_, oldest)) = kept.ages.pop_first() else { return };
            kept.remove(&oldest);
        }
    }
}

impl CacheKept {
    fn remove(&mut self, key: &str) {
        if let Some(gone) = self.answers.remove(key) {
            self.bytes -= gone.bytes;
            self.ages.remove(&gone.age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cache(entries_max: usize) -> AnswerCache {
        AnswerCache::new(spec::CacheSettings {
            keep: Duration::from_secs(10),
            key: None,
            stale_if_error: Some(Duration::from_secs(60)),
            entries_max,
        })
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_gone() {
        let cache = cache(10);
        cache.keep("k".to_owned(), json!(1), at(0));
        let value = Some(Addition::Value(json!(1)));
        assert_eq!(cache.fresh("k", at(10)), value);
        assert_eq!(cache.fresh("k", at(11)), None);
        assert_eq!(cache.stale("k", at(60)), value);
        assert_eq!(cache.stale("k", at(61)), None);
        assert_eq!(cache.fresh("other", at(0)), None);
    }

    #[test]
    fn one_event_asks_and_the_others_wait() {
        fn now<T>(flight: impl Future<Output = T>) -> Option<T> {
            futures_util::FutureExt::now_or_never(flight)
        }
        let cache = cache(2);
        let first = now(cache.join_flight("a")).flatten().expect("nobody asks yet");
        assert!(now(cache.join_flight("a")).is_none());
        assert!(now(cache.join_flight("b")).flatten().is_some());
        let mut second = Box::pin(cache.join_flight("a"));
        assert!(now(second.as_mut()).is_none());
        cache.keep("a".to_owned(), json!(1), at(0));
        first.end(at(0));
        let second = now(second).flatten().expect("the first has ended");
        cache.keep("b".to_owned(), json!(2), at(0));
        cache.keep("c".to_owned(), json!(3), at(0));
        let mut third = Box::pin(cache.join_flight("a"));
        assert!(now(third.as_mut()).is_none());
        second.end(at(0));
        assert!(now(third).expect("it has ended").is_none());
        assert!(now(cache.join_flight("a")).flatten().is_some());
        assert!(cache.flights().is_empty());
    }

    #[test]
    fn the_oldest_makes_room() {
        let cache = cache(2);
        for (key, time) in [("a", 0), ("b", 1), ("a", 2), ("c", 3)] {
            cache.keep(key.to_owned(), json!(time), at(time));
        }
        assert_eq!(cache.fresh("b", at(4)), None);
        assert_eq!(cache.fresh("a", at(4)), Some(Addition::Value(json!(2))));
        assert!(cache.fresh("c", at(4)).is_some());
    }
}
