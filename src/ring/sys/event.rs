//! Wake-ups from other threads (eventfd(2)) and the signals that ask a server to end.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering;

use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::eventfd::EfdFlags;
use nix::sys::eventfd::EventFd;
use nix::sys::signal::SaFlags;
use nix::sys::signal::SigAction;
use nix::sys::signal::SigHandler;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signal::sigaction;

/// An eventfd(2): any thread notifies, one ring reads.
#[derive(Debug)]
pub struct Event(EventFd);

impl Event {
    /// A fresh one, not notified. Blocking: the ring answers reads of a non-blocking descriptor
    /// with EAGAIN instead of waiting.
    pub fn new() -> io::Result<Event> {
        Ok(Event(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?))
    }

    /// The descriptor, for reads of the ring.
    pub fn raw(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }

    /// Wakes the reader. A counter at its maximum has woken it already.
    pub fn notify(&self) {
        let _ = self.0.write(1);
    }

    /// Blocks the calling thread until notified, and takes the notification.
    pub fn wait(&self) {
        let mut polls = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        while nix::poll::poll(&mut polls, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
        let _ = self.0.read();
    }
}

/// The descriptor that the signal handler writes to; -1 when no handler is installed.
static SIGNAL_EVENT: AtomicI32 = AtomicI32::new(-1);
/// The signal that came, 0 for none.
static SIGNAL_RECEIVED: AtomicI32 = AtomicI32::new(0);

/// SIGINT and SIGTERM turned into one event. The second signal acts as it would without us, so
/// that an impatient operator can still end the process.
#[derive(Debug)]
pub struct Signals {
    event: OwnedFd,
    before: [(Signal, SigAction); 2],
}

extern "C" fn on_signal(number: libc::c_int) {
    SIGNAL_RECEIVED.store(number, Ordering::SeqCst);
    let one = 1u64.to_ne_bytes();
    // SAFETY: write(2) is async-signal-safe (signal-safety(7)); eight bytes on our stack.
    unsafe {
        libc::write(
            SIGNAL_EVENT.load(Ordering::SeqCst),
            one.as_ptr().cast(),
            one.len(),
        )
    };
}

impl Signals {
    /// Installs the handlers; `event` is notified by the first signal.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when another server of this process waits for signals.
    pub fn install(event: &Event) -> io::Result<Signals> {
        let own = event.0.as_fd().try_clone_to_owned()?;
        SIGNAL_EVENT
            .compare_exchange(-1, own.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst)
            .map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
        SIGNAL_RECEIVED.store(0, Ordering::SeqCst);
        let action = SigAction::new(
            SigHandler::Handler(on_signal),
            SaFlags::SA_RESTART | SaFlags::SA_RESETHAND,
            SigSet::empty(),
        );
        let install = |signal| {
            // SAFETY: the handler does async-signal-safe work only (see `on_signal`).
            unsafe { sigaction(signal, &action) }.map(|before| (signal, before))
        };
        let before = [install(Signal::SIGINT)?, install(Signal::SIGTERM)?];
        Ok(Signals { event: own, before })
    }

    /// The signal that came, if one did: "SIGINT" or "SIGTERM".
    pub fn received(&self) -> Option<&'static str> {
        match SIGNAL_RECEIVED.load(Ordering::SeqCst) {
            libc::SIGINT => Some("SIGINT"),
            libc::SIGTERM => Some("SIGTERM"),
            _ => None,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, before) in &self.before {
            // SAFETY: this is what was installed before us.
            let _ = unsafe { sigaction(*signal, before) };
        }
        SIGNAL_EVENT.store(-1, Ordering::SeqCst);
        debug_assert!(self.event.as_raw_fd() >= 0);
    }
}
