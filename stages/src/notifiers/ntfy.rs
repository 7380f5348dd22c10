//! Sends push notifications to phones through an ntfy server.
//!
//! Publishes JSON to the server's own address: the title may be any text, and the topic, which
//! is as good as a password, stands in no URL.

use super::attach::{ATTACH, Attach, AttachSetting, Attachment};
use super::button::{self, BUTTON, Button, ButtonText, Buttons};
use super::level::{LEVEL, Level, LevelSetting};
use super::link::{self, CLICK, MessageLink};
use super::service::{AnswerForm, ServiceCall, field_text, posting, posting_bytes};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
use crate::request::{Text, check_twice, check_url, resolve};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::fault::Fault;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Scope, percent_encoded};
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};
use serde_json::{Value, json};
use wire::FetchRequest;

/// A longer message would become a file to download (ntfy's `message-size-limit`).
const MESSAGE_LIMIT: TextLimit = TextLimit::bytes(4096);
const TITLE_LIMIT: TextLimit = TextLimit::bytes(250);
/// What ntfy.sh and a server as it comes take of a file.
const FILE_MAX: usize = 15 << 20;
/// A longer body is refused: twice the size of a message.
const BODY_LIMIT: TextLimit = TextLimit::json_bytes(8192);

/// `{"code":40014,"http":400,"error":"…"}`.
const ANSWERS: AnswerForm = AnswerForm {
    reason: &["/error"],
    wait: "",
    is_setting: |status, _| status == 404,
    meant: None,
};

const NODES: &[NodeRow] = &[
    NodeRow::new("url", "the ntfy server")
        .examples(&[r#"url "https://ntfy.example.org""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .default("\"https://ntfy.sh\""),
    NodeRow::new("topic", "the topics that phones subscribe to; each gets a delivery of its own")
        .examples(&[r#"topic (env)"NTFY_TOPIC""#, r#"topic (env)"TOPIC_EVA" (env)"TOPIC_MAX""#])
        .args(&[Arg::some("topic", ValueKind::Topic)])
        .required(),
    NodeRow::new("token", "the access token")
        .examples(&[r#"token (env)"NTFY_TOKEN""#])
        .args(&[Arg::one("token", ValueKind::Secret)])
        .otherwise("none"),
];

/// The kind `ntfy`.
pub(super) struct Ntfy {
    url: String,
    topic: String,
    token: String,
    link: MessageLink,
    level: LevelSetting,
    attach: Option<Attach>,
    buttons: Buttons,
    services: Services,
}

/// Where to publish.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NtfySettings {
    url: Text,
    topics: Vec<Text>,
    token: Option<Text>,
    click: Option<Text>,
    level: LevelSetting,
    attach: Option<AttachSetting>,
    buttons: Vec<ButtonText>,
}

impl Kind for Ntfy {
    const WORD: &'static str = "ntfy";
    const SUMMARY: &'static str = "sends push notifications to phones through an ntfy server";
    const EXAMPLE: &'static str =
        r#"notify ntfy family { topic (env)"NTFY_TOPIC"; title "Someone rings" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, LEVEL, ATTACH, BUTTON];
    type Settings = NtfySettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<NtfySettings> {
        let url = fields.setting("url").arg(0, Text::read);
        let is_http = check_url(&url, context);
        let level = LevelSetting::read(fields, context);
        let topics = Text::read_all(fields, "topic")?;
        check_twice(&topics, "topic", context.diagnostics);
        check_topics(&url, &topics, context.diagnostics);
        let (token, click) = (Text::read_child(fields, "token"), link::read(fields));
        let (attach, buttons) =
            (AttachSetting::read(fields, context), button::read(fields, context));
        let (level, attach) = (level?, attach?);
        is_http.then_some(NtfySettings { url, topics, token, click, level, attach, buttons })
    }

    fn needed(settings: &NtfySettings) -> Vec<Needed> {
        let given = std::iter::once(&settings.url).chain(&settings.topics);
        let given = given.chain(&settings.token).chain(&settings.click).map(Text::needed);
        let given = given.chain(settings.attach.as_ref().and_then(AttachSetting::needed));
        given.chain(button::needed(&settings.buttons)).collect()
    }
}

/// On the public server a topic is as good as a password; on one's own it is a name.
fn check_topics(url: &Text, topics: &[Text], diagnostics: &mut Diagnostics) {
    let is_public = url.setting.value.literal().is_some_and(|literal| {
        let host = literal.split("://").nth(1).unwrap_or_default();
        let host = host.split(['/', ':', '?', '#']).next().unwrap_or_default();
        host.eq_ignore_ascii_case("ntfy.sh") || host.to_ascii_lowercase().ends_with(".ntfy.sh")
    });
    let is_literal =
        |text: &&Text| text.setting.value.literal().is_some_and(|topic| !topic.is_empty());
    for topic in topics.iter().filter(is_literal).filter(|_| is_public) {
        diagnostics
            .push(Rule::LiteralSecret, "on ntfy.sh, a topic is as good as a password")
            .at(topic.setting.span.clone(), "committed with the file")
            .help("write `(env)\"NTFY_TOPIC\"`");
    }
}

impl NotifyKind for Ntfy {
    fn is_remote(_: &NtfySettings) -> bool {
        true
    }

    fn no_update(_: &NtfySettings) -> Option<NoUpdate> {
        None
    }

    fn recipients(settings: &NtfySettings) -> Vec<NtfySettings> {
        let topics = settings.topics.iter();
        topics
            .map(|topic| NtfySettings { topics: vec![topic.clone()], ..settings.clone() })
            .collect()
    }

    async fn open(settings: NtfySettings, services: Services) -> Result<Box<dyn DynNotify>, Fault> {
        let [topic] = &settings.topics[..] else { unreachable!("it is opened for one recipient") };
        let token = settings.token.as_ref().map(|token| resolve(&token.setting.value, &services));
        Ok(Box::new(Ntfy {
            url: resolve(&settings.url.setting.value, &services)?,
            topic: resolve(&topic.setting.value, &services)?,
            token: token.transpose()?.unwrap_or_default(),
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            attach: Attach::open(settings.attach.as_ref(), &services)?,
            buttons: Buttons::open(&settings.buttons, &services)?,
            services,
        }))
    }
}

impl Notify for Ntfy {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let call = ServiceCall {
            answers: &ANSWERS,
            services: &self.services,
            secrets: &[&self.token, &self.topic],
        };
        let request = |file: Option<Attachment>| match file {
            Some(file) => self.upload(notice, file),
            None => self.request(notice),
        };
        Attach::send(self.attach.as_ref(), notice, FILE_MAX, &call, request).await.map(drop)
    }
}

impl Ntfy {
    fn request(&self, notice: &Notice) -> FetchRequest {
        let mut request = posting(self.url.clone(), &self.body(notice), notice);
        self.add_headers(&mut request, notice);
        request
    }

    /// The file is the body, and the message is in headers.
    fn upload(&self, notice: &Notice, file: Attachment) -> FetchRequest {
        let body = self.body(notice);
        let url = format!("{}/{}", self.url.trim_end_matches('/'), percent_encoded(&self.topic));
        let mut headers = vec![("Filename".to_owned(), file.name)];
        for name in ["title", "message", "priority", "click", "actions"] {
            let text = field_text(&body[name]);
            headers.extend(text.map(|text| (name.to_owned(), header_text(&text))));
        }
        let sequence = field_text(&body["sequence_id"]);
        headers.extend(sequence.map(|sequence| ("X-Sequence-ID".to_owned(), sequence)));
        let mut request =
            FetchRequest { method: "PUT", ..posting_bytes(url, headers, file.bytes, notice) };
        self.add_headers(&mut request, notice);
        request
    }

    fn add_headers(&self, request: &mut FetchRequest, notice: &Notice) {
        request.headers.push(("Idempotency-Key".to_owned(), notice.outgoing.header_key()));
        if !self.token.is_empty() {
            let token = format!("Bearer {}", self.token);
            request.headers.push(("Authorization".to_owned(), token));
        }
    }

    fn body(&self, notice: &Notice) -> Value {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let level = self.level.of(event.envelope.priority, &scope);
        let text = MessageText::of(notice).cut(TITLE_LIMIT, MESSAGE_LIMIT);
        let mut body = json!({ "topic": self.topic, "message": "", "priority": number_of(level) });
        if !text.title.is_empty() {
            body["title"] = text.title.into();
        }
        if let Some(click) = self.link.of(event, &scope) {
            body["click"] = click.into();
        }
        let action =
            |button: Button| json!({ "action": "view", "label": button.label, "url": button.url });
        let actions: Vec<Value> = self.buttons.of(&scope).into_iter().map(action).collect();
        if !actions.is_empty() {
            body["actions"] = actions.into();
        }
        // Since 2.16 a message takes the place of the one before with the same; older servers
        // send another one.
        if let Some(update) = &notice.update {
            body["sequence_id"] = update.id.clone().into();
        }
        let rest = body.to_string();
        body["message"] = BODY_LIMIT.beside(&rest).cut(&text.message).into();
        body
    }
}

/// As a header holds it: what is not plain is encoded as RFC 2047 has it.
fn header_text(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains("=?");
    match is_plain {
        true => text.to_owned(),
        false => format!("=?UTF-8?B?{}?=", STANDARD.encode(text)),
    }
}

/// As ntfy counts.
fn number_of(level: Level) -> u8 {
    level as u8 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FakeFetch};
    use serde_json::Value;

    fn tell(text: &str, fetch: &std::sync::Arc<FakeFetch>) -> Result<(), Fault> {
        let services = testing::services(fetch.clone());
        let notifier = smol::block_on(Ntfy::open(testing::settings::<Ntfy>(text), services))?;
        let notice = Notice {
            outgoing: testing::outgoing(json!({ "n": 2 })),
            title: "Tür".to_owned(),
            message: "läutet".to_owned(),
            update: None,
        };
        smol::block_on(notifier.notify(&notice))
    }

    #[test]
    fn the_message_is_json_to_the_server_s_own_address() {
        let fetch = FakeFetch::answering(200, &[], "{}");
        let text = "url \"http://h:1\"\ntopic \"door\"\ntoken (env)\"TOKEN\" default=\"\"";
        assert_eq!(tell(text, &fetch), Ok(()));
        let asked = fetch.only_request();
        assert_eq!((asked.method, asked.url.as_str()), ("POST", "http://h:1"));
        let expected = json!({
            "topic": "door", "title": "Tür", "message": "läutet", "priority": 4,
            "click": "http://127.0.0.1:8600/#/event/e-1",
        });
        assert_eq!(serde_json::from_slice::<Value>(&asked.body.unwrap()).unwrap(), expected);
        let has = |name: &str, value: &str| asked.headers.contains(&(name.into(), value.into()));
        assert!(has("Idempotency-Key", "e-1/out") && has("Authorization", "Bearer t0k"));
    }

    #[test]
    fn the_level_is_fixed_computed_or_the_priority_s() {
        let priority = |level: &str| {
            let fetch = FakeFetch::answering(200, &[], "");
            tell(&format!("url \"http://h:1\"\ntopic \"t\"\n{level}"), &fetch).unwrap();
            let body: Value = serde_json::from_slice(&fetch.only_request().body.unwrap()).unwrap();
            body["priority"].clone()
        };
        assert_eq!(priority(""), json!(4));
        assert_eq!(priority("level min"), json!(1));
        assert_eq!(priority("level from=\"data.n == 2 ? 'critical' : 'low'\""), json!(5));
        assert_eq!(priority("level from=\"event.priority\""), json!(4));
    }

    #[test]
    fn a_topic_is_a_secret_only_where_anybody_may_read_it() {
        let found = |url: &str| testing::findings::<Ntfy>(&format!("{url}topic \"door\""));
        let secret = ["W0401 on ntfy.sh, a topic is as good as a password"];
        assert_eq!(found(""), secret);
        assert_eq!(found("url \"https://ntfy.sh/\"\n"), secret);
        assert_eq!(found("url \"https://ntfy.example.org\"\n"), Vec::<String>::new());
        assert_eq!(found("url (env)\"NTFY\"\n"), Vec::<String>::new());
    }

    #[test]
    fn a_server_that_is_busy_may_be_asked_again() {
        let fetch = FakeFetch::answering(429, &[("retry-after", "30")], "");
        assert!(tell("url \"http://h:1\"\ntopic \"t\"", &fetch).unwrap_err().is_transient());
        let fetch = FakeFetch::answering(403, &[], "");
        assert!(!tell("url \"http://h:1\"\ntopic \"t\"", &fetch).unwrap_err().is_transient());
    }

    #[test]
    fn a_picture_is_the_body_and_the_message_is_in_headers() {
        use crate::notifiers::testing::{body_of, tell_with_picture};
        let text = "url \"http://h:1/\"\ntopic \"door\"\ntoken (env)\"TOKEN\"";
        let asked = tell_with_picture::<Ntfy>(text, true);
        assert_eq!((asked[0].method, &*asked[0].url), ("PUT", "http://h:1/door"));
        assert_eq!(asked[0].body.as_deref(), Some(&b"\xff\xd8\xff"[..]));
        let header = |name: &str| {
            let found = asked[0].headers.iter().find(|header| header.0.eq_ignore_ascii_case(name));
            found.expect("the header").1.as_str()
        };
        assert_eq!((header("Filename"), header("Priority")), ("e-1.jpg", "4"));
        assert_eq!(header("Title"), "=?UTF-8?B?VMO8cg==?=");
        assert_eq!(header("Message"), "=?UTF-8?B?dHdvCmxpbmVz?=");
        assert_eq!(header("Authorization"), "Bearer t0k");
        assert!(header("Actions").starts_with("=?UTF-8?B?"), "{}", header("Actions"));
        let asked = tell_with_picture::<Ntfy>(text, false);
        let action = json!([{ "action": "view", "label": "Live ü", "url": "https://cam/live(1)" }]);
        assert_eq!(body_of(&asked[1])["actions"], action);
    }

    #[test]
    fn mistakes_of_attachments_and_buttons_are_found() {
        let found = |text: &str| {
            testing::findings::<Ntfy>(&format!("url \"http://h\"\ntopic \"t\"\n{text}"))
        };
        assert_eq!(found("attach"), ["E0016 `attach` names no file"]);
        assert_eq!(found("attach \"http://h/\" file=\"a\""), ["E0016 `attach` names two files"]);
        let outside = "E0016 this path leaves the folder of the pipeline file";
        assert_eq!(found("attach file=\"/etc/passwd\""), [outside]);
        assert_eq!(found("attach file=\"a/../../b\""), [outside]);
        assert_eq!(found("attach \"{{ data.url }}\"").len(), 1);
        let buttons = "button \"a\" \"http://h\"\n".repeat(4);
        assert_eq!(found(&buttons), ["E0016 a message has at most 3 buttons"]);
    }

    #[test]
    fn messages_of_one_key_have_one_sequence() {
        use crate::notifiers::testing::{body_of, update};
        let text = "url \"http://h:1\"\ntopic door\nattach \"http://cam/a.jpg\"";
        let (first, asked) = update::<Ntfy>(text, None, &[(404, ""), (200, "{}")]);
        assert_eq!(first, Ok(String::new()));
        let sequence = body_of(&asked[1])["sequence_id"].as_str().unwrap().to_owned();
        assert!(sequence.len() == 32 && sequence.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let (_, asked) = update::<Ntfy>(text, Some(""), &[(200, "GIF89a picture"), (200, "{}")]);
        let header = asked[1].headers.iter().find(|header| header.0 == "X-Sequence-ID");
        assert_eq!(header.map(|header| &header.1), Some(&sequence));
    }
}
