//! Comma-separated values by RFC 4180, one record a line; the comma may be another character.
//!
//! Not by the crate that reads table files: that one takes any quote for one, and drops a byte order
//! mark, but here each line has to say whether it is a record.

use serde_json::{Map, Value};

/// The values of a line under the names of its columns.
pub(super) fn read(
    line: &str,
    columns: &[String],
    separator: char,
) -> Result<Map<String, Value>, String> {
    let found = values(line, separator)?;
    if found.len() != columns.len() {
        let (count, s) = (found.len(), if found.len() == 1 { "" } else { "s" });
        let advice = other_separator(line, columns.len()).unwrap_or_default();
        return Err(format!("{count} value{s} in the line, {} columns{advice}", columns.len()));
    }
    let values = found;
    Ok(columns.iter().cloned().zip(values.into_iter().map(Value::String)).collect())
}

/// What to write where the line is a record with another common separator.
fn other_separator(line: &str, columns: usize) -> Option<String> {
    let fits = |separator: &char| values(line, *separator).is_ok_and(|it| it.len() == columns);
    let separator = [',', ';', '\t', '|'].into_iter().filter(|_| 1 < columns).find(fits)?;
    let written = separator.escape_default();
    Some(format!("; for this separator, write `separator \"{written}\"` in `decode`"))
}

fn values(line: &str, separator: char) -> Result<Vec<String>, String> {
    let (mut values, mut rest) = (Vec::new(), line);
    loop {
        let (value, behind) = match rest.strip_prefix('"') {
            Some(text) => quoted(text).ok_or("a quote is not closed in the line")?,
            None => {
                let end = rest.find([separator, '"']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        values.push(value);
        match behind.strip_prefix(separator) {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(values),
            None => return Err("a quote inside of a value".to_owned()),
        }
    }
}

/// A value in quotes, behind the first of them, and what is behind the last.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (part, behind) = rest.split_once('"')?;
        value.push_str(part);
        match behind.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Some((value, behind)),
        }
    }
}
