//! Listening Unix sockets and their files.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket as nix_socket;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockType;
use nix::sys::socket::UnixAddr;
use nix::sys::stat;
use nix::sys::stat::FchmodatFlags;
use nix::sys::stat::Mode;
use nix::sys::stat::SFlag;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
use crate::ring::sys::Address;
use crate::ring::sys::Process;
use crate::ring::sys::Socket;
use crate::ring::sys::new_socket;
use crate::ring::sys::socket::borrow;
use crate::ring::sys::socket::listen;

/// How a Unix socket is bound.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnixOptions {
    /// The permissions of its file; `None` is what the umask leaves of 0777.
    pub mode: Option<u32>,
    /// Takes the place of a socket that somebody listens on still: who connects from then on comes
    /// to this one.
    pub replace: bool,
}

/// A listening Unix socket at `path`. The file of a socket that nobody listens on is replaced.
pub fn bind_unix(path: &Path, options: UnixOptions) -> io::Result<Socket> {
    simulated!(calls::bind_unix(path).map(|made| made.map(Socket::simulated)));
    if path.as_os_str().is_empty() {
        // The kernel would choose a name that nobody knows.
        return Err(Errno::EINVAL.into());
    }
    let socket = new_socket(&Address::Unix(path.to_owned()))?;
    if let Some(mode) = options.mode {
        // The file is made with these, less the umask: never more than wanted, at no time.
        let fd = socket.raw();
        stat::fchmod(borrow(&fd), Mode::from_bits_truncate(mode))?;
    }
    let beside = options.replace.then(|| beside(path));
    let bound = beside.as_deref().unwrap_or(path);
    bind_file(&socket, bound)?;
    let done = finish_binding(&socket, bound, path, options.mode);
    if done.is_err() {
        remove_file(bound);
    }
    done.map(|()| socket)
}

/// Permissions, listening, and only then the name that others know.
fn finish_binding(socket: &Socket, bound: &Path, path: &Path, mode: Option<u32>) -> io::Result<()> {
    if let Some(mode) = mode {
        // What the umask took away. Nobody can connect before listen(2).
        let mode = Mode::from_bits_truncate(mode);
        stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            bound,
            mode,
            FchmodatFlags::FollowSymlink,
        )?;
    }
    listen(socket)?;
    if bound != path {
        if is_something_else(path) {
            return Err(Errno::ENOTSOCK.into());
        }
        std::fs::rename(bound, path)?;
    }
    Ok(())
}

fn bind_file(socket: &Socket, path: &Path) -> io::Result<()> {
    let address = UnixAddr::new(path)?;
    let mut bound = nix_socket::bind(socket.raw(), &address);
    if bound == Err(Errno::EADDRINUSE) {
        if is_something_else(path) {
            return Err(Errno::ENOTSOCK.into());
        }
        if is_deserted(&address) {
            remove_file(path);
            bound = nix_socket::bind(socket.raw(), &address);
        }
    }
    Ok(bound?)
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    PathBuf::from(name)
}

/// True when a file is there that is no socket: nobody wants it replaced. connect(2) refuses it as it
/// does a socket on which nobody listens.
fn is_something_else(path: &Path) -> bool {
    stat::lstat(path).is_ok_and(|found| !is_socket(&found))
}

fn is_socket(found: &stat::FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK
}

/// True when a socket file is there and nobody listens on it.
fn is_deserted(address: &UnixAddr) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = nix_socket::socket(AddressFamily::Unix, SockType::Stream, flags, None);
    probe.is_ok_and(|fd| nix_socket::connect(fd.as_raw_fd(), address) == Err(Errno::ECONNREFUSED))
}

fn remove_file(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// The file of a Unix socket of ours. It is removed when this is dropped, unless another socket has
/// taken its place: that of a successor.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode; `None` where there are none (a simulation).
    identity: Option<(u64, u64)>,
    /// A child of it removes nothing.
    process: Process,
}

impl SocketFile {
    /// The file that has just been bound.
    pub fn bound(path: &Path) -> SocketFile {
        SocketFile {
            path: path.to_owned(),
            identity: identity(path),
            process: Process::here(),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        simulated!(calls::remove_socket_file(&self.path).then_some(()));
        if self.process.is_here() && identity(&self.path) == self.identity {
            remove_file(&self.path);
        }
    }
}

/// Device and inode of a socket's file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    debug_assert!(!path.as_os_str().as_bytes().is_empty());
    let found = stat::lstat(path).ok()?;
    is_socket(&found).then_some((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_are_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("name");
        let link = directory.path().join("link");
        std::fs::write(&path, "precious").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for replace in [false, true] {
            let mode = None;
            for path in [&path, &link] {
                let error = bind_unix(path, UnixOptions { mode, replace }).unwrap_err();
                assert_eq!(
                    Errno::from_raw(error.raw_os_error().unwrap()),
                    Errno::ENOTSOCK
                );
            }
            let error = bind_unix(Path::new(""), UnixOptions { mode, replace }).unwrap_err();
            assert_eq!(
                Errno::from_raw(error.raw_os_error().unwrap()),
                Errno::EINVAL
            );
        }
        assert_eq!(std::fs::read(&link).unwrap(), b"precious");
        // And nothing of ours is left.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
        std::fs::remove_file(&path).unwrap();
        let options = UnixOptions::default();
        drop(bind_unix(&path, options).unwrap());
        drop(bind_unix(&path, options).expect("nobody listens any more"));
    }
}
