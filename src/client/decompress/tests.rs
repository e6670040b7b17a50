//! Every coding: whole, split, cut, changed, one behind the other, far too large.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use ::http::Method;
use bytes::Bytes;
use futures_core::Stream;
use url::Url;

use crate::client::decompress::Decompression;
use crate::client::decompress::Limits;
use crate::client::decompress::coding;
use crate::client::decompress::decoded::Decoded;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::limits::DECODED_CHUNK_BYTES_MAX;
use crate::limits::DECOMPRESSED_FREE_BYTES;

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

fn encode(coding: &str, data: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            encoder.write_all(data).unwrap();
            encoder.into_inner()
        }
        "zstd" => {
            let mut context = zstd_safe::CCtx::create();
            let checked = zstd_safe::CParameter::ChecksumFlag(true);
            context.set_parameter(checked).unwrap();
            let mut coded = Vec::with_capacity(zstd_safe::compress_bound(data.len()));
            context.compress2(&mut coded, data).unwrap();
            coded
        }
        other => panic!("no coding: {other}"),
    }
}

/// Text that compresses as text does.
fn text(len: usize) -> Vec<u8> {
    let mut state = 7u32;
    let words = [
        "stream", "window", "ring", "response", "of", "the", "a", "\n",
    ];
    let mut text = Vec::new();
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(state >> 16) as usize % words.len()].as_bytes());
        text.extend_from_slice(&[b' ', b'0' + (state >> 24) as u8 % 10]);
    }
    text.truncate(len);
    text
}

/// Chunks as they come, and how many were asked for.
struct Scripted {
    chunks: VecDeque<Result<Bytes>>,
    taken: Rc<Cell<usize>>,
}

impl Stream for Scripted {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.taken.set(self.taken.get() + 1);
        Poll::Ready(self.chunks.pop_front())
    }
}

fn scripted(chunks: impl Iterator<Item = Result<Bytes>>) -> (Body, Rc<Cell<usize>>) {
    let taken = Rc::new(Cell::new(0));
    let stream = Scripted {
        chunks: chunks.collect(),
        taken: Rc::clone(&taken),
    };
    (Body::stream(stream), taken)
}

/// In pieces of so many bytes.
fn pieces(coded: &[u8], len: usize) -> Body {
    let pieces = coded
        .chunks(len)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    scripted(pieces).0
}

fn decoded_within(coding: &str, body: Body, limits: Limits) -> Body {
    let decoder = coding::decoder(coding.as_bytes()).expect("compiled in");
    body.filtered(Decoded::new(decoder, limits, None))
}

fn decoded(coding: &str, body: Body) -> Body {
    decoded_within(coding, body, Decompression::default().limits)
}

fn next(body: &mut Body) -> Option<Result<Bytes>> {
    match body.poll_chunk(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(chunk) => chunk,
        Poll::Pending => panic!("the body waits"),
    }
}

/// All of a body; the sizes of its chunks are bounded.
fn read(body: &mut Body) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = next(body) {
        let chunk = chunk?;
        assert!(!chunk.is_empty() && chunk.len() <= DECODED_CHUNK_BYTES_MAX);
        all.extend_from_slice(&chunk);
    }
    assert!(next(body).is_none());
    Ok(all)
}

fn decode(coding: &str, coded: &[u8]) -> Result<Vec<u8>> {
    read(&mut decoded(coding, pieces(coded, coded.len().max(1))))
}

#[test]
fn whole_and_split() {
    for coding in CODINGS {
        for len in [0, 1, 500, 100_000] {
            let plain = text(len);
            let coded = encode(coding, &plain);
            for piece in [1, 7, 1_000, coded.len()] {
                let read = read(&mut decoded(coding, pieces(&coded, piece))).unwrap();
                assert!(read == plain, "{coding}, {len} bytes in pieces of {piece}");
            }
        }
    }
}

/// What programs in C made of the same text: gzip 1.12, node 20 (brotli 1.1.0, a window of 16 MiB),
/// zstd 1.5.4.
#[test]
fn decodes_what_others_made() {
    let plain = "to be, or not to be, that is the question: to be or not to be\n".repeat(8);
    let table = [
        (
            "gzip",
            "1f8b08000000000002032bc957484ad551c82f52c8cb2f512881f04a32124b14328b8174aa4261696a71\
             49667e9e154412452557c9a8ee21a61b000e6fda29f0010000",
        ),
        (
            "zstd",
            "28b52ffd64f0009501004242080fb03707423aee9e6560283904f28183401c5a934e99aaa7dd51bd781b\
             3c10191b0400af4150a5a903023598c8a612d51e8555",
        ),
        (
            "br",
            "1fef01009c07b6ad38fd42dc39b2a0be560061a1936f657225e656203ab001074e45ab0c0003dbfd5898\
             694ca53518256da4d0f6d92800",
        ),
    ];
    for (coding, hexadecimal) in table {
        let digits = hexadecimal.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let coded: Vec<u8> = digits.map(byte).collect();
        assert!(
            decode(coding, &coded).unwrap() == plain.as_bytes(),
            "{coding}"
        );
    }
}

#[test]
fn nothing_at_all_is_an_empty_body() {
    for coding in CODINGS {
        assert_eq!(decode(coding, b"").unwrap(), b"");
    }
}

#[test]
fn cut_anywhere_is_an_error() {
    for coding in CODINGS {
        let plain = text(2_000);
        let coded = encode(coding, &plain);
        for len in 1..coded.len() {
            let mut body = decoded(coding, pieces(&coded[..len], len));
            let error = read(&mut body).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{coding} cut at {len}");
            assert_eq!(error.phase(), Some(Phase::Decoding));
            assert!(error.text().contains(coding), "{error}");
            assert!(error.text().contains("cut"), "{error}");
            assert!(next(&mut body).is_none());
        }
    }
}

#[test]
fn changed_bits_are_errors_or_change_nothing() {
    for coding in CODINGS {
        let plain = text(400);
        let coded = encode(coding, &plain);
        let mut refused = 0;
        for at in 0..coded.len() * 8 {
            let mut changed = coded.clone();
            changed[at / 8] ^= 1 << (at % 8);
            match decode(coding, &changed) {
                Err(error) => {
                    refused += 1;
                    let is_named = error.text().contains(coding);
                    assert!(is_named && !error.is_closed(), "{error}");
                }
                // This format has no check sum.
                Ok(_) if coding == "br" => {}
                Ok(read) => assert!(read == plain, "{coding}: bit {at} was not noticed"),
            }
        }
        assert!(refused > coded.len(), "{coding}: {refused}");
    }
}

#[test]
fn other_bytes_are_refused() {
    for coding in CODINGS {
        for bytes in [&b"Hello, World!"[..], &[0xff; 64], b"{\"a\": 1}"] {
            let error = decode(coding, bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{coding}: {error}");
        }
    }
}

/// The library reads formats that are older than the standard (RFC 8878 is 0xfd2fb528).
#[test]
fn zstd_before_the_standard_is_refused() {
    // Four bytes in the format of 2016: it was decoded, but not in every split.
    let old = b"\x26\xb5\x2f\xfd\x04\x40\x00\x04\x10\x00\x18\xc4\xe9\x74\x70";
    let frame = encode("zstd", b"new");
    for coded in [old.to_vec(), [&frame[..], old].concat()] {
        for piece in [1, 3, 15, coded.len()] {
            let error = read(&mut decoded("zstd", pieces(&coded, piece))).unwrap_err();
            assert!(error.text().contains("begins with other bytes"), "{error}");
        }
    }
    for last in 0x1e..=0x27 {
        let magic = [last, 0xb5, 0x2f, 0xfd];
        assert!(decode("zstd", &magic).is_err());
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    for coding in ["gzip", "zstd"] {
        let (first, second) = (text(5_000), text(90_000));
        let parts = [&first[..], b"", &second, b""];
        let coded = parts.map(|part| encode(coding, part)).concat();
        for piece in [1, 13, coded.len()] {
            let read = read(&mut decoded(coding, pieces(&coded, piece))).unwrap();
            assert!(read == parts.concat(), "{coding} in pieces of {piece}");
        }
    }
    // What is to be skipped is skipped, before, between and behind (RFC 8878 §3.1.2).
    let skipped = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc";
    let frame = encode("zstd", b"zstd");
    let coded = [skipped, &frame[..], skipped, &frame, skipped].concat();
    for piece in [1, coded.len()] {
        let read = read(&mut decoded("zstd", pieces(&coded, piece))).unwrap();
        assert_eq!(read, b"zstdzstd");
    }
}

#[test]
fn garbage_behind_the_end_is_an_error() {
    for coding in CODINGS {
        for garbage in [&b"x"[..], b"\0", b"\0\0\0\0\0\0\0\0", b"\r\n", b"garbage!"] {
            let plain = text(100);
            let mut coded = encode(coding, &plain);
            let whole = coded.len();
            coded.extend_from_slice(garbage);
            for piece in [whole, coded.len(), 1] {
                let read = read(&mut decoded(coding, pieces(&coded, piece)));
                let error = read.expect_err("garbage was not noticed");
                assert_eq!(error.kind(), ErrorKind::Protocol, "{coding}: {error}");
            }
        }
    }
}

/// Bombs of more than [`DECOMPRESSED_FREE_BYTES`]: few bytes, most of them quickly made.
fn bomb(coding: &str) -> Vec<u8> {
    let mebibyte = 1 << 20;
    match coding {
        // A member of 1 MiB, 20 times: about 1,000 to 1.
        "gzip" => encode("gzip", &vec![0; mebibyte]).repeat(20),
        // The same without a wrapping, and a last block without bytes.
        "deflate" => {
            let mut coded = flushed("deflate", &vec![0; mebibyte]).repeat(20);
            coded.extend_from_slice(b"\x03\x00");
            coded
        }
        "br" => encode("br", &vec![0; 20 * mebibyte]),
        // A window of 1 MiB, and blocks of one byte that is 128 KiB.
        _ => {
            let mut coded = b"\x28\xb5\x2f\xfd\x00\x50".to_vec();
            let block = (128 << 10) << 3 | 1 << 1;
            for left in (0..160u32).rev() {
                let header = block | u32::from(left == 0);
                coded.extend_from_slice(&header.to_le_bytes()[..3]);
                coded.push(b'0');
            }
            coded
        }
    }
}

#[test]
fn bombs_are_stopped() {
    for coding in CODINGS {
        let coded = bomb(coding);
        let mut body = decoded(coding, pieces(&coded, 100));
        let mut produced = 0;
        let error = loop {
            match next(&mut body).expect("an error comes first") {
                Ok(chunk) => produced += chunk.len() as u64,
                Err(error) => break error,
            }
        };
        assert!(error.is_limit());
        assert!(error.text().contains("decompression_ratio_max"), "{error}");
        // All that is free, and not a chunk more.
        let last = DECOMPRESSED_FREE_BYTES - produced;
        assert!(last < DECODED_CHUNK_BYTES_MAX as u64, "{coding}: {last}");
        assert!(next(&mut body).is_none());

        let limits = Limits {
            bytes_max: None,
            ratio_max: u32::MAX,
        };
        let mut body = decoded_within(coding, pieces(&coded, 100), limits);
        let mut produced = 0;
        while let Some(chunk) = next(&mut body) {
            produced += chunk.unwrap().len();
        }
        assert_eq!(produced, 20 << 20, "{coding}");
    }
}

#[test]
fn the_absolute_limit_is_exact() {
    for coding in CODINGS {
        let plain = text(50_000);
        let coded = encode(coding, &plain);
        for (max, is_ok) in [(50_000, true), (49_999, false), (0, false)] {
            let limits = Limits {
                bytes_max: Some(max),
                ratio_max: 200,
            };
            let read = read(&mut decoded_within(coding, pieces(&coded, 64), limits));
            assert_eq!(read.is_ok(), is_ok, "{coding}: {max}");
            if let Err(error) = read {
                assert!(error.is_limit());
                assert!(error.text().contains("decompressed_bytes_max"), "{error}");
            }
        }
    }
}

#[test]
fn nothing_is_taken_before_it_is_needed() {
    for coding in CODINGS {
        let coded = encode(coding, &vec![b'a'; 1_000_000]);
        let half = coded.len() / 2;
        let chunks = [&coded[..half], &coded[half..]];
        let chunks = chunks
            .into_iter()
            .map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
        let (source, taken) = scripted(chunks);
        let mut body = decoded(coding, source);
        assert_eq!(taken.get(), 0);
        let first = next(&mut body).unwrap().unwrap();
        assert!(first.len() <= DECODED_CHUNK_BYTES_MAX);
        // br announces what one byte repeats in its second half.
        assert!(taken.get() <= 2, "{coding}");
        let before = taken.get();
        next(&mut body).unwrap().unwrap();
        assert_eq!(taken.get(), before, "{coding}: taken, with output left");
    }
}

#[test]
fn what_was_flushed_is_delivered() {
    // Live streams: each flush reaches the reader, though the body goes on.
    let first = b"event: one\n\n";
    for coding in CODINGS {
        let coded = flushed(coding, first);
        let (mut sender, body) = Body::incoming(None);
        let mut body = decoded(coding, body);
        sender.push(coded.into());
        let context = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(chunk))) = body.poll_chunk(context) else {
            panic!("{coding}: it is held back");
        };
        assert_eq!(chunk, &first[..]);
        assert!(body.poll_chunk(context).is_pending());
        drop(sender);
        let Poll::Ready(Some(Err(error))) = body.poll_chunk(context) else {
            panic!("{coding}: the connection was lost");
        };
        assert!(error.is_closed());
    }
}

/// The beginning of a body: coded, flushed, not ended.
fn flushed(coding: &str, data: &[u8]) -> Vec<u8> {
    match coding {
        "deflate" => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        "gzip" => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        "br" => {
            let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            encoder.write_all(data).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        _ => {
            let mut coded = vec![0; 1_000];
            let mut context = zstd_safe::CCtx::create();
            let mut output = zstd_safe::OutBuffer::around(&mut coded[..]);
            let mut input = zstd_safe::InBuffer::around(data);
            let flush = zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
            let left = context.compress_stream2(&mut output, &mut input, flush);
            assert_eq!((left, input.pos()), (Ok(0), data.len()));
            let len = output.pos();
            coded.truncate(len);
            coded
        }
    }
}

#[test]
fn windows_have_a_bound() {
    // A window descriptor of 16 MiB, then of 8 MiB, and a raw block that is the last.
    let frame = |window: u8| {
        let mut coded = b"\x28\xb5\x2f\xfd\x00".to_vec();
        coded.extend_from_slice(&[window << 3, 0x11, 0, 0, b'o', b'k']);
        coded
    };
    let error = decode("zstd", &frame(24 - 10)).unwrap_err();
    assert!(error.text().contains("memory"), "{error}");
    assert_eq!(decode("zstd", &frame(23 - 10)).unwrap(), b"ok");
    // The mark of a large window, which is no part of RFC 7932.
    let error = decode("br", b"\x11\x1e\x03").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // The largest that is.
    let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 4, 24);
    encoder.write_all(b"ok").unwrap();
    assert_eq!(decode("br", &encoder.into_inner()).unwrap(), b"ok");
}

#[test]
fn errors_of_the_body_itself_are_passed_on() {
    for coding in CODINGS {
        let coded = encode(coding, &text(1_000));
        let failed = Error::new(ErrorKind::Timeout, "nothing came (body_timeout)");
        let chunks = [Ok(Bytes::copy_from_slice(&coded[..50])), Err(failed)];
        let mut body = decoded(coding, scripted(chunks.into_iter()).0);
        assert!(read(&mut body).unwrap_err().is_timeout(), "{coding}");
        // Behind the last byte of the coding too: the end has to be seen.
        let failed = Error::new(ErrorKind::Closed, "lost");
        let chunks = [Ok(Bytes::from(coded)), Err(failed)];
        let mut body = decoded(coding, scripted(chunks.into_iter()).0);
        assert!(read(&mut body).unwrap_err().is_closed(), "{coding}");
    }
}

#[test]
fn trailers_stay() {
    for coding in CODINGS {
        let (mut sender, body) = Body::incoming(None);
        sender.push(encode(coding, b"hello").into());
        sender.finish(Some(Headers::from_pairs([("Digest", "x")]).unwrap()));
        let mut body = decoded(coding, body);
        assert!(body.take_trailers().is_none());
        assert_eq!(read(&mut body).unwrap(), b"hello");
        assert_eq!(body.take_trailers().unwrap().get("digest"), Some("x"));
    }
}

#[test]
fn a_decoded_body_is_like_any_other() {
    let body = decoded("gzip", pieces(&encode("gzip", b"hello"), 3));
    assert!(!body.is_replayable() && body.try_clone().is_none());
    assert_eq!((body.length(), body.is_empty()), (None, false));
    // Limits of collect count decoded bytes.
    let body = decoded("gzip", pieces(&encode("gzip", &[b'a'; 5_000]), 100));
    let mut collect = std::pin::pin!(body.collect(4_999));
    let collected = collect
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(collected, Poll::Ready(Err(error)) if error.is_limit()));
}

#[test]
fn deflate_is_zlib_or_bare() {
    let data = text(100_000);
    let bare = |level| {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&data).unwrap();
        encoder.finish().unwrap()
    };
    let whole = |coded: &[u8], len| {
        let mut body = decoded("deflate", pieces(coded, len));
        let mut all = Vec::new();
        while let Some(chunk) = next(&mut body) {
            all.extend_from_slice(&chunk?);
        }
        Ok::<_, Error>(all)
    };
    // Level 0 begins with a stored block.
    for coded in [bare(0), bare(1), bare(9), encode("deflate", &data)] {
        for len in [1, 7, coded.len()] {
            assert_eq!(whole(&coded, len).unwrap(), data, "{len}");
        }
        assert!(whole(&coded[..coded.len() - 1], 100).is_err(), "cut");
    }
    // The sum of zlib behind a bare stream is dropped; more is not, nor is anything behind zlib's.
    let behind = |coded: Vec<u8>, count: usize| [coded, vec![b'x'; count]].concat();
    for (coded, is_read) in [
        (behind(bare(6), 4), true),
        (behind(bare(6), 5), false),
        (behind(encode("deflate", &data), 1), false),
    ] {
        for len in [1, coded.len()] {
            assert_eq!(whole(&coded, len).is_ok(), is_read, "{len}");
        }
    }
}

// ---- when -----------------------------------------------------------------------------------

fn request(method: Method, fields: &[(&str, &str)]) -> Request {
    let mut request = Request::new(method, Url::parse("http://a.example/").unwrap());
    for (name, value) in fields {
        request.headers_mut().append(name, value).unwrap();
    }
    request
}

#[test]
fn asks_where_nobody_else_does() {
    let on = Decompression::default();
    for (method, fields, is_asked) in [
        (Method::GET, &[][..], true),
        (Method::POST, &[("Accept", "text/html")], true),
        (Method::HEAD, &[], false),
        (Method::GET, &[("range", "bytes=0-9")], false),
        (Method::GET, &[("ACCEPT-ENCODING", "gzip")], false),
        (Method::GET, &[("Accept-Encoding", "")], false),
    ] {
        let mut asking = request(method, fields);
        let before = asking.header("accept-encoding").map(str::to_owned);
        assert_eq!(on.ask(&mut asking), is_asked, "{fields:?}");
        let expected = if is_asked {
            Some(String::from("gzip, deflate, br, zstd"))
        } else {
            before
        };
        let asked = asking.header("accept-encoding").map(str::to_owned);
        assert_eq!(asked, expected);
    }
    let off = Decompression {
        is_on: false,
        ..Decompression::default()
    };
    let mut asking = request(Method::GET, &[]);
    assert!(!off.ask(&mut asking));
    assert!(asking.headers().is_empty());
}

#[test]
fn decodes_one_coding_that_it_knows() {
    for (fields, is_decoded) in [
        (&["gzip"][..], true),
        (&["GZip"], true),
        (&["X-GZIP"], true),
        (&[" gzip "], true),
        (&[], false),
        (&["identity"], false),
        (&["compress"], false),
        (&["gzip, br"], false),
        (&["gzip,"], false),
        (&["gzip", "gzip"], false),
        (&["gzip", "br"], false),
    ] {
        let coded = encode("gzip", b"hello");
        let mut response = Response::new()
            .header("Content-Length", coded.len().to_string())
            .header("ETag", "\"1\"")
            .body(coded.clone());
        for field in fields {
            response = response.header("Content-Encoding", field);
        }
        Decompression::default().decode(&mut response);
        assert_eq!(response.is_decompressed(), is_decoded, "{fields:?}");
        let headers = response.headers();
        let kept = ["content-encoding", "content-length"].map(|name| headers.contains(name));
        assert_eq!(kept, [!is_decoded && !fields.is_empty(), !is_decoded]);
        assert_eq!(headers.get("etag"), Some("\"1\""));
        let expected = if is_decoded { &b"hello"[..] } else { &coded };
        assert_eq!(read(response.body_mut()).unwrap(), expected, "{fields:?}");
    }
}

#[test]
fn a_body_that_is_known_to_be_empty_stays_as_it_came() {
    let mut response = Response::new()
        .header("Content-Encoding", "gzip")
        .header("Content-Length", "0");
    Decompression::default().decode(&mut response);
    assert!(!response.is_decompressed());
    assert_eq!(response.headers().get("content-encoding"), Some("gzip"));
    assert_eq!(response.body_ref().length(), Some(0));
}
