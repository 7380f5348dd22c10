//! Messages to answers: every message of a call in one transaction, every answer behind it.

use super::redrive::context_of;
use super::{Engine, IngestResult, Overloaded, ReceivedMessage};
use crate::intake::{self, IncomingMessage, Intake, Rejection};
use crate::metrics::{EventCounter, RunTally};
use crate::run::Generation;
use crate::run::enrich::{Disposition, EventRun};
use crate::run::keys::Reservation;
use compiler::plan::SourcePlan;
use compiler::spec::Overflow;
use kernel::event::{Event, Priority};
use kernel::time::Timestamp;
use std::sync::Arc;
use store::{DeadLetter, DeadLetterWhat, Entry, LetterMaker, Receipt, Tally};

impl Engine {
    /// Takes messages of one source, all in one transaction, and answers after its commit.
    /// `remember` is what the source must know again after a restart.
    pub async fn ingest(
        self: &Arc<Self>,
        source: &str,
        arrivals: Vec<ReceivedMessage>,
        remember: Vec<(String, String)>,
        keeps_unreadable: bool,
    ) -> Result<Vec<IngestResult>, Overloaded> {
        let bytes: usize = arrivals.iter().map(|it| it.bytes.len()).sum();
        let _permit = match self.admit_or_wait(arrivals.len(), bytes).await {
            Ok(permit) => permit,
            Err(unavailable) => {
                self.metrics.count(EventCounter::Shed, arrivals.len() as u64);
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
            return Err(Overloaded { code: "stopping", reason: "the source is gone".to_owned() });
        };
        self.metrics.received(&plan.name, arrivals.len() as u64);
        let mut batch = Submission { is_unheard: keeps_unreadable, ..Submission::default() };
        for arrival in arrivals {
            self.take(&generation, plan, arrival, &mut batch);
        }
        batch.entries.extend(saves(&plan.name, remember));
        self.settle(batch).await
    }

    /// One message to an entry, or to an answer where nothing is to be written.
    pub(super) fn take(
        &self,
        generation: &Arc<Generation>,
        plan: &SourcePlan,
        arrival: ReceivedMessage,
        batch: &mut Submission,
    ) {
        let received = self.env.clock.wall();
        let incoming = IncomingMessage {
            bytes: arrival.bytes.clone(),
            source: plan,
            http: arrival.http.as_deref(),
            file: arrival.file.as_deref(),
            id: arrival.id.as_deref(),
            kind: arrival.kind.as_ref(),
            decoded: arrival.decoded.as_ref(),
            received,
            arrived: self.env.clock.monotonic(),
            keys: &generation.keys,
            generation: generation.number,
        };
        let taken = intake::take(&generation.plan, incoming, &self.env.random);
        self.probe.get().inspect(|it| it.taken(&taken));
        match taken {
            Intake::Event(event, noted) => {
                batch.noted.extend(noted);
                batch.once = arrival.once.clone().map(|key| (plan.name.clone(), key));
                if batch.is_unheard {
                    batch.conflict = Some(letter_of_conflict(&event, plan, arrival));
                }
                self.start(generation, *event, batch);
                (batch.once, batch.conflict) = (None, None);
            }
            Intake::Discarded(event, name) => self.discard(&event, name, batch),
            Intake::Refused(mut refusal) => {
                refusal.is_kept |= batch.is_unheard;
                let letter = letter_of(&refusal, &plan.name, &arrival, generation, received);
                self.refuse(refusal, letter, batch);
            }
        }
    }

    async fn remember(
        &self,
        source: &str,
        remember: Vec<(String, String)>,
    ) -> Result<(), Overloaded> {
        let entries: Vec<Entry> = saves(&Arc::from(source), remember).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let saved = self.store.submit(entries).await;
        saved.map(|_| ()).map_err(Overloaded::from)
    }

    /// Runs the local stages and chooses the road.
    fn start(&self, generation: &Arc<Generation>, event: Event, batch: &mut Submission) {
        let walk = EventRun::start(generation.clone(), event, self.env.clone());
        let (id, received) = (walk.event().envelope.id.clone(), walk.event().envelope.received);
        if walk.is_remote() {
            let entry = Entry::Accept(walk.event().clone());
            let then = Then::Run(Box::new(walk));
            return batch.push(entry, PendingAnswer::Claimed { id, then });
        }
        let (verdict, tally) = self.conclude(walk);
        match verdict {
            Disposition::Finished(finished) => {
                let then = Then::Count { tally, received, fate: EventCounter::Stored };
                batch.push(Entry::Record(finished.stored()), PendingAnswer::Claimed { id, then });
            }
            Disposition::Discarded(event, reason) => {
                self.count_run(&tally, received);
                self.discard(&event, reason, batch);
            }
            Disposition::Dead(event, stage, attempts, reason) => {
                let letter = self.letter(&event, stage, attempts, reason);
                let then = Then::Count { tally, received, fate: EventCounter::Dead };
                batch.push(Entry::Bury { event, letter }, PendingAnswer::Claimed { id, then });
            }
        }
    }

    fn discard(&self, event: &Event, name: Arc<str>, batch: &mut Submission) {
        self.store.count(Tally::of(&event.envelope, "discarded"));
        self.metrics.count(EventCounter::Accepted, 1);
        self.metrics.discarded(&name);
        let id = event.envelope.id.clone();
        batch.slots.push(PendingAnswer::Settled(IngestResult::Discarded { id, name }));
    }

    fn refuse(&self, refusal: Rejection, letter: DeadLetter, batch: &mut Submission) {
        self.metrics.count(EventCounter::Rejected, 1);
        if batch.letter.is_some() {
            // Its letter stays; another one would be a copy.
            return batch.slots.push(PendingAnswer::Settled(IngestResult::Refused(refusal)));
        }
        if refusal.is_kept {
            batch.push(Entry::Refuse(letter), PendingAnswer::Refused(refusal));
            return;
        }
        self.store.count(Tally {
            received: letter.first,
            kind: "".into(),
            source: letter.source_node.clone(),
            priority: Priority::Normal,
            outcome: "rejected",
        });
        batch.slots.push(PendingAnswer::Settled(IngestResult::Refused(refusal)));
    }

    /// Writes a batch and turns receipts into answers.
    async fn settle(self: &Arc<Self>, batch: Submission) -> Result<Vec<IngestResult>, Overloaded> {
        let receipts = self.commit(batch.entries, batch.slots.len()).await?;
        batch.noted.into_iter().for_each(Reservation::keep);
        let mut receipts = receipts.into_iter();
        let answers = batch.slots.into_iter().map(|slot| match slot {
            PendingAnswer::Settled(answer) => answer,
            PendingAnswer::Refused(refusal) => {
                receipts.next();
                IngestResult::Refused(refusal)
            }
            PendingAnswer::Claimed { id, then } => {
                let receipt = receipts.next().expect("the store answers every entry");
                self.answer(id, receipt, then)
            }
        });
        Ok(answers.collect())
    }

    /// The same for the one message of a dead letter; `None` when the letter was gone.
    pub(super) async fn settle_one(
        self: &Arc<Self>,
        mut batch: Submission,
    ) -> Result<Option<IngestResult>, Overloaded> {
        assert_eq!((batch.slots.len(), batch.letter.is_some()), (1, true), "one letter");
        let receipt = self.commit(batch.entries, 1).await?.pop();
        if receipt == Some(Receipt::Gone) {
            return Ok(None);
        }
        batch.noted.into_iter().for_each(Reservation::keep);
        Ok(match (batch.slots.pop(), receipt) {
            (Some(PendingAnswer::Claimed { id, then }), Some(receipt)) => {
                Some(self.answer(id, receipt, then))
            }
            (Some(PendingAnswer::Settled(answer)), _) => Some(answer),
            _ => unreachable!("no letter is written for a letter"),
        })
    }

    /// Writes entries; `count` messages are shed when that fails.
    async fn commit(&self, entries: Vec<Entry>, count: usize) -> Result<Vec<Receipt>, Overloaded> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        // Whoever waits for the answer may leave; what was committed then is not forgotten.
        let abandoned = CallOnDrop::new(|| self.outbox.leave_in_inbox());
        let receipts = self.store.submit(entries).await;
        abandoned.cancel();
        receipts.map_err(|fault| {
            self.metrics.count(EventCounter::Shed, count as u64);
            Overloaded::from(fault)
        })
    }

    /// The answer for an event that claimed its id. What the stages did counts only for the one
    /// that came first.
    fn answer(self: &Arc<Self>, id: Arc<str>, receipt: Receipt, then: Then) -> IngestResult {
        match receipt {
            Receipt::Stored { seq, .. } | Receipt::Accepted { seq } => {
                self.metrics.count(EventCounter::Accepted, 1);
                match then {
                    Then::Run(mut walk) => {
                        walk.accepted(seq);
                        self.spawn_run(seq, *walk);
                    }
                    Then::Count { tally, received, fate } => {
                        self.count_run(&tally, received);
                        self.metrics.count(fate, 1);
                    }
                }
                IngestResult::Accepted { id, seq }
            }
            Receipt::Duplicate { seq } => {
                self.metrics.count(EventCounter::Duplicate, 1);
                IngestResult::Duplicate { id, seq }
            }
            Receipt::Conflict { seq } => {
                self.metrics.count(EventCounter::Rejected, 1);
                IngestResult::Conflict { id, seq }
            }
            Receipt::Done | Receipt::Gone => {
                unreachable!("an entry with an id gets a number")
            }
        }
    }
}

fn saves(owner: &Arc<str>, remember: Vec<(String, String)>) -> impl Iterator<Item = Entry> + use<> {
    let owner = owner.clone();
    remember.into_iter().map(move |(key, value)| Entry::Save {
        owner: owner.clone(),
        key,
        value: Some(value).filter(|value| !value.is_empty()),
    })
}

/// Entries to write, and for each message where its answer comes from.
#[derive(Default)]
pub(super) struct Submission {
    entries: Vec<Entry>,
    slots: Vec<PendingAnswer>,
    /// What is to be forgotten when nothing of it is stored.
    noted: Vec<Reservation>,
    /// What the next event claims besides its id.
    once: Option<(Arc<str>, String)>,
    /// The dead letter that the message is taken from.
    letter: Option<u64>,
    /// Nobody hears the answers: what is refused is kept, whatever the file says.
    is_unheard: bool,
    /// What is kept of the next event when it conflicts with another one.
    conflict: Option<LetterMaker>,
}

enum PendingAnswer {
    Settled(IngestResult),
    Refused(Rejection),
    Claimed { id: Arc<str>, then: Then },
}

/// What follows once an event that claims its id is durable.
enum Then {
    /// Its remote stages run.
    Run(Box<EventRun>),
    /// It has ended like this.
    Count { tally: RunTally, received: Timestamp, fate: EventCounter },
}

impl Submission {
    /// Of the message of a dead letter.
    pub(super) fn of_letter(letter: u64) -> Self {
        Submission { letter: Some(letter), ..Submission::default() }
    }

    fn push(&mut self, mut entry: Entry, slot: PendingAnswer) {
        if let Some((owner, key)) = self.once.take() {
            entry = Entry::Once { owner, key, entry: Box::new(entry) };
        }
        if let Some(letter) = self.letter {
            entry = Entry::Retry { letter, entry: Box::new(entry) };
        }
        if let Some(letter) = self.conflict.take() {
            entry = Entry::OrLetter { entry: Box::new(entry), letter };
        }
        self.entries.push(entry);
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

/// What is kept of a message that is refused.
fn letter_of(
    refusal: &Rejection,
    source: &Arc<str>,
    arrival: &ReceivedMessage,
    generation: &Generation,
    now: Timestamp,
) -> DeadLetter {
    DeadLetter {
        source: refusal.source.clone(),
        event_id: refusal.id.clone(),
        stage: refusal.stage.clone(),
        reason: refusal.reason(),
        ..rejected(source, arrival, generation.number, now)
    }
}

/// What is kept of an event that nobody hears is in conflict with another one.
fn letter_of_conflict(event: &Event, source: &SourcePlan, arrival: ReceivedMessage) -> LetterMaker {
    let (envelope, node, generation) =
        (event.envelope.clone(), source.name.clone(), event.generation);
    LetterMaker::new(move || DeadLetter {
        source: Some(envelope.source.to_string()),
        event_id: Some(envelope.id.to_string()),
        class: "conflict",
        reason: format!("its id `{}` was already accepted with a different body", envelope.id),
        ..rejected(&node, &arrival, generation, envelope.received)
    })
}

/// A message that is not taken, with how it came in; why not is still to be said.
fn rejected(
    source: &Arc<str>,
    arrival: &ReceivedMessage,
    generation: u64,
    received: Timestamp,
) -> DeadLetter {
    DeadLetter {
        id: 0,
        what: DeadLetterWhat::Rejected,
        seq: None,
        source_node: source.clone(),
        source: None,
        event_id: None,
        stage: "validate".into(),
        class: "invalid",
        reason: String::new(),
        attempts: 0,
        first: received,
        last: received,
        generation,
        body: arrival.bytes.clone(),
        mapped: None,
        context: context_of(arrival),
    }
}
