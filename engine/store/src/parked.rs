//! Deliveries for targets that the file no longer has: they are parked, said, and go on when the
//! target is back.
//!
//! *Invariant:* as of each commit, what waits for a target outside the file is parked or will be by
//! the upkeep that is under way.

use super::StoreFault;
use super::insert::{Batch, Written};
use super::outbox::BacklogSize;
use super::record::{DeliveryState, WriteReceipt};
use super::writer::Writer;
use kernel::health::{HealthProblem, PartRole};
use kernel::time::Timestamp;
use rusqlite::{OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

/// The code of a target whose deliveries are parked.
const PARKED: &str = "parked";
/// Rows that one transaction parks or wakes.
const PARKED_MAX: usize = 5000;
/// Of the deliveries that wait for another try, so many are looked through for the oldest.
const OLDEST_OF: i64 = 1000;

/// The targets of the file, as the last parking said; before the first one any may be.
pub(super) type KnownTargets = Option<Arc<BTreeSet<Arc<str>>>>;

impl Batch<'_> {
    /// Whether the file has this target.
    pub(super) fn is_target(&self, sink: &Arc<str>) -> bool {
        self.targets.as_ref().is_none_or(|targets| targets.contains(sink))
    }

    /// The state of a delivery that is to be made.
    pub(super) fn waiting_state(&self, sink: &Arc<str>) -> DeliveryState {
        if self.is_target(sink) { DeliveryState::Pending } else { DeliveryState::Parked }
    }

    /// Parks what is pending for targets that are gone, and wakes what was parked for those that
    /// are back: a part of it where much waits, and the effects say that there is more.
    pub(super) fn park(&mut self, present: &[Arc<str>]) -> Written {
        *self.targets = Some(Arc::new(present.iter().cloned().collect()));
        let waiting: Vec<Arc<str>> =
            self.holdings.outbox.by_target().map(|by_target| by_target.0.clone()).collect();
        let mut left = PARKED_MAX;
        let latest = self.now.plus(super::guard::DUE_MAX).0;
        for sink in waiting {
            let sql = match present.contains(&sink) {
                true => {
                    // A clock that was ahead may have put them off for years. What was held, its
                    // notifier judges again.
                    "UPDATE delivery_rows SET state = iif(held IS NULL, 0, 5),
                            not_before = min(not_before, ?3)
                        WHERE sink = ?1 AND seq IN
                        (SELECT seq FROM delivery_rows INDEXED BY delivery_rows_parked
                            WHERE sink = ?1 AND state = 3 LIMIT ?2)"
                }
                false => {
                    "UPDATE delivery_rows SET state = 3 WHERE ?3 = ?3 AND sink = ?1 AND seq IN
                        (SELECT seq FROM delivery_rows INDEXED BY delivery_rows_due
                            WHERE sink = ?1 AND state = 0 LIMIT ?2)"
                }
            };
            let values = params![&*sink, left as i64, latest];
            let moved = self.connection.prepare_cached(sql)?.execute(values)?;
            left -= moved.min(left);
        }
        self.held.forget_wake();
        self.effects.parking = Some((left == 0).then(|| present.to_vec()));
        self.effects.sinks.extend(present.iter().cloned());
        Ok(WriteReceipt::Done)
    }
}

impl Writer {
    /// Says what is parked, when that has changed.
    pub(super) fn tell_parked(&self) {
        let Some(targets) = &self.targets else { return };
        let all = self.holdings.outbox.by_target();
        let strays = all.filter(|(target, size)| 0 < size.rows && !targets.contains(*target));
        let now: BTreeMap<Arc<str>, BacklogSize> =
            strays.map(|(target, size)| (target.clone(), *size)).collect();
        let mut known = self.figures.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return;
        }
        for target in known.keys().filter(|key| !now.contains_key(*key)) {
            let part = self.env.health.part(PartRole::Target, target.clone());
            part.clear(PARKED);
            if !targets.contains(target) {
                self.env.health.remove(part.part());
            }
        }
        for (target, size) in now.iter().filter(|it| known.get(it.0) != Some(it.1)) {
            let what = match size.rows {
                1 => "1 delivery is parked".to_owned(),
                count => format!("{count} deliveries are parked"),
            };
            let reason = format!("{what}: no sink or notifier with this name is running");
            let advice =
                "they are kept, and delivered once the file has it again and it is enabled";
            let part = self.env.health.part(PartRole::Target, target.clone());
            part.report(HealthProblem::degraded(PARKED, reason).advise(advice));
        }
        *known = now;
    }

    /// Looks up when the oldest delivery of each target was made.
    pub(super) fn show_oldest(&self) -> Result<(), StoreFault> {
        let mut oldest = BTreeMap::new();
        for (target, _) in self.holdings.outbox.by_target().filter(|by_target| 0 < by_target.1.rows)
        {
            let mut first: Option<Timestamp> = None;
            for sql in OLDEST {
                let mut select = self.connection.prepare_cached(sql)?;
                let found = select.query_row(params![&**target, OLDEST_OF], |row| row.get(0));
                let found: Option<i64> = found.optional()?.flatten();
                first = first.into_iter().chain(found.map(Timestamp)).min();
            }
            oldest.extend(first.map(|it| (target.clone(), it)));
        }
        *self.figures.oldest.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
        Ok(())
    }
}

/// When the oldest was made: of those not tried yet, of those to be tried again (as far as it is
/// among the first of them), of those parked, and of those held. Each reads one index and few rows.
pub(super) const OLDEST: [&str; 4] = [
    "SELECT created FROM delivery_rows INDEXED BY delivery_rows_due
     WHERE sink = ?1 AND state = 0 AND not_before = 0 AND ?2 > 0 ORDER BY seq LIMIT 1",
    "SELECT min(created) FROM (SELECT created FROM delivery_rows INDEXED BY delivery_rows_due
        WHERE sink = ?1 AND state = 0 AND not_before > 0 ORDER BY not_before LIMIT ?2)",
    "SELECT created FROM delivery_rows INDEXED BY delivery_rows_parked
     WHERE sink = ?1 AND state = 3 AND ?2 > 0 ORDER BY seq LIMIT 1",
    "SELECT created FROM delivery_rows INDEXED BY delivery_rows_held
     WHERE sink = ?1 AND state = 5 AND ?2 > 0 ORDER BY seq LIMIT 1",
];
