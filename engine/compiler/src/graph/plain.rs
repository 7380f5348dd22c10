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
        Claim::File(_) | Claim::Appended(_) | Claim::Program(_) => None,
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
    let texts = |names: &[Arc<str>]| names.iter().map(|it| it.to_string()).collect::<Vec<_>>();
    let stages = plan.stages.iter().map(|it| {
        let names = |of: &[usize]| of.iter().map(|it| &*plan.stages[*it].name).collect::<Vec<_>>();
        json!({
            "name": &*it.name, "kind": &*it.kind, "off": it.off.as_deref(), "after": names(&it.after),
            "needs": names(&it.needs), "when": it.when.as_ref().map(|it| it.text()),
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
    let filters = plan.filters.iter().map(|it| {
        let (word, notes) = filtering(it);
        let off = it.is_disabled.then_some("disabled");
        json!({ "name": it.name.value, "kind": word, "off": off, "passes": notes })
    });
    let watchers = plan.watchers.iter().map(|it| {
        let off = it.is_disabled.then_some("disabled");
        json!({ "name": it.name.value, "kind": it.spec.word(), "off": off, "does": it.spec.says() })
    });
    let metrics = plan.metrics.iter().map(|it| {
        let off = it.is_disabled.then_some("disabled");
        let (kind, name) = (it.rule.what.word(), &it.name.value);
        json!({ "name": name, "kind": kind, "off": off, "family": it.family(), "does": it.says() })
    });
    let levels = plan.priority.cases.iter();
    let levels = levels.map(|it| json!({ "level": it.0.word(), "when": it.1.value.text() }));
    let routes = plan.route.cases.iter();
    let routes =
        routes.map(|it| json!({ "case": &*it.0, "when": it.1.text(), "to": texts(&it.2) }));
    let sinks = plan.sinks.iter().map(|it| {
        let sink = part(&it.name, it.spec.word(), it.off.as_deref());
        with_routes(sink, it.spec.claims())
    });
    let notifiers = plan.notifiers.iter();
    let notifiers = notifiers.map(|it| part(&it.name, it.spec.word(), it.off.as_deref()));
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
