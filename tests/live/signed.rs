//! Webhooks that are signed: what the secret did not sign is not let in, and is not looked at.

use super::{pipeline, rows};
use crate::support::{Engine, ask_as};
use ring::hmac;
use serde_json::Value;
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
    post_to(&engine.address, head, body)
}

fn post_to(address: &str, head: &str, body: &str) -> (u16, String) {
    let kind = format!("application/json{}{head}", if head.is_empty() { "" } else { "\r\n" });
    let answer = ask_as(address, "POST", "/events", &kind, body.as_bytes());
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
        (signature("another secret", body), body, "the signature does not match"),
        (signature(SECRET, body), other, "the signature does not match"),
        // It is not parsed: what no JSON is would be answered 400.
        (signature("another secret", "no"), "no", "the signature does not match"),
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

/// A pipeline whose senders sign; `auth` is what follows `auth hmac=…`.
fn start_with(secret: &str, auth: &str, more: &str) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = format!(
        r#"
pipeline signed schema-version=1
source http hooks {{
    path "/events"
    auth hmac=(file)"../secret" {auth}
    {more}
}}
sink sqlite store {{
    path "../data/events.db"
    retention {{
        keep "1d"
    }}
}}
"#
    );
    let file = pipeline(folder.path(), &text);
    std::fs::write(folder.path().join("secret"), secret).expect("it writes");
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    (folder, engine)
}

fn ids(folder: &TempDir) -> Vec<String> {
    let data = folder.path().join("data");
    rows(&data, "events.db", "SELECT id FROM events ORDER BY pos")
}

fn answered(answer: &str) -> (bool, u64) {
    let answer: Value = serde_json::from_str(answer).expect("it is JSON");
    let is_duplicate = answer["duplicate"].as_bool().expect("it says so");
    (is_duplicate, answer["seq"].as_u64().expect("a number"))
}

#[test]
fn a_signed_body_that_comes_again_under_another_name_is_a_duplicate_also_after_a_restart() {
    let more = "idempotency header=\"X-GitHub-Delivery\"";
    let (folder, mut engine) = start_with(SECRET, "scheme=github", more);
    let body = r#"{"type":"push","n":1}"#;
    let head =
        |delivery: &str| format!("{}\r\nX-GitHub-Delivery: {delivery}", signature(SECRET, body));
    let (status, first) = post(&engine, &head("d-1"), body);
    assert_eq!((status, answered(&first)), (202, (false, 1)));
    // An id that is new is answered so, and still is the event that was signed.
    for (delivery, expected) in [("d-1", 200), ("d-2", 202), ("d-3", 202), ("d-2", 200)] {
        let (status, again) = post(&engine, &head(delivery), body);
        assert_eq!((status, answered(&again)), (expected, (true, 1)), "{delivery}");
        assert!(again.contains(r#""id":"d-1""#), "the id of the stored event: {again}");
    }
    let (status, _) = post(&engine, &signature(SECRET, body), body);
    assert_eq!(status, 200, "without any name");
    engine.kill();
    let file = folder.path().join("pipelines/small.kdl");
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    let (status, again) = post(&engine, &head("d-4"), body);
    assert_eq!((status, answered(&again)), (202, (true, 1)));
    let other = r#"{"type":"push","n":2}"#;
    let fresh = format!("{}\r\nX-GitHub-Delivery: d-5", signature(SECRET, other));
    assert_eq!(post(&engine, &fresh, other).0, 202);
    assert_eq!(ids(&folder), ["d-1", "d-5"]);
}

#[test]
fn two_that_come_at_once_are_one_event() {
    let (folder, engine) = start_with(SECRET, "scheme=github", "");
    let body = r#"{"type":"push"}"#;
    let (head, address) = (signature(SECRET, body), engine.address.as_str());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let posts: Vec<_> =
            (0..16).map(|_| scope.spawn(|| post_to(address, &head, body).0)).collect();
        posts.into_iter().map(|post| post.join().expect("it is answered")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 15, "{statuses:?}");
    assert_eq!(ids(&folder).len(), 1);
}

#[test]
fn a_batch_that_comes_again_is_duplicates_item_by_item() {
    let (folder, engine) = start_with(SECRET, "scheme=github", "");
    let body = r#"[{"type":"a"},{"type":"a"},{"type":"b"}]"#;
    let send = || post(&engine, &signature(SECRET, body), body);
    assert_eq!(send().0, 202);
    let (status, again) = send();
    let again: Value = serde_json::from_str(&again).expect("it is JSON");
    let results = again["results"].as_array().expect("one for each");
    let named: Vec<_> = results.iter().map(|it| it["id"].as_str().expect("an id")).collect();
    assert_eq!(named, ids(&folder), "the ids of the stored events");
    let told: Vec<_> =
        results.iter().map(|result| (&result["duplicate"], &result["seq"])).collect();
    let expected = [1, 2, 3].map(|it| (Value::from(true), Value::from(it)));
    assert_eq!((status, told), (202, expected.iter().map(|it| (&it.0, &it.1)).collect()));
    assert_eq!(ids(&folder).len(), 3, "equal items of one batch are events of their own");
}

#[test]
fn a_heartbeat_may_come_again_where_the_file_says_so() {
    let body = r#"{"type":"beat"}"#;
    let header = signature(SECRET, body).replace("X-Hub-Signature-256: sha256=", "X-Sign: ");
    for (replay, statuses, count) in [("", [202, 200], 1), ("replay=allow", [202, 202], 2)] {
        let auth = format!("scheme=hex header=\"X-Sign\" {replay}");
        let (folder, engine) = start_with(SECRET, &auth, "");
        assert_eq!([post(&engine, &header, body).0, post(&engine, &header, body).0], statuses);
        assert_eq!(ids(&folder).len(), count, "{replay}");
    }
}

#[test]
fn a_standard_webhook_is_known_by_the_id_that_it_signs() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let auth = "scheme=standard-webhooks tolerance=\"1d\"";
    let (folder, engine) = start_with(secret, auth, "");
    let now =
        std::fs::metadata(folder.path().join("secret")).and_then(|metadata| metadata.modified());
    let now = now.expect("it has a time").duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_secs();
    let send = |id: &str, seconds: u64, body: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &unbase64("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let tag = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
        let head = format!(
            "webhook-id: {id}\r\nwebhook-timestamp: {seconds}\r\nwebhook-signature: v1,{}",
            base64(tag.as_ref())
        );
        post(&engine, &head, body)
    };
    let body = r#"{"type":"paid"}"#;
    assert_eq!(send("msg-1", now, body).0, 202);
    assert_eq!(send("msg-1", now, body).0, 200, "the very same");
    assert_eq!(send("msg-1", now - 5, body).0, 200, "tried again at another time");
    assert_eq!(send("msg-1", now, r#"{"type":"other"}"#).0, 409);
    assert_eq!(send("msg-2", now, body).0, 202, "another message with equal contents");
    assert_eq!(ids(&folder), ["msg-1", "msg-2"]);
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |all, it| all << 8 | u32::from(*it));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let is_there = place <= three.len();
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if is_there { char::from(letter) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Vec<u8> {
    let value =
        |byte: u8| LETTERS.iter().position(|letter| *letter == byte).expect("a letter") as u32;
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let bits = four.iter().fold(0, |all, it| all << 6 | value(*it));
        bytes.extend([bits >> 16, bits >> 8, bits].map(|it| it as u8));
    }
    bytes
}
