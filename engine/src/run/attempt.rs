//! One call of a remote stage, with its tries. Waiting for a try holds no worker, no slot of the
//! stage and no place of another event: it is a timer in the event's own future.

use super::OpenStage;
use crate::plan::{Policy, StagePlan};
use smol::lock::Semaphore;
use stages::contract::{Addition, Cause, Enricher, Fault};
use stages::env::{Env, within};
use stages::event::{Event, Outcome};
use stages::time::Timestamp;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// How a stage ended for one event.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Tries.
    pub attempts: u32,
    /// When the first try began.
    pub started: Timestamp,
    /// How long all took, waits included.
    pub micros: u64,
    /// What it adds, when it succeeded.
    pub addition: Option<Addition>,
    /// Why it did not.
    pub error: Option<String>,
}

/// Asks a remote stage until it answers, faults for good, or its policy is exhausted.
pub async fn ask(
    plan: &StagePlan,
    stage: Arc<OpenStage>,
    event: Event,
    places: &Semaphore,
    env: &Env,
) -> Ended {
    let (began, started) = (env.clock.monotonic(), env.clock.wall());
    let mut attempts = 0;
    loop {
        attempts += 1;
        let result = {
            let _place = places.acquire().await;
            let _slot = stage.slots.acquire().await;
            once(plan, &stage, &event, env).await
        };
        let elapsed = env.clock.monotonic() - began;
        let fault = match result {
            Ok(addition) => return ended(Outcome::Ok, attempts, started, elapsed, Ok(addition)),
            Err(fault) => fault,
        };
        let wait = plan.policy.wait_after(&fault, attempts, env.random.ratio());
        match wait.filter(|it| elapsed + *it < plan.policy.give_up) {
            Some(wait) => env.clock.sleep(wait).await,
            None => {
                let timed_out = fault.cause == Cause::Timeout;
                let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Failed };
                return ended(outcome, attempts, started, elapsed, Err(fault));
            }
        }
    }
}

fn ended(
    outcome: Outcome,
    attempts: u32,
    started: Timestamp,
    elapsed: std::time::Duration,
    result: Result<Addition, Fault>,
) -> Ended {
    let (addition, error) = match result {
        Ok(addition) => (Some(addition), None),
        Err(fault) => (None, Some(fault.reason)),
    };
    Ended { outcome, attempts, started, micros: elapsed.as_micros() as u64, addition, error }
}

/// One try, bounded in time. A panic is this try's permanent fault and nobody else's.
async fn once(
    plan: &StagePlan,
    stage: &OpenStage,
    event: &Event,
    env: &Env,
) -> Result<Addition, Fault> {
    let timeout = plan.policy.timeout;
    let Enricher::Remote(remote) = &stage.enricher else {
        unreachable!("a stage that is remote in the plan opens remote");
    };
    let call = AssertUnwindSafe(remote.enrich(event, timeout));
    let caught = futures_util::FutureExt::catch_unwind(call);
    match within(&*env.clock, timeout, caught).await {
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(Fault::permanent("the stage panicked")),
        None => Err(Fault::transient(Cause::Timeout, format!("no answer within {timeout:?}"))),
    }
}

impl Policy {
    /// How long to wait before the next try, if there is to be one after `attempts` tries.
    pub fn wait_after(
        &self,
        fault: &Fault,
        attempts: u32,
        ratio: f64,
    ) -> Option<std::time::Duration> {
        let is_allowed = fault.is_transient && self.covers(fault.cause);
        if !is_allowed || self.retries.is_some_and(|it| it < attempts) {
            return None;
        }
        let own = self.backoff.wait(attempts, ratio);
        // The other side's wish is honoured up to an hour.
        let wished = fault.retry_after.map(|it| it.min(std::time::Duration::from_secs(3600)));
        Some(wished.map_or(own, |it| it.max(own)))
    }

    fn covers(&self, cause: Cause) -> bool {
        let covers = |word: &String| match (word.as_str(), cause) {
            ("any", _) | ("timeout", Cause::Timeout) | ("connect", Cause::Connect) => true,
            ("429", Cause::Status(status)) => status == 429,
            ("5xx", Cause::Status(status)) => (500..600).contains(&status),
            ("4xx", Cause::Status(status)) => (400..500).contains(&status),
            _ => false,
        };
        self.on.is_empty() || self.on.iter().any(covers)
    }
}
