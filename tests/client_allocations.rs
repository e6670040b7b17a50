//! What a request on a reused connection allocates, counted by the allocator.
//!
//! Scope: this thread, from `Transport::send` with a request that was made before, over the pool,
//! the exchange, the send and the receive, to the last byte of the body and the drop of response
//! and request; or from `Client::get`, to the same end. The peer runs on another thread and is not
//! counted; making the `Url` is not in it.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use http::Method;
use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::blocking;
use roundtrip::client::Next;
use roundtrip::client::Transport;
use roundtrip::client::TransportOptions;
use roundtrip::runtime;
use url::Url;

mod counting;

use counting::allocations;

/// Answers every request on its one connection with `response`; requests are small enough to come
/// in one piece.
fn peer(response: &'static [u8]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut request = [0; 4096];
        while socket.read(&mut request).is_ok_and(|len| len > 0) {
            socket.write_all(response).unwrap();
        }
    });
    Url::parse(&format!("http://{address}/path?query")).unwrap()
}

/// Requests that are made before the counting begins, and then sent one after the other.
const ROUND: usize = 8;
const WARM_UP_ROUNDS: usize = 25;
const MEASURED_ROUNDS: usize = 125;
const WARM_UP: usize = ROUND * WARM_UP_ROUNDS;
const MEASURED: usize = ROUND * MEASURED_ROUNDS;

async fn exchange(transport: &Transport, request: Request) -> Result<()> {
    let response = transport.send(request).await?;
    assert_eq!(response.status_code(), 200);
    let mut body = response.into_body();
    let mut len = 0;
    while let Some(chunk) = body.chunk().await {
        len += chunk?.len();
    }
    assert_eq!(len, 13);
    Ok(())
}

fn measured(response: &'static [u8], method: Method, body: Option<&'static str>) -> u64 {
    let url = peer(response);
    runtime::block_on(async {
        let transport = Transport::new(TransportOptions::default())?;
        let request = || {
            let mut request = Request::new(method.clone(), url.clone());
            request.headers_mut().append("Accept", "*/*")?;
            if let Some(body) = body {
                request.set_body(body);
            }
            Ok::<_, roundtrip::Error>(request)
        };
        let mut counted = 0;
        for round in 0..WARM_UP_ROUNDS + MEASURED_ROUNDS {
            let requests: [_; ROUND] = std::array::from_fn(|_| request());
            let before = allocations();
            for request in requests {
                exchange(&transport, request?).await?;
            }
            if round >= WARM_UP_ROUNDS {
                counted += allocations() - before;
            }
        }
        assert_eq!(transport.stats().pool.connected_total, 1);
        Ok::<_, roundtrip::Error>(counted)
    })
    .unwrap()
}

#[test]
fn transport_and_pool_allocate_nothing_for_a_get_on_a_reused_connection() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nServer: x\r\n\r\nHello, World!";
    assert_eq!(measured(response, Method::GET, None), 0);
}

#[test]
fn transport_and_pool_allocate_nothing_for_a_post_on_a_reused_connection() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!";
    assert_eq!(measured(response, Method::POST, Some("a static body")), 0);
}

#[test]
fn transport_and_pool_allocate_nothing_for_a_chunked_response() {
    let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                     d\r\nHello, World!\r\n0\r\n\r\n";
    assert_eq!(measured(response, Method::GET, None), 0);
}

#[test]
fn the_client_allocates_twice_beside_the_url_that_it_is_given() {
    let url = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!");
    let counted = runtime::block_on(async {
        let client = Client::new();
        let urls = vec![url; WARM_UP + MEASURED];
        let mut before = 0;
        for (index, url) in urls.into_iter().enumerate() {
            if index == WARM_UP {
                before = allocations();
            }
            let response = client.get(url).send().await?;
            assert_eq!(response.bytes().await?, "Hello, World!");
        }
        Ok::<_, roundtrip::Error>(allocations() - before)
    })
    .unwrap();
    assert!(counted <= 2 * MEASURED as u64, "{counted} for {MEASURED}");
}

/// The URL that is kept for the response, one box, and the URL of the copy for a redirect.
#[test]
fn a_middleware_allocates_once_beside_the_copy_for_a_redirect() {
    let count = |redirects_max: usize| {
        let url = peer(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!");
        runtime::block_on(async {
            let client = Client::builder()
                .redirects_max(redirects_max)
                .wrap(async |request: Request, next: Next| next.run(request).await)
                .build();
            let urls = vec![url; WARM_UP + MEASURED];
            let mut before = 0;
            for (index, url) in urls.into_iter().enumerate() {
                if index == WARM_UP {
                    before = allocations();
                }
                let response = client.get(url).send().await?;
                assert_eq!(response.bytes().await?, "Hello, World!");
            }
            Ok::<_, roundtrip::Error>(allocations() - before)
        })
        .unwrap()
    };
    let measured = MEASURED as u64;
    let (without, with) = (count(0), count(10));
    assert!(without <= 2 * measured, "{without} for {measured}");
    assert!(with <= 3 * measured, "{with} for {measured}");
}

/// Requests of the client without a runtime, whose core this thread keeps.
fn measured_blocking(response: &'static [u8], read: impl Fn(blocking::Response)) -> u64 {
    let url = peer(response);
    let client = blocking::Client::new();
    let urls = vec![url; WARM_UP + MEASURED];
    let mut before = 0;
    for (index, url) in urls.into_iter().enumerate() {
        if index == WARM_UP {
            before = allocations();
        }
        read(client.get(url).send().unwrap());
    }
    allocations() - before
}

#[test]
fn the_blocking_client_allocates_twice_beside_the_url_that_it_is_given() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!";
    let counted = measured_blocking(response, |response| {
        assert_eq!(response.bytes().unwrap(), "Hello, World!");
    });
    assert!(counted <= 2 * MEASURED as u64, "{counted} for {MEASURED}");
}

#[test]
fn the_blocking_client_allocates_no_more_for_a_body_that_is_read_in_pieces() {
    let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                     6\r\nHello,\r\n7\r\n World!\r\n0\r\n\r\n";
    let counted = measured_blocking(response, |mut response| {
        let mut body = [0; 32];
        let mut len = 0;
        while let read @ 1.. = response.read(&mut body[len..]).unwrap() {
            len += read;
        }
        assert_eq!(&body[..len], b"Hello, World!");
    });
    assert!(counted <= 2 * MEASURED as u64, "{counted} for {MEASURED}");
}
