//! A signal that is raised once and stays raised.

use event_listener::Event;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells whoever waits for it that it is time to stop.
#[derive(Debug, Default)]
pub struct StopSignal {
    is_raised: AtomicBool,
    raised: Event,
}

impl StopSignal {
    /// From now on it is time to stop.
    pub fn raise(&self) {
        self.is_raised.store(true, Ordering::SeqCst);
        self.raised.notify(usize::MAX);
    }

    /// Whether it is time to stop.
    pub fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::SeqCst)
    }

    /// Ends when it is time to stop.
    pub async fn raised(&self) {
        loop {
            let raised = self.raised.listen();
            if self.is_raised() {
                return;
            }
            raised.await;
        }
    }
}
