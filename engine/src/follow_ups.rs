//! What follows from a mistake that was told: one mistake, one report.

use kdl::{KdlDocument, KdlNode};
use stages::diagnostic::{Diagnostic, Diagnostics, Rule, Severity};
use stages::spanned::Span;

/// Takes out what was found after the first `told` findings, which are those of single values,
/// and is only said because one of these is wrong.
pub(crate) fn drop(document: &KdlDocument, told: usize, diagnostics: &mut Diagnostics) {
    let found = diagnostics.found();
    let first = &found[..told.min(found.len())];
    if first.is_empty() {
        return;
    }
    let blamed: Vec<Span> = first.iter().filter_map(primary).collect();
    let errors: Vec<Span> = first
        .iter()
        .filter(|it| it.rule.severity() == Severity::Error)
        .filter_map(primary)
        .collect();
    let tops: Vec<(&KdlNode, Span)> = document.nodes().iter().map(|it| (it, whole(it))).collect();
    let is_wrong = |span: &Span| errors.iter().any(|it| meets(it, span));
    // How long a stage may take depends on all of these.
    let has_wrong_limits = tops.iter().any(|(node, span)| {
        matches!(node.name().value(), "limits" | "policy" | "defaults") && is_wrong(span)
    });
    let follows = |it: &Diagnostic| {
        let Some(place) = primary(it) else { return false };
        let is_again = place.start < place.end && blamed.iter().any(|it| meets(it, &place));
        let own = || tops.iter().any(|(_, span)| meets(span, &place) && is_wrong(span));
        let is_slow = it.rule == Rule::TooSlow && (has_wrong_limits || own());
        is_again || is_slow
    };
    let gone: Vec<bool> =
        found.iter().enumerate().map(|(at, it)| told <= at && follows(it)).collect();
    let mut gone = gone.into_iter();
    diagnostics.retain(|_| !gone.next().unwrap_or_default());
}

fn primary(found: &Diagnostic) -> Option<Span> {
    found.labels.first().map(|it| it.span.clone())
}

fn whole(node: &KdlNode) -> Span {
    let span = node.span();
    span.offset()..span.offset() + span.len()
}

fn meets(one: &Span, other: &Span) -> bool {
    one.start < other.end && other.start < one.end
}
