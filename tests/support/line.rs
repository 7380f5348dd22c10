//! A connection in memory, whose client sends and takes what it likes and when it likes.

use smol::io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    /// How many bytes may lie here.
    room: usize,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Way {
    fn wake(&mut self) {
        self.waker.take().inspect(Waker::wake_by_ref);
    }
}

/// The server's end.
pub(crate) struct ServerEnd {
    input: Arc<Mutex<Way>>,
    output: Arc<Mutex<Way>>,
}

/// The client's end. Dropped, it hangs up.
pub(crate) struct Line {
    input: Arc<Mutex<Way>>,
    output: Arc<Mutex<Way>>,
}

/// A connection of which the client takes `room` bytes before it is asked to.
pub(crate) fn pair(room: usize) -> (ServerEnd, Line) {
    let input = Arc::new(Mutex::new(Way { room: usize::MAX, ..Way::default() }));
    let output = Arc::new(Mutex::new(Way { room, ..Way::default() }));
    let server = ServerEnd { input: input.clone(), output: output.clone() };
    (server, Line { input, output })
}

impl Line {
    /// Sends bytes.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut input = self.input.lock().expect("no panic");
        input.bytes.extend(bytes);
        input.wake();
    }

    /// Sends a request without a body.
    pub(crate) fn get(&self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    }

    /// Takes at most so many bytes, which makes room for as many.
    pub(crate) fn take(&self, count: usize) -> String {
        let mut output = self.output.lock().expect("no panic");
        let count = count.min(output.bytes.len());
        let bytes: Vec<u8> = output.bytes.drain(..count).collect();
        output.wake();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the server has hung up.
    pub(crate) fn is_over(&self) -> bool {
        self.output.lock().expect("no panic").is_closed
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for way in [&self.input, &self.output] {
            let mut way = way.lock().expect("no panic");
            way.is_closed = true;
            way.wake();
        }
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        self.output.lock().expect("no panic").is_closed = true;
    }
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.input.lock().expect("no panic");
        if way.bytes.is_empty() && !way.is_closed {
            way.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = into.len().min(way.bytes.len());
        for (slot, byte) in into.iter_mut().zip(way.bytes.drain(..count)) {
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
        let mut way = self.output.lock().expect("no panic");
        if way.is_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = from.len().min(way.room.saturating_sub(way.bytes.len()));
        if count == 0 {
            way.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        way.bytes.extend(&from[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.lock().expect("no panic").is_closed = true;
        Poll::Ready(Ok(()))
    }
}
