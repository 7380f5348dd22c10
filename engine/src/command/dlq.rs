//! `engine dlq`: the dead letters of a running engine.

mod change;
mod edit;

use super::events::moment;
use crate::client::query::RequestPath;
use crate::client::table::{TableColumn, cut, table};
use crate::client::timeline::{local, second_of};
use crate::client::{ClientFault, EngineArgs, EngineClient, json};
use crate::terminal::{self, Volume};
use clap::{Args, Subcommand, ValueEnum};
use kernel::health::{printable, printable_json};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use store::DeadLetterWhat;

/// Letters of one request; the engine gives no more.
const PAGE: u32 = 1000;

/// What is shown of a text, in bytes.
const TEXT_MAX: usize = 4096;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine dlq list --stage weather --since 1h
  engine dlq show 7
  engine dlq edit 7
  engine dlq redrive --stage weather --dry-run
  engine dlq drop 7 8
  engine dlq export --what rejected > rejected.ndjson"#)]
pub(super) struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// List dead letters, the newest first.
    List(Box<DlqListArgs>),
    /// Show one dead letter with all of its content.
    Show(Box<DlqShowArgs>),
    /// Edit a rejected message in `$EDITOR`, or take it from a file, and try it again.
    Edit(Box<edit::EditArgs>),
    /// Try dead letters again.
    Redrive(Box<change::ChangeArgs>),
    /// Delete dead letters for good.
    Drop(Box<change::ChangeArgs>),
    /// Print dead letters as one JSON object per line, with all of their content.
    Export(Box<ExportArgs>),
}

/// Which letters, as `/api/dead-letters` selects them.
#[derive(Debug, Args)]
struct LetterArgs {
    /// Only these: a message that was rejected, an event with a failed stage, a failed delivery.
    #[arg(long, value_enum)]
    what: Option<LetterWhat>,
    /// Only letters of this stage, sink or notifier.
    #[arg(long)]
    stage: Option<String>,
    /// Only letters whose event says that it is from this source.
    #[arg(long)]
    source: Option<String>,
    /// Only letters with this class of failure: transient, permanent, poison, invalid, conflict.
    #[arg(long)]
    class: Option<String>,
    /// Only letters of the event with this id.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Only letters from this time on: `2h` ago, or 2026-01-01T09:50:04Z.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<String>,
    /// Only letters up to this time.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    until: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LetterWhat {
    /// A message that was rejected on arrival.
    Rejected,
    /// An accepted event with a failed stage.
    Event,
    /// A delivery that failed for good.
    Delivery,
}

impl LetterArgs {
    /// The filters that are given, with their names in requests.
    fn given(&self) -> Vec<(&'static str, &str)> {
        let what = self.what.map(|it| match it {
            LetterWhat::Rejected => "rejected",
            LetterWhat::Event => "event",
            LetterWhat::Delivery => "delivery",
        });
        let filters = [
            ("what", what),
            ("stage", self.stage.as_deref()),
            ("source", self.source.as_deref()),
            ("class", self.class.as_deref()),
            ("event_id", self.event_id.as_deref()),
            ("since", self.since.as_deref()),
            ("until", self.until.as_deref()),
        ];
        filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn path(&self) -> RequestPath {
        let path = RequestPath::new("/api/dead-letters");
        self.given().into_iter().fold(path, |path, (name, value)| path.with(name, value))
    }
}

/// The number of a letter, from the command line.
fn letter_number(text: &str) -> Result<u64, String> {
    let number = text.parse().map_err(|_| ());
    number
        .map_err(|()| "write the number of a dead letter; `engine dlq list` shows them".to_owned())
}

#[derive(Debug, Args)]
struct DlqListArgs {
    #[command(flatten)]
    filter: LetterArgs,
    /// The most letters to list.
    #[arg(long, value_name = "N", default_value = "20",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    format: DlqListFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DlqListFormat {
    /// A table that fits the terminal.
    Table,
    /// One JSON object as of /api/dead-letters, with one letter on each line.
    Json,
}

#[derive(Debug, Args)]
struct DlqShowArgs {
    /// The number of the letter.
    #[arg(value_parser = letter_number)]
    id: u64,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: DlqShowFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DlqShowFormat {
    /// For people.
    Text,
    /// The JSON of /api/dead-letters/ID, as it was sent.
    Json,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    filter: LetterArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Lists, shows or changes; the exit code.
pub(super) fn dlq(args: &DlqArgs) -> u8 {
    let done = match &args.command {
        DlqCommand::List(args) => list(args).map(|()| 0),
        DlqCommand::Show(args) => show(args).map(|()| 0),
        DlqCommand::Edit(args) => edit::edit(args),
        DlqCommand::Redrive(args) => change::redrive(args),
        DlqCommand::Drop(args) => change::drop_letters(args),
        DlqCommand::Export(args) => export(args).map(|()| 0),
    };
    done.unwrap_or_else(|fault| fault.tell())
}

/// A dead letter as the engine shows it.
#[derive(Debug, Deserialize)]
struct LetterRow {
    id: u64,
    what: String,
    seq: Option<u64>,
    source_node: String,
    source: Option<String>,
    event_id: Option<String>,
    stage: String,
    class: String,
    reason: String,
    attempts: u64,
    first: String,
    last: String,
    generation: u64,
    context: Option<Box<RawValue>>,
    body: String,
    body_bytes: usize,
}

fn read_letter(client: &EngineClient, text: &str) -> Result<LetterRow, ClientFault> {
    serde_json::from_str(text).map_err(|_| client.no_engine("its response is not a dead letter"))
}

#[derive(Deserialize)]
struct LetterList {
    dead_letters: Vec<Box<RawValue>>,
    next: Option<u64>,
}

/// Page after page, the newest letters first, up to `limit` and for as long as `take` wants more;
/// where the rest begins, if there is any.
fn each_page(
    client: &EngineClient,
    filter: &LetterArgs,
    limit: Option<u32>,
    mut take: impl FnMut(&[Box<RawValue>]) -> Result<bool, ClientFault>,
) -> Result<Option<u64>, ClientFault> {
    let mut left = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut next: Option<u64> = None;
    loop {
        let count = left.min(usize::try_from(PAGE).unwrap_or(usize::MAX));
        let mut path = filter.path().with("limit", &count.to_string());
        if let Some(before) = next {
            path = path.with("before", &before.to_string());
        }
        let page: LetterList = serde_json::from_str(&client.get_text(path.as_str())?)
            .map_err(|_| client.no_engine("its response is not a list of dead letters"))?;
        let letters = &page.dead_letters[..page.dead_letters.len().min(left)];
        left -= letters.len();
        let is_last = letters.is_empty() || page.next.is_none() || left == 0;
        next = page.next;
        if !take(letters)? || is_last {
            return Ok(next);
        }
    }
}

const COLUMNS: [TableColumn; 7] = [
    TableColumn::number("ID"),
    TableColumn::text("LAST", 19).rank(3),
    TableColumn::text("WHAT", 8),
    TableColumn::text("STAGE", 8),
    TableColumn::text("EVENT", 8).rank(2),
    TableColumn::number("TRIES").rank(1),
    TableColumn::text("REASON", 20),
];

fn list(args: &DlqListArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let mut shown: Vec<Vec<String>> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let next = each_page(&client, &args.filter, Some(args.limit), |letters| {
        for letter in letters {
            match args.format {
                DlqListFormat::Json => lines.push(letter.get().to_owned()),
                DlqListFormat::Table => shown.push(row(read_letter(&client, letter.get())?)),
            }
        }
        Ok(true)
    })?;
    if args.format == DlqListFormat::Json {
        let lines = lines.join(",\n");
        let lines = if lines.is_empty() { lines } else { format!("\n{lines}\n") };
        let text = format!("{{\"dead_letters\":[{lines}],\"next\":{}}}\n", json!(next));
        terminal::to_output(&printable_json(text));
        return Ok(());
    }
    if !shown.is_empty() {
        terminal::to_output(&table(&COLUMNS, &shown));
    }
    if terminal::volume() != Volume::Quiet {
        match (shown.len(), next) {
            (0, _) => terminal::to_terminal("no dead letters\n"),
            (count, Some(_)) => {
                terminal::to_terminal(&format!("the newest {count}; use --limit for more\n"));
            }
            (_, None) => {}
        }
    }
    Ok(())
}

fn row(it: LetterRow) -> Vec<String> {
    let last = second_of(&it.last);
    let (id, tries) = (it.id.to_string(), it.attempts.to_string());
    vec![id, last, it.what, it.stage, it.event_id.unwrap_or_default(), tries, it.reason]
}

fn show(args: &DlqShowArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let text = client.get_text(&format!("/api/dead-letters/{}", args.id))?;
    terminal::to_output(&match args.format {
        DlqShowFormat::Json => printable_json(text) + "\n",
        DlqShowFormat::Text => as_text(&read_letter(&client, &text)?),
    });
    Ok(())
}

fn as_text(it: &LetterRow) -> String {
    // A delivery is of a target, whichever generation the event came in under.
    let is_delivery = it.what == DeadLetterWhat::Delivery.word();
    let rows = [
        ("letter", Some(it.id.to_string())),
        ("what", Some(it.what.clone())),
        ("stage", Some(it.stage.clone()).filter(|_| !is_delivery)),
        ("class", Some(it.class.clone())),
        ("reason", Some(it.reason.clone())),
        ("event", it.event_id.clone()),
        ("number", it.seq.map(|seq| seq.to_string())),
        ("source", it.source.clone()),
        (if is_delivery { "target" } else { "received by" }, Some(it.source_node.clone())),
        ("first", Some(local(&it.first))),
        ("last", Some(local(&it.last))),
        ("tries", Some(it.attempts.to_string())),
        ("generation", Some(it.generation.to_string()).filter(|_| !is_delivery)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name:<13}{}\n", printable(&value, TEXT_MAX)));
        }
    }
    if let Some(context) = &it.context {
        let lines = json::lines(context.get(), 2).join("\n");
        text.push_str(&format!("\ncontext\n{lines}\n"));
    }
    text.push_str(&format!("\ncontent, {} bytes\n", it.body_bytes));
    match serde_json::from_str::<&RawValue>(&it.body) {
        Ok(_) => text.extend(json::lines(&it.body, 2).iter().map(|line| format!("{line}\n"))),
        Err(_) => {
            let shown = cut(&printable(&it.body, TEXT_MAX), TEXT_MAX);
            text.push_str(&format!("  {shown}\n"));
        }
    }
    text
}

fn export(args: &ExportArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    each_page(&client, &args.filter, None, |letters| {
        for letter in letters {
            let row = read_letter(&client, letter.get())?;
            // A list has only the beginning of a large body.
            let text = match row.body.len() < row.body_bytes {
                true => client.get_text(&format!("/api/dead-letters/{}", row.id))?,
                false => letter.get().to_owned(),
            };
            if !terminal::to_output(&(printable_json(text) + "\n")) {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok(())
}
