//! What each engine could do here, or why it cannot be had, and what to change.

use std::fmt;
use std::fs;
use std::io;

use crate::ring::engine;
use crate::ring::engine::Engine;
use crate::ring::engine::EngineChoice;
use crate::ring::epoll;
use crate::ring::errno::Errno;
use crate::ring::errno::NO_WATCH;
use crate::ring::setup::Features;
use crate::ring::setup::RingOptions;
use crate::ring::sys;
use crate::ring::uring;

/// The oldest kernel that has all that is used (DEFER_TASKRUN).
pub const KERNEL_MIN: &str = "6.1";

/// What can be read about this system without a ring.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// As `uname -r` prints it.
    pub kernel_release: String,
    /// The sysctl kernel.io_uring_disabled: 0 everybody, 1 a group, 2 nobody; `None` before 6.6.
    pub io_uring_disabled: Option<u32>,
    /// seccomp mode of this process: 0 none, 2 a filter.
    pub seccomp_mode: Option<u32>,
    /// Soft and hard limit of locked memory in bytes.
    pub memlock_limit: (u64, u64),
    /// Soft and hard limit of open descriptors.
    pub file_descriptor_limit: (u64, u64),
}

impl Surroundings {
    /// Reads them.
    pub fn read() -> Surroundings {
        let number = |path| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let seccomp_mode = status
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp:"))
            .and_then(|value| value.trim().parse().ok());
        Surroundings {
            kernel_release: sys::kernel_release(),
            io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
            seccomp_mode,
            memlock_limit: sys::memlock_limit(),
            file_descriptor_limit: sys::file_descriptor_limit(),
        }
    }

    fn memlock(&self) -> String {
        match self.memlock_limit.0 {
            u64::MAX => "unlimited".to_owned(),
            bytes => format!("{} KiB", bytes / 1024),
        }
    }
}

impl fmt::Display for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel {} (minimum {KERNEL_MIN})", self.kernel_release)?;
        match self.io_uring_disabled {
            Some(value) => write!(f, ", kernel.io_uring_disabled={value}")?,
            None => write!(f, ", kernel.io_uring_disabled absent")?,
        }
        match self.seccomp_mode {
            Some(mode) => write!(f, ", seccomp mode {mode}")?,
            None => write!(f, ", seccomp mode unknown")?,
        }
        write!(f, ", memlock {}", self.memlock())
    }
}

/// Why a ring could not be set up: one line with errno, surroundings and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    text: String,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// io_uring may not be used, or this kernel's is too old.
    Refused,
    /// More memory would have been locked than may be (RLIMIT_MEMLOCK).
    Memory,
    /// No descriptor is left (RLIMIT_NOFILE, fs.file-max).
    Descriptors,
    Other,
}

impl Cause {
    /// Of a call of io_uring.
    fn of(errno: Errno) -> Cause {
        match errno {
            Errno::EPERM | Errno::EACCES | Errno::ENOSYS | Errno::EINVAL => Cause::Refused,
            Errno::ENOMEM => Cause::Memory,
            Errno::EMFILE | Errno::ENFILE => Cause::Descriptors,
            _ => Cause::Other,
        }
    }
}

impl SetupError {
    /// A text of our own, for a choice that cannot be kept.
    pub(super) fn new(text: String) -> SetupError {
        let cause = Cause::Other;
        SetupError { text, cause }
    }

    /// Of a system call that an io_uring is made with.
    pub(super) fn io_uring(error: io::Error) -> SetupError {
        let errno = Errno::from_io(&error);
        let surroundings = Surroundings::read();
        let remedy = remedy(errno, &surroundings);
        SetupError {
            text: format!("cannot set up io_uring: {errno:?}; {surroundings}; {remedy}"),
            cause: Cause::of(errno),
        }
    }

    /// Of a kernel that lacks operations.
    pub(super) fn missing_operations(names: &[&str]) -> SetupError {
        let text = format!(
            "this kernel's io_uring lacks {}; {}; run kernel {KERNEL_MIN} or newer",
            names.join(", "),
            Surroundings::read()
        );
        let cause = Cause::Refused;
        SetupError { text, cause }
    }

    /// Of a system call that something else of a core is made with.
    pub(super) fn other(what: &str, error: io::Error) -> SetupError {
        let errno = Errno::from_io(&error);
        let (cause, remedy) = match Cause::of(errno) {
            Cause::Descriptors => (Cause::Descriptors, remedy(errno, &Surroundings::read())),
            _ if errno == Errno::ENOSPC => (Cause::Other, NO_WATCH.to_owned()),
            _ => (Cause::Other, error.to_string()),
        };
        let text = format!("cannot set up {what}: {errno:?}; {remedy}");
        SetupError { text, cause }
    }

    /// True when more memory would have been locked than may be (RLIMIT_MEMLOCK).
    pub fn is_memory(&self) -> bool {
        self.cause == Cause::Memory
    }

    /// True when no descriptor was left (RLIMIT_NOFILE, fs.file-max).
    pub fn is_descriptors(&self) -> bool {
        self.cause == Cause::Descriptors
    }

    /// True when io_uring may not be used here, or is too old: where epoll serves unless io_uring is
    /// asked for.
    pub fn is_refused(&self) -> bool {
        self.cause == Cause::Refused
    }
}

/// Of a system call beside the ring's own that a core cannot do without.
impl From<io::Error> for SetupError {
    fn from(error: io::Error) -> SetupError {
        SetupError::other("a core", error)
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SetupError {}

const CONTAINER_REMEDY: &str = "a container runtime or sandbox filters the calls: allow io_uring_setup, io_uring_enter and io_uring_register, e.g. \
     `docker run --security-opt seccomp=examples/seccomp.json …`, or in Kubernetes \
     securityContext.seccompProfile {type: Localhost, localhostProfile: seccomp.json}";

fn remedy(errno: Errno, surroundings: &Surroundings) -> String {
    let disabled = surroundings.io_uring_disabled.unwrap_or(0);
    match errno {
        Errno::EPERM if disabled > 0 => format!(
            "the sysctl forbids it: run `sysctl kernel.io_uring_disabled=0`{}",
            if disabled == 1 { ", or put the user into the group of kernel.io_uring_group" } else { "" }
        ),
        Errno::EPERM | Errno::EACCES => CONTAINER_REMEDY.to_owned(),
        Errno::ENOSYS if surroundings.seccomp_mode == Some(2) => CONTAINER_REMEDY.to_owned(),
        Errno::ENOSYS => {
            format!("the kernel is built without io_uring: run {KERNEL_MIN} or newer with CONFIG_IO_URING=y")
        }
        Errno::ENOMEM => "memory may not be locked: raise RLIMIT_MEMLOCK (`ulimit -l`, \
             LimitMEMLOCK= of systemd, `docker run --ulimit memlock=…`); a worker needs about 200 KiB, \
             32 with the smallest queues, charged per user over all processes; or run on epoll, which \
             locks none: ROUNDTRIP_ENGINE=epoll, `--engine epoll`"
            .to_owned(),
        Errno::EINVAL => format!("the kernel is too old: run {KERNEL_MIN} or newer"),
        Errno::EMFILE => format!(
            "no descriptor of {} is left: raise RLIMIT_NOFILE (`ulimit -n`); a core needs two on either \
             engine, beside its listeners and connections",
            surroundings.file_descriptor_limit.0
        ),
        Errno::ENFILE => "the system has no descriptor left: raise the sysctl fs.file-max".to_owned(),
        _ => "see io_uring_setup(2)".to_owned(),
    }
}

/// What epoll's calls were found to do. What is not there is done by older calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EpollFeatures {
    /// epoll_pwait2(2) (5.11); without it waits are rounded up to whole milliseconds.
    pub epoll_pwait2: bool,
    /// preadv2(2) with RWF_NOWAIT (4.14), of the file that is running; without it, as on overlayfs, what
    /// is local is sent as if it were in memory.
    pub read_nowait: bool,
    /// openat2(2) (5.6), which opens files beneath a root; without it, they are opened name by name.
    pub openat2: bool,
    /// Descriptors that all processes of a user may have registered at once (the sysctl
    /// fs.epoll.max_user_watches).
    pub watches_max: Option<u64>,
}

/// What `roundtrip doctor` prints: surroundings, and what each engine could do here, or why there is
/// none.
#[derive(Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// What can be read without a ring.
    pub surroundings: Surroundings,
    /// What a worker's ring was found to do on io_uring; `None` where epoll is asked for: none of
    /// io_uring's calls is made then.
    pub io_uring: Option<Result<Features, SetupError>>,
    /// What epoll's calls do.
    pub epoll: Result<EpollFeatures, SetupError>,
    /// What would be chosen; an error where no ring could be made.
    pub choice: Result<EngineChoice, SetupError>,
}

impl Diagnosis {
    /// Sets up a worker's ring on each engine, tests it, and throws it away: what a process would find
    /// whose code asks for `engine`. Decides nothing for this one.
    pub fn run(engine: Engine) -> Diagnosis {
        let asked = engine::asked(engine);
        let io_uring = match asked {
            Ok((Engine::Epoll, _)) => None,
            _ => Some(uring::new_ring(RingOptions::WORKER).map(|ring| ring.features())),
        };
        let epoll = epoll::features();
        let choice = asked.and_then(|asked| {
            let first = io_uring.clone().map(|made| made.map(drop));
            let second = epoll.clone().map(drop);
            let decided = engine::decide(asked, || first.expect("it was tried"), || second);
            decided.map(|((), choice)| choice)
        });
        Diagnosis {
            surroundings: Surroundings::read(),
            io_uring,
            epoll,
            choice,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<27}{value}");
        let yes = |on| if on { "yes" } else { "no" };
        let known = |value: Option<u64>| value.map_or("absent".to_owned(), |v| v.to_string());
        let here = &self.surroundings;
        line("kernel", &here.kernel_release)?;
        line(
            "kernel.io_uring_disabled",
            &known(here.io_uring_disabled.map(u64::from)),
        )?;
        line("seccomp mode", &known(here.seccomp_mode.map(u64::from)))?;
        line("memlock limit", &here.memlock())?;
        line("open file limit", &here.file_descriptor_limit.0)?;
        match &self.io_uring {
            None => line("io_uring", &"not tried: epoll is asked for")?,
            Some(Err(error)) => line("io_uring", error)?,
            Some(Ok(features)) => {
                line("io_uring", &"works")?;
                line("  minimum kernel", &KERNEL_MIN)?;
                line(
                    "  completion queue",
                    &format_args!("{} entries", features.cq_entries),
                )?;
                line("  no SQ array (6.6)", &yes(features.no_sqarray))?;
                line("  no iowait (6.15)", &yes(features.no_iowait))?;
            }
        }
        match &self.epoll {
            Err(error) => line("epoll", error)?,
            Ok(features) => {
                line("epoll", &"works")?;
                line("  epoll_pwait2 (5.11)", &yes(features.epoll_pwait2))?;
                line("  RWF_NOWAIT (4.14)", &yes(features.read_nowait))?;
                line("  openat2 (5.6)", &yes(features.openat2))?;
                line("  max_user_watches", &known(features.watches_max))?;
            }
        }
        match &self.choice {
            Ok(choice) => line("engine", choice),
            Err(error) => line("engine", &format_args!("none: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(disabled: u32, seccomp: u32) -> Surroundings {
        Surroundings {
            kernel_release: "6.6.0".to_owned(),
            io_uring_disabled: Some(disabled),
            seccomp_mode: Some(seccomp),
            memlock_limit: (8 << 20, 8 << 20),
            file_descriptor_limit: (1024, 1024),
        }
    }

    #[test]
    fn remedies_fit_their_cause() {
        let table = [
            (
                Errno::EPERM,
                surroundings(2, 0),
                "sysctl kernel.io_uring_disabled=0",
            ),
            (Errno::EPERM, surroundings(1, 0), "io_uring_group"),
            (
                Errno::EPERM,
                surroundings(0, 2),
                "seccomp=examples/seccomp.json",
            ),
            (
                Errno::ENOSYS,
                surroundings(0, 2),
                "seccomp=examples/seccomp.json",
            ),
            (Errno::ENOSYS, surroundings(0, 0), "CONFIG_IO_URING"),
            (Errno::ENOMEM, surroundings(0, 0), "RLIMIT_MEMLOCK"),
            (Errno::EINVAL, surroundings(0, 0), "too old"),
        ];
        for (errno, surroundings, expected) in table {
            let text = remedy(errno, &surroundings);
            assert!(text.contains(expected), "{errno:?}: {text}");
            assert!(!text.contains('\n'));
        }
    }
}
