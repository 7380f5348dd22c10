//! Why a message is sent, where it is not simply because of its event.

use kernel::choice::Choice;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::{Delivery, Reader, Relay, RelayWord, StoreFault};

/// Bytes of a reason that a message repeats.
const REASON_MAX: usize = 300;

/// Why a message is sent.
#[derive(Debug, Default)]
pub struct MessageCause {
    /// Who handed the event on, and why.
    pub via: Option<Relay>,
    /// Why that one could not deliver it.
    pub error: Option<String>,
}

impl MessageCause {
    /// What templates read as `told`.
    pub fn scope(&self) -> Value {
        json!({
            "why": self.via.as_ref().map(|it| it.word.word()),
            "from": self.via.as_ref().map(|it| &*it.from),
            "error": self.error,
        })
    }

    /// A line for messages whose texts do not read `told`.
    pub fn line(&self) -> Option<String> {
        let Relay { word, from } = self.via.as_ref()?;
        Some(match (word, &self.error) {
            (RelayWord::Fallback, Some(error)) => {
                format!("`{from}` could not deliver this: {error}")
            }
            (RelayWord::Fallback, None) => format!("`{from}` could not deliver this"),
        })
    }
}

/// The causes of those deliveries that no route made, by their events.
pub(super) fn causes(
    reader: &Reader<'_>,
    due: &[Delivery],
) -> Result<BTreeMap<u64, MessageCause>, StoreFault> {
    let mut causes = BTreeMap::new();
    for delivery in due {
        let Some(via) = &delivery.via else { continue };
        let all = reader.deliveries_of(delivery.seq)?;
        let before = all.into_iter().find(|it| it.sink == via.from);
        let error = before.and_then(|it| it.last_error).map(|it| shortened(&it));
        causes.insert(delivery.seq, MessageCause { via: Some(via.clone()), error });
    }
    Ok(causes)
}

fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < reason.len() { "…" } else { "" };
    format!("{}{cut}", &reason[..end])
}
