//! Why a message is sent, where it is not simply because of its event.

use kernel::choice::Choice;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use store::{Delivery, DeliveryState, Reader, Relay, RelayWord, StoreFault};

/// Bytes of a reason that a message repeats.
const REASON_MAX: usize = 300;

/// Why a message is sent.
#[derive(Debug, Default)]
pub struct MessageCause {
    /// Who handed the event on, and why.
    pub via: Option<Relay>,
    /// Why that one could not deliver it.
    pub error: Option<String>,
    /// How often it was sent before.
    pub repeats: u32,
}

impl MessageCause {
    /// What templates read as `told`.
    pub fn scope(&self) -> Value {
        json!({
            "why": match self.repeats {
                0 => self.via.as_ref().map(|it| it.word.word()),
                _ => Some("repeat"),
            },
            "times": self.repeats + 1,
            "from": self.via.as_ref().map(|it| &*it.from),
            "error": self.error,
        })
    }

    /// Whether it is an all-clear.
    pub fn is_all_clear(&self) -> bool {
        self.via.as_ref().is_some_and(|it| it.word == RelayWord::Recover)
    }

    /// A line for messages whose texts do not read `told`.
    pub fn line(&self) -> Option<String> {
        let Relay { word, from } = self.via.as_ref()?;
        Some(match (word, &self.error) {
            (RelayWord::Recover, _) => return None,
            (RelayWord::Escalate, None) => format!("nobody reacted to `{from}`"),
            (RelayWord::Escalate, Some(error)) => {
                format!("nobody reacted to `{from}`, which could not deliver this: {error}")
            }
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
        let (via, repeats) = (delivery.via.clone(), delivery.repeats);
        let error = via.as_ref().map_or(Ok(None), |it| error_of(reader, delivery.seq, &it.from))?;
        causes.insert(delivery.seq, MessageCause { via, error, repeats });
    }
    Ok(causes)
}

/// Why another target could not deliver an event.
fn error_of(reader: &Reader<'_>, seq: u64, from: &str) -> Result<Option<String>, StoreFault> {
    let before = reader.deliveries_of(seq)?.into_iter().find(|it| *it.sink == *from);
    let dead = before.filter(|it| it.state == DeliveryState::Dead);
    Ok(dead.and_then(|dead| dead.last_error).map(|last_error| shortened(&last_error)))
}

fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < reason.len() { "…" } else { "" };
    format!("{}{cut}", &reason[..end])
}
