//! Metrics of the file's own: what its `metric` nodes count.
//!
//! An event is measured where its stages have ended, and counted once it is known that it was
//! stored and new. A restart begins at zero, as Prometheus expects of counters.
//!
//! *Invariant:* a metric has at most `max-series` series and one more, each of bounded size.

use super::text::MetricsText;
use compiler::plan::Plan;
use compiler::spec::{MetricNode, MetricRule, MetricType};
use kernel::choice::Choice;
use language::expr::{Expr, Scope, Val};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest value of a label, in bytes; the rest is cut off.
const LABEL_MAX: usize = 128;
/// The only label of the series in which everything beyond `max-series` is counted.
const OTHER: [(&str, &str); 1] = [("other", "true")];

/// What one event says to one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The metric's place in the plan.
    metric: usize,
    /// The values of its labels, in the order of the file.
    labels: Vec<String>,
    /// The number; `None` where there is none that counts.
    value: Option<f64>,
}

/// What an event says to each metric whose condition it meets.
pub fn measure(plan: &Plan, scope: &Scope<'_>) -> Vec<Measurement> {
    let metrics = plan.metrics.iter().enumerate();
    let asked = metrics.filter(|(_, it)| {
        !it.is_disabled && it.rule.when.as_ref().is_none_or(|when| when.value.is_true(scope))
    });
    let measured = asked.map(|(metric, it)| {
        let labels = it.rule.labels.iter().map(|(_, expr)| label_of(expr, scope));
        Measurement { metric, labels: labels.collect(), value: value_of(&it.rule, scope) }
    });
    measured.collect()
}

fn value_of(rule: &MetricRule, scope: &Scope<'_>) -> Option<f64> {
    let Some(value) = &rule.value else { return Some(1.0) };
    let number = value.value.eval(scope).as_f64().filter(|number| number.is_finite());
    // A counter only grows.
    number.filter(|number| rule.what != MetricType::Counter || 0.0 <= *number)
}

fn label_of(expr: &Expr, scope: &Scope<'_>) -> String {
    let mut text = match expr.eval(scope) {
        Val::Null => String::new(),
        Val::Text(text) => text.into_owned(),
        value => value.text(),
    };
    if LABEL_MAX < text.len() {
        let end = (0..=LABEL_MAX).rev().find(|it| text.is_char_boundary(*it));
        text.truncate(end.unwrap_or_default());
    }
    text
}

/// A metric that is counted.
#[derive(Debug)]
pub struct OwnMetric {
    node: MetricNode,
    counts: Arc<Mutex<MetricCounts>>,
}

/// What was counted.
#[derive(Debug, Default)]
struct MetricCounts {
    series: BTreeMap<Vec<String>, SeriesValue>,
    /// Everything beyond the most series.
    other: Option<SeriesValue>,
    overflowed: u64,
    skipped: u64,
}

/// What one series shows.
#[derive(Debug)]
enum SeriesValue {
    Number(f64),
    Spread { buckets: Vec<u64>, sum: f64 },
}

impl SeriesValue {
    fn empty(rule: &MetricRule) -> Self {
        match rule.what {
            MetricType::Counter | MetricType::Gauge => SeriesValue::Number(0.0),
            MetricType::Histogram => {
                SeriesValue::Spread { buckets: vec![0; rule.buckets.len() + 1], sum: 0.0 }
            }
        }
    }

    fn add(&mut self, rule: &MetricRule, number: f64) {
        match self {
            SeriesValue::Number(last) if rule.what == MetricType::Gauge => *last = number,
            SeriesValue::Number(total) => *total += number,
            SeriesValue::Spread { buckets, sum } => {
                buckets[rule.buckets.partition_point(|bound| *bound < number)] += 1;
                *sum += number;
            }
        }
    }
}

/// Opens the metrics of a plan, in its order. What was counted before is counted on, where the
/// same metric counts the same.
pub fn open_metrics(plan: &Plan, earlier: &[OwnMetric]) -> Vec<OwnMetric> {
    let opened = plan.metrics.iter().map(|node| {
        let is_same = |metric: &&OwnMetric| {
            metric.node.name.value == node.name.value && metric.node.rule == node.rule
        };
        let kept = earlier.iter().find(is_same).map(|it| it.counts.clone());
        OwnMetric { node: node.clone(), counts: kept.unwrap_or_else(|| begin(&node.rule)) }
    });
    opened.collect()
}

/// Without labels there is one series, which begins at zero so that the first event is seen as one
/// more. A gauge has nothing to show before it.
fn begin(rule: &MetricRule) -> Arc<Mutex<MetricCounts>> {
    let mut counts = MetricCounts::default();
    if rule.labels.is_empty() && rule.what != MetricType::Gauge {
        counts.series.insert(Vec::new(), SeriesValue::empty(rule));
    }
    Arc::new(Mutex::new(counts))
}

/// Counts what an event was measured to be.
pub(super) fn count(metrics: &[OwnMetric], measured: &[Measurement]) {
    for it in measured {
        metrics[it.metric].count(&it.labels, it.value);
    }
}

/// Writes every metric of the file, and how the engine fared with them.
pub fn write_own(text: &mut MetricsText, metrics: &[OwnMetric]) {
    let metrics: Vec<&OwnMetric> =
        metrics.iter().filter(|metric| !metric.node.is_disabled).collect();
    if metrics.is_empty() {
        return;
    }
    metrics.iter().for_each(|metric| metric.write(text));
    type Figure = fn(&MetricCounts) -> u64;
    let figures: [(&str, &str, &str, Figure); 3] = [
        ("engine_metric_series", "gauge", "Series of a metric of the file", |it| {
            it.series.len() as u64
        }),
        (
            "engine_metric_overflow_total",
            "counter",
            "Events counted as `other` beyond `max-series`",
            |it| it.overflowed,
        ),
        (
            "engine_metric_skipped_total",
            "counter",
            "Events whose value is not a number, or is negative for a counter",
            |it| it.skipped,
        ),
    ];
    for (family, kind, help, figure) in figures {
        text.family(family, kind, help);
        for metric in &metrics {
            let labels = [("metric", metric.node.name.value.as_str())];
            text.sample(family, &labels, figure(&metric.counts()) as f64);
        }
    }
}

impl OwnMetric {
    fn counts(&self) -> MutexGuard<'_, MetricCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, labels: &[String], value: Option<f64>) {
        let rule = &self.node.rule;
        let mut counts = self.counts();
        let Some(number) = value else {
            counts.skipped += 1;
            return;
        };
        if let Some(series) = counts.series.get_mut(labels) {
            return series.add(rule, number);
        }
        if counts.series.len() < rule.series_max {
            let series = counts.series.entry(labels.to_vec());
            return series.or_insert_with(|| SeriesValue::empty(rule)).add(rule, number);
        }
        counts.overflowed += 1;
        counts.other.get_or_insert_with(|| SeriesValue::empty(rule)).add(rule, number);
    }

    fn write(&self, text: &mut MetricsText) {
        let (family, rule, counts) = (self.node.family(), &self.node.rule, self.counts());
        let what = rule.what.word();
        let help = self.node.description.clone();
        let help = help.unwrap_or_else(|| format!("The {what} `{}`", self.node.name.value));
        text.family(&family, what, &help);
        for (values, series) in &counts.series {
            let names = rule.labels.iter().map(|label| label.0.as_str());
            let labels: Vec<(&str, &str)> = names.zip(values.iter().map(String::as_str)).collect();
            series.write(text, &family, &labels, rule);
        }
        if let Some(other) = &counts.other {
            other.write(text, &family, &OTHER, rule);
        }
    }
}

impl SeriesValue {
    fn write(
        &self,
        text: &mut MetricsText,
        family: &str,
        labels: &[(&str, &str)],
        rule: &MetricRule,
    ) {
        match self {
            SeriesValue::Number(number) => text.sample(family, labels, *number),
            SeriesValue::Spread { buckets, sum } => {
                text.buckets(family, labels, &rule.buckets, buckets, *sum);
            }
        }
    }
}
