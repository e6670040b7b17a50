//! The client on another executor: tasks of tokio fetch side by side, with one pool.
//!
//! ```text
//!   tokio::spawn ─┐
//!   tokio::spawn ─┼─► spawned::Client ─► one thread with a ring   ─► servers
//!   tokio::spawn ─┘   (Send futures, Send bodies)
//! ```
//!
//! `cargo run --example other_executor -- http://127.0.0.1:8080/ http://127.0.0.1:8080/other`

use std::time::Duration;

use roundtrip::Client;
use roundtrip::client::spawned;

fn main() -> roundtrip::Result<()> {
    let client = Client::builder()
        .timeout(Duration::from_secs(30))
        .per_host_max(8)
        .spawned()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let tasks: Vec<_> = std::env::args()
        .skip(1)
        .map(|url| {
            let client = client.clone();
            runtime.spawn(async move {
                match size(&client, &url).await {
                    Ok(bytes) => println!("{bytes:>12} {url}"),
                    Err(error) => eprintln!("{error:#}"),
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
    Ok(())
}

/// Bytes of what is there. What this does not read, the server does not send.
async fn size(client: &spawned::Client, url: &str) -> roundtrip::Result<u64> {
    let response = client.get(url).send().await?;
    let mut response = response.error_for_status()?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await? {
        bytes += chunk.len() as u64;
    }
    Ok(bytes)
}
