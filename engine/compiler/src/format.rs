//! A KDL text in one layout: blanks, indentation and line ends change, nothing else does.
//!
//! Leaves telling words apart to [`document`]'s tokens. Values are copied, never printed anew, so
//! comments, raw strings, spellings of numbers and what `/-` switches off stay as they are.
//!
//! **Invariant:** the text that comes out has the tokens of the one that went in, parses to the
//! same document, and comes out unchanged when it is formatted again.

mod layout;
mod lines;

use crate::document::{self, lex};
use kdl::{KdlDocument, KdlEntry, KdlIdentifier, KdlNode, KdlValue};
use language::diagnostic::{Diagnostic, Diagnostics, SourceText};
use lex::{Kind, Lexer};
use std::sync::Arc;

/// Why a text is left as it is.
#[derive(Debug)]
pub enum Unformatted {
    /// It is no KDL; everything that is wrong, by position.
    Findings(Vec<Diagnostic>),
    /// The layout would say something else than the text: a fault of ours.
    Altered,
}

/// The text in our layout; it ends with one line end unless it is empty.
pub fn format(source: &Arc<SourceText>) -> Result<String, Unformatted> {
    let before = parse(source)?;
    let text = layout::lay_out(&source.text);
    if text == source.text {
        return Ok(text);
    }
    let laid_out = Arc::new(SourceText { name: source.name.clone(), text });
    let after = parse(&laid_out).map_err(|_| Unformatted::Altered)?;
    let is_same = same_tokens(&source.text, &laid_out.text) && same_document(&before, &after);
    if is_same { Ok(laid_out.text.clone()) } else { Err(Unformatted::Altered) }
}

fn parse(source: &Arc<SourceText>) -> Result<KdlDocument, Unformatted> {
    let mut diagnostics = Diagnostics::new(source.clone());
    match document::parse(source, &mut diagnostics) {
        Some(document) if !diagnostics.has_errors() => Ok(document),
        _ => Err(Unformatted::Findings(diagnostics.sorted())),
    }
}

/// Blanks inside of a token are left out: lines of strings and comments move with their block.
/// What that does to a string's value is compared between the documents.
fn same_tokens(before: &str, after: &str) -> bool {
    let tokens = |text| Lexer::new(text).filter(|it| it.kind != Kind::Newline);
    let words =
        |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
    let (mut old, mut new) = (tokens(before), tokens(after));
    loop {
        match (old.next(), new.next()) {
            (None, None) => return true,
            (Some(one), Some(two)) if one.kind == two.kind => {
                if words(&before[one.span]) != words(&after[two.span]) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

fn same_document(before: &KdlDocument, after: &KdlDocument) -> bool {
    let (before, after) = (before.nodes(), after.nodes());
    before.len() == after.len() && before.iter().zip(after).all(|(one, two)| same_node(one, two))
}

fn same_node(before: &KdlNode, after: &KdlNode) -> bool {
    let same_children = match (before.children(), after.children()) {
        (None, None) => true,
        (Some(before), Some(after)) => same_document(before, after),
        _ => false,
    };
    let (old, new) = (before.entries(), after.entries());
    before.name().value() == after.name().value()
        && same_type(before.ty(), after.ty())
        && old.len() == new.len()
        && old.iter().zip(new).all(|(one, two)| same_entry(one, two))
        && same_children
}

fn same_entry(before: &KdlEntry, after: &KdlEntry) -> bool {
    let same_value = match (before.value(), after.value()) {
        // `#nan` is not equal to itself, and `0.0` is equal to `-0.0`.
        (KdlValue::Float(before), KdlValue::Float(after)) => before.to_bits() == after.to_bits(),
        (before, after) => before == after,
    };
    same_type(before.name(), after.name()) && same_type(before.ty(), after.ty()) && same_value
}

fn same_type(before: Option<&KdlIdentifier>, after: Option<&KdlIdentifier>) -> bool {
    before.map(KdlIdentifier::value) == after.map(KdlIdentifier::value)
}

#[cfg(test)]
#[path = "format/tests.rs"]
mod tests;
