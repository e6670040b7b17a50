//! Forms with files: `multipart/form-data` (RFC 7578), read as a stream.
//!
//! ```text
//!   request.multipart()? ──► next_part() ──► Part: name, file_name, headers
//!                                │             └──► chunk() … chunk() │ bytes(limit) │ text(limit)
//!                                └─ None: the form has ended as it must
//! ```
//!
//! The body is read as chunks are asked for, and never ahead: an upload of any size takes the memory
//! of one chunk. A part that is not read to its end is skipped. What collects a whole form, with
//! large files on disk, is [`Request::multipart_form`].

mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

use ::http::StatusCode;
use bytes::Bytes;
use bytes::BytesMut;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::field::Parameterized;
use crate::http::form::unsupported;
use crate::http::form::was_taken;
use crate::http::headers::Headers;
use crate::http::request::Request;
use crate::limits::MULTIPART_SHARED_BYTES_MIN;

pub use parser::Event;
pub use parser::InvalidMultipart;
pub use parser::MultipartLimits;
pub use parser::Parser;
pub use parser::PartHead;

/// The parts of a form, one after the other.
///
/// ```
/// use roundtrip::Request;
///
/// async fn upload(mut request: Request) -> roundtrip::Result<String> {
///     let mut files = 0;
///     let mut multipart = request.multipart()?;
///     while let Some(mut part) = multipart.next_part().await? {
///         match part.file_name() {
///             None => println!("{} = {}", part.name().to_owned(), part.text(1_000).await?),
///             Some(_) => {
///                 files += 1;
///                 while let Some(chunk) = part.chunk().await? {
///                     println!("{} bytes", chunk.len());
///                 }
///             }
///         }
///     }
///     Ok(format!("{files} files"))
/// }
/// ```
pub struct Multipart {
    body: Body,
    parser: Parser,
    /// Received and not parsed.
    input: Bytes,
    /// True exactly between the head of a part and its end.
    is_in_part: bool,
}

impl Multipart {
    /// The parts of a body with this boundary.
    ///
    /// # Errors
    ///
    /// [`InvalidMultipart::Boundary`].
    pub fn new(
        body: Body,
        boundary: &str,
        limits: MultipartLimits,
    ) -> Result<Multipart, InvalidMultipart> {
        Ok(Multipart {
            body,
            parser: Parser::new(boundary, limits)?,
            input: Bytes::new(),
            is_in_part: false,
        })
    }

    /// The next part, behind what is left of the one before; `None` when the form has ended, and
    /// the body with it.
    ///
    /// # Errors
    ///
    /// [`InvalidMultipart`], answered 400, or 413 for a limit; the body failed. After an error
    /// there is nothing more.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_>>> {
        while self.chunk().await?.is_some() {}
        loop {
            match self.event().await? {
                Some(Event::Part(head)) => {
                    self.is_in_part = true;
                    let multipart = self;
                    return Ok(Some(Part { multipart, head }));
                }
                Some(Event::End) => {}
                None => return Ok(None),
                Some(event) => panic!("{event:?} outside of a part"),
            }
        }
    }

    /// The next piece of the part that is read.
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if !self.is_in_part {
            return Ok(None);
        }
        match self.event().await? {
            Some(Event::Data(data)) => Ok(Some(data)),
            Some(Event::PartEnd) => {
                self.is_in_part = false;
                Ok(None)
            }
            event => panic!("{event:?} within a part"),
        }
    }

    /// The next event; `None` at the end of the body.
    async fn event(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.next(&mut self.input)? {
                return Ok(Some(event));
            }
            match self.body.chunk().await {
                Some(chunk) => self.input = chunk?,
                None => {
                    self.parser.finish()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// One part of a form: a field, or a file.
pub struct Part<'a> {
    multipart: &'a mut Multipart,
    head: PartHead,
}

impl Part<'_> {
    /// The name of the form's control; of several parts of one name each is one value.
    pub fn name(&self) -> &str {
        &self.head.name
    }

    /// For a file its name, without the directories that some senders put before it (RFC 7578
    /// §4.2): what follows the last slash or backslash. Empty where the control was left empty, and
    /// for `.` and `..`. `None` for what is no file. The name is the sender's choice: others may
    /// have used it, and it may be long or strange. Browsers write a quote in it as `%22`, which
    /// stays, since it may as well have been `%22`. U+FFFD stands for what is not UTF-8:
    /// [`Part::file_name_bytes`] has the bytes.
    pub fn file_name(&self) -> Option<&str> {
        self.head.safe_file_name()
    }

    /// As [`Part::file_name`], in the bytes that were sent.
    pub fn file_name_bytes(&self) -> Option<&[u8]> {
        self.head.safe_file_name_bytes()
    }

    /// The type that the sender says the part has; text without one (RFC 7578 §4.4).
    pub fn content_type(&self) -> Option<&str> {
        self.head.headers.get("content-type")
    }

    /// All fields of the part's head.
    pub fn headers(&self) -> &Headers {
        &self.head.headers
    }

    /// What the head says, with the file's name as it came.
    pub fn head(&self) -> &PartHead {
        &self.head
    }

    /// The next piece of the part, never empty; `None` at its end. Nothing more is received until
    /// it is asked for.
    ///
    /// # Errors
    ///
    /// As for [`Multipart::next_part`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.multipart.chunk().await
    }

    /// All of the part.
    ///
    /// # Errors
    ///
    /// It is longer than `limit_bytes`, which is answered 413; as for [`Multipart::next_part`].
    pub async fn bytes(mut self, limit_bytes: usize) -> Result<Bytes> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit_bytes {
            return Err(part_too_long(limit_bytes));
        }
        let Some(mut chunk) = self.chunk().await? else {
            // A small part must not keep the large buffer that it was received into.
            return Ok(match first.len() {
                MULTIPART_SHARED_BYTES_MIN.. => first,
                _ => Bytes::copy_from_slice(&first),
            });
        };
        let mut all = BytesMut::from(first);
        loop {
            if chunk.len() > limit_bytes - all.len() {
                return Err(part_too_long(limit_bytes));
            }
            all.extend_from_slice(&chunk);
            match self.chunk().await? {
                Some(next) => chunk = next,
                None => return Ok(all.freeze()),
            }
        }
    }

    /// All of the part, as text.
    ///
    /// # Errors
    ///
    /// As for [`Part::bytes`]; it is not UTF-8, which is answered 400.
    pub async fn text(self, limit_bytes: usize) -> Result<String> {
        let bytes = self.bytes(limit_bytes).await?;
        String::from_utf8(bytes.into()).map_err(|_| part_no_text())
    }
}

fn part_too_long(limit_bytes: usize) -> Error {
    let text = format!("a part of the form is longer than {limit_bytes} bytes");
    Error::new(ErrorKind::Limit, text)
        .in_phase(Phase::RequestBody)
        .answered(StatusCode::PAYLOAD_TOO_LARGE)
}

/// The error of a field that is not UTF-8.
pub(crate) fn part_no_text() -> Error {
    Error::new(ErrorKind::Protocol, "a part of the form is not UTF-8 text")
        .in_phase(Phase::RequestBody)
        .answered(StatusCode::BAD_REQUEST)
}

impl Request {
    /// The parts of a `multipart/form-data` body, which is taken: a stream. Limits are those of
    /// [`MultipartLimits::default`]; bytes are bounded by the server's limit for bodies alone.
    ///
    /// # Errors
    ///
    /// The body is of another type, which is answered 415; the boundary is malformed, which is
    /// answered 400; the announced length is over the limit, which is answered 413; the body was
    /// taken before.
    pub fn multipart(&mut self) -> Result<Multipart> {
        self.multipart_within(MultipartLimits::default())
    }

    /// As [`Request::multipart`], with other limits.
    ///
    /// # Errors
    ///
    /// As for [`Request::multipart`].
    pub fn multipart_within(&mut self, limits: MultipartLimits) -> Result<Multipart> {
        let content_type = Parameterized::of(self.headers(), "content-type")
            .map_err(|_| InvalidMultipart::Boundary)?
            .filter(|found| found.value.eq_ignore_ascii_case("multipart/form-data"))
            .ok_or_else(|| unsupported("multipart/form-data"))?;
        let boundary = content_type.get("boundary");
        let boundary = boundary.ok_or(InvalidMultipart::Boundary)?.to_owned();
        if self.body_was_taken() {
            return Err(was_taken());
        }
        // Before the client is told to go on with what would be refused.
        if let (Some(length), Some(max)) = (self.body().length(), limits.bytes_max)
            && length > max
        {
            return Err(InvalidMultipart::TooManyBytes(max).into());
        }
        Ok(Multipart::new(self.take_body(), &boundary, limits)?)
    }
}

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("head", &self.head).finish()
    }
}
