//! `metric` as the file writes it.

use super::{SpecReader, count, text_of, when};
use crate::spec::metric::{MetricNode, MetricRule, MetricType};
use kernel::choice::Choice;
use language::diagnostic::Rule;
use language::expr::{Expr, Roots};
use language::spanned::{Span, Spanned};
use language::{Context, Fields, Scalar};

/// Label names that Prometheus gives a meaning of their own, and the one of what finds no place.
const TAKEN: [&str; 3] = ["le", "quantile", "other"];
/// Ends of names that Prometheus adds to names.
const ENDS: [&str; 5] = ["-total", "-bucket", "-sum", "-count", "-created"];
/// Those of a histogram that names none: the defaults of Prometheus' client libraries.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The most labels of one metric.
const LABELS_MAX: usize = 8;
/// The most buckets.
const BUCKETS_MAX: usize = 64;

impl SpecReader<'_> {
    pub(super) fn metrics(&self, context: &mut Context<'_>) -> Vec<MetricNode> {
        self.all("metric").filter_map(|it| read(&it, context)).collect()
    }
}

fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<MetricNode> {
    let name = fields.arg(0).and_then(|arg| arg.text());
    name.iter().for_each(|it| check_name(it, context));
    let labels = labels(fields, context);
    let buckets = fields.child("buckets");
    let what: MetricType = fields.arg(1)?.choice()?;
    if let Some(node) = &buckets {
        check_buckets(node, what, context);
    }
    let bounds = match &buckets {
        Some(node) => node.args().filter_map(|arg| Some(arg.number()?.value)).collect(),
        None => BUCKETS.to_vec(),
    };
    let value = fields.child("value");
    if value.is_none() && what != MetricType::Counter {
        context
            .diagnostics
            .push(Rule::MissingNode, format!("a {} needs `value`", what.word()))
            .at(fields.head(), "it has no `value`")
            .help("add `value \"data.seconds\"`, or write `counter` to count events");
    }
    Some(MetricNode {
        name: name?,
        description: text_of(fields, "description"),
        rule: MetricRule {
            what,
            when: when(fields),
            value: value.and_then(|value| value.arg(0)?.expr(Roots::EVENT)),
            labels,
            buckets: bounds,
            series_max: fields.setting("max-series").arg(0, count),
        },
        is_disabled: fields.is_on("disabled"),
    })
}

fn check_name(name: &Spanned<String>, context: &mut Context<'_>) {
    let Some(end) = ENDS.iter().find(|it| name.value.ends_with(**it)) else { return };
    let (what, shorter) = (&end[1..], name.value.trim_end_matches(end));
    context
        .diagnostics
        .push(Rule::BadName, format!("the name of a metric cannot end in `{end}`"))
        .at(name.span.clone(), format!("`_{what}` is added automatically"))
        .help(format!("write `{}`", if shorter.is_empty() { "events" } else { shorter }));
}

/// The labels whose names can be used.
fn labels(fields: &Fields<'_>, context: &mut Context<'_>) -> Vec<(String, Expr)> {
    let mut labels = Vec::new();
    let node = fields.child("by");
    for (index, (name, scalar)) in node.iter().flat_map(Fields::props).enumerate() {
        if index == LABELS_MAX {
            context
                .diagnostics
                .push(Rule::OutOfRange, "a metric has too many labels")
                .at(scalar.span(), "one too many")
                .help(format!("allowed: at most {LABELS_MAX}"));
        }
        check_label(name, &scalar, context);
        // Of one name twice, the last one counts; that was warned of.
        labels.retain(|it: &(String, Expr)| it.0 != name);
        labels.extend(scalar.expr(Roots::EVENT).map(|expr| (name.to_owned(), expr.value)));
    }
    labels
}

fn check_label(name: &str, scalar: &Scalar<'_>, context: &mut Context<'_>) {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !name.starts_with(|letter: char| letter.is_ascii_digit());
    let plain = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let trimmed = plain.trim_start_matches(|letter: char| letter == '_' || letter.is_ascii_digit());
    let (problem, better) = match name {
        _ if TAKEN.contains(&name) => ("is used by `/metrics` itself", format!("{name}_of")),
        _ if name.starts_with("__") => {
            ("is a name that Prometheus keeps for itself", trimmed.into())
        }
        _ if !is_plain => ("has more than letters, digits and `_`", trimmed.to_owned()),
        _ => return,
    };
    let better = if better.is_empty() { "kind".to_owned() } else { better };
    context
        .diagnostics
        .push(Rule::BadName, format!("the label `{name}` {problem}"))
        .at(scalar.name_span(), "the name of this label")
        .help(format!("write `{better}=`"));
}

fn check_buckets(node: &Fields<'_>, what: MetricType, context: &mut Context<'_>) {
    if what != MetricType::Histogram {
        context
            .diagnostics
            .push(Rule::WrongArgument, format!("a {} has no buckets", what.word()))
            .at(node.name().span, "only a histogram has them")
            .help("remove it, or write `histogram`");
        return;
    }
    let mut earlier: Option<f64> = None;
    for (index, scalar) in node.args().enumerate() {
        let Some(bound) = scalar.number() else { continue };
        let problem: Option<(&str, Span)> = match earlier {
            _ if index == BUCKETS_MAX => Some(("there are too many buckets", bound.span.clone())),
            Some(earlier) if bound.value <= earlier => {
                Some(("the bounds of buckets must grow", bound.span.clone()))
            }
            _ => None,
        };
        earlier = Some(bound.value);
        if let Some((message, span)) = problem {
            let label =
                if index == BUCKETS_MAX { "one too many" } else { "not above the one before" };
            context
                .diagnostics
                .push(Rule::OutOfRange, message)
                .at(span, label)
                .help(format!("write them in ascending order, each once, at most {BUCKETS_MAX}"));
        }
    }
}
