//! Deliveries to the outside, out of the durable outbox, after the commit.
//!
//! One worker per outlet. It keeps nothing in memory that is not on disk, so a crash costs at
//! most the attempts under way.

use super::{Generation, Outlet};
use crate::engine::Engine;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value};
use stages::contract::{Cause, Fault, Outgoing};
use stages::env::within;
use stages::event::Event;
use stages::store::{
    DeadLetter, DeadLetterWhat, Delivery, DeliveryState, Entry, Settlement, StoreFault, Stored,
};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Deliveries taken out of the outbox at once.
const CHUNK: usize = 64;
/// A worker with nothing to do looks again after this, as a net under the signals.
const LOOK: Duration = Duration::from_secs(60);

/// Delivers to the outlet of this name for as long as the running generation has it.
pub async fn work(engine: Arc<Engine>, name: Arc<str>) {
    let signal = engine.outbox().signal(&name);
    loop {
        let told = signal.listen();
        let generation = engine.generation();
        let Some(outlet) = generation.outlets.get(&name).cloned() else { return };
        if engine.is_stopping() {
            return;
        }
        let pause = match round(&engine, &generation, &outlet).await {
            Ok(Next::AtOnce) => continue,
            Ok(Next::Later(pause)) => pause.min(LOOK),
            Err(fault) => {
                tracing::warn!(sink = &*name, reason = %fault, "the outbox could not be read");
                Duration::from_secs(1)
            }
        };
        drop(generation);
        let slept = engine.env.clock.sleep(pause);
        smol::future::or(smol::future::or(told, slept), engine.when_stopped()).await;
    }
}

enum Next {
    AtOnce,
    Later(Duration),
}

/// One chunk of what is due.
async fn round(
    engine: &Arc<Engine>,
    generation: &Generation,
    outlet: &Arc<Outlet>,
) -> Result<Next, StoreFault> {
    // While its breaker is open, what is due stays as it is: no try is spent on it.
    let open =
        outlet.gate.circuit.as_ref().and_then(|it| it.open_for(engine.env.clock.monotonic()));
    if let Some(wait) = open {
        return Ok(Next::Later(wait));
    }
    let now = engine.env.clock.wall();
    let sink = outlet.name.clone();
    let (due, events, next) = engine
        .store
        .read(move |it| {
            let due = it.due(&sink, now, CHUNK)?;
            let seqs: Vec<u64> = due.iter().map(|it| it.seq).collect();
            Ok((due, it.intact_by_seq(&seqs)?, it.next_due(&sink)?))
        })
        .await?;
    if due.is_empty() {
        let wait = next.map_or(LOOK, |it| it.since(now).max(Duration::from_millis(1)));
        return Ok(Next::Later(wait));
    }
    let pipeline = &generation.plan.name;
    let monotonic = engine.env.clock.monotonic();
    let pace = outlet.gate.pace.as_ref();
    let due: Vec<Delivery> =
        due.into_iter().take_while(|_| pace.is_none_or(|it| it.take(monotonic))).collect();
    if let Some(pace) = pace.filter(|_| due.is_empty()) {
        return Ok(Next::Later(pace.wait(monotonic).max(Duration::from_millis(1))));
    }
    stream::iter(due)
        .for_each_concurrent(outlet.policy.concurrency, |delivery| {
            let stored = events.iter().find(|it| it.seq == delivery.seq).cloned();
            attempt(engine, outlet, delivery, stored, pipeline)
        })
        .await;
    Ok(Next::AtOnce)
}

async fn attempt(
    engine: &Arc<Engine>,
    outlet: &Arc<Outlet>,
    delivery: Delivery,
    stored: Option<Stored>,
    pipeline: &str,
) {
    let timeout = outlet.policy.timeout;
    let clock = &*engine.env.clock;
    let admitted = outlet.gate.circuit.as_ref().map(|it| it.admit(clock.monotonic()));
    let Ok(pass) = admitted.transpose() else { return };
    let result = match outgoing(stored, &outlet.name, timeout) {
        None => Err(Fault::permanent("the event is gone or damaged")),
        Some(outgoing) => {
            let call = AssertUnwindSafe(outlet.deliver(outgoing)).catch_unwind();
            match within(clock, timeout, call).await {
                Some(Ok(result)) => result,
                Some(Err(_)) => Err(Fault::permanent(format!("`{}` panicked", outlet.name))),
                None => {
                    Err(Fault::transient(Cause::Timeout, format!("no answer within {timeout:?}")))
                }
            }
        }
    };
    if let Some(pass) = pass {
        pass.end(clock.monotonic(), result.as_ref().is_err_and(|it| it.is_transient()));
    }
    if engine.is_stopping() && result.is_err() {
        // A stop changes no delivery's state: what did not finish stays pending.
        return;
    }
    let settlement = settle(engine, outlet, &delivery, result);
    engine.metrics.delivered(&outlet.name, settlement.state.word());
    if let Some(error) = &settlement.error {
        tracing::debug!(sink = &*outlet.name, seq = delivery.seq, pipeline, error, "not delivered");
    }
    keep(engine, &outlet.name, Entry::Settle(settlement)).await;
}

/// Notes how an attempt ended, however long the store takes: until then it would be made again.
/// A stop or a broken store leaves it pending; the key tells the other side that it is the same.
async fn keep(engine: &Arc<Engine>, name: &Arc<str>, settlement: Entry) {
    while let Err(fault) = engine.store.submit(vec![settlement.clone()]).await {
        tracing::debug!(sink = &**name, reason = %fault, "a delivery could not be settled");
        if engine.is_stopping() || engine.store.is_broken() {
            return;
        }
        engine.env.clock.sleep(Duration::from_secs(1)).await;
    }
}

fn settle(
    engine: &Engine,
    outlet: &Outlet,
    delivery: &Delivery,
    result: Result<(), Fault>,
) -> Settlement {
    let now = engine.env.clock.wall();
    let attempts = delivery.attempts + 1;
    let mut settlement = Settlement {
        sink: outlet.name.clone(),
        seq: delivery.seq,
        state: DeliveryState::Done,
        attempts,
        not_before: now,
        error: None,
        letter: None,
    };
    let Err(fault) = result else { return settlement };
    let policy = &outlet.policy;
    let wait = policy.wait_after(&fault, attempts, engine.env.random.ratio());
    let age = now.since(delivery.created);
    settlement.error = Some(fault.reason.clone());
    match wait.filter(|it| age + *it < policy.give_up) {
        Some(wait) => {
            settlement.state = DeliveryState::Pending;
            settlement.not_before = now.plus(wait);
        }
        None => {
            settlement.state = DeliveryState::Dead;
            settlement.letter = Some(Box::new(DeadLetter {
                id: 0,
                what: DeadLetterWhat::Delivery,
                seq: Some(delivery.seq),
                source_node: outlet.name.clone(),
                source: None,
                event_id: None,
                stage: outlet.name.clone(),
                class: fault.class.word(),
                reason: fault.reason,
                attempts,
                first: delivery.created,
                last: now,
                generation: 0,
                body: Arc::from(&b""[..]),
            }));
        }
    }
    settlement
}

fn outgoing(stored: Option<Stored>, sink: &str, timeout: Duration) -> Option<Outgoing> {
    let stored = stored?;
    let event = event_of(&stored)?;
    let key = format!("{}/{sink}", stored.envelope.id);
    Some(Outgoing { event, stored: Arc::new(stored), key, timeout })
}

/// A stored event as expressions read it.
pub fn event_of(stored: &Stored) -> Option<Event> {
    let data: Value = serde_json::from_str(stored.body.data_text()).ok()?;
    let enrich: Map<String, Value> = serde_json::from_str(&stored.enrich).ok()?;
    Some(Event {
        seq: stored.seq,
        generation: stored.generation,
        envelope: stored.envelope.clone(),
        body: stored.body.clone(),
        data: Arc::new(data),
        raw: serde_json::from_slice(&stored.body.bytes).ok().map(Arc::new),
        enrich,
    })
}
