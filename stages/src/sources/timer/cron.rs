//! A cron pattern: which local times it names, and when they come in a zone.
//!
//! The crate reads a field and finds local times; it knows no zone here. Where the clock is set,
//! this decides: a local time that is skipped comes at the moment of the change, one that is
//! repeated comes once. A pattern that goes through every hour follows time as it passes: what is
//! skipped is left out, and what is repeated comes twice.

use super::field::{FIELDS, find_mistakes};
use cronexpr::{Crontab, MakeTimestamp, parse_crontab};
use jiff::tz::TimeZone;
use kernel::time::Timestamp;
use std::ops::Range;

/// A pattern that names no time within these years never does: 29 February may be a Monday only
/// once in 40 years.
const YEARS: i64 = 40;
/// The crate looks four years ahead.
const LOOK: i64 = 4 * 365 * 86_400 * SECOND;
const SECOND: i64 = 1_000_000;
/// 2024-01-01T00:00:00Z, for questions that have no time.
const SOME_TIME: i64 = 1_704_067_200 * SECOND;

/// A pattern of five fields.
#[derive(Debug, Clone)]
pub(super) struct CronPattern {
    /// As written, with one blank between two fields.
    text: String,
    times: Crontab,
    /// Whether it names every hour.
    is_hourly: bool,
    /// Whether it comes twice in an hour that is repeated.
    repeats: bool,
}

/// What is wrong with a pattern.
#[derive(Debug, PartialEq)]
pub(super) struct CronMistake {
    /// The bytes of the pattern that are concerned.
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) label: String,
    pub(super) help: String,
}

impl PartialEq for CronPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl CronPattern {
    /// Reads a pattern; the error is everything that is wrong with it.
    pub(super) fn parse(text: &str) -> Result<CronPattern, Vec<CronMistake>> {
        let mistakes = find_mistakes(text);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let text_of_all = fields.join(" ");
        let Some(times) = times_of(&text_of_all) else {
            return Err(vec![CronMistake {
                at: 0..text.len(),
                message: format!("`{text}` is not a cron pattern"),
                label: "this cannot be read".to_owned(),
                help: format!("the five fields are {}", FIELDS.map(|field| field.name).join(", ")),
            }]);
        };
        let hours = times_of(&format!("* {} * * *", fields[1]));
        let has = |hour: i64| {
            let time = micros(SOME_TIME + hour * 3600 * SECOND);
            let fits = |(hours, time): (&Crontab, _)| hours.matches(MakeTimestamp(time));
            hours.as_ref().zip(time).map(fits).is_some_and(|it| it.is_ok_and(|fits| fits))
        };
        let is_hourly = (0..24).all(has);
        let repeats = is_hourly || fields[0].starts_with('*');
        let pattern = CronPattern { text: text_of_all, times, is_hourly, repeats };
        if pattern.next_local(SOME_TIME).is_none() {
            return Err(vec![never(text)]);
        }
        Ok(pattern)
    }

    /// As written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The first time after this one.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = micros(after.0)?;
        // Local times are compared as microseconds since 1970-01-01T00:00 of the same place.
        let mut offset = offset_at(zone, from);
        let mut beyond = after.0.checked_add(offset)?;
        let last_change = zone.preceding(micros(after.0.checked_add(1)?)?).next();
        let mut change = last_change.map(|last_change| last_change.timestamp().as_microsecond());
        loop {
            if let Some(change) = change.filter(|_| !self.repeats) {
                let before = offset_at(zone, micros(change - 1)?);
                // Up to here the same local times have been before.
                beyond = beyond.max(change + before - 1);
            }
            let local = self.next_local(beyond)?;
            let Some(next) = zone.following(from).next() else {
                return Some(Timestamp(local - offset));
            };
            let end = next.timestamp().as_microsecond();
            if local - offset < end {
                return Some(Timestamp(local - offset));
            }
            let offset_then = i64::from(next.offset().seconds()) * SECOND;
            if !self.is_hourly && local < end + offset_then {
                return Some(Timestamp(end));
            }
            (from, change) = (next.timestamp(), Some(end));
            (offset, beyond) = (offset_then, end + offset_then - 1);
        }
    }

    /// The first local time after this one.
    fn next_local(&self, after: i64) -> Option<i64> {
        let mut from = after;
        while from < after.saturating_add(YEARS / 4 * LOOK) {
            // An error says that there is none in the next four years.
            if let Ok(found) = self.times.find_next(MakeTimestamp(micros(from)?)) {
                return Some(found.timestamp().as_microsecond());
            }
            from += LOOK;
        }
        None
    }
}

/// The local times of a pattern, as if they were of UTC.
pub(super) fn times_of(pattern: &str) -> Option<Crontab> {
    parse_crontab(&format!("{pattern} UTC")).ok()
}

fn micros(time: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(time).ok()
}

fn offset_at(zone: &TimeZone, time: jiff::Timestamp) -> i64 {
    i64::from(zone.to_offset(time).seconds()) * SECOND
}

fn never(text: &str) -> CronMistake {
    CronMistake {
        at: 0..text.len(),
        message: format!("`{text}` never matches"),
        label: "no year has this date".to_owned(),
        help: "check the day of the month and the month: `0 8 28 2 *` is 28 February".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60 * SECOND;

    fn zone(name: &str) -> TimeZone {
        kernel::time::zone(name).expect("a zone")
    }

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    /// The times of a pattern after `from` and up to `until`, in the zone.
    #[track_caller]
    fn check(pattern: &str, place: &str, from: &str, until: &str, expected: &[&str]) {
        let (pattern, zone) = (CronPattern::parse(pattern).unwrap(), zone(place));
        let (mut at, mut found) = (time(from), Vec::new());
        while let Some(next) = pattern.next(at, &zone).filter(|it| *it <= time(until)) {
            let shown = jiff::Timestamp::from_microsecond(next.0).unwrap().to_zoned(zone.clone());
            found.push(shown.strftime("%m-%d %H:%M%:z").to_string());
            at = next;
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn it_comes_at_local_times_on_workdays() {
        let (from, until) = ("2026-01-01T12:00:00Z", "2026-01-06T12:00:00Z");
        let expected = ["01-02 07:30+01:00", "01-05 07:30+01:00", "01-06 07:30+01:00"];
        check("30 7 * * 1-5", "Europe/Berlin", from, until, &expected);
        check("30 7 * * mon-FRI", "Europe/Berlin", from, until, &expected);
        check("30 7 1 jan *", "UTC", from, "2027-06-01T00:00:00Z", &["01-01 07:30+00:00"]);
        // Either the day of the month or the weekday, as every cron has it.
        let either = ["01-02 08:00+00:00", "01-03 08:00+00:00", "01-05 08:00+00:00"];
        check("0 8 3 * mon,fri", "UTC", from, "2026-01-06T00:00:00Z", &either);
    }

    #[test]
    fn what_the_clock_skips_comes_at_the_change() {
        let night = |pattern, expected: &[&str]| {
            let (from, until) = ("2026-03-28T23:30:00Z", "2026-03-29T01:31:00Z");
            check(pattern, "Europe/Berlin", from, until, expected);
        };
        night("30 2 * * *", &["03-29 03:00+02:00"]);
        night("*/10 2 * * *", &["03-29 03:00+02:00"]);
        night("0,30 2,3 * * *", &["03-29 03:00+02:00", "03-29 03:30+02:00"]);
        let hourly = ["03-29 01:30+01:00", "03-29 03:30+02:00"];
        night("30 * * * *", &hourly);
        night("30 0-23 * * *", &hourly);
        night("0 */2 * * *", &["03-29 03:00+02:00"]);
        let (from, until) = ("2026-03-08T05:00:00Z", "2026-03-09T08:00:00Z");
        let expected = ["03-08 03:00-04:00", "03-09 02:15-04:00"];
        check("15 2 * * *", "America/New_York", from, until, &expected);
    }

    #[test]
    fn what_the_clock_repeats_comes_once_unless_it_goes_through() {
        let night = |pattern, expected: &[&str]| {
            let (from, until) = ("2026-10-24T23:55:00Z", "2026-10-25T02:00:00Z");
            check(pattern, "Europe/Berlin", from, until, expected);
        };
        night("30 2 * * *", &["10-25 02:30+02:00"]);
        night("0 2,3 * * *", &["10-25 02:00+02:00", "10-25 03:00+01:00"]);
        night("30 * * * *", &["10-25 02:30+02:00", "10-25 02:30+01:00"]);
        let through = ["02:00+02", "02:30+02", "02:00+01", "02:30+01", "03:00+01"];
        let through = through.map(|it| format!("10-25 {it}:00"));
        night("*/30 * * * *", &through.each_ref().map(String::as_str));
        // Also when it is asked in the middle of the second hour.
        let second = ("2026-10-25T01:10:00Z", "2026-10-26T01:31:00Z");
        check("30 2 * * *", "Europe/Berlin", second.0, second.1, &["10-26 02:30+01:00"]);
        // This island changes by half an hour.
        let (from, until) = ("2026-04-04T14:00:00Z", "2026-04-04T16:00:00Z");
        let once = ["04-05 01:45+11:00", "04-05 02:00+10:30"];
        check("45 1 * * *", "Australia/Lord_Howe", from, until, &once[..1]);
        check("0 2 * * *", "Australia/Lord_Howe", from, until, &once[1..]);
    }

    #[test]
    fn a_leap_day_comes_after_years() {
        let (from, until) = ("2097-01-01T00:00:00Z", "2109-01-01T00:00:00Z");
        let expected = ["02-29 00:00+00:00", "02-29 00:00+00:00"];
        check("0 0 29 2 *", "UTC", from, until, &expected);
    }

    /// A field of a random pattern with the values that it names.
    fn field(low: u32, high: u32) -> impl Strategy<Value = (String, Vec<u32>)> {
        let every = Just(("*".to_owned(), (low..=high).collect()));
        let one = (low..=high).prop_map(|scalar| (scalar.to_string(), vec![scalar]));
        let step = (1..=(high - low)).prop_map(move |step| {
            (format!("*/{step}"), (low..=high).step_by(step as usize).collect())
        });
        let range = (low..=high, low..=high, 1..=5_u32).prop_map(move |(a, b, step)| {
            let (from, to) = (a.min(b), a.max(b));
            let step = step.min(high - low);
            (format!("{from}-{to}/{step}"), (from..=to).step_by(step as usize).collect())
        });
        let list = (low..=high, low..=high).prop_map(|(a, b)| (format!("{a},{b}"), vec![a, b]));
        prop_oneof![every, one, step, range, list]
    }

    type Fields = [(String, Vec<u32>); 5];

    fn fits(fields: &Fields, local: i64) -> bool {
        let zoned = micros(local).expect("a time").to_zoned(TimeZone::UTC);
        let has = |at: usize, value: i8| fields[at].1.contains(&(value as u32));
        let day = has(2, zoned.day());
        let week = has(4, zoned.weekday().to_sunday_zero_offset());
        let is_both = fields[2].0.starts_with('*') || fields[4].0.starts_with('*');
        let is_day = if is_both { day && week } else { day || week };
        has(0, zoned.minute()) && has(1, zoned.hour()) && has(3, zoned.month()) && is_day
    }

    /// Whether a pattern comes at this minute, told without the next one.
    fn comes(fields: &Fields, at: i64, zone: &TimeZone) -> bool {
        let offset = |at: i64| offset_at(zone, micros(at).expect("a time"));
        let is_hourly = fields[1].1.len() == 24;
        let repeats = is_hourly || fields[0].0.starts_with('*');
        let (now, before) = (offset(at), offset(at - MINUTE));
        let skipped = (at + before..at + now).step_by(MINUTE as usize);
        if !is_hourly && { skipped }.any(|local| fits(fields, local)) {
            return true;
        }
        // The same local time was shown within the last three hours.
        let local = at + now;
        let was_before = |number: i64| {
            let earlier = at - number * MINUTE;
            earlier + offset(earlier) == local
        };
        fits(fields, local) && (repeats || !(1..=180).any(was_before))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        #[test]
        fn the_next_time_is_what_a_look_at_each_minute_finds(
            minute in field(0, 59),
            hour in field(0, 23),
            day in prop_oneof![3 => Just(("*".to_owned(), (1..=31).collect())), 1 => field(1, 31)],
            week in prop_oneof![3 => Just(("*".to_owned(), (0..=6).collect())), 1 => field(0, 6)],
            place in prop::sample::select(vec![
                "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC",
            ]),
            start in prop::sample::select(vec![
                "2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-03-07T20:00:00Z",
                "2026-10-31T20:00:00Z", "2026-04-04T02:00:00Z", "2026-10-03T02:00:00Z",
            ]),
        ) {
            let month = ("*".to_owned(), (1..=12).collect());
            let fields = [minute, hour, day, month, week];
            let text = fields.each_ref().map(|it| it.0.as_str()).join(" ");
            let (pattern, zone) = (CronPattern::parse(&text).unwrap(), zone(place));
            let (start, length) = (time(start).0, 40 * 60);
            let minutes = (1..=length).map(|it| start + it * MINUTE);
            let expected: Vec<i64> = minutes.filter(|at| comes(&fields, *at, &zone)).collect();
            let (mut found, mut at) = (Vec::new(), Timestamp(start));
            while let Some(next) = pattern.next(at, &zone) {
                prop_assert!(at < next, "{text} in {place}");
                if start + length * MINUTE < next.0 { break }
                found.push(next.0);
                at = next;
            }
            prop_assert_eq!(found, expected, "{} in {}", text, place);
        }
    }
}
