//! What the tests of this surface share: a clock that is moved by hand, a pipe in memory, and a
//! conversation with one connection, driven until nothing moves.

use crate::http::limits::ServerLimits;
use crate::http::service::{ServerContext, ServerState, Service};
use crate::http::wire::hosts::Hosts;
use crate::http::wire::response::Reply;
use crate::http::wire::{self, Ends};
use kernel::env::{Clock, Pending};
use kernel::time::Timestamp;
use smol::io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
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

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    wakers: Vec<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// The server's end of a connection in memory.
pub(crate) struct TestWire {
    input: Arc<Mutex<Pipe>>,
    output: Arc<Mutex<Pipe>>,
}

impl AsyncRead for TestWire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.input.lock().unwrap();
        if pipe.bytes.is_empty() && !pipe.closed {
            pipe.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        let count = into.len().min(pipe.bytes.len());
        for slot in &mut into[..count] {
            *slot = pipe.bytes.pop_front().unwrap();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for TestWire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.output.lock().unwrap();
        let count = from.len().min(pipe.capacity - pipe.bytes.len());
        if count == 0 {
            pipe.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.bytes.extend(&from[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.lock().unwrap().closed = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for TestWire {
    fn drop(&mut self) {
        self.output.lock().unwrap().closed = true;
    }
}

/// One connection and the client's side of it.
pub(crate) struct Talk {
    executor: smol::Executor<'static>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) site: Arc<ServerContext>,
    input: Arc<Mutex<Pipe>>,
    output: Arc<Mutex<Pipe>>,
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
        let input = Arc::new(Mutex::new(Pipe { capacity: usize::MAX, ..Pipe::default() }));
        let output = Arc::new(Mutex::new(Pipe { capacity: 1 << 20, ..Pipe::default() }));
        let executor = smol::Executor::new();
        let stream = TestWire { input: input.clone(), output: output.clone() };
        let shared = site.clone();
        let task = executor.spawn(async move {
            let (now, address) = (shared.clock.monotonic(), IpAddr::from([127, 0, 0, 1]));
            let seat = shared.places.admit(address, &shared.limits, now).unwrap().seat;
            wire::serve(stream, Ends::default(), &seat, &shared).await;
            shared.places.leave(&seat);
        });
        let talk = Talk { executor, clock, site, input, output, task };
        talk.settle();
        talk
    }

    /// Runs until nothing moves without time or bytes.
    pub(crate) fn settle(&self) {
        while self.executor.try_tick() {}
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut pipe = self.input.lock().unwrap();
        pipe.bytes.extend(bytes);
        pipe.wake();
        drop(pipe);
        self.settle();
    }

    /// Bytes that were sent and nobody read.
    pub(crate) fn unread(&self) -> usize {
        self.input.lock().unwrap().bytes.len()
    }

    pub(crate) fn hang_up(&self) {
        let mut pipe = self.input.lock().unwrap();
        pipe.closed = true;
        pipe.wake();
        drop(pipe);
        self.settle();
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.settle();
    }

    /// Lets the server write only so much before the client reads.
    pub(crate) fn narrow(&self, capacity: usize) {
        self.output.lock().unwrap().capacity = capacity;
    }

    /// What arrived since the last time.
    pub(crate) fn received(&self) -> String {
        let mut pipe = self.output.lock().unwrap();
        let bytes: Vec<u8> = pipe.bytes.drain(..).collect();
        pipe.wake();
        drop(pipe);
        self.settle();
        String::from_utf8(bytes).unwrap()
    }

    /// The server has said its last.
    pub(crate) fn is_closed(&self) -> bool {
        self.output.lock().unwrap().closed
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
