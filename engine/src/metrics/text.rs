//! The text forms of metrics: Prometheus' own (0.0.4) and OpenMetrics (1.0.0).

use std::fmt::{Arguments, Write};

/// Which text form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetricsForm {
    /// Prometheus' text, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl MetricsForm {
    /// The form that a client accepts, by its `Accept` header.
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => {
                MetricsForm::OpenMetrics
            }
            _ => MetricsForm::Prometheus,
        }
    }

    /// Its content type.
    pub fn content_type(self) -> &'static str {
        match self {
            MetricsForm::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            MetricsForm::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }
    }
}

/// Metrics being written.
#[derive(Debug, Default)]
pub struct MetricsText {
    form: MetricsForm,
    text: String,
}

impl MetricsText {
    /// Nothing is written yet.
    pub fn new(form: MetricsForm) -> Self {
        MetricsText { form, text: String::new() }
    }

    /// All of it, with its end mark where the form has one.
    pub fn finish(mut self) -> String {
        if self.form == MetricsForm::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// Begins a metric. `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // OpenMetrics names the family of a counter without the suffix of its samples.
        let name = match (self.form, kind) {
            (MetricsForm::OpenMetrics, "counter") => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let help = match self.form {
            MetricsForm::OpenMetrics => help.replace('"', "\\\""),
            MetricsForm::Prometheus => help,
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One value.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// A metric of one value.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A counter of one value.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A histogram: the count of each bucket, the last for what is beyond every bound.
    pub fn buckets(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        assert_eq!(counts.len(), bounds.len() + 1, "a bucket beyond the last bound");
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (index, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample(&bucket, &labels, total as f64);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total as f64);
    }

    fn line(&mut self, text: Arguments<'_>) {
        writeln!(self.text, "{text}").expect("writing to a String cannot fail");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: MetricsForm) -> String {
        let mut text = MetricsText::new(form);
        text.counter("engine_things_total", "Things", 3.0);
        text.family("engine_wait_seconds", "histogram", "Waits");
        text.buckets("engine_wait_seconds", &[("of", "a\"b")], &[0.1], &[2, 1], 0.7);
        text.finish()
    }

    #[test]
    fn both_forms_have_the_same_samples() {
        let samples = "engine_wait_seconds_bucket{of=\"a\\\"b\",le=\"0.1\"} 2\n\
             engine_wait_seconds_bucket{of=\"a\\\"b\",le=\"+Inf\"} 3\n\
             engine_wait_seconds_sum{of=\"a\\\"b\"} 0.7\n\
             engine_wait_seconds_count{of=\"a\\\"b\"} 3\n";
        let histogram = "# HELP engine_wait_seconds Waits\n# TYPE engine_wait_seconds histogram\n";
        assert_eq!(
            written(MetricsForm::Prometheus),
            format!(
                "# HELP engine_things_total Things\n# TYPE engine_things_total counter\n\
                 engine_things_total 3\n{histogram}{samples}"
            )
        );
        assert_eq!(
            written(MetricsForm::OpenMetrics),
            format!(
                "# HELP engine_things Things\n# TYPE engine_things counter\n\
                 engine_things_total 3\n{histogram}{samples}# EOF\n"
            )
        );
    }

    #[test]
    fn the_form_is_what_the_client_accepts() {
        let form = MetricsForm::accepted;
        assert_eq!(form(None), MetricsForm::Prometheus);
        assert_eq!(form(Some("text/plain;version=0.0.4")), MetricsForm::Prometheus);
        let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        assert_eq!(form(Some(accept)), MetricsForm::OpenMetrics);
    }
}
