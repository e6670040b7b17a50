//! `roundtrip doctor`: what this system's io_uring offers.

use std::io::Write as _;
use std::process::ExitCode;

use roundtrip::Result;
use roundtrip::runtime::Diagnosis;

/// Prints the diagnosis. The exit code is 0 only if servers and clients can run here.
pub fn run() -> Result<ExitCode> {
    let diagnosis = Diagnosis::run();
    write!(std::io::stdout(), "{diagnosis}")?;
    Ok(match diagnosis.ring {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
