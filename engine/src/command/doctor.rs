//! `engine doctor`: what keeps an engine from working on this machine, or whether a running one
//! works.

mod examine;

use crate::client::{CallArgs, ClientFault, EngineArgs, EngineClient};
use crate::terminal::{self, Volume};
use clap::{Args, ValueEnum};
use examine::{DoctorFinding, FindingGrade};
use kernel::health::printable;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What is shown of a text, in bytes.
const TEXT_MAX: usize = 1000;

#[derive(Debug, Args)]
#[command(
    override_usage = "engine doctor [OPTIONS] <FILE>\n       engine doctor --quick [OPTIONS] [FILE]"
)]
#[command(after_help = r#"Examples:
  engine doctor pipelines/home.kdl
  engine doctor pipelines/home.kdl --quick    # for a health check: exits 0 or 1
  engine doctor --quick --url http://127.0.0.1:8600"#)]
pub(super) struct DoctorArgs {
    /// The pipeline file.
    #[arg(required_unless_present = "quick")]
    file: Option<PathBuf>,
    /// The folder that is passed to `engine run` as --data.
    #[arg(long, value_name = "DIR", requires = "file")]
    data: Option<PathBuf>,
    /// Only check whether the running engine is ready: exit 0 if it is, otherwise 1.
    #[arg(long)]
    quick: bool,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: DoctorFormat,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DoctorFormat {
    /// For people.
    Text,
    /// One JSON object, for bug reports and programs.
    Json,
}

/// Looks; the exit code.
pub(super) fn doctor(args: &DoctorArgs) -> u8 {
    if args.quick {
        return quick(args);
    }
    let Some(file) = &args.file else { return 2 };
    if let Err(fault) = compiler::files::read_pipeline(file) {
        let reason = compiler::files::cannot_read(file, &fault);
        return ClientFault::new(reason).tell();
    }
    let findings = examine::all(file, args.data.as_deref(), || running(args));
    let count =
        |grade: FindingGrade| findings.iter().filter(|finding| finding.grade == grade).count();
    let (problems, warnings) = (count(FindingGrade::Problem), count(FindingGrade::Warning));
    terminal::to_output(&match args.format {
        DoctorFormat::Text => findings.iter().map(line).collect(),
        DoctorFormat::Json => {
            let findings: Vec<Value> = findings.iter().map(as_json).collect();
            let body = json!({
                "format_version": "1.0", "problems": problems, "warnings": warnings,
                "findings": findings,
            });
            format!("{body:#}\n")
        }
    });
    if args.format == DoctorFormat::Text && terminal::volume() != Volume::Quiet {
        let plural = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            count => format!("{count} {word}s"),
        };
        let (problems, warnings) = (plural(problems, "problem"), plural(warnings, "warning"));
        terminal::to_terminal(&format!("{problems}, {warnings}\n"));
    }
    u8::from(0 < problems)
}

fn line(finding: &DoctorFinding) -> String {
    if terminal::volume() == Volume::Quiet && finding.grade != FindingGrade::Problem {
        return String::new();
    }
    let word = format!("{:<9}", finding.grade.word());
    let word = match (terminal::output_has_colour(), finding.grade) {
        (true, FindingGrade::Problem) => format!("\x1b[1;31m{word}\x1b[0m"),
        (true, FindingGrade::Warning) => format!("\x1b[33m{word}\x1b[0m"),
        _ => word,
    };
    let help = finding.help.as_deref().map(|help| printable(help, TEXT_MAX));
    let help = help.map_or_else(String::new, |help| format!("{:<9}help: {help}\n", ""));
    format!("{word}{}\n{help}", printable(&finding.text, TEXT_MAX))
}

fn as_json(finding: &DoctorFinding) -> Value {
    let text = printable(&finding.text, TEXT_MAX);
    json!({ "state": finding.grade.word(), "about": finding.about, "message": text, "help": finding.help })
}

/// The engine that runs the file, if one does.
fn client(args: &DoctorArgs) -> Result<EngineClient, ClientFault> {
    let (file, data) = (args.file.clone(), args.data.clone());
    EngineClient::find(&EngineArgs::of_file(file, data, args.call.clone()))
}

/// Whether the engine is ready; the exit code for a health check.
fn quick(args: &DoctorArgs) -> u8 {
    let found = client(args).and_then(|client| client.readiness());
    let is_ready = found.as_ref().is_ok_and(|readiness| readiness.is_ready);
    match (args.format, found) {
        (DoctorFormat::Json, found) => {
            let reasons = found.map_or_else(|fault| vec![fault.reason], |it| it.reasons);
            let reasons: Vec<String> = reasons.iter().map(|it| printable(it, TEXT_MAX)).collect();
            let body = json!({ "format_version": "1.0", "ready": is_ready, "reasons": reasons });
            terminal::to_output(&format!("{body:#}\n"));
        }
        (DoctorFormat::Text, Ok(_)) if is_ready => {
            if terminal::volume() != Volume::Quiet {
                terminal::to_output("ready\n");
            }
        }
        (DoctorFormat::Text, Ok(readiness)) => {
            let reasons = printable(&readiness.reasons.join("; "), TEXT_MAX);
            let reasons = if reasons.is_empty() { String::new() } else { format!(": {reasons}") };
            terminal::to_terminal(&format!("engine: not ready{reasons}\n"));
        }
        (DoctorFormat::Text, Err(fault)) => drop(fault.tell()),
    }
    u8::from(!is_ready)
}

/// What the running engine says of itself; `None` where none runs.
fn running(args: &DoctorArgs) -> Option<Vec<DoctorFinding>> {
    let client = client(args).ok()?;
    let readiness = match client.readiness() {
        Ok(readiness) => readiness,
        // A file that a killed engine left, or another program at its address.
        Err(_) => return None,
    };
    let mut findings = vec![match readiness.is_ready {
        true => DoctorFinding::ok("engine", "the engine runs and is ready"),
        false => {
            let reasons = readiness.reasons.join("; ");
            DoctorFinding::problem("engine", format!("the engine runs and is not ready: {reasons}"))
        }
    }];
    if readiness.is_stale {
        findings.push(
            DoctorFinding::warning("engine", "the file on disk differs from the running one")
                .help("run `engine check`, and look at /readyz"),
        );
    }
    for (part, reason, advice) in readiness.degraded {
        let finding = DoctorFinding::warning("engine", format!("{part}: {reason}"));
        findings.push(if advice.is_empty() { finding } else { finding.help(advice) });
    }
    for (name, end) in readiness.paused {
        let text = format!("{name} is paused {end}: its deliveries wait");
        findings.push(
            DoctorFinding::warning("engine", text).help(format!("`engine resume {name}` ends it")),
        );
    }
    Some(findings)
}
