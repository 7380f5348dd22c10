//! Sends push notifications to phones through an ntfy server.
//!
//! Publishes JSON to the server's own address: the title may be any text, and the topic, which
//! is as good as a password, stands in no URL.

use crate::contract::{DynNotify, Kind, Notice, Notify, NotifyKind, Services};
use crate::request::{Ready, Text, check_url, resolve};
use kernel::event::Priority;
use kernel::fault::Fault;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::{Expr, Roots, Scope, percent_encoded};
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, ValueKind};
use serde_json::json;
use wire::{FetchRequest, answer};

const LEVELS: &[&str] = &["min", "low", "default", "high", "max"];

/// The answer to a published message is short; more is not looked at.
const ANSWER_MAX: usize = 64 << 10;

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
    NodeRow::new("click", "the URL that a tap opens")
        .examples(&[r#"click "{{ server.public_url }}/""#])
        .args(&[Arg::one("url", ValueKind::Template(Roots::EVENT))])
        .otherwise("the event's page"),
    NodeRow::new("level", "the ntfy priority")
        .examples(&["level high", r#"level from="event.priority == 'critical' ? 'max' : 'low'""#])
        .args(&[Arg::optional("level", ValueKind::Word(LEVELS))])
        .props(&[Prop::new("from", ValueKind::Expr(Roots::EVENT))])
        .otherwise("from the event's priority"),
];

/// The kind `ntfy`.
pub(super) struct Ntfy {
    url: String,
    topic: String,
    token: String,
    click: Option<Ready>,
    level: Level,
    services: Services,
}

/// Where to publish.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    url: Text,
    topics: Vec<Text>,
    token: Option<Text>,
    click: Option<Text>,
    level: Level,
}

#[derive(Debug, Clone, PartialEq)]
enum Level {
    Fixed(u8),
    From(Expr),
    Priority,
}

impl Kind for Ntfy {
    const WORD: &'static str = "ntfy";
    const SUMMARY: &'static str = "sends push notifications to phones through an ntfy server";
    const EXAMPLE: &'static str =
        r#"notify ntfy family { topic (env)"NTFY_TOPIC"; title "Someone rings" }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let text = |name: &str| Text::read(&fields.child(name)?.arg(0)?);
        let url = fields.setting("url").arg(0, Text::read);
        let is_http = check_url(&url, context.diagnostics);
        let level = match fields.child("level") {
            Some(it) => match (it.arg(0), it.prop("from")) {
                (Some(word), _) => Level::Fixed(number_of(&word.text()?.value)?),
                (None, Some(from)) => Level::From(from.expr(Roots::EVENT)?.value),
                (None, None) => Level::Priority,
            },
            None => Level::Priority,
        };
        let topics: Option<Vec<Text>> =
            fields.child("topic")?.args().map(|it| Text::read(&it)).collect();
        let topics = topics?;
        check_topics(&url, &topics, context.diagnostics);
        is_http.then(|| Settings { url, topics, token: text("token"), click: text("click"), level })
    }

    fn needed(settings: &Settings) -> Vec<Needed> {
        let given = std::iter::once(&settings.url).chain(&settings.topics);
        given.chain(&settings.token).chain(&settings.click).map(Text::needed).collect()
    }
}

/// On the public server a topic is as good as a password; on one's own it is a name.
fn check_topics(url: &Text, topics: &[Text], diagnostics: &mut Diagnostics) {
    for (at, topic) in topics.iter().enumerate() {
        let (value, span) = (&topic.setting.value, &topic.setting.span);
        if topics[..at].iter().any(|it| it.setting.value == *value) {
            diagnostics
                .push(Rule::SamePath, "this topic is given twice")
                .at(span.clone(), "the second one")
                .help("keep one of the two");
        }
    }
    let is_public = url.setting.value.literal().is_some_and(|it| {
        let host = it.split("://").nth(1).unwrap_or_default();
        let host = host.split(['/', ':', '?', '#']).next().unwrap_or_default();
        host.eq_ignore_ascii_case("ntfy.sh") || host.to_ascii_lowercase().ends_with(".ntfy.sh")
    });
    let is_literal = |it: &&Text| it.setting.value.literal().is_some_and(|topic| !topic.is_empty());
    for topic in topics.iter().filter(is_literal).filter(|_| is_public) {
        diagnostics
            .push(Rule::LiteralSecret, "on ntfy.sh, a topic is as good as a password")
            .at(topic.setting.span.clone(), "committed with the file")
            .help("write `(env)\"NTFY_TOPIC\"`");
    }
}

/// 1 to 5, as ntfy counts; of a priority's word too.
fn number_of(word: &str) -> Option<u8> {
    match word {
        "min" => Some(1),
        "low" => Some(2),
        "default" | "normal" => Some(3),
        "high" => Some(4),
        "max" | "critical" => Some(5),
        _ => None,
    }
}

impl NotifyKind for Ntfy {
    fn is_remote(_: &Settings) -> bool {
        true
    }

    fn recipients(settings: &Settings) -> Vec<Settings> {
        let topics = settings.topics.iter();
        topics.map(|it| Settings { topics: vec![it.clone()], ..settings.clone() }).collect()
    }

    async fn open(settings: Settings, services: Services) -> Result<Box<dyn DynNotify>, Fault> {
        let [topic] = &settings.topics[..] else { unreachable!("it is opened for one recipient") };
        let token = settings.token.as_ref().map(|it| resolve(&it.setting.value, &services));
        Ok(Box::new(Ntfy {
            url: resolve(&settings.url.setting.value, &services)?,
            topic: resolve(&topic.setting.value, &services)?,
            token: token.transpose()?.unwrap_or_default(),
            click: settings.click.as_ref().map(|it| it.open(&services)).transpose()?,
            level: settings.level,
            services,
        }))
    }
}

impl Notify for Ntfy {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let answer = self.services.fetch.fetch(self.request(notice)).await?;
        answer::settled(&answer, self.services.env.clock.wall())
    }
}

impl Ntfy {
    fn request(&self, notice: &Notice) -> FetchRequest {
        let event = notice.outgoing.event();
        let scope = Scope::of(event, self.services.env.clock.wall());
        let mut body = json!({
            "topic": self.topic,
            "title": notice.title,
            "message": notice.message,
            "priority": self.level(event.envelope.priority, &scope),
        });
        let page = event.globals.server.get("public_url").and_then(|it| it.as_str());
        let click = match &self.click {
            Some(click) => Some(click.render(&scope)),
            None => page.map(|it| format!("{it}/events/{}", percent_encoded(&event.envelope.id))),
        };
        if let Some(click) = click.filter(|it| !it.is_empty()) {
            body["click"] = click.into();
        }
        let mut headers = vec![
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Idempotency-Key".to_owned(), notice.outgoing.key.clone()),
        ];
        if !self.token.is_empty() {
            headers.push(("Authorization".to_owned(), format!("Bearer {}", self.token)));
        }
        FetchRequest {
            method: "POST",
            url: self.url.clone(),
            headers,
            body: Some(body.to_string().into_bytes()),
            timeout: notice.outgoing.timeout,
            body_max: ANSWER_MAX,
        }
    }

    fn level(&self, priority: Priority, scope: &Scope<'_>) -> u8 {
        let by_priority = || number_of(priority.word()).unwrap_or(3);
        match &self.level {
            Level::Fixed(number) => *number,
            Level::From(expr) => number_of(&expr.eval(scope).text()).unwrap_or_else(by_priority),
            Level::Priority => by_priority(),
        }
    }
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
            "click": "http://127.0.0.1:8600/events/e-1",
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
}
