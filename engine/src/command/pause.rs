//! `engine pause` and `engine resume`: a sink or notifier of a running engine calls nobody for a
//! while, and its deliveries wait.

use super::ChangeFormat;
use crate::client::{ClientFault, EngineArgs, EngineClient, ends_at};
use crate::terminal;
use clap::Args;
use kernel::health::{printable, printable_json};
use serde_json::{Value, json};

/// What is shown of what the engine says, in bytes.
const LINE_MAX: usize = 4096;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine pause phone --for 30m
  engine pause hook                     # until `engine resume hook`

Its deliveries stay in the outbox, in order, and are sent when the pause is over; nothing is
dropped, and no attempt is spent. A pause outlives reloads and restarts; pausing again replaces
its end. All recipients of a notifier are paused together.
With `auth`, the token needs the scope `reload`."#)]
pub(super) struct PauseArgs {
    /// The sink or notifier.
    name: String,
    /// Resume automatically after this long, from 1s to 31d.
    #[arg(long = "for", value_name = "DURATION")]
    time: Option<String>,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: ChangeFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine resume phone

Waiting deliveries are sent now; what quiet hours or a rate hold back stays held. If it is not
paused, nothing happens.
With `auth`, the token needs the scope `reload`."#)]
pub(super) struct ResumeArgs {
    /// The sink or notifier.
    name: String,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: ChangeFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Pauses; the exit code.
pub(super) fn pause(args: &PauseArgs) -> u8 {
    let mut order = json!({ "name": args.name });
    if let Some(time) = &args.time {
        order["for"] = json!(time);
    }
    let words =
        |answer: &Value| format!("is paused {}{}", ends_at(&answer["paused"]), waiting(answer));
    tell(&args.name, ask(&args.engine, "/api/pause", &order), args.format, words)
}

/// Resumes; the exit code.
pub(super) fn resume(args: &ResumeArgs) -> u8 {
    let order = json!({ "name": args.name });
    let words = |answer: &Value| match answer["was_paused"].as_bool() {
        Some(true) => format!("is resumed{}", waiting(answer)),
        _ => "is not paused".to_owned(),
    };
    tell(&args.name, ask(&args.engine, "/api/resume", &order), args.format, words)
}

fn ask(engine: &EngineArgs, path: &str, order: &Value) -> Result<Value, ClientFault> {
    let client = EngineClient::find(engine)?;
    let answer = client.post(path, order)?;
    match answer["was_paused"].is_boolean() {
        true => Ok(answer),
        false => Err(client.no_engine("its response does not say what was paused")),
    }
}

/// What waits for it, where something does.
fn waiting(answer: &Value) -> String {
    match answer["waiting"].as_u64() {
        Some(1) => "; 1 delivery waits".to_owned(),
        Some(count) if 1 < count => format!("; {count} deliveries wait"),
        _ => String::new(),
    }
}

fn tell(
    name: &str,
    answer: Result<Value, ClientFault>,
    format: ChangeFormat,
    words: impl Fn(&Value) -> String,
) -> u8 {
    let answer = match answer {
        Ok(answer) => answer,
        Err(fault) => return fault.tell(),
    };
    terminal::to_output(&match format {
        ChangeFormat::Text => printable(&format!("{name} {}", words(&answer)), LINE_MAX) + "\n",
        ChangeFormat::Json => printable_json(format!("{answer:#}\n")),
    });
    0
}
