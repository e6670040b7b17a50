//! Limits, processors and the kernel's name.

use nix::sched::CpuSet;
use nix::sched::sched_getaffinity;
use nix::sched::sched_setaffinity;
use nix::sys::resource::Resource;
use nix::sys::resource::UsageWho;
use nix::sys::resource::getrlimit;
use nix::sys::resource::getrusage;
use nix::sys::resource::setrlimit;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;

/// Raises the soft limits of open descriptors and locked memory to the hard ones. A refusal is no
/// error: what is too little shows where it is needed, with its number.
pub fn raise_soft_limits() {
    for resource in [Resource::RLIMIT_NOFILE, Resource::RLIMIT_MEMLOCK] {
        if let Ok((soft, hard)) = getrlimit(resource)
            && soft < hard
        {
            let _ = setrlimit(resource, hard, hard);
        }
    }
}

/// Soft and hard limit of locked memory in bytes (RLIMIT_MEMLOCK); `u64::MAX` is "unlimited".
pub fn memlock_limit() -> (u64, u64) {
    getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0))
}

/// Soft and hard limit of open descriptors (RLIMIT_NOFILE).
pub fn file_descriptor_limit() -> (u64, u64) {
    getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0))
}

/// How often this thread has waited for something since it began; what was taken from it for others to
/// run does not count (getrusage(2), RUSAGE_THREAD, `ru_nvcsw`).
pub fn waits_of_thread() -> i64 {
    simulated!(calls::now().map(|_| 0));
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.voluntary_context_switches())
}

/// Gives memory that the C library keeps for later back to the system; with another than glibc it does
/// nothing. Holds up who allocates meanwhile, for about a millisecond per 10 MiB.
pub fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a number; malloc_trim(3) may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The processors that this thread may run on, in ascending order.
pub fn affinity() -> Vec<usize> {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count())
            .filter(|cpu| set.is_set(*cpu).unwrap_or(false))
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// Pins the calling thread to one processor. A refusal leaves it where it may run now.
pub fn pin_to(cpu: usize) {
    run_on(&[cpu]);
}

/// Lets the calling thread run on these processors. A refusal leaves it where it may run now.
pub fn run_on(processors: &[usize]) {
    let mut set = CpuSet::new();
    if processors.iter().all(|cpu| set.set(*cpu).is_ok()) {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Keeps SIGXFSZ from this thread and those that it starts: a write beyond the limit of file sizes
/// (RLIMIT_FSIZE) is then an error, and nothing else.
pub fn block_file_size_signal() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    signals
        .thread_block()
        .expect("a known signal can be blocked");
}

/// The kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> String {
    match nix::sys::utsname::uname() {
        Ok(name) => name.release().to_string_lossy().into_owned(),
        Err(_) => "unknown".to_owned(),
    }
}
