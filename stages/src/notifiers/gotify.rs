//! Sends messages to the apps of a Gotify server.
//!
//! Fields and answers are those of <https://gotify.net/api-docs>.

use super::level::{LEVEL, Level, LevelSetting};
use super::link::{self, CLICK, MessageLink};
use super::service::{AnswerForm, ServiceCall, posting};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, Notice, Notify, NotifyKind, Services};
use crate::request::{Text, check_twice, check_url, resolve};
use kernel::fault::Fault;
use language::expr::Scope;
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};
use serde_json::json;
use wire::FetchRequest;

/// The server has no limit of its own; more than this is not for a phone, and proxies refuse it.
const MESSAGE_LIMIT: TextLimit = TextLimit::bytes(16 << 10);
const TITLE_LIMIT: TextLimit = TextLimit::bytes(250);

/// `{"error":"Unauthorized","errorCode":401,"errorDescription":"…"}`.
const ANSWERS: AnswerForm = AnswerForm {
    reason: &["/errorDescription", "/error"],
    wait: "",
    is_setting: |status, _| status == 404,
    meant: None,
};

const NODES: &[NodeRow] = &[
    NodeRow::new("url", "the Gotify server")
        .examples(&[r#"url "https://gotify.example.org""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .required(),
    NodeRow::new(
        "token",
        "the token of the application; with several, each gets a delivery of its own",
    )
    .examples(&[r#"token (env)"GOTIFY_TOKEN""#, r#"token (env)"GOTIFY_EVA" (env)"GOTIFY_MAX""#])
    .args(&[Arg::some("token", ValueKind::Secret)])
    .required(),
];

/// The kind `gotify`.
pub(super) struct Gotify {
    url: String,
    token: String,
    link: MessageLink,
    level: LevelSetting,
    services: Services,
}

/// Which applications of which server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct GotifySettings {
    url: Text,
    tokens: Vec<Text>,
    click: Option<Text>,
    level: LevelSetting,
}

impl Kind for Gotify {
    const WORD: &'static str = "gotify";
    const SUMMARY: &'static str = "sends messages to the apps of a Gotify server";
    const EXAMPLE: &'static str =
        r#"notify gotify desk { url "https://gotify.example.org"; token (env)"GOTIFY_TOKEN" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, LEVEL];
    type Settings = GotifySettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<GotifySettings> {
        let url = Text::read_child(fields, "url");
        let url = url.filter(|url| check_url(url, context));
        let (tokens, level) =
            (Text::read_all(fields, "token"), LevelSetting::read(fields, context));
        let tokens = tokens?;
        check_twice(&tokens, "token", context.diagnostics);
        Some(GotifySettings { url: url?, tokens, click: link::read(fields), level: level? })
    }

    fn needed(settings: &GotifySettings) -> Vec<Needed> {
        let given = std::iter::once(&settings.url).chain(&settings.tokens);
        given.chain(&settings.click).map(Text::needed).collect()
    }
}

impl NotifyKind for Gotify {
    fn is_remote(_: &GotifySettings) -> bool {
        true
    }

    fn recipients(settings: &GotifySettings) -> Vec<GotifySettings> {
        let tokens = settings.tokens.iter();
        tokens
            .map(|token| GotifySettings { tokens: vec![token.clone()], ..settings.clone() })
            .collect()
    }

    async fn open(
        settings: GotifySettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let [token] = &settings.tokens[..] else { unreachable!("it is opened for one recipient") };
        let url = resolve(&settings.url.setting.value, &services)?;
        Ok(Box::new(Gotify {
            url: format!("{}/message", url.trim_end_matches('/')),
            token: resolve(&token.setting.value, &services)?,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            services,
        }))
    }
}

impl Notify for Gotify {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let call =
            ServiceCall { answers: &ANSWERS, services: &self.services, secrets: &[&self.token] };
        call.send(self.request(notice)).await.map(drop)
    }
}

impl Gotify {
    fn request(&self, notice: &Notice) -> FetchRequest {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let text = MessageText::of(notice).cut(TITLE_LIMIT, MESSAGE_LIMIT);
        let level = self.level.of(event.envelope.priority, &scope);
        let mut body = json!({ "message": text.message, "priority": number_of(level) });
        if !text.title.is_empty() {
            body["title"] = text.title.into();
        }
        if let Some(url) = self.link.of(event, &scope) {
            body["extras"] = json!({ "client::notification": { "click": { "url": url } } });
        }
        let mut request = posting(self.url.clone(), &body, notice);
        request.headers.push(("X-Gotify-Key".to_owned(), self.token.clone()));
        request
    }
}

/// As Gotify's app counts: nothing to see, no sound, sound, sound and vibration.
fn number_of(level: Level) -> u8 {
    [0, 2, 5, 8, 10][level as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::testing::{body_of, notice, tell};
    use crate::testing::{self, FakeFetch};

    #[test]
    fn a_message_has_the_token_in_a_header_and_a_number_for_its_level() {
        let fetch = FakeFetch::answering(200, &[], "{}");
        let text = "url \"http://h:1/gotify/\"\ntoken (env)\"TOKEN\"\nlevel high";
        assert_eq!(tell::<Gotify>(text, &notice("Ring", "two\nlines"), &fetch), Ok(()));
        let asked = fetch.only_request();
        assert_eq!((asked.method, asked.url.as_str()), ("POST", "http://h:1/gotify/message"));
        let expected = json!({
            "title": "Ring", "message": "two\nlines", "priority": 8,
            "extras": { "client::notification": {
                "click": { "url": "http://127.0.0.1:8600/#/event/e-1" },
            } },
        });
        assert_eq!(body_of(&asked), expected);
        assert!(asked.headers.contains(&("X-Gotify-Key".to_owned(), "t0k".to_owned())));
        assert_eq!(
            testing::findings::<Gotify>("url \"h\"\ntoken (env)\"T\""),
            ["E0016 this is not an HTTP URL"]
        );
    }
}
