//! A connection in memory that follows a script.

use smol::io::{AsyncRead, AsyncWrite};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Gives one piece for each read, then the end of the stream.
#[derive(Default)]
pub(crate) struct ScriptedStream {
    pub(crate) input: VecDeque<io::Result<Vec<u8>>>,
    pub(crate) written: Vec<u8>,
    /// Takes no more than this.
    pub(crate) takes_max: Option<usize>,
}

impl ScriptedStream {
    pub(crate) fn of(pieces: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let input = pieces.into_iter().filter(|piece| !piece.is_empty()).map(Ok).collect();
        ScriptedStream { input, ..ScriptedStream::default() }
    }
}

impl AsyncRead for ScriptedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(piece) = self.input.pop_front() else { return Poll::Ready(Ok(0)) };
        let mut piece = piece?;
        let count = piece.len().min(bytes.len());
        bytes[..count].copy_from_slice(&piece[..count]);
        if count < piece.len() {
            self.input.push_front(Ok(piece.split_off(count)));
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for ScriptedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = self.takes_max.map_or(usize::MAX, |max| max - self.written.len());
        if room == 0 {
            return Poll::Pending;
        }
        let count = bytes.len().min(room);
        self.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
