//! Wake-ups from other threads (eventfd(2)) and the signals that ask a server to end.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::AtomicUsize;
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
use nix::unistd;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
use crate::ring::sys::Process;
use crate::ring::sys::descriptor::Descriptor;

/// An eventfd(2): any thread notifies, one ring reads. Children of fork(2) have the same one, and
/// leave it alone.
#[derive(Debug)]
pub struct Event {
    descriptor: Descriptor,
    process: Process,
}

impl Event {
    /// A fresh one, not notified. Blocking: the ring answers reads of a non-blocking descriptor
    /// with EAGAIN instead of waiting.
    pub fn new() -> io::Result<Event> {
        simulated!(calls::new_event().map(|made| made.map(Descriptor::simulated).map(Event::of)));
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        Ok(Event::of(Descriptor::from(OwnedFd::from(event))))
    }

    fn of(descriptor: Descriptor) -> Event {
        Event {
            descriptor,
            process: Process::here(),
        }
    }

    /// The descriptor, for reads of the ring.
    pub fn raw(&self) -> RawFd {
        self.descriptor.raw()
    }

    /// Wakes the reader. A counter at its maximum has woken it already.
    pub fn notify(&self) {
        match &self.descriptor {
            _ if !self.process.is_here() => {}
            Descriptor::Kernel(event) => {
                let _ = unistd::write(event, &1u64.to_ne_bytes());
            }
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(_) => calls::notify_event(self.raw()),
        }
    }

    /// Blocks the calling thread until notified, and takes the notification. In a child of fork(2) it
    /// returns at once.
    pub fn wait(&self) {
        match &self.descriptor {
            _ if !self.process.is_here() => {}
            Descriptor::Kernel(event) => {
                let mut polls = [PollFd::new(event.as_fd(), PollFlags::POLLIN)];
                let interrupted = Err(nix::errno::Errno::EINTR);
                while nix::poll::poll(&mut polls, PollTimeout::NONE) == interrupted {}
                let _ = unistd::read(event, &mut [0; size_of::<u64>()]);
            }
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(_) => panic!("nothing may block in a simulation"),
        }
    }
}

/// The descriptor that the signal handler writes to; -1 when no handler is installed.
static SIGNAL_EVENT: AtomicI32 = AtomicI32::new(-1);
/// Whose handlers they are. A child of fork(2) has them for a moment, until [`forget_signals`].
static SIGNAL_PID: AtomicI32 = AtomicI32::new(0);
/// The signal that came first, 0 for none.
static SIGNAL_RECEIVED: AtomicI32 = AtomicI32::new(0);
/// Threads that run the handler: the descriptor stays open until there are none.
static SIGNAL_HANDLERS: AtomicUsize = AtomicUsize::new(0);

/// SIGINT and SIGTERM turned into one event. The second signal, whichever of the two, ends the
/// process as it would without us, so that an impatient operator need not wait.
#[derive(Debug)]
pub struct Signals {
    event: OwnedFd,
    before: [(Signal, SigAction); 2],
}

/// Everything here is async-signal-safe (signal-safety(7)): atomics, write, getpid, _exit, signal,
/// raise.
extern "C" fn on_signal(number: libc::c_int) {
    SIGNAL_HANDLERS.fetch_add(1, Ordering::SeqCst);
    let event = SIGNAL_EVENT.load(Ordering::SeqCst);
    let is_first = SIGNAL_RECEIVED
        .compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok();
    // SAFETY: a call without arguments.
    let pid = unsafe { libc::getpid() };
    if is_first && event >= 0 && pid == SIGNAL_PID.load(Ordering::SeqCst) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes on our stack; the descriptor is open, see `SIGNAL_HANDLERS`.
        unsafe { libc::write(event, one.as_ptr().cast(), one.len()) };
    } else {
        // SAFETY: calls with numbers only. The signal is blocked until this handler returns, and
        // acts then. Where `Signals` has just gone, what was there before us is back already.
        unsafe {
            if event >= 0 {
                // The default action spares the first process of a container.
                if pid == 1 {
                    libc::_exit(128 + number);
                }
                libc::signal(number, libc::SIG_DFL);
            }
            libc::raise(number);
        };
    }
    SIGNAL_HANDLERS.fetch_sub(1, Ordering::SeqCst);
}

/// In a child of fork(2), signals act as they would without us.
pub(super) fn forget_signals() {
    SIGNAL_HANDLERS.store(0, Ordering::SeqCst);
    if SIGNAL_EVENT.swap(-1, Ordering::SeqCst) >= 0 {
        for number in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: a call with numbers only.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
    }
}

impl Signals {
    /// Installs the handlers; `event` is notified by the first signal.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when another server of this process waits for signals; `Unsupported` for an
    /// event of a simulated kernel, which sends none.
    pub fn install(event: &Event) -> io::Result<Signals> {
        let own = match &event.descriptor {
            Descriptor::Kernel(event) => event.as_fd().try_clone_to_owned()?,
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        SIGNAL_EVENT
            .compare_exchange(-1, own.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst)
            .map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
        SIGNAL_RECEIVED.store(0, Ordering::SeqCst);
        SIGNAL_PID.store(unistd::getpid().as_raw(), Ordering::SeqCst);
        let action = SigAction::new(
            SigHandler::Handler(on_signal),
            SaFlags::SA_RESTART,
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
        // A handler that began before, on another thread, may write to the descriptor still: it
        // must not have become somebody else's by then.
        while SIGNAL_HANDLERS.load(Ordering::SeqCst) > 0 {
            std::hint::spin_loop();
        }
        debug_assert!(self.event.as_raw_fd() >= 0);
    }
}
