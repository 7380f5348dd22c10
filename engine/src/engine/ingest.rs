//! Messages to answers: every message of a call in one transaction, every answer behind it.

use super::{Answer, Arrival, Engine, Unavailable};
use crate::intake::{self, Incoming, Refusal, Taken};
use crate::metrics::Fate;
use crate::run::Generation;
use crate::run::limiter::Noted;
use crate::run::walk::{Verdict, Walk};
use crate::spec::Overflow;
use stages::event::{Event, Priority};
use stages::store::{DeadLetter, DeadLetterWhat, Entry, Receipt, Tally};
use stages::time::Timestamp;
use std::sync::Arc;

impl Engine {
    /// Takes messages of one source, all in one transaction, and answers after its commit.
    /// `remember` is what the source must know again after a restart.
    pub async fn ingest(
        self: &Arc<Self>,
        source: &str,
        arrivals: Vec<Arrival>,
        remember: Vec<(String, String)>,
        keeps_unreadable: bool,
    ) -> Result<Vec<Answer>, Unavailable> {
        let bytes: usize = arrivals.iter().map(|it| it.bytes.len()).sum();
        let _permit = match self.let_in(arrivals.len(), bytes).await {
            Ok(permit) => permit,
            Err(unavailable) => {
                self.metrics.count(Fate::Shed, arrivals.len() as u64);
                let overflow = self.generation().plan.limits.overflow;
                let lets_go = unavailable.code == "queue" && overflow == Overflow::DropNewest;
                if !lets_go || !keeps_unreadable {
                    return Err(unavailable);
                }
                // A source that nobody waits for goes on with its next messages.
                return self.remember(source, remember).await.map(|()| Vec::new());
            }
        };
        let generation = self.generation();
        let Some(plan) = generation.plan.sources.iter().find(|it| *it.name == *source) else {
            return Err(Unavailable { code: "stopping", reason: "the source is gone".to_owned() });
        };
        self.metrics.received(&plan.name, arrivals.len() as u64);
        let mut batch = Submission::default();
        for arrival in arrivals {
            let received = self.env.clock.wall();
            let bytes = arrival.bytes.clone();
            let incoming = Incoming {
                bytes: arrival.bytes,
                source: plan,
                http: arrival.http.as_deref(),
                id: arrival.id.as_deref(),
                kind: arrival.kind.as_ref(),
                decoded: arrival.decoded,
                received,
                arrived: self.env.clock.monotonic(),
                limiters: &generation.limiters,
                generation: generation.number,
            };
            let taken = intake::take(&generation.plan, incoming, &self.env.random);
            self.probe.get().inspect(|it| it.taken(&taken));
            match taken {
                Taken::Event(event, noted) => {
                    batch.noted.extend(noted);
                    self.start(&generation, *event, &mut batch);
                }
                Taken::Discarded(event, name) => self.let_go(&event, name, &mut batch),
                Taken::Refused(mut refusal) => {
                    refusal.is_kept |= keeps_unreadable;
                    let letter = letter_of(&refusal, &plan.name, bytes, &generation, received);
                    self.refuse(refusal, letter, &mut batch);
                }
            }
        }
        batch.entries.extend(saves(&plan.name, remember));
        self.settle(batch).await
    }

    async fn remember(
        &self,
        source: &str,
        remember: Vec<(String, String)>,
    ) -> Result<(), Unavailable> {
        let entries: Vec<Entry> = saves(&Arc::from(source), remember).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let saved = self.store.submit(entries).await;
        saved.map(|_| ()).map_err(Unavailable::from)
    }

    /// Runs the local stages and chooses the road.
    fn start(&self, generation: &Arc<Generation>, event: Event, batch: &mut Submission) {
        let walk = Walk::start(generation.clone(), event, self.env.clone());
        if walk.is_remote() {
            let id = walk.event().envelope.id.clone();
            batch.push(
                Entry::Accept(walk.event().clone()),
                Slot::Claimed { id, walk: Some(Box::new(walk)) },
            );
            return;
        }
        match self.conclude(walk) {
            Verdict::Finished(finished) => {
                self.note_finished(&finished);
                let id = finished.event.envelope.id.clone();
                batch.push(Entry::Record(finished), Slot::Claimed { id, walk: None });
            }
            Verdict::Discarded(event, reason) => self.let_go(&event, reason, batch),
            Verdict::Dead(event, stage, attempts, reason) => {
                let id = event.envelope.id.clone();
                let letter = self.letter(&event, stage, attempts, reason);
                batch.push(Entry::Bury { event, letter }, Slot::Dead { id });
            }
        }
    }

    fn let_go(&self, event: &Event, name: Arc<str>, batch: &mut Submission) {
        self.store.count(Tally::of(event, "discarded"));
        self.metrics.count(Fate::Accepted, 1);
        self.metrics.discarded(&name);
        let id = event.envelope.id.clone();
        batch.slots.push(Slot::Settled(Answer::Discarded { id, name }));
    }

    fn refuse(&self, refusal: Refusal, letter: DeadLetter, batch: &mut Submission) {
        self.metrics.count(Fate::Rejected, 1);
        if refusal.is_kept {
            batch.push(Entry::Refuse(letter), Slot::Refused(refusal));
            return;
        }
        self.store.count(Tally {
            received: letter.first,
            kind: "".into(),
            source: letter.source_node.clone(),
            priority: Priority::Normal,
            outcome: "rejected",
        });
        batch.slots.push(Slot::Settled(Answer::Refused(refusal)));
    }

    /// Writes a batch and turns receipts into answers.
    async fn settle(self: &Arc<Self>, batch: Submission) -> Result<Vec<Answer>, Unavailable> {
        let count = batch.slots.len() as u64;
        let receipts = if batch.entries.is_empty() {
            Vec::new()
        } else {
            match self.store.submit(batch.entries).await {
                Ok(receipts) => receipts,
                Err(fault) => {
                    self.metrics.count(Fate::Shed, count);
                    batch.noted.into_iter().for_each(Noted::forget);
                    return Err(fault.into());
                }
            }
        };
        let mut receipts = receipts.into_iter();
        let mut answers = Vec::with_capacity(batch.slots.len());
        for slot in batch.slots {
            answers.push(match slot {
                Slot::Settled(answer) => answer,
                Slot::Refused(refusal) => {
                    receipts.next();
                    Answer::Refused(refusal)
                }
                Slot::Dead { id } => {
                    let answer = self.answer(id, receipts.next(), None);
                    if matches!(answer, Answer::Accepted { .. }) {
                        self.metrics.count(Fate::Dead, 1);
                    }
                    answer
                }
                Slot::Claimed { id, walk } => self.answer(id, receipts.next(), walk),
            });
        }
        Ok(answers)
    }

    fn answer(
        self: &Arc<Self>,
        id: Arc<str>,
        receipt: Option<Receipt>,
        walk: Option<Box<Walk>>,
    ) -> Answer {
        match receipt.expect("the store answers every entry") {
            Receipt::Stored { seq, .. } => {
                self.metrics.count(Fate::Accepted, 1);
                self.metrics.count(Fate::Stored, 1);
                Answer::Accepted { id, seq }
            }
            Receipt::Accepted { seq } => {
                self.metrics.count(Fate::Accepted, 1);
                if let Some(mut walk) = walk {
                    walk.accepted(seq);
                    self.launch(seq, *walk);
                }
                Answer::Accepted { id, seq }
            }
            Receipt::Duplicate { seq } => {
                self.metrics.count(Fate::Duplicate, 1);
                Answer::Duplicate { id, seq }
            }
            Receipt::Conflict { seq } => {
                self.metrics.count(Fate::Rejected, 1);
                Answer::Conflict { id, seq }
            }
            Receipt::Done => unreachable!("what claims an id is answered with a number"),
        }
    }
}

fn saves(owner: &Arc<str>, remember: Vec<(String, String)>) -> impl Iterator<Item = Entry> + use<> {
    let owner = owner.clone();
    remember.into_iter().map(move |(key, value)| Entry::Save {
        owner: owner.clone(),
        key,
        value: Some(value),
    })
}

/// Entries to write, and for each message where its answer comes from.
#[derive(Default)]
struct Submission {
    entries: Vec<Entry>,
    slots: Vec<Slot>,
    /// What is to be forgotten when nothing of it is stored.
    noted: Vec<Noted>,
}

enum Slot {
    Settled(Answer),
    Refused(Refusal),
    Dead { id: Arc<str> },
    Claimed { id: Arc<str>, walk: Option<Box<Walk>> },
}

impl Submission {
    fn push(&mut self, entry: Entry, slot: Slot) {
        self.entries.push(entry);
        self.slots.push(slot);
    }
}

fn letter_of(
    refusal: &Refusal,
    source_node: &Arc<str>,
    body: Arc<[u8]>,
    generation: &Generation,
    now: Timestamp,
) -> DeadLetter {
    DeadLetter {
        id: 0,
        what: DeadLetterWhat::Rejected,
        seq: None,
        source_node: source_node.clone(),
        source: refusal.source.clone(),
        event_id: refusal.id.clone(),
        stage: refusal.stage.clone(),
        class: "invalid",
        reason: refusal.reason(),
        attempts: 0,
        first: now,
        last: now,
        generation: generation.number,
        body,
    }
}
