//! Which submissions have room in the outbox, judged before their transaction.
//!
//! An event that waits for no stage brings its deliveries along, so it is turned away only by a
//! target that it goes to. One that is accepted first may go to any target of the file, and is
//! turned away by any that is full: after the answer it could not be. Once accepted, it is
//! delivered whatever waits.

use super::outbox::{OnFull, OutboxSizes, Shortage};
use super::record::{FinishedEvent, StoreEntry};
use super::submission::Submission;
use super::writer::Writer;
use super::{StoreFault, StoreTrouble};
use kernel::health::{HealthProblem, PartRole};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A target counts as full for so long after it last had no room.
const FULL_FOR: Duration = Duration::from_secs(10);

/// Targets that had no room lately, and when.
#[derive(Debug, Default)]
pub(super) struct FullTargets(BTreeMap<Arc<str>, Duration>);

impl Writer {
    /// Answers the submissions that have no room, whole, and leaves the others.
    pub(super) fn turn_away(&mut self, batch: Vec<Submission>) -> Vec<Submission> {
        let mut ahead = self.holdings.outbox.clone();
        let (mut admitted, mut full) = (Vec::with_capacity(batch.len()), Vec::new());
        for submission in batch {
            match self.lacks_room(&submission, &mut ahead) {
                None => admitted.push(submission),
                Some(shortage) => {
                    let reason = shortage.to_string();
                    submission.fail(StoreFault::new(StoreTrouble::NoRoom, reason));
                    full.push(shortage);
                }
            }
        }
        for shortage in full {
            self.note_full(&shortage.target().clone(), &shortage.to_string());
        }
        admitted
    }

    /// Why a submission does not fit behind what is `ahead` of it; what fits is added to that.
    fn lacks_room(&self, submission: &Submission, ahead: &mut OutboxSizes) -> Option<Shortage> {
        let mut with_it = None;
        for (entry, hash) in submission.entries.iter().zip(&submission.hashes) {
            let shortage = match entry.bare() {
                StoreEntry::Record(finished) if !finished.deliveries.is_empty() => {
                    let sizes = with_it.get_or_insert_with(|| ahead.clone());
                    self.place(finished, sizes)
                }
                StoreEntry::Accept(event) => {
                    let sizes = with_it.as_ref().unwrap_or(ahead);
                    let bytes = event.body.size();
                    self.rejecting().find_map(|it| self.policy.outbox.shortage(sizes, it, bytes))
                }
                _ => None,
            };
            // What came before is answered so, whether there is room or not.
            let is_known =
                || hash.claim.is_some_and(|claim| self.claims.knows(&self.connection, claim));
            if shortage.is_some() && !is_known() {
                return shortage;
            }
        }
        if let Some(sizes) = with_it {
            *ahead = sizes;
        }
        None
    }

    /// Adds the deliveries of an event, up to the first that does not fit.
    fn place(&self, finished: &FinishedEvent, sizes: &mut OutboxSizes) -> Option<Shortage> {
        let bytes = finished.event.body.size();
        for delivery in finished.deliveries.iter().filter(|delivery| delivery.suppressed.is_none())
        {
            let limits = &self.policy.outbox;
            if limits.on_full(&delivery.sink) != OnFull::Reject {
                continue;
            }
            let shortage = limits.shortage(sizes, &delivery.sink, bytes);
            if shortage.is_some() {
                return shortage;
            }
            sizes.add(&delivery.sink, bytes);
        }
        None
    }

    fn rejecting(&self) -> impl Iterator<Item = &Arc<str>> {
        let targets = self.policy.outbox.targets.iter();
        targets.filter(|target| target.1.on_full == OnFull::Reject).map(|target| target.0)
    }

    /// A target has no room: said once, until it has had room for a while.
    pub(super) fn note_full(&mut self, target: &Arc<str>, reason: &str) {
        self.full.0.insert(target.clone(), self.env.clock.monotonic());
        let consequence = match self.policy.outbox.on_full(target) {
            OnFull::Reject => "events that go there are rejected",
            OnFull::DeadLetter => "new deliveries become dead letters",
            OnFull::DropOldest => "the oldest deliveries are dropped",
        };
        let problem = HealthProblem::degraded("outbox-full", format!("{reason}; {consequence}"));
        let advice = "find out why deliveries fail; `backlog` of the sink sets how much may wait \
                      and what happens beyond that";
        let part = self.env.health.part(PartRole::Target, target.clone());
        part.report(problem.advise(advice));
    }

    /// Targets that have had room for a while are no longer full.
    pub(super) fn clear_full(&mut self) {
        let now = self.env.clock.monotonic();
        let is_over = |since: &Duration| *since + FULL_FOR <= now;
        for target in self.full.0.iter().filter(|it| is_over(it.1)).map(|it| it.0) {
            self.env.health.part(PartRole::Target, target.clone()).clear("outbox-full");
        }
        self.full.0.retain(|_, since| !is_over(since));
    }
}
