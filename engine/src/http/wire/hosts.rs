//! Whom requests may be addressed to, and which pages are ours.

use language::ServedHost;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// Whom a request may be addressed to, so that a name that was rebound to our address by a
/// stranger's DNS is not served.
///
/// `localhost`, `127.0.0.1`, `[::1]` and the address that the connection was made to are always
/// among them; the last instead of the listening address, since that may be "any".
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    served: Vec<ServedHost>,
    public: Option<WebOrigin>,
}

/// Scheme, host and port of a page, as browsers compare them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WebOrigin {
    is_https: bool,
    host: ServedHost,
}

impl WebOrigin {
    /// Reads the beginning of an `http` or `https` URL; `None` for anything else.
    fn parse(url: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = url.split_once("://")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Some((WebOrigin { is_https, host: ServedHost::parse(host)? }, path))
    }

    fn port(&self) -> u16 {
        self.host.port_or(if self.is_https { 443 } else { 80 })
    }

    fn is_same(&self, other: &WebOrigin) -> bool {
        self.is_https == other.is_https
            && self.host.is_same_host(&other.host)
            && self.port() == other.port()
    }
}

impl Hosts {
    /// These hosts too, and the host of the public URL.
    pub fn new(served: Vec<ServedHost>, public_url: Option<&str>) -> Self {
        let public = public_url.and_then(WebOrigin::parse).map(|it| it.0);
        Hosts { served, public }
    }

    pub(crate) fn allow(&self, authority: &str, local: Option<IpAddr>) -> bool {
        let Some(asked) = ServedHost::parse(authority) else { return false };
        asked.is_this_machine()
            || self.served.iter().any(|it| it.serves(&asked))
            || self.public.as_ref().is_some_and(|public| public.host.is_same_host(&asked))
            || asked
                .address()
                .is_some_and(|address| local.is_some_and(|own| own.to_canonical() == address))
    }

    /// Whether this is the host of the public URL, and that is `https`.
    pub(crate) fn is_public_https(&self, authority: Option<&str>) -> bool {
        let asked = authority.and_then(ServedHost::parse);
        let public = self.public.as_ref().filter(|public| public.is_https);
        asked.zip(public).is_some_and(|(asked, public)| public.host.is_same_host(&asked))
    }

    /// Whether a page with this `Origin` came from us: from the public URL, or from the host that
    /// the request is addressed to.
    ///
    /// What stands before us may speak TLS, so the scheme says nothing about that host, unless
    /// the public URL does.
    pub(crate) fn is_own_page(&self, origin: &str, authority: Option<&str>) -> bool {
        let Some((page, "")) = WebOrigin::parse(origin) else { return false };
        let asked = authority.and_then(ServedHost::parse);
        let at = |is_https| asked.clone().map(|host| WebOrigin { is_https, host });
        if let Some(public) = &self.public {
            if public.is_same(&page) {
                return true;
            }
            if at(public.is_https).is_some_and(|it| it.is_same(public)) {
                return false;
            }
        }
        at(page.is_https).is_some_and(|it| it.is_same(&page))
    }
}

/// The hosts of the running generation, which a reload may change.
#[derive(Debug, Default)]
pub struct HostList(RwLock<Arc<Hosts>>);

impl HostList {
    /// The hosts as they are now.
    pub fn get(&self) -> Arc<Hosts> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these.
    pub fn set(&self, hosts: Hosts) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hosts);
    }
}

impl From<Hosts> for HostList {
    fn from(hosts: Hosts) -> Self {
        HostList(RwLock::new(Arc::new(hosts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(served: &[&str], public_url: Option<&str>) -> Hosts {
        let host = |text: &&str| ServedHost::parse(text).expect("a host");
        Hosts::new(served.iter().map(host).collect(), public_url)
    }

    #[test]
    fn a_cookie_of_a_public_https_url_is_for_https_only() {
        let is_https = |url, host: &str| hosts(&[], Some(url)).is_public_https(Some(host));
        assert!(is_https("https://home.example", "home.example"));
        assert!(is_https("https://home.example/engine", "home.example:443"));
        assert!(!is_https("https://home.example", "127.0.0.1:8600"), "past the proxy");
        assert!(!is_https("http://home.example", "home.example"));
        assert!(!hosts(&[], None).is_public_https(None));
    }

    #[test]
    fn only_this_machine_and_what_the_file_names_is_served() {
        let hosts = hosts(&["engine", "192.168.1.5:8600"], Some("https://door.example/events/"));
        let local = Some(IpAddr::from([10, 0, 0, 7]));
        for host in [
            "localhost",
            "LOCALHOST:9",
            "127.0.0.1:8600",
            "[::1]",
            "[0:0:0:0:0:0:0:1]:1",
            "engine",
            "Engine:8600",
            "192.168.1.5:8600",
            "door.example",
            "door.example:443",
            "10.0.0.7:8600",
        ] {
            assert!(hosts.allow(host, local), "{host}");
        }
        for host in [
            "evil.example",
            "door.example.evil.example",
            "192.168.1.5",
            "192.168.1.5:1",
            "engine2",
            "10.0.0.8",
            "127.0.0.1.evil.example",
            "a..b",
            "localhost.",
        ] {
            assert!(!hosts.allow(host, local), "{host}");
        }
    }

    #[test]
    fn a_page_is_ours_by_scheme_host_and_port() {
        let direct = hosts(&[], None);
        let public = hosts(&["engine"], Some("https://door.example"));
        for (hosts, origin, host, is_own) in [
            (&direct, "http://127.0.0.1:8600", "127.0.0.1:8600", true),
            (&direct, "http://localhost", "localhost:80", true),
            (&direct, "https://localhost", "localhost", true),
            (&direct, "http://127.0.0.1:8601", "127.0.0.1:8600", false),
            (&direct, "http://127.0.0.1", "127.0.0.1:8600", false),
            (&direct, "http://localhost:8600", "127.0.0.1:8600", false),
            (&direct, "null", "127.0.0.1:8600", false),
            (&direct, "", "127.0.0.1:8600", false),
            (&direct, "file://", "127.0.0.1:8600", false),
            (&direct, "http://127.0.0.1:8600/", "127.0.0.1:8600", false),
            (&direct, "http://a@127.0.0.1:8600", "127.0.0.1:8600", false),
            (&direct, "http://127.0.0.1:8600 http://evil.example", "127.0.0.1:8600", false),
            (&public, "https://door.example", "door.example", true),
            (&public, "https://door.example:443", "engine:8600", true),
            (&public, "http://door.example", "door.example", false),
            (&public, "http://door.example:443", "door.example", false),
            (&public, "http://door.example:8600", "door.example:8600", true),
            (&public, "https://evil.example", "door.example", false),
            (&public, "http://engine:8600", "engine:8600", true),
        ] {
            assert_eq!(hosts.is_own_page(origin, Some(host)), is_own, "{origin} at {host}");
        }
        assert!(!direct.is_own_page("http://localhost", None));
        assert!(public.is_own_page("https://door.example", None));
    }
}
