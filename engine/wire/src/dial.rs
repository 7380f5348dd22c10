//! Connections that speak something other than HTTP.

use super::WireShared;
use super::connect::TlsParts;
use super::pool::ConnectionLease;
use super::problem::CallProgress;
use super::request::Endpoint;
use super::stream::NetworkStream;
use kernel::env::within;
use kernel::fault::Fault;
use smol::io::{AsyncRead, AsyncWrite};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq)]
pub struct DialTarget {
    /// A name or an address; an IPv6 address has no brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How TLS is spoken; `None` for plain TCP.
    pub tls: Option<TlsSetup>,
    /// For everything up to the end of the TLS handshake.
    pub timeout: Duration,
}

/// Whom to trust, and who we are.
#[derive(Clone, PartialEq, Default)]
pub struct TlsSetup {
    /// Certificates in PEM of the authorities that are trusted; the bundled ones without it.
    pub authorities: Option<Vec<u8>>,
    /// Our own certificate in PEM, and its key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_identity = self.identity.is_some();
        f.debug_struct("TlsSetup").field("has_identity", &has_identity).finish_non_exhaustive()
    }
}

/// A connection, closed when dropped.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection together with its place in the pool, which no call gets meanwhile.
struct LeasedStream(ConnectionLease<NetworkStream>);

impl WireShared {
    pub(super) async fn dial(&self, target: &DialTarget) -> Result<Box<dyn Duplex>, Fault> {
        let tls = target.tls.as_ref().map(TlsParts::of).transpose()?;
        let progress = CallProgress::default();
        let dialling = async {
            let host = target.host.to_ascii_lowercase();
            // The handshake is with parts of its own, so for the pool it is a plain connection.
            let endpoint = Arc::new(Endpoint { is_tls: false, host, port: target.port });
            let mut lease = self.pool.acquire(&endpoint, &progress).await?;
            // One that was kept has spoken HTTP.
            lease.connection = None;
            let mut lease = self.connector.connect(lease, &endpoint, &progress).await?;
            if let Some(parts) = tls {
                let stream = lease.connection.take().expect("a lease that was connected");
                let secured = self.connector.secure_with(parts, &endpoint.host, stream, &progress);
                lease.connection = Some(secured.await?);
            }
            Ok(Box::new(LeasedStream(lease)) as Box<dyn Duplex>)
        };
        let dialled = within(&*self.clock, target.timeout, dialling).await;
        dialled.unwrap_or_else(|| Err(progress.too_late()))
    }
}

impl LeasedStream {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut NetworkStream> {
        Pin::new(self.get_mut().0.connection.as_mut().expect("it is held until it is dropped"))
    }
}

impl AsyncRead for LeasedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.stream();
        stream.acknowledge_at_once();
        stream.poll_read(context, bytes)
    }
}

impl AsyncWrite for LeasedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_close(context)
    }
}
