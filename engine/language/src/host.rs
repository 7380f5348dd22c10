//! Hosts that a server answers for: a name or an address, with a port or without.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A name or an address, and the port when one is given.
///
/// Names are lower case; addresses are compared as addresses, so `[::1]` and
/// `[0:0:0:0:0:0:0:1]` are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedHost {
    name: HostName,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostName {
    Address(IpAddr),
    Name(Box<str>),
}

impl ServedHost {
    /// Reads `name`, `192.0.2.1`, `[2001:db8::1]`, each with an optional `:PORT`, or
    /// `2001:db8::1`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            let name = HostName::Address(IpAddr::V6(address).to_canonical());
            return Some(ServedHost { name, port: None });
        }
        let (name, port) = match text.rfind(']').unwrap_or(0) {
            from if text[from..].contains(':') => text.rsplit_once(':')?,
            _ => (text, ""),
        };
        let port = match text.len() == name.len() {
            true => None,
            false if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
            false => return None,
        };
        Some(ServedHost { name: HostName::parse(name)?, port })
    }

    /// Whether both name the same host, whatever the ports.
    pub fn is_same_host(&self, other: &ServedHost) -> bool {
        self.name == other.name
    }

    /// Whether a request that is addressed to `asked` is meant: the same host, and the same port
    /// when this one has a port.
    pub fn serves(&self, asked: &ServedHost) -> bool {
        self.is_same_host(asked) && self.port.is_none_or(|port| asked.port == Some(port))
    }

    /// The address, when it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match &self.name {
            HostName::Address(address) => Some(*address),
            HostName::Name(_) => None,
        }
    }

    /// Whether it is `localhost`, `127.0.0.1` or `[::1]`.
    pub fn is_this_machine(&self) -> bool {
        match &self.name {
            HostName::Name(name) => &**name == "localhost",
            HostName::Address(address) => {
                *address == IpAddr::from([127, 0, 0, 1]) || *address == Ipv6Addr::LOCALHOST
            }
        }
    }

    /// The port, or `default` when none is given.
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

impl HostName {
    fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            let address: Ipv6Addr = inner.parse().ok()?;
            return Some(HostName::Address(IpAddr::V6(address).to_canonical()));
        }
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = text.len() <= 253 && text.bytes().all(is_letter);
        if !is_name || text.split('.').any(str::is_empty) {
            return None;
        }
        match text.parse() {
            Ok(address) => Some(HostName::Address(address)),
            Err(_) => Some(HostName::Name(text.to_ascii_lowercase().into())),
        }
    }
}

impl fmt::Display for ServedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            HostName::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            HostName::Address(address) => write!(f, "{address}")?,
            HostName::Name(name) => f.write_str(name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_with_and_without_a_port() {
        for (text, shown) in [
            ("engine.lan", "engine.lan"),
            ("Engine.LAN", "engine.lan"),
            ("engine:8600", "engine:8600"),
            ("my_host", "my_host"),
            ("192.168.1.5:8600", "192.168.1.5:8600"),
            ("[2001:DB8::1]:8600", "[2001:db8::1]:8600"),
            ("2001:db8:0:0::1", "[2001:db8::1]"),
            ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ] {
            let host = ServedHost::parse(text).map(|it| it.to_string());
            assert_eq!(host.as_deref(), Some(shown), "{text}");
        }
    }

    #[test]
    fn what_no_host_can_be_is_none() {
        for text in [
            "",
            ".",
            "a.",
            "a..b",
            "*",
            "*.lan",
            "a b",
            "a/b",
            "http://a",
            "a@b",
            "a:",
            "a:x",
            "a:+1",
            "a:99999",
            "a:1:2",
            "[::1",
            "::1]",
            "[a]",
            "türe.lan",
            "a,b",
        ] {
            assert_eq!(ServedHost::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_without_a_port_serves_every_port() {
        let host = |text| ServedHost::parse(text).expect("a host");
        assert!(host("a").serves(&host("A:1")) && host("a").serves(&host("a")));
        assert!(host("a:1").serves(&host("a:1")) && !host("a:1").serves(&host("a:2")));
        assert!(
            !host("a:1").serves(&host("a")),
            "a browser leaves out only the port of its scheme"
        );
        assert!(!host("a").serves(&host("b")));
    }
}
