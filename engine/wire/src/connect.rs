//! Making a connection: from a name to a stream that a request can be written to.

use super::dial::TlsSetup;
use super::pool::ConnectionLease;
use super::problem::{CallPhase, CallProgress, connect_fault, handshake_fault};
use super::request::Endpoint;
use super::resolve::NameResolver;
use super::stream::NetworkStream;
use futures_rustls::TlsConnector;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use futures_rustls::rustls::client::WantsClientCert;
use futures_rustls::rustls::time_provider::TimeProvider;
use futures_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore, crypto::ring};
use kernel::env::{Clock, Env, Pending};
use kernel::fault::Fault;
use smol::Async;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The next address is tried when the last has not answered for this long.
const NEXT_AFTER: Duration = Duration::from_millis(250);

type NetworkLease = ConnectionLease<NetworkStream>;

/// Opens a socket; dropping the future closes it.
pub(super) type Dial = Arc<dyn Fn(SocketAddr) -> Dialling + Send + Sync>;

type Dialling = Pending<'static, io::Result<Async<TcpStream>>>;

/// Makes connections.
pub(super) struct TcpConnector {
    resolver: NameResolver,
    dial: Dial,
    roots: RootCertStore,
    tls: TlsConnector,
    clock: Arc<dyn Clock>,
}

/// One address that is being tried, with the place that its socket takes.
struct ConnectAttempt {
    lease: NetworkLease,
    dialling: Dialling,
}

/// The time by which certificates are judged.
struct CertificateTime(Arc<dyn Clock>);

impl fmt::Debug for CertificateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateTime")
    }
}

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.0.wall().0).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

impl TcpConnector {
    /// Trusts the bundled certificate authorities.
    pub(super) fn new(env: &Env) -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let dial: Dial = Arc::new(|address| Box::pin(Async::<TcpStream>::connect(address)));
        TcpConnector::with(env, NameResolver::new(env), dial, roots)
    }

    pub(super) fn with(
        env: &Env,
        resolver: NameResolver,
        dial: Dial,
        roots: RootCertStore,
    ) -> Self {
        let clock = env.clock.clone();
        let config = trusting(roots.clone(), clock.clone()).with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        TcpConnector { resolver, dial, roots, tls, clock }
    }

    /// Puts a new connection into `lease`, or into another that takes its place.
    pub(super) async fn connect(
        &self,
        lease: NetworkLease,
        endpoint: &Endpoint,
        progress: &CallProgress,
    ) -> Result<NetworkLease, Fault> {
        progress.enter(CallPhase::Resolving);
        let addresses = match endpoint.host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.resolver.resolve(&endpoint.host).await?,
        };
        progress.enter(CallPhase::Connecting);
        let addresses =
            addresses.into_iter().map(|address| SocketAddr::new(address, endpoint.port));
        let (mut lease, socket) = self.first_of(lease, addresses.collect()).await?;
        // Without it, the end of a request may wait for the answer to its beginning.
        socket.get_ref().set_nodelay(true).map_err(|fault| connect_fault(&fault))?;
        let stream = match endpoint.is_tls {
            false => NetworkStream::Plain(socket),
            true => {
                progress.enter(CallPhase::Securing);
                secure(&self.tls, &endpoint.host, socket).await?
            }
        };
        lease.connection = Some(stream);
        Ok(lease)
    }

    /// Speaks TLS over a plain connection, with other parts than those of HTTP.
    pub(super) async fn secure_with(
        &self,
        parts: TlsParts,
        host: &str,
        stream: NetworkStream,
        progress: &CallProgress,
    ) -> Result<NetworkStream, Fault> {
        let NetworkStream::Plain(socket) = stream else {
            unreachable!("it was connected without TLS");
        };
        progress.enter(CallPhase::Securing);
        let roots = parts.roots.unwrap_or_else(|| self.roots.clone());
        let builder = trusting(roots, self.clock.clone());
        let config = match parts.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|fault| {
                Fault::permanent(format!("the certificate and its key do not match: {fault}"))
            })?,
        };
        secure(&TlsConnector::from(Arc::new(config)), host, socket).await
    }

    /// The first address to answer wins. They are tried in order, each when the one before has
    /// failed or has not answered for [`NEXT_AFTER`].
    async fn first_of(
        &self,
        lease: NetworkLease,
        addresses: Vec<SocketAddr>,
    ) -> Result<(NetworkLease, Async<TcpStream>), Fault> {
        let mut left = addresses.into_iter().peekable();
        let mut free = Some(lease);
        let mut under_way: Vec<ConnectAttempt> = Vec::new();
        loop {
            if left.peek().is_some()
                && let Some(lease) = free.take().or_else(|| under_way.first()?.lease.try_another())
                && let Some(address) = left.next()
            {
                under_way.push(ConnectAttempt { lease, dialling: (self.dial)(address) });
            }
            let is_last = left.peek().is_none();
            let wait = async {
                match is_last {
                    true => std::future::pending().await,
                    false => self.clock.sleep(NEXT_AFTER).await,
                }
                None
            };
            let ended = async { Some(AnyOf(&mut under_way).await) };
            let Some((attempt, result)) = smol::future::or(ended, wait).await else { continue };
            let fault = match result {
                Ok(socket) => return Ok((attempt.lease, socket)),
                Err(fault) => fault,
            };
            if is_last && under_way.is_empty() {
                return Err(connect_fault(&fault));
            }
            free = Some(attempt.lease);
        }
    }
}

/// What a [`TlsSetup`] holds, read.
pub(super) struct TlsParts {
    roots: Option<RootCertStore>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl TlsParts {
    pub(super) fn of(setup: &TlsSetup) -> Result<Self, Fault> {
        let roots = setup.authorities.as_deref().map(roots_of).transpose()?;
        let key_of = |key| {
            PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| Fault::permanent("the key has no private key in PEM"))
        };
        let identity = match &setup.identity {
            Some((chain, key)) => Some((certificates_of(chain)?, key_of(key)?)),
            None => None,
        };
        Ok(TlsParts { roots, identity })
    }
}

fn roots_of(pem: &[u8]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(pem)? {
        roots
            .add(certificate)
            .map_err(|fault| Fault::permanent(format!("the authority cannot be used: {fault}")))?;
    }
    Ok(roots)
}

fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let unfit = || Fault::permanent("there is no certificate in PEM");
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(unfit)
}

fn trusting(
    roots: RootCertStore,
    clock: Arc<dyn Clock>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let time = Arc::new(CertificateTime(clock));
    ClientConfig::builder_with_details(Arc::new(ring::default_provider()), time)
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
}

async fn secure(
    tls: &TlsConnector,
    host: &str,
    socket: Async<TcpStream>,
) -> Result<NetworkStream, Fault> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Fault::permanent("the URL's host is not a name that TLS can check"))?;
    let stream = tls.connect(name, socket).await;
    Ok(NetworkStream::Tls(Box::new(stream.map_err(|fault| handshake_fault(&fault))?)))
}

/// The first attempt that ends, taken out of the others.
struct AnyOf<'a>(&'a mut Vec<ConnectAttempt>);

impl Future for AnyOf<'_> {
    type Output = (ConnectAttempt, io::Result<Async<TcpStream>>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.0.is_empty(), "nobody would ever wake this");
        for index in 0..self.0.len() {
            if let Poll::Ready(result) = self.0[index].dialling.as_mut().poll(context) {
                return Poll::Ready((self.0.remove(index), result));
            }
        }
        Poll::Pending
    }
}
