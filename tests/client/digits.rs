//! `data` as it was received: the same digits, escapes and order at every door that shows it.

use super::{Site, run};
use crate::support::ask;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// JSON that a reader with floats, sorted keys or its own escapes would write otherwise.
const DATA: [&str; 10] = [
    r#"{"z":0.10,"a":-0,"m":-0.0,"b":1E5,"c":1e-7}"#,
    r#"{"n":12345678901234567890,"m":100000000000000000000.000,"k":123456789.123456789123456789}"#,
    r#"{"big":[9007199254740993,-9223372036854775809,1.0,2.50],"a":{"z":1,"y":[],"x":{}}}"#,
    r#"{"":1," ":2,"\u00e9":3,"e\u0301":4,"a.b":5,"$x":6,"__proto__":7,"\u0000":8,"a\"b":9}"#,
    r#"{"zero":"\u0000","pair":"\ud83d\ude00","slash":"\/","html":"<b>&","tab":"\t","del":"\u007f"}"#,
    r#"{"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz":1.50,"list":["b",{"z":1,"a":2.0}],"a":1}"#,
    r#"{"a":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0.10]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}"#,
    r#"{"true":false,"null":null,"0":"1","-1":1e2,"quote":"it's \"so\", or, not"}"#,
    r#"{"$serde":1,"b":{"number":"1e400"},"a":"1e400"}"#,
    "{}",
];

fn event(id: usize, data: &str) -> String {
    format!(
        r#"{{"id":"d-{id}","type":"ring","door":"gate","time":"2026-01-01T09:50:04Z","data":{data}}}"#
    )
}

/// Whether a text has the data in it, as it was sent.
#[track_caller]
fn shows(door: &str, text: &str, data: &str) {
    assert!(text.contains(data), "{door} shows\n{text}\nand not\n{data}");
}

#[test]
fn every_door_shows_data_as_it_was_received() {
    let site = Site::start();
    let address = &site.engine.address;
    for (id, data) in DATA.iter().enumerate() {
        site.post(&event(id, data));
    }
    let count = DATA.len().to_string();
    let body = |path: &str| {
        let (status, body) = ask(address, "GET", path, b"").expect("it answers");
        assert_eq!(status, 200, "{path}");
        String::from_utf8(body).expect("it is UTF-8")
    };
    let list = body("/api/events");
    let lines = |arguments: &[&str]| {
        let answer = site.run(arguments);
        assert_eq!((answer.code, &*answer.error), (0, ""), "{arguments:?}");
        answer.output
    };
    let listed = lines(&["events", "--format", "json"]);
    let table = lines(&["events", "--format", "csv"]);
    let tail = ["tail", "--replay", "100", "--format", "json", "--limit", &count];
    let tailed = lines(&tail);
    let stream = streamed(address, DATA.len());
    let query = "SELECT data FROM events ORDER BY seq";
    let sql = ["sql", "pipelines/home.kdl", query, "--data", "data", "--format", "json"];
    let sql: Value = serde_json::from_str(&run(site.folder.path(), &sql, "").output).expect("JSON");
    for (id, data) in DATA.iter().enumerate() {
        let member = format!("\"data\":{data},\"enrich\"");
        shows("the list", &list, &member);
        shows("one event", &body(&format!("/api/events/d-{id}")), &member);
        shows("the stream", &stream, &member);
        shows("`tail`", &tailed, &member);
        shows("`events`", &listed, &member);
        let id = format!("d-{id}");
        shows("`events show`", &lines(&["events", "show", &id, "--format", "json"]), &member);
        shows("CSV", &table, &format!("\"{}\"", data.replace('"', "\"\"")).replace("\"{}\"", "{}"));
        let found = sql["rows"].as_array().expect("rows").iter().any(|row| row[0] == *data);
        assert!(found, "`sql` shows {sql} and not {data}");
    }
}

/// What a new client of the stream is sent of what was before.
fn streamed(address: &str, count: usize) -> String {
    let mut stream = TcpStream::connect(address).expect("it connects");
    let request = format!("GET /live?replay={count} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it sends");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("it reads"));
    let data = lines.by_ref().filter(|line| line.starts_with("data:")).take(count);
    data.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_dead_letter_is_exported_as_it_was_received() {
    let site = Site::start();
    for (id, data) in DATA.iter().enumerate() {
        let without_type = event(id, data).replace(r#""type":"ring","#, "");
        assert_eq!(site.engine.post(&without_type).0, 422, "{data}");
    }
    let exported = site.run(&["dlq", "export", "--what", "rejected"]).output;
    let bodies: Vec<String> = exported
        .lines()
        .map(|line| {
            let letter: Value = serde_json::from_str(line).expect("it is JSON");
            letter["body"].as_str().expect("it has a body").to_owned()
        })
        .collect();
    for (id, data) in DATA.iter().enumerate() {
        let sent = event(id, data).replace(r#""type":"ring","#, "");
        assert!(bodies.contains(&sent), "{sent}\nis not in\n{bodies:?}");
    }
}

/// What could not be shown as it was is refused at the door, and nothing of it is kept as an event.
#[test]
fn what_no_reader_could_hold_is_refused() {
    let site = Site::start();
    for data in [
        r#"{"n":1e400}"#,
        r#"{"n":-1E999}"#,
        r#"{"n":01}"#,
        r#"{"n":.5}"#,
        r#"{"n":+1}"#,
        r#"{"n":NaN}"#,
        r#"{"s":"\ud800"}"#,
        r#"{"s":"\ude00\ud83d"}"#,
        r#"{"\ud800":1}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        "{\"s\":\"\u{0}\"}",
    ] {
        let (status, answer) = site.engine.post(&event(0, data));
        assert!([400, 422].contains(&status), "{data}: {answer}");
    }
    let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(site.engine.post(&event(0, &deep)).0, 422);
    assert_eq!(site.engine.get("/api/events")["events"], serde_json::json!([]));
}
