//! Lists of deliveries: the newest event first, page after page.

use super::StoreFault;
use super::reader::{DELIVERY, Reader, delivery};
use super::record::{Delivery, DeliveryState};
use kernel::time::Timestamp;
use rusqlite::params;
use std::fmt;
use std::sync::Arc;

/// Deliveries of one target that are looked at for one page.
const SCAN_MAX: usize = if cfg!(test) { 50 } else { 20_000 };

/// What to list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeliveryQuery {
    /// To these targets.
    pub sinks: Vec<Arc<str>>,
    /// Only those in this state.
    pub state: Option<DeliveryState>,
    /// Only those that were made since.
    pub since: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// Behind this place.
    pub cursor: Option<DeliveryCursor>,
}

/// A place in a list: the number of the event, and the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryCursor {
    seq: u64,
    sink: Arc<str>,
}

impl fmt::Display for DeliveryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.seq, self.sink)
    }
}

impl DeliveryCursor {
    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (seq, sink) = text.split_once('.')?;
        Some(DeliveryCursor { seq: u64::from_str_radix(seq, 16).ok()?, sink: sink.into() })
    }

    fn of(delivery: &Delivery) -> Self {
        DeliveryCursor { seq: delivery.seq, sink: delivery.sink.clone() }
    }
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct DeliveryPage {
    /// The deliveries.
    pub rows: Vec<Delivery>,
    /// Where the next page begins, when there may be one.
    pub next: Option<DeliveryCursor>,
}

pub(super) fn page(reader: &Reader<'_>, query: &DeliveryQuery) -> Result<DeliveryPage, StoreFault> {
    let limit = query.limit.clamp(1, 1000);
    let is_plain = query.state.is_none() && query.since.is_none();
    let window = if is_plain { limit + 1 } else { SCAN_MAX };
    let (mut rows, mut reach) = (Vec::new(), None);
    for sink in &query.sinks {
        let below = match &query.cursor {
            // Of one event, targets come in the order of their names.
            Some(cursor) if cursor.sink < *sink => cursor.seq.saturating_add(1),
            Some(cursor) => cursor.seq,
            None => i64::MAX as u64,
        };
        let found = of_sink(reader, sink, below, window)?;
        if found.len() == window {
            // Nothing is known of what this target has below.
            reach = reach.max(found.last().map(|it| it.seq));
        }
        rows.extend(found);
    }
    rows.sort_by(|one, other| other.seq.cmp(&one.seq).then(one.sink.cmp(&other.sink)));
    rows.retain(|row| reach.is_none_or(|reach| reach <= row.seq));
    let last = rows.last().map(DeliveryCursor::of);
    let fits = |delivery: &Delivery| {
        query.state.is_none_or(|state| state == delivery.state)
            && query.since.is_none_or(|since| since <= delivery.created)
    };
    rows.retain(fits);
    let next = match rows.len() <= limit {
        true => last.filter(|_| reach.is_some()),
        false => rows.get(limit - 1).map(DeliveryCursor::of),
    };
    rows.truncate(limit);
    Ok(DeliveryPage { rows, next })
}

fn of_sink(
    reader: &Reader<'_>,
    sink: &str,
    below: u64,
    limit: usize,
) -> Result<Vec<Delivery>, StoreFault> {
    let sql = format!(
        "{DELIVERY} FROM delivery_rows WHERE sink = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    );
    reader.many(&sql, params![sink, below as i64, limit as i64], delivery)
}
