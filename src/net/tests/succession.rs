//! Protocols that follow one another, end their own side first, or panic.

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream as PlainStream;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::net::Io;
use crate::net::Net;
use crate::net::Opening;
use crate::net::Protocol;
use crate::net::Received;
use crate::net::Socket;
use crate::net::Step;
use crate::runtime::Core;
use crate::runtime::Runtime;
use crate::runtime::blocking;
use crate::runtime::timeout;

/// What a protocol was called with.
type Calls = Rc<RefCell<Vec<String>>>;

/// Notes its calls; ends with its peer.
struct Noting {
    calls: Calls,
    /// What becomes of it at the peer's end.
    at_end: fn(&Calls) -> Step,
}

impl Protocol for Noting {
    fn on_recv(&mut self, _io: &mut Io, data: Received<'_>) -> Step {
        let text = String::from_utf8_lossy(data.as_slice()).into_owned();
        self.calls.borrow_mut().push(text);
        Step::Continue
    }

    fn on_eof(&mut self, _io: &mut Io) -> Step {
        self.calls.borrow_mut().push("end".to_owned());
        (self.at_end)(&self.calls)
    }

    fn on_deadline(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }

    fn on_ready(&mut self, _io: &mut Io) -> Step {
        self.calls.borrow_mut().push("ready".to_owned());
        Step::Continue
    }

    fn on_closed(&mut self, _: &Io, _cause: Option<io::Error>) {
        self.calls.borrow_mut().push("closed".to_owned());
    }
}

fn noting(calls: &Calls) -> Box<dyn Protocol> {
    Box::new(Noting {
        calls: Rc::clone(calls),
        at_end: |_| Step::CloseAfterFlush,
    })
}

/// Runs a core with one connection until it is gone, while `peer` runs on a thread.
fn run(
    runtime: &Runtime,
    protocol: Box<dyn Protocol>,
    peer: impl FnOnce(PlainStream) + Send + 'static,
) {
    let (ours, theirs) = PlainStream::pair().unwrap();
    let socket = Socket::from_owned(ours.into());
    run_opened(runtime, socket.into(), protocol, move || peer(theirs));
}

fn run_opened(
    runtime: &Runtime,
    opening: Opening,
    protocol: Box<dyn Protocol>,
    peer: impl FnOnce() + Send + 'static,
) {
    let ran = runtime.block_on(async move {
        let core = Core::current().unwrap();
        Net::of(&core).open(&core, opening, protocol);
        blocking(peer).await.unwrap();
        let gone = async {
            while Net::of(&core).connections() > 0 {
                crate::runtime::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    });
    ran.unwrap();
}

#[test]
fn a_successor_is_told_of_an_end_that_it_missed() {
    for leftover in ["", "left"] {
        let calls = Calls::default();
        let first = Noting {
            calls: Rc::clone(&calls),
            at_end: match leftover {
                "" => |calls| Step::Become(noting(calls), Bytes::new()),
                _ => |calls| Step::Become(noting(calls), Bytes::from_static(b"left")),
            },
        };
        run(&Runtime::new().unwrap(), Box::new(first), |peer| {
            peer.shutdown(Shutdown::Write).unwrap();
        });
        let first_call = if leftover.is_empty() { "ready" } else { "left" };
        let expected = ["ready", "end", first_call, "end", "closed"];
        assert_eq!(*calls.borrow(), expected);
    }
}

#[test]
fn what_was_read_before_comes_first() {
    // What arrives before the connection is opened, if the peer ends then, and what comes later.
    for (early, ends_early, late) in [
        ("", false, ""),
        ("b", false, "c"),
        ("", true, ""),
        ("b", true, ""),
    ] {
        let (ours, mut theirs) = PlainStream::pair().unwrap();
        theirs.write_all(early.as_bytes()).unwrap();
        if ends_early {
            theirs.shutdown(Shutdown::Write).unwrap();
        }
        let opening = Opening {
            socket: Socket::from_owned(ours.into()),
            received: Bytes::from_static(b"a"),
        };
        let calls = Calls::default();
        run_opened(
            &Runtime::new().unwrap(),
            opening,
            noting(&calls),
            move || {
                theirs.write_all(late.as_bytes()).ok();
                theirs.shutdown(Shutdown::Write).ok();
            },
        );
        let mut calls = calls.borrow_mut();
        assert_eq!(&calls[0][..1], "a");
        assert!(
            calls.iter().any(|call| call == "ready") || ends_early,
            "{calls:?}"
        );
        calls.retain(|call| call != "ready");
        assert_eq!(calls.concat(), format!("a{early}{late}endclosed"));
    }
}

/// Answers with its side's end, and goes on to listen.
struct EndsFirst {
    calls: Calls,
}

impl Protocol for EndsFirst {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        let text = String::from_utf8_lossy(data.as_slice()).into_owned();
        let is_first = self.calls.borrow().is_empty();
        self.calls.borrow_mut().push(text);
        if is_first {
            io.append_bytes(Bytes::from(vec![b'x'; 1_000_000]));
            io.notify_when_all_sent();
        }
        Step::Continue
    }

    fn on_sent(&mut self, io: &mut Io) -> Step {
        assert_eq!(io.pending_bytes(), 0);
        Step::EndOutput
    }

    fn on_eof(&mut self, _io: &mut Io) -> Step {
        Step::CloseAfterFlush
    }

    fn on_deadline(&mut self, _io: &mut Io) -> Step {
        Step::Abort
    }
}

#[test]
fn one_side_ends_and_the_other_goes_on() {
    let calls = Calls::default();
    let protocol = EndsFirst {
        calls: Rc::clone(&calls),
    };
    run(&Runtime::new().unwrap(), Box::new(protocol), |mut peer| {
        peer.write_all(b"go").unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), 1_000_000);
        peer.write_all(b"more").unwrap();
    });
    assert_eq!(*calls.borrow(), ["go", "more"]);
}

/// Panics when it receives.
struct Panicking {
    closed: Rc<Cell<bool>>,
}

impl Protocol for Panicking {
    fn on_recv(&mut self, _io: &mut Io, _data: Received<'_>) -> Step {
        std::panic::resume_unwind(Box::new("a protocol that fails"));
    }

    fn on_eof(&mut self, _io: &mut Io) -> Step {
        Step::Continue
    }

    fn on_deadline(&mut self, _io: &mut Io) -> Step {
        Step::Continue
    }

    fn on_closed(&mut self, _: &Io, _cause: Option<io::Error>) {
        self.closed.set(true);
    }
}

#[test]
fn a_panic_of_a_protocol_leaves_no_connection_behind() {
    let runtime = Runtime::new().unwrap();
    let closed = Rc::new(Cell::new(false));
    let protocol = Box::new(Panicking {
        closed: Rc::clone(&closed),
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        run(&runtime, protocol, |mut peer| {
            peer.write_all(b"go").unwrap();
            // Until the connection is gone.
            let _ = peer.read(&mut [0; 1]);
        });
    }));
    assert!(panicked.is_err());
    // The core goes on, and the connection ends.
    let core = Rc::clone(runtime.core());
    let gone = runtime.block_on(async move {
        let gone = async {
            while Net::of(&core).connections() > 0 {
                crate::runtime::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.is_ok()
    });
    assert!(gone.unwrap());
    assert!(closed.get());
}
