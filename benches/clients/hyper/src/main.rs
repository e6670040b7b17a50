//! hyper-util's pooled client (`legacy`), on a current-thread tokio runtime.

use std::error::Error;

use bytes::Bytes;
use client_shared::Load;
use client_shared::Mode;
use client_shared::Turns;
use client_shared::fail;
use http::Request;
use http::Uri;
use http::header::CONNECTION;
use http::header::HeaderValue;
use http_body_util::BodyExt as _;
use http_body_util::Empty;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;

type Client = legacy::Client<HttpConnector, Empty<Bytes>>;

fn main() {
    let load = Load::from_arguments();
    let uri: Uri = load.url.parse().expect("a URL");
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    if load.mode == Mode::New {
        builder.pool_max_idle_per_host(0);
    }
    let client: Client = builder.build(connector);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    client_shared::measure(&load, |phase| {
        runtime.block_on(async {
            let start = |_| {
                let (client, uri) = (client.clone(), uri.clone());
                tokio::spawn(requests(client, uri, load.mode, phase.turns()))
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

async fn requests(
    client: Client,
    uri: Uri,
    mode: Mode,
    mut turns: Turns,
) -> Result<u64, Box<dyn Error + Send + Sync>> {
    while turns.go_on() {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.clone();
        if mode == Mode::New {
            let close = HeaderValue::from_static("close");
            request.headers_mut().insert(CONNECTION, close);
        }
        let response = client.request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        turns.answered(status, body.len());
    }
    Ok(turns.done())
}
