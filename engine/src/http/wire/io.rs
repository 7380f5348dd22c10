//! The bytes of one connection, each wait for them bounded.

use crate::http::service::ShutdownSignal;
use crate::http::timer::Timer;
use event_listener::EventListener;
use kernel::env::Clock;
use smol::io::{AsyncRead, AsyncWrite};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The other side went away.
    Closed,
    /// The deadline passed.
    Timeout,
    /// The listener ends, and nothing was under way.
    Stopped,
}

/// A stream, what was read from it and not yet understood, and the deadline of its waits.
pub(crate) struct Io<'s, S> {
    stream: S,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    pub(crate) timer: Timer,
    stop: &'s ShutdownSignal,
    told: EventListener,
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin> Io<'s, S> {
    pub(crate) fn new(
        stream: S,
        capacity: usize,
        clock: Arc<dyn Clock>,
        stop: &'s ShutdownSignal,
    ) -> Self {
        let buffer = vec![0; capacity].into_boxed_slice();
        let told = stop.listen();
        Io { stream, buffer, start: 0, end: 0, timer: Timer::new(clock), stop, told }
    }

    /// What was read and not used.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The first `count` bytes of what was read are used.
    pub(crate) fn used(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Nothing more can be read before something is used.
    pub(crate) fn is_full(&self) -> bool {
        self.unread().len() == self.buffer.len()
    }

    /// Reads what there is, or waits for it until the deadline. There must be room.
    pub(crate) async fn fill(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| match self.poll_read(cx) {
            Poll::Pending => self.timer.poll_expired(cx).map(|()| Err(Lost::Timeout)),
            ready => ready,
        })
        .await
    }

    /// Like [`Io::fill`], but ends with the listener too.
    pub(crate) async fn fill_idle(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| match self.poll_read(cx) {
            Poll::Pending if self.poll_stop(cx).is_ready() => Poll::Ready(Err(Lost::Stopped)),
            Poll::Pending => self.timer.poll_expired(cx).map(|()| Err(Lost::Timeout)),
            ready => ready,
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.end == self.buffer.len() && 0 < self.start {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = &mut self.buffer[self.end..];
        match ready!(Pin::new(&mut self.stream).poll_read(cx, room)) {
            Ok(0) | Err(_) => Poll::Ready(Err(Lost::Closed)),
            Ok(count) => {
                self.end += count;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The listener stands since before the flag is looked at, so that no word is missed.
        if self.stop.is_stopped() || Pin::new(&mut self.told).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Writes all of it, each wait no longer than `pause` and none beyond `until`.
    pub(crate) async fn write(
        &mut self,
        mut bytes: &[u8],
        pause: Duration,
        until: Duration,
    ) -> Result<(), Lost> {
        while !bytes.is_empty() {
            self.timer.set_at(self.timer.now().saturating_add(pause).min(until));
            let count = poll_fn(|cx| match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Lost::Closed)),
                Poll::Ready(Ok(count)) => Poll::Ready(Ok(count)),
                Poll::Pending => self.timer.poll_expired(cx).map(|()| Err(Lost::Timeout)),
            })
            .await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Waits for `work`, but no longer than the client and the listener are there. What the
    /// client says meanwhile is thrown away, `allowance` bytes of it; then it is gone for us.
    pub(crate) async fn unless_gone<T>(
        &mut self,
        work: impl Future<Output = T>,
        allowance: &mut usize,
    ) -> Result<T, Lost> {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(value) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            if self.poll_stop(cx).is_ready() {
                return Poll::Ready(Err(Lost::Stopped));
            }
            loop {
                let said = self.unread().len();
                *allowance = allowance.saturating_sub(said);
                self.used(said);
                if *allowance == 0 {
                    return Poll::Ready(Err(Lost::Closed));
                }
                if let Err(lost) = ready!(self.poll_read(cx)) {
                    return Poll::Ready(Err(lost));
                }
            }
        })
        .await
    }

    /// Says that nothing more comes, and swallows what the client still sends, for a while:
    /// closing a socket with unread bytes would take our answer from it.
    pub(crate) async fn linger(&mut self, time: Duration, mut bytes: usize) {
        if poll_fn(|cx| Pin::new(&mut self.stream).poll_close(cx)).await.is_err() {
            return;
        }
        self.timer.set(time);
        loop {
            let said = self.unread().len();
            self.used(said);
            bytes = bytes.saturating_sub(said);
            if bytes == 0 || self.fill_idle().await.is_err() {
                return;
            }
        }
    }
}
