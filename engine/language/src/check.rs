//! Every word, argument and property of a file against the table, all findings at once.

mod foreign_syntax;
mod misplaced;
mod repair;
mod scalars;
mod secrets;
mod units;
mod unknown;

pub use foreign_syntax::is_printed_quote;
pub use scalars::{as_name, is_name, is_socket, other_level};

use super::offsets::{entry_span, is_bare, name_span, value_span};
use super::table::{Arg, Arity, KindRow, NodeRow, Prop, ValueKind};
use super::value;
use crate::diagnostic::{Diagnostics, Rule};
use crate::nearest;
use crate::spanned::Span;
use crate::words;
use kdl::{KdlDocument, KdlEntry, KdlIdentifier, KdlNode};
use std::collections::BTreeMap;
use unknown::Misplaced;

/// The roles that have kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeRole {
    /// Produces events.
    Source,
    /// Adds fields to events.
    Enrich,
    /// Delivers events.
    Sink,
    /// Tells people.
    Notify,
}

impl NodeRole {
    /// Every role.
    pub const ALL: [NodeRole; 4] =
        [NodeRole::Source, NodeRole::Enrich, NodeRole::Sink, NodeRole::Notify];

    /// The role's word in the file.
    pub fn word(self) -> &'static str {
        ["source", "enrich", "sink", "notify"][self as usize]
    }

    /// The role of this word.
    pub fn of(word: &str) -> Option<NodeRole> {
        NodeRole::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// Knows the kinds of a role.
pub trait Kinds {
    /// Every kind of this role, in the order of its word.
    fn kinds(&self, role: NodeRole) -> Vec<KindRow>;
}

/// The groups of children that a top node takes: those of its row, and those of the kind that it
/// names.
pub fn child_groups(node: &KdlNode, row: &NodeRow, kinds: &dyn Kinds) -> Vec<&'static [NodeRow]> {
    row.children.iter().chain(kind_groups(node, row, kinds)).copied().collect()
}

/// Those of its kind alone.
pub(super) fn kind_groups(
    node: &KdlNode,
    row: &NodeRow,
    kinds: &dyn Kinds,
) -> &'static [&'static [NodeRow]] {
    let Some(role) = NodeRole::of(row.name) else { return &[] };
    let word = node.entries().iter().find(|entry| entry.name().is_none());
    let word = word.and_then(|word| word.value().as_string());
    let kind = kinds.kinds(role).into_iter().find(|kind| Some(kind.word) == word);
    kind.map_or(&[], |kind| kind.nodes)
}

/// Checks a document against the table: `top` are the nodes that are allowed at its top. What
/// words should be is answered, for [`correct`].
pub fn check(
    document: &KdlDocument,
    top: &'static [NodeRow],
    kinds: &dyn Kinds,
    diagnostics: &mut Diagnostics,
) -> MeantWords {
    check_file(document, top, "a pipeline file", kinds, diagnostics)
}

/// The same for a file of another sort; `whole` is what such a file is called.
pub fn check_file(
    document: &KdlDocument,
    top: &'static [NodeRow],
    whole: &str,
    kinds: &dyn Kinds,
    diagnostics: &mut Diagnostics,
) -> MeantWords {
    let told = diagnostics.found().len();
    let mut walk = Checker {
        top,
        kinds,
        diagnostics,
        beside: Vec::new(),
        parents: Vec::new(),
        role: None,
        meant: MeantWords::new(),
        joined: Vec::new(),
    };
    // What is missing in a file is missing at its beginning.
    let start = document.span().offset();
    let first = document.nodes().first().map(|node| name_span(node.name()));
    let place = first.filter(|it| start <= it.start).unwrap_or(start..start);
    walk.block(document.nodes(), (&[top], &[]), whole, place);
    let meant = walk.meant;
    name_invisible(diagnostics, told);
    meant
}

/// A word that is not known only because a character in it cannot be seen.
fn name_invisible(diagnostics: &mut Diagnostics, told: usize) {
    for index in told..diagnostics.found().len() {
        let text = diagnostics.source().text.clone();
        let Some(found) = diagnostics.found_at(index) else { return };
        let is_of_word = matches!(
            found.rule,
            Rule::UnknownNode
                | Rule::UnknownKind
                | Rule::UnknownProperty
                | Rule::UnknownWord
                | Rule::BadName
        );
        let Some(label) = found.labels.first().filter(|_| is_of_word) else { continue };
        let span = label.span.clone();
        let word = text.get(span.clone()).unwrap_or_default();
        let Some(hidden) = word.chars().find(|letter| words::is_invisible(*letter)) else {
            continue;
        };
        let clean: String = word.chars().filter(|letter| !words::is_invisible(*letter)).collect();
        found.help = Some(format!(
            "delete the invisible character U+{:04X} in it: `{clean}`",
            u32::from(hidden)
        ));
        found.fix.clear();
        found.fix(span, clean);
    }
}

/// What a block is with a slip or a colon in its name: `suorce http gate { … }` and
/// `sink: file log { … }` are read as what they should be, so that one finding hides no others.
fn misspelled(node: &KdlNode, meant: &str, groups: &Groups) -> Option<&'static NodeRow> {
    node.children()?;
    let bare = node.name().value().trim_end_matches(':');
    let is_slip = bare == meant || nearest(bare, names(groups)) == Some(meant);
    find(groups, meant).filter(|row| is_slip && is_alike(node, row))
}

/// Whether a node is written like one of this row. Where it is not, the name was only a guess, and
/// what stands behind it is not judged: `headers { A "x" }` is no `header` without its name.
fn is_alike(node: &KdlNode, row: &NodeRow) -> bool {
    let has_block = node.children().is_some_and(|block| !block.nodes().is_empty());
    let takes_block = !row.children.is_empty() || NodeRole::of(row.name).is_some();
    let needs_argument =
        row.args.first().is_some_and(|arg| matches!(arg.arity, Arity::One | Arity::Some));
    let has_argument = node.entries().iter().any(|entry| entry.name().is_none());
    (takes_block || !has_block)
        && (has_argument || !needs_argument)
        && !node.name().value().contains('.')
}

/// What a word of a file should be, by where it begins.
pub type MeantWords = BTreeMap<usize, String>;

/// Gives misspelled nodes and kinds the names that they should have, as far as [`check`] knows, and
/// takes text out of single quotes.
pub fn correct(document: &mut KdlDocument, meant: &MeantWords) {
    for node in document.nodes_mut() {
        if let Some(name) = meant.get(&name_span(node.name()).start) {
            node.name_mut().set_value(name.as_str());
        }
        for entry in node.entries_mut().iter_mut().filter(|it| it.value().is_string()) {
            let word = meant.get(&value_span(entry).start).cloned().or_else(|| unquoted(entry));
            if let Some(word) = word {
                entry.set_value(word);
            }
        }
        if let Some(block) = node.children_mut() {
            correct(block, meant);
        }
    }
}

/// The text of `'text'`, of which KDL makes a word with quotes in it.
fn unquoted(entry: &KdlEntry) -> Option<String> {
    let word = entry.value().as_string()?.strip_prefix('\'')?.strip_suffix('\'')?;
    (is_bare(entry) && !word.contains('\'')).then(|| word.to_owned())
}

struct Checker<'a> {
    top: &'static [NodeRow],
    kinds: &'a dyn Kinds,
    diagnostics: &'a mut Diagnostics,
    /// What may stand beside the node that is looked at.
    beside: Vec<&'static [NodeRow]>,
    /// The nodes in whose blocks the node is that is looked at, the outermost first.
    parents: Vec<&'static str>,
    /// The role of the top node that is looked at.
    role: Option<NodeRole>,
    /// What misspelled nodes and kinds should be.
    meant: MeantWords,
    /// Nodes that stand on the line of the one before them, as its arguments.
    joined: Vec<&'static str>,
}

type Groups = [&'static [NodeRow]];
/// What may stand in a block, and the properties of the node that it belongs to.
type AllowedNodes<'a> = (&'a Groups, &'static [Prop]);

fn names(groups: &Groups) -> Vec<&'static str> {
    groups.iter().flat_map(|group| group.iter()).map(|it| it.name).collect()
}

fn find(groups: &Groups, name: &str) -> Option<&'static NodeRow> {
    groups.iter().flat_map(|group| group.iter()).find(|it| it.name == name)
}

impl Checker<'_> {
    /// `whole` says whose block it is; `place` is blamed when something is missing in it.
    fn block(&mut self, nodes: &[KdlNode], known: AllowedNodes<'_>, whole: &str, place: Span) {
        self.block_with(nodes, known, whole, place, Vec::new());
    }

    /// The same, where some of its nodes were told of already: `slips` are what they should be.
    fn block_with(
        &mut self,
        nodes: &[KdlNode],
        known: AllowedNodes<'_>,
        whole: &str,
        place: Span,
        mut slips: Vec<&'static str>,
    ) {
        let groups = known.0;
        let mut firsts: BTreeMap<&str, &KdlNode> = BTreeMap::new();
        // Nobody knows what these should be.
        let mut strangers: Vec<&KdlNode> = Vec::new();
        for node in nodes {
            let name = node.name().value();
            let Some(row) = find(groups, name) else {
                let meant = self.unknown_node(node, known, whole);
                slips.extend(meant);
                strangers.extend(meant.is_none().then_some(node));
                if let Some(row) = meant.and_then(|it| misspelled(node, it, groups)) {
                    self.meant.insert(name_span(node.name()).start, row.name.to_owned());
                    self.beside = groups.to_vec();
                    self.node(node, row);
                    slips.append(&mut self.joined);
                }
                continue;
            };
            let first = *firsts.entry(name).or_insert(node);
            if !row.repeated && !std::ptr::eq(first, node) {
                self.diagnostics
                    .push(Rule::RepeatedNode, format!("`{name}` appears twice in {whole}"))
                    .at(name_span(node.name()), "again")
                    .at(name_span(first.name()), "first, here")
                    .help("keep one of them");
            }
            self.beside = groups.to_vec();
            self.node(node, row);
            slips.append(&mut self.joined);
        }
        // Where only one thing is taken, whatever else is there was meant for it.
        let takes_one = groups.iter().map(|group| group.len()).sum::<usize>() == 1;
        if takes_one && firsts.is_empty() && !nodes.is_empty() {
            return;
        }
        for row in groups.iter().flat_map(|group| group.iter()).filter(|it| it.required) {
            // One that is misspelled, or written as a property, was told.
            let may_be = |node: &&KdlNode| !self.parents.is_empty() && is_alike(node, row);
            let is_told = slips.contains(&row.name) || strangers.iter().any(may_be);
            if !firsts.contains_key(row.name) && !is_told {
                self.diagnostics
                    .push(Rule::MissingNode, format!("{whole} needs `{}`", row.name))
                    .at(place.clone(), format!("`{}` is missing", row.name))
                    .help(missing_help(row));
            }
        }
    }

    fn node(&mut self, node: &KdlNode, row: &'static NodeRow) {
        let is_top = std::ptr::eq(row, self.top_row(row.name));
        let role = NodeRole::of(row.name).filter(|_| is_top);
        if is_top {
            self.role = role;
        }
        let mut groups: Vec<&'static [NodeRow]> = row.children.to_vec();
        let mut whole = format!("`{}`", row.name);
        if let (Some(parent), Some(_)) = (self.parents.last(), NodeRole::of(row.name)) {
            whole = format!("`{}` of `{parent}`", row.name);
        }
        if let Some(role) = role
            && let Some(kind) = self.kind(node, role)
        {
            groups.extend_from_slice(kind.nodes);
            whole = format!("`{} {}`", row.name, kind.word);
        }
        let is_told = self.block_of_properties(node, row, &groups, &whole);
        self.entries(node, row, &groups, &whole);
        if is_told {
            return;
        }
        let joined = std::mem::take(&mut self.joined);
        let as_properties = self.written_as_properties(node, row, &groups);
        let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
        let is_known_kind = role.is_none() || whole.contains(' ');
        if groups.is_empty() && self.properties_in_block(node, row) {
            // Said.
        } else if groups.is_empty() && !children.is_empty() {
            self.diagnostics
                .push(Rule::UnknownNode, format!("{whole} does not take a block"))
                .at(name_span(children[0].name()), "no block is allowed here")
                .help(format!("write `{}`", short_usage(row)));
        } else if is_known_kind {
            self.parents.push(row.name);
            self.block_with(
                children,
                (&groups, row.props),
                &whole,
                name_span(node.name()),
                as_properties,
            );
            self.parents.pop();
        }
        self.joined = joined;
    }

    fn top_row(&self, name: &str) -> *const NodeRow {
        self.top.iter().find(|it| it.name == name).map_or(std::ptr::null(), std::ptr::from_ref)
    }

    /// The kind that a node of this role names.
    fn kind(&mut self, node: &KdlNode, role: NodeRole) -> Option<KindRow> {
        let entry = node.entries().iter().find(|entry| entry.name().is_none())?;
        let word = entry.value().as_string()?;
        let kinds = self.kinds.kinds(role);
        if let Some(kind) = kinds.iter().find(|kind| kind.word == word) {
            return Some(*kind);
        }
        // What is in its block is checked as that of the kind that was surely meant.
        let meant = self.unknown_kind(node, entry, role, &kinds);
        let meant = meant.filter(|_| node.children().is_some());
        kinds.iter().find(|kind| Some(kind.word) == meant.as_deref()).copied()
    }

    fn entries(&mut self, node: &KdlNode, row: &'static NodeRow, groups: &Groups, whole: &str) {
        let arguments: Vec<&KdlEntry> =
            node.entries().iter().filter(|entry| entry.name().is_none()).collect();
        if self.two_on_one_line(node, row, &arguments)
            || foreign_syntax::open_expression(self.diagnostics, row, node)
        {
            return;
        }
        let told = self.diagnostics.found().len();
        if !foreign_syntax::arguments(self.diagnostics, row, node, &arguments)
            && !self.as_required_property(node, row, &arguments)
            && !self.argument_as_property(node, row, &arguments, whole)
            && !self.name_as_property(node, row, &arguments)
        {
            self.arguments(node, row, &arguments, whole);
        }
        let is_told = told < self.diagnostics.found().len();
        let mut seen: Vec<(&str, &KdlEntry)> = Vec::new();
        for entry in node.entries() {
            let Some(name) = entry.name() else { continue };
            if let Some(earlier) = seen.iter_mut().find(|it| it.0 == name.value()) {
                let lost = repair::removed(&self.diagnostics.source().text, earlier.1);
                self.diagnostics
                    .push(Rule::DuplicateProperty, format!("`{}` appears twice", name.value()))
                    .at(name_span(name), "this one wins")
                    .at(entry_span(earlier.1), "has no effect")
                    .help("delete one of them")
                    .fix(lost.span, lost.text);
                earlier.1 = entry;
            } else {
                seen.push((name.value(), entry));
            }
            if foreign_syntax::quotes_of_property(self.diagnostics, entry) {
                continue;
            }
            // A name that was told of, as in `header Accept="…"`, is no property.
            if !is_told || row.props.iter().any(|prop| prop.name == name.value()) {
                self.property(node, entry, name, row, groups, whole);
            }
        }
        let is_given = |name: &str| seen.iter().any(|it| it.0 == name);
        let has_slip = |name: &str| {
            let known: Vec<&str> = row.props.iter().map(|prop| prop.name).collect();
            let unknown = seen.iter().filter(|it| !known.contains(&it.0));
            let block = node.children().map(KdlDocument::nodes).unwrap_or_default();
            unknown.clone().any(|it| unknown::is_meant(it.0, name, &known))
                || block.iter().any(|it| it.name().value() == name)
        };
        let missing = row.props.iter().filter(|prop| prop.required && !is_given(prop.name));
        for prop in missing.filter(|missing| !is_told && !has_slip(missing.name)) {
            self.diagnostics
                .push(Rule::MissingArgument, format!("{whole} needs `{}=`", prop.name))
                .at(name_span(node.name()), format!("`{}=…` is missing", prop.name))
                .help(format!("write `{}`", short_usage(row)));
        }
    }

    fn arguments(
        &mut self,
        node: &KdlNode,
        row: &'static NodeRow,
        given: &[&KdlEntry],
        whole: &str,
    ) {
        let has_kind = !self.is_of_unknown_kind(node, row);
        for (index, entry) in given.iter().enumerate() {
            let arg = match row.args.get(index) {
                Some(arg) => arg,
                None => match row.args.last() {
                    Some(arg) if matches!(arg.arity, Arity::Some | Arity::Any) => arg,
                    _ => {
                        self.diagnostics
                            .push(
                                Rule::WrongArgument,
                                format!("{whole} does not take this argument"),
                            )
                            .at(value_span(entry), "one too many")
                            .help(match (block_of(row), row.open) {
                                (Some(block), _) => {
                                    format!("it takes a block, such as `{block}`")
                                }
                                (None, Some(_)) => format!("write `{}`", named(row, entry)),
                                (None, None) => format!("write `{}`", short_usage(row)),
                            });
                        return;
                    }
                },
            };
            // What is no kind was told of.
            if 0 < index || has_kind {
                let ty = (arg.ty, arg.name);
                scalars::check(self.diagnostics, node, entry, ty, whole, row.examples);
            }
        }
        let mut needed =
            row.args.iter().filter(|arg| matches!(arg.arity, Arity::One | Arity::Some));
        // Told of where the property is.
        let mut named = node.entries().iter();
        let is_named = named.any(|entry| unknown::named_argument(row, node, entry).is_some());
        // A block in the place of an argument is one mistake.
        let is_block = row.children.is_empty() && !has_properties_only(node, row);
        let is_told = is_named || is_block && NodeRole::of(row.name).is_none();
        if let Some(missing) = needed.nth(given.len()).filter(|_| has_kind && !is_told) {
            self.diagnostics
                .push(Rule::MissingArgument, format!("{whole} needs its {}", missing.name))
                .at(
                    name_span(node.name()),
                    format!("the {} missing after this", is_or_are(missing)),
                )
                .help(format!("write `{}`", short_usage(row)));
        }
    }

    fn property(
        &mut self,
        node: &KdlNode,
        entry: &KdlEntry,
        name: &KdlIdentifier,
        row: &'static NodeRow,
        groups: &Groups,
        whole: &str,
    ) {
        let word = name.value();
        if let Some(prop) = row.props.iter().find(|prop| prop.name == word) {
            scalars::check(self.diagnostics, node, entry, (prop.ty, word), whole, row.examples);
            return;
        }
        if let Some(ty) = row.open {
            scalars::check(self.diagnostics, node, entry, (ty, word), whole, row.examples);
            return;
        }
        let is_annotated = node.entries().iter().any(|entry| entry.ty().is_some());
        if matches!(word, "default" | "optional") && is_annotated {
            return;
        }
        let misplaced = Misplaced { node, entry, name, row, groups, whole };
        match find(groups, word) {
            Some(child) => self.child_as_property(&misplaced, child),
            None => self.unknown_property(&misplaced),
        }
    }
}

/// Whether a block is missing or empty, or holds nothing but properties of its node.
fn has_properties_only(node: &KdlNode, row: &NodeRow) -> bool {
    let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
    let is_property = |child: &KdlNode| row.props.iter().any(|it| it.name == child.name().value());
    children.iter().all(is_property)
}

/// The name of an argument with its verb: `hours` is the name of several.
fn is_or_are(arg: &Arg) -> String {
    let is_many = arg.name.ends_with('s') && !arg.name.ends_with("ss");
    format!("{} {}", arg.name, if is_many { "are" } else { "is" })
}

/// What to add where a node is missing.
fn missing_help(row: &NodeRow) -> String {
    match row.name {
        "pipeline" => "begin the file with `pipeline NAME schema-version=1`".to_owned(),
        "expect" => "add `expect sink=NAME count=1`, or another expected result".to_owned(),
        _ => {
            let written = with_duration(row).map_or_else(|| short_usage(row), str::to_owned);
            format!("add `{written}` — {}", row.note)
        }
    }
}

/// The shortest example of a node that takes a duration: one made up would be taken as advice.
fn with_duration(row: &NodeRow) -> Option<&'static str> {
    let has_duration = row.args.iter().any(|arg| matches!(arg.ty, ValueKind::Duration(..)));
    row.examples.iter().copied().filter(|_| has_duration).min_by_key(|example| example.len())
}

/// Most properties that may be left out and are shown all the same.
const USAGE_MAX: usize = 4;

/// How a node is written: `retry [ATTEMPTS] [on=…]`.
pub fn usage(row: &NodeRow) -> String {
    written(row, usize::MAX)
}

/// The same in a report, where a long list of what may be left out says nothing.
fn short_usage(row: &NodeRow) -> String {
    written(row, USAGE_MAX)
}

/// A value with a name of its own, where the file chooses the names: that of the field which it
/// reads, else that of the example.
fn named(row: &NodeRow, entry: &KdlEntry) -> String {
    let shown = entry.to_string().trim().to_owned();
    let text = entry.value().as_string().unwrap_or_default();
    let last = text.rsplit_once('.').map(|it| it.1).filter(|_| value::field_path(text).is_some());
    let example = row.examples.first().and_then(|example| example.split(['=', ' ']).nth(1));
    let name = last.filter(|name| name.starts_with(|it: char| it.is_ascii_alphabetic()));
    format!("{} {}={shown}", row.name, name.or(example).unwrap_or("name"))
}

/// How a node is written that says everything in its block.
fn block_of(row: &NodeRow) -> Option<&'static str> {
    let has_block_only = row.args.is_empty() && !row.children.is_empty();
    row.examples.iter().copied().find(|example| has_block_only && example.contains('{'))
}

/// With the properties that may be left out only where they are no more than `most`.
fn written(row: &NodeRow, most: usize) -> String {
    if let (Some(example), Some(_)) = (row.examples.first(), row.open.filter(|_| most < usize::MAX))
    {
        return (*example).to_owned();
    }
    let mut text = row.name.to_owned();
    for arg in row.args {
        let shown = scalars::example(arg.ty, arg.name);
        text.push_str(&match arg.arity {
            Arity::One => format!(" {shown}"),
            Arity::Optional => format!(" [{shown}]"),
            Arity::Some => format!(" {shown}…"),
            Arity::Any => format!(" [{shown}…]"),
        });
    }
    let optional = row.props.iter().filter(|prop| !prop.required).count();
    for prop in row.props.iter().filter(|prop| prop.required || optional <= most) {
        let shown = format!("{}={}", prop.name, scalars::example(prop.ty, prop.name));
        text.push_str(&if prop.required { format!(" {shown}") } else { format!(" [{shown}]") });
    }
    if most < optional {
        text.push_str(" [PROPERTY=VALUE…]");
    }
    text
}

#[cfg(test)]
mod tests;
