//! When ticks are due. Everything here is a question about times; nothing waits.

use super::cron::CronPattern;
use jiff::tz::TimeZone;
use kernel::time::{Timestamp, write_duration};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::time::Duration;

/// The first width of a look back, in microseconds; each further one is four times as wide.
const LOOK_BACK: i64 = 60_000_000;

/// When a timer ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Schedule {
    /// At local times.
    Cron(CronPattern),
    /// At multiples of `span` since 1970-01-01T00:00:00Z, so that a restart does not move them.
    Every { span: Duration, jitter: Duration },
}

impl Schedule {
    /// For people.
    pub(super) fn says(&self) -> String {
        match self {
            Schedule::Cron(pattern) => format!("cron {}", pattern.text()),
            Schedule::Every { span, jitter } if jitter.is_zero() => {
                format!("every {}", write_duration(*span))
            }
            Schedule::Every { span, jitter } => {
                format!("every {}, up to {} later", write_duration(*span), write_duration(*jitter))
            }
        }
    }

    /// What makes it another schedule when it changes.
    pub(super) fn print(&self, zone: &TimeZone) -> String {
        match self {
            Schedule::Cron(pattern) => {
                format!("cron {} {}", pattern.text(), zone.iana_name().unwrap_or_default())
            }
            Schedule::Every { span, .. } => format!("every {}", write_duration(*span)),
        }
    }

    /// The first tick after this time.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Cron(pattern) => pattern.next(after, zone),
            Schedule::Every { span, .. } => {
                let span = i64::try_from(span.as_micros()).ok().filter(|it| 0 < *it)?;
                let next = after.0.div_euclid(span).checked_add(1)?.checked_mul(span)?;
                Some(Timestamp(next))
            }
        }
    }

    /// How long after its time a tick is sent: the same at every look, and another one for each
    /// tick and each `name`.
    pub(super) fn delay(&self, at: Timestamp, name: &str) -> Duration {
        let Schedule::Every { jitter, .. } = self else { return Duration::ZERO };
        let mut hasher = SipHasher13::new();
        hasher.write(name.as_bytes());
        hasher.write_i64(at.0);
        let jitter = jitter.as_micros() as u64;
        Duration::from_micros(hasher.finish() % (jitter + 1))
    }

    /// The newest ticks after `floor` and up to `until`, at most `count`, the oldest first.
    pub(super) fn newest(
        &self,
        floor: Timestamp,
        until: Timestamp,
        zone: &TimeZone,
        count: usize,
    ) -> Vec<Timestamp> {
        let mut width = LOOK_BACK;
        loop {
            let from = Timestamp(until.0.saturating_sub(width).max(floor.0));
            let mut found: Vec<Timestamp> = self.ticks(from, until, zone).collect();
            if count <= found.len() || from == floor {
                return found.split_off(found.len().saturating_sub(count));
            }
            width = width.saturating_mul(4);
        }
    }

    /// The ticks after `from` and up to `until`.
    pub(super) fn ticks<'a>(
        &'a self,
        from: Timestamp,
        until: Timestamp,
        zone: &'a TimeZone,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let next = move |at: Timestamp| self.next(at, zone).filter(|it| *it <= until);
        std::iter::successors(next(from), move |at| next(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(span: u64, jitter: u64) -> Schedule {
        let seconds = Duration::from_secs;
        Schedule::Every { span: seconds(span), jitter: seconds(jitter) }
    }

    fn seconds(ticks: &[Timestamp]) -> Vec<i64> {
        ticks.iter().map(|tick| tick.0 / 1_000_000).collect()
    }

    const fn at(second: i64) -> Timestamp {
        Timestamp(second * 1_000_000)
    }

    #[test]
    fn ticks_are_multiples_whatever_the_start() {
        let ticks = |from| {
            let schedule = every(600, 0);
            let found: Vec<_> = schedule.ticks(at(from), at(1900), &TimeZone::UTC).collect();
            seconds(&found)
        };
        assert_eq!(ticks(-1), [0, 600, 1200, 1800]);
        assert_eq!(ticks(0), [600, 1200, 1800]);
        assert_eq!(ticks(1201), [1800]);
    }

    #[test]
    fn the_newest_are_the_last_ones_of_all() {
        let hourly = Schedule::Cron(CronPattern::parse("0 * * * *").unwrap());
        for schedule in [every(3600, 0), hourly] {
            let newest = |floor, until, count| {
                seconds(&schedule.newest(at(floor), at(until), &TimeZone::UTC, count))
            };
            assert_eq!(newest(0, 36_000, 2), [32_400, 36_000]);
            assert_eq!(newest(0, 7300, 9), [3600, 7200]);
            assert_eq!(newest(3600, 7199, 9), Vec::<i64>::new());
            assert_eq!(newest(0, 36_000_000_010, 1), [36_000_000_000]);
        }
    }

    #[test]
    fn jitter_is_the_same_for_a_tick_and_another_for_the_next() {
        let schedule = every(600, 30);
        let delays: Vec<Duration> = (0..200).map(|it| schedule.delay(at(it * 600), "x")).collect();
        let again: Vec<Duration> = (0..200).map(|it| schedule.delay(at(it * 600), "x")).collect();
        assert_eq!(delays, again);
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(30)));
        assert!(delays.iter().any(|delay| *delay < Duration::from_secs(5)));
        assert!(delays.iter().any(|delay| Duration::from_secs(25) < *delay));
        assert_ne!(schedule.delay(at(0), "x"), schedule.delay(at(0), "y"));
        assert_eq!(every(600, 0).delay(at(600), "x"), Duration::ZERO);
    }
}
