//! `engine test`: the tests that pipelines carry.

use crate::terminal::{self, Volume};
use crate::test::{self, Report};
use clap::{Args, ValueEnum};
use compiler::files::{self, PipelinePath};
use compiler::report::{self, RepositoryPaths};
use kernel::env::SystemClock;
use stages::catalog::Catalog;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine test pipelines/
  engine test pipelines/home.kdl --filter ring --show-timeline
  engine test pipelines/ --format github --junit results.xml"#)]
pub(super) struct TestArgs {
    /// Pipeline files, files of tests, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value = "human")]
    format: TestFormat,
    /// Only tests whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Write the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// List what no test exercises.
    #[arg(long)]
    coverage: bool,
    /// Show what happened in every test, not only in those that fail.
    #[arg(long)]
    show_timeline: bool,
    /// Reject schemas, tables and includes outside this folder.
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TestFormat {
    /// Each test as it ends, for people.
    Human,
    /// Annotations of a GitHub workflow, and the human report on standard error.
    Github,
}

impl TestArgs {
    /// Writes what people read: where annotations are the result, to standard error.
    fn tell(&self, text: &str) {
        match self.format {
            TestFormat::Human => {
                terminal::to_output(text);
            }
            TestFormat::Github => terminal::to_terminal(text),
        }
    }

    fn has_colour(&self) -> bool {
        match self.format {
            TestFormat::Human => terminal::output_has_colour(),
            TestFormat::Github => terminal::has_colour(),
        }
    }
}

/// Tests; the exit code.
pub(super) fn test(args: &TestArgs) -> u8 {
    let catalog = Catalog::built_in();
    let mut report = Report::default();
    let mut is_whole = true;
    for file in files::pipelines(&args.paths) {
        match one(&file, args, &catalog) {
            Ok(ran) => report.pipelines.push(ran),
            Err(fault) => {
                is_whole = false;
                let text = files::cannot_read(&file, &fault);
                terminal::to_terminal(&format!("engine: {text}\n"));
            }
        }
    }
    let (all, failed) = report.counts();
    let broken = report.pipelines.iter().filter(|ran| !ran.broken.is_empty()).count();
    if args.coverage {
        let sound = report.pipelines.iter().filter(|ran| ran.broken.is_empty());
        args.tell(&sound.map(test::SuiteResult::human_coverage).collect::<String>());
    }
    if 0 < all || 0 < broken {
        if terminal::volume() != Volume::Quiet {
            args.tell(&summary(all, failed, broken));
        }
    } else if is_whole {
        let which = if args.filter.is_empty() { "no test" } else { "no test of that name" };
        terminal::to_terminal(&format!("engine: there is {which}\n"));
        is_whole = false;
    }
    is_whole &= write_results(&report, args);
    match (is_whole, 0 < broken + failed) {
        (false, _) => 2,
        (true, true) => 1,
        (true, false) => 0,
    }
}

/// Writes the results for programs. Answers whether that worked.
fn write_results(report: &Report, args: &TestArgs) -> bool {
    let paths = RepositoryPaths::around(&std::env::current_dir().unwrap_or_default());
    if args.format == TestFormat::Github {
        terminal::to_output(&report.github(&paths));
    }
    let Some(path) = &args.junit else { return true };
    match std::fs::write(path, report.junit(&paths)) {
        Ok(()) => true,
        Err(fault) => {
            terminal::to_terminal(&format!("engine: cannot write {}: {fault}\n", path.display()));
            false
        }
    }
}

/// The tests of one file, shown as they end.
fn one(file: &Path, args: &TestArgs, catalog: &Catalog) -> std::io::Result<test::SuiteResult> {
    let place = PipelinePath::of(file, args.root.as_deref(), None);
    let mut suite = test::load(&place, catalog)?;
    let (colour, width) = (args.has_colour(), terminal::width());
    let name = file.display().to_string();
    if !suite.is_sound() {
        args.tell(&report::human(&terminal::wanted(&suite.diagnostics), colour, width));
        return Ok(test::SuiteResult::broken(&name, suite.diagnostics));
    }
    let ran = test::run_all(&mut suite, &name, &args.filter, catalog, &SystemClock::default());
    if !ran.tests.is_empty() && (terminal::volume() != Volume::Quiet || 0 < ran.failed()) {
        let shows_timeline = args.show_timeline || terminal::volume() == Volume::Verbose;
        args.tell(&ran.human(shows_timeline, colour, width));
    }
    Ok(ran)
}

fn summary(all: usize, failed: usize, broken: usize) -> String {
    let count = |number: usize, word: &str| match number {
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    };
    let mut parts = Vec::new();
    match (all, failed) {
        (0, _) => {}
        (_, 0) => parts.push(format!("{}: all ok", count(all, "test"))),
        _ => parts.push(format!("{}: {failed} failed", count(all, "test"))),
    }
    if 0 < broken {
        parts.push(format!("{} with errors", count(broken, "file")));
    }
    format!("{}\n", parts.join("; "))
}
