//! `engine notify test`: a marked message through one notifier, of a running engine or of a file.

use crate::client::find::plan_of;
use crate::client::{ClientFault, EngineArgs, EngineClient, ends_at};
use crate::run::stop::StopSignal;
use crate::run::test_message::send_test_message;
use crate::run::{OpenContext, open_notifier};
use crate::terminal;
use clap::{Args, ValueEnum};
use compiler::load::ProcessEnvironment;
use compiler::plan::{NotifierPlan, Plan, node_of};
use kernel::env::Env;
use kernel::health::printable;
use serde_json::{Value, json};
use stages::contract::Programs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::Wire;

/// What is shown of an answer, in bytes.
const REASON_MAX: usize = 4096;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine notify test phone
  engine notify test phone --file pipelines/home.kdl
  engine notify test phone --direct pipelines/home.kdl    # no engine has to run

The message says that it is a test. Nothing is stored, and a failure is not tried again: the exit
code is 1 then. With `auth`, the token needs the scope `send`."#)]
pub(super) struct TryArgs {
    /// The notifier; the second recipient of `phone` is `phone.2`.
    notifier: String,
    /// Send it from here, with the settings of this pipeline file and the variables of this shell.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "file", "token"])]
    direct: Option<PathBuf>,
    /// With --direct: allow the notifier to start its program.
    #[arg(long, requires = "direct")]
    allow_exec: bool,
    /// The output format.
    #[arg(long, value_enum, default_value = "text")]
    format: TryForm,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TryForm {
    /// For people.
    Text,
    /// The JSON of /api/notifications/test.
    Json,
}

/// Sends it; the exit code: 1 where it was not delivered.
pub(super) fn try_out(args: &TryArgs) -> Result<u8, ClientFault> {
    let answer = match &args.direct {
        Some(file) => direct(args, file)?,
        None => {
            let client = EngineClient::find(&args.engine)?;
            let asked = json!({ "notifier": args.notifier });
            let answer = client.post("/api/notifications/test", &asked)?;
            if !answer["delivered"].is_boolean() {
                return Err(client.no_engine("its response does not say whether it was delivered"));
            }
            answer
        }
    };
    let is_delivered = answer["delivered"] == true;
    match (args.format, is_delivered) {
        (TryForm::Json, _) => {
            terminal::to_output(&format!("{answer}\n"));
        }
        (TryForm::Text, true) => {
            let micros = Duration::from_micros(answer["micros"].as_u64().unwrap_or_default());
            let took = crate::client::figures::brief(micros);
            let name = printable(&args.notifier, REASON_MAX);
            terminal::to_output(&format!("{name} accepted the test message after {took}\n"));
            if answer["paused"].is_object() {
                let node = printable(node_of(&args.notifier), REASON_MAX);
                let end = printable(&ends_at(&answer["paused"]), REASON_MAX);
                terminal::to_terminal(&format!("{node} is paused {end}: other messages wait\n"));
            }
        }
        (TryForm::Text, false) => {
            let reason = printable(answer["reason"].as_str().unwrap_or_default(), REASON_MAX);
            let name = printable(&args.notifier, REASON_MAX);
            terminal::to_terminal(&format!("engine: {name} did not deliver: {reason}\n"));
        }
    }
    Ok(u8::from(!is_delivered))
}

/// Sends it without an engine; the answer that an engine would give.
fn direct(args: &TryArgs, file: &std::path::Path) -> Result<Value, ClientFault> {
    let env = Env::system();
    let context = OpenContext {
        env: env.clone(),
        environment: Arc::new(ProcessEnvironment),
        fetch: Arc::new(Wire::new(&env)),
        demo: None,
        programs: if args.allow_exec { Programs::Allowed } else { Programs::Refused },
        outside: None,
    };
    let mut plan = plan_of(file, None, "its notifiers are not known")?;
    plan.look_outside(&ProcessEnvironment);
    let notifier = notifier(&plan, &args.notifier)?;
    smol::block_on(async {
        let opened = open_notifier(&plan, notifier, &context).await;
        let target = opened.map_err(|fault| ClientFault::new(fault.reason))?;
        // Without an engine there is no worker that would hold its connection.
        let over = StopSignal::default();
        let sending = async {
            let globals = plan.globals.clone();
            let sent = send_test_message(&target, &plan.name, globals, &*env.clock).await;
            over.raise();
            sent
        };
        let tending = target.tend(Box::pin(over.raised()));
        Ok(smol::future::zip(sending, tending).await.0)
    })
}

/// The notifier of this name, if it is on.
fn notifier<'p>(plan: &'p Plan, name: &str) -> Result<&'p NotifierPlan, ClientFault> {
    let unknown = |reason| ClientFault { status: Some(404), reason };
    let found = plan.notifier(name).map_err(unknown)?;
    match &found.off {
        Some(why) => Err(ClientFault::new(format!("`{name}` is off: {why}"))),
        None => Ok(found),
    }
}
