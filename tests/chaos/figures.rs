//! What an experiment counted, as a line for people and as a row of `docs/figures.md`.

use crate::support::root;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// What one experiment counted.
#[derive(Default)]
pub(super) struct Figures {
    /// Its name, the first cell of its row.
    pub(super) experiment: &'static str,
    /// What was done, such as `kills`.
    pub(super) unit: &'static str,
    pub(super) count: u64,
    pub(super) acknowledged: u64,
    /// Acknowledged and not in the store, or never delivered.
    pub(super) lost: u64,
    /// Stored more than once, or delivered more than once where nothing was killed.
    pub(super) doubled: u64,
    /// What else is worth a word.
    pub(super) note: String,
    pub(super) seed: u64,
    pub(super) took: Duration,
}

impl Figures {
    /// Shows the line, and writes the row where `UPDATE_FIGURES` is set.
    #[expect(clippy::print_stderr, reason = "the line is what the run is for")]
    pub(super) fn tell(&self) {
        let Figures { experiment, unit, count, acknowledged, lost, doubled, note, seed, took } =
            self;
        eprintln!(
            "chaos {experiment}: {count} {unit}, {acknowledged} acknowledged, {lost} lost, \
             {doubled} doubled; with 95 % fewer than {} {unit} and {} events; {note}; CHAOS_SEED={seed}; \
             {:.1} s",
            bound(*lost + *doubled, *count),
            bound(*lost + *doubled, *acknowledged),
            took.as_secs_f64(),
        );
        if std::env::var_os("UPDATE_FIGURES").is_some() {
            self.write();
        }
    }

    fn row(&self) -> String {
        let Figures { experiment, unit, count, acknowledged, lost, doubled, note, seed, took } =
            self;
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let cores = std::thread::available_parallelism().map_or(0, |number| number.get());
        format!(
            "| {experiment} | {count} {unit} | {acknowledged} | {lost} | {doubled} | {} {unit}, \
             {} events | {note} | {seed} | {} | {}, {build}, {cores} cores | {} s |",
            bound(*lost + *doubled, *count),
            bound(*lost + *doubled, *acknowledged),
            said_by("git", &["rev-parse", "--short", "HEAD"]),
            said_by("date", &["-u", "+%F"]),
            took.as_secs(),
        )
    }

    /// The row replaces the one that has its name.
    fn write(&self) {
        let path = root().join("docs/figures.md");
        let text = std::fs::read_to_string(&path).expect("the figures can be read");
        let start = format!("| {} |", self.experiment);
        assert_eq!(text.matches(&start).count(), 1, "docs/figures.md has the row `{start}` once");
        let lines = text.lines().map(|line| match line.starts_with(&start) {
            true => self.row(),
            false => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n") + "\n";
        std::fs::write(path, text).expect("the figures can be written");
    }
}

/// The rule of three: nothing in `count` tries means fewer than three in `count`, with 95 %.
fn bound(found: u64, count: u64) -> String {
    match (found, count) {
        (0, 1..) => format!("1 in {}", count.div_ceil(3)),
        _ => "no bound".to_owned(),
    }
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let output = output.expect("it runs").stdout;
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The seed of a run, and when it began.
pub(super) struct Run {
    pub(super) seed: u64,
    started: SystemTime,
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "how long it took in the world is the figure")]
    pub(super) fn begin() -> Run {
        let given = std::env::var("CHAOS_SEED").ok().and_then(|text| text.parse().ok());
        Run { seed: given.unwrap_or_else(|| fastrand::u64(..)), started: SystemTime::now() }
    }

    pub(super) fn took(&self) -> Duration {
        self.started.elapsed().unwrap_or_default()
    }
}
