//! The client by way of proxies: a real little one on loopback, on threads with blocking sockets of
//! `std`, scripted ones that misbehave, and hostile ones by the clock of the simulated kernel.

#[path = "../client/peer.rs"]
#[allow(dead_code)] // Each test uses its own part.
mod peer;
#[path = "../server_support/mod.rs"]
mod server_support;

mod choice;
mod environment;
mod forward;
#[cfg(feature = "simulation")]
mod hostile;
mod little;
mod socks;
mod tunnel;
