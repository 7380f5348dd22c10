//! What runs beside the events: sources and delivery workers.
//!
//! *Invariant:* a source or target of the running generation that is on has one task, and nothing
//! else has one. Each task is a handle that belongs to what it serves; closing it ends it.

use crate::engine::Engine;
use crate::run::deliver::DeliveryWorker;
use crate::run::open::OpenedSource;
use crate::run::sources::SourceEmitter;
use crate::run::stop::StopSignal;
use crate::run::task::{Restarts, TaskHandle};
use crate::run::{Generation, OpenContext, Target};
use compiler::plan::diff::{Diff, PartChange, PartFate, PlanRole};
use compiler::spec::Backoff;
use event_listener::Event;
use kernel::env::Clock;
use kernel::fault::Fault;
use kernel::health::{HealthPart, PartRole};
use stages::catalog::SourceSpec;
use stages::contract::{DynSource, OpenSource};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a source may take to end by itself: it hands on what it has read.
const SOURCE_GRACE: Duration = Duration::from_secs(5);

/// The running sources and workers of one engine.
pub struct Supervisor {
    engine: Arc<Engine>,
    context: OpenContext,
    /// Whether a source that ends by a permanent fault has ended for good.
    is_once: bool,
    sources: BTreeMap<Arc<str>, TaskHandle>,
    live: Arc<LiveSources>,
    workers: BTreeMap<Arc<str>, TaskHandle>,
}

/// The sources that run by themselves and have not ended.
#[derive(Debug, Default)]
pub struct LiveSources {
    count: AtomicUsize,
    faults: Mutex<Vec<(Arc<str>, Fault)>>,
    changed: Event,
}

/// Counts one source until it is dropped with the source's task.
struct LiveSource(Arc<LiveSources>);

impl LiveSources {
    /// How many there are.
    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Ends when there is none left; the faults of those that ended by one.
    pub async fn ended(&self) -> Vec<(Arc<str>, Fault)> {
        loop {
            let changed = self.changed.listen();
            if self.count() == 0 {
                return self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone();
            }
            changed.await;
        }
    }

    fn enter(self: &Arc<Self>) -> LiveSource {
        self.count.fetch_add(1, Ordering::SeqCst);
        LiveSource(self.clone())
    }
}

impl LiveSource {
    fn note(&self, name: &Arc<str>, fault: Fault) {
        let mut faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push((name.clone(), fault));
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify(usize::MAX);
    }
}

impl Supervisor {
    /// Nothing runs yet.
    pub fn new(engine: Arc<Engine>, context: OpenContext, is_once: bool) -> Self {
        let (sources, workers, live) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        Supervisor { engine, context, is_once, sources, live, workers }
    }

    /// Ends the workers of targets that the diff closes or replaces, and forgets the health of
    /// what is closed. To be called right after the generation was swapped in.
    pub async fn close_targets(&mut self, diff: &Diff) {
        // Calls under way end with their worker: what they carried is still pending.
        for name in is_over(diff, &[PlanRole::Sink, PlanRole::Notify]) {
            if let Some(worker) = self.workers.remove(&name) {
                worker.cancel().await;
            }
        }
        // Before the store is told the targets: it says what it parks for those that are gone.
        self.forget_closed(diff, PartRole::Target);
    }

    /// Makes what runs fit the running generation: ends what the diff closes or replaces, and
    /// starts what it opens. To be called after [`Supervisor::close_targets`].
    pub async fn apply(&mut self, diff: &Diff, sources: Vec<OpenedSource>) {
        let generation = self.engine.generation();
        for (name, target) in &generation.targets {
            if !self.workers.contains_key(name) {
                self.workers.insert(name.clone(), self.start_worker(target));
            }
        }
        // A source hands on what it has read before another reads the same.
        let over = is_over(diff, &[PlanRole::Source]);
        let ending = over.into_iter().filter_map(|name| self.sources.remove(&name));
        close_all(ending, &*self.engine.env.clock, SOURCE_GRACE).await;
        for opened in sources {
            let name = opened.name.clone();
            let earlier = self.sources.insert(name.clone(), self.start_source(opened));
            assert!(earlier.is_none(), "`{name}` runs already");
        }
        self.forget_closed(diff, PartRole::Source);
        self.forget_closed(diff, PartRole::Stage);
        self.assert_fits(&generation);
    }

    /// Ends every source and every worker. Attempts and messages under way have `grace` to end.
    pub async fn close(&mut self, grace: Duration) {
        let clock = self.engine.env.clock.clone();
        let sources = std::mem::take(&mut self.sources).into_values();
        let tasks = sources.chain(std::mem::take(&mut self.workers).into_values());
        close_all(tasks, &*clock, grace).await;
    }

    /// The sources that run by themselves and have not ended.
    pub fn live_sources(&self) -> &Arc<LiveSources> {
        &self.live
    }

    /// What is closed has no health any more.
    fn forget_closed(&self, diff: &Diff, forgotten: PartRole) {
        let generation = self.engine.generation();
        for part in diff.parts().iter().filter(|part| part.fate == PartFate::Closed) {
            let role = match part.role {
                PlanRole::Source => PartRole::Source,
                PlanRole::Enrich => PartRole::Stage,
                PlanRole::Sink | PlanRole::Notify => PartRole::Target,
                _ => continue,
            };
            if role != forgotten {
                continue;
            }
            // A notifier may have taken the name of a sink.
            if role != PartRole::Target || !generation.targets.contains_key(&part.name) {
                self.engine.env.health.remove(&HealthPart { role, name: part.name.clone() });
            }
        }
    }

    fn start_worker(&self, target: &Arc<Target>) -> TaskHandle {
        let restarts = Restarts {
            env: self.engine.env.clone(),
            health: target.health().clone(),
            backoff: Backoff::default(),
            gives_up: false,
        };
        let (engine, target) = (self.engine.clone(), target.clone());
        TaskHandle::spawn(self.engine.executor(), |stop| async move {
            let work = || DeliveryWorker::new(engine.clone(), target.clone()).run(&stop);
            let ended = restarts.run(&stop, work).await;
            assert_eq!(ended, Ok(()), "a worker never gives up");
        })
    }

    fn start_source(&self, opened: OpenedSource) -> TaskHandle {
        let OpenedSource { name, spec, source } = opened;
        let restarts = Restarts {
            env: self.engine.env.clone(),
            health: self.engine.env.health.part(PartRole::Source, name.clone()),
            backoff: Backoff::default(),
            gives_up: self.is_once,
        };
        let live = self.live.enter();
        let started = StartedSource {
            engine: self.engine.clone(),
            context: self.context.clone(),
            name,
            spec,
            opened: Mutex::new(Some(source)),
        };
        TaskHandle::spawn(self.engine.executor(), |stop| async move {
            if let Err(fault) = restarts.run(&stop, || started.run(&stop)).await {
                live.note(&started.name, fault);
            }
            drop(live);
        })
    }

    /// One task for each source and target that is on, and no other.
    fn assert_fits(&self, generation: &Generation) {
        let workers: Vec<_> = self.workers.keys().collect();
        assert!(generation.targets.keys().eq(workers), "a worker for each target");
        let sources = generation.plan.sources.iter();
        let run: BTreeSet<_> = sources
            .filter(|source| source.off.is_none() && !source.spec.is_served())
            .map(|source| &source.name)
            .collect();
        assert!(self.sources.keys().eq(run), "a task for each source that runs by itself");
    }
}

/// Parts with one of these roles that end.
fn is_over(diff: &Diff, roles: &[PlanRole]) -> Vec<Arc<str>> {
    let ends = |part: &&PartChange| {
        roles.contains(&part.role) && matches!(part.fate, PartFate::Closed | PartFate::Replaced)
    };
    diff.parts().iter().filter(ends).map(|part| part.name.clone()).collect()
}

/// Closes tasks side by side.
async fn close_all(tasks: impl Iterator<Item = TaskHandle>, clock: &dyn Clock, grace: Duration) {
    futures_util::future::join_all(tasks.map(|task| task.close(clock, grace))).await;
}

/// A source, and what it takes to open it again.
struct StartedSource {
    engine: Arc<Engine>,
    context: OpenContext,
    name: Arc<str>,
    spec: Arc<dyn SourceSpec>,
    /// The first one was opened before the reload was accepted.
    opened: Mutex<Option<Box<dyn DynSource>>>,
}

impl StartedSource {
    async fn run(&self, stop: &Arc<StopSignal>) -> Result<(), Fault> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut source = match opened {
            Some(source) => source,
            None => self.open().await?,
        };
        let emitter = SourceEmitter::new(self.engine.clone(), self.name.clone(), stop.clone());
        source.run(&emitter).await
    }

    async fn open(&self) -> Result<Box<dyn DynSource>, Fault> {
        let plan = &self.engine.generation().plan;
        let services = self.context.services(plan, PartRole::Source, &self.name);
        match self.spec.open(services).await? {
            OpenSource::Task(source) => Ok(source),
            OpenSource::Route(_) => unreachable!("a source that is served has no task"),
        }
    }
}
