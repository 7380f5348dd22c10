//! `(param)NAME`: a value of the file's own, put in before anything is checked, so that it is
//! checked like a value written at its place.

use kdl::{KdlDocument, KdlEntry, KdlEntryFormat, KdlNode, KdlValue};
use language::diagnostic::{Diagnostics, Rule};
use language::nearest;
use std::collections::BTreeMap;

/// Replaces every `(param)NAME`; one that names no `param` is reported.
pub fn apply(document: &mut KdlDocument, diagnostics: &mut Diagnostics) {
    let params: BTreeMap<String, KdlValue> = document
        .nodes()
        .iter()
        .filter(|node| node.name().value() == "param")
        .filter_map(read)
        .collect();
    let others = document.nodes_mut().iter_mut().filter(|it| it.name().value() != "param");
    others.for_each(|it| replace(it, &params, diagnostics));
}

fn read(node: &KdlNode) -> Option<(String, KdlValue)> {
    let mut values =
        node.entries().iter().filter(|entry| entry.name().is_none() && entry.ty().is_none());
    let name = values.next()?.value().as_string()?;
    Some((name.to_owned(), values.next()?.value().clone()))
}

fn replace(node: &mut KdlNode, params: &BTreeMap<String, KdlValue>, found: &mut Diagnostics) {
    for entry in node.entries_mut() {
        if entry.ty().is_none_or(|ty| ty.value() != "param") {
            continue;
        }
        let Some(name) = entry.value().as_string() else { continue };
        match params.get(name) {
            Some(value) => *entry = with(entry, value.clone()),
            None => unknown(entry, name, params, found),
        }
    }
    let children = node.children_mut().as_mut();
    for child in children.into_iter().flat_map(KdlDocument::nodes_mut) {
        replace(child, params, found);
    }
}

/// Findings about the value of `(param)NAME` are told where the value is written.
pub(crate) fn blame(document: &KdlDocument, diagnostics: &mut Diagnostics) {
    let text = diagnostics.source().text.clone();
    for index in 0..diagnostics.found().len() {
        let Some(found) = diagnostics.found_at(index) else { return };
        let [label] = &found.labels[..] else { continue };
        let used = label.span.clone();
        let name = text.get(used.clone()).and_then(|it| it.strip_prefix('('));
        let name = name.and_then(|it| it.split_once(')'));
        let Some((_, name)) = name.filter(|it| it.0.trim() == "param") else { continue };
        let name = name.trim().trim_matches(['"', '#']);
        let params = document.nodes().iter().filter(|node| node.name().value() == "param");
        let given = params.map(KdlNode::entries).find(|entries| {
            entries.first().is_some_and(|entry| entry.value().as_string() == Some(name))
        });
        let Some(value) = given.and_then(|entries| entries.get(1)) else { continue };
        let (end, written) = (value.span().offset() + value.span().len(), value.to_string());
        let place = end.saturating_sub(written.trim().len())..end;
        found.labels[0].span = place;
        found.at(used, "used here");
    }
}

/// The entry with another value; its text in the file stays what it is.
pub(crate) fn with(entry: &KdlEntry, value: KdlValue) -> KdlEntry {
    let mut new = match entry.name() {
        Some(name) => KdlEntry::new_prop(name.clone(), value),
        None => KdlEntry::new(value),
    };
    new.set_span(entry.span());
    let format = entry.format().cloned().unwrap_or_default();
    let ty = entry.ty().map(ToString::to_string).unwrap_or_default();
    let KdlEntryFormat { before_ty_name, after_ty_name, after_ty, value_repr, .. } = &format;
    let written = format!("({before_ty_name}{ty}{after_ty_name}){after_ty}{value_repr}");
    new.set_format(KdlEntryFormat {
        value_repr: written,
        before_ty_name: String::new(),
        after_ty_name: String::new(),
        after_ty: String::new(),
        ..format
    });
    new
}

fn unknown(
    entry: &KdlEntry,
    name: &str,
    params: &BTreeMap<String, KdlValue>,
    found: &mut Diagnostics,
) {
    let known: Vec<&str> = params.keys().map(String::as_str).collect();
    let help = match nearest(name, known.iter().copied()) {
        Some(it) => format!("did you mean `(param){it}`?"),
        None if known.is_empty() => format!("add `param {name} VALUE` to the file"),
        None => format!("the parameters of this file: {}", known.join(", ")),
    };
    let (end, length) = (entry.span().offset() + entry.span().len(), name.len());
    let written = entry.format().map_or(length, |it| it.value_repr.len());
    found
        .push(Rule::UnknownParam, format!("unknown parameter `{name}`"))
        .at(end.saturating_sub(written)..end, "not found")
        .help(help);
}

#[cfg(test)]
mod tests {
    use super::*;
    use language::diagnostic::SourceText;
    use std::sync::Arc;

    fn applied(text: &str) -> (KdlDocument, Vec<String>) {
        let source = Arc::new(SourceText { name: "a.kdl".to_owned(), text: text.to_owned() });
        let mut found = Diagnostics::new(source);
        let mut document = KdlDocument::parse_v2(text).expect("KDL");
        apply(&mut document, &mut found);
        let told = |diagnostic: &language::diagnostic::Diagnostic| {
            format!(
                "{} {}",
                &text[diagnostic.labels[0].span.clone()],
                diagnostic.help.clone().unwrap_or_default()
            )
        };
        let told = found.found().iter().map(told).collect();
        (document, told)
    }

    #[test]
    fn a_parameter_stands_for_its_value_at_its_place() {
        let text =
            "param wait \"5s\"\nparam tries 3\na { timeout (param)wait; retry on=( param )tries }";
        let (document, told) = applied(text);
        assert_eq!(told, Vec::<String>::new());
        let block = document.nodes()[2].children().expect("a block");
        let timeout = &block.nodes()[0].entries()[0];
        assert_eq!(timeout.value(), &KdlValue::String("5s".to_owned()));
        assert!(timeout.ty().is_none());
        assert_eq!(timeout.format().expect("a format").value_repr, "(param)wait");
        let retry = &block.nodes()[1].entries()[0];
        assert_eq!(
            (retry.value(), retry.to_string().trim()),
            (&KdlValue::Integer(3), "on=( param )tries")
        );
    }

    #[test]
    fn one_that_does_not_stand_is_told_with_the_nearest() {
        let (_, told) = applied("param wait \"5s\"\na (param)wiat");
        assert_eq!(told, ["wiat did you mean `(param)wait`?"]);
        let (_, told) = applied("a k=(param)\"x\"");
        assert_eq!(told, ["\"x\" add `param x VALUE` to the file"]);
    }
}
