//! Messages, whatever they travel in: requests, responses, bodies, and what their fields mean. No I/O, no
//! clock.
//!
//! ```text
//!   bytes ─► h1 ─► Request ─► handler ─► Response ─► h1 ─► bytes
//!                     └─ Body ◄── incoming ◄── pieces that arrive
//! ```
//!
//! - Messages: [`request`], [`response`], [`headers`], [`body`] with [`incoming`], [`disconnect`],
//!   [`link`], [`timings`].
//! - Sections of fields: [`head`].
//! - For handlers: [`target`], [`query`], [`multipart`], [`cookie`], [`authentication`],
//!   [`conditional`], [`range`], [`media_type`], [`sniff`], [`event_stream`], [`date`].
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
pub(crate) mod clean;
pub mod close_reason;
pub mod conditional;
pub mod cookie;
pub mod date;
pub mod disconnect;
pub mod duplex;
pub mod event_stream;
mod field;
mod form;
pub mod head;
pub mod headers;
pub mod incoming;
mod informational;
#[cfg(feature = "json")]
pub mod json;
pub(crate) mod known;
pub mod link;
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
pub mod sniff;
pub mod target;
pub mod timings;
pub(crate) mod token;
