//! Reads a request head, strictly: what two readers could read differently is refused.

use crate::http::limits::ServerLimits;
use crate::http::wire::hosts::Hosts;
use crate::http::wire::refusal::RequestRefusal;
use crate::http::wire::target::{self, Target};
use std::fmt;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::ops::Range;

/// The most fields that a head may have, whatever [`ServerLimits`] says.
const FIELDS_MAX: usize = 100;

/// The methods that we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// Every method as on the wire.
    pub const WORDS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    /// As on the wire.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    fn parse(text: &str) -> Result<Self, RequestRefusal> {
        Ok(match text {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            "CONNECT" | "TRACE" => {
                return Err(RequestRefusal::new(405, "this method is not supported"));
            }
            _ => return Err(RequestRefusal::new(501, "this method is not known")),
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which HTTP was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Answered and closed.
    Http10,
    /// The usual one.
    Http11,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// It has this many bytes.
    Length(u64),
    /// It comes in chunks.
    Chunked,
}

/// A request head that was understood.
///
/// *Invariant:* its framing is unambiguous, its host allowed, its path free of `..`, `\` and
/// control characters after decoding.
#[derive(Debug, Clone)]
pub struct Head {
    raw: Box<[u8]>,
    fields: Vec<HeadField>,
    method: Method,
    version: Version,
    target: Target,
    host: Option<Box<str>>,
    framing: Framing,
    keeps_alive: bool,
    expects_continue: bool,
}

#[derive(Debug, Clone)]
struct HeadField {
    name: Range<usize>,
    value: Range<usize>,
}

/// Where a head ends in `bytes`, the first `scanned` of which were looked at before.
///
/// A line feed without its carriage return is told at once: waiting for the end of a head that
/// has no end in our reading would leave it to the clock.
pub fn end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, RequestRefusal> {
    let mut from = scanned;
    while let Some(at) = bytes[from..].iter().position(|it| *it == b'\n') {
        let feed = from + at;
        if feed == 0 || bytes[feed - 1] != b'\r' {
            return Err(RequestRefusal::bad("a line ends without CR"));
        }
        if 3 <= feed && bytes[feed - 3] == b'\r' && bytes[feed - 2] == b'\n' {
            return Ok(Some(feed + 1));
        }
        from = feed + 1;
    }
    Ok(None)
}

impl Head {
    /// Reads the bytes of one head, its empty line included. `local` is the address that the
    /// connection was made to.
    pub fn parse(
        bytes: &[u8],
        limits: &ServerLimits,
        hosts: &Hosts,
        local: Option<IpAddr>,
    ) -> Result<Head, RequestRefusal> {
        let mut space = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let space = &mut space[..limits.headers_max.min(FIELDS_MAX)];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(bytes, space) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(RequestRefusal::bad("the head is not a single head")),
            Err(error) => return Err(refusal(error, bytes, limits)),
        }
        let (Some(method), Some(target), Some(version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(RequestRefusal::bad("the request line is not complete"));
        };
        if limits.target_bytes < target.len() {
            return Err(RequestRefusal::long_target(limits));
        }
        let version = if version == 0 { Version::Http10 } else { Version::Http11 };
        let method = Method::parse(method)?;
        let seen = SeenHeaders::of(parsed.headers)?;
        let (target, authority) = Target::parse(target, method)?;
        let host = host(&seen, version, authority)?;
        if let Some(host) = host.filter(|host| !hosts.allow(host, local)) {
            return Err(RequestRefusal::misdirected(host));
        }
        Ok(Head {
            fields: fields(bytes, parsed.headers),
            method,
            version,
            target,
            host: host.map(Box::from),
            framing: seen.framing(version)?,
            keeps_alive: version == Version::Http11 && !seen.closes,
            expects_continue: seen.expects_continue(version)?,
            raw: bytes.into(),
        })
    }

    /// What is asked for.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Which HTTP was spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target without scheme and authority, as received.
    pub fn target(&self) -> &str {
        self.target.text()
    }

    /// The path, percent-decoded.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The path as received.
    pub fn path_raw(&self) -> &str {
        self.target.path_raw()
    }

    /// What follows `?`, as received.
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// To whom it is addressed, with the port if one was said; `None` only in HTTP/1.0.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// How the end of the body is found.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The connection may go on after the answer.
    pub fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// The client waits for our word before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The first value of a field; `None` also when it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(it, _)| it.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Every field in the order received: its name as sent, its value as bytes that may be
    /// anything but control characters.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| {
            let name = std::str::from_utf8(&self.raw[field.name.clone()]).unwrap_or_default();
            (name, &self.raw[field.value.clone()])
        })
    }
}

fn refusal(error: httparse::Error, bytes: &[u8], limits: &ServerLimits) -> RequestRefusal {
    match error {
        httparse::Error::TooManyHeaders => {
            let most = limits.headers_max.min(FIELDS_MAX);
            RequestRefusal::new(431, format!("more than {most} header fields, the maximum"))
        }
        httparse::Error::Version if names_a_version(bytes) => {
            RequestRefusal::new(505, "only HTTP 1.1 and 1.0 are supported")
        }
        httparse::Error::Version => RequestRefusal::bad("the request line is not well formed"),
        httparse::Error::Token => RequestRefusal::bad("the request line is not well formed"),
        httparse::Error::HeaderName => RequestRefusal::bad("a header name is not well formed"),
        httparse::Error::HeaderValue => RequestRefusal::bad("a header value is not well formed"),
        _ => RequestRefusal::bad("the head is not well formed"),
    }
}

/// Whether the request line is fine but for the version that it asks for.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|bytes| *bytes == b'\r').next().unwrap_or_default();
    let mut words = line.split(|line| *line == b' ').skip(2);
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    words.next().is_none()
        && matches!(version, Some([a, b'.', b]) if a.is_ascii_digit() && b.is_ascii_digit())
}

/// Where the parsed slices stand in `bytes`.
fn fields(bytes: &[u8], headers: &[httparse::Header<'_>]) -> Vec<HeadField> {
    let place = |part: &[u8]| {
        // An empty value may point anywhere, so its place is not computed.
        if part.is_empty() {
            return 0..0;
        }
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        start..start + part.len()
    };
    headers
        .iter()
        .map(|header| HeadField { name: place(header.name.as_bytes()), value: place(header.value) })
        .collect()
}

/// The fields that decide where the request ends and whom it is for.
#[derive(Default)]
struct SeenHeaders<'b> {
    host: Option<&'b [u8]>,
    length: Option<&'b [u8]>,
    encoding: Option<&'b [u8]>,
    expect: Option<&'b [u8]>,
    closes: bool,
}

impl<'b> SeenHeaders<'b> {
    fn of(headers: &[httparse::Header<'b>]) -> Result<Self, RequestRefusal> {
        let mut seen = SeenHeaders::default();
        for header in headers {
            let name = header.name;
            let (slot, twice) = if name.eq_ignore_ascii_case("host") {
                (&mut seen.host, "more than one Host")
            } else if name.eq_ignore_ascii_case("content-length") {
                (&mut seen.length, "more than one Content-Length")
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                (&mut seen.encoding, "more than one Transfer-Encoding")
            } else if name.eq_ignore_ascii_case("expect") {
                (&mut seen.expect, "more than one Expect")
            } else {
                if name.eq_ignore_ascii_case("connection") {
                    let mut words = header.value.split(|value| *value == b',');
                    seen.closes |=
                        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
                }
                continue;
            };
            if slot.replace(header.value).is_some() {
                return Err(RequestRefusal::bad(twice));
            }
        }
        Ok(seen)
    }

    fn framing(&self, version: Version) -> Result<Framing, RequestRefusal> {
        match (self.length, self.encoding) {
            (None, None) => Ok(Framing::Empty),
            (Some(_), Some(_)) => {
                Err(RequestRefusal::bad("both Content-Length and Transfer-Encoding are given"))
            }
            (None, Some(_)) if version == Version::Http10 => {
                Err(RequestRefusal::bad("HTTP/1.0 has no Transfer-Encoding"))
            }
            (None, Some(value)) if value.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (None, Some(_)) => Err(RequestRefusal::bad("the only Transfer-Encoding is `chunked`")),
            (Some(value), None) => length(value)
                .map(Framing::Length)
                .ok_or_else(|| RequestRefusal::bad("Content-Length is not a number")),
        }
    }

    fn expects_continue(&self, version: Version) -> Result<bool, RequestRefusal> {
        match self.expect {
            Some(value) if value.eq_ignore_ascii_case(b"100-continue") => {
                Ok(version == Version::Http11)
            }
            Some(_) => Err(RequestRefusal::new(417, "the only expectation is `100-continue`")),
            None => Ok(false),
        }
    }
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
    digits.then(|| value.iter().fold(0, |sum, it| sum * 10 + u64::from(it - b'0')))
}

fn host<'b>(
    seen: &SeenHeaders<'b>,
    version: Version,
    authority: Option<&'b str>,
) -> Result<Option<&'b str>, RequestRefusal> {
    let Some(value) = seen.host else {
        return match version {
            Version::Http10 => Ok(authority),
            Version::Http11 => Err(RequestRefusal::bad("no Host is given")),
        };
    };
    let value = std::str::from_utf8(value).unwrap_or_default();
    if !target::is_authority(value) {
        return Err(RequestRefusal::bad("Host is not a name or address with an optional port"));
    }
    match authority {
        Some(other) if !other.eq_ignore_ascii_case(value) => {
            Err(RequestRefusal::new(421, "the target names another host than Host"))
        }
        _ => Ok(Some(value)),
    }
}
