//! `--set PATH=VALUE`: a scalar of the file, replaced before it is checked.

use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use stages::diagnostic::{Diagnostics, Rule};

/// Replaces the first argument of each node that a path names: `server.listen`,
/// `sink.events-db.path`. A node on the way that does not stand is made.
pub fn apply(
    document: &mut KdlDocument,
    overrides: &[(String, String)],
    diagnostics: &mut Diagnostics,
) {
    for (path, value) in overrides {
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() < 2 || !set(document, &parts, value) {
            diagnostics
                .push(Rule::UnknownNode, format!("`--set {path}` names nothing in this file"))
                .at(0..0, "not found in this file")
                .help("write `--set server.listen=127.0.0.1:0` or `--set sink.NAME.path=x.db`");
        }
    }
}

fn set(document: &mut KdlDocument, parts: &[&str], value: &str) -> bool {
    let (role, rest) = (parts[0], &parts[1..]);
    let named = document.nodes_mut().iter_mut().find(|it| {
        it.name().value() == role
            && it.entries().iter().any(|it| it.value().as_string() == Some(rest[0]))
    });
    if let Some(node) = named {
        return rest.len() > 1 && set_child(node, &rest[1..], value);
    }
    if document.get(role).is_none() {
        if matches!(role, "source" | "enrich" | "sink" | "notify") {
            return false;
        }
        document.nodes_mut().push(KdlNode::new(role));
    }
    document.get_mut(role).is_some_and(|node| set_child(node, rest, value))
}

fn set_child(node: &mut KdlNode, parts: &[&str], value: &str) -> bool {
    let Some((name, rest)) = parts.split_first() else {
        replace_first(node, value);
        return true;
    };
    let children = node.ensure_children();
    if children.get(name).is_none() {
        children.nodes_mut().push(KdlNode::new(*name));
    }
    children.get_mut(name).is_some_and(|child| set_child(child, rest, value))
}

fn replace_first(node: &mut KdlNode, value: &str) {
    let read = if value.bytes().all(|it| it.is_ascii_digit()) && !value.is_empty() {
        value.parse().map_or_else(|_| KdlValue::String(value.to_owned()), KdlValue::Integer)
    } else {
        match value {
            "#true" | "true" => KdlValue::Bool(true),
            "#false" | "false" => KdlValue::Bool(false),
            text => KdlValue::String(text.to_owned()),
        }
    };
    node.entries_mut().retain(|it| it.name().is_some());
    node.entries_mut().insert(0, KdlEntry::new(read));
}
