//! What a service manager is told about this process: sd_notify(3) of systemd.
//!
//! Without a manager (`NOTIFY_SOCKET` is not set) nothing is sent. What cannot be sent is lost: the
//! engine works without anybody who looks.

use kernel::time::write_duration;
use language::Environment;
use rustix::time::{ClockId, clock_gettime};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The longest status, in bytes.
const STATUS_MAX: usize = 200;

/// The manager of this process, where it has one.
pub(super) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the engine lives.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names.
    pub(super) fn of(environment: &dyn Environment) -> Self {
        let socket = environment.value("NOTIFY_SOCKET").and_then(|value| connect(&value));
        let usec = environment.value("WATCHDOG_USEC").and_then(|value| value.parse().ok());
        let is_for_us = environment
            .value("WATCHDOG_PID")
            .is_none_or(|value| value.parse() == Ok(std::process::id()));
        let watchdog = usec.filter(|usec| is_for_us && 0 < *usec).map(Duration::from_micros);
        ServiceManager { socket, watchdog }
    }

    /// Everything is open, or a reload has ended.
    pub(super) fn ready(&self, status: &str) {
        let status: String =
            status.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        let end = (0..=STATUS_MAX.min(status.len())).rev().find(|it| status.is_char_boundary(*it));
        self.say(&format!("READY=1\nSTATUS={}", &status[..end.unwrap_or_default()]));
    }

    /// A reload was asked for; [`ServiceManager::ready`] ends it.
    pub(super) fn reloading(&self) {
        // The manager compares it with its own clock, so it is that clock and not the engine's.
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The engine drains.
    pub(super) fn stopping(&self, grace: Duration) {
        let (usec, shown) = (grace.as_micros() + 5_000_000, write_duration(grace));
        self.say(&format!(
            "STOPPING=1\nSTATUS=finishing running work, at most {shown}\nEXTEND_TIMEOUT_USEC={usec}"
        ));
    }

    /// How long it may take between two signs of life; `None` where nobody waits for them.
    pub(super) fn pulse(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some()).map(|watchdog| watchdog / 3)
    }

    /// The writer has answered: the engine lives.
    pub(super) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, text: &str) {
        self.socket.as_ref().map(|socket| socket.send(text.as_bytes()));
    }
}

/// `@name` is in the abstract namespace, anything else a path.
fn connect(name: &str) -> Option<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(name).ok()?,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address).ok()?;
    // A manager that does not read must not hold the engine up.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> Option<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name).ok()
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &str) -> Option<SocketAddr> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ManagerVariables(Vec<(&'static str, String)>);

    impl Environment for ManagerVariables {
        fn is_set(&self, name: &str) -> bool {
            self.value(name).is_some()
        }

        fn value(&self, name: &str) -> Option<String> {
            self.0.iter().find(|it| it.0 == name).map(|it| it.1.clone())
        }
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn the_manager_hears_what_the_engine_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::of(&ManagerVariables(vec![
            ("NOTIFY_SOCKET", path.display().to_string()),
            ("WATCHDOG_USEC", "30000000".to_owned()),
        ]));
        assert_eq!(manager.pulse(), Some(Duration::from_secs(10)));
        manager.ready("generation 1\nREADY=0");
        assert_eq!(heard(&socket), "READY=1\nSTATUS=generation 1 READY=0");
        manager.reloading();
        let text = heard(&socket);
        let usec = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(0 < usec.parse::<u64>().unwrap());
        manager.alive();
        assert_eq!(heard(&socket), "WATCHDOG=1");
        manager.stopping(Duration::from_secs(10));
        let text = heard(&socket);
        assert!(
            text.starts_with("STOPPING=1\n") && text.ends_with("TIMEOUT_USEC=15000000"),
            "{text}"
        );
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_a_watchdog_of_another_process_is_not_fed() {
        let manager = ServiceManager::of(&ManagerVariables(Vec::new()));
        manager.ready("x");
        assert_eq!(manager.pulse(), None);
        let other = std::process::id() + 1;
        let manager = ServiceManager::of(&ManagerVariables(vec![
            ("NOTIFY_SOCKET", "/nowhere/notify".to_owned()),
            ("WATCHDOG_USEC", "30000000".to_owned()),
            ("WATCHDOG_PID", other.to_string()),
        ]));
        manager.alive();
        assert_eq!(manager.pulse(), None);
    }
}
