//! One value against its type.

mod unrendered;

use super::super::describe::write_bytes;
use super::super::host::ServedHost;
use super::super::offsets::{annotation_span, value_span, value_text_span, written};
use super::super::setting::{bad_reference, is_variable, reference};
use super::super::table::ValueKind;
use super::super::value::{self, bytes_of, duration_of, field_path, parse_rate, statuses};
use super::super::words::{nearest, respelled};
use super::secrets;
use super::units::{is_clear_rate, is_clear_size, meant_duration, meant_rate, meant_size};
use crate::diagnostic::{Diagnostics, Rule};
use crate::expr::{Expr, ExprProblem, Root, Roots, Template, is_function};
use crate::spanned::Span;
use kdl::{KdlEntry, KdlIdentifier, KdlNode, KdlValue};
use kernel::hours::{DAYS, DayRange, Weekdays};
use kernel::time::Timestamp;
use kernel::time::write_duration;
use std::time::Duration;

/// Whether any value of the node comes from outside the file.
pub(super) fn has_outside(node: &KdlNode) -> bool {
    node.entries()
        .iter()
        .any(|entry| entry.ty().is_some_and(|ty| matches!(ty.value(), "env" | "file")))
}

/// `${NAME}` and `${NAME:-default}` as `(env)`.
fn as_annotation(reference: &str) -> String {
    let inner = reference.trim_start_matches("${").trim_end_matches('}');
    match inner.split_once(":-") {
        Some((name, default)) => format!("(env)\"{name}\" default=\"{default}\""),
        None => format!("(env)\"{inner}\""),
    }
}

/// How a value of this type is written, for help texts.
pub(super) fn example(ty: ValueKind, name: &str) -> String {
    match ty {
        ValueKind::Duration(least, most) => format!("\"{}\"", usual_duration(least, most)),
        ValueKind::Bytes(least, most) => format!("\"{}\"", usual_size(least, most)),
        ValueKind::Rate => "\"10/min\"".to_owned(),
        ValueKind::Expr(_) => "\"event.type == '…'\"".to_owned(),
        ValueKind::Word(words) => words.join("|"),
        ValueKind::Words(words) => format!("\"{}\"", words.join(" ")),
        ValueKind::Bool => "#true|#false".to_owned(),
        ValueKind::Int(least, most) if least == most => least.to_string(),
        ValueKind::Int(..) if name == "schema-version" => "1".to_owned(),
        ValueKind::Int(..) | ValueKind::Number(..) => name.to_uppercase(),
        ValueKind::Ident | ValueKind::Ref => name.to_uppercase(),
        ValueKind::Socket => "\"127.0.0.1:8600\"".to_owned(),
        ValueKind::Host => "\"engine.lan\"".to_owned(),
        ValueKind::Pointer => "\"/data/count\"".to_owned(),
        ValueKind::Field => "\"data.field\"".to_owned(),
        ValueKind::Addition => "\"field\"".to_owned(),
        ValueKind::Moment => "\"2026-01-01T12:00:00Z\"".to_owned(),
        ValueKind::Hours => "\"22:00-07:00\"".to_owned(),
        ValueKind::Days => "\"mon-fri\"".to_owned(),
        ValueKind::Json => "#\"{ … }\"#".to_owned(),
        _ => format!("\"{name}\""),
    }
}

/// A duration that is allowed between these bounds, for help texts.
fn usual_duration(least: Duration, most: Duration) -> String {
    write_duration(Duration::from_secs(30).clamp(least, most.max(least)))
}

/// The same for a size.
fn usual_size(least: u64, most: u64) -> String {
    write_bytes((256 << 10).clamp(least, most.max(least)))
}

/// Two bounds in words.
fn range<T>(write: impl Fn(T) -> String, least: T, most: T) -> String {
    format!("{} to {}", write(least), write(most))
}

/// What is kept for less is asked about.
const HISTORY_LEAST: Duration = Duration::from_secs(3600);

struct ValueCheck<'a> {
    diagnostics: &'a mut Diagnostics,
    entry: &'a KdlEntry,
    span: Span,
    name: &'a str,
    whole: &'a str,
    /// How the node is written.
    examples: &'static [&'static str],
}

/// Checks one argument or property of a node that is written like `examples`.
pub(super) fn check(
    diagnostics: &mut Diagnostics,
    node: &KdlNode,
    entry: &KdlEntry,
    (ty, name): (ValueKind, &str),
    whole: &str,
    examples: &'static [&'static str],
) {
    let is_param = entry.ty().is_some_and(|ty| ty.value() == "param") && entry.value().is_string();
    if is_param && node.name().value() != "param" {
        // One that could be replaced is no longer here; this one was reported.
        return;
    }
    if let (ValueKind::Secret | ValueKind::Topic, None, Some(text)) =
        (ty, entry.ty(), entry.value().as_string())
    {
        diagnostics.hide(value_text_span(entry, 0..text.len()));
    }
    let span = value_span(entry);
    let mut place = ValueCheck { diagnostics, entry, span, name, whole, examples };
    if let Some(annotation) = entry.ty().map(kdl::KdlIdentifier::value)
        && !place.annotation(annotation, ty)
    {
        return;
    }
    let is_outside = has_outside(node) && entry.ty().is_some();
    if is_outside {
        place.empty_default(node, ty);
        return;
    }
    if let Some(text) = entry.value().as_string() {
        let is_type =
            matches!(ty, ValueKind::Expr(Roots::MAP_ITEM)) && node.name().value() == "type";
        if is_type && place.plain_type(text) {
            return;
        }
        let is_told = place.unrendered(node, ty, text) || place.references(node, ty, text);
        // What the value would be is not known.
        if is_told && ty.takes_variable() {
            return;
        }
    }
    place.value(node, ty);
    secrets::check(diagnostics, node, entry, ty);
}

impl ValueCheck<'_> {
    /// Whether the annotation may stand here.
    fn annotation(&mut self, annotation: &str, ty: ValueKind) -> bool {
        let is_right = match annotation {
            "env" => (ty.takes_outside() || ty.takes_variable()) && self.entry.value().is_string(),
            "file" => ty.takes_outside() && self.entry.value().is_string(),
            "duration" => matches!(ty, ValueKind::Duration(..)),
            unit => {
                value::is_unit(unit) && matches!(ty, ValueKind::Duration(..) | ValueKind::Bytes(..))
            }
        };
        if is_right {
            return annotation != "env" || self.variable();
        }
        let near = nearest(annotation, ["env", "file", "param"])
            .filter(|_| !value::is_unit(annotation) && annotation != "duration");
        let help = match (annotation, near) {
            ("env" | "file", _) => format!("{} must be a literal here", self.subject()),
            (_, Some(near)) => format!("did you mean `({near})`?"),
            _ if value::is_unit(annotation) => {
                format!("remove `({annotation})`: units are for durations and sizes")
            }
            _ => "there are `(env)`, `(file)`, `(param)`, and units such as `(s)5` or `(MiB)10`"
                .to_owned(),
        };
        let message = format!("`({annotation})` is not allowed here");
        let place = annotation_span(self.entry);
        self.diagnostics
            .push(Rule::BadAnnotation, message)
            .at(place, "not for this value")
            .help(help);
        false
    }

    /// Whether `(env)` names a variable.
    fn variable(&mut self) -> bool {
        let name = self.entry.value().as_string().unwrap_or_default().to_owned();
        if is_variable(&name) {
            return true;
        }
        let meant = name.trim_start_matches('$').trim_matches(['{', '}', ' ']);
        let help = match is_variable(meant) {
            true => format!("write `(env)\"{meant}\"`"),
            false => "names are letters, digits and `_`: `(env)\"NTFY_TOPIC\"`".to_owned(),
        };
        let message = format!("`{name}` cannot be the name of a variable");
        self.report(Rule::BadAnnotation, message, "not a name", &help);
        false
    }

    /// `${NAME}` in a text: replaced where the value may come from outside, else a mistake.
    fn references(&mut self, node: &KdlNode, ty: ValueKind, text: &str) -> bool {
        let is_verbatim = match ty {
            ValueKind::Literal => unrendered::is_verbatim(node),
            ty => matches!(ty, ValueKind::Json),
        };
        if !text.contains("${") || is_verbatim {
            return false;
        }
        let mut written = None;
        let (span, message, label, help) = if ty.takes_references() {
            let Some(bad) = bad_reference(text) else { return false };
            let message = "this `${` cannot be replaced";
            let help = "write `${NAME}` or `${NAME:-default}`; in a template, `{{ '$' }}{` is a plain \
                        `${`";
            (bad.span, message.to_owned(), bad.label, help)
        } else {
            let Some(span) = reference(text) else { return false };
            let message = format!("`{}` is not replaced here", &text[span.clone()]);
            let is_whole = span == (0..text.len());
            let takes = ty.takes_variable() || ty.takes_outside();
            written = Some(&text[span.clone()]).filter(|_| is_whole && takes).map(as_annotation);
            let help = match node.name().value() {
                "param" => {
                    "a `param` is a constant of the file: write `(env)\"NAME\"` where the value is \
                     used, or give it on the command line, with `--set param.NAME=VALUE`"
                }
                _ => {
                    "variables are replaced in addresses, URLs, headers, bodies and secrets; in \
                     other texts, use a `param`, which `--set param.NAME=VALUE` changes"
                }
            };
            (span, message, "would not be replaced", help)
        };
        let written = written.map(|written| match self.entry.name() {
            Some(name) => format!("write `{}={written}`", name.value()),
            None => format!("write `{}`", self.with(&written)),
        });
        let help = written.as_deref().unwrap_or(help);
        let whole = std::mem::replace(&mut self.span, value_text_span(self.entry, span));
        self.report(Rule::BadAnnotation, message, label, help);
        self.span = whole;
        true
    }

    /// `default=""` where nothing works without a value.
    fn empty_default(&mut self, node: &KdlNode, ty: ValueKind) {
        let needs_value = matches!(
            ty,
            ValueKind::Url
                | ValueKind::UrlTemplate(_)
                | ValueKind::BrokerUrl
                | ValueKind::Topic
                | ValueKind::Socket
                | ValueKind::Host
                | ValueKind::Path
        );
        let default = node.entry("default").filter(|it| it.value().as_string() == Some(""));
        if let Some(default) = default.filter(|_| needs_value) {
            self.diagnostics
                .push(Rule::WrongArgument, format!("{} cannot be empty", self.subject()))
                .at(value_span(default), "it is required")
                .help("give a value, or write `optional=#true` to turn the node off without it");
        }
    }

    /// Whether the value stands elsewhere, in a `param`.
    fn is_param(&self) -> bool {
        written(self.entry).starts_with('(')
    }

    fn report(&mut self, rule: Rule, message: impl Into<String>, label: &str, help: &str) {
        self.diagnostics.push(rule, message).at(self.span.clone(), label).help(help);
    }

    /// The port that is given without an address: `8600`, `":8600"`.
    fn port(&self) -> Option<u16> {
        match self.entry.value() {
            KdlValue::Integer(it) => u16::try_from(*it).ok(),
            KdlValue::String(it) => it.strip_prefix(':').unwrap_or(it).parse().ok(),
            _ => None,
        }
    }

    /// What a message is about: the property, or the node of the argument.
    fn subject(&self) -> String {
        match self.entry.name() {
            Some(_) => format!("`{}` of {}", self.name, self.whole),
            None => self.whole.to_owned(),
        }
    }

    /// The node with another value in the place of this one: `keep when="…"`.
    fn with(&self, value: &str) -> String {
        let node = self.whole.trim_matches('`');
        match self.entry.name() {
            Some(name) => format!("{node} {}={value}", name.value()),
            None => format!("{node} {value}"),
        }
    }

    fn wrong(&mut self, wanted: &str) {
        let message = format!("{} must be {wanted}", self.subject());
        if let Some(port) = self.port().filter(|_| wanted.contains("127.0.0.1:")) {
            let help = format!("write `\"127.0.0.1:{port}\"`");
            self.report(Rule::WrongArgument, message, "an address and a port", &help);
            return;
        }
        let (label, help) = match self.entry.value() {
            KdlValue::String(text) if wanted.ends_with("number") && is_plain_number(text) => {
                ("this is text".to_owned(), format!("write `{text}` without quotes"))
            }
            KdlValue::String(text) if wanted.starts_with("`#true`") => {
                let sign =
                    if matches!(text.as_str(), "no" | "off" | "false") { "false" } else { "true" };
                ("this is text".to_owned(), format!("write `#{sign}`"))
            }
            KdlValue::Integer(it) if wanted == "text" => {
                ("this is a number".to_owned(), format!("write `\"{it}\"`"))
            }
            KdlValue::Bool(it) if wanted == "text" => {
                ("this is not text".to_owned(), format!("write `\"{it}\"`"))
            }
            KdlValue::Null => ("no value".to_owned(), format!("give {wanted}")),
            _ => (format!("not {wanted}"), format!("give {wanted}")),
        };
        self.report(Rule::WrongArgument, message, &label, &help);
    }

    fn value(&mut self, node: &KdlNode, ty: ValueKind) {
        let annotation = self.entry.ty().map(kdl::KdlIdentifier::value);
        let value = self.entry.value();
        match ty {
            ValueKind::Any => self.fits(),
            ValueKind::Bool if !value.is_bool() => self.wrong("`#true` or `#false`"),
            ValueKind::Bool => {}
            ValueKind::Int(least, most) => self.int(least, most),
            ValueKind::Number(least, most) => self.number(least, most),
            ValueKind::Duration(least, most) => match duration_of(value, annotation) {
                Some(it) => {
                    self.duration_range(it, least, most);
                    self.minutes_of_history(node, it);
                }
                None if node.name().value() == "keep" => self.bad_retention(),
                None => self.bad_duration(node, least, most),
            },
            ValueKind::Bytes(least, most) => match bytes_of(value, annotation) {
                Some(it) if it < least || most < it => {
                    self.out_of_range(&range(write_bytes, least, most));
                }
                Some(_) => {}
                None => self.bad_size(least, most),
            },
            _ => match value.as_string() {
                Some(text) => {
                    let text = text.to_owned();
                    self.text(node, ty, &text);
                }
                None if matches!(ty, ValueKind::Socket) && self.port().is_some() => {
                    self.wrong("an address such as `\"127.0.0.1:8600\"`");
                }
                None if matches!(ty, ValueKind::Rate) => self.bad_rate(&value.to_string()),
                None => self.no_text(node, ty),
            },
        }
    }

    /// A number or `#true` in the place of text. Where quotes alone would not make it right, what
    /// else is wrong with it is said.
    fn no_text(&mut self, node: &KdlNode, ty: ValueKind) {
        let told = self.diagnostics.found().len();
        match self.entry.value() {
            KdlValue::Integer(it) => self.text(node, ty, &it.to_string()),
            KdlValue::Bool(it) => self.text(node, ty, &it.to_string()),
            _ => {}
        }
        if self.diagnostics.found().len() == told {
            self.wrong("text");
        }
    }

    /// A number that JSON and expressions can hold.
    fn fits(&mut self) {
        let fits = match self.entry.value() {
            KdlValue::Integer(it) => i64::try_from(*it).is_ok(),
            KdlValue::Float(it) => it.is_finite(),
            _ => true,
        };
        if !fits {
            let message = format!("{} is too large", self.subject());
            let help = "whole numbers go up to 9223372036854775807, others up to 1.7e308; longer ones, \
                        such as ids, are written as text, in quotes";
            self.report(Rule::OutOfRange, message, "too large", help);
        }
    }

    fn int(&mut self, least: i64, most: i64) {
        match self.entry.value() {
            KdlValue::Integer(it) if i128::from(least) <= *it && *it <= i128::from(most) => {}
            KdlValue::Integer(_) if most == i64::MAX => {
                self.out_of_range(&format!("at least {least}"));
            }
            KdlValue::Integer(_) => self.out_of_range(&format!("{least} to {most}")),
            _ => self.wrong("a whole number"),
        }
    }

    fn number(&mut self, least: f64, most: f64) {
        match value::number(self.entry.value()) {
            Some(it) if least <= it && it <= most => {}
            Some(_) => self.out_of_range(&format!("{least} to {most}")),
            None => self.wrong("a number"),
        }
    }

    fn duration_range(&mut self, given: Duration, least: Duration, most: Duration) {
        if given < least || most < given {
            self.out_of_range(&range(write_duration, least, most));
        }
    }

    fn out_of_range(&mut self, range: &str) {
        let bounds = match range.split_once(" to ") {
            Some((least, most)) => format!("between {least} and {most}"),
            None => range.to_owned(),
        };
        let message = format!("{} must be {bounds}", self.subject());
        self.report(Rule::OutOfRange, message, "out of range", &format!("allowed: {range}"));
    }

    fn is_timeout(&self, node: &KdlNode) -> bool {
        self.entry.name().is_none() && node.name().value().contains("timeout")
    }

    fn bad_duration(&mut self, node: &KdlNode, least: Duration, most: Duration) {
        if let Some(text) = self.entry.value().as_string().filter(|text| is_cron(text))
            && node.name().value() == "every"
        {
            let (message, label) = ("not a valid duration", "these are the fields of `cron`");
            let help = format!("write `cron \"{text}\"`");
            return self.report(Rule::BadDuration, message, label, &help);
        }
        let bare = self.entry.value().as_integer().filter(|integer| 0 <= *integer);
        let (meant, is_sure) = match (self.entry.value().as_string(), bare) {
            (Some(text), _) => meant_duration(text).unwrap_or((usual_duration(least, most), false)),
            // Other tools count the milliseconds of a timeout.
            (None, Some(number))
                if self.is_timeout(node) && 1000 <= number && number % 100 == 0 =>
            {
                let millis = u64::try_from(number).unwrap_or_default();
                (write_duration(Duration::from_millis(millis)), false)
            }
            (None, Some(number)) => (format!("{number}s"), false),
            (None, None) => (usual_duration(least, most), false),
        };
        // What is proposed must be allowed, or the next check refuses it.
        let Some(read) = value::parse_duration(&meant) else {
            return self.duration_range(Duration::MAX, least, most);
        };
        let is_allowed = least <= read && read <= most;
        let (meant, is_sure) = match is_allowed {
            true => (meant, is_sure),
            false => (write_duration(read.clamp(least, most)), false),
        };
        let units = "ms s m h d w";
        let bounds = format!("{units}; allowed: {}", range(write_duration, least, most));
        let units = if is_allowed { units } else { &bounds };
        self.unreadable(Rule::BadDuration, "duration", (&meant, is_sure), units);
    }

    /// A bad `keep`. Who keeps history thinks in days, and a guess of seconds would delete it.
    fn bad_retention(&mut self) {
        let text = self.entry.value().as_string().unwrap_or_default().trim();
        let read = meant_duration(text).filter(|duration| 0.0 < leading(&duration.0));
        let (meant, is_sure) = match (read, self.entry.value()) {
            (Some((it, is_sure)), _) if !text.contains('M') => (it, is_sure),
            (_, KdlValue::Integer(days)) if (1..=36_500).contains(days) => {
                (format!("{days}d"), false)
            }
            _ => ("30d".to_owned(), false),
        };
        let help = format!("write `\"{meant}\"`; ten years are `\"3650d\"`");
        let (span, is_param) = (self.span.clone(), self.is_param());
        let found = self
            .diagnostics
            .push(Rule::BadDuration, "not a valid duration")
            .at(span.clone(), "expected a number and a unit such as `d`")
            .help(help);
        if is_sure && !is_param {
            found.fix(span, format!("\"{meant}\""));
        }
    }

    fn bad_size(&mut self, least: u64, most: u64) {
        let text = self.entry.value().as_string();
        let meant = text.and_then(meant_size).filter(|it| value::parse_bytes(it).is_some());
        let is_allowed = |text: &String| {
            value::parse_bytes(text).is_some_and(|bytes| least <= bytes && bytes <= most)
        };
        let shown = match &meant {
            Some(it) if is_allowed(it) => it.clone(),
            Some(it) => write_bytes(value::parse_bytes(it).unwrap_or(least).clamp(least, most)),
            None => usual_size(least, most),
        };
        let is_sure = meant.as_ref() == Some(&shown) && text.is_some_and(is_clear_size);
        let units = "B KiB MiB GiB kB MB GB";
        let bounds = format!("{units}; allowed: {}", range(write_bytes, least, most));
        let is_other = meant.as_ref().is_some_and(|meant| *meant != shown);
        let units = if is_other { &bounds } else { units };
        self.unreadable(Rule::BadSize, "size", (&shown, is_sure), units);
    }

    fn unreadable(&mut self, rule: Rule, what: &str, meant: (&str, bool), units: &str) {
        let (span, is_param) = (self.span.clone(), self.is_param());
        let has_blank = self.entry.value().as_string().is_some_and(|text| text.contains(' '));
        let label = match has_blank {
            true => "expected a number and a unit without a space",
            false => "expected a number and a unit",
        };
        let found = self
            .diagnostics
            .push(rule, format!("not a valid {what}"))
            .at(span.clone(), label)
            .help(format!("write `\"{}\"`; units: {units}", meant.0));
        // A parameter is put right where it stands.
        if meant.1 && !is_param {
            found.fix(span, format!("\"{}\"", meant.0));
        }
    }

    fn bad_rate(&mut self, text: &str) {
        let count = text.split_once('/').and_then(|(count, _)| count.trim().parse::<f64>().ok());
        if count.is_some_and(|count| count <= 0.0) {
            let help = "write `\"1/d\"` for once a day, or `disabled` to turn a node off";
            let message = format!("{} must be more than 0", self.subject());
            return self.report(Rule::BadRate, message, "nothing would ever pass", help);
        }
        let (meant, is_param) = (meant_rate(text), self.is_param());
        let (span, shown) = (self.span.clone(), meant.as_deref().unwrap_or("10/min"));
        let found = self
            .diagnostics
            .push(Rule::BadRate, "not a valid rate")
            .at(span.clone(), "expected a number, a slash and a unit")
            .help(format!("write `\"{shown}\"`; units: s min h d"));
        if meant.is_some() && is_clear_rate(text) && !is_param {
            found.fix(span, format!("\"{shown}\""));
        }
    }

    /// `keep "30m"`: who keeps history thinks in days, and `m` looks like a month.
    fn minutes_of_history(&mut self, node: &KdlNode, kept: Duration) {
        let Some(text) = self.entry.value().as_string() else { return };
        let count = text.strip_suffix('m').filter(|it| it.parse::<f64>().is_ok());
        let (Some(count), true) = (count, node.name().value() == "keep") else { return };
        if HISTORY_LEAST <= kept {
            return;
        }
        self.report(
            Rule::MinutesOfHistory,
            format!("{count} minutes of history?"),
            "kept for less than an hour",
            &format!(
                "months are not a unit: write `\"30d\"` for days, or `\"{count}min\"` if you \
                 mean minutes"
            ),
        );
    }

    fn text(&mut self, node: &KdlNode, ty: ValueKind, text: &str) {
        match ty {
            ValueKind::Ident if !is_name(text) => self.bad_name(text),
            ValueKind::Word(words) => self.word(text, words),
            ValueKind::Words(words) if self.commas_between(text, words) => {}
            ValueKind::Words(words) => {
                let whole = self.span.clone();
                for word in text.split_whitespace() {
                    let start = word.as_ptr() as usize - text.as_ptr() as usize;
                    self.span = value_text_span(self.entry, start..start + word.len());
                    self.word(word, words);
                }
                self.span = whole;
            }
            ValueKind::Expr(roots) => match Expr::parse(text, roots) {
                Ok(_) => self.braces_in_text(text),
                Err(problems) => {
                    if !self.template_for_expression(text, roots)
                        && !self.bare_name(node, text, roots)
                    {
                        self.problems(Rule::BadExpression, problems);
                    }
                }
            },
            ValueKind::UrlTemplate(_) if is_plain(text) && !is_url(text) => self.bad_url(text),
            ValueKind::Template(roots)
            | ValueKind::OwnTemplate(roots)
            | ValueKind::UrlTemplate(roots) => match Template::parse(text, roots) {
                Ok(_) => self.path_for_template(node, text, roots),
                Err(problems) => self.problems(Rule::BadTemplate, problems),
            },
            ValueKind::Text if node.name().value() == "type" => self.path_for_type(text),
            ValueKind::Rate if parse_rate(text).is_none() => self.bad_rate(text),
            ValueKind::Field if field_path(text).is_none() => {
                self.wrong("a dotted path such as `data.person`")
            }
            ValueKind::Addition => self.addition(node, text),
            ValueKind::Pointer if !text.starts_with('/') => {
                self.wrong("a JSON pointer such as `/data/count`")
            }
            ValueKind::Statuses if statuses(text).is_none() => {
                self.wrong("HTTP statuses such as `\"2xx 404\"`")
            }
            ValueKind::Socket if !text.contains("${") && !is_socket(text) => {
                self.wrong("an address such as `\"127.0.0.1:8600\"`");
            }
            ValueKind::Host if !text.contains("${") && ServedHost::parse(text).is_none() => {
                self.bad_host(text)
            }
            ValueKind::Url | ValueKind::BrokerUrl if text.contains("{{") => {
                self.wrong("a fixed URL: it is the same for every event")
            }
            ValueKind::Url if is_plain(text) && !is_url(text) => self.bad_url(text),
            ValueKind::Moment if Timestamp::parse(text).is_none() => {
                self.wrong("a time such as `\"2026-01-01T12:00:00Z\"`");
            }
            ValueKind::Json => {
                if let Err(fault) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
                    self.json(text, &fault);
                }
            }
            ValueKind::Hours if DayRange::parse(text).is_none() => self.bad_hours(text),
            ValueKind::Days => self.days(text),
            ValueKind::Zone if jiff::tz::TimeZone::get(text).is_err() => self.bad_zone(text),
            _ => {}
        }
    }

    /// `when "{{ event.type }} == 'bell'"`: the braces belong to texts.
    fn template_for_expression(&mut self, text: &str, roots: Roots) -> bool {
        let mut bare = text.to_owned();
        let mut braces: Vec<Span> = Vec::new();
        for (sign, is_open) in [("{{", true), ("}}", false)] {
            for (at, _) in text.match_indices(sign) {
                let rest = &text[at + 2..];
                let after = rest.len() - rest.trim_start().len();
                let before = at - text[..at].trim_end().len();
                braces.push(if is_open { at..at + 2 + after } else { at - before..at + 2 });
            }
        }
        braces.sort_by_key(|brace| brace.start);
        let is_apart = braces.windows(2).all(|pair| pair[0].end <= pair[1].start);
        if braces.is_empty() || !is_apart {
            return false;
        }
        braces.iter().rev().for_each(|brace| bare.replace_range(brace.clone(), ""));
        if Expr::parse(&bare, roots).is_err() {
            return false;
        }
        let first = value_text_span(self.entry, braces[0].start..braces[0].start + 2);
        let is_param = self.is_param();
        let found = self
            .diagnostics
            .push(Rule::BadExpression, "an expression has no `{{ }}`")
            .at(first, "braces are for texts")
            .help(format!("write `{bare}`"));
        if !is_param {
            for it in braces {
                found.fix(value_text_span(self.entry, it), "");
            }
        }
        true
    }

    /// `key "id"`, `when "ring"`: a field or a type without what stands before it.
    fn bare_name(&mut self, node: &KdlNode, text: &str, roots: Roots) -> bool {
        let name = self.entry.name().map_or(node.name().value(), KdlIdentifier::value);
        let is_word = |text: &str| {
            text.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        };
        let is_condition = matches!(name, "when" | "check" | "except" | "allow" | "where");
        let is_known = !is_word(text)
            || matches!(text, "True" | "False" | "None" | "nil")
            || nearest(text, roots.names()).is_some()
            || is_function(text);
        if is_known || !is_condition && name != "key" || !roots.contains(Root::Event) {
            return false;
        }
        let field = format!("event.{text}");
        let meant = match is_condition {
            true => format!("event.type == '{text}'"),
            false if Expr::parse(&field, roots).is_ok() => field,
            false => format!("data.{text}"),
        };
        let help = format!("write `{}`", self.with(&format!("\"{meant}\"")));
        self.span = value_text_span(self.entry, 0..text.len());
        self.report(Rule::UnknownFunction, format!("`{text}` is unknown"), "unknown", &help);
        true
    }

    /// `'{{ data.door }}' == 'front'`: a text of an expression is no template.
    fn braces_in_text(&mut self, text: &str) {
        let Some((span, inside)) = unrendered::in_quotes(text) else { return };
        let help = match inside {
            Some(path) => format!("write `{path}`, without quotes and braces"),
            None => "join texts with `+`, as in `'Door ' + data.door`".to_owned(),
        };
        self.span = value_text_span(self.entry, span);
        let message = "a text of an expression is not a template";
        self.report(Rule::BadExpression, message, "would be used as it is", &help);
    }

    /// `type "data.kind"` of a source, which is a text.
    fn path_for_type(&mut self, text: &str) {
        if !is_path(text, Roots::MAP) {
            return;
        }
        let message = format!("`{text}` is a plain text here, the same for every event");
        let help = format!("write `map {{ type \"{text}\" }}` to read it from the message");
        self.report(Rule::AlwaysSame, message, "not read from the message", &help);
    }

    /// `title "data.door"`: a path without its braces.
    fn path_for_template(&mut self, node: &KdlNode, text: &str, roots: Roots) {
        let is_shown = matches!(node.name().value(), "set" | "title" | "message");
        if !is_shown || !is_path(text, roots) {
            return;
        }
        let message = format!("`{text}` is a plain text here, the same for every event");
        let help = format!("write `{{{{ {text} }}}}` to read the value");
        self.report(Rule::AlwaysSame, message, "not read from the event", &help);
    }

    fn bad_name(&mut self, text: &str) {
        let (message, label) = match text.len() <= NAME_MAX {
            true => (format!("`{text}` cannot be a name"), "not a name".to_owned()),
            false => (
                format!("a name has at most {NAME_MAX} letters"),
                format!("these are {}", text.chars().count()),
            ),
        };
        let help = format!("names are lower case letters, digits and dashes: `{}`", as_name(text));
        self.report(Rule::BadName, message, &label, &help);
    }

    /// `on="5xx,timeout"`: words of one text that are separated by commas.
    fn commas_between(&mut self, text: &str, words: &[&str]) -> bool {
        let parts: Vec<&str> =
            text.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty()).collect();
        if !text.contains(',') || !parts.iter().all(|part| words.contains(part)) {
            return false;
        }
        let (meant, is_param, span) =
            (format!("\"{}\"", parts.join(" ")), self.is_param(), self.span.clone());
        let shown = match self.entry.name() {
            Some(name) => format!("{}={meant}", name.value()),
            None => meant.clone(),
        };
        let found = self
            .diagnostics
            .push(
                Rule::UnknownWord,
                format!("the words of {} are separated with spaces", self.subject()),
            )
            .at(span.clone(), "no commas here")
            .help(format!("write `{shown}`"));
        if !is_param {
            found.fix(span, meant);
        }
        true
    }

    /// A path below `enrich`, where `enrich.` itself may be left out. What begins as another part
    /// of an event would be written below `enrich` all the same.
    fn addition(&mut self, node: &KdlNode, text: &str) {
        if field_path(text).is_none() {
            return self.wrong("a dotted path below `enrich`, such as `person.name`");
        }
        let Some((root @ ("data" | "event" | "raw"), below)) = text.split_once('.') else { return };
        let is_last = node.entries().iter().filter(|it| it.name().is_none()).count() == 1;
        let rest = if is_last { "" } else { " …" };
        let message = format!("a stage writes below `enrich`, never into `{root}`");
        let help = format!("write `{}{rest}`", self.with(&format!("\"{below}\"")));
        let label = format!("this would be `enrich.{text}`");
        self.report(Rule::WrongArgument, message, &label, &help);
    }

    /// A host that cannot be one: usually a URL, or a pattern.
    fn bad_host(&mut self, text: &str) {
        let inside = text.split_once("://").map(|it| it.1).unwrap_or(text);
        let inside = inside.split(['/', '?', '#']).next().unwrap_or_default();
        let help = match ServedHost::parse(inside) {
            Some(host) => format!("write `\"{host}\"`"),
            None if text.contains('*') => {
                "list each name: a pattern would also match names that somebody else controls"
                    .to_owned()
            }
            None if !text.is_ascii() => {
                "write the name as it is in DNS, such as `\"xn--tre-hoa.example\"`".to_owned()
            }
            None => "write a name or an address, such as `\"engine.lan\"` or \
                     `\"192.168.1.5:8600\"`"
                .to_owned(),
        };
        let message = format!("`{text}` is not a host");
        self.report(Rule::WrongArgument, message, "neither a name nor an address", &help);
    }

    /// Text that is no URL: usually a host and a port without the scheme.
    fn bad_url(&mut self, text: &str) {
        let example =
            self.examples.iter().flat_map(|example| example.split('"')).find(|it| is_url(it));
        let example = example.unwrap_or("http://127.0.0.1:8080");
        let scheme = example.split("://").next().unwrap_or_default();
        let is_bare = is_host_and_path(text);
        let help = match is_bare {
            true => format!("write `\"{scheme}://{text}\"`"),
            false => format!("write one such as `\"{example}\"`"),
        };
        let label = if is_bare { "the scheme is missing" } else { "not a URL" };
        let message = format!("{} must be a URL", self.subject());
        self.report(Rule::WrongArgument, message, label, &help);
    }

    fn bad_hours(&mut self, text: &str) {
        let is_empty = text.split_once('-').is_some_and(|(from, to)| from.trim() == to.trim());
        let (message, label, help) = match is_empty {
            true => (
                format!("`{text}` is an empty range: its end is its beginning"),
                "covers no time",
                "write `\"00:00-24:00\"` for the whole day",
            ),
            false => (
                format!("`{text}` is not a range of hours"),
                "not from one time of day to another",
                "write hours and minutes such as `\"22:00-07:00\"`; the end is not included",
            ),
        };
        self.report(Rule::WrongArgument, message, label, help);
    }

    fn days(&mut self, text: &str) {
        let Err(part) = Weekdays::parse(text) else { return };
        let help = nearest(&part, DAYS)
            .filter(|_| !part.trim().is_empty())
            .map_or_else(String::new, |nearest| format!("did you mean `{nearest}`? "));
        let help =
            format!("{help}the days are {}; write `\"mon-fri\"` or `\"sat sun\"`", DAYS.join(" "));
        self.report(Rule::WrongArgument, format!("`{part}` is not a day"), "unknown day", &help);
    }

    fn bad_zone(&mut self, text: &str) {
        let zones: Vec<String> =
            jiff::tz::db().available().map(|available| available.as_str().to_owned()).collect();
        let near = nearest(text, zones.iter().map(String::as_str)).or_else(|| {
            // A city is told without its region: `Berlin`.
            let city = |it: &&String| {
                it.rsplit('/').next().is_some_and(|part| part.eq_ignore_ascii_case(text))
            };
            zones.iter().find(city).map(String::as_str)
        });
        let message = format!("unknown time zone `{text}`");
        let help = match near {
            Some(it) => format!("did you mean `\"{it}\"`?"),
            None => "give a time zone such as `\"Europe/Berlin\"`".to_owned(),
        };
        self.report(Rule::WrongArgument, message, "unknown time zone", &help);
    }

    fn word(&mut self, word: &str, words: &[&str]) {
        if words.contains(&word) {
            return;
        }
        let sure = respelled(word, words);
        let is_param = self.is_param();
        let help = sure
            .or_else(|| other_level(word, words))
            .or_else(|| other_format(word, words))
            .or_else(|| nearest(word, words.iter().copied()))
            .map_or_else(String::new, |sure| format!("did you mean `{sure}`? "));
        let span = self.span.clone();
        let found = self
            .diagnostics
            .push(Rule::UnknownWord, format!("`{word}` is not a valid value of {}", self.subject()))
            .at(span.clone(), "unknown word")
            .help(format!("{help}The words are: {}", words.join(", ")));
        // Inside quotes the span is the word's own, alone it is the whole value: both take it.
        if let Some(it) = sure.filter(|_| !is_param) {
            found.fix(span, it);
        }
    }

    /// The place in the text where it stops being JSON.
    fn json(&mut self, text: &str, fault: &serde_json::Error) {
        let before = text.split_inclusive('\n').take(fault.line().saturating_sub(1));
        let at = before.map(str::len).sum::<usize>() + fault.column().saturating_sub(1);
        let at = (0..=at.min(text.len())).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
        let width = text[at..].chars().next().map_or(0, char::len_utf8);
        let reason = fault.to_string();
        let reason = reason.split(" at line").next().unwrap_or_default().to_owned();
        self.span = value_text_span(self.entry, at..at + width);
        let message = format!("{} is not valid JSON", self.subject());
        self.report(
            Rule::BadSample,
            message,
            &reason,
            "JSON needs double quotes around every name and text",
        );
    }

    /// `type "ring"` in `map`: a word that is no path, where an expression is expected.
    fn plain_type(&mut self, word: &str) -> bool {
        let is_word = |letter: char| letter.is_alphanumeric() || "._-".contains(letter);
        let root = word.split(['.', '-']).next().unwrap_or_default();
        let is_plain = word.starts_with(char::is_alphabetic) && word.chars().all(is_word);
        // `event.type` is a path of other places, and `server.down` a type.
        let is_path = root == "event" && Expr::parse(word, Roots::EVENT).is_ok();
        if !is_plain || is_path || Roots::MAP_ITEM.names().contains(&root) {
            return false;
        }
        self.diagnostics
            .push(Rule::UnknownFunction, format!("`{word}` is not an expression"))
            .at(self.span.clone(), "a path or a text in single quotes is expected")
            .help(format!(
                "write `type {word}` in the source, without `map`, if every event has this type; \
                 or `type \"'{word}'\"` here"
            ));
        true
    }

    fn problems(&mut self, rule: Rule, problems: Vec<ExprProblem>) {
        for problem in problems {
            let rule = problem.kind.rule(rule);
            let span = value_text_span(self.entry, problem.span.clone());
            let is_whole = rule == Rule::BadExpression && !self.is_param();
            let instead = problem.instead.filter(|it| is_whole && !it.contains("\"#"));
            let instead =
                instead.map(|it| format!("write `{}`", self.with(&format!("#\"{it}\"#"))));
            let found = self.diagnostics.push(rule, problem.message).at(span, problem.label);
            if let Some(help) = instead.or(problem.help) {
                found.help(help);
            }
        }
    }
}

/// What other services call how urgent something is, and our words, the first that is known in its
/// place.
const LEVELS: &[(&str, &[&str])] = &[
    ("urgent", &["max", "critical"]),
    ("emergency", &["max", "critical"]),
    ("critical", &["max"]),
    ("max", &["critical"]),
    ("error", &["high"]),
    ("warning", &["high"]),
    ("normal", &["default"]),
    ("medium", &["default", "normal"]),
    ("default", &["normal"]),
    ("info", &["default", "normal"]),
    ("lowest", &["min", "low"]),
    ("min", &["low"]),
];

/// The word of ours that a word of other services means.
pub fn other_level<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let (_, ours) = LEVELS.iter().find(|level| level.0.eq_ignore_ascii_case(word))?;
    ours.iter().find_map(|ours| words.iter().find(|it| *it == ours)).copied()
}

/// The word of ours for a format that has other names elsewhere.
fn other_format<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let is_lines =
        matches!(word.to_ascii_lowercase().as_str(), "jsonl" | "jsonlines" | "json-lines");
    words.iter().find(|it| is_lines && **it == "ndjson").copied()
}

/// The most letters of a name.
const NAME_MAX: usize = 63;

/// Whether a text can be a name in a pipeline file.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|it| it.is_ascii_lowercase())
        && text.len() <= NAME_MAX
        && bytes.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
}

/// The nearest that can be one.
pub fn as_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let dashed: String =
        lower.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    let name = dashed.trim_start_matches(|letter: char| letter == '-' || letter.is_ascii_digit());
    let name = name[..name.len().min(NAME_MAX)].trim_end_matches('-');
    if name.is_empty() { "name".to_owned() } else { name.to_owned() }
}

fn leading(text: &str) -> f64 {
    let end =
        text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(text.len());
    text[..end].parse().unwrap_or_default()
}

/// Whether a text is the five fields of a line in a crontab.
fn is_cron(text: &str) -> bool {
    let is_field = |field: &str| {
        field.chars().all(|letter| letter.is_ascii_alphanumeric() || "*/,-".contains(letter))
    };
    text.split_whitespace().count() == 5 && text.split_whitespace().all(is_field)
}

fn is_plain_number(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// Whether a text is all that its value will be: no template, and nothing from a variable.
fn is_plain(text: &str) -> bool {
    !text.contains("{{") && !text.contains("${")
}

/// Whether all of a text is the path of a value of an event.
fn is_path(text: &str, roots: Roots) -> bool {
    let Some((root, rest)) = text.split_once('.') else { return false };
    let is_part = |part: &str| {
        part.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    matches!(root, "event" | "data" | "raw" | "enrich")
        && rest.split('.').all(is_part)
        && Expr::parse(text, roots).is_ok()
}

/// Whether a text is a URL of a scheme that some kind speaks.
fn is_url(text: &str) -> bool {
    const SCHEMES: &[&str] = &["http", "https", "mqtt", "mqtts", "smtp", "smtps", "smtp+starttls"];
    text.split_once("://").is_some_and(|(scheme, behind)| {
        SCHEMES.contains(&scheme) && !behind.is_empty() && !behind.contains(char::is_whitespace)
    })
}

/// Whether a text is a URL without its scheme: `mail.lan:587`, `example.org/events`.
fn is_host_and_path(text: &str) -> bool {
    let host = text.split('/').next().unwrap_or_default();
    let is_name = |text: &str| text.contains('.') || text == "localhost";
    let is_host = |text: &str| is_name(text) && ServedHost::parse(text).is_some();
    (is_socket(host) || is_host(host)) && !text.contains(char::is_whitespace)
}

/// Whether a text is `HOST:PORT`.
pub fn is_socket(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-');
    let is_host = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain),
    };
    is_host
        && port.starts_with(|letter: char| letter.is_ascii_digit())
        && port.parse::<u16>().is_ok()
}
