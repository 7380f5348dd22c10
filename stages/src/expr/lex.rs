//! Text to tokens, each with its place.

use super::problem::Problem;
use crate::language::parse_duration;
use std::ops::Range;

/// A word, literal or sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    Sign(&'static str),
    End,
}

const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "??", "<", ">", "!", "?", ":", ".", ",", "(", ")", "[",
    "]", "{", "}", "+", "-", "*", "/", "%",
];

/// What people write by habit, and what is meant. Longer ones first.
const FOREIGN: &[(&str, &str)] = &[
    ("===", "`==` compares"),
    ("!==", "`!=` compares"),
    ("=~", "write `matches(text, 'pattern')`"),
    ("<>", "`!=` compares"),
    ("=<", "`<=` compares"),
    ("=>", "`>=` compares"),
    ("?.", "write `.`: what is missing is null, at any depth"),
    ("**", "there is no power; multiply by `*`"),
    ("=", "`==` compares"),
    ("&", "`&&` means and"),
    ("|", "`||` means or"),
    (";", "an expression is one value"),
    ("`", "text stands in single quotes"),
    ("$", "a path begins with a name, such as `data`"),
];

/// Tokens with their places; the last one is `End`.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, Range<usize>)>, Problem> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.chars().next().expect("there is text left");
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = match first {
            '\'' | '"' => quoted(text, at, first)?,
            '0'..='9' => number(text, at)?,
            'a'..='z' | 'A'..='Z' | '_' => word(rest),
            _ => sign(text, at, first)?,
        };
        tokens.push((token, at..at + length));
        at += length;
    }
    tokens.push((Token::End, text.len()..text.len()));
    Ok(tokens)
}

fn word(rest: &str) -> (Token, usize) {
    let length =
        rest.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_')).unwrap_or(rest.len());
    (Token::Name(rest[..length].to_owned()), length)
}

fn sign(text: &str, at: usize, first: char) -> Result<(Token, usize), Problem> {
    let rest = &text[at..];
    let known = SIGNS.iter().find(|it| rest.starts_with(**it));
    let foreign = FOREIGN.iter().find(|it| rest.starts_with(it.0));
    if let Some(sign) = known
        && foreign.is_none_or(|it| it.0.len() <= sign.len())
    {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let length = foreign.map_or(first.len_utf8(), |it| it.0.len());
    let found = &rest[..length];
    let problem =
        Problem::syntax(at..at + length, format!("`{found}` means nothing in an expression"));
    Err(match (foreign, first) {
        (Some((_, meant)), _) => problem.help(*meant),
        (None, '‘' | '’' | '“' | '”' | '„' | '«' | '»') => {
            problem.help("text stands in straight quotes: `'text'`")
        }
        (None, _) if first.is_alphabetic() => problem
            .help(format!("a name with other letters stands in brackets: `data['{first}…']`")),
        (None, _) => problem,
    })
}

fn number(text: &str, at: usize) -> Result<(Token, usize), Problem> {
    let rest = &text.as_bytes()[at..];
    let digits = |from: usize| rest[from..].iter().take_while(|it| it.is_ascii_digit()).count();
    let mut length = digits(0);
    let mut is_float = false;
    if rest.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        is_float = true;
        length += 1 + digits(length + 1);
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits((length + 1 + sign).min(rest.len()));
        if exponent > 0 {
            is_float = true;
            length += 1 + sign + exponent;
        }
    }
    let shown = &text[at..at + length];
    if rest.get(length).is_some_and(|it| it.is_ascii_alphabetic() || *it == b'_') {
        let tail = &text[at + length..];
        let letters =
            tail.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_')).unwrap_or(tail.len());
        let span = at..at + length + letters;
        let word = &text[span.clone()];
        let help = match parse_duration(word) {
            Some(_) => format!("a duration is `duration('{word}')`, a text `'{word}'`"),
            None => format!("text stands in single quotes: `'{word}'`"),
        };
        return Err(Problem::syntax(span, "a number ends in a letter").help(help));
    }
    match (is_float, shown.parse::<i64>(), shown.parse::<f64>()) {
        (false, Ok(int), _) => Ok((Token::Int(int), length)),
        (_, _, Ok(float)) if float.is_finite() => Ok((Token::Float(float), length)),
        _ => Err(Problem::syntax(at..at + length, "this number is too large")),
    }
}

fn quoted(text: &str, at: usize, quote: char) -> Result<(Token, usize), Problem> {
    let mut value = String::new();
    let mut chars = text[at + 1..].char_indices();
    while let Some((offset, it)) = chars.next() {
        if it == quote {
            return Ok((Token::Text(value), offset + 2));
        }
        if it != '\\' {
            value.push(it);
            continue;
        }
        let escape = at + 1 + offset..at + 3 + offset;
        match chars.next().map(|it| it.1) {
            Some('n') => value.push('\n'),
            Some('t') => value.push('\t'),
            Some('r') => value.push('\r'),
            Some(it @ ('\\' | '\'' | '"')) => value.push(it),
            Some('u') => {
                let (code, digits) = unicode(&text[escape.end.min(text.len())..])
                    .ok_or_else(|| unknown_escape(text, escape))?;
                value.push(code);
                // What was read is ASCII, so bytes are characters.
                chars.nth(digits - 1);
            }
            _ => return Err(unknown_escape(text, escape)),
        }
    }
    let mut problem = Problem::syntax(at..text.len(), "this text is never closed");
    problem.help = Some(format!("put a {quote} at its end"));
    Err(problem)
}

/// What stands behind `\u`: four digits, or two halves of a character as JSON writes them.
fn unicode(rest: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 4)?;
        let all_hex = digits.bytes().all(|it| it.is_ascii_hexdigit());
        all_hex.then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let first = unit(0)?;
    if let Some(code) = char::from_u32(u32::from(first)) {
        return Some((code, 4));
    }
    rest.get(4..6).filter(|it| *it == "\\u")?;
    let code = char::decode_utf16([first, unit(6)?]).next()?.ok()?;
    Some((code, 10))
}

fn unknown_escape(text: &str, span: Range<usize>) -> Problem {
    let mut end = span.end.min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    Problem::syntax(span.start..end, "not an escape that text knows")
        .help(r"there are \\ \' \n \t \r and \uXXXX; a pattern's backslash is written twice: '\\d'")
}
