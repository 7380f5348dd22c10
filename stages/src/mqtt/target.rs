//! What a sink and a notifier that publish have in common: what is sent where, and how.

use super::connection::OutMessage;
use super::discovery::{DISCOVERY, DeviceSettings, DeviceWriter};
use super::publisher::{Announcements, MessageDraft, NumberedMessage, Publisher};
use super::topic::{TopicError, check_name};
use super::{BROKER, BrokerSettings};
use crate::contract::{Claim, Outgoing, Services};
use crate::request::{Ready, Text, resolve};
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Roots, Scope, Template};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use serde_json::{Value, json};

/// Most messages that are under way together; a broker that takes fewer gets them one after another.
pub(crate) const BATCH_MAX: usize = 256;

/// The nodes of a sink.
pub(crate) const EVENT_NODES: &[&[NodeRow]] = &[
    BROKER,
    &rows(
        &[Arg::one("topic", ValueKind::Template(Roots::EVENT))],
        &[Arg::one("text", ValueKind::Template(Roots::EVENT))],
        "the event as JSON",
    ),
    AVAILABILITY,
    DISCOVERY,
];

/// The nodes of a notifier.
pub(crate) const NOTICE_NODES: &[&[NodeRow]] = &[
    BROKER,
    &rows(
        &[Arg::one("topic", ValueKind::Template(Roots::NOTICE))],
        &[Arg::one("text", ValueKind::Template(Roots::NOTICE))],
        "the event as JSON, with `title` and `message`",
    ),
    AVAILABILITY,
    DISCOVERY,
];

/// What says whether we are there.
const AVAILABILITY: &[NodeRow] = &[NodeRow::new("availability", "a topic on which others see whether the engine is connected: it publishes `online` there, retained, and `offline` when it stops; if it is lost without a goodbye, the broker publishes that")
    .examples(&[
        r#"availability topic="home/engine/status""#,
        r#"availability topic="home/engine/status" online="up" offline="down""#,
    ])
    .props(&[
        Prop::required("topic", ValueKind::Text),
        Prop::new("online", ValueKind::Literal).default("online"),
        Prop::new("offline", ValueKind::Literal).default("offline"),
    ])
    .otherwise("off")];

const HOW: &[Prop] = &[
    Prop::new("qos", ValueKind::Int(0, 2)).default("1"),
    Prop::new("retain", ValueKind::Bool).default("#false"),
];

const fn rows(
    topic: &'static [Arg],
    body: &'static [Arg],
    body_otherwise: &'static str,
) -> [NodeRow; 2] {
    [
        NodeRow::new("topic", "the topic to publish on; `retain` lets the broker keep the newest message of each topic for those who subscribe later, and an empty body removes it")
            .examples(&[
                r#"topic "home/doorbell""#,
                r#"topic "home/{{ event.subject }}/state" qos=2 retain=#true"#,
            ])
            .args(topic)
            .props(HOW)
            .required(),
        NodeRow::new("body", "what to publish")
            .examples(&[r#"body "{{ data.celsius }}""#])
            .args(body)
            .otherwise(body_otherwise),
    ]
}

/// What is published where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PublishSettings {
    broker: BrokerSettings,
    topic: Text,
    qos: u8,
    is_retained: bool,
    pub(crate) body: Option<Text>,
    availability: Option<AvailabilitySettings>,
    devices: Vec<DeviceSettings>,
}

/// Where it is said whether we are there, and how.
#[derive(Debug, Clone, PartialEq)]
struct AvailabilitySettings {
    topic: Text,
    online: String,
    offline: String,
}

/// The same, ready for events.
pub(crate) struct MessageWriter {
    topic: Ready,
    qos: u8,
    is_retained: bool,
    body: Option<Ready>,
    /// Devices that depend on the event.
    devices: Vec<DeviceWriter>,
}

impl PublishSettings {
    pub(crate) fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Self> {
        // All are read before one is unwrapped, so one check reports every mistake.
        let broker = BrokerSettings::read(fields, context);
        let topic = fields.child("topic");
        let text = topic.as_ref().and_then(|topic| read_topic(&topic.arg(0)?, context));
        let availability = match fields.child("availability") {
            Some(it) => AvailabilitySettings::read(&it, context).map(Some),
            None => Some(None),
        };
        let devices = DeviceSettings::read_all(fields, text.as_ref(), context);
        let with = topic?.filled();
        Some(PublishSettings {
            broker: broker?,
            topic: text?,
            availability: availability?,
            devices: devices?,
            qos: with.prop("qos", |scalar| u8::try_from(scalar.int()?.value).ok()),
            is_retained: with.prop("retain", Scalar::boolean),
            body: Text::read_child(fields, "body"),
        })
    }

    pub(crate) fn claims(&self) -> Vec<Spanned<Claim>> {
        self.broker.claims()
    }

    pub(crate) fn needed(&self) -> Vec<Needed> {
        let status = self.availability.iter().map(|it| &it.topic);
        let texts = [&self.topic].into_iter().chain(&self.body).chain(status).map(Text::needed);
        let devices = self.devices.iter().flat_map(DeviceSettings::needed);
        self.broker.needed().into_iter().chain(texts).chain(devices).collect()
    }

    pub(crate) async fn open(
        self,
        services: &Services,
    ) -> Result<(Publisher, MessageWriter), Fault> {
        let (topic, has_body) = (self.topic.open(services)?, self.body.is_some());
        if let Some(topic) = topic.fixed() {
            check_name(topic).map_err(|wrong| unfit(topic, &wrong))?;
        }
        let status =
            self.availability.map(|availability| availability.open(services)).transpose()?;
        let mut announcements = Announcements::default();
        let mut devices = Vec::new();
        for device in self.devices {
            announcements.birth_topics.insert(device.birth_topic());
            let seen = status.as_ref().map(|status| status.config.clone());
            let device = device.open(&topic, has_body, seen, self.qos, services)?;
            match device.is_fixed() {
                true => announcements.always.push(device.message(None)?),
                false => devices.push(device),
            }
        }
        if let Some(OpenAvailability { online, offline, .. }) = status {
            announcements.always.push(online);
            announcements.will = Some(offline);
        }
        let has_one_topic = topic.fixed().is_some();
        let writer = MessageWriter {
            topic,
            qos: self.qos,
            is_retained: self.is_retained,
            body: self.body.as_ref().map(|body| body.open(services)).transpose()?,
            devices,
        };
        let broker = self.broker.open(services).await?;
        Ok((Publisher::new(broker, has_one_topic, announcements, services.clone()), writer))
    }
}

/// What is published of ourselves, and how Home Assistant reads it.
struct OpenAvailability {
    online: OutMessage,
    offline: OutMessage,
    config: Value,
}

impl AvailabilitySettings {
    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Self> {
        let text =
            |name| fields.filled().prop(name, |scalar: &Scalar<'_>| Some(scalar.text()?.value));
        let topic = read_topic(&fields.prop("topic")?, context)?;
        Some(AvailabilitySettings { topic, online: text("online"), offline: text("offline") })
    }

    fn open(self, services: &Services) -> Result<OpenAvailability, Fault> {
        let topic = resolve(&self.topic.setting.value, services)?;
        check_name(&topic).map_err(|wrong| unfit(&topic, &wrong))?;
        let message = |text: &str| OutMessage {
            topic: topic.clone(),
            payload: text.as_bytes().to_vec(),
            qos: 1,
            is_retained: true,
        };
        let (online, offline) = (message(&self.online), message(&self.offline));
        let config = json!({
            "topic": topic,
            "payload_available": self.online,
            "payload_not_available": self.offline,
        });
        Ok(OpenAvailability { online, offline, config })
    }
}

/// Reports a topic on which nothing can be published, as far as the file says it.
pub(super) fn read_topic(scalar: &Scalar<'_>, context: &mut Context<'_>) -> Option<Text> {
    let text = Text::read(scalar)?;
    let Some(topic) = text.setting.value.outline() else { return Some(text) };
    let is_whole = text.setting.value.literal().is_some();
    // What is no template was reported as such.
    let Ok(template) = Template::parse(&topic, Roots::NOTICE) else { return Some(text) };
    // An expression stands for something, as does a variable.
    let fixed = if template.is_literal() {
        topic
    } else {
        template.literals().collect::<Vec<_>>().join("x")
    };
    let fixed = if fixed.is_empty() && !template.is_literal() { "x".to_owned() } else { fixed };
    let Err(TopicError { at, message, label, help }) = check_name(&fixed) else {
        return Some(text);
    };
    let is_exact = is_whole && template.is_literal();
    let at = if is_exact { scalar.part_span(at) } else { scalar.span() };
    context.diagnostics.push(Rule::WrongArgument, message).at(at, label).help(help);
    None
}

fn unfit(topic: &str, wrong: &TopicError) -> Fault {
    let mut shown: String = topic.chars().take(100).collect();
    if shown.len() < topic.len() {
        shown.push('…');
    }
    Fault::permanent(format!("nothing can be published on {shown:?}: {}", wrong.message))
}

impl MessageWriter {
    /// The message about an event; `otherwise` is its content where the file says none.
    pub(crate) fn draft<'o>(
        &self,
        outgoing: &'o Outgoing,
        scope: impl FnOnce() -> Scope<'o>,
        otherwise: impl FnOnce() -> Vec<u8>,
    ) -> MessageDraft {
        let reads_event = self.topic.fixed().is_none() || self.body.is_some();
        let reads_event = reads_event || !self.devices.is_empty();
        let scope = reads_event.then(scope);
        let rendered = |text: &Ready| match (text.fixed(), &scope) {
            (Some(fixed), _) => fixed.to_owned(),
            (None, Some(scope)) => text.render(scope),
            (None, None) => unreachable!("there is a scope where a text reads it"),
        };
        let topic = rendered(&self.topic);
        check_name(&topic).map_err(|wrong| unfit(&topic, &wrong))?;
        let payload = self.body.as_ref().map(|body| rendered(body).into_bytes());
        let message = OutMessage {
            topic,
            payload: payload.unwrap_or_else(otherwise),
            qos: self.qos,
            is_retained: self.is_retained,
        };
        let announced = self.devices.iter().map(|device| device.message(scope.as_ref()));
        let announced = announced.collect::<Result<_, _>>()?;
        Ok(NumberedMessage { pos: outgoing.stored.pos, announced, message })
    }
}
