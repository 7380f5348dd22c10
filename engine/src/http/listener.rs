//! Takes connections, a limited number of them, and lets them end in order.

use crate::http::places::{NoSeat, Seat, Seated};
use crate::http::service::{Counters, ServerContext, count};
use crate::http::tls::{self, TlsIdentity};
use crate::http::wire::{self, Ends};
use futures_rustls::server::TlsStream;
use futures_util::FutureExt;
use kernel::env::within;
use smol::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, Task};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The first pause after a failure to accept; each further one in a row doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause after a failure to accept.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A listener at work. Dropping it closes the listener and every connection at once.
pub struct HttpServer {
    site: Arc<ServerContext>,
    accepting: Option<Task<()>>,
}

impl HttpServer {
    /// Takes connections from `listener` until it is told otherwise.
    pub fn start(
        listener: TcpListener,
        executor: Arc<Executor<'static>>,
        site: Arc<ServerContext>,
    ) -> Self {
        let door = Acceptor { site: site.clone(), executor: executor.clone() };
        let accepting = Some(executor.spawn(async move { door.accept(listener).await }));
        HttpServer { site, accepting }
    }

    /// What happened.
    pub fn counters(&self) -> &Counters {
        &self.site.counters
    }

    /// Closes the listener, lets each connection finish the request under way (streams end where
    /// they are), and closes what is left after `grace`. Whether all had finished.
    pub async fn drain(mut self, grace: Duration) -> bool {
        if let Some(task) = self.accepting.take() {
            task.cancel().await;
        }
        self.site.stop.stop();
        let done = within(&*self.site.clock, grace, self.site.places.emptied()).await;
        done.is_some()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // Each connection holds the list that holds it, so the list does not go by itself.
        self.site.places.clear();
    }
}

/// What the accepting task holds.
struct Acceptor {
    site: Arc<ServerContext>,
    executor: Arc<Executor<'static>>,
}

impl Acceptor {
    async fn accept(self, listener: TcpListener) {
        let mut pause = PAUSE_FIRST;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if PAUSE_FIRST < pause {
                        self.site.service.accepting(None);
                    }
                    pause = PAUSE_FIRST;
                    self.take(stream, peer);
                }
                Err(error) => {
                    count(&self.site.counters.accept_errors);
                    if is_of_one_connection(error.kind()) {
                        continue;
                    }
                    // Out of descriptors, most likely: the connection stays in the backlog, and
                    // asking again at once would spin on it.
                    self.site.service.accepting(Some(&error));
                    self.site.clock.sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let (peer, site) = (peer.ip(), self.site.clone());
        seated(&self.site, &self.executor, peer, move |seat| async move {
            // Without it small answers wait for the other side's acknowledgement; failing is
            // harmless.
            stream.set_nodelay(true).unwrap_or_default();
            let local = stream.local_addr().ok().map(|local_addr| local_addr.ip());
            let ends = Ends { peer: Some(peer.to_canonical()), local };
            speak(stream, ends, &seat, &site).await;
        });
    }
}

/// Takes a connection that is no socket, such as one of a simulation, as if `peer` had made it.
pub fn connect<S>(site: &Arc<ServerContext>, executor: &Executor<'static>, stream: S, peer: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = site.clone();
    seated(site, executor, peer, move |seat| async move {
        let ends = Ends { peer: Some(peer), local: None };
        wire::serve(stream, ends, &seat, &shared).await;
    });
}

/// Runs a connection where there is a seat for it. Its panic is its own end and nobody else's.
fn seated<F: Future<Output = ()> + Send + 'static>(
    site: &Arc<ServerContext>,
    executor: &Executor<'static>,
    peer: IpAddr,
    talk: impl FnOnce(Arc<Seat>) -> F,
) {
    let (address, now) = (counted_address(peer), site.clock.monotonic());
    let Seated { seat, has_evicted } = match site.places.admit(address, &site.limits, now) {
        Ok(seated) => seated,
        Err(NoSeat::Full) => return count(&site.counters.refused_total),
        Err(NoSeat::Share) => return count(&site.counters.refused_ip),
    };
    if has_evicted {
        count(&site.counters.evicted);
    }
    count(&site.counters.accepted);
    let (talking, own, shared) = (talk(seat.clone()), seat.clone(), site.clone());
    let task = executor.spawn(async move {
        if AssertUnwindSafe(talking).catch_unwind().await.is_err() {
            count(&shared.counters.panics);
            tracing::error!(%peer, "a connection ended in a panic");
        }
        shared.places.leave(&own);
        shared.counters.open.store(shared.places.len() as u64, Ordering::Relaxed);
    });
    site.places.seat_task(&seat, task);
    site.counters.open.store(site.places.len() as u64, Ordering::Relaxed);
}

/// HTTP, over TLS where the server has a certificate.
async fn speak(stream: TcpStream, ends: Ends, seat: &Arc<Seat>, site: &ServerContext) {
    let Some(identity) = site.tls.get() else {
        return wire::serve(stream, ends, seat, site).await;
    };
    let told = site.stop.listen();
    if site.stop.is_stopped() {
        return;
    }
    let greeting = greet(&stream, &identity, ends);
    let greeting = within(&*site.clock, site.limits.head_time, greeting);
    let stopped = async {
        told.await;
        None
    };
    match smol::future::or(greeting, stopped).await {
        Some(Greeting::Secret(secret)) => wire::serve(*secret, ends, seat, site).await,
        Some(Greeting::Plain) => wire::serve(stream, ends, seat, site).await,
        Some(Greeting::Refused) => count(&site.counters.refused_requests),
        None => count(&site.counters.timeouts),
    }
}

/// What a connection begins with.
enum Greeting {
    Secret(Box<TlsStream<TcpStream>>),
    /// Plain HTTP of a program on this machine.
    Plain,
    /// Neither.
    Refused,
}

async fn greet(stream: &TcpStream, identity: &TlsIdentity, ends: Ends) -> Greeting {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == tls::HANDSHAKE => {
            let secret = identity.acceptor().accept(stream.clone()).await;
            secret.map_or(Greeting::Refused, |secret| Greeting::Secret(Box::new(secret)))
        }
        Ok(1) if ends.is_of_this_machine() => Greeting::Plain,
        Ok(1) => {
            let mut stream = stream.clone();
            stream.write_all(tls::PLAIN_REFUSED).await.unwrap_or_default();
            Greeting::Refused
        }
        _ => Greeting::Refused,
    }
}

/// Whether a failure to accept is over with the connection that it was about.
fn is_of_one_connection(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

/// An IPv6 host has a whole /64 to itself, so that is what counts as one.
pub(crate) fn counted_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::ServerLimits;
    use crate::http::service::ServerState;
    use crate::http::testing::{Echo, ManualClock};
    use smol::io::AsyncReadExt;

    const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

    async fn start(
        executor: &Arc<Executor<'static>>,
        limits: ServerLimits,
    ) -> (HttpServer, SocketAddr, Arc<ManualClock>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = ManualClock::new();
        let service = Arc::new(Echo::default());
        let site = ServerContext::new(service, ServerState::default(), limits, clock.clone());
        (HttpServer::start(listener, executor.clone(), Arc::new(site)), address, clock)
    }

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(GET).await.unwrap();
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    /// Waits until the server has taken so many requests.
    async fn until_asked(server: &HttpServer, requests: u64) {
        while server.counters().requests.load(Ordering::Relaxed) < requests {
            smol::future::yield_now().await;
        }
    }

    #[test]
    fn over_the_cap_an_idle_connection_leaves_and_a_busy_one_stays() {
        let executor = Arc::new(Executor::new());
        smol::block_on(executor.clone().run(async move {
            let limits = ServerLimits { connections_per_ip: 1, ..ServerLimits::default() };
            let (server, address, _clock) = start(&executor, limits).await;
            let mut idle = TcpStream::connect(address).await.unwrap();
            assert!(ask(&mut idle).await.starts_with("HTTP/1.1 200 OK\r\n"));
            let mut busy = TcpStream::connect(address).await.unwrap();
            assert_eq!(idle.read(&mut [0; 8]).await.unwrap_or(0), 0);
            assert_eq!(server.counters().evicted.load(Ordering::Relaxed), 1);
            busy.write_all(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            until_asked(&server, 2).await;
            let mut third = TcpStream::connect(address).await.unwrap();
            assert_eq!(third.read(&mut [0; 8]).await.unwrap_or(0), 0);
            assert_eq!(server.counters().refused_ip.load(Ordering::Relaxed), 1);
        }));
    }

    #[test]
    fn draining_ends_idle_connections_and_frees_the_port() {
        let executor = Arc::new(Executor::new());
        smol::block_on(executor.clone().run(async move {
            let (server, address, _clock) = start(&executor, ServerLimits::default()).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            ask(&mut stream).await;
            assert!(server.drain(Duration::from_secs(5)).await);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
            assert!(TcpStream::connect(address).await.is_err());
        }));
    }

    #[test]
    fn what_does_not_end_in_time_is_closed() {
        let executor = Arc::new(Executor::new());
        smol::block_on(executor.clone().run(async move {
            let (server, address, clock) = start(&executor, ServerLimits::default()).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            ask(&mut stream).await;
            stream.write_all(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            until_asked(&server, 2).await;
            let mut drained = std::pin::pin!(server.drain(Duration::from_secs(5)));
            let ended = loop {
                if let Some(ended) = smol::future::poll_once(&mut drained).await {
                    break ended;
                }
                clock.advance(Duration::from_secs(1));
                smol::future::yield_now().await;
            };
            assert!(!ended);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
        }));
    }

    /// What a client reads that begins like this, from another machine or from this one.
    fn greeted(first: &'static [u8], peer: [u8; 4]) -> (bool, String) {
        let pair = concat!(env!("CARGO_MANIFEST_DIR"), "/wire/src/testing/localhost.pem");
        let files = tls::TlsFiles { cert: pair.into(), key: pair.into() };
        let identity = TlsIdentity::read(&files).unwrap();
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            client.write_all(first).await.unwrap();
            let stream = listener.accept().await.unwrap().0;
            let local = Some(IpAddr::from([192, 168, 1, 5]));
            let ends = Ends { peer: Some(IpAddr::from(peer)), local };
            let greeting = greet(&stream, &identity, ends).await;
            drop(stream);
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap_or_default();
            (matches!(greeting, Greeting::Plain), said)
        })
    }

    #[test]
    fn only_programs_on_this_machine_may_speak_plainly_where_there_is_a_certificate() {
        for peer in [[127, 0, 0, 1], [192, 168, 1, 5]] {
            assert!(greeted(GET, peer).0, "{peer:?}");
        }
        let (is_plain, said) = greeted(GET, [192, 168, 1, 6]);
        assert!(!is_plain && said.ends_with("use an https:// URL"), "{said}");
        let length = said.split("\r\n\r\n").nth(1).unwrap().len();
        assert!(said.contains(&format!("content-length: {length}\r\n")), "{said}");
        let (is_plain, said) = greeted(b"\x16\x03\x01\0\x05hello", [192, 168, 1, 6]);
        assert!(!is_plain && !said.contains("HTTP"), "{said}");
    }

    #[test]
    fn an_ipv6_neighbourhood_counts_as_one_address() {
        let counted = |text: &str| counted_address(text.parse().unwrap());
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff:1"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
    }
}
