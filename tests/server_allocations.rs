//! What a request to a synchronous handler allocates in steady state, counted by the allocator.
//!
//! Scope: the worker's thread, from accepted connections that have been used before: receive, parse,
//! route, handler, response, send. `GET /mark` notes the count from inside that thread.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use roundtrip::Request;
use roundtrip::Response;
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
        .nest("/around", around())
        .get("/mark", |_: &Request| {
            MARK.store(allocations(), Ordering::SeqCst);
        });
    Serving::start(router)
}

/// Every synchronous form, in two routers.
fn around() -> Router {
    let inner = Router::new()
        .get("/{id}", |_: &Request| "inside")
        .before(|request: &mut Request| match request.param("id") {
            "stop" => Some("stopped"),
            _ => None,
        })
        .after(|response: Response| response.header("X-After", "yes"));
    Router::new()
        .nest("/inner", inner)
        .around(|request: &mut Request| {
            let is_get = request.method() == "GET";
            move |response: Response| match is_get {
                true => response.header("X-Around", "yes"),
                false => response,
            }
        })
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
fn synchronous_middleware() {
    for text in [get("/around/inner/7"), get("/around/inner/stop")] {
        assert_eq!(measure(1, |peers| ask_all(peers, &text, 1)), 0, "{text}");
    }
    let serving = serving();
    let answer = serving.peer().send(get("/around/inner/7")).answer();
    assert_eq!(answer.text(), "inside");
    assert_eq!(answer.field("x-after"), Some("yes"));
    assert_eq!(answer.field("x-around"), Some("yes"));
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
