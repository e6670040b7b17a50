//! A descriptor that closes itself, by the kernel that made it.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;

/// An open descriptor. Without the simulation it is an `OwnedFd` and nothing else.
#[derive(Debug)]
pub(super) enum Descriptor {
    /// The kernel's.
    Kernel(OwnedFd),
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
            Descriptor::Kernel(fd) => fd.as_raw_fd(),
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(fd) => fd.0,
        }
    }

    /// Gives up ownership.
    pub(super) fn into_raw(self) -> RawFd {
        match self {
            Descriptor::Kernel(fd) => fd.into_raw_fd(),
            #[cfg(feature = "simulation")]
            Descriptor::Simulated(fd) => std::mem::ManuallyDrop::new(fd).0,
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
        Descriptor::Kernel(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// The same by another number (dup(2)).
    pub(super) fn duplicate(&self) -> io::Result<Descriptor> {
        match self {
            Descriptor::Kernel(fd) => fd.try_clone().map(Descriptor::Kernel),
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
