//! Who is woken by what the store has committed.

use event_listener::{Event as Signal, EventListener};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the store's work wakes: a seat for the worker of each target, while it is there, and who
/// runs what the inbox holds.
#[derive(Debug, Default)]
pub struct Outbox {
    seats: Mutex<BTreeMap<Arc<str>, Arc<Signal>>>,
    /// Whether the inbox holds events that nobody runs.
    has_unclaimed: AtomicBool,
    inbox: Signal,
    /// Events that stages sent and nobody has taken up.
    emitted: Mutex<Vec<u64>>,
    /// The time has changed at which stages want to look again.
    timers: Signal,
}

/// A worker's place in the outbox. There is one for each target; it is free again when this is
/// dropped.
#[derive(Debug)]
pub struct OutboxSeat {
    outbox: Arc<Outbox>,
    target: Arc<str>,
    news: Arc<Signal>,
}

impl Outbox {
    /// The seat of a target's worker.
    pub fn seat(self: &Arc<Self>, target: &Arc<str>) -> OutboxSeat {
        let news = Arc::new(Signal::new());
        let taken = self.seats().insert(target.clone(), news.clone());
        assert!(
            taken.is_none(),
            "`{target}` already has a worker; a second one would deliver twice"
        );
        OutboxSeat { outbox: self.clone(), target: target.clone(), news }
    }

    /// There is something new for a target; nobody hears it where there is no worker.
    pub fn wake(&self, target: &Arc<str>) {
        if let Some(news) = self.seats().get(target) {
            news.notify(usize::MAX);
        }
    }

    /// The inbox holds events that nobody runs: what did not fit into memory, or was committed
    /// when nobody waited for it any more.
    pub fn leave_in_inbox(&self) {
        self.has_unclaimed.store(true, Ordering::SeqCst);
        self.inbox.notify(usize::MAX);
    }

    /// Stages have sent events of these numbers.
    pub fn emitted(&self, seqs: &[u64]) {
        self.emitted.lock().unwrap_or_else(PoisonError::into_inner).extend(seqs);
        self.inbox.notify(usize::MAX);
    }

    /// The events that were sent since the last look.
    pub(super) fn take_emitted(&self) -> Vec<u64> {
        std::mem::take(&mut *self.emitted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time has changed at which stages want to look again.
    pub fn wake_timers(&self) {
        self.timers.notify(usize::MAX);
    }

    /// Ends when that time has changed. To be made before looking.
    pub(super) fn listen_timers(&self) -> EventListener {
        self.timers.listen()
    }

    /// Whether the inbox held such events since the last look.
    pub(super) fn take_unclaimed(&self) -> bool {
        self.has_unclaimed.swap(false, Ordering::SeqCst)
    }

    /// There may be room for what is left in the inbox.
    pub(super) fn wake_inbox(&self) {
        self.inbox.notify(usize::MAX);
    }

    /// Ends when it is worth looking at the inbox. To be made before looking.
    pub(super) fn listen_inbox(&self) -> EventListener {
        self.inbox.listen()
    }

    /// The targets that have a worker.
    pub fn workers(&self) -> Vec<Arc<str>> {
        self.seats().keys().cloned().collect()
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Signal>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxSeat {
    /// Ends when there is something new. To be made before looking.
    pub fn listen(&self) -> EventListener {
        self.news.listen()
    }
}

impl Drop for OutboxSeat {
    fn drop(&mut self) {
        self.outbox.seats().remove(&self.target);
    }
}
