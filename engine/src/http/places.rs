//! Who keeps a place, and memory, when there is not enough for everybody.
//!
//! A connection is a seat. When all seats are taken, a newcomer gets the seat of the connection
//! that has come least far: one that never completed a request, of the address with the most of
//! such, the oldest first. What requests and answers hold in memory is counted for each seat and
//! bounded for all of them together; when it is used up, the address that holds most gives way.
//!
//! *Invariant:* nobody is cut off while a request is being answered, and no known sender to make
//! room for a newcomer. *Invariant:* nobody loses a seat to an address that has as many.

mod seat;

pub(crate) use seat::{Seat, SeatPhase};

use crate::http::limits::ServerLimits;
use event_listener::Event;
use smol::Task;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An address gets back one of its own held seats no more often than this: a held answer is what
/// makes guessing tokens slow, so it must not be given up by connecting again.
const HELD_EVERY: Duration = Duration::from_millis(125);

/// The fewest seats that an address may have, however many addresses there are.
const SHARE_LEAST: usize = 8;

/// Why a newcomer gets no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// All are taken, and none may be given to this address.
    Full,
    /// The address has its share already.
    Share,
}

/// Every open connection of a listener, and the memory that they hold.
#[derive(Default)]
pub(crate) struct Places {
    /// Seats beside those of the limits: clients of streams keep theirs for days, and may all come
    /// through one proxy.
    for_streams: AtomicUsize,
    table: Mutex<PlaceTable>,
    bytes: AtomicUsize,
    ended: Event,
}

#[derive(Default)]
struct PlaceTable {
    next: u64,
    entries: HashMap<u64, PlaceEntry>,
    addresses: HashMap<IpAddr, AddressUse>,
}

/// How many seats there are, and how many of them one address may have while there are few.
#[derive(Clone, Copy)]
struct SeatRoom {
    all: usize,
    of_address: usize,
}

struct PlaceEntry {
    seat: Arc<Seat>,
    /// The connection; dropping it closes it. `None` until it was started.
    task: Option<Task<()>>,
}

#[derive(Default)]
struct AddressUse {
    seats: usize,
    /// When this address last got one of its held seats back.
    held_given: Option<Duration>,
}

/// A newcomer's seat, and whether somebody had to leave for it.
#[derive(Debug)]
pub(crate) struct Seated {
    pub(crate) seat: Arc<Seat>,
    pub(crate) has_evicted: bool,
}

impl Places {
    /// There is room for so many clients of streams from now on.
    pub(crate) fn make_room(&self, for_streams: usize) {
        self.for_streams.store(for_streams, Ordering::Relaxed);
    }

    /// A seat for a connection from `address`.
    pub(crate) fn admit(
        &self,
        address: IpAddr,
        limits: &ServerLimits,
        now: Duration,
    ) -> Result<Seated, NoSeat> {
        let for_streams = self.for_streams.load(Ordering::Relaxed);
        let room = SeatRoom {
            all: limits.connections_max.saturating_add(for_streams),
            of_address: limits.connections_per_ip.saturating_add(for_streams),
        };
        let mut table = self.lock();
        let before = table.entries.len();
        let victim = match table.room_for(address, room) {
            Ok(()) => None,
            Err(no_seat) => Some(table.victim(address, no_seat, now).ok_or(no_seat)?),
        };
        let evicted = victim.and_then(|victim| table.remove(victim));
        let id = table.next;
        table.next += 1;
        let seat = Arc::new(Seat::new(id, address, now));
        table.entries.insert(id, PlaceEntry { seat: seat.clone(), task: None });
        table.addresses.entry(address).or_default().seats += 1;
        // There may have been more room before a reload.
        assert!(table.entries.len() <= room.all.max(before), "more connections than places");
        drop(table);
        let has_evicted = evicted.is_some();
        // Dropped after the lock, since a connection that ends takes it too.
        self.forfeit(evicted);
        Ok(Seated { seat, has_evicted })
    }

    /// The connection that sits on `seat`. Where the seat is gone already, it ends at once.
    pub(crate) fn seat_task(&self, seat: &Seat, task: Task<()>) {
        let mut table = self.lock();
        let late = match table.entries.get_mut(&seat.id()) {
            Some(entry) => entry.task.replace(task),
            None => Some(task),
        };
        drop(table);
        drop(late);
    }

    /// The connection has ended.
    pub(crate) fn leave(&self, seat: &Seat) {
        let left = self.lock().remove(seat.id());
        self.forfeit(left);
    }

    /// What an entry held is free, and whoever waits for the end is told.
    fn forfeit(&self, entry: Option<PlaceEntry>) {
        if let Some(entry) = &entry {
            self.release(&entry.seat);
        }
        drop(entry);
        self.ended.notify(usize::MAX);
    }

    /// Connections that are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Bytes that requests and answers hold.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends when no connection is open.
    pub(crate) async fn emptied(&self) {
        loop {
            let listener = self.ended.listen();
            if self.len() == 0 {
                return;
            }
            listener.await;
        }
    }

    /// Closes every connection at once.
    pub(crate) fn clear(&self) {
        let mut table = self.lock();
        let entries = std::mem::take(&mut table.entries);
        table.addresses.clear();
        drop(table);
        entries.into_values().for_each(|entry| self.forfeit(Some(entry)));
    }

    /// Counts `more` bytes for a seat; false when there is no memory left for it. Whoever holds
    /// nothing while nobody else does gets any amount: it would never be served otherwise.
    #[must_use]
    pub(crate) fn charge(
        &self,
        seat: &Arc<Seat>,
        more: usize,
        limits: &ServerLimits,
        now: Duration,
    ) -> bool {
        loop {
            if self.try_charge(seat, more, limits.held_bytes) {
                return true;
            }
            let mut table = self.lock();
            let Some(victim) = table.largest_holder(seat, more, now) else { return false };
            let evicted = table.remove(victim);
            drop(table);
            if evicted.is_none() {
                return false;
            }
            self.forfeit(evicted);
        }
    }

    fn try_charge(&self, seat: &Seat, more: usize, most: usize) -> bool {
        let own = seat.bytes();
        let add = |held: usize| {
            let is_alone = held <= own;
            (is_alone || held + more <= most).then_some(held + more)
        };
        let is_charged = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok();
        if is_charged {
            seat.add_bytes(more);
        }
        is_charged
    }

    /// A seat holds nothing any more.
    pub(crate) fn release(&self, seat: &Seat) {
        let held = seat.take_bytes();
        let before = self.bytes.fetch_sub(held, Ordering::AcqRel);
        debug_assert!(held <= before, "more bytes were given back than taken");
    }

    fn lock(&self) -> MutexGuard<'_, PlaceTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlaceTable {
    /// Whether there is a free seat and the address may have it. The fuller it is, the more an
    /// address has to share with the others.
    fn room_for(&self, address: IpAddr, room: SeatRoom) -> Result<(), NoSeat> {
        let taken = self.entries.len();
        let own = self.seats_of(address);
        let addresses = self.addresses.len() + usize::from(own == 0);
        let share = match taken * 2 < room.all {
            true => room.of_address,
            false => room.of_address.min(room.all / addresses),
        };
        if share.max(SHARE_LEAST.min(room.of_address)) <= own {
            return Err(NoSeat::Share);
        }
        if room.all <= taken { Err(NoSeat::Full) } else { Ok(()) }
    }

    fn seats_of(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, |address| address.seats)
    }

    /// Who gives up its seat for a newcomer from `address`.
    fn victim(&mut self, address: IpAddr, no_seat: NoSeat, now: Duration) -> Option<u64> {
        let own = self.seats_of(address);
        let mut idle: HashMap<IpAddr, usize> = HashMap::new();
        let mut candidates = Vec::new();
        for (id, entry) in &self.entries {
            let Some(rank) = entry.seat.rank(now) else { continue };
            *idle.entry(entry.seat.address()).or_default() += 1;
            candidates.push((*id, rank, &entry.seat));
        }
        let may_take = |seat: &Seat| match no_seat {
            NoSeat::Share => seat.address() == address,
            NoSeat::Full => seat.address() == address || own < self.seats_of(seat.address()),
        };
        let may_take_held = self.may_take_held(address, now);
        let chosen = candidates
            .into_iter()
            .filter(|(_, _, seat)| may_take(seat))
            .filter(|(_, _, seat)| may_take_held || !seat.is_held() || seat.address() != address)
            .min_by_key(|(id, rank, seat)| {
                let most_first = std::cmp::Reverse(idle[&seat.address()]);
                (most_first, *rank, seat.since(), *id)
            });
        let (id, is_own_held) =
            chosen.map(|(id, _, seat)| (id, seat.is_held() && seat.address() == address))?;
        if is_own_held {
            self.addresses.entry(address).or_default().held_given = Some(now);
        }
        Some(id)
    }

    fn may_take_held(&self, address: IpAddr, now: Duration) -> bool {
        let last = self.addresses.get(&address).and_then(|address| address.held_given);
        last.is_none_or(|it| it + HELD_EVERY <= now)
    }

    /// Whose memory goes to `seat`, which wants `more`: the slowest seat of the address that holds
    /// most, when that is more than the address of `seat` would hold. Many may come through one
    /// proxy: of its own address, a slow seat that holds more than `seat` would gives way.
    fn largest_holder(&self, seat: &Seat, more: usize, now: Duration) -> Option<u64> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.entries.values() {
            *held.entry(entry.seat.address()).or_default() += entry.seat.bytes();
        }
        let own = held.get(&seat.address()).copied().unwrap_or(0) + more;
        let may_take = |it: &Seat| {
            let is_better = !it.is_known() || seat.is_known();
            it.id() != seat.id() && 0 < it.bytes() && it.may_be_cut(now) && is_better
        };
        let (address, most) = held.iter().max_by_key(|it| (*it.1, *it.0))?;
        let (address, least) = match own < *most {
            true => (*address, 0),
            false => (seat.address(), seat.bytes() + more),
        };
        let slowest = self.entries.values().map(|entry| &entry.seat);
        slowest
            .filter(|it| it.address() == address && least < it.bytes() && may_take(it))
            .min_by_key(|it| (it.since(), it.id()))
            .map(|it| it.id())
    }

    fn remove(&mut self, id: u64) -> Option<PlaceEntry> {
        let entry = self.entries.remove(&id)?;
        let address = entry.seat.address();
        if let Some(used) = self.addresses.get_mut(&address) {
            used.seats -= 1;
            if used.seats == 0 {
                self.addresses.remove(&address);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
