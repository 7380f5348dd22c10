//! `engine tail`.

use super::{Site, command, run};
use crate::support::until;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::mpsc;

fn ring(id: &str, n: u32) -> String {
    format!(
        r#"{{"id":"{id}","type":"ring","door":"gate","time":"2026-01-01T09:50:04Z","data":{{"n":{n}}}}}"#
    )
}

/// Begins a command and waits until it is a client of the stream.
fn begin(site: &Site, arguments: &[&str]) -> Child {
    let url = format!("http://{}", site.engine.address);
    let arguments = [&["tail", "--url", &url], arguments].concat();
    let child = command(site.folder.path(), &arguments).spawn().expect("it starts");
    until("it is a client", || {
        let (_, body) = site.engine.ask("GET", "/metrics", b"");
        String::from_utf8_lossy(&body).contains("\nengine_sse_clients{sink=\"live\"} 1\n")
    });
    child
}

#[test]
fn events_are_printed_as_they_come() {
    let site = Site::start();
    let child = begin(&site, &["--limit", "2"]);
    site.post(&ring("r-1", 1));
    site.post(&ring("r-2", 2));
    let ended = child.wait_with_output().expect("it ends");
    let expected = "\
2026-01-01 09:50:04.000 normal   ring from front about gate r-1 {\"n\":1}
2026-01-01 09:50:04.000 normal   ring from front about gate r-2 {\"n\":2}
";
    assert_eq!(String::from_utf8_lossy(&ended.stdout), expected);
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
}

#[test]
fn an_expression_selects_the_events() {
    let site = Site::start();
    (1..=6).for_each(|n| site.post(&ring(&format!("r-{n}"), n)));
    let ids = |arguments: &[&str]| {
        let fixed = ["tail", "--replay", "100", "--format", "json"];
        let answer = site.run(&[&fixed[..], arguments].concat());
        assert_eq!((answer.code, &*answer.error), (0, ""), "{arguments:?}");
        let id = |line: &str| {
            let event: Value = serde_json::from_str(line).expect("it is JSON");
            event["id"].as_str().expect("it has an id").to_owned()
        };
        answer.output.lines().map(id).collect::<Vec<String>>()
    };
    assert_eq!(ids(&["--limit", "1"]), ["r-1"]);
    assert_eq!(ids(&["--where", "data.n % 2 == 0", "--limit", "2"]), ["r-2", "r-4"]);
    let sentence = "enrich.text == 'ring at the gate' && data.n > 5";
    assert_eq!(ids(&["--where", sentence, "--limit", "1"]), ["r-6"]);
    assert_eq!(ids(&["--type", "ring", "--source", "front", "--limit", "1"]), ["r-1"]);
}

#[test]
fn a_wrong_expression_is_reported_as_in_a_file() {
    let site = Site::start();
    site.refused(
        &["tail", "--where", "event.priority == 'hihg'"],
        1,
        "E0103

  × `'hihg'` is not a priority
   ╭─[<expression>:1:19]
 1 │ event.priority == 'hihg'
   ·                   ───┬──
   ·                      ╰── never equal
   ╰────
  help: did you mean `'high'`? low normal high critical

",
    );
    assert_eq!(site.run(&["tail", "--limit", "0"]).code, 2);
    site.refused(
        &["tail", "--stream", "db"],
        2,
        "engine: no sink `db` of this pipeline streams events\n",
    );
    let quiet = Site::of("pipeline quiet schema-version=1\nsource http a { path \"/a\" }\n");
    quiet.refused(
        &["tail"],
        2,
        "engine: no sink of this pipeline streams events; `engine explain \"sink sse\"` shows how \
         to add one\n",
    );
}

#[test]
fn what_an_event_says_is_one_line() {
    let site = Site::start();
    let nasty = "\u{1b}[2J\n\u{202e}<b>";
    let event =
        serde_json::json!({ "id": "x", "type": nasty, "door": nasty, "data": { "a": nasty } });
    site.post(&event.to_string());
    for format in ["line", "json"] {
        let answer = site.run(&["tail", "--replay", "1", "--limit", "1", "--format", format]);
        let obeyed = |letter: char| letter != '\n' && (letter.is_control() || letter == '\u{202e}');
        assert!(!answer.output.contains(obeyed), "{:?}", answer.output);
        assert_eq!((answer.code, answer.output.lines().count()), (0, 1), "{}", answer.output);
    }
}

#[test]
fn it_ends_by_a_signal_and_when_nobody_reads_any_more() {
    let site = Site::start();
    let mut child = begin(&site, &[]);
    site.post(&ring("r-1", 1));
    let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("it writes text");
    assert!(line.contains(" r-1 "), "{line}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    // Ctrl-C is SIGINT; but whoever runs the tests in the background has all of them ignore it.
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("it runs");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.signal(), &*ended.stderr), (Some(15), &b""[..]));
    until("its place is free", || {
        let (_, body) = site.engine.ask("GET", "/metrics", b"");
        String::from_utf8_lossy(&body).contains("\nengine_sse_clients{sink=\"live\"} 0\n")
    });
    let mut child = begin(&site, &[]);
    drop(child.stdout.take());
    site.post(&ring("r-2", 2));
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
}

/// Begins to look on at a stage and waits until it does.
fn look_on(site: &Site, arguments: &[&str]) -> Child {
    let url = format!("http://{}", site.engine.address);
    let arguments = [&["tail", "--url", &url], arguments].concat();
    let child = command(site.folder.path(), &arguments).spawn().expect("it starts");
    until("it looks on", || {
        let (_, body) = site.engine.ask("GET", "/metrics", b"");
        String::from_utf8_lossy(&body).contains("\nengine_stage_taps 1\n")
    });
    child
}

#[test]
fn a_stage_shows_what_goes_in_and_what_comes_out() {
    let site = Site::start();
    let child = look_on(&site, &["--stage", "sentence", "--at", "in", "--limit", "1"]);
    site.post(&ring("r-1", 1));
    let ended = child.wait_with_output().expect("it ends");
    let expected = "2026-01-01 09:50:04.000 normal   ring from front about gate r-1 {\"n\":1}\n";
    assert_eq!(String::from_utf8_lossy(&ended.stdout), expected);
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]));
    let out =
        ["--stage", "sentence", "--limit", "1", "--where", "enrich.text == 'bye at the gate'"];
    let child = look_on(&site, &out);
    site.post(&ring("r-2", 2));
    site.post(&ring("r-3", 3).replace("\"ring\"", "\"bye\""));
    let ended = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let begin = "2026-01-01 09:50:04.000 normal   bye from front about gate r-3 ok in ";
    assert!(text.starts_with(begin), "{text}");
    assert!(text.ends_with("ms, {\"text\":\"bye at the gate\"}\n"), "{text}");
    let child = look_on(&site, &["--stage", "sentence", "--limit", "1", "--format", "json"]);
    site.post(&ring("r-4", 4));
    let ended = child.wait_with_output().expect("it ends");
    let event: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(
        (&event["id"], &event["pos"], &event["data"]["n"]),
        (&"r-4".into(), &Value::Null, &4.into())
    );
    let tapped = &event["tapped"];
    assert_eq!((&tapped["at"], &tapped["stage"]), (&"out".into(), &"sentence".into()));
    assert_eq!((&tapped["outcome"], &tapped["error"]), (&"ok".into(), &Value::Null));
}

#[test]
fn a_stage_that_is_not_there_is_named() {
    let site = Site::start();
    let refused = |stage: &str, told: &str| site.refused(&["tail", "--stage", stage], 1, told);
    let near = "engine: generation 1 has no stage `sentense`; did you mean `sentence`?\n";
    refused("sentense", near);
    refused("live", "engine: generation 1 has no stage `live`\n");
    let both = site.run(&["tail", "--stage", "sentence", "--type", "ring"]);
    assert!(both.code == 2 && both.error.contains("cannot be used with"), "{}", both.error);
    assert_eq!(site.run(&["tail", "--at", "in"]).code, 2);
    let (status, body) = site.engine.ask("GET", "/api/tap?at=up", b"");
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
}

#[test]
fn who_looks_on_learns_that_the_stage_is_gone() {
    let site = Site::start();
    let child = look_on(&site, &["--stage", "sentence"]);
    // A reload that keeps the stage is not noticed.
    let file = site.path("pipelines/home.kdl");
    let other = super::PIPELINE.replace("\"30d\"", "\"31d\"");
    std::fs::write(&file, &other).expect("it is written");
    site.engine.wait_for("reloaded: ");
    site.post(&ring("r-1", 1));
    site.settled("r-1");
    let (begin, end) = other.split_once("enrich set sentence").expect("it is there");
    let (_, end) = end.split_once("}\n\n").expect("its end");
    std::fs::write(&file, format!("{begin}{end}")).expect("it is written");
    let ended = child.wait_with_output().expect("it ends");
    assert!(String::from_utf8_lossy(&ended.stdout).contains(" r-1 ok in "));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(
        (ended.status.code(), &*told),
        (Some(1), "engine: generation 3 has no stage `sentence`\n")
    );
}

#[test]
fn looking_on_needs_the_scope_read() {
    let auth = "server {\n    auth {\n        token admin (env)\"ADMIN\" scope=\"read\"\n        \
                token viewer (env)\"VIEWER\" scope=\"send\"\n    }\n}\n\nsource";
    let site = Site::of(&super::PIPELINE.replacen("source", auth, 1));
    let refused = site.run(&["tail", "--stage", "sentence", "--token", "env:WEAK"]);
    let told = "engine: this token lacks the scope `read`; add it to its `scope=`\n";
    assert_eq!((refused.code, &*refused.error), (2, told));
    let allowed = site.run(&["tail", "--stage", "none", "--token", "env:GOOD"]);
    assert_eq!((allowed.code, &*allowed.error), (1, "engine: generation 1 has no stage `none`\n"));
}

/// Gives one answer after the other, each on a connection of its own; the requests.
fn engine_of(answers: Vec<String>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one").to_string();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a caller");
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                request.push(byte[0]);
            }
            sender.send(String::from_utf8_lossy(&request).into_owned()).ok();
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    (address, requests)
}

const CLOSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

/// An event as the engine streams it.
fn frame(pos: u64) -> String {
    format!(
        "id: {pos}\nevent: event\ndata: {{\"seq\":{pos},\"pos\":{pos},\"id\":\"e-{pos}\",\
         \"type\":\"ring\",\"source\":\"s\",\"subject\":\"\",\"time\":\"2026-01-01T09:50:04.000Z\",\
         \"received\":\"2026-01-01T09:50:04.000Z\",\"priority\":\"low\",\"correlation_id\":null,\
         \"parent_id\":null,\"pipeline\":\"p\",\"generation\":1,\"data\":{{}},\"enrich\":{{}}}}\n\n"
    )
}

#[test]
fn a_stream_that_breaks_is_resumed_and_a_gap_is_said() {
    let plan = r#"{"sinks":[{"name":"live","routes":[{"method":"GET","path":"/live"}]}]}"#;
    let gap = "id: 8\nevent: gap\ndata: {\"from\":5,\"to\":8}\n\n";
    let (address, requests) = engine_of(vec![
        format!("{CLOSE}{plan}"),
        format!("{CLOSE}{}id: 6", frame(5)),
        format!("{CLOSE}{gap}{}", frame(9)),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let answer = run(folder.path(), &["tail", "--limit", "2", "--url", &address], "");
    let ids: Vec<&str> =
        answer.output.lines().filter_map(|line| line.split(' ').rev().nth(1)).collect();
    assert_eq!((answer.code, ids), (0, vec!["e-5", "e-9"]), "{}", answer.error);
    let gap = "some events after 5, up to 8, may be missing; `engine events` has what is stored\n";
    assert_eq!(answer.error, gap);
    let requests: Vec<String> = requests.iter().collect();
    assert!(requests[1].starts_with("GET /live HTTP/1.1\r\n"), "{requests:?}");
    assert!(!requests[1].to_lowercase().contains("last-event-id"), "{requests:?}");
    assert!(requests[2].to_lowercase().contains("\r\nlast-event-id: 5\r\n"), "{requests:?}");
}

#[test]
fn an_engine_that_does_not_come_back_is_given_up() {
    let mut site = Site::start();
    let child = begin(&site, &["--timeout", "5s"]);
    assert_eq!(site.engine.stop(), 0);
    let ended = child.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(2), &b""[..]), "{error}");
    assert!(error.contains(": the connection failed: "), "{error}");
}
