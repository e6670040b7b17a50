//! Two instances behind HAProxy, restarted in turn under wrk: no request fails. And sockets that
//! systemd passes.
//!
//! ```text
//!   wrk ──► HAProxy ──────┬──► instance a     SIGTERM ─► /ready says 503 ─► taken out
//!        examples/haproxy └──► instance b             ─► drain delay ─► close ─► started again
//! ```

use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use crate::interop::files;
use crate::process;
use crate::process::Server;
use crate::process::roundtrip;

const RESTARTS: usize = 20;
/// HAProxy's health check. Far below the drain delay, on a busy machine too.
const CHECK_INTERVAL: &str = "50ms";
const DRAIN_DELAY_SECONDS: &str = "0.7";
/// Nothing takes as long.
const SOON: Duration = Duration::from_secs(20);

/// `retries 0` and no `retry-on`: what HAProxy sends to a server that goes away is lost.
#[test]
fn behind_haproxy_that_repeats_nothing() {
    restart_under_load(Some("0"));
}

/// As it is without configuration: it tries again to connect, and nothing else.
#[test]
fn behind_haproxy_with_its_defaults() {
    restart_under_load(None);
}

/// systemd's own program passes two sockets, and starts the server for the first that comes.
#[test]
fn activated_by_systemd() {
    let folder = files::folder();
    let [port, ..] = free_ports();
    let path = folder.path().join("http.sock");
    let mut command = Command::new("systemd-socket-activate");
    command.args([
        "--fdname=web:local",
        "-l",
        &format!("127.0.0.1:{port}"),
        "-l",
    ]);
    command.arg(&path).arg(roundtrip().get_program());
    command.arg("serve").arg(folder.path()).arg("--quiet");
    let log = File::create(folder.path().join("activation.log")).expect("a log");
    let outputs = (log.try_clone().expect("a log"), log);
    command
        .stdin(Stdio::null())
        .stdout(outputs.0)
        .stderr(outputs.1);
    let _server = Running(command.spawn().expect("systemd is installed"));
    wait_for("it listens", || UnixStream::connect(&path).is_ok());
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--max-time", "20"]);
        curl
    };
    let url = format!("http://127.0.0.1:{port}/a.txt");
    let text = process::text(curl().arg(url));
    let local = process::text(curl().arg("--unix-socket").arg(&path).arg("http://a/a.txt"));
    assert_eq!(
        text,
        fs::read_to_string(folder.path().join("a.txt")).expect("a file")
    );
    assert_eq!(local, text);
    let said = fs::read_to_string(folder.path().join("activation.log")).expect("a log");
    for address in [
        format!("http://127.0.0.1:{port}\n"),
        format!("http://unix:{}\n", path.display()),
    ] {
        assert!(said.contains(&format!("listening on {address}")), "{said}");
    }
}

fn restart_under_load(retries: Option<&str>) {
    let folder = files::folder();
    let ports = free_ports();
    let start = |name: usize| instance(folder.path(), ports[name]);
    let mut instances = [start(0), start(1)];
    let proxy = Proxy::start(folder.path(), ports, retries);
    proxy.wait_for("a", "UP");
    proxy.wait_for("b", "UP");
    let load = Load::start(&proxy.url("/a.txt"));
    for restart in 0..RESTARTS {
        let which = restart % 2;
        let name = ["a", "b"][which];
        instances[which].signal("TERM");
        proxy.wait_for(name, "DOWN");
        assert!(instances[which].wait().success());
        instances[which] = start(which);
        proxy.wait_for(name, "UP");
    }
    let said = load.stop();
    let counted = proxy.counters();
    assert!(!said.contains("errors"), "{said}\n{counted:?}");
    assert!(!said.contains("Non-2xx"), "{said}\n{counted:?}");
    assert!(said.contains("requests in"), "{said}");
    assert_eq!(counted, Counters::default(), "{said}");
}

/// `roundtrip serve` on a port of its own.
fn instance(folder: &Path, port: u16) -> Server {
    let mut command = roundtrip();
    command.arg("serve").arg(folder).args(["--quiet"]);
    command.args(["--workers", "1", "--ready", "/ready"]);
    command.args(["--drain-delay", DRAIN_DELAY_SECONDS]);
    command.args(["--addr", &format!("127.0.0.1:{port}")]);
    Server::start(&mut command)
}

/// Ports that nobody listens at now: of two instances and of the proxy. Taken all at once, so that
/// they differ.
pub fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A program that is ended with the test, however that ends.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Proxy {
    _process: Running,
    port: u16,
    statistics: PathBuf,
    log: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("{log}");
        }
    }
}

/// What went wrong, as the proxy counts it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counters {
    /// Connections to instances that failed.
    connection_errors: u64,
    /// Responses that broke off or never came.
    response_errors: u64,
    /// Requests that were sent again, and those that were sent to the other instance.
    retries: u64,
    redispatches: u64,
    /// What the client was told.
    server_errors: u64,
}

impl Proxy {
    fn start(folder: &Path, ports: [u16; 3], retries: Option<&str>) -> Proxy {
        let [a, b, port] = ports;
        let statistics = folder.join("statistics.sock");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/haproxy/haproxy.cfg");
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f", file]);
        command.env("STATS_SOCKET", &statistics);
        command.env("BIND", format!("127.0.0.1:{port}"));
        command.env("SERVER_A", format!("127.0.0.1:{a}"));
        command.env("SERVER_B", format!("127.0.0.1:{b}"));
        command.env("CHECK_INTERVAL", CHECK_INTERVAL);
        if let Some(retries) = retries {
            command.env("RETRIES", retries);
        }
        let log = folder.join("haproxy.log");
        let file = File::create(&log).expect("a log");
        let process = command.stdin(Stdio::null()).stderr(file).spawn();
        let process = Running(process.expect("haproxy is installed"));
        let proxy = Proxy {
            _process: process,
            port,
            statistics,
            log,
        };
        wait_for("HAProxy runs", || {
            UnixStream::connect(&proxy.statistics).is_ok()
        });
        proxy
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The lines of `show stat`, each a list of (column, value).
    fn statistics(&self) -> Vec<Vec<(String, String)>> {
        let mut stream = UnixStream::connect(&self.statistics).unwrap();
        stream.write_all(b"show stat\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let mut lines = text.lines().map(|line| line.split(','));
        let names: Vec<&str> = lines.next().expect("a header").collect();
        let row = |line: std::str::Split<'_, char>| {
            let pairs = names.iter().zip(line);
            pairs
                .map(|(n, v)| ((*n).to_owned(), v.to_owned()))
                .collect()
        };
        lines.map(row).collect()
    }

    /// Waits until an instance is in this state.
    fn wait_for(&self, name: &str, state: &str) {
        wait_for(&format!("{name} is {state}"), || {
            let rows = self.statistics();
            let row = rows.iter().find(|row| value(row, "svname") == name);
            value(row.expect("it is configured"), "status").starts_with(state)
        });
    }

    fn counters(&self) -> Counters {
        let rows = self.statistics();
        let of = |name: &str, column: &str| {
            let found = rows.iter().filter(|row| value(row, "svname") == name);
            let found = found.filter(|row| value(row, "pxname") != "GLOBAL");
            let numbers = found.map(|row| value(row, column).parse::<u64>().unwrap_or(0));
            numbers.sum()
        };
        Counters {
            connection_errors: of("BACKEND", "econ"),
            response_errors: of("BACKEND", "eresp"),
            retries: of("BACKEND", "wretr"),
            redispatches: of("BACKEND", "wredis"),
            server_errors: of("FRONTEND", "hrsp_5xx"),
        }
    }
}

fn value<'a>(row: &'a [(String, String)], column: &str) -> &'a str {
    let found = row
        .iter()
        .find(|(name, _)| name.trim_start_matches("# ") == column);
    found.map_or("", |(_, value)| value)
}

/// Waits until something is so, for [`SOON`] at most.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// wrk until it is told to stop.
struct Load(Running);

impl Load {
    fn start(url: &str) -> Load {
        let mut command = Command::new("wrk");
        command.args([
            "--threads",
            "1",
            "--connections",
            "32",
            "--duration",
            "300s",
        ]);
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::piped());
        Load(Running(command.spawn().expect("wrk is installed")))
    }

    /// Ends it; what it has to say.
    fn stop(mut self) -> String {
        let process = &mut self.0.0;
        assert!(process.try_wait().unwrap().is_none(), "wrk ended early");
        let done = Command::new("kill")
            .args(["-s", "INT", &process.id().to_string()])
            .status();
        assert!(done.expect("kill(1)").success());
        let mut said = String::new();
        let stdout = process.stdout.as_mut().expect("a pipe");
        stdout.read_to_string(&mut said).expect("text");
        said
    }
}
