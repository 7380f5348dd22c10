//! What a reload changed, in words. Moved lines are no change.

use crate::plan::{NotifierPlan, Plan, SinkPlan, SourcePlan, StagePlan};
use crate::spec::Filter;
use stages::catalog::Spec;
use std::sync::Arc;

/// What came, went or changed.
pub(super) fn between(old: &Plan, new: &Plan) -> String {
    let mut changed = Vec::new();
    let told = &mut changed;
    compare("source", &old.sources, &new.sources, |it| &it.name, same_source, told);
    compare("filter", &old.filters, &new.filters, |it| &it.name.value, same_filter, told);
    let same =
        |a: &StagePlan, b: &StagePlan| same_stage(a, b) && waits_for(a, old) == waits_for(b, new);
    compare("enrich", &old.stages, &new.stages, |it| &it.name, same, told);
    compare("sink", &old.sinks, &new.sinks, |it| &it.name, same_sink, told);
    compare("notify", &old.notifiers, &new.notifiers, |it| &it.name, same_notifier, told);
    let routes =
        |it: &Plan| (it.route.takes_all, it.route.cases.clone(), it.route.otherwise.clone());
    if routes(old) != routes(new) {
        changed.push("changed route".to_owned());
    }
    if changed.is_empty() { "settings, schemas or tables".to_owned() } else { changed.join(", ") }
}

fn same_source(a: &SourcePlan, b: &SourcePlan) -> bool {
    a.spec.same(Spec::as_any(&*b.spec)) && a.map == b.map && a.is_disabled == b.is_disabled
}

fn same_filter(a: &Filter, b: &Filter) -> bool {
    let settings = |it: &Filter| (it.when.clone(), it.on_drop, it.reason.clone(), it.is_disabled);
    a.rule == b.rule && settings(a) == settings(b)
}

fn same_stage(a: &StagePlan, b: &StagePlan) -> bool {
    let settings =
        |it: &StagePlan| (it.policy.clone(), it.cache.clone(), it.when.clone(), it.off.clone());
    let ends = |it: &StagePlan| (it.into.clone(), it.on_error.clone());
    a.spec.same(Spec::as_any(&*b.spec)) && settings(a) == settings(b) && ends(a) == ends(b)
}

/// Names, since a stage's number changes with the stages before it.
fn waits_for(stage: &StagePlan, plan: &Plan) -> [Vec<Arc<str>>; 2] {
    let names = |of: &[usize]| of.iter().map(|it| plan.stages[*it].name.clone()).collect();
    [names(&stage.after), names(&stage.needs)]
}

fn same_sink(a: &SinkPlan, b: &SinkPlan) -> bool {
    a.spec.same(Spec::as_any(&*b.spec)) && a.policy == b.policy && a.off == b.off
}

fn same_notifier(a: &NotifierPlan, b: &NotifierPlan) -> bool {
    let texts = |it: &NotifierPlan| (it.title.clone(), it.message.clone(), it.cooldown.clone());
    let settings = |it: &NotifierPlan| (it.policy.clone(), it.off.clone());
    a.spec.same(Spec::as_any(&*b.spec)) && texts(a) == texts(b) && settings(a) == settings(b)
}

fn compare<T, N: PartialEq + std::fmt::Display>(
    role: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &N,
    same: impl Fn(&T, &T) -> bool,
    changed: &mut Vec<String>,
) {
    for it in new {
        match old.iter().find(|earlier| name(earlier) == name(it)) {
            None => changed.push(format!("added {role} {}", name(it))),
            Some(earlier) if !same(earlier, it) => {
                changed.push(format!("changed {role} {}", name(it)));
            }
            Some(_) => {}
        }
    }
    let is_gone = |it: &&T| !new.iter().any(|later| name(later) == name(it));
    changed.extend(old.iter().filter(is_gone).map(|it| format!("removed {role} {}", name(it))));
}
