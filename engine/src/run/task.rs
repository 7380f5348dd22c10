//! Tasks that belong to what they serve, and what happens when one of them ends by a fault.

use super::stop::StopSignal;
use compiler::spec::Backoff;
use futures_util::FutureExt;
use kernel::env::{Clock, Env, within};
use kernel::fault::{Fault, FaultClass};
use kernel::health::{HealthProblem, PartHealth};
use smol::{Executor, Task};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// The code of a part whose task ended by a fault.
pub const STOPPED: &str = "stopped";
/// A task that has run for so long after a fault works again.
const STEADY: Duration = Duration::from_secs(1);

/// A running task. Dropping the handle ends the task where it waits.
pub struct TaskHandle {
    stop: Arc<StopSignal>,
    task: Task<()>,
}

impl TaskHandle {
    /// Starts a task, which learns by the signal when it is time to stop. It must not panic.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(
        executor: &Executor<'static>,
        work: impl FnOnce(Arc<StopSignal>) -> F,
    ) -> Self {
        let stop = Arc::<StopSignal>::default();
        let task = executor.spawn(work(stop.clone()));
        TaskHandle { stop, task }
    }

    /// Tells the task that it is time to stop.
    pub fn stop(&self) {
        self.stop.raise();
    }

    /// Whether the task has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Tells the task to stop, gives it `grace` to do so, and ends it where it waits after that.
    /// When this returns, nothing of it runs any more.
    pub async fn close(mut self, clock: &dyn Clock, grace: Duration) {
        self.stop.raise();
        if within(clock, grace, &mut self.task).await.is_none() {
            self.task.cancel().await;
        }
    }

    /// Ends the task where it waits. When this returns, nothing of it runs any more.
    pub async fn cancel(self) {
        self.stop.raise();
        self.task.cancel().await;
    }
}

/// Starts something again that ends by a fault.
pub struct Restarts {
    /// Time and chance.
    pub env: Env,
    /// The part that is restarted.
    pub health: PartHealth,
    /// The wait before each new start.
    pub backoff: Backoff,
    /// Whether a permanent fault is the end.
    pub gives_up: bool,
}

impl Restarts {
    /// Runs it until it ends well, or until it is time to stop. A fault or a panic is reported,
    /// and it starts again after a wait. The error is the fault that was the end.
    pub async fn run<F: Future<Output = Result<(), Fault>>>(
        &self,
        stop: &StopSignal,
        mut start: impl FnMut() -> F,
    ) -> Result<(), Fault> {
        let clock = &*self.env.clock;
        let mut failures = 0;
        loop {
            let began = clock.monotonic();
            let Err(fault) = self.run_once(start()).await else {
                self.health.clear(STOPPED);
                return Ok(());
            };
            if stop.is_raised() {
                return Ok(());
            }
            if self.gives_up && fault.class == FaultClass::Permanent {
                self.health.report(HealthProblem::failed(STOPPED, fault.reason.clone()));
                return Err(fault);
            }
            failures = if clock.monotonic() - began < STEADY { failures + 1 } else { 1 };
            let wait = self.backoff.wait(failures, self.env.random.ratio());
            let shown = kernel::time::write_duration(wait);
            let reason = format!("{}; it restarts in {shown}", fault.reason);
            self.health.report(HealthProblem::failed(STOPPED, reason));
            smol::future::or(clock.sleep(wait), stop.raised()).await;
            if stop.is_raised() {
                return Ok(());
            }
        }
    }

    /// One run. While it lasts, what ended the run before is over after a moment.
    async fn run_once(&self, work: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
        let steady = async {
            self.env.clock.sleep(STEADY).await;
            self.health.clear(STOPPED);
            smol::future::pending().await
        };
        let caught = AssertUnwindSafe(work).catch_unwind();
        let result = smol::future::or(caught, steady).await;
        result.unwrap_or_else(|_| Err(Fault::permanent(super::PANICKED)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Simulation;
    use compiler::spec::Jitter;
    use kernel::fault::Cause;
    use kernel::health::{Health, HealthState, PartRole};
    use kernel::time::Timestamp;
    use std::sync::Mutex;

    fn restarts(env: &Env, gives_up: bool) -> Restarts {
        let health = env.health.part(PartRole::Source, "logs");
        let backoff = Backoff { jitter: Jitter::None, ..Backoff::default() };
        Restarts { env: env.clone(), health, backoff, gives_up }
    }

    fn state(health: &Health) -> HealthState {
        health.worst(PartRole::Source)
    }

    #[test]
    fn what_ends_by_a_fault_starts_again_after_growing_waits_and_is_red_meanwhile() {
        let simulation = Simulation::new(Timestamp(0), 1);
        let env = simulation.env.clone();
        let starts: Arc<Mutex<Vec<u64>>> = Arc::default();
        let (seen, clock) = (starts.clone(), env.clock.clone());
        let restarts = restarts(&env, false);
        let task = TaskHandle::spawn(&simulation.executor, |stop| async move {
            let result = restarts
                .run(&stop, || {
                    let mut seen = seen.lock().unwrap();
                    seen.push(clock.monotonic().as_millis() as u64);
                    let number = seen.len();
                    async move {
                        match number {
                            1 | 2 => Err(Fault::transient(Cause::Other, "the disk is gone")),
                            3 => panic!("on purpose"),
                            _ => smol::future::pending().await,
                        }
                    }
                })
                .await;
            assert_eq!(result, Ok(()));
        });
        simulation.advance(Duration::from_millis(1500));
        assert_eq!(*starts.lock().unwrap(), [0, 200, 600, 1400]);
        assert_eq!(state(&env.health), HealthState::Failed, "it has just started again");
        simulation.advance(Duration::from_secs(1));
        assert_eq!(state(&env.health), HealthState::Ok);
        let closed = async move { task.close(&*env.clock, Duration::from_secs(1)).await };
        assert_eq!(simulation.complete(closed), None, "it waits for the grace");
    }

    #[test]
    fn a_permanent_fault_may_be_the_end() {
        let simulation = Simulation::new(Timestamp(0), 1);
        let restarts = restarts(&simulation.env, true);
        let result = simulation.complete(async move {
            restarts.run(&StopSignal::default(), || async { Err(Fault::permanent("gone")) }).await
        });
        assert_eq!(result, Some(Err(Fault::permanent("gone"))));
        assert_eq!(state(&simulation.env.health), HealthState::Failed);
    }

    #[test]
    fn a_closed_task_is_gone_also_when_it_does_not_listen() {
        let simulation = Simulation::new(Timestamp(0), 1);
        let held = Arc::new(());
        let inside = held.clone();
        let task = TaskHandle::spawn(&simulation.executor, |_| async move {
            let _inside = inside;
            smol::future::pending::<()>().await;
        });
        simulation.settle();
        let clock = simulation.env.clock.clone();
        let closing = simulation.executor.spawn(async move {
            task.close(&*clock, Duration::from_secs(5)).await;
        });
        simulation.advance(Duration::from_secs(4));
        assert_eq!(Arc::strong_count(&held), 2);
        simulation.advance(Duration::from_secs(2));
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(closing.is_finished());
    }
}
