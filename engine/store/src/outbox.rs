//! How much may wait in the outbox, for all targets and for one, and what happens beyond it.
//!
//! Half of the outbox is shared out evenly among the targets of the file; the other half is for
//! whoever needs it. So a target that does not answer fills its share and the common half, and
//! leaves the others theirs.
//!
//! *Invariant:* as long as no limit is lowered, no more waits than the limits say, but for what
//! was accepted before it was routed: that is never dropped unless the file says so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Rows and bytes of something that waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BacklogSize {
    /// How many.
    pub rows: u64,
    /// How large their events are together; an event counts once for each target.
    pub bytes: u64,
}

impl BacklogSize {
    pub(super) fn add(&mut self, bytes: u64) {
        self.rows += 1;
        self.bytes += bytes;
    }

    /// *Invariant:* what leaves was counted when it came.
    pub(super) fn take(&mut self, bytes: u64) {
        debug_assert!(0 < self.rows && bytes <= self.bytes, "more leaves than came");
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

kernel::choice! {
    /// What becomes of a delivery whose target has no room for it.
    #[derive(Default)]
    pub enum OnFull {
        /// The event is not accepted; its sender is answered 503 and tries again.
        #[default]
        Reject = "reject",
        /// The event is stored, and the delivery becomes a dead letter at once.
        DeadLetter = "dead-letter",
        /// The oldest delivery that waits for this target is suppressed instead.
        DropOldest = "drop-oldest",
    }
}

/// The limits of one target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BacklogLimit {
    /// Most deliveries that wait for it; `None` where the outbox alone is the limit.
    pub rows: Option<u64>,
    /// Most bytes of them.
    pub bytes: Option<u64>,
    /// What happens beyond either, or when the outbox has no room for it.
    pub on_full: OnFull,
}

/// The limits of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Most deliveries that wait, for all targets together.
    pub rows: u64,
    /// Most bytes of them.
    pub bytes: u64,
    /// Every target of the file.
    pub targets: BTreeMap<Arc<str>, BacklogLimit>,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        OutboxLimits { rows: 1_000_000, bytes: 1 << 30, targets: BTreeMap::new() }
    }
}

/// Which limit leaves no room for a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortage {
    target: Arc<str>,
    limit: ReachedLimit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ReachedLimit {
    BacklogRows(u64),
    BacklogBytes(u64),
    /// The limit, and the target that holds the most with how much it holds.
    OutboxRows(u64, Arc<str>, u64),
    OutboxBytes(u64, Arc<str>, u64),
}

impl Shortage {
    /// Who has no room.
    pub(super) fn target(&self) -> &Arc<str> {
        &self.target
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` has no room: ", self.target)?;
        match &self.limit {
            ReachedLimit::BacklogRows(most) => write!(f, "its `backlog` ({most}) is full"),
            ReachedLimit::BacklogBytes(most) => {
                write!(f, "`max-bytes` of its `backlog` ({most}) is used up")
            }
            ReachedLimit::OutboxRows(most, holder, held) => {
                write!(f, "`outbox` of `limits` ({most}) is full, {held} wait for `{holder}`")
            }
            ReachedLimit::OutboxBytes(most, holder, held) => write!(
                f,
                "`max-bytes` of `outbox` ({most}) is used up, {held} bytes wait for `{holder}`"
            ),
        }
    }
}

/// What waits in the outbox, by target; also for targets that the file no longer has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OutboxSizes(BTreeMap<Arc<str>, BacklogSize>);

impl OutboxSizes {
    pub(super) fn of(&self, target: &str) -> BacklogSize {
        self.0.get(target).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> BacklogSize {
        self.0.values().fold(BacklogSize::default(), |sum, it| BacklogSize {
            rows: sum.rows + it.rows,
            bytes: sum.bytes + it.bytes,
        })
    }

    pub(super) fn by_target(&self) -> impl Iterator<Item = (&Arc<str>, &BacklogSize)> {
        self.0.iter()
    }

    pub(super) fn set(&mut self, target: Arc<str>, size: BacklogSize) {
        self.0.insert(target, size);
    }

    pub(super) fn add(&mut self, target: &Arc<str>, bytes: u64) {
        match self.0.get_mut(target) {
            Some(size) => size.add(bytes),
            None => {
                self.0.insert(target.clone(), BacklogSize { rows: 1, bytes });
            }
        }
    }

    pub(super) fn take(&mut self, target: &str, bytes: u64) {
        let Some(size) = self.0.get_mut(target) else {
            debug_assert!(false, "what leaves was counted when it came");
            return;
        };
        size.take(bytes);
        if *size == BacklogSize::default() {
            self.0.remove(target);
        }
    }

    /// Who holds the most, by `measure`.
    fn largest(&self, measure: impl Fn(&BacklogSize) -> u64) -> (Arc<str>, u64) {
        let largest = self.0.iter().max_by_key(|it| measure(it.1));
        largest.map_or_else(|| ("".into(), 0), |(name, size)| (name.clone(), measure(size)))
    }
}

impl OutboxLimits {
    /// Why one more delivery of `bytes` does not fit; `None` where it does. A target for which
    /// nothing waits takes one of any size, or a large event could never be delivered.
    pub(super) fn shortage(
        &self,
        sizes: &OutboxSizes,
        target: &Arc<str>,
        bytes: u64,
    ) -> Option<Shortage> {
        let own = sizes.of(target);
        let limit = self.backlog_shortage(own, target, bytes).or_else(|| {
            let rows = self.has_room(sizes, target, self.rows, 1, |it| it.rows);
            if !rows {
                let (holder, held) = sizes.largest(|size| size.rows);
                return Some(ReachedLimit::OutboxRows(self.rows, holder, held));
            }
            let room =
                own.rows == 0 || self.has_room(sizes, target, self.bytes, bytes, |it| it.bytes);
            let (holder, held) = (!room).then(|| sizes.largest(|size| size.bytes))?;
            Some(ReachedLimit::OutboxBytes(self.bytes, holder, held))
        })?;
        Some(Shortage { target: target.clone(), limit })
    }

    fn backlog_shortage(&self, own: BacklogSize, target: &str, bytes: u64) -> Option<ReachedLimit> {
        let limit = self.targets.get(target)?;
        if let Some(most) = limit.rows.filter(|most| *most < own.rows + 1) {
            return Some(ReachedLimit::BacklogRows(most));
        }
        let most = limit.bytes.filter(|most| 0 < own.rows && *most < own.bytes + bytes)?;
        Some(ReachedLimit::BacklogBytes(most))
    }

    /// Whether `more` fits into the target's share, or into the common half beside what others
    /// hold of it.
    fn has_room(
        &self,
        sizes: &OutboxSizes,
        target: &str,
        most: u64,
        more: u64,
        measure: impl Fn(&BacklogSize) -> u64,
    ) -> bool {
        let count = self.targets.len().max(1) as u64;
        let share = most / (2 * count);
        let common = most - share * count;
        let share_of = |name: &str| if self.targets.contains_key(name) { share } else { 0 };
        let own = measure(&sizes.of(target)) + more;
        if own <= share_of(target) {
            return true;
        }
        let others = sizes.by_target().filter(|by_target| **by_target.0 != *target);
        let taken: u64 =
            others.map(|(name, size)| measure(size).saturating_sub(share_of(name))).sum();
        taken + (own - share_of(target)) <= common
    }

    pub(super) fn on_full(&self, target: &str) -> OnFull {
        self.targets.get(target).map(|target| target.on_full).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rows: u64, bytes: u64, targets: &[(&str, BacklogLimit)]) -> OutboxLimits {
        let targets = targets.iter().map(|(name, limit)| (Arc::from(*name), limit.clone()));
        OutboxLimits { rows, bytes, targets: targets.collect() }
    }

    /// How many of `bytes` fit for this target.
    fn fill(limits: &OutboxLimits, sizes: &mut OutboxSizes, target: &str, bytes: u64) -> u64 {
        let target: Arc<str> = target.into();
        let mut count = 0;
        while limits.shortage(sizes, &target, bytes).is_none() {
            sizes.add(&target, bytes);
            count += 1;
        }
        count
    }

    #[test]
    fn one_target_may_fill_the_whole_outbox() {
        let limits = limits(10, 1000, &[("hook", BacklogLimit::default())]);
        assert_eq!(fill(&limits, &mut OutboxSizes::default(), "hook", 1), 10);
        assert_eq!(fill(&limits, &mut OutboxSizes::default(), "hook", 250), 4, "bytes count too");
    }

    #[test]
    fn a_target_that_does_not_answer_leaves_the_others_their_share() {
        let own = BacklogLimit::default();
        let limits = limits(100, u64::MAX >> 1, &[("hook", own.clone()), ("mail", own)]);
        let mut sizes = OutboxSizes::default();
        assert_eq!(fill(&limits, &mut sizes, "hook", 1), 75);
        assert_eq!(fill(&limits, &mut sizes, "mail", 1), 25);
        assert_eq!(sizes.total(), BacklogSize { rows: 100, bytes: 100 });
    }

    #[test]
    fn whatever_the_order_the_outbox_holds_no_more_than_it_may() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let names = ["a", "b", "c", "d"].map(Arc::<str>::from);
            let known = random.usize(1..=4);
            let own = names[..known].iter().map(|name| (&**name, BacklogLimit::default()));
            let most = random.u64(1..50);
            let limits = limits(most, 1000, &own.collect::<Vec<_>>());
            let mut sizes = OutboxSizes::default();
            for _ in 0..300 {
                let name = random.choice(&names[..known]).expect("there are some");
                let bytes = random.u64(1..100);
                if random.bool() && 0 < sizes.of(name).rows {
                    let size = sizes.of(name);
                    let bytes = if size.rows == 1 { size.bytes } else { size.bytes / size.rows };
                    sizes.take(name, bytes);
                } else if limits.shortage(&sizes, name, bytes).is_none() {
                    sizes.add(name, bytes);
                }
                let total = sizes.total();
                let firsts = 100 * known as u64;
                assert!(total.rows <= most, "seed {seed}: {total:?} of {most}");
                assert!(total.bytes <= 1000 + firsts, "seed {seed}: {total:?}");
            }
        }
    }

    #[test]
    fn an_event_larger_than_every_limit_is_delivered_when_nothing_waits() {
        let own = BacklogLimit { bytes: Some(10), ..BacklogLimit::default() };
        let limits = limits(10, 50, &[("hook", own)]);
        let mut sizes = OutboxSizes::default();
        assert_eq!(limits.shortage(&sizes, &"hook".into(), 500), None);
        sizes.add(&"hook".into(), 500);
        let shortage =
            limits.shortage(&sizes, &"hook".into(), 1).map(|shortage| shortage.to_string());
        let expected = "`hook` has no room: `max-bytes` of its `backlog` (10) is used up";
        assert_eq!(shortage.as_deref(), Some(expected));
    }

    #[test]
    fn who_is_refused_learns_which_setting_and_who_holds_the_room() {
        let own = BacklogLimit { rows: Some(2), ..BacklogLimit::default() };
        let limits = limits(4, 1000, &[("hook", BacklogLimit::default()), ("mail", own)]);
        let mut sizes = OutboxSizes::default();
        fill(&limits, &mut sizes, "hook", 1);
        sizes.add(&"mail".into(), 1);
        let shortage = |sizes: &OutboxSizes| {
            limits
                .shortage(sizes, &"mail".into(), 1)
                .map(|shortage| shortage.to_string())
                .unwrap_or_default()
        };
        let expected = "`mail` has no room: `outbox` of `limits` (4) is full, 3 wait for `hook`";
        assert_eq!(shortage(&sizes), expected);
        sizes.add(&"mail".into(), 1);
        assert_eq!(shortage(&sizes), "`mail` has no room: its `backlog` (2) is full");
    }
}
