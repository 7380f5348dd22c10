//! The log: one line an event on standard error, for people or for programs.
//!
//! *Never:* a control character from outside. *Never* in the format for programs: a line that is
//! not JSON.

use crate::terminal;
use compiler::report;
use kernel::env::{Clock, SystemClock};
use kernel::health::printable;
use language::diagnostic::{Diagnostic, Severity};
use serde_json::{Map, Value};
use std::fmt::{self, Write};
use std::net::SocketAddr;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// The longest text of one line, in bytes; more is cut.
const TEXT_MAX: usize = 4096;

/// What is written whatever the level is: other programs wait for it.
const ALWAYS: &str = "always";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people, with the local time.
    Text,
    /// A JSON object, with the time in UTC.
    Json,
}

/// Starts the log of this process. Events below `level` are left out, unless `RUST_LOG` says
/// otherwise: a level, or `TARGET=LEVEL` pairs with commas between them. The error is a `RUST_LOG`
/// that cannot be read; the log has started without it.
pub fn start(format: LogFormat, level: Level) -> Result<(), String> {
    let by_level = || Targets::new().with_default(level);
    let (filter, result) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => match text.parse::<Targets>() {
            Ok(filter) => (filter, Ok(())),
            Err(fault) => (by_level(), Err(format!("`RUST_LOG`: {fault}"))),
        },
        _ => (by_level(), Ok(())),
    };
    let filter = filter.with_target(ALWAYS, Level::TRACE);
    let lines =
        LogLines { format, is_coloured: terminal::has_colour(), clock: SystemClock::default() };
    let layer =
        tracing_subscriber::fmt::layer().with_writer(|| terminal::LogOutput).event_format(lines);
    tracing_subscriber::registry().with(filter).with(layer).init();
    if format == LogFormat::Json {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let reason = panic.payload_as_str().unwrap_or_default();
            tracing::error!(target: ALWAYS, place, "a thread panicked, which is a bug: {reason}");
        }));
    }
    result
}

/// The line that says that events are taken now.
pub fn ready(format: LogFormat, address: SocketAddr, is_tls: bool, generation: u64) {
    let scheme = if is_tls { "https" } else { "http" };
    let message = format!("ready {scheme}://{address} generation {generation}");
    match format {
        LogFormat::Text => terminal::to_terminal(&format!("{message}\n")),
        LogFormat::Json => {
            let address = address.to_string();
            tracing::info!(target: ALWAYS, address, generation, "{message}");
        }
    }
}

/// What is wrong with a file: frames for people, a line for each finding for programs.
pub fn findings(format: LogFormat, diagnostics: &[Diagnostic]) {
    if format == LogFormat::Text {
        let wanted = terminal::wanted(diagnostics);
        let frames = report::human(&wanted, terminal::has_colour(), terminal::width());
        return terminal::to_terminal(&frames);
    }
    for found in diagnostics {
        let (place, code) = (report::place(found), found.rule.code());
        let (message, help) = (&found.message, found.help.as_deref().unwrap_or_default());
        match found.severity {
            Severity::Error => tracing::error!(code, place, help, "{message}"),
            Severity::Warning => tracing::warn!(code, place, help, "{message}"),
        }
    }
}

/// Why the process ends with an error.
pub fn failure(format: LogFormat, message: &str) {
    match format {
        LogFormat::Text => terminal::to_terminal(&format!("engine: {message}\n")),
        LogFormat::Json => tracing::error!(target: ALWAYS, "{message}"),
    }
}

/// Whether a command line that could not be read asks for the format for programs.
pub fn is_json_wanted(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let arguments: Vec<_> = arguments.collect();
    let is_pair = |pair: &[std::ffi::OsString]| pair[0] == "--log-format" && pair[1] == "json";
    arguments.windows(2).any(is_pair)
        || arguments.iter().any(|argument| argument == "--log-format=json")
}

/// Writes one event as one line.
struct LogLines {
    format: LogFormat,
    is_coloured: bool,
    clock: SystemClock,
}

/// What an event says.
#[derive(Default)]
struct LogFields {
    message: String,
    fields: Map<String, Value>,
}

impl LogFields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), &value) {
            ("message", Value::String(text)) => self.message.clone_from(text),
            (name, _) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for LogFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, printable(&format!("{value:?}"), TEXT_MAX).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, printable(value, TEXT_MAX).into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = LogFields::default();
        event.record(&mut said);
        let (level, now) = (*event.metadata().level(), self.clock.wall());
        match self.format {
            LogFormat::Json => writeln!(writer, "{}", json_line(&now.to_string(), level, said)),
            LogFormat::Text => {
                writeln!(writer, "{}", text_line(&now.local(), level, said, self.is_coloured))
            }
        }
    }
}

fn json_line(time: &str, level: Level, said: LogFields) -> Value {
    let mut line = Map::new();
    line.insert("time".to_owned(), time.into());
    line.insert("level".to_owned(), level.as_str().to_lowercase().into());
    line.insert("message".to_owned(), said.message.into());
    line.extend(said.fields);
    Value::Object(line)
}

/// `14:54:18 WARN  target phone failed: the response is 401 (unauthorized)` and, on its own line,
/// what to do. A part and its state are in the message already.
fn text_line(time: &str, level: Level, mut said: LogFields, is_coloured: bool) -> String {
    let colour = match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    };
    let (on, off) = if is_coloured { (colour, "\x1b[0m") } else { ("", "") };
    let mut line = format!("{time} {on}{:<5}{off} {}", level.as_str(), said.message);
    let mut take = |name: &str| match said.fields.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let (_, _, code, advice) = (take("part"), take("state"), take("code"), take("advice"));
    if let Some(code) = code {
        write!(line, " ({code})").expect("writing to a String cannot fail");
    }
    for (name, value) in &said.fields {
        write!(line, " {name}={value}").expect("writing to a String cannot fail");
    }
    if let Some(advice) = advice {
        write!(line, "; {advice}").expect("writing to a String cannot fail");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said() -> LogFields {
        let fields = [
            ("part", json!("target phone")),
            ("state", json!("failed")),
            ("code", json!("unauthorized")),
            ("advice", json!("correct the token")),
            ("count", json!(3)),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        LogFields { message: "target phone failed: the response is 401".to_owned(), fields }
    }

    #[test]
    fn a_line_for_people_says_what_is_wrong_and_what_to_do() {
        assert_eq!(
            text_line("2026-01-01 10:00:00", Level::ERROR, said(), false),
            "2026-01-01 10:00:00 ERROR target phone failed: the response is 401 (unauthorized) \
             count=3; correct the token"
        );
        let coloured = text_line("10:00:00", Level::WARN, LogFields::default(), true);
        assert_eq!(coloured, "10:00:00 \x1b[33mWARN \x1b[0m ");
    }

    #[test]
    fn a_line_for_programs_has_every_field() {
        let line = json_line("2026-01-01T10:00:00.000Z", Level::ERROR, said());
        let expected = json!({
            "time": "2026-01-01T10:00:00.000Z", "level": "error",
            "message": "target phone failed: the response is 401", "part": "target phone",
            "state": "failed", "code": "unauthorized", "advice": "correct the token", "count": 3,
        });
        assert_eq!(line, expected);
    }
}
