//! How scalars are read: durations, sizes, rates, patterns.

use kdl::KdlValue;
use std::ops::RangeInclusive;
use std::time::Duration;

const DURATIONS: &[(&str, f64)] = &[
    ("ms", 0.001),
    ("min", 60.0),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
    ("w", 604_800.0),
];

const SIZES: &[(&str, f64)] = &[
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
];

/// A number of things in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many.
    pub count: f64,
    /// In how long.
    pub per: Duration,
}

/// Reads `"250ms"`, `"1h30m"`, `"30d"`; `None` when it is no duration.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, behind) = leading_number(rest)?;
        let (unit, size) = DURATIONS
            .iter()
            .filter(|duration| behind.starts_with(duration.0))
            .max_by_key(|duration| duration.0.len())?;
        seconds += number * size;
        rest = &behind[unit.len()..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

/// Reads `"256KiB"`, `"10MB"`; `None` when it is no size.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let (_, size) = SIZES.iter().find(|size| size.0 == unit)?;
    let bytes = number * size;
    (bytes < 1e18).then_some(bytes as u64)
}

/// Reads `"10/min"`, `"50/s"`, `"100/h"`; `None` when it is no rate.
pub fn parse_rate(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let count: f64 = count.trim().parse().ok()?;
    let seconds = match per.trim() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    (0.0 < count && count.is_finite()).then_some(Rate { count, per: Duration::from_secs(seconds) })
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "min",
            3600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let number = text[..end].parse().ok()?;
    Some((number, &text[end..]))
}

/// A duration in the file: `"5s"`, `(s)5` or `(duration)"PT5S"`.
pub(super) fn duration_of(value: &KdlValue, annotation: Option<&str>) -> Option<Duration> {
    match (value, annotation) {
        (KdlValue::String(text), None) => parse_duration(text),
        (KdlValue::String(text), Some("duration")) => {
            let span: jiff::SignedDuration = text.parse().ok()?;
            Duration::try_from(span).ok()
        }
        (KdlValue::Integer(_) | KdlValue::Float(_), Some(unit)) => {
            let size = DURATIONS.iter().find(|duration| duration.0 == unit)?.1;
            Duration::try_from_secs_f64(number(value)? * size).ok()
        }
        _ => None,
    }
}

/// A size in the file: `"10MB"` or `(MiB)10`.
pub(super) fn bytes_of(value: &KdlValue, annotation: Option<&str>) -> Option<u64> {
    match (value, annotation) {
        (KdlValue::String(text), None) => parse_bytes(text),
        (KdlValue::Integer(_) | KdlValue::Float(_), Some(unit)) => {
            let bytes = number(value)? * SIZES.iter().find(|size| size.0 == unit)?.1;
            (0.0..1e18).contains(&bytes).then_some(bytes as u64)
        }
        _ => None,
    }
}

pub(super) fn number(value: &KdlValue) -> Option<f64> {
    match value {
        KdlValue::Integer(it) => Some(*it as f64),
        KdlValue::Float(it) => Some(*it),
        _ => None,
    }
}

/// Whether a word is a unit of a duration or size, for `(s)5` and `(MiB)10`.
pub(super) fn is_unit(word: &str) -> bool {
    DURATIONS.iter().any(|duration| duration.0 == word) || SIZES.iter().any(|size| size.0 == word)
}

/// Reads a dotted path: `data.embedding`. At most 16 names.
pub fn field_path(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    let is_name = |text: &String| {
        !text.is_empty()
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-')
    };
    (names.len() <= 16 && names.iter().all(is_name)).then_some(names)
}

/// Reads `"200"`, `"2xx 404"`.
pub fn statuses(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let ranges: Option<Vec<_>> = text
        .split_whitespace()
        .map(|word| match word.strip_suffix("xx") {
            Some(class) => {
                let class: u16 = class.parse().ok().filter(|it| (1..=5).contains(it))?;
                Some(class * 100..=class * 100 + 99)
            }
            None => {
                let status: u16 = word.parse().ok().filter(|it| (100..600).contains(it))?;
                Some(status..=status)
            }
        })
        .collect();
    ranges.filter(|range| !range.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lasts(text: &str, millis: Option<u64>) {
        assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations_are_numbers_with_units() {
        lasts("250ms", Some(250));
        lasts("1h30m", Some(5_400_000));
        lasts("30min", Some(1_800_000));
        lasts("1.5s", Some(1500));
        lasts("2w", Some(1_209_600_000));
        lasts("30 days", None);
        lasts("5", None);
        lasts("", None);
        lasts("-5s", None);
    }

    #[test]
    fn sizes_know_both_thousands() {
        assert_eq!(parse_bytes("256KiB"), Some(262_144));
        assert_eq!(parse_bytes("10MB"), Some(10_000_000));
        assert_eq!(parse_bytes("10 MB"), None);
    }

    #[test]
    fn rates_are_counts_in_a_time() {
        let rate = Rate { count: 10.0, per: Duration::from_secs(60) };
        assert_eq!(parse_rate("10/min"), Some(rate));
        assert_eq!(parse_rate("10"), None);
    }

    #[test]
    fn statuses_are_numbers_and_classes() {
        assert_eq!(statuses("2xx 404"), Some(vec![200..=299, 404..=404]));
        assert_eq!(statuses("9xx"), None);
        assert_eq!(statuses(""), None);
    }
}
