//! The windows of one key that are not over, and the events of one that slides.

use super::state::AggregateState;
use kernel::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// How long it is known that a window is over. An event that comes later than that opens it again.
const CLOSED_FOR: Duration = Duration::from_secs(86_400);

/// What is kept of one key.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::memories) struct OpenWindows {
    /// Windows that are told when they are over, the earliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) windows: Vec<OpenWindow>,
    /// The events of a window that slides, the earliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) samples: Vec<Sample>,
    /// When it was last told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) told: Option<i64>,
    /// Whether what was told still holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_told: bool,
    /// Windows that end by then are over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) closed: Option<i64>,
}

/// A window that is not over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenWindow {
    pub(super) start: i64,
    pub(super) end: i64,
    /// The time of its latest event.
    pub(super) last: i64,
    /// The id of that event.
    pub(super) id: String,
    pub(super) states: Vec<AggregateState>,
}

/// An event of a window that slides.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) time: i64,
    pub(super) values: Vec<Value>,
}

impl OpenWindows {
    /// Puts an event into the window that it belongs to; `joins` says that windows which touch are
    /// one.
    pub(super) fn put(
        &mut self,
        mut window: OpenWindow,
        joins: bool,
        merge: impl Fn(&mut AggregateState, usize, AggregateState),
    ) {
        let belongs = |it: &OpenWindow| match joins {
            true => it.start < window.end && window.start < it.end,
            false => it.start == window.start,
        };
        let (same, mut others): (Vec<_>, Vec<_>) = self.windows.drain(..).partition(belongs);
        for known in same {
            // Of two at the same time, the one that comes now is the later one.
            if window.last < known.last {
                (window.last, window.id) = (known.last, known.id);
            }
            (window.start, window.end) = (window.start.min(known.start), window.end.max(known.end));
            let new = std::mem::replace(&mut window.states, known.states);
            for (index, (state, other)) in window.states.iter_mut().zip(new).enumerate() {
                merge(state, index, other);
            }
        }
        let at = others.partition_point(|it| it.start < window.start);
        others.insert(at, window);
        self.windows = others;
    }

    /// Takes out what is over at `time`.
    pub(super) fn close(&mut self, time: Timestamp, lateness: Duration) -> Vec<OpenWindow> {
        let is_over = |window: &OpenWindow| Timestamp(window.end).plus(lateness) <= time;
        let (over, open) = self.windows.drain(..).partition(is_over);
        self.windows = open;
        let over: Vec<OpenWindow> = over;
        self.closed = over.iter().map(|it| it.end).chain(self.closed).max();
        over
    }

    /// Adds an event to what slides; false where it comes too late to count.
    pub(super) fn slide(
        &mut self,
        time: Timestamp,
        span: Duration,
        events_max: usize,
        values: &[Value],
    ) -> bool {
        let newest = self.samples.last().map_or(time, |sample| Timestamp(sample.time).max(time));
        let begins = newest.minus(span).0;
        if time.0 <= begins {
            return false;
        }
        let at = self.samples.partition_point(|sample| sample.time <= time.0);
        self.samples.insert(at, Sample { time: time.0, values: values.to_vec() });
        let old = self.samples.partition_point(|sample| sample.time <= begins);
        let surplus = self.samples.len().saturating_sub(events_max);
        self.samples.drain(..old.max(surplus));
        true
    }

    /// Forgets times that have not come: the clock was set back since. A window that ends later is
    /// told when its end comes again.
    pub(super) fn forget_later(&mut self, now: Timestamp) {
        self.samples.retain(|sample| sample.time <= now.0);
        self.told = self.told.filter(|it| *it <= now.0);
        self.closed = self.closed.filter(|closed| *closed <= now.0);
    }

    /// When nothing of what is kept matters any more, where no window is open.
    pub(super) fn forgotten(&self, once: Option<Duration>) -> Option<Timestamp> {
        let told = self.told.and_then(|told| Some(Timestamp(told).plus(once?)));
        let closed = self.closed.map(|closed| Timestamp(closed).plus(CLOSED_FOR));
        told.max(closed)
    }
}
