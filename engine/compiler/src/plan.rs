//! The checked graph: names resolved, order fixed, schemas compiled, limits known.
//!
//! Invariant: a `Plan` has no unresolved name, no cycle and no duplicate; every stage comes
//! behind what it waits for. [`build`] is the last place that reports findings.

mod claims;
pub mod diff;
mod early;
pub mod environment;
pub(crate) mod names;
mod order;
pub mod outline;
mod pausable;
mod policy;
mod relays;
mod schemas;
mod secrets;
mod worst_case;

pub use diff::Diff;
pub use outline::Outline;
pub use pausable::NotPausable;
pub use policy::{CallPolicy, Layer, PolicyRole, WISH_MAX, layers, resolve};
pub use schemas::{CompiledSchema, Schemas, Violation, violations};
pub use secrets::Secrets;
pub(crate) use secrets::{secret_files, secret_inputs};

use crate::graph::Graph;
use crate::load::FileInputs;
use crate::spec::{
    Case, CheckRule, CooldownNode, Enrichment, Filter, Manners, Map, MetricNode, Name, Notifier,
    OnError, OnInvalid, OnUnknownType, Passing, PipelineLimits, PriorityRules, RouteMode,
    ServerSettings, Sink, Spec, Watcher,
};
use kernel::event::Globals;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Expr, Template};
use language::spanned::Span;
use language::{Context, Environment, nearest};
use stages::catalog::{EnrichSpec, MemorySpec, NotifySpec, SinkSpec, SourceSpec};
use stages::contract::{Claim, SinkRole, StoreShape, StreamShape};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use store::{BacklogLimit, NotifyRules, OutboxLimits};

/// Longest unknown name that is repeated, in letters.
const NAME_SHOWN: usize = 100;

/// What one pipeline file comes to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub name: Arc<str>,
    /// A description.
    pub description: String,
    /// The IANA zone of times in templates.
    pub timezone: Arc<str>,
    /// The roots that are the same for every event.
    pub globals: Arc<Globals>,
    /// The HTTP server.
    pub server: ServerSettings,
    /// Limits of the whole pipeline.
    pub limits: PipelineLimits,
    /// How urgent events are.
    pub priority: PriorityRules,
    /// Whether a case of `priority` or `route` reads what enrichments added, so that the level
    /// is computed again behind them.
    pub priority_reads_enrich: bool,
    /// Whether any expression behind `map` reads the message as received.
    pub reads_raw: bool,
    /// Whether the whole message is stored where `map` takes its data out of it: because the file
    /// says so, or because something reads it later.
    pub keeps_message: bool,
    /// What makes events.
    pub sources: Vec<SourcePlan>,
    /// What is accepted.
    pub validate: ValidatePlan,
    /// What passes, in file order.
    pub filters: Vec<Filter>,
    /// What looks on, in file order.
    pub watchers: Vec<Watcher>,
    /// What is added; each stage stands behind what it waits for.
    pub stages: Vec<StagePlan>,
    /// What is counted for the file itself.
    pub metrics: Vec<MetricNode>,
    /// Where events go.
    pub route: RoutePlan,
    /// What takes events out.
    pub sinks: Vec<SinkPlan>,
    /// What tells people.
    pub notifiers: Vec<NotifierPlan>,
    /// The store, when the file has one.
    pub store: Option<(Arc<str>, StoreShape)>,
    /// How long dead letters stay, and how many.
    pub dead_letter: crate::spec::DeadLetters,
    /// What is off because something optional is not there, one line each.
    pub off: Vec<String>,
    /// What each node of the effective file says; empty where nobody will compare it.
    pub outline: Outline,
    /// The effective file as text, secrets masked; empty where nobody will ask for it.
    pub effective: Arc<str>,
    /// The graph of the file; absent where nobody will ask for it.
    pub graph: Option<Arc<Graph>>,
    /// Fingerprints of what nodes take from outside; empty where the plan will not run.
    pub secrets: Secrets,
    /// Files that hold secrets.
    pub secret_files: BTreeSet<PathBuf>,
    /// The files that tables and secrets come from; empty where the plan will not run.
    pub inputs: FileInputs,
}

/// What `engine run` was asked to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunMode {
    /// Whether disabled demo sources run.
    pub is_demo: bool,
    /// Whether only sources that end run, beside the server.
    pub is_once: bool,
}

/// What makes events.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind and settings.
    pub spec: Arc<dyn SourceSpec>,
    /// The schema of the message as received.
    pub schema: Option<CompiledSchema>,
    /// The type of every event, where `map` gives none.
    pub kind: Option<Arc<str>>,
    /// Where the parts of an event stand.
    pub map: Map,
    /// Whether the file switches it off.
    pub is_disabled: bool,
    /// Why it is off, when something that it needs is not there.
    pub off: Option<String>,
}

/// What is accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatePlan {
    /// Compiled, by type.
    pub schemas: Schemas,
    /// What a schema cannot say.
    pub rules: Vec<CheckRule>,
    /// What to do with a message that is not valid.
    pub on_invalid: OnInvalid,
    /// What becomes of a type without a schema.
    pub on_unknown_type: OnUnknownType,
}

/// A stage that adds to events.
#[derive(Debug, Clone)]
pub struct StagePlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind and settings.
    pub spec: Arc<dyn EnrichSpec>,
    /// The kind's word.
    pub kind: Arc<str>,
    /// Indices of the stages that must have ended.
    pub after: Vec<usize>,
    /// Indices of the stages that must have succeeded.
    pub needs: Vec<usize>,
    /// Runs only for these.
    pub when: Option<Expr>,
    /// Where to put the result, below `enrich`.
    pub into: Vec<String>,
    /// What becomes of the event when it gives up.
    pub on_error: OnError,
    /// Its failure handling.
    pub policy: CallPolicy,
    /// Answers that are kept.
    pub cache: Option<crate::spec::CacheSettings>,
    /// Why it is off: `disabled`, or what is not there.
    pub off: Option<Arc<str>>,
    /// Whether it reads what a filter adds, which is decided with the event.
    pub waits_for_filters: bool,
}

impl StagePlan {
    /// What is to stay if what it remembers is to be kept; `None` where it remembers nothing.
    pub fn memory_print(&self) -> Option<String> {
        Some(self.spec.memory()?.print(&self.kind))
    }
}

/// Where events go, by the names of sinks and notifiers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoutePlan {
    /// Whether every case that holds counts.
    pub takes_all: bool,
    /// In file order: name, condition, targets.
    pub cases: Vec<(Arc<str>, Expr, Vec<Arc<str>>)>,
    /// For what fits no case.
    pub otherwise: Vec<Arc<str>>,
    /// Targets with a condition of their own.
    pub only: Vec<OnlyWhen>,
}

/// A target that gets only some events.
#[derive(Debug, Clone, PartialEq)]
pub struct OnlyWhen {
    /// Its name.
    pub target: Arc<str>,
    /// Which.
    pub when: Expr,
    /// Whether what it does not get is recorded, as a delivery that is suppressed.
    pub is_outside: bool,
    /// Whether the route sends events to it; otherwise, it gets all that match.
    pub is_routed: bool,
}

/// What takes events out.
#[derive(Debug, Clone)]
pub struct SinkPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind and settings.
    pub spec: Arc<dyn SinkSpec>,
    /// What the engine has to do with it.
    pub shape: SinkRole,
    /// Gets only these.
    pub when: Option<Expr>,
    /// Its failure handling.
    pub policy: CallPolicy,
    /// What may wait for it.
    pub backlog: BacklogLimit,
    /// Why it is off.
    pub off: Option<String>,
}

/// What tells people.
#[derive(Debug, Clone)]
pub struct NotifierPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind and settings.
    pub spec: Arc<dyn NotifySpec>,
    /// The headline.
    pub title: Template,
    /// The text.
    pub message: Template,
    /// How often it may speak.
    pub cooldown: Option<CooldownNode>,
    /// Whether and when it speaks.
    pub manners: Manners,
    /// Gets only these.
    pub when: Option<Expr>,
    /// Its failure handling.
    pub policy: CallPolicy,
    /// What may wait for it.
    pub backlog: BacklogLimit,
    /// Why it is off.
    pub off: Option<String>,
}

impl Plan {
    /// What remembers and stands at the top of the file, by name.
    pub fn memories(&self) -> impl Iterator<Item = (&str, &Arc<dyn MemorySpec>)> {
        let filters = self.filters.iter().filter_map(|filter| match &filter.rule {
            Passing::Remembers(spec) => Some((filter.name.value.as_str(), spec)),
            Passing::Keep(_) => None,
        });
        filters
            .chain(self.watchers.iter().map(|watcher| (watcher.name.value.as_str(), &watcher.spec)))
    }

    /// Whether a filter or what looks on is `disabled`.
    pub fn is_switched_off(&self, name: &str) -> bool {
        self.filters.iter().any(|filter| filter.is_disabled && filter.name.value == name)
            || self.watchers.iter().any(|watcher| watcher.is_disabled && watcher.name.value == name)
    }

    /// The notifier of this name, whether it is on or off; the error says which ones there are.
    pub fn notifier(&self, name: &str) -> Result<&NotifierPlan, String> {
        let found = self.notifiers.iter().find(|notifier| *notifier.name == *name);
        found.ok_or_else(|| {
            let name: String = name.chars().take(NAME_SHOWN).collect();
            let known: Vec<&str> = self.notifiers.iter().map(|notifier| &*notifier.name).collect();
            match nearest(&name, known.iter().copied()) {
                Some(meant) => format!("there is no notifier `{name}`; did you mean `{meant}`?"),
                None if known.is_empty() => format!("there is no notifier `{name}`, nor any other"),
                None => format!("there is no notifier `{name}`; there are: {}", known.join(", ")),
            }
        })
    }

    /// The live streams with their names.
    pub fn streams(&self) -> impl Iterator<Item = (&Arc<str>, &StreamShape)> {
        self.sinks.iter().filter_map(|sink| match &sink.shape {
            SinkRole::Stream(shape) if sink.off.is_none() => Some((&sink.name, shape)),
            _ => None,
        })
    }

    /// Names of everything that deliveries go to.
    pub fn outside(&self) -> Vec<Arc<str>> {
        let own = self.store.as_ref().map(|store| &store.0);
        let sinks = self.sinks.iter().filter(|sink| {
            sink.off.is_none()
                && !matches!(sink.shape, SinkRole::Stream(_))
                && Some(&sink.name) != own
        });
        let notifiers = self.notifiers.iter().filter(|notifier| notifier.off.is_none());
        sinks
            .map(|sink| sink.name.clone())
            .chain(notifiers.map(|notifier| notifier.name.clone()))
            .collect()
    }

    /// What notifiers say about whether and when, as far as it is decided with an event.
    pub fn rules(&self) -> Vec<NotifyRules> {
        let on = self.notifiers.iter().filter(|notifier| notifier.off.is_none());
        let mut rules: Vec<NotifyRules> =
            on.clone().filter_map(|it| it.manners.rules(&it.name)).collect();
        for rule in &mut rules {
            let own = self.notifiers.iter().find(|notifier| notifier.name == rule.target);
            let to = own
                .and_then(|it| it.manners.alerts.escalate.as_ref())
                .map(|escalate| &escalate.to.value);
            if let (Some(escalate), Some(to)) = (&mut rule.escalate, to) {
                let others = on.clone().filter(|it| node_of(&it.name) == to);
                escalate.to = others.map(|it| it.name.clone()).collect();
            }
        }
        rules
    }

    /// What may wait in the outbox.
    pub fn outbox(&self) -> OutboxLimits {
        let sinks = self.sinks.iter().map(|sink| (&sink.name, &sink.backlog));
        let notifiers = self.notifiers.iter().map(|notifier| (&notifier.name, &notifier.backlog));
        let backlogs: BTreeMap<_, _> = sinks.chain(notifiers).collect();
        let targets = self.outside().into_iter();
        OutboxLimits {
            rows: self.limits.outbox_rows,
            bytes: self.limits.outbox_bytes,
            targets: targets.map(|target| (target.clone(), backlogs[&target].clone())).collect(),
        }
    }
}

impl Plan {
    /// Whether anything in it that is on starts a program.
    pub fn starts_programs(&self) -> bool {
        let sources = self
            .sources
            .iter()
            .filter(|source| source.off.is_none())
            .map(|source| source.spec.claims());
        let stages =
            self.stages.iter().filter(|stage| stage.off.is_none()).map(|stage| stage.spec.claims());
        let notifiers = self.notifiers.iter().filter(|notifier| notifier.off.is_none());
        let claims = sources.chain(stages).chain(notifiers.map(|notifier| notifier.spec.claims()));
        claims.flatten().any(|claim| matches!(claim.value, Claim::Program(_)))
    }

    /// Whether a run ends by itself once its sources have.
    pub fn has_ending_source(&self) -> bool {
        self.sources.iter().any(|source| source.off.is_none() && source.spec.ends())
    }

    /// Looks at what templates read of the outside: the address that others use.
    pub fn look_outside(&mut self, environment: &dyn Environment) {
        let Some(url) = &self.server.public_url else { return };
        let Ok(url) = url.value.resolve(environment) else { return };
        let mut globals = Globals::clone(&self.globals);
        globals.page = Some(url.trim_end_matches('/').to_owned());
        globals.server["public_url"] = url.into();
        self.globals = Arc::new(globals);
    }

    /// Switches off the sources that this run does not start.
    pub fn select(&mut self, mode: RunMode) {
        for source in self.sources.iter_mut().filter(|source| source.off.is_none()) {
            let is_started_by_demo = mode.is_demo && source.spec.is_demo();
            // Here it is on, whatever the file says of other runs.
            source.is_disabled &= !is_started_by_demo;
            if source.is_disabled {
                source.off = Some("disabled".to_owned());
            } else if mode.is_once && !source.spec.ends() && !source.spec.is_served() {
                source.off = Some("it never ends, so `--once` would wait forever".to_owned());
            }
        }
    }
}

/// Builds the plan of a spec. `None` when something in it is wrong; everything wrong is reported.
pub fn build(spec: Spec, text: &str, context: &mut Context<'_>) -> Option<Plan> {
    names::check(&spec, text, context.diagnostics);
    relays::circles(&spec, context.diagnostics);
    let order = order::of(&spec.enrichments, context.diagnostics);
    claims::check(&spec, context.diagnostics);
    claims::programs(&spec, context.diagnostics);
    environment::check_listen(&spec.server, context);
    let off = environment::missing(&spec, context);
    let message_schemas: Vec<_> = spec
        .sources
        .iter()
        .map(|source| schemas::of_message(source.schema.as_ref(), context))
        .collect();
    let schemas = schemas::of_data(&spec.validate, context);
    warn(&spec, context.diagnostics);
    let order = order?;
    worst_case::check(&spec, &order, context.diagnostics);
    early::check(&spec, &order, context.diagnostics);
    if context.diagnostics.has_errors() {
        return None;
    }
    Some(assemble(spec, &order, off, message_schemas, schemas))
}

/// Whether the store is to keep messages as they were received.
fn keeps_raw(spec: &Spec) -> bool {
    spec.sinks
        .iter()
        .any(|sink| matches!(sink.spec.shape(), SinkRole::Store(shape) if shape.keeps_raw))
}

/// The first place that reads `raw` of an event that is stored already.
fn late_reader(spec: &Spec) -> Option<&Span> {
    let waits = spec
        .enrichments
        .iter()
        .any(|enrichment| enrichment.spec.is_remote() && !enrichment.is_disabled);
    let ranking = spec.raw.ranking.as_ref().filter(|_| reads_enrich(spec));
    let running = spec.raw.running.as_ref().or(ranking).filter(|_| waits);
    spec.raw.delivering.as_ref().or(running)
}

/// `map` takes a part of a message, and something makes the store keep all of it.
fn warn_of_raw(spec: &Spec, diagnostics: &mut Diagnostics) {
    let mapped = spec.sources.iter().find_map(|source| source.map.data.as_ref());
    let has_store = spec.sinks.iter().any(|sink| matches!(sink.spec.shape(), SinkRole::Store(_)));
    let (Some(reader), Some(mapped), true) = (late_reader(spec), mapped, has_store) else {
        return;
    };
    if keeps_raw(spec) {
        return;
    }
    diagnostics
        .push(Rule::KeepsMessage, "the whole message is stored, because `raw` is read here")
        .at(reader.clone(), "read after the event is stored")
        .at(mapped.span.clone(), "selects a part of the message")
        .help("read the value in `map` instead, or write `store raw` in the sqlite sink");
}

fn warn(spec: &Spec, diagnostics: &mut Diagnostics) {
    warn_of_raw(spec, diagnostics);
    let has_store = spec.sinks.iter().any(|sink| matches!(sink.spec.shape(), SinkRole::Store(_)));
    let stores = spec.sinks.iter().filter(|sink| matches!(sink.spec.shape(), SinkRole::Store(_)));
    let stores: Vec<&Name> = stores.map(|store| &store.name).collect();
    if let [first, second, ..] = stores[..] {
        diagnostics
            .push(Rule::RepeatedNode, "a pipeline has one store")
            .at(second.span.clone(), "a second store")
            .at(first.span.clone(), "the store")
            .help("remove one of them; `sink file` keeps a copy of every event");
    }
    // A store that could not be read is not missing.
    if !has_store && !diagnostics.has_errors() {
        diagnostics
            .push(Rule::NoStore, "this pipeline keeps nothing across a restart")
            .at(spec.name.span.clone(), "this pipeline has no store")
            .help("add `sink sqlite events-db { path \"../data/events.db\" }`");
    }
}

/// One stage; `order` is in which order they all stand.
fn stage(
    spec: &Spec,
    order: &[usize],
    it: &Enrichment,
    off: &environment::DisabledNodes,
) -> StagePlan {
    let places =
        |names: &[Name]| names.iter().filter_map(|name| place(spec, order, name)).collect();
    StagePlan {
        name: arc(&it.name),
        kind: it.spec.word().into(),
        spec: it.spec.clone(),
        after: places(&it.after),
        needs: places(&it.needs),
        when: it.when.clone().map(|when| when.value),
        into: it.into.value.clone(),
        on_error: it.on_error.clone(),
        policy: policy::resolve(spec, PolicyRole::Enrich, it.policy.as_ref(), &it.failure),
        cache: it.cache.clone(),
        waits_for_filters: it.waits_for_filters,
        off: it
            .is_disabled
            .then(|| "disabled".to_owned())
            .or_else(|| off.of(&it.name))
            .map(Arc::from),
    }
}

fn assemble(
    spec: Spec,
    order: &[usize],
    off: environment::DisabledNodes,
    message_schemas: Vec<Option<CompiledSchema>>,
    schemas: Schemas,
) -> Plan {
    let sources = spec.sources.iter().zip(message_schemas).map(|(it, schema)| SourcePlan {
        name: arc(&it.name),
        spec: it.spec.clone(),
        schema,
        kind: it.kind.as_ref().map(arc),
        map: it.map.clone(),
        is_disabled: it.is_disabled,
        off: off.of(&it.name),
    });
    let stages = order.iter().map(|index| stage(&spec, order, &spec.enrichments[*index], &off));
    let (sources, stages) = (sources.collect(), stages.collect());
    let sinks: Vec<_> = spec.sinks.iter().map(|it| sink(it, &spec, &off)).collect();
    let notifiers = spec.notifiers.iter().flat_map(|notifier| recipients(notifier, &spec, &off));
    let notifiers: Vec<_> = notifiers.collect();
    Plan {
        secret_files: secret_files(&spec),
        name: arc(&spec.name),
        globals: Arc::new(globals(&spec)),
        timezone: spec.timezone.as_str().into(),
        priority_reads_enrich: reads_enrich(&spec),
        reads_raw: spec.raw.any,
        keeps_message: late_reader(&spec).is_some() || keeps_raw(&spec),
        route: route(&spec, &sinks, &notifiers),
        store: sinks.iter().find_map(|sink| match &sink.shape {
            SinkRole::Store(shape) if sink.off.is_none() => {
                Some((sink.name.clone(), shape.clone()))
            }
            _ => None,
        }),
        validate: ValidatePlan {
            schemas,
            rules: spec.validate.rules,
            on_invalid: spec.validate.on_invalid,
            on_unknown_type: spec.validate.on_unknown_type,
        },
        description: spec.description,
        server: spec.server,
        limits: spec.limits,
        priority: spec.priority,
        filters: spec.filters,
        watchers: spec.watchers,
        metrics: spec.metrics,
        dead_letter: spec.dead_letter,
        off: off.lines(),
        outline: Outline::default(),
        effective: "".into(),
        graph: None,
        secrets: Secrets::default(),
        inputs: FileInputs::default(),
        sources,
        stages,
        sinks,
        notifiers,
    }
}

fn arc(name: &Name) -> Arc<str> {
    name.value.as_str().into()
}

/// Where a stage of this name stands in the order.
fn place(spec: &Spec, order: &[usize], name: &Name) -> Option<usize> {
    order.iter().position(|it| spec.enrichments[*it].name.value == name.value)
}

fn sink(it: &Sink, spec: &Spec, off: &environment::DisabledNodes) -> SinkPlan {
    SinkPlan {
        name: arc(&it.name),
        spec: it.spec.clone(),
        shape: it.spec.shape(),
        when: it.when.as_ref().map(|when| when.value.clone()),
        policy: policy::resolve(spec, PolicyRole::Sink, it.policy.as_ref(), &it.failure),
        backlog: it.backlog.clone(),
        off: it.is_disabled.then(|| "disabled".to_owned()).or_else(|| off.of(&it.name)),
    }
}

/// One for each recipient: the first has the name of the node, the next ones that and a number.
fn recipients<'a>(
    it: &'a Notifier,
    spec: &'a Spec,
    off: &'a environment::DisabledNodes,
) -> impl Iterator<Item = NotifierPlan> + 'a {
    let each = it.spec.recipients().into_iter().enumerate();
    each.map(|(at, recipient)| {
        let plan = notifier(it, recipient, spec, off);
        match at {
            0 => plan,
            _ => NotifierPlan { name: format!("{}.{}", plan.name, at + 1).into(), ..plan },
        }
    })
}

/// The node of the file to which a target belongs: names of nodes have no dot.
pub fn node_of(target: &str) -> &str {
    target.split_once('.').map_or(target, |it| it.0)
}

fn notifier(
    it: &Notifier,
    recipient: Arc<dyn NotifySpec>,
    spec: &Spec,
    off: &environment::DisabledNodes,
) -> NotifierPlan {
    NotifierPlan {
        name: arc(&it.name),
        spec: recipient,
        title: it.title.clone(),
        message: it.message.clone(),
        cooldown: it.cooldown.clone(),
        manners: it.manners.clone(),
        when: it.when.as_ref().map(|when| when.value.clone()),
        policy: policy::resolve(spec, PolicyRole::Notify, it.policy.as_ref(), &it.failure),
        backlog: it.backlog.clone(),
        off: it.is_disabled.then(|| "disabled".to_owned()).or_else(|| off.of(&it.name)),
    }
}

fn globals(spec: &Spec) -> Globals {
    let params =
        spec.params.iter().map(|(name, value)| (name.value.replace('-', "_"), value.clone()));
    let public_url = match &spec.server.public_url {
        Some(url) => url.value.literal().map(str::to_owned),
        None => spec.server.listen.value.literal().map(|literal| {
            let scheme = if spec.server.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{literal}")
        }),
    };
    Globals {
        param: serde_json::Value::Object(params.collect()),
        server: serde_json::json!({ "public_url": public_url }),
        pipeline: serde_json::json!({ "name": spec.name.value, "labels": spec.labels }),
        zone: kernel::time::zone(&spec.timezone),
        lifecycle: spec.lifecycle().map(|lifecycle| crate::spec::tag_of(&lifecycle.value)),
        page: None,
    }
}

fn route(spec: &Spec, sinks: &[SinkPlan], notifiers: &[NotifierPlan]) -> RoutePlan {
    let outside = notifiers.iter().map(|notifier| (&notifier.name, &notifier.off));
    let all = sinks.iter().map(|sink| (&sink.name, &sink.off)).chain(outside);
    let on: Vec<&Arc<str>> = all.filter(|it| it.1.is_none()).map(|it| it.0).collect();
    let targets = |names: &[Name]| {
        let mut targets = Vec::new();
        for name in names {
            targets
                .extend(on.iter().filter(|it| node_of(it) == name.value).map(|it| (*it).clone()));
        }
        targets
    };
    let sinks = sinks.iter().filter(|sink| sink.off.is_none()).filter_map(|sink| {
        Some((&sink.name, sink.when.as_ref()?, matches!(sink.shape, SinkRole::Outside)))
    });
    let notifiers = notifiers.iter().filter(|notifier| notifier.off.is_none());
    let notifiers =
        notifiers.filter_map(|notifier| Some((&notifier.name, notifier.when.as_ref()?, true)));
    let only = sinks.chain(notifiers).map(|(name, when, is_outside)| OnlyWhen {
        target: name.clone(),
        when: when.clone(),
        is_outside,
        is_routed: match &spec.route {
            Some(route) => route.names(node_of(name)),
            None => !spec.is_relayed_to(node_of(name)),
        },
    });
    let only = only.collect();
    match &spec.route {
        Some(route) => RoutePlan {
            takes_all: route.mode == RouteMode::All,
            cases: route
                .cases
                .iter()
                .map(|case: &Case| (arc(&case.name), case.when.value.clone(), targets(&case.to)))
                .collect(),
            otherwise: route.otherwise.as_deref().map(targets).unwrap_or_default(),
            only,
        },
        None => {
            let names = spec.sinks.iter().map(|sink| sink.name.clone());
            // Who is there for others gets what these hand on.
            let notifiers =
                spec.notifiers.iter().filter(|notifier| !spec.is_relayed_to(&notifier.name.value));
            let names: Vec<Name> =
                names.chain(notifiers.map(|notifier| notifier.name.clone())).collect();
            RoutePlan { otherwise: targets(&names), only, ..RoutePlan::default() }
        }
    }
}

fn reads_enrich(spec: &Spec) -> bool {
    let mut cases = spec.priority.cases.iter().map(|case| &case.1.value);
    cases.any(|case| case.uses(language::expr::Root::Enrich) || case.reads_event("lifecycle"))
}
