//! Signing in with a browser: what a session opens, what it does not, and when it ends.

use crate::support::{Engine, until};
use std::io::{Read, Write};
use std::net::TcpStream;

const PIPELINE: &str = r#"
pipeline guarded schema-version=1
server {
    listen "127.0.0.1:0"
    auth { token me (file)"token" scope="read send"; token other (file)"other" scope="read" }
}
source http hook { path "/events" }
sink sqlite journal { path "data/journal.db"; retention { keep "1d" } }
sink sse live { path "/live" }
"#;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn started(folder: &tempfile::TempDir) -> Engine {
    std::fs::write(folder.path().join("token"), SECRET).expect("it is written");
    std::fs::write(folder.path().join("other"), SECRET.replace('0', "9")).expect("it is written");
    let file = folder.path().join("p.kdl");
    std::fs::write(&file, PIPELINE).expect("it is written");
    Engine::start(&file, &folder.path().join("data"), &["--watch", "auto"])
}

/// The head of the answer to one request with these fields.
fn head(engine: &Engine, line: &str, fields: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(&engine.address).expect("it listens");
    let (host, size) = (&engine.address, body.len());
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {size}\r\n{fields}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it is sent");
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains("\r\n\r\n") {
        let count = stream.read(&mut part).expect("it answers");
        assert!(0 < count, "it answers: {text}");
        text += &String::from_utf8_lossy(&part[..count]);
    }
    text
}

fn status(engine: &Engine, line: &str, fields: &str, body: &str) -> u16 {
    let head = head(engine, line, fields, body);
    head.split(' ').nth(1).and_then(|part| part.parse().ok()).expect("a status")
}

/// Signs in; the cookie as a browser sends it back.
fn signed_in(engine: &Engine, secret: &str) -> String {
    let token = format!("Authorization: Bearer {secret}\r\n");
    let head = head(engine, "POST /api/session", &token, "{}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.unwrap_or_else(|| panic!("a cookie: {head}"));
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    format!("Cookie: {}\r\n", cookie.split(';').next().expect("a pair"))
}

#[test]
fn a_session_opens_what_its_token_does_and_changes_nothing_without_its_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let event = r#"{"type":"ring"}"#;
    for (line, body) in [("GET /api/events", ""), ("GET /live", ""), ("POST /events", event)] {
        assert_eq!(status(&engine, line, "", body), 401, "{line}");
    }
    let cookie = signed_in(&engine, SECRET);
    assert_eq!(status(&engine, "GET /api/events", &cookie, ""), 200);
    assert_eq!(status(&engine, "GET /live", &cookie, ""), 200);
    let guarded = format!("{cookie}X-Engine: page\r\n");
    assert_eq!(status(&engine, "POST /events", &cookie, event), 401, "without the field");
    assert_eq!(status(&engine, "POST /events", &guarded, event), 202);
    assert_eq!(status(&engine, "POST /api/reload", &guarded, "{}"), 403, "another scope");
    let foreign = format!("{guarded}Origin: http://evil.example\r\n");
    assert_eq!(status(&engine, "GET /api/events", &foreign, ""), 403);
    let wrong = format!("{cookie}Authorization: Bearer wrong\r\n");
    assert_eq!(status(&engine, "GET /api/events", &wrong, ""), 401, "a token goes first");
    assert_eq!(status(&engine, "POST /api/session", &cookie, "{}"), 401, "only by a token");
    assert_eq!(status(&engine, "DELETE /api/session", &cookie, ""), 403);
    assert_eq!(status(&engine, "DELETE /api/session", &guarded, ""), 204);
    assert_eq!(status(&engine, "GET /api/events", &cookie, ""), 401, "signed out");
}

#[test]
fn a_session_ends_with_its_token_and_goes_on_over_any_other_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let (mine, others) =
        (signed_in(&engine, SECRET), signed_in(&engine, &SECRET.replace('0', "9")));
    let opens = |cookie: &str| status(&engine, "GET /api/events", cookie, "") == 200;
    assert!(opens(&mine) && opens(&others));
    let fewer = PIPELINE.replace(r#"token other (file)"other" scope="read""#, "");
    std::fs::write(folder.path().join("p.kdl"), fewer).expect("it is written");
    until("the token is gone", || !opens(&others));
    assert!(opens(&mine));
}
