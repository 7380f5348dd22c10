//! What outlives a generation: the store, the executor, the counters, the events in flight.
//!
//! One rule for every event: the answer follows a commit. An event whose every due stage is local
//! is recorded at once; one with a remote stage due is accepted first, then run, then finished.

mod admission;
mod backlog;
mod elapsed;
mod held;
mod ingest;
mod outbox;
mod pauses;
mod redrive;

pub use outbox::{Outbox, OutboxSeat};
pub use pauses::{
    NodePause, NodePauses, PAUSE_MAX, PauseAction, PauseChange, PauseOrder, PauseRefusal,
};
pub use redrive::Redriven;

use crate::intake::{Intake, ItemOrigin, Rejection};
use crate::metrics::{EventCounter, Metrics, RunTally};
use crate::run::Generation;
use crate::run::enrich::{DeadEnd, Disposition, EventRun};
use admission::AdmittedCount;
use elapsed::WallHistory;
use event_listener::Event as Signal;
use futures_util::FutureExt;
pub use held::HeldCount;
use held::HeldEvents;
use kernel::env::Env;
use kernel::event::{Event, StageResult};
use kernel::time::Timestamp;
use serde_json::Value;
use smol::lock::Semaphore;
use std::collections::HashSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use store::{DeadLetter, DeadLetterWhat, Store, StoreFault};

/// Before what panicked begins again.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// A message at the engine's door.
#[derive(Debug, Clone, Default)]
pub struct ReceivedMessage {
    /// The bytes of one event.
    pub bytes: Arc<[u8]>,
    /// The request that brought it.
    pub http: Option<Arc<Value>>,
    /// The file that it was read from: its path, line and byte offset.
    pub file: Option<Arc<Value>>,
    /// The topic that it came on, and how.
    pub mqtt: Option<Arc<Value>>,
    /// The id to use when `map` gives none.
    pub id: Option<String>,
    /// The type to use when `map` gives none.
    pub kind: Option<Arc<str>>,
    /// The time to use when `map` gives none.
    pub time: Option<Timestamp>,
    /// The subject to use when `map` gives none.
    pub subject: Option<Arc<str>>,
    /// What stands for the message when it is not JSON.
    pub decoded: Option<Value>,
    /// What only one message of its source may bring, whatever its id: the second one is a
    /// duplicate of the first.
    pub once: Option<String>,
    /// What it is an item of, once a message was taken apart.
    pub item_of: Option<ItemOrigin>,
    /// Where the event is noted that the message was read as, for whoever answers with its parts.
    pub noted: Option<Arc<OnceLock<Event>>>,
}

/// The result of a message, after the commit.
#[derive(Debug)]
pub enum IngestResult {
    /// Durable.
    Accepted {
        /// Its id.
        id: Arc<str>,
        /// Its number.
        seq: u64,
    },
    /// The same came before.
    Duplicate {
        /// Its id.
        id: Arc<str>,
        /// The first one's number.
        seq: u64,
    },
    /// Something else came before with its id.
    Conflict {
        /// Its id.
        id: Arc<str>,
        /// The first one's number.
        seq: u64,
    },
    /// A rule of the file dropped it at once.
    Discarded {
        /// Its id.
        id: Arc<str>,
        /// The rule.
        name: Arc<str>,
    },
    /// Refused.
    Refused(Rejection),
}

impl IngestResult {
    /// Whether the sender made no mistake.
    pub fn is_good(&self) -> bool {
        !matches!(self, IngestResult::Conflict { .. } | IngestResult::Refused(_))
    }

    /// The answer's word in reports.
    pub fn word(&self) -> &'static str {
        match self {
            IngestResult::Accepted { .. } => "accepted",
            IngestResult::Duplicate { .. } => "duplicate",
            IngestResult::Conflict { .. } => "conflict",
            IngestResult::Discarded { .. } => "discarded",
            IngestResult::Refused(_) => "rejected",
        }
    }
}

/// Why nothing of a submission was taken; worth trying again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overloaded {
    /// A short code: `queue`, `backlog`, `wal`, `stopping`, or what the store's trouble says.
    pub code: &'static str,
    /// In words.
    pub reason: String,
}

impl From<StoreFault> for Overloaded {
    fn from(fault: StoreFault) -> Self {
        Overloaded { code: fault.class.code(), reason: fault.reason }
    }
}

/// The engine of one pipeline.
pub struct Engine {
    /// Time, chance, blocking threads.
    pub env: Env,
    /// Where everything durable is.
    pub store: Store,
    /// What is counted.
    pub metrics: Metrics,
    executor: Arc<smol::Executor<'static>>,
    current: RwLock<Arc<Generation>>,
    admitted: Mutex<AdmittedCount>,
    room: Signal,
    places: RwLock<Arc<Semaphore>>,
    held: Arc<HeldEvents>,
    /// Accepted events that are in memory.
    in_flight: Mutex<HashSet<u64>>,
    tasks: AtomicUsize,
    idle: Signal,
    stopping: AtomicBool,
    stopped: Signal,
    outbox: Arc<Outbox>,
    pauses: NodePauses,
    history: WallHistory,
    observer: OnceLock<Arc<dyn IngestObserver>>,
}

/// Sees what becomes of events, for who tests a pipeline.
pub trait IngestObserver: Send + Sync {
    /// The intake has decided on a message.
    fn taken(&self, taken: &Intake);
    /// The stages of an event have ended like this, and it comes to `disposition`; `by` is the stage
    /// that let it go or set it aside.
    fn ended(&self, results: &[StageResult], disposition: &Disposition, by: Option<&Arc<str>>);
    /// The filter `by` has dropped an event that a stage sent.
    fn dropped(&self, event: &Event, by: &Arc<str>);
}

impl Engine {
    /// An engine that runs `generation`.
    pub fn new(
        env: Env,
        store: Store,
        executor: Arc<smol::Executor<'static>>,
        outbox: Arc<Outbox>,
        generation: Arc<Generation>,
    ) -> Arc<Self> {
        let places = Semaphore::new(generation.plan.limits.concurrency);
        let held = HeldEvents::new(generation.plan.limits.concurrency);
        let pending = store.figures().pending.load(Ordering::Relaxed);
        let metrics = Metrics::default();
        metrics.count(EventCounter::Accepted, pending);
        metrics.register(&generation.plan);
        outbox.leave_in_inbox();
        let history = WallHistory::new(&*env.clock);
        Arc::new(Engine {
            history,
            env,
            store,
            metrics,
            executor,
            current: RwLock::new(generation),
            admitted: Mutex::default(),
            room: Signal::new(),
            places: RwLock::new(Arc::new(places)),
            held,
            in_flight: Mutex::new(HashSet::new()),
            tasks: AtomicUsize::new(0),
            idle: Signal::new(),
            stopping: AtomicBool::new(false),
            stopped: Signal::new(),
            outbox,
            pauses: NodePauses::default(),
            observer: OnceLock::new(),
        })
    }

    /// The running generation.
    pub fn generation(&self) -> Arc<Generation> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on new events run under `generation`; those under way keep theirs.
    pub fn swap(&self, generation: Arc<Generation>) {
        self.metrics.register(&generation.plan);
        let concurrency = generation.plan.limits.concurrency;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.plan.limits.concurrency != concurrency {
            *self.places.write().unwrap_or_else(PoisonError::into_inner) =
                Arc::new(Semaphore::new(concurrency));
            self.held.resize(concurrency);
        }
        *current = generation.clone();
        drop(current);
        generation.taps.follow(generation.number, &generation.plan);
    }

    /// From now on `observer` sees what becomes of events. Only the first one is asked.
    pub fn observe(&self, observer: Arc<dyn IngestObserver>) {
        self.observer.get_or_init(|| observer);
    }

    /// What the stages made of an event.
    fn conclude(&self, event_run: EventRun) -> (Disposition, RunTally) {
        let mut tally = event_run.tally();
        let mut disposition = match self.observer.get() {
            None => event_run.finish(),
            Some(observer) => {
                let results: Vec<StageResult> = event_run.results().cloned().collect();
                let by = event_run.ended_by().cloned();
                let disposition = event_run.finish();
                observer.ended(&results, &disposition, by.as_ref());
                disposition
            }
        };
        if let Disposition::Finished(routed) = &mut disposition {
            tally.measured = std::mem::take(&mut routed.measured);
        }
        (disposition, tally)
    }

    /// Wakes the workers of targets.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Runs a task to its end. A panic in it is logged and ends it alone. Every task of the engine
    /// is counted, so that a stop can wait for them.
    pub fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.fetch_add(1, Ordering::SeqCst);
        let engine = self.clone();
        let guarded = async move {
            // The log has where it was.
            AssertUnwindSafe(task).catch_unwind().await.ok();
            engine.tasks.fetch_sub(1, Ordering::SeqCst);
            engine.idle.notify(usize::MAX);
        };
        self.executor.spawn(guarded).detach();
    }

    /// Runs what the engine needs as long as it runs: after a panic it begins again.
    pub fn keep_running<F>(
        self: &Arc<Self>,
        name: &'static str,
        work: impl Fn(Arc<Self>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let engine = self.clone();
        self.spawn(async move {
            while AssertUnwindSafe(work(engine.clone())).catch_unwind().await.is_err() {
                tracing::error!("internal error (panic): {name} restarts; please report it");
                let pause = engine.env.clock.sleep(PANIC_PAUSE);
                smol::future::or(pause, engine.when_stopped()).await;
                if engine.is_stopping() {
                    return;
                }
            }
        });
    }

    /// The executor, for what serves beside the engine.
    pub fn executor(&self) -> &Arc<smol::Executor<'static>> {
        &self.executor
    }

    /// Counts what the stages did for an event that was new.
    fn count_run(&self, tally: &RunTally, received: Timestamp) {
        let micros = self.env.clock.wall().since(received).as_micros() as u64;
        self.metrics.ran(tally, micros);
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn letter(&self, event: &Event, end: DeadEnd) -> DeadLetter {
        let DeadEnd { stage, attempts, class, reason } = end;
        DeadLetter {
            id: 0,
            what: DeadLetterWhat::Event,
            seq: (event.seq != 0).then_some(event.seq),
            source_node: event.envelope.source.clone(),
            source: Some(event.envelope.source.to_string()),
            event_id: Some(event.envelope.id.to_string()),
            stage,
            class: class.word(),
            reason,
            attempts,
            first: event.envelope.received,
            last: self.env.clock.wall(),
            generation: event.generation,
            body: event.body.bytes.clone(),
            mapped: None,
            context: None,
        }
    }

    /// Tasks that run now.
    pub fn running(&self) -> usize {
        self.tasks.load(Ordering::SeqCst)
    }

    /// Accepted events that are in memory.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight().len()
    }

    /// How much is held in memory of what was accepted.
    pub fn held(&self) -> HeldCount {
        self.held.count()
    }

    /// Whether it is time to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Nothing more is taken; sources and workers end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.stopped.notify(usize::MAX);
        self.outbox.wake_inbox();
    }

    /// Ends when it is time to stop.
    pub async fn when_stopped(&self) {
        loop {
            let told = self.stopped.listen();
            if self.is_stopping() {
                return;
            }
            told.await;
        }
    }

    /// Ends when no task runs.
    pub async fn when_idle(&self) {
        loop {
            let told = self.idle.listen();
            if self.running() == 0 {
                return;
            }
            told.await;
        }
    }
}
