//! Cases of bytes on a wire: each is fed whole, byte by byte, and cut in two at every place, to a
//! server in memory; what must come out is the same each time.
//!
//! ```text
//!   Case: bytes ─┬─ whole ───────┐
//!                ├─ byte by byte ├─► App ─► responses · kept or closed · what handlers were given
//!                └─ two pieces ──┘            │
//!                                             └─ kept: the next request is read as itself
//! ```
#![allow(dead_code)] // Each test file uses its own part.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::http::headers::Headers;
use roundtrip::testing::App;
use roundtrip::testing::IntoServer;

/// Up to this length an input is cut in two at every place; a longer one at some.
const EVERYWHERE_BYTES_MAX: usize = 2_000;
/// Places at which a longer one is cut.
const PLACES: usize = 16;

thread_local! {
    /// The requests that handlers of this thread were given: method and target.
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What is sent on one connection, and what must come of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where the rule stands.
    pub row: String,
    /// What it is about.
    pub what: String,
    pub input: Vec<u8>,
    answers: Vec<String>,
    end: End,
    reaches: Option<usize>,
    head_has: Vec<String>,
    head_lacks: Vec<String>,
    /// Responses without bodies, from the first: they answer HEAD.
    heads: usize,
    counts_seen: bool,
    is_whole_only: bool,
    finishes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next request on the connection is served.
    Kept,
    /// The connection is closed.
    Closed,
    /// The server waits for more of what was begun.
    Waits,
}

/// A request without a body: the usual `Host`, and these lines.
pub fn get(lines: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A request with these lines, and what follows its head.
pub fn post(lines: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

/// A chunked request, and what follows its head.
pub fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

impl Case {
    /// A case that is served; by default one answer of 200, and the connection is kept.
    pub fn new(row: &str, what: &str, input: impl AsRef<[u8]>) -> Case {
        Case {
            row: row.to_owned(),
            what: what.to_owned(),
            input: input.as_ref().to_vec(),
            answers: vec!["200".to_owned()],
            end: End::Kept,
            reaches: None,
            head_has: Vec::new(),
            head_lacks: Vec::new(),
            heads: 0,
            counts_seen: true,
            is_whole_only: false,
            finishes: false,
        }
    }

    /// Refused with this status: no handler is given anything, and the connection is closed.
    pub fn refused(mut self, status: u16) -> Case {
        self.answers = vec![status.to_string()];
        self.reaches = Some(0);
        self.closed().head_has("Connection: close")
    }

    /// These answers, in order: a status, and what the body begins with. The echo says
    /// `METHOD TARGET HOST [body] {trailers}`.
    pub fn answers(mut self, answers: &[&str]) -> Case {
        self.answers = answers.iter().map(|text| (*text).to_owned()).collect();
        self
    }

    /// The connection is closed afterwards.
    pub fn closed(mut self) -> Case {
        self.end = End::Closed;
        self
    }

    /// The server waits for more, and has said no more than the answers.
    pub fn waits(mut self) -> Case {
        self.end = End::Waits;
        self
    }

    /// Handlers are given so many requests; by default as many as there are answers below 400.
    pub fn reaches(mut self, count: usize) -> Case {
        self.reaches = Some(count);
        self
    }

    /// The last response's head has this line.
    pub fn head_has(mut self, line: &str) -> Case {
        self.head_has.push(line.to_owned());
        self
    }

    /// The last response's head has no field of this name.
    pub fn head_lacks(mut self, name: &str) -> Case {
        self.head_lacks.push(name.to_ascii_lowercase());
        self
    }

    /// The request is a HEAD: its response has no body.
    pub fn without_body(mut self) -> Case {
        self.heads = 1;
        self
    }

    /// Handlers of a router that does not [note](saw) what it is given: only the answers count.
    pub fn seen_apart(mut self) -> Case {
        self.counts_seen = false;
        self
    }

    /// Not to be cut: what happens depends on what arrives together.
    pub fn whole_only(mut self) -> Case {
        self.is_whole_only = true;
        self
    }

    /// The client sends nothing more afterwards (a half-close).
    pub fn finishes(mut self) -> Case {
        self.finishes = true;
        self
    }

    /// Feeds it in every way.
    pub fn check(&self, app: &App) {
        let input = &self.input[..];
        self.feed(app, &[input]);
        if self.is_whole_only {
            return;
        }
        if input.len() <= EVERYWHERE_BYTES_MAX {
            self.feed(app, &input.chunks(1).collect::<Vec<_>>());
        }
        let step = match input.len() {
            0..=EVERYWHERE_BYTES_MAX => 1,
            len => len / PLACES,
        };
        for at in (1..input.len()).step_by(step) {
            let (first, second) = input.split_at(at);
            self.feed(app, &[first, second]);
        }
    }

    /// What is said when something is wrong.
    fn shown(&self, pieces: &[&[u8]], found: &str) -> String {
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len()).collect();
        let mut input = self.input.escape_ascii().to_string();
        if input.len() > 600 {
            input = format!("{} … {}", &input[..300], &input[input.len() - 200..]);
        }
        format!(
            "[{}] {}\n  {input}\n  in pieces of {lengths:?} came:\n  {found:?}",
            self.row, self.what
        )
    }

    fn feed(&self, app: &App, pieces: &[&[u8]]) {
        SEEN.take();
        let mut wire = app.connect();
        for piece in pieces {
            wire.send(piece);
        }
        if self.finishes {
            wire.finish();
        }
        let received = wire.receive_bytes();
        let text = received.escape_ascii().to_string();
        let shown = |why: &str| format!("{why}: {}", self.shown(pieces, &text));
        let (messages, rest) = messages(&received, self.heads);
        assert!(rest.is_empty(), "{}", shown("more than whole responses"));
        let found: Vec<String> = messages.iter().map(Message::summary).collect();
        let is_same = found.len() == self.answers.len()
            && found
                .iter()
                .zip(&self.answers)
                .all(|(f, a)| is_answer(f, a));
        let differs = format!("{found:?} instead of {:?}", self.answers);
        assert!(is_same, "{}", shown(&differs));
        self.check_head(messages.last(), &shown);
        let served = |answer: &&String| answer.as_bytes()[0] < b'4' && answer.as_bytes()[0] > b'1';
        let expected = self.answers.iter().filter(served).count();
        let seen = SEEN.take();
        let expected = self.reaches.unwrap_or(expected);
        assert!(
            !self.counts_seen || seen.len() == expected,
            "{}",
            shown(&format!("{seen:?} seen"))
        );
        let is_closed = wire.is_closed();
        assert!(!wire.is_reset(), "{}", shown("reset"));
        match self.end {
            End::Closed => assert!(is_closed, "{}", shown("still open")),
            End::Waits => assert!(!is_closed, "{}", shown("closed")),
            End::Kept => {
                assert!(!is_closed, "{}", shown("closed"));
                let next = wire
                    .send("GET /next HTTP/1.1\r\nHost: next\r\n\r\n")
                    .receive();
                assert!(next.ends_with("\r\n\r\nGET /next next"), "{}", shown(&next));
                assert_eq!(SEEN.take(), ["GET /next"], "{}", shown("next"));
            }
        }
    }

    fn check_head(&self, last: Option<&Message>, shown: &dyn Fn(&str) -> String) {
        let Some(last) = last else { return };
        for line in &self.head_has {
            let has = last.head.lines().any(|own| own == line);
            assert!(has, "{}", shown(&format!("no line {line:?}")));
        }
        for name in &self.head_lacks {
            let has = last.field(name).is_some();
            assert!(!has, "{}", shown(&format!("a field {name:?}")));
        }
    }
}

/// `400` is any answer with that status; `200 text` has a body that is the text.
fn is_answer(found: &str, expected: &str) -> bool {
    match expected.len() {
        3 => found.starts_with(expected),
        _ => found == expected,
    }
}

/// A response.
#[derive(Clone, Debug)]
pub struct Message {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn summary(&self) -> String {
        match self.body.is_empty() {
            true => self.status.to_string(),
            false => format!("{} {}", self.status, String::from_utf8_lossy(&self.body)),
        }
    }
}

/// The responses in what a server sent, and what is no whole one.
pub fn messages(mut bytes: &[u8], heads: usize) -> (Vec<Message>, &[u8]) {
    let mut found = Vec::new();
    while let Some((message, used)) = message(bytes, found.len() < heads) {
        found.push(message);
        bytes = &bytes[used..];
    }
    (found, bytes)
}

fn message(bytes: &[u8], is_head: bool) -> Option<(Message, usize)> {
    let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..head_len].to_vec()).expect("our heads are text");
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
    let status = head[9..12].parse().expect("a status");
    let rest = &bytes[head_len..];
    let mut message = Message {
        status,
        head,
        body: Vec::new(),
    };
    if is_head || status < 200 || status == 204 || status == 304 {
        return Some((message, head_len));
    }
    if let Some(length) = message.field("content-length") {
        let length = length.parse().expect("a length");
        message.body = rest.get(..length)?.to_vec();
        return Some((message, head_len + length));
    }
    if message.field("transfer-encoding").is_some() {
        let (body, used) = chunks(rest)?;
        message.body = body;
        return Some((message, head_len + used));
    }
    message.body = rest.to_vec();
    Some((message, bytes.len()))
}

/// A chunked body, its trailers shown behind it.
fn chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let len = bytes.len();
    let mut body = Vec::new();
    loop {
        let line_len = bytes.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..line_len]).ok()?;
        let size = usize::from_str_radix(line, 16).ok()?;
        bytes = &bytes[line_len + 2..];
        if size == 0 {
            let end = match bytes.starts_with(b"\r\n") {
                true => 2,
                false => bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4,
            };
            let trailers = &bytes[..end - 2];
            if !trailers.is_empty() {
                body.extend_from_slice(format!(" {{{}}}", trailers.escape_ascii()).as_bytes());
            }
            return Some((body, len - bytes.len() + end));
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

/// Notes what a handler was given.
pub fn saw(request: &Request) {
    let what = format!("{} {}", request.method(), request.target());
    SEEN.with_borrow_mut(|seen| seen.push(what));
}

/// What a handler was given, as text: `METHOD TARGET HOST [body] {trailers}`.
pub fn echoed(request: &Request, body: &[u8], trailers: Option<&Headers>) -> String {
    let host = request.host().unwrap_or("-");
    let mut text = format!("{} {} {host}", request.method(), request.target());
    if !body.is_empty() {
        text += &format!(" [{}]", body.escape_ascii());
    }
    if let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) {
        let lines: Vec<String> = trailers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
            .collect();
        text += &format!(" {{{}}}", lines.join(", "));
    }
    text
}

/// Reads all of a request, and says what it was. 400 when its body cannot be read.
pub async fn echo(mut request: Request) -> roundtrip::Result<Response> {
    saw(&request);
    let mut body = Vec::new();
    let mut incoming = request.take_body();
    while let Some(chunk) = incoming.chunk().await {
        body.extend_from_slice(&chunk?);
    }
    let trailers = incoming.take_trailers();
    Ok(Response::new().body(echoed(&request, &body, trailers.as_ref())))
}

/// Says what it was given, without a look at the body.
pub fn ignore(request: &Request) -> String {
    saw(request);
    echoed(request, &[], None)
}

/// Everything is echoed, and `/ignore` without its body.
pub fn router() -> Router {
    Router::new().any("/ignore", ignore).any("/", echo)
}

/// Checks them all, and says of each that is wrong what came.
pub fn check_all(served: impl IntoServer, cases: &[Case]) {
    let app = App::new(served);
    let mut failures = Vec::new();
    for case in cases {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case.check(&app))) {
            let text = panic.downcast_ref::<String>().cloned();
            failures.push(text.unwrap_or_else(|| case.what.clone()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
