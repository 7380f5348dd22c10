//! The paths of the router with their methods, for answers about wrong ones.

const READ: &[&str] = &["GET", "HEAD", "OPTIONS"];

/// Every path of the router with its methods. A part that begins with `:` is any text, `*` any
/// further parts.
const PATHS: &[(&str, &[&str])] = &[
    ("/", READ),
    ("/healthz", READ),
    ("/readyz", READ),
    ("/metrics", READ),
    ("/api/page/app.js", READ),
    ("/api/page/style.css", READ),
    ("/api/events", READ),
    ("/api/events/*id", READ),
    ("/api/stats", READ),
    ("/api/series", READ),
    ("/api/notifications", READ),
    ("/api/pipeline", READ),
    ("/api/pipeline/file", READ),
    ("/api/reloads", READ),
    ("/api/reload", &["POST", "OPTIONS"]),
    ("/api/audit", READ),
    ("/api/dead-letters", READ),
    ("/api/dead-letters/redrive", &["POST", "OPTIONS"]),
    ("/api/dead-letters/:id", &["GET", "HEAD", "DELETE", "OPTIONS"]),
];

/// The methods that the router takes at a path; `None` where there is nothing.
pub(super) fn methods_of(path: &str) -> Option<&'static [&'static str]> {
    let fits = |row: &str| {
        let mut parts = path.split('/');
        for wanted in row.split('/') {
            match (wanted.as_bytes().first(), parts.next()) {
                (Some(b'*'), Some(part)) => return !part.is_empty() || parts.next().is_some(),
                (Some(b':'), Some(part)) if !part.is_empty() => {}
                (_, Some(part)) if part == wanted => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    };
    PATHS.iter().find(|it| fits(it.0)).map(|it| it.1)
}

/// Every path of the router that has no changing part and is of use to somebody.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let is_useful = |it: &&str| !it.contains([':', '*']) && !it.starts_with("/api/page/");
    PATHS.iter().map(|it| it.0).filter(is_useful)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_methods_of_its_row() {
        for (path, methods) in [
            ("/", Some("GET, HEAD, OPTIONS")),
            ("/api/events", Some("GET, HEAD, OPTIONS")),
            ("/api/events/a", Some("GET, HEAD, OPTIONS")),
            ("/api/events/a/b", Some("GET, HEAD, OPTIONS")),
            ("/api/events//a", Some("GET, HEAD, OPTIONS")),
            ("/api/events/", None),
            ("/api/dead-letters/redrive", Some("POST, OPTIONS")),
            ("/api/dead-letters/7", Some("GET, HEAD, DELETE, OPTIONS")),
            ("/api/dead-letters/", None),
            ("/api/dead-letters/7/8", None),
            ("/api", None),
            ("", None),
            ("//", None),
        ] {
            let found = methods_of(path).map(|it| it.join(", "));
            assert_eq!(found.as_deref(), methods, "{path}");
        }
    }
}
