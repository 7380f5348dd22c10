//! What the end of a call says about the health of the stage or target that made it.

use kernel::fault::{Cause, Fault, FaultClass};
use kernel::health::{HealthProblem, PartHealth};

/// The code of a part whose credentials are rejected.
pub const UNAUTHORIZED: &str = "unauthorized";
/// The code of a part that rejected what it was given.
pub const REJECTED: &str = "rejected";

/// The code of a target for which a delivery was retried in vain.
const GIVEN_UP: &str = "given-up";

/// What a call that succeeds ends. What a kind reports by itself is over when the kind says so.
const OF_CALLS: [&str; 7] = [
    GIVEN_UP,
    UNAUTHORIZED,
    REJECTED,
    Cause::Timeout.code(),
    Cause::Connect.code(),
    Cause::Status(0).code(),
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

/// A call of a stage has ended.
pub fn of_stage(health: &PartHealth, result: Result<(), &Fault>) {
    let Err(fault) = result else { return has_succeeded(health) };
    let advice = match fault.class {
        FaultClass::Configuration => "correct the token or the permission",
        FaultClass::Transient => {
            "calls are retried according to the policy; then `on-error` decides"
        }
        FaultClass::Permanent => "`on-error` decides what happens to the event",
    };
    health.report(problem(fault).advise(advice));
}

fn has_succeeded(health: &PartHealth) {
    OF_CALLS.iter().for_each(|it| health.clear(it));
}

fn problem(fault: &Fault) -> HealthProblem {
    let reason = fault.reason.clone();
    match fault.class {
        FaultClass::Configuration => HealthProblem::failed(UNAUTHORIZED, reason),
        FaultClass::Transient => HealthProblem::degraded(fault.cause.code(), reason),
        FaultClass::Permanent => HealthProblem::degraded(REJECTED, reason),
    }
}
