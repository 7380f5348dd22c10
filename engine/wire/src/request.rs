//! A request, checked and written out before anything is connected.

use crate::FetchRequest;
use kernel::fault::Fault;
use std::fmt;
use std::sync::Arc;
use ureq_proto::client::state::RecvResponse;
use ureq_proto::client::{Call, SendRequestResult};
use ureq_proto::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("engine/", env!("CARGO_PKG_VERSION")));

/// They say where the body ends, which is for this module to know.
const OURS: [HeaderName; 3] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT];

/// Most headers of a request; no server takes nearly as many.
const HEADERS_MAX: usize = 1_000;

/// A body of up to this many bytes is sent in one piece with the head.
const JOINED_MAX: usize = 16 << 10;

/// Where a connection leads; connections to one endpoint are interchangeable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    pub(super) is_tls: bool,
    /// In lower case; an IPv6 address has no brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// What to send, and the state machine that reads the answer.
pub(super) struct PreparedRequest {
    pub(super) endpoint: Arc<Endpoint>,
    /// The head, and a short body.
    pub(super) start: Vec<u8>,
    /// Whether `start` has the body.
    pub(super) is_joined: bool,
    pub(super) call: Call<RecvResponse>,
}

impl PreparedRequest {
    pub(super) fn new(request: &FetchRequest) -> Result<Self, Fault> {
        let (uri, endpoint) = parse_url(&request.url)?;
        let endpoint = Arc::new(endpoint);
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| Fault::permanent("the request's method is not valid"))?;
        let headers = headers_of(request)?;
        let room = room_for_head(request, &headers);
        let mut head = Request::new(());
        (*head.method_mut(), *head.uri_mut(), *head.headers_mut()) = (method, uri, headers);
        let (mut start, call) = written(head, request.body.as_deref(), room)
            .map_err(|fault| Fault::permanent(format!("the request is not valid: {fault}")))?;
        let body = request.body.as_deref().unwrap_or_default();
        let is_joined = body.len() <= JOINED_MAX;
        if is_joined {
            start.extend_from_slice(body);
        }
        Ok(PreparedRequest { endpoint, start, is_joined, call })
    }
}

fn parse_url(url: &str) -> Result<(Uri, Endpoint), Fault> {
    let uri = Uri::try_from(url)
        .map_err(|fault| Fault::permanent(format!("the URL is not valid: {fault}")))?;
    let endpoint = Endpoint::of(&uri)?;
    Ok((uri, endpoint))
}

/// Whether a request can be made with this URL; the fault says why not, without a part of it.
pub fn check_url(url: &str) -> Result<(), Fault> {
    parse_url(url).map(drop)
}

impl Endpoint {
    fn of(uri: &Uri) -> Result<Self, Fault> {
        let (is_tls, default_port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(Fault::permanent("the URL begins with neither http:// nor https://")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| Fault::permanent("the URL has no host"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let port = match uri.port_u16() {
            Some(port) if 0 < port => port,
            // `Uri` also has no port where it could not read what is written.
            None if authority.ends_with(host) => default_port,
            _ => return Err(Fault::permanent("the URL's port is not valid")),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        Ok(Endpoint { is_tls, host, port })
    }
}

/// Whether doing it twice is as good as doing it once: by its method, or because it carries the
/// key of a delivery, by which the receiver knows it again.
pub(super) fn is_repeatable(request: &FetchRequest) -> bool {
    let has_key = || request.headers.iter().any(|(name, _)| is_key(name));
    matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE") || has_key()
}

fn is_key(name: &str) -> bool {
    name.eq_ignore_ascii_case("idempotency-key")
}

/// Why no request can have a header of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFault {
    /// It is no name of a header.
    NoName(String),
    /// The engine sets it.
    Reserved(String),
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderFault::NoName(name) => write!(f, "`{}` is not a header", name.escape_debug()),
            HeaderFault::Reserved(name) => {
                write!(f, "the header `{name}` is set by the engine; remove it")
            }
        }
    }
}

/// What is wrong with the name of a header that a request is to have; `None` for a right one.
pub fn header_fault(name: &str) -> Option<HeaderFault> {
    header_name(name).err()
}

fn header_name(name: &str) -> Result<HeaderName, HeaderFault> {
    let key = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| HeaderFault::NoName(name.to_owned()))?;
    match OURS.contains(&key) {
        true => Err(HeaderFault::Reserved(key.to_string())),
        false => Ok(key),
    }
}

fn headers_of(request: &FetchRequest) -> Result<HeaderMap, Fault> {
    if HEADERS_MAX < request.headers.len() {
        return Err(Fault::permanent(format!("the request has more than {HEADERS_MAX} headers")));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let key = header_name(name).map_err(|fault| Fault::permanent(fault.to_string()))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            Fault::permanent(format!("the header `{key}` has a line end or control character"))
        })?;
        headers.append(key, value);
    }
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    // A POST says that its body is empty; a GET without a body says nothing.
    let length = request.body.as_ref().map(Vec::len);
    let needs_length = matches!(request.method, "POST" | "PUT" | "PATCH").then_some(0);
    if let Some(length) = length.or(needs_length) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(headers)
}

/// More than the head can take: a blank, a colon and line ends for each row, and the headers that
/// are made out of the URL.
fn room_for_head(request: &FetchRequest, headers: &HeaderMap) -> usize {
    let rows = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    rows.sum::<usize>() + request.url.len() * 4 + 256
}

/// Writes the head out and takes the body as sent, since sending it is not the protocol's part.
fn written(
    head: Request<()>,
    body: Option<&[u8]>,
    room: usize,
) -> Result<(Vec<u8>, Call<RecvResponse>), ureq_proto::Error> {
    let mut call = Call::new(head)?.proceed();
    let mut bytes = vec![0; room];
    let length = call.write(&mut bytes)?;
    bytes.truncate(length);
    let call = match call.proceed()? {
        Some(SendRequestResult::RecvResponse(call)) => call,
        Some(SendRequestResult::SendBody(mut call)) => {
            call.consume_direct_write(body.map_or(0, <[u8]>::len))?;
            call.proceed().ok_or(ureq_proto::Error::OutputOverflow)?
        }
        Some(SendRequestResult::Await100(_)) | None => {
            return Err(ureq_proto::Error::OutputOverflow);
        }
    };
    Ok((bytes, call))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    #[track_caller]
    fn leads(url: &str, expected: Result<(bool, &str, u16), &str>) {
        let prepared = PreparedRequest::new(&get(url));
        let found = match &prepared {
            Ok(it) => Ok((it.endpoint.is_tls, it.endpoint.host.as_str(), it.endpoint.port)),
            Err(fault) => {
                assert!(!fault.is_transient() && !fault.reason.contains("s3cret"), "{fault}");
                Err(fault.reason.as_str())
            }
        };
        assert_eq!(found, expected, "{url}");
    }

    #[test]
    fn a_url_leads_to_a_host_and_a_port() {
        leads("http://h/x", Ok((false, "h", 80)));
        leads("HTTPS://H.Example:8443?x", Ok((true, "h.example", 8443)));
        leads("https://u:p@h", Ok((true, "h", 443)));
        leads("http://[::1]:81/", Ok((false, "::1", 81)));
        leads("http://[::1]/", Ok((false, "::1", 80)));
        leads("http://user@h:8000/", Ok((false, "h", 8000)));
    }

    #[test]
    fn a_url_that_leads_nowhere_is_permanent_and_not_shown() {
        leads("", Err("the URL is not valid: empty string"));
        leads("http://h/s3cret path", Err("the URL is not valid: invalid uri character"));
        leads("http://h\r\n/s3cret", Err("the URL is not valid: invalid uri character"));
        leads("http://hö/s3cret", Err("the URL is not valid: invalid uri character"));
        leads("ftp://h/s3cret", Err("the URL begins with neither http:// nor https://"));
        leads("/s3cret", Err("the URL begins with neither http:// nor https://"));
        leads("http://h:99999/s3cret", Err("the URL's port is not valid"));
        leads("http://h:0/s3cret", Err("the URL's port is not valid"));
        leads("http:///s3cret", Err("the URL is not valid: invalid format"));
    }

    #[test]
    fn a_head_of_any_size_is_written_whole() {
        let mut request = get(&format!("http://user:pass@h/?{}", "a".repeat(30_000)));
        let many = (0..900).map(|it| (format!("x-{it}"), "v".repeat(it % 50)));
        request.headers.extend(many);
        let prepared = PreparedRequest::new(&request).unwrap();
        let head = String::from_utf8(prepared.start).unwrap();
        assert!(head.ends_with("\r\n\r\n") && head.contains("\r\nx-899: "), "{}", head.len());
        request.headers.resize(1_001, ("a".to_owned(), String::new()));
        let fault = PreparedRequest::new(&request).err().unwrap();
        assert_eq!(fault.reason, "the request has more than 1000 headers");
    }
}
