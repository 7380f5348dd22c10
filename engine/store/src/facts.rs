//! Messages that wait for a fact that another event of their key brings, within the writer's
//! transaction.
//!
//! The newest event leads, because it knows most: it takes over the wait of those before it, and
//! tells of them.

use super::StoreFault;
use super::held::{HeldBy, HeldMessage};
use super::insert::Batch;
use super::record::NewDelivery;
use kernel::time::Timestamp;
use rusqlite::params;
use std::borrow::Cow;
use std::sync::Arc;

impl Batch<'_> {
    /// A delivery as it is made where it may bring a fact; nothing where nobody waits for it and no
    /// route sends it. What is waited for is held back by no cooldown: that of the event that waits
    /// would be in its way.
    pub(super) fn wanted<'d>(
        &self,
        delivery: &'d NewDelivery,
    ) -> Result<Option<Cow<'d, NewDelivery>>, StoreFault> {
        let fact = delivery.traits.fact.as_ref().filter(|fact| fact.is_fact);
        let Some(fact) = fact else { return Ok(Some(Cow::Borrowed(delivery))) };
        if self.waiting_for_fact(&delivery.sink, &fact.key)?.is_some() {
            let delivery = NewDelivery { cooldown: None, ..delivery.clone() };
            return Ok(Some(Cow::Owned(delivery)));
        }
        Ok(fact.is_routed.then_some(Cow::Borrowed(delivery)))
    }

    /// Lets a message wait for its fact: until when, where it does. It takes over what waits of its
    /// key.
    pub(super) fn wait_for_fact(
        &mut self,
        message: &mut HeldMessage,
    ) -> Result<Option<(String, Timestamp)>, StoreFault> {
        let rules = self.held.rules_of(&message.sink);
        let up_to = rules.and_then(|rules| rules.wait);
        let (Some(up_to), Some(fact)) = (up_to, message.fact.take()) else { return Ok(None) };
        let waiting = self.waiting_for_fact(&message.sink, &fact.key)?;
        let mut until = self.now.plus(up_to);
        if let Some((seq, known)) = waiting.filter(|waiting| waiting.0 != message.seq) {
            let earlier = self.waiting_message(&message.sink, seq)?;
            self.join(&earlier, HeldBy::Wait, message.seq)?;
            message.parts += 1 + earlier.parts;
            message.allowed |= earlier.allowed;
            until = known;
        }
        // Its time may be over in this very moment.
        Ok((!fact.is_fact && self.now < until).then_some((fact.key, until)))
    }

    /// The message that waits with this key, and until when.
    fn waiting_for_fact(
        &self,
        sink: &Arc<str>,
        key: &str,
    ) -> Result<Option<(u64, Timestamp)>, StoreFault> {
        let sql = "SELECT seq, not_before FROM delivery_rows INDEXED BY delivery_rows_joined
                   WHERE sink = ? AND held = 'wait' AND held_key = ? AND state = 5
                    AND lead IS NULL ORDER BY seq DESC LIMIT 1";
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query(params![&**sink, key])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((row.get::<_, i64>(0)? as u64, Timestamp(row.get(1)?))))
    }
}
