//! reqwest, on a current-thread tokio runtime.

use client_shared::Load;
use client_shared::Mode;
use client_shared::Turns;
use client_shared::fail;
use reqwest::Client;
use reqwest::Url;
use reqwest::header::CONNECTION;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;

fn main() {
    let load = Load::from_arguments();
    let url = Url::parse(&load.url).expect("a URL");
    let mut builder = Client::builder().no_proxy();
    if load.mode == Mode::New {
        let close = HeaderValue::from_static("close");
        builder = builder
            .pool_max_idle_per_host(0)
            .default_headers(HeaderMap::from_iter([(CONNECTION, close)]));
    }
    let client = builder.build().expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    client_shared::measure(&load, |phase| {
        runtime.block_on(async {
            let start = |_| {
                let (client, url) = (client.clone(), url.clone());
                tokio::spawn(requests(client, url, phase.turns()))
            };
            let tasks: Vec<_> = (0..load.in_flight).map(start).collect();
            let mut all = 0;
            for task in tasks {
                let done = task.await.expect("no panic");
                all += done.unwrap_or_else(|error| fail(&error.to_string()));
            }
            all
        })
    });
}

async fn requests(client: Client, url: Url, mut turns: Turns) -> Result<u64, reqwest::Error> {
    while turns.go_on() {
        let response = client.get(url.clone()).send().await?;
        let status = response.status().as_u16();
        turns.answered(status, response.bytes().await?.len());
    }
    Ok(turns.done())
}
