//! Which message a delivery changes, and which deliveries a newer message makes needless.
//!
//! *Invariant:* of two deliveries of one key, the one of the older event never changes the message
//! of the newer one.

use crate::engine::Engine;
use stages::contract::MessageUpdate;
use std::collections::BTreeSet;
use store::{Delivery, StoreFault};

/// What a delivery does to the messages that were sent.
pub(super) enum MessagePlace {
    /// It sends a message of its own.
    Own,
    /// It sends the first message of its key, or changes the one before.
    Of(MessageUpdate),
    /// The message of a newer event was sent in its place.
    Taken,
}

/// Looks up the message of a delivery. Nothing else may be under way with its key.
pub(super) async fn place_of(
    engine: &Engine,
    delivery: &Delivery,
) -> Result<MessagePlace, StoreFault> {
    let Some(key) = delivery.changes() else { return Ok(MessagePlace::Own) };
    let now = engine.env.clock.wall();
    let (sink, sought) = (delivery.sink.clone(), key.to_owned());
    let before = engine.store.read(move |reader| reader.sent_message(&sink, &sought, now)).await?;
    Ok(match before {
        Some(message) if delivery.seq < message.seq => MessagePlace::Taken,
        before => {
            let receipt = before.map(|it| it.receipt);
            MessagePlace::Of(MessageUpdate::new(&delivery.sink, key, receipt))
        }
    })
}

/// Takes out those in whose place a newer one is due; `due` is in the order of events.
pub(super) fn take_outdated(due: &mut Vec<Delivery>) -> Vec<Delivery> {
    let mut newer = BTreeSet::new();
    let mut outdated = Vec::new();
    for at in (0..due.len()).rev() {
        let Some(key) = due[at].changes() else { continue };
        if !newer.insert(key.to_owned()) {
            outdated.push(due.remove(at));
        }
    }
    outdated
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::attempts::AttemptLog;
    use kernel::time::Timestamp;
    use store::DeliveryState;

    fn delivery(seq: u64, key: Option<&str>, is_digest: bool) -> Delivery {
        Delivery {
            sink: "phone".into(),
            seq,
            state: DeliveryState::Pending,
            attempts: 0,
            not_before: Timestamp(0),
            created: Timestamp(0),
            last_error: None,
            bytes: 1,
            parts: u64::from(is_digest),
            is_digest,
            lead: None,
            via: None,
            message_key: key.map(str::to_owned),
            repeats: 0,
            attempt_log: AttemptLog::default(),
        }
    }

    #[test]
    fn of_each_key_the_newest_is_left_and_all_that_have_none() {
        let mut due = vec![
            delivery(1, Some("a"), false),
            delivery(2, None, false),
            delivery(3, Some("a"), true),
            delivery(4, Some("b"), false),
            delivery(5, Some("a"), false),
            delivery(6, Some("a"), false),
        ];
        let outdated: Vec<u64> = take_outdated(&mut due).iter().map(|it| it.seq).collect();
        assert_eq!(outdated, [5, 1]);
        assert_eq!(due.iter().map(|it| it.seq).collect::<Vec<_>>(), [2, 3, 4, 6]);
    }
}
