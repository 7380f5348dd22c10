//! Comma-separated values by RFC 4180, one record a line.
//!
//! Not by the crate that reads table files: that one takes any quote for one, and drops a byte order
//! mark, but here each line has to say whether it is a record.

use serde_json::{Map, Value};

/// The values of a line under the names of its columns.
pub(super) fn read(line: &str, columns: &[String]) -> Result<Map<String, Value>, String> {
    let values = values(line)?;
    if values.len() != columns.len() {
        return Err(format!("{} values in the line, {} columns", values.len(), columns.len()));
    }
    Ok(columns.iter().cloned().zip(values.into_iter().map(Value::String)).collect())
}

fn values(line: &str) -> Result<Vec<String>, String> {
    let (mut values, mut rest) = (Vec::new(), line);
    loop {
        let (value, behind) = match rest.strip_prefix('"') {
            Some(text) => quoted(text).ok_or("a quote is not closed in the line")?,
            None => {
                let end = rest.find([',', '"']).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        values.push(value);
        match behind.strip_prefix(',') {
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
