//! The connections that queries use, and the leases on them.
//!
//! *Invariant:* a lease gives its connection back wherever it is dropped: at its end, in a panic,
//! or with the future of a caller who lost interest.

use super::StoreFault;
use super::files::StoreFiles;
use async_channel::{Receiver, Sender};
use rusqlite::Connection;
use std::sync::Arc;

/// Connections for queries; the store has this many.
pub(super) const READERS: usize = 2;

/// The connections that nobody uses now.
pub(super) struct ReaderPool {
    give_back: Sender<Connection>,
    free: Receiver<Connection>,
    /// Dropped after the connections: see [`StoreFiles`].
    files: Option<Arc<StoreFiles>>,
}

/// One connection, until it is dropped.
pub(super) struct ReaderLease {
    /// `None` only while it is being dropped.
    connection: Option<Connection>,
    give_back: Sender<Connection>,
    _files: Option<Arc<StoreFiles>>,
}

impl ReaderPool {
    pub(super) fn new(connections: Vec<Connection>, files: Option<Arc<StoreFiles>>) -> Self {
        assert_eq!(connections.len(), READERS, "one place in the channel for each connection");
        let (give_back, free) = async_channel::bounded(READERS);
        for connection in connections {
            give_back.try_send(connection).expect("there is a place for each");
        }
        ReaderPool { give_back, free, files }
    }

    /// Waits for a free connection.
    pub(super) async fn lease(&self) -> Result<ReaderLease, StoreFault> {
        let connection = self.free.recv().await.map_err(|_| StoreFault::closed())?;
        let (give_back, files) = (self.give_back.clone(), self.files.clone());
        Ok(ReaderLease { connection: Some(connection), give_back, _files: files })
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
            // Fails only when the store itself is gone, and the connection with it.
            let returned = self.give_back.try_send(connection);
            debug_assert!(!returned.is_err_and(|it| it.is_full()), "more connections than places");
        }
    }
}
