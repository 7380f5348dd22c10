//! Findings for people and for programs.

use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::{Value, json};
use stages::diagnostic::{Diagnostic, Severity, SourceText};
use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::ops::Range;

/// Findings as the terminal shows them.
pub fn human(found: &[Diagnostic], colour: bool, width: usize) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(width);
    let mut text = String::new();
    for it in found {
        let place = text.len();
        if handler.render_report(&mut text, it).is_err() {
            text.truncate(place);
            plain(&mut text, it);
        }
        text.push('\n');
    }
    text
}

/// What is left when a place lies outside of its text.
fn plain(text: &mut String, it: &Diagnostic) {
    let place = position(&it.source, it.position());
    let written = writeln!(
        text,
        "{} {}:{}:{} {}",
        it.rule.code(),
        it.source.name,
        place.line,
        place.column,
        it.message
    );
    written.expect("writing into a text does not fail");
}

/// Findings as one JSON object.
pub fn json(found: &[Diagnostic]) -> String {
    let count = |severity| found.iter().filter(|it| it.rule.severity() == severity).count();
    let errors = count(Severity::Error);
    let object = json!({
        "format_version": "1.0",
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": count(Severity::Warning),
        "diagnostics": found.iter().map(object).collect::<Vec<_>>(),
    });
    object.to_string()
}

fn object(it: &Diagnostic) -> Value {
    let labels: Vec<Value> = it
        .labels
        .iter()
        .map(|label| json!({"text": label.text, "range": range(&it.source, &label.span)}))
        .collect();
    let primary = it.labels.first().map_or(0..0, |label| label.span.clone());
    let severity = match it.rule.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut object = json!({
        "severity": severity,
        "code": it.rule.code(),
        "message": it.message,
        "help": it.help,
        "file": it.source.name,
        "range": range(&it.source, &primary),
        "labels": labels,
    });
    if !it.related.is_empty() {
        object["related"] = it.related.iter().map(self::object).collect();
    }
    object
}

struct Position {
    line: usize,
    column: usize,
    byte: usize,
}

/// Lines and columns count from 1, columns in characters.
fn position(source: &SourceText, byte: usize) -> Position {
    let text = &source.text;
    let byte = (0..=byte.min(text.len())).rev().find(|it| text.is_char_boundary(*it));
    let byte = byte.unwrap_or(0);
    let before = &text[..byte];
    let line_start = before.rfind('\n').map_or(0, |it| it + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        byte,
    }
}

fn range(source: &SourceText, span: &Range<usize>) -> Value {
    let place = |byte| {
        let it = position(source, byte);
        json!({"line": it.line, "column": it.column, "byte": it.byte})
    };
    json!({"start": place(span.start), "end": place(span.end)})
}

/// Whether standard error takes colour: `NO_COLOR`, `CLICOLOR_FORCE`, then whether it is a
/// terminal.
pub fn has_colour() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|it| !it.is_empty());
    if is_set("NO_COLOR") || std::env::var("TERM").is_ok_and(|it| it == "dumb") {
        return false;
    }
    is_set("CLICOLOR_FORCE") || std::io::stderr().is_terminal()
}

/// How wide reports are.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|it| it.parse().ok());
    columns.unwrap_or(100).clamp(40, 160)
}

/// Writes to standard error, where everything but results goes.
pub fn to_terminal(text: &str) {
    // A closed terminal must not stop the engine.
    std::io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// Writes a result to standard output.
pub fn to_output(text: &str) {
    std::io::stdout().lock().write_all(text.as_bytes()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use stages::diagnostic::{Diagnostics, Rule};
    use std::sync::Arc;

    fn source(name: &str, text: &str) -> Arc<SourceText> {
        Arc::new(SourceText { name: name.to_owned(), text: text.to_owned() })
    }

    fn found() -> Vec<Diagnostic> {
        let mut found = Diagnostics::new(source("a.kdl", "ä: 1\nb {\n}\n"));
        found
            .push(Rule::YamlColon, "no node is called `ä:`")
            .at(0..3, "the colon belongs to YAML")
            .help("write `ä 1`");
        found.push(Rule::LiteralSecret, "this looks like a secret").at(6..7, "here").frame(
            source("other.json", "{ }"),
            0..1,
            "and here",
        );
        found.sorted()
    }

    #[test]
    fn people_see_every_frame() {
        let text = human(&found(), false, 100);
        let expected = "E0011

  × no node is called `ä:`
   ╭─[a.kdl:1:1]
 1 │ ä: 1
   · ─┬
   ·  ╰── the colon belongs to YAML
 2 │ b {
   ╰────
  help: write `ä 1`
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("other.json:1:1") && text.contains("and here"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(human(&found(), true, 100).contains('\u{1b}'));
    }

    #[test]
    fn programs_get_lines_and_columns_from_one_and_bytes() {
        let object: Value = serde_json::from_str(&json(&found())).expect("JSON");
        assert_eq!(object["valid"], false);
        assert_eq!((&object["error_count"], &object["warning_count"]), (&json!(1), &json!(1)));
        let first = &object["diagnostics"][0];
        assert_eq!(first["range"]["end"], json!({"line": 1, "column": 3, "byte": 3}));
        assert_eq!(first["code"], "E0011");
        let second = &object["diagnostics"][1];
        assert_eq!(second["range"]["start"], json!({"line": 2, "column": 1, "byte": 6}));
        assert_eq!(second["severity"], "warning");
        assert_eq!(second["help"], Value::Null);
    }

    #[test]
    fn a_place_outside_of_the_text_is_told_in_words() {
        let mut found = Diagnostics::new(source("a.kdl", "x"));
        found.push(Rule::Syntax, "odd").at(70..80, "here");
        assert!(human(&found.sorted(), false, 100).contains("odd"));
    }
}
