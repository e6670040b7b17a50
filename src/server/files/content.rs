//! Bytes or an open file, served as a file is: with conditions, ranges and a length.
//!
//! ```text
//!   Content::bytes("report.csv", bytes).modified(time).respond(&request) ─► 200, 206, 304, 412, 416
//! ```

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ::http::Method;
use ::http::StatusCode;
use bytes::Bytes;

use crate::fs;
use crate::http::conditional::EntityTag;
use crate::http::media_type;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::server::files::representation::Representation;
use crate::server::files::representation::Source;
use crate::server::files::tag_of;
use crate::server::into_response::status_text;

/// Answers a request with content that is at hand, as a file would be: with `Last-Modified` and the
/// conditions on it, with ranges, with the type that the name's extension says. [`Content`] takes
/// more: an entity tag, a type, `Cache-Control`, an open file.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::files;
///
/// let report = |request: &Request| {
///     let modified = std::time::SystemTime::UNIX_EPOCH;
///     files::serve_content(request, "report.csv", modified, "a,b\n1,2\n")
/// };
/// let request = Request::for_target("GET", "/")?;
/// assert_eq!(report(&request).headers().get("content-type"), Some("text/csv; charset=utf-8"));
/// # Ok::<(), roundtrip::Error>(())
/// ```
pub fn serve_content(
    request: &Request,
    name: &str,
    modified: impl Into<Option<SystemTime>>,
    content: impl Into<Bytes>,
) -> Response {
    let mut served = Content::bytes(name, content);
    if let Some(time) = modified.into() {
        served = served.modified(time);
    }
    served.respond(request)
}

/// Something to be served as a file: see [`serve_content`].
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::files::Content;
///
/// let logo = |request: &Request| {
///     Content::bytes("logo.svg", "<svg/>")
///         .etag("v7")
///         .cache_control("public, max-age=86400")
///         .respond(request)
/// };
/// let request = Request::for_target("GET", "/")?.with_header("If-None-Match", "\"v7\"")?;
/// assert_eq!(logo(&request).status_code(), 304);
/// # Ok::<(), roundtrip::Error>(())
/// ```
#[derive(Debug)]
pub struct Content {
    source: Source,
    content_type: Cow<'static, str>,
    tag: Option<(bool, String)>,
    modified_seconds: Option<u64>,
    cache_control: Option<String>,
}

impl Content {
    /// Bytes. The extension of `name` says their type.
    pub fn bytes(name: &str, content: impl Into<Bytes>) -> Content {
        Content {
            source: Source::Memory(content.into()),
            content_type: media_type::of_path(Path::new(name)),
            tag: None,
            modified_seconds: None,
            cache_control: None,
        }
    }

    /// All of an open file, with its time and an entity tag made of time and length. The file is
    /// read while it is sent; the position of reads and writes through `file` does not matter. One
    /// whose length promises nothing, as those of `/proc` and `/sys`, is sent up to its end.
    ///
    /// # Errors
    ///
    /// Those of fstat(2); `InvalidInput` for what is no regular file.
    pub fn file(name: &str, file: File) -> io::Result<Content> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let modified = metadata.modified()?;
        let since = modified.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let tag = tag_of(since.as_secs(), since.subsec_nanos(), metadata.len());
        if fs::has_unknown_length(&file, metadata.len()) {
            return Ok(Content {
                source: Source::Stream(Arc::new(file)),
                ..Content::bytes(name, Bytes::new())
            });
        }
        Ok(Content {
            source: Source::File(Arc::new(file), metadata.len()),
            tag: Some((false, tag)),
            ..Content::bytes(name, Bytes::new()).modified(modified)
        })
    }

    /// With `Last-Modified`, in whole seconds. 1970 is no time: who has none writes that.
    #[must_use]
    pub fn modified(mut self, time: SystemTime) -> Content {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        self.modified_seconds = since.ok().map(|s| s.as_secs()).filter(|s| *s > 0);
        self
    }

    /// With a strong entity tag, without its quotes: equal tags promise equal bytes. A tag with a
    /// quote, a blank or a control character in it is none.
    #[must_use]
    pub fn etag(mut self, opaque: impl Into<String>) -> Content {
        self.tag = Some((false, opaque.into()));
        self
    }

    /// With a weak entity tag: equal tags promise that it means the same. It serves
    /// `If-None-Match`, and no ranges.
    #[must_use]
    pub fn weak_etag(mut self, opaque: impl Into<String>) -> Content {
        self.tag = Some((true, opaque.into()));
        self
    }

    /// With this `Content-Type` instead of the one of the name.
    #[must_use]
    pub fn content_type(mut self, value: impl Into<Cow<'static, str>>) -> Content {
        self.content_type = value.into();
        self
    }

    /// With this `Cache-Control`.
    #[must_use]
    pub fn cache_control(mut self, value: impl Into<String>) -> Content {
        self.cache_control = Some(value.into());
        self
    }

    /// The response: 200 or 206 to GET, its head to HEAD, 304, 412 and 416 where conditions and
    /// ranges say so, 405 to other methods.
    pub fn respond(self, request: &Request) -> Response {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return status_text(StatusCode::METHOD_NOT_ALLOWED).header("Allow", "GET, HEAD");
        }
        let etag = self.tag.as_ref().and_then(|(is_weak, opaque)| {
            let is_weak = *is_weak;
            EntityTag::strong(opaque).map(|tag| EntityTag { is_weak, ..tag })
        });
        let representation = Representation {
            source: &self.source,
            content_type: &self.content_type,
            coding: None,
            etag,
            modified_seconds: self.modified_seconds,
            cache_control: self.cache_control.as_deref(),
            vary: None,
            is_typed: false,
        };
        representation.respond(request)
    }
}
