//! ureq, which blocks.

use std::io;

use client_shared::Load;
use client_shared::Mode;
use client_shared::Turns;
use client_shared::fail;
use http::Uri;
use ureq::Agent;

fn main() {
    let load = Load::serial_from_arguments();
    let uri: Uri = load.url.parse().expect("a URL");
    let mut config = Agent::config_builder().proxy(None);
    if load.mode == Mode::New {
        config = config
            .max_idle_connections(0)
            .max_idle_connections_per_host(0);
    }
    let agent = Agent::new_with_config(config.build());
    client_shared::measure(&load, |phase| {
        let all = requests(&agent, &uri, load.mode, phase.turns());
        all.unwrap_or_else(|error| fail(&error.to_string()))
    });
}

fn requests(agent: &Agent, uri: &Uri, mode: Mode, mut turns: Turns) -> Result<u64, ureq::Error> {
    while turns.go_on() {
        let mut request = agent.get(uri.clone());
        if mode == Mode::New {
            request = request.header("Connection", "close");
        }
        let mut response = request.call()?;
        let status = response.status().as_u16();
        let body_bytes = io::copy(&mut response.body_mut().as_reader(), &mut io::sink())?;
        turns.answered(status, body_bytes as usize);
    }
    Ok(turns.done())
}
