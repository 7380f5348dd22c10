//! `engine eval`: one expression or template, tried on one event.

pub(super) mod given;

use super::expression;
use crate::terminal;
use clap::Args;
use kernel::env::{Clock, Random, SystemClock};
use language::expr::{
    Expr, ExprProblem, ITEMS_MAX, Roots, STEPS_MAX, Scope, TOO_MUCH_WORK, Template,
};
use serde_json::Value;

#[derive(Debug, Args)]
#[command(after_help = r#"Examples:
  engine eval "1 + 2"
  engine eval "event.type == 'ring'" --event '{"type": "ring", "data": {}}'"#)]
pub(super) struct EvalArgs {
    /// The expression; with --template, text with `{{ … }}` inside.
    #[arg(allow_hyphen_values = true)]
    text: String,
    /// The event, or only its `data`: JSON, @FILE, or @- for standard input.
    #[arg(long, value_name = "JSON|@FILE")]
    event: Option<String>,
    /// Treat the text as a template.
    #[arg(long)]
    template: bool,
}

/// Evaluates and prints the value as JSON; the exit code.
pub(super) fn eval(args: &EvalArgs) -> u8 {
    let now = SystemClock::default().wall();
    let given = match args.event.as_deref().map(|event| given::read(event, now)).transpose() {
        Ok(given) => given.unwrap_or_default(),
        Err(reason) => {
            terminal::to_terminal(&format!("engine: {reason}\n"));
            return 2;
        }
    };
    let random = Random::from_entropy();
    let scope = Scope { random: Some(&random), ..given.scope(now) };
    let data = Expr::parse("data", Roots::EVENT).map(|it| it.eval(&scope).to_json());
    terminal::remark(&format!("at {now}, with `data` {}", data.unwrap_or_default()));
    match value(args, &scope) {
        Ok(value) => {
            terminal::to_output(&format!("{value}\n"));
            0
        }
        Err(problems) => {
            expression::tell(&args.text, args.template, problems);
            1
        }
    }
}

fn value(args: &EvalArgs, scope: &Scope<'_>) -> Result<Value, Vec<ExprProblem>> {
    if args.template {
        let template = Template::parse(&args.text, Roots::EVENT)?;
        return Ok(template.value(scope).to_json());
    }
    let expr = Expr::parse(&args.text, Roots::EVENT)?;
    let (value, is_exceeded) = expr.eval_limited(scope);
    if is_exceeded {
        terminal::remark(&format!(
            "{TOO_MUCH_WORK}: more than {ITEMS_MAX} items or {STEPS_MAX} steps, so a part is null"
        ));
    }
    Ok(value.to_json())
}
