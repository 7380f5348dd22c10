//! Webhooks that are signed: what the secret did not sign is not let in, and is not looked at.

use super::{pipeline, rows};
use crate::support::{Engine, ask_as};
use ring::hmac;
use tempfile::TempDir;

const SECRET: &str = "a secret of the test";

fn start() -> (TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = r#"
pipeline signed schema-version=1
server {
    auth {
        token reader (file)"../secret" scope="read"
    }
}
source http hooks {
    path "/events"
    auth hmac=(file)"../secret" scheme=github
    map {
        id "data.id"
    }
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
"#;
    let file = pipeline(folder.path(), text);
    std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).expect("it writes");
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    (folder, engine)
}

fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
    format!("X-Hub-Signature-256: sha256={hex}")
}

/// Posts a body with these further lines of the head; the status and the answer.
fn post(engine: &Engine, head: &str, body: &str) -> (u16, String) {
    let kind = format!("application/json{}{head}", if head.is_empty() { "" } else { "\r\n" });
    let answer = ask_as(&engine.address, "POST", "/events", &kind, body.as_bytes());
    let (status, answer) = answer.expect("the engine answers");
    (status, String::from_utf8(answer).expect("text"))
}

#[test]
fn only_what_the_secret_signed_is_let_in() {
    let (folder, engine) = start();
    let body = r#"{"id":"e-1","type":"push"}"#;
    assert_eq!(post(&engine, &signature(SECRET, body), body).0, 202);
    let token = format!("Authorization: Bearer {SECRET}");
    let twice = format!("{0}\r\n{0}", signature(SECRET, body));
    let other = r#"{"id":"e-2","type":"push"}"#;
    for (head, body, told) in [
        (String::new(), body, "a signature is needed"),
        (token, body, "a signature is needed"),
        (twice, body, "a signature is needed"),
        (signature("another secret", body), body, "the signature does not fit"),
        (signature(SECRET, body), other, "the signature does not fit"),
        // It is not parsed: what no JSON is would be answered 400.
        (signature("another secret", "no"), "no", "the signature does not fit"),
    ] {
        let (status, answer) = post(&engine, &head, body);
        assert_eq!(status, 401, "{head}: {answer}");
        assert!(answer.contains(told) && !answer.contains(SECRET), "{head}: {answer}");
    }
    assert_eq!(post(&engine, &signature(SECRET, "no"), "no").0, 400);
    let data = folder.path().join("data");
    assert_eq!(rows(&data, "events.db", "SELECT id FROM events"), ["e-1"]);
    assert_eq!(rows(&data, "events.db", "SELECT count(*) FROM dead_letters"), ["0"]);
}
