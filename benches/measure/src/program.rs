//! Programs that are measured: built here, started on their CPU, ended with the one who measures.

use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;

use crate::cpus;
use crate::cpus::Cpu;

/// Runs `cargo build` in a workspace; the first line of its complaint when that fails.
pub fn build(workspace: &Path, arguments: &[&str]) -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["build", "--quiet"])
        .args(arguments)
        .current_dir(workspace)
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with("error"));
    Err(format!("does not build: {}", line.unwrap_or("see cargo")))
}

/// Has a command run on one CPU, and end when this thread does.
pub fn pin(command: &mut Command, cpu: usize) {
    // SAFETY: between fork and exec only async-signal-safe calls are made.
    unsafe {
        command.pre_exec(move || {
            cpus::pin(cpu)?;
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// A program that runs; dropping it ends it.
pub struct Program {
    child: Child,
    /// Kept open: a closed pipe could end the program.
    stdout: BufReader<ChildStdout>,
}

impl Program {
    /// Starts it on one CPU.
    pub fn start(mut command: Command, cpu: usize) -> io::Result<Program> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        pin(&mut command, cpu);
        let mut child = command.spawn()?;
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Ok(Program { child, stdout })
    }

    /// Where it listens, from its next line: `listening on http://ADDRESS`.
    pub fn address(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        match line.trim().strip_prefix("listening on http://") {
            Some(address) => Ok(address.to_owned()),
            None => Err(io::Error::other(format!("does not start: {line:?}"))),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Cpu {
        Cpu::of(self.id())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
