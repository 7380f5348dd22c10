//! `engine check`: every mistake of pipeline files, nothing is started.

mod fix;
mod follow;
mod input;
mod level;

use crate::terminal::{self, Volume};
use clap::{Args, ValueEnum};
use compiler::files;
use compiler::load::{
    LenientEnvironment, LoadedPipeline, PipelineLoader, PipelineTexts, ProcessEnvironment,
};
use compiler::report::{self, CheckedFile, RepositoryPaths};
use input::Input;
use language::Environment;
use language::diagnostic::{Rule, Severity};
use level::{Denied, Levels};
use stages::catalog::Catalog;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine check pipelines/
  engine check pipelines/home.kdl --fix
  engine check pipelines/ --deny warnings --format github"#)]
pub(super) struct CheckArgs {
    /// Pipeline files (each with the tests next to it), folders of them, or `-` for standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The output format.
    #[arg(long, value_enum, default_value = "human")]
    format: CheckFormat,
    /// Turn warnings into errors: all of them with `warnings`, or one code. Can be repeated.
    #[arg(long, value_name = "warnings|CODE", value_parser = level::denied)]
    deny: Vec<Denied>,
    /// Hide the warnings of one code, even if they are denied. Can be repeated.
    #[arg(long, value_name = "CODE", value_parser = level::allowed)]
    allow: Vec<Rule>,
    /// Treat unset variables as set, for machines that only check.
    #[arg(long)]
    allow_missing_env: bool,
    /// Check files that may start programs, as `engine run --allow-exec` does.
    #[arg(long)]
    allow_exec: bool,
    /// Apply the fixes that are certain to be right, then check again.
    #[arg(long, conflicts_with = "watch")]
    fix: bool,
    /// Check again whenever a file changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// The file name of standard input; relative paths in it start from there.
    #[arg(long, value_name = "NAME")]
    stdin_filename: Option<PathBuf>,
    /// With --format sarif: exit 1 for errors, too.
    #[arg(long)]
    exit_code: bool,
    /// Reject schemas, tables and includes outside this folder.
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// Each finding with its lines, for people.
    Human,
    /// One line each: `FILE:LINE:COLUMN: CODE MESSAGE`.
    Short,
    /// One object.
    Json,
    /// SARIF 2.1.0; exits 0 even with findings, so that the upload step runs.
    Sarif,
    /// GitHub workflow annotations; the human report goes to standard error.
    Github,
    /// JUnit XML, one suite per file.
    Junit,
}

/// Checks; the exit code.
pub(super) fn check(args: &CheckArgs) -> u8 {
    if let Some(reason) = args.misuse() {
        terminal::to_terminal(&format!("engine: {reason}\n"));
        return 2;
    }
    if args.watch {
        return follow::follow(args);
    }
    let round = Round::of(args);
    round.show(args);
    round.exit_code(args)
}

impl CheckArgs {
    fn misuse(&self) -> Option<&'static str> {
        if self.exit_code && self.format != CheckFormat::Sarif {
            return Some("--exit-code is for --format sarif; the other formats exit 1 for errors");
        }
        let inputs = self.paths.iter().filter(|path| input::is_standard(path)).count();
        match inputs {
            0 if self.stdin_filename.is_some() => {
                Some("--stdin-filename names what `-` reads, but there is no `-`")
            }
            0 => None,
            1 if self.fix => Some("--fix writes files; `-` is not a file"),
            1 if self.watch => Some("--watch watches files; `-` is not a file"),
            1 => None,
            _ => Some("standard input can be read only once"),
        }
    }

    /// Checks one input by these levels; `instead` are texts that files do not hold yet.
    fn load(
        &self,
        input: &Input,
        catalog: &Catalog,
        instead: &BTreeMap<PathBuf, String>,
    ) -> std::io::Result<LoadedPipeline> {
        let environment: &dyn Environment =
            if self.allow_missing_env { &LenientEnvironment } else { &ProcessEnvironment };
        let mut place = input.place(self.root.as_deref());
        place.instead.clone_from(instead);
        let bytes = match input {
            Input::File(_) => None,
            Input::Text { bytes, .. } => Some(bytes.as_slice()),
        };
        let loader = PipelineLoader { place: &place, overrides: &[], catalog, environment };
        let mut loaded = match PipelineTexts::read(&place, bytes)? {
            Ok(given) => loader.check(&given),
            Err(refused) => *refused,
        };
        if self.allow_exec {
            loaded.diagnostics.retain(|diagnostic| diagnostic.rule != Rule::StartsProgram);
        }
        Levels { denied: &self.deny, allowed: &self.allow }.apply(&mut loaded.diagnostics);
        Ok(loaded)
    }
}

/// One check of everything that was asked for.
struct Round {
    files: Vec<CheckedFile>,
    /// What could not be read, in words.
    unread: Vec<String>,
    /// What repairs did, a line each.
    repaired: Vec<String>,
    /// Every file and folder that a change can come from.
    seen: BTreeSet<PathBuf>,
    /// Changes with everything that was read.
    hashes: Vec<String>,
}

impl Round {
    fn of(args: &CheckArgs) -> Round {
        let catalog = Catalog::built_in();
        let (mut files, mut repaired, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        let mut inputs = input::of(&args.paths, args.stdin_filename.as_deref());
        for input in &inputs.found {
            let loaded = match input {
                Input::File(path) if args.fix => {
                    fix::repair(path, &mut repaired, |it| args.load(input, &catalog, it))
                }
                _ => args.load(input, &catalog, &BTreeMap::new()),
            };
            match loaded {
                Ok(loaded) => {
                    let read = loaded.files.iter().map(|file| file.display().to_string());
                    let read = read.collect::<Vec<_>>().join(", ");
                    terminal::remark(&format!("checked {}; it reads {read}", input.name()));
                    files.push(CheckedFile { name: input.name(), found: loaded.diagnostics });
                    inputs.seen.extend(loaded.files);
                    hashes.push(loaded.hash);
                }
                Err(fault) => {
                    inputs.unread.push(files::cannot_read(Path::new(&input.name()), &fault));
                }
            }
        }
        Round { files, unread: inputs.unread, repaired, seen: inputs.seen, hashes }
    }

    /// Writes everything where it belongs. Answers whether someone took it.
    fn show(&self, args: &CheckArgs) -> bool {
        for line in &self.unread {
            terminal::to_terminal(&format!("engine: {line}\n"));
        }
        for line in self.repaired.iter().filter(|_| terminal::volume() != Volume::Quiet) {
            terminal::to_terminal(&format!("{line}\n"));
        }
        let text = match args.format {
            CheckFormat::Human => {
                let human = self.human(terminal::output_has_colour());
                human + &self.summary()
            }
            CheckFormat::Short => report::short(&self.files),
            CheckFormat::Json => format!("{}\n", report::json(&self.files)),
            CheckFormat::Sarif => {
                let folder = std::env::current_dir().unwrap_or_default();
                report::sarif(&self.files, &RepositoryPaths::around(&folder), &self.unread)
            }
            CheckFormat::Github => {
                let colour = terminal::has_colour();
                terminal::to_terminal(&(self.human(colour) + &self.summary()));
                let folder = std::env::current_dir().unwrap_or_default();
                report::github("check", &self.files, &RepositoryPaths::around(&folder))
            }
            CheckFormat::Junit => report::junit(&self.files),
        };
        terminal::to_output(&text)
    }

    fn human(&self, colour: bool) -> String {
        let width = terminal::width();
        let shown =
            |file: &CheckedFile| report::human(&terminal::wanted(&file.found), colour, width);
        self.files.iter().map(shown).collect()
    }

    fn summary(&self) -> String {
        if terminal::volume() == Volume::Quiet || self.files.is_empty() {
            return String::new();
        }
        let count = |number: usize, word: &str| match number {
            1 => format!("1 {word}"),
            _ => format!("{number} {word}s"),
        };
        let files = count(self.files.len(), "file");
        let errors = report::count(&self.files, Severity::Error);
        let warnings = report::count(&self.files, Severity::Warning);
        match (errors, warnings) {
            (0, 0) => format!("{files} checked, no problems found\n"),
            _ => format!(
                "{files} checked: {}, {}\n",
                count(errors, "error"),
                count(warnings, "warning")
            ),
        }
    }

    fn exit_code(&self, args: &CheckArgs) -> u8 {
        let is_told_otherwise = args.format == CheckFormat::Sarif && !args.exit_code;
        match report::count(&self.files, Severity::Error) {
            _ if !self.unread.is_empty() => 2,
            0 => 0,
            _ => u8::from(!is_told_otherwise),
        }
    }
}
