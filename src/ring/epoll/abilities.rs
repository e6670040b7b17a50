//! Which of the newer calls are there, for the diagnosis.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use nix::fcntl::AT_FDCWD;
use nix::fcntl::OFlag;
use nix::fcntl::OpenHow;
use nix::fcntl::openat2;

use crate::ring::diagnosis::EpollFeatures;
use crate::ring::diagnosis::SetupError;
use crate::ring::epoll::calls;

/// Tries them.
pub(in crate::ring) fn features() -> Result<EpollFeatures, SetupError> {
    let pwait2 = calls::new_set().and_then(|set| {
        calls::try_watch(&set)?;
        calls::has_pwait2(&set)
    });
    let path_only = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    let watches = fs::read_to_string("/proc/sys/fs/epoll/max_user_watches");
    Ok(EpollFeatures {
        epoll_pwait2: pwait2.map_err(|error| SetupError::other("epoll", error))?,
        read_nowait: reads_without_waiting().unwrap_or(false),
        openat2: openat2(AT_FDCWD, "/", path_only).is_ok(),
        watches_max: watches.ok().and_then(|text| text.trim().parse().ok()),
    })
}

/// True when the file system of this program says what is in memory.
fn reads_without_waiting() -> io::Result<bool> {
    let file = fs::File::open("/proc/self/exe")?;
    let mut byte = 0u8;
    // SAFETY: one byte, which lives for the call.
    let read = unsafe { calls::read_cached(file.as_raw_fd(), &raw mut byte, 1, 0) };
    Ok(matches!(read, Ok(_) | Err(libc::EAGAIN)))
}
