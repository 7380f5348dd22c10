//! What the tests of this client share: a world whose clock is moved by hand, and requests.

mod scripted;
mod service;

pub(super) use scripted::ScriptedStream;
pub(super) use service::{SELF_SIGNED, SIGNED, TestService, answer_over_tls};

use super::Wire;
use super::connect::{Dial, TcpConnector};
use super::pool::PoolLimits;
use super::resolve::{NameResolver, SystemLookup};
use crate::{Fetch, FetchRequest, FetchResponse};
use futures_rustls::pki_types::CertificateDer;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::rustls::RootCertStore;
use kernel::env::{Clock, Env, Pending, Pools, Random};
use kernel::fault::Fault;
use kernel::time::Timestamp;
use smol::Async;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Moves when the test says so.
pub(super) struct SteppedClock {
    start: Timestamp,
    state: Arc<Mutex<(Duration, Vec<Waker>)>>,
}

impl SteppedClock {
    pub(super) fn at(start: &str) -> Arc<Self> {
        let start = Timestamp::parse(start).unwrap();
        Arc::new(SteppedClock { start, state: Arc::default() })
    }

    pub(super) fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap();
        state.0 += by;
        state.1.drain(..).for_each(Waker::wake);
    }
}

impl Clock for SteppedClock {
    fn monotonic(&self) -> Duration {
        self.state.lock().unwrap().0
    }

    fn wall(&self) -> Timestamp {
        self.start.plus(self.monotonic())
    }

    fn sleep(&self, duration: Duration) -> Pending<'static, ()> {
        let (state, until) = (self.state.clone(), self.monotonic() + duration);
        Box::pin(poll_fn(move |context| {
            let mut state = state.lock().unwrap();
            if until <= state.0 {
                return Poll::Ready(());
            }
            state.1.push(context.waker().clone());
            Poll::Pending
        }))
    }
}

/// A client in a world whose time is moved by hand and whose names and addresses are the test's.
pub(super) struct ClientWorld {
    pub(super) clock: Arc<SteppedClock>,
    pub(super) env: Env,
    pub(super) wire: Wire,
}

/// What a test wants to be otherwise.
pub(super) struct WorldParts {
    pub(super) start: &'static str,
    pub(super) limits: PoolLimits,
    pub(super) names: Arc<SystemLookup>,
    pub(super) dial: Dial,
    pub(super) roots: RootCertStore,
}

impl Default for WorldParts {
    fn default() -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority()).unwrap();
        WorldParts {
            start: "2030-01-01T00:00:00Z",
            limits: PoolLimits::default(),
            names: Arc::new(|_: &str| Ok(vec![LOOPBACK])),
            dial: Arc::new(|address| Box::pin(Async::<TcpStream>::connect(address))),
            roots,
        }
    }
}

impl ClientWorld {
    pub(super) fn new() -> Self {
        ClientWorld::of(WorldParts::default())
    }

    pub(super) fn of(parts: WorldParts) -> Self {
        let clock = SteppedClock::at(parts.start);
        let env = Env::new(clock.clone(), Random::seeded(7), Pools::system());
        let resolver = NameResolver::with(&env, parts.names);
        let connector = TcpConnector::with(&env, resolver, parts.dial, parts.roots);
        let wire = Wire::with(&env, parts.limits, connector);
        ClientWorld { clock, env, wire }
    }

    pub(super) fn fetch(&self, request: FetchRequest) -> Result<FetchResponse, Fault> {
        smol::block_on(self.wire.fetch(request))
    }

    /// Makes a call and moves time on by `by`, once `service` has said something.
    pub(super) fn fetch_and_wait(
        &self,
        request: FetchRequest,
        service: &TestService,
        by: Duration,
    ) -> Result<FetchResponse, Fault> {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                service.next();
                self.clock.advance(by);
            });
            self.fetch(request)
        })
    }

    /// Sockets in use, kept connections, and calls that wait.
    pub(super) fn usage(&self) -> (usize, usize, usize) {
        let usage = self.wire.usage();
        (usage.busy, usage.idle, usage.waiting)
    }
}

pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) fn get(url: &str) -> FetchRequest {
    FetchRequest {
        method: "GET",
        url: url.to_owned(),
        headers: vec![("X-Key".to_owned(), "k".to_owned())],
        body: None,
        timeout: Duration::from_secs(20),
        body_max: 1 << 10,
    }
}

pub(super) fn post(url: &str, body: &[u8]) -> FetchRequest {
    FetchRequest { method: "POST", body: Some(body.to_vec()), ..get(url) }
}

/// A POST that its receiver knows again.
pub(super) fn keyed(url: &str, body: &[u8]) -> FetchRequest {
    let mut request = post(url, body);
    request.headers.push(("Idempotency-Key".to_owned(), "e-1/out".to_owned()));
    request
}

/// Polls once; `None` while pending.
pub(super) fn poll_now<T>(work: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match work.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn authority() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("testing/authority.pem")).unwrap()
}
