//! What stands around a client's connections: a log, retries, credentials, a field of one's own;
//! and a fake in their place, for tests. `middleware URL` fetches.

use std::time::Duration;

use roundtrip::client::{Next, RetryPolicy, middleware};
use roundtrip::{Client, Request, Response, StatusCode};

fn main() -> roundtrip::Result<()> {
    let builder = Client::builder()
        .timeout(Duration::from_secs(30))
        // The first is outermost: a line for each request, however often it is sent.
        .middleware(middleware::logging(|entry| eprintln!("{entry}")))
        .retry(RetryPolicy::new().attempts_max(4))
        // Goes to its origin alone, wherever redirects lead.
        .middleware(middleware::bearer("https://api.example", "secret")?)
        .wrap(async |mut request: Request, next: Next| {
            request.headers_mut().insert("X-Request-Id", "7")?;
            next.run(request).await
        });
    let (client, url) = match std::env::args().nth(1) {
        Some(url) => (builder.build(), url),
        // Without a URL there is no network: the third answer is a good one.
        None => {
            let fake = builder.transport(third_time_lucky);
            (fake.build(), "http://a.example/".to_owned())
        }
    };
    let text = roundtrip::block_on(async {
        let response = client.get(url).send().await?;
        response.error_for_status()?.text().await
    })?;
    println!("{text}");
    Ok(())
}

/// A fake is any asynchronous closure from a request to a response.
fn third_time_lucky() -> impl roundtrip::RoundTrip {
    let count = std::cell::Cell::new(0);
    async move |request: Request| {
        count.set(count.get() + 1);
        Ok(match count.get() {
            3 => Response::new().body(format!("hello, {}", request.path())),
            _ => Response::new().status(StatusCode::SERVICE_UNAVAILABLE),
        })
    }
}
