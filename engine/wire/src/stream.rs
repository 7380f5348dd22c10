//! A connection, with or without TLS.

use futures_rustls::client::TlsStream;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// What a request is written to and an answer read from.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection for S {}

/// Closed when dropped.
pub(super) enum NetworkStream {
    Plain(Async<TcpStream>),
    Tls(Box<TlsStream<Async<TcpStream>>>),
}

impl NetworkStream {
    /// Has what arrives acknowledged at once. A sender that holds back small packets until the
    /// earlier ones are acknowledged would wait for the system's timer, 40 ms each time. The system
    /// forgets it again, so it is said before each read.
    pub(super) fn acknowledge_at_once(&self) {
        #[cfg(target_os = "linux")]
        {
            let socket = match self {
                NetworkStream::Plain(socket) => socket,
                NetworkStream::Tls(stream) => stream.get_ref().0,
            };
            // Where the system does not take it, it is only slower.
            rustix::net::sockopt::set_tcp_quickack(socket.get_ref(), true).ok();
        }
    }

    /// Whether the other side has neither closed the connection nor sent anything that nobody
    /// asked for: only then may it carry another request.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        match self {
            NetworkStream::Plain(socket) => {
                let peeked = socket.get_ref().peek(&mut byte);
                peeked.is_err_and(|fault| fault.kind() == io::ErrorKind::WouldBlock)
            }
            // Only the session knows whether what has arrived is a record of its own, such as a
            // ticket, and whether it still holds a part of what came before.
            NetworkStream::Tls(stream) => {
                let mut context = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut context, &mut byte).is_pending()
            }
        }
    }
}

impl AsyncRead for NetworkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            NetworkStream::Plain(stream) => Pin::new(stream).poll_read(context, bytes),
            NetworkStream::Tls(stream) => Pin::new(stream).poll_read(context, bytes),
        }
    }
}

impl AsyncWrite for NetworkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            NetworkStream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            NetworkStream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetworkStream::Plain(stream) => Pin::new(stream).poll_flush(context),
            NetworkStream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetworkStream::Plain(stream) => Pin::new(stream).poll_close(context),
            NetworkStream::Tls(stream) => Pin::new(stream).poll_close(context),
        }
    }
}
