//! Devices and entities that Home Assistant finds by itself.
//!
//! A device is announced by one retained message on `PREFIX/device/ID/config`, in the form of
//! <https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload>. What is the same
//! for all events is announced at each connection, the rest by the first event that has it.

use super::connection::OutMessage;
use super::target::read_topic;
use super::topic::check_name;
use crate::contract::Services;
use crate::request::{Ready, Text};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::Fault;
use language::diagnostic::Rule;
use language::expr::{Roots, Scope};
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use serde_json::{Map, Value, json};

const TEMPLATE: ValueKind = ValueKind::Template(Roots::EVENT);
/// What an event entity reads where the whole event is published.
const EVENT_VALUE: &str = "{{ {'event_type': value_json.type} | tojson }}";

/// The node that announces a device.
pub(crate) const DISCOVERY: &[NodeRow] = &[NodeRow::new(
    "discovery",
    "announces a device to Home Assistant, with the entities in its block; a device whose id is made of the event is announced when its first event is published",
)
.examples(&[
    r#"discovery "doorbell" name="Doorbell" manufacturer="Own" model="Bell 2" { event ring "door.bell" topic="home/bell" }"#,
    r#"discovery "{{ event.subject }}" prefix="homeassistant" { binary-sensor state }"#,
])
.args(&[Arg::one("id", TEMPLATE)])
.props(&[
    Prop::new("name", TEMPLATE),
    Prop::new("manufacturer", ValueKind::Literal),
    Prop::new("model", ValueKind::Literal),
    Prop::new("prefix", ValueKind::Literal).default("homeassistant"),
])
.children(&[ENTITIES])
.repeated()];

/// Properties of an entity that are texts: Home Assistant's word and ours.
const PROPERTIES: &[(&str, &str)] = &[
    ("value_template", "value"),
    ("payload_on", "on"),
    ("payload_off", "off"),
    ("unit_of_measurement", "unit"),
    ("device_class", "device-class"),
];

const ENTITIES: &[NodeRow] = &[
    NodeRow::new("event", "an entity that shows that something happened: its name, and the event types that it knows. Home Assistant reads them at `event_type` in JSON; without `body` and `value`, it reads the type of the published event")
        .examples(&[
            r#"event ring "door.bell" "door.knock" name="Ring" device-class="doorbell""#,
            r#"event ring "short" topic="home/doorbell" value="{{ value }}""#,
        ])
        .args(&[Arg::one("id", ValueKind::Ident), Arg::some("types", ValueKind::Literal)])
        .props(&[
            Prop::new("name", TEMPLATE),
            Prop::new("topic", TEMPLATE),
            Prop::new("value", ValueKind::Literal),
            Prop::new("device-class", ValueKind::Literal),
        ])
        .repeated(),
    NodeRow::new("binary-sensor", "an entity that is on or off; `on` and `off` are what is published then, or else `ON` and `OFF`, and `value` is a template of Home Assistant that finds it in the message")
        .examples(&[
            r#"binary-sensor motion name="Motion" topic="home/hall" device-class="motion""#,
            r#"binary-sensor running value="{{ value_json.on }}" on="True" off="False""#,
        ])
        .args(&[Arg::one("id", ValueKind::Ident)])
        .props(&[
            Prop::new("name", TEMPLATE),
            Prop::new("topic", TEMPLATE),
            Prop::new("value", ValueKind::Literal),
            Prop::new("on", ValueKind::Literal),
            Prop::new("off", ValueKind::Literal),
            Prop::new("device-class", ValueKind::Literal),
        ])
        .repeated(),
    NodeRow::new("sensor", "an entity with a value")
        .examples(&[
            r#"sensor celsius name="Temperature" unit="°C" device-class="temperature" state-class=measurement"#,
            r#"sensor celsius topic="home/cellar" value="{{ value_json.data.celsius }}""#,
        ])
        .args(&[Arg::one("id", ValueKind::Ident)])
        .props(&[
            Prop::new("name", TEMPLATE),
            Prop::new("topic", TEMPLATE),
            Prop::new("value", ValueKind::Literal),
            Prop::new("unit", ValueKind::Literal),
            Prop::new("device-class", ValueKind::Literal),
            Prop::new("state-class", ValueKind::Word(StateClass::WORDS)),
        ])
        .repeated(),
];

choice! {
    /// What the values of a sensor are to each other.
    enum StateClass {
        /// Each is what was measured.
        Measurement = "measurement",
        /// They are a total that may fall.
        Total = "total",
        /// They are a total that only grows, and begins again at zero.
        TotalIncreasing = "total-increasing",
    }
}

/// A device, as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeviceSettings {
    id: Text,
    name: Option<Text>,
    /// What is the same for all devices that this may be: `manufacturer`, `model`.
    fixed: Map<String, Value>,
    prefix: String,
    entities: Vec<EntitySettings>,
}

#[derive(Debug, Clone, PartialEq)]
struct EntitySettings {
    id: String,
    name: Option<Text>,
    topic: Option<Text>,
    /// The rest, in Home Assistant's words.
    config: Map<String, Value>,
}

/// The same, ready for events.
pub(crate) struct DeviceWriter {
    id: Ready,
    name: Option<Ready>,
    settings: DeviceSettings,
    entities: Vec<(Option<Ready>, Ready)>,
    /// How Home Assistant knows whether we are there.
    availability: Option<Value>,
    qos: u8,
}

impl DeviceSettings {
    /// Reads every `discovery` of a target; `topic` is where it publishes, if that could be read.
    pub(crate) fn read_all(
        fields: &Fields<'_>,
        topic: Option<&Text>,
        context: &mut Context<'_>,
    ) -> Option<Vec<DeviceSettings>> {
        let devices = fields.children("discovery").collect::<Vec<_>>();
        let read = devices.iter().map(|device| DeviceSettings::read(device, topic, context));
        let read: Vec<Option<DeviceSettings>> = read.collect();
        read.into_iter().collect()
    }

    fn read(fields: &Fields<'_>, topic: Option<&Text>, context: &mut Context<'_>) -> Option<Self> {
        let id_scalar = fields.arg(0)?;
        let id = Text::read(&id_scalar)?;
        let is_right = id
            .setting
            .value
            .literal()
            .is_none_or(|literal| literal.contains("{{") || is_id(literal));
        if !is_right {
            wrong_id(&id_scalar, context);
        }
        let text =
            |name: &str| fields.prop(name).and_then(|prop| prop.text()).map(|text| text.value);
        let fixed = ["manufacturer", "model"].into_iter();
        let fixed = fixed.filter_map(|it| Some((it.to_owned(), Value::from(text(it)?)))).collect();
        let mut entities = Vec::new();
        let mut is_whole = is_right;
        for child in fields.block() {
            match EntitySettings::read(&child, &id, topic, context) {
                Some(entity) => {
                    is_whole &= is_new(&entity, &entities, &child, context);
                    entities.push(entity);
                }
                None => is_whole = false,
            }
        }
        if entities.is_empty() && is_whole {
            context
                .diagnostics
                .push(Rule::WrongArgument, "this device has no entities")
                .at(fields.head(), "nothing to show")
                .help("add one: `{ sensor celsius }`, `{ binary-sensor motion }` or `{ event ring \"door.bell\" }`");
            return None;
        }
        let prefix = fields.filled().prop("prefix", |scalar| Some(scalar.text()?.value));
        let name = fields.prop("name").and_then(|prop| Text::read(&prop));
        is_whole.then_some(DeviceSettings { id, name, fixed, prefix, entities })
    }

    pub(crate) fn needed(&self) -> Vec<Needed> {
        let texts = self.entities.iter().flat_map(|entity| entity.name.iter().chain(&entity.topic));
        [&self.id].into_iter().chain(&self.name).chain(texts).map(Text::needed).collect()
    }

    /// Where Home Assistant says that it has started.
    pub(crate) fn birth_topic(&self) -> String {
        format!("{}/status", self.prefix)
    }

    pub(crate) fn open(
        self,
        topic: &Ready,
        has_body: bool,
        availability: Option<Value>,
        qos: u8,
        services: &Services,
    ) -> Result<DeviceWriter, Fault> {
        let mut settings = self;
        for entity in &mut settings.entities {
            if !has_body && entity.config["platform"] == "event" {
                entity.config.entry("value_template").or_insert_with(|| EVENT_VALUE.into());
            }
        }
        let open = |text: &Option<Text>| text.as_ref().map(|text| text.open(services)).transpose();
        let entities = settings.entities.iter().map(|entity| {
            let topic = open(&entity.topic)?.unwrap_or_else(|| topic.clone());
            Ok::<_, Fault>((open(&entity.name)?, topic))
        });
        Ok(DeviceWriter {
            id: settings.id.open(services)?,
            name: open(&settings.name)?,
            entities: entities.collect::<Result<_, _>>()?,
            settings,
            availability,
            qos,
        })
    }
}

impl EntitySettings {
    fn read(
        fields: &Fields<'_>,
        device: &Text,
        topic: Option<&Text>,
        context: &mut Context<'_>,
    ) -> Option<Self> {
        let id = fields.arg(0)?.text()?.value;
        let own_topic = match fields.prop("topic") {
            Some(it) => Some(read_topic(&it, context)?),
            None => None,
        };
        let depends = |text: &Text| {
            text.setting.value.literal().is_some_and(|literal| literal.contains("{{"))
        };
        let is_unclear = own_topic.is_none() && topic.is_some_and(depends) && !depends(device);
        if is_unclear {
            let message = "the topic of this entity depends on the event";
            let help = "add `topic=`, or make the device's id of the event: `discovery \"{{ event.subject }}\"`";
            context
                .diagnostics
                .push(Rule::WrongArgument, message)
                .at(fields.head(), "no `topic=`")
                .help(help);
        }
        let text = |name: &str| Some(fields.prop(name)?.text()?.value);
        let given = PROPERTIES.iter().filter_map(|(key, prop)| Some((*key, text(prop)?)));
        let mut config: Map<String, Value> =
            given.map(|(key, text)| (key.to_owned(), text.into())).collect();
        let class: Option<StateClass> = fields.prop("state-class").and_then(|prop| prop.choice());
        if let Some(class) = class {
            config.insert("state_class".to_owned(), class.word().replace('-', "_").into());
        }
        let platform = fields.name().value.replace('-', "_");
        if platform == "event" {
            let types: Vec<String> =
                fields.args().skip(1).filter_map(|arg| Some(arg.text()?.value)).collect();
            config.insert("event_types".to_owned(), types.into());
        }
        config.insert("platform".to_owned(), platform.into());
        let name = fields.prop("name").and_then(|prop| Text::read(&prop));
        (!is_unclear).then_some(EntitySettings { id, name, topic: own_topic, config })
    }
}

/// Reports an entity whose id another one of the device has.
fn is_new(
    entity: &EntitySettings,
    earlier: &[EntitySettings],
    fields: &Fields<'_>,
    context: &mut Context<'_>,
) -> bool {
    let is_new = earlier.iter().all(|it| it.id != entity.id);
    if !is_new {
        context
            .diagnostics
            .push(Rule::WrongArgument, format!("two entities are called `{}`", entity.id))
            .at(fields.head(), "again")
            .help("give each entity of a device its own name");
    }
    is_new
}

/// Whether Home Assistant takes it as an id in a topic.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_of_id)
}

fn is_of_id(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

fn wrong_id(scalar: &Scalar<'_>, context: &mut Context<'_>) {
    context
        .diagnostics
        .push(Rule::WrongArgument, "Home Assistant does not accept this as an id")
        .at(scalar.span(), "not only letters, digits, `_` and `-`")
        .help("write an id such as `garden-pump`; `name=` says how it is shown");
}

impl DeviceWriter {
    /// Whether it is the same for every event.
    pub(crate) fn is_fixed(&self) -> bool {
        let texts = self.entities.iter().flat_map(|entity| entity.0.iter().chain([&entity.1]));
        [&self.id].into_iter().chain(&self.name).chain(texts).all(|it| it.fixed().is_some())
    }

    /// What announces it; without a scope for one that is the same for every event.
    pub(crate) fn message(&self, scope: Option<&Scope<'_>>) -> Result<OutMessage, Fault> {
        let text = |text: &Ready| match (text.fixed(), scope) {
            (Some(fixed), _) => fixed.to_owned(),
            (None, Some(scope)) => text.render(scope),
            (None, None) => unreachable!("only a fixed device can be announced without an event"),
        };
        let shown = text(&self.id);
        let id: String = shown.chars().map(|it| if is_of_id(it) { it } else { '_' }).collect();
        if id.is_empty() {
            return Err(Fault::permanent("the id of the device to announce is empty"));
        }
        let mut device = self.settings.fixed.clone();
        device.insert("identifiers".to_owned(), json!([id]));
        device.insert("name".to_owned(), self.name.as_ref().map_or(shown, text).into());
        let mut components = Map::new();
        for (entity, (name, topic)) in self.settings.entities.iter().zip(&self.entities) {
            let mut config = entity.config.clone();
            config.insert("unique_id".to_owned(), format!("{id}_{}", entity.id).into());
            config.insert("state_topic".to_owned(), text(topic).into());
            let name = name.as_ref().map(text);
            config.insert("name".to_owned(), name.unwrap_or_else(|| readable(&entity.id)).into());
            components.insert(entity.id.clone(), config.into());
        }
        let mut payload = json!({
            "device": device,
            "origin": { "name": "engine", "sw_version": env!("CARGO_PKG_VERSION") },
            "components": components,
            "qos": self.qos,
        });
        if let Some(availability) = &self.availability {
            payload["availability"] = json!([availability]);
        }
        let topic = format!("{}/device/{id}/config", self.settings.prefix);
        check_name(&topic).map_err(|wrong| Fault::permanent(wrong.message))?;
        let payload = payload.to_string().into_bytes();
        Ok(OutMessage { topic, payload, qos: 1, is_retained: true })
    }
}

/// An id as people read it: `garden-pump` is "Garden pump".
fn readable(id: &str) -> String {
    let text = id.replace('-', " ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |letter| letter.to_uppercase().chain(letters).collect())
}
