//! `engine retention`: why an event is still stored, and what the next sweep deletes.

use super::events::detail_path;
use crate::client::find::plan_of;
use crate::client::table::{TableColumn, table};
use crate::client::timeline::local;
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal::{self, Volume};
use clap::{Args, Subcommand, ValueEnum};
use kernel::env::{Clock, SystemClock};
use kernel::health::{printable, printable_json};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{RetentionView, RulesInForce, explain_in_file, forecast_in_file};

/// What is shown of a text, in bytes.
const TEXT_MAX: usize = 1000;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
#[command(after_help = r#"Examples:
  engine retention explain 01890a5d-ac96-774b-bcce-b302099a8057
  engine retention --dry-run
  engine retention --dry-run --direct pipelines/home.kdl    # no engine has to run"#)]
pub(super) struct RetentionArgs {
    #[command(subcommand)]
    command: Option<RetentionCommand>,
    /// Show how many events the next sweep deletes, by rule; nothing is deleted.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    look: LookArgs,
}

#[derive(Debug, Subcommand)]
enum RetentionCommand {
    /// Show which rule keeps an event, until when, and what holds it back.
    Explain(Box<RetentionExplainArgs>),
}

#[derive(Debug, Args)]
struct RetentionExplainArgs {
    /// The id of the event.
    #[arg(allow_hyphen_values = true)]
    id: String,
    /// The event's source, if several sources use this id. Default: the newest event.
    #[arg(long)]
    source: Option<String>,
    #[command(flatten)]
    look: LookArgs,
}

/// Where to look, and what to print.
#[derive(Debug, Args)]
struct LookArgs {
    /// Read the store of this pipeline file directly, with the rules of the file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "file", "token"])]
    direct: Option<PathBuf>,
    /// With --direct: the folder that is passed to `engine run` as --data.
    #[arg(long, value_name = "DIR", requires = "direct")]
    direct_data: Option<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: LookForm,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LookForm {
    /// For people.
    Text,
    /// The JSON of /api/retention.
    Json,
}

/// Looks; the exit code.
pub(super) fn retention(args: &RetentionArgs) -> u8 {
    let done = match &args.command {
        Some(RetentionCommand::Explain(args)) => explain(args),
        None if args.dry_run => dry_run(&args.look),
        None => Err(ClientFault::new("write `explain ID`, or --dry-run")),
    };
    done.map_or_else(|fault| fault.tell(), |()| 0)
}

fn explain(args: &RetentionExplainArgs) -> Result<(), ClientFault> {
    let (id, source) = (&args.id, args.source.as_deref());
    let kept = match &args.look.direct {
        Some(file) => {
            let looked = in_store(file, &args.look, |path, view, clock| {
                explain_in_file(path, view, clock, id, source)
            })?;
            let reason = "no event with this id is stored".to_owned();
            looked.ok_or(ClientFault { status: Some(404), reason })?.to_json()
        }
        None => {
            let client = EngineClient::find(&args.look.engine)?;
            let path = detail_path("/api/retention", id, source)?;
            let kept = client.get(path.as_str())?;
            if !kept["outcome"].is_string() {
                return Err(client.no_engine("its response does not say what keeps an event"));
            }
            kept
        }
    };
    terminal::to_output(&match args.look.format {
        LookForm::Json => printable_json(kept.to_string()) + "\n",
        LookForm::Text => kept_text(&kept),
    });
    Ok(())
}

fn kept_text(kept: &Value) -> String {
    let text = |name: &str| kept[name].as_str().map(str::to_owned);
    let holds = kept["held_by"].as_array().into_iter().flatten();
    let rule = match kept["rule"].as_str() {
        Some("passing") => "none: the route does not send it to the store".to_owned(),
        Some(rule) => rule.to_owned(),
        None => "no rule matches, so it is kept permanently".to_owned(),
    };
    let outcome = match kept["outcome"].as_str().unwrap_or_default() {
        "kept" => "kept",
        "held" => "held: it is deleted once nothing holds it back",
        _ => "due: the next sweep deletes it",
    };
    let mut rows = vec![
        ("event", text("id").unwrap_or_default()),
        ("type", text("type").unwrap_or_default()),
        ("source", text("source").unwrap_or_default()),
        ("priority", text("priority").unwrap_or_default()),
        ("received", text("received").map(|text| local(&text)).unwrap_or_default()),
        ("rule", rule),
        ("until", text("until").map(|text| local(&text)).unwrap_or_default()),
    ];
    rows.extend(holds.map(|it| ("held by", hold_text(it))));
    rows.push(("outcome", outcome.to_owned()));
    let shown = rows.iter().filter(|row| !row.1.is_empty());
    shown.map(|(name, value)| format!("{name:<10}{}\n", printable(value, TEXT_MAX))).collect()
}

fn hold_text(hold: &Value) -> String {
    match hold["what"].as_str().unwrap_or_default() {
        "delivery" => {
            let (sink, state) = (hold["sink"].as_str(), hold["state"].as_str());
            format!("the delivery to {}, {}", sink.unwrap_or("?"), state.unwrap_or("?"))
        }
        "dead-letter" => format!("dead letter {}", hold["id"]),
        "new-rules" => "new rules that are not in effect yet keep it".to_owned(),
        "younger-event-before" => "a younger event that became visible before it".to_owned(),
        other => other.to_owned(),
    }
}

fn dry_run(args: &LookArgs) -> Result<(), ClientFault> {
    let forecast = match &args.direct {
        Some(file) => in_store(file, args, forecast_in_file)?.to_json(),
        None => {
            let client = EngineClient::find(&args.engine)?;
            let forecast = client.get("/api/retention")?;
            if !forecast["rules"].is_array() {
                return Err(client.no_engine("its response does not say what a sweep deletes"));
            }
            forecast
        }
    };
    if args.format == LookForm::Json {
        terminal::to_output(&(printable_json(forecast.to_string()) + "\n"));
        return Ok(());
    }
    let rules = forecast["rules"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> = rules
        .map(|it| {
            let rule = it["rule"].as_str().unwrap_or_default().to_owned();
            vec![rule, it["due"].to_string(), it["held"].to_string()]
        })
        .collect();
    terminal::to_output(&table(&COLUMNS, &rows));
    if terminal::volume() != Volume::Quiet {
        tell(&forecast);
    }
    Ok(())
}

const COLUMNS: [TableColumn; 3] =
    [TableColumn::text("RULE", 20), TableColumn::number("DUE"), TableColumn::number("HELD")];

fn tell(forecast: &Value) {
    let plural = |count: u64, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let rules = forecast["rules"].as_array().into_iter().flatten();
    let due = rules.filter_map(|rule| rule["due"].as_u64()).sum();
    let letters = forecast["dead_letters"].as_u64().unwrap_or_default();
    let least = if forecast["is_exact"] == true { "" } else { "at least " };
    let (events, letters) = (plural(due, "event"), plural(letters, "dead letter"));
    terminal::to_terminal(&format!("the next sweep deletes {least}{events} and {letters}\n"));
    if forecast["has_pending_rules"] == true {
        terminal::to_terminal("new rules are not in effect yet; see /readyz\n");
    }
    if !forecast["max_size"].is_null() {
        terminal::to_terminal("if the store exceeds `max-size`, more is deleted\n");
    }
}

/// Looks into the store of a file, with the rules of the file.
fn in_store<T>(
    file: &Path,
    args: &LookArgs,
    look: impl FnOnce(&Path, &RetentionView<'_>, &Arc<dyn Clock>) -> Result<T, String>,
) -> Result<T, ClientFault> {
    let plan = plan_of(file, args.direct_data.as_deref(), "its store is not known")?;
    let Some((name, shape)) = plan.store.as_ref() else {
        let reason = format!("{} has no store on disk", file.display());
        return Err(ClientFault::new(reason));
    };
    let in_force = RulesInForce::of(&crate::reload::policy(&plan));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let view = RetentionView { in_force: &in_force, store: name, now: clock.wall() };
    look(&shape.path, &view, &clock).map_err(ClientFault::new)
}
