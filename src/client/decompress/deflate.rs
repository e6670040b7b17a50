//! deflate: one stream of RFC 1951, in the wrapping of zlib (RFC 1950) or bare.
//!
//! ```text
//!   first byte ─┬─ a zlib header ─► Stream(zlib) ─► Ended      the body may end where the stream does
//!               └─ anything else ─► Stream(bare) ─► Ended ─► up to 4 bytes that nobody reads
//! ```
//! RFC 9110 §8.4.1.2 means the wrapping; servers that read the name literally send the bare form, and
//! browsers and curl take both. The first byte tells them apart: as the beginning of a bare stream that
//! of a zlib header would be a stored block whose padding is not zero, which no encoder writes.

use flate2::Decompress;

use crate::client::decompress::coding::Corrupt;
use crate::client::decompress::coding::Decode;
use crate::client::decompress::coding::Step;
use crate::client::decompress::gzip::inflate;

/// Bytes behind a bare stream that are dropped: some servers leave out the header of zlib and not its
/// sum. curl does the same.
const STRAY_BYTES_MAX: usize = 4;

pub(super) enum Deflate {
    Fresh,
    Stream { stream: Decompress, is_bare: bool },
    Ended { stray_bytes_left: usize },
}

impl Deflate {
    pub(super) fn new() -> Deflate {
        Deflate::Fresh
    }
}

/// True for the first byte of a zlib header: the method is deflate, the window one that it has.
fn begins_zlib(byte: u8) -> bool {
    byte & 0x0f == 8 && byte >> 4 <= 7
}

impl Decode for Deflate {
    fn name(&self) -> &'static str {
        "deflate"
    }

    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Corrupt> {
        let ended = |consumed: usize| Step {
            consumed,
            produced: 0,
            may_end: true,
        };
        match self {
            Deflate::Fresh => {
                let Some(first) = input.first() else {
                    return Ok(ended(0));
                };
                let is_bare = !begins_zlib(*first);
                let stream = Decompress::new(!is_bare);
                *self = Deflate::Stream { stream, is_bare };
                self.decode(input, output)
            }
            Deflate::Stream { stream, is_bare } => {
                let step = inflate(stream, input, output)?;
                if step.may_end {
                    let stray_bytes_left = if *is_bare { STRAY_BYTES_MAX } else { 0 };
                    *self = Deflate::Ended { stray_bytes_left };
                }
                Ok(step)
            }
            Deflate::Ended { stray_bytes_left } => {
                let left = stray_bytes_left.checked_sub(input.len());
                *stray_bytes_left = left.ok_or("there are bytes behind its end")?;
                Ok(ended(input.len()))
            }
        }
    }
}
