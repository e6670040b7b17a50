//! `roundtrip doctor`: what io_uring and epoll offer here, and which is chosen.

use std::process::ExitCode;

use clap::Args;
use roundtrip::runtime::Diagnosis;
use roundtrip::runtime::Engine;

use crate::cli::Failure;
use crate::cli::console::Console;

/// Docker's default profile and the three calls of io_uring: who has the binary alone needs it too.
const SECCOMP_PROFILE: &str = include_str!("../../examples/seccomp.json");

/// Diagnoses.
#[derive(Args)]
pub struct Arguments {
    /// Print a seccomp profile that allows io_uring, for `docker run --security-opt
    /// seccomp=FILE`, instead of the diagnosis.
    #[arg(long)]
    seccomp_profile: bool,
}

/// Prints the diagnosis. It is a success only if servers and clients can run here.
pub fn run(arguments: &Arguments, engine: Engine) -> Result<ExitCode, Failure> {
    if arguments.seccomp_profile {
        print(SECCOMP_PROFILE)?;
        return Ok(ExitCode::SUCCESS);
    }
    let diagnosis = Diagnosis::run(engine);
    print(&diagnosis.to_string())?;
    Ok(match diagnosis.choice {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn print(text: &str) -> Result<(), Failure> {
    let stdout = Console::stdout();
    let written = stdout.write_as_is(text.as_bytes());
    let written = written.and_then(|()| stdout.close());
    written.map_err(|error| Failure::new(1, format!("cannot write standard output: {error}")))
}
