//! Our client for threads without a runtime.

use client_shared::Load;
use client_shared::Mode;
use client_shared::Turns;
use client_shared::fail;
use roundtrip::Result;
use roundtrip::blocking;
use url::Url;

fn main() {
    let load = Load::serial_from_arguments();
    let url = Url::parse(&load.url).expect("a URL");
    let client = blocking::Client::builder()
        .keep_alive(load.mode != Mode::New)
        .build();
    client_shared::measure(&load, |phase| {
        let all = requests(&client, &url, phase.turns());
        all.unwrap_or_else(|error| fail(&error.to_string()))
    });
}

fn requests(client: &blocking::Client, url: &Url, mut turns: Turns) -> Result<u64> {
    while turns.go_on() {
        let response = client.get(url).send()?;
        let status = response.status_code().as_u16();
        turns.answered(status, response.bytes()?.len());
    }
    Ok(turns.done())
}
