//! Findings as the terminal shows them: each with its lines and what to do.

use super::place;
use super::view::FindingView;
use kernel::health::printable;
use language::diagnostic::{Diagnostic, Severity};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::fmt::Write;

/// Most findings that the terminal shows; nobody reads on.
const SHOWN_MAX: usize = 100;

/// Findings as the terminal shows them, errors before warnings where there are too many.
pub fn human(found: &[Diagnostic], colour: bool, width: usize) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(width);
    let mut text = String::new();
    for it in shown(found) {
        let start = text.len();
        if handler.render_report(&mut text, &FindingView::new(it, width)).is_err() {
            // A place lies outside of its text.
            text.truncate(start);
            let message = printable(&it.message, 1000);
            writeln!(text, "{} {} {message}", it.rule.code(), place(it))
                .expect("writing into a text does not fail");
        }
        // Each part of a finding would begin like a finding of its own.
        for severity in ["\nError: \n", "\nWarning: \n"] {
            while let Some(at) = text[start..].find(severity).filter(|_| !it.related.is_empty()) {
                text.replace_range(start + at + 1..start + at + severity.len(), "");
            }
        }
        text.push('\n');
    }
    if SHOWN_MAX < found.len() {
        writeln!(text, "and {} more", found.len() - SHOWN_MAX)
            .expect("writing into a text does not fail");
    }
    text
}

fn shown(found: &[Diagnostic]) -> Vec<&Diagnostic> {
    if found.len() <= SHOWN_MAX {
        return found.iter().collect();
    }
    let of = |severity| found.iter().filter(move |it| it.rule.severity() == severity);
    of(Severity::Error).chain(of(Severity::Warning)).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use language::diagnostic::{Diagnostics, Rule};

    #[test]
    fn people_see_every_frame() {
        let found = &testing::found()[0].found;
        let text = human(found, false, 100);
        let expected = "E0011

  × no node is called `ä:`
   ╭─[a.kdl:1:1]
 1 │ ä: 1
   · ─┬
   ·  ╰── this colon is YAML
 2 │ b {
   ╰────
  help: write `ä 1`
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("other.json:1:1") && text.contains("and here"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(human(found, true, 100).contains('\u{1b}'));
    }

    #[test]
    fn the_terminal_shows_a_hundred_and_says_how_many_more() {
        let mut found = Diagnostics::new(testing::source("a.kdl", "x\n"));
        for index in 0..130 {
            let rule = if index < 120 { Rule::LiteralSecret } else { Rule::Syntax };
            found.push(rule, format!("odd {index}")).at(0..1, "here");
        }
        let text = human(&found.sorted(), false, 100);
        assert!(text.ends_with("\nand 30 more\n"), "{text}");
        assert!(text.contains("odd 129") && text.contains("odd 0\n"), "{text}");
        assert_eq!(text.matches("╰── here").count(), 100);
    }

    #[test]
    fn a_place_outside_of_the_text_is_told_in_words() {
        let mut found = Diagnostics::new(testing::source("a.kdl", "x"));
        found.push(Rule::Syntax, "odd").at(70..80, "here");
        assert!(human(&found.sorted(), false, 100).contains("odd"));
    }
}
