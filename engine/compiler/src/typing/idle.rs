//! What a file says without effect: targets that nothing is sent to, settings that nothing reads.
//!
//! Accepted means that it has an effect; what has none is usually a slip, or left over.

use crate::spec::{Enrichment, Name, OnUnknownType, Spec, reads_of};
use kdl::{KdlDocument, KdlNode};
use language::ExprSite;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{PathRead, Root};
use language::spanned::Span;
use serde_json::Value;
use stages::contract::{CloudEvents, SinkRole};
use std::collections::BTreeMap;

/// Further places of one finding that are shown.
const SHOWN_MAX: usize = 2;

/// Failure handling, by the names of its nodes.
const FAILURE: &[&str] = &["timeout", "retry", "breaker", "rate", "concurrency", "policy"];

pub(super) fn check(
    document: &KdlDocument,
    spec: &Spec,
    sites: &[ExprSite<'_>],
    diagnostics: &mut Diagnostics,
) {
    twice(spec, diagnostics);
    unrouted(spec, diagnostics);
    targets_twice(spec, diagnostics);
    targets_off(spec, diagnostics);
    nothing_known(spec, document, diagnostics);
    settings(document, spec, diagnostics);
    breakers_off(document.nodes(), diagnostics);
    calls_at_once(document, spec, diagnostics);
    let set = SetFields {
        lifecycle: spec.lifecycle().is_some(),
        subject: has_subject(spec) || emits(document.nodes()),
    };
    fields(sites, set, diagnostics);
    keys(sites, diagnostics);
    // A source that could not be read is not missing.
    if !diagnostics.has_errors() && spec.sources.is_empty() {
        diagnostics
            .push(Rule::NoSource, "no event can arrive")
            .at(spec.name.span.clone(), "this pipeline has no source")
            .help("add `source http NAME { path \"/events\" }`");
    }
}

/// Types that have two schemas: only one would be asked.
fn twice(spec: &Spec, diagnostics: &mut Diagnostics) {
    let mut first: BTreeMap<&str, &Name> = BTreeMap::new();
    for (kind, _) in &spec.validate.schemas {
        let Some(earlier) = first.insert(&kind.value, kind) else { continue };
        diagnostics
            .push(Rule::RepeatedNode, format!("`{}` has two schemas", kind.value))
            .at(kind.span.clone(), "again")
            .at(earlier.span.clone(), "first, here")
            .help("remove one of them; `allOf` in a schema joins two");
    }
}

/// Sinks and notifiers that the route never names. The store also holds what waits for the others,
/// so that it is of use without a route to it.
fn unrouted(spec: &Spec, diagnostics: &mut Diagnostics) {
    let Some(route) = &spec.route else { return };
    // The name that was meant may be the one that is missing here.
    if diagnostics.found().iter().any(|it| it.rule == Rule::UnknownTarget) {
        return;
    }
    let is_store = |sink: &crate::spec::Sink| matches!(sink.spec.shape(), SinkRole::Store(_));
    // What has a condition of its own gets what matches it.
    let has_own = |it: &Option<_>| it.is_some();
    let sinks = spec.sinks.iter();
    let sinks = sinks.filter(|sink| !sink.is_disabled && !is_store(sink) && !has_own(&sink.when));
    let notifiers =
        spec.notifiers.iter().filter(|notifier| !notifier.is_disabled && !has_own(&notifier.when));
    let names = sinks.map(|sink| &sink.name).chain(notifiers.map(|notifier| &notifier.name));
    let is_reached = |name: &&Name| route.names(&name.value) || spec.is_relayed_to(&name.value);
    for name in names.filter(|name| !is_reached(name)) {
        diagnostics
            .push(Rule::Unrouted, format!("no event is ever sent to `{}`", name.value))
            .at(name.span.clone(), "no case of the route names it")
            .help(format!("add `to {}` to a case of the route, or remove the node", name.value));
    }
}

/// A target that one case names twice: it gets each event once.
fn targets_twice(spec: &Spec, diagnostics: &mut Diagnostics) {
    let Some(route) = &spec.route else { return };
    let cases = route.cases.iter().map(|case| &case.to);
    for names in cases.chain(&route.otherwise) {
        for (at, name) in names.iter().enumerate() {
            if names[..at].iter().any(|it| it.value == name.value) {
                let why = "the case already sends to it, and each event goes there once";
                no_effect(diagnostics, &name.value, &name.span, why, "remove it");
            }
        }
    }
}

/// Notifiers that are named where events go, and switched off in the file: nobody is told. One
/// that is off for want of a variable is off on this machine only.
fn targets_off(spec: &Spec, diagnostics: &mut Diagnostics) {
    let off = spec.notifiers.iter().filter(|notifier| notifier.is_disabled);
    let off: Vec<&str> = off.map(|notifier| notifier.name.value.as_str()).collect();
    let route = spec.route.iter();
    let routed =
        route.flat_map(|route| route.cases.iter().map(|case| &case.to).chain(&route.otherwise));
    let running = spec.notifiers.iter().filter(|notifier| !notifier.is_disabled);
    let relayed = running.flat_map(|notifier| notifier.manners.relays()).map(|relay| relay.1);
    for name in routed.flatten().chain(relayed).filter(|name| off.contains(&&*name.value)) {
        diagnostics
            .push(Rule::NoEffect, format!("`{}` is disabled, so nothing is sent there", name.value))
            .at(name.span.clone(), "has no effect")
            .help(format!("remove `disabled` from `{0}`, or do not name it here", name.value));
    }
}

/// `on-unknown-type` without any schema: no type is known.
fn nothing_known(spec: &Spec, document: &KdlDocument, diagnostics: &mut Diagnostics) {
    let children =
        |node: &KdlNode| node.children().map(|it| it.nodes().to_vec()).unwrap_or_default();
    let validate = document.nodes().iter().filter(|node| node.name().value() == "validate");
    let nodes: Vec<KdlNode> = validate.flat_map(children).collect();
    let has_schema = nodes.iter().any(|node| node.name().value() == "schema");
    let mode = nodes.iter().find(|node| node.name().value() == "on-unknown-type");
    let Some(mode) = mode.filter(|_| !has_schema) else { return };
    let what = match spec.validate.on_unknown_type {
        OnUnknownType::Accept => return,
        OnUnknownType::Drop => "drops",
        _ => "rejects",
    };
    diagnostics
        .push(Rule::AlwaysSame, format!("this {what} every event: no type has a schema"))
        .at(span_of(mode), "no type is known")
        .help("add `schema \"TYPE\" file=\"…\"` for each type that is known, or remove this line");
}

/// Failure handling of what is never called from outside the engine.
fn settings(document: &KdlDocument, spec: &Spec, diagnostics: &mut Diagnostics) {
    for node in document.nodes() {
        let name = named(node);
        let sink = spec.sinks.iter().find(|sink| sink.name.value == name);
        let stage = spec.enrichments.iter().find(|enrichment| enrichment.name.value == name);
        let why = match node.name().value() {
            "sink" => sink.and_then(|sink| match sink.spec.shape() {
                SinkRole::Store(_) => Some("the store is written in the engine itself"),
                SinkRole::Stream(_) => Some("a stream never waits for its clients"),
                SinkRole::Outside => None,
            }),
            "enrich" => stage
                .filter(|stage| !stage.spec.is_remote())
                .map(|_| "this stage calls nothing outside the engine"),
            _ => None,
        };
        let Some(why) = why else { continue };
        let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
        for child in children {
            let word = child.name().value();
            if FAILURE.contains(&word) {
                no_effect(diagnostics, word, &span_of(child), why, "remove it");
            }
        }
    }
}

/// `breaker #false { trip after=3 }`: what is switched off needs no settings.
fn breakers_off(nodes: &[KdlNode], diagnostics: &mut Diagnostics) {
    for node in nodes {
        let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
        let is_off = node.get(0).and_then(kdl::KdlValue::as_bool) == Some(false);
        match children.first().filter(|_| is_off && node.name().value() == "breaker") {
            Some(first) => {
                let why = "the breaker is off";
                let help = "remove `#false` to turn it on, or remove the block";
                no_effect(diagnostics, first.name().value(), &span_of(first), why, help);
            }
            None => breakers_off(children, diagnostics),
        }
    }
}

/// More calls at once than events can have a stage running.
fn calls_at_once(document: &KdlDocument, spec: &Spec, diagnostics: &mut Diagnostics) {
    let most = spec.limits.concurrency;
    let is_over = |enrichment: &&Enrichment| {
        enrichment.spec.is_remote()
            && enrichment.failure.concurrency.is_some_and(|calls| most < calls)
    };
    for stage in spec.enrichments.iter().filter(is_over) {
        let node = document
            .nodes()
            .iter()
            .find(|node| node.name().value() == "enrich" && named(node) == stage.name.value);
        let children = node.and_then(KdlNode::children).map(KdlDocument::nodes).unwrap_or_default();
        let Some(child) = children.iter().find(|child| child.name().value() == "concurrency")
        else {
            continue;
        };
        diagnostics
            .push(Rule::NoEffect, format!("never more than {most} calls run at once"))
            .at(span_of(child), "more than that")
            .help(format!(
                "write `concurrency {most}`, or raise `concurrency` of `limits`, which limits how \
                 many events are enriched at once"
            ));
    }
}

/// Which fields of `event` something in the file may set.
#[derive(Debug, Clone, Copy)]
struct SetFields {
    lifecycle: bool,
    subject: bool,
}

/// Whether a source gives events a subject; one of a file that is not written yet may.
fn has_subject(spec: &Spec) -> bool {
    let mut sources = spec.sources.iter();
    spec.sources.is_empty()
        || sources.any(|source| {
            source.map.subject.is_some()
                || source.spec.brings().has_subject
                || source.spec.cloud_events() != CloudEvents::Never
        })
}

/// Whether a stage sends events, which are about its keys.
fn emits(nodes: &[KdlNode]) -> bool {
    let stages = nodes.iter().filter(|node| node.name().value() != "source");
    let blocks = stages.filter_map(KdlNode::children);
    blocks.flat_map(KdlDocument::nodes).any(|child| child.name().value() == "emit")
}

/// Fields of `event` that nothing sets. That of a source is one mistake, wherever it is read.
fn fields(sites: &[ExprSite<'_>], set: SetFields, diagnostics: &mut Diagnostics) {
    let mut subjects = Vec::new();
    for site in sites {
        let is_unset = |it: &PathRead| {
            let name = it.path.first().map_or("", String::as_str);
            let is_unset = match name {
                "attempt" => true,
                "lifecycle" => !set.lifecycle,
                "subject" => !set.subject,
                _ => false,
            };
            it.root == Root::Event && is_unset
        };
        for read in reads_of(site).into_iter().filter(is_unset) {
            let span = site.part(read.span);
            let help = match read.path[0].as_str() {
                "subject" => {
                    subjects.push(span);
                    continue;
                }
                "lifecycle" => {
                    "add a `lifecycle` that says what starts and ends a visit, or remove it"
                }
                _ => "remove it",
            };
            diagnostics
                .push(Rule::NoEffect, format!("`event.{}` is always null", read.path[0]))
                .at(span, "no stage sets it")
                .help(help);
        }
    }
    report_subjects(subjects, diagnostics);
}

fn report_subjects(mut reads: Vec<Span>, diagnostics: &mut Diagnostics) {
    reads.sort_by_key(|read| read.start);
    let mut reads = reads.into_iter();
    // A `map` with a mistake may be the one that sets it.
    let Some(first) = reads.next().filter(|_| !diagnostics.has_errors()) else { return };
    let found = diagnostics.push(Rule::NoEffect, "`event.subject` is always empty");
    found.at(first, "no source sets it");
    for read in reads.take(SHOWN_MAX) {
        found.at(read, "read here, too");
    }
    found.help(
        "write `map { subject \"data.subject\" }` in the source, with the path of what the event \
         is about",
    );
}

/// Keys that are one text for all events: usually the name of a field in two pairs of quotes.
fn keys(sites: &[ExprSite<'_>], diagnostics: &mut Diagnostics) {
    let is_key = |site: &&ExprSite<'_>| match site.node() {
        "key" => matches!(site.top.name().value(), "dedupe" | "throttle" | "changes" | "window"),
        "cooldown" => site.name == "key",
        _ => false,
    };
    for site in sites.iter().filter(is_key) {
        let Some(expr) = super::expr(site).filter(|expr| expr.reads().is_empty()) else { continue };
        if let [(Value::String(_), _)] = expr.literals().as_slice() {
            diagnostics
                .push(Rule::AlwaysSame, "this key is the same for every event")
                .at(site.span(), "a text, not a value of the event")
                .help("read a value, such as `event.subject` or `data.id`");
        }
    }
}

fn no_effect(diagnostics: &mut Diagnostics, word: &str, span: &Span, why: &str, help: &str) {
    diagnostics
        .push(Rule::NoEffect, format!("`{word}` has no effect here"))
        .at(span.clone(), why)
        .help(help);
}

/// The name that a stage gives itself: `journal` of `sink sqlite journal`.
fn named(node: &KdlNode) -> &str {
    let arguments = node.entries().iter().filter(|entry| entry.name().is_none());
    arguments.filter_map(|argument| argument.value().as_string()).nth(1).unwrap_or_default()
}

fn span_of(node: &KdlNode) -> Span {
    let span = node.name().span();
    span.offset()..span.offset() + span.len()
}
