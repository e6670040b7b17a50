//! Makes an io_uring: set-up flags, memory limits, probe of the operations, live self-test.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use io_uring::IoUring;
use io_uring::Probe;
use io_uring::opcode;

use crate::limits::CQ_ENTRIES_MIN;
use crate::ring::buffers::BufferRing;
use crate::ring::diagnosis::SetupError;
use crate::ring::op::Op;
use crate::ring::queue::Backend;
use crate::ring::queue::Ring;
use crate::ring::queue::Wait;
use crate::ring::setup::Features;
use crate::ring::setup::RingOptions;
use crate::ring::sys;
use crate::ring::token::Token;
use crate::ring::uring::UringQueue;
use crate::ring::uring::entry::BUFFER_GROUP;

/// Makes a ring on io_uring.
pub(in crate::ring) fn new_ring(options: RingOptions) -> Result<Ring, SetupError> {
    let (uring, mut features) = build(options).map_err(SetupError::io_uring)?;
    features.no_iowait = uring.params().is_feature_no_iowait();
    if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
        return Err(SetupError::io_uring(io::Error::from_raw_os_error(
            libc::EINVAL,
        )));
    }
    check_operations(&uring)?;
    let buffers =
        BufferRing::new(options.buffers, options.buffer_bytes).map_err(SetupError::io_uring)?;
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
    .map_err(SetupError::io_uring)?;
    let backend = Backend::Uring(UringQueue::new(uring));
    let mut ring = Ring::assemble(backend, Rc::new(buffers), features);
    if !receives_go_on(&mut ring).map_err(SetupError::io_uring)? {
        return Err(SetupError::missing_operations(&["multishot RECV"]));
    }
    Ok(ring)
}

/// Two rungs by EINVAL only; within a rung, a smaller completion queue by ENOMEM.
fn build(options: RingOptions) -> io::Result<(IoUring, Features)> {
    let mut cq_entries = options.cq_entries;
    let cq_entries_min = CQ_ENTRIES_MIN.max(options.sq_entries);
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
                    no_sqarray,
                    cq_entries,
                    ..Features::default()
                };
                return Ok((uring, features));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINVAL) if no_sqarray => no_sqarray = false,
                Some(libc::ENOMEM) if cq_entries / 2 >= cq_entries_min => cq_entries /= 2,
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
        .map_err(SetupError::io_uring)?;
    let missing: Vec<&str> = OPERATIONS
        .iter()
        .filter(|(code, _)| !probe.is_supported(*code))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(SetupError::missing_operations(&missing))
    }
}

/// Multishot flags are not part of the probe, and some kernels took them and misbehaved. One byte
/// through a socket pair shows whether the receive goes on, with a buffer of ours.
fn receives_go_on(ring: &mut Ring) -> io::Result<bool> {
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
