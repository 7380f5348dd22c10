//! `engine stats`: how many events, of what, how fast their stages were, and how much they take.

use crate::client::figures::{brief, size};
use crate::client::query::RequestPath;
use crate::client::table::{TableColumn, table};
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal;
use clap::{Args, ValueEnum};
use kernel::health::printable_json;
use serde_json::Value;
use std::time::Duration;

/// Rows of one table, those with the highest counts.
const ROWS_MAX: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine stats
  engine stats --days 30 --format json"#)]
pub(super) struct StatsArgs {
    /// How many days back to count.
    #[arg(long, value_name = "N", default_value = "7",
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: StatsFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatsFormat {
    /// Tables for people.
    Text,
    /// The JSON of /api/stats, as it was sent.
    Json,
}

/// Shows the figures; the exit code.
pub(super) fn stats(args: &StatsArgs) -> u8 {
    show(args).map_or_else(|fault| fault.tell(), |()| 0)
}

fn show(args: &StatsArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let path = RequestPath::new("/api/stats").with("days", &args.days.to_string());
    let text = client.get_text(path.as_str())?;
    if args.format == StatsFormat::Json {
        terminal::to_output(&(printable_json(text) + "\n"));
        return Ok(());
    }
    let stats: Value = serde_json::from_str(&text).unwrap_or_default();
    let (Some(days), Some(total)) = (stats["period_days"].as_u64(), stats["total_events"].as_u64())
    else {
        return Err(client.no_engine("its response has no figures"));
    };
    let plural = if days == 1 { "day" } else { "days" };
    let mut parts = vec![format!("{total} events stored in the last {days} {plural}\n")];
    let by = [
        ("OUTCOME", "by_outcome"),
        ("TYPE", "by_type"),
        ("SOURCE", "by_source"),
        ("PRIORITY", "by_priority"),
    ];
    parts.extend(by.into_iter().map(|(title, name)| counts(title, &stats[name])));
    parts.extend([stages(&stats["stages"]), streams(&stats["streaming"]), store(&stats["store"])]);
    parts.retain(|part| !part.is_empty());
    terminal::to_output(&parts.join("\n"));
    Ok(())
}

/// The highest counts first.
fn counts(title: &'static str, counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    let mut counts: Vec<(&String, u64)> =
        counts.filter_map(|(name, count)| Some((name, count.as_u64()?))).collect();
    counts.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
    let rest = counts.len().saturating_sub(ROWS_MAX);
    let row = |(name, count): &(&String, u64)| vec![(*name).clone(), count.to_string()];
    let mut rows: Vec<Vec<String>> = counts.iter().take(ROWS_MAX).map(row).collect();
    if 0 < rest {
        let count: u64 = counts[ROWS_MAX..].iter().map(|it| it.1).sum();
        rows.push(vec![format!("{rest} more"), count.to_string()]);
    }
    shown(&[TableColumn::text(title, 8), TableColumn::number("EVENTS")], &rows)
}

fn shown(columns: &[TableColumn], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { String::new() } else { table(columns, rows) }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> String {
    value.as_u64().unwrap_or_default().to_string()
}

fn stages(stages: &Value) -> String {
    const COLUMNS: [TableColumn; 5] = [
        TableColumn::text("STAGE", 8),
        TableColumn::text("RESULT", 8),
        TableColumn::number("EVENTS"),
        TableColumn::number("MEAN"),
        TableColumn::number("MAX"),
    ];
    let took = |value: &Value| brief(Duration::from_micros(value.as_u64().unwrap_or_default()));
    let row = |value: &Value| {
        let (mean, max) = (took(&value["mean_micros"]), took(&value["max_micros"]));
        vec![text(&value["stage"]), text(&value["outcome"]), number(&value["count"]), mean, max]
    };
    let rows: Vec<Vec<String>> = stages.as_array().into_iter().flatten().map(row).collect();
    shown(&COLUMNS, &rows)
}

fn streams(streams: &Value) -> String {
    const COLUMNS: [TableColumn; 4] = [
        TableColumn::text("STREAM", 8),
        TableColumn::number("CLIENTS"),
        TableColumn::number("MOST"),
        TableColumn::number("SENT"),
    ];
    let row = |value: &Value| {
        let [clients, most, sent] = ["active_connections", "max_connections", "events_streamed"]
            .map(|name| number(&value[name]));
        vec![text(&value["sink"]), clients, most, sent]
    };
    let rows: Vec<Vec<String>> = streams.as_array().into_iter().flatten().map(row).collect();
    shown(&COLUMNS, &rows)
}

fn store(store: &Value) -> String {
    let bytes = size(store["bytes"].as_u64().unwrap_or_default());
    let (pending, letters) = (number(&store["pending"]), number(&store["dead_letters"]));
    format!("store {bytes}, {pending} events pending, {letters} dead letters\n")
}
