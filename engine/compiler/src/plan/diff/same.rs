//! When two parts of one name are the same, and which of their state may be kept.

use super::{PartState, PlanRole};
use crate::plan::{NotifierPlan, Plan, SinkPlan, SourcePlan, StagePlan};
use crate::spec::{Filter, MetricNode, Passing, Watcher};
use stages::catalog::StageSettings;
use stages::contract::SinkRole;
use std::sync::Arc;

/// A part of a plan, as far as a diff needs it.
pub(super) struct Part {
    pub(super) role: PlanRole,
    pub(super) name: Arc<str>,
    pub(super) off: Option<String>,
    pub(super) state: &'static [PartState],
}

impl Part {
    pub(super) fn is_named_like(&self, other: &Part) -> bool {
        self.role == other.role && self.name == other.name
    }
}

/// The parts that a file has one of.
const SECTIONS: [PlanRole; 7] = [
    PlanRole::Pipeline,
    PlanRole::Server,
    PlanRole::Limits,
    PlanRole::Validate,
    PlanRole::Priority,
    PlanRole::Route,
    PlanRole::DeadLetter,
];

const TARGET_STATE: &[PartState] =
    &[PartState::Deliveries, PartState::Cooldown, PartState::Breaker, PartState::Rate];

/// Every part of a plan, in the order of roles and then of the file.
pub(super) fn parts(plan: &Plan) -> Vec<Part> {
    let part = |role, name: &Arc<str>, off: Option<&str>, state| Part {
        role,
        name: name.clone(),
        off: off.map(str::to_owned),
        state,
    };
    let sections = SECTIONS.into_iter().map(|role| part(role, &"".into(), None, &[]));
    let sources = plan.sources.iter().map(|source| {
        part(PlanRole::Source, &source.name, source.off.as_deref(), &[PartState::Position])
    });
    let filters = plan.filters.iter().map(|filter| {
        let off = filter.is_disabled.then(|| "disabled".to_owned());
        let (word, state): (_, &[PartState]) = match &filter.rule {
            Passing::Keep(_) => ("filter", &[]),
            Passing::Remembers(spec) => (spec.word(), &[PartState::Keys]),
        };
        part(PlanRole::Passes(word), &filter.name.value.as_str().into(), off.as_deref(), state)
    });
    let watchers = plan.watchers.iter().map(|watcher| {
        let off = watcher.is_disabled.then(|| "disabled".to_owned());
        let role = PlanRole::Watches(watcher.spec.word());
        part(role, &watcher.name.value.as_str().into(), off.as_deref(), &[PartState::Keys])
    });
    let stages = plan.stages.iter().map(|stage| {
        let state: &[PartState] = match stage.spec.memory() {
            Some(_) => &[PartState::Keys],
            None if stage.spec.is_remote() => {
                &[PartState::Cache, PartState::Breaker, PartState::Rate]
            }
            None => &[],
        };
        part(PlanRole::Enrich, &stage.name, stage.off.as_deref(), state)
    });
    let metrics = plan.metrics.iter().map(|metric| {
        let off = metric.is_disabled.then_some("disabled");
        part(PlanRole::Metric, &metric.name.value.as_str().into(), off, &[PartState::Counts])
    });
    let sinks = plan.sinks.iter().map(|sink| {
        let state = match sink.shape {
            SinkRole::Outside => TARGET_STATE,
            SinkRole::Stream(_) => &[PartState::Clients],
            SinkRole::Store(_) => &[],
        };
        part(PlanRole::Sink, &sink.name, sink.off.as_deref(), state)
    });
    let notifiers = plan.notifiers.iter().map(|notifier| {
        part(PlanRole::Notify, &notifier.name, notifier.off.as_deref(), TARGET_STATE)
    });
    let passing = filters.chain(watchers);
    let stages = stages.chain(metrics);
    sections.chain(sources).chain(passing).chain(stages).chain(sinks).chain(notifiers).collect()
}

/// One part of each plan.
struct Pair<'a, T> {
    old: &'a T,
    new: &'a T,
}

fn pair<'a, T>(old: &'a [T], new: &'a [T], is_it: impl Fn(&T) -> bool) -> Option<Pair<'a, T>> {
    let old = old.iter().find(|it| is_it(it))?;
    let new = new.iter().find(|it| is_it(it))?;
    Some(Pair { old, new })
}

fn sources<'a>(old: &'a Plan, new: &'a Plan, name: &str) -> Option<Pair<'a, SourcePlan>> {
    pair(&old.sources, &new.sources, |it| *it.name == *name)
}

fn stages<'a>(old: &'a Plan, new: &'a Plan, name: &str) -> Option<Pair<'a, StagePlan>> {
    pair(&old.stages, &new.stages, |it| *it.name == *name)
}

fn sinks<'a>(old: &'a Plan, new: &'a Plan, name: &str) -> Option<Pair<'a, SinkPlan>> {
    pair(&old.sinks, &new.sinks, |it| *it.name == *name)
}

fn notifiers<'a>(old: &'a Plan, new: &'a Plan, name: &str) -> Option<Pair<'a, NotifierPlan>> {
    pair(&old.notifiers, &new.notifiers, |it| *it.name == *name)
}

fn filters<'a>(old: &'a Plan, new: &'a Plan, name: &str) -> Option<Pair<'a, Filter>> {
    pair(&old.filters, &new.filters, |it| it.name.value == name)
}

fn watchers<'a>(old: &'a Plan, new: &'a Plan, name: &str) -> Option<Pair<'a, Watcher>> {
    pair(&old.watchers, &new.watchers, |it| it.name.value == name)
}

fn metrics<'a>(old: &'a Plan, new: &'a Plan, name: &str) -> Option<Pair<'a, MetricNode>> {
    pair(&old.metrics, &new.metrics, |it| it.name.value == name)
}

/// Whether what was opened for a part serves on: its kind and settings are equal, and so is what
/// it takes from outside. What is read from the plan at each event does not count.
pub(super) fn service(old: &Plan, new: &Plan, role: PlanRole, name: &str) -> bool {
    let is_around = is_surrounding_equal(old, new, name);
    match role {
        PlanRole::Source => sources(old, new, name).is_some_and(|sources| {
            is_around && sources.old.spec.same(StageSettings::as_any(&*sources.new.spec))
        }),
        PlanRole::Enrich => stages(old, new, name).is_some_and(|stages| {
            is_around && stages.old.spec.same(StageSettings::as_any(&*stages.new.spec))
        }),
        PlanRole::Sink => {
            sinks(old, new, name).is_some_and(|sinks| is_sink_equal(&sinks, is_around))
        }
        PlanRole::Notify => notifiers(old, new, name).is_some_and(|notifiers| {
            let texts = |notifier: &NotifierPlan| {
                let (digest, alerts) = (notifier.manners.digest.clone(), &notifier.manners.alerts);
                (notifier.title.clone(), notifier.message.clone(), digest, alerts.recover.clone())
            };
            is_around
                && notifiers.old.spec.same(StageSettings::as_any(&*notifiers.new.spec))
                && texts(notifiers.old) == texts(notifiers.new)
                && notifiers.old.policy == notifiers.new.policy
        }),
        PlanRole::Server => {
            old.server.listen == new.server.listen && old.secrets.agree_on_listen(&new.secrets)
        }
        _ => true,
    }
}

/// Kinds hold the name of the pipeline and the secrets that they send. Parameters, labels and the
/// zone come with each event.
fn is_surrounding_equal(old: &Plan, new: &Plan, name: &str) -> bool {
    old.name == new.name && old.secrets.agree(&new.secrets, name)
}

fn is_sink_equal(it: &Pair<'_, SinkPlan>, is_around: bool) -> bool {
    match (&it.old.shape, &it.new.shape) {
        // The store stays open: what cannot change while it is, is rejected.
        (SinkRole::Store(_), SinkRole::Store(_)) => true,
        (SinkRole::Stream(old), SinkRole::Stream(new)) => old == new,
        (SinkRole::Outside, SinkRole::Outside) => {
            is_around
                && it.old.spec.same(StageSettings::as_any(&*it.new.spec))
                && it.old.policy == it.new.policy
        }
        _ => false,
    }
}

/// Whether nothing at all differs between the two, also what is read from the plan at each event.
pub(super) fn whole(old: &Plan, new: &Plan, role: PlanRole, name: &str) -> bool {
    if !service(old, new, role, name) {
        return false;
    }
    match role {
        PlanRole::Source => sources(old, new, name).is_some_and(|sources| {
            let read =
                |source: &SourcePlan| (source.kind.clone(), source.map.clone(), source.off.clone());
            read(sources.old) == read(sources.new) && sources.old.schema == sources.new.schema
        }),
        PlanRole::Enrich => {
            stages(old, new, name).is_some_and(|stages| is_stage_equal(&stages, old, new))
        }
        PlanRole::Sink => sinks(old, new, name).is_some_and(|sinks| {
            let read = |sink: &SinkPlan| (sink.when.clone(), sink.off.clone());
            sinks.old.spec.same(StageSettings::as_any(&*sinks.new.spec))
                && read(sinks.old) == read(sinks.new)
        }),
        PlanRole::Notify => notifiers(old, new, name).is_some_and(|notifiers| {
            let read = |notifier: &NotifierPlan| {
                (notifier.cooldown.clone(), notifier.manners.clone(), notifier.when.clone())
            };
            read(notifiers.old) == read(notifiers.new) && notifiers.old.off == notifiers.new.off
        }),
        PlanRole::Passes(_) => filters(old, new, name).is_some_and(|filters| {
            let read = |filter: &Filter| {
                (filter.when.clone(), filter.on_drop, filter.reason.clone(), filter.is_disabled)
            };
            filters.old.rule == filters.new.rule && read(filters.old) == read(filters.new)
        }),
        PlanRole::Watches(_) => watchers(old, new, name).is_some_and(|watchers| {
            let read = |watcher: &Watcher| (watcher.when.clone(), watcher.is_disabled);
            *watchers.old.spec == *watchers.new.spec && read(watchers.old) == read(watchers.new)
        }),
        PlanRole::Metric => metrics(old, new, name).is_some_and(|metrics| {
            let read = |node: &MetricNode| (node.description.clone(), node.is_disabled);
            metrics.old.rule == metrics.new.rule && read(metrics.old) == read(metrics.new)
        }),
        PlanRole::Pipeline => {
            old.globals == new.globals
                && old.timezone == new.timezone
                && old.description == new.description
        }
        PlanRole::Server => old.server == new.server && old.secrets.agree_on_tokens(&new.secrets),
        PlanRole::Limits => old.limits == new.limits,
        PlanRole::Validate => old.validate == new.validate,
        PlanRole::Priority => old.priority == new.priority,
        PlanRole::Route => old.route == new.route,
        PlanRole::DeadLetter => old.dead_letter == new.dead_letter,
    }
}

fn is_stage_equal(it: &Pair<'_, StagePlan>, old: &Plan, new: &Plan) -> bool {
    let read = |stage: &StagePlan| {
        let ends = (stage.into.clone(), stage.on_error.clone(), stage.off.clone());
        (stage.policy.clone(), stage.cache.clone(), stage.when.clone(), ends)
    };
    read(it.old) == read(it.new) && waits_for(it.old, old) == waits_for(it.new, new)
}

/// Names, since a stage's number changes with the stages before it.
fn waits_for(stage: &StagePlan, plan: &Plan) -> [Vec<Arc<str>>; 2] {
    let names = |of: &[usize]| of.iter().map(|at| plan.stages[*at].name.clone()).collect();
    [names(&stage.after), names(&stage.needs)]
}

/// Whether a part that runs in both plans keeps this state.
pub(super) fn state(old: &Plan, new: &Plan, role: PlanRole, name: &str, state: PartState) -> bool {
    let policies = || match role {
        PlanRole::Enrich => {
            stages(old, new, name).map(|stage| (&stage.old.policy, &stage.new.policy))
        }
        PlanRole::Sink => sinks(old, new, name).map(|sink| (&sink.old.policy, &sink.new.policy)),
        _ => notifiers(old, new, name).map(|notifier| (&notifier.old.policy, &notifier.new.policy)),
    };
    match state {
        // Kept in the store, under the name.
        PartState::Position => sources(old, new, name)
            .is_some_and(|sources| sources.old.spec.word() == sources.new.spec.word()),
        PartState::Deliveries | PartState::Cooldown => true,
        PartState::Keys => match role {
            PlanRole::Enrich => stages(old, new, name).is_some_and(|stages| {
                stages.old.memory_print().is_some()
                    && stages.old.memory_print() == stages.new.memory_print()
            }),
            _ => {
                let print =
                    |plan: &Plan| Some(plan.memories().find(|memory| memory.0 == name)?.1.print());
                print(old).is_some() && print(old) == print(new)
            }
        },
        PartState::Cache => {
            service(old, new, role, name)
                && stages(old, new, name).is_some_and(|stages| stages.old.cache == stages.new.cache)
        }
        PartState::Breaker => {
            service_calls(old, new, role, name)
                && policies().is_some_and(|policies| policies.0.breaker == policies.1.breaker)
        }
        PartState::Rate => {
            service_calls(old, new, role, name)
                && policies().is_some_and(|policies| policies.0.rate == policies.1.rate)
        }
        PartState::Counts => {
            metrics(old, new, name).is_some_and(|metrics| metrics.old.rule == metrics.new.rule)
        }
        PartState::Clients => service(old, new, role, name),
    }
}

/// Whether calls go to the same place as before, whatever the failure handling says now.
fn service_calls(old: &Plan, new: &Plan, role: PlanRole, name: &str) -> bool {
    is_surrounding_equal(old, new, name)
        && match role {
            PlanRole::Enrich => stages(old, new, name).is_some_and(|stages| {
                stages.old.spec.same(StageSettings::as_any(&*stages.new.spec))
            }),
            PlanRole::Sink => sinks(old, new, name)
                .is_some_and(|sinks| sinks.old.spec.same(StageSettings::as_any(&*sinks.new.spec))),
            PlanRole::Notify => notifiers(old, new, name).is_some_and(|notifiers| {
                notifiers.old.spec.same(StageSettings::as_any(&*notifiers.new.spec))
            }),
            _ => false,
        }
}
