//! What a value may be, in words, for the manual and for messages.

use super::table::ValueKind;
use crate::expr::Roots;
use kernel::time::write_duration;

impl ValueKind {
    /// What a value of this type is: `a duration from 10ms to 10m`.
    pub fn told(self) -> String {
        match self {
            ValueKind::Ident => {
                "a name: lower case letters, digits and dashes, a letter first".into()
            }
            ValueKind::Ref => "the name of another node".into(),
            ValueKind::Word(words) => format!("one of {}", quoted(words)),
            ValueKind::Words(words) => {
                format!("one or more of {}, in one string, separated by spaces", quoted(words))
            }
            ValueKind::Expr(roots) => format!("an expression{}", over(roots)),
            ValueKind::Template(roots) | ValueKind::OwnTemplate(roots) => {
                format!("a template{}", over(roots))
            }
            ValueKind::Duration(least, most) => {
                format!("a duration from {} to {}", write_duration(least), write_duration(most))
            }
            ValueKind::Bytes(least, most) => {
                format!("a size from {} to {}", write_bytes(least), write_bytes(most))
            }
            ValueKind::Rate => {
                "a rate such as `\"10/min\"`: a number per `s`, `min`, `h` or `d`".into()
            }
            ValueKind::Path => "a path, relative to the file".into(),
            ValueKind::Glob => "a pattern, in which `*` is any run of characters".into(),
            ValueKind::Url => "a URL".into(),
            ValueKind::UrlTemplate(roots) => {
                format!("a URL whose path and query may be a template{}", over(roots))
            }
            ValueKind::BrokerUrl => "the URL of a broker".into(),
            ValueKind::Topic => "text, also from `(env)` or `(file)`; it is never printed".into(),
            ValueKind::Secret => {
                "a secret, best from `(env)` or `(file)`; it is never printed".into()
            }
            ValueKind::Text => "text".into(),
            ValueKind::Socket => "an address: `HOST:PORT`".into(),
            ValueKind::Host => "a host: a name or an address, with or without `:PORT`".into(),
            ValueKind::Bool => "`#true` or `#false`".into(),
            ValueKind::Int(least, i64::MAX) => format!("a whole number, at least {least}"),
            ValueKind::Int(least, most) => format!("a whole number from {least} to {most}"),
            ValueKind::Number(least, most) => format!("a number from {least} to {most}"),
            ValueKind::Field => "a dotted path such as `\"data.score\"`".into(),
            ValueKind::Addition => "a dotted path below `enrich` such as `\"person.name\"`".into(),
            ValueKind::Pointer => "a JSON pointer such as `\"/data/count\"`".into(),
            ValueKind::Statuses => "statuses of HTTP such as `\"2xx 404\"`".into(),
            ValueKind::Zone => "a time zone such as `\"Europe/Berlin\"`".into(),
            ValueKind::Literal => "text of the file itself".into(),
            ValueKind::Json => "JSON, as text of the file itself".into(),
            ValueKind::Hours => "hours such as `\"22:00-07:00\"`".into(),
            ValueKind::Days => "days such as `\"mon-fri\"`".into(),
            ValueKind::Moment => "a time such as `\"2026-01-01T12:00:00Z\"`".into(),
            ValueKind::Any => "text, a number, `#true` or `#false`".into(),
        }
    }

    /// What a template may begin its paths with, where a value is one.
    pub fn template_roots(self) -> Option<Roots> {
        match self {
            ValueKind::Template(roots)
            | ValueKind::OwnTemplate(roots)
            | ValueKind::UrlTemplate(roots) => Some(roots),
            _ => None,
        }
    }

    /// Whether a value may come from outside the file, by `(env)` or `(file)`.
    pub fn takes_outside(self) -> bool {
        matches!(
            self,
            ValueKind::Template(_)
                | ValueKind::Path
                | ValueKind::Url
                | ValueKind::UrlTemplate(_)
                | ValueKind::BrokerUrl
                | ValueKind::Secret
                | ValueKind::Topic
                | ValueKind::Text
                | ValueKind::Socket
                | ValueKind::Host
        )
    }

    /// Whether a value may come from a variable, by `(env)`, which is read with the file.
    pub fn takes_variable(self) -> bool {
        matches!(
            self,
            ValueKind::Int(..)
                | ValueKind::Number(..)
                | ValueKind::Duration(..)
                | ValueKind::Bytes(..)
                | ValueKind::Rate
                | ValueKind::Bool
        )
    }

    /// Whether `${NAME}` in a text is replaced.
    pub(super) fn takes_references(self) -> bool {
        matches!(
            self,
            ValueKind::Template(_)
                | ValueKind::Url
                | ValueKind::UrlTemplate(_)
                | ValueKind::BrokerUrl
                | ValueKind::Secret
                | ValueKind::Topic
                | ValueKind::Socket
                | ValueKind::Host
        )
    }
}

/// What a path may begin with, where it is not what it is nearly everywhere.
fn over(roots: Roots) -> String {
    if roots == Roots::EVENT || roots.names().is_empty() {
        return String::new();
    }
    format!(" over {}", quoted(&roots.names()))
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(" ")
}

/// A size as the file would write it: `256KiB`.
pub fn write_bytes(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if size <= bytes && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bounds_are_told_as_they_would_be_written() {
        let day = Duration::from_secs(86_400);
        let told = ValueKind::Duration(Duration::from_millis(10), day * 30).told();
        assert_eq!(told, "a duration from 10ms to 30d");
        assert_eq!(ValueKind::Bytes(1 << 10, 64 << 20).told(), "a size from 1KiB to 64MiB");
        assert_eq!(ValueKind::Int(1, i64::MAX).told(), "a whole number, at least 1");
        assert_eq!(ValueKind::Word(&["a", "b"]).told(), "one of `a` `b`");
    }
}
