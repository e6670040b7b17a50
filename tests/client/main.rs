//! The client on real sockets, against scripted peers: threads with blocking sockets of `std`.
//! Every wait of a peer and of a test is bounded.

mod blocking;
mod builder;
#[cfg(feature = "cookies")]
mod cookies;
#[cfg(all(feature = "br", feature = "gzip", feature = "zstd"))]
mod decompress;
mod dialing;
mod exchanges;
mod expectations;
mod failures;
mod hostile;
mod middleware;
mod observers;
mod panics;
mod peer;
mod pool;
mod redirects;
#[cfg(feature = "simulation")]
mod retry;
mod upgrades;
