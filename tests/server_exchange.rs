//! What goes over the wire, against real sockets.

use std::io::Read;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Body;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::runtime;

mod server_support;

use server_support::Serving;
use server_support::get;
use server_support::request;

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/users/{id}", |r: &Request| {
            format!("user {}", r.param("id"))
        })
        .get("/big", |_: &Request| vec![b'x'; 5_000_000])
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .post("/length", async |r: Request| {
            let mut body = r.into_body();
            let mut length = 0;
            while let Some(chunk) = body.chunk().await {
                length += chunk?.len();
            }
            Ok::<_, roundtrip::Error>(length.to_string())
        })
        .post("/ignore", |_: &Request| "ignored")
        .get("/slow", async |_: Request| {
            runtime::sleep(Duration::from_millis(100)).await;
            "slow"
        })
        .get("/stream", async |_: Request| {
            let (mut sender, body) = Body::incoming(None);
            drop(runtime::spawn(async move {
                for word in ["one", "two", "three"] {
                    runtime::sleep(Duration::from_millis(5)).await;
                    if sender.send(word.into()).await.is_err() {
                        return;
                    }
                }
                sender.finish(None);
            }));
            Response::new().body(body)
        })
        .get("/panic", |_: &Request| -> &'static str {
            panic!("on purpose")
        })
        .get("/peer", |r: &Request| r.peer_addr().unwrap().to_string())
}

#[test]
fn keeps_alive() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    for id in 0..50 {
        let answer = peer.send(get(&format!("/users/{id}"))).answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), format!("user {id}"));
        assert!(answer.field("date").unwrap().ends_with(" GMT"));
        assert_eq!(answer.field("connection"), None);
    }
    let local = peer.stream.local_addr().unwrap();
    assert_eq!(peer.send(get("/peer")).answer().text(), local.to_string());
    assert_eq!(serving.handle.statistics().requests, 51);
    assert_eq!(serving.handle.statistics().connections_open, 1);
}

#[test]
fn pipelines_in_order() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let mut all = String::new();
    for id in 0..500 {
        let path = if id % 100 == 50 {
            "/slow".to_owned()
        } else {
            format!("/users/{id}")
        };
        all += &get(&path);
    }
    peer.send(all);
    for id in 0..500 {
        let answer = peer.answer();
        if id % 100 == 50 {
            assert_eq!(answer.text(), "slow");
        } else {
            assert_eq!(answer.text(), format!("user {id}"));
        }
    }
}

#[test]
fn pipelined_bytes_behind_a_handler_are_bounded_and_not_lost() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let count = 8_000;
    let mut writer = peer.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        writer.write_all(get("/slow").as_bytes()).unwrap();
        writer.write_all(get("/").repeat(count).as_bytes()).unwrap();
    });
    assert_eq!(peer.answer().text(), "slow");
    for _ in 0..count {
        assert_eq!(peer.answer().text(), "hello");
    }
    sending.join().unwrap();
}

#[test]
fn head_has_no_body() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    for path in ["/", "/big", "/slow"] {
        let answer = peer
            .send(request(&format!("HEAD {path}"), &[], ""))
            .answer_to_head();
        assert_eq!(answer.status, 200);
        assert!(answer.field("content-length").is_some(), "{path}");
    }
    assert_eq!(peer.send(get("/")).answer().text(), "hello");
}

#[test]
fn http_10_closes_unless_asked() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    peer.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = peer.answer();
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.field("connection"), Some("keep-alive"));
    peer.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(peer.answer().field("connection"), Some("close"));
    assert!(peer.is_closed());

    let mut peer = serving.peer();
    peer.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = peer.answer();
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.text(), "onetwothree");
}

#[test]
fn connection_close_closes() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let answer = peer
        .send(request("GET /", &["Connection: close"], ""))
        .answer();
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(peer.is_closed());
}

#[test]
fn streams_are_chunked() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let answer = peer.send(get("/stream")).answer();
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.text(), "onetwothree");
    assert_eq!(peer.send(get("/")).answer().text(), "hello");
}

#[test]
fn expectations() {
    let serving = Serving::start(router());
    let expect = "Expect: 100-continue";
    for path in ["/length", "/echo"] {
        let mut peer = serving.peer();
        peer.send(request(
            &format!("POST {path}"),
            &["Content-Length: 3", expect],
            "",
        ));
        assert_eq!(peer.answer().status, 100);
        let answer = peer.send("abc").answer();
        assert_eq!(answer.status, 200);
        assert_eq!(peer.send(get("/")).answer().text(), "hello");
    }
    // Nobody wants the body: no 100, and the connection ends.
    let mut peer = serving.peer();
    let answer = peer
        .send(request("POST /ignore", &["Content-Length: 3", expect], ""))
        .answer();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (200, Some("close"))
    );
    assert!(peer.is_closed());
    let answer = serving.ask(&request(
        "POST /echo",
        &["Content-Length: 3", "Expect: tea"],
        "",
    ));
    assert_eq!(answer.status, 417);
}

#[test]
fn echoes_large_bodies_while_they_come() {
    let serving = Serving::start(router());
    let body: Vec<u8> = (0..8_000_000_u32).map(|n| (n / 7) as u8).collect();
    for chunked in [false, true] {
        let mut peer = serving.peer();
        let mut writer = peer.stream.try_clone().unwrap();
        let copy = body.clone();
        let sending = std::thread::spawn(move || {
            use std::io::Write;
            let framing = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {}", copy.len()),
            };
            let head = request("POST /echo", &[&framing], "");
            writer.write_all(head.as_bytes()).unwrap();
            for piece in copy.chunks(100_001) {
                if chunked {
                    write!(writer, "{:x}\r\n", piece.len()).unwrap();
                }
                writer.write_all(piece).unwrap();
                if chunked {
                    writer.write_all(b"\r\n").unwrap();
                }
            }
            if chunked {
                writer.write_all(b"0\r\n\r\n").unwrap();
            }
        });
        let answer = peer.answer();
        assert!(answer.body == body, "chunked: {chunked}");
        sending.join().unwrap();
        assert_eq!(peer.send(get("/")).answer().text(), "hello");
    }
}

#[test]
fn unread_bodies_are_drained_or_end_the_connection() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let body = "x".repeat(200_000);
    peer.send(request("POST /ignore", &["Content-Length: 200000"], &body));
    assert_eq!(peer.answer().text(), "ignored");
    assert_eq!(peer.send(get("/")).answer().text(), "hello");
    // Too long to drain: the response arrives all the same.
    let mut peer = serving.peer();
    peer.send(request("POST /ignore", &["Content-Length: 900000"], &body));
    let answer = peer.answer();
    assert_eq!(
        (answer.text(), answer.field("connection")),
        ("ignored", Some("close"))
    );
}

#[test]
fn options_of_the_server() {
    let serving = Serving::start(router());
    let answer = serving.ask(&request("OPTIONS *", &[], ""));
    assert_eq!(
        (answer.status, answer.field("content-length")),
        (200, Some("0"))
    );
}

#[test]
fn nobody_answers() {
    let serving = Serving::start(router());
    assert_eq!(serving.ask(&get("/nowhere")).status, 404);
    let answer = serving.ask(&request("DELETE /echo", &[], ""));
    assert_eq!((answer.status, answer.field("allow")), (405, Some("POST")));
}

#[test]
fn a_panic_leaves_others_alone() {
    let serving = Serving::start(router());
    let mut other = serving.peer();
    other.send(get("/slow"));
    let mut peer = serving.peer();
    let answer = peer.send(get("/panic")).answer();
    assert_eq!(
        (answer.status, answer.field("connection")),
        (500, Some("close"))
    );
    assert!(peer.is_closed());
    assert_eq!(other.answer().text(), "slow");
    assert_eq!(other.send(get("/")).answer().text(), "hello");
    assert_eq!(serving.handle.statistics().panics, 1);
}

#[test]
fn half_close_is_answered() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    peer.send(get("/slow")).close_writing();
    assert_eq!(peer.answer().text(), "slow");
    assert!(peer.is_closed());
}

#[test]
fn a_slow_reader_gets_all() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    peer.send(get("/big").repeat(4) + &get("/"));
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..4 {
        assert_eq!(peer.answer().body.len(), 5_000_000);
    }
    assert_eq!(peer.answer().text(), "hello");
}

#[test]
fn many_connections_at_once() {
    let serving = Serving::with(roundtrip::Server::new(router()), |s| s.workers(2));
    let started = Instant::now();
    let mut peers: Vec<_> = (0..200).map(|_| serving.peer()).collect();
    for peer in &mut peers {
        peer.send(get("/slow"));
    }
    for peer in &mut peers {
        assert_eq!(peer.answer().text(), "slow");
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(serving.handle.statistics().connections_accepted, 200);
}

#[test]
fn nobody_is_promised_a_tunnel() {
    let router = Router::new().any("/", |_: &Request| "all");
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    peer.send("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = peer.answer();
    assert!(answer.status >= 400, "{}", answer.status);
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(peer.is_closed());
}

/// Where the end of the connection is the end of the body, an orderly end would make a part look
/// like the whole.
#[test]
fn a_body_that_fails_before_its_end_resets_the_connection() {
    let router = Router::new().get("/", async |_: Request| {
        let (mut sender, body) = Body::incoming(None);
        drop(runtime::spawn(async move {
            sender.push("a part".into());
            runtime::sleep(Duration::from_millis(20)).await;
            // Without `finish` this is an error.
            drop(sender);
        }));
        Response::new().body(body)
    });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    peer.send("GET / HTTP/1.0\r\n\r\n");
    let mut all = Vec::new();
    let error = peer.stream.read_to_end(&mut all).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(all.ends_with(b"a part"));
}
