//! What stands in the wrong form in its place: properties in a block, names as properties, two
//! nodes on one line.

use super::super::offsets::{entry_span, is_bare, name_span, value_span};
use super::super::table::{Arity, NodeRow, ValueKind};
use super::super::value::{bytes_of, duration_of};
use super::{Checker, Groups, NodeRole, find, repair, scalars, unknown};
use crate::diagnostic::{Rule, may_be_secret_name};
use kdl::{KdlEntry, KdlIdentifier, KdlNode, KdlValue};

impl Checker<'_> {
    /// `table "x" { key identity }`: a block of nothing but properties. Answers whether it was.
    pub(super) fn block_of_properties(
        &mut self,
        node: &KdlNode,
        row: &'static NodeRow,
        groups: &Groups,
        whole: &str,
    ) -> bool {
        let Some(block) = node.children() else { return false };
        let is_property = |it: &KdlNode| {
            let name = it.name().value();
            (row.open.is_some() || row.props.iter().any(|prop| prop.name == name))
                && find(groups, name).is_none()
                && node.entry(name).is_none()
                && matches!(it.entries(), [only] if only.name().is_none())
                && it.children().is_none()
        };
        let nodes = block.nodes();
        let Some(first) = nodes.first().filter(|_| nodes.iter().all(is_property)) else {
            return false;
        };
        let text = &self.diagnostics.source().text;
        let value = |node: &KdlNode| text.get(value_span(&node.entries()[0])).unwrap_or_default();
        let shown: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.name().value(), value(node))).collect();
        let shown = shown.join(" ");
        let end = node.entries().iter().map(|entry| entry_span(entry).end).max();
        let end = end.unwrap_or(name_span(node.name()).end);
        let last = nodes.last().map_or(end, |node| entry_span(&node.entries()[0]).end);
        // A comment in the block would be lost.
        let close = text.get(last..).and_then(|it| it.find('}')).map(|it| last + it + 1);
        let gone = close.and_then(|close| text.get(end..close));
        let is_sure = gone.is_some_and(|gone| !gone.contains("//") && !gone.contains("/*"));
        let found = self
            .diagnostics
            .push(
                Rule::ChildAsProperty,
                format!("`{}` is a property, not a child", first.name().value()),
            )
            .at(name_span(first.name()), "move it out of the block")
            .help(match row.open {
                Some(_) => format!("write `{} {shown}`", row.name),
                None => format!("write `{shown}` after {whole}"),
            });
        if let Some(close) = close.filter(|_| is_sure) {
            found.fix(end..close, format!(" {shown}"));
        }
        // What it says is looked at as if it stood where it should.
        for it in nodes {
            let name = it.name().value();
            let prop = row.props.iter().find(|prop| prop.name == name);
            if let Some(ty) = prop.map(|prop| prop.ty).or(row.open) {
                let entry = &it.entries()[0];
                scalars::check(self.diagnostics, node, entry, (ty, name), whole, row.examples);
            }
        }
        true
    }

    /// The children that are written as properties of their node.
    pub(super) fn written_as_properties(
        &self,
        node: &KdlNode,
        row: &NodeRow,
        groups: &Groups,
    ) -> Vec<&'static str> {
        let names = super::names(groups);
        let given = node.entries().iter().filter_map(|entry| entry.name());
        let given = given.filter(|it| !row.props.iter().any(|prop| prop.name == it.value()));
        given.filter_map(|it| unknown::meant_name(row.name, it.value(), &names)).collect()
    }

    /// `keep "EXPR"` for `keep when="EXPR"`.
    pub(super) fn as_required_property(
        &mut self,
        node: &KdlNode,
        row: &NodeRow,
        given: &[&KdlEntry],
    ) -> bool {
        let [only] = given else { return false };
        let mut required = row.props.iter().filter(|prop| prop.required);
        let single = required.next().filter(|_| required.next().is_none());
        let mut open = row.props.iter().filter(|prop| node.entry(prop.name).is_none());
        let Some(prop) = single.or_else(|| open.find(|prop| is_of_type(only, prop.ty))) else {
            return false;
        };
        let is_given = node.entry(prop.name).is_some();
        if !row.args.is_empty() || is_given || only.value().as_string().is_none() {
            return false;
        }
        let (span, name) = (value_span(only), row.name);
        let has_secret = row.props.iter().any(|prop| matches!(prop.ty, ValueKind::Secret));
        let is_known = |entry: &&KdlEntry| {
            let name = entry.name().map(KdlIdentifier::value);
            !has_secret && row.props.iter().any(|prop| Some(prop.name) == name)
        };
        let others = node.entries().iter().filter(is_known);
        let rest: String = others.map(|other| format!(" {}", other.to_string().trim())).collect();
        let value = self.diagnostics.source().text.get(span.clone()).unwrap_or_default().to_owned();
        self.diagnostics
            .push(Rule::WrongArgument, format!("`{name}` takes it as `{}=`", prop.name))
            .at(span.clone(), format!("`{}=` is missing before this", prop.name))
            .help(format!("write `{name} {}={value}{rest}`", prop.name))
            .fix(span.start..span.start, format!("{}=", prop.name));
        scalars::check(self.diagnostics, node, only, (prop.ty, prop.name), name, row.examples);
        true
    }

    /// `repeat every="5m"` for `repeat "5m"`.
    pub(super) fn argument_as_property(
        &mut self,
        node: &KdlNode,
        row: &NodeRow,
        given: &[&KdlEntry],
        whole: &str,
    ) -> bool {
        let Some(arg) = row.args.get(given.len()).filter(|_| row.open.is_none()) else {
            return false;
        };
        let is_it = |entry: &&KdlEntry| {
            entry.name().is_some_and(|name| {
                let is_own = row.props.iter().any(|prop| prop.name == name.value());
                name.value() == arg.name && !is_own
            })
        };
        let Some((entry, name)) =
            node.entries().iter().find(is_it).and_then(|entry| Some((entry, entry.name()?)))
        else {
            return false;
        };
        let value = repair::as_value(entry, &self.diagnostics.source().text);
        let takes_secret = matches!(arg.ty, ValueKind::Secret | ValueKind::Topic);
        let is_secret = takes_secret && entry.ty().is_none();
        if is_secret {
            self.diagnostics.hide(value_span(entry));
        }
        let shown = if is_secret { "(env)\"NAME\"" } else { &*value.text };
        let help = format!("write `{} {shown}`", row.name);
        let found = self
            .diagnostics
            .push(
                Rule::UnknownProperty,
                format!("{whole} takes `{}` as its argument, not as a property", arg.name),
            )
            .at(name_span(name), format!("no `{}=` before the value", arg.name))
            .help(help);
        found.fix.extend((!is_secret).then_some(value));
        scalars::check(self.diagnostics, node, entry, (arg.ty, arg.name), whole, row.examples);
        true
    }

    /// `header Accept="application/json"` for `header Accept "application/json"`.
    pub(super) fn name_as_property(
        &mut self,
        node: &KdlNode,
        row: &NodeRow,
        given: &[&KdlEntry],
    ) -> bool {
        let two = matches!(row.args, [first, second]
            if first.arity == Arity::One && second.arity != Arity::Any && takes_word(first.ty));
        let mut own = node.entries().iter().filter(|entry| {
            entry.name().is_some_and(|name| !row.props.iter().any(|prop| prop.name == name.value()))
        });
        let (Some(entry), None) = (own.next(), own.next()) else { return false };
        let Some(name) = entry.name().filter(|_| two && given.is_empty() && row.open.is_none())
        else {
            return false;
        };
        let word = name.value().to_owned();
        let is_secret = may_be_secret_name(&word);
        if is_secret {
            self.diagnostics.hide(value_span(entry));
        }
        let (start, place) = (name_span(name), value_span(entry));
        let written = self.diagnostics.source().text.get(place.clone()).unwrap_or_default();
        // A number where text is wanted, as in `set x=1`, would be the next mistake.
        let is_number = matches!(entry.value(), KdlValue::Integer(_) | KdlValue::Float(_));
        let needs_quotes = is_number
            && entry.ty().is_none()
            && !matches!(
                row.args[1].ty,
                ValueKind::Any | ValueKind::Int(..) | ValueKind::Number(..)
            );
        let written = if needs_quotes { format!("\"{written}\"") } else { written.to_owned() };
        let value = if is_secret { "…" } else { &*written };
        let found = self
            .diagnostics
            .push(Rule::UnknownProperty, format!("`{word}` is a name, not a property"))
            .at(start.clone(), "no `=` after it")
            .help(format!("write `{} {word} {value}`", row.name));
        match needs_quotes {
            true => found.fix(start.end..place.end, format!(" {written}")),
            false => found.fix(start.end..place.start, " "),
        };
        true
    }

    /// `path "/live" heartbeat "15s"`: an argument too many that is another node's name.
    pub(super) fn two_on_one_line(
        &mut self,
        node: &KdlNode,
        row: &'static NodeRow,
        given: &[&KdlEntry],
    ) -> bool {
        let takes_more =
            row.args.last().is_some_and(|arg| matches!(arg.arity, Arity::Some | Arity::Any));
        // `retry on: timeout` is a property of YAML.
        let has_colon =
            given.iter().any(|it| it.value().as_string().is_some_and(|text| text.ends_with(':')));
        if takes_more || has_colon {
            return false;
        }
        let mut further = given.iter().enumerate().skip(row.args.len().max(1));
        let Some((entry, another)) = further.find_map(|(_, entry)| {
            let word = entry.value().as_string().filter(|_| is_bare(entry) && entry.ty().is_none());
            Some((*entry, find(&self.beside, word?)?))
        }) else {
            return false;
        };
        let at = value_span(entry);
        let shown = |entry: &KdlEntry| format!(" {}", entry.to_string().trim());
        let (before, rest): (Vec<&KdlEntry>, Vec<&KdlEntry>) =
            node.entries().iter().partition(|entry| entry_span(entry).end <= at.start);
        let before: String = before.into_iter().map(shown).collect();
        let rest: String = rest.into_iter().skip(1).map(shown).collect();
        let text = self.diagnostics.source().text.get(..at.start).unwrap_or_default();
        let blank = text.trim_end_matches([' ', '\t']).len()..at.start;
        self.diagnostics
            .push(Rule::WrongArgument, "two nodes on one line need a `;` between them")
            .at(at, "another node begins here")
            .help(format!("write `{}{before}; {}{rest}`", row.name, another.name))
            .fix(blank, "; ");
        self.joined.push(another.name);
        true
    }

    /// Whether the kind of a node was told of, so that what is missing behind it is not.
    pub(super) fn is_of_unknown_kind(&self, node: &KdlNode, row: &'static NodeRow) -> bool {
        let role = NodeRole::of(row.name).filter(|_| std::ptr::eq(row, self.top_row(row.name)));
        let first = node.entries().iter().find(|entry| entry.name().is_none());
        let word = first.and_then(|it| it.value().as_string());
        role.zip(word).is_some_and(|(role, word)| {
            !self.kinds.kinds(role).iter().any(|kind| kind.word == word)
        })
    }
}

/// Whether a value is surely one of this type: `"1h"` is a duration and no size.
fn is_of_type(entry: &KdlEntry, ty: ValueKind) -> bool {
    let annotation = entry.ty().map(KdlIdentifier::value);
    match ty {
        ValueKind::Duration(..) => duration_of(entry.value(), annotation).is_some(),
        ValueKind::Bytes(..) => bytes_of(entry.value(), annotation).is_some(),
        ValueKind::Word(words) => {
            entry.value().as_string().is_some_and(|word| words.contains(&word))
        }
        _ => false,
    }
}

fn takes_word(ty: ValueKind) -> bool {
    matches!(
        ty,
        ValueKind::Text
            | ValueKind::Literal
            | ValueKind::Ident
            | ValueKind::Field
            | ValueKind::Addition
            | ValueKind::Any
    )
}
