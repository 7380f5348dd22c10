//! Findings for people and for programs, and where they are written.

mod github;
mod human;
mod json;
mod junit;
mod repository;
mod sarif;
mod short;
mod view;

pub use github::github;
pub use human::human;
pub use json::json;
pub use junit::escaped;
pub use junit::junit;
pub use repository::RepositoryPaths;
pub use sarif::sarif;
pub use short::short;

use kernel::health::printable;
use language::diagnostic::{Diagnostic, Label, Severity, SourceText};
use std::ops::Range;

/// A file and what was found in it and in what it names.
#[derive(Debug)]
pub struct CheckedFile {
    /// The path as the user wrote it.
    pub name: String,
    /// What was found, by position.
    pub found: Vec<Diagnostic>,
}

/// How many findings of this severity there are.
pub fn count(files: &[CheckedFile], severity: Severity) -> usize {
    all(files).filter(|it| it.severity == severity).count()
}

fn all(files: &[CheckedFile]) -> impl Iterator<Item = &Diagnostic> {
    files.iter().flat_map(|file| &file.found)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A place in a text. Lines and columns count from 1, columns in characters, bytes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    line: usize,
    column: usize,
    byte: usize,
}

fn position(source: &SourceText, byte: usize) -> Position {
    let text = &source.text;
    let byte = (0..=byte.min(text.len())).rev().find(|it| text.is_char_boundary(*it));
    let byte = byte.unwrap_or(0);
    let before = &text[..byte];
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    Position {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        byte,
    }
}

/// Where a span begins, and the place behind its last character.
fn range(source: &SourceText, span: &Range<usize>) -> (Position, Position) {
    (position(source, span.start), position(source, span.end))
}

/// The place of the primary label; the beginning of the text where there is none.
fn primary(it: &Diagnostic) -> (Position, Position) {
    let span = it.labels.first().map_or(0..0, |label| label.span.clone());
    range(&it.source, &span)
}

/// Every further place of a finding, with the text that it lies in.
fn further(it: &Diagnostic) -> impl Iterator<Item = (&SourceText, &Label)> {
    let own = it.labels.iter().skip(1).map(|label| (&*it.source, label));
    let frames = it.related.iter();
    own.chain(frames.flat_map(|frame| frame.labels.iter().map(|label| (&*frame.source, label))))
}

/// The errors in one line: how many, and the first with its place.
pub fn headline(diagnostics: &[Diagnostic]) -> String {
    let errors = || diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let Some(first) = errors().next() else { return "no problems found".to_owned() };
    let (count, place) = (errors().count(), place(first));
    match count {
        1 => format!("{place}: {}", first.message),
        _ => format!("{count} errors, the first at {place}: {}", first.message),
    }
}

/// `a.kdl:4:9`.
pub fn place(it: &Diagnostic) -> String {
    let (start, _) = primary(it);
    format!("{}:{}:{}", printable(&it.source.name, usize::MAX), start.line, start.column)
}

#[cfg(test)]
mod testing {
    //! Findings for the tests of the formats.

    use super::*;
    use language::diagnostic::{Diagnostics, Rule};
    use std::sync::Arc;

    pub(super) fn source(name: &str, text: &str) -> Arc<SourceText> {
        Arc::new(SourceText { name: name.to_owned(), text: text.to_owned() })
    }

    /// An error with a letter of two bytes and a repair, and a warning with a frame elsewhere.
    pub(super) fn found() -> Vec<CheckedFile> {
        let mut found = Diagnostics::new(source("a.kdl", "ä: 1\nb {\n}\n"));
        found
            .push(Rule::YamlColon, "no node is called `ä:`")
            .at(0..3, "this colon is YAML")
            .help("write `ä 1`")
            .fix(2..3, "");
        found.push(Rule::LiteralSecret, "this looks like a secret").at(6..7, "here").frame(
            source("other.json", "{ }"),
            0..1,
            "and here",
        );
        vec![
            CheckedFile { name: "a.kdl".to_owned(), found: found.sorted() },
            CheckedFile { name: "fine.kdl".to_owned(), found: Vec::new() },
        ]
    }
}
