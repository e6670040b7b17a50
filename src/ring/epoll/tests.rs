//! What this engine promises beside the semantics of each operation: order, fairness, few calls, and
//! that a registration ends with what it stands for.

use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::MsgFlags;

use crate::limits::ACCEPTS_PER_TURN;
use crate::limits::RECEIVES_PER_TURN;
use crate::ring::clock;
use crate::ring::epoll;
use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::Ring;
use crate::ring::queue::Wait;
use crate::ring::setup::RingOptions;
use crate::ring::sys;
use crate::ring::sys::Socket;
use crate::ring::token::Token;

/// Longer than anything on loopback takes.
const LONG: Duration = Duration::from_secs(10);

fn ring(buffers: u16) -> Ring {
    let options = RingOptions {
        buffers,
        buffer_bytes: 16,
        ..RingOptions::SMALL
    };
    epoll::new_ring(options).expect("a ring")
}

/// Queues an operation without memory as the one of slot `index`.
fn push(ring: &mut Ring, op: Op, index: u32) {
    // SAFETY: the operations of these tests point to no memory but the ring's own buffers.
    unsafe { ring.push(op, Token::slot(index, 0)) };
}

fn receive(socket: &Socket) -> Op {
    Op::RecvMulti {
        fd: socket.raw(),
        poll_first: false,
    }
}

/// One enter, and what it brought.
fn turn(ring: &mut Ring, wait: Wait) -> Vec<Cqe> {
    let mut cqes = Vec::new();
    ring.enter(wait).expect("an enter");
    ring.completions(&mut cqes, usize::MAX);
    cqes
}

/// Turns until something completes.
fn wait(ring: &mut Ring) -> Vec<Cqe> {
    // A registration may end one wait in vain.
    for _ in 0..3 {
        let cqes = turn(ring, Wait::For(LONG));
        if !cqes.is_empty() {
            return cqes;
        }
    }
    panic!("nothing completes");
}

/// A wait comes to its end, and nothing happens in it.
fn sleeps(ring: &mut Ring) {
    let (short, began) = (Duration::from_millis(20), clock::now());
    assert!(turn(ring, Wait::For(short)).is_empty());
    assert!(clock::now() - began >= short, "something woke it");
}

/// Takes the buffers of completions, and gives them back.
fn bytes(ring: &Ring, cqes: &[Cqe]) -> Vec<u8> {
    let leases = cqes.iter().filter_map(|cqe| ring.lease(cqe));
    leases.flat_map(|lease| lease.to_vec()).collect()
}

/// A connected pair of TCP sockets: ours, and the peer.
fn tcp() -> (Socket, TcpStream) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    (Socket::from_owned(OwnedFd::from(ours)), peer)
}

#[test]
fn nothing_is_tried_before_the_enter() {
    let (ours, theirs) = sys::socket_pair().unwrap();
    let mut ring = ring(2);
    push(&mut ring, receive(&ours), 0);
    assert!(ring.has_queued());
    assert!(ring.counters().system_calls == 0);
    sys::send_now(theirs.raw(), b"x").unwrap();
    assert_eq!(turn(&mut ring, Wait::Zero).len(), 1);
    assert!(!ring.has_queued());
}

#[test]
fn what_never_waits_is_never_registered() {
    let (ours, mut peer) = tcp();
    let mut ring = ring(2);
    peer.write_all(b"request").unwrap();
    let op = Op::RecvSelect {
        fd: ours.raw(),
        poll_first: false,
    };
    push(&mut ring, op, 0);
    let cqes = wait(&mut ring);
    assert_eq!(bytes(&ring, &cqes), b"request");
    // That of the mailbox.
    assert_eq!(ring.counters().registrations, 1);
}

#[test]
fn a_standing_receive_is_registered_once() {
    let (ours, mut peer) = tcp();
    let mut ring = ring(2);
    push(&mut ring, receive(&ours), 0);
    turn(&mut ring, Wait::Zero);
    let before = ring.counters();
    for _ in 0..100 {
        peer.write_all(b"request").unwrap();
        let cqes = wait(&mut ring);
        assert!(cqes[0].more());
        assert_eq!(bytes(&ring, &cqes), b"request");
    }
    let after = ring.counters();
    assert_eq!(after.registrations, before.registrations);
    // One wait and one receive each; and it was asked once whether it is TCP.
    assert_eq!(after.system_calls - before.system_calls, 2 * 100 + 1);
}

#[test]
fn one_that_always_has_data_leaves_the_turn_to_others() {
    let (first, flood) = sys::socket_pair().unwrap();
    let (second, theirs) = sys::socket_pair().unwrap();
    let mut ring = ring(128);
    let pieces = RECEIVES_PER_TURN + 8;
    for _ in 0..pieces {
        sys::send_now(flood.raw(), &[b'f'; 16]).unwrap();
    }
    sys::send_now(theirs.raw(), b"s").unwrap();
    push(&mut ring, receive(&first), 0);
    push(&mut ring, receive(&second), 1);
    let cqes = turn(&mut ring, Wait::Forever);
    let of = |cqes: &[Cqe], slot| cqes.iter().filter(|cqe| cqe.token.index() == slot).count();
    assert_eq!(of(&cqes, 0), RECEIVES_PER_TURN);
    assert_eq!(of(&cqes, 1), 1);
    let mut total = of(&cqes, 0);
    drop(bytes(&ring, &cqes));
    // What is left is no reason to wait.
    while total < pieces {
        let cqes = turn(&mut ring, Wait::Forever);
        total += of(&cqes, 0);
        drop(bytes(&ring, &cqes));
    }
}

#[test]
fn who_finds_no_buffer_goes_on_with_the_next_turn() {
    let pairs: Vec<_> = (0..6).map(|_| tcp()).collect();
    let mut ring = ring(2);
    for (index, (ours, peer)) in pairs.iter().enumerate() {
        (&*peer).write_all(b"hello").unwrap();
        push(&mut ring, receive(ours), index as u32);
    }
    let mut seen = [false; 6];
    // Two in each turn, and nobody twice.
    for _ in 0..3 {
        let cqes = turn(&mut ring, Wait::Forever);
        assert_eq!(cqes.len(), 2);
        for cqe in &cqes {
            assert_eq!(cqe.result, 5, "no ENOBUFS");
            assert!(!std::mem::replace(
                &mut seen[cqe.token.index() as usize],
                true
            ));
        }
        drop(bytes(&ring, &cqes));
    }
    // A turn that finds none from begin to end says so.
    (&pairs[0].1)
        .write_all(b"0123456789abcdef0123456789abcdef")
        .unwrap();
    let cqes = wait(&mut ring);
    let leases: Vec<_> = cqes.iter().filter_map(|cqe| ring.lease(cqe)).collect();
    assert_eq!(leases.len(), 2);
    (&pairs[1].1).write_all(b"hello").unwrap();
    let cqes = wait(&mut ring);
    assert!(
        cqes.iter()
            .all(|cqe| cqe.result == -libc::ENOBUFS && !cqe.more())
    );
}

#[test]
fn who_takes_all_buffers_stands_behind_the_others_then() {
    let pairs: Vec<_> = (0..3).map(|_| tcp()).collect();
    let mut ring = ring(2);
    for (index, (ours, peer)) in pairs.iter().enumerate() {
        (&*peer).write_all(&[b'f'; 16 * 64]).unwrap();
        push(&mut ring, receive(ours), index as u32);
    }
    let mut counts = [0; 3];
    for _ in 0..12 {
        let cqes = turn(&mut ring, Wait::Forever);
        assert_eq!(cqes.len(), 2);
        for cqe in &cqes {
            counts[cqe.token.index() as usize] += 1;
        }
        drop(bytes(&ring, &cqes));
    }
    assert_eq!(counts, [10, 8, 6], "in turn, but for the first try");
}

#[test]
fn a_listener_that_is_stormed_leaves_the_turn_to_others() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = sys::bind_tcp(any, false).unwrap();
    let address = sys::local_addr(listener.raw()).unwrap();
    let count = ACCEPTS_PER_TURN + 10;
    let peers: Vec<_> = (0..count)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut ring = ring(2);
    push(&mut ring, Op::AcceptMulti { fd: listener.raw() }, 0);
    let mut accepted: Vec<Socket> = Vec::new();
    let mut most = 0;
    while accepted.len() < count {
        let cqes = turn(&mut ring, Wait::For(LONG));
        most = most.max(cqes.len());
        // SAFETY: accept4(2) has just returned it, to this completion alone.
        accepted.extend(
            cqes.iter()
                .map(|cqe| unsafe { Socket::from_raw(cqe.result) }),
        );
    }
    assert_eq!(most, ACCEPTS_PER_TURN);
    drop(peers);
}

/// Level-triggered, the end of a connection that nobody reads would be told in each turn.
#[test]
fn a_paused_connection_whose_peer_went_makes_no_turns() {
    let (ours, peer) = tcp();
    let mut ring = ring(2);
    push(&mut ring, receive(&ours), 0);
    turn(&mut ring, Wait::Zero);
    push(
        &mut ring,
        Op::Cancel {
            token: Token::slot(0, 0),
        },
        1,
    );
    turn(&mut ring, Wait::Zero);
    drop(peer);
    let before = ring.counters().system_calls;
    turn(&mut ring, Wait::For(Duration::from_millis(20)));
    sleeps(&mut ring);
    assert_eq!(ring.counters().system_calls - before, 2);
}

#[test]
fn a_number_used_again_while_a_copy_lives_is_registered_anew() {
    for by_number in [false, true] {
        let (ours, mut peer) = tcp();
        let mut ring = ring(2);
        push(&mut ring, receive(&ours), 0);
        turn(&mut ring, Wait::Zero);
        push(
            &mut ring,
            Op::Cancel {
                token: Token::slot(0, 0),
            },
            1,
        );
        turn(&mut ring, Wait::Zero);
        // A child of fork(2), or another thread, has it still.
        let copy = ours.duplicate().unwrap();
        let number = ours.raw();
        if by_number {
            // SAFETY: the number that was given up is closed, once.
            drop(unsafe { Socket::from_raw(ours.into_raw()) });
        } else {
            drop(ours);
        }
        let (again, mut other_peer) = tcp_at(number);
        push(&mut ring, receive(&again), 2);
        assert!(turn(&mut ring, Wait::Zero).is_empty());
        // What comes to the old description is nobody's.
        peer.write_all(b"old").unwrap();
        assert!(turn(&mut ring, Wait::For(Duration::from_millis(20))).is_empty());
        other_peer.write_all(b"new").unwrap();
        let cqes = wait(&mut ring);
        assert_eq!(cqes[0].token.index(), 2);
        assert_eq!(bytes(&ring, &cqes), b"new");
        drop(copy);
    }
}

/// A connection at a number of its own: dup2(2) takes whatever number it is told.
fn tcp_at(number: i32) -> (Socket, TcpStream) {
    let (ours, peer) = tcp();
    if ours.raw() == number {
        return (ours, peer);
    }
    // SAFETY: tests run side by side: where somebody else has the number by now, it stays theirs.
    let moved = unsafe { libc::fcntl(ours.raw(), libc::F_DUPFD_CLOEXEC, number) };
    assert!(moved >= number);
    // SAFETY: fcntl(2) has just returned it to us alone.
    (unsafe { Socket::from_raw(moved) }, peer)
}

#[test]
fn data_behind_an_urgent_byte_is_received() {
    let (ours, mut peer) = tcp();
    let mut ring = ring(8);
    push(&mut ring, receive(&ours), 0);
    turn(&mut ring, Wait::Zero);
    peer.write_all(b"before").unwrap();
    // SAFETY: one byte, alive for the call.
    let sent = unsafe {
        use std::os::fd::AsRawFd;
        libc::send(peer.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB)
    };
    assert_eq!(sent, 1);
    peer.write_all(b"behind").unwrap();
    let mut received = Vec::new();
    while received.len() < b"beforebehind".len() {
        let cqes = wait(&mut ring);
        received.extend(bytes(&ring, &cqes));
    }
    assert_eq!(received, b"beforebehind");
}

#[test]
fn a_cold_file_is_read_by_a_thread_and_a_counter_by_its_event() {
    // Of a file system that cannot tell what is in memory, as /proc, everything counts as cold.
    let file = std::fs::File::open("/proc/self/stat").unwrap();
    let event = sys::Event::new().unwrap();
    let mut ring = ring(2);
    let mut text = vec![0u8; 8];
    let mut counter = 0u64;
    {
        use std::os::fd::AsRawFd;
        let read = |fd, start, offset| Op::Read {
            fd,
            start,
            bytes: 8,
            offset,
        };
        let (start, value) = (text.as_mut_ptr(), (&raw mut counter).cast());
        // SAFETY: both are on this frame, and untouched until their completions came.
        unsafe {
            ring.push(read(file.as_raw_fd(), start, 0), Token::slot(0, 0));
            ring.push(read(event.raw(), value, u64::MAX), Token::slot(1, 0));
        }
    }
    let cqes = wait(&mut ring);
    assert_eq!((cqes[0].token.index(), cqes[0].result), (0, 8));
    assert!(text.iter().all(|byte| *byte != 0));
    event.notify();
    let cqes = wait(&mut ring);
    assert_eq!((cqes[0].token.index(), cqes[0].result), (1, 8));
    assert_eq!(counter, 1);
}

#[test]
fn a_full_queue_of_a_unix_listener_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // SAFETY: a call with numbers: a queue for one.
    let result = unsafe {
        use std::os::fd::AsRawFd;
        libc::listen(listener.as_raw_fd(), 0)
    };
    assert_eq!(result, 0);
    let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let address = sys::Address::Unix(path);
    let target = sys::SocketAddress::new(&address).unwrap();
    let socket = sys::new_socket(&address).unwrap();
    let mut ring = ring(2);
    let op = Op::Connect {
        fd: socket.raw(),
        address: target.as_ptr(),
        address_bytes: target.len(),
    };
    // SAFETY: the address lives until the completion.
    unsafe { ring.push(op, Token::slot(0, 0)) };
    assert!(turn(&mut ring, Wait::Zero).is_empty());
    listener.accept().unwrap();
    let cqes = wait(&mut ring);
    assert_eq!(cqes[0].result, 0);
}

/// The room that a peer makes by reading is news to nobody unless a send waits for it.
#[test]
fn what_a_unix_peer_reads_makes_no_turns() {
    let (ours, theirs) = sys::socket_pair().unwrap();
    let mut ring = ring(2);
    push(&mut ring, receive(&ours), 0);
    turn(&mut ring, Wait::Zero);
    sys::send_now(ours.raw(), b"response").unwrap();
    let read = nix::sys::socket::recv(theirs.raw(), &mut [0; 64], MsgFlags::empty());
    assert_eq!(read, Ok(8));
    sleeps(&mut ring);
    // Where one waits, it is told.
    while sys::send_now(ours.raw(), &[b'.'; 4096]).is_ok() {}
    let op = Op::Send {
        fd: ours.raw(),
        start: b"late".as_ptr(),
        bytes: 4,
    };
    push(&mut ring, op, 1);
    assert!(turn(&mut ring, Wait::Zero).is_empty());
    let mut drained = vec![0; 1 << 20];
    while nix::sys::socket::recv(theirs.raw(), &mut drained, MsgFlags::MSG_DONTWAIT).is_ok() {}
    let cqes = wait(&mut ring);
    assert_eq!((cqes[0].token.index(), cqes[0].result), (1, 4));
}
