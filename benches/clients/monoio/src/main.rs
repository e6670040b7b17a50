//! monoio-http-client, on monoio's io_uring driver.

use client_shared::Load;
use client_shared::Mode;
use client_shared::Turns;
use client_shared::fail;
use http::Uri;
use http::header::CONNECTION;
use monoio::RuntimeBuilder;
use monoio_http_client::Builder;
use monoio_http_client::Client;

fn main() {
    let load = Load::from_arguments();
    let uri: Uri = load.url.parse().expect("a URL");
    let builder = RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer();
    let mut runtime = builder.build().expect("a runtime");
    // Its pool starts a task.
    let client = runtime.block_on(async { Builder::new().http1_client().build() });
    client_shared::measure(&load, |phase| {
        runtime.block_on(async {
            let start = |_| {
                let (client, uri) = (client.clone(), uri.clone());
                monoio::spawn(requests(client, uri, load.mode, phase.turns()))
            };
            let tasks: Vec<_> = (0..load.in_flight).map(start).collect();
            let mut all = 0;
            for task in tasks {
                all += task.await.unwrap_or_else(|error| fail(&error.to_string()));
            }
            all
        })
    });
    // Its pool wakes its task then, which only the runtime may do.
    runtime.block_on(async { drop(client) });
}

async fn requests(
    client: Client,
    uri: Uri,
    mode: Mode,
    mut turns: Turns,
) -> Result<u64, monoio_http_client::Error> {
    while turns.go_on() {
        let mut request = client.get(uri.clone());
        if mode == Mode::New {
            request = request.header(CONNECTION, "close");
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        turns.answered(status, response.bytes().await?.len());
    }
    Ok(turns.done())
}
