//! Connections that go on with something else than HTTP.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;

use roundtrip::Client;
use roundtrip::Method;
use roundtrip::error::ErrorKind;

use crate::peer::Peer;
use crate::peer::run;
use crate::peer::until;

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

/// Answers the head of the request with `answer`, and echoes from there on.
fn echo(answer: &'static str) -> Peer {
    Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
        }
        socket.write_all(answer.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = reader.read(&mut buffer) {
            if socket.write_all(&buffer[..len]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn an_upgrade_hands_the_connection_over() {
    // What comes right behind the head is the first to be read.
    let answer: &'static str = format!("{SWITCH}first ").leak();
    let peer = echo(answer);
    run(async {
        let client = Client::new();
        let request = client.get(peer.url("/chat"));
        let request = request
            .header("Connection", "upgrade")
            .header("Upgrade", "echo");
        let response = request.send().await?;
        assert_eq!(response.status_code(), 101);
        assert_eq!(response.headers().get("upgrade"), Some("echo"));
        let mut duplex = response.into_duplex()?;
        duplex.write("second").await?;
        let mut read = Vec::new();
        while read.len() < 12 {
            read.extend_from_slice(&duplex.read().await?.expect("the peer still speaks"));
        }
        assert_eq!(read, b"first second");
        duplex.shutdown();
        assert_eq!(duplex.read().await?, None);
        drop(duplex);
        until("the peer sees the end", || peer.ended() == 1).await;
        assert_eq!(client.stats().unwrap().pool.connections, 0);
        Ok(())
    });
}

#[test]
fn much_goes_both_ways() {
    let peer = echo(SWITCH);
    run(async {
        let request = Client::new().get(peer.url("/"));
        let request = request
            .header("Connection", "upgrade")
            .header("Upgrade", "echo");
        let (mut reader, mut writer) = request.send().await?.into_duplex()?.split();
        const BYTES: usize = 2 * 1024 * 1024;
        let writes = roundtrip::runtime::spawn(async move {
            for _ in 0..BYTES / 4096 {
                writer.write(vec![7; 4096]).await?;
            }
            writer.shutdown();
            Ok::<_, roundtrip::Error>(())
        });
        let mut read = 0;
        while let Some(bytes) = reader.read().await? {
            assert!(bytes.iter().all(|byte| *byte == 7));
            read += bytes.len();
        }
        assert_eq!(read, BYTES);
        writes.await??;
        Ok(())
    });
}

#[test]
fn connect_makes_a_tunnel() {
    let peer = echo("HTTP/1.1 200 Connected\r\n\r\n");
    run(async {
        let client = Client::new();
        let request = client.request(Method::CONNECT, peer.url("/"));
        let response = request.target("far.example:443").send().await?;
        let mut duplex = response.into_duplex()?;
        duplex.write("x").await?;
        assert_eq!(duplex.read().await?.as_deref(), Some(&b"x"[..]));
        Ok(())
    });
}

#[test]
fn a_connect_is_for_a_host_and_a_port() {
    let peer = echo("HTTP/1.1 200 Connected\r\n\r\n");
    run(async {
        let client = Client::new();
        for target in [
            None,
            Some("/"),
            Some("far.example"),
            Some("far.example:443/x"),
        ] {
            let request = client.request(Method::CONNECT, peer.url("/"));
            let request = match target {
                None => request,
                Some(target) => request.target(target),
            };
            let error = request.send().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.text().contains("host:port"), "{error}");
            assert!(error.url().is_some());
        }
        Ok(())
    });
}

#[test]
fn a_refused_connect_is_a_response() {
    let peer = echo("HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nno!");
    run(async {
        let request = Client::new().request(Method::CONNECT, peer.url("/"));
        let response = request.target("far.example:443").send().await?;
        assert_eq!(response.status_code(), 407);
        assert_eq!(response.text().await?, "no!");
        Ok(())
    });
}

#[test]
fn a_switch_that_nobody_asked_for_is_an_error() {
    let peer = echo(SWITCH);
    run(async {
        let client = Client::new();
        let error = client.get(peer.url("/")).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(
            error.text().contains("(101), which was not asked for"),
            "{error}"
        );
        until("the connection is gone", || {
            client.stats().unwrap().pool.connections == 0
        })
        .await;
        Ok(())
    });
}

#[test]
fn a_dropped_upgrade_closes() {
    let peer = echo(SWITCH);
    run(async {
        let request = Client::new().get(peer.url("/"));
        let request = request
            .header("Connection", "upgrade")
            .header("Upgrade", "echo");
        drop(request.send().await?);
        until("the peer sees the end", || peer.ended() == 1).await;
        Ok(())
    });
}

#[test]
fn a_connection_that_is_not_kept_can_be_upgraded() {
    let peer = echo(SWITCH);
    run(async {
        let client = Client::builder().keep_alive(false).build();
        let request = client.get(peer.url("/"));
        let request = request
            .header("Connection", "upgrade")
            .header("Upgrade", "echo");
        let mut duplex = request.send().await?.into_duplex()?;
        duplex.write("x").await?;
        assert_eq!(duplex.read().await?.as_deref(), Some(&b"x"[..]));
        Ok(())
    });
}
