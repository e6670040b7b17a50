//! The codings that were compiled in.
//!
//! ```text
//!   "gzip" "x-gzip" ──► gzip::Gzip ────┐
//!   "deflate" ────────► deflate::Deflate
//!   "br" ─────────────► brotli::Brotli ┼──► dyn Decode: bytes in, bytes out, may it end here?
//!   "zstd" ───────────► zstd::Zstd ────┘
//! ```

use std::borrow::Cow;

#[cfg(feature = "br")]
use crate::client::decompress::brotli::Brotli;
#[cfg(feature = "gzip")]
use crate::client::decompress::deflate::Deflate;
#[cfg(feature = "gzip")]
use crate::client::decompress::gzip::Gzip;
#[cfg(feature = "zstd")]
use crate::client::decompress::zstd::Zstd;

/// What is asked for, as the value of `Accept-Encoding`. Servers choose; the order says what more
/// of them have.
pub(super) const ACCEPTED: &str = match (
    cfg!(feature = "gzip"),
    cfg!(feature = "br"),
    cfg!(feature = "zstd"),
) {
    (true, true, true) => "gzip, deflate, br, zstd",
    (true, true, false) => "gzip, deflate, br",
    (true, false, true) => "gzip, deflate, zstd",
    (true, false, false) => "gzip, deflate",
    (false, true, true) => "br, zstd",
    (false, true, false) => "br",
    (false, false, true) => "zstd",
    (false, false, false) => "",
};

/// A decoder, fed with a body piece by piece.
pub(super) trait Decode {
    /// The coding, for errors.
    fn name(&self) -> &'static str;

    /// Decodes what it can of `input` into `output`. With room in `output` it takes all of `input`;
    /// with an `output` that was filled it is called again, if need be without input.
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Corrupt>;
}

/// What a call of a decoder did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes taken from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
    /// True exactly when the body may end behind what was consumed.
    pub(super) may_end: bool,
}

/// What is wrong with the bytes.
pub(super) type Corrupt = Cow<'static, str>;

type Make = fn() -> Box<dyn Decode>;

/// Names in `Content-Encoding`; `x-gzip` is gzip (RFC 9110 §8.4.1.3).
const CODINGS: &[(&str, Make)] = &[
    #[cfg(feature = "gzip")]
    ("gzip", || Box::new(Gzip::new())),
    #[cfg(feature = "gzip")]
    ("x-gzip", || Box::new(Gzip::new())),
    #[cfg(feature = "gzip")]
    ("deflate", || Box::new(Deflate::new())),
    #[cfg(feature = "br")]
    ("br", || Box::new(Brotli::new())),
    #[cfg(feature = "zstd")]
    ("zstd", || Box::new(Zstd::new())),
];

/// The decoder for a `Content-Encoding`, if it was compiled in. A list of codings is the name of
/// none.
pub(super) fn decoder(name: &[u8]) -> Option<Box<dyn Decode>> {
    let name = name.trim_ascii();
    let mut codings = CODINGS.iter();
    let (_, make) = codings.find(|(coding, _)| name.eq_ignore_ascii_case(coding.as_bytes()))?;
    Some(make())
}
