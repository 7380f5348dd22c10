//! Sends messages to a channel through a webhook of Discord.
//!
//! *Never:* a mention, whatever an event says: `allowed_mentions` allows none.
//!
//! Limits and answers are those of <https://discord.com/developers/docs/resources/webhook>.

use super::attach::{ATTACH, Attach, AttachSetting, Attachment, SentWith, posting_file};
use super::button::{self, BUTTON, Button, ButtonText, Buttons};
use super::level::{LEVEL, Level, LevelSetting};
use super::link::{self, CLICK, MessageLink};
use super::receipt::{MessageReceipt, place_of};
use super::service::{AnswerForm, ServiceCall, UnmadeEdit, posting};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
use crate::request::{Text, check_twice, check_url, resolve};
use kernel::fault::Fault;
use language::expr::{Scope, percent_encoded};
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};
use serde_json::{Value, json};
use wire::FetchRequest;

const TITLE_LIMIT: TextLimit = TextLimit::utf16(256);
const DESCRIPTION_LIMIT: TextLimit = TextLimit::utf16(4096);
/// Of all files of a message.
const FILE_MAX: usize = 10 << 20;
/// A message with this flag makes no sound.
const SUPPRESS_NOTIFICATIONS: u32 = 1 << 12;

/// `{"message":"You are being rate limited.","retry_after":0.3,"global":false}`.
const ANSWERS: AnswerForm = AnswerForm {
    reason: &["/message"],
    wait: "/retry_after",
    // The webhook was deleted.
    is_setting: |status, _| status == 404,
    meant: None,
};

const NODES: &[NodeRow] = &[NodeRow::new("url", "the URL of the channel's webhook, which is a secret; with several, each gets a delivery of its own")
    .examples(&[r#"url (env)"DISCORD_URL""#, r#"url (env)"DISCORD_HOME" (env)"DISCORD_FAMILY""#])
    .args(&[Arg::some("url", ValueKind::Secret)])
    .required()];

/// The kind `discord`.
pub(super) struct Discord {
    url: String,
    link: MessageLink,
    level: LevelSetting,
    attach: Option<Attach>,
    buttons: Buttons,
    services: Services,
}

/// Which webhooks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiscordSettings {
    urls: Vec<Text>,
    click: Option<Text>,
    level: LevelSetting,
    attach: Option<AttachSetting>,
    buttons: Vec<ButtonText>,
}

impl Kind for Discord {
    const WORD: &'static str = "discord";
    const SUMMARY: &'static str = "sends messages to a Discord channel";
    const EXAMPLE: &'static str = r#"notify discord family { url (env)"DISCORD_URL" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, LEVEL, ATTACH, BUTTON];
    type Settings = DiscordSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<DiscordSettings> {
        let (urls, level) = (Text::read_all(fields, "url")?, LevelSetting::read(fields, context));
        let bad = urls.iter().filter(|url| !check_url(url, context)).count();
        check_twice(&urls, "webhook", context.diagnostics);
        let (attach, buttons) =
            (AttachSetting::read(fields, context), button::read(fields, context));
        let (click, level, attach) = (link::read(fields), level?, attach?);
        (bad == 0).then_some(DiscordSettings { urls, click, level, attach, buttons })
    }

    fn needed(settings: &DiscordSettings) -> Vec<Needed> {
        let given = settings.urls.iter().chain(&settings.click).map(Text::needed);
        let given = given.chain(settings.attach.as_ref().and_then(AttachSetting::needed));
        given.chain(button::needed(&settings.buttons)).collect()
    }
}

impl NotifyKind for Discord {
    fn is_remote(_: &DiscordSettings) -> bool {
        true
    }

    fn no_update(_: &DiscordSettings) -> Option<NoUpdate> {
        None
    }

    fn recipients(settings: &DiscordSettings) -> Vec<DiscordSettings> {
        let urls = settings.urls.iter();
        urls.map(|url| DiscordSettings { urls: vec![url.clone()], ..settings.clone() }).collect()
    }

    async fn open(
        settings: DiscordSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let [url] = &settings.urls[..] else { unreachable!("it is opened for one recipient") };
        Ok(Box::new(Discord {
            url: resolve(&url.setting.value, &services)?,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            level: settings.level,
            attach: Attach::open(settings.attach.as_ref(), &services)?,
            buttons: Buttons::open(&settings.buttons, &services)?,
            services,
        }))
    }
}

impl Notify for Discord {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        self.send(notice, self.url.clone()).await.map(drop)
    }

    async fn update(&self, notice: &Notice) -> Result<String, Fault> {
        let place = place_of(&[&self.url]);
        if let Some(before) = MessageReceipt::before(notice, &place) {
            let request = |before: &MessageReceipt, file| self.edit(notice, before, file);
            let (attach, secrets) = (self.attach.as_ref(), [&*self.url]);
            let call = self.call(&secrets);
            let edited = Attach::edit(attach, notice, FILE_MAX, &call, before, unmade, request);
            if let Some(receipt) = edited.await? {
                return Ok(receipt.write(&place));
            }
        }
        // Without `wait` the answer is empty.
        let mark = if self.url.contains('?') { '&' } else { '?' };
        let SentWith { answer, file } =
            self.send(notice, format!("{}{mark}wait=true", self.url)).await?;
        let id = answer["id"].as_str().unwrap_or_default().to_owned();
        Ok(MessageReceipt { id, detail: file }.write(&place))
    }
}

/// `{"message":"Unknown Message","code":10008}`; what the webhook did not write it cannot change.
fn unmade(status: u16, words: &str) -> Option<UnmadeEdit> {
    let is_gone = status == 404 && words.contains("Unknown Message")
        || status == 403 && words.contains("authored by another user");
    is_gone.then_some(UnmadeEdit::Gone)
}

impl Discord {
    fn call<'a>(&'a self, secrets: &'a [&'a str]) -> ServiceCall<'a> {
        ServiceCall { answers: &ANSWERS, services: &self.services, secrets }
    }

    async fn send(&self, notice: &Notice, url: String) -> Result<SentWith, Fault> {
        let secrets = [&*self.url];
        let call = self.call(&secrets);
        let request = |file: Option<Attachment>| match file {
            Some(file) => self.upload(url.clone(), self.body(notice), &file, notice),
            None => posting(url.clone(), &self.body(notice), notice),
        };
        Attach::send(self.attach.as_ref(), notice, FILE_MAX, &call, request).await
    }

    /// Changes a message; one that came with a file keeps it until there is another one.
    fn edit(
        &self,
        notice: &Notice,
        before: &MessageReceipt,
        file: Option<Attachment>,
    ) -> FetchRequest {
        let url = self.url_of(&before.id);
        let mut body = self.body(notice);
        // Nobody hears of a change.
        body.as_object_mut().map(|it| it.remove("flags"));
        let request = match file {
            Some(file) => {
                // What is not named here goes.
                body["attachments"] = json!([{ "id": 0 }]);
                self.upload(url, body, &file, notice)
            }
            None => {
                let shown = before.detail.as_ref().filter(|file| is_picture(file));
                if let Some(name) = shown {
                    body["embeds"][0]["image"] = picture(name);
                }
                posting(url, &body, notice)
            }
        };
        FetchRequest { method: "PATCH", ..request }
    }

    /// Of a message. A thread is named in the query.
    fn url_of(&self, id: &str) -> String {
        let id = percent_encoded(id);
        match self.url.split_once('?') {
            Some((path, query)) => format!("{path}/messages/{id}?{query}"),
            None => format!("{}/messages/{id}", self.url),
        }
    }

    fn upload(
        &self,
        url: String,
        mut body: Value,
        file: &Attachment,
        notice: &Notice,
    ) -> FetchRequest {
        if file.is_picture() {
            body["embeds"][0]["image"] = picture(&file.name);
        }
        let fields = [("payload_json", body.to_string())];
        let (file, random) = (("files[0]", file), &self.services.env.random);
        posting_file(url, &fields, file, notice, random)
    }

    fn body(&self, notice: &Notice) -> Value {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let level = self.level.of(event.envelope.priority, &scope);
        let text = MessageText::of(notice);
        // A title of a link has no `]`, and its URL no `)`.
        let link = |button: Button| {
            let url = button.url.replace('(', "%28").replace(')', "%29");
            format!("[{}]({url})", escaped(&button.label))
        };
        let links: Vec<String> = self.buttons.of(&scope).into_iter().map(link).collect();
        let links = match links.is_empty() {
            true => String::new(),
            false => format!("\n\n{}", links.join(" · ")),
        };
        let message = DESCRIPTION_LIMIT.beside(&links).cut_as(&text.message, escaped);
        let mut embed = json!({
            "description": format!("{message}{links}"),
            "color": colour_of(level),
            "timestamp": event.envelope.time.to_string(),
        });
        if !text.title.is_empty() {
            embed["title"] = TITLE_LIMIT.cut_as(&text.title, escaped).into();
        }
        if let Some(url) = self.link.web_of(event, &scope) {
            embed["url"] = url.into();
        }
        let mut body = json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } });
        if level as u8 <= Level::Low as u8 {
            body["flags"] = SUPPRESS_NOTIFICATIONS.into();
        }
        body
    }
}

/// A file of the message as the picture of its embed.
fn picture(name: &str) -> Value {
    json!({ "url": format!("attachment://{name}") })
}

/// By the ending that we gave the file.
fn is_picture(name: &str) -> bool {
    [".jpg", ".png", ".gif", ".webp"].iter().any(|it| name.ends_with(it))
}

/// Grey, blue, green, orange, red.
fn colour_of(level: Level) -> u32 {
    [0x95_a5_a6, 0x34_98_db, 0x2e_cc_71, 0xe6_7e_22, 0xe7_4c_3c][level as usize]
}

/// Text without markup. A URL stays as it is, so that it can be opened.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        if word.starts_with("http://") || word.starts_with("https://") {
            escaped.push_str(word);
            continue;
        }
        for letter in word.chars() {
            if matches!(letter, '\\' | '*' | '_' | '~' | '`' | '|' | '[' | ']' | '<' | '>' | '#') {
                escaped.push('\\');
            }
            escaped.push(letter);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::testing::{body_of, notice, parts_of, tell, tell_with_picture, update};
    use crate::testing::{self, FakeFetch};
    use kernel::fault::FaultClass;
    use std::time::Duration;

    #[test]
    fn an_event_can_mention_nobody_and_bring_no_markup() {
        let fetch = FakeFetch::answering(204, &[], "");
        let message = "@everyone <@1> **loud** [x](http://evil) https://door/a_b_c";
        assert_eq!(tell::<Discord>("url (env)\"URL\"", &notice("R_1", message), &fetch), Ok(()));
        let asked = fetch.only_request();
        assert_eq!((asked.method, asked.url.as_str()), ("POST", "http://u/x"));
        let escaped = r"@everyone \<@1\> \*\*loud\*\* \[x\](http://evil) https://door/a_b_c";
        let expected = json!({
            "embeds": [{
                "title": r"R\_1", "description": escaped, "color": 0xe6_7e_22,
                "timestamp": "2026-01-01T09:59:55.000Z",
                "url": "http://127.0.0.1:8600/#/event/e-1",
            }],
            "allowed_mentions": { "parse": [] },
        });
        assert_eq!(body_of(&asked), expected);
    }

    #[test]
    fn a_long_text_fits_with_what_escapes_it() {
        let fetch = FakeFetch::answering(204, &[], "");
        let long = notice(&"*t".repeat(300), &"_m".repeat(4000));
        assert_eq!(tell::<Discord>("url (env)\"URL\"\nlevel min", &long, &fetch), Ok(()));
        let body = body_of(&fetch.only_request());
        let size =
            |name: &str| body["embeds"][0][name].as_str().map(|text| text.encode_utf16().count());
        assert!(matches!(size("title"), Some(250..=256)), "{:?}", size("title"));
        assert!(matches!(size("description"), Some(4080..=4096)), "{:?}", size("description"));
        assert_eq!(body["flags"], 4096);
    }

    #[test]
    fn it_waits_for_parts_of_a_second_and_a_deleted_webhook_costs_no_event() {
        let fault = |status, body| {
            let fetch = FakeFetch::answering(status, &[], body);
            tell::<Discord>("url (env)\"URL\"", &notice("t", "m"), &fetch).unwrap_err()
        };
        let busy = fault(429, r#"{"message":"You are being rate limited.","retry_after":0.5}"#);
        assert_eq!(busy.retry_after, Some(Duration::from_millis(500)));
        let gone = fault(404, r#"{"message":"Unknown Webhook","code":10015}"#);
        assert_eq!(gone.class, FaultClass::Configuration);
        assert_eq!(gone.reason, "the response is 404: Unknown Webhook");
    }

    #[test]
    fn every_url_is_checked() {
        let found = testing::findings::<Discord>("url \"https://a\" \"b\" \"https://a\"");
        assert_eq!(found, ["E0016 this is not an HTTP URL", "E0206 this webhook is given twice"]);
    }

    #[test]
    fn a_picture_is_shown_in_the_message_and_left_out_where_it_is_refused() {
        let asked = tell_with_picture::<Discord>("url (env)\"URL\"", true);
        let parts = parts_of(&asked[0]);
        let body: Value = serde_json::from_slice(&parts[0].1).unwrap();
        assert_eq!(body["embeds"][0]["image"]["url"], "attachment://e-1.jpg");
        assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
        assert_eq!(
            body["embeds"][0]["description"],
            "two\nlines\n\n[Live ü](https://cam/live%281%29)"
        );
        assert!(parts[1].0.contains("name=\"files[0]\"; filename=\"e-1.jpg\""), "{}", parts[1].0);
        let asked = tell_with_picture::<Discord>("url (env)\"URL\"", false);
        assert_eq!(body_of(&asked[1])["embeds"][0]["image"], Value::Null);
    }

    #[test]
    fn a_message_is_changed_and_keeps_its_picture() {
        let text = "url \"https://d/api/webhooks/1/x?thread_id=9\"\nattach \"http://cam/a.jpg\"\nlevel low";
        let (message, gif) = ((200, r#"{"id":"123"}"#), (200, "GIF89a picture"));
        let (first, asked) = update::<Discord>(text, None, &[gif, message]);
        assert_eq!(asked[1].url, "https://d/api/webhooks/1/x?thread_id=9&wait=true");
        let first = first.unwrap();
        let (again, asked) = update::<Discord>(text, Some(&first), &[gif, message]);
        assert_eq!(again, Ok(first.clone()));
        let url = "https://d/api/webhooks/1/x/messages/123?thread_id=9";
        assert_eq!((asked[1].method, &*asked[1].url), ("PATCH", url));
        let payload: Value = serde_json::from_slice(&parts_of(&asked[1])[0].1).unwrap();
        assert_eq!(
            (&payload["attachments"], &payload["flags"]),
            (&json!([{ "id": 0 }]), &Value::Null)
        );
        let (again, asked) = update::<Discord>(text, Some(&first), &[(404, ""), message]);
        assert_eq!(again, Ok(first.clone()));
        let body = body_of(&asked[1]);
        assert_eq!(body["embeds"][0]["image"], json!({ "url": "attachment://a.gif" }));
        assert_eq!(body["attachments"], Value::Null, "what is not named stays");
    }

    #[test]
    fn a_message_that_was_deleted_is_sent_anew_and_a_webhook_that_was_is_a_setting() {
        let text = "url \"https://d/api/webhooks/1/x\"";
        let (first, asked) = update::<Discord>(text, None, &[(200, r#"{"id":"123"}"#)]);
        assert_eq!(asked[0].url, "https://d/api/webhooks/1/x?wait=true");
        let first = first.unwrap();
        let gone = (404, r#"{"message":"Unknown Message","code":10008}"#);
        let answers = [gone, (200, r#"{"id":"124"}"#)];
        let (again, asked) = update::<Discord>(text, Some(&first), &answers);
        assert_eq!(again, Ok(first.replace("123", "124")));
        assert_eq!((asked[0].method, asked[1].method), ("PATCH", "POST"));
        let webhook = (404, r#"{"message":"Unknown Webhook","code":10015}"#);
        let fault = update::<Discord>(text, Some(&first), &[webhook]).0.unwrap_err();
        assert_eq!(fault.class, kernel::fault::FaultClass::Configuration);
    }
}
