//! Sends an HTTP request to another program.

use super::cloud_event::{self, CloudEventMode};
use crate::contract::{
    DynNotify, Kind, MessageUpdate, NoUpdate, Notice, Notify, NotifyKind, Services,
};
use crate::process::with_texts;
use crate::request::{self, Ready, Text, UrlText};
use crate::signature::{SignScheme, Signer};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::diagnostic::Rule;
use language::expr::{Root, Roots, Scope, Template};
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use serde::de::IgnoredAny;
use serde_json::Value;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;
use store::write_event;
use wire::{FetchRequest, answer};

const TEMPLATE: ValueKind = ValueKind::Template(Roots::NOTICE);

/// The answer is not looked at beyond its status.
const ANSWER_MAX: usize = 1 << 20;

const NODES: &[NodeRow] = &[
    NodeRow::new("url", "the URL to send it to")
        .examples(&[
            r#"url (env)"CHAT_URL""#,
            r#"url "http://127.0.0.1:8123/lights/{{ event.subject }}?level={{ data.level }}""#,
        ])
        .args(&[Arg::one("url", ValueKind::UrlTemplate(Roots::NOTICE))])
        .required(),
    NodeRow::new("method", "the HTTP method; `GET` and `DELETE` send no body, for devices that do what their URL says")
        .examples(&["method PUT"])
        .args(&[Arg::one("method", ValueKind::Word(WebhookMethod::WORDS))])
        .default("POST"),
    NodeRow::new("header", "a header of the request")
        .examples(&[r#"header "X-Event" "{{ event.type }}""#])
        .args(&[Arg::one("name", ValueKind::Text), Arg::one("value", TEMPLATE)])
        .repeated(),
    NodeRow::new("body", "what to send")
        .examples(&[r##"body #"{ "text": {{ title | json }} }"#"##])
        .args(&[Arg::one("text", TEMPLATE)])
        .otherwise("the event as JSON, with `title` and `message`"),
    NodeRow::new("cloudevents", "sends the event as a CloudEvent 1.0: `structured` as one JSON object, `binary` with its attributes as headers. Its data is the event's `data`, without what stages added; with `batch`, a request is a batch of structured ones")
        .examples(&["cloudevents structured", "cloudevents binary"])
        .args(&[Arg::one("mode", ValueKind::Word(CloudEventMode::WORDS))])
        .otherwise("off"),
    NodeRow::new("batch", "the most events in one request; waiting events are sent together, but no event waits for a batch to fill. A batch that the service rejects is sent again in parts, until the accepted events are separated from the others")
        .examples(&["batch 100", "batch 200 as=lines"])
        .args(&[Arg::one("events", ValueKind::Int(2, 256))])
        .props(&[Prop::new("as", ValueKind::Word(BatchForm::WORDS)).default("array")])
        .otherwise("one request for each event"),
    NodeRow::new("sign", "how requests are signed, so that the receiver knows that they come from here; several secrets of `standard-webhooks` give several signatures, of which the receiver needs one")
        .examples(&[
            r#"sign standard-webhooks secret=(env)"WEBHOOK_SECRET""#,
            r#"sign github secret=(env)"WEBHOOK_SECRET""#,
        ])
        .args(&[Arg::one("scheme", ValueKind::Word(SignScheme::WORDS))])
        .props(&[Prop::required("secret", ValueKind::Secret)])
        .repeated(),
];

choice! {
    /// How several bodies are one.
    enum BatchForm {
        /// A JSON array.
        Array = "array",
        /// One to a line.
        Lines = "lines",
    }
}

choice! {
    /// How it is sent.
    enum WebhookMethod {
        /// The usual one.
        Post = "POST",
        /// For services that want it.
        Put = "PUT",
        /// For services that want it.
        Patch = "PATCH",
        /// For devices that do what their URL says.
        Get = "GET",
        /// For services that want it.
        Delete = "DELETE",
    }
}

impl WebhookMethod {
    fn has_body(self) -> bool {
        !matches!(self, WebhookMethod::Get | WebhookMethod::Delete)
    }
}

/// The kind `webhook`.
pub(super) struct Webhook {
    url: UrlText,
    method: WebhookMethod,
    headers: Vec<(String, Ready)>,
    body: Option<Ready>,
    batch: Option<WebhookBatch>,
    cloud_events: Option<CloudEventMode>,
    signer: Signer,
    services: Services,
}

/// How many events one request holds, and in which form.
#[derive(Debug, Clone, Copy, PartialEq)]
struct WebhookBatch {
    events_max: usize,
    form: BatchForm,
}

/// What to send where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WebhookSettings {
    url: Text,
    method: WebhookMethod,
    headers: Vec<(String, Text)>,
    body: Option<Text>,
    batch: Option<WebhookBatch>,
    cloud_events: Option<CloudEventMode>,
    signs: Vec<(SignScheme, Text)>,
}

impl Kind for Webhook {
    const WORD: &'static str = "webhook";
    const SUMMARY: &'static str = "sends an HTTP request to another program";
    const EXAMPLE: &'static str = r#"notify webhook chat { url (env)"CHAT_URL" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = WebhookSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<WebhookSettings> {
        let url = fields.child("url").and_then(|child| Text::read(&child.arg(0)?));
        let method: WebhookMethod = fields.setting("method").arg(0, Scalar::choice);
        let url = url.filter(|url| request::check_url(url, context))?;
        let body = fields.child("body").and_then(|child| Text::read(&child.arg(0)?));
        let headers = request::read_headers(fields, context.diagnostics);
        let batch = fields.child("batch").and_then(|child| {
            let events_max = usize::try_from(child.arg(0)?.int()?.value).ok()?;
            Some(WebhookBatch { events_max, form: child.filled().prop("as", Scalar::choice) })
        });
        if batch.is_some() {
            check_shared(fields, &url, &headers, context);
        }
        let cloud_events = match fields.child("cloudevents") {
            Some(it) => Some(cloud_events_of(&it, body.as_ref(), batch, context)?),
            None => None,
        };
        if !method.has_body() {
            check_no_body(fields, method, context);
        }
        let signs = read_signs(fields);
        check_signs(fields, &signs, &headers, context);
        Some(WebhookSettings { url, method, headers, body, batch, cloud_events, signs })
    }

    fn needed(settings: &WebhookSettings) -> Vec<Needed> {
        let headers = settings.headers.iter().map(|header| &header.1);
        let texts = [&settings.url].into_iter().chain(headers).chain(&settings.body);
        let texts = texts.chain(settings.signs.iter().map(|sign| &sign.1));
        texts.map(Text::needed).collect()
    }
}

/// How CloudEvents are sent; reports what does not work together with them.
fn cloud_events_of(
    fields: &Fields<'_>,
    body: Option<&Text>,
    batch: Option<WebhookBatch>,
    context: &mut Context<'_>,
) -> Option<CloudEventMode> {
    let mode: CloudEventMode = fields.arg(0)?.choice()?;
    let is_lines = batch.is_some_and(|batch| batch.form == BatchForm::Lines);
    let (message, help) = match mode {
        _ if body.is_some() => {
            ("`body` and `cloudevents` cannot be combined", "remove one of them")
        }
        CloudEventMode::Binary if batch.is_some() => {
            ("a batch has no binary CloudEvents", "write `cloudevents structured`")
        }
        _ if is_lines => ("CloudEvents are not sent as lines", "write `batch` without `as=lines`"),
        mode => return Some(mode),
    };
    context.diagnostics.push(Rule::WrongArgument, message).at(fields.head(), "here").help(help);
    None
}

/// What only a body could hold.
fn check_no_body(fields: &Fields<'_>, method: WebhookMethod, context: &mut Context<'_>) {
    for name in ["body", "batch", "cloudevents"] {
        let Some(child) = fields.child(name) else { continue };
        let word = method.word();
        context
            .diagnostics
            .push(Rule::WrongArgument, format!("`method {word}` sends no body"))
            .at(child.head(), "would never be sent")
            .help(format!("remove `{name}`, or write `method POST`"));
    }
}

fn read_signs(fields: &Fields<'_>) -> Vec<(SignScheme, Text)> {
    let read = |fields: Fields<'_>| {
        let scheme = SignScheme::parse(&fields.arg(0)?.text()?.value)?;
        Some((scheme, Text::read(&fields.prop("secret")?)?))
    };
    fields.children("sign").filter_map(read).collect()
}

/// A secret must be one, and each header has one meaning.
fn check_signs(
    fields: &Fields<'_>,
    signs: &[(SignScheme, Text)],
    headers: &[(String, Text)],
    context: &mut Context<'_>,
) {
    for (scheme, text) in signs {
        let is_bad = |text: &str| !text.is_empty() && !scheme.takes(text);
        if text.setting.value.literal().is_some_and(is_bad) {
            context
                .diagnostics
                .push(Rule::WrongArgument, "this cannot be a secret of `standard-webhooks`")
                .at(text.setting.span.clone(), "not base64")
                .help("make one with `openssl rand -base64 32`, and write `secret=(env)\"NAME\"`");
        }
    }
    let mut hubs = fields.children("sign").filter(|child| {
        let word = child.arg(0).and_then(|arg| arg.text());
        word.is_some_and(|word| SignScheme::parse(&word.value) == Some(SignScheme::Github))
    });
    if let (Some(first), Some(second)) = (hubs.next(), hubs.next()) {
        context
            .diagnostics
            .push(Rule::WrongArgument, "`github` has one signature only")
            .at(second.head(), "a second secret")
            .at(first.head(), "the first one")
            .help("remove one; `standard-webhooks` takes several while a secret is replaced");
    }
    for (name, text) in headers {
        let sets = |it: &&(SignScheme, Text)| {
            it.0.headers().iter().any(|header| header.eq_ignore_ascii_case(name))
        };
        if signs.iter().any(|sign| sets(&sign)) {
            context
                .diagnostics
                .push(Rule::WrongArgument, format!("`sign` sets the header `{name}`"))
                .at(text.setting.span.clone(), "it would be there twice")
                .help("remove this header");
        }
    }
}

/// The URL and each header are the same for all events of a request.
fn check_shared(
    fields: &Fields<'_>,
    url: &Text,
    headers: &[(String, Text)],
    context: &mut Context<'_>,
) {
    let own = [
        Root::Event,
        Root::Data,
        Root::Raw,
        Root::Enrich,
        Root::Title,
        Root::Message,
        Root::Update,
    ];
    let reads_event = |text: &Text| {
        let template =
            text.setting.value.literal().map(|literal| Template::parse(literal, Roots::NOTICE));
        let template = template.and_then(Result::ok);
        template.is_some_and(|template| template.reads().iter().any(|it| own.contains(&it.root)))
    };
    let batch = fields.child("batch").map_or_else(|| fields.head(), |child| child.head());
    let url = ("the URL".to_owned(), "a request has one URL", url);
    let headers = headers.iter().map(|(name, text)| {
        (format!("the header `{name}`"), "a request has each header once", text)
    });
    for (name, label, text) in headers.chain([url]).filter(|shared| reads_event(shared.2)) {
        context
            .diagnostics
            .push(
                Rule::WrongArgument,
                format!("{name} reads a single event, but the request has several"),
            )
            .at(text.setting.span.clone(), label)
            .at(batch.clone(), "a request holds many events")
            .help("put that value into `body`, or remove `batch`");
    }
}

impl NotifyKind for Webhook {
    fn is_remote(_: &WebhookSettings) -> bool {
        true
    }

    fn no_update(_: &WebhookSettings) -> Option<NoUpdate> {
        None
    }

    fn sends_event(settings: &WebhookSettings) -> bool {
        settings.body.is_none() && settings.method.has_body()
    }

    async fn open(
        settings: WebhookSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let mut signer = Signer::default();
        for (scheme, text) in &settings.signs {
            let secret = request::resolve(&text.setting.value, &services)?;
            if !signer.add(*scheme, &secret) {
                let reason = "the secret of `sign` cannot be one: `standard-webhooks` needs base64";
                return Err(Fault::permanent(reason));
            }
        }
        Ok(Box::new(Webhook {
            signer,
            url: UrlText::open(&settings.url, &services)?,
            method: settings.method,
            headers: request::open_headers(&settings.headers, &services)?,
            body: settings.body.as_ref().map(|body| body.open(&services)).transpose()?,
            batch: settings.batch,
            cloud_events: settings.cloud_events,
            services,
        }))
    }
}

impl Notify for Webhook {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        self.send(std::slice::from_ref(notice)).await
    }

    fn batch_max(&self) -> usize {
        self.batch.map_or(1, |batch| batch.events_max)
    }

    async fn notify_all(&self, batch: &[Notice]) -> Vec<Result<(), Fault>> {
        let mut results = Vec::with_capacity(batch.len());
        // Parts that are still to be sent, the first one last.
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.send(part).await {
                // One event that the service does not take must not cost the others.
                Err(fault) if !fault.is_transient() && 1 < part.len() => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                result => results.extend(std::iter::repeat_n(result, part.len())),
            }
        }
        results
    }
}

impl Webhook {
    async fn send(&self, notices: &[Notice]) -> Result<(), Fault> {
        let answer = self.services.fetch.fetch(self.request(notices)?).await?;
        answer::settled(&answer, self.services.env.clock.wall())
    }

    fn request(&self, notices: &[Notice]) -> Result<FetchRequest, Fault> {
        let first = notices.first().expect("a request is about something");
        let now = self.services.env.clock.wall();
        let update = first.update.as_ref().map(MessageUpdate::shown);
        let scope = scope_of(first, update.as_ref(), now);
        let mut headers = request::render_headers(&self.headers, &scope);
        let is_lines = self.batch.is_some_and(|batch| batch.form == BatchForm::Lines);
        if self.cloud_events == Some(CloudEventMode::Binary) {
            let own = cloud_event::headers(&first.outgoing.stored);
            headers.retain(|header| !own.iter().any(|own| own.0.eq_ignore_ascii_case(&header.0)));
            headers.extend(own);
        }
        let has_body = self.method.has_body();
        if has_body && !request::has_header(&headers, "content-type") {
            let form = match (self.cloud_events, self.batch) {
                (Some(_), Some(_)) => cloud_event::BATCH,
                (Some(_), None) => cloud_event::STRUCTURED,
                (None, _) if is_lines => "application/x-ndjson",
                (None, _) => "application/json",
            };
            headers.push(("Content-Type".to_owned(), form.to_owned()));
        }
        let key = key_of(notices);
        headers.push(("Idempotency-Key".to_owned(), key.clone()));
        let bodies = notices.iter().map(|notice| self.body(notice, now));
        let body: String = match self.batch {
            _ if !has_body => String::new(),
            None => bodies.collect(),
            Some(_) if is_lines => bodies.map(|body| one_line(&body) + "\n").collect(),
            Some(_) => format!("[{}]", bodies.map(as_json).collect::<Vec<_>>().join(",")),
        };
        headers.extend(self.signer.sign(&key, body.as_bytes(), now));
        Ok(FetchRequest {
            method: self.method.word(),
            url: self.url.render(&scope)?,
            headers,
            body: has_body.then(|| body.into_bytes()),
            timeout: first.outgoing.timeout,
            body_max: ANSWER_MAX,
        })
    }

    fn body(&self, notice: &Notice, now: Timestamp) -> String {
        let stored = &notice.outgoing.stored;
        match (&self.body, self.cloud_events) {
            (Some(body), _) => {
                let update = notice.update.as_ref().map(MessageUpdate::shown);
                body.render(&scope_of(notice, update.as_ref(), now))
            }
            (None, Some(CloudEventMode::Structured)) => cloud_event::structured(stored),
            (None, Some(CloudEventMode::Binary)) => stored.body.data_text().to_owned(),
            (None, None) => {
                let mut body = String::new();
                write_event(&mut body, &notice.outgoing.stored, &self.services.pipeline);
                with_texts(&body, notice)
            }
        }
    }
}

fn scope_of<'a>(notice: &'a Notice, update: Option<&'a Value>, now: Timestamp) -> Scope<'a> {
    Scope {
        update,
        title: Some(&notice.title),
        message: Some(&notice.message),
        ..Scope::of(notice.outgoing.event(), now)
    }
}

/// The idempotency key: the same for each attempt with exactly these events.
fn key_of(notices: &[Notice]) -> String {
    if let [notice] = notices {
        return notice.outgoing.header_key();
    }
    let mut hasher = SipHasher13::new();
    for notice in notices {
        hasher.write(notice.outgoing.key.as_bytes());
        hasher.write_u8(0);
    }
    format!("batch-{:032x}", hasher.finish128().as_u128())
}

/// A body as an item of the array; one that is not JSON becomes a JSON text.
fn as_json(body: String) -> String {
    match serde_json::from_str::<IgnoredAny>(&body) {
        Ok(_) => body,
        Err(_) => Value::String(body).to_string(),
    }
}

/// JSON may have line ends between its parts, and nowhere else.
fn one_line(body: &str) -> String {
    body.trim().replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Outgoing;
    use crate::notifiers::testing::{body_of, update};
    use crate::testing::{self, FakeFetch};
    use serde_json::json;

    fn tell(text: &str, status: u16) -> (Result<(), Fault>, FetchRequest) {
        let fetch = FakeFetch::answering(status, &[], "");
        let services = testing::services(fetch.clone());
        let settings = testing::settings::<Webhook>(text);
        let notifier = smol::block_on(Webhook::open(settings, services)).unwrap();
        let outgoing = testing::outgoing(json!({ "n": 2 }));
        let notice =
            Notice { outgoing, title: "t".to_owned(), message: "m".to_owned(), update: None };
        (smol::block_on(notifier.notify(&notice)), fetch.only_request())
    }

    #[test]
    fn a_cloud_event_is_sent_in_the_mode_that_the_file_says() {
        let header = |asked: &FetchRequest, name: &str| {
            let all = asked.headers.iter().filter(|header| header.0.eq_ignore_ascii_case(name));
            all.map(|it| it.1.clone()).collect::<Vec<_>>()
        };
        let (told, asked) = tell("url (env)\"URL\"\ncloudevents structured", 200);
        assert_eq!(
            (told, header(&asked, "content-type")),
            (Ok(()), vec![cloud_event::STRUCTURED.to_owned()])
        );
        let body: Value = serde_json::from_slice(&asked.body.unwrap()).unwrap();
        assert_eq!((&body["specversion"], &body["data"]), (&json!("1.0"), &json!({ "n": 2 })));
        let own = "header \"Content-Type\" \"text/plain\"\ncloudevents binary";
        let (_, asked) = tell(&format!("url (env)\"URL\"\n{own}"), 200);
        assert_eq!(header(&asked, "content-type"), ["application/json"]);
        assert_eq!(header(&asked, "ce-specversion"), ["1.0"]);
        assert_eq!(asked.body.unwrap(), b"{\"n\":2}");
        let (_, asked) = tell("url (env)\"URL\"\nbatch 2\ncloudevents structured", 200);
        assert_eq!(header(&asked, "content-type"), [cloud_event::BATCH]);
        for (text, message) in [
            ("cloudevents binary\nbatch 2", "a batch has no binary CloudEvents"),
            ("cloudevents structured\nbatch 2 as=lines", "CloudEvents are not sent as lines"),
            ("cloudevents structured\nbody \"x\"", "`body` and `cloudevents` cannot be combined"),
        ] {
            let found = testing::findings::<Webhook>(&format!("url (env)\"URL\"\n{text}"));
            assert_eq!(found, [format!("E0016 {message}")]);
        }
    }

    /// A device that is switched by its URL.
    #[test]
    fn a_method_without_a_body_sends_none() {
        for method in ["GET", "DELETE"] {
            let switch = "url \"http://shelly/relay/0?turn=on\"";
            let (told, asked) = tell(&format!("{switch}\nmethod {method}"), 200);
            assert_eq!((told, asked.method, &asked.body), (Ok(()), method, &None));
            assert!(!request::has_header(&asked.headers, "content-type"));
            for more in ["body \"x\"", "batch 2", "cloudevents binary"] {
                let text = format!("{switch}\nmethod {method}\n{more}");
                let found = testing::findings::<Webhook>(&text);
                assert_eq!(found, [format!("E0016 `method {method}` sends no body")], "{more}");
            }
        }
    }

    /// What an event brings is a part of the path or the query, and never more than that.
    #[test]
    fn a_url_takes_parts_from_the_event() {
        let url = "url \"http://h/{{ event.id }}/{{ title }}?n={{ data.n }}&m={{ data.none }}\"";
        let (told, asked) = tell(&format!("{url}\nmethod PUT"), 200);
        assert_eq!((told, asked.url.as_str()), (Ok(()), "http://h/e-1/t?n=2&m="));
        for (text, message) in [
            ("url \"http://{{ data.n }}/x\"", "the host of a URL must be a literal in the file"),
            (
                "url \"http://h/{{ event.id }}\"\nbatch 2",
                "the URL reads a single event, but the request has several",
            ),
            ("url \"h.example/x\"", "this is not an HTTP URL"),
        ] {
            let found = testing::findings::<Webhook>(text);
            assert!(found[0].ends_with(message) && found.len() == 1, "{found:?}");
        }
        let batch = "url \"http://h/{{ server.name }}\"\nbatch 2";
        assert_eq!(testing::findings::<Webhook>(batch), Vec::<String>::new());
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

    /// What no header can hold, whoever sends it.
    fn has_control(text: &str) -> bool {
        text.chars().any(|letter| letter.is_ascii_control())
    }

    proptest::proptest! {
        #[test]
        fn an_event_of_any_text_can_be_sent(id in any_text(), subject in any_text()) {
            let mut outgoing = testing::outgoing(json!({ "n": 2 }));
            let mut stored = (*outgoing.stored).clone();
            stored.envelope.id = id.as_str().into();
            stored.envelope.subject = subject.as_str().into();
            stored.envelope.kind = subject.as_str().into();
            stored.envelope.source = subject.as_str().into();
            outgoing.key = format!("{id}/out");
            let outgoing = of_stored(stored, &outgoing);
            let text = "url \"http://h/x\"\ncloudevents binary\n\
                        header X-Id \"{{ event.id }} {{ event.subject }}\"\n\
                        sign standard-webhooks secret=\"c2VjcmV0\"";
            let notice = Notice { outgoing, title: subject, message: id.clone(), update: None };
            let fetch = FakeFetch::answering(200, &[], "");
            let settings = testing::settings::<Webhook>(text);
            let services = testing::services(fetch.clone());
            let notifier = smol::block_on(Webhook::open(settings, services)).unwrap();
            smol::block_on(notifier.notify(&notice)).ok();
            let asked = fetch.asked.lock().unwrap().remove(0);
            for (name, value) in &asked.headers {
                proptest::prop_assert!(!has_control(value), "{name}: {value:?}");
            }
            let key = asked.headers.iter().find(|header| header.0 == "Idempotency-Key").unwrap();
            if id.bytes().all(|byte| byte.is_ascii_graphic()) {
                proptest::prop_assert_eq!(&key.1, &notice.outgoing.key);
            }
        }
    }

    fn any_text() -> impl proptest::strategy::Strategy<Value = String> {
        proptest::string::string_regex("[a-c%\n\r\t\u{0}\u{7f}\u{85}ü ]{1,8}|[!-~]{1,8}").unwrap()
    }

    fn of_stored(stored: store::StoredEvent, like: &Outgoing) -> Outgoing {
        let globals = like.event().globals.clone();
        Outgoing::new(std::sync::Arc::new(stored), globals, like.key.clone(), like.timeout)
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
        let headers: Vec<_> = asked.headers.iter().map(|header| (&*header.0, &*header.1)).collect();
        assert_eq!(headers[..2], [("content-type", "text/plain"), ("X-Kind", "door.bell")]);
        assert_eq!(headers.len(), 3);
    }

    fn notices(count: usize) -> Vec<Notice> {
        let notice = |n: usize| {
            let mut outgoing = testing::outgoing(json!({ "n": n }));
            outgoing.key = format!("e-{n}/out");
            Notice { outgoing, title: "t".to_owned(), message: format!("m {n}"), update: None }
        };
        (0..count).map(notice).collect()
    }

    fn batched(text: &str, fetch: &std::sync::Arc<FakeFetch>, count: usize) -> Vec<bool> {
        let services = testing::services(fetch.clone());
        let settings = testing::settings::<Webhook>(text);
        let notifier = smol::block_on(Webhook::open(settings, services)).unwrap();
        assert_eq!(notifier.batch_max(), 100);
        let results = smol::block_on(notifier.notify_all(&notices(count)));
        results.iter().map(Result::is_ok).collect()
    }

    #[test]
    fn many_events_go_in_one_request() {
        let text = r#"url "http://h/"
            batch 100
            body "{ \"m\": {{ message | json }},\n \"n\": {{ data.n }} }""#;
        let fetch = FakeFetch::answering(200, &[], "");
        assert_eq!(batched(text, &fetch, 3), [true; 3]);
        let asked = fetch.only_request();
        let body: Value = serde_json::from_slice(asked.body.as_deref().unwrap()).unwrap();
        let item = |n: usize| json!({ "m": format!("m {n}"), "n": n });
        assert_eq!(body, json!([item(0), item(1), item(2)]));
        assert_eq!(as_json("no \"JSON\"".to_owned()), r#""no \"JSON\"""#);
        let fetch = FakeFetch::answering(200, &[], "");
        assert_eq!(batched(&text.replace("100", "100 as=lines"), &fetch, 2), [true; 2]);
        let asked = fetch.only_request();
        let body = String::from_utf8(asked.body.unwrap()).unwrap();
        assert_eq!(body, "{ \"m\": \"m 0\",  \"n\": 0 }\n{ \"m\": \"m 1\",  \"n\": 1 }\n");
        let form = ("Content-Type".to_owned(), "application/x-ndjson".to_owned());
        assert!(asked.headers.contains(&form), "{:?}", asked.headers);
    }

    #[test]
    fn each_request_is_signed_as_it_is_sent() {
        use crate::signature::{Scheme, Signature};
        let text = "url \"http://h/\"\nbatch 100\nsign standard-webhooks secret=\"c2VjcmV0\"\n\
                    sign github secret=(env)\"TOKEN\"";
        let refuses = |request: &FetchRequest| {
            let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            body.as_array().unwrap().iter().any(|items| items["data"]["n"] == 1).then_some(422)
        };
        let fetch = FakeFetch::deciding(refuses);
        assert_eq!(batched(text, &fetch, 3), [true, false, true]);
        let asked = fetch.asked.lock().unwrap().clone();
        assert!(2 < asked.len());
        for request in &asked {
            let header = |name: &str| {
                let found =
                    request.headers.iter().find(|header| header.0.eq_ignore_ascii_case(name));
                found.map(|it| it.1.as_str())
            };
            assert_eq!(header("webhook-id"), header("idempotency-key"));
            for (scheme, secret) in
                [(Scheme::StandardWebhooks, "c2VjcmV0"), (Scheme::Github, "t0k")]
            {
                let name = scheme.header().unwrap().to_owned();
                let tolerance = std::time::Duration::from_secs(300);
                let signature = Signature::new(scheme, name, tolerance, secret.to_owned()).unwrap();
                let now = testing::alone().env.clock.wall();
                let body = request.body.as_deref().unwrap();
                assert!(signature.check(&header, body, now).is_ok(), "{:?}", request.headers);
            }
        }
    }

    #[test]
    fn mistakes_of_signing_are_found() {
        let found =
            |text: &str| testing::findings::<Webhook>(&format!("url \"http://h/\"\n{text}"));
        let bad = "E0016 this cannot be a secret of `standard-webhooks`";
        assert_eq!(found("sign standard-webhooks secret=\"no base64!\""), [bad]);
        let github = "sign github secret=(env)\"A\"\n";
        assert_eq!(found(&github.repeat(2)), ["E0016 `github` has one signature only"]);
        let twice = found(&format!("{github}header X-Hub-Signature-256 \"x\""));
        assert_eq!(twice, ["E0016 `sign` sets the header `X-Hub-Signature-256`"]);
        assert_eq!(found(&format!("{github}sign standard-webhooks secret=(env)\"B\"")), [""; 0]);
    }

    #[test]
    fn a_batch_has_a_key_of_its_own() {
        let all = notices(3);
        assert_eq!(key_of(&all[..1]), "e-0/out");
        assert_eq!(key_of(&all[..2]), key_of(&notices(2)));
        assert_ne!(key_of(&all[..2]), key_of(&all[1..]));
    }

    #[test]
    fn what_the_service_does_not_take_is_told_apart_from_the_rest() {
        let text = "url \"http://h/\"\nbatch 100\nbody \"{{ data.n }}\"";
        let refuses = |request: &FetchRequest| {
            let body: Vec<u64> = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
            body.contains(&5).then_some(422)
        };
        let fetch = FakeFetch::deciding(refuses);
        let results = batched(text, &fetch, 12);
        assert_eq!(results, (0..12).map(|it| it != 5).collect::<Vec<_>>());
        // What may pass by itself is not asked in parts.
        let fetch = FakeFetch::answering(503, &[], "");
        assert_eq!(batched(text, &fetch, 12), [false; 12]);
        fetch.only_request();
    }

    #[test]
    fn a_refusal_is_permanent() {
        assert!(!tell("url \"http://h/\"", 422).0.unwrap_err().is_transient());
        assert!(tell("url \"http://h/\"", 500).0.unwrap_err().is_transient());
    }

    #[test]
    fn a_body_says_which_message_it_changes() {
        let text = "url \"http://h/\"\nheader \"X-First\" \"{{ update.first }}\"\n\
                    body #\"{ \"tag\": {{ update.id | json }}, \"key\": {{ update.key | json }} }\"#";
        let mut tags = Vec::new();
        for (before, first) in [(None, "true"), (Some(""), "false")] {
            let asked = update::<Webhook>(text, before, &[(200, "")]).1.remove(0);
            assert!(asked.headers.contains(&("X-First".to_owned(), first.to_owned())));
            let body = body_of(&asked);
            assert_eq!(body["key"], "visit 1");
            tags.push(body["tag"].clone());
        }
        assert_eq!(tags[0], tags[1]);
        let plain = update::<Webhook>("url \"http://h/\"", None, &[(200, "")]).1.remove(0);
        assert_eq!(body_of(&plain)["update"]["first"], true);
    }
}
