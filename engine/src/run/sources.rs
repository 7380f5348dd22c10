//! What sources hand their messages to.

use super::stop::StopSignal;
use crate::engine::{Arrival, Engine};
use stages::contract::{Closed, Emit, Message};
use stages::env::Pending;
use stages::language::Globals;
use std::sync::Arc;
use std::time::Duration;

/// How long a source waits before it offers again what the engine could not take.
const PAUSE: Duration = Duration::from_millis(200);

/// The way into the engine for one source that runs by itself.
pub struct SourceEmitter {
    engine: Arc<Engine>,
    name: Arc<str>,
    stop: Arc<StopSignal>,
}

impl SourceEmitter {
    /// Closed as soon as `stop` is raised.
    pub fn new(engine: Arc<Engine>, name: Arc<str>, stop: Arc<StopSignal>) -> Self {
        SourceEmitter { engine, name, stop }
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
        let arrivals: Vec<Arrival> = messages
            .into_iter()
            .map(|message| Arrival {
                bytes: message.body.into(),
                kind: message.kind,
                decoded: message.decoded,
                ..Arrival::default()
            })
            .collect();
        Box::pin(async move {
            loop {
                if self.is_closed() {
                    return Err(Closed);
                }
                let batch = (arrivals.clone(), remember.clone());
                match self.engine.ingest(&self.name, batch.0, batch.1, true).await {
                    Ok(_) => return Ok(()),
                    Err(_) => {
                        let pause = self.engine.env.clock.sleep(PAUSE);
                        smol::future::or(pause, self.closed()).await;
                    }
                }
            }
        })
    }

    fn recall<'a>(&'a self, key: &'a str) -> Pending<'a, Option<String>> {
        let (owner, key) = (self.name.clone(), key.to_owned());
        Box::pin(async move {
            // A fault must not pass for "nothing was remembered": all would be read again.
            while !self.is_closed() {
                let (owner, key) = (owner.clone(), key.clone());
                let read = self.engine.store.read(move |reader| reader.state(&owner, &key)).await;
                if let Ok(remembered) = read {
                    return remembered;
                }
                smol::future::or(self.engine.env.clock.sleep(PAUSE), self.closed()).await;
            }
            // A closed source hands nothing on, whatever it believes.
            None
        })
    }

    fn globals(&self) -> Arc<Globals> {
        self.engine.generation().plan.globals.clone()
    }

    fn closed(&self) -> Pending<'_, ()> {
        Box::pin(smol::future::or(self.stop.raised(), self.engine.when_stopped()))
    }
}
