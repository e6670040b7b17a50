//! Media types of file names, for `Content-Type`.
//!
//! ```text
//!   "index.html" ──► extension ──► "text/html; charset=utf-8"
//! ```

use std::path::Path;

/// The type of what we know nothing about (RFC 9110 §8.3).
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type for a file name, by its extension in any case; [`UNKNOWN`] where it says nothing.
/// Text is declared UTF-8, since browsers otherwise guess.
pub fn of_path(path: &Path) -> &'static str {
    let Some(media_type) = mime_guess::from_path(path).first_raw() else {
        return UNKNOWN;
    };
    match media_type {
        "text/plain" => "text/plain; charset=utf-8",
        "text/html" => "text/html; charset=utf-8",
        "text/css" => "text/css; charset=utf-8",
        "text/javascript" | "application/javascript" => "text/javascript; charset=utf-8",
        "text/csv" => "text/csv; charset=utf-8",
        "text/markdown" => "text/markdown; charset=utf-8",
        "text/xml" => "text/xml; charset=utf-8",
        "text/x-rust" => "text/x-rust; charset=utf-8",
        "text/x-toml" => "text/x-toml; charset=utf-8",
        "text/x-yaml" => "text/x-yaml; charset=utf-8",
        "text/x-c" => "text/x-c; charset=utf-8",
        other => other,
    }
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
            ("a", UNKNOWN),
            (".html", UNKNOWN),
            ("a.unheard-of", UNKNOWN),
        ] {
            assert_eq!(of_path(Path::new(path)), media_type, "{path}");
        }
    }
}
