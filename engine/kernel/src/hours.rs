//! Hours of the day and days of the week, by the clock of a zone.

use super::time::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// From one time of the day to another, in minutes; the end is not included. Across midnight
/// where the end is before the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRange {
    from: u16,
    to: u16,
}

impl DayRange {
    /// Parses `22:00-07:00`; `None` if it is not a range, or an empty one.
    pub fn parse(text: &str) -> Option<DayRange> {
        let minute = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let is_time = matches!(hour.len(), 1 | 2) && minute.len() == 2;
            let is_time = is_time && all_digits(hour) && all_digits(minute);
            let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
            (is_time && minute < 60 && hour * 60 + minute <= DAY_MINUTES)
                .then_some(hour * 60 + minute)
        };
        let (from, to) = text.split_once('-')?;
        let range = DayRange { from: minute(from)?, to: minute(to)? };
        (range.from != range.to && range.from < DAY_MINUTES).then_some(range)
    }

    /// Whether a minute of the day is in it.
    pub fn has(self, minute: u16) -> bool {
        match self.from < self.to {
            true => (self.from..self.to).contains(&minute),
            false => self.from <= minute || minute < self.to,
        }
    }
}

/// The words of the days, Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekdays(u8);

impl Weekdays {
    /// All of them.
    pub const ALL: Weekdays = Weekdays(0x7f);

    /// Reads `mon-fri` or `mon wed sat-sun`. A range may go over the end of the week. The error is
    /// the part that names no day.
    pub fn parse(text: &str) -> Result<Weekdays, String> {
        let place =
            |word: &str| DAYS.iter().position(|day| *day == word).ok_or_else(|| word.to_owned());
        let mut days = 0;
        for part in text.split([' ', ',']).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (place(first)?, place(last)?);
            let count = (last + 7 - first) % 7;
            (first..=first + count).for_each(|it| days |= 1 << (it % 7));
        }
        if days == 0 { Err(text.to_owned()) } else { Ok(Weekdays(days)) }
    }

    fn has(self, date: Date) -> bool {
        self.0 & (1 << date.weekday().to_monday_zero_offset()) != 0
    }
}

/// Hours in which nobody wants to be disturbed. The days are those on which they begin.
#[derive(Debug, Clone, PartialEq)]
pub struct QuietHours {
    /// From when to when.
    pub range: DayRange,
    /// On which days they begin.
    pub days: Weekdays,
    /// Whose clock counts.
    pub zone: TimeZone,
}

impl QuietHours {
    /// When the hours end that are quiet at `now`; `None` where it is none of them.
    ///
    /// On the day on which the clock is put forward, a time that is left out is the moment of the
    /// change; on the day on which it is put back, hours begin at the first and end at the second
    /// of two equal times. So they are one stretch on every day.
    pub fn end_after(&self, now: Timestamp) -> Option<Timestamp> {
        let local = jiff::Timestamp::from_microsecond(now.0).ok()?.to_zoned(self.zone.clone());
        let today = local.date();
        let begun = [today.yesterday().ok(), Some(today)].into_iter().flatten();
        begun
            .filter_map(|day| self.stretch(day))
            .find(|stretch| stretch.0 <= now && now < stretch.1)
            .map(|stretch| stretch.1)
    }

    /// From when to when they are on the day on which they begin.
    fn stretch(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let DayRange { from, to } = self.range;
        let last = if to <= from { day.tomorrow().ok()? } else { day };
        let from = self.instant(at_minute(day, from)?, true)?;
        let to = self.instant(at_minute(last, to)?, false)?;
        self.days.has(day).then_some((from, to))
    }

    /// When the clock shows this time: the first time, or the last.
    fn instant(&self, local: DateTime, is_first: bool) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let at = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok()?,
            AmbiguousOffset::Fold { before, after } => {
                let offset = if is_first { before } else { after };
                offset.to_timestamp(local).ok()?
            }
            AmbiguousOffset::Gap { after, .. } => {
                let ahead = after.to_timestamp(local).ok()?;
                self.zone.following(ahead).next()?.timestamp()
            }
        };
        Some(Timestamp(at.as_microsecond()))
    }
}

/// A minute of a day; the last one may be the first of the next day.
fn at_minute(day: Date, minute: u16) -> Option<DateTime> {
    let day = if minute == DAY_MINUTES { day.tomorrow().ok()? } else { day };
    let minute = minute % DAY_MINUTES;
    Some(day.to_datetime(Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends(range: &str, days: &str, zone: &str, now: &str, end: Option<&str>) {
        let hours = QuietHours {
            range: DayRange::parse(range).expect("a range"),
            days: Weekdays::parse(days).expect("days"),
            zone: super::super::time::zone(zone).expect("a zone"),
        };
        let found = hours.end_after(Timestamp::parse(now).expect("a time"));
        assert_eq!(found, end.and_then(Timestamp::parse), "{range} {days} {zone} at {now}");
    }

    #[test]
    fn a_range_is_two_times_of_the_day() {
        for text in ["22:00-07:00", "0:00-24:00", " 9:30 - 10:00"] {
            assert!(DayRange::parse(text).is_some(), "{text}");
        }
        for text in ["", "22:00", "22-7", "24:00-07:00", "07:00-07:00", "22:60-07:00", "-1:00-2:00"]
        {
            assert_eq!(DayRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_ranges_and_single_ones() {
        assert_eq!(Weekdays::parse("mon-sun"), Ok(Weekdays::ALL));
        assert_eq!(Weekdays::parse("fri-mon"), Weekdays::parse("sat, sun mon fri"));
        assert_eq!(Weekdays::parse("mon-fry"), Err("fry".to_owned()));
        assert_eq!(Weekdays::parse(" "), Err(" ".to_owned()));
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        // 2026-01-02 is a Friday.
        let check = |now, end| ends("22:00-07:00", "mon-fri", "UTC", now, end);
        check("2026-01-02T21:59:59Z", None);
        check("2026-01-02T22:00:00Z", Some("2026-01-03T07:00:00Z"));
        check("2026-01-03T06:59:59Z", Some("2026-01-03T07:00:00Z"));
        check("2026-01-03T07:00:00Z", None);
        check("2026-01-03T23:00:00Z", None);
        check("2026-01-05T03:00:00Z", None);
        check("2026-01-05T22:00:00Z", Some("2026-01-06T07:00:00Z"));
    }

    #[test]
    fn hours_within_a_day_end_on_it() {
        ends("13:00-15:00", "mon-sun", "UTC", "2026-01-02T14:00:00Z", Some("2026-01-02T15:00:00Z"));
        ends("13:00-24:00", "mon-sun", "UTC", "2026-01-02T14:00:00Z", Some("2026-01-03T00:00:00Z"));
    }

    #[test]
    fn a_night_in_which_the_clock_is_put_forward_is_shorter() {
        let check = |range, now, end| ends(range, "mon-sun", "Europe/Berlin", now, end);
        check("22:00-07:00", "2026-03-28T21:00:00Z", Some("2026-03-29T05:00:00Z"));
        // There is no 02:30 on this day: from the change at 03:00 on, and up to it.
        check("02:30-06:00", "2026-03-29T00:59:59Z", None);
        check("02:30-06:00", "2026-03-29T01:00:00Z", Some("2026-03-29T04:00:00Z"));
        check("22:00-02:30", "2026-03-29T00:59:59Z", Some("2026-03-29T01:00:00Z"));
        check("22:00-02:30", "2026-03-29T01:00:00Z", None);
    }

    #[test]
    fn a_night_in_which_the_clock_is_put_back_is_longer() {
        let check = |range, zone, now, end| ends(range, "mon-sun", zone, now, end);
        let berlin = "Europe/Berlin";
        check("22:00-07:00", berlin, "2026-10-24T20:00:00Z", Some("2026-10-25T06:00:00Z"));
        // 02:30 comes twice: they end with the second, and begin with the first.
        check("22:00-02:30", berlin, "2026-10-25T00:45:00Z", Some("2026-10-25T01:30:00Z"));
        check("02:30-06:00", berlin, "2026-10-25T00:30:00Z", Some("2026-10-25T05:00:00Z"));
        let new_york = "America/New_York";
        check("22:00-01:30", new_york, "2026-11-01T05:45:00Z", Some("2026-11-01T06:30:00Z"));
        check("22:00-07:00", new_york, "2026-11-01T02:00:00Z", Some("2026-11-01T12:00:00Z"));
    }
}
