//! Lines of text to fields: the codecs of `decode` that know what is in a line.
//!
//! A source only reads lines; they are decoded where `map` is, so a line that was set aside comes
//! in again by what the file says by then.

mod csv;
mod logfmt;
mod regex;
mod syslog;

pub(crate) use self::regex::CompiledPattern;
use self::regex::{LinePattern, PatternFault};
use crate::sources::Codec;
use kernel::choice;
use kernel::choice::Choice;
use kernel::event::Globals;
use kernel::time::{Timestamp, smaller_unit};
use language::diagnostic::Rule;
use language::expr::{TimePattern, ValueType, number_of};
use language::spanned::Spanned;
use language::{Arg, Context, Fields, NodeRow, Scalar, ValueKind, nearest};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// How much of a text a reason shows, in characters.
const SHOWN_MAX: usize = 60;

choice! {
    /// What happens to a line that is not what `decode` says.
    pub enum OnMismatch {
        /// It is kept as a dead letter.
        DeadLetter = "dead-letter",
        /// It is an event without values, marked under `enrich.decode`.
        Tag = "tag",
        /// It is dropped.
        Drop = "drop",
    }
}

/// The nodes in the block of `decode`.
pub(crate) const FIELDS: &[NodeRow] = &[
    NodeRow::new("columns", "csv: the names of the columns, in order")
        .examples(&["columns at user database"])
        .args(&[Arg::some("column", ValueKind::Literal)]),
    NodeRow::new("separator", "csv: the character between two values; `\"\\t\"` is a tab")
        .examples(&[r#"separator ";""#, r#"separator "\t""#])
        .args(&[Arg::one("character", ValueKind::Literal)])
        .default("\",\""),
    NodeRow::flag("header", "csv: skips the first line of each file, which holds the column names; `columns` gives them here")
        .examples(&["header", "header #false"]),
    NodeRow::new("number", "fields that hold numbers; null if the text is not a number")
        .examples(&["number status bytes"])
        .args(&[Arg::some("field", ValueKind::Literal)])
        .repeated(),
    NodeRow::new(
        "time",
        "a field that holds a time: RFC 3339, Unix seconds, or a pattern such as `dd/MMM/yyyy:HH:mm:ss Z`; a text without an offset is in the pipeline's zone; the first one is the event's time",
    )
    .examples(&["time at", r#"time at "dd/MMM/yyyy:HH:mm:ss Z""#])
    .args(&[Arg::one("field", ValueKind::Literal), Arg::optional("pattern", ValueKind::Literal)])
    .repeated(),
    NodeRow::new("on-mismatch", "what to do with a line that cannot be decoded")
        .examples(&["on-mismatch drop"])
        .args(&[Arg::one("mode", ValueKind::Word(OnMismatch::WORDS))])
        .default("dead-letter"),
];

/// Reads the fields of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct LineDecoder {
    format: LineFormat,
    numbers: Vec<String>,
    times: Vec<TimeField>,
    /// What happens to a line that is not such a line.
    pub on_mismatch: OnMismatch,
}

/// A field that holds a time.
#[derive(Debug, Clone, PartialEq)]
struct TimeField {
    name: String,
    /// RFC 3339, in the pipeline's zone without an offset, or Unix seconds where there is none.
    pattern: Option<TimePattern>,
}

#[derive(Debug, Clone, PartialEq)]
enum LineFormat {
    Csv(CsvColumns),
    Logfmt,
    Regex(LinePattern),
    Syslog,
}

/// The columns of a CSV line, in order.
#[derive(Debug, Clone, PartialEq)]
struct CsvColumns {
    names: Vec<String>,
    separator: char,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedLine {
    /// Its fields.
    pub fields: Value,
    /// When it was written.
    pub time: Option<Timestamp>,
}

/// When a line is decoded, for times that do not say everything.
#[derive(Debug, Clone, Copy)]
pub struct DecodeMoment<'a> {
    /// The time of arrival.
    pub received: Timestamp,
    /// Where the zone is of times that name none.
    pub globals: &'a Globals,
}

impl DecodeMoment<'_> {
    fn read(self, text: &str, pattern: &TimePattern) -> Option<Timestamp> {
        pattern.read(text, self.globals.zone.as_ref())
    }
}

/// What one line format finds: fields, and the time where it knows which of them that is.
type Found = (Map<String, Value>, Option<Timestamp>);

impl LineDecoder {
    /// What a line says; the error is why it is not such a line.
    pub fn decode(&self, line: &str, moment: DecodeMoment<'_>) -> Result<DecodedLine, String> {
        let (mut fields, mut time) = match &self.format {
            LineFormat::Csv(columns) => (csv::read(line, &columns.names, columns.separator)?, None),
            LineFormat::Logfmt => (logfmt::read(line)?, None),
            LineFormat::Regex(pattern) => (pattern.read(line)?, None),
            LineFormat::Syslog => syslog::read(line, moment)?,
        };
        for name in &self.numbers {
            let number = fields.get(name).and_then(Value::as_str).and_then(number_of);
            fields.insert(name.clone(), number.unwrap_or(Value::Null));
        }
        for field in &self.times {
            let read = match fields.get(&field.name) {
                None | Some(Value::Null) => None,
                Some(text) => Some(field.read(text.as_str().unwrap_or_default(), moment)?),
            };
            let shown = read.map_or(Value::Null, |it| Value::String(it.to_string()));
            fields.insert(field.name.clone(), shown);
            time = time.or(read);
        }
        Ok(DecodedLine { fields: Value::Object(fields), time })
    }

    /// The fields of a line that is not such a line.
    pub fn blank(&self) -> Value {
        let names = self.names().into_iter().flatten();
        Value::Object(names.map(|name| (name.to_owned(), Value::Null)).collect())
    }

    /// Whether its lines say when they were written.
    pub fn has_time(&self) -> bool {
        !self.times.is_empty() || self.format == LineFormat::Syslog
    }

    /// What is known of the fields.
    pub fn shape(&self) -> ValueType {
        let is_optional = !matches!(self.format, LineFormat::Csv(_));
        let null = |it: ValueType, may_be: bool| if may_be { it.or_null() } else { it };
        let text = null(ValueType::text(), is_optional);
        let typed = |name: &str| match &self.format {
            _ if self.numbers.iter().any(|number| number == name) => ValueType::number().or_null(),
            LineFormat::Syslog => syslog::shape(name),
            _ => text.clone(),
        };
        let is_tagged = self.on_mismatch == OnMismatch::Tag;
        let of = |name: &str| (name.to_owned(), null(typed(name), is_tagged));
        match self.names() {
            Some(names) => ValueType::map(names.into_iter().map(of)),
            None => {
                let times = self.times.iter().map(|time| &time.name);
                ValueType::map(self.numbers.iter().chain(times).map(|number| of(number)))
                    .with_more()
            }
        }
    }

    /// The names of all fields, where the format knows them.
    fn names(&self) -> Option<Vec<&str>> {
        match &self.format {
            LineFormat::Csv(columns) => Some(columns.names.iter().map(String::as_str).collect()),
            LineFormat::Logfmt => None,
            LineFormat::Regex(pattern) => Some(pattern.names()),
            LineFormat::Syslog => Some(syslog::FIELDS.to_vec()),
        }
    }
}

impl TimeField {
    fn read(&self, text: &str, moment: DecodeMoment<'_>) -> Result<Timestamp, String> {
        let seconds = number_of(text).and_then(|number| number.as_f64());
        let found = match &self.pattern {
            Some(pattern) => moment.read(text, pattern),
            None => Timestamp::parse_in(text, moment.globals.zone.as_ref())
                .or_else(|| Timestamp::from_unix_seconds(seconds?)),
        };
        found.ok_or_else(|| {
            let unit = seconds.and_then(smaller_unit).filter(|_| self.pattern.is_none());
            let unit = unit.map_or_else(String::new, |(unit, size)| {
                format!(
                    "; it has the size of {unit}: write `number {}` here, and `time \"data.{} / \
                     {size}.0\"` in `map`",
                    self.name, self.name
                )
            });
            format!("`{}` is not a time as expected: `{}`{unit}", self.name, shown(text))
        })
    }
}

/// A text for a reason, as far as it fits.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Reads the node `decode`; `None` for a codec that takes whole messages.
pub(crate) fn read(
    codec: Codec,
    decode: &Fields<'_>,
    context: &mut Context<'_>,
) -> Option<LineDecoder> {
    let before = context.diagnostics.found().len();
    let pattern = decode.arg(1).and_then(|arg| arg.text());
    if let Some(pattern) = pattern.as_ref().filter(|_| codec != Codec::Regex) {
        context
            .diagnostics
            .push(Rule::WrongArgument, "only `decode regex` takes a pattern")
            .at(pattern.span.clone(), "a second argument")
            .help("remove it, or write `decode regex #\"…\"#`");
    }
    report_useless(codec, decode, context);
    let format = match codec {
        Codec::Logfmt => Some(LineFormat::Logfmt),
        Codec::Syslog => Some(LineFormat::Syslog),
        Codec::Csv => columns(decode, context).map(LineFormat::Csv),
        Codec::Regex => line_pattern(decode, pattern, context).map(LineFormat::Regex),
        Codec::Ndjson | Codec::Json | Codec::Text | Codec::Raw => None,
    };
    let names = decode.children("number").flat_map(|child| child.args());
    let numbers: Vec<Spanned<String>> = names.filter_map(|name| name.text()).collect();
    let times: Vec<(Spanned<String>, Option<Scalar<'_>>)> = decode
        .children("time")
        .filter_map(|child| Some((child.arg(0)?.text()?, child.arg(1))))
        .collect();
    let patterns: Vec<Option<TimePattern>> =
        times.iter().map(|time| time_pattern(time.1.as_ref()?, context)).collect();
    let decoder = LineDecoder {
        format: format?,
        numbers: numbers.iter().map(|number| number.value.clone()).collect(),
        times: times
            .iter()
            .zip(patterns)
            .map(|(it, pattern)| TimeField { name: it.0.value.clone(), pattern })
            .collect(),
        on_mismatch: decode.setting("on-mismatch").arg(0, Scalar::choice),
    };
    let typed: Vec<&Spanned<String>> =
        numbers.iter().chain(times.iter().map(|time| &time.0)).collect();
    report_names(&typed, &decoder, context);
    (context.diagnostics.found().len() == before).then_some(decoder)
}

/// Reports nodes that have no effect with this codec.
fn report_useless(codec: Codec, decode: &Fields<'_>, context: &mut Context<'_>) {
    for node in decode.block() {
        let name = node.name();
        let has_effect = match name.value {
            "columns" | "header" | "separator" => codec == Codec::Csv,
            "time" => codec.has_fields() && codec != Codec::Syslog,
            _ => codec.has_fields(),
        };
        if !has_effect {
            let word = codec.word();
            let help = match name.value {
                "columns" | "header" | "separator" => "remove it; it belongs to `decode csv`",
                "time" if codec == Codec::Syslog => {
                    "remove it; the time of each line is `data.time`"
                }
                _ => "remove it; it belongs to `decode` with regex, csv or logfmt",
            };
            context
                .diagnostics
                .push(
                    Rule::UnknownNode,
                    format!("`{}` has no effect with `decode {word}`", name.value),
                )
                .at(name.span, "no effect")
                .help(help);
        }
    }
}

fn columns(decode: &Fields<'_>, context: &mut Context<'_>) -> Option<CsvColumns> {
    let separator = separator(decode, context);
    let Some(node) = decode.child("columns") else {
        context
            .diagnostics
            .push(Rule::MissingNode, "`decode csv` needs `columns`")
            .at(decode.name().span, "the columns have no names")
            .help(
                "write `decode csv { columns at user }`; with `header`, the first line is skipped",
            );
        return None;
    };
    let mut known = BTreeSet::new();
    let columns: Vec<Spanned<String>> = node.args().filter_map(|arg| arg.text()).collect();
    if let Some(twice) = columns.iter().find(|column| !known.insert(column.value.as_str())) {
        context
            .diagnostics
            .push(Rule::WrongArgument, format!("the column `{}` appears twice", twice.value))
            .at(twice.span.clone(), "again")
            .help("give each column its own name");
        return None;
    }
    let names = columns.into_iter().map(|column| column.value).collect();
    Some(CsvColumns { names, separator: separator? })
}

/// The one character between two values; `None`, and reported, where it cannot be.
fn separator(decode: &Fields<'_>, context: &mut Context<'_>) -> Option<char> {
    let text = decode.setting("separator").arg(0, |scalar| scalar.text());
    let mut letters = text.value.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if !['"', '\r', '\n'].contains(&letter) => Some(letter),
        _ => {
            context
                .diagnostics
                .push(Rule::WrongArgument, "a separator is one character, and no quote or line end")
                .at(text.span, "not one character")
                .help("write `separator \";\"`, or `separator \"\\t\"` for a tab");
            None
        }
    }
}

fn line_pattern(
    decode: &Fields<'_>,
    pattern: Option<Spanned<String>>,
    context: &mut Context<'_>,
) -> Option<LinePattern> {
    let Some(pattern) = pattern else {
        context
            .diagnostics
            .push(Rule::MissingArgument, "`decode regex` needs a pattern")
            .at(decode.head(), "no pattern")
            .help(r##"write `decode regex #"^(?<level>\w+) (?<text>.*)$"#`"##);
        return None;
    };
    let compiled = compile(&pattern, context)?;
    LinePattern::new(compiled).map_err(|fault| report_pattern(fault, &pattern, context)).ok()
}

/// A pattern of the file, compiled; `None`, and reported, where it cannot be.
pub(crate) fn compile(
    pattern: &Spanned<String>,
    context: &mut Context<'_>,
) -> Option<CompiledPattern> {
    CompiledPattern::new(&pattern.value)
        .map_err(|fault| report_pattern(fault, pattern, context))
        .ok()
}

fn report_pattern(fault: PatternFault, pattern: &Spanned<String>, context: &mut Context<'_>) {
    let rule = if fault.is_too_large { Rule::TooLarge } else { Rule::BadExpression };
    context
        .diagnostics
        .push(rule, fault.message)
        .at(pattern.span.clone(), fault.label)
        .help(fault.help);
}

fn time_pattern(scalar: &Scalar<'_>, context: &mut Context<'_>) -> Option<TimePattern> {
    let text = scalar.text()?;
    match TimePattern::new(&text.value) {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            let found = context.diagnostics.push(Rule::BadExpression, problem.message);
            found.at(text.span, problem.label);
            if let Some(help) = problem.help {
                found.help(help);
            }
            None
        }
    }
}

/// Names of fields that there are not, or that are typed twice.
fn report_names(typed: &[&Spanned<String>], decoder: &LineDecoder, context: &mut Context<'_>) {
    let names = decoder.names();
    let mut before = BTreeSet::new();
    for it in typed {
        let unknown = names.as_ref().filter(|names| !names.contains(&it.value.as_str()));
        if let Some(names) = unknown {
            let what = match &decoder.format {
                LineFormat::Regex(_) => "the pattern has no group",
                LineFormat::Csv(_) => "there is no column",
                _ => "lines of this format have no field",
            };
            let help = match nearest(&it.value, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", names.join(", ")),
            };
            context
                .diagnostics
                .push(Rule::UnknownPath, format!("{what} `{}`", it.value))
                .at(it.span.clone(), "unknown")
                .help(help);
        } else if !before.insert(it.value.as_str()) {
            context
                .diagnostics
                .push(Rule::WrongArgument, format!("`{}` has a type already", it.value))
                .at(it.span.clone(), "a second type")
                .help("remove one of the two");
        }
    }
}

#[cfg(test)]
mod tests;
