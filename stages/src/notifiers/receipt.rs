//! What a notifier keeps of a message that it may have to change.
//!
//! *Invariant:* what was kept for one chat is never used in another: numbers of messages are only
//! unique there.

use crate::contract::Notice;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A message, as its service knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageReceipt {
    /// What the service calls it.
    pub(super) id: String,
    /// What else a change needs: the name of the file that it came with, or its subject.
    pub(super) detail: Option<String>,
}

/// Marks the chat of a message, so that another one is told apart. Says nothing of its secrets.
pub(super) fn place_of(parts: &[&str]) -> String {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part.as_bytes());
    }
    format!("{:016x}", hasher.finish())
}

impl MessageReceipt {
    /// As the store keeps it; empty where the service gave no id, so that nothing can be changed.
    pub(super) fn write(&self, place: &str) -> String {
        match self.id.is_empty() || self.id.contains(' ') {
            true => String::new(),
            false => format!("{place} {} {}", self.id, self.detail.as_deref().unwrap_or_default()),
        }
    }

    /// That of the message that a notice takes the place of, where it was sent to the same place.
    pub(super) fn before(notice: &Notice, place: &str) -> Option<Self> {
        Self::read(notice.update.as_ref()?.before.as_deref()?, place)
    }

    /// Reads what `write` wrote for the same place.
    fn read(text: &str, place: &str) -> Option<Self> {
        let (id, detail) = text.strip_prefix(place)?.strip_prefix(' ')?.split_once(' ')?;
        let detail = (!detail.is_empty()).then(|| detail.to_owned());
        Some(MessageReceipt { id: id.to_owned(), detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_read_where_it_was_written_and_nowhere_else() {
        let (here, there) = (place_of(&["token", "chat"]), place_of(&["toke", "nchat"]));
        for detail in [None, Some("door 1.jpg".to_owned())] {
            let receipt = MessageReceipt { id: "42".to_owned(), detail };
            let text = receipt.write(&here);
            assert_eq!(MessageReceipt::read(&text, &here), Some(receipt));
            assert_eq!(MessageReceipt::read(&text, &there), None);
        }
        for id in ["", "4 2"] {
            let receipt = MessageReceipt { id: id.to_owned(), detail: None };
            assert_eq!(receipt.write(&here), "");
        }
        assert_eq!(MessageReceipt::read("", &here), None);
    }
}
