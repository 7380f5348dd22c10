//! TLS that works, and each way in which it does not.

use crate::testing::{
    ClientWorld, SELF_SIGNED, SIGNED, TestService, WorldParts, answer_over_tls, get, post,
};
use futures_rustls::rustls::RootCertStore;
use kernel::fault::Cause;
use std::net::Shutdown;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn service(answer: &'static str) -> TestService {
    TestService::start(move |visitor| answer_over_tls(visitor, SIGNED, answer))
}

fn url(service: &TestService, host: &str) -> String {
    format!("https://{host}:{}/?token=s3cret", service.port)
}

/// Why a call does not come through; it never says where it was to go.
#[track_caller]
fn reason(world: &ClientWorld, service: &TestService, host: &str) -> String {
    let fault = world.fetch(get(&url(service, host))).unwrap_err();
    assert_eq!((fault.cause, fault.is_transient()), (Cause::Connect, true), "{fault}");
    assert!(!fault.reason.contains("s3cret"), "{fault}");
    assert_eq!(world.usage(), (0, 0, 0));
    fault.reason
}

#[test]
fn a_secure_connection_is_kept_like_any_other() {
    let (world, service) = (ClientWorld::new(), service(OK));
    for _ in 0..3 {
        let answer = world.fetch(get(&url(&service, "localhost"))).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    }
    assert_eq!((service.connections(), world.usage()), (1, (0, 1, 0)));
}

#[test]
fn what_a_secure_connection_holds_back_is_not_the_next_answer() {
    // The first answer fills the first read, so that only the TLS session knows of the second.
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4055\r\n\r\n";
    let two = format!("{head}{}HTTP/1.1 500 No\r\n\r\n", "x".repeat(4055));
    assert_eq!(head.len() + 4055, 4 << 10);
    let (world, service) = (ClientWorld::new(), service(two.leak()));
    for number in 1..4 {
        let mut request = post(&url(&service, "localhost"), b"");
        request.body_max = 4055;
        assert_eq!(world.fetch(request).unwrap().status, 200);
        assert_eq!(service.connections(), number);
    }
}

#[test]
fn a_certificate_that_does_not_hold_is_called_so() {
    let failed = |what: &str| format!("the TLS handshake failed: the server's certificate {what}");
    let service = service(OK);
    let world = ClientWorld::new();
    assert_eq!(reason(&world, &service, "other.test"), failed("is for another name"));
    assert_eq!(reason(&world, &service, "127.0.0.1"), failed("is for another name"));
    let early = WorldParts { start: "2026-01-01T00:00:00Z", ..WorldParts::default() };
    let world = ClientWorld::of(early);
    assert_eq!(reason(&world, &service, "localhost"), failed("is not valid yet"));
    let late = WorldParts { start: "2101-01-01T00:00:00Z", ..WorldParts::default() };
    assert_eq!(reason(&ClientWorld::of(late), &service, "localhost"), failed("has expired"));
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let world = ClientWorld::of(WorldParts { roots, ..WorldParts::default() });
    assert_eq!(reason(&world, &service, "localhost"), failed("is from an unknown issuer"));
    let own = TestService::start(|visitor| answer_over_tls(visitor, SELF_SIGNED, OK));
    assert_eq!(reason(&world, &own, "localhost"), failed("is self-signed"));
}

#[test]
fn tls_to_a_plain_service_and_the_other_way_round_is_called_so() {
    let world = ClientWorld::new();
    let plain = TestService::start(|visitor| {
        visitor.answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        visitor.hang();
    });
    assert_eq!(
        reason(&world, &plain, "localhost"),
        "the TLS handshake failed: the server does not speak TLS"
    );
    let closing = TestService::start(|visitor| visitor.stream.shutdown(Shutdown::Write).unwrap());
    assert_eq!(
        reason(&world, &closing, "localhost"),
        "the TLS handshake failed: the connection was closed"
    );
    let secure = service(OK);
    let mut request = get(&format!("http://localhost:{}/", secure.port));
    request.timeout = Duration::from_secs(5);
    let fault = world.fetch(request).unwrap_err();
    assert_eq!(fault.reason, "the response is not valid HTTP: it does not begin with HTTP/1");
}

#[test]
fn an_address_without_a_certificate_name_is_permanent() {
    let world = ClientWorld::new();
    let service = service(OK);
    let fault = world.fetch(get(&url(&service, "a..b"))).unwrap_err();
    assert_eq!(fault.reason, "the URL's host is not a name that TLS can check");
    assert!(!fault.is_transient());
}
