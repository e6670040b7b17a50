//! Tunnels by CONNECT, for http URLs on request: what goes through, what is refused, and why.

use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::time::Duration;

use bytes::BytesMut;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::client::Client;
use roundtrip::client::proxy::Proxy;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::server::upgrade::Duplex;

use crate::forward::origin;
use crate::little::Little;
use crate::peer::Peer;
use crate::peer::read_request;
use crate::peer::reset;
use crate::peer::run;
use crate::server_support::Serving;

fn client_of(proxy: &str) -> Result<Client> {
    let proxy = Proxy::all(proxy)?.tunnel();
    Ok(Client::builder().proxy(proxy).build())
}

#[test]
fn requests_go_through_as_to_the_origin() {
    let origin = origin();
    let proxy = Little::before(origin.address);
    run(async {
        let url = format!("http://me:hush@{}", proxy.authority());
        let tunnel = Proxy::all(url)?.tunnel().connect_header("X-Extra", "1")?;
        let client = Client::builder().proxy(tunnel).build();
        for path in ["a", "b"] {
            let request = client.get(format!("http://a.example/{path}"));
            let text = request.send().await?.text().await?;
            assert_eq!(text, format!("GET /{path}\nhost: a.example\n"));
        }
        let request = client.post("http://[::5]:81/c").body("hello");
        let text = request.send().await?.text().await?;
        assert_eq!(text, "POST /c\nhost: [::5]:81\nhello");
        Ok(())
    });
    let asked = proxy.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    assert_eq!(
        lines,
        ["CONNECT a.example:80 HTTP/1.1", "CONNECT [::5]:81 HTTP/1.1"]
    );
    assert_eq!(
        [&*asked[0].host, &*asked[1].host],
        ["a.example:80", "[::5]:81"]
    );
    for asked in asked {
        assert_eq!(asked.credentials.as_deref(), Some("Basic bWU6aHVzaA=="));
        assert_eq!(asked.extra.as_deref(), Some("1"));
    }
}

/// A proxy made of our own server.
fn our_proxy() -> Serving {
    Serving::start(Router::new().connect(async |request: Request| {
        let is_known = request
            .header("proxy-authorization")
            .is_some_and(|value| value == "Bearer token");
        if !is_known {
            let refused =
                Response::new().status(roundtrip::StatusCode::PROXY_AUTHENTICATION_REQUIRED);
            return Ok::<_, Error>(refused.header("Proxy-Authenticate", "Bearer"));
        }
        let (host, port) = request.host().unwrap().rsplit_once(':').unwrap();
        let server = TcpStream::connect(host, port.parse().unwrap()).await?;
        Ok(Response::tunnel(async move |client| {
            copy(client, server).await
        }))
    }))
}

async fn copy(client: Duplex, server: TcpStream) -> Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let to_server = server.clone();
    let up = runtime::spawn(async move {
        while let Some(bytes) = from_client.read().await? {
            to_server.write_all(bytes).await?;
        }
        to_server.shutdown_write();
        Ok::<_, Error>(())
    });
    loop {
        let (read, buffer) = server.read(BytesMut::with_capacity(16 * 1024)).await;
        if read? == 0 {
            break;
        }
        to_client.write(buffer.freeze()).await?;
    }
    to_client.shutdown();
    up.await?
}

#[test]
fn through_our_own_server_to_our_own_server() {
    let origin = origin();
    let proxy = our_proxy();
    run(async {
        let url = format!("http://{}", proxy.address);
        let tunnel = Proxy::http(&url)?.tunnel();
        let known = tunnel
            .clone()
            .connect_header("Proxy-Authorization", "Bearer token")?;
        let client = Client::builder().proxy(known).build();
        let body = "long ".repeat(100_000);
        for _ in 0..3 {
            let request = client.post(format!("http://{}/x", origin.address));
            let text = request.body(body.clone()).send().await?.text().await?;
            let head = format!("POST /x\nhost: {}\n", origin.address);
            assert!(text == head + &body);
        }
        assert_eq!(client.stats().unwrap().pool.connected_total, 1);
        // Without the field it is another way, and refused.
        let request = client.get(format!("http://{}/x", origin.address));
        let error = request.proxy(tunnel).send().await.unwrap_err();
        assert!(format!("{error:#}").contains("407"), "{error}");
        assert!(format!("{error:#}").contains("has none"), "{error}");
        Ok(())
    });
}

/// A proxy that answers each CONNECT with these bytes, in pieces of this size, and then waits for
/// the client, or closes.
fn answering(answer: &'static [u8], piece: usize, closes: bool) -> Peer {
    Peer::start(move |_, socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let Some(seen) = read_request(&mut reader, 0, 0) else {
            return;
        };
        assert!(seen.line.starts_with("CONNECT a.example:80 "));
        for piece in answer.chunks(piece) {
            if (&socket).write_all(piece).is_err() {
                return;
            }
            if piece.len() < answer.len() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        if !closes {
            let _ = reader.read(&mut [0]);
        }
    })
}

/// The error of a request through such a proxy.
#[track_caller]
fn refused(answer: &'static [u8], piece: usize, closes: bool) -> Error {
    let proxy = answering(answer, piece, closes);
    let error = run(async {
        let client = client_of(&proxy.url("").replace("//", "//me:hush@"))?;
        Ok(client.get("http://a.example/").send().await.unwrap_err())
    });
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.phase(), Some(Phase::Proxy));
    let text = format!("{error} {error:?}");
    let says = format!("the proxy {} made no tunnel to a.example:80", proxy.url(""));
    assert!(text.contains(&says), "{text}");
    assert!(!text.contains("hush"), "{text}");
    error
}

#[test]
fn refusals_name_proxy_and_status() {
    let cases: [(&[u8], &str); 4] = [
        (
            b"HTTP/1.1 403 x\r\nContent-Length: 3\r\n\r\nbad",
            "403 Forbidden",
        ),
        (b"HTTP/1.1 502 x\r\n\r\n", "502 Bad Gateway"),
        (
            b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\n\r\n",
            "407 Proxy Authentication Required: it refused the credentials",
        ),
        (b"\x15\x03\x01\0\x02\x02", "malformed"),
    ];
    for (answer, text) in cases {
        for piece in [1, answer.len()] {
            let error = refused(answer, piece, false);
            assert!(format!("{error:#}").contains(text), "{error}");
        }
    }
    // Of an origin that nobody has spoken to yet.
    let error = refused(
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        usize::MAX,
        false,
    );
    assert!(
        format!("{error:#}").contains("before anything was sent"),
        "{error}"
    );
}

#[test]
fn an_early_end_at_every_byte() {
    const ANSWER: &[u8] = b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for len in 0..ANSWER.len() {
        let error = refused(&ANSWER[..len], usize::MAX, true);
        let text = format!("{error:#}");
        let expected = if len == 0 {
            "without an answer"
        } else {
            "within its answer"
        };
        assert!(text.contains(expected), "{len}: {text}");
    }
    let proxy = Peer::start(|_, socket| reset(socket));
    run(async {
        let client = client_of(&proxy.url(""))?;
        let error = client.get("http://a.example/").send().await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Proxy));
        assert!(error.is_connect());
        Ok(())
    });
}

#[test]
fn an_answer_in_single_bytes() {
    let origin = origin();
    let address = origin.address;
    let proxy = Peer::start(move |_, socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0).unwrap();
        for byte in b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n" {
            (&socket).write_all(&[*byte]).unwrap();
        }
        let request = read_request(&mut reader, 0, 1).unwrap();
        let mut server = std::net::TcpStream::connect(address).unwrap();
        let head = format!("{}\r\nHost: x\r\nConnection: close\r\n\r\n", request.line);
        server.write_all(head.as_bytes()).unwrap();
        let _ = std::io::copy(&mut server, &mut (&socket));
    });
    run(async {
        let client = client_of(&proxy.url(""))?;
        let response = client.get("http://a.example/y").send().await?;
        assert_eq!(response.text().await?, "GET /y\nhost: x\n");
        Ok(())
    });
}

#[test]
fn https_is_refused_before_anything_is_dialled() {
    let proxy = answering(b"", 1, true);
    run(async {
        let client = client_of(&proxy.url(""))?;
        let error = client.get("https://a.example/").send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("no TLS"), "{error}");
        Ok(())
    });
    assert_eq!(proxy.accepted(), 0);
}

#[test]
fn fields_of_a_connect_are_checked() {
    let proxy = || Proxy::http("http://127.0.0.1:1").unwrap();
    for (name, value) in [
        ("X\r\nY", "z"),
        ("X", "a\r\nHost: b"),
        ("Host", "b"),
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
    ] {
        let error = proxy().connect_header(name, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
    }
    assert!(proxy().connect_header("User-Agent", "x").is_ok());
}
