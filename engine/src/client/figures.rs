//! Durations and sizes for people, to three digits.

use std::time::Duration;

/// A duration to three digits: `0.21ms`, `14ms`, `1.25s`, `2m5s`.
pub(crate) fn brief(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    match millis {
        _ if duration.is_zero() => "0ms".to_owned(),
        it if it < 0.005 => "<0.01ms".to_owned(),
        it if it < 10.0 => format!("{it:.2}ms"),
        it if it < 1000.0 => format!("{it:.0}ms"),
        it if it < 60_000.0 => format!("{:.2}s", it / 1000.0),
        _ => {
            let seconds = duration.as_secs();
            match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
                (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
                (hours, minutes, _) => format!("{hours}h{minutes}m"),
            }
        }
    }
}

/// A size: `17 B`, `1.25 KiB`, `512 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = "B";
    while 1023.5 <= size {
        let Some(next) = units.next() else { break };
        (size, unit) = (size / 1024.0, next);
    }
    match size {
        _ if unit == "B" => format!("{bytes} B"),
        it if it < 9.995 => format!("{it:.2} {unit}"),
        it if it < 99.95 => format!("{it:.1} {unit}"),
        it => format!("{it:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let shown = |micros| brief(Duration::from_micros(micros));
        let of = [0, 4, 210, 9_990, 14_200, 1_250_000, 125_000_000, 7_260_000_000].map(shown);
        assert_eq!(of, ["0ms", "<0.01ms", "0.21ms", "9.99ms", "14ms", "1.25s", "2m5s", "2h1m"]);
    }

    #[test]
    fn sizes_have_three_digits() {
        let of = [0, 1023, 1024, 1_310_720, 104_857_600, 1 << 60].map(size);
        assert_eq!(of, ["0 B", "1023 B", "1.00 KiB", "1.25 MiB", "100 MiB", "1048576 TiB"]);
    }
}
