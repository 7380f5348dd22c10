//! Whom requests may be addressed to.

use crate::http::wire::target;
use std::net::IpAddr;

/// Whom a request may be addressed to, so that a name that was rebound to our address by a
/// stranger's DNS is not served.
///
/// `localhost`, `127.0.0.1`, `[::1]` and the address that the connection was made to are always
/// among them; the last instead of the listening address, since that may be "any".
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    names: Vec<Box<str>>,
}

impl Hosts {
    /// These names too, without ports; an IPv6 address in brackets.
    pub fn of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let lower = |it: String| it.to_ascii_lowercase().into_boxed_str();
        Hosts { names: names.into_iter().map(|it| lower(it.into())).collect() }
    }

    pub(crate) fn allow(&self, authority: &str, local: Option<IpAddr>) -> bool {
        let name = target::without_port(authority);
        let known = ["localhost", "127.0.0.1", "[::1]"];
        if known.iter().any(|it| name.eq_ignore_ascii_case(it)) {
            return true;
        }
        if self.names.iter().any(|it| name.eq_ignore_ascii_case(it)) {
            return true;
        }
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        local.is_some_and(|local| {
            literal.parse::<IpAddr>().is_ok_and(|it| it.to_canonical() == local.to_canonical())
        })
    }
}
