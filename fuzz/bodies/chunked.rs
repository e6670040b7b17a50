//! Chunked bodies.
//!
//! ```text
//!   bytes ──► Decoder in all pieces ──► body, trailers, end ◄── small reader     (of either message)
//!   bytes ──► encoder in random chunks ──► Decoder ──► the same bytes
//! ```

use roundtrip::h1::chunked::CHUNK_END;
use roundtrip::h1::chunked::Decoded;
use roundtrip::h1::chunked::Decoder;
use roundtrip::h1::chunked::encode_chunk_head;
use roundtrip::h1::chunked::encode_last_chunk;
use roundtrip::http::headers::Headers;
use roundtrip::limits::CHUNK_LINE_BYTES_MAX;
use roundtrip::limits::CHUNK_OVERHEAD_BYTES_MAX;
use roundtrip::limits::HEADER_COUNT_MAX;
use roundtrip::limits::TRAILER_BYTES_MAX;

use super::reference;
use super::splits::Random;
use super::splits::one_answer;

/// What a decoder makes of its input.
#[derive(Debug, PartialEq)]
enum Answer {
    More {
        body: Vec<u8>,
    },
    Done {
        body: Vec<u8>,
        used: usize,
        trailers: Option<Headers>,
    },
    Refused {
        is_limit: bool,
    },
}

fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> Answer {
    let (mut body, mut total) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        loop {
            assert!(!decoder.is_done());
            match decoder.push(rest) {
                Err(error) => {
                    let is_limit = error.is_limit;
                    return Answer::Refused { is_limit };
                }
                Ok(Decoded::More) => break,
                Ok(Decoded::Data { used, data }) => {
                    assert!(!data.is_empty() && rest[..used].ends_with(data));
                    body.extend_from_slice(data);
                    total += used;
                    rest = &rest[used..];
                }
                Ok(Decoded::End { used, trailers }) => {
                    assert!(decoder.is_done() && used <= rest.len());
                    assert!(rest.len() == used || decoder.push(&rest[used..]).is_err());
                    check_count(&trailers);
                    return Answer::Done {
                        body,
                        used: total + used,
                        trailers,
                    };
                }
            }
        }
        total += rest.len();
    }
    Answer::More { body }
}

fn check_count(trailers: &Option<Headers>) {
    let count = trailers.as_ref().map_or(1, Headers::len);
    assert!((1..=HEADER_COUNT_MAX).contains(&count), "{count}");
}

/// What makes a whole of many beginnings.
const TAILS: [&[u8]; 6] = [
    b"\n\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b"a\r\n0\r\n\r\n",
    b"\r\na\r\n0\r\n\r\n",
];

/// A chunked body.
pub fn chunked(data: &[u8]) {
    let messages: [(New, Read); 2] = [
        (Decoder::new, reference::chunked),
        (Decoder::of_response, reference::chunked_response),
    ];
    for (new, read) in messages {
        let is_open = check_decoder(data, new, read);
        // What is malformed never looks like a beginning.
        for tail in TAILS.iter().filter(|_| is_open) {
            check_decoder(&[data, tail].concat(), new, read);
        }
        check_encoder(data, new);
    }
}

type New = fn() -> Decoder;
type Read = fn(&[u8]) -> Option<reference::Chunked>;

/// True when more has to come.
fn check_decoder(data: &[u8], new: New, read: Read) -> bool {
    let answer = one_answer(data, |pieces| decode(new(), pieces));
    let read = read(data);
    let is_open = matches!(answer, Answer::More { .. });
    match (answer, read) {
        (
            Answer::Done {
                body,
                used,
                trailers,
            },
            Some(read),
        ) => {
            assert_eq!((body, used), (read.body, read.used));
            check_trailers(trailers.as_ref(), &read.trailers);
            // No beginning of it is complete, or refused.
            let step = used / 64 + 1;
            for len in (0..used).step_by(step) {
                assert!(matches!(
                    decode(new(), &[&data[..len]]),
                    Answer::More { .. }
                ));
            }
        }
        (Answer::Refused { is_limit: true }, _) => {
            // Short inputs reach no limit.
            let least = CHUNK_LINE_BYTES_MAX.min(CHUNK_OVERHEAD_BYTES_MAX);
            let least = least.min(TRAILER_BYTES_MAX).min(HEADER_COUNT_MAX * 2);
            assert!(data.len() >= least, "a limit within {}", data.len());
        }
        (ours, read) => assert!(
            read.is_none() && !matches!(ours, Answer::Done { .. }),
            "{ours:?}, {read:?}: {}",
            data.escape_ascii()
        ),
    }
    is_open
}

/// Those that came, without some.
fn check_trailers(trailers: Option<&Headers>, came: &[reference::Field]) {
    let mut rest = came.iter();
    for (name, value) in trailers.iter().flat_map(|trailers| trailers.iter()) {
        let is_it = |field: &&reference::Field| field.0 == name.as_bytes() && field.1 == value;
        assert!(rest.by_ref().any(|field| is_it(&field)), "{name}");
    }
    let forbidden = ["content-length", "transfer-encoding", "host", "trailer"];
    for name in forbidden {
        assert!(!trailers.is_some_and(|trailers| trailers.contains(name)));
    }
    let harmless = reference::values(came, "x");
    let kept = trailers.map_or(0, |trailers| trailers.get_all("x").count());
    assert_eq!(harmless.len(), kept);
}

/// What is written is read, and ends where it ends.
fn check_encoder(data: &[u8], new: New) {
    let mut random = Random::of(data);
    let mut written = Vec::new();
    for chunk in random.cut(data, 3) {
        if !chunk.is_empty() {
            encode_chunk_head(&mut written, chunk.len());
            written.extend_from_slice(chunk);
            written.extend_from_slice(CHUNK_END);
        }
    }
    let trailers = Headers::from_pairs([("X", &data[..0])]).expect("a field");
    let trailers = (random.below(2) == 0).then_some(&trailers);
    encode_last_chunk(&mut written, trailers);
    let used = written.len();
    written.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    let expected = Answer::Done {
        body: data.to_vec(),
        used,
        trailers: trailers.cloned(),
    };
    assert_eq!(decode(new(), &[&written]), expected);
    assert_eq!(decode(new(), &random.cut(&written, 4)), expected);
}
