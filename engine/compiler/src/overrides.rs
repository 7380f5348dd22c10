//! `--set PATH=VALUE`: a scalar of the file, replaced before it is checked.

use crate::include::SourceMap;
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use language::diagnostic::{Diagnostic, Diagnostics, Rule, SourceText};
use std::sync::Arc;

/// Replaces the first argument of each node that a path names: `server.listen`,
/// `sink.events-db.path`, `param.min-score`. A node on the way that does not stand is made.
///
/// Each option becomes a text of its own, so that what is wrong with it is shown in it.
pub fn apply(
    document: &mut KdlDocument,
    overrides: &[(String, String)],
    texts: &mut SourceMap,
    found: &mut Vec<Diagnostic>,
) {
    for (path, value) in overrides {
        let text = format!("--set {path}={value}");
        let source = Arc::new(SourceText { name: "the command line".to_owned(), text });
        let start = texts.option(source.clone());
        let mut at = start + "--set ".len();
        let mut parts = Vec::new();
        for name in path.split('.') {
            parts.push(OverridePart { name, at });
            at += name.len() + 1;
        }
        let value = OverrideValue { text: value, at };
        if parts.len() < 2 || !set(document, &parts, &value) {
            let mut diagnostics = Diagnostics::new(source);
            diagnostics
                .push(
                    Rule::UnknownNode,
                    format!("`--set {path}` does not match anything in this file"),
                )
                .at(6..6 + path.len(), "not found in this file")
                .help("write `--set server.listen=127.0.0.1:0` or `--set sink.NAME.path=x.db`");
            found.extend(diagnostics.sorted());
        }
    }
}

/// A step of the path, and where it stands.
struct OverridePart<'o> {
    name: &'o str,
    at: usize,
}

impl OverridePart<'_> {
    fn node(&self) -> KdlNode {
        let mut node = KdlNode::new(self.name);
        let span = miette::SourceSpan::from((self.at, self.name.len()));
        node.set_span(span);
        node.name_mut().set_span(span);
        node
    }
}

/// The new value, and where it stands.
struct OverrideValue<'o> {
    text: &'o str,
    at: usize,
}

impl OverrideValue<'_> {
    fn entry(&self) -> KdlEntry {
        let mut entry = KdlEntry::new(read(self.text));
        entry.set_span((self.at, self.text.len()));
        entry
    }
}

fn set(document: &mut KdlDocument, parts: &[OverridePart<'_>], value: &OverrideValue<'_>) -> bool {
    let (role, rest) = (parts[0].name, &parts[1..]);
    let named = document.nodes_mut().iter_mut().find(|it| {
        it.name().value() == role
            && it.entries().iter().any(|entry| entry.value().as_string() == Some(rest[0].name))
    });
    if let Some(node) = named {
        if role == "param" && rest.len() == 1 {
            node.entries_mut().truncate(1);
            node.entries_mut().push(value.entry());
            return true;
        }
        return rest.len() > 1 && set_child(node, &rest[1..], value);
    }
    if document.get(role).is_none() {
        if matches!(role, "source" | "enrich" | "sink" | "notify" | "param") {
            return false;
        }
        document.nodes_mut().push(parts[0].node());
    }
    document.get_mut(role).is_some_and(|node| set_child(node, rest, value))
}

fn set_child(node: &mut KdlNode, parts: &[OverridePart<'_>], value: &OverrideValue<'_>) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        node.entries_mut().retain(|it| it.name().is_some());
        node.entries_mut().insert(0, value.entry());
        return true;
    };
    let children = node.ensure_children();
    if children.get(part.name).is_none() {
        children.nodes_mut().push(part.node());
    }
    children.get_mut(part.name).is_some_and(|child| set_child(child, rest, value))
}

fn read(value: &str) -> KdlValue {
    if let Ok(number) = value.parse() {
        return KdlValue::Integer(number);
    }
    match value {
        "#true" | "true" => KdlValue::Bool(true),
        "#false" | "false" => KdlValue::Bool(false),
        text => match text.parse::<f64>() {
            Ok(number)
                if text.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-') =>
            {
                KdlValue::Float(number)
            }
            _ => KdlValue::String(text.to_owned()),
        },
    }
}
