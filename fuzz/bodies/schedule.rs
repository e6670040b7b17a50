//! How a connection is driven: the first line of an input. What follows is what the peer sends.
//!
//! ```text
//!   "Ac3!;@\n" + bytes     a z   the peer sends 1 … 26 bytes      * all of them
//!                          A Z   32 … 832 bytes                   ! ends its side
//!                          0 9   our kernel takes 16 … 4 Mi bytes of output
//!                          @     the deadline passes              + a second passes
//!                          #     73,728 bytes that do not stand in the input
//!                          .     our side is called for nothing   _ output is kept, or not
//!                          |     the connection is lost
//!                          '     bytes come although receiving was paused a moment ago
//! ```
//!
//! All else has a meaning of its own for servers or for clients, or none.

/// What the peer sends beside the input: more than is held, or received into shared buffers.
pub static FILLER: [u8; 0x12000] = [b'x'; 0x12000];

/// Longer first lines are part of what the peer sends.
const LINE_BYTES_MAX: usize = 64;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The peer sends so many bytes, or as many as there are.
    Send(usize),
    /// The peer sends as many [`FILLER`] bytes as are received.
    Fill,
    /// The kernel takes so many bytes of output.
    Take(usize),
    /// The peer ends its side.
    End,
    /// Time passes until the deadline.
    Expire,
    /// A second passes.
    Second,
    /// The peer sends what a receive that was paused still takes.
    Late,
    /// The connection is lost; no step follows.
    Lose,
    /// Our side is called although nothing happened.
    Nothing,
    /// From here on output is taken at once, or only when it is asked for.
    Toggle,
    /// Something that only servers, or clients, know.
    Other(u8),
}

/// The steps, and what the peer sends.
pub fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let start = &data[..data.len().min(LINE_BYTES_MAX + 1)];
    match start.iter().position(|&b| b == b'\n') {
        // A line of a message ends in CRLF.
        Some(at) if !start[..at].ends_with(b"\r") => (&data[..at], &data[at + 1..]),
        _ => (&[], data),
    }
}

/// What a byte of the first line means.
pub fn step(byte: u8) -> Step {
    match byte {
        b'a'..=b'z' => Step::Send(usize::from(byte - b'a') + 1),
        b'A'..=b'Z' => Step::Send(32 * (usize::from(byte - b'A') + 1)),
        b'*' => Step::Send(usize::MAX),
        b'0'..=b'9' => Step::Take(16 << (2 * (byte - b'0'))),
        b'!' => Step::End,
        b'@' => Step::Expire,
        b'+' => Step::Second,
        b'.' => Step::Nothing,
        b'|' => Step::Lose,
        b'#' => Step::Fill,
        b'\'' => Step::Late,
        b'_' => Step::Toggle,
        other => Step::Other(other),
    }
}
