//! Tunnels by SOCKS5: who looks names up, credentials, refusals.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::client::Client;
use roundtrip::client::proxy::Proxy;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;

use crate::forward::origin;
use crate::little::Little;
use crate::peer::Peer;
use crate::peer::run;

#[test]
fn names_are_looked_up_here_or_there() {
    let origin = origin();
    let proxy = Little::before(origin.address);
    let authority = proxy.authority();
    run(async {
        for (scheme, url) in [
            ("socks5h", "http://a.example/x"),
            ("socks5h", "http://10.1.2.3:81/x"),
            ("socks5h", "http://[2001:db8::1]/x"),
            ("socks5", "http://10.1.2.3:81/x"),
            ("socks5", "http://[2001:db8::1]/x"),
            ("socks5", "http://localhost/x"),
        ] {
            let socks = Proxy::all(format!("{scheme}://{authority}"))?;
            let client = Client::builder().proxy(socks).build();
            for _ in 0..2 {
                let text = client.get(url).send().await?.text().await?;
                assert!(text.starts_with("GET /x\nhost: "), "{text}");
                assert!(!text.contains("proxy"), "{text}");
            }
        }
        Ok(())
    });
    let mut lines = proxy.lines();
    let local = lines.pop().unwrap();
    assert_eq!(
        lines,
        [
            "SOCKS a.example 80",
            "SOCKS 10.1.2.3 81",
            "SOCKS 2001:db8::1 80",
            "SOCKS 10.1.2.3 81",
            "SOCKS 2001:db8::1 80",
        ]
    );
    // Which of both stands first is up to the system.
    assert!(
        ["SOCKS 127.0.0.1 80", "SOCKS ::1 80"].contains(&&*local),
        "{local}"
    );
}

#[test]
fn a_password_is_given_to_the_proxy_alone() {
    let origin = origin();
    let proxy = Little::before(origin.address);
    let authority = proxy.authority();
    run(async {
        let socks = Proxy::all(format!("socks5h://me:hush@{authority}"))?;
        let client = Client::builder().proxy(socks).build();
        let text = client.get("http://a.example/").send().await?.text().await?;
        assert_eq!(text, "GET /\nhost: a.example\n");
        let wrong = Proxy::all(format!("socks5h://me:hash@{authority}"))?;
        let request = client.get("http://a.example/").proxy(wrong);
        let error = request.send().await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("refused the credentials"), "{text}");
        assert!(text.contains(&format!("socks5h://{authority}")), "{text}");
        assert!(!text.contains("hash"), "{text}");
        Ok(())
    });
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].credentials.as_deref(), Some("me:hush"));
}

/// Reads so many bytes, and sends these in pieces; then the next.
type Script = &'static [(usize, &'static [u8])];

fn scripted(script: Script, piece: usize) -> Peer {
    Peer::start(move |_, mut socket: TcpStream| {
        for (awaited, answer) in script {
            let mut bytes = vec![0; *awaited];
            if socket.read_exact(&mut bytes).is_err() {
                return;
            }
            for piece in answer.chunks(piece) {
                if socket.write_all(piece).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    })
}

#[track_caller]
fn refused(script: Script, piece: usize) -> Error {
    let proxy = scripted(script, piece);
    let error = run(async {
        let url = proxy.url("").replace("http://", "socks5h://");
        let client = Client::builder().proxy(Proxy::all(url)?).build();
        Ok(client.get("http://a.example/").send().await.unwrap_err())
    });
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.phase(), Some(Phase::Proxy));
    error
}

/// Bytes of what is asked for `a.example`.
const ASKED: usize = 4 + 1 + 9 + 2;

#[test]
fn refusals_and_nonsense() {
    let cases: [(Script, &str); 9] = [
        (&[(3, b"\x05\xff")], "wants credentials"),
        (&[(3, b"\x05\x02")], "not offered"),
        (&[(3, b"HTTP/1.1 400 Bad Request\r\n\r\n")], "not of SOCKS5"),
        (&[(3, b"\x05\0"), (ASKED, b"\x05\x02\0\x01")], "rules"),
        (
            &[(3, b"\x05\0"), (ASKED, b"\x05\x05\0\x01\0\0\0\0\0\0")],
            "refused",
        ),
        (&[(3, b"\x05\0"), (ASKED, b"\x05\0\0\x09")], "unknown type"),
        (
            &[(3, b"\x05\0"), (ASKED, b"\x05\0\0\x03\xffshort")],
            "closed the connection before its reply",
        ),
        (&[(3, b"\x05")], "before its choice"),
        (&[(3, b"")], "before its choice"),
    ];
    for (script, text) in cases {
        for piece in [1, 100] {
            let error = refused(script, piece);
            assert!(format!("{error:#}").contains(text), "{error}");
        }
    }
}

#[test]
fn a_reply_in_single_bytes() {
    let script: Script = &[
        (3, b"\x05\0"),
        (ASKED, b"\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (20, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    ];
    let proxy = scripted(script, 1);
    run(async {
        let url = proxy.url("").replace("http://", "socks5h://");
        let client = Client::builder().proxy(Proxy::all(url)?).build();
        let response = client.get("http://a.example/").send().await?;
        assert_eq!(response.text().await?, "hi");
        Ok(())
    });
}
