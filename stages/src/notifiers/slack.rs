//! Sends messages to a channel through an incoming webhook of Slack.
//!
//! *Never:* a mention or a link that an event brings: both need `<`, which is escaped.
//!
//! Answers are those of <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
//! which Mattermost and others understand too.

use super::button::{self, BUTTON, Button, ButtonText, Buttons};
use super::link::{self, CLICK, MessageLink};
use super::service::{AnswerForm, ServiceCall, posting};
use super::text::{MessageText, TextLimit};
use crate::contract::{DynNotify, Kind, NoUpdate, Notice, Notify, NotifyKind, Services};
use crate::request::{Text, check_twice, check_url, resolve};
use kernel::fault::Fault;
use language::expr::Scope;
use language::{Arg, Context, Fields, Needed, NodeRow, ValueKind};
use serde_json::json;
use wire::FetchRequest;

/// Slack cuts a longer text by itself, and says nothing.
const TEXT_LIMIT: TextLimit = TextLimit::utf16(40_000);
const TITLE_LIMIT: TextLimit = TextLimit::utf16(250);

/// A word as plain text: `no_service`, `channel_is_archived`.
const ANSWERS: AnswerForm = AnswerForm {
    reason: &["/error"],
    wait: "",
    is_setting: |status, _| matches!(status, 404 | 410),
};

const NODES: &[NodeRow] = &[NodeRow::new("url", "the URL of the incoming webhook, which is a secret; with several, each gets a delivery of its own")
    .examples(&[r#"url (env)"SLACK_URL""#, r#"url (env)"SLACK_HOME" (env)"SLACK_OFFICE""#])
    .args(&[Arg::some("url", ValueKind::Secret)])
    .required()];

/// The kind `slack`.
pub(super) struct Slack {
    url: String,
    link: MessageLink,
    buttons: Buttons,
    services: Services,
}

/// Which webhooks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SlackSettings {
    urls: Vec<Text>,
    click: Option<Text>,
    buttons: Vec<ButtonText>,
}

impl Kind for Slack {
    const WORD: &'static str = "slack";
    const SUMMARY: &'static str = "sends messages to a Slack channel";
    const EXAMPLE: &'static str = r#"notify slack team { url (env)"SLACK_URL" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES, CLICK, BUTTON];
    type Settings = SlackSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<SlackSettings> {
        let urls = Text::read_all(fields, "url")?;
        let bad = urls.iter().filter(|url| !check_url(url, context.diagnostics)).count();
        check_twice(&urls, "webhook", context.diagnostics);
        let (click, buttons) = (link::read(fields), button::read(fields, context));
        (bad == 0).then_some(SlackSettings { urls, click, buttons })
    }

    fn needed(settings: &SlackSettings) -> Vec<Needed> {
        let given = settings.urls.iter().chain(&settings.click).map(Text::needed);
        given.chain(button::needed(&settings.buttons)).collect()
    }
}

impl NotifyKind for Slack {
    fn is_remote(_: &SlackSettings) -> bool {
        true
    }

    fn no_update(_: &SlackSettings) -> Option<NoUpdate> {
        Some(NoUpdate {
            reason: "an incoming webhook cannot change its messages",
            help: "remove it; `cooldown` or `group` sends fewer messages",
        })
    }

    fn recipients(settings: &SlackSettings) -> Vec<SlackSettings> {
        let urls = settings.urls.iter();
        urls.map(|url| SlackSettings { urls: vec![url.clone()], ..settings.clone() }).collect()
    }

    async fn open(
        settings: SlackSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let [url] = &settings.urls[..] else { unreachable!("it is opened for one recipient") };
        Ok(Box::new(Slack {
            url: resolve(&url.setting.value, &services)?,
            link: MessageLink::open(settings.click.as_ref(), &services)?,
            buttons: Buttons::open(&settings.buttons, &services)?,
            services,
        }))
    }
}

impl Notify for Slack {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let call =
            ServiceCall { answers: &ANSWERS, services: &self.services, secrets: &[&self.url] };
        call.send(self.request(notice)).await.map(drop)
    }
}

impl Slack {
    fn request(&self, notice: &Notice) -> FetchRequest {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let link = self.link.web_of(event, &scope);
        let text = mrkdwn(&MessageText::of(notice), link.as_deref(), &self.buttons.of(&scope));
        posting(self.url.clone(), &json!({ "text": text }), notice)
    }
}

/// A bold title that leads to the link, and the message; without a title, the message does.
fn mrkdwn(text: &MessageText, link: Option<&str>, buttons: &[Button]) -> String {
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
    let room = TEXT_LIMIT.beside(&head).beside(&tail);
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
    use crate::notifiers::testing::{body_of, notice, tell};
    use crate::testing::FakeFetch;
    use kernel::fault::FaultClass;

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
}
