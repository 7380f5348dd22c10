//! Signing in with a browser: what a session opens, what it does not, and when it ends.

use crate::support::{Engine, PATIENCE, until};
use std::io::{Read, Write};
use std::net::TcpStream;

const PIPELINE: &str = r#"
pipeline guarded schema-version=1
server {
    listen "127.0.0.1:0"
    auth { token me (file)"token" scope="read send"; token other (file)"other" scope="read" }
}
source http hook { path "/events" }
enrich set note { set "a" "b" }
sink sqlite journal { path "data/journal.db"; retention { keep "1d" } }
sink sse live { path "/live" }
"#;

/// Every kind of stream.
const STREAMS: [&str; 3] = ["/live", "/api/stream", "/api/tap?stage=note"];

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

/// An open stream, which has sent its head.
fn opened(engine: &Engine, path: &str, fields: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&engine.address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has timeouts");
    let host = &engine.address;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).expect("it is sent");
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).expect("it answers");
        text.push(char::from(byte[0]));
    }
    assert!(text.starts_with("HTTP/1.1 200 "), "{path}: {text}");
    stream
}

/// Waits for the end of streams; without one this is not over before [`PATIENCE`].
fn assert_ended(streams: Vec<TcpStream>) {
    for (mut stream, path) in streams.into_iter().zip(STREAMS) {
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_ok(), "{path} goes on: {ended:?}");
    }
}

#[test]
fn streams_end_with_the_right_to_read_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = started(&folder);
    let all = |fields: &str| Vec::from(STREAMS.map(|path| opened(&engine, path, fields)));
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");
    let others = SECRET.replace('0', "9");
    let cookie = signed_in(&engine, SECRET);
    let by_session = all(&cookie);
    let guarded = format!("{cookie}X-Engine: page\r\n");
    assert_eq!(status(&engine, "DELETE /api/session", &guarded, ""), 204);
    assert_ended(by_session);
    let (removed, session) = (all(&bearer(&others)), all(&signed_in(&engine, &others)));
    let mut kept = opened(&engine, "/live", &bearer(SECRET));
    let fewer = PIPELINE.replace(r#"token other (file)"other" scope="read""#, "");
    std::fs::write(folder.path().join("p.kdl"), fewer).expect("it is written");
    assert_ended(removed);
    assert_ended(session);
    assert_eq!(status(&engine, "POST /events", &bearer(SECRET), r#"{"type":"ring"}"#), 202);
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains("ring") {
        let count = kept.read(&mut part).expect("it goes on");
        assert!(0 < count, "it goes on: {text}");
        text += &String::from_utf8_lossy(&part[..count]);
    }
}

#[test]
fn streams_that_anybody_could_open_end_when_a_token_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), SECRET).expect("it is written");
    std::fs::write(folder.path().join("other"), SECRET).expect("it is written");
    let file = folder.path().join("p.kdl");
    let open: String =
        PIPELINE.lines().filter(|it| !it.contains("auth {")).collect::<Vec<_>>().join("\n");
    std::fs::write(&file, open).expect("it is written");
    let engine = Engine::start(&file, &folder.path().join("data"), &["--watch", "auto"]);
    let streams = STREAMS.map(|path| opened(&engine, path, ""));
    std::fs::write(&file, PIPELINE).expect("it is written");
    assert_ended(streams.into());
}
