//! Arguments → one call → exit code.

use clap::Parser;
use engine::command::{self, Line};
use std::process::ExitCode;

fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help and version are asked for; everything else is a mistake of the caller.
            let code = if error.use_stderr() { 2 } else { 0 };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    ExitCode::from(command::main(line))
}
