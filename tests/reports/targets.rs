//! Targets that answer badly, and files that somebody else moves while they are written.

use super::{Site, pipeline, stored};
use crate::support::{Engine, PATIENCE, until};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// A server that does this with each connection; its address.
fn server(serve: fn(TcpStream) -> std::io::Result<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream).ok());
        }
    });
    address
}

fn hear(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read(&mut [0; 65536]).map(drop)
}

fn redirect(mut stream: TcpStream) -> std::io::Result<()> {
    hear(&mut stream)?;
    stream
        .write_all(b"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
}

/// Holds the connection until the other side ends it.
fn silent(mut stream: TcpStream) -> std::io::Result<()> {
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn closing(mut stream: TcpStream) -> std::io::Result<()> {
    hear(&mut stream)
}

fn garbage(mut stream: TcpStream) -> std::io::Result<()> {
    hear(&mut stream)?;
    stream.write_all(b"SSH-2.0-OpenSSH\r\n")
}

#[test]
fn a_target_that_answers_badly_is_given_up_with_a_reason_and_no_secret() {
    let plain = server(closing);
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("it is bound").to_string()
    };
    for (url, timeout, attempts, reason) in [
        (format!("http://{}/", server(redirect)), "60s", 1, "307"),
        (format!("http://{}/", server(silent)), "300ms", 3, "time"),
        (format!("http://{}/", server(closing)), "60s", 3, ""),
        (format!("http://{}/", server(garbage)), "60s", 3, ""),
        (format!("http://{nobody}/"), "60s", 3, ""),
        (format!("https://{plain}/"), "60s", 3, ""),
    ] {
        let site = Site::new();
        let mut engine = site.start(&pipeline(&format!(
            "notify webhook hook {{ url \"{url}\"; header \"authorization\" \"Bearer canary\"; \
             timeout \"{timeout}\"; retry 2 {{ backoff constant base=\"10ms\" jitter=none }} }}"
        )));
        let event = stored(&engine, r#"{"type":"t"}"#);
        let path = format!("/api/events/{}", event["id"].as_str().expect("an id"));
        let mut delivery = Value::Null;
        until("it is given up", || {
            delivery = engine.get(&path)["deliveries"][0].clone();
            delivery["state"] == "dead"
        });
        assert_eq!(delivery["attempts"], attempts, "{url}: {delivery}");
        let told = delivery["last_error"].as_str().expect("a reason").to_owned();
        assert!(!told.is_empty() && told.contains(reason), "{url}: {told}");
        let letters = engine.get("/api/dead-letters").to_string();
        let log: String = engine.lines.try_iter().collect();
        assert!(!format!("{told}{letters}{log}").contains("canary"), "{letters}\n{log}");
        assert_eq!(engine.stop(), 0);
    }
}

/// The numbers in the whole lines of a file; none where there is no file.
fn numbers(site: &Site, name: &str) -> Vec<u64> {
    let text = fs::read_to_string(site.path(name)).unwrap_or_default();
    let number = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let number = line["data"]["n"].as_u64().or_else(|| line["title"].as_str()?.parse().ok());
        number.expect("a number")
    };
    text.lines().map(number).collect()
}

#[test]
fn a_file_that_is_rotated_away_under_its_writer_is_begun_anew() {
    let site = Site::new();
    let engine = site.start(&pipeline(
        "sink file out { path \"../data/out.jsonl\" }\n\
         notify file told { path \"../data/told.jsonl\"; title \"{{ data.n }}\" }",
    ));
    let post = |engine: &Engine, number: u64| {
        assert_eq!(engine.post(&format!("{{\"type\":\"t\",\"n\":{number}}}")).0, 202);
    };
    let files = ["data/out.jsonl", "data/told.jsonl"];
    let all = |what: &str, expected: &[u64]| {
        until(what, || files.iter().all(|name| numbers(&site, name) == expected));
    };
    post(&engine, 1);
    all("the first is written", &[1]);
    for name in files {
        fs::rename(site.path(name), site.path(&format!("{name}.1"))).expect("it is renamed");
    }
    post(&engine, 2);
    all("the second is in a new file", &[2]);
    assert!(files.iter().all(|name| numbers(&site, &format!("{name}.1")) == [1]));
    files.iter().for_each(|name| fs::remove_file(site.path(name)).expect("it goes"));
    post(&engine, 3);
    all("the third is in a new file", &[3]);
    for name in files {
        fs::File::create(site.path(name)).expect("it is emptied");
    }
    post(&engine, 4);
    all("the fourth is at the beginning", &[4]);
}
