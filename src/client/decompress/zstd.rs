//! zstd (RFC 8878): frames, one behind the other, some of them to be skipped.
//!
//! ```text
//!   Between ──► Within(frame) ──► Between ──► …        the body may end between two frames
//! ```
//! A frame says how large its window is; one that is larger than this coding allows is refused
//! before memory is taken for it (RFC 9659). The formats before the standard, which the library can
//! read too, are refused as well.

use zstd_safe::DCtx;
use zstd_safe::DParameter;
use zstd_safe::InBuffer;
use zstd_safe::OutBuffer;

use crate::client::decompress::coding::Corrupt;
use crate::client::decompress::coding::Decode;
use crate::client::decompress::coding::Step;
use crate::limits::ZSTD_WINDOW_BITS_MAX;

/// What a frame begins with, and what one to be skipped does behind its first byte, which is 0x50 to
/// 0x5f.
const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Bytes of the longest header of a frame (RFC 8878 §3.1.1.1).
const HEADER_BYTES_MAX: usize = 18;

pub(super) struct Zstd {
    context: DCtx<'static>,
    is_between: bool,
    /// The first bytes of this frame.
    magic: [u8; 4],
    /// Bytes of this frame, counted as far as its header may reach.
    seen: usize,
}

impl Zstd {
    pub(super) fn new() -> Zstd {
        let mut context = DCtx::create();
        let set = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS_MAX));
        assert!(set.is_ok(), "a window that the format knows");
        Zstd {
            context,
            is_between: true,
            magic: [0; 4],
            seen: 0,
        }
    }

    /// Looks at the first bytes of a frame, as they come.
    fn check_magic(&mut self, input: &[u8]) -> Result<(), Corrupt> {
        let Some(missing) = self
            .magic
            .get_mut(self.seen..)
            .filter(|left| !left.is_empty())
        else {
            return Ok(());
        };
        let len = missing.len().min(input.len());
        missing[..len].copy_from_slice(&input[..len]);
        let magic = &self.magic[..self.seen + len];
        let is_skipped = match magic {
            [first, rest @ ..] => first >> 4 == 5 && SKIPPED.starts_with(rest),
            [] => false,
        };
        if !is_skipped && !FRAME.starts_with(magic) {
            return Err(Corrupt::Borrowed("a frame begins with other bytes"));
        }
        Ok(())
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
        if self.is_between {
            self.seen = 0;
        }
        self.check_magic(input)?;
        // The library looks for a short frame at the beginning of each input, until it has the
        // header, and would take one for the frame that began before: a byte is never one.
        let is_split = (1..HEADER_BYTES_MAX).contains(&self.seen);
        let input = match input {
            [first, ..] if is_split => std::slice::from_ref(first),
            _ => input,
        };
        let mut input = InBuffer::around(input);
        let mut output = OutBuffer::around(output);
        let left = self.context.decompress_stream(&mut output, &mut input);
        let left = left.map_err(|code| Corrupt::Borrowed(zstd_safe::get_error_name(code)))?;
        // Nothing is left of a frame that was decoded and written out whole.
        self.is_between = left == 0;
        self.seen = (self.seen + input.pos()).min(HEADER_BYTES_MAX);
        Ok(Step {
            consumed: input.pos(),
            produced: output.pos(),
            may_end: self.is_between,
        })
    }
}
