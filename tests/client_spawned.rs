//! The spawned client: one reactor thread, used from threads without an executor, from tokio and
//! from cores of this crate. Every wait is bounded.
//!
//! ```text
//!   threads, tokio, a core ──► client_spawned ──► scripted peers
//! ```

#[path = "client/peer.rs"]
#[allow(dead_code, reason = "shared with the tests of the plain client")]
mod peer;

use std::collections::VecDeque;
use std::future::Future;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::pin::Pin;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::Context;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Method;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::RoundTrip as _;
use roundtrip::client::spawned;
use roundtrip::client::spawned::Body;
use roundtrip::error::ErrorKind;

use peer::LONG;
use peer::Peer;
use peer::ok;
use peer::pattern;

// ---- how tests wait --------------------------------------------------------------------------

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor of a few lines, as bounded as the rest.
#[track_caller]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let end = Instant::now() + LONG;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the future was not woken in time");
        thread::park_timeout(left);
    }
}

#[track_caller]
fn until(what: &str, check: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !check() {
        assert!(Instant::now() < end, "not seen in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The value of a counter once nobody changes it any more.
fn settled(counter: &AtomicUsize) -> usize {
    let mut seen = (counter.load(Ordering::SeqCst), 0);
    while seen.1 < 30 {
        thread::sleep(Duration::from_millis(5));
        let now = counter.load(Ordering::SeqCst);
        seen = if now == seen.0 && now > 0 {
            (now, seen.1 + 1)
        } else {
            (now, 0)
        };
    }
    seen.0
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Answers with the id of the request, and as many bytes behind it as it asks for.
fn echoing() -> Peer {
    Peer::answering(|seen| {
        let id = &seen.fields["x-id"];
        let len: usize = seen
            .fields
            .get("x-len")
            .map_or(0, |len| len.parse().unwrap());
        ok(format!("{id}:{}", "x".repeat(len)))
    })
}

async fn ask(client: &spawned::Client, url: &str, id: usize, len: usize) -> Result<()> {
    let request = client.get(url).header("X-Id", id.to_string());
    let response = request.header("X-Len", len.to_string()).send().await?;
    let text = response.error_for_status()?.text().await?;
    assert_eq!(text, format!("{id}:{}", "x".repeat(len)));
    Ok(())
}

// ---- types -----------------------------------------------------------------------------------

#[test]
fn everything_may_change_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    fn is_sent<T: Send + 'static>(value: T) -> T {
        value
    }
    is_shared::<spawned::Client>();
    is_shared::<spawned::RequestBuilder>();
    is_shared::<spawned::InFlight>();
    is_shared::<spawned::Response>();
    is_shared::<Body>();
    is_shared::<spawned::BodySender>();
    is_shared::<spawned::Reader>();
    let client = Client::spawned().unwrap();
    let (mut sender, body) = Body::channel();
    let whole = is_sent(async move {
        let builder = client.post("http://127.0.0.1:9/").header("A", "b");
        sender.send("x").await?;
        let mut response = builder.body(body).send().await?;
        let headers = response.headers().len();
        let chunk = response.body_mut().chunk().await.transpose()?;
        let stats = client.stats().await?;
        let text = response.text().await?;
        Ok::<_, Error>((headers, chunk, stats, text))
    });
    drop(whole);
}

// ---- many callers ----------------------------------------------------------------------------

#[test]
fn threads_share_one_pool_and_get_their_own_answers() {
    const THREADS: usize = 6;
    let peer = echoing();
    let url = peer.url("/");
    let client = Client::spawned().unwrap();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (client, url) = (client.clone(), &url);
            scope.spawn(move || {
                for round in 0..100 {
                    let len = (number + round) % 7 * 3_000;
                    block_on(ask(&client, url, number * 1_000 + round, len)).unwrap();
                }
            });
        }
    });
    // One connection each at most: each thread waits for its answer.
    assert!(
        (1..=THREADS).contains(&peer.accepted()),
        "{}",
        peer.accepted()
    );
    let stats = block_on(client.stats()).unwrap();
    assert_eq!(stats.requests_total, 100 * THREADS as u64);
}

#[test]
fn tasks_of_tokio_share_it_too() {
    let peer = echoing();
    let client = Client::builder().per_host_max(8).spawned().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .build()
        .unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let (client, url) = (client.clone(), peer.url("/"));
            runtime.spawn(async move {
                for round in 0..10 {
                    ask(&client, &url, number * 100 + round, round * 2_000).await?;
                }
                Ok::<(), Error>(())
            })
        })
        .collect();
    block_on(async {
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    assert!(peer.accepted() <= 8);
}

#[test]
fn cores_of_ours_can_share_one_pool() {
    let peer = echoing();
    let client = Client::spawned().unwrap();
    for id in 0..2 {
        let response = peer::run(async {
            let request = client.get(peer.url("/")).header("x-id", id.to_string());
            assert_eq!(request.send().await?.text().await?, format!("{id}:"));
            let request = Request::new(Method::GET, peer.url("/").parse().unwrap());
            let request = request.with_header("x-id", "seam")?;
            let response = client.round_trip(request).await?;
            assert!(response.peer_addr().is_some());
            response.text().await
        });
        assert_eq!(response, "seam:");
    }
    assert_eq!(peer.accepted(), 1);
    let error = peer::run(async { Ok(spawned::wait(client.get(peer.url("/")).send())) });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn bodies_of_many_threads_are_not_mixed_up() {
    let peer = Peer::answering(|seen| {
        let id: u8 = seen.fields["x-id"].parse().unwrap();
        ok(vec![id; seen.fields["x-len"].parse().unwrap()])
    });
    let url = peer.url("/");
    let client = Client::spawned().unwrap();
    thread::scope(|scope| {
        for number in 0..4_u8 {
            let (client, url) = (client.clone(), &url);
            scope.spawn(move || {
                for round in 0..30_u8 {
                    let (id, len) = (number * 30 + round, usize::from(round) * 61_111);
                    let request = client.get(url).header("x-id", id.to_string());
                    let request = request.header("x-len", len.to_string());
                    let mut response = block_on(request.send()).unwrap();
                    let mut received = 0;
                    // Every third is left where it stands.
                    while round % 3 != 0 || received < len / 3 {
                        let Some(chunk) = block_on(response.chunk()).unwrap() else {
                            assert_eq!(received, len);
                            break;
                        };
                        assert!(chunk.iter().all(|byte| *byte == id));
                        received += chunk.len();
                    }
                }
            });
        }
    });
}

#[test]
fn a_fake_client_can_be_spawned() {
    let fake = Client::fake(async |request: Request| {
        Ok(roundtrip::Response::new().body(request.target().to_owned()))
    });
    let client = spawned::Client::start(fake).unwrap();
    let text = block_on(async {
        client
            .get("http://a.example/x?y")
            .send()
            .await?
            .text()
            .await
    });
    assert_eq!(text.unwrap(), "/x?y");
    let stats = block_on(client.stats()).unwrap();
    assert_eq!(stats.requests_total, 0);
}

// ---- what a response says ---------------------------------------------------------------------

#[test]
fn a_response_has_what_the_plain_one_has() {
    let peer = Peer::answering(|seen| match seen.line.split(' ').nth(1).unwrap() {
        "/from" => b"HTTP/1.1 302 Found\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/to" => b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n0\r\nX-T: 2\r\n\r\n"
            .to_vec(),
        _ => format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Auth: {}\r\n\r\n",
            seen.fields
                .get("authorization")
                .cloned()
                .unwrap_or_default()
        )
        .into_bytes(),
    });
    let client = Client::spawned().unwrap();
    block_on(async {
        let mut response = client.get(peer.url("/from")).send().await.unwrap();
        assert_eq!(response.status_code(), 404);
        assert_eq!(response.version(), ::http::Version::HTTP_11);
        assert_eq!(response.headers().get("x-a"), Some("1"));
        assert_eq!(response.url().unwrap().as_str(), peer.url("/to"));
        let hop = &response.history()[0];
        assert_eq!((hop.status().as_u16(), hop.url().path()), (302, "/from"));
        assert_eq!(response.content_length(), None);
        assert!(response.error_for_status_ref().is_err());
        assert_eq!(response.history()[0].url().as_str(), peer.url("/from"));
        assert!(
            peer.url("/")
                .contains(&response.peer_addr().unwrap().to_string())
        );
        assert!(response.timings().is_reused);
        assert_eq!(response.chunk().await.unwrap().unwrap(), "abc");
        assert!(response.chunk().await.unwrap().is_none());
        let trailers = response.body_mut().take_trailers().unwrap();
        assert_eq!(trailers.get("x-t"), Some("2"));
        assert_eq!(
            response.error_for_status().unwrap_err().kind(),
            ErrorKind::Status
        );

        let auth = client.get(peer.url("/")).basic_auth("a", "b").send().await;
        let auth = auth.unwrap();
        assert_eq!(auth.headers().get("x-auth"), Some("Basic YTpi"));
        assert_eq!(auth.content_length(), Some(0));
        assert!(auth.error_for_status().is_ok());
        let bearer = client.head(peer.url("/")).bearer_auth("t").send().await;
        let bearer = bearer.unwrap();
        assert_eq!(bearer.headers().get("x-auth"), Some("Bearer t"));
        assert_eq!(bearer.body_ref().length(), Some(0));
    });
}

#[test]
fn what_cannot_be_sent_is_an_error_of_its_own() {
    let client = Client::spawned().unwrap();
    let kind = |in_flight: spawned::InFlight| block_on(in_flight).unwrap_err().kind();
    assert_eq!(kind(client.get("nonsense").send()), ErrorKind::Invalid);
    let split = client.get("http://127.0.0.1/").header("a", "b\r\nc: d");
    assert_eq!(kind(split.header("e", "f").send()), ErrorKind::Invalid);
    assert_eq!(
        kind(client.get("ftp://127.0.0.1/").send()),
        ErrorKind::Invalid
    );
    let url = "http://127.0.0.1/".parse().unwrap();
    let mut request = Request::new(Method::POST, url);
    request.set_body(roundtrip::Body::incoming(None).1);
    let error = block_on(client.send(request)).unwrap_err();
    assert!(error.text().contains("spawned::Body"), "{error}");
}

#[test]
fn its_builder_is_that_of_all_clients() {
    let peer = Peer::answering(|seen| {
        let body = String::from_utf8_lossy(&seen.body);
        let field = |name: &str| seen.fields.get(name).cloned().unwrap_or_default();
        let kind = field("content-type");
        ok(format!("{} {} {kind} {body}", seen.line, field("x-a")))
    });
    let client = Client::builder().base_url(peer.url("/base/")).unwrap();
    let client = client.spawned().unwrap();
    let text = |request: spawned::RequestBuilder| {
        block_on(async { request.send().await?.text().await }).unwrap()
    };
    let request = client
        .post("form")
        .query([("q", 1)])
        .headers([("X-A", "2")]);
    let again = request.try_clone().unwrap();
    assert_eq!(
        text(request.form([("a", "b c")])),
        "POST /base/form?q=1 HTTP/1.1 2 application/x-www-form-urlencoded a=b+c"
    );
    let stream = Body::stream(Scripted([Ok("streamed")].into()));
    let streamed = again.body(stream).header("Content-Type", "a/b");
    assert!(streamed.try_clone().is_none());
    assert_eq!(
        text(streamed),
        "POST /base/form?q=1 HTTP/1.1 2 a/b streamed"
    );

    let part = |body: roundtrip::Body| roundtrip::client::multipart::Part::new(body);
    let form = roundtrip::client::multipart::Form::new().part("a", part("b".into()));
    let sent = text(client.post("").multipart(form));
    assert!(sent.contains("name=\"a\"\r\n\r\nb\r\n"), "{sent}");
    let made = part(roundtrip::Body::incoming(None).1);
    let form = roundtrip::client::multipart::Form::new().part("a", made);
    let error = block_on(client.post("").multipart(form).send()).unwrap_err();
    assert!(error.text().contains("spawned::Body"), "{error}");
}

#[test]
fn a_built_request_is_sent_as_it_is() {
    let peer = Peer::answering(|seen| {
        ok(format!(
            "{} {} {}",
            seen.line,
            seen.fields["x-a"],
            String::from_utf8_lossy(&seen.body)
        ))
    });
    let client = Client::spawned().unwrap();
    let request = Client::new()
        .put(peer.url("/a?b"))
        .header("X-A", "1")
        .body("body");
    let mut request = request.build().unwrap();
    request.set_path("/c%2f").unwrap();
    let text = block_on(async { client.send(request).await?.text().await });
    assert_eq!(text.unwrap(), "PUT /c%2f?b HTTP/1.1 1 body");
}

// ---- request bodies --------------------------------------------------------------------------

struct Scripted(VecDeque<Result<&'static str>>);

impl Stream for Scripted {
    type Item = Result<&'static str>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// Says how a body was framed, and what it was.
fn describing() -> Peer {
    Peer::answering(|seen| {
        let framed = match seen.fields.get("content-length") {
            Some(length) => length.as_str(),
            None => "chunked",
        };
        ok(format!("{framed}:{}", String::from_utf8_lossy(&seen.body)))
    })
}

#[test]
fn bodies_of_every_kind_arrive() {
    let peer = describing();
    let client = Client::spawned().unwrap();
    let sent = |body: Body| {
        let request = client.post(peer.url("/")).body(body).header("Late", "1");
        block_on(async { request.send().await?.text().await }).unwrap()
    };
    let stream = |chunks: &[&'static str]| {
        Body::stream(Scripted(chunks.iter().map(|chunk| Ok(*chunk)).collect()))
    };
    assert_eq!(sent(Body::empty()), "0:");
    assert_eq!(sent("text".into()), "4:text");
    assert_eq!(sent(vec![b'a'; 3].into()), "3:aaa");
    assert_eq!(sent(Bytes::from_static(b"bytes").into()), "5:bytes");
    assert_eq!(sent(stream(&["a", "", "bc"])), "chunked:abc");
    assert_eq!(sent(stream(&["a", "bc"]).with_length(3)), "3:abc");

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let file = Arc::new(file);
    assert_eq!(sent(Body::file(Arc::clone(&file), 2..6)), "4:2345");
    let parts = [
        roundtrip::http::body::Part::Bytes(Bytes::from_static(b"<")),
        roundtrip::http::body::Part::File { file, range: 8..10 },
    ];
    assert_eq!(sent(Body::parts(parts)), "3:<89");

    let (mut sender, body) = Body::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            block_on(async {
                sender.send("one ").await?;
                sender.send(String::from("two")).await
            })
            .unwrap();
            sender.finish();
        });
        assert_eq!(sent(body), "chunked:one two");
    });
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn a_response_body_can_be_sent_on() {
    let source = Peer::answering(|_| ok(pattern(600_000)));
    let target = Peer::answering(|seen| {
        ok(if seen.body == pattern(600_000) {
            "same"
        } else {
            "other"
        })
    });
    let client = Client::spawned().unwrap();
    let text = block_on(async {
        let response = client.get(source.url("/")).send().await?;
        let request = client.post(target.url("/")).body(response.into_body());
        request.send().await?.text().await
    });
    assert_eq!(text.unwrap(), "same");
}

#[test]
fn bodies_that_fail_fail_their_request_alone() {
    struct Panics;

    impl Stream for Panics {
        type Item = Result<Bytes>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            panic!("on purpose");
        }
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose, in the drop");
        }
    }

    let peer = describing();
    let client = Client::spawned().unwrap();
    let failed = |body: Body| {
        let request = client.post(peer.url("/")).body(body);
        let error = block_on(request.send()).unwrap_err();
        format!("{error:#}")
    };
    let text = failed(Body::stream(Panics));
    assert!(text.contains("panicked"), "{text}");
    let broken = Error::new(ErrorKind::Protocol, "broken at its source");
    let text = failed(Body::stream(Scripted([Ok("a"), Err(broken)].into())));
    assert!(text.contains("broken at its source"), "{text}");
    let (sender, body) = Body::channel();
    drop(sender);
    let text = failed(body);
    assert!(text.contains("BodySender::finish"), "{text}");
    let (mut sender, body) = Body::channel();
    block_on(sender.send("a")).unwrap();
    sender.fail(Error::new(ErrorKind::Protocol, "told so"));
    let text = failed(body);
    assert!(text.contains("told so"), "{text}");
    let fine = client.post(peer.url("/")).body("fine");
    let fine = block_on(async { fine.send().await?.text().await });
    assert_eq!(fine.unwrap(), "4:fine");
}

#[test]
fn both_ways_at_once() {
    // Answers each chunk before the next one comes.
    let peer = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut line = String::new();
        while line.trim_end() != "" || line.is_empty() {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0);
        }
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        socket.write_all(head).unwrap();
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk).unwrap();
            socket.write_all(line.as_bytes()).unwrap();
            socket.write_all(&chunk).unwrap();
            if length == 0 {
                return;
            }
        }
    });
    let client = Client::spawned().unwrap();
    let (mut sender, body) = Body::channel();
    block_on(async {
        let mut response = client.post(peer.url("/")).body(body).send().await.unwrap();
        for number in 0..50 {
            let text = format!("{number}:{}", "y".repeat(number * 100));
            sender.send(text.clone()).await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < text.len() {
                heard.extend_from_slice(&response.chunk().await.unwrap().unwrap());
            }
            assert_eq!(heard, text.as_bytes());
        }
        sender.finish();
        assert!(response.chunk().await.unwrap().is_none());
    });
}

// ---- back-pressure ---------------------------------------------------------------------------

const MANY: usize = 48 * 1024 * 1024;
/// What may be on its way: three times 256 KiB of ours, and the buffers of two sockets.
const UNDER_WAY_MAX: usize = 24 * 1024 * 1024;

#[test]
fn what_nobody_reads_is_not_received() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let piece = pattern(64 * 1024);
    let peer = Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        peer::read_request(&mut reader, 0, 0).unwrap();
        write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {MANY}\r\n\r\n").unwrap();
        for _ in 0..MANY / piece.len() {
            socket.write_all(&piece).unwrap();
            counted.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    let client = Client::spawned().unwrap();
    let mut response = block_on(client.get(peer.url("/")).send()).unwrap();
    assert_eq!(response.body_ref().length(), Some(MANY as u64));
    let mut received = block_on(response.chunk()).unwrap().unwrap().len();
    let under_way = settled(&written);
    assert!(under_way < UNDER_WAY_MAX, "{under_way} bytes were taken");
    let piece = pattern(64 * 1024);
    while let Some(chunk) = block_on(response.chunk()).unwrap() {
        let at = received % piece.len();
        let same = chunk.len().min(piece.len() - at);
        assert!(chunk[..same] == piece[at..at + same]);
        received += chunk.len();
    }
    assert_eq!(received, MANY);
    assert_eq!(response.body_ref().length(), Some(0));
}

#[test]
fn what_nobody_takes_is_not_sent() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let peer = Peer::start(move |_, mut socket| {
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let seen = peer::read_request(&mut reader, 0, 0).unwrap();
        socket.write_all(&ok(seen.body.len().to_string())).unwrap();
    });
    let client = Client::spawned().unwrap();
    let (mut sender, body) = Body::channel();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let request = client.post(peer.url("/")).body(body);
    let answer = thread::spawn(move || block_on(async { request.send().await?.text().await }));
    let maker = thread::spawn(move || {
        let chunk = Bytes::from(vec![1; 64 * 1024]);
        for _ in 0..MANY / chunk.len() {
            block_on(sender.send(chunk.clone())).unwrap();
            counted.fetch_add(chunk.len(), Ordering::SeqCst);
        }
        sender.finish();
    });
    let under_way = settled(&sent);
    assert!(under_way < UNDER_WAY_MAX, "{under_way} bytes were taken");
    go.send(()).unwrap();
    maker.join().unwrap();
    assert_eq!(answer.join().unwrap().unwrap(), MANY.to_string());
}

// ---- giving up -------------------------------------------------------------------------------

#[test]
fn a_request_that_is_given_up_leaves_nothing() {
    let client = Client::spawned().unwrap();
    // Sees the end of a connection that it does not answer.
    let asked = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&asked);
    let silent = Peer::start(move |_, socket| {
        let mut reader = BufReader::new(socket);
        peer::read_request(&mut reader, 0, 0).unwrap();
        heard.fetch_add(1, Ordering::SeqCst);
        assert!(reader.read(&mut [0]).is_ok_and(|count| count == 0));
    });
    // Never polled, and thus never sent.
    drop(client.get(silent.url("/")).send());
    let mut unanswered = client.get(silent.url("/")).send();
    assert!(poll_once(&mut unanswered).is_pending());
    until("the request", || asked.load(Ordering::SeqCst) == 1);
    drop(unanswered);
    until("its end", || silent.ended() == 1);

    let peer = echoing();
    let asked = |id: usize| {
        let request = client.get(peer.url("/"));
        request.header("x-id", id.to_string()).send()
    };
    let busy = || {
        let stats = block_on(client.stats()).unwrap().pool;
        stats.dialing + stats.connections - stats.idle
    };
    // At any moment: before the request is taken, while it is sent, when the answer is there.
    for id in 0..200 {
        let mut in_flight = asked(id);
        assert!(poll_once(&mut in_flight).is_pending());
        match id % 4 {
            0 => {}
            1 => thread::yield_now(),
            2 => thread::sleep(Duration::from_micros(id as u64 * 3)),
            _ => {
                let text = block_on(async { in_flight.await?.text().await });
                assert_eq!(text.unwrap(), format!("{id}:"));
            }
        }
    }
    until("the end of all", || busy() == 0);
    assert_eq!(silent.accepted(), 1);
}

#[test]
fn a_body_that_is_dropped_costs_its_connection_or_not() {
    let peer = Peer::answering(|seen| match seen.line.contains("/large") {
        true => {
            let mut head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n".to_vec();
            head.extend(pattern(9_000_000));
            head
        }
        false => ok(pattern(100_000)),
    });
    let client = Client::spawned().unwrap();
    block_on(async {
        for _ in 0..3 {
            let mut response = client.get(peer.url("/")).send().await.unwrap();
            response.chunk().await.unwrap().unwrap();
            drop(response);
            let stats = || block_on(client.stats()).unwrap();
            until("the connection rests", || stats().pool.idle == 1);
        }
        assert_eq!(peer.accepted(), 1);
        let mut response = client.get(peer.url("/large")).send().await.unwrap();
        response.chunk().await.unwrap().unwrap();
        drop(response);
        until("the connection is closed", || peer.ended() == 1);
        let bytes = client
            .get(peer.url("/"))
            .send()
            .await
            .unwrap()
            .bytes()
            .await;
        assert_eq!(bytes.unwrap(), pattern(100_000));
        assert_eq!(peer.accepted(), 2);
    });
}

#[test]
fn a_body_that_is_dropped_while_nothing_comes_is_told() {
    // So much that the client's thread has to wait for its reader first; and a few bytes.
    for sent in [1_500_000, 4] {
        let peer = Peer::start(move |_, mut socket| {
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            peer::read_request(&mut reader, 0, 0).unwrap();
            let length = sent + 5;
            write!(
                socket,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            )
            .unwrap();
            socket.write_all(&pattern(sent)).unwrap();
            // An end or a reset, before our own time-out.
            match reader.read(&mut [0]) {
                Ok(count) => assert_eq!(count, 0),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            }
        });
        let client = Client::spawned().unwrap();
        let mut response = block_on(client.get(peer.url("/")).send()).unwrap();
        thread::sleep(Duration::from_millis(20));
        let mut received = 0;
        while received < sent {
            received += block_on(response.chunk()).unwrap().unwrap().len();
        }
        // It waits for more, here and there.
        assert!(poll_once(&mut pin!(response.chunk())).is_pending());
        thread::sleep(Duration::from_millis(20));
        drop(response);
        until("the end of the connection", || peer.ended() == 1);
        drop(client);
    }
}

#[test]
fn the_thread_ends_with_the_last_of_its_users() {
    let peer = Peer::answering(|_| ok(pattern(3_000_000)));
    let client = Client::spawned().unwrap();
    let clone = client.clone();
    drop(client);
    let in_flight = clone.get(peer.url("/")).send();
    drop(clone);
    let response = block_on(in_flight).unwrap();
    let mut body = response.into_body();
    let mut received = 0;
    while let Some(chunk) = block_on(body.chunk()) {
        received += chunk.unwrap().len();
    }
    assert_eq!((received, peer.ended()), (3_000_000, 0));
    drop(body);
    until("the connection at rest is closed", || peer.ended() == 1);
}

#[test]
fn the_thread_ends_with_a_body_half_read() {
    let peer = Peer::answering(|_| ok(pattern(9_000_000)));
    let client = Client::spawned().unwrap();
    let mut response = block_on(client.get(peer.url("/")).send()).unwrap();
    drop(client);
    block_on(response.chunk()).unwrap().unwrap();
    drop(response);
    until("the connection is closed", || peer.ended() == 1);
}

// ---- peers that fail -------------------------------------------------------------------------

#[test]
fn a_dead_server_is_an_error_for_each() {
    let client = Client::spawned().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = client.get(format!("http://{closed}/")).send();
    assert!(block_on(refused).unwrap_err().is_connect());

    let peer = Peer::answering(|_| Vec::new());
    let error = block_on(client.get(peer.url("/")).send()).unwrap_err();
    assert!(error.is_closed(), "{error}");
    assert_eq!(error.url(), Some(peer.url("/").as_str()));

    let peer = Peer::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec());
    let peer_cut = Peer::start(|_, mut socket: TcpStream| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        peer::read_request(&mut reader, 0, 0).unwrap();
        let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        socket.write_all(half).unwrap();
    });
    let mut response = block_on(client.get(peer_cut.url("/")).send()).unwrap();
    assert_eq!(block_on(response.chunk()).unwrap().unwrap(), "half");
    assert!(block_on(response.chunk()).unwrap_err().is_closed());

    let timed = client.get(peer.url("/")).timeout(Duration::from_millis(80));
    let mut response = block_on(timed.send()).unwrap();
    assert_eq!(block_on(response.chunk()).unwrap().unwrap(), "half");
    assert!(block_on(response.chunk()).unwrap_err().is_timeout());
}

// ---- blocking --------------------------------------------------------------------------------

#[test]
fn a_body_is_read_like_a_file() {
    let peer = Peer::answering(|seen| match seen.line.contains("/lines") {
        true => ok("first\nsecond\n"),
        false => ok(pattern(1_000_000)),
    });
    let client = Client::spawned().unwrap();
    let get = |path: &str| {
        let response = spawned::wait(client.get(peer.url(path)).send()).unwrap();
        response.into_body().into_reader()
    };
    let mut all = Vec::new();
    let mut reader = get("/");
    assert_eq!(reader.read(&mut []).unwrap(), 0);
    reader.read_to_end(&mut all).unwrap();
    assert!(all == pattern(1_000_000));
    let lines: Vec<String> = get("/lines").lines().map(|line| line.unwrap()).collect();
    assert_eq!(lines, ["first", "second"]);
}

// ---- the end of the process ------------------------------------------------------------------

static LEFT_BEHIND: OnceLock<(spawned::Client, spawned::Response)> = OnceLock::new();

/// Runs in the child of the next test.
#[test]
fn child_that_leaves_a_client_behind() {
    let Ok(url) = std::env::var("SPAWNED_CHILD_URL") else {
        return;
    };
    let client = Client::spawned().unwrap();
    let response = block_on(client.get(url).send()).unwrap();
    LEFT_BEHIND.set((client, response)).unwrap();
}

#[test]
fn a_process_that_exits_does_not_wait() {
    let peer = Peer::answering(|_| ok(pattern(9_000_000)));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_leaves_a_client_behind"])
        .env("SPAWNED_CHILD_URL", peer.url("/"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + LONG;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("the process hangs");
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success());
    assert_eq!(peer.accepted(), 1);
}
