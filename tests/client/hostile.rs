//! Peers that close, reset, dawdle and change their minds: a right response or an error, never a
//! mixed-up one, never a hang.

use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use roundtrip::Result;
use roundtrip::client::Client;
use roundtrip::runtime;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::read_request;
use crate::peer::reset;
use crate::peer::run;
use crate::peer::until;

/// Answers with the part of `response` that the path names: `/17` gets 17 bytes, then the end.
fn cutting(response: &'static [u8], resets: bool) -> Peer {
    Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let Some(seen) = read_request(&mut reader, 0, 0) else {
            return;
        };
        let path = seen.line.split(' ').nth(1).unwrap();
        let len: usize = path[1..].parse().unwrap();
        socket.write_all(&response[..len]).unwrap();
        drop(reader);
        if resets {
            reset(socket);
        }
    })
}

#[test]
fn an_end_at_every_byte() {
    let responses: [&'static [u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for response in responses {
        for resets in [false, true] {
            let peer = cutting(response, resets);
            run(async {
                let client = Client::new();
                for len in 0..=response.len() {
                    let request = client.get(peer.url(&format!("/{len}")));
                    let text: Result<String> = async { request.send().await?.text().await }.await;
                    match text {
                        Ok(text) => {
                            assert_eq!(text, "hello");
                            assert_eq!(len, response.len());
                        }
                        // A reset may overtake what came before it.
                        Err(error) => {
                            assert!(len < response.len() || resets, "{error}");
                            assert!(error.is_closed(), "{error:?}");
                        }
                    }
                }
                until("nothing is left", || {
                    client.stats().unwrap().pool.connections == 0
                })
                .await;
                Ok(())
            });
        }
    }
}

/// Numbers that look random, the same in every run.
fn scatter(number: usize) -> usize {
    (number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) % 1_000
}

#[test]
fn each_response_belongs_to_its_request() {
    let peer = Peer::start(|connection, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut index = 0;
        while let Some(seen) = read_request(&mut reader, connection, index) {
            let mood = scatter(connection * 31 + index);
            if mood.is_multiple_of(7) {
                std::thread::sleep(Duration::from_millis(mood as u64 % 10));
            }
            if mood.is_multiple_of(11) {
                return;
            }
            let answer = ok(&seen.line);
            let (first, second) = answer.split_at(mood % answer.len());
            if socket.write_all(first).is_err() || socket.write_all(second).is_err() {
                return;
            }
            if mood.is_multiple_of(13) {
                return;
            }
            index += 1;
        }
    });
    run(async {
        let client = Client::builder().per_host_max(8).build();
        let mut tasks = Vec::new();
        for number in 0..600 {
            let request = client.get(peer.url(&format!("/{number}")));
            tasks.push(runtime::spawn(async move {
                let mood = scatter(number);
                runtime::sleep(Duration::from_millis(mood as u64 / 2)).await;
                let answer = async { request.send().await?.text().await };
                let patience = match mood % 5 {
                    0 => Duration::from_millis(mood as u64 % 8),
                    _ => Duration::from_secs(10),
                };
                match runtime::timeout(patience, answer).await {
                    Ok(Ok(text)) => {
                        assert_eq!(text, format!("GET /{number} HTTP/1.1"));
                        true
                    }
                    // Given up here, or closed there.
                    Ok(Err(error)) => {
                        assert!(error.is_closed(), "{error:?}");
                        false
                    }
                    Err(_) => false,
                }
            }));
        }
        let mut answered = 0;
        for task in tasks {
            answered += usize::from(task.await?);
        }
        assert!(answered > 300, "only {answered} of 600");
        let pool = || client.stats().unwrap().pool;
        until("all is at rest", || pool().connections == pool().idle).await;
        assert_eq!((pool().waiting, pool().dialing), (0, 0));
        Ok(())
    });
}

/// How often each request came, by its line.
type Came = Arc<Mutex<HashMap<String, usize>>>;

/// Answers, and closes so soon after it that the next request meets the end: before it is sent, on
/// its way, or when it has arrived.
fn closing(came: Came) -> Peer {
    Peer::start(move |connection, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut index = 0;
        while let Some(seen) = read_request(&mut reader, connection, index) {
            *came.lock().unwrap().entry(seen.line.clone()).or_insert(0) += 1;
            let mood = scatter(connection * 7 + index);
            if index > 0 && mood.is_multiple_of(2) {
                // The request is there, and is not answered.
                break;
            }
            if socket.write_all(&ok(&seen.line)).is_err() {
                break;
            }
            index += 1;
            if mood.is_multiple_of(3) {
                std::thread::sleep(Duration::from_micros(mood as u64 / 5));
                break;
            }
        }
        drop(reader);
        if scatter(connection).is_multiple_of(2) {
            reset(socket);
        }
    })
}

#[test]
fn a_server_that_closes_when_its_connection_is_used_again() {
    const COUNT: usize = 3_000;
    let came = Came::default();
    let peer = closing(Arc::clone(&came));
    run(async {
        let client = Client::new();
        let mut lost = 0;
        for number in 0..COUNT {
            let path = format!("/{number}");
            let is_once = scatter(number).is_multiple_of(3);
            let request = match is_once {
                true => client.post(peer.url(&path)).body("x"),
                false => client.get(peer.url(&path)),
            };
            let text: Result<String> = async { request.send().await?.text().await }.await;
            match text {
                Ok(text) => assert!(text.contains(&format!(" {path} ")), "{text}"),
                Err(error) => {
                    assert!(is_once && error.is_closed(), "{error:?}");
                    lost += 1;
                }
            }
        }
        let retries = client.stats().unwrap().retries_total;
        assert!(
            retries > 100 && lost > 50,
            "{retries} repeated, {lost} lost"
        );
        Ok(())
    });
    let came = came.lock().unwrap();
    let twice = came
        .iter()
        .find(|(line, count)| line.starts_with("POST") && **count > 1);
    assert_eq!(twice, None, "what must not be repeated");
}

/// The kernel sends a reset for the body that nobody has read, right behind the answer.
#[test]
fn an_answer_counts_more_than_what_could_not_be_sent() {
    let peer = Peer::start(|_, mut socket| {
        let mut reader = BufReader::with_capacity(512, socket.try_clone().unwrap());
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        // Without saying so, it could be asked once more before its reset is there.
        let refusal = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\
                       Content-Length: 3\r\n\r\nno!";
        socket.write_all(refusal.as_bytes()).unwrap();
    });
    run(async {
        let client = Client::new();
        for len in [100_000, 1_000_000, 16_000_000] {
            for _ in 0..30 {
                let request = client.post(peer.url("/")).body(vec![b'x'; len]);
                let response = request.send().await?;
                assert_eq!(response.status_code(), 413);
                assert_eq!(response.text().await?, "no!");
            }
        }
        until("nothing is left", || {
            client.stats().unwrap().pool.connections == 0
        })
        .await;
        Ok(())
    });
}
