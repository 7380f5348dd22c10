//! A generation: one running instance of a plan.
//!
//! Owns the opened stages and outlets. Leaves *when* to open and replace them to
//! [`reload`](crate::reload), and where events come from and go to to
//! [`engine`](crate::engine).
//!
//! Never: a check of the user's text. A plan that arrives here is right.

pub mod attempt;
pub mod breaker;
pub mod cache;
pub mod deliver;
pub mod limiter;
pub mod pace;
pub mod retry_budget;
pub mod sources;
pub mod target_pace;
pub mod walk;

use crate::plan::{NotifierPlan, Plan, Policy, SinkPlan, StagePlan};
use crate::spec::Filter;
use breaker::Circuit;
use cache::Cache;
use limiter::Limiter;
use pace::Pace;
use smol::lock::Semaphore;
use stages::catalog::Spec;
use stages::contract::{
    DynDeliver, DynNotify, Enricher, Fault, Notice, OpenSource, Outgoing, Route, Services, Shape,
};
use stages::env::Clock;
use stages::expr::{Scope, Template};
use stages::fetch::Fetch;
use stages::health::PartRole;
use stages::time::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// One running instance of a plan.
pub struct Generation {
    /// Its number; goes on over restarts.
    pub number: u64,
    /// Hash of everything that it was built from.
    pub hash: String,
    /// When it was loaded.
    pub loaded: Timestamp,
    /// What it runs.
    pub plan: Plan,
    /// The opened stages, in the order of the plan; `None` where a stage is off.
    pub stages: Vec<Option<Arc<OpenStage>>>,
    /// What `dedupe` and `throttle` remember, by name.
    pub limiters: BTreeMap<Arc<str>, Arc<Limiter>>,
    /// What delivers to the outside, by name.
    pub outlets: BTreeMap<Arc<str>, Arc<Outlet>>,
    /// Sources that the HTTP server serves: index of the source, and its route.
    pub routes: Vec<(usize, Route)>,
}

/// An enrichment, opened.
pub struct OpenStage {
    /// What it does.
    pub enricher: Enricher,
    /// Its calls at once.
    pub slots: Semaphore,
    /// Whether and how often it may be asked.
    pub gate: Gate,
    /// Answers that are kept.
    pub cache: Option<Cache>,
}

/// Whether and how often something outside may be asked.
#[derive(Debug)]
pub struct Gate {
    /// Stops asking what does not answer.
    pub circuit: Option<Circuit>,
    /// How often it is asked.
    pub pace: Option<Pace>,
}

impl Gate {
    fn of(policy: &Policy) -> Self {
        Gate { circuit: policy.breaker.clone().map(Circuit::new), pace: policy.rate.map(Pace::new) }
    }

    /// Waits until the rate allows another call.
    pub async fn in_turn(&self, clock: &dyn Clock) {
        let Some(pace) = &self.pace else { return };
        let wait = pace.reserve(clock.monotonic());
        if !wait.is_zero() {
            clock.sleep(wait).await;
        }
    }
}

/// A sink or notifier that delivers to the outside, opened.
pub struct Outlet {
    /// Its name.
    pub name: Arc<str>,
    /// Its failure handling.
    pub policy: Policy,
    /// Whether and how often it may be asked.
    pub gate: Gate,
    kind: OutletKind,
    services: Services,
}

enum OutletKind {
    Sink(Box<dyn DynDeliver>),
    Notifier { notifier: Box<dyn DynNotify>, title: Template, message: Template },
}

/// How a generation is opened.
#[derive(Clone)]
pub struct Opening {
    /// What stages share.
    pub services: Services,
    /// With `--demo`: the file that stands in for notifiers that leave the machine.
    pub demo_notices: Option<PathBuf>,
    /// What stands in for the whole outside; `None` is the real one.
    pub outside: Option<Arc<dyn Outside>>,
}

/// Stands in for the outside, so that a pipeline runs without it.
pub trait Outside: Send + Sync {
    /// What the stage, sink or notifier of this name makes HTTP requests with.
    fn fetch(&self, name: &Arc<str>) -> Arc<dyn Fetch>;
    /// Takes what would go to this sink.
    fn sink(&self, name: &Arc<str>) -> Box<dyn DynDeliver>;
    /// Takes what would be told by this notifier. `real` is it, when it leaves the machine; it
    /// makes its requests with [`Outside::fetch`].
    fn notifier(&self, name: &Arc<str>, real: Option<Box<dyn DynNotify>>) -> Box<dyn DynNotify>;
}

impl Opening {
    /// The services of one source, stage, sink or notifier.
    pub fn services_of(&self, role: PartRole, name: &Arc<str>, services: &Services) -> Services {
        let health = services.env.health.part(role, name.clone());
        let fetch = match &self.outside {
            Some(outside) => outside.fetch(name),
            None => services.fetch.clone(),
        };
        Services { fetch, health, ..services.clone() }
    }
}

/// Opens every stage and outlet of a plan. What an `earlier` generation has open with the same
/// settings is shared instead of opened again. A fault leaves nothing open.
pub async fn open(
    plan: Plan,
    number: u64,
    hash: String,
    opening: &Opening,
    earlier: Option<&Generation>,
) -> Result<Generation, Fault> {
    let limiters = limiters(&plan, earlier);
    let services = Services {
        globals: plan.globals.clone(),
        pipeline: plan.name.clone(),
        timezone: plan.timezone.clone(),
        ..opening.services.clone()
    };
    // Kinds that render templates hold the globals, so they are shared only while these agree.
    let earlier = earlier.filter(|it| it.plan.globals == plan.globals && it.plan.name == plan.name);
    let mut stages = Vec::new();
    for stage in &plan.stages {
        stages.push(match &stage.off {
            Some(_) => None,
            None => {
                let services = opening.services_of(PartRole::Stage, &stage.name, &services);
                Some(open_stage(stage, &services, earlier).await?)
            }
        });
    }
    let mut outlets = BTreeMap::new();
    let own = plan.store.as_ref().map(|it| it.0.clone());
    for sink in plan.sinks.iter().filter(|it| it.off.is_none() && Some(&it.name) != own.as_ref()) {
        if !matches!(sink.shape, Shape::Stream(_)) {
            let services = opening.services_of(PartRole::Target, &sink.name, &services);
            let outlet = open_sink(sink, &services, opening, earlier).await?;
            outlets.insert(sink.name.clone(), outlet);
        }
    }
    for notifier in plan.notifiers.iter().filter(|it| it.off.is_none()) {
        let services = opening.services_of(PartRole::Target, &notifier.name, &services);
        let outlet = open_notifier(notifier, &services, opening, earlier).await?;
        outlets.insert(notifier.name.clone(), outlet);
    }
    let mut routes = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        let is_route = !source.spec.claims().is_empty() && source.off.is_none();
        if !source.is_disabled
            && is_route
            && let OpenSource::Route(route) = source
                .spec
                .open(opening.services_of(PartRole::Source, &source.name, &services))
                .await?
        {
            routes.push((index, route));
        }
    }
    let loaded = services.env.clock.wall();
    Ok(Generation { number, hash, loaded, plan, stages, limiters, outlets, routes })
}

/// A rule that stays as it is keeps what it remembers.
fn limiters(plan: &Plan, earlier: Option<&Generation>) -> BTreeMap<Arc<str>, Arc<Limiter>> {
    let mut limiters = BTreeMap::new();
    for filter in &plan.filters {
        let kept = earlier.and_then(|earlier| {
            let same = |it: &&Filter| it.name == filter.name && it.rule == filter.rule;
            earlier.plan.filters.iter().find(same)?;
            earlier.limiters.get(&*filter.name.value).cloned()
        });
        let limiter = kept.or_else(|| Limiter::of(&filter.rule).map(Arc::new));
        limiters.extend(limiter.map(|it| (Arc::from(filter.name.value.as_str()), it)));
    }
    limiters
}

async fn open_stage(
    stage: &StagePlan,
    services: &Services,
    earlier: Option<&Generation>,
) -> Result<Arc<OpenStage>, Fault> {
    if let Some(earlier) = earlier {
        let kept = earlier.plan.stages.iter().zip(&earlier.stages).find(|(it, _)| {
            it.name == stage.name
                && it.policy == stage.policy
                && it.cache == stage.cache
                && it.spec.same(Spec::as_any(&*stage.spec))
        });
        if let Some((_, Some(open))) = kept {
            return Ok(open.clone());
        }
    }
    let enricher = stage.spec.open(services.clone()).await.map_err(|it| named(&stage.name, it))?;
    Ok(Arc::new(OpenStage {
        enricher,
        slots: Semaphore::new(stage.policy.concurrency),
        gate: Gate::of(&stage.policy),
        cache: stage.cache.clone().map(Cache::new),
    }))
}

async fn open_sink(
    sink: &SinkPlan,
    services: &Services,
    opening: &Opening,
    earlier: Option<&Generation>,
) -> Result<Arc<Outlet>, Fault> {
    assert!(matches!(sink.shape, Shape::Outside), "the plan has at most one store");
    if let Some(earlier) = earlier {
        let kept = earlier.plan.sinks.iter().find(|it| {
            it.name == sink.name
                && it.policy == sink.policy
                && it.spec.same(Spec::as_any(&*sink.spec))
        });
        if let Some(open) = kept.and_then(|it| earlier.outlets.get(&it.name)) {
            return Ok(open.clone());
        }
    }
    let deliver = match &opening.outside {
        Some(outside) => outside.sink(&sink.name),
        None => sink.spec.open(services.clone()).await.map_err(|it| named(&sink.name, it))?,
    };
    Ok(Arc::new(Outlet {
        name: sink.name.clone(),
        policy: sink.policy.clone(),
        gate: Gate::of(&sink.policy),
        kind: OutletKind::Sink(deliver),
        services: services.clone(),
    }))
}

async fn open_notifier(
    plan: &NotifierPlan,
    services: &Services,
    opening: &Opening,
    earlier: Option<&Generation>,
) -> Result<Arc<Outlet>, Fault> {
    if let Some(earlier) = earlier {
        let kept = earlier.plan.notifiers.iter().find(|it| {
            it.name == plan.name
                && it.policy == plan.policy
                && it.title == plan.title
                && it.message == plan.message
                && it.spec.same(Spec::as_any(&*plan.spec))
        });
        if let Some(open) = kept.and_then(|it| earlier.outlets.get(&it.name)) {
            return Ok(open.clone());
        }
    }
    let real = async || plan.spec.open(services.clone()).await.map_err(|it| named(&plan.name, it));
    let notifier = match (&opening.outside, &opening.demo_notices) {
        (Some(outside), _) => {
            let real = if plan.spec.is_remote() { Some(real().await?) } else { None };
            outside.notifier(&plan.name, real)
        }
        (None, Some(path)) if plan.spec.is_remote() => {
            stages::demo_notifier(path.clone(), services.clone())
        }
        _ => real().await?,
    };
    let (title, message) = (plan.title.clone(), plan.message.clone());
    Ok(Arc::new(Outlet {
        name: plan.name.clone(),
        policy: plan.policy.clone(),
        gate: Gate::of(&plan.policy),
        kind: OutletKind::Notifier { notifier, title, message },
        services: services.clone(),
    }))
}

fn named(stage: &str, fault: Fault) -> Fault {
    Fault { reason: format!("`{stage}` cannot be opened: {}", fault.reason), ..fault }
}

impl Outlet {
    /// One attempt.
    pub async fn deliver(&self, outgoing: Outgoing) -> Result<(), Fault> {
        match &self.kind {
            OutletKind::Sink(sink) => sink.deliver(&outgoing).await,
            OutletKind::Notifier { notifier, title, message } => {
                let now = self.services.env.clock.wall();
                let scope = Scope::of(&outgoing.event, now).with(&self.services.globals);
                let (title, message) = (title.render(&scope), message.render(&scope));
                notifier.tell(&Notice { outgoing, title, message }).await
            }
        }
    }
}
