//! The one door to time, randomness and blocking work.
//!
//! Everything here is passed, never global, so that a test can hold the clock still.
//! Spawning is the engine's part of the same seam.

mod pool;

pub use pool::{NoThread, PoolUse, ThreadPool};

use crate::health::Health;
use crate::time::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A boxed future that may move between threads.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Provides the time and wakes sleepers.
pub trait Clock: Send + Sync + 'static {
    /// Time since an arbitrary start; never goes back. For timeouts, waits and rates.
    fn monotonic(&self) -> Duration;

    /// The time on the wall. For stamps, retention and display; may jump.
    fn wall(&self) -> Timestamp;

    /// Ends once the monotonic clock has passed `duration` from now.
    fn sleep(&self, duration: Duration) -> Pending<'static, ()>;

    /// Time since the machine was started, where the system tells it.
    fn boot(&self) -> Option<BootTime> {
        None
    }
}

/// Time since the machine was started. It never jumps, counts while the machine sleeps, and goes
/// on over a restart of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootTime {
    /// Tells one start of the machine from another; never 0.
    pub id: u64,
    /// How long ago it was.
    pub since: Duration,
}

/// The real clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    boot: Option<u64>,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn default() -> Self {
        SystemClock { start: Instant::now(), boot: boot_id() }
    }
}

/// The name that Linux gives each of its starts, as a number.
fn boot_id() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(15).collect();
    u64::from_str_radix(&digits, 16).ok().map(|it| it + 1)
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn wall(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(since.as_micros() as i64),
            Err(before) => Timestamp(-(before.duration().as_micros() as i64)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn sleep(&self, duration: Duration) -> Pending<'static, ()> {
        let timer = smol::Timer::after(duration);
        Box::pin(async move {
            timer.await;
        })
    }

    #[cfg(target_os = "linux")]
    fn boot(&self) -> Option<BootTime> {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let since = Duration::try_from(since).ok()?;
        Some(BootTime { id: self.boot?, since })
    }
}

/// Runs `work`, but no longer than `limit` by `clock`; `None` when time ran out.
pub async fn within<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    smol::future::or(async { Some(work.await) }, async {
        clock.sleep(limit).await;
        None
    })
    .await
}

/// Random numbers from one seed. Not for secrets.
#[derive(Debug)]
pub struct Random {
    state: Mutex<fastrand::Rng>,
}

impl Random {
    /// The same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Random { state: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// Seeded by the operating system.
    pub fn from_entropy() -> Self {
        Random { state: Mutex::new(fastrand::Rng::new()) }
    }

    /// Lends the generator.
    pub fn with<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// In `0.0..1.0`.
    pub fn ratio(&self) -> f64 {
        self.with(fastrand::Rng::f64)
    }

    /// A version 7 UUID: its time and random bits, so that ids made one after another sort so.
    pub fn uuid(&self, now: Timestamp) -> uuid::Uuid {
        let mut bits = [0; 10];
        self.with(|it| it.fill(&mut bits));
        let millis = now.0.div_euclid(1000).max(0) as u64;
        uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
    }
}

/// Threads that may block, apart by what they block on: what hangs in one pool holds up nothing in
/// another.
#[derive(Debug, Clone)]
pub struct Pools {
    /// Calls to the outside that have no asynchronous form, and the resolution of names.
    pub outside: Arc<ThreadPool>,
    /// Files that stages read and write.
    pub files: Arc<ThreadPool>,
    /// Queries of the store.
    pub store: Arc<ThreadPool>,
    /// Reading and checking a pipeline file.
    pub reload: Arc<ThreadPool>,
}

impl Pools {
    /// Real threads.
    pub fn system() -> Self {
        Pools {
            outside: Arc::new(ThreadPool::new("outside", 64)),
            files: Arc::new(ThreadPool::new("files", 16)),
            store: Arc::new(ThreadPool::new("store", 2)),
            reload: Arc::new(ThreadPool::new("reload", 1)),
        }
    }

    /// For a world of one thread: see [`ThreadPool::inline`].
    pub fn inline() -> Self {
        let pool = |name| Arc::new(ThreadPool::inline(name));
        Pools {
            outside: pool("outside"),
            files: pool("files"),
            store: pool("store"),
            reload: pool("reload"),
        }
    }

    /// Every pool.
    pub fn all(&self) -> [&ThreadPool; 4] {
        [&self.outside, &self.files, &self.store, &self.reload]
    }
}

/// The clock, the dice, the threads that may block and the state of every part, as one value to
/// hand on.
#[derive(Clone)]
pub struct Env {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<Random>,
    /// Work that blocks.
    pub pools: Pools,
    /// What works and what does not.
    pub health: Arc<Health>,
}

impl Env {
    /// The real world.
    pub fn system() -> Self {
        let clock = Arc::new(SystemClock::default());
        Env::new(clock, Random::from_entropy(), Pools::system())
    }

    /// From its parts; every part of the engine is well.
    pub fn new(clock: Arc<dyn Clock>, random: Random, pools: Pools) -> Self {
        let health = Health::new(clock.clone());
        Env { clock, random: Arc::new(random), pools, health }
    }
}
