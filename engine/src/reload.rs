//! A changed file becomes the next generation, or changes nothing.
//!
//! Read → check → open fully → swap one pointer; a failure at any step leaves the running
//! generation as it is. Stores, listeners and streams belong to the host and are lent.

mod changes;

use crate::engine::Engine;
use crate::files::{Place, report_exposure};
use crate::http::app::App;
use crate::load::{self, Loaded};
use crate::plan::Plan;
use crate::report;
use crate::run::{self, Generation, Opening, deliver, sources};
use serde_json::{Value, json};
use stages::catalog::{Catalog, Spec};
use stages::contract::OpenSource;
use stages::health::PartRole;
use stages::language::Environment;
use stages::store::{Entry, Policy, ReloadRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// How the file on disk stands against what runs.
#[derive(Debug, Default)]
pub struct Status {
    /// Why the file on disk is not what runs.
    stale: Mutex<Option<String>>,
    last: Mutex<Value>,
}

impl Status {
    /// The findings of a file that was refused, while it is the one on disk.
    pub fn stale(&self) -> Option<String> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How the last reload ended.
    pub fn last(&self) -> Value {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stale: Option<String>, last: Value) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = stale;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

/// What starts with an engine and what a reload needs.
pub struct Reloader {
    /// The engine.
    pub engine: Arc<Engine>,
    /// What HTTP shows.
    pub app: App,
    /// Where the file is.
    pub place: Place,
    /// What `--set` gave.
    pub overrides: Vec<(String, String)>,
    /// Every kind.
    pub catalog: Arc<Catalog>,
    /// Variables.
    pub environment: Arc<dyn Environment>,
    /// How generations are opened.
    pub opening: Opening,
    /// Whether demo sources run.
    pub is_demo: bool,
    /// Whether only sources that end run.
    pub is_once: bool,
    /// Running sources by name, with what they were opened from.
    pub running: smol::lock::Mutex<BTreeMap<Arc<str>, Started>>,
    workers: Mutex<BTreeSet<Arc<str>>>,
    refused: Mutex<Option<String>>,
}

/// A running source and what it was opened from.
pub struct Started {
    spec: Arc<dyn stages::catalog::SourceSpec>,
    /// The source.
    pub running: sources::Running,
}

impl Reloader {
    /// Ready to start sources and to follow the file.
    pub fn new(
        app: App,
        place: Place,
        overrides: Vec<(String, String)>,
        catalog: Arc<Catalog>,
        environment: Arc<dyn Environment>,
        opening: Opening,
        (is_demo, is_once): (bool, bool),
    ) -> Self {
        Reloader {
            engine: app.engine.clone(),
            app,
            place,
            overrides,
            catalog,
            environment,
            opening,
            is_demo,
            is_once,
            running: smol::lock::Mutex::new(BTreeMap::new()),
            workers: Mutex::new(BTreeSet::new()),
            refused: Mutex::new(None),
        }
    }

    /// Looks at the file; when what it comes to has changed, it becomes the next generation.
    /// Answers the files to watch.
    pub async fn reload(&self) -> Option<BTreeSet<PathBuf>> {
        let (place, overrides) = (self.place.clone(), self.overrides.clone());
        let (catalog, environment) = (self.catalog.clone(), self.environment.clone());
        let load = move || load::load(&place, &overrides, &catalog, &*environment);
        let loaded = match self.engine.env.pools.reload.run(load).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(fault)) => {
                let reason = format!("{} cannot be read: {fault}\n", self.place.file.display());
                // Told once, however often it is looked for.
                if self.app.status.stale().as_ref() != Some(&reason) {
                    self.refuse(String::new(), reason).await;
                }
                return None;
            }
            Err(fault) => {
                tracing::warn!(%fault, "the file could not be looked at; tried again");
                return None;
            }
        };
        let files = loaded.files.clone();
        let running = self.engine.generation();
        let secrets =
            loaded.plan.as_ref().map_or(&running.plan.secret_files, |it| &it.secret_files);
        report_exposure(&self.engine.env.health, &files, secrets);
        if loaded.hash == running.hash {
            if self.app.status.stale().is_some() {
                self.app.status.set(None, self.app.status.last());
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
                // Who reads this line finds it so when they ask.
                tracing::info!(generation = running.number, "the file is again what runs");
            }
            return Some(files);
        }
        let known = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.as_ref() == Some(&loaded.hash) {
            return Some(files);
        }
        self.take(loaded, &running).await;
        Some(files)
    }

    async fn take(&self, loaded: Loaded, running: &Arc<Generation>) {
        let Loaded { plan, diagnostics, hash, .. } = loaded;
        let Some(plan) = plan else {
            return self.refuse(hash, report::human(&diagnostics, false, 100)).await;
        };
        if let Some(reason) = needs_restart(&plan, running) {
            return self.refuse(hash, format!("{reason}\n")).await;
        }
        let number = running.number + 1;
        let opened = run::open(plan, number, hash.clone(), &self.opening, Some(running)).await;
        let generation = match opened {
            Ok(generation) => Arc::new(generation),
            Err(fault) => return self.refuse(hash, format!("{}\n", fault.reason)).await,
        };
        let changes = changes::between(&running.plan, &generation.plan);
        self.engine.swap(generation.clone());
        self.settle_in().await;
        self.record(&generation, "loaded", changes.clone(), None).await;
        self.engine.metrics.reloaded("loaded");
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let last = json!({
            "outcome": "loaded", "generation": number, "changes": changes,
            "time": self.engine.env.clock.wall().to_string(),
        });
        self.app.status.set(None, last);
        tracing::info!(generation = number, changes, "reloaded");
    }

    async fn refuse(&self, hash: String, findings: String) {
        let generation = self.engine.generation();
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash);
        let last = json!({
            "outcome": "refused", "generation": generation.number,
            "time": self.engine.env.clock.wall().to_string(),
        });
        self.app.status.set(Some(findings.clone()), last);
        self.engine.metrics.reloaded("refused");
        tracing::warn!(generation = generation.number, "the file was refused; what ran goes on");
        report::to_terminal(&findings);
        self.record(&generation, "refused", String::new(), Some(findings)).await;
    }

    /// Makes everything around the engine fit the running generation: tokens, streams, retention,
    /// workers, sources.
    pub async fn settle_in(&self) {
        let generation = self.engine.generation();
        self.app.follow(&*self.environment).await;
        let store = &self.engine.store;
        store.set_policy(policy(&generation.plan)).await;
        let sinks = generation.plan.outside();
        if let Err(fault) = store.submit(vec![Entry::Park { sinks }]).await {
            tracing::warn!(reason = %fault, "deliveries could not be parked");
        }
        self.start_workers(&generation);
        self.start_sources(&generation).await;
    }

    /// Notes a start or reload in the history.
    pub async fn record(
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
        if let Err(fault) = self.engine.store.submit(vec![Entry::Reload(record)]).await {
            tracing::warn!(reason = %fault, "the reload could not be noted");
        }
    }

    fn start_workers(&self, generation: &Generation) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        for name in generation.outlets.keys() {
            if workers.insert(name.clone()) {
                self.engine.spawn(deliver::work(self.engine.clone(), name.clone()));
            } else {
                self.engine.outbox().signal(name).notify(usize::MAX);
            }
        }
        // A worker whose outlet is gone ends at its next look; it is started anew if it returns.
        workers.retain(|it| generation.outlets.contains_key(it));
    }

    /// Starts what is new, stops what is gone or changed. An unchanged source keeps running.
    async fn start_sources(&self, generation: &Generation) {
        let mut running = self.running.lock().await;
        let mut wanted = BTreeMap::new();
        for source in &generation.plan.sources {
            let is_route = !source.spec.claims().is_empty();
            let is_on = source.off.is_none()
                && (!source.is_disabled || (self.is_demo && source.spec.is_demo()))
                && (!self.is_once || source.spec.ends());
            if is_on && !is_route {
                wanted.insert(source.name.clone(), source.spec.clone());
            }
        }
        let gone: Vec<Arc<str>> = running
            .iter()
            .filter(|(name, it)| {
                !wanted.get(*name).is_some_and(|spec| spec.same(Spec::as_any(&*it.spec)))
            })
            .map(|it| it.0.clone())
            .collect();
        for name in gone {
            if let Some(started) = running.remove(&name) {
                started.running.stop().await;
            }
        }
        for (name, spec) in wanted {
            if running.contains_key(&name) {
                continue;
            }
            let opening = &self.opening;
            let services = opening.services_of(PartRole::Source, &name, &opening.services);
            match spec.open(services).await {
                Ok(OpenSource::Task(source)) => {
                    let started = sources::start(&self.engine, name.clone(), source);
                    running.insert(name, Started { spec, running: started });
                }
                Ok(OpenSource::Route(_)) => unreachable!("a route claims its path"),
                Err(fault) => tracing::warn!(source = &*name, fault = %fault, "not started"),
            }
        }
    }
}

/// What a running engine cannot change.
fn needs_restart(plan: &Plan, running: &Generation) -> Option<String> {
    let opened = |it: &Plan| {
        let (name, shape) = it.store.as_ref()?;
        Some((name.clone(), shape.path.clone(), shape.batch, shape.linger, shape.synchronous))
    };
    if opened(plan) != opened(&running.plan) {
        let what = "the store's name, path, batch or synchronous changes";
        return Some(format!("{what}; restart the engine to take it"));
    }
    if plan.name != running.plan.name {
        return Some("the pipeline's name changes; restart the engine to take it".to_owned());
    }
    if plan.server.listen != running.plan.server.listen {
        return Some("`server.listen` changes; restart the engine to take it".to_owned());
    }
    if running.plan.server.has_auth && !plan.server.has_auth {
        return Some("`server.auth` goes; restart the engine to take it".to_owned());
    }
    None
}

/// The store's retention as the plan has it.
pub fn policy(plan: &Plan) -> Policy {
    let base = plan.store.as_ref().map(|it| it.1.policy.clone()).unwrap_or_default();
    Policy { dead_keep: plan.dead_letter.keep, dead_max: plan.dead_letter.entries_max, ..base }
}
