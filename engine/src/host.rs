//! `engine run`: opens everything in order, says that it is ready, and closes it in order.

mod service_manager;
mod signals;
mod summary;

use crate::client::address::AddressFile;
use crate::engine::{Engine, Outbox};
use crate::http::app::Hubs;
use crate::http::ports::NetworkPorts;
use crate::log::{self, LogFormat};
use crate::reload::{self, EngineParts, PipelineFile, Reloader};
use crate::resources;
use crate::run::condition;
use crate::run::stop::StopSignal;
use crate::run::{DemoFiles, OpenContext};
use crate::supervisor::LiveSources;
use crate::watch::Watch;
use compiler::files::{PipelinePath, cannot_read, report_exposure};
use compiler::load::{LoadedPipeline, PipelineLoader, ProcessEnvironment};
use compiler::plan::{Plan, RunMode};
use kernel::env::Env;
use kernel::fault::Fault;
use language::Environment;
use language::diagnostic::Rule;
use service_manager::ServiceManager;
use signals::SignalWatch;
use stages::catalog::Catalog;
use stages::contract::Programs;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use store::{
    self, CommitObserver, Settings, Store, StoreFault, StoreTrouble, StoredEvent, Synchronous,
};
use wire::Wire;

/// With `--once`: for how long deliveries may wait for a change that only somebody else can make.
const STUCK_MAX: Duration = Duration::from_secs(5);

/// How long a stop waits for requests and tasks when the store is broken.
const BROKEN_GRACE: Duration = Duration::from_millis(500);

/// The options of `engine run`.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether the pipeline may start programs.
    pub allows_exec: bool,
    /// Where the file is.
    pub place: PipelinePath,
    /// Whether demo sources run, on a store of their own, and whether it ends with its sources.
    pub mode: RunMode,
    /// With `--once`: whether dead letters are a failure.
    pub fails_on_dead: bool,
    /// Whether the file is watched.
    pub is_watched: bool,
    /// What `--set` gave.
    pub overrides: Vec<(String, String)>,
    /// The log format.
    pub log: LogFormat,
}

/// Why a run ended other than well: the exit code and what to say.
#[derive(Debug)]
pub struct RunFailure {
    /// See the interfaces.
    pub code: u8,
    /// For people; empty when everything was said.
    pub message: String,
}

/// Why a run with `--once` would never end.
const NOTHING_ENDS: &str = "`--once` needs a source that ends: a file that is not followed, \
                            standard input, or a demo with `count`";

fn failure(code: u8, message: impl Into<String>) -> RunFailure {
    RunFailure { code, message: message.into() }
}

/// Runs a pipeline until it is stopped.
pub fn run(mut options: Options) -> Result<(), RunFailure> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    resources::ensure(cores).map_err(|reason| failure(3, reason))?;
    // First of all: a signal from here on is an orderly stop.
    let signals = SignalWatch::start().map_err(|fault| failure(3, fault.to_string()))?;
    let env = Env::system();
    let catalog = Arc::new(Catalog::built_in());
    let environment: Arc<dyn Environment> = Arc::new(ProcessEnvironment);
    if options.mode.is_demo {
        let data =
            options.place.data.take().unwrap_or_else(|| options.place.folder.join("../data"));
        options.place.data = Some(data.join("demo"));
    }
    let (place, overrides) = (&options.place, &options.overrides);
    let loaded = PipelineLoader { place, overrides, catalog: &catalog, environment: &*environment }
        .load(options.mode)
        .map_err(|fault| failure(2, cannot_read(&place.file, &fault)))?;
    let mut diagnostics = loaded.diagnostics.clone();
    if options.allows_exec {
        diagnostics.retain(|diagnostic| diagnostic.rule != Rule::StartsProgram);
    }
    log::findings(options.log, &diagnostics);
    if loaded.plan.as_ref().is_some_and(Plan::starts_programs) && !options.allows_exec {
        return Err(failure(1, reload::EXEC_REFUSED));
    }
    let LoadedPipeline { plan: Some(plan), files, hash, .. } = loaded else {
        return Err(failure(1, ""));
    };
    // Asked of the plan: a short file may have ended before anybody counts.
    if options.mode.is_once && !plan.has_ending_source() {
        return Err(failure(1, NOTHING_ENDS));
    }
    for line in &plan.off {
        tracing::info!("{line}");
    }
    let log = options.log;
    report_exposure(&env.health, &files, &plan.secret_files);
    let (hubs, outbox) = (Arc::<Hubs>::default(), Arc::<Outbox>::default());
    let bridge = Bridge { hubs: hubs.clone(), outbox: outbox.clone() };
    let opened =
        store::open(store_settings(&plan), reload::policy(&plan), env.clone(), Box::new(bridge));
    let (store, writer) = opened.map_err(|fault| failure(fault.exit_code(), fault.to_string()))?;
    let threads = HostThreads::start(store.clone(), writer, cores)?;
    let wire = Arc::new(Wire::new(&env));
    let idle = wire.clone();
    threads.executor.spawn(async move { idle.close_idle().await }).detach();
    let parts = EngineParts {
        store,
        executor: threads.executor.clone(),
        outbox,
        hubs,
        ports: Arc::new(NetworkPorts),
        context: context(&env, environment, wire, &options),
        file: PipelineFile {
            place: options.place.clone(),
            overrides: options.overrides.clone(),
            catalog,
            mode: options.mode,
        },
        show: Arc::new(move |diagnostics| log::findings(log, diagnostics)),
    };
    let result = smol::block_on(live(parts, Start { plan, hash, files }, &options, &signals));
    threads.end()?;
    result
}

/// The store takes nothing before a restart: its exit code, and what to do.
fn broken(fault: &StoreFault) -> RunFailure {
    let code = if fault.class == StoreTrouble::Corrupt { 65 } else { 74 };
    failure(code, fault.reason.clone())
}

/// What the first generation is made of.
struct Start {
    plan: Plan,
    hash: String,
    files: BTreeSet<PathBuf>,
}

/// From the first generation to the end of the drain. A second signal ends at once: everything
/// that was acknowledged is durable.
async fn live(
    parts: EngineParts,
    start: Start,
    options: &Options,
    signals: &SignalWatch,
) -> Result<(), RunFailure> {
    let orderly = async {
        let grace = start.plan.limits.shutdown_grace;
        let mut address_file = AddressFile::of(&start.plan);
        let reloader = Reloader::start(parts, start.plan, start.hash).await;
        let mut reloader = reloader.map_err(|fault| start_failure(&fault))?;
        let live_sources = reloader.supervisor().live_sources().clone();
        let engine = reloader.engine().clone();
        let began = engine.env.clock.monotonic();
        summary::at_start(&engine).await;
        engine.keep_running("housekeeping", tick);
        let (address, number) = (reloader.address(), engine.generation().number);
        address_file.say(address);
        log::ready(options.log, address, reloader.app().is_tls(), number);
        let manager = Arc::new(ServiceManager::of(&ProcessEnvironment));
        manager.ready(&status_of(&engine));
        let fed = manager.clone();
        engine.keep_running("telling systemd", move |engine| feed(engine, fed.clone()));
        let stop = StopSignal::default();
        let watched = WatchedFiles { files: start.files, address_file, manager: manager.clone() };
        let following = follow(&mut reloader, watched, options, signals, &stop);
        let until_end = async {
            let end = until_end(&engine, &live_sources, options, signals).await;
            stop.raise();
            end
        };
        // A reload under way is finished, not dropped half-way.
        let (_address_file, end) = smol::future::zip(following, until_end).await;
        manager.stopping(grace);
        // Nothing more can be stored, so there is nothing to wait for but answers that say so.
        let grace = if engine.store.is_broken() { grace.min(BROKEN_GRACE) } else { grace };
        reloader.close(grace).await;
        match &end {
            RunEnd::Settled => {
                summary::after_once(&engine, engine.env.clock.monotonic() - began).await;
            }
            _ => summary::at_stop(&engine).await,
        }
        end.result()
    };
    let again = async {
        let code = signals.second().await;
        Err(failure(code, "stopped at once"))
    };
    smol::future::or(orderly, again).await
}

fn start_failure(fault: &Fault) -> RunFailure {
    failure(3, fault.reason.clone())
}

fn context(
    env: &Env,
    environment: Arc<dyn Environment>,
    fetch: Arc<Wire>,
    options: &Options,
) -> OpenContext {
    let demo = options.mode.is_demo.then(|| DemoFiles {
        notices: options.place.written("../data/notify-demo.jsonl"),
        events: options.place.written("../data/sink-demo.jsonl"),
    });
    OpenContext {
        env: env.clone(),
        environment,
        fetch,
        demo,
        programs: if options.allows_exec { Programs::Allowed } else { Programs::Refused },
        outside: None,
    }
}

/// The files that a reload looks at, and the one that it may have to write.
struct WatchedFiles {
    files: BTreeSet<PathBuf>,
    address_file: AddressFile,
    manager: Arc<ServiceManager>,
}

/// Follows the file until it is time to stop. The engine can be found until the drain has ended.
async fn follow(
    reloader: &mut Reloader,
    watched: WatchedFiles,
    options: &Options,
    signals: &SignalWatch,
    stop: &StopSignal,
) -> AddressFile {
    let WatchedFiles { files, mut address_file, manager } = watched;
    let clock = reloader.engine().env.clock.clone();
    let status = reloader.status();
    let mut watch = Watch::new();
    if options.is_watched {
        watch.follow(&files);
    }
    while !stop.is_raised() {
        let changed = async {
            if !options.is_watched {
                smol::future::pending::<()>().await;
            }
            watch.changed(&*clock).await;
        };
        let by_manager = async {
            signals.hangup().await;
            manager.reloading();
        };
        let by_hand = smol::future::or(by_manager, status.asked());
        smol::future::or(stop.raised(), smol::future::or(by_hand, changed)).await;
        if stop.is_raised() {
            break;
        }
        let asked = status.asked_so_far();
        if let Some(files) = reloader.reload().await
            && options.is_watched
        {
            watch.follow(&files);
        }
        status.has_looked(asked);
        manager.ready(&status_of(reloader.engine()));
        address_file.say(reloader.address());
    }
    address_file
}

/// Why a run ends.
enum RunEnd {
    /// With `--once`: everything was read and settled.
    Settled,
    /// A signal asked for it, or the store takes nothing any more; what is left waits for the next
    /// start. Why the store takes nothing is told when it is closed.
    Stopped,
    /// With `--once`: a source failed, or there are dead letters that must not be.
    Failed(RunFailure),
}

impl RunEnd {
    fn result(self) -> Result<(), RunFailure> {
        match self {
            RunEnd::Settled | RunEnd::Stopped => Ok(()),
            RunEnd::Failed(failure) => Err(failure),
        }
    }
}

/// Ends at a signal or, with `--once`, when the sources have ended and everything is settled.
async fn until_end(
    engine: &Arc<Engine>,
    live_sources: &LiveSources,
    options: &Options,
    signals: &SignalWatch,
) -> RunEnd {
    let done = async {
        if !options.mode.is_once {
            smol::future::pending::<()>().await;
        }
        let settled = async {
            let faults = live_sources.ended().await;
            match once_result(engine, faults, options.fails_on_dead).await {
                Ok(()) => RunEnd::Settled,
                Err(failure) => RunEnd::Failed(failure),
            }
        };
        smol::future::or(settled, summary::show_progress(engine, options.log)).await
    };
    let signalled = async {
        signals.first().await;
        RunEnd::Stopped
    };
    let broken = async {
        engine.store.when_broken().await;
        RunEnd::Stopped
    };
    smol::future::or(broken, smol::future::or(signalled, done)).await
}

/// Waits until everything is settled; what became of the run.
async fn once_result(
    engine: &Arc<Engine>,
    faults: Vec<(Arc<str>, Fault)>,
    fails_on_dead: bool,
) -> Result<(), RunFailure> {
    until_settled(engine).await?;
    if let Some((name, fault)) = faults.first() {
        return Err(failure(3, format!("source `{name}` ended: {}", fault.reason)));
    }
    let letters = engine.store.figures().dead_letters.load(Ordering::Relaxed);
    if fails_on_dead && 0 < letters {
        let letters = summary::counted(letters, "dead letter");
        return Err(failure(1, format!("{letters} in the store; `engine sql` shows them")));
    }
    Ok(())
}

/// Waits until nothing is in flight and every delivery is settled; an error where what is left only
/// waits for somebody.
async fn until_settled(engine: &Engine) -> Result<(), RunFailure> {
    let (store, clock) = (&engine.store, &engine.env.clock);
    let mut stuck_since = None;
    loop {
        store.tick().await;
        let pending = store.figures().pending.load(Ordering::Relaxed);
        match pending_targets(engine).await {
            Ok(targets) if pending == 0 && targets.is_empty() => return Ok(()),
            Ok(targets) if pending == 0 => {
                let reasons: Option<Vec<String>> = targets
                    .iter()
                    .map(|target| condition::waits_for_change(engine, target))
                    .collect();
                let now = clock.monotonic();
                match reasons {
                    Some(reasons) if STUCK_MAX <= now - *stuck_since.get_or_insert(now) => {
                        return Err(failure(3, stuck(&reasons)));
                    }
                    Some(_) => {}
                    None => stuck_since = None,
                }
            }
            _ => stuck_since = None,
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
}

/// The targets of the file to which deliveries are pending. Others are parked.
async fn pending_targets(engine: &Engine) -> Result<Vec<Arc<str>>, StoreFault> {
    let targets = engine.generation().plan.outside();
    let read = move |reader: &store::Reader<'_>| {
        if !reader.is_any_pending()? {
            return Ok(Vec::new());
        }
        let mut pending = Vec::new();
        for target in targets {
            if reader.next_due(&target)?.is_some() {
                pending.push(target);
            }
        }
        Ok(pending)
    };
    engine.store.read(read).await
}

/// What a run with `--once` says that only somebody else can end.
fn stuck(reasons: &[String]) -> String {
    let reasons = reasons.join("; ");
    format!("{reasons}; correct it, and run again: what waits is kept, and delivered then")
}

/// The threads of a running engine.
struct HostThreads {
    store: Store,
    executor: Arc<smol::Executor<'static>>,
    writer: std::thread::JoinHandle<()>,
    workers: Vec<std::thread::JoinHandle<()>>,
    /// Dropped at the end of the workers.
    end: async_channel::Sender<()>,
}

impl HostThreads {
    fn start(store: Store, writer: store::Writer, cores: usize) -> Result<Self, RunFailure> {
        let no_thread =
            |what: &str, fault: std::io::Error| failure(3, format!("cannot start {what}: {fault}"));
        let writer = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|fault| no_thread("the thread that writes the store", fault))?;
        let executor = Arc::new(smol::Executor::new());
        let (end, ended) = async_channel::bounded::<()>(1);
        let mut workers = Vec::with_capacity(cores);
        for index in 0..cores {
            let (executor, ended) = (executor.clone(), ended.clone());
            let work = move || {
                smol::block_on(executor.run(ended.recv())).ok();
            };
            let thread = std::thread::Builder::new().name(format!("executor-{index}")).spawn(work);
            match thread {
                Ok(thread) => workers.push(thread),
                // One is enough to run everything.
                Err(fault) if workers.is_empty() => {
                    return Err(no_thread("a thread that runs stages", fault));
                }
                Err(_) => break,
            }
        }
        Ok(HostThreads { store, executor, writer, workers, end })
    }

    /// Closes the store and waits for every thread.
    fn end(self) -> Result<(), RunFailure> {
        smol::block_on(self.store.close());
        drop(self.end);
        self.workers.into_iter().for_each(|thread| drop(thread.join()));
        let writer = self.writer.join();
        if let Some(fault) = self.store.failure() {
            return Err(broken(&fault));
        }
        writer.map_err(|_| failure(74, "the thread that writes the store panicked"))
    }
}

/// The writer's view of hubs and workers.
struct Bridge {
    hubs: Arc<Hubs>,
    outbox: Arc<Outbox>,
}

impl CommitObserver for Bridge {
    fn committed(&mut self, batch: &[Arc<StoredEvent>]) {
        self.hubs.publish(batch);
    }

    fn deliveries(&mut self, sinks: &BTreeSet<Arc<str>>) {
        sinks.iter().for_each(|sink| self.outbox.wake(sink));
    }

    fn unclaimed(&mut self) {
        self.outbox.leave_in_inbox();
    }

    fn emitted(&mut self, seqs: &[u64]) {
        self.outbox.emitted(seqs);
    }

    fn wakes(&mut self, _: kernel::time::Timestamp) {
        self.outbox.wake_timers();
    }
}

fn store_settings(plan: &Plan) -> Settings {
    let base = Settings {
        place: store::StoreLocation::Memory,
        synchronous: Synchronous::Full,
        batch: 1024,
        linger: Duration::ZERO,
        name: "".into(),
    };
    match &plan.store {
        None => base,
        Some((name, shape)) => Settings {
            place: store::StoreLocation::File(shape.path.clone()),
            synchronous: shape.synchronous,
            batch: shape.batch,
            linger: shape.linger,
            name: name.clone(),
        },
    }
}

/// What a service manager shows of the engine.
fn status_of(engine: &Engine) -> String {
    let generation = engine.generation();
    format!("generation {} of {}", generation.number, generation.plan.name)
}

/// Tells the service manager that the engine lives, each time that the writer has answered.
async fn feed(engine: Arc<Engine>, manager: Arc<ServiceManager>) {
    let Some(pulse) = manager.pulse() else { return };
    while !engine.is_stopping() {
        engine.store.tick().await;
        manager.alive();
        smol::future::or(engine.env.clock.sleep(pulse), engine.when_stopped()).await;
    }
}

/// Housekeeping once a second.
async fn tick(engine: Arc<Engine>) {
    while !engine.is_stopping() {
        engine.store.tick().await;
        engine.env.health.summarise();
        let second = engine.env.clock.sleep(Duration::from_secs(1));
        smol::future::or(second, engine.when_stopped()).await;
    }
}
