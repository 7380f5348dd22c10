//! A changed file becomes the next generation, or changes nothing.
//!
//! Read → check → compare → open fully → swap → close what is over. Everything that can fail is
//! opened before the swap; a failure leaves the running generation exactly as it was. After the
//! swap nothing can fail: what runs is made to fit the generation.
//!
//! Owns everything that a generation lends and a reload may replace: the sources and workers
//! ([`Supervisor`]), the HTTP surface and its port.

mod inputs;
mod status;

pub use status::Status;

use crate::engine::{Engine, Outbox};
use crate::http::ServerLimits;
use crate::http::app::{App, Hubs, Surface};
use crate::http::ports::{Port, Ports, Serving};
use crate::http::service::ServerContext;
use crate::run::open::OpenedParts;
use crate::run::{self, Generation, GenerationTag, OpenContext};
use crate::supervisor::Supervisor;
use compiler::files::{PipelinePath, report_exposure};
use compiler::load::{LoadedPipeline, PipelineLoader};
use compiler::plan::diff::{Diff, PartFate, PlanRole};
use compiler::plan::{Plan, RunMode, environment};
use kernel::env::within;
use kernel::fault::Fault;
use kernel::health::{HealthProblem, PartRole};
use language::diagnostic::Diagnostic;
use serde_json::json;
use smol::Executor;
use stages::catalog::Catalog;
use stages::contract::Programs;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{ReloadRecord, RetentionPolicy, Store, StoreEntry, StoreFault};

/// The longest that opening a generation may take.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// How long requests on an address that was moved have to finish.
const MOVED_GRACE: Duration = Duration::from_secs(5);
/// Why a pipeline that starts programs does not run.
pub const EXEC_REFUSED: &str =
    "the pipeline starts programs; start the engine with `engine run --allow-exec`";
/// The code of a pipeline file that does not run.
const REJECTED: &str = "rejected";

/// What to do about a file that is wrong.
const CORRECT: &str = "correct the file; `engine check` shows every mistake and where it is";
/// What to do about one that is right and cannot run for now.
const COMES_BACK: &str = "fix the cause; the file is tried again automatically";

/// Where the pipeline file is and how it is read.
#[derive(Clone)]
pub struct PipelineFile {
    /// Where the file is.
    pub place: PipelinePath,
    /// What `--set` gave.
    pub overrides: Vec<(String, String)>,
    /// Every kind.
    pub catalog: Arc<Catalog>,
    /// What the run was asked to start.
    pub mode: RunMode,
}

/// Shows what is wrong with a file to whoever started the engine.
pub type ShowFindings = Arc<dyn Fn(&[Diagnostic]) + Send + Sync>;

/// What an engine is made of, besides its first generation.
pub struct EngineParts {
    /// Where everything durable is.
    pub store: Store,
    /// Runs the tasks.
    pub executor: Arc<Executor<'static>>,
    /// Wakes the workers of targets.
    pub outbox: Arc<Outbox>,
    /// What the writer publishes to.
    pub hubs: Arc<Hubs>,
    /// Where the server listens.
    pub ports: Arc<dyn Ports>,
    /// What stages are opened with.
    pub context: OpenContext,
    /// The pipeline file.
    pub file: PipelineFile,
    /// Shows what is wrong with a file.
    pub show: ShowFindings,
}

/// A running pipeline, and what makes it follow its file.
pub struct Reloader {
    file: PipelineFile,
    context: OpenContext,
    ports: Arc<dyn Ports>,
    show: ShowFindings,
    engine: Arc<Engine>,
    app: App,
    supervisor: Supervisor,
    server: RunningServer,
    /// What was rejected, so that it is rejected once.
    rejected: Option<FileVersion>,
}

/// What a pipeline was built from: the hash of its files, and a fingerprint of its secrets.
type FileVersion = (String, u64);

struct RunningServer {
    serving: Option<Box<dyn Serving>>,
    site: Arc<ServerContext>,
    address: SocketAddr,
}

/// A next generation with everything around it, before anything is changed.
struct Prepared {
    opened: OpenedParts,
    surface: Surface,
    /// The new address, where the server moves.
    port: Option<Box<dyn Port>>,
}

/// Who remembers, and which rules hold for messages, from the next event on. It goes before the
/// generation takes over: a filter that the store does not know lets everything pass.
async fn tell_store(store: &Store, generation: &Generation) -> Result<(), StoreFault> {
    store.submit(vec![generation.remember()]).await.map(drop)
}

impl Reloader {
    /// Opens the first generation and starts everything. A fault leaves nothing running.
    pub async fn start(parts: EngineParts, plan: Plan, hash: String) -> Result<Self, Fault> {
        let EngineParts { store, executor, outbox, hubs, ports, context, file, show } = parts;
        let last = store.read(|reader| reader.last_generation()).await;
        let last = last.map_err(|fault| Fault::permanent(fault.reason))?;
        let number = match last {
            Some((number, known)) if known == hash => number,
            Some((number, _)) => number + 1,
            None => 1,
        };
        let port = bind(&*ports, &plan, &context).await?;
        let opened = open(plan, GenerationTag { number, hash }, &context, None).await?;
        let OpenedParts { generation, diff, sources } = opened;
        let generation = Arc::new(generation);
        let env = context.env.clone();
        let engine = Engine::new(env.clone(), store, executor, outbox, generation.clone());
        let restored = engine.restore_pauses().await;
        restored.map_err(|fault| Fault::permanent(fault.reason))?;
        let told = tell_store(&engine.store, &generation).await;
        told.map_err(|fault| Fault::permanent(fault.reason))?;
        let app = App::new(engine.clone(), Arc::default(), hubs, context.fetch.clone());
        let surface = app.prepare(&generation, &diff, &*context.environment).await?;
        app.status.keep_file(number, generation.plan.effective.clone());
        let site = site_of(&app, &context);
        let supervisor = Supervisor::new(engine.clone(), context.clone(), file.mode.is_once);
        let server = RunningServer { serving: None, site, address: port.address() };
        let rejected = None;
        let mut reloader =
            Reloader { file, context, ports, show, engine, app, supervisor, server, rejected };
        inputs::note(&env.health, &generation.plan.inputs, number);
        reloader.record(&generation, "start", String::new(), None).await;
        reloader.fit(&diff, sources, surface).await;
        let (executor, site) = (reloader.engine.executor().clone(), reloader.server.site.clone());
        reloader.engine.keep_running("reading the inbox", Engine::drain_inbox);
        reloader.engine.keep_running("waking what remembers", Engine::wake_memories);
        reloader.engine.keep_running("ending pauses", Engine::end_pauses);
        reloader.server.serving = Some(port.serve(executor, site));
        Ok(reloader)
    }

    /// The engine that it runs.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What HTTP shows of it.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// What runs beside the events.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Looks at the file; when what it comes to has changed, it becomes the next generation.
    /// Answers the files to watch, where the file could be read.
    pub async fn reload(&mut self) -> Option<BTreeSet<PathBuf>> {
        let (file, environment) = (self.file.clone(), self.context.environment.clone());
        let load = move || {
            let (place, overrides) = (&file.place, &file.overrides);
            let loader = PipelineLoader {
                place,
                overrides,
                catalog: &file.catalog,
                environment: &*environment,
            };
            loader.load(file.mode)
        };
        let loaded = match self.engine.env.pools.reload.run(load).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(fault)) => return self.reject_unreadable(&fault).await,
            Err(fault) => return self.reject_unreadable(&fault).await,
        };
        let files = loaded.files.clone();
        let running = self.engine.generation();
        let of_running = &running.plan.secret_files;
        let secret_files =
            loaded.plan.as_ref().map_or(of_running, |plan| &plan.secret_files).clone();
        inputs::note(&self.engine.env.health, &loaded.inputs, running.number);
        let secrets = |plan: &Plan| plan.secrets.fingerprint();
        let version = (loaded.hash.clone(), loaded.plan.as_ref().map_or(0, secrets));
        if version == (running.hash.clone(), secrets(&running.plan)) {
            self.accept_as_it_runs();
        } else if self.rejected.as_ref() != Some(&version) {
            self.take(loaded, version, &running).await;
        }
        self.app.refresh_tls().await;
        report_exposure(&self.engine.env.health, &files, &secret_files);
        Some(files)
    }

    /// How the file on disk compares with what runs.
    pub fn status(&self) -> Arc<Status> {
        self.app.status.clone()
    }

    /// Ends everything that runs: the server first, then sources and workers, each with `grace`
    /// for what is under way. What did not finish stays pending in the store.
    pub async fn close(&mut self, grace: Duration) {
        if let Some(serving) = self.server.serving.take() {
            // Requests under way are finished first; what they bring is accepted, not refused.
            serving.drain(grace.min(MOVED_GRACE)).await;
        }
        self.engine.stop();
        self.supervisor.close(grace).await;
        within(&*self.engine.env.clock, grace, self.engine.when_idle()).await;
    }

    async fn take(
        &mut self,
        loaded: LoadedPipeline,
        version: FileVersion,
        running: &Arc<Generation>,
    ) {
        let LoadedPipeline { plan, diagnostics, hash, .. } = loaded;
        let Some(plan) = plan else {
            let findings = compiler::report::human(&diagnostics, false, 100);
            let headline = compiler::report::headline(&diagnostics);
            self.reject(Some(version), &headline, findings, CORRECT).await;
            // Whoever reads them finds them at `/readyz` too.
            return (self.show)(&diagnostics);
        };
        let tag = GenerationTag { number: running.number + 1, hash };
        let prepared = match self.prepare(plan, tag, running).await {
            Ok(prepared) => prepared,
            // Nothing is wrong with the file: what is around it may change without being saved here.
            Err(fault) => return self.reject_for_now(&fault.reason, COMES_BACK).await,
        };
        match tell_store(&self.engine.store, &prepared.opened.generation).await {
            Ok(()) => self.swap(prepared).await,
            Err(fault) => {
                let reason = format!("the store cannot be written: {}", fault.reason);
                self.reject_for_now(&reason, COMES_BACK).await;
            }
        }
    }

    /// Everything that can fail.
    async fn prepare(
        &self,
        plan: Plan,
        tag: GenerationTag,
        running: &Generation,
    ) -> Result<Prepared, Fault> {
        let diff = Diff::between(&running.plan, &plan);
        if plan.starts_programs() && self.context.programs != Programs::Allowed {
            return Err(Fault::permanent(EXEC_REFUSED));
        }
        if !diff.rejections().is_empty() {
            let reasons = diff.rejections().join("; ");
            return Err(Fault::permanent(format!("{reasons}; restart the engine to apply this")));
        }
        let moves = diff.fate(PlanRole::Server, "") == PartFate::Replaced;
        let port = match moves {
            true => Some(bind(&*self.ports, &plan, &self.context).await?),
            false => None,
        };
        let opened = open(plan, tag, &self.context, Some(running)).await?;
        assert_eq!(opened.diff, diff, "opened as compared");
        let environment = &*self.context.environment;
        let surface = self.app.prepare(&opened.generation, &diff, environment).await?;
        Ok(Prepared { opened, surface, port })
    }

    /// The next generation takes the place of the running one; nothing here can fail.
    async fn swap(&mut self, prepared: Prepared) {
        let Prepared { opened: OpenedParts { generation, diff, sources }, surface, port } =
            prepared;
        let generation = Arc::new(generation);
        let earlier = self.engine.generation();
        self.engine.swap(generation.clone());
        inputs::keep(&self.engine.env.health, &generation.plan.inputs);
        for line in generation.plan.off.iter().filter(|line| !earlier.plan.off.contains(line)) {
            tracing::info!("{line}");
        }
        self.fit(&diff, sources, surface).await;
        if let Some(port) = port {
            self.move_server(port);
        }
        let changes = diff.summary();
        self.record(&generation, "loaded", changes.clone(), None).await;
        self.engine.metrics.reloaded("loaded");
        self.rejected = None;
        let (number, now) = (generation.number, self.engine.env.clock.wall());
        self.app.status.set(
            None,
            json!({
                "outcome": "loaded", "generation": number, "changes": changes,
                "time": now.to_string(), "diff": diff.json(),
            }),
            now,
        );
        self.app.status.keep_file(number, generation.plan.effective.clone());
        self.config_health().clear_all();
        tracing::info!(generation = number, "reloaded: {changes}");
    }

    /// Makes everything around the engine fit the running generation.
    async fn fit(&mut self, diff: &Diff, sources: Vec<run::OpenedSource>, surface: Surface) {
        let generation = self.engine.generation();
        self.app.activate(surface);
        let store = &self.engine.store;
        store.set_policy(policy(&generation.plan)).await;
        self.supervisor.close_targets(diff).await;
        self.engine.drop_pauses().await;
        let sinks = generation.plan.outside();
        if let Err(fault) = store.submit(vec![StoreEntry::Park { sinks }]).await {
            tracing::warn!(reason = %fault, "deliveries of closed targets could not be parked");
        }
        self.supervisor.apply(diff, sources).await;
    }

    /// Requests on the old address may finish; the new one is served at once.
    fn move_server(&mut self, port: Box<dyn Port>) {
        let site = site_of(&self.app, &self.context);
        let address = port.address();
        tracing::info!(from = %self.server.address, to = %address, "the server listens on another address now");
        let serving = port.serve(self.engine.executor().clone(), site.clone());
        let moved = RunningServer { serving: Some(serving), site, address };
        let earlier = std::mem::replace(&mut self.server, moved);
        if let Some(serving) = earlier.serving {
            self.engine.spawn(serving.drain(MOVED_GRACE));
        }
    }

    /// The file on disk is what runs.
    fn accept_as_it_runs(&mut self) {
        if self.app.status.stale().is_some() {
            let now = self.engine.env.clock.wall();
            self.app.status.set(None, self.app.status.last(), now);
            self.rejected = None;
            self.config_health().clear_all();
        }
    }

    /// The file cannot even be read.
    async fn reject_unreadable(
        &mut self,
        fault: &(dyn Display + Sync),
    ) -> Option<BTreeSet<PathBuf>> {
        let reason = format!("{} cannot be read: {fault}", self.file.place.file.display());
        self.reject_for_now(&reason, COMES_BACK).await;
        None
    }

    /// Nothing has to change in the file: it is tried again whenever it is looked at. Said once.
    async fn reject_for_now(&mut self, reason: &str, advice: &'static str) {
        if self.app.status.stale().as_deref() != Some(reason) {
            self.reject(None, reason, reason.to_owned(), advice).await;
        }
    }

    /// Notes why the file on disk does not run, in one line and in full, and what to do.
    async fn reject(
        &mut self,
        version: Option<FileVersion>,
        headline: &str,
        findings: String,
        advice: &'static str,
    ) {
        let generation = self.engine.generation();
        let number = generation.number;
        self.rejected = version;
        let now = self.engine.env.clock.wall();
        let last = json!({ "outcome": "refused", "generation": number, "time": now.to_string() });
        self.app.status.set(Some(findings.clone()), last, now);
        self.engine.metrics.reloaded("refused");
        let reason = format!("reload rejected, generation {number} keeps running: {headline}");
        self.config_health().clear_all();
        self.config_health().report(HealthProblem::degraded(REJECTED, reason).advise(advice));
        self.record(&generation, "refused", String::new(), Some(findings)).await;
    }

    fn config_health(&self) -> kernel::health::PartHealth {
        self.engine.env.health.part(PartRole::Config, "")
    }

    /// Notes a start or reload in the history.
    async fn record(
        &self,
        generation: &Generation,
        outcome: &'static str,
        changes: String,
        diagnostics: Option<String>,
    ) {
        let record = ReloadRecord {
            time: self.engine.env.clock.wall(),
            generation: generation.number,
            hash: generation.hash.clone(),
            outcome,
            changes,
            diagnostics,
        };
        if let Err(fault) = self.engine.store.submit(vec![StoreEntry::Reload(record)]).await {
            tracing::warn!(reason = %fault, "the reload history could not be written");
        }
    }
}

async fn open(
    plan: Plan,
    tag: GenerationTag,
    context: &OpenContext,
    earlier: Option<&Generation>,
) -> Result<OpenedParts, Fault> {
    let opening = run::open(plan, tag, context, earlier);
    within(&*context.env.clock, OPEN_MAX, opening).await.unwrap_or_else(|| {
        let shown = kernel::time::write_duration(OPEN_MAX);
        Err(Fault::permanent(format!("opening the stages takes longer than {shown}")))
    })
}

/// Binds the address of a plan; one that others can reach needs `auth`, also where the address
/// comes from a variable.
async fn bind(
    ports: &dyn Ports,
    plan: &Plan,
    context: &OpenContext,
) -> Result<Box<dyn Port>, Fault> {
    let listen = plan.server.listen.value.resolve(&*context.environment);
    let listen = listen.map_err(|unset| Fault::permanent(format!("`server.listen`: {unset}")))?;
    if !plan.server.has_auth && !environment::is_loopback(&listen) {
        let reason = format!("{listen} is open to the network; add `auth` to `server`");
        return Err(Fault::permanent(reason));
    }
    ports.bind(listen).await
}

fn site_of(app: &App, context: &OpenContext) -> Arc<ServerContext> {
    let (state, clock) = (app.state.clone(), context.env.clock.clone());
    Arc::new(ServerContext::new(app.service(), state, ServerLimits::default(), clock))
}

/// The store's retention as the plan has it.
pub fn policy(plan: &Plan) -> RetentionPolicy {
    let base = plan.store.as_ref().map(|store| store.1.policy.clone()).unwrap_or_default();
    RetentionPolicy {
        dead_keep: plan.dead_letter.keep,
        dead_max: plan.dead_letter.entries_max,
        outbox: plan.outbox(),
        // Streams go back to what they missed; without one nobody does.
        passing_keep: if plan.streams().next().is_some() {
            base.passing_keep
        } else {
            Duration::ZERO
        },
        ..base
    }
}
