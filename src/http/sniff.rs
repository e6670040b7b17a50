//! The media type of bytes whose type nobody knows, from how they begin (WHATWG MIME Sniffing §6–7,
//! the table that Go's `DetectContentType` uses).
//!
//! ```text
//!   first 512 bytes ─► a tag? XML? ─► a signature? ─► MP4? ─► no control bytes: text ─► octets
//!                      (behind blanks)  (images, sound, fonts, archives)
//! ```
//!
//! Nothing is sniffed unless it is asked for: whoever may choose the bytes could otherwise choose
//! that a browser runs them. For those there is [`content_type_untrusted`].

use crate::http::media_type::UNKNOWN;

/// How many bytes are looked at.
pub const SNIFFED_BYTES: usize = 512;

const HTML: &str = "text/html; charset=utf-8";
const XML: &str = "text/xml; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// How an HTML document may begin, behind blanks and in any case; a blank or `>` follows.
const TAGS: [&[u8]; 17] = [
    b"<!DOCTYPE HTML",
    b"<HTML",
    b"<HEAD",
    b"<SCRIPT",
    b"<IFRAME",
    b"<H1",
    b"<DIV",
    b"<FONT",
    b"<TABLE",
    b"<A",
    b"<STYLE",
    b"<TITLE",
    b"<B",
    b"<BODY",
    b"<BR",
    b"<P",
    b"<!--",
];

/// Bytes that stand at fixed places, and what they show. A part without bytes demands a length.
type Signature = (&'static [(usize, &'static [u8])], &'static str);

const SIGNATURES: [Signature; 31] = [
    // Documents.
    (&[(0, b"%PDF-")], "application/pdf"),
    (&[(0, b"%!PS-Adobe-")], "application/postscript"),
    // Byte order marks.
    (
        &[(0, b"\xfe\xff"), (4, b"")],
        "text/plain; charset=utf-16be",
    ),
    (
        &[(0, b"\xff\xfe"), (4, b"")],
        "text/plain; charset=utf-16le",
    ),
    (&[(0, b"\xef\xbb\xbf"), (4, b"")], TEXT),
    // Images.
    (&[(0, b"\0\0\x01\0")], "image/x-icon"),
    (&[(0, b"\0\0\x02\0")], "image/x-icon"),
    (&[(0, b"BM")], "image/bmp"),
    (&[(0, b"GIF87a")], "image/gif"),
    (&[(0, b"GIF89a")], "image/gif"),
    (&[(0, b"RIFF"), (8, b"WEBPVP")], "image/webp"),
    (&[(0, b"\x89PNG\r\n\x1a\n")], "image/png"),
    (&[(0, b"\xff\xd8\xff")], "image/jpeg"),
    // Sound and pictures that move.
    (&[(0, b"FORM"), (8, b"AIFF")], "audio/aiff"),
    (&[(0, b"ID3")], "audio/mpeg"),
    (&[(0, b"OggS\0")], "application/ogg"),
    (&[(0, b"MThd\0\0\0\x06")], "audio/midi"),
    (&[(0, b"RIFF"), (8, b"AVI ")], "video/avi"),
    (&[(0, b"RIFF"), (8, b"WAVE")], "audio/wave"),
    (&[(0, b"\x1a\x45\xdf\xa3")], "video/webm"),
    // Fonts.
    (&[(34, b"LP")], "application/vnd.ms-fontobject"),
    (&[(0, b"\0\x01\0\0")], "font/ttf"),
    (&[(0, b"OTTO")], "font/otf"),
    (&[(0, b"ttcf")], "font/collection"),
    (&[(0, b"wOFF")], "font/woff"),
    (&[(0, b"wOF2")], "font/woff2"),
    // Archives, and programs.
    (&[(0, b"\x1f\x8b\x08")], "application/x-gzip"),
    (&[(0, b"PK\x03\x04")], "application/zip"),
    (&[(0, b"Rar!\x1a\x07\0")], "application/x-rar-compressed"),
    (
        &[(0, b"Rar!\x1a\x07\x01\0")],
        "application/x-rar-compressed",
    ),
    (&[(0, b"\0asm")], "application/wasm"),
];

/// The media type that the first [512 bytes](SNIFFED_BYTES) show: always one, and
/// `application/octet-stream` for what is neither known nor text. Nothing at all counts as text.
///
/// Not for bytes of strangers that a browser gets from your origin: they may show `text/html`, and
/// run. See [`content_type_untrusted`].
///
/// ```
/// use roundtrip::http::sniff;
///
/// assert_eq!(sniff::content_type(b"GIF89a..."), "image/gif");
/// assert_eq!(sniff::content_type(b" <html>"), "text/html; charset=utf-8");
/// assert_eq!(sniff::content_type(b"\x01\x02\x03"), "application/octet-stream");
/// ```
pub fn content_type(bytes: &[u8]) -> &'static str {
    let bytes = &bytes[..bytes.len().min(SNIFFED_BYTES)];
    let blanks = bytes.iter().take_while(|byte| is_blank(**byte)).count();
    let behind_blanks = &bytes[blanks..];
    if TAGS.iter().any(|tag| begins_with_tag(behind_blanks, tag)) {
        return HTML;
    }
    if behind_blanks.starts_with(b"<?xml") {
        return XML;
    }
    let shown = SIGNATURES.iter().find(|(parts, _)| has_all(bytes, parts));
    if let Some((_, media_type)) = shown {
        return media_type;
    }
    if is_mp4(bytes) {
        return "video/mp4";
    }
    if behind_blanks.iter().any(|byte| is_binary(*byte)) {
        return UNKNOWN;
    }
    TEXT
}

/// As [`content_type`], for bytes of strangers: what a browser could run as a page of your origin
/// (HTML, XML) is shown as plain text. Send it with `X-Content-Type-Options: nosniff`, as
/// [`Response::sniff_untrusted`](crate::http::response::Response::sniff_untrusted) does.
///
/// ```
/// use roundtrip::http::sniff;
///
/// assert_eq!(sniff::content_type_untrusted(b"GIF89a..."), "image/gif");
/// assert_eq!(sniff::content_type_untrusted(b"<script>"), "text/plain; charset=utf-8");
/// ```
pub fn content_type_untrusted(bytes: &[u8]) -> &'static str {
    match content_type(bytes) {
        HTML | XML => TEXT,
        media_type => media_type,
    }
}

/// Tab, LF, form feed, CR, space: what stands before a tag and means nothing.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

/// A byte that text does not hold (WHATWG MIME Sniffing §3).
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}

fn begins_with_tag(bytes: &[u8], tag: &[u8]) -> bool {
    let Some((begin, rest)) = bytes.split_at_checked(tag.len()) else {
        return false;
    };
    begin.eq_ignore_ascii_case(tag) && matches!(rest.first(), Some(b' ' | b'>'))
}

fn has_all(bytes: &[u8], parts: &[(usize, &[u8])]) -> bool {
    parts
        .iter()
        .all(|&(at, part)| bytes.get(at..).is_some_and(|rest| rest.starts_with(part)))
}

/// True when the first box is a whole file type box (`ftyp`) and one of the brands in it begins
/// with `mp4` (WHATWG MIME Sniffing §6.2.1).
fn is_mp4(bytes: &[u8]) -> bool {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let size = u32::from_be_bytes(*size) as usize;
    if !size.is_multiple_of(4) || size < 12 || size > bytes.len() || !rest.starts_with(b"ftyp") {
        return false;
    }
    let mut brands = bytes[8..size].chunks_exact(4).enumerate();
    // The second word is the version of the first.
    brands.any(|(index, brand)| index != 1 && brand.starts_with(b"mp4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At least one vector for each signature.
    const VECTORS: [(&[u8], &str); 70] = [
        (b"", TEXT),
        (b"\x01\x02\x03", UNKNOWN),
        (b"plain", TEXT),
        (b"a\tb\nc\x0cd\re\x1bf", TEXT),
        (b"\xe4\xf6\xfc", TEXT),
        (b"   \x00", UNKNOWN),
        (b"a\x0bb", UNKNOWN),
        (b"a\x1cb", UNKNOWN),
        // Tags, in any case and behind blanks, closed by a blank or `>`.
        (b"<!DOCTYPE HTML>", HTML),
        (b"<!doctype html ...", HTML),
        (b"<HTML>", HTML),
        (b"<hTmL >", HTML),
        (b"\r\n\t\x0c <html>", HTML),
        (b"<head>", HTML),
        (b"<script src=x>", HTML),
        (b"<iframe>", HTML),
        (b"<h1>", HTML),
        (b"<div class=a>", HTML),
        (b"<font size=1>", HTML),
        (b"<table>", HTML),
        (b"<a href=x>", HTML),
        (b"<style>", HTML),
        (b"<title>", HTML),
        (b"<b>", HTML),
        (b"<body>", HTML),
        (b"<br>", HTML),
        (b"<p>", HTML),
        (b"<!-- a comment", HTML),
        (b"<!---", TEXT),
        (b"<html", TEXT),
        (b"<html\n>", TEXT),
        (b"<htmlx>", TEXT),
        (b"<svg onload=x>", TEXT),
        (b"x<html>", TEXT),
        (b"\n<?xml version='1.0'?>", XML),
        (b"<?XML", TEXT),
        // Documents and marks.
        (b"%PDF-1.7", "application/pdf"),
        (b" %PDF-1.7", TEXT),
        (b"%!PS-Adobe-3.0", "application/postscript"),
        (b"\xfe\xff\0a", "text/plain; charset=utf-16be"),
        (b"\xff\xfea\0", "text/plain; charset=utf-16le"),
        (b"\xef\xbb\xbfa", TEXT),
        (b"\xef\xbb\xbf\x01", TEXT),
        (b"\xfe\xff\x01", UNKNOWN),
        // Images.
        (b"\0\0\x01\0", "image/x-icon"),
        (b"\0\0\x02\0", "image/x-icon"),
        (b"BMx", "image/bmp"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\x89PNG\r\n\x1a\nx", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        // Sound and pictures that move.
        (b"FORM\0\0\0\0AIFF", "audio/aiff"),
        (b"ID3\x03", "audio/mpeg"),
        (b"OggS\0", "application/ogg"),
        (b"MThd\0\0\0\x06\0\x01", "audio/midi"),
        (b"MThd\0\0\0\x07", UNKNOWN),
        (b"RIFFabcdAVI LIST", "video/avi"),
        (b"RIFFabcdWAVEfmt ", "audio/wave"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
        // Fonts.
        (b"\x00\x01\x00\x00\x00\x17\x01\x00", "font/ttf"),
        (b"OTTO\0", "font/otf"),
        (b"ttcf\0\x01", "font/collection"),
        (b"wOFFx", "font/woff"),
        (b"wOF2x", "font/woff2"),
        // Archives, and programs.
        (b"\x1f\x8b\x08\0", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"Rar!\x1a\x07\0", "application/x-rar-compressed"),
        (b"Rar!\x1a\x07\x01\0", "application/x-rar-compressed"),
        (b"\0asm\x01", "application/wasm"),
    ];

    #[test]
    fn every_signature() {
        for (bytes, expected) in VECTORS {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(content_type(bytes), expected, "{text:?}");
        }
        let mut font = [7; 40];
        font[34..36].copy_from_slice(b"LP");
        assert_eq!(content_type(&font), "application/vnd.ms-fontobject");
        assert_eq!(content_type(&font[..35]), UNKNOWN);
        // Each of them has a vector above.
        for (parts, media_type) in SIGNATURES {
            let is_font = parts[0].0 == 34;
            let has_vector = VECTORS
                .iter()
                .any(|(bytes, shown)| has_all(bytes, parts) && *shown == media_type);
            assert!(has_vector || is_font, "{media_type}");
        }
        for tag in TAGS {
            let has_vector = VECTORS.iter().any(|(bytes, _)| begins_with_tag(bytes, tag));
            assert!(has_vector, "{}", String::from_utf8_lossy(tag));
        }
    }

    #[test]
    fn signatures_must_be_whole() {
        for (parts, media_type) in SIGNATURES {
            let (at, last) = parts[parts.len() - 1];
            let mut whole = vec![0; at + last.len()];
            for (at, part) in parts {
                whole[*at..][..part.len()].copy_from_slice(part);
            }
            assert_eq!(content_type(&whole), media_type);
            whole.pop();
            assert!(!has_all(&whole, parts), "{media_type}");
        }
        assert_eq!(content_type(b"GIF89"), TEXT);
        assert_eq!(content_type(b"\x89PNG\r\n\x1a"), UNKNOWN);
        assert_eq!(content_type(b"RIFF\0\0\0\0WEBPV"), UNKNOWN);
    }

    #[test]
    fn boxes_of_mp4() {
        let is_shown = |bytes: &[u8]| content_type(bytes) == "video/mp4";
        assert!(is_shown(b"\0\0\0\x18ftypmp42\0\0\0\0isommp42"));
        assert!(is_shown(b"\0\0\0\x18ftypisom\0\0\0\0mp41avc1<\x06t\xbf"));
        assert!(is_shown(b"\0\0\0\x0cftypmp42"));
        // The version is no brand; the box must be whole, and made of words.
        assert!(!is_shown(b"\0\0\0\x10ftypisommp42"));
        assert!(!is_shown(b"\0\0\0\x1cftypisom\0\0\0\0mp41avc1"));
        assert!(!is_shown(b"\0\0\0\x17ftypmp42\0\0\0\0isommp4"));
        assert!(!is_shown(b"\0\0\0\x18ftypisom\0\0\0\0isomavc1"));
        assert!(!is_shown(b"\0\0\0\x08ftyp\0\0\0\0"));
        assert!(!is_shown(b"\0\0\0\0ftypmp42"));
        assert!(!is_shown(b"\xff\xff\xff\xfcftypmp42"));
    }

    #[test]
    fn looks_at_the_beginning_only() {
        let mut bytes = vec![b'a'; SNIFFED_BYTES];
        bytes.push(0);
        assert_eq!(content_type(&bytes), TEXT);
        bytes[SNIFFED_BYTES - 1] = 0;
        assert_eq!(content_type(&bytes), UNKNOWN);
        let mut bytes = vec![b' '; SNIFFED_BYTES];
        bytes.extend_from_slice(b"<html>");
        assert_eq!(content_type(&bytes), TEXT);
    }

    #[test]
    fn strangers_show_no_page() {
        for (bytes, expected) in VECTORS {
            let shown = content_type_untrusted(bytes);
            assert!(!shown.contains("html") && !shown.contains("xml"));
            let is_page = expected == HTML || expected == XML;
            assert_eq!(shown, if is_page { TEXT } else { expected });
        }
    }
}
