//! The connections that queries use, and the leases on them.
//!
//! *Invariant:* a lease gives its connection back wherever it is dropped: at its end, in a panic,
//! or with the future of a caller who lost interest.

use super::StoreFault;
use super::files::StoreFiles;
use async_channel::{Receiver, Sender};
use event_listener::Event;
use kernel::env::Clock;
use rusqlite::Connection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Connections for queries; the store has this many.
pub(super) const READERS: usize = 2;

/// Holds new queries off for a moment, so that the writer can begin the log again.
///
/// *Invariant:* nobody is held for longer than was said, whatever becomes of the writer.
#[derive(Debug, Default)]
pub(super) struct ReaderGate {
    leased: AtomicUsize,
    held_until: Mutex<Option<Duration>>,
    opened: Event,
}

impl ReaderGate {
    /// Connections that are in use.
    pub(super) fn leased(&self) -> usize {
        self.leased.load(Ordering::SeqCst)
    }

    pub(super) fn hold_until(&self, end: Duration) {
        *self.held_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    pub(super) fn is_held(&self, now: Duration) -> bool {
        self.left(now).is_some()
    }

    pub(super) fn open(&self) {
        let was_held = self.held_until.lock().unwrap_or_else(PoisonError::into_inner).take();
        if was_held.is_some() {
            self.opened.notify(usize::MAX);
        }
    }

    /// How long it is held still.
    fn left(&self, now: Duration) -> Option<Duration> {
        let held = *self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        held.map(|it| it.saturating_sub(now)).filter(|it| !it.is_zero())
    }

    async fn pass(&self, clock: &dyn Clock) {
        loop {
            let opened = self.opened.listen();
            let Some(left) = self.left(clock.monotonic()) else { return };
            smol::future::or(opened, clock.sleep(left)).await;
        }
    }
}

/// The connections that nobody uses now.
pub(super) struct ReaderPool {
    give_back: Sender<Connection>,
    free: Receiver<Connection>,
    gate: Arc<ReaderGate>,
    /// Dropped after the connections: see [`StoreFiles`].
    files: Option<Arc<StoreFiles>>,
}

/// One connection, until it is dropped.
pub(super) struct ReaderLease {
    /// `None` only while it is being dropped.
    connection: Option<Connection>,
    give_back: Sender<Connection>,
    gate: Arc<ReaderGate>,
    _files: Option<Arc<StoreFiles>>,
}

impl ReaderPool {
    pub(super) fn new(
        connections: Vec<Connection>,
        gate: Arc<ReaderGate>,
        files: Option<Arc<StoreFiles>>,
    ) -> Self {
        assert_eq!(connections.len(), READERS, "one place in the channel for each connection");
        let (give_back, free) = async_channel::bounded(READERS);
        for connection in connections {
            give_back.try_send(connection).expect("there is a place for each");
        }
        ReaderPool { give_back, free, gate, files }
    }

    /// Waits for a free connection.
    pub(super) async fn lease(&self, clock: &dyn Clock) -> Result<ReaderLease, StoreFault> {
        self.gate.pass(clock).await;
        let connection = self.free.recv().await.map_err(|_| StoreFault::closed())?;
        self.gate.leased.fetch_add(1, Ordering::SeqCst);
        let (give_back, gate) = (self.give_back.clone(), self.gate.clone());
        let _files = self.files.clone();
        Ok(ReaderLease { connection: Some(connection), give_back, gate, _files })
    }

    /// Connections that nobody uses now.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }
}

impl ReaderLease {
    pub(super) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is there until the drop")
    }
}

impl Drop for ReaderLease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.gate.leased.fetch_sub(1, Ordering::SeqCst);
            // Fails only when the store itself is gone, and the connection with it.
            let returned = self.give_back.try_send(connection);
            debug_assert!(
                !returned.is_err_and(|fault| fault.is_full()),
                "more connections than places"
            );
        }
    }
}
