//! Sends messages to a channel of Slack: through an incoming webhook, or as a bot, which can change
//! them.
//!
//! *Never:* a mention or a link that an event brings: both need `<`, which is escaped.
//!
//! A webhook answers as in <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! which Mattermost and others understand too; the methods of a bot are those of
//! <https://docs.slack.dev/reference/methods/chat.postMessage> and
//! <https://docs.slack.dev/reference/methods/chat.update>.

use super::button::{self, BUTTON, Button, ButtonText, Buttons};
use super::link::{self, CLICK, MessageLink};
use super::receipt::{MessageReceipt, place_of};
use super::service::{AnswerForm, Edited, ServiceCall, UnmadeEdit, posting, posting_bytes};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
use crate::request::{Text, check_twice, check_url, resolve};
use kernel::fault::Fault;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::Scope;
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};
use serde_json::{Value, json};
use wire::FetchRequest;

/// Slack cuts a longer text by itself, and says nothing.
const TEXT_LIMIT: TextLimit = TextLimit::utf16(40_000);
/// Of a message that may change: `chat.update` takes no longer one.
const CHANGED_LIMIT: TextLimit = TextLimit::utf16(4_000);
const TITLE_LIMIT: TextLimit = TextLimit::utf16(250);

/// A word as plain text: `no_service`, `channel_is_archived`.
const WEBHOOK_ANSWERS: AnswerForm = AnswerForm {
    reason: &["/error"],
    wait: "",
    is_setting: |status, _| matches!(status, 404 | 410),
    meant: None,
};

/// Mostly 200 with `{"ok":false,"error":"…"}`; too many messages are a 429 with `Retry-After`.
const BOT_ANSWERS: AnswerForm =
    AnswerForm { reason: &["/error"], wait: "", is_setting: |_, _| false, meant: Some(status_of) };

/// What the next message may not meet any more.
const PASSING: [&str; 9] = [
    "fatal_error",
    "internal_error",
    "service_unavailable",
    "request_timeout",
    "update_failed",
    "external_channel_migrating",
    "team_added_to_org",
    "org_login_required",
    // Nothing of Slack: something on the way has answered.
    "",
];

/// What every message meets until somebody changes the token, the channel, or who may do what.
const SETTINGS: [&str; 26] = [
    "not_authed",
    "invalid_auth",
    "account_inactive",
    "token_expired",
    "token_revoked",
    "not_allowed_token_type",
    "missing_scope",
    "no_permission",
    "access_denied",
    "accesslimited",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "two_factor_setup_required",
    "team_access_not_granted",
    "team_not_found",
    "channel_not_found",
    "channel_type_not_supported",
    "not_in_channel",
    "is_archived",
    "is_inactive",
    "restricted_action",
    "restricted_action_read_only_channel",
    "restricted_action_thread_only_channel",
    "messages_tab_disabled",
    "method_deprecated",
    "deprecated_endpoint",
];

const NODES: &[NodeRow] = &[
    NodeRow::new("url", "the URL of an incoming webhook, which is a secret; with several, each gets a delivery of its own. Either this, or `token` and `channel`")
        .examples(&[r#"url (env)"SLACK_URL""#, r#"url (env)"SLACK_HOME" (env)"SLACK_OFFICE""#])
        .args(&[Arg::some("url", ValueKind::Secret)])
        .otherwise("none; without it, `token` and `channel` are required"),
    NodeRow::new("token", "the token of a bot that may `chat:write`; unlike a webhook, a bot can change its messages")
        .examples(&[r#"token (env)"SLACK_TOKEN""#])
        .args(&[Arg::one("token", ValueKind::Secret)])
        .otherwise("none; without it, `url` is required"),
    NodeRow::new("channel", "the channels that the bot writes to, each as a delivery of its own: an id, or the name of a public one")
        .examples(&[r#"channel "C0123456789""#, r##"channel "#door" (env)"SLACK_CHANNEL""##])
        .args(&[Arg::some("channel", ValueKind::Text)])
        .otherwise("none; without it, `url` is required"),
    NodeRow::new("api", "the base URL of the Slack API")
        .examples(&[r#"api "https://slack-gov.com/api""#])
        .args(&[Arg::one("url", ValueKind::Url)])
        .default("\"https://slack.com/api\""),
];

/// The kind `slack`.
pub(super) struct Slack {
    target: SlackTarget,
    link: MessageLink,
    buttons: Buttons,
    services: Services,
}

/// Where messages go.
enum SlackTarget {
    Webhook { url: String },
    Channel { api: String, token: String, channel: String },
}

/// Where messages go, and what they have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SlackSettings {
    targets: Vec<SlackTargetText>,
    click: Option<Text>,
    buttons: Vec<ButtonText>,
}

/// One recipient, as the file says.
#[derive(Debug, Clone, PartialEq)]
enum SlackTargetText {
    Webhook(Text),
    Channel { api: Text, token: Text, channel: Text },
}

impl Kind for Slack {
    const WORD: &'static str = "slack";
    const SUMMARY: &'static str = "sends messages to a Slack channel";
    const EXAMPLE: &'static str = r#"notify slack team { url (env)"SLACK_URL" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, BUTTON];
    type Settings = SlackSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<SlackSettings> {
        let (click, buttons) = (link::read(fields), button::read(fields, context));
        let targets = match check_ways(fields, context.diagnostics)? {
            SlackWay::Webhook => read_webhooks(fields, context)?,
            SlackWay::Bot => read_channels(fields, context)?,
        };
        Some(SlackSettings { targets, click, buttons })
    }

    fn needed(settings: &SlackSettings) -> Vec<Needed> {
        let targets = settings.targets.iter().flat_map(SlackTargetText::texts);
        let given = targets.chain(&settings.click).map(Text::needed);
        given.chain(button::needed(&settings.buttons)).collect()
    }
}

/// How messages get to Slack.
enum SlackWay {
    Webhook,
    Bot,
}

/// Reports nodes of both ways, and what is missing of one.
fn check_ways(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<SlackWay> {
    let mut wrong = |rule, at: &Fields<'_>, message: &str, help: &str| {
        diagnostics.push(rule, message).at(at.name().span, "here").help(help);
        None
    };
    let [url, token, channel, api] = ["url", "token", "channel", "api"].map(|it| fields.child(it));
    let bot = [("token", &token), ("channel", &channel), ("api", &api)];
    let bot = bot.into_iter().find_map(|(name, child)| Some((name, child.as_ref()?)));
    match (url, token, channel) {
        (Some(_), ..) => {
            let Some((name, child)) = bot else { return Some(SlackWay::Webhook) };
            let message = format!("`url` and `{name}` cannot be combined");
            let help = "keep `url` for an incoming webhook, or `token` and `channel` for a bot";
            wrong(Rule::WrongArgument, child, &message, help)
        }
        (None, Some(_), Some(_)) => Some(SlackWay::Bot),
        (None, Some(token), None) => {
            let help = "write `channel \"C0123456789\"`, with the id of the channel";
            wrong(Rule::MissingNode, &token, "`token` needs `channel`", help)
        }
        (None, None, Some(channel)) => {
            let help = "write `token (env)\"SLACK_TOKEN\"`";
            wrong(Rule::MissingNode, &channel, "`channel` needs `token`", help)
        }
        (None, None, None) => {
            let message = "a `notify slack` needs `url`, or `token` and `channel`";
            let help = "write `url (env)\"SLACK_URL\"` for an incoming webhook";
            wrong(Rule::MissingNode, fields, message, help)
        }
    }
}

fn read_webhooks(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Vec<SlackTargetText>> {
    let urls = Text::read_all(fields, "url")?;
    let bad = urls.iter().filter(|url| !check_url(url, context)).count();
    check_twice(&urls, "webhook", context.diagnostics);
    (bad == 0).then(|| urls.into_iter().map(SlackTargetText::Webhook).collect())
}

fn read_channels(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Vec<SlackTargetText>> {
    let api = fields.setting("api").arg(0, Text::read);
    let is_http = check_url(&api, context);
    let (token, channels) =
        (Text::read_child(fields, "token")?, Text::read_all(fields, "channel")?);
    check_twice(&channels, "channel", context.diagnostics);
    let target =
        |channel| SlackTargetText::Channel { api: api.clone(), token: token.clone(), channel };
    is_http.then(|| channels.into_iter().map(target).collect())
}

impl SlackTargetText {
    fn texts(&self) -> Vec<&Text> {
        match self {
            SlackTargetText::Webhook(url) => vec![url],
            SlackTargetText::Channel { api, token, channel } => vec![api, token, channel],
        }
    }

    fn open(&self, services: &Services) -> Result<SlackTarget, Fault> {
        let text = |text: &Text| resolve(&text.setting.value, services);
        Ok(match self {
            SlackTargetText::Webhook(url) => SlackTarget::Webhook { url: text(url)? },
            SlackTargetText::Channel { api, token, channel } => SlackTarget::Channel {
                api: text(api)?.trim_end_matches('/').to_owned(),
                token: text(token)?,
                channel: text(channel)?,
            },
        })
    }
}

impl NotifyKind for Slack {
    fn is_remote(_: &SlackSettings) -> bool {
        true
    }

    fn no_update(settings: &SlackSettings) -> Option<NoUpdate> {
        let is_webhook = |target: &SlackTargetText| matches!(target, SlackTargetText::Webhook(_));
        settings.targets.iter().any(is_webhook).then_some(NoUpdate {
            reason: "an incoming webhook cannot change its messages",
            help: "write `token` and `channel` instead of `url`, or remove it",
        })
    }

    fn recipients(settings: &SlackSettings) -> Vec<SlackSettings> {
        let one = |target: &SlackTargetText| SlackSettings {
            targets: vec![target.clone()],
            ..settings.clone()
        };
        settings.targets.iter().map(one).collect()
    }

    async fn open(
        settings: SlackSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let [target] = &settings.targets[..] else {
            unreachable!("it is opened for one recipient")
        };
        Ok(Box::new(Slack {
            target: target.open(&services)?,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            buttons: Buttons::open(&settings.buttons, &services)?,
            services,
        }))
    }
}

impl Notify for Slack {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let text = self.text(notice, TEXT_LIMIT);
        match &self.target {
            SlackTarget::Webhook { url } => {
                let (answers, services) = (&WEBHOOK_ANSWERS, &self.services);
                let call = ServiceCall { answers, services, secrets: &[url] };
                call.send(posting(url.clone(), &json!({ "text": text }), notice)).await.map(drop)
            }
            SlackTarget::Channel { channel, .. } => {
                self.post(channel, text, notice).await.map(drop)
            }
        }
    }

    async fn update(&self, notice: &Notice) -> Result<String, Fault> {
        let SlackTarget::Channel { api, token, channel } = &self.target else {
            unreachable!("a webhook says that it cannot")
        };
        let (place, text) = (place_of(&[api, token, channel]), self.text(notice, CHANGED_LIMIT));
        if let Some(before) = MessageReceipt::before(notice, &place)
            && self.edit(&before, &text, notice).await? == Edited::Changed
        {
            return Ok(before.write(&place));
        }
        let answer = self.post(channel, text, notice).await?;
        // A channel may be called by its name, but its messages are changed by its id.
        let id = match (answer["channel"].as_str(), answer["ts"].as_str()) {
            (Some(channel), Some(time)) => format!("{channel}/{time}"),
            _ => String::new(),
        };
        Ok(MessageReceipt { id, detail: None }.write(&place))
    }
}

impl Slack {
    /// Posts a message as a bot; what Slack answers.
    async fn post(&self, channel: &str, text: String, notice: &Notice) -> Result<Value, Fault> {
        // Slack must not fetch what is linked, and makes links of nothing else.
        let body = json!({
            "channel": channel,
            "text": text,
            "parse": "none",
            "unfurl_links": false,
            "unfurl_media": false,
        });
        let (request, secrets) = self.method("chat.postMessage", &body, notice);
        self.call(&secrets).send(request).await
    }

    async fn edit(
        &self,
        before: &MessageReceipt,
        text: &str,
        notice: &Notice,
    ) -> Result<Edited, Fault> {
        let Some((channel, time)) = before.id.split_once('/') else { return Ok(Edited::Gone) };
        let body = json!({ "channel": channel, "ts": time, "text": text, "parse": "none" });
        let (request, secrets) = self.method("chat.update", &body, notice);
        self.call(&secrets).edit(request, unmade).await
    }

    fn call<'a>(&'a self, secrets: &'a [&'a str]) -> ServiceCall<'a> {
        ServiceCall { answers: &BOT_ANSWERS, services: &self.services, secrets }
    }

    /// A request of a bot, and what of it is never shown.
    fn method(&self, name: &str, body: &Value, notice: &Notice) -> (FetchRequest, [&str; 1]) {
        let SlackTarget::Channel { api, token, .. } = &self.target else {
            unreachable!("a webhook has no methods")
        };
        let headers = vec![
            ("Authorization".to_owned(), format!("Bearer {token}")),
            ("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned()),
        ];
        let body = body.to_string().into_bytes();
        (posting_bytes(format!("{api}/{name}"), headers, body, notice), [token])
    }

    fn text(&self, notice: &Notice, limit: TextLimit) -> String {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let link = self.link.web_of(event, &scope);
        mrkdwn(&MessageText::of(notice), link.as_deref(), &self.buttons.of(&scope), limit)
    }
}

/// The status that an error of a bot's method means.
fn status_of(error: &str) -> u16 {
    match error {
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => 429,
        _ if PASSING.contains(&error) => 503,
        _ if SETTINGS.contains(&error) => 403,
        _ => 400,
    }
}

/// Errors of `chat.update` about this message alone.
fn unmade(_: u16, error: &str) -> Option<UnmadeEdit> {
    let gone = ["message_not_found", "cant_update_message", "edit_window_closed", "block_mismatch"];
    gone.contains(&error).then_some(UnmadeEdit::Gone)
}

/// A bold title that leads to the link, and the message; without a title, the message does.
fn mrkdwn(text: &MessageText, link: Option<&str>, buttons: &[Button], limit: TextLimit) -> String {
    let title = TITLE_LIMIT.cut(&text.title);
    let linked = |text: &str| match link {
        Some(link) => format!("<{}|{}>", escaped(link), escaped(text)),
        None => escaped(text),
    };
    let head = match title.is_empty() {
        true => String::new(),
        false => format!("*{}*\n", linked(&title)),
    };
    let button = |button: &Button| format!("<{}|{}>", escaped(&button.url), escaped(&button.label));
    let tail = match buttons.is_empty() {
        true => String::new(),
        false => format!("\n{}", buttons.iter().map(button).collect::<Vec<_>>().join(" · ")),
    };
    let room = limit.beside(&head).beside(&tail);
    let message = match title.is_empty() {
        true => room.cut_as(&text.message, linked),
        false => room.cut_as(&text.message, escaped),
    };
    format!("{head}{message}{tail}")
}

/// As text of Slack's markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifiers::testing::{body_of, notice, tell, update};
    use crate::testing::{self, FakeFetch};
    use kernel::fault::{Cause, FaultClass};
    use std::time::Duration;

    fn text_of(title: &str, message: &str) -> String {
        let fetch = FakeFetch::answering(200, &[], "ok");
        let text = "url (env)\"URL\"\nclick \"https://door/?a=1&b=|{{ data.n }}\"";
        assert_eq!(tell::<Slack>(text, &notice(title, message), &fetch), Ok(()));
        body_of(&fetch.only_request())["text"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn an_event_can_mention_nobody_and_bring_no_link() {
        assert_eq!(
            text_of("A & B", "<!channel> <https://evil|x>"),
            "*<https://door/?a=1&amp;b=%7C2|A &amp; B>*\n&lt;!channel&gt; &lt;https://evil|x&gt;"
        );
        assert_eq!(text_of("", "a\nb"), "<https://door/?a=1&amp;b=%7C2|a\nb>");
    }

    #[test]
    fn a_long_text_is_cut_with_what_escapes_it() {
        let text = text_of("t", &"<&".repeat(30_000));
        assert!(text.ends_with("&lt;&amp;…") || text.ends_with("&lt;…"), "{}", &text[39_900..]);
        assert!((39_900..=40_000).contains(&text.encode_utf16().count()), "{}", text.len());
    }

    #[test]
    fn a_channel_that_is_gone_costs_no_event() {
        let fault = |status, body| {
            let fetch = FakeFetch::answering(status, &[], body);
            tell::<Slack>("url (env)\"URL\"", &notice("t", "m"), &fetch).unwrap_err()
        };
        let gone = fault(410, "channel_is_archived");
        assert_eq!(gone.class, FaultClass::Configuration);
        assert_eq!(gone.reason, "the response is 410: channel_is_archived");
        assert_eq!(fault(400, "invalid_payload").class, FaultClass::Permanent);
    }

    #[test]
    fn buttons_are_links_below_the_message() {
        let fetch = FakeFetch::answering(200, &[], "ok");
        let text = "url (env)\"URL\"\nclick \"\"\nbutton \"Live\" \"https://cam/?a=1&b=2\"\n\
                    button \"<b>\" \"https://cam/\"";
        assert_eq!(tell::<Slack>(text, &notice("", "m"), &fetch), Ok(()));
        let expected = "m\n<https://cam/?a=1&amp;b=2|Live> · <https://cam/|&lt;b&gt;>";
        assert_eq!(body_of(&fetch.only_request())["text"], expected);
    }

    const BOT: &str = "token (env)\"TOKEN\"\nchannel \"#door\"\nclick \"\"\n";
    const POSTED: &str = r#"{"ok":true,"channel":"C012","ts":"1503435956.000247"}"#;

    #[test]
    fn a_bot_posts_and_nothing_becomes_a_mention_or_a_link() {
        let fetch = FakeFetch::answering(200, &[], POSTED);
        assert_eq!(tell::<Slack>(BOT, &notice("R", "@here <!here>"), &fetch), Ok(()));
        let asked = fetch.only_request();
        assert_eq!((asked.method, &*asked.url), ("POST", "https://slack.com/api/chat.postMessage"));
        let header = |name| asked.headers.iter().find(|it| it.0 == name).map(|it| &*it.1);
        assert_eq!(header("Authorization"), Some("Bearer t0k"));
        assert_eq!(header("Content-Type"), Some("application/json; charset=utf-8"));
        let expected = json!({
            "channel": "#door", "text": "*R*\n@here &lt;!here&gt;",
            "parse": "none", "unfurl_links": false, "unfurl_media": false,
        });
        assert_eq!(body_of(&asked), expected);
    }

    #[test]
    fn an_error_with_a_good_status_is_one() {
        let fault = |status, headers: &[(&str, &str)], error: &str| {
            let body = format!(r#"{{"ok":false,"error":"{error}"}}"#);
            let fetch = FakeFetch::answering(status, headers, &body);
            tell::<Slack>(BOT, &notice("t", "m"), &fetch).unwrap_err()
        };
        for (error, class, status) in [
            ("channel_not_found", FaultClass::Configuration, 403),
            ("not_in_channel", FaultClass::Configuration, 403),
            ("is_archived", FaultClass::Configuration, 403),
            ("invalid_auth", FaultClass::Configuration, 403),
            ("token_revoked", FaultClass::Configuration, 403),
            ("missing_scope", FaultClass::Configuration, 403),
            ("msg_too_long", FaultClass::Permanent, 400),
            ("no_text", FaultClass::Permanent, 400),
            ("something_new", FaultClass::Permanent, 400),
            ("fatal_error", FaultClass::Transient, 503),
            ("ratelimited", FaultClass::Transient, 429),
        ] {
            let fault = fault(200, &[], error);
            assert_eq!((fault.class, &fault.cause), (class, &Cause::Status(status)), "{error}");
            assert_eq!(fault.reason, format!("the service did not accept it: {error}"));
        }
        for status in [200, 429] {
            let busy = fault(status, &[("retry-after", "30")], "ratelimited");
            assert_eq!(busy.retry_after, Some(Duration::from_secs(30)), "{status}");
        }
        let fetch = FakeFetch::answering(200, &[], "<html>Sign in to this network</html>");
        let other = tell::<Slack>(BOT, &notice("t", "m"), &fetch).unwrap_err();
        assert!(other.is_transient(), "{other:?}");
    }

    /// The methods that are called, and the receipt.
    fn updated(text: &str, before: Option<&str>, answers: &[(u16, &str)]) -> (String, Vec<String>) {
        let (receipt, asked) = update::<Slack>(text, before, answers);
        let method = |request: &FetchRequest| request.url.rsplit('/').next().unwrap().to_owned();
        (receipt.unwrap(), asked.iter().map(method).collect())
    }

    #[test]
    fn a_message_is_changed_by_the_id_of_its_channel() {
        let (first, methods) = updated(BOT, None, &[(200, POSTED)]);
        assert_eq!(methods, ["chat.postMessage"]);
        let (again, asked) = update::<Slack>(BOT, Some(&first), &[(200, POSTED)]);
        assert_eq!(again, Ok(first.clone()));
        assert_eq!(asked[0].url, "https://slack.com/api/chat.update");
        let expected = json!({
            "channel": "C012", "ts": "1503435956.000247", "text": "*t*\nm", "parse": "none",
        });
        assert_eq!(body_of(&asked[0]), expected);
        // Of another channel it says nothing.
        let other = BOT.replace("#door", "#yard");
        assert_eq!(updated(&other, Some(&first), &[(200, POSTED)]).1, ["chat.postMessage"]);
    }

    #[test]
    fn a_message_that_cannot_be_changed_is_sent_anew_and_other_errors_are_faults() {
        let (first, _) = updated(BOT, None, &[(200, POSTED)]);
        let refused = |error: &str| format!(r#"{{"ok":false,"error":"{error}"}}"#);
        for error in ["message_not_found", "cant_update_message", "edit_window_closed"] {
            let new = POSTED.replace("000247", "000300");
            let answers = [(200, &*refused(error)), (200, &*new)];
            let (receipt, methods) = updated(BOT, Some(&first), &answers);
            assert_eq!(methods, ["chat.update", "chat.postMessage"], "{error}");
            assert_eq!(receipt, first.replace("000247", "000300"));
        }
        for (error, class) in [
            ("ratelimited", FaultClass::Transient),
            ("is_inactive", FaultClass::Configuration),
            ("msg_too_long", FaultClass::Permanent),
        ] {
            let (fault, asked) = update::<Slack>(BOT, Some(&first), &[(200, &*refused(error))]);
            assert_eq!((fault.unwrap_err().class, asked.len()), (class, 1), "{error}");
        }
    }

    #[test]
    fn a_message_that_may_change_is_as_short_as_a_change() {
        let limit = |limit: TextLimit| {
            let text = MessageText { title: "t".repeat(300), message: "<&".repeat(30_000) };
            mrkdwn(&text, None, &[], limit).encode_utf16().count()
        };
        assert!((39_990..=40_000).contains(&limit(TEXT_LIMIT)), "{}", limit(TEXT_LIMIT));
        assert!((3_990..=4_000).contains(&limit(CHANGED_LIMIT)), "{}", limit(CHANGED_LIMIT));
    }

    #[test]
    fn a_webhook_and_a_bot_exclude_each_other() {
        let found = |text: &str| testing::findings::<Slack>(text);
        let none: [&str; 0] = [];
        assert_eq!(found("token (env)\"T\"\nchannel a b\napi \"https://slack-gov.com/api\""), none);
        let both = |name: &str| [format!("E0016 `url` and `{name}` cannot be combined")];
        assert_eq!(found("url (env)\"U\"\ntoken (env)\"T\"\nchannel a"), both("token"));
        assert_eq!(found("url (env)\"U\"\nchannel a"), both("channel"));
        assert_eq!(found("url (env)\"U\"\napi \"https://h\""), both("api"));
        assert_eq!(found("token (env)\"T\""), ["E0018 `token` needs `channel`"]);
        assert_eq!(found("channel a"), ["E0018 `channel` needs `token`"]);
        assert_eq!(found(""), ["E0018 a `notify slack` needs `url`, or `token` and `channel`"]);
        let twice = found("token (env)\"T\"\nchannel a a\napi \"slack.com\"");
        assert_eq!(twice, ["E0206 this channel is given twice", "E0016 this is not an HTTP URL"]);
    }
}
