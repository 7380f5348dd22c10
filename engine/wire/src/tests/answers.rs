//! What an answer may look like, and how each broken one is called. Every answer also comes in
//! every way of cutting it in pieces, and means the same.

use crate::FetchRequest;
use crate::exchange::exchange;
use crate::problem::CallProgress;
use crate::request::PreparedRequest;
use crate::testing::{ScriptedStream, get, poll_now, post};
use kernel::fault::Cause;
use std::pin::pin;

/// `status body`, with `+` when the connection may be used again; or the reason and its class.
fn outcome(stream: &mut ScriptedStream, request: &FetchRequest) -> String {
    let prepared = PreparedRequest::new(request).unwrap();
    let progress = CallProgress::default();
    match smol::block_on(exchange(stream, prepared, request, &progress)) {
        Ok(exchanged) => {
            let body = String::from_utf8_lossy(&exchanged.response.body).into_owned();
            let reuse = if exchanged.is_reusable { "+" } else { "" };
            format!("{} {body}{reuse}", exchanged.response.status)
        }
        Err(broken) => format!("{}: {}", broken.fault.class.word(), broken.fault.reason),
    }
}

fn with_method(method: &'static str) -> FetchRequest {
    FetchRequest { method, body_max: 8, ..get("http://h/") }
}

/// Gives `answer` whole, byte by byte, and cut in two at every place.
#[track_caller]
fn check_with(method: &'static str, answer: &[u8], expected: &str) {
    let request = with_method(method);
    let shown = String::from_utf8_lossy(answer).into_owned();
    let whole = outcome(&mut ScriptedStream::of([answer.to_vec()]), &request);
    assert_eq!(whole, expected, "{shown:?}");
    let bytes = answer.iter().map(|byte| vec![*byte]);
    let dripped = outcome(&mut ScriptedStream::of(bytes), &request);
    assert_eq!(dripped, expected, "byte by byte: {shown:?}");
    for at in 1..answer.len().min(300) {
        let (first, second) = answer.split_at(at);
        let mut stream = ScriptedStream::of([first.to_vec(), second.to_vec()]);
        assert_eq!(outcome(&mut stream, &request), expected, "cut at {at}: {shown:?}");
    }
}

#[track_caller]
fn check(answer: &str, expected: &str) {
    check_with("GET", answer.as_bytes(), expected);
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn a_body_ends_where_its_head_says() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok+");
    check("HTTP/1.1 200 \r\ncontent-length:2\r\n\r\nok", "200 ok+");
    check("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "503 +");
    check("HTTP/1.1 302 Go\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n", "302 +");
    check("HTTP/1.1 307 Go\r\nLocation: /y\r\nContent-Length: 2\r\n\r\nok", "307 ok+");
    check(&format!("{OK}Content-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok"), "200 ok+");
    check(&format!("{OK}Connection: close\r\nContent-Length: 2\r\n\r\nok"), "200 ok");
    check(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "200 ok+");
    check(
        &format!("{OK}Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\no\r\n01\r\nk\r\n0\r\n\r\n"),
        "200 ok+",
    );
    check(
        &format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\nC: d\r\n\r\n"),
        "200 ok+",
    );
    // Some close right after the last chunk.
    check(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"), "200 ok");
}

#[test]
fn without_a_length_the_end_of_the_connection_is_the_end_of_the_body() {
    check("HTTP/1.1 200 OK\r\n\r\nok", "200 ok");
    check("HTTP/1.0 200 OK\r\n\r\nok", "200 ok");
    check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok");
    check("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "200 ok+");
}

#[test]
fn some_answers_have_no_body() {
    check("HTTP/1.1 204 No\r\n\r\n", "204 +");
    check("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", "304 +");
    check_with("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", "200 +");
    check_with("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 +");
    check("HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n", "101 ");
}

#[test]
fn what_follows_an_answer_is_not_the_next_one() {
    let first = |answers: String| {
        outcome(&mut ScriptedStream::of([answers.into_bytes()]), &with_method("GET"))
    };
    assert_eq!(first(format!("HTTP/1.1 204 No\r\n\r\n{OK}\r\n")), "204 ");
    assert_eq!(first(format!("{OK}Content-Length: 2\r\n\r\nok{OK}\r\nevil")), "200 ok");
}

#[test]
fn interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\n";
    check(&format!("HTTP/1.1 100 Continue\r\n\r\n{OK}Content-Length: 2\r\n\r\nok"), "200 ok+");
    check(&format!("HTTP/1.1 100 C\r\nA: b\r\n\r\n{OK}Content-Length: 2\r\n\r\nok"), "200 ok+");
    check(&format!("{interim}{interim}{OK}Content-Length: 2\r\n\r\nok"), "200 ok+");
    check(
        &interim.repeat(40),
        "transient: the response is not valid HTTP: too many interim responses",
    );
    check(interim, "transient: the connection was closed in the middle of the response");
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let middle = "transient: the connection was closed in the middle of the response";
    check("", "transient: the connection was closed without a response");
    check("H", middle);
    check("HTTP/1.1 200 OK\r\nContent-Le", middle);
    check(&format!("{OK}Content-Length: 3\r\n\r\nok"), middle);
    check(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n5\r\nok"), middle);
    check(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), middle);
    check(&format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0"), middle);
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_refused() {
    let refused = |what: &str| format!("transient: the response is not valid HTTP: {what}");
    check(
        &format!("{OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
        &refused("conflicting content-length headers"),
    );
    check(
        &format!("{OK}Content-Length: -2\r\n\r\nok"),
        &refused("content-length header not a number"),
    );
    check(
        &format!("{OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        &refused("it has both a length and a transfer encoding"),
    );
    for coding in ["gzip, chunked", "xchunked", "chunked, identity", "gzip"] {
        check(
            &format!("{OK}Transfer-Encoding: {coding}\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            &refused("it has a transfer encoding other than chunked"),
        );
    }
    check(
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        &refused("it has a transfer encoding, which HTTP/1.0 does not support"),
    );
}

#[test]
fn garbage_is_called_so() {
    let refused = |what: &str| format!("transient: the response is not valid HTTP: {what}");
    for garbage in ["SSH-2.0-OpenSSH\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        check(garbage, &refused("it does not begin with HTTP/1"));
    }
    check("HTTP/2 200\r\n\r\n", &refused("invalid HTTP version"));
    check("HTTP/1.1 099 No\r\n\r\n", &refused("invalid status code: 099"));
    check(&format!("{OK}A: b\r\n folded\r\n\r\n"), &refused("invalid header name"));
    check(&format!("{OK}A: b\0\r\n\r\n"), &refused("invalid header value"));
    let chunked = format!("{OK}Transfer-Encoding: chunked\r\n\r\n");
    check(&format!("{chunked}zz\r\n"), &refused("chunk length cannot be read as a number"));
    check(&format!("{chunked}-1\r\n"), &refused("chunk length cannot be read as a number"));
    check(&format!("{chunked}2\r\nokay\r\n"), &refused("chunk expected crlf as next character"));
}

#[test]
fn a_body_may_be_as_long_as_allowed_and_no_longer() {
    let too_long = "permanent: the response is longer than 8 bytes";
    check(&format!("{OK}Content-Length: 8\r\n\r\n12345678"), "200 12345678+");
    check(&format!("{OK}Content-Length: 9\r\n\r\n"), too_long);
    check(&format!("{OK}Content-Length: 18446744073709551615\r\n\r\n"), too_long);
    check(&format!("{OK}\r\n12345678"), "200 12345678");
    check(&format!("{OK}\r\n123456789"), too_long);
    let chunked = format!("{OK}Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n");
    check(&format!("{chunked}4\r\n5678\r\n0\r\n\r\n"), "200 12345678+");
    check(&format!("{chunked}5\r\n56789\r\n0\r\n\r\n"), too_long);
    check(&format!("{chunked}ffffffffffffffff\r\n56789"), too_long);
    let mut none = with_method("GET");
    none.body_max = 0;
    let answer = |length| format!("{OK}Content-Length: {length}\r\n\r\nx").into_bytes();
    let ask = |length| outcome(&mut ScriptedStream::of([answer(length)]), &none);
    assert_eq!(
        (ask(0).as_str(), ask(1).as_str()),
        ("200 ", "permanent: the response is longer than 0 bytes")
    );
}

#[test]
fn a_head_chunk_lengths_and_trailers_without_end_are_cut() {
    let endless = |start: &str, line: &str| {
        let lines = std::iter::repeat_n(line.as_bytes().to_vec(), 400_000);
        let stream = [start.as_bytes().to_vec()].into_iter().chain(lines);
        outcome(&mut ScriptedStream::of(stream), &with_method("GET"))
    };
    let refused = |what: &str| format!("transient: the response is not valid HTTP: {what}");
    assert_eq!(endless(OK, "A: b\r\n"), refused("it has too many headers"));
    assert_eq!(endless(&format!("{OK}A: "), "b"), refused("its head is too long"));
    assert_eq!(endless("HTTP/1.1 200 ", "b"), refused("its head is too long"));
    let chunked = format!("{OK}Transfer-Encoding: chunked\r\n\r\n");
    let framing = refused("its chunk lengths or trailers are too long");
    assert_eq!(endless(&chunked, "0"), framing);
    assert_eq!(endless(&format!("{chunked}2\r\nok"), "x"), framing);
    assert_eq!(endless(&format!("{chunked}0\r\n"), "A: b\r\n"), framing);
    assert_eq!(endless(&format!("{chunked}0\r\n"), "A"), framing);
}

#[test]
fn an_answer_that_comes_before_the_request_is_sent_counts() {
    let mut request = post("http://h/", &[b'x'; 100_000]);
    request.body_max = 8;
    let answer = b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno".to_vec();
    let mut stream = ScriptedStream::of([answer.clone()]);
    stream.takes_max = Some(1_000);
    assert_eq!(outcome(&mut stream, &request), "413 no");
    // An interim answer does not end the sending.
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let mut stream = ScriptedStream::of([interim, answer]);
    stream.takes_max = Some(50);
    assert_eq!(outcome(&mut stream, &request), "413 no");
}

#[test]
fn a_service_that_sends_without_a_pause_lets_the_others_run() {
    let mut request = with_method("GET");
    request.body_max = 10 << 20;
    let pieces = std::iter::repeat_n(vec![b'x'; 64 << 10], 100);
    let mut stream =
        ScriptedStream::of([format!("{OK}\r\n").into_bytes()].into_iter().chain(pieces));
    let prepared = PreparedRequest::new(&request).unwrap();
    let progress = CallProgress::default();
    let mut call = pin!(exchange(&mut stream, prepared, &request, &progress));
    let mut turns = 1;
    while poll_now(call.as_mut()).is_none() {
        turns += 1;
    }
    assert!(5 < turns, "{turns}");
}

#[test]
fn a_broken_connection_says_how_it_broke() {
    let mut stream = ScriptedStream::default();
    stream.input.push_back(Err(std::io::ErrorKind::ConnectionReset.into()));
    assert_eq!(
        outcome(&mut stream, &with_method("GET")),
        "transient: the connection broke: connection reset"
    );
    let prepared = PreparedRequest::new(&with_method("GET")).unwrap();
    let mut stream = ScriptedStream::of([format!("{OK}Content-Length: 5\r\n\r\nok").into_bytes()]);
    stream.input.push_back(Err(std::io::ErrorKind::ConnectionReset.into()));
    let (request, progress) = (with_method("GET"), CallProgress::default());
    let Err(broken) = smol::block_on(exchange(&mut stream, prepared, &request, &progress)) else {
        panic!("half an answer is none");
    };
    assert_eq!(broken.fault.cause, Cause::Connect);
    assert!(!broken.is_unanswered);
}

#[test]
#[expect(clippy::print_stdout, reason = "the seed, shown when the test fails")]
fn whatever_a_service_sends_the_call_ends() {
    let samples = [
        format!("{OK}Content-Length: 2\r\nA: b\r\n\r\nok"),
        format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n"),
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.0 404 No\r\nConnection: keep-alive\r\n\r\nbody".to_owned(),
    ];
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for round in 0..20_000 {
        let mut bytes = samples[round % samples.len()].clone().into_bytes();
        for _ in 0..dice.usize(1..6) {
            let at = dice.usize(..bytes.len());
            match dice.u8(..4) {
                0 => bytes[at] = dice.u8(..),
                1 => bytes.insert(at, *dice.choice(b"\r\n:;, 0159af\0").unwrap()),
                2 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
        }
        let sizes = dice.usize(1..40);
        let pieces: Vec<_> = bytes.chunks(sizes).map(<[u8]>::to_vec).collect();
        let cut = outcome(&mut ScriptedStream::of(pieces), &with_method("GET"));
        let whole = outcome(&mut ScriptedStream::of([bytes.clone()]), &with_method("GET"));
        let shown = String::from_utf8_lossy(&bytes);
        let is_answer = |outcome: &str| outcome.starts_with(|first: char| first.is_ascii_digit());
        if is_answer(&cut) || is_answer(&whole) {
            // Only whether something follows the answer may not be known yet.
            let known = |outcome: &str| outcome.trim_end_matches('+').to_owned();
            assert_eq!(known(&cut), known(&whole), "{shown:?}");
        }
    }
}
