//! The server that answers them all.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use measure::cpus::Cpu;
use measure::program::Program;

use crate::client;

/// The CPU of the server.
const SERVER_CPU: usize = 0;
/// As many as it prints.
const PORTS: usize = 16;

/// A server that runs; dropping it ends it.
pub struct Server {
    program: Program,
    addresses: Vec<String>,
    next: usize,
}

impl Server {
    pub fn start() -> io::Result<Server> {
        let command = Command::new(client::target().join("release/client-server"));
        let mut program = Program::start(command, SERVER_CPU)?;
        let addresses = (0..PORTS).map(|_| program.address());
        Ok(Server {
            addresses: addresses.collect::<io::Result<_>>()?,
            program,
            next: 0,
        })
    }

    /// One of its addresses: of all, the one that was used least recently.
    pub fn address(&mut self) -> String {
        self.next = (self.next + 1) % self.addresses.len();
        self.addresses[self.next].clone()
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Cpu {
        self.program.cpu()
    }

    /// Connections accepted so far, without those that asked for this.
    pub fn connections(&self, asked: u64) -> io::Result<u64> {
        let mut stream = TcpStream::connect(&self.addresses[0])?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /connections HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let count = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
        let count: u64 = count.parse().map_err(io::Error::other)?;
        Ok(count - asked)
    }
}
