//! From a plan to a generation: everything that can fail is opened here, before anything that
//! runs is touched.

use super::cache::AnswerCache;
use super::limits::{CallLimits, KeptLimits};
use super::target::{NoticeTexts, Target, TargetKind};
use super::{Generation, OpenStage};
use crate::metrics::open_metrics;
use compiler::plan::diff::{Diff, PartFate, PartState, PlanRole};
use compiler::plan::{NotifierPlan, Plan, SinkPlan, SourcePlan, StagePlan};
use kernel::env::Env;
use kernel::fault::Fault;
use kernel::health::PartRole;
use language::Environment;
use smol::lock::Semaphore;
use stages::catalog::SourceSpec;
use stages::contract::{
    DynDeliver, DynNotify, DynSource, Enricher, HttpRoute, OpenSource, Programs, Services, SinkRole,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use wire::Fetch;

/// What stages, sources and targets are opened with.
#[derive(Clone)]
pub struct OpenContext {
    /// Time, chance, threads, health.
    pub env: Env,
    /// Where variables come from.
    pub environment: Arc<dyn Environment>,
    /// HTTP to the outside.
    pub fetch: Arc<dyn Fetch>,
    /// With `--demo`: what stands in for all that leaves the machine.
    pub demo: Option<DemoFiles>,
    /// Whether programs may be started.
    pub programs: Programs,
    /// What stands in for the whole outside; `None` is the real one.
    pub outside: Option<Arc<dyn Outside>>,
}

/// Files that stand in for what leaves the machine.
#[derive(Debug, Clone)]
pub struct DemoFiles {
    /// For notifiers.
    pub notices: PathBuf,
    /// For sinks.
    pub events: PathBuf,
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

impl OpenContext {
    /// The services of one source, stage, sink or notifier of a plan.
    pub fn services(&self, plan: &Plan, role: PartRole, name: &Arc<str>) -> Services {
        let fetch = match &self.outside {
            Some(outside) => outside.fetch(name),
            None => self.fetch.clone(),
        };
        Services {
            env: self.env.clone(),
            environment: self.environment.clone(),
            fetch,
            programs: self.programs,
            pipeline: plan.name.clone(),
            globals: plan.globals.clone(),
            store: plan.store.as_ref().map(|(_, shape)| Arc::from(shape.path.as_path())),
            health: self.env.health.part(role, name.clone()),
        }
    }
}

/// A generation that is ready to run, with the sources that will start with it.
pub struct OpenedParts {
    /// The generation.
    pub generation: Generation,
    /// What changes against the one before.
    pub diff: Diff,
    /// Sources that begin with it.
    pub sources: Vec<OpenedSource>,
}

/// A source that runs by itself, opened and not started.
pub struct OpenedSource {
    /// Its name.
    pub name: Arc<str>,
    /// What it was opened from, to open it again after a fault.
    pub spec: Arc<dyn SourceSpec>,
    /// The source.
    pub source: Box<dyn DynSource>,
}

/// What a generation is called.
#[derive(Debug, Clone)]
pub struct GenerationTag {
    /// Its number.
    pub number: u64,
    /// Hash of everything that it was built from.
    pub hash: String,
}

/// Opens what the diff to the `earlier` generation opens or replaces, and takes over what it
/// keeps. A fault leaves nothing open and the earlier generation as it was.
pub async fn open(
    mut plan: Plan,
    tag: GenerationTag,
    context: &OpenContext,
    earlier: Option<&Generation>,
) -> Result<OpenedParts, Fault> {
    // Where the plan was made of a text alone, this was not done yet.
    plan.look_outside(&*context.environment);
    let diff = match earlier {
        Some(earlier) => Diff::between(&earlier.plan, &plan),
        None => Diff::opening(&plan),
    };
    let opening = StageOpener { plan: &plan, diff: &diff, context, earlier };
    let stages = opening.stages().await?;
    let services = |name: &str| context.services(&plan, PartRole::Stage, &name.into());
    let mut memories = super::memories::open(&plan, earlier, services);
    memories.extend(super::memories::of_stages(&plan, &stages, earlier));
    let targets = opening.targets().await?;
    let (routes, sources) = opening.sources().await?;
    let loaded = context.env.clock.wall();
    let GenerationTag { number, hash } = tag;
    let metrics = open_metrics(&plan, earlier.map_or(&[], |earlier| &earlier.metrics));
    let taps = earlier.map(|earlier| earlier.taps.clone()).unwrap_or_default();
    let generation =
        Generation { number, hash, loaded, plan, stages, memories, metrics, targets, taps, routes };
    Ok(OpenedParts { generation, diff, sources })
}

/// Opens one notifier of a plan by itself.
pub async fn open_notifier(
    plan: &Plan,
    notifier: &NotifierPlan,
    context: &OpenContext,
) -> Result<Arc<Target>, Fault> {
    let diff = &Diff::opening(plan);
    StageOpener { plan, diff, context, earlier: None }.notifier(notifier).await
}

/// One opening.
struct StageOpener<'a> {
    plan: &'a Plan,
    diff: &'a Diff,
    context: &'a OpenContext,
    earlier: Option<&'a Generation>,
}

type Sources = (Vec<(usize, HttpRoute)>, Vec<OpenedSource>);

impl StageOpener<'_> {
    /// What an earlier generation has, where the diff keeps it.
    fn kept<T>(
        &self,
        role: PlanRole,
        name: &str,
        find: impl FnOnce(&Generation) -> Option<T>,
    ) -> Option<T> {
        let earlier = self.earlier.filter(|_| self.diff.fate(role, name) == PartFate::Kept)?;
        let kept = find(earlier);
        assert!(kept.is_some(), "{} {name} is kept and was not there", role.word());
        kept
    }

    async fn stages(&self) -> Result<Vec<Option<Arc<OpenStage>>>, Fault> {
        let mut stages = Vec::with_capacity(self.plan.stages.len());
        for stage in &self.plan.stages {
            stages.push(match &stage.off {
                Some(_) => None,
                None => Some(Arc::new(self.stage(stage).await?)),
            });
        }
        Ok(stages)
    }

    /// Calls at once, limits and the cache are new where their own settings are.
    async fn stage(&self, stage: &StagePlan) -> Result<OpenStage, Fault> {
        let (role, name) = (PlanRole::Enrich, &*stage.name);
        let earlier = self.earlier.and_then(|earlier| earlier.stage(name));
        let services = self.context.services(self.plan, PartRole::Stage, &stage.name);
        let health = services.health.clone();
        let kept = self.kept(role, name, |it| it.stage(name).map(|stage| stage.enricher.clone()));
        let enricher = match kept {
            Some(enricher) => enricher,
            None => {
                let opened = stage.spec.open(services).await;
                Arc::new(opened.map_err(|fault| named(&stage.name, fault))?)
            }
        };
        let is_remote = matches!(*enricher, Enricher::Remote(_));
        assert_eq!(is_remote, stage.spec.is_remote(), "`{name}` opens as its kind says");
        let cache = earlier.filter(|_| self.diff.keeps(role, name, PartState::Cache));
        let new_cache = || stage.cache.clone().map(|cache| Arc::new(AnswerCache::new(cache)));
        // Shared while the limit is the same, or each reload would add as many calls at once.
        let is_as_many = |it: &&Arc<OpenStage>| it.concurrency == stage.policy.concurrency;
        let slots = earlier.filter(is_as_many).map(|earlier| earlier.slots.clone());
        let concurrency = stage.policy.concurrency;
        Ok(OpenStage {
            enricher,
            concurrency,
            slots: slots.unwrap_or_else(|| Arc::new(Semaphore::new(concurrency))),
            limits: CallLimits::new(
                &stage.policy,
                earlier.map(|earlier| self.limits(role, name, &earlier.limits)),
            ),
            cache: cache.and_then(|cache| cache.cache.clone()).or_else(new_cache),
            health,
        })
    }

    /// Everything that delivers: the sinks beside store and streams, and the notifiers.
    async fn targets(&self) -> Result<BTreeMap<Arc<str>, Arc<Target>>, Fault> {
        let mut targets = BTreeMap::new();
        for sink in self.plan.sinks.iter().filter(|sink| sink.off.is_none()) {
            if sink.shape == SinkRole::Outside {
                targets.insert(sink.name.clone(), self.sink(sink).await?);
            }
        }
        for notifier in self.plan.notifiers.iter().filter(|notifier| notifier.off.is_none()) {
            targets.insert(notifier.name.clone(), self.notifier(notifier).await?);
        }
        Ok(targets)
    }

    async fn sink(&self, sink: &SinkPlan) -> Result<Arc<Target>, Fault> {
        let name = &sink.name;
        let kept = self.kept(PlanRole::Sink, name, |it| it.targets.get(name).cloned());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let services = self.context.services(self.plan, PartRole::Target, name);
        let deliver = match (&self.context.outside, &self.context.demo) {
            (Some(outside), _) => outside.sink(name),
            (None, Some(files)) if sink.spec.is_remote() => {
                stages::demo_sink(&files.events, services.clone())
            }
            _ => sink.spec.open(services.clone()).await.map_err(|fault| named(name, fault))?,
        };
        let limits = self.target_limits(PlanRole::Sink, name, &sink.policy);
        let (name, policy) = (name.clone(), sink.policy.clone());
        Ok(Arc::new(Target { name, policy, limits, kind: TargetKind::Sink(deliver), services }))
    }

    async fn notifier(&self, plan: &NotifierPlan) -> Result<Arc<Target>, Fault> {
        let name = &plan.name;
        let kept = self.kept(PlanRole::Notify, name, |it| it.targets.get(name).cloned());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let services = self.context.services(self.plan, PartRole::Target, name);
        let notifier = self.open_notifier(plan, &services).await?;
        let limits = self.target_limits(PlanRole::Notify, name, &plan.policy);
        let texts = Box::new(NoticeTexts {
            title: plan.title.clone(),
            message: plan.message.clone(),
            digest: plan.manners.digest.clone(),
            recover: plan.manners.alerts.recover.clone(),
        });
        let kind = TargetKind::Notifier { notifier, texts };
        let (name, policy) = (name.clone(), plan.policy.clone());
        Ok(Arc::new(Target { name, policy, limits, kind, services }))
    }

    async fn open_notifier(
        &self,
        plan: &NotifierPlan,
        services: &Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let name = &plan.name;
        let real =
            async || plan.spec.open(services.clone()).await.map_err(|fault| named(name, fault));
        match (&self.context.outside, &self.context.demo) {
            (Some(outside), _) => {
                let is_answered = plan.spec.is_remote() && plan.spec.uses_fetch();
                let real = if is_answered { Some(real().await?) } else { None };
                Ok(outside.notifier(name, real))
            }
            (None, Some(files)) if plan.spec.is_remote() => {
                Ok(stages::demo_notifier(files.notices.clone(), services.clone()))
            }
            _ => real().await,
        }
    }

    fn target_limits(
        &self,
        role: PlanRole,
        name: &Arc<str>,
        policy: &compiler::plan::CallPolicy,
    ) -> CallLimits {
        let earlier = self.earlier.and_then(|earlier| earlier.targets.get(name));
        CallLimits::new(policy, earlier.map(|earlier| self.limits(role, name, &earlier.limits)))
    }

    fn limits<'l>(&self, role: PlanRole, name: &str, earlier: &'l CallLimits) -> KeptLimits<'l> {
        let keeps = |state| self.diff.keeps(role, name, state);
        KeptLimits { earlier, breaker: keeps(PartState::Breaker), rate: keeps(PartState::Rate) }
    }

    /// Sources that the HTTP server serves are opened at each reload, for their secrets; one that
    /// runs by itself is opened when it begins or is replaced.
    async fn sources(&self) -> Result<Sources, Fault> {
        let (mut routes, mut tasks) = (Vec::new(), Vec::new());
        for (index, source) in self.plan.sources.iter().enumerate() {
            let is_kept = self.diff.fate(PlanRole::Source, &source.name) == PartFate::Kept;
            // Without an outside there is nothing that a source could read but the clock.
            let is_idle = is_kept || self.context.outside.is_some() && !source.spec.is_clock();
            if source.off.is_some() || (is_idle && !source.spec.is_served()) {
                continue;
            }
            match self.source(source).await? {
                OpenSource::Route(route) => routes.push((index, route)),
                OpenSource::Task(task) => {
                    let (name, spec) = (source.name.clone(), source.spec.clone());
                    tasks.push(OpenedSource { name, spec, source: task });
                }
            }
        }
        Ok((routes, tasks))
    }

    async fn source(&self, source: &SourcePlan) -> Result<OpenSource, Fault> {
        let services = self.context.services(self.plan, PartRole::Source, &source.name);
        let opened =
            source.spec.open(services).await.map_err(|fault| named(&source.name, fault))?;
        let is_route = matches!(opened, OpenSource::Route(_));
        assert_eq!(is_route, source.spec.is_served(), "`{}` opens as its kind says", source.name);
        Ok(opened)
    }
}

fn named(part: &str, fault: Fault) -> Fault {
    Fault { reason: format!("`{part}` cannot be opened: {}", fault.reason), ..fault }
}
