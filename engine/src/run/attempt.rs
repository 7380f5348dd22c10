//! One call of a remote stage, with its tries. Waiting for a try holds no worker, no slot of the
//! stage and no place of another event: it is a timer in the event's own future.

use super::cache::AnswerCache;
use super::{OpenStage, PANICKED, condition};
use compiler::plan::StagePlan;
use kernel::attempts::{AttemptLog, AttemptRecord};
use kernel::env::{Env, within};
use kernel::event::{Event, Outcome};
use kernel::fault::{Cause, Fault};
use kernel::time::{Timestamp, write_duration};
use language::expr::Scope;
use smol::lock::Semaphore;
use stages::contract::{Addition, Enricher};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How a stage ended for one event.
#[derive(Debug)]
pub struct CallOutcome {
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
    pub error: Option<Fault>,
    /// Its tries, where there is more to say of them.
    pub attempt_log: AttemptLog,
}

impl CallOutcome {
    /// One call, made here and now, has ended.
    pub fn of_local(result: Result<Addition, Fault>, started: Timestamp, micros: u64) -> Self {
        let outcome = if result.is_ok() { Outcome::Ok } else { Outcome::Failed };
        let (addition, error) = match result {
            Ok(addition) => (Some(addition), None),
            Err(fault) => (None, Some(fault)),
        };
        let attempt_log = AttemptLog::default();
        CallOutcome { outcome, attempts: 1, started, micros, addition, error, attempt_log }
    }
}

/// What the tries of a call came to.
struct TriedCall {
    attempts: u32,
    outcome: Outcome,
    result: Result<Addition, Fault>,
    log: AttemptLog,
}

/// Asks a remote stage until it answers, faults for good, or its policy is exhausted. An answer
/// that is kept is as good as one that is asked for.
pub async fn ask(
    plan: &StagePlan,
    stage: Arc<OpenStage>,
    event: Arc<Event>,
    places: &Semaphore,
    env: &Env,
) -> CallOutcome {
    let (began, started) = (env.clock.monotonic(), env.clock.wall());
    let key = stage.cache.as_ref().and_then(|cache| key_of(cache, &stage, &event, env));
    let kept = stage.cache.as_ref().zip(key);
    let micros = |env: &Env| (env.clock.monotonic() - began).as_micros() as u64;
    let cached = |addition| CallOutcome {
        outcome: Outcome::Cached,
        attempts: 0,
        started,
        micros: micros(env),
        addition: Some(addition),
        error: None,
        attempt_log: AttemptLog::default(),
    };
    let mut flight = None;
    if let Some((cache, key)) = &kept {
        if let Some(addition) = cache.fresh(key, began) {
            return cached(addition);
        }
        // Events with the same question wait for the one that asks first, before they wait for a
        // place or the rate: they may need neither.
        flight = cache.join_flight(key).await;
        if let Some(addition) = cache.fresh(key, env.clock.monotonic()) {
            return cached(addition);
        }
    }
    let tried = tries(plan, &stage, &event, places, env).await;
    let ended = |outcome, addition, error| CallOutcome {
        outcome,
        attempts: tried.attempts,
        started,
        micros: micros(env),
        addition,
        error,
        attempt_log: tried.log,
    };
    let now = env.clock.monotonic();
    if let (Ok(Addition::Value(value)), Some((cache, key))) = (&tried.result, &kept) {
        cache.keep(key.clone(), value.clone(), now);
    }
    if let Some(flight) = flight {
        flight.end(now);
    }
    match (tried.result, kept) {
        (Ok(addition), _) => ended(tried.outcome, Some(addition), None),
        (Err(fault), kept) => {
            let stale = kept.and_then(|(cache, key)| cache.stale(&key, now));
            let outcome = if stale.is_some() { Outcome::Cached } else { tried.outcome };
            ended(outcome, stale, Some(fault))
        }
    }
}

/// What tells this question from others; a null key is never kept.
fn key_of(cache: &AnswerCache, stage: &OpenStage, event: &Event, env: &Env) -> Option<String> {
    match (&cache.settings().key, &*stage.enricher) {
        (Some(key), _) => {
            let scope = Scope::of(event, env.clock.wall());
            let value = key.value.eval(&scope);
            (!value.is_null()).then(|| value.identity())
        }
        (None, Enricher::Remote(remote)) => remote.question(event),
        (None, Enricher::Local(_) | Enricher::Memory(_)) => None,
    }
}

/// Tries until one succeeds or the policy allows no other.
async fn tries(
    plan: &StagePlan,
    stage: &OpenStage,
    event: &Event,
    places: &Semaphore,
    env: &Env,
) -> TriedCall {
    let began = env.clock.monotonic();
    let (mut attempts, mut log) = (0, AttemptLog::default());
    loop {
        stage.limits.in_turn(&*env.clock).await;
        let result = {
            let _place = places.acquire().await;
            let _slot = stage.slots.acquire().await;
            let admitted =
                stage.limits.breaker.as_ref().map(|breaker| breaker.admit(env.clock.monotonic()));
            let pass = match admitted.transpose() {
                Ok(pass) => pass,
                Err(wait) => {
                    let wait = write_duration(Duration::from_secs_f64(wait.as_secs_f64().ceil()));
                    let reason = format!("not called: its breaker is open for another {wait}");
                    let fault = Fault::transient(Cause::Other, reason);
                    let (outcome, result) = (Outcome::CircuitOpen, Err(fault));
                    return TriedCall { attempts, outcome, result, log };
                }
            };
            attempts += 1;
            let (at, since) = (env.clock.wall(), env.clock.monotonic());
            let result = once(plan, stage, event, env).await;
            if result.is_err() || 1 < attempts {
                let took = env.clock.monotonic() - since;
                log.push(AttemptRecord::new(at, took, result.as_ref().err()));
            }
            if let Some(pass) = pass {
                let is_fault = result.as_ref().is_err_and(|fault| fault.is_transient());
                pass.end(env.clock.monotonic(), is_fault);
            }
            result
        };
        let fault = match result {
            Ok(addition) => {
                condition::of_stage(&stage.health, Ok(()), false);
                let (outcome, result) = (Outcome::Ok, Ok(addition));
                return TriedCall { attempts, outcome, result, log };
            }
            Err(fault) => fault,
        };
        let elapsed = env.clock.monotonic() - began;
        let wait = plan.policy.wait_after(&fault, attempts, env.random.ratio());
        let wait = wait.filter(|it| elapsed + *it < plan.policy.give_up);
        condition::of_stage(&stage.health, Err(&fault), wait.is_some());
        match wait {
            Some(wait) => env.clock.sleep(wait).await,
            None => {
                let timed_out = fault.cause == Cause::Timeout;
                let outcome = if timed_out { Outcome::TimedOut } else { Outcome::Failed };
                // One alone is all that there is to say of the call.
                let log = if attempts == 1 { AttemptLog::default() } else { log };
                return TriedCall { attempts, outcome, result: Err(fault), log };
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
        Some(Err(_)) => Err(Fault::permanent(PANICKED)),
        None => {
            let reason = format!("no response within {}", write_duration(timeout));
            Err(Fault::transient(Cause::Timeout, reason))
        }
    }
}
