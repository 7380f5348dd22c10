//! Accepted events that are held in memory: bounded in number and in bytes. More wait in the
//! inbox, on disk, and are read when there is room.

use super::Signal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most events, unless more than half as many may be enriched at once. Beside its body, one
/// takes about 15 kB.
const EVENTS: usize = 1024;
/// The most bytes of their bodies and what is parsed of them.
const BYTES_MAX: u64 = 32 << 20;
/// A body and what is parsed of it take so many times the bytes of the body.
const BODY_TIMES: u64 = 4;

/// How much is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeldCount {
    /// Events.
    pub events: usize,
    /// Bytes of their bodies and of what is parsed of them, as far as that can be known.
    pub bytes: u64,
}

/// The room for them.
pub(super) struct HeldEvents {
    events_max: AtomicUsize,
    count: Mutex<HeldCount>,
    freed: Signal,
}

/// The place of one event, given back when it is dropped.
pub(super) struct HeldPlace {
    room: Arc<HeldEvents>,
    bytes: u64,
}

impl HeldEvents {
    /// Room for what is enriched at once, and as much that waits for another attempt.
    pub(super) fn new(concurrency: usize) -> Arc<Self> {
        let room = HeldEvents {
            events_max: AtomicUsize::new(0),
            count: Mutex::default(),
            freed: Signal::new(),
        };
        room.resize(concurrency);
        Arc::new(room)
    }

    /// The same for another concurrency. What is held already stays.
    pub(super) fn resize(&self, concurrency: usize) {
        self.events_max.store(EVENTS.max(2 * concurrency), Ordering::Relaxed);
        self.freed.notify(usize::MAX);
    }

    /// How much is held now.
    pub(super) fn count(&self) -> HeldCount {
        *self.lock()
    }

    /// A place for an event whose body has so many bytes, if there is room. One event always has
    /// room, however large.
    pub(super) fn try_hold(self: &Arc<Self>, body: u64) -> Option<HeldPlace> {
        let bytes = body.saturating_mul(BODY_TIMES);
        let events_max = self.events_max.load(Ordering::Relaxed);
        let mut count = self.lock();
        let fits = count.events < events_max && count.bytes + bytes <= BYTES_MAX;
        if !fits && 0 < count.events {
            return None;
        }
        (count.events, count.bytes) = (count.events + 1, count.bytes + bytes);
        Some(HeldPlace { room: self.clone(), bytes })
    }

    /// The same, as soon as there is room.
    pub(super) async fn hold(self: &Arc<Self>, body: u64) -> HeldPlace {
        loop {
            let freed = self.freed.listen();
            match self.try_hold(body) {
                Some(place) => return place,
                None => freed.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HeldCount> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        {
            let mut count = self.room.lock();
            (count.events, count.bytes) = (count.events - 1, count.bytes - self.bytes);
        }
        self.room.freed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_in_number_and_in_bytes() {
        let room = HeldEvents::new(1);
        let mut places: Vec<HeldPlace> = std::iter::from_fn(|| room.try_hold(100)).collect();
        assert_eq!(room.count().events, EVENTS);
        room.resize(EVENTS);
        assert!(room.try_hold(100).is_some(), "there is room for what is enriched at once");
        places.truncate(10);
        assert_eq!(room.count().events, 10);
        let large: Vec<HeldPlace> = std::iter::from_fn(|| room.try_hold(1 << 20)).collect();
        assert!(large.len() < 9 && room.count().bytes <= BYTES_MAX, "{:?}", room.count());
        drop((places, large));
        assert_eq!(room.count(), HeldCount::default());
        let whole = room.try_hold(1 << 30);
        assert!(whole.is_some() && room.try_hold(1).is_none(), "one event always has room");
    }

    #[test]
    fn whoever_waits_goes_on_when_there_is_room() {
        let room = HeldEvents::new(1);
        let whole = room.try_hold(1 << 30);
        let mut waiting = Box::pin(room.hold(1));
        assert!(smol::block_on(smol::future::poll_once(&mut waiting)).is_none());
        // One that gives up takes nobody's turn.
        drop(smol::block_on(smol::future::poll_once(Box::pin(room.hold(2)))));
        drop(whole);
        drop(smol::block_on(waiting));
        assert_eq!(room.count(), HeldCount::default());
    }
}
