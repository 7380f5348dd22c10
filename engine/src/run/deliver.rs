//! Deliveries to the outside, out of the durable outbox, after the commit.
//!
//! One worker for each target, which owns it. It keeps nothing in memory that is not on disk, so a
//! crash, or the end of the worker, costs at most the attempts under way: their deliveries are
//! still pending, and their key tells the other side that it is the same.

mod settle;

use super::stop::StopSignal;
use super::target_pace::{CallEnd, PaceAllowance, PaceTicket, TargetPace};
use super::{Target, condition};
use crate::engine::{Engine, OutboxSeat};
use compiler::plan::{CallPolicy, WISH_MAX};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kernel::env::{Pending, within};
use kernel::event::Event;
use kernel::event::Globals;
use kernel::fault::{Cause, Fault};
use serde_json::{Map, Value};
use stages::contract::Outgoing;
use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use store::{Delivery, DueLimits, Entry, StoreFault, Stored};

/// Deliveries taken out of the outbox at once.
const CHUNK: DueLimits = DueLimits { first: 64, again: 64, bytes: 4 << 20 };
/// The same for a target that fails: one, and another in place of the one that failed last.
const PROBE: DueLimits = DueLimits { first: 2, again: 2, bytes: 4 << 20 };
/// A worker with nothing to do looks again after this, as a net under the signals.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a worker waits after a fault of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Works off the deliveries of one target.
pub struct DeliveryWorker {
    engine: Arc<Engine>,
    target: Arc<Target>,
    seat: OutboxSeat,
    /// Due deliveries that were read and not begun.
    queue: VecDeque<(Delivery, Option<Stored>)>,
    /// Numbers of the events whose delivery is under way.
    under_way: BTreeSet<u64>,
    pace: Arc<TargetPace>,
}

/// What a worker waits for.
enum Wake {
    /// The attempt at the delivery of this event has ended.
    Ended(u64),
    /// Something may be due.
    Look,
    Stop,
}

impl DeliveryWorker {
    /// A worker with nothing under way. There is one for each target: it holds the target's seat.
    pub fn new(engine: Arc<Engine>, target: Arc<Target>) -> Self {
        let seat = engine.outbox().seat(&target.name);
        let (queue, under_way) = (VecDeque::new(), BTreeSet::new());
        DeliveryWorker { engine, target, seat, queue, under_way, pace: Arc::default() }
    }

    /// Delivers until it is time to stop; then the attempts under way end first.
    pub async fn run(mut self, stop: &StopSignal) -> Result<(), Fault> {
        let mut attempts: FuturesUnordered<Pending<'_, u64>> = FuturesUnordered::new();
        loop {
            let news = self.seat.listen();
            let wait = if stop.is_raised() {
                LOOK_EVERY
            } else {
                self.begin(&mut attempts).await.unwrap_or_else(|fault| {
                    tracing::debug!(target = &*self.target.name, reason = %fault, "the outbox could not be read");
                    STORE_PAUSE
                })
            };
            let look = async {
                smol::future::or(news, self.engine.env.clock.sleep(wait)).await;
                Wake::Look
            };
            let ended = async {
                match attempts.next().await {
                    Some(seq) => Wake::Ended(seq),
                    None if stop.is_raised() => Wake::Stop,
                    None => smol::future::pending().await,
                }
            };
            let stopped = async {
                if stop.is_raised() {
                    smol::future::pending::<()>().await;
                }
                stop.raised().await;
                Wake::Stop
            };
            match smol::future::or(ended, smol::future::or(stopped, look)).await {
                Wake::Ended(seq) => {
                    let was_under_way = self.under_way.remove(&seq);
                    assert!(was_under_way, "only what is under way ends");
                }
                Wake::Look => {}
                Wake::Stop if attempts.is_empty() => return Ok(()),
                Wake::Stop => self.queue.clear(),
            }
        }
    }

    /// The same with a future that says when.
    pub async fn run_until(self, end: impl Future<Output = ()>) {
        let stop = StopSignal::default();
        let ending = async {
            end.await;
            stop.raise();
        };
        smol::future::zip(self.run(&stop), ending).await.0.ok();
    }

    /// Begins what is due and allowed; how long to wait for more.
    async fn begin(
        &mut self,
        attempts: &mut FuturesUnordered<Pending<'_, u64>>,
    ) -> Result<Duration, StoreFault> {
        let clock = self.engine.env.clock.clone();
        while self.under_way.len() < self.target.policy.concurrency {
            let now = clock.monotonic();
            let breaker = self.target.limits.breaker.as_ref();
            if let Some(wait) = breaker.and_then(|it| it.open_for(now)) {
                return Ok(wait);
            }
            let limits = match self.pace.allowance(now) {
                PaceAllowance::Wait(wait) => return Ok(wait),
                PaceAllowance::Probe => {
                    self.queue.clear();
                    PROBE
                }
                PaceAllowance::Work { again } => {
                    DueLimits { again: CHUNK.again.min(again as usize), ..CHUNK }
                }
            };
            if self.queue.is_empty()
                && let Some(wait) = self.fill(limits).await?
            {
                return Ok(wait);
            }
            let rate = self.target.limits.rate.as_ref();
            if let Some(rate) = rate.filter(|it| !it.take(clock.monotonic())) {
                return Ok(rate.wait(clock.monotonic()).max(Duration::from_millis(1)));
            }
            let (delivery, stored) = self.queue.pop_front().expect("it was filled just now");
            let (seq, now) = (delivery.seq, clock.monotonic());
            // It may have begun to fail while the outbox was read.
            let Some(ticket) = self.pace.begin(seq, delivery.is_retry(), now) else { continue };
            let is_new = self.under_way.insert(seq);
            assert!(is_new, "a delivery is under way once");
            let (engine, target) = (self.engine.clone(), self.target.clone());
            attempts.push(Box::pin(async move {
                attempt(&engine, &target, ticket, delivery, stored).await;
                seq
            }));
        }
        Ok(LOOK_EVERY)
    }

    /// Reads what is due; how long until something is, where nothing is now.
    async fn fill(&mut self, limits: DueLimits) -> Result<Option<Duration>, StoreFault> {
        let now = self.engine.env.clock.wall();
        let (name, under_way) = (self.target.name.clone(), self.under_way.clone());
        let (mut due, events, next) = self
            .engine
            .store
            .read(move |reader| {
                // What is under way is due as well.
                let (first, again) =
                    (limits.first + under_way.len(), limits.again + under_way.len());
                let mut due = reader.due(&name, now, DueLimits { first, again, ..limits })?;
                due.retain(|delivery| !under_way.contains(&delivery.seq));
                let seqs: Vec<u64> = due.iter().map(|delivery| delivery.seq).collect();
                Ok((due, reader.intact_by_seq(&seqs)?, reader.next_due(&name)?))
            })
            .await?;
        let mut retries = 0;
        due.retain(|delivery| {
            retries += usize::from(delivery.is_retry());
            !delivery.is_retry() || retries <= limits.again
        });
        if due.is_empty() {
            // Whatever is due beside the limits waits for its turn.
            let least = self.pace.retry_wait(self.engine.env.clock.monotonic());
            let wait = next.map_or(LOOK_EVERY, |at| at.since(now).max(least));
            // What is under way is due all the same, and its end wakes the worker.
            let wait = if self.under_way.is_empty() { wait } else { LOOK_EVERY };
            return Ok(Some(wait.clamp(Duration::from_millis(1), LOOK_EVERY)));
        }
        if limits == PROBE {
            let seqs: Vec<u64> = due.iter().map(|delivery| delivery.seq).collect();
            due =
                self.pace.probe_of(&seqs).map(|index| due.swap_remove(index)).into_iter().collect();
        }
        let stored = |delivery: &Delivery| events.iter().find(|it| it.seq == delivery.seq).cloned();
        self.queue.extend(due.into_iter().map(|delivery| {
            let event = stored(&delivery);
            (delivery, event)
        }));
        Ok(None)
    }
}

/// One attempt, up to the commit that settles it. Where it is not made, or a stop comes before its
/// end is stored, the delivery is as it was, and the key of the next attempt tells the other side
/// that it is the same.
async fn attempt(
    engine: &Engine,
    target: &Target,
    ticket: PaceTicket,
    delivery: Delivery,
    stored: Option<Stored>,
) {
    let clock = &*engine.env.clock;
    let admitted = target.limits.breaker.as_ref().map(|it| it.admit(clock.monotonic()));
    let Ok(permit) = admitted.transpose() else { return };
    let result = match stored.and_then(|stored| outgoing(engine, target, stored)) {
        Some(outgoing) => {
            let result = call(engine, target, outgoing).await;
            let backoff = |count| target.policy.backoff.wait(count, engine.env.random.ratio());
            ticket.end(end_of(&target.policy, &result), clock.monotonic(), backoff);
            result
        }
        None => Err(Fault::permanent("the event is missing or damaged")),
    };
    if let Some(permit) = permit {
        permit.end(clock.monotonic(), result.as_ref().is_err_and(Fault::is_transient));
    }
    condition::of_target(target.health(), result.as_ref().copied());
    if engine.is_stopping() && result.is_err() {
        // A stop changes no delivery's state: what did not finish stays pending.
        return;
    }
    let settlement = settle::settlement(engine, target, &delivery, result);
    engine.metrics.delivered(&target.name, settlement.state.word());
    // However long the store takes: until it is noted, the call would be made again.
    while engine.store.submit(vec![Entry::Settle(settlement.clone())]).await.is_err() {
        if engine.is_stopping() || engine.store.is_broken() {
            return;
        }
        clock.sleep(STORE_PAUSE).await;
    }
}

/// What the end of a call says about the target.
fn end_of(policy: &CallPolicy, result: &Result<(), Fault>) -> CallEnd {
    match result {
        Err(fault) if policy.pauses_for(fault) => CallEnd::Rejected,
        // The other side's wish is honoured up to an hour.
        Err(fault) if fault.is_transient() => {
            CallEnd::Fault { retry_after: fault.retry_after.map(|it| it.min(WISH_MAX)) }
        }
        _ => CallEnd::Answered,
    }
}

/// The call itself, bounded in time. A panic is this attempt's permanent fault and nobody else's.
async fn call(engine: &Engine, target: &Target, outgoing: Outgoing) -> Result<(), Fault> {
    let timeout = target.policy.timeout;
    let call = AssertUnwindSafe(target.deliver(outgoing)).catch_unwind();
    match within(&*engine.env.clock, timeout, call).await {
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(Fault::permanent(format!("`{}` panicked", target.name))),
        None => {
            let shown = kernel::time::write_duration(timeout);
            Err(Fault::transient(Cause::Timeout, format!("no response within {shown}")))
        }
    }
}

fn outgoing(engine: &Engine, target: &Target, stored: Stored) -> Option<Outgoing> {
    let event = event_of(&stored, engine.generation().plan.globals.clone())?;
    let key = format!("{}/{}", stored.envelope.id, target.name);
    let timeout = target.policy.timeout;
    Some(Outgoing { event, stored: Arc::new(stored), key, timeout })
}

/// A stored event as expressions read it.
pub fn event_of(stored: &Stored, globals: Arc<Globals>) -> Option<Event> {
    let data: Value = serde_json::from_str(stored.body.data_text()).ok()?;
    let enrich: Map<String, Value> = serde_json::from_str(&stored.enrich).ok()?;
    Some(Event {
        seq: stored.seq,
        generation: stored.generation,
        envelope: stored.envelope.clone(),
        body: stored.body.clone(),
        data: Arc::new(data),
        raw: stored.body.message().and_then(|it| serde_json::from_slice(it).ok()).map(Arc::new),
        enrich,
        globals,
    })
}
