//! `engine explain`: what a code means.

use crate::report;
use clap::Args;
use std::io::Write;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The code.
    code: String,
}

/// Explains; the exit code.
pub(super) fn explain(args: &ExplainArgs) -> u8 {
    let code = &args.code;
    let rule = stages::diagnostic::Rule::ALL.iter().find(|it| it.code().eq_ignore_ascii_case(code));
    match rule {
        Some(rule) => {
            let lines = rule.explanation().lines().map(|it| format!("{}\n", it.trim()));
            report::to_output(&format!("{}\n\n{}", rule.code(), lines.collect::<String>()));
            0
        }
        None => {
            let mut error = std::io::stderr().lock();
            writeln!(error, "engine: there is no code `{code}`").ok();
            2
        }
    }
}
