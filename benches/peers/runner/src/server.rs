//! The servers: how each is built, started on its CPU, and what CPU time it has used.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use measure::cpus::Cpu;
use measure::program;
use measure::program::Program;

use crate::load::Workload;
use crate::nginx;

/// The CPU of the servers.
const SERVER_CPU: usize = 1;

pub struct Spec {
    pub name: &'static str,
    package: &'static str,
    /// The binary that answers `GET /`, and its arguments before the address.
    binary: &'static str,
    arguments: &'static [&'static str],
    /// `ROUNDTRIP_ENGINE`, if it is to be one of ours.
    engine: Option<&'static str>,
    /// The binary that answers `POST /echo`, if any.
    echo: Option<&'static str>,
    /// The arguments of the form that closes after each answer, if it does.
    close: Option<&'static [&'static str]>,
    /// How it serves files, if it does.
    files: Files,
    pub is_ceiling: bool,
}

enum Files {
    No,
    /// A binary of ours, told the folder.
    Binary(&'static str),
    /// A program of the system, which does nothing else here.
    Nginx,
}

const fn peer(name: &'static str, package: &'static str) -> Spec {
    Spec {
        name,
        package,
        binary: package,
        arguments: &[],
        engine: None,
        echo: Some(package),
        close: Some(&[]),
        files: Files::No,
        is_ceiling: false,
    }
}

const fn ceiling(
    name: &'static str,
    arguments: &'static [&'static str],
    close: Option<&'static [&'static str]>,
) -> Spec {
    Spec {
        name,
        package: "peer-ceiling",
        binary: "peer-ceiling",
        arguments,
        engine: None,
        echo: None,
        close,
        files: Files::No,
        is_ceiling: true,
    }
}

const fn roundtrip(name: &'static str, engine: &'static str) -> Spec {
    Spec {
        binary: "peer-roundtrip-hello",
        engine: Some(engine),
        echo: Some("peer-roundtrip-echo"),
        files: Files::Binary("peer-roundtrip-files"),
        ..peer(name, "peer-roundtrip")
    }
}

pub const SERVERS: &[Spec] = &[
    roundtrip("roundtrip", "io_uring"),
    roundtrip("roundtrip-epoll", "epoll"),
    // Our connections without our HTTP: not a server, but no ceiling either.
    Spec {
        binary: "peer-roundtrip-net",
        echo: None,
        close: None,
        ..roundtrip("roundtrip-net", "io_uring")
    },
    peer("hyper", "peer-hyper"),
    peer("axum", "peer-axum"),
    peer("actix-web", "peer-actix"),
    peer("ntex", "peer-ntex"),
    // It does not close when asked to.
    Spec {
        close: None,
        ..peer("monoio-http", "peer-monoio")
    },
    Spec {
        files: Files::Nginx,
        ..peer("nginx", "")
    },
    ceiling("loop-epoll", &["epoll"], Some(&["epoll-close"])),
    ceiling("loop-oneshot", &["oneshot"], Some(&["oneshot-close"])),
    ceiling("loop-multishot", &["multishot"], None),
    ceiling("loop-multishot-send2", &["multishot-send2"], None),
];

impl Spec {
    /// True for a program that is not built here.
    pub fn is_installed(&self) -> bool {
        matches!(self.files, Files::Nginx)
    }

    /// True for a server that answers `POST /echo`.
    pub fn takes_bodies(&self) -> bool {
        self.echo.is_some()
    }

    pub fn takes(&self, workload: &Workload) -> bool {
        match (&self.files, workload.file) {
            (Files::No, Some(_)) | (Files::Nginx, None) => return false,
            (_, Some(_)) => return true,
            (_, None) => {}
        }
        (!workload.is_echo || self.echo.is_some()) && (!workload.is_close || self.close.is_some())
    }
}

impl Spec {
    fn command(&self, workload: &Workload) -> Command {
        let binary = match (workload.is_echo, self.echo) {
            (true, Some(echo)) => echo,
            _ => self.binary,
        };
        let arguments = match (workload.is_close, self.close) {
            (true, Some(close)) => close,
            _ => self.arguments,
        };
        let mut command = Command::new(workspace().join("target/release").join(binary));
        command.args(arguments).args(["127.0.0.1:0", "1"]);
        command
    }
}

/// The workspace of the peers.
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Builds every package by itself, so that one that fails is named and skipped.
pub fn build_all(specs: &[&'static Spec]) -> (Vec<&'static Spec>, Vec<(&'static str, String)>) {
    let mut ready: Vec<&'static Spec> = Vec::new();
    let mut skipped: Vec<(&'static str, String)> = Vec::new();
    let mut last: Option<(&str, Result<(), String>)> = None;
    for spec in specs {
        let built = match &last {
            _ if spec.is_installed() => Ok(()),
            Some((package, built)) if *package == spec.package => built.clone(),
            _ => build(spec.package),
        };
        last = Some((spec.package, built.clone()));
        match built {
            Ok(()) => ready.push(spec),
            Err(error) => skipped.push((spec.name, error)),
        }
    }
    (ready, skipped)
}

fn build(package: &str) -> Result<(), String> {
    eprintln!("building {package}");
    let arguments = ["--release", "--package", package];
    program::build(&workspace(), &arguments)
}

/// A server that runs; dropping it ends it.
pub struct Server {
    pub spec: &'static Spec,
    pub address: String,
    program: Program,
}

impl Server {
    pub fn start(spec: &'static Spec, workload: &Workload) -> io::Result<Server> {
        let (command, fixed) = match (&spec.files, workload.file) {
            (Files::Nginx, _) => {
                let (command, address) = nginx::command(workload.is_overlaid)?;
                (command, Some(address))
            }
            (Files::Binary(binary), Some(_)) => {
                let mut command = Command::new(workspace().join("target/release").join(binary));
                command
                    .arg(nginx::root(workload.is_overlaid)?)
                    .args(["127.0.0.1:0", "1"]);
                (command, None)
            }
            _ => (spec.command(workload), None),
        };
        let mut command = command;
        command.envs(spec.engine.map(|engine| ("ROUNDTRIP_ENGINE", engine)));
        let mut program = Program::start(command, SERVER_CPU)?;
        let address = match fixed {
            Some(address) => {
                nginx::wait_for(&address)?;
                address
            }
            None => program.address()?,
        };
        Ok(Server {
            spec,
            address,
            program,
        })
    }

    /// CPU time used so far.
    pub fn cpu(&self) -> Cpu {
        self.program.cpu()
    }

    /// Memory in use (RSS), bytes.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.program.id());
        let status = fs::read_to_string(path).expect("the server runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.map_or(0, |kib| kib.parse::<u64>().expect("KiB") * 1024)
    }
}
