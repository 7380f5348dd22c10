//! Publishes each event on a topic of an MQTT broker.

use super::file::line_of;
use super::sse::{REDACT, read_redact};
use crate::contract::{Claim, Deliver, DynDeliver, Kind, Outgoing, Services, SinkKind, SinkRole};
use crate::mqtt::publisher::{MessageDraft, Publisher};
use crate::mqtt::target::{self, EVENT_NODES, MessageWriter, PublishSettings};
use kernel::env::Pending;
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::diagnostic::Rule;
use language::expr::Scope;
use language::spanned::Spanned;
use language::{Context, Fields, Needed, NodeRow};

/// The kind `mqtt`.
pub(super) struct MqttSink {
    publisher: Publisher,
    writer: MessageWriter,
    redact: Vec<Vec<String>>,
    services: Services,
}

/// What is published, and what of an event is not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MqttSinkSettings {
    publish: PublishSettings,
    redact: Vec<Vec<String>>,
}

impl Kind for MqttSink {
    const WORD: &'static str = "mqtt";
    const SUMMARY: &'static str = "publishes each event on a topic of an MQTT broker";
    const EXAMPLE: &'static str = r#"sink mqtt house {
    url "mqtt://127.0.0.1:1883"
    topic "house/{{ event.subject }}/state" retain=#true
}"#;
    const NODES: &'static [&'static [NodeRow]] =
        &[EVENT_NODES[0], EVENT_NODES[1], REDACT, EVENT_NODES[2], EVENT_NODES[3]];
    type Settings = MqttSinkSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<MqttSinkSettings> {
        let publish = PublishSettings::read(fields, context)?;
        if let (Some(redact), Some(_)) = (fields.child("redact"), &publish.body) {
            context
                .diagnostics
                .push(Rule::WrongArgument, "`redact` has no effect with `body`")
                .at(redact.head(), "not used")
                .help("leave out of `body` what nobody should see, and remove `redact`");
        }
        Some(MqttSinkSettings { publish, redact: read_redact(fields) })
    }

    fn needed(settings: &MqttSinkSettings) -> Vec<Needed> {
        settings.publish.needed()
    }

    fn claims(settings: &MqttSinkSettings) -> Vec<Spanned<Claim>> {
        settings.publish.claims()
    }
}

impl SinkKind for MqttSink {
    fn shape(_: &MqttSinkSettings) -> SinkRole {
        SinkRole::Outside
    }

    fn is_remote(_: &MqttSinkSettings) -> bool {
        true
    }

    async fn open(
        settings: MqttSinkSettings,
        services: Services,
    ) -> Result<Box<dyn DynDeliver>, Fault> {
        let (publisher, writer) = settings.publish.open(&services).await?;
        Ok(Box::new(MqttSink { publisher, writer, redact: settings.redact, services }))
    }
}

impl Deliver for MqttSink {
    const BATCH_MAX: usize = target::BATCH_MAX;

    async fn deliver(&self, outgoing: &Outgoing) -> Result<(), Fault> {
        Deliver::deliver_all(self, std::slice::from_ref(outgoing)).await.remove(0)
    }

    async fn deliver_all(&self, batch: &[Outgoing]) -> Vec<Result<(), Fault>> {
        let Some(first) = batch.first() else { return Vec::new() };
        let now = self.services.env.clock.wall();
        let drafts = batch.iter().map(|it| self.draft(it, now)).collect();
        self.publisher.publish(drafts, first.timeout).await
    }

    async fn tend(&self, closed: Pending<'_, ()>) {
        self.publisher.tend(closed).await;
    }
}

impl MqttSink {
    fn draft(&self, outgoing: &Outgoing, now: Timestamp) -> MessageDraft {
        let scope = || Scope::of(outgoing.event(), now);
        let event = || {
            let mut line = line_of(outgoing, &self.services.pipeline, &self.redact);
            line.pop();
            line
        };
        self.writer.draft(outgoing, scope, event)
    }
}
