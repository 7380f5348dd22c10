//! Sends messages through a Telegram bot.
//!
//! *Never:* markup that an event brings: everything that is inserted is escaped, so Telegram finds
//! nothing in it to refuse, or to show as something else.
//!
//! Limits and answers are those of <https://core.telegram.org/bots/api>.

use super::attach::{ATTACH, Attach, AttachSetting, Attachment, SentWith, posting_file};
use super::button::{self, BUTTON, Button, ButtonText, Buttons};
use super::level::{LEVEL, Level, LevelSetting};
use super::link::{self, CLICK, MessageLink};
use super::receipt::{MessageReceipt, place_of};
use super::service::{AnswerForm, ServiceCall, UnmadeEdit, field_text, posting};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
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
    meant: None,
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
    NodeRow::new("url", "the base URL of the Bot API")
        .examples(&[r#"url "http://127.0.0.1:8081""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .default("\"https://api.telegram.org\""),
];

/// The kind `telegram`.
pub(super) struct Telegram {
    url: String,
    token: String,
    chat: String,
    link: MessageLink,
    level: LevelSetting,
    attach: Option<Attach>,
    buttons: Buttons,
    services: Services,
}

/// Which bot writes to whom.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TelegramSettings {
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
    type Settings = TelegramSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<TelegramSettings> {
        let url = fields.setting("url").arg(0, Text::read);
        let is_http = check_url(&url, context);
        let (token, chats) = (Text::read_child(fields, "token"), Text::read_all(fields, "chat"));
        let level = LevelSetting::read(fields, context);
        let chats = chats?;
        check_twice(&chats, "chat", context.diagnostics);
        let click = link::read(fields);
        let (attach, buttons) =
            (AttachSetting::read(fields, context), button::read(fields, context));
        let (token, level, attach) = (token?, level?, attach?);
        is_http.then_some(TelegramSettings { url, token, chats, click, level, attach, buttons })
    }

    fn needed(settings: &TelegramSettings) -> Vec<Needed> {
        let given = [&settings.url, &settings.token].into_iter().chain(&settings.chats);
        let given = given.chain(&settings.click).map(Text::needed);
        let given = given.chain(settings.attach.as_ref().and_then(AttachSetting::needed));
        given.chain(button::needed(&settings.buttons)).collect()
    }
}

impl NotifyKind for Telegram {
    fn is_remote(_: &TelegramSettings) -> bool {
        true
    }

    fn no_update(_: &TelegramSettings) -> Option<NoUpdate> {
        None
    }

    fn recipients(settings: &TelegramSettings) -> Vec<TelegramSettings> {
        let chats = settings.chats.iter();
        chats
            .map(|chat| TelegramSettings { chats: vec![chat.clone()], ..settings.clone() })
            .collect()
    }

    async fn open(
        settings: TelegramSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let [chat] = &settings.chats[..] else { unreachable!("it is opened for one recipient") };
        let url = resolve(&settings.url.setting.value, &services)?;
        Ok(Box::new(Telegram {
            url: url.trim_end_matches('/').to_owned(),
            token: resolve(&settings.token.setting.value, &services)?,
            chat: resolve(&chat.setting.value, &services)?,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            attach: Attach::open(settings.attach.as_ref(), &services)?,
            buttons: Buttons::open(&settings.buttons, &services)?,
            services,
        }))
    }
}

impl Notify for Telegram {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        self.send(notice).await.map(drop)
    }

    async fn update(&self, notice: &Notice) -> Result<String, Fault> {
        let place = place_of(&[&self.url, &self.token, &self.chat]);
        if let Some(before) = MessageReceipt::before(notice, &place) {
            let request = |before: &MessageReceipt, file| self.edit(notice, before, file);
            let (attach, secrets) = (self.attach.as_ref(), [&*self.token]);
            let call = self.call(&secrets);
            let edited = Attach::edit(attach, notice, FILE_MAX, &call, before, unmade, request);
            if let Some(receipt) = edited.await? {
                return Ok(receipt.write(&place));
            }
        }
        let SentWith { answer, file } = self.send(notice).await?;
        let id = answer.pointer("/result/message_id").and_then(field_text).unwrap_or_default();
        Ok(MessageReceipt { id, detail: file }.write(&place))
    }
}

/// `Bad Request: message is not modified: …`, `Bad Request: message to edit not found`.
fn unmade(status: u16, words: &str) -> Option<UnmadeEdit> {
    let says = |text: &&str| words.to_ascii_lowercase().contains(text);
    let gone = ["message to edit not found", "can't be edited", "message_id_invalid", "no text in"];
    match status {
        400 if says(&"message is not modified") => Some(UnmadeEdit::Same),
        400 if gone.iter().any(says) => Some(UnmadeEdit::Gone),
        _ => None,
    }
}

impl Telegram {
    fn call<'a>(&'a self, secrets: &'a [&'a str]) -> ServiceCall<'a> {
        ServiceCall { answers: &ANSWERS, services: &self.services, secrets }
    }

    async fn send(&self, notice: &Notice) -> Result<SentWith, Fault> {
        let secrets = [&*self.token];
        let call = self.call(&secrets);
        let request = |file: Option<Attachment>| match file {
            Some(file) => self.upload(notice, &file),
            None => posting(self.method("sendMessage"), &self.body(notice, TEXT_LIMIT), notice),
        };
        Attach::send(self.attach.as_ref(), notice, FILE_MAX, &call, request).await
    }

    /// The text is the caption of the file.
    fn upload(&self, notice: &Notice, file: &Attachment) -> FetchRequest {
        let (method, part) = match file.is_picture() {
            true => ("sendPhoto", "photo"),
            false => ("sendDocument", "document"),
        };
        let body = self.captioned(notice);
        let names = ["chat_id", "caption", "parse_mode", "disable_notification", "reply_markup"];
        let random = &self.services.env.random;
        posting_file(self.method(method), &fields(&body, &names), (part, file), notice, random)
    }

    /// Changes a message; one that came with a file keeps it until there is another one.
    fn edit(
        &self,
        notice: &Notice,
        before: &MessageReceipt,
        file: Option<Attachment>,
    ) -> FetchRequest {
        let id = Value::from(before.id.parse::<i64>().unwrap_or_default());
        let Some(file) = file else {
            let (method, mut body) = match before.detail {
                Some(_) => ("editMessageCaption", self.captioned(notice)),
                None => ("editMessageText", self.body(notice, TEXT_LIMIT)),
            };
            body["message_id"] = id;
            return posting(self.method(method), &body, notice);
        };
        let mut body = self.captioned(notice);
        body["message_id"] = id;
        body["media"] = json!({
            "type": if file.is_picture() { "photo" } else { "document" },
            "media": "attach://file",
            "caption": body["caption"].take(),
            "parse_mode": body["parse_mode"].take(),
        });
        let fields = fields(&body, &["chat_id", "message_id", "media", "reply_markup"]);
        let (url, random) = (self.method("editMessageMedia"), &self.services.env.random);
        posting_file(url, &fields, ("file", &file), notice, random)
    }

    /// With the text as the caption of a file.
    fn captioned(&self, notice: &Notice) -> Value {
        let mut body = self.body(notice, CAPTION_LIMIT);
        body["caption"] = body["text"].take();
        body
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
        let button = |button: Button| json!([{ "text": button.label, "url": button.url }]);
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

/// The fields of these names, for a form.
fn fields(body: &Value, names: &[&'static str]) -> Vec<(&'static str, String)> {
    names.iter().filter_map(|name| Some((*name, field_text(&body[*name])?))).collect()
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
    use crate::notifiers::testing::{body_of, notice, parts_of, tell, tell_with_picture, update};
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
            let found = parts.iter().find(|part| part.0.contains(&format!("name=\"{name}\"")));
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

    const MESSAGE: &str = r#"{"ok":true,"result":{"message_id":42,"chat":{"id":-100}}}"#;
    const PICTURE: &str = "attach \"http://cam/{{ event.id }}.jpg\"\n";

    /// The methods that are called, and the receipt.
    fn updated(text: &str, before: Option<&str>, answers: &[(u16, &str)]) -> (String, Vec<String>) {
        let (receipt, asked) = update::<Telegram>(text, before, answers);
        let method = |request: &FetchRequest| request.url.rsplit('/').next().unwrap().to_owned();
        (receipt.unwrap(), asked.iter().map(method).collect())
    }

    #[test]
    fn a_message_is_changed_where_it_stands() {
        let (first, methods) = updated(BOT, None, &[(200, MESSAGE)]);
        assert_eq!(methods, ["sendMessage"]);
        let (again, asked) = update::<Telegram>(BOT, Some(&first), &[(200, MESSAGE)]);
        assert_eq!(again, Ok(first.clone()));
        assert_eq!(asked[0].url, "https://api.telegram.org/bott0k/editMessageText");
        let body = body_of(&asked[0]);
        assert_eq!((&body["message_id"], &body["chat_id"]), (&json!(42), &json!("-100")));
        assert!(body["text"].as_str().unwrap().ends_with("\nm"), "{body}");
        // In another chat that number is another message.
        let other = "token (env)\"TOKEN\"\nchat \"-200\"\n";
        assert_eq!(updated(other, Some(&first), &[(200, MESSAGE)]).1, ["sendMessage"]);
    }

    #[test]
    fn what_says_so_already_is_done_and_what_is_gone_is_sent_anew() {
        let (first, _) = updated(BOT, None, &[(200, MESSAGE)]);
        let refused =
            |words: &str| format!(r#"{{"ok":false,"description":"Bad Request: {words}"}}"#);
        let same = refused("message is not modified: specified new message content is the same");
        assert_eq!(
            updated(BOT, Some(&first), &[(400, &same)]),
            (first.clone(), vec!["editMessageText".to_owned()])
        );
        for words in ["message to edit not found", "message can't be edited", "MESSAGE_ID_INVALID"]
        {
            let new = MESSAGE.replace("42", "77");
            let (receipt, methods) =
                updated(BOT, Some(&first), &[(400, &refused(words)), (200, &new)]);
            assert_eq!(methods, ["editMessageText", "sendMessage"], "{words}");
            assert_eq!(receipt, first.replace("42", "77"));
        }
        let (fault, _) = update::<Telegram>(BOT, Some(&first), &[(429, "{}")]);
        assert!(fault.unwrap_err().is_transient(), "it is changed later");
    }

    #[test]
    fn a_message_keeps_its_picture_until_there_is_a_newer_one() {
        let text = format!("{BOT}{PICTURE}");
        let jpeg = (200, "GIF89a picture");
        let (first, methods) = updated(&text, None, &[jpeg, (200, MESSAGE)]);
        assert_eq!(methods[1..], ["sendPhoto"]);
        let (receipt, asked) = update::<Telegram>(&text, Some(&first), &[jpeg, (200, MESSAGE)]);
        assert_eq!(receipt, Ok(first.clone()));
        assert!(asked[1].url.ends_with("/editMessageMedia"));
        let parts = parts_of(&asked[1]);
        let media = &parts.iter().find(|part| part.0.contains("name=\"media\"")).unwrap().1;
        let media: Value = serde_json::from_slice(media).unwrap();
        assert_eq!((&media["type"], &media["media"]), (&json!("photo"), &json!("attach://file")));
        assert!(media["caption"].as_str().unwrap().ends_with("\nm"), "{media}");
        assert!(parts.last().unwrap().0.contains("name=\"file\"; filename=\"e-1.gif\""));
        // Without a newer one, its caption is changed.
        let (receipt, methods) = updated(&text, Some(&first), &[(404, ""), (200, MESSAGE)]);
        assert_eq!((&receipt, &*methods[1]), (&first, "editMessageCaption"));
        let too_large = r#"{"description":"Bad Request: file is too big"}"#;
        let answers = [jpeg, (413, too_large), (200, MESSAGE)];
        assert_eq!(
            updated(&text, Some(&first), &answers).1[1..],
            ["editMessageMedia", "editMessageCaption"]
        );
        // A message of text gets one.
        let (plain, _) = updated(BOT, None, &[(200, MESSAGE)]);
        let (receipt, methods) = updated(&text, Some(&plain), &[jpeg, (200, MESSAGE)]);
        assert_eq!((&receipt, &*methods[1]), (&first, "editMessageMedia"));
    }

    #[test]
    fn a_service_that_says_no_number_gets_another_message() {
        let (receipt, _) = updated(BOT, None, &[(200, "{}")]);
        assert_eq!(receipt, "");
        assert_eq!(updated(BOT, Some(&receipt), &[(200, MESSAGE)]).1, ["sendMessage"]);
    }
}
