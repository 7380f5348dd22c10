//! `engine tail`: events of a running engine as they become visible.

use super::eval::given;
use super::events::{EventRow, priority};
use super::expression;
use crate::client::figures::brief;
use crate::client::query::RequestPath;
use crate::client::stream::{StreamEvent, StreamReader};
use crate::client::table::cut;
use crate::client::timeline::local;
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal;
use clap::{Args, ValueEnum};
use kernel::event::Priority;
use kernel::health::{printable, printable_json};
use language::expr::Expr;
use serde_json::{Map, Value};
use std::time::Duration;

/// A stream that says nothing for this long is asked for again: each sends a comment more often,
/// unless its file says otherwise.
const SILENCE: Duration = Duration::from_secs(60);

/// Between two attempts to connect again.
const AGAIN: Duration = Duration::from_millis(250);

/// What is kept of a line, in bytes.
const LINE_MAX: usize = 16 << 10;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine tail
  engine tail --where "event.priority >= 'high' && data.score > 0.8"
  engine tail --replay 10 --limit 10 --format json
  engine tail --stage weather --at out --where "enrich.weather.code > 3"

--where is evaluated on what the stream sends: long texts and long lists of numbers are left out
there, as /api/events does."#)]
pub(super) struct TailArgs {
    /// Print only events for which this expression is true.
    #[arg(long = "where", value_name = "EXPRESSION", allow_hyphen_values = true)]
    condition: Option<String>,
    /// Print events as they pass this stage, whether they are stored or not.
    #[arg(long, value_name = "NAME",
          conflicts_with_all = ["types", "sources", "priorities", "replay", "stream"])]
    stage: Option<String>,
    /// With --stage: show events before or after it. Default: out.
    #[arg(long, value_enum, value_name = "SIDE", requires = "stage")]
    at: Option<StageSide>,
    /// Only events of this type. Can be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events from this source. Can be repeated.
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    /// Only events of this priority. Can be repeated.
    #[arg(long = "priority", value_name = "PRIORITY", value_parser = priority)]
    priorities: Vec<Priority>,
    /// Start with the newest N events that the stream keeps for replay.
    #[arg(long, value_name = "N", default_value = "0")]
    replay: u32,
    /// Stop after this many events.
    #[arg(long, value_name = "N", value_parser = limit)]
    limit: Option<u64>,
    /// The sink to read from. Default: the first one that streams events.
    #[arg(long, value_name = "SINK")]
    stream: Option<String>,
    /// The output format.
    #[arg(long, value_enum, default_value = "line")]
    format: TailFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

/// A number of events at which to stop.
fn limit(text: &str) -> Result<u64, String> {
    let limit = text.parse().ok().filter(|limit| 1 <= *limit);
    limit.ok_or_else(|| "write a number of events, 1 or more".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StageSide {
    /// Events that are about to enter the stage.
    In,
    /// Events that have passed the stage, with the outcome.
    Out,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TailFormat {
    /// A line for people.
    Line,
    /// One JSON object per line, as it was sent.
    Json,
}

/// Prints until it is stopped; the exit code.
pub(super) fn tail(args: &TailArgs) -> u8 {
    match expression::of_event(args.condition.as_deref()) {
        Ok(condition) => follow(args, condition).map_or_else(|fault| fault.tell(), |()| 0),
        Err(()) => 1,
    }
}

fn follow(args: &TailArgs, condition: Option<Expr>) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let path = path(&client, args)?;
    let clock = client.env.clock.clone();
    let mut tail = TailOutput {
        client: &client,
        condition,
        format: args.format,
        left: args.limit,
        reader: StreamReader::default(),
        last_id: String::new(),
        is_over: false,
        fault: None,
    };
    let mut lost_since: Option<Duration> = None;
    loop {
        let mut request = client.request("GET", &path, None);
        request.timeout = SILENCE;
        if !tail.last_id.is_empty() {
            request.headers.push(("Last-Event-ID".to_owned(), tail.last_id.clone()));
        }
        let mut has_come = false;
        let ended = client.follow(&request, &mut |part| {
            has_come = true;
            tail.take(part)
        });
        if let Some(fault) = tail.fault.take() {
            return Err(fault);
        }
        if tail.is_over {
            return Ok(());
        }
        if let Ok(answer) = &ended
            && answer.status != 200
        {
            return Err(client.refused(answer));
        }
        let now = clock.monotonic();
        if has_come {
            lost_since = Some(now);
        }
        // An engine that restarts, or a network that was away, is waited for; one that never
        // answered is not.
        match (lost_since, ended) {
            (Some(since), _) if now < since + args.engine.timeout() => {
                smol::block_on(clock.sleep(AGAIN));
            }
            (_, Err(fault)) => return Err(client.unreachable(&fault)),
            (_, Ok(_)) => return Err(client.no_engine("its stream ends at once")),
        }
    }
}

/// The path of the stream, with the filters.
fn path(client: &EngineClient, args: &TailArgs) -> Result<String, ClientFault> {
    if let Some(stage) = &args.stage {
        let side = args.at.unwrap_or(StageSide::Out).to_possible_value();
        let side = side.expect("it has a word");
        let path = RequestPath::new("/api/tap").with("stage", stage).with("at", side.get_name());
        return Ok(path.as_str().to_owned());
    }
    let plan = client.get("/api/pipeline")?;
    let sinks = plan["sinks"].as_array().ok_or_else(|| client.no_engine("it has no plan"))?;
    let mut streams = sinks.iter().filter_map(|sink| {
        let path = sink["routes"].as_array()?.first()?["path"].as_str()?;
        Some((sink["name"].as_str()?, path))
    });
    let wanted = args.stream.as_deref();
    let found = match wanted {
        Some(wanted) => streams.find(|stream| stream.0 == wanted),
        None => streams.next(),
    };
    let Some((_, path)) = found else {
        return Err(ClientFault::new(match wanted {
            Some(wanted) => format!("no sink `{wanted}` of this pipeline streams events"),
            None => "no sink of this pipeline streams events; `engine explain \"sink sse\"` shows \
                     how to add one"
                .to_owned(),
        }));
    };
    let priorities: Vec<&str> = args.priorities.iter().map(|priority| priority.word()).collect();
    let path = RequestPath::new(path)
        .with_all("type", &args.types)
        .with_all("source", &args.sources)
        .with_all("priority", &priorities);
    Ok(match args.replay {
        0 => path,
        count => path.with("replay", &count.to_string()),
    }
    .as_str()
    .to_owned())
}

/// What is printed, and how much of it has been.
struct TailOutput<'a> {
    client: &'a EngineClient,
    condition: Option<Expr>,
    format: TailFormat,
    left: Option<u64>,
    reader: StreamReader,
    last_id: String,
    /// The limit is reached, or nobody reads any more.
    is_over: bool,
    fault: Option<ClientFault>,
}

impl TailOutput<'_> {
    /// Takes a part of the stream; whether more is wanted.
    fn take(&mut self, part: &[u8]) -> bool {
        let taken = match self.reader.read(part) {
            Some(events) => events.iter().try_for_each(|event| self.take_event(event)),
            None => Err(self.client.no_engine("an event of its stream is too long")),
        };
        self.fault = taken.err();
        self.fault.is_none() && !self.is_over
    }

    fn take_event(&mut self, event: &StreamEvent) -> Result<(), ClientFault> {
        if self.is_over {
            return Ok(());
        }
        self.last_id.clone_from(&event.id);
        match &*event.name {
            "message" | "event" if self.is_wanted(&event.data)? => self.print(&event.data)?,
            "gap" => {
                let gap: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let (from, to) = (&gap["from"], &gap["to"]);
                terminal::to_terminal(&format!(
                    "some events after {from}, up to {to}, may be missing; `engine events` has \
                     what is stored\n"
                ));
            }
            "skipped" => {
                let skipped: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let count = skipped["count"].as_u64().unwrap_or_default();
                terminal::to_terminal(&format!("{count} events were skipped: too many at once\n"));
            }
            "end" => {
                let end: Value = serde_json::from_str(&event.data).unwrap_or_default();
                let reason = printable(end["reason"].as_str().unwrap_or_default(), LINE_MAX);
                return Err(ClientFault { status: Some(404), reason });
            }
            _ => {}
        }
        Ok(())
    }

    fn is_wanted(&self, event: &str) -> Result<bool, ClientFault> {
        let Some(condition) = &self.condition else { return Ok(true) };
        let wrong = || self.client.no_engine("its stream sends something that is not an event");
        let members: Map<String, Value> = serde_json::from_str(event).map_err(|_| wrong())?;
        let now = self.client.env.clock.wall();
        let input = given::event(members, now).map_err(|_| wrong())?;
        Ok(condition.eval(&input.scope(now)).to_json() == Value::Bool(true))
    }

    fn print(&mut self, event: &str) -> Result<(), ClientFault> {
        let text = match self.format {
            TailFormat::Json => printable_json(event.to_owned()) + "\n",
            TailFormat::Line => {
                line(&EventRow::read(self.client, event)?, tapped(event).as_deref())
            }
        };
        self.left = self.left.map(|it| it.saturating_sub(1));
        self.is_over = !terminal::to_output(&text) || self.left == Some(0);
        Ok(())
    }
}

/// What a stage made of an event: the outcome, how long it took, and what is wrong.
fn tapped(event: &str) -> Option<String> {
    let event: Value = serde_json::from_str(event).ok()?;
    let tapped = &event["tapped"];
    let outcome = tapped["outcome"].as_str()?;
    let took = brief(Duration::from_micros(tapped["micros"].as_u64()?));
    let error = tapped["error"].as_str().map_or_else(String::new, |text| format!(": {text}"));
    Some(format!("{outcome} in {took}{error}, {}", event["enrich"]))
}

/// An event on one line; on a terminal it is not longer than that is wide. Last comes its data, or
/// what a stage made of it.
fn line(event: &EventRow, tapped: Option<&str>) -> String {
    let subject = if event.subject.is_empty() { "" } else { " about " };
    let text = format!(
        "{} {:<8} {} from {}{subject}{} {} {}",
        local(&event.time),
        event.priority,
        event.kind,
        event.source,
        event.subject,
        event.id,
        tapped.unwrap_or_else(|| event.data.get())
    );
    let text = printable(&text, LINE_MAX);
    let is_cut = terminal::is_output_terminal();
    (if is_cut { cut(&text, terminal::width()) } else { text }) + "\n"
}
