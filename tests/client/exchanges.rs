//! One exchange at a time: framing, bodies both ways, what the head says.

use std::future::poll_fn;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use roundtrip::Result;
use roundtrip::client::Client;
use roundtrip::client::RoundTrip;
use roundtrip::client::Transport;
use roundtrip::client::TransportOptions;
use roundtrip::http::body::Body;
use roundtrip::http::headers::Headers;
use roundtrip::http::request::Request;
use roundtrip::runtime;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::pattern;
use crate::peer::run;
use crate::peer::until;

#[test]
fn a_get_brings_status_fields_body_and_url() {
    let peer = Peer::answering(|seen| {
        assert_eq!(seen.line, "GET /a?b=c HTTP/1.1");
        assert!(seen.fields["user-agent"].starts_with("roundtrip/"));
        assert_eq!(seen.fields["x-mine"], "1");
        assert!(!seen.fields.contains_key("content-length"));
        b"HTTP/1.1 201 Made\r\nContent-Length: 5\r\nX-Yours: 2\r\n\r\nhello".to_vec()
    });
    let url = peer.url("/a?b=c#fragment");
    run(async move {
        let client = Client::new();
        let response = client.get(&url).header("X-Mine", "1").send().await?;
        assert_eq!(response.status_code(), 201);
        assert_eq!(response.headers().get("x-yours"), Some("2"));
        assert_eq!(response.url().map(|url| url.as_str()), Some(url.as_str()));
        assert_eq!(response.body_ref().length(), Some(5));
        assert_eq!(response.text().await?, "hello");
        Ok(())
    });
}

#[test]
fn framings_of_responses() {
    let cases: [(&str, &[u8], &str); 6] = [
        ("/empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("/204", b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        ("/304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""),
        (
            "/chunked",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
            "hello",
        ),
        (
            "/informational",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        ("/length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ];
    let peer = Peer::answering(move |seen| {
        let path = seen.line.split(' ').nth(1).unwrap();
        let case = cases.iter().find(|case| case.0 == path).unwrap();
        case.1.to_vec()
    });
    run(async {
        let client = Client::new();
        for (path, _, body) in cases {
            let response = client.get(peer.url(path)).send().await?;
            assert_eq!(response.text().await?, body, "{path}");
        }
        Ok(())
    });
    assert_eq!(
        peer.accepted(),
        1,
        "each of them leaves the connection usable"
    );
}

#[test]
fn a_response_in_pieces() {
    let peer = Peer::start(|_, mut socket| {
        let mut request = [0; 1024];
        let _ = socket.read(&mut request).unwrap();
        let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                         5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n";
        for byte in response {
            socket.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_micros(200));
        }
        let _ = socket.read(&mut request);
    });
    run(async {
        let mut response = Client::new().get(peer.url("/")).send().await?;
        let mut text = Vec::new();
        while let Some(chunk) = response.body_mut().chunk().await {
            text.extend_from_slice(&chunk?);
        }
        assert_eq!(text, b"hello");
        let trailers = response.body_mut().take_trailers().unwrap();
        assert_eq!(trailers.get("x-sum"), Some("7"));
        Ok(())
    });
}

#[test]
fn a_body_that_ends_with_the_connection() {
    let peer = Peer::answering(|seen| match seen.index {
        0 => b"HTTP/1.0 200 OK\r\n\r\nuntil the end".to_vec(),
        _ => unreachable!("the connection ends"),
    });
    let closing = Peer::start(|_, mut socket| {
        let mut request = [0; 1024];
        let _ = socket.read(&mut request).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil ").unwrap();
        std::thread::sleep(Duration::from_millis(20));
        socket.write_all(b"the end").unwrap();
    });
    run(async {
        let response = Client::new().get(closing.url("/")).send().await?;
        assert_eq!(response.body_ref().length(), None);
        assert_eq!(response.text().await?, "until the end");
        drop(peer);
        Ok(())
    });
}

#[test]
fn a_head_request_has_no_body_to_wait_for() {
    let peer = Peer::answering(|seen| {
        assert!(seen.line.starts_with("HEAD "));
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec()
    });
    run(async {
        let client = Client::new();
        for _ in 0..2 {
            let response = client.head(peer.url("/")).send().await?;
            assert_eq!(response.headers().get("content-length"), Some("1000"));
            assert_eq!(response.text().await?, "");
        }
        Ok(())
    });
    assert_eq!(peer.accepted(), 1);
}

fn echo() -> Peer {
    Peer::answering(|seen| {
        let coding = match seen.fields.get("transfer-encoding") {
            Some(coding) => coding.as_str(),
            None => "length",
        };
        let mut bytes = format!(
            "HTTP/1.1 200 OK\r\nX-Coding: {coding}\r\nContent-Length: {}\r\n\r\n",
            seen.body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&seen.body);
        bytes
    })
}

/// Chunks that come one per turn.
struct Chunks {
    left: Vec<Bytes>,
    pause: bool,
}

impl Stream for Chunks {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.pause = !self.pause;
        if self.pause {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.left.pop().map(Ok))
    }
}

#[test]
fn bodies_of_requests() {
    let peer = echo();
    run(async {
        let client = Client::new();
        let response = client.post(peer.url("/")).body("text").send().await?;
        assert_eq!(response.headers().get("x-coding"), Some("length"));
        assert_eq!(response.text().await?, "text");

        let left = vec![Bytes::from("c"), Bytes::from("b"), Bytes::from("a")];
        let body = Body::stream(Chunks { left, pause: false });
        let response = client.put(peer.url("/")).body(body).send().await?;
        assert_eq!(response.headers().get("x-coding"), Some("chunked"));
        assert_eq!(response.text().await?, "abc");

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before, the body, behind").unwrap();
        file.rewind().unwrap();
        let body = Body::file(Arc::new(file), 8..16);
        let response = client.post(peer.url("/")).body(body).send().await?;
        assert_eq!(response.text().await?, "the body");

        let response = client.post(peer.url("/")).send().await?;
        assert_eq!(response.text().await?, "");
        Ok(())
    });
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn large_bodies_both_ways() {
    const LEN: usize = 12 * 1024 * 1024;
    let peer = echo();
    run(async {
        let client = Client::new();
        let sent = pattern(LEN);
        for streamed in [false, true] {
            let body = if streamed {
                let left = sent.rchunks(100_000).map(Bytes::copy_from_slice).collect();
                Body::stream(Chunks { left, pause: false })
            } else {
                Body::from(sent.clone())
            };
            let response = client.post(peer.url("/")).body(body).send().await?;
            let received = response.into_body().collect(LEN).await?;
            assert!(received == sent, "streamed: {streamed}");
        }
        Ok(())
    });
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn a_body_that_nobody_reads_is_not_received() {
    const LEN: usize = 64 * 1024 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let peer = Peer::start(move |_, mut socket| {
        let mut request = [0; 1024];
        let _ = socket.read(&mut request).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let block = vec![7; 64 * 1024];
        for _ in 0..LEN / block.len() {
            socket.write_all(&block).unwrap();
            count.fetch_add(block.len(), Ordering::SeqCst);
        }
    });
    run(async {
        let mut response = Client::new().get(peer.url("/")).send().await?;
        let first = response.body_mut().chunk().await.unwrap()?;
        runtime::sleep(Duration::from_millis(300)).await;
        // What the kernels buffer, and what we take ahead.
        assert!(written.load(Ordering::SeqCst) < LEN / 2, "no back-pressure");
        let mut len = first.len();
        while let Some(chunk) = response.body_mut().chunk().await {
            len += chunk?.len();
        }
        assert_eq!(len, LEN);
        Ok(())
    });
}

#[test]
fn a_response_may_come_before_the_request_is_sent() {
    let peer = Peer::start(|_, mut socket| {
        let mut request = [0; 1024];
        let _ = socket.read(&mut request).unwrap();
        let response = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!";
        socket.write_all(response).unwrap();
        // The client notices, and stops.
        while socket.read(&mut request).is_ok_and(|len| len > 0) {}
    });
    run(async {
        let client = Client::new();
        let endless = std::iter::repeat_n(Bytes::from(vec![0; 64 * 1024]), 4_000).collect();
        let body = Body::stream(Chunks {
            left: endless,
            pause: false,
        });
        let response = client.post(peer.url("/")).body(body).send().await?;
        assert_eq!(response.status_code(), 413);
        assert_eq!(response.text().await?, "no!");
        assert_eq!(client.stats().unwrap().pool.idle, 0, "not reused");
        Ok(())
    });
}

#[test]
fn credentials_of_the_url_are_sent() {
    let peer = Peer::answering(|seen| ok(&seen.fields["authorization"]));
    let url = peer.url("/").replace("http://", "http://me:se%20cret@");
    run(async {
        let client = Client::new();
        let text = client.get(&url).send().await?.text().await?;
        assert_eq!(text, "Basic bWU6c2UgY3JldA==");
        let own = client.get(&url).basic_auth("a", "b").send().await?;
        assert_eq!(own.text().await?, "Basic YTpi");
        let token = client.get(&url).bearer_auth("t").send().await?;
        assert_eq!(token.text().await?, "Bearer t");
        Ok(())
    });
}

/// Three lines make a fake.
struct Fake;

impl RoundTrip for Fake {
    async fn round_trip(&self, request: Request) -> Result<roundtrip::http::response::Response> {
        Ok(roundtrip::http::response::Response::new().body(request.target().to_owned()))
    }
}

#[test]
fn round_trip_is_the_seam() {
    async fn fetch(through: &impl RoundTrip, url: &str) -> Result<String> {
        let request = Request::new(http::Method::GET, url::Url::parse(url).unwrap());
        through.round_trip(request).await?.text().await
    }
    let peer = Peer::answering(|_| ok("real"));
    run(async {
        assert_eq!(fetch(&Fake, "http://h/x").await?, "/x");
        let transport = Transport::new(TransportOptions::default())?;
        assert_eq!(fetch(&transport, &peer.url("/")).await?, "real");
        assert_eq!(fetch(&transport, &peer.url("/")).await?, "real");
        assert_eq!(transport.stats().requests_total, 2);
        assert_eq!(transport.stats().pool.reused_total, 1);
        assert_eq!(fetch(&Client::new(), &peer.url("/")).await?, "real");
        Ok(())
    });
}

#[test]
fn one_turn_can_carry_many_requests() {
    let peer = Peer::answering(|seen| ok(&seen.line));
    run(async {
        let client = Client::new();
        for _ in 0..3 {
            let mut tasks = Vec::new();
            for index in 0..50 {
                let request = client.get(peer.url(&format!("/{index}")));
                tasks.push((
                    index,
                    runtime::spawn(async { request.send().await?.text().await }),
                ));
            }
            for (index, task) in tasks {
                assert_eq!(task.await??, format!("GET /{index} HTTP/1.1"));
            }
        }
        assert_eq!(
            peer.accepted(),
            50,
            "each round takes the connections of the last"
        );
        until("what is over the cap closes", || {
            client.stats().unwrap().pool.idle <= 32
        })
        .await;
        let mut body = Body::from("x");
        assert!(poll_fn(|cx| body.poll_chunk(cx)).await.is_some());
        Ok(())
    });
}

#[test]
fn trailers_of_requests() {
    let peer = Peer::answering(|seen| {
        let field = |name: &str| seen.fields.get(name).map_or("none", String::as_str);
        let body = String::from_utf8_lossy(&seen.body);
        let (coding, names) = (field("transfer-encoding"), field("trailer"));
        match seen.line.split(' ').nth(1) {
            Some(path @ ("/303" | "/307")) => format!(
                "HTTP/1.1 {} See\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
                &path[1..]
            )
            .into_bytes(),
            _ => ok(format!("{coding}, {names}, {body:?}, {:?}", seen.trailers)),
        }
    });
    run(async {
        let client = Client::new();
        let post = |path| client.post(peer.url(path)).trailer("X-Sum", "7");
        let text =
            async |request: roundtrip::client::RequestBuilder| request.send().await?.text().await;
        let sent = "chunked, X-Sum, \"text\", \"X-Sum: 7\"";
        assert_eq!(text(post("/").body("text")).await?, sent);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        let file = Body::file(Arc::new(file), 0..4);
        assert_eq!(text(post("/").body(file)).await?, sent);
        assert_eq!(text(post("/307").body("text")).await?, sent);
        let nothing = "none, none, \"\", \"\"";
        assert_eq!(text(post("/303").body("text")).await?, nothing);
        let empty = "chunked, X-Sum, \"\", \"X-Sum: 7\"";
        assert_eq!(text(post("/")).await?, empty);
        // Those that a body brings are known when it ends.
        let (mut sender, body) = Body::incoming(None);
        runtime::spawn(async move {
            sender.send("text".into()).await.unwrap();
            sender.finish(Some(Headers::from_pairs([("X-Own", "8")]).unwrap()));
        });
        let request = client.post(peer.url("/")).header("Trailer", "X-Own");
        let own = "chunked, X-Own, \"text\", \"X-Own: 8\"";
        assert_eq!(text(request.body(body)).await?, own);
        assert_eq!(text(client.get(peer.url("/"))).await?, nothing);
        let error = post("/").trailer("Host", "x").send().await.unwrap_err();
        assert!(error.text().contains("no trailer"), "{error}");
        Ok(())
    });
    assert_eq!(peer.accepted(), 1);
}
