//! Messages to answers: every message of a call in one transaction, every answer behind it.

use super::{Answer, Arrival, Engine, Unavailable};
use crate::intake::{self, Incoming, Refusal, Taken};
use crate::metrics::{Fate, RunTally};
use crate::run::Generation;
use crate::run::keys::Reservation;
use crate::run::walk::{Verdict, Walk};
use crate::spec::Overflow;
use stages::event::{Event, Priority};
use stages::store::{DeadLetter, DeadLetterWhat, Entry, Receipt, StoreTrouble, Tally};
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
                keys: &generation.keys,
                generation: generation.number,
            };
            let taken = intake::take(&generation.plan, incoming, &self.env.random);
            self.probe.get().inspect(|it| it.taken(&taken));
            match taken {
                Taken::Event(event, noted) => {
                    batch.noted.extend(noted);
                    batch.once = arrival.once.map(|key| (plan.name.clone(), key));
                    self.start(&generation, *event, &mut batch);
                    batch.once = None;
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
        saved.map(|_| ()).map_err(|it| Unavailable { code: "store", reason: it.reason })
    }

    /// Runs the local stages and chooses the road.
    fn start(&self, generation: &Arc<Generation>, event: Event, batch: &mut Submission) {
        let walk = Walk::start(generation.clone(), event, self.env.clone());
        let (id, received) = (walk.event().envelope.id.clone(), walk.event().envelope.received);
        if walk.is_remote() {
            let entry = Entry::Accept(walk.event().clone());
            let then = Then::Run(Box::new(walk));
            return batch.push(entry, Slot::Claimed { id, then });
        }
        let (verdict, tally) = self.conclude(walk);
        match verdict {
            Verdict::Finished(finished) => {
                let then = Then::Count { tally, received, fate: Fate::Stored };
                batch.push(Entry::Record(finished), Slot::Claimed { id, then });
            }
            Verdict::Discarded(event, reason) => {
                self.count_run(&tally, received);
                self.let_go(&event, reason, batch);
            }
            Verdict::Dead(event, stage, attempts, reason) => {
                let letter = self.letter(&event, stage, attempts, reason);
                let then = Then::Count { tally, received, fate: Fate::Dead };
                batch.push(Entry::Bury { event, letter }, Slot::Claimed { id, then });
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
            // Whoever waits for the answer may leave; what was committed then is not forgotten.
            let abandoned = CallOnDrop::new(|| self.outbox.leave_in_inbox());
            let receipts = self.store.submit(batch.entries).await;
            abandoned.cancel();
            match receipts {
                Ok(receipts) => receipts,
                Err(fault) => {
                    self.metrics.count(Fate::Shed, count);
                    let code = match fault.class {
                        StoreTrouble::NoRoom => "outbox",
                        _ => "store",
                    };
                    return Err(Unavailable { code, reason: fault.reason });
                }
            }
        };
        batch.noted.into_iter().for_each(Reservation::keep);
        let mut receipts = receipts.into_iter();
        let mut answers = Vec::with_capacity(batch.slots.len());
        for slot in batch.slots {
            answers.push(match slot {
                Slot::Settled(answer) => answer,
                Slot::Refused(refusal) => {
                    receipts.next();
                    Answer::Refused(refusal)
                }
                Slot::Claimed { id, then } => {
                    let receipt = receipts.next().expect("the store answers every entry");
                    self.answer(id, receipt, then)
                }
            });
        }
        Ok(answers)
    }

    /// The answer for an event that claimed its id. What the stages did counts only for the one
    /// that came first.
    fn answer(self: &Arc<Self>, id: Arc<str>, receipt: Receipt, then: Then) -> Answer {
        match receipt {
            Receipt::Stored { seq, .. } | Receipt::Accepted { seq } => {
                self.metrics.count(Fate::Accepted, 1);
                match then {
                    Then::Run(mut walk) => {
                        walk.accepted(seq);
                        self.launch(seq, *walk);
                    }
                    Then::Count { tally, received, fate } => {
                        self.count_run(&tally, received);
                        self.metrics.count(fate, 1);
                    }
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
    noted: Vec<Reservation>,
    /// What the next event claims besides its id.
    once: Option<(Arc<str>, String)>,
}

enum Slot {
    Settled(Answer),
    Refused(Refusal),
    Claimed { id: Arc<str>, then: Then },
}

/// What follows once an event that claims its id is durable.
enum Then {
    /// Its remote stages run.
    Run(Box<Walk>),
    /// It has ended like this.
    Count { tally: RunTally, received: Timestamp, fate: Fate },
}

impl Submission {
    fn push(&mut self, entry: Entry, slot: Slot) {
        self.entries.push(match self.once.take() {
            Some((owner, key)) => Entry::Once { owner, key, entry: Box::new(entry) },
            None => entry,
        });
        self.slots.push(slot);
    }
}

/// Calls a function when it is dropped, unless it was cancelled.
struct CallOnDrop<F: FnMut()>(Option<F>);

impl<F: FnMut()> CallOnDrop<F> {
    fn new(call: F) -> Self {
        CallOnDrop(Some(call))
    }

    fn cancel(mut self) {
        self.0 = None;
    }
}

impl<F: FnMut()> Drop for CallOnDrop<F> {
    fn drop(&mut self) {
        if let Some(call) = &mut self.0 {
            call();
        }
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
        mapped: None,
    }
}
