//! What a pool of connections is worth: requests per second with connections that are reused, that
//! the client does not keep, and that the server closes. `pool [REQUESTS]` serves and asks itself.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::runtime;

fn main() -> Result<()> {
    let requests = std::env::args().nth(1).and_then(|n| n.parse().ok());
    let requests = requests.unwrap_or(10_000);
    let router = Router::new()
        .get("/{$}", |_: &Request| "Hello, World!")
        .get("/close", |_: &Request| {
            let response = Response::new().header("Connection", "close");
            response.body("Hello, World!")
        });
    let server = Server::new(router).bind("127.0.0.1:0")?.workers(1);
    let handle = server.handle();
    let address = handle.local_addr().expect("it is bound");
    let (serving, served) = mpsc::channel();
    thread::spawn(move || serving.send(server.run()));

    let (kept, closed) = (
        format!("http://{address}/"),
        format!("http://{address}/close"),
    );
    for in_flight in [1, 64] {
        println!("{requests} requests, {in_flight} in flight");
        // The default keeps 32; with 64 in flight, 64 are used.
        let pooled = || Client::builder().idle_per_host_max(in_flight);
        let not_pooled = Client::builder().keep_alive(false);
        measure("reused", pooled().build(), &kept, requests, in_flight)?;
        measure("not kept", not_pooled.build(), &kept, requests, in_flight)?;
        measure(
            "closed by the server",
            pooled().build(),
            &closed,
            requests,
            in_flight,
        )?;
    }
    handle.shutdown();
    served.recv().expect("the server returns")
}

/// Sends the requests on a core of this thread, and prints how that went.
fn measure(name: &str, client: Client, url: &str, requests: usize, in_flight: usize) -> Result<()> {
    runtime::block_on(async {
        let each = requests.div_ceil(in_flight);
        let start = Instant::now();
        let one = |_| {
            let (client, url) = (client.clone(), url.to_owned());
            runtime::spawn(async move { get(&client, &url, each).await })
        };
        let tasks: Vec<_> = (0..in_flight).map(one).collect();
        for task in tasks {
            task.await??;
        }
        let per_second = (each * in_flight) as f64 / start.elapsed().as_secs_f64();
        println!("  {name}: {per_second:.0} requests/s");
        println!("    {:?}", client.stats().expect("it was used here"));
        Ok(())
    })
}

/// One request after the other; each body is read, so that its connection can serve the next.
async fn get(client: &Client, url: &str, requests: usize) -> Result<()> {
    for _ in 0..requests {
        let response = client.get(url).send().await?.error_for_status()?;
        assert_eq!(response.text().await?, "Hello, World!");
    }
    Ok(())
}
