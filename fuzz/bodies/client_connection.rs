//! Whole connections of the client: its protocol, its pool and a caller, against what the response
//! says.
//!
//! ```text
//!   bytes ──► response, read whole ───────────────────────────────────┐ the same
//!     └─────► connection, in all pieces ─► InFlight ─► Body ─► caller ┘
//! ```
//!
//! The first byte of the first line says what is asked for, the others how the connection is driven.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::StatusCode;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::client::InFlight;
use roundtrip::client::TransportOptions;
use roundtrip::client::pool::PoolOptions;
use roundtrip::error::ErrorKind;
use roundtrip::h1::chunked::Decoded;
use roundtrip::h1::chunked::Decoder;
use roundtrip::h1::framing::Framing;
use roundtrip::h1::framing::response_framing;
use roundtrip::h1::head::parse_response;
use roundtrip::http::head::HeadLimits;
use roundtrip::http::head::Scan;
use roundtrip::http::head::Scanner;
use roundtrip::http::headers::Headers;
use roundtrip::http::incoming::Sender;
use roundtrip::internals::DetachedTransport;
use roundtrip::limits::BODY_RECV_BYTES;
use roundtrip::limits::DRAIN_BYTES_MAX;
use roundtrip::limits::INFORMATIONAL_COUNT_MAX;
use roundtrip::limits::RESPONSE_HEAD_BYTES_MAX;
use roundtrip::net::Io;
use roundtrip::net::Protocol;
use roundtrip::net::Receive;
use roundtrip::runtime::Instant;
use url::Url;

use super::reference;
use super::schedule;
use super::schedule::FILLER;
use super::schedule::Step;
use super::splits::Random;
use super::wire::Flag;
use super::wire::Wire;

/// What is sent byte by byte of a longer input.
const BYTES_MAX: usize = 500;
/// What is received for a caller that has gone, and what was on its way.
const DROPPED_BYTES_MAX: usize = DRAIN_BYTES_MAX + BODY_RECV_BYTES;
/// A body that is at hand.
const UPLOAD: &[u8] = b"abc";

/// Where a tunnel leads to.
const TUNNEL: &str = "b.example:80";

/// What is asked for.
#[derive(Clone, Copy)]
struct Case {
    method: &'static str,
    upload: Upload,
    expects: bool,
    closes: bool,
    timeout: Option<Duration>,
    head_bytes_max: usize,
    rests: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upload {
    Nothing,
    Whole,
    Streamed,
}

impl Case {
    fn of(byte: u8) -> Case {
        let get = Case {
            method: "GET",
            upload: Upload::Nothing,
            expects: false,
            closes: false,
            timeout: None,
            head_bytes_max: RESPONSE_HEAD_BYTES_MAX,
            rests: true,
        };
        match byte {
            b'h' => Case {
                method: "HEAD",
                ..get
            },
            b'c' => Case {
                method: "CONNECT",
                ..get
            },
            b'p' => Case {
                method: "POST",
                upload: Upload::Whole,
                ..get
            },
            b'e' => Case {
                method: "POST",
                upload: Upload::Whole,
                expects: true,
                ..get
            },
            b's' => Case {
                method: "PUT",
                upload: Upload::Streamed,
                ..get
            },
            b'k' => Case {
                closes: true,
                ..get
            },
            b't' => Case {
                timeout: Some(Duration::from_secs(5)),
                ..get
            },
            b'l' => Case {
                head_bytes_max: 100,
                ..get
            },
            b'n' => Case {
                rests: false,
                ..get
            },
            _ => get,
        }
    }
}

/// A client connection.
pub fn client_connection(data: &[u8]) {
    let (line, input) = schedule::split(data);
    let case = Case::of(line.first().copied().unwrap_or(b'g'));
    run(case, b">*", input).check(case, true);
    let bytes = vec![b'a'; input.len().min(BYTES_MAX)];
    run(case, &[b">", &bytes[..]].concat(), input).check(case, true);
    let mut random = Random::of(data);
    let pieces: Vec<u8> = (0..16)
        .map(|_| PIECES[random.below(PIECES.len())])
        .collect();
    run(case, &pieces, input).check(case, true);
    if let [_, line @ ..] = line {
        let is_usual = !line.iter().any(|byte| b"@+-<|".contains(byte));
        run(case, line, input).check(case, is_usual);
    }
}

/// Steps that change nothing of what the caller gets.
const PIECES: &[u8] = b"aabcdhmzABD*_3'.,,:=>";

/// Who sends a request and reads the response.
struct Caller {
    in_flight: Option<InFlight>,
    body: Option<Body>,
    woken: Arc<Flag>,
    /// True when something was polled that was not ready.
    waits: bool,
    /// True when it reads all it can get.
    is_reading: bool,
    got: Got,
}

/// What a caller got.
#[derive(Debug, Default)]
struct Got {
    status: Option<StatusCode>,
    body: Vec<u8>,
    trailers: Option<Headers>,
    end: Option<Result<(), ErrorKind>>,
}

impl Caller {
    fn new(in_flight: InFlight) -> Caller {
        Caller {
            in_flight: Some(in_flight),
            body: None,
            woken: Arc::new(Flag::default()),
            waits: false,
            is_reading: false,
            got: Got::default(),
        }
    }

    /// Polls what there is; true when something came.
    fn poll(&mut self, chunks: usize) -> bool {
        let waker = self.woken.waker();
        let cx = &mut Context::from_waker(&waker);
        let was_woken = self.woken.take();
        let waited = std::mem::take(&mut self.waits);
        let mut has_progress = false;
        if let Some(in_flight) = &mut self.in_flight {
            match Pin::new(in_flight).poll(cx) {
                Poll::Pending => {
                    self.waits = true;
                    return false;
                }
                Poll::Ready(outcome) => {
                    assert!(was_woken || !waited, "the caller was not woken");
                    self.in_flight = None;
                    self.take(outcome);
                    return true;
                }
            }
        }
        for _ in 0..chunks {
            let Some(body) = &mut self.body else { break };
            let polled = body.poll_chunk(cx);
            let is_first = !std::mem::replace(&mut has_progress, true);
            match polled {
                Poll::Pending => {
                    self.waits = true;
                    return !is_first;
                }
                Poll::Ready(item) => {
                    let is_told = was_woken || !waited || !is_first;
                    assert!(is_told, "the reader was not woken");
                    self.take_chunk(item);
                }
            }
        }
        has_progress
    }

    fn take(&mut self, outcome: Result<roundtrip::Response, Error>) {
        match outcome {
            Ok(mut response) => {
                self.got.status = Some(response.status_code());
                self.body = Some(response.take_body());
            }
            Err(error) => self.got.end = Some(Err(error.kind())),
        }
    }

    fn take_chunk(&mut self, item: Option<Result<Bytes, Error>>) {
        match item {
            Some(Ok(chunk)) => {
                assert!(!chunk.is_empty(), "a chunk without bytes");
                self.got.body.extend_from_slice(&chunk);
            }
            Some(Err(error)) => {
                self.got.end = Some(Err(error.kind()));
                self.body = None;
            }
            None => {
                self.got.end = Some(Ok(()));
                self.got.trailers = self.body.take().and_then(|mut body| body.take_trailers());
            }
        }
    }

    /// True when it has all, or wants nothing.
    fn is_done(&self) -> bool {
        self.in_flight.is_none() && self.body.is_none()
    }

    fn drop_all(&mut self) {
        self.in_flight = None;
        self.body = None;
    }
}

/// One connection, its caller, and what is left to be received.
struct Driven<'a, P> {
    transport: DetachedTransport,
    wire: Wire<P>,
    caller: Caller,
    /// The caller of the second request.
    second: Option<Caller>,
    /// The rest of the first request's body.
    sender: Option<Sender>,
    pushed: Vec<u8>,
    input: &'a [u8],
    taken: usize,
    /// Everything that was received.
    received: Vec<u8>,
    /// So much of it the connection had received while it was open, with its first request alone.
    open_at: usize,
    /// As many bytes were received when the caller went.
    dropped_at: Option<usize>,
    /// True when the connection was lost in between.
    is_lost: bool,
}

/// What became of a connection.
struct Outcome {
    got: Got,
    sent: Vec<u8>,
    received: Vec<u8>,
    open_at: usize,
    pushed: Vec<u8>,
    has_second: bool,
}

fn run(case: Case, line: &[u8], input: &[u8]) -> Outcome {
    let idle_max = if case.rests { 1 } else { 0 };
    let transport = DetachedTransport::new(TransportOptions {
        pool: PoolOptions {
            idle_per_host_max: idle_max,
            per_host_max: Some(1),
            ..PoolOptions::default()
        },
        response_head_bytes_max: case.head_bytes_max,
        ..TransportOptions::default()
    });
    let start = Instant::from_nanoseconds(1);
    let (request, sender) = request(case);
    let sent = transport.send(request, case.timeout, start);
    let (in_flight, connection) = sent.expect("a URL that can be fetched");
    let connection = connection.expect("the first is new");
    let mut driven = Driven {
        transport,
        wire: Wire::new(start, |_| connection),
        caller: Caller::new(in_flight),
        second: None,
        sender,
        pushed: Vec::new(),
        input,
        taken: 0,
        received: Vec::new(),
        open_at: 0,
        dropped_at: None,
        is_lost: false,
    };
    driven.wire.wake();
    driven.check();
    for byte in line {
        if driven.is_lost {
            break;
        }
        driven.step(schedule::step(*byte));
        driven.settle();
        driven.check();
    }
    driven.finish()
}

fn request(case: Case) -> (Request, Option<Sender>) {
    let url = Url::parse("http://a.example/a?b=c").expect("a URL");
    let method = Method::from_bytes(case.method.as_bytes()).expect("a method");
    let mut request = Request::new(method, url);
    if case.method == "CONNECT" {
        request.set_target(TUNNEL).expect("a target");
    }
    if case.closes {
        let added = request.headers_mut().append("Connection", "close");
        added.expect("a field");
    }
    if case.expects {
        let added = request.headers_mut().append("Expect", "100-continue");
        added.expect("a field");
    }
    let mut kept = None;
    match case.upload {
        Upload::Nothing => {}
        Upload::Whole => request.set_body(UPLOAD),
        Upload::Streamed => {
            let (sender, body) = Body::incoming(None);
            kept = Some(sender);
            request.set_body(body);
        }
    }
    (request, kept)
}

impl<P: Protocol> Driven<'_, P> {
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
            Step::Other(byte) => self.call(byte),
        }
    }

    /// What the caller does.
    fn call(&mut self, byte: u8) {
        match byte {
            b',' => {
                self.caller.poll(1);
            }
            b':' => self.caller.is_reading = true,
            b'-' => {
                let was_waiting = self.caller.in_flight.is_some();
                self.caller.drop_all();
                self.dropped_at.get_or_insert(self.received.len());
                if was_waiting {
                    self.wire.wake();
                }
            }
            b'=' => {
                if let Some(sender) = &mut self.sender {
                    sender.push(Bytes::from_static(UPLOAD));
                    self.pushed.extend_from_slice(UPLOAD);
                }
            }
            b'>' => {
                if let Some(sender) = self.sender.take() {
                    sender.finish(None);
                }
            }
            b'<' => {
                if let Some(sender) = self.sender.take() {
                    sender.fail(Error::new(ErrorKind::Io, "broken"));
                }
            }
            b'?' => self.send_second(),
            _ => {}
        }
        self.wire.settle();
    }

    /// A second request, which the connection serves next, unless it has ended.
    fn send_second(&mut self) {
        if self.second.is_some() || !self.wire.is_open() {
            return;
        }
        let (request, _) = request(Case::of(b'g'));
        let now = self.wire.io.now();
        let sent = self.transport.send(request, None, now);
        let (in_flight, connection) = sent.expect("a URL that can be fetched");
        let mut caller = Caller::new(in_flight);
        caller.is_reading = true;
        self.second = Some(caller);
        if let Some(mut other) = connection {
            // It is not driven: it is gone before it has sent anything.
            let io = Io::detached(now, 0);
            other.on_closed(&io, Some(std::io::ErrorKind::ConnectionReset.into()));
        } else {
            self.wire.wake();
        }
    }

    fn send(&mut self, bytes: usize) -> usize {
        let rest = &self.input[self.taken..];
        let taken = self.wire.deliver(&rest[..rest.len().min(bytes)]);
        self.note(taken);
        self.settle();
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
            self.settle();
        }
    }

    /// So many bytes of the input were taken.
    fn note(&mut self, taken: usize) {
        let bytes = &self.input[self.taken..][..taken];
        self.received.extend_from_slice(bytes);
        self.taken += taken;
    }

    /// Callers poll where they were woken, and are asked whether they should have been.
    fn settle(&mut self) {
        let mut rounds = 0;
        loop {
            let is_reading = self.caller.is_reading;
            let waits_for_head = self.caller.in_flight.is_some();
            let chunks = if is_reading { usize::MAX } else { 0 };
            let mut has_progress = false;
            if waits_for_head || (is_reading && self.caller.body.is_some()) {
                has_progress |= self.caller.poll(chunks);
            }
            if let Some(second) = &mut self.second
                && !second.is_done()
            {
                has_progress |= second.poll(usize::MAX);
            }
            self.wire.settle();
            if !has_progress {
                return;
            }
            rounds += 1;
            assert!(rounds < 1_000, "callers and connection never come to rest");
        }
    }

    /// What holds whenever nothing is being called.
    fn check(&mut self) {
        let stats = self.transport.stats();
        assert!(stats.pool.connections <= 1, "{stats:?}");
        assert_eq!(stats.pool.dialing, 0);
        let wire = &self.wire;
        if !wire.is_open() {
            assert_eq!(stats.pool.idle, 0, "a connection that ended takes requests");
            return;
        }
        if let Some(at) = self.dropped_at.filter(|_| self.second.is_none()) {
            let dropped = self.received.len() - at;
            assert!(dropped <= DROPPED_BYTES_MAX, "{dropped} for nobody");
        }
        if self.second.is_none() {
            self.open_at = self.received.len();
        }
        assert_eq!(stats.pool.connections, 1, "an open connection is nobody's");
        let is_unread = |caller: &Caller| caller.body.is_some() && !caller.is_reading;
        let waits_for_reader = is_unread(&self.caller);
        if wire.io.output.is_empty() && !waits_for_reader {
            assert_ne!(wire.io.receive(), Receive::Paused, "it hears nothing");
            assert!(
                wire.io.deadline().is_some() || self.sender.is_some(),
                "nobody looks how long the peer takes"
            );
        }
    }

    /// Lets everything happen that can.
    fn finish(mut self) -> Outcome {
        self.wire.keeps_output = false;
        self.wire.take_output(usize::MAX);
        self.caller.is_reading = true;
        self.settle();
        self.check();
        self.step(Step::Send(usize::MAX));
        self.check();
        if self.wire.is_open() {
            self.wire.check_rest();
        }
        self.call(b'>');
        self.settle();
        self.check();
        self.wire.end_input();
        self.settle();
        self.check();
        let mut expired = 0;
        while self.wire.expire() {
            self.settle();
            expired += 1;
            assert!(expired < 8, "the connection outlives its deadlines");
        }
        assert!(!self.wire.is_open(), "it never ends");
        self.wire.close(false);
        self.settle_callers();
        let stats = self.transport.stats();
        assert_eq!(
            (stats.pool.connections, stats.pool.waiting, stats.pool.hosts),
            (0, 0, 0)
        );
        Outcome {
            got: self.caller.got,
            sent: self.wire.sent,
            received: self.received,
            open_at: self.open_at,
            pushed: self.pushed,
            has_second: self.second.is_some(),
        }
    }

    /// Behind the end of the connection nobody waits any more.
    fn settle_callers(&mut self) {
        for caller in [Some(&mut self.caller), self.second.as_mut()]
            .into_iter()
            .flatten()
        {
            while caller.poll(usize::MAX) {}
            assert!(caller.is_done(), "a caller waits for ever");
        }
    }
}

/// What a response comes to.
#[derive(Debug)]
struct Response {
    status: Option<StatusCode>,
    body: Vec<u8>,
    trailers: Option<Headers>,
    /// The kinds of error that its end may be.
    faults: &'static [ErrorKind],
    /// Bytes that it takes, where its end is among them.
    used: Option<usize>,
    /// True when the connection may be used again.
    keeps: bool,
}

const BROKEN: &[ErrorKind] = &[ErrorKind::Protocol, ErrorKind::Limit];
const CUT: &[ErrorKind] = &[ErrorKind::Closed];
/// It would be sent again by another connection, and there is no core to make one.
const REPEATED: &[ErrorKind] = &[ErrorKind::Shutdown];

impl Response {
    fn failed(faults: &'static [ErrorKind]) -> Response {
        Response {
            status: None,
            body: Vec::new(),
            trailers: None,
            faults,
            used: None,
            keeps: false,
        }
    }

    /// Everything that came, and then the end.
    fn of(input: &[u8], case: Case) -> Response {
        let limits = HeadLimits {
            bytes: case.head_bytes_max,
            ..HeadLimits::RESPONSE
        };
        let mut rest = input;
        for _ in 0..=INFORMATIONAL_COUNT_MAX {
            let used = match Scanner::response(limits).push(rest) {
                Ok(Scan::Partial) => return Response::failed(CUT),
                Ok(Scan::Complete { used }) => used,
                Err(_) => return Response::failed(BROKEN),
            };
            let Ok(head) = parse_response(&rest[..used], &limits) else {
                return Response::failed(BROKEN);
            };
            rest = &rest[used..];
            if head.status() == StatusCode::SWITCHING_PROTOCOLS {
                // No request asks for it.
                return Response::failed(BROKEN);
            }
            if head.is_informational() {
                continue;
            }
            let method = Method::from_bytes(case.method.as_bytes()).expect("a method");
            let says_keep = head.is_keep_alive();
            let is_unexpected = case.expects && head.status() == StatusCode::EXPECTATION_FAILED;
            return match response_framing(&method, &head) {
                Ok(_) if is_unexpected => Response::failed(REPEATED),
                // What follows is the tunnel's.
                Ok(_) if method == Method::CONNECT && head.status().is_success() => {
                    let mut response = Response::failed(&[]);
                    response.status = Some(head.status());
                    response.used = Some(input.len() - rest.len());
                    response
                }
                Ok(framing) => {
                    let mut response = Response::with_body(head.status(), rest, framing);
                    let before = input.len() - rest.len();
                    response.used = response.used.map(|used| before + used);
                    response.keeps = says_keep && !case.closes && case.rests;
                    response.keeps &= case.method != "CONNECT";
                    response
                }
                Err(_) => Response::failed(BROKEN),
            };
        }
        Response::failed(BROKEN)
    }

    fn with_body(status: StatusCode, rest: &[u8], framing: Framing) -> Response {
        let mut response = Response::failed(&[]);
        response.status = Some(status);
        match framing {
            Framing::Empty => response.used = Some(0),
            Framing::UntilClose => response.body = rest.to_vec(),
            Framing::Length(length) => {
                let used = usize::try_from(length).map_or(rest.len(), |len| len.min(rest.len()));
                response.body = rest[..used].to_vec();
                if (used as u64) < length {
                    response.faults = CUT;
                } else {
                    response.used = Some(used);
                }
            }
            Framing::Chunked => response.read_chunks(rest),
        }
        response
    }

    fn read_chunks(&mut self, input: &[u8]) {
        let mut rest = input;
        let mut decoder = Decoder::of_response();
        loop {
            match decoder.push(rest) {
                Ok(Decoded::Data { used, data }) => {
                    self.body.extend_from_slice(data);
                    rest = &rest[used..];
                }
                Ok(Decoded::End { used, trailers }) => {
                    self.trailers = trailers;
                    self.used = Some(input.len() - rest.len() + used);
                    return;
                }
                Ok(Decoded::More) => {
                    self.faults = CUT;
                    return;
                }
                Err(_) => {
                    self.faults = BROKEN;
                    return;
                }
            }
        }
    }
}

impl Outcome {
    fn check(&self, case: Case, is_usual: bool) {
        let expected = Response::of(&self.received, case);
        let shown = || {
            format!(
                "{} {}\n => {:?}\n{expected:?}",
                case.method,
                self.received.escape_ascii(),
                self.got
            )
        };
        self.check_requests(case);
        // What stands behind a response belongs to nobody, and least of all to the next request.
        let is_clean = expected
            .used
            .is_none_or(|used| self.open_at < used || (self.open_at == used && expected.keeps));
        assert!(is_clean, "open behind a response: {}", shown());
        let got = &self.got;
        assert!(
            got.status.is_none() || got.status == expected.status,
            "{}",
            shown()
        );
        assert!(expected.body.starts_with(&got.body), "{}", shown());
        let is_end = match got.end {
            Some(Ok(())) => {
                expected.faults.is_empty()
                    && got.body == expected.body
                    && got.trailers == expected.trailers
            }
            Some(Err(kind)) => expected.faults.contains(&kind),
            None => false,
        };
        assert!(is_end || !is_usual, "{}", shown());
        // Time may run out, or the caller leave: but what seems complete is complete.
        assert!(is_end || got.end != Some(Ok(())), "{}", shown());
        let is_all = got.status == expected.status && got.body == expected.body;
        assert!(is_all || !is_usual, "{}", shown());
    }

    /// What was sent are requests, as a server reads them.
    fn check_requests(&self, case: Case) {
        let shown = || self.sent.escape_ascii().to_string();
        let mut rest = &self.sent[..];
        let mut count = 0;
        while !rest.is_empty() {
            let Some(len) = reference::head_end(rest, false, false) else {
                break;
            };
            let head = reference::head(&rest[..len]).unwrap_or_else(|| panic!("{}", shown()));
            let line = reference::request_line(&head.start);
            let (method, target, is_10) = line.unwrap_or_else(|| panic!("{}", shown()));
            let expected = if count == 0 { case.method } else { "GET" };
            assert_eq!(method, expected.as_bytes(), "{}", shown());
            let (asked, host) = match expected {
                "CONNECT" => (TUNNEL, TUNNEL),
                _ => ("/a?b=c", "a.example"),
            };
            assert_eq!((target, is_10), (asked.as_bytes(), false));
            let hosts = reference::values(&head.fields, "host");
            assert_eq!(hosts, [host.as_bytes()]);
            let says_close = reference::has_option(&head.fields, "connection", "close");
            assert_eq!(says_close, (case.closes && count == 0) || !case.rests);
            rest = &rest[len..];
            let upload = if count == 0 {
                case.upload
            } else {
                Upload::Nothing
            };
            rest = self.check_upload(rest, &head, upload);
            count += 1;
        }
        assert!(count <= 1 + usize::from(self.has_second), "{}", shown());
    }

    /// The body behind a head: what the caller gave, or a part of it. What follows.
    fn check_upload<'a>(&self, rest: &'a [u8], head: &reference::Head, upload: Upload) -> &'a [u8] {
        let framing = reference::request_framing(&head.fields, false);
        match upload {
            Upload::Nothing => {
                assert_eq!(framing, Some(Framing::Empty));
                rest
            }
            Upload::Whole => {
                assert_eq!(framing, Some(Framing::Length(UPLOAD.len() as u64)));
                let used = rest.len().min(UPLOAD.len());
                assert_eq!(rest[..used], UPLOAD[..used]);
                &rest[used..]
            }
            Upload::Streamed => {
                assert_eq!(framing, Some(Framing::Chunked));
                match reference::chunked(rest) {
                    Some(read) => {
                        assert_eq!(read.body, self.pushed);
                        &rest[read.used..]
                    }
                    // It may be cut anywhere when the response comes before its end.
                    None => &[],
                }
            }
        }
    }
}
