//! Pieces of a line, put as they should have been written.

use super::super::lex::{Kind, LexToken};

/// Nodes whose value is an expression.
const NODES: &[&str] = &["when", "keep", "match", "key", "check", "value", "subject"];
/// Properties whose value is an expression.
const PROPERTIES: &[&str] = &["when", "key", "check", "where", "except", "allow", "from"];

/// The index of the token where an unquoted expression begins.
pub(super) fn expression(text: &str, tokens: &[LexToken]) -> Option<usize> {
    let word = |token: &LexToken| &text[token.span.clone()];
    let behind_node = tokens.first().is_some_and(|token| NODES.contains(&word(token)))
        && tokens.get(1).is_some_and(|token| token.kind != Kind::Equals)
        && !is_property(tokens, 1);
    // Nothing but an expression has these signs, whatever the node is called.
    let compares = |it: &[LexToken]| match (it[0].kind, it[1].kind) {
        (Kind::Equals, Kind::Equals) => true,
        (Kind::Word, Kind::Equals) => matches!(word(&it[0]), "!" | "<" | ">"),
        _ => false,
    };
    let is_behind_any = tokens.first().is_some_and(|token| token.kind == Kind::Word)
        && tokens.get(1).is_some_and(|token| token.kind != Kind::Equals)
        && !is_property(tokens, 1)
        && tokens.get(2..).is_some_and(|token| token.windows(2).any(compares))
        && !has_property(text, tokens);
    // `id data["id"]`: a list does not stick to a word.
    let is_indexed = matches!(tokens, [first, word, bracket, ..]
        if (first.kind, word.kind, bracket.kind) == (Kind::Word, Kind::Word, Kind::Bracket)
            && word.span.end == bracket.span.start);
    let start = if behind_node || is_behind_any || is_indexed {
        1
    } else {
        2 + tokens
            .windows(2)
            .position(|pair| pair[1].kind == Kind::Equals && PROPERTIES.contains(&word(&pair[0])))?
    };
    let rest = tokens.get(start..).filter(|token| !token.is_empty())?;
    let operator = |pair: &[LexToken]| {
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

/// The name of the node whose block is open at this byte. Braces in texts are not told apart: good
/// enough for a hint.
pub(super) fn parent(text: &str, at: usize) -> Option<&str> {
    let mut depth = 0_usize;
    for (place, letter) in text[..at].char_indices().rev() {
        match letter {
            '}' => depth += 1,
            '{' if depth == 0 => {
                let line = text[..place].rsplit(['\n', ';', '{', '}']).next()?;
                return line.split_whitespace().next();
            }
            '{' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn is_property(tokens: &[LexToken], at: usize) -> bool {
    let kinds: Vec<Kind> = tokens.iter().skip(at).take(3).map(|token| token.kind).collect();
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

/// Whether a property stands among the tokens: a name, one `=`, a value.
pub(super) fn has_property(text: &str, tokens: &[LexToken]) -> bool {
    let is_equals = |at: Option<usize>| {
        at.and_then(|it| tokens.get(it)).is_some_and(|token| token.kind == Kind::Equals)
    };
    tokens.iter().enumerate().any(|(at, it)| {
        let name = at.checked_sub(1).and_then(|it| tokens.get(it));
        let is_name = name.is_some_and(|name| {
            name.kind == Kind::Word && !matches!(&text[name.span.clone()], "!" | "<" | ">")
        });
        it.kind == Kind::Equals
            && is_name
            && !is_equals(at.checked_sub(1))
            && !is_equals(Some(at + 1))
    })
}

/// A string as a raw one, given where its first wrong escape stands.
///
/// Text in single quotes belongs to an expression, which has escapes of its own: a pattern's
/// backslash is written twice there.
pub(super) fn raw(written: &str, bad: usize) -> String {
    let quotes = if written.len() > 5 && written.starts_with("\"\"\"") { "\"\"\"" } else { "\"" };
    let inner = written.strip_prefix(quotes).and_then(|it| it.strip_suffix(quotes));
    let inner = inner.unwrap_or(written).replace("\\\"", "\"").replace("\\\\", "\\");
    let is_inner = written[..bad].matches('\'').count() % 2 == 1
        && written[bad..].contains('\'')
        && !written.contains("\\\\");
    let inner = if is_inner { inner.replace('\\', "\\\\") } else { inner };
    let hashes = if inner.contains("\"#") { "##" } else { "#" };
    format!("{hashes}{quotes}{inner}{quotes}{hashes}")
}

/// Whether the string means the same as a raw one: no escape in it but quotes and backslashes.
pub(super) fn is_raw_alike(written: &str) -> bool {
    let rest = written.replace("\\\\", "");
    rest.match_indices('\\').all(|(at, _)| {
        let next = rest[at + 1..].chars().next();
        !next.is_some_and(|it| it.is_whitespace() || "nrtsbfu".contains(it))
    })
}

/// The words of a bracketed list, without commas; each quoted only where it must be.
pub(super) fn items(text: &str, tokens: &[LexToken]) -> Vec<String> {
    let words =
        tokens.iter().filter(|token| matches!(token.kind, Kind::Word | Kind::Text | Kind::Raw));
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
