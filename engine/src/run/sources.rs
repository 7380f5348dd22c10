//! What sources hand their messages to.

use super::stop::StopSignal;
use crate::engine::{Engine, IngestResult, ReceivedMessage};
use kernel::env::Pending;
use kernel::event::Globals;
use serde_json::{Value, json};
use stages::contract::{Closed, Emit, Message, MessageOrigin};
use std::sync::Arc;
use std::time::Duration;

/// How long a source waits before it offers again what the engine could not take.
const PAUSE: Duration = Duration::from_millis(200);

/// The way into the engine for one source that runs by itself.
pub struct SourceEmitter {
    engine: Arc<Engine>,
    name: Arc<str>,
    stop: Arc<StopSignal>,
    observer: Option<Observer>,
}

/// Sees what became of messages, for who tests a pipeline.
pub type Observer = Arc<dyn Fn(Vec<IngestResult>) + Send + Sync>;

impl SourceEmitter {
    /// Closed as soon as `stop` is raised.
    pub fn new(engine: Arc<Engine>, name: Arc<str>, stop: Arc<StopSignal>) -> Self {
        SourceEmitter { engine, name, stop, observer: None }
    }

    /// From now on `observer` sees what becomes of messages.
    #[must_use]
    pub fn observed(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    fn is_closed(&self) -> bool {
        self.stop.is_raised() || self.engine.is_stopping()
    }
}

impl Emit for SourceEmitter {
    fn emit<'a>(
        &'a self,
        messages: Vec<Message>,
        remember: Vec<(String, String)>,
    ) -> Pending<'a, Result<(), Closed>> {
        let arrivals: Vec<ReceivedMessage> = messages.into_iter().map(received).collect();
        Box::pin(async move {
            loop {
                if self.is_closed() {
                    return Err(Closed);
                }
                let batch = (arrivals.clone(), remember.clone());
                match self.engine.ingest(&self.name, batch.0, batch.1, true).await {
                    Ok(answers) => {
                        self.observer.as_ref().inspect(|observer| observer(answers));
                        return Ok(());
                    }
                    Err(_) => {
                        let pause = self.engine.env.clock.sleep(PAUSE);
                        smol::future::or(pause, self.closed()).await;
                    }
                }
            }
        })
    }

    fn recall(&self) -> Pending<'_, Result<Vec<(String, String)>, Closed>> {
        Box::pin(async {
            // A fault must not pass for "nothing was remembered": all would be read again.
            while !self.is_closed() {
                let owner = self.name.clone();
                if let Ok(rows) = self.engine.store.read(move |reader| reader.states(&owner)).await
                {
                    return Ok(rows);
                }
                smol::future::or(self.engine.env.clock.sleep(PAUSE), self.closed()).await;
            }
            Err(Closed)
        })
    }

    fn globals(&self) -> Arc<Globals> {
        self.engine.generation().plan.globals.clone()
    }

    fn closed(&self) -> Pending<'_, ()> {
        Box::pin(smol::future::or(self.stop.raised(), self.engine.when_stopped()))
    }
}

/// A message of a source, at the engine's door.
pub(crate) fn received(message: Message) -> ReceivedMessage {
    ReceivedMessage {
        bytes: message.body.into(),
        kind: message.kind,
        decoded: message.decoded,
        file: message.origin.map(|origin| Arc::new(file_of(&origin))),
        mqtt: message.mqtt.map(Arc::new),
        id: message.id,
        time: message.time,
        subject: message.subject,
        ..ReceivedMessage::default()
    }
}

/// What `map` and a letter know as `file`.
fn file_of(origin: &MessageOrigin) -> Value {
    json!({ "path": &*origin.name, "line": origin.line, "offset": origin.offset })
}
