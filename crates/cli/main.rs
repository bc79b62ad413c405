//! The `agenttrace` command: opens files, shows progress, sets exit codes.

mod args;
mod cmd;
mod context;
mod enough;
mod input;
mod output;
mod pipeline;
mod progress;
mod snapshot;
mod symbols;
mod temp_file;

use std::process::ExitCode;

use crate::args::Command;

fn main() -> ExitCode {
    let cli = args::parse();
    let done = match &cli.command {
        Command::Analyze(args) => cmd::analyze::run(args),
        Command::Check(args) => cmd::check::run(args),
        Command::Flamegraph(args) => cmd::flamegraph::run(args),
        Command::Hist(args) => cmd::hist::run(args),
        Command::Export(args) => cmd::export::run(args),
        Command::Dump(args) => cmd::dump::run(args),
        Command::Context(args) => cmd::context::run(args),
        Command::Cut(args) => cmd::cut::run(args),
    };
    match done {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(format_args!("agenttrace: {error:#}"));
            ExitCode::from(2)
        }
    }
}
