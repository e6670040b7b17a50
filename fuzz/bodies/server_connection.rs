//! Whole connections of the server: its protocol and a router, against what requests should get.
//!
//! ```text
//!   bytes ──► model: one request after the other, whole ──► what each should get ──┐ the same
//!     └─────► Connection, in all pieces, with all that can happen between ─────────┘
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::StatusCode;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::error::ErrorKind;
use roundtrip::http::head::HeadLimits;
use roundtrip::http::incoming::Sender;
use roundtrip::limits::RECV_BUFFER_BYTES;
use roundtrip::net::Receive;
use roundtrip::runtime::Instant;
use roundtrip::server::Statistics;
use roundtrip::server::h1::H1Connection;
use roundtrip::server::options::Options;
use roundtrip::server::worker::Worker;

use super::model::Answer;
use super::model::Expected;
use super::model::Model;
use super::received::Message;
use super::received::messages;
use super::schedule;
use super::schedule::FILLER;
use super::schedule::Step;
use super::splits::Random;
use super::wire::End;
use super::wire::Wire;

/// Bytes of the large body: three of them are more than output may hold.
pub const BIG_BYTES: usize = 100_000;

thread_local! {
    /// Handlers that wait for their release.
    static WAITING: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static IS_RELEASED: Cell<bool> = const { Cell::new(false) };
    /// Bodies that end with the next release.
    static LATER: RefCell<Vec<(Sender, Running)>> = const { RefCell::new(Vec::new()) };
    /// Handlers that have begun, and not ended, and wait for nothing that the peer sends.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
    /// Workers that serve again, by their limits. Making routes takes longer than a connection.
    static WORKERS: RefCell<Vec<(u8, Rc<Worker>)>> = const { RefCell::new(Vec::new()) };
}

/// Counts a handler while it runs.
struct Running;

impl Running {
    fn new() -> Running {
        RUNNING.set(RUNNING.get() + 1);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(RUNNING.get() - 1);
    }
}

async fn released() {
    let _running = Running::new();
    poll_fn(|cx| {
        if IS_RELEASED.get() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| waiting.push(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

fn release() {
    IS_RELEASED.set(true);
    WAITING.take().into_iter().for_each(Waker::wake);
    finish_later();
}

fn finish_later() {
    for (sender, running) in LATER.take() {
        drop(running);
        sender.finish(None);
    }
}

/// A panic without a message, which no hook sees.
fn fail() -> &'static str {
    std::panic::resume_unwind(Box::new(()))
}

/// Chunks that are there at once.
struct Chunks(VecDeque<&'static str>);

impl Stream for Chunks {
    type Item = Result<&'static [u8], Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(chunk.as_bytes())))
    }
}

/// What the model knows by the same paths.
fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/big", |_: &Request| vec![b'x'; BIG_BYTES])
        .get("/none", |_: &Request| StatusCode::NO_CONTENT)
        .get("/close", |_: &Request| {
            Response::new().header("Connection", "close")
        })
        .get("/bad", |_: &Request| Response::new().header("a b", "c"))
        .get("/early", |_: &Request| StatusCode::EARLY_HINTS)
        .get("/panic", |_: &Request| fail())
        .get("/later-panic", async |_: Request| fail())
        .any("/ignore", |_: &Request| "ignored")
        .any("/drop", async |_: Request| "dropped")
        .any("/wait", async |_: Request| {
            released().await;
            "waited"
        })
        .any("/gone", async |r: Request| {
            let _running = Running::new();
            r.disconnected().await;
            "gone"
        })
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .post("/length", async |r: Request| {
            let body = r.into_body().bytes().await?;
            Ok::<_, Error>(body.len().to_string())
        })
        .get("/stream", async |_: Request| {
            let chunks = Chunks(["ab", "", "cde"].into());
            Response::new()
                .body(Body::stream(chunks))
                .trailer("X", "end")
        })
        .get("/broken", async |_: Request| {
            let (mut sender, body) = Body::incoming(None);
            sender.push(Bytes::from_static(b"ab"));
            sender.fail(Error::new(ErrorKind::Io, "broken"));
            Response::new().body(body)
        })
        .get("/short", async |_: Request| {
            let (mut sender, body) = Body::incoming(Some(5));
            sender.push(Bytes::from_static(b"ab"));
            LATER.with_borrow_mut(|later| later.push((sender, Running::new())));
            Response::new().body(body)
        })
}

/// A server connection: the first line says how it is driven.
pub fn server_connection(data: &[u8]) {
    let (line, input) = schedule::split(data);
    let limits = u8::from(line.contains(&b'%')) + 2 * u8::from(line.contains(&b'&'));
    run(limits, b"*", input).check(true);
    let bytes = vec![b'a'; input.len().min(BYTES_MAX)];
    run(limits, &bytes, input).check(true);
    let mut random = Random::of(data);
    let pieces: Vec<u8> = (0..16)
        .map(|_| PIECES[random.below(PIECES.len())])
        .collect();
    run(limits, &pieces, input).check(true);
    if !line.is_empty() {
        // Whoever lets time pass, or shuts down, sees less of it.
        let is_usual = !line.iter().any(|byte| b"@+^|".contains(byte));
        run(limits, line, input).check(is_usual);
    }
}

/// Steps that change nothing of what is answered.
const PIECES: &[u8] = b"aabcdhmzABD*_3;'.";

/// What is sent byte by byte of a longer input.
const BYTES_MAX: usize = 500;

/// Limits that short inputs reach, in some cases.
fn options(limits: u8) -> Options {
    let mut options = Options::default();
    if limits & 1 != 0 {
        options.head_limits = HeadLimits {
            bytes: 200,
            fields: 4,
            target_bytes: 20,
        };
        options.pipelined_bytes_max = 100;
    }
    if limits & 2 != 0 {
        options.body_bytes_max = Some(8);
    }
    options
}

/// What became of a connection.
struct Outcome {
    sent: Vec<u8>,
    end: End,
    /// What the connection took.
    received: Vec<u8>,
    /// True when the connection ended by itself, and not since nothing could happen any more.
    is_over: bool,
    /// True when the peer's end was seen.
    is_complete: bool,
    options: Options,
    panics: u64,
    requests: u64,
}

/// One connection, and what is left to be sent to it.
struct Driven<'a> {
    wire: Wire<H1Connection>,
    worker: Rc<Worker>,
    input: &'a [u8],
    taken: usize,
    /// Everything that was received.
    received: Vec<u8>,
    /// True when the connection was lost in between.
    is_lost: bool,
}

fn worker(limits: u8) -> Rc<Worker> {
    WORKERS.with_borrow_mut(|workers| {
        workers.retain(|(_, worker)| !worker.is_shutting_down() && !worker.closes_new());
        if let Some((_, worker)) = workers.iter().find(|(own, _)| *own == limits) {
            return Rc::clone(worker);
        }
        let worker = Rc::new(Worker::new(router(), options(limits), None));
        workers.push((limits, Rc::clone(&worker)));
        worker
    })
}

fn statistics(worker: &Worker) -> Statistics {
    let mut statistics = Statistics::default();
    worker.counters.add_to(&mut statistics);
    statistics
}

fn run(limits: u8, line: &[u8], input: &[u8]) -> Outcome {
    IS_RELEASED.set(false);
    WAITING.take();
    let worker = worker(limits);
    let before = statistics(&worker);
    worker.counters.count_accepted();
    let accept = |io: &mut _| H1Connection::accept(Rc::clone(&worker), io);
    let mut driven = Driven {
        wire: Wire::new(Instant::from_nanoseconds(1), accept),
        worker: Rc::clone(&worker),
        input,
        taken: 0,
        received: Vec::new(),
        is_lost: false,
    };
    driven.check();
    for byte in line {
        if driven.is_lost {
            break;
        }
        driven.step(schedule::step(*byte));
        driven.check();
    }
    driven.finish(before)
}

impl Driven<'_> {
    fn step(&mut self, step: Step) {
        let rest = &self.input[self.taken..];
        match step {
            Step::Send(usize::MAX) => while self.send(usize::MAX) > 0 {},
            Step::Send(bytes) => {
                self.send(bytes);
            }
            Step::Late => {
                let taken = self.wire.deliver_late(rest);
                self.note(taken);
            }
            Step::Fill => self.fill(),
            Step::Lose => self.lose(),
            Step::Take(bytes) => self.wire.take_output(bytes),
            Step::End => self.wire.end_input(),
            Step::Expire => {
                self.wire.expire();
            }
            Step::Second => self.wire.wait(Duration::from_secs(1)),
            Step::Nothing => {
                if self.wire.is_open() {
                    self.wire.check_rest();
                }
            }
            Step::Toggle => self.wire.keeps_output = !self.wire.keeps_output,
            Step::Other(b';') => {
                release();
                self.wire.settle();
            }
            Step::Other(b'^') => {
                self.worker.begin_shutdown();
                self.wire.wake();
            }
            Step::Other(b'$') => {
                self.worker.close_new();
                self.wire.wake();
            }
            Step::Other(_) => {}
        }
    }

    fn send(&mut self, bytes: usize) -> usize {
        let rest = &self.input[self.taken..];
        let taken = self.wire.deliver(&rest[..rest.len().min(bytes)]);
        self.note(taken);
        taken
    }

    fn lose(&mut self) {
        self.is_lost = true;
        if self.wire.is_open() {
            self.wire.close(true);
        }
    }

    fn fill(&mut self) {
        let mut left = &FILLER[..];
        loop {
            let taken = self.wire.deliver(left);
            if taken == 0 {
                break;
            }
            self.received.extend_from_slice(&left[..taken]);
            left = &left[taken..];
        }
    }

    /// So many bytes of the input were taken.
    fn note(&mut self, taken: usize) {
        let bytes = &self.input[self.taken..][..taken];
        self.received.extend_from_slice(bytes);
        self.taken += taken;
    }

    /// What holds whenever nothing is being called.
    fn check(&mut self) {
        let wire = &self.wire;
        let options = &self.worker.options;
        let held = wire.protocol.held_bytes();
        let held_max = options.head_limits.bytes
            + options.pipelined_bytes_max
            + 2 * RECV_BUFFER_BYTES as usize;
        assert!(held <= held_max, "{held} bytes are held");
        let is_at_rest = wire.is_open() && RUNNING.get() == 0 && wire.io.output.is_empty();
        if is_at_rest {
            assert!(!wire.is_half_closed, "it waits for a peer that has ended");
            assert!(
                wire.io.deadline().is_some(),
                "nobody looks how long the peer takes"
            );
            let hears = wire.io.receive() != Receive::Paused;
            assert!(hears, "it waits for what it does not receive");
        }
    }

    /// Lets everything happen that can.
    fn finish(mut self, before: Statistics) -> Outcome {
        self.wire.keeps_output = false;
        self.wire.take_output(usize::MAX);
        self.check();
        self.step(Step::Send(usize::MAX));
        self.check();
        if self.wire.is_open() {
            self.wire.check_rest();
        }
        loop {
            self.step(Step::Other(b';'));
            self.check();
            let before = self.taken;
            self.step(Step::Send(usize::MAX));
            if self.taken == before && LATER.with_borrow(Vec::is_empty) {
                break;
            }
        }
        self.wire.end_input();
        self.check();
        let is_complete = self.wire.is_half_closed;
        let is_over = !self.wire.is_open();
        let mut expired = 0;
        while self.wire.expire() {
            expired += 1;
            assert!(expired < 8, "the connection outlives its deadlines");
        }
        // A handler that waits for the end of the peer, behind what is not received, waits still.
        let waits = RUNNING.get() > 0 && !self.wire.is_half_closed;
        assert!(!self.wire.is_open() || waits, "it never ends");
        let end = self.wire.end;
        self.wire.close(true);
        finish_later();
        let after = statistics(&self.worker);
        assert_eq!(RUNNING.get(), 0, "a handler outlives its connection");
        assert_eq!(after.connections_open, 0);
        Outcome {
            sent: self.wire.sent,
            end: end.unwrap_or(End::Aborted),
            received: self.received,
            is_over,
            is_complete,
            options: self.worker.options,
            panics: after.panics - before.panics,
            requests: after.requests - before.requests,
        }
    }
}

impl Outcome {
    /// Compares with what the model says. An unusual connection may end before.
    fn check(&self, is_usual: bool) {
        let model = Model::of(&self.received, &self.options);
        let methods: Vec<&str> = model.answers.iter().map(|a| a.method.as_str()).collect();
        let shown = || {
            format!(
                "{}\n => {}\n{:?}",
                self.received.escape_ascii(),
                self.sent.escape_ascii(),
                model.answers
            )
        };
        let found = messages(&self.sent, &methods, self.end);
        assert!(
            found.len() <= model.answers.len(),
            "{} answers to {} requests: {}",
            found.len(),
            model.answers.len(),
            shown()
        );
        let is_last = |at: usize| at + 1 == found.len();
        for (at, (message, answer)) in found.iter().zip(&model.answers).enumerate() {
            let is_cut = is_last(at) && (!is_usual || self.end == End::Aborted);
            assert!(is_answer(message, answer, is_cut), "{at}: {}", shown());
            if message.closes || answer.must_end {
                assert!(is_last(at), "more behind the end: {}", shown());
            }
        }
        self.check_end(&found, &model, is_usual, &shown);
        let panicking = |answers: &[Answer]| answers.iter().filter(|a| a.panics).count() as u64;
        let answered = panicking(&model.answers[..found.len()]);
        let panics = answered..=panicking(&model.answers);
        assert!(panics.contains(&self.panics), "{}", shown());
        assert!(self.requests <= model.requests as u64, "{}", shown());
        let continues = found.iter().map(|message| message.continues);
        assert!(
            continues
                .zip(&model.answers)
                .all(|(n, answer)| n <= usize::from(answer.expects)),
            "{}",
            shown()
        );
    }

    /// Nobody is left without an answer.
    fn check_end(
        &self,
        found: &[Message],
        model: &Model,
        is_usual: bool,
        shown: &dyn Fn() -> String,
    ) {
        if !is_usual {
            return;
        }
        if let Some(last) = found.last()
            && last.closes
            && last.is_complete
        {
            assert!(self.is_over, "it said close, and stayed: {}", shown());
        }
        let ended = found.len().checked_sub(1).map(|at| &model.answers[at]);
        let may_end = ended.is_some_and(|answer| answer.must_end || answer.may_end)
            || found.last().is_some_and(|last| last.closes);
        if self.is_complete && !may_end && self.end == End::Closed {
            let missing = &model.answers[found.len()..];
            assert!(
                missing.iter().all(|answer| answer.may_be_missing),
                "{} answers are missing: {}",
                missing.len(),
                shown()
            );
        }
    }
}

fn is_answer(message: &Message, answer: &Answer, is_cut: bool) -> bool {
    let is_timeout = message.status == 408 && is_cut;
    let is_status = match answer.status {
        Expected::Only(status) => message.status == status,
        Expected::Refusal => (400..600).contains(&message.status),
    };
    if !is_status && !is_timeout {
        return false;
    }
    let Some(body) = answer.body.as_deref().filter(|_| !is_timeout) else {
        return message.is_complete || is_cut;
    };
    if answer.is_cut {
        // The client can tell.
        return !message.is_complete && body.starts_with(&message.body);
    }
    if is_cut {
        return body.starts_with(&message.body);
    }
    message.is_complete && message.body == body
}
