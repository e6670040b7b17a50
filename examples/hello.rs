//! The smallest server: `hello [ADDR] [WORKERS]` answers `GET /` with `Hello, World!`.

use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;

fn main() -> std::process::ExitCode {
    match serve() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn serve() -> roundtrip::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let router = Router::new().get("/{$}", |_: &Request| "Hello, World!");
    let mut server = Server::new(router).bind(address)?;
    if let Some(workers) = arguments.next().and_then(|count| count.parse().ok()) {
        server = server.workers(workers);
    }
    server
        .on_listening(|addresses| {
            for address in addresses {
                println!("listening on http://{address}");
            }
        })
        .run()
}
