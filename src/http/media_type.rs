//! Media types of file names, for `Content-Type`.
//!
//! ```text
//!   "index.html" ──► extension ──► "text/html; charset=utf-8"
//! ```

use std::borrow::Cow;
use std::path::Path;

/// The type of what we know nothing about (RFC 9110 §8.3).
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type for a file name, by its extension in any case, or by the name itself (`README`);
/// [`UNKNOWN`] where it says nothing. Text is declared UTF-8, since browsers otherwise guess.
/// Contents are never looked at: what a file is taken for must not be up to who wrote it.
pub fn of_path(path: &Path) -> Cow<'static, str> {
    let guessed = || mime_guess::from_path(path).first_raw();
    let Some(media_type) = corrected(path).or_else(guessed).or_else(|| of_name(path)) else {
        return Cow::Borrowed(UNKNOWN);
    };
    match media_type {
        "text/plain" => Cow::Borrowed("text/plain; charset=utf-8"),
        "text/html" => Cow::Borrowed("text/html; charset=utf-8"),
        "text/css" => Cow::Borrowed("text/css; charset=utf-8"),
        // RFC 9239: the only one that is not obsolete.
        "text/javascript" | "application/javascript" => {
            Cow::Borrowed("text/javascript; charset=utf-8")
        }
        other if other.starts_with("text/") => Cow::Owned(format!("{other}; charset=utf-8")),
        other => Cow::Borrowed(other),
    }
}

/// What the table that we use has not, or has otherwise than the web.
fn corrected(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?;
    let is = |other: &str| extension.eq_ignore_ascii_case(other);
    if is("zst") {
        return Some("application/zstd"); // RFC 8878
    }
    // Segments of streams (RFC 8216 §3.2).
    is("ts").then_some("video/mp2t")
}

/// Text files that have no extension by custom.
fn of_name(path: &Path) -> Option<&'static str> {
    const TEXTS: [&str; 12] = [
        "AUTHORS",
        "CHANGELOG",
        "CONTRIBUTING",
        "COPYING",
        "Dockerfile",
        "INSTALL",
        "LICENSE",
        "Makefile",
        "NEWS",
        "NOTICE",
        "README",
        "VERSION",
    ];
    let name = path.file_name()?.to_str()?;
    let is_text = TEXTS.iter().any(|text| text.eq_ignore_ascii_case(name));
    is_text.then_some("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_extension() {
        for (path, media_type) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b/INDEX.HTML", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.jpg", "image/jpeg"),
            ("a.wasm", "application/wasm"),
            ("a.pdf", "application/pdf"),
            ("a.tar.gz", "application/gzip"),
            ("a.md", "text/markdown; charset=utf-8"),
            ("a.rs", "text/x-rust; charset=utf-8"),
            ("a.vtt", "text/vtt; charset=utf-8"),
            ("a.xml", "text/xml; charset=utf-8"),
            ("a.woff2", "font/woff2"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("a.mp4", "video/mp4"),
            ("a.zst", "application/zstd"),
            ("a.ts", "video/mp2t"),
            ("a.webmanifest", "application/manifest+json"),
            ("b/README", "text/plain; charset=utf-8"),
            ("Makefile", "text/plain; charset=utf-8"),
            ("a", UNKNOWN),
            (".html", UNKNOWN),
            ("a.unheard-of", UNKNOWN),
        ] {
            assert_eq!(of_path(Path::new(path)), media_type, "{path}");
        }
    }
}
