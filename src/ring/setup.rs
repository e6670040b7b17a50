//! Makes a ring: set-up flags, memory limits, probe of the operations, live self-test.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use io_uring::IoUring;
use io_uring::Probe;
use io_uring::opcode;

use crate::limits::CQ_ENTRIES;
use crate::limits::CQ_ENTRIES_MIN;
use crate::limits::RECV_BUFFER_BYTES;
use crate::limits::RECV_BUFFER_BYTES_SETTABLE_MAX;
use crate::limits::RECV_BUFFERS;
use crate::limits::RECV_BUFFERS_SETTABLE_MAX;
use crate::limits::SMALL_CQ_ENTRIES;
use crate::limits::SMALL_RECV_BUFFERS;
use crate::limits::SMALL_SQ_ENTRIES;
use crate::limits::SQ_ENTRIES;
use crate::ring::buffers::BufferRing;
use crate::ring::diagnosis;
use crate::ring::diagnosis::SetupError;
use crate::ring::kernel::KernelQueue;
use crate::ring::op::BUFFER_GROUP;
use crate::ring::op::Op;
use crate::ring::queue::Backend;
use crate::ring::queue::Ring;
use crate::ring::queue::Wait;
#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
#[cfg(feature = "simulation")]
use crate::ring::sim::queue::SimulatedQueue;
use crate::ring::sys;
use crate::ring::token::Token;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Entries of the submission queue.
    pub sq_entries: u32,
    /// Entries of the completion queue; halved while memory may not be locked.
    pub cq_entries: u32,
    /// Receive buffers: a power of two, at most [`RECV_BUFFERS_SETTABLE_MAX`].
    pub buffers: u16,
    /// Bytes of each, at most [`RECV_BUFFER_BYTES_SETTABLE_MAX`].
    pub buffer_bytes: u32,
}

impl RingOptions {
    /// For a worker.
    pub const WORKER: RingOptions = RingOptions {
        sq_entries: SQ_ENTRIES,
        cq_entries: CQ_ENTRIES,
        buffers: RECV_BUFFERS,
        buffer_bytes: RECV_BUFFER_BYTES,
    };
    /// For a thread that makes a request now and then.
    pub const SMALL: RingOptions = RingOptions {
        sq_entries: SMALL_SQ_ENTRIES,
        cq_entries: SMALL_CQ_ENTRIES,
        buffers: SMALL_RECV_BUFFERS,
        buffer_bytes: RECV_BUFFER_BYTES,
    };

    /// Which size no ring can have.
    pub fn refused(&self) -> Option<&'static str> {
        let is_count = self.buffers.is_power_of_two() && self.buffers <= RECV_BUFFERS_SETTABLE_MAX;
        if !is_count {
            return Some(
                "RingOptions::buffers is a power of two, at most RECV_BUFFERS_SETTABLE_MAX",
            );
        }
        let is_size = (1..=RECV_BUFFER_BYTES_SETTABLE_MAX).contains(&self.buffer_bytes);
        (!is_size).then_some("RingOptions::buffer_bytes is 1 to RECV_BUFFER_BYTES_SETTABLE_MAX")
    }

    /// A ring of half the size, for where memory may not be locked; `None` when it would be too
    /// small.
    pub(crate) fn halved(self) -> Option<RingOptions> {
        (self.cq_entries > CQ_ENTRIES_MIN).then_some(RingOptions {
            sq_entries: self.sq_entries / 2,
            cq_entries: self.cq_entries / 2,
            buffers: self.buffers / 2,
            ..self
        })
    }
}

/// What this kernel was found to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Deferred task work (6.1): the kernel works for us only when we enter.
    pub defer_taskrun: bool,
    /// No indirection through an array of indices (6.6).
    pub no_sqarray: bool,
    /// Waiting is not shown as iowait (6.15).
    pub no_iowait: bool,
    /// The live self-test saw a multishot receive go on after its first completion.
    pub multishot_recv: bool,
    /// Entries of the completion queue as granted.
    pub cq_entries: u32,
}

impl Ring {
    /// Makes a ring for the calling thread, which alone may use it.
    ///
    /// # Errors
    ///
    /// [`SetupError`] with errno, kernel release, settings
    /// and the remedy.
    pub fn new(options: RingOptions) -> Result<Ring, SetupError> {
        #[cfg(feature = "simulation")]
        if calls::is_installed() {
            return Ring::simulated(options);
        }
        sys::raise_soft_limits();
        let (uring, mut features) = build(options).map_err(diagnosis::setup_error)?;
        features.no_iowait = uring.params().is_feature_no_iowait();
        if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
            return Err(diagnosis::setup_error(io::Error::from_raw_os_error(
                libc::EINVAL,
            )));
        }
        check_operations(&uring)?;
        let buffers = BufferRing::new(options.buffers, options.buffer_bytes)
            .map_err(diagnosis::setup_error)?;
        // SAFETY: the mapping holds `buffers` entries, is page-aligned, and lives until after the
        // ring: `Ring` drops the queues first.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                buffers.address(),
                buffers.count(),
                BUFFER_GROUP,
                0,
            )
        }
        .map_err(diagnosis::setup_error)?;
        let backend = Backend::Kernel(KernelQueue::new(uring));
        let mut ring = Ring::assemble(backend, Rc::new(buffers), features);
        features.multishot_recv = test_multishot_recv(&mut ring).map_err(diagnosis::setup_error)?;
        ring.set_features(features);
        Ok(ring)
    }

    /// A ring of the simulated kernel, which can do everything.
    #[cfg(feature = "simulation")]
    fn simulated(options: RingOptions) -> Result<Ring, SetupError> {
        let buffers = BufferRing::new(options.buffers, options.buffer_bytes)
            .map_err(diagnosis::setup_error)?;
        let buffers = Rc::new(buffers);
        let queue = SimulatedQueue::new(options, &buffers).expect("a simulation runs");
        let features = Features {
            defer_taskrun: true,
            no_sqarray: true,
            no_iowait: true,
            multishot_recv: true,
            cq_entries: options.cq_entries,
        };
        let backend = Backend::Simulated(queue);
        Ok(Ring::assemble(backend, buffers, features))
    }
}

/// Two rungs by EINVAL only; within a rung, a smaller completion queue by ENOMEM.
fn build(options: RingOptions) -> io::Result<(IoUring, Features)> {
    let mut cq_entries = options.cq_entries;
    let mut no_sqarray = true;
    loop {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(cq_entries)
            .dontfork();
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        match builder.build(options.sq_entries) {
            Ok(uring) => {
                let features = Features {
                    defer_taskrun: true,
                    no_sqarray,
                    cq_entries,
                    ..Features::default()
                };
                return Ok((uring, features));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINVAL) if no_sqarray => no_sqarray = false,
                Some(libc::ENOMEM) if cq_entries > CQ_ENTRIES_MIN => cq_entries /= 2,
                _ => return Err(error),
            },
        }
    }
}

/// Every operation that [`Op`] can become, by number and name.
const OPERATIONS: [(u8, &str); 7] = [
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Read::CODE, "READ"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
];

fn check_operations(uring: &IoUring) -> Result<(), SetupError> {
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(diagnosis::setup_error)?;
    let missing: Vec<&str> = OPERATIONS
        .iter()
        .filter(|(code, _)| !probe.is_supported(*code))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(diagnosis::missing_operations(&missing))
    }
}

/// Multishot flags are not part of the probe, and some kernels took them and misbehaved. One byte
/// through a socket pair shows whether the receive goes on, with a buffer of ours.
fn test_multishot_recv(ring: &mut Ring) -> io::Result<bool> {
    let (ours, theirs) = sys::socket_pair()?;
    let op = Op::RecvMulti {
        fd: ours.raw(),
        poll_first: true,
    };
    // SAFETY: the operation points to no memory but the ring's own buffers.
    unsafe { ring.push(op, Token::SELF_TEST) };
    ring.enter(Wait::Zero)?;
    sys::send_now(theirs.raw(), b"x")?;
    let mut goes_on = false;
    let mut cqes = Vec::new();
    // Bounded: a byte on a socket pair needs one enter; the end of the operation needs one more.
    for round in 0..16 {
        ring.enter(Wait::For(Duration::from_millis(100)))?;
        cqes.clear();
        ring.completions(&mut cqes, usize::MAX);
        for cqe in &cqes {
            if let Some(lease) = ring.lease(cqe) {
                goes_on |= cqe.more() && &*lease == b"x";
            }
            if !cqe.more() {
                return Ok(goes_on);
            }
        }
        if round == 0 {
            sys::shutdown(theirs.raw(), sys::Shutdown::Both);
        }
    }
    Err(io::Error::from_raw_os_error(libc::ETIME))
}
