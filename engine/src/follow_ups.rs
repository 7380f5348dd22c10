//! What follows from a mistake that was told: one mistake, one report.

use kdl::{KdlDocument, KdlNode};
use stages::diagnostic::{Diagnostic, Diagnostics, Rule, Severity};
use stages::spanned::Span;

/// Takes out what was found after the first `told` findings, which are those of single values,
/// and is only said because one of these is wrong.
pub(crate) fn drop(document: &KdlDocument, told: usize, diagnostics: &mut Diagnostics) {
    let found = diagnostics.found();
    let first = &found[..told.min(found.len())];
    // Which types of events there are, and what they hold, is known from these.
    let is_blind = found.iter().any(|it| it.rule == Rule::BadSchema)
        || first.iter().filter_map(|it| top_of(document, it)).any(|it| {
            matches!(it.name().value(), "source" | "validate")
        });
    let unknown: Vec<Span> = found
        .iter()
        .filter(|it| it.rule == Rule::UnknownStage)
        .filter_map(|it| top_of(document, it))
        .map(whole)
        .collect();
    let has_bad_stage = first
        .iter()
        .filter_map(|it| top_of(document, it))
        .any(|it| !matches!(it.name().value(), "sink" | "notify" | "server" | "route"));
    if first.is_empty() && !is_blind && unknown.is_empty() {
        return;
    }
    let edits = first.iter().flat_map(|it| &it.fix).map(|it| it.span.clone());
    let blamed: Vec<Span> = first.iter().filter_map(primary).chain(edits).collect();
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
        let is_slow = it.rule == Rule::TooSlow && has_wrong_limits;
        let node = innermost(document.nodes(), &place);
        let is_touched = || {
            node.is_some_and(|node| first.iter().filter_map(primary).any(|it| is_own(node, &it)))
        };
        let is_absent = is_of_absence(it.rule) && (own() || is_touched());
        let is_guess = match it.rule {
            Rule::UnknownPath | Rule::UndeclaredPath | Rule::NotOneOf | Rule::AlwaysSame
            | Rule::UnusedType => {
                is_blind || has_bad_stage && it.message.contains("enrich.")
            }
            Rule::NotYetThere => unknown.iter().any(|it| meets(it, &place)),
            _ => false,
        };
        let is_of_node = is_of_table(it.rule)
            && node.is_some_and(|node| errors.iter().any(|it| is_own(node, it)));
        is_again || is_slow || is_absent || is_guess || is_of_node
    };
    let gone: Vec<bool> =
        found.iter().enumerate().map(|(at, it)| told <= at && follows(it)).collect();
    let mut gone = gone.into_iter();
    diagnostics.retain(|_| !gone.next().unwrap_or_default());
}

/// Rules about what is not in a node, or comes to nothing there: it may be there and misspelled.
fn is_of_absence(rule: Rule) -> bool {
    let is_missing = matches!(rule, Rule::MissingNode | Rule::MissingArgument);
    is_missing || matches!(rule.code(), "W0207" | "W0208" | "W0303" | "W0503" | "W0504")
}

/// Rules of single nodes: what a reader misses in a node may be what is written wrong in it.
fn is_of_table(rule: Rule) -> bool {
    ("E0010".."E0027").contains(&rule.code())
}

fn top_of<'d>(document: &'d KdlDocument, found: &Diagnostic) -> Option<&'d KdlNode> {
    let place = primary(found).filter(|_| found.rule.severity() == Severity::Error)?;
    document.nodes().iter().find(|it| meets(&whole(it), &place))
}

/// The deepest node that a place lies in.
fn innermost<'d>(nodes: &'d [KdlNode], place: &Span) -> Option<&'d KdlNode> {
    let node = nodes.iter().find(|it| meets(&whole(it), place))?;
    let inside = node.children().map(KdlDocument::nodes).unwrap_or_default();
    innermost(inside, place).or(Some(node))
}

/// Whether a place lies in a node itself, not in its block.
fn is_own(node: &KdlNode, place: &Span) -> bool {
    innermost(std::slice::from_ref(node), place).is_some_and(|it| std::ptr::eq(it, node))
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
