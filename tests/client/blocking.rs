//! The client of threads without a runtime.

use std::cell::RefCell;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use roundtrip::client::blocking;
use roundtrip::client::multipart::Form;
use roundtrip::client::multipart::Part;
use roundtrip::error::ErrorKind;

use crate::peer::LONG;
use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::pattern;
use crate::peer::read_request;
use crate::peer::run;

/// Waits until `check` is true, without a core.
fn until(what: &str, check: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if check() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("not seen in time: {what}");
}

#[test]
fn gets_text() {
    let peer = Peer::answering(|seen| ok(format!("{}", seen.index)));
    for index in 0..3 {
        let text = blocking::get(peer.url("/")).unwrap().text().unwrap();
        assert_eq!(text, index.to_string());
    }
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn reads_like_a_file() {
    let body = pattern(3_000_000);
    let sent = body.clone();
    let peer = Peer::answering(move |_| ok(&sent));
    let client = blocking::Client::new();
    let mut response = client.get(peer.url("/")).send().unwrap();
    assert_eq!(response.status_code(), 200);
    let mut first = [0; 10];
    response.read_exact(&mut first).unwrap();
    assert_eq!(first, body[..10]);
    let mut rest = Vec::new();
    response.read_to_end(&mut rest).unwrap();
    assert!(rest == body[10..]);

    let mut response = client.get(peer.url("/")).send().unwrap();
    response.read_exact(&mut first).unwrap();
    drop(response);
    assert_eq!(
        client
            .post(peer.url("/"))
            .body("x")
            .send()
            .unwrap()
            .status_code(),
        200
    );
}

#[test]
fn what_was_read_is_not_lost() {
    let peer = Peer::answering(|_| ok("hello"));
    let mut response = blocking::get(peer.url("/")).unwrap();
    let mut first = [0; 2];
    response.read_exact(&mut first).unwrap();
    assert_eq!(response.text().unwrap(), "llo");
}

#[test]
fn a_server_that_closed_meanwhile_is_noticed() {
    let peer = Peer::start(|_, mut socket| {
        let mut request = [0; 1024];
        let _ = socket.read(&mut request).unwrap();
        socket.write_all(&ok("once")).unwrap();
    });
    let client = blocking::Client::new();
    for count in 1..4 {
        // A POST would not be repeated: the connection must not be handed out.
        let response = client.post(peer.url("/")).body("x").send().unwrap();
        assert_eq!(response.text().unwrap(), "once");
        assert_eq!(peer.accepted(), count);
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn threads_share_a_client_and_end() {
    let peer = Peer::answering(|seen| ok(&seen.body));
    let client = blocking::Client::new();
    let threads: Vec<_> = (0..4)
        .map(|number: u32| {
            let (client, url) = (client.clone(), peer.url("/"));
            std::thread::spawn(move || {
                for _ in 0..5 {
                    let request = client.post(&url).body(number.to_string());
                    assert_eq!(request.send().unwrap().text().unwrap(), number.to_string());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(peer.accepted(), 4);
    until("the connections of ended threads close", || {
        peer.ended() == 4
    });
}

#[test]
fn errors_come_at_once() {
    let error = blocking::get("http://127.0.0.1:1/").unwrap_err();
    assert!(error.is_connect(), "{error}");
    let error = blocking::get("nonsense").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let silent = Peer::start(|_, mut socket| {
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let request = blocking::Client::new().get(silent.url("/"));
    let error = request
        .timeout(Duration::from_millis(50))
        .send()
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    run(async {
        let error = blocking::get("http://127.0.0.1:1/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("roundtrip::Client"), "{error}");
        Ok(())
    });
}

#[test]
fn clients_go_from_thread_to_thread() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<roundtrip::Client>();
    shared::<blocking::Client>();
}

#[test]
fn everything_of_the_builders_is_here() {
    let peer = Peer::answering(|seen| {
        let field = |name: &str| seen.fields.get(name).map_or("none", String::as_str);
        let type_ = field("content-type").split(';').next().unwrap();
        let body = String::from_utf8_lossy(&seen.body);
        ok(format!("{} {} {type_} {body}", seen.line, field("x-a")))
    });
    let client = blocking::Client::builder()
        .base_url(peer.url("/api/"))
        .unwrap()
        .default_headers([("X-A", "1")])
        .unwrap()
        .timeout(LONG)
        .build();
    let text = |request: blocking::RequestBuilder| request.send().unwrap().text().unwrap();
    assert_eq!(
        text(client.get("a").query([("q", "b c")])),
        "GET /api/a?q=b+c HTTP/1.1 1 none "
    );
    assert_eq!(
        text(client.patch("a").form([("q", "b c")])),
        "PATCH /api/a HTTP/1.1 1 application/x-www-form-urlencoded q=b+c"
    );
    let form = Form::new().part("f", Part::new("content").file_name("x.txt"));
    let multipart = text(client.put("/a").multipart(form));
    assert!(multipart.starts_with("PUT /a HTTP/1.1 1 multipart/form-data --"));
    assert!(multipart.contains("filename=\"x.txt\"\r\n\r\ncontent\r\n--"));
    let request = client.delete("a").headers([("x-a", "2")]);
    let again = request.try_clone().unwrap();
    assert_eq!(text(again), "DELETE /api/a HTTP/1.1 2 none ");
    assert_eq!(text(request), "DELETE /api/a HTTP/1.1 2 none ");
    let theirs = http::Request::post(peer.url("/b")).body("text").unwrap();
    let response = client.send(theirs).unwrap();
    assert_eq!(response.content_length(), Some(28));
    assert_eq!(response.url().unwrap().path(), "/b");
    assert_eq!(response.peer_addr(), peer.url("")[7..].parse().ok());
    assert_eq!(response.text().unwrap(), "POST /b HTTP/1.1 1 none text");
    let head = client.head("a").send().unwrap();
    assert!(head.content_length().is_some());
    assert_eq!(peer.accepted(), 1);
}

#[cfg(feature = "json")]
#[test]
fn json_both_ways() {
    let peer = Peer::answering(|seen| ok(&seen.body));
    let client = blocking::Client::new();
    let post = || client.post(peer.url("/")).json(&[1, 2]).send().unwrap();
    assert_eq!(post().json::<Vec<u8>>().unwrap(), [1, 2]);
    let error = post().json_within::<Vec<u8>>(4).unwrap_err();
    assert!(
        error.is_limit() && error.text().contains("json_within"),
        "{error}"
    );
}

#[test]
fn a_status_may_be_an_error() {
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nwhy";
    let peer = Peer::answering(|_| answer.into());
    let response = blocking::get(peer.url("/")).unwrap();
    assert!(response.error_for_status_ref().is_err());
    assert_eq!(response.text_within(3).unwrap(), "why");
    let response = blocking::get(peer.url("/")).unwrap();
    let error = response.error_for_status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Status);
}

/// Answers with the coding and the body of the request.
fn echo() -> Peer {
    Peer::answering(|seen| {
        let coding = seen.fields.get("transfer-encoding");
        let length = seen.fields.get("content-length");
        let framing = coding.or(length).unwrap();
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\nX-Framing: {framing}\r\nContent-Length: {}\r\n\r\n",
            seen.body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&seen.body);
        bytes
    })
}

/// Hands out its content in pieces of odd sizes.
struct Pieces {
    content: Vec<u8>,
    given: usize,
    interrupted: bool,
}

impl Pieces {
    fn new(content: &[u8]) -> Pieces {
        Pieces {
            content: content.to_vec(),
            given: 0,
            interrupted: false,
        }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let left = &self.content[self.given..];
        let len = left.len().min(buffer.len()).min(1 + self.given % 30_011);
        buffer[..len].copy_from_slice(&left[..len]);
        self.given += len;
        Ok(len)
    }
}

#[test]
fn a_reader_is_a_body() {
    let peer = echo();
    let client = blocking::Client::new();
    for len in [0, 1, 300_000] {
        let content = pattern(len);
        for length in [None, Some(len as u64)] {
            let request = client.post(peer.url("/"));
            let request = request.body_reader(Pieces::new(&content), length);
            let response = request.send().unwrap();
            let framing = length.map_or("chunked".into(), |length| length.to_string());
            assert_eq!(response.headers().get("x-framing"), Some(&*framing));
            assert!(response.bytes().unwrap() == content);
        }
    }
    assert_eq!(peer.accepted(), 1);
    for wrong in [2, 4] {
        let request = client.post(peer.url("/"));
        let request = request.body_reader(&b"abc"[..], Some(wrong));
        let error = request.send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[test]
fn what_was_read_is_sent_before_the_next_read() {
    let (told, seen) = mpsc::channel();
    let told = Mutex::new(told);
    let peer = Peer::start(move |_, mut socket| {
        let mut all = Vec::new();
        let mut piece = [0; 1024];
        while !all.ends_with(b"\r\n0\r\n\r\n") {
            let len = socket.read(&mut piece).unwrap();
            all.extend_from_slice(&piece[..len]);
            let arrived = String::from_utf8_lossy(&all).into_owned();
            let _ = told.lock().unwrap().send(arrived);
        }
        socket.write_all(&ok("done")).unwrap();
    });
    /// Reads on only when the peer has seen what was read before.
    struct Patient {
        pieces: Vec<&'static str>,
        awaited: &'static str,
        seen: mpsc::Receiver<String>,
    }
    impl Read for Patient {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            while !self.seen.recv_timeout(LONG).unwrap().contains(self.awaited) {}
            let Some(piece) = self.pieces.pop() else {
                return Ok(0);
            };
            self.awaited = piece;
            buffer[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }
    let reader = Patient {
        pieces: vec!["third", "second", "first"],
        awaited: "POST / ",
        seen,
    };
    let request = blocking::Client::new().post(peer.url("/"));
    let response = request.body_reader(reader, None).send().unwrap();
    assert_eq!(response.text().unwrap(), "done");
}

#[test]
fn a_reader_that_fails_fails_its_request() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the tape is torn"))
        }
    }
    let peer = echo();
    let request = blocking::Client::new().post(peer.url("/"));
    let error = request.body_reader(Broken, None).send().unwrap_err();
    assert!(format!("{error:#}").contains("the tape is torn"), "{error}");

    /// Wants a core while one drives it.
    struct Nested(String);
    impl Read for Nested {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            blocking::get(&self.0)?.read(buffer)
        }
    }
    let request = blocking::Client::new().post(peer.url("/"));
    let nested = request.body_reader(Nested(peer.url("/")), None);
    let error = nested.send().unwrap_err();
    assert!(format!("{error:#}").contains("runs a core"), "{error}");
}

#[test]
fn files_are_bodies_from_where_they_stand() {
    let peer = echo();
    let client = blocking::Client::new();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before, and the body").unwrap();
    file.seek(std::io::SeekFrom::Start(8)).unwrap();
    let response = client.post(peer.url("/")).body_file(file).send().unwrap();
    assert_eq!(response.headers().get("x-framing"), Some("12"));
    assert_eq!(response.text().unwrap(), "and the body");
    // What is no regular file has no length.
    let nothing = std::fs::File::open("/dev/null").unwrap();
    let response = client.post(peer.url("/")).body_file(nothing).send();
    assert_eq!(
        response.unwrap().headers().get("x-framing"),
        Some("chunked")
    );
}

#[test]
fn one_response_is_the_body_of_the_next_request() {
    let content = pattern(1_000_000);
    let sent = content.clone();
    let source = Peer::answering(move |_| ok(&sent));
    let target = echo();
    let client = blocking::Client::new();
    let whole = client.get(source.url("/")).send().unwrap();
    let copy = client.post(target.url("/")).body(whole).send().unwrap();
    assert_eq!(copy.headers().get("x-framing"), Some("1000000"));
    assert!(copy.bytes().unwrap() == content);
    let mut begun = client.get(source.url("/")).send().unwrap();
    let mut first = [0; 10];
    begun.read_exact(&mut first).unwrap();
    let copy = client.post(target.url("/")).body(begun).send().unwrap();
    assert_eq!(copy.headers().get("x-framing"), Some("999990"));
    assert!(copy.bytes().unwrap() == content[10..]);
}

#[test]
fn a_response_is_copied_to_a_writer() {
    let content = pattern(3_000_000);
    let sent = content.clone();
    let peer = Peer::answering(move |_| ok(&sent));
    let client = blocking::Client::new();
    let mut response = client.get(peer.url("/")).send().unwrap();
    let mut first = [0; 10];
    assert_eq!(response.read(&mut []).unwrap(), 0);
    response.read_exact(&mut first).unwrap();
    let mut rest = Vec::new();
    assert_eq!(response.copy_to(&mut rest).unwrap(), 2_999_990);
    assert!(first == content[..10] && rest == content[10..]);
    let mut response = client.get(peer.url("/")).send().unwrap();
    let mut all = Vec::new();
    std::io::copy(&mut response, &mut all).unwrap();
    assert!(all == content);
    let mut response = client.get(peer.url("/")).send().unwrap();
    let error = response.copy_to(&mut &mut [0; 10][..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let response = client.get(peer.url("/")).send().unwrap();
    let error = response.bytes().unwrap_err();
    assert!(error.text().contains("bytes_within"), "{error}");
    let response = client.get(peer.url("/")).send().unwrap();
    assert!(response.bytes_within(3_000_000).unwrap() == content);
}

#[test]
fn times_count_although_nobody_turns_the_core() {
    let peer = Peer::answering(|seen| ok(seen.connection.to_string()));
    let soon = Duration::from_millis(40);
    let idle = blocking::Client::builder().idle_timeout(soon).build();
    let aged = blocking::Client::builder().age_max(soon).build();
    let mut connections = 0;
    for client in [idle, aged] {
        for _ in 0..3 {
            // A POST is not repeated: a connection that is too old must not be handed out.
            let request = client.post(peer.url("/")).body("x");
            let text = request.send().unwrap().text().unwrap();
            assert_eq!(text, connections.to_string());
            connections += 1;
            std::thread::sleep(2 * soon);
        }
        until("each look is a turn, which closes what is too old", || {
            client.stats().unwrap().pool.connections == 0
        });
    }
}

#[test]
fn what_came_in_time_is_not_late() {
    let (go, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let peer = Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0).unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst";
        socket.write_all(head).unwrap();
        gate.lock().unwrap().recv_timeout(LONG).unwrap();
        socket.write_all(b"later").unwrap();
        let _ = reader.read(&mut [0]);
    });
    let soon = Duration::from_millis(50);
    let client = blocking::Client::builder().body_timeout(soon).build();
    let mut response = client.get(peer.url("/")).send().unwrap();
    assert_eq!(response.chunk().unwrap().unwrap(), "first");
    // The rest comes at once, and the thread is busy with something else for longer than the
    // time-out, which is for the server.
    go.send(()).unwrap();
    std::thread::sleep(4 * soon);
    assert_eq!(response.chunk().unwrap().unwrap(), "later");
    assert_eq!(response.chunk().unwrap(), None);
}

#[test]
fn what_is_dropped_is_closed_at_once() {
    let peer = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        while read_request(&mut reader, 0, 0).is_some() {
            let body = vec![0; 4_000_000];
            if socket.write_all(&ok(&body)).is_err() {
                return;
            }
        }
    });
    let client = blocking::Client::new();
    drop(client.get(peer.url("/")).send().unwrap());
    until("the connection of a response that nobody reads", || {
        peer.ended() == 1
    });
    assert_eq!(client.stats().unwrap().pool.connections, 0);
    let whole = client.get(peer.url("/")).send().unwrap();
    whole.bytes_within(4_000_000).unwrap();
    assert_eq!(client.stats().unwrap().pool.idle, 1);
    client.close_idle();
    until("connections that rest", || peer.ended() == 2);
    let other = client.clone();
    let whole = other.get(peer.url("/")).send().unwrap();
    drop((client, other));
    whole.bytes_within(4_000_000).unwrap();
    until("the connection of a client that is gone", || {
        peer.ended() == 3
    });
    let client = blocking::Client::new();
    let whole = client.get(peer.url("/")).send().unwrap();
    whole.bytes_within(4_000_000).unwrap();
    assert_eq!(peer.ended(), 3);
    drop(client);
    until("connections of a client that goes", || peer.ended() == 4);
    assert!(blocking::Client::new().stats().is_none());
}

/// Asks when its thread ends.
struct AtTheEnd {
    url: String,
    client: blocking::Client,
    told: mpsc::Sender<Option<ErrorKind>>,
}

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let got = self.client.get(&self.url).send();
        let kind = got.and_then(blocking::Response::text).err();
        let _ = self.told.send(kind.map(|error| error.kind()));
        let got = blocking::get(&self.url).and_then(blocking::Response::text);
        let _ = self.told.send(got.err().map(|error| error.kind()));
        self.client.close_idle();
    }
}

thread_local! {
    static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    static HELD: RefCell<Option<blocking::Response>> = const { RefCell::new(None) };
}

#[test]
fn the_end_of_a_thread_is_no_trap() {
    let peer = Peer::answering(|seen| ok(vec![0; 100_000 * seen.index]));
    let (told, kinds) = mpsc::channel();
    // Whether the thread has asked before, and whether what asks last was there before its core.
    for (asks, is_first) in [(false, true), (true, true), (true, false)] {
        let (url, told) = (peer.url("/"), told.clone());
        let thread = std::thread::spawn(move || {
            let client = blocking::Client::new();
            let last = AtTheEnd {
                url: url.clone(),
                client: client.clone(),
                told,
            };
            let mut last = Some(last);
            if is_first {
                AT_THE_END.set(last.take());
            }
            if asks {
                client.get(&url).send().unwrap().text().unwrap();
                blocking::get(&url).unwrap().text().unwrap();
                HELD.set(Some(client.get(&url).send().unwrap()));
            }
            if let Some(last) = last {
                AT_THE_END.set(Some(last));
            }
        });
        thread.join().expect("nothing panics");
        for _ in 0..2 {
            let kind = kinds.recv_timeout(LONG).expect("it was asked");
            assert!(matches!(kind, None | Some(ErrorKind::Shutdown)), "{kind:?}");
        }
    }
    until("all connections end with their threads", || {
        peer.ended() == peer.accepted()
    });
}

#[test]
fn a_client_without_a_core_says_what_to_do() {
    let client = roundtrip::Client::new();
    let peer = Peer::answering(|_| ok("x"));
    let future = std::pin::pin!(client.get(peer.url("/")).send());
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(outcome) = future.poll(context) else {
        panic!("it waits for nothing")
    };
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shutdown);
    for way in ["block_on", "roundtrip::blocking", "Client::spawned"] {
        assert!(error.text().contains(way), "{error}");
    }
    assert_eq!(client.stats(), None);
    client.close_idle();
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn many_threads_use_one_client() {
    let peer = Arc::new(Peer::answering(|seen| ok(&seen.body)));
    let client = blocking::Client::builder().per_host_max(1).build();
    let threads: Vec<_> = (0..16)
        .map(|number: usize| {
            let (client, peer) = (client.clone(), Arc::clone(&peer));
            std::thread::spawn(move || {
                for index in 0..10 {
                    let content = pattern(number * 1_000 + index);
                    let request = client.post(peer.url("/")).body(content.clone());
                    assert!(request.send().unwrap().bytes().unwrap() == content);
                }
                client.stats().unwrap().requests_total
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 10, "each thread has its own pool");
    }
    assert_eq!(peer.accepted(), 16);
}
