//! How much of the writer's time goes to upkeep while events keep coming.
//!
//! A third of it; up to a half where a third does not delete as many events as arrive. So a store
//! under load stays as small as the file says, and an answer waits for at most one or two slices.

use std::time::Duration;

/// Time that may be saved up while there is nothing to keep up.
const CREDIT_MAX: Duration = Duration::from_millis(20);
/// Events that may be owed, or that may be deleted ahead.
const OWED_MAX: i64 = 100_000;

/// The account of one writer.
#[derive(Debug, Default)]
pub(super) struct UpkeepShare {
    /// Microseconds that upkeep may take, at half of what commits took: a third of all.
    third: i64,
    /// The same at all of what commits took: a half of all.
    half: i64,
    /// How many more events were stored than deleted.
    owed: i64,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl UpkeepShare {
    /// A commit took so long and stored so many events.
    pub(super) fn committed(&mut self, took: Duration, events: u64) {
        let most = micros(CREDIT_MAX);
        self.third = self.third.saturating_add(micros(took) / 2).min(most);
        self.half = self.half.saturating_add(micros(took)).min(most);
        self.owed = self.owed.saturating_add_unsigned(events).min(OWED_MAX);
    }

    /// Whether a slice of upkeep may begin while events wait.
    pub(super) fn allows(&self) -> bool {
        0 < self.third || (0 < self.owed && 0 <= self.half)
    }

    /// A slice took so long and deleted so many events.
    pub(super) fn spent(&mut self, took: Duration, deleted: u64) {
        self.third = self.third.saturating_sub(micros(took));
        self.half = self.half.saturating_sub(micros(took));
        self.owed = self.owed.saturating_sub_unsigned(deleted).max(-OWED_MAX);
    }

    /// There is nothing to keep up: nothing is owed.
    pub(super) fn settle(&mut self) {
        self.owed = 0;
        (self.third, self.half) = (self.third.max(0), self.half.max(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// Commits and slices of these lengths for a long while; the part of the time that slices
    /// took, and by how much more events came than went.
    fn run(commit: u64, events: u64, slice: u64, deleted: u64) -> (f64, i64) {
        let mut share = UpkeepShare::default();
        let (mut busy, mut kept, mut left) = (0, 0, 0);
        for _ in 0..10_000 {
            share.committed(millis(commit), events);
            (busy, left) = (busy + commit, left + events as i64);
            for _ in 0..2 {
                if !share.allows() {
                    break;
                }
                share.spent(millis(slice), deleted);
                (kept, left) = (kept + slice, left - deleted as i64);
            }
        }
        (kept as f64 / (busy + kept) as f64, left)
    }

    #[test]
    fn upkeep_has_a_third_where_that_is_enough() {
        let (part, left) = run(5, 10, 8, 500);
        assert!((0.32..0.34).contains(&part), "{part}");
        assert!(left < 0, "more goes than comes");
    }

    #[test]
    fn upkeep_deletes_as_many_as_arrive_as_long_as_half_of_the_time_is_enough() {
        let (part, left) = run(10, 400, 8, 400);
        assert!((0.34..0.46).contains(&part), "{part}");
        assert!(left <= 1000, "{left} more came than went");
    }

    #[test]
    fn upkeep_never_has_more_than_half() {
        let (part, left) = run(10, 1000, 8, 10);
        assert!((0.49..0.51).contains(&part), "{part}");
        assert!(0 < left);
    }

    #[test]
    fn where_time_stands_still_it_deletes_what_arrives() {
        let (_, left) = run(0, 100, 0, 200);
        assert!(left <= 0);
    }
}
