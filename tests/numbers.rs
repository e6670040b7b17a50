//! The number of a descriptor that was let go is heard when it is used again, whoever has what it stood
//! for: an engine may know descriptors by their numbers. One test alone, so that numbers are foreseen.

// A copy of a descriptor by its number.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use roundtrip::net::Io;
use roundtrip::net::Net;
use roundtrip::net::Protocol;
use roundtrip::net::Received;
use roundtrip::net::Socket;
use roundtrip::net::Step;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::Runtime;

type Peer = std::net::TcpStream;

/// Lets a connection go, which its core has waited for. What it returns is kept while its number is
/// used again.
type LetGo = fn(TcpStream, &mut Peer) -> Option<OwnedFd>;

const WAYS: &[(&str, LetGo)] = &[
    ("it is closed", |stream, _| {
        drop(stream);
        None
    }),
    ("it is closed, and a copy lives", |stream, _| {
        Some(copy(number(&stream)))
    }),
    ("another core closes it", |stream, peer| {
        let socket = stream.into_socket().expect("nothing is in flight");
        serve_elsewhere(socket, peer);
        None
    }),
    (
        "another core closes it, and a copy lives",
        |stream, peer| {
            let copy = copy(number(&stream));
            let socket = stream.into_socket().expect("nothing is in flight");
            serve_elsewhere(socket, peer);
            Some(copy)
        },
    ),
    ("the standard library closes it", |stream, _| {
        let number = stream.into_socket().expect("nothing in flight").into_raw();
        let copy = copy(number);
        // SAFETY: ownership was given up.
        drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number) });
        Some(copy)
    }),
];

#[test]
fn numbers_are_heard_when_they_are_used_again() {
    let runtime = Runtime::small().expect("a ring");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    for (way, let_go) in WAYS {
        let heard = runtime.block_on(async {
            let (stream, mut peer) = connect(&listener).await;
            assert!(hears(&stream, &mut peer).await, "{way}: at first");
            let number = number(&stream);
            let kept = let_go(stream, &mut peer);
            drop(peer);
            let below = occupy_below(number);
            let (stream, mut peer) = connect(&listener).await;
            assert_eq!(self::number(&stream), number, "{way}");
            let heard = hears(&stream, &mut peer).await;
            drop((kept, below));
            heard
        });
        assert!(heard.expect("no other core"), "{way}: nothing is heard");
    }
}

async fn connect(listener: &TcpListener) -> (TcpStream, Peer) {
    let port = listener.local_addr().expect("bound").port();
    let stream = TcpStream::connect("127.0.0.1", port).await;
    let accepted = listener.accept().expect("a connection").0;
    (stream.expect("a listener"), accepted)
}

/// True when what the peer sends to one who waits arrives.
async fn hears(stream: &TcpStream, peer: &mut Peer) -> bool {
    let reading = {
        let stream = stream.clone();
        runtime::spawn(async move { stream.read(BytesMut::with_capacity(8)).await.0 })
    };
    runtime::sleep(Duration::from_millis(1)).await;
    peer.write_all(b"hello").expect("a reader");
    let read = runtime::timeout(Duration::from_secs(5), reading).await;
    matches!(read, Ok(Ok(Ok(5))))
}

/// From its text, `TcpStream(7)`.
fn number(stream: &TcpStream) -> RawFd {
    let text = format!("{stream:?}");
    let digits = text.trim_matches(|character: char| !character.is_ascii_digit());
    digits.parse().expect("a number")
}

fn copy(number: RawFd) -> OwnedFd {
    // SAFETY: it is open, and for the call nobody closes it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().expect("a descriptor")
}

/// Takes all numbers below one that is free, so that this is next.
fn occupy_below(number: RawFd) -> Vec<File> {
    let null = || File::open("/dev/null").expect("a device");
    let below = std::iter::repeat_with(null).take_while(|file| file.as_raw_fd() < number);
    below.collect()
}

/// Answers on another core, until the peer has nothing more to say.
fn serve_elsewhere(socket: Socket, peer: &mut Peer) {
    let other = thread::spawn(|| {
        let runtime = Runtime::small().expect("a ring");
        let served = runtime.block_on(async move {
            let core = Core::current().expect("we run on it");
            let net = Net::of(&core);
            net.open(&core, socket, Box::new(Echo));
            while net.connections() > 0 {
                runtime::sleep(Duration::from_millis(1)).await;
            }
        });
        served.expect("no other core");
    });
    peer.write_all(b"over there").expect("a reader");
    let mut answer = [0; 10];
    peer.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"over there");
    peer.shutdown(std::net::Shutdown::Write).expect("open");
    other.join().expect("it ends");
}

struct Echo;

impl Protocol for Echo {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        io.append_copy(data.as_slice());
        Step::Continue
    }

    fn on_eof(&mut self, _: &mut Io) -> Step {
        Step::CloseAfterFlush
    }

    fn on_deadline(&mut self, _: &mut Io) -> Step {
        Step::Abort
    }

    fn on_closed(&mut self, _: &Io, _: Option<io::Error>) {}
}
