//! Who may hold a socket, and which connections are kept for the next call.
//!
//! *Invariant:* nobody waits who could be served: whatever frees a place gives it to the call
//! that has waited longest among those that may have it.

use super::problem::{CallPhase, CallProgress};
use super::request::Endpoint;
use async_channel::{Receiver, Sender};
use kernel::env::Clock;
use kernel::fault::{Cause, Fault};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A connection that nothing has used for this long is closed.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(15);

/// How many sockets there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolLimits {
    /// Open in all, kept ones included.
    pub(super) sockets: usize,
    /// Open to one endpoint.
    pub(super) host: usize,
    /// Of `sockets`, those that only endpoints with fewer than `few` sockets in use get: services
    /// that hang take the rest, and the others are still reached.
    pub(super) reserve: usize,
    /// See `reserve`.
    pub(super) few: usize,
    /// Calls that wait; a further one is refused.
    pub(super) waiting: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits { sockets: 512, host: 64, reserve: 128, few: 4, waiting: 8192 }
    }
}

/// How the sockets to the outside are used at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireUse {
    /// Most sockets.
    pub limit: usize,
    /// Sockets that a call is using.
    pub busy: usize,
    /// Open connections that are kept for the next call.
    pub idle: usize,
    /// Calls that wait for a socket.
    pub waiting: usize,
}

/// The places for connections of type `C`, and those that are idle.
pub(super) struct ConnectionPool<C> {
    limits: PoolLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<PoolState<C>>,
}

struct PoolState<C> {
    hosts: HashMap<Arc<Endpoint>, HostConnections<C>>,
    busy: usize,
    idle: usize,
    waiting: usize,
    tickets: u64,
}

struct HostConnections<C> {
    busy: usize,
    /// Since when, the longest first.
    idle: VecDeque<(Duration, C)>,
    /// By ticket, which is the order in which they came.
    waiting: BTreeMap<u64, Sender<ConnectionLease<C>>>,
}

/// A place for one connection. Dropping it closes the connection and gives the place back.
pub(super) struct ConnectionLease<C> {
    pool: Arc<ConnectionPool<C>>,
    endpoint: Arc<Endpoint>,
    /// What this place is used for, once there is one.
    pub(super) connection: Option<C>,
    is_kept: bool,
}

/// A call in the queue; it leaves the queue when it is dropped.
struct QueuedCall<'a, C> {
    pool: &'a ConnectionPool<C>,
    endpoint: &'a Endpoint,
    ticket: u64,
}

/// Connections that waiting calls get, to be sent once the pool is unlocked.
type Grants<C> = Vec<(Sender<ConnectionLease<C>>, ConnectionLease<C>)>;

impl<C> Default for HostConnections<C> {
    fn default() -> Self {
        HostConnections { busy: 0, idle: VecDeque::new(), waiting: BTreeMap::new() }
    }
}

impl<C> ConnectionLease<C> {
    /// A second place for the same call; never waits, and never goes before those that do.
    pub(super) fn try_another(&self) -> Option<Self> {
        let mut state = self.pool.lock();
        if !state.may_use(&self.endpoint, &self.pool.limits) {
            return None;
        }
        state.open(&self.endpoint, &self.pool.limits);
        Some(self.pool.lease(&self.endpoint, None))
    }

    /// Gives the connection to whoever comes next.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl<C> Drop for ConnectionLease<C> {
    fn drop(&mut self) {
        // Closed before its place is free, so that there are never more sockets than places.
        let kept = self.connection.take().filter(|_| self.is_kept);
        self.pool.release(&self.endpoint, kept);
    }
}

impl<C> Drop for QueuedCall<'_, C> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        if let Some(host) = state.hosts.get_mut(self.endpoint)
            && host.waiting.remove(&self.ticket).is_some()
        {
            state.waiting -= 1;
            state.forget_if_unused(self.endpoint);
        }
    }
}

impl<C> ConnectionPool<C> {
    pub(super) fn new(limits: PoolLimits, clock: Arc<dyn Clock>) -> Self {
        assert!(0 < limits.host && limits.reserve < limits.sockets, "nothing could be opened");
        let (hosts, busy, idle, waiting, tickets) = (HashMap::new(), 0, 0, 0, 0);
        let state = Mutex::new(PoolState { hosts, busy, idle, waiting, tickets });
        ConnectionPool { limits, clock, state }
    }

    pub(super) fn usage(&self) -> WireUse {
        let state = self.lock();
        let (busy, idle, waiting) = (state.busy, state.idle, state.waiting);
        WireUse { limit: self.limits.sockets, busy, idle, waiting }
    }

    /// A place for a connection to `endpoint`, with the connection if one was kept; waits for its
    /// turn.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        progress: &CallProgress,
    ) -> Result<ConnectionLease<C>, Fault> {
        progress.enter(CallPhase::Waiting);
        let (ticket, turn) = {
            let mut state = self.lock();
            if state.may_use(endpoint, &self.limits) {
                let waiting = state.hosts.get(endpoint).map_or(0, |host| host.waiting.len());
                assert!(waiting == 0, "a call overtakes those that wait");
                let connection = state.take(endpoint, self.clock.monotonic(), &self.limits);
                return Ok(self.lease(endpoint, connection));
            }
            self.enqueue(&mut state, endpoint)?
        };
        let _queued = QueuedCall { pool: self, endpoint, ticket };
        Ok(turn.recv().await.expect("a call in the queue gets its turn"))
    }

    /// Closes what has been idle for too long.
    pub(super) fn close_idle(&self) {
        let now = self.clock.monotonic();
        let mut state = self.lock();
        let endpoints: Vec<_> = state.hosts.keys().cloned().collect();
        for endpoint in endpoints {
            state.close_old(&endpoint, now);
            state.forget_if_unused(&endpoint);
        }
    }

    fn enqueue(
        &self,
        state: &mut PoolState<C>,
        endpoint: &Arc<Endpoint>,
    ) -> Result<(u64, Receiver<ConnectionLease<C>>), Fault> {
        if self.limits.waiting <= state.waiting {
            let reason = "too many calls wait for a connection";
            return Err(Fault::transient(Cause::Connect, reason));
        }
        let (sender, turn) = async_channel::bounded(1);
        let ticket = state.tickets;
        (state.tickets, state.waiting) = (ticket + 1, state.waiting + 1);
        state.hosts.entry(endpoint.clone()).or_default().waiting.insert(ticket, sender);
        Ok((ticket, turn))
    }

    fn release(self: &Arc<Self>, endpoint: &Arc<Endpoint>, kept: Option<C>) {
        // Before the lock, so that also a panic drops leases only after it: each takes it again.
        let mut grants = Grants::new();
        let now = self.clock.monotonic();
        let mut state = self.lock();
        state.give_back(endpoint, kept.map(|connection| (now, connection)));
        while let Some((next, sender)) = state.next_in_line(&self.limits) {
            let connection = state.take(&next, now, &self.limits);
            grants.push((sender, self.lease(&next, connection)));
        }
        state.forget_if_unused(endpoint);
        drop(state);
        for (sender, lease) in grants {
            // A call that has left in between drops its place, which gives it to the next.
            sender.try_send(lease).ok();
        }
    }

    fn lease(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        connection: Option<C>,
    ) -> ConnectionLease<C> {
        let (pool, endpoint) = (self.clone(), endpoint.clone());
        ConnectionLease { pool, endpoint, connection, is_kept: false }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> PoolState<C> {
    /// Whether one more socket of `endpoint` may be in use.
    fn may_use(&self, endpoint: &Endpoint, limits: &PoolLimits) -> bool {
        let busy = self.hosts.get(endpoint).map_or(0, |host| host.busy);
        let limit =
            if busy < limits.few { limits.sockets } else { limits.sockets - limits.reserve };
        busy < limits.host && self.busy < limit
    }

    /// A kept connection of `endpoint`, the latest first, or a place for a new one.
    fn take(&mut self, endpoint: &Arc<Endpoint>, now: Duration, limits: &PoolLimits) -> Option<C> {
        self.close_old(endpoint, now);
        let host = self.hosts.get_mut(endpoint);
        let Some((_, connection)) = host.and_then(|host| host.idle.pop_back()) else {
            self.open(endpoint, limits);
            return None;
        };
        self.idle -= 1;
        self.count_busy(endpoint);
        Some(connection)
    }

    /// A place for a new connection; what has been kept longest makes room for it.
    fn open(&mut self, endpoint: &Arc<Endpoint>, limits: &PoolLimits) {
        let host = self.hosts.get(endpoint).map_or(0, |host| host.busy + host.idle.len());
        if limits.host <= host {
            self.close_oldest(endpoint);
        } else if limits.sockets <= self.busy + self.idle {
            let oldest = self.hosts.iter().filter_map(|(endpoint, host)| {
                host.idle.front().map(|(since, _)| (*since, endpoint.clone()))
            });
            if let Some((_, oldest)) = oldest.min_by_key(|(since, _)| *since) {
                self.close_oldest(&oldest);
                self.forget_if_unused(&oldest);
            }
        }
        self.count_busy(endpoint);
        assert!(self.busy + self.idle <= limits.sockets, "a socket over the limit");
    }

    fn close_oldest(&mut self, endpoint: &Endpoint) {
        let host = self.hosts.get_mut(endpoint);
        if host.and_then(|host| host.idle.pop_front()).is_some() {
            self.idle -= 1;
        }
    }

    fn count_busy(&mut self, endpoint: &Arc<Endpoint>) {
        self.hosts.entry(endpoint.clone()).or_default().busy += 1;
        self.busy += 1;
    }

    fn give_back(&mut self, endpoint: &Endpoint, kept: Option<(Duration, C)>) {
        let host = self.hosts.get_mut(endpoint).expect("a lease has a host");
        (host.busy, self.busy) = (host.busy - 1, self.busy - 1);
        if let Some(kept) = kept {
            host.idle.push_back(kept);
            self.idle += 1;
        }
    }

    /// The call that has waited longest among those that may have a socket now.
    fn next_in_line(
        &mut self,
        limits: &PoolLimits,
    ) -> Option<(Arc<Endpoint>, Sender<ConnectionLease<C>>)> {
        if self.waiting == 0 {
            return None;
        }
        let first = self.hosts.iter().filter_map(|(endpoint, host)| {
            let (ticket, _) = host.waiting.first_key_value()?;
            self.may_use(endpoint, limits).then(|| (*ticket, endpoint.clone()))
        });
        let (ticket, endpoint) = first.min_by_key(|(ticket, _)| *ticket)?;
        let sender = self.hosts.get_mut(&endpoint)?.waiting.remove(&ticket)?;
        self.waiting -= 1;
        Some((endpoint, sender))
    }

    fn close_old(&mut self, endpoint: &Endpoint, now: Duration) {
        let Some(host) = self.hosts.get_mut(endpoint) else { return };
        while host.idle.front().is_some_and(|(since, _)| *since + IDLE_MAX <= now) {
            host.idle.pop_front();
            self.idle -= 1;
        }
    }

    fn forget_if_unused(&mut self, endpoint: &Endpoint) {
        let host = self.hosts.get(endpoint);
        let is_unused = |host: &HostConnections<C>| {
            host.busy == 0 && host.idle.is_empty() && host.waiting.is_empty()
        };
        if host.is_some_and(is_unused) {
            self.hosts.remove(endpoint);
        }
    }
}
