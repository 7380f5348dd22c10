//! What a page that somebody opened in a browser can do to a running engine: nothing, unless it is
//! the engine's own.

use super::{metric, pipeline, rows};
use crate::support::{Engine, Reply, send, until};
use std::path::Path;

fn start(folder: &Path) -> Engine {
    let text = r#"
pipeline small schema-version=1
server {
    public-url "https://door.example"
    hosts "engine.lan"
}
source http front {
    path "/events"
    map {
        type "data.type"
    }
}
source http button {
    path "/button"
    method GET
    map {
        type "'press'"
    }
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
sink sse live {
    path "/live"
}
"#;
    Engine::start(&pipeline(folder, text), &folder.join("data"), &[])
}

fn ask(engine: &Engine, method: &str, path: &str, fields: &str) -> Reply {
    let body: &[u8] = if matches!(method, "POST" | "PUT") { br#"{"type":"ring"}"# } else { b"" };
    send(&engine.address, method, path, fields, body)
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn no_method_and_no_path_is_open_to_a_foreign_page() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let paths = [
        "/",
        "/events",
        "/button",
        "/live",
        "/live?last_event_id=0",
        "/api/events",
        "/api/events/x",
        "/api/dead-letters",
        "/api/dead-letters/redrive",
        "/metrics",
        "/healthz",
        "/readyz",
        "/nothing",
        "/EVENTS",
        "//events",
        "/events/",
        "/%65vents",
        "*",
    ];
    let foreign = [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: http://door.example\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
    ];
    for path in paths {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if path == "*" && method != "OPTIONS" {
                continue;
            }
            for origin in foreign {
                let reply = ask(&engine, method, path, &format!("{JSON}{origin}"));
                assert_eq!(reply.status, 403, "{method} {path} {origin}: {}", reply.head);
                assert!(!reply.head.contains("access-control-"), "{}", reply.head);
            }
        }
    }
    let data = folder.path().join("data");
    assert_eq!(rows(&data, "events.db", "SELECT count(*) FROM events"), ["0"]);
    assert_eq!(metric(&engine, "engine_sse_clients{sink=\"live\"}"), 0);
    let refused = metric(&engine, "engine_http_refused_total{reason=\"foreign-page\"}");
    assert!(0 < refused, "they are counted");
}

#[test]
fn a_preflight_of_a_foreign_page_is_answered_without_any_permission() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let fields = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type\r\n";
    let reply = ask(&engine, "OPTIONS", "/events", fields);
    assert_eq!(reply.status, 403, "{}", reply.head);
    assert!(!reply.head.contains("access-control-"), "{}", reply.head);
}

#[test]
fn our_own_pages_and_what_is_no_browser_may_send_and_read() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", engine.address);
    let public = "Host: engine.lan\r\nOrigin: https://door.example\r\n";
    for fields in ["", &own, "Sec-Fetch-Site: none\r\n", public, "Host: door.example:443\r\n"] {
        let reply = ask(&engine, "POST", "/events", &format!("{JSON}{fields}"));
        assert_eq!(reply.status, 202, "{fields}: {}", reply.text());
        assert_eq!(ask(&engine, "GET", "/api/events", fields).status, 200, "{fields}");
    }
    let data = folder.path().join("data");
    assert_eq!(rows(&data, "events.db", "SELECT count(*) FROM events"), ["5"]);
}

#[test]
fn a_link_from_elsewhere_opens_a_page_and_presses_no_button() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n\
         Sec-Fetch-Dest: document\r\n";
    for path in ["/", "/api/events", "/healthz"] {
        assert_eq!(ask(&engine, "GET", path, link).status, 200, "{path}");
    }
    assert_eq!(ask(&engine, "GET", "/button", link).status, 403);
    assert_eq!(ask(&engine, "GET", "/live", link).status, 403);
    assert_eq!(ask(&engine, "GET", "/button", "").status, 202, "a real button");
    let data = folder.path().join("data");
    assert_eq!(rows(&data, "events.db", "SELECT type FROM events"), ["press"]);
}

#[test]
fn types_that_a_page_may_send_unasked_are_not_taken() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    for kind in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
    ] {
        for path in ["/events", "/api/dead-letters/redrive"] {
            let reply = ask(&engine, "POST", path, kind);
            assert_eq!(reply.status, 415, "{path} {kind}: {}", reply.text());
            assert!(reply.text().contains("application/json"), "{}", reply.text());
        }
    }
    let data = folder.path().join("data");
    assert_eq!(rows(&data, "events.db", "SELECT count(*) FROM events"), ["0"]);
}

#[test]
fn a_reload_takes_hosts_and_drops_them() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    let file = folder.path().join("pipelines/small.kdl");
    let text = std::fs::read_to_string(&file).expect("it reads");
    let status = |host: &str| ask(&engine, "GET", "/healthz", &format!("Host: {host}\r\n")).status;
    assert_eq!([status("engine.lan"), status("other.lan")], [200, 421]);
    std::fs::write(&file, text.replace("engine.lan", "other.lan")).expect("it writes");
    until("the new host is served", || status("other.lan") == 200);
    assert_eq!(status("engine.lan"), 421);
}

#[test]
fn a_host_that_is_not_served_says_what_to_write() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = start(folder.path());
    for host in ["engine:8600", "evil.example", "192.168.1.5"] {
        let reply = ask(&engine, "POST", "/events", &format!("{JSON}Host: {host}\r\n"));
        let name = host.split(':').next().expect("a name");
        assert_eq!(reply.status, 421, "{}", reply.text());
        assert!(reply.text().contains("public-url"), "{}", reply.text());
        let write = format!("server {{ hosts \\\"{name}\\\" }}");
        assert!(reply.text().contains(&write), "{}", reply.text());
    }
}
