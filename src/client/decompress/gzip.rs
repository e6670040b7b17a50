//! gzip (RFC 1952): members, one behind the other.
//!
//! ```text
//!   Between ──► Within(member) ──► Between ──► …        the body may end between two members
//! ```
//! zlib-rs reads the header of a member, its blocks, and checks its sum and length.

use flate2::Decompress;
use flate2::FlushDecompress;
use flate2::Status;

use crate::client::decompress::coding::Corrupt;
use crate::client::decompress::coding::Decode;
use crate::client::decompress::coding::Step;

/// The base-2 logarithm of the largest window of deflate.
const WINDOW_BITS: u8 = 15;

pub(super) struct Gzip {
    member: Decompress,
    is_between: bool,
    /// True exactly when the state of a member that ended has to go first.
    is_used: bool,
}

impl Gzip {
    pub(super) fn new() -> Gzip {
        Gzip {
            member: Decompress::new_gzip(WINDOW_BITS),
            is_between: true,
            is_used: false,
        }
    }
}

impl Decode for Gzip {
    fn name(&self) -> &'static str {
        "gzip"
    }

    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Corrupt> {
        if self.is_between && !input.is_empty() {
            if self.is_used {
                self.member.reset(true);
            }
            self.is_between = false;
        }
        if self.is_between {
            return Ok(Step {
                consumed: 0,
                produced: 0,
                may_end: true,
            });
        }
        let step = inflate(&mut self.member, input, output)?;
        if step.may_end {
            self.is_between = true;
            self.is_used = true;
        }
        Ok(step)
    }
}

/// Decodes what it can of one stream; the body may end where that does.
pub(super) fn inflate(
    stream: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> Result<Step, Corrupt> {
    let before = (stream.total_in(), stream.total_out());
    let status = stream.decompress(input, output, FlushDecompress::None);
    let status = status.map_err(|error| match error.message() {
        Some(message) => Corrupt::Owned(message.to_owned()),
        None => Corrupt::Borrowed("a block of it cannot be read"),
    })?;
    Ok(Step {
        consumed: (stream.total_in() - before.0) as usize,
        produced: (stream.total_out() - before.1) as usize,
        may_end: status == Status::StreamEnd,
    })
}
