//! The server that all clients are measured against: ours, one worker. `GET /` and `GET /close`
//! answer 13 bytes, the latter with `Connection: close`; `GET /connections` says how many connections
//! were accepted.
//!
//! It listens on several ports: a closed connection keeps its two port numbers busy for a minute, so
//! that one port would run out of peers' numbers when each request takes a connection.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::OnceLock;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;

/// Ports, each printed on a line.
const PORTS: usize = 16;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> roundtrip::Result<()> {
    let handle = Arc::new(OnceLock::<roundtrip::server::ServerHandle>::new());
    let count = Arc::clone(&handle);
    let router = Router::new()
        .get("/{$}", |_: &Request| shared::HELLO)
        .get("/close", |_: &Request| {
            let response = Response::new().header("Connection", "close");
            response
                .content_type("text/plain; charset=utf-8")
                .body(shared::HELLO)
        })
        .get("/connections", move |_: &Request| {
            let statistics = count.get().map(|handle| handle.statistics());
            statistics.map_or_else(String::new, |now| now.connections_accepted.to_string())
        });
    let mut server = Server::new(router).workers(1);
    for _ in 0..PORTS {
        server = server.bind("127.0.0.1:0")?;
    }
    let _ = handle.set(server.handle());
    for address in server.addresses() {
        println!("listening on http://{address}");
    }
    server.run()
}
