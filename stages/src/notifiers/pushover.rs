//! Sends messages to phones through Pushover.
//!
//! Limits and answers are those of <https://pushover.net/api>.

use super::attach::{ATTACH, Attach, AttachSetting, Attachment};
use super::level::{LEVEL, Level, LevelSetting};
use super::link::{self, CLICK, MessageLink};
use super::service::{AnswerForm, ServiceCall, posting};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, Notice, Notify, NotifyKind, Services};
use crate::request::{Text, check_twice, check_url, resolve};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kernel::fault::Fault;
use language::expr::Scope;
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use serde_json::json;
use std::time::Duration;
use wire::FetchRequest;

const MESSAGE_LIMIT: TextLimit = TextLimit::letters(1024);
const TITLE_LIMIT: TextLimit = TextLimit::letters(250);
/// Of an attachment.
const FILE_MAX: usize = 5 << 20;
/// A longer URL is refused together with the message.
const URL_MAX: usize = 512;

/// `{"status":0,"errors":["user identifier is not a valid user, …"],"user":"invalid"}`.
const ANSWERS: AnswerForm = AnswerForm {
    reason: &["/errors/0"],
    wait: "",
    is_setting: |status, words| {
        let is_invalid = words.contains("invalid") || words.contains("not a valid");
        status == 404 || is_invalid && (words.contains("token") || words.contains("user"))
    },
    meant: None,
};

const RETRY: ValueKind = ValueKind::Duration(Duration::from_secs(30), Duration::from_secs(10_800));

const NODES: &[NodeRow] = &[
    NodeRow::new("token", "the application's token")
        .examples(&[r#"token (env)"PUSHOVER_TOKEN""#])
        .args(&[Arg::one("token", ValueKind::Secret)])
        .required(),
    NodeRow::new("user", "the keys of users or groups; each gets a delivery of its own")
        .examples(&[r#"user (env)"PUSHOVER_USER""#, r#"user (env)"KEY_EVA" (env)"KEY_MAX""#])
        .args(&[Arg::some("user", ValueKind::Secret)])
        .required(),
    NodeRow::new("sound", "the name of the sound")
        .examples(&["sound siren"])
        .args(&[Arg::one("name", ValueKind::Text)])
        .otherwise("the user's own"),
    NodeRow::new(
        "emergency",
        "how often and how long a message of level `max` is repeated until somebody confirms it",
    )
    .examples(&[r#"emergency retry="30s" expire="2h""#])
    .props(&[
        Prop::new("retry", RETRY).default("\"1m\""),
        Prop::new("expire", RETRY).default("\"1h\""),
    ])
    .otherwise("retry=\"1m\" expire=\"1h\""),
    NodeRow::new("url", "the base URL of the Pushover API")
        .examples(&[r#"url "http://127.0.0.1:8082""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .default("\"https://api.pushover.net\""),
];

/// The kind `pushover`.
pub(super) struct Pushover {
    url: String,
    token: String,
    user: String,
    sound: Option<String>,
    emergency: Emergency,
    link: MessageLink,
    level: LevelSetting,
    attach: Option<Attach>,
    services: Services,
}

/// Which application tells whom.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PushoverSettings {
    url: Text,
    token: Text,
    users: Vec<Text>,
    sound: Option<Text>,
    emergency: Emergency,
    click: Option<Text>,
    level: LevelSetting,
    attach: Option<AttachSetting>,
}

/// How a message is repeated until somebody confirms it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Emergency {
    retry: Duration,
    expire: Duration,
}

impl Emergency {
    fn read(fields: &Fields<'_>) -> Emergency {
        let Some(node) = fields.child("emergency") else {
            return Emergency { retry: Duration::from_secs(60), expire: Duration::from_secs(3600) };
        };
        let duration = |scalar: &Scalar<'_>| Some(scalar.duration()?.value);
        let node = node.filled();
        Emergency { retry: node.prop("retry", duration), expire: node.prop("expire", duration) }
    }
}

impl Kind for Pushover {
    const WORD: &'static str = "pushover";
    const SUMMARY: &'static str = "sends messages to phones through Pushover";
    const EXAMPLE: &'static str =
        r#"notify pushover watch { token (env)"PUSHOVER_TOKEN"; user (env)"PUSHOVER_USER" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, LEVEL, ATTACH];
    type Settings = PushoverSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<PushoverSettings> {
        let url = fields.setting("url").arg(0, Text::read);
        let is_http = check_url(&url, context);
        let (token, users) = (Text::read_child(fields, "token"), Text::read_all(fields, "user"));
        let (sound, emergency) = (Text::read_child(fields, "sound"), Emergency::read(fields));
        let (click, level) = (link::read(fields), LevelSetting::read(fields, context));
        let users = users?;
        check_twice(&users, "user", context.diagnostics);
        let attach = AttachSetting::read(fields, context);
        let (token, level, attach) = (token?, level?, attach?);
        is_http.then_some(PushoverSettings {
            url,
            token,
            users,
            sound,
            emergency,
            click,
            level,
            attach,
        })
    }

    fn needed(settings: &PushoverSettings) -> Vec<Needed> {
        let given = [&settings.url, &settings.token].into_iter().chain(&settings.users);
        let given = given.chain(&settings.sound).chain(&settings.click).map(Text::needed);
        given.chain(settings.attach.as_ref().and_then(AttachSetting::needed)).collect()
    }
}

impl NotifyKind for Pushover {
    fn is_remote(_: &PushoverSettings) -> bool {
        true
    }

    fn recipients(settings: &PushoverSettings) -> Vec<PushoverSettings> {
        let users = settings.users.iter();
        users
            .map(|user| PushoverSettings { users: vec![user.clone()], ..settings.clone() })
            .collect()
    }

    async fn open(
        settings: PushoverSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let [user] = &settings.users[..] else { unreachable!("it is opened for one recipient") };
        let url = resolve(&settings.url.setting.value, &services)?;
        let sound = settings.sound.as_ref().map(|sound| resolve(&sound.setting.value, &services));
        Ok(Box::new(Pushover {
            url: format!("{}/1/messages.json", url.trim_end_matches('/')),
            token: resolve(&settings.token.setting.value, &services)?,
            user: resolve(&user.setting.value, &services)?,
            sound: sound.transpose()?,
            emergency: settings.emergency,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            attach: Attach::open(settings.attach.as_ref(), &services)?,
            services,
        }))
    }
}

impl Notify for Pushover {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let call = ServiceCall {
            answers: &ANSWERS,
            services: &self.services,
            secrets: &[&self.token, &self.user],
        };
        let request = |file: Option<Attachment>| self.request(notice, file.as_ref());
        Attach::send(self.attach.as_ref(), notice, FILE_MAX, &call, request).await.map(drop)
    }
}

impl Pushover {
    fn request(&self, notice: &Notice, file: Option<&Attachment>) -> FetchRequest {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let text = MessageText::of(notice).cut(TITLE_LIMIT, MESSAGE_LIMIT);
        let level = self.level.of(event.envelope.priority, &scope);
        let mut body = json!({
            "token": self.token,
            "user": self.user,
            "message": text.message,
            "priority": number_of(level),
            "timestamp": event.envelope.time.0.div_euclid(1_000_000),
        });
        if !text.title.is_empty() {
            body["title"] = text.title.into();
        }
        if let Some(url) = self.link.of(event, &scope).filter(|it| it.len() <= URL_MAX) {
            body["url"] = url.into();
        }
        if let Some(sound) = &self.sound {
            body["sound"] = sound.as_str().into();
        }
        if level == Level::Max {
            body["retry"] = self.emergency.retry.as_secs().into();
            body["expire"] = self.emergency.expire.as_secs().into();
        }
        if let Some(file) = file {
            body["attachment_base64"] = STANDARD.encode(&file.bytes).into();
            body["attachment_type"] = file.media.into();
        }
        posting(self.url.clone(), &body, notice)
    }
}

/// As Pushover counts: −2 shows nothing, 2 is repeated until it is confirmed.
fn number_of(level: Level) -> i8 {
    level as i8 - 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::testing::{body_of, notice, tell, tell_with_picture};
    use crate::testing::FakeFetch;
    use kernel::fault::FaultClass;
    use serde_json::Value;

    const APP: &str = "token (env)\"TOKEN\"\nuser \"eva\"\n";

    fn sent(more: &str) -> Value {
        let fetch = FakeFetch::answering(200, &[], "{\"status\":1}");
        let notice = notice("Ring", &"🔔".repeat(2000));
        assert_eq!(tell::<Pushover>(&format!("{APP}{more}"), &notice, &fetch), Ok(()));
        let asked = fetch.only_request();
        assert_eq!(asked.url, "https://api.pushover.net/1/messages.json");
        body_of(&asked)
    }

    #[test]
    fn a_message_has_what_pushover_asks() {
        let body = sent("sound siren");
        assert_eq!((&body["token"], &body["user"]), (&json!("t0k"), &json!("eva")));
        assert_eq!((&body["title"], &body["sound"]), (&json!("Ring"), &json!("siren")));
        assert_eq!(body["message"].as_str().map(|text| text.chars().count()), Some(1024));
        assert_eq!((&body["priority"], &body["timestamp"]), (&json!(1), &json!(1_767_261_595)));
        assert_eq!(body["url"], "http://127.0.0.1:8600/#/event/e-1");
        assert_eq!((&body["retry"], &body["expire"]), (&Value::Null, &Value::Null));
        assert_eq!(sent("click \"http://h/{{ '/' }}\"")["url"], "http://h//");
        let long = format!("click \"http://h/{}\"", "x".repeat(600));
        assert_eq!(sent(&long)["url"], Value::Null);
    }

    #[test]
    fn an_emergency_is_repeated_as_the_file_says() {
        let body = sent("level max");
        assert_eq!((&body["retry"], &body["expire"]), (&json!(60), &json!(3600)));
        let body = sent("level max\nemergency retry=\"30s\" expire=\"3h\"");
        assert_eq!((&body["retry"], &body["expire"]), (&json!(30), &json!(10_800)));
        assert_eq!((&body["priority"], &sent("level min")["priority"]), (&json!(2), &json!(-2)));
    }

    #[test]
    fn a_wrong_key_is_a_setting() {
        let class = |words: &str| {
            let body = format!("{{\"status\":0,\"errors\":[\"{words}\"]}}");
            let fetch = FakeFetch::answering(400, &[], &body);
            tell::<Pushover>(APP, &notice("t", "m"), &fetch).unwrap_err().class
        };
        let user = "user identifier is not a valid user, group, or subscribed user key";
        assert_eq!(class(user), FaultClass::Configuration);
        assert_eq!(class("application token is invalid"), FaultClass::Configuration);
        assert_eq!(class("message cannot be blank"), FaultClass::Permanent);
    }

    #[test]
    fn a_picture_goes_with_the_message_or_is_left_out_where_it_is_refused() {
        let asked = tell_with_picture::<Pushover>(APP, true);
        let body = body_of(&asked[0]);
        assert_eq!(
            (&body["attachment_base64"], &body["attachment_type"]),
            (&json!("/9j/"), &json!("image/jpeg"))
        );
        let asked = tell_with_picture::<Pushover>(APP, false);
        assert_eq!(body_of(&asked[1])["attachment_base64"], Value::Null);
    }
}
