//! Every name stands for one thing, and every reference for a name.

use crate::spec::{Name, Spec};
use kdl::{KdlDocument, KdlNode};
use kernel::choice::Choice;
use language::diagnostic::{Diagnostics, Rule};
use language::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// How deep policies may build on each other.
pub(super) const POLICIES_DEEP: usize = 16;
/// Most names that a help text lists.
const LISTED_MAX: usize = 20;

/// Names that a reference may mean.
struct KnownNames<'a> {
    names: Vec<&'a str>,
    set: BTreeSet<&'a str>,
    /// What they are called together.
    what: &'a str,
    /// What is said at a reference that means none of them.
    label: &'a str,
}

impl<'a> KnownNames<'a> {
    fn new(names: impl Iterator<Item = &'a Name>, what: &'a str, label: &'a str) -> Self {
        KnownNames::of(names.map(|name| name.value.as_str()).collect(), what, label)
    }

    fn of(names: Vec<&'a str>, what: &'a str, label: &'a str) -> Self {
        KnownNames { set: names.iter().copied().collect(), names, what, label }
    }

    fn has(&self, name: &Name) -> bool {
        self.set.contains(name.value.as_str())
    }

    fn all(&self) -> String {
        let shown = self.names.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
        match self.names.len().saturating_sub(LISTED_MAX) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

struct Check<'a> {
    diagnostics: &'a mut Diagnostics,
    /// Names of other roles, and what they are.
    others: BTreeMap<String, &'static str>,
    /// The kind of each stage, sink and notifier, and its name: a kind may be meant as a name.
    kinds: Vec<(String, String)>,
    /// Any unknown name may be that of a node without one.
    has_nameless: bool,
    /// What `/-` switches off, with its line.
    commented_out: BTreeMap<String, usize>,
}

/// Reports names that stand twice and references that lead nowhere.
pub(super) fn check(spec: &Spec, text: &str, diagnostics: &mut Diagnostics) {
    duplicates(spec, diagnostics);
    circles(spec, diagnostics);
    let mut check = Check::new(text, diagnostics);
    check.knows(spec);
    check.stages(spec);
    check.policies(spec);
    check.targets(spec);
    check.relays(spec);
}

impl<'a> Check<'a> {
    fn new(text: &str, diagnostics: &'a mut Diagnostics) -> Self {
        let commented_out = crate::document::commented_out(text).into_iter().collect();
        let (others, kinds, has_nameless) = (BTreeMap::new(), Vec::new(), false);
        Check { diagnostics, others, kinds, has_nameless, commented_out }
    }

    /// Knows what else there is in the file.
    fn knows(&mut self, spec: &Spec) {
        let mut all = |names: Vec<&Name>, what| {
            self.others.extend(names.into_iter().map(|name| (name.value.clone(), what)));
        };
        all(spec.sources.iter().map(|source| &source.name).collect(), "source");
        all(spec.filters.iter().map(|filter| &filter.name).collect(), "filter");
        all(spec.watchers.iter().map(|watcher| &watcher.name).collect(), "watcher");
        all(spec.metrics.iter().map(|metric| &metric.name).collect(), "metric");
        all(spec.policies.iter().map(|policy| &policy.name).collect(), "policy");
        all(spec.enrichments.iter().map(|enrichment| &enrichment.name).collect(), "stage");
        all(spec.sinks.iter().map(|sink| &sink.name).collect(), "sink");
        all(spec.notifiers.iter().map(|notifier| &notifier.name).collect(), "notifier");
        let stages =
            spec.enrichments.iter().map(|enrichment| (enrichment.spec.word(), &enrichment.name));
        let sinks = spec.sinks.iter().map(|sink| (sink.spec.word(), &sink.name));
        let notifiers =
            spec.notifiers.iter().map(|notifier| (notifier.spec.word(), &notifier.name));
        let kinds = stages.chain(sinks).chain(notifiers);
        self.kinds = kinds.map(|(kind, it)| (kind.to_owned(), it.value.clone())).collect();
        self.has_nameless = spec.unread.has_nameless;
    }

    /// The name of the only known node of the kind that is meant by a word.
    fn by_kind(&self, word: &str, known: &KnownNames<'_>) -> Option<&str> {
        let kinds = self.kinds.iter().filter(|kind| known.set.contains(kind.1.as_str()));
        let kind = nearest(word, kinds.clone().map(|kind| kind.0.as_str()))?;
        let mut of_kind = kinds.filter(|it| it.0 == kind);
        of_kind.next().filter(|_| of_kind.next().is_none()).map(|it| it.1.as_str())
    }

    fn stages(&mut self, spec: &Spec) {
        let known = stages_of(spec);
        for stage in &spec.enrichments {
            let of = &stage.name.value;
            for name in stage.after.iter().filter(|it| !known.has(it)) {
                self.waiting(of, "after", name, &known);
            }
            for name in stage.needs.iter().filter(|it| !known.has(it)) {
                self.waiting(of, "needs", name, &known);
            }
        }
    }

    fn policies(&mut self, spec: &Spec) {
        let known = policies_of(spec);
        let stages = spec.enrichments.iter().map(|enrichment| &enrichment.policy);
        let sinks = spec.sinks.iter().map(|sink| &sink.policy);
        let notifiers = spec.notifiers.iter().map(|notifier| &notifier.policy);
        let bases = spec.policies.iter().map(|policy| &policy.base);
        let named = stages.chain(sinks).chain(notifiers).chain(bases).flatten();
        for name in named.filter(|named| !known.has(named)) {
            self.policy(name, &known);
        }
    }

    fn policy(&mut self, name: &Name, known: &KnownNames<'_>) {
        let message = format!("there is no policy `{}`", name.value);
        self.unknown(Rule::UnknownStage, message, name, known);
    }

    fn waiting(&mut self, of: &str, word: &str, name: &Name, known: &KnownNames<'_>) {
        let verb = if word == "needs" { "needs" } else { "waits for" };
        let message = format!("stage `{of}` {verb} `{}`, which does not exist", name.value);
        self.unknown(Rule::UnknownStage, message, name, known);
    }

    fn target(&mut self, place: &str, name: &Name, known: &KnownNames<'_>) {
        let message =
            format!("route {place} sends to `{}`, which is not a sink or notifier", name.value);
        self.unknown(Rule::UnknownTarget, message, name, known);
    }

    fn targets(&mut self, spec: &Spec) {
        let Some(route) = &spec.route else { return };
        let known = targets_of(spec);
        let cases =
            route.cases.iter().map(|case| (format!("case `{}`", case.name.value), &case.to));
        let otherwise = route.otherwise.iter().map(|it| ("`otherwise`".to_owned(), it));
        for (place, names) in cases.chain(otherwise) {
            for name in names.iter().filter(|name| !known.has(name)) {
                self.target(&place, name, &known);
            }
        }
    }

    fn relays(&mut self, spec: &Spec) {
        let names =
            spec.notifiers.iter().map(|notifier| &notifier.name).chain(&spec.unread.notifiers);
        let known = KnownNames::new(names, "notifiers", "no notifier with this name");
        let all = spec.notifiers.iter().flat_map(|notifier| notifier.manners.relays());
        for (word, name) in all.filter(|it| !known.has(it.1)) {
            let word = word.word();
            let message = format!("`{word}` names `{}`, which is not a notifier", name.value);
            self.unknown(Rule::UnknownTarget, message, name, &known);
        }
    }

    fn unknown(&mut self, rule: Rule, message: String, name: &Name, known: &KnownNames<'_>) {
        let (what, all) = (known.what, known.all());
        let near = nearest(&name.value, known.names.iter().copied());
        let near = near.or_else(|| self.by_kind(&name.value, known));
        if near.is_none() && self.has_nameless && what != "policies" {
            return;
        }
        if let Some(other) = self.others.get(&name.value) {
            let (name, span) = (&name.value, name.span.clone());
            let (message, help) = match what {
                "stages" => (
                    format!("`{name}` is a {other}; a stage cannot wait for one"),
                    format!("`after` and `needs` only accept stages: {all}"),
                ),
                "policies" => (
                    format!("`{name}` is a {other}, not a policy"),
                    match all.is_empty() {
                        true => "this file has no policies".to_owned(),
                        false => format!("the policies of this file: {all}"),
                    },
                ),
                "notifiers" => (
                    format!("`{name}` is a {other}, not a notifier"),
                    format!("the notifiers of this file: {all}"),
                ),
                _ => (
                    format!("`{name}` is a {other}; a route sends to sinks and notifiers"),
                    format!("the {what} of this file: {all}"),
                ),
            };
            self.diagnostics.push(rule, message).at(span, known.label).help(help);
            return;
        }
        let help = match (self.commented_out.get(&name.value), near) {
            (Some(line), _) => format!("`{}` is commented out on line {line}", name.value),
            (None, Some(it)) => format!("did you mean `{it}`? The {what} of this file: {all}"),
            (None, None) if known.names.is_empty() => format!("this file has no {what}"),
            (None, None) => format!("the {what} of this file: {all}"),
        };
        self.diagnostics.push(rule, message).at(name.span.clone(), known.label).help(help);
    }
}

/// Reports references that lead nowhere and stand in nodes and cases that could not be read, so
/// that another mistake in the same place does not hide them.
pub(crate) fn check_unread(
    document: &KdlDocument,
    spec: &Spec,
    text: &str,
    diagnostics: &mut Diagnostics,
) {
    let mut check = Check::new(text, diagnostics);
    check.knows(spec);
    let read: BTreeSet<usize> = spec
        .enrichments
        .iter()
        .map(|enrichment| &enrichment.name)
        .chain(spec.sinks.iter().map(|sink| &sink.name))
        .chain(spec.notifiers.iter().map(|notifier| &notifier.name))
        .chain(spec.route.iter().flat_map(|it| it.cases.iter().map(|case| &case.name)))
        .map(|name| name.span.start)
        .collect();
    let is_read = |node: &KdlNode| names_in(node).any(|it| read.contains(&it.span.start));
    let (stages, policies, targets) = (stages_of(spec), policies_of(spec), targets_of(spec));
    for node in document.nodes() {
        let role = node.name().value();
        match role {
            "route" if spec.route.is_some() => {
                let lost = inside(node)
                    .filter(|inside| inside.name().value() == "case" && !is_read(inside));
                for (case, name) in lost.flat_map(|it| references(it, "to").map(move |to| (it, to)))
                {
                    let place = names_in(case).next().map_or_else(String::new, |it| it.value);
                    if !targets.has(&name) {
                        check.target(&format!("case `{place}`"), &name, &targets);
                    }
                }
            }
            "enrich" | "sink" | "notify" if !is_read(node) => {
                let own = names_in(node).nth(1).map_or_else(String::new, |it| it.value);
                for word in ["after", "needs"].into_iter().filter(|_| role == "enrich") {
                    for name in references(node, word).filter(|reference| !stages.has(reference)) {
                        check.waiting(&own, word, &name, &stages);
                    }
                }
                for name in references(node, "policy").filter(|reference| !policies.has(reference))
                {
                    check.policy(&name, &policies);
                }
            }
            _ => {}
        }
    }
}

fn inside(node: &KdlNode) -> impl Iterator<Item = &KdlNode> {
    node.children().into_iter().flat_map(KdlDocument::nodes)
}

/// The arguments of a node that are plain text.
fn names_in(node: &KdlNode) -> impl Iterator<Item = Name> + '_ {
    let plain =
        node.entries().iter().filter(|entry| entry.name().is_none() && entry.ty().is_none());
    plain.filter_map(|it| {
        let span = it.span().offset()..it.span().offset() + it.span().len();
        Some(Name::new(it.value().as_string()?.to_owned(), span))
    })
}

/// What the children of this word name.
fn references<'d>(node: &'d KdlNode, word: &'d str) -> impl Iterator<Item = Name> + 'd {
    inside(node).filter(move |inside| inside.name().value() == word).flat_map(names_in)
}

fn stages_of(spec: &Spec) -> KnownNames<'_> {
    let names =
        spec.enrichments.iter().map(|enrichment| &enrichment.name).chain(&spec.unread.stages);
    KnownNames::new(names, "stages", "no stage with this name")
}

fn policies_of(spec: &Spec) -> KnownNames<'_> {
    let names = spec.policies.iter().map(|policy| &policy.name);
    KnownNames::new(names, "policies", "no policy with this name")
}

fn targets_of(spec: &Spec) -> KnownNames<'_> {
    let names = spec.sinks.iter().map(|sink| &sink.name);
    let names = names
        .chain(spec.notifiers.iter().map(|notifier| &notifier.name))
        .chain(&spec.unread.sinks)
        .chain(&spec.unread.notifiers);
    KnownNames::new(names, "sinks and notifiers", "no sink or notifier with this name")
}

fn duplicates(spec: &Spec, diagnostics: &mut Diagnostics) {
    let stages = spec.enrichments.iter().map(|enrichment| &enrichment.name);
    let watchers = spec.watchers.iter().map(|watcher| &watcher.name);
    let nodes = spec.filters.iter().map(|filter| &filter.name).chain(watchers).chain(stages);
    let ends = spec
        .sinks
        .iter()
        .map(|sink| &sink.name)
        .chain(spec.notifiers.iter().map(|notifier| &notifier.name));
    let unread = &spec.unread;
    let unread = unread.stages.iter().chain(&unread.sinks).chain(&unread.notifiers);
    let groups: [Vec<&Name>; 6] = [
        spec.sources
            .iter()
            .map(|source| &source.name)
            .chain(nodes)
            .chain(ends)
            .chain(unread)
            .collect(),
        spec.metrics.iter().map(|metric| &metric.name).collect(),
        spec.policies.iter().map(|policy| &policy.name).collect(),
        spec.params.iter().map(|param| &param.0).collect(),
        spec.server.tokens.iter().map(|token| &token.name).collect(),
        spec.route.iter().flat_map(|it| it.cases.iter().map(|case| &case.name)).collect(),
    ];
    for group in groups {
        let mut first: BTreeMap<&str, &Name> = BTreeMap::new();
        for name in group {
            let Some(earlier) = first.insert(&name.value, name) else { continue };
            // What could not be read may be taken for a stage and for a target.
            if earlier.span == name.span {
                continue;
            }
            diagnostics
                .push(Rule::DuplicateName, format!("two nodes have the name `{}`", name.value))
                .at(name.span.clone(), "again")
                .at(earlier.span.clone(), "first, here")
                .help("rename one of them");
        }
    }
}

/// A policy that builds on itself, told once at its first member in the file, or on too many.
fn circles(spec: &Spec, diagnostics: &mut Diagnostics) {
    let mut bases: BTreeMap<&str, Option<&Name>> = BTreeMap::new();
    for policy in &spec.policies {
        bases.entry(&policy.name.value).or_insert(policy.base.as_ref());
    }
    let base = |name: &str| bases.get(name).copied().flatten();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for policy in &spec.policies {
        let mut way = vec![policy.name.value.as_str()];
        let mut last = base(way[0]);
        while let Some(next) = last.filter(|it| !way.contains(&it.value.as_str())) {
            if POLICIES_DEEP < way.len() || told.contains(next.value.as_str()) {
                break;
            }
            way.push(&next.value);
            last = base(&next.value);
        }
        let Some(last) = last.filter(|_| !told.contains(way[0])) else { continue };
        if last.value == way[0] {
            let circle = format!("{} → {}", way.join(" → "), way[0]);
            told.extend(&way);
            diagnostics
                .push(Rule::Cycle, "this policy builds on itself")
                .at(policy.name.span.clone(), "begins here")
                .at(last.span.clone(), "and returns here")
                .help(format!("cycle: {circle}. Remove one of these `policy`"));
        } else if POLICIES_DEEP < way.len() {
            told.extend(&way);
            diagnostics
                .push(Rule::OutOfRange, "these policies build on each other too deeply")
                .at(policy.name.span.clone(), "begins here")
                .at(last.span.clone(), "one too many")
                .help(format!("allowed: {POLICIES_DEEP} nested policies"));
        }
    }
}

/// Reports a name that nothing has; `known` are those that something has, `what` what they name.
pub(crate) fn unknown(
    diagnostics: &mut Diagnostics,
    rule: Rule,
    message: String,
    name: &Name,
    known: &[&str],
    text: &str,
    what: &str,
) {
    let known = KnownNames::of(known.to_vec(), what, "not found");
    Check::new(text, diagnostics).unknown(rule, message, name, &known);
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::spanned::Spanned;

    #[test]
    fn a_long_list_of_names_is_cut() {
        let names: Vec<Name> = (0..25).map(|it| Spanned::new(format!("n{it}"), 0..0)).collect();
        let known = KnownNames::new(names.iter(), "stages", "");
        assert!(known.all().ends_with("n19 and 5 more"), "{}", known.all());
        assert!(known.has(&names[24]));
    }
}
