//! `metric`: figures of the file's own in `/metrics`.

use super::Name;
use kernel::choice;
use language::expr::Expr;
use language::spanned::Spanned;

choice! {
    /// What is made of the events.
    pub enum MetricType {
        /// A sum that only grows.
        Counter = "counter",
        /// The last value.
        Gauge = "gauge",
        /// How the values are spread.
        Histogram = "histogram",
    }
}

/// A figure of the file's own.
#[derive(Debug, Clone)]
pub struct MetricNode {
    /// Its name.
    pub name: Name,
    /// What it is for people.
    pub description: Option<String>,
    /// What is counted, and how. While this stays, it is counted on over a reload.
    pub rule: MetricRule,
    /// Whether it is switched off.
    pub is_disabled: bool,
}

/// Which events a metric counts, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRule {
    /// What is made of them.
    pub what: MetricType,
    /// Only these events.
    pub when: Option<Spanned<Expr>>,
    /// The number; a counter without one counts events.
    pub value: Option<Spanned<Expr>>,
    /// Labels, in the order of the file.
    pub labels: Vec<(String, Expr)>,
    /// The upper bounds of a histogram's buckets, ascending.
    pub buckets: Vec<f64>,
    /// The most combinations of label values.
    pub series_max: usize,
}

impl MetricNode {
    /// What it is called in `/metrics`.
    pub fn family(&self) -> String {
        let suffix = if self.rule.what == MetricType::Counter { "_total" } else { "" };
        format!("pipeline_{}{suffix}", self.name.value.replace('-', "_"))
    }

    /// What it does, in a few words for the graph.
    pub fn says(&self) -> String {
        let rule = &self.rule;
        let mut says = match (&rule.value, rule.what) {
            (None, _) => "counts events".to_owned(),
            (Some(value), MetricType::Counter) => format!("sum of {}", value.value.text()),
            (Some(value), MetricType::Gauge) => format!("last {}", value.value.text()),
            (Some(value), MetricType::Histogram) => format!("spread of {}", value.value.text()),
        };
        if !rule.labels.is_empty() {
            let names: Vec<&str> = rule.labels.iter().map(|label| label.0.as_str()).collect();
            says.push_str(&format!(" by {}", names.join(", ")));
        }
        says
    }
}
