//! Whether the wall clock can be trusted with deleting.
//!
//! While the engine runs, a wall clock that moves against the monotonic one has jumped. Over a
//! restart the last good time is compared, which the store keeps: within one boot of the machine
//! by the time since the boot, over a reboot by what is likely.

use super::{StoreFault, rows};
use kernel::env::{BootTime, Clock};
use kernel::health::{HealthProblem, PartHealth};
use kernel::time::Timestamp;
use rusqlite::Connection;
use std::time::Duration;

/// 2020-01-01: a clock that shows an earlier time was never set.
const SET_SINCE: Timestamp = Timestamp(1_577_836_800_000_000);
/// A wall clock that moves by more than this against another clock has jumped.
const JUMP_MAX: Duration = Duration::from_secs(300);
/// After a jump nothing is deleted for so long.
const SANE_AFTER: Duration = Duration::from_secs(2 * 3600);
/// A machine that was off for longer than this is less likely than a wrong clock.
const OFF_MAX: Duration = Duration::from_secs(30 * 86_400);
/// After what may have been so long an absence nothing is deleted for so long: time for a clock to
/// be set, or for a person to see the warning.
const SANE_AFTER_ABSENCE: Duration = Duration::from_secs(86_400);

/// A time at which the clock was right, as far as the engine could know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GoodTime {
    wall: Timestamp,
    boot: Option<BootTime>,
}

impl GoodTime {
    pub(super) fn load(connection: &Connection) -> Result<Option<GoodTime>, StoreFault> {
        let wall = rows::meta(connection, "good_wall")? as i64;
        let id = rows::meta(connection, "good_boot")?;
        let since = Duration::from_micros(rows::meta(connection, "good_since_boot")?);
        let boot = (id != 0).then_some(BootTime { id, since });
        Ok((wall != 0).then_some(GoodTime { wall: Timestamp(wall), boot }))
    }

    pub(super) fn store(&self, connection: &Connection) -> Result<(), StoreFault> {
        let boot = self.boot.unwrap_or(BootTime { id: 0, since: Duration::ZERO });
        rows::set_meta(connection, "good_wall", self.wall.0 as u64)?;
        rows::set_meta(connection, "good_boot", boot.id)?;
        rows::set_meta(connection, "good_since_boot", boot.since.as_micros() as u64)
    }

    /// The time from this one to `now`, where both are of one boot of the machine.
    fn passed(&self, now: &GoodTime) -> Option<Duration> {
        let same_boot = self.boot.zip(now.boot).filter(|it| it.0.id == it.1.id);
        same_boot.and_then(|it| it.1.since.checked_sub(it.0.since))
    }

    /// What happened to the clock from this time to `now`: the jump, and for how long it is not to
    /// be trusted.
    fn jump_to(&self, now: &GoodTime) -> Option<(Jump, Duration)> {
        let passed = self.passed(now);
        let expected = self.wall.plus(passed.unwrap_or(Duration::ZERO));
        let jump = Jump::between(expected, now.wall);
        match (jump, passed) {
            (Jump::Back(by), _) if JUMP_MAX < by => Some((jump, SANE_AFTER)),
            (Jump::Ahead(by), Some(_)) if JUMP_MAX < by => Some((jump, SANE_AFTER)),
            (Jump::Ahead(by), None) if OFF_MAX < by => Some((jump, SANE_AFTER_ABSENCE)),
            _ => None,
        }
    }
}

/// How the wall clock stands to where it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jump {
    Ahead(Duration),
    Back(Duration),
}

impl Jump {
    fn between(expected: Timestamp, found: Timestamp) -> Jump {
        if expected <= found {
            Jump::Ahead(found.since(expected))
        } else {
            Jump::Back(expected.since(found))
        }
    }

    fn words(self) -> String {
        let (by, way) = match self {
            Jump::Ahead(by) => (by, "ahead"),
            Jump::Back(by) => (by, "back"),
        };
        let (count, unit) = match by.as_secs() {
            secs @ 172_800.. => (secs / 86_400, "days"),
            secs @ 7200.. => (secs / 3600, "hours"),
            secs => (secs / 60, "minutes"),
        };
        format!("{way} by {count} {unit}")
    }
}

/// What the clocks show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockFace {
    pub(super) wall: Timestamp,
    pub(super) monotonic: Duration,
    pub(super) boot: Option<BootTime>,
}

impl ClockFace {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        let (wall, monotonic, boot) = (clock.wall(), clock.monotonic(), clock.boot());
        ClockFace { wall, monotonic, boot }
    }

    fn good(&self) -> GoodTime {
        GoodTime { wall: self.wall, boot: self.boot }
    }

    /// A clock that never jumps, and counts a suspended machine's sleep where it can.
    fn steady(&self) -> Duration {
        self.boot.map_or(self.monotonic, |boot| boot.since)
    }

    /// Microseconds that `wall` is ahead of the steady clock.
    pub(super) fn offset(&self, wall: Timestamp) -> i64 {
        wall.0.saturating_sub(self.steady().as_micros() as i64)
    }
}

/// Watches the wall clock.
pub(super) struct ClockWatch {
    health: PartHealth,
    /// Wall time less steady time, as of the last look.
    offset: Option<i64>,
    /// The same as of the last time that it was trusted: a clock that comes back to it is right
    /// again.
    right: Option<i64>,
    /// Until then, on the monotonic clock, it is not trusted.
    until: Duration,
    is_trusted: bool,
    /// The last jump, while it counts.
    jump: Option<String>,
}

/// What a look at the clock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClockLook {
    /// Whether it may decide what is old.
    pub(super) is_trusted: bool,
    /// Whether it has just gone back, so that times in the store may be far ahead.
    pub(super) went_back: bool,
}

impl ClockWatch {
    /// From now on; `last` is the last good time of an earlier run.
    pub(super) fn start(health: PartHealth, last: Option<GoodTime>, now: ClockFace) -> Self {
        let until = now.monotonic;
        let mut watch =
            ClockWatch { health, offset: None, right: None, until, is_trusted: true, jump: None };
        if let Some((last, (jump, pause))) =
            last.and_then(|it| Some((it, it.jump_to(&now.good())?)))
        {
            watch.right = last.passed(&now.good()).map(|passed| now.offset(last.wall.plus(passed)));
            watch.jumped(format!("{} since {}", jump.words(), last.wall), now.monotonic + pause);
        }
        watch.look(now);
        watch
    }

    /// Whether it may decide what is old, as of the last look.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The time now, as long as it can be trusted.
    pub(super) fn good_time(&self, now: ClockFace) -> Option<GoodTime> {
        self.is_trusted.then(|| now.good())
    }

    /// Looks at the clock; to be called about once a second.
    pub(super) fn look(&mut self, now: ClockFace) -> ClockLook {
        let offset = now.offset(now.wall);
        let before = self.offset.replace(offset).unwrap_or(offset);
        let jump = Jump::between(Timestamp(before), Timestamp(offset));
        let (Jump::Ahead(by) | Jump::Back(by)) = jump;
        let has_jumped = JUMP_MAX <= by;
        if has_jumped {
            if self.right.is_some_and(|it| it.abs_diff(offset) < JUMP_MAX.as_micros() as u64) {
                self.until = now.monotonic;
            } else {
                let how = format!("{} at {}", jump.words(), now.wall);
                self.jumped(how, now.monotonic + SANE_AFTER);
            }
        }
        self.tell(now.wall, now.monotonic);
        self.is_trusted = SET_SINCE <= now.wall && self.until <= now.monotonic;
        if self.is_trusted {
            self.right = Some(offset);
        }
        let went_back = has_jumped && matches!(jump, Jump::Back(_));
        ClockLook { is_trusted: self.is_trusted, went_back }
    }

    fn jumped(&mut self, how: String, until: Duration) {
        self.until = self.until.max(until);
        self.jump = Some(how);
    }

    fn tell(&mut self, wall: Timestamp, monotonic: Duration) {
        if wall < SET_SINCE {
            let reason = format!("the clock shows {wall}, so it was never set; nothing is deleted");
            let advice = "set the clock, or wait until the network sets it";
            self.health.report(HealthProblem::degraded("clock-unset", reason).advise(advice));
        } else {
            self.health.clear("clock-unset");
        }
        if self.until <= monotonic {
            if self.jump.take().is_some() {
                self.health.clear("clock-jumped");
            }
        } else if let Some(how) = &self.jump {
            let left = Duration::from_secs((self.until - monotonic).as_secs().max(1));
            let end = wall.plus(left);
            let reason = format!("the clock jumped {how}; retention deletes nothing before {end}");
            let advice = "check the date of this machine; if it is right, there is nothing to do";
            self.health.report(HealthProblem::degraded("clock-jumped", reason).advise(advice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::health::{Health, PartRole};
    use kernel::testing::StillClock;
    use std::sync::Arc;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn wall(secs: u64) -> Timestamp {
        SET_SINCE.plus(at(10 * YEAR + secs))
    }

    fn good(wall: Timestamp, boot: Option<(u64, u64)>) -> GoodTime {
        GoodTime { wall, boot: boot.map(|(id, secs)| BootTime { id, since: at(secs) }) }
    }

    /// So many seconds after the start at this time.
    fn face(start: GoodTime, secs: u64) -> ClockFace {
        let boot = start.boot.map(|boot| BootTime { since: boot.since + at(secs), ..boot });
        ClockFace { wall: start.wall.plus(at(secs)), monotonic: at(secs), boot }
    }

    fn health() -> Arc<Health> {
        Health::new(Arc::new(StillClock::default()))
    }

    fn watch(health: &Arc<Health>, last: Option<GoodTime>, now: GoodTime) -> ClockWatch {
        ClockWatch::start(health.part(PartRole::Clock, ""), last, face(now, 0))
    }

    fn codes(health: &Health) -> Vec<&'static str> {
        let parts = health.report();
        parts.iter().flat_map(|part| &part.problems).map(|it| it.problem.code).collect()
    }

    #[test]
    fn a_clock_that_jumped_or_was_never_set_deletes_nothing() {
        let health = health();
        let mut clock = watch(&health, None, good(wall(0), None));
        let mut look =
            |wall, secs| clock.look(ClockFace { wall, monotonic: at(secs), boot: None }).is_trusted;
        assert!(look(wall(0), 0));
        assert!(look(wall(70), 10), "a minute is no jump");
        assert!(!look(wall(90_000), 20), "a day is");
        assert_eq!(codes(&health), ["clock-jumped"]);
        assert!(!look(wall(90_000 + 7000), 7020), "too soon");
        assert!(look(wall(90_000 + 7200), 7220));
        assert_eq!(codes(&health), [""; 0]);
        assert!(!look(Timestamp(5_000_000), 7221), "1970");
        assert_eq!(codes(&health), ["clock-jumped", "clock-unset"]);
    }

    #[test]
    fn a_clock_that_is_set_right_again_is_trusted_at_once() {
        let health = health();
        let mut clock = watch(&health, None, good(wall(0), None));
        let mut look = |wall, secs| clock.look(ClockFace { wall, monotonic: at(secs), boot: None });
        assert!(!look(wall(10 * YEAR), 10).is_trusted);
        assert!(!look(wall(DAY), 20).is_trusted, "back, but not to where it was");
        let again = look(wall(30), 30);
        assert_eq!(again, ClockLook { is_trusted: true, went_back: true });
        assert_eq!(codes(&health), [""; 0]);

        let last = good(wall(0), Some((7, 1000)));
        let wrong = good(wall(10 * YEAR), Some((7, 1005)));
        let mut clock = watch(&health, Some(last), wrong);
        assert!(!clock.look(face(wrong, 1)).is_trusted);
        let set = ClockFace { wall: wall(7), ..face(wrong, 2) };
        assert!(clock.look(set).is_trusted, "the boot tells what time it should be");
        assert_eq!(codes(&health), [""; 0]);
    }

    /// Whether a start trusts the clock that shows `now` after it was right at `last`, and after
    /// how many seconds.
    #[track_caller]
    fn start(last: GoodTime, now: GoodTime, trusted_after: u64) {
        let health = health();
        let mut clock = watch(&health, Some(last), now);
        let mut look = |secs: u64| clock.look(face(now, secs)).is_trusted;
        assert_eq!(look(0), trusted_after == 0);
        if 0 < trusted_after {
            assert_eq!(codes(&health), ["clock-jumped"]);
            assert!(!look(trusted_after - 1));
        }
        assert!(look(trusted_after));
        assert_eq!(codes(&health), [""; 0]);
    }

    #[test]
    fn a_jump_over_a_restart_is_a_jump() {
        let last = good(wall(0), Some((7, 1000)));
        // The same boot tells how much time has passed.
        start(last, good(wall(5), Some((7, 1005))), 0);
        start(last, good(wall(40 * DAY), Some((7, 1000 + 40 * DAY))), 0);
        start(last, good(wall(10 * YEAR), Some((7, 1005))), 2 * HOUR);
        start(last, good(wall(HOUR), Some((7, 1005))), 2 * HOUR);
        start(last, good(SET_SINCE.plus(at(5)), Some((7, 1005))), 2 * HOUR);
        // After a reboot it is not known: back is wrong, far ahead is likely to be.
        start(last, good(wall(29 * DAY), Some((8, 30))), 0);
        start(last, good(wall(10 * YEAR), Some((8, 30))), DAY);
        start(last, good(SET_SINCE, Some((8, 30))), 2 * HOUR);
        // A container may count its own time under the same name of a boot.
        start(last, good(wall(HOUR), Some((7, 3))), 0);
        start(good(wall(0), None), good(wall(HOUR), None), 0);
        start(good(wall(0), None), good(wall(YEAR), None), DAY);
    }

    #[test]
    fn only_a_time_that_is_trusted_is_kept() {
        let health = health();
        let now = good(wall(10 * YEAR), None);
        let mut clock = watch(&health, Some(good(wall(0), None)), now);
        assert_eq!(clock.good_time(face(now, 0)), None);
        let later = face(now, DAY);
        assert!(clock.look(later).is_trusted);
        assert_eq!(clock.good_time(later), Some(good(later.wall, None)));
        let back = clock.look(ClockFace { wall: wall(0), monotonic: at(DAY + 1), boot: None });
        assert_eq!(back, ClockLook { is_trusted: false, went_back: true });
    }

    #[test]
    fn a_machine_that_slept_has_not_jumped() {
        let health = health();
        let now = good(wall(0), Some((7, 1000)));
        let mut clock = watch(&health, None, now);
        let awake = ClockFace { monotonic: at(1), ..face(now, 8 * HOUR) };
        assert!(clock.look(awake).is_trusted);
    }

    #[test]
    fn a_good_time_is_kept_as_it_was() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE meta (key TEXT PRIMARY KEY, value)").unwrap();
        assert_eq!(GoodTime::load(&connection).unwrap(), None);
        for time in [good(wall(0), None), good(wall(1), Some((u64::MAX, 77)))] {
            time.store(&connection).unwrap();
            assert_eq!(GoodTime::load(&connection).unwrap(), Some(time));
        }
    }
}
