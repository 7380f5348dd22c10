//! `--set PATH=VALUE`: a scalar of the file, replaced before it is checked.

use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};
use language::diagnostic::{Diagnostics, Rule};

/// Replaces the first argument of each node that a path names: `server.listen`,
/// `sink.events-db.path`, `param.min-score`. A node on the way that does not stand is made.
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
        if role == "param" && rest.len() == 1 {
            node.entries_mut().truncate(1);
            node.entries_mut().push(KdlEntry::new(read(value)));
            return true;
        }
        return rest.len() > 1 && set_child(node, &rest[1..], value);
    }
    if document.get(role).is_none() {
        if matches!(role, "source" | "enrich" | "sink" | "notify" | "param") {
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
    node.entries_mut().retain(|it| it.name().is_some());
    node.entries_mut().insert(0, KdlEntry::new(read(value)));
}

fn read(value: &str) -> KdlValue {
    if let Ok(number) = value.parse() {
        return KdlValue::Integer(number);
    }
    match value {
        "#true" | "true" => KdlValue::Bool(true),
        "#false" | "false" => KdlValue::Bool(false),
        text => match text.parse::<f64>() {
            Ok(number) if text.starts_with(|it: char| it.is_ascii_digit() || it == '-') => {
                KdlValue::Float(number)
            }
            _ => KdlValue::String(text.to_owned()),
        },
    }
}
