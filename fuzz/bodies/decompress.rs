//! Bodies in a content coding.
//!
//! ```text
//!   byte ──► gzip │ br │ zstd
//!   bytes ──► decoded body, in all pieces ──► one answer, within its limit
//!        └──► twice, one behind the other ──► the answer twice, or none
//! ```

use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Bytes;
use roundtrip::Body;
use roundtrip::client::decompress::decoded;
use roundtrip::limits::DECODED_CHUNK_BYTES_MAX;

use super::splits::one_answer;

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];
/// Decoded bytes of one input.
const BYTES_MAX: usize = 1 << 20;

/// What a body is, read to its end.
#[derive(Debug, PartialEq)]
enum Answer {
    Whole(Vec<u8>),
    Refused,
}

fn decode(coding: &str, pieces: &[&[u8]]) -> Option<Answer> {
    let (mut sender, body) = Body::incoming(None);
    let mut body = decoded(coding, body, BYTES_MAX as u64)?;
    for piece in pieces {
        sender.push(Bytes::copy_from_slice(piece));
    }
    sender.finish(None);
    let context = &mut Context::from_waker(Waker::noop());
    let mut next = || match body.poll_chunk(context) {
        Poll::Ready(chunk) => chunk,
        Poll::Pending => panic!("a body that came whole waits"),
    };
    let mut all = Vec::new();
    while let Some(chunk) = next() {
        let Ok(chunk) = chunk else {
            assert!(next().is_none());
            return Some(Answer::Refused);
        };
        assert!(!chunk.is_empty() && chunk.len() <= DECODED_CHUNK_BYTES_MAX);
        all.extend_from_slice(&chunk);
        assert!(all.len() <= BYTES_MAX);
    }
    assert!(next().is_none());
    Some(Answer::Whole(all))
}

/// A coded body behind a byte that says in which coding. Without the features of the crate there is
/// nothing to check.
pub fn decompress(data: &[u8]) {
    let Some((selector, coded)) = data.split_first() else {
        return;
    };
    let coding = CODINGS[usize::from(*selector) % CODINGS.len()];
    let Some(Answer::Whole(all)) = one_answer(coded, |pieces| decode(coding, pieces)) else {
        return;
    };
    let twice = decode(coding, &[coded, coded]);
    let expected = match coding {
        // Nothing may stand behind its end.
        "br" if !coded.is_empty() => Answer::Refused,
        _ if all.len() * 2 > BYTES_MAX => Answer::Refused,
        _ => Answer::Whole(all.repeat(2)),
    };
    assert_eq!(twice, Some(expected));
}
