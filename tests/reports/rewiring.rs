//! Reloads that change where events come in.

use super::{Site, data_of, stored, until_stale};
use crate::support::{Engine, ask, send, until};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

fn pipeline(port: u16, source: &str) -> String {
    format!(
        "pipeline small schema-version=1\nserver {{ listen \"127.0.0.1:{port}\" }}\n{source}\n\
         sink sqlite store {{ path \"../data/events.db\"; retention {{ keep \"1d\" }} }}\n"
    )
}

const FRONT: &str = "source http front { path \"/events\" }";

/// A listener on a port that nobody is given by chance: those begin higher.
fn listener() -> (TcpListener, u16) {
    let open = |_| {
        let port = fastrand::u16(20_000..30_000);
        Some((TcpListener::bind(("127.0.0.1", port)).ok()?, port))
    };
    (0..100).find_map(open).expect("a port is free")
}

fn free() -> u16 {
    listener().1
}

fn start(site: &Site, port: u16, source: &str) -> Engine {
    site.write("pipelines/small.kdl", pipeline(port, source));
    let file = site.file();
    let mut command = std::process::Command::new("sh");
    // Without the port that the tests set elsewhere, which a file could not move.
    command.args(["-c", "exec \"$1\" run \"$3\" --data \"$5\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_engine"));
    Engine::spawn_by(command, &file, &site.data(), &[]).ready()
}

#[test]
fn when_every_source_gives_way_to_one_that_ends_the_engine_stays() {
    let site = Site::new();
    site.write("pipelines/app.log", "{\"type\":\"line\",\"n\":1}\n");
    let engine = start(&site, free(), FRONT);
    stored(&engine, r#"{"type":"posted"}"#);
    let port =
        engine.address.rsplit(':').next().and_then(|part| part.parse().ok()).expect("a port");
    site.write("pipelines/small.kdl", pipeline(port, "source file lines { path \"app.log\" }"));
    engine.wait_for("reloaded");
    assert_eq!(data_of(&site.data(), 2)[1]["n"], 1);
    assert_eq!(engine.ask("POST", "/events", b"{\"type\":\"t\"}").0, 404);
    site.write("pipelines/small.kdl", pipeline(port, FRONT));
    engine.wait_for("reloaded");
    stored(&engine, r#"{"type":"again"}"#);
}

#[test]
fn a_port_moves_under_load_and_every_acknowledged_event_is_stored() {
    let site = Site::new();
    let mut engine = start(&site, free(), FRONT);
    let (before, port) = (engine.address.clone(), free());
    let after = format!("127.0.0.1:{port}");
    let is_over = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut count, mut address) = (0, &before);
            while !is_over.load(Ordering::Relaxed) {
                match ask(address, "POST", "/events", b"{\"type\":\"load\"}") {
                    Ok((202, _)) => count += 1,
                    Ok((status, _)) => assert_eq!(status, 503, "the old port takes no more"),
                    // Nobody listens there, or not yet.
                    Err(_) => address = &after,
                }
            }
            count
        });
        site.write("pipelines/small.kdl", pipeline(port, FRONT));
        until("the new port answers", || ask(&after, "GET", "/readyz", b"").is_ok());
        engine.address.clone_from(&after);
        stored(&engine, r#"{"type":"t"}"#);
        is_over.store(true, Ordering::Relaxed);
        load.join().expect("the load ends")
    });
    assert!(0 < acknowledged, "there was load");
    assert_eq!(engine.stop(), 0);
    // The one that was posted beside the load came too. An answer that was lost when the old port
    // closed may belong to an event that is stored.
    let stored = data_of(&site.data(), acknowledged + 1);
    assert!(stored.len() <= acknowledged + 2, "{} of {acknowledged}", stored.len());
    assert!(ask(&before, "GET", "/readyz", b"").is_err(), "the old port is closed");
}

#[test]
fn a_port_that_is_taken_leaves_the_old_one_open() {
    let site = Site::new();
    let engine = start(&site, free(), FRONT);
    let (_taken, port) = listener();
    site.write("pipelines/small.kdl", pipeline(port, FRONT));
    until_stale(&engine);
    stored(&engine, r#"{"type":"t"}"#);
    let ready = send(&engine.address, "GET", "/readyz", "", b"").text();
    assert!(ready.contains(&port.to_string()), "it says which port: {ready}");
}
