//! What is left when everything is closed and idle, round by round, and whether it grows.
//!
//! ```text
//!   descriptors, operations, connections, buffers     the same as before the first round, exactly
//!   memory allocated, memory resident                 no trend over the rounds
//! ```

use std::fmt::Write as _;
use std::fs;

use crate::heap;
use crate::random::Random;

/// What one core holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Operations whose last completion has not come.
    pub in_flight: u64,
    /// Entries of the table of connections.
    pub connections: usize,
    /// Shared receive buffers that are not with the kernel.
    pub leased: u16,
    /// Completions for slots that were used again: never any.
    pub stale: u64,
}

/// What must be the same after every round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Open descriptors of the process.
    pub descriptors: usize,
    /// The client's core, then those of the server's workers.
    pub cores: Vec<Held>,
}

/// What the memory is like, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub resident: i64,
    pub allocated: i64,
    pub allocations: i64,
}

impl Memory {
    pub fn now() -> Memory {
        heap::trim();
        Memory {
            resident: resident(),
            allocated: heap::bytes(),
            allocations: heap::count(),
        }
    }
}

/// What was done in a round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    pub requests: u64,
    pub connections: u64,
    pub canceled: u64,
    pub aborted: u64,
    pub megabytes: u64,
}

/// One round.
#[derive(Clone, Debug)]
pub struct Round {
    pub work: Work,
    pub memory: Memory,
    pub settled_milliseconds: u128,
}

/// Open descriptors of the process, but for the one that looks and for the files that are served and
/// their folder: the server keeps those for a while.
pub fn descriptors() -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    all.flatten().filter(|fd| !is_served(fd)).count() - 1
}

/// Files that are served and open, and their folder.
pub fn open_files() -> usize {
    let all = fs::read_dir("/proc/self/fd").unwrap();
    all.flatten().filter(is_served).count()
}

fn is_served(fd: &fs::DirEntry) -> bool {
    // The descriptor that looks is gone by the time that its name is asked for.
    fs::read_link(fd.path()).is_ok_and(|path| {
        let is_folder = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b".tmp"));
        is_folder || path.extension() == Some("bin".as_ref())
    })
}

/// VmRSS of proc(5).
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<i64>().unwrap() * 1024
}

/// The growth that is tolerated from the first to the last round: bytes, bytes, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    pub resident: i64,
    pub allocated: i64,
    pub allocations: i64,
}

/// One kind of memory over all rounds.
struct Row {
    name: &'static str,
    first: i64,
    last: i64,
    /// Grown from the first round to the last, by the trend.
    grown: f64,
    tolerated: i64,
}

fn rows(rounds: &[Round], tolerance: Tolerance) -> [Row; 3] {
    let row = |name, of: fn(&Memory) -> i64, tolerated| {
        let values: Vec<i64> = rounds.iter().map(|round| of(&round.memory)).collect();
        Row {
            name,
            first: values[0],
            last: values[values.len() - 1],
            grown: trend(&values) * (values.len() as f64 - 1.0),
            tolerated,
        }
    };
    [
        row("bytes resident", |m| m.resident, tolerance.resident),
        row("bytes allocated", |m| m.allocated, tolerance.allocated),
        row("allocations", |m| m.allocations, tolerance.allocations),
    ]
}

/// What the rounds came to.
pub fn closing_table(rounds: &[Round], tolerance: Tolerance) -> String {
    let head = ["", "first", "last", "trend", "tolerated"];
    let mut text = head.map(|name| format!("{name:>20}")).concat();
    for row in rows(rounds, tolerance) {
        let Row {
            name,
            first,
            last,
            grown,
            tolerated,
        } = row;
        write!(
            text,
            "\n{name:>20}{first:>20}{last:>20}{grown:>20.0}{tolerated:>20}"
        )
        .unwrap();
    }
    text
}

/// Nothing, or what has grown, with figures.
pub fn growth(rounds: &[Round], tolerance: Tolerance) -> Option<String> {
    let connections: u64 = rounds.iter().map(|round| round.work.connections).sum();
    let requests: u64 = rounds.iter().map(|round| round.work.requests).sum();
    let mut text = String::new();
    for row in rows(rounds, tolerance) {
        if row.grown > row.tolerated as f64 {
            let per = |count: u64| row.grown / count.max(1) as f64;
            writeln!(
                text,
                "{}: {:.0} more in {} rounds, {:.4} a connection, {:.4} a request; \
                 {} are tolerated",
                row.name,
                row.grown,
                rounds.len(),
                per(connections),
                per(requests),
                row.tolerated,
            )
            .unwrap();
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Growth per round: the median of the slopes between all pairs of rounds (Theil and Sen). A round
/// that stands out does not move it; a leak that every round adds to does.
fn trend(values: &[i64]) -> f64 {
    let mut slopes = Vec::new();
    for (at, first) in values.iter().enumerate() {
        for (distance, second) in values[at..].iter().enumerate().skip(1) {
            slopes.push((second - first) as f64 / distance as f64);
        }
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

/// The head of the table.
pub const HEAD: &str = "  round  requests  connections  canceled  aborted      MB  \
                        resident KiB  allocated KiB  allocations  settled ms";

impl Round {
    /// A line of the table.
    pub fn line(&self, name: &str) -> String {
        let Work {
            requests,
            connections,
            canceled,
            aborted,
            megabytes,
        } = self.work;
        let Memory {
            resident,
            allocated,
            allocations,
        } = self.memory;
        format!(
            "{name:>7}  {requests:>8}  {connections:>11}  {canceled:>8}  {aborted:>7}  \
             {megabytes:>6}  {:>12}  {:>13}  {allocations:>11}  {:>10}",
            resident / 1024,
            allocated / 1024,
            self.settled_milliseconds
        )
    }
}

fn rounds(memory: impl Fn(i64) -> i64) -> Vec<Round> {
    let round = |at| Round {
        work: Work::default(),
        memory: Memory {
            resident: 50_000_000,
            allocated: memory(at),
            allocations: 0,
        },
        settled_milliseconds: 0,
    };
    (0..20).map(round).collect()
}

const TOLERANCE: Tolerance = Tolerance {
    resident: 100_000,
    allocated: 100_000,
    allocations: 100,
};

/// Up to 100 kB in no order.
fn noise(at: i64) -> i64 {
    Random::new(1, at as u64, 0).below(100_000) as i64
}

#[test]
fn a_leak_is_seen() {
    let leak = rounds(|at| 9_000_000 + at * 8_000 + noise(at));
    let text = growth(&leak, TOLERANCE).unwrap();
    assert!(text.starts_with("bytes allocated: 1"), "{text}");
    assert!(!text.contains("resident"), "{text}");
}

#[test]
fn noise_and_steps_are_none() {
    assert_eq!(growth(&rounds(|at| 9_000_000 + noise(at)), TOLERANCE), None);
    // A list that grew once, in a round that had more of something than those before it.
    let step = |at| 9_000_000 + if at > 3 { 200_000 } else { 0 };
    assert_eq!(growth(&rounds(step), TOLERANCE), None);
    let shrinking = rounds(|at| 9_000_000 - at * 50_000);
    assert_eq!(growth(&shrinking, TOLERANCE), None);
}
