//! What a server with all kinds of handlers looks like, and a client:
//! `tour` serves on port 8080, `tour URL` fetches.

use std::time::Duration;

use roundtrip::{Client, Request, Response, Router, Server};

fn main() -> roundtrip::Result<()> {
    if let Some(url) = std::env::args().nth(1) {
        return fetch(&url);
    }
    let client = Client::new(); // Clone + Send + Sync; one pool per core behind it
    let router = Router::new()
        // `/{$}` is the root alone: `/` would answer every path, and nothing would be 404.
        .get("/{$}", |_: &Request| "Hello, World!") // synchronous: runs inline, allocates nothing
        .get("/users/{id}", |r: &Request| {
            format!("user {}", r.param("id"))
        })
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        }) // streamed through, back-pressured
        .get("/mirror", async move |_: Request| {
            client.get("http://127.0.0.1:9000/").send().await
        })
        .route(
            "GET example.com/files/{path...}",
            roundtrip::files::serve("public"),
        );
    Server::new(router)
        .bind("127.0.0.1:8080")?
        .on_listening(|addresses| println!("listening on http://{}", addresses[0]))
        .on_handler_error(|failed| eprintln!("{failed}")) // what clients see as 502
        .run() // a worker per core; SIGTERM drains
}

fn fetch(url: &str) -> roundtrip::Result<()> {
    let text = roundtrip::block_on(async {
        let request = Client::new().get(url).timeout(Duration::from_secs(5));
        let response = request.send().await?;
        response.error_for_status()?.text().await
    })?;
    println!("{text}");
    let again = roundtrip::blocking::get(url)?.text()?; // the same machine, on the calling thread
    println!("{again}");
    Ok(())
}
