//! An event as a CloudEvent 1.0, as `accept cloudevents` of a source reads it.

use kernel::choice;
use serde_json::{Map, Value};
use store::StoredEvent;

choice! {
    /// How it is sent.
    pub(super) enum CloudEventMode {
        /// As one JSON object.
        Structured = "structured",
        /// Its attributes as headers, its data as the body.
        Binary = "binary",
    }
}

/// The type of a body with one, and with several.
pub(super) const STRUCTURED: &str = "application/cloudevents+json";
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// The attributes, in the order of their names. What an event does not have is left out.
fn attributes(stored: &StoredEvent) -> Vec<(&'static str, String)> {
    let envelope = &stored.envelope;
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let all = [
        ("correlationid", envelope.correlation_id.as_deref().and_then(text)),
        ("datacontenttype", Some("application/json".to_owned())),
        ("id", Some(envelope.id.to_string())),
        ("parentid", envelope.parent_id.as_deref().and_then(text)),
        ("priority", Some(envelope.priority.word().to_owned())),
        ("source", Some(uri_reference(&envelope.source))),
        ("specversion", Some("1.0".to_owned())),
        ("subject", text(&envelope.subject)),
        ("time", Some(envelope.time.to_string())),
        ("type", Some(envelope.kind.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// As one JSON object, its data as it is stored.
pub(super) fn structured(stored: &StoredEvent) -> String {
    let attributes = attributes(stored).into_iter();
    let attributes = attributes.map(|(name, value)| (name.to_owned(), Value::String(value)));
    let mut text = Value::Object(attributes.collect::<Map<_, _>>()).to_string();
    text.truncate(text.len() - 1);
    text.push_str(",\"data\":");
    text.push_str(stored.body.data_text());
    text.push('}');
    text
}

/// The headers of the binary mode; the content type is among them.
pub(super) fn headers(stored: &StoredEvent) -> Vec<(String, String)> {
    let attributes = attributes(stored).into_iter();
    let header = attributes.map(|(name, value)| match name {
        "datacontenttype" => ("Content-Type".to_owned(), value),
        _ => (format!("ce-{name}"), encoded(&value)),
    });
    header.collect()
}

/// Percent-encoded as the HTTP binding wants it (section 3.1.3.2): what is not visible ASCII, and
/// `"` and `%`.
fn encoded(value: &str) -> String {
    percent_encoded(value, |it| it.is_ascii_graphic() && !b"\"%".contains(&it))
}

/// A source as a URI reference: what cannot be in one is percent-encoded.
fn uri_reference(source: &str) -> String {
    percent_encoded(source, |it| {
        it.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&it)
    })
}

fn percent_encoded(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match is_plain(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    #[test]
    fn an_event_has_the_attributes_that_the_specification_requires() {
        let outgoing = testing::outgoing(json!({ "n": 2 }));
        let stored = &outgoing.stored;
        let event: Value = serde_json::from_str(&structured(stored)).unwrap();
        for name in ["specversion", "id", "source", "type"] {
            assert!(event[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {event}");
        }
        assert_eq!((&event["data"], &event["specversion"]), (&json!({ "n": 2 }), &json!("1.0")));
        let headers = headers(stored);
        let header = |name: &str| {
            headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
        };
        assert_eq!(header("ce-id"), event["id"].as_str());
        assert_eq!(header("Content-Type"), Some("application/json"));
        assert_eq!(header("ce-datacontenttype"), None);
    }

    #[test]
    fn values_fit_into_headers_and_uris() {
        assert_eq!(encoded("café \"50 %\""), "caf%C3%A9%20%2250%20%25%22");
        assert_eq!(uri_reference("front door"), "front%20door");
        assert_eq!(uri_reference("https://a.example/x?y#z"), "https://a.example/x?y#z");
    }
}
