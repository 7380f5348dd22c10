//! `engine top`: sources, stages and targets of a running engine, each with what it does now.

use crate::client::figures::brief;
use crate::client::metrics::MetricSamples;
use crate::client::table::{TableColumn, table};
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal;
use clap::{Args, ValueEnum};
use language::parse_duration;
use std::collections::BTreeSet;
use std::time::Duration;

/// Outcomes of a stage that are not failures.
const FINE: [&str; 3] = ["ok", "skipped", "cached"];

/// Clears the terminal from its upper left corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine top
  engine top --once --sort p95"#)]
pub(super) struct TopArgs {
    /// Print the table once, without rates.
    #[arg(long)]
    once: bool,
    /// How often to refresh.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,
    /// The order of the rows.
    #[arg(long, value_enum, default_value = "part")]
    sort: TopOrder,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TopOrder {
    /// Sources, then stages, then sinks and notifiers, by name.
    Part,
    /// The most events first.
    Events,
    /// The most failures first.
    Failures,
    /// The slowest first.
    P95,
}

fn interval(text: &str) -> Result<Duration, String> {
    let wanted = || "write a duration from 100ms to 1h, such as 2s".to_owned();
    let duration = parse_duration(text).ok_or_else(wanted)?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(3600);
    if bounds.contains(&duration) { Ok(duration) } else { Err(wanted()) }
}

/// Shows until it is stopped; the exit code.
pub(super) fn top(args: &TopArgs) -> u8 {
    show(args).map_or_else(|fault| fault.tell(), |()| 0)
}

fn show(args: &TopArgs) -> Result<(), ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let clock = client.env.clock.clone();
    let mut before: Option<(Duration, MetricSamples)> = None;
    loop {
        let (now, text) = (clock.monotonic(), client.get_text("/metrics")?);
        let samples = MetricSamples::read(&text);
        if samples.of("engine_build_info").is_empty() {
            return Err(client.no_engine("its metrics are not those of an engine"));
        }
        let since = before.as_ref().map(|(at, samples)| (now - *at, samples));
        let mut screen = headline(&samples) + "\n" + &parts(&samples, since, args.sort);
        if terminal::is_output_terminal() && !args.once {
            screen.insert_str(0, CLEAR);
        }
        if !terminal::to_output(&screen) || args.once {
            return Ok(());
        }
        before = Some((now, samples));
        smol::block_on(clock.sleep(args.interval));
    }
}

fn headline(samples: &MetricSamples) -> String {
    let value = |name| samples.value(name);
    let of = |outcome| samples.sum("engine_events_total", ("outcome", outcome));
    let p95 = samples.quantile("engine_event_duration_seconds", ("", ""), 0.95);
    let counts = format!(
        "generation {}, {} accepted, {} stored, {} pending, {} dead letters, p95 {}\n",
        value("engine_config_generation"),
        of("accepted"),
        of("stored"),
        value("engine_events_pending"),
        value("engine_dead_letters"),
        seconds(p95),
    );
    let targets = samples.of("engine_target_paused").iter();
    let paused: Vec<&str> =
        targets.filter(|it| 0.0 < it.value).map(|it| it.label("sink")).collect();
    match &paused[..] {
        [] => counts,
        paused => format!("{counts}paused: {}\n", paused.join(", ")),
    }
}

/// One row: a source, a stage or a target, and what it counts.
struct PartRow {
    /// Where it is in the pipeline.
    place: u8,
    role: &'static str,
    name: String,
    events: f64,
    rate: Option<f64>,
    failures: f64,
    retries: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
}

impl PartRow {
    fn new(place: u8, name: &str, events: f64) -> Self {
        let role = ["source", "stage", "target"][usize::from(place)];
        let name = name.to_owned();
        let (failures, rate, retries, p50, p95) = (0.0, None, None, None, None);
        PartRow { place, role, name, events, rate, failures, retries, p50, p95 }
    }

    fn row(&self) -> Vec<String> {
        let rate = self.rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}/s"));
        let retries = self.retries.map_or_else(|| "-".to_owned(), |retries| retries.to_string());
        let (events, failures) = (self.events.to_string(), self.failures.to_string());
        let (p50, p95) = (seconds(self.p50), seconds(self.p95));
        vec![self.role.to_owned(), self.name.clone(), events, rate, failures, retries, p50, p95]
    }
}

fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) => Duration::try_from_secs_f64(value).map_or_else(|_| ">10s".to_owned(), brief),
    }
}

/// The names under a label, each once.
fn names<'s>(samples: &'s MetricSamples, metric: &str, label: &str) -> BTreeSet<&'s str> {
    samples.of(metric).iter().map(|it| it.label(label)).collect()
}

/// Every part with its counts; without rates.
fn counted(samples: &MetricSamples) -> Vec<PartRow> {
    let mut parts = Vec::new();
    let received = "engine_events_received_total";
    for name in names(samples, received, "source") {
        parts.push(PartRow::new(0, name, samples.sum(received, ("source", name))));
    }
    let (outcomes, took) = ("engine_stage_events_total", "engine_stage_duration_seconds");
    for name in names(samples, outcomes, "stage") {
        let label = ("stage", name);
        let mut part = PartRow::new(1, name, samples.sum(outcomes, label));
        let of_stage = samples.of(outcomes).iter().filter(|it| it.label("stage") == name);
        let failed = of_stage.filter(|it| !FINE.contains(&it.label("outcome")));
        part.failures = failed.map(|failed| failed.value).sum();
        part.retries = Some(samples.sum("engine_stage_retries_total", label));
        part.p50 = samples.quantile(took, label, 0.5);
        part.p95 = samples.quantile(took, label, 0.95);
        parts.push(part);
    }
    let deliveries = "engine_deliveries_total";
    for name in names(samples, deliveries, "sink") {
        let of = |outcome: &str| {
            let of_sink = samples.of(deliveries).iter().filter(|it| it.label("sink") == name);
            of_sink.filter(|it| it.label("outcome") == outcome).map(|it| it.value).sum::<f64>()
        };
        let mut part = PartRow::new(2, name, of("done"));
        (part.failures, part.retries) = (of("dead"), Some(of("pending")));
        parts.push(part);
    }
    parts
}

fn parts(
    samples: &MetricSamples,
    before: Option<(Duration, &MetricSamples)>,
    sort: TopOrder,
) -> String {
    const COLUMNS: [TableColumn; 8] = [
        TableColumn::text("PART", 6).rank(2),
        TableColumn::text("NAME", 8),
        TableColumn::number("EVENTS"),
        TableColumn::number("RATE"),
        TableColumn::number("FAILED"),
        TableColumn::number("RETRIED").rank(3),
        TableColumn::number("P50").rank(4),
        TableColumn::number("P95").rank(1),
    ];
    let mut parts = counted(samples);
    if let Some((since, before)) = before {
        let before = counted(before);
        for part in &mut parts {
            let same = |row: &&PartRow| row.place == part.place && row.name == part.name;
            let earlier = before.iter().find(same).map_or(0.0, |it| it.events);
            // An engine that was restarted counts from the beginning.
            let more = (part.events - earlier).max(0.0);
            part.rate = Some(more / since.as_secs_f64().max(f64::MIN_POSITIVE));
        }
    }
    let key = |row: &PartRow| match sort {
        TopOrder::Part => 0.0,
        TopOrder::Events => row.events,
        TopOrder::Failures => row.failures,
        TopOrder::P95 => row.p95.unwrap_or(-1.0),
    };
    parts.sort_by(|one, other| {
        let by_key = key(other).total_cmp(&key(one));
        by_key.then_with(|| (one.place, &one.name).cmp(&(other.place, &other.name)))
    });
    table(&COLUMNS, &parts.iter().map(PartRow::row).collect::<Vec<_>>())
}
