//! Who gets in: what waits for its first commit is bounded, in number and in bytes.

use super::{Engine, Overloaded};
use compiler::spec::Overflow;
use language::write_bytes;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes of messages that may wait for their first commit.
const ADMITTED_BYTES: usize = 8 << 20;
/// Rows and bytes of the inbox beyond which nothing more is accepted.
const BACKLOG_ROWS: u64 = 1_000_000;
const BACKLOG_BYTES: u64 = 256 << 20;
/// The code of a full queue, which only passes when others are stored.
const QUEUE: &str = "queue";
/// How long `overflow block` lets a message wait for room.
const ROOM_MAX: Duration = Duration::from_secs(30);

/// What waits for its first commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AdmittedCount {
    events: usize,
    bytes: usize,
}

/// Room for some messages, given back when it is dropped.
pub(super) struct AdmittedMessages<'a> {
    engine: &'a Engine,
    count: AdmittedCount,
}

impl Overloaded {
    /// Whether others wait to be stored, and nothing else is wrong.
    pub(super) fn is_queue(&self) -> bool {
        self.code == QUEUE
    }
}

impl Engine {
    /// Room for some messages, waited for where the file says `overflow block`.
    pub(super) async fn admit_or_wait(
        &self,
        events: usize,
        bytes: usize,
    ) -> Result<AdmittedMessages<'_>, Overloaded> {
        match self.admit(events, bytes) {
            Err(full) if full.is_queue() && self.overflow() == Overflow::Block => {
                self.admit_later(events, bytes).await
            }
            admitted => admitted,
        }
    }

    /// Waits for room, in no order, at most [`ROOM_MAX`].
    async fn admit_later(
        &self,
        events: usize,
        bytes: usize,
    ) -> Result<AdmittedMessages<'_>, Overloaded> {
        let waiting = async {
            loop {
                let freed = self.room.listen();
                match self.admit(events, bytes) {
                    Err(full) if full.is_queue() => freed.await,
                    admitted => return admitted,
                }
            }
        };
        let in_time = kernel::env::within(&*self.env.clock, ROOM_MAX, waiting).await;
        in_time.unwrap_or_else(|| {
            let waited = ROOM_MAX.as_secs();
            let reason = format!("no capacity within {waited} seconds: {}", self.queue_full());
            Err(Overloaded { code: QUEUE, reason })
        })
    }

    /// A message that waits for its first commit holds its bytes; how much may wait is bounded.
    fn admit(&self, events: usize, bytes: usize) -> Result<AdmittedMessages<'_>, Overloaded> {
        let refuse = |code, reason: &str| Err(Overloaded { code, reason: reason.to_owned() });
        let backlog = || {
            let (rows, bytes) = (BACKLOG_ROWS, write_bytes(BACKLOG_BYTES));
            format!("accepted events that are not finished reached {rows}, or {bytes}")
        };
        if self.stopping.load(Ordering::SeqCst) {
            return refuse("stopping", "the engine is stopping");
        }
        if let Some(trouble) = self.store.trouble() {
            return Err(trouble.into());
        }
        let figures = self.store.figures();
        if BACKLOG_ROWS <= figures.pending.load(Ordering::Relaxed)
            || BACKLOG_BYTES <= figures.pending_bytes.load(Ordering::Relaxed)
        {
            return refuse("backlog", &backlog());
        }
        if figures.is_log_full.load(Ordering::Relaxed) {
            return refuse("wal", "the store's log is full, because another program is reading it");
        }
        let queue = self.generation().plan.limits.queue;
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let next =
            AdmittedCount { events: admitted.events + events, bytes: admitted.bytes + bytes };
        // Whoever comes first may be larger than the queue; it would never get in otherwise.
        if 0 < admitted.events && (queue < next.events || ADMITTED_BYTES < next.bytes) {
            return refuse(QUEUE, &self.queue_full());
        }
        *admitted = next;
        Ok(AdmittedMessages { engine: self, count: AdmittedCount { events, bytes } })
    }

    /// What becomes of messages that find no room.
    pub(super) fn overflow(&self) -> Overflow {
        self.generation().plan.limits.overflow
    }

    /// What is full, and the setting.
    fn queue_full(&self) -> String {
        let (queue, bytes) =
            (self.generation().plan.limits.queue, write_bytes(ADMITTED_BYTES as u64));
        format!("events that wait to be stored reached `limits {{ queue {queue} }}`, or {bytes}")
    }
}

impl Drop for AdmittedMessages<'_> {
    fn drop(&mut self) {
        let mut admitted = self.engine.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        admitted.events -= self.count.events;
        admitted.bytes -= self.count.bytes;
        drop(admitted);
        self.engine.room.notify(usize::MAX);
    }
}
