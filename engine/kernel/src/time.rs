//! Points in time as the engine stores them: microseconds since the Unix epoch.
//!
//! *Invariant:* a time that was made from a number or a text is a whole number of milliseconds,
//! because that is what is shown: what looks equal is equal.

use std::fmt;
use std::time::Duration;

/// A zone of the IANA database, by its name.
pub fn zone(name: &str) -> Option<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name).ok()
}

/// The end of the year 9999, in Unix seconds.
const SECONDS_MAX: f64 = 253_402_300_800.0;

/// A point in time, in microseconds since 1970-01-01T00:00:00Z; negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From Unix seconds with a fraction. `None` outside the years 1 to 9999 or when not finite.
    pub fn from_unix_seconds(seconds: f64) -> Option<Self> {
        let millis = seconds * 1e3;
        // What is a whole millisecond in decimal digits may be a hair less in binary ones.
        let millis = (millis + millis.abs() * 2.0 * f64::EPSILON).floor();
        let range = -62_135_596_800e3..SECONDS_MAX * 1e3;
        range.contains(&millis).then(|| Timestamp(millis as i64 * 1000))
    }

    /// Without what is not shown of it.
    #[must_use]
    pub fn in_millis(self) -> Self {
        Timestamp(self.0.div_euclid(1000).saturating_mul(1000))
    }

    /// From RFC 3339 text with an offset or `Z`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse::<jiff::Timestamp>() {
            Ok(it) => Some(Timestamp(it.as_microsecond()).in_millis()),
            Err(_) => last_day(text),
        }
    }

    /// From RFC 3339 text; one without an offset is in the zone, or else in UTC.
    pub fn parse_in(text: &str, zone: Option<&jiff::tz::TimeZone>) -> Option<Self> {
        Timestamp::parse(text).or_else(|| {
            let at = civil(text)?.to_zoned(zone.cloned().unwrap_or(jiff::tz::TimeZone::UTC));
            at.ok().map(|at| Timestamp(at.timestamp().as_microsecond()).in_millis())
        })
    }

    /// The same for a bound: of the first days of the calendar, which have no time of their own
    /// here, the nearest time that there is.
    pub fn parse_bound(text: &str) -> Option<Self> {
        Timestamp::parse(text).or_else(|| {
            let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
            let (offset, _) = (pieces.to_numeric_offset()?, pieces.time()?);
            debug_assert!(offset.seconds().abs() < 100 * 3600, "jiff has read it");
            let is_late = 0 < pieces.date().year();
            let end = if is_late { jiff::Timestamp::MAX } else { jiff::Timestamp::MIN };
            Some(Timestamp(end.as_microsecond()).in_millis())
        })
    }

    /// Unix seconds with a fraction.
    pub fn unix_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This much later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(duration.as_micros().min(i64::MAX as u128) as i64))
    }

    /// This much earlier; saturates.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_sub(duration.as_micros().min(i64::MAX as u128) as i64))
    }

    /// For people on this machine: `2026-01-01 10:50:04.318` in the system's zone.
    pub fn local(self) -> String {
        let zoned = jiff::Timestamp::from_microsecond(self.0)
            .map(|microsecond| microsecond.to_zoned(jiff::tz::TimeZone::system()));
        match zoned {
            Ok(zoned) => zoned.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            Err(_) => self.to_string(),
        }
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-01-01T09:50:04.318Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days to civil date after Howard Hinnant, "chrono-compatible low-level date algorithms".
        let millis = self.0.div_euclid(1000);
        let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (seconds, milli) = (in_day / 1000, in_day % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let parts = [
            (0..4, year.rem_euclid(10_000)),
            (5..7, month),
            (8..10, day),
            (11..13, hour),
            (14..16, minute),
            (17..19, second),
            (20..23, milli),
        ];
        // Several are written for each event that is stored, so without the formatter.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (place, mut rest) in parts {
            for digit in text[place].iter_mut().rev() {
                *digit += (rest % 10) as u8;
                rest /= 10;
            }
        }
        let text = std::str::from_utf8(&text).expect("it is digits");
        match year {
            0..10_000 => f.write_str(text),
            _ => write!(f, "{year:04}{}", &text[4..]),
        }
    }
}

/// A time on the last days of the year 9999, which `jiff` leaves out, and people write for "never".
/// What is of the year 10000 in UTC is the end of 9999.
fn last_day(text: &str) -> Option<Timestamp> {
    if !text.starts_with("9999-12-3") {
        return None;
    }
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let (offset, time) = (pieces.to_numeric_offset()?, pieces.time()?);
    let utc = pieces
        .date()
        .to_datetime(time)
        .duration_since(jiff::civil::DateTime::from(jiff::civil::Date::constant(1970, 1, 1)));
    let micros = utc.as_micros() - i128::from(offset.seconds()) * 1_000_000;
    let end = SECONDS_MAX as i64 * 1_000_000 - 1000;
    Some(Timestamp(i64::try_from(micros).map_or(end, |micros| micros.min(end))).in_millis())
}

/// A date and the time of day, without an offset: `2026-03-05T10:00:00`, `2026-03-05 10:00`.
fn civil(text: &str) -> Option<jiff::civil::DateTime> {
    const DATE: usize = "2026-03-05".len();
    let has_time = matches!(text.as_bytes().get(DATE), Some(b'T' | b't' | b' '));
    // An offset or the name of a zone that cannot be read must not be taken for none.
    let is_plain = |byte: u8| byte.is_ascii_digit() || b":.,".contains(&byte);
    let is_civil = has_time && text.bytes().skip(DATE + 1).all(is_plain);
    is_civil.then(|| text.parse().ok()).flatten()
}

/// What a number beyond all times in Unix seconds counts, by its size, and how many of them a
/// second has.
pub fn smaller_unit(number: f64) -> Option<(&'static str, u64)> {
    let units =
        [("milliseconds", 1000), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000)];
    let is_seconds = number.abs() < SECONDS_MAX;
    let fits = |unit: &(&str, u64)| number.abs() / (unit.1 as f64) < SECONDS_MAX;
    units.into_iter().find(fits).filter(|_| !is_seconds)
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// The stretch of the calendar that `time` falls into, where the calendar is cut into pieces of
/// `span`: from its beginning up to its end, which is not part of it. Pieces of less than a day are
/// counted from midnight of the zone (UTC where there is none), and the last one ends at the next
/// midnight; longer ones are counted from 1970-01-01.
///
/// Where the clock is put forward or back, a piece of more than an hour is shorter or longer, so
/// that it begins and ends when the clock on the wall says so. Up to an hour, pieces are as long as
/// ever.
pub fn calendar_span(
    time: Timestamp,
    span: Duration,
    zone: Option<&jiff::tz::TimeZone>,
) -> (Timestamp, Timestamp) {
    const UTC: &jiff::tz::TimeZone = &jiff::tz::TimeZone::UTC;
    let zone = zone.unwrap_or(UTC);
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX).max(1);
    let offset = |at: i64| {
        let instant = jiff::Timestamp::from_microsecond(at).unwrap_or_default();
        i64::from(zone.to_offset(instant).seconds()) * 1_000_000
    };
    let local = time.0.saturating_add(offset(time.0));
    if span <= HOUR {
        let begins = local.div_euclid(span).saturating_mul(span).saturating_sub(offset(time.0));
        return (Timestamp(begins), Timestamp(begins.saturating_add(span)));
    }
    // A bound of the clock on the wall may be an hour off where the clock is changed, so its
    // neighbors are looked at, too.
    let unit = span.max(DAY);
    let first = local.div_euclid(unit);
    let begins = (first - 1..=first + 2).map(|it| it.saturating_mul(unit));
    let local_bounds = begins.flat_map(|begins| {
        (0..unit).step_by(span as usize).map(move |within| begins.saturating_add(within))
    });
    let (mut begins, mut ends) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    for bound in local_bounds.map(|local| instant(local, zone)) {
        match bound <= time {
            true => begins = begins.max(bound),
            false => ends = ends.min(bound),
        }
    }
    (begins, ends)
}

/// The hour of the week in a zone (UTC where there is none): 0 begins on Monday at midnight, 167 ends
/// on Sunday.
pub fn hour_of_week(time: Timestamp, zone: Option<&jiff::tz::TimeZone>) -> u8 {
    const WEEK: i64 = 7 * 24;
    // 1970-01-01 was a Thursday.
    const FIRST: i64 = 3 * 24;
    let instant = jiff::Timestamp::from_microsecond(time.0).unwrap_or_default();
    let offset = zone.map_or(0, |zone| i64::from(zone.to_offset(instant).seconds()) * 1_000_000);
    let hours = time.0.saturating_add(offset).div_euclid(HOUR);
    (hours + FIRST).rem_euclid(WEEK) as u8
}

/// When the clock on the wall of a zone shows a time; `local` is that time as if the zone were UTC.
/// What it shows twice is meant the first time, and what it leaves out is as much later.
fn instant(local: i64, zone: &jiff::tz::TimeZone) -> Timestamp {
    let utc =
        |at| Some(jiff::Timestamp::from_microsecond(at).ok()?.to_zoned(jiff::tz::TimeZone::UTC));
    let shown = utc(local).and_then(|utc| zone.to_timestamp(utc.datetime()).ok());
    shown.map_or(Timestamp(local), |shown| Timestamp(shown.as_microsecond()))
}

/// A duration as the file writes it, in the largest unit that fits: `"90s"`, `"2m"`.
pub fn write_duration(duration: Duration) -> String {
    for (unit, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        let whole = duration.as_millis();
        if millis <= whole && whole.is_multiple_of(millis) {
            return format!("{}{unit}", whole / millis);
        }
    }
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        assert_eq!(Timestamp::parse(text).map(|it| it.to_string()).as_deref(), Some(shown));
    }

    #[test]
    fn what_is_shown_is_what_was_read() {
        check("2026-01-01T09:50:04.318Z", "2026-01-01T09:50:04.318Z");
        check("2024-02-29T23:59:59.999+01:00", "2024-02-29T22:59:59.999Z");
        check("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z");
        check("9999-12-30T00:00:00Z", "9999-12-30T00:00:00.000Z");
        check("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z");
        check("-000001-12-31T23:59:59.999Z", "-001-12-31T23:59:59.999Z");
        check("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z");
        check("9999-12-31T00:30:00+01:00", "9999-12-30T23:30:00.000Z");
        check("9999-12-31 23:59:59.9-12:00", "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::parse("9999-12-31"), None);
        assert_eq!(Timestamp::parse("9999-12-32T00:00:00Z"), None);
        assert_eq!(Timestamp(i64::MAX).to_string(), "294247-01-10T04:00:54.775Z");
        assert_eq!(Timestamp(i64::MIN).to_string(), "-290308-12-21T19:59:05.224Z");
    }

    #[test]
    fn what_is_not_shown_is_not_kept() {
        let read = Timestamp::parse("2026-01-05T09:30:00.123456Z").unwrap();
        assert_eq!(Timestamp::from_unix_seconds(1_767_605_400.123_456), Some(read));
        assert_eq!(Timestamp::parse_in("2026-01-05T09:30:00.1239", None), Some(read));
        assert_eq!(Timestamp::parse(&read.to_string()), Some(read));
        assert_eq!(Timestamp(-1).in_millis(), Timestamp(-1000));
        for millis in (-62_135_596_800_000..253_402_300_799_999_i64).step_by(97_777_777_777) {
            let read = Timestamp::from_unix_seconds(millis as f64 / 1e3);
            assert_eq!(read, Timestamp(millis * 1000).into(), "{millis}");
        }
    }

    #[test]
    fn a_bound_may_be_at_either_end_of_the_calendar() {
        let bound = |text: &str| Timestamp::parse_bound(text).map(|it| it.to_string());
        assert!(bound("-009999-01-01T00:00:00Z").is_some());
        assert_eq!(bound("2026-01-01T00:00:00Z").as_deref(), Some("2026-01-01T00:00:00.000Z"));
        for wrong in ["9999-12-31", "9999-12-31T23:59:59", "9999-13-31T00:00:00Z", "soon", ""] {
            assert_eq!(bound(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_calendar_is_cut_by_the_clock_on_the_wall() {
        let check = |zone_name: &str, time: &str, span: u64, expected: [&str; 2]| {
            let (time, zone) = (Timestamp::parse(time).unwrap(), zone(zone_name).unwrap());
            let (begins, ends) = calendar_span(time, Duration::from_secs(span), Some(&zone));
            assert!(begins <= time && time < ends);
            assert_eq!([begins, ends].map(|it| it.to_string().replace(":00.000Z", "Z")), expected);
        };
        let day = 86_400;
        check("UTC", "2026-01-01T10:07:00Z", 300, ["2026-01-01T10:05Z", "2026-01-01T10:10Z"]);
        check(
            "Asia/Kolkata",
            "2026-01-01T10:07:00Z",
            3600,
            ["2026-01-01T09:30Z", "2026-01-01T10:30Z"],
        );
        // A day of 23 hours, and one of 25.
        let berlin = "Europe/Berlin";
        check(berlin, "2026-03-29T10:00:00Z", day, ["2026-03-28T23:00Z", "2026-03-29T22:00Z"]);
        check(berlin, "2026-10-25T22:59:00Z", day, ["2026-10-24T22:00Z", "2026-10-25T23:00Z"]);
        // A week is counted from 1970-01-01, a Thursday.
        check("UTC", "2026-01-02T00:00:00Z", 7 * day, ["2026-01-01T00:00Z", "2026-01-08T00:00Z"]);
        check("UTC", "1969-12-31T23:00:00Z", day, ["1969-12-31T00:00Z", "1970-01-01T00:00Z"]);
    }

    #[test]
    fn pieces_of_the_calendar_follow_each_other_when_the_clock_is_changed() {
        const MINUTE: i64 = 60_000_000;
        let zones = [
            ("UTC", ["2026-03-29", "2026-10-25"]),
            ("Europe/Berlin", ["2026-03-29", "2026-10-25"]),
            ("America/New_York", ["2026-03-08", "2026-11-01"]),
            // By half an hour.
            ("Australia/Lord_Howe", ["2026-04-05", "2026-10-04"]),
            // There is no midnight on the first day.
            ("Asia/Beirut", ["2026-03-29", "2026-10-25"]),
            ("America/Havana", ["2026-03-08", "2026-11-01"]),
            // By two hours.
            ("Antarctica/Troll", ["2026-03-29", "2026-10-25"]),
            // A day is left out.
            ("Pacific/Apia", ["2011-12-30", "2026-10-25"]),
        ];
        let minutes = [61, 90, 120, 180, 240, 360, 420, 480, 720, 1000, 1439, 1440, 2160, 10_080];
        for ((name, days), minutes) in zones.iter().flat_map(|zone| minutes.map(|it| (zone, it))) {
            let (zone, span) = (zone(name).unwrap(), Duration::from_secs(minutes * 60));
            for day in days {
                let noon = Timestamp::parse(&format!("{day}T12:00:00Z")).unwrap().0;
                let span_at = |time| calendar_span(Timestamp(time), span, Some(&zone));
                let (mut begins, mut ends) = span_at(noon - 2 * DAY);
                while begins.0 < noon + 2 * DAY {
                    let told = format!("{name}, {minutes} minutes, {begins} to {ends}");
                    assert!(begins < ends, "{told}");
                    let within = (begins.0..ends.0).step_by(7 * MINUTE as usize);
                    for time in within.chain([ends.0 - 1]) {
                        assert_eq!(span_at(time), (begins, ends), "{told}, {}", Timestamp(time));
                    }
                    let next = span_at(ends.0);
                    assert_eq!(next.0, ends, "{told}: the next one begins with its end");
                    (begins, ends) = next;
                }
            }
        }
    }

    #[test]
    fn pieces_begin_when_the_clock_on_the_wall_says_so() {
        let check = |zone_name: &str, time: &str, hours: u64, expected: [&str; 2]| {
            let (time, zone) = (Timestamp::parse(time).unwrap(), zone(zone_name).unwrap());
            let (begins, ends) =
                calendar_span(time, Duration::from_secs(hours * 3600), Some(&zone));
            let shown = [begins, ends].map(|it| {
                let at = jiff::Timestamp::from_microsecond(it.0).unwrap();
                at.to_zoned(zone.clone()).strftime("%d. %H:%M").to_string()
            });
            assert_eq!(shown, expected, "{time} in {zone_name}");
        };
        let berlin = "Europe/Berlin";
        for time in ["2026-03-28T23:30:00Z", "2026-03-29T02:30:00Z", "2026-03-29T03:59:59Z"] {
            check(berlin, time, 6, ["29. 00:00", "29. 06:00"]);
        }
        check(berlin, "2026-03-29T04:00:00Z", 6, ["29. 06:00", "29. 12:00"]);
        for time in ["2026-10-24T22:00:00Z", "2026-10-25T04:59:59Z"] {
            check(berlin, time, 6, ["25. 00:00", "25. 06:00"]);
        }
        // The hour from 2 to 3 is left out, and is there twice.
        check(berlin, "2026-03-29T00:59:59Z", 2, ["29. 00:00", "29. 03:00"]);
        check(berlin, "2026-03-29T01:00:00Z", 2, ["29. 03:00", "29. 04:00"]);
        check(berlin, "2026-10-25T01:30:00Z", 2, ["25. 02:00", "25. 04:00"]);
        // What does not fill a day ends with it.
        check(berlin, "2026-06-01T20:30:00Z", 7, ["01. 21:00", "02. 00:00"]);
        check("Asia/Beirut", "2026-03-28T22:00:00Z", 6, ["29. 01:00", "29. 06:00"]);
        check("America/Havana", "2026-03-08T04:59:59Z", 12, ["07. 12:00", "08. 01:00"]);
    }

    #[test]
    fn a_time_without_an_offset_is_in_the_zone() {
        let berlin = zone("Europe/Berlin");
        let check = |text: &str, expected: Option<&str>| {
            let read = Timestamp::parse_in(text, berlin.as_ref()).map(|it| it.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        for text in [
            "2026-03-05T10:00:00",
            "2026-03-05 10:00",
            "2026-03-05t10:00:00.000",
            "2026-03-05T09:00:00Z",
            "2026-03-05T10:00:00+01:00",
        ] {
            check(text, Some("2026-03-05T09:00:00.000Z"));
        }
        // What is left out is as much later.
        check("2026-03-29T02:30:00", Some("2026-03-29T01:30:00.000Z"));
        for text in [
            "2026-03-05",
            "10:00:00",
            "2026-13-05T10:00:00",
            "2026-03-05T10:00:00+1",
            "2026-03-05T10:00:00[Europe/Berlin]",
            "2026-03-05Tsoon",
            "2026-03-05T",
            "",
        ] {
            check(text, None);
        }
        let utc = Timestamp::parse_in("2026-03-05T10:00:00", None).map(|it| it.to_string());
        assert_eq!(utc.as_deref(), Some("2026-03-05T10:00:00.000Z"));
    }

    #[test]
    fn a_number_beyond_all_seconds_is_of_a_smaller_unit() {
        for (number, unit) in [
            (1_772_700_000.0, None),
            (-1_772_700_000.0, None),
            (1_772_700_000_000.0, Some("milliseconds")),
            (-1_772_700_000_000.0, Some("milliseconds")),
            (1_772_700_000_000_000.0, Some("microseconds")),
            (1_772_700_000_000_000_000.0, Some("nanoseconds")),
            (1e300, None),
        ] {
            assert_eq!(smaller_unit(number).map(|it| it.0), unit, "{number}");
        }
    }

    #[test]
    fn a_week_has_its_hours_in_each_zone() {
        let check = |zone_name: &str, time: &str, expected: u8| {
            let (time, zone) = (Timestamp::parse(time).unwrap(), zone(zone_name).unwrap());
            assert_eq!(hour_of_week(time, Some(&zone)), expected);
        };
        check("UTC", "2026-01-05T00:00:00Z", 0);
        check("UTC", "2026-01-04T23:59:59Z", 167);
        check("UTC", "1969-12-31T23:59:59Z", 2 * 24 + 23);
        check("Asia/Kolkata", "2026-01-04T18:29:00Z", 167);
        check("Asia/Kolkata", "2026-01-04T18:30:00Z", 0);
        // The clock is put back: the hour from 2 to 3 is there twice.
        check("Europe/Berlin", "2026-10-25T00:30:00Z", 6 * 24 + 2);
        check("Europe/Berlin", "2026-10-25T01:30:00Z", 6 * 24 + 2);
        assert_eq!(hour_of_week(Timestamp(0), None), 3 * 24);
    }

    #[test]
    fn a_time_out_of_range_is_none() {
        assert_eq!(Timestamp::from_unix_seconds(f64::NAN), None);
        assert_eq!(Timestamp::from_unix_seconds(1e300), None);
        assert_eq!(Timestamp::from_unix_seconds(1.5), Some(Timestamp(1_500_000)));
    }
}
