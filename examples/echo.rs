//! Sends back what it gets: `echo [ADDR] [WORKERS] [TIMEOUT_SECONDS]`.
//!
//! ```text
//!   GET /       hello
//!   POST /echo  the body of the request, streamed
//! ```

use std::time::Duration;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;

fn main() -> std::process::ExitCode {
    match serve() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn serve() -> roundtrip::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let workers = arguments.next().and_then(|count| count.parse().ok());
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());

    let router = Router::new()
        .get("/{$}", |_: &Request| "hello")
        .post("/echo", async |request: Request| {
            Response::new().body(request.into_body())
        })
        // A method that does not fit is not found either.
        .any("/", |_: &Request| ::http::StatusCode::NOT_FOUND);
    let mut server = Server::new(router).bind(address)?;
    if let Some(workers) = workers {
        server = server.workers(workers);
    }
    if let Some(timeout) = seconds.map(Duration::from_secs) {
        server = server
            .header_timeout(timeout)
            .body_timeout(timeout)
            .write_timeout(timeout)
            .idle_timeout(timeout);
    }
    server
        .on_handler_error(|failed| eprintln!("{failed}"))
        .on_listening(|addresses| {
            for address in addresses {
                println!("listening on http://{address}");
            }
        })
        .run()
}
