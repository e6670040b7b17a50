//! What a simulated kernel sees of the program, and how it ends.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::Duration;

use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::Ring;
use crate::ring::queue::Wait;
use crate::ring::setup::RingOptions;
use crate::ring::sim::Fault;
use crate::ring::sim::Faults;
use crate::ring::sim::Installed;
use crate::ring::sim::Options;
use crate::ring::sim::install;
use crate::ring::sys;
use crate::ring::sys::Links;
use crate::ring::sys::Socket;
use crate::ring::token::Token;

const TOKEN: Token = Token::SELF_TEST;

fn strict() -> Installed {
    let mut options = Options::new(1);
    options.strict = true;
    install(options)
}

fn new_ring() -> Ring {
    Ring::new(RingOptions::SMALL).unwrap()
}

fn push(ring: &mut Ring, op: Op) {
    // SAFETY: every test keeps the memory of its operations until its ring is gone.
    unsafe { ring.push(op, TOKEN) };
}

fn receive(socket: &Socket, memory: &mut [u8]) -> Op {
    Op::Recv {
        fd: socket.raw(),
        start: memory.as_mut_ptr(),
        bytes: memory.len() as u32,
        poll_first: false,
    }
}

fn turn(ring: &mut Ring) -> Vec<Cqe> {
    ring.enter(Wait::Zero).unwrap();
    let mut cqes = Vec::new();
    ring.completions(&mut cqes, usize::MAX);
    cqes
}

/// The one violation; the ring is entered for the last time.
fn violation(kernel: &Installed, ring: Ring) -> String {
    let violations = kernel.violations();
    assert_eq!(violations.len(), 1, "{violations:?}");
    let mut ring = ring;
    let ended = catch_unwind(AssertUnwindSafe(|| ring.enter(Wait::Zero)));
    assert!(ended.is_err(), "a violation ends the run");
    drop(ring);
    violations[0].clone()
}

#[test]
fn memory_that_is_gone_is_not_touched() {
    let mut options = Options::new(1);
    options.strict = true;
    // What is to be cancelled would complete first.
    options.faults = Faults::none().with(Fault::CancelLate, 1.0);
    let kernel = install(options);
    let mut ring = new_ring();
    let (ours, theirs) = sys::socket_pair().unwrap();
    let mut memory = [0; 4];
    push(&mut ring, receive(&ours, &mut memory));
    assert!(turn(&mut ring).is_empty());
    ring.release(TOKEN);
    sys::send_now(theirs.raw(), b"late").unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| ring.enter(Wait::Zero))).is_err());
    let cqes = turn(&mut ring);
    assert_eq!(cqes[0].result, -libc::ECANCELED);
    assert_eq!(memory, [0; 4]);
    assert!(kernel.violations()[0].contains("was released while"));
}

#[test]
fn an_operation_on_a_closed_descriptor_is_seen() {
    let kernel = strict();
    let mut ring = new_ring();
    let (ours, theirs) = sys::socket_pair().unwrap();
    let fd = ours.raw();
    drop(ours);
    push(&mut ring, Op::AcceptMulti { fd });
    assert_eq!(turn(&mut ring)[0].result, -libc::EBADF);
    assert!(violation(&kernel, ring).contains("is not open"));
    drop(theirs);
}

#[test]
fn a_call_on_a_closed_descriptor_is_seen() {
    let kernel = strict();
    let (ours, theirs) = sys::socket_pair().unwrap();
    let fd = ours.raw();
    drop(ours);
    assert!(sys::send_now(fd, b"x").is_err());
    assert!(violation(&kernel, new_ring()).contains("is not open"));
    drop(theirs);
}

#[test]
fn a_send_at_once_beside_a_send_is_seen() {
    let mut options = Options::new(1);
    options.strict = true;
    options.socket_buffer_bytes = 1;
    let kernel = install(options);
    let mut ring = new_ring();
    let (ours, theirs) = sys::socket_pair().unwrap();
    assert_eq!(sys::send_now(ours.raw(), b"xy").unwrap(), 1);
    let op = Op::Send {
        fd: ours.raw(),
        start: b"y".as_ptr(),
        bytes: 1,
    };
    push(&mut ring, op);
    assert!(turn(&mut ring).is_empty());
    assert!(sys::send_now(ours.raw(), b"z").is_err());
    let text = violation(&kernel, ring);
    assert!(text.contains("while a send is in flight"), "{text}");
    drop(theirs);
}

#[test]
fn a_ring_that_ends_under_an_operation_is_seen() {
    let kernel = strict();
    let mut ring = new_ring();
    let (ours, _theirs) = sys::socket_pair().unwrap();
    let mut memory = [0; 4];
    push(&mut ring, receive(&ours, &mut memory));
    assert!(turn(&mut ring).is_empty());
    drop(ring);
    assert!(kernel.violations()[0].contains("a ring ended under 1"));
}

#[test]
fn buffers_are_followed_and_overwritten() {
    const LONG: [u8; 3_000] = [b'x'; 3_000];
    let kernel = strict();
    let mut ring = new_ring();
    let (ours, theirs) = sys::socket_pair().unwrap();
    let fd = ours.raw();
    let receive = |ring: &mut Ring| {
        sys::send_now(theirs.raw(), &LONG).unwrap();
        let poll_first = false;
        push(ring, Op::RecvSelect { fd, poll_first });
        ring.enter(Wait::Zero).unwrap();
        assert_eq!(kernel.buffers_out(), 0, "the kernel's until it is taken");
        let mut cqes = Vec::new();
        ring.completions(&mut cqes, usize::MAX);
        assert_eq!(kernel.buffers_out(), 1);
        cqes[0]
    };
    let cqe = receive(&mut ring);
    let lease = ring.lease(&cqe).unwrap();
    let start = lease.as_ptr();
    assert_eq!(lease[..], LONG);
    drop(lease);
    assert_eq!(kernel.buffers_out(), 0);
    ring.enter(Wait::Zero).unwrap();
    // SAFETY: the memory of the buffers lives as long as the ring, and nobody writes there.
    let stale = unsafe { std::slice::from_raw_parts(start, LONG.len()) };
    assert!(stale.iter().all(|byte| *byte != b'x'));
    receive(&mut ring);
    ring.enter(Wait::Zero).unwrap();
    assert_eq!(kernel.buffers_out(), 1, "nobody has leased it");
}

#[test]
fn a_wait_can_be_interrupted() {
    let mut options = Options::new(1);
    options.faults = Faults::none().with(Fault::Interrupted, 1.0);
    let kernel = install(options);
    let mut ring = new_ring();
    let before = kernel.now();
    ring.enter(Wait::For(Duration::from_secs(1))).unwrap();
    ring.enter(Wait::Forever).unwrap();
    assert!(kernel.now() - before < Duration::from_millis(1));
}

#[test]
fn files_that_are_not_closed_are_seen() {
    let kernel = strict();
    kernel.add_file("/site/a", b"content");
    let root = sys::Directory::open(Path::new("/site")).unwrap();
    let (first, _) = root.open_beneath(Path::new("a"), Links::Inside).unwrap();
    let (second, _) = root.open_beneath(Path::new("a"), Links::Inside).unwrap();
    assert_eq!(kernel.files_open(), 2);
    drop(first);
    assert_eq!(kernel.files_open(), 1);
    drop(second);
    assert_eq!(kernel.files_open(), 0);
}

#[test]
fn a_second_kernel_leaves_the_first_alone() {
    let kernel = strict();
    assert!(catch_unwind(strict).is_err());
    let pair = sys::socket_pair().unwrap();
    assert_eq!(kernel.descriptors(), 2);
    drop(pair);
    assert_eq!(kernel.descriptors(), 0);
}

#[test]
fn who_listens_on_all_of_ipv6_is_there_for_ipv4() {
    let kernel = strict();
    let listener = sys::bind_tcp("[::]:0".parse().unwrap(), false).unwrap();
    let port = sys::local_addr(listener.raw()).unwrap().port();
    let address = sys::Address::Tcp(([127, 0, 0, 1], port).into());
    let place = sys::SocketAddress::new(&address).unwrap();
    let socket = sys::new_socket(&address).unwrap();
    let mut ring = new_ring();
    let op = Op::Connect {
        fd: socket.raw(),
        address: place.as_ptr(),
        address_bytes: place.len(),
    };
    push(&mut ring, op);
    assert_eq!(turn(&mut ring)[0].result, 0);
    assert!(sys::accept_now(listener.raw()).is_ok());
    assert!(kernel.violations().is_empty());
}
