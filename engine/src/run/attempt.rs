//! One call of a remote stage, with its tries. Waiting for a try holds no worker, no slot of the
//! stage and no place of another event: it is a timer in the event's own future.

use super::cache::Cache;
use super::{OpenStage, condition};
use crate::plan::{Policy, StagePlan};
use kernel::env::{Env, within};
use kernel::event::{Event, Outcome};
use kernel::fault::{Cause, Fault, FaultClass};
use kernel::time::Timestamp;
use language::expr::Scope;
use smol::lock::Semaphore;
use stages::contract::{Addition, Enricher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// The wish of the other side, when to be asked again, is honoured up to this.
pub(super) const WISH_MAX: Duration = Duration::from_secs(3600);

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

/// Asks a remote stage until it answers, faults for good, or its policy is exhausted. An answer
/// that is kept is as good as one that is asked for.
pub async fn ask(
    plan: &StagePlan,
    stage: Arc<OpenStage>,
    event: Event,
    places: &Semaphore,
    env: &Env,
) -> Ended {
    let (began, started) = (env.clock.monotonic(), env.clock.wall());
    let key = stage.cache.as_ref().and_then(|it| key_of(it, &stage, &event, env));
    let kept = stage.cache.as_ref().zip(key);
    let micros = |env: &Env| (env.clock.monotonic() - began).as_micros() as u64;
    if let Some((cache, key)) = &kept
        && let Some(addition) = cache.fresh(key, began)
    {
        return cached(0, started, micros(env), addition, None);
    }
    let (attempts, outcome, result) = tries(plan, &stage, &event, places, env).await;
    match (result, kept) {
        (Ok(addition), kept) => {
            if let (Some((cache, key)), Addition::Value(value)) = (kept, &addition) {
                cache.keep(key, value.clone(), env.clock.monotonic());
            }
            let (micros, addition) = (micros(env), Some(addition));
            Ended { outcome, attempts, started, micros, addition, error: None }
        }
        (Err(reason), kept) => {
            let stale = kept.and_then(|(cache, key)| cache.stale(&key, env.clock.monotonic()));
            match stale {
                Some(addition) => cached(attempts, started, micros(env), addition, Some(reason)),
                None => {
                    let (micros, error) = (micros(env), Some(reason));
                    Ended { outcome, attempts, started, micros, addition: None, error }
                }
            }
        }
    }
}

fn cached(
    attempts: u32,
    started: Timestamp,
    micros: u64,
    addition: Addition,
    error: Option<String>,
) -> Ended {
    let addition = Some(addition);
    Ended { outcome: Outcome::Cached, attempts, started, micros, addition, error }
}

/// What tells this question from others; a null key is never kept.
fn key_of(cache: &Cache, stage: &OpenStage, event: &Event, env: &Env) -> Option<String> {
    match (&cache.settings().key, &*stage.enricher) {
        (Some(key), _) => {
            let scope = Scope::of(event, env.clock.wall());
            let value = key.value.eval(&scope);
            (!value.is_null()).then(|| value.text())
        }
        (None, Enricher::Remote(remote)) => remote.question(event),
        (None, Enricher::Local(_)) => None,
    }
}

/// Tries until one succeeds or the policy allows no other: how many, how it ended, and with what.
async fn tries(
    plan: &StagePlan,
    stage: &OpenStage,
    event: &Event,
    places: &Semaphore,
    env: &Env,
) -> (u32, Outcome, Result<Addition, String>) {
    let began = env.clock.monotonic();
    let mut attempts = 0;
    loop {
        stage.limits.in_turn(&*env.clock).await;
        let result = {
            let _place = places.acquire().await;
            let _slot = stage.slots.acquire().await;
            let admitted = stage.limits.breaker.as_ref().map(|it| it.admit(env.clock.monotonic()));
            let pass = match admitted.transpose() {
                Ok(pass) => pass,
                Err(wait) => {
                    let reason = format!("not asked: its breaker is open for another {wait:?}");
                    return (attempts, Outcome::CircuitOpen, Err(reason));
                }
            };
            attempts += 1;
            let result = once(plan, stage, event, env).await;
            if let Some(pass) = pass {
                let is_fault = result.as_ref().is_err_and(|it| it.is_transient());
                pass.end(env.clock.monotonic(), is_fault);
            }
            condition::of_stage(&stage.health, result.as_ref().map(|_| ()));
            result
        };
        let fault = match result {
            Ok(addition) => return (attempts, Outcome::Ok, Ok(addition)),
            Err(fault) => fault,
        };
        let elapsed = env.clock.monotonic() - began;
        let wait = plan.policy.wait_after(&fault, attempts, env.random.ratio());
        match wait.filter(|it| elapsed + *it < plan.policy.give_up) {
            Some(wait) => env.clock.sleep(wait).await,
            None => {
                let timed_out = fault.cause == Cause::Timeout;
                let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Failed };
                return (attempts, outcome, Err(fault.reason));
            }
        }
    }
}

/// One try, bounded in time. A panic is this try's permanent fault and nobody else's.
async fn once(
    plan: &StagePlan,
    stage: &OpenStage,
    event: &Event,
    env: &Env,
) -> Result<Addition, Fault> {
    let timeout = plan.policy.timeout;
    let Enricher::Remote(remote) = &*stage.enricher else {
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
    pub fn wait_after(&self, fault: &Fault, attempts: u32, ratio: f64) -> Option<Duration> {
        if !self.retries_after(fault) || self.retries.is_some_and(|most| most < attempts) {
            return None;
        }
        let own = self.backoff.wait(attempts, ratio);
        let wished = fault.retry_after.map(|wish| wish.min(WISH_MAX));
        Some(wished.map_or(own, |wish| wish.max(own)))
    }

    /// Whether the fault is worth another try: what `retry on=` says decides, and without it the
    /// class of the fault.
    fn retries_after(&self, fault: &Fault) -> bool {
        if self.on.is_empty() { fault.is_transient() } else { self.covers(fault.cause) }
    }

    /// Whether the fault concerns everything that is sent there, so that deliveries wait for
    /// somebody who corrects it. `retry on=` may name its status, and then it is retried instead.
    pub fn pauses_for(&self, fault: &Fault) -> bool {
        let is_named = !self.on.is_empty() && self.covers(fault.cause);
        fault.class == FaultClass::Configuration && !is_named
    }

    fn covers(&self, cause: Cause) -> bool {
        let covers = |word: &String| match (word.as_str(), cause) {
            ("any", _) | ("timeout", Cause::Timeout) | ("connect", Cause::Connect) => true,
            ("5xx", Cause::Status(status)) => (500..600).contains(&status),
            ("4xx", Cause::Status(status)) => (400..500).contains(&status),
            (word, Cause::Status(status)) => word.parse() == Ok(status),
            _ => false,
        };
        self.on.iter().any(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Backoff;

    fn policy(on: &str) -> Policy {
        Policy {
            timeout: Duration::from_secs(1),
            retries: Some(1),
            on: on.split_whitespace().map(str::to_owned).collect(),
            give_up: Duration::from_secs(60),
            backoff: Backoff { has_jitter: false, ..Backoff::default() },
            breaker: None,
            rate: None,
            concurrency: 1,
        }
    }

    fn fault(status: u16) -> Fault {
        let class = match status {
            401 | 403 => FaultClass::Configuration,
            500..=599 => FaultClass::Transient,
            _ => FaultClass::Permanent,
        };
        let cause = Cause::Status(status);
        Fault { class, reason: status.to_string(), cause, retry_after: None }
    }

    /// What each policy does with each status: `r` retries, `p` pauses the target, `d` gives up.
    #[test]
    fn retry_on_decides_and_without_it_the_class_of_the_status() {
        let decided = |on: &str| -> String {
            let policy = policy(on);
            let decide = |status: &u16| {
                let fault = fault(*status);
                let retries = policy.wait_after(&fault, 1, 1.0).is_some();
                match (retries, policy.pauses_for(&fault)) {
                    (true, false) => 'r',
                    (false, true) => 'p',
                    (false, false) => 'd',
                    (true, true) => '!',
                }
            };
            [500, 404, 401, 403, 429].iter().map(decide).collect()
        };
        for (on, expected) in [
            ("", "rdppd"),
            ("5xx", "rdppd"),
            ("4xx", "drrrr"),
            ("any", "rrrrr"),
            ("404 429", "drppr"),
            ("timeout", "ddppd"),
            ("403", "ddprd"),
        ] {
            assert_eq!(decided(on), expected, "retry on={on:?}");
        }
    }

    #[test]
    fn the_wish_of_the_other_side_is_honoured_up_to_an_hour() {
        let mut busy = fault(503);
        let wait = |busy: &Fault| policy("").wait_after(busy, 1, 1.0).map(|it| it.as_millis());
        assert_eq!(wait(&busy), Some(200));
        busy.retry_after = Some(Duration::from_secs(7));
        assert_eq!(wait(&busy), Some(7000));
        busy.retry_after = Some(Duration::from_secs(86_400));
        assert_eq!(wait(&busy), Some(3_600_000));
    }
}
