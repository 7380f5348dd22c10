//! Reads a query: `name=value&name=value`.

use crate::http::wire::target::percent_decode;
use language::expr::{Expr, Roots};

/// Every pair, decoded, in order; `None` when something is not percent-encoded UTF-8.
pub fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let decode = |text: &str| String::from_utf8(percent_decode(text.as_bytes(), true)?).ok();
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

/// The first value of a name. What cannot be read has none: the row of the path has refused it.
pub fn value(query: &str, name: &str) -> Option<String> {
    pairs(query)?.into_iter().find(|pair| pair.0 == name).map(|pair| pair.1)
}

/// A part of a path without its percent-encoding; `None` when it is not encoded UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    String::from_utf8(percent_decode(text.as_bytes(), false)?).ok()
}

/// The expression of a `where`; the error says every mistake in it.
pub fn condition(text: &str) -> Result<Expr, String> {
    Expr::parse(text, Roots::EVENT).map_err(|problems| {
        let told = problems.iter().map(|problem| {
            let at = text.get(..problem.span.start).map_or(0, |before| before.chars().count()) + 1;
            let help = problem.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            format!("`where`, character {at}: {}{help}", problem.message)
        });
        told.collect::<Vec<_>>().join("; ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_broken_escapes_refused() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("type=A%26B&x&source=front+door&type=%C3%A9"),
            Some(vec![
                pair("type", "A&B"),
                pair("x", ""),
                pair("source", "front door"),
                pair("type", "é")
            ])
        );
        assert_eq!(pairs("a=%4"), None);
        assert_eq!(pairs("a=%ff"), None);
    }
}
