//! Secrets with letters that mean something elsewhere.

use super::{Site, pipeline, stored};
use crate::support::{Engine, PATIENCE, send, until};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;

/// A server that tells the head of each request, in order; its address.
fn catcher() -> (String, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (sender, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let head = head(&stream);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            (&stream).write_all(answer.as_bytes()).ok();
            if sender.send(head).is_err() {
                return;
            }
        }
    });
    (address, heads)
}

fn head(stream: &TcpStream) -> Vec<String> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn a_secret_arrives_as_it_is_and_is_shown_nowhere() {
    let (address, heads) = catcher();
    let hook = pipeline(&format!(
        "notify webhook hook {{ url \"http://{address}/\"; header \"x-token\" (env)\"CANARY\"; body \"b\" }}"
    ));
    for secret in [
        r#"canary-a"b'c"#,
        "canary-$$HOME${HOME}",
        "canary-{{ event.id }}",
        r"canary-\n\u0041",
        "#canary//b/*c*/",
    ] {
        let site = Site::new();
        site.write("pipelines/small.kdl", &hook);
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.env("CANARY", secret);
        let engine = Engine::spawn_by(command, &site.file(), &site.data(), &["-v"]).ready();
        stored(&engine, r#"{"type":"t"}"#);
        let head = heads.recv_timeout(PATIENCE).expect("it is told");
        let line = head.iter().find(|line| line.to_ascii_lowercase().starts_with("x-token:"));
        let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
        assert_eq!(value, Some(secret));
        let mut shown = String::new();
        for path in ["/", "/metrics", "/readyz", "/api/pipeline", "/api/events", "/api/reloads"] {
            shown.push_str(&send(&engine.address, "GET", path, "", b"").text());
        }
        shown.extend(engine.lines.try_iter());
        assert!(!shown.contains("canary"), "{shown}");
    }
}

/// A pipeline that takes events with the token of `secret`.
fn guarded() -> String {
    let guard = "path \"/events\"; auth bearer=(file)\"../secret\"";
    pipeline("").replace("path \"/events\"", guard)
}

/// Posts an event with a token: the status.
fn post(engine: &Engine, token: &str) -> u16 {
    let fields = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n");
    send(&engine.address, "POST", "/events", &fields, br#"{"type":"t"}"#).status
}

#[test]
fn a_line_end_after_the_secret_of_a_file_is_no_part_of_it() {
    for end in ["", "\n", "\r\n"] {
        let site = Site::new();
        site.write("secret", format!("s3cret{end}"));
        let engine = site.start(&guarded());
        assert_eq!((post(&engine, "s3cret"), post(&engine, "s3cre")), (202, 401), "{end:?}");
    }
}

#[test]
fn a_secret_that_is_rotated_in_its_file_is_taken() {
    let site = Site::new();
    site.write("secret", "first\n");
    let engine = site.start(&guarded());
    assert_eq!(post(&engine, "first"), 202);
    site.write("secret", "second\n");
    engine.wait_for("reloaded");
    until("the second is in force", || post(&engine, "second") == 202);
    assert_eq!(post(&engine, "first"), 401);
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let site = Site::new();
    let run = |hook: &str| {
        site.write("pipelines/small.kdl", pipeline(hook));
        let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
        command.env("EMPTY", "");
        Engine::spawn_by(command, &site.file(), &site.data(), &[])
    };
    let engine = run("notify webhook hook { url (env)\"EMPTY\" optional=#true }").ready();
    assert_eq!(stored(&engine, r#"{"type":"t"}"#)["deliveries"], serde_json::json!([]));
    drop(engine);
    let (code, said) = run("notify webhook hook { url (env)\"EMPTY\" }").end();
    assert!(code != 0 && said.contains("`EMPTY`"), "{code}: {said}");
}
