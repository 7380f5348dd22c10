//! Answers that are taken part by part, since they may never end.

use crate::exchange::follow;
use crate::problem::CallProgress;
use crate::request::PreparedRequest;
use crate::testing::{ClientWorld, ScriptedStream, SteppedClock, TestService, get};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What was taken until `most` bytes or the end, and how it ended: `status body`, or the reason.
fn outcome(stream: &mut ScriptedStream, most: usize) -> (String, String) {
    let request = get("http://h/");
    let prepared = PreparedRequest::new(&request).unwrap();
    let (progress, clock) = (CallProgress::default(), SteppedClock::at("2030-01-01T00:00:00Z"));
    let mut taken = Vec::new();
    let mut take = |part: &[u8]| {
        taken.extend_from_slice(part);
        taken.len() < most
    };
    let followed = follow(stream, prepared, &request, &progress, &*clock, &mut take);
    let ended = match smol::block_on(followed) {
        Ok(response) => format!("{} {}", response.status, String::from_utf8_lossy(&response.body)),
        Err(fault) => fault.reason,
    };
    (String::from_utf8(taken).unwrap(), ended)
}

#[track_caller]
fn check(answer: &str, most: usize, taken: &str, ended: &str) {
    let bytes = answer.bytes().map(|byte| vec![byte]);
    let expected = (taken.to_owned(), ended.to_owned());
    assert_eq!(outcome(&mut ScriptedStream::of(bytes), most), expected, "byte by byte");
    for at in 1..answer.len() {
        let (first, second) = answer.split_at(at);
        let pieces = [first, second].map(|it| it.as_bytes().to_vec());
        let (found, how) = outcome(&mut ScriptedStream::of(pieces), most);
        assert!(found.starts_with(taken) && how == ended, "cut at {at}: {found:?} {how:?}");
    }
}

#[test]
fn each_part_is_taken_as_it_comes_until_the_end() {
    let chunks = format!("{HEAD}3\r\nabc\r\n2\r\nde\r\n");
    check(&format!("{chunks}0\r\n\r\n"), usize::MAX, "abcde", "200 ");
    check(&chunks, usize::MAX, "abcde", "the connection was closed in the middle of the response");
    check(&chunks, 4, "abcd", "200 ");
    check("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab", usize::MAX, "ab", "200 ");
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", usize::MAX, "ab", "200 ");
    check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", usize::MAX, "", "200 ");
}

#[test]
fn another_status_is_read_whole() {
    check("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nfull", usize::MAX, "", "503 full");
    let long = format!("HTTP/1.1 503 No\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    check(&long, usize::MAX, "", "the response is longer than 1024 bytes");
}

#[test]
fn a_stream_that_falls_silent_ends_and_gives_its_socket_back() {
    let world = ClientWorld::new();
    let service = TestService::start(|visitor| {
        visitor.request();
        visitor.answer(format!("{HEAD}2\r\nab\r\n"));
        visitor.hang();
    });
    let (has_come, came) = mpsc::channel();
    let is_over = AtomicBool::new(false);
    let (clock, over) = (&world.clock, &is_over);
    let ended = std::thread::scope(|scope| {
        scope.spawn(move || {
            came.recv().unwrap();
            while !over.load(Ordering::SeqCst) {
                clock.advance(Duration::from_secs(1));
                std::thread::yield_now();
            }
        });
        let mut take = |_: &[u8]| has_come.send(()).is_ok();
        let ended = smol::block_on(world.wire.follow(&get(&service.url), &mut take));
        over.store(true, Ordering::SeqCst);
        ended
    });
    assert_eq!(ended.unwrap_err().reason, "the response did not end in time");
    assert_eq!(world.usage(), (0, 0, 0));
}
