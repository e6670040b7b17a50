//! CPUs: who runs where, and what was used.

use std::fs;
use std::io;
use std::path::PathBuf;

/// A run during which other processes used more than this share of a CPU is repeated, and marked
/// if it stays so.
pub const OTHERS_MAX: f64 = 0.15;

/// CPU time of a process: the sum is exact; the split comes from ticks of 10 ms.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    pub nanos: u64,
    pub user_ticks: u64,
    pub system_ticks: u64,
}

impl Cpu {
    /// CPU time that a running process has used so far, all of its threads together.
    pub fn of(process: u32) -> Cpu {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let mut nanos = 0;
        for task in fs::read_dir(folder.join("task")).expect("the process runs") {
            let path = task.expect("a task").path().join("schedstat");
            let text = fs::read_to_string(path).unwrap_or_default();
            let first = text.split_whitespace().next().unwrap_or("0");
            nanos += first.parse::<u64>().expect("nanoseconds");
        }
        let stat = fs::read_to_string(folder.join("stat")).expect("the process runs");
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("ticks");
        Cpu {
            nanos,
            user_ticks: ticks(11),
            system_ticks: ticks(12),
        }
    }
}

/// Pins the calling thread.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: a zeroed set is empty; the kernel reads it during the call only.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One CPU for the servers and one for the load.
pub fn check() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(cpus > 1, "two CPUs are needed");
}

/// CPU time of children that have ended and were waited for, seconds.
pub fn ended_children_seconds() -> f64 {
    // SAFETY: a zeroed rusage is valid, and the kernel fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Busy time of all CPUs, including what the host took (steal), seconds.
pub fn busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].map(|index| fields.get(index).copied().unwrap_or(0.0));
    busy.iter().sum::<f64>() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_this_process_uses() {
        let before = (Cpu::of(std::process::id()).nanos, busy_seconds());
        let mut sum = 0_u64;
        while Cpu::of(std::process::id()).nanos < before.0 + 50_000_000 {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 7);
        }
        assert!(busy_seconds() > before.1);
    }
}
