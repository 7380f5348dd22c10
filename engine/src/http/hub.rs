//! The newest events of one streaming sink, which all of its clients read.
//!
//! *Invariant:* every event that was routed here and whose position the covered range holds is in
//! the ring, but for what retention took before the ring was filled. So a client that stands in the
//! range misses nothing after `taken`, and one that stands before it finds what it misses in the
//! store, where everything up to the range's end is committed.

use event_listener::{Event, EventListener};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use store::StoredEvent;

/// What the ring of one stream may hold, in bytes; each event counts with its frame.
const RING_BYTES: usize = 8 << 20;

/// Writes one event as one JSON text.
pub type Serialise = Arc<dyn Fn(&StoredEvent) -> String + Send + Sync>;

/// An event and, once somebody wanted it, its bytes on the wire.
pub struct Framed {
    /// The event.
    pub stored: Arc<StoredEvent>,
    bytes: OnceLock<Box<[u8]>>,
}

impl Framed {
    /// Not serialised yet.
    pub fn new(stored: Arc<StoredEvent>) -> Self {
        Framed { stored, bytes: OnceLock::new() }
    }

    /// What it holds, or will once somebody wanted its bytes.
    fn size(&self) -> usize {
        2 * self.stored.size()
    }

    /// `id`, `event` and `data`, made once for all clients. `message` is the event that a
    /// browser's `onmessage` is for.
    pub fn bytes(&self, serialise: &Serialise) -> &[u8] {
        self.bytes.get_or_init(|| {
            // JSON as received may be spread over lines. Between its tokens a line end is as
            // good as a space, and within them JSON has none; here it could forge a field.
            let data = serialise(&self.stored).replace(['\r', '\n'], " ");
            let frame = format!("id: {}\nevent: message\ndata: {data}\n\n", self.stored.pos);
            frame.into_bytes().into_boxed_slice()
        })
    }
}

/// What happened, for `/metrics`.
#[derive(Debug, Default)]
pub struct HubCounters {
    /// Connected now.
    pub clients: AtomicU64,
    /// Events sent, to each client.
    pub sent: AtomicU64,
    /// Gaps told.
    pub gaps: AtomicU64,
    /// Clients over the cap.
    pub refused: AtomicU64,
}

/// What a cursor finds.
pub enum Found {
    /// The cursor stands before the range, which is complete after this position.
    Before(u64),
    /// What comes next, and where the cursor stands behind it.
    Next(Vec<Arc<Framed>>, u64),
    /// Nothing newer is known.
    Nothing,
    /// The stream has ended; the client connects again and resumes.
    Closed,
}

/// One sink's ring and what its clients wait for.
pub struct Hub {
    name: Arc<str>,
    serialise: Serialise,
    capacity: usize,
    ring: Mutex<Ring>,
    news: Event,
    /// What happened.
    pub counters: HubCounters,
}

struct Ring {
    events: VecDeque<Arc<Framed>>,
    /// What these hold.
    bytes: usize,
    /// The covered range: after `after`, up to and including `to`.
    after: u64,
    to: u64,
    /// Retention may have taken events of the range up to this position before it was read.
    taken: u64,
    is_closed: bool,
}

impl Hub {
    /// An empty ring for the sink `name`. Nothing at or below `after` will be published; what the
    /// store has of it may be put in later by [`Hub::fill`].
    pub fn new(name: Arc<str>, capacity: usize, after: u64, serialise: Serialise) -> Self {
        let (ring, counters) = (Mutex::new(Ring::new(after)), HubCounters::default());
        Hub { name, serialise, capacity, ring, news: Event::new(), counters }
    }

    /// Whether the event was routed to this sink.
    pub fn takes(&self, stored: &StoredEvent) -> bool {
        stored.targets.contains(&self.name)
    }

    /// How events are written.
    pub fn serialise(&self) -> &Serialise {
        &self.serialise
    }

    /// Takes what was committed, in the order of positions. Events for others only move the end
    /// of the range. Does not wait for any client.
    pub fn publish(&self, committed: &[Arc<StoredEvent>]) {
        let mut ring = self.lock();
        let fresh = ring.publish(committed, &self.name);
        ring.shrink(self.capacity);
        drop(ring);
        if fresh {
            self.news.notify(usize::MAX);
        }
    }

    /// What the store has of the time before the ring began, to be read from `from` on.
    pub fn older(&self, from: u64) -> OlderEvents {
        let (capacity, name) = (self.capacity, self.name.clone());
        OlderEvents { ring: Ring::new(from), capacity, name }
    }

    /// Puts in what was read from the store, which must reach to where the ring began; retention
    /// had taken events up to `taken`. Where the ring has forgotten its beginning meanwhile, it
    /// stays as it is.
    pub fn fill(&self, older: OlderEvents, taken: u64) {
        let mut ring = self.lock();
        if ring.after != older.to() {
            return;
        }
        let newer = std::mem::replace(&mut ring.events, older.ring.events);
        ring.events.extend(newer);
        ring.bytes += older.ring.bytes;
        (ring.after, ring.taken) = (older.ring.after, taken.min(older.ring.to));
        ring.shrink(self.capacity);
    }

    /// The stream is over: every client ends and finds its place again when it connects.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify(usize::MAX);
    }

    /// What follows `cursor`: at most `limit` events of it, and no more once they hold `bytes_max`.
    pub fn next(&self, cursor: u64, limit: usize, bytes_max: usize) -> Found {
        let ring = self.lock();
        if ring.is_closed {
            return Found::Closed;
        }
        if cursor < ring.after {
            return Found::Before(ring.after.max(ring.taken));
        }
        let from = ring.events.partition_point(|event| event.stored.pos <= cursor);
        let mut bytes = 0;
        let is_room = |framed: &&Arc<Framed>| {
            let before = bytes;
            bytes += framed.stored.size();
            before == 0 || before < bytes_max
        };
        let following = ring.events.iter().skip(from).take(limit);
        let next: Vec<_> = following.take_while(is_room).cloned().collect();
        match next.last() {
            Some(last) => {
                let all = from + next.len() == ring.events.len();
                let to = if all { ring.to } else { last.stored.pos };
                Found::Next(next, to)
            }
            None => Found::Nothing,
        }
    }

    /// The covered range: after the first, up to and including the second.
    pub fn range(&self) -> (u64, u64) {
        let ring = self.lock();
        (ring.after, ring.to)
    }

    /// Up to where events of the covered range may be missing, because retention took them.
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    /// Where a cursor must stand to see the newest `count` events that `wanted` lets through.
    pub fn rewind(&self, count: usize, wanted: impl Fn(&StoredEvent) -> bool) -> u64 {
        let ring = self.lock();
        let newest = ring.events.iter().rev().filter(|event| wanted(&event.stored)).take(count);
        newest.last().map_or(ring.to, |it| it.stored.pos - 1)
    }

    /// Ends at the next publication. To be made before looking.
    pub fn listen(&self) -> EventListener {
        self.news.listen()
    }

    /// A place for one client, if there are fewer than `most`.
    pub fn enter(self: &Arc<Self>, most: usize) -> Option<ClientSlot> {
        let clients = &self.counters.clients;
        let more = |now: u64| (now < most as u64).then_some(now + 1);
        match clients.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Some(ClientSlot { hub: self.clone() }),
            Err(_) => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the store has of the time before a ring began; it holds no more than the ring may.
pub struct OlderEvents {
    ring: Ring,
    capacity: usize,
    name: Arc<str>,
}

impl OlderEvents {
    /// Takes what follows, in the order of positions, up to and including `to`.
    pub fn push(&mut self, events: &[Arc<StoredEvent>], to: u64) {
        assert!(self.ring.to < to, "each read continues from the one before");
        self.ring.publish(events, &self.name);
        self.ring.to = to;
        self.ring.shrink(self.capacity);
    }

    /// Up to where the store was read.
    pub fn to(&self) -> u64 {
        self.ring.to
    }
}

impl Ring {
    fn new(after: u64) -> Self {
        Ring { events: VecDeque::new(), bytes: 0, after, to: after, taken: 0, is_closed: false }
    }

    /// Takes what is for the sink `name`; says whether anything was.
    fn publish(&mut self, events: &[Arc<StoredEvent>], name: &Arc<str>) -> bool {
        let mut fresh = false;
        for stored in events {
            if stored.pos <= self.to {
                continue;
            }
            self.to = stored.pos;
            if stored.targets.contains(name) {
                fresh = true;
                self.push(Framed::new(stored.clone()));
            }
        }
        fresh
    }

    fn push(&mut self, event: Framed) {
        self.bytes += event.size();
        self.events.push_back(Arc::new(event));
    }

    /// Forgets the oldest until it is within its bounds. The newest stays, however large.
    fn shrink(&mut self, capacity: usize) {
        let is_over = |ring: &Ring| {
            capacity < ring.events.len() || (RING_BYTES < ring.bytes && 1 < ring.events.len())
        };
        while is_over(self) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.size();
            self.after = oldest.stored.pos;
        }
    }
}

/// A client's place; dropping it frees it.
pub struct ClientSlot {
    hub: Arc<Hub>,
}

impl ClientSlot {
    /// Where it is.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.hub.counters.clients.fetch_sub(1, Ordering::AcqRel);
    }
}
