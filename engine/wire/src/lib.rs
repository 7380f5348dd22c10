//! HTTP over the real network, and connections for other protocols: each is a future with a socket
//! of its own, never a thread.
//!
//! *Invariant:* a call owns its socket and its place in the pool, so dropping its future at any
//! await closes the one and gives back the other.
//!
//! *Never:* a redirect followed, a proxy taken from the environment, a body decompressed.

pub mod answer;
mod body;
mod connect;
mod dial;
mod exchange;
mod input;
mod pool;
mod problem;
mod request;
mod resolve;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use connect::TcpConnector;
use exchange::exchange;
use kernel::env::{Clock, Env, Pending, within};
use kernel::fault::Fault;
use pool::{ConnectionPool, PoolLimits};
use problem::CallProgress;
use request::PreparedRequest;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use stream::NetworkStream;

pub use answer::settled;
pub use dial::{DialTarget, Duplex, TlsSetup};
pub use pool::WireUse;
pub use problem::stream_fault;
pub use request::{HeaderFault, check_url, header_fault};

/// A request to make.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchRequest {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: &'static str,
    /// Absolute URL.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body, when there is one.
    pub body: Option<Vec<u8>>,
    /// For the whole exchange.
    pub timeout: Duration,
    /// A longer response is a fault.
    pub body_max: usize,
}

/// What came back, whatever its status.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchResponse {
    /// The status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Reaches the outside: HTTP requests without redirects, and connections for other protocols.
pub trait Fetch: Send + Sync + 'static {
    /// A fault means that there was no usable response; a response with a bad status is one.
    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>>;

    /// Connects to something that does not speak HTTP. Such a connection takes one of the sockets
    /// for as long as it lasts.
    fn dial(&self, _target: DialTarget) -> Pending<'static, Result<Box<dyn Duplex>, Fault>> {
        Box::pin(async { Err(Fault::permanent("there is no network here")) })
    }

    /// How its sockets are used, where it has some.
    fn usage(&self) -> Option<WireUse> {
        None
    }
}

/// Makes requests over the network. The certificate authorities it trusts are the bundled ones.
///
/// At most 512 sockets are open at a time, 64 of them to one host and port; further calls wait
/// in order, and the wait counts towards their timeout. A host with fewer than four sockets gets
/// one even when busier hosts have used up their share. Connections are kept for 15 seconds and
/// used again.
pub struct Wire {
    shared: Arc<WireShared>,
}

struct WireShared {
    pool: Arc<ConnectionPool<NetworkStream>>,
    connector: TcpConnector,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl Wire {
    /// Resolves names on the threads of `env` for the outside, and measures time by its clock.
    pub fn new(env: &Env) -> Self {
        Wire::with(env, PoolLimits::default(), TcpConnector::new(env))
    }

    fn with(env: &Env, limits: PoolLimits, connector: TcpConnector) -> Self {
        let clock = env.clock.clone();
        let pool = Arc::new(ConnectionPool::new(limits, clock.clone()));
        Wire { shared: Arc::new(WireShared { pool, connector, clock }) }
    }

    /// How many sockets are open now, and how many calls wait for one.
    pub fn usage(&self) -> WireUse {
        self.shared.pool.usage()
    }

    /// Makes a request whose response may never end, such as a stream of events: `take` gets each
    /// part of the body of a 200 as it comes, and says whether it wants more. The body of any other
    /// status is read whole, as [`Fetch::fetch`] does.
    ///
    /// The request's `timeout` limits the time up to the head of the response, and then each silence
    /// between two parts; its `body_max` is for a body that is read whole.
    pub async fn follow(
        &self,
        request: &FetchRequest,
        take: &mut (dyn FnMut(&[u8]) -> bool + Send),
    ) -> Result<FetchResponse, Fault> {
        let (shared, progress) = (&self.shared, CallProgress::default());
        let prepared = PreparedRequest::new(request)?;
        let endpoint = prepared.endpoint.clone();
        let connected = async {
            let mut lease = shared.pool.acquire(&endpoint, &progress).await?;
            // One that was used before may be closed any moment.
            lease.connection = None;
            shared.connector.connect(lease, &endpoint, &progress).await
        };
        let connected = within(&*shared.clock, request.timeout, connected).await;
        let mut lease = connected.unwrap_or_else(|| Err(progress.too_late()))?;
        let stream = lease.connection.as_mut().expect("a lease that was connected");
        exchange::follow(stream, prepared, request, &progress, &*shared.clock, take).await
    }

    /// Closes connections that nothing has used for 15 seconds, for as long as it is polled;
    /// never ends.
    pub async fn close_idle(&self) {
        loop {
            self.shared.clock.sleep(pool::IDLE_MAX / 3).await;
            self.shared.pool.close_idle();
        }
    }
}

impl Fetch for Wire {
    fn usage(&self) -> Option<WireUse> {
        Some(Wire::usage(self))
    }

    fn dial(&self, target: DialTarget) -> Pending<'static, Result<Box<dyn Duplex>, Fault>> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.dial(&target).await })
    }

    fn fetch(&self, request: FetchRequest) -> Pending<'static, Result<FetchResponse, Fault>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let progress = CallProgress::default();
            let call = shared.call(&request, &progress);
            let ended = within(&*shared.clock, request.timeout, call).await;
            ended.unwrap_or_else(|| Err(progress.too_late()))
        })
    }
}

impl WireShared {
    async fn call(
        &self,
        request: &FetchRequest,
        progress: &CallProgress,
    ) -> Result<FetchResponse, Fault> {
        let prepared = PreparedRequest::new(request)?;
        let endpoint = prepared.endpoint.clone();
        let mut lease = self.pool.acquire(&endpoint, progress).await?;
        let mut unsent = Some(prepared);
        if let Some(stream) = lease.connection.as_mut()
            && stream.is_quiet()
            && let Some(prepared) = unsent.take()
        {
            match exchange(stream, prepared, request, progress).await {
                Ok(exchanged) => return Ok(exchanged.end(lease)),
                // The service closed a connection that nothing was using, and that crossed this
                // request: a new connection shows whether the service is there.
                Err(broken) if broken.is_unanswered && request::is_repeatable(request) => {}
                Err(broken) => return Err(broken.fault),
            }
        }
        lease.connection = None;
        let mut lease = self.connector.connect(lease, &endpoint, progress).await?;
        let stream = lease.connection.as_mut().expect("a lease that was connected");
        let prepared = unsent.map_or_else(|| PreparedRequest::new(request), Ok)?;
        match exchange(stream, prepared, request, progress).await {
            Ok(exchanged) => Ok(exchanged.end(lease)),
            Err(broken) => Err(broken.fault),
        }
    }
}
