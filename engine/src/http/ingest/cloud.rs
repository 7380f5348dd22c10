//! CloudEvents in binary mode, written as the structured mode has them.
//!
//! HTTP Protocol Binding for CloudEvents 1.0.2, section 3.1: attributes are headers, the payload is
//! the body.

use crate::http::problem::ProblemDetails;
use crate::http::wire::head::Head;
use crate::http::wire::target::percent_decode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::decode::{self, Unreadable};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// What the names of attributes begin with.
const PREFIX: &str = "ce-";

/// Whether a request is one.
pub(super) fn is_binary(head: &Head) -> bool {
    head.headers().any(|header| header.0.eq_ignore_ascii_case("ce-specversion"))
}

/// The structured form: the attributes, and the body as `data` where it is JSON or text, else as
/// `data_base64`.
pub(super) fn structured(head: &Head, body: &[u8]) -> Result<Vec<u8>, ProblemDetails> {
    let (attributes, kind) = attributes(head)?;
    let mut text = Value::Object(attributes).to_string();
    if body.is_empty() {
        return Ok(text.into_bytes());
    }
    let (name, data) = payload(kind.as_deref(), body)?;
    text.truncate(text.len() - 1);
    text.push_str(&format!(",\"{name}\":{data}}}"));
    Ok(text.into_bytes())
}

/// The attributes, and the type of the body.
fn attributes(head: &Head) -> Result<(Map<String, Value>, Option<String>), ProblemDetails> {
    let mut attributes = Map::new();
    for (name, value) in head.headers() {
        let name = name.to_ascii_lowercase();
        let attribute = match name.strip_prefix(PREFIX) {
            Some(attribute) => attribute,
            None if name == "content-type" => "datacontenttype",
            None => continue,
        };
        let is_name =
            attribute.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if attribute.is_empty() || !is_name || matches!(attribute, "data" | "data_base64") {
            let shown: String = name.chars().take(60).collect();
            let detail = format!("`{shown}` is not the name of an attribute: a-z and 0-9 only");
            return Err(ProblemDetails::new(400, detail));
        }
        let value = percent_decode(value, false).and_then(|it| String::from_utf8(it).ok());
        let Some(value) = value else {
            let detail = format!("the header `{name}` is not percent-encoded UTF-8");
            return Err(ProblemDetails::new(400, detail));
        };
        if attributes.insert(attribute.to_owned(), Value::String(value)).is_some() {
            return Err(ProblemDetails::new(400, format!("more than one `{name}` is given")));
        }
    }
    let kind = attributes.get("datacontenttype").and_then(Value::as_str).map(str::to_owned);
    Ok((attributes, kind))
}

fn payload(kind: Option<&str>, body: &[u8]) -> Result<(&'static str, String), ProblemDetails> {
    let kind = kind.unwrap_or("application/json").split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    if kind.ends_with("/json") || kind.ends_with("+json") {
        return match serde_json::from_slice::<&RawValue>(body) {
            Ok(json) => Ok(("data", json.get().to_owned())),
            Err(error) => {
                let reason = match decode::parse(body) {
                    Err(Unreadable::NotJson(reason)) => reason,
                    _ => error.to_string(),
                };
                Err(ProblemDetails::new(400, format!("not JSON: {reason}")))
            }
        };
    }
    match std::str::from_utf8(body) {
        Ok(text) if kind.starts_with("text/") || kind.ends_with("xml") => {
            Ok(("data", Value::from(text).to_string()))
        }
        _ => Ok(("data_base64", Value::from(STANDARD.encode(body)).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request_head;

    fn message(fields: &str, body: &[u8]) -> Result<String, String> {
        let head = format!("POST /e HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let made = structured(&request_head(&head), body);
        made.map(|it| String::from_utf8(it).unwrap()).map_err(|fault| fault.detail)
    }

    const HEAD: &str = "ce-specversion: 1.0\r\nCE-ID: 7\r\n";

    #[test]
    fn headers_are_attributes_and_the_body_is_data_as_it_was_sent() {
        for (fields, body, expected) in [
            ("", &b""[..], r#"{"id":"7","specversion":"1.0"}"#),
            ("", b" { \"n\": 1.50 } ", r#"{"id":"7","specversion":"1.0","data":{ "n": 1.50 }}"#),
            (
                "ce-subject: caf%C3%A9%20x\r\n",
                b"1",
                r#"{"id":"7","specversion":"1.0","subject":"café x","data":1}"#,
            ),
            (
                "Content-Type: text/plain; charset=utf-8\r\n",
                b"a\"b",
                r#"{"datacontenttype":"text/plain; charset=utf-8","id":"7","specversion":"1.0","data":"a\"b"}"#,
            ),
            (
                "Content-Type: image/png\r\n",
                b"\x89PNG",
                r#"{"datacontenttype":"image/png","id":"7","specversion":"1.0","data_base64":"iVBORw=="}"#,
            ),
        ] {
            assert_eq!(message(&format!("{HEAD}{fields}"), body).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_body_cannot_bring_attributes_and_a_header_no_data() {
        for (fields, body, told) in [
            ("", &b"1,\"priority\":\"critical\""[..], "not JSON: "),
            ("", b"\x1f\x8b\x08", "not JSON: it is compressed with gzip"),
            ("ce-data: 1\r\n", b"1", "`ce-data` is not the name of an attribute"),
            ("ce-a_b: 1\r\n", b"1", "`ce-a_b` is not the name of an attribute"),
            ("ce-: 1\r\n", b"1", "`ce-` is not the name"),
            ("ce-id: 8\r\n", b"1", "more than one `ce-id`"),
            ("ce-x: %ff\r\n", b"1", "the header `ce-x` is not percent-encoded UTF-8"),
        ] {
            let found = message(&format!("{HEAD}{fields}"), body).unwrap_err();
            assert!(found.starts_with(told), "{found}");
        }
    }
}
