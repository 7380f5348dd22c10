//! Sources that run by themselves, and the door that they hand their messages to.

use crate::engine::{Arrival, Engine};
use event_listener::Event as Signal;
use stages::contract::{Closed, DynSource, Emit, Message};
use stages::env::Pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a source waits before it offers again what the engine could not take.
const PAUSE: Duration = Duration::from_millis(200);

/// A running source.
pub struct Running {
    /// Its name.
    pub name: Arc<str>,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    is_set: AtomicBool,
    is_over: AtomicBool,
    told: Signal,
}

struct Door {
    engine: Arc<Engine>,
    name: Arc<str>,
    stop: Arc<Stop>,
}

/// Starts a source as a task of the engine.
pub fn start(engine: &Arc<Engine>, name: Arc<str>, mut source: Box<dyn DynSource>) -> Running {
    let stop = Arc::new(Stop::default());
    let door = Door { engine: engine.clone(), name: name.clone(), stop: stop.clone() };
    let over = stop.clone();
    engine.spawn(async move {
        if let Err(fault) = source.run(&door).await {
            tracing::warn!(source = &*door.name, fault = %fault, "the source ended");
        }
        over.is_over.store(true, Ordering::SeqCst);
        over.told.notify(usize::MAX);
    });
    Running { name, stop }
}

impl Running {
    /// Tells it to stop and waits until it has.
    pub async fn stop(&self) {
        self.stop.is_set.store(true, Ordering::SeqCst);
        self.stop.told.notify(usize::MAX);
        self.when_over().await;
    }

    /// Ends when the source has ended.
    pub async fn when_over(&self) {
        loop {
            let told = self.stop.told.listen();
            if self.stop.is_over.load(Ordering::SeqCst) {
                return;
            }
            told.await;
        }
    }
}

impl Door {
    fn is_closed(&self) -> bool {
        self.stop.is_set.load(Ordering::SeqCst) || self.engine.is_stopping()
    }
}

impl Emit for Door {
    fn emit<'a>(
        &'a self,
        messages: Vec<Message>,
        remember: Vec<(String, String)>,
    ) -> Pending<'a, Result<(), Closed>> {
        let arrivals: Vec<Arrival> = messages
            .into_iter()
            .map(|it| Arrival {
                bytes: it.body.into(),
                http: None,
                id: None,
                kind: it.kind,
                decoded: it.decoded,
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
                    Err(_) => self.engine.env.clock.sleep(PAUSE).await,
                }
            }
        })
    }

    fn recall<'a>(&'a self, key: &'a str) -> Pending<'a, Option<String>> {
        let (owner, key) = (self.name.clone(), key.to_owned());
        Box::pin(async move {
            loop {
                let (owner, key) = (owner.clone(), key.clone());
                match self.engine.store.read(move |it| it.state(&owner, &key)).await {
                    Ok(value) => return value,
                    // Without what it remembers, a source would bring everything again.
                    Err(_) if !self.is_closed() => self.engine.env.clock.sleep(PAUSE).await,
                    Err(_) => return None,
                }
            }
        })
    }

    fn closed(&self) -> Pending<'_, ()> {
        Box::pin(async {
            loop {
                let told = self.stop.told.listen();
                if self.is_closed() {
                    return;
                }
                smol::future::or(told, self.engine.when_stopped()).await;
            }
        })
    }
}
