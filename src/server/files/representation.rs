//! What a file or some bytes are to HTTP, and the response to a request for them.
//!
//! ```text
//!   request, representation ─► conditions ─┬─► 304, 412
//!                                          └─► If-Range, Range ─► 200, 206, 206 in parts, 416
//! ```

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use ::http::Method;
use ::http::StatusCode;
use bytes::Bytes;

use crate::fs;
use crate::http::body::Body;
use crate::http::body::Part;
use crate::http::conditional;
use crate::http::conditional::EntityTag;
use crate::http::conditional::Precondition;
use crate::http::conditional::Validators;
use crate::http::date;
use crate::http::range;
use crate::http::range::Selection;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::Core;
use crate::runtime::random_number;
use crate::server::into_response::status_text;

/// Where the bytes are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// In memory.
    Memory(Bytes),
    /// In a file, from its start; it had this length.
    File(Arc<File>, u64),
    /// Read of a file that has no state: what is read another time may differ.
    Passing(Bytes),
    /// In such a file, up to its end.
    Stream(Arc<File>),
    /// In pieces of memory, one behind the other: a listing.
    Listing(Vec<Bytes>),
}

impl Source {
    /// How long it is, and will be for the next request too; `None` for what has no state.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Source::Memory(bytes) => Some(bytes.len() as u64),
            Source::File(_, length) => Some(*length),
            Source::Passing(_) | Source::Stream(_) | Source::Listing(_) => None,
        }
    }

    /// True when it holds a descriptor.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Source::File(..) | Source::Stream(_))
    }

    /// A part of it, which has a length.
    fn part(&self, range: Range<u64>) -> Part {
        match self {
            // What is in memory has a length that fits.
            Source::Memory(bytes) => {
                Part::Bytes(bytes.slice(range.start as usize..range.end as usize))
            }
            Source::File(file, _) => Part::File {
                file: Arc::clone(file),
                range,
            },
            _ => panic!("a part of something without a length"),
        }
    }

    fn body(&self, range: Range<u64>) -> Body {
        match self.part(range) {
            Part::Bytes(bytes) => Body::from(bytes),
            Part::File { file, range } => Body::file(file, range),
        }
    }

    fn whole(&self) -> Body {
        match self {
            Source::Memory(bytes) | Source::Passing(bytes) => Body::from(bytes.clone()),
            Source::File(_, length) => self.body(0..*length),
            Source::Stream(file) => Body::stream(fs::chunks(Arc::clone(file))),
            Source::Listing(pieces) => Body::parts(pieces.iter().cloned().map(Part::Bytes)),
        }
    }
}

/// The state of something that can be asked for: its bytes and what is said of them.
#[derive(Debug)]
pub(super) struct Representation<'a> {
    pub source: &'a Source,
    pub content_type: &'a str,
    /// `Content-Encoding`.
    pub coding: Option<&'a str>,
    pub etag: Option<EntityTag<'a>>,
    /// Seconds since 1970; a time in the future is not told.
    pub modified_seconds: Option<u64>,
    pub cache_control: Option<&'a str>,
    /// `Vary`.
    pub vary: Option<&'a str>,
    /// True exactly when a browser is not to guess another type.
    pub is_typed: bool,
}

impl Representation<'_> {
    /// The response to `request`, whose target names this.
    pub(super) fn respond(&self, request: &Request) -> Response {
        let now = Core::current().map_or(u64::MAX, |core| core.wall_seconds());
        let validators = Validators {
            etag: self.etag,
            // RFC 9110 §8.8.2.1: never later than the Date of the response.
            last_modified: self.modified_seconds.filter(|seconds| *seconds <= now),
        };
        let (method, headers) = (request.method(), request.headers());
        match conditional::evaluate(method, headers, validators, now) {
            Precondition::Proceed => {}
            Precondition::NotModified => {
                let response = Response::new().status(StatusCode::NOT_MODIFIED);
                return self.with_cache_fields(response, validators);
            }
            Precondition::Failed => return status_text(StatusCode::PRECONDITION_FAILED),
        }
        let Some(length) = self.source.length() else {
            let response = self.with_cache_fields(self.whole(), validators);
            return self.with_content_fields(response, "none");
        };
        // Ranges are defined for GET only (RFC 9110 §14.2).
        let is_partial =
            *method == Method::GET && conditional::range_counts(headers, validators, now);
        let selection = match is_partial {
            true => range::select(headers, length),
            false => Selection::Whole,
        };
        let response = match selection {
            Selection::Whole => self.whole(),
            Selection::Part(part) => Response::new()
                .status(StatusCode::PARTIAL_CONTENT)
                .content_type(self.content_type)
                .header("Content-Range", range::content_range(&part, length))
                .body(self.source.body(part)),
            Selection::Parts(parts) => self.several(parts, length),
            Selection::Unsatisfiable => {
                return status_text(StatusCode::RANGE_NOT_SATISFIABLE)
                    .header("Content-Range", range::unsatisfied_range(length));
            }
        };
        let response = self.with_cache_fields(response, validators);
        self.with_content_fields(response, "bytes")
    }

    fn whole(&self) -> Response {
        let body = self.source.whole();
        let mut response = Response::new().content_type(self.content_type);
        if body.length() == Some(0) {
            // HEAD of nothing has a length too.
            response = response.header("Content-Length", "0");
        }
        response.body(body)
    }

    /// RFC 9110 §14.6.
    fn several(&self, parts: Vec<Range<u64>>, length: u64) -> Response {
        let boundary = boundary();
        let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
        for (index, part) in parts.into_iter().enumerate() {
            let head = range::part_head(&boundary, self.content_type, &part, length, index == 0);
            pieces.push(Part::Bytes(head.into()));
            pieces.push(self.source.part(part));
        }
        pieces.push(Part::Bytes(range::parts_end(&boundary).into()));
        Response::new()
            .status(StatusCode::PARTIAL_CONTENT)
            .content_type(&range::multipart_type(&boundary))
            .body(Body::parts(pieces))
    }

    /// What a 304 says too (RFC 9110 §15.4.5).
    fn with_cache_fields(&self, mut response: Response, validators: Validators<'_>) -> Response {
        let is_new = response.status_code() != StatusCode::NOT_MODIFIED;
        if let Some(etag) = validators.etag {
            response = response.header("ETag", etag.to_string());
        }
        if let Some(seconds) = validators.last_modified
            && (is_new || validators.etag.is_none())
        {
            response = response.header("Last-Modified", date::format(seconds));
        }
        if let Some(cache_control) = self.cache_control {
            response = response.header("Cache-Control", cache_control);
        }
        match self.vary {
            Some(vary) => response.header("Vary", vary),
            None => response,
        }
    }

    fn with_content_fields(&self, mut response: Response, ranges: &'static str) -> Response {
        response = response.header("Accept-Ranges", ranges);
        if self.is_typed {
            response = response.header("X-Content-Type-Options", "nosniff");
        }
        match self.coding {
            Some(coding) => response.header("Content-Encoding", coding),
            None => response,
        }
    }
}

/// A line that no content has by chance, nor by design of who wrote it.
fn boundary() -> String {
    format!("{:016x}{:016x}", random_number(), random_number())
}
