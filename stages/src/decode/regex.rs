//! Lines by a pattern: its named groups are the fields.

use language::expr::pattern_help;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// The largest compiled pattern, in bytes.
const REGEX_MAX: usize = 1 << 20;

/// A pattern within the limit. Equal when the text is.
#[derive(Debug, Clone)]
pub(crate) struct CompiledPattern(Regex);

/// A pattern with named groups.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LinePattern(CompiledPattern);

/// What is wrong with a pattern.
pub(super) struct PatternFault {
    pub(super) is_too_large: bool,
    pub(super) message: String,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
}

impl PartialEq for CompiledPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl CompiledPattern {
    pub(super) fn new(pattern: &str) -> Result<CompiledPattern, PatternFault> {
        match RegexBuilder::new(pattern).size_limit(REGEX_MAX).build() {
            Ok(regex) => Ok(CompiledPattern(regex)),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternFault {
                is_too_large: true,
                message: format!(
                    "the pattern is larger than {} KiB when compiled",
                    REGEX_MAX >> 10
                ),
                label: "too large",
                help: r"`\w` and `\d` match every script; `[A-Za-z0-9_]` and `[0-9]` are much smaller",
            }),
            Err(fault) => {
                let full = fault.to_string();
                let reason = full.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                Err(PatternFault {
                    is_too_large: false,
                    message: format!("this is not a valid pattern: {reason}"),
                    label: "cannot be compiled",
                    help: pattern_help(reason),
                })
            }
        }
    }

    /// Whether it is found in `text`.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl LinePattern {
    pub(super) fn new(pattern: CompiledPattern) -> Result<LinePattern, PatternFault> {
        let pattern = LinePattern(pattern);
        if pattern.names().is_empty() {
            return Err(PatternFault {
                is_too_large: false,
                message: "the pattern names no fields".to_owned(),
                label: "no named group",
                help: "name the groups that are to be fields: `(?<status>[0-9]+)`",
            });
        }
        Ok(pattern)
    }

    /// The names of its groups, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.0.capture_names().flatten().collect()
    }

    /// The groups of a line; null for one that takes no part.
    pub(super) fn read(&self, line: &str) -> Result<Map<String, Value>, String> {
        let Some(found) = self.0.0.captures(line) else {
            return Err("the line does not match the pattern".to_owned());
        };
        let value = |name: &str| match found.name(name) {
            Some(text) => Value::String(text.as_str().to_owned()),
            None => Value::Null,
        };
        Ok(self.names().into_iter().map(|name| (name.to_owned(), value(name))).collect())
    }
}
