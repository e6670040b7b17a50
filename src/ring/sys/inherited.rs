//! Listening sockets that another process passed: socket activation, as sd_listen_fds(3) reads it.
//!
//! ```text
//!   LISTEN_PID = our process ─┐
//!   LISTEN_FDS = 2            ├─► descriptors 3, 4 ─► taken once, by name or all
//!   LISTEN_FDNAMES = web:admin┘
//! ```

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;

use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;
use nix::sys::socket as nix_socket;
use nix::sys::socket::SockType;
use nix::sys::socket::UnixAddr;
use nix::sys::socket::sockopt;

use crate::limits::INHERITED_SOCKETS_MAX;
#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
use crate::ring::sys::Address;
use crate::ring::sys::Socket;
use crate::ring::sys::local_addr;
use crate::ring::sys::set_tcp_options;

/// The first descriptor that is passed (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;

/// A listening socket that another process passed, and may hold and accept from as well.
#[derive(Debug)]
pub struct Inherited {
    /// The socket. It does not block: who else accepts may be quicker.
    pub socket: Socket,
    /// Where it listens.
    pub address: Address,
}

/// A descriptor that was passed and has not been taken.
struct Passed {
    number: RawFd,
    name: String,
    fd: OwnedFd,
}

/// What was passed and has not been taken; `None` before anybody asked.
static PASSED: Mutex<Option<Vec<Passed>>> = Mutex::new(None);

/// Takes the sockets with this name, or all that are left. None in a process that nobody passed any.
///
/// # Errors
///
/// The environment contradicts itself, or a descriptor is no listening stream socket. The text says
/// which and why.
pub fn take_inherited(name: Option<&str>) -> io::Result<Vec<Inherited>> {
    simulated!(calls::is_running().then(|| Ok(Vec::new())));
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    if passed.is_none() {
        *passed = Some(collect()?);
    }
    let left = passed.as_mut().expect("set above");
    let (taken, kept) = std::mem::take(left)
        .into_iter()
        .partition(|one| name.is_none_or(|name| name == one.name));
    *left = kept;
    let taken: Vec<Passed> = taken;
    taken.into_iter().map(Passed::check).collect()
}

/// Everything that was passed, from now on closed on exec(2).
fn collect() -> io::Result<Vec<Passed>> {
    let variable = |name| env::var(name).ok();
    let (process, count) = (variable("LISTEN_PID"), variable("LISTEN_FDS"));
    let names = variable("LISTEN_FDNAMES");
    let own = std::process::id();
    let names = announced(process.as_deref(), count.as_deref(), names.as_deref(), own)?;
    let mut passed = Vec::with_capacity(names.len());
    for (number, name) in (FIRST..).zip(names) {
        // What came through exec(2) does not close on exec; what this process opened itself does,
        // as everything does that Rust opens. So an environment that lies is found out.
        // SAFETY: fcntl(2) of a number that may be closed is an error and nothing else.
        match unsafe { libc::fcntl(number, libc::F_GETFD) } {
            flags if flags < 0 => return Err(wrong(number, &name, "is not open")),
            flags if flags & libc::FD_CLOEXEC != 0 => {
                return Err(wrong(number, &name, "was not passed"));
            }
            _ => {}
        }
        // SAFETY: as above.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        // SAFETY: it is open, it came through exec(2), and the environment says that it was passed
        // to this very process. This is done once; what else opened something cannot own it.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        passed.push(Passed { number, name, fd });
    }
    Ok(passed)
}

/// The names of the descriptors that the environment announces; none when they are for another
/// process.
fn announced(
    process: Option<&str>,
    count: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> io::Result<Vec<String>> {
    let (Some(process), Some(count)) = (process, count) else {
        return Ok(Vec::new());
    };
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let Ok(process) = process.parse::<u32>() else {
        return Err(invalid(format!("LISTEN_PID is {process:?}, no number")));
    };
    if process != own {
        return Ok(Vec::new());
    }
    let count = match count.parse::<usize>() {
        Ok(count) if count <= INHERITED_SOCKETS_MAX => count,
        _ => {
            let most = INHERITED_SOCKETS_MAX;
            return Err(invalid(format!(
                "LISTEN_FDS is {count:?}, no number up to {most}"
            )));
        }
    };
    let Some(names) = names else {
        // What sd_listen_fds_with_names(3) calls them.
        return Ok(vec!["unknown".to_owned(); count]);
    };
    let names: Vec<String> = match count {
        0 => Vec::new(),
        _ => names.split(':').map(str::to_owned).collect(),
    };
    if names.len() != count {
        let found = names.len();
        return Err(invalid(format!(
            "LISTEN_FDS is {count}, and LISTEN_FDNAMES has {found} names"
        )));
    }
    Ok(names)
}

impl Passed {
    /// As a listener, if it is one.
    fn check(self) -> io::Result<Inherited> {
        let Passed { number, name, fd } = self;
        let wrong = |why| Err(wrong(number, &name, why));
        match nix_socket::getsockopt(&fd, sockopt::SockType) {
            Ok(SockType::Stream) => {}
            Ok(_) => return wrong("is no stream socket"),
            Err(_) => return wrong("is no socket"),
        }
        if !nix_socket::getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false) {
            return wrong("does not listen (a systemd socket needs `Accept=no`)");
        }
        // A socket blocks or not for all that share it. The ring waits on either (since Linux 5.18).
        let flags = fcntl(fd.as_fd(), FcntlArg::F_GETFL)?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags))?;
        let socket = Socket::from_owned(fd);
        let address = match local_addr(socket.raw()) {
            Some(address) => {
                set_tcp_options(socket.raw());
                Address::Tcp(address)
            }
            None => match nix_socket::getsockname::<UnixAddr>(socket.raw()) {
                Ok(address) => Address::Unix(path_of(&address)),
                Err(_) => return wrong("is neither TCP nor a Unix socket"),
            },
        };
        Ok(Inherited { socket, address })
    }
}

/// The path of a Unix socket; an abstract name as people write it, behind an `@`.
fn path_of(address: &UnixAddr) -> PathBuf {
    match (address.path(), address.as_abstract()) {
        (Some(path), _) => path.to_owned(),
        (None, Some(name)) => PathBuf::from(format!("@{}", String::from_utf8_lossy(name))),
        (None, None) => PathBuf::from("(unnamed)"),
    }
}

fn wrong(number: RawFd, name: &str, why: &str) -> io::Error {
    let text = format!("descriptor {number} ({name:?}) {why}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_announces() {
        let none: &[&str] = &[];
        let table = [
            (None, None, None, Ok(none)),
            (None, Some("1"), None, Ok(none)),
            (Some("7"), None, None, Ok(none)),
            (Some("8"), Some("1"), None, Ok(none)),
            (Some("8"), Some("nonsense"), None, Ok(none)),
            (Some("7"), Some("0"), None, Ok(none)),
            (Some("7"), Some("0"), Some(""), Ok(none)),
            (Some("7"), Some("2"), None, Ok(&["unknown", "unknown"])),
            (
                Some("7"),
                Some("2"),
                Some("web:admin"),
                Ok(&["web", "admin"]),
            ),
            (Some("7"), Some("1"), Some(""), Ok(&[""])),
            (Some("7"), Some("2"), Some("web"), Err("has 1 names")),
            (Some("7"), Some("1"), Some("a:b"), Err("has 2 names")),
            (Some("x"), Some("1"), None, Err("LISTEN_PID is \"x\"")),
            (Some("7"), Some("-1"), None, Err("LISTEN_FDS is \"-1\"")),
            (Some("7"), Some("99999"), None, Err("up to")),
        ];
        for (process, count, names, expected) in table {
            let got = announced(process, count, names, 7);
            match (expected, got) {
                (Ok(expected), got) => assert_eq!(got.unwrap(), expected),
                (Err(part), got) => {
                    let text = got.unwrap_err().to_string();
                    assert!(text.contains(part), "{text}");
                }
            }
        }
    }
}
