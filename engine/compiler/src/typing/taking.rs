//! What takes a message apart: `each` and `json` of a `map`, and what they make of the message.

use super::arrivals::ProgramInputs;
use super::expr;
use super::report::Tell;
use crate::spec::{Map, SourceNode};
use language::diagnostic::Rule;
use language::expr::{EventType, Expr, Root, Roots, TypeEnv, ValueType};
use language::{ExprSite, ValueKind};
use std::sync::Arc;

/// The message as the rest of the map reads it.
pub(super) fn parsed(map: &Map, message: &Arc<ValueType>) -> Arc<ValueType> {
    if map.json.is_empty() {
        return message.clone();
    }
    let mut parsed = (**message).clone();
    for it in &map.json {
        if let Some((_, path)) = it.value.plain_path() {
            parsed.put(&path, ValueType::any());
        }
    }
    Arc::new(parsed)
}

/// What one event of a source is made of: an item, or the whole message.
pub(super) fn unit(map: &Map) -> Root {
    if map.each.is_some() { Root::Item } else { Root::Raw }
}

/// What the items of `each` are. What is wrong with it is told where it is checked.
pub(super) fn items(each: &Expr, known: &TypeEnv) -> ValueType {
    known.check(each).shape.items().unwrap_or_else(ValueType::any)
}

/// Looks at a place in a `source`.
pub(super) fn check(
    site: &ExprSite<'_>,
    source: &SourceNode,
    world: &ProgramInputs,
    tell: &mut Tell<'_>,
) {
    if matches!(site.ty, ValueKind::OwnTemplate(roots) if roots == Roots::REPLY) {
        // It is about the event, not about the message that the event was made of.
        let known = world.known(&world.all, ValueType::never(), Vec::new());
        return tell.site(site, &known);
    }
    let Some(known) = world.messages.get(&source.name.value) else { return };
    let Some(written) = expr(site) else { return tell.site(site, known) };
    match site.node() {
        "json" => json(site, &written, known, tell),
        "each" => {
            tell.site(site, known);
            each(site, &written, known, tell);
        }
        _ => {
            let reads = written.reads().into_iter().find(|it| it.root == Root::Item);
            match reads.filter(|_| source.map.each.is_none()) {
                Some(read) => no_each(site, read.span, tell),
                None => tell.site(site, known),
            }
        }
    }
}

fn no_each(site: &ExprSite<'_>, read: std::ops::Range<usize>, tell: &mut Tell<'_>) {
    tell.diagnostics
        .push(Rule::UnknownFunction, "`item` is not available here")
        .at(site.part(read), "this map has no `each`")
        .help("add `each \"data.items\"` to this map with the path of the list, or write `data`");
}

fn each(site: &ExprSite<'_>, each: &Expr, known: &TypeEnv, tell: &mut Tell<'_>) {
    let checked = known.check(each);
    if !checked.findings.is_empty() || checked.shape.items().is_some() {
        return;
    }
    let told = checked.shape.told_in_a_sentence();
    tell.diagnostics
        .push(Rule::NeverCompare, format!("`{}` is {told}, not a list", each.text()))
        .at(site.span(), "`each` needs a list")
        .help(format!("give the path of a list, or write `each \"[{}]\"`", each.text()));
}

fn json(site: &ExprSite<'_>, path: &Expr, known: &TypeEnv, tell: &mut Tell<'_>) {
    let reads = path.reads();
    let is_path = match (&reads[..], path.plain_path()) {
        ([read], Some((_, names))) => {
            !names.is_empty() && path.text()[read.span.clone()] == *path.text().trim()
        }
        _ => false,
    };
    if !is_path {
        tell.diagnostics
            .push(Rule::BadExpression, format!("`{}` is not a path into the message", path.text()))
            .at(site.span(), "`json` needs a path such as `data.Message`")
            .help("write `json \"data.Message\"`, or call `json(…)` where the value is used");
        return;
    }
    let message = Arc::new(known.at(Root::Raw, &[]));
    let here = Arc::new([EventType { kind: "".into(), data: message }]);
    let checked = known.narrowed(&(here as Arc<[EventType]>)).check(path);
    let may_be_text = checked.shape.may_be_text();
    if checked.findings.is_empty() && !may_be_text {
        let told = checked.shape.told_in_a_sentence();
        tell.diagnostics
            .push(Rule::NeverCompare, format!("`{}` is {told}, not text", path.text()))
            .at(site.span(), "`json` parses text")
            .help("remove it: what is not text stays as it is");
    }
    tell.findings(site, checked.findings);
}
