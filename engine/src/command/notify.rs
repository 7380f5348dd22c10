//! `engine notify`: what the notifiers of a running engine sent and did not send, and whether one
//! works.

mod try_out;

use super::events::moment;
use crate::client::pages::{PagedList, json_lines};
use crate::client::query::RequestPath;
use crate::client::table::{TableColumn, csv_row, table};
use crate::client::timeline::second_of;
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal::{self, Volume};
use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine notify log --notifier phone --since 1d
  engine notify log --state suppressed
  engine notify test phone"#)]
pub(super) struct NotifyArgs {
    #[command(subcommand)]
    command: NotifyCommand,
}

#[derive(Debug, Subcommand)]
enum NotifyCommand {
    /// List what was sent, held, suppressed or failed, with the reason; the newest event first.
    Log(Box<LogArgs>),
    /// Send a test message through a notifier, and show what its service answers.
    Test(Box<try_out::TryArgs>),
}

#[derive(Debug, Args)]
struct LogArgs {
    /// Only notifications of this notifier. Can be repeated.
    #[arg(long = "notifier", value_name = "NAME")]
    notifiers: Vec<String>,
    /// Only notifications in this state.
    #[arg(long, value_enum)]
    state: Option<StateWord>,
    /// Only notifications from this time on: `2h` ago, or 2026-01-01T09:50:04Z.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<String>,
    /// The most notifications to list.
    #[arg(long, value_name = "N", default_value = "20",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: LogForm,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateWord {
    /// Waiting to be sent or retried.
    Pending,
    /// Held back by a rule of the notifier, such as quiet hours, a group or a rate.
    Held,
    /// Sent.
    Done,
    /// Failed for good; there is a dead letter.
    Dead,
    /// Set aside: its notifier is disabled or no longer in the file.
    Parked,
    /// Not sent, because of a rule such as a cooldown.
    Suppressed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogForm {
    /// A table that fits the terminal.
    Table,
    /// One JSON object as of /api/notifications, with one notification on each line.
    Json,
    /// Comma-separated values.
    Csv,
}

/// Lists or tests; the exit code.
pub(super) fn notify(args: &NotifyArgs) -> u8 {
    let done = match &args.command {
        NotifyCommand::Log(args) => log(args).map(|()| 0),
        NotifyCommand::Test(args) => try_out::try_out(args),
    };
    done.unwrap_or_else(|fault| fault.tell())
}

impl LogArgs {
    fn path(&self) -> RequestPath {
        let state = self.state.and_then(|state| state.to_possible_value());
        let state: Vec<&str> = state.iter().map(|it| it.get_name()).collect();
        let since: Vec<&String> = self.since.iter().collect();
        RequestPath::new("/api/notifications")
            .with_all("notifier", &self.notifiers)
            .with_all("state", &state)
            .with_all("since", &since)
    }

    fn list(&self) -> PagedList {
        PagedList { member: "notifications", limit: self.limit }
    }
}

fn log(args: &LogArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    match args.format {
        LogForm::Table => as_table(&client, args),
        LogForm::Json => as_json(&client, args),
        LogForm::Csv => as_csv(&client, args),
    }
}

/// A notification as the engine shows it.
#[derive(Debug, Deserialize)]
struct NotificationRow {
    notifier: String,
    state: String,
    attempts: u64,
    reason: Option<String>,
    until: Option<String>,
    via: Option<String>,
    told_with: Option<String>,
    created: String,
    event_id: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    subject: Option<String>,
    time: Option<String>,
}

impl NotificationRow {
    fn read(client: &EngineClient, row: &RawValue) -> Result<Self, ClientFault> {
        let wrong = |_| client.no_engine("its response is not a notification");
        serde_json::from_str(row.get()).map_err(wrong)
    }

    /// Why it is as it is, in one line.
    fn why(&self) -> String {
        let until = self.until.as_deref().map(|it| format!("until {}", second_of(it)));
        let with = self.told_with.as_deref().map(|told_with| format!("sent with {told_with}"));
        let via = self.via.as_deref().map(|it| format!("via {it}"));
        [via, self.reason.clone(), until, with].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

const COLUMNS: [TableColumn; 7] = [
    TableColumn::text("CREATED", 19).rank(2),
    TableColumn::text("NOTIFIER", 8),
    TableColumn::text("STATE", 10),
    TableColumn::text("TYPE", 8).rank(3),
    TableColumn::text("EVENT", 12),
    TableColumn::number("TRIES").rank(1),
    TableColumn::text("REASON", 20),
];

fn as_table(client: &EngineClient, args: &LogArgs) -> Result<(), ClientFault> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let end = args.list().each_page(client, &args.path(), |page| {
        for row in page {
            let it = NotificationRow::read(client, row)?;
            let (why, tries) = (it.why(), it.attempts.to_string());
            let (kind, event) = (it.kind.unwrap_or_default(), it.event_id.unwrap_or_default());
            rows.push(vec![second_of(&it.created), it.notifier, it.state, kind, event, tries, why]);
        }
        Ok(true)
    })?;
    if !rows.is_empty() {
        terminal::to_output(&table(&COLUMNS, &rows));
    }
    if terminal::volume() != Volume::Quiet {
        match (rows.len(), end.next) {
            (0, _) => terminal::to_terminal("no notifications\n"),
            (count, Some(_)) => {
                terminal::to_terminal(&format!("the newest {count}; use --limit for more\n"));
            }
            (_, None) => {}
        }
    }
    Ok(())
}

fn as_json(client: &EngineClient, args: &LogArgs) -> Result<(), ClientFault> {
    let (mut begin, mut count) = ("{\"notifications\":[", 0);
    let end = args.list().each_page(client, &args.path(), |page| {
        let lines = json_lines(page, count == 0);
        count += page.len();
        Ok(terminal::to_output(&(std::mem::take(&mut begin).to_owned() + &lines)))
    })?;
    let line_end = if count == 0 { "" } else { "\n" };
    terminal::to_output(&format!("{line_end}],\"next\":{}}}\n", json!(end.next)));
    Ok(())
}

fn as_csv(client: &EngineClient, args: &LogArgs) -> Result<(), ClientFault> {
    let titles =
        "created notifier state attempts reason until via told_with event_id type subject time";
    let titles: Vec<String> = titles.split(' ').map(str::to_owned).collect();
    let mut text = csv_row(&titles);
    args.list().each_page(client, &args.path(), |page| {
        for row in page {
            let it = NotificationRow::read(client, row)?;
            let some = Option::unwrap_or_default;
            text += &csv_row(&[
                it.created,
                it.notifier,
                it.state,
                it.attempts.to_string(),
                some(it.reason),
                some(it.until),
                some(it.via),
                some(it.told_with),
                some(it.event_id),
                some(it.kind),
                some(it.subject),
                some(it.time),
            ]);
        }
        Ok(terminal::to_output(&std::mem::take(&mut text)))
    })?;
    Ok(())
}
