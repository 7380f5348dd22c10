//! The door for machines: methods, bodies, limits, and answers that say what to do.

use super::{metric, pipeline, rows};
use crate::support::{Engine, Reply, send};
use serde_json::Value;
use std::path::Path;

fn start(folder: &Path) -> Engine {
    let text = r#"
pipeline small schema-version=1
server {
    max-body "4KiB"
}
limits {
    max-event-size "2KiB"
}
source http front {
    path "/events"
    map {
        type "data.type"
    }
}
source http button {
    path "/button"
    method GET PUT POST
    map {
        type "http.query('type') ?? 'press'"
    }
}
source http old {
    path "/old"
    accept json text
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
sink sse live {
    path "/live"
    max-clients 1
}
"#;
    Engine::start(&pipeline(folder, text), &folder.join("data"), &[])
}

const JSON: &str = "Content-Type: application/json\r\n";

fn post(engine: &Engine, path: &str, fields: &str, body: &[u8]) -> Reply {
    send(&engine.address, "POST", path, fields, body)
}

#[track_caller]
fn refused(reply: &Reply, status: u16, told: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let problem: Value = serde_json::from_slice(&reply.body).expect("a problem is JSON");
    let detail = problem["detail"].as_str().expect("a problem has a detail");
    assert!(detail.contains(told), "{detail}");
}

#[test]
fn every_limit_names_its_value_and_the_setting_that_changes_it() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let event = |size: usize| format!(r#"{{"type":"a","x":"{}"}}"#, "x".repeat(size));
    let large = post(&engine, "/events", JSON, event(5000).as_bytes());
    refused(&large, 413, "larger than 4KiB; write `server { max-body \"…\" }`");
    let medium = post(&engine, "/events", JSON, event(3000).as_bytes());
    refused(&medium, 413, "more than 2KiB; write `limits { max-event-size \"…\" }`");
    let many = format!("[{}1]", "1,".repeat(1000));
    let many = post(&engine, "/events", JSON, many.as_bytes());
    refused(&many, 413, "more than 1000 events in one request; send them in parts");
    let long = format!("/{}", "a".repeat(9000));
    refused(&post(&engine, &long, JSON, b"{}"), 414, "longer than 8KiB");
    let fields = format!("X: {}\r\n", "y".repeat(17_000));
    refused(&post(&engine, "/events", &fields, b"{}"), 431, "longer than 16KiB");
    let fields = "X: y\r\n".repeat(120);
    refused(&post(&engine, "/events", &fields, b"{}"), 431, "more than 100 header fields");
    let first = super::stream::Stream::open(&engine.address, "/live", None);
    let second = send(&engine.address, "GET", "/live", "", b"");
    refused(&second, 503, "write a larger `max-clients` in its sink");
    assert!(second.head.contains("retry-after: "), "{}", second.head);
    drop(first);
    let letters = post(&engine, "/api/dead-letters/redrive", JSON, &[b' '; 70_000]);
    refused(&letters, 413, "larger than 64KiB");
}

#[test]
fn a_body_that_is_not_json_is_named_for_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let utf_16: Vec<u8> = "{\"a\": 1}".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (body, told) in [
        (&b"\x1f\x8b\x08\0\0\0"[..], "not JSON: it is compressed with gzip"),
        (b"\xef\xbb\xbf{\"type\":\"a\"}", "not JSON: it begins with a byte order mark"),
        (&utf_16, "not JSON: it is UTF-16"),
        (b"payload=%7B%7D", "not JSON: it is a form"),
        (b"<a/>", "not JSON: it begins like XML"),
        (b"{'type': 'a'}", "not JSON: key must be a string"),
        (b"[{}", "not JSON: EOF while parsing a list"),
    ] {
        refused(&post(&engine, "/events", JSON, body), 400, told);
    }
    let plain = format!("{JSON}Content-Encoding: identity\r\n");
    assert_eq!(post(&engine, "/events", &plain, br#"{"type":"a"}"#).status, 202);
    let curl = "Content-Type: application/x-www-form-urlencoded\r\n";
    let told = "is a form, which is not accepted; send JSON with `Content-Type: application/json`";
    refused(&post(&engine, "/events", curl, br#"{"type":"a"}"#), 415, told);
    let told = "no `Content-Type`; send JSON with `Content-Type: application/json`";
    refused(&post(&engine, "/events", "", br#"{"type":"a"}"#), 415, told);
    for kind in ["", "Content-Type: text/plain; charset=UTF-8\r\n", JSON] {
        assert_eq!(post(&engine, "/old", kind, br#"{"type":"a"}"#).status, 202, "{kind}");
    }
}

#[test]
fn a_request_without_a_body_is_an_event_where_the_file_reads_none() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let get = |path: &str| send(&engine.address, "GET", path, "", b"");
    assert_eq!(get("/button").status, 202);
    assert_eq!(get("/button?type=ring&door=front").status, 202);
    assert_eq!(post(&engine, "/button?type=knock", "", b"").status, 202);
    assert_eq!(send(&engine.address, "PUT", "/button", JSON, b"").status, 202);
    refused(&post(&engine, "/events", JSON, b""), 400, "the body is empty; send one JSON object");
    let data = folder.path().join("data");
    let query = "SELECT type, data FROM events ORDER BY pos";
    let stored = rows(&data, "events.db", query);
    let ring = r#"ring {"type":"ring","door":"front"}"#;
    let sorted = r#"ring {"door":"front","type":"ring"}"#;
    assert!(stored[1] == ring || stored[1] == sorted, "{stored:?}");
    assert_eq!([&stored[0], &stored[2], &stored[3]], ["press {}", "knock {}", "press {}"]);
}

#[test]
fn every_path_says_which_methods_it_takes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let paths = [
        ("/events", "POST, HEAD, OPTIONS"),
        ("/button", "GET, PUT, POST, HEAD, OPTIONS"),
        ("/live", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
        ("/readyz", "GET, HEAD, OPTIONS"),
        ("/api/events", "GET, HEAD, OPTIONS"),
        ("/api/events/x/y", "GET, HEAD, OPTIONS"),
        ("/api/stats", "GET, HEAD, OPTIONS"),
        ("/api/pipeline", "GET, HEAD, OPTIONS"),
        ("/api/reloads", "GET, HEAD, OPTIONS"),
        ("/api/dead-letters", "GET, HEAD, OPTIONS"),
        ("/api/dead-letters/redrive", "POST, OPTIONS"),
        ("/api/dead-letters/7", "GET, HEAD, DELETE, OPTIONS"),
    ];
    for (path, methods) in paths {
        let allow = format!("allow: {}\r\n", methods.to_ascii_lowercase());
        let options = send(&engine.address, "OPTIONS", path, "", b"");
        assert_eq!((options.status, options.body.len()), (204, 0), "{path}");
        assert!(options.head.contains(&allow), "{path}: {}", options.head);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if methods.split(", ").any(|part| part == method) {
                continue;
            }
            let reply = send(&engine.address, method, path, JSON, b"{}");
            refused(&reply, 405, &format!("does not support {method}, only {methods}"));
            assert!(reply.head.contains(&allow), "{method} {path}: {}", reply.head);
        }
        if methods.contains("GET") && path != "/live" && path != "/button" {
            let (got, head) = (
                send(&engine.address, "GET", path, "", b""),
                send(&engine.address, "HEAD", path, "", b""),
            );
            assert_eq!((head.status, head.body.len()), (got.status, 0), "{path}");
        }
    }
    let data = folder.path().join("data");
    for path in ["/events", "/button", "/live"] {
        let head = send(&engine.address, "HEAD", path, "", b"");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    assert_eq!(
        rows(&data, "events.db", "SELECT count(*) FROM events"),
        ["0"],
        "asking is no event"
    );
}

#[test]
fn a_path_that_leads_nowhere_says_what_was_meant() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    for (path, told) in [
        ("/event", "there is nothing at `/event`; did you mean `/events`?"),
        ("/events/", "did you mean `/events`?"),
        ("/api/pipelines", "did you mean `/api/pipeline`?"),
        ("/api/event", "did you mean `/api/events`?"),
        ("/something-else", "there is `/events`, `/button`, `/old`, `/live`, and `/api/…`"),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            refused(&send(&engine.address, method, path, JSON, b"{}"), 404, told);
        }
    }
}

#[test]
fn wrong_tokens_are_counted_and_wait_and_a_right_one_does_not() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = r#"
pipeline small schema-version=1
server {
    auth {
        token reader (file)"../secret" scope="read"
    }
}
source http front {
    path "/events"
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
"#;
    let file = pipeline(folder.path(), text);
    std::fs::write(folder.path().join("secret"), "a-right-token\n").expect("it writes");
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    let get = |token: &str| {
        let fields = format!("Authorization: Bearer {token}\r\n");
        send(&engine.address, "GET", "/metrics", &fields, b"")
    };
    assert_eq!(send(&engine.address, "GET", "/metrics", "", b"").status, 401);
    for number in 0..7 {
        assert_eq!(get(&format!("guess-{number}")).status, 401);
    }
    assert_eq!(get("a-right-token").status, 200);
    let text = get("a-right-token").text();
    for line in [
        "engine_auth_failures_total{reason=\"missing\"} 1",
        "engine_auth_failures_total{reason=\"unknown\"} 7",
    ] {
        assert!(text.contains(line), "{text}");
    }
    engine.wait_for("wrong tokens keep coming from one address");
    let scope = send(
        &engine.address,
        "POST",
        "/events",
        "Authorization: Bearer a-right-token\r\nContent-Type: application/json\r\n",
        b"{}",
    );
    refused(&scope, 403, "lacks the scope `send`");
}

#[test]
fn metrics_show_who_is_connected() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let _stream = super::stream::Stream::open(&engine.address, "/live", None);
    assert!(2 <= metric(&engine, "engine_http_open_connections"));
    assert!(2 <= metric(&engine, "engine_http_connections_total{outcome=\"accepted\"}"));
    assert_eq!(metric(&engine, "engine_http_queries_waiting"), 0);
}
