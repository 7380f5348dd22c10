//! Calls an HTTP service and adds its response.

use crate::contract::{Addition, Adds, EnrichKind, Enricher, Kind, Remote, Services};
use crate::request::{self, Ready, Text, UrlText};
use kernel::decode::{self, Unreadable};
use kernel::event::Event;
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Expr, Roots, Scope, TypeEnv, ValueType};
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, ValueKind, statuses};
use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;
use std::time::Duration;
use wire::{FetchRequest, FetchResponse, answer};

const TEMPLATE: ValueKind = ValueKind::Template(Roots::EVENT);
const URL: ValueKind = ValueKind::UrlTemplate(Roots::EVENT);

const NODES: &[NodeRow] = &[
    NodeRow::new("get", "the URL to GET")
        .examples(&[r#"get "http://127.0.0.1:8700/weather?at={{ data.zip }}""#])
        .args(&[Arg::one("url", URL)]),
    NodeRow::new("post", "the URL to POST to")
        .examples(&[r#"post "http://127.0.0.1:8700/faces""#])
        .args(&[Arg::one("url", URL)]),
    NodeRow::new("header", "a header of the request")
        .examples(&[r#"header "X-Camera" "{{ event.source }}""#])
        .args(&[Arg::one("name", ValueKind::Text), Arg::one("value", TEMPLATE)])
        .repeated(),
    NodeRow::new("body", "the body of a POST")
        .examples(&[r##"body #"{ "id": {{ data.id | json }} }"#"##])
        .args(&[Arg::one("text", TEMPLATE)])
        .otherwise("the event as CloudEvents JSON"),
    NodeRow::new("expect", "which responses are successful")
        .examples(&[r#"expect status="2xx 404" max-body="64KiB" content-type="application/json""#])
        .props(&[
            Prop::new("status", ValueKind::Statuses),
            Prop::new("max-body", ValueKind::Bytes(1, 16 << 20)),
            Prop::new("content-type", ValueKind::Text),
        ])
        .default("status=\"2xx\" max-body=\"1MiB\""),
    NodeRow::new("select", "the part of the response to add")
        .examples(&[r#"select "body.current.temperature""#])
        .args(&[Arg::one("expression", ValueKind::Expr(Roots::RESPONSE))])
        .otherwise("the whole body"),
];

/// The kind `http`.
pub(super) struct HttpEnricher {
    settings: HttpEnrichSettings,
    url: UrlText,
    headers: Vec<(String, Ready)>,
    body: Option<Ready>,
    services: Services,
}

/// What to ask, and which answer is good.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HttpEnrichSettings {
    method: &'static str,
    url: Text,
    headers: Vec<(String, Text)>,
    body: Option<Text>,
    statuses: Vec<RangeInclusive<u16>>,
    body_max: usize,
    content_type: Option<String>,
    select: Option<Expr>,
}

impl Kind for HttpEnricher {
    const WORD: &'static str = "http";
    const SUMMARY: &'static str = "calls an HTTP service and adds its response";
    const EXAMPLE: &'static str =
        r#"enrich http traffic { get "http://127.0.0.1:8700/traffic"; cache "10m" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, super::CACHE];
    type Settings = HttpEnrichSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<HttpEnrichSettings> {
        let asked = read_url(fields, context);
        let expect = fields.setting("expect");
        let body = fields.child("body").and_then(|child| Text::read(&child.arg(0)?));
        let (method, url) = asked?;
        if method == "GET"
            && let Some(node) = fields.child("body")
        {
            let span = node.name().span;
            context
                .diagnostics
                .push(Rule::WrongArgument, "a GET has no body")
                .at(span, "never sent")
                .help("use `post`, or remove `body`");
        }
        let select = match fields.child("select") {
            Some(it) => Some(it.arg(0)?.expr(Roots::RESPONSE)?.value),
            None => None,
        };
        let content_type =
            fields.child("expect").and_then(|child| child.prop("content-type")?.text());
        if let Some(text) = &content_type {
            request::check_content_type(text, "content-type=", false, context.diagnostics);
        }
        Some(HttpEnrichSettings {
            method,
            url,
            headers: request::read_headers(fields, context.diagnostics),
            body,
            statuses: expect.prop("status", |scalar| statuses(&scalar.text()?.value)),
            body_max: expect.prop("max-body", |scalar| usize::try_from(scalar.bytes()?.value).ok()),
            content_type: content_type.map(|text| text.value),
            select,
        })
    }

    fn needed(settings: &HttpEnrichSettings) -> Vec<Needed> {
        let headers = settings.headers.iter().map(|header| &header.1);
        let texts = [&settings.url].into_iter().chain(headers).chain(&settings.body);
        texts.map(Text::needed).collect()
    }
}

/// Exactly one of `get` and `post`.
fn read_url(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<(&'static str, Text)> {
    let (method, node) = match (fields.child("get"), fields.child("post")) {
        (Some(node), None) => ("GET", node),
        (None, Some(node)) => ("POST", node),
        (get, post) => {
            let message = match &get {
                Some(_) => "`get` and `post` cannot be combined",
                None => "an `enrich http` needs `get` or `post`",
            };
            let rule = if get.is_some() { Rule::RepeatedNode } else { Rule::MissingNode };
            let span = post.as_ref().unwrap_or(fields).name().span;
            context
                .diagnostics
                .push(rule, message)
                .at(span, "here")
                .help("write one of them, such as `get \"http://127.0.0.1:8700/weather\"`");
            return None;
        }
    };
    let url = Text::read(&node.arg(0)?)?;
    request::check_url(&url, context).then_some((method, url))
}

impl EnrichKind for HttpEnricher {
    const IS_REMOTE: bool = true;

    fn adds(settings: &HttpEnrichSettings, known: &TypeEnv) -> Adds {
        let select = settings.select.as_ref();
        Adds::Value(select.map_or_else(ValueType::any, |it| known.check(it).shape))
    }

    async fn open(settings: HttpEnrichSettings, services: Services) -> Result<Enricher, Fault> {
        let url = UrlText::open(&settings.url, &services)?;
        let headers = request::open_headers(&settings.headers, &services)?;
        let body = settings.body.as_ref().map(|body| body.open(&services)).transpose()?;
        Ok(Enricher::Remote(Box::new(HttpEnricher { settings, url, headers, body, services })))
    }
}

impl Remote for HttpEnricher {
    async fn enrich(&self, event: &Event, timeout: Duration) -> Result<Addition, Fault> {
        let answer = self.services.fetch.fetch(self.request(event, timeout)?).await?;
        let now = self.services.env.clock.wall();
        let expected = &self.settings.statuses;
        if !expected.iter().any(|it| it.contains(&answer.status)) {
            return Err(answer::fault_of(&answer, now));
        }
        let body = self.body_of(&answer)?;
        let Some(select) = &self.settings.select else { return Ok(Addition::Value(body)) };
        let headers = answer.headers.iter();
        let headers: Map<String, Value> =
            headers.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        let headers = Value::Object(headers);
        let mut scope = Scope::of(event, now);
        (scope.body, scope.status) = (Some(&body), Some(answer.status));
        scope.headers = Some(&headers);
        Ok(Addition::Value(select.eval(&scope).to_json()))
    }

    fn question(&self, event: &Event) -> Option<String> {
        let request = self.request(event, Duration::ZERO).ok()?;
        let mut question = format!("{} {}", request.method, request.url);
        for (name, value) in &request.headers {
            question.push_str(&format!("\n{name}: {value}"));
        }
        question.push_str("\n\n");
        question.push_str(&String::from_utf8_lossy(request.body.as_deref().unwrap_or_default()));
        Some(question)
    }
}

impl HttpEnricher {
    fn request(&self, event: &Event, timeout: Duration) -> Result<FetchRequest, Fault> {
        let scope = Scope::of(event, self.services.env.clock.wall());
        let mut headers = request::render_headers(&self.headers, &scope);
        let (body, content_type) = match (&self.body, self.settings.method) {
            (_, "GET") => (None, None),
            (Some(body), _) => (Some(body.render(&scope)), Some("application/json")),
            (None, _) => (Some(cloud_event(event)), Some("application/cloudevents+json")),
        };
        if let Some(content_type) = content_type
            && !request::has_header(&headers, "content-type")
        {
            headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        Ok(FetchRequest {
            method: self.settings.method,
            url: self.url.render(&scope)?,
            headers,
            body: body.map(String::into_bytes),
            timeout,
            body_max: self.settings.body_max,
        })
    }

    fn body_of(&self, answer: &FetchResponse) -> Result<Value, Fault> {
        if let Some(wanted) = &self.settings.content_type {
            let given = answer::header(answer, "content-type").unwrap_or_default();
            let given = given.split(';').next().unwrap_or_default().trim();
            if !given.eq_ignore_ascii_case(wanted) {
                return Err(Fault::permanent(format!("the response is `{given}`, not `{wanted}`")));
            }
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        // As strict as with messages: what is added is stored and read like their data.
        decode::parse_response(&answer.body).map_err(|fault| {
            Fault::permanent(match fault {
                Unreadable::NotJson(reason) => format!("the response is not JSON: {reason}"),
                Unreadable::Refused(reason) => format!("the response cannot be used: {reason}"),
            })
        })
    }
}

/// The event as CloudEvents 1.0, structured.
fn cloud_event(event: &Event) -> String {
    let it = &event.envelope;
    json!({
        "specversion": "1.0", "id": &*it.id, "source": &*it.source, "type": &*it.kind,
        "subject": (!it.subject.is_empty()).then_some(&*it.subject),
        "time": it.time.to_string(), "datacontenttype": "application/json",
        "data": &*event.data,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FakeFetch};
    use kernel::fault::Cause;
    use std::sync::Arc;

    fn ask(text: &str, fetch: &Arc<FakeFetch>) -> Result<Addition, Fault> {
        let services = testing::services(fetch.clone());
        let opened =
            smol::block_on(HttpEnricher::open(testing::settings::<HttpEnricher>(text), services))?;
        let Enricher::Remote(http) = opened else { panic!("it is remote") };
        let event = testing::event(json!({ "n": 2 }));
        smol::block_on(http.enrich(&event, Duration::from_secs(3)))
    }

    #[test]
    fn values_in_the_url_are_encoded_and_the_answer_selected() {
        let fetch = FakeFetch::answering(200, &[("x", "y")], r#"{"t":3}"#);
        let added = ask(
            r#"get "http://h/w?at={{ event.time }}"
            header Authorization (env)"TOKEN" default=""
            header X-N "{{ data.n }}"
            select "{ 't': body.t, 's': status, 'x': headers.x }""#,
            &fetch,
        );
        assert_eq!(added, Ok(Addition::Value(json!({ "t": 3, "s": 200, "x": "y" }))));
        let asked = fetch.only_request();
        assert_eq!(asked.url, "http://h/w?at=2026-01-01T09%3A59%3A55.000Z");
        let expected = [("Authorization", "t0k"), ("X-N", "2")];
        assert_eq!(asked.headers, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!((asked.method, asked.timeout), ("GET", Duration::from_secs(3)));
    }

    #[test]
    fn a_post_without_a_body_sends_a_cloud_event() {
        let fetch = FakeFetch::answering(204, &[], "");
        assert_eq!(ask("post \"http://h/\"", &fetch), Ok(Addition::Value(Value::Null)));
        let body: Value = serde_json::from_slice(&fetch.only_request().body.unwrap()).unwrap();
        assert_eq!((&body["id"], &body["data"]), (&json!("e-1"), &json!({ "n": 2 })));
    }

    #[test]
    fn an_unexpected_answer_is_a_fault_of_the_right_class() {
        let fault = |status, body: &str, text| {
            ask(text, &FakeFetch::answering(status, &[("retry-after", "9")], body)).unwrap_err()
        };
        let get = "get \"http://h/\"";
        let busy = fault(503, "", get);
        assert!(busy.is_transient() && busy.retry_after == Some(Duration::from_secs(9)));
        let gone = fault(404, "", get);
        assert!(!gone.is_transient() && gone.cause == Cause::Status(404));
        assert!(!fault(200, "<html>", get).is_transient());
        for (body, reason) in [
            ("1e400", "the response is not JSON: number out of range at line 1 column 5"),
            (r#"{"a":1,"a":2}"#, "the response cannot be used: the key `a` appears twice"),
            (&"[".repeat(99), "the response cannot be used: nested deeper than 64 levels"),
        ] {
            let fault = fault(200, body, get);
            assert!(!fault.is_transient() && fault.reason == reason, "{}", fault.reason);
        }
        let long = format!("\"{}\"", "x".repeat(300_000));
        assert!(ask(get, &FakeFetch::answering(200, &[], &long)).is_ok());
        let typed = "get \"http://h/\"\nexpect content-type=\"application/json\"";
        assert!(!fault(200, "{}", typed).is_transient());
        assert!(!fault(201, "{}", "get \"http://h/\"\nexpect status=\"200\"").is_transient());
    }

    #[test]
    fn an_event_cannot_choose_the_host() {
        let found = testing::findings::<HttpEnricher>("get \"http://{{ data.host }}/x\"");
        assert_eq!(found, ["E0106 the host of a URL must be a literal in the file"]);
        assert_eq!(testing::findings::<HttpEnricher>("get \"ftp://x\"").len(), 1);
        let both = testing::findings::<HttpEnricher>("get \"http://h\"\npost \"http://h\"");
        assert_eq!(both, ["E0017 `get` and `post` cannot be combined"]);
        assert_eq!(
            testing::findings::<HttpEnricher>(""),
            ["E0018 an `enrich http` needs `get` or `post`"]
        );
    }

    #[test]
    fn what_comes_from_outside_is_told_to_the_engine() {
        let settings = testing::settings::<HttpEnricher>("get (env)\"URL\" optional=#true");
        let needed = HttpEnricher::needed(&settings);
        assert_eq!((needed.len(), needed[0].is_optional), (1, true));
    }
}
