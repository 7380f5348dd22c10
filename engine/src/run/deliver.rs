//! Deliveries to the outside, out of the durable outbox, after the commit.
//!
//! One worker for each target, which owns it. It keeps nothing in memory that is not on disk, so a
//! crash, or the end of the worker, costs at most the attempts under way: their deliveries are
//! still pending, and their key tells the other side that it is the same.

mod replace;
mod settle;

use super::message_cause::causes;
use super::message_group::{EVENTS_MAX, MessageGroup};
use super::relays::RelayedEvents;
use super::stop::StopSignal;
use super::target::{MessageContext, OutgoingMessage};
use super::target_pace::{CallEnd, PaceAllowance, PaceTicket, TargetPace};
use super::{PANICKED, Target, condition};
use crate::engine::{Engine, OutboxSeat};
use compiler::plan::{CallPolicy, WISH_MAX};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kernel::env::{Clock, Pending, within};
use kernel::fault::{Cause, Fault};
use replace::MessagePlace;
use settle::EndedDelivery;
use stages::contract::Outgoing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use store::{
    Delivery, DeliveryState, DueLimits, Reader, Settlement, StoreEntry, StoreFault, StoredEvent,
};

/// Deliveries taken out of the outbox at once.
const CHUNK: DueLimits = DueLimits { first: 256, again: 64, bytes: 4 << 20 };
/// The same for a target that fails: one, and another in place of the one that failed last.
const PROBE: DueLimits = DueLimits { first: 2, again: 2, bytes: 4 << 20 };
/// A worker with nothing to do looks again after this, as a net under the signals.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Calls that have ended and wait for the commit that settles them: with more, nothing is begun.
const SETTLING_MAX: usize = 64;
/// How long a worker waits after a fault of the store.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Works off the deliveries of one target.
pub struct DeliveryWorker {
    engine: Arc<Engine>,
    target: Arc<Target>,
    seat: OutboxSeat,
    /// Due deliveries that were read and not begun.
    queue: VecDeque<DueDelivery>,
    /// Numbers of the events whose delivery is under way, each with the key of the message that it
    /// changes: one at a time for each key.
    under_way: BTreeMap<u64, Option<String>>,
    pace: Arc<TargetPace>,
}

/// A delivery with its event, unless that is missing or damaged.
struct DueDelivery {
    delivery: Delivery,
    event: Option<StoredEvent>,
    about: MessageContext,
}

/// What is under way. A call that has ended makes room for the next one at once: the commit that
/// settles it takes longer than many a call.
#[derive(Default)]
struct UnderWay<'a> {
    calls: FuturesUnordered<Pending<'a, EndedCall>>,
    settling: FuturesUnordered<Pending<'a, Vec<u64>>>,
}

impl UnderWay<'_> {
    fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.settling.is_empty()
    }

    /// The next call or commit to end; never where there is none.
    async fn next(&mut self) -> Wake {
        let called = async {
            match self.calls.next().await {
                Some(ended) => Wake::Called(ended),
                None => smol::future::pending().await,
            }
        };
        let settled = async {
            match self.settling.next().await {
                Some(seqs) => Wake::Settled(seqs),
                None => smol::future::pending().await,
            }
        };
        smol::future::or(settled, called).await
    }
}

/// A call that has ended, and what is to be stored of it.
struct EndedCall {
    /// The numbers of the events whose deliveries it took.
    seqs: Vec<u64>,
    settlements: Vec<Settlement>,
    relayed: RelayedEvents,
}

/// What a worker waits for.
enum Wake {
    Called(EndedCall),
    /// How the deliveries of these events ended is stored.
    Settled(Vec<u64>),
    /// Something may be due.
    Look,
    Stop,
}

impl DeliveryWorker {
    /// A worker with nothing under way. There is one for each target: it holds the target's seat.
    pub fn new(engine: Arc<Engine>, target: Arc<Target>) -> Self {
        let seat = engine.outbox().seat(&target.name);
        let (queue, under_way) = (VecDeque::new(), BTreeMap::new());
        DeliveryWorker { engine, target, seat, queue, under_way, pace: Arc::default() }
    }

    /// Delivers until it is time to stop; then the attempts under way end first, and after them
    /// what the target does beside its deliveries.
    pub async fn run(self, stop: &StopSignal) -> Result<(), Fault> {
        let (target, over) = (self.target.clone(), StopSignal::default());
        let deliveries = async {
            let result = self.deliver(stop).await;
            over.raise();
            result
        };
        let (result, ()) =
            smol::future::zip(deliveries, target.tend(Box::pin(over.raised()))).await;
        result
    }

    async fn deliver(mut self, stop: &StopSignal) -> Result<(), Fault> {
        let engine = self.engine.clone();
        let mut under_way = UnderWay::default();
        loop {
            if stop.is_raised() && under_way.is_empty() {
                return Ok(());
            }
            let news = self.seat.listen();
            let wait = if stop.is_raised() {
                LOOK_EVERY
            } else {
                self.begin(&mut under_way).await.unwrap_or_else(|fault| {
                    tracing::debug!(target = &*self.target.name, reason = %fault, "the outbox could not be read");
                    STORE_PAUSE
                })
            };
            let look = async {
                smol::future::or(news, self.engine.env.clock.sleep(wait)).await;
                Wake::Look
            };
            let stopped = async {
                if stop.is_raised() {
                    smol::future::pending::<()>().await;
                }
                stop.raised().await;
                Wake::Stop
            };
            match smol::future::or(under_way.next(), smol::future::or(stopped, look)).await {
                Wake::Called(ended) => under_way.settling.push(Box::pin(ended.settle(&engine))),
                Wake::Settled(seqs) => {
                    for seq in seqs {
                        let was_under_way = self.under_way.remove(&seq);
                        assert!(was_under_way.is_some(), "only what is under way ends");
                    }
                }
                Wake::Look => {}
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
    async fn begin(&mut self, under_way: &mut UnderWay<'_>) -> Result<Duration, StoreFault> {
        let clock = self.engine.env.clock.clone();
        while under_way.calls.len() < self.target.policy.concurrency
            && under_way.settling.len() < SETTLING_MAX
        {
            if self.engine.pauses().is_paused(&self.target.name) {
                // What was read may have ended when it is over, which wakes the worker.
                self.queue.clear();
                return Ok(LOOK_EVERY);
            }
            let now = clock.monotonic();
            let breaker = self.target.limits.breaker.as_ref();
            if let Some(wait) = breaker.and_then(|breaker| breaker.open_for(now)) {
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
            let batch = match self.take() {
                Ok(batch) => batch,
                Err(wait) => return Ok(wait),
            };
            let (first, now) = (batch[0].delivery.seq, clock.monotonic());
            let is_retry = batch.iter().any(|it| it.delivery.is_retry());
            // It may have begun to fail while the outbox was read.
            let Some(ticket) = self.pace.begin(first, is_retry, now) else { continue };
            let seqs: Vec<u64> = batch.iter().map(|it| it.delivery.seq).collect();
            for due in &batch {
                let key = due.delivery.changes().map(str::to_owned);
                let known = self.under_way.insert(due.delivery.seq, key);
                assert!(known.is_none(), "a delivery is under way once");
            }
            let (engine, target) = (self.engine.clone(), self.target.clone());
            under_way.calls.push(Box::pin(async move {
                let (settlements, relayed) = attempt(&engine, &target, ticket, batch).await;
                EndedCall { seqs, settlements, relayed }
            }));
        }
        Ok(LOOK_EVERY)
    }

    /// Takes out of the queue what one call takes and the rate allows now; how long to wait where
    /// that is nothing. Two with one key are never under way together.
    fn take(&mut self) -> Result<Vec<DueDelivery>, Duration> {
        let (now, rate) = (self.engine.env.clock.monotonic(), self.target.limits.rate.as_ref());
        let mut keys: BTreeSet<String> = self.under_way.values().flatten().cloned().collect();
        let (mut batch, mut at) = (Vec::new(), 0);
        while batch.len() < self.target.batch_max() && at < self.queue.len() {
            let key = self.queue[at].delivery.changes().map(str::to_owned);
            if key.as_ref().is_some_and(|key| keys.contains(key)) {
                at += 1;
                continue;
            }
            if let Some(rate) = rate.filter(|rate| !rate.take(now)) {
                let wait = rate.wait(now).max(Duration::from_millis(1));
                return if batch.is_empty() { Err(wait) } else { Ok(batch) };
            }
            keys.extend(key);
            batch.extend(self.queue.remove(at));
        }
        // What is left waits for the end of an attempt with its key, which wakes the worker.
        if batch.is_empty() { Err(LOOK_EVERY) } else { Ok(batch) }
    }

    /// Reads what is due; how long until something is, where nothing is now.
    async fn fill(&mut self, limits: DueLimits) -> Result<Option<Duration>, StoreFault> {
        let now = self.engine.env.clock.wall();
        let name = self.target.name.clone();
        let under_way: BTreeSet<u64> = self.under_way.keys().copied().collect();
        let (mut due, events, (mut others, mut causes), next) = self
            .engine
            .store
            .read(move |reader| {
                // What is under way is due as well.
                let (first, again) =
                    (limits.first + under_way.len(), limits.again + under_way.len());
                let mut due = reader.due(&name, now, DueLimits { first, again, ..limits })?;
                due.retain(|delivery| !under_way.contains(&delivery.seq));
                let seqs: Vec<u64> = due.iter().map(|delivery| delivery.seq).collect();
                let besides = (others(reader, &due)?, causes(reader, &due)?);
                Ok((due, reader.intact_by_seq(&seqs)?, besides, reader.next_due(&name)?))
            })
            .await?;
        let mut retries = 0;
        due.retain(|delivery| {
            retries += usize::from(delivery.is_retry());
            !delivery.is_retry() || retries <= limits.again
        });
        let outdated = replace::take_outdated(&mut due);
        let settled: Vec<Settlement> =
            outdated.iter().map(|it| settle::replaced(&self.engine, it)).collect();
        note(&self.engine, &settled, &RelayedEvents::default()).await;
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
        let mut events: BTreeMap<u64, StoredEvent> =
            events.into_iter().map(|event| (event.seq, event)).collect();
        self.queue.extend(due.into_iter().map(|delivery| DueDelivery {
            event: events.remove(&delivery.seq),
            about: MessageContext {
                group: MessageGroup {
                    parts: delivery.parts,
                    is_digest: delivery.is_digest,
                    events: others.remove(&delivery.seq).unwrap_or_default(),
                },
                cause: causes.remove(&delivery.seq).unwrap_or_default(),
                update: None,
            },
            delivery,
        }));
        Ok(None)
    }
}

/// The events that the messages of these deliveries tell of beside the first, by that one.
fn others(
    reader: &Reader<'_>,
    due: &[Delivery],
) -> Result<BTreeMap<u64, Vec<StoredEvent>>, StoreFault> {
    let mut others = BTreeMap::new();
    for lead in due.iter().filter(|it| 0 < it.parts) {
        let seqs = reader.told_with(&lead.sink, lead.seq, EVENTS_MAX)?;
        let mut events = reader.intact_by_seq(&seqs)?;
        events.sort_by_key(|event| event.seq);
        others.insert(lead.seq, events);
    }
    Ok(others)
}

impl EndedCall {
    /// Stores how it ended. Where a stop comes before, the deliveries are as they were, and the key
    /// of the next attempt tells the other side that it is the same.
    async fn settle(self, engine: &Engine) -> Vec<u64> {
        note(engine, &self.settlements, &self.relayed).await;
        self.seqs
    }
}

/// One call, and what it comes to for the deliveries that it took; nothing for those that it did
/// not.
async fn attempt(
    engine: &Engine,
    target: &Target,
    ticket: PaceTicket,
    batch: Vec<DueDelivery>,
) -> (Vec<Settlement>, RelayedEvents) {
    let clock = &*engine.env.clock;
    let (mut placed, mut settlements) = (Vec::with_capacity(batch.len()), Vec::new());
    for mut due in batch {
        match replace::place_of(engine, &due.delivery).await {
            Ok(MessagePlace::Own) => placed.push(due),
            Ok(MessagePlace::Of(update)) => {
                due.about.update = Some(update);
                placed.push(due);
            }
            Ok(MessagePlace::Taken) => settlements.push(settle::replaced(engine, &due.delivery)),
            Err(fault) => {
                tracing::debug!(target = &*target.name, reason = %fault, "messages could not be looked up");
                clock.sleep(STORE_PAUSE).await;
                return (settlements, RelayedEvents::default());
            }
        }
    }
    if placed.is_empty() {
        return (settlements, RelayedEvents::default());
    }
    let (called, relayed) = call_all(engine, target, ticket, placed).await;
    settlements.extend(called);
    (settlements, relayed)
}

/// The call itself.
async fn call_all(
    engine: &Engine,
    target: &Target,
    ticket: PaceTicket,
    batch: Vec<DueDelivery>,
) -> (Vec<Settlement>, RelayedEvents) {
    let clock = &*engine.env.clock;
    // It may have been paused while messages were looked up.
    let nothing = (Vec::new(), RelayedEvents::default());
    if engine.pauses().is_paused(&target.name) {
        return nothing;
    }
    let admitted = target.limits.breaker.as_ref().map(|breaker| breaker.admit(clock.monotonic()));
    let Ok(permit) = admitted.transpose() else { return nothing };
    let (mut called, mut calls, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    let mut relayed = RelayedEvents::default();
    for DueDelivery { delivery, event, about } in batch {
        match event {
            Some(stored) => {
                relayed.keep(engine, &target.name, &stored);
                called.push(delivery);
                calls.push(OutgoingMessage {
                    outgoing: outgoing(engine, target, stored, about.cause.repeats),
                    about,
                });
            }
            None => ended.push(EndedDelivery { delivery, result: Err(missing()), call: None }),
        }
    }
    if !calls.is_empty() {
        let (began, since) = (clock.wall(), clock.monotonic());
        let results = call(engine, target, calls).await;
        let call = Some((began, clock.monotonic() - since));
        let backoff = |count| target.policy.backoff.wait(count, engine.env.random.ratio());
        ticket.end(end_of(&target.policy, &results), clock.monotonic(), backoff);
        let both = called.into_iter().zip(results);
        ended.extend(both.map(|(delivery, result)| EndedDelivery { delivery, result, call }));
    }
    let fault = ended.iter().find_map(|it| it.result.as_ref().err());
    if let Some(permit) = permit {
        permit.end(clock.monotonic(), fault.is_some_and(Fault::is_transient));
    }
    let fault = fault.cloned();
    // A stop changes no delivery's state: what did not finish stays pending.
    ended.retain(|it| it.result.is_ok() || !engine.is_stopping());
    let mut settlements = Vec::with_capacity(ended.len());
    for it in ended {
        let parts = it.delivery.parts;
        let settlement = settle::settlement(engine, target, it);
        // What is told with it has its end.
        let count = if settlement.state == DeliveryState::Pending { 1 } else { 1 + parts };
        engine.metrics.delivered(&target.name, settlement.state.word(), count);
        settlements.push(settlement);
    }
    let given_up = settlements.iter().filter(|it| it.state == DeliveryState::Dead).count();
    condition::of_target(target.health(), fault.as_ref().map_or(Ok(()), Err), given_up);
    (settlements, relayed)
}

/// However long the store takes: until it is noted, the call would be made again.
async fn note(engine: &Engine, settlements: &[Settlement], relayed: &RelayedEvents) {
    let entries = || {
        let ends = settlements
            .iter()
            .map(|settlement| (StoreEntry::Settle(settlement.clone()), settlement));
        ends.flat_map(|(entry, it)| [Some(entry), relayed.after(engine, it)]).flatten().collect()
    };
    while !settlements.is_empty() {
        let Err(fault) = engine.store.submit(entries()).await else { return };
        if engine.is_stopping() || engine.store.is_broken() {
            return;
        }
        tracing::debug!(reason = %fault, "the end of a delivery was not stored; retrying");
        engine.env.clock.sleep(STORE_PAUSE).await;
    }
}

fn missing() -> Fault {
    Fault::permanent("the event is missing or damaged")
}

/// What the end of a call says about the target.
fn end_of(policy: &CallPolicy, results: &[Result<String, Fault>]) -> CallEnd {
    // Whoever takes one of a batch works.
    let is_answered = results.iter().any(Result::is_ok);
    match results.last().filter(|_| !is_answered) {
        Some(Err(fault)) if policy.pauses_for(fault) => CallEnd::Rejected,
        // The other side's wish is honoured up to an hour.
        Some(Err(fault)) if fault.is_transient() => {
            CallEnd::Fault { retry_after: fault.retry_after.map(|it| it.min(WISH_MAX)) }
        }
        _ => CallEnd::Answered,
    }
}

async fn call(
    engine: &Engine,
    target: &Target,
    batch: Vec<OutgoingMessage>,
) -> Vec<Result<String, Fault>> {
    let count = batch.len();
    match guarded(&*engine.env.clock, target, target.deliver(batch)).await {
        Ok(results) => {
            assert_eq!(results.len(), count, "each delivery has an end");
            results
        }
        Err(fault) => vec![Err(fault); count],
    }
}

/// A call itself, bounded in time. A panic is this attempt's permanent fault and nobody else's.
pub(super) async fn guarded<T>(
    clock: &dyn Clock,
    target: &Target,
    call: impl Future<Output = T>,
) -> Result<T, Fault> {
    let timeout = target.policy.timeout;
    match within(clock, timeout, AssertUnwindSafe(call).catch_unwind()).await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(_)) => Err(Fault::permanent(PANICKED)),
        None => {
            let shown = kernel::time::write_duration(timeout);
            Err(Fault::transient(Cause::Timeout, format!("no response within {shown}")))
        }
    }
}

fn outgoing(engine: &Engine, target: &Target, stored: StoredEvent, repeats: u32) -> Outgoing {
    let mut key = format!("{}/{}", stored.envelope.id, target.name);
    if 0 < repeats {
        // The other side is to take it once more.
        key.push_str(&format!("/{}", repeats + 1));
    }
    let globals = engine.generation().plan.globals.clone();
    Outgoing::new(Arc::new(stored), globals, key, target.policy.timeout)
}
