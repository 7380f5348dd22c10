//! What the tests of this surface share: a clock that is moved by hand, and a
//! conversation with one connection in memory, driven until nothing moves.

use crate::http::limits::ServerLimits;
use crate::http::service::{ServerContext, ServerState, Service};
use crate::http::wire::hosts::Hosts;
use crate::http::wire::response::Reply;
use crate::http::wire::{self, Ends};
use kernel::env::{Clock, Pending};
use kernel::testing::{ClientEnd, connection};
use kernel::time::Timestamp;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Polls once; `None` while pending.
pub(crate) fn poll_once<T>(work: impl Future<Output = T>) -> Option<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Stands still until told.
pub(crate) struct ManualClock {
    state: Arc<Mutex<(Duration, Vec<Waker>)>>,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(ManualClock { state: Arc::default() })
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap();
        state.0 += by;
        state.1.drain(..).for_each(Waker::wake);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        self.state.lock().unwrap().0
    }

    fn wall(&self) -> Timestamp {
        Timestamp::parse("2026-01-01T09:50:04Z").unwrap().plus(self.monotonic())
    }

    fn sleep(&self, duration: Duration) -> Pending<'static, ()> {
        let (state, at) = (self.state.clone(), self.monotonic() + duration);
        Box::pin(std::future::poll_fn(move |cx| {
            let mut state = state.lock().unwrap();
            if at <= state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        }))
    }
}

/// One connection and the client's side of it.
pub(crate) struct Talk {
    executor: smol::Executor<'static>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) site: Arc<ServerContext>,
    client: ClientEnd,
    task: smol::Task<()>,
}

impl Talk {
    pub(crate) fn with(service: impl Service) -> Self {
        Self::clocked(ManualClock::new(), service)
    }

    pub(crate) fn clocked(clock: Arc<ManualClock>, service: impl Service) -> Self {
        let site = ServerContext::new(
            Arc::new(service),
            ServerState::default(),
            ServerLimits::default(),
            clock.clone(),
        );
        Self::on(Arc::new(site), clock)
    }

    pub(crate) fn on(site: Arc<ServerContext>, clock: Arc<ManualClock>) -> Self {
        let executor = smol::Executor::new();
        let (stream, client) = connection(1 << 20);
        let shared = site.clone();
        let task = executor.spawn(async move {
            let (now, address) = (shared.clock.monotonic(), IpAddr::from([127, 0, 0, 1]));
            let seat = shared.places.admit(address, &shared.limits, now).unwrap().seat;
            wire::serve(stream, Ends::default(), &seat, &shared).await;
            shared.places.leave(&seat);
        });
        let talk = Talk { executor, clock, site, client, task };
        talk.settle();
        talk
    }

    /// Runs until nothing moves without time or bytes.
    pub(crate) fn settle(&self) {
        while self.executor.try_tick() {}
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.client.send(bytes);
        self.settle();
    }

    /// Bytes that were sent and nobody read.
    pub(crate) fn unread(&self) -> usize {
        self.client.unread()
    }

    pub(crate) fn hang_up(&self) {
        self.client.end();
        self.settle();
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.settle();
    }

    /// Lets the server write only so much before the client reads.
    pub(crate) fn narrow(&self, capacity: usize) {
        self.client.narrow(capacity);
    }

    /// What arrived since the last time.
    pub(crate) fn received(&self) -> String {
        let bytes = self.client.take(usize::MAX);
        self.settle();
        String::from_utf8(bytes).unwrap()
    }

    /// The server has said its last.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_over()
    }

    /// The connection holds nothing any more.
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

/// Remembers the paths that it was asked for, and says how long each body was.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

impl Service for Echo {
    fn respond<'a>(&'a self, request: &'a mut crate::http::Request<'_>) -> Pending<'a, Reply> {
        Box::pin(async move {
            let path = request.head().path().to_owned();
            let method = request.head().method();
            self.seen.lock().unwrap().push(format!("{method} {path}"));
            assert_ne!(path, "/panic", "asked to panic");
            if path == "/unread" {
                return Reply::text(200, "unread");
            }
            if path == "/never" {
                std::future::pending::<()>().await;
            }
            match request.body(1024).await {
                Ok(body) => Reply::text(200, format!("{path} {}", body.len())),
                Err(error) => error.into(),
            }
        })
    }
}

/// A head read under the default limits.
pub(crate) fn request_head(text: &str) -> crate::http::Head {
    let (limits, hosts) = (ServerLimits::default(), Hosts::default());
    crate::http::Head::parse(text.as_bytes(), &limits, &hosts, None).unwrap()
}
