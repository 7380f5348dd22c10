//! Lines of `key=value` pairs: `level=info msg="it \"works\"" ready`.

use serde_json::{Map, Value};

/// The pairs of a line. A key without a value is `true`; of a key that comes twice, the last
/// value counts.
pub(super) fn read(line: &str) -> Result<Map<String, Value>, String> {
    let (mut pairs, mut has_value) = (Map::new(), false);
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|letter: char| letter.is_whitespace() || matches!(letter, '=' | '"'));
        let (key, behind) = rest.split_at(end.unwrap_or(rest.len()));
        if key.is_empty() || behind.starts_with('"') {
            return Err(format!("not a `key=value` pair: `{}`", super::shown(rest)));
        }
        let (value, behind) = match behind.strip_prefix('=') {
            None => (Value::Bool(true), behind),
            Some(value) => {
                has_value = true;
                let (text, behind) = value_of(value)?;
                (Value::String(text), behind)
            }
        };
        pairs.insert(key.to_owned(), value);
        rest = behind.trim_start();
    }
    match has_value {
        true => Ok(pairs),
        false => Err("no `key=value` pair in the line".to_owned()),
    }
}

/// A value and what is behind it.
fn value_of(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let Some(at) = rest.find(['"', '\\']) else {
            return Err("a quote is not closed in the line".to_owned());
        };
        value.push_str(&rest[..at]);
        if rest[at..].starts_with('"') {
            rest = &rest[at + 1..];
            break;
        }
        rest = unescaped(&rest[at + 1..], &mut value)?;
    }
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(format!("text directly after a quote: `{}`", super::shown(rest)));
    }
    Ok((value, rest))
}

/// The letter whose code follows `\u`, and what is behind it. As in JSON, a letter beyond the
/// first 65,536 is written as two codes, a pair of surrogates.
fn by_code(text: &str) -> Option<(char, &str)> {
    let (first, behind) = unit(text)?;
    if let Some(letter) = char::from_u32(u32::from(first)) {
        return Some((letter, behind));
    }
    let (second, behind) = unit(behind.strip_prefix("\\u")?)?;
    let letter = char::decode_utf16([first, second]).next()?.ok()?;
    Some((letter, behind))
}

/// Four hexadecimal digits, and what is behind them.
fn unit(text: &str) -> Option<(u16, &str)> {
    let (digits, behind) = text.split_at_checked(4)?;
    let is_code = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_code.then(|| u16::from_str_radix(digits, 16).ok()).flatten().map(|unit| (unit, behind))
}

/// Reads what follows a backslash; what is behind it.
fn unescaped<'t>(text: &'t str, value: &mut String) -> Result<&'t str, String> {
    let Some(escaped) = text.chars().next() else {
        return Err("a quote is not closed in the line".to_owned());
    };
    let behind = &text[escaped.len_utf8()..];
    let letter = match escaped {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '"' | '\\' | '/' => escaped,
        'u' => {
            let Some((letter, behind)) = by_code(behind) else {
                value.push_str("\\u");
                return Ok(behind);
            };
            value.push(letter);
            return Ok(behind);
        }
        // What is no escape stays as it is: Windows paths are often written without.
        other => {
            value.push('\\');
            other
        }
    };
    value.push(letter);
    Ok(behind)
}
