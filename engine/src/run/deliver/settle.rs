//! What an attempt at a delivery comes to in the store.

use crate::engine::Engine;
use crate::run::Target;
use kernel::fault::Fault;
use std::sync::Arc;
use store::{DeadLetter, DeadLetterWhat, Delivery, DeliveryState, Settlement};

/// Done, pending for a later attempt, or dead.
pub(super) fn settlement(
    engine: &Engine,
    target: &Target,
    delivery: &Delivery,
    result: Result<(), Fault>,
) -> Settlement {
    let now = engine.env.clock.wall();
    let mut settlement = Settlement {
        sink: target.name.clone(),
        seq: delivery.seq,
        state: DeliveryState::Done,
        attempts: delivery.attempts + 1,
        not_before: now,
        error: None,
        letter: None,
    };
    let Err(fault) = result else { return settlement };
    let policy = &target.policy;
    settlement.error = Some(fault.reason.clone());
    if policy.pauses_for(&fault) {
        // It says nothing about this delivery: no attempt is spent on it.
        settlement.state = DeliveryState::Pending;
        settlement.attempts = delivery.attempts;
        return settlement;
    }
    let wait = policy.wait_after(&fault, settlement.attempts, engine.env.random.ratio());
    let age = now.since(delivery.created);
    match wait.filter(|wait| age + *wait < policy.give_up) {
        Some(wait) => {
            settlement.state = DeliveryState::Pending;
            settlement.not_before = now.plus(wait);
        }
        None => {
            settlement.state = DeliveryState::Dead;
            settlement.letter = Some(Box::new(letter(target, &settlement, delivery, fault)));
        }
    }
    settlement
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
