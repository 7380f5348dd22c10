//! What outlives generations: the store, the executor, the counters, the events under way.
//!
//! One rule for every event: the answer follows a commit. An event whose every due stage is local
//! is recorded at once; one with a remote stage due is accepted first, then run, then finished.

use crate::intake::{self, Incoming, Refusal, Taken};
use crate::metrics::{Fate, Metrics};
use crate::run::Generation;
use crate::run::limiter::Noted;
use crate::run::walk::{KeptStage, Verdict, Walk};
use crate::spec::Overflow;
use event_listener::Event as Signal;
use futures_util::FutureExt;
use serde_json::Value;
use smol::lock::Semaphore;
use stages::env::Env;
use stages::event::{Event, Priority, StageResult};
use stages::store::{
    DeadLetter, DeadLetterWhat, Entry, InboxRow, Receipt, Store, StoreFault, Tally,
};
use stages::time::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

/// Accepted events that are held in memory; more wait in the inbox, on disk.
const HELD_MAX: usize = 4096;
/// Bytes of messages that may wait for their first commit.
const ADMITTED_BYTES: usize = 8 << 20;
/// Rows and bytes of the inbox beyond which nothing more is accepted.
const BACKLOG_ROWS: u64 = 1_000_000;
const BACKLOG_BYTES: u64 = 256 << 20;
/// How long `overflow block` lets a message wait for room.
const ROOM_MAX: Duration = Duration::from_secs(30);

/// A message at the engine's door.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The bytes of one event.
    pub bytes: Arc<[u8]>,
    /// The request that brought it.
    pub http: Option<Arc<Value>>,
    /// The id to use when `map` gives none.
    pub id: Option<String>,
    /// The type to use when `map` gives none.
    pub kind: Option<Arc<str>>,
    /// What stands for the message when it is not JSON.
    pub decoded: Option<Value>,
}

/// What became of a message, after the commit.
#[derive(Debug)]
pub enum Answer {
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
    /// A rule of the file let it go at once.
    Discarded {
        /// Its id.
        id: Arc<str>,
        /// The rule.
        name: Arc<str>,
    },
    /// Refused.
    Refused(Refusal),
}

/// Why nothing of a submission was taken; worth trying again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// A short code: `queue`, `backlog`, `stopping` or `store`.
    pub code: &'static str,
    /// In words.
    pub reason: String,
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
    admitted: AtomicUsize,
    admitted_bytes: AtomicUsize,
    room: Signal,
    places: RwLock<Arc<Semaphore>>,
    held: Arc<Semaphore>,
    /// Accepted events that are in memory.
    in_flight: Mutex<HashSet<u64>>,
    overflow: Signal,
    has_overflow: AtomicBool,
    tasks: AtomicUsize,
    idle: Signal,
    stopping: AtomicBool,
    stopped: Signal,
    outbox: Arc<Outbox>,
    probe: OnceLock<Arc<dyn Probe>>,
}

/// Sees what becomes of events, for who tests a pipeline.
pub trait Probe: Send + Sync {
    /// The intake has decided on a message.
    fn taken(&self, taken: &Taken);
    /// The stages of an event have ended like this, and it comes to `verdict`; `by` is the stage
    /// that let it go or set it aside.
    fn ended(&self, results: &[StageResult], verdict: &Verdict, by: Option<&Arc<str>>);
}

/// Wakes the workers of outlets.
#[derive(Debug, Default)]
pub struct Outbox {
    signals: Mutex<BTreeMap<Arc<str>, Arc<Signal>>>,
}

impl Outbox {
    /// The signal of one outlet.
    pub fn signal(&self, sink: &Arc<str>) -> Arc<Signal> {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        signals.entry(sink.clone()).or_default().clone()
    }
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
        let pending = store.figures().pending.load(Ordering::Relaxed);
        let metrics = Metrics::default();
        metrics.count(Fate::Accepted, pending);
        Arc::new(Engine {
            env,
            store,
            metrics,
            executor,
            current: RwLock::new(generation),
            admitted: AtomicUsize::new(0),
            admitted_bytes: AtomicUsize::new(0),
            room: Signal::new(),
            places: RwLock::new(Arc::new(places)),
            held: Arc::new(Semaphore::new(HELD_MAX)),
            in_flight: Mutex::new(HashSet::new()),
            overflow: Signal::new(),
            has_overflow: AtomicBool::new(true),
            tasks: AtomicUsize::new(0),
            idle: Signal::new(),
            stopping: AtomicBool::new(false),
            stopped: Signal::new(),
            outbox,
            probe: OnceLock::new(),
        })
    }

    /// The running generation.
    pub fn generation(&self) -> Arc<Generation> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on new events run under `generation`; those under way keep theirs.
    pub fn swap(&self, generation: Arc<Generation>) {
        let concurrency = generation.plan.limits.concurrency;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.plan.limits.concurrency != concurrency {
            *self.places.write().unwrap_or_else(PoisonError::into_inner) =
                Arc::new(Semaphore::new(concurrency));
        }
        *current = generation;
    }

    /// From now on `probe` sees what becomes of events. Only the first one is asked.
    pub fn observe(&self, probe: Arc<dyn Probe>) {
        self.probe.get_or_init(|| probe);
    }

    /// What the stages made of an event.
    fn conclude(&self, walk: Walk) -> Verdict {
        let Some(probe) = self.probe.get() else { return walk.finish() };
        let results: Vec<StageResult> = walk.results().cloned().collect();
        let by = walk.ended_by().cloned();
        let verdict = walk.finish();
        probe.ended(&results, &verdict, by.as_ref());
        verdict
    }

    /// Wakes the workers of outlets.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Runs a task to its end. A panic in it is logged and ends it alone. Every task of the engine
    /// is counted, so that a stop can wait for them.
    pub fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.fetch_add(1, Ordering::SeqCst);
        let engine = self.clone();
        let guarded = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!("a task panicked; its event stays pending");
            }
            engine.tasks.fetch_sub(1, Ordering::SeqCst);
            engine.idle.notify(usize::MAX);
        };
        self.executor.spawn(guarded).detach();
    }

    /// The executor, for what serves beside the engine.
    pub fn executor(&self) -> &Arc<smol::Executor<'static>> {
        &self.executor
    }

    /// Takes messages of one source, all in one transaction, and answers after its commit.
    /// `remember` is what the source must know again after a restart.
    pub async fn ingest(
        self: &Arc<Self>,
        source: &str,
        arrivals: Vec<Arrival>,
        remember: Vec<(String, String)>,
        keeps_unreadable: bool,
    ) -> Result<Vec<Answer>, Unavailable> {
        let bytes: usize = arrivals.iter().map(|it| it.bytes.len()).sum();
        let generation = self.generation();
        let overflow = generation.plan.limits.overflow;
        let admitted = match self.admit(arrivals.len(), bytes) {
            Err(full) if full.code == "queue" && overflow == Overflow::Block => {
                self.admit_later(arrivals.len(), bytes).await
            }
            admitted => admitted,
        };
        let _permit = match admitted {
            Ok(permit) => permit,
            Err(unavailable) => {
                self.metrics.count(Fate::Shed, arrivals.len() as u64);
                let lets_go = unavailable.code == "queue" && overflow == Overflow::DropNewest;
                if !lets_go || !keeps_unreadable {
                    return Err(unavailable);
                }
                // A source that nobody waits for goes on with its next messages.
                return self.remember(source, remember).await.map(|()| Vec::new());
            }
        };
        let Some(plan) = generation.plan.sources.iter().find(|it| *it.name == *source) else {
            return Err(Unavailable { code: "stopping", reason: "the source is gone".to_owned() });
        };
        self.metrics.received(&plan.name, arrivals.len() as u64);
        let mut batch = Submission::default();
        for arrival in arrivals {
            let received = self.env.clock.wall();
            let bytes = arrival.bytes.clone();
            let incoming = Incoming {
                bytes: arrival.bytes,
                source: plan,
                http: arrival.http.as_deref(),
                id: arrival.id.as_deref(),
                kind: arrival.kind.as_ref(),
                decoded: arrival.decoded,
                received,
                arrived: self.env.clock.monotonic(),
                limiters: &generation.limiters,
                generation: generation.number,
            };
            let taken = intake::take(&generation.plan, incoming, &self.env.random);
            self.probe.get().inspect(|it| it.taken(&taken));
            match taken {
                Taken::Event(event, noted) => {
                    batch.noted.extend(noted);
                    self.start(&generation, *event, &mut batch);
                }
                Taken::Discarded(event, name) => self.let_go(&event, name, &mut batch),
                Taken::Refused(mut refusal) => {
                    refusal.is_kept |= keeps_unreadable;
                    let letter = letter_of(&refusal, &plan.name, bytes, &generation, received);
                    self.refuse(refusal, letter, &mut batch);
                }
            }
        }
        batch.entries.extend(saves(&plan.name, remember));
        self.settle(batch).await
    }

    async fn remember(
        &self,
        source: &str,
        remember: Vec<(String, String)>,
    ) -> Result<(), Unavailable> {
        let entries: Vec<Entry> = saves(&Arc::from(source), remember).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let saved = self.store.submit(entries).await;
        saved.map(|_| ()).map_err(|it| Unavailable { code: "store", reason: it.reason })
    }

    /// Waits for room, in no order, at most [`ROOM_MAX`].
    async fn admit_later(&self, events: usize, bytes: usize) -> Result<Admitted<'_>, Unavailable> {
        let waiting = async {
            loop {
                let freed = self.room.listen();
                match self.admit(events, bytes) {
                    Err(full) if full.code == "queue" => freed.await,
                    admitted => return admitted,
                }
            }
        };
        let in_time = stages::env::within(&*self.env.clock, ROOM_MAX, waiting).await;
        in_time.unwrap_or_else(|| {
            let reason = "too much waits to be stored".to_owned();
            Err(Unavailable { code: "queue", reason })
        })
    }

    /// A message that waits for its first commit holds its bytes; how much may wait is bounded.
    fn admit(&self, events: usize, bytes: usize) -> Result<Admitted<'_>, Unavailable> {
        let refuse = |code, reason: &str| Err(Unavailable { code, reason: reason.to_owned() });
        if self.stopping.load(Ordering::SeqCst) {
            return refuse("stopping", "the engine is stopping");
        }
        if !self.store.is_healthy() {
            return refuse("store", "the store takes nothing");
        }
        let figures = self.store.figures();
        if BACKLOG_ROWS <= figures.pending.load(Ordering::Relaxed)
            || BACKLOG_BYTES <= figures.pending_bytes.load(Ordering::Relaxed)
        {
            return refuse("backlog", "too much is accepted and not finished");
        }
        let queue = self.generation().plan.limits.queue;
        let waiting = self.admitted.fetch_add(events, Ordering::SeqCst);
        let waiting_bytes = self.admitted_bytes.fetch_add(bytes, Ordering::SeqCst);
        // Whoever comes first may be larger than the queue; it would never get in otherwise.
        let is_full = queue < waiting + events || ADMITTED_BYTES < waiting_bytes + bytes;
        if 0 < waiting && is_full {
            // Given back without a word: who waits for room would wake itself for ever.
            self.admitted.fetch_sub(events, Ordering::SeqCst);
            self.admitted_bytes.fetch_sub(bytes, Ordering::SeqCst);
            return refuse("queue", "too much waits to be stored");
        }
        Ok(Admitted { engine: self, events, bytes })
    }

    /// Runs the local stages and chooses the road.
    fn start(&self, generation: &Arc<Generation>, event: Event, batch: &mut Submission) {
        let walk = Walk::start(generation.clone(), event, self.env.clone());
        if walk.is_remote() {
            let id = walk.event().envelope.id.clone();
            batch.push(
                Entry::Accept(walk.event().clone()),
                Slot::Claimed { id, walk: Some(Box::new(walk)) },
            );
            return;
        }
        match self.conclude(walk) {
            Verdict::Finished(finished) => {
                self.note_finished(&finished);
                let id = finished.event.envelope.id.clone();
                batch.push(Entry::Record(finished), Slot::Claimed { id, walk: None });
            }
            Verdict::Discarded(event, reason) => self.let_go(&event, reason, batch),
            Verdict::Dead(event, stage, attempts, reason) => {
                let id = event.envelope.id.clone();
                let letter = self.letter(&event, stage, attempts, reason);
                batch.push(Entry::Bury { event, letter }, Slot::Dead { id });
            }
        }
    }

    fn note_finished(&self, finished: &stages::store::Finished) {
        let received = finished.event.envelope.received;
        let micros = self.env.clock.wall().since(received).as_micros() as u64;
        self.metrics.finished(&finished.stages, micros);
    }

    fn let_go(&self, event: &Event, name: Arc<str>, batch: &mut Submission) {
        self.store.count(Tally::of(event, "discarded"));
        self.metrics.count(Fate::Accepted, 1);
        self.metrics.discarded(&name);
        let id = event.envelope.id.clone();
        batch.slots.push(Slot::Settled(Answer::Discarded { id, name }));
    }

    fn refuse(&self, refusal: Refusal, letter: DeadLetter, batch: &mut Submission) {
        self.metrics.count(Fate::Rejected, 1);
        if refusal.is_kept {
            batch.push(Entry::Refuse(letter), Slot::Refused(refusal));
            return;
        }
        self.store.count(Tally {
            received: letter.first,
            kind: "".into(),
            source: letter.source_node.clone(),
            priority: Priority::Normal,
            outcome: "rejected",
        });
        batch.slots.push(Slot::Settled(Answer::Refused(refusal)));
    }

    /// Writes a batch and turns receipts into answers.
    async fn settle(self: &Arc<Self>, batch: Submission) -> Result<Vec<Answer>, Unavailable> {
        let count = batch.slots.len() as u64;
        let receipts = if batch.entries.is_empty() {
            Vec::new()
        } else {
            match self.store.submit(batch.entries).await {
                Ok(receipts) => receipts,
                Err(fault) => {
                    self.metrics.count(Fate::Shed, count);
                    batch.noted.into_iter().for_each(Noted::forget);
                    return Err(Unavailable { code: "store", reason: fault.reason });
                }
            }
        };
        let mut receipts = receipts.into_iter();
        let mut answers = Vec::with_capacity(batch.slots.len());
        for slot in batch.slots {
            answers.push(match slot {
                Slot::Settled(answer) => answer,
                Slot::Refused(refusal) => {
                    receipts.next();
                    Answer::Refused(refusal)
                }
                Slot::Dead { id } => {
                    let answer = self.answer(id, receipts.next(), None);
                    if matches!(answer, Answer::Accepted { .. }) {
                        self.metrics.count(Fate::Dead, 1);
                    }
                    answer
                }
                Slot::Claimed { id, walk } => self.answer(id, receipts.next(), walk),
            });
        }
        Ok(answers)
    }

    fn answer(
        self: &Arc<Self>,
        id: Arc<str>,
        receipt: Option<Receipt>,
        walk: Option<Box<Walk>>,
    ) -> Answer {
        match receipt.expect("the store answers every entry") {
            Receipt::Stored { seq, .. } => {
                self.metrics.count(Fate::Accepted, 1);
                self.metrics.count(Fate::Stored, 1);
                Answer::Accepted { id, seq }
            }
            Receipt::Accepted { seq } => {
                self.metrics.count(Fate::Accepted, 1);
                if let Some(mut walk) = walk {
                    walk.accepted(seq);
                    self.launch(seq, *walk);
                }
                Answer::Accepted { id, seq }
            }
            Receipt::Duplicate { seq } => {
                self.metrics.count(Fate::Duplicate, 1);
                Answer::Duplicate { id, seq }
            }
            Receipt::Conflict { seq } => {
                self.metrics.count(Fate::Rejected, 1);
                Answer::Conflict { id, seq }
            }
            Receipt::Done => unreachable!("what claims an id is answered with a number"),
        }
    }

    /// Runs an accepted event now, or leaves it in the inbox when too many are held.
    fn launch(self: &Arc<Self>, seq: u64, walk: Walk) {
        match self.held.try_acquire_arc() {
            Some(held) => {
                // The pump may have found its row first.
                if !self.in_flight().insert(seq) {
                    return;
                }
                let engine = self.clone();
                self.spawn(async move {
                    engine.finish(walk).await;
                    engine.in_flight().remove(&seq);
                    drop(held);
                    engine.wake_overflow();
                });
            }
            None => {
                self.has_overflow.store(true, Ordering::SeqCst);
                self.wake_overflow();
            }
        }
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_overflow(&self) {
        if self.has_overflow.load(Ordering::SeqCst) {
            self.overflow.notify(1);
        }
    }

    /// The remote road to its end: one transaction finishes the event.
    async fn finish(self: &Arc<Self>, mut walk: Walk) {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner).clone();
        walk.run(&places, &|stage, output| self.keep(stage, output)).await;
        let (entry, fate) = match self.conclude(walk) {
            Verdict::Finished(finished) => {
                self.note_finished(&finished);
                (Entry::Finish(finished), Fate::Stored)
            }
            Verdict::Discarded(event, reason) => {
                (Entry::Discard { event, reason }, Fate::Discarded)
            }
            Verdict::Dead(event, stage, attempts, reason) => {
                let letter = self.letter(&event, stage, attempts, reason);
                (Entry::Bury { event, letter }, Fate::Dead)
            }
        };
        // A store that is full or busy is asked again; the event is safe in the inbox meanwhile.
        let receipts = loop {
            match self.store.submit(vec![entry.clone()]).await {
                Ok(receipts) => break receipts,
                Err(_) if !self.store.is_healthy() => return,
                Err(fault) => {
                    tracing::warn!(reason = %fault, "a finished event was not stored; trying again");
                    self.env.clock.sleep(Duration::from_secs(1)).await;
                }
            }
        };
        if matches!(receipts[..], [Receipt::Duplicate { .. }]) {
            return;
        }
        match entry {
            Entry::Discard { reason, .. } => self.metrics.discarded(&reason),
            _ => self.metrics.count(fate, 1),
        }
    }

    /// Keeps what a remote stage answered while others are still asked, so that a crash does not
    /// ask it again. Nobody waits for it: without it the stage is asked once more.
    fn keep(self: &Arc<Self>, stage: &KeptStage<'_>, output: &Value) {
        let entry = Entry::Result {
            seq: stage.seq,
            stage: stage.name.clone(),
            generation: stage.generation,
            output: output.to_string(),
        };
        let engine = self.clone();
        self.spawn(async move {
            engine.store.submit(vec![entry]).await.ok();
        });
    }

    fn letter(&self, event: &Event, stage: Arc<str>, attempts: u32, reason: String) -> DeadLetter {
        DeadLetter {
            id: 0,
            what: DeadLetterWhat::Event,
            seq: (event.seq != 0).then_some(event.seq),
            source_node: event.envelope.source.clone(),
            source: Some(event.envelope.source.to_string()),
            event_id: Some(event.envelope.id.to_string()),
            stage,
            class: "permanent",
            reason,
            attempts,
            first: event.envelope.received,
            last: self.env.clock.wall(),
            generation: event.generation,
            body: event.body.bytes.clone(),
        }
    }

    /// Takes up what the inbox holds and memory does not: after a start, and after an overflow.
    pub async fn pump(self: Arc<Self>) {
        loop {
            let told = self.overflow.listen();
            if self.has_overflow.swap(false, Ordering::SeqCst)
                && let Err(fault) = self.pump_once().await
            {
                tracing::warn!(reason = %fault, "the inbox could not be read; trying again");
                self.has_overflow.store(true, Ordering::SeqCst);
                self.env.clock.sleep(Duration::from_secs(1)).await;
                continue;
            }
            smol::future::or(told, self.when_stopped()).await;
            if self.is_stopping() {
                return;
            }
        }
    }

    async fn pump_once(self: &Arc<Self>) -> Result<(), StoreFault> {
        let mut after = 0;
        loop {
            let rows = self.store.read(move |it| it.inbox(after, 64)).await?;
            let Some(last) = rows.last().map(|it| it.seq) else { return Ok(()) };
            after = last;
            for row in rows {
                if self.in_flight().contains(&row.seq) {
                    continue;
                }
                let held = self.held.acquire_arc().await;
                let seq = row.seq;
                // It may have been finished while this waited for a place.
                let is_there = self
                    .store
                    .read(move |it| {
                        Ok(it.inbox(seq - 1, 1)?.first().is_some_and(|it| it.seq == seq))
                    })
                    .await?;
                if !is_there || !self.in_flight().insert(seq) {
                    continue;
                }
                let results = self.store.read(move |it| it.results(seq)).await?;
                let walk = self.resume(row, results);
                let engine = self.clone();
                self.spawn(async move {
                    match walk {
                        Some(walk) => engine.finish(walk).await,
                        None => tracing::error!(seq, "an event of the inbox cannot be read"),
                    }
                    engine.in_flight().remove(&seq);
                    drop(held);
                });
            }
        }
    }

    /// An accepted event again, from its bytes; its stages run from the start, the intake is
    /// behind it.
    fn resume(&self, row: InboxRow, results: Vec<(String, String)>) -> Option<Walk> {
        let generation = self.generation();
        let data: Value = serde_json::from_str(row.body.data_text()).ok()?;
        let raw = generation.plan.reads_raw.then(|| serde_json::from_slice(&row.body.bytes).ok());
        let event = Event {
            seq: row.seq,
            generation: generation.number,
            envelope: row.envelope,
            body: row.body,
            data: Arc::new(data),
            raw: raw.flatten().map(Arc::new),
            enrich: serde_json::Map::new(),
        };
        let parsed = |it: (String, String)| Some((it.0, serde_json::from_str(&it.1).ok()?));
        let known = results.into_iter().filter_map(parsed).collect();
        Some(Walk::resume(generation, event, self.env.clone(), known))
    }

    /// Tasks that run now.
    pub fn running(&self) -> usize {
        self.tasks.load(Ordering::SeqCst)
    }

    /// Accepted events that are in memory.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight().len()
    }

    /// Whether it is time to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Nothing more is taken; sources and workers end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.stopped.notify(usize::MAX);
        self.overflow.notify(usize::MAX);
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

fn saves(owner: &Arc<str>, remember: Vec<(String, String)>) -> impl Iterator<Item = Entry> + use<> {
    let owner = owner.clone();
    remember.into_iter().map(move |(key, value)| Entry::Save {
        owner: owner.clone(),
        key,
        value: Some(value),
    })
}

struct Admitted<'a> {
    engine: &'a Engine,
    events: usize,
    bytes: usize,
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.engine.admitted.fetch_sub(self.events, Ordering::SeqCst);
        self.engine.admitted_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        self.engine.room.notify(usize::MAX);
    }
}

/// Entries to write, and for each message where its answer comes from.
#[derive(Default)]
struct Submission {
    entries: Vec<Entry>,
    slots: Vec<Slot>,
    /// What is to be forgotten when nothing of it is stored.
    noted: Vec<Noted>,
}

enum Slot {
    Settled(Answer),
    Refused(Refusal),
    Dead { id: Arc<str> },
    Claimed { id: Arc<str>, walk: Option<Box<Walk>> },
}

impl Submission {
    fn push(&mut self, entry: Entry, slot: Slot) {
        self.entries.push(entry);
        self.slots.push(slot);
    }
}

fn letter_of(
    refusal: &Refusal,
    source_node: &Arc<str>,
    body: Arc<[u8]>,
    generation: &Generation,
    now: Timestamp,
) -> DeadLetter {
    DeadLetter {
        id: 0,
        what: DeadLetterWhat::Rejected,
        seq: None,
        source_node: source_node.clone(),
        source: refusal.source.clone(),
        event_id: refusal.id.clone(),
        stage: refusal.stage.clone(),
        class: "invalid",
        reason: refusal.reason(),
        attempts: 0,
        first: now,
        last: now,
        generation: generation.number,
        body,
    }
}
