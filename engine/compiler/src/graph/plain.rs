//! The plan for programs: what `engine graph --format json` prints and `/api/pipeline` begins
//! with.

use super::build::filtering;
use crate::plan::Plan;
use kernel::choice::Choice;
use language::spanned::Spanned;
use serde_json::{Map, Value, json};
use stages::contract::Claim;
use std::sync::Arc;

/// A part with the routes that the server serves for it, if there are any.
fn with_routes(mut part: Value, claims: Vec<Spanned<Claim>>) -> Value {
    let route = |claim: Spanned<Claim>| match claim.value {
        Claim::Route { method, path } => Some(json!({ "method": method, "path": path })),
        Claim::File(_) | Claim::Appended(_) | Claim::Program(_) | Claim::Client { .. } => None,
    };
    let routes: Vec<Value> = claims.into_iter().filter_map(route).collect();
    if !routes.is_empty() {
        part["routes"] = routes.into();
    }
    part
}

/// The plan by its parts. A name under `to`, `after` or `needs` is the name of another part.
pub fn plain(plan: &Plan) -> Map<String, Value> {
    let part = |name: &str, kind: &str, off: Option<&str>| json!({ "name": name, "kind": kind, "off": off });
    let texts = |names: &[Arc<str>]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let stages = plan.stages.iter().map(|stage| {
        let names = |of: &[usize]| of.iter().map(|it| &*plan.stages[*it].name).collect::<Vec<_>>();
        json!({
            "name": &*stage.name, "kind": &*stage.kind, "off": stage.off.as_deref(), "after": names(&stage.after),
            "needs": names(&stage.needs), "when": stage.when.as_ref().map(|when| when.text()),
        })
    });
    let sources = plan.sources.iter().map(|it| {
        let off = it.off.as_deref().or(it.is_disabled.then_some("disabled"));
        let mut source = part(&it.name, it.spec.word(), off);
        source["disabled"] = it.is_disabled.into();
        let says = it.spec.says();
        if !says.is_empty() {
            source["does"] = says.into();
        }
        with_routes(source, it.spec.claims())
    });
    let filters = plan.filters.iter().map(|filter| {
        let (word, notes) = filtering(filter);
        let off = filter.is_disabled.then_some("disabled");
        json!({ "name": filter.name.value, "kind": word, "off": off, "passes": notes })
    });
    let watchers = plan.watchers.iter().map(|watcher| {
        let off = watcher.is_disabled.then_some("disabled");
        json!({ "name": watcher.name.value, "kind": watcher.spec.word(), "off": off, "does": watcher.spec.says() })
    });
    let metrics = plan.metrics.iter().map(|metric| {
        let off = metric.is_disabled.then_some("disabled");
        let (kind, name) = (metric.rule.what.word(), &metric.name.value);
        json!({ "name": name, "kind": kind, "off": off, "family": metric.family(), "does": metric.says() })
    });
    let levels = plan.priority.cases.iter();
    let levels =
        levels.map(|level| json!({ "level": level.0.word(), "when": level.1.value.text() }));
    let routes = plan.route.cases.iter();
    let routes = routes
        .map(|route| json!({ "case": &*route.0, "when": route.1.text(), "to": texts(&route.2) }));
    let sinks = plan.sinks.iter().map(|it| {
        let sink = part(&it.name, it.spec.word(), it.off.as_deref());
        with_routes(sink, it.spec.claims())
    });
    let notifiers = plan.notifiers.iter();
    let notifiers = notifiers
        .map(|notifier| part(&notifier.name, notifier.spec.word(), notifier.off.as_deref()));
    let parts = json!({
        "pipeline": &*plan.name,
        "description": plan.description,
        "sources": sources.collect::<Vec<_>>(),
        "filters": filters.collect::<Vec<_>>(),
        "watchers": watchers.collect::<Vec<_>>(),
        "stages": stages.collect::<Vec<_>>(),
        "metrics": metrics.collect::<Vec<_>>(),
        "priority": {
            "default": plan.priority.default.word(), "cases": levels.collect::<Vec<_>>(),
        },
        "routes": routes.collect::<Vec<_>>(),
        "otherwise": texts(&plan.route.otherwise),
        "sinks": sinks.collect::<Vec<_>>(),
        "notifiers": notifiers.collect::<Vec<_>>(),
    });
    match parts {
        Value::Object(parts) => parts,
        _ => Map::new(),
    }
}
