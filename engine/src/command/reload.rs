//! `engine reload`: lets a running engine look at its file now, and says what that came to.

use super::ChangeFormat;
use crate::client::{ClientFault, EngineArgs, EngineClient};
use crate::terminal;
use clap::Args;
use kernel::health::{printable, printable_json};
use serde_json::json;

/// What is shown of a line that the engine says, in bytes.
const LINE_MAX: usize = 4096;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine reload
  engine reload --file pipelines/home.kdl

A running engine reloads by itself when its file changes; this is for `--watch off`, for a secret
that has changed, and for scripts that have to know the outcome.
The exit code is 1 if the file could not be applied."#)]
pub(super) struct ReloadArgs {
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: ChangeFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Reloads; the exit code.
pub(super) fn reload(args: &ReloadArgs) -> u8 {
    ask(args).map_or_else(|fault| fault.tell(), |is_valid| u8::from(!is_valid))
}

/// Whether the file on disk is what runs.
fn ask(args: &ReloadArgs) -> Result<bool, ClientFault> {
    let client = EngineClient::find(&args.engine)?;
    let answer = client.post("/api/reload", &json!({}))?;
    let Some(generation) = answer["generation"].as_u64() else {
        return Err(client.no_engine("its response names no generation"));
    };
    let is_valid = answer["config"] == "current";
    if args.format == ChangeFormat::Json {
        terminal::to_output(&printable_json(format!("{answer:#}\n")));
    } else if is_valid {
        let changes = answer["changes"].as_str().filter(|text| !text.is_empty());
        let changes = changes.map_or(String::new(), |changes| format!(": {changes}"));
        let line = printable(&format!("generation {generation} runs{changes}"), LINE_MAX);
        terminal::to_output(&(line + "\n"));
    } else {
        let findings = answer["diagnostics"].as_str().unwrap_or_default().lines();
        let findings: Vec<String> = findings.map(|finding| printable(finding, LINE_MAX)).collect();
        let findings = findings.join("\n");
        terminal::to_terminal(&format!(
            "{}\n\nthe file could not be applied; generation {generation} still runs\n",
            findings.trim_end()
        ));
    }
    Ok(is_valid)
}
