//! `engine run`: opens everything in order, says that it is ready, and closes it in order.

use crate::engine::{Engine, Outbox};
use crate::files::{Place, report_exposure};
use crate::http::Limits;
use crate::http::app::{App, Hubs};
use crate::http::listener::Server;
use crate::http::service::Site;
use crate::http::wire::hosts::Hosts;
use crate::load::{self, Loaded, ProcessEnvironment};
use crate::plan::Plan;
use crate::reload::{self, Reloader, Status};
use crate::report;
use crate::resources;
use crate::run::{self, Opening};
use crate::watch::Watch;
use async_signal::{Signal, Signals};
use futures_util::StreamExt;
use smol::net::TcpListener;
use stages::catalog::Catalog;
use stages::contract::Services;
use stages::env::{Env, within};
use stages::fetch::Wire;
use stages::health::PartRole;
use stages::language::Environment;
use stages::store::{
    self, Settings, Store, StoreFault, StoreTrouble, Stored, Synchronous, Watcher,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a stop waits for requests and tasks when the store is broken.
const BROKEN_GRACE: Duration = Duration::from_millis(500);

/// What `engine run` was asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the file is.
    pub place: Place,
    /// Whether demo sources run, on a store of their own.
    pub is_demo: bool,
    /// Whether it ends when its sources have.
    pub is_once: bool,
    /// With `is_once`: whether dead letters are a failure.
    pub fails_on_dead: bool,
    /// Whether the file is watched.
    pub is_watched: bool,
    /// What `--set` gave.
    pub overrides: Vec<(String, String)>,
}

/// Why a run ended other than well: the exit code and what to say.
#[derive(Debug)]
pub struct Failure {
    /// See the interfaces.
    pub code: u8,
    /// For people; empty when everything was said.
    pub message: String,
}

fn failure(code: u8, message: impl Into<String>) -> Failure {
    Failure { code, message: message.into() }
}

/// Runs a pipeline until it is told to stop.
pub fn run(mut options: Options) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    resources::ensure(cores).map_err(|it| failure(3, it))?;
    // A file that has reached its limit is a fault of a write then, and not the end of the process.
    let _too_large = Signals::new([Signal::Xfsz])
        .map_err(|it| failure(3, format!("cannot listen for signals: {it}")))?;
    let env = Env::system();
    let catalog = Arc::new(Catalog::built_in());
    let environment: Arc<dyn Environment> = Arc::new(ProcessEnvironment);
    if options.is_demo {
        let data =
            options.place.data.take().unwrap_or_else(|| options.place.folder.join("../data"));
        options.place.data = Some(data.join("demo"));
    }
    let loaded = load::load(&options.place, &options.overrides, &catalog, &*environment)
        .map_err(|it| failure(2, format!("cannot read {}: {it}", options.place.file.display())))?;
    report::to_terminal(&report::human(&loaded.diagnostics, report::has_colour(), report::width()));
    let Loaded { plan: Some(plan), files, hash, .. } = loaded else {
        return Err(failure(1, ""));
    };
    for line in &plan.off {
        tracing::info!("{line}");
    }
    report_exposure(&env.health, &files, &plan.secret_files);
    let hubs = Arc::new(Hubs::default());
    let outbox = Arc::new(Outbox::default());
    let bridge = Bridge { hubs: hubs.clone(), outbox: outbox.clone() };
    let opened =
        store::open(store_settings(&plan), reload::policy(&plan), env.clone(), Box::new(bridge));
    let (store, writer) = opened.map_err(|it| failure(it.exit_code(), it.to_string()))?;
    let writing = std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || writer.run())
        .map_err(|it| failure(3, format!("cannot start the writer: {it}")))?;
    let executor = Arc::new(smol::Executor::new());
    let (threads_stop, threads_end) = async_channel::bounded::<()>(1);
    let mut threads = Vec::new();
    for index in 0..cores {
        let (executor, end) = (executor.clone(), threads_end.clone());
        let thread = std::thread::Builder::new().name(format!("executor-{index}"));
        match thread.spawn(move || smol::block_on(executor.run(end.recv())).ok()) {
            Ok(thread) => threads.push(thread),
            Err(fault) if index == 0 => {
                return Err(failure(3, format!("cannot start a thread: {fault}")));
            }
            Err(fault) => tracing::warn!(%fault, "only {index} of {cores} threads were started"),
        }
    }
    let parts = Parts { env, catalog, environment, store: store.clone(), hubs, outbox, executor };
    let result = smol::block_on(parts.run(plan, hash, files, &options));
    smol::block_on(store.close());
    drop(threads_stop);
    threads.into_iter().for_each(|it| drop(it.join()));
    let has_panicked = writing.join().is_err();
    match store.failure() {
        Some(fault) => Err(broken(&fault)),
        None if has_panicked => Err(failure(74, "the writer of the store panicked")),
        None => result,
    }
}

/// The store takes nothing before a restart: its exit code, and what to do.
fn broken(fault: &StoreFault) -> Failure {
    let code = if fault.class == StoreTrouble::Corrupt { 65 } else { 74 };
    failure(code, fault.reason.clone())
}

/// The writer's view of hubs and workers.
struct Bridge {
    hubs: Arc<Hubs>,
    outbox: Arc<Outbox>,
}

impl Watcher for Bridge {
    fn committed(&mut self, batch: &[Arc<Stored>]) {
        self.hubs.publish(batch);
    }

    fn deliveries(&mut self, sinks: &BTreeSet<Arc<str>>) {
        for sink in sinks {
            self.outbox.signal(sink).notify(usize::MAX);
        }
    }
}

fn store_settings(plan: &Plan) -> Settings {
    let base = Settings {
        place: store::Place::Memory,
        synchronous: Synchronous::Full,
        batch: 1024,
        linger: Duration::ZERO,
        name: "".into(),
        backlog_rows: 1_000_000,
        backlog_bytes: 256 << 20,
    };
    match &plan.store {
        None => base,
        Some((name, shape)) => Settings {
            place: store::Place::File(shape.path.clone()),
            synchronous: shape.synchronous,
            batch: shape.batch,
            linger: shape.linger,
            name: name.clone(),
            ..base
        },
    }
}

struct Parts {
    env: Env,
    catalog: Arc<Catalog>,
    environment: Arc<dyn Environment>,
    store: Store,
    hubs: Arc<Hubs>,
    outbox: Arc<Outbox>,
    executor: Arc<smol::Executor<'static>>,
}

impl Parts {
    async fn run(
        &self,
        plan: Plan,
        hash: String,
        files: BTreeSet<PathBuf>,
        options: &Options,
    ) -> Result<(), Failure> {
        let public = plan.server.public_url.as_ref();
        let public = public.and_then(|it| it.value.resolve(&*self.environment).ok());
        let (listener, address) = self.listen(&plan).await?;
        let last = self.store.read(|it| it.last_generation()).await;
        let number = match last.map_err(|it| failure(74, it.reason))? {
            Some((number, known)) if known == hash => number,
            Some((number, _)) => number + 1,
            None => 1,
        };
        let opening = self.opening(options);
        let generation = run::open(plan, number, hash, &opening, None).await;
        let generation = Arc::new(generation.map_err(|it| failure(3, it.reason))?);
        let grace = generation.plan.limits.shutdown_grace;
        let engine = Engine::new(
            self.env.clone(),
            self.store.clone(),
            self.executor.clone(),
            self.outbox.clone(),
            generation.clone(),
        );
        let status = Arc::new(Status::default());
        let app = App::new(engine.clone(), status, self.hubs.clone());
        let site = Site::new(
            app.service(),
            hosts(public.as_deref()),
            Limits::default(),
            self.env.clock.clone(),
        );
        let reloader = Arc::new(Reloader::new(
            app,
            options.place.clone(),
            options.overrides.clone(),
            self.catalog.clone(),
            self.environment.clone(),
            opening,
            (options.is_demo, options.is_once),
        ));
        reloader.record(&generation, "start", String::new(), None).await;
        reloader.settle_in().await;
        if options.is_once && reloader.running.lock().await.is_empty() {
            return Err(failure(
                1,
                "`--once` needs a source that ends: a file that is not followed, standard input, or a demo with `count`",
            ));
        }
        engine.spawn(engine.clone().pump());
        engine.spawn(tick(engine.clone()));
        let server = Server::start(listener, self.executor.clone(), Arc::new(site));
        report::to_terminal(&format!("ready http://{address} generation {number}\n"));
        let end = self.until_the_end(&reloader, files, options).await;
        let ended = self.drain(&engine, server, grace, end).await;
        if options.is_once && options.fails_on_dead && ended.is_ok() {
            let letters =
                self.store.figures().dead_letters.load(std::sync::atomic::Ordering::Relaxed);
            if 0 < letters {
                return Err(failure(1, format!("{letters} dead letters")));
            }
        }
        ended
    }

    /// Binds the address of the plan; one that others can reach needs `auth`, also where the
    /// address comes from a variable.
    async fn listen(&self, plan: &Plan) -> Result<(TcpListener, SocketAddr), Failure> {
        let listen = plan.server.listen.value.resolve(&*self.environment);
        let listen = listen.map_err(|it| failure(3, format!("`server.listen`: {it:?}")))?;
        if !plan.server.has_auth && !crate::plan::outside::is_loopback(&listen) {
            let message = format!("{listen} is open to the network; add `auth` to `server`");
            return Err(failure(1, message));
        }
        let taken = |it: std::io::Error| failure(3, format!("cannot listen on {listen}: {it}"));
        let listener = TcpListener::bind(&listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok((listener, address))
    }

    fn opening(&self, options: &Options) -> Opening {
        let services = Services {
            env: self.env.clone(),
            environment: self.environment.clone(),
            fetch: Arc::new(Wire::new(&self.env)),
            globals: Arc::default(),
            pipeline: "".into(),
            timezone: "UTC".into(),
            health: self.env.health.part(PartRole::Config, ""),
        };
        let demo_notices =
            options.is_demo.then(|| options.place.written("../data/notify-demo.jsonl"));
        Opening { services, demo_notices, outside: None }
    }

    /// Follows the file and waits for a signal, or for the sources to end.
    async fn until_the_end(
        &self,
        reloader: &Arc<Reloader>,
        files: BTreeSet<PathBuf>,
        options: &Options,
    ) -> End {
        let mut watch = Watch::new();
        let hint = watch.hint();
        let clock = self.env.clock.clone();
        let following = async {
            if !options.is_watched {
                return smol::future::pending().await;
            }
            watch.follow(&files);
            loop {
                watch.changed(&*clock).await;
                if let Some(files) = reloader.reload().await {
                    watch.follow(&files);
                }
            }
        };
        let signalled = async {
            let Ok(mut signals) = Signals::new([Signal::Term, Signal::Int, Signal::Hup]) else {
                return smol::future::pending().await;
            };
            while let Some(Ok(signal)) = signals.next().await {
                match signal {
                    Signal::Hup if options.is_watched => {
                        hint.notify(usize::MAX);
                    }
                    Signal::Hup => drop(reloader.reload().await),
                    _ => return End::Signal(signals),
                }
            }
            smol::future::pending().await
        };
        let done = async {
            if !options.is_once {
                return smol::future::pending().await;
            }
            self.until_done(reloader).await;
            End::Done
        };
        let broken = async {
            self.store.when_broken().await;
            End::Broken
        };
        let ended = smol::future::or(done, following);
        smol::future::or(broken, smol::future::or(signalled, ended)).await
    }

    /// `--once`: the sources have ended, nothing is in flight, every delivery is settled.
    async fn until_done(&self, reloader: &Reloader) {
        for started in reloader.running.lock().await.values() {
            started.running.when_over().await;
        }
        loop {
            self.store.tick().await;
            let pending = self.store.figures().pending.load(std::sync::atomic::Ordering::Relaxed);
            let deliveries = self.store.read(|it| it.pending_count()).await.unwrap_or(0);
            if pending == 0 && deliveries == 0 {
                return;
            }
            self.env.clock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Closes the door, waits for what runs, and leaves the rest pending on disk. A second signal
    /// ends at once: everything acknowledged is durable.
    async fn drain(
        &self,
        engine: &Arc<Engine>,
        server: Server,
        grace: Duration,
        end: End,
    ) -> Result<(), Failure> {
        // Nothing more can be stored, so there is nothing to wait for but answers that say so.
        let grace = if matches!(end, End::Broken) { grace.min(BROKEN_GRACE) } else { grace };
        let draining = async {
            // Requests under way are finished first; what they bring is accepted, not refused.
            server.drain(grace.min(Duration::from_secs(5))).await;
            engine.stop();
            within(&*self.env.clock, grace, engine.when_idle()).await;
            Ok(())
        };
        let again = async {
            let End::Signal(mut signals) = end else {
                return smol::future::pending().await;
            };
            while let Some(Ok(signal)) = signals.next().await {
                match signal {
                    Signal::Int => return Err(failure(130, "stopped at once")),
                    Signal::Term => return Err(failure(143, "stopped at once")),
                    _ => {}
                }
            }
            smol::future::pending().await
        };
        smol::future::or(draining, again).await
    }
}

/// Why a run ends.
enum End {
    Signal(Signals),
    Done,
    Broken,
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

/// Names under which requests may come, beside the address itself.
fn hosts(public_url: Option<&str>) -> Hosts {
    let name = public_url.and_then(|it| it.split("://").nth(1)).map(|it| {
        let authority = it.split('/').next().unwrap_or(it);
        authority.rsplit_once(':').map_or(authority, |it| it.0).to_owned()
    });
    Hosts::of(name)
}
