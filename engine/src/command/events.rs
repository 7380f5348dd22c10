//! `engine events`: the stored events of a running engine, and one with all that became of it.

use super::expression;
use crate::client::pages::{ListEnd, PagedList, json_lines};
use crate::client::query::RequestPath;
use crate::client::table::{TableColumn, csv_row, table};
use crate::client::timeline::{self, EventDetail};
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal::{self, Volume};
use clap::{Args, Subcommand, ValueEnum};
use kernel::event::Priority;
use kernel::health::printable_json;
use kernel::time::Timestamp;
use language::expr::percent_encoded;
use language::parse_duration;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = r#"Examples:
  engine events --since 1h --priority high
  engine events --where "data.score > 0.8" --first oldest
  engine events --search '"front door" parcel* -cat' --since 7d
  engine events --type ring --limit 1000 --format csv > rings.csv
  engine events show 01890a5d-ac96-774b-bcce-b302099a8057"#)]
pub(super) struct EventsArgs {
    #[command(subcommand)]
    command: Option<EventsCommand>,
    #[command(flatten)]
    list: EventListArgs,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Show one event with everything that happened to it.
    Show(EventShowArgs),
}

#[derive(Debug, Args)]
struct EventListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// The most events to list.
    #[arg(long, value_name = "N", default_value = "20",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Which events come first.
    #[arg(long, value_enum, default_value = "newest")]
    first: ListOrder,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: EventListFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Which events, as `/api/events` selects them.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only events of this type. Can be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events from this source. Can be repeated.
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Only events about this subject. Can be repeated.
    #[arg(long = "subject", value_name = "SUBJECT")]
    subjects: Vec<String>,
    /// Only events with this correlation id. Can be repeated.
    #[arg(long = "correlation-id", value_name = "ID")]
    correlation_ids: Vec<String>,
    /// Only events of this priority. Can be repeated.
    #[arg(long = "priority", value_name = "PRIORITY", value_parser = priority)]
    priorities: Vec<Priority>,
    /// Only events for which this expression is true.
    #[arg(long = "where", value_name = "EXPRESSION", allow_hyphen_values = true)]
    condition: Option<String>,
    /// Only events with all of these words in their texts; also "a phrase", begin* and -without.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    search: Option<String>,
    /// Only events from this time on: `2h` ago, or 2026-01-01T09:50:04Z.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<String>,
    /// Only events up to this time.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    until: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine events show 01890a5d-ac96-774b-bcce-b302099a8057
  engine events show 4711 --source gate --format json"#)]
struct EventShowArgs {
    /// The id of the event.
    #[arg(allow_hyphen_values = true)]
    id: String,
    /// The event's source, if several sources use this id. Default: the newest event.
    #[arg(long)]
    source: Option<String>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: EventShowFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListOrder {
    /// The newest, by their time.
    Newest,
    /// The oldest.
    Oldest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EventListFormat {
    /// A table that fits the terminal.
    Table,
    /// One JSON object as of /api/events, with one event on each line.
    Json,
    /// Comma-separated values with all that an event has.
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EventShowFormat {
    /// The event and its timeline.
    Text,
    /// The JSON of /api/events/ID, as it was sent.
    Json,
}

/// Reads a priority.
pub(super) fn priority(text: &str) -> Result<Priority, String> {
    Priority::parse(text).ok_or_else(|| {
        let words = Priority::ALL.map(Priority::word).join(", ");
        format!("write one of {words}")
    })
}

/// A time as the engine reads it: RFC 3339, or `-2h`.
pub(super) fn moment(text: &str) -> Result<String, String> {
    let back = text.strip_prefix('-').unwrap_or(text);
    if parse_duration(back).is_some() {
        return Ok(format!("-{back}"));
    }
    let is_time = Timestamp::parse(text).is_some();
    is_time.then(|| text.to_owned()).ok_or_else(|| {
        "write how long ago, such as 2h, or a time such as 2026-01-01T09:50:04Z".to_owned()
    })
}

/// Lists or shows; the exit code.
pub(super) fn events(args: &EventsArgs) -> u8 {
    let done = match &args.command {
        Some(EventsCommand::Show(args)) => show(args),
        // As in a file, before anything is asked.
        None if expression::of_event(args.list.filter.condition.as_deref()).is_err() => return 1,
        None => list(&args.list),
    };
    done.map_or_else(|fault| fault.tell(), |()| 0)
}

fn list(args: &EventListArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut count = 0;
    let end = match args.format {
        EventListFormat::Table => each_page(&client, args, |events| {
            rows.append(&mut table_rows(&client, events)?);
            Ok(true)
        })?,
        EventListFormat::Csv => {
            let mut titles = csv_titles();
            each_page(&client, args, |events| {
                let rows = csv(&client, events)?;
                Ok(terminal::to_output(&(std::mem::take(&mut titles) + &rows)))
            })?
        }
        EventListFormat::Json => {
            let mut begin = "{\"events\":[";
            let end = each_page(&client, args, |events| {
                let lines = json_lines(events, count == 0);
                count += events.len();
                Ok(terminal::to_output(&(std::mem::take(&mut begin).to_owned() + &lines)))
            })?;
            let line_end = if count == 0 { "" } else { "\n" };
            let since = end
                .searched_since
                .as_ref()
                .map_or_else(String::new, |since| format!(",\"searched_since\":{}", json!(since)));
            terminal::to_output(&format!("{line_end}],\"next\":{}{since}}}\n", json!(end.next)));
            end
        }
    };
    if args.format == EventListFormat::Table {
        if !rows.is_empty() {
            terminal::to_output(&table(&COLUMNS, &rows));
        }
        tell_rest(rows.len(), end.next.is_some(), args.first);
    }
    if let Some(since) = end.searched_since
        && terminal::volume() != Volume::Quiet
    {
        terminal::to_terminal(&format!(
            "only events received since {} were searched; the others are being prepared\n",
            timeline::local(&since)
        ));
    }
    Ok(())
}

fn tell_rest(count: usize, is_more: bool, first: ListOrder) {
    if terminal::volume() == Volume::Quiet {
        return;
    }
    match (count, is_more) {
        (0, _) => terminal::to_terminal("no events\n"),
        (count, true) => {
            let (these, option, others) = match first {
                ListOrder::Newest => ("newest", "until", "older"),
                ListOrder::Oldest => ("oldest", "since", "newer"),
            };
            terminal::to_terminal(&format!(
                "the {these} {count}; use --limit for more, or --{option} for {others} ones\n"
            ));
        }
        (_, false) => {}
    }
}

/// Page after page, for as long as `take` wants more.
fn each_page(
    client: &EngineClient,
    args: &EventListArgs,
    take: impl FnMut(&[Box<RawValue>]) -> Result<bool, ClientFault>,
) -> Result<ListEnd, ClientFault> {
    let path = args.filter.path();
    let path = match args.first {
        ListOrder::Newest => path,
        ListOrder::Oldest => path.with("order", "asc"),
    };
    PagedList { member: "events", limit: args.limit }.each_page(client, &path, take)
}

impl FilterArgs {
    fn path(&self) -> RequestPath {
        let priorities: Vec<&str> =
            self.priorities.iter().map(|priority| priority.word()).collect();
        let since: Vec<&String> = self.since.iter().collect();
        let until: Vec<&String> = self.until.iter().collect();
        let condition: Vec<&String> = self.condition.iter().collect();
        let search: Vec<&String> = self.search.iter().collect();
        RequestPath::new("/api/events")
            .with_all("type", &self.types)
            .with_all("source", &self.sources)
            .with_all("subject", &self.subjects)
            .with_all("correlation_id", &self.correlation_ids)
            .with_all("priority", &priorities)
            .with_all("since", &since)
            .with_all("until", &until)
            .with_all("where", &condition)
            .with_all("q", &search)
    }
}

/// What a list shows of an event.
#[derive(Debug, Deserialize)]
pub(super) struct EventRow {
    pub(super) seq: u64,
    pub(super) pos: Option<u64>,
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) subject: String,
    pub(super) time: String,
    pub(super) received: String,
    pub(super) priority: String,
    pub(super) correlation_id: Option<String>,
    pub(super) parent_id: Option<String>,
    pub(super) data: Box<RawValue>,
    pub(super) enrich: Box<RawValue>,
}

impl EventRow {
    pub(super) fn read(client: &EngineClient, event: &str) -> Result<Self, ClientFault> {
        let wrong = |_| client.no_engine("its response is not an event");
        serde_json::from_str(event).map_err(wrong)
    }
}

const COLUMNS: [TableColumn; 6] = [
    TableColumn::text("TIME", 19).rank(1),
    TableColumn::text("TYPE", 12),
    TableColumn::text("PRIORITY", 8).rank(2),
    TableColumn::text("SOURCE", 8).rank(3),
    TableColumn::text("SUBJECT", 8).rank(4),
    // Whole, so that it can be copied, as long as there is room.
    TableColumn::text("ID", 36),
];

fn table_rows(
    client: &EngineClient,
    events: &[Box<RawValue>],
) -> Result<Vec<Vec<String>>, ClientFault> {
    let row = |event: &RawValue| {
        let it = EventRow::read(client, event.get())?;
        // Without the part of a second.
        let time = timeline::second_of(&it.time);
        Ok(vec![time, it.kind, it.priority, it.source, it.subject, it.id])
    };
    events.iter().map(|event| row(event)).collect()
}

fn csv_titles() -> String {
    let titles = "seq pos id type source subject time received priority correlation_id parent_id \
                  data enrich";
    csv_row(&titles.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

fn csv(client: &EngineClient, events: &[Box<RawValue>]) -> Result<String, ClientFault> {
    let mut text = String::new();
    for event in events {
        let it = EventRow::read(client, event.get())?;
        text += &csv_row(&[
            it.seq.to_string(),
            it.pos.map(|pos| pos.to_string()).unwrap_or_default(),
            it.id,
            it.kind,
            it.source,
            it.subject,
            it.time,
            it.received,
            it.priority,
            it.correlation_id.unwrap_or_default(),
            it.parent_id.unwrap_or_default(),
            it.data.get().to_owned(),
            it.enrich.get().to_owned(),
        ]);
    }
    Ok(text)
}

fn show(args: &EventShowArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let text = detail(&client, &args.id, args.source.as_deref())?;
    terminal::to_output(&match args.format {
        EventShowFormat::Json => printable_json(text) + "\n",
        EventShowFormat::Text => timeline::text(&read_detail(&client, &text)?),
    });
    Ok(())
}

/// The JSON of one event, as it was sent.
pub(super) fn detail(
    client: &EngineClient,
    id: &str,
    source: Option<&str>,
) -> Result<String, ClientFault> {
    client.get_text(detail_path("/api/events", id, source)?.as_str())
}

/// Where the engine says something of one event: below `list`.
pub(super) fn detail_path(
    list: &str,
    id: &str,
    source: Option<&str>,
) -> Result<RequestPath, ClientFault> {
    if id.is_empty() {
        return Err(ClientFault { status: Some(404), reason: "event not found".to_owned() });
    }
    // The engine takes no such path, whoever sends it.
    let is_dots = |part: &str| part == "." || part == "..";
    if id.contains(|letter: char| letter.is_control() || letter == '\\')
        || id.split('/').any(is_dots)
    {
        return Err(ClientFault::new(
            "an id with control characters, backslashes, `.` or `..` cannot be looked up; find \
             the event with `engine events --format json`",
        ));
    }
    let sources: Vec<&str> = source.into_iter().collect();
    let path = format!("{list}/{}", percent_encoded(id));
    Ok(RequestPath::new(&path).with_all("source", &sources))
}

pub(super) fn read_detail(client: &EngineClient, text: &str) -> Result<EventDetail, ClientFault> {
    serde_json::from_str(text).map_err(|_| client.no_engine("its response is not an event"))
}
