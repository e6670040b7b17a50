//! `Expect: 100-continue`, informational responses, responses that come early.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Result;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;

use crate::peer::LONG;
use crate::peer::Peer;
use crate::peer::run;
use crate::peer::until;

/// Reads up to the end of a head.
fn read_head(reader: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            break;
        }
    }
    head
}

/// Answers the head of each request with `first`, reads a body of five bytes if one is expected
/// then, and answers with `last`. What was read is kept.
fn hesitant(
    first: &'static str,
    reads: bool,
    last: &'static str,
) -> (Peer, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let peer = Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        loop {
            let head = read_head(&mut reader);
            if head.is_empty() {
                return;
            }
            seen.lock().unwrap().push(head);
            socket.write_all(first.as_bytes()).unwrap();
            if reads {
                let mut body = [0; 5];
                if reader.read_exact(&mut body).is_err() {
                    return;
                }
                seen.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&body).into_owned());
            }
            if socket.write_all(last.as_bytes()).is_err() {
                return;
            }
        }
    });
    (peer, kept)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn the_body_waits_for_the_servers_word() {
    let (peer, seen) = hesitant("HTTP/1.1 100 Continue\r\n\r\n", true, OK);
    run(async {
        // So long that the body can only come because it was asked for.
        let client = Client::builder().continue_timeout(2 * LONG).build();
        for _ in 0..2 {
            let request = client.post(peer.url("/")).body("hello").expect_continue();
            assert_eq!(request.send().await?.text().await?, "ok");
        }
        assert_eq!(client.stats().unwrap().pool.connected_total, 1);
        Ok(())
    });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(
        seen[0].contains("\r\nExpect: 100-continue\r\n"),
        "{}",
        seen[0]
    );
    assert_eq!(seen[1], "hello");
}

#[test]
fn a_server_that_says_nothing_gets_the_body_after_the_time() {
    let (peer, _) = hesitant("", true, OK);
    run(async {
        let client = Client::builder()
            .continue_timeout(Duration::from_millis(20))
            .build();
        let request = client.put(peer.url("/")).body("hello").expect_continue();
        assert_eq!(request.send().await?.text().await?, "ok");
        Ok(())
    });
}

#[test]
fn a_final_answer_that_keeps_the_connection_gets_the_body_too() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let (peer, seen) = hesitant(refusal, true, "");
    run(async {
        let client = Client::builder().continue_timeout(2 * LONG).build();
        for _ in 0..2 {
            let request = client.post(peer.url("/")).body("hello").expect_continue();
            assert_eq!(request.send().await?.status_code(), 403);
        }
        // The connection has lost nothing of its framing.
        assert_eq!(client.stats().unwrap().pool.connected_total, 1);
        let is_body = |text: &&String| *text == "hello";
        let bodies = || seen.lock().unwrap().iter().filter(is_body).count();
        until("both bodies came", || bodies() == 2).await;
        Ok(())
    });
}

#[test]
fn a_final_answer_that_closes_gets_no_body() {
    let refusal = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let (peer, seen) = hesitant(refusal, true, "");
    run(async {
        let client = Client::builder().continue_timeout(2 * LONG).build();
        let request = client.post(peer.url("/")).body("hello").expect_continue();
        let response = request.send().await?;
        assert_eq!(response.status_code(), 413);
        assert_eq!(response.text().await?, "no");
        Ok(())
    });
    assert_eq!(seen.lock().unwrap().len(), 1, "a body was sent");
}

/// A server that answers every `Expect` with a 417, and echoes what comes without it.
fn refusing(refusal: &'static str, reads_first: bool) -> (Peer, Arc<Mutex<Vec<bool>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let peer = Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let head = read_head(&mut reader);
        let expects = head.contains("Expect");
        seen.lock().unwrap().push(expects);
        let mut body = [0; 5];
        if !expects || reads_first {
            reader.read_exact(&mut body).unwrap();
        }
        let answer = match expects {
            true => refusal.to_owned(),
            false => format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{}",
                String::from_utf8_lossy(&body)
            ),
        };
        socket.write_all(answer.as_bytes()).unwrap();
        let _ = reader.read(&mut [0; 64]);
    });
    (peer, kept)
}

/// RFC 9110 §10.1.1: the request goes out once more, without `Expect`.
#[test]
fn who_knows_no_expectation_is_asked_without_it() {
    const KEPT: &str = "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno";
    const CLOSED: &str = "HTTP/1.1 417 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    // What is not replayable is sent again only where nothing of it was taken.
    for (refusal, is_stream, reads_first, expected) in [
        (KEPT, false, false, "hello"),
        (CLOSED, false, false, "hello"),
        (KEPT, true, false, "hello"),
        (CLOSED, true, false, "hello"),
        (KEPT, false, true, "hello"),
        (CLOSED, true, true, "no"),
    ] {
        let (peer, seen) = refusing(refusal, reads_first);
        run(async {
            let wait = if reads_first {
                Duration::ZERO
            } else {
                2 * LONG
            };
            let client = Client::builder().continue_timeout(wait).build();
            let body = match is_stream {
                true => Body::produce(async |sender| sender.send("hello".into()).await),
                false => "hello".into(),
            };
            let request = client.post(peer.url("/")).body(body.with_length(5));
            let response = request.expect_continue().send().await?;
            let shown = format!("{refusal} {is_stream} {reads_first}");
            assert_eq!(response.text().await?, expected, "{shown}");
            Ok(())
        });
        let expected: &[bool] = match expected {
            "no" => &[true],
            _ => &[true, false],
        };
        assert_eq!(seen.lock().unwrap()[..], *expected);
    }
    // Once: a 417 to what expects nothing is an answer like others, and so is one to another
    // expectation.
    let always = "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno";
    for (expect, count) in [("100-continue", 2), ("200-ok", 1)] {
        let (peer, seen) = hesitant(always, false, "");
        run(async {
            let client = Client::builder().continue_timeout(2 * LONG).build();
            let request = client.post(peer.url("/")).header("Expect", expect);
            let response = request.body("hello").send().await?;
            assert_eq!(response.status_code(), 417);
            assert_eq!(response.text().await?, "no");
            Ok(())
        });
        let is_head = |text: &&String| text.starts_with("POST");
        assert_eq!(seen.lock().unwrap().iter().filter(is_head).count(), count);
    }
}

#[test]
fn no_body_and_no_time_wait_for_nothing() {
    let (peer, _) = hesitant("", false, OK);
    run(async {
        let client = Client::builder().continue_timeout(2 * LONG).build();
        let request = client.post(peer.url("/")).expect_continue();
        assert_eq!(request.send().await?.text().await?, "ok");
        Ok(())
    });
    let (peer, _) = hesitant("", true, OK);
    run(async {
        let client = Client::builder().continue_timeout(Duration::ZERO).build();
        let request = client.post(peer.url("/")).body("hello").expect_continue();
        assert_eq!(request.send().await?.text().await?, "ok");
        Ok(())
    });
}

#[test]
fn informational_responses_reach_the_hook_in_order() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let (peer, _) = hesitant(hints, false, OK);
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    run(async {
        let client = Client::new();
        let request = client
            .get(peer.url("/"))
            .on_informational(move |status, headers| {
                let link = headers.get("link").map(str::to_owned);
                told.lock().unwrap().push((status.as_u16(), link));
                Ok(())
            });
        assert_eq!(request.send().await?.text().await?, "ok");
        // The next request has no hook.
        assert_eq!(client.get(peer.url("/")).send().await?.text().await?, "ok");
        Ok(())
    });
    let expected = [(103, Some("</a>".to_owned())), (102, None)];
    assert_eq!(*kept.lock().unwrap(), expected);
}

#[test]
fn a_hook_ends_the_request() {
    let (peer, _) = hesitant("HTTP/1.1 103 Early Hints\r\n\r\n", false, OK);
    run(async {
        let client = Client::new();
        let request = client.get(peer.url("/"));
        let request = request.on_informational(|status, _| {
            Err(Error::new(
                ErrorKind::Invalid,
                format!("{status} is not for us"),
            ))
        });
        let error = request.send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.phase(), Some(Phase::ResponseHead));
        assert_eq!(client.stats().unwrap().pool.connections, 0);
        Result::Ok(())
    });
}

#[test]
fn a_body_that_ends_early_ends_its_connection() {
    // The final answer comes first; the body is polled only then, and is shorter than it said.
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let (peer, seen) = hesitant(refusal, false, "");
    run(async {
        let client = Client::builder().continue_timeout(2 * LONG).build();
        let body = Body::produce(async |sender| sender.send("short".into()).await);
        let request = client.post(peer.url("/first")).body(body.with_length(100));
        let response = request.expect_continue().send().await?;
        assert_eq!(response.status_code(), 403);
        // Its connection would read the next request as the rest of that body.
        let response = client.get(peer.url("/second")).send().await?;
        assert_eq!(response.status_code(), 403);
        assert_eq!(client.stats().unwrap().pool.connected_total, 2);
        Ok(())
    });
    let seen = seen.lock().unwrap();
    assert!(
        seen.iter().any(|head| head.starts_with("GET /second")),
        "{seen:?}"
    );
}

#[test]
fn nobody_sends_the_rest_of_a_body_that_was_answered_for_good() {
    let answer = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (done, counted) = std::sync::mpsc::channel();
    let peer = Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_head(&mut reader);
        socket.write_all(answer.as_bytes()).unwrap();
        let mut bytes = 0;
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = reader.read(&mut buffer) {
            bytes += len;
        }
        done.send(bytes).unwrap();
    });
    run(async {
        const BYTES: usize = 64 * 1024 * 1024;
        let client = Client::new();
        let request = client.put(peer.url("/")).body(vec![0; BYTES]);
        assert_eq!(request.send().await?.status_code(), 413);
        until("the connection is gone", || peer.ended() == 1).await;
        assert!(counted.recv().unwrap() < BYTES);
        Ok(())
    });
}

#[test]
fn a_request_without_a_body_expects_nothing() {
    let (peer, seen) = hesitant("", false, OK);
    run(async {
        let request = Client::new().get(peer.url("/")).expect_continue();
        assert_eq!(request.send().await?.text().await?, "ok");
        Ok(())
    });
    assert!(!seen.lock().unwrap()[0].contains("Expect"));
}
