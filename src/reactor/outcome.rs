//! One map per operation from error numbers to what has to be done: retry, a named outcome, or an
//! error of the connection.

use crate::ring::Errno;

/// How an accept(2) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// Only that connection is gone; go on at once.
    Skip,
    /// Descriptors, watches of epoll, or memory are used up, or there is nothing to accept; trying again at once would
    /// spin.
    Exhausted,
    /// We cancelled it.
    Canceled,
    /// The listener is unusable.
    Fatal(Errno),
}

/// accept(2), "Error handling": network errors belong to the connection that was pending.
pub fn accept_failure(errno: Errno) -> AcceptFailure {
    match errno {
        Errno::ECONNABORTED
        | Errno::EINTR
        | Errno::EPROTO
        | Errno::ENETDOWN
        | Errno::ENOPROTOOPT
        | Errno::EHOSTDOWN
        | Errno::EHOSTUNREACH
        | Errno::EOPNOTSUPP
        | Errno::ENETUNREACH
        | Errno::ETIMEDOUT
        | Errno::EPERM => AcceptFailure::Skip,
        // EAGAIN: nobody waits. The ring waits itself, even on a listener that does not block; one
        // that does not wait must not make us spin.
        Errno::EMFILE
        | Errno::ENFILE
        | Errno::ENOBUFS
        | Errno::ENOMEM
        | Errno::ENOSPC
        | Errno::EAGAIN => AcceptFailure::Exhausted,
        Errno::ECANCELED => AcceptFailure::Canceled,
        other => AcceptFailure::Fatal(other),
    }
}

/// How a receive failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvFailure {
    /// Try again at once.
    Retry,
    /// No shared buffer was free; try again when some came back.
    Starved,
    /// We cancelled it.
    Canceled,
    /// The connection is gone.
    Broken(Errno),
}

/// recv(2), and ENOBUFS as io_uring uses it for an empty buffer group.
pub fn recv_failure(errno: Errno) -> RecvFailure {
    match errno {
        Errno::EINTR | Errno::EAGAIN => RecvFailure::Retry,
        Errno::ENOBUFS => RecvFailure::Starved,
        Errno::ECANCELED => RecvFailure::Canceled,
        // ENOMEM is the kernel's own trouble, but this connection cannot go on without it.
        other => RecvFailure::Broken(other),
    }
}

/// How a send failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// Try again by the ring, which waits for room.
    Retry,
    /// We cancelled it.
    Canceled,
    /// The connection is gone.
    Broken(Errno),
}

/// send(2).
pub fn send_failure(errno: Errno) -> SendFailure {
    match errno {
        Errno::EINTR | Errno::EAGAIN => SendFailure::Retry,
        Errno::ECANCELED => SendFailure::Canceled,
        other => SendFailure::Broken(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_is_not_fatal() {
        assert_eq!(accept_failure(Errno::EMFILE), AcceptFailure::Exhausted);
        assert_eq!(accept_failure(Errno::ENOSPC), AcceptFailure::Exhausted);
        assert_eq!(accept_failure(Errno::ECONNABORTED), AcceptFailure::Skip);
        assert_eq!(
            accept_failure(Errno::EINVAL),
            AcceptFailure::Fatal(Errno::EINVAL)
        );
    }

    #[test]
    fn starvation_is_not_the_end_of_a_connection() {
        assert_eq!(recv_failure(Errno::ENOBUFS), RecvFailure::Starved);
        assert_eq!(
            recv_failure(Errno::ECONNRESET),
            RecvFailure::Broken(Errno::ECONNRESET)
        );
        assert_eq!(
            send_failure(Errno::EPIPE),
            SendFailure::Broken(Errno::EPIPE)
        );
    }
}
