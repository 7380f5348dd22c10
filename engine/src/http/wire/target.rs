//! Reads a request target, and the authority in it or in `Host`.

use crate::http::wire::head::Method;
use crate::http::wire::refusal::RequestRefusal;
use std::net::Ipv6Addr;

/// A target without scheme and authority.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    text: Box<str>,
    path_end: usize,
    decoded: Option<Box<str>>,
}

impl Target {
    /// The target, and the authority if it had one.
    pub(crate) fn parse(
        text: &str,
        method: Method,
    ) -> Result<(Target, Option<&str>), RequestRefusal> {
        if !text.is_ascii() || text.contains('#') {
            return Err(RequestRefusal::bad(
                "the target has characters that must be percent-encoded",
            ));
        }
        if text == "*" && method == Method::Options {
            return Ok((Target { text: text.into(), path_end: 1, decoded: None }, None));
        }
        let (authority, rest) = split(text)?;
        let path_end = rest.find('?').unwrap_or(rest.len());
        let decoded = decode(&rest[..path_end])?;
        let shown = decoded.as_deref().unwrap_or(&rest[..path_end]);
        if shown.contains('\\') || shown.split('/').any(|part| part == "." || part == "..") {
            return Err(RequestRefusal::bad("the path has dot segments or backslashes"));
        }
        let text = if rest.starts_with('/') { rest.into() } else { format!("/{rest}").into() };
        // An absolute target may leave the path out; then one slash was put before.
        let path_end = if rest.starts_with('/') { path_end } else { path_end + 1 };
        Ok((Target { text, path_end, decoded }, authority))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn path(&self) -> &str {
        self.decoded.as_deref().unwrap_or(self.path_raw())
    }

    pub(crate) fn path_raw(&self) -> &str {
        &self.text[..self.path_end]
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.text.get(self.path_end + 1..)
    }
}

/// Authority and rest.
fn split(text: &str) -> Result<(Option<&str>, &str), RequestRefusal> {
    if text.starts_with('/') {
        return Ok((None, text));
    }
    let scheme = text.get(..7).filter(|it| it.eq_ignore_ascii_case("http://"));
    if scheme.is_none() {
        return Err(RequestRefusal::bad("the target is neither a path nor an http URL"));
    }
    let rest = &text[7..];
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if is_authority(authority) {
        Ok((Some(authority), rest))
    } else {
        Err(RequestRefusal::bad("the authority is not a name or address with an optional port"))
    }
}

/// `None` when there is nothing to decode.
fn decode(path: &str) -> Result<Option<Box<str>>, RequestRefusal> {
    if !path.contains('%') {
        return Ok(None);
    }
    let bytes = percent_decode(path.as_bytes(), false);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    match text {
        Some(text) if !text.chars().any(char::is_control) => Ok(Some(text.into())),
        _ => Err(RequestRefusal::bad("the path is not percent-encoded text")),
    }
}

/// `None` when a `%` is not followed by two hexadecimal digits. In a query `+` is a space.
pub(crate) fn percent_decode(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let hex = |at: Option<&u8>| at.and_then(|it| char::from(*it).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (hex(rest.next())? * 16 + hex(rest.next())?) as u8,
            b'+' if plus_is_space => b' ',
            byte => *byte,
        });
    }
    Some(bytes)
}

/// `name`, `192.0.2.1` or `[2001:db8::1]`, each with an optional port, and nothing else.
pub(crate) fn is_authority(text: &str) -> bool {
    let name = without_port(text);
    let port = &text[name.len()..];
    let good_port = port.is_empty() || port[1..].parse::<u16>().is_ok() && !port.contains('+');
    let good_name = match name.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !name.is_empty() && name.bytes().all(letter)
        }
    };
    good_port && good_name
}

/// The name of an authority; the rest, if any, begins with the colon of the port.
pub(crate) fn without_port(authority: &str) -> &str {
    let from = authority.rfind(']').unwrap_or(0);
    let end = authority[from..].find(':').map_or(authority.len(), |at| from + at);
    &authority[..end]
}
