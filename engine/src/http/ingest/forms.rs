//! What a body is, by what the request says about it, and how it falls into messages.

use super::cloud;
use crate::http::problem::ProblemDetails;
use crate::http::query;
use crate::http::wire::head::{Framing, Head};
use crate::http::wire::response::Reply;
use crate::intake::ITEMS_MAX;
use compiler::spec::Map;
use kernel::decode::UTF8_MARK;
use language::expr::{Expr, Root};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stages::contract::{BodyForm, HttpRoute, TextBody};
use std::fmt;

/// How a body is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostedForm {
    /// There is none.
    Nothing,
    /// One JSON value: an event, or an array of them.
    Json,
    /// One JSON value a line.
    Lines,
    /// `name=value&…`.
    Fields,
    /// Text, which the source decodes.
    Text(TextBody),
    /// A CloudEvent whose attributes are headers.
    BinaryCloudEvent,
}

/// The most fields of a form or a query.
const FIELDS_MAX: usize = 1000;

/// What a request brings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Messages {
    /// One event.
    One(Vec<u8>),
    /// Events of which each has an answer of its own.
    Many(Vec<Vec<u8>>),
}

/// How the body is to be read, or why it will not be.
pub(super) fn form_of(head: &Head, route: &HttpRoute, source: &str) -> Result<PostedForm, Reply> {
    if let Some(text) = route.text {
        return Ok(PostedForm::Text(text));
    }
    let takes = |form: BodyForm| route.accepts.contains(&form);
    if takes(BodyForm::CloudEvents) && cloud::is_binary(head) {
        return Ok(PostedForm::BinaryCloudEvent);
    }
    if matches!(head.framing(), Framing::Empty | Framing::Length(0)) {
        return Ok(PostedForm::Nothing);
    }
    let mut given = head.headers().filter(|header| header.0.eq_ignore_ascii_case("content-type"));
    let (kind, more) = (given.next(), given.next());
    if more.is_some() {
        return Err(unsupported("more than one `Content-Type` is given".to_owned()));
    }
    let text = kind.map(|kind| String::from_utf8_lossy(kind.1).to_ascii_lowercase());
    let kind = text.as_deref().map(|text| text.split(';').next().unwrap_or_default().trim());
    let (wanted, form) = match kind.unwrap_or_default() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
            (BodyForm::Lines, PostedForm::Lines)
        }
        "" | "text/plain" => (BodyForm::Text, PostedForm::Json),
        "application/x-www-form-urlencoded" => (BodyForm::Form, PostedForm::Fields),
        "application/cloudevents+json" | "application/cloudevents-batch+json"
            if takes(BodyForm::CloudEvents) =>
        {
            (BodyForm::CloudEvents, PostedForm::Json)
        }
        "application/json" => (BodyForm::Json, PostedForm::Json),
        other if other.ends_with("+json") => (BodyForm::Json, PostedForm::Json),
        other => return Err(unsupported(told(other, route))),
    };
    if takes(wanted) {
        return Ok(form);
    }
    let mut detail = told(kind.unwrap_or_default(), route);
    match wanted {
        BodyForm::Text => {
            detail += &format!("; or write `accept json text` in `source http {source}`");
        }
        BodyForm::Form => {
            detail += &format!("; or write `accept json form` in `source http {source}`");
        }
        _ => {}
    }
    Err(unsupported(detail))
}

/// What was sent and what to send instead.
fn told(kind: &str, route: &HttpRoute) -> String {
    let shown: String = kind.chars().take(100).collect();
    let given = match kind {
        "" => "the body has no `Content-Type`".to_owned(),
        "application/x-www-form-urlencoded" | "multipart/form-data" => {
            format!("`{shown}` is a form, which is not accepted")
        }
        _ => format!("`{shown}` is not accepted"),
    };
    let kinds = route.accepts.iter().filter_map(|it| match it {
        BodyForm::Json => Some("JSON with `Content-Type: application/json`"),
        BodyForm::Lines => Some("a line of JSON for each event with `application/x-ndjson`"),
        BodyForm::Form => Some("a form with `application/x-www-form-urlencoded`"),
        BodyForm::CloudEvents => Some("a CloudEvent with `application/cloudevents+json`"),
        BodyForm::Text => None,
    });
    let kinds: Vec<&str> = kinds.collect();
    if kinds.is_empty() {
        return format!("{given}; send JSON with `Content-Type: text/plain`");
    }
    format!("{given}; send {}", kinds.join(" or "))
}

fn unsupported(detail: String) -> Reply {
    ProblemDetails::new(415, detail).into()
}

/// The messages of a body, which is not compressed any more, and the lines in which they are where
/// each is one of a body of lines.
pub(crate) fn messages(
    form: PostedForm,
    head: &Head,
    body: Vec<u8>,
    map: &Map,
) -> Result<(Messages, Vec<usize>), ProblemDetails> {
    let one = |message| (Messages::One(message), Vec::new());
    let mut lines = Vec::new();
    let is_array = body.iter().find(|it| !it.is_ascii_whitespace()) == Some(&b'[');
    let items = match form {
        PostedForm::Nothing => return without_body(head, map).map(one),
        PostedForm::BinaryCloudEvent => return cloud::structured(head, &body).map(one),
        PostedForm::Fields => return form_message(&body).map(one),
        PostedForm::Json if !is_array => return Ok(one(body)),
        PostedForm::Json => array(&body).map_err(|reason| ProblemDetails::new(400, reason))?,
        PostedForm::Lines => {
            let items;
            (lines, items) = numbered_lines(&body).take(ITEMS_MAX + 1).unzip();
            items
        }
        PostedForm::Text(text) => match texts(text, &body)? {
            Messages::Many(items) => items,
            one => return Ok((one, lines)),
        },
    };
    if ITEMS_MAX < items.len() {
        let detail = format!("more than {ITEMS_MAX} events in one request; send them in parts");
        return Err(ProblemDetails::new(413, detail));
    }
    Ok((Messages::Many(items), lines))
}

/// A form as a message.
pub(crate) fn form_message(body: &[u8]) -> Result<Vec<u8>, ProblemDetails> {
    let pairs = std::str::from_utf8(body).ok().map(str::trim_ascii_end).and_then(query::pairs);
    fields(pairs, "the form is not percent-encoded UTF-8 text")
}

/// What takes the place of a body that is not there: the query of a GET, and an empty object where
/// the source reads nothing of a message.
fn without_body(head: &Head, map: &Map) -> Result<Vec<u8>, ProblemDetails> {
    if head.method().word() == "GET" {
        return query_message(head.query().unwrap_or_default());
    }
    if reads_message(map) {
        return Err(ProblemDetails::new(400, "the body is empty; send one JSON object"));
    }
    Ok(b"{}".to_vec())
}

/// A query as a message.
pub(crate) fn query_message(query: &str) -> Result<Vec<u8>, ProblemDetails> {
    fields(query::pairs(query), "the query is not percent-encoded text")
}

/// Names and values as an object of texts; a name that is repeated has a list of them.
fn fields(
    pairs: Option<Vec<(String, String)>>,
    otherwise: &'static str,
) -> Result<Vec<u8>, ProblemDetails> {
    let pairs = pairs.ok_or_else(|| ProblemDetails::new(400, otherwise))?;
    if FIELDS_MAX < pairs.len() {
        let detail = format!("more than {FIELDS_MAX} fields in one form or query");
        return Err(ProblemDetails::new(413, detail));
    }
    let mut message = json!({});
    for (name, value) in pairs {
        let value = Value::String(value);
        match &mut message[&name] {
            Value::Null => message[name] = value,
            Value::Array(values) => values.push(value),
            first => *first = json!([first.take(), value]),
        }
    }
    Ok(message.to_string().into_bytes())
}

/// Whether any part of an event is taken from the message.
fn reads_message(map: &Map) -> bool {
    let reads = |expr: &Expr| expr.uses(Root::Data) || expr.uses(Root::Raw);
    let has_whole = map.kind.is_none() && map.each.is_none();
    has_whole || map.parts().chain(&map.each).any(|part| reads(&part.value))
}

/// The messages of an array as they were received, white space around them cut; at most one more
/// than may be.
fn array(body: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let items = serde::Deserializer::deserialize_seq(&mut deserializer, Items);
    let items = items.and_then(|items| deserializer.end().map(|()| items));
    items.map_err(|fault| format!("not JSON: {fault}"))
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        while messages.len() <= ITEMS_MAX
            && let Some(item) = items.next_element::<&RawValue>()?
        {
            messages.push(item.get().as_bytes().to_vec());
        }
        // A million tiny items must not cost more memory than a thousand.
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(messages)
    }
}

/// The lines that are messages, with their numbers from 1.
fn numbered_lines(body: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let numbered = lines.enumerate().filter(|line| !line.1.is_empty());
    numbered.map(|(at, line)| (at + 1, line.to_vec()))
}

/// The messages of a text; one alone is answered as one, and there is at most one more than may be.
fn texts(text: TextBody, body: &[u8]) -> Result<Messages, ProblemDetails> {
    let body = body.strip_prefix(UTF8_MARK).unwrap_or(body);
    let body = std::str::from_utf8(body)
        .map_err(|_| ProblemDetails::new(400, "the body is not UTF-8 text"))?;
    let messages = text.messages(body).map(|message| message.as_bytes().to_vec());
    let mut messages: Vec<Vec<u8>> = messages.take(ITEMS_MAX + 1).collect();
    match messages.len() {
        0 => Err(ProblemDetails::new(400, "the body is empty; send text")),
        1 => Ok(Messages::One(messages.remove(0))),
        _ => Ok(Messages::Many(messages)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::request_head;

    fn route(accepts: &[BodyForm]) -> HttpRoute {
        HttpRoute { accepts: accepts.to_vec(), ..HttpRoute::at("/e") }
    }

    /// The form, or the status and the detail.
    fn form(fields: &str, accepts: &[BodyForm]) -> Result<PostedForm, String> {
        let head = "POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n";
        let head = request_head(&format!("{head}{fields}\r\n"));
        form_of(&head, &route(accepts), "bell").map_err(|fault| {
            let body: Value = serde_json::from_slice(fault.content().bytes().unwrap()).unwrap();
            assert_eq!(fault.status(), 415, "{body}");
            body["detail"].as_str().unwrap().to_owned()
        })
    }

    const USUAL: &[BodyForm] = &[BodyForm::Json, BodyForm::Lines];

    #[test]
    fn json_is_known_in_every_spelling() {
        for kind in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json ; v=1",
            "application/vnd.docker.distribution.events.v2+json",
        ] {
            let form = form(&format!("Content-Type: {kind}\r\n"), USUAL);
            assert_eq!(form, Ok(PostedForm::Json), "{kind}");
        }
        assert_eq!(form("content-type: application/x-ndjson\r\n", USUAL), Ok(PostedForm::Lines));
    }

    #[test]
    fn what_is_not_taken_is_named_with_what_to_send() {
        let send = "send JSON with `Content-Type: application/json` or a line of JSON for each \
                    event with `application/x-ndjson`";
        let text = "; or write `accept json text` in `source http bell`";
        for (fields, told) in [
            ("", format!("the body has no `Content-Type`; {send}{text}")),
            ("Content-Type: text/plain\r\n", format!("`text/plain` is not accepted; {send}{text}")),
            ("Content-Type: image/png\r\n", format!("`image/png` is not accepted; {send}")),
            (
                "Content-Type: application/x-www-form-urlencoded\r\n",
                format!(
                    "`application/x-www-form-urlencoded` is a form, which is not accepted; {send}; \
                     or write `accept json form` in `source http bell`"
                ),
            ),
        ] {
            assert_eq!(form(fields, USUAL), Err(told), "{fields}");
        }
        let twice = "Content-Type: application/json\r\nContent-Type: text/plain\r\n";
        assert_eq!(form(twice, USUAL), Err("more than one `Content-Type` is given".to_owned()));
    }

    #[test]
    fn a_source_may_take_text_and_bodies_without_a_type() {
        let accepts = &[BodyForm::Json, BodyForm::Text];
        assert_eq!(form("", accepts), Ok(PostedForm::Json));
        assert_eq!(
            form("Content-Type: text/plain; charset=UTF-8\r\n", accepts),
            Ok(PostedForm::Json)
        );
        let lines = form("Content-Type: application/x-ndjson\r\n", accepts);
        let told = "`application/x-ndjson` is not accepted; send JSON with `Content-Type: \
                    application/json`";
        assert_eq!(lines, Err(told.to_owned()));
    }

    #[test]
    fn a_form_is_an_object_of_texts() {
        let accepts = &[BodyForm::Form];
        let kind = "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n";
        assert_eq!(form(kind, accepts), Ok(PostedForm::Fields));
        let message = |body: &str| {
            form_message(body.as_bytes()).map(|message| String::from_utf8(message).unwrap())
        };
        let expected = r#"{"a":["1","2"],"payload":"{\"b\": 1}"}"#;
        assert_eq!(message("a=1&payload=%7B%22b%22%3A+1%7D&a=2\r\n").as_deref(), Ok(expected));
        assert_eq!(message("").as_deref(), Ok("{}"));
        assert_eq!(message("a=%4").unwrap_err().status, 400);
        assert_eq!(message(&"a&".repeat(1001)).unwrap_err().status, 413);
    }

    #[test]
    fn cloud_events_are_known_by_their_type_or_their_headers() {
        let both = &[BodyForm::Json, BodyForm::CloudEvents];
        let only = &[BodyForm::CloudEvents];
        for kind in ["application/cloudevents+json", "application/cloudevents-batch+json"] {
            let fields = format!("Content-Type: {kind}; charset=utf-8\r\n");
            assert_eq!(form(&fields, only), Ok(PostedForm::Json));
            assert_eq!(
                form(&fields, USUAL),
                Ok(PostedForm::Json),
                "plain JSON to who knows no other"
            );
        }
        let binary = "Content-Type: text/plain\r\nCe-SpecVersion: 1.0\r\n";
        assert_eq!(form(binary, only), Ok(PostedForm::BinaryCloudEvent));
        assert!(form(binary, USUAL).is_err());
        let json = "Content-Type: application/json\r\n";
        assert_eq!(form(json, both), Ok(PostedForm::Json));
        let told = "`application/json` is not accepted; send a CloudEvent with \
                    `application/cloudevents+json`";
        assert_eq!(form(json, only), Err(told.to_owned()));
    }

    #[test]
    fn a_text_is_its_lines_or_whole_and_never_empty() {
        let lines = TextBody::Lines { has_header: false };
        let taken = |text: TextBody, body: &[u8]| match texts(text, body) {
            Ok(Messages::One(message)) => format!("one {}", String::from_utf8(message).unwrap()),
            Ok(Messages::Many(messages)) => {
                let messages = messages.into_iter().map(|it| String::from_utf8(it).unwrap());
                messages.collect::<Vec<_>>().join("|")
            }
            Err(fault) => format!("{} {}", fault.status, fault.detail),
        };
        assert_eq!(taken(lines, b"a b\r\n\n \nc"), "a b|c");
        assert_eq!(taken(lines, b"\xef\xbb\xbfalone\n"), "one alone");
        assert_eq!(taken(TextBody::Lines { has_header: true }, b"x,y\n1,2\n3,4"), "1,2|3,4");
        assert_eq!(taken(TextBody::Whole, b"a\r\nb\n"), "one a\r\nb");
        for text in [lines, TextBody::Whole] {
            assert_eq!(taken(text, b" \r\n"), "400 the body is empty; send text");
            assert_eq!(taken(text, b"\xff"), "400 the body is not UTF-8 text");
        }
        let many = "x\n".repeat(100_000);
        let Ok(Messages::Many(messages)) = texts(lines, many.as_bytes()) else { panic!("many") };
        assert_eq!(messages.len(), ITEMS_MAX + 1);
        let route = HttpRoute { text: Some(lines), ..HttpRoute::at("/e") };
        for fields in ["", "Content-Type: image/png\r\n", "Content-Type: text/plain\r\n"] {
            let head = format!("POST /e HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
            let form = form_of(&request_head(&head), &route, "bell");
            assert_eq!(form.ok(), Some(PostedForm::Text(lines)), "{fields}");
        }
    }

    #[test]
    fn a_get_without_a_body_is_its_query() {
        let message = |target: &str| {
            let head = request_head(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            without_body(&head, &Map::default()).map(|body| String::from_utf8(body).unwrap())
        };
        assert_eq!(message("/e").as_deref(), Ok("{}"));
        let expected = r#"{"a":["1","2","3"],"b":"","c d":"é"}"#;
        assert_eq!(message("/e?a=1&b&a=2&c+d=%C3%A9&a=3").as_deref(), Ok(expected));
        assert_eq!(message("/e?a=%ff").unwrap_err().status, 400);
    }

    #[test]
    fn an_array_of_a_million_items_is_not_kept() {
        let body = format!("[{}1]", "1,".repeat(1_000_000));
        assert_eq!(array(body.as_bytes()).unwrap().len(), ITEMS_MAX + 1);
        assert_eq!(array(b"[ {\"a\": 1} , 2 ]").unwrap(), [b"{\"a\": 1}".to_vec(), b"2".to_vec()]);
        for broken in ["[1", "[1] 2", "[1,]", &format!("[{}x]", "1,".repeat(2000))] {
            assert!(array(broken.as_bytes()).unwrap_err().starts_with("not JSON: "), "{broken}");
        }
        assert_eq!(array(b"[]").unwrap().len(), 0);
    }
}
