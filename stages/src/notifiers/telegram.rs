//! Sends messages through a Telegram bot.
//!
//! *Never:* markup that an event brings: everything that is inserted is escaped, so Telegram finds
//! nothing in it to refuse, or to show as something else.
//!
//! Limits and answers are those of <https://core.telegram.org/bots/api>.

use super::attach::{ATTACH, Attach, AttachSetting, Attachment, posting_file};
use super::button::{self, BUTTON, Button, ButtonText, Buttons};
use super::level::{LEVEL, Level, LevelSetting};
use super::link::{self, CLICK, Link};
use super::service::{AnswerForm, ServiceCall, field_text, posting};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, Notice, Notify, NotifyKind, Services};
use crate::request::{Text, check_twice, check_url, resolve};
use kernel::fault::Fault;
use language::expr::Scope;
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};
use serde_json::{Value, json};
use wire::FetchRequest;

/// Of the whole text, counted after the markup is taken out.
const TEXT_LIMIT: TextLimit = TextLimit::utf16(4096);
/// Of the text below a file, counted in the same way.
const CAPTION_LIMIT: TextLimit = TextLimit::utf16(1024);
/// Of a photo.
const FILE_MAX: usize = 10 << 20;
const TITLE_LIMIT: TextLimit = TextLimit::utf16(256);

/// `{"ok":false,"error_code":429,"description":"…","parameters":{"retry_after":5}}`.
const ANSWERS: AnswerForm = AnswerForm {
    reason: &["/description"],
    wait: "/parameters/retry_after",
    // A wrong token is a 401, or a 404 where it does not even look like one.
    is_setting: |status, words| {
        status == 404 || ["chat not found", "chat_id is empty"].iter().any(|it| words.contains(it))
    },
};

const NODES: &[NodeRow] = &[
    NodeRow::new("token", "the bot's token, as `@BotFather` gives it")
        .examples(&[r#"token (env)"TELEGRAM_TOKEN""#])
        .args(&[Arg::one("token", ValueKind::Secret)])
        .required(),
    NodeRow::new("chat", "the chats that get the message, each as a delivery of its own: a number, or `@name` of a channel")
        .examples(&[r#"chat "-1001234567890""#, r#"chat (env)"CHAT_EVA" (env)"CHAT_MAX""#])
        .args(&[Arg::some("chat", ValueKind::Text)])
        .required(),
    NodeRow::new("url", "the server of the Bot API")
        .examples(&[r#"url "http://127.0.0.1:8081""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .default("\"https://api.telegram.org\""),
];

/// The kind `telegram`.
pub(super) struct Telegram {
    url: String,
    token: String,
    chat: String,
    link: Link,
    level: LevelSetting,
    attach: Option<Attach>,
    buttons: Buttons,
    services: Services,
}

/// Which bot writes to whom.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    url: Text,
    token: Text,
    chats: Vec<Text>,
    click: Option<Text>,
    level: LevelSetting,
    attach: Option<AttachSetting>,
    buttons: Vec<ButtonText>,
}

impl Kind for Telegram {
    const WORD: &'static str = "telegram";
    const SUMMARY: &'static str = "sends messages through a Telegram bot";
    const EXAMPLE: &'static str =
        r#"notify telegram family { token (env)"TELEGRAM_TOKEN"; chat (env)"TELEGRAM_CHAT" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, LEVEL, ATTACH, BUTTON];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let url = fields.setting("url").arg(0, Text::read);
        let is_http = check_url(&url, context.diagnostics);
        let (token, chats) = (Text::read_child(fields, "token"), Text::read_all(fields, "chat"));
        let level = LevelSetting::read(fields);
        let chats = chats?;
        check_twice(&chats, "chat", context.diagnostics);
        let click = link::read(fields);
        let (attach, buttons) =
            (AttachSetting::read(fields, context), button::read(fields, context));
        let (token, level, attach) = (token?, level?, attach?);
        is_http.then_some(Settings { url, token, chats, click, level, attach, buttons })
    }

    fn needed(settings: &Settings) -> Vec<Needed> {
        let given = [&settings.url, &settings.token].into_iter().chain(&settings.chats);
        let given = given.chain(&settings.click).map(Text::needed);
        let given = given.chain(settings.attach.as_ref().and_then(AttachSetting::needed));
        given.chain(button::needed(&settings.buttons)).collect()
    }
}

impl NotifyKind for Telegram {
    fn is_remote(_: &Settings) -> bool {
        true
    }

    fn recipients(settings: &Settings) -> Vec<Settings> {
        let chats = settings.chats.iter();
        chats.map(|it| Settings { chats: vec![it.clone()], ..settings.clone() }).collect()
    }

    async fn open(settings: Settings, services: Services) -> Result<Box<dyn DynNotify>, Fault> {
        let [chat] = &settings.chats[..] else { unreachable!("it is opened for one recipient") };
        let url = resolve(&settings.url.setting.value, &services)?;
        Ok(Box::new(Telegram {
            url: url.trim_end_matches('/').to_owned(),
            token: resolve(&settings.token.setting.value, &services)?,
            chat: resolve(&chat.setting.value, &services)?,
            link: Link::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            attach: Attach::open(settings.attach.as_ref(), &services)?,
            buttons: Buttons::open(&settings.buttons, &services)?,
            services,
        }))
    }
}

impl Notify for Telegram {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let call =
            ServiceCall { answers: &ANSWERS, services: &self.services, secrets: &[&self.token] };
        let request = |file: Option<Attachment>| match file {
            Some(file) => self.upload(notice, &file),
            None => posting(self.method("sendMessage"), &self.body(notice, TEXT_LIMIT), notice),
        };
        Attach::send(self.attach.as_ref(), notice, FILE_MAX, &call, request).await
    }
}

impl Telegram {
    /// The text is the caption of the file.
    fn upload(&self, notice: &Notice, file: &Attachment) -> FetchRequest {
        let (method, part) = match file.is_picture() {
            true => ("sendPhoto", "photo"),
            false => ("sendDocument", "document"),
        };
        let mut body = self.body(notice, CAPTION_LIMIT);
        body["caption"] = body["text"].take();
        let names = ["chat_id", "caption", "parse_mode", "disable_notification", "reply_markup"];
        let field = |name: &&'static str| Some((*name, field_text(&body[*name])?));
        let fields: Vec<(&str, String)> = names.iter().filter_map(field).collect();
        let random = &self.services.env.random;
        posting_file(self.method(method), &fields, (part, file), notice, random)
    }

    fn body(&self, notice: &Notice, limit: TextLimit) -> Value {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let link = self.link.web_of(event, &scope);
        let mut body = json!({
            "chat_id": self.chat,
            "text": html(&MessageText::of(notice), link.as_deref(), limit),
            "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
        });
        if self.level.of(event.envelope.priority, &scope) as u8 <= Level::Low as u8 {
            body["disable_notification"] = Value::Bool(true);
        }
        let button = |it: Button| json!([{ "text": it.label, "url": it.url }]);
        let buttons: Vec<Value> = self.buttons.of(&scope).into_iter().map(button).collect();
        if !buttons.is_empty() {
            body["reply_markup"] = json!({ "inline_keyboard": buttons });
        }
        body
    }

    fn method(&self, name: &str) -> String {
        format!("{}/bot{}/{name}", self.url, self.token)
    }
}

/// A bold title that leads to the link, and the message; without a title, the message does.
fn html(text: &MessageText, link: Option<&str>, limit: TextLimit) -> String {
    let title = TITLE_LIMIT.cut(&text.title);
    let message = limit.beside(&title).beside("\n").cut(&text.message);
    let linked = |text: &str| match link {
        Some(link) => format!("<a href=\"{}\">{}</a>", escaped(link), escaped(text)),
        None => escaped(text),
    };
    match title.is_empty() {
        true => linked(&message),
        false => format!("<b>{}</b>\n{}", linked(&title), escaped(&message)),
    }
}

/// As text of Telegram's HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::testing::{body_of, notice, parts_of, tell, tell_with_picture};
    use crate::testing::{self, FakeFetch};
    use kernel::fault::FaultClass;

    const BOT: &str = "token (env)\"TOKEN\"\nchat \"-100\"\n";

    #[test]
    fn what_an_event_says_is_text_and_the_title_leads_to_the_page() {
        let fetch = FakeFetch::answering(200, &[], "{\"ok\":true}");
        assert_eq!(
            tell::<Telegram>(BOT, &notice("<Ring> & \"go\"", "a_b*</b>\n<i>"), &fetch),
            Ok(())
        );
        let asked = fetch.only_request();
        assert_eq!(asked.url, "https://api.telegram.org/bott0k/sendMessage");
        let text = "<b><a href=\"http://127.0.0.1:8600/#/event/e-1\">&lt;Ring&gt; &amp; \
                    &quot;go&quot;</a></b>\na_b*&lt;/b&gt;\n&lt;i&gt;";
        let expected = json!({
            "chat_id": "-100", "text": text, "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
        });
        assert_eq!(body_of(&asked), expected);
    }

    #[test]
    fn a_long_text_is_cut_after_its_markup_is_taken_out() {
        let text = MessageText { title: "t".repeat(300), message: "🔔&".repeat(3000) };
        let html = html(&text, None, TEXT_LIMIT);
        let plain = html.replace("<b>", "").replace("</b>", "").replace("&amp;", "&");
        assert_eq!(plain.encode_utf16().count(), 4095, "256, one, and the rest in pairs");
        assert!(plain.ends_with('…') && html.contains("…</b>\n🔔&amp;"), "{plain}");
    }

    #[test]
    fn a_low_level_makes_no_sound() {
        let silent = |level: &str| {
            let fetch = FakeFetch::answering(200, &[], "{}");
            let text = format!("{BOT}url \"http://h:1/\"\n{level}");
            tell::<Telegram>(&text, &notice("t", "m"), &fetch).unwrap();
            let asked = fetch.only_request();
            assert_eq!(asked.url, "http://h:1/bott0k/sendMessage");
            body_of(&asked)["disable_notification"].clone()
        };
        assert_eq!(silent(""), Value::Null);
        assert_eq!(silent("level low"), Value::Bool(true));
        assert_eq!(silent("level min"), Value::Bool(true));
    }

    #[test]
    fn it_waits_as_long_as_the_body_says_and_a_wrong_setting_costs_no_event() {
        let fault = |status, body: &str| {
            let fetch = FakeFetch::answering(status, &[], body);
            tell::<Telegram>(BOT, &notice("t", "m"), &fetch).unwrap_err()
        };
        let busy = fault(
            429,
            r#"{"description":"Too Many Requests: retry after 5","parameters":{"retry_after":5}}"#,
        );
        assert_eq!(busy.retry_after, Some(std::time::Duration::from_secs(5)));
        for (status, words, class) in [
            (400, "Bad Request: chat not found", FaultClass::Configuration),
            (401, "Unauthorized", FaultClass::Configuration),
            (403, "Forbidden: bot was blocked by the user", FaultClass::Configuration),
            (404, "Not Found", FaultClass::Configuration),
            (400, "Bad Request: message text is empty", FaultClass::Permanent),
        ] {
            let fault = fault(status, &format!("{{\"description\":\"{words} of t0k\"}}"));
            assert_eq!(fault.class, class, "{words}");
            assert_eq!(fault.reason, format!("the response is {status}: {words} of ***"));
        }
    }

    #[test]
    fn each_chat_is_a_recipient_and_none_is_there_twice() {
        let settings = testing::settings::<Telegram>("token (env)\"T\"\nchat \"1\" \"2\"");
        assert_eq!(Telegram::recipients(&settings).len(), 2);
        let found = testing::findings::<Telegram>("token (env)\"T\"\nchat \"1\" \"1\"");
        assert_eq!(found, ["E0206 this chat is given twice"]);
    }

    #[test]
    fn a_picture_has_the_text_below_it_and_is_left_out_where_it_is_refused() {
        let asked = tell_with_picture::<Telegram>(BOT, true);
        assert_eq!(asked[0].url, "https://api.telegram.org/bott0k/sendPhoto");
        let parts = parts_of(&asked[0]);
        let field = |name: &str| {
            let found = parts.iter().find(|it| it.0.contains(&format!("name=\"{name}\"")));
            String::from_utf8(found.expect("the field").1.clone()).unwrap()
        };
        assert_eq!((field("chat_id"), field("parse_mode")), ("-100".to_owned(), "HTML".to_owned()));
        assert!(field("caption").ends_with("\ntwo\nlines"), "{}", field("caption"));
        assert!(field("reply_markup").contains("https://cam/live(1)"));
        let (head, bytes) = parts.last().unwrap();
        assert!(
            head.contains("name=\"photo\"; filename=\"e-1.jpg\"") && head.contains("image/jpeg")
        );
        assert_eq!(bytes, b"\xff\xd8\xff");
        let asked = tell_with_picture::<Telegram>(BOT, false);
        assert_eq!(asked[1].url, "https://api.telegram.org/bott0k/sendMessage");
        let keyboard = json!([[{ "text": "Live ü", "url": "https://cam/live(1)" }]]);
        assert_eq!(body_of(&asked[1])["reply_markup"]["inline_keyboard"], keyboard);
    }
}
