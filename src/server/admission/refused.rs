//! A connection over a limit: it gets a 503, and goes.
//!
//! ```text
//!   accept ─► waits for the first bytes ─► 503, Retry-After, close
//!                └─ none in time, or the end ─► close
//! ```
//!
//! The first bytes are waited for because a client that reads an answer before it has asked takes
//! it for a fault of the connection, and tries again at once. Waiting connections are bounded in
//! time and number; beyond, a connection is closed as it comes.

use std::io;
use std::rc::Rc;

use ::http::StatusCode;

use crate::h1::encode;
use crate::limits::REFUSAL_TIMEOUT;
use crate::limits::REFUSALS_MAX;
use crate::net::Io;
use crate::net::Protocol;
use crate::net::Received;
use crate::net::Step;
use crate::server::admission::LimitReached;
use crate::server::worker::Worker;

/// A connection that is one too many.
pub struct Refused {
    worker: Rc<Worker>,
    limit: LimitReached,
}

impl Refused {
    /// `None` when too many wait for their answer already.
    pub fn accept(worker: &Rc<Worker>, io: &mut Io, limit: LimitReached) -> Option<Refused> {
        if worker.refusals() >= REFUSALS_MAX {
            return None;
        }
        worker.refusal_began();
        io.set_deadline(Some(io.now() + REFUSAL_TIMEOUT));
        io.set_write_timeout(REFUSAL_TIMEOUT);
        Some(Refused {
            worker: Rc::clone(worker),
            limit,
        })
    }
}

impl Protocol for Refused {
    fn on_recv(&mut self, io: &mut Io, data: Received<'_>) -> Step {
        let with_body = !data.as_slice().starts_with(b"HEAD ");
        let date = (&mut *self.worker.date(), io.wall_seconds());
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let out = io.output.tail();
        encode::error_response(out, status, self.limit.rule(), with_body, date);
        Step::CloseAfterFlush
    }

    fn on_eof(&mut self, _: &mut Io) -> Step {
        Step::CloseAfterFlush
    }

    fn on_deadline(&mut self, io: &mut Io) -> Step {
        io.set_linger(false);
        Step::CloseAfterFlush
    }

    fn group(&self) -> usize {
        self.worker.group()
    }

    fn on_closed(&mut self, io: &Io, _: Option<io::Error>) {
        self.worker.refusal_ended();
        self.worker.counters.count_closed(io.is_cut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Instant;
    use crate::server::options::Options;
    use crate::server::router::Router;

    fn refuse(worker: &Rc<Worker>) -> (Option<Refused>, Io) {
        let mut io = Io::detached(Instant::from_nanoseconds(1), 784_111_777);
        (
            Refused::accept(worker, &mut io, LimitReached::Connections),
            io,
        )
    }

    fn worker() -> Rc<Worker> {
        Rc::new(Worker::new(Router::new(), Options::default(), None))
    }

    #[test]
    fn the_first_bytes_are_answered() {
        for (bytes, has_body) in [
            ("G", true),
            ("GET / HTTP/1.1\r\n", true),
            ("HEAD / H", false),
        ] {
            let worker = worker();
            let (refused, mut io) = refuse(&worker);
            let mut refused = refused.unwrap();
            assert!(io.output.is_empty(), "nobody has asked");
            let step = refused.on_recv(&mut io, Received::Borrowed(bytes.as_bytes()));
            assert!(matches!(step, Step::CloseAfterFlush));
            let text = String::from_utf8(io.output.take_memory()).unwrap();
            assert!(
                text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
                "{text}"
            );
            assert!(text.contains("\r\nRetry-After: 1\r\n"), "{text}");
            assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
            assert_eq!(text.ends_with("connections_max\n"), has_body, "{text}");
        }
    }

    #[test]
    fn who_says_nothing_gets_nothing() {
        let worker = worker();
        let (refused, mut io) = refuse(&worker);
        assert_eq!(io.deadline(), Some(io.now() + REFUSAL_TIMEOUT));
        assert!(matches!(
            refused.unwrap().on_deadline(&mut io),
            Step::CloseAfterFlush
        ));
        assert!(io.output.is_empty());
    }

    #[test]
    fn waiting_ones_are_bounded() {
        let worker = worker();
        let mut waiting: Vec<(Option<Refused>, Io)> =
            (0..REFUSALS_MAX).map(|_| refuse(&worker)).collect();
        assert!(waiting.iter().all(|(refused, _)| refused.is_some()));
        assert!(refuse(&worker).0.is_none());
        worker.counters.count_accepted();
        let (refused, io) = waiting.pop().unwrap();
        refused.unwrap().on_closed(&io, None);
        assert!(refuse(&worker).0.is_some());
    }
}
