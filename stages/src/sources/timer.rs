//! A clock: an event at each time that a schedule names.
//!
//! The id of a tick is made of its time, and the last tick is remembered in the transaction of its
//! events: a kill between any two steps loses and doubles none. [`cron`] and [`schedule`] say when
//! a tick is due, [`ticking`] waits for it and sends it.

mod cron;
mod field;
mod schedule;
mod ticking;

use crate::contract::{Brings, Emit, Kind, OpenSource, Services, Source, SourceKind};
use crate::table::{COLUMNS, Table, TableNode};
use cron::CronPattern;
use kernel::choice;
use kernel::choice::Choice;
use kernel::fault::Fault;
use kernel::time::write_duration;
use language::diagnostic::Rule;
use language::expr::ValueType;
use language::literal::literal;
use language::{Arg, Context, Fields, NodeRow, Prop, Scalar, ValueKind};
use schedule::Schedule;
use std::sync::Arc;
use std::time::Duration;
use ticking::Ticking;

/// Most rows of the table of a timer: each is an event at every tick.
const ROWS_MAX: usize = 10_000;
/// The longest key of a row, in bytes: it is a part of the event's id.
const KEY_MAX: usize = 128;

const EVERY: ValueKind =
    ValueKind::Duration(Duration::from_secs(1), Duration::from_secs(366 * 86_400));
const JITTER: ValueKind = ValueKind::Duration(Duration::ZERO, Duration::from_secs(183 * 86_400));

const NODES: &[NodeRow] = &[
    NodeRow::new("cron", "when it ticks, in the time zone of the pipeline: minute, hour, day of the month, month, day of the week")
        .examples(&[r#"cron "30 7 * * 1-5""#, r#"cron "*/10 8-18 * * mon-fri""#, r#"cron "0 6 1,15 jan *""#])
        .args(&[Arg::one("pattern", ValueKind::Literal)]),
    NodeRow::new("every", "how often it ticks; times are multiples of it since 1970-01-01 in UTC, so that a restart does not move them")
        .examples(&[r#"every "10m""#, r#"every "10m" jitter="30s""#])
        .args(&[Arg::one("duration", EVERY)])
        .props(&[Prop::new("jitter", JITTER)]),
    NodeRow::new("catch-up", "which ticks missed while the engine was down are sent afterwards: none, the last one, or all (at most the newest 1,000)")
        .examples(&["catch-up last"])
        .args(&[Arg::one("ticks", ValueKind::Word(CatchUp::WORDS))])
        .default("none"),
    NodeRow::new("per", "an event for each row of a CSV, JSON or JSONL file at each tick; its data is the row, its subject what is in the column `key`")
        .examples(&[
            r#"per table="tables/people.csv" key=id"#,
            r#"per table="tables/rooms.csv" { number limit; flag is-inside }"#,
        ])
        .props(&[Prop::required("table", ValueKind::Path), Prop::new("key", ValueKind::Text)])
        .children(&[COLUMNS]),
];

choice! {
    /// Which ticks are sent that were missed.
    enum CatchUp {
        /// They are left out.
        None = "none",
        /// The newest of them.
        Last = "last",
        /// All of them, up to a limit.
        All = "all",
    }
}

/// The kind `timer`.
pub(super) struct TimerSource {
    settings: Settings,
    services: Services,
}

/// When it ticks, and what a tick brings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    schedule: Schedule,
    catch_up: CatchUp,
    per: Option<Arc<Table>>,
}

impl Kind for TimerSource {
    const WORD: &'static str = "timer";
    const SUMMARY: &'static str = "sends an event at set times";
    const EXAMPLE: &'static str =
        r#"source timer daily { cron "30 7 * * 1-5"; type frost-check; catch-up last }"#;
    const NODES: &'static [&'static [NodeRow]] = &[NODES];
    type Settings = Settings;

    fn read(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Settings> {
        let schedule = read_schedule(fields, context);
        let per = fields.child("per").map(|child| read_per(child, context));
        let catch_up = fields.setting("catch-up").arg(0, Scalar::choice);
        check_type(fields, per.as_ref().and_then(Option::as_ref), context);
        let per = match per {
            Some(table) => Some(Arc::new(table?)),
            None => None,
        };
        Some(Settings { schedule: schedule?, catch_up, per })
    }
}

fn read_schedule(fields: &Fields<'_>, context: &mut Context<'_>) -> Option<Schedule> {
    match (fields.child("cron"), fields.child("every")) {
        (Some(cron), None) => read_cron(&cron, context).map(Schedule::Cron),
        (None, Some(every)) => read_every(&every, context),
        (Some(cron), Some(every)) => {
            let places = [cron.name().span, every.name().span];
            let second = places.into_iter().max_by_key(|span| span.start).unwrap_or_default();
            context
                .diagnostics
                .push(Rule::RepeatedNode, "a timer has either `cron` or `every`")
                .at(second, "a second schedule")
                .help("write a second `source timer` for it");
            None
        }
        (None, None) => {
            context
                .diagnostics
                .push(Rule::MissingNode, "a timer needs `cron` or `every`")
                .at(fields.head(), "no schedule is given")
                .help("write `cron \"30 7 * * 1-5\"` or `every \"10m\"`");
            None
        }
    }
}

fn read_cron(cron: &Fields<'_>, context: &mut Context<'_>) -> Option<CronPattern> {
    let pattern = cron.arg(0)?;
    let text = literal(&pattern, context.diagnostics)?;
    match CronPattern::parse(&text.value) {
        Ok(pattern) => Some(pattern),
        Err(mistakes) => {
            for it in mistakes {
                context
                    .diagnostics
                    .push(Rule::WrongArgument, it.message)
                    .at(pattern.part_span(it.at), it.label)
                    .help(it.help);
            }
            None
        }
    }
}

fn read_every(every: &Fields<'_>, context: &mut Context<'_>) -> Option<Schedule> {
    let span = every.arg(0)?.duration()?.value;
    let Some(jitter) = every.prop("jitter") else {
        return Some(Schedule::Every { span, jitter: Duration::ZERO });
    };
    let jitter = jitter.duration()?;
    if span / 2 < jitter.value {
        // A tick must not come after the next one.
        let most = write_duration(span / 2);
        context
            .diagnostics
            .push(Rule::OutOfRange, format!("`jitter` must be at most half of `every`, {most}"))
            .at(jitter.span, "too long")
            .help(format!("write `jitter=\"{most}\"` or less"));
        return None;
    }
    Some(Schedule::Every { span, jitter: jitter.value })
}

fn read_per(node: Fields<'_>, context: &mut Context<'_>) -> Option<Table> {
    let path = node.prop("table")?;
    let key = node.prop("key").and_then(|prop| prop.text());
    let span = path.span();
    let table =
        TableNode { node, has_columns: true, path, key, select: Vec::new() }.open(context)?;
    let rows = table.rows();
    let long = rows.iter().filter_map(|row| row.key.as_ref()).find(|key| KEY_MAX < key.len());
    let (message, help) = if ROWS_MAX < rows.len() {
        let message = format!("the table has {} rows, more than {ROWS_MAX}", rows.len());
        (message, "split the table, and write a timer for each part".to_owned())
    } else if let Some(long) = long {
        let message = format!("a key of the table has {} bytes, more than {KEY_MAX}", long.len());
        (message, "choose another column as `key`, or leave `key` out".to_owned())
    } else {
        return Some(table);
    };
    context.diagnostics.push(Rule::BadTable, message).at(span, "in this table").help(help);
    None
}

/// Nothing but the file can say of which type ticks are.
fn check_type(fields: &Fields<'_>, per: Option<&Table>, context: &mut Context<'_>) {
    let is_given = |of: &Fields<'_>| !of.takes("type") || of.child("type").is_some();
    let is_mapped =
        |of: &Fields<'_>| of.takes("map") && of.child("map").is_some_and(|child| is_given(&child));
    // A table that could not be read may have the column.
    let has_column = match (per, fields.child("per")) {
        (Some(table), _) => table.shape().has_field("type"),
        (None, broken) => broken.is_some(),
    };
    if is_given(fields) || is_mapped(fields) || has_column {
        return;
    }
    let name = fields.arg(1).and_then(|arg| arg.text());
    let name = name.map_or_else(|| "tick".to_owned(), |name| name.value);
    context
        .diagnostics
        .push(Rule::MissingNode, "a timer needs `type`")
        .at(fields.head(), "its events have no type")
        .help(format!("write `type {name}` in its block"));
}

impl SourceKind for TimerSource {
    const IS_CLOCK: bool = true;

    fn says(settings: &Settings) -> String {
        let rows = if settings.per.is_some() { ", for each row of a table" } else { "" };
        format!("{}{rows}", settings.schedule.says())
    }

    fn brings(settings: &Settings) -> Brings {
        let message = match &settings.per {
            Some(table) => table.shape().clone(),
            None => ValueType::map([("scheduled", ValueType::text())]),
        };
        let has_subject = settings.per.is_some();
        Brings { has_time: true, has_subject, ..Brings::message(message) }
    }

    fn ends(_: &Settings) -> bool {
        false
    }

    async fn open(settings: Settings, services: Services) -> Result<OpenSource, Fault> {
        Ok(OpenSource::Task(Box::new(TimerSource { settings, services })))
    }
}

impl Source for TimerSource {
    async fn run(&mut self, emit: &dyn Emit) -> Result<(), Fault> {
        // It ends only when it is time to stop.
        let Err(_closed) = Ticking::new(&self.settings, &self.services, emit).run().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
