//! The load: wrk on CPU 0, and what it says.

use std::process::Command;
use std::time::Instant;

use measure::cpus;
use measure::program;

use crate::server;
use crate::server::Server;

/// The CPU of the load.
pub const LOAD_CPU: usize = 0;

pub struct Workload {
    pub name: &'static str,
    pub title: &'static str,
    connections: u32,
    script: Option<&'static str>,
    pub is_close: bool,
    pub is_echo: bool,
    /// The file that is asked for, and its length.
    pub file: Option<(&'static str, u64)>,
    /// True exactly when the file is on overlayfs.
    pub is_overlaid: bool,
}

const fn keep_alive(name: &'static str, title: &'static str, connections: u32) -> Workload {
    Workload {
        name,
        title,
        connections,
        script: None,
        is_close: false,
        is_echo: false,
        file: None,
        is_overlaid: false,
    }
}

const fn file(
    name: &'static str,
    title: &'static str,
    connections: u32,
    file: (&'static str, u64),
) -> Workload {
    Workload {
        file: Some(file),
        ..keep_alive(name, title, connections)
    }
}

pub const WORKLOADS: &[Workload] = &[
    keep_alive("c1", "1 connection", 1),
    keep_alive("c64", "64 connections", 64),
    keep_alive("c512", "512 connections", 512),
    Workload {
        script: Some("pipeline.lua"),
        ..keep_alive("pipe16", "64 connections, 16 requests pipelined", 64)
    },
    Workload {
        is_close: true,
        ..keep_alive("close", "64 connections, a new one per request", 64)
    },
    Workload {
        is_echo: true,
        script: Some("echo.lua"),
        ..keep_alive("echo64k", "16 connections, 64 KiB echo", 16)
    },
    file(
        "file4k",
        "64 connections, a file of 4 KiB",
        64,
        ("4k.bin", 4 << 10),
    ),
    file(
        "file64k",
        "64 connections, a file of 64 KiB",
        64,
        ("64k.bin", 64 << 10),
    ),
    file(
        "file1m",
        "16 connections, a file of 1 MiB",
        16,
        ("1m.bin", 1 << 20),
    ),
    Workload {
        is_overlaid: true,
        ..file(
            "overlay64k",
            "64 connections, a file of 64 KiB on overlayfs",
            64,
            ("64k.bin", 64 << 10),
        )
    },
    Workload {
        is_overlaid: true,
        ..file(
            "overlay1m",
            "16 connections, a file of 1 MiB on overlayfs",
            16,
            ("1m.bin", 1 << 20),
        )
    },
    file(
        "file100m",
        "4 connections, a file of 100 MiB",
        4,
        ("100m.bin", 100 << 20),
    ),
];

/// What one run showed.
#[derive(Clone, Debug)]
pub struct Run {
    pub requests: u64,
    pub seconds: f64,
    /// Server CPU time, nanoseconds.
    pub cpu_nanos: u64,
    pub user_ticks: u64,
    pub system_ticks: u64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    pub errors: u64,
    /// Share of one CPU that neither the server nor the load used.
    pub others: f64,
}

impl Run {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Server CPU microseconds per request.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu_nanos as f64 / 1e3 / self.requests.max(1) as f64
    }
}

pub fn run(server: &Server, workload: &Workload, seconds: u32) -> Run {
    let mut command = Command::new("wrk");
    command.args(["--latency", "--threads", "1", "--timeout", "5s"]);
    command.args(["--connections", &workload.connections.to_string()]);
    command.args(["--duration", &format!("{seconds}s")]);
    if let Some(script) = workload.script {
        command.arg("--script");
        command.arg(server::workspace().join("scripts").join(script));
    }
    if workload.is_close {
        command.args(["--header", "Connection: close"]);
    }
    let path = workload.file.map_or("", |(name, _)| name);
    command.arg(format!("http://{}/{path}", server.address));
    program::pin(&mut command, LOAD_CPU);
    let before = server.cpu();
    let (busy, load) = (cpus::busy_seconds(), cpus::ended_children_seconds());
    let start = Instant::now();
    let output = command
        .output()
        .expect("wrk is installed (`make bench-peers` does it)");
    let elapsed = start.elapsed().as_secs_f64();
    let after = server.cpu();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "wrk failed: {text}");
    let used = (after.nanos - before.nanos) as f64 / 1e9 + (cpus::ended_children_seconds() - load);
    let (requests, seconds) = requests(&text);
    Run {
        requests,
        seconds,
        cpu_nanos: after.nanos - before.nanos,
        user_ticks: after.user_ticks - before.user_ticks,
        system_ticks: after.system_ticks - before.system_ticks,
        p50_micros: percentile(&text, "50%"),
        p99_micros: percentile(&text, "99%"),
        errors: errors(&text),
        others: ((cpus::busy_seconds() - busy) - used).max(0.0) / elapsed,
    }
}

/// `  148462 requests in 1.01s, 20.81MB read`
fn requests(text: &str) -> (u64, f64) {
    let line = text.lines().find(|line| line.contains(" requests in "));
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    let [count, _, _, time, ..] = words[..] else {
        panic!("wrk said: {text}");
    };
    let time = micros(time.trim_end_matches(',')) / 1e6;
    (count.parse().expect("a count"), time)
}

/// `     99%    5.39ms`
fn percentile(text: &str, name: &str) -> f64 {
    let words = text.lines().map(|line| line.split_whitespace());
    let mut found =
        words.filter_map(|mut words| (words.next() == Some(name)).then(|| words.next()));
    found.next().flatten().map_or(0.0, micros)
}

/// A time as wrk writes it, in microseconds.
fn micros(text: &str) -> f64 {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 60e6)];
    let (unit, factor) = units
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))
        .unwrap_or_else(|| panic!("a time: {text}"));
    let number = text.strip_suffix(unit).unwrap_or_default();
    number.parse::<f64>().expect("a number") * factor
}

/// `  Socket errors: connect 0, read 3, write 0, timeout 0`, `  Non-2xx or 3xx responses: 4`
fn errors(text: &str) -> u64 {
    let lines = text
        .lines()
        .filter(|line| line.contains(" errors:") || line.contains("Non-2xx"));
    let after_colon = lines.filter_map(|line| line.split(':').nth(1));
    let words = after_colon.flat_map(|rest| rest.split([' ', ',']));
    words.filter_map(|word| word.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_wrk_says() {
        let text = "     50%  245.00us\n     99%    5.39ms\n  148462 requests in 1.01s, 2MB read\n\
            \x20 Socket errors: connect 0, read 3, write 0, timeout 1\n  Non-2xx or 3xx responses: 4\n";
        assert_eq!(requests(text), (148_462, 1.01));
        assert_eq!(percentile(text, "50%"), 245.0);
        assert_eq!(percentile(text, "99%"), 5390.0);
        assert_eq!(errors(text), 8);
        assert_eq!(micros("1.50m"), 90e6);
    }
}
