//! Tells by a message on a topic of an MQTT broker.

use crate::contract::{
    Claim, DynNotify, Kind, MessageUpdate, NoUpdate, Notice, Notify, NotifyKind, Services,
};
use crate::mqtt::publisher::{MessageDraft, Publisher};
use crate::mqtt::target::{BATCH_MAX, MessageWriter, NOTICE_NODES, PublishSettings};
use crate::process::with_texts;
use kernel::env::Pending;
use kernel::fault::Fault;
use kernel::time::Timestamp;
use language::expr::Scope;
use language::spanned::Spanned;
use language::{Context, Fields, Needed, NodeRow};
use store::write_event;

/// The kind `mqtt`.
pub(super) struct MqttNotifier {
    publisher: Publisher,
    writer: MessageWriter,
    services: Services,
}

impl Kind for MqttNotifier {
    const WORD: &'static str = "mqtt";
    const SUMMARY: &'static str = "publishes a message on a topic of an MQTT broker";
    const EXAMPLE: &'static str = r#"notify mqtt house {
    url "mqtt://127.0.0.1:1883"
    topic "house/messages"
    body "{{ message }}"
}"#;
    const NODES: &'static [&'static [NodeRow]] = NOTICE_NODES;
    type Settings = PublishSettings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<PublishSettings> {
        PublishSettings::read(fields, context)
    }

    fn needed(settings: &PublishSettings) -> Vec<Needed> {
        settings.needed()
    }

    fn claims(settings: &PublishSettings) -> Vec<Spanned<Claim>> {
        settings.claims()
    }
}

impl NotifyKind for MqttNotifier {
    const USES_FETCH: bool = false;

    fn is_remote(_: &PublishSettings) -> bool {
        true
    }

    fn no_update(_: &PublishSettings) -> Option<NoUpdate> {
        None
    }

    fn sends_event(settings: &PublishSettings) -> bool {
        settings.body.is_none()
    }

    async fn open(
        settings: PublishSettings,
        services: Services,
    ) -> Result<Box<dyn DynNotify>, Fault> {
        let (publisher, writer) = settings.open(&services).await?;
        Ok(Box::new(MqttNotifier { publisher, writer, services }))
    }
}

impl Notify for MqttNotifier {
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        Notify::notify_all(self, std::slice::from_ref(notice)).await.remove(0)
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    async fn notify_all(&self, batch: &[Notice]) -> Vec<Result<(), Fault>> {
        let Some(first) = batch.first() else { return Vec::new() };
        let now = self.services.env.clock.wall();
        let drafts = batch.iter().map(|it| self.draft(it, now)).collect();
        self.publisher.publish(drafts, first.outgoing.timeout).await
    }

    async fn tend(&self, closed: Pending<'_, ()>) {
        self.publisher.tend(closed).await;
    }
}

impl MqttNotifier {
    fn draft(&self, notice: &Notice, now: Timestamp) -> MessageDraft {
        let Notice { outgoing, title, message, update } = notice;
        let update = update.as_ref().map(MessageUpdate::shown);
        let scope = || Scope {
            title: Some(title),
            message: Some(message),
            update: update.as_ref(),
            ..Scope::of(outgoing.event(), now)
        };
        let event = || {
            let mut event = String::new();
            write_event(&mut event, &outgoing.stored, &self.services.pipeline);
            with_texts(&event, notice).into_bytes()
        };
        self.writer.draft(outgoing, scope, event)
    }
}
