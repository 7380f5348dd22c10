//! Connections that are kept, those that must not be, and what is sent over them.

use crate::Fetch;
use crate::testing::{ClientWorld, TestService, get, keyed, poll_now, post};
use kernel::fault::Cause;
use std::net::Shutdown;
use std::pin::pin;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_request_says_what_it_was_given_and_who_sends_it() {
    let (world, service) = (ClientWorld::new(), TestService::answering(OK));
    let agent = concat!("engine/", env!("CARGO_PKG_VERSION"));
    let url = service.url.replace("http://", "http://me:pa%20ss@");
    let answer = world.fetch(get(&format!("{url}?a=b#c"))).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    assert_eq!(answer.headers, [("content-length".to_owned(), "2".to_owned())]);
    let host = format!("127.0.0.1:{}", service.port);
    let expected = [
        "GET /x?a=b HTTP/1.1",
        &format!("host: {host}"),
        "authorization: Basic bWU6cGElMjBzcw==",
        "x-key: k",
        &format!("user-agent: {agent}"),
        "accept: */*",
        "\r\n",
    ];
    assert_eq!(service.next(), expected.join("\r\n"));
    world.fetch(post(&service.url, b"{}")).unwrap();
    let asked = service.next();
    assert!(asked.starts_with("POST /x HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked.contains("\r\ncontent-length: 2\r\n") && asked.ends_with("\r\n\r\n{}"),
        "{asked}"
    );
}

#[test]
fn a_header_of_the_request_comes_before_our_own() {
    let (world, service) = (ClientWorld::new(), TestService::answering(OK));
    let mut request = post(&service.url, b"");
    request.headers = [("User-Agent", "mine"), ("Accept", "a/b"), ("Host", "other"), ("X", "é")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    world.fetch(request).unwrap();
    let asked = service.next();
    for line in ["user-agent: mine", "accept: a/b", "host: other", "content-length: 0"] {
        assert_eq!(asked.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}: {asked}");
    }
    assert!(!asked.contains("accept-encoding"), "{asked}");
}

#[test]
fn a_connection_is_used_again_and_only_for_the_same_host_and_port() {
    let world = ClientWorld::new();
    let (one, other) = (TestService::answering(OK), TestService::answering(OK));
    for _ in 0..3 {
        world.fetch(get(&one.url)).unwrap();
        world.fetch(post(&other.url, &[b'x'; 50_000])).unwrap();
    }
    world.fetch(get(&one.url.replace("127.0.0.1", "LocalHost"))).unwrap();
    world.fetch(get(&one.url.replace("127.0.0.1", "localhost"))).unwrap();
    assert_eq!((one.connections(), other.connections()), (2, 1));
    assert_eq!(world.usage(), (0, 3, 0));
}

#[test]
fn a_connection_that_the_service_ends_is_not_kept() {
    let world = ClientWorld::new();
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No\r\n\r\nmore than asked for",
    ] {
        let service = TestService::answering(answer);
        world.fetch(get(&service.url)).unwrap();
        assert_eq!(world.usage(), (0, 0, 0), "{answer:?}");
    }
}

#[test]
fn a_kept_connection_that_was_closed_or_says_something_unasked_is_not_used() {
    let unasked = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    for end in ["closes", unasked] {
        let world = ClientWorld::new();
        let service = TestService::start(move |visitor| {
            while visitor.request().is_some() {
                visitor.answer(OK);
                match end {
                    "closes" => visitor.stream.shutdown(Shutdown::Both).unwrap(),
                    unasked => visitor.answer(unasked),
                }
                visitor.say("done");
            }
        });
        for number in 1..4 {
            // Also without a key: nothing of the request goes to the old connection.
            assert_eq!(world.fetch(post(&service.url, b"{}")).unwrap().status, 200, "{end}");
            assert_eq!((service.next().as_str(), service.connections()), ("done", number));
        }
    }
}

/// Answers the first request of the first connection and `answer`s the second; answers all of
/// the others, or closes them.
fn crossing(answer: &'static str, is_back: bool) -> TestService {
    TestService::start(move |visitor| {
        let mut left = if visitor.number == 0 { 1 } else { usize::from(is_back) * 9 };
        while visitor.request().is_some() {
            if left == 0 {
                return visitor.answer(answer);
            }
            left -= 1;
            visitor.answer(OK);
        }
    })
}

#[test]
fn a_close_that_crosses_a_request_is_made_good_once_if_repeating_it_is_safe() {
    for (request, is_repeated) in [
        (get as fn(&str) -> _, true),
        ((|url| keyed(url, b"{}")) as fn(&str) -> _, true),
        ((|url| post(url, b"{}")) as fn(&str) -> _, false),
    ] {
        let (world, service) = (ClientWorld::new(), crossing("", true));
        world.fetch(request(&service.url)).unwrap();
        let second = world.fetch(request(&service.url));
        assert_eq!(
            (second.is_ok(), service.connections()),
            (is_repeated, 1 + usize::from(is_repeated))
        );
        if let Err(fault) = second {
            assert_eq!(fault.reason, "the connection was closed without a response");
            assert_eq!(fault.cause, Cause::Connect);
        }
    }
}

#[test]
fn a_close_is_made_good_neither_twice_nor_after_a_byte_of_an_answer() {
    let (world, service) = (ClientWorld::new(), crossing("", false));
    world.fetch(get(&service.url)).unwrap();
    let fault = world.fetch(get(&service.url)).unwrap_err();
    assert_eq!(fault.reason, "the connection was closed without a response");
    assert_eq!(service.connections(), 2);
    let (world, service) = (ClientWorld::new(), crossing("HTTP/1.1 20", true));
    world.fetch(get(&service.url)).unwrap();
    let fault = world.fetch(get(&service.url)).unwrap_err();
    assert_eq!(fault.reason, "the connection was closed in the middle of the response");
    assert_eq!((service.connections(), world.usage()), (1, (0, 0, 0)));
}

#[test]
fn a_connection_that_nothing_uses_is_closed_after_fifteen_seconds() {
    let world = ClientWorld::new();
    let service = TestService::start(|visitor| {
        while visitor.request().is_some() {
            visitor.answer(OK);
        }
        visitor.say("closed");
    });
    world.fetch(get(&service.url)).unwrap();
    let mut closing = pin!(world.wire.close_idle());
    for seconds in 0..15 {
        assert!(poll_now(closing.as_mut()).is_none());
        assert_eq!(world.usage(), (0, 1, 0), "after {seconds} s");
        world.clock.advance(Duration::from_secs(1));
    }
    assert!(poll_now(closing.as_mut()).is_none());
    assert_eq!((world.usage(), service.next().as_str()), ((0, 0, 0), "closed"));
    // Nor is it used when nobody closes it in time.
    world.fetch(get(&service.url)).unwrap();
    world.clock.advance(Duration::from_secs(15));
    world.fetch(get(&service.url)).unwrap();
    assert_eq!((service.connections(), world.usage()), (3, (0, 1, 0)));
}

#[test]
fn a_request_that_cannot_be_sent_opens_no_connection() {
    let (world, service) = (ClientWorld::new(), TestService::answering(OK));
    let with = |name: &str, value: &str| {
        let mut request = get(&service.url);
        request.headers.push((name.to_owned(), value.to_owned()));
        let fault = smol::block_on(world.wire.fetch(request)).unwrap_err();
        assert!(!fault.is_transient());
        fault.reason
    };
    let control = |name: &str| format!("the header `{name}` has a line end or control character");
    assert_eq!(with("X-Token", "s3cret\r\nx-evil: 1"), control("x-token"));
    assert_eq!(with("X-Token", "s3cret\0"), control("x-token"));
    assert_eq!(with("X Token", "s3cret"), "`X Token` is not a header");
    assert_eq!(with("a\r\nb", "s3cret"), "`a\\r\\nb` is not a header");
    for name in ["Content-Length", "transfer-encoding", "Expect"] {
        let reason =
            format!("the header `{}` is set by the engine; remove it", name.to_lowercase());
        assert_eq!(with(name, "0"), reason);
    }
    assert_eq!(service.connections(), 0);
}
