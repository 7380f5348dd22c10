//! Secrets that a file gives as literals: where the table expects one, and where a value has the
//! shape of one.

use super::super::offsets::{value_span, value_text_span};
use super::super::table::ValueKind;
use crate::diagnostic::{Diagnostics, Rule, is_secret_name, literal_secrets};
use crate::spanned::Span;
use kdl::{KdlEntry, KdlNode};

/// Warns of a literal secret. A value from `(env)` or `(file)` is none, and neither is a text that
/// takes the secret from a variable or a template.
pub(super) fn check(
    diagnostics: &mut Diagnostics,
    node: &KdlNode,
    entry: &KdlEntry,
    ty: ValueKind,
) {
    let Some(text) = entry.value().as_string() else { return };
    // What tests give is made up.
    let is_made_up = matches!(
        ty,
        ValueKind::Literal | ValueKind::Json | ValueKind::Word(_) | ValueKind::Words(_)
    );
    if entry.ty().is_some() || is_made_up {
        return;
    }
    let is_whole = matches!(ty, ValueKind::Secret) || is_header_of_secret(node, entry);
    if is_whole {
        let is_elsewhere = text.contains("${") || text.contains("{{");
        if !text.is_empty() && !is_elsewhere {
            diagnostics.hide(value_text_span(entry, 0..text.len()));
            report(diagnostics, value_span(entry), &variable(node, entry));
        }
    } else {
        for span in literal_secrets(text) {
            let span = value_text_span(entry, span);
            diagnostics.hide(span.clone());
            report(diagnostics, span, &variable(node, entry));
        }
    }
}

fn report(diagnostics: &mut Diagnostics, span: Span, variable: &str) {
    diagnostics
        .push(Rule::LiteralSecret, "this looks like a secret")
        .at(span, "committed with the file")
        .help(format!("write `(env)\"{variable}\"`"));
}

/// `header Authorization "Bearer …"`, also as one of several arguments.
fn is_header_of_secret(node: &KdlNode, entry: &KdlEntry) -> bool {
    let arguments: Vec<&KdlEntry> =
        node.entries().iter().filter(|entry| entry.name().is_none()).collect();
    let name =
        arguments.first().and_then(|argument| argument.value().as_string()).unwrap_or_default();
    node.name().value() == "header"
        && is_secret_name(name)
        && arguments.get(1).is_some_and(|argument| std::ptr::eq(*argument, entry))
}

/// A name for the variable that the secret can come from.
fn variable(node: &KdlNode, entry: &KdlEntry) -> String {
    let name = entry.name().map_or_else(|| node.name().value(), kdl::KdlIdentifier::value);
    let first = node.entries().first().and_then(|entry| entry.value().as_string());
    let name = match (name, first) {
        ("header" | "param", Some(first)) => first,
        (name, _) => name,
    };
    name.to_uppercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}
