//! What goes wrong, in which phase, and how the error says so.

use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::Result;
use roundtrip::client::Client;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::http::body::Body;
use roundtrip::http::response::Response;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::read_request;
use crate::peer::reset;
use crate::peer::run;

/// The error of a request that must fail.
async fn failed(sent: impl Future<Output = Result<Response>>) -> Error {
    match sent.await {
        Ok(response) => panic!("expected an error, got {response:?}"),
        Err(error) => error,
    }
}

#[track_caller]
fn check(error: &Error, kind: ErrorKind, phase: Phase, words: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.phase(), Some(phase), "{error:?}");
    assert!(format!("{error:#}").contains(words), "{error}");
    assert!(error.url().is_some(), "{error:?}");
    assert!(!format!("{error:#}").contains('\n'));
}

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn nobody_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    run(async {
        let url = format!("http://me:secret@{address}/x");
        let error = failed(Client::new().get(&url).send()).await;
        check(
            &error,
            ErrorKind::Connect,
            Phase::Connect,
            &address.to_string(),
        );
        assert!(error.is_connect());
        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("refused"), "{text}");
        Ok(())
    });
}

#[test]
fn a_name_without_address() {
    run(async {
        // A proxy of the environment would look it up.
        let client = Client::builder().no_proxy().build();
        let error = failed(client.get("http://nobody.invalid/").send()).await;
        check(&error, ErrorKind::Resolve, Phase::Resolve, "nobody.invalid");
        assert!(error.is_connect());
        Ok(())
    });
}

#[test]
fn a_peer_that_does_not_accept() {
    // A listen queue that is full: further connections are not answered.
    use nix::sys::socket::AddressFamily;
    use nix::sys::socket::Backlog;
    use nix::sys::socket::SockFlag;
    use nix::sys::socket::SockType;
    use nix::sys::socket::SockaddrIn;
    use std::os::fd::AsRawFd;
    let listener = nix::sys::socket::socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::empty(),
        None,
    )
    .unwrap();
    let any = SockaddrIn::new(127, 0, 0, 1, 0);
    nix::sys::socket::bind(listener.as_raw_fd(), &any).unwrap();
    nix::sys::socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let bound: SockaddrIn = nix::sys::socket::getsockname(listener.as_raw_fd()).unwrap();
    let address = std::net::SocketAddr::from((bound.ip(), bound.port()));
    let waiting: Vec<_> = (0..4)
        .map(|_| std::net::TcpStream::connect_timeout(&address, SHORT))
        .collect();
    run(async {
        let client = Client::builder().connect_timeout(SHORT).build();
        let error = failed(client.get(format!("http://{address}/")).send()).await;
        check(
            &error,
            ErrorKind::Timeout,
            Phase::Connect,
            "connect_timeout",
        );
        let client = Client::new();
        let request = client.get(format!("http://{address}/")).timeout(SHORT);
        let error = failed(request.send()).await;
        check(
            &error,
            ErrorKind::Timeout,
            Phase::Connect,
            "while connecting",
        );
        Ok(())
    });
    drop(waiting);
}

/// Takes a request, writes `bytes`, and then waits for the client to close.
fn saying(bytes: &'static [u8]) -> Peer {
    Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0);
        socket.write_all(bytes).unwrap();
        let _ = reader.read(&mut [0; 16]);
    })
}

#[test]
fn a_head_that_does_not_come() {
    let peer = saying(b"HTTP/1.1 200 OK\r\nContent-");
    run(async {
        let client = Client::builder().response_head_timeout(SHORT).build();
        let error = failed(client.get(peer.url("/")).send()).await;
        check(
            &error,
            ErrorKind::Timeout,
            Phase::ResponseHead,
            "response_head_timeout",
        );
        let client = Client::builder().timeout(SHORT).build();
        let error = failed(client.get(peer.url("/")).send()).await;
        check(
            &error,
            ErrorKind::Timeout,
            Phase::ResponseHead,
            "response head",
        );
        assert_eq!(client.stats().unwrap().pool.idle, 0);
        Ok(())
    });
}

#[test]
fn a_place_that_does_not_become_free() {
    let peer = saying(b"");
    run(async {
        let client = Client::builder().per_host_max(1).build();
        let first = client.get(peer.url("/"));
        let first = roundtrip::runtime::spawn(async { first.send().await });
        roundtrip::runtime::sleep(SHORT).await;
        let second = client.get(peer.url("/")).timeout(SHORT);
        let error = failed(second.send()).await;
        check(
            &error,
            ErrorKind::Timeout,
            Phase::Pool,
            "waiting for a connection",
        );
        first.abort();
        Ok(())
    });
}

#[test]
fn a_body_that_does_not_come() {
    let peer = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel");
    run(async {
        let client = Client::builder().body_timeout(SHORT).build();
        let response = client.get(peer.url("/")).send().await?;
        let error = response.text().await.unwrap_err();
        check(
            &error,
            ErrorKind::Timeout,
            Phase::ResponseBody,
            "body_timeout",
        );
        let request = Client::new().get(peer.url("/")).timeout(2 * SHORT);
        let error = request.send().await?.text().await.unwrap_err();
        check(
            &error,
            ErrorKind::Timeout,
            Phase::ResponseBody,
            "response body",
        );
        Ok(())
    });
}

#[test]
fn a_peer_that_does_not_read() {
    let peer = Peer::start(|_, mut socket| {
        let mut some = [0; 16];
        socket.read_exact(&mut some).unwrap();
        std::thread::sleep(Duration::from_secs(3));
    });
    run(async {
        let client = Client::builder().write_timeout(SHORT).build();
        let body = vec![0; 64 * 1024 * 1024];
        let error = failed(client.post(peer.url("/")).body(body).send()).await;
        check(&error, ErrorKind::Timeout, Phase::Send, "write_timeout");
        Ok(())
    });
}

#[test]
fn a_reset_within_the_body() {
    let peer = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel")
            .unwrap();
        std::thread::sleep(SHORT);
        drop(reader);
        reset(socket);
    });
    run(async {
        let mut response = Client::new().get(peer.url("/")).send().await?;
        assert_eq!(response.body_mut().chunk().await.unwrap()?, "hel");
        let error = response.body_mut().chunk().await.unwrap().unwrap_err();
        check(&error, ErrorKind::Closed, Phase::ResponseBody, "reset");
        Ok(())
    });
}

#[test]
fn a_reset_before_the_answer() {
    let peer = Peer::start(|_, socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0);
        drop(reader);
        reset(socket);
    });
    run(async {
        let error = failed(Client::new().get(peer.url("/")).send()).await;
        check(&error, ErrorKind::Closed, Phase::ResponseHead, "reset");
        Ok(())
    });
}

#[test]
fn responses_that_are_none() {
    let cases: [(&'static [u8], ErrorKind, &str); 5] = [
        (
            b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
            ErrorKind::Protocol,
            "malformed",
        ),
        (
            b"HTTP/1.1 200 OK\nA: b\n\n",
            ErrorKind::Protocol,
            "malformed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            ErrorKind::Protocol,
            "Content-Length",
        ),
        (
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            ErrorKind::Protocol,
            "malformed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            ErrorKind::Protocol,
            "Transfer-Encoding",
        ),
    ];
    run(async {
        for (bytes, kind, words) in cases {
            let peer = saying(bytes);
            let error = failed(Client::new().get(peer.url("/")).send()).await;
            check(&error, kind, Phase::ResponseHead, words);
        }
        Ok(())
    });
}

#[test]
fn a_head_without_end() {
    let peer = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n");
        while socket.write_all(b"X-More: and more and more\r\n").is_ok() {}
    });
    run(async {
        let error = failed(Client::new().get(peer.url("/")).send()).await;
        assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
        Ok(())
    });
}

#[test]
fn bodies_that_end_too_early() {
    let cut = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0);
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel";
        socket.write_all(response).unwrap();
    });
    let cut_chunks = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0);
        let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n";
        socket.write_all(response).unwrap();
    });
    let wrong_chunks =
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhelp\r\n0\r\n\r\n");
    run(async {
        let client = Client::new();
        let error = client.get(cut.url("/")).send().await?.text().await;
        check(
            &error.unwrap_err(),
            ErrorKind::Closed,
            Phase::ResponseBody,
            "7 bytes",
        );
        let error = client.get(cut_chunks.url("/")).send().await?.text().await;
        check(
            &error.unwrap_err(),
            ErrorKind::Closed,
            Phase::ResponseBody,
            "within",
        );
        let error = client.get(wrong_chunks.url("/")).send().await?.text().await;
        check(
            &error.unwrap_err(),
            ErrorKind::Protocol,
            Phase::ResponseBody,
            "malformed",
        );
        assert_eq!(client.stats().unwrap().pool.connections, 0);
        Ok(())
    });
}

#[test]
fn requests_that_cannot_be_sent() {
    let peer = Peer::answering(|_| ok(""));
    run(async {
        let client = Client::new();
        let cases = [
            (client.get("not a URL"), "http://host/path"),
            (client.get("https://h.example/"), "no TLS"),
            (client.get("ftp://h.example/"), "only http"),
            (client.get(peer.url("/")).header("a b", "c"), "header"),
            (client.get(peer.url("/")).header("a", "b\r\nc: d"), "header"),
        ];
        for (request, words) in cases {
            let error = failed(request.send()).await;
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
            assert!(format!("{error:#}").contains(words), "{error}");
        }
        Ok(())
    });
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn a_request_body_that_fails() {
    let peer = saying(b"");
    run(async {
        let (mut sender, body) = Body::incoming(None);
        sender.push("some".into());
        sender.fail(Error::new(ErrorKind::Io, "the disk is gone"));
        let error = failed(Client::new().post(peer.url("/")).body(body).send()).await;
        check(
            &error,
            ErrorKind::Io,
            Phase::RequestBody,
            "the disk is gone",
        );

        let (mut sender, body) = Body::incoming(Some(10));
        roundtrip::runtime::spawn(async {
            roundtrip::runtime::sleep(SHORT).await;
            sender.push("short".into());
            sender.finish(None);
        });
        let error = failed(Client::new().post(peer.url("/")).body(body).send()).await;
        check(&error, ErrorKind::Invalid, Phase::Send, "bytes before");
        Ok(())
    });
}

#[test]
fn a_thread_without_a_core() {
    let client = Client::new();
    let mut sent = std::pin::pin!(client.get("http://127.0.0.1:1/").send());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match sent.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Err(error)) => {
            assert_eq!(error.kind(), ErrorKind::Shutdown);
            assert!(error.to_string().contains("blocking"), "{error}");
        }
        other => panic!("expected an error, got {other:?}"),
    }
}

/// How a response is read.
#[cfg(all(feature = "json", feature = "gzip"))]
#[derive(Clone, Copy, Debug)]
enum Reads {
    Chunks,
    Copy,
    Bytes(usize),
    Text,
    Json,
    Duplex,
    Status,
    /// Reads the body without its response.
    Body,
}

/// Each error of a response says of which URL, whoever reads it how.
#[cfg(all(feature = "json", feature = "gzip"))]
#[test]
fn errors_of_responses_name_their_url() {
    const HTML: &str =
        "502 Bad Gateway\r\nContent-Type: text/html; a=b\r\nContent-Length: 4\r\n\r\n<br>";
    const PLAIN: &str = "200 OK\r\nContent-Length: 4\r\n\r\n\u{e4}\u{f6}";
    const GZIP: &str = "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope";
    for (answer, reads, words) in [
        (GZIP, Reads::Chunks, "gzip body is corrupt"),
        (GZIP, Reads::Copy, "gzip body is corrupt"),
        (GZIP, Reads::Text, "gzip body is corrupt"),
        (GZIP, Reads::Json, "gzip body is corrupt"),
        (GZIP, Reads::Body, "gzip body is corrupt"),
        (
            HTML,
            Reads::Json,
            "not JSON: line 1, column 1; the answer is 502 Bad Gateway, text/html",
        ),
        (PLAIN, Reads::Json, "the answer is 200 OK, no type"),
        (
            "200 OK\r\nContent-Type: \u{e4}/b\r\nContent-Length: 1\r\n\r\n[",
            Reads::Json,
            "no type",
        ),
        (PLAIN, Reads::Bytes(3), "bytes_within"),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmuch\r\n0\r\n\r\n",
            Reads::Bytes(3),
            "bytes_within",
        ),
        (
            "200 OK\r\nContent-Length: 9\r\n\r\nbut",
            Reads::Chunks,
            "6 bytes before the end",
        ),
        (
            "200 OK\r\nContent-Length: 9\r\n\r\nbut",
            Reads::Body,
            "6 bytes before the end",
        ),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
            Reads::Text,
            "malformed",
        ),
        (
            "302 Found\r\nLocation: ftp://a.example/\r\nContent-Length: 0\r\n\r\n",
            Reads::Text,
            "neither http nor https",
        ),
        (
            "302 Found\r\nLocation: http://[/\r\nContent-Length: 0\r\n\r\n",
            Reads::Text,
            "not a URL",
        ),
        (
            "302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            Reads::Text,
            "redirects_max",
        ),
        (PLAIN, Reads::Copy, "cannot be written"),
        (PLAIN, Reads::Duplex, "did not switch"),
        (HTML, Reads::Status, "502"),
    ] {
        let peer = Peer::start(move |_, mut socket| {
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            while read_request(&mut reader, 0, 0).is_some() {
                socket
                    .write_all(format!("HTTP/1.1 {answer}").as_bytes())
                    .unwrap();
                if answer.contains("but") {
                    return;
                }
            }
        });
        let url = format!("http://me:secret@{}/x", peer.address());
        let errors = [
            read_by_core(&url, reads),
            read_by_thread(&url, reads),
            read_by_spawned(&url, reads),
        ];
        for error in errors.into_iter().flatten() {
            let shown = error.url().unwrap_or_else(|| panic!("{reads:?} {error:?}"));
            assert_eq!(shown, url.replace("secret", "***"), "{reads:?} {error:?}");
            assert!(error.to_string().contains(words), "{reads:?} {error:?}");
        }
    }
}

#[cfg(all(feature = "json", feature = "gzip"))]
fn error_of<T: std::fmt::Debug>(read: Result<T>) -> Option<Error> {
    Some(read.expect_err("it must not look whole"))
}

#[cfg(all(feature = "json", feature = "gzip"))]
fn read_by_core(url: &str, reads: Reads) -> Option<Error> {
    run(async {
        let client = Client::builder().timeout(crate::peer::LONG).build();
        let mut response = match client.get(url).send().await {
            Err(error) => return Ok(Some(error)),
            Ok(response) => response,
        };
        Ok(match reads {
            Reads::Chunks => loop {
                match response.chunk().await {
                    Ok(chunk) => assert!(chunk.is_some()),
                    Err(error) => break Some(error),
                }
            },
            Reads::Copy => error_of(response.copy_to(&mut &mut [][..]).await),
            Reads::Bytes(limit) => error_of(response.bytes_within(limit).await),
            Reads::Text => error_of(response.text().await),
            Reads::Json => error_of(response.json::<u8>().await),
            Reads::Duplex => response.into_duplex().err(),
            Reads::Status => error_of(response.error_for_status()),
            Reads::Body => error_of(response.into_body().bytes().await),
        })
    })
}

#[cfg(all(feature = "json", feature = "gzip"))]
fn read_by_thread(url: &str, reads: Reads) -> Option<Error> {
    let client = roundtrip::blocking::Client::builder()
        .timeout(crate::peer::LONG)
        .build();
    let mut response = match client.get(url).send() {
        Err(error) => return Some(error),
        Ok(response) => response,
    };
    match reads {
        Reads::Chunks => loop {
            match response.chunk() {
                Ok(chunk) => assert!(chunk.is_some()),
                Err(error) => break Some(error),
            }
        },
        Reads::Copy => error_of(response.copy_to(&mut &mut [][..])),
        Reads::Bytes(limit) => error_of(response.bytes_within(limit)),
        Reads::Text => error_of(response.text()),
        Reads::Json => error_of(response.json::<u8>()),
        Reads::Status => error_of(response.error_for_status()),
        Reads::Body => {
            let error = std::io::copy(&mut response, &mut Vec::new()).unwrap_err();
            Some(*error.into_inner().unwrap().downcast().unwrap())
        }
        Reads::Duplex => None,
    }
}

#[cfg(all(feature = "json", feature = "gzip"))]
fn read_by_spawned(url: &str, reads: Reads) -> Option<Error> {
    let client = Client::builder()
        .timeout(crate::peer::LONG)
        .spawned()
        .unwrap();
    let read = roundtrip::client::spawned::wait(async {
        let mut response = match client.get(url).send().await {
            Err(error) => return Ok(Some(error)),
            Ok(response) => response,
        };
        Ok(match reads {
            Reads::Chunks => loop {
                match response.chunk().await {
                    Ok(chunk) => assert!(chunk.is_some()),
                    Err(error) => break Some(error),
                }
            },
            Reads::Bytes(limit) => error_of(response.bytes_within(limit).await),
            Reads::Text => error_of(response.text().await),
            Reads::Json => error_of(response.json::<u8>().await),
            Reads::Status => error_of(response.error_for_status()),
            Reads::Body => error_of(response.into_body().bytes().await),
            Reads::Copy | Reads::Duplex => None,
        })
    });
    read.unwrap()
}
