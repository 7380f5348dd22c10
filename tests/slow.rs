//! Slow clients, on virtual time: who sends or reads a byte at a time, or nothing, or leaves
//! half-way, takes neither the store nor memory from others, and is gone when its time is over.

use crate::support::world::World;
use engine::http::ServerLimits;
use kernel::testing::ClientEnd;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PIPELINE: &str = r#"
pipeline door schema-version=1
source http bell { path "/rings"; map { id "data.id"; type "data.type" } }
enrich set words { set "text" "{{ event.type }}" }
sink sqlite db { path "x.db"; retention { keep "99d" } }
sink sse live { path "/live"; replay 200 }
"#;

/// Everything that somebody may ask for and not take.
const PATHS: [&str; 9] = [
    "/api/events?limit=1000",
    "/api/events/e0",
    "/api/dead-letters?limit=1000",
    "/api/series?by=stage",
    "/api/storage",
    "/api/stats",
    "/metrics",
    "/api/tap?stage=words",
    "/live?replay=200",
];

/// Clients of each path; they come from four addresses.
const SLOW: u8 = 100;
const HONEST: [u8; 4] = [192, 0, 2, 1];
const SECOND: Duration = Duration::from_secs(1);

/// An engine with a page of a megabyte.
fn world() -> World {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder, PIPELINE, 1).expect("it starts");
    let text = "x".repeat(8000);
    for id in 0..150 {
        let event = format!(r#"{{"id":"e{id}","type":"ring","text":"{text}"}}"#);
        assert_eq!(world.post("bell", &event), "accepted");
    }
    for id in 0..20 {
        let refused = format!(r#"{{"id":"no{id}","text":"{text}"}}"#);
        world.request("POST /rings HTTP/1.1", &refused);
    }
    world
}

/// All that the server has written.
fn taken(line: &ClientEnd) -> String {
    String::from_utf8(line.take(usize::MAX)).expect("text")
}

fn address(number: u8) -> [u8; 4] {
    [198, 51, 100, number % 4]
}

impl World {
    fn figure(&self, name: &str) -> f64 {
        let text = self.answered("/metrics").expect("figures are served");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.expect(name).parse().expect("a number")
    }

    /// What an honest client from an address of its own reads at once, where it is answered.
    fn answered(&self, path: &str) -> Option<String> {
        let line = self.dial(HONEST, usize::MAX);
        line.get(path);
        self.simulation.settle();
        let text = taken(&line);
        text.starts_with("HTTP/1.1 200 ").then_some(text)
    }

    /// Others are served at once, the store is free, and memory stays in its bounds.
    #[track_caller]
    fn serves_others(&self, told: &str) {
        for path in ["/api/events?limit=1", "/api/storage", "/api/events/e7"] {
            assert!(self.answered(path).is_some(), "{told}: {path}");
        }
        let answer = self.post("bell", &format!(r#"{{"id":"{told}","type":"ring"}}"#));
        assert!(["accepted", "duplicate"].contains(&answer.as_str()), "{told}: {answer}");
        assert_eq!(self.engine.store.free_readers(), 2, "{told}");
        assert_eq!(self.figure("engine_http_queries_waiting"), 0.0, "{told}");
        let held = ServerLimits::default().held_bytes as f64;
        assert!(self.figure("engine_http_held_bytes") <= held, "{told}");
    }

    /// Nobody but the one who asks is connected, and nothing is held for anybody.
    #[track_caller]
    fn is_alone(&self, told: &str) {
        self.simulation.settle();
        assert_eq!(self.site().counters.open.load(Ordering::Relaxed), 0, "{told}");
        assert_eq!(self.figure("engine_http_held_bytes"), 0.0, "{told}");
    }
}

#[test]
fn a_hundred_readers_that_take_nothing_keep_nobody_waiting() {
    let world = world();
    for path in PATHS {
        let lines: Vec<ClientEnd> = (0..SLOW)
            .map(|number| {
                let line = world.dial(address(number), 16);
                line.get(path);
                world.simulation.settle();
                line
            })
            .collect();
        world.serves_others(path);
        let is_stream = path.starts_with("/live") || path.starts_with("/api/tap");
        // A stream is written to when there is something to say.
        world.simulation.advance(if is_stream { 60 * SECOND } else { 31 * SECOND });
        world.serves_others(path);
        assert!(lines.iter().all(ClientEnd::is_over), "{path}: those that take nothing are gone");
        world.is_alone(path);
    }
    world.close();
}

#[test]
fn a_reader_of_a_byte_at_a_time_has_a_minute() {
    let world = world();
    let lines: Vec<ClientEnd> = (0..SLOW)
        .map(|number| {
            let line = world.dial(address(number), 16);
            line.get("/api/events?limit=1000");
            world.simulation.settle();
            line
        })
        .collect();
    for _ in 0..59 {
        lines.iter().for_each(|line| drop(line.take(1)));
        world.simulation.advance(SECOND);
    }
    world.serves_others("while they read");
    world.simulation.advance(2 * SECOND);
    assert!(lines.iter().all(ClientEnd::is_over));
    world.is_alone("after a minute");
    world.close();
}

#[test]
fn a_request_that_comes_byte_by_byte_ends_in_time() {
    let world = world();
    let post = "POST /rings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 5000\r\n\r\n";
    let lines: Vec<ClientEnd> =
        (0..SLOW).map(|number| world.dial(address(number), 1 << 20)).collect();
    // Half of them send a head a byte at a time, half of them a body.
    for (number, line) in lines.iter().enumerate() {
        line.send(if number % 2 == 0 { b"G" } else { post.as_bytes() });
    }
    for second in 0..16 {
        world.simulation.advance(SECOND);
        lines.iter().for_each(|line| line.send(b"x"));
        world.simulation.settle();
        world.serves_others(&format!("second {second}"));
    }
    world.simulation.advance(3 * SECOND);
    for line in &lines {
        assert!(line.is_over());
        let told = taken(line);
        assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    }
    world.is_alone("after them");
    assert!(world.answered("/api/events?limit=1").is_some());
    world.close();
}

/// Wherever a client leaves, what it had is free at once.
#[test]
fn a_client_that_leaves_half_way_holds_nothing() {
    let world = world();
    for path in PATHS {
        let whole = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for (sent, taken) in [(10, 0), (whole.len(), 0), (whole.len(), 100), (whole.len(), 5000)] {
            for number in 0..8 {
                let line = world.dial(address(number), 16);
                line.send(&whole.as_bytes()[..sent]);
                world.simulation.settle();
                for _ in 0..taken / 16 {
                    line.take(16);
                    world.simulation.settle();
                }
                drop(line);
            }
            world.is_alone(&format!("{path} after {sent} bytes and {taken}"));
        }
    }
    world.serves_others("after them");
    world.close();
}
