//! One run of a client, and what it says.

use std::fmt;
use std::io::Read as _;
use std::process::Child;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use measure::cpus;
use measure::program;

use crate::Pair;
use crate::client::Kind;
use crate::server::Server;

/// The CPU of the clients.
const CLIENT_CPU: usize = 1;
/// Seconds before what is measured.
const WARM_UP_SECONDS: f64 = 0.3;
/// Seconds in which allocations are counted.
const COUNT_SECONDS: f64 = 0.4;
/// What a client may take above what it was told, before it is ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one run showed.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub requests: f64,
    pub wall_seconds: f64,
    pub user_seconds: f64,
    pub system_seconds: f64,
    pub allocations: Option<f64>,
    pub allocated_bytes: Option<f64>,
    /// Connections that the server accepted, per request.
    pub connections: f64,
    /// Server CPU time per request, microseconds.
    pub server_micros: f64,
    /// Share of one CPU that neither the server nor the client used.
    pub others: f64,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.requests / self.wall_seconds
    }

    /// Client CPU microseconds per request.
    pub fn cpu_micros(&self) -> f64 {
        (self.user_seconds + self.system_seconds) * 1e6 / self.requests.max(1.0)
    }

    /// Client CPU time as a part of the time that passed.
    pub fn load(&self) -> f64 {
        (self.user_seconds + self.system_seconds) / self.wall_seconds
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0}/s, {:.2} us, others {:.0} %",
            self.per_second(),
            self.cpu_micros(),
            self.others * 100.0
        )
    }
}

/// Counts what a client allocates.
pub fn count(server: &mut Server, pair: &Pair) -> Result<Run, String> {
    once(server, pair, Kind::Counting, COUNT_SECONDS)
}

/// How long timing a client takes, about.
pub fn estimate(seconds: f64) -> Duration {
    Duration::from_secs_f64(WARM_UP_SECONDS + seconds + 0.1)
}

/// Times a client.
pub fn time(server: &mut Server, pair: &Pair, seconds: f64) -> Result<Run, String> {
    once(server, pair, Kind::Timed, seconds)
}

fn once(server: &mut Server, pair: &Pair, kind: Kind, seconds: f64) -> Result<Run, String> {
    let mut command = pair.spec.command(kind);
    command.arg(format!("http://{}", server.address()));
    command.args(["--seconds", &seconds.to_string()]);
    command.args(["--warm-up", &WARM_UP_SECONDS.to_string()]);
    command.args(["--in-flight", &pair.workload.in_flight.to_string()]);
    command.args(["--mode", pair.workload.mode]);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    program::pin(&mut command, CLIENT_CPU);
    let connections = |asked| {
        server
            .connections(asked)
            .map_err(|e| format!("server: {e}"))
    };
    let accepted = connections(0)?;
    let (server_before, start) = (server.cpu(), Instant::now());
    let (busy, children) = (cpus::busy_seconds(), cpus::ended_children_seconds());
    let child = command.spawn().map_err(|error| error.to_string())?;
    let limit = Duration::from_secs_f64(WARM_UP_SECONDS + seconds) + PATIENCE;
    let text = output(child, limit)?;
    let elapsed = start.elapsed().as_secs_f64();
    let server_seconds = (server.cpu().nanos - server_before.nanos) as f64 / 1e9;
    let used = server_seconds + cpus::ended_children_seconds() - children;
    let busy = cpus::busy_seconds() - busy;
    let (mut run, warm_up_requests) = parse(&text)?;
    let all = run.requests + warm_up_requests;
    run.connections = (connections(1)? - accepted) as f64 / all;
    run.server_micros = server_seconds * 1e6 / all;
    run.others = (busy - used).max(0.0) / elapsed;
    if !pair.workload.keeps() && run.connections < 1.0 {
        return Err(format!("{:.3} connections per request", run.connections));
    }
    Ok(run)
}

/// What a client prints; it is ended when it takes too long.
fn output(mut child: Child, limit: Duration) -> Result<String, String> {
    let (sender, receiver) = mpsc::channel();
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stderr = child.stderr.take().expect("a pipe");
    // It prints little: a pipe holds all of it.
    let reader = std::thread::spawn(move || {
        let (mut text, mut complaint) = (String::new(), String::new());
        let _ = stdout.read_to_string(&mut text);
        let _ = stderr.read_to_string(&mut complaint);
        let _ = sender.send((text, complaint));
    });
    let said = receiver.recv_timeout(limit);
    if said.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let _ = reader.join();
    let (text, complaint) = said.map_err(|_| format!("took longer than {limit:?}"))?;
    match status.success() {
        true => Ok(text),
        false => Err(format!(
            "{status}: {}",
            complaint.lines().next().unwrap_or_default()
        )),
    }
}

/// `requests=1234 warm_up_requests=56 wall_seconds=2.000012 …`: the run, and what it did before.
fn parse(text: &str) -> Result<(Run, f64), String> {
    let find = |name: &str| {
        let pairs = text
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        let mut found = pairs.filter(|(key, _)| *key == name);
        found
            .next()
            .and_then(|(_, value)| value.parse::<f64>().ok())
    };
    let need = |name: &str| find(name).ok_or_else(|| format!("no {name} in {text:?}"));
    let run = Run {
        requests: need("requests")?,
        wall_seconds: need("wall_seconds")?,
        user_seconds: need("user_seconds")?,
        system_seconds: need("system_seconds")?,
        allocations: find("allocations"),
        allocated_bytes: find("allocated_bytes"),
        ..Run::default()
    };
    match run.requests > 0.0 && run.wall_seconds > 0.0 {
        true => Ok((run, need("warm_up_requests")?)),
        false => Err("no requests".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn reads_what_a_client_says() {
        let text = "requests=100 warm_up_requests=7 wall_seconds=2.0 user_seconds=0.25 \
            system_seconds=0.75 allocations=300\n";
        let (run, before) = parse(text).unwrap();
        assert_eq!((run.per_second(), run.cpu_micros()), (50.0, 10_000.0));
        assert_eq!((run.load(), before), (0.5, 7.0));
        assert_eq!((run.allocations, run.allocated_bytes), (Some(300.0), None));
        assert!(parse("requests=100").is_err());
        assert!(parse(&text.replace("=100", "=0")).is_err());
    }

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    #[test]
    fn a_client_that_fails_says_why() {
        let long = Duration::from_secs(20);
        assert_eq!(output(shell("echo a"), long).unwrap(), "a\n");
        let error = output(shell("echo a; echo why >&2; exit 1"), long).unwrap_err();
        assert!(error.ends_with("why"), "{error}");
    }

    #[test]
    fn a_client_that_hangs_is_ended() {
        let error = output(shell("exec sleep 60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.starts_with("took longer"), "{error}");
    }
}
