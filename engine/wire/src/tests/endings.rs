//! Calls that end without an answer: too late, given up, or beside a thousand that hang.

use crate::pool::PoolLimits;
use crate::testing::{
    ClientWorld, SIGNED, TestService, WorldParts, answer_over_tls, get, keyed, poll_now, post,
};
use crate::{Fetch, FetchRequest, FetchResponse};
use kernel::fault::{Cause, Fault};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TIMEOUT: Duration = Duration::from_secs(20);

/// The call of a service that says something and hangs, once its time is up.
#[track_caller]
fn too_late(world: &ClientWorld, request: FetchRequest, service: &TestService) -> String {
    assert_eq!(request.timeout, TIMEOUT);
    let fault = world.fetch_and_wait(request, service, TIMEOUT).unwrap_err();
    assert_eq!((fault.cause, fault.is_transient()), (Cause::Timeout, true), "{fault}");
    assert_eq!(world.usage(), (0, 0, 0), "{fault}");
    fault.reason
}

#[test]
fn a_call_ends_in_its_time_wherever_it_hangs() {
    let world = ClientWorld::new();
    let silent = TestService::start(|visitor| {
        visitor.request();
        visitor.hang();
    });
    assert_eq!(too_late(&world, get(&silent.url), &silent), "no response in time");
    for half in ["H", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 103 Early\r\n\r\n"] {
        let service = TestService::start(move |visitor| {
            visitor.request();
            visitor.answer(half);
            visitor.hang();
        });
        assert_eq!(
            too_late(&world, get(&service.url), &service),
            "no response in time",
            "{half:?}"
        );
    }
    for half in ["Content-Length: 3\r\n\r\nok", "\r\nok", "Transfer-Encoding: chunked\r\n\r\n2"] {
        let service = TestService::start(move |visitor| {
            visitor.request();
            visitor.answer(format!("HTTP/1.1 200 OK\r\n{half}"));
            visitor.hang();
        });
        let reason = too_late(&world, get(&service.url), &service);
        assert_eq!(reason, "the response did not end in time", "{half:?}");
    }
    let unread = TestService::start(|visitor| {
        visitor.first_bytes();
        visitor.hold();
    });
    let reason = too_late(&world, post(&unread.url, &vec![b'x'; 50 << 20]), &unread);
    assert_eq!(reason, "the request was not sent in time");
    let mute = TestService::start(|visitor| {
        visitor.first_bytes();
        visitor.hang();
    });
    let url = format!("https://localhost:{}/", mute.port);
    assert_eq!(too_late(&world, get(&url), &mute), "the TLS handshake did not end in time");
}

#[test]
fn waiting_for_a_connection_counts_towards_the_time() {
    let limits = PoolLimits { host: 1, ..PoolLimits::default() };
    let world = ClientWorld::of(WorldParts { limits, ..WorldParts::default() });
    let service = TestService::start(|visitor| visitor.hang());
    let mut first = world.wire.fetch(get(&service.url));
    let mut late = get(&service.url);
    late.timeout = Duration::from_secs(5);
    let mut second = world.wire.fetch(late);
    assert!(poll_now(first.as_mut()).is_none() && poll_now(second.as_mut()).is_none());
    assert_eq!(world.usage(), (1, 0, 1));
    world.clock.advance(Duration::from_secs(5));
    let fault = smol::block_on(second).unwrap_err();
    assert_eq!(fault.reason, "no connection became free in time");
    assert_eq!((fault.cause, world.usage()), (Cause::Timeout, (1, 0, 0)));
}

/// Polls `call` at most `polls` times and drops it then.
fn drop_after(
    polls: usize,
    mut call: impl Future<Output = Result<FetchResponse, Fault>> + Unpin,
) -> Option<Result<FetchResponse, Fault>> {
    let mut left = polls;
    smol::block_on(poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match pin!(&mut call).poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }))
}

#[test]
fn a_call_that_is_dropped_at_any_await_closes_its_connection_and_leaves_its_place() {
    for is_tls in [false, true] {
        for polls in 0.. {
            let world = ClientWorld::new();
            let service = TestService::start(move |visitor| {
                match is_tls {
                    false => {
                        while visitor.request().is_some() {
                            for byte in OK.as_bytes() {
                                visitor.answer([*byte]);
                            }
                        }
                    }
                    true => answer_over_tls(visitor, SIGNED, OK),
                }
                visitor.say("ended");
            });
            let scheme = if is_tls { "https" } else { "http" };
            let url = format!("{scheme}://localhost:{}/", service.port);
            let ended = drop_after(polls, world.wire.fetch(keyed(&url, &[b'x'; 30_000])));
            let kept = usize::from(ended.is_some());
            assert_eq!(world.usage(), (0, kept, 0), "after {polls} polls");
            drop(world);
            for _ in 0..service.connections() {
                while service.next() != "ended" {}
            }
            if let Some(ended) = ended {
                assert_eq!(ended.unwrap().body, b"ok");
                break;
            }
        }
    }
}

#[test]
fn calls_that_hang_cost_sockets_only_and_others_are_answered_beside_them() {
    let world = ClientWorld::new();
    let hanging = TestService::start(|visitor| visitor.hang());
    let healthy = TestService::answering(OK);
    let executor = smol::Executor::new();
    let calls: Vec<_> =
        (0..1_000).map(|_| executor.spawn(world.wire.fetch(get(&hanging.url)))).collect();
    smol::block_on(executor.run(async {
        while world.usage() != (64, 0, 936) {
            smol::future::yield_now().await;
        }
        let answer = world.wire.fetch(get(&healthy.url)).await.unwrap();
        assert_eq!((answer.status, world.usage()), (200, (64, 1, 936)));
        assert_eq!(world.env.pools.outside.usage().unwrap().busy, 0);
        drop(calls);
        while world.usage() != (0, 1, 0) {
            smol::future::yield_now().await;
        }
    }));
    let mut closed = 0;
    while closed < 64 {
        closed += usize::from(hanging.next() == "closed by the client");
    }
    assert_eq!(hanging.connections(), 64);
}

#[test]
fn services_that_hang_leave_room_for_the_others() {
    let limits = PoolLimits { sockets: 40, host: 8, reserve: 8, few: 2, waiting: 1_000 };
    let world = ClientWorld::of(WorldParts { limits, ..WorldParts::default() });
    let hanging: Vec<_> = (0..6).map(|_| TestService::start(|visitor| visitor.hang())).collect();
    let healthy = TestService::answering(OK);
    let executor = smol::Executor::new();
    let calls: Vec<_> = hanging
        .iter()
        .flat_map(|service| (0..20).map(|_| executor.spawn(world.wire.fetch(get(&service.url)))))
        .collect();
    smol::block_on(executor.run(async {
        while world.usage().0 + world.usage().2 != 120 {
            smol::future::yield_now().await;
        }
        // Four hosts with eight, two that came later with two.
        assert_eq!(world.usage(), (36, 0, 84));
        for _ in 0..3 {
            let answer = world.wire.fetch(get(&healthy.url)).await.unwrap();
            assert_eq!(answer.status, 200);
        }
        drop(calls);
    }));
}

#[test]
fn too_many_waiting_calls_are_refused() {
    let limits = PoolLimits { host: 1, waiting: 2, ..PoolLimits::default() };
    let world = ClientWorld::of(WorldParts { limits, ..WorldParts::default() });
    let hanging = TestService::start(|visitor| visitor.hang());
    let mut calls: Vec<_> = (0..3).map(|_| world.wire.fetch(get(&hanging.url))).collect();
    assert!(calls.iter_mut().all(|call| poll_now(call.as_mut()).is_none()));
    assert_eq!(world.usage(), (1, 0, 2));
    let fault = world.fetch(get(&hanging.url)).unwrap_err();
    assert_eq!(fault.reason, "too many calls wait for a connection");
    assert!(fault.is_transient());
    calls.pop();
    assert!(poll_now(world.wire.fetch(get(&hanging.url)).as_mut()).is_none());
}

#[test]
fn a_body_without_end_is_cut_off_at_its_limit() {
    let service = TestService::start(|visitor| {
        visitor.request();
        visitor.answer("HTTP/1.1 200 OK\r\n\r\n");
        let piece = vec![b'x'; 64 << 10];
        while std::io::Write::write_all(&mut visitor.stream, &piece).is_ok() {}
        visitor.say("cut off");
    });
    let world = ClientWorld::new();
    let fault = world.fetch(get(&service.url)).unwrap_err();
    assert_eq!(fault.reason, "the response is longer than 1024 bytes");
    assert!(!fault.is_transient());
    assert_eq!(service.next(), "cut off");
}

#[test]
fn a_refusal_of_a_body_that_is_not_read_arrives() {
    let world = ClientWorld::new();
    let service = TestService::start(|visitor| {
        visitor.answer("HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno");
        visitor.hold();
    });
    let answer = world.fetch(post(&service.url, &vec![b'x'; 50 << 20])).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (413, b"no".as_slice()));
    assert_eq!(world.usage(), (0, 0, 0));
}

#[test]
fn a_closed_port_is_no_connection_and_the_url_is_not_shown() {
    let world = ClientWorld::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fault = world.fetch(get(&format!("http://127.0.0.1:{port}/?token=s3cret"))).unwrap_err();
    assert_eq!(fault.reason, "the connection failed: Connection refused");
    assert_eq!((fault.cause, fault.is_transient()), (Cause::Connect, true));
}
