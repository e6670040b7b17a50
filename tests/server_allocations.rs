//! What a request to a synchronous handler allocates in steady state, counted by the allocator.
//!
//! Scope: the worker's thread, from accepted connections that have been used before: receive, parse,
//! route, handler, response, send. `GET /mark` notes the count from inside that thread.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use roundtrip::Request;
use roundtrip::Router;

mod counting;
mod server_support;

use counting::allocations;
use server_support::Peer;
use server_support::Serving;
use server_support::get;
use server_support::request;

/// The worker's count when `/mark` was asked last.
static MARK: AtomicU64 = AtomicU64::new(0);

fn serving() -> Serving {
    let router = Router::new()
        .get("/{$}", |_: &Request| "Hello, World!")
        .get("/users/{id}/{rest...}", |r: &Request| {
            assert_eq!(r.param("rest"), "a/b");
        })
        .post("/ignore", |_: &Request| "ignored")
        .get("/mark", |_: &Request| {
            MARK.store(allocations(), Ordering::SeqCst);
        });
    Serving::start(router)
}

fn mark(peer: &mut Peer) -> u64 {
    assert_eq!(peer.send(get("/mark")).answer().status, 200);
    MARK.load(Ordering::SeqCst)
}

/// Allocations of the worker during `rounds`, after as many to warm up.
fn measure(connections: usize, mut round: impl FnMut(&mut [Peer])) -> u64 {
    let serving = serving();
    let mut peers: Vec<Peer> = (0..connections).map(|_| serving.peer()).collect();
    for _ in 0..200 {
        round(&mut peers);
    }
    let before = mark(&mut peers[0]);
    for _ in 0..200 {
        round(&mut peers);
    }
    mark(&mut peers[0]) - before
}

fn ask_all(peers: &mut [Peer], text: &str, count: usize) {
    for peer in peers.iter_mut() {
        peer.send(text);
    }
    for peer in peers.iter_mut() {
        for _ in 0..count {
            assert_eq!(peer.answer().status, 200);
        }
    }
}

#[test]
fn one_connection() {
    let hello = get("/");
    assert_eq!(measure(1, |peers| ask_all(peers, &hello, 1)), 0);
}

#[test]
fn path_parameters() {
    let text = get("/users/7/a/b");
    assert_eq!(measure(1, |peers| ask_all(peers, &text, 1)), 0);
}

#[test]
fn many_connections() {
    let hello = get("/");
    assert_eq!(measure(64, |peers| ask_all(peers, &hello, 1)), 0);
}

#[test]
fn pipelined() {
    let text = get("/").repeat(16);
    assert_eq!(measure(1, |peers| ask_all(peers, &text, 16)), 0);
}

#[test]
fn a_body_that_the_handler_ignores() {
    let body = "x".repeat(1_000);
    let text = request("POST /ignore", &["Content-Length: 1000"], &body);
    assert_eq!(measure(1, |peers| ask_all(peers, &text, 1)), 0);
}

#[test]
fn a_chunked_body_that_the_handler_ignores() {
    let chunked = "5\r\nabcde\r\n0\r\n\r\n";
    let text = request("POST /ignore", &["Transfer-Encoding: chunked"], chunked);
    assert_eq!(measure(1, |peers| ask_all(peers, &text, 1)), 0);
}
