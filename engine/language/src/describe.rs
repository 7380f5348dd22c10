//! What a value may be, in words, for the manual and for messages.

use super::table::Type;
use crate::expr::Roots;
use kernel::time::write_duration;

impl Type {
    /// What a value of this type is: `a duration from 10ms to 10m`.
    pub fn told(self) -> String {
        match self {
            Type::Ident => "a name: lower case letters, digits and dashes, a letter first".into(),
            Type::Ref => "the name of another node".into(),
            Type::Word(words) => format!("one of {}", quoted(words)),
            Type::Words(words) => {
                format!("one or more of {}, in one string with blanks between", quoted(words))
            }
            Type::Expr(roots) => format!("an expression{}", over(roots)),
            Type::Template(roots) | Type::OwnTemplate(roots) => {
                format!("a template{}", over(roots))
            }
            Type::Duration(least, most) => {
                format!("a duration from {} to {}", write_duration(least), write_duration(most))
            }
            Type::Bytes(least, most) => {
                format!("a size from {} to {}", write_bytes(least), write_bytes(most))
            }
            Type::Rate => "a rate such as `\"10/min\"`: a number per `s`, `min`, `h` or `d`".into(),
            Type::Path => "a path, relative to the file".into(),
            Type::Glob => "a pattern, in which `*` is any run of characters".into(),
            Type::Url => "a URL".into(),
            Type::Topic => "text, also from `(env)` or `(file)`; it is never printed".into(),
            Type::Secret => "a secret, best from `(env)` or `(file)`; it is never printed".into(),
            Type::Text => "text".into(),
            Type::Socket => "an address: `HOST:PORT`".into(),
            Type::Host => "a host: a name or an address, with or without `:PORT`".into(),
            Type::Bool => "`#true` or `#false`".into(),
            Type::Int(least, i64::MAX) => format!("a whole number, at least {least}"),
            Type::Int(least, most) => format!("a whole number from {least} to {most}"),
            Type::Number(least, most) => format!("a number from {least} to {most}"),
            Type::Field => "a dotted path such as `\"data.score\"`".into(),
            Type::Pointer => "a JSON pointer such as `\"/data/count\"`".into(),
            Type::Statuses => "statuses of HTTP such as `\"2xx 404\"`".into(),
            Type::Zone => "a time zone such as `\"Europe/Berlin\"`".into(),
            Type::Literal => "text of the file itself".into(),
            Type::Json => "JSON, as text of the file itself".into(),
            Type::Moment => "a time such as `\"2026-01-01T12:00:00Z\"`".into(),
            Type::Any => "text, a number, `#true` or `#false`".into(),
        }
    }

    /// Whether a value may come from outside the file, by `(env)` or `(file)`.
    pub fn takes_outside(self) -> bool {
        matches!(
            self,
            Type::Template(_)
                | Type::Path
                | Type::Url
                | Type::Secret
                | Type::Topic
                | Type::Text
                | Type::Socket
                | Type::Host
        )
    }

    /// Whether a value may come from a variable, by `(env)`, which is read with the file.
    pub fn takes_variable(self) -> bool {
        matches!(
            self,
            Type::Int(..)
                | Type::Number(..)
                | Type::Duration(..)
                | Type::Bytes(..)
                | Type::Rate
                | Type::Bool
        )
    }

    /// Whether `${NAME}` in a text is replaced.
    pub(super) fn takes_references(self) -> bool {
        matches!(
            self,
            Type::Template(_) | Type::Url | Type::Secret | Type::Topic | Type::Socket | Type::Host
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
    let words: Vec<String> = words.iter().map(|it| format!("`{it}`")).collect();
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
        let told = Type::Duration(Duration::from_millis(10), day * 30).told();
        assert_eq!(told, "a duration from 10ms to 30d");
        assert_eq!(Type::Bytes(1 << 10, 64 << 20).told(), "a size from 1KiB to 64MiB");
        assert_eq!(Type::Int(1, i64::MAX).told(), "a whole number, at least 1");
        assert_eq!(Type::Word(&["a", "b"]).told(), "one of `a` `b`");
    }
}
