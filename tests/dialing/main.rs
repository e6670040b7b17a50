//! From a name to a connection, on the simulated kernel: its network has ways that are silent, slow
//! or missing, and its clock is exact.

mod hooks;
mod racing;
mod resolving;
mod slow;

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::runtime;
use roundtrip::runtime::JoinHandle;
use roundtrip::server::ServerHandle;
use roundtrip::simulation::Reach;
use roundtrip::simulation::Simulation;

/// Addresses of the machine itself, at which a test may listen.
pub const OURS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

/// An address as text.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// That address, with the port that URLs have.
pub fn address(text: &str) -> SocketAddr {
    SocketAddr::new(ip(text), 80)
}

/// So many of them.
pub const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A simulation whose turns take no time, so that only waiting does.
pub fn exact() -> Simulation {
    Simulation::new(1).turn(Duration::ZERO, Duration::ZERO)
}

/// With ways that are not as usual.
pub fn with(simulation: Simulation, reaches: &[(&str, Reach)]) -> Simulation {
    let reaches = reaches.iter();
    reaches.fold(simulation, |all, (text, reach)| all.reach(ip(text), *reach))
}

/// A server that says at which address it was asked.
pub struct Site {
    handle: ServerHandle,
    serving: JoinHandle<Result<(), Error>>,
}

impl Site {
    /// Serves there.
    pub fn at(text: &'static str) -> Site {
        let router = Router::new().get("/", move |_: &Request| text);
        let server = Server::new(router).bind(address(text)).unwrap();
        Site {
            handle: server.handle(),
            serving: runtime::spawn(server.run_here()),
        }
    }

    /// Connections that came.
    pub fn accepted(&self) -> u64 {
        self.handle.statistics().connections_accepted
    }

    /// Serves no more.
    pub async fn end(self) {
        self.handle.shutdown();
        self.serving.await.unwrap().unwrap();
    }
}
