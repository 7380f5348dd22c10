//! Why a request is refused before anybody sees it.

use crate::http::limits::ServerLimits;
use crate::http::wire::target;
use language::write_bytes;
use std::borrow::Cow;

/// How much of a host that is not served is repeated to the client.
const HOST_SHOWN: usize = 64;

/// Why a head is not answered by the service. The connection closes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRefusal {
    /// The status to answer with.
    pub status: u16,
    /// Why, in words.
    pub detail: Cow<'static, str>,
}

impl RequestRefusal {
    pub(crate) fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        RequestRefusal { status, detail: detail.into() }
    }

    pub(crate) fn bad(detail: &'static str) -> Self {
        RequestRefusal::new(400, detail)
    }

    pub(crate) fn long_target(limits: &ServerLimits) -> Self {
        let most = write_bytes(limits.target_bytes as u64);
        RequestRefusal::new(414, format!("the request target is longer than {most}, the maximum"))
    }

    pub(crate) fn long_head(limits: &ServerLimits) -> Self {
        let most = write_bytes(limits.head_bytes as u64);
        RequestRefusal::new(431, format!("the request head is longer than {most}, the maximum"))
    }

    /// The host is shown as it was sent: it holds letters of a host and nothing else.
    pub(crate) fn misdirected(host: &str) -> Self {
        let shown: String = host.chars().take(HOST_SHOWN).collect();
        let name = target::without_port(&shown);
        let detail = format!(
            "no `public-url` or `hosts` names this host; to be reached as `{shown}`, \
             write `server {{ hosts \"{name}\" }}` in the pipeline file"
        );
        RequestRefusal::new(421, detail)
    }
}
