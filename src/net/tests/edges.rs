//! What goes wrong only at the edges: ends in the middle of something, starvation, greed, and code
//! of users that runs where it was not expected.

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream as PlainStream;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::echo;
use super::serve_with;
use crate::limits::DRAIN_TIMEOUT;
use crate::limits::SENDS_PER_TURN;
use crate::net::ConnectionKey;
use crate::net::Io;
use crate::net::Net;
use crate::net::Protocol;
use crate::net::Receive;
use crate::net::Received;
use crate::net::Socket;
use crate::net::Step;
use crate::net::UnixListener;
use crate::net::UnixStream;
use crate::runtime::Core;
use crate::runtime::Runtime;
use crate::runtime::blocking;
use crate::runtime::sleep;
use crate::runtime::spawn;
use crate::runtime::timeout;

/// A connected pair: ours in the core, the peer's as a plain socket.
fn open_pair(core: &Rc<Core>, protocol: Box<dyn Protocol>) -> (ConnectionKey, PlainStream) {
    let (ours, theirs) = PlainStream::pair().unwrap();
    let socket = Socket::from_owned(ours.into());
    let key = Net::of(core).open(core, socket, protocol);
    (key, theirs)
}

type OnRecv = Box<dyn FnMut(&mut Io, Received<'_>) -> Step>;
type OnEvent = Box<dyn FnMut(&mut Io) -> Step>;

/// A protocol made of a closure for each event.
#[derive(Default)]
struct Events {
    on_recv: Option<OnRecv>,
    on_sent: Option<OnEvent>,
    on_ready: Option<OnEvent>,
    on_closed: Option<Box<dyn FnOnce()>>,
}

impl Protocol for Events {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        self.on_recv
            .as_mut()
            .map_or(Step::Continue, |call| call(io, data))
    }

    fn on_sent(&mut self, io: &mut Io) -> Step {
        self.on_sent
            .as_mut()
            .map_or(Step::Continue, |call| call(io))
    }

    fn on_eof(&mut self, _io: &mut Io) -> Step {
        Step::CloseAfterFlush
    }

    fn on_deadline(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }

    fn on_ready(&mut self, io: &mut Io) -> Step {
        self.on_ready
            .as_mut()
            .map_or(Step::Continue, |call| call(io))
    }

    fn on_closed(&mut self, _: &Io, _cause: Option<io::Error>) {
        if let Some(call) = self.on_closed.take() {
            call();
        }
    }
}

/// A standing receive that polls first misses an end that lies behind data (observed on 6.18, Unix
/// sockets; a reset, on TCP).
#[test]
fn the_end_behind_data_is_seen_by_a_standing_receive() {
    let closed = Rc::new(Cell::new(false));
    let (ended, mut received, mut calls) = (Rc::clone(&closed), 0, 0);
    let events = Events {
        on_recv: Some(Box::new(move |io, data| {
            received += data.as_slice().len();
            if received == 1 {
                io.pause();
            }
            Step::Continue
        })),
        on_ready: Some(Box::new(move |io| {
            calls += 1;
            if calls == 2 {
                io.set_receive(Receive::Standing);
            }
            Step::Continue
        })),
        on_closed: Some(Box::new(move || ended.set(true))),
        ..Events::default()
    };
    let program = async {
        let core = Core::current().unwrap();
        let (key, mut peer) = open_pair(&core, Box::new(events));
        peer.write_all(b"a").unwrap();
        sleep(Duration::from_millis(20)).await;
        peer.write_all(b"b").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        Net::of(&core).wake(&core, key);
        sleep(Duration::from_millis(200)).await;
        assert!(closed.get(), "it waits for an end that has come");
    };
    Runtime::small().unwrap().block_on(program).unwrap();
}

#[test]
fn the_end_of_a_core_receives_from_nobody_elses_socket() {
    let runtime = Runtime::small().unwrap();
    let other: Rc<RefCell<Option<PlainStream>>> = Rc::default();
    let theirs = Rc::clone(&other);
    let events = Events {
        on_closed: Some(Box::new(move || {
            // Takes the lowest free descriptor: that of a socket that was closed too early.
            let (reader, mut writer) = PlainStream::pair().unwrap();
            writer.write_all(b"not yours").unwrap();
            *theirs.borrow_mut() = Some(reader);
        })),
        ..Events::default()
    };
    // The receive is queued, and the core ends before it is entered again.
    let opened = async { open_pair(&Core::current().unwrap(), Box::new(events)).1 };
    let peer = runtime.block_on(opened).unwrap();
    drop(runtime);
    let mut reader = other.borrow_mut().take().unwrap();
    let mut bytes = String::new();
    reader.read_to_string(&mut bytes).unwrap();
    assert_eq!(bytes, "not yours");
    drop(peer);
}

#[test]
fn starved_connections_that_are_aborted_go_away() {
    let runtime = Runtime::small().unwrap();
    let is_first = Rc::new(Cell::new(true));
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            let net = Net::of(&core);
            let peers: Vec<_> = (0..64)
                .map(|_| {
                    let is_first = Rc::clone(&is_first);
                    let on_recv = move |_: &mut Io, _: Received<'_>| {
                        if is_first.replace(false) {
                            let core = Core::current().unwrap();
                            Net::of(&core).abort_all(&core);
                        }
                        Step::Continue
                    };
                    let events = Events {
                        on_recv: Some(Box::new(on_recv)),
                        ..Events::default()
                    };
                    let (_, mut peer) = open_pair(&core, Box::new(events));
                    peer.write_all(&[1; 100]).unwrap();
                    peer
                })
                .collect();
            let all_gone = async {
                while net.connections() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let gone = timeout(Duration::from_secs(2), all_gone).await;
            // Epoll waits for the buffers that come back at the end of the turn.
            let starves = core.counters().engine == "io_uring";
            assert_eq!(core.counters().starved > 0, starves);
            assert!(gone.is_ok(), "{} connections stay", net.connections());
            drop(peers);
        })
        .unwrap();
}

#[test]
fn one_that_always_has_output_leaves_turns_to_others() {
    let runtime = Runtime::small().unwrap();
    let calls = Rc::new(Cell::new(0u64));
    let theirs = Rc::clone(&calls);
    let produce = |io: &mut Io| {
        io.append_copy(b"x");
        io.notify_when_sent();
        Step::Continue
    };
    let events = Events {
        on_ready: Some(Box::new(produce)),
        on_sent: Some(Box::new(move |io| {
            theirs.set(theirs.get() + 1);
            if theirs.get() > 20_000 {
                return Step::Abort;
            }
            produce(io)
        })),
        ..Events::default()
    };
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            let (_, mut peer) = open_pair(&core, Box::new(events));
            let reading = std::thread::spawn(move || {
                let _ = peer.read_to_end(&mut Vec::new());
            });
            let before = core.counters().enters;
            while Net::of(&core).connections() > 0 {
                let made = calls.get();
                sleep(Duration::from_micros(1)).await;
                let turns = core.counters().enters - before;
                assert!(
                    calls.get() <= (turns + 1) * SENDS_PER_TURN as u64,
                    "{} sends in {turns} turns, {made} before the last",
                    calls.get()
                );
            }
            reading.join().unwrap();
        })
        .unwrap();
}

#[test]
fn a_mode_that_was_asked_for_during_a_body_receive_stays() {
    let runtime = Runtime::small().unwrap();
    let received = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&received);
    let is_first = Cell::new(true);
    let events = Events {
        on_ready: Some(Box::new(move |io| {
            match is_first.replace(false) {
                true => io.want_body(1_024),
                false => io.set_receive(Receive::Standing),
            }
            Step::Continue
        })),
        on_recv: Some(Box::new(move |_, data| {
            theirs.set(theirs.get() + data.as_slice().len());
            Step::Continue
        })),
        ..Events::default()
    };
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            let (key, mut peer) = open_pair(&core, Box::new(events));
            // The first receive is a shared one; the body's follows.
            sleep(Duration::from_millis(5)).await;
            peer.write_all(b"1").unwrap();
            sleep(Duration::from_millis(5)).await;
            Net::of(&core).wake(&core, key);
            sleep(Duration::from_millis(5)).await;
            for count in 2..5 {
                peer.write_all(b"2").unwrap();
                sleep(Duration::from_millis(5)).await;
                assert_eq!(received.get(), count);
            }
        })
        .unwrap();
}

#[test]
fn an_abort_while_a_connection_is_accepted_counts() {
    let served = serve_with(echo, |_io| {
        let core = Core::current().unwrap();
        Net::of(&core).abort_all(&core);
    });
    served.with(|mut stream| {
        let ended = match stream.read(&mut [0; 8]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        assert!(ended, "the connection stays");
    });
    assert_eq!(
        *served.ends.borrow(),
        [Some(io::ErrorKind::ConnectionAborted)]
    );
}

#[test]
fn output_into_the_void_ends() {
    let runtime = Runtime::small().unwrap();
    let calls = Rc::new(Cell::new(0u64));
    let theirs = Rc::clone(&calls);
    let produce = |io: &mut Io| {
        io.append_bytes(Bytes::from_static(&[0; 20_000]));
        io.notify_when_sent();
        Step::Continue
    };
    let events = Events {
        on_ready: Some(Box::new(move |io| {
            io.set_write_timeout(Duration::from_millis(200));
            produce(io)
        })),
        on_sent: Some(Box::new(move |io| {
            theirs.set(theirs.get() + 1);
            produce(io)
        })),
        ..Events::default()
    };
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            let (_, peer) = open_pair(&core, Box::new(events));
            // It does not read any more, and says nothing either.
            peer.shutdown(Shutdown::Read).unwrap();
            let all_gone = async {
                while Net::of(&core).connections() > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let gone = timeout(Duration::from_secs(2), all_gone).await;
            assert!(gone.is_ok(), "{} calls, and it is there", calls.get());
            assert!(calls.get() < 100, "{} calls", calls.get());
            drop(peer);
        })
        .unwrap();
}

/// Waits until no connection is left, far less than any time-out.
async fn all_gone(core: &Rc<Core>) -> bool {
    let all_gone = async {
        while Net::of(core).connections() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(2), all_gone).await.is_ok()
}

#[test]
fn a_reset_right_behind_data_is_seen() {
    let runtime = Runtime::small().unwrap();
    let received = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&received);
    let is_first = Cell::new(true);
    let events = Events {
        on_ready: Some(Box::new(move |io| {
            if is_first.take() {
                // The peer does not read it: its end is a reset.
                io.pause();
            } else {
                io.set_receive(Receive::Standing);
            }
            io.append_copy(b"hello");
            Step::Continue
        })),
        on_recv: Some(Box::new(move |_, data| {
            theirs.set(theirs.get() + data.as_slice().len());
            Step::Continue
        })),
        ..Events::default()
    };
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let ours = Socket::from_owned(listener.accept().unwrap().0.into());
            let net = Net::of(&core);
            let key = net.open(&core, ours, Box::new(events));
            sleep(Duration::from_millis(5)).await;
            peer.write_all(&[7; 6_000]).unwrap();
            drop(peer);
            sleep(Duration::from_millis(5)).await;
            net.wake(&core, key);
            assert!(all_gone(&core).await, "it waits for a peer that has gone");
            assert_eq!(received.get(), 6_000, "what came before the reset counts");
        })
        .unwrap();
}

#[test]
fn an_abort_of_what_the_peer_has_reset_ends() {
    let runtime = Runtime::small().unwrap();
    let is_first = Cell::new(true);
    let events = Events {
        on_ready: Some(Box::new(move |io| {
            if is_first.take() {
                // The peer does not read it: its end is a reset.
                io.append_copy(b"hello");
                io.pause();
            } else {
                io.set_receive(Receive::Standing);
            }
            Step::Continue
        })),
        ..Events::default()
    };
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            let net = Net::of(&core);
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let ours = Socket::from_owned(listener.accept().unwrap().0.into());
            let key = net.open(&core, ours, Box::new(events));
            sleep(Duration::from_millis(5)).await;
            peer.write_all(&[7; 6_000]).unwrap();
            drop(peer);
            sleep(Duration::from_millis(5)).await;
            net.wake(&core, key);
            // In the same turn: the receive is queued, and the kernel has not seen it yet.
            let aborting = (Rc::clone(&net), Rc::clone(&core));
            drop(spawn(async move { aborting.0.abort(&aborting.1, key) }));
            assert!(all_gone(&core).await, "its receive never comes back");
        })
        .unwrap();
}

#[test]
fn a_peer_that_takes_nothing_is_not_waited_for() {
    let runtime = Runtime::small().unwrap();
    let events = Events {
        // As one whose output is full: it goes on when there is room again.
        on_recv: Some(Box::new(|io, _| {
            io.append_bytes(Bytes::from_static(&[0; 400_000]));
            io.notify_when_sent();
            io.pause();
            Step::Continue
        })),
        on_ready: Some(Box::new(|io| {
            io.append_copy(b"hello");
            Step::Continue
        })),
        ..Events::default()
    };
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            let (_, mut peer) = open_pair(&core, Box::new(events));
            peer.shutdown(Shutdown::Read).unwrap();
            sleep(Duration::from_millis(5)).await;
            peer.write_all(b"x").unwrap();
            assert!(all_gone(&core).await, "nothing will happen on it any more");
        })
        .unwrap();
}

/// Shared bytes whose last drop uses the network.
struct Nosy(Vec<u8>);

impl AsRef<[u8]> for Nosy {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let core = Core::current().expect("bytes are dropped on their core");
        assert!(core.counters().enters < u64::MAX);
        assert!(Net::of(&core).connections() < 100);
    }
}

#[test]
fn bytes_are_dropped_when_nothing_is_borrowed() {
    for (bytes, step) in [
        (10_000, Step::CloseAfterFlush),
        (4_000_000, Step::CloseAfterFlush),
        (4_000_000, Step::Continue),
        (4_000_000, Step::Abort),
    ] {
        let step = RefCell::new(Some(step));
        let runtime = Runtime::small().unwrap();
        let events = Events {
            on_ready: Some(Box::new(move |io| {
                for _ in 0..3 {
                    io.append_bytes(Bytes::from_owner(Nosy(vec![1; bytes])));
                }
                step.borrow_mut().take().unwrap_or(Step::Continue)
            })),
            ..Events::default()
        };
        runtime
            .block_on(async {
                let core = Core::current().unwrap();
                let (_, mut peer) = open_pair(&core, Box::new(events));
                let reading = blocking(move || {
                    let _ = peer.read_exact(&mut vec![0; 6_000_000]);
                });
                reading.await.unwrap();
                sleep(Duration::from_millis(20)).await;
            })
            .unwrap();
        drop(runtime);
    }
}

/// Shared bytes whose last drop fails.
struct Bomb(Vec<u8>);

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a drop that fails");
    }
}

#[test]
fn bytes_whose_drop_fails_harm_nobody() {
    for len in [100, 100_000, 1_000_000] {
        let runtime = Runtime::small().unwrap();
        let events = Events {
            on_ready: Some(Box::new(move |io| {
                for _ in 0..2 {
                    io.append_bytes(Bytes::from_owner(Bomb(vec![1; len])));
                }
                Step::CloseAfterFlush
            })),
            ..Events::default()
        };
        runtime
            .block_on(async {
                let core = Core::current().unwrap();
                let (_, mut peer) = open_pair(&core, Box::new(events));
                let reading = blocking(move || {
                    peer.read_exact(&mut vec![0; 2 * len]).unwrap();
                });
                reading.await.unwrap();
                assert!(all_gone(&core).await);
            })
            .unwrap();
    }
}

#[test]
fn a_send_in_flight_at_the_end_is_dropped_when_nothing_is_borrowed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let runtime = Runtime::small().unwrap();
    let kept = runtime
        .block_on(async {
            let listener = UnixListener::bind(&path).unwrap();
            let stream = UnixStream::connect(&path).await.unwrap();
            let peer = listener.accept().await.unwrap();
            spawn(async move {
                let bytes = Bytes::from_owner(Nosy(vec![0; 8_000_000]));
                stream.write_all(bytes).await.unwrap();
            });
            sleep(Duration::from_millis(20)).await;
            peer
        })
        .unwrap();
    drop(runtime);
    drop(kept);
}

#[test]
fn a_panic_loses_no_completion_of_its_turn() {
    let runtime = Runtime::small().unwrap();
    let panics = || Events {
        on_recv: Some(Box::new(|_, _| panic!("on purpose"))),
        ..Events::default()
    };
    let turn = std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            let core = Core::current().unwrap();
            let mut peers: Vec<_> = (0..8)
                .map(|_| open_pair(&core, Box::new(panics())).1)
                .collect();
            for peer in &mut peers {
                peer.write_all(b"x").unwrap();
            }
            sleep(Duration::from_secs(1)).await;
        })
    });
    assert!(std::panic::catch_unwind(turn).is_err());
    // Otherwise the end would wait for receives that have completed, and leak the ring.
    // A fresh core tells the time.
    let now = || Runtime::small().unwrap().core().now();
    let before = now();
    drop(runtime);
    assert!(now() - before < DRAIN_TIMEOUT / 2);
}

#[test]
fn places_in_the_output_stay_where_it_is_dropped() {
    let mut io = Io::detached(crate::runtime::Instant::default(), 0);
    io.append_copy(b"never sent");
    io.drop_output(&mut Vec::new());
    io.append_copy(b"too");
    // What ends here was not taken, however little of it there is.
    assert_eq!((io.taken_bytes(), io.appended_bytes()), (0, 13));
    assert!(io.is_cut());
}
