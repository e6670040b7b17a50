//! How the body of a response is read.
//!
//! ```text
//!   chunk() … chunk()              piece by piece, without bound
//!   copy_to(&mut writer)
//!   bytes() │ text() │ json()      at once, up to 2 MiB or the client's limit; …_within(limit) up to another
//! ```
//!
//! Every error of it has the URL that answered, where that is known: [`named`].

use std::io;
use std::io::Write;

use bytes::Bytes;
use url::Url;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::body;
use crate::http::field::Parameterized;
use crate::http::headers::Headers;
use crate::http::known::Known;
use crate::http::response::Response;
use crate::http::token;

impl Response {
    /// The length that the head announces: for a HEAD, of what a GET would bring. `None` where it
    /// announces none, as of a body in chunks or one that was decoded.
    pub fn content_length(&self) -> Option<u64> {
        let length = self.headers().get_known(Known::ContentLength);
        length.and_then(token::decimal)
    }

    /// The next piece of the body, never empty; `None` at its end. What is not asked for is not
    /// received.
    ///
    /// ```
    /// # async fn example(mut response: roundtrip::Response) -> roundtrip::Result<()> {
    /// while let Some(chunk) = response.chunk().await? {
    ///     println!("{} bytes", chunk.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The body cannot be completed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.body_mut().chunk().await.transpose();
        chunk.map_err(|error| self.named(error))
    }

    /// Writes what is left of the body, as it comes; says how many bytes. The writer is called on
    /// the core: what may block for long belongs to [`roundtrip::blocking`](crate::blocking), or
    /// behind [`runtime::blocking`](crate::runtime::blocking).
    ///
    /// # Errors
    ///
    /// The body cannot be completed, or the writer fails; what came before was written.
    pub async fn copy_to(&mut self, writer: &mut (impl Write + ?Sized)) -> Result<u64> {
        let mut bytes = 0;
        while let Some(chunk) = self.chunk().await? {
            let written = writer.write_all(&chunk);
            written.map_err(|error| self.named(unwritable(error)))?;
            bytes += chunk.len() as u64;
        }
        Ok(bytes)
    }

    /// All of the body, up to 2 MiB
    /// ([`BODY_COLLECT_BYTES_MAX`](crate::limits::BODY_COLLECT_BYTES_MAX)), or what its client is set to
    /// ([`collect_bytes_max`](crate::client::ClientBuilder::collect_bytes_max)).
    ///
    /// # Errors
    ///
    /// It is longer, or cannot be completed.
    pub async fn bytes(self) -> Result<Bytes> {
        let limit_bytes = self.collect_bytes_max();
        self.bytes_within(limit_bytes).await
    }

    /// As [`Response::bytes`], up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`].
    pub async fn bytes_within(mut self, limit_bytes: usize) -> Result<Bytes> {
        self.collect(limit_bytes).await
    }

    /// All of the body as UTF-8 text without its byte order mark, up to the limit of
    /// [`Response::bytes`].
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`]; of kind `Protocol` where the bytes are not UTF-8, naming the
    /// charset that the type declares. `Response::text_with_charset`, with the feature `charset`,
    /// reads those.
    pub async fn text(self) -> Result<String> {
        let limit_bytes = self.collect_bytes_max();
        self.text_within(limit_bytes).await
    }

    /// As [`Response::text`], up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::text`].
    pub async fn text_within(mut self, limit_bytes: usize) -> Result<String> {
        let bytes = self.collect(limit_bytes).await?;
        utf8(self.headers(), bytes).map_err(|error| self.named(error))
    }

    /// All of the body as text, up to the limit of [`Response::bytes`], in the charset that its byte order
    /// mark tells, or its type declares, or else in `default` (a label of the WHATWG Encoding Standard,
    /// as `windows-1252`).
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`]; the charset is none of those of the standard, or the bytes are
    /// not text in it.
    #[cfg(feature = "charset")]
    pub async fn text_with_charset(mut self, default: &str) -> Result<String> {
        let limit_bytes = self.collect_bytes_max();
        let bytes = self.collect(limit_bytes).await?;
        decoded(self.headers(), default, &bytes).map_err(|error| self.named(error))
    }

    /// Takes all of the body.
    pub(crate) async fn collect(&mut self, limit_bytes: usize) -> Result<Bytes> {
        let bytes = self.take_body().collect(limit_bytes).await;
        bytes.map_err(|error| self.named(error))
    }

    /// An error of who reads this response.
    pub(crate) fn named(&self, error: Error) -> Error {
        named(error, self.url())
    }
}

/// An error of an exchange, with its URL where it has none yet.
pub(crate) fn named(error: Error, url: Option<&Url>) -> Error {
    match url {
        Some(url) if error.url().is_none() => error.for_url(redacted(url)),
        _ => error,
    }
}

/// A URL that may be shown and logged: a password becomes `***`.
pub(crate) fn redacted(url: &Url) -> String {
    if url.password().is_none() {
        return url.as_str().into();
    }
    let mut url = url.clone();
    // Fails only for URLs that cannot have a password.
    let _ = url.set_password(Some("***"));
    url.into()
}

/// The error of a writer that does not take what was received.
pub(crate) fn unwritable(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "what was received cannot be written").because(error)
}

/// Bytes as text, where they are UTF-8.
pub(crate) fn utf8(headers: &Headers, bytes: Bytes) -> Result<String> {
    // What is written in two bytes per letter may pass for UTF-8, and has zeros.
    let is_wide = memchr::memchr(0, &bytes).is_some()
        && charset(headers).is_some_and(|name| name.to_ascii_lowercase().starts_with("utf-16"));
    let error = match body::utf8_text(bytes) {
        Ok(text) if !is_wide => return Ok(text),
        other => other.err(),
    };
    let text = match charset(headers) {
        None => "the body is not UTF-8 text".into(),
        Some(name) => format!(
            "the body is not UTF-8 text; its type declares the charset {name}, \
             which Response::text_with_charset reads (feature `charset`)"
        ),
    };
    let public = Error::new(ErrorKind::Protocol, text);
    Err(match error {
        Some(error) => public.because(error),
        None => public,
    })
}

/// The charset that the type declares.
fn charset(headers: &Headers) -> Option<String> {
    let content_type = Parameterized::of(headers, "content-type").ok()??;
    let name = content_type.get("charset")?;
    // It is repeated in errors.
    token::is_token(name.as_bytes()).then(|| name.to_owned())
}

#[cfg(feature = "charset")]
pub(crate) fn decoded(headers: &Headers, default: &str, bytes: &[u8]) -> Result<String> {
    use encoding_rs::Encoding;

    let invalid = |kind, text| Err(Error::new(kind, text));
    let declared = charset(headers);
    let (encoding, bytes) = match (Encoding::for_bom(bytes), &declared) {
        (Some((encoding, mark_bytes)), _) => (Some(encoding), &bytes[mark_bytes..]),
        (None, Some(name)) => (Encoding::for_label(name.as_bytes()), bytes),
        (None, None) => (Encoding::for_label(default.as_bytes()), bytes),
    };
    let Some(encoding) = encoding else {
        return match declared {
            Some(name) => invalid(ErrorKind::Protocol, format!("no known charset: {name}")),
            None => invalid(ErrorKind::Invalid, "the default is no known charset".into()),
        };
    };
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(text.into_owned()),
        None => {
            let text = format!("the body is not {} text", encoding.name());
            invalid(ErrorKind::Protocol, text)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use super::*;
    use crate::http::body::Body;
    use crate::limits::BODY_COLLECT_BYTES_MAX;

    /// Runs a future that never has to wait.
    fn ready<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the future waits"),
        }
    }

    fn response(content_type: &str, body: &[u8]) -> Response {
        let response = Response::new().body(body.to_vec());
        response.header("Content-Type", content_type)
    }

    fn in_pieces() -> Response {
        let (mut sender, body) = Body::incoming(None);
        sender.push("one".into());
        sender.push("two".into());
        sender.finish(None);
        Response::new().body(body)
    }

    #[test]
    fn lengths_as_announced() {
        for (value, length) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+1", None),
            ("1, 1", None),
            ("", None),
        ] {
            let response = Response::new().header("Content-Length", value);
            assert_eq!(response.content_length(), length, "{value}");
        }
        assert_eq!(response("a/b", b"abc").content_length(), None);
    }

    #[test]
    fn piece_by_piece() {
        let mut response = in_pieces();
        assert_eq!(ready(response.chunk()).unwrap().unwrap(), "one");
        let mut rest = Vec::new();
        assert_eq!(ready(response.copy_to(&mut rest)).unwrap(), 3);
        assert_eq!(rest, b"two");
        assert!(ready(response.chunk()).unwrap().is_none());
        assert_eq!(ready(response.copy_to(&mut rest)).unwrap(), 0);
    }

    #[test]
    fn a_writer_that_fails_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let writer: &mut dyn Write = &mut Full;
        let error = ready(in_pieces().copy_to(writer)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }

    #[test]
    fn limits_are_named_with_their_knobs() {
        assert_eq!(ready(in_pieces().bytes_within(6)).unwrap(), "onetwo");
        assert_eq!(ready(in_pieces().text_within(6)).unwrap(), "onetwo");
        let errors = [
            ready(in_pieces().bytes_within(5)).unwrap_err(),
            ready(in_pieces().text_within(5)).unwrap_err(),
            ready(response("a/b", &vec![b'a'; BODY_COLLECT_BYTES_MAX + 1]).text()).unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_limit());
            assert!(error.text().contains("text_within"), "{error}");
        }
    }

    #[test]
    fn text_is_utf8_and_another_charset_is_named() {
        let text = |content_type: &str, bytes: &[u8]| ready(response(content_type, bytes).text());
        for content_type in [
            "text/plain",
            "text/plain; charset=utf-8",
            "x; charset=latin1",
            "",
        ] {
            assert_eq!(text(content_type, "ä\0".as_bytes()).unwrap(), "ä\0");
            let marked = "\u{feff}ä\u{feff}".as_bytes();
            assert_eq!(text(content_type, marked).unwrap(), "ä\u{feff}");
        }
        for content_type in [
            "text/plain",
            "text/plain; charset=\"a b\"",
            "; charset=latin1",
        ] {
            let error = text(content_type, b"\xe4").unwrap_err();
            assert_eq!(error.text(), "the body is not UTF-8 text");
        }
        for (charset, bytes) in [("ISO-8859-1", &b"\xe4"[..]), ("UTF-16LE", b"a\0")] {
            let error = text(&format!("text/plain; charset={charset}"), bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.text().contains(charset), "{error}");
            assert!(error.text().contains("text_with_charset"), "{error}");
        }
    }

    #[cfg(feature = "charset")]
    #[test]
    fn charsets_of_the_web() {
        let text = |content_type: &str, bytes: &[u8]| {
            ready(response(content_type, bytes).text_with_charset("windows-1252"))
        };
        for (content_type, bytes, expected) in [
            ("text/plain; charset=ISO-8859-1", &b"\xe4\x80"[..], "ä€"),
            ("text/plain", b"\xe4", "ä"),
            ("text/plain; charset=utf-8", b"\xc3\xa4", "ä"),
            ("text/plain; charset=\"koi8-r\"", b"\xd1", "я"),
            ("text/plain; charset=utf-16", b"\xe4\0", "ä"),
            ("text/plain; charset=shift_jis", b"\x82\xa0", "あ"),
            // The mark wins, and is no part of the text.
            ("text/plain; charset=latin1", b"\xef\xbb\xbf\xc3\xa4", "ä"),
            ("text/plain; charset=utf-8", b"\xff\xfe\xe4\0", "ä"),
        ] {
            assert_eq!(
                text(content_type, bytes).unwrap(),
                expected,
                "{content_type}"
            );
        }
        let error = text("text/plain; charset=utf-8", b"\xe4").unwrap_err();
        assert_eq!(error.text(), "the body is not UTF-8 text");
        let error = text("text/plain; charset=klingon", b"a").unwrap_err();
        assert!(error.text().contains("klingon"), "{error}");
        let error = ready(response("", b"a").text_with_charset("klingon")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
