//! Why io_uring cannot be had here, and what to change.

use std::fmt;
use std::fs;
use std::io;

use crate::ring::errno::Errno;
use crate::ring::queue::Ring;
use crate::ring::setup::Features;
use crate::ring::setup::RingOptions;
use crate::ring::sys;

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
    is_memory: bool,
}

impl SetupError {
    /// True when more memory would have been locked than may be (RLIMIT_MEMLOCK).
    pub fn is_memory(&self) -> bool {
        self.is_memory
    }
}

/// Of a system call beside the ring's own that a core cannot do without.
impl From<io::Error> for SetupError {
    fn from(error: io::Error) -> SetupError {
        setup_error(error)
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SetupError {}

/// The error of a ring that could not be set up.
pub(super) fn setup_error(error: io::Error) -> SetupError {
    let errno = Errno::from_io(&error);
    let surroundings = Surroundings::read();
    let text = format!(
        "cannot set up io_uring: {errno:?}; {surroundings}; {}",
        remedy(errno, &surroundings)
    );
    SetupError {
        text,
        is_memory: errno == Errno::ENOMEM,
    }
}

/// The error of a kernel that lacks operations.
pub(super) fn missing_operations(names: &[&str]) -> SetupError {
    let text = format!(
        "this kernel's io_uring lacks {}; {}; run kernel {KERNEL_MIN} or newer",
        names.join(", "),
        Surroundings::read()
    );
    SetupError {
        text,
        is_memory: false,
    }
}

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
             32 with the smallest queues, charged per user over all processes"
            .to_owned(),
        Errno::EINVAL => format!("the kernel is too old: run {KERNEL_MIN} or newer"),
        Errno::EMFILE | Errno::ENFILE => {
            "no descriptor is left: raise RLIMIT_NOFILE (`ulimit -n`)".to_owned()
        }
        _ => "see io_uring_setup(2)".to_owned(),
    }
}

/// What `roundtrip doctor` prints: surroundings, and either what the kernel offers or the error.
#[derive(Debug)]
pub struct Diagnosis {
    /// What can be read without a ring.
    pub surroundings: Surroundings,
    /// What a worker's ring was found to do, or why there is none.
    pub ring: Result<Features, SetupError>,
}

impl Diagnosis {
    /// Sets up a worker's ring, tests it, and throws it away.
    pub fn run() -> Diagnosis {
        let ring = Ring::new(RingOptions::WORKER).map(|ring| ring.features());
        Diagnosis {
            surroundings: Surroundings::read(),
            ring,
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let surroundings = &self.surroundings;
        let known = |value: Option<u32>| value.map_or("absent".to_owned(), |v| v.to_string());
        writeln!(
            f,
            "kernel                     {}",
            surroundings.kernel_release
        )?;
        writeln!(f, "minimum kernel             {KERNEL_MIN}")?;
        writeln!(
            f,
            "kernel.io_uring_disabled   {}",
            known(surroundings.io_uring_disabled)
        )?;
        writeln!(
            f,
            "seccomp mode               {}",
            known(surroundings.seccomp_mode)
        )?;
        writeln!(f, "memlock limit              {}", surroundings.memlock())?;
        writeln!(
            f,
            "open file limit            {}",
            surroundings.file_descriptor_limit.0
        )?;
        match &self.ring {
            Ok(features) => {
                let yes = |on| if on { "yes" } else { "no" };
                writeln!(f, "io_uring                   works")?;
                writeln!(
                    f,
                    "completion queue           {} entries",
                    features.cq_entries
                )?;
                writeln!(
                    f,
                    "deferred task work (6.1)   {}",
                    yes(features.defer_taskrun)
                )?;
                writeln!(
                    f,
                    "multishot receive (6.0)    {} (live test)",
                    yes(features.multishot_recv)
                )?;
                writeln!(f, "no SQ array (6.6)          {}", yes(features.no_sqarray))?;
                writeln!(f, "no iowait (6.15)           {}", yes(features.no_iowait))
            }
            Err(error) => writeln!(f, "io_uring                   {error}"),
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
