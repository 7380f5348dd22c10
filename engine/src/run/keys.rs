//! What `dedupe` and `throttle` remember. It outlives a reload that leaves the rule as it is, and
//! is gone with the process: after a restart the first event of each key passes again.

use super::rate::RateLimiter;
use compiler::spec::{self, Passing};
use kernel::event::Envelope;
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The memory of one rule. Times are of the monotonic clock.
#[derive(Debug)]
pub struct KeyMemory {
    rule: Rule,
    keys_max: usize,
    known: Mutex<RememberedKey>,
    evicted: AtomicU64,
}

#[derive(Debug)]
enum Rule {
    Once(Duration),
    Paced(spec::RateLimit),
}

#[derive(Debug, Default)]
struct RememberedKey {
    keys: HashMap<String, Key>,
    /// Keys by age.
    ages: BTreeMap<(Duration, u64), String>,
    count: u64,
}

#[derive(Debug)]
struct Key {
    age: (Duration, u64),
    /// Who passed: the same event again passes again, so that a sender who got no answer may
    /// repeat it.
    holder: u64,
    pace: Option<RateLimiter>,
}

/// A key that an event holds until its first commit. Dropped before that, the key is free again:
/// the event was not stored, or nobody knows, and the next one of its key passes.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<KeyMemory>,
    key: String,
    holder: u64,
    is_kept: bool,
}

impl Reservation {
    /// The event is stored: its key is held from now on.
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let mut known = self.memory.known();
        if known.keys.get(&self.key).is_some_and(|it| it.holder == self.holder) {
            known.remove(&self.key);
        }
    }
}

impl KeyMemory {
    /// The memory that a rule needs; a plain condition needs none.
    pub fn of(rule: &Passing) -> Option<Self> {
        let (rule, keys_max) = match rule {
            Passing::Keep(_) => return None,
            Passing::Once { window, keys_max, .. } => (Rule::Once(*window), *keys_max),
            Passing::Paced { pace, keys_max, .. } => (Rule::Paced(*pace), *keys_max),
        };
        let known = Mutex::new(RememberedKey::default());
        Some(KeyMemory { rule, keys_max, known, evicted: AtomicU64::new(0) })
    }

    fn known(&self) -> MutexGuard<'_, RememberedKey> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that were forgotten to make room.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Whether an event of this key passes now. The key is free again when the reservation is
    /// dropped and was not kept, because the event was not taken after all.
    pub fn passes(
        self: &Arc<Self>,
        key: String,
        event: &Envelope,
        now: Duration,
    ) -> Option<Reservation> {
        let holder = identity(&event.source, &event.id);
        let mut known = self.known();
        match self.rule {
            Rule::Once(window) => {
                let earlier = known.keys.get(&key);
                let is_held = earlier.is_some_and(|it| now < it.age.0 + window);
                if is_held && earlier.is_some_and(|it| it.holder != holder) {
                    return None;
                }
                if !is_held {
                    known.insert(key.clone(), holder, None, now);
                }
            }
            Rule::Paced(settings) => {
                if !known.keys.contains_key(&key) {
                    known.insert(key.clone(), holder, Some(RateLimiter::new(settings)), now);
                }
                let pace = known.keys.get(&key).and_then(|it| it.pace.as_ref());
                if !pace.is_some_and(|it| it.take(now)) {
                    return None;
                }
            }
        }
        self.make_room(&mut known);
        // A place of a rate is not given back: what was asked for was asked for.
        let is_once = matches!(self.rule, Rule::Once(_));
        let holder = if is_once { holder } else { 0 };
        Some(Reservation { memory: self.clone(), key, holder, is_kept: false })
    }

    fn make_room(&self, known: &mut RememberedKey) {
        while self.keys_max < known.keys.len() {
            let Some((_, oldest)) = known.ages.pop_first() else { return };
            known.keys.remove(&oldest);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl RememberedKey {
    fn insert(&mut self, key: String, holder: u64, pace: Option<RateLimiter>, now: Duration) {
        self.remove(&key);
        self.count += 1;
        let age = (now, self.count);
        self.ages.insert(age, key.clone());
        self.keys.insert(key, Key { age, holder, pace });
    }

    fn remove(&mut self, key: &str) {
        if let Some(gone) = self.keys.remove(key) {
            self.ages.remove(&gone.age);
        }
    }
}

/// What makes an event the same when it is sent again. Never 0, which holds nothing.
fn identity(source: &str, id: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    (source, id).hash(&mut hasher);
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::event::Priority;
    use kernel::time::Timestamp;
    use language::expr::{Expr, Roots};
    use language::parse_rate;
    use language::spanned::Spanned;

    fn event(id: &str) -> Envelope {
        Envelope {
            id: id.into(),
            kind: "ring".into(),
            source: "door".into(),
            subject: "".into(),
            time: Timestamp(0),
            received: Timestamp(0),
            priority: Priority::Normal,
            correlation_id: None,
            parent_id: None,
        }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn once(window: u64, keys_max: usize) -> Arc<KeyMemory> {
        let key = Expr::parse("event.type", Roots::EVENT).expect("an expression");
        let key = Spanned::new(key, 0..0);
        let rule = Passing::Once { key, window: seconds(window), keys_max };
        Arc::new(KeyMemory::of(&rule).expect("it remembers"))
    }

    #[track_caller]
    fn check(limiter: &Arc<KeyMemory>, key: &str, id: &str, at: u64, passes: bool) {
        let passed = limiter.passes(key.to_owned(), &event(id), seconds(at));
        assert_eq!(passed.is_some(), passes, "{id} at {at}");
        passed.into_iter().for_each(Reservation::keep);
    }

    #[test]
    fn the_first_of_a_window_passes_and_the_same_event_again() {
        let limiter = once(30, 10);
        check(&limiter, "a", "1", 0, true);
        check(&limiter, "a", "2", 29, false);
        check(&limiter, "a", "1", 29, true);
        check(&limiter, "b", "3", 29, true);
        check(&limiter, "a", "4", 30, true);
        check(&limiter, "a", "1", 31, false);
    }

    #[test]
    fn an_event_that_was_not_taken_holds_nothing() {
        let limiter = once(30, 10);
        drop(limiter.passes("a".to_owned(), &event("1"), seconds(0)).expect("it passes"));
        check(&limiter, "a", "2", 1, true);
        check(&limiter, "a", "3", 2, false);
    }

    #[test]
    fn the_oldest_key_makes_room() {
        let limiter = once(30, 2);
        for (key, at) in [("a", 0), ("b", 1), ("c", 2)] {
            check(&limiter, key, key, at, true);
        }
        assert_eq!(limiter.evicted(), 1);
        check(&limiter, "c", "other", 3, false);
        check(&limiter, "a", "other", 3, true);
    }

    #[test]
    fn a_rate_is_kept_by_key() {
        let pace = spec::RateLimit { rate: parse_rate("1/s").expect("a rate"), burst: 2 };
        let rule = Passing::Paced { key: None, pace, keys_max: 10 };
        let limiter = Arc::new(KeyMemory::of(&rule).expect("it remembers"));
        for (id, key, at, passes) in [
            ("1", "a", 0, true),
            ("2", "a", 0, true),
            ("3", "a", 0, false),
            ("4", "b", 0, true),
            ("5", "a", 1, true),
        ] {
            check(&limiter, key, id, at, passes);
        }
    }
}
