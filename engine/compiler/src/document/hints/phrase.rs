//! Pieces of a line, put as they should have been written.

use super::super::lex::{Kind, LexToken};
use language::expr::{SIZE_MAX, is_escape};

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

/// A string as a raw one. Where it is an expression, the backslashes of its texts are escaped as
/// texts in single quotes need it, so that it says what was meant: a raw text `r'…'` takes each
/// backslash as it is, and an escape that a text has, such as `\\'`, stays one.
pub(super) fn raw(written: &str, is_expression: bool) -> String {
    let quotes = if written.len() > 5 && written.starts_with("\"\"\"") { "\"\"\"" } else { "\"" };
    let inner = written.strip_prefix(quotes).and_then(|it| it.strip_suffix(quotes));
    let letters = unescaped(inner.unwrap_or(written));
    // What is longer is no expression, whatever its escapes.
    let inner = match is_expression && letters.len() <= SIZE_MAX {
        true => with_escapes(&letters),
        false => letters.iter().map(|letter| letter.0).collect(),
    };
    let hashes = if inner.contains("\"#") { "##" } else { "#" };
    format!("{hashes}{quotes}{inner}{quotes}{hashes}")
}

/// The characters of a quoted string, each with whether it is a backslash that KDL does not take
/// as the beginning of an escape.
fn unescaped(inner: &str) -> Vec<(char, bool)> {
    let mut letters = Vec::new();
    let mut rest = inner.chars();
    while let Some(letter) = rest.next() {
        match (letter, rest.clone().next()) {
            ('\\', Some(next @ ('\\' | '"'))) => {
                rest.next();
                letters.push((next, false));
            }
            (letter, _) => letters.push((letter, letter == '\\')),
        }
    }
    letters
}

/// The text of an expression whose texts in single quotes have an escape for every backslash.
fn with_escapes(letters: &[(char, bool)]) -> String {
    let (mut made, mut at) = (String::new(), 0);
    while at < letters.len() {
        let Some((is_raw, length)) = text_at(letters, at) else {
            made.push(letters[at].0);
            at += 1;
            continue;
        };
        let end = at + length;
        while at < end {
            let (letter, is_bad) = letters[at];
            made.push(letter);
            at += 1;
            if letter != '\\' || is_raw {
                continue;
            }
            let rest: String = letters[at..end].iter().map(|letter| letter.0).collect();
            let next = rest.chars().next();
            // What a pattern escapes with one backslash is a character of its own in a text.
            let is_pattern = is_bad && matches!(next, Some('?' | '`'));
            if !is_pattern && is_escape(&rest) {
                made.extend(next);
                at += 1;
            } else {
                made.push('\\');
            }
        }
    }
    made
}

/// Whether a text in single quotes begins there, whether it is raw, and its length in characters.
fn text_at(letters: &[(char, bool)], at: usize) -> Option<(bool, usize)> {
    let before = |back: usize| at.checked_sub(back).map(|index| letters[index].0);
    let is_part = |letter: Option<char>| letter.is_some_and(|it| it.is_alphanumeric() || it == '_');
    let is_raw = matches!(before(1), Some('r' | 'R')) && !is_part(before(2));
    if letters[at].0 != '\'' || is_part(before(1)) && !is_raw {
        return None;
    }
    let mut escaped = false;
    for (index, (letter, _)) in letters.iter().enumerate().skip(at + 1) {
        if *letter == '\'' && !escaped {
            return Some((is_raw, index + 1 - at));
        }
        escaped = *letter == '\\' && !escaped && !is_raw;
    }
    None
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

#[cfg(test)]
mod tests {
    use super::raw;

    #[track_caller]
    fn becomes(inner: &str, expected: &str) {
        assert_eq!(raw(&format!("\"{inner}\""), true), format!("#\"{expected}\"#"), "{inner}");
    }

    /// Expressions as a raw string has them: in a plain string, all that is wrong with them is
    /// what KDL makes of their backslashes.
    #[test]
    fn a_right_expression_stays_as_it_is() {
        for right in [
            r"matches(data.file, r'\.jpg$')",
            r"matches(data.file, R'\.jpg$') || matches(data.x, r'\d+')",
            r"matches(data.name, r'^\w+\s\?$')",
            r"data.name == 'it\'s \x41 \101'",
            r"data.a == 'dr\'s' && matches(data.b, r'\d')",
            r"data.path == r'C:\dir'",
            r"for_r'\d'",
        ] {
            let made = raw(&format!("\"{right}\""), true);
            assert_eq!(made, format!("#\"{right}\"#"));
        }
    }

    #[test]
    fn a_pattern_in_a_plain_text_has_its_backslashes_twice() {
        becomes(r"matches(data.x, '\d+')", r"matches(data.x, '\\d+')");
        becomes(r"matches(data.x, '\\d+\.')", r"matches(data.x, '\\d+\\.')");
        becomes(r"matches(data.x, '\\\\d+\.')", r"matches(data.x, '\\d+\\.')");
        becomes(r"matches(data.x, 'a\?')", r"matches(data.x, 'a\\?')");
        becomes(
            r"matches(data.file, r'\.jpg$') || matches(data.x, '\d+')",
            r"matches(data.file, r'\.jpg$') || matches(data.x, '\\d+')",
        );
    }

    /// However long it is, and whatever is in it, a proposal takes a moment.
    #[test]
    fn what_is_too_long_for_an_expression_is_taken_as_it_is() {
        for part in [r"\d", r"\'", "r'"] {
            let long = part.repeat(100_000);
            becomes(&long, &long);
        }
    }

    #[test]
    fn a_quote_that_begins_no_text_changes_nothing() {
        becomes(r"it's \d o'clock", r"it's \d o'clock");
        assert_eq!(raw(r#""state='\w+'""#, false), r##"#"state='\w+'"#"##);
    }
}
