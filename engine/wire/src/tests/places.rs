//! Who gets a socket: the pool against random orders of everything that may happen.

use crate::pool::{ConnectionLease, ConnectionPool, PoolLimits};
use crate::problem::CallProgress;
use crate::request::Endpoint;
use crate::testing::{SteppedClock, poll_now};
use kernel::env::Pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LIMITS: PoolLimits = PoolLimits { sockets: 6, host: 3, reserve: 2, few: 1, waiting: 8 };

/// A connection that counts itself.
struct CountedSocket(Arc<AtomicUsize>);

impl CountedSocket {
    fn open(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        CountedSocket(open.clone())
    }
}

impl Drop for CountedSocket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

type Lease = ConnectionLease<CountedSocket>;
type Waiting = Pending<'static, Option<Lease>>;

struct PoolModel {
    pool: Arc<ConnectionPool<CountedSocket>>,
    clock: Arc<SteppedClock>,
    open: Arc<AtomicUsize>,
    held: Vec<(usize, Lease)>,
    waiting: Vec<(usize, Waiting)>,
}

impl PoolModel {
    fn new() -> Self {
        let clock = SteppedClock::at("2026-01-01T00:00:00Z");
        let pool = Arc::new(ConnectionPool::new(LIMITS, clock.clone()));
        PoolModel { pool, clock, open: Arc::default(), held: Vec::new(), waiting: Vec::new() }
    }

    fn endpoint(host: usize) -> Arc<Endpoint> {
        Arc::new(Endpoint { is_tls: false, host: format!("h{host}"), port: 80 })
    }

    fn ask(&mut self, host: usize) {
        let pool = self.pool.clone();
        let ask = async move {
            let progress = CallProgress::default();
            pool.acquire(&Self::endpoint(host), &progress).await.ok()
        };
        self.waiting.push((host, Box::pin(ask)));
        self.serve(true);
    }

    /// Gives everybody their turn. In each host, those that came first get theirs first.
    fn serve(&mut self, may_refuse: bool) {
        let mut index = 0;
        let mut still_waits = Vec::new();
        while index < self.waiting.len() {
            let host = self.waiting[index].0;
            match poll_now(self.waiting[index].1.as_mut()) {
                None => {
                    still_waits.push(host);
                    index += 1;
                }
                Some(None) => {
                    assert!(may_refuse && LIMITS.waiting < self.waiting.len(), "refused too early");
                    drop(self.waiting.remove(index));
                }
                Some(Some(mut lease)) => {
                    assert!(!still_waits.contains(&host), "a later call of the host came first");
                    lease.connection.get_or_insert_with(|| CountedSocket::open(&self.open));
                    self.held.push((host, lease));
                    drop(self.waiting.remove(index));
                }
            }
        }
    }

    fn busy(&self, host: usize) -> usize {
        self.held.iter().filter(|it| it.0 == host).count()
    }

    fn check(&self) {
        let usage = self.pool.usage();
        assert_eq!((usage.busy, usage.waiting), (self.held.len(), self.waiting.len()));
        assert_eq!(self.open.load(Ordering::SeqCst), usage.busy + usage.idle);
        assert!(usage.busy + usage.idle <= LIMITS.sockets, "{usage:?}");
        for (host, _) in &self.waiting {
            let busy = self.busy(*host);
            let limit = LIMITS.sockets - if busy < LIMITS.few { 0 } else { LIMITS.reserve };
            let is_full = LIMITS.host <= busy || limit <= usage.busy;
            assert!(is_full, "a call of host {host} waits for nothing: {usage:?}");
        }
    }

    fn step(&mut self, dice: &mut fastrand::Rng) {
        match dice.u8(..12) {
            0..5 => self.ask(dice.usize(..4)),
            5..9 if !self.held.is_empty() => {
                let (_, lease) = self.held.swap_remove(dice.usize(..self.held.len()));
                if dice.bool() { lease.keep() } else { drop(lease) }
            }
            9 if !self.waiting.is_empty() => {
                drop(self.waiting.remove(dice.usize(..self.waiting.len())));
            }
            10 if !self.held.is_empty() => {
                let (host, lease) = &self.held[dice.usize(..self.held.len())];
                if let Some(mut another) = lease.try_another() {
                    another.connection = Some(CountedSocket::open(&self.open));
                    self.held.push((*host, another));
                }
            }
            _ => {
                self.clock.advance(Duration::from_secs(dice.u64(..20)));
                self.pool.close_idle();
            }
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed, shown when the test fails")]
fn whatever_happens_nobody_waits_for_nothing_and_no_socket_is_over_the_limit() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let mut model = PoolModel::new();
        for _ in 0..200 {
            model.step(&mut dice);
            // Sometimes a call that has its turn is dropped before it notices.
            if dice.u8(..4) != 0 {
                model.serve(false);
                model.check();
            }
        }
        model.waiting.clear();
        model.held.clear();
        model.clock.advance(Duration::from_secs(15));
        model.pool.close_idle();
        model.check();
        let usage = model.pool.usage();
        assert_eq!((usage.busy, usage.idle, usage.waiting), (0, 0, 0));
    }
}
