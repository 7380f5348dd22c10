//! The engine on a virtual clock: one thread, no sleep, the same run for the same seed.
//!
//! Time stands still while anything can go on without it, and then jumps to the next moment that
//! someone waits for. So retries, timeouts and cooldowns take as long as they say, in no time.

use kernel::env::{Clock, Env, Pending, Pools, Random};
use kernel::time::Timestamp;
use smol::Executor;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A clock that moves only when it is advanced.
pub struct VirtualClock {
    start: Timestamp,
    hands: Arc<Mutex<Hands>>,
}

#[derive(Default)]
struct Hands {
    now: Duration,
    /// How far the wall clock was set, in microseconds.
    set_by: i64,
    /// Tells sleepers apart that wait for one moment; the first to sleep is the first to wake.
    next: u64,
    sleepers: BTreeMap<(Duration, u64), Waker>,
}

struct Sleep {
    hands: Arc<Mutex<Hands>>,
    key: (Duration, u64),
}

fn lock(hands: &Mutex<Hands>) -> MutexGuard<'_, Hands> {
    hands.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut hands = lock(&self.hands);
        if self.key.0 <= hands.now {
            return Poll::Ready(());
        }
        hands.sleepers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        lock(&self.hands).sleepers.remove(&self.key);
    }
}

impl Clock for VirtualClock {
    fn monotonic(&self) -> Duration {
        lock(&self.hands).now
    }

    fn wall(&self) -> Timestamp {
        let hands = lock(&self.hands);
        Timestamp(self.start.plus(hands.now).0.saturating_add(hands.set_by))
    }

    fn sleep(&self, duration: Duration) -> Pending<'static, ()> {
        let mut hands = lock(&self.hands);
        hands.next += 1;
        let key = (hands.now.saturating_add(duration), hands.next);
        Box::pin(Sleep { hands: self.hands.clone(), key })
    }
}

impl VirtualClock {
    /// Shows `start` until it is moved.
    pub fn new(start: Timestamp) -> Self {
        VirtualClock { start, hands: Arc::default() }
    }

    /// Moves to the next moment that someone waits for, if it comes before `end` or then, and
    /// wakes who waits for it. False when there is none.
    pub fn jump(&self, end: Duration) -> bool {
        let due: Vec<Waker> = {
            let mut hands = lock(&self.hands);
            let next = hands.sleepers.keys().next().map(|key| key.0).filter(|it| *it <= end);
            let Some(next) = next else { return false };
            hands.now = hands.now.max(next);
            let last = (hands.now, u64::MAX);
            let later = hands.sleepers.split_off(&last);
            std::mem::replace(&mut hands.sleepers, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Shows `now` from here on; nobody may wait for an earlier moment.
    fn set(&self, now: Duration) {
        let mut hands = lock(&self.hands);
        hands.now = hands.now.max(now);
    }
}

/// A world of one thread, with the clock that drives it.
pub struct Simulation {
    /// Time, chance and work that blocks, all of this thread.
    pub env: Env,
    /// Runs its tasks while the simulation is driven.
    pub executor: Arc<Executor<'static>>,
    clock: Arc<VirtualClock>,
}

impl Simulation {
    /// Begins at `start`; the same `seed` makes the same choices.
    pub fn new(start: Timestamp, seed: u64) -> Self {
        let clock = Arc::new(VirtualClock::new(start));
        let env = Env::new(clock.clone(), Random::seeded(seed), Pools::inline());
        Simulation { env, executor: Arc::new(Executor::new()), clock }
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Sets the wall clock forward by so many seconds, or back; time passes as before.
    pub fn set_wall(&self, seconds: i64) {
        let mut hands = lock(&self.clock.hands);
        hands.set_by = hands.set_by.saturating_add(seconds.saturating_mul(1_000_000));
    }

    /// Runs until nothing can go on before time passes.
    pub fn settle(&self) {
        while self.executor.try_tick() {}
    }

    /// Lets time pass to the next moment that someone waits for, without running what it wakes.
    /// False when nobody waits.
    pub fn jump(&self) -> bool {
        self.clock.jump(Duration::MAX)
    }

    /// Lets this much time pass, from one moment that someone waits for to the next.
    pub fn advance(&self, duration: Duration) {
        let end = self.now().saturating_add(duration);
        self.settle();
        while self.clock.jump(end) {
            self.settle();
        }
        self.clock.set(end);
    }

    /// Lets time pass until `is_over` or nobody waits for anything; whether it is over.
    pub fn run_until(&self, mut is_over: impl FnMut() -> bool) -> bool {
        loop {
            self.settle();
            if is_over() {
                return true;
            }
            if !self.clock.jump(Duration::MAX) {
                return false;
            }
        }
    }

    /// The outcome of `work`, which must not wait for time to pass. `None` when it does.
    pub fn complete<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let outcome = Arc::new(Mutex::new(None));
        let place = outcome.clone();
        let task = self.executor.spawn(async move {
            let value = work.await;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        });
        self.settle();
        drop(task);
        outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_wake_in_the_order_of_their_moments() {
        let simulation = Simulation::new(Timestamp(0), 1);
        let woken: Arc<Mutex<Vec<(u64, Duration)>>> = Arc::default();
        for seconds in [3, 1, 2, 9] {
            let (clock, woken) = (simulation.env.clock.clone(), woken.clone());
            let sleeper = async move {
                clock.sleep(Duration::from_secs(seconds)).await;
                woken.lock().unwrap().push((seconds, clock.monotonic()));
            };
            simulation.executor.spawn(sleeper).detach();
        }
        simulation.settle();
        assert!(woken.lock().unwrap().is_empty(), "time stands still");
        simulation.advance(Duration::from_secs(5));
        let expected = [1, 2, 3].map(|it| (it, Duration::from_secs(it)));
        assert_eq!(*woken.lock().unwrap(), expected);
        assert_eq!(simulation.now(), Duration::from_secs(5));
        assert_eq!(simulation.env.clock.wall(), Timestamp(5_000_000));
    }

    #[test]
    fn work_that_waits_for_time_is_not_complete() {
        let simulation = Simulation::new(Timestamp(0), 1);
        let (clock, pools) = (simulation.env.clock.clone(), simulation.env.pools.clone());
        let work = async move { pools.files.run(|| 7).await.ok() };
        assert_eq!(simulation.complete(work), Some(Some(7)));
        let waits = async move { clock.sleep(Duration::from_millis(1)).await };
        assert_eq!(simulation.complete(waits), None);
    }
}
