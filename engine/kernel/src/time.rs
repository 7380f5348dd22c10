//! Points in time as the engine stores them: microseconds since the Unix epoch.

use std::fmt;
use std::time::Duration;

/// A zone of the IANA database, by its name.
pub fn zone(name: &str) -> Option<jiff::tz::TimeZone> {
    jiff::tz::TimeZone::get(name).ok()
}

/// A point in time, in microseconds since 1970-01-01T00:00:00Z; negative before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From Unix seconds with a fraction. `None` outside the years 1 to 9999 or when not finite.
    pub fn from_unix_seconds(seconds: f64) -> Option<Self> {
        let micros = (seconds * 1e6).round();
        let range = -62_135_596_800e6..253_402_300_800e6;
        range.contains(&micros).then_some(Timestamp(micros as i64))
    }

    /// From RFC 3339 text with an offset or `Z`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|it| Timestamp(it.as_microsecond()))
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
            .map(|it| it.to_zoned(jiff::tz::TimeZone::system()));
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
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
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
    }

    #[test]
    fn a_time_out_of_range_is_none() {
        assert_eq!(Timestamp::from_unix_seconds(f64::NAN), None);
        assert_eq!(Timestamp::from_unix_seconds(1e300), None);
        assert_eq!(Timestamp::from_unix_seconds(1.5), Some(Timestamp(1_500_000)));
    }
}
