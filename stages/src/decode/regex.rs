//! Lines by a pattern: its named groups are the fields.

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// The largest compiled pattern, in bytes.
const REGEX_MAX: usize = 1 << 20;

/// A pattern with named groups. Equal when the text is.
#[derive(Debug, Clone)]
pub(super) struct LinePattern {
    regex: Regex,
}

/// What is wrong with a pattern.
pub(super) struct PatternFault {
    pub(super) is_too_large: bool,
    pub(super) message: String,
    pub(super) label: &'static str,
    pub(super) help: &'static str,
}

impl PartialEq for LinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl LinePattern {
    pub(super) fn new(pattern: &str) -> Result<LinePattern, PatternFault> {
        let regex = match RegexBuilder::new(pattern).size_limit(REGEX_MAX).build() {
            Ok(regex) => regex,
            Err(regex::Error::CompiledTooBig(_)) => {
                return Err(PatternFault {
                    is_too_large: true,
                    message: format!(
                        "the pattern is larger than {} KiB when compiled",
                        REGEX_MAX >> 10
                    ),
                    label: "too large",
                    help: r"`\w` and `\d` match every script; `[A-Za-z0-9_]` and `[0-9]` are much smaller",
                });
            }
            Err(fault) => {
                let full = fault.to_string();
                let reason = full.lines().last().unwrap_or_default();
                let reason = reason.trim_start_matches("error: ");
                return Err(PatternFault {
                    is_too_large: false,
                    message: format!("this is not a valid pattern: {reason}"),
                    label: "cannot be compiled",
                    help: "put a backslash before a character that has a special meaning",
                });
            }
        };
        let pattern = LinePattern { regex };
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
        self.regex.capture_names().flatten().collect()
    }

    /// The groups of a line; null for one that takes no part.
    pub(super) fn read(&self, line: &str) -> Result<Map<String, Value>, String> {
        let Some(found) = self.regex.captures(line) else {
            return Err("the line does not match the pattern".to_owned());
        };
        let value = |name: &str| match found.name(name) {
            Some(text) => Value::String(text.as_str().to_owned()),
            None => Value::Null,
        };
        Ok(self.names().into_iter().map(|it| (it.to_owned(), value(it))).collect())
    }
}
