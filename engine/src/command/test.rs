//! `engine test`: the tests that pipelines carry.

use crate::terminal::{self, Volume};
use crate::test::{self, Report};
use clap::Args;
use compiler::files::{self, PipelinePath};
use compiler::report;
use stages::catalog::Catalog;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine test pipelines/
  engine test pipelines/home.kdl --filter ring --show-timeline
  engine test pipelines/ --junit results.xml"#)]
pub(super) struct TestArgs {
    /// Pipeline files, files of tests, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
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
    /// Read nothing outside this folder.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Tests; the exit code.
pub(super) fn test(args: &TestArgs) -> u8 {
    let catalog = Catalog::built_in();
    let mut report = Report::default();
    let (mut broken, mut is_whole) = (0, true);
    for file in files::pipelines(&args.paths) {
        match one(&file, args, &catalog) {
            Ok(Some(ran)) => report.pipelines.push(ran),
            Ok(None) => broken += 1,
            Err(fault) => {
                is_whole = false;
                let text = format!("engine: cannot read {}: {fault}\n", file.display());
                terminal::to_terminal(&text);
            }
        }
    }
    let (all, failed) = report.counts();
    if args.coverage {
        let text: String = report.pipelines.iter().map(test::Ran::human_coverage).collect();
        terminal::to_output(&text);
    }
    if 0 < all || 0 < broken {
        if terminal::volume() != Volume::Quiet {
            terminal::to_output(&summary(all, failed, broken));
        }
    } else if is_whole {
        let which = if args.filter.is_empty() { "no test" } else { "no test of that name" };
        terminal::to_terminal(&format!("engine: there is {which}\n"));
        is_whole = false;
    }
    if let Some(path) = &args.junit
        && let Err(fault) = std::fs::write(path, report.junit())
    {
        terminal::to_terminal(&format!("engine: cannot write {}: {fault}\n", path.display()));
        is_whole = false;
    }
    match (is_whole, 0 < broken + failed) {
        (false, _) => 2,
        (true, true) => 1,
        (true, false) => 0,
    }
}

/// The tests of one file, shown as they end. `None` when the file itself is not in order.
fn one(file: &Path, args: &TestArgs, catalog: &Catalog) -> std::io::Result<Option<test::Ran>> {
    let place = PipelinePath::of(file, args.root.as_deref(), None);
    let mut suite = test::load(&place, catalog)?;
    let (colour, width) = (terminal::output_has_colour(), terminal::width());
    if !suite.is_sound() {
        terminal::to_output(&report::human(&suite.diagnostics, colour, width));
        return Ok(None);
    }
    let name = file.display().to_string();
    let ran = test::run_all(&mut suite, &name, &args.filter, catalog);
    if !ran.tests.is_empty() && (terminal::volume() != Volume::Quiet || 0 < ran.failed()) {
        terminal::to_output(&ran.human(
            args.show_timeline || terminal::volume() == Volume::Verbose,
            colour,
            width,
        ));
    }
    Ok(Some(ran))
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
