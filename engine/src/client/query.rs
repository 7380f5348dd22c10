//! Writes paths and queries of requests.

use language::expr::percent_encoded;

/// A path with a query, written pair by pair.
#[derive(Debug, Clone)]
pub(crate) struct RequestPath {
    text: String,
    has_query: bool,
}

impl RequestPath {
    /// From a path of ours.
    pub(crate) fn new(path: &str) -> Self {
        RequestPath { text: path.to_owned(), has_query: false }
    }

    /// With one more pair.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self.text.push('=');
        self.text.push_str(&percent_encoded(value));
        self
    }

    /// With a pair for each of the values.
    #[must_use]
    pub(crate) fn with_all<T: AsRef<str>>(self, name: &str, values: &[T]) -> Self {
        values.iter().fold(self, |path, value| path.with(name, value.as_ref()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::query;

    #[test]
    fn what_is_written_is_what_the_engine_reads() {
        let text = "a/b ?#&=+%é\u{1b}\n";
        let path = RequestPath::new("/api/events").with("type", text).with_all("id", &["", "x"]);
        let query = path.as_str().strip_prefix("/api/events?").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = vec![pair("type", text), pair("id", ""), pair("id", "x")];
        assert_eq!(query::pairs(query), Some(expected));
        assert_eq!(query::decoded(&percent_encoded(text)).as_deref(), Some(text));
    }
}
