//! What people expect to be replaced in a text, and nothing replaces: `{{ … }}` where there is no
//! template, `${data.name}` and `{% … %}` where there is one, `~/` in a path.

use super::ValueCheck;
use crate::diagnostic::Rule;
use crate::expr::{Roots, quoted_length};
use crate::offsets::value_text_span;
use crate::spanned::Span;
use crate::table::ValueKind;
use kdl::{KdlEntry, KdlNode};

/// Nodes of a test that say what comes in and what is expected, braces and all, and what only
/// people read.
const VERBATIM: &[&str] =
    &["given", "mock", "expect", "replay", "body", "query", "header", "env", "description", "test"];

/// Whether a text is what a test gives, or what a shell reads: `${NAME}` is its own there.
pub(super) fn is_verbatim(node: &KdlNode) -> bool {
    let is_shell = |entry: &KdlEntry| entry.value().as_string() == Some("-c");
    VERBATIM.contains(&node.name().value()) || node.entries().iter().any(is_shell)
}

impl ValueCheck<'_> {
    /// Reports them; answers whether there are any.
    pub(super) fn unrendered(&mut self, node: &KdlNode, ty: ValueKind, text: &str) -> bool {
        let word = node.name().value();
        match ty {
            ValueKind::Template(_) | ValueKind::UrlTemplate(_) => self.foreign_reference(text),
            ValueKind::OwnTemplate(_) => self.foreign_reference(text) || self.statement(text),
            ValueKind::Path | ValueKind::Glob if text.starts_with("~/") => self.home(text),
            ValueKind::Literal if word == "command" && text.starts_with("~/") => self.home(text),
            ValueKind::Path
            | ValueKind::Glob
            | ValueKind::Text
            | ValueKind::Topic
            | ValueKind::Secret => !VERBATIM.contains(&word) && self.no_template(word, text),
            ValueKind::Literal => !VERBATIM.contains(&word) && self.no_template(word, text),
            _ => false,
        }
    }

    /// `{{ data.name }}` or `${data.name}` in a text that is the same for every event.
    fn no_template(&mut self, word: &str, text: &str) -> bool {
        let Some(found) = of_event(text, "{{", "}}").or_else(|| of_event(text, "${", "}")) else {
            return false;
        };
        let shown = &text[found.span.clone()];
        let message = format!("`{shown}` is not replaced here");
        let is_whole = found.span == (0..text.len());
        let help = match word {
            "type" if is_whole => {
                format!("this text is not a template; write `map {{ type \"{}\" }}`", found.inside)
            }
            "type" => {
                "this text is not a template; write `type` in `map`, with an expression such \
                       as `\"'kind-' + data.kind\"`"
                    .to_owned()
            }
            "topic" | "chat" | "channel" | "user" | "to" => {
                "this text is not a template; write one node for each of them, and let a `route` \
                 choose"
                    .to_owned()
            }
            _ => "this text is not a template; write a text that is the same for every event"
                .to_owned(),
        };
        self.at_part(found.span, message, "would be used as it is", &help)
    }

    /// `${data.name}` in a template.
    fn foreign_reference(&mut self, text: &str) -> bool {
        let Some(found) = of_event(text, "${", "}") else { return false };
        let message = format!("`{}` is not replaced here", &text[found.span.clone()]);
        let help = format!("write `{{{{ {} }}}}`", found.inside);
        self.at_part(found.span, message, "this is a template", &help)
    }

    /// `{% if … %}` in a template.
    fn statement(&mut self, text: &str) -> bool {
        let Some(start) = text.find("{%") else { return false };
        let Some(length) = text[start..].find("%}") else { return false };
        let message = "a template has no `{% … %}`";
        let help = "write an expression, such as `{{ data.count > 1 ? 'many' : 'one' }}`";
        self.at_part(start..start + length + 2, message.to_owned(), "would be used as it is", help)
    }

    fn home(&mut self, text: &str) -> bool {
        let message = format!("{} does not know `~`", self.subject());
        let help = format!("write the whole path, such as `\"/home/me/{}\"`", &text[2..]);
        self.at_part(0..2, message, "not a home folder here", &help)
    }

    fn at_part(&mut self, part: Span, message: String, label: &str, help: &str) -> bool {
        let whole = std::mem::replace(&mut self.span, value_text_span(self.entry, part));
        self.report(Rule::BadAnnotation, message, label, help);
        self.span = whole;
        true
    }
}

/// A part of a text in braces that reads from an event.
struct EventPart {
    span: Span,
    inside: String,
}

/// The first part between `open` and `close` that reads a path which begins as one of ours.
fn of_event(text: &str, open: &str, close: &str) -> Option<EventPart> {
    let mut at = 0;
    while let Some(start) = text[at..].find(open).map(|it| at + it) {
        let from = start + open.len();
        let length = text[from..].find(close)?;
        let inside = text[from..from + length].trim();
        at = from + length + close.len();
        if reads_event(inside) {
            return Some(EventPart { span: start..at, inside: inside.to_owned() });
        }
    }
    None
}

/// Whether a path in it begins with a root: other programs have texts in braces too.
fn reads_event(inside: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
    let words = inside.split(|letter: char| !is_part(letter));
    words
        .filter_map(|word| word.split_once('.'))
        .any(|(root, rest)| Roots::NOTIFICATION.names().contains(&root) && !rest.is_empty())
}

/// The first text of an expression that has a path of an event in braces: where it stands, quotes
/// and all, and the path where it is all of the text.
pub(super) fn in_quotes(text: &str) -> Option<(Span, Option<String>)> {
    let mut at = 0;
    while let Some(it) = text[at..].chars().next() {
        let Some(length) = quoted_length(&text[at..]) else {
            at += it.len_utf8();
            continue;
        };
        let quoted = &text[at..at + length];
        if let Some(found) = of_event(quoted, "{{", "}}") {
            let is_whole = quoted.len() == found.span.len() + 2;
            return Some((at..at + length, is_whole.then_some(found.inside)));
        }
        at += length;
    }
    None
}
