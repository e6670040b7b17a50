//! Tasks with our asynchronous client: whole exchanges, which must be right, and such as are given
//! up somewhere.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Result;
use roundtrip::http::response::Response;
use roundtrip::runtime;

use crate::Targets;
use crate::content;
use crate::content::Reading;
use crate::random::Random;
use crate::server::stream;

/// Bytes of the largest body that is sent or asked for.
pub const BODY_BYTES_MAX: usize = 400_000;
/// How long a server that does not play fair may take.
const HOSTILE_TIMEOUT: Duration = Duration::from_millis(300);

/// One request after the other until `end`.
pub async fn run(client: Client, targets: Arc<Targets>, mut random: Random, end: Instant) {
    while Instant::now() < end {
        targets.done.count_request();
        let act = random.below(20);
        match act {
            0..12 => exchange(&client, &targets, &mut random).await.unwrap(),
            12..15 => {
                let delay = Duration::from_micros(random.spread(5_000) as u64);
                let whole = exchange(&client, &targets, &mut random);
                match runtime::timeout(delay, whole).await {
                    Ok(result) => result.unwrap(),
                    Err(_) => targets.done.count_canceled(),
                }
            }
            15 => part_of_a_body(&client, &targets, &mut random)
                .await
                .unwrap(),
            16 => in_time(&client, &targets, &mut random).await,
            17 => refused(&client, &targets, &mut random).await,
            18 => hostile(&client, &targets).await,
            _ => {
                // With connections of its own, which close with it.
                let own = Client::new();
                exchange(&own, &targets, &mut random).await.unwrap();
            }
        }
        if random.below(8) == 0 {
            runtime::sleep(Duration::from_micros(random.spread(20_000) as u64)).await;
        }
    }
}

/// One request whose response must come, and be right.
async fn exchange(client: &Client, targets: &Targets, random: &mut Random) -> Result<()> {
    let (seed, bytes) = (random.below(256), random.spread(BODY_BYTES_MAX));
    match random.below(8) {
        0 | 1 => {
            let text = client
                .get(targets.url("/sync"))
                .send()
                .await?
                .text()
                .await?;
            assert_eq!(text, "hello");
        }
        2 => {
            let text = client
                .get(targets.url("/async"))
                .send()
                .await?
                .text()
                .await?;
            assert_eq!(text, "waited");
        }
        3 => {
            let url = targets.url(&format!("/stream/{seed}/{bytes}"));
            read(client.get(url).send().await?, targets, seed, bytes).await?;
        }
        4 => {
            let file = &targets.files[random.below(targets.files.len())];
            if random.below(4) == 0 {
                file.evict();
            }
            let url = targets.url(&format!("/files/{}", file.name));
            read(
                client.get(url).send().await?,
                targets,
                file.seed,
                file.bytes,
            )
            .await?;
        }
        5 => {
            let request = client.post(targets.url("/echo"));
            let response = request.body(content::body(seed, bytes)).send().await?;
            read(response, targets, seed, bytes).await?;
        }
        6 => {
            let request = client.post(targets.url("/echo"));
            let response = request.body(stream(seed, bytes)).send().await?;
            read(response, targets, seed, bytes).await?;
        }
        _ => {
            let request = client.post(targets.url("/length"));
            let text = request
                .body(stream(seed, bytes))
                .send()
                .await?
                .text()
                .await?;
            assert_eq!(text, bytes.to_string());
        }
    }
    Ok(())
}

/// Reads a body to its end.
async fn read(mut response: Response, targets: &Targets, seed: usize, bytes: usize) -> Result<()> {
    assert_eq!(response.status_code(), 200);
    let mut reading = Reading::new(seed);
    while let Some(chunk) = response.body_mut().chunk().await {
        reading.take(&chunk?);
    }
    reading.end(bytes);
    targets.done.count_bytes(bytes);
    Ok(())
}

/// Drops a response at some place of its body.
async fn part_of_a_body(client: &Client, targets: &Targets, random: &mut Random) -> Result<()> {
    let (seed, bytes) = (random.below(256), random.spread(BODY_BYTES_MAX));
    let kind = ["stream", "bytes"][random.below(2)];
    let url = targets.url(&format!("/{kind}/{seed}/{bytes}"));
    let mut response = client.get(url).send().await?;
    let wanted = random.spread(bytes.max(1));
    let mut reading = Reading::new(seed);
    while reading.length() < wanted {
        match response.body_mut().chunk().await {
            Some(chunk) => reading.take(&chunk?),
            None => break,
        }
    }
    targets.done.count_canceled();
    Ok(())
}

/// A handler that is slower than its client is patient, or waits for the client to go.
async fn in_time(client: &Client, targets: &Targets, random: &mut Random) {
    let path = ["/slow", "/gone"][random.below(2)];
    let limit = Duration::from_millis(1 + random.below(30) as u64);
    let error = client.get(targets.url(path)).timeout(limit).send().await;
    assert!(error.unwrap_err().is_timeout());
    targets.done.count_canceled();
}

/// Bodies that nobody reads, and handlers that panic.
async fn refused(client: &Client, targets: &Targets, random: &mut Random) {
    if random.below(2) == 0 {
        let path = ["/panic", "/panic-async"][random.below(2)];
        let response = client.get(targets.url(path)).send().await.unwrap();
        assert_eq!(response.status_code(), 500);
        return;
    }
    let body: Body = content::body(0, random.spread(2 * BODY_BYTES_MAX)).into();
    let result = client.post(targets.url("/ignore")).body(body).send().await;
    match result {
        Ok(response) => assert_eq!(response.text().await.unwrap(), "ignored"),
        // The server closes a connection with more left than it is ready to drop.
        Err(error) => assert!(error.is_closed(), "{error}"),
    }
}

/// A server that closes, resets, dawdles and sends garbage: a right response or an error.
async fn hostile(client: &Client, targets: &Targets) {
    let url = format!("http://{}/", targets.hostile);
    let whole = async {
        let response = client.get(url).timeout(HOSTILE_TIMEOUT).send().await?;
        response.text().await
    };
    match whole.await {
        Ok(text) => assert_eq!(text, crate::hostile::BODY),
        Err(_) => targets.done.count_aborted(),
    }
}
