//! Our client, on one core.

use client_shared::Load;
use client_shared::Mode;
use client_shared::Turns;
use client_shared::fail;
use roundtrip::Client;
use roundtrip::Result;
use roundtrip::runtime;
use roundtrip::runtime::Runtime;
use url::Url;

fn main() {
    let load = Load::from_arguments();
    let url = Url::parse(&load.url).expect("a URL");
    let client = Client::builder()
        .idle_per_host_max(load.in_flight)
        .keep_alive(load.mode != Mode::New)
        .build();
    let runtime = Runtime::new().unwrap_or_else(|error| fail(&error.to_string()));
    client_shared::measure(&load, |phase| {
        let all = runtime.block_on(async {
            let start = |_| {
                let (client, url) = (client.clone(), url.clone());
                runtime::spawn(async move { requests(client, url, phase.turns()).await })
            };
            let tasks: Vec<_> = (0..load.in_flight).map(start).collect();
            let mut all = 0;
            for task in tasks {
                all += task.await??;
            }
            Ok::<u64, roundtrip::Error>(all)
        });
        all.and_then(|all| all)
            .unwrap_or_else(|error| fail(&error.to_string()))
    });
}

async fn requests(client: Client, url: Url, mut turns: Turns) -> Result<u64> {
    while turns.go_on() {
        let response = client.get(&url).send().await?;
        let status = response.status_code().as_u16();
        turns.answered(status, response.bytes().await?.len());
    }
    Ok(turns.done())
}
