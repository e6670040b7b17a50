//! br (RFC 7932): one stream, and nothing behind it.
//!
//! ```text
//!   Within ──► Ended        the body may end where the stream does
//! ```
//! Windows are those of the format, up to 16 MiB: what encoders use for static files. "Large
//! windows", which are no part of it, are refused.

use brotli_decompressor::BrotliDecompressStream;
use brotli_decompressor::BrotliResult;
use brotli_decompressor::BrotliState;
use brotli_decompressor::StandardAlloc;

use crate::client::decompress::coding::Corrupt;
use crate::client::decompress::coding::Decode;
use crate::client::decompress::coding::Step;

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

pub(super) struct Brotli {
    state: Box<State>,
    has_ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Brotli {
        let alloc = StandardAlloc::default;
        Brotli {
            state: Box::new(State::new_strict(alloc(), alloc(), alloc())),
            has_ended: false,
        }
    }
}

impl Decode for Brotli {
    fn name(&self) -> &'static str {
        "br"
    }

    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Corrupt> {
        let (mut consumed, mut produced) = (0, 0);
        if self.has_ended {
            if !input.is_empty() {
                return Err(Corrupt::Borrowed("there are bytes behind its end"));
            }
            return Ok(Step {
                consumed,
                produced,
                may_end: true,
            });
        }
        let (mut input_left, mut output_left) = (input.len(), output.len());
        let mut produced_total = 0;
        let result = BrotliDecompressStream(
            &mut input_left,
            &mut consumed,
            input,
            &mut output_left,
            &mut produced,
            output,
            &mut produced_total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => {
                return Err(Corrupt::Borrowed("a block of it cannot be read"));
            }
            BrotliResult::ResultSuccess => self.has_ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step {
            consumed,
            produced,
            may_end: self.has_ended,
        })
    }
}
