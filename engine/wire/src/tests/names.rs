//! Names: who waits for a lookup, what a lookup costs, and which address is tried.

use crate::Fetch;
use crate::connect::Dial;
use crate::pool::PoolLimits;
use crate::resolve::SystemLookup;
use crate::testing::{ClientWorld, LOOPBACK, TestService, WorldParts, get, poll_now};
use kernel::fault::Cause;
use smol::Async;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn a_name_that_hangs_holds_one_thread_and_only_its_own_calls() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let names = Arc::new(move |name: &str| {
        if name == "hanging.test" {
            held.lock().unwrap().recv().ok();
        }
        Ok(vec![LOOPBACK])
    });
    let world = ClientWorld::of(WorldParts { names, ..WorldParts::default() });
    let service = TestService::answering(OK);
    let url = |host: &str| get(&format!("http://{host}:{}/", service.port));
    let mut calls: Vec<_> = (0..50).map(|_| world.wire.fetch(url("hanging.test"))).collect();
    assert!(calls.iter_mut().all(|call| poll_now(call.as_mut()).is_none()));
    assert_eq!(world.env.pools.outside.usage().unwrap().busy, 1);
    assert_eq!(world.fetch(url("127.0.0.1")).unwrap().status, 200);
    assert_eq!(world.fetch(url("other.test")).unwrap().status, 200);
    // The call that asked first gives up; the lookup stays for those that still wait.
    drop(calls.remove(0));
    let mut late = world.wire.fetch(url("hanging.test"));
    assert!(poll_now(late.as_mut()).is_none());
    world.clock.advance(TIMEOUT);
    assert_eq!(
        smol::block_on(late).unwrap_err().reason,
        "the host's name was not resolved in time"
    );
    release.send(()).unwrap();
    let mut call = world.wire.fetch(url("hanging.test"));
    drop(release);
    assert_eq!(smol::block_on(&mut call).unwrap().status, 200);
}

#[test]
fn a_lookup_whose_call_gives_up_before_a_thread_takes_it_is_done_for_the_others() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let names = Arc::new(move |name: &str| {
        if name.starts_with("hanging") {
            held.lock().unwrap().recv().ok();
        }
        Ok(vec![LOOPBACK])
    });
    let world = ClientWorld::of(WorldParts { names, ..WorldParts::default() });
    let service = TestService::answering(OK);
    let call = |host: &str| world.wire.fetch(get(&format!("http://{host}:{}/", service.port)));
    let mut hanging: Vec<_> = (0..32).map(|it| call(&format!("hanging-{it}.test"))).collect();
    assert!(hanging.iter_mut().all(|call| poll_now(call.as_mut()).is_none()));
    let (mut first, mut second) = (call("other.test"), call("other.test"));
    assert!(poll_now(first.as_mut()).is_none() && poll_now(second.as_mut()).is_none());
    assert_eq!(world.env.pools.outside.usage().unwrap().busy, 32);
    drop(first);
    drop(release);
    assert_eq!(smol::block_on(second).unwrap().status, 200);
}

#[test]
fn a_lookup_that_has_taken_a_minute_is_not_waited_for() {
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel::<()>();
    let (asked, held) = (AtomicUsize::new(0), Mutex::new(held));
    let names = Arc::new(move |_: &str| {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            begun.send(()).unwrap();
            held.lock().unwrap().recv().ok();
        }
        Ok(vec![LOOPBACK])
    });
    let world = ClientWorld::of(WorldParts { names, ..WorldParts::default() });
    let service = TestService::answering(OK);
    let url = format!("http://slow.test:{}/", service.port);
    let mut first = world.wire.fetch(get(&url));
    assert!(poll_now(first.as_mut()).is_none());
    begins.recv().unwrap();
    drop(first);
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.fetch(get(&url)).unwrap().status, 200);
    drop(release);
}

#[test]
fn a_name_without_an_address_is_called_so() {
    let unknown = "failed to lookup address information: Name or service not known";
    let names = Arc::new(move |name: &str| match name {
        "empty.test" => Ok(Vec::new()),
        _ => Err(std::io::Error::other(unknown)),
    });
    let world = ClientWorld::of(WorldParts { names, ..WorldParts::default() });
    for (host, words) in
        [("empty.test", "it has no address"), ("no.test", "Name or service not known")]
    {
        let fault = world.fetch(get(&format!("http://{host}/"))).unwrap_err();
        assert_eq!(fault.reason, format!("the host's name could not be resolved: {words}"));
        assert_eq!((fault.cause, fault.is_transient()), (Cause::Connect, true));
    }
}

const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A client to whom `two.test` has two addresses, the first of which never answers; and whether
/// that one was tried.
fn half_hanging(limits: PoolLimits) -> (ClientWorld, Arc<AtomicBool>) {
    let is_tried = Arc::new(AtomicBool::new(false));
    let tried = is_tried.clone();
    let dial: Dial = Arc::new(move |address| match address.ip() {
        SECOND => {
            tried.store(true, Ordering::SeqCst);
            Box::pin(std::future::pending())
        }
        _ => Box::pin(Async::<TcpStream>::connect(address)),
    });
    (
        ClientWorld::of(WorldParts { names: two_names(), dial, limits, ..WorldParts::default() }),
        is_tried,
    )
}

fn two_names() -> Arc<SystemLookup> {
    Arc::new(|_: &str| Ok(vec![SECOND, LOOPBACK]))
}

#[test]
fn when_one_address_refuses_the_next_is_tried_at_once() {
    let service = TestService::answering(OK);
    let world = ClientWorld::of(WorldParts { names: two_names(), ..WorldParts::default() });
    let url = format!("http://two.test:{}/", service.port);
    assert_eq!(world.fetch(get(&url)).unwrap().status, 200);
    assert_eq!(world.usage(), (0, 1, 0));
}

#[test]
fn when_one_address_hangs_the_next_is_tried_after_a_quarter_of_a_second() {
    let service = TestService::answering(OK);
    let (world, is_tried) = half_hanging(PoolLimits::default());
    let mut call = world.wire.fetch(get(&format!("http://two.test:{}/", service.port)));
    let waiting = async {
        while !is_tried.load(Ordering::SeqCst) {
            smol::future::yield_now().await;
        }
        world.clock.advance(Duration::from_millis(249));
        smol::future::yield_now().await;
        assert_eq!(world.usage(), (1, 0, 0));
        world.clock.advance(Duration::from_millis(1));
        std::future::pending().await
    };
    let answer = smol::block_on(smol::future::or(&mut call, waiting));
    assert_eq!((answer.unwrap().status, world.usage()), (200, (0, 1, 0)));
}

#[test]
fn a_second_address_is_tried_only_where_there_is_a_place_for_its_socket() {
    let service = TestService::answering(OK);
    let (world, is_tried) = half_hanging(PoolLimits { host: 1, ..PoolLimits::default() });
    let mut request = get(&format!("http://two.test:{}/", service.port));
    request.timeout = Duration::from_secs(1);
    let mut call = world.wire.fetch(request);
    let waiting = async {
        while !is_tried.load(Ordering::SeqCst) {
            smol::future::yield_now().await;
        }
        for _ in 0..4 {
            world.clock.advance(Duration::from_millis(250));
            smol::future::yield_now().await;
        }
        std::future::pending().await
    };
    let fault = smol::block_on(smol::future::or(&mut call, waiting)).unwrap_err();
    assert_eq!(fault.reason, "no connection in time");
    assert_eq!((world.usage(), service.connections()), ((0, 0, 0), 0));
}
