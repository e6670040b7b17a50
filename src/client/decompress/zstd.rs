//! zstd (RFC 8878): frames, one behind the other, some of them to be skipped.
//!
//! ```text
//!   Between ──► Within(frame) ──► Between ──► …        the body may end between two frames
//! ```
//! A frame says how large its window is; one that is larger than this coding allows is refused
//! before memory is taken for it (RFC 9659).

use zstd_safe::DCtx;
use zstd_safe::DParameter;
use zstd_safe::InBuffer;
use zstd_safe::OutBuffer;

use crate::client::decompress::coding::Corrupt;
use crate::client::decompress::coding::Decode;
use crate::client::decompress::coding::Step;
use crate::limits::ZSTD_WINDOW_BITS_MAX;

pub(super) struct Zstd {
    context: DCtx<'static>,
    is_between: bool,
}

impl Zstd {
    pub(super) fn new() -> Zstd {
        let mut context = DCtx::create();
        let set = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS_MAX));
        assert!(set.is_ok(), "a window that the format knows");
        Zstd {
            context,
            is_between: true,
        }
    }
}

impl Decode for Zstd {
    fn name(&self) -> &'static str {
        "zstd"
    }

    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Corrupt> {
        if self.is_between && input.is_empty() {
            return Ok(Step {
                consumed: 0,
                produced: 0,
                may_end: true,
            });
        }
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let left = self.context.decompress_stream(&mut output, &mut input);
        let left = left.map_err(|code| Corrupt::Borrowed(zstd_safe::get_error_name(code)))?;
        // Nothing is left of a frame that was decoded and written out whole.
        self.is_between = left == 0;
        Ok(Step {
            consumed: input.pos(),
            produced: output.pos(),
            may_end: self.is_between,
        })
    }
}
