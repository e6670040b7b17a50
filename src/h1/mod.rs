//! HTTP/1 on the wire: heads, framing, chunks, and the two machines of a connection. No I/O, no clock:
//! bytes and times come in, messages and bytes go out.
//!
//! ```text
//!   received bytes ─► head::parse_* ─► framing::*_framing ─► chunked::Decoder ─► server, client
//!   bytes to send  ◄── encode::*_head ◄── framing::Outgoing, from the Body alone ◄──────┘
//! ```
//!
//! What messages mean, and what they carry, is `http`'s.

pub mod chunked;
pub mod client;
pub mod encode;
#[cfg(test)]
mod exhaustive;
pub mod framing;
pub mod head;
pub mod server;
