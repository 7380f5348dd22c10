//! What in a text is a secret by its shape or by the name beside it, wherever it is.
//!
//! The table of the language knows the values of right files. These rules are for the rest: text
//! that cannot be read, values that no type calls secret, comments. They rather hide too much.

use crate::spanned::Span;
use regex::Regex;
use std::sync::LazyLock;

/// What a known key begins with, and whether no name of a right file begins so.
const KEY_PREFIXES: &[(&str, bool)] = &[
    ("gh[opsur]_", true),
    ("github_pat_", true),
    ("glpat-", true),
    ("xox[abeprs]-", true),
    ("[sr]k_(?:live|test)_", true),
    ("whsec_", true),
    ("AKIA", true),
    ("ASIA", true),
    ("AIza", true),
    (r"ya29\.", true),
    (r"SG\.", true),
    ("hf_", true),
    ("npm_", true),
    ("dop_v1_", true),
    ("shpat_", true),
    ("pypi-", true),
    ("sk-", true),
    // Short enough for a name of one's own.
    ("tk_", false),
];

/// Addresses that are as good as a password: what comes before the secret part.
const HOOKS: &str = concat!(
    r"(?i)\b(?:hooks\.slack\.com/(?:services|workflows|triggers)",
    r"|discord(?:app)?\.com/api/webhooks|maker\.ifttt\.com/trigger|api\.telegram\.org/bot)/?"
);
const NTFY_TOPIC: &str = r"(?i)\bntfy\.sh/([A-Za-z0-9_-]+)";
const PRIVATE_KEY: &str = r"-----BEGIN [A-Z ]*PRIVATE KEY-----([\s\S]*?)(?:-----END|\z)";

/// Keys that begin with a known prefix and have at least `rest` more characters.
fn keys(is_listed: impl Fn(&(&str, bool)) -> bool, rest: usize) -> String {
    let prefixes = KEY_PREFIXES.iter().filter(|prefix| is_listed(prefix)).map(|prefix| prefix.0);
    let prefixes = prefixes.collect::<Vec<_>>().join("|");
    format!(r"\b((?:{prefixes})[A-Za-z0-9_./+=-]{{{rest},}})")
}

fn compiled(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
}

/// Shapes of secrets. The first group that takes part is what is hidden.
static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    compiled(&[
        // `Authorization: Bearer …`.
        r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{6,})",
        // `scheme://user:password@host`.
        r#"://([^/?#\s"'@{}]+)@"#,
        &keys(|_| true, 6),
        r"\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?)",
        NTFY_TOPIC,
        &format!(r#"{HOOKS}([^\s"'?#]+)"#),
        concat!(
            r"(?i)[?&](?:[a-z0-9_-]*(?:token|secret|password|passwd|api_?key|auth|sig|signature)",
            // `${NAME}` is the name of a variable, not its value.
            r#"|key|pwd)=((?:[^&\s"'#{}$]|\$[^&\s"'#{}])[^&\s"'#{}]*)"#
        ),
        PRIVATE_KEY,
    ])
});

/// A run of letters and digits that nobody would choose as a name.
static RANDOM: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b[A-Za-z0-9_]{32,}\b").ok());

/// Names of values that are secrets.
const NAMES: [&str; 12] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "api-key",
    "bearer",
    "hmac",
    "authorization",
    "credential",
    "private-key",
];

/// The same where they are the whole name.
const WHOLE_NAMES: [&str; 5] = ["topic", "pass", "pwd", "cookie", "set-cookie"];

/// Whether a value of this name is a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    WHOLE_NAMES.contains(&name.as_str()) || NAMES.iter().any(|it| name.contains(it))
}

/// The same for a name that may be misspelt.
pub fn may_be_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    // The distance is worked out only for what can be one slip away: most names are not.
    let is_near = |text: &str| text.len().abs_diff(lower.len()) <= 1 && shares_an_end(text, &lower);
    let is_slip = |text: &str| {
        4 < text.len() && is_near(text) && strsim::damerau_levenshtein(text, &lower) == 1
    };
    is_secret_name(name)
        || (3 < lower.len()
            && lower.len() < 20
            && NAMES.iter().chain(&WHOLE_NAMES).any(|name| is_slip(name)))
}

/// Whether two words begin or end alike: one slip leaves the first or the last letter as it is.
fn shares_an_end(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    one.first() == other.first() || one.last() == other.last()
}

/// Shapes that no text of a right file has by chance. The first group that takes part is the
/// secret.
static SURE: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    compiled(&[
        r"(?i)^bearer\s+([A-Za-z0-9._~+/=-]{6,})$",
        // The password of `scheme://user:password@host`.
        r#"[a-z]://[^/?#\s"'@{}:]*:([^/?#\s"'@{}]+)@"#,
        &keys(|it| it.1, 12),
        r"\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)",
        NTFY_TOPIC,
        &format!(r#"{HOOKS}([^\s"'?#{{}}$]{{6,}})"#),
        PRIVATE_KEY,
    ])
});

/// Where a value of a right file has a literal secret, by its shape.
pub fn literal_secrets(text: &str) -> Vec<Span> {
    // Every shape has one of these, and most values have none.
    if !text.contains(['/', '_', '-', '.', ' ']) && !text.contains("A") {
        return Vec::new();
    }
    let found = SURE.iter().flat_map(|it| it.captures_iter(text));
    merged(found.filter_map(|it| it.get(1).map(|it| it.range())).collect())
}

/// Where something that looks like a secret is, in order and without overlap.
pub fn secrets_in(text: &str) -> Vec<Span> {
    let mut spans: Vec<Span> = SHAPES
        .iter()
        .flat_map(|shape| shape.captures_iter(text))
        .filter_map(|it| it.get(1).map(|it| it.range()))
        .collect();
    let random = RANDOM.iter().flat_map(|it| it.find_iter(text));
    let has_both = |it: &regex::Match<'_>| {
        let bytes = it.as_str().as_bytes();
        bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_alphabetic)
    };
    spans.extend(random.filter(has_both).map(|random| random.range()));
    merged(spans)
}

/// In order, what touches or overlaps joined.
pub(super) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.start < span.end);
    spans.sort_by_key(|span| (span.start, span.end));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// The text with `…` in the place of everything that looks like a secret.
pub fn without_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for span in secrets_in(text) {
        shown.push_str(&text[at..span.start]);
        shown.push('…');
        at = span.end;
    }
    shown.push_str(&text[at..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_shape() {
        for (text, shown) in [
            ("Authorization: Bearer abc.def-123", "Authorization: Bearer …"),
            ("basic QWxhZGRpbjpvcGVu", "basic …"),
            ("https://user:pa55@host:80/x", "https://…@host:80/x"),
            ("https://ntfy.sh/my-front-door?x=1", "https://ntfy.sh/…?x=1"),
            ("tk_0123456789abc and ghp_0123456789", "… and …"),
            ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/…"),
            ("https://api.telegram.org/bot123:ABC/send", "https://api.telegram.org/bot…"),
            ("http://h/x?key=${KEY}&sig=$2b$10", "http://h/x?key=${KEY}&sig=…"),
            ("http://h/x?access_token=abc&y=1&key=d", "http://h/x?access_token=…&y=1&key=…"),
            ("eyJhbGciOiJIUzI1.eyJzdWIi.c2ln", "…"),
            ("// left here: 0123456789abcdef0123456789abcdef", "// left here: …"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END",
                "-----BEGIN RSA PRIVATE KEY-----…-----END",
            ),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn every_shape_compiles_and_every_known_key_is_hidden() {
        assert_eq!((SHAPES.len(), SURE.len()), (8, 7), "a pattern does not compile");
        for (prefix, is_sure) in KEY_PREFIXES {
            let sample = prefix
                .replace("[opsur]", "p")
                .replace("[abeprs]", "b")
                .replace("[sr]", "s")
                .replace("(?:live|test)", "live")
                .replace('\\', "");
            let key = format!("{sample}0123456789abcdef");
            assert_eq!(without_secrets(&key), "…", "{prefix}");
            assert_eq!(!literal_secrets(&key).is_empty(), *is_sure, "{prefix}");
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        for text in [
            "http://127.0.0.1:8700/weather?lat={{ data.lat }}&day=1",
            "a bearer of news",
            "key \"event.subject\"",
            "https://ntfy.sh",
            "user@example.org",
            "pipelines/common/policies-of-the-whole-house.kdl",
            "a_very_long_name_without_a_single_digit_in_it",
        ] {
            assert_eq!(without_secrets(text), text);
        }
    }

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        for name in ["token", "X-Gitlab-Token", "API_KEY", "db-password", "Authorization", "topic"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["bearrer", "tokn", "topc", "secert", "pasword"] {
            assert!(may_be_secret_name(name) && !is_secret_name(name), "{name}");
        }
        assert!(!["header", "keep", "path", "to"].into_iter().any(may_be_secret_name));
        for name in ["key", "topics", "path", "x-signature", "keep", "subject"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
