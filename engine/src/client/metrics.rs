//! Reads what `/metrics` says.

use std::collections::BTreeMap;

/// One value with its labels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MetricSample {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// The samples of each name.
#[derive(Debug, Default)]
pub(crate) struct MetricSamples(BTreeMap<String, Vec<MetricSample>>);

impl MetricSamples {
    /// Reads Prometheus' text form. Lines that cannot be read are left out.
    pub(crate) fn read(text: &str) -> Self {
        let mut samples: BTreeMap<String, Vec<MetricSample>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, sample)) = sample(line) {
                samples.entry(name.to_owned()).or_default().push(sample);
            }
        }
        MetricSamples(samples)
    }

    /// Those with this name.
    pub(crate) fn of(&self, name: &str) -> &[MetricSample] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum of those with this name and label.
    pub(crate) fn sum(&self, name: &str, label: (&str, &str)) -> f64 {
        let samples = self.of(name).iter();
        samples.filter(|sample| sample.label(label.0) == label.1).map(|sample| sample.value).sum()
    }

    /// The value of a metric without labels; 0 where it is missing.
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.of(name).first().map_or(0.0, |it| it.value)
    }

    /// What a share of the values of a histogram does not exceed, in its unit: read from its
    /// buckets, so it is between two of their bounds. `None` where nothing was counted, and
    /// infinite where it is beyond the last bound.
    pub(crate) fn quantile(&self, name: &str, label: (&str, &str), share: f64) -> Option<f64> {
        let bucket = |sample: &MetricSample| {
            let bound = match sample.label("le") {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().ok()?,
            };
            Some((bound, sample.value))
        };
        let samples = self.of(&format!("{name}_bucket")).iter();
        let buckets = samples.filter(|sample| sample.label(label.0) == label.1).filter_map(bucket);
        let mut buckets: Vec<(f64, f64)> = buckets.collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let wanted = buckets.last().map(|bucket| bucket.1 * share).filter(|it| 0.0 < *it)?;
        let at = buckets.iter().position(|bucket| wanted <= bucket.1)?;
        let (low, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
        let (high, count) = buckets[at];
        if high.is_infinite() {
            return Some(high);
        }
        Some(low + (high - low) * (wanted - below) / (count - below).max(f64::MIN_POSITIVE))
    }
}

impl MetricSample {
    /// The value of a label; empty where there is none.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// `name{label="value"} 1`, and a time after it that is not read.
fn sample(line: &str) -> Option<(&str, MetricSample)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while let Some((label, after)) = rest.split_once("=\"") {
            let (value, after) = quoted(after)?;
            labels.insert(label.trim_start_matches(',').trim().to_owned(), value);
            rest = after;
            if rest.starts_with('}') {
                break;
            }
        }
        rest = rest.trim_start_matches(',').strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, MetricSample { labels, value }))
}

/// A text up to its closing quote, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let samples = MetricSamples::read(
            "# HELP a x\na 7\nb{of=\"x\\\"}\\n\\\\,\",to=\"y\"} 2.5 99\nb{of=\"z\"} 1\nb{of=\"z\"} 2\n\
             bad{\nbad{x=\"\nbad\n",
        );
        assert_eq!((samples.value("a"), samples.value("none")), (7.0, 0.0));
        assert_eq!(samples.of("b")[0].label("of"), "x\"}\n\\,");
        assert_eq!((samples.of("b")[0].label("to"), samples.of("b")[0].value), ("y", 2.5));
        assert_eq!(samples.sum("b", ("of", "z")), 3.0);
        assert!(samples.of("bad").is_empty());
    }

    #[test]
    fn a_quantile_is_between_the_bounds_of_its_bucket() {
        let samples = MetricSamples::read(
            "t_bucket{s=\"a\",le=\"0.1\"} 50\nt_bucket{s=\"a\",le=\"1\"} 90\n\
             t_bucket{s=\"a\",le=\"+Inf\"} 100\nt_bucket{s=\"b\",le=\"+Inf\"} 0\n",
        );
        let of = |share| samples.quantile("t", ("s", "a"), share);
        assert_eq!((of(0.5), of(0.25)), (Some(0.1), Some(0.05)));
        assert!(of(0.7).is_some_and(|it| (it - 0.55).abs() < 1e-9));
        assert_eq!(of(0.95), Some(f64::INFINITY));
        assert_eq!(samples.quantile("t", ("s", "b"), 0.5), None);
        assert_eq!(samples.quantile("t", ("s", "c"), 0.5), None);
    }
}
