//! Connections on the real kernel, against plain blocking sockets.

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;

use crate::net::Accept;
use crate::net::ConnectOptions;
use crate::net::Io;
use crate::net::ListenSocket;
use crate::net::Net;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Step;
use crate::net::TcpListener;
use crate::net::TcpStream;
use crate::net::UnixListener;
use crate::net::UnixStream;
use crate::net::race;
use crate::runtime::Core;
use crate::runtime::Runtime;
use crate::runtime::blocking;
use crate::runtime::sleep;
use crate::runtime::spawn;
use crate::runtime::timeout;

mod edges;
mod succession;

/// A protocol made of closures, with a record of its end.
struct Scripted<F> {
    on_recv: F,
    ends: Rc<RefCell<Vec<Option<io::ErrorKind>>>>,
}

impl<F: FnMut(&mut Io, Received<'_>) -> Step> Protocol for Scripted<F> {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        (self.on_recv)(io, data)
    }

    fn on_eof(&mut self, _io: &mut Io) -> Step {
        Step::CloseAfterFlush
    }

    fn on_deadline(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }

    fn on_closed(&mut self, _: &Io, cause: Option<io::Error>) {
        self.ends.borrow_mut().push(cause.map(|cause| cause.kind()));
    }
}

type MakeProtocol = Box<dyn Fn(&mut Io) -> Box<dyn Protocol>>;

struct Factory(MakeProtocol);

impl Accept for Factory {
    fn accept(&self, io: &mut Io) -> Option<Box<dyn Protocol>> {
        Some((self.0)(io))
    }
}

struct Served {
    runtime: Runtime,
    address: SocketAddr,
    ends: Rc<RefCell<Vec<Option<io::ErrorKind>>>>,
}

/// Listens on a free port; every connection speaks `on_recv`.
fn serve<F>(on_recv: F) -> Served
where
    F: FnMut(&mut Io, Received<'_>) -> Step + Clone + 'static,
{
    serve_with(on_recv, |_io| {})
}

fn serve_with<F>(on_recv: F, prepare: impl Fn(&mut Io) + 'static) -> Served
where
    F: FnMut(&mut Io, Received<'_>) -> Step + Clone + 'static,
{
    let runtime = Runtime::new().unwrap();
    let ends = Rc::new(RefCell::new(Vec::new()));
    let socket = ListenSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let crate::net::Address::Tcp(address) = *socket.local_addr() else {
        panic!()
    };
    let theirs = Rc::clone(&ends);
    let factory = Factory(Box::new(move |io| {
        prepare(io);
        Box::new(Scripted {
            on_recv: on_recv.clone(),
            ends: Rc::clone(&theirs),
        })
    }));
    Net::of(runtime.core()).listen(runtime.core(), socket, Rc::new(factory));
    Served {
        runtime,
        address,
        ends,
    }
}

impl Served {
    /// Runs the core while `client` runs on a thread, and until all connections are gone.
    fn with<T: Send + 'static>(
        &self,
        client: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
    ) -> T {
        let address = self.address;
        self.runtime
            .block_on(async move {
                let result = blocking(move || {
                    let stream = std::net::TcpStream::connect(address).unwrap();
                    stream
                        .set_read_timeout(Some(Duration::from_secs(10)))
                        .unwrap();
                    stream
                        .set_write_timeout(Some(Duration::from_secs(10)))
                        .unwrap();
                    client(stream)
                })
                .await
                .unwrap();
                let net = Net::of(&Core::current().unwrap());
                timeout(Duration::from_secs(10), async {
                    while net.connections() > 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                })
                .await
                .unwrap();
                result
            })
            .unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let reactor = self.runtime.core().reactor();
        assert_eq!(reactor.leased(), 0, "a buffer was not given back");
        assert_eq!(reactor.counters().stale, 0);
    }
}

fn echo(io: &mut Io, data: Received<'_>) -> Step {
    io.set_receive(Receive::Standing);
    io.append_copy(data.as_slice());
    Step::Continue
}

#[test]
fn echoes_small_and_large_in_order() {
    let served = serve(echo);
    served.with(|mut stream| {
        for round in 0..200u32 {
            stream.write_all(&round.to_be_bytes()).unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, round.to_be_bytes());
        }
        let sent: Vec<u8> = (0..3_000_000u32).map(|index| (index % 251) as u8).collect();
        let expected = sent.clone();
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || writer.write_all(&sent).unwrap());
        let mut received = vec![0; expected.len()];
        stream.read_exact(&mut received).unwrap();
        writing.join().unwrap();
        assert!(received == expected);
    });
    assert_eq!(*served.ends.borrow(), [None]);
}

#[test]
fn many_connections_at_once_and_none_left() {
    let served = serve(echo);
    let address = served.address;
    served.with(move |_first| {
        let threads: Vec<_> = (0..8u8)
            .map(|thread| {
                std::thread::spawn(move || {
                    let mut streams: Vec<_> = (0..50)
                        .map(|_| std::net::TcpStream::connect(address).unwrap())
                        .collect();
                    for round in 0..5u8 {
                        for stream in &mut streams {
                            stream.write_all(&[thread, round]).unwrap();
                        }
                        for stream in &mut streams {
                            let mut answer = [0; 2];
                            stream.read_exact(&mut answer).unwrap();
                            assert_eq!(answer, [thread, round]);
                        }
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(served.ends.borrow().len(), 401);
}

#[test]
fn the_last_answer_arrives_although_the_peer_still_sends() {
    let served = serve(|io: &mut Io, _data: Received<'_>| {
        io.append_bytes(Bytes::from(vec![b'x'; 100_000]));
        Step::CloseAfterFlush
    });
    served.with(|mut stream| {
        stream.write_all(&[b'q'; 50_000]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), 100_000);
    });
    assert_eq!(*served.ends.borrow(), [None]);
}

#[test]
fn half_closed_peers_get_their_answer() {
    let served = serve(echo);
    served.with(|mut stream| {
        stream.write_all(b"question").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "question");
    });
}

#[test]
fn bodies_come_owned_one_at_a_time() {
    let sizes = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&sizes);
    let total = Rc::new(Cell::new(0));
    let served = serve(move |io: &mut Io, data: Received<'_>| {
        theirs.borrow_mut().push(matches!(data, Received::Owned(_)));
        total.set(total.get() + data.as_slice().len());
        if total.get() == 2_000_000 {
            io.append_copy(b"done");
            return Step::CloseAfterFlush;
        }
        io.want_body(64 * 1024);
        Step::Continue
    });
    served.with(|mut stream| {
        stream.write_all(&vec![1; 2_000_000]).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "done");
    });
    let sizes = sizes.borrow();
    assert!(!sizes[0], "the first receive is a shared one");
    assert!(sizes[1..].iter().all(|owned| *owned));
}

#[test]
fn a_paused_connection_receives_nothing_until_its_deadline() {
    let calls = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&calls);
    let served = serve(move |io: &mut Io, _data: Received<'_>| {
        theirs.set(theirs.get() + 1);
        io.pause();
        let deadline = io.now() + Duration::from_millis(100);
        io.set_deadline(Some(deadline));
        Step::Continue
    });
    served.with(|mut stream| {
        stream.write_all(b"a").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"b").unwrap();
        let mut answer = Vec::new();
        // The abort may show as a reset or as an end.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    });
    assert_eq!(calls.get(), 1);
    assert_eq!(
        *served.ends.borrow(),
        [Some(io::ErrorKind::ConnectionAborted)]
    );
}

#[test]
fn a_peer_that_does_not_read_is_given_up() {
    let served = serve_with(
        |io: &mut Io, _data: Received<'_>| {
            io.append_bytes(Bytes::from(vec![0; 64 << 20]));
            Step::Continue
        },
        |io| io.set_write_timeout(Duration::from_millis(200)),
    );
    served.with(|mut stream| {
        stream.write_all(b"go").unwrap();
        std::thread::sleep(Duration::from_millis(600));
    });
    assert_eq!(*served.ends.borrow(), [Some(io::ErrorKind::TimedOut)]);
}

#[test]
fn files_are_sent_as_they_are() {
    let mut file = tempfile::tempfile().unwrap();
    let content: Vec<u8> = (0..5_000_000u32)
        .map(|index| (index / 7 % 253) as u8)
        .collect();
    file.write_all(&content).unwrap();
    let file = Arc::new(file);
    let served = serve(move |io: &mut Io, _data: Received<'_>| {
        io.append_copy(b"head");
        io.append_file(Arc::clone(&file), 0..5_000_000);
        io.append_copy(b"tail");
        io.append_file(Arc::clone(&file), 10..20);
        Step::CloseAfterFlush
    });
    let expected = [b"head", &content[..], b"tail", &content[10..20]].concat();
    served.with(move |mut stream| {
        stream.write_all(b"go").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer == expected);
    });
    assert_eq!(*served.ends.borrow(), [None]);
}

#[test]
fn a_file_that_shrank_ends_the_connection() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1_000).unwrap();
    let file = Arc::new(file);
    let served = serve(move |io: &mut Io, _data: Received<'_>| {
        io.append_file(Arc::clone(&file), 0..5_000);
        Step::Continue
    });
    served.with(|mut stream| {
        stream.write_all(b"go").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() <= 1_000);
    });
    assert_eq!(served.ends.borrow().len(), 1);
    assert!(served.ends.borrow()[0].is_some());
}

#[test]
fn another_protocol_takes_over_with_what_is_left() {
    let served = serve(|_io: &mut Io, data: Received<'_>| {
        let leftover = data.into_bytes_from(3);
        let upper = |io: &mut Io, data: Received<'_>| {
            io.append_copy(&data.as_slice().to_ascii_uppercase());
            Step::Continue
        };
        Step::Become(
            Box::new(Scripted {
                on_recv: upper,
                ends: Rc::default(),
            }),
            leftover,
        )
    });
    served.with(|mut stream| {
        stream.write_all(b"abcdef").unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"DEF");
        stream.write_all(b"ghi").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"GHI");
    });
}

#[test]
fn what_the_accept_queue_holds_is_served_before_closing() {
    let served = serve(echo);
    let address = served.address;
    served
        .runtime
        .block_on(async move {
            let core = Core::current().unwrap();
            // Connected, but not accepted: the loop has not turned since.
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            Net::of(&core).stop_listening(&core, crate::net::listener::key_for_tests(0));
            let answer = blocking(move || {
                stream.write_all(b"hi").unwrap();
                let mut answer = [0; 2];
                stream.read_exact(&mut answer).unwrap();
                answer
            })
            .await
            .unwrap();
            assert_eq!(&answer, b"hi");
            assert!(std::net::TcpStream::connect(address).is_err());
        })
        .unwrap();
}

#[test]
fn a_second_listener_is_told_what_to_do() {
    let first = ListenSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let crate::net::Address::Tcp(address) = *first.local_addr() else {
        panic!()
    };
    let error = ListenSocket::bind(address).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(text.contains("another process listens there"), "{text}");
    let beside = first.duplicate().unwrap().unwrap();
    assert_eq!(beside.local_addr(), first.local_addr());
}

#[test]
fn streams_are_futures_with_owned_buffers() {
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr();
            let server = spawn(async move {
                let stream = listener.accept().await.unwrap();
                let (result, buffer) = stream.read(BytesMut::with_capacity(64)).await;
                assert_eq!(result.unwrap(), 5);
                stream.write_all(buffer.freeze()).await.unwrap();
            });
            let stream = TcpStream::connect("localhost", address.port()).await;
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => panic!("{error}"),
            };
            stream.write_all("hello").await.unwrap();
            let (result, buffer) = stream.read(BytesMut::with_capacity(64)).await;
            assert_eq!(result.unwrap(), 5);
            assert_eq!(&buffer[..], b"hello");
            let (result, _) = stream.read(buffer).await;
            assert_eq!(result.unwrap(), 0);
            server.await.unwrap();
        })
        .unwrap();
    assert_eq!(runtime.core().reactor().in_flight(), 1, "the mailbox alone");
}

#[test]
fn unix_streams_too_and_deserted_files_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    std::os::unix::net::UnixListener::bind(&path).unwrap();
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            let listener = UnixListener::bind(&path).unwrap();
            let stream = UnixStream::connect(&path).await.unwrap();
            let accepted = listener.accept().await.unwrap();
            accepted.write_all("x").await.unwrap();
            drop(accepted);
            let (result, buffer) = stream.read(BytesMut::with_capacity(8)).await;
            assert_eq!(result.unwrap(), 1);
            assert_eq!(&buffer[..], b"x");
            assert!(UnixListener::bind(&path).is_err(), "somebody listens there");
        })
        .unwrap();
    assert!(!path.exists());
}

#[test]
fn refused_and_unknown_say_where() {
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            // A port that was free a moment ago.
            let free = std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let error = TcpStream::connect("127.0.0.1", free.port())
                .await
                .unwrap_err();
            assert!(error.is_connect());
            assert!(error.to_string().contains(&free.to_string()), "{error}");
            let error = TcpStream::connect("name.invalid", 80).await.unwrap_err();
            assert!(error.to_string().contains("name.invalid"), "{error}");
        })
        .unwrap();
}

#[test]
fn the_family_that_nobody_serves_is_no_obstacle() {
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local_addr();
            let other = SocketAddr::new("::1".parse().unwrap(), address.port());
            let both = [other, address];
            let patience = Duration::from_secs(20);
            let connected = crate::net::connect(&both, patience).await.unwrap();
            assert_eq!(connected.address, address);
            let accepted = listener.accept().await.unwrap();
            drop(connected);
            let (read, _) = accepted.read(BytesMut::with_capacity(1)).await;
            assert_eq!(read.unwrap(), 0);
        })
        .unwrap();
}

#[test]
fn an_address_that_is_silent_is_given_up_when_another_answers() {
    let silent = ListenSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let socket = silent.duplicate_descriptor().unwrap();
    crate::reactor::sys::drop_handshakes(socket.raw());
    let crate::net::Address::Tcp(first) = *silent.local_addr() else {
        panic!()
    };
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let addresses = [first, listener.local_addr()];
            let patience = Duration::from_secs(20);
            let connected = crate::net::connect(&addresses, patience).await.unwrap();
            assert_eq!(connected.address, addresses[1]);
            // The attempt that lost is cancelled: nothing of it stays in flight.
            let core = Core::current().unwrap();
            for _ in 0..1_000 {
                if core.reactor().in_flight() == 1 {
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
            panic!("{} operations are in flight", core.reactor().in_flight());
        })
        .unwrap();
}

#[test]
fn connections_come_from_the_address_that_was_chosen() {
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let timeout = Duration::from_secs(20);
            let options = |source: &str| ConnectOptions {
                deadline: Core::current().unwrap().now() + timeout,
                timeout,
                source: Some(source.parse().unwrap()),
            };
            let addresses = [listener.local_addr()];
            let connected = race(&addresses, options("127.0.0.2"), &()).await;
            let peer = listener.accept().await.unwrap().peer_addr().unwrap();
            assert_eq!(peer.ip().to_string(), "127.0.0.2");
            drop(connected);
            // An address that no interface of this machine has.
            let error = race(&addresses, options("192.0.2.1"), &()).await;
            let text = error.unwrap_err().to_string();
            assert!(text.contains("from 192.0.2.1 (local_address)"), "{text}");
        })
        .unwrap();
}

#[test]
fn an_answer_that_is_cut_short_has_a_cause() {
    let served = serve_with(
        |io: &mut Io, _data: Received<'_>| {
            io.append_bytes(Bytes::from(vec![0; 64 << 20]));
            Step::CloseAfterFlush
        },
        |io| io.set_write_timeout(Duration::from_millis(200)),
    );
    served.with(|mut stream| {
        stream.write_all(b"go").unwrap();
        std::thread::sleep(Duration::from_millis(600));
    });
    assert_eq!(*served.ends.borrow(), [Some(io::ErrorKind::TimedOut)]);
}

#[test]
fn a_socket_of_another_core_is_refused() {
    let first = Runtime::small().unwrap();
    let listener = first
        .block_on(async { TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap() })
        .unwrap();
    let second = Runtime::small().unwrap();
    let error = second.block_on(async { listener.accept().await.unwrap_err() });
    assert!(error.unwrap().to_string().contains("belongs to a core"));
    drop(first);
    assert!(second.block_on(listener.accept()).unwrap().is_err());
}

#[test]
fn a_listener_that_hears_no_handshakes_keeps_its_queue() {
    let own = ListenSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let crate::net::Address::Tcp(address) = *own.local_addr() else {
        panic!()
    };
    let queued = std::net::TcpStream::connect(address).unwrap();
    let (socket, moment) = (
        own.duplicate_descriptor().unwrap(),
        Duration::from_millis(50),
    );
    crate::reactor::sys::drop_handshakes(socket.raw());
    // Neither a connection nor a refusal.
    let late = std::net::TcpStream::connect_timeout(&address, moment);
    assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let accepted = crate::reactor::sys::accept_now(socket.raw()).unwrap();
    let peer = crate::reactor::sys::peer_addr(accepted.raw());
    assert_eq!(peer, Some(queued.local_addr().unwrap()));
    assert!(crate::reactor::sys::accept_now(socket.raw()).is_err());
}
