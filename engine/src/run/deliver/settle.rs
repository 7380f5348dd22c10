//! What an attempt at a delivery comes to in the store.

use crate::engine::Engine;
use crate::run::Target;
use kernel::attempts::AttemptRecord;
use kernel::fault::Fault;
use kernel::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use store::{DeadLetter, DeadLetterWhat, Delivery, DeliveryState, REPLACED, Settlement};

/// A delivery of a call that has ended.
pub(super) struct EndedDelivery {
    pub(super) delivery: Delivery,
    pub(super) result: Result<String, Fault>,
    /// When the call began and how long it took; `None` where it was not made.
    pub(super) call: Option<(Timestamp, Duration)>,
}

/// Done, pending for a later attempt, or dead.
pub(super) fn settlement(engine: &Engine, target: &Target, ended: EndedDelivery) -> Settlement {
    let EndedDelivery { delivery, result, call } = ended;
    let now = engine.env.clock.wall();
    let mut settlement = Settlement {
        sink: target.name.clone(),
        seq: delivery.seq,
        state: DeliveryState::Done,
        attempts: delivery.attempts + 1,
        not_before: now,
        error: None,
        letter: None,
        receipt: None,
        attempt: call.map(|(began, took)| AttemptRecord::new(began, took, result.as_ref().err())),
    };
    let fault = match result {
        Ok(receipt) => {
            settlement.receipt = delivery.changes().map(|_| receipt);
            return settlement;
        }
        Err(fault) => fault,
    };
    let policy = &target.policy;
    settlement.error = Some(fault.reason.clone());
    if policy.pauses_for(&fault) {
        // It says nothing about this delivery: no attempt is spent on it.
        settlement.state = DeliveryState::Pending;
        settlement.attempts = delivery.attempts;
        return settlement;
    }
    let wait = policy.wait_after(&fault, settlement.attempts, engine.env.random.ratio());
    let age = engine.tried_for(&target.name, delivery.created);
    match wait.filter(|wait| age + *wait < policy.give_up) {
        Some(wait) => {
            settlement.state = DeliveryState::Pending;
            settlement.not_before = now.plus(wait);
        }
        // It was sent before; this time it was not.
        None if 0 < delivery.repeats => {}
        None => {
            settlement.state = DeliveryState::Dead;
            settlement.letter = Some(Box::new(letter(target, &settlement, &delivery, fault)));
        }
    }
    settlement
}

/// The message of a newer event takes its place.
pub(super) fn replaced(engine: &Engine, delivery: &Delivery) -> Settlement {
    Settlement {
        sink: delivery.sink.clone(),
        seq: delivery.seq,
        state: DeliveryState::Suppressed,
        attempts: delivery.attempts,
        not_before: engine.env.clock.wall(),
        error: Some(REPLACED.to_owned()),
        letter: None,
        receipt: None,
        attempt: None,
    }
}

fn letter(
    target: &Target,
    settlement: &Settlement,
    delivery: &Delivery,
    fault: Fault,
) -> DeadLetter {
    DeadLetter {
        id: 0,
        what: DeadLetterWhat::Delivery,
        seq: Some(delivery.seq),
        source_node: target.name.clone(),
        source: None,
        event_id: None,
        stage: target.name.clone(),
        class: fault.class.word(),
        reason: fault.reason,
        attempts: settlement.attempts,
        first: delivery.created,
        last: settlement.not_before,
        generation: 0,
        body: Arc::from(&b""[..]),
        mapped: None,
        context: None,
    }
}
