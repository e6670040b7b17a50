//! Answers that come before the request is complete, and what becomes of its rest.

use std::time::Duration;

use bytes::Bytes;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::error::ErrorKind;
use roundtrip::limits::RESPONSE_DRAIN_TIMEOUT;
use roundtrip::runtime;
use roundtrip::simulation;
use roundtrip::simulation::Reach;
use roundtrip::simulation::Simulation;

use crate::ADDRESS;
use crate::after;
use crate::assert_about;
use crate::origin;
use crate::origin::Do;
use crate::origin::echo;
use crate::origin::ok;
use crate::pause;
use crate::run;
use crate::run_on;
use crate::timed;
use crate::url;

/// Less than a body, so that much of one waits on our side.
const ROOM: usize = 16 * 1024;

fn narrow() -> Simulation {
    Simulation::new(1).socket_buffer_bytes(ROOM)
}

fn large() -> Vec<u8> {
    vec![b'x'; 200_000]
}

/// The answer is complete, and so is the request, but not sent: it has 50 ms to go out.
#[test]
fn an_answer_that_overtakes_the_last_bytes() {
    for (later, connections) in [(1, 1), (40, 1), (180, 2)] {
        run_on(narrow(), async move {
            let log = origin::listen(ADDRESS, move |connection| match connection {
                0 => vec![
                    Do::Head,
                    Do::Deaf,
                    Do::Send(ok("early")),
                    Do::Wait(Duration::from_millis(later)),
                    Do::Hear,
                    Do::Skip(200_000),
                    echo(),
                ],
                _ => vec![echo()],
            })
            .await;
            let client = Client::new();
            let (time, response) = timed(client.post(url("/")).body(large()).send()).await;
            let answered_at = simulation::now();
            assert!(time < Duration::from_millis(1), "{time:?}");
            assert_eq!(response?.text().await?, "early");
            pause(200).await;
            let text = client.get(url("/next")).send().await?.text().await?;
            assert_eq!(text, "GET /next HTTP/1.1");
            assert_eq!(log.connections(), connections, "after {later} ms");
            if connections == 2 {
                assert_about(after(log.ended(0), answered_at), RESPONSE_DRAIN_TIMEOUT);
            }
            Ok(())
        });
    }
}

/// Meanwhile the connection is nobody's: a request that comes dials.
#[test]
fn a_request_does_not_wait_for_the_rest_of_another() {
    run_on(narrow(), async {
        let log = origin::listen(ADDRESS, |connection| match connection {
            0 => vec![Do::Head, Do::Deaf, Do::Send(ok("early"))],
            _ => vec![echo()],
        })
        .await;
        let client = Client::new();
        let response = client.post(url("/")).body(large()).send().await?;
        assert_eq!(response.text().await?, "early");
        let (time, next) = timed(client.get(url("/next")).send()).await;
        assert_eq!(next?.text().await?, "GET /next HTTP/1.1");
        assert!(time < Duration::from_millis(1), "{time:?}");
        assert_eq!(log.connections(), 2);
        Ok(())
    });
}

/// The caller has not given all of the body: nobody waits for it, and the connection ends.
#[test]
fn an_answer_that_overtakes_the_caller() {
    run(async {
        let log = origin::listen(ADDRESS, |_| {
            vec![Do::Head, Do::Bytes(200), Do::Send(ok("enough"))]
        })
        .await;
        let client = Client::new();
        let (mut sender, body) = Body::incoming(None);
        sender.push(Bytes::from(vec![b'x'; 1_000]));
        let response = client.post(url("/")).body(body).send().await?;
        assert_eq!(response.text().await?, "enough");
        pause(1).await;
        assert!(sender.is_dropped(), "somebody waits for more of the body");
        assert_eq!(
            (log.open(), client.stats().unwrap().pool.connections),
            (0, 0)
        );
        Ok(())
    });
}

/// Both at once: each piece comes back before the next is sent.
#[test]
fn an_answer_beside_its_request() {
    run(async {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        origin::listen(ADDRESS, move |_| {
            let mut steps = vec![Do::Head, Do::Send(head.into())];
            // Each piece takes ten bytes in its chunk: "5\r\n....\r\n".
            for piece in 1..=50 {
                steps.extend([Do::Body(10 * piece), Do::Send("5\r\nagain\r\n".into())]);
            }
            steps.extend([
                Do::Body(505),
                Do::Send("0\r\n\r\n".into()),
                Do::Skip(505),
                echo(),
            ]);
            steps
        })
        .await;
        let client = Client::new();
        let (mut sender, body) = Body::incoming(None);
        sender.push(Bytes::from_static(b"piece"));
        let mut response = client.post(url("/")).body(body).send().await?;
        for count in 1..=50 {
            let chunk = response.body_mut().chunk().await.expect("a chunk")?;
            assert_eq!(chunk, "again", "{count}");
            if count < 50 {
                sender.push(Bytes::from_static(b"piece"));
            }
        }
        sender.finish(None);
        assert!(response.body_mut().chunk().await.is_none());
        let text = client.get(url("/next")).send().await?.text().await?;
        assert_eq!(text, "GET /next HTTP/1.1");
        assert_eq!(client.stats().unwrap().pool.connected_total, 1);
        Ok(())
    });
}

/// A server that answers, and closes with the body unread: its answer counts, and not that the rest
/// could not be sent (net/http's TransportPrefersResponseOverWriteError).
#[test]
fn an_answer_counts_more_than_what_could_not_be_sent() {
    for end in [Do::Close, Do::Reset, Do::Shut] {
        for seed in 0..40 {
            let micros = Duration::from_micros;
            let latency = [(0, 0), (1, 1), (20, 200)][seed % 3];
            let simulation = Simulation::new(seed as u64)
                .socket_buffer_bytes([4_096, ROOM, 256 * 1024][seed % 4 % 3])
                .latency(micros(latency.0), micros(latency.1));
            let end = end.clone();
            run_on(simulation, async move {
                let log = origin::listen(ADDRESS, move |_| {
                    let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!";
                    vec![Do::Head, Do::Deaf, Do::Send(refusal.into()), end.clone()]
                })
                .await;
                let client = Client::new();
                for is_streamed in [false, true] {
                    let body = match is_streamed {
                        false => Body::from(vec![b'x'; 1_000_000]),
                        true => endless(),
                    };
                    let response = client.post(url("/")).body(body).send().await?;
                    assert_eq!(response.status_code(), 413);
                    assert_eq!(response.text().await?, "no!");
                    pause(1_000).await;
                    assert_eq!(client.stats().unwrap().pool.connections, 0);
                }
                assert_eq!(log.connections(), 2);
                Ok(())
            });
        }
    }
}

/// A body that goes on until nobody wants it.
fn endless() -> Body {
    let (mut sender, body) = Body::incoming(None);
    drop(runtime::spawn(async move {
        while !sender.is_dropped() {
            if sender.queued_bytes() < 100_000 {
                sender.push(Bytes::from(vec![b'x'; 10_000]));
            }
            pause(1).await;
        }
    }));
    body
}

/// Without an answer it is an error, and nobody sends a body twice that was begun.
#[test]
fn a_server_that_goes_within_the_request() {
    for end in [Do::Close, Do::Reset] {
        let end = end.clone();
        run_on(narrow(), async move {
            let log = origin::listen(ADDRESS, move |_| {
                vec![
                    Do::Request,
                    Do::Send(ok("warm")),
                    Do::Head,
                    Do::Deaf,
                    end.clone(),
                ]
            })
            .await;
            let client = Client::new();
            client.get(url("/")).send().await?.text().await?;
            let error = client
                .post(url("/"))
                .body(large())
                .send()
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}");
            assert_eq!(log.connections(), 1);
            Ok(())
        });
    }
}

/// A body that fails ends its request, wherever that is; the connection is not used again, since
/// its server waits for the rest.
#[test]
fn a_body_that_fails() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![echo()]).await;
        let client = Client::new();
        for (pushed, length) in [(0, None), (1_000, None), (1_000, Some(2_000))] {
            let (mut sender, body) = Body::incoming(length);
            sender.push(Bytes::from(vec![b'x'; pushed]));
            drop(runtime::spawn(async move {
                pause(10).await;
                sender.fail(roundtrip::Error::new(ErrorKind::Io, "the disk is gone"));
            }));
            let error = client.post(url("/")).body(body).send().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
            assert!(format!("{error:#}").contains("the disk is gone"), "{error}");
            pause(1).await;
            assert_eq!(log.open(), 0);
        }
        assert!(log.lines().is_empty(), "one was taken for whole");
        Ok(())
    });
}

/// Whatever becomes of its request, a body that nobody wants any more is dropped, so that whoever
/// makes it stops (net/http closes it, once).
#[test]
fn a_body_is_dropped_with_its_request() {
    let silent = Simulation::new(1).reach("127.0.0.7".parse().unwrap(), Reach::Silent);
    run_on(silent, async {
        origin::listen(ADDRESS, |connection| match connection {
            0 => vec![Do::Head, Do::Reset],
            1 => vec![Do::Head, Do::Send(ok("early"))],
            2 => vec![Do::Head, Do::Send("nonsense\r\n\r\n".into())],
            _ => vec![Do::Head],
        })
        .await;
        let client = Client::new();
        let second = Duration::from_secs(1);
        let urls = [
            "http://127.0.0.1/lost",
            "http://127.0.0.1/early",
            "http://127.0.0.1/nonsense",
            "http://127.0.0.1/late",
            "http://127.0.0.7/silent",
            "http://127.0.0.1:81/refused",
            "ftp://127.0.0.1/",
            "http://127.0.0.1/dropped",
        ];
        for target in urls {
            let (mut sender, body) = Body::incoming(None);
            sender.push(Bytes::from_static(b"some"));
            let request = client.post(target).body(body).timeout(second);
            if target.ends_with("dropped") {
                drop(request);
            } else {
                let outcome = request.send().await;
                assert_eq!(outcome.is_ok(), target.ends_with("early"), "{target}");
            }
            pause(10).await;
            assert!(sender.is_dropped(), "{target}");
        }
        Ok(())
    });
}
