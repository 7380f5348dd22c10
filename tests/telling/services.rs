//! ntfy, Telegram, Discord, Slack, Gotify and Pushover, as their documentation has them.

use super::{Site, hostile};
use crate::support::receiver::{Heard, Receiver, Reply};
use serde_json::{Value, json};

/// What a service has against a request.
type Judge = fn(&Heard, &Value) -> Result<(), String>;

fn need(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("not as documented: {what}")) }
}

fn text<'v>(body: &'v Value, pointer: &str) -> &'v str {
    body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}

fn is_shown(text: &str) -> bool {
    let is_plain = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    !text.trim().is_empty() && text.chars().all(is_plain)
}

/// <https://docs.ntfy.sh/publish/>
fn ntfy(heard: &Heard, body: &Value) -> Result<(), String> {
    need((&*heard.method, &*heard.path) == ("POST", "/"), "a POST to the server itself")?;
    need(heard.header("authorization") == Some("Bearer canary-token"), "the token")?;
    need(heard.body.len() <= 8192, "a body of at most 8 KiB")?;
    need(["door", "flat"].contains(&text(body, "/topic")), "a topic")?;
    need(is_shown(text(body, "/message")), "a message")?;
    need(text(body, "/message").len() <= 4096, "4,096 bytes of message")?;
    need(text(body, "/title").len() <= 250, "250 bytes of title")?;
    need(!text(body, "/title").contains('\n'), "one line of title")?;
    need((1..=5).contains(&body["priority"].as_u64().unwrap_or(0)), "a priority of 1 to 5")
}

/// <https://core.telegram.org/bots/api#sendmessage>
fn telegram(heard: &Heard, body: &Value) -> Result<(), String> {
    need(heard.method == "POST", "a POST")?;
    need(heard.path == "/botcanary-token/sendMessage", "the token and the method")?;
    need(["-100", "@door"].contains(&text(body, "/chat_id")), "a chat")?;
    need(body["parse_mode"] == "HTML", "a parse mode")?;
    let plain = without_markup(text(body, "/text"))?;
    need(is_shown(&plain), "a text")?;
    need(utf16(&plain) <= 4096, "4,096 units after the markup is taken out")
}

/// What is left of Telegram's HTML, in which every `<` and `&` has a meaning.
fn without_markup(html: &str) -> Result<String, String> {
    let (mut plain, mut rest, mut open) = (String::new(), html, Vec::new());
    while let Some(at) = rest.find(['<', '&', '>']) {
        plain.push_str(&rest[..at]);
        let end = if rest[at..].starts_with('&') { ';' } else { '>' };
        let length = rest[at..].find(end).ok_or("can't parse entities: it has no end")?;
        let inner = &rest[at + 1..at + length];
        let name = inner.split(' ').next().unwrap_or_default();
        match (&rest[at..=at], name) {
            ("&", "lt") => plain.push('<'),
            ("&", "gt") => plain.push('>'),
            ("&", "amp") => plain.push('&'),
            ("&", "quot") => plain.push('"'),
            ("<", "b" | "a") => open.push(name),
            ("<", _) if name.strip_prefix('/') == open.last().copied() => drop(open.pop()),
            _ => return Err(format!("can't parse entities: {inner}")),
        }
        rest = &rest[at + length + 1..];
    }
    need(open.is_empty(), "every tag has an end")?;
    Ok(plain + rest)
}

/// <https://discord.com/developers/docs/resources/webhook#execute-webhook>
fn discord(heard: &Heard, body: &Value) -> Result<(), String> {
    need(heard.method == "POST", "a POST")?;
    need(heard.path.starts_with("/api/webhooks/1/"), "the webhook")?;
    need(body["allowed_mentions"] == json!({ "parse": [] }), "no mentions")?;
    need(body["embeds"].as_array().is_some_and(|items| items.len() == 1), "an embed")?;
    let (title, description) = (text(body, "/embeds/0/title"), text(body, "/embeds/0/description"));
    need(is_shown(description), "a description")?;
    need(utf16(title) <= 256 && utf16(description) <= 4096, "a short title and description")?;
    need(utf16(title) + utf16(description) <= 6000, "6,000 characters in all")
}

/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
fn slack(heard: &Heard, body: &Value) -> Result<(), String> {
    need(heard.method == "POST" && heard.path.starts_with("/services/T/"), "a POST")?;
    let text = text(body, "/text");
    need(is_shown(text), "no_text")?;
    need(utf16(text) <= 40_000, "40,000 characters")?;
    need(!text.contains("<!") && !text.contains("<script"), "nothing of the event is markup")
}

/// <https://docs.slack.dev/reference/methods/chat.postMessage>
fn slack_bot(heard: &Heard, body: &Value) -> Result<(), String> {
    need((&*heard.method, &*heard.path) == ("POST", "/api/chat.postMessage"), "a POST")?;
    need(heard.header("authorization") == Some("Bearer canary-token"), "invalid_auth")?;
    need(["C0123456789", "#door"].contains(&text(body, "/channel")), "channel_not_found")?;
    let text = text(body, "/text");
    need(is_shown(text), "no_text")?;
    need(utf16(text) <= 40_000, "msg_too_long")?;
    need(body["parse"] == "none" && body["link_names"].is_null(), "no mentions")?;
    need(!text.contains("<!") && !text.contains("<script"), "nothing of the event is markup")
}

/// <https://gotify.net/api-docs#/message/createMessage>
fn gotify(heard: &Heard, body: &Value) -> Result<(), String> {
    need((&*heard.method, &*heard.path) == ("POST", "/message"), "a POST to /message")?;
    need(heard.header("x-gotify-key") == Some("canary-token"), "the token")?;
    need(is_shown(text(body, "/message")), "a message")?;
    need(body["priority"].as_u64().is_some_and(|number| number <= 10), "a priority of 0 to 10")
}

/// <https://pushover.net/api>
fn pushover(heard: &Heard, body: &Value) -> Result<(), String> {
    need((&*heard.method, &*heard.path) == ("POST", "/1/messages.json"), "a POST")?;
    need(text(body, "/token") == "canary-token", "the application's token")?;
    need(["eva", "max"].contains(&text(body, "/user")), "a user")?;
    need(is_shown(text(body, "/message")), "message cannot be blank")?;
    need(text(body, "/message").chars().count() <= 1024, "1,024 characters of message")?;
    need(text(body, "/title").chars().count() <= 250, "250 characters of title")?;
    need(text(body, "/url").chars().count() <= 512, "512 characters of URL")?;
    let is_emergency = body["priority"] == 2;
    let (retry, expire) = (body["retry"].as_u64(), body["expire"].as_u64());
    let is_repeated =
        retry.is_some_and(|retry| 30 <= retry) && expire.is_some_and(|expire| expire <= 10_800);
    need(is_emergency == is_repeated, "retry and expire of an emergency")
}

/// Everything hostile arrives in the form that the service asks for, and the second attempt of
/// what it was too busy for as well.
#[track_caller]
fn check(notifier: &str, judge: Judge, busy: &'static str) {
    let answer = move |heard: &Heard, before: usize| -> Reply {
        let kind = heard.header("content-type").unwrap_or_default();
        let is_json = ["application/json", "application/json; charset=utf-8"].contains(&kind);
        let judged = need(is_json, "JSON").and_then(|()| judge(heard, &heard.json()));
        match judged {
            Err(words) => (400, words),
            Ok(()) if before == 0 => (429, busy.to_owned()),
            Ok(()) => (200, "{\"ok\":true,\"status\":1}".to_owned()),
        }
    };
    let service = Receiver::start(answer);
    let site = Site::start(notifier, &service);
    for (title, message) in hostile() {
        site.arrives(&title, &message);
    }
    let log: String = site.engine.lines.try_iter().collect();
    let status = site.engine.get("/api/pipeline").to_string();
    let letters = site.engine.get("/api/dead-letters").to_string();
    assert!(!format!("{log}{status}{letters}").contains("canary"), "a secret is shown: {log}");
}

/// Texts of the event, and attempts that follow at once.
const TEXTS: &str = "title \"{{ data.title }}\"; message \"{{ data.message }}\"; \
     retry 3 { backoff constant base=\"10ms\" jitter=none }";

#[test]
fn ntfy_takes_whatever_an_event_says() {
    let node = "ntfy phone { url \"{url}\"; topic door flat; token (env)\"TOKEN\"; ";
    check(&format!("{node}{TEXTS} }}"), ntfy, r#"{"code":42901,"http":429,"error":"limit"}"#);
}

#[test]
fn telegram_takes_whatever_an_event_says() {
    let node = "telegram t { url \"{url}\"; token (env)\"TOKEN\"; chat \"-100\" \"@door\"; ";
    let busy = r#"{"ok":false,"error_code":429,"parameters":{"retry_after":0}}"#;
    check(&format!("{node}{TEXTS} }}"), telegram, busy);
}

#[test]
fn discord_takes_whatever_an_event_says() {
    let node = "discord d { url \"{url}/api/webhooks/1/canary\" \"{url}/api/webhooks/1/b\"; ";
    check(&format!("{node}{TEXTS} }}"), discord, r#"{"message":"slow","retry_after":0.01}"#);
}

#[test]
fn slack_takes_whatever_an_event_says() {
    let node = "slack s { url \"{url}/services/T/canary\" \"{url}/services/T/b\"; ";
    check(&format!("{node}{TEXTS} }}"), slack, "rate_limited");
}

#[test]
fn slack_takes_whatever_an_event_says_from_a_bot() {
    let node =
        "slack s { api \"{url}/api\"; token (env)\"TOKEN\"; channel \"C0123456789\" \"#door\"; ";
    check(&format!("{node}{TEXTS} }}"), slack_bot, r#"{"ok":false,"error":"ratelimited"}"#);
}

#[test]
fn gotify_takes_whatever_an_event_says() {
    let node = "gotify g { url \"{url}\"; token (env)\"TOKEN\"; level max; ";
    check(&format!("{node}{TEXTS} }}"), gotify, r#"{"error":"Too Many Requests"}"#);
}

#[test]
fn pushover_takes_whatever_an_event_says() {
    let node = "pushover p { url \"{url}\"; token (env)\"TOKEN\"; user eva max; level max; ";
    check(&format!("{node}{TEXTS} }}"), pushover, r#"{"status":0,"errors":["quota"]}"#);
}

/// Links lead to the address that others use, and nowhere without one.
#[test]
fn a_tap_opens_the_page_of_the_event_where_there_is_one_for_others() {
    for (server, expected) in [
        ("server { public-url \"https://door.example\" }", Some("https://door.example/#/event/")),
        ("server { public-url (env)\"PUBLIC_URL\" }", Some("https://door.example/#/event/")),
        ("", None),
    ] {
        let service = Receiver::start(|_, _| (200, "{}".to_owned()));
        let notifier = format!("ntfy phone {{ url \"{}\"; topic door }}", service.url);
        let site = Site::of(&notifier, server);
        let delivery = &site.tell(&json!({ "type": "t", "id": "e 1" }))[0];
        assert_eq!(delivery["state"], "done", "{delivery}");
        let body = service.heard()[0].json();
        let click = body["click"].as_str();
        assert_eq!(click.is_some(), expected.is_some(), "{body}");
        assert!(click.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{body}");
    }
}

/// What an attachment's service hears, and what the engine says of itself, for pictures that a
/// camera answers like this.
fn with_picture(camera: Reply, refuses: bool) -> (Vec<Heard>, String) {
    let camera = Receiver::start(move |_, _| camera.clone());
    let service = Receiver::start(move |heard, _| match heard.method.as_str() {
        "PUT" if refuses => (413, r#"{"code":41301,"error":"attachment too large"}"#.to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let notifier = format!(
        "ntfy phone {{ url \"{}\"; topic door; attach \"{}/{{{{ event.type }}}}.jpg\"; \
         title \"Tür\"; message \"{{{{ data.message }}}}\" }}",
        service.url, camera.url
    );
    let site = Site::of(&notifier, "");
    site.arrives("", "läutet");
    assert_eq!(camera.heard()[0].path, "/door.bell.jpg");
    (service.heard(), site.engine.get("/readyz").to_string())
}

#[test]
fn a_picture_goes_with_the_message() {
    let (heard, ready) = with_picture((200, "GIF89a picture".to_owned()), false);
    let [upload] = &heard[..] else { panic!("{} requests", heard.len()) };
    assert_eq!((&*upload.method, &*upload.path), ("PUT", "/door"));
    assert_eq!(
        (upload.header("filename"), &*upload.body),
        (Some("doorbell.gif"), &b"GIF89a picture"[..])
    );
    assert_eq!(upload.header("title"), Some("=?UTF-8?B?VMO8cg==?="));
    assert_eq!(upload.header("message"), Some("=?UTF-8?B?bMOkdXRldA==?="));
    assert!(!ready.contains("attachment"), "{ready}");
}

#[test]
fn a_picture_that_is_missing_or_refused_holds_no_message_up_and_is_reported() {
    let missing = with_picture((404, String::new()), false);
    assert!(
        missing.1.contains("sent without the attachment: the response is 404"),
        "{}",
        missing.1
    );
    let refused = with_picture((200, "GIF89a picture".to_owned()), true);
    assert!(refused.1.contains("the service rejected it: the response is 413"), "{}", refused.1);
    for (heard, _) in [missing, refused] {
        let told = heard.last().expect("a message").json();
        assert_eq!((&told["title"], &told["message"]), (&json!("Tür"), &json!("läutet")));
    }
}
