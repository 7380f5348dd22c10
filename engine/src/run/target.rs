//! A sink or notifier that delivers to the outside, opened.

use super::limits::CallLimits;
use compiler::plan::CallPolicy;
use kernel::fault::Fault;
use kernel::health::PartHealth;
use language::expr::{Scope, Template};
use stages::contract::{DynDeliver, DynNotify, Notice, Outgoing, Services};
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
    Notifier { notifier: Box<dyn DynNotify>, title: Template, message: Template },
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

    /// One call; how each delivery ended, in their order.
    pub async fn deliver(&self, batch: Vec<Outgoing>) -> Vec<Result<(), Fault>> {
        match &self.kind {
            TargetKind::Sink(sink) => sink.deliver_all(&batch).await,
            TargetKind::Notifier { notifier, title, message } => {
                let now = self.services.env.clock.wall();
                let notice = |outgoing: Outgoing| {
                    let scope = Scope::of(outgoing.event(), now);
                    let (title, message) = (title.render(&scope), message.render(&scope));
                    Notice { outgoing, title, message }
                };
                let batch: Vec<Notice> = batch.into_iter().map(notice).collect();
                notifier.notify_all(&batch).await
            }
        }
    }
}
