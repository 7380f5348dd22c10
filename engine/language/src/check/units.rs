//! Durations, sizes and rates in other spellings: `30 days`, `10 megabytes`, `2 per second`.

/// The units of durations, as people write them; what lasts a month or a year in days.
const TIMES: &[(&[&str], &str, f64)] = &[
    (&["ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"], "ms", 1.0),
    (&["s", "sec", "secs", "second", "seconds"], "s", 1.0),
    (&["m", "min", "mins", "minute", "minutes"], "m", 1.0),
    (&["h", "hr", "hrs", "hour", "hours"], "h", 1.0),
    (&["d", "day", "days"], "d", 1.0),
    (&["w", "wk", "week", "weeks"], "w", 1.0),
    (&["mo", "month", "months"], "d", 30.0),
    (&["y", "yr", "year", "years"], "d", 365.0),
];

const SIZES: &[(&[&str], &str)] = &[
    (&["b", "byte", "bytes"], "B"),
    (&["k", "kb", "kbyte", "kilobyte", "kilobytes"], "kB"),
    (&["m", "mb", "mbyte", "megabyte", "megabytes"], "MB"),
    (&["g", "gb", "gbyte", "gigabyte", "gigabytes"], "GB"),
    (&["kib", "ki", "kibibyte", "kibibytes"], "KiB"),
    (&["mib", "mi", "mebibyte", "mebibytes"], "MiB"),
    (&["gib", "gi", "gibibyte", "gibibytes"], "GiB"),
];

/// `30 days` is `30d`, `1 hour 30 min` is `1h30m`; whether that is exact, as months are not, and
/// neither is a lone `M`, which may be one or a minute.
pub(super) fn meant_duration(text: &str) -> Option<(String, bool)> {
    let (mut meant, mut is_exact) = (String::new(), true);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (number, unit, behind) = piece(rest)?;
        let (_, unit, days) = TIMES.iter().find(|time| time.0.contains(&unit.as_str()))?;
        is_exact &= *days <= 1.0 && !(unit == &"m" && has_lone(text, 'M'));
        let count = if *days <= 1.0 { number.to_owned() } else { times(number, *days)? };
        meant.push_str(&count);
        meant.push_str(unit);
        rest = behind.trim_start_matches([' ', ',']);
    }
    (!meant.is_empty()).then_some((meant, is_exact))
}

/// Whether this capital letter stands in a text as a unit of its own.
fn has_lone(text: &str, unit: char) -> bool {
    let is_letter = |letter: Option<char>| letter.is_some_and(|it| it.is_ascii_alphabetic());
    text.match_indices(unit).any(|(at, _)| {
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + 1..].chars().next())
    })
}

/// Whether a size says which unit it means: `k` and `KB` may be of 1000 or 1024, `Mb` of bits.
pub(super) fn is_clear_size(text: &str) -> bool {
    let unit = text.trim().trim_start_matches(is_digit).trim();
    let is_mixed = unit.len() == 2 && unit.ends_with('b') && unit.starts_with(char::is_uppercase);
    1 < unit.len() && unit != "KB" && unit != "kb" && !is_mixed
        || unit.eq_ignore_ascii_case("b") && unit == "B"
}

/// `10 megabytes` is `10MB`.
pub(super) fn meant_size(text: &str) -> Option<String> {
    let (number, unit, behind) = piece(text.trim())?;
    let unit = SIZES.iter().find(|size| size.0.contains(&unit.as_str()))?.1;
    behind.is_empty().then(|| format!("{number}{unit}"))
}

/// `2 per second` is `2/s`.
pub(super) fn meant_rate(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (count, per) = lower.split_once('/').or_else(|| lower.split_once("per"))?;
    let unit = match per.trim() {
        "s" | "sec" | "second" | "seconds" => "s",
        "m" | "min" | "mins" | "minute" | "minutes" => "min",
        "h" | "hr" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    };
    let count = count.trim();
    let is_count = count.parse::<f64>().is_ok_and(|it| 0.0 < it && it.is_finite());
    is_count.then(|| format!("{count}/{unit}"))
}

/// Whether a rate says which unit it means: `m` may be a minute or a month.
pub(super) fn is_clear_rate(text: &str) -> bool {
    !has_lone(text, 'm') && !has_lone(text, 'M')
}

/// A number, its unit in lower case, and what stands behind.
fn piece(text: &str) -> Option<(&str, String, &str)> {
    let (number, behind) = text.split_at(text.find(|letter: char| !is_digit(letter))?);
    let behind = behind.trim_start();
    let end = behind.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(behind.len());
    number.parse::<f64>().ok()?;
    Some((number, behind[..end].to_ascii_lowercase(), &behind[end..]))
}

fn is_digit(it: char) -> bool {
    it.is_ascii_digit() || it == '.'
}

fn times(number: &str, days: f64) -> Option<String> {
    let count: u32 = number.parse().ok()?;
    Some((f64::from(count) * days).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words_are_durations() {
        let meant = |text| meant_duration(text).map(|duration| duration.0);
        let check = |text, expected| assert_eq!(meant(text).as_deref(), expected, "{text}");
        check("30 days", Some("30d"));
        check("30 Days", Some("30d"));
        check("1 hour, 30 min", Some("1h30m"));
        check("5sec", Some("5s"));
        check("2 months", Some("60d"));
        check("1.5 h", Some("1.5h"));
        check("1year", Some("365d"));
        check("soon", None);
        check("5 bananas", None);
        check("", None);
        check("30", None);
        assert_eq!(meant_duration("1 day").map(|duration| duration.1), Some(true));
        assert_eq!(meant_duration("1 month").map(|duration| duration.1), Some(false));
    }

    #[test]
    fn sizes_and_rates_in_words_are_sizes_and_rates() {
        assert_eq!(meant_size("10 megabytes").as_deref(), Some("10MB"));
        assert_eq!(meant_size("256 kib").as_deref(), Some("256KiB"));
        assert_eq!(meant_size("1 m 2"), None);
        assert_eq!(meant_rate("2 per second").as_deref(), Some("2/s"));
        assert_eq!(meant_rate("10/minute").as_deref(), Some("10/min"));
        assert_eq!(meant_rate("often"), None);
    }

    #[test]
    fn what_is_proposed_can_be_read() {
        for (names, ..) in TIMES {
            let (meant, _) = meant_duration(&format!("3 {}", names[0])).expect("a duration");
            assert!(crate::parse_duration(&meant).is_some(), "{meant}");
        }
        for (names, _) in SIZES {
            let meant = meant_size(&format!("3 {}", names[0])).expect("a size");
            assert!(crate::parse_bytes(&meant).is_some(), "{meant}");
        }
    }
}
