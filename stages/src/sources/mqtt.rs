//! Receives events from an MQTT broker.
//!
//! A message is acknowledged after the commit of its event, so the broker keeps what we have not
//! got. What is read together is committed together; nothing is read while the store writes, so a
//! flood waits at the broker.
//!
//! *Invariant:* nothing is acknowledged that is not committed.

mod session;

use super::lines::Codec;
use crate::contract::{
    Brings, Claim, Closed, Emit, Kind, Message, OpenSource, Services, Source, SourceKind,
};
use crate::mqtt::connection::{BrokerLink, Hello, Packet, Publish, Subscription};
use crate::mqtt::topic::{TopicError, TopicFilter};
use crate::mqtt::{BROKER, Broker, BrokerSettings, connected, disconnected};
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::{Cause, Fault, FaultClass};
use kernel::health::HealthProblem;
use language::diagnostic::{Diagnostics, Rule};
use language::expr::ValueType;
use language::literal::literal;
use language::spanned::Spanned;
use language::{Arg, Context, Fields, Needed, NodeRow, Prop, Scalar, ValueKind};
use serde_json::{Value, json};
use session::{Row, SessionMemory, print_of};
use smol::future::or;
use std::collections::BTreeMap;
use std::time::Duration;

/// Most messages of one commit.
const BATCH_MAX: usize = 1024;
/// More bytes than this are not read for one commit.
const BATCH_BYTES: usize = 1 << 20;
/// The wait before the second attempt to connect; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one.
const STEADY: Duration = Duration::from_secs(10);
/// A filter that the broker refused is asked for again after this.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// How long it is shown that the broker has lost the session.
const LOST_SHOWN: Duration = Duration::from_secs(60);

const REFUSED: &str = "subscription-refused";
const SESSION_LOST: &str = "session-lost";

choice! {
    /// What becomes of a message that the broker had kept on its topic.
    enum Retained {
        /// It is an event like any other.
        Deliver = "deliver",
        /// It is not.
        Ignore = "ignore",
    }
}

choice! {
    /// Whether the broker keeps what comes while we are away.
    enum SessionMode {
        /// It does.
        Persistent = "persistent",
        /// It does not.
        Clean = "clean",
    }
}

choice! {
    /// What a message is.
    enum PayloadForm {
        /// One JSON value.
        Json = "json",
        /// Text as it is.
        Text = "text",
    }
}

const NODES: &[NodeRow] = &[
    NodeRow::new("topic", "a topic to subscribe to; `+` takes one level, `+name` gives it a name for `mqtt.params.name`, `#` takes all that is below; `$share/GROUP/…` shares its messages with other clients of the group")
        .examples(&[
            r#"topic "frigate/events" qos=1"#,
            r#"topic "zigbee/+device/state" qos=1 retained=ignore"#,
            r##"topic "$share/engines/sensors/#""##,
        ])
        .args(&[Arg::one("filter", ValueKind::Literal)])
        .props(&[
            Prop::new("qos", ValueKind::Int(0, 2)).default("1"),
            Prop::new("retained", ValueKind::Word(Retained::WORDS)).default("deliver"),
        ])
        .required()
        .repeated(),
    NodeRow::new("session", "`persistent`: the broker keeps messages for up to `expiry` while the engine is away; `clean`: it does not")
        .examples(&["session clean", r#"session persistent expiry="30d""#])
        .args(&[Arg::one("mode", ValueKind::Word(SessionMode::WORDS))])
        .props(&[Prop::new("expiry", ValueKind::Duration(Duration::from_secs(60), Duration::from_secs(3650 * 86_400))).default("\"7d\"")])
        .default("persistent"),
    NodeRow::new("max-packet", "a larger message ends the connection; a broker that speaks MQTT 5 does not send it")
        .examples(&[r#"max-packet "1MiB""#])
        .args(&[Arg::one("size", ValueKind::Bytes(1 << 10, 256 << 20))])
        .default("\"16MiB\""),
    NodeRow::new("decode", "what a message is: one JSON value, or text as it is")
        .examples(&["decode text"])
        .args(&[Arg::one("form", ValueKind::Word(PayloadForm::WORDS))])
        .default("json"),
];

/// The kind `mqtt`.
pub(super) struct MqttSource {
    broker: Broker,
    settings: MqttSourceSettings,
    services: Services,
}

/// What is read from where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MqttSourceSettings {
    broker: BrokerSettings,
    topics: Vec<Topic>,
    /// How long the broker keeps the session; zero for a clean one.
    session: Duration,
    packet_max: u32,
    form: PayloadForm,
}

/// One filter of the file.
#[derive(Debug, Clone, PartialEq)]
struct Topic {
    filter: TopicFilter,
    qos: u8,
    retained: Retained,
}

impl Kind for MqttSource {
    const WORD: &'static str = "mqtt";
    const SUMMARY: &'static str = "receives events from an MQTT broker";
    const EXAMPLE: &'static str = r#"source mqtt home {
    url "mqtt://127.0.0.1:1883"
    topic "frigate/events"
}"#;
    const NODES: &'static [&'static [NodeRow]] = &[BROKER, NODES];
    type Settings = MqttSourceSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<MqttSourceSettings> {
        // All are read before one is unwrapped, so one check reports every mistake.
        let broker = BrokerSettings::read(fields, context);
        let topics = read_topics(fields, context.diagnostics);
        let session = fields.setting("session");
        let mode: SessionMode = session.arg(0, Scalar::choice);
        let expiry = session.prop("expiry", |scalar| Some(scalar.duration()?.value));
        let given = fields.child("session").and_then(|child| child.prop("expiry"));
        if let Some(given) = given.filter(|_| mode == SessionMode::Clean) {
            context
                .diagnostics
                .push(Rule::WrongArgument, "`expiry` has no effect on a clean session")
                .at(given.span(), "not used")
                .help("write `session persistent`, or remove `expiry=`");
        }
        let packet_max = fields.setting("max-packet").arg(0, |scalar| Some(scalar.bytes()?.value));
        Some(MqttSourceSettings {
            broker: broker?,
            topics: topics?,
            session: if mode == SessionMode::Clean { Duration::ZERO } else { expiry },
            packet_max: u32::try_from(packet_max).unwrap_or(u32::MAX),
            form: fields.setting("decode").arg(0, Scalar::choice),
        })
    }

    fn needed(settings: &MqttSourceSettings) -> Vec<Needed> {
        settings.broker.needed()
    }

    fn claims(settings: &MqttSourceSettings) -> Vec<Spanned<Claim>> {
        settings.broker.claims()
    }
}

fn read_topics(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Topic>> {
    let mut topics: Vec<Spanned<Topic>> = Vec::new();
    let mut is_right = true;
    for child in fields.children("topic") {
        match read_topic(&child, diagnostics) {
            Some(topic) => {
                is_right &= !overlaps(&topics, &topic, diagnostics);
                topics.push(topic);
            }
            None => is_right = false,
        }
    }
    (is_right && !topics.is_empty()).then(|| topics.into_iter().map(|topic| topic.value).collect())
}

fn read_topic(child: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<Spanned<Topic>> {
    let scalar = child.arg(0)?;
    let text = literal(&scalar, diagnostics)?;
    let filter = match TopicFilter::parse(&text.value) {
        Ok(filter) => filter,
        Err(TopicError { at, message, label, help }) => {
            let at = scalar.part_span(at);
            diagnostics.push(Rule::WrongArgument, message).at(at, label).help(help);
            return None;
        }
    };
    let with = child.filled();
    let qos = with.prop("qos", |scalar| u8::try_from(scalar.int()?.value).ok());
    let retained = with.prop("retained", Scalar::choice);
    Some(Spanned::new(Topic { filter, qos, retained }, text.span))
}

/// Reports a filter that takes what another takes: brokers send such a message once for each.
fn overlaps(
    earlier: &[Spanned<Topic>],
    topic: &Spanned<Topic>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let filter = &topic.value.filter;
    // Messages of a group go to one of its clients, whatever others have subscribed.
    let both = |spanned: &&Spanned<Topic>| {
        spanned.value.filter.is_shared() == filter.is_shared()
            && spanned.value.filter.overlaps(filter)
    };
    let Some(other) = earlier.iter().find(both) else { return false };
    diagnostics
        .push(Rule::WrongArgument, "two topics of this source overlap")
        .at(topic.span.clone(), "matches messages that the other one matches")
        .at(other.span.clone(), "the other one")
        .help("remove one of them: a broker may send such a message twice");
    true
}

impl SourceKind for MqttSource {
    fn brings(settings: &MqttSourceSettings) -> Brings {
        let filters = settings.topics.iter().map(|topic| &topic.filter);
        let single: Option<Vec<String>> = filters.clone().map(TopicFilter::single).collect();
        let topic = match &single {
            Some(topics) => ValueType::one_of(topics.iter().map(String::as_str)),
            None => ValueType::text(),
        };
        // A level that not every filter has may be missing.
        let all = settings.topics.len();
        let named = |name: &str| {
            filters.clone().filter(|filter| filter.names().any(|it| it == name)).count()
        };
        let names = filters.clone().flat_map(TopicFilter::names);
        let params = names.map(|name| match named(name) == all {
            true => (name, ValueType::text()),
            false => (name, ValueType::text().or_null()),
        });
        let mqtt = ValueType::map([
            ("topic", topic),
            ("topic_parts", ValueType::list(ValueType::text())),
            ("params", ValueType::map(params)),
            ("qos", ValueType::number()),
            ("retain", ValueType::bool()),
        ]);
        let message = match settings.form {
            PayloadForm::Json => ValueType::any(),
            PayloadForm::Text => ValueType::text(),
        };
        Brings { mqtt: Some(mqtt), has_subject: true, ..Brings::message(message) }
    }

    fn is_text(settings: &MqttSourceSettings) -> bool {
        settings.form == PayloadForm::Text
    }

    fn ends(_: &MqttSourceSettings) -> bool {
        false
    }

    fn says(settings: &MqttSourceSettings) -> String {
        let filters: Vec<String> =
            settings.topics.iter().map(|topic| topic.filter.text()).collect();
        match &filters[..] {
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
            [] => String::new(),
        }
    }

    fn on_topic(
        settings: &MqttSourceSettings,
        topic: Option<&str>,
        body: &[u8],
    ) -> Option<Result<Message, String>> {
        let single = match &settings.topics[..] {
            [only] => only.filter.single(),
            _ => None,
        };
        let topic = topic.map(str::to_owned).or(single);
        let Some(topic) = topic else {
            return Some(Err("which topic does it come on?".to_owned()));
        };
        let Some(index) = settings.taking(&topic) else {
            return Some(Err(format!("no `topic` of this source matches `{topic}`")));
        };
        let qos = settings.topics[index].qos;
        Some(Ok(settings.message(index, &topic, body, qos, false)))
    }

    async fn open(settings: MqttSourceSettings, services: Services) -> Result<OpenSource, Fault> {
        let broker = settings.broker.clone().open(&services).await?;
        Ok(OpenSource::Task(Box::new(MqttSource { broker, settings, services })))
    }
}

impl MqttSourceSettings {
    /// The first filter that takes a topic.
    fn taking(&self, topic: &str) -> Option<usize> {
        self.topics.iter().position(|it| it.filter.params(topic).is_some())
    }

    /// What came on a topic, as a message.
    fn message(
        &self,
        index: usize,
        topic: &str,
        body: &[u8],
        qos: u8,
        is_retained: bool,
    ) -> Message {
        let params = self.topics[index].filter.params(topic).unwrap_or_default();
        let parts: Vec<&str> = topic.split('/').collect();
        let mqtt = json!({
            "topic": topic,
            "topic_parts": parts,
            "params": params,
            "qos": qos,
            "retain": is_retained,
        });
        let codec = match self.form {
            PayloadForm::Json => Codec::Json,
            PayloadForm::Text => Codec::Raw,
        };
        let message = codec.message(body, false).unwrap_or_else(|| self.empty(body));
        Message { mqtt: Some(mqtt), subject: Some(topic.into()), ..message }
    }

    /// A message without content: that it came is what it says.
    fn empty(&self, body: &[u8]) -> Message {
        let decoded = match self.form {
            PayloadForm::Json => Value::Null,
            PayloadForm::Text => Value::from(""),
        };
        Message { body: body.to_vec(), decoded: Some(decoded), ..Message::default() }
    }
}

/// Why a connection ends.
enum LinkEnd {
    /// It is time to stop.
    Closed,
    Fault(Fault),
}

impl From<Closed> for LinkEnd {
    fn from(_: Closed) -> Self {
        LinkEnd::Closed
    }
}

impl From<Fault> for LinkEnd {
    fn from(fault: Fault) -> Self {
        LinkEnd::Fault(fault)
    }
}

impl Source for MqttSource {
    async fn run(&mut self, emit: &dyn Emit) -> Result<(), Fault> {
        // What was wrong with settings of before is not wrong with these.
        self.services.health.clear_all();
        let Ok(rows) = emit.recall().await else { return Ok(()) };
        let owner = format!("{} {}", self.broker.shown, self.broker.client_id);
        let mut memory = SessionMemory::of(&rows, owner);
        let mut wait = RETRY_MIN;
        loop {
            let began = self.now();
            let fault = match self.connected(&mut memory, emit).await {
                LinkEnd::Closed => return Ok(()),
                LinkEnd::Fault(fault) => fault,
            };
            if began + STEADY <= self.now() {
                wait = RETRY_MIN;
            }
            self.complain(&fault, wait);
            let pause = self.services.env.clock.sleep(wait.mul_f64(self.jitter()));
            let closed = async {
                emit.closed().await;
                true
            };
            let paused = async {
                pause.await;
                false
            };
            if or(closed, paused).await {
                return Ok(());
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }
}

impl MqttSource {
    fn now(&self) -> Duration {
        self.services.env.clock.monotonic()
    }

    /// So that clients that lost the same broker do not come back at the same moment.
    fn jitter(&self) -> f64 {
        0.5 + self.services.env.random.ratio() / 2.0
    }

    fn complain(&self, fault: &Fault, wait: Duration) {
        let advice = match (fault.class, fault.cause) {
            (FaultClass::Configuration, _) => {
                "correct `username`, `password`, `client-id` or `tls`"
            }
            (_, Cause::Connect | Cause::Timeout) => "check the broker and the network",
            _ => "check the broker",
        };
        let shown = kernel::time::write_duration(wait);
        let reason = format!("{}; the next attempt is within {shown}", fault.reason);
        disconnected(&self.services.health, fault, reason, advice);
    }

    /// One connection, from the first byte to its end.
    async fn connected(&self, memory: &mut SessionMemory, emit: &dyn Emit) -> LinkEnd {
        let (session, packet_max) = (self.settings.session, self.settings.packet_max);
        let hello = Hello { session, packet_max, will: None };
        let connect =
            async { Ok(BrokerLink::connect(&self.broker, &hello, &self.services).await?) };
        let closed = async {
            emit.closed().await;
            Err(LinkEnd::Closed)
        };
        let link = match or(closed, connect).await {
            Ok(link) => link,
            Err(end) => return end,
        };
        let mut run = LinkRun::new(self, link, memory, emit);
        match run.run().await {
            Ok(never) => match never {},
            Err(LinkEnd::Closed) => {
                run.link.close().await;
                LinkEnd::Closed
            }
            Err(end) => end,
        }
    }
}

/// A connection at work.
struct LinkRun<'a> {
    source: &'a MqttSource,
    link: BrokerLink,
    memory: &'a mut SessionMemory,
    emit: &'a dyn Emit,
    /// Filters that the broker has been asked for, as long as it has not answered.
    asked: Vec<usize>,
    /// Filters that it refused, and when to ask again.
    refused: Option<(Vec<usize>, Duration)>,
    /// When it is no longer shown that the session was lost.
    lost_until: Option<Duration>,
}

/// What never is.
enum MqttSourceNever {}

/// What is committed together.
#[derive(Default)]
struct MessageBatch {
    messages: Vec<Message>,
    bytes: usize,
    /// What is acknowledged after the commit: QoS and number.
    acknowledged: Vec<(u8, u16)>,
    prints: Vec<(u16, u64)>,
}

impl<'a> LinkRun<'a> {
    fn new(
        source: &'a MqttSource,
        link: BrokerLink,
        memory: &'a mut SessionMemory,
        emit: &'a dyn Emit,
    ) -> Self {
        let (asked, refused, lost_until) = (Vec::new(), None, None);
        LinkRun { source, link, memory, emit, asked, refused, lost_until }
    }

    fn now(&self) -> Duration {
        self.source.now()
    }

    async fn run(&mut self) -> Result<MqttSourceNever, LinkEnd> {
        self.begin().await?;
        if self.asked.is_empty() {
            connected(&self.source.services.health);
        }
        loop {
            let mut batch = MessageBatch::default();
            for packet in self.next().await? {
                self.take(packet, &mut batch).await?;
            }
            // What has arrived meanwhile shares the commit.
            while !batch.is_full() {
                let more = self.link.read_now()?;
                if more.is_empty() {
                    break;
                }
                for packet in more {
                    self.take(packet, &mut batch).await?;
                }
            }
            self.commit(batch).await?;
        }
    }

    /// Finds out what the broker still has of us, and asks for what it lacks.
    async fn begin(&mut self) -> Result<(), LinkEnd> {
        let is_kept = !self.source.settings.session.is_zero();
        if self.link.has_session && self.memory.is_known() {
            self.source.services.health.clear(SESSION_LOST);
            self.memory.resume();
        } else {
            if is_kept && self.memory.is_known() {
                let reason = format!(
                    "the broker has lost the session of `{}`: messages sent in the meantime are missing",
                    self.source.broker.client_id
                );
                let problem = HealthProblem::degraded(SESSION_LOST, reason);
                let advice = "let the broker store sessions (mosquitto: `persistence true`)";
                self.source.services.health.report(problem.advise(advice));
                self.lost_until = Some(self.now() + LOST_SHOWN);
            }
            let rows = self.memory.begin();
            self.remember(rows).await?;
        }
        let known = self.memory.subscribed();
        let topics = &self.source.settings.topics;
        let gone: Vec<String> = known
            .keys()
            .filter(|key| !topics.iter().any(|topic| topic.filter.text() == **key))
            .cloned()
            .collect();
        if !gone.is_empty() {
            self.link.unsubscribe(&gone)?;
        }
        let is_new = |topic: &Topic| known.get(&topic.filter.text()) != Some(&topic.qos);
        let wanted = (0..topics.len()).filter(|index| is_new(&topics[*index])).collect();
        self.ask(wanted)?;
        if !gone.is_empty() && self.asked.is_empty() {
            let rows = self.memory.subscribe(self.wanted(&[]));
            self.remember(rows).await?;
        }
        Ok(())
    }

    fn ask(&mut self, wanted: Vec<usize>) -> Result<(), LinkEnd> {
        if wanted.is_empty() {
            return Ok(());
        }
        let topics = &self.source.settings.topics;
        let subscription = |index: &usize| Subscription {
            filter: topics[*index].filter.text(),
            qos: topics[*index].qos,
            takes_retained: topics[*index].retained == Retained::Deliver,
        };
        let subscriptions: Vec<Subscription> = wanted.iter().map(subscription).collect();
        self.link.subscribe(&subscriptions)?;
        self.asked = wanted;
        Ok(())
    }

    /// Every filter but these, with its QoS.
    fn wanted(&self, without: &[usize]) -> BTreeMap<String, u8> {
        let topics = self.source.settings.topics.iter().enumerate();
        let topics = topics.filter(|topic| !without.contains(&topic.0));
        topics.map(|(_, it)| (it.filter.text(), it.qos)).collect()
    }

    /// Waits for packets; asks again meanwhile for what was refused.
    async fn next(&mut self) -> Result<Vec<Packet>, LinkEnd> {
        loop {
            let now = self.now();
            let clock = self.source.services.env.clock.clone();
            let again = self.refused.as_ref().map(|refused| refused.1);
            let wake = [again, self.lost_until].into_iter().flatten().min();
            let timer = async {
                match wake {
                    Some(at) => clock.sleep(at.saturating_sub(now)).await,
                    None => std::future::pending().await,
                }
                Ok(None)
            };
            let closed = async {
                self.emit.closed().await;
                Err(LinkEnd::Closed)
            };
            let read = async { Ok(Some(self.link.read().await?)) };
            if let Some(packets) = or(closed, or(read, timer)).await? {
                return Ok(packets);
            }
            self.wake()?;
        }
    }

    fn wake(&mut self) -> Result<(), LinkEnd> {
        let now = self.now();
        if self.lost_until.is_some_and(|it| it <= now) {
            self.lost_until = None;
            self.source.services.health.clear(SESSION_LOST);
        }
        if let Some((refused, _)) = self.refused.take_if(|refused| refused.1 <= now) {
            self.ask(refused)?;
        }
        Ok(())
    }

    async fn take(&mut self, packet: Packet, batch: &mut MessageBatch) -> Result<(), LinkEnd> {
        match packet {
            Packet::Message(message) => {
                if batch.is_full() {
                    let full = std::mem::take(batch);
                    self.commit(full).await?;
                }
                self.take_message(&message, batch);
            }
            Packet::Released(id) => self.link.complete(id)?,
            Packet::Subscribed(results) => self.subscribed(results).await?,
            // Nothing is published here.
            Packet::Unsubscribed | Packet::Published(..) | Packet::Received(_) => {}
        }
        Ok(())
    }

    fn take_message(&mut self, message: &Publish, batch: &mut MessageBatch) {
        batch.acknowledged.extend(message.id.map(|id| (message.qos, id)));
        if self.memory.is_committed(message) {
            return;
        }
        let settings = &self.source.settings;
        // The broker may still have messages of a topic that the file does not name any more.
        let Some(index) = settings.taking(&message.topic) else { return };
        if message.is_retained && settings.topics[index].retained == Retained::Ignore {
            return;
        }
        let body = message.payload.as_slice();
        batch.bytes += body.len();
        let (topic, qos) = (&message.topic, message.qos);
        batch.messages.push(settings.message(index, topic, body, qos, message.is_retained));
        if !settings.session.is_zero() {
            batch.prints.extend(print_of(message));
        }
    }

    /// The broker has answered for each filter that it was asked for.
    async fn subscribed(&mut self, results: Vec<Result<(), String>>) -> Result<(), LinkEnd> {
        let asked = std::mem::take(&mut self.asked);
        let health = &self.source.services.health;
        connected(health);
        let mut refused = Vec::new();
        for (index, result) in asked.into_iter().zip(results) {
            let filter = self.source.settings.topics[index].filter.text();
            match result {
                Ok(()) => health.clear_about(REFUSED, &filter),
                Err(reason) => {
                    let reason = format!("the broker refused the topic `{filter}`: {reason}");
                    let problem = HealthProblem::degraded(REFUSED, reason).about(filter);
                    health
                        .report(problem.advise(
                            "allow the user to read it; it is requested again each minute",
                        ));
                    refused.push(index);
                }
            }
        }
        let topics = self.wanted(&refused);
        self.refused = (!refused.is_empty()).then(|| (refused, self.now() + REFUSED_AGAIN));
        if self.source.settings.session.is_zero() {
            return Ok(());
        }
        let rows = self.memory.subscribe(topics);
        self.remember(rows).await
    }

    async fn remember(&mut self, rows: Vec<Row>) -> Result<(), LinkEnd> {
        if rows.is_empty() {
            return Ok(());
        }
        self.emit_tended(Vec::new(), rows).await
    }

    async fn commit(&mut self, batch: MessageBatch) -> Result<(), LinkEnd> {
        let MessageBatch { messages, acknowledged, prints, .. } = batch;
        if !messages.is_empty() {
            let rows = self.memory.commit(prints);
            self.emit_tended(messages, rows).await?;
        }
        for (qos, id) in acknowledged {
            self.link.acknowledge(qos, id)?;
        }
        self.link.queue_replies();
        Ok(())
    }

    /// Hands on, and keeps the connection alive while the store takes its time.
    async fn emit_tended(&mut self, messages: Vec<Message>, rows: Vec<Row>) -> Result<(), LinkEnd> {
        let emission = async { Ok(self.emit.emit(messages, rows).await?) };
        let tended = async {
            self.link.tend().await;
            // What is broken shows when it is read next; the commit is not given up for it.
            std::future::pending().await
        };
        or(emission, tended).await
    }
}

impl MessageBatch {
    fn is_full(&self) -> bool {
        BATCH_MAX <= self.messages.len()
            || BATCH_MAX <= self.acknowledged.len()
            || BATCH_BYTES <= self.bytes
    }
}
