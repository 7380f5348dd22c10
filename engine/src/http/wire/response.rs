//! An answer, and how it stands on the wire.

use crate::http::wire::head::Version;
use async_channel::Receiver;
use kernel::env::Pending;
use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

/// Gives a streamed body out, piece by piece.
pub trait Feed: Send {
    /// Waits until there is something to send and appends it to `out`; `false` when the body has
    /// ended. The connection drops it at any wait when the client is gone.
    fn fill<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pending<'a, bool>;
}

impl Feed for Receiver<Arc<[u8]>> {
    fn fill<'a>(&'a mut self, out: &'a mut Vec<u8>) -> Pending<'a, bool> {
        Box::pin(async move {
            let Ok(first) = self.recv().await else { return false };
            out.extend_from_slice(&first);
            while out.len() < 16 * 1024
                && let Ok(more) = self.try_recv()
            {
                out.extend_from_slice(&more);
            }
            true
        })
    }
}

/// What an answer carries.
pub enum BodyContent {
    /// Bytes of its own; none for an empty body.
    Full(Vec<u8>),
    /// Bytes that others hold too.
    Shared(Arc<[u8]>),
    /// Bytes of the program.
    Static(&'static [u8]),
    /// Bytes that come to be while they are sent.
    Stream(Box<dyn Feed>),
}

impl BodyContent {
    /// Bytes that are held for this answer alone.
    pub(crate) fn own_size(&self) -> usize {
        match self {
            BodyContent::Full(bytes) => bytes.len(),
            BodyContent::Shared(_) | BodyContent::Static(_) | BodyContent::Stream(_) => 0,
        }
    }

    /// The bytes, unless it is a stream.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            BodyContent::Full(bytes) => Some(bytes),
            BodyContent::Shared(bytes) => Some(bytes),
            BodyContent::Static(bytes) => Some(bytes),
            BodyContent::Stream(_) => None,
        }
    }
}

/// An answer.
pub struct Reply {
    status: u16,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    content: BodyContent,
    closes: bool,
}

impl Reply {
    /// A status and a body of a type.
    pub fn new(status: u16, kind: &'static str, content: BodyContent) -> Self {
        Reply::bare(status, content).with("content-type", kind)
    }

    /// A status and a body that says nothing about itself yet.
    pub fn bare(status: u16, content: BodyContent) -> Self {
        Reply { status, headers: Vec::new(), content, closes: false }
    }

    /// A status and nothing else.
    pub fn empty(status: u16) -> Self {
        Reply::bare(status, BodyContent::Full(Vec::new()))
    }

    /// Text in UTF-8.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let content = BodyContent::Full(text.into().into_bytes());
        Reply::new(status, "text/plain; charset=utf-8", content)
    }

    /// A value as JSON.
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Reply::json_text(status, value.to_string())
    }

    /// Text that is JSON already.
    pub fn json_text(status: u16, text: impl Into<String>) -> Self {
        Reply::new(status, "application/json", BodyContent::Full(text.into().into_bytes()))
    }

    /// A page; it is given the content security policy.
    pub fn html(content: BodyContent) -> Self {
        Reply::new(200, "text/html; charset=utf-8", content)
    }

    /// One field more. A field that could end its own line is left out.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let good_name = !name.is_empty() && name.bytes().all(token);
        let good_value = value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
        if good_name && good_value {
            self.headers.push((name, value));
        } else {
            tracing::error!(%name, "a response header field is not valid");
        }
        self
    }

    /// The connection closes after it.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The same with another status.
    #[must_use]
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }

    /// What it carries.
    pub fn content(&self) -> &BodyContent {
        &self.content
    }

    /// What it carries, for who sends it on.
    pub fn into_content(self) -> BodyContent {
        self.content
    }

    /// The same with its stream wrapped, if it is one.
    #[must_use]
    pub(crate) fn map_feed(mut self, wrap: impl FnOnce(Box<dyn Feed>) -> Box<dyn Feed>) -> Self {
        if let BodyContent::Stream(feed) = self.content {
            self.content = BodyContent::Stream(wrap(feed));
        }
        self
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.content, BodyContent::Stream(_))
    }

    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// Whether the status may have a body at all.
    pub(crate) fn may_have_body(&self) -> bool {
        200 <= self.status && self.status != 204 && self.status != 304
    }
}

/// On every answer that does not say otherwise.
const ALWAYS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// On every page that does not say otherwise.
const ON_PAGES: [(&str, &str); 2] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
];

/// What decides how an answer is framed, besides itself.
pub(crate) struct Frame<'a> {
    pub(crate) version: Version,
    pub(crate) keeps_alive: bool,
    pub(crate) date: &'a [u8],
}

impl Frame<'_> {
    /// The stream is sent in chunks; otherwise its end is the connection's.
    pub(crate) fn chunks(&self) -> bool {
        self.version == Version::Http11
    }

    /// Appends the head of `reply` to `out`.
    pub(crate) fn head(&self, reply: &Reply, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        number(reply.status as usize, out);
        out.push(b' ');
        out.extend_from_slice(reason(reply.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        field("date", self.date, out);
        for (name, value) in &reply.headers {
            field(name, value.as_bytes(), out);
        }
        let page =
            reply.header("content-type").is_some_and(|header| header.starts_with("text/html"));
        let on_pages = if page { &ON_PAGES[..] } else { &[] };
        for (name, value) in ALWAYS.iter().chain(on_pages) {
            if reply.header(name).is_none() {
                field(name, value.as_bytes(), out);
            }
        }
        match reply.content.bytes() {
            _ if !reply.may_have_body() => {}
            Some(bytes) => {
                out.extend_from_slice(b"content-length: ");
                number(bytes.len(), out);
                out.extend_from_slice(b"\r\n");
            }
            None if self.chunks() => field("transfer-encoding", b"chunked", out),
            None => {}
        }
        if !self.keeps_alive {
            field("connection", b"close", out);
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(value: usize, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    write!(out, "{value}").unwrap_or_default();
}

/// One chunk of a streamed body; the empty one is the last.
pub(crate) fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    write!(out, "{:x}\r\n", bytes.len()).unwrap_or_default();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The words beside a status.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        207 => "Multi-Status",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}
