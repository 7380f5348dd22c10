//! `engine sql`: a query on a store, beside the engine that may be running on it.

use crate::client::find::store_of;
use crate::client::table::{TableColumn, csv_row, titled};
use crate::terminal::{self, Volume};
use clap::{Args, ValueEnum};
use kernel::env::SystemClock;
use kernel::health::printable_json;
use language::parse_duration;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{SqlLimits, SqlResult, SqlValue};

/// What a table shows of a value in bytes, in bytes.
const BLOB_MAX: usize = 64;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine sql pipelines/home.kdl "SELECT type, count(*) FROM events GROUP BY type"
  engine sql --store data/home.db "SELECT * FROM dead_letters" --format csv

Other programs may rely on events, event_enrichments, event_metrics, dead_letters, deliveries and
reloads; every other table may change with each version."#)]
pub(super) struct SqlArgs {
    /// The pipeline file whose store it is; with --store, the query.
    #[arg(value_name = "FILE|QUERY")]
    first: String,
    /// The query.
    #[arg(value_name = "QUERY")]
    second: Option<String>,
    /// The database file of the store.
    #[arg(long, value_name = "PATH", conflicts_with = "data")]
    store: Option<PathBuf>,
    /// With FILE: the folder that was passed to `engine run` as --data.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The maximum number of rows to print.
    #[arg(long, value_name = "N", default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Stop the query after this long: while it runs, the log of a running engine grows.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: SqlFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SqlFormat {
    /// A table that fits the terminal.
    Table,
    /// One JSON object with the names of the columns and the rows.
    Json,
    /// Comma-separated values.
    Csv,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| *duration <= Duration::from_secs(3600));
    duration.ok_or_else(|| "write a duration of at most 1h, such as 10s".to_owned())
}

/// Queries; the exit code.
pub(super) fn sql(args: &SqlArgs) -> u8 {
    match query(args) {
        Ok(answer) => {
            show(args, &answer);
            0
        }
        Err(reason) => {
            terminal::to_terminal(&format!("engine: {reason}\n"));
            2
        }
    }
}

fn query(args: &SqlArgs) -> Result<SqlResult, String> {
    let (path, sql) = match (&args.store, &args.second) {
        (Some(path), None) => (path.clone(), &args.first),
        (Some(_), Some(_)) => return Err("give FILE or --store, not both".to_owned()),
        (None, Some(sql)) => {
            let path = store_of(args.first.as_ref(), args.data.as_deref());
            (path.map_err(|fault| fault.reason)?, sql)
        }
        (None, None) => {
            return Err("give a pipeline file or --store PATH, and a query".to_owned());
        }
    };
    let rows = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let limits = SqlLimits { time: args.timeout, rows };
    store::read_sql(&path, sql, limits, Arc::new(SystemClock::default()))
}

/// The store is closed by now, so that whoever reads slowly holds up nobody.
fn show(args: &SqlArgs, answer: &SqlResult) {
    match args.format {
        SqlFormat::Table => {
            let columns: Vec<TableColumn> = (0..answer.columns.len())
                .map(|index| match answer.rows.iter().all(|row| is_number(&row[index])) {
                    true if !answer.rows.is_empty() => TableColumn::number(""),
                    _ => TableColumn::text("", 6),
                })
                .collect();
            let rows: Vec<Vec<String>> =
                answer.rows.iter().map(|row| row.iter().map(in_table).collect()).collect();
            terminal::to_output(&titled(&columns, &answer.columns, &rows));
        }
        SqlFormat::Csv => {
            let mut text = csv_row(&answer.columns);
            for row in &answer.rows {
                text += &csv_row(&row.iter().map(in_csv).collect::<Vec<_>>());
            }
            terminal::to_output(&text);
        }
        SqlFormat::Json => {
            let rows = answer.rows.iter().map(|row| Value::from_iter(row.iter().map(in_json)));
            let rows: Vec<String> = rows.map(|row| row.to_string()).collect();
            let rows =
                if rows.is_empty() { String::new() } else { format!("\n{}\n", rows.join(",\n")) };
            let (columns, is_cut) = (json!(answer.columns), answer.is_cut);
            terminal::to_output(&printable_json(format!(
                "{{\"columns\":{columns},\"rows\":[{rows}],\"is_cut\":{is_cut}}}\n"
            )));
        }
    }
    if answer.is_cut && terminal::volume() != Volume::Quiet {
        let count = answer.rows.len();
        terminal::to_terminal(&format!("the first {count} rows; use --limit for more\n"));
    }
}

fn is_number(value: &SqlValue) -> bool {
    matches!(value, SqlValue::Integer(_) | SqlValue::Real(_))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn in_table(value: &SqlValue) -> String {
    match value {
        SqlValue::Null => "NULL".to_owned(),
        SqlValue::Blob(bytes) if BLOB_MAX < bytes.len() => {
            format!("x'{}…' ({} bytes)", hex(&bytes[..BLOB_MAX]), bytes.len())
        }
        other => in_csv(other),
    }
}

fn in_csv(value: &SqlValue) -> String {
    match value {
        SqlValue::Null => String::new(),
        SqlValue::Integer(number) => number.to_string(),
        SqlValue::Real(number) => number.to_string(),
        SqlValue::Text(text) => text.clone(),
        SqlValue::Blob(bytes) => format!("x'{}'", hex(bytes)),
    }
}

fn in_json(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => json!(number),
        SqlValue::Real(number) => json!(number),
        SqlValue::Text(_) | SqlValue::Blob(_) => in_csv(value).into(),
    }
}
