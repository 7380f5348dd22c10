//! What a service manager hears of the engine, in the words of sd_notify(3).

use crate::support::Engine;
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

/// The next message that begins so; what is said in between is passed over.
fn heard(socket: &UnixDatagram, start: &str) -> String {
    let mut bytes = [0; 4096];
    loop {
        let count = socket.recv(&mut bytes).expect("it is said in time");
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        if text.starts_with(start) {
            return text;
        }
    }
}

#[test]
fn the_service_manager_hears_of_start_reload_life_and_stop() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("it binds");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket has timeouts");
    let file = folder.path().join("small.kdl");
    let text = "pipeline small schema-version=1\nsource http front { path \"/events\" }\n\
                sink sqlite store { path \"data/events.db\"; retention { keep \"1d\" } }\n";
    std::fs::write(&file, text).expect("it writes");
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let mut engine = Engine::spawn_by(command, &file, &folder.path().join("data"), &[]).ready();
    assert_eq!(heard(&socket, "READY=1"), "READY=1\nSTATUS=generation 1 of small");
    heard(&socket, "WATCHDOG=1");
    engine.signal(Signal::SIGHUP);
    let text = heard(&socket, "RELOADING=1\nMONOTONIC_USEC=");
    let usec = text.rsplit('=').next().and_then(|part| part.parse::<u64>().ok());
    assert!(usec.is_some_and(|usec| 0 < usec), "{text}");
    heard(&socket, "READY=1\nSTATUS=generation 1 of small");
    // A file that is not valid ends the reload as well: what ran keeps running.
    std::fs::write(&file, "no pipeline").expect("it writes");
    engine.signal(Signal::SIGHUP);
    heard(&socket, "READY=1");
    assert_eq!(engine.stop(), 0);
    heard(&socket, "STOPPING=1\n");
}
