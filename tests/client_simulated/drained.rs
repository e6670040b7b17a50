//! What becomes of a connection whose response nobody reads to its end: the rest is read and
//! dropped, up to 256 KiB and for 50 ms, behind the caller's back (net/http's
//! TransportNotReadToEndConnectionReuse).

use std::time::Duration;

use roundtrip::Client;
use roundtrip::Result;
use roundtrip::client::pool::PoolStats;
use roundtrip::limits::DRAIN_BYTES_MAX;
use roundtrip::limits::RESPONSE_DRAIN_TIMEOUT;
use roundtrip::simulation;

use crate::ADDRESS;
use crate::after;
use crate::assert_about;
use crate::origin;
use crate::origin::Do;
use crate::origin::Log;
use crate::origin::serve;
use crate::pause;
use crate::run;
use crate::timed;
use crate::url;

/// A response of `len` bytes in chunks of 10,000.
fn chunked(len: usize, trailer: &str) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in vec![b'x'; len].chunks(10_000) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    bytes
}

fn sized(len: usize) -> Vec<u8> {
    origin::ok(vec![b'x'; len])
}

/// Every request gets this response, of which `now` bytes come at once and the rest so many
/// milliseconds later.
async fn answering(response: Vec<u8>, now: usize, later: u64) -> Log {
    origin::listen(ADDRESS, move |_| {
        let response = response.clone();
        vec![serve(move |_| {
            let (first, rest) = response.split_at(now.min(response.len()));
            vec![
                Do::Send(first.into()),
                Do::Wait(Duration::from_millis(later)),
                Do::Send(rest.into()),
            ]
        })]
    })
    .await
}

fn pool(client: &Client) -> PoolStats {
    client.stats().expect("it was used").pool
}

/// Drops a response after so many chunks of its body, and says whether its connection was kept.
#[track_caller]
fn is_kept(response: Vec<u8>, now: usize, later: u64, chunks: usize) -> bool {
    run(async {
        let log = answering(response, now, later).await;
        let client = Client::new();
        for count in 1..3 {
            let mut response = client.get(url("/")).send().await?;
            for _ in 0..chunks {
                response.body_mut().chunk().await.expect("a chunk")?;
            }
            let (time, ()) = timed(async { drop(response) }).await;
            assert_eq!(time, Duration::ZERO);
            pause(later + 100).await;
            if log.connections() == count && log.open() == 0 {
                assert_eq!(pool(&client).connections, 0);
                continue;
            }
            assert_eq!((log.connections(), pool(&client).idle), (1, 1));
        }
        Ok(log.connections() == 1)
    })
}

const HEAD: usize = 60;

#[test]
fn what_comes_in_time_is_drained() {
    // Length or chunks, unread or read in part, at once or later.
    assert!(is_kept(sized(200_000), HEAD, 1, 0));
    assert!(is_kept(chunked(200_000, ""), HEAD, 1, 0));
    assert!(is_kept(sized(200_000), HEAD, 40, 0));
    assert!(is_kept(chunked(200_000, ""), HEAD, 40, 0));
    assert!(is_kept(sized(200_000), usize::MAX, 0, 0));
    assert!(is_kept(chunked(200_000, ""), usize::MAX, 0, 0));
    assert!(is_kept(sized(10), 45, 10, 0));
    assert!(is_kept(chunked(20_000, "X-Sum: 1\r\n"), 10_000, 10, 0));
    // The chunk that ends the body alone.
    assert!(is_kept(chunked(10_000, ""), 10_055, 30, 1));
}

#[test]
fn what_is_too_much_or_too_late_is_not() {
    assert!(!is_kept(sized(500_000), HEAD, 1, 0));
    assert!(!is_kept(chunked(500_000, ""), HEAD, 1, 0));
    // The clock of connections ticks every 64 ms.
    assert!(!is_kept(sized(100), HEAD, 150, 0));
    assert!(!is_kept(chunked(100, ""), HEAD, 150, 0));
    assert!(!is_kept(chunked(100, ""), 100, 200, 0));
    // Only the end of the connection would end it.
    let endless = b"HTTP/1.1 200 OK\r\n\r\nand so on".to_vec();
    assert!(!is_kept(endless, HEAD, 0, 0));
    let last =
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nand so on".to_vec();
    assert!(!is_kept(last, HEAD, 1, 0));
}

/// The bound is met to the byte.
#[test]
fn the_bound_of_bytes() {
    let head = sized(DRAIN_BYTES_MAX).len() - DRAIN_BYTES_MAX;
    assert!(is_kept(sized(DRAIN_BYTES_MAX), head, 1, 0));
    assert!(!is_kept(sized(DRAIN_BYTES_MAX + 1), head, 1, 0));
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".len();
    assert!(is_kept(chunked(DRAIN_BYTES_MAX, ""), head, 1, 0));
    assert!(!is_kept(chunked(DRAIN_BYTES_MAX + 1, ""), head, 1, 0));
}

/// Of a long body that was read for the most part only the rest counts (net/http: its length).
#[test]
fn the_rest_of_a_long_body() {
    run(async {
        let log = answering(sized(1_000_000), 900_000, 20).await;
        let client = Client::new();
        let mut response = client.get(url("/")).send().await?;
        let mut received = 0;
        while received < 800_000 {
            received += response.body_mut().chunk().await.expect("a chunk")?.len();
        }
        drop(response);
        pause(100).await;
        assert_eq!((log.connections(), pool(&client).idle), (1, 1));
        Ok(())
    });
}

/// What is known to be too long is not even begun; what is too late is closed after 50 ms.
#[test]
fn when_it_is_given_up() {
    for (response, expected) in [
        (sized(500_000), Duration::ZERO),
        (sized(100), RESPONSE_DRAIN_TIMEOUT),
        (chunked(500_000, ""), RESPONSE_DRAIN_TIMEOUT),
    ] {
        run(async {
            let log = answering(response, HEAD, 10_000).await;
            let client = Client::new();
            drop(client.get(url("/")).send().await?);
            let dropped_at = simulation::now();
            pause(1_000).await;
            let time = after(log.ended(0), dropped_at);
            match expected {
                Duration::ZERO => assert!(time < Duration::from_millis(1), "{time:?}"),
                expected => assert_about(time, expected),
            }
            Ok(())
        });
    }
}

/// Nobody waits for a drain: a request that comes meanwhile gets a connection of its own.
#[test]
fn a_request_meanwhile_dials() {
    run(async {
        let log = answering(sized(200_000), HEAD, 20).await;
        let client = Client::new();
        drop(client.get(url("/")).send().await?);
        let (time, second) = timed(client.get(url("/")).send()).await;
        assert!(time < Duration::from_millis(1), "{time:?}");
        assert_eq!(second?.bytes().await?.len(), 200_000);
        pause(100).await;
        assert_eq!((log.connections(), pool(&client).idle), (2, 2));
        Ok(())
    });
}

/// With one place, it waits: a drained connection serves who waits, a closed one makes room.
#[test]
fn a_request_that_has_to_wait_for_a_drain() {
    for (later, connections) in [(20, 1), (10_000, 2)] {
        run(async move {
            let log = answering(sized(200_000), HEAD, later).await;
            let client = Client::builder().per_host_max(1).build();
            drop(client.get(url("/")).send().await?);
            let (time, second) = timed(client.get(url("/")).send()).await;
            second?;
            assert!(time < Duration::from_millis(200), "{time:?}");
            assert_eq!(log.connections(), connections);
            Ok(())
        });
    }
}

/// Dropped with its request: the same, whatever time the caller had left.
#[test]
fn the_callers_time_is_over_while_it_drains() {
    run(async {
        let log = answering(sized(200_000), HEAD, 40).await;
        let client = Client::new();
        let request = client.get(url("/")).timeout(Duration::from_millis(20));
        drop(request.send().await?);
        pause(100).await;
        assert_eq!((log.connections(), pool(&client).idle), (1, 1));
        Ok(())
    });
}

/// What is wrong with the rest ends the connection, and tells nobody.
#[test]
fn a_rest_that_is_broken() {
    for rest in [
        "xyz\r\n",
        "5\r\nhello\r\n0\r\n\r\nbad",
        "0\r\nX-\0: 1\r\n\r\n",
    ] {
        run(async {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
            let log = answering([head, rest].concat().into(), head.len(), 10).await;
            let client = Client::new();
            drop(client.get(url("/")).send().await?);
            pause(100).await;
            assert_eq!((log.open(), pool(&client).connections), (0, 0));
            Ok(())
        });
    }
}

/// A body that failed has nothing to drain.
#[test]
fn a_body_that_failed() {
    run(async {
        let log = origin::listen(ADDRESS, |_| {
            let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nnonsense";
            vec![serve(move |_| vec![Do::Send(broken.into())])]
        })
        .await;
        let client = Client::new();
        for count in 1..3 {
            let mut response = client.get(url("/")).send().await?;
            let mut chunks: Vec<Result<_>> = Vec::new();
            while let Some(chunk) = response.body_mut().chunk().await {
                chunks.push(chunk);
            }
            assert!(chunks.last().unwrap().is_err());
            // Behind its end nothing more comes, as often as one asks.
            assert!(response.body_mut().chunk().await.is_none());
            drop(response);
            assert_eq!(log.connections(), count);
        }
        Ok(())
    });
}

/// A response that is taken apart: its body is dropped alone, or goes on alone.
#[test]
fn a_body_without_its_response() {
    run(async {
        let log = answering(sized(100_000), HEAD, 10).await;
        let client = Client::new();
        let body = client.get(url("/")).send().await?.into_body();
        assert_eq!(body.bytes().await?.len(), 100_000);
        let mut response = client.get(url("/")).send().await?;
        drop(response.take_body());
        pause(100).await;
        assert_eq!((log.connections(), pool(&client).idle), (1, 1));
        Ok(())
    });
}

/// Nobody is left to use the connection again: it closes when it is drained, or in time.
#[test]
fn a_client_that_goes_while_it_drains() {
    for later in [20, 10_000] {
        run(async move {
            let log = answering(sized(200_000), HEAD, later).await;
            let client = Client::new();
            let response = client.get(url("/")).send().await?;
            drop(client);
            drop(response);
            pause(200).await;
            assert_eq!((log.connections(), log.open()), (1, 0));
            Ok(())
        });
    }
}
