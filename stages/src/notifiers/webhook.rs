//! Sends an HTTP request to another program.

use crate::contract::{DynNotify, Kind, Notice, Notify, NotifyKind, Services};
use crate::request::{self, Ready, Text};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::Fault;
use language::expr::{Roots, Scope};
use language::{Arg, Context, Fields, Needed, NodeRow, Scalar, ValueKind};
use store::write_event;
use wire::{FetchRequest, answer};

const TEMPLATE: ValueKind = ValueKind::Template(Roots::NOTICE);

/// The answer is not looked at beyond its status.
const ANSWER_MAX: usize = 1 << 20;

const NODES: &[NodeRow] = &[
    NodeRow::new("url", "the URL to send it to")
        .examples(&[r#"url (env)"CHAT_URL""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .required(),
    NodeRow::new("method", "the HTTP method")
        .examples(&["method PUT"])
        .args(&[Arg::one("method", ValueKind::Word(Method::WORDS))])
        .default("POST"),
    NodeRow::new("header", "a header of the request")
        .examples(&[r#"header "X-Event" "{{ event.type }}""#])
        .args(&[Arg::one("name", ValueKind::Text), Arg::one("value", TEMPLATE)])
        .repeated(),
    NodeRow::new("body", "what to send")
        .examples(&[r##"body #"{ "text": {{ title | json }} }"#"##])
        .args(&[Arg::one("text", TEMPLATE)])
        .otherwise("the event as JSON, with `title` and `message`"),
];

choice! {
    /// How it is sent.
    enum Method {
        /// The usual one.
        Post = "POST",
        /// For services that want it.
        Put = "PUT",
        /// For services that want it.
        Patch = "PATCH",
    }
}

/// The kind `webhook`.
pub(super) struct Webhook {
    url: String,
    method: Method,
    headers: Vec<(String, Ready)>,
    body: Option<Ready>,
    services: Services,
}

/// What to send where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    url: Text,
    method: Method,
    headers: Vec<(String, Text)>,
    body: Option<Text>,
}

impl Kind for Webhook {
    const WORD: &'static str = "webhook";
    const SUMMARY: &'static str = "sends an HTTP request to another program";
    const EXAMPLE: &'static str = r#"notify webhook chat { url (env)"CHAT_URL" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let url = fields.child("url").and_then(|it| Text::read(&it.arg(0)?));
        let method = fields.setting("method").arg(0, Scalar::choice);
        let url = url.filter(|it| request::check_url(it, context.diagnostics))?;
        let body = fields.child("body").and_then(|it| Text::read(&it.arg(0)?));
        Some(Settings { url, method, headers: request::read_headers(fields), body })
    }

    fn needed(settings: &Settings) -> Vec<Needed> {
        let headers = settings.headers.iter().map(|it| &it.1);
        let texts = [&settings.url].into_iter().chain(headers).chain(&settings.body);
        texts.map(Text::needed).collect()
    }
}

impl NotifyKind for Webhook {
    fn is_remote(_: &Settings) -> bool {
        true
    }

    fn sends_event(settings: &Settings) -> bool {
        settings.body.is_none()
    }

    async fn open(settings: Settings, services: Services) -> Result<Box<dyn DynNotify>, Fault> {
        Ok(Box::new(Webhook {
            url: request::resolve(&settings.url.setting.value, &services)?,
            method: settings.method,
            headers: request::open_headers(&settings.headers, &services)?,
            body: settings.body.as_ref().map(|it| it.open(&services)).transpose()?,
            services,
        }))
    }
}

impl Notify for Webhook {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let answer = self.services.fetch.fetch(self.request(notice)).await?;
        answer::settled(&answer, self.services.env.clock.wall())
    }
}

impl Webhook {
    fn request(&self, notice: &Notice) -> FetchRequest {
        let outgoing = &notice.outgoing;
        let now = self.services.env.clock.wall();
        let scope = Scope {
            title: Some(&notice.title),
            message: Some(&notice.message),
            ..Scope::of(outgoing.event(), now)
        };
        let mut headers = request::render_headers(&self.headers, &scope);
        if !request::has_header(&headers, "content-type") {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        headers.push(("Idempotency-Key".to_owned(), outgoing.key.clone()));
        let body = match &self.body {
            Some(body) => body.render(&scope),
            None => {
                let mut body = String::new();
                write_event(&mut body, &outgoing.stored, &self.services.pipeline);
                with_texts(&body, notice)
            }
        };
        FetchRequest {
            method: self.method.word(),
            url: self.url.clone(),
            headers,
            body: Some(body.into_bytes()),
            timeout: outgoing.timeout,
            body_max: ANSWER_MAX,
        }
    }
}

/// The event as JSON with the texts of the notification before its own fields.
fn with_texts(event: &str, notice: &Notice) -> String {
    let text = |it: &str| serde_json::Value::from(it).to_string();
    let (title, message) = (text(&notice.title), text(&notice.message));
    let fields = event.trim_start().strip_prefix('{').unwrap_or("}");
    format!("{{\"title\":{title},\"message\":{message},{fields}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FakeFetch};
    use serde_json::{Value, json};

    fn tell(text: &str, status: u16) -> (Result<(), Fault>, FetchRequest) {
        let fetch = FakeFetch::answering(status, &[], "");
        let services = testing::services(fetch.clone());
        let settings = testing::settings::<Webhook>(text);
        let notifier = smol::block_on(Webhook::open(settings, services)).unwrap();
        let outgoing = testing::outgoing(json!({ "n": 2 }));
        let notice = Notice { outgoing, title: "t".to_owned(), message: "m".to_owned() };
        (smol::block_on(notifier.notify(&notice)), fetch.only_request())
    }

    #[test]
    fn the_event_is_sent_with_a_key_that_is_the_same_for_every_attempt() {
        let (told, asked) = tell("url (env)\"URL\"", 200);
        assert_eq!((told, asked.method, asked.url.as_str()), (Ok(()), "POST", "http://u/x"));
        let body: Value = serde_json::from_slice(&asked.body.unwrap()).unwrap();
        assert_eq!((&body["title"], &body["message"]), (&json!("t"), &json!("m")));
        assert_eq!((&body["id"], &body["data"]), (&json!("e-1"), &json!({ "n": 2 })));
        let key = ("Idempotency-Key".to_owned(), "e-1/out".to_owned());
        assert!(asked.headers.contains(&key), "{:?}", asked.headers);
    }

    #[test]
    fn method_headers_and_body_are_the_file_s() {
        let (_, asked) = tell(
            r#"url "http://h/x"
            method PUT
            header content-type "text/plain"
            header X-Kind "{{ event.type }}"
            body "n is {{ data.n }}, {{ title }} {{ message | json }}""#,
            200,
        );
        assert_eq!(
            (asked.method, asked.body.as_deref()),
            ("PUT", Some(b"n is 2, t \"m\"".as_slice()))
        );
        let headers: Vec<_> = asked.headers.iter().map(|it| (&*it.0, &*it.1)).collect();
        assert_eq!(headers[..2], [("content-type", "text/plain"), ("X-Kind", "door.bell")]);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn a_refusal_is_permanent() {
        assert!(!tell("url \"http://h/\"", 422).0.unwrap_err().is_transient());
        assert!(tell("url \"http://h/\"", 500).0.unwrap_err().is_transient());
    }
}
