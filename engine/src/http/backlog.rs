//! The store as streams read it: in chunks, on connections that come back whatever happens.

use crate::http::sse::{Backlog, BacklogChunk, CHUNK, CHUNK_BYTES};
use kernel::env::Pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::{Reader, Store};

/// What a client reads whose position lies before the ring's range.
pub(super) struct StoreBacklog(pub(super) Store);

impl Backlog for StoreBacklog {
    fn chunk(&self, after_pos: u64, up_to: u64) -> Pending<'_, Result<BacklogChunk, String>> {
        Box::pin(async move {
            let read =
                move |reader: &Reader<'_>| reader.stream(after_pos, up_to, CHUNK, CHUNK_BYTES);
            let chunk = self.0.read(read).await.map_err(|fault| fault.reason)?;
            let events = chunk.events.into_iter().map(Arc::new).collect();
            Ok(BacklogChunk { events, to: chunk.to })
        })
    }

    fn damaged(&self, after_pos: u64, up_to: u64) -> Vec<u64> {
        self.0.damaged(after_pos, up_to)
    }

    fn taken_pos(&self) -> u64 {
        self.0.figures().taken_pos.load(Ordering::Relaxed)
    }

    fn highest_pos(&self) -> u64 {
        self.0.figures().highest_pos.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
