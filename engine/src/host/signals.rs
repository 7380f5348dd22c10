//! Signals of the operating system, from the first moment to the last.
//!
//! SIGTERM and SIGINT ask for an orderly stop, and at once when they come again; SIGHUP asks for a
//! reload. SIGUSR1 and SIGUSR2 do nothing: a tool that sends one to the wrong process must not end
//! the engine. Nor does SIGXFSZ: a file that has reached its limit is a fault of a write.

use async_signal::{Signal, Signals};
use event_listener::Event;
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// What signals have asked for.
pub(super) struct SignalWatch {
    shared: Arc<SignalShared>,
}

#[derive(Default)]
struct SignalShared {
    /// Signals that ask for a stop.
    stops: AtomicU8,
    /// The exit code of the last of them.
    code: AtomicU8,
    hangup: AtomicBool,
    changed: Event,
}

impl SignalWatch {
    /// Watches from now on, on a thread of its own. The error is that the system does not let us.
    pub(super) fn start() -> std::io::Result<Self> {
        let asked = [Signal::Term, Signal::Int, Signal::Hup];
        let ignored = [Signal::Usr1, Signal::Usr2, Signal::Xfsz];
        let signals = Signals::new(asked.into_iter().chain(ignored))?;
        let shared = Arc::<SignalShared>::default();
        let watch = SignalWatch { shared: shared.clone() };
        let thread = std::thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || smol::block_on(shared.watch(signals)))?;
        Ok(watch)
    }

    /// Ends when a stop was asked for.
    pub(super) async fn first(&self) {
        self.shared.until(|shared| 1 <= shared.stops.load(Ordering::SeqCst)).await;
    }

    /// Ends when a stop was asked for again; the exit code.
    pub(super) async fn second(&self) -> u8 {
        self.shared.until(|shared| 2 <= shared.stops.load(Ordering::SeqCst)).await;
        self.shared.code.load(Ordering::SeqCst)
    }

    /// Ends when a reload was asked for; each request once.
    pub(super) async fn hangup(&self) {
        self.shared.until(|shared| shared.hangup.swap(false, Ordering::SeqCst)).await;
    }
}

impl SignalShared {
    async fn watch(&self, mut signals: Signals) {
        while let Some(Ok(signal)) = signals.next().await {
            match signal {
                Signal::Hup => self.hangup.store(true, Ordering::SeqCst),
                Signal::Term => self.note_stop(143),
                Signal::Int => self.note_stop(130),
                _ => {}
            }
            self.changed.notify(usize::MAX);
        }
    }

    fn note_stop(&self, code: u8) {
        self.code.store(code, Ordering::SeqCst);
        self.stops.fetch_add(1, Ordering::SeqCst);
    }

    async fn until(&self, is_so: impl Fn(&SignalShared) -> bool) {
        loop {
            let changed = self.changed.listen();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}
