//! `engine diff`: what a reload would do, before it is done.

use super::checked;
use crate::client::token_at;
use crate::terminal;
use clap::{Args, ValueEnum};
use compiler::expand;
use compiler::files::PipelinePath;
use compiler::load::{PipelineLoader, PipelineTexts, ProcessEnvironment};
use compiler::plan::{Diff, Plan, Secrets};
use kernel::env::Env;
use stages::catalog::Catalog;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::{Fetch, FetchRequest, Wire};

/// How long a running engine may take to answer.
const LIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest effective file that is read from a running engine, in bytes.
const LIVE_MAX: usize = 4 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  engine diff old.kdl new.kdl
  engine diff new.kdl --live http://127.0.0.1:8600
  engine diff old.kdl new.kdl --detailed-exitcode   # 0: nothing changes, 2: something does")]
pub(super) struct DiffArgs {
    /// The running file, or with --live the file that would run next.
    old: PathBuf,
    /// The file that would run next.
    #[arg(required_unless_present = "live", conflicts_with = "live")]
    new: Option<PathBuf>,
    /// Compare with the running engine at this address.
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    /// The token for a running engine: `env:NAME` or `file:PATH`.
    #[arg(long, value_name = "WHERE", requires = "live")]
    token: Option<String>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: DiffFormat,
    /// Exit 0 when nothing changes, 1 for an error, 2 when something changes.
    #[arg(long)]
    detailed_exitcode: bool,
    /// Reject schemas, tables and includes outside this folder.
    #[arg(long, value_name = "DIR", value_parser = super::folder)]
    root: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    Text,
    Json,
}

/// Compares; the exit code.
pub(super) fn diff(args: &DiffArgs) -> u8 {
    match compare(args) {
        Ok(diff) => {
            terminal::to_output(&match args.format {
                DiffFormat::Text => diff.text(),
                DiffFormat::Json => format!("{:#}\n", diff.json()),
            });
            let differs = diff.changes().next().is_some();
            if args.detailed_exitcode && differs { 2 } else { 0 }
        }
        // With detailed codes 2 says that something changes.
        Err(_) if args.detailed_exitcode => 1,
        Err(code) => code,
    }
}

fn compare(args: &DiffArgs) -> Result<Diff, u8> {
    let catalog = Catalog::built_in();
    let root = args.root.as_deref();
    match (&args.new, &args.live) {
        (Some(new), _) => {
            let old = plan_of(&args.old, root, &catalog)?;
            let new = plan_of(new, root, &catalog)?;
            Ok(Diff::between(&old, &new))
        }
        (None, Some(url)) => {
            let text = fetch_running(url, args.token.as_deref()).map_err(|reason| {
                terminal::to_terminal(&format!("engine: {reason}\n"));
                2
            })?;
            // Both as the effective file shows them: literal secrets are masked in both.
            let next = effective(&args.old, root, &catalog)?;
            let old = plan_of_text(&text, &args.old, root, &catalog)?;
            let new = plan_of_text(&next, &args.old, root, &catalog)?;
            Ok(Diff::between(&old, &new))
        }
        (None, None) => unreachable!("give one of them"),
    }
}

/// The plan of a file, as a reload compares it.
fn plan_of(file: &Path, root: Option<&Path>, catalog: &Catalog) -> Result<Plan, u8> {
    let (mut plan, read) = checked::read(file, root, &[], catalog)?;
    plan.outline = expand::expand(&read, catalog).outline();
    plan.secrets = Secrets::of(&read.spec, &ProcessEnvironment);
    plan.look_outside(&ProcessEnvironment);
    Ok(plan)
}

/// The effective text of a file.
fn effective(file: &Path, root: Option<&Path>, catalog: &Catalog) -> Result<String, u8> {
    let (_, read) = checked::read(file, root, &[], catalog)?;
    Ok(expand::expand(&read, catalog).kdl())
}

/// The plan of a text as if it lay where `file` is.
fn plan_of_text(
    text: &str,
    file: &Path,
    root: Option<&Path>,
    catalog: &Catalog,
) -> Result<Plan, u8> {
    let name = format!("{} as it takes effect", file.display());
    let given = PipelineTexts::of(text.as_bytes(), Path::new(&name))
        .map_err(|fault| checked::tell(&fault.diagnostics))?;
    let place = &PipelinePath::of(file, root, None);
    let loader =
        PipelineLoader { place, overrides: &[], catalog, environment: &ProcessEnvironment };
    let (loaded, read) = loader.read(&given).plan();
    let (mut plan, read) =
        loaded.plan.zip(read).ok_or_else(|| checked::tell(&loaded.diagnostics))?;
    plan.outline = expand::expand(&read, catalog).outline();
    Ok(plan)
}

/// The effective file of a running engine; the error says why it cannot be had.
fn fetch_running(url: &str, token: Option<&str>) -> Result<String, String> {
    let mut headers = Vec::new();
    if let Some(place) = token {
        headers.push(("Authorization".to_owned(), format!("Bearer {}", token_at(place)?)));
    }
    let request = FetchRequest {
        method: "GET",
        url: format!("{}/api/pipeline/file", url.trim_end_matches('/')),
        headers,
        body: None,
        timeout: LIVE_TIMEOUT,
        body_max: LIVE_MAX,
    };
    let answer = smol::block_on(Wire::new(&Env::system()).fetch(request))
        .map_err(|fault| format!("the engine at {url} does not respond: {}", fault.reason))?;
    match answer.status {
        200 => String::from_utf8(answer.body).map_err(|_| "the response is not text".to_owned()),
        401 | 403 => Err(format!("the engine at {url} requires a token; use `--token env:NAME`")),
        status => Err(format!("the engine at {url} answers {status}")),
    }
}
