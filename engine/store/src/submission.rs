//! What is written in one transaction, and who waits for it.

use super::StoreFault;
use super::claim::EntryHash;
use super::record::{StoreEntry, WriteReceipt};

pub(super) type Answer = Result<Committed, StoreFault>;

/// What was written, with a receipt for each entry.
pub(super) struct Committed {
    pub(super) receipts: Vec<WriteReceipt>,
    /// Back to whoever made them, to be freed there: the writer has better things to do.
    #[expect(dead_code, reason = "only carried")]
    entries: Vec<StoreEntry>,
}

/// Entries that are written together or not at all.
pub(super) struct Submission {
    pub(super) entries: Vec<StoreEntry>,
    /// One for each entry.
    pub(super) hashes: Vec<EntryHash>,
    /// `None` where nobody waits for the answer.
    pub(super) reply: Option<async_channel::Sender<Answer>>,
}

impl Submission {
    /// Something of the writer's own, which claims nothing.
    pub(super) fn silent(entries: Vec<StoreEntry>) -> Self {
        let hashes = vec![EntryHash::NONE; entries.len()];
        Submission { entries, hashes, reply: None }
    }

    /// Bytes of payload, for the limit of a batch.
    pub(super) fn size(&self) -> usize {
        self.entries.iter().map(StoreEntry::size).sum()
    }

    /// Whether it is to be written. A sender that was answered by a timeout keeps its copy, so its
    /// event must not be stored as well; how something ended is stored whoever still waits.
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_intake() || self.reply.as_ref().is_none_or(|reply| !reply.is_closed())
    }

    /// Whether it brings events in, and does not only finish what was accepted.
    pub(super) fn is_intake(&self) -> bool {
        self.entries.iter().any(StoreEntry::is_intake)
    }

    /// Answers a submission that was written. False when nobody waits for the answer: whoever
    /// asked may have gone; what was committed stays.
    pub(super) fn succeed(self, receipts: Vec<WriteReceipt>) -> bool {
        let Submission { entries, reply, .. } = self;
        reply.is_none_or(|reply| reply.try_send(Ok(Committed { receipts, entries })).is_ok())
    }

    /// Answers one that was not.
    pub(super) fn fail(&self, fault: StoreFault) {
        self.reply.as_ref().map(|reply| reply.try_send(Err(fault)));
    }
}

impl StoreEntry {
    /// Bytes of payload, for the limit of a batch.
    fn size(&self) -> usize {
        match self.bare() {
            StoreEntry::Record(it) | StoreEntry::Finish(it) => it.event.body.bytes.len(),
            StoreEntry::Accept(it) => it.body.bytes.len(),
            StoreEntry::DeadLetter { event, .. } => event.body.bytes.len(),
            StoreEntry::Refuse(it) => it.body.len(),
            StoreEntry::Reopen { event, .. } => event.body.bytes.len(),
            _ => 64,
        }
    }

    /// Whether it brings in what was not accepted before.
    fn is_intake(&self) -> bool {
        match self.bare() {
            StoreEntry::Record(_) | StoreEntry::Accept(_) | StoreEntry::Refuse(_) => true,
            StoreEntry::DeadLetter { event, .. } => event.seq == 0,
            _ => false,
        }
    }
}
