//! How a command finds an engine, and what it says when it cannot.

use super::{PIPELINE, Site, run};
use crate::support::Engine;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

const WITH_AUTH: &str = r#"
server {
    auth {
        token admin (env)"ADMIN" scope="read send redrive"
        token viewer (env)"VIEWER" scope="send"
    }
}
"#;

#[test]
fn an_engine_is_found_by_its_file_while_it_runs() {
    let mut site = Site::start();
    let place = site.path("data/home.db.url");
    assert_eq!(place.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
    let by_file = ["events", "--file", "pipelines/home.kdl"];
    let with_data = [&by_file[..], &["--data", "data"]].concat();
    for arguments in [&by_file[..], &with_data] {
        let answer = run(site.folder.path(), arguments, "");
        assert_eq!((answer.code, answer.error.as_str()), (0, "no events\n"));
    }
    assert_eq!(site.engine.stop(), 0);
    assert!(!place.exists(), "it goes with the engine");
    let answer = run(site.folder.path(), &with_data, "");
    assert_eq!((answer.code, answer.output.as_str()), (2, ""));
    assert_eq!(
        answer.error,
        "engine: no engine runs pipelines/home.kdl, as there is no data/home.db.url; start one \
         with `engine run pipelines/home.kdl`, name the data folder of a running one with --data, \
         or give its address with --url\n"
    );
}

#[test]
fn an_engine_that_was_killed_is_said_to_have_been() {
    let mut site = Site::start();
    site.engine.kill();
    let arguments = ["events", "--file", "pipelines/home.kdl", "--data", "data"];
    let answer = run(site.folder.path(), &arguments, "");
    let error = answer.error.replace(&site.engine.address, "HOST");
    assert_eq!(
        (answer.code, error.as_str()),
        (
            2,
            "engine: no response from http://HOST: the connection failed: Connection refused; an \
             engine that was killed may have left data/home.db.url; start it again\n"
        )
    );
}

#[test]
fn without_an_engine_a_command_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let says = |arguments: &[&str], error: &str| {
        let answer = run(folder.path(), arguments, "");
        let found = (answer.code, answer.output.as_str(), answer.error.as_str());
        assert_eq!(found, (2, "", format!("engine: {error}\n").as_str()), "{arguments:?}");
    };
    // Nobody listens on this port: whoever had it has just given it back.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|bind| bind.local_addr()).expect("a port");
    says(
        &["events", "--url", &port.to_string()],
        &format!(
            "no response from http://{port}: the connection failed: Connection refused; start it \
             with `engine run FILE`, or give its address with --url"
        ),
    );
    says(
        &["events", "--url", "ftp://h"],
        "no response from ftp://h: the URL begins with neither http:// nor https://; check --url",
    );
    says(
        &["events", "--url", "http://me:s3cret@h"],
        "--url must not contain a name or password; use --token env:NAME",
    );
    says(
        &["events", "--url", ""],
        "--url names no host; write an address such as http://127.0.0.1:8600",
    );
    says(
        &["events", "--token", "env:"],
        "--token names nothing; write `--token env:NAME` or `--token file:PATH`",
    );
    says(
        &["events", "--file", "no.kdl"],
        "cannot read no.kdl: there is no such file; `engine new NAME` begins a pipeline",
    );
    says(&["events", "--token", "s3cret"], "write `--token env:NAME` or `--token file:PATH`");
    says(&["events", "--token", "env:NOT_SET"], "`NOT_SET` is not set");
    fs::write(folder.path().join("bad.kdl"), "pipeline bad\n").expect("it is written");
    says(
        &["events", "--file", "bad.kdl"],
        "bad.kdl has errors, so its store is not known; run `engine check bad.kdl`",
    );
    fs::write(folder.path().join("memory.kdl"), "pipeline memory schema-version=1\n")
        .expect("it is written");
    let answer = run(folder.path(), &["events", "--file", "memory.kdl"], "");
    assert_eq!((answer.code, answer.output.as_str()), (2, ""));
}

#[test]
fn a_token_opens_the_engine_and_is_never_shown() {
    let site = Site::of(&format!("{PIPELINE}{WITH_AUTH}"));
    fs::write(site.path("token"), "s3cret\n").expect("it is written");
    for token in ["env:GOOD", "(env)GOOD", "file:token"] {
        let answer = site.run(&["events", "--token", token]);
        assert_eq!((answer.code, answer.error.as_str()), (0, "no events\n"), "{token}");
    }
    site.refused(
        &["events"],
        2,
        "engine: http://HOST requires a token; use --token env:NAME or --token file:PATH\n",
    );
    site.refused(
        &["events", "--token", "env:WRONG"],
        2,
        "engine: http://HOST does not accept this token: unknown token\n",
    );
    site.refused(
        &["events", "--token", "env:WEAK"],
        2,
        "engine: this token lacks the scope `read`; add it to its `scope=`\n",
    );
}

#[test]
fn an_address_file_that_holds_no_address_is_said_to_be_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("pipelines")).expect("a folder");
    fs::create_dir_all(folder.path().join("data/home.db.url")).expect("a folder");
    fs::write(folder.path().join("pipelines/home.kdl"), PIPELINE).expect("it is written");
    let arguments = ["events", "--file", "pipelines/home.kdl", "--data", "data"];
    let error = || run(folder.path(), &arguments, "").error;
    let is_folder = "engine: cannot read data/home.db.url: it is a folder, not a regular file\n";
    assert_eq!(error(), is_folder);
    fs::remove_dir(folder.path().join("data/home.db.url")).expect("it is removed");
    fs::write(folder.path().join("data/home.db.url"), "\u{1b}[2J no").expect("it is written");
    let shown = error();
    assert!(shown.contains("the URL is not valid") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn the_demo_is_found_beside_what_a_killed_engine_left() {
    let mut site = Site::start();
    site.engine.kill();
    assert!(site.path("data/home.db.url").exists());
    let (file, data) = (site.path("pipelines/home.kdl"), site.path("data"));
    let _demo = Engine::start(&file, &data, &["--demo"]);
    assert!(site.path("data/demo/home.db.url").exists());
    let arguments = ["events", "--file", "pipelines/home.kdl", "--data", "data"];
    let answer = run(site.folder.path(), &arguments, "");
    assert_eq!((answer.code, &*answer.error), (0, "no events\n"));
}

/// Answers one request with these bytes; the address.
fn impostor(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one").to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut head = [0; 4096];
        assert_ne!(stream.read(&mut head).expect("it is read"), 0, "a request");
        stream.write_all(answer).ok();
    });
    address
}

#[test]
fn what_is_not_an_engine_is_said_to_be_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let says = |answer: &'static [u8], why: &str| {
        let address = impostor(answer);
        let answer = run(folder.path(), &["events", "--url", &address], "");
        let found = (answer.code, answer.output.as_str(), answer.error.replace(&address, "HOST"));
        assert_eq!(found, (2, "", format!("engine: {why}\n")));
    };
    let head = "http://HOST does not respond like an engine";
    says(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        &format!("{head}: it responds with status 404; check --url"),
    );
    says(
        b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        &format!("{head}: it responds with status 302; check --url"),
    );
    says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        &format!("{head}: its response is not a list of events; check --url"),
    );
    says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        &format!("{head}: its response is not text; check --url"),
    );
    says(
        b"SSH-2.0-OpenSSH_9.6\r\n",
        "no response from http://HOST: the response is not valid HTTP: it does not begin with \
         HTTP/1; check --url",
    );
    says(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        "no response from http://HOST: the response is longer than 67108864 bytes; check --url",
    );
    // What it says is text, and only text.
    says(
        b"HTTP/1.1 503 No\r\nContent-Type: application/problem+json\r\nContent-Length: 32\r\n\r\n\
          {\"detail\":\"a\\u001b[2J\\nb\\u009b\"}",
        "a\\u{1b}[2J; b\\u{9b}",
    );
}
