//! How long something took, over many times: a count for each size of time, four sizes to each
//! power of two. So a percentile is right to within an eighth.

use std::collections::BTreeMap;

/// A distribution of times in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    slots: BTreeMap<i64, u64>,
    most: u64,
}

/// The size of a time: exact below eight microseconds.
pub(super) fn slot_of(micros: u64) -> i64 {
    match micros {
        0..4 => micros as i64,
        _ => {
            let octave = i64::from(micros.ilog2());
            4 * (octave - 1) + ((micros >> (octave - 2)) & 3) as i64
        }
    }
}

/// The middle of all times of a size.
fn middle_of(slot: i64) -> u64 {
    let slot = slot.clamp(0, slot_of(u64::MAX)) as u64;
    match slot {
        0..8 => slot,
        _ => {
            let shift = slot / 4 - 1;
            ((4 + slot % 4) << shift) + (1 << (shift - 1))
        }
    }
}

impl Spread {
    /// Adds times of one size; `most` is the longest of them. A size below zero is not known, and
    /// says nothing.
    pub(super) fn add(&mut self, slot: i64, count: u64, most: u64) {
        if 0 <= slot {
            *self.slots.entry(slot).or_default() += count;
            self.most = self.most.max(most);
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Spread) {
        other.slots.iter().for_each(|(slot, count)| self.add(*slot, *count, other.most));
    }

    /// How many times are known.
    pub fn count(&self) -> u64 {
        self.slots.values().sum()
    }

    /// The time that `percent` of all are not longer than; `None` when there are none.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let slot = self.slots.iter().find(|slot| {
            seen += slot.1;
            rank <= seen
        });
        slot.map(|slot| middle_of(*slot.0).min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(times: &[u64]) -> Spread {
        let mut spread = Spread::default();
        times.iter().for_each(|time| spread.add(slot_of(*time), 1, *time));
        spread
    }

    #[test]
    fn sizes_follow_each_other_and_hold_their_middle() {
        let mut before = -1;
        for micros in (0..70_000).chain((17..64).map(|it| 1 << it)).chain([u64::MAX]) {
            let (slot, middle) = (slot_of(micros), middle_of(slot_of(micros)));
            assert!((before..=before + 1).contains(&slot) || 70_000 < micros, "{micros}");
            assert_eq!(slot_of(middle), slot, "{micros}");
            assert!(middle.abs_diff(micros) <= micros / 8, "{micros}: {middle}");
            before = slot;
        }
    }

    #[test]
    fn a_percentile_is_right_to_an_eighth_and_never_more_than_the_longest() {
        let mut random = 7_u64;
        for count in 1..200_usize {
            let mut times: Vec<u64> = (0..count)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    random >> (20 + random % 44)
                })
                .collect();
            let spread = spread(&times);
            times.sort_unstable();
            for percent in [1, 50, 95, 99, 100] {
                let exact = times[(count * percent as usize).div_ceil(100) - 1];
                let told = spread.percentile(percent).expect("there are some");
                assert!(told.abs_diff(exact) <= exact / 8, "{percent} of {times:?}: {told}");
                assert!(told <= times[count - 1]);
            }
        }
    }

    #[test]
    fn nothing_has_no_percentile_and_what_is_not_known_is_not_counted() {
        let mut nothing = Spread::default();
        nothing.add(-1, 5, 1000);
        assert_eq!((nothing.percentile(50), nothing.count()), (None, 0));
        let mut both = spread(&[3]);
        both.merge(&spread(&[5, 5]));
        assert_eq!((both.percentile(50), both.percentile(1), both.count()), (Some(5), Some(3), 3));
    }
}
