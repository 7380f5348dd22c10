//! What follows from a mistake that was told: one mistake, one report.

use crate::grammar;
use kdl::{KdlDocument, KdlNode};
use language::diagnostic::{Diagnostic, Diagnostics, Rule, Severity};
use language::nearest;
use language::spanned::Span;
use std::collections::HashSet;

/// Takes out what was found after the first `told` findings, which are those of single values,
/// and is only said because one of these is wrong.
pub(crate) fn drop(document: &KdlDocument, told: usize, diagnostics: &mut Diagnostics) {
    if diagnostics.found().is_empty() {
        return;
    }
    let mistakes = Mistakes::of(document, told, diagnostics);
    let follows = |(at, it): (usize, &Diagnostic)| {
        told <= at && mistakes.explain(it) || is_given(document, it)
    };
    let gone: Vec<bool> = diagnostics.found().iter().enumerate().map(follows).collect();
    let mut gone = gone.into_iter();
    diagnostics.retain(|_| !gone.next().unwrap_or_default());
}

/// What was told of single values, and where.
struct Mistakes<'d> {
    document: &'d KdlDocument,
    /// What was blamed, and what a repair of it would replace.
    blamed: Vec<Span>,
    /// The nodes whose own line is wrong: those with errors, and those with anything.
    wrong: HashSet<*const KdlNode>,
    touched: HashSet<*const KdlNode>,
    /// The top nodes in which something is an error, is not called what it should be, or names a
    /// stage that does not exist.
    wrong_tops: HashSet<*const KdlNode>,
    loose_tops: HashSet<*const KdlNode>,
    waiting_tops: HashSet<*const KdlNode>,
    /// The top nodes with a node in their block that does not exist.
    strange_tops: HashSet<*const KdlNode>,
    /// The words that are not what they should be.
    slips: Vec<String>,
    /// Which types of events there are, and what they hold, is not known.
    is_blind: bool,
    /// What stages add is not known.
    has_bad_stage: bool,
    /// How long a stage may take is not known.
    has_wrong_limits: bool,
    /// Where events go is not known.
    has_wrong_route: bool,
}

impl<'d> Mistakes<'d> {
    fn of(document: &'d KdlDocument, told: usize, diagnostics: &Diagnostics) -> Self {
        let (found, text) = (diagnostics.found(), &diagnostics.source().text);
        let first = &found[..told.min(found.len())];
        let errors =
            || first.iter().filter(|it| it.rule.severity() == Severity::Error).filter_map(primary);
        let loose = || first.iter().filter(|it| ("E0010".."E0016").contains(&it.rule.code()));
        let tops = |places: &mut dyn Iterator<Item = Span>| -> HashSet<*const KdlNode> {
            places.filter_map(|place| top(document, &place)).map(std::ptr::from_ref).collect()
        };
        let own = |places: &mut dyn Iterator<Item = Span>| -> HashSet<*const KdlNode> {
            let nodes = places.filter_map(|place| innermost(document.nodes(), &place));
            nodes.map(std::ptr::from_ref).collect()
        };
        // What was read as what it should be hides nothing.
        let hiding = errors().filter(|error| !is_corrected(document, text, error));
        let wrong_roles: HashSet<&str> =
            hiding.filter_map(|it| top(document, &it)).map(|it| it.name().value()).collect();
        let has = |roles: &[&str]| roles.iter().any(|role| wrong_roles.contains(role));
        let waiting = found.iter().filter(|it| it.rule == Rule::UnknownStage);
        let unknown = first.iter().filter(|it| it.rule == Rule::UnknownNode);
        let edits = first.iter().flat_map(|it| &it.fix).map(|it| it.span.clone());
        let ends = ["sink", "notify", "server", "route"];
        Mistakes {
            document,
            blamed: first.iter().filter_map(primary).chain(edits).collect(),
            wrong: own(&mut errors()),
            touched: own(&mut first.iter().filter_map(primary)),
            wrong_tops: tops(&mut errors()),
            loose_tops: tops(&mut loose().filter_map(primary)),
            waiting_tops: tops(&mut waiting.filter_map(primary)),
            strange_tops: tops(&mut unknown.filter_map(primary)),
            slips: loose().filter_map(|it| text.get(primary(it)?)).map(str::to_owned).collect(),
            is_blind: has(&["source", "validate"])
                || found.iter().any(|it| it.rule == Rule::BadSchema),
            has_bad_stage: wrong_roles.iter().any(|role| !ends.contains(role)),
            has_wrong_limits: has(&["limits", "policy", "defaults"]),
            has_wrong_route: has(&["route"]),
        }
    }

    /// Whether a finding follows from one of them.
    fn explain(&self, found: &Diagnostic) -> bool {
        let Some(place) = primary(found) else { return false };
        if place.start < place.end && self.blamed.iter().any(|it| meets(it, &place)) {
            return true;
        }
        let holds = |nodes: &HashSet<*const KdlNode>, node: Option<&KdlNode>| {
            node.is_some_and(|node| nodes.contains(&std::ptr::from_ref(node)))
        };
        let top = top(self.document, &place);
        let node = innermost(self.document.nodes(), &place);
        let is_wrong = holds(&self.wrong_tops, top);
        match found.rule {
            Rule::TooSlow => self.has_wrong_limits || is_wrong,
            Rule::Unrouted => self.has_wrong_route,
            // A node that is called otherwise may be the one that is missing.
            Rule::MissingNode if holds(&self.strange_tops, top) => true,
            Rule::MissingNode | Rule::MissingArgument => {
                is_wrong && self.slips.iter().any(|slip| is_named(slip, &found.message))
            }
            Rule::NotYetThere => is_wrong || holds(&self.waiting_tops, top),
            rule if is_of_absence(rule) => {
                holds(&self.loose_tops, top) || holds(&self.touched, node)
            }
            rule if is_of_typing(rule) => {
                let reads_stage = self.has_bad_stage && found.message.contains("enrich.");
                self.is_blind && rule != Rule::NeverCompare
                    || reads_stage
                    || holds(&self.wrong, node)
            }
            rule => is_of_table(rule) && holds(&self.wrong, node),
        }
    }
}

/// Rules about what is not in a node, or comes to nothing there: it may be there and misspelled.
fn is_of_absence(rule: Rule) -> bool {
    matches!(rule.code(), "W0207" | "W0208" | "W0503" | "W0504")
}

/// Rules of what a value may be: of a node that is wrong they see what was not meant.
fn is_of_typing(rule: Rule) -> bool {
    matches!(rule.code(), "E0104" | "E0108" | "E0109" | "W0104" | "W0109" | "W0304")
}

/// Whether a finding misses a parameter or a policy that a misspelled node gives.
fn is_given(document: &KdlDocument, found: &Diagnostic) -> bool {
    let (what, is_it) = match found.rule {
        Rule::UnknownParam | Rule::UnknownPath => ("param", true),
        Rule::UnknownStage => ("policy", found.message.starts_with("there is no policy")),
        _ => return false,
    };
    let unknown = document.nodes().iter().filter(|node| {
        let name = node.name().value();
        is_it
            && !grammar::TOP.iter().any(|row| row.name == name)
            && nearest(name.trim_end_matches(':'), [what]).is_some()
    });
    let names = unknown.filter_map(|it| it.entries().first()?.value().as_string());
    let has = |name: &str| found.message.contains(&name.replace('-', "_"));
    names.into_iter().any(|name| has(name) || found.message.contains(name))
}

/// Rules of single nodes: what a reader misses in a node may be what is written wrong in it.
fn is_of_table(rule: Rule) -> bool {
    ("E0010".."E0027").contains(&rule.code())
}

/// Whether a word of the text is another one in the document: a slip that was put right.
fn is_corrected(document: &KdlDocument, text: &str, place: &Span) -> bool {
    let Some(node) = innermost(document.nodes(), place) else { return false };
    let begins = |span: miette::SourceSpan| span.offset() == place.start;
    let entries = node.entries().iter().filter(|entry| entry.name().is_none());
    let words =
        entries.filter(|entry| begins(entry.span())).filter_map(|entry| entry.value().as_string());
    let name = Some(node.name()).filter(|it| begins(it.span())).map(|it| it.value());
    let written = text.get(place.clone()).filter(|it| !it.starts_with(['"', '#']));
    words.chain(name).any(|word| written.is_some_and(|written| written != word))
}

/// Whether a misspelled name may be one that a message has in backticks.
fn is_named(slip: &str, message: &str) -> bool {
    let names = message.split('`').skip(1).step_by(2).map(|part| part.trim_end_matches('='));
    nearest(slip.trim_end_matches([':', '=']), names).is_some()
}

fn top<'d>(document: &'d KdlDocument, place: &Span) -> Option<&'d KdlNode> {
    document.nodes().iter().find(|node| meets(&whole(node), place))
}

/// The deepest node that a place lies in.
fn innermost<'d>(nodes: &'d [KdlNode], place: &Span) -> Option<&'d KdlNode> {
    let node = nodes.iter().find(|node| meets(&whole(node), place))?;
    let inside = node.children().map(KdlDocument::nodes).unwrap_or_default();
    innermost(inside, place).or(Some(node))
}

fn primary(found: &Diagnostic) -> Option<Span> {
    found.labels.first().map(|label| label.span.clone())
}

fn whole(node: &KdlNode) -> Span {
    let span = node.span();
    span.offset()..span.offset() + span.len()
}

fn meets(one: &Span, other: &Span) -> bool {
    one.start < other.end && other.start < one.end
}
