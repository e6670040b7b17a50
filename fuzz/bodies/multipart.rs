//! Multipart forms: the parser, over every split, beside a small reader of the whole.
//!
//! ```text
//!   form ─► whole │ pieces ─► Parser ─► names, data │ error ◄── small reader: delimiters by search
//! ```

use bytes::Bytes;
use roundtrip::http::multipart::Event;
use roundtrip::http::multipart::InvalidMultipart;
use roundtrip::http::multipart::MultipartLimits;
use roundtrip::http::multipart::Parser;

use super::splits::Random;
use super::splits::one_answer;

/// As the parser's documentation has it.
const PADDING_BYTES_MAX: usize = 64;

/// Name, the file's name with and without directories, data.
#[derive(Debug, PartialEq)]
struct Part {
    name: String,
    file_name: Option<(Vec<u8>, Vec<u8>)>,
    data: Vec<u8>,
}

/// A form with the boundary `b`.
pub fn multipart(data: &[u8]) {
    let usual = MultipartLimits::default();
    let found = one_answer(data, |pieces| read(usual, pieces));
    let expected = expected(data);
    let found_data = found.as_ref().ok().map(|parts| {
        let data = parts.iter().map(|part| part.data.clone());
        data.collect::<Vec<_>>()
    });
    assert_eq!(found_data, expected, "{}", data.escape_ascii());
    // Lower limits refuse, or change nothing.
    let mut random = Random::of(data);
    let low = MultipartLimits {
        parts_max: random.below(4),
        headers_max: random.below(6),
        head_bytes_max: random.below(100),
        bytes_max: Some(random.below(data.len() + 20) as u64),
    };
    match (read(low, &[data]), found) {
        (Ok(parts), Ok(all)) => {
            assert_eq!(parts, all);
            assert!(parts.len() <= low.parts_max);
            assert!(data.len() as u64 <= low.bytes_max.unwrap_or(u64::MAX));
        }
        (Ok(parts), Err(error)) => panic!("{parts:?} instead of {error:?}"),
        (Err(error), Ok(_)) => assert!(error.is_limit(), "{error:?}"),
        (Err(_), Err(_)) => {}
    }
}

fn read(limits: MultipartLimits, pieces: &[&[u8]]) -> Result<Vec<Part>, InvalidMultipart> {
    let mut parser = Parser::new("b", limits).expect("a boundary");
    let mut parts: Vec<Part> = Vec::new();
    let (mut is_in_part, mut has_ended) = (false, false);
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = parser.next(&mut input)? {
            assert!(!has_ended);
            match event {
                Event::Part(head) => {
                    assert!(!is_in_part);
                    is_in_part = true;
                    let safe = head.safe_file_name_bytes().map(<[u8]>::to_vec);
                    let is_safe = |name: &Vec<u8>| {
                        !name.iter().any(|byte| b"/\\\0".contains(byte))
                            && name != b"."
                            && name != b".."
                    };
                    assert!(safe.as_ref().is_none_or(is_safe), "{safe:?}");
                    parts.push(Part {
                        name: head.name,
                        file_name: head.file_name_bytes.zip(safe),
                        data: Vec::new(),
                    });
                }
                Event::Data(data) => {
                    assert!(is_in_part && !data.is_empty());
                    let part = parts.last_mut().expect("a part began");
                    part.data.extend_from_slice(&data);
                }
                Event::PartEnd => {
                    assert!(is_in_part);
                    is_in_part = false;
                }
                Event::End => {
                    assert!(!is_in_part);
                    has_ended = true;
                }
            }
        }
        assert!(input.is_empty());
        assert!(parser.held_bytes() <= limits.head_bytes_max);
    }
    parser.finish()?;
    assert!(has_ended);
    Ok(parts)
}

/// The data of all parts; `None` where it is no form.
fn expected(form: &[u8]) -> Option<Vec<Vec<u8>>> {
    const DELIMITER: &[u8] = b"\r\n--b";
    let mut text = form.to_vec();
    if !form.starts_with(b"\r\n") {
        // A line end is implied before the first delimiter.
        text.splice(0..0, *b"\r\n");
    }
    let mut rest = text.strip_prefix(DELIMITER)?;
    let mut parts = Vec::new();
    loop {
        if let Some(behind) = rest.strip_prefix(b"--") {
            let is_blank = behind.iter().all(|byte| b" \t\r\n".contains(byte));
            return (is_blank && behind.len() <= PADDING_BYTES_MAX).then_some(parts);
        }
        let blanks = rest.iter().take_while(|byte| b" \t".contains(byte)).count();
        if blanks > PADDING_BYTES_MAX {
            return None;
        }
        let head = rest[blanks..].strip_prefix(b"\r\n")?;
        // The end of the head is a line end behind a line end; the first line may be empty.
        let head_len = if head.starts_with(b"\r\n") {
            2
        } else {
            find(head, b"\r\n\r\n")? + 4
        };
        if !is_head(&head[..head_len]) {
            return None;
        }
        // The line end of the head is also that of a delimiter that follows at once.
        let behind = &head[head_len - 2..];
        let at = find(behind, DELIMITER)?;
        parts.push(behind.get(2..at).unwrap_or_default().to_vec());
        rest = &behind[at + DELIMITER.len()..];
    }
}

/// True when this is the head of a part, wherever it stands.
fn is_head(head: &[u8]) -> bool {
    let mut parser = Parser::new("b", MultipartLimits::default()).expect("a boundary");
    let mut input = Bytes::from([b"--b\r\n", head].concat());
    let is_part = matches!(parser.next(&mut input), Ok(Some(Event::Part(_))));
    is_part && input.is_empty()
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
