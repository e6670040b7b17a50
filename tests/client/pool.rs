//! Which connection a request gets, and what becomes of it.

use std::io::BufReader;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::client::Client;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::runtime;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::read_request;
use crate::peer::run;
use crate::peer::until;

#[test]
fn one_connection_serves_request_after_request() {
    let peer = Peer::answering(|seen| ok(format!("{} {}", seen.connection, seen.index)));
    run(async {
        let client = Client::new();
        for index in 0..20 {
            let text = client.get(peer.url("/")).send().await?.text().await?;
            assert_eq!(text, format!("0 {index}"));
        }
        let stats = client.stats().unwrap();
        assert_eq!(stats.pool.connected_total, 1);
        assert_eq!(stats.pool.reused_total, 19);
        assert_eq!(stats.pool.idle, 1);
        Ok(())
    });
}

#[test]
fn clones_share_and_other_clients_do_not() {
    let peer = Peer::answering(|seen| ok(format!("{}", seen.connection)));
    run(async {
        let client = Client::new();
        client.get(peer.url("/")).send().await?.text().await?;
        let text = client
            .clone()
            .get(peer.url("/"))
            .send()
            .await?
            .text()
            .await?;
        assert_eq!(text, "0");
        let text = Client::new()
            .get(peer.url("/"))
            .send()
            .await?
            .text()
            .await?;
        assert_eq!(text, "1");
        until("the other client's connection closes with it", || {
            peer.ended() == 1
        })
        .await;
        drop(client);
        until("the connections close with the last clone", || {
            peer.ended() == 2
        })
        .await;
        Ok(())
    });
}

#[test]
fn a_server_that_closes_is_not_asked_again() {
    let peer = Peer::answering(|seen| match seen.index {
        0 => ok("first"),
        _ => Vec::new(),
    });
    let closing = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        read_request(&mut reader, 0, 0).unwrap();
        socket.write_all(&ok("once")).unwrap();
    });
    run(async {
        drop(peer);
        let client = Client::new();
        for round in 1..=5 {
            let text = client.get(closing.url("/")).send().await?.text().await?;
            assert_eq!(text, "once");
            until("the peer closes", || closing.ended() == round).await;
            until("the pool knows", || {
                client.stats().unwrap().pool.connections == 0
            })
            .await;
        }
        assert_eq!(client.stats().unwrap().retries_total, 0);
        assert_eq!(client.stats().unwrap().pool.hosts, 0);
        Ok(())
    });
}

#[test]
fn connection_close_is_obeyed_on_both_sides() {
    let peer = Peer::answering(|seen| {
        if seen
            .fields
            .get("connection")
            .is_some_and(|value| value == "close")
        {
            return ok("you asked");
        }
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nI asked".to_vec()
    });
    run(async {
        let client = Client::new();
        let text = client.get(peer.url("/")).send().await?.text().await?;
        assert_eq!(text, "I asked");
        until("our side closes", || peer.ended() == 1).await;
        let asked = client.get(peer.url("/")).header("Connection", "close");
        assert_eq!(asked.send().await?.text().await?, "you asked");
        until("our side closes", || peer.ended() == 2).await;
        assert_eq!(client.stats().unwrap().pool.connections, 0);

        let unpooled = Client::builder().idle_per_host_max(0).build();
        let text = unpooled.get(peer.url("/")).send().await?.text().await?;
        assert_eq!(text, "you asked");
        until("our side closes", || peer.ended() == 3).await;
        Ok(())
    });
}

#[test]
fn a_lost_reused_connection_is_replaced_for_requests_that_may_be_repeated() {
    // The first connection answers once, and then takes a request and closes without a word.
    let peer = Peer::answering(|seen| match (seen.connection % 2, seen.index) {
        (0, 1) => Vec::new(),
        _ => ok(&seen.line),
    });
    run(async {
        let client = Client::new();
        client.get(peer.url("/a")).send().await?.text().await?;
        let text = client.get(peer.url("/b")).send().await?.text().await?;
        assert_eq!(text, "GET /b HTTP/1.1");
        assert_eq!(peer.accepted(), 2);
        assert_eq!(client.stats().unwrap().retries_total, 1);
        client.close_idle();

        client.get(peer.url("/a")).send().await?.text().await?;
        let error = client
            .post(peer.url("/c"))
            .body("x")
            .send()
            .await
            .unwrap_err();
        assert!(error.is_closed(), "{error}");
        assert_eq!(
            peer.accepted(),
            3,
            "it is not known what the server did with it"
        );

        client.close_idle();
        let other = client.get(peer.url("/a")).send().await?.text().await?;
        assert_eq!(other, "GET /a HTTP/1.1");
        Ok(())
    });
}

#[test]
fn a_fresh_connection_that_is_lost_is_an_error() {
    let peer = Peer::answering(|_| Vec::new());
    run(async {
        let error = Client::new().get(peer.url("/")).send().await.unwrap_err();
        assert!(error.is_closed(), "{error}");
        assert_eq!(peer.accepted(), 1);
        Ok(())
    });
}

#[test]
fn a_request_with_an_idempotency_key_is_repeated() {
    let peer = Peer::answering(|seen| match (seen.connection, seen.index) {
        (0, 1) => Vec::new(),
        _ => ok(&seen.body),
    });
    run(async {
        let client = Client::new();
        client.get(peer.url("/")).send().await?.text().await?;
        let request = client.post(peer.url("/")).header("Idempotency-Key", "7");
        let text = request.body("again").send().await?.text().await?;
        assert_eq!(text, "again");
        assert_eq!(peer.accepted(), 2);
        Ok(())
    });
}

#[test]
fn bytes_behind_a_response_close_the_connection() {
    let peer = Peer::answering(|_| {
        let mut bytes = ok("one");
        bytes.extend_from_slice(&ok("too many"));
        bytes
    });
    run(async {
        let client = Client::new();
        for count in 1..4 {
            let text = client.get(peer.url("/")).send().await?.text().await?;
            assert_eq!(text, "one");
            assert_eq!(peer.accepted(), count);
        }
        Ok(())
    });
}

#[test]
fn bytes_on_an_idle_connection_close_it() {
    let peer = Peer::start(|_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        while read_request(&mut reader, 0, 0).is_some() {
            socket.write_all(&ok("one")).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            let _ = socket.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
        }
    });
    run(async {
        let client = Client::new();
        client.get(peer.url("/")).send().await?.text().await?;
        until("the pool is empty", || {
            client.stats().unwrap().pool.connections == 0
        })
        .await;
        client.get(peer.url("/")).send().await?.text().await?;
        assert_eq!(peer.accepted(), 2);
        Ok(())
    });
}

/// Answers with a head and a body of `len` bytes, of which `now` come at once and the rest when
/// asked to.
fn slow(len: usize, now: usize, go: Arc<AtomicBool>) -> Peer {
    Peer::start(move |_, mut socket| {
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        while read_request(&mut reader, 0, 0).is_some() {
            let mut bytes = ok(vec![b'x'; len]);
            let rest = bytes.split_off(bytes.len() - (len - now));
            socket.write_all(&bytes).unwrap();
            while !go.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            if socket.write_all(&rest).is_err() {
                return;
            }
        }
    })
}

#[test]
fn the_rest_of_a_dropped_body_is_drained() {
    let go = Arc::new(AtomicBool::new(false));
    let peer = slow(100_000, 10, Arc::clone(&go));
    run(async {
        // The rest has 50 ms to come; on a busy machine the peer may need more than one try.
        for _ in 0..20 {
            let client = Client::new();
            go.store(false, Ordering::SeqCst);
            let response = client.get(peer.url("/")).send().await?;
            drop(response);
            go.store(true, Ordering::SeqCst);
            let pool = || client.stats().unwrap().pool;
            until("drained, or given up", || {
                pool().idle == 1 || pool().connections == 0
            })
            .await;
            if pool().idle == 1 {
                let text = client.get(peer.url("/")).send().await?.text().await?;
                assert_eq!(text.len(), 100_000);
                assert_eq!(pool().connected_total, 1);
                return Ok(());
            }
        }
        panic!("a dropped body was never drained in time");
    });
}

#[test]
fn what_takes_too_long_to_drain_is_closed() {
    let go = Arc::new(AtomicBool::new(false));
    let late = slow(100, 10, Arc::clone(&go));
    let large = slow(1_000_000, 10, Arc::new(AtomicBool::new(true)));
    run(async {
        let client = Client::new();
        drop(client.get(late.url("/")).send().await?);
        until("given up", || client.stats().unwrap().pool.connections == 0).await;
        go.store(true, Ordering::SeqCst);

        let mut response = client.get(large.url("/")).send().await?;
        response.body_mut().chunk().await.unwrap()?;
        drop(response);
        until("given up", || client.stats().unwrap().pool.connections == 0).await;
        Ok(())
    });
}

#[test]
fn a_peer_that_waits_for_room_hears_that_nobody_reads() {
    const PEERS: usize = 12;
    let peer = Peer::answering(|_| ok(vec![7; 9_000_000]));
    for _ in 0..PEERS {
        // The core ends with a body half read, and nothing unread in the kernel, as it may be.
        run(async {
            let mut response = Client::new().get(peer.url("/")).send().await?;
            response.body_mut().chunk().await.unwrap()
        });
    }
    // An end alone would leave it at probing a window that is closed, for a minute.
    run(async {
        until("the ends of all", || peer.ended() == PEERS).await;
        Ok(())
    });
}

#[test]
fn a_full_host_makes_requests_wait_in_order() {
    let peer = Peer::answering(|seen| {
        std::thread::sleep(Duration::from_millis(5));
        ok(format!("{} {}", seen.index, seen.line))
    });
    run(async {
        let client = Client::builder().per_host_max(1).build();
        let mut tasks = Vec::new();
        for index in 0..8 {
            let request = client.get(peer.url(&format!("/{index}")));
            tasks.push(runtime::spawn(async { request.send().await?.text().await }));
        }
        for (index, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await??, format!("{index} GET /{index} HTTP/1.1"));
        }
        assert_eq!(peer.accepted(), 1);
        Ok(())
    });
}

#[test]
fn a_connection_that_had_a_large_body_serves_who_waits_for_it() {
    const BYTES: usize = 400_000;
    let peer = Peer::answering(|seen| ok(vec![b'x'; BYTES / (1 + seen.index)]));
    run(async {
        let client = Client::builder().per_host_max(1).build();
        let get = || {
            let request = client.get(peer.url("/"));
            runtime::spawn(async { request.send().await?.bytes().await })
        };
        let tasks: Vec<_> = (0..4).map(|_| get()).collect();
        for (index, task) in tasks.into_iter().enumerate() {
            let body = runtime::timeout(Duration::from_secs(5), task).await???;
            assert_eq!(body.len(), BYTES / (1 + index));
        }
        assert_eq!(peer.accepted(), 1);
        Ok(())
    });
}

#[test]
fn idle_connections_have_a_bound_and_an_end() {
    let peer = Peer::answering(|_| {
        std::thread::sleep(Duration::from_millis(20));
        ok("x")
    });
    run(async {
        let client = Client::builder()
            .idle_per_host_max(2)
            .idle_timeout(Duration::from_millis(300))
            .build();
        let mut tasks = Vec::new();
        for _ in 0..5 {
            let request = client.get(peer.url("/"));
            tasks.push(runtime::spawn(async { request.send().await?.text().await }));
        }
        for task in tasks {
            task.await??;
        }
        until("three are closed", || peer.ended() == 3).await;
        assert_eq!(client.stats().unwrap().pool.idle, 2);
        until("the rest has rested enough", || peer.ended() == 5).await;
        assert_eq!(client.stats().unwrap().pool.connections, 0);
        Ok(())
    });
}

#[test]
fn a_dropped_request_disturbs_no_other() {
    let peer = Peer::answering(|seen| {
        if seen.line.contains("/slow") {
            std::thread::sleep(Duration::from_millis(200));
        }
        ok(&seen.line)
    });
    run(async {
        let client = Client::new();
        // Before it is sent, while its dial is under way, and while the answer is awaited.
        drop(client.get(peer.url("/slow")).send());
        let soon = client.get(peer.url("/slow")).send();
        assert!(runtime::timeout(Duration::ZERO, soon).await.is_err());
        let later = client.get(peer.url("/slow")).send();
        assert!(
            runtime::timeout(Duration::from_millis(50), later)
                .await
                .is_err()
        );
        for index in 0..10 {
            let line = format!("GET /{index} HTTP/1.1");
            let request = client.get(peer.url(&format!("/{index}")));
            assert_eq!(request.send().await?.text().await?, line);
        }
        until("the connection of the dropped request is closed", || {
            client.stats().unwrap().pool.connections == client.stats().unwrap().pool.idle
        })
        .await;
        Ok(())
    });
}

#[test]
fn a_connection_for_a_client_that_is_gone_is_closed() {
    let peer = Peer::answering(|_| ok("x"));
    run(async {
        // The dial is under way and goes on: its connection has nobody to rest for.
        let request = Client::new().get(peer.url("/")).send();
        assert!(runtime::timeout(Duration::ZERO, request).await.is_err());
        until("it is closed", || peer.accepted() == 1 && peer.ended() == 1).await;
        Ok(())
    });
}

#[test]
fn the_last_clone_closes_what_rests_on_other_cores_too() {
    let peer = Peer::answering(|_| ok("x"));
    run(async {
        let client = Client::new();
        client.get(peer.url("/")).send().await?.text().await?;
        assert_eq!(client.stats().map(|stats| stats.pool.idle), Some(1));
        // The last clone goes where no core runs; a request that waits to be sent is no clone.
        let request = client.get(peer.url("/"));
        std::thread::spawn(move || drop(client)).join().unwrap();
        assert_eq!(request.send().await?.text().await?, "x");
        until("the connection is closed", || peer.ended() == 1).await;
        assert_eq!(peer.accepted(), 1);
        Ok(())
    });
}

#[test]
fn a_request_is_sent_on_the_core_that_runs() {
    let peer = Peer::answering(|_| ok("x"));
    let url = peer.url("/");
    let client = Client::new();
    let request = run(async { Ok(client.get(&url)) });
    let text = run(async { request.send().await?.text().await });
    assert_eq!(text, "x");
    let request = client.get(&url);
    assert_eq!(run(async { request.send().await?.text().await }), "x");
    let request = run(async { Ok(client.get(&url)) });
    drop(client);
    let error = run(async { Ok(request.send().await.unwrap_err()) });
    assert_eq!(error.kind(), ErrorKind::Shutdown);
}

#[test]
fn waiting_for_a_connection_has_an_end_and_a_bound() {
    let peer = Peer::answering(|_| ok(vec![b'x'; 8 * 1024 * 1024]));
    run(async {
        let builder = Client::builder().per_host_max(1).waiting_max(1);
        let client = builder.pool_timeout(Duration::from_millis(500)).build();
        // Its body is not read, so its connection is not given back.
        let held = client.get(peer.url("/")).send().await?;
        let second = runtime::spawn(client.get(peer.url("/")).send());
        until("it waits", || client.stats().unwrap().pool.waiting == 1).await;
        let error = client.get(peer.url("/")).send().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Limit, Some(Phase::Pool))
        );
        assert!(error.to_string().contains("waiting_max"), "{error}");
        let error = second.await?.unwrap_err();
        assert!(
            error.is_timeout() && error.to_string().contains("pool_timeout"),
            "{error}"
        );
        drop(held);
        Ok(())
    });
}

#[test]
fn nothing_secret_is_shown() {
    let builder = Client::builder()
        .base_url("http://me:secret@a.example/")
        .unwrap();
    let builder = builder
        .default_headers([("Authorization", "Bearer secret")])
        .unwrap();
    let shown = format!("{builder:?} {:?}", builder.clone().build());
    assert!(
        shown.contains("a.example") && !shown.contains("secret"),
        "{shown}"
    );
}
