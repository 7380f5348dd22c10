//! A connection in memory, whose client sends and takes what it likes and when it likes.

use smol::io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One direction.
#[derive(Debug, Default)]
struct Way {
    bytes: VecDeque<u8>,
    /// How many bytes may be on it.
    room: usize,
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Way {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

type SharedWay = Arc<Mutex<Way>>;

fn locked(way: &SharedWay) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server's end. Dropped, it hangs up.
#[derive(Debug)]
pub struct ServerEnd {
    input: SharedWay,
    output: SharedWay,
}

/// The client's end. Dropped, it hangs up.
#[derive(Debug)]
pub struct ClientEnd {
    input: SharedWay,
    output: SharedWay,
}

/// A connection of which the client takes `room` bytes before somebody reads them.
pub fn connection(room: usize) -> (ServerEnd, ClientEnd) {
    let way = |room| Arc::new(Mutex::new(Way { room, ..Way::default() }));
    let (input, output) = (way(usize::MAX), way(room));
    let server = ServerEnd { input: input.clone(), output: output.clone() };
    (server, ClientEnd { input, output })
}

impl ClientEnd {
    /// Sends bytes.
    pub fn send(&self, bytes: &[u8]) {
        let mut input = locked(&self.input);
        input.bytes.extend(bytes);
        input.wake();
    }

    /// Sends a request without a body.
    pub fn get(&self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    }

    /// Bytes that were sent and nobody read.
    pub fn unread(&self) -> usize {
        locked(&self.input).bytes.len()
    }

    /// Takes at most so many bytes, which makes room for as many.
    pub fn take(&self, count: usize) -> Vec<u8> {
        let mut output = locked(&self.output);
        let count = count.min(output.bytes.len());
        let bytes = output.bytes.drain(..count).collect();
        output.wake();
        bytes
    }

    /// Lets the server write only so much before the client takes it.
    pub fn narrow(&self, room: usize) {
        locked(&self.output).room = room;
    }

    /// Sends nothing more, and takes what comes.
    pub fn end(&self) {
        let mut input = locked(&self.input);
        input.is_closed = true;
        input.wake();
    }

    /// Whether the server has hung up.
    pub fn is_over(&self) -> bool {
        locked(&self.output).is_closed
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        for way in [&self.input, &self.output] {
            let mut way = locked(way);
            way.is_closed = true;
            way.wake();
        }
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        locked(&self.output).is_closed = true;
    }
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut input = locked(&self.input);
        if input.bytes.is_empty() && !input.is_closed {
            input.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        let count = into.len().min(input.bytes.len());
        for (slot, byte) in into.iter_mut().zip(input.bytes.drain(..count)) {
            *slot = byte;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut output = locked(&self.output);
        if output.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = from.len().min(output.room.saturating_sub(output.bytes.len()));
        if count == 0 {
            output.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        output.bytes.extend(&from[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        locked(&self.output).is_closed = true;
        Poll::Ready(Ok(()))
    }
}
