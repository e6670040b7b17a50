//! What the fuzzers check: one function per target, which panics when something is wrong.
//!
//! ```text
//!   libFuzzer ──────────────► fuzz_targets/NAME.rs ──┐
//!                                                    ├──► bodies::NAME(bytes) ──► assertions
//!   corpus + mutations ──► tests/fuzz_corpus.rs ─────┘
//! ```
//!
//! The same text is compiled into the fuzzers, by coverage and with AddressSanitizer, and into an
//! ordinary test, which needs neither.

mod chunked;
mod client_connection;
mod cookie;
mod decompress;
mod differential;
mod framing;
mod heads;
mod model;
mod multipart;
mod proxy_protocol;
mod query;
mod range;
mod received;
mod reference;
mod schedule;
mod server_connection;
pub mod splits;
mod target;
mod wire;

pub use chunked::chunked;
pub use client_connection::client_connection;
pub use cookie::cookie;
pub use decompress::decompress;
pub use differential::differential;
pub use framing::framing;
pub use heads::request_head;
pub use heads::response_head;
pub use multipart::multipart;
pub use proxy_protocol::proxy_protocol;
pub use query::query;
pub use range::range;
pub use server_connection::server_connection;
pub use target::target;

/// Checks one input.
pub type Body = fn(&[u8]);

/// All targets, by the names of their binaries and of the folders of their corpora.
pub const TARGETS: [(&str, Body); 14] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("chunked", chunked),
    ("framing", framing),
    ("target", target),
    ("range", range),
    ("multipart", multipart),
    ("query", query),
    ("cookie", cookie),
    ("decompress", decompress),
    ("proxy_protocol", proxy_protocol),
    ("server_connection", server_connection),
    ("client_connection", client_connection),
    ("differential", differential),
];
