//! A descriptor that closes itself, by the kernel that made it.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

use crate::ring::epoll;
#[cfg(feature = "simulation")]
use crate::ring::sim::calls;

/// An open descriptor. Without the simulation it is the kernel's and nothing else.
#[derive(Debug)]
pub(super) enum Descriptor {
    /// The kernel's.
    Kernel(KernelFd),
    /// The simulated kernel's.
    #[cfg(feature = "simulation")]
    Simulated(SimulatedFd),
}

#[cfg(not(feature = "simulation"))]
const _: () = assert!(size_of::<Option<Descriptor>>() == size_of::<Option<OwnedFd>>());

impl Descriptor {
    /// Its number.
    pub(super) fn raw(&self) -> RawFd {
        match self {
            Descriptor::Kernel(fd) => fd.0.as_raw_fd(),
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(fd) => fd.0,
        }
    }

    /// Whatever this thread's engine knows of it is over.
    pub(super) fn leave_thread(&self) {
        match self {
            Descriptor::Kernel(fd) => epoll::forget(fd.0.as_raw_fd()),
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(_) => {}
        }
    }

    /// Gives up ownership: the number may go to another thread.
    pub(super) fn into_raw(self) -> RawFd {
        self.leave_thread();
        match self {
            Descriptor::Kernel(fd) => ManuallyDrop::new(fd).0.as_raw_fd(),
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(fd) => ManuallyDrop::new(fd).0,
        }
    }

    /// Takes ownership.
    ///
    /// # Safety
    ///
    /// `fd` is open, and nobody else owns it.
    pub(super) unsafe fn from_raw(fd: RawFd) -> Descriptor {
        simulated!(for fd => Descriptor::Simulated(SimulatedFd(fd)));
        // SAFETY: the caller's promise.
        Descriptor::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The same by another number (dup(2)).
    pub(super) fn duplicate(&self) -> io::Result<Descriptor> {
        match self {
            Descriptor::Kernel(fd) => fd.0.try_clone().map(Descriptor::from),
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(fd) => calls::duplicate(fd.0).map(Descriptor::simulated),
        }
    }

    /// From a number that the simulated kernel has just returned.
    #[cfg(feature = "simulation")]
    pub(super) fn simulated(fd: RawFd) -> Descriptor {
        assert!(
            calls::is_simulated(fd),
            "descriptor {fd} is the real kernel's"
        );
        Descriptor::Simulated(SimulatedFd(fd))
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Descriptor {
        Descriptor::Kernel(KernelFd(fd))
    }
}

/// A number of the real kernel. Before it is closed, or leaves this thread, the thread's engine hears of
/// it: what the engine knows of a number ends with what the number stands for.
#[derive(Debug)]
pub(super) struct KernelFd(OwnedFd);

impl AsFd for KernelFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for KernelFd {
    fn drop(&mut self) {
        // The field closes itself afterwards.
        epoll::forget(self.0.as_raw_fd());
    }
}

/// A number that means nothing to the real kernel.
#[cfg(feature = "simulation")]
#[derive(Debug)]
pub(super) struct SimulatedFd(RawFd);

#[cfg(feature = "simulation")]
impl Drop for SimulatedFd {
    fn drop(&mut self) {
        calls::close(self.0);
    }
}
