//! Deliveries to the outside, out of the durable outbox, after the commit.
//!
//! One worker for each target, which owns it. It keeps nothing in memory that is not on disk, so a
//! crash, or the end of the worker, costs at most the attempts under way: their deliveries are
//! still pending, and their key tells the other side that it is the same.

mod settle;

use super::stop::StopSignal;
use super::{Target, condition};
use crate::engine::{Engine, OutboxSeat};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Map, Value};
use stages::contract::{Cause, Fault, Outgoing};
use stages::env::{Pending, within};
use stages::event::Event;
use stages::language::Globals;
use stages::store::{Delivery, Entry, StoreFault, Stored};
use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// Deliveries taken out of the outbox at once.
const CHUNK: usize = 64;
/// A worker with nothing to do looks again after this, as a net under the signals.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a worker waits after a fault of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The first wait of a target that rejects its credentials, and the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(15);
const PAUSE_MAX: Duration = Duration::from_secs(900);

/// Works off the deliveries of one target.
pub struct DeliveryWorker {
    engine: Arc<Engine>,
    target: Arc<Target>,
    seat: OutboxSeat,
    /// Due deliveries that were read and not begun.
    queue: VecDeque<(Delivery, Option<Stored>)>,
    /// Numbers of the events whose delivery is under way.
    under_way: BTreeSet<u64>,
    /// While the target rejects its credentials.
    pause: Option<Pause>,
}

/// A target that takes nothing until somebody changes something; one delivery probes it.
#[derive(Debug, Clone, Copy)]
struct Pause {
    /// When the next probe is due, on the monotonic clock.
    until: Duration,
    wait: Duration,
}

/// How one attempt ended, as far as the worker is concerned.
struct AttemptEnd {
    seq: u64,
    outcome: AttemptOutcome,
}

enum AttemptOutcome {
    Done,
    /// It was not made, or its end could not be stored: the delivery is as it was.
    Unsettled,
    /// The other side rejects us, whatever we send.
    Unauthorized,
    Failed,
}

/// What a worker waits for.
enum Wake {
    Ended(AttemptEnd),
    /// Something may be due.
    Look,
    Stop,
}

impl DeliveryWorker {
    /// A worker with nothing under way. There is one for each target: it holds the target's seat.
    pub fn new(engine: Arc<Engine>, target: Arc<Target>) -> Self {
        let seat = engine.outbox().seat(&target.name);
        let (queue, under_way) = (VecDeque::new(), BTreeSet::new());
        DeliveryWorker { engine, target, seat, queue, under_way, pause: None }
    }

    /// Delivers until it is time to stop; then the attempts under way end first.
    pub async fn run(mut self, stop: &StopSignal) -> Result<(), Fault> {
        let mut attempts: FuturesUnordered<Pending<'_, AttemptEnd>> = FuturesUnordered::new();
        loop {
            let news = self.seat.listen();
            let wait = if stop.is_raised() {
                LOOK_EVERY
            } else {
                self.begin(&mut attempts).await.unwrap_or_else(|fault| {
                    tracing::debug!(target = &*self.target.name, reason = %fault, "outbox not read");
                    STORE_PAUSE
                })
            };
            let look = async {
                smol::future::or(news, self.engine.env.clock.sleep(wait)).await;
                Wake::Look
            };
            let ended = async {
                match attempts.next().await {
                    Some(end) => Wake::Ended(end),
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
                Wake::Ended(end) => self.note(&end),
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
        attempts: &mut FuturesUnordered<Pending<'_, AttemptEnd>>,
    ) -> Result<Duration, StoreFault> {
        let clock = self.engine.env.clock.clone();
        while self.under_way.len() < self.places() {
            let now = clock.monotonic();
            if let Some(wait) = self.obstacle(now) {
                return Ok(wait);
            }
            if self.queue.is_empty()
                && let Some(wait) = self.fill().await?
            {
                return Ok(wait);
            }
            let rate = self.target.limits.rate.as_ref();
            if let Some(rate) = rate.filter(|it| !it.take(clock.monotonic())) {
                return Ok(rate.wait(clock.monotonic()).max(Duration::from_millis(1)));
            }
            let (delivery, stored) = self.queue.pop_front().expect("it was filled just now");
            let is_new = self.under_way.insert(delivery.seq);
            assert!(is_new, "a delivery is under way once");
            let (engine, target) = (self.engine.clone(), self.target.clone());
            attempts.push(Box::pin(attempt(engine, target, delivery, stored)));
        }
        Ok(LOOK_EVERY)
    }

    /// Deliveries that may be under way at once; one alone probes a paused target.
    fn places(&self) -> usize {
        if self.pause.is_some() { 1 } else { self.target.policy.concurrency }
    }

    /// How long nothing may be sent, when that is so: no attempt is spent on it.
    fn obstacle(&self, now: Duration) -> Option<Duration> {
        let paused = self.pause.filter(|it| now < it.until).map(|it| it.until - now);
        let breaker = self.target.limits.breaker.as_ref();
        paused.or_else(|| breaker.and_then(|it| it.open_for(now)))
    }

    /// Reads what is due; how long until something is, where nothing is now.
    async fn fill(&mut self) -> Result<Option<Duration>, StoreFault> {
        let now = self.engine.env.clock.wall();
        let (name, limit) = (self.target.name.clone(), CHUNK + self.under_way.len());
        let under_way = self.under_way.clone();
        let (due, events, next) = self
            .engine
            .store
            .read(move |reader| {
                let mut due = reader.due(&name, now, limit)?;
                due.retain(|delivery| !under_way.contains(&delivery.seq));
                let seqs: Vec<u64> = due.iter().map(|delivery| delivery.seq).collect();
                Ok((due, reader.by_seq(&seqs)?, reader.next_due(&name)?))
            })
            .await?;
        if due.is_empty() {
            let wait = next.map_or(LOOK_EVERY, |at| at.since(now).max(Duration::from_millis(1)));
            // What is under way is due all the same, and its end wakes the worker.
            let wait = if self.under_way.is_empty() { wait } else { LOOK_EVERY };
            return Ok(Some(wait.min(LOOK_EVERY)));
        }
        let stored = |delivery: &Delivery| events.iter().find(|it| it.seq == delivery.seq).cloned();
        self.queue.extend(due.into_iter().map(|delivery| {
            let event = stored(&delivery);
            (delivery, event)
        }));
        Ok(None)
    }

    /// An attempt has ended.
    fn note(&mut self, end: &AttemptEnd) {
        let was_under_way = self.under_way.remove(&end.seq);
        assert!(was_under_way, "only what is under way ends");
        match end.outcome {
            AttemptOutcome::Unauthorized => {
                let wait = self.pause.map_or(PAUSE_FIRST, |it| (it.wait * 2).min(PAUSE_MAX));
                let until = self.engine.env.clock.monotonic() + wait;
                self.pause = Some(Pause { until, wait });
                self.queue.clear();
            }
            AttemptOutcome::Done | AttemptOutcome::Failed => self.pause = None,
            AttemptOutcome::Unsettled => {}
        }
    }
}

/// One attempt, up to the commit that settles it.
async fn attempt(
    engine: Arc<Engine>,
    target: Arc<Target>,
    delivery: Delivery,
    stored: Option<Stored>,
) -> AttemptEnd {
    let seq = delivery.seq;
    let clock = &*engine.env.clock;
    let admitted = target.limits.breaker.as_ref().map(|it| it.admit(clock.monotonic()));
    let Ok(permit) = admitted.transpose() else {
        return AttemptEnd { seq, outcome: AttemptOutcome::Unsettled };
    };
    let result = call(&engine, &target, stored).await;
    if let Some(permit) = permit {
        permit.end(clock.monotonic(), result.as_ref().is_err_and(Fault::is_transient));
    }
    condition::of_target(target.health(), result.as_ref().copied());
    if engine.is_stopping() && result.is_err() {
        // A stop changes no delivery's state: what did not finish stays pending.
        return AttemptEnd { seq, outcome: AttemptOutcome::Unsettled };
    }
    let outcome = match &result {
        Ok(()) => AttemptOutcome::Done,
        Err(fault) if target.policy.pauses_for(fault) => AttemptOutcome::Unauthorized,
        Err(_) => AttemptOutcome::Failed,
    };
    let settlement = settle::settlement(&engine, &target, &delivery, result);
    engine.metrics.delivered(&target.name, settlement.state.word());
    match engine.store.submit(vec![Entry::Settle(settlement)]).await {
        Ok(_) => AttemptEnd { seq, outcome },
        // It is delivered again; the key tells the other side that it is the same.
        Err(_) => {
            clock.sleep(STORE_PAUSE).await;
            AttemptEnd { seq, outcome: AttemptOutcome::Unsettled }
        }
    }
}

/// The call itself, bounded in time. A panic is this attempt's permanent fault and nobody else's.
async fn call(engine: &Engine, target: &Target, stored: Option<Stored>) -> Result<(), Fault> {
    let timeout = target.policy.timeout;
    let Some(outgoing) = stored.and_then(|stored| outgoing(engine, target, stored)) else {
        return Err(Fault::permanent("the event cannot be read from the store"));
    };
    let call = AssertUnwindSafe(target.deliver(outgoing)).catch_unwind();
    match within(&*engine.env.clock, timeout, call).await {
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(Fault::permanent(format!("`{}` panicked", target.name))),
        None => {
            let shown = stages::language::write_duration(timeout);
            Err(Fault::transient(Cause::Timeout, format!("no answer within {shown}")))
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
        raw: serde_json::from_slice(&stored.body.bytes).ok().map(Arc::new),
        enrich,
        globals,
    })
}
