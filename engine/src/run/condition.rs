//! What the end of a call says about the health of the stage or target that made it.

use crate::engine::Engine;
use kernel::fault::{Cause, Fault, FaultClass};
use kernel::health::{HealthProblem, PartHealth, PartRole};

/// The code of a part whose credentials are rejected.
pub const UNAUTHORIZED: &str = "unauthorized";
/// The code of a part that rejected what it was given.
pub const REJECTED: &str = "rejected";

/// The code of a target for which a delivery was retried in vain.
const GIVEN_UP: &str = "given-up";

/// What a call that succeeds ends. What a kind reports by itself is over when the kind says so.
const OF_CALLS: [&str; 8] = [
    GIVEN_UP,
    UNAUTHORIZED,
    REJECTED,
    Cause::Timeout.code(),
    Cause::Connect.code(),
    Cause::Status(0).code(),
    Cause::Path.code(),
    Cause::Other.code(),
];

/// A call of a target has ended, after which so many deliveries were given up.
pub fn of_target(health: &PartHealth, result: Result<(), &Fault>, given_up: usize) {
    let Err(fault) = result else { return has_succeeded(health) };
    // A fault of the delivery says so by itself.
    if 0 < given_up && fault.class == FaultClass::Transient {
        let reason =
            format!("a delivery failed for good and is now a dead letter: {}", fault.reason);
        let advice = "redrive it once the cause is fixed";
        health.report(HealthProblem::degraded(GIVEN_UP, reason).advise(advice));
    }
    let advice = match fault.class {
        _ if 0 < given_up => "redrive it once the cause is fixed",
        FaultClass::Configuration if fault.cause == Cause::Path => {
            "its deliveries wait: correct the path or its permissions; it is retried automatically"
        }
        FaultClass::Configuration => {
            "its deliveries wait: correct the token or the permission; it is retried automatically"
        }
        FaultClass::Transient => "deliveries are retried according to the policy",
        FaultClass::Permanent => {
            "the delivery is a dead letter; redrive it once the cause is fixed"
        }
    };
    health.report(problem(fault).advise(advice));
}

/// A call of a stage has ended; after a fault, it may be retried.
pub fn of_stage(health: &PartHealth, result: Result<(), &Fault>, is_retried: bool) {
    let Err(fault) = result else { return has_succeeded(health) };
    let advice = match fault.class {
        FaultClass::Configuration => "correct the token or the permission",
        _ if is_retried => "the call is retried; after the last retry, `on-error` decides",
        FaultClass::Transient | FaultClass::Permanent => {
            "`on-error` decides what happens to the event"
        }
    };
    health.report(problem(fault).advise(advice));
}

/// Why a target takes nothing until somebody changes something: a token, a permission, a path.
pub fn waits_for_change(engine: &Engine, target: &str) -> Option<String> {
    let health = &engine.env.health;
    let report = health.of(health.part(PartRole::Target, target).part())?;
    let is_change = |code: &str| code == UNAUTHORIZED || code == Cause::Path.code();
    let problem = report.problems.iter().find(|open| is_change(open.problem.code))?;
    Some(format!("`{target}`: {}", problem.problem.reason))
}

fn has_succeeded(health: &PartHealth) {
    OF_CALLS.iter().for_each(|it| health.clear(it));
}

fn problem(fault: &Fault) -> HealthProblem {
    let reason = fault.reason.clone();
    match fault.class {
        FaultClass::Configuration if fault.cause == Cause::Path => {
            HealthProblem::failed(fault.cause.code(), reason)
        }
        FaultClass::Configuration => HealthProblem::failed(UNAUTHORIZED, reason),
        FaultClass::Transient => HealthProblem::degraded(fault.cause.code(), reason),
        FaultClass::Permanent => HealthProblem::degraded(REJECTED, reason),
    }
}
