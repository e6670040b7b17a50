//! Runs a program as in a container that refuses io_uring, to see what it does there:
//! `refuse EPERM roundtrip serve`. EPERM is Docker's and Kubernetes' answer, ENOSYS that of a kernel
//! without io_uring, and KILL ends whoever asks.

mod filter;

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::process::ExitCode;

use filter::Answer;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let answer = match arguments.next().as_deref().and_then(|word| word.to_str()) {
        Some("EPERM") => Some(Answer::Errno(libc::EPERM)),
        Some("ENOSYS") => Some(Answer::Errno(libc::ENOSYS)),
        Some("KILL") => Some(Answer::Kill),
        _ => None,
    };
    let (Some(answer), Some(program)) = (answer, arguments.next()) else {
        eprintln!("refuse EPERM|ENOSYS|KILL PROGRAM [ARGUMENT…]");
        return ExitCode::from(2);
    };
    let mut command = Command::new(&program);
    let error = filter::refuse_io_uring(command.args(arguments), answer).exec();
    eprintln!("{}: {error}", program.display());
    ExitCode::FAILURE
}
