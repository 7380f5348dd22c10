//! What `--fix` writes where an entry of a node stands in the wrong place.

use super::super::offsets::{entry_span, value_span};
use crate::diagnostic::Edit;
use crate::spanned::Span;
use kdl::{KdlDocument, KdlEntry, KdlNode};

/// Takes an entry out, with the blanks before it.
pub(super) fn removed(text: &str, entry: &KdlEntry) -> Edit {
    Edit { span: with_blanks(text, entry_span(entry)), text: String::new() }
}

fn with_blanks(text: &str, span: Span) -> Span {
    let before = text.get(..span.start).unwrap_or_default();
    before.trim_end_matches([' ', '\t']).len()..span.end
}

/// Puts an entry of a node into the node's block as `child`; nothing where the place of the block
/// cannot be told.
pub(super) fn into_block(text: &str, node: &KdlNode, entry: &KdlEntry, child: &str) -> Vec<Edit> {
    let removed = removed(text, entry);
    let Some(children) = node.children() else {
        let end =
            node.entries().iter().map(|entry| entry_span(entry).end).max().unwrap_or_default();
        if end == removed.span.end {
            return vec![Edit { span: removed.span, text: format!(" {{ {child} }}") }];
        }
        let block = Edit { span: end..end, text: format!(" {{ {child} }}") };
        return vec![removed, block];
    };
    let Some(open) = opening(text, children) else { return Vec::new() };
    let behind = &text[open..];
    let line = behind.split_inclusive('\n').next().unwrap_or_default();
    let put = if line.trim().is_empty() && line.ends_with('\n') {
        let next = &behind[line.len()..];
        let indent = &next[..next.len() - next.trim_start_matches([' ', '\t']).len()];
        let is_empty = next.trim_start().starts_with('}');
        format!("\n{indent}{}{child}", if is_empty { "    " } else { "" })
    } else {
        format!(" {child};")
    };
    vec![removed, Edit { span: open..open, text: put }]
}

/// The byte behind the block's `{`.
fn opening(text: &str, children: &KdlDocument) -> Option<usize> {
    let at = children.span().offset();
    let is_behind = |at: usize| text.get(..at).is_some_and(|it| it.ends_with('{'));
    [at, at + 1].into_iter().find(|it| is_behind(*it))
}

/// A property written as an argument, or the other way round: from the name to the value's end.
pub(super) fn as_value(entry: &KdlEntry, text: &str) -> Edit {
    let value = text.get(value_span(entry)).unwrap_or_default();
    Edit { span: entry_span(entry), text: value.to_owned() }
}
