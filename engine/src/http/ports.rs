//! Where the HTTP server listens: real sockets, or whatever a simulation has in their place.

use crate::http::listener::HttpServer;
use crate::http::service::ServerContext;
use kernel::env::Pending;
use kernel::fault::{Cause, Fault};
use smol::Executor;
use smol::net::TcpListener;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Binds addresses.
pub trait Ports: Send + Sync {
    /// Binds `address`, `HOST:PORT`. Nothing is accepted before [`Port::serve`].
    fn bind(&self, address: String) -> Pending<'static, Result<Box<dyn Port>, Fault>>;
}

/// An address that is bound and not served yet. Dropping it frees the address.
pub trait Port: Send + Sync {
    /// The address, with the port that the system chose where 0 was asked for.
    fn address(&self) -> SocketAddr;

    /// Accepts connections from now on.
    fn serve(
        self: Box<Self>,
        executor: Arc<Executor<'static>>,
        site: Arc<ServerContext>,
    ) -> Box<dyn Serving>;
}

/// A server at work. Dropping it closes its connections at once.
pub trait Serving: Send + Sync {
    /// Closes the address, lets requests under way finish, and closes what is left after `grace`.
    fn drain(self: Box<Self>, grace: Duration) -> Pending<'static, ()>;
}

/// The network.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkPorts;

struct BoundListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Ports for NetworkPorts {
    fn bind(&self, address: String) -> Pending<'static, Result<Box<dyn Port>, Fault>> {
        Box::pin(async move {
            let refused =
                |error: std::io::Error| Fault::transient(Cause::Other, unbound(&address, &error));
            let listener = TcpListener::bind(&address).await.map_err(refused)?;
            let address = listener.local_addr().map_err(refused)?;
            Ok(Box::new(BoundListener { listener, address }) as Box<dyn Port>)
        })
    }
}

/// Why an address cannot be listened on, and what to do.
fn unbound(address: &str, error: &std::io::Error) -> String {
    let port = address.rsplit(':').next().and_then(|part| part.parse::<u16>().ok()).unwrap_or(8600);
    let other = port.checked_add(1).unwrap_or(8600).max(1024);
    let other = format!("`listen \"127.0.0.1:{other}\"` in `server`");
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: another program uses this port; stop it, or choose \
             another port with {other}"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "cannot listen on {address}: this machine does not have that address; choose another \
             one with {other}"
        ),
        ErrorKind::PermissionDenied => format!(
            "cannot listen on {address}: permission denied; ports below 1024 need privileges, so \
             choose another port with {other}"
        ),
        _ => format!("cannot listen on {address}: {error}; set the address with {other}"),
    }
}

impl Port for BoundListener {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn serve(
        self: Box<Self>,
        executor: Arc<Executor<'static>>,
        site: Arc<ServerContext>,
    ) -> Box<dyn Serving> {
        Box::new(HttpServer::start(self.listener, executor, site))
    }
}

impl Serving for HttpServer {
    fn drain(self: Box<Self>, grace: Duration) -> Pending<'static, ()> {
        Box::pin(async move {
            HttpServer::drain(*self, grace).await;
        })
    }
}
