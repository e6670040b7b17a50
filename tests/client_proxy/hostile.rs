//! Proxies that never come to an end, by the clock of the simulated kernel: every handshake ends in
//! a clear error within its time.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use roundtrip::Error;
use roundtrip::Result;
use roundtrip::client::Client;
use roundtrip::client::proxy::Proxy;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::limits::PROXY_TIMEOUT;
use roundtrip::net::TcpListener;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Simulation;

const PROXY: &str = "10.0.0.1";
const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A simulation in which these names have addresses; each turn takes no time.
fn simulation() -> Simulation {
    Simulation::new(1)
        .turn(Duration::ZERO, Duration::ZERO)
        .host("proxy.example", ip(PROXY))
        .host("two.example", ip("10.9.9.1"))
        .host("two.example", ip("10.9.9.2"))
}

async fn seconds_of<T>(future: impl Future<Output = T>) -> (T, u64) {
    let core = Core::current().unwrap();
    let began = core.now();
    let result = future.await;
    (result, (core.now() - began).as_secs())
}

async fn read(stream: &TcpStream) -> std::io::Result<Bytes> {
    let (read, buffer) = stream.read(BytesMut::with_capacity(4_096)).await;
    read?;
    Ok(buffer.freeze())
}

/// Serves each connection with `serve`.
fn listen<F>(serve: impl Fn(usize, TcpStream) -> F + 'static) -> Result<()>
where
    F: Future<Output = std::io::Result<()>> + 'static,
{
    let listener = TcpListener::bind(format!("{PROXY}:3128").parse().unwrap())?;
    drop(runtime::spawn(async move {
        let mut count = 0;
        while let Ok(stream) = listener.accept().await {
            drop(runtime::spawn(serve(count, stream)));
            count += 1;
        }
    }));
    Ok(())
}

/// The error of a request through such a proxy, and after how many seconds it came.
fn refused<F>(url: &'static str, serve: impl Fn(usize, TcpStream) -> F + 'static) -> (Error, u64)
where
    F: Future<Output = std::io::Result<()>> + 'static,
{
    let report = simulation().run(async {
        listen(serve)?;
        let client = Client::builder().proxy(Proxy::all(url)?.tunnel()).build();
        let sent = client.get("http://a.example/").send();
        let (outcome, seconds) = seconds_of(sent).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Proxy), "{error}");
        assert!(error.is_connect());
        Ok::<_, Error>((error, seconds))
    });
    report.unwrap().unwrap()
}

const HTTP: &str = "http://proxy.example:3128";
const SOCKS: &str = "socks5h://proxy.example:3128";

#[test]
fn silence_ends_with_the_time_out() {
    for url in [HTTP, SOCKS] {
        let (error, seconds) = refused(url, async |_, stream| {
            read(&stream).await?;
            runtime::sleep(1_000 * SECOND).await;
            Ok(())
        });
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(seconds, PROXY_TIMEOUT.as_secs());
        let text = format!("{error:#}");
        assert!(text.contains("within 60s (proxy_timeout)"), "{text}");
    }
}

#[test]
fn a_head_that_trickles_ends_with_the_time_out() {
    let (error, seconds) = refused(HTTP, async |_, stream| {
        stream.write_all("HTTP/1.1 200 OK\r\nX: ").await?;
        loop {
            runtime::sleep(SECOND).await;
            stream.write_all("a").await?;
        }
    });
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(seconds, PROXY_TIMEOUT.as_secs());
    // As does a flood of informational heads, if they come slowly enough.
    let (error, seconds) = refused(HTTP, async |_, stream| {
        loop {
            stream.write_all("HTTP/1.1 100 Continue\r\n\r\n").await?;
            runtime::sleep(5 * SECOND).await;
        }
    });
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(seconds, PROXY_TIMEOUT.as_secs());
}

#[test]
fn floods_end_with_their_limit() {
    let (error, seconds) = refused(HTTP, async |_, stream| {
        stream.write_all("HTTP/1.1 200 OK\r\n").await?;
        loop {
            stream
                .write_all("X-Pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
                .await?;
        }
    });
    assert_eq!((error.kind(), seconds), (ErrorKind::Connect, 0));
    assert!(format!("{error:#}").contains("too large"), "{error}");
    let (error, seconds) = refused(HTTP, async |_, stream| {
        loop {
            stream.write_all("HTTP/1.1 102 Processing\r\n\r\n").await?;
        }
    });
    assert_eq!((error.kind(), seconds), (ErrorKind::Connect, 0));
    assert!(format!("{error:#}").contains("informational"), "{error}");
    let (error, seconds) = refused(SOCKS, async |_, stream| {
        loop {
            stream.write_all(vec![5; 4_096]).await?;
        }
    });
    assert_eq!((error.kind(), seconds), (ErrorKind::Connect, 0));
    assert!(format!("{error:#}").contains("not offered"), "{error}");
}

#[test]
fn who_stops_waiting_does_not_end_the_tunnel() {
    let report = simulation().run(async {
        listen(async |_, stream: TcpStream| {
            read(&stream).await?;
            runtime::sleep(5 * SECOND).await;
            stream.write_all("HTTP/1.1 200 OK\r\n\r\n").await?;
            while !read(&stream).await?.is_empty() {
                stream.write_all("HTTP/1.1 204 No Content\r\n\r\n").await?;
            }
            Ok(())
        })?;
        let client = Client::builder().proxy(Proxy::all(HTTP)?.tunnel()).build();
        let request = client.get("http://a.example/").timeout(2 * SECOND);
        let (outcome, seconds) = seconds_of(request.send()).await;
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), seconds), (ErrorKind::Timeout, 2));
        // The dial goes on, and its connection serves who comes next.
        runtime::sleep(5 * SECOND).await;
        let stats = client.stats().unwrap().pool;
        assert_eq!((stats.idle, stats.dialing), (1, 0));
        let (outcome, seconds) = seconds_of(client.get("http://a.example/").send()).await;
        assert_eq!(outcome?.status_code(), 204);
        assert_eq!(seconds, 0);
        assert_eq!(client.stats().unwrap().pool.connected_total, 1);
        Ok::<_, Error>(())
    });
    report.unwrap().unwrap();
}

#[test]
fn a_core_may_end_within_a_handshake() {
    for url in [HTTP, SOCKS] {
        // What is left behind, a descriptor or an operation, fails the run.
        let report = simulation().run(async {
            listen(async |_, stream| {
                read(&stream).await?;
                runtime::sleep(1_000 * SECOND).await;
                Ok(())
            })?;
            let client = Client::builder().proxy(Proxy::all(url)?.tunnel()).build();
            let request = client.get("http://a.example/").timeout(SECOND);
            assert!(request.send().await.unwrap_err().is_timeout());
            Ok::<_, Error>(())
        });
        report.unwrap().unwrap();
    }
}

/// Answers both handshakes, each in pieces, and then what is asked through the tunnel.
async fn working(stream: TcpStream) -> std::io::Result<()> {
    let mut asked = Vec::new();
    let mut said = 0;
    loop {
        let bytes = read(&stream).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        asked.extend_from_slice(&bytes);
        // Each message of a client, and what comes next.
        let messages: [(&[u8], &[u8]); 4] = [
            (b"\x05\x01\0", b"\x05\0"),
            (
                b"\x05\x01\0\x03\x09a.example\0\x50",
                b"\x05\0\0\x03\x01x\0\0",
            ),
            (
                b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
                b"HTTP/1.1 200 OK\r\n\r\n",
            ),
            (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ];
        let is_whole = |message: &[u8]| match message {
            b"" => said > 0 && asked.starts_with(b"GET / ") && asked.ends_with(b"\r\n\r\n"),
            message => asked == message,
        };
        if let Some((_, answer)) = messages.into_iter().find(|(message, _)| is_whole(message)) {
            said += 1;
            asked.clear();
            let (first, second) = answer.split_at(answer.len() / 2);
            stream.write_all(first).await?;
            stream.write_all(second).await?;
        }
    }
}

#[test]
fn under_faults_an_answer_is_right_or_an_error() {
    let mut right_count = 0;
    for seed in 0..100 {
        for url in [HTTP, SOCKS] {
            let simulation = Simulation::new(seed).faults(Faults::all());
            let report = simulation.host("proxy.example", ip(PROXY)).run(async {
                listen(async |_, stream| working(stream).await)?;
                let client = Client::builder().proxy(Proxy::all(url)?.tunnel()).build();
                let mut right_count = 0;
                for _ in 0..5 {
                    let sent = client.get("http://a.example/").send().await;
                    if let Ok(response) = sent
                        && let Ok(text) = response.text().await
                    {
                        assert_eq!(text, "hello");
                        right_count += 1;
                    }
                }
                Ok::<_, Error>(right_count)
            });
            // A listener may fail to begin.
            right_count += report.unwrap().unwrap_or(0);
        }
    }
    assert!(right_count > 500, "{right_count} of 1,000");
}

/// Says no for all but the last address of `two.example`.
async fn picky(stream: TcpStream, refusal: u8) -> std::io::Result<()> {
    read(&stream).await?;
    stream.write_all(&b"\x05\0"[..]).await?;
    let asked = read(&stream).await?;
    if asked[4..8] != [10, 9, 9, 2] {
        runtime::sleep(20 * SECOND).await;
        return stream.write_all(vec![5, refusal, 0, 1]).await;
    }
    stream.write_all(&b"\x05\0\0\x01\0\0\0\0\0\0"[..]).await?;
    while !read(&stream).await?.is_empty() {
        stream.write_all("HTTP/1.1 204 No Content\r\n\r\n").await?;
    }
    Ok(())
}

fn by_picky(refusal: u8, timeout: Duration) -> (Result<u16>, u64) {
    let report = simulation().run(async move {
        listen(move |_, stream| picky(stream, refusal))?;
        let client = Client::builder()
            .proxy(Proxy::all("socks5://proxy.example:3128")?)
            .proxy_timeout(timeout)
            .build();
        let sent = client.get("http://two.example/").send();
        let (outcome, seconds) = seconds_of(sent).await;
        Ok::<_, Error>((
            outcome.map(|response| response.status_code().as_u16()),
            seconds,
        ))
    });
    report.unwrap().unwrap()
}

#[test]
fn a_name_has_several_addresses() {
    let (outcome, seconds) = by_picky(4, PROXY_TIMEOUT);
    assert_eq!((outcome.unwrap(), seconds), (204, 20));
    // What is not the address's fault is final.
    let (outcome, seconds) = by_picky(2, PROXY_TIMEOUT);
    let error = outcome.unwrap_err();
    assert!(format!("{error:#}").contains("rules"), "{error}");
    assert_eq!(seconds, 20);
    // All of them share the time.
    let (outcome, seconds) = by_picky(4, 15 * SECOND);
    assert_eq!(
        (outcome.unwrap_err().kind(), seconds),
        (ErrorKind::Timeout, 15)
    );
}

#[test]
fn a_proxy_without_an_address_or_without_a_way_is_named() {
    let report = simulation().run(async {
        for (url, kind) in [
            ("http://nobody.example:1", ErrorKind::Resolve),
            ("socks5://proxy.example:1", ErrorKind::Connect),
        ] {
            let client = Client::builder().proxy(Proxy::all(url)?).build();
            let error = client.get("http://10.3.3.3/").send().await.unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.phase(), Some(Phase::Proxy));
            let text = format!("{error:#}");
            assert!(
                text.contains(&format!("cannot reach the proxy {url}")),
                "{text}"
            );
        }
        Ok::<_, Error>(())
    });
    report.unwrap().unwrap();
}
