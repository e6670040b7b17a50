//! What a server with all kinds of handlers looks like.

use roundtrip::{Client, Request, Response, Router, Server};

fn main() -> roundtrip::Result<()> {
    let client = Client::new(); // Clone + Send + Sync; one pool per core behind it
    let router = Router::new()
        .get("/", |_: &Request| "Hello, World!") // synchronous: runs inline, allocates nothing
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
    Server::new(router).bind("127.0.0.1:8080")?.run() // a worker per core; SIGTERM drains
}
