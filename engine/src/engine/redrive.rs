//! Dead letters, tried again: a refused message from its map on, a dead event from its first
//! stage on, a dead delivery from its first attempt on.

use super::ingest::Submission;
use super::{Engine, IngestResult, Overloaded, ReceivedMessage};
use crate::intake::{self, ITEMS_MAX, ItemOrigin, WholeMessage};
use crate::run::Generation;
use compiler::plan::SourcePlan;
use kernel::additions::Additions;
use kernel::event::Event;
use kernel::time::Timestamp;
use language::diagnostic::is_secret_name;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use store::{DeadLetter, DeadLetterWhat, StoreEntry, WriteReceipt};

/// What became of a dead letter that was tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redriven {
    /// What it held is durable elsewhere; the letter is gone.
    Taken,
    /// It was tried, and stays with this reason.
    Kept(String),
    /// It cannot be tried as things are, and stays as it was.
    Untried(String),
    /// It was gone already.
    Gone,
}

impl Redriven {
    /// The outcomes of a redrive, as counted.
    pub const OUTCOMES: [&'static str; 4] = ["taken", "kept", "untried", "gone"];

    /// Its word.
    pub fn word(&self) -> &'static str {
        match self {
            Redriven::Taken => "taken",
            Redriven::Kept(_) => "kept",
            Redriven::Untried(_) => "untried",
            Redriven::Gone => "gone",
        }
    }
}

/// A letter that is tried again.
#[derive(Clone, Copy)]
struct RetriedLetter {
    id: u64,
    /// Its text is not the one that is stored.
    is_edited: bool,
}

impl Engine {
    /// Tries a dead letter again. It goes in the commit that makes durable what it holds: a
    /// message as accepted, an event in the inbox, a delivery as owed. Otherwise it stays.
    pub async fn redrive(self: &Arc<Self>, letter: DeadLetter) -> Result<Redriven, Overloaded> {
        self.redrive_as(letter, false).await
    }

    /// The same with another text in place of that of a rejected message. Where it is rejected too,
    /// the letter stays as it was: its reason is about its own text.
    pub async fn redrive_edited(
        self: &Arc<Self>,
        letter: DeadLetter,
    ) -> Result<Redriven, Overloaded> {
        self.redrive_as(letter, true).await
    }

    async fn redrive_as(
        self: &Arc<Self>,
        letter: DeadLetter,
        is_edited: bool,
    ) -> Result<Redriven, Overloaded> {
        let what = letter.what;
        let redriven = match what {
            DeadLetterWhat::Rejected => self.retry(letter, is_edited).await?,
            DeadLetterWhat::Event => self.reopen(letter).await?,
            DeadLetterWhat::Delivery => self.redeliver(letter).await?,
        };
        self.metrics.redriven(what, redriven.word());
        Ok(redriven)
    }

    /// A refused message comes in again by its source, under the running generation.
    async fn retry(
        self: &Arc<Self>,
        letter: DeadLetter,
        is_edited: bool,
    ) -> Result<Redriven, Overloaded> {
        let retried = RetriedLetter { id: letter.id, is_edited };
        let generation = self.generation();
        let source = &letter.source_node;
        let Some(plan) = generation.plan.sources.iter().find(|it| it.name == *source) else {
            return Ok(Redriven::Untried(format!("the file has no source `{source}`")));
        };
        let arrival = arrival_of(&letter);
        if plan.map.each.is_some() && arrival.item_of.is_none() {
            return self.retry_items(&generation, plan, arrival, retried).await;
        }
        let _permit = self.admit_or_wait(1, letter.body.len()).await?;
        self.metrics.received(&plan.name, 1);
        let mut batch = Submission::of_letter(letter.id);
        self.take(&generation, plan, arrival, &mut batch);
        let Some(answer) = self.settle_one(batch).await? else { return Ok(Redriven::Gone) };
        let reason = match answer {
            IngestResult::Accepted { .. } | IngestResult::Duplicate { .. } => {
                return Ok(Redriven::Taken);
            }
            IngestResult::Refused(refusal) => refusal.reason(),
            IngestResult::Conflict { id, seq } => conflict(&id, seq),
            IngestResult::Discarded { name, .. } => format!("`{name}` drops it"),
        };
        self.keep_letter(retried, reason).await
    }

    /// A message that is many events: all of them are taken, or none.
    async fn retry_items(
        self: &Arc<Self>,
        generation: &Arc<Generation>,
        plan: &SourcePlan,
        arrival: ReceivedMessage,
        letter: RetriedLetter,
    ) -> Result<Redriven, Overloaded> {
        let now = (self.env.clock.wall(), &*self.env.random);
        let spread = intake::spread(&generation.plan, plan, &arrival, now, ITEMS_MAX);
        let items = match spread {
            Ok(items) => items,
            Err(refusal) => return self.keep_letter(letter, refusal.reason()).await,
        };
        let bytes = items.iter().map(|item| item.bytes.len()).sum();
        let _permit = self.admit_or_wait(items.len(), bytes).await?;
        self.metrics.received(&plan.name, items.len() as u64);
        let mut batch = Submission::of_items(letter.id);
        for item in items {
            self.take(generation, plan, item, &mut batch);
        }
        if let Some(reason) = batch.refused() {
            return self.keep_letter(letter, reason).await;
        }
        Ok(match self.settle_items(batch, letter.id).await? {
            true => Redriven::Taken,
            false => Redriven::Gone,
        })
    }

    /// A letter stays, for this reason.
    async fn keep_letter(
        &self,
        letter: RetriedLetter,
        reason: String,
    ) -> Result<Redriven, Overloaded> {
        if !letter.is_edited {
            let keep = StoreEntry::KeepLetter { letter: letter.id, reason: reason.clone() };
            self.written(vec![keep]).await?;
        }
        Ok(Redriven::Kept(reason))
    }

    /// A dead event goes back into the inbox, under its own number.
    async fn reopen(self: &Arc<Self>, letter: DeadLetter) -> Result<Redriven, Overloaded> {
        let Some((seq, (envelope, body))) = letter.seq.zip(letter.event()) else {
            let reason = "an earlier version wrote it without the data needed to run it again";
            return Ok(Redriven::Untried(reason.to_owned()));
        };
        let generation = self.generation();
        let event = Event {
            seq,
            generation: generation.number,
            envelope,
            body,
            // The inbox takes bytes; whoever runs it reads them.
            data: Arc::new(Value::Null),
            raw: None,
            enrich: Additions::default(),
            globals: generation.plan.globals.clone(),
        };
        let reopen = StoreEntry::Reopen { letter: letter.id, event };
        match self.written(vec![reopen]).await?.first() {
            Some(WriteReceipt::Accepted { .. }) => {
                self.outbox.leave_in_inbox();
                Ok(Redriven::Taken)
            }
            _ => Ok(Redriven::Gone),
        }
    }

    /// A dead delivery is owed again.
    async fn redeliver(self: &Arc<Self>, letter: DeadLetter) -> Result<Redriven, Overloaded> {
        let target = &letter.stage;
        if !self.generation().targets.contains_key(target) {
            let reason = format!("the file has no sink and no notifier `{target}`");
            return Ok(Redriven::Untried(reason));
        }
        let seq = letter.seq.unwrap_or_default();
        let event = self.store.read(move |reader| reader.by_seq(&[seq])).await;
        let event = event.map_err(Overloaded::from)?;
        if event.is_empty() {
            let reason = "its event is no longer in the store";
            return Ok(Redriven::Untried(reason.to_owned()));
        }
        match self.written(vec![StoreEntry::Redeliver { letter: letter.id }]).await?.first() {
            Some(WriteReceipt::Accepted { .. } | WriteReceipt::Duplicate { .. }) => {
                Ok(Redriven::Taken)
            }
            _ => Ok(Redriven::Gone),
        }
    }

    async fn written(&self, entries: Vec<StoreEntry>) -> Result<Vec<WriteReceipt>, Overloaded> {
        let written = self.store.submit(entries).await;
        written.map_err(Overloaded::from)
    }
}

/// Why an event is not taken whose id another one has.
pub(super) fn conflict(id: &str, seq: u64) -> String {
    format!("its id `{id}` was already accepted with a different body, as event {seq}")
}

/// How a message came in, as JSON for its letter: everything that `map` may ask for when it is
/// taken in again, but for what is named like a secret.
pub(super) fn context_of(arrival: &ReceivedMessage) -> Option<Arc<Value>> {
    let mut context = Map::new();
    if let Some(http) = &arrival.http {
        context.insert("http".to_owned(), without_secrets(http));
    }
    if let Some(file) = &arrival.file {
        context.insert("file".to_owned(), (**file).clone());
    }
    if let Some(mqtt) = &arrival.mqtt {
        context.insert("mqtt".to_owned(), (**mqtt).clone());
    }
    if let Some(item) = &arrival.item_of {
        let mut around = item.whole.around.clone();
        around.insert("at".to_owned(), Value::from(item.pointer.as_str()));
        context.insert("item_of".to_owned(), Value::Object(around));
    }
    let mut text = |key: &str, value: Option<&str>| {
        value.map(|value| context.insert(key.to_owned(), Value::from(value)));
    };
    text("id", arrival.id.as_deref());
    text("type", arrival.kind.as_deref());
    text("once", arrival.once.as_deref());
    text("subject", arrival.subject.as_deref());
    if let Some(time) = arrival.time {
        context.insert("time".to_owned(), Value::from(time.0));
    }
    match &arrival.decoded {
        // Most often the bytes say it all.
        Some(Value::String(text)) if text.as_bytes() == &*arrival.bytes => {
            context.insert("is_text".to_owned(), Value::Bool(true));
        }
        Some(decoded) => drop(context.insert("decoded".to_owned(), decoded.clone())),
        None => {}
    }
    (!context.is_empty()).then(|| Arc::new(Value::Object(context)))
}

fn without_secrets(http: &Value) -> Value {
    let mut http = http.clone();
    for part in ["headers", "query"] {
        if let Some(Value::Object(fields)) = http.get_mut(part) {
            fields.retain(|name, _| !is_secret_name(name));
        }
    }
    http
}

/// The message of a letter, as it came in.
fn arrival_of(letter: &DeadLetter) -> ReceivedMessage {
    let context = letter.context.as_deref().cloned().unwrap_or(json!({}));
    let text = |key: &str| context[key].as_str().map(str::to_owned);
    let whole_text = || Value::String(String::from_utf8_lossy(&letter.body).into_owned());
    let is_text = context["is_text"] == true;
    ReceivedMessage {
        bytes: letter.body.clone(),
        http: context.get("http").cloned().map(Arc::new),
        file: context.get("file").cloned().map(Arc::new),
        mqtt: context.get("mqtt").cloned().map(Arc::new),
        id: text("id"),
        kind: text("type").map(Arc::from),
        decoded: context.get("decoded").cloned().or_else(|| is_text.then(whole_text)),
        once: text("once"),
        item_of: context.get("item_of").map(item_of),
        time: context["time"].as_i64().map(Timestamp),
        subject: text("subject").map(Arc::from),
        noted: None,
    }
}

/// What the letter of an item keeps of the message around it.
fn item_of(context: &Value) -> ItemOrigin {
    let whole = WholeMessage {
        data: context["data"].clone(),
        raw: context.get("raw").cloned(),
        time: context["time"].as_str().and_then(Timestamp::parse),
        ..WholeMessage::default()
    };
    ItemOrigin {
        whole: Arc::new(whole),
        pointer: context["at"].as_str().unwrap_or_default().to_owned(),
    }
}
