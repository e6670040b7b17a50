//! HTTP/1: messages, and how they are framed. No I/O, no clock: bytes and times come in, messages
//! and bytes go out.
//!
//! ```text
//!   received bytes                                                     bytes to send
//!        │                                                                   ▲
//!        ▼                                                                   │
//!   head::Scanner ── complete ──► head::parse_* ──► RequestHead      encode::response_head
//!   where the head ends                │            ResponseHead     encode::request_head
//!                                      ▼                                     ▲
//!                              framing::*_framing                    framing::Outgoing
//!                         Empty │ Length │ Chunked │ UntilClose      from the Body alone
//!                                      │                                     │
//!                                      ▼                                     │
//!                              chunked::Decoder                              │
//!                                      │                                     │
//!                     incoming ──► Body ──► Request ──► handler ──► Response ┘
//! ```
//!
//! - Messages: [`request`], [`response`], [`headers`], [`body`] with [`incoming`], [`disconnect`],
//!   [`timings`].
//! - Wire: [`head`], [`framing`], [`chunked`], [`encode`], [`date`].
//! - For handlers: [`target`], [`query`], [`multipart`], [`cookie`], [`authentication`],
//!   [`conditional`], [`range`], [`media_type`], [`sniff`], [`event_stream`].
//!
//! Strictness: what two readers could read differently (bare LF, blanks before a colon, two lengths,
//! a length beside a coding) is an error with the status that answers it; see [`head::HeadError`].
//! So is obs-fold in a request. In a response it is joined, and blanks behind a chunk size are
//! skipped: a user agent reads both (RFC 9112 §5.2).
//!
//! Memory: heads, requests, responses and channels come from bounded free lists of the thread, so
//! that a server in steady state allocates nothing for them.

pub mod authentication;
pub mod body;
pub mod chunked;
pub(crate) mod clean;
pub mod conditional;
pub mod cookie;
pub mod date;
pub mod disconnect;
pub mod duplex;
pub mod encode;
pub mod event_stream;
#[cfg(test)]
mod exhaustive;
pub mod fetch;
mod field;
mod form;
pub mod framing;
pub mod head;
pub mod headers;
pub mod incoming;
pub mod informational;
#[cfg(feature = "json")]
pub mod json;
mod known;
pub mod media_type;
pub mod multipart;
pub mod negotiate;
mod params;
mod produced;
pub mod query;
pub mod range;
pub(crate) mod recycle;
pub mod request;
pub mod response;
pub mod serve;
pub mod sniff;
pub mod target;
pub mod timings;
mod token;
