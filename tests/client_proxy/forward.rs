//! HTTP proxies that forward: whole URLs, one pool per proxy, credentials for nobody else.

use std::io::BufReader;
use std::io::Write;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use futures_core::Stream;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::client::Client;
use roundtrip::client::proxy::Proxy;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::http::body::Body;

use crate::little::Asked;
use crate::little::Little;
use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::read_request;
use crate::peer::run;
use crate::server_support::Serving;

/// Tells what it was sent.
pub fn origin() -> Serving {
    let shown = async |request: Request| {
        let mut text = format!("{} {}\n", request.method(), request.target());
        for name in ["host", "authorization", "proxy-authorization", "x-mine"] {
            if let Some(value) = request.header(name) {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
        let body = request.into_body().text().await.unwrap();
        text + &body
    };
    Serving::start(
        Router::new()
            .get("/{path...}", shown)
            .post("/{path...}", shown),
    )
}

#[test]
fn a_whole_url_goes_to_the_proxy() {
    let origin = origin();
    let proxy = Little::before(origin.address);
    run(async {
        let url = format!("http://me:hush@{}", proxy.authority());
        let client = Client::builder().proxy(Proxy::http(url)?).build();
        let request = client.get("http://you:too@a.example:81/b?c=d#e");
        let text = request.header("X-Mine", "1").send().await?.text().await?;
        assert_eq!(
            text,
            "GET /b?c=d\nhost: a.example:81\nauthorization: Basic eW91OnRvbw==\nx-mine: 1\n"
        );
        let bodies = [Body::from("hello"), Body::stream(Letters(3))];
        for (body, expected) in bodies.into_iter().zip(["hello", "aaa"]) {
            let request = client.post("http://[2001:db8::1]/").body(body);
            let text = request.send().await?.text().await?;
            assert_eq!(text, format!("POST /\nhost: [2001:db8::1]\n{expected}"));
        }
        Ok(())
    });
    let credentials = Some("Basic bWU6aHVzaA==".to_owned());
    let asked = |line: &str, host: &str| Asked {
        line: line.into(),
        host: host.into(),
        credentials: credentials.clone(),
        extra: None,
        connection: 0,
    };
    let post = asked("POST http://[2001:db8::1]/ HTTP/1.1", "[2001:db8::1]");
    assert_eq!(
        proxy.asked(),
        [
            asked("GET http://a.example:81/b?c=d HTTP/1.1", "a.example:81"),
            post.clone(),
            post,
        ]
    );
}

/// A stream of so many letters.
struct Letters(usize);

impl Stream for Letters {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        Poll::Ready(left.map(|_| Ok("a".into())))
    }
}

#[test]
fn all_origins_share_the_connections_of_a_proxy() {
    let origin = origin();
    let proxy = Little::before(origin.address);
    let authority = proxy.authority();
    run(async {
        let client = Client::builder()
            .proxy(Proxy::http(format!("http://{authority}"))?)
            .build();
        for host in ["a.example", "b.example", "c.example:8080", "10.1.2.3"] {
            client
                .get(format!("http://{host}/"))
                .send()
                .await?
                .text()
                .await?;
        }
        assert_eq!(proxy.peer.accepted(), 1);
        // Other credentials are another connection, and so is none.
        for user in ["me", "you", "me"] {
            let other = Proxy::http(format!("http://{user}:hush@{authority}"))?;
            let request = client.get("http://a.example/").proxy(other);
            request.send().await?.text().await?;
        }
        assert_eq!(proxy.peer.accepted(), 3);
        client.get("http://a.example/").send().await?.text().await?;
        assert_eq!(proxy.peer.accepted(), 3);
        let stats = client.stats().unwrap();
        assert_eq!(stats.pool.idle, 3);
        Ok(())
    });
    let used: Vec<usize> = proxy.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(used, [0, 0, 0, 0, 1, 2, 1, 0]);
}

#[test]
fn credentials_stay_with_their_proxy_over_redirects() {
    // Reached without a proxy, and redirected to.
    let direct = Peer::answering(|seen| {
        assert!(!seen.fields.contains_key("proxy-authorization"));
        ok(&seen.line)
    });
    let direct_url = direct.url("/end");
    // Closes behind each answer.
    let first_origin = Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let seen = read_request(&mut reader, 0, 0).unwrap();
        assert!(!seen.fields.contains_key("proxy-authorization"));
        let to = if seen.line.contains("/first") {
            "http://second.example/"
        } else {
            &direct_url
        };
        let answer = format!("HTTP/1.1 302 x\r\nLocation: {to}\r\nConnection: close\r\n\r\n");
        socket.write_all(answer.as_bytes()).unwrap();
    });
    let origin_address = first_origin.url("").split_off(7).parse().unwrap();
    let (first, second) = (
        Little::before(origin_address),
        Little::before(origin_address),
    );
    run(async {
        let (first_url, second_url) = (first.authority(), second.authority());
        let second_proxy = Proxy::all(format!("http://two:b@{second_url}"))?;
        let client = Client::builder()
            .proxy(
                Proxy::all(format!("http://one:a@{first_url}"))?
                    .no_proxy("second.example 127.0.0.1"),
            )
            .proxy(second_proxy.no_proxy("127.0.0.0/8"))
            .build();
        let response = client.get("http://first.example/first").send().await?;
        assert_eq!(response.text().await?, "GET /end HTTP/1.1");
        Ok(())
    });
    let seen = |proxy: &Little| -> Vec<(String, Option<String>)> {
        let asked = proxy.asked().into_iter();
        asked.map(|asked| (asked.line, asked.credentials)).collect()
    };
    let expected =
        |line: &str, credentials: &str| [(line.to_owned(), Some(credentials.to_owned()))];
    assert_eq!(
        seen(&first),
        expected("GET http://first.example/first HTTP/1.1", "Basic b25lOmE=")
    );
    assert_eq!(
        seen(&second),
        expected("GET http://second.example/ HTTP/1.1", "Basic dHdvOmI=")
    );
    assert_eq!(direct.accepted(), 1);
}

#[test]
fn a_field_of_the_request_is_sent_as_it_is() {
    let origin = origin();
    let proxy = Little::before(origin.address);
    run(async {
        let client = Client::builder().no_proxy().build();
        let own = |url: &str| client.get(url).header("Proxy-Authorization", "Bearer x");
        // Without a proxy, to the origin: net/http does so too.
        let direct = own(&format!("http://{}/", origin.address)).send().await?;
        assert!(
            direct
                .text()
                .await?
                .contains("proxy-authorization: Bearer x")
        );
        // By one, instead of what its URL has.
        let proxied = Proxy::http(format!("http://me:hush@{}", proxy.authority()))?;
        let request = own("http://a.example/").proxy(proxied);
        let text = request.send().await?.text().await?;
        assert!(!text.contains("proxy-authorization"), "{text}");
        Ok(())
    });
    assert_eq!(proxy.asked()[0].credentials.as_deref(), Some("Bearer x"));
}

#[test]
fn what_a_forwarding_proxy_answers_is_the_response() {
    let proxy = Peer::answering(|_| {
        b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno".to_vec()
    });
    run(async {
        let client = Client::builder().proxy(Proxy::http(proxy.url(""))?).build();
        let response = client.get("http://a.example/").send().await?;
        assert_eq!(response.status_code(), 407);
        assert_eq!(response.text().await?, "no");
        Ok(())
    });
}

#[test]
fn a_proxy_that_is_not_there_is_named_without_its_password() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    run(async {
        for scheme in ["http", "socks5h"] {
            let proxy = Proxy::all(format!("{scheme}://me:hush@{gone}"))?;
            let client = Client::builder().proxy(proxy).build();
            let error = client.get("http://a.example/").send().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect);
            assert_eq!(error.phase(), Some(Phase::Proxy));
            assert!(error.is_connect());
            let text = format!("{error} {error:?}");
            assert!(text.contains(&format!("{scheme}://{gone}")), "{text}");
            assert!(text.contains("http://a.example/"), "{text}");
            assert!(!text.contains("hush") && !text.contains("me:"), "{text}");
        }
        Ok(())
    });
}
