//! The commands, and what they share: one clear line for an error, an exit code other than 0.

mod doctor;
mod get;
mod serve;

use std::process::ExitCode;

use clap::Parser;
use clap::Subcommand;

/// HTTP server and client on io_uring.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the files of a directory.
    Serve(serve::Arguments),
    /// Fetch URLs through one client.
    Get(Box<get::Arguments>),
    /// Say what this system's io_uring offers, or why there is none and what to do.
    Doctor,
}

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Doctor => doctor::run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Writes an error to standard error, in one line.
fn complain(error: &dyn std::fmt::Display) {
    let text = error.to_string().replace(['\r', '\n'], " ");
    eprintln!("roundtrip: {text}");
}
