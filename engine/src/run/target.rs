//! A sink or notifier that delivers to the outside, opened.

use super::limits::CallLimits;
use super::message_cause::MessageCause;
use super::message_group::MessageGroup;
use compiler::plan::CallPolicy;
use compiler::spec::{DigestTexts, RecoverNode};
use kernel::env::Pending;
use kernel::event::Event;
use kernel::fault::Fault;
use kernel::health::PartHealth;
use kernel::time::Timestamp;
use language::expr::{Root, Scope, Template};
use stages::contract::{DynDeliver, DynNotify, MessageUpdate, Notice, Outgoing, Services};
use std::sync::Arc;

/// A sink or notifier that delivers to the outside.
pub struct Target {
    /// Its name.
    pub name: Arc<str>,
    /// Its failure handling.
    pub policy: CallPolicy,
    /// Whether and how often it may be called.
    pub limits: CallLimits,
    /// What delivers.
    pub(super) kind: TargetKind,
    /// What it was opened with; its health is the target's.
    pub(super) services: Services,
}

/// What delivers.
pub(super) enum TargetKind {
    /// A sink takes the event.
    Sink(Box<dyn DynDeliver>),
    /// A notifier takes texts about it.
    Notifier { notifier: Box<dyn DynNotify>, texts: Box<NoticeTexts> },
}

/// What a notifier says.
pub(super) struct NoticeTexts {
    /// Of one event, or of a group.
    pub(super) title: Template,
    pub(super) message: Template,
    /// Of several that waited.
    pub(super) digest: DigestTexts,
    /// Of an all-clear.
    pub(super) recover: Option<RecoverNode>,
}

impl NoticeTexts {
    /// Title and message.
    fn render(&self, event: &Event, about: &MessageContext, now: Timestamp) -> (String, String) {
        let MessageContext { group, cause, update } = about;
        let clear = self.recover.as_ref().filter(|_| cause.is_all_clear());
        let texts = match (group.has_digest_texts(), clear) {
            (true, _) => [&self.digest.title, &self.digest.message],
            (false, Some(clear)) => [
                clear.title.as_ref().unwrap_or(&self.title),
                clear.message.as_ref().unwrap_or(&self.message),
            ],
            (false, None) => [&self.title, &self.message],
        };
        let reads = |root| texts.iter().any(|text| text.reads().iter().any(|it| it.root == root));
        let shown = reads(Root::Group).then(|| group.scope(event, &self.title, now));
        let told = reads(Root::Told).then(|| cause.scope());
        let update = update.as_ref().map(MessageUpdate::shown);
        let scope = Scope {
            group: shown.as_ref(),
            told: told.as_ref(),
            update: update.as_ref(),
            ..Scope::of(event, now)
        };
        let [title, mut message] = texts.map(|text| text.render(&scope));
        if let Some(line) = cause.line().filter(|_| told.is_none()) {
            let gap = if message.is_empty() { "" } else { "\n" };
            message.push_str(&format!("{gap}{line}"));
        }
        (title, message)
    }
}

/// A delivery on its way.
pub struct OutgoingMessage {
    /// The event that it is about, or the first of them.
    pub outgoing: Outgoing,
    /// What else there is to say.
    pub about: MessageContext,
}

/// What a message says besides its event.
#[derive(Debug, Default)]
pub struct MessageContext {
    /// The others.
    pub group: MessageGroup,
    /// Why it is sent.
    pub cause: MessageCause,
    /// The message that it sends or changes, unless it is one of its own.
    pub update: Option<MessageUpdate>,
}

impl Target {
    /// Where it says what does not work.
    pub fn health(&self) -> &PartHealth {
        &self.services.health
    }

    /// How many deliveries one call takes.
    pub fn batch_max(&self) -> usize {
        match &self.kind {
            TargetKind::Sink(sink) => sink.batch_max(),
            TargetKind::Notifier { notifier, .. } => notifier.batch_max(),
        }
    }

    /// One notice as it is; `None` where this is a sink.
    pub(super) fn notify<'a>(
        &'a self,
        notice: &'a Notice,
    ) -> Option<Pending<'a, Result<(), Fault>>> {
        match &self.kind {
            TargetKind::Sink(_) => None,
            TargetKind::Notifier { notifier, .. } => Some(notifier.notify(notice)),
        }
    }

    /// Runs beside the calls, until `closed` ends.
    pub async fn tend(&self, closed: Pending<'_, ()>) {
        match &self.kind {
            TargetKind::Sink(sink) => sink.tend(closed).await,
            TargetKind::Notifier { notifier, .. } => notifier.tend(closed).await,
        }
    }

    /// One call; how each delivery ended, in their order, with what the service calls a message
    /// that may be changed.
    pub async fn deliver(&self, batch: Vec<OutgoingMessage>) -> Vec<Result<String, Fault>> {
        match &self.kind {
            TargetKind::Sink(sink) => {
                let batch: Vec<Outgoing> = batch.into_iter().map(|it| it.outgoing).collect();
                nameless(sink.deliver_all(&batch).await)
            }
            TargetKind::Notifier { notifier, texts } => {
                let now = self.services.env.clock.wall();
                let notice = |OutgoingMessage { outgoing, about }: OutgoingMessage| {
                    let (title, message) = texts.render(outgoing.event(), &about, now);
                    Notice { outgoing, title, message, update: about.update }
                };
                let batch: Vec<Notice> = batch.into_iter().map(notice).collect();
                match &batch[..] {
                    [notice] if notice.update.is_some() => vec![notifier.update(notice).await],
                    batch => nameless(notifier.notify_all(batch).await),
                }
            }
        }
    }
}

/// Ends of deliveries whose messages nobody calls by a name.
fn nameless(ends: Vec<Result<(), Fault>>) -> Vec<Result<String, Fault>> {
    ends.into_iter().map(|end| end.map(|()| String::new())).collect()
}
