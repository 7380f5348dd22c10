//! Messages to answers: every message of a call in one transaction, every answer behind it.

use super::redrive::context_of;
use super::{Engine, IngestResult, Overloaded, ReceivedMessage};
use crate::intake::{self, IncomingMessage, Intake, Rejection};
use crate::metrics::{EventCounter, RunTally};
use crate::run::Generation;
use crate::run::enrich::{Disposition, EventRun};
use crate::run::memories::{FilterNote, Notebook, NotedEvent};
use compiler::plan::SourcePlan;
use compiler::spec::Overflow;
use kernel::event::{Event, Priority};
use kernel::time::Timestamp;
use std::sync::Arc;
use store::{DeadLetter, DeadLetterWhat, EventTally, LetterMaker, StoreEntry, WriteReceipt};

impl Engine {
    /// Takes messages of one source, all in one transaction, and answers after its commit.
    /// `remember` is what the source must know again after a restart. `is_unheard`: nobody hears
    /// the answers, so that what is refused is kept.
    pub async fn ingest(
        self: &Arc<Self>,
        source: &str,
        arrivals: Vec<ReceivedMessage>,
        remember: Vec<(String, String)>,
        is_unheard: bool,
    ) -> Result<Vec<IngestResult>, Overloaded> {
        // One for all of it, also where a reload comes while it waits for room.
        let generation = self.generation();
        let Some(plan) = generation.plan.sources.iter().find(|it| *it.name == *source) else {
            return Err(Overloaded { code: "stopping", reason: "the source is gone".to_owned() });
        };
        let arrivals = self.spread(&generation, plan, arrivals, is_unheard);
        let bytes: usize = arrivals.iter().map(MessagePart::size).sum();
        let _permit = match self.admit_or_wait(arrivals.len(), bytes).await {
            Ok(permit) => permit,
            Err(unavailable) => {
                self.metrics.count(EventCounter::Shed, arrivals.len() as u64);
                let lets_go = unavailable.is_queue() && self.overflow() == Overflow::DropNewest;
                if !lets_go || !is_unheard {
                    return Err(unavailable);
                }
                // A source that nobody waits for goes on with its next messages.
                return self.remember(source, remember).await.map(|()| Vec::new());
            }
        };
        self.metrics.received(&plan.name, arrivals.len() as u64);
        let mut batch = Submission {
            is_unheard,
            entries: Vec::with_capacity(arrivals.len() + remember.len()),
            slots: Vec::with_capacity(arrivals.len()),
            ..Submission::default()
        };
        for arrival in arrivals {
            match arrival {
                MessagePart::Message(arrival) => self.take(&generation, plan, arrival, &mut batch),
                MessagePart::Refused(arrival, refusal) => {
                    self.reject(&generation, plan, &arrival, *refusal, &mut batch);
                }
            }
        }
        batch.entries.extend(saves(&plan.name, remember));
        self.settle(batch).await
    }

    /// Messages with each item of theirs that is an event in their place. A caller who waits for
    /// answers brings at most [`intake::ITEMS_MAX`] at once.
    fn spread(
        &self,
        generation: &Generation,
        plan: &SourcePlan,
        arrivals: Vec<ReceivedMessage>,
        is_unheard: bool,
    ) -> Vec<MessagePart> {
        if plan.map.each.is_none() {
            return arrivals.into_iter().map(MessagePart::Message).collect();
        }
        let now = (self.env.clock.wall(), &*self.env.random);
        let mut parts = Vec::new();
        for arrival in arrivals {
            let taken = if is_unheard { 0 } else { parts.len() };
            let most = intake::ITEMS_MAX.saturating_sub(taken);
            match intake::spread(&generation.plan, plan, &arrival, now, most) {
                Ok(items) => parts.extend(items.into_iter().map(MessagePart::Message)),
                Err(refusal) => {
                    parts.push(MessagePart::Refused(arrival, Box::new(refusal)));
                }
            }
        }
        parts
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
            mqtt: arrival.mqtt.as_deref(),
            id: arrival.id.as_deref(),
            kind: arrival.kind.as_ref(),
            time: arrival.time,
            subject: arrival.subject.as_ref(),
            decoded: arrival.decoded.as_ref(),
            item_of: arrival.item_of.as_ref(),
            received,
            memories: &generation.memories,
            generation: generation.number,
        };
        let taken = intake::take(&generation.plan, incoming, &self.env.random);
        self.observer.get().inspect(|it| it.taken(&taken));
        match taken {
            Intake::Event(event, notes) => {
                arrival.noted.as_ref().inspect(|noted| drop(noted.set((*event).clone())));
                batch.once = arrival.once.clone().map(|key| (plan.name.clone(), key));
                let arrival = Arc::new(arrival);
                let arrived = IngestArrived { generation, plan, arrival: &arrival, received };
                if batch.is_unheard {
                    batch.conflict = Some(letter_of_conflict(&event, plan, arrival.clone()));
                }
                self.start(&arrived, *event, notes, batch);
                (batch.once, batch.conflict) = (None, None);
            }
            Intake::Discarded(event, name, notes) => {
                let arrived = IngestArrived { generation, plan, arrival: &arrival, received };
                self.discard(&arrived, &event, name, notes, batch);
            }
            Intake::Refused(refusal) => self.reject(generation, plan, &arrival, refusal, batch),
        }
    }

    /// A message that is no event.
    fn reject(
        &self,
        generation: &Generation,
        plan: &SourcePlan,
        arrival: &ReceivedMessage,
        mut refusal: Rejection,
        batch: &mut Submission,
    ) {
        refusal.is_kept |= batch.is_unheard;
        let received = self.env.clock.wall();
        let letter = letter_of(&refusal, &plan.name, arrival, generation, received);
        self.refuse(refusal, letter, batch);
    }

    async fn remember(
        &self,
        source: &str,
        remember: Vec<(String, String)>,
    ) -> Result<(), Overloaded> {
        let entries: Vec<StoreEntry> = saves(&Arc::from(source), remember).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let saved = self.store.submit(entries).await;
        saved.map(|_| ()).map_err(Overloaded::from)
    }

    /// Runs the local stages and chooses the road.
    fn start(
        &self,
        arrived: &IngestArrived<'_>,
        event: Event,
        filters: Vec<FilterNote>,
        batch: &mut Submission,
    ) {
        let event_run = EventRun::start(arrived.generation.clone(), event, self.env.clone());
        let (id, received) =
            (event_run.event().envelope.id.clone(), event_run.event().envelope.received);
        let noted =
            arrived.notes(event_run.event(), filters, batch, |arrived| event_run.note(arrived));
        if event_run.is_remote() || noted.as_ref().is_some_and(|noted| noted.answers) {
            let entry = StoreEntry::Accept(event_run.event().clone());
            let then = Then::Run(Box::new(event_run));
            return batch.push_noted(entry, noted, id, then);
        }
        let (disposition, tally) = self.conclude(event_run);
        match disposition {
            Disposition::Finished(finished) => {
                let then = Then::Count { tally, received, fate: EventCounter::Stored };
                batch.push_noted(StoreEntry::Record(finished.stored()), noted, id, then);
            }
            Disposition::Discarded(event, reason) => {
                self.count_run(&tally, received);
                self.count_discarded(&event, &reason);
                let answer = IngestResult::Discarded { id: id.clone(), name: reason };
                batch.push_answered(answer, noted);
            }
            Disposition::Dead(event, end) => {
                let letter = self.letter(&event, end);
                let then = Then::Count { tally, received, fate: EventCounter::Dead };
                batch.push_noted(StoreEntry::DeadLetter { event, letter }, noted, id, then);
            }
        }
    }

    /// A rule of the file lets an event go, after others have noted something about it.
    fn discard(
        &self,
        arrived: &IngestArrived<'_>,
        event: &Event,
        name: Arc<str>,
        filters: Vec<FilterNote>,
        batch: &mut Submission,
    ) {
        let noted = arrived.notes(event, filters, batch, |_| {});
        self.count_discarded(event, &name);
        batch.push_answered(IngestResult::Discarded { id: event.envelope.id.clone(), name }, noted);
    }

    fn count_discarded(&self, event: &Event, name: &Arc<str>) {
        self.store.count(EventTally::of(&event.envelope, "discarded"));
        self.metrics.count(EventCounter::Accepted, 1);
        self.metrics.discarded(name);
    }

    fn refuse(&self, refusal: Rejection, letter: DeadLetter, batch: &mut Submission) {
        self.metrics.count(EventCounter::Rejected, 1);
        if batch.letter.is_some() {
            // Its letter stays; another one would be a copy.
            return batch.slots.push(PendingAnswer::Settled(IngestResult::Refused(refusal)));
        }
        if refusal.is_kept {
            batch.push(StoreEntry::Refuse(letter), PendingAnswer::Refused(refusal));
            return;
        }
        self.store.count(EventTally {
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
        let mut receipts = receipts.into_iter();
        let answers = batch.slots.into_iter().map(|slot| match slot {
            PendingAnswer::Settled(answer) => answer,
            PendingAnswer::Refused(refusal) => {
                receipts.next();
                IngestResult::Refused(refusal)
            }
            PendingAnswer::Noted(answer) => {
                receipts.next();
                answer
            }
            PendingAnswer::Claimed(claimed) => {
                let receipt = receipts.next().expect("the store answers every entry");
                self.answer(claimed, receipt)
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
        if receipt == Some(WriteReceipt::Gone) {
            return Ok(None);
        }
        Ok(match (batch.slots.pop(), receipt) {
            (Some(PendingAnswer::Claimed(claimed)), Some(receipt)) => {
                Some(self.answer(claimed, receipt))
            }
            (Some(PendingAnswer::Settled(answer) | PendingAnswer::Noted(answer)), _) => {
                Some(answer)
            }
            _ => unreachable!("no letter is written for a letter"),
        })
    }

    /// The same for the items of a dead letter's message; false when the letter was gone.
    pub(super) async fn settle_items(
        self: &Arc<Self>,
        mut batch: Submission,
        letter: u64,
    ) -> Result<bool, Overloaded> {
        batch.entries.push(StoreEntry::DropLetter { id: letter });
        let receipts = self.commit(batch.entries, batch.slots.len()).await?;
        let is_gone = receipts.contains(&WriteReceipt::Gone);
        let mut receipts = receipts.into_iter();
        for slot in batch.slots {
            match slot {
                PendingAnswer::Claimed(claimed) if !is_gone => {
                    let receipt = receipts.next().expect("the store answers every entry");
                    self.answer(claimed, receipt);
                }
                PendingAnswer::Claimed(_) | PendingAnswer::Settled(_) => {}
                PendingAnswer::Refused(_) | PendingAnswer::Noted(_) => {
                    unreachable!("what a letter is taken from is neither kept nor noted again")
                }
            }
        }
        Ok(!is_gone)
    }

    /// Writes entries; `count` messages are shed when that fails.
    async fn commit(
        &self,
        entries: Vec<StoreEntry>,
        count: usize,
    ) -> Result<Vec<WriteReceipt>, Overloaded> {
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
    fn answer(self: &Arc<Self>, claimed: ClaimedAnswer, receipt: WriteReceipt) -> IngestResult {
        let ClaimedAnswer { id, then, refusals } = claimed;
        let (seq, outputs) = match receipt {
            WriteReceipt::Stored { seq, .. } | WriteReceipt::Accepted { seq } => (seq, Vec::new()),
            WriteReceipt::Judged { seq, outputs } => (seq, outputs),
            WriteReceipt::Dropped { node } => return self.answer_dropped(id, node, refusals),
            WriteReceipt::Duplicate { seq } => {
                self.metrics.count(EventCounter::Duplicate, 1);
                return IngestResult::Duplicate { id, seq };
            }
            WriteReceipt::Conflict { seq } => {
                self.metrics.count(EventCounter::Rejected, 1);
                return IngestResult::Conflict { id, seq };
            }
            WriteReceipt::Done | WriteReceipt::Gone => {
                unreachable!("an entry with an id gets a number")
            }
        };
        self.metrics.count(EventCounter::Accepted, 1);
        match then {
            Then::Run(mut event_run) => {
                event_run.accepted(seq);
                event_run.judged(&outputs);
                self.spawn_run(seq, *event_run);
            }
            Then::Count { tally, received, fate } => {
                self.count_run(&tally, received);
                self.metrics.count(fate, 1);
            }
        }
        IngestResult::Accepted { id, seq }
    }

    /// A filter that remembers did not let it pass.
    fn answer_dropped(
        &self,
        id: Arc<str>,
        node: Arc<str>,
        refusals: Vec<(Arc<str>, Rejection)>,
    ) -> IngestResult {
        match refusals.into_iter().find(|refusal| refusal.0 == node) {
            Some((_, refusal)) => {
                self.metrics.count(EventCounter::Rejected, 1);
                IngestResult::Refused(refusal)
            }
            None => {
                self.metrics.count(EventCounter::Accepted, 1);
                self.metrics.discarded(&node);
                IngestResult::Discarded { id, name: node }
            }
        }
    }
}

/// A message that has become an event, and how it came.
struct IngestArrived<'a> {
    generation: &'a Arc<Generation>,
    plan: &'a SourcePlan,
    arrival: &'a ReceivedMessage,
    received: Timestamp,
}

impl IngestArrived<'_> {
    /// Everything noted about an event; `None` where nothing in the file remembers.
    fn notes(
        &self,
        event: &Event,
        filters: Vec<FilterNote>,
        batch: &Submission,
        more: impl FnOnce(&mut Notebook<'_>),
    ) -> Option<NotedEvent> {
        if self.generation.memories.is_empty() {
            return None;
        }
        let lane = self.plan.name.clone();
        // The letter that the message is taken from stays; another one would be a copy.
        let is_kept = batch.letter.is_none();
        let letter = |refusal: &Rejection| {
            is_kept.then(|| {
                let (node, generation) = (&self.plan.name, self.generation);
                letter_of(refusal, node, self.arrival, generation, self.received)
            })
        };
        Some(NotedEvent::gather(lane, event, filters, letter, more))
    }
}

fn saves(
    owner: &Arc<str>,
    remember: Vec<(String, String)>,
) -> impl Iterator<Item = StoreEntry> + use<> {
    let owner = owner.clone();
    remember.into_iter().map(move |(key, value)| StoreEntry::Save {
        owner: owner.clone(),
        key,
        value: Some(value).filter(|value| !value.is_empty()),
    })
}

/// Entries to write, and for each message where its answer comes from.
#[derive(Default)]
pub(super) struct Submission {
    entries: Vec<StoreEntry>,
    slots: Vec<PendingAnswer>,
    /// What the next event claims besides its id.
    once: Option<(Arc<str>, String)>,
    /// The dead letter that the message is taken from.
    letter: Option<u64>,
    /// The message of the letter is many events.
    is_spread: bool,
    /// Nobody hears the answers: what is refused is kept, whatever the file says.
    is_unheard: bool,
    /// What is kept of the next event when it conflicts with another one.
    conflict: Option<LetterMaker>,
}

/// What came in, once it was taken apart.
enum MessagePart {
    Message(ReceivedMessage),
    /// It could not be.
    Refused(ReceivedMessage, Box<Rejection>),
}

impl MessagePart {
    fn size(&self) -> usize {
        let (MessagePart::Message(it) | MessagePart::Refused(it, _)) = self;
        it.bytes.len()
    }
}

enum PendingAnswer {
    Settled(IngestResult),
    Refused(Rejection),
    /// The answer for an event that was dropped: nothing is stored of it but what stages noted.
    Noted(IngestResult),
    Claimed(ClaimedAnswer),
}

struct ClaimedAnswer {
    id: Arc<str>,
    then: Then,
    /// By filter: what is answered where it does not let the event pass.
    refusals: Vec<(Arc<str>, Rejection)>,
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

    /// Of the items of a dead letter's message. One that conflicts with another event has a letter
    /// of its own afterwards.
    pub(super) fn of_items(letter: u64) -> Self {
        Submission { is_spread: true, is_unheard: true, ..Submission::of_letter(letter) }
    }

    /// Why the first message that was refused was.
    pub(super) fn refused(&self) -> Option<String> {
        self.slots.iter().find_map(|slot| match slot {
            PendingAnswer::Settled(IngestResult::Refused(refusal)) => Some(refusal.reason()),
            _ => None,
        })
    }

    /// An entry that claims an id, with what was noted about its event.
    fn push_noted(
        &mut self,
        entry: StoreEntry,
        noted: Option<NotedEvent>,
        id: Arc<str>,
        then: Then,
    ) {
        let (entry, refusals) = match noted {
            Some(NotedEvent { notes, refusals, .. }) => {
                (StoreEntry::Judged { notes, entry: Box::new(entry) }, refusals)
            }
            None => (entry, Vec::new()),
        };
        self.push(entry, PendingAnswer::Claimed(ClaimedAnswer { id, then, refusals }));
    }

    /// Nothing is stored of an event; what was noted about it is.
    fn push_answered(&mut self, answer: IngestResult, noted: Option<NotedEvent>) {
        let is_noted = |event: &NotedEvent| !event.notes.all.is_empty();
        match noted.filter(is_noted).filter(|_| self.letter.is_none()) {
            Some(NotedEvent { notes, .. }) => {
                self.entries
                    .push(StoreEntry::Judged { notes, entry: Box::new(StoreEntry::Nothing) });
                self.slots.push(PendingAnswer::Noted(answer));
            }
            None => self.slots.push(PendingAnswer::Settled(answer)),
        }
    }

    fn push(&mut self, mut entry: StoreEntry, slot: PendingAnswer) {
        if let Some((owner, key)) = self.once.take() {
            entry = StoreEntry::Once { owner, key, entry: Box::new(entry) };
        }
        if let Some(letter) = self.letter {
            entry = StoreEntry::Retry { letter, entry: Box::new(entry), is_part: self.is_spread };
        }
        if let Some(letter) = self.conflict.take() {
            entry = StoreEntry::OrLetter { entry: Box::new(entry), letter };
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
fn letter_of_conflict(
    event: &Event,
    source: &SourcePlan,
    arrival: Arc<ReceivedMessage>,
) -> LetterMaker {
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
