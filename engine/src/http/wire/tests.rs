//! Hostile and honest bytes, whole and in pieces, on a clock that is moved by hand.

use super::*;
use crate::http::limits::ServerLimits;
use crate::http::service::ServerState;
use crate::http::testing::{Echo, ManualClock, Talk, request_head};
use crate::http::wire::hosts::Hosts;
use proptest::prelude::*;
use std::sync::atomic::Ordering;

const SECOND: Duration = Duration::from_secs(1);

/// A connection and what its service was asked for.
fn open() -> (Talk, Echo) {
    let echo = Echo::default();
    (Talk::with(echo.clone()), echo)
}

fn seen(echo: &Echo) -> Vec<String> {
    echo.seen.lock().unwrap().clone()
}

/// The status lines and bodies among `text`, which holds whole answers.
fn statuses(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.find("HTTP/1.1 ").map(|at| line[at..].trim_end())).collect()
}

/// How the bytes arrive.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Joined,
    HeadThenRest,
    ByteByByte,
}

fn send(talk: &Talk, bytes: &[u8], cut: Cut) {
    match cut {
        Cut::Joined => talk.send(bytes),
        Cut::HeadThenRest => {
            let head =
                bytes.windows(4).position(|pair| pair == b"\r\n\r\n").map_or(0, |index| index + 4);
            talk.send(&bytes[..head]);
            talk.send(&bytes[head..]);
        }
        Cut::ByteByByte => bytes.chunks(1).for_each(|chunk| talk.send(chunk)),
    }
}

/// `fields` in a request that is followed by what would be a second one, were its end elsewhere.
#[track_caller]
fn refused(request_line: &str, fields: &str, body: &str, status: &str) {
    let smuggled = "GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let bytes = format!("{request_line}\r\n{fields}\r\n{body}{smuggled}");
    for cut in [Cut::Joined, Cut::HeadThenRest, Cut::ByteByByte] {
        let (talk, echo) = open();
        send(&talk, bytes.as_bytes(), cut);
        let answer = talk.received();
        let said = format!("{cut:?} {request_line} {fields:?} -> {answer}");
        assert_eq!(statuses(&answer), [format!("HTTP/1.1 {status}")], "{said}");
        assert!(answer.contains("connection: close\r\n"), "{said}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{said}");
        let is_told =
            answer.contains("\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
        assert_eq!(is_told, status.starts_with("405"), "{said}");
        assert!(talk.is_closed(), "{said}");
        assert!(!seen(&echo).iter().any(|it| it.contains("admin")), "{said}");
        assert!(seen(&echo).len() <= usize::from(!body.is_empty()), "{said}");
    }
}

const POST: &str = "POST /a HTTP/1.1";
const BAD: &str = "400 Bad Request";

#[test]
fn a_transfer_encoding_other_than_chunked_is_refused() {
    for value in [
        "gzip, chunked",
        "xchunked",
        "chunked, identity",
        "chunked ;a=b",
        "chunked;a=b",
        "identity",
        "chunked, chunked",
        ",chunked",
        "chunked,",
        "\"chunked\"",
        "",
        "\u{b}chunked",
    ] {
        let fields = format!("Host: localhost\r\nTransfer-Encoding: {value}\r\n");
        refused(POST, &fields, "", BAD);
    }
    let twice = "Host: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    refused(POST, twice, "", BAD);
    refused("POST /a HTTP/1.0", "Transfer-Encoding: chunked\r\n", "", BAD);
}

#[test]
fn a_length_that_could_be_read_in_two_ways_is_refused() {
    for value in ["+5", "-1", "5, 5", "5,5", "0x5", "5 5", "", "5.0", "99999999999999999999", "٥"]
    {
        let fields = format!("Host: localhost\r\nContent-Length: {value}\r\n");
        refused(POST, &fields, "", BAD);
    }
    for (first, second) in [("42", "0"), ("0", "42"), ("5", "5")] {
        let fields =
            format!("Host: localhost\r\nContent-Length: {first}\r\ncontent-length: {second}\r\n");
        refused(POST, &fields, "", BAD);
    }
    for fields in [
        "Host: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Host: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        refused(POST, fields, "", BAD);
    }
}

#[test]
fn chunks_that_are_not_well_formed_are_refused() {
    let fields = "Host: localhost\r\nTransfer-Encoding: chunked\r\n";
    for body in [
        "0;a=\0b\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5 hello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "000000000\r\n\r\n",
        "+0\r\n\r\n",
        " 0\r\n\r\n",
        "0\n\n",
        "0\r\n\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nGET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "0x0\r\n\r\n",
        "\r\n0\r\n\r\n",
    ] {
        refused(POST, fields, body, BAD);
    }
}

#[test]
fn a_host_that_is_missing_doubled_or_odd_is_refused() {
    let get = "GET /public HTTP/1.1";
    refused(get, "", "", BAD);
    refused(get, "Host: localhost\r\nHost: localhost\r\n", "", BAD);
    for host in [
        "h/admin?x=",
        "a@b",
        "localhost evil",
        "",
        "localhost:",
        "localhost:+1",
        "localhost:99999",
        "localhost:80:80",
        "[::1",
        "[::g]",
        "::1",
        "h\\x",
        "h%41",
        "hé",
        "localhost,evil",
    ] {
        refused(get, &format!("Host: {host}\r\n"), "", BAD);
    }
}

#[test]
fn a_host_that_is_not_ours_is_misdirected() {
    let misdirected = "421 Misdirected Request";
    for host in ["evil.example", "localhost.evil.example", "0.0.0.0", "127.0.0.2", "localhost."] {
        refused("GET /a HTTP/1.1", &format!("Host: {host}\r\n"), "", misdirected);
    }
    let other = "GET http://127.0.0.1/a HTTP/1.1";
    refused(other, "Host: localhost\r\n", "", misdirected);
    refused("GET http://evil.example/a HTTP/1.1", "Host: evil.example\r\n", "", misdirected);
    refused("GET http://evil.example/a HTTP/1.0", "", "", misdirected);
    refused("GET http://a@localhost/a HTTP/1.1", "Host: localhost\r\n", "", BAD);
}

#[test]
fn lines_that_are_not_lines_are_refused() {
    let get = "GET /a HTTP/1.1";
    for fields in [
        "Host: localhost\nX: y\r\n",
        "Host: localhost\r\nX: y\n",
        "Host: localhost\r\n\n",
        "Host: localhost\r\nX: a\r\n b\r\n",
        "Host: localhost\r\n X: a\r\n",
        "Host: localhost\r\nContent-Length : 5\r\n",
        "Host : localhost\r\n",
        "Host: localhost\r\nX: a\rb\r\n",
        "Host: localhost\r\nX: a\0b\r\n",
        "Host: localhost\r\nX: a\u{7f}b\r\n",
        "Host: localhost\r\nX y\r\n",
        "Host: localhost\r\n: y\r\n",
        "Host: localhost\r\nX\u{e9}: y\r\n",
        " Host: localhost\r\n",
    ] {
        refused(get, fields, "", BAD);
    }
    let host = "Host: localhost\r\n";
    for line in [
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET /a HTTP/1.1 ",
        " GET /a HTTP/1.1",
        "GET /a",
        "G(T /a HTTP/1.1",
        "GET\t/a HTTP/1.1",
        "GET /a\u{1} HTTP/1.1",
        "\r\nGET",
        "\n",
    ] {
        refused(line, host, "", BAD);
    }
}

#[test]
fn a_target_that_could_mean_another_path_is_refused() {
    for target in [
        "/%00",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/%2E./b",
        "/..",
        "/./a",
        "/a\\b",
        "/a%5cb",
        "/%",
        "/%zz",
        "/%ff",
        "/a#b",
        "/é",
        "/%0d%0a",
        "a",
        "*",
        "https://localhost/",
        "http://",
        "localhost:80",
        "//../x",
    ] {
        refused(&format!("GET {target} HTTP/1.1"), "Host: localhost\r\n", "", BAD);
    }
}

#[test]
fn what_is_too_long_or_unknown_has_its_own_status() {
    let host = "Host: localhost\r\n";
    let long = format!("GET /{} HTTP/1.1", "a".repeat(8192));
    refused(&long, host, "", "414 URI Too Long");
    let endless = format!("GET /{} HTTP/1.1", "a".repeat(20_000));
    refused(&endless, host, "", "414 URI Too Long");
    let many = format!("{host}{}", "X: y\r\n".repeat(100));
    refused("GET /a HTTP/1.1", &many, "", "431 Request Header Fields Too Large");
    let wide = format!("{host}X: {}\r\n", "y".repeat(16 * 1024));
    refused("GET /a HTTP/1.1", &wide, "", "431 Request Header Fields Too Large");
    refused("BREW /a HTTP/1.1", host, "", "501 Not Implemented");
    refused("get /a HTTP/1.1", host, "", "501 Not Implemented");
    refused("CONNECT localhost:80 HTTP/1.1", host, "", "405 Method Not Allowed");
    refused("TRACE /a HTTP/1.1", host, "", "405 Method Not Allowed");
    refused("GET /a HTTP/2.0", host, "", "505 HTTP Version Not Supported");
    refused("PRI * HTTP/2.0", "", "", "505 HTTP Version Not Supported");
    let expects = "Host: localhost\r\nExpect: 200-maybe\r\n";
    refused(POST, expects, "", "417 Expectation Failed");
}

#[test]
fn honest_requests_are_answered_however_they_are_cut() {
    let bytes = "GET /a?x=%20 HTTP/1.1\r\nHost: LOCALHOST:8080\r\nX-A: café\r\n\r\n\
         POST /b HTTP/1.1\r\nHost: [::1]:1\r\nContent-Length: 5\r\n\r\nhello\r\n\
         POST http://127.0.0.1/c%41 HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: Chunked\r\n\r\n\
         2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n\
         OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for cut in [Cut::Joined, Cut::HeadThenRest, Cut::ByteByByte] {
        let (talk, echo) = open();
        send(&talk, bytes.as_bytes(), cut);
        assert_eq!(seen(&echo), ["GET /a", "POST /b", "POST /cA", "OPTIONS *"]);
        let answers = talk.received();
        assert_eq!(statuses(&answers).len(), 4, "{answers}");
        let order: Vec<_> = ["/a 0", "/b 5", "/cA 5", "* 0"].map(|it| answers.find(it)).into();
        assert!(order.is_sorted() && order.iter().all(Option::is_some), "{answers}");
        assert!(!talk.is_closed());
    }
}

#[test]
fn an_answer_says_what_it_should() {
    let (talk, _) = open();
    talk.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(
        talk.received(),
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 09:50:04 GMT\r\n\
         content-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n\
         referrer-policy: no-referrer\r\ncache-control: no-store\r\n\
         cross-origin-resource-policy: same-origin\r\ncontent-length: 4\r\n\r\n/a 0"
    );
}

#[test]
fn head_is_answered_without_a_body_and_the_next_request_follows() {
    let (talk, echo) = open();
    talk.send(
        b"HEAD /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    let answers = talk.received();
    assert!(answers.contains("content-length: 4\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answers}");
    assert_eq!(seen(&echo), ["HEAD /a", "GET /b"]);
}

#[test]
fn http_1_0_and_close_are_answered_and_closed() {
    for head in [
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: x, Close\r\n\r\n",
    ] {
        let (talk, echo) = open();
        talk.send(format!("{head}{head}").as_bytes());
        assert_eq!(statuses(&talk.received()), ["HTTP/1.1 200 OK"]);
        assert!(talk.is_closed());
        assert_eq!(seen(&echo).len(), 1);
    }
}

#[test]
fn a_body_over_the_limit_is_413_before_it_is_read() {
    let (talk, _) = open();
    talk.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n");
    assert_eq!(statuses(&talk.received()), ["HTTP/1.1 413 Content Too Large"]);
    assert!(talk.is_closed());
    let (talk, _) = open();
    talk.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("200\r\n{}\r\n", "a".repeat(512));
    talk.send(chunk.repeat(2).as_bytes());
    assert_eq!(talk.received(), "");
    talk.send(b"1\r\na");
    assert_eq!(statuses(&talk.received()), ["HTTP/1.1 413 Content Too Large"]);
}

#[test]
fn a_refused_client_is_heard_out_for_a_while_and_not_longer() {
    let (talk, _) = open();
    talk.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n");
    talk.send(&vec![b'a'; 900_000]);
    assert!(!talk.is_over());
    talk.send(&vec![b'a'; 900_000]);
    assert!(talk.is_over());
    assert!(700_000 < talk.unread());
    let (talk, _) = open();
    talk.send(b"GET / HTTP/1.1\r\n\r\n");
    talk.pass(2 * SECOND);
    assert!(talk.is_over());
}

#[test]
fn the_word_to_go_on_is_said_only_when_the_body_is_wanted() {
    let head = "HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\nContent-Length: ";
    let (talk, _) = open();
    talk.send(format!("POST /a {head}5\r\n\r\n").as_bytes());
    assert_eq!(talk.received(), "HTTP/1.1 100 Continue\r\n\r\n");
    talk.send(b"hello");
    assert!(talk.received().ends_with("/a 5"));
    assert!(!talk.is_closed());
    for (path, length, status) in [("/a", 9999, "413 Content Too Large"), ("/unread", 5, "200 OK")]
    {
        let (talk, _) = open();
        talk.send(format!("POST {path} {head}{length}\r\n\r\n").as_bytes());
        assert_eq!(statuses(&talk.received()), [format!("HTTP/1.1 {status}")]);
        assert!(talk.is_closed());
    }
}

/// Connections to one server, whose bodies and answers may hold so many bytes together.
fn crowd(service: impl crate::http::Service, held_bytes: usize) -> impl Fn() -> Talk {
    let clock = ManualClock::new();
    let limits = ServerLimits { held_bytes, ..ServerLimits::default() };
    let site = ServerContext::new(Arc::new(service), ServerState::default(), limits, clock.clone());
    let site = Arc::new(site);
    move || Talk::on(site.clone(), clock.clone())
}

#[test]
fn bodies_under_way_are_bounded_together_and_grow_with_what_arrives() {
    let connect = crowd(Echo::default(), 2000);
    let post = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    let announced: Vec<Talk> = (0..20).map(|_| connect()).collect();
    announced.iter().for_each(|it| it.send(post));
    assert_eq!(announced[0].site.places.bytes(), 0, "what is announced costs nothing");
    announced[0].send(&[b'a'; 900]);
    announced[1].send(&[b'a'; 900]);
    announced[2].send(&[b'a'; 900]);
    let refused = announced[2].received();
    assert_eq!(statuses(&refused), ["HTTP/1.1 503 Service Unavailable"]);
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("already hold 2000B, the maximum"), "{refused}");
    assert!(announced[0].site.places.bytes() <= 2000);
    announced[0].send(&[b'a'; 100]);
    assert_eq!(statuses(&announced[0].received()), ["HTTP/1.1 200 OK"]);
    announced[3].send(&[b'a'; 1000]);
    assert_eq!(statuses(&announced[3].received()), ["HTTP/1.1 200 OK"]);
    // Who hangs up half way holds nothing any more.
    announced[1].hang_up();
    assert_eq!(announced[1].site.places.bytes(), 0);
}

/// Answers everything with 20,000 bytes.
struct Long;

impl crate::http::Service for Long {
    fn respond<'a>(&'a self, _: &'a mut Request<'_>) -> kernel::env::Pending<'a, Reply> {
        Box::pin(async { Reply::text(200, "x".repeat(20_000)) })
    }
}

#[test]
fn answers_that_nobody_takes_are_bounded_together() {
    let connect = crowd(Long, 50_000);
    let talks: Vec<Talk> = (0..3).map(|_| connect()).collect();
    for talk in &talks {
        talk.narrow(100);
        talk.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_eq!(talks[0].site.places.bytes(), 40_000);
    talks[2].narrow(1 << 20);
    assert!(talks[2].received().starts_with("HTTP/1.1 503 "), "the third is refused");
    talks[0].narrow(1 << 20);
    talks[0].received();
    assert_eq!(talks[0].site.places.bytes(), 20_000, "what was taken is free");
    talks[2].send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    talks[2].received();
    assert_eq!(statuses(&talks[2].received()), Vec::<&str>::new());
    // One that takes nothing is closed after its time, and its memory is free.
    talks[1].pass(30 * SECOND);
    assert!(talks[1].is_over());
    assert_eq!(talks[1].site.places.bytes(), 0);
}

#[test]
fn a_body_nobody_read_is_never_taken_for_a_request() {
    let inner = "GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let head = format!(
        "POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        inner.len()
    );
    let next = "GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (talk, echo) = open();
    talk.send(format!("{head}{inner}{next}").as_bytes());
    assert_eq!(seen(&echo), ["POST /unread", "GET /next"]);
    let (talk, echo) = open();
    talk.send(head.as_bytes());
    talk.send(format!("{inner}{next}").as_bytes());
    assert_eq!(seen(&echo), ["POST /unread"]);
    assert!(talk.is_closed());
}

#[test]
fn half_a_head_is_given_five_seconds() {
    let (talk, _) = open();
    talk.pass(20 * SECOND);
    talk.send(b"GET /a HTTP/1.1\r\n");
    for _ in 0..4 {
        talk.pass(SECOND);
        talk.send(b"X: y\r\n");
    }
    assert_eq!(talk.received(), "");
    talk.pass(SECOND);
    assert_eq!(statuses(&talk.received()), ["HTTP/1.1 408 Request Timeout"]);
    assert!(talk.is_closed());
}

#[test]
fn half_a_body_is_given_fifteen_seconds_and_more_for_what_it_brings() {
    let post = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n";
    let (talk, _) = open();
    talk.send(post);
    talk.pass(14 * SECOND);
    talk.send(b"a");
    assert_eq!(talk.received(), "");
    talk.pass(SECOND);
    assert_eq!(statuses(&talk.received()), ["HTTP/1.1 408 Request Timeout"]);
    assert!(talk.is_closed());
    assert_eq!(talk.site.counters.timeouts.load(Ordering::Relaxed), 1);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let (talk, _) = open();
    talk.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    talk.received();
    talk.pass(29 * SECOND);
    assert!(!talk.is_closed());
    talk.pass(SECOND);
    assert_eq!(talk.received(), "");
    assert!(talk.is_over());
}

#[test]
fn a_request_that_nobody_answers_ends_after_a_minute() {
    let (talk, _) = open();
    talk.send(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n");
    talk.pass(59 * SECOND);
    assert_eq!(talk.received(), "");
    talk.pass(SECOND);
    assert_eq!(statuses(&talk.received()), ["HTTP/1.1 408 Request Timeout"]);
    assert!(talk.is_closed());
}

#[test]
fn a_panic_is_one_answer_and_the_end_of_its_connection() {
    let (talk, _) = open();
    let get = "GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n";
    talk.send(get.repeat(2).as_bytes());
    assert_eq!(statuses(&talk.received()), ["HTTP/1.1 500 Internal Server Error"]);
    assert!(talk.is_closed());
    assert_eq!(talk.site.counters.panics.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stop_lets_the_request_under_way_finish_and_takes_no_other() {
    let (talk, echo) = open();
    talk.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
    talk.site.stop.stop();
    talk.send(b"lloGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = talk.received();
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("/a 5"), "{answer}");
    assert_eq!(seen(&echo), ["POST /a"]);
    assert!(talk.is_over());
}

#[test]
fn configured_names_and_our_own_address_are_served() {
    let door = language::ServedHost::parse("Door.Example").unwrap();
    let hosts = Hosts::new(vec![door], None);
    let parse = |host: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let local = Some("192.0.2.7".parse().unwrap());
        Head::parse(text.as_bytes(), &ServerLimits::default(), &hosts, local)
            .err()
            .map(|it| it.status)
    };
    assert_eq!(parse("door.example:8443"), None);
    assert_eq!(parse("192.0.2.7"), None);
    assert_eq!(parse("[::ffff:192.0.2.7]:80"), None);
    assert_eq!(parse("192.0.2.8"), Some(421));
}

#[test]
fn a_head_gives_its_parts() {
    let head = request_head("GET /a%20b?x=%31 HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n\r\n");
    assert_eq!((head.path(), head.path_raw()), ("/a b", "/a%20b"));
    assert_eq!((head.query(), head.target()), (Some("x=%31"), "/a%20b?x=%31"));
    assert_eq!((head.header("x-a"), head.header("none")), (Some("1"), None));
    let bare = request_head("GET http://localhost?x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((bare.path(), bare.query(), bare.target()), ("/", Some("x"), "/?x"));
}

#[test]
fn a_field_that_could_end_its_line_is_not_sent() {
    let reply = Reply::empty(204).with("x-a", "a\r\nx-b: c").with("x:c", "d").with("x-d", "é");
    assert!(reply.header("x-a").is_none() && reply.header("x:c").is_none());
    assert!(reply.header("x-d").is_none());
}

/// What a connection answers and asks for when these pieces arrive one by one.
fn outcome(pieces: &[&[u8]]) -> (String, Vec<String>, bool) {
    let (talk, echo) = open();
    pieces.iter().for_each(|piece| talk.send(piece));
    (talk.received(), seen(&echo), talk.is_closed())
}

/// Pieces of requests, good and bad, put together without thought.
fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let scrap = prop_oneof![
        Just("GET /a HTTP/1.1\r\n".as_bytes().to_vec()),
        Just(b"POST /b HTTP/1.1\r\n".to_vec()),
        Just(b"Host: localhost\r\n".to_vec()),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"3\r\nabc\r\n0\r\n\r\n".to_vec()),
        Just(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(scrap, 0..9).prop_map(|scalar| scalar.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cutting_the_bytes_anywhere_changes_nothing(
        bytes in scraps(),
        cuts in proptest::collection::vec(0usize..200, 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(outcome(&[&bytes]), outcome(&pieces));
    }

    #[test]
    fn no_bytes_make_the_head_reader_panic(
        bytes in prop_oneof![scraps(), proptest::collection::vec(any::<u8>(), 0..300)],
    ) {
        let bytes = [&bytes[..], b"\r\n\r\n"].concat();
        if let Ok(Some(end)) = head::end(&bytes, 0) {
            let (limits, hosts) = (ServerLimits::default(), Hosts::default());
            if let Ok(head) = Head::parse(&bytes[..end], &limits, &hosts, None) {
                prop_assert!(head.headers().all(|(name, _)| !name.is_empty()));
                prop_assert!(head.target().starts_with(head.path_raw()));
            }
        }
    }

    #[test]
    fn no_target_makes_the_reader_panic(target in "[ -~é]{0,30}") {
        let text = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (limits, hosts) = (ServerLimits::default(), Hosts::default());
        if let Ok(head) = Head::parse(text.as_bytes(), &limits, &hosts, None) {
            prop_assert!(!head.path().split('/').any(|part| part == ".."));
        }
    }
}
