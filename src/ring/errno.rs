//! Error numbers of the kernel, without their `libc` names elsewhere.

use std::fmt;
use std::io;

/// A positive error number (errno(3)).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident)*) => {
        impl Errno {
            $(#[doc = concat!("errno(3) ", stringify!($name), ".")]
            pub const $name: Errno = Errno(libc::$name);)*

            /// The symbolic name, for those that this crate tells apart.
            pub fn name(self) -> Option<&'static str> {
                $(if self == Errno::$name { return Some(stringify!($name)); })*
                None
            }
        }
    };
}

errnos! {
    EACCES EADDRINUSE EADDRNOTAVAIL EAGAIN EALREADY EBADF EBUSY ECANCELED ECONNABORTED
    ECONNREFUSED ECONNRESET EEXIST EFAULT EHOSTDOWN EHOSTUNREACH EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR
    ELOOP EMFILE EMSGSIZE ENAMETOOLONG ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS ENOENT ENOMEM ENOPROTOOPT
    ENOSPC ENOSYS ENOTCONN ENOTDIR ENOTSOCK ENXIO EOPNOTSUPP EOVERFLOW EPERM EPIPE EPROTO EREMOTEIO ESTALE ETIME
    ETIMEDOUT EXDEV
}

impl Errno {
    /// From a positive number.
    pub fn from_raw(number: i32) -> Errno {
        assert!(number > 0, "{number} is no error number");
        Errno(number)
    }

    /// From a system call's error, or an operation's.
    pub fn from_io(error: &io::Error) -> Errno {
        match error.raw_os_error() {
            Some(number) => Errno(number),
            None if error.kind() == io::ErrorKind::StorageFull => Errno::ENOSPC,
            None => Errno::EIO,
        }
    }

    /// The number.
    pub fn raw(self) -> i32 {
        self.0
    }
}

/// What ENOSPC means of an operation, none of which writes to a disk.
pub const NO_WATCH: &str = "epoll watches as many descriptors for this user as it may: raise the sysctl \
     fs.epoll.max_user_watches";

/// Of an operation's result.
impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        match errno {
            Errno::ENOSPC => io::Error::new(io::ErrorKind::StorageFull, NO_WATCH),
            _ => io::Error::from_raw_os_error(errno.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}
