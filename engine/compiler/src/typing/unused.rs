//! Parameters and additions that nothing reads, and schemas and rules for what never arrives.

use super::arrivals::ProgramInputs;
use super::stages_known::Additions;
use super::{expr, template};
use crate::spec::{OnError, Spec};
use kdl::{KdlDocument, KdlEntry, KdlNode};
use kernel::pattern::glob_fits;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::Root;
use language::spanned::Span;
use language::{ExprSite, value_text_span};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Warns of each `param` of the pipeline file itself that nothing reads. An included file may
/// well give more than one pipeline needs.
pub(super) fn params(
    document: &KdlDocument,
    sites: &[ExprSite<'_>],
    main: usize,
    diagnostics: &mut Diagnostics,
) {
    // A slip of a name leaves its parameter unread, and was told.
    let is_slip = |diagnostic: &language::diagnostic::Diagnostic| {
        diagnostic.rule == Rule::UnknownParam
            || diagnostic.message.contains("`param.")
            // What is missing or misspelled may be what reads it.
            || ("E0010".."E0019").contains(&diagnostic.rule.code()) && diagnostic.rule != Rule::WrongArgument
    };
    if diagnostics.found().iter().any(is_slip) {
        return;
    }
    let mut read: BTreeSet<String> = BTreeSet::new();
    document.nodes().iter().for_each(|node| put_in(node, &mut read));
    for site in sites {
        let exprs = expr(site).map(|expr| expr.reads());
        let reads = exprs.or_else(|| template(site).map(|template| template.reads()));
        for it in reads.into_iter().flatten().filter(|it| it.root == Root::Param) {
            match it.path.first() {
                Some(name) => read.insert(name.clone()),
                // All of them at once.
                None => return,
            };
        }
    }
    for node in document.nodes().iter().filter(|node| node.name().value() == "param") {
        let entry = node.entries().first().filter(|entry| entry.span().offset() < main);
        let Some((entry, name)) = entry.and_then(|entry| Some((entry, entry.value().as_string()?)))
        else {
            continue;
        };
        // What cannot be read may read it all the same: a broken expression, a node misspelled.
        let is_named = || {
            let text = &diagnostics.source().text;
            let (own, dashed) =
                (format!("param.{}", name.replace('-', "_")), format!("param.{name}"));
            text.contains(&own) || text.contains(&dashed) || {
                let behind =
                    |text: &str| text.trim_start().trim_start_matches(['"', '#']).starts_with(name);
                text.split("(param)").skip(1).any(behind)
            }
        };
        let is_read = read.contains(&name.replace('-', "_"));
        let may_be_read = diagnostics.has_errors() && is_named();
        if !is_read && !may_be_read {
            let span = entry.span();
            diagnostics
                .push(Rule::UnusedParam, format!("nothing reads the parameter `{name}`"))
                .at(span.offset()..span.offset() + span.len(), "never read")
                .help(format!(
                    "read it as `param.{}` in an expression or `(param){name}` as a value, or remove \
                     it",
                    name.replace('-', "_")
                ));
        }
    }
}

/// Warns of each `policy` of the pipeline file itself that no node uses.
pub(super) fn policies(spec: &Spec, main: usize, diagnostics: &mut Diagnostics) {
    // A node that could not be read may use it.
    if diagnostics.has_errors() {
        return;
    }
    let stages = spec.enrichments.iter().map(|enrichment| &enrichment.policy);
    let sinks = spec.sinks.iter().map(|sink| &sink.policy);
    let notifiers = spec.notifiers.iter().map(|notifier| &notifier.policy);
    let bases = spec.policies.iter().map(|policy| &policy.base);
    let used: BTreeSet<&str> = stages
        .chain(sinks)
        .chain(notifiers)
        .chain(bases)
        .flatten()
        .map(|name| name.value.as_str())
        .collect();
    let own = spec.policies.iter().map(|policy| &policy.name);
    for name in own.filter(|name| name.span.start < main && !used.contains(name.value.as_str())) {
        diagnostics
            .push(Rule::NoEffect, format!("no node uses the policy `{}`", name.value))
            .at(name.span.clone(), "never used")
            .help(format!(
                "write `policy {}` in a stage, sink or notifier, or remove it",
                name.value
            ));
    }
}

/// Warns of each stage that does nothing but add what no expression reads, where no end takes
/// whole events.
pub(super) fn stages(
    spec: &Spec,
    sites: &[ExprSite<'_>],
    additions: &Additions,
    diagnostics: &mut Diagnostics,
) {
    let takes_all =
        !spec.sinks.is_empty() || spec.notifiers.iter().any(|notifier| notifier.spec.sends_event());
    if takes_all || diagnostics.has_errors() {
        return;
    }
    let reads: Vec<(&str, Vec<String>)> = sites.iter().flat_map(reads_of).collect();
    for (index, stage) in spec.enrichments.iter().enumerate() {
        let name = stage.name.value.as_str();
        let is_needed =
            spec.enrichments.iter().any(|enrichment| enrichment.needs.contains(&stage.name));
        let gives_up = stage.on_error != OnError::Continue;
        if is_needed || gives_up || stage.spec.is_remote() || stage.spec.decides() {
            continue;
        }
        let overlaps = |path: &[String]| {
            let meets = |read: &[String]| path.iter().zip(read).all(|(a, b)| a == b);
            reads.iter().any(|(by, read)| *by != name && meets(read))
        };
        let mut paths = additions.paths(index).peekable();
        if paths.peek().is_some() && !paths.any(overlaps) {
            diagnostics
                .push(Rule::UnreadAddition, format!("nothing reads what `{name}` adds"))
                .at(stage.name.span.clone(), "never used")
                .help(format!(
                    "read it as `enrich.{}`, add a sink that uses whole events, or remove the \
                     stage",
                    stage.into.value.join(".")
                ));
        }
    }
}

/// The paths below `enrich` that a place reads, with the name of the stage that it belongs to.
fn reads_of<'s>(site: &'s ExprSite<'_>) -> Vec<(&'s str, Vec<String>)> {
    let owner = if site.top.name().value() == "enrich" { site.owner(1) } else { None };
    let reads = expr(site).map(|expr| expr.reads());
    let reads =
        reads.or_else(|| template(site).map(|template| template.reads())).unwrap_or_default();
    let reads = reads.into_iter().filter(|it| it.root == Root::Enrich);
    reads.map(|it| (owner.unwrap_or_default(), it.path)).collect()
}

/// The names that `(param)` was replaced by, from the text that was kept.
fn put_in(node: &KdlNode, read: &mut BTreeSet<String>) {
    for entry in node.entries() {
        let written = entry.format().map_or("", |it| it.value_repr.as_str());
        if let Some((annotation, name)) =
            written.strip_prefix('(').and_then(|it| it.split_once(')'))
            && annotation.trim() == "param"
        {
            read.insert(name.trim().trim_matches(['"', '#']).replace('-', "_"));
        }
    }
    let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
    children.iter().for_each(|child| put_in(child, read));
}

/// Warns of types that a node names for what it keeps or waits for, and that no event has.
pub(super) fn named_types(
    document: &KdlDocument,
    world: &ProgramInputs,
    diagnostics: &mut Diagnostics,
) {
    let Some(sent) = &world.sent else { return };
    for top in document.nodes() {
        // What holds the type, and whether as a property.
        let (holder, property) = match top.name().value() {
            "sink" | "store" => ("keep", Some("type")),
            "notify" => ("unless", Some("type")),
            "enrich" if top.get(0).and_then(|kind| kind.as_string()) == Some("previous") => {
                ("type", None)
            }
            _ => continue,
        };
        let holders = below(top).filter(|node| node.name().value() == holder);
        let is_type = |it: &&KdlEntry| it.name().map(|name| name.value()) == property;
        for entry in holders.flat_map(|node| node.entries().iter().filter(is_type)) {
            let Some(kind) = entry.value().as_string().filter(|_| entry.ty().is_none()) else {
                continue;
            };
            if !sent.iter().any(|it| glob_fits(kind, it)) {
                report_type(kind, value_text_span(entry, 0..kind.len()), sent, diagnostics);
            }
        }
    }
}

/// Every node in the block of a node, at any depth.
fn below(node: &KdlNode) -> impl Iterator<Item = &KdlNode> {
    let mut open: Vec<&KdlNode> = vec![node];
    std::iter::from_fn(move || {
        let next = open.pop()?;
        open.extend(next.children().map(KdlDocument::nodes).unwrap_or_default());
        Some(next)
    })
}

/// Warns of patterns of `validate` that no event fits, where the types that are sent are known.
pub(super) fn types(spec: &Spec, world: &ProgramInputs, diagnostics: &mut Diagnostics) {
    let Some(sent) = &world.sent else { return };
    let schemas = spec.validate.schemas.iter().map(|schema| &schema.0);
    for kind in schemas.chain(spec.validate.rules.iter().map(|rule| &rule.kind)) {
        if sent.iter().any(|it| glob_fits(&kind.value, it)) {
            continue;
        }
        report_type(&kind.value, kind.span.clone(), sent, diagnostics);
    }
}

fn report_type(kind: &str, span: Span, sent: &[Arc<str>], diagnostics: &mut Diagnostics) {
    let help = match language::nearest(kind, sent.iter().map(|it| &**it)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "no source of this file sends this type".to_owned(),
    };
    diagnostics
        .push(Rule::UnusedType, format!("no event of type `{kind}` can arrive"))
        .at(span, "never used")
        .help(help);
}
