//! An expression or template that was written without its quotes, as one text of KDL.

use super::problem::{ExprProblem, ProblemKind};
use super::{Expr, Roots, Template};

/// An expression in quotes that keep its texts apart, and whether it can be read then.
pub fn expression_in_quotes(written: &str) -> (String, bool) {
    let reads = |text: &str| Expr::parse(text, Roots::EVENT).err();
    in_quotes(written, &reads)
}

/// What a help says of the quotes inside of such an expression.
pub fn quotes_inside(quoted: &str) -> &'static str {
    if quoted.starts_with('#') { "" } else { ": single quotes inside" }
}

/// As [`expression_in_quotes`], for a template.
pub fn template_in_quotes(written: &str) -> (String, bool) {
    let reads = |text: &str| Template::parse(text, Roots::NOTIFICATION).err();
    in_quotes(written, &reads)
}

/// What is wrong with a text.
type Reads<'r> = &'r dyn Fn(&str) -> Option<Vec<ExprProblem>>;

fn in_quotes(written: &str, reads: Reads<'_>) -> (String, bool) {
    // Names that do not exist have findings of their own.
    let is_read = |text: &String| {
        let problems = reads(text).unwrap_or_default();
        problems.iter().all(|problem| problem.kind == ProblemKind::UnknownName)
    };
    let inner = [without(written, '\''), without(written, '"'), Some(written)];
    let texts = inner.into_iter().flatten().flat_map(|it| [it.replace('"', "'"), it.to_owned()]);
    let texts: Vec<String> = texts.collect();
    match texts.iter().find(|text| is_read(text)) {
        Some(text) => (as_text(text), true),
        None => (format!("\"{}\"", written.replace('"', "'")), false),
    }
}

/// A text without the quotes around all of it.
fn without(written: &str, quote: char) -> Option<&str> {
    written.strip_prefix(quote)?.strip_suffix(quote)
}

/// As a string of KDL: a raw one where it holds what an ordinary one would need to escape.
fn as_text(text: &str) -> String {
    if !text.contains(['"', '\\']) {
        return format!("\"{text}\"");
    }
    let hashes = if text.contains("\"#") { "##" } else { "#" };
    format!("{hashes}\"{text}\"{hashes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(written: &str, expected: &str) {
        assert_eq!(expression_in_quotes(written), (expected.to_owned(), true), "{written}");
    }

    #[test]
    fn the_quotes_around_an_expression_leave_its_texts_whole() {
        becomes(r#"event.type == "ring""#, r#""event.type == 'ring'""#);
        becomes(r#"'data.x == "a"'"#, r#""data.x == 'a'""#);
        becomes("'data.x == 5'", r#""data.x == 5""#);
        becomes("'data.x == 'a''", r#""data.x == 'a'""#);
        becomes("'a' == data.x || data.y == 'b'", r#""'a' == data.x || data.y == 'b'""#);
        becomes(r#"data.x == "it's""#, r##"#"data.x == "it's""#"##);
        becomes(r#""data.x == "a"""#, r#""data.x == 'a'""#);
        becomes(r#"matches(data.x, r"\d")"#, r##"#"matches(data.x, r'\d')"#"##);
    }

    #[test]
    fn what_cannot_be_read_is_not_sure() {
        assert!(!expression_in_quotes("data.x == ").1);
        assert!(!template_in_quotes("{{ data.x + }}").1);
    }
}
