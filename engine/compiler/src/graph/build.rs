//! The graph out of a plan and its spec.

use super::{EdgeKind, Graph, GraphEdge, GraphNode, GraphPhase, printable};
use crate::plan::Plan;
use crate::spec::{Filter, OnInvalid, OnUnknownType, Passing, RouteMode, Spec, Watcher};
use kernel::choice::Choice;
use std::collections::BTreeMap;

impl Graph {
    /// Adds a node that stands in the file by this word; the phase is the word's.
    fn add(
        &mut self,
        role: &'static str,
        title: &str,
        notes: Vec<String>,
        off: Option<&str>,
    ) -> usize {
        let phase = match role {
            _ if Passing::WORDS.contains(&role) => GraphPhase::Filter,
            _ if Watcher::WORDS.contains(&role) => GraphPhase::Watch,
            "notify" => GraphPhase::Sink,
            _ => {
                GraphPhase::ALL.into_iter().find(|it| it.word() == role).unwrap_or(GraphPhase::Sink)
            }
        };
        let notes = notes.iter().map(|note| printable(note)).collect();
        let off = off.map(printable);
        self.nodes.push(GraphNode { phase, role, title: printable(title), notes, off });
        self.nodes.len() - 1
    }

    fn join(&mut self, from: &[usize], to: usize, kind: EdgeKind) {
        for from in from {
            let edge = GraphEdge { from: *from, to, kind };
            // A case may name a target twice.
            if !self.edges.contains(&edge) {
                self.edges.push(edge);
            }
        }
    }
}

/// The graph of a checked file. The plan knows order and what is off, the spec what the file says.
pub fn of(plan: &Plan, spec: &Spec) -> Graph {
    let mut graph = Graph {
        name: plan.name.to_string(),
        description: printable(&plan.description),
        nodes: Vec::new(),
        edges: Vec::new(),
    };
    let sources: Vec<usize> = plan
        .sources
        .iter()
        .map(|source| {
            let off = source.off.as_deref().or(source.is_disabled.then_some("disabled"));
            let says = Some(source.spec.says()).filter(|it| !it.is_empty());
            let notes = says.into_iter().collect();
            graph.add("source", &titled(source.spec.word(), &source.name), notes, off)
        })
        .collect();
    let (title, notes) = validation(spec);
    let validate = graph.add("validate", &title, notes, None);
    graph.join(&sources, validate, EdgeKind::Flow);
    let mut last = validate;
    for filter in &plan.filters {
        let (word, notes) = filtering(filter);
        let off = filter.is_disabled.then_some("disabled");
        let node = graph.add(word, &filter.name.value, notes, off);
        graph.join(&[last], node, EdgeKind::Flow);
        last = node;
    }
    for watcher in &plan.watchers {
        let mut notes: Vec<String> =
            watcher.when.iter().map(|it| format!("when {}", it.value.text())).collect();
        notes.push(watcher.spec.says());
        let off = watcher.is_disabled.then_some("disabled");
        let node = graph.add(watcher.spec.word(), &watcher.name.value, notes, off);
        graph.join(&[last], node, EdgeKind::Flow);
    }
    let enriched = add_enrichments(&mut graph, plan, last);
    let mut levels: Vec<String> = spec
        .priority
        .cases
        .iter()
        .map(|case| format!("{} when {}", case.0, case.1.value.text()))
        .collect();
    levels.push(format!("otherwise the event's own priority, or {}", spec.priority.default));
    let priority = graph.add("priority", "", levels, None);
    graph.join(&enriched, priority, EdgeKind::Flow);
    for metric in &plan.metrics {
        let when = metric.rule.when.iter().map(|it| format!("when {}", it.value.text()));
        let notes = when.chain([metric.says()]).collect();
        let off = metric.is_disabled.then_some("disabled");
        let title = titled(metric.rule.what.word(), &metric.name.value);
        let node = graph.add("metric", &title, notes, off);
        graph.join(&[priority], node, EdgeKind::Flow);
    }
    add_routes(&mut graph, plan, spec, priority);
    graph
}

fn titled(kind: &str, name: &str) -> String {
    format!("{kind} {name}")
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn validation(spec: &Spec) -> (String, Vec<String>) {
    let validate = &spec.validate;
    let (schemas, rules) = (validate.schemas.len(), validate.rules.len());
    if schemas + rules == 0 {
        return ("everything passes".to_owned(), Vec::new());
    }
    let title = format!("{}, {}", counted(schemas, "schema"), counted(rules, "rule"));
    let invalid = match validate.on_invalid {
        OnInvalid::DeadLetter => "dead-letter",
        OnInvalid::Reject => "reject",
        OnInvalid::Drop => "drop",
        OnInvalid::Tag => "tag",
    };
    let unknown = match validate.on_unknown_type {
        OnUnknownType::Accept => "accept",
        OnUnknownType::Drop => "drop",
        OnUnknownType::Reject => "reject",
        OnUnknownType::DeadLetter => "dead-letter",
    };
    (title, vec![format!("on-invalid {invalid}"), format!("on-unknown-type {unknown}")])
}

/// The node's word, and what it lets through.
pub(super) fn filtering(filter: &Filter) -> (&'static str, Vec<String>) {
    let mut notes: Vec<String> =
        filter.when.iter().map(|it| format!("when {}", it.value.text())).collect();
    let word = match &filter.rule {
        Passing::Keep(keep) => {
            notes.extend(keep.iter().map(|it| format!("keep when {}", it.value.text())));
            "filter"
        }
        Passing::Remembers(spec) => {
            notes.push(spec.says());
            spec.word()
        }
    };
    (word, notes)
}

/// Adds the enrichments; answers what the last ones are, or `entry` where there are none.
fn add_enrichments(graph: &mut Graph, plan: &Plan, entry: usize) -> Vec<usize> {
    let first = graph.nodes.len();
    for stage in &plan.stages {
        let notes = stage.when.iter().map(|it| format!("when {}", it.text())).collect();
        let title = titled(&stage.kind, &stage.name);
        let node = graph.add("enrich", &title, notes, stage.off.as_deref());
        let needs: Vec<usize> = stage.needs.iter().map(|it| first + it).collect();
        let after = stage.after.iter().map(|it| first + it).filter(|it| !needs.contains(it));
        let after: Vec<usize> = after.collect();
        if needs.is_empty() && after.is_empty() {
            graph.join(&[entry], node, EdgeKind::Flow);
        }
        graph.join(&needs, node, EdgeKind::Needs);
        graph.join(&after, node, EdgeKind::After);
    }
    let own = first..graph.nodes.len();
    let leads_on = |node: usize| graph.edges.iter().any(|edge| edge.from == node);
    let last: Vec<usize> = own.filter(|it| !leads_on(*it)).collect();
    if last.is_empty() { vec![entry] } else { last }
}

/// Adds the cases of the route, and everything that events leave by.
fn add_routes(graph: &mut Graph, plan: &Plan, spec: &Spec, entry: usize) {
    let outside: Vec<(&'static str, &str, &str, Option<&str>)> = {
        let sinks = plan
            .sinks
            .iter()
            .map(|sink| ("sink", sink.spec.word(), &*sink.name, sink.off.as_deref()));
        let notifiers = plan.notifiers.iter();
        let notifiers = notifiers.map(|notifier| {
            ("notify", notifier.spec.word(), &*notifier.name, notifier.off.as_deref())
        });
        sinks.chain(notifiers).collect()
    };
    let gets_all = |text: &&str| !spec.is_relayed_to(crate::plan::node_of(text));
    let everything = || outside.iter().map(|it| it.2).filter(gets_all).collect::<Vec<_>>();
    let mut cases: Vec<(String, Vec<String>, Vec<&str>)> = Vec::new();
    match &spec.route {
        None => cases.push(("every event".to_owned(), Vec::new(), everything())),
        Some(route) => {
            for case in &route.cases {
                let to = case.to.iter().map(|it| it.value.as_str()).collect();
                let mut notes = vec![format!("when {}", case.when.value.text())];
                if route.mode == RouteMode::All {
                    notes.push("continues with the next case".to_owned());
                }
                cases.push((case.name.value.clone(), notes, to));
            }
            let otherwise = route.otherwise.iter().flatten().map(|it| it.value.as_str());
            cases.push(("otherwise".to_owned(), Vec::new(), otherwise.collect()));
        }
    }
    let first = graph.nodes.len();
    for (name, notes, to) in &cases {
        let notes = if to.is_empty() { vec!["goes nowhere".to_owned()] } else { notes.clone() };
        let case = graph.add("route", name, notes, None);
        graph.join(&[entry], case, EdgeKind::Flow);
    }
    let mut nodes = BTreeMap::new();
    for (role, kind, name, off) in &outside {
        let node = graph.add(role, &titled(kind, name), Vec::new(), *off);
        nodes.insert(*name, node);
    }
    for (index, (_, _, to)) in cases.iter().enumerate() {
        for node in to.iter().filter_map(|it| nodes.get(it)) {
            graph.join(&[first + index], *node, EdgeKind::Flow);
        }
    }
    for notifier in &plan.notifiers {
        let from = nodes.get(&*notifier.name).copied();
        for (_, to) in notifier.manners.relays() {
            let (Some(from), Some(to)) = (from, nodes.get(to.value.as_str())) else { continue };
            graph.join(&[from], *to, EdgeKind::After);
        }
    }
}
