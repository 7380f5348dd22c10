//! Pieces of a line, put as they should have been written.

use super::super::lex::{Kind, Token};

/// Nodes whose value is an expression.
const NODES: &[&str] = &["when", "keep", "match", "key", "check", "value", "subject"];
/// Properties whose value is an expression.
const PROPERTIES: &[&str] = &["when", "key", "check", "where", "except", "allow", "from"];

/// The index of the token where an unquoted expression begins.
pub(super) fn expression(text: &str, tokens: &[Token]) -> Option<usize> {
    let word = |it: &Token| &text[it.span.clone()];
    let behind_node = tokens.first().is_some_and(|it| NODES.contains(&word(it)))
        && tokens.get(1).is_some_and(|it| it.kind != Kind::Equals)
        && !is_property(tokens, 1);
    let start = if behind_node {
        1
    } else {
        2 + tokens
            .windows(2)
            .position(|it| it[1].kind == Kind::Equals && PROPERTIES.contains(&word(&it[0])))?
    };
    let rest = tokens.get(start..).filter(|it| !it.is_empty())?;
    let operator = |pair: &[Token]| {
        let glued = pair[0].span.end == pair[1].span.start;
        match (pair[0].kind, pair[1].kind) {
            (Kind::Equals, Kind::Equals) => true,
            (Kind::Word, Kind::Equals) => matches!(word(&pair[0]), "!" | "<" | ">"),
            (Kind::Word, Kind::Paren | Kind::Bracket) => glued || word(&pair[0]) == "in",
            (Kind::Text, Kind::Word | Kind::Text) => glued && !word(&pair[1]).starts_with(','),
            _ => false,
        }
    };
    rest.windows(2).any(operator).then_some(start)
}

fn is_property(tokens: &[Token], at: usize) -> bool {
    let kinds: Vec<Kind> = tokens.iter().skip(at).take(3).map(|it| it.kind).collect();
    matches!(kinds[..], [Kind::Word, Kind::Equals, kind] if kind != Kind::Equals)
        || matches!(kinds[..], [Kind::Word, Kind::Equals])
}

/// The text of an expression in one pair of double quotes.
pub(super) fn quoted_expression(written: &str) -> String {
    let is_wrapped = written.len() > 1 && written.starts_with('"') && written.ends_with('"');
    let inner = if is_wrapped { &written[1..written.len() - 1] } else { written };
    let halves = inner.matches('"').count();
    // An odd quote was the outer one: the inner pairs stay.
    let inner = if halves % 2 == 1 { written } else { inner };
    format!("\"{}\"", inner.replace('"', "'"))
}

/// A string as a raw one.
pub(super) fn raw(written: &str) -> String {
    let inner = written.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\");
    let hashes = if inner.contains("\"#") { "##" } else { "#" };
    format!("{hashes}\"{inner}\"{hashes}")
}

/// The words of a bracketed list, without commas; each quoted only where it must be.
pub(super) fn items(text: &str, tokens: &[Token]) -> Vec<String> {
    let words = tokens.iter().filter(|it| matches!(it.kind, Kind::Word | Kind::Text | Kind::Raw));
    words
        .flat_map(|it| {
            let word = &text[it.span.clone()];
            if it.kind == Kind::Word { word.split(',').collect() } else { vec![word] }
        })
        .map(|it| it.trim_matches('\''))
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect()
}
