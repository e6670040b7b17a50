//! The ring against the real kernel.

use std::io;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::sync::Once;
use std::time::Duration;

use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::Ring;
use crate::ring::queue::Wait;
use crate::ring::setup::RingOptions;
use crate::ring::sys;
use crate::ring::token::Token;
use crate::ring::uring;

/// A ring on io_uring, whatever this process runs on, for what is io_uring's alone. `None` where that is
/// refused, of which standard error hears once, past the harness.
pub(super) fn io_uring(options: RingOptions) -> Option<Ring> {
    static TELL: Once = Once::new();
    sys::raise_soft_limits();
    match uring::new_ring(options) {
        Err(error) if error.is_refused() => {
            let told = || drop(writeln!(io::stderr(), "NOT TESTED on io_uring: {error}"));
            TELL.call_once(told);
            None
        }
        made => Some(made.unwrap()),
    }
}

fn wait_for(ring: &mut Ring, count: usize) -> Vec<Cqe> {
    let mut cqes = Vec::new();
    for _ in 0..100 {
        ring.enter(Wait::For(Duration::from_millis(50))).unwrap();
        ring.completions(&mut cqes, usize::MAX);
        if cqes.len() >= count {
            return cqes;
        }
    }
    panic!("{} of {count} completions", cqes.len());
}

#[test]
fn the_self_test_gives_its_buffers_back() {
    let Some(ring) = io_uring(RingOptions::WORKER) else {
        return;
    };
    assert_eq!(ring.buffers().leased(), 0);
}

#[test]
fn multishot_receive_fills_leases_in_order() {
    let mut ring = Ring::new(RingOptions::SMALL).unwrap();
    let (ours, theirs) = sys::socket_pair().unwrap();
    let token = Token::slot(0, 0);
    // SAFETY: no memory but the ring's own buffers.
    unsafe {
        ring.push(
            Op::RecvMulti {
                fd: ours.raw(),
                poll_first: true,
            },
            token,
        )
    };
    // More rounds than buffers: a lease that is not given back would end the receive.
    for round in 0..100u8 {
        sys::send_now(theirs.raw(), &[round]).unwrap();
        let cqes = wait_for(&mut ring, 1);
        assert_eq!(cqes.len(), 1);
        assert!(cqes[0].more());
        let lease = ring.lease(&cqes[0]).unwrap();
        assert_eq!(&*lease, &[round]);
    }
    drop(theirs);
    let cqes = wait_for(&mut ring, 1);
    assert!(!cqes[0].more());
    assert_eq!(cqes[0].result, 0);
}

#[test]
fn what_does_not_fit_is_kept() {
    let mut ring = Ring::new(RingOptions::SMALL).unwrap();
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let mut values = vec![u64::MAX; 200];
    for (index, value) in values.iter_mut().enumerate() {
        let start = (value as *mut u64).cast();
        let op = Op::Read {
            fd: zeros.as_raw_fd(),
            start,
            bytes: 8,
            offset: 0,
        };
        // SAFETY: `values` is not touched until all reads have completed.
        unsafe { ring.push(op, Token::slot(index as u32, 0)) };
    }
    // Epoll's queue has no end.
    let is_bounded = ring.engine_name() == "io_uring";
    assert_eq!(ring.counters().spills > 0, is_bounded);
    let mut seen = vec![false; values.len()];
    let mut left = values.len();
    while left > 0 {
        for cqe in wait_for(&mut ring, 1) {
            assert_eq!(cqe.result, 8);
            assert!(!seen[cqe.token.index() as usize]);
            seen[cqe.token.index() as usize] = true;
            left -= 1;
        }
    }
    assert!(values.iter().all(|value| *value == 0));
}

#[test]
fn waiting_ends_at_its_time() {
    let mut ring = Ring::new(RingOptions::SMALL).unwrap();
    let before = crate::ring::clock::now();
    ring.enter(Wait::For(Duration::from_millis(20))).unwrap();
    let waited = crate::ring::clock::now() - before;
    assert!(waited >= Duration::from_millis(20), "{waited:?}");
}

#[test]
fn a_dropped_ring_gives_its_registration_back() {
    // A thread may register 16 rings; one that stays registered is not closed either.
    for round in 0..20 {
        let Some(ring) = io_uring(RingOptions::SMALL) else {
            return;
        };
        assert!(ring.has_registered_descriptor(), "ring {round}");
    }
}

#[cfg(feature = "simulation")]
#[test]
fn a_simulated_completion_reads_as_a_real_one() {
    let token = Token::slot(3, 4);
    for (more, buffer) in [
        (false, None),
        (true, Some(0)),
        (false, Some(u16::MAX)),
        (true, None),
    ] {
        let cqe = Cqe::new(token, -11, more, buffer);
        assert_eq!((cqe.token, cqe.result), (token, -11));
        assert_eq!((cqe.more(), cqe.buffer()), (more, buffer));
    }
}
