//! A body that is decoded while it is read.
//!
//! ```text
//!   reader ─► poll ─► input left, or output that did not fit? ── no ──► poll the body as it came
//!     ▲                        │ yes                                       │ chunk       │ end
//!     │                        ▼                                           ▼             ▼
//!     └── at most 32 KiB ◄── decode ◄── within the limits? ◄───────────  input    may it end here?
//! ```

use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;
use url::Url;

use crate::client::decompress::Limits;
use crate::client::decompress::coding::Decode;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::body::Filter;
use crate::http::response::reading::named;
use crate::limits::DECODED_CHUNK_BYTES_MAX;
use crate::limits::DECODED_CHUNK_BYTES_MIN;
use crate::limits::DECOMPRESSED_FREE_BYTES;

pub(super) struct Decoded {
    decoder: Box<dyn Decode>,
    limits: Limits,
    /// Where the body came from, for errors.
    url: Option<Url>,
    /// What was received and is not decoded.
    input: Bytes,
    output: BytesMut,
    /// True exactly when the last output was filled: there may be more without further input.
    is_full: bool,
    /// True exactly when the body may end behind what was decoded: nothing at all is an empty one.
    may_end: bool,
    consumed_bytes: u64,
    produced_bytes: u64,
}

impl Decoded {
    pub(super) fn new(decoder: Box<dyn Decode>, limits: Limits, url: Option<Url>) -> Decoded {
        Decoded {
            decoder,
            limits,
            url,
            input: Bytes::new(),
            output: BytesMut::new(),
            is_full: false,
            may_end: true,
            consumed_bytes: 0,
            produced_bytes: 0,
        }
    }

    /// Decodes until the output is full or the input used up. The chunk may be empty.
    fn decode(&mut self) -> Result<Bytes> {
        // Room for what text becomes: a small body takes little memory.
        let room = (self.input.len() * 4).clamp(DECODED_CHUNK_BYTES_MIN, DECODED_CHUNK_BYTES_MAX);
        self.output.resize(room, 0);
        let mut filled = 0;
        loop {
            let step = self.decoder.decode(&self.input, &mut self.output[filled..]);
            let step = step.map_err(|why| self.corrupt(&why))?;
            self.input.advance(step.consumed);
            filled += step.produced;
            self.consumed_bytes += step.consumed as u64;
            self.produced_bytes += step.produced as u64;
            self.may_end = step.may_end;
            self.is_full = filled == room;
            if self.is_full || self.input.is_empty() {
                break;
            }
            if step.consumed == 0 && step.produced == 0 {
                return Err(self.corrupt("the decoder does not go on"));
            }
        }
        self.check_limits()?;
        self.output.truncate(filled);
        Ok(self.output.split().freeze())
    }

    fn check_limits(&self) -> Result<()> {
        let Limits {
            bytes_max,
            ratio_max,
        } = self.limits;
        let (name, produced) = (self.decoder.name(), self.produced_bytes);
        if let Some(max) = bytes_max.filter(|max| produced > *max) {
            return Err(limit(format!(
                "the {name} body decodes to more than {max} bytes (decompressed_bytes_max)"
            )));
        }
        let allowed = self.consumed_bytes.saturating_mul(u64::from(ratio_max));
        if produced > allowed.max(DECOMPRESSED_FREE_BYTES) {
            return Err(limit(format!(
                "the {name} body decodes to more than {ratio_max} times its bytes \
                 (decompression_ratio_max): {} became {produced}",
                self.consumed_bytes
            )));
        }
        Ok(())
    }

    fn corrupt(&self, why: &str) -> Error {
        let name = self.decoder.name();
        let text = format!("the {name} body is corrupt: {why}");
        Error::new(ErrorKind::Protocol, text).in_phase(Phase::Decoding)
    }

    /// The body as it came has ended.
    fn end(&self) -> Option<Result<Bytes>> {
        if self.may_end {
            return None;
        }
        let name = self.decoder.name();
        let text = format!("the {name} body is cut: it ends before its coding does");
        let error = Error::new(ErrorKind::Protocol, text);
        Some(Err(error.in_phase(Phase::Decoding)))
    }
}

impl Filter for Decoded {
    fn poll_chunk(
        &mut self,
        source: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        let polled = self.poll_decoded(source, cx);
        polled.map_err(|error| named(error, self.url.as_ref()))
    }
}

impl Decoded {
    fn poll_decoded(
        &mut self,
        source: &mut Body,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes>>> {
        loop {
            if self.input.is_empty() && !self.is_full {
                match ready!(source.poll_chunk(cx)) {
                    Some(Ok(chunk)) => self.input = chunk,
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(self.end()),
                }
            }
            match self.decode() {
                Ok(chunk) if chunk.is_empty() => {}
                chunk_or_error => return Poll::Ready(Some(chunk_or_error)),
            }
        }
    }
}

fn limit(text: String) -> Error {
    Error::new(ErrorKind::Limit, text).in_phase(Phase::ResponseBody)
}
