//! The paths of the router: their methods, for answers about wrong ones, and what they are for, for
//! the description that programs read.

use crate::http::query;
use language::nearest;

const READ: &[&str] = &["GET", "HEAD", "OPTIONS"];

/// A path of the router.
pub(super) struct PathRow {
    /// A part that begins with `:` is any text, `*` any further parts.
    pub(super) path: &'static str,
    pub(super) methods: &'static [&'static str],
    /// What it is for; empty for files of the page, which are of use to nobody else.
    pub(super) summary: &'static str,
    /// Parameters of its query.
    pub(super) parameters: &'static [PathParameter],
    /// The type of its content.
    pub(super) content: &'static str,
}

/// A parameter of a query.
pub(super) struct PathParameter {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    /// Whether it may be given several times.
    pub(super) is_list: bool,
}

const fn one(name: &'static str, says: &'static str) -> PathParameter {
    PathParameter { name, says, is_list: false }
}

const fn any_of(name: &'static str, says: &'static str) -> PathParameter {
    PathParameter { name, says, is_list: true }
}

const SINCE: PathParameter = one("since", "from this time on: RFC 3339, or `-1h` for an hour ago");
const UNTIL: PathParameter = one("until", "up to this time");
const LIMIT: PathParameter = one("limit", "at most this many rows, 1 to 1000; default 100");
const CURSOR: PathParameter = one("cursor", "the `next` of the previous page");

pub(super) const EVENTS: &[PathParameter] = &[
    any_of("type", "only events of this type"),
    any_of("source", "only events from this source"),
    any_of("priority", "only events of this priority: low, normal, high or critical"),
    any_of("subject", "only events about this subject"),
    any_of("correlation_id", "only events with this correlation id"),
    SINCE,
    UNTIL,
    one("where", "only events for which this expression is true"),
    one(
        "q",
        "words that all occur in texts, `\"a phrase\"`, `begin*`, `-without`; needs `search` of the store",
    ),
    one("order", "`desc`, the newest first, or `asc`"),
    one("count", "`true` adds how many there are, exact up to 10,000"),
    LIMIT,
    CURSOR,
];

pub(super) const STREAM: &[PathParameter] = &[
    any_of("type", "only events of this type"),
    any_of("source", "only events from this source"),
    any_of("priority", "only events of this priority: low, normal, high or critical"),
    any_of("where", "only events for which this expression is true"),
    one("replay", "start with this many of the newest events, at most 200"),
    one("last_event_id", "continue after the event with this number"),
];

pub(super) const SERIES: &[PathParameter] = &[
    one("bucket", "`1m` or `5m` (of the last 48 hours), `1h` or `1d`"),
    one("by", "type, source, priority, outcome or stage"),
    SINCE,
    UNTIL,
];

pub(super) const NOTIFICATIONS: &[PathParameter] = &[
    any_of("notifier", "only those of this notifier"),
    one("state", "pending, held, done, dead, parked or suppressed"),
    SINCE,
    LIMIT,
    CURSOR,
];

pub(super) const TAP: &[PathParameter] = &[
    one("stage", "the name of the stage"),
    one("at", "`in`, before the stage, or `out`, after it; default `out`"),
];

const LETTERS: &[PathParameter] = &[
    one("what", "rejected, event or delivery"),
    one("stage", "only letters of this stage"),
    one("source", "only letters of events from this source"),
    one("class", "only dead letters with this class of fault"),
    one("event_id", "only letters of the event with this id"),
    SINCE,
    UNTIL,
    LIMIT,
    one("before", "the `next` of the previous page"),
];

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";

const fn row(
    path: &'static str,
    methods: &'static [&'static str],
    content: &'static str,
    summary: &'static str,
    parameters: &'static [PathParameter],
) -> PathRow {
    PathRow { path, methods, summary, parameters, content }
}

/// Every path of the router.
pub(super) const PATHS: &[PathRow] = &[
    row("/", READ, "text/html", "The page", &[]),
    row("/healthz", READ, TEXT, "Whether the process answers", &[]),
    row("/readyz", READ, JSON, "Whether the engine accepts events, and what is not working", &[]),
    row("/metrics", READ, TEXT, "Metrics in the format of Prometheus", &[]),
    row("/openapi.json", READ, JSON, "This description", &[]),
    row("/api/page/:file", READ, "text/javascript", "", &[]),
    row("/api/events", READ, JSON, "Stored events", EVENTS),
    row(
        "/api/stream",
        READ,
        "text/event-stream",
        "Stored events as they become visible; events that arrive at the same time are sent together",
        STREAM,
    ),
    row(
        "/api/events/*id",
        READ,
        JSON,
        "One event with its stages, deliveries and attempts, whether stored, pending or dead",
        &[one("source", "the event's source, if several sources use this id")],
    ),
    row(
        "/api/stats",
        READ,
        JSON,
        "Totals of the last days, latencies of stages, and the size of the store",
        &[one("days", "how many days back, 1 to 36500; default 7")],
    ),
    row("/api/series", READ, JSON, "Counts over time, and percentiles of times", SERIES),
    row(
        "/api/notifications",
        READ,
        JSON,
        "What notifiers sent, held back or failed to send",
        NOTIFICATIONS,
    ),
    row(
        "/api/notifications/test",
        &["POST", "OPTIONS"],
        JSON,
        "Sends a test message through the `notifier` that the body names",
        &[],
    ),
    row("/api/pipeline", READ, JSON, "The running plan, and the state of each part", &[]),
    row(
        "/api/figures",
        READ,
        JSON,
        "Counts since the start, and how much is waiting, from memory",
        &[],
    ),
    row(
        "/api/storage",
        READ,
        JSON,
        "What is stored, how old it is, and when the store will be full",
        &[],
    ),
    row("/api/pipeline/graph", READ, JSON, "The stage graph with a place for each box", &[]),
    row(
        "/api/pipeline/file",
        READ,
        TEXT,
        "The effective file, secrets masked",
        &[one("generation", "an earlier generation, one of the last 20 of this process")],
    ),
    row("/api/retention", READ, JSON, "What the next sweep deletes, by rule", &[]),
    row(
        "/api/retention/*id",
        READ,
        JSON,
        "Which rule keeps a stored event, until when, and what holds it back",
        &[one("source", "the event's source, if several sources use this id")],
    ),
    row("/api/reloads", READ, JSON, "Starts and reloads, the newest first", &[]),
    row(
        "/api/reload",
        &["POST", "OPTIONS"],
        JSON,
        "Reads the file on disk now, and reloads it if it has changed",
        &[],
    ),
    row(
        "/api/pause",
        &["POST", "OPTIONS"],
        JSON,
        "Pauses the sink or notifier `name` of the body, for the duration `for` or until it is resumed",
        &[],
    ),
    row(
        "/api/resume",
        &["POST", "OPTIONS"],
        JSON,
        "Resumes the sink or notifier `name` of the body",
        &[],
    ),
    row(
        "/api/session",
        &["POST", "DELETE", "OPTIONS"],
        JSON,
        "Signs a browser in with the token of the request; DELETE signs it out",
        &[],
    ),
    row("/api/tap", READ, "text/event-stream", "Events as they pass a stage", TAP),
    row(
        "/api/audit",
        READ,
        JSON,
        "What was redriven, dropped, paused or resumed, when, and with which token",
        &[],
    ),
    row("/api/dead-letters", READ, JSON, "Dead letters, the newest first", LETTERS),
    row(
        "/api/dead-letters/redrive",
        &["POST", "OPTIONS"],
        JSON,
        "Redrives dead letters; with `dry_run` it only lists them",
        &[],
    ),
    row(
        "/api/dead-letters/:id",
        &["GET", "HEAD", "DELETE", "OPTIONS"],
        JSON,
        "One dead letter; DELETE drops it",
        &[],
    ),
];

/// The methods that the router takes at a path; `None` where there is nothing.
pub(super) fn methods_of(path: &str) -> Option<&'static [&'static str]> {
    row_of(path).map(|row| row.methods)
}

/// Paths that take any query: browsers and probes call them with what others put there.
const ANY_QUERY: [&str; 5] = ["/", "/healthz", "/readyz", "/metrics", "/api/page/:file"];

/// Refuses a query with a parameter that the path does not have, or that is given twice.
pub(super) fn check_query(path: &str, query: &str) -> Result<(), String> {
    match row_of(path) {
        Some(row) if !ANY_QUERY.contains(&row.path) => check_parameters(row.parameters, query),
        _ => Ok(()),
    }
}

/// The same for a path with these parameters.
pub(super) fn check_parameters(known: &[PathParameter], query: &str) -> Result<(), String> {
    let pairs = query::pairs(query).ok_or("the query is not percent-encoded text")?;
    let mut seen: Vec<&str> = Vec::new();
    for (name, _) in &pairs {
        let Some(parameter) = known.iter().find(|known| known.name == name) else {
            return Err(unknown_parameter(name, known));
        };
        if !parameter.is_list && seen.contains(&parameter.name) {
            return Err(format!("`{name}` is given twice; give it once"));
        }
        seen.push(parameter.name);
    }
    Ok(())
}

/// What is said of a parameter that a path does not have.
pub(super) fn unknown_parameter(name: &str, known: &[PathParameter]) -> String {
    let names: Vec<&str> = known.iter().map(|known| known.name).collect();
    match (nearest(name, names.iter().copied()), &*names) {
        (Some(meant), _) => format!("`{name}` is not a parameter; did you mean `{meant}`?"),
        (None, []) => format!("`{name}` is not a parameter; this path has none"),
        (None, [only]) => format!("`{name}` is not a parameter; the only one is {only}"),
        (None, [names @ .., last]) => {
            let names = names.join(", ");
            format!("`{name}` is not a parameter; the parameters are {names} and {last}")
        }
    }
}

fn row_of(path: &str) -> Option<&'static PathRow> {
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
    PATHS.iter().find(|row| fits(row.path))
}

/// Every path of the router that has no changing part and is of use to somebody.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let useful = PATHS.iter().filter(|path| !path.summary.is_empty());
    useful.map(|it| it.path).filter(|path| !path.contains([':', '*']))
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

    #[test]
    fn a_query_has_what_its_path_knows_and_nothing_twice() {
        for (path, query, told) in [
            ("/api/audit", "", ""),
            ("/api/audit", "x=1", "`x` is not a parameter; this path has none"),
            ("/api/retention", "x=1", "`x` is not a parameter; this path has none"),
            ("/api/dead-letters/7", "x", "`x` is not a parameter; this path has none"),
            ("/api/events/a/b", "x=1", "`x` is not a parameter; the only one is source"),
            ("/api/tap", "x=1", "`x` is not a parameter; the parameters are stage and at"),
            ("/api/events", "typ=ring", "`typ` is not a parameter; did you mean `type`?"),
            ("/api/events", "type=a&type=b&limit=1", ""),
            ("/api/events", "limit=1&limit=2", "`limit` is given twice; give it once"),
            ("/api/events", "limit=%f", "the query is not percent-encoded text"),
            ("/metrics", "x=1&x=2", ""),
            ("/healthz", "x", ""),
            ("/readyz", "x", ""),
            ("/", "x", ""),
        ] {
            let found = check_query(path, query).err().unwrap_or_default();
            assert_eq!(found, told, "{path}?{query}");
        }
    }
}
