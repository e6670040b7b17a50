//! Our connections without our HTTP: every read that ends a request is answered with the same
//! bytes. What this costs above the ceiling is `net` and what is beneath it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;

use roundtrip::net::Accept;
use roundtrip::net::Io;
use roundtrip::net::ListenSocket;
use roundtrip::net::Net;
use roundtrip::net::Protocol;
use roundtrip::net::Receive;
use roundtrip::net::Received;
use roundtrip::net::Step;
use roundtrip::runtime::Core;
use roundtrip::runtime::WorkerOptions;
use roundtrip::runtime::Workers;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: net\r\nContent-Type: text/plain; \
    charset=utf-8\r\nContent-Length: 13\r\nDate: Sun, 22 Nov 2026 21:00:00 GMT\r\n\r\nHello, World!";

fn main() -> roundtrip::Result<()> {
    let (address, count) = shared::arguments(1);
    // One socket per worker, no more: the kernel shares connections out among all that listen.
    let mut sockets = vec![ListenSocket::bind(address)?];
    let bound = sockets[0].local_addr().to_string();
    for _ in 1..count {
        let next = sockets[0].duplicate()?;
        sockets.extend(next);
    }
    let sockets = Mutex::new(sockets);
    let options = WorkerOptions {
        count: Some(count),
        ..WorkerOptions::default()
    };
    let workers = Workers::start(
        &options,
        Arc::new(move |core: &Rc<Core>, _| {
            let mine = sockets.lock().expect("no worker panicked").pop();
            let mine = mine.expect("a socket for each worker");
            Net::of(core).listen(core, mine, Rc::new(Connections));
            Ok(())
        }),
    )?;
    println!("listening on http://{bound}");
    workers.join()
}

struct Connections;

impl Accept for Connections {
    fn accept(&self, io: &mut Io) -> Option<Box<dyn Protocol>> {
        io.set_receive(Receive::Standing);
        Some(Box::new(Answer {
            line_is_empty: false,
        }))
    }
}

struct Answer {
    line_is_empty: bool,
}

impl Protocol for Answer {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        for &byte in data.as_slice() {
            match byte {
                b'\n' if self.line_is_empty => {
                    io.append_copy(ANSWER);
                    self.line_is_empty = false;
                }
                b'\n' => self.line_is_empty = true,
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
        Step::Continue
    }

    fn on_eof(&mut self, _: &mut Io) -> Step {
        Step::CloseAfterFlush
    }

    fn on_deadline(&mut self, _: &mut Io) -> Step {
        Step::Abort
    }
}
