//! Arguments → one call → exit code.

use clap::Parser;
use engine::command::{self, Line};
use engine::log::{self, LogFormat};
use std::process::ExitCode;

fn main() -> ExitCode {
    let line = match Line::try_parse_from(command::words(std::env::args_os())) {
        Ok(line) => line,
        Err(error) => {
            // Help and version are asked for; everything else is a mistake of the caller.
            let code = if error.use_stderr() { 2 } else { 0 };
            if code == 2 && log::is_json_wanted(std::env::args_os()) {
                log::start(LogFormat::Json, tracing::Level::INFO).ok();
                log::failure(LogFormat::Json, &error.render().to_string());
            } else {
                command::show(&error, std::env::args_os());
            }
            return ExitCode::from(code);
        }
    };
    ExitCode::from(command::main(line))
}
