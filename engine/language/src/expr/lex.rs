//! Text to tokens, each with its place.

use super::problem::ExprProblem;
use crate::parse_duration;
use std::ops::Range;

/// A word, literal or sign.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExprToken {
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
    ("?:", "`??` replaces null with another value"),
    ("#true", "write `true`"),
    ("#false", "write `false`"),
    ("#null", "write `null`"),
    ("?.", "write `.`: a missing value is null, at any depth"),
    ("**", "there is no power operator; multiply with `*`"),
    ("^", "there is no power operator; multiply with `*`"),
    ("=", "`==` compares"),
    ("&", "`&&` means and"),
    ("|", "`||` means or"),
    (";", "an expression is one value"),
    ("`", "use single quotes for text"),
    ("$", "a path starts with a name, such as `data`"),
];

/// Tokens with their places; the last one is `End`.
pub(super) fn lex(text: &str) -> Result<Vec<(ExprToken, Range<usize>)>, ExprProblem> {
    let mut tokens: Vec<(ExprToken, Range<usize>)> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.chars().next().expect("unexpected text after the expression");
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let begins_value = tokens.last().is_none_or(|token| !ends_value(&token.0));
        let (token, length) = match first {
            _ if opening(rest).is_some() => quoted(text, at)?,
            '0'..='9' => number(text, at, is_negated(&tokens))?,
            '.' if begins_value
                && rest[1..].starts_with(|letter: char| letter.is_ascii_digit()) =>
            {
                number(text, at, false)?
            }
            'a'..='z' | 'A'..='Z' | '_' => word(rest),
            _ => sign(text, at, first)?,
        };
        let mut start = at;
        if token == ExprToken::Int(i64::MIN) {
            // Its own sign is a part of it.
            start = tokens.pop().map_or(at, |token| token.1.start);
        }
        at += length;
        tokens.push((token, start..at));
    }
    tokens.push((ExprToken::End, text.len()..text.len()));
    Ok(tokens)
}

/// Whether what follows continues an expression instead of beginning one.
fn ends_value(token: &ExprToken) -> bool {
    match token {
        ExprToken::Sign(it) => matches!(*it, ")" | "]" | "}"),
        ExprToken::Name(it) => it != "in",
        _ => true,
    }
}

/// Whether a `-` with nothing to subtract from stands at the end.
fn is_negated(tokens: &[(ExprToken, Range<usize>)]) -> bool {
    match tokens {
        [rest @ .., (ExprToken::Sign("-"), _)] => rest.last().is_none_or(|it| !ends_value(&it.0)),
        _ => false,
    }
}

fn word(rest: &str) -> (ExprToken, usize) {
    let length = rest
        .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .unwrap_or(rest.len());
    (ExprToken::Name(rest[..length].to_owned()), length)
}

fn sign(text: &str, at: usize, first: char) -> Result<(ExprToken, usize), ExprProblem> {
    let rest = &text[at..];
    let known = SIGNS.iter().find(|sign| rest.starts_with(**sign));
    let foreign = FOREIGN.iter().find(|it| rest.starts_with(it.0));
    if let Some(sign) = known
        && foreign.is_none_or(|foreign| foreign.0.len() <= sign.len())
    {
        return Ok((ExprToken::Sign(sign), sign.len()));
    }
    let length = foreign.map_or(first.len_utf8(), |foreign| foreign.0.len());
    let found = &rest[..length];
    if crate::words::is_invisible(first) {
        let message =
            format!("an invisible character, U+{:04X}, is not allowed here", u32::from(first));
        return Err(ExprProblem::syntax(at..at + length, message).help("delete it"));
    }
    let problem =
        ExprProblem::syntax(at..at + length, format!("`{found}` means nothing in an expression"));
    Err(match (foreign, first) {
        (Some(("|", meant)), _) => match super::names::filter(text, at) {
            Some(call) if call.ends_with("(…)") => {
                problem.help(format!("put a function around its value: `{call}`"))
            }
            Some(call) => problem.help(format!("write `{call}`: a function takes its value first")),
            None => problem.help(*meant),
        },
        (Some(("=>", meant)), _) => match super::names::arrow(text, at) {
            Some(call) => problem.help(format!("write `{call}`")),
            None => problem.help(*meant),
        },
        (Some((_, meant)), _) => problem.help(*meant),
        (None, '‘' | '’' | '“' | '”' | '„' | '«' | '»') => {
            problem.help("use straight quotes for text: `'text'`")
        }
        (None, _) if first.is_alphabetic() => problem
            .help(format!("write a name with other characters in brackets: `data['{first}…']`")),
        (None, _) => problem.help("delete it, or put text into single quotes: `'text'`"),
    })
}

/// A number as CEL writes it. The least whole number has no positive counterpart, so it is
/// understood only behind its sign.
fn number(text: &str, at: usize, is_negated: bool) -> Result<(ExprToken, usize), ExprProblem> {
    let rest = &text.as_bytes()[at..];
    let digits = |from: usize| rest[from..].iter().take_while(|it| it.is_ascii_digit()).count();
    let mut length = digits(0);
    let mut is_float = false;
    let hex = if matches!(rest, [b'0', b'x' | b'X', ..]) {
        rest[2..].iter().take_while(|it| it.is_ascii_hexdigit()).count()
    } else {
        0
    };
    if hex > 0 {
        length = 2 + hex;
    } else {
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
    }
    let shown = &text[at..at + length];
    if rest.get(length).is_some_and(|it| it.is_ascii_alphabetic() || *it == b'_') {
        let tail = &text[at + length..];
        let letters = tail
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
            .unwrap_or(tail.len());
        let span = at..at + length + letters;
        let word = &text[span.clone()];
        let help = match parse_duration(word) {
            Some(_) => format!("a duration is `duration('{word}')`, a text `'{word}'`"),
            None if matches!(&tail[..letters], "u" | "U") => {
                format!("there is only one integer type: `{shown}`")
            }
            None => format!("use single quotes for text: `'{word}'`"),
        };
        return Err(ExprProblem::syntax(span, "a number ends in a letter").help(help));
    }
    let sign = if is_negated { "-" } else { "" };
    let whole = match hex {
        0 => format!("{sign}{shown}").parse::<i64>().ok(),
        _ => i64::from_str_radix(&format!("{sign}{}", &shown[2..]), 16).ok(),
    };
    match (is_float, whole, shown.parse::<f64>()) {
        (false, Some(i64::MIN), _) => Ok((ExprToken::Int(i64::MIN), length)),
        (false, Some(int), _) => Ok((ExprToken::Int(int.abs()), length)),
        (true, _, Ok(float)) if float.is_finite() => Ok((ExprToken::Float(float), length)),
        (false, ..) => Err(ExprProblem::syntax(at..at + length, "this number is too large")
            .help(format!("whole numbers go up to {}; add `.0` for a decimal", i64::MAX))),
        _ => Err(ExprProblem::syntax(at..at + length, "this number is too large")
            .help("decimals go up to about 1.8e308")),
    }
}

/// What opens a text: whether it is raw, and its quotes.
fn opening(rest: &str) -> Option<(bool, &'static str)> {
    let is_raw = rest.starts_with(['r', 'R']);
    let behind = &rest[usize::from(is_raw)..];
    let quotes = ["\'\'\'", "\"\"\"", "'", "\""];
    Some((is_raw, quotes.into_iter().find(|quote| behind.starts_with(quote))?))
}

/// How long the text in quotes is that `rest` begins with, quotes and all; `None` where it begins
/// with none. Without an end, it is all that is left.
pub(crate) fn quoted_length(rest: &str) -> Option<usize> {
    let (is_raw, quotes) = opening(rest)?;
    let start = usize::from(is_raw) + quotes.len();
    let mut escaped = false;
    for (at, it) in rest[start..].char_indices() {
        if !escaped && rest[start + at..].starts_with(quotes) {
            return Some(start + at + quotes.len());
        }
        escaped = !escaped && !is_raw && it == '\\';
    }
    Some(rest.len())
}

fn quoted(text: &str, at: usize) -> Result<(ExprToken, usize), ExprProblem> {
    let (is_raw, quotes) = opening(&text[at..]).expect("it was seen");
    let mut value = String::new();
    let mut here = at + usize::from(is_raw) + quotes.len();
    while let Some(it) = text[here..].chars().next() {
        if text[here..].starts_with(quotes) {
            return Ok((ExprToken::Text(value), here + quotes.len() - at));
        }
        let (made, length) = if it == '\\' && !is_raw {
            escape(&text[here + 1..]).ok_or_else(|| unknown_escape(text, at, here..here + 2))?
        } else {
            (it, it.len_utf8())
        };
        value.push(made);
        here += length;
    }
    let mut problem = ExprProblem::syntax(at..text.len(), "this text is never closed");
    problem.help = Some(format!("put a {quotes} at its end"));
    Err(problem)
}

/// Whether a text in quotes has an escape whose backslash stands before `rest`.
pub fn is_escape(rest: &str) -> bool {
    escape(rest).is_some()
}

/// What the escape means whose backslash stands before `rest`, and how long both are.
fn escape(rest: &str) -> Option<(char, usize)> {
    let coded = |from: usize, digits: usize, radix: u32| {
        let code = rest.get(from..from + digits)?;
        let is_code = code.chars().all(|letter| letter.is_digit(radix));
        let code = is_code.then(|| u32::from_str_radix(code, radix).ok())??;
        Some((char::from_u32(code)?, 1 + from + digits))
    };
    let plain = match rest.chars().next()? {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        it @ ('\\' | '\'' | '"' | '`' | '?') => it,
        '0'..='3' => return coded(0, 3, 8),
        'x' | 'X' => return coded(1, 2, 16),
        'u' => return coded(1, 4, 16).or_else(|| halves(&rest[1..])),
        'U' => return coded(1, 8, 16),
        _ => return None,
    };
    Some((plain, 2))
}

/// Two halves of a character behind `\u`, as JSON writes them: four digits, `\u`, four digits.
fn halves(rest: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 4)?;
        let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        all_hex.then(|| u16::from_str_radix(digits, 16).ok())?
    };
    rest.get(4..6).filter(|it| *it == "\\u")?;
    let code = char::decode_utf16([unit(0)?, unit(6)?]).next()?.ok()?;
    Some((code, 12))
}

/// `start` is where the text in quotes begins.
fn unknown_escape(text: &str, start: usize, span: Range<usize>) -> ExprProblem {
    let mut end = span.end.min(text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let written = &text[start..start + quoted_length(&text[start..]).unwrap_or_default()];
    let raw = format!("r{}", written.replace(r"\\", r"\"));
    // A raw text cannot hold its own quote.
    let is_code = text[span.start + 1..].starts_with(['u', 'U', 'x', 'X']);
    let is_pattern = !is_code && !written.contains("\\'");
    let help = match is_pattern {
        true => format!("; in raw text, a backslash has no special meaning: `{raw}`"),
        false => String::new(),
    };
    let whole = format!("{}{raw}{}", &text[..start], &text[start + written.len()..]);
    let problem = ExprProblem::syntax(span.start..end, "not a supported escape")
        .help(format!(r"there are \\ \' \n \t \r and \uXXXX{help}"));
    ExprProblem { instead: is_pattern.then_some(whole), ..problem }
}
