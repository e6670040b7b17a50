//! The clients: how each is built, and what it is called.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use measure::program;

use crate::workload::Workload;

pub struct Spec {
    pub name: &'static str,
    /// Of this workspace; none for Go.
    package: Option<&'static str>,
    binary: &'static str,
    /// True for one that has one request in flight.
    is_blocking: bool,
}

const fn rust(name: &'static str, package: &'static str, is_blocking: bool) -> Spec {
    Spec {
        name,
        package: Some(package),
        binary: package,
        is_blocking,
    }
}

/// The client that the ratios are told against, and the other.
pub const BASES: [&str; 2] = ["go", "hyper-util"];

pub const CLIENTS: &[Spec] = &[
    rust("roundtrip", "client-roundtrip", false),
    Spec {
        binary: "client-roundtrip-blocking",
        ..rust("roundtrip-blocking", "client-roundtrip", true)
    },
    Spec {
        name: "go",
        package: None,
        binary: "client-go",
        is_blocking: false,
    },
    rust("hyper-util", "client-hyper", false),
    rust("reqwest", "client-reqwest", false),
    rust("ureq", "client-ureq", true),
    rust("libcurl", "client-curl", false),
    rust("monoio-http", "client-monoio", false),
];

/// Which of the two programs of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Timed,
    /// Counts allocations. Go's always does.
    Counting,
}

impl Spec {
    pub fn takes(&self, workload: &Workload) -> bool {
        workload.in_flight == 1 || !self.is_blocking
    }

    pub fn command(&self, kind: Kind) -> Command {
        let folder = match (kind, self.package) {
            (Kind::Counting, Some(_)) => "count",
            _ => "release",
        };
        let mut command = Command::new(target().join(folder).join(self.binary));
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
    }

    fn build(&self) -> Result<(), String> {
        let Some(package) = self.package else {
            return build_go(&target().join("release").join(self.binary));
        };
        program::build(&workspace(), &["--release", "--package", package])?;
        let counting = ["--profile", "count", "--features", "count"];
        let arguments = [&counting[..], &["--package", package]].concat();
        program::build(&workspace(), &arguments)
    }
}

/// The workspace of the clients.
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    let elsewhere = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    elsewhere.unwrap_or_else(|| workspace().join("target"))
}

/// Builds every client by itself, so that one that fails is named and skipped; and the server.
pub fn build_all(specs: &[&'static Spec]) -> (Vec<&'static Spec>, Vec<(&'static str, String)>) {
    let mut ready = Vec::new();
    let mut skipped = Vec::new();
    eprintln!("building the server");
    let server = ["--release", "--package", "client-server"];
    if let Err(error) = program::build(&workspace(), &server) {
        crate::fail(&format!("server: {error}"));
    }
    for spec in specs {
        eprintln!("building {}", spec.name);
        match spec.build() {
            Ok(()) => ready.push(*spec),
            Err(error) => skipped.push((spec.name, error)),
        }
    }
    (ready, skipped)
}

/// The Go tool: what `make bench-clients` installed, or the system's.
fn go() -> PathBuf {
    let installed = workspace().join("../../target/go/bin/go");
    match fs::canonicalize(installed) {
        Ok(installed) => installed,
        Err(_) => PathBuf::from("go"),
    }
}

/// Its version, for the report.
pub fn go_version() -> String {
    let output = Command::new(go()).arg("version").output();
    let output = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    output.unwrap_or_else(|_| "no go".to_owned())
}

/// Builds Go's client. It needs the standard library alone: nothing is downloaded.
fn build_go(binary: &Path) -> Result<(), String> {
    let target = target();
    fs::create_dir_all(&target).map_err(|error| error.to_string())?;
    let target = fs::canonicalize(target).map_err(|error| error.to_string())?;
    let binary = target
        .join("release")
        .join(binary.file_name().unwrap_or_default());
    let output = Command::new(go())
        .args(["build", "-trimpath", "-o"])
        .arg(binary)
        .arg(".")
        .current_dir(workspace().join("go"))
        .envs([
            ("GOFLAGS", ""),
            ("GOPROXY", "off"),
            ("GOTOOLCHAIN", "local"),
        ])
        .envs([
            ("CGO_ENABLED", "0"),
            ("GO111MODULE", "on"),
            ("GOWORK", "off"),
        ])
        .env("GOCACHE", target.join("go-cache"))
        .env("GOPATH", target.join("go-path"))
        .output()
        .map_err(|error| format!("go: {error} (`make bench-clients` installs it)"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!(
        "does not build: {}",
        text.lines().take(3).collect::<Vec<_>>().join(" ")
    ))
}
