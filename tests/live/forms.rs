//! Forms, compressed bodies, CloudEvents, credentials and answers of the file's own.

use super::{pipeline, rows};
use crate::support::{Engine, Reply, send};
use serde_json::{Value, json};
use std::io::Write;
use tempfile::TempDir;

const PIPELINE: &str = r##"
pipeline small schema-version=1
server {
    max-body "8KiB"
}
source http build {
    path "/form"
    accept json form
    map {
        json "data.payload"
        type "'build.' + data.payload.state"
        subject "data.payload.branch"
    }
}
source http command {
    path "/command"
    accept form json
    auth token="s3cret" field="token"
    type command
    respond 200 {
        body "{{ event.seq }}: deploying {{ data.text }}"
    }
}
source http lab {
    path "/lab"
    auth token="lab-new" header="X-Gitlab-Token"
    auth token="lab-old" header="X-Gitlab-Token"
    auth basic="door:p:w"
    type lab
    map {
        subject "http.header('X-Gitlab-Token') ?? 'hidden'"
    }
}
source http cloud {
    path "/cloud"
    accept json cloudevents
}
source http signed {
    path "/signed"
    accept json form
    auth hmac="key-old" scheme=github
    auth hmac="key-new" scheme=github
    idempotency header="X-Delivery"
    type signed
}
source http alarm {
    path "/alarm"
    type zone
    decode regex #"^zone (?<zone>[0-9]+) (?<state>open|closed)$"# {
        number zone
    }
}
source http note {
    path "/note"
    type note
    decode raw
    respond 201 { body "{{ data }}" }
}
source http plain {
    path "/events"
    idempotency header="X-Delivery"
    respond 204
}
sink sqlite store {
    path "../data/events.db"
    retention {
        keep "1d"
    }
}
"##;

fn start() -> (TempDir, Engine) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = pipeline(folder.path(), PIPELINE);
    let engine = Engine::start(&file, &folder.path().join("data"), &[]);
    (folder, engine)
}

const JSON: &str = "Content-Type: application/json\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn post(engine: &Engine, path: &str, fields: &str, body: &[u8]) -> Reply {
    send(&engine.address, "POST", path, fields, body)
}

#[track_caller]
fn answered(reply: &Reply, status: u16, part: &str) {
    assert_eq!(reply.status, status, "{}\n{}", reply.head, reply.text());
    assert!(reply.text().contains(part), "{}", reply.text());
}

fn stored(folder: &TempDir, query: &str) -> Vec<String> {
    rows(&folder.path().join("data"), "events.db", query)
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).expect("it packs");
    encoder.finish().expect("it ends")
}

/// `X-Hub-Signature-256` of a body.
fn signature(key: &str, body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
    let tag = ring::hmac::sign(&key, body);
    let hex: String = tag.as_ref().iter().map(|it| format!("{it:02x}")).collect();
    format!("X-Hub-Signature-256: sha256={hex}\r\n")
}

#[test]
fn a_form_with_json_in_a_field_is_an_event() {
    let (folder, engine) = start();
    let body = b"payload=%7B%22state%22%3A%22passed%22%2C%22branch%22%3A%22master%22%7D&n=1&n=2";
    answered(&post(&engine, "/form", FORM, body), 202, "\"seq\":1");
    answered(&post(&engine, "/form", FORM, b"payload=no"), 422, "must be JSON text");
    answered(&post(&engine, "/form", FORM, b"payload=%f"), 400, "not percent-encoded");
    let found = stored(&folder, "SELECT type, subject, json(data) FROM events");
    let data = r#"{"n":["1","2"],"payload":{"branch":"master","state":"passed"}}"#;
    assert_eq!(found, [format!("build.passed master {data}")]);
}

#[test]
fn a_command_shows_its_token_in_a_field_and_gets_a_sentence_also_the_second_time() {
    let (folder, engine) = start();
    let good = b"token=s3cret&text=prod&user=Steve";
    let reply = post(&engine, "/command", FORM, good);
    answered(&reply, 200, "1: deploying prod");
    assert!(reply.head.contains("content-type: text/plain; charset=utf-8"), "{}", reply.head);
    assert!(reply.head.contains("content-security-policy: default-src 'none'"), "{}", reply.head);
    let json = br#"{"text":"json","token":"s3cret"}"#;
    answered(&post(&engine, "/command", JSON, json), 200, "2: deploying json");
    answered(&post(&engine, "/command", FORM, b"text=x"), 401, "in the field `token`");
    answered(&post(&engine, "/command", FORM, b"token=S3cret&text=x"), 401, "unknown token");
    answered(&post(&engine, "/command", JSON, b"not json"), 401, "in the field `token`");
    let both = br#"[{"text":"a","token":"s3cret"},{"text":"b","token":"other"}]"#;
    answered(&post(&engine, "/command", JSON, both), 401, "unknown token");
    answered(&post(&engine, "/command", JSON, b"[]"), 401, "in the field `token`");
    assert_eq!(stored(&folder, "SELECT count(*) FROM events WHERE data LIKE '%s3cret%'"), ["0"]);
    assert_eq!(stored(&folder, "SELECT count(*) FROM events"), ["2"]);
}

#[test]
fn a_text_of_any_type_is_decoded_by_line_or_whole() {
    let (folder, engine) = start();
    let plain = "Content-Type: text/plain\r\n";
    answered(&post(&engine, "/alarm", plain, b"zone 4 open\r\n"), 202, "\"seq\":1");
    let gzip = "Content-Encoding: gzip\r\n";
    let two = packed(b"zone 5 open\n\nzone 5 closed\n");
    answered(&post(&engine, "/alarm", gzip, &two), 202, "{\"results\":[");
    let mixed = post(&engine, "/alarm", "Content-Type: image/png\r\n", b"zone 6 open\nzone ?");
    answered(&mixed, 207, "does not match the pattern");
    answered(&post(&engine, "/alarm", plain, b"zone ?"), 422, "does not match the pattern");
    let foreign = "Content-Type: text/plain\r\nOrigin: http://elsewhere.example\r\n";
    answered(&post(&engine, "/alarm", foreign, b"zone 7 open"), 403, "");
    answered(&post(&engine, "/note", "", b"Dear\r\nhouse\n"), 201, "Dear\r\nhouse");
    for (body, part) in [(&b""[..], "the body is empty"), (b"\xe9", "not UTF-8")] {
        for path in ["/alarm", "/note"] {
            answered(&post(&engine, path, plain, body), 400, part);
        }
    }
    let found = stored(&folder, "SELECT type, json(data) FROM events ORDER BY seq");
    let expected = [
        r#"zone {"state":"open","zone":4}"#,
        r#"zone {"state":"open","zone":5}"#,
        r#"zone {"state":"closed","zone":5}"#,
        r#"zone {"state":"open","zone":6}"#,
        r#"note "Dear\r\nhouse""#,
    ];
    assert_eq!(found, expected);
}

#[test]
fn any_credential_of_a_source_lets_in_and_none_is_seen_later() {
    let (folder, engine) = start();
    for (fields, status, part) in [
        ("X-Gitlab-Token: lab-new\r\n", 202, "seq"),
        ("x-gitlab-token: lab-old\r\n", 202, "seq"),
        ("Authorization: Basic ZG9vcjpwOnc=\r\n", 202, "seq"),
        ("Authorization: Basic ZG9vcjpw\r\n", 401, "unknown token, or wrong user"),
        ("Authorization: Bearer lab-new\r\n", 401, "send the token in the header"),
        ("X-Gitlab-Token: lab\r\n", 401, "unknown token"),
        ("X-Gitlab-Token: lab-new\r\nX-Gitlab-Token: lab-new\r\n", 401, "send the token"),
        ("", 401, "send the token in the header `x-gitlab-token`; or send the user"),
    ] {
        let reply = post(&engine, "/lab", &format!("{JSON}{fields}"), b"{}");
        answered(&reply, status, part);
        let asks = reply.head.contains("www-authenticate: basic realm");
        assert_eq!(asks, status == 401, "{}", reply.head);
    }
    let subjects = stored(&folder, "SELECT DISTINCT subject FROM events");
    assert_eq!(subjects, ["hidden"], "no expression reads the header");
}

#[test]
fn a_compressed_body_is_unpacked_under_the_limit_and_signed_as_it_was_sent() {
    let (folder, engine) = start();
    let gzip = format!("{JSON}Content-Encoding: gzip\r\n");
    let event = br#"{"type":"ring","n":1}"#;
    answered(&post(&engine, "/events", &gzip, &packed(event)), 204, "");
    let both = [packed(&event[..9]), packed(&event[9..])].concat();
    answered(&post(&engine, "/events", &gzip, &both), 204, "");
    let bomb = packed(&vec![b' '; 50 << 20]);
    assert!(bomb.len() < 100_000);
    answered(&post(&engine, "/events", &gzip, &bomb), 413, "larger than 8KiB");
    let bomb = packed(&vec![b' '; 5 << 20]);
    answered(
        &post(&engine, "/events", &gzip, &bomb),
        413,
        "when unpacked; write `server { max-body",
    );
    answered(&post(&engine, "/events", &gzip, event), 400, "not valid gzip");
    let deflate = format!("{JSON}Content-Encoding: deflate\r\n");
    let reply = post(&engine, "/events", &deflate, event);
    answered(&reply, 415, "`Content-Encoding: deflate` is not supported");
    assert!(reply.head.contains("accept-encoding: gzip, identity"), "{}", reply.head);

    let body = packed(b"{\"n\":2}");
    let sign = |key: &str, body: &[u8]| format!("{gzip}{}", signature(key, body));
    answered(&post(&engine, "/signed", &sign("key-new", &body), &body), 202, "seq");
    answered(
        &post(&engine, "/signed", &sign("key-new", b"{\"n\":2}"), &body),
        401,
        "does not match",
    );
    answered(&post(&engine, "/signed", &sign("other", &body), &body), 401, "does not match");
    let form = b"payload=%7B%7D";
    let fields = format!("{FORM}{}", signature("key-old", form));
    answered(&post(&engine, "/signed", &fields, form), 202, "seq");
    let kinds = stored(&folder, "SELECT type || ' ' || data FROM events ORDER BY pos");
    let ring = "ring {\"type\":\"ring\",\"n\":1}";
    let expected = [ring, ring, "signed {\"n\":2}", "signed {\"payload\":\"{}\"}"];
    assert_eq!(kinds, expected);
}

#[test]
fn a_cloud_event_fills_the_envelope_in_each_of_its_modes() {
    let (folder, engine) = start();
    let event = |id: &str| {
        json!({
            "specversion": "1.0", "id": id, "source": "/gate", "type": "ring", "subject": "front",
            "time": "2026-01-02T03:04:05Z", "priority": "HIGH", "correlationid": "v-1",
            "data": { "n": 1 },
        })
    };
    let structured = "Content-Type: application/cloudevents+json; charset=utf-8\r\n";
    let one = event("a").to_string();
    answered(&post(&engine, "/cloud", structured, one.as_bytes()), 202, "\"id\":\"a\"");
    answered(&post(&engine, "/cloud", structured, one.as_bytes()), 200, "\"duplicate\":true");
    let batch = "Content-Type: application/cloudevents-batch+json\r\n";
    let many = Value::from(vec![event("b"), event("c")]).to_string();
    answered(&post(&engine, "/cloud", batch, many.as_bytes()), 202, "\"results\"");
    let binary = format!(
        "{JSON}ce-specversion: 1.0\r\nce-id: d\r\nce-source: /gate\r\nce-type: ring\r\n\
         ce-subject: front\r\nce-time: 2026-01-02T03:04:05Z\r\nce-priority: high\r\n\
         ce-correlationid: v-1\r\n"
    );
    answered(&post(&engine, "/cloud", &binary, br#"{"n":1}"#), 202, "\"id\":\"d\"");
    let query = "SELECT id, type, source, subject, time, priority, correlation_id, data \
                 FROM events ORDER BY pos";
    let found = stored(&folder, query);
    assert_eq!(found.len(), 4);
    for (line, id) in found.iter().zip(["a", "b", "c", "d"]) {
        let (start, data) = line.split_once(" {").expect("data is last");
        assert!(start.starts_with(&format!("{id} ring /gate front ")), "{line}");
        assert!(start.ends_with(" high v-1"), "{line}");
        assert_eq!(data.replace(' ', ""), "\"n\":1}", "{line}");
    }
    // What is plain JSON stays that, and what is missing is named where it belongs.
    answered(&post(&engine, "/cloud", JSON, br#"{"type":"plain","data":1}"#), 202, "seq");
    let mut bad = event("e");
    bad.as_object_mut().expect("a map").remove("source");
    bad["specversion"] = json!("0.3");
    let reply = post(&engine, "/cloud", structured, bad.to_string().as_bytes());
    answered(&reply, 422, "a CloudEvent needs the attribute `source`");
    answered(&reply, 422, "must be \\\"1.0\\\"");
}

#[test]
fn the_events_of_a_batch_are_known_again_by_its_key_and_their_place() {
    let (folder, engine) = start();
    let fields = format!("{JSON}X-Delivery: d-1\r\n");
    let batch = br#"[{"type":"a"},{"type":"a"}]"#;
    for duplicate in ["\"duplicate\":false", "\"duplicate\":true"] {
        answered(&post(&engine, "/events", &fields, batch), 202, duplicate);
    }
    let other = br#"[{"type":"a"},{"type":"b"}]"#;
    answered(&post(&engine, "/events", &fields, other), 207, "different body");
    assert_eq!(stored(&folder, "SELECT id FROM events ORDER BY pos"), ["d-1#0", "d-1#1"]);
}

#[test]
fn chunks_may_have_extensions_and_trailers_which_change_nothing() {
    let (folder, engine) = start();
    let reply = |body: &str| {
        let fields = format!("{JSON}Transfer-Encoding: chunked\r\n");
        let head =
            format!("POST /form HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}");
        let mut stream = std::net::TcpStream::connect(&engine.address).expect("it listens");
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).expect("it is sent");
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).expect("it is answered");
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    let event = r#"{"payload":{"state":"ok"}}"#;
    let size = format!("{:x}", event.len());
    assert_eq!(reply(&format!("{size};sum=1\r\n{event}\r\n0;last\r\nX-Sum: 1\r\n\r\n")), "202");
    // A second request in a trailer is no trailer.
    let hidden = "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(reply(&format!("{size}\r\n{event}\r\n0\r\n{hidden}")), "400");
    assert_eq!(reply(&format!("{size};a\nb\r\n{event}\r\n0\r\n\r\n")), "400");
    assert_eq!(stored(&folder, "SELECT count(*) FROM events"), ["1"]);
}

#[test]
fn the_description_of_the_api_has_what_each_source_takes() {
    let (_folder, engine) = start();
    let description = engine.get("/openapi.json");
    let kinds = |path: &str| -> Vec<String> {
        let content = &description["paths"][path]["post"]["requestBody"]["content"];
        content.as_object().expect("it takes something").keys().cloned().collect()
    };
    assert_eq!(kinds("/form"), ["application/json", "application/x-www-form-urlencoded"]);
    assert!(kinds("/cloud").iter().any(|kind| kind == "application/cloudevents-batch+json"));
    let answers = &description["paths"]["/events"]["post"]["responses"];
    assert!(answers["204"].is_object(), "{answers}");
}

#[test]
fn an_empty_idempotency_header_is_none_and_two_are_refused() {
    let (_folder, engine) = start();
    let post = |fields: &str| {
        let fields = format!("Content-Type: application/json\r\n{fields}");
        send(&engine.address, "POST", "/events", &fields, br#"{"type":"a"}"#)
    };
    assert_eq!(post("X-Delivery: \r\n").status, 204);
    assert_eq!(post("X-Delivery: \r\n").status, 204);
    assert_eq!(post("X-Delivery: d-1\r\n").status, 204);
    let two = post("X-Delivery: d-2\r\nX-Delivery: d-3\r\n");
    assert_eq!(two.status, 400);
    assert!(two.text().contains("`X-Delivery` is given twice"), "{}", two.text());
    let events = engine.get("/api/events");
    assert_eq!(events["events"].as_array().map(Vec::len), Some(3), "{events}");
}
