//! roundtrip.
pub mod client;
pub mod error;
pub mod fs;
pub mod http;
pub mod limits;
pub mod net;
pub mod reactor;
pub mod ring;
pub mod runtime;
pub mod server;
pub use error::Error;
pub use error::Result;
